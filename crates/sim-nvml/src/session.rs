//! The state of the library between the first `nvmlInit` and the last `nvmlShutdown`: how many users it has,
//! and for which load of the driver it was initialised.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use sim::Live;
use sim_abi::Machine;

use crate::call::{Nvml, Result, code};
use crate::nodes;

/// The machine that the environment names.
pub(crate) static MACHINE: Machine<Nvml> = Machine::closed();
/// How often the library was initialised and not yet shut down.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// The driver's epoch when it was.
static EPOCH: AtomicU32 = AtomicU32::new(0);
/// Held while the two above change; a reader takes no lock.
static CHANGE: Mutex<()> = Mutex::new(());

/// Whether the library is initialised, for whatever load of the driver.
pub(crate) fn in_use() -> bool {
    COUNT.load(Ordering::Acquire) > 0
}

/// The driver's epoch that callers may rely on, or `None` while the library is not initialised.
pub(crate) fn epoch() -> Option<u32> {
    in_use().then(|| EPOCH.load(Ordering::Acquire))
}

/// Counts one more user. After a reload of the driver the count starts again: earlier users' are void.
pub(crate) fn enter(live: &Live) -> Result {
    let _change = CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
    let now = live.now().driver_epoch().ok_or(code::DRIVER_NOT_LOADED)?;
    if EPOCH.swap(now, Ordering::AcqRel) == now {
        COUNT.fetch_add(1, Ordering::AcqRel);
    } else {
        COUNT.store(1, Ordering::Release);
    }
    nodes::initialise();
    Ok(())
}

/// Counts one user less.
pub(crate) fn leave() -> Result {
    let _change = CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
    let opened = MACHINE.load();
    let stale = opened
        .as_ref()
        .is_none_or(|opened| opened.live.now().driver_epoch() != Some(EPOCH.load(Ordering::Acquire)));
    if stale {
        COUNT.store(0, Ordering::Release);
        nodes::close();
        return Err(code::UNINITIALIZED);
    }
    COUNT
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| count.checked_sub(1))
        .map(|before| {
            if before == 1 {
                nodes::close();
            }
        })
        .map_err(|_| code::UNINITIALIZED)
}
