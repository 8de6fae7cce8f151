//! Functions about one device.

use std::ffi::{c_int, c_uint, c_ulonglong, c_void};
use std::thread::sleep;
use std::time::Duration;

use hlml_sys::{Return, constants as hlml, layout};
use sim::control::{Garbage, Scope, Severity};
use sim::cycle::Channel;
use sim::family::gaudi::Hpu;

use crate::args::{Device, Member, Out, Struct};
use crate::call::{Call, HlmlCall as _, Result, entries, readings, texts};

texts! {
    hlml_device_get_name = |hpu| hpu.device().facts().name;
    hlml_get_model_number = |hpu| hpu.device().facts().name;
    hlml_device_get_uuid = |hpu| hpu.uuid();
    hlml_device_get_serial = |hpu| hpu.serial();
    hlml_get_serial_number = |hpu| hpu.serial();
    hlml_get_firmware_fit_version = |hpu| hpu.facts().fit_version;
    hlml_get_firmware_spi_version = |hpu| hpu.facts().spi_version;
    hlml_get_fw_boot_version = |hpu| hpu.facts().fit_version;
    hlml_get_fw_os_version = |hpu| hpu.facts().spi_version;
    hlml_get_cpld_version = |hpu| hpu.facts().cpld_version;
    hlml_device_get_oper_status = |hpu| hpu.status();
}

readings! {
    hlml_device_get_minor_number: c_uint = |hpu| Ok(hpu.device().index() as c_uint);
    hlml_device_get_module_id: c_uint = |hpu| hpu.device().module_id().ok_or(Return::NotSupported);
    hlml_device_get_board_id: c_uint = |hpu| Ok(hpu.device().index() as c_uint);
    hlml_device_get_performance_state: c_uint = |hpu| Ok(performance_state(&hpu));
    hlml_device_get_power_usage: c_uint = |hpu| Ok(milliwatts(hpu.device().power_mean_watts()));
    hlml_device_get_power_management_mode: c_uint = |_hpu| Ok(1);
    hlml_device_get_power_management_limit: c_uint =
        |hpu| Ok(milliwatts(hpu.device().facts().power.limit_watts));
    hlml_device_get_power_management_default_limit: c_uint =
        |hpu| Ok(milliwatts(hpu.device().facts().power.limit_max_watts));
    hlml_device_get_total_energy_consumption: c_ulonglong =
        |hpu| Ok((hpu.device().energy_joules() * 1e3) as c_ulonglong);
    hlml_device_get_current_clocks_throttle_reasons: c_ulonglong = |hpu| Ok(hpu.throttle_reasons());
    hlml_device_get_pcie_replay_counter: c_uint = |hpu| Ok(hpu.device().pcie_replays() as c_uint);
    hlml_device_get_curr_pcie_link_generation: c_uint = |hpu| Ok(hpu.device().facts().pcie.generation);
    hlml_device_get_curr_pcie_link_width: c_uint = |hpu| Ok(hpu.device().facts().pcie.width);
    hlml_device_get_replaced_rows_pending_status: c_uint =
        |hpu| Ok(c_uint::from(hpu.device().standing().rows.pending));
}

fn milliwatts(watts: f64) -> c_uint {
    (watts * 1e3) as c_uint
}

fn performance_state(hpu: &Hpu<'_>) -> c_uint {
    if hpu.device().is_active(Channel::Idle) { hpu.facts().idle_performance_state } else { 0 }
}

/// The only clock of a Gaudi.
fn soc(clock: c_uint) -> Result {
    match clock {
        hlml::CLOCK_SOC => Ok(()),
        1..=3 => Err(Return::NotSupported),
        _ => Err(Return::InvalidArgument),
    }
}

entries! {
    fn hlml_device_get_clock_info(call, device: Device, clock: c_uint, megahertz: Out<c_uint>) {
        soc(clock)?;
        megahertz.set(call, call.hpu(device.0)?.device().sm_clock_megahertz())
    }

    fn hlml_device_get_max_clock_info(call, device: Device, clock: c_uint, megahertz: Out<c_uint>) {
        soc(clock)?;
        megahertz.set(call, call.hpu(device.0)?.device().facts().clocks.core_max_megahertz as c_uint)
    }

    fn hlml_device_get_clock_limit_info(call, device: Device, clock: c_uint, megahertz: Out<c_uint>) {
        soc(clock)?;
        megahertz.set(call, call.hpu(device.0)?.device().facts().clocks.core_max_megahertz as c_uint)
    }

    fn hlml_device_get_utilization_rates(call, device: Device, rates: Struct) {
        let hpu = call.hpu(device.0)?;
        let memory = hpu.device().memory_bytes();
        let used_percent = memory.used * 100 / memory.total;
        rates.set(call, call.generation()?.utilization(), &[
            ("aip", Member::Number(hpu.utilization_percent().into())),
            ("memory", Member::Number(used_percent)),
        ])
    }

    fn hlml_device_get_process_utilization(call, device: Device, percent: Out<c_uint>) {
        percent.set(call, call.hpu(device.0)?.utilization_percent())
    }

    fn hlml_device_get_memory_info(call, device: Device, info: Struct) {
        // What driver and firmware keep counts as used.
        let memory = call.hpu(device.0)?.device().memory_bytes();
        info.set(call, &layout::MEMORY, &[
            ("free", Member::Number(memory.free)),
            ("total", Member::Number(memory.total)),
            ("used", Member::Number(memory.used + memory.reserved)),
        ])
    }

    fn hlml_device_get_temperature(call, device: Device, sensor: c_uint, celsius: Out<c_uint>) {
        let hpu = call.hpu(device.0)?;
        let [first, second] = hpu.chip_millidegrees();
        let milli = match sensor {
            hlml::TEMPERATURE_ON_AIP => i64::max(first, second),
            hlml::TEMPERATURE_ON_BOARD => hpu.board_millidegrees(),
            hlml::TEMPERATURE_HBM => hpu.memory_millidegrees().ok_or(Return::NotSupported)?,
            2 | 4 | 5 => return Err(Return::NotSupported),
            _ => return Err(Return::InvalidArgument),
        };
        // The real one loses a label of lm-sensors in each call.
        std::mem::forget(vec![0xa5u8; hpu.facts().temperature_leak_bytes]);
        let hot = call.garbage == Some(Garbage::Hot);
        celsius.set(call, if hot { 255 } else { (milli / 1000) as c_uint })
    }

    fn hlml_device_get_temperature_threshold(call, device: Device, threshold: c_uint, celsius: Out<c_uint>) {
        let hpu = call.hpu(device.0)?;
        let thermal = &hpu.device().facts().thermal;
        let limit = match threshold {
            hlml::THRESHOLD_SHUTDOWN => thermal.shutdown_celsius,
            hlml::THRESHOLD_SLOWDOWN => thermal.slowdown_celsius,
            hlml::THRESHOLD_MEMORY => thermal.memory_max_celsius.ok_or(Return::NotSupported)?,
            hlml::THRESHOLD_GPU => thermal.gpu_max_celsius,
            _ => return Err(Return::InvalidArgument),
        };
        celsius.set(call, limit as c_uint)
    }

    fn hlml_device_get_power_management_limit_constraints(
        call, device: Device, lowest: Out<c_uint>, highest: Out<c_uint>,
    ) {
        let hpu = call.hpu(device.0)?;
        let power = &hpu.device().facts().power;
        lowest.set(call, milliwatts(power.limit_min_watts))?;
        highest.set(call, milliwatts(power.limit_max_watts))
    }

    fn hlml_device_get_supported_performance_states(
        _call, _device: Device, states: Out<c_uint>, length: c_uint,
    ) {
        // One state, then "unknown" to the end.
        (0..length as usize).try_for_each(|place| states.nth(place).put(if place == 0 { 0 } else { 32 }))
    }

    fn hlml_device_get_ecc_mode(call, _device: Device, current: Out<c_uint>, pending: Out<c_uint>) {
        current.set(call, 1)?;
        pending.set(call, 1)
    }

    fn hlml_device_get_total_ecc_errors(
        call, device: Device, kind: c_uint, counter: c_uint, count: Out<c_ulonglong>,
    ) {
        let errors = |scope| errors(call, device, kind, counter, scope);
        count.set(call, errors(Scope::Dram)? + errors(Scope::Sram)?)
    }

    fn hlml_device_get_memory_error_counter(
        call, device: Device, kind: c_uint, counter: c_uint, location: c_uint, count: Out<c_ulonglong>,
    ) {
        let errors = |scope| errors(call, device, kind, counter, scope);
        count.set(call, match location {
            hlml::LOCATION_SRAM => errors(Scope::Sram)?,
            1 => errors(Scope::Dram)?,
            2 => errors(Scope::Dram)? + errors(Scope::Sram)?,
            _ => return Err(Return::InvalidArgument),
        })
    }

    fn hlml_device_get_replaced_rows(
        call, device: Device, cause: c_uint, count: Out<c_uint>, _addresses: *mut c_void,
    ) {
        let rows = &call.hpu(device.0)?.device().standing().rows;
        count.set(call, match cause {
            hlml::ROWS_SINGLE_BIT => rows.correctable,
            hlml::ROWS_DOUBLE_BIT => rows.uncorrectable,
            _ => return Err(Return::InvalidArgument),
        })
    }

    fn hlml_device_get_pci_info(call, device: Device, info: Struct) {
        let hpu = call.hpu(device.0)?;
        let facts = hpu.device().facts();
        let (domain, bus, slot) = hpu.device().pci_numbers();
        let layout = call.generation()?.pci_info();
        // From 1.19 on domains have eight digits.
        let address = match layout.span("bus_id") {
            Some(span) if span.length > 15 => format!("0000{}", hpu.address()),
            _ => hpu.address(),
        };
        let speed = [2, 5, 8, 16, 32, 64].get(facts.pcie.generation.saturating_sub(1) as usize);
        let speed = || Member::Text(format!("{} GT/s", speed.unwrap_or(&0)));
        let width = || Member::Text(format!("x{}", facts.pcie.width));
        info.set(call, layout, &[
            ("bus", Member::Number(bus.into())),
            ("bus_id", Member::Text(address)),
            ("device", Member::Number(slot.into())),
            ("domain", Member::Number(domain.into())),
            ("pci_device_id", Member::Number(facts.pci_device_id.into())),
            ("caps.link_speed", speed()),
            ("caps.link_width", width()),
            ("caps.link_max_speed", speed()),
            ("caps.link_max_width", width()),
            ("pci_rev", Member::Number(1)),
            ("pci_subsys_id", Member::Number(facts.pci_subsystem_id.into())),
        ])
    }

    fn hlml_device_get_pcb_info(call, device: Device, info: Struct) {
        let hpu = call.hpu(device.0)?;
        info.set(call, &layout::PCB_INFO, &[
            ("pcb_ver", Member::Text(hpu.facts().pcb_version.clone())),
            ("pcb_assembly_ver", Member::Text(hpu.facts().pcb_assembly_version.clone())),
        ])
    }

    fn hlml_device_get_hl_revision(_call, _device: Device, revision: Out<c_int>) {
        revision.put(3)
    }

    fn hlml_device_get_pcie_throughput(call, device: Device, direction: c_uint, rate: Out<c_uint>) {
        let hpu = call.hpu(device.0)?;
        let channel = match direction {
            hlml::PCIE_TRANSMIT => Channel::PcieTransmit,
            hlml::PCIE_RECEIVE => Channel::PcieReceive,
            _ => return Err(Return::InvalidArgument),
        };
        sleep(Duration::from_millis(hpu.facts().pcie_measure_milliseconds));
        rate.set(call, (hpu.device().level(channel) / 1e3) as c_uint)
    }

    fn hlml_get_mac_addr_info(call, device: Device, present: Out<u64>, external: Out<u64>) {
        let hpu = call.hpu(device.0)?;
        for (out, ports) in [(present, &hpu.facts().ports), (external, &hpu.facts().external_ports)] {
            for (word, first) in [0, 64].into_iter().enumerate() {
                let bits = ports.iter().filter(|port| (first..first + 64).contains(*port));
                out.nth(word).set(call, bits.fold(0, |mask, port| mask | 1 << (port - first)))?;
            }
        }
        Ok(())
    }

    fn hlml_nic_get_link(call, device: Device, port: c_uint, up: Out<u8>) {
        let hpu = call.hpu(device.0)?;
        if !hpu.facts().ports.contains(&port) {
            return Err(Return::InvalidArgument);
        }
        up.put(u8::from(hpu.device().link_is_up(port)))
    }
}

fn errors(call: &Call<'_>, device: Device, kind: c_uint, counter: c_uint, scope: Scope) -> Result<u64> {
    let hpu = call.hpu(device.0)?;
    let severity = match kind {
        hlml::ERROR_CORRECTED => Severity::Corrected,
        hlml::ERROR_UNCORRECTED => Severity::Uncorrectable,
        _ => return Err(Return::InvalidArgument),
    };
    match counter {
        hlml::ECC_VOLATILE => Ok(hpu.device().ecc_errors_volatile(severity, scope)),
        hlml::ECC_AGGREGATE => Ok(hpu.device().ecc_errors_aggregate(severity, scope)),
        _ => Err(Return::InvalidArgument),
    }
}
