//! Opening a library for a trial.

use std::{mem, path::Path};

use libloading::Library;

/// Opens a library with the flags with which vendors' libraries are opened, and leaves it open.
///
/// # Errors
/// The dynamic loader's message.
pub fn open(path: &Path) -> Result<(), String> {
    // SAFETY: loading runs the library's constructors, which may do anything. The process that calls this
    // was started to find out what they do.
    let library = unsafe { Library::new(path) }.map_err(|error| error.to_string())?;
    // Its destructors are not run.
    mem::forget(library);
    Ok(())
}
