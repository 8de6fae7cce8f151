//! Errors in the kernel log: the real binary with a file or FIFO in the place of `/dev/kmsg`.

#![expect(clippy::float_cmp, reason = "flags and counts are printed and parsed exactly")]

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::PathBuf,
};

use anyhow::{Context, Result, ensure};
use e2e::{Exporter, Node, Samples};
use rustix::time::{ClockId, clock_gettime};
use sim::{
    Control,
    control::{Fault, Xid},
};

/// A log that grows.
struct Log {
    path: PathBuf,
    sequence: u64,
}

impl Log {
    fn of(node: &Node) -> Self {
        Self { path: node.dir().join("kmsg"), sequence: 0 }
    }

    fn flags(&self) -> Result<[&str; 2]> {
        Ok(["--kernel-log", self.path.to_str().context("a path")?])
    }

    /// A message of so many seconds ago.
    fn add(&mut self, seconds_ago: u64, text: &str) -> Result<()> {
        self.sequence += 1;
        let now = clock_gettime(ClockId::Monotonic);
        let at = u64::try_from(now.tv_sec)?.saturating_sub(seconds_ago) * 1_000_000;
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        writeln!(file, "3,{},{at},-;{text}", self.sequence).context("kernel log")
    }
}

/// The address of each GPU, as NVIDIA's driver writes it.
fn addresses(exporter: &Exporter) -> Result<Vec<String>> {
    let samples = exporter.settled()?;
    let address = |index: usize| {
        let of = [("device", &*format!("gpu{index}"))];
        let info = samples.all("accel_device_info", &of).next().context("info")?;
        let (address, _) = info.label("pci_bus_id").rsplit_once('.').context("a function")?;
        Ok(address.to_owned())
    };
    (0..4).map(address).collect()
}

fn count(samples: &Samples, device: &str, code: &str) -> Result<f64> {
    samples.value("accel_errors_total", &[("device", device), ("kind", "xid"), ("code", code)])
}

#[test]
fn what_driver_and_kernel_log_report_counts_once_and_what_one_has_alone_counts_too() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let mut log = Log::of(&node);
    let addresses = {
        let first = node.start(&[])?;
        let addresses = addresses(&first)?;
        first.ends_in_order()?;
        addresses
    };
    let xid = |gpu: usize, code| format!("NVRM: Xid (PCI:{}): {code}, pid=1, name=x, text", addresses[gpu]);
    log.add(60, &xid(0, 74))?;
    log.add(2, "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32")?;
    let exporter = node.start(&log.flags()?)?;
    exporter.until("what was before has its time and no count", |samples| {
        ensure!(count(samples, "gpu0", "74")? == 0.0);
        let of = [("device", "gpu0"), ("kind", "xid"), ("code", "74")];
        let last = samples.value("accel_error_last_timestamp_seconds", &of)?;
        let now = samples.value("process_start_time_seconds", &[])?;
        ensure!((now - last - 60.0).abs() < 30.0, "{last} {now}");
        let switch = [("address", "0000:05:00.0"), ("kind", "sxid"), ("code", "12028")];
        ensure!(samples.value("accelscope_kernel_log_errors_total", &switch)? == 0.0);
        ensure!(samples.value("accelscope_kernel_log_up", &[])? == 1.0);
        Ok(())
    })?;

    // Both report the first, the driver alone the second, the log alone the third; the fourth is lost without an event.
    let both = |id, device, code| Xid { id, device, code, ..Xid::default() };
    let control = Control {
        xid: vec![both(1, 1, 48), both(2, 0, 31)],
        fault: vec![Fault::lost().device(3)],
        ..Control::default()
    };
    node.control(&control)?;
    log.add(0, &xid(1, 48))?;
    log.add(0, &xid(2, 94))?;
    log.add(0, &xid(2, 94))?;
    log.add(0, &format!("NVRM: GPU {}.0: GPU has fallen off the bus.", addresses[3]))?;
    log.add(0, "usb 1-1: new high-speed USB device number 2 using xhci_hcd")?;
    let holds = |samples: &Samples| {
        for (device, code, expected) in
            [("gpu1", "48", 1.0), ("gpu0", "31", 1.0), ("gpu2", "94", 2.0), ("gpu3", "79", 1.0)]
        {
            let counted = count(samples, device, code)?;
            ensure!(counted == expected, "{device} {code}: {counted}");
        }
        ensure!(samples.value("accel_device_up", &[("device", "gpu3")])? == 0.0);
        ensure!(samples.value("accelscope_kernel_log_records_total", &[])? == 7.0);
        ensure!(samples.value("accelscope_kernel_log_records_lost_total", &[])? == 0.0);
        Ok(())
    };
    exporter.until("each is counted once", holds)?;
    // And stays so while rounds go on, and when the device is back.
    node.control(&Control { fault: Vec::new(), ..control })?;
    exporter.until("gpu3 is back", |samples| {
        ensure!(samples.value("accel_device_up", &[("device", "gpu3")])? == 1.0);
        ensure!(count(samples, "gpu3", "79")? == 1.0 && count(samples, "gpu1", "48")? == 1.0);
        Ok(())
    })?;
    let health = node.run("health", &["--json"])?;
    ensure!(health.code == Some(0), "a process of its own reads no log: {}", health.stdout);
    exporter.ends_in_order()
}

#[test]
fn intel_devices_have_their_drivers_messages() -> Result<()> {
    let node = Node::new("battlematrix-8")?.only("xpu");
    let mut log = Log::of(&node);
    log.add(60, "xe 0000:03:00.0: [drm] GT0: reset done")?;
    let kernel = [&["--xpu.backend", "kernel"], &log.flags()?[..]].concat();
    let exporter = node.start(&kernel)?;
    exporter.settled()?;
    log.add(0, "xe 0000:03:00.0: [drm] *ERROR* CRITICAL: Xe has declared device 0000:03:00.0 as wedged.")?;
    log.add(0, "xe 0000:07:00.0: PCIe Bus Error: severity=Uncorrectable (Non-Fatal), type=x, (Receiver ID)")?;
    exporter.until("both are series of their devices, and reasons", |samples| {
        for (device, kind, code, state) in
            [("0000:03:00.0", "ras", "wedged", "failed"), ("0000:07:00.0", "aer", "non_fatal", "degraded")]
        {
            let of = [("device", device), ("kind", kind), ("code", code)];
            ensure!(samples.value("accel_errors_total", &of)? == 1.0);
            let health = [("device", device), ("state", state)];
            ensure!(samples.value("accel_device_health", &health)? == 1.0, "{device}");
        }
        ensure!(!samples.has("accel_errors_total", &[("device", "0000:0b:00.0"), ("code", "wedged")]));
        Ok(())
    })?;
    exporter.ends_in_order()
}

#[test]
fn a_log_that_cannot_be_read_costs_nothing_else_and_is_read_once_it_can() -> Result<()> {
    let node = Node::new("t4-1")?;
    let mut log = Log::of(&node);
    let exporter = node.start(&log.flags()?)?;
    let samples = exporter.settled()?;
    ensure!(samples.value("accelscope_kernel_log_up", &[])? == 0.0);
    ensure!(samples.value("accel_device_up", &[("device", "gpu0")])? == 1.0);
    let lines = exporter.process.log();
    let line = lines.lines().find(|line| line.contains("the kernel log cannot be read")).context("a line")?;
    ensure!(line.contains("kmsg") && line.contains("WARN"), "{line}");
    // A FIFO that is written later.
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &log.path, mode)?;
    exporter.until("it is read", |samples| {
        ensure!(samples.value("accelscope_kernel_log_up", &[])? == 1.0);
        Ok(())
    })?;
    log.add(0, "NVRM: Xid (PCI:0042:05:00): 79, pid=1, GPU has fallen off the bus.")?;
    exporter.until("an error of no device", |samples| {
        let of = [("address", "0042:05:00.0"), ("kind", "xid"), ("code", "79")];
        ensure!(samples.value("accelscope_kernel_log_errors_total", &of)? == 1.0);
        Ok(())
    })?;
    fs::remove_file(&log.path)?;
    exporter.ends_in_order()
}

#[test]
fn without_the_flag_there_is_no_thread_and_no_series() -> Result<()> {
    let exporter = Node::new("t4-1")?.start(&[])?;
    let samples = exporter.settled()?;
    ensure!(samples.all("accelscope_kernel_log_up", &[]).count() == 0);
    let tasks = fs::read_dir(format!("/proc/{}/task", exporter.process.id()))?;
    let names =
        tasks.map(|task| Ok(fs::read_to_string(task?.path().join("comm"))?)).collect::<Result<Vec<_>>>()?;
    ensure!(names.iter().all(|name| name.trim() != "kernel-log") && names.len() > 1, "{names:?}");
    Ok(())
}
