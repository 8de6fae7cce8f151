//! The machine that a library is opened on.

use std::ffi::{CString, c_char};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwapOption, Guard};
use sim::{Live, Options};

use crate::{Library, Result};

/// An open machine.
pub struct Opened {
    options: Options,
    /// Its state.
    pub live: Live,
    name: CString,
}

/// The place for one open machine, which the library keeps for the life of the process. Reading takes no
/// lock.
pub struct Machine<L> {
    opened: ArcSwapOption<Opened>,
    /// Held while a machine is opened.
    opening: Mutex<()>,
    library: PhantomData<L>,
}

impl<L: Library> Machine<L> {
    /// One that is not open.
    pub const fn closed() -> Self {
        Self { opened: ArcSwapOption::const_empty(), opening: Mutex::new(()), library: PhantomData }
    }

    /// The machine that was opened last, if any.
    pub fn load(&self) -> Guard<Option<Arc<Opened>>> {
        self.opened.load()
    }

    /// Opens the machine that the environment names. One that is `in_use` is kept whatever the environment
    /// says, and so is one that the environment still names.
    ///
    /// # Errors
    /// [`Library::NO_MACHINE`] or [`Library::NO_DEVICE`]; the reason is written to standard error.
    pub(crate) fn open(&self, in_use: bool) -> Result<Arc<Opened>, L> {
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = |error: sim::live::Error| {
            eprintln!("accelsim: {error}");
            L::NO_MACHINE
        };
        let options = Options::from_env().map_err(refused)?;
        if let Some(opened) = self.opened.load_full().filter(|opened| in_use || opened.options == options) {
            return Ok(opened);
        }
        let live = Live::open(&options).map_err(refused)?;
        if !L::has_devices(live.machine().profile()) {
            eprintln!("accelsim: machine {}: it has no device of this library's vendor", options.machine);
            return Err(L::NO_DEVICE);
        }
        let name = CString::new(options.machine.as_str()).map_err(|_| L::NO_MACHINE)?;
        let opened = Arc::new(Opened { options, live, name });
        self.opened.store(Some(Arc::clone(&opened)));
        Ok(opened)
    }

    /// Name of the machine's profile, or null before the first initialisation. The string is valid until the
    /// library is initialised as another machine.
    pub fn name(&self) -> *const c_char {
        self.load().as_ref().map_or(std::ptr::null(), |opened| opened.name.as_ptr())
    }
}

/// Exports `const char *accelsim_machine(void)`, which returns the name of the machine's profile. No vendor's
/// library has such a symbol: a program that finds it knows that what it reads is simulated.
#[macro_export]
macro_rules! machine_symbol {
    ($library:ty) => {
        /// Name of the simulated machine's profile, or null before the first initialisation.
        #[unsafe(no_mangle)]
        extern "C" fn accelsim_machine() -> *const ::std::ffi::c_char {
            <$library as $crate::Library>::machine().name()
        }
    };
}
