//! A simulated machine and the real exporter that runs on it.

use std::{
    cell::RefCell,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use sim::{
    Options,
    family::{DeviceFamily, FAMILIES, Library},
    kernel::{Files, Tree, Updater},
    profile,
};
use tempfile::TempDir;

use crate::{
    Artefacts, Process, Samples, eventually,
    http::{self, Request, Response},
    process::{self, Finished, SHUTDOWN},
};

/// The instant at which tests freeze a machine's clock: any would do, this one is in November 2026.
pub const INSTANT: u64 = 1_795_000_000;

/// The node name that every exporter of the laboratory is given.
pub const NODE_NAME: &str = "node-under-test";

/// How often the kernel files of a machine are brought up to date: often enough for a sample every second.
const KERNEL_PERIOD: Duration = Duration::from_millis(100);

/// A simulated machine: a folder with the vendors' libraries, a sysfs and a control file.
pub struct Node {
    // Before the folder, so that it ends first.
    kernel: RefCell<Option<Updater>>,
    dir: TempDir,
    artefacts: Artefacts,
    machine: String,
    families: Vec<&'static DeviceFamily>,
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
        let mut families = Vec::new();
        for family in FAMILIES {
            if profile::has(machine, family)? {
                families.push(family);
            }
        }
        ensure!(!families.is_empty(), "machine {machine} has no devices");
        let environment = vec![("ACCELSIM_MACHINE", machine.to_owned())];
        let machine = machine.to_owned();
        let node = Self { kernel: RefCell::default(), dir, artefacts, machine, families, environment };
        for library in node.libraries() {
            fs::copy(node.artefacts.library(library)?, node.dir().join(library.shipped))?;
        }
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

    /// Sets a variable of the environment.
    #[must_use]
    pub fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// What the devices are asked to do: `idle`, `prefill`, `decode`, `burst`, `hot`, or all in turn.
    #[must_use]
    pub fn workload(mut self, workload: &str) -> Self {
        self.environment.push(("ACCELSIM_WORKLOAD", workload.to_owned()));
        self
    }

    /// The variables of the machine, the last of a name deciding. A machine whose clock goes on and which was given no
    /// workload has a steady one: the simulation's default follows the wall clock and rests for two minutes in ten, in
    /// which nothing changes and devices may fall asleep, and a test must not depend on when it is run.
    fn environment(&self) -> impl DoubleEndedIterator<Item = (&'static str, &str)> {
        let is_frozen = self.environment.iter().any(|(name, _)| *name == "ACCELSIM_CLOCK");
        let steady = (!is_frozen).then_some(("ACCELSIM_WORKLOAD", "decode"));
        steady.into_iter().chain(self.environment.iter().map(|(name, value)| (*name, value.as_str())))
    }

    /// Leaves the devices of other families out, for tests of one family.
    #[must_use]
    pub fn only(mut self, family: &str) -> Self {
        self.families.retain(|known| known.name == family);
        self
    }

    /// The machine's folder, for files of the test's own.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn libraries(&self) -> impl Iterator<Item = &'static Library> {
        self.families.iter().filter_map(|family| family.library.as_ref())
    }

    /// The simulated library of the vendor. It may be removed and replaced: that is a driver reload.
    ///
    /// # Panics
    /// On a machine without one.
    pub fn library(&self) -> PathBuf {
        self.dir().join(self.libraries().next().expect("a machine with a vendor's library").shipped)
    }

    /// Whether it has devices of a family.
    pub fn has(&self, family: &str) -> bool {
        self.families.iter().any(|known| known.name == family)
    }

    /// The families of the machine's devices, as `--source` takes them.
    pub fn sources(&self) -> String {
        self.families.iter().map(|family| family.name).collect::<Vec<_>>().join(",")
    }

    /// The sysfs that the exporter is given: what the machine's families show there, and what a test adds.
    pub fn sysfs(&self) -> PathBuf {
        self.dir().join("sys")
    }

    /// The file that steers the machine while it runs.
    pub fn control_file(&self) -> PathBuf {
        self.dir().join("control.toml")
    }

    /// Shows the machine's devices on the PCI bus of its sysfs too.
    pub fn with_bus(self) -> Result<Self> {
        let profile = sim::Profile::open(&self.machine).map_err(|error| anyhow!("{error}"))?;
        Tree::new(&self.sysfs())?.show(sim::bus::files(&profile, &[]))?;
        Ok(self)
    }

    /// Gives the simulated library device nodes, which it holds open as the driver's does: `nvidiactl` and one for each
    /// GPU.
    pub fn with_nodes(mut self, gpus: usize) -> Result<Self> {
        fs::create_dir(self.nodes())?;
        let gpus = (0..gpus).map(|gpu| format!("nvidia{gpu}"));
        for name in gpus.chain(["nvidiactl".to_owned()]) {
            fs::write(self.nodes().join(name), "")?;
        }
        self.environment.push(("ACCELSIM_DEV", self.nodes().display().to_string()));
        Ok(self)
    }

    /// The folder of those nodes.
    pub fn nodes(&self) -> PathBuf {
        self.dir().join("dev")
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
            // As in the service's unit.
            .env("MALLOC_ARENA_MAX", "2")
            .env("MALLOC_TOP_PAD_", "16384")
            // Whoever runs the tests: the Level Zero driver lists engines to root alone.
            .env("ACCELSIM_EUID", "0")
            .env("ACCELSIM_CONTROL", self.control_file())
            .envs(self.environment())
            .current_dir(self.dir());
        command
    }

    /// `accelscope` with these arguments and the paths of this machine's library and sysfs.
    pub fn accelscope(&self, subcommand: &str, flags: &[&str]) -> Result<Command> {
        let mut command = self.command(self.artefacts.binary("accelscope")?);
        command.arg(subcommand).args(["--source", &self.sources()]).arg("--path.sysfs").arg(self.sysfs());
        for library in self.libraries() {
            command.arg(library.flag).arg(self.dir().join(library.shipped));
        }
        for (flag, folder) in self.families.iter().flat_map(|family| family.roots) {
            command.arg(flag).arg(self.sysfs().join(folder));
        }
        if let Some(library) = self.libraries().find(|library| library.preloaded) {
            command.env("LD_PRELOAD", self.dir().join(library.shipped));
        }
        command.args(flags);
        self.show_kernel_files()?;
        Ok(command)
    }

    /// Begins to write what the kernel shows of the machine, once it is known how the machine stands.
    fn show_kernel_files(&self) -> Result<()> {
        let mut kernel = self.kernel.borrow_mut();
        let shown: Vec<_> = self.families.iter().filter_map(|family| family.files).collect();
        if kernel.is_some() || shown.is_empty() {
            return Ok(());
        }
        let value = |name| self.environment().rev().find(|(known, _)| *known == name).map(|(_, value)| value);
        let parse = anyhow::Error::msg::<String>;
        let mut options = Options {
            machine: self.machine.clone(),
            control: Some(self.control_file()),
            ..Options::default()
        };
        if let Some(clock) = value("ACCELSIM_CLOCK") {
            options.clock = clock.parse().map_err(parse)?;
        }
        if let Some(workload) = value("ACCELSIM_WORKLOAD") {
            options.workload = workload.parse().map_err(parse)?;
        }
        if let Some(seed) = value("ACCELSIM_SEED") {
            options.seed = seed.parse()?;
        }
        let parts = shown.into_iter().filter_map(|files| files(&options).transpose());
        let mut parts = parts.collect::<Result<Vec<_>, _>>()?;
        let all = move || {
            let mut files = Files::default();
            for part in &mut parts {
                files.extend(part());
            }
            files
        };
        *kernel = Some(Updater::start(&self.sysfs(), KERNEL_PERIOD, all)?);
        Ok(())
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
        self.until("every device is read three times", |samples| {
            for sources in samples.all("accelscope_source_up", &[]) {
                let source = sources.label("source");
                let devices = samples.value("accel_devices", &[("family", source)])?;
                let rounds =
                    samples.value("accelscope_sample_duration_seconds_count", &[("source", source)])?;
                ensure!(devices > 0.0 && rounds >= 3.0 * devices, "{source}: {rounds} readings of {devices}");
            }
            Ok(samples.clone())
        })
    }

    /// Asks it to end; fails unless it does so in order and in time.
    pub fn ends_in_order(mut self) -> Result<()> {
        let start = Instant::now();
        self.process.signal("TERM")?;
        let status = self.process.wait()?;
        ensure!(status.success() && start.elapsed() < SHUTDOWN, "{status} after {:?}", start.elapsed());
        Ok(())
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}
