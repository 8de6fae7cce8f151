//! The state of the library between `nvmlInit` and `nvmlShutdown`: one open machine, and for which load of
//! the driver it was opened.

use std::ffi::CString;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwapOption, Guard};
use sim::{Live, Options};

use crate::abi::sys::nvmlReturn_t;
use crate::call::code;

/// An open machine.
pub(crate) struct Session {
    options: Options,
    pub(crate) live: Live,
    pub(crate) machine_name: CString,
}

static SESSION: ArcSwapOption<Session> = ArcSwapOption::const_empty();
/// How often the library was initialised and not yet shut down.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// The driver's epoch when it was.
static EPOCH: AtomicU32 = AtomicU32::new(0);
/// Held while the three above change; a reader takes no lock.
static CHANGE: Mutex<()> = Mutex::new(());

/// The session, if any machine was ever opened.
pub(crate) fn load() -> Guard<Option<Arc<Session>>> {
    SESSION.load()
}

/// The driver's epoch that callers may rely on, or `None` while the library is not initialised.
pub(crate) fn epoch() -> Option<u32> {
    (COUNT.load(Ordering::Acquire) > 0).then(|| EPOCH.load(Ordering::Acquire))
}

/// The machine that the environment names. One that is in use stays, whatever the environment says, and so
/// does one that it still names: what comes before the faults of `nvmlInit` can be known.
pub(crate) fn open() -> Result<Arc<Session>, nvmlReturn_t> {
    let _change = CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
    let in_use = COUNT.load(Ordering::Acquire) > 0;
    let refused = |error: sim::live::Error| {
        eprintln!("accelsim: {error}");
        code::UNKNOWN
    };
    let options = Options::from_env().map_err(refused)?;
    if let Some(session) = SESSION.load_full().filter(|session| in_use || session.options == options) {
        return Ok(session);
    }
    let live = Live::open(&options).map_err(refused)?;
    if live.machine().profile().device.nvidia.is_none() {
        eprintln!("accelsim: machine {}: none of its devices is NVIDIA's", options.machine);
        return Err(code::DRIVER_NOT_LOADED);
    }
    let machine_name = CString::new(options.machine.as_str()).map_err(|_| code::UNKNOWN)?;
    let session = Arc::new(Session { options, live, machine_name });
    SESSION.store(Some(Arc::clone(&session)));
    Ok(session)
}

/// Counts one more user. After a reload of the driver the count begins anew: earlier users' are void.
pub(crate) fn enter(session: &Session) -> Result<(), nvmlReturn_t> {
    let _change = CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
    let moment = session.live.now();
    let now = moment.driver_epoch().ok_or(code::DRIVER_NOT_LOADED)?;
    if EPOCH.swap(now, Ordering::AcqRel) == now {
        COUNT.fetch_add(1, Ordering::AcqRel);
    } else {
        COUNT.store(1, Ordering::Release);
    }
    Ok(())
}

/// Counts one user less.
pub(crate) fn leave() -> Result<(), nvmlReturn_t> {
    let _change = CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
    let session = SESSION.load();
    let stale = session
        .as_ref()
        .is_none_or(|session| session.live.now().driver_epoch() != Some(EPOCH.load(Ordering::Acquire)));
    if stale {
        COUNT.store(0, Ordering::Release);
        return Err(code::UNINITIALIZED);
    }
    COUNT
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| count.checked_sub(1))
        .map(|_| ())
        .map_err(|_| code::UNINITIALIZED)
}
