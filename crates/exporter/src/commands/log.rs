//! Log lines on standard error: one per change of state, in text or JSON.

use std::{
    io::{IsTerminal, stderr},
    panic, thread,
};

use tracing::error;

use super::flags::{LogFlags, LogFormat};

/// Starts logging; a panic becomes a log line like any other.
pub fn start(flags: &LogFlags) {
    let lines = tracing_subscriber::fmt().with_writer(stderr).with_max_level(flags.level).with_target(false);
    if flags.format == LogFormat::Json {
        lines.json().flatten_event(true).init();
    } else {
        lines.with_ansi(stderr().is_terminal()).init();
    }
    panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let why =
            text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        let place = info.location().map(ToString::to_string);
        error!(
            thread = thread::current().name(),
            place, why, "a defect of this program ended a thread's work"
        );
    }));
}
