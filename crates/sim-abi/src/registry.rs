//! Objects that a client holds by an opaque pointer: event sets and GPM samples. The pointer is a number, not
//! an address, so that a stale or invented one is an error and not a crash.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Objects of one type, by number.
pub struct Registry<T> {
    objects: Mutex<(usize, BTreeMap<usize, Arc<T>>)>,
}

impl<T> Registry<T> {
    /// One without objects.
    pub const fn empty() -> Self {
        Self { objects: Mutex::new((0, BTreeMap::new())) }
    }

    /// Keeps the object; the number it returns is never 0 and never used twice.
    pub fn insert(&self, object: T) -> usize {
        let mut objects = self.lock();
        objects.0 += 1;
        let number = objects.0;
        objects.1.insert(number, Arc::new(object));
        number
    }

    /// The object that was kept under this number, unless it is gone.
    pub fn get(&self, number: usize) -> Option<Arc<T>> {
        self.lock().1.get(&number).map(Arc::clone)
    }

    /// Whether there was such an object.
    pub fn remove(&self, number: usize) -> bool {
        self.lock().1.remove(&number).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, (usize, BTreeMap<usize, Arc<T>>)> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
