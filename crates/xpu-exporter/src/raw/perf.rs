//! Counters of a kernel PMU, for the whole system (perf_event_open(2)).

use std::{
    ffi::{c_int, c_long},
    fs::File,
    io::{self, Read as _},
    os::fd::{FromRawFd as _, OwnedFd},
};

use kernel_sys::perf::{ATTRIBUTES_BYTES, Attributes, CLOSE_ON_EXEC, TOTAL_TIME_ENABLED};

/// One open event. The GPU that it counts on stays awake until it is dropped.
#[derive(Debug)]
pub struct Counter(File);

impl Counter {
    /// Opens the event `config` of the PMU with the number `pmu`.
    ///
    /// # Errors
    /// ENOENT: no such event; EACCES or EPERM: `CAP_PERFMON` is missing.
    pub fn open(pmu: u32, config: u64) -> io::Result<Self> {
        let attributes = Attributes {
            kind: pmu,
            size: ATTRIBUTES_BYTES,
            config,
            read_format: TOTAL_TIME_ENABLED,
            ..Attributes::default()
        };
        let (every_process, cpu, no_group): (c_long, c_long, c_long) = (-1, 0, -1);
        // SAFETY: the system call reads `size` bytes of the struct, which lives as long as the call.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                every_process,
                cpu,
                no_group,
                CLOSE_ON_EXEC,
            )
        };
        let fd = c_int::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the system call has just given this descriptor to us alone.
        Ok(Self(File::from(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// The count, and the nanoseconds for which it was counted.
    ///
    /// # Errors
    /// The kernel's own.
    pub fn read(&mut self) -> io::Result<(u64, u64)> {
        let mut bytes = [0; 16];
        self.0.read_exact(&mut bytes)?;
        let (count, enabled) = bytes.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Ok((number(count), number(enabled)))
    }
}

#[cfg(test)]
mod tests {
    use super::Counter;

    /// `PERF_TYPE_SOFTWARE` and `PERF_COUNT_SW_CPU_CLOCK`: the only PMU that every machine has.
    #[test]
    fn the_kernel_takes_the_attributes_and_counts() {
        match Counter::open(1, 0) {
            Ok(mut counter) => {
                let (before, enabled_before) = counter.read().expect("read");
                let start = std::time::Instant::now();
                while start.elapsed() < std::time::Duration::from_millis(20) {}
                let (after, enabled) = counter.read().expect("read");
                assert!(after > before && enabled > enabled_before, "{before} to {after}");
            }
            // Not privileged, or in a container that forbids the call.
            Err(error) => {
                let refused = [libc::EACCES, libc::EPERM, libc::ENOSYS];
                assert!(refused.contains(&error.raw_os_error().expect("a number")), "{error}");
            }
        }
        let none = Counter::open(u32::MAX, 0).expect_err("no such PMU");
        let refused = [libc::ENOENT, libc::EACCES, libc::EPERM, libc::ENOSYS];
        assert!(refused.contains(&none.raw_os_error().expect("a number")), "{none}");
    }
}
