//! What every vendor crate is built on: how it presents itself to the command line, and the machinery that
//! reading any driver needs.
//!
//! | module | purpose |
//! |---|---|
//! | [`spec`] | [`SourceSpec`]: a vendor's flags and how its source is opened |
//! | [`call_queue`] | a queue in front of a library that two threads must not be in at once |
//! | [`lane`] | readings that may take long, beside the rounds |
//! | [`listing`] | which faults lose a device or a session, and devices that were listed before |
//! | [`rates`] | shares of counters |
//! | [`simulated`] | how simulated machines identify themselves |
//! | [`events`] | counts and times of events that a driver announces once |
//! | [`throttle`] | one log line per subject and minute |
//! | [`user_file`] | files that a user names |

pub mod call_queue;
pub mod events;
pub mod lane;
pub mod listing;
pub mod rates;
pub mod simulated;
pub mod spec;
pub mod throttle;
pub mod user_file;

pub use call_queue::{CallPermit, CallQueue};
pub use events::{EventHistory, EventLog};
pub use lane::{Lane, LaneTimes};
pub use listing::{Known, KnownDevices, LossCodes};
pub use rates::Share;
pub use spec::{Common, Opened, SourceSpec, UsageError};
pub use throttle::Throttle;

/// The message of a panic.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Locks what is changed in single steps only, so that it is whole even after a panic of another thread.
pub fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
