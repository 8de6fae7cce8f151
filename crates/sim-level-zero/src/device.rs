//! Initialisation, and functions about a device as a whole.

use level_zero_sys::{
    CoreProperties, DeviceProperties, DeviceState, EccProperties, PciAddress, PciProperties, PciSpeed,
    PciState, PciStats, ProcessState,
    code::{self, Code},
    value as v,
};
use sim::{control::RecoveryAction, cycle::Channel, family::xpu::Gpu};

use sim_abi::{Items, text};

use crate::call::{Device, Driver, Handle, Out, entries, init, list, values};

/// `zeInit` as ze_api.h declares it.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn zeInit(_flags: u32) -> Code {
    init("zeInit")
}

/// `zesInit` as zes_api.h declares it.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn zesInit(flags: u32) -> Code {
    if flags == 0 { init("zesInit") } else { code::INVALID_ARGUMENT }
}

entries! {
    pub(crate) fn zeDriverGet(_call, count: Out<u32>, drivers: Items<Handle>) {
        list(count, drivers, Driver::handles(0, 1))
    }

    pub(crate) fn zesDriverGet(_call, count: Out<u32>, drivers: Items<Handle>) {
        list(count, drivers, Driver::handles(0, 1))
    }

    pub(crate) fn zeDeviceGet(call, _driver: Handle, count: Out<u32>, devices: Items<Handle>) {
        list(count, devices, call.moment.present().flat_map(|device| Device::handles(device, 1)))
    }

    pub(crate) fn zesDeviceGet(call, _driver: Handle, count: Out<u32>, devices: Items<Handle>) {
        list(count, devices, call.moment.present().flat_map(|device| Device::handles(device, 1)))
    }

    pub(crate) fn zesDeviceProcessesGetState(
        call, device: Device, count: Out<u32>, processes: Items<ProcessState>,
    ) {
        let gpu = device.gpu(call)?;
        list(count, processes, gpu.device.processes().map(|process| ProcessState {
            process: process.id,
            memory: process.memory_bytes,
            engines: 1 << 1,
            ..ProcessState::default()
        }))
    }
}

/// `zeDriverGetApiVersion` as ze_api.h declares it: 1.4, as the loader of Debian 12, initialised or not.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn zeDriverGetApiVersion(_driver: Handle, version: *mut u32) -> Code {
    // SAFETY: the caller passes what the header declares.
    let Some(version) = (unsafe { version.as_mut() }) else { return code::INVALID_NULL_POINTER };
    *version = 0x0001_0004;
    code::SUCCESS
}

values! {
    zeDeviceGetProperties(Device, CoreProperties) = |gpu, _part, out, _garbage| {
        core(gpu, out);
        Ok(())
    };
    zesDeviceGetProperties(Device, DeviceProperties) = |gpu, _part, out, _garbage| {
        let facts = gpu.device.facts();
        core(gpu, &mut out.core);
        out.subdevices = if gpu.facts.tiles > 1 { gpu.facts.tiles } else { 0 };
        let brand = format!("accelsim:{}", gpu.machine);
        let serial = if facts.first_serial == 0 { "unknown".to_owned() } else { gpu.device.serial() };
        out.serial = text(&serial);
        out.board = text("unknown");
        out.brand = text(&brand);
        out.model = text(&facts.name);
        out.vendor = text("Intel(R) Corporation");
        // The driver reports the module's source hash, which is no version.
        out.driver = text("6B0C0E5B1F2D3A4C5E6F708");
        Ok(())
    };
    zesDeviceGetState(Device, DeviceState) = |gpu, _part, out, _garbage| {
        out.reset = match gpu.device.standing().recovery {
            RecoveryAction::None => 0,
            RecoveryAction::Reset => v::RESET_WEDGED,
            _ => v::RESET_REPAIR,
        };
        out.repaired = 0;
        Ok(())
    };
    zesDevicePciGetProperties(Device, PciProperties) = |gpu, _part, out, _garbage| {
        let (domain, bus, device) = gpu.device.pci_numbers();
        out.address = PciAddress { domain, bus, device, function: 0 };
        out.max_speed = if gpu.facts.integrated { unknown_speed() } else { speed(gpu) };
        out.has_bandwidth = u8::from(!gpu.facts.integrated);
        out.has_packets = out.has_bandwidth;
        out.has_replays = 0;
        Ok(())
    };
    zesDevicePciGetState(Device, PciState) = |gpu, _part, out, _garbage| {
        if gpu.facts.integrated {
            return Err(code::UNSUPPORTED_FEATURE);
        }
        out.status = 1;
        out.speed = speed(gpu);
        Ok(())
    };
    zesDevicePciGetStats(Device, PciStats) = |gpu, _part, out, garbage| {
        if gpu.facts.integrated {
            return Err(code::UNSUPPORTED_FEATURE);
        }
        out.timestamp = (gpu.uptime_seconds * 1e6) as u64;
        out.received = gpu.device.total(Channel::PcieReceive) as u64;
        out.transmitted = gpu.device.total(Channel::PcieTransmit) as u64;
        out.speed = unknown_speed();
        if garbage.is_some() {
            // A carry between the reads of the two words.
            out.received ^= u64::from(torn()) << 32;
        }
        Ok(())
    };
    zesDeviceGetEccState(Device, EccProperties) = |gpu, _part, out, _garbage| {
        if !gpu.facts.ras {
            return Err(code::UNSUPPORTED_FEATURE);
        }
        out.current = v::ECC_ENABLED;
        out.pending = v::ECC_ENABLED;
        Ok(())
    };
    zesDeviceEccAvailable(Device, u8) = |gpu, _part, out, _garbage| {
        *out = u8::from(gpu.facts.ras);
        Ok(())
    };
    zesDeviceEccConfigurable(Device, u8) = |gpu, _part, out, _garbage| {
        *out = u8::from(gpu.facts.ras);
        Ok(())
    };
}

fn core(gpu: &Gpu<'_>, out: &mut CoreProperties) {
    let facts = gpu.device.facts();
    out.kind = v::DEVICE_GPU;
    out.vendor_id = facts.pci_device_id & 0xffff;
    out.device_id = facts.pci_device_id >> 16;
    out.flags = if gpu.facts.integrated { v::DEVICE_INTEGRATED } else { 0 };
    out.core_clock_megahertz = facts.clocks.core_max_megahertz as u32;
    out.slices = 1;
    for (byte, hex) in out.uuid.iter_mut().zip(hex_bytes(gpu.device.uuid())) {
        *byte = hex;
    }
    out.name = text(&facts.name);
}

fn hex_bytes(uuid: &str) -> impl Iterator<Item = u8> {
    let digits: Vec<u8> = uuid.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    (0..digits.len() / 2).map(move |place| digits[2 * place] << 4 | digits[2 * place + 1])
}

fn speed(gpu: &Gpu<'_>) -> PciSpeed {
    let pcie = &gpu.device.facts().pcie;
    PciSpeed {
        generation: pcie.generation.cast_signed(),
        width: pcie.width.cast_signed(),
        max_bandwidth: pcie.bytes_per_second() as i64,
    }
}

fn unknown_speed() -> PciSpeed {
    PciSpeed { generation: -1, width: -1, max_bandwidth: -1 }
}

/// Every third reading is torn, so that two in a row agree now and then.
fn torn() -> bool {
    use std::sync::atomic::{AtomicU32, Ordering};
    static READINGS: AtomicU32 = AtomicU32::new(0);
    READINGS.fetch_add(1, Ordering::Relaxed).is_multiple_of(3)
}
