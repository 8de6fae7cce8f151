//! Opening Level Zero beside a kernel whose files are readable already.

use std::{
    path::PathBuf,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use reading::Unavailable;

use super::library::{Library, OpenedLibrary};

/// How often a Level Zero that could not be opened is tried again.
const RETRY: Duration = Duration::from_mins(1);

/// Opens the loader on a thread of its own, because its driver may hang where the kernel's files do not.
#[derive(Default)]
pub struct BackgroundOpen {
    path: Option<PathBuf>,
    opening: Option<Receiver<OpenedLibrary>>,
    /// When the last attempt began or ended.
    tried: Option<Instant>,
    /// Why the last attempt failed.
    pub failure: Option<Unavailable>,
}

impl BackgroundOpen {
    /// Opens `path`, or the loader on the search path.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path, ..Self::default() }
    }

    /// Whether no attempt is running and the last one was long enough ago.
    pub fn is_due(&self) -> bool {
        self.opening.is_none() && self.tried.is_none_or(|tried| tried.elapsed() >= RETRY)
    }

    /// Begins an attempt.
    pub fn start(&mut self) {
        self.tried = Some(Instant::now());
        let (sender, opening) = mpsc::channel();
        let path = self.path.clone();
        // Without a thread the sender is dropped, and the attempt ends without a result; a session that has
        // ended meanwhile takes none.
        let _ = thread::Builder::new().spawn(move || {
            let _ = sender.send(Library::open(path.as_deref()));
        });
        self.opening = Some(opening);
    }

    /// Waits up to `timeout` for a running attempt. Returns its result once, when there is one.
    pub fn wait(&mut self, timeout: Duration) -> Option<OpenedLibrary> {
        match self.opening.as_ref()?.recv_timeout(timeout) {
            Err(RecvTimeoutError::Timeout) => None,
            Ok(opened) => {
                self.opening = None;
                self.tried = Some(Instant::now());
                self.failure = opened.as_ref().err().cloned();
                Some(opened)
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.opening = None;
                None
            }
        }
    }
}
