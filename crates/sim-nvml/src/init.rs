//! The library itself: initialisation, shutdown, error texts, versions.

use std::ffi::{c_char, c_int, c_uint};

use sim_abi::Library as _;

use crate::abi::sys::{nvmlHwbcEntry_t, nvmlReturn_t, nvmlSystemDriverBranchInfo_v1_t};
use crate::abi::version;
use crate::args::{Buffer, Out, fill};
use crate::call::{Nvml, code, entries};
use crate::lists::Items;
use crate::session;

fn init(name: &'static str) -> nvmlReturn_t {
    sim_abi::initialise::<Nvml>(name, session::in_use(), session::enter)
}

sim_abi::machine_symbol!(Nvml);

/// `nvmlInit_v2` as nvml.h declares it.
#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> nvmlReturn_t {
    init("nvmlInit_v2")
}

/// `nvmlInit` as nvml.h declares it.
#[unsafe(no_mangle)]
extern "C" fn nvmlInit() -> nvmlReturn_t {
    init("nvmlInit")
}

/// `nvmlInitWithFlags` as nvml.h declares it; no flag changes a simulated machine.
#[unsafe(no_mangle)]
extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> nvmlReturn_t {
    init("nvmlInitWithFlags")
}

/// `nvmlShutdown` as nvml.h declares it.
#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> nvmlReturn_t {
    Nvml::returned(session::leave())
}

/// `nvmlErrorString` as nvml.h declares it.
#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(result: nvmlReturn_t) -> *const c_char {
    let text = match result {
        0 => c"Success",
        1 => c"Uninitialized",
        2 => c"Invalid Argument",
        3 => c"Not Supported",
        4 => c"Insufficient Permissions",
        5 => c"Already Initialized",
        6 => c"Not Found",
        7 => c"Insufficient Size",
        8 => c"Insufficient External Power",
        9 => c"Driver Not Loaded",
        10 => c"Timeout",
        11 => c"Interrupt Request Issue",
        12 => c"NVML Shared Library Not Found",
        13 => c"Function Not Found",
        14 => c"Corrupted infoROM",
        15 => c"GPU is lost",
        16 => c"GPU requires reset",
        17 => c"GPU access blocked by the operating system",
        18 => c"Driver/library version mismatch",
        19 => c"In use by another client",
        20 => c"Insufficient Memory",
        21 => c"No data",
        22 => c"The requested vgpu operation is not available on target device, because ECC is enabled",
        23 => c"Insufficient Resources",
        24 => c"Requested frequency is not supported",
        25 => c"Argument version mismatch",
        26 => c"The requested functionality has been deprecated",
        27 => c"System is not ready for the request",
        28 => c"No GPUs were found",
        29 => c"Resource not in correct state to perform requested operation",
        30 => c"Reset not supported for requested device/parameters",
        _ => c"Unknown Error",
    };
    text.as_ptr()
}

entries! {
    fn nvmlSystemGetDriverVersion(call, version: Buffer, length: c_uint) {
        version.write(call, length, &call.moment.machine().profile().driver.version)
    }

    fn nvmlSystemGetNVMLVersion(call, version: Buffer, length: c_uint) {
        let machine = call.moment.machine();
        version.write(call, length, &format!("{}.{}", machine.nvidia().cuda[0], machine.profile().driver.version))
    }

    fn nvmlSystemGetCudaDriverVersion(call, version: Out<c_int>) {
        version.set(call, cuda(call.moment.machine().nvidia().cuda))
    }

    fn nvmlSystemGetCudaDriverVersion_v2(call, version: Out<c_int>) {
        version.set(call, cuda(call.moment.machine().nvidia().cuda))
    }

    fn nvmlSystemGetDriverBranch(call, info: Out<nvmlSystemDriverBranchInfo_v1_t>, _length: c_uint) {
        let mut branch = info.get();
        if branch.version != version::<nvmlSystemDriverBranchInfo_v1_t>(1) {
            return Err(code::VERSION_MISMATCH);
        }
        fill(&mut branch.branch, &call.moment.machine().nvidia().driver_branch);
        info.put(branch)
    }

    fn nvmlSystemGetHicVersion(call, count: Out<c_uint>, _entries: Items<nvmlHwbcEntry_t>) {
        count.set(call, 0)
    }

    fn nvmlUnitGetCount(call, count: Out<c_uint>) { count.set(call, 0) }

    fn nvmlGetExcludedDeviceCount(call, count: Out<c_uint>) { count.set(call, 0) }
}

fn cuda([major, minor]: [i32; 2]) -> c_int {
    1000 * major + 10 * minor
}
