//! Functions for what a simulated Gaudi does not have, and functions that would change it: all return "not
//! supported".

use std::ffi::c_int;

use hlml_sys::Return;

/// Declares functions of `hlml.h` whose arguments are not read, which C's calling convention allows.
macro_rules! unsupported {
    ($($name:ident)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: not supported.")]
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> c_int {
            Return::NotSupported.code()
        }
    )*};
}

unsupported! {
    hlml_device_get_persistence_mode
    hlml_device_get_mac_info
    hlml_device_get_violation_status
    hlml_device_get_cpu_affinity
    hlml_device_get_cpu_affinity_within_scope
    hlml_device_get_memory_affinity
    hlml_nic_get_statistics
    hlml_device_set_cpu_affinity
    hlml_device_clear_cpu_affinity
    hlml_device_set_power_management_limit
    hlml_device_err_inject
}
