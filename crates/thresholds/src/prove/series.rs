//! The series that go into a proof, with the labels of what they come from, and those that come out.

use std::collections::BTreeMap;

use naming::{Family, Id, METRICS, Metric, Scope};

use super::{Phase, Prover};
use crate::{
    catalogue::escape,
    expr::Context,
    model::{EngineKind, EngineSource, Engines, Example, TestSeries},
    number::{Duration, at, decimal, linear},
    output::{InputSeries, Labels},
    vocabulary::Vocabulary,
};

impl Prover<'_> {
    /// Input series with the labels of what they come from.
    pub(super) fn inputs(
        &self,
        context: &Context<'_>,
        series: &[TestSeries],
        phases: &[Phase],
        model: &str,
    ) -> Result<Vec<InputSeries>, String> {
        let context = context.of_series();
        series
            .iter()
            .map(|series| {
                let selector = context.expand(&series.series)?;
                let identity = self.identity(&selector, model);
                Ok(InputSeries {
                    series: with_labels(&selector, &identity),
                    values: self.values(series, phases),
                })
            })
            .collect()
    }

    /// The same series as a newer dcgm-exporter names them; none where no name differs.
    pub(super) fn newer(&self, series: &[TestSeries]) -> Option<Vec<TestSeries>> {
        let renamed = |series: &TestSeries| {
            let name = series.series.strip_prefix('$')?;
            let (name, labels) = name.split_at(name.find('{').unwrap_or(name.len()));
            let renamed = self.set.catalogue.renamed(name)?;
            let name = format!("{}{labels}", renamed.new);
            Some(TestSeries { series: name, scale: Some(1.0 / renamed.factor), ..series.clone() })
        };
        let newer: Vec<_> = series.iter().map(renamed).collect();
        newer.iter().any(Option::is_some).then(|| {
            newer.into_iter().zip(series).map(|(newer, old)| newer.unwrap_or_else(|| old.clone())).collect()
        })
    }

    /// Series that are the same all the time.
    pub(super) fn decoys(
        &self,
        context: &Context<'_>,
        decoys: &[TestSeries],
        phases: &[Phase],
        model: &str,
    ) -> Result<Vec<InputSeries>, String> {
        let ticks = phases.iter().map(|phase| phase.ticks).sum();
        let all = Phase { value: Some(0.0), ticks, state: None };
        // A reason that an override counts as a fault does not mislead.
        let faults = self.set.family.map(|family| self.set.catalogue.faults(family)).unwrap_or_default();
        let misleads = |series: &&TestSeries| {
            !faults.iter().any(|reason| series.series.contains(&format!("reason=\"{reason}\"")))
        };
        let decoys: Vec<_> = decoys.iter().filter(misleads).cloned().collect();
        self.inputs(context, &decoys, &[all], model)
    }

    /// The same series from a device of another family, and recordings out of the other file of this family:
    /// neither is any business of these rules.
    pub(super) fn strangers(&self, inputs: &[InputSeries]) -> Vec<InputSeries> {
        let Some(family) = self.set.family else { return Vec::new() };
        let own = format!("family=\"{family}\"");
        let elsewhere = |input: &InputSeries, from: &str, to: &str| InputSeries {
            series: input
                .series
                .replace(from, to)
                .replace(&format!("device=\"{}\"", family.first_device()), "device=\"other0\""),
            values: input.values.clone(),
        };
        let mut strangers = Vec::new();
        for input in inputs.iter().filter(|input| input.series.contains(&own)) {
            strangers.push(elsewhere(input, &own, "family=\"other\""));
            let has_twin = !self.set.is_dcgm() || input.series.contains("gpu=\"0\",");
            if family == Family::Nvidia && input.series.starts_with("accel:") && has_twin {
                let twin = format!("{own},gpu=\"0\"");
                strangers.push(if self.set.is_dcgm() {
                    elsewhere(input, "gpu=\"0\",", "")
                } else {
                    elsewhere(input, &own, &twin)
                });
            }
        }
        strangers
    }

    /// Over dcgm-exporter's names, the same series from devices that are left to the other file: one that is seen in
    /// the unified schema too, one whose exporter printed both until shortly before `check`, which comes `hold` after
    /// the cause, and one that accelscope exports; and a device of another family that shares the first one's UUID by
    /// accident.
    pub(super) fn left_out(
        &self,
        inputs: &[InputSeries],
        phases: &[Phase],
        check: Option<(u64, u64)>,
    ) -> Vec<InputSeries> {
        let of = |index: usize, job: &str| {
            let index = index.to_string();
            let names = [
                ("gpu=\"0\"", format!("gpu=\"{index}\"")),
                ("GPU-0", format!("GPU-{index}")),
                ("nvidia0", format!("nvidia{index}")),
                ("job=\"dcgm-exporter\"", format!("job=\"{job}\"")),
            ];
            let renamed =
                inputs.iter().filter(|input| input.series.starts_with("DCGM_")).map(|input| InputSeries {
                    series: names
                        .iter()
                        .fold(input.series.clone(), |series, (from, to)| series.replace(from, to)),
                    values: input.values.clone(),
                });
            renamed.collect::<Vec<_>>()
        };
        let mut all = of(1, "dcgm-exporter");
        if all.is_empty() {
            return all;
        }
        let name = Id::of_handle("DEVICE_UP").and_then(|id| id.metric().name).unwrap_or_default();
        let up = |family: &str, uuid: &str, port: u16, values: String| InputSeries {
            series: format!(
                "{name}{{device=\"{family}0\",family=\"{family}\",instance=\"node-1:{port}\",job=\"accelscope\",uuid=\"{uuid}\"}}",
            ),
            values,
        };
        let ticks: u64 = phases.iter().map(|phase| phase.ticks).sum();
        let always = format!("1+0x{}", ticks - 1);
        all.extend([up("nvidia", "GPU-1", 9477, always.clone()), up("other", "GPU-0", 9477, always)]);
        all.extend(of(3, "accelscope"));
        // Longer than what the first look-back sees, shorter than the second.
        let windows =
            [120, 600].map(|window| self.set.catalogue.scaled(Duration(window)).0.div_ceil(self.tick()));
        if let Some((check, gap)) = check.map(|(check, hold)| (check, hold + windows[0] + 1))
            && gap + 2 < windows[1]
            && gap < check
            && check + 2 < ticks
        {
            let (before, after) = (check - gap - 1, ticks - check - 2);
            all.extend(of(2, "dcgm-exporter"));
            all.push(up("nvidia", "GPU-2", 9400, format!("1+0x{before} _x{} 1+0x{after}", gap + 1)));
        }
        all
    }

    /// Sample values in promtool's notation.
    fn values(&self, series: &TestSeries, phases: &[Phase]) -> String {
        let mut tokens = Vec::new();
        let scale = series.scale.unwrap_or(1.0);
        let mut counter = 0.0;
        let mut alive = false;
        let form = |text: &Option<String>| text.as_ref().map(|text| text.trim_matches(['<', '>']).to_owned());
        let (value, rate, step) = (form(&series.value), form(&series.rate), form(&series.step));
        for (index, Phase { value: v, ticks, .. }) in phases.iter().enumerate() {
            let more = ticks - 1;
            let Some(v) = v.filter(|_| index >= series.late) else {
                tokens.push(if alive { format!("stale _x{more}") } else { format!("_x{ticks}") });
                alive = false;
                continue;
            };
            if let Some(form) = &rate {
                let growth = scale * linear(form, v) * self.tick() as f64;
                tokens.push(format!("{}+{}x{more}", decimal(counter + growth), decimal(growth)));
                counter += growth * *ticks as f64;
            } else if let Some(form) = &step {
                counter = (scale * linear(form, v)).max(counter);
                let count = decimal(counter);
                match index {
                    1 if series.brief => tokens.push(format!("{count} stale _x{}", more - 1)),
                    2.. if series.brief => tokens.push(format!("_x{ticks}")),
                    _ => tokens.push(format!("{count}+0x{more}")),
                }
            } else if let Some(from) = series.from {
                tokens.push(format!("{}+0x{more}", u8::from(v >= from)));
            } else {
                let value = value.as_ref().map_or(f64::NAN, |form| scale * linear(form, v));
                tokens.push(format!("{}+0x{more}", decimal(value)));
            }
            alive = true;
        }
        tokens.join(" ")
    }

    /// The target and device labels of a series.
    fn identity(&self, selector: &str, model: &str) -> Labels {
        let node = ("node", "node-1");
        let exporter = [("instance", "node-1:9477"), ("job", "accelscope"), node];
        let engine = [
            ("instance", "engine-0:8000"),
            ("job", "engine"),
            ("namespace", "inference"),
            ("pod", "engine-0"),
            node,
        ];
        let name = selector.split('{').next().unwrap_or(selector);
        let mut labels = BTreeMap::new();
        let mut add = |pairs: &[(&str, &str)]| {
            labels.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        };
        let of_device = |metric: &&Metric| metric.scope == Scope::Device && metric.name == Some(name);
        let is_device = name.starts_with("accel:") || METRICS.iter().any(|metric| of_device(&metric));
        let is_exporter =
            METRICS.iter().any(|metric| metric.scope == Scope::Exporter && metric.name == Some(name));
        if name.starts_with("node:") {
            add(&[node]);
        } else if [
            "llm:slo_",
            "llm:cost",
            "llm:model_version:",
            "llm:backend_up:",
            "llm_backend_",
            "cluster:",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        {
            // The catalogue writes all labels of these.
        } else if name.starts_with("llm:") {
            add(&engine);
            add(&[("model", model)]);
        } else if self.set.is_dcgm() && (is_device || name.starts_with("DCGM_")) {
            add(&[
                ("instance", "node-1:9400"),
                ("job", "dcgm-exporter"),
                node,
                ("gpu", "0"),
                ("UUID", "GPU-0"),
                ("pci_bus_id", "00000000:04:00.0"),
                ("device", "nvidia0"),
                ("modelName", "NVIDIA H100 80GB HBM3"),
                ("Hostname", "node-1"),
            ]);
            if is_device {
                add(&[("device", "gpu0"), ("uuid", "GPU-0"), ("family", "nvidia")]);
            }
        } else if is_exporter || name.starts_with("accel:devices:") || name == "up" {
            add(&exporter);
        } else if is_device {
            add(&exporter);
            // `$DEVICE_UP:npu` is another family's device.
            let family = self.set.family.filter(|family| selector.contains(&format!("family=\"{family}\"")));
            add(&[("device", family.map_or("other0", Family::first_device)), ("uuid", "UUID-0")]);
        } else {
            add(&engine);
        }
        labels
    }

    /// Labels of what comes out, before those that the rule sets.
    pub(super) fn result_labels(
        &self,
        context: &Context<'_>,
        example: &Example,
        series: &[TestSeries],
        model: &str,
        vocabulary: Vocabulary,
    ) -> Result<Labels, String> {
        let first = series.first().ok_or("a test has no series")?;
        let selector = context.of_series().expand(&first.series)?;
        let mut labels = self.identity(&selector, model);
        if selector.starts_with("DCGM_") {
            labels.insert("device".to_owned(), "gpu0".to_owned());
            labels.insert("uuid".to_owned(), "GPU-0".to_owned());
        }
        if let Some(family) = self.set.family {
            labels.insert("family".to_owned(), family.name().to_owned());
        }
        for name in example.drop.get(vocabulary).into_iter().flatten() {
            labels.remove(name);
        }
        for (name, text) in example.labels.get(vocabulary).into_iter().flatten() {
            let word = text.strip_prefix('&').and_then(|word| context.words.get(word));
            labels.insert(name.clone(), word.unwrap_or(text).clone());
        }
        // Labels that the series spell out themselves and that are not aggregated away.
        if selector.contains("namespace=\"inference\"") {
            labels.insert("namespace".to_owned(), "inference".to_owned());
            labels.entry("model".to_owned()).or_insert_with(|| model.to_owned());
        }
        Ok(labels)
    }
}

/// The series by which an engine shows a value `v`.
pub(super) fn engine_series(
    engines: &Engines,
    source: &EngineSource,
    v: f64,
    model: &str,
) -> Vec<TestSeries> {
    // A matcher of several values is no label; such a source spells one of them among its labels.
    let select = if source.select.contains("=~") { "" } else { source.select.as_str() };
    let labels: Vec<_> = [select, source.labels.as_str()].into_iter().filter(|l| !l.is_empty()).collect();
    let labels = labels.join(",").replace("\"m\"", &format!("\"{}\"", escape(model)));
    let series = |name: &str, more: &str| {
        let all: Vec<_> = [labels.as_str(), more].into_iter().filter(|l| !l.is_empty()).collect();
        format!("{name}{{{}}}", all.join(","))
    };
    let of = |series: String, value: Option<&str>, rate: Option<&str>| TestSeries {
        series,
        value: value.map(str::to_owned),
        rate: rate.map(str::to_owned),
        ..TestSeries::default()
    };
    match engines.kind {
        EngineKind::Gauge if !source.numbers.is_empty() => {
            // All of it in the first of the labels.
            let numbers = source.numbers.iter().enumerate();
            let numbers = numbers.map(|(at, label)| {
                format!("{label}=\"{}\"", if at == 0 { decimal(v) } else { "1".to_owned() })
            });
            vec![of(series(&source.metric, &numbers.collect::<Vec<_>>().join(",")), Some("<1>"), None)]
        }
        EngineKind::Gauge => {
            let mut all = vec![of(series(&source.metric, ""), Some("<v>"), None)];
            if let Some(times) = &source.times {
                let (name, own) = times.trim_end_matches('}').split_once('{').unwrap_or((times, ""));
                let more: Vec<_> =
                    [own, source.labels.as_str()].into_iter().filter(|l| !l.is_empty()).collect();
                all.push(of(format!("{name}{{{}}}", more.join(",")), Some("<1>"), None));
            }
            // What the matchers leave out is there too.
            if let Some((label, _)) = source.select.split_once('=') {
                all.push(of(
                    format!("{}{{{label}=\"other\",{}}}", source.metric, source.labels),
                    Some("<1000000>"),
                    None,
                ));
            }
            all
        }
        EngineKind::Rate => {
            let mut all = vec![of(series(&source.metric, ""), None, Some("<v>"))];
            // A second series that differs by the kept label alone must not stand in the way.
            if let (Some(_), Some((_, value))) = (&source.set, source.select.split_once("=~"))
                && let Some((first, second)) = value.trim_matches('"').split_once('|')
            {
                let second = second.split('|').next().unwrap_or(second);
                let other = all[0].series.replace(&format!("\"{first}\""), &format!("\"{second}\""));
                all.push(of(other, None, Some("<0>")));
            }
            all
        }
        EngineKind::Histogram => {
            // All observations fall between two bounds, so that the percentile is v by interpolation.
            let scale = if source.milliseconds { 1000.0 } else { 1.0 };
            let buckets = |name: &str, v: f64| {
                let (name, own) = name.trim_end_matches('}').split_once('{').unwrap_or((name, ""));
                [(at("<0.81v>", v), "<0>"), (at("<1.01v>", v), "<1>"), ("+Inf".to_owned(), "<1>")].map(
                    |(le, rate)| {
                        let more: Vec<_> = [own.to_owned(), format!("le=\"{le}\"")]
                            .into_iter()
                            .filter(|l| !l.is_empty())
                            .collect();
                        of(series(name, &more.join(",")), None, Some(rate))
                    },
                )
            };
            let name = format!("{}_bucket", source.metric);
            match &source.plus {
                // Half in each part; what the matchers of the second leave out is there too.
                Some(plus) => {
                    let other = plus.split('"').nth(1).map(|value| plus.replace(value, "other"));
                    let half = v * scale / 2.0;
                    let parts = [buckets(&name, half), buckets(plus, half)].concat();
                    let others = other.iter().flat_map(|other| buckets(other, 50.0 * half));
                    parts.into_iter().chain(others).collect()
                }
                None => buckets(&name, v * scale).to_vec(),
            }
        }
    }
}

/// Labels of an engine signal's result.
pub(super) fn engine_labels(engines: &Engines, source: &EngineSource, model: &str) -> Labels {
    let mut labels: Labels = [
        ("instance", "engine-0:8000"),
        ("job", "engine"),
        ("namespace", "inference"),
        ("pod", "engine-0"),
        ("node", "node-1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if source.labels.contains("model") || source.model.is_some() {
        labels.insert("model".to_owned(), model.to_owned());
    }
    if let Some(keep) = &engines.keep {
        let own = source.labels.split(',').find_map(|pair| {
            pair.split_once('=')
                .filter(|(name, _)| name == keep)
                .map(|(_, value)| value.trim_matches('"').to_owned())
        });
        labels.insert(keep.clone(), source.set.clone().or(own).unwrap_or_else(|| "stop".to_owned()));
    }
    labels
}

/// Adds labels that a selector does not spell itself.
fn with_labels(selector: &str, identity: &Labels) -> String {
    let (name, inside) = selector.split_once('{').unwrap_or((selector, "}"));
    let inside = inside.trim_end_matches('}');
    let mut pairs: Vec<String> = Vec::new();
    if !inside.is_empty() {
        pairs.push(inside.to_owned());
    }
    let spelt =
        |label: &str| inside.split(',').any(|pair| pair.trim_start().starts_with(&format!("{label}=")));
    let more = identity.iter().filter(|(label, _)| !spelt(label));
    pairs.extend(more.map(|(label, value)| format!("{label}=\"{}\"", escape(value))));
    format!("{name}{{{}}}", pairs.join(","))
}
