//! Opening libnvidia-ml, and its versions.

use std::{ffi::OsStr, path::PathBuf, sync::Arc};

use nvml_wrapper::{Nvml, error::NvmlError};
use nvml_wrapper_sys::bindings::NvmlLib;
use reading::{Backend, Measured, Unavailable};

use super::fault;

/// Where the driver's library is looked for when no path is given: the loader's own search first, then
/// the places where container runtimes and node images mount the driver.
const SEARCH: &[&str] = &[
    "libnvidia-ml.so.1",
    "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    "/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1",
    "/usr/lib64/libnvidia-ml.so.1",
    "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
    "/home/kubernetes/bin/nvidia/lib64/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib64/libnvidia-ml.so.1",
];

/// An initialised NVML, shared by the session, its samplers and its event thread. The last of them to go
/// shuts NVML down, so a thread that is stuck in the driver keeps its own library alive.
#[derive(Clone)]
pub struct Library {
    nvml: Arc<Nvml>,
    backend: Arc<Backend>,
}

impl Library {
    /// Opens and initialises NVML, from `path` or by search.
    ///
    /// # Errors
    /// One line: which library, the error, and what to do.
    pub fn open(path: Option<&PathBuf>) -> Result<Self, Unavailable> {
        let candidates: Vec<&OsStr> = match path {
            Some(path) => vec![path.as_os_str()],
            None => SEARCH.iter().map(OsStr::new).collect(),
        };
        let mut first_error = None;
        for candidate in candidates {
            match Nvml::builder().lib_path(candidate).init() {
                Ok(nvml) => return Ok(Self::describe(nvml, candidate)),
                Err(NvmlError::LibloadingError(error)) => {
                    // The first place is the one that people expect; the rest are guesses.
                    first_error.get_or_insert(format!("{error}"));
                }
                Err(error) => {
                    return Err(Unavailable(format!(
                        "{}: initialisation failed ({}); load the NVIDIA driver (nvidia-smi must work)",
                        candidate.display(),
                        fault("nvmlInit_v2", &error).code,
                    )));
                }
            }
        }
        Err(Unavailable(format!(
            "{}; install the NVIDIA driver, or name the library with --library.nvml",
            first_error.unwrap_or_else(|| "libnvidia-ml.so.1 not found".into()),
        )))
    }

    fn describe(nvml: Nvml, opened: &OsStr) -> Self {
        let driver = nvml.sys_driver_version().unwrap_or_else(|_| "unknown".into());
        let library = nvml.sys_nvml_version().unwrap_or_else(|_| "unknown".into());
        let backend = Backend {
            library: opened.to_string_lossy().into_owned(),
            version: format!("driver {driver}, NVML {library}"),
            simulated: source::simulated::in_library(&nvml.lib().__library),
        };
        Self { nvml: Arc::new(nvml), backend: Arc::new(backend) }
    }

    /// What was opened.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The safe wrapper.
    pub fn nvml(&self) -> &Nvml {
        &self.nvml
    }

    /// The table of optional symbols.
    pub fn symbols(&self) -> &NvmlLib {
        self.nvml.lib()
    }

    /// Driver version, such as `570.86.15`.
    pub fn driver_version(&self) -> Measured<String> {
        self.nvml.sys_driver_version().map_err(|e| fault("nvmlSystemGetDriverVersion", &e))
    }

    /// Version of the library itself.
    pub fn nvml_version(&self) -> Measured<String> {
        self.nvml.sys_nvml_version().map_err(|e| fault("nvmlSystemGetNVMLVersion", &e))
    }

    /// CUDA version that the driver supports, as `major.minor`.
    pub fn cuda_version(&self) -> Measured<String> {
        // 1000 x major + 10 x minor (nvml.h, nvmlSystemGetCudaDriverVersion_v2).
        self.nvml
            .sys_cuda_driver_version()
            .map(|v| format!("{}.{}", v / 1000, v % 1000 / 10))
            .map_err(|e| fault("nvmlSystemGetCudaDriverVersion_v2", &e))
    }

    /// Devices that NVML lists now.
    pub fn device_count(&self) -> Measured<u32> {
        self.nvml.device_count().map_err(|e| fault("nvmlDeviceGetCount_v2", &e))
    }
}
