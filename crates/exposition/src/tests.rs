//! Complete bodies: catalogue entries as input, the bytes that a scraper receives as output.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use naming::{
    Celsius, Count, Distribution, Family, FilterEntry, Flag, Id, Joules, Label, LabelValues, Metric,
    MetricKind, Ratio, Scope, Unit, Value, VendorFilter, VendorName, VendorUnit, Vocabulary, Watts,
    catalogue,
};
use proptest::prelude::*;
use prost::Message;
use reading::{Batch, Fault, Identity, LabelValue, Labels, Reading, Subject};

use crate::{
    Format, Options,
    encode::{count, encode, walk},
    plan::grouped,
    protobuf::{LabelPair, Metric as Sample, MetricFamily, MetricType},
    text::{TEXT, Text},
};

mod holders;

const BOTH: Options<'_> =
    Options { unified: true, vendor: true, filters: &[], left_out: &BTreeSet::new(), held: &[] };

fn identity(family: Family, index: usize) -> Arc<Identity> {
    Arc::new(Identity {
        vendor: vec![("gpu", index.to_string()), ("modelName", "NVIDIA H100 80GB HBM3".into())],
        ..Identity::new(family, format!("gpu{index}"))
    })
}

/// The same readings of somebody else.
fn readings_of(identity: Arc<Identity>, subject: &Subject) -> Subject {
    Subject::new(Some(identity), subject.readings().to_vec())
}

/// A device with one reading of each shape.
fn device(index: usize) -> Subject {
    let mut batch = Batch::default();
    batch.begin(&identity(Family::Nvidia, index));
    let sensor = |name| Labels::one(Label::Sensor, name);
    batch.put(catalogue::TEMPERATURE, sensor("memory"), Ok(Celsius(51.5)));
    batch.put(catalogue::TEMPERATURE, sensor("gpu"), Ok(Celsius(45.0)));
    batch.put(catalogue::ENERGY, Labels::NONE, Ok(Joules(1.25)));
    batch.put(catalogue::FAN_SPEED, Labels::one(Label::Fan, 0), Ok(Ratio(0.3)));
    batch.put(catalogue::THROTTLE_ACTIVE, Labels::one(Label::Reason, "sw_power_cap"), Ok(Flag(true)));
    batch.put(catalogue::THROTTLE_ACTIVE, Labels::one(Label::Reason, "thermal"), Ok(Flag(true)));
    batch.put(catalogue::XID_TOTAL, Labels::one(Label::Xid, 79), Ok(Count(u64::MAX)));
    finished(batch)
}

/// The exporter's own metrics: no identity, an info metric and a histogram.
fn exporter() -> Subject {
    let mut batch = Batch::default();
    batch.begin_exporter();
    let version = [(Label::Version, "0.1.0".to_owned()), (Label::Simulated, "no \"real\"\\one\n".to_owned())];
    batch.put(catalogue::BUILD_INFO, Labels::Shared(Arc::new(version)), Ok(Flag(true)));
    let mut durations = Distribution::new(&[0.005, 1.0]);
    for seconds in [0.001, 0.002, 0.5, 3.0] {
        durations.observe(seconds);
    }
    batch.put(catalogue::SAMPLE_DURATION, Labels::one(Label::Source, "nvidia"), Ok(durations));
    batch.put(catalogue::HTTP_IN_FLIGHT, Labels::NONE, Ok(Count(2)));
    finished(batch)
}

fn finished(batch: Batch) -> Subject {
    batch.finish().pop().expect("one subject was begun")
}

fn text(format: Format, subjects: &[Subject], options: &Options<'_>) -> String {
    String::from_utf8(encode(format, subjects, options)).expect("UTF-8")
}

/// Returns the body without the HELP texts of the unified schema, which the catalogue defines.
fn without_own_help(body: &str) -> String {
    let own =
        |line: &&str| !["# HELP accel", "# HELP accelscope"].iter().any(|start| line.starts_with(start));
    body.split_inclusive('\n').filter(own).collect()
}

#[test]
fn text_prints_each_kind_once_and_contiguously() {
    let body = text(Format::Text, &[device(0), device(1), exporter()], &BOTH);
    assert_eq!(
        without_own_help(&body),
        r#"# TYPE accel_temperature_celsius gauge
accel_temperature_celsius{family="nvidia",device="gpu0",sensor="memory"} 51.5
accel_temperature_celsius{family="nvidia",device="gpu0",sensor="gpu"} 45
accel_temperature_celsius{family="nvidia",device="gpu1",sensor="memory"} 51.5
accel_temperature_celsius{family="nvidia",device="gpu1",sensor="gpu"} 45
# HELP DCGM_FI_DEV_GPU_TEMP GPU temperature (in C).
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 45
DCGM_FI_DEV_GPU_TEMP{gpu="1",modelName="NVIDIA H100 80GB HBM3"} 45
# HELP DCGM_FI_DEV_MEMORY_TEMP Memory temperature (in C).
# TYPE DCGM_FI_DEV_MEMORY_TEMP gauge
DCGM_FI_DEV_MEMORY_TEMP{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 51.5
DCGM_FI_DEV_MEMORY_TEMP{gpu="1",modelName="NVIDIA H100 80GB HBM3"} 51.5
# HELP DCGM_FI_DEV_GPU_TEMP_CELSIUS GPU temperature (in C).
# TYPE DCGM_FI_DEV_GPU_TEMP_CELSIUS gauge
DCGM_FI_DEV_GPU_TEMP_CELSIUS{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 45
DCGM_FI_DEV_GPU_TEMP_CELSIUS{gpu="1",modelName="NVIDIA H100 80GB HBM3"} 45
# HELP DCGM_FI_DEV_MEMORY_TEMP_CELSIUS Memory temperature (in C).
# TYPE DCGM_FI_DEV_MEMORY_TEMP_CELSIUS gauge
DCGM_FI_DEV_MEMORY_TEMP_CELSIUS{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 51.5
DCGM_FI_DEV_MEMORY_TEMP_CELSIUS{gpu="1",modelName="NVIDIA H100 80GB HBM3"} 51.5
# TYPE accel_energy_joules_total counter
accel_energy_joules_total{family="nvidia",device="gpu0"} 1.25
accel_energy_joules_total{family="nvidia",device="gpu1"} 1.25
# HELP DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION Total energy consumption since boot (in mJ).
# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 1250
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="1",modelName="NVIDIA H100 80GB HBM3"} 1250
# HELP DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL Total energy consumption since the driver was last reloaded (in J).
# TYPE DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL counter
DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 1.25
DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL{gpu="1",modelName="NVIDIA H100 80GB HBM3"} 1.25
# TYPE accel_throttle_active gauge
accel_throttle_active{family="nvidia",device="gpu0",reason="sw_power_cap"} 1
accel_throttle_active{family="nvidia",device="gpu0",reason="thermal"} 1
accel_throttle_active{family="nvidia",device="gpu1",reason="sw_power_cap"} 1
accel_throttle_active{family="nvidia",device="gpu1",reason="thermal"} 1
# TYPE accel_fan_speed_ratio gauge
accel_fan_speed_ratio{family="nvidia",device="gpu0",fan="0"} 0.3
accel_fan_speed_ratio{family="nvidia",device="gpu1",fan="0"} 0.3
# HELP DCGM_FI_DEV_FAN_SPEED Fan speed (in %).
# TYPE DCGM_FI_DEV_FAN_SPEED gauge
DCGM_FI_DEV_FAN_SPEED{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 30
DCGM_FI_DEV_FAN_SPEED{gpu="1",modelName="NVIDIA H100 80GB HBM3"} 30
# HELP DCGM_FI_DEV_FAN_SPEED_RATIO Fan speed (ratio).
# TYPE DCGM_FI_DEV_FAN_SPEED_RATIO gauge
DCGM_FI_DEV_FAN_SPEED_RATIO{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 0.3
DCGM_FI_DEV_FAN_SPEED_RATIO{gpu="1",modelName="NVIDIA H100 80GB HBM3"} 0.3
# HELP DCGM_EXP_XID_ERRORS_TOTAL Total number of XID errors by code.
# TYPE DCGM_EXP_XID_ERRORS_TOTAL counter
DCGM_EXP_XID_ERRORS_TOTAL{gpu="0",modelName="NVIDIA H100 80GB HBM3",xid="79"} 18446744073709551615
DCGM_EXP_XID_ERRORS_TOTAL{gpu="1",modelName="NVIDIA H100 80GB HBM3",xid="79"} 18446744073709551615
# TYPE accelscope_build_info gauge
accelscope_build_info{version="0.1.0",simulated="no \"real\"\\one\n"} 1
# TYPE accelscope_sample_duration_seconds histogram
accelscope_sample_duration_seconds_bucket{source="nvidia",le="0.005"} 2
accelscope_sample_duration_seconds_bucket{source="nvidia",le="1"} 3
accelscope_sample_duration_seconds_bucket{source="nvidia",le="+Inf"} 4
accelscope_sample_duration_seconds_sum{source="nvidia"} 3.503
accelscope_sample_duration_seconds_count{source="nvidia"} 4
# TYPE accelscope_http_requests_in_flight gauge
accelscope_http_requests_in_flight 2
"#
    );
}

#[test]
fn openmetrics_differs_in_names_types_units_and_bounds() {
    let body = text(Format::OpenMetrics, &[device(0), exporter()], &BOTH);
    assert_eq!(
        without_own_help(&body),
        r#"# TYPE accel_temperature_celsius gauge
# UNIT accel_temperature_celsius celsius
accel_temperature_celsius{family="nvidia",device="gpu0",sensor="memory"} 51.5
accel_temperature_celsius{family="nvidia",device="gpu0",sensor="gpu"} 45
# HELP DCGM_FI_DEV_GPU_TEMP GPU temperature (in C).
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
# UNIT DCGM_FI_DEV_GPU_TEMP 
DCGM_FI_DEV_GPU_TEMP{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 45
# HELP DCGM_FI_DEV_MEMORY_TEMP Memory temperature (in C).
# TYPE DCGM_FI_DEV_MEMORY_TEMP gauge
# UNIT DCGM_FI_DEV_MEMORY_TEMP 
DCGM_FI_DEV_MEMORY_TEMP{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 51.5
# HELP DCGM_FI_DEV_GPU_TEMP_CELSIUS GPU temperature (in C).
# TYPE DCGM_FI_DEV_GPU_TEMP_CELSIUS gauge
# UNIT DCGM_FI_DEV_GPU_TEMP_CELSIUS 
DCGM_FI_DEV_GPU_TEMP_CELSIUS{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 45
# HELP DCGM_FI_DEV_MEMORY_TEMP_CELSIUS Memory temperature (in C).
# TYPE DCGM_FI_DEV_MEMORY_TEMP_CELSIUS gauge
# UNIT DCGM_FI_DEV_MEMORY_TEMP_CELSIUS 
DCGM_FI_DEV_MEMORY_TEMP_CELSIUS{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 51.5
# TYPE accel_energy_joules counter
# UNIT accel_energy_joules joules
accel_energy_joules_total{family="nvidia",device="gpu0"} 1.25
# HELP DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION Total energy consumption since boot (in mJ).
# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION unknown
# UNIT DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION 
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 1250
# HELP DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL Total energy consumption since the driver was last reloaded (in J).
# TYPE DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL unknown
# UNIT DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL 
DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 1.25
# TYPE accel_throttle_active gauge
# UNIT accel_throttle_active 
accel_throttle_active{family="nvidia",device="gpu0",reason="sw_power_cap"} 1
accel_throttle_active{family="nvidia",device="gpu0",reason="thermal"} 1
# TYPE accel_fan_speed_ratio gauge
# UNIT accel_fan_speed_ratio ratio
accel_fan_speed_ratio{family="nvidia",device="gpu0",fan="0"} 0.3
# HELP DCGM_FI_DEV_FAN_SPEED Fan speed (in %).
# TYPE DCGM_FI_DEV_FAN_SPEED gauge
# UNIT DCGM_FI_DEV_FAN_SPEED 
DCGM_FI_DEV_FAN_SPEED{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 30
# HELP DCGM_FI_DEV_FAN_SPEED_RATIO Fan speed (ratio).
# TYPE DCGM_FI_DEV_FAN_SPEED_RATIO gauge
# UNIT DCGM_FI_DEV_FAN_SPEED_RATIO 
DCGM_FI_DEV_FAN_SPEED_RATIO{gpu="0",modelName="NVIDIA H100 80GB HBM3"} 0.3
# HELP DCGM_EXP_XID_ERRORS_TOTAL Total number of XID errors by code.
# TYPE DCGM_EXP_XID_ERRORS_TOTAL unknown
# UNIT DCGM_EXP_XID_ERRORS_TOTAL 
DCGM_EXP_XID_ERRORS_TOTAL{gpu="0",modelName="NVIDIA H100 80GB HBM3",xid="79"} 18446744073709551615
# TYPE accelscope_build info
# UNIT accelscope_build 
accelscope_build_info{version="0.1.0",simulated="no \"real\"\\one\n"} 1
# TYPE accelscope_sample_duration_seconds histogram
# UNIT accelscope_sample_duration_seconds seconds
accelscope_sample_duration_seconds_bucket{source="nvidia",le="0.005"} 2
accelscope_sample_duration_seconds_bucket{source="nvidia",le="1.0"} 3
accelscope_sample_duration_seconds_bucket{source="nvidia",le="+Inf"} 4
accelscope_sample_duration_seconds_sum{source="nvidia"} 3.503
accelscope_sample_duration_seconds_count{source="nvidia"} 4
# TYPE accelscope_http_requests_in_flight gauge
# UNIT accelscope_http_requests_in_flight 
accelscope_http_requests_in_flight 2
# EOF
"#
    );
}

fn families(mut body: &[u8]) -> Vec<MetricFamily> {
    std::iter::from_fn(|| {
        (!body.is_empty()).then(|| MetricFamily::decode_length_delimited(&mut body).expect("a family"))
    })
    .collect()
}

#[test]
fn protobuf_carries_the_same_page() {
    let families = families(&encode(Format::Protobuf, &[device(0), exporter()], &BOTH));
    let family = |name: &str| {
        let family = families.iter().find(|family| family.name.as_deref() == Some(name)).expect(name);
        let metrics: Vec<_> =
            family.metric.iter().map(|bytes| Sample::decode(&bytes[..]).expect("a metric")).collect();
        (family, metrics)
    };
    let labels = |metric: &Sample| -> Vec<(String, String)> {
        let pair = |pair: &LabelPair| Some((pair.name.clone()?, pair.value.clone()?));
        metric.label.iter().map(|label| pair(label).expect("whole pairs")).collect()
    };

    let (energy, metrics) = family("accel_energy_joules_total");
    assert_eq!(energy.r#type(), MetricType::Counter);
    assert_eq!(energy.unit.as_deref(), Some("joules"));
    assert_eq!(energy.help.as_deref(), Some(&*catalogue::ENERGY.id.metric().help_text()));
    assert_eq!(metrics[0].counter.expect("a counter").value, Some(1.25));
    assert_eq!(labels(&metrics[0]), [("family".into(), "nvidia".into()), ("device".into(), "gpu0".into())]);

    let (state, metrics) = family("accel_throttle_active");
    assert_eq!((state.r#type(), &state.unit), (MetricType::Gauge, &None));
    assert_eq!(metrics.len(), 2);
    assert_eq!(labels(&metrics[1])[2], ("reason".into(), "thermal".into()));

    let (vendor, metrics) = family("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION");
    assert_eq!(vendor.r#type(), MetricType::Counter);
    assert_eq!(metrics[0].counter.expect("a counter").value, Some(1250.0));

    let (info, metrics) = family("accelscope_build_info");
    assert_eq!(info.r#type(), MetricType::Gauge);
    assert_eq!(labels(&metrics[0])[1].1, "no \"real\"\\one\n");

    let (histogram, metrics) = family("accelscope_sample_duration_seconds");
    assert_eq!(histogram.r#type(), MetricType::Histogram);
    let histogram = metrics[0].histogram.as_ref().expect("a histogram");
    assert_eq!((histogram.sample_count, histogram.sample_sum), (Some(4), Some(3.503)));
    let buckets: Vec<_> = histogram.bucket.iter().map(|b| (b.upper_bound, b.cumulative_count)).collect();
    assert_eq!(buckets, [(Some(0.005), Some(2)), (Some(1.0), Some(3)), (Some(f64::INFINITY), Some(4))]);
}

#[test]
fn names_are_left_out_in_either_vocabulary_and_counted_as_they_are_printed() {
    let subjects = [device(0), exporter()];
    let left_out =
        BTreeSet::from(["accel_energy_joules_total", "DCGM_FI_DEV_GPU_TEMP", "accelscope_build_info"]);
    let options = Options { left_out: &left_out, ..BOTH };
    let body = text(Format::Text, &subjects, &options);
    assert!(
        !body.contains("accel_energy_joules_total{") && !body.contains("DCGM_FI_DEV_GPU_TEMP{"),
        "{body}"
    );
    assert!(body.contains("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{"), "the other name of it stays");
    assert!(body.contains("accelscope_build_info{"), "the exporter's own are always there");
    let counted: usize = count(&subjects, &options).iter().map(|(_, series)| series).sum();
    let printed = body.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(counted, printed, "{body}");
}

#[test]
fn either_vocabulary_can_be_left_out() {
    let subjects = [device(0), exporter()];
    let unified = text(Format::Text, &subjects, &Options { vendor: false, ..BOTH });
    assert!(unified.contains("accel_energy_joules_total{") && !unified.contains("DCGM_"));
    let vendor = text(Format::Text, &subjects, &Options { unified: false, ..BOTH });
    assert!(vendor.contains("DCGM_FI_DEV_GPU_TEMP{") && !vendor.contains("accel_"));
    let neither = Options { unified: false, vendor: false, ..BOTH };
    assert_eq!(text(Format::Text, &subjects[..1], &neither), "");
    assert!(vendor.contains("accelscope_build_info{"), "the exporter's own are always there");
    assert_eq!(text(Format::OpenMetrics, &[], &BOTH), "# EOF\n");
    assert_eq!(encode(Format::Protobuf, &[], &BOTH), b"");
}

#[test]
fn vendor_names_need_the_family_and_a_vendor_identity() {
    let anonymous = readings_of(Arc::new(Identity::new(Family::Nvidia, "gpu0")), &device(0));
    let foreign = readings_of(identity(Family::Xpu, 0), &device(0));
    for subject in [anonymous, foreign] {
        let body = text(Format::Text, &[subject], &BOTH);
        assert!(body.contains("accel_energy_joules_total{") && !body.contains("DCGM_"), "{body}");
    }
}

#[test]
fn a_filter_picks_names_and_their_help_and_type() {
    let entry = |name, kind, help: &str| FilterEntry { name, kind, help: help.into() };
    let dcgm = VendorFilter {
        vocabulary: Vocabulary::Dcgm,
        entries: vec![
            entry("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", MetricKind::Gauge, "C:\\energy, \"mine\"\nin mJ"),
            entry(
                "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL",
                MetricKind::Counter,
                "Chosen, but without a reading.",
            ),
        ],
    };
    let body = |format, vocabulary| {
        let filters = [VendorFilter { vocabulary, ..dcgm.clone() }];
        text(format, &[device(0)], &Options { unified: false, filters: &filters, ..BOTH })
    };
    let samples =
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu=\"0\",modelName=\"NVIDIA H100 80GB HBM3\"} 1250\n";
    assert_eq!(
        body(Format::Text, Vocabulary::Dcgm),
        format!(
            "# HELP DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION C:\\\\energy, \"mine\"\\nin mJ\n\
             # TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION gauge\n{samples}"
        )
    );
    assert_eq!(
        body(Format::OpenMetrics, Vocabulary::Dcgm),
        format!(
            "# HELP DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION C:\\\\energy, \\\"mine\\\"\\nin mJ\n\
             # TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION gauge\n\
             # UNIT DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION \n{samples}# EOF\n"
        )
    );
    assert!(body(Format::Text, Vocabulary::Habana).contains("DCGM_FI_DEV_GPU_TEMP{"), "another's filter");
}

/// A subject with a reading for every entry of the catalogue, and for every vendor row of it.
fn everything(family: Family) -> Subject {
    let reading = |id: Id, row: Option<&VendorName>| {
        let word = |label: &Label| {
            let fixed = row.and_then(|row| row.when.iter().find(|(wanted, _)| wanted == label));
            let any = match label.values() {
                LabelValues::Closed(words) => words.last().expect("a closed list has words"),
                _ => "other",
            };
            (*label, fixed.map_or(any, |(_, value)| value))
        };
        let labels: Vec<_> = id.metric().labels.iter().map(word).collect();
        let labels = match labels[..] {
            [] => Labels::NONE,
            [(a, x)] => Labels::one(a, x),
            [(a, x), (b, y)] => Labels::one(a, x).with(b, y),
            _ => Labels::Shared(labels.into_iter().map(|(name, value)| (name, value.to_owned())).collect()),
        };
        let value = match id.metric().kind {
            MetricKind::Histogram => Value::Histogram(Arc::new(Distribution::new(&[0.1]))),
            _ => Value::Int(1),
        };
        Reading { id, labels, value, begins_with_sampler: false }
    };
    let mut readings = Vec::new();
    for id in Id::all() {
        let mut rows: Vec<_> = id.metric().vendor_names().map(Some).collect();
        if rows.is_empty() {
            rows.push(None);
        }
        for row in rows {
            let reading = reading(id, row);
            if !readings.contains(&reading) {
                readings.push(reading);
            }
        }
    }
    Subject::new(Some(identity(family, 0)), readings)
}

#[test]
fn every_name_of_the_catalogue_is_announced_once_without_duplicate_series() {
    let subjects = Family::ALL.map(everything);
    for format in [Format::Text, Format::OpenMetrics] {
        let body = text(format, &subjects, &BOTH);
        let (mut announced, mut series, mut current) = (HashSet::new(), HashSet::new(), "");
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.split(' ').next().expect("a name");
                assert!(announced.insert(current), "{current} twice");
            } else if !line.starts_with('#') {
                assert!(line.starts_with(current), "{line} under {current}");
                let (name, _) = line.rsplit_once(' ').expect("a value");
                assert!(series.insert(name), "{name} twice");
            }
        }
        let names = Id::all().flat_map(|id| {
            let metric = id.metric();
            metric.name.into_iter().chain(metric.vendor_names().map(|row| row.name))
        });
        for name in names {
            let stem = |suffix| name.strip_suffix(suffix).is_some_and(|stem| announced.contains(stem));
            assert!(announced.contains(name) || stem("_total") || stem("_info"), "{name} is missing");
        }
    }
}

/// Returns a quoted value or a HELP text as a scraper unescapes it.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next().expect("something is escaped") {
                'n' => out.push('\n'),
                c => {
                    assert!(matches!(c, '\\' | '"'), "unknown escape {c:?}");
                    out.push(c);
                }
            },
            c => out.push(c),
        }
    }
    out
}

/// Returns name and value of each label of a sample line, found by searching for unescaped quotes.
fn parsed_labels(line: &str) -> Vec<(String, String)> {
    let (_, mut rest) = line.split_once('{').expect("labels");
    let mut labels = Vec::new();
    while !rest.starts_with('}') {
        let (name, tail) = rest.split_once("=\"").expect("a label");
        let mut escaped = false;
        let end = tail
            .find(|c| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            })
            .expect("a closing quote");
        labels.push((name.to_owned(), unescaped(&tail[..end])));
        rest = tail[end + 1..].strip_prefix(',').unwrap_or(&tail[end + 1..]);
    }
    labels
}

proptest! {
    #[test]
    fn any_text_survives(own in "(?s).*", device in "[\\PC\\n\\\\\"{},= ]*", help in "[\\PC\\n\\\\\"]*") {
        let mut batch = Batch::default();
        batch.begin(&Arc::new(Identity {
            vendor: vec![("gpu", device.clone())],
            ..Identity::new(Family::Nvidia, device.clone())
        }));
        let labels = [(Label::ErrCode, own.clone()), (Label::ErrMsg, device.clone())];
        batch.put(catalogue::XID_LAST, Labels::Shared(Arc::new(labels)), Ok(Count(1)));
        batch.put(catalogue::BUILD_INFO, Labels::Shared(Arc::new([(Label::Version, own.clone())])), Ok(Flag(true)));
        let subjects = [finished(batch)];
        let filters = [VendorFilter {
            vocabulary: Vocabulary::Dcgm,
            entries: vec![FilterEntry { name: "DCGM_FI_DEV_XID_ERRORS", kind: MetricKind::Gauge, help: help.clone() }],
        }];
        let options = Options { filters: &filters, ..BOTH };
        let vendor_labels = vec![
            ("gpu".to_owned(), device.clone()),
            ("err_code".to_owned(), own.clone()),
            ("err_msg".to_owned(), device.clone()),
        ];
        for format in [Format::Text, Format::OpenMetrics] {
            let body = text(format, &subjects, &options);
            let line = |start: &str| body.split('\n').find(|line| line.starts_with(start)).expect("the line").to_owned();
            prop_assert_eq!(parsed_labels(&line("DCGM_FI_DEV_XID_ERRORS{")), vendor_labels.clone());
            prop_assert_eq!(&parsed_labels(&line("accelscope_build_info{"))[2].1, &own);
            let announced = line("# HELP DCGM_FI_DEV_XID_ERRORS ");
            prop_assert_eq!(unescaped(&announced["# HELP DCGM_FI_DEV_XID_ERRORS ".len()..]), help.clone());
            // OpenMetrics has a UNIT line in each of the two families, and an end.
            let more = if format == Format::OpenMetrics { 3 } else { 0 };
            prop_assert_eq!(body.matches('\n').count(), 3 + 3 + more, "no raw line input");
        }
        let families = families(&encode(Format::Protobuf, &subjects, &options));
        let metric = Sample::decode(&families[0].metric[0][..]).expect("a metric");
        let labels: Vec<_> = metric.label.into_iter().map(|l| (l.name.unwrap_or_default(), l.value.unwrap_or_default())).collect();
        prop_assert_eq!(labels, vendor_labels);
        prop_assert_eq!(families[0].help.as_deref(), Some(&*help));
    }
}

#[test]
fn several_rows_feed_one_vendor_name_and_labels_can_be_renamed() {
    const fn row(id: Id, family: Family, when: &'static [(Label, &'static str)]) -> VendorName {
        VendorName {
            id,
            name: "npu_temperature",
            vocabulary: Vocabulary::Alias,
            family,
            kind: MetricKind::Gauge,
            unit: VendorUnit::Base,
            when,
            keep: &[(Label::Sensor, "where")],
            help: "Degrees.",
            generation: None,
            other: None,
        }
    }
    static METRIC: Metric = Metric {
        name: None,
        kind: MetricKind::Gauge,
        unit: Unit::Celsius,
        scope: Scope::Device,
        labels: &[Label::Sensor],
        help: "",
        sourceless: "",
        integral: None,
        outlives_loss: false,
    };
    const FIRST: Id = catalogue::TEMPERATURE.id;
    const SECOND: Id = catalogue::POWER.id;
    static ROWS: [VendorName; 3] = [
        row(FIRST, Family::Npu, &[(Label::Sensor, "gpu")]),
        row(FIRST, Family::Nvidia, &[]),
        row(SECOND, Family::Npu, &[]),
    ];
    let rows = |wanted: Id| ROWS.iter().filter(|row| row.id == wanted).collect();
    let families = grouped([(FIRST, &METRIC, rows(FIRST)), (SECOND, &METRIC, rows(SECOND))]);

    let mut batch = Batch::default();
    batch.begin(&identity(Family::Npu, 2));
    batch.put(catalogue::POWER, Labels::NONE, Ok(Watts(7.0)));
    let subjects = [device(0), readings_of(identity(Family::Npu, 1), &device(1)), finished(batch)];
    assert_eq!(
        String::from_utf8(walk(Text::new(&TEXT), &families, &subjects, &BOTH)).expect("UTF-8"),
        r#"# HELP npu_temperature Degrees.
# TYPE npu_temperature gauge
npu_temperature{gpu="1",modelName="NVIDIA H100 80GB HBM3",where="gpu"} 45
npu_temperature{gpu="0",modelName="NVIDIA H100 80GB HBM3",where="memory"} 51.5
npu_temperature{gpu="0",modelName="NVIDIA H100 80GB HBM3",where="gpu"} 45
npu_temperature{gpu="2",modelName="NVIDIA H100 80GB HBM3"} 7
"#
    );
}

#[test]
fn readings_that_are_absent_leave_no_heading() {
    let mut batch = Batch::default();
    batch.begin(&identity(Family::Nvidia, 0));
    let fault = Fault::returned(reading::Absence::Unsupported, "nvmlDeviceGetPowerUsage", "x");
    batch.put(catalogue::POWER, Labels::NONE, Err(fault));
    batch.put(catalogue::ENERGY, Labels::NONE, Ok(Joules(f64::NAN)));
    assert_eq!(text(Format::Text, &[finished(batch)], &BOTH), "");
}

#[test]
fn a_row_may_ask_for_a_number() {
    // The catalogue has `when` values as text; a source may send an index as a number.
    for value in [LabelValue::Number(0), LabelValue::Word("0")] {
        let mut batch = Batch::default();
        batch.begin(&identity(Family::Nvidia, 0));
        batch.put(catalogue::FAN_SPEED, Labels::one(Label::Fan, 1), Ok(Ratio(0.5)));
        let other = finished(batch);
        assert!(!text(Format::Text, std::slice::from_ref(&other), &BOTH).contains("DCGM_"));
        let labels = Labels::NONE.with(Label::Fan, value);
        let first = Reading { labels, ..other.readings()[0].clone() };
        let first = Subject::new(Some(identity(Family::Nvidia, 0)), vec![first]);
        assert!(text(Format::Text, &[first], &BOTH).contains("DCGM_FI_DEV_FAN_SPEED{"));
    }
}
