//! The event set through which HLML announces what went wrong on one device.

use std::ffi::c_uint;

use hlml_sys::{
    EventSet,
    constants::{EVENT_CRITICAL, EVENT_DRAM_UNCORRECTED, EVENT_ECC_UNCORRECTED},
    layout::EVENT_DATA,
};
use reading::{Absence, Measured};
use source::{EventHistory, EventLog};

use super::{Hpu, call, out_buffer::OutBuffer};

/// The events that are waited for: bit, and the code that each is counted under. Changes of the clock and
/// corrected errors happen every day, so they are left out.
pub const EVENTS: [(u64, &str); 3] = [
    (EVENT_CRITICAL, "critical"),
    (EVENT_ECC_UNCORRECTED, "ecc_uncorrectable"),
    (EVENT_DRAM_UNCORRECTED, "dram_uncorrectable"),
];

/// The events of one device, by the codes of [`EVENTS`].
pub type HlmlEventHistory = EventHistory<&'static str>;

/// The events of every device, by its key.
pub type HlmlEventLog = EventLog<String, &'static str>;

/// How long one call may wait. Nobody else can call HLML meanwhile; 0 is not documented to mean "at once".
const WAIT_MILLISECONDS: c_uint = 1;
/// Events that one round takes at most: a storm must not delay the device's other values.
const EVENTS_PER_ROUND: usize = 64;

/// A device's events. Each device has a set of its own, so that a call that hangs affects no other device.
pub struct Events {
    hpu: Hpu,
    set: Set,
}

struct Set(EventSet);

// SAFETY: a set is a token that HLML looks up; calls with it are made one at a time.
unsafe impl Send for Set {}

impl Events {
    /// Registers for the events; those from before are not delivered.
    ///
    /// A library that does not know one of the events refuses them all, so then each is registered on its
    /// own; it is enough that one is known.
    pub fn register(hpu: &Hpu) -> Measured<Self> {
        let mut set = std::ptr::null_mut();
        call!(hpu.library(), hlml_event_set_create(&raw mut set))?;
        let events = Self { hpu: hpu.clone(), set: Set(set) };
        let register =
            |mask: u64| call!(hpu.library(), hlml_device_register_events(hpu.handle(), mask, events.set.0));
        register(EVENTS.iter().fold(0, |mask, (bit, _)| mask | bit)).or_else(|fault| {
            let alone = EVENTS.map(|(bit, _)| register(bit));
            if alone.iter().any(Result::is_ok) { Ok(()) } else { Err(fault) }
        })?;
        Ok(events)
    }

    /// The codes of the events since the last call, one for each time that each was announced.
    pub fn take(&self) -> Measured<Vec<&'static str>> {
        const CALL: &str = "hlml_event_set_wait";
        let mut announced = Vec::new();
        for _ in 0..EVENTS_PER_ROUND {
            let mut out = OutBuffer::zeroed();
            let wait = call!(
                self.hpu.library(),
                hlml_event_set_wait(self.set.0, out.as_mut_ptr(), WAIT_MILLISECONDS)
            );
            match wait {
                Ok(()) => {
                    let mask = out.checked(CALL)?.u64(&EVENT_DATA, "event_type");
                    announced.extend(codes(mask.unwrap_or(0)));
                }
                Err(fault) if fault.absence == Absence::TimedOut => break,
                Err(fault) => return Err(fault),
            }
        }
        Ok(announced)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Nothing can be done about a failure: the driver drops the set with the process.
        let _ = call!(self.hpu.library(), hlml_event_set_free(self.set.0));
    }
}

/// The codes in a mask; one of other events than [`EVENTS`] has none.
fn codes(mask: u64) -> impl Iterator<Item = &'static str> {
    EVENTS.into_iter().filter(move |(bit, _)| mask & bit != 0).map(|(_, code)| code)
}

#[cfg(test)]
mod tests {
    use hlml_sys::constants::{EVENT_CLOCK, EVENT_CRITICAL, EVENT_DRAM_UNCORRECTED, EVENT_ECC_CORRECTED};

    use super::codes;

    #[test]
    fn events_that_are_not_waited_for_have_no_code() {
        assert_eq!(codes(EVENT_CLOCK | EVENT_ECC_CORRECTED | 1 << 40).count(), 0);
        let both = codes(EVENT_CRITICAL | EVENT_DRAM_UNCORRECTED | EVENT_CLOCK);
        assert_eq!(both.collect::<Vec<_>>(), ["critical", "dram_uncorrectable"]);
    }
}
