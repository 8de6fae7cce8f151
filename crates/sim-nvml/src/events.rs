//! Events: critical errors (XIDs), memory errors and other types, delivered to the sets that asked for them.
//!
//! The sets themselves are in `sim-abi`.

use std::ffi::{c_uint, c_ulonglong};
use std::time::Duration;

use sim::conditions::Effect;
use sim::control::{EventKind, Scope, Severity};
use sim::device::Device;
use sim::live::Moment;
use sim_abi::{Event, EventSets, Stream};

use crate::abi::sys::{self, nvmlEventData_t, nvmlEventSet_t};
use crate::args::{Gpu, Out};
use crate::call::{Call, Nvml, NvmlCall as _, Result, code, entries, readings};
use crate::ecc;
use crate::handle::{HandleKind, Target};
use crate::parts::Part as _;

/// How often a waiting call looks for something new.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// What an id is when the event is about a whole GPU.
const NO_INSTANCE: u32 = u32::MAX;

const XID: u64 = sys::nvmlEventTypeXidCriticalError as u64;
const CORRECTED: u64 = sys::nvmlEventTypeSingleBitEccError as u64;
const UNCORRECTED: u64 = sys::nvmlEventTypeDoubleBitEccError as u64;

/// The types without data: their bits, and the driver that brought them.
const OTHERS: [(EventKind, u32, u32); 10] = [
    (EventKind::PState, sys::nvmlEventTypePState, 0),
    (EventKind::PowerSource, sys::nvmlEventTypePowerSourceChange, 0),
    (EventKind::MigConfig, sys::nvmlEventMigConfigChange, 0),
    (EventKind::SingleBitStorm, sys::nvmlEventTypeSingleBitEccErrorStorm, 560),
    (EventKind::DramRetirement, sys::nvmlEventTypeDramRetirementEvent, 560),
    (EventKind::DramRetirementFailure, sys::nvmlEventTypeDramRetirementFailure, 560),
    (EventKind::NonFatalPoison, sys::nvmlEventTypeNonFatalPoisonError, 560),
    (EventKind::FatalPoison, sys::nvmlEventTypeFatalPoisonError, 560),
    (EventKind::GpuUnavailable, sys::nvmlEventTypeGpuUnavailableError, 565),
    (EventKind::RecoveryAction, sys::nvmlEventTypeGpuRecoveryAction, 565),
];

/// The types that a device can announce.
fn supported(device: &Device<'_>) -> u64 {
    let can = |kind, driver| {
        device.since_driver(driver).is_ok()
            && (kind != EventKind::MigConfig || !device.nvidia().mig_profiles.is_empty())
    };
    let others = OTHERS.iter().filter(|(kind, _, driver)| can(*kind, *driver));
    others.fold(XID | CORRECTED | UNCORRECTED, |all, (_, bit, _)| all | u64::from(*bit))
}

/// What NVML reports of an event beside its type and device.
#[derive(Clone, Copy)]
struct Data {
    value: u64,
    gpu_instance: Option<u32>,
    compute_instance: Option<u32>,
}

static SETS: EventSets = EventSets::empty();

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
    nvmlDeviceGetSupportedEventTypes: c_ulonglong = |device| Ok(supported(&device));
}

entries! {
    fn nvmlEventSetCreate(_call, set: Out<nvmlEventSet_t>) { set.put(SETS.create()) }

    fn nvmlEventSetFree(_call, set: nvmlEventSet_t) { SETS.free::<_, Nvml>(set) }

    fn nvmlDeviceRegisterEvents(call, gpu: Gpu, types: c_ulonglong, set: nvmlEventSet_t) {
        if types & !supported(&call.gpu(gpu.0)?) != 0 {
            return Err(code::NOT_SUPPORTED);
        }
        SETS.register::<_, _, Nvml>(set, gpu.0, types, events(&call.moment, types))
    }

    fn nvmlEventSetWait_v2(call, set: nvmlEventSet_t, data: Out<nvmlEventData_t>, milliseconds: c_uint) {
        data.put(wait(call, set, milliseconds)?)
    }

    fn nvmlEventSetWait(call, set: nvmlEventSet_t, data: Out<nvmlEventData_t>, milliseconds: c_uint) {
        let nvmlEventData_t { device, eventType, eventData, .. } = wait(call, set, milliseconds)?;
        data.older().put(EventDataV1 { device, event_type: eventType, event_data: eventData })
    }
}

/// Waits for the set's next event.
fn wait(call: &Call<'_>, set: nvmlEventSet_t, milliseconds: c_uint) -> Result<nvmlEventData_t> {
    let event = SETS.wait(call, set, milliseconds, LOOK_INTERVAL, |set, moment| {
        let event = set.next(events(moment, set.types()));
        // One lost device makes the wait fail for all.
        let effect =
            |device| moment.conditions().effect("nvmlEventSetWait_v2", Some(device), moment.seconds());
        let is_lost = event.is_none() && set.devices().any(|device| effect(device) == Some(Effect::Lost));
        if is_lost { Err(code::GPU_IS_LOST) } else { Ok(event) }
    })?;
    let Event { stream, data, .. } = event.ok_or(code::TIMEOUT)?;
    Ok(nvmlEventData_t {
        device: call.handle(HandleKind::Device, Target::gpu(stream.device)),
        eventType: stream.kind,
        eventData: data.value,
        gpuInstanceId: data.gpu_instance.unwrap_or(NO_INSTANCE),
        computeInstanceId: data.compute_instance.unwrap_or(NO_INSTANCE),
    })
}

/// The events of these types that have happened until now.
fn events<'a>(moment: &'a Moment<'_>, types: u64) -> impl Iterator<Item = Event<Data>> + 'a {
    let wanted = move |kind: u64| kind & types != 0;
    let xids = moment.conditions().xids(moment.seconds()).filter(move |_| wanted(XID));
    let xids = xids.map(|(xid, count)| Event {
        stream: Stream { kind: XID, device: xid.device, id: xid.id },
        count,
        data: Data {
            value: xid.code,
            gpu_instance: xid.gpu_instance,
            compute_instance: xid.compute_instance,
        },
    });
    let errors = [(CORRECTED, Severity::Corrected), (UNCORRECTED, Severity::Uncorrectable)];
    let errors = errors.into_iter().filter(move |(kind, _)| wanted(*kind)).flat_map(|(kind, severity)| {
        moment.present().filter_map(|index| moment.device(index)).map(move |device| Event {
            stream: Stream { kind, device: device.index(), id: 0 },
            count: ecc::errors(&device, severity, Scope::Dram, false),
            data: Data { value: 0, gpu_instance: None, compute_instance: None },
        })
    });
    let others = moment.conditions().events(moment.seconds()).filter_map(move |(event, count)| {
        let (_, bit, _) = OTHERS.iter().find(|(kind, ..)| *kind == event.kind)?;
        let kind = u64::from(*bit);
        wanted(kind).then_some(Event {
            stream: Stream { kind, device: event.device, id: event.id },
            count,
            data: Data { value: 0, gpu_instance: None, compute_instance: None },
        })
    });
    xids.chain(errors).chain(others)
}
