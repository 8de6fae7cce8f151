//! Events: those of the control file, delivered to the sets that asked for them. The sets themselves are in
//! `sim-abi`.

use std::ffi::{c_uint, c_ulonglong, c_void};
use std::time::Duration;

use hlml_sys::{Return, layout::EVENT_DATA};
use sim::live::Moment;
use sim_abi::{Event, EventSets, Stream};

use crate::args::{Device, Member, Out, Struct, handle};
use crate::call::{Hlml, entries};

/// How often a waiting call looks for something new.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Bits 0 to 5 are events.
const SUPPORTED: u64 = 0x3f;

static SETS: EventSets = EventSets::empty();

entries! {
    fn hlml_event_set_create(_call, set: Out<*mut c_void>) { set.put(SETS.create()) }

    fn hlml_event_set_free(_call, set: *mut c_void) { SETS.free::<_, Hlml>(set) }

    fn hlml_device_register_events(call, device: Device, types: c_ulonglong, set: *mut c_void) {
        if types & !SUPPORTED != 0 {
            return Err(Return::InvalidArgument);
        }
        SETS.register::<_, _, Hlml>(set, device.0, types, events(&call.moment))
    }

    fn hlml_event_set_wait(call, set: *mut c_void, data: Struct, milliseconds: c_uint) {
        let next = |set: &mut sim_abi::EventSet, moment: &Moment<'_>| Ok(set.next(events(moment)));
        let event = SETS.wait(call, set, milliseconds, LOOK_INTERVAL, next)?.ok_or(Return::Timeout)?;
        let Stream { device, kind, .. } = event.stream;
        data.set(call, &EVENT_DATA, &[
            ("device", Member::Number(handle(device, call.epoch).addr() as u64)),
            ("event_type", Member::Number(kind)),
        ])
    }
}

/// The events of the control file that have happened until now. The code of an `[[xid]]` is the event's bits
/// here.
fn events(moment: &Moment<'_>) -> impl Iterator<Item = Event<()>> {
    moment.conditions().xids(moment.seconds()).map(|(event, count)| Event {
        stream: Stream { kind: event.code, device: event.device, id: event.id },
        count,
        data: (),
    })
}
