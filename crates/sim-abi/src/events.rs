//! Events: what the control file lets happen, delivered to the sets that asked for it.
//!
//! Each stream of events has a running number of how often it has happened. A set remembers for each stream
//! up to which number it has delivered; what had happened before a device was registered is not delivered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sim::live::Moment;

use crate::{Call, Library, Registry, Result};

/// Events of one type and device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    /// The vendor's bits of the event's type.
    pub kind: u64,
    /// Index of the device.
    pub device: usize,
    /// The entry of the control file, where each entry is a stream of its own.
    pub id: u64,
}

/// What happened last in a stream.
pub struct Event<T> {
    /// The stream.
    pub stream: Stream,
    /// How often something has happened in it.
    pub count: u64,
    /// What the vendor reports beside it.
    pub data: T,
}

/// One set.
#[derive(Default)]
pub struct EventSet {
    /// Types asked for, by device.
    registered: BTreeMap<usize, u64>,
    /// How often each stream had happened when it was last delivered.
    delivered: BTreeMap<Stream, u64>,
}

impl EventSet {
    /// Every type that some device was registered for.
    pub fn types(&self) -> u64 {
        self.registered.values().fold(0, |all, types| all | types)
    }

    /// The registered devices.
    pub fn devices(&self) -> impl Iterator<Item = usize> {
        self.registered.keys().copied()
    }

    /// Takes the next event: the first of a registered type that has happened more often than was delivered.
    pub fn next<T>(&mut self, events: impl IntoIterator<Item = Event<T>>) -> Option<Event<T>> {
        let Self { registered, delivered } = self;
        events.into_iter().find(|Event { stream, count, .. }| {
            if registered.get(&stream.device).is_none_or(|types| types & stream.kind == 0) {
                return false;
            }
            let seen = delivered.entry(*stream).or_default();
            // Counters start again from 0 after a reload of the driver.
            *seen = (*seen).min(*count);
            let is_new = count > seen;
            *seen += u64::from(is_new);
            is_new
        })
    }
}

/// The sets of a library, by the number that stands for a set's handle.
pub struct EventSets(Registry<Mutex<EventSet>>);

impl EventSets {
    /// No set.
    pub const fn empty() -> Self {
        Self(Registry::empty())
    }

    /// Makes a set; its handle.
    pub fn create<T>(&self) -> *mut T {
        std::ptr::without_provenance_mut(self.0.insert(Mutex::default()))
    }

    /// Removes a set.
    ///
    /// # Errors
    /// When there is none.
    pub fn free<T, L: Library>(&self, set: *mut T) -> Result<(), L> {
        if self.0.remove(set.addr()) { Ok(()) } else { Err(L::INVALID_ARGUMENT) }
    }

    /// Adds the `types` of a device to a set. `events` are those that have happened; they are not delivered.
    ///
    /// # Errors
    /// When there is no such set.
    pub fn register<T, D, L: Library>(
        &self,
        set: *mut T,
        device: usize,
        types: u64,
        events: impl IntoIterator<Item = Event<D>>,
    ) -> Result<(), L> {
        let set = self.get::<T, L>(set)?;
        let mut set = lock(&set);
        *set.registered.entry(device).or_default() |= types;
        for Event { stream, count, .. } in events {
            if stream.device == device && stream.kind & types != 0 {
                set.delivered.entry(stream).or_insert(count);
            }
        }
        Ok(())
    }

    /// Waits until `next` finds something, looking for it every `interval`; `None` when the time is over.
    /// Holds no lock meanwhile, and sleeps for the whole time where no control file can let anything happen.
    ///
    /// # Errors
    /// When there is no such set, the driver was unloaded, or as `next` returns.
    pub fn wait<T, D, L: Library>(
        &self,
        call: &Call<'_, L>,
        set: *mut T,
        milliseconds: u32,
        interval: Duration,
        next: impl Fn(&mut EventSet, &Moment<'_>) -> Result<Option<D>, L>,
    ) -> Result<Option<D>, L> {
        let end = Instant::now() + Duration::from_millis(milliseconds.into());
        loop {
            let moment = call.live.now();
            if moment.driver_epoch() != Some(call.epoch) {
                return Err(L::UNINITIALIZED);
            }
            let set = self.get::<T, L>(set)?;
            let found = next(&mut lock(&set), &moment)?;
            if found.is_some() {
                return Ok(found);
            }
            drop(moment);
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            sleep(if call.live.is_disturbed() { left.min(interval) } else { left });
        }
    }

    fn get<T, L: Library>(&self, set: *mut T) -> Result<Arc<Mutex<EventSet>>, L> {
        self.0.get(set.addr()).ok_or(L::INVALID_ARGUMENT)
    }
}

fn lock(set: &Mutex<EventSet>) -> MutexGuard<'_, EventSet> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}
