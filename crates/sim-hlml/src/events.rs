//! Events: those of the control file, delivered to the sets that asked for them.
//!
//! Each entry of the control file has a running number of how often it has happened. A set remembers, for
//! each, up to which number it has delivered; what had happened before a device was registered is not told.

use std::collections::BTreeMap;
use std::ffi::{c_uint, c_ulonglong, c_void};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hlml_sys::{Return, layout::EVENT_DATA};
use sim::live::Moment;
use sim_abi::Registry;

use crate::args::{Device, Member, Out, Struct, handle};
use crate::call::{Answer, Call, entries};

/// How often a waiting call looks for something new.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Bits 0 to 5 are events.
const SUPPORTED: u64 = 0x3f;

#[derive(Default)]
struct EventSet {
    /// Types asked for, by device.
    registered: BTreeMap<usize, u64>,
    /// How often each entry of the control file, by its id, had happened when it was last delivered.
    delivered: BTreeMap<u64, u64>,
}

static SETS: Registry<Mutex<EventSet>> = Registry::empty();

entries! {
    fn hlml_event_set_create(_call, set: Out<*mut c_void>) {
        set.put(std::ptr::without_provenance_mut(SETS.insert(Mutex::default())))
    }

    fn hlml_event_set_free(_call, set: *mut c_void) {
        if SETS.remove(set.addr()) { Ok(()) } else { Err(Return::InvalidArgument) }
    }

    fn hlml_device_register_events(call, device: Device, types: c_ulonglong, set: *mut c_void) {
        if types & !SUPPORTED != 0 {
            return Err(Return::InvalidArgument);
        }
        let set = SETS.get(set.addr()).ok_or(Return::InvalidArgument)?;
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        *set.registered.entry(device.0).or_default() |= types;
        for (id, _, count) in happened(&call.moment).filter(|(_, (about, _), _)| *about == device.0) {
            set.delivered.entry(id).or_insert(count);
        }
        Ok(())
    }

    fn hlml_event_set_wait(call, set: *mut c_void, data: Struct, milliseconds: c_uint) {
        let (device, kind) = wait(call, set, milliseconds)?;
        data.set(call, &EVENT_DATA, &[
            ("device", Member::Number(handle(device, call.epoch).addr() as u64)),
            ("event_type", Member::Number(kind)),
        ])
    }
}

/// Waits for the set's next event, and holds no lock meanwhile.
fn wait(call: &Call<'_>, set: *mut c_void, milliseconds: c_uint) -> Answer<(usize, u64)> {
    let end = Instant::now() + Duration::from_millis(milliseconds.into());
    loop {
        let moment = call.live.now();
        if moment.driver_epoch() != Some(call.epoch) {
            return Err(Return::Uninitialized);
        }
        let set = SETS.get(set.addr()).ok_or(Return::InvalidArgument)?;
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = next(&mut set, &moment) {
            return Ok(event);
        }
        drop(set);
        drop(moment);
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Return::Timeout);
        }
        sleep(left.min(LOOK_INTERVAL));
    }
}

/// Takes the set's next event: the first that has happened more often than was delivered.
fn next(set: &mut EventSet, moment: &Moment<'_>) -> Option<(usize, u64)> {
    let EventSet { registered, delivered } = set;
    happened(moment).find_map(|(id, (device, kind), count)| {
        if registered.get(&device).is_none_or(|types| types & kind == 0) {
            return None;
        }
        let seen = delivered.entry(id).or_default();
        (count > *seen).then(|| *seen += 1).map(|()| (device, kind))
    })
}

/// The events of the control file: id, device and kind, and how often they have happened. The code of an
/// `[[xid]]` is the event's bits here.
fn happened(moment: &Moment<'_>) -> impl Iterator<Item = (u64, (usize, u64), u64)> {
    moment
        .conditions()
        .xids(moment.seconds())
        .map(|(event, count)| (event.id, (event.device, event.code), count))
}
