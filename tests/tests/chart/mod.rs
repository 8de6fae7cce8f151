//! The Helm chart: rendered by real releases of Helm, and judged by the schemas of Kubernetes, the types of the Prometheus
//! Operator, the flags of the program and docs/privileges.md.

mod golden;
mod kinds;
mod law;
mod values;

use anyhow::{Result, ensure};
use e2e::chart::{self, Helm};

#[test]
fn every_case_passes_the_linter() -> Result<()> {
    let chart = chart::folder().display().to_string();
    for helm in Helm::releases()? {
        for name in chart::cases()? {
            let values = helm.values(&chart::case(&name)?)?.display().to_string();
            let finished = helm.run(&["lint", "--strict", &chart, "--values", &values])?;
            ensure!(finished.code == Some(0), "Helm {}, {name}: {finished:?}", helm.version);
        }
    }
    Ok(())
}

#[test]
fn notes_name_the_next_step_of_each_case() -> Result<()> {
    let chart = chart::folder().display().to_string();
    // Helm 3 asks a cluster even for a dry run.
    let helm = Helm::newest()?;
    let notes = |case: &str| -> Result<String> {
        let values = helm.values(&chart::case(case)?)?.display().to_string();
        helm.run(&["install", "agent", &chart, "--dry-run=client", "--values", &values])?.success()
    };
    let all = notes("default")?;
    for step in
        ["get daemonset agent-accelscope", "accelscope probe", "podMonitor.enabled=true", "nodeSelector"]
    {
        ensure!(all.contains(step), "{step}: {all}");
    }
    ensure!(notes("none")?.contains("privileges is none"));
    ensure!(!notes("everything")?.contains("Nothing scrapes it"));
    Ok(())
}
