//! A simulated machine and the real exporter that runs on it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, ensure};
use tempfile::TempDir;

use crate::{
    Artefacts, Process, Samples, eventually,
    http::{self, Request, Response},
    process::{self, Finished},
};

/// The instant at which tests freeze a machine's clock: any would do, this one is in November 2026.
pub const INSTANT: u64 = 1_795_000_000;

/// The node name that every exporter of the laboratory is given.
pub const NODE_NAME: &str = "node-under-test";

/// A simulated machine: a folder with the vendor's library, a sysfs and a control file.
pub struct Node {
    dir: TempDir,
    artefacts: Artefacts,
    environment: Vec<(&'static str, String)>,
}

impl Node {
    /// A machine of `machines/`, with the artefacts of the test's own profile and the wall clock.
    pub fn new(machine: &str) -> Result<Self> {
        Self::with(Artefacts::beside_this_program()?, machine)
    }

    /// The same with artefacts of another profile.
    pub fn with(artefacts: Artefacts, machine: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("accelscope-node-").tempdir()?;
        let node = Self { dir, artefacts, environment: vec![("ACCELSIM_MACHINE", machine.to_owned())] };
        fs::copy(node.artefacts.simulated_nvml()?, node.library())?;
        fs::create_dir(node.sysfs())?;
        Ok(node)
    }

    /// Freezes the machine's clock at [`INSTANT`].
    #[must_use]
    pub fn frozen(self) -> Self {
        self.frozen_at(INSTANT)
    }

    /// Freezes the machine's clock, in Unix seconds.
    #[must_use]
    pub fn frozen_at(mut self, seconds: u64) -> Self {
        self.environment.push(("ACCELSIM_CLOCK", format!("fixed:{seconds}")));
        self
    }

    /// Gives the node a name other than [`NODE_NAME`].
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.environment.push(("NODE_NAME", name.to_owned()));
        self
    }

    /// Makes it another machine of the same profile: UUIDs and small differences follow from the seed.
    #[must_use]
    pub fn seeded(mut self, seed: u64) -> Self {
        self.environment.push(("ACCELSIM_SEED", seed.to_string()));
        self
    }

    /// What the devices are asked to do: `idle`, `prefill`, `decode`, `burst`, `hot`, or all in turn.
    #[must_use]
    pub fn workload(mut self, workload: &str) -> Self {
        self.environment.push(("ACCELSIM_WORKLOAD", workload.to_owned()));
        self
    }

    /// The machine's folder, for files of the test's own.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The simulated `libnvidia-ml.so.1`. It may be removed and replaced: that is a driver reload.
    pub fn library(&self) -> PathBuf {
        self.dir().join("libnvidia-ml.so.1")
    }

    /// The sysfs that the exporter is given: empty until a test fills it.
    pub fn sysfs(&self) -> PathBuf {
        self.dir().join("sys")
    }

    /// The file that steers the machine while it runs.
    pub fn control_file(&self) -> PathBuf {
        self.dir().join("control.toml")
    }

    /// Shows the machine's devices on the PCI bus of its sysfs too.
    pub fn with_bus(self) -> Result<Self> {
        let machine = self.environment.iter().find(|(name, _)| *name == "ACCELSIM_MACHINE");
        let (_, machine) = machine.context("a node has a machine")?;
        let profile = sim::Profile::open(machine).map_err(|error| anyhow!("{error}"))?;
        sim::tree::write(&profile, &[], &self.sysfs())?;
        Ok(self)
    }

    /// Steers the machine from now on; what an earlier call set and this one does not is over.
    pub fn control(&self, control: &sim::Control) -> Result<()> {
        control.write(&self.control_file()).context("control file")
    }

    /// A command that sees this machine and nothing else of the environment but `PATH`.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("NODE_NAME", NODE_NAME)
            .env("ACCELSIM_CONTROL", self.control_file())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir());
        command
    }

    /// `accelscope` with these arguments, told where this machine's library and sysfs are.
    pub fn accelscope(&self, subcommand: &str, flags: &[&str]) -> Result<Command> {
        let mut command = self.command(self.artefacts.binary("accelscope")?);
        command
            .arg(subcommand)
            .args(["--source", "nvidia"])
            .arg("--library.nvml")
            .arg(self.library())
            .arg("--path.sysfs")
            .arg(self.sysfs())
            .args(flags);
        Ok(command)
    }

    /// Runs `accelscope SUBCOMMAND FLAGS...` on this machine to its end.
    pub fn run(&self, subcommand: &str, flags: &[&str]) -> Result<Finished> {
        process::run(&mut self.accelscope(subcommand, flags)?)
    }

    /// Starts `accelscope serve` and waits until it says that it is ready.
    pub fn start(&self, flags: &[&str]) -> Result<Exporter> {
        let mut exporter = self.launch(flags)?;
        eventually("accelscope is ready", || {
            exporter.process.ensure_running()?;
            exporter.get("/-/ready")?.ok()
        })?;
        Ok(exporter)
    }

    /// Starts `accelscope serve` and does not wait.
    pub fn launch(&self, flags: &[&str]) -> Result<Exporter> {
        let address = process::free_address()?;
        let mut command = self.accelscope("serve", &["--web.listen-address", &address.to_string()])?;
        Ok(Exporter { process: Process::spawn("accelscope", command.args(flags))?, address })
    }
}

/// A running `accelscope serve`.
pub struct Exporter {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Exporter {
    /// `GET` of a path, on a connection of its own.
    pub fn get(&self, path: &str) -> Result<Response> {
        self.send(Request::get(path))
    }

    /// Any request, on a connection of its own.
    pub fn send(&self, request: Request<'_>) -> Result<Response> {
        http::send(self.address, request)
    }

    /// One scrape in the text format.
    pub fn scrape(&self) -> Result<Samples> {
        let response = self.get("/metrics")?.ok()?;
        let content_type = response.header("content-type").unwrap_or_default();
        ensure!(content_type.starts_with("text/plain"), "content type {content_type:?}");
        Samples::parse(response.text()?)
    }

    /// Scrapes until `check` succeeds.
    pub fn until<T>(&self, what: &str, mut check: impl FnMut(&Samples) -> Result<T>) -> Result<T> {
        eventually(what, || check(&self.scrape()?))
    }

    /// A scrape once every device has been read a few times, so that values which need two readings are
    /// there and what differs from scrape to scrape is only what moves.
    pub fn settled(&self) -> Result<Samples> {
        let source = [("source", "nvidia")];
        self.until("every device is read three times", |samples| {
            let devices = samples.value("accel_devices", &[("family", "nvidia")])?;
            let rounds = samples.value("accelscope_sample_duration_seconds_count", &source)?;
            ensure!(devices > 0.0 && rounds >= 3.0 * devices, "{rounds} readings of {devices} devices");
            Ok(samples.clone())
        })
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}
