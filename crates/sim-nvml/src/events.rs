//! Events: critical errors (XIDs) and memory errors, delivered to the sets that asked for them.
//!
//! Each kind of event of a device has a running number of how often it has happened. A set remembers, for
//! each, up to which number it has delivered; what had happened before a device was registered is not told.

use std::collections::BTreeMap;
use std::ffi::{c_uint, c_ulonglong};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sim::conditions::Effect;
use sim::control::{Scope, Severity};
use sim::live::Moment;
use sim_abi::Registry;

use crate::abi::sys::{self, nvmlEventData_t, nvmlEventSet_t};
use crate::args::{Gpu, Out};
use crate::call::{Answer, Call, NvmlCall, code, entries, readings};
use crate::ecc;
use crate::handle::{Kind, Target};

/// How often a waiting call looks for something new.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// What an id is when the event is about a whole GPU.
const NO_INSTANCE: u32 = u32::MAX;

const XID: u64 = sys::nvmlEventTypeXidCriticalError as u64;
const CORRECTED: u64 = sys::nvmlEventTypeSingleBitEccError as u64;
const UNCORRECTED: u64 = sys::nvmlEventTypeDoubleBitEccError as u64;
/// The types that a machine delivers.
const SUPPORTED: u64 = XID | CORRECTED | UNCORRECTED;

/// One kind of event of one device: type, device, and for an XID the entry of the control file.
type Stream = (u64, usize, u64);

#[derive(Default)]
struct EventSet {
    /// Types asked for, by device.
    registered: BTreeMap<usize, u64>,
    /// How often each stream had happened when it was last delivered.
    delivered: BTreeMap<Stream, u64>,
}

static SETS: Registry<Mutex<EventSet>> = Registry::empty();

/// The event data before version 2, which had no instance ids.
#[repr(C)]
struct EventDataV1 {
    device: sys::nvmlDevice_t,
    event_type: c_ulonglong,
    event_data: c_ulonglong,
}

const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(EventDataV1, event_type) == offset_of!(nvmlEventData_t, eventType));
    assert!(offset_of!(EventDataV1, event_data) == offset_of!(nvmlEventData_t, eventData));
    assert!(size_of::<EventDataV1>() == offset_of!(nvmlEventData_t, gpuInstanceId));
};

readings! {
    nvmlDeviceGetSupportedEventTypes: c_ulonglong = |_device| Ok(SUPPORTED);
}

entries! {
    fn nvmlEventSetCreate(_call, set: Out<nvmlEventSet_t>) {
        set.put(std::ptr::without_provenance_mut(SETS.insert(Mutex::default())))
    }

    fn nvmlEventSetFree(_call, set: nvmlEventSet_t) {
        if SETS.remove(set.addr()) { Ok(()) } else { Err(code::INVALID_ARGUMENT) }
    }

    fn nvmlDeviceRegisterEvents(call, gpu: Gpu, types: c_ulonglong, set: nvmlEventSet_t) {
        if types & !SUPPORTED != 0 {
            return Err(code::NOT_SUPPORTED);
        }
        let set = SETS.get(set.addr()).ok_or(code::INVALID_ARGUMENT)?;
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        *set.registered.entry(gpu.0).or_default() |= types;
        for (stream, event) in streams(&call.moment, types) {
            if stream.1 == gpu.0 {
                set.delivered.entry(stream).or_insert(event.count);
            }
        }
        Ok(())
    }

    fn nvmlEventSetWait_v2(call, set: nvmlEventSet_t, data: Out<nvmlEventData_t>, milliseconds: c_uint) {
        data.put(wait(call, set, milliseconds)?)
    }

    fn nvmlEventSetWait(call, set: nvmlEventSet_t, data: Out<nvmlEventData_t>, milliseconds: c_uint) {
        let nvmlEventData_t { device, eventType, eventData, .. } = wait(call, set, milliseconds)?;
        data.older().put(EventDataV1 { device, event_type: eventType, event_data: eventData })
    }
}

/// Waits for the set's next event. Looks five times a second and holds no lock meanwhile; where nothing can
/// ever happen it sleeps through.
fn wait(call: &Call<'_>, set: nvmlEventSet_t, milliseconds: c_uint) -> Answer<nvmlEventData_t> {
    let end = Instant::now() + Duration::from_millis(milliseconds.into());
    loop {
        let moment = call.live.now();
        if moment.driver_epoch() != Some(call.epoch) {
            return Err(code::UNINITIALIZED);
        }
        let set = SETS.get(set.addr()).ok_or(code::INVALID_ARGUMENT)?;
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((stream, event)) = next(&mut set, &moment) {
            return Ok(nvmlEventData_t {
                device: call.handle(Kind::Device, Target::gpu(stream.1)),
                eventType: stream.0,
                eventData: event.data,
                gpuInstanceId: event.gpu_instance.unwrap_or(NO_INSTANCE),
                computeInstanceId: event.compute_instance.unwrap_or(NO_INSTANCE),
            });
        }
        // One lost device makes the wait fail for all.
        let effect =
            |device| moment.conditions().effect("nvmlEventSetWait_v2", Some(device), moment.seconds());
        let lost = |device: &usize| effect(*device) == Some(Effect::Lost);
        if set.registered.keys().any(lost) {
            return Err(code::GPU_IS_LOST);
        }
        drop(set);
        drop(moment);
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(code::TIMEOUT);
        }
        sleep(if call.live.is_disturbed() { left.min(LOOK_INTERVAL) } else { left });
    }
}

/// Takes the set's next event: the first stream that has happened more often than was delivered.
fn next(set: &mut EventSet, moment: &Moment<'_>) -> Option<(Stream, Event)> {
    let EventSet { registered, delivered } = set;
    let asked = |stream: &Stream| registered.get(&stream.1).is_some_and(|types| types & stream.0 != 0);
    let types = registered.values().fold(0, |all, types| all | types);
    streams(moment, types).find_map(|(stream, event)| {
        if !asked(&stream) {
            return None;
        }
        let seen = delivered.entry(stream).or_default();
        // After a driver reload counters begin anew.
        *seen = (*seen).min(event.count);
        (event.count > *seen).then(|| *seen += 1).map(|()| (stream, event))
    })
}

/// What happened last in a stream, and how often something has.
struct Event {
    count: u64,
    data: u64,
    gpu_instance: Option<u32>,
    compute_instance: Option<u32>,
}

/// The streams of these types, as they stand.
fn streams<'a>(moment: &'a Moment<'_>, types: u64) -> impl Iterator<Item = (Stream, Event)> + 'a {
    let wanted = move |kind: u64| kind & types != 0;
    let xids = moment.conditions().xids(moment.seconds()).filter(move |_| wanted(XID)).map(|(xid, count)| {
        let event = Event {
            count,
            data: xid.code,
            gpu_instance: xid.gpu_instance,
            compute_instance: xid.compute_instance,
        };
        ((XID, xid.device, xid.id), event)
    });
    let errors = [(CORRECTED, Severity::Corrected), (UNCORRECTED, Severity::Uncorrectable)];
    let errors = errors.into_iter().filter(move |(kind, _)| wanted(*kind)).flat_map(|(kind, severity)| {
        moment.present().filter_map(|index| moment.device(index)).map(move |device| {
            let count = ecc::errors(&device, severity, Scope::Dram, false);
            let event = Event { count, data: 0, gpu_instance: None, compute_instance: None };
            ((kind, device.index(), 0), event)
        })
    });
    xids.chain(errors)
}
