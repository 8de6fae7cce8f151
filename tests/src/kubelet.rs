//! A stand-in for the kubelet, as a process of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Process,
    artefacts::{python_env, repository},
    eventually,
};

/// A running `kubelet.py`, in a folder that is laid out like a kubelet's.
pub struct Kubelet {
    process: Option<Process>,
    dir: TempDir,
}

impl Kubelet {
    /// Starts one with this scenario, which `tests/clients/kubelet.py` documents, and waits until it serves.
    pub fn start(scenario: &Value) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("accelscope-kubelet-").tempdir()?;
        let mut kubelet = Self { process: None, dir };
        kubelet.set(scenario)?;
        kubelet.restart()?;
        Ok(kubelet)
    }

    /// Responds by another scenario from now on.
    pub fn set(&self, scenario: &Value) -> Result<()> {
        // Not while it is read.
        let new = self.dir().join("scenario.new");
        fs::write(&new, scenario.to_string())?;
        Ok(fs::rename(new, self.dir().join("scenario.json"))?)
    }

    /// Ends it, if it runs, and starts it anew.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let mut command = Command::new(python_env()?.join("bin/python"));
        command.arg(repository().join("tests/clients/kubelet.py")).arg(self.dir());
        let mut process = Process::spawn("kubelet", &mut command)?;
        eventually("the kubelet serves", || {
            process.ensure_running()?;
            ensure!(process.log().contains("serving"), "it does not say so");
            Ok(())
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it as a crash would: its sockets stay.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// How many lists of devices it has begun to make from the scenario with this mark, since it was last started.
    pub fn lists(&self, mark: u64) -> usize {
        let log = self.process.as_ref().map(Process::log).unwrap_or_default();
        let line = format!("lists {mark}");
        log.lines().filter(|known| *known == line).count()
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The socket of the pod-resources API.
    pub fn socket(&self) -> PathBuf {
        self.dir().join("pod-resources/kubelet.sock")
    }

    /// The flags with which an exporter asks it every second.
    pub fn flags(&self) -> [String; 4] {
        let socket = self.socket().display().to_string();
        ["--kubelet.pod-resources-socket".into(), socket, "--workloads.interval".into(), "1s".into()]
    }
}
