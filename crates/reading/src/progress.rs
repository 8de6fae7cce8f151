//! Whether a thread that calls a driver gets anywhere: a driver may be slow in each of a hundred calls, and hangs
//! only if one of them does not return.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// How many calls into a driver have returned to one thread.
#[derive(Debug, Default)]
pub struct Progress(AtomicU64);

thread_local! {
    static OF_THIS_THREAD: RefCell<Option<Arc<Progress>>> = const { RefCell::new(None) };
}

impl Progress {
    /// That of this thread, which others may watch.
    pub fn of_this_thread() -> Arc<Self> {
        OF_THIS_THREAD.with_borrow_mut(|own| Arc::clone(own.get_or_insert_default()))
    }

    /// How many calls have returned.
    pub fn calls(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Notes that a call into a driver, or the reading of a kernel file, has returned to this thread.
pub fn call_returned() {
    OF_THIS_THREAD.with_borrow(|own| {
        if let Some(own) = own {
            own.0.fetch_add(1, Ordering::Relaxed);
        }
    });
}
