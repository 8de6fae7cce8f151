//! What takes long is read beside the rounds, at a lower rate: PCIe traffic, which the firmware measures for
//! as long as a round may take altogether, and temperatures whose call leaks.
//!
//! The first reading is taken when the device is opened; each later one by a thread that lives as long as it
//! takes. A reading that hangs occupies that thread, and no second one is started; the values of the last
//! reading are withdrawn once they are too old.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use reading::{Fault, FaultCode, Measured};

use crate::raw::{Hpu, SlowRaw, read_slow};

/// Time between two readings of a device.
const PERIOD: Duration = Duration::from_secs(10);
/// Age at which a reading is withdrawn.
const AGE_MAX: Duration = Duration::from_secs(30);
/// As the exporter's own threads that call a driver.
const STACK_BYTES: usize = 512 * 1024;

/// The slow readings of every device, by its key; kept for the life of the process.
#[derive(Clone, Debug, Default)]
pub struct SlowReaders(Arc<Mutex<HashMap<String, Arc<SlowReader>>>>);

impl SlowReaders {
    /// Those of one device.
    pub fn of(&self, key: &str) -> Arc<SlowReader> {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(readers.entry(key.to_owned()).or_default())
    }
}

/// One device's slow readings.
#[derive(Debug, Default)]
pub struct SlowReader(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    in_progress: bool,
    begun: Option<Instant>,
    newest: Option<(Instant, SlowRaw)>,
}

/// A reading that has begun. It ends when this is dropped, whatever came of it.
struct InProgress(Arc<SlowReader>);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.lock().in_progress = false;
    }
}

impl SlowReader {
    /// Reads on this thread, unless an earlier reading still hangs. `wanted` are the temperatures of die,
    /// board and memory.
    pub fn read(self: &Arc<Self>, hpu: &Hpu, wanted: [bool; 3]) {
        if let Some(reading) = self.begin(Instant::now(), Duration::ZERO) {
            reading.read(hpu, wanted);
        }
    }

    /// Reads on another thread, when it is time.
    pub fn refresh(self: &Arc<Self>, hpu: &Hpu, wanted: [bool; 3]) {
        let Some(reading) = self.begin(Instant::now(), PERIOD) else { return };
        let hpu = hpu.clone();
        let thread = thread::Builder::new().name("slow".into()).stack_size(STACK_BYTES);
        // Without a thread the values grow old and are withdrawn.
        if let Err(error) = thread.spawn(move || reading.read(&hpu, wanted)) {
            tracing::warn!(%error, "no thread for slow readings");
        }
    }

    /// `None` while another reading is in progress, or before `pause` has passed since the last one began.
    fn begin(self: &Arc<Self>, now: Instant, pause: Duration) -> Option<InProgress> {
        let mut state = self.lock();
        let is_due = state.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= pause);
        if state.in_progress || !is_due {
            return None;
        }
        (state.in_progress, state.begun) = (true, Some(now));
        Some(InProgress(Arc::clone(self)))
    }

    /// The newest readings and their age.
    ///
    /// # Errors
    /// `first_reading` when there are none yet, `stale` when they are too old.
    pub fn newest(&self, now: Instant) -> Measured<(Duration, SlowRaw)> {
        let state = self.lock();
        let call = "hlml_device_get_pcie_throughput";
        let Some((taken, readings)) = &state.newest else {
            return Err(Fault::new(call, FaultCode::FirstReading));
        };
        let age = now.saturating_duration_since(*taken);
        if age > AGE_MAX {
            return Err(Fault::new(call, FaultCode::Stale));
        }
        Ok((age, readings.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Changed in single steps, so it is whole even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InProgress {
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
        let reader = SlowReaders::default().of("0000:19:00.0");
        let now = Instant::now();
        let first = reader.begin(now, PERIOD).expect("the first");
        assert!(reader.begin(now + PERIOD, PERIOD).is_none(), "the first is in progress");
        drop(first);
        assert!(reader.begin(now + PERIOD / 2, PERIOD).is_none(), "too early");
        assert!(reader.begin(now + PERIOD, PERIOD).is_some());
    }

    #[test]
    fn a_reading_is_there_until_it_is_too_old() {
        let reader = SlowReaders::default().of("0000:19:00.0");
        let now = Instant::now();
        let code = |at| reader.newest(at).err().map(|fault| fault.code.name());
        assert_eq!(code(now), Some("first_reading"));
        let readings = SlowRaw { pcie_kilobytes_per_second: [Ok(5); 2], temperatures_c: [None; 3] };
        reader.lock().newest = Some((now, readings));
        let (age, _) = reader.newest(now + PERIOD).expect("fresh");
        assert_eq!(age, PERIOD);
        assert_eq!(code(now + AGE_MAX), None);
        assert_eq!(code(now + AGE_MAX + Duration::from_secs(1)), Some("stale"));
    }
}
