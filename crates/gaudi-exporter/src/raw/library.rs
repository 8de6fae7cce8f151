//! Opening libhlml, and its versions.

use std::{
    ffi::c_uint,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use hlml_sys::{Generation, Hlml, Return, constants::VERSION_BYTES};
use reading::{Backend, FaultCode, Measured, Unavailable, plausible_count};
use source::{CallQueue, LibraryPath};

use super::{call, device::text, plausible::BLANKS};

/// Where the library is looked for when no path is given: the loader's own search, which the driver's package
/// extends, the folder that it installs to, and a versioned name that no release is known to have but clients
/// ask for.
pub const SEARCH: &[&str] = &["libhlml.so", "/usr/lib/habanalabs/libhlml.so", "libhlml.so.1"];

/// How many hold an initialised HLML in this process: HLML does not count them, so the last of ours shuts it
/// down. There is more than one while a thread that hangs in an earlier session keeps its library.
static USERS: AtomicU32 = AtomicU32::new(0);

/// How long a call may keep all others waiting: ten times the slowest call that is known. No document says
/// that HLML may be called from two threads at once, so each call waits in a queue.
const PATIENCE: Duration = Duration::from_millis(250);

/// Most devices that one node can have; none is known with more than 8.
const DEVICES_MAX: u32 = 256;

/// No library could be opened, and why.
#[derive(Debug)]
pub struct Missing(pub String);

/// An initialised HLML, shared by the session and its samplers. The last of them to go shuts HLML down, so a
/// thread that is stuck in the driver keeps its own library alive.
#[derive(Clone)]
pub struct Library {
    inner: Arc<Inner>,
    backend: Arc<Backend>,
    generation: Option<Generation>,
}

struct Inner {
    hlml: Hlml,
    queue: CallQueue,
}

impl Library {
    /// Opens a library and initialises it.
    ///
    /// # Errors
    /// [`Missing`] when there is none. The inner error is that of a library that is there and does not
    /// initialise: one line with the error and what to do.
    pub fn open(library: &LibraryPath) -> Result<Result<Self, Unavailable>, Missing> {
        let (hlml, path) = load(library)?;
        let opened = path.to_string_lossy();
        let error = match hlml.hlml_init {
            None => FaultCode::SymbolMissing.name(),
            // SAFETY: hlml.h: takes nothing, and is the first call.
            Some(init) => match Return::from(unsafe { init() }) {
                // It was left initialised by a thread that hangs in an earlier session, or whose shutdown failed. What
                // cannot be called for that loses the session, and the next one finds it shut down.
                Return::Success | Return::AlreadyInitialized => return Ok(Ok(Self::describe(hlml, &opened))),
                refused => refused.name().unwrap_or(FaultCode::UnknownReturnCode.name()),
            },
        };
        Ok(Err(Unavailable(format!(
            "{opened}: initialisation failed ({error}); load the habanalabs driver (hl-smi must work)"
        ))))
    }

    /// Whether a library could be opened now.
    pub fn is_there(library: &LibraryPath) -> bool {
        load(library).is_ok()
    }

    fn describe(hlml: Hlml, opened: &str) -> Self {
        USERS.fetch_add(1, Ordering::AcqRel);
        let simulated = source::simulated::in_library(hlml.library());
        let inner = Arc::new(Inner { hlml, queue: CallQueue::new(PATIENCE) });
        let mut library = Self { inner, backend: Arc::default(), generation: None };
        let unknown = || "unknown".to_owned();
        let version = library.hlml_version().unwrap_or_else(|_| unknown());
        let driver = library.driver_version().unwrap_or_else(|_| unknown());
        library.generation = Generation::of_version(&version);
        library.backend = Arc::new(Backend {
            library: opened.to_owned(),
            version: format!("driver {driver}, HLML {version}"),
            simulated,
        });
        library
    }

    /// How many have it; HLML is shut down by the last that goes.
    pub fn users(&self) -> usize {
        Arc::strong_count(&self.inner)
    }

    /// What was opened.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Which structs it writes; `None` when its version cannot be read.
    pub fn generation(&self) -> Option<Generation> {
        self.generation
    }

    /// Its optional symbols.
    pub(super) fn symbols(&self) -> &Hlml {
        &self.inner.hlml
    }

    /// The queue in front of it.
    pub(super) fn queue(&self) -> &CallQueue {
        &self.inner.queue
    }

    /// Version of the library itself.
    pub fn hlml_version(&self) -> Measured<String> {
        text::<VERSION_BYTES>("hlml_get_hlml_version", |buffer, length| {
            call!(self, hlml_get_hlml_version(buffer, length))
        })
    }

    /// Version of the kernel driver.
    pub fn driver_version(&self) -> Measured<String> {
        text::<VERSION_BYTES>("hlml_get_driver_version", |buffer, length| {
            call!(self, hlml_get_driver_version(buffer, length))
        })
    }

    /// Devices that HLML lists now.
    pub fn device_count(&self) -> Measured<u32> {
        const CALL: &str = "hlml_device_get_count";
        let mut count = c_uint::MAX;
        call!(self, hlml_device_get_count(&raw mut count))?;
        plausible_count(CALL, BLANKS.number32(CALL, count)?, DEVICES_MAX)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if USERS.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        if let Some(shutdown) = self.hlml.hlml_shutdown {
            let permit = self.queue.acquire();
            // Nothing can be done about a failure: the driver frees what the process held.
            // SAFETY: hlml.h: takes nothing; nobody else holds the library any more.
            unsafe { shutdown() };
            drop(permit);
        }
    }
}

fn load(library: &LibraryPath) -> Result<(Hlml, PathBuf), Missing> {
    let path = library.find().map_err(Missing)?;
    // SAFETY: the driver's library, or what the user named in its place.
    let hlml = unsafe { Hlml::open(path.as_os_str()) }.map_err(|error| Missing(error.to_string()))?;
    Ok((hlml, path))
}
