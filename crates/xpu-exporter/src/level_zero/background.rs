//! Opening Level Zero beside a kernel whose files are readable already.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use reading::{Found, Lost, Prior, Session, Source, Unavailable};
use source::{Backoff, lock};

/// Waits before a Level Zero that could not be opened, or was lost, is opened again.
const WAITS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);

/// A source that several sessions use, one after another.
pub type SharedSource = Arc<Mutex<Box<dyn Source>>>;

/// A session of Level Zero and the GPUs that it lists, or why there is none.
pub type OpenedSession = Result<(Box<dyn Session>, Vec<Found>), Unavailable>;

/// Opens Level Zero on this thread.
///
/// # Errors
/// That of the source, or that its GPUs cannot be listed.
pub fn open(source: &SharedSource) -> OpenedSession {
    let mut session = lock(source).connect()?;
    let found = session.devices(&Prior::default()).map_err(|lost| {
        let (Lost::Device(fault) | Lost::Session(fault)) = lost;
        Unavailable(fault.to_string())
    })?;
    Ok((session, found))
}

/// Opens it on a thread of its own, because its driver may hang where the kernel's files do not.
pub struct BackgroundOpen {
    source: SharedSource,
    opening: Option<Receiver<OpenedSession>>,
    backoff: Backoff,
    /// When the next attempt may begin.
    due: Instant,
    /// Why it is not open.
    pub failure: Option<Unavailable>,
}

impl BackgroundOpen {
    /// Attempts to open a source.
    pub fn new(source: SharedSource) -> Self {
        Self { source, opening: None, backoff: Backoff::default(), due: Instant::now(), failure: None }
    }

    /// Whether no attempt is running and the last one was long enough ago. An attempt of an earlier session
    /// may hang, and has the source then.
    pub fn is_due(&self) -> bool {
        self.opening.is_none() && Instant::now() >= self.due && self.source.try_lock().is_ok()
    }

    /// Begins an attempt.
    pub fn start(&mut self) {
        let (sender, opening) = mpsc::channel();
        let source = Arc::clone(&self.source);
        // Without a thread the sender is dropped, and the attempt ends without a result; a session that has
        // ended meanwhile takes none.
        let _ = thread::Builder::new().spawn(move || {
            let _ = sender.send(open(&source));
        });
        self.opening = Some(opening);
    }

    /// Waits up to `timeout` for a running attempt. Returns its result once, when there is one.
    pub fn wait(&mut self, timeout: Duration) -> Option<(Box<dyn Session>, Vec<Found>)> {
        match self.opening.as_ref()?.recv_timeout(timeout) {
            Err(RecvTimeoutError::Timeout) => None,
            Ok(Ok(opened)) => {
                (self.opening, self.failure) = (None, None);
                Some(opened)
            }
            Ok(Err(why)) => {
                self.failed(why, Duration::ZERO);
                None
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.failed(Unavailable("no thread to open it on".to_owned()), Duration::ZERO);
                None
            }
        }
    }

    /// Notes why it is not open, after it was for a time, and when to try again.
    pub fn failed(&mut self, why: Unavailable, healthy: Duration) {
        let now = Instant::now();
        self.opening = None;
        self.failure = Some(why);
        self.due = now + self.backoff.failed(&WAITS, now, healthy);
    }
}
