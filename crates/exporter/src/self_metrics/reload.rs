//! Whether a file of settings could be read again.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use naming::{
    Flag, Label, Seconds,
    catalogue::{CONFIG_LAST_RELOAD, CONFIG_LAST_RELOAD_SUCCESS},
};
use reading::{Batch, Labels};

/// How the last attempt went, and when one last went well. The one at the start did.
#[derive(Debug)]
pub struct Reload {
    is_good: AtomicBool,
    /// Unix seconds.
    good_since: AtomicU64,
}

impl Default for Reload {
    fn default() -> Self {
        let reload = Self { is_good: AtomicBool::new(true), good_since: AtomicU64::new(0) };
        reload.succeeded();
        reload
    }
}

impl Reload {
    /// It was read, and what it says holds.
    pub fn succeeded(&self) {
        // Before 1970 the clock is not set.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        self.good_since.store(now, Ordering::Relaxed);
        self.is_good.store(true, Ordering::Relaxed);
    }

    /// It could not be read, or is wrong.
    pub fn failed(&self) {
        self.is_good.store(false, Ordering::Relaxed);
    }

    /// Its metrics, for this kind of file.
    pub fn read(&self, file: &'static str, batch: &mut Batch) {
        let labels = Labels::one(Label::File, file);
        let since = self.good_since.load(Ordering::Relaxed) as f64;
        batch.put(CONFIG_LAST_RELOAD, labels.clone(), Ok(Flag(self.is_good.load(Ordering::Relaxed))));
        batch.put(CONFIG_LAST_RELOAD_SUCCESS, labels, Ok(Seconds(since)));
    }
}
