//! The committed rules before Prometheus' own tool: they load, their tests pass, and no mutant of an alert
//! that pages lives through them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, ensure};
use e2e::artefacts::repository;
use serde_json::{Value, json};
use thresholds::{Format, Kind, Names, Overrides, generate};

/// An override file with everything that the default leaves out.
const EVERYTHING: &str = r#"
scrape_interval = "5s"
rate_window = "10m"
[alerts.GpuHbmNearOom]
for = "1m"
[slo.chat]
models = ["llama", "a\"b}{ü"]
[prices]
nvidia = 2.5
gaudi = 1.5
[labels]
team = "inference {{ on call }}"
"#;

fn promtool(arguments: &[&str], files: &[PathBuf]) -> Result<(bool, String)> {
    let output = Command::new("promtool")
        .args(arguments)
        .args(files)
        .output()
        .context("promtool (package prometheus)")?;
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    ))
}

/// What promtool says of each test file, a process per core.
fn verdicts(files: &[PathBuf]) -> Result<Vec<(PathBuf, String)>> {
    let cores = thread::available_parallelism()?.get();
    let said = thread::scope(|scope| {
        let started: Vec<_> = files
            .chunks(files.len().div_ceil(cores))
            .map(|batch| scope.spawn(move || promtool(&["test", "rules"], batch)))
            .collect();
        started.into_iter().map(|run| run.join().expect("no panic")).collect::<Result<Vec<_>>>()
    })?;
    let said = said.into_iter().map(|(_, said)| said).collect::<Vec<_>>().concat();
    let verdict = |file: &PathBuf| {
        let name = file.to_string_lossy();
        let of = |part: &&str| part.lines().next().is_some_and(|line| line.trim() == name);
        match said.split("Unit Testing:").find(of) {
            Some(verdict) if verdict.contains("SUCCESS") || verdict.contains("FAILED") => {
                Ok(verdict.to_owned())
            }
            // promtool 2.42 sometimes crashes on a busy machine, and takes the rest of its batch along.
            _ => promtool(&["test", "rules"], std::slice::from_ref(file)).map(|(_, said)| said),
        }
    };
    files.iter().map(|file| Ok((file.clone(), verdict(file)?))).collect()
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<_> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}

fn write(root: &Path, files: &[(String, String)]) -> Result<()> {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        fs::write(path, text)?;
    }
    Ok(())
}

fn passes(root: &Path) -> Result<()> {
    let (loads, said) =
        promtool(&["check", "rules", "--lint=all", "--lint-fatal"], &yaml_files(&root.join("alerts"))?)?;
    ensure!(loads, "{said}");
    // A process per file, or one core would do all the work.
    let files = yaml_files(&root.join("alerts/tests"))?;
    let runs: Vec<_> = files
        .iter()
        .map(|file| {
            Command::new("promtool")
                .args(["test", "rules"])
                .arg(file)
                .stderr(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
        })
        .collect::<Result<_, _>>()?;
    for run in runs {
        let output = run.wait_with_output()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "{}", said.chars().take(4000).collect::<String>());
    }
    Ok(())
}

#[test]
fn the_committed_rules_load_and_their_tests_pass() -> Result<()> {
    passes(repository())?;
    let (wrong, said) = promtool(
        &["test", "rules"],
        &yaml_files(&repository().join("alerts/tests/wrong"))?
            .into_iter()
            .filter(|path| path.ends_with("wrong_test.yaml"))
            .collect::<Vec<_>>(),
    )?;
    ensure!(wrong, "{said}");
    Ok(())
}

/// Cases of a folder that fail over the rules in `alerts`; each file says on its first line what happened.
fn failing_cases(alerts: &Path, folder: &Path) -> Result<(usize, Vec<(PathBuf, String)>)> {
    let root = tempfile::tempdir()?;
    for rules in yaml_files(alerts)? {
        fs::copy(&rules, root.path().join(rules.file_name().context("a rule file has a name")?))?;
    }
    let mut cases = Vec::new();
    for case in yaml_files(folder)? {
        let copy =
            root.path().join(format!("case-{}", case.file_name().context("a name")?.to_string_lossy()));
        fs::copy(&case, &copy)?;
        cases.push(copy);
    }
    let failed = verdicts(&cases)?.into_iter().filter(|(_, said)| !said.contains("SUCCESS"));
    Ok((cases.len(), failed.collect()))
}

#[test]
fn the_rules_hold_in_the_field() -> Result<()> {
    let (cases, failed) =
        failing_cases(&repository().join("alerts"), &repository().join("tests/cases/rules"))?;
    ensure!(cases > 60 && failed.is_empty(), "of {cases}: {failed:#?}");
    // And with what an operator says, a folder each.
    for entry in fs::read_dir(repository().join("tests/cases/overrides"))? {
        let folder = entry?.path();
        let text = fs::read_to_string(folder.join("overrides.toml"))?;
        let overrides = Overrides::parse("overrides.toml", &text)?;
        let root = tempfile::tempdir()?;
        write(root.path(), &generate(Kind::Rules, &overrides, Names::Both, Format::Prometheus))?;
        let (loads, said) = promtool(
            &["check", "rules", "--lint=all", "--lint-fatal"],
            &yaml_files(&root.path().join("alerts"))?,
        )?;
        ensure!(loads, "{}: {said}", folder.display());
        let (cases, failed) = failing_cases(&root.path().join("alerts"), &folder)?;
        ensure!(cases > 0 && failed.is_empty(), "of {cases} in {}: {failed:#?}", folder.display());
    }
    Ok(())
}

/// A case about an alert that was renamed would expect silence of nothing, and pass for ever.
#[test]
fn cases_name_alerts_that_exist() -> Result<()> {
    let read = |files: Vec<PathBuf>| -> Result<String> {
        Ok(files.iter().map(fs::read_to_string).collect::<Result<Vec<_>, _>>()?.concat())
    };
    let rules = read(yaml_files(&repository().join("alerts"))?)?;
    let rules: BTreeSet<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let cases = read(yaml_files(&repository().join("tests/cases/rules"))?)?;
    let selectors = cases.split("alertname=").skip(1).filter_map(|rest| rest.split('"').nth(1));
    let named: Vec<_> = selectors.flat_map(|names| names.split('|')).collect();
    let gone: Vec<_> =
        named.iter().filter(|name| !name.contains(['.', '*']) && !rules.contains(*name)).collect();
    ensure!(named.len() > 30 && gone.is_empty(), "of {} names: {gone:?}", named.len());
    Ok(())
}

#[test]
fn nothing_else_is_committed_beside_what_is_generated() -> Result<()> {
    let mut generated = BTreeSet::new();
    for kind in Kind::ALL {
        for format in [Format::Prometheus, Format::Operator] {
            let files = generate(kind, &Overrides::default(), Names::Both, format);
            generated.extend(files.into_iter().map(|(path, _)| path));
        }
    }
    for folder in
        ["alerts", "alerts/operator", "alerts/tests", "alerts/tests/wrong", "docs/runbooks", "dashboards"]
    {
        for entry in fs::read_dir(repository().join(folder))? {
            let entry = entry?;
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            ensure!(
                entry.file_type()?.is_dir() || generated.contains(&path),
                "{path} is generated by nothing"
            );
        }
    }
    Ok(())
}

#[test]
fn overridden_rules_load_and_their_tests_pass() -> Result<()> {
    let root = tempfile::tempdir()?;
    let overrides = Overrides::parse("everything.toml", EVERYTHING)?;
    for kind in [Kind::Rules, Kind::Tests] {
        write(root.path(), &generate(kind, &overrides, Names::Both, Format::Prometheus))?;
    }
    passes(root.path())
}

/// An exporter that prints both vocabularies ends after ten minutes; a stock dcgm-exporter goes on for as
/// long.
const BOTH_VOCABULARIES: &str = r#"
evaluation_interval: 15s
tests:
- interval: 15s
  input_series:
  - series: 'accel_device_up{family="nvidia",device="gpu0",uuid="GPU-both",instance="both:9477"}'
    values: '1x40 stale'
  - series: 'DCGM_FI_PROF_SM_OCCUPANCY{gpu="0",UUID="GPU-both",instance="both:9477"}'
    values: '0.5x40 stale'
  - series: 'DCGM_FI_PROF_SM_OCCUPANCY{gpu="0",UUID="GPU-stock",instance="stock:9400"}'
    values: '0.5x40 stale'
  promql_expr_test:
"#;

#[test]
fn a_gpu_in_both_vocabularies_is_judged_once_also_after_its_exporter_ended() -> Result<()> {
    let root = tempfile::tempdir()?;
    let rules = repository().join("alerts/nvidia-dcgm.yaml");
    let checks = [3, 9, 12, 14].map(|minute| {
        format!(
            "  - expr: count by (uuid) (accel:sm_occupancy:avg5m)\n    eval_time: {minute}m\n    \
             exp_samples: [{{ labels: '{{uuid=\"GPU-stock\"}}', value: 1 }}]\n"
        )
    });
    let test = format!("rule_files: ['{}']{BOTH_VOCABULARIES}{}", rules.display(), checks.concat());
    let file = root.path().join("both_test.yaml");
    fs::write(&file, test)?;
    let (passed, said) = promtool(&["test", "rules"], &[file])?;
    ensure!(passed, "{said}");
    Ok(())
}

/// A rule as it is.
const UNCHANGED: &str = "unchanged";

/// A change to one rule that its tests must notice.
struct Mutant {
    what: String,
    /// Place of the rule in its file: group and index.
    at: (usize, usize),
    expr: Option<String>,
    hold: Option<String>,
}

#[test]
fn no_mutant_of_a_paging_alert_survives() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut runs = Vec::new();
    for path in yaml_files(&repository().join("alerts"))? {
        let name = path.file_stem().context("a rule file has a name")?.to_string_lossy().into_owned();
        let rules: Value = serde_saphyr::from_str(&fs::read_to_string(&path)?)?;
        let tests: Value = serde_saphyr::from_str(&fs::read_to_string(
            path.with_file_name(format!("tests/{name}_test.yaml")),
        )?)?;
        let groups = rules["groups"].as_array().context("a rule file has groups")?;
        for (g, group) in groups.iter().enumerate() {
            if !group["name"].as_str().is_some_and(|name| name.starts_with("llm-critical")) {
                continue;
            }
            for (r, rule) in group["rules"].as_array().context("a group has rules")?.iter().enumerate() {
                let alert = rule["alert"].as_str().context("an alert")?;
                let severity = rule["labels"]["severity"].as_str().context("a severity")?;
                if !["critical", "warning"].contains(&severity) {
                    continue;
                }
                for (index, mutant) in mutants(groups, (g, r), rule)?.into_iter().enumerate() {
                    let stem = format!("{name}-{alert}-{severity}-{index}");
                    let mut mutated = rules.clone();
                    // Only what this alert needs, so that hundreds of them take seconds.
                    mutated["groups"] = needed(&mutated["groups"], rule);
                    apply(&mut mutated, &rules, &mutant)?;
                    let mut proof = tests.clone();
                    proof["rule_files"] = json!([format!("{stem}.yaml")]);
                    let kept = proofs(&tests["tests"], (alert, severity), &mutated);
                    ensure!(!kept.is_empty(), "{alert} has no test in {name}");
                    proof["tests"] = Value::Array(kept);
                    fs::write(root.path().join(format!("{stem}.yaml")), serde_json::to_string(&mutated)?)?;
                    fs::write(root.path().join(format!("{stem}_test.yaml")), serde_json::to_string(&proof)?)?;
                    runs.push((
                        root.path().join(format!("{stem}_test.yaml")),
                        format!("{name} {alert}: {}", mutant.what),
                    ));
                }
            }
        }
    }
    ensure!(runs.len() > 100, "only {} mutants", runs.len());
    let mut survivors = Vec::new();
    let mut rules_alive = 0;
    let files: Vec<_> = runs.iter().map(|(path, _)| path.clone()).collect();
    for ((_, verdict), (_, what)) in verdicts(&files)?.into_iter().zip(&runs) {
        let unchanged = what.ends_with(UNCHANGED);
        rules_alive += usize::from(unchanged);
        ensure!(!unchanged || verdict.contains("SUCCESS"), "{what} fails: {verdict}");
        if !unchanged && verdict.contains("SUCCESS") {
            survivors.push(what.as_str());
        }
    }
    let mutants = runs.len() - rules_alive;
    println!("mutants killed: {} of {mutants}, over {rules_alive} rules", mutants - survivors.len());
    let mut survivors: Vec<_> = survivors.into_iter().map(without_place).collect();
    survivors.sort();
    let known = fs::read_to_string(repository().join("tests/cases/surviving_mutants.txt"))?;
    let known: Vec<_> = known.lines().filter(|line| !line.starts_with('#')).collect();
    ensure!(survivors == known, "{} of {mutants} live:\n{}", survivors.len(), survivors.join("\n"));
    Ok(())
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

/// The recordings that an expression reads, and those that they read.
fn recordings_of(groups: &[Value], expr: &str) -> BTreeSet<String> {
    let rules = || groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten());
    let mut found = BTreeSet::new();
    let mut texts = vec![expr];
    while let Some(text) = texts.pop() {
        for rule in rules() {
            if let (Some(record), Some(expr)) = (rule["record"].as_str(), rule["expr"].as_str())
                && text.contains(record)
                && found.insert(record.to_owned())
            {
                texts.push(expr);
            }
        }
    }
    found
}

/// The groups with one alert and the recordings behind it.
fn needed(groups: &Value, alert: &Value) -> Value {
    let all = groups.as_array().map(Vec::as_slice).unwrap_or_default();
    let read = recordings_of(all, alert["expr"].as_str().unwrap_or_default());
    let mut groups = groups.clone();
    for group in groups.as_array_mut().into_iter().flatten() {
        if let Some(rules) = group["rules"].as_array_mut() {
            rules
                .retain(|rule| rule["record"].as_str().map_or(rule == alert, |record| read.contains(record)));
        }
    }
    groups
}

/// The tests of an alert, and those of the recordings that are left.
fn proofs(tests: &Value, (alert, severity): (&str, &str), rules: &Value) -> Vec<Value> {
    let left = rules["groups"].as_array().into_iter().flatten();
    let left: Vec<&str> = left
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
        let of_other_severity = |check: &Value| {
            let fired = check["exp_alerts"].as_array().into_iter().flatten();
            fired.into_iter().any(|fired| fired["exp_labels"]["severity"] != severity)
        };
        test["alert_rule_test"]
            .as_array()
            .is_some_and(|checks| checks.iter().any(of_alert) && !checks.iter().any(of_other_severity))
    });
    kept
}

/// Changes the rule in `mutated` that is the one at the mutant's place in `rules`.
fn apply(mutated: &mut Value, rules: &Value, mutant: &Mutant) -> Result<()> {
    let original = &rules["groups"][mutant.at.0]["rules"][mutant.at.1];
    let found = mutated["groups"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .flat_map(|group| group["rules"].as_array_mut().into_iter().flatten())
        .find(|rule| *rule == original)
        .context("the rule is still there")?;
    if let Some(expr) = &mutant.expr {
        found["expr"] = json!(expr);
    }
    if let Some(hold) = &mutant.hold {
        found["for"] = json!(hold);
    }
    Ok(())
}

/// Every mutant of an alert, and of the recordings behind it.
fn mutants(groups: &[Value], at: (usize, usize), rule: &Value) -> Result<Vec<Mutant>> {
    let text = rule["expr"].as_str().context("a rule has an expression")?;
    let hold = rule["for"].as_str().map_or(0, |hold| hold.trim_end_matches('m').parse().unwrap_or(0_u32));
    // Not a mutant: what the tests must let pass, or they would kill everything.
    let same = Mutant { what: UNCHANGED.to_owned(), at, expr: None, hold: None };
    let holds = [0, hold + 1, hold * 2].into_iter().filter(|minutes| *minutes != hold).map(|minutes| {
        Mutant { what: format!("for {minutes}m"), at, expr: None, hold: Some(format!("{minutes}m")) }
    });
    let mut found: Vec<_> = std::iter::once(same).chain(holds).collect();
    let mut add =
        |at, what: String, expr: String| found.push(Mutant { what, at, expr: Some(expr), hold: None });
    for (what, expr) in comparisons(text).into_iter().chain(matchers(text)) {
        add(at, what, expr);
    }
    let read = recordings_of(groups, text);
    for (g, group) in groups.iter().enumerate() {
        for (r, recording) in group["rules"].as_array().into_iter().flatten().enumerate() {
            let (Some(record), Some(expr)) = (recording["record"].as_str(), recording["expr"].as_str())
            else {
                continue;
            };
            if read.contains(record) {
                for (what, expr) in matchers(expr) {
                    add((g, r), format!("{record}: {what}"), expr);
                }
            }
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
            found.push((format!("{pair} becomes none at {open}"), with(format!("{head}\"none\""))));
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
