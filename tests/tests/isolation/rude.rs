//! Libraries that change the process that they are loaded into: descriptors, signals, locale, folder, masks.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail, ensure};
use e2e::{Exporter, Node, eventually, process};
use serde_json::Value;

use super::{children, has_ended, helper};

/// Makes the node's library one that does this when it is loaded, and otherwise is as it was.
fn make_rude(node: &Node, constructor: &str) -> Result<()> {
    let (library, folder) = (node.library(), node.dir().join("real"));
    let real = folder.join(library.file_name().context("a name")?);
    if !real.exists() {
        fs::create_dir(&folder)?;
        fs::rename(&library, &real)?;
    }
    let source = node.dir().join("rude.c");
    let text = format!(
        "#define _GNU_SOURCE\n#include <fcntl.h>\n#include <locale.h>\n#include <signal.h>\n#include <stdio.h>\n\
         #include <stdlib.h>\n#include <sys/prctl.h>\n#include <sys/resource.h>\n#include <sys/stat.h>\n\
         #include <unistd.h>\n\
         static void never(int signal) {{ (void)signal; }}\n\
         __attribute__((constructor)) static void begin(void) {{ (void)never; {constructor} }}\n"
    );
    fs::write(&source, text)?;
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-Wl,--no-as-needed", "-o"]).arg(&library).args([&source, &real]);
    cc.arg(format!("-Wl,-rpath,{}", folder.display()));
    let compiled = process::run(&mut cc)?;
    ensure!(compiled.code == Some(0), "{compiled:?}");
    Ok(())
}

/// Waits until the library's source is down for this reason.
fn source_is_down(exporter: &Exporter, reason: &str) -> Result<()> {
    exporter.until(reason, |samples| {
        ensure!(samples.value("accelscope_source_up", &[("source", "nvidia")])? == 0.0);
        let page = exporter.get("/")?.ok()?.text()?.to_owned();
        ensure!(page.contains(reason), "{page}");
        Ok(())
    })
}

/// What the kernel says of a process, in one line.
fn status(exporter: &Exporter, name: &str) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.process.id()))?;
    Ok(status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned())
}

#[test]
fn what_a_library_changes_in_its_process_is_not_changed_in_the_exporter() -> Result<()> {
    let node = Node::new("h100-sxm-8")?;
    let plain = node.start(&["--isolate", "on"])?;
    plain.settled()?;
    for (name, constructor) in [
        ("handlers", "signal(SIGSEGV, never); signal(SIGTERM, never); signal(SIGCHLD, SIG_IGN);"),
        ("locale", "setenv(\"LC_ALL\", \"de_DE.UTF-8\", 1); setlocale(LC_ALL, \"\");"),
        (
            "masks",
            "umask(0); if (chdir(\"/\")) abort(); sigset_t all; sigfillset(&all); sigprocmask(SIG_BLOCK, &all, 0);",
        ),
        ("prints", "printf(\"{\\\"hello\\\"\\n\"); fflush(stdout);"),
        ("alarm", "signal(SIGALRM, SIG_IGN); alarm(1);"),
        (
            "limits",
            "struct rlimit few = {16, 16}; setrlimit(RLIMIT_NOFILE, &few); setpriority(PRIO_PROCESS, 0, 19); \
             setpriority(PRIO_PGRP, 0, 10); prctl(PR_SET_NAME, \"rude\"); prctl(PR_SET_DUMPABLE, 0);",
        ),
    ] {
        make_rude(&node, constructor)?;
        let exporter = node.start(&["--isolate", "on"])?;
        let samples = exporter.settled()?;
        ensure!(samples.sum("accel_device_up", &[]) == 8.0, "{name}");
        for line in ["Umask", "SigBlk", "SigIgn", "SigCgt"] {
            let (own, usual) = (status(&exporter, line)?, status(&plain, line)?);
            ensure!(own == usual && !own.is_empty(), "{name}: {own} instead of {usual}");
        }
        let folder = fs::read_link(format!("/proc/{}/cwd", exporter.process.id()))?;
        ensure!(folder == fs::canonicalize(node.dir())?, "{name}: {}", folder.display());
        exporter.ends_in_order()?;
        // What it prints is not part of the output.
        let probe = node.run("probe", &["--isolate", "on", "--json"])?;
        ensure!(probe.code == Some(0), "{name}: {probe:?}");
        let _: Value = serde_json::from_str(&probe.stdout)?;
    }
    Ok(())
}

#[test]
fn a_library_that_closes_files_of_others_costs_its_series_alone() -> Result<()> {
    let node = Node::new("h100-sxm-8")?;
    make_rude(&node, "for (int file = 0; file < 1024; file++) close(file);")?;
    let exporter = node.launch(&["--isolate", "on"])?;
    source_is_down(&exporter, "while it was opened")?;
    exporter.ends_in_order()
}

#[test]
fn a_process_that_a_library_starts_hides_no_end_and_does_not_outlive_it() -> Result<()> {
    let node = Node::new("h100-sxm-8")?;
    make_rude(&node, "if (fork() == 0) for (;;) pause();")?;
    // Seldom is a call under way.
    let exporter = node.start(&["--isolate", "on", "--interval", "5s"])?;
    for _ in 0..2 {
        exporter.until("every device is up", |samples| {
            ensure!(samples.sum("accel_device_up", &[]) == 8.0);
            Ok(())
        })?;
        let first = helper(&exporter)?;
        let [(left, _)] = children(first)[..] else { bail!("{:?}", children(first)) };
        process::send_signal("ABRT", first)?;
        eventually("another helper is there", || {
            ensure!(helper(&exporter)? != first);
            Ok(())
        })?;
        has_ended(left)?;
        let log = exporter.process.log();
        ensure!(log.contains("the library crashed (SIGABRT)") && !log.contains("hang"), "{log}");
    }
    exporter.ends_in_order()
}

#[test]
fn a_library_that_stops_its_process_is_started_again() -> Result<()> {
    let node = Node::new("h100-sxm-8")?;
    let exporter = node.start(&["--isolate", "on"])?;
    exporter.settled()?;
    let first = helper(&exporter)?;
    process::send_signal("STOP", first)?;
    exporter.until("the source is up again", |samples| {
        ensure!(samples.sum("accelscope_source_faults_total", &[("code", "library_hung")]) > 0.0);
        ensure!(samples.sum("accel_device_up", &[]) == 8.0);
        Ok(())
    })?;
    has_ended(first)?;
    ensure!(helper(&exporter)? != first);
    exporter.ends_in_order()
}

#[test]
fn what_is_no_message_ends_the_helper_and_is_counted() -> Result<()> {
    // The library finds the connection among the open sockets, and writes into it.
    let node = Node::new("h100-sxm-8")?;
    let garbage = "for (int file = 3; file < 64; file++) { struct stat is; \
                   if (fstat(file, &is) == 0 && S_ISSOCK(is.st_mode)) \
                   { if (write(file, \"garbage garbage\", 15) < 0) continue; } }";
    make_rude(&node, garbage)?;
    let exporter = node.launch(&["--isolate", "on"])?;
    source_is_down(&exporter, "sent what cannot be read while it was opened")?;
    exporter.ends_in_order()
}
