//! The file of settings, on the real binary: what wins, and what SIGHUP reads again.

#![expect(clippy::float_cmp, reason = "flags are printed and parsed exactly")]

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::{Exporter, Node, eventually, process};

/// Sends SIGHUP, and waits until the log says more than before.
fn reload(exporter: &Exporter, says: &str) -> Result<String> {
    let before = exporter.process.log().len();
    exporter.process.signal("HUP")?;
    eventually(&format!("the log says {says:?}"), || {
        let log = exporter.process.log();
        let line = log[before..].lines().find(|line| line.contains(says));
        line.map(str::to_owned).with_context(|| log[before..].to_owned())
    })
}

fn is_good(exporter: &Exporter) -> Result<bool> {
    Ok(exporter.scrape()?.value("accelscope_config_last_reload_successful", &[("file", "config")])? == 1.0)
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() -> Result<()> {
    let node = Node::new("t4-1")?;
    let file = node.dir().join("settings.toml");
    fs::write(&file, "\"log.level\" = \"loud\"\n\"log.format\" = \"json\"\n")?;
    let path = file.display().to_string();
    let run = |flags: &[&str], variables: &[(&str, &str)]| {
        let mut command = node.accelscope("probe", flags)?;
        process::run(command.env("ACCELSCOPE_CONFIG_FILE", &path).envs(variables.iter().copied()))
    };
    let refused = run(&[], &[])?;
    ensure!(refused.code == Some(2), "{refused:?}");
    ensure!(refused.stderr.contains("settings.toml:1: log.level: \"loud\" is not one of"), "{refused:?}");
    let refused = run(&[], &[("ACCELSCOPE_LOG_LEVEL", "louder")])?;
    ensure!(
        refused.stderr.contains("ACCELSCOPE_LOG_LEVEL") && refused.stderr.contains("louder"),
        "{refused:?}"
    );
    let refused = run(&["--log.level", "loudest"], &[("ACCELSCOPE_LOG_LEVEL", "louder")])?;
    ensure!(refused.stderr.contains("--log.level: \"loudest\""), "{refused:?}");
    for (flags, variables) in
        [(&["--log.level", "info"][..], &[][..]), (&[], &[("ACCELSCOPE_LOG_LEVEL", "info")])]
    {
        run(flags, variables)?.success()?;
    }
    let written = node.dir().join("written");
    let program = node.accelscope("serve", &[])?.get_program().to_owned();
    let mut generate = node.command(&program);
    process::run(generate.args(["generate", "config", "--output"]).arg(&written))?.success()?;
    let template = written.join("etc/accelscope/accelscope.toml");
    node.run("probe", &["--config.file", &template.display().to_string()])?.success()?;
    Ok(())
}

#[test]
fn sighup_reads_again_what_it_can_and_names_what_needs_a_restart() -> Result<()> {
    let node = Node::new("h100-sxm-4")?.frozen();
    let (file, counters) = (node.dir().join("settings.toml"), node.dir().join("counters.csv"));
    let set = |more: &str| {
        let text = format!("names = [\"unified\", \"vendor\"]\n\"dcgm.collectors\" = {counters:?}\n{more}");
        fs::write(&file, text).map_err(anyhow::Error::from)
    };
    set("")?;
    fs::write(&counters, "DCGM_FI_DEV_POWER_USAGE, gauge, Draw.\n")?;
    let exporter = node.start(&["--config.file", &file.display().to_string()])?;
    let before = exporter.settled()?;
    ensure!(before.has("DCGM_FI_DEV_POWER_USAGE", &[]) && !before.has("DCGM_FI_DEV_GPU_TEMP", &[]));
    ensure!(is_good(&exporter)?);

    fs::write(&counters, "DCGM_FI_DEV_GPU_TEMP, gauge, Heat.\n")?;
    let line = reload(&exporter, "settings read again")?;
    ensure!(!line.contains("restart"), "{line}");
    exporter.until("another field is exported", |samples| {
        ensure!(!samples.has("DCGM_FI_DEV_POWER_USAGE", &[]) && samples.has("DCGM_FI_DEV_GPU_TEMP", &[]));
        Ok(())
    })?;

    set("interval = \"2s\"\n\"web.max-requests\" = 3\n")?;
    let line = reload(&exporter, "settings read again")?;
    ensure!(line.contains("needs a restart: interval, web.max-requests"), "{line}");

    for (bad, says) in [("intervall = \"1s\"\n", "`intervall`"), ("interval = \"9h\"\n", "\"9h\"")] {
        set(bad)?;
        let line = reload(&exporter, "the settings stay")?;
        ensure!(line.contains("settings.toml:3: ") && line.contains(says), "{line}");
        eventually("the file is found bad", || {
            ensure!(!is_good(&exporter)?);
            Ok(())
        })?;
        set("")?;
        reload(&exporter, "settings read again")?;
        eventually("the file is good", || {
            ensure!(is_good(&exporter)?);
            Ok(())
        })?;
    }
    fs::remove_file(&counters)?;
    reload(&exporter, "counters.csv")?;
    ensure!(exporter.settled()?.has("DCGM_FI_DEV_GPU_TEMP", &[]), "the last good choice stays");
    exporter.ends_in_order()
}

#[test]
fn without_a_file_sighup_ends_nothing() -> Result<()> {
    let node = Node::new("t4-1")?.frozen();
    let exporter = node.start(&[])?;
    reload(&exporter, "settings read again")?;
    ensure!(exporter.settled()?.sum("accel_device_up", &[]) == 1.0);
    exporter.ends_in_order()
}
