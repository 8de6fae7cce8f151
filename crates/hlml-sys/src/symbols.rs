//! The symbols of `libhlml.so`, each looked up separately: one that a release lacks is `None`.
//!
//! Only functions that read are looked up, never one that injects an error, sets a limit or clears an
//! affinity.

use std::{
    ffi::{OsStr, c_char, c_int, c_uint, c_ulonglong, c_void},
    ops::Deref,
};

use libloading::Library;

/// `hlml_device_t`: an opaque handle.
pub type Device = *mut c_void;
/// `hlml_event_set_t`: an opaque handle.
pub type EventSet = *mut c_void;

macro_rules! symbols {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        /// Addresses of the functions, valid while the library is open.
        #[derive(Debug)]
        pub struct Symbols {$(
            #[doc = concat!("`", stringify!($name), "`, where the library has it.")]
            pub $name: Option<unsafe extern "C" fn($($argument: $type),*) -> c_int>,
        )*}

        impl Symbols {
            /// The names of the functions.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            fn of(library: &Library) -> Self {
                Self {$(
                    $name: {
                        // SAFETY: hlml.h declares the name with this prototype; the pointer is stored with
                        // the library that it points into.
                        let symbol = unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) };
                        symbol.ok().map(|symbol| *symbol)
                    },
                )*}
            }
        }
    };
}

// Structs that grow between releases are `c_void`: the caller's buffer is larger than any of them.
symbols! {
    hlml_init();
    hlml_shutdown();
    hlml_get_hlml_version(version: *mut c_char, length: c_uint);
    hlml_get_driver_version(version: *mut c_char, length: c_uint);
    hlml_device_get_count(count: *mut c_uint);
    hlml_device_get_handle_by_index(index: c_uint, device: *mut Device);
    hlml_device_get_name(device: Device, name: *mut c_char, length: c_uint);
    hlml_device_get_uuid(device: Device, uuid: *mut c_char, length: c_uint);
    hlml_device_get_serial(device: Device, serial: *mut c_char, length: c_uint);
    hlml_device_get_minor_number(device: Device, minor: *mut c_uint);
    hlml_device_get_module_id(device: Device, module: *mut c_uint);
    hlml_device_get_pci_info(device: Device, info: *mut c_void);
    hlml_device_get_pcb_info(device: Device, info: *mut c_void);
    hlml_get_firmware_fit_version(device: Device, version: *mut c_char, length: c_uint);
    hlml_get_firmware_spi_version(device: Device, version: *mut c_char, length: c_uint);
    hlml_get_cpld_version(device: Device, version: *mut c_char, length: c_uint);
    hlml_device_get_utilization_rates(device: Device, rates: *mut c_void);
    hlml_device_get_memory_info(device: Device, info: *mut c_void);
    hlml_device_get_temperature(device: Device, sensor: c_uint, celsius: *mut c_uint);
    hlml_device_get_temperature_threshold(device: Device, threshold: c_uint, celsius: *mut c_uint);
    hlml_device_get_power_usage(device: Device, milliwatts: *mut c_uint);
    hlml_device_get_power_management_limit(device: Device, milliwatts: *mut c_uint);
    hlml_device_get_power_management_default_limit(device: Device, milliwatts: *mut c_uint);
    hlml_device_get_power_management_limit_constraints(device: Device, min: *mut c_uint, max: *mut c_uint);
    hlml_device_get_total_energy_consumption(device: Device, millijoules: *mut c_ulonglong);
    hlml_device_get_clock_info(device: Device, clock: c_uint, megahertz: *mut c_uint);
    hlml_device_get_max_clock_info(device: Device, clock: c_uint, megahertz: *mut c_uint);
    hlml_device_get_performance_state(device: Device, state: *mut c_uint);
    hlml_device_get_current_clocks_throttle_reasons(device: Device, reasons: *mut c_ulonglong);
    hlml_device_get_ecc_mode(device: Device, current: *mut c_uint, pending: *mut c_uint);
    hlml_device_get_total_ecc_errors(device: Device, kind: c_uint, counter: c_uint, count: *mut c_ulonglong);
    hlml_device_get_memory_error_counter(
        device: Device, kind: c_uint, counter: c_uint, location: c_uint, count: *mut c_ulonglong
    );
    hlml_device_get_replaced_rows(device: Device, cause: c_uint, rows: *mut c_uint, addresses: *mut c_void);
    hlml_device_get_replaced_rows_pending_status(device: Device, pending: *mut c_uint);
    hlml_device_get_pcie_throughput(device: Device, counter: c_uint, kilobytes_per_second: *mut c_uint);
    hlml_device_get_pcie_replay_counter(device: Device, replays: *mut c_uint);
    hlml_get_mac_addr_info(device: Device, ports: *mut u64, external: *mut u64);
    hlml_nic_get_link(device: Device, port: u32, up: *mut u8);
    hlml_event_set_create(set: *mut EventSet);
    hlml_event_set_free(set: EventSet);
    hlml_event_set_wait(set: EventSet, data: *mut c_void, milliseconds: c_uint);
    hlml_device_register_events(device: Device, events: c_ulonglong, set: EventSet);
}

/// An open library. Opening it does not initialise it; `hlml_init` does.
#[derive(Debug)]
pub struct Hlml {
    symbols: Symbols,
    /// Last, so that it is dropped after the addresses.
    library: Library,
}

impl Hlml {
    /// Opens a library by name or path and looks up its symbols.
    ///
    /// # Errors
    /// The error of the dynamic loader.
    ///
    /// # Safety
    /// Loading runs the library's constructors, and each symbol with the name of an HLML function must be that
    /// function.
    pub unsafe fn open(path: &OsStr) -> Result<Self, libloading::Error> {
        // SAFETY: the caller guarantees it.
        let library = unsafe { Library::new(path) }?;
        Ok(Self { symbols: Symbols::of(&library), library })
    }

    /// Returns the library, to look up other symbols.
    pub fn library(&self) -> &Library {
        &self.library
    }
}

impl Deref for Hlml {
    type Target = Symbols;

    fn deref(&self) -> &Symbols {
        &self.symbols
    }
}

#[cfg(test)]
mod tests {
    use super::{Hlml, Symbols};

    #[test]
    fn nothing_that_changes_a_device_is_resolved() {
        for name in Symbols::NAMES {
            for word in ["inject", "_set_power", "_set_cpu", "device_set", "clear", "reset", "init_with"] {
                assert!(!name.contains(word), "{name}");
            }
        }
    }

    #[test]
    fn a_library_without_a_single_symbol_opens() {
        // SAFETY: the C library has no symbol of HLML and is already open.
        let opened = unsafe { Hlml::open("libc.so.6".as_ref()) }.expect("it is there");
        assert!(opened.hlml_init.is_none() && opened.hlml_nic_get_link.is_none());
        // SAFETY: there is no such file.
        assert!(unsafe { Hlml::open("libhlml-of-nobody.so".as_ref()) }.is_err());
    }
}
