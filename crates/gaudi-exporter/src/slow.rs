//! What takes long is read beside the rounds, at a lower rate: PCIe traffic, which the firmware measures for
//! as long as a round may take altogether, and temperatures whose call leaks.
//!
//! The first reading is taken when the device is opened; each later one by a thread that lives as long as it
//! takes. A reading that hangs hangs that thread, to which no second one is added, and what it should have
//! brought is withdrawn once the last one is too old.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use reading::{Fault, FaultCode};

use crate::raw::{Hpu, SlowRaw, read_slow};

/// Time between two readings of a device.
const PERIOD: Duration = Duration::from_secs(10);
/// Age at which a reading is withdrawn.
const OLDEST: Duration = Duration::from_secs(30);
/// As the exporter's own threads that call a driver.
const STACK_BYTES: usize = 512 * 1024;

/// Every device's, by its key; kept for the life of the process.
#[derive(Clone, Debug, Default)]
pub struct SlowLanes(Arc<Mutex<HashMap<String, Arc<SlowLane>>>>);

impl SlowLanes {
    /// That of one device.
    pub fn of(&self, key: &str) -> Arc<SlowLane> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lanes.entry(key.to_owned()).or_default())
    }
}

/// One device's slow readings.
#[derive(Debug, Default)]
pub struct SlowLane(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether somebody reads now.
    busy: bool,
    begun: Option<Instant>,
    newest: Option<(Instant, SlowRaw)>,
}

/// The end of a reading, whatever it came to.
struct Busy(Arc<SlowLane>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.lock().busy = false;
    }
}

impl SlowLane {
    /// Reads here and now, unless a reading of before still hangs. `wanted` of the temperatures of die, board
    /// and memory.
    pub fn read(self: &Arc<Self>, hpu: &Hpu, wanted: [bool; 3]) {
        if let Some(busy) = self.begin(Instant::now(), Duration::ZERO) {
            busy.read(hpu, wanted);
        }
    }

    /// Has another thread read, when it is time.
    pub fn refresh(self: &Arc<Self>, hpu: &Hpu, wanted: [bool; 3]) {
        let Some(busy) = self.begin(Instant::now(), PERIOD) else { return };
        let hpu = hpu.clone();
        let thread = thread::Builder::new().name("slow".into()).stack_size(STACK_BYTES);
        // Without a thread the readings grow old, and are withdrawn as such.
        if let Err(error) = thread.spawn(move || busy.read(&hpu, wanted)) {
            tracing::warn!(%error, "no thread for slow readings");
        }
    }

    /// `None` when somebody reads, or `pause` has not passed since the last reading began.
    fn begin(self: &Arc<Self>, now: Instant, pause: Duration) -> Option<Busy> {
        let mut state = self.lock();
        let is_due = state.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= pause);
        if state.busy || !is_due {
            return None;
        }
        (state.busy, state.begun) = (true, Some(now));
        Some(Busy(Arc::clone(self)))
    }

    /// The newest readings and their age.
    ///
    /// # Errors
    /// When there are none, or too old ones.
    pub fn newest(&self, now: Instant) -> Result<(Duration, SlowRaw), Fault> {
        let state = self.lock();
        let call = "hlml_device_get_pcie_throughput";
        let Some((taken, readings)) = &state.newest else {
            return Err(Fault::new(call, FaultCode::FirstReading));
        };
        let age = now.saturating_duration_since(*taken);
        if age > OLDEST {
            return Err(Fault::new(call, FaultCode::Stale));
        }
        Ok((age, readings.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Changed in single steps: whole even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Busy {
    fn read(self, hpu: &Hpu, wanted: [bool; 3]) {
        let taken = Instant::now();
        let readings = read_slow(hpu, wanted);
        self.0.lock().newest = Some((taken, readings));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reading_at_a_time_and_none_before_its_time() {
        let lane = SlowLanes::default().of("0000:19:00.0");
        let now = Instant::now();
        let first = lane.begin(now, PERIOD).expect("the first");
        assert!(lane.begin(now + PERIOD, PERIOD).is_none(), "the first still reads");
        drop(first);
        assert!(lane.begin(now + PERIOD / 2, PERIOD).is_none(), "too early");
        assert!(lane.begin(now + PERIOD, PERIOD).is_some());
    }

    #[test]
    fn a_reading_is_there_until_it_is_too_old() {
        let lane = SlowLanes::default().of("0000:19:00.0");
        let now = Instant::now();
        let code = |at| lane.newest(at).err().map(|fault| fault.code.name());
        assert_eq!(code(now), Some("first_reading"));
        let readings = SlowRaw { pcie_kilobytes_per_second: [Ok(5); 2], temperatures_c: [None; 3] };
        lane.lock().newest = Some((now, readings));
        let (age, _) = lane.newest(now + PERIOD).expect("fresh");
        assert_eq!(age, PERIOD);
        assert_eq!(code(now + OLDEST), None);
        assert_eq!(code(now + OLDEST + Duration::from_secs(1)), Some("stale"));
    }
}
