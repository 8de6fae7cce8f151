//! Mutants: changed thresholds, durations, comparisons and matchers of the alerts that page, which the generated tests
//! must notice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use e2e::artefacts::repository;
use serde_json::{Value, json};

use super::{
    LEVELS,
    needed::{Place, Rules, only},
    promtool::Promtool,
    yaml_files,
};

/// A rule as it is.
const UNCHANGED: &str = "unchanged";

/// A change to one rule that its tests must notice.
struct Mutant {
    what: String,
    /// The rule that is changed.
    at: Place,
    /// What of it, and to what.
    change: Option<(&'static str, String)>,
}

/// A mutant among the rules that it needs, and the tests that may notice it.
struct Run {
    alert: String,
    what: String,
    rules: String,
    proofs: Vec<Value>,
    /// What the test file has beside its tests.
    frame: Value,
}

/// How many mutants of an alert there are, and how many of them were noticed.
#[derive(Clone, Copy, Default)]
pub struct Killed {
    pub killed: usize,
    pub all: usize,
}

/// Tries every mutant, and returns those that live, by file and alert, with the count of each alert.
pub fn survivors() -> Result<(Vec<String>, BTreeMap<String, Killed>)> {
    let mut runs = Vec::new();
    for level in LEVELS {
        for path in yaml_files(&repository().join(level))? {
            runs.extend(of_file(&path)?);
        }
    }
    ensure!(runs.len() > 100, "only {} mutants", runs.len());
    let mut counts: BTreeMap<String, Killed> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.what != UNCHANGED) {
        let count = counts.entry(run.alert.clone()).or_default();
        (count.all, count.killed) = (count.all + 1, count.killed + 1);
    }
    // Most die of the first proof, so each round has more proofs and fewer mutants.
    let (mut from, mut size) = (0, 1);
    while runs.iter().any(|run| run.proofs.len() > from) {
        runs = unnoticed(runs, from..from + size)?;
        (from, size) = (from + size, size * 2);
    }
    runs.retain(|run| run.what != UNCHANGED);
    for run in &runs {
        counts.entry(run.alert.clone()).or_default().killed -= 1;
    }
    let mut living: Vec<_> =
        runs.iter().map(|run| format!("{}: {}", run.alert, without_place(&run.what))).collect();
    living.sort();
    Ok((living, counts))
}

/// The mutants that these proofs do not notice.
fn unnoticed(runs: Vec<Run>, proofs: std::ops::Range<usize>) -> Result<Vec<Run>> {
    let root = tempfile::tempdir()?;
    let mut files = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let (start, end) = (proofs.start.min(run.proofs.len()), proofs.end.min(run.proofs.len()));
        if start == end {
            continue;
        }
        let mut test = run.frame.clone();
        test["rule_files"] = json!([format!("{at}.yaml")]);
        test["tests"] = json!(run.proofs[start..end]);
        fs::write(root.path().join(format!("{at}.yaml")), &run.rules)?;
        let file = root.path().join(format!("{at}_test.yaml"));
        fs::write(&file, serde_json::to_string(&test)?)?;
        files.push((at, file));
    }
    let promtool = Promtool::debian();
    let paths: Vec<_> = files.iter().map(|(_, file)| file.clone()).collect();
    let mut noticed = BTreeSet::new();
    for ((at, file), passed) in files.iter().zip(promtool.passed(&paths)?) {
        if !passed {
            let run = &runs[*at];
            let unchanged = run.what == UNCHANGED;
            ensure!(
                !unchanged,
                "{} unchanged: {:?}",
                run.alert,
                promtool.failed(std::slice::from_ref(file))?
            );
            noticed.insert(*at);
        }
    }
    Ok(runs.into_iter().enumerate().filter(|(at, _)| !noticed.contains(at)).map(|(_, run)| run).collect())
}

/// Every mutant of the paging alerts of a rule file.
fn of_file(path: &Path) -> Result<Vec<Run>> {
    let name = path.file_stem().context("a rule file has a name")?.to_string_lossy().into_owned();
    let rules: Value = serde_saphyr::from_str(&fs::read_to_string(path)?)?;
    let tests = path.with_file_name(format!("tests/{name}_test.yaml"));
    let tests: Value = serde_saphyr::from_str(&fs::read_to_string(tests)?)?;
    let rules = Rules::new(rules["groups"].as_array().context("a rule file has groups")?.clone())?;
    let mut runs = Vec::new();
    for (g, group) in rules.groups().iter().enumerate() {
        if !group["name"].as_str().is_some_and(|name| name.starts_with("llm-critical")) {
            continue;
        }
        for (r, rule) in group["rules"].as_array().context("a group has rules")?.iter().enumerate() {
            let alert = rule["alert"].as_str().context("an alert")?;
            let severity = rule["labels"]["severity"].as_str().context("a severity")?;
            if !["critical", "warning"].contains(&severity) {
                continue;
            }
            // Only what this alert needs, so that hundreds of them take seconds.
            let needed = rules.behind(&format!("ALERTS{{alertname=\"{alert}\"}}"))?;
            for mutant in mutants(&rules, (g, r))? {
                let mut groups = rules.groups().to_vec();
                if let Some((key, value)) = mutant.change {
                    groups[mutant.at.0]["rules"][mutant.at.1][key] = json!(value);
                }
                let groups = only(&groups, &needed);
                let proofs = proofs(&tests["tests"], alert, &groups);
                ensure!(!proofs.is_empty(), "{alert} has no test in {name}");
                let mut frame = tests.clone();
                frame["tests"] = json!([]);
                runs.push(Run {
                    alert: format!("{name} {alert}"),
                    what: mutant.what,
                    rules: serde_json::to_string(&json!({ "groups": groups }))?,
                    proofs,
                    frame,
                });
            }
        }
    }
    Ok(runs)
}

/// A mutant's name without its place in the expression, and with long lists of codes cut.
fn without_place(what: &str) -> String {
    let what = what.rsplit_once(" at ").map_or(what, |(name, _)| name);
    let mut parts = what.splitn(3, '"');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(head), Some(value), Some(tail)) if value.len() > 40 => {
            format!("{head}\"{}...\"{tail}", &value[..6])
        }
        _ => what.to_owned(),
    }
}

/// The tests of an alert, and those of the recordings that are left, those with many series first.
fn proofs(tests: &Value, alert: &str, groups: &[Value]) -> Vec<Value> {
    let left: Vec<&str> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().into_iter().flatten())
        .filter_map(|rule| rule["record"].as_str())
        .collect();
    let mut kept = tests.as_array().cloned().unwrap_or_default();
    kept.retain_mut(|test| {
        if let Some(checks) = test["promql_expr_test"].as_array_mut() {
            checks.retain(|check| {
                left.iter().any(|record| check["expr"].as_str().is_some_and(|expr| expr.contains(record)))
            });
            return !checks.is_empty();
        }
        let of_alert = |check: &Value| check["alertname"] == alert;
        test["alert_rule_test"].as_array().is_some_and(|checks| checks.iter().any(of_alert))
    });
    // Without any data nothing is noticed, and of many series most likely something.
    kept.sort_by_key(|test| std::cmp::Reverse(test["input_series"].as_array().map_or(0, Vec::len).min(12)));
    kept
}

/// Every mutant of an alert, and of the recordings behind it.
fn mutants(rules: &Rules, at: Place) -> Result<Vec<Mutant>> {
    let rule = rules.at(at);
    let text = rule["expr"].as_str().context("a rule has an expression")?;
    let hold = rule["for"].as_str().map_or(0, |hold| hold.trim_end_matches('m').parse().unwrap_or(0_u32));
    // Not a mutant: what the tests must let pass, or they would kill everything.
    let mut found = vec![Mutant { what: UNCHANGED.to_owned(), at, change: None }];
    for minutes in [0, hold + 1, hold * 2].into_iter().filter(|minutes| *minutes != hold) {
        let change = Some(("for", format!("{minutes}m")));
        found.push(Mutant { what: format!("for {minutes}m"), at, change });
    }
    let mut add = |at, what, expr| found.push(Mutant { what, at, change: Some(("expr", expr)) });
    for (what, expr) in comparisons(text).into_iter().chain(matchers(text)) {
        add(at, what, expr);
    }
    for at in rules.behind(text)? {
        let recording = rules.at(at);
        let record = recording["record"].as_str().context("an alert is read by no rule")?;
        for (what, expr) in matchers(recording["expr"].as_str().context("an expression")?) {
            add(at, format!("{record}: {what}"), expr);
        }
    }
    Ok(found)
}

/// Each comparison with a number: another operator, and the number moved either way.
fn comparisons(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for operator in [">=", "<=", "==", ">", "<"] {
        for (at, _) in text.match_indices(operator) {
            let before = &text[..at];
            let after = &text[at + operator.len()..];
            // Not the end of another operator, and outside of quotes.
            if before.ends_with(['=', '!', '<', '>'])
                || after.starts_with(['=', '~'])
                || before.matches('"').count() % 2 == 1
            {
                continue;
            }
            let digits = after.trim_start();
            let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
            let Ok(number) = digits[..end].parse::<f64>() else { continue };
            let tail = &digits[end..];
            let others: &[&str] = match operator {
                ">" => &[">=", "<"],
                ">=" => &[">", "<"],
                "<" => &["<=", ">"],
                "<=" => &["<", ">"],
                // Flags are 0 or 1.
                _ => &["!="],
            };
            for other in others {
                found.push((
                    format!("{operator} becomes {other} at {at}"),
                    format!("{before}{other} {number}{tail}"),
                ));
            }
            let step = if number.fract() == 0.0 { 2.0 } else { 0.02 };
            for moved in [number + step, number - step] {
                found.push((
                    format!("{number} becomes {moved} at {at}"),
                    format!("{before}{operator} {moved}{tail}"),
                ));
            }
        }
    }
    found
}

/// The matcher that rules over dcgm-exporter's names have in each of their selectors: one of them alone changes nothing
/// where the others are matched on all labels.
const SCOPE: &str = "job!~";

/// How many alternatives of a matcher are left out, one at a time.
const FEW: usize = 8;

/// Each label matcher: another value, each alternative left out, and the matcher gone.
fn matchers(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(open) = text[from..].find('{').map(|at| at + from) {
        let Some(close) = text[open..].find('}').map(|at| at + open) else { break };
        let pairs: Vec<&str> = text[open + 1..close].split(',').collect();
        for (index, pair) in pairs.iter().enumerate() {
            let with = |pair: String| {
                let mut pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
                pairs[index] = pair;
                format!("{}{{{}}}{}", &text[..open], pairs.join(","), &text[close + 1..])
            };
            let Some((head, value)) = pair.split_once('"') else { continue };
            let value = value.trim_end_matches('"');
            let other = if value == "none" { "nothing" } else { "none" };
            let changed = format!("{head}\"{other}\"");
            if pair.starts_with(SCOPE) {
                found.push((format!("{pair} becomes {other}"), text.replace(*pair, &changed)));
            } else {
                found.push((format!("{pair} becomes {other} at {open}"), with(changed)));
            }
            // Everywhere at once: while one operand still names it, matching on all labels keeps the others
            // to it.
            let gone = text
                .replace(&format!("{pair},"), "")
                .replace(&format!("{{{pair}}}"), "")
                .replace(&format!(",{pair}"), "");
            found.push((format!("{pair} is gone"), gone));
            let parts: Vec<&str> = value.split('|').collect();
            if head.ends_with("=~") && parts.len() > 1 {
                // Of a long list of codes a few: one test has a device for each code.
                for part in parts.iter().step_by(parts.len().div_ceil(FEW)) {
                    let rest: Vec<&str> = parts.iter().filter(|p| p != &part).copied().collect();
                    found.push((
                        format!("{part} left out at {open}"),
                        with(format!("{head}\"{}\"", rest.join("|"))),
                    ));
                }
            }
        }
        from = close;
    }
    found
}
