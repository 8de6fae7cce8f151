//! System events: the driver gives a GPU up, or takes it, as the control file's `unbound` says.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sim::live::Moment;
use sim_abi::Registry;

use crate::abi::sys::{
    self, nvmlSystemEventData_v1_t, nvmlSystemEventSet_t, nvmlSystemEventSetCreateRequest_v1_t,
    nvmlSystemEventSetFreeRequest_v1_t, nvmlSystemEventSetWaitRequest_v1_t,
    nvmlSystemRegisterEventRequest_v1_t,
};
use crate::abi::version;
use crate::args::Out;
use crate::call::{Result, code, entries};
use crate::lists::Items;

/// How often a waiting call looks for something new.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

const UNBIND: u64 = sys::nvmlSystemEventTypeGpuDriverUnbind as u64;
const BIND: u64 = sys::nvmlSystemEventTypeGpuDriverBind as u64;

/// What a set waits for, and which devices it has seen given up.
#[derive(Default)]
struct Set {
    types: u64,
    seen: BTreeSet<usize>,
}

static SETS: Registry<Mutex<Set>> = Registry::empty();

fn unbound(moment: &Moment<'_>) -> BTreeSet<usize> {
    let is_unbound =
        |index: &usize| moment.conditions().device(*index).is_some_and(|standing| standing.unbound);
    (0..moment.machine().profile().device_count()).filter(is_unbound).collect()
}

fn get(set: nvmlSystemEventSet_t) -> Result<Arc<Mutex<Set>>> {
    SETS.get(set.addr()).ok_or(code::INVALID_ARGUMENT)
}

fn checked<T>(found: u32) -> Result {
    if found == version::<T>(1) { Ok(()) } else { Err(code::VERSION_MISMATCH) }
}

impl Set {
    /// The next event of a type that is waited for.
    fn next(&mut self, moment: &Moment<'_>) -> Option<nvmlSystemEventData_v1_t> {
        let now = unbound(moment);
        loop {
            let device = *now.symmetric_difference(&self.seen).next()?;
            let kind = if self.seen.remove(&device) { BIND } else { UNBIND };
            if kind == UNBIND {
                self.seen.insert(device);
            }
            if let Some(device) = moment.device(device).filter(|_| self.types & kind != 0) {
                let (domain, bus, slot) = device.pci_numbers();
                let id = (u64::from(domain) & 0xffff) << 16 | u64::from(bus) << 8 | u64::from(slot);
                return Some(nvmlSystemEventData_v1_t { eventType: kind, gpuId: id as u32 });
            }
        }
    }
}

entries! {
    fn nvmlSystemEventSetCreate(_call, request: Out<nvmlSystemEventSetCreateRequest_v1_t>) {
        request.update(|request| {
            checked::<nvmlSystemEventSetCreateRequest_v1_t>(request.version)?;
            request.set = std::ptr::without_provenance_mut(SETS.insert(Mutex::default()));
            Ok(())
        })
    }

    fn nvmlSystemEventSetFree(_call, request: Out<nvmlSystemEventSetFreeRequest_v1_t>) {
        let request = request.get();
        checked::<nvmlSystemEventSetFreeRequest_v1_t>(request.version)?;
        if SETS.remove(request.set.addr()) { Ok(()) } else { Err(code::INVALID_ARGUMENT) }
    }

    fn nvmlSystemRegisterEvents(call, request: Out<nvmlSystemRegisterEventRequest_v1_t>) {
        let request = request.get();
        checked::<nvmlSystemRegisterEventRequest_v1_t>(request.version)?;
        if request.eventTypes & !(UNBIND | BIND) != 0 {
            return Err(code::INVALID_ARGUMENT);
        }
        let set = get(request.set)?;
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        set.types |= request.eventTypes;
        set.seen = unbound(&call.moment);
        Ok(())
    }

    fn nvmlSystemEventSetWait(call, request: Out<nvmlSystemEventSetWaitRequest_v1_t>) {
        let asked = request.get();
        checked::<nvmlSystemEventSetWaitRequest_v1_t>(asked.version)?;
        let set = get(asked.set)?;
        let until = Instant::now() + Duration::from_millis(asked.timeoutms.into());
        loop {
            let moment = call.live.now();
            let mut locked = set.lock().unwrap_or_else(PoisonError::into_inner);
            let room = if asked.data.is_null() { 0 } else { asked.dataSize as usize };
            let events: Vec<_> = std::iter::from_fn(|| locked.next(&moment)).take(room).collect();
            drop(locked);
            let left = until.saturating_duration_since(Instant::now());
            if !events.is_empty() || left.is_zero() {
                let count = events.len();
                Items::of(asked.data).write(events);
                request.put(nvmlSystemEventSetWaitRequest_v1_t { numEvent: count as u32, ..asked })?;
                return if count == 0 { Err(code::TIMEOUT) } else { Ok(()) };
            }
            sleep(left.min(LOOK_INTERVAL));
        }
    }
}
