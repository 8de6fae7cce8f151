//! The driver's nodes, as far as a process has them open: where `ACCELSIM_DEV` names a folder, the library opens its
//! file `nvidiactl` when it is initialised, and that of each GPU, `nvidia<N>`, when its handle is first asked for, and
//! closes all of them when the last user shuts it down. So what a client lets go of shows in its `/proc/PID/fd`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By their names.
static OPEN: Mutex<BTreeMap<String, File>> = Mutex::new(BTreeMap::new());

fn open() -> MutexGuard<'static, BTreeMap<String, File>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn attach(name: String) {
    if let Some(folder) = std::env::var_os("ACCELSIM_DEV") {
        let mut open = open();
        if !open.contains_key(&name) {
            // A node that is not there cannot be held.
            open.extend(File::open(Path::new(&folder).join(&name)).ok().map(|file| (name, file)));
        }
    }
}

/// The library is initialised.
pub(crate) fn initialise() {
    attach("nvidiactl".to_owned());
}

/// A handle of a GPU is asked for.
pub(crate) fn attach_gpu(index: usize) {
    attach(format!("nvidia{index}"));
}

/// The last user has shut the library down.
pub(crate) fn close() {
    open().clear();
}
