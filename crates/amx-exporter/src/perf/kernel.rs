//! The kernel's own answers, by way of the crate `perf-event2`.

use std::{
    collections::HashMap,
    io,
    os::fd::AsRawFd,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use perf_event::{Builder, Counter, ReadFormat, events::Raw};

use super::{Counts, Descriptor, Event, Perf};
use crate::cpu::{self, Registers};

/// perf events of this machine.
#[derive(Default)]
pub struct Kernel {
    open: Mutex<HashMap<Descriptor, Counter>>,
}

impl Kernel {
    /// How many events are open.
    #[cfg(test)]
    pub fn open_count(&self) -> usize {
        self.counters().len()
    }

    fn counters(&self) -> MutexGuard<'_, HashMap<Descriptor, Counter>> {
        // The map is whole after every single step, even after a panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Perf for Kernel {
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Registers {
        cpu::this(leaf, subleaf)
    }

    fn open(&self, event: Event, cpu: u32, leader: Option<Descriptor>) -> io::Result<Descriptor> {
        let mut builder = Builder::new(Raw::new(event.config));
        builder.attrs_mut().type_ = event.pmu;
        builder.any_pid().one_cpu(cpu as usize).include_kernel().include_hv().read_format(
            ReadFormat::GROUP
                | ReadFormat::ID
                | ReadFormat::TOTAL_TIME_ENABLED
                | ReadFormat::TOTAL_TIME_RUNNING,
        );
        let mut counters = self.counters();
        let counter = match leader {
            None => builder.build()?,
            Some(leader) => builder.build_with_group(known(&mut counters, leader)?)?,
        };
        let descriptor = Descriptor(counter.as_raw_fd());
        counters.insert(descriptor, counter);
        Ok(descriptor)
    }

    fn enable(&self, leader: Descriptor) -> io::Result<()> {
        known(&mut self.counters(), leader)?.enable_group()
    }

    fn read(&self, leader: Descriptor) -> io::Result<Counts> {
        let group = known(&mut self.counters(), leader)?.read_group()?;
        let nanoseconds = |time: Option<Duration>| {
            time.and_then(|time| u64::try_from(time.as_nanos()).ok())
                .ok_or_else(|| io::Error::other("the kernel left out a time that was asked for"))
        };
        Ok(Counts {
            enabled: nanoseconds(group.time_enabled())?,
            running: nanoseconds(group.time_running())?,
            values: group.iter().map(|entry| entry.value()).collect(),
        })
    }

    fn close(&self, event: Descriptor) {
        self.counters().remove(&event);
    }
}

fn known(counters: &mut HashMap<Descriptor, Counter>, event: Descriptor) -> io::Result<&mut Counter> {
    counters.get_mut(&event).ok_or_else(|| io::Error::other("the event is not open"))
}
