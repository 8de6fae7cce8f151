//! The laws by which verdict and alerts agree.

use std::collections::{BTreeMap, BTreeSet};

use naming::{
    Family, Id, Label, LabelValues,
    catalogue::{ECC_ERRORS, ERROR_LAST, LINK_ERRORS, ROWS_REMAPPED, TEMPERATURE, TEMPERATURE_LIMIT},
};

use super::{Health, Presence, REASONS, Watched, actions};
use crate::{
    catalogue::{Catalogue, words},
    judge::{
        Judge, WINDOW_SECONDS,
        tests::{Known, NOW},
    },
    model::{Alert, Example, Severity, TestSeries},
    number,
    vocabulary::Vocabulary,
};

/// Alerts about devices that are no reason, and why.
const NO_REASON: [(&str, &str); 11] = [
    ("EdgeNodeSilent", "nobody can ask the node"),
    ("FieldNotExported", "the exporter's settings, not a device"),
    ("VendorNamesAlone", "the exporter's settings, not a device"),
    ("MetricsMissingAfterUpgrade", "the exporter's or driver's version, not a device"),
    ("DeviceIdle", "whoever holds it does not use it"),
    ("DeviceUnowned", "it works for somebody who is not known"),
    ("TensorIdleUnderLoad", "only Prometheus sees the engines, and the cause is beside the device"),
    ("GpuHbmNearOom", "a full memory is a load, not a fault of the device"),
    ("NpuSaturated", "a load"),
    ("IgpuSaturated", "a load"),
    ("AmxIdleUnderLoad", "only Prometheus sees the engines whose work AMX should do"),
];

impl Known {
    /// Adds a series of an example, as the exporter knows it when it has this value; `highest` is the highest of the
    /// example's values.
    fn add(&mut self, series: &TestSeries, variant: &str, v: f64, highest: f64) {
        let text = series.series.replace("<variant>", variant);
        let (name, labels) = text.split_once('{').unwrap_or((&text, ""));
        let labels = labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
        let labels: Vec<_> = labels
            .filter_map(|(name, value)| {
                let label = Label::ALL.iter().find(|label| label.name() == name)?;
                Some((*label, value.trim_matches('"')))
            })
            .collect();
        let value = series.value.as_ref().map_or(v, |form| number::at(form, v).parse().expect("a number"));
        let of = |wanted| labels.iter().find(|(label, _)| *label == wanted).map(|(_, value)| *value);
        match name.trim_start_matches(['$', '@']) {
            "links_up" if value < highest => {
                self.links_lost.push((of(Label::Kind).expect("a kind").to_owned(), value, highest));
            }
            "throttle_share" => self.throttled.push((variant.to_owned(), value)),
            "THROTTLE_ACTIVE" | "THROTTLE_SECONDS" => {
                self.throttled.push((of(Label::Reason).expect("a reason").to_owned(), value));
            }
            "RESETS" => self.resets = value * 3600.0,
            "error_events" if value > 0.0 => {
                let labels = [Label::Kind, Label::Code].map(|label| (label, of(label).expect("of an error")));
                self.put(ERROR_LAST.id, &labels, NOW - 1.0);
            }
            "ecc_uncorrectable" => {
                let labels = [(Label::Severity, "uncorrectable"), (Label::Scope, "volatile")];
                self.put(ECC_ERRORS.id, &labels, value);
            }
            "rows_remapped" => self.put(ROWS_REMAPPED.id, &[(Label::Cause, "uncorrectable")], value),
            "link_errors" => {
                self.put(LINK_ERRORS.id, &[], 1.0);
                self.rise = value * WINDOW_SECONDS as f64;
            }
            headroom @ ("temperature_headroom" | "memory_temperature_headroom") => {
                let sensor = if headroom.starts_with("memory") { "memory" } else { "gpu" };
                self.put(TEMPERATURE.id, &[(Label::Sensor, sensor)], 90.0 - value);
                self.put(TEMPERATURE_LIMIT.id, &[(Label::Sensor, sensor), (Label::Limit, "slowdown")], 90.0);
            }
            "devices_seen" if value < highest => self.presence = Presence::Missing,
            "DEVICES_EXPECTED" if value > 7.0 => self.presence = Presence::Missing,
            "DEVICE_UP" if value < 1.0 => self.presence = Presence::Lost,
            // As on a device that is well.
            "links_up" | "error_events" | "devices_seen" | "DEVICES" | "DEVICES_EXPECTED" | "DEVICE_UP" => {}
            handle => self.put(Id::of_handle(handle).expect("a handle"), &labels, value),
        }
    }

    /// The alerts of the reasons that hold.
    fn alerts(&self, judge: &Judge) -> BTreeSet<&'static str> {
        judge.reasons(self).into_iter().filter_map(|(place, _)| REASONS[place].alert).collect()
    }
}

impl Watched for Known {
    fn presence(&self) -> Presence {
        self.presence
    }
    fn counted(&self) -> Vec<(String, String)> {
        self.counted.clone()
    }
    fn throttled(&self) -> Vec<(String, f64)> {
        self.throttled.clone()
    }
    fn links_lost(&self) -> Vec<(String, f64, f64)> {
        self.links_lost.clone()
    }
    fn resets(&self) -> f64 {
        self.resets
    }
}

fn catalogue() -> Catalogue {
    Catalogue::builtin().and_then(Catalogue::resolve).expect("a catalogue")
}

/// The state to which an alert of a severity leads.
fn state(severity: Severity) -> Health {
    match severity {
        Severity::Critical => Health::Failed,
        Severity::Warning | Severity::Ticket => Health::Degraded,
        Severity::Info => Health::Ok,
    }
}

#[test]
fn every_reason_has_the_severity_and_the_actions_of_its_alert() {
    let catalogue = catalogue();
    let LabelValues::Closed(words) = Label::Reason.values() else { panic!("a closed label") };
    for reason in &REASONS {
        assert!(words.contains(&reason.name), "{}", reason.name);
        let Some(name) = reason.alert else {
            assert_eq!(reason.state, Health::Unknown, "{}", reason.name);
            continue;
        };
        let alert = catalogue.alerts.iter().find(|alert| alert.name == name);
        let alert = alert.unwrap_or_else(|| panic!("{}: no alert {name}", reason.name));
        let mut severities = vec![alert.severity];
        severities.extend(alert.level.iter().map(|level| level.severity));
        let is_that = severities.into_iter().any(|severity| state(severity) == reason.state);
        assert!(is_that || reason.state == Health::Unknown, "{}", reason.name);
        assert!(reason.after == 0 || reason.after == alert.hold.0, "{}", reason.name);
        assert!(!actions(name).is_empty(), "{name}");
    }
    let names: BTreeSet<_> = REASONS.iter().map(|reason| reason.name).collect();
    assert_eq!(names.len(), REASONS.len());
    let LabelValues::Closed(states) = Label::State.values() else { panic!("a closed label") };
    assert!(Health::ALL.iter().all(|state| states.contains(&state.word())));
}

#[test]
fn every_alert_about_a_device_is_a_reason_or_says_why_not() {
    for alert in catalogue().alerts.iter().filter(|alert| !alert.families.is_empty()) {
        let is_reason = REASONS.iter().any(|reason| reason.alert == Some(&alert.name));
        let says_why = NO_REASON.iter().any(|(name, _)| *name == alert.name);
        assert!(is_reason != says_why, "{}", alert.name);
    }
}

/// A value that is fine, and one that fires.
fn values(alert: &Alert, example: &Example) -> Option<(f64, f64)> {
    if let (Some(quiet), Some(firing)) = (example.quiet, example.firing) {
        return Some((quiet, firing));
    }
    let bound = alert.bounds.get("limit")?;
    let step = example.step.unwrap_or(alert.unit.step()) * if bound.op.rises() { 1.0 } else { -1.0 };
    Some((bound.number() - step, bound.number() + step))
}

#[test]
fn the_examples_that_prove_an_alert_prove_its_reason() {
    let (catalogue, judge) = (catalogue(), Judge::builtin());
    let mut proved = BTreeMap::new();
    for alert in catalogue.alerts.iter().filter(|alert| REASONS.iter().any(|r| r.alert == Some(&alert.name)))
    {
        // Its levels have a test of their own.
        if !alert.level.is_empty() {
            continue;
        }
        for example in std::iter::once(&alert.test).chain(&alert.also) {
            let own = example.series.get(Vocabulary::Unified);
            let Some((quiet, firing)) = values(alert, example) else { continue };
            let default = TestSeries {
                series: alert.expr.iter().next().cloned().unwrap_or_default(),
                ..TestSeries::default()
            };
            let recorded = default.series.split([' ', '{']).next().unwrap_or_default().to_owned();
            let default = [TestSeries { series: recorded, ..default }];
            let series = own.map_or(&default[..], |own| own);
            let families = if example.families.is_empty() { &alert.families } else { &example.families };
            for family in families {
                let fault = catalogue.faults(*family).first().copied().unwrap_or_default().to_owned();
                let decoys = example.decoys.get(Vocabulary::Unified).into_iter().flatten();
                let all: Vec<_> =
                    series.iter().chain(decoys).filter(|one| !one.series.contains(':')).collect();
                let at = |v: f64| {
                    let mut known = Known::of(*family);
                    for series in &all {
                        known.add(series, &fault, v, quiet.max(firing));
                    }
                    known.alerts(&judge)
                };
                let name = alert.name.as_str();
                assert!(!at(quiet).contains(name), "{name} of {family} at {quiet}: {:?}", at(quiet));
                assert_eq!(at(firing).contains(name), !example.silent, "{name} of {family} at {firing}");
                *proved.entry(alert.name.clone()).or_insert(0) += 1;
            }
        }
    }
    let levelled =
        |name: &str| catalogue.alerts.iter().any(|alert| alert.name == name && !alert.level.is_empty());
    for name in REASONS.iter().filter_map(|reason| reason.alert) {
        assert!(proved.contains_key(name) || levelled(name), "{name} is not proved");
    }
}

#[test]
fn an_error_has_the_severity_of_its_level_unless_it_asks_nothing_of_the_device() {
    let (catalogue, judge) = (catalogue(), Judge::builtin());
    let mut seen = 0;
    for alert in catalogue.alerts.iter().filter(|alert| !alert.level.is_empty()) {
        for level in &alert.level {
            for (family, words) in &level.params {
                let family = Family::ALL.into_iter().find(|known| known.name() == family).expect("a family");
                let (kind, codes) = (&words["kind"], &words["codes"]);
                let expanded = Severity::ALL.into_iter().find(|s| *codes == format!("&xid_{}", s.name()));
                let listed: Vec<String> = expanded.map_or_else(
                    || vec![codes.clone()],
                    |severity| {
                        let of = catalogue.xids.iter().filter(|xid| xid.severity == severity);
                        of.flat_map(|xid| &xid.codes).map(u16::to_string).collect()
                    },
                );
                for code in listed {
                    let labels = [(Label::Kind, kind.as_str()), (Label::Code, code.as_str())];
                    let mut known = Known::of(family);
                    known.put(ERROR_LAST.id, &labels, NOW - 1.0);
                    let mut counted = Known::of(family);
                    counted.counted = vec![(kind.clone(), code.clone())];
                    for known in [known, counted] {
                        let found: Vec<_> = judge
                            .reasons(&known)
                            .into_iter()
                            .map(|(place, _)| REASONS[place].state)
                            .collect();
                        let is_harmless = catalogue.xids.iter().any(|xid| {
                            xid.codes.iter().any(|known| known.to_string() == code)
                                && (xid.bucket == "RESTART_APP" || xid.severity == Severity::Info)
                        });
                        let expected = if is_harmless { vec![] } else { vec![state(level.severity)] };
                        assert_eq!(found, expected, "{kind} {code} of {family}");
                        seen += 1;
                    }
                }
            }
        }
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn a_code_with_a_severity_of_its_own_has_it_in_the_verdict_and_in_the_rules() {
    let (catalogue, judge) = (catalogue(), Judge::builtin());
    let families: BTreeSet<_> =
        catalogue.events.iter().filter(|event| event.severity.is_some()).map(|event| event.family).collect();
    assert!(!families.is_empty());
    let words = words(&catalogue, None, &BTreeMap::new(), &BTreeMap::new());
    let critical: BTreeSet<_> = words["code_critical"].split('|').collect();
    for event in catalogue.events.iter().filter(|event| families.contains(&event.family)) {
        let severity = event.severity.unwrap_or(Severity::Ticket);
        let labels = [(Label::Kind, event.kind.as_str()), (Label::Code, event.code.as_str())];
        let mut known = Known::of(event.family);
        known.put(ERROR_LAST.id, &labels, NOW - 1.0);
        let found: Vec<_> =
            judge.reasons(&known).into_iter().map(|(place, _)| REASONS[place].state).collect();
        assert_eq!(found, [state(severity)], "{}", event.code);
        assert_eq!(critical.contains(event.code.as_str()), severity == Severity::Critical, "{}", event.code);
    }
}

#[test]
fn a_healthy_device_has_no_reason_and_a_presence_has_its_own() {
    let judge = Judge::builtin();
    for family in Family::ALL {
        let mut known = Known::of(family);
        assert_eq!(judge.reasons(&known), []);
        for presence in [
            Presence::Starting,
            Presence::Stale,
            Presence::Hung,
            Presence::Lost,
            Presence::Gone,
            Presence::Detached,
        ] {
            known.presence = presence;
            let found: Vec<_> = judge.reasons(&known).iter().map(|(place, _)| REASONS[*place].name).collect();
            assert_eq!(found, [super::HealthReason::of(presence).expect("a reason").name]);
        }
    }
}

#[test]
fn a_device_that_is_known_to_be_wrong_counts_before_one_that_is_not_known() {
    let mut states = Health::ALL;
    states.sort();
    assert_eq!(states, [Health::Ok, Health::Unknown, Health::Degraded, Health::Failed]);
}
