//! Laws over the catalogue: what must hold for every entry, whoever adds it.

use std::collections::{BTreeSet, HashMap};

use crate::{
    Family, Id, METRICS, Metric, MetricKind, Scope, Unit, VendorName, VendorUnit, Vocabulary, XID_CODES,
    vendor_names,
};

/// Spellings of units that are not base units, and so must not appear in a unified name.
const NOT_BASE: &[&str] = &[
    "_percent",
    "_percentage",
    "_mib",
    "_mb",
    "_gb",
    "_kib",
    "_mhz",
    "_khz",
    "_ghz",
    "_milliwatts",
    "_mw",
    "_mj",
    "_ms",
    "_us",
    "_ns",
    "_milliseconds",
    "_microseconds",
    "_nanoseconds",
    "_fahrenheit",
    "_kelvin",
];

const UNITS: &[Unit] = &[
    Unit::Ratio,
    Unit::BytesPerSecond,
    Unit::Bytes,
    Unit::Celsius,
    Unit::Watts,
    Unit::Joules,
    Unit::Hertz,
    Unit::Seconds,
];

fn unified() -> impl Iterator<Item = (&'static str, &'static Metric)> {
    METRICS.iter().filter_map(|metric| Some((metric.name?, metric)))
}

fn vendors() -> impl Iterator<Item = (&'static Metric, &'static VendorName)> {
    vendor_names().map(|row| (row.id.metric(), row))
}

#[test]
fn unit_suffix_agrees_with_the_unit() {
    for (name, metric) in unified() {
        let stem = name.strip_suffix("_total").unwrap_or(name);
        // What a quantity was between two scrapes is called after the quantity.
        let of_spread = |id: &[Id; 3]| id.iter().any(|id| id.metric().name == Some(name));
        let spread = crate::catalogue::SPREADS.iter().find(|(_, spread)| of_spread(spread));
        let stem = spread.and_then(|(of, _)| of.metric().name).unwrap_or(stem);
        let found = UNITS.iter().find(|unit| stem.ends_with(&format!("_{}", unit.suffix())));
        // "bytes_per_second" also ends in "seconds"-like text, so the list has the longer one first.
        assert_eq!(found.copied().unwrap_or(Unit::None), metric.unit, "{name}");
        assert!(!NOT_BASE.iter().any(|word| stem.ends_with(word)), "{name} is not in a base unit");
    }
}

#[test]
fn total_if_and_only_if_counter() {
    for (name, metric) in unified() {
        assert_eq!(name.ends_with("_total"), metric.kind == MetricKind::Counter, "{name}");
        assert_eq!(name.ends_with("_info"), metric.kind == MetricKind::Info, "{name}");
    }
}

#[test]
fn counts_and_times_of_errors_outlive_the_loss_of_their_device() {
    for (name, metric) in unified().filter(|(_, metric)| metric.scope == Scope::Device) {
        // What is measured is gone with the device.
        let is_measured = metric.unit == Unit::Ratio;
        assert!(!name.contains("_error") || is_measured || metric.outlives_loss, "{name}");
        let is_state = matches!(metric.kind, MetricKind::Gauge | MetricKind::StateSet);
        assert!(!metric.outlives_loss || !is_state || metric.unit == Unit::Seconds, "{name}");
    }
}

#[test]
fn names_are_snake_case_with_our_prefixes() {
    for (name, metric) in unified() {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(legal) && !name.contains("__"), "{name}");
        let prefixes: &[&str] = match metric.scope {
            Scope::Device => &["accel_"],
            Scope::Exporter => &["accel_", "accelscope_", "process_"],
        };
        assert!(prefixes.iter().any(|prefix| name.starts_with(prefix)), "{name}");
    }
}

#[test]
fn no_duplicate_names() {
    let mut seen = BTreeSet::new();
    for (name, _) in unified() {
        assert!(seen.insert(name), "{name} twice");
    }
    for (_, vendor) in vendors() {
        assert!(!seen.contains(vendor.name), "{} is also a unified name", vendor.name);
    }
}

/// Whether no two readings become the same series through these rows: some label must have two values, or the
/// rows print different labels.
fn never_collide(a: &VendorName, b: &VendorName) -> bool {
    let printed = |row: &VendorName| row.keep.iter().map(|(_, name)| *name).collect::<BTreeSet<_>>();
    printed(a) != printed(b)
        || a.when
            .iter()
            .any(|(label, wanted)| b.when.iter().any(|(other, value)| label == other && wanted != value))
}

#[test]
fn vendor_rows_of_one_name_agree_and_do_not_overlap() {
    let mut rows: HashMap<&str, Vec<(&Metric, &VendorName)>> = HashMap::new();
    for (metric, vendor) in vendors() {
        rows.entry(vendor.name).or_default().push((metric, vendor));
    }
    for (name, rows) in rows {
        let (_, first) = rows[0];
        for (metric, vendor) in &rows {
            assert_eq!((vendor.kind, vendor.help), (first.kind, first.help), "{name} has two faces");
            let used: BTreeSet<_> = vendor.when.iter().chain(vendor.keep).map(|(label, _)| *label).collect();
            // A label that is neither matched nor printed would print two readings as one series.
            let labels: BTreeSet<_> = metric.labels.iter().copied().collect();
            assert_eq!(used, labels, "{name} does not account for the labels of its entry");
        }
        for (i, (_, a)) in rows.iter().enumerate() {
            assert!(
                rows[..i].iter().all(|(_, b)| a.family != b.family || never_collide(a, b)),
                "{name} is written twice for one reading"
            );
        }
    }
}

#[test]
fn vendor_names_look_like_their_vocabulary() {
    for (metric, vendor) in vendors() {
        let prefixes: &[&str] = match vendor.vocabulary {
            Vocabulary::Dcgm => &["DCGM_FI_DEV_", "DCGM_FI_PROF_", "DCGM_EXP_"],
            Vocabulary::Habana => &["habanalabs_"],
            Vocabulary::Accelerator => &["accelerator_"],
            Vocabulary::Alias => &["habana_", "xe_", "npu_", "cpu_amx_"],
        };
        assert!(prefixes.iter().any(|prefix| vendor.name.starts_with(prefix)), "{}", vendor.name);
        assert!(matches!(vendor.kind, MetricKind::Gauge | MetricKind::Counter), "{}", vendor.name);
        assert!(!vendor.help.is_empty(), "{}", vendor.name);
        assert!(
            metric.source(vendor.family).is_some(),
            "{} has a name for a family without source",
            vendor.name
        );
        let fits = match vendor.unit {
            VendorUnit::Base => true,
            VendorUnit::Megahertz => metric.unit == Unit::Hertz,
            VendorUnit::Millijoules => metric.unit == Unit::Joules,
            VendorUnit::Milliwatts => metric.unit == Unit::Watts,
            VendorUnit::Percent => metric.unit == Unit::Ratio,
            VendorUnit::Mebibytes => metric.unit == Unit::Bytes,
            VendorUnit::WholeCelsius => metric.unit == Unit::Celsius,
            VendorUnit::Nanoseconds => metric.unit == Unit::Seconds,
            VendorUnit::ThousandKibibytesPerSecond | VendorUnit::KilobytesPerSecond => {
                metric.unit == Unit::BytesPerSecond
            }
        };
        assert!(fits, "{}: {:?} of {:?}", vendor.name, vendor.unit, metric.unit);
    }
}

#[test]
fn dcgm_labels_are_facts_of_the_info_metric() {
    let info = crate::catalogue::DEVICE_INFO.id.metric();
    assert!(crate::DCGM_LABELS.is_sorted_by_key(|label| label.names[0]));
    for label in crate::DCGM_LABELS {
        assert!(info.labels.contains(&label.fact), "{label:?}");
    }
}

#[test]
fn dcgm_names_of_the_two_generations_refer_to_each_other() {
    use crate::{DcgmGeneration, OtherName};
    let dcgm = || vendor_names().filter(|row| row.vocabulary == Vocabulary::Dcgm);
    for row in dcgm() {
        let Some(other) = row.other else { continue };
        let pair = dcgm().find(|pair| pair.name == other.name).expect("the other name is a row");
        let this = OtherName { name: row.name, unit: row.unit, help: row.help };
        assert_eq!(pair.other, Some(this), "{}", row.name);
        assert_ne!(row.generation, pair.generation, "{}", row.name);
        assert_eq!((pair.id, pair.kind, pair.when, pair.keep), (row.id, row.kind, row.when, row.keep));
        let base = [Some("BYTES"), Some("HERTZ"), Some("RATIO"), Some("SECOND")];
        if row.generation == Some(DcgmGeneration::V4_9) && base.contains(&row.name.split('_').next_back()) {
            assert_eq!(row.unit, VendorUnit::Base, "{}", row.name);
        }
    }
    // dcgm-exporter 4.9.0 renames 22 fields of its default list, and the driver's label.
    let default_list = [
        "SM_CLOCK",
        "MEM_CLOCK",
        "MEMORY_TEMP",
        "GPU_TEMP",
        "POWER_USAGE",
        "TOTAL_ENERGY_CONSUMPTION",
        "PCIE_REPLAY_COUNTER",
        "GPU_UTIL",
        "MEM_COPY_UTIL",
        "ENC_UTIL",
        "DEC_UTIL",
        "XID_ERRORS",
        "FB_FREE",
        "FB_USED",
        "FB_RESERVED",
        "NVLINK_BANDWIDTH_TOTAL",
        "UNCORRECTABLE_REMAPPED_ROWS",
        "CORRECTABLE_REMAPPED_ROWS",
        "ROW_REMAP_FAILURE",
    ];
    for name in default_list {
        let row = dcgm().find(|row| row.name == format!("DCGM_FI_DEV_{name}")).expect(name);
        assert!(row.other.is_some(), "{name}");
    }
}

#[test]
fn every_metric_has_a_source_or_says_why_not() {
    for metric in METRICS {
        let label = metric.name.unwrap_or(metric.help);
        assert_eq!(metric.sources().next().is_none(), !metric.sourceless.is_empty(), "{label}");
        assert!(
            metric.name.is_some() || metric.vendor_names().next().is_some(),
            "{label} has no name at all"
        );
    }
}

#[test]
fn help_is_one_sentence_with_a_full_stop() {
    for metric in METRICS {
        let help = metric.help_text();
        assert!(help.ends_with('.') && !help.ends_with(".."), "{help}");
        assert!(help.starts_with(|c: char| c.is_ascii_uppercase()), "{help}");
        assert!(!metric.help.contains(". ") && !metric.help.contains('\n'), "two sentences: {help}");
        assert!(metric.help.len() >= 12, "{help}");
        for (family, source) in metric.sources() {
            assert!(help.contains(&format!("{family}: {source}")), "{help}");
        }
    }
}

#[test]
fn integrals_are_counters_of_seconds_with_the_same_labels() {
    for id in Id::all() {
        let Some(integral) = id.metric().integral else { continue };
        assert_eq!(id.metric().unit, Unit::Ratio);
        assert_eq!(integral.metric().kind, MetricKind::Counter);
        assert_eq!(integral.metric().unit, Unit::Seconds);
        assert_eq!(integral.metric().labels, id.metric().labels);
        let stem = integral.metric().name.and_then(|name| name.strip_suffix("_busy_seconds_total"));
        assert!(stem.is_some(), "{:?}", integral.metric().name);
        assert!(id < integral, "the integral is printed after its ratio");
    }
}

#[test]
fn spreads_are_called_after_their_quantity_and_have_its_unit_and_labels() {
    for (of, spread) in crate::catalogue::SPREADS {
        let of = of.metric();
        for (id, word) in spread.into_iter().zip(["max", "min", "mean"]) {
            let metric = id.metric();
            assert_eq!(metric.name, of.name.map(|name| format!("{name}_{word}")).as_deref());
            assert_eq!((metric.kind, metric.unit, metric.labels), (MetricKind::Gauge, of.unit, of.labels));
            assert!(metric.help.contains("since the last scrape interval"), "{}", metric.help);
        }
    }
}

#[test]
fn every_family_of_the_design_is_represented() {
    for family in Family::ALL {
        let count = family.sources().len();
        assert!(count >= 8, "{family} has only {count} metrics");
    }
}

#[test]
fn families_list_each_metric_once_in_catalogue_order() {
    for family in Family::ALL {
        let ids: Vec<_> = family.sources().iter().map(|(id, _)| id).collect();
        assert!(ids.is_sorted_by(|one, next| one < next), "{family}: {ids:?}");
    }
}

#[test]
fn xid_codes_ascend_and_have_text() {
    assert!(XID_CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert!(XID_CODES.iter().all(|(_, text)| !text.is_empty()));
    assert_eq!(crate::xid_text(79), "GPU has fallen off the bus");
    assert_eq!(crate::xid_text(100_000), "Unknown Error");
}

#[test]
fn vendor_units_leave_base_units_exactly() {
    use crate::Value::{Float, Int};
    let cases = [
        (VendorUnit::Percent, Float(0.57), Int(57)),
        (VendorUnit::Percent, Float(0.29), Int(29)),
        (VendorUnit::Megahertz, Float(1.98e9), Int(1980)),
        (VendorUnit::Millijoules, Float(18_446_744_073.709), Int(18_446_744_073_709)),
        (VendorUnit::Milliwatts, Float(350.123), Int(350_123)),
        (VendorUnit::Nanoseconds, Float(0.000_000_123), Int(123)),
        (VendorUnit::Mebibytes, Int(81_920 << 20), Int(81_920)),
        (VendorUnit::Mebibytes, Int((5 << 20) + 1_048_575), Int(5)),
        (VendorUnit::ThousandKibibytesPerSecond, Float(26_562.0 * 1_024_000.0), Int(26_562)),
        (VendorUnit::KilobytesPerSecond, Float(1_234_000.0), Int(1_234)),
        (VendorUnit::Base, Float(42.5), Float(42.5)),
    ];
    for (unit, base, expected) in cases {
        assert_eq!(unit.from_base(&base), expected, "{unit:?} of {base:?}");
    }
}
