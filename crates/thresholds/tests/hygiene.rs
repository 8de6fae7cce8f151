//! What a linter of rules would find: syntax, counters outside rates, lost labels, bare absences, templates
//! in labels.

mod promql;

use std::collections::BTreeSet;

use promql::{counters, everything, selector_name, walk};
use promql_parser::parser::{self, Expr, LabelModifier, VectorMatchCardinality, token};
use serde::Deserialize;
use thresholds::{Format, Kind, Names, Overrides, generate};

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    #[serde(rename = "for")]
    hold: Option<String>,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

fn rules() -> Vec<(String, Rule)> {
    let mut rules = Vec::new();
    for overrides in [Overrides::default(), everything()] {
        for (path, text) in generate(Kind::Rules, &overrides, Names::Both, Format::Prometheus) {
            let file: RuleFile =
                serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
            rules.extend(
                file.groups.into_iter().flat_map(|group| group.rules).map(|rule| (path.clone(), rule)),
            );
        }
    }
    assert!(rules.len() > 200, "{} rules", rules.len());
    rules
}

fn parsed() -> Vec<(String, Rule, Expr)> {
    rules()
        .into_iter()
        .map(|(path, rule)| {
            let expr =
                parser::parse(&rule.expr).unwrap_or_else(|error| panic!("{path}: {error}: {}", rule.expr));
            (path, rule, expr)
        })
        .collect()
}

#[test]
fn counters_of_events_and_time_stand_under_a_rate() {
    let counters = counters();
    // The same quantity, printed beside a rate as the zero to fall back on.
    let zero = "DCGM_FI_DEV_PCIE_REPLAY_COUNTER";
    for (path, rule, expr) in parsed() {
        walk(&expr, &mut Vec::new(), &mut |node, around| {
            let Some(name) = selector_name(node) else { return };
            let engine_counter = name.contains(':') && name.ends_with("_total") || name.ends_with("_bucket");
            let rated = around.iter().any(|f| ["rate", "increase", "changes"].contains(f));
            let counts = counters.contains(name) || engine_counter;
            assert!(!counts || rated || name == zero, "{path}: {name} is a counter: {}", rule.expr);
        });
    }
}

/// An alert that wakes people is there for each family that its runbook names: an expression that reads a metric without
/// a source in the family would leave it out without a word.
#[test]
fn a_critical_alert_has_a_rule_for_each_of_its_families() {
    let rules = rules();
    let pages = generate(Kind::Runbooks, &Overrides::default(), Names::Both, Format::Prometheus);
    let (_, index) = pages.iter().find(|(path, _)| path.ends_with("README.md")).expect("an index");
    let mut seen = 0;
    for row in index.lines().filter(|row| row.starts_with("| [") && row.contains("critical")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_start_matches('[').split(']').next().expect("a name");
        for family in cells[4].split(", ").filter(|family| *family != "all") {
            let is_there = |rule: &Rule| {
                rule.alert.as_deref() == Some(name)
                    && rule.labels.get("family").is_some_and(|of| of == family)
            };
            assert!(rules.iter().any(|(_, rule)| is_there(rule)), "{name} of {family}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

/// Rules that know one name of a field are silent over the other generation of dcgm-exporter.
#[test]
fn a_field_with_two_names_is_read_under_both() {
    let renamed: Vec<_> = naming::vendor_names()
        .filter(|row| row.generation == Some(naming::DcgmGeneration::V4_8))
        .filter_map(|row| Some((row.name, row.other?.name)))
        .chain([("DCGM_FI_DEV_GET_GPU_RECOVERY_ACTION", "DCGM_FI_DEV_GPU_RECOVERY_ACTION")])
        .collect();
    let mut seen = BTreeSet::new();
    for (path, rule, expr) in parsed() {
        let mut names = BTreeSet::new();
        walk(&expr, &mut Vec::new(), &mut |node, _| names.extend(selector_name(node).map(str::to_owned)));
        for (old, new) in &renamed {
            assert_eq!(names.contains(*old), names.contains(*new), "{path}: {old}, {new}: {}", rule.expr);
            seen.extend(names.contains(*old).then_some(*old));
        }
    }
    assert!(seen.len() > 15, "{seen:?}");
    let (mut lines, word) = (0, |c: char| !c.is_ascii_alphanumeric() && c != '_');
    for (path, text) in generate(Kind::Runbooks, &Overrides::default(), Names::Both, Format::Prometheus) {
        for line in text.lines().filter(|line| line.starts_with("| `")) {
            let has = |name: &str| line.split(word).any(|part| part == name);
            for (old, new) in &renamed {
                assert_eq!(has(old), has(new), "{path}: {line}");
                lines += usize::from(has(old));
            }
        }
    }
    assert!(lines > 5, "{lines}");
}

#[test]
fn matching_is_spelt_where_labels_may_differ() {
    for (path, rule, expr) in parsed() {
        walk(&expr, &mut Vec::new(), &mut |node, _| {
            if let Expr::Binary(binary) = node
                && let Some(modifier) = &binary.modifier
            {
                // group_left and group_right only together with the labels that are matched.
                let many = matches!(
                    modifier.card,
                    VectorMatchCardinality::ManyToOne(_) | VectorMatchCardinality::OneToMany(_)
                );
                assert!(!many || modifier.matching.is_some(), "{path}: {}", rule.expr);
                // Two clusters may have a node, an address or a backend of one name; a UUID is nobody else's.
                if let Some(LabelModifier::Include(labels)) = &modifier.matching {
                    let has = |wanted: &[&str]| {
                        wanted.iter().any(|label| labels.labels.contains(&(*label).to_owned()))
                    };
                    let is_told_apart = has(&["cluster", "uuid", "UUID"]);
                    let is_local =
                        has(&["instance", "node", "device", "gpu", "name", "capability", "target_model"]);
                    assert!(is_told_apart || !is_local, "{path}: matches across clusters: {}", rule.expr);
                }
            }
            if let Expr::Aggregate(aggregate) = node {
                // An aggregation without labels forgets the cluster.
                assert!(aggregate.modifier.is_some(), "{path}: aggregates everything away: {}", rule.expr);
                if let Some(LabelModifier::Include(labels)) = &aggregate.modifier {
                    // A centre's rules are about all clusters, by family, or by the regions of the router's catalogue.
                    let is_global = |label: &String| {
                        path.contains("/global/") && ["family", "region"].contains(&label.as_str())
                    };
                    assert!(
                        labels
                            .labels
                            .iter()
                            .any(|label| label == "cluster" || label == "model" || is_global(label)),
                        "{path}: {}",
                        rule.expr
                    );
                }
                let known = [
                    token::T_SUM,
                    token::T_AVG,
                    token::T_MAX,
                    token::T_MIN,
                    token::T_COUNT,
                    token::T_GROUP,
                    token::T_COUNT_VALUES,
                ];
                assert!(known.contains(&aggregate.op.id()), "{path}: {}", rule.expr);
            }
        });
    }
}

/// How names begin of what devices and engines are measured by.
const MEASURED: [&str; 10] =
    ["accel_", "DCGM_", "vllm", "sglang", "ray_", "tgi_", "trtllm", "nv_", "te_", "ovms_"];

/// Alerts that look at values of this moment, all or one.
const AT_ONCE: [(&str, &str); 3] = [
    // It asks what is gone.
    ("MetricsMissingAfterUpgrade", ""),
    // Where no driver counts its devices: one that is called otherwise is not two.
    ("DeviceMissing", "accel_device_up"),
    ("EdgeNodeSilent", "accel_device_up"),
];

/// What holds for a time must not begin anew with each scrape that fails: alerts about devices, and the recordings that
/// they read, look at values of devices over a window or back in time.
#[test]
fn a_failed_scrape_does_not_end_what_holds_for_a_time() {
    let rules = parsed();
    let reads = |expr: &Expr| {
        let (mut bare, mut recorded) = (BTreeSet::new(), BTreeSet::new());
        walk(expr, &mut Vec::new(), &mut |node, _| match node {
            Expr::VectorSelector(selector) if selector.offset.is_none() => {
                let name = selector.name.clone().unwrap_or_default();
                if name.starts_with("accel:") || name.starts_with("llm:") {
                    recorded.insert(name)
                } else {
                    bare.insert(name)
                };
            }
            _ => {}
        });
        bare.retain(|name| MEASURED.iter().any(|prefix| name.starts_with(prefix)));
        (bare, recorded)
    };
    let mut seen = 0;
    for (path, rule, expr) in
        rules.iter().filter(|(path, rule, _)| rule.alert.is_some() && !path.contains("operator"))
    {
        let (mut bare, mut open) = reads(expr);
        let mut known = BTreeSet::new();
        while let Some(name) = open.pop_first() {
            if known.insert(name.clone()) {
                for (_, _, expr) in
                    rules.iter().filter(|(of, rule, _)| of == path && rule.record.as_ref() == Some(&name))
                {
                    let (more, recorded) = reads(expr);
                    bare.extend(more);
                    open.extend(recorded);
                }
            }
        }
        let alert = rule.alert.as_deref().unwrap_or_default();
        bare.retain(|name| !AT_ONCE.contains(&(alert, "")) && !AT_ONCE.contains(&(alert, name)));
        assert!(bare.is_empty(), "{path}: {alert} ends at a failed scrape: {bare:?}");
        seen += 1;
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn no_selector_is_a_regular_expression_over_names() {
    for (path, rule, expr) in parsed() {
        walk(&expr, &mut Vec::new(), &mut |node, around| {
            if matches!(node, Expr::VectorSelector(_) | Expr::MatrixSelector(_)) {
                assert!(selector_name(node).is_some(), "{path}: {}", rule.expr);
            }
            // `absent` ignores labels, so that one lost device among many would go unseen.
            assert!(!around.contains(&"absent"), "{path}: {}", rule.expr);
        });
    }
}

#[test]
fn alerts_have_what_a_person_needs_and_no_value_in_labels() {
    let pages: BTreeSet<String> =
        generate(Kind::Runbooks, &Overrides::default(), Names::Both, Format::Prometheus)
            .into_iter()
            .map(|(path, _)| path)
            .collect();
    for (path, rule) in rules() {
        assert_ne!(rule.record.is_some(), rule.alert.is_some(), "{path}");
        for value in rule.labels.values() {
            // What changes while the alert fires would make another alert of it; a code does not.
            let moves = value.contains("$value") || value.replace("$labels.code", "").contains("$labels");
            assert!(!moves, "{path}: a template in a label: {value}");
        }
        let Some(alert) = rule.alert else {
            let record = rule.record.unwrap();
            assert_eq!(record.matches(':').count() >= 1, record.split(':').count() <= 3, "{path}: {record}");
            continue;
        };
        for name in ["summary", "description", "runbook_url", "dashboard"] {
            assert!(
                rule.annotations.get(name).is_some_and(|text| text.len() > 5),
                "{path}: {alert} has no {name}"
            );
        }
        assert!(
            ["critical", "warning", "ticket", "info"].contains(&rule.labels["severity"].as_str()),
            "{path}: {alert}"
        );
        assert!(pages.contains(&format!("docs/runbooks/{alert}.md")), "{alert} has no runbook");
        let page = rule.annotations["runbook_url"].split('#').next().unwrap();
        assert!(page.ends_with(&format!("{alert}.md")));
        // What fires because something is gone waits for more than two scrapes.
        if rule.expr.contains("unless") && rule.expr.contains("offset 1h") {
            assert!(rule.hold.is_some(), "{path}: {alert}");
        }
    }
}
