//! The thread of a source that reads what is mandatory of a device while the device's own thread is in a round
//! that takes long, or does not return from it.
//!
//! It is started when a device needs it and ends when none did for a while. There is one for each source, and another
//! only while it hangs itself and a second device needs it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use reading::{Batch, Fault, FaultCode, Lost};
use source::panic_message;
use tracing::error;

use crate::sampling::{device::Device, state::SourceState, timing::Timing, worker::STACK_BYTES};

/// How long a thread stays that no device needs: a driver that is slow in one round is often slow in the next.
const IDLE: Duration = Duration::from_secs(3);

/// The standby threads of one source.
#[derive(Debug, Default)]
pub struct Standbys(AtomicUsize);

impl Standbys {
    /// Starts a thread where all that there are hang, and a device needs one. Called again and again, so one that
    /// cannot be started is started later.
    pub fn check(&self, source: &Arc<SourceState>, now: Instant, timing: &Timing) {
        let devices = source.devices();
        if self.hang(&devices) && devices.iter().any(|device| device.needs_standby(now, timing)) {
            self.0.fetch_add(1, Ordering::Relaxed);
            let (source, timing) = (Arc::clone(source), timing.clone());
            let thread = thread::Builder::new().name("standby".into()).stack_size(STACK_BYTES);
            if thread.spawn(move || run(&source, &timing)).is_err() {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn hang(&self, devices: &[Arc<Device>]) -> bool {
        let hanging = devices.iter().filter(|device| device.holds_standby()).count();
        hanging >= self.0.load(Ordering::Relaxed)
    }
}

fn run(source: &SourceState, timing: &Timing) {
    let mut needed = Instant::now();
    loop {
        for device in source.devices().iter() {
            if serve(source, device, timing) {
                needed = Instant::now();
            }
        }
        // Another was started while this one hung, or no device needs one.
        let threads = &source.standbys.0;
        if threads.load(Ordering::Relaxed) > 1 || needed.elapsed() > IDLE {
            threads.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        thread::sleep(timing.budget());
    }
}

/// Returns whether the device needed it.
fn serve(source: &SourceState, device: &Device, timing: &Timing) -> bool {
    let begun = Instant::now();
    let Some(mut turn) = device.begin_standby(begun, timing) else { return false };
    let mut batch = Batch::default();
    let read = catch_unwind(AssertUnwindSafe(|| turn.sampler.sample(&mut batch)));
    let read = read.unwrap_or_else(|panic| {
        let (family, key, why) = (source.family.name(), &*device.key, panic_message(&*panic));
        error!(family, key, why, "a defect ended the reading of what is mandatory");
        Err(Lost::Device(Fault::new("sample", FaultCode::Panic)))
    });
    drop(device.end_standby(turn, read.map(|()| batch), begun));
    true
}
