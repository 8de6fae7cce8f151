//! The event set through which HLML announces what went wrong on one device.

use std::ffi::c_uint;

use hlml_sys::{
    EventSet, Return,
    constants::{EVENT_CRITICAL, EVENT_DRAM_UNCORRECTED, EVENT_ECC_UNCORRECTED},
    layout::EVENT_DATA,
};

use super::{Got, Hpu, answer::Answer, call, is_one_of};

/// What is listened for: bit, and the word that it is counted under. Changes of the clock and corrected errors
/// are everyday, so they are no events here.
pub const EVENTS: [(u64, &str); 3] = [
    (EVENT_CRITICAL, "critical"),
    (EVENT_ECC_UNCORRECTED, "ecc_uncorrectable"),
    (EVENT_DRAM_UNCORRECTED, "dram_uncorrectable"),
];

/// How long one look may wait. Nobody else can call HLML meanwhile; 0 is not documented to mean "at once".
const LOOK_MILLISECONDS: c_uint = 1;
/// Events that one look takes at most: a storm must not hold the device's other values up.
const EVENTS_PER_LOOK: usize = 64;

/// A device's events. Each device has a set of its own, so that a call that hangs is its own.
pub struct Events {
    hpu: Hpu,
    set: Set,
}

struct Set(EventSet);

// SAFETY: a set is a token that HLML looks up; calls with it are made one at a time.
unsafe impl Send for Set {}

impl Events {
    /// Begins to listen; events from before are not delivered.
    ///
    /// A library that does not know one of the events refuses them all at once, so then each is asked for on
    /// its own; it is enough that one is known.
    pub fn listen(hpu: &Hpu) -> Got<Self> {
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

    /// The kinds of the events since the last look: one mask per event.
    pub fn look(&self) -> Got<Vec<u64>> {
        const CALL: &str = "hlml_event_set_wait";
        let mut heard = Vec::new();
        while heard.len() < EVENTS_PER_LOOK {
            let mut answer = Answer::new();
            let wait = call!(
                self.hpu.library(),
                hlml_event_set_wait(self.set.0, answer.as_mut_ptr(), LOOK_MILLISECONDS)
            );
            match wait {
                Ok(()) => heard.extend(answer.checked(CALL)?.u64(&EVENT_DATA, "event_type")),
                // The everyday answer: nothing happened.
                Err(fault) if is_one_of(&fault, &[Return::Timeout]) => break,
                Err(fault) => return Err(fault),
            }
        }
        Ok(heard)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // A failure to free has no remedy: the driver drops the set with the process.
        let _ = call!(self.hpu.library(), hlml_event_set_free(self.set.0));
    }
}
