//! The functions, looked up one by one in the loader. Methods convert C's counts and out-parameters to values
//! and lists.

use std::{
    ffi::{OsStr, c_void},
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
        PowerDomain, PowerLimit, PowerProperties, ProcessState, RasProperties, RasState,
        TemperatureProperties, ThrottleTime,
    },
    value,
};

/// The environment variable that makes `zeInit` of an older loader initialise Sysman too.
pub const SYSMAN_VARIABLE: &str = "ZES_ENABLE_SYSMAN";

/// Upper bound of a list: a driver may report any count, and no device has more elements than this.
const LIST_MAX: u32 = 256;
/// Upper bound of a list of processes.
const PROCESSES_MAX: u32 = 65_536;

/// Why a call returned no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The name of the function.
    pub call: &'static str,
    /// What went wrong.
    pub why: Why,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The loader does not have the function.
    Missing,
    /// It returned this code.
    Returned(Code),
    /// It has a list of more elements than a device can have.
    TooMany(u32),
}

/// Why Level Zero cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The loader could not be opened; the message of the dynamic loader.
    Library(String),
    /// The loader has neither `zesInit` nor `zeInit`.
    Incomplete,
    /// Initialisation failed.
    Failed(Failure),
}

/// The function by which Sysman was initialised. Handles of the two are never mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitFunction {
    /// `zesInit` (specification 1.5).
    Sysman,
    /// `zeInit` with [`SYSMAN_VARIABLE`] in the environment; its handles are cast.
    Core,
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(*mut c_void);

        // SAFETY: an opaque handle that any thread may use; the driver owns and locks the object behind it.
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

/// Prototype of `zesInit` and `zeInit`.
type Init = unsafe extern "C" fn(flags: u32) -> Code;
/// Prototype of a function that lists the top-level handles.
type ListAll<T> = unsafe extern "C" fn(count: *mut u32, list: *mut T) -> Code;
/// Prototype of a function that lists the handles below a handle.
type List<H, T> = unsafe extern "C" fn(handle: H, count: *mut u32, list: *mut T) -> Code;
/// Prototype of a function that fills one struct or number.
type Get<H, T> = unsafe extern "C" fn(handle: H, value: *mut T) -> Code;

/// Returns the address of a function, if the library has it.
///
/// # Safety
/// `T` must be the type that the header declares for `name`.
unsafe fn symbol<T: Copy>(library: &Library, name: &str) -> Option<T> {
    // SAFETY: the caller guarantees it.
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
                    let function = self.functions.$list.ok_or(Failure { call: CALL, why: Why::Missing })?;
                    enumerate(CALL, |count, list: *mut $listed| {
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
                    let function = self.functions.$value.ok_or(Failure { call: CALL, why: Why::Missing })?;
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

/// A temperature, °C. It is no number before the driver writes it: 0 would be a reading.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Celsius(pub f64);

impl Default for Celsius {
    fn default() -> Self {
        Self(f64::NAN)
    }
}

/// An element of a list.
trait Element: Copy {
    /// The most that a device can have.
    const MAX: u32 = LIST_MAX;

    /// Its value before the driver fills it.
    fn blank() -> Self;
}

macro_rules! handles_are_elements {
    ($($name:ident),*) => {$(impl Element for $name { fn blank() -> Self { Self(ptr::null_mut()) } })*};
}
handles_are_elements!(Driver, Device, Engine, Memory, Power, Temperature, Frequency, Fan, Ras, FabricPort);

impl Element for PowerLimit {
    fn blank() -> Self {
        Self::default()
    }
}

impl Element for ProcessState {
    const MAX: u32 = PROCESSES_MAX;

    fn blank() -> Self {
        Self::default()
    }
}

calls! {
    lists {
        /// Returns the engine groups; empty without root on current drivers.
        engines = zesDeviceEnumEngineGroups: Device => Engine;
        /// Returns the memory modules.
        memories = zesDeviceEnumMemoryModules: Device => Memory;
        /// Returns the power domains.
        powers = zesDeviceEnumPowerDomains: Device => Power;
        /// Returns the temperature sensors.
        temperatures = zesDeviceEnumTemperatureSensors: Device => Temperature;
        /// Returns the clock domains.
        frequencies = zesDeviceEnumFrequencyDomains: Device => Frequency;
        /// Returns the fans.
        fans = zesDeviceEnumFans: Device => Fan;
        /// Returns the error sets.
        ras_sets = zesDeviceEnumRasErrorSets: Device => Ras;
        /// Returns the fabric ports.
        ports = zesDeviceEnumFabricPorts: Device => FabricPort;
        /// Returns the limits of a power domain.
        power_limits = zesPowerGetLimitsExt: Power => PowerLimit;
        /// Returns the processes that have the device open; those of other users to root alone.
        processes = zesDeviceProcessesGetState: Device => ProcessState;
    }
    values {
        /// Returns the properties of the device.
        device_properties = zesDeviceGetProperties: Device => DeviceProperties;
        /// Returns whether the device must be reset.
        device_state = zesDeviceGetState: Device => DeviceState;
        /// Returns the PCI address and limits of the device.
        pci_properties = zesDevicePciGetProperties: Device => PciProperties;
        /// Returns the state of the PCIe link.
        pci_state = zesDevicePciGetState: Device => PciState;
        /// Returns the traffic counters of the PCIe link.
        pci_stats = zesDevicePciGetStats: Device => PciStats;
        /// Returns the ECC state of the device memory.
        ecc_state = zesDeviceGetEccState: Device => EccProperties;
        /// Returns the properties of an engine group.
        engine_properties = zesEngineGetProperties: Engine => EngineProperties;
        /// Returns the busy time of an engine group.
        engine_activity = zesEngineGetActivity: Engine => EngineStats;
        /// Returns the properties of a memory module.
        memory_properties = zesMemoryGetProperties: Memory => MemoryProperties;
        /// Returns the free and total size of a memory module.
        memory_state = zesMemoryGetState: Memory => MemoryState;
        /// Returns the read and write traffic of a memory module.
        memory_bandwidth = zesMemoryGetBandwidth: Memory => MemoryBandwidth;
        /// Returns the energy of a power domain.
        energy = zesPowerGetEnergyCounter: Power => EnergyCounter;
        /// Returns the properties of a temperature sensor.
        temperature_properties = zesTemperatureGetProperties: Temperature => TemperatureProperties;
        /// Returns the temperature of a sensor, °C.
        temperature = zesTemperatureGetState: Temperature => Celsius;
        /// Returns the properties of a clock domain.
        frequency_properties = zesFrequencyGetProperties: Frequency => FrequencyProperties;
        /// Returns the clock of a domain and its throttle reasons.
        frequency_state = zesFrequencyGetState: Frequency => FrequencyState;
        /// Returns for how long a domain was throttled.
        throttle_time = zesFrequencyGetThrottleTime: Frequency => ThrottleTime;
        /// Returns the properties of a fan.
        fan_properties = zesFanGetProperties: Fan => FanProperties;
        /// Returns the properties of an error set.
        ras_properties = zesRasGetProperties: Ras => RasProperties;
        /// Returns the properties of a fabric port.
        port_properties = zesFabricPortGetProperties: FabricPort => PortProperties;
        /// Returns the state of a fabric port.
        port_state = zesFabricPortGetState: FabricPort => PortState;
        /// Returns the traffic counters of a fabric port.
        port_throughput = zesFabricPortGetThroughput: FabricPort => PortThroughput;
        /// Returns the error counters of a fabric port.
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

/// An initialised Level Zero loader.
pub struct LevelZero {
    functions: Functions,
    init_function: InitFunction,
}

impl LevelZero {
    /// Opens the loader at `path` and initialises Sysman: with `zesInit` if the loader has it, otherwise with
    /// `zeInit`, for which [`SYSMAN_VARIABLE`] must already be in the environment.
    ///
    /// # Errors
    /// The loader is missing, is not a Level Zero loader, or does not find a driver.
    pub fn open(path: &OsStr) -> Result<Self, OpenError> {
        // SAFETY: loading runs the library's constructors; those of a Level Zero loader may run at any time.
        let library = unsafe { Library::new(path) }.map_err(|error| OpenError::Library(error.to_string()))?;
        // Never closed: the driver's threads and the handles outlive every session.
        let library = ManuallyDrop::new(library);
        let functions = Functions::open(&library);
        let modern =
            functions.zes_init.filter(|_| functions.zes_drivers.is_some() && functions.zes_devices.is_some());
        let (init_function, call, init) = match (modern, functions.ze_init) {
            (Some(init), _) => (InitFunction::Sysman, "zesInit", init),
            (None, Some(init)) => (InitFunction::Core, "zeInit", init),
            (None, None) => return Err(OpenError::Incomplete),
        };
        // SAFETY: the header's prototype; no flag is defined for Sysman, and 0 is every kind of device for
        // core.
        done(call, unsafe { init(0) }).map_err(OpenError::Failed)?;
        Ok(Self { functions, init_function })
    }

    /// Returns the function by which Sysman was initialised.
    pub fn init_function(&self) -> InitFunction {
        self.init_function
    }

    /// Returns every device of every driver.
    ///
    /// # Errors
    /// Those of the functions that list drivers and devices.
    pub fn devices(&self) -> Result<Vec<Device>, Failure> {
        let functions = &self.functions;
        let (drivers_call, drivers, devices_call, devices) = match self.init_function {
            InitFunction::Sysman => {
                ("zesDriverGet", functions.zes_drivers, "zesDeviceGet", functions.zes_devices)
            }
            InitFunction::Core => ("zeDriverGet", functions.ze_drivers, "zeDeviceGet", functions.ze_devices),
        };
        let drivers = drivers.ok_or(Failure { call: drivers_call, why: Why::Missing })?;
        let devices = devices.ok_or(Failure { call: devices_call, why: Why::Missing })?;
        let found = enumerate(drivers_call, |count, list: *mut Driver| {
            // SAFETY: the header's prototype, and `list` is null or has room for `count` handles.
            unsafe { drivers(count, list) }
        })?;
        let mut all = Vec::new();
        for driver in found {
            all.extend(enumerate(devices_call, |count, list: *mut Device| {
                // SAFETY: as above, and the driver comes from enumeration.
                unsafe { devices(driver, count, list) }
            })?);
        }
        Ok(all)
    }

    /// Returns the properties of a power domain, and which domain it is (0 if the driver does not report it).
    ///
    /// # Errors
    /// Those of `zesPowerGetProperties`.
    pub fn power_properties(&self, power: Power) -> Result<(PowerProperties, u32), Failure> {
        const CALL: &str = "zesPowerGetProperties";
        let function =
            self.functions.get_power_properties.ok_or(Failure { call: CALL, why: Why::Missing })?;
        let mut domain = PowerDomain::default();
        let mut properties = PowerProperties { next: (&raw mut domain).cast(), ..PowerProperties::default() };
        // SAFETY: the header's prototype; the chained struct lives as long as the call and has its tag, and
        // its pointer is null, which means that the default limit is not requested.
        done(CALL, unsafe { function(power, &raw mut properties) })?;
        properties.next = ptr::null_mut();
        Ok((properties, domain.domain))
    }

    /// Returns the speed of a fan in `units` ([`value::FAN_RPM`] or [`value::FAN_PERCENT`]); -1 is unknown.
    ///
    /// # Errors
    /// Those of `zesFanGetState`.
    pub fn fan_speed(&self, fan: Fan, units: u32) -> Result<i32, Failure> {
        const CALL: &str = "zesFanGetState";
        debug_assert!(units == value::FAN_RPM || units == value::FAN_PERCENT);
        let function = self.functions.get_fan_state.ok_or(Failure { call: CALL, why: Why::Missing })?;
        let mut speed = -1;
        // SAFETY: the header's prototype and a live number to fill.
        done(CALL, unsafe { function(fan, units, &raw mut speed) })?;
        Ok(speed)
    }

    /// Returns the errors by category. It never clears them, because other programs read them too.
    ///
    /// # Errors
    /// Those of `zesRasGetState`.
    pub fn ras_state(&self, set: Ras) -> Result<RasState, Failure> {
        const CALL: &str = "zesRasGetState";
        let function = self.functions.get_ras_state.ok_or(Failure { call: CALL, why: Why::Missing })?;
        let mut state = RasState::default();
        // SAFETY: the header's prototype and a live struct to fill; it is zero because drivers add to it.
        done(CALL, unsafe { function(set, 0, &raw mut state) })?;
        Ok(state)
    }
}

fn done(call: &'static str, answer: Code) -> Result<(), Failure> {
    if answer == code::SUCCESS { Ok(()) } else { Err(Failure { call, why: Why::Returned(answer) }) }
}

/// Reads the count, then that many elements, if there are no more than `T::MAX`. The driver may return fewer
/// the second time.
fn enumerate<T: Element>(
    call: &'static str,
    mut ask: impl FnMut(*mut u32, *mut T) -> Code,
) -> Result<Vec<T>, Failure> {
    let mut count = 0;
    done(call, ask(&raw mut count, ptr::null_mut()))?;
    if count > T::MAX {
        return Err(Failure { call, why: Why::TooMany(count) });
    }
    let room = count;
    let mut list = vec![T::blank(); room as usize];
    if room > 0 {
        done(call, ask(&raw mut count, list.as_mut_ptr()))?;
    }
    list.truncate(count.min(room) as usize);
    Ok(list)
}
