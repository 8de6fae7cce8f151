//! An opened device: the handles that it has, and reading all of them once.

use std::{sync::Arc, time::Instant};

use kernel::pci::Link;
use level_zero_sys::{self as sys, LevelZero, value};
use reading::{Absence, Ceiling, Counted, Fault, FaultCode, Lost, Measured};
use source::Share;

use super::{
    EngineSample, FrequencySample, Gpu, LOSSES, MemorySample, Missing, Options, PortSample, PowerRange,
    Sample, TemperatureSample,
    components::{Component, Components},
    counters::{Directions, Energy, read_untorn},
    returned,
};

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
    integrated: bool,
    /// Why processes are not counted.
    counts_processes: Measured<()>,
    /// Absent where engine counters may not keep the device awake.
    engines: Option<Components<sys::Engine, Share>>,
    frequencies: Components<sys::Frequency, f64>,
    memories: Components<sys::Memory, Module>,
    powers: Components<sys::Power, PowerRange>,
    /// The domain that was chosen; its counter is followed.
    power: Option<(sys::Power, PowerRange)>,
    energy: Energy,
    temperatures: Components<sys::Temperature, f64>,
    fans: Components<sys::Fan, i32>,
    ras: Components<sys::Ras, ()>,
    ports: Components<sys::FabricPort, Directions>,
    pci: Measured<Pci>,
    pcie_bytes: Directions,
}

/// What is kept of a memory module.
#[derive(Default)]
struct Module {
    physical_bytes: u64,
    moved: Directions,
    active: Share,
}

impl Sysman {
    /// Prepares the device, of which nothing is asked yet.
    pub fn new(gpu: &Gpu, options: Options) -> Self {
        Self {
            integrated: gpu.integrated,
            counts_processes: options.processes,
            engines: options.engines.then(Components::default),
            frequencies: Components::default(),
            memories: Components::default(),
            powers: Components::default(),
            power: None,
            energy: Energy::default(),
            temperatures: Components::default(),
            fans: Components::default(),
            ras: Components::default(),
            ports: Components::default(),
            pci: Err(Fault::new("zesDevicePciGetProperties", FaultCode::NotReturned)),
            pcie_bytes: Directions::default(),
            device: gpu.device,
            calls: Arc::clone(&gpu.library.calls),
        }
    }

    /// Asks for what the driver has not described yet.
    fn ask(&mut self) {
        let (l0, device, integrated) = (&*self.calls, self.device, self.integrated);
        if let Some(engines) = &mut self.engines {
            engines.ask(
                || l0.engines(device),
                |handle| {
                    let engine = l0.engine_properties(handle)?;
                    let tile = tile(engine.on_subdevice, engine.subdevice);
                    Ok(Some((tile, engine.kind, Share::default())))
                },
            );
        }
        self.frequencies.ask(
            || l0.frequencies(device),
            |handle| {
                let domain = l0.frequency_properties(handle)?;
                Ok(Some((tile(domain.on_subdevice, domain.subdevice), domain.kind, domain.max)))
            },
        );
        self.memories.ask(
            || l0.memories(device),
            |handle| {
                let module = l0.memory_properties(handle)?;
                let state = Module { physical_bytes: module.physical_bytes, ..Module::default() };
                // The host's memory is not the device's, even where an integrated GPU's driver reports it as
                // such.
                let own = module.location == value::MEMORY_DEVICE && !integrated;
                Ok(own.then(|| (tile(module.on_subdevice, module.subdevice), module.kind, state)))
            },
        );
        self.powers.ask(
            || l0.powers(device),
            |handle| {
                let (properties, domain) = l0.power_properties(handle)?;
                let sys::PowerProperties { default_limit, min_limit, max_limit, .. } = properties;
                let range = PowerRange { default: default_limit, min: min_limit, max: max_limit };
                Ok((properties.on_subdevice == 0).then_some((None, domain, range)))
            },
        );
        self.temperatures.ask(
            || l0.temperatures(device),
            |handle| {
                let sensor = l0.temperature_properties(handle)?;
                Ok(Some((tile(sensor.on_subdevice, sensor.subdevice), sensor.kind, sensor.max)))
            },
        );
        self.fans.ask(|| l0.fans(device), |handle| Ok(Some((None, 0, l0.fan_properties(handle)?.max_rpm))));
        self.ras.ask(
            || l0.ras_sets(device),
            |handle| {
                let set = l0.ras_properties(handle)?;
                Ok(Some((tile(set.on_subdevice, set.subdevice), set.kind, ())))
            },
        );
        self.ports.ask(
            || l0.ports(device),
            |handle| {
                let port = l0.port_properties(handle)?;
                Ok(Some((tile(port.on_subdevice, port.subdevice), 0, Directions::default())))
            },
        );
        if self.pci.is_err_and(|fault| fault.absence != Absence::Unsupported) {
            self.pci = returned(l0.pci_properties(device)).map(|pci| Pci {
                max_speed: pci.max_speed,
                counts_bytes: pci.has_bandwidth != 0,
                counts_replays: pci.has_replays != 0,
            });
        }
    }

    /// The card's power domain, else its package's, else the only one. It is chosen once, when all are known.
    fn power(&mut self) -> Measured<(sys::Power, PowerRange)> {
        const PREFERRED: [u32; 2] = [value::newer::DOMAIN_CARD, value::newer::DOMAIN_PACKAGE];
        if self.power.is_none() {
            let domains = self.powers.all("zesDeviceEnumPowerDomains", FaultCode::None)?;
            let rank = |domain: u32| PREFERRED.iter().position(|known| *known == domain);
            let best = domains.iter().min_by_key(|domain| rank(domain.kind).unwrap_or(PREFERRED.len()));
            self.power = best.map(|domain| (domain.handle, domain.state));
        }
        self.power.ok_or(Fault::new("zesDeviceEnumPowerDomains", FaultCode::None))
    }

    /// Reads everything once. Wakes a sleeping device.
    ///
    /// # Errors
    /// When the driver reports that the device or the driver is gone.
    pub fn read(&mut self) -> Result<Sample, Lost> {
        let l0 = &*self.calls;
        let state = returned(l0.device_state(self.device));
        check_lost(&state)?;
        self.ask();
        let l0 = &*self.calls;
        let engines = match &mut self.engines {
            None => Err(Fault::new("zesDeviceEnumEngineGroups", FaultCode::NeedsHoldAwake)),
            // The driver lists them to root only.
            Some(engines) => engines.all("zesDeviceEnumEngineGroups", FaultCode::NeedsRoot),
        };
        let engines = engines.map(|engines| {
            let read = |engine: &mut Component<sys::Engine, Share>| {
                let activity = returned(l0.engine_activity(engine.handle));
                let ticks = activity.map(|activity| (activity.active, activity.timestamp));
                let busy = engine.state.of("zesEngineGetActivity", Instant::now(), ticks);
                EngineSample { tile: engine.tile, kind: engine.kind, busy }
            };
            engines.iter_mut().map(read).collect()
        });
        let none = if self.integrated { FaultCode::Integrated } else { FaultCode::NoVideoMemory };
        let memories = self.memories.all("zesDeviceEnumMemoryModules", none);
        let memories: Measured<Vec<_>> = memories.map(|memories| {
            let read = |memory: &mut Component<sys::Memory, Module>| {
                let bandwidth = returned(l0.memory_bandwidth(memory.handle));
                MemorySample {
                    tile: memory.tile,
                    physical_bytes: memory.state.physical_bytes,
                    state: returned(l0.memory_state(memory.handle)),
                    moved: moved(&mut memory.state.moved, bandwidth),
                    active: bandwidth_share(&mut memory.state.active, Instant::now(), bandwidth),
                }
            };
            memories.iter_mut().map(read).collect()
        });
        // The driver returns success for the state of a device that is gone; for the state of its memory it
        // asks the device.
        memories.iter().flatten().try_for_each(|memory| check_lost(&memory.state))?;
        let power = self.power();
        let domain = power.map(|(domain, _)| domain);
        let limit_range = power.map(|(_, range)| range);
        let energy = self.energy(domain, limit_range);
        let pcie_bytes = self.pcie_bytes();
        let l0 = &*self.calls;
        Ok(Sample {
            engines,
            processes: self.processes(),
            memories,
            energy,
            limit_range,
            limits: domain.and_then(|power| returned(l0.power_limits(power))),
            frequencies: self.frequencies(),
            temperatures: self.temperatures(),
            fans: self
                .fans
                .parts
                .iter()
                .map(|fan| (fan.number, returned(l0.fan_speed(fan.handle, value::FAN_RPM)), fan.state))
                .collect(),
            ras: self
                .ras
                .parts
                .iter()
                .map(|set| {
                    let counts = returned(l0.ras_state(set.handle));
                    (set.tile, set.kind, counts.map(|state| state.category))
                })
                .collect(),
            ports: self.ports.parts.iter_mut().map(|port| read_port(l0, port)).collect(),
            pcie_bytes,
            pcie_replays: self.pcie_replays(),
            pcie_speeds: [
                returned(l0.pci_state(self.device)).map(|state| state.speed),
                self.pci.map(|pci| pci.max_speed),
            ],
            ecc: returned(l0.ecc_state(self.device)),
            reset: state.map(|state| state.reset),
            missing: self.missing(),
        })
    }

    fn frequencies(&self) -> Vec<FrequencySample> {
        let read = |domain: &Component<sys::Frequency, f64>| FrequencySample {
            tile: domain.tile,
            kind: domain.kind,
            max_mhz: domain.state,
            state: returned(self.calls.frequency_state(domain.handle)),
            throttled_us: returned(self.calls.throttle_time(domain.handle)).map(|time| time.throttled),
        };
        self.frequencies.parts.iter().map(read).collect()
    }

    fn temperatures(&self) -> Vec<TemperatureSample> {
        let read = |sensor: &Component<sys::Temperature, f64>| TemperatureSample {
            tile: sensor.tile,
            kind: sensor.kind,
            celsius: returned(self.calls.temperature(sensor.handle)).map(|sys::Celsius(celsius)| celsius),
            max_celsius: sensor.state,
        };
        self.temperatures.parts.iter().map(read).collect()
    }

    fn processes(&self) -> Measured<u64> {
        self.counts_processes?;
        let processes = returned(self.calls.processes(self.device))?;
        // This process has the device open to ask for them.
        Ok(processes.iter().filter(|process| process.process != std::process::id()).count() as u64)
    }

    fn missing(&self) -> Missing {
        Missing {
            frequencies: self.frequencies.missing(),
            temperatures: self.temperatures.missing(),
            fans: self.fans.missing(),
            ras: self.ras.missing(),
            ports: self.ports.missing(),
        }
    }

    /// Energy since the first round.
    fn energy(&mut self, power: Measured<sys::Power>, range: Measured<PowerRange>) -> Measured<Counted> {
        let reading = power.and_then(|power| returned(self.calls.energy(power)));
        let watts = range.map(|range| f64::from(range.max) / 1e3);
        let energy = reading.map(|counter| counter.energy);
        self.energy.add("zesPowerGetEnergyCounter", Instant::now(), energy, watts)
    }

    fn pcie_bytes(&mut self) -> [Measured<u64>; 2] {
        const CALL: &str = "zesDevicePciGetStats";
        let (calls, device) = (&*self.calls, self.device);
        let own = self.pci.map(|pci| pci.max_speed.max_bandwidth as f64);
        let read = || {
            let stats = returned(calls.pci_stats(device))?;
            Ok([stats.received, stats.transmitted])
        };
        // The fastest link that exists, where the driver does not report the device's own.
        let fastest = Link { generation: 6, width: 16 }.bytes_per_second();
        let most = own.ok().filter(|own| *own > 0.0).unwrap_or(fastest);
        let reading = self.pci.and_then(|pci| {
            let none = Fault::new(CALL, FaultCode::NoBandwidthCounter);
            if pci.counts_bytes { read_untorn(CALL, most, read, Instant::now) } else { Err(none) }
        });
        self.pcie_bytes.add(CALL, reading, Ceiling::of_link(Ok(most)))
    }

    fn pcie_replays(&self) -> Measured<u64> {
        const CALL: &str = "zesDevicePciGetStats";
        if !self.pci?.counts_replays {
            return Err(Fault::new(CALL, FaultCode::NoReplayCounter));
        }
        returned(self.calls.pci_stats(self.device)).map(|stats| stats.replays)
    }
}

fn check_lost<T>(measured: &Measured<T>) -> Result<(), Lost> {
    measured.as_ref().err().and_then(|fault| LOSSES.of_round(*fault)).map_or(Ok(()), Err)
}

/// Bytes that a memory module read and wrote.
fn moved(counters: &mut Directions, bandwidth: Measured<sys::MemoryBandwidth>) -> [Measured<u64>; 2] {
    let most = bandwidth.map(|bandwidth| bandwidth.max as f64);
    let reading = bandwidth.map(|bandwidth| [bandwidth.read, bandwidth.written]);
    counters.add(BANDWIDTH, reading, Ceiling::of_memory(most))
}

/// Share of the memory's highest bandwidth that was used since the last round. The highest is that of this
/// reading: the driver computes it from the clock of the moment.
fn bandwidth_share(
    share: &mut Share,
    now: Instant,
    bandwidth: Measured<sys::MemoryBandwidth>,
) -> Measured<f64> {
    /// No part moves more in a microsecond.
    const BYTES_MAX: f64 = 1e8;
    let moved =
        bandwidth.map(|counters| (counters.read.saturating_add(counters.written), counters.timestamp));
    let bytes_per_microsecond = share.quotient(BANDWIDTH, now, moved, BYTES_MAX)?;
    match bandwidth?.max {
        0 => Err(Fault::new(BANDWIDTH, FaultCode::NoMaximum)),
        max => Ok((bytes_per_microsecond * 1e6 / max as f64).min(1.0)),
    }
}

fn read_port(l0: &LevelZero, port: &mut Component<sys::FabricPort, Directions>) -> PortSample {
    let state = returned(l0.port_state(port.handle));
    let bytes = returned(l0.port_throughput(port.handle));
    let most =
        state.map(|state| state.receive.bit_rate.max(0) as f64 * f64::from(state.receive.width.max(0)) / 8.0);
    let bytes = bytes.map(|bytes| [bytes.received, bytes.transmitted]);
    PortSample {
        tile: port.tile,
        number: port.number,
        state,
        moved: port.state.add("zesFabricPortGetThroughput", bytes, Ceiling::of_link(most)),
        errors: returned(l0.port_errors(port.handle)),
    }
}

const BANDWIDTH: &str = "zesMemoryGetBandwidth";

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Share, bandwidth_share, sys::MemoryBandwidth};

    #[test]
    fn a_share_of_bandwidth_is_of_the_maximum_of_the_moment() {
        let (mut share, mut now) = (Share::default(), Instant::now());
        let mut at = |read, written, max, timestamp| {
            let counters = MemoryBandwidth { read, written, max, timestamp };
            now += Duration::from_secs(1);
            bandwidth_share(&mut share, now, Ok(counters)).map_err(|fault| fault.code.name())
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
