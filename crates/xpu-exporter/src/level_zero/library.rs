//! The opened loader and the GPUs that it lists.

use std::sync::Arc;

use level_zero_sys::{self as sys, InitFunction, LevelZero, OpenError, value};
use reading::{Fault, Measured, Unavailable};
use source::LibraryPath;

use super::{LOSSES, fault, returned};

/// A simulated driver puts this prefix and the machine's name into the brand of its devices.
const SIMULATED: &str = "accelsim:";

/// An initialised Level Zero and its GPUs, or why there is none.
pub type OpenedLibrary = Result<(Library, Vec<Gpu>), Unavailable>;

/// An initialised Level Zero.
#[derive(Clone)]
pub struct Library {
    pub(super) calls: Arc<LevelZero>,
    /// The path or file name that was opened.
    pub path: String,
}

impl Library {
    /// Opens the loader and lists its GPUs.
    ///
    /// # Errors
    /// One line: which library, what failed, and what to do.
    pub fn open(library: &LibraryPath) -> OpenedLibrary {
        let missing = |why: String| {
            format!(
                "{why}; install libze1 and intel-level-zero-gpu, or name the loader with --library.level-zero"
            )
        };
        let found = library.find().map_err(|why| Unavailable(missing(why)))?;
        let path = found.to_string_lossy().into_owned();
        let calls = LevelZero::open(found.as_os_str()).map_err(|error| {
            Unavailable(match error {
                OpenError::Library(why) => missing(why),
                OpenError::Incomplete => {
                    format!("{path}: has neither zesInit nor zeInit; it is not a Level Zero loader")
                }
                OpenError::Failed(failure) => format!(
                    "{path}: {} returned {}; install intel-level-zero-gpu, the driver behind the loader",
                    failure.call,
                    fault(failure).code
                ),
            })
        })?;
        let library = Self { calls: Arc::new(calls), path };
        let refused = |fault| refused(&library.path, fault, rustix::process::geteuid().is_root());
        let gpus = library.gpus(&[]).map_err(refused)?;
        Ok((library, gpus))
    }

    /// The function by which it was initialised, for people.
    pub fn init_function(&self) -> &'static str {
        match self.calls.init_function() {
            InitFunction::Sysman => "zesInit",
            InitFunction::Core => "zeInit",
        }
    }

    /// The GPUs that it lists, with their PCI addresses. Handles last as long as the driver, so properties of
    /// the `known` are not read again. A device whose properties cannot be read is left out.
    ///
    /// # Errors
    /// Those of the calls that list devices, and the fault that means that the driver is gone.
    pub fn gpus(&self, known: &[Gpu]) -> Measured<Vec<Gpu>> {
        let mut gpus = Vec::new();
        for device in returned(self.calls.devices())? {
            match known.iter().find(|gpu| gpu.device == device) {
                Some(gpu) => gpus.push(gpu.clone()),
                None => match self.gpu(device) {
                    Ok(gpu) => gpus.extend(gpu),
                    Err(fault) if LOSSES.loses_session(&fault) => return Err(fault),
                    Err(_) => {}
                },
            }
        }
        Ok(gpus)
    }

    /// `None` for a device that is no GPU: NPUs are listed too.
    fn gpu(&self, device: sys::Device) -> Measured<Option<Gpu>> {
        let properties = returned(self.calls.device_properties(device))?;
        if properties.core.kind != value::DEVICE_GPU {
            return Ok(None);
        }
        let sys::PciAddress { domain, bus, device: slot, function } =
            returned(self.calls.pci_properties(device))?.address;
        Ok(Some(Gpu {
            library: self.clone(),
            device,
            address: format!("{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"),
            name: sys::text(&properties.core.name),
            serial: known(sys::text(&properties.serial)),
            board: known(sys::text(&properties.board)),
            simulated: sys::text(&properties.brand).strip_prefix(SIMULATED).map(str::to_owned),
            integrated: properties.core.flags & value::DEVICE_INTEGRATED != 0,
            tiles: properties.subdevices,
        }))
    }
}

/// Why the GPUs of an open library cannot be listed.
fn refused(path: &str, fault: Fault, is_root: bool) -> Unavailable {
    let action = if is_root {
        "see the kernel's log about xe or i915, and give accelscope access to /dev/dri"
    } else {
        "run accelscope as root"
    };
    Unavailable(format!("{path}: {fault}; {action}"))
}

/// The text, or nothing where the driver writes "unknown".
fn known(text: String) -> String {
    if text.eq_ignore_ascii_case("unknown") { String::new() } else { text }
}

/// A GPU that Level Zero lists.
#[derive(Clone)]
pub struct Gpu {
    pub(super) library: Library,
    pub(super) device: sys::Device,
    /// PCI address as sysfs writes it.
    pub address: String,
    /// Product name.
    pub name: String,
    /// Serial number, or empty.
    pub serial: String,
    /// Board number, or empty.
    pub board: String,
    /// The name of the simulated machine, where the driver is simulated.
    pub simulated: Option<String>,
    /// Whether it shares the host's memory.
    pub integrated: bool,
    /// How many tiles it has; 0 for a GPU that is not divided into tiles.
    pub tiles: u32,
}

#[cfg(test)]
mod tests {
    use naming::FaultCode;

    use super::{Fault, refused};

    #[test]
    fn root_is_not_asked_to_become_root() {
        let text = |is_root| refused("libze.so", Fault::new("zesDeviceGet", FaultCode::NeedsRoot), is_root).0;
        assert!(text(false).contains("run accelscope as root"), "{}", text(false));
        assert!(!text(true).contains("as root") && text(true).contains("/dev/dri"), "{}", text(true));
    }
}
