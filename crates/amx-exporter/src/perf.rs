//! Opening groups of perf events: by the kernel, or on a simulated machine.

use std::{io, sync::Arc};

use kernel::{
    perf::{self, Counts},
    pmu::Event,
};

/// Opens groups of events.
pub trait Perf: Send + Sync {
    /// Opens and enables events as one group on one CPU; see [`perf::Group::open`].
    ///
    /// # Errors
    /// The errno of perf_event_open(2), by which [`perf::fault`] finds its code.
    fn open(&self, events: &[Event], cpu: u32) -> io::Result<Box<dyn Group>>;
}

/// An open group; dropping it closes its events.
pub trait Group: Send {
    /// The counts since it was opened; see [`perf::Group::read`].
    ///
    /// # Errors
    /// The errno of read(2), or [`io::ErrorKind::UnexpectedEof`] for events that the kernel has ended.
    fn read(&mut self) -> io::Result<Counts>;
}

/// Shared by the sockets.
pub type Shared = Arc<dyn Perf>;

/// This machine's kernel.
pub struct Kernel;

impl Perf for Kernel {
    fn open(&self, events: &[Event], cpu: u32) -> io::Result<Box<dyn Group>> {
        Ok(Box::new(perf::Group::open(events, cpu)?))
    }
}

impl Group for perf::Group {
    fn read(&mut self) -> io::Result<Counts> {
        Self::read(self)
    }
}
