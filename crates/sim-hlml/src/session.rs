//! The state of the library between `hlml_init` and `hlml_shutdown`: for which load of the driver it was
//! initialised.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hlml_sys::Return;
use sim::Live;
use sim_abi::Machine;

use crate::call::{Hlml, Result};

/// The machine that the environment names.
pub(crate) static MACHINE: Machine<Hlml> = Machine::closed();
/// The driver's epoch when the library was initialised; `None` while it is not.
static EPOCH: Mutex<Option<u32>> = Mutex::new(None);

fn initialised() -> MutexGuard<'static, Option<u32>> {
    EPOCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The driver's epoch that callers may rely on, or `None` while the library is not initialised.
pub(crate) fn epoch() -> Option<u32> {
    *initialised()
}

/// Makes the library usable. HLML does not count its users: a second time is an error, unless the driver was
/// reloaded between.
pub(crate) fn enter(live: &Live) -> Result {
    let now = live.now().driver_epoch().ok_or(Return::DriverNotLoaded)?;
    match initialised().replace(now) {
        Some(epoch) if epoch == now => Err(Return::AlreadyInitialized),
        _ => Ok(()),
    }
}

/// Ends that.
pub(crate) fn leave() -> Result {
    initialised().take().map(|_| ()).ok_or(Return::Uninitialized)
}
