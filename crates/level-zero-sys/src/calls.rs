//! The functions: opened one by one from the loader, called through methods that turn C's protocol of counts
//! and out-parameters into values and lists.

use std::{
    ffi::{CStr, OsStr, c_char, c_void},
    mem::ManuallyDrop,
    ptr,
};

use libloading::Library;

use crate::{
    code::{self, Code},
    structs::{
        DeviceProperties, DeviceState, EccProperties, EnergyCounter, EngineProperties, EngineStats,
        FanProperties, FrequencyProperties, FrequencyState, MemoryBandwidth, MemoryProperties, MemoryState,
        PciProperties, PciState, PciStats, PortErrors, PortProperties, PortState, PortThroughput,
        PowerDomain, PowerLimit, PowerProperties, RasProperties, RasState, TemperatureProperties,
    },
    value,
};

/// The variable that makes `zeInit` of an older loader initialise Sysman too.
pub const SYSMAN_VARIABLE: &str = "ZES_ENABLE_SYSMAN";

/// A driver may answer any count; no device has more of anything than this.
const LIST_MAX: u32 = 256;

/// Why a call gave no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The function.
    pub call: &'static str,
    /// What it answered; `None` when the loader does not have it.
    pub code: Option<Code>,
}

/// Why Level Zero cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The loader could not be opened, in its own words.
    Library(String),
    /// The loader has neither way to begin.
    Incomplete,
    /// Initialisation failed.
    Failed(Failure),
}

/// How Sysman was initialised. Handles of the two ways are never mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By `zesInit` (specification 1.5).
    Sysman,
    /// By `zeInit` with [`SYSMAN_VARIABLE`] in the environment; its handles are cast.
    Core,
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(*mut c_void);

        // SAFETY: an opaque name that any thread may use; the driver owns and locks what is behind it.
        unsafe impl Send for $name {}
        // SAFETY: as above.
        unsafe impl Sync for $name {}
    )*};
}

handles! {
    /// `zes_driver_handle_t`.
    Driver,
    /// `zes_device_handle_t`.
    Device,
    /// `zes_engine_handle_t`.
    Engine,
    /// `zes_mem_handle_t`.
    Memory,
    /// `zes_pwr_handle_t`.
    Power,
    /// `zes_temp_handle_t`.
    Temperature,
    /// `zes_freq_handle_t`.
    Frequency,
    /// `zes_fan_handle_t`.
    Fan,
    /// `zes_ras_handle_t`.
    Ras,
    /// `zes_fabric_port_handle_t`.
    FabricPort,
}

/// Initialises: `zesInit` and `zeInit`.
type Init = unsafe extern "C" fn(flags: u32) -> Code;
/// Lists what is below nothing.
type ListAll<T> = unsafe extern "C" fn(count: *mut u32, list: *mut T) -> Code;
/// Lists what is below a handle.
type List<H, T> = unsafe extern "C" fn(handle: H, count: *mut u32, list: *mut T) -> Code;
/// Fills one struct or number.
type Get<H, T> = unsafe extern "C" fn(handle: H, value: *mut T) -> Code;

/// Answers the address of a function, if the library has it.
///
/// # Safety
/// `T` must be the type that the header declares for `name`.
unsafe fn symbol<T: Copy>(library: &Library, name: &str) -> Option<T> {
    // SAFETY: the caller's promise.
    let found = unsafe { library.get::<T>(name.as_bytes()) };
    found.ok().map(|symbol| *symbol)
}

macro_rules! calls {
    (
        lists { $($(#[$list_doc:meta])* $list:ident = $list_c:ident: $list_of:ty => $listed:ty;)* }
        values { $($(#[$value_doc:meta])* $value:ident = $value_c:ident: $value_of:ty => $type:ty;)* }
        others { $($other:ident = $other_c:ident: $prototype:ty;)* }
    ) => {
        /// The functions that the loader has.
        struct Functions {
            $($list: Option<List<$list_of, $listed>>,)*
            $($value: Option<Get<$value_of, $type>>,)*
            $($other: Option<$prototype>,)*
        }

        impl Functions {
            fn open(library: &Library) -> Self {
                Self {
                    $(
                        // SAFETY: `zes_api.h` declares the function with this type.
                        $list: unsafe { symbol(library, stringify!($list_c)) },
                    )*
                    $(
                        // SAFETY: as above.
                        $value: unsafe { symbol(library, stringify!($value_c)) },
                    )*
                    $(
                        // SAFETY: as above, `ze_api.h` for the core functions.
                        $other: unsafe { symbol(library, stringify!($other_c)) },
                    )*
                }
            }
        }

        impl LevelZero {
            $(
                $(#[$list_doc])*
                #[doc = concat!("\n\n# Errors\nAs `", stringify!($list_c), "` says.")]
                pub fn $list(&self, handle: $list_of) -> Result<Vec<$listed>, Failure> {
                    const CALL: &str = stringify!($list_c);
                    let function = self.functions.$list.ok_or(Failure { call: CALL, code: None })?;
                    enumerate(CALL, <$listed>::from_null(), |count, list| {
                        // SAFETY: the prototype is the header's, the handle comes from enumeration, and
                        // `list` is null or has room for `count` handles.
                        unsafe { function(handle, count, list) }
                    })
                }
            )*
            $(
                $(#[$value_doc])*
                #[doc = concat!("\n\n# Errors\nAs `", stringify!($value_c), "` says.")]
                pub fn $value(&self, handle: $value_of) -> Result<$type, Failure> {
                    const CALL: &str = stringify!($value_c);
                    let function = self.functions.$value.ok_or(Failure { call: CALL, code: None })?;
                    let mut value = <$type>::default();
                    // SAFETY: the prototype is the header's, the handle comes from enumeration, and the
                    // value is one of the declared type, zero but for the type tag that the header asks for.
                    done(CALL, unsafe { function(handle, &raw mut value) })?;
                    Ok(value)
                }
            )*
        }
    };
}

/// What a list is filled with before the driver fills it.
trait FromNull {
    fn from_null() -> Self;
}

macro_rules! from_null {
    ($($name:ident),*) => {$(impl FromNull for $name { fn from_null() -> Self { Self(ptr::null_mut()) } })*};
}
from_null!(Driver, Device, Engine, Memory, Power, Temperature, Frequency, Fan, Ras, FabricPort);

impl FromNull for PowerLimit {
    fn from_null() -> Self {
        Self::default()
    }
}

calls! {
    lists {
        /// The engine groups; none without root on current drivers.
        engines = zesDeviceEnumEngineGroups: Device => Engine;
        /// The memory modules.
        memories = zesDeviceEnumMemoryModules: Device => Memory;
        /// The power domains.
        powers = zesDeviceEnumPowerDomains: Device => Power;
        /// The temperature sensors.
        temperatures = zesDeviceEnumTemperatureSensors: Device => Temperature;
        /// The clock domains.
        frequencies = zesDeviceEnumFrequencyDomains: Device => Frequency;
        /// The fans.
        fans = zesDeviceEnumFans: Device => Fan;
        /// The error sets.
        ras_sets = zesDeviceEnumRasErrorSets: Device => Ras;
        /// The fabric ports.
        ports = zesDeviceEnumFabricPorts: Device => FabricPort;
        /// The limits of a power domain.
        power_limits = zesPowerGetLimitsExt: Power => PowerLimit;
    }
    values {
        /// What the device is.
        device_properties = zesDeviceGetProperties: Device => DeviceProperties;
        /// Whether it must be reset.
        device_state = zesDeviceGetState: Device => DeviceState;
        /// Where it is on the bus.
        pci_properties = zesDevicePciGetProperties: Device => PciProperties;
        /// How its PCIe link is.
        pci_state = zesDevicePciGetState: Device => PciState;
        /// What went over it.
        pci_stats = zesDevicePciGetStats: Device => PciStats;
        /// Whether its memory is protected.
        ecc_state = zesDeviceGetEccState: Device => EccProperties;
        /// What an engine group is.
        engine_properties = zesEngineGetProperties: Engine => EngineProperties;
        /// How long it was busy.
        engine_activity = zesEngineGetActivity: Engine => EngineStats;
        /// What a memory module is.
        memory_properties = zesMemoryGetProperties: Memory => MemoryProperties;
        /// How full it is.
        memory_state = zesMemoryGetState: Memory => MemoryState;
        /// What was read and written.
        memory_bandwidth = zesMemoryGetBandwidth: Memory => MemoryBandwidth;
        /// Energy of a power domain.
        energy = zesPowerGetEnergyCounter: Power => EnergyCounter;
        /// What a sensor is.
        temperature_properties = zesTemperatureGetProperties: Temperature => TemperatureProperties;
        /// What it measures, °C.
        temperature = zesTemperatureGetState: Temperature => f64;
        /// What a clock domain is.
        frequency_properties = zesFrequencyGetProperties: Frequency => FrequencyProperties;
        /// How fast it is, and what holds it back.
        frequency_state = zesFrequencyGetState: Frequency => FrequencyState;
        /// What a fan can do.
        fan_properties = zesFanGetProperties: Fan => FanProperties;
        /// What an error set counts.
        ras_properties = zesRasGetProperties: Ras => RasProperties;
        /// What a port is.
        port_properties = zesFabricPortGetProperties: FabricPort => PortProperties;
        /// How it is.
        port_state = zesFabricPortGetState: FabricPort => PortState;
        /// What went over it.
        port_throughput = zesFabricPortGetThroughput: FabricPort => PortThroughput;
        /// What went wrong on it.
        port_errors = zesFabricPortGetFabricErrorCounters: FabricPort => PortErrors;
    }
    others {
        zes_init = zesInit: Init;
        zes_drivers = zesDriverGet: ListAll<Driver>;
        zes_devices = zesDeviceGet: List<Driver, Device>;
        ze_init = zeInit: Init;
        ze_drivers = zeDriverGet: ListAll<Driver>;
        ze_devices = zeDeviceGet: List<Driver, Device>;
        get_power_properties = zesPowerGetProperties: Get<Power, PowerProperties>;
        get_fan_state = zesFanGetState: unsafe extern "C" fn(Fan, u32, *mut i32) -> Code;
        get_ras_state = zesRasGetState: unsafe extern "C" fn(Ras, u8, *mut RasState) -> Code;
    }
}

/// An initialised Level Zero.
pub struct LevelZero {
    functions: Functions,
    way: Way,
    /// Never closed: a driver's threads and our handles outlive every session.
    library: ManuallyDrop<Library>,
}

impl LevelZero {
    /// Opens the loader at `path` and initialises Sysman: by `zesInit` where the loader has it, else by
    /// `zeInit`, for which [`SYSMAN_VARIABLE`] must be in the environment already.
    ///
    /// # Errors
    /// The loader is not there, is no loader, or does not find a driver.
    pub fn open(path: &OsStr) -> Result<Self, OpenError> {
        // SAFETY: loading runs the library's constructors; that of a Level Zero loader may run at any time.
        let library = unsafe { Library::new(path) }.map_err(|error| OpenError::Library(error.to_string()))?;
        let library = ManuallyDrop::new(library);
        let functions = Functions::open(&library);
        let modern =
            functions.zes_init.filter(|_| functions.zes_drivers.is_some() && functions.zes_devices.is_some());
        let (way, call, init) = match (modern, functions.ze_init) {
            (Some(init), _) => (Way::Sysman, "zesInit", init),
            (None, Some(init)) => (Way::Core, "zeInit", init),
            (None, None) => return Err(OpenError::Incomplete),
        };
        // SAFETY: the header's prototype; no flag is defined for Sysman, and 0 is every kind of device for core.
        done(call, unsafe { init(0) }).map_err(OpenError::Failed)?;
        Ok(Self { functions, way, library })
    }

    /// How it was initialised.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Every device of every driver.
    ///
    /// # Errors
    /// As the functions say that list drivers and devices.
    pub fn devices(&self) -> Result<Vec<Device>, Failure> {
        let functions = &self.functions;
        let (drivers_call, drivers, devices_call, devices) = match self.way {
            Way::Sysman => ("zesDriverGet", functions.zes_drivers, "zesDeviceGet", functions.zes_devices),
            Way::Core => ("zeDriverGet", functions.ze_drivers, "zeDeviceGet", functions.ze_devices),
        };
        let drivers = drivers.ok_or(Failure { call: drivers_call, code: None })?;
        let devices = devices.ok_or(Failure { call: devices_call, code: None })?;
        let found = enumerate(drivers_call, Driver::from_null(), |count, list| {
            // SAFETY: the header's prototype, and `list` is null or has room for `count` handles.
            unsafe { drivers(count, list) }
        })?;
        let mut all = Vec::new();
        for driver in found {
            all.extend(enumerate(devices_call, Device::from_null(), |count, list| {
                // SAFETY: as above, and the driver comes from enumeration.
                unsafe { devices(driver, count, list) }
            })?);
        }
        Ok(all)
    }

    /// Limits of a power domain in general, and which domain it is (0 when the driver does not say).
    ///
    /// # Errors
    /// As `zesPowerGetProperties` says.
    pub fn power_properties(&self, power: Power) -> Result<(PowerProperties, u32), Failure> {
        const CALL: &str = "zesPowerGetProperties";
        let function = self.functions.get_power_properties.ok_or(Failure { call: CALL, code: None })?;
        let mut domain = PowerDomain::default();
        let mut properties = PowerProperties { next: (&raw mut domain).cast(), ..PowerProperties::default() };
        // SAFETY: the header's prototype; the chained struct lives as long as the call and has its tag, and its
        // pointer is null, which says that the default limit is not wanted.
        done(CALL, unsafe { function(power, &raw mut properties) })?;
        properties.next = ptr::null_mut();
        Ok((properties, domain.domain))
    }

    /// Speed of a fan in `units` ([`value::FAN_RPM`] or [`value::FAN_PERCENT`]); -1 is unknown.
    ///
    /// # Errors
    /// As `zesFanGetState` says.
    pub fn fan_speed(&self, fan: Fan, units: u32) -> Result<i32, Failure> {
        const CALL: &str = "zesFanGetState";
        debug_assert!(units == value::FAN_RPM || units == value::FAN_PERCENT);
        let function = self.functions.get_fan_state.ok_or(Failure { call: CALL, code: None })?;
        let mut speed = -1;
        // SAFETY: the header's prototype and a live number to fill.
        done(CALL, unsafe { function(fan, units, &raw mut speed) })?;
        Ok(speed)
    }

    /// Errors by category. Never clears them: others count on them too.
    ///
    /// # Errors
    /// As `zesRasGetState` says.
    pub fn ras_state(&self, set: Ras) -> Result<RasState, Failure> {
        const CALL: &str = "zesRasGetState";
        let function = self.functions.get_ras_state.ok_or(Failure { call: CALL, code: None })?;
        let mut state = RasState::default();
        // SAFETY: the header's prototype and a live struct to fill, all zero, since drivers add to it.
        done(CALL, unsafe { function(set, 0, &raw mut state) })?;
        Ok(state)
    }

    /// The text that a function without arguments answers, for symbols that are not Level Zero's: a driver
    /// that is simulated says so by one.
    pub fn extra_text(&self, name: &str) -> Option<String> {
        // SAFETY: only looked up here; whoever exports such a symbol declares `const char *name(void)`.
        let function = unsafe { symbol::<unsafe extern "C" fn() -> *const c_char>(&self.library, name) }?;
        // SAFETY: the prototype above.
        let answer = unsafe { function() };
        if answer.is_null() {
            return None;
        }
        // SAFETY: not null, and the function answers text that ends in a NUL and is never freed.
        let answer = unsafe { CStr::from_ptr(answer) };
        Some(answer.to_string_lossy().into_owned())
    }
}

fn done(call: &'static str, answer: Code) -> Result<(), Failure> {
    if answer == code::SUCCESS { Ok(()) } else { Err(Failure { call, code: Some(answer) }) }
}

/// Asks for the count, then for as many. A driver that then has fewer says so; one that says nothing twice
/// has nothing.
fn enumerate<T: Copy>(
    call: &'static str,
    blank: T,
    mut ask: impl FnMut(*mut u32, *mut T) -> Code,
) -> Result<Vec<T>, Failure> {
    let mut count = 0;
    done(call, ask(&raw mut count, ptr::null_mut()))?;
    count = count.min(LIST_MAX);
    let room = count;
    let mut list = vec![blank; room as usize];
    if room > 0 {
        done(call, ask(&raw mut count, list.as_mut_ptr()))?;
    }
    list.truncate(count.min(room) as usize);
    Ok(list)
}
