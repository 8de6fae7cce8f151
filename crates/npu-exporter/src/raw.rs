//! What the kernel says of one NPU, file by file, in its own units
//! (Documentation/ABI/testing/sysfs-driver-ivpu, Documentation/power/runtime_pm.rst).
//!
//! Every file is optional by its presence, never by a kernel version. None of them wakes a sleeping NPU: the
//! driver answers them without a reference on the device, or with one that it takes only while it is awake.
//! Letting such a reference go restarts the delay after which the NPU falls asleep (Linux 6.17,
//! `pm_runtime_put_autosuspend`), so the clock is read no more often than once a second.

use std::{path::Path, time::Instant};

use kernel::{
    File,
    pci::{Function, Power},
};
use reading::{Absence, Fault};

use crate::{
    rates::PERIOD,
    telemetry::{Registers, Telemetry},
};

/// A value in the kernel's unit, or why there is none.
pub type Got<T> = Result<T, Fault>;

/// Counters of resets in debugfs, which root alone may read: our word, file.
const RESETS: [(&str, &str); 2] = [("device", "reset_counter"), ("engine", "engine_reset_counter")];

/// One round.
#[derive(Clone, Copy, Debug)]
pub struct Raw {
    /// Whether runtime power management has suspended the NPU.
    pub asleep: Got<bool>,
    /// Milliseconds awake and asleep.
    pub runtime_ms: [Got<u64>; 2],
    /// Bytes of host memory that the NPU's buffer objects hold, whatever the file's name says.
    pub memory_bytes: Got<u64>,
    /// MHz; 0 while asleep.
    pub clock_mhz: Got<u64>,
    /// MHz.
    pub clock_max_mhz: Got<u64>,
    /// PMT registers.
    pub telemetry: Got<Registers>,
    /// Resets of the device and of an engine since the driver was loaded, by our word.
    pub resets: [(&'static str, Got<u64>); 2],
}

/// The files of one NPU.
#[derive(Clone, Debug)]
pub struct Files {
    function: Function,
    runtime_ms: [File; 2],
    busy_us: File,
    memory_bytes: File,
    clock_mhz: [File; 2],
    /// When the clock of an NPU that is awake was last read, and what it was.
    awake_clock_mhz: Option<(Instant, Got<u64>)>,
    clock_max_mhz: [File; 2],
    resets: [(&'static str, File); 2],
    telemetry: Telemetry,
}

impl Files {
    /// The files of a function below `sysfs`.
    pub fn new(sysfs: &Path, function: Function) -> Self {
        let file = |name| File::new(&function.folder, name);
        let debug = sysfs.join("kernel/debug/accel").join(&function.address);
        Self {
            runtime_ms: [file("power/runtime_active_time"), file("power/runtime_suspended_time")],
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

    /// Whether the driver still has the NPU.
    pub fn is_bound(&self) -> bool {
        self.function.driver().as_deref() == Some(crate::session::DRIVER)
    }

    /// Microseconds in which at least one job was submitted and not completed. The driver takes the lock of
    /// its submissions to answer, and asks to be read no more than once a second.
    pub fn busy_us(&self) -> Got<u64> {
        self.busy_us.number()
    }

    /// 0 while it sleeps, which is told at once.
    fn clock_mhz(&mut self, now: Instant, asleep: bool) -> Got<u64> {
        let fresh = |(at, _): &(Instant, _)| !asleep && now.saturating_duration_since(*at) < PERIOD;
        if let Some((_, clock)) = self.awake_clock_mhz.filter(fresh) {
            return clock;
        }
        let clock = first_that_exists(&self.clock_mhz);
        self.awake_clock_mhz = (!asleep).then_some((now, clock));
        clock
    }

    /// Everything else.
    pub fn read(&mut self, now: Instant) -> Raw {
        let asleep = self.function.power().map(|power| power == Power::Suspended);
        Raw {
            asleep,
            runtime_ms: [self.runtime_ms[0].number(), self.runtime_ms[1].number()],
            memory_bytes: self.memory_bytes.number(),
            clock_mhz: self.clock_mhz(now, asleep == Ok(true)),
            clock_max_mhz: first_that_exists(&self.clock_max_mhz),
            telemetry: self.telemetry.read(),
            resets: [0, 1].map(|index| (self.resets[index].0, self.resets[index].1.number())),
        }
    }
}

/// The same quantity under the names that kernels have given it. Without any, the first is the one missing.
fn first_that_exists(files: &[File; 2]) -> Got<u64> {
    let [first, second] = files;
    first.number().or_else(|fault: Fault| match fault.absence {
        Absence::Unsupported => second.number().map_err(|_| fault),
        _ => Err(fault),
    })
}
