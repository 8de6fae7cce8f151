//! What HLML announces of one card: registered for when the card is opened, taken in each round, and by the
//! session once the card cannot be read any more, since the reason of a loss may be announced after it.

use std::{
    sync::{Mutex, TryLockError},
    time::Instant,
};

use reading::{Fault, FaultCode, Measured};
use source::{LINE_PERIOD, Throttle, lock};

use crate::raw::{Events, HlmlEventHistory, HlmlEventLog, Hpu};

/// The events of one card.
pub struct Announced {
    key: String,
    log: HlmlEventLog,
    registered: Mutex<Registered>,
}

struct Registered {
    events: Measured<Events>,
    lines: Throttle<&'static str>,
}

impl Announced {
    /// Nothing is registered yet. Events of the card are recorded under `key`.
    pub fn new(key: String, log: HlmlEventLog) -> Self {
        let events = Err(Fault::new("hlml_device_register_events", FaultCode::FirstReading));
        let registered = Mutex::new(Registered { events, lines: Throttle::new(LINE_PERIOD) });
        Self { key, log, registered }
    }

    /// Takes what is left of an earlier registration, and registers for the events from now on.
    pub fn register(&self, hpu: &Hpu) {
        self.take();
        let events = Events::register(hpu);
        lock(&self.registered).events = events;
    }

    /// Records the events since the last call, unless another thread is doing so or hangs in it.
    pub fn take(&self) {
        let mut registered = match self.registered.try_lock() {
            Ok(registered) => registered,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // Why none can be received is the result of the card's next round.
        let _ = self.record(&mut registered);
    }

    /// Records the events since the last call, and returns all so far.
    pub fn history(&self) -> Measured<HlmlEventHistory> {
        self.record(&mut lock(&self.registered))?;
        Ok(self.log.history(&self.key).unwrap_or_default())
    }

    fn record(&self, registered: &mut Registered) -> Measured<()> {
        let events = registered.events.as_ref().map_err(|fault| *fault)?;
        for code in events.take()? {
            if let Some(count) = registered.lines.admit(code, Instant::now()) {
                tracing::warn!(key = self.key, code, count, "critical event");
            }
            self.log.record(self.key.clone(), code);
        }
        Ok(())
    }
}
