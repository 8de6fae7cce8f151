//! perf events: the system calls behind a trait, so that the code above them can be shown every answer that
//! a kernel has.

mod files;
mod kernel;

use std::{io, sync::Arc};

use reading::{Fault, FaultCode};

pub use files::Files;
pub use kernel::Kernel;

use crate::cpu::Registers;

/// What the name of the call is in faults.
pub const CALL: &str = "perf_event_open";

/// An event of a PMU, as `struct perf_event_attr` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    /// `type`: the number in `event_source/devices/<pmu>/type`.
    pub pmu: u32,
    /// `config`.
    pub config: u64,
}

/// An open event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Descriptor(pub i32);

/// What reading a group gives: `PERF_FORMAT_GROUP` with both times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Nanoseconds for which the group was enabled.
    pub enabled: u64,
    /// Of them, nanoseconds for which it was on the hardware.
    pub running: u64,
    /// One value per event, in the order of opening, leader first.
    pub values: Vec<u64>,
}

/// The system calls of perf events, one method each, and the instruction that says on what they run.
///
/// Every default fails loudly, so that a stand-in which lacks a call is found by the first test that needs it.
pub trait Perf: Send + Sync {
    /// CPUID of a leaf and a sub-leaf.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Registers {
        panic!("CPUID {leaf:#x}.{subleaf:#x} has no answer here")
    }

    /// `perf_event_open(2)` for every process on one CPU, disabled, kernel, hypervisor and guests included;
    /// with a leader it joins the leader's group.
    fn open(&self, event: Event, cpu: u32, leader: Option<Descriptor>) -> io::Result<Descriptor> {
        panic!("perf_event_open of {event:?} on CPU {cpu} for {leader:?} has no answer here")
    }

    /// `ioctl(2)` `PERF_EVENT_IOC_ENABLE` of a group.
    fn enable(&self, leader: Descriptor) -> io::Result<()> {
        panic!("PERF_EVENT_IOC_ENABLE of {leader:?} has no answer here")
    }

    /// `read(2)` of a group. An empty answer, which the kernel gives for an event in error, is
    /// [`io::ErrorKind::UnexpectedEof`].
    fn read(&self, leader: Descriptor) -> io::Result<Counts> {
        panic!("read of {leader:?} has no answer here")
    }

    /// `close(2)`.
    fn close(&self, event: Descriptor) {
        panic!("close of {event:?} has no answer here")
    }
}

/// Shared by what a socket counts.
pub type Shared = Arc<dyn Perf>;

/// Why a call gave nothing: each error number of perf_event_open(2) is a reason of its own.
pub fn fault(error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Fault::new(CALL, FaultCode::NotScheduled);
    }
    ::kernel::file::fault(CALL, error)
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod kernel_tests;
