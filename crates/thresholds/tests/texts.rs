//! What a person reads of an alert names where it is and why, over both vocabularies.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use thresholds::{Format, Kind, Names, Overrides, generate};

/// Labels that say where and why, as far as an alert has them.
const NAMED: [&str; 14] = [
    "action",
    "cluster",
    "code",
    "device",
    "fault",
    "field",
    "kind",
    "model",
    "node",
    "reason",
    "signal",
    "sli",
    "slo_class",
    "source",
];

/// Labels that a text need not repeat: those of an error whose code says it, and of what is about a model.
const SAID_OTHERWISE: [(&str, &str); 6] = [
    ("GpuXidErrorDetected", "kind"),
    ("LlmTtftP95OutOfSlo", "slo_class"),
    ("LlmItlP95OutOfSlo", "slo_class"),
    ("DeviceResetting", "kind"),
    // Their proofs give to a recording the labels of what it is made from.
    ("DeviceMissing", "device"),
    ("LlmSloBudgetSpent", "node"),
];

fn files(kind: Kind) -> Vec<(String, Value)> {
    let files = generate(kind, &Overrides::default(), Names::Both, Format::Prometheus);
    let checked = files.into_iter().filter(|(path, _)| !path.contains("/wrong/"));
    checked.map(|(path, text)| (path, serde_saphyr::from_str(&text).unwrap())).collect()
}

fn items<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value[key].as_array().into_iter().flatten()
}

/// Labels of what fires, by rule file and alert, as its tests expect them.
fn labels_of_alerts() -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut found: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for (path, file) in files(Kind::Tests) {
        let rules = path.replace("/tests/", "/").replace("_test.yaml", ".yaml");
        for check in items(&file, "tests").flat_map(|test| items(test, "alert_rule_test")) {
            let of = (rules.clone(), check["alertname"].as_str().unwrap().to_owned());
            let labels =
                items(check, "exp_alerts").flat_map(|alert| alert["exp_labels"].as_object().unwrap());
            found.entry(of).or_default().extend(labels.map(|(name, _)| name.clone()));
        }
    }
    found
}

#[test]
fn texts_name_the_node_the_device_and_the_reason() {
    let labels = labels_of_alerts();
    let mut seen = 0;
    for (path, file) in files(Kind::Rules) {
        for rule in items(&file, "groups").flat_map(|group| items(group, "rules")) {
            let Some(alert) = rule["alert"].as_str() else { continue };
            let texts = ["summary", "description"].map(|text| rule["annotations"][text].as_str().unwrap());
            for label in &labels[&(path.clone(), alert.to_owned())] {
                let said = SAID_OTHERWISE.contains(&(alert, label.as_str()));
                // One that the rule sets is a word of its text.
                let set = rule["labels"][label]
                    .as_str()
                    .is_some_and(|value| texts.iter().any(|t| t.contains(value)));
                // NVIDIA's immediate action is chosen by the code.
                let chosen = label == "action" && texts[1].contains("immediate action");
                if NAMED.contains(&label.as_str()) && !said && !set && !chosen {
                    let named = format!("$labels.{label} ");
                    assert!(
                        texts.iter().any(|text| text.contains(&named)),
                        "{path} {alert}: {label} in {texts:?}"
                    );
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 150, "{seen}");
}
