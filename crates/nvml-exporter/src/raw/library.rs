//! Opening libnvidia-ml, and its versions.

use std::{path::Path, sync::Arc};

use kernel::File;
use nvml_wrapper_sys::bindings::{
    NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE, NVML_SYSTEM_NVML_VERSION_BUFFER_SIZE, NvmlLib,
};
use reading::{Backend, Measured, Unavailable, plausible_count};
use source::LibraryPath;

use super::{call, newer::Newer, plausible::Number as _, text};

/// Where the driver's library is looked for when no path is given: the loader's own search first, then
/// the places where container runtimes and node images mount the driver.
pub const SEARCH: &[&str] = &[
    "libnvidia-ml.so.1",
    "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    "/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1",
    "/usr/lib64/libnvidia-ml.so.1",
    "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
    "/home/kubernetes/bin/nvidia/lib64/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib64/libnvidia-ml.so.1",
];

/// NVML keeps count of initialisations; each of ours is ended when its last user goes.
struct Nvml {
    symbols: NvmlLib,
    newer: Newer,
    is_initialised: bool,
}

impl Nvml {
    fn symbols(&self) -> &NvmlLib {
        &self.symbols
    }

    /// Version of the library, also before it is initialised.
    fn version(&self) -> Measured<String> {
        text!(self, nvmlSystemGetNVMLVersion(), NVML_SYSTEM_NVML_VERSION_BUFFER_SIZE)
    }
}

impl Drop for Nvml {
    fn drop(&mut self) {
        if self.is_initialised {
            // Nothing can be done about a failure: the driver frees what the process held.
            let _ = call!(self, nvmlShutdown());
        }
    }
}

/// Most devices that one node can have; none is known with more than 16.
const DEVICES_MAX: u32 = 256;

/// An initialised NVML, shared by the session, its samplers and its event thread. The last of them to go
/// shuts NVML down, so a thread that is stuck in the driver keeps its own library alive.
#[derive(Clone)]
pub struct Library {
    nvml: Arc<Nvml>,
    backend: Arc<Backend>,
    has_new_field_numbers: bool,
}

impl Library {
    /// Opens and initialises NVML. `sysfs` has the version of the kernel module.
    ///
    /// # Errors
    /// One line: which library, the error, and what to do.
    pub fn open(library: &LibraryPath, sysfs: &Path) -> Result<Self, Unavailable> {
        let missing = |why: String| {
            Unavailable(format!("{why}; install the NVIDIA driver, or name the library with --library.nvml"))
        };
        let path = library.find().map_err(missing)?;
        // SAFETY: the driver's library, or what the user named in its place.
        let symbols = unsafe { NvmlLib::new(&path) }.map_err(|error| missing(error.to_string()))?;
        Self::initialise(symbols, &path, sysfs)
    }

    fn initialise(symbols: NvmlLib, opened: &Path, sysfs: &Path) -> Result<Self, Unavailable> {
        let newer = Newer::load(&symbols);
        let mut nvml = Nvml { symbols, newer, is_initialised: false };
        if let Err(fault) = call!(nvml, nvmlInit_v2()) {
            let what_to_do = if fault.code == "NVML_ERROR_LIB_RM_VERSION_MISMATCH" {
                let module = File::new(&sysfs.join("module/nvidia"), "version").text();
                mismatch(nvml.version().ok().as_deref(), module.ok().as_deref())
            } else {
                "load the NVIDIA driver (nvidia-smi must work)".to_owned()
            };
            let opened = opened.display();
            return Err(Unavailable(format!(
                "{opened}: initialisation failed ({}); {what_to_do}",
                fault.code
            )));
        }
        nvml.is_initialised = true;
        let simulated = source::simulated::in_library(&nvml.symbols.__library);
        let nvml = Arc::new(nvml);
        let mut library = Self { nvml, backend: Arc::default(), has_new_field_numbers: false };
        let unknown = || "unknown".to_owned();
        let driver = library.driver_version().unwrap_or_else(|_| unknown());
        let version = library.nvml_version().unwrap_or_else(|_| unknown());
        library.has_new_field_numbers = has_new_field_numbers(&driver);
        library.backend = Arc::new(Backend {
            library: opened.to_string_lossy().into_owned(),
            version: format!("driver {driver}, NVML {version}"),
            simulated,
        });
        Ok(library)
    }

    /// How many have it; NVML is shut down by the last that goes.
    pub fn users(&self) -> usize {
        Arc::strong_count(&self.nvml)
    }

    /// What was opened.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The table of optional symbols.
    pub fn symbols(&self) -> &NvmlLib {
        &self.nvml.symbols
    }

    /// The table of optional symbols that the bindings do not know.
    pub fn newer(&self) -> &Newer {
        &self.nvml.newer
    }

    /// Whether the driver has the field numbers that begin with 580.82.
    pub fn has_new_field_numbers(&self) -> bool {
        self.has_new_field_numbers
    }

    /// Driver version, such as `570.86.15`.
    pub fn driver_version(&self) -> Measured<String> {
        text!(self, nvmlSystemGetDriverVersion(), NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE)
    }

    /// Version of the library itself.
    pub fn nvml_version(&self) -> Measured<String> {
        self.nvml.version()
    }

    /// CUDA version that the driver supports, as `major.minor`.
    pub fn cuda_version(&self) -> Measured<String> {
        let mut version = i32::BLANK;
        call!(self, nvmlSystemGetCudaDriverVersion_v2(&raw mut version))?;
        let version = version.checked("nvmlSystemGetCudaDriverVersion_v2")?;
        // 1000 x major + 10 x minor (nvml.h, nvmlSystemGetCudaDriverVersion_v2).
        Ok(format!("{}.{}", version / 1000, version % 1000 / 10))
    }

    /// Devices that NVML lists now.
    pub fn device_count(&self) -> Measured<u32> {
        const CALL: &str = "nvmlDeviceGetCount_v2";
        let mut count = u32::BLANK;
        call!(self, nvmlDeviceGetCount_v2(&raw mut count))?;
        plausible_count(CALL, count.checked(CALL)?, DEVICES_MAX)
    }
}

/// What to do where the library and the loaded module are of two releases, as after an upgrade of packages.
/// The library's version begins with that of CUDA.
fn mismatch(library: Option<&str>, module: Option<&str>) -> String {
    let release = library.and_then(|version| version.split_once('.')).map(|(_, release)| release);
    let (library, module) = (release.unwrap_or("unknown"), module.unwrap_or("unknown"));
    format!(
        "the library is of driver {library}, the loaded kernel module of {module}; reboot, or unload and load \
         the module"
    )
}

/// Whether a driver is 580.82 or newer; one whose version cannot be read counts as older.
fn has_new_field_numbers(driver: &str) -> bool {
    let mut parts = driver.split('.').map_while(|part| part.parse::<u32>().ok());
    (parts.next(), parts.next()) >= (Some(580), Some(82))
}

#[cfg(test)]
mod tests {
    use super::{has_new_field_numbers, mismatch};

    #[test]
    fn a_mismatch_names_both_releases() {
        let text = mismatch(Some("13.580.82.07"), Some("575.57.08"));
        assert!(
            text.contains("580.82.07,") && text.contains("575.57.08;") && text.contains("reboot"),
            "{text}"
        );
        assert!(mismatch(None, None).contains("unknown"));
    }

    #[test]
    fn field_numbers_follow_the_drivers_release() {
        for (driver, expected) in [
            ("unknown", false),
            ("580", false),
            ("575.51.03", false),
            ("580.65.06", false),
            ("580.82.07", true),
            ("581.0", true),
        ] {
            assert_eq!(has_new_field_numbers(driver), expected, "{driver}");
        }
    }
}
