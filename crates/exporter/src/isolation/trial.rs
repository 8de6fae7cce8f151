//! A library that is to be opened in this process is opened in another one first, since its constructors may
//! hang, crash or exit.

use std::{ffi::OsString, path::Path, thread};

use reading::FaultCode;

use super::{
    OPENING, TRIAL,
    frame::{Broken, Inbox, send},
    process,
};

/// Opens a library in a process that ends then.
///
/// # Errors
/// What happened, in words; the dynamic loader's own where it refused the library.
pub fn run(library: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot start a process to open it in: {error}");
    let (mut child, connection) = process::start(&[OsString::from(TRIAL), library.into()]).map_err(failed)?;
    connection.set_read_timeout(Some(OPENING)).map_err(failed)?;
    let received = Inbox::default().receive::<Result<(), String>>(&connection);
    // It may have ended already.
    let _ = child.kill();
    match received {
        Ok(Some(opened)) => {
            child.wait().map_err(failed)?;
            opened
        }
        Ok(None) => {
            // A process that hangs in the kernel cannot be ended now, so nobody waits for it here.
            let _ = thread::Builder::new().spawn(move || child.wait());
            Err(format!("{} within {OPENING:?}", super::describe(FaultCode::LibraryHung)))
        }
        Err(Broken::Garbled) => {
            child.wait().map_err(failed)?;
            Err(super::describe(FaultCode::HelperGarbled).to_owned())
        }
        Err(Broken::Closed) => Err(process::ending(child.wait().map_err(failed)?).1),
    }
}

/// The process of a trial, from its start to its end.
///
/// # Errors
/// When it was not started by [`run`].
pub fn open(library: &Path) -> std::io::Result<()> {
    let connection = process::connection()?;
    send(&connection, &source::library::open(library))
}
