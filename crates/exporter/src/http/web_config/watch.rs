//! The file is read again when it or one that it names changes. A bad one changes nothing but a metric.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use source::lock;
use tracing::{error, info};

use super::{
    WebConfig,
    file::{self, Read, Stamp, stamp},
};
use crate::self_metrics::reload::Reload;

/// How often the files are looked at. A look is a system call per file.
const PERIOD: Duration = Duration::from_secs(1);

/// A file that is read again when it changes, and what it said when it was last right.
pub struct Watched {
    path: PathBuf,
    protects_health: bool,
    config: ArcSwap<WebConfig>,
    /// The files as they were when they were last read.
    seen: Mutex<Vec<(PathBuf, Stamp)>>,
    /// How that went.
    pub reload: Reload,
}

impl Watched {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// In one line what is wrong, where, and what to do.
    pub fn open(path: PathBuf, protects_health: bool) -> Result<Arc<Self>, String> {
        let Read { files, config } = file::read(&path, protects_health);
        let config = ArcSwap::from_pointee(config?);
        Ok(Arc::new(Self { path, protects_health, config, seen: files.into(), reload: Reload::default() }))
    }

    /// What the file said when it was last right.
    pub fn config(&self) -> Arc<WebConfig> {
        self.config.load_full()
    }

    /// Starts the thread that looks for changes.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(self: &Arc<Self>) -> io::Result<()> {
        let watched = Arc::clone(self);
        let look = move || {
            loop {
                watched.look();
                thread::sleep(PERIOD);
            }
        };
        thread::Builder::new().name("web-config".to_owned()).spawn(look).map(drop)
    }

    /// Reads the files again where one of them has changed.
    fn look(&self) {
        let changed = lock(&self.seen).iter().any(|(file, seen)| stamp(file) != *seen);
        if changed {
            self.read_again();
        }
    }

    /// Reads the files again.
    pub fn read_again(&self) {
        let Read { files, config } = file::read(&self.path, self.protects_health);
        *lock(&self.seen) = files;
        let same_kind = |new: WebConfig| {
            let path = self.path.display();
            if new.tls.is_some() == self.config.load().tls.is_some() {
                Ok(new)
            } else {
                Err(format!("{path}: TLS is switched on or off by a restart only"))
            }
        };
        match config.and_then(same_kind) {
            Ok(config) => {
                self.config.store(Arc::new(config));
                self.reload.succeeded();
                info!(file = %self.path.display(), "web configuration read again");
            }
            Err(error) => {
                self.reload.failed();
                error!("{error}; the last good web configuration stays");
            }
        }
    }
}
