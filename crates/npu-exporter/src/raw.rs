//! Kernel files of one NPU, in the kernel's units (Documentation/ABI/testing/sysfs-driver-ivpu,
//! Documentation/power/runtime_pm.rst).
//!
//! Whether a file is used depends on whether it exists, never on a kernel version. Reading them does not wake
//! a sleeping NPU: the driver takes a reference on the device only while it is awake. Releasing that
//! reference restarts the delay after which the NPU is suspended (Linux 6.17, `pm_runtime_put_autosuspend`),
//! so the clock is read at most once a second.

use std::{path::Path, time::Instant};

use kernel::{
    File,
    pci::{Function, Power},
};
use reading::{Absence, Ceiling, Counter, Fault, Measured};

use crate::{
    rates::PERIOD,
    telemetry::{Registers, Telemetry},
};

/// Counters of resets in debugfs, which only root may read: label value, file.
const RESETS: [(&str, &str); 2] = [("device", "reset_counter"), ("engine", "engine_reset_counter")];

/// What one round reads.
#[derive(Clone, Copy, Debug)]
pub struct Raw {
    /// Whether runtime power management has suspended the NPU.
    pub asleep: Measured<bool>,
    /// Milliseconds awake and asleep since the driver was loaded.
    pub runtime_ms: [Measured<u64>; 2],
    /// Bytes of host memory that the NPU's buffer objects hold; no utilization, in spite of the file's name.
    pub memory_bytes: Measured<u64>,
    /// MHz; 0 while asleep.
    pub clock_mhz: Measured<u64>,
    /// MHz.
    pub clock_max_mhz: Measured<u64>,
    /// PMT registers.
    pub telemetry: Measured<Registers>,
    /// Resets of the device and of an engine since the driver was loaded, by label value.
    pub resets: [(&'static str, Measured<u64>); 2],
}

/// The files of one NPU.
#[derive(Clone, Debug)]
pub struct Files {
    function: Function,
    runtime_ms: [(File, Counter); 2],
    busy_us: File,
    memory_bytes: File,
    clock_mhz: [File; 2],
    /// When the clock of an NPU that is awake was last read, and what it was.
    awake_clock_mhz: Option<(Instant, Measured<u64>)>,
    clock_max_mhz: [File; 2],
    resets: [(&'static str, File); 2],
    telemetry: Telemetry,
}

impl Files {
    /// The files of `function` below `sysfs`.
    pub fn new(sysfs: &Path, function: Function) -> Self {
        let file = |name| File::new(&function.folder, name);
        let debug = sysfs.join("kernel/debug/accel").join(&function.address);
        Self {
            runtime_ms: ["power/runtime_active_time", "power/runtime_suspended_time"]
                .map(|name| (file(name), Counter::of_device())),
            busy_us: file("npu_busy_time_us"),
            memory_bytes: file("npu_memory_utilization"),
            clock_mhz: [file("npu_current_frequency_mhz"), file("freq/current_freq")],
            awake_clock_mhz: None,
            clock_max_mhz: [file("npu_max_frequency_mhz"), file("freq/hw_max_freq")],
            resets: RESETS.map(|(code, name)| (code, File::new(&debug, name))),
            telemetry: Telemetry::new(sysfs),
            function,
        }
    }

    /// Whether the NPU is still bound to its driver.
    pub fn is_bound(&self) -> bool {
        self.function.driver().as_deref() == Some(crate::session::DRIVER)
    }

    /// Whether runtime power management has suspended it.
    pub fn is_asleep(&self) -> Measured<bool> {
        self.function.power().map(|power| power == Power::Suspended)
    }

    /// Microseconds in which at least one job was submitted and not completed. The driver takes its
    /// submission lock for this, and its documentation asks to read it at most once a second.
    pub fn busy_us(&self) -> Measured<u64> {
        self.busy_us.number()
    }

    /// MHz. An awake NPU's clock is read at most once a [`PERIOD`]; when it falls asleep, 0 is reported at
    /// once.
    fn clock_mhz(&mut self, now: Instant, asleep: bool) -> Measured<u64> {
        let fresh = |(at, _): &(Instant, _)| !asleep && now.saturating_duration_since(*at) < PERIOD;
        if let Some((_, clock)) = self.awake_clock_mhz.filter(fresh) {
            return clock;
        }
        let clock = first_that_exists(&self.clock_mhz);
        self.awake_clock_mhz = (!asleep).then_some((now, clock));
        clock
    }

    /// Reads everything but [`Self::busy_us`].
    pub fn read(&mut self, now: Instant) -> Raw {
        let asleep = self.is_asleep();
        Raw {
            asleep,
            runtime_ms: self.runtime_ms.each_mut().map(|(file, counter)| {
                counter.total(file.call(), now, file.number(), Ceiling::of_time().times(1e3))
            }),
            memory_bytes: self.memory_bytes.number(),
            clock_mhz: self.clock_mhz(now, asleep == Ok(true)),
            clock_max_mhz: first_that_exists(&self.clock_max_mhz),
            telemetry: self.telemetry.read(),
            resets: [0, 1].map(|index| (self.resets[index].0, self.resets[index].1.number())),
        }
    }
}

/// The same quantity under the two names that kernels have for it. Without either, the fault is that of the
/// first.
fn first_that_exists(files: &[File; 2]) -> Measured<u64> {
    let [first, second] = files;
    first.number().or_else(|fault: Fault| match fault.absence {
        Absence::Unsupported => second.number().map_err(|_| fault),
        _ => Err(fault),
    })
}
