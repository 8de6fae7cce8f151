//! A device as Level Zero Sysman tells of it, in Sysman's units and numbers.
//!
//! Handles are enumerated once: they stay valid until the driver is unloaded. What the driver answers
//! `UNSUPPORTED_FEATURE` to is absent; which values those are on which part is in the documentation.

use std::{ffi::OsStr, path::PathBuf, sync::Arc, time::Instant};

use kernel::pci::Link;
use level_zero_sys::{self as sys, Failure, LevelZero, OpenError, Way, code, value};
use reading::{Absence, Fault, FaultCode, Unavailable};

use crate::{
    Got,
    rates::{Energy, Rate, Share, untorn},
};

/// Where the loader is looked for when no path is given.
const LOADER: &str = "libze_loader.so.1";
/// A driver marks itself as simulated in front of this field of its devices' properties.
const SIMULATED: &str = "accelsim:";

/// The fault that a failed call means.
pub fn fault(failure: Failure) -> Fault {
    use Absence::{Failed, NoData, Unsupported};
    let Some(answer) = failure.code else {
        return Fault::new(failure.call, FaultCode::SymbolMissing);
    };
    let absence = match answer {
        code::INSUFFICIENT_PERMISSIONS => return Fault::new(failure.call, FaultCode::NeedsRoot),
        code::UNSUPPORTED_FEATURE | code::UNSUPPORTED_VERSION | code::DEPENDENCY_UNAVAILABLE => Unsupported,
        code::NOT_AVAILABLE | code::DEVICE_IN_LOW_POWER_STATE => NoData,
        _ => Failed,
    };
    Fault::returned(absence, failure.call, code::name(answer))
}

/// Whether the fault says that the device is gone or must be reset.
fn means_device_lost(fault: &Fault) -> bool {
    let codes = [code::DEVICE_LOST, code::DEVICE_REQUIRES_RESET, code::SURVIVABILITY_MODE];
    codes.iter().any(|lost| fault.code == code::name(*lost))
}

/// Whether it says that the driver went away under every device.
pub fn means_session_lost(fault: &Fault) -> bool {
    fault.code == code::name(code::UNINITIALIZED)
}

/// Passes on a fault that says that device or driver are gone, and no other.
fn unless_lost<T>(got: &Got<T>) -> Got<()> {
    match got {
        Err(fault) if means_device_lost(fault) || means_session_lost(fault) => Err(*fault),
        _ => Ok(()),
    }
}

/// An initialised Level Zero.
#[derive(Clone)]
pub struct Library {
    calls: Arc<LevelZero>,
    /// What was opened.
    pub path: String,
}

impl Library {
    /// Opens the loader at `path`, or the one on the loader's own search path.
    ///
    /// # Errors
    /// One line: which library, what it said, and the mend.
    pub fn open(path: Option<&PathBuf>) -> Result<Self, Unavailable> {
        let name = path.map_or(OsStr::new(LOADER), |path| path.as_os_str());
        let path = name.to_string_lossy().into_owned();
        match LevelZero::open(name) {
            Ok(calls) => Ok(Self { calls: Arc::new(calls), path }),
            Err(OpenError::Library(why)) => Err(Unavailable(format!(
                "{why}; install libze1 and intel-level-zero-gpu, or name the loader with --library.level-zero"
            ))),
            Err(OpenError::Incomplete) => Err(Unavailable(format!(
                "{path}: has neither zesInit nor zeInit; it is no Level Zero loader"
            ))),
            Err(OpenError::Failed(failure)) => Err(Unavailable(format!(
                "{path}: {} answers {}; install intel-level-zero-gpu, the driver behind the loader",
                failure.call,
                fault(failure).code
            ))),
        }
    }

    /// How it was initialised, for people.
    pub fn way(&self) -> &'static str {
        match self.calls.way() {
            Way::Sysman => "zesInit",
            Way::Core => "zeInit",
        }
    }

    /// The GPUs that it lists, with their PCI addresses. Handles and what they stand for last as long as the driver,
    /// so nothing is asked again of the `known`; one that does not answer is left out, and costs the others nothing.
    ///
    /// # Errors
    /// As the call says that fails for all of them.
    pub fn gpus(&self, known: &[Gpu]) -> Got<Vec<Gpu>> {
        let mut gpus = Vec::new();
        let mut index = 0;
        for device in self.calls.devices().map_err(fault)? {
            match known.iter().find(|gpu| gpu.device == device) {
                Some(gpu) => gpus.push(gpu.clone()),
                None => match self.gpu(device, index) {
                    // An NPU, which is listed too.
                    Ok(None) => continue,
                    Ok(gpu) => gpus.extend(gpu),
                    Err(fault) if means_session_lost(&fault) => return Err(fault),
                    Err(_) => {}
                },
            }
            index += 1;
        }
        Ok(gpus)
    }

    fn gpu(&self, device: sys::Device, index: u32) -> Got<Option<Gpu>> {
        let properties = self.calls.device_properties(device).map_err(fault)?;
        if properties.core.kind != value::DEVICE_GPU {
            return Ok(None);
        }
        let sys::PciAddress { domain, bus, device: slot, function } =
            self.calls.pci_properties(device).map_err(fault)?.address;
        Ok(Some(Gpu {
            library: self.clone(),
            device,
            index,
            address: format!("{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"),
            name: sys::text(&properties.core.name),
            serial: known(sys::text(&properties.serial)),
            board: known(sys::text(&properties.board)),
            simulated: sys::text(&properties.brand).strip_prefix(SIMULATED).map(str::to_owned),
            integrated: properties.core.flags & value::DEVICE_INTEGRATED != 0,
            tiles: properties.subdevices,
        }))
    }
}

/// Drivers write "unknown" where they do not know.
fn known(text: String) -> String {
    if text.eq_ignore_ascii_case("unknown") { String::new() } else { text }
}

/// A GPU that Level Zero lists.
#[derive(Clone)]
pub struct Gpu {
    library: Library,
    device: sys::Device,
    /// Its place among the GPUs that Level Zero lists.
    pub index: u32,
    /// PCI address as sysfs writes it.
    pub address: String,
    /// Marketing name.
    pub name: String,
    /// Serial number, or empty.
    pub serial: String,
    /// Board number, or empty.
    pub board: String,
    /// The simulated machine that the driver says it is.
    pub simulated: Option<String>,
    /// Whether it shares the host's memory.
    pub integrated: bool,
    /// Its tiles; 0 when there is only one.
    pub tiles: u32,
}

/// A part of a device with its handle, and the tile that it is on, if it is not the whole device's.
#[derive(Debug)]
struct Part<H, S> {
    handle: H,
    tile: Option<u32>,
    kind: u32,
    state: S,
}

fn tile(on_subdevice: u8, subdevice: u32) -> Option<u32> {
    (on_subdevice != 0).then_some(subdevice)
}

/// What an engine group is and was.
pub struct EngineRound {
    /// The tile that it is on.
    pub tile: Option<u32>,
    /// `zes_engine_group_t`.
    pub kind: u32,
    /// Share of time in which it was busy.
    pub busy: Got<f64>,
}

/// What a clock domain is and does.
pub struct FrequencyRound {
    /// The tile that it is on.
    pub tile: Option<u32>,
    /// `zes_freq_domain_t`.
    pub kind: u32,
    /// Highest clock, MHz; negative is unknown.
    pub max_mhz: f64,
    /// How it is now.
    pub state: Got<sys::FrequencyState>,
}

/// What a memory module holds and moved.
pub struct MemoryRound {
    /// The tile that it is on.
    pub tile: Option<u32>,
    /// Bytes that are built in; 0 is unknown.
    pub physical_bytes: u64,
    /// How full it is.
    pub state: Got<sys::MemoryState>,
    /// What went through.
    pub bandwidth: Got<sys::MemoryBandwidth>,
    /// Share of what could have.
    pub active: Got<f64>,
}

/// What went over a fabric port, and how it is.
pub struct PortRound {
    /// The tile that it is on.
    pub tile: Option<u32>,
    /// Its place among the device's.
    pub number: u32,
    /// How it is.
    pub state: Got<sys::PortState>,
    /// What went over it.
    pub throughput: Got<sys::PortThroughput>,
    /// What went wrong.
    pub errors: Got<sys::PortErrors>,
}

/// One reading of a device.
pub struct Round {
    /// Engine groups.
    pub engines: Got<Vec<EngineRound>>,
    /// Clock domains.
    pub frequencies: Vec<FrequencyRound>,
    /// Memory modules on the device.
    pub memories: Got<Vec<MemoryRound>>,
    /// Energy of the card, µJ, wraps taken in.
    pub energy_uj: Got<u64>,
    /// Mean power since the last round, µW.
    pub power_uw: Got<f64>,
    /// Its limits.
    pub limits: Got<Vec<sys::PowerLimit>>,
    /// Sensors: tile, `zes_temp_sensors_t`, °C.
    pub temperatures: Vec<(Option<u32>, u32, Got<f64>)>,
    /// Fans: revolutions per minute, and their most.
    pub fans: Vec<(Got<i32>, i32)>,
    /// Error sets: `zes_ras_error_type_t` and counts by category.
    pub ras: Vec<(Option<u32>, u32, Got<[u64; 7]>)>,
    /// Fabric ports.
    pub ports: Vec<PortRound>,
    /// Bytes received and sent over PCIe.
    pub pcie_bytes: Got<(u64, u64)>,
    /// PCIe packets sent again.
    pub pcie_replays: Got<u64>,
    /// The PCIe link as it is, and at its best.
    pub pcie_speeds: [Got<sys::PciSpeed>; 2],
    /// Memory protection.
    pub ecc: Got<sys::EccProperties>,
    /// `zes_reset_reason_flags_t`.
    pub reset: Got<u32>,
}

impl Round {
    /// Whether every clock stands, which a GT's does in its deepest sleep alone.
    pub fn is_idle(&self) -> bool {
        let stands = |domain: &FrequencyRound| domain.state.is_ok_and(|state| state.actual == 0.0);
        !self.frequencies.is_empty() && self.frequencies.iter().all(stands)
    }
}

/// The PCIe link at its best, and whether bytes and replays are counted there.
#[derive(Clone, Copy)]
struct Pci {
    best: sys::PciSpeed,
    bytes: bool,
    replays: bool,
}

/// An opened device.
pub struct Sysman {
    calls: Arc<LevelZero>,
    device: sys::Device,
    engines: Got<Vec<Part<sys::Engine, Share>>>,
    frequencies: Vec<Part<sys::Frequency, f64>>,
    memories: Got<Vec<Part<sys::Memory, (u64, Share)>>>,
    power: Got<sys::Power>,
    energy: Energy,
    power_rate: Rate,
    temperatures: Vec<Part<sys::Temperature, ()>>,
    fans: Vec<Part<sys::Fan, i32>>,
    ras: Vec<Part<sys::Ras, ()>>,
    ports: Vec<Part<sys::FabricPort, ()>>,
    pci: Got<Pci>,
}

impl Sysman {
    /// Enumerates what the device has. `engines` says whether to open its engine counters, which keeps it awake.
    pub fn open(gpu: &Gpu, engines: bool) -> Self {
        let calls = Arc::clone(&gpu.library.calls);
        let device = gpu.device;
        let l0 = &*calls;
        let engines = if engines {
            l0.engines(device).map_err(fault).and_then(|handles| {
                let parts = handles.into_iter().filter_map(|handle| {
                    let engine = l0.engine_properties(handle).ok()?;
                    let tile = tile(engine.on_subdevice, engine.subdevice);
                    Some(Part { handle, tile, kind: engine.kind, state: Share::default() })
                });
                let parts: Vec<_> = parts.collect();
                // The driver lists none to anyone but root.
                let none = Fault::new("zesDeviceEnumEngineGroups", FaultCode::NeedsRoot);
                if parts.is_empty() { Err(none) } else { Ok(parts) }
            })
        } else {
            Err(Fault::new("zesDeviceEnumEngineGroups", FaultCode::NeedsHoldAwake))
        };
        let frequencies = l0.frequencies(device).unwrap_or_default().into_iter().filter_map(|handle| {
            let domain = l0.frequency_properties(handle).ok()?;
            let tile = tile(domain.on_subdevice, domain.subdevice);
            Some(Part { handle, tile, kind: domain.kind, state: domain.max })
        });
        let integrated = Fault::new("zesDeviceEnumMemoryModules", FaultCode::Integrated);
        let memories = l0.memories(device).map_err(fault).and_then(|handles| {
            let parts = handles.into_iter().filter_map(|handle| {
                let module = l0.memory_properties(handle).ok()?;
                let tile = tile(module.on_subdevice, module.subdevice);
                let state = (module.physical_bytes, Share::default());
                let part = Part { handle, tile, kind: module.kind, state };
                // The host's memory is no memory of the device, whatever an integrated GPU's driver says.
                (module.location == value::MEMORY_DEVICE && !gpu.integrated).then_some(part)
            });
            let parts: Vec<_> = parts.collect();
            if parts.is_empty() { Err(integrated) } else { Ok(parts) }
        });
        let temperatures = l0.temperatures(device).unwrap_or_default().into_iter().filter_map(|handle| {
            let sensor = l0.temperature_properties(handle).ok()?;
            let tile = tile(sensor.on_subdevice, sensor.subdevice);
            Some(Part { handle, tile, kind: sensor.kind, state: () })
        });
        let fans = l0.fans(device).unwrap_or_default().into_iter().filter_map(|handle| {
            let fan = l0.fan_properties(handle).ok()?;
            Some(Part { handle, tile: None, kind: 0, state: fan.max_rpm })
        });
        let ras = l0.ras_sets(device).unwrap_or_default().into_iter().filter_map(|handle| {
            let set = l0.ras_properties(handle).ok()?;
            let tile = tile(set.on_subdevice, set.subdevice);
            Some(Part { handle, tile, kind: set.kind, state: () })
        });
        let ports = l0.ports(device).unwrap_or_default().into_iter().filter_map(|handle| {
            let port = l0.port_properties(handle).ok()?;
            Some(Part { handle, tile: tile(port.on_subdevice, port.subdevice), kind: 0, state: () })
        });
        Self {
            engines,
            frequencies: frequencies.collect(),
            memories,
            power: power(l0, device),
            energy: Energy::default(),
            power_rate: Rate::default(),
            temperatures: temperatures.collect(),
            fans: fans.collect(),
            ras: ras.collect(),
            ports: ports.collect(),
            pci: l0.pci_properties(device).map_err(fault).map(|pci| Pci {
                best: pci.max_speed,
                bytes: pci.has_bandwidth != 0,
                replays: pci.has_replays != 0,
            }),
            device,
            calls,
        }
    }

    /// Reads everything once. Wakes a sleeping device.
    ///
    /// # Errors
    /// The fault that says that device or driver are gone.
    pub fn read(&mut self) -> Got<Round> {
        let l0 = &*self.calls;
        let state = l0.device_state(self.device).map_err(fault);
        unless_lost(&state)?;
        let engines = self.engines.as_mut().map_err(|fault| *fault).map(|engines| {
            let read = |engine: &mut Part<sys::Engine, Share>| {
                let activity = l0.engine_activity(engine.handle).map_err(fault);
                let ticks = activity.map(|activity| (activity.active, activity.timestamp));
                let busy = engine.state.of("zesEngineGetActivity", ticks);
                EngineRound { tile: engine.tile, kind: engine.kind, busy }
            };
            engines.iter_mut().map(read).collect()
        });
        let memories: Got<Vec<_>> = self.memories.as_mut().map_err(|fault| *fault).map(|memories| {
            let read = |memory: &mut Part<sys::Memory, (u64, Share)>| {
                let bandwidth = l0.memory_bandwidth(memory.handle).map_err(fault);
                MemoryRound {
                    tile: memory.tile,
                    physical_bytes: memory.state.0,
                    state: l0.memory_state(memory.handle).map_err(fault),
                    bandwidth,
                    active: active(&mut memory.state.1, bandwidth),
                }
            };
            memories.iter_mut().map(read).collect()
        });
        // The driver's word for a device's state is success whatever the state; of its memory it asks the device.
        memories.iter().flatten().try_for_each(|memory| unless_lost(&memory.state))?;
        let (energy_uj, power_uw) = {
            const CALL: &str = "zesPowerGetEnergyCounter";
            let reading = self.power.and_then(|power| l0.energy(power).map_err(fault));
            let now = Instant::now();
            let total = self.energy.total(CALL, now, reading.map(|counter| counter.energy));
            let still = Fault::new(CALL, FaultCode::CounterStands);
            let power = self.power_rate.per_second(CALL, now, total);
            (total, power.and_then(|power| if power > 0.0 { Ok(power) } else { Err(still) }))
        };
        let speeds =
            [l0.pci_state(self.device).map_err(fault).map(|state| state.speed), self.pci.map(|pci| pci.best)];
        Ok(Round {
            engines,
            memories,
            energy_uj,
            power_uw,
            limits: self.power.and_then(|power| l0.power_limits(power).map_err(fault)),
            frequencies: self
                .frequencies
                .iter()
                .map(|domain| FrequencyRound {
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
                .map(|(number, port)| PortRound {
                    tile: port.tile,
                    number,
                    state: l0.port_state(port.handle).map_err(fault),
                    throughput: l0.port_throughput(port.handle).map_err(fault),
                    errors: l0.port_errors(port.handle).map_err(fault),
                })
                .collect(),
            pcie_bytes: self.pcie_bytes(),
            pcie_replays: self.pcie_replays(),
            pcie_speeds: speeds,
            ecc: l0.ecc_state(self.device).map_err(fault),
            reset: state.map(|state| state.reset),
        })
    }

    fn pcie_bytes(&self) -> Got<(u64, u64)> {
        const CALL: &str = "zesDevicePciGetStats";
        let pci = self.pci?;
        if !pci.bytes {
            return Err(Fault::new(CALL, FaultCode::NoBandwidthCounter));
        }
        let read = || {
            let stats = self.calls.pci_stats(self.device).map_err(fault)?;
            Ok((stats.received, stats.transmitted))
        };
        // The fastest link that there is, where the driver does not tell the device's own.
        let fastest = Link { generation: 6, width: 16 }.bytes_per_second();
        let own = pci.best.max_bandwidth as f64;
        untorn(CALL, if own > 0.0 { own } else { fastest }, read, Instant::now)
    }

    fn pcie_replays(&self) -> Got<u64> {
        const CALL: &str = "zesDevicePciGetStats";
        if !self.pci?.replays {
            return Err(Fault::new(CALL, FaultCode::NoReplayCounter));
        }
        self.calls.pci_stats(self.device).map_err(fault).map(|stats| stats.replays)
    }
}

/// The card's power domain, else its package's, else the only one.
fn power(l0: &LevelZero, device: sys::Device) -> Got<sys::Power> {
    let mut domains: Vec<_> = l0
        .powers(device)
        .map_err(fault)?
        .into_iter()
        .filter_map(|power| {
            let (properties, domain) = l0.power_properties(power).ok()?;
            (properties.on_subdevice == 0).then_some((domain, power))
        })
        .collect();
    let order = [value::newer::DOMAIN_CARD, value::newer::DOMAIN_PACKAGE];
    let place = |domain: u32| order.iter().position(|known| *known == domain).unwrap_or(order.len());
    domains.sort_by_key(|(domain, _)| place(*domain));
    domains.first().map(|(_, power)| *power).ok_or(Fault::new("zesDeviceEnumPowerDomains", FaultCode::None))
}

/// Share of the memory's bandwidth that was used since the last round. The most that it could be is as it is now: a
/// driver reads it anew each time.
fn active(share: &mut Share, bandwidth: Got<sys::MemoryBandwidth>) -> Got<f64> {
    const CALL: &str = "zesMemoryGetBandwidth";
    let moved =
        bandwidth.map(|counters| (counters.read.saturating_add(counters.written), counters.timestamp));
    let bytes_per_microsecond = share.quotient(CALL, moved)?;
    match bandwidth?.max {
        0 => Err(Fault::new(CALL, FaultCode::NoMaximum)),
        most => Ok((bytes_per_microsecond * 1e6 / most as f64).min(1.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Share, active, sys::MemoryBandwidth};

    #[test]
    fn a_share_of_bandwidth_is_of_what_could_be_now() {
        let mut share = Share::default();
        let mut at = |read, written, max, timestamp| {
            let counters = MemoryBandwidth { read, written, max, timestamp };
            active(&mut share, Ok(counters)).map_err(|fault| fault.code.name())
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
