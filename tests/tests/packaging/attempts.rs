//! What the lines of the unit forbid, tried under them and without them.

use anyhow::{Result, ensure};
use e2e::{
    process::Finished,
    skip::{is_root, skipped},
    systemd::Systemd,
};

use super::{ROOT_ONLY, unit};

/// A line of the unit, and a command of the shell that succeeds without it and fails with it. All are run as root
/// without capabilities, so that no permission of a file is what forbids them.
const ATTEMPTS: &[(&str, &str)] = &[
    ("CapabilityBoundingSet=", "! grep -q '^CapBnd:.0000000000000000$' /proc/self/status"),
    ("NoNewPrivileges=yes", "grep -q '^NoNewPrivs:.0$' /proc/self/status"),
    ("ProtectSystem=strict", "touch /srv/accelscope-attempt && rm /srv/accelscope-attempt"),
    ("ProtectHome=yes", "ls /root/"),
    ("PrivateTmp=yes", "test -e /tmp/accelscope-attempt"),
    ("ProtectControlGroups=yes", "test -w /sys/fs/cgroup/cgroup.procs"),
    ("ProtectKernelLogs=yes", "test -e /dev/kmsg && head -c 0 /dev/kmsg"),
    ("ProtectKernelTunables=yes", "test -w /proc/sys/kernel/hostname"),
    ("DevicePolicy=closed", "head -c 0 /dev/loop-control"),
    ("LockPersonality=yes", "setarch --addr-no-randomize true"),
    ("MemoryDenyWriteExecute=yes", "python3 -c 'import mmap; mmap.mmap(-1, 4096, prot=7)'"),
    (
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "python3 -c 'from socket import *; socket(AF_NETLINK, SOCK_RAW)'",
    ),
    ("RestrictNamespaces=yes", "unshare --user true"),
    ("RestrictRealtime=yes", "chrt --fifo 1 true"),
    ("RestrictSUIDSGID=yes", "cp /bin/true \"$D/x\" && chmod u+s \"$D/x\""),
    ("UMask=0077", "touch \"$D/y\" && test \"$(stat -c %a \"$D/y\")\" = 644"),
    ("SystemCallErrorNumber=EPERM", "python3 -c 'import ctypes; exit(ctypes.CDLL(None).ptrace(0, 0, 0, 0))'"),
];

/// The unit with a shell in place of the program. It needs system calls that the program does not, so it has a wider
/// list: the unit's own is what `under_the_unit_every_family_is_read_and_nothing_is_killed` runs with.
fn attempt(lines: &str, command: &str) -> String {
    format!(
        "{lines}\n[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nDynamicUser=no\n\
         RuntimeDirectory=accelscope-attempt\nLimitRTPRIO=1\nExecStart=\n\
         ExecStart=/bin/sh -c 'D=/run/accelscope-attempt; {}'\n",
        command.replace('\\', "\\\\").replace('\'', "\\'").replace('$', "$$").replace('%', "%%")
    )
}

#[test]
fn every_line_forbids_what_it_is_there_for() -> Result<()> {
    let text = unit()?;
    for (line, _) in ATTEMPTS {
        ensure!(text.lines().any(|own| own == *line), "the unit does not say {line}");
    }
    if !is_root() {
        return skipped(ROOT_ONLY);
    }
    let wider = "SystemCallFilter=@system-service";
    let names: Vec<_> =
        (0..ATTEMPTS.len()).map(|n| (format!("free-{n}.service"), format!("held-{n}.service"))).collect();
    let mut units = Vec::new();
    for ((_, command), (free, held)) in ATTEMPTS.iter().zip(&names) {
        units.push((free.as_str(), attempt("", command)));
        units.push((held.as_str(), attempt(&format!("{text}\n[Service]\n{wider}\n"), command)));
    }
    let systemd = Systemd::boot(&units)?;
    std::fs::write("/tmp/accelscope-attempt", "")?;
    let start = |name: &str| -> Result<Finished> { systemd.control(&["start", name]) };
    let mut wrong = Vec::new();
    for ((line, _), (free, held)) in ATTEMPTS.iter().zip(&names) {
        if start(free)?.code != Some(0) {
            wrong.push(format!("fails without the unit's lines too, so nothing is known of {line}"));
        }
        if start(held)?.code == Some(0) {
            wrong.push(format!("succeeds in spite of {line}"));
        }
    }
    std::fs::remove_file("/tmp/accelscope-attempt")?;
    ensure!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), systemd.log());
    Ok(())
}
