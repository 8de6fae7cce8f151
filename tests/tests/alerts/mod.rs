//! The committed rules before Prometheus' own tool, in the release of Debian and in the newest: they load, their tests
//! pass, and no mutant of an alert that pages lives through them.

mod engines;
mod mutants;
mod needed;
mod promtool;
mod proofs;
mod routing;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use e2e::artefacts::repository;
use promtool::Promtool;
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

/// Folders of rule files, one for each level.
const LEVELS: [&str; 2] = ["alerts", "alerts/global"];

/// Every rule file loads, and every test passes over the rules that it needs.
fn passes(root: &Path, releases: &[Promtool]) -> Result<()> {
    for level in LEVELS {
        let rules = yaml_files(&root.join(level))?;
        releases.iter().try_for_each(|promtool| promtool.loads(&rules))?;
        let failed = failures(&yaml_files(&root.join(level).join("tests"))?, releases, needed::narrowed)?;
        ensure!(failed.is_empty(), "{failed:#?}");
    }
    Ok(())
}

/// Test files that fail in some release, after `write` wrote what is run of them.
fn failures(
    tests: &[PathBuf],
    releases: &[Promtool],
    write: impl Fn(&[PathBuf], &Path) -> Result<Vec<PathBuf>>,
) -> Result<Vec<(PathBuf, String)>> {
    let folder = tempfile::tempdir()?;
    let written = write(tests, folder.path())?;
    let failed = releases.iter().map(|promtool| promtool.failed(&written));
    Ok(failed.collect::<Result<Vec<_>>>()?.concat())
}

#[test]
fn the_committed_rules_load_and_their_tests_pass() -> Result<()> {
    passes(repository(), &Promtool::all()?)
}

#[test]
fn no_committed_rule_fails_on_the_data_of_any_test() -> Result<()> {
    for level in LEVELS {
        let tests = yaml_files(&repository().join(level).join("tests"))?;
        let failed = failures(&tests, &[Promtool::debian()], needed::whole)?;
        ensure!(failed.is_empty(), "{failed:#?}");
    }
    Ok(())
}

#[test]
fn the_wrong_rules_that_people_copy_fail_as_their_tests_say() -> Result<()> {
    let test = repository().join("alerts/tests/wrong/wrong_test.yaml");
    let failed = Promtool::debian().failed(&[test])?;
    ensure!(failed.is_empty(), "{failed:#?}");
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
    let mut failed = failures(&cases, &Promtool::all()?, needed::narrowed)?;
    failed.extend(failures(&cases, &[Promtool::debian()], needed::whole)?);
    Ok((cases.len(), failed))
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
        Promtool::debian().loads(&yaml_files(&root.path().join("alerts"))?)?;
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
    for folder in [
        "alerts",
        "alerts/global",
        "alerts/global/tests",
        "alerts/operator",
        "alerts/tests",
        "alerts/tests/wrong",
        "docs/runbooks",
        "dashboards",
        "examples/federation",
    ] {
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
    passes(root.path(), &[Promtool::debian()])
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
    let failed = Promtool::debian().failed(&[file])?;
    ensure!(failed.is_empty(), "{failed:#?}");
    Ok(())
}
