//! NVML's protocol, through the bare bindings: what a call returns for a null pointer, an invented handle, a
//! short buffer, a wrong version word, and before it is initialised.

use std::ffi::{CStr, c_char};
use std::ptr::{null, null_mut, without_provenance_mut};

use nvml_wrapper_sys::bindings::{self as sys, NvmlLib};

const SUCCESS: u32 = sys::nvmlReturn_enum_NVML_SUCCESS;
const UNINITIALIZED: u32 = sys::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED;
const INVALID_ARGUMENT: u32 = sys::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
const NOT_SUPPORTED: u32 = sys::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;
const NOT_FOUND: u32 = sys::nvmlReturn_enum_NVML_ERROR_NOT_FOUND;
const INSUFFICIENT_SIZE: u32 = sys::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
const VERSION_MISMATCH: u32 = sys::nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;

/// Calls a function of the library by its name in nvml.h.
macro_rules! call {
    ($library:ident.$name:ident($($argument:expr),*)) => {{
        let function = $library.$name.as_ref().expect("the library has every function");
        // SAFETY: the arguments are what nvml.h asks for: null, or memory of the declared type that lives on.
        unsafe { function($($argument),*) }
    }};
}

fn open() -> NvmlLib {
    let program = std::env::current_exe().expect("a program has a path");
    // SAFETY: loading the simulated library runs no code of its own.
    unsafe { NvmlLib::new(program.with_file_name("libnvidia_ml.so")) }.expect("the library loads")
}

fn version_word<T>(number: u32) -> u32 {
    u32::try_from(size_of::<T>()).expect("a struct is small") | number << 24
}

/// One test, because a process has one driver and the order matters.
#[test]
fn the_library_keeps_nvmls_manners() {
    let library = open();
    before_init(&library);
    assert_eq!(call!(library.nvmlInit_v2()), SUCCESS);
    let mut device = null_mut();
    assert_eq!(call!(library.nvmlDeviceGetHandleByIndex_v2(0, &raw mut device)), SUCCESS);
    arguments(&library, device);
    buffers(&library, device);
    versions(&library, device);
    lists(&library, device);
    identity(&library);
    counting(&library);
}

fn before_init(library: &NvmlLib) {
    let mut count = 0;
    assert_eq!(call!(library.nvmlDeviceGetCount_v2(&raw mut count)), UNINITIALIZED);
    assert_eq!(call!(library.nvmlDeviceSetEccMode(null_mut(), 1)), UNINITIALIZED);
    assert_eq!(call!(library.nvmlShutdown()), UNINITIALIZED);
}

fn arguments(library: &NvmlLib, device: sys::nvmlDevice_t) {
    let mut number = 0;
    assert_eq!(call!(library.nvmlDeviceGetPowerUsage(device, null_mut())), INVALID_ARGUMENT);
    assert_eq!(call!(library.nvmlDeviceGetPowerUsage(null_mut(), &raw mut number)), INVALID_ARGUMENT);
    let invented = without_provenance_mut(0x1234_5678);
    assert_eq!(call!(library.nvmlDeviceGetPowerUsage(invented, &raw mut number)), INVALID_ARGUMENT);
    assert_eq!(call!(library.nvmlDeviceGetTemperature(device, 7, &raw mut number)), INVALID_ARGUMENT);
    assert_eq!(call!(library.nvmlDeviceGetClockInfo(device, 9, &raw mut number)), INVALID_ARGUMENT);
    let mut found = null_mut();
    assert_eq!(call!(library.nvmlDeviceGetHandleByIndex_v2(8, &raw mut found)), INVALID_ARGUMENT);
    assert_eq!(call!(library.nvmlDeviceGetHandleByUUID(null(), &raw mut found)), INVALID_ARGUMENT);
    assert_eq!(call!(library.nvmlDeviceGetHandleByUUID(c"GPU-0".as_ptr(), &raw mut found)), NOT_FOUND);
    let stale = without_provenance_mut(99);
    assert_eq!(call!(library.nvmlGpmSampleGet(device, stale)), INVALID_ARGUMENT);
    assert_eq!(call!(library.nvmlGpmSampleFree(stale)), INVALID_ARGUMENT);
    assert_eq!(call!(library.nvmlEventSetFree(without_provenance_mut(99))), INVALID_ARGUMENT);
    assert_eq!(call!(library.nvmlDeviceSetEccMode(device, 1)), NOT_SUPPORTED);
    assert_eq!(call!(library.nvmlDeviceGetNvLinkState(device, 18, &raw mut number)), INVALID_ARGUMENT);
}

fn buffers(library: &NvmlLib, device: sys::nvmlDevice_t) {
    let mut text = [1; 96];
    assert_eq!(call!(library.nvmlDeviceGetUUID(device, text.as_mut_ptr(), 40)), INSUFFICIENT_SIZE);
    assert_eq!(text[0], 1, "nothing is written to a buffer that is too short");
    assert_eq!(call!(library.nvmlDeviceGetUUID(device, text.as_mut_ptr(), 41)), SUCCESS);
    assert_eq!((text[40], text[41]), (0, 1), "the text and its NUL fit exactly");
    assert_eq!(call!(library.nvmlDeviceGetUUID(device, null_mut(), 41)), INVALID_ARGUMENT);
}

fn versions(library: &NvmlLib, device: sys::nvmlDevice_t) {
    let mut memory = sys::nvmlMemory_v2_t { version: 2, total: 0, reserved: 0, free: 0, used: 0 };
    assert_eq!(call!(library.nvmlDeviceGetMemoryInfo_v2(device, &raw mut memory)), VERSION_MISMATCH);
    memory.version = version_word::<sys::nvmlMemory_v2_t>(2);
    assert_eq!(call!(library.nvmlDeviceGetMemoryInfo_v2(device, &raw mut memory)), SUCCESS);
    assert_eq!(memory.total, memory.reserved + memory.free + memory.used);

    let mut support = sys::nvmlGpmSupport_t { version: 7, isSupportedDevice: 0 };
    assert_eq!(call!(library.nvmlGpmQueryDeviceSupport(device, &raw mut support)), VERSION_MISMATCH);

    // The fabric call takes two versions of its struct; the shorter must not be overrun.
    let mut fabric = sys::nvmlGpuFabricInfo_v3_t {
        version: version_word::<sys::nvmlGpuFabricInfo_v2_t>(2),
        clusterUuid: [0; 16],
        status: 9,
        cliqueId: 9,
        state: 9,
        healthMask: 9,
        healthSummary: 9,
    };
    assert_eq!(call!(library.nvmlDeviceGetGpuFabricInfoV(device, &raw mut fabric)), SUCCESS);
    assert_eq!((fabric.state, fabric.healthSummary), (3, 9));
    fabric.version = 1;
    assert_eq!(call!(library.nvmlDeviceGetGpuFabricInfoV(device, &raw mut fabric)), VERSION_MISMATCH);
}

fn lists(library: &NvmlLib, device: sys::nvmlDevice_t) {
    let mut count = 0;
    let mut processes =
        [sys::nvmlProcessInfo_t { pid: 0, usedGpuMemory: 0, gpuInstanceId: 0, computeInstanceId: 0 }; 4];
    let first = processes.as_mut_ptr();
    let asked = call!(library.nvmlDeviceGetComputeRunningProcesses_v3(device, &raw mut count, null_mut()));
    assert_eq!((asked, count), (INSUFFICIENT_SIZE, 1));
    count = 4;
    let asked = call!(library.nvmlDeviceGetComputeRunningProcesses_v3(device, &raw mut count, first));
    assert_eq!((asked, count), (SUCCESS, 1));
    assert!(processes[0].pid > 0 && processes[0].usedGpuMemory > 1 << 30);
    assert_eq!(processes[0].gpuInstanceId, u32::MAX);
    count = 0;
    let asked = call!(library.nvmlDeviceGetGraphicsRunningProcesses_v3(device, &raw mut count, null_mut()));
    assert_eq!((asked, count), (SUCCESS, 0));
}

fn identity(library: &NvmlLib) {
    let name = {
        // SAFETY: the simulated library has this function, and this is its type.
        let function =
            unsafe { library.__library.get::<extern "C" fn() -> *const c_char>(b"accelsim_machine") };
        function.expect("the library says that it is simulated")()
    };
    // SAFETY: the library is initialised, so that the pointer is a string that lives as long as it is.
    let name = unsafe { CStr::from_ptr(name) };
    assert_eq!(name, c"h100-sxm-8");
    let text = call!(library.nvmlErrorString(15));
    // SAFETY: the library gives static strings.
    let text = unsafe { CStr::from_ptr(text) };
    assert_eq!(text, c"GPU is lost");
}

fn counting(library: &NvmlLib) {
    let mut count = 0;
    assert_eq!(call!(library.nvmlInitWithFlags(0)), SUCCESS);
    assert_eq!(call!(library.nvmlShutdown()), SUCCESS);
    assert_eq!(call!(library.nvmlDeviceGetCount_v2(&raw mut count)), SUCCESS);
    assert_eq!(count, 8);
    assert_eq!(call!(library.nvmlShutdown()), SUCCESS);
    assert_eq!(call!(library.nvmlDeviceGetCount_v2(&raw mut count)), UNINITIALIZED);
    assert_eq!(call!(library.nvmlInit_v2()), SUCCESS);
    assert_eq!(call!(library.nvmlDeviceGetCount_v2(&raw mut count)), SUCCESS);
    assert_eq!(call!(library.nvmlShutdown()), SUCCESS);
}
