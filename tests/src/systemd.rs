//! The real systemd as the manager of a few units, in namespaces of its own: the machine that runs the tests keeps
//! its first process, its units and its mounts.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    Process, eventually,
    process::{self, Finished},
};

/// Where Debian has the manager.
const MANAGER: &str = "/lib/systemd/systemd";

/// Makes a machine for the manager out of the namespaces that it is started in: processes, control groups and units of
/// its own. `$1` is the folder of the units.
const MACHINE: &str = "
set -e
mount --make-rprivate /
mount -t proc proc /proc
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mount --bind \"$1\" /etc/systemd/system
# The group of render nodes comes with udev, which a container lacks.
if ! grep -q '^render:' /etc/group; then
    { cat /etc/group; echo render:x:105:; } > /run/group
    mount --bind /run/group /etc/group
fi
exec env --ignore-environment container=tests PATH=\"$PATH\" \\
    \"$2\" --system --unit=default.target --log-target=console --show-status=false
";

/// Joins a new control group, `$1`, before the namespaces begin, so that it is the root of theirs.
const ENTER: &str = "
echo $$ > \"$1/cgroup.procs\"
exec unshare --cgroup --pid --mount --uts --ipc --fork --kill-child sh -c \"$2\" machine \"$3\" \"$4\"
";

/// A running manager.
pub struct Systemd {
    // Before what it uses, so that it ends first.
    process: Process,
    group: Group,
    _units: TempDir,
}

impl Systemd {
    /// Starts a manager that knows these units, each a file name with its text, and starts none of them.
    ///
    /// # Errors
    /// Who is not root may not do this; neither may root in a container without `CAP_SYS_ADMIN`.
    pub fn boot(units: &[(&str, String)]) -> Result<Self> {
        ensure!(Path::new(MANAGER).exists(), "{MANAGER} is missing; run `cargo xtask setup`");
        let folder = tempfile::Builder::new().prefix("accelscope-units-").tempdir()?;
        let own = [("default.target", "[Unit]\nDefaultDependencies=no\n".to_owned())];
        for (name, text) in own.iter().chain(units) {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().context("a unit lies in a folder")?)?;
            fs::write(path, text)?;
        }
        let group = Group::new(folder.path())?;
        let mut command = Command::new("sh");
        command.args(["-c", ENTER, "enter"]).arg(&group.0).arg(MACHINE).arg(folder.path()).arg(MANAGER);
        let process = Process::spawn("systemd", &mut command)?;
        let mut systemd = Self { process, group, _units: folder };
        eventually("systemd takes commands", || {
            systemd.process.ensure_running()?;
            systemd.control(&["is-active", "default.target"])?.success()
        })?;
        systemd.process.quiet();
        Ok(systemd)
    }

    /// `systemctl` with these arguments.
    pub fn control(&self, arguments: &[&str]) -> Result<Finished> {
        let id = self.id()?.to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &id, "--mount", "--pid", "--cgroup", "systemctl"]).args(arguments);
        process::run(&mut command)
    }

    /// A property of a unit, as `systemctl show` prints it.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        let value = self.control(&["show", "--value", "--property", name, unit])?.success()?;
        Ok(value.trim().to_owned())
    }

    /// The main process of a service, by its id outside of the manager's namespaces.
    pub fn main_process(&self, unit: &str) -> Result<u32> {
        let inside = self.property(unit, "MainPID")?;
        for entry in fs::read_dir("/proc")? {
            let status = fs::read_to_string(entry?.path().join("status")).unwrap_or_default();
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let mut ids = ids.unwrap_or_default().split_whitespace();
            if let (Some(outside), Some(id), None) = (ids.next(), ids.next(), ids.next())
                && id == inside
                && self.is_below(outside)?
            {
                return Ok(outside.parse()?);
            }
        }
        anyhow::bail!("{unit} has no process {inside}")
    }

    /// What the manager and the services have written.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The manager's process, by its id outside.
    fn id(&self) -> Result<u32> {
        let outer = self.process.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"))?;
        children
            .split_whitespace()
            .next()
            .context("the namespaces are not there yet")?
            .parse()
            .context("an id")
    }

    /// Whether a process is in the manager's control group.
    fn is_below(&self, id: &str) -> Result<bool> {
        let groups = fs::read_to_string(format!("/proc/{id}/cgroup")).unwrap_or_default();
        let own = self.group.0.file_name().and_then(|name| name.to_str()).context("a group has a name")?;
        Ok(groups.lines().any(|line| line.starts_with("0::") && line.contains(own)))
    }
}

/// A control group, removed with all below it when dropped.
struct Group(PathBuf);

impl Group {
    /// A group with the name of a folder.
    fn new(named: &Path) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let root =
            mounts.find(|fields| fields.get(2) == Some(&"cgroup2")).context("no cgroup2 is mounted")?[1]
                .to_owned();
        let group = Path::new(&root).join(named.file_name().context("a folder has a name")?);
        fs::create_dir(&group).with_context(|| group.display().to_string())?;
        Ok(Self(group))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes have been killed, and may take a moment to end.
        for _ in 0..100 {
            if remove(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        eprintln!("{} is still in use", self.0.display());
    }
}

fn remove(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)? {
        let path = entry?.path();
        if path.is_dir() {
            remove(&path)?;
        }
    }
    fs::remove_dir(group)
}
