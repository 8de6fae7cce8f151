//! What every vendor crate is built on: how it presents itself to the command line, and the machinery that
//! reading any driver needs.
//!
//! | module | purpose |
//! |---|---|
//! | [`spec`] | [`SourceSpec`]: a vendor's flags and how its source is opened |
//! | [`call_queue`] | a queue in front of a library that two threads must not be in at once |
//! | [`backoff`] | waits between attempts |
//! | [`idle_backoff`] | when an idle device is not read, so that it can be suspended |
//! | [`info`] | labels of an info metric, read again where something is missing |
//! | [`lane`] | readings that may take long, beside the rounds |
//! | [`library`] | where a vendor's library is, and whether it may be opened |
//! | [`listing`] | which device is at each place of a driver's list, under its lasting key and name |
//! | [`loss`] | which faults lose a device or a session |
//! | [`rates`] | shares of counters |
//! | [`simulated`] | how simulated machines identify themselves |
//! | [`events`] | counts and times of events that a driver announces once |
//! | [`throttle`] | one log line per subject and minute |
//! | [`user_file`] | files that a user names |

pub mod backoff;
pub mod call_queue;
pub mod events;
pub mod idle_backoff;
pub mod info;
pub mod lane;
pub mod library;
pub mod listing;
pub mod loss;
pub mod rates;
pub mod simulated;
pub mod spec;
pub mod throttle;
pub mod user_file;

pub use backoff::Backoff;
pub use call_queue::{CallPermit, CallQueue};
pub use events::{EventHistory, EventLog};
pub use idle_backoff::IdleBackoff;
pub use info::Info;
pub use lane::{Lane, LaneTimes};
pub use library::LibraryPath;
pub use listing::{Known, KnownDevices, Listed, Place};
pub use loss::LossCodes;
pub use rates::Share;
pub use spec::{Common, Opened, Parts, SourceSpec, TryLibrary, UsageError};
pub use throttle::{LINE_PERIOD, Throttle};

/// The message of a panic.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Locks what is changed in single steps only, so that it is whole even after a panic of another thread.
pub fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
