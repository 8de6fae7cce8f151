//! The state of the library between `hlml_init` and `hlml_shutdown`: one open machine, and for which load of
//! the driver it was opened.

use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwapOption, Guard};
use hlml_sys::Return;
use sim::{Live, Options};

use crate::call::Answer;

/// An open machine.
pub(crate) struct Session {
    pub(crate) live: Live,
    pub(crate) machine_name: CString,
}

static SESSION: ArcSwapOption<Session> = ArcSwapOption::const_empty();
/// The driver's epoch when the library was initialised; `None` while it is not.
static EPOCH: Mutex<Option<u32>> = Mutex::new(None);

fn initialised() -> MutexGuard<'static, Option<u32>> {
    EPOCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The session, if any machine was ever opened.
pub(crate) fn load() -> Guard<Option<Arc<Session>>> {
    SESSION.load()
}

/// The driver's epoch that callers may rely on, or `None` while the library is not initialised.
pub(crate) fn epoch() -> Option<u32> {
    *initialised()
}

/// The machine that the environment names, read anew.
pub(crate) fn open() -> Answer<Arc<Session>> {
    let refused = |error: sim::live::Error| {
        eprintln!("accelsim: {error}");
        Return::Unknown
    };
    let options = Options::from_env().map_err(refused)?;
    let name = CString::new(options.machine.as_str()).map_err(|_| Return::Unknown)?;
    if let Some(session) = SESSION.load_full().filter(|session| session.machine_name == name) {
        return Ok(session);
    }
    let live = Live::open(&options).map_err(refused)?;
    if live.machine().profile().device.gaudi.is_none() {
        eprintln!("accelsim: machine {}: none of its devices is a Gaudi", options.machine);
        return Err(Return::DriverNotLoaded);
    }
    let session = Arc::new(Session { live, machine_name: name });
    SESSION.store(Some(Arc::clone(&session)));
    Ok(session)
}

/// Makes the library usable. HLML does not count its users: a second time is an error, unless the driver was
/// reloaded between.
pub(crate) fn enter(session: &Session) -> Answer {
    let now = session.live.now().driver_epoch().ok_or(Return::DriverNotLoaded)?;
    match initialised().replace(now) {
        Some(epoch) if epoch == now => Err(Return::AlreadyInitialized),
        _ => Ok(()),
    }
}

/// Ends that.
pub(crate) fn leave() -> Answer {
    initialised().take().map(|_| ()).ok_or(Return::Uninitialized)
}
