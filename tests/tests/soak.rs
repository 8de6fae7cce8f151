//! A minute of the soak; `cargo xtask soak` measures hours.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{
    Artefacts,
    soak::{self, Plan},
};

#[test]
fn a_minute_of_faults_and_clients_leaves_nothing_behind() -> Result<()> {
    let (duration, period) = (Duration::from_mins(1), Duration::from_secs(20));
    let plan = Plan { wanted: "", duration, period, seed: 1 };
    let report = soak::run(&Artefacts::beside_this_program()?, plan, |_| ())?;
    ensure!(report.faults > 0 && report.traffic.scrapes > 0 && report.traffic.attacks > 0, "{report:?}");
    let broken = report.broken();
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}
