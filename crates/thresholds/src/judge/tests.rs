//! The node's judgement against the catalogue's own examples, which prove the rules too.

use std::collections::BTreeMap;

use naming::{
    Family, Id, Label,
    catalogue::{ERROR_LAST, ERRORS, LINK_ERRORS, RECOVERY_ACTION, ROW_REMAP_FAILED, UTILIZATION},
};

use super::{Facts, Judge, MEASURES, Point, Presence, State, WINDOW_SECONDS};
use crate::{
    catalogue::BANDS,
    model::{Bound, Signal, TestSeries},
    number, plan,
    vocabulary::Vocabulary,
};

pub(super) const NOW: f64 = 1_795_000_000.0;

/// Signals with bands that a node cannot judge, and why.
const NOT_HERE: [(&str, &str); 2] = [
    ("igpu_busy", "only on an edge node, which another device makes it"),
    ("amx_share", "only while an inference engine serves requests, which the exporter does not see"),
];

/// What a test knows of a device.
#[derive(Clone)]
pub(super) struct Known {
    family: Family,
    series: BTreeMap<Id, Vec<Point>>,
    pub(super) rise: f64,
    mean: Option<f64>,
    // What only the verdict asks for.
    pub(super) presence: Presence,
    pub(super) counted: Vec<(String, String)>,
    pub(super) throttled: Vec<(String, f64)>,
    pub(super) links_lost: Vec<(String, f64, f64)>,
    pub(super) resets: f64,
}

impl Known {
    pub(super) fn of(family: Family) -> Self {
        Self {
            family,
            series: BTreeMap::new(),
            rise: 0.0,
            mean: None,
            presence: Presence::Up,
            counted: Vec::new(),
            throttled: Vec::new(),
            links_lost: Vec::new(),
            resets: 0.0,
        }
    }

    pub(super) fn put(&mut self, id: Id, labels: &[(Label, &str)], value: f64) {
        let labels = labels.iter().map(|(label, value)| (*label, (*value).to_owned())).collect();
        self.series.entry(id).or_default().push(Point { labels, value });
    }

    fn with(mut self, id: Id, labels: &[(Label, &str)], value: f64) -> Self {
        self.put(id, labels, value);
        self
    }
}

impl Facts for Known {
    fn family(&self) -> Family {
        self.family
    }
    fn now(&self) -> f64 {
        NOW
    }
    fn series(&self, metric: Id) -> Vec<Point> {
        self.series.get(&metric).cloned().unwrap_or_default()
    }
    fn values(&self, metric: Id, wanted: &[(Label, &str)]) -> Vec<f64> {
        let is_wanted =
            |point: &Point| wanted.iter().all(|(label, value)| point.label(*label) == Some(value));
        self.series(metric).into_iter().filter(is_wanted).map(|point| point.value).collect()
    }
    fn rise(&self, _: Id) -> f64 {
        self.rise
    }
    fn mean(&self, _: Id) -> Option<f64> {
        self.mean
    }
}

/// Adds a series of an example at the value `v` of its signal.
fn add(known: &mut Known, judge: &Judge, signal: &Signal, series: &TestSeries, v: f64) {
    let (handle, labels) = series.series.split_once('{').unwrap_or((&series.series, ""));
    let id = Id::of_handle(handle.trim_start_matches('$')).expect("a handle");
    let fault = judge.reasons.iter().find(|reason| reason.fault && reason.families.contains(&known.family));
    let fault = fault.map_or("", |reason| reason.name.as_str());
    let amber = signal.params.get(known.family.name()).and_then(|params| params.get("amber_reason"));
    let labels = labels.trim_end_matches('}').split(',').filter(|matcher| !matcher.is_empty());
    let labels = labels.map(|matcher| {
        let (name, value) = matcher.split_once('=').expect("a label");
        let label = Label::ALL.iter().find(|label| label.name() == name).expect("a known label");
        let value = value.trim_matches('"').replace("&fault_reason", fault);
        (*label, value.replace("&amber_reason", amber.map_or("", String::as_str)))
    });
    let labels = labels.collect();
    let value = match (&series.value, series.from, &series.rate) {
        (Some(form), _, _) => number::at(form, v).parse().expect("a number"),
        (_, Some(from), _) => f64::from(u8::from(v >= from)),
        (_, _, Some(_)) => {
            known.rise = v * WINDOW_SECONDS as f64;
            known.mean = Some(v);
            if id == ERROR_LAST.id { NOW - if v > 0.0 { 1.0 } else { 1e6 } } else { v }
        }
        _ => panic!("{}: {series:?} moves in no known way", signal.id),
    };
    known.series.entry(id).or_default().push(Point { labels, value });
}

#[test]
fn the_node_judges_every_example_as_the_rules_do() {
    let judge = Judge::builtin();
    let mut judged = 0;
    for (signal, _) in &judge.signals {
        for family in &signal.families {
            let step = signal.test.step.unwrap_or(signal.unit.step());
            let edges = signal.bounds.values().map(Bound::number);
            let mut values: Vec<f64> = edges.flat_map(|edge| [edge - step, edge, edge + step]).collect();
            // Levels are these and no others.
            let series = || signal.test.series.get(Vocabulary::Unified).into_iter().flatten();
            if series().any(|series| series.from.is_some()) {
                values.clear();
            }
            values.extend(&signal.test.values);
            values.retain(|value| *value >= 0.0);
            for v in values {
                // Errors are there or not, and there is no part of one.
                let v = if signal.id == "device_errors" { v.round().min(1.0) } else { v };
                let mut known = Known::of(*family);
                for series in
                    series().chain(signal.test.decoys.get(Vocabulary::Unified).into_iter().flatten())
                {
                    if !series.series.contains(':') {
                        add(&mut known, &judge, signal, series, v);
                    }
                }
                let findings = judge.findings(&known);
                let found = findings.iter().find(|finding| finding.signal == signal.id);
                let found = found.unwrap_or_else(|| panic!("{} of {family} at {v} is absent", signal.id));
                let value = found.value.expect("a value");
                assert!((value - v).abs() < 1e-9, "{} of {family} at {v} is {value}", signal.id);
                let state =
                    [State::Ok, State::Warn, State::Crit][usize::from(plan::state_of(&signal.bounds, value))];
                assert_eq!(found.state, state, "{} of {family} at {v}", signal.id);
                judged += 1;
            }
        }
    }
    assert!(judged > 100, "{judged} examples");
}

#[test]
fn every_signal_that_counts_for_a_device_is_judged_or_says_why_not() {
    let catalogue = crate::catalogue::Catalogue::builtin().expect("a catalogue");
    let mut missing = Vec::new();
    for signal in &catalogue.signals {
        let has_bands = BANDS.iter().any(|band| signal.bounds.contains_key(*band)) && signal.slo.is_none();
        let is_a_device_s = !signal.families.is_empty() && signal.id != "device_state";
        let is_known = MEASURES.iter().any(|(id, _)| *id == signal.id)
            || NOT_HERE.iter().any(|(id, _)| *id == signal.id);
        let is_unified = signal.expr.get(Vocabulary::Unified).is_some() || !signal.exprs.is_empty();
        if has_bands && is_a_device_s && is_unified && !signal.explains && !is_known {
            missing.push(&signal.id);
        }
    }
    assert!(missing.is_empty(), "no measure and no reason: {missing:?}");
    assert_eq!(Judge::builtin().signals.len(), MEASURES.len(), "a measure of no signal");
}

#[test]
fn an_error_that_asks_for_a_reset_stays_open_until_the_driver_asks_for_nothing() {
    let judge = Judge::builtin();
    let mut xids = judge.critical.iter().filter(|(kind, _)| kind == "xid");
    let critical: u16 = xids.next().expect("one").1.parse().expect("a number");
    let name = judge.stay_open.first().expect("one");
    let family = Family::ALL.into_iter().find(|family| family.name() == name).expect("a family");
    let state = |code: &str, age: f64, action: Option<&str>| {
        let mut known = Known::of(family).with(ERRORS.id, &[], 1.0);
        known = known.with(ERROR_LAST.id, &[(Label::Kind, "xid"), (Label::Code, code)], NOW - age);
        if let Some(action) = action {
            known = known.with(RECOVERY_ACTION.id, &[(Label::Action, action)], 1.0);
        }
        let findings = judge.findings(&known);
        findings.iter().find(|finding| finding.signal == "device_errors").expect("judged").state
    };
    let critical = critical.to_string();
    assert_eq!(state(&critical, 3600.0, None), State::Crit);
    assert_eq!(state(&critical, 3600.0, Some("gpu_reset")), State::Crit);
    assert_eq!(state(&critical, 3600.0, Some("none")), State::Ok);
    assert_eq!(state(&critical, 90_000.0, None), State::Ok);
    assert_eq!(state("31", 3600.0, None), State::Ok, "an application's fault is over after five minutes");
    assert_eq!(state("31", 60.0, Some("none")), State::Crit);
}

#[test]
fn what_is_red_at_any_value_needs_none() {
    let judge = Judge::builtin();
    let rows = judge.signals.iter().find(|(signal, _)| signal.id == "rows_remapped").expect("it");
    let known = Known::of(rows.0.families[0]).with(ROW_REMAP_FAILED.id, &[], 1.0);
    let findings = judge.findings(&known);
    let found = findings.iter().find(|finding| finding.signal == "rows_remapped").expect("judged");
    assert_eq!((found.value, found.state), (None, State::Crit));
}

#[test]
fn a_level_is_read_by_its_word() {
    let judge = Judge::builtin();
    let signal = &judge.signals.iter().find(|(signal, _)| signal.id == "throttle").expect("it").0;
    assert_eq!(super::shown(signal, Some(2.0)), ("Throttling", Some("by heat or hardware".to_owned())));
    let signal = &judge.signals.iter().find(|(signal, _)| signal.id == "temperature").expect("it").0;
    assert_eq!(super::shown(signal, Some(91.0)), ("Die temperature", Some("91 °C".to_owned())));
}

#[test]
fn what_is_absent_is_not_judged() {
    let judge = Judge::builtin();
    for family in Family::ALL {
        assert_eq!(judge.findings(&Known::of(family)), []);
        let busy = Known { mean: None, ..Known::of(family) }.with(UTILIZATION.id, &[], 1.0);
        assert_eq!(judge.findings(&busy), [], "a mean needs its time");
    }
    let links = Known::of(Family::ALL[0]).with(LINK_ERRORS.id, &[], 5.0);
    assert!(judge.findings(&links).iter().all(|finding| finding.state == State::Ok), "old errors are over");
}

#[test]
fn codes_have_their_meaning_and_action() {
    let judge = Judge::builtin();
    let (meaning, action) = judge.code("xid", "79");
    assert!(meaning.is_some_and(|text| text.contains("fallen off the bus")), "{meaning:?}");
    assert!(action.is_some_and(|text| !text.contains(['$', '`'])), "{action:?}");
    let (meaning, action) = judge.code("hlml_event", "dram_uncorrectable");
    assert!(meaning.is_some() && action.is_some_and(|text| text.contains("accel_memory_row_remap_pending")));
    assert_eq!(judge.code("xid", "9999"), (Some("Unknown Error"), None));
    assert_eq!(judge.code("hlml_event", "new"), (None, None));
}
