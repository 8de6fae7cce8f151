//! The control file, followed: read anew when it has changed.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::Control;

/// A control file and what it looked like when it was last read.
pub struct ControlFile {
    path: PathBuf,
    /// `None` when it was missing.
    stamp: Mutex<Option<Stamp>>,
}

type Stamp = (SystemTime, u64, u64);

impl ControlFile {
    /// A file that has not been read yet; it may be missing.
    pub fn new(path: PathBuf) -> Self {
        Self { path, stamp: Mutex::new(None) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The new tables, or `None` when the file is as it was. A missing file says that nothing is wrong; the
    /// error is one line.
    pub fn read_if_changed(&self) -> Option<Result<Control, String>> {
        let stamp = std::fs::metadata(&self.path).ok().map(|metadata| stamp(&metadata));
        let mut last = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == stamp {
            return None;
        }
        *last = stamp;
        drop(last);
        Some(match std::fs::read_to_string(&self.path) {
            Ok(text) => Control::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Control::default()),
            Err(error) => Err(error.to_string()),
        })
    }
}

/// A rename gives a new inode even within one tick of the file system's clock.
fn stamp(metadata: &Metadata) -> Stamp {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), metadata.ino())
}
