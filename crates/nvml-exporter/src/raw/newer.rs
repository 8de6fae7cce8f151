//! Functions of NVML that `nvml-wrapper-sys` does not know, and the structs that they fill in. None has a version
//! word.

use std::ffi::{c_uchar, c_uint};

use nvml_wrapper_sys::bindings::{NvmlLib, nvmlDevice_t, nvmlReturn_t};

/// nvml.h, `NVML_GPU_FABRIC_CLIQUE_MAX`.
pub const CLIQUES_MAX: u32 = 64;

/// nvml.h, `nvmlGpuFabricClique_v1_t`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Clique {
    /// `NVML_GPU_FABRIC_CLIQUE_TYPE_*`.
    pub kind: c_uchar,
    /// Number.
    pub id: c_uint,
}

/// nvml.h, `nvmlGpuFabricInfo_v4_t`.
#[repr(C)]
pub struct FabricInfoV4 {
    /// UUID of the cluster.
    pub cluster: [c_uchar; 16],
    /// What registration returned.
    pub status: nvmlReturn_t,
    /// By type, then by number.
    pub cliques: [Clique; CLIQUES_MAX as usize],
    /// How many of them there are.
    pub clique_count: c_uint,
    /// `NVML_GPU_FABRIC_STATE_*`.
    pub state: c_uchar,
    /// `NVML_GPU_FABRIC_HEALTH_MASK_*`.
    pub health_mask: c_uint,
    /// `NVML_GPU_FABRIC_HEALTH_SUMMARY_*`.
    pub health_summary: c_uchar,
}

/// Declares the functions, all of which fill in one struct or number about a device.
macro_rules! functions {
    ($($name:ident($out:ty);)*) => {
        /// The functions that the loaded library has.
        #[expect(non_snake_case, reason = "C's names")]
        pub struct Newer {
            $(
                #[doc = concat!("nvml.h, `", stringify!($name), "`.")]
                pub $name: Result<unsafe extern "C" fn(nvmlDevice_t, *mut $out) -> nvmlReturn_t, ()>,
            )*
        }

        impl Newer {
            /// Looks for them.
            pub fn load(library: &NvmlLib) -> Self {
                Self {$(
                    $name: {
                        let name = concat!(stringify!($name), "\0").as_bytes();
                        // SAFETY: nvml.h declares the function of this name with this type.
                        let symbol = unsafe { library.__library.get(name) };
                        symbol.map(|function| *function).map_err(|_| ())
                    },
                )*}
            }

            /// The table itself, as [`call!`](super::call) asks for it.
            pub fn symbols(&self) -> &Self {
                self
            }
        }
    };
}

functions! {
    nvmlDeviceGetGpuFabricInfo_v4(FabricInfoV4);
    // A struct of one number each.
    nvmlDeviceGetUnrepairableMemoryFlag_v1(c_uint);
    nvmlDeviceGetGpuUptime_v1(c_uint);
}
