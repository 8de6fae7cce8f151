//! What changes rarely, or need not be known at once, and is therefore read once in a while: repairs, places of
//! errors, limits, the board's place in its rack, power profiles, and the fields of [`fields::rarely`].

use std::ptr;

use nvml_wrapper_sys::bindings::{
    nvmlEccSramUniqueUncorrectedErrorCounts_t, nvmlPlatformInfo_v2_t, nvmlRepairStatus_t,
    nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_GPU_MAX as GPU_MAX,
    nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_MEM_MAX as MEMORY_MAX,
    nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_SHUTDOWN as SHUTDOWN,
    nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_SLOWDOWN as SLOWDOWN,
    nvmlWorkloadPowerProfileCurrentProfiles_t,
};
use reading::{Absence, Fault, FaultCode, Measured};

use super::{
    FieldKey, FieldValues, Gpu, INSUFFICIENT_SIZE, call, celsius, fields,
    plausible::{self, Number as _, numbers},
    struct_version,
};

/// The limits of [`Rare::margin_limits_c`] and [`Rare::thresholds_c`]: as a margin, and as a temperature.
const LIMITS: [(FieldKey, u32); 4] = [
    (fields::NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT, SLOWDOWN),
    (fields::NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT, SHUTDOWN),
    (fields::NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT, GPU_MAX),
    (fields::NVML_FI_DEV_TEMPERATURE_MEM_MAX_TLIMIT, MEMORY_MAX),
];

/// What the last reading returned.
pub struct Rare {
    /// Field values.
    pub fields: FieldValues,
    /// Margins at which something happens: slowdown, shutdown, GPU and memory past their operating range.
    pub margin_limits_c: [Measured<i32>; 4],
    /// Temperatures at which the same happens; of the GPU only where it has no such margin.
    pub thresholds_c: [Measured<u32>; 4],
    /// Whether a repair waits for a reset: of a memory channel, of a TPC.
    pub repair_pending: Measured<[bool; 2]>,
    /// Whether memory is defective for good.
    pub unrepairable: Measured<bool>,
    /// Places in on-chip memory with uncorrectable errors.
    pub sram_locations: Measured<u32>,
    /// Place in the rack.
    pub platform: Measured<Platform>,
    /// Power profiles.
    pub profiles: Measured<Profiles>,
    /// Seconds since the driver initialised the board.
    pub uptime_s: Measured<u32>,
}

/// A board's place in its rack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// InfiniBand GUID; empty where there is none.
    pub ib_guid: Vec<u8>,
    /// Serial number of the chassis; empty where there is none.
    pub chassis_serial: String,
    /// Slot in the chassis, tray, host, module on the host, kind of NVLink peer.
    pub numbers: [u8; 5],
}

/// Masks of power profiles, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profiles {
    /// Those that the board has.
    pub supported: u32,
    /// Those that are asked for.
    pub requested: u32,
    /// Those in force.
    pub enforced: u32,
}

impl Rare {
    /// Nothing is read yet.
    pub fn new(gpu: &Gpu, links: u32, c2c_links: u32) -> Self {
        const NOT_YET: Fault = Fault::new("nvmlDeviceGetFieldValues", FaultCode::FirstReading);
        Self {
            fields: FieldValues::rarely(gpu, links, c2c_links),
            margin_limits_c: [Err(NOT_YET); 4],
            thresholds_c: [Err(NOT_YET); 4],
            repair_pending: Err(NOT_YET),
            unrepairable: Err(NOT_YET),
            sram_locations: Err(NOT_YET),
            platform: Err(NOT_YET),
            profiles: Err(NOT_YET),
            uptime_s: Err(NOT_YET),
        }
    }

    /// Reads everything.
    pub fn read(&mut self, gpu: &Gpu) {
        const UNREPAIRABLE: &str = "nvmlDeviceGetUnrepairableMemoryFlag_v1";
        const UPTIME: &str = "nvmlDeviceGetGpuUptime_v1";
        self.fields.read(gpu);
        for (place, (field, threshold)) in LIMITS.into_iter().enumerate() {
            let margin = self.fields.celsius(field);
            self.margin_limits_c[place] = margin;
            // nvml.h: the call is not the preferred one from Ada on, which has the margins. They count from the
            // GPU's own limit, so they do not say where the memory's is.
            let is_successor = threshold != MEMORY_MAX
                && margin.err().is_none_or(|fault| fault.absence != Absence::Unsupported);
            self.thresholds_c[place] = if is_successor {
                Err(Fault::new(field.name(), FaultCode::NotAsked))
            } else {
                celsius!(gpu, nvmlDeviceGetTemperatureThreshold, threshold)
            };
        }
        self.repair_pending = repair_pending(gpu);
        let mut flag = u32::BLANK;
        self.unrepairable =
            call!(gpu.library().newer(), nvmlDeviceGetUnrepairableMemoryFlag_v1(gpu.handle(), &raw mut flag))
                .and_then(|()| plausible::switch(UNREPAIRABLE, flag.checked(UNREPAIRABLE)?));
        self.sram_locations = sram_locations(gpu);
        self.platform = platform(gpu);
        self.profiles = profiles(gpu);
        let mut seconds = u32::BLANK;
        self.uptime_s =
            call!(gpu.library().newer(), nvmlDeviceGetGpuUptime_v1(gpu.handle(), &raw mut seconds))
                .and_then(|()| seconds.checked(UPTIME));
    }
}

fn repair_pending(gpu: &Gpu) -> Measured<[bool; 2]> {
    const CALL: &str = "nvmlDeviceGetRepairStatus";
    let mut status = nvmlRepairStatus_t {
        version: struct_version::<nvmlRepairStatus_t>(1),
        bChannelRepairPending: u32::BLANK,
        bTpcRepairPending: u32::BLANK,
    };
    call!(gpu.library(), nvmlDeviceGetRepairStatus(gpu.handle(), &raw mut status))?;
    let flags = [status.bChannelRepairPending, status.bTpcRepairPending];
    let [channel, tpc] = numbers(CALL, flags)?;
    Ok([plausible::switch(CALL, channel)?, plausible::switch(CALL, tpc)?])
}

/// Without a buffer for the places the call only counts them.
fn sram_locations(gpu: &Gpu) -> Measured<u32> {
    const CALL: &str = "nvmlDeviceGetSramUniqueUncorrectedEccErrorCounts";
    let mut counts = nvmlEccSramUniqueUncorrectedErrorCounts_t {
        version: struct_version::<nvmlEccSramUniqueUncorrectedErrorCounts_t>(1),
        entryCount: 0,
        entries: ptr::null_mut(),
    };
    let counted =
        call!(gpu.library(), nvmlDeviceGetSramUniqueUncorrectedEccErrorCounts(gpu.handle(), &raw mut counts));
    match counted {
        Err(fault) if fault.code != INSUFFICIENT_SIZE => Err(fault),
        _ => counts.entryCount.checked(CALL),
    }
}

fn platform(gpu: &Gpu) -> Measured<Platform> {
    // SAFETY: integers and byte arrays only: all-zero bytes are valid.
    let mut info: nvmlPlatformInfo_v2_t = unsafe { std::mem::zeroed() };
    info.version = struct_version::<nvmlPlatformInfo_v2_t>(2);
    call!(gpu.library(), nvmlDeviceGetPlatformInfo(gpu.handle(), &raw mut info))?;
    // Blackwell uses 8 bytes of the GUID and 13 of the serial number, and leaves the others zero.
    let guid_length = info.ibGuid.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.max(7) + 1);
    let serial = info.chassisSerialNumber.iter().take_while(|byte| byte.is_ascii_graphic());
    Ok(Platform {
        ib_guid: info.ibGuid[..guid_length].to_vec(),
        chassis_serial: serial.map(|byte| char::from(*byte)).collect(),
        numbers: [info.slotNumber, info.trayIndex, info.hostId, info.moduleId, info.peerType],
    })
}

fn profiles(gpu: &Gpu) -> Measured<Profiles> {
    // SAFETY: integers and arrays of them only: all-zero bytes are valid.
    let mut current: nvmlWorkloadPowerProfileCurrentProfiles_t = unsafe { std::mem::zeroed() };
    current.version = struct_version::<nvmlWorkloadPowerProfileCurrentProfiles_t>(1);
    call!(gpu.library(), nvmlDeviceWorkloadPowerProfileGetCurrentProfiles(gpu.handle(), &raw mut current))?;
    // nvml.h knows 25 profiles, which are in the first of the masks' eight words.
    Ok(Profiles {
        supported: current.perfProfilesMask.mask[0],
        requested: current.requestedProfilesMask.mask[0],
        enforced: current.enforcedProfilesMask.mask[0],
    })
}
