//! Log lines on standard error: one per change of state, in text or JSON.
//!
//! Lines pass through a bounded queue to a thread of their own. A standard error that nobody reads, or that
//! cannot be written, therefore costs lines, which are counted, and never blocks or ends the program.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Write, stderr},
    panic,
    sync::{
        Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
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

static QUEUE: OnceLock<Queue> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines on their way. A lock and a condition instead of a channel: a thread's first wait at a channel needs
/// the loader's lock, which a vendor's library may hold for ever.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    /// A line has left the queue and is not yet written.
    is_writing: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // It is changed in single steps, so it is whole even after a panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut line = line.to_vec();
        if line.len() > LINE_BYTES_MAX {
            line.truncate(LINE_BYTES_MAX - 1);
            line.push(b'\n');
        }
        let mut waiting = self.lock();
        if waiting.lines.len() < QUEUE_LINES {
            waiting.lines.push_back(line);
            self.changed.notify_all();
        } else {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes lines for ever.
    fn write(&self) {
        let mut waiting = self.lock();
        loop {
            if let Some(line) = waiting.lines.pop_front() {
                waiting.is_writing = true;
                drop(waiting);
                if stderr().write_all(&line).is_err() {
                    DROPPED.fetch_add(1, Ordering::Relaxed);
                }
                waiting = self.lock();
                waiting.is_writing = false;
                self.changed.notify_all();
            } else {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Lines that were lost, because the queue was full or they could not be written.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Starts logging; a panic becomes a log line like any other.
pub fn start(flags: &LogFlags) {
    let queue = QUEUE.get_or_init(Queue::default);
    // Without a thread the queue fills up, and every further line is counted as dropped.
    let _ = thread::Builder::new().name("log".to_owned()).spawn(|| queue.write());
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
        Some(queue) => queue.push(line.as_bytes()),
        // Nothing can be reported when standard error cannot be written.
        None => drop(stderr().write_all(line.as_bytes())),
    }
}

/// Waits for a moment until the queued lines are written.
pub fn flush() {
    let Some(queue) = QUEUE.get() else { return };
    let is_busy = |waiting: &mut Waiting| waiting.is_writing || !waiting.lines.is_empty();
    let _ = queue.changed.wait_timeout_while(queue.lock(), FLUSH, is_busy);
}

/// The writer of the log, which never fails and never blocks.
struct Queued(&'static Queue);

impl Write for Queued {
    /// Called once per line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
