//! What an unprivileged user can read of an Intel GPU.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use e2e::{Node, process};
use serde_json::Value;

use super::*;

/// What the kernel does not report; the first it reports of an integrated GPU too.
const ONLY_LEVEL_ZERO: [&str; 7] = [
    "accel_recovery_action",
    "accel_memory_bandwidth_active_ratio",
    "accel_memory_read_bytes_total",
    "accel_memory_written_bytes_total",
    "accel_link_receive_bytes_total",
    "accel_link_transmit_bytes_total",
    "accel_ecc_enabled",
];

/// `nobody` on Debian and elsewhere.
const NOBODY: u32 = 65534;

#[test]
fn an_unprivileged_user_has_what_the_matrix_promises_and_probe_names_the_rest() -> Result<()> {
    for (machine, device) in [(MACHINE, "0000:03:00.0"), ("nuc-lunar-lake", "0000:00:02.0")] {
        let node = Node::new(machine)?.only("xpu").frozen();
        // Writes the tree, whose clock stands: what is changed there stays.
        let mut command = node.accelscope("probe", &["--json"])?;
        command.args(KERNEL);
        fs::set_permissions(node.dir(), fs::Permissions::from_mode(0o755))?;
        // Who is not root owns the files, and is kept out as their owner.
        let root = is_root()?;
        let own = |path: &str, mode| -> Result<()> {
            let path = node.sysfs().join(path);
            let mode = if root || mode & 0o007 != 0 { mode } else { 0 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .with_context(|| path.display().to_string())
        };
        for process in fs::read_dir(node.sysfs().join("proc"))?.flatten() {
            let name = process.file_name().to_string_lossy().into_owned();
            if name.parse::<u32>().is_ok() && name != "2" {
                own(&format!("proc/{name}/fd"), 0o500)?;
                own(&format!("proc/{name}/fdinfo"), 0o500)?;
            }
        }
        if machine == MACHINE {
            // As for a member of the group render, and as for anybody else.
            own("dev/dri/renderD128", 0o666)?;
            own("dev/dri/renderD129", 0o600)?;
        } else {
            own("class/powercap/intel-rapl:0/energy_uj", 0o400)?;
            own("class/powercap/intel-rapl:0/intel-rapl:0:1/energy_uj", 0o400)?;
        }
        let program = accessible_copy(&node)?;
        let as_nobody = |without: &[&OsStr], more: &[&str]| -> Result<String> {
            let mut unprivileged = Command::new(&program);
            unprivileged.args(command.get_args().filter(|flag| !without.contains(flag))).args(more);
            unprivileged.env_clear().current_dir("/").env("LD_PRELOAD", node.library());
            // Root gives its rights up; anybody else has none to begin with.
            if root {
                unprivileged.uid(NOBODY).gid(NOBODY);
            }
            let report = process::run(&mut unprivileged)?;
            ensure!(report.code == Some(0), "{report:?}");
            Ok(report.stdout)
        };
        let report: Value = serde_json::from_str(&as_nobody(&[], &[])?)?;
        // Whoever may not see the processes may count, if the kernel lets them.
        let counted = as_nobody(&[], &["--xpu.hold-awake"])?;
        let refused = ["needs_cap_perfmon", "no_engine_event"];
        ensure!(refused.iter().any(|code| counted.contains(code)), "{counted}");
        // Without a word about backends, Level Zero is for root.
        let library = node.library();
        let words: Vec<&OsStr> = KERNEL.iter().chain(&["--library.level-zero"]).map(OsStr::new).collect();
        let plain = as_nobody(&[&words[..], &[library.as_os_str()]].concat(), &[])?;
        let plain: Value = serde_json::from_str(&plain)?;
        let only_level_zero = if machine == MACHINE { &ONLY_LEVEL_ZERO } else { &ONLY_LEVEL_ZERO[..1] };
        for name in only_level_zero {
            let metric = metric_of(&plain, device, name)?;
            ensure!(metric["absent"][0]["code"] == "needs_root", "{machine}: {metric}");
        }
        let metric = |name: &str| metric_of(&report, device, name);
        let told = |name: &str| metric(name).map(|metric| metric["series"][0]["value"].is_number());
        let mut promised = vec![
            "accel_clock_hertz",
            "accel_clock_max_hertz",
            "accel_throttle_active",
            "accel_utilization_ratio",
        ];
        let mut needs = vec![
            ("accel_engine_active_ratio", "needs_cap_sys_ptrace_and_dac_read_search"),
            ("accel_compute_processes", "needs_cap_sys_ptrace_and_dac_read_search"),
            ("accel_memory_shared_bytes", "needs_cap_sys_ptrace_and_dac_read_search"),
        ];
        if machine == MACHINE {
            promised.extend([
                "accel_energy_joules_total",
                "accel_memory_used_bytes",
                "accel_temperature_celsius",
                "accel_fan_speed_rpm",
                "accel_power_limit_watts",
                "accel_pcie_link_generation",
                "accel_pcie_link_width_max",
                "accel_link_bandwidth_bytes_per_second",
            ]);
            needs.extend(ONLY_LEVEL_ZERO.map(|name| (name, "needs_xpu_backend")));
        } else {
            needs.push(("accel_memory_used_bytes", "integrated"));
            needs.push(("accel_energy_joules_total", "needs_cap_dac_read_search"));
            needs.push(("accel_power_watts", "needs_cap_dac_read_search"));
        }
        if machine == MACHINE {
            let closed = metric_of(&report, "0000:07:00.0", "accel_memory_used_bytes")?;
            ensure!(closed["absent"][0]["code"] == "needs_group_render", "{closed}");
        }
        for name in promised {
            ensure!(told(name)?, "{machine}: {name} is promised to everybody: {}", metric(name)?);
        }
        for (name, code) in needs {
            ensure!(!told(name)?, "{machine}: {name} needs a privilege: {}", metric(name)?);
            ensure!(metric(name)?["absent"][0]["code"] == code, "{machine}: {}", metric(name)?);
        }
    }
    Ok(())
}

/// The program where any user may run it: a target folder may be closed to others.
fn accessible_copy(node: &Node) -> Result<std::path::PathBuf> {
    let program = node.accelscope("probe", &[])?.get_program().to_owned();
    let copy = node.dir().join("accelscope");
    fs::copy(program, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}

fn is_root() -> Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).context("Uid")?;
    Ok(uid.split_whitespace().nth(1) == Some("0"))
}
