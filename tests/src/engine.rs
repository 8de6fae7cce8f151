//! A simulated inference engine as a process of its own.

use std::{net::SocketAddr, path::Path, process::Command};

use anyhow::Result;

use crate::{
    Artefacts, Process, eventually,
    http::{self, Request},
    process,
};

/// A running `sim-engine`.
pub struct SimEngine {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl SimEngine {
    /// Starts an engine of this kind and model under a workload, steered by a control file, and waits for it.
    pub fn start(kind: &str, model: &str, workload: &str, control: &Path) -> Result<Self> {
        Self::with(&Artefacts::beside_this_program()?, kind, model, workload, control)
    }

    /// The same with artefacts of another profile.
    pub fn with(
        artefacts: &Artefacts,
        kind: &str,
        model: &str,
        workload: &str,
        control: &Path,
    ) -> Result<Self> {
        let address = process::free_address()?;
        let mut command = Command::new(artefacts.binary("sim-engine")?);
        command
            .args(["--engine", kind, "--model", model, "--workload", workload])
            .args(["--listen", &address.to_string()])
            .arg("--control")
            .arg(control);
        let mut engine = Self { process: Process::spawn("sim-engine", &mut command)?, address };
        eventually("sim-engine serves", || {
            engine.process.ensure_running()?;
            http::send(address, Request::get("/"))
        })?;
        Ok(engine)
    }
}
