//! Sysman's structs in their C layout on 64-bit Linux, with a table of the layout for the tests.

use std::ffi::c_void;

/// An expression over `zes_api.h`, and the value that it has here.
pub type Fact = (&'static str, u64);

macro_rules! structs {
    ($($(#[$doc:meta])* $name:ident as $c:ident $([$stype:literal])? {
        $($field:ident as $member:ident: $type:ty,)*
    })*) => {
        $(
            $(#[$doc])*
            #[allow(missing_docs, reason = "the members are the header's, each beside its name there")]
            #[repr(C)]
            #[derive(Clone, Copy, Debug)]
            pub struct $name {
                $(
                    #[doc = concat!("Always ", stringify!($stype), ".")]
                    pub stype: u32,
                    /// The next struct of a chain, or null.
                    pub next: *mut c_void,
                )?
                $(pub $field: $type,)*
            }

            impl Default for $name {
                fn default() -> Self {
                    // SAFETY: only integers, floats and raw pointers, for which all bits zero is a value.
                    #[allow(unused_mut, reason = "some structs have no header")]
                    let mut zero: Self = unsafe { std::mem::zeroed() };
                    $(zero.stype = $stype;)?
                    zero
                }
            }
        )*

        /// Size and offsets of every struct.
        pub fn layouts() -> Vec<Fact> {
            vec![$(
                (concat!("sizeof(", stringify!($c), ")"), size_of::<$name>() as u64),
                $(
                    // The value only reports that the header exists.
                    ({ const _: u32 = $stype; concat!("offsetof(", stringify!($c), ", stype)") },
                     std::mem::offset_of!($name, stype) as u64),
                    (concat!("offsetof(", stringify!($c), ", pNext)"), std::mem::offset_of!($name, next) as u64),
                )?
                $((
                    concat!("offsetof(", stringify!($c), ", ", stringify!($member), ")"),
                    std::mem::offset_of!($name, $field) as u64,
                ),)*
            )*]
        }
    };
}

structs! {
    /// The core part of a device's properties.
    CoreProperties as ze_device_properties_t [0x3] {
        kind as type: u32,
        vendor_id as vendorId: u32,
        device_id as deviceId: u32,
        flags as flags: u32,
        subdevice_id as subdeviceId: u32,
        core_clock_megahertz as coreClockRate: u32,
        max_alloc_bytes as maxMemAllocSize: u64,
        max_contexts as maxHardwareContexts: u32,
        max_priority as maxCommandQueuePriority: u32,
        threads_per_eu as numThreadsPerEU: u32,
        simd_width as physicalEUSimdWidth: u32,
        eus_per_subslice as numEUsPerSubslice: u32,
        subslices_per_slice as numSubslicesPerSlice: u32,
        slices as numSlices: u32,
        timer_resolution as timerResolution: u64,
        timestamp_bits as timestampValidBits: u32,
        kernel_timestamp_bits as kernelTimestampValidBits: u32,
        uuid as uuid: [u8; 16],
        name as name: [u8; 256],
    }
    /// Properties of a device.
    DeviceProperties as zes_device_properties_t [0x1] {
        core as core: CoreProperties,
        subdevices as numSubdevices: u32,
        serial as serialNumber: [u8; 64],
        board as boardNumber: [u8; 64],
        brand as brandName: [u8; 64],
        model as modelName: [u8; 64],
        vendor as vendorName: [u8; 64],
        driver as driverVersion: [u8; 64],
    }
    /// Whether a device must be reset.
    DeviceState as zes_device_state_t [0x15] {
        reset as reset: u32,
        repaired as repaired: u32,
    }
    /// A process that uses a device; sizes in bytes.
    ProcessState as zes_process_state_t [0x16] {
        process as processId: u32,
        memory as memSize: u64,
        shared as sharedSize: u64,
        engines as engines: u32,
    }
    /// Address of a device on the PCI bus.
    PciAddress as zes_pci_address_t {
        domain as domain: u32,
        bus as bus: u32,
        device as device: u32,
        function as function: u32,
    }
    /// Speed of a PCIe link; -1 is unknown.
    PciSpeed as zes_pci_speed_t {
        generation as gen: i32,
        width as width: i32,
        max_bandwidth as maxBandwidth: i64,
    }
    /// Properties of a PCI function.
    PciProperties as zes_pci_properties_t [0x2] {
        address as address: PciAddress,
        max_speed as maxSpeed: PciSpeed,
        has_bandwidth as haveBandwidthCounters: u8,
        has_packets as havePacketCounters: u8,
        has_replays as haveReplayCounters: u8,
    }
    /// Current state of a PCIe link.
    PciState as zes_pci_state_t [0x17] {
        status as status: u32,
        quality as qualityIssues: u32,
        stability as stabilityIssues: u32,
        speed as speed: PciSpeed,
    }
    /// Traffic of a PCIe link; microseconds, bytes.
    PciStats as zes_pci_stats_t {
        timestamp as timestamp: u64,
        replays as replayCounter: u64,
        packets as packetCounter: u64,
        received as rxCounter: u64,
        transmitted as txCounter: u64,
        speed as speed: PciSpeed,
    }
    /// ECC state of the memory.
    EccProperties as zes_device_ecc_properties_t [0x26] {
        current as currentState: u32,
        pending as pendingState: u32,
        action as pendingAction: u32,
    }
    /// Properties of an engine group.
    EngineProperties as zes_engine_properties_t [0x5] {
        kind as type: u32,
        on_subdevice as onSubdevice: u8,
        subdevice as subdeviceId: u32,
    }
    /// Two counters in one unit; only the ratio of their differences has a meaning.
    EngineStats as zes_engine_stats_t {
        active as activeTime: u64,
        timestamp as timestamp: u64,
    }
    /// Identity of a port in its fabric.
    PortId as zes_fabric_port_id_t {
        fabric as fabricId: u32,
        attach as attachId: u32,
        port as portNumber: u8,
    }
    /// Speed of a port: bits per second and lane, lanes.
    PortSpeed as zes_fabric_port_speed_t {
        bit_rate as bitRate: i64,
        width as width: i32,
    }
    /// Properties of a fabric port.
    PortProperties as zes_fabric_port_properties_t [0x6] {
        model as model: [u8; 256],
        on_subdevice as onSubdevice: u8,
        subdevice as subdeviceId: u32,
        id as portId: PortId,
        max_receive as maxRxSpeed: PortSpeed,
        max_transmit as maxTxSpeed: PortSpeed,
    }
    /// Current state of a fabric port.
    PortState as zes_fabric_port_state_t [0x19] {
        status as status: u32,
        quality as qualityIssues: u32,
        failures as failureReasons: u32,
        remote as remotePortId: PortId,
        receive as rxSpeed: PortSpeed,
        transmit as txSpeed: PortSpeed,
    }
    /// Traffic of a fabric port; microseconds, bytes.
    PortThroughput as zes_fabric_port_throughput_t {
        timestamp as timestamp: u64,
        received as rxCounter: u64,
        transmitted as txCounter: u64,
    }
    /// Errors of a fabric port.
    PortErrors as zes_fabric_port_error_counters_t [0x2a] {
        failures as linkFailureCount: u64,
        firmware_communication as fwCommErrorCount: u64,
        firmware as fwErrorCount: u64,
        degradations as linkDegradeCount: u64,
    }
    /// Properties of a fan.
    FanProperties as zes_fan_properties_t [0x7] {
        on_subdevice as onSubdevice: u8,
        subdevice as subdeviceId: u32,
        can_control as canControl: u8,
        modes as supportedModes: u32,
        units as supportedUnits: u32,
        max_rpm as maxRPM: i32,
        max_points as maxPoints: i32,
    }
    /// Properties of a clock domain; megahertz.
    FrequencyProperties as zes_freq_properties_t [0x9] {
        kind as type: u32,
        on_subdevice as onSubdevice: u8,
        subdevice as subdeviceId: u32,
        can_control as canControl: u8,
        throttle_event as isThrottleEventSupported: u8,
        min as min: f64,
        max as max: f64,
    }
    /// Limits of a clock domain; megahertz.
    FrequencyRange as zes_freq_range_t {
        min as min: f64,
        max as max: f64,
    }
    /// Current state of a clock domain; megahertz and volts, negative if unknown.
    FrequencyState as zes_freq_state_t [0x1b] {
        voltage as currentVoltage: f64,
        request as request: f64,
        tdp as tdp: f64,
        efficient as efficient: f64,
        actual as actual: f64,
        throttle as throttleReasons: u32,
    }
    /// For how long a clock domain was throttled; microseconds.
    ThrottleTime as zes_freq_throttle_time_t {
        throttled as throttleTime: u64,
        timestamp as timestamp: u64,
    }
    /// Properties of a memory module.
    MemoryProperties as zes_mem_properties_t [0xb] {
        kind as type: u32,
        on_subdevice as onSubdevice: u8,
        subdevice as subdeviceId: u32,
        location as location: u32,
        physical_bytes as physicalSize: u64,
        bus_width as busWidth: i32,
        channels as numChannels: i32,
    }
    /// Current state of a memory module; bytes.
    MemoryState as zes_mem_state_t [0x1e] {
        health as health: u32,
        free as free: u64,
        size as size: u64,
    }
    /// Traffic of a memory module; bytes, bytes per second, microseconds.
    MemoryBandwidth as zes_mem_bandwidth_t {
        read as readCounter: u64,
        written as writeCounter: u64,
        max as maxBandwidth: u64,
        timestamp as timestamp: u64,
    }
    /// Properties of a power domain; milliwatts, -1 if unknown.
    PowerProperties as zes_power_properties_t [0xd] {
        on_subdevice as onSubdevice: u8,
        subdevice as subdeviceId: u32,
        can_control as canControl: u8,
        threshold_supported as isEnergyThresholdSupported: u8,
        default_limit as defaultLimit: i32,
        min_limit as minLimit: i32,
        max_limit as maxLimit: i32,
    }
    /// Energy of a power domain; microjoules, microseconds.
    EnergyCounter as zes_power_energy_counter_t {
        energy as energy: u64,
        timestamp as timestamp: u64,
    }
    /// One power limit.
    PowerLimit as zes_power_limit_ext_desc_t [0x27] {
        level as level: u32,
        source as source: u32,
        unit as limitUnit: u32,
        enabled_locked as enabledStateLocked: u8,
        enabled as enabled: u8,
        interval_locked as intervalValueLocked: u8,
        interval as interval: i32,
        limit_locked as limitValueLocked: u8,
        limit as limit: i32,
    }
    /// Identifies a power domain; chained to [`PowerProperties`].
    PowerDomain as zes_power_ext_properties_t [0x28] {
        domain as domain: u32,
        default_limit as defaultLimit: *mut PowerLimit,
    }
    /// Properties of an error set.
    RasProperties as zes_ras_properties_t [0xf] {
        kind as type: u32,
        on_subdevice as onSubdevice: u8,
        subdevice as subdeviceId: u32,
    }
    /// Errors by category. A driver adds to the values in the struct, so they must be zero before the call.
    RasState as zes_ras_state_t [0x22] {
        category as category: [u64; 7],
    }
    /// Properties of a temperature sensor.
    TemperatureProperties as zes_temp_properties_t [0x14] {
        kind as type: u32,
        on_subdevice as onSubdevice: u8,
        subdevice as subdeviceId: u32,
        max as maxTemperature: f64,
        critical_supported as isCriticalTempSupported: u8,
        threshold1_supported as isThreshold1Supported: u8,
        threshold2_supported as isThreshold2Supported: u8,
    }
}

/// Returns the text of a fixed array: up to the first NUL, without surrounding white space.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::layouts;

    /// Members that Debian 12's header does not have, from `zes_api.h` of specification 1.17.
    #[test]
    fn newer_structs_are_laid_out_as_their_header_says() {
        let newer = "zes_fabric_port_error_counters_t";
        let facts: Vec<_> =
            layouts().into_iter().filter(|(expression, _)| expression.contains(newer)).collect();
        let expected = [
            ("sizeof(zes_fabric_port_error_counters_t)", 48),
            ("offsetof(zes_fabric_port_error_counters_t, stype)", 0),
            ("offsetof(zes_fabric_port_error_counters_t, pNext)", 8),
            ("offsetof(zes_fabric_port_error_counters_t, linkFailureCount)", 16),
            ("offsetof(zes_fabric_port_error_counters_t, fwCommErrorCount)", 24),
            ("offsetof(zes_fabric_port_error_counters_t, fwErrorCount)", 32),
            ("offsetof(zes_fabric_port_error_counters_t, linkDegradeCount)", 40),
        ];
        assert_eq!(facts, expected);
    }
}
