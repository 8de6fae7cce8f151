//! Log lines on standard error: one per change of state, in text or JSON.
//!
//! Lines pass through a bounded queue to a thread of their own. A standard error that nobody reads, or that
//! cannot be written, therefore costs lines, which are counted, and never blocks or ends the program.

use std::{
    io::{self, IsTerminal, Write, stderr},
    panic,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use source::panic_message;
use tracing::error;

use super::flags::{LogFlags, LogFormat};

/// Lines that wait to be written. A start with every source logs some dozens at once.
const QUEUE_LINES: usize = 1024;

/// The most bytes of a line that are kept, so that the queue is bounded in bytes too.
const LINE_BYTES_MAX: usize = 4096;

/// How long the end of the program waits for the lines that are still queued.
const FLUSH: Duration = Duration::from_millis(200);

static QUEUE: OnceLock<SyncSender<Message>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

enum Message {
    Line(Vec<u8>),
    /// Dropped when every line before it was written.
    Flush(#[expect(dead_code, reason = "held for its Drop")] SyncSender<()>),
}

/// Lines that were lost, because the queue was full or they could not be written.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Starts logging; a panic becomes a log line like any other.
pub fn start(flags: &LogFlags) {
    let (queue, messages) = mpsc::sync_channel(QUEUE_LINES);
    // Without a thread the queue has no receiver, and every line is counted as dropped.
    let _ = thread::Builder::new().name("log".to_owned()).spawn(move || write(&messages));
    let queue = QUEUE.get_or_init(|| queue);
    let lines = tracing_subscriber::fmt()
        .with_writer(|| Queued(queue))
        .log_internal_errors(false)
        .with_max_level(flags.level)
        .with_target(false);
    if flags.format == LogFormat::Json {
        lines.json().flatten_event(true).init();
    } else {
        lines.with_ansi(stderr().is_terminal()).init();
    }
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        error!(
            thread = thread::current().name(),
            place,
            why = panic_message(info.payload()),
            "a defect of this program ended a thread's work"
        );
    }));
}

/// Writes a line to standard error, after those of the log once that is started.
pub fn line(text: &str) {
    let line = format!("{text}\n");
    match QUEUE.get() {
        Some(queue) => Queued(queue).push(line.as_bytes()),
        // Nothing can be reported when standard error cannot be written.
        None => drop(stderr().write_all(line.as_bytes())),
    }
}

/// Waits for a moment until the queued lines are written.
pub fn flush() {
    let Some(queue) = QUEUE.get() else { return };
    let (written, all_written) = mpsc::sync_channel(0);
    // A full queue is not being written, so there is nothing to wait for.
    if queue.try_send(Message::Flush(written)).is_ok() {
        let _ = all_written.recv_timeout(FLUSH);
    }
}

/// The writer of the log, which never fails and never blocks.
struct Queued(&'static SyncSender<Message>);

impl Queued {
    fn push(&self, line: &[u8]) {
        let mut line = line.to_vec();
        if line.len() > LINE_BYTES_MAX {
            line.truncate(LINE_BYTES_MAX - 1);
            line.push(b'\n');
        }
        if self.0.try_send(Message::Line(line)).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Write for Queued {
    /// Called once per line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(messages: &Receiver<Message>) {
    for message in messages {
        if let Message::Line(line) = message
            && stderr().write_all(&line).is_err()
        {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}
