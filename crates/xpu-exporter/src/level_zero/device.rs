//! An opened device: the handles that it has, and reading all of them once.

use std::{sync::Arc, time::Instant};

use kernel::pci::Link;
use level_zero_sys::{self as sys, LevelZero, value};
use reading::{Fault, FaultCode, Lost, Measured};
use source::{Rate, Share};

use super::{
    EngineSample, FrequencySample, Gpu, LOSSES, MemorySample, PortSample, Sample,
    counters::{Energy, read_untorn},
    fault,
};

/// One component of a device with its handle.
#[derive(Debug)]
struct Component<H, S> {
    handle: H,
    /// Its tile; `None` for the whole device.
    tile: Option<u32>,
    /// Its kind, in the enumeration that Sysman has for such components.
    kind: u32,
    /// What is kept from round to round.
    state: S,
}

fn tile(on_subdevice: u8, subdevice: u32) -> Option<u32> {
    (on_subdevice != 0).then_some(subdevice)
}

/// The device's PCIe link at its best, and which of its counters exist.
#[derive(Clone, Copy)]
struct Pci {
    max_speed: sys::PciSpeed,
    counts_bytes: bool,
    counts_replays: bool,
}

/// An opened device.
pub struct Sysman {
    calls: Arc<LevelZero>,
    device: sys::Device,
    engines: Measured<Vec<Component<sys::Engine, Share>>>,
    frequencies: Vec<Component<sys::Frequency, f64>>,
    memories: Measured<Vec<Component<sys::Memory, (u64, Share)>>>,
    power: Measured<sys::Power>,
    energy: Energy,
    power_rate: Rate,
    temperatures: Vec<Component<sys::Temperature, ()>>,
    fans: Vec<Component<sys::Fan, i32>>,
    ras: Vec<Component<sys::Ras, ()>>,
    ports: Vec<Component<sys::FabricPort, ()>>,
    pci: Measured<Pci>,
}

impl Sysman {
    /// Enumerates the device's components. With `engines`, its engine counters are opened, which keeps it
    /// awake.
    pub fn open(gpu: &Gpu, engines: bool) -> Self {
        let calls = Arc::clone(&gpu.library.calls);
        let device = gpu.device;
        let l0 = &*calls;
        let frequencies = l0.frequencies(device).unwrap_or_default().into_iter().filter_map(|handle| {
            let domain = l0.frequency_properties(handle).ok()?;
            let tile = tile(domain.on_subdevice, domain.subdevice);
            Some(Component { handle, tile, kind: domain.kind, state: domain.max })
        });
        let temperatures = l0.temperatures(device).unwrap_or_default().into_iter().filter_map(|handle| {
            let sensor = l0.temperature_properties(handle).ok()?;
            let tile = tile(sensor.on_subdevice, sensor.subdevice);
            Some(Component { handle, tile, kind: sensor.kind, state: () })
        });
        let fans = l0.fans(device).unwrap_or_default().into_iter().filter_map(|handle| {
            let fan = l0.fan_properties(handle).ok()?;
            Some(Component { handle, tile: None, kind: 0, state: fan.max_rpm })
        });
        let ras = l0.ras_sets(device).unwrap_or_default().into_iter().filter_map(|handle| {
            let set = l0.ras_properties(handle).ok()?;
            let tile = tile(set.on_subdevice, set.subdevice);
            Some(Component { handle, tile, kind: set.kind, state: () })
        });
        let ports = l0.ports(device).unwrap_or_default().into_iter().filter_map(|handle| {
            let port = l0.port_properties(handle).ok()?;
            Some(Component { handle, tile: tile(port.on_subdevice, port.subdevice), kind: 0, state: () })
        });
        Self {
            engines: if engines {
                open_engines(l0, device)
            } else {
                Err(Fault::new("zesDeviceEnumEngineGroups", FaultCode::NeedsHoldAwake))
            },
            frequencies: frequencies.collect(),
            memories: open_memories(l0, gpu),
            power: power_domain(l0, device),
            energy: Energy::default(),
            power_rate: Rate::default(),
            temperatures: temperatures.collect(),
            fans: fans.collect(),
            ras: ras.collect(),
            ports: ports.collect(),
            pci: l0.pci_properties(device).map_err(fault).map(|pci| Pci {
                max_speed: pci.max_speed,
                counts_bytes: pci.has_bandwidth != 0,
                counts_replays: pci.has_replays != 0,
            }),
            device,
            calls,
        }
    }

    /// Reads everything once. Wakes a sleeping device.
    ///
    /// # Errors
    /// When the driver reports that the device or the driver is gone.
    pub fn read(&mut self) -> Result<Sample, Lost> {
        let l0 = &*self.calls;
        let state = l0.device_state(self.device).map_err(fault);
        check_lost(&state)?;
        let engines = self.engines.as_mut().map_err(|fault| *fault).map(|engines| {
            let read = |engine: &mut Component<sys::Engine, Share>| {
                let activity = l0.engine_activity(engine.handle).map_err(fault);
                let ticks = activity.map(|activity| (activity.active, activity.timestamp));
                let busy = engine.state.of("zesEngineGetActivity", ticks);
                EngineSample { tile: engine.tile, kind: engine.kind, busy }
            };
            engines.iter_mut().map(read).collect()
        });
        let memories: Measured<Vec<_>> = self.memories.as_mut().map_err(|fault| *fault).map(|memories| {
            let read = |memory: &mut Component<sys::Memory, (u64, Share)>| {
                let bandwidth = l0.memory_bandwidth(memory.handle).map_err(fault);
                MemorySample {
                    tile: memory.tile,
                    physical_bytes: memory.state.0,
                    state: l0.memory_state(memory.handle).map_err(fault),
                    bandwidth,
                    active: bandwidth_share(&mut memory.state.1, bandwidth),
                }
            };
            memories.iter_mut().map(read).collect()
        });
        // The driver returns success for the state of a device that is gone; for the state of its memory it
        // asks the device.
        memories.iter().flatten().try_for_each(|memory| check_lost(&memory.state))?;
        let (energy_uj, power_uw) = self.energy();
        let l0 = &*self.calls;
        Ok(Sample {
            engines,
            memories,
            energy_uj,
            power_uw,
            limits: self.power.and_then(|power| l0.power_limits(power).map_err(fault)),
            frequencies: self
                .frequencies
                .iter()
                .map(|domain| FrequencySample {
                    tile: domain.tile,
                    kind: domain.kind,
                    max_mhz: domain.state,
                    state: l0.frequency_state(domain.handle).map_err(fault),
                })
                .collect(),
            temperatures: self
                .temperatures
                .iter()
                .map(|sensor| (sensor.tile, sensor.kind, l0.temperature(sensor.handle).map_err(fault)))
                .collect(),
            fans: self
                .fans
                .iter()
                .map(|fan| (l0.fan_speed(fan.handle, value::FAN_RPM).map_err(fault), fan.state))
                .collect(),
            ras: self
                .ras
                .iter()
                .map(|set| {
                    let counts = l0.ras_state(set.handle).map_err(fault);
                    (set.tile, set.kind, counts.map(|state| state.category))
                })
                .collect(),
            ports: (0..)
                .zip(&self.ports)
                .map(|(number, port)| PortSample {
                    tile: port.tile,
                    number,
                    state: l0.port_state(port.handle).map_err(fault),
                    throughput: l0.port_throughput(port.handle).map_err(fault),
                    errors: l0.port_errors(port.handle).map_err(fault),
                })
                .collect(),
            pcie_bytes: self.pcie_bytes(),
            pcie_replays: self.pcie_replays(),
            pcie_speeds: [
                l0.pci_state(self.device).map_err(fault).map(|state| state.speed),
                self.pci.map(|pci| pci.max_speed),
            ],
            ecc: l0.ecc_state(self.device).map_err(fault),
            reset: state.map(|state| state.reset),
        })
    }

    /// Energy since the first round, and mean power since the last one.
    fn energy(&mut self) -> (Measured<u64>, Measured<f64>) {
        const CALL: &str = "zesPowerGetEnergyCounter";
        let reading = self.power.and_then(|power| self.calls.energy(power).map_err(fault));
        let now = Instant::now();
        let total = self.energy.total(CALL, now, reading.map(|counter| counter.energy));
        (total, self.power_rate.power(CALL, now, total))
    }

    fn pcie_bytes(&self) -> Measured<(u64, u64)> {
        const CALL: &str = "zesDevicePciGetStats";
        let pci = self.pci?;
        if !pci.counts_bytes {
            return Err(Fault::new(CALL, FaultCode::NoBandwidthCounter));
        }
        let read = || {
            let stats = self.calls.pci_stats(self.device).map_err(fault)?;
            Ok((stats.received, stats.transmitted))
        };
        // The fastest link that exists, where the driver does not report the device's own.
        let fastest = Link { generation: 6, width: 16 }.bytes_per_second();
        let own = pci.max_speed.max_bandwidth as f64;
        read_untorn(CALL, if own > 0.0 { own } else { fastest }, read, Instant::now)
    }

    fn pcie_replays(&self) -> Measured<u64> {
        const CALL: &str = "zesDevicePciGetStats";
        if !self.pci?.counts_replays {
            return Err(Fault::new(CALL, FaultCode::NoReplayCounter));
        }
        self.calls.pci_stats(self.device).map_err(fault).map(|stats| stats.replays)
    }
}

fn check_lost<T>(measured: &Measured<T>) -> Result<(), Lost> {
    measured.as_ref().err().and_then(|fault| LOSSES.of_round(*fault)).map_or(Ok(()), Err)
}

fn open_engines(l0: &LevelZero, device: sys::Device) -> Measured<Vec<Component<sys::Engine, Share>>> {
    let groups = l0.engines(device).map_err(fault)?.into_iter().filter_map(|handle| {
        let engine = l0.engine_properties(handle).ok()?;
        let tile = tile(engine.on_subdevice, engine.subdevice);
        Some(Component { handle, tile, kind: engine.kind, state: Share::default() })
    });
    let groups: Vec<_> = groups.collect();
    // The driver lists them to root only.
    let none = Fault::new("zesDeviceEnumEngineGroups", FaultCode::NeedsRoot);
    if groups.is_empty() { Err(none) } else { Ok(groups) }
}

fn open_memories(l0: &LevelZero, gpu: &Gpu) -> Measured<Vec<Component<sys::Memory, (u64, Share)>>> {
    let modules = l0.memories(gpu.device).map_err(fault)?.into_iter().filter_map(|handle| {
        let module = l0.memory_properties(handle).ok()?;
        let tile = tile(module.on_subdevice, module.subdevice);
        let state = (module.physical_bytes, Share::default());
        let component = Component { handle, tile, kind: module.kind, state };
        // The host's memory is not the device's, even where an integrated GPU's driver reports it as such.
        (module.location == value::MEMORY_DEVICE && !gpu.integrated).then_some(component)
    });
    let modules: Vec<_> = modules.collect();
    let none = Fault::new("zesDeviceEnumMemoryModules", FaultCode::Integrated);
    if modules.is_empty() { Err(none) } else { Ok(modules) }
}

/// The card's power domain, else its package's, else the only one.
fn power_domain(l0: &LevelZero, device: sys::Device) -> Measured<sys::Power> {
    let mut domains: Vec<_> = l0
        .powers(device)
        .map_err(fault)?
        .into_iter()
        .filter_map(|power| {
            let (properties, domain) = l0.power_properties(power).ok()?;
            (properties.on_subdevice == 0).then_some((domain, power))
        })
        .collect();
    let preferred = [value::newer::DOMAIN_CARD, value::newer::DOMAIN_PACKAGE];
    let rank = |domain: u32| preferred.iter().position(|known| *known == domain).unwrap_or(preferred.len());
    domains.sort_by_key(|(domain, _)| rank(*domain));
    let none = Fault::new("zesDeviceEnumPowerDomains", FaultCode::None);
    domains.first().map(|(_, power)| *power).ok_or(none)
}

/// Share of the memory's highest bandwidth that was used since the last round. The highest is that of this
/// reading: the driver computes it from the clock of the moment.
fn bandwidth_share(share: &mut Share, bandwidth: Measured<sys::MemoryBandwidth>) -> Measured<f64> {
    const CALL: &str = "zesMemoryGetBandwidth";
    let moved =
        bandwidth.map(|counters| (counters.read.saturating_add(counters.written), counters.timestamp));
    let bytes_per_microsecond = share.quotient(CALL, moved)?;
    match bandwidth?.max {
        0 => Err(Fault::new(CALL, FaultCode::NoMaximum)),
        max => Ok((bytes_per_microsecond * 1e6 / max as f64).min(1.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Share, bandwidth_share, sys::MemoryBandwidth};

    #[test]
    fn a_share_of_bandwidth_is_of_the_maximum_of_the_moment() {
        let mut share = Share::default();
        let mut at = |read, written, max, timestamp| {
            let counters = MemoryBandwidth { read, written, max, timestamp };
            bandwidth_share(&mut share, Ok(counters)).map_err(|fault| fault.code.name())
        };
        // A day after the driver was loaded, at 400 GB/s.
        let day = 86_400_000_000;
        assert_eq!(at(1 << 50, 1 << 50, 400_000_000_000, day), Err("first_reading"));
        let read = (1 << 50) + 60_000_000_000;
        let written = (1 << 50) + 40_000_000_000;
        assert_eq!(at(read, written, 200_000_000_000, day + 1_000_000), Ok(0.5), "its clock was lowered");
        assert_eq!(at(read, written, 400_000_000_000, day + 2_000_000), Ok(0.0));
        assert_eq!(at(read, written, 400_000_000_000, day + 2_000_000), Err("no_time"));
        assert_eq!(at(read, written, 0, day + 3_000_000), Err("no_maximum"));
    }
}
