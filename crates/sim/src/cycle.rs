//! One period of the machine's life, computed in advance: from a workload follow power, heat, clocks,
//! traffic and reasons to slow down, each following from the others, with the integral of each over time.
//!
//! A lookup is an interpolation between two rows: constant time, no state. An integral over any stretch is
//! whole periods times the period's total, plus a part. Integrals are kept as whole ticks of 1/1024 of their
//! unit, because only integers add up over a year of periods without ever stepping back by a rounding error,
//! and a counter that steps back reads as a reset.

use crate::hash;
use crate::profile::{Clocks, Power, Thermal};
use crate::workload::Workload;

/// Length of the period, seconds.
pub const PERIOD_SECONDS: f64 = 600.0;
/// Time between rows, seconds.
pub const STEP_SECONDS: f64 = 1.0;
const STEPS: usize = 600;
const TICKS_PER_UNIT: f64 = 1024.0;
/// Further than any clock goes, and near enough that ticks fit their integer.
const SECONDS_MAX: f64 = 1e12;

/// Time constants of the load itself, and of the KV cache.
const LOAD_TIME_CONSTANT_SECONDS: f64 = 1.5;
pub(crate) const KV_TIME_CONSTANT_SECONDS: f64 = 20.0;
/// Memory heats and cools more slowly than the GPU beside it.
const MEMORY_HEAT_LAG: f64 = 1.4;
/// Power follows the clock to about this power (voltage falls with it).
const POWER_CLOCK_EXPONENT: f64 = 2.2;
/// Share of the room between idle and limit that full load on one engine takes.
const POWER_SM: f64 = 0.13;
const POWER_TENSOR: f64 = 0.70;
const POWER_DRAM: f64 = 0.45;
/// Part of the memory that model weights take, and that the KV cache can take beside them: nine tenths
/// together, which is what vLLM allows itself by default.
pub(crate) const WEIGHTS_RATIO: f64 = 0.68;
pub(crate) const KV_CACHE_RATIO: f64 = 0.22;

/// What the cycle needs to know of a device.
#[derive(Clone, Debug)]
pub struct Silicon {
    /// Power draw and limits.
    pub power: Power,
    /// Heat.
    pub thermal: Thermal,
    /// Clocks.
    pub clocks: Clocks,
    /// Capacity of the host's link in one direction.
    pub pcie_bytes_per_second: f64,
    /// Capacity of all links to other devices in one direction.
    pub fabric_bytes_per_second: f64,
}

/// A quantity that changes with the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Channel {
    /// Power draw, W.
    Power,
    /// GPU temperature, °C.
    GpuTemperature,
    /// Memory temperature, °C.
    MemoryTemperature,
    /// SM clock, MHz.
    SmClock,
    /// Memory allocated, of what is not reserved.
    MemoryFill,
    /// Time with any kernel on the device.
    Graphics,
    /// Time with a warp on an SM.
    Sm,
    /// Warps resident.
    Occupancy,
    /// Tensor pipes.
    Tensor,
    /// Device memory interface.
    Dram,
    /// FP64 pipe.
    Fp64,
    /// FP32 pipe.
    Fp32,
    /// FP16 pipe.
    Fp16,
    /// Integer pipe.
    Integer,
    /// Video decoders.
    Decoder,
    /// JPEG decoders.
    Jpeg,
    /// PCIe from the device, bytes per second.
    PcieTransmit,
    /// PCIe to the device, bytes per second.
    PcieReceive,
    /// NVLink from the device, all links, bytes per second.
    NvlinkTransmit,
    /// NVLink to the device, all links, bytes per second.
    NvlinkReceive,
    /// Clocks are low because nothing runs: 0 or 1, as are the following.
    Idle,
    /// Clocks are held below the power limit by the driver.
    PowerCap,
    /// Clocks are held below a temperature by the driver.
    SoftwareThermal,
    /// Clocks are halved by the hardware: too hot.
    HardwareThermal,
    /// Clocks are halved by the hardware: the power supply demands it.
    PowerBrake,
}

impl Channel {
    /// How many there are.
    pub const COUNT: usize = Self::PowerBrake as usize + 1;

    /// Whether the channel is 0 or 1, and so holds its value through a step.
    fn is_flag(self) -> bool {
        self as usize >= Self::Idle as usize
    }

    /// The channels that are load on something, and so vary a little from device to device.
    pub(crate) const LOADS: std::ops::RangeInclusive<usize> =
        Self::Graphics as usize..=Self::NvlinkReceive as usize;
}

/// One period for one kind of device under one workload.
pub struct Cycle {
    /// Row `i` is the state at second `i`; one row more than steps, equal to the first.
    levels: Box<[[f32; Channel::COUNT]]>,
    /// Row `i` is the integral from second 0 to second `i`, in ticks.
    ticks: Box<[[u64; Channel::COUNT]]>,
}

impl Cycle {
    /// Computes the period. The same arguments give the same cycle.
    pub fn new(silicon: &Silicon, workload: Workload, seed: u64) -> Self {
        let mut state = State::settled(silicon);
        // Temperatures and caches must end where they began: by the third pass they do, to below a sensor's
        // resolution.
        for _ in 0..2 {
            for step in 0..STEPS {
                state.advance(silicon, workload, seed, step);
            }
        }
        let mut levels = Vec::with_capacity(STEPS + 1);
        for step in 0..STEPS {
            levels.push(state.advance(silicon, workload, seed, step));
        }
        levels.push(levels[0]);

        let mut sum = [0u64; Channel::COUNT];
        let mut ticks = Vec::with_capacity(STEPS + 1);
        ticks.push(sum);
        for pair in levels.windows(2) {
            for (channel, total) in sum.iter_mut().enumerate() {
                let (from, to) = (f64::from(pair[0][channel]), f64::from(pair[1][channel]));
                let mean = if channel >= Channel::Idle as usize { from } else { f64::midpoint(from, to) };
                *total += (mean * STEP_SECONDS * TICKS_PER_UNIT).round() as u64;
            }
            ticks.push(sum);
        }
        Self { levels: levels.into_boxed_slice(), ticks: ticks.into_boxed_slice() }
    }

    /// The channel's level at a second since the beginning of time.
    pub fn level(&self, channel: Channel, second: f64) -> f64 {
        let (row, part) = row(second.rem_euclid(PERIOD_SECONDS));
        let from = f64::from(self.levels[row][channel as usize]);
        if channel.is_flag() {
            return from;
        }
        let to = f64::from(self.levels[row + 1][channel as usize]);
        from + (to - from) * part
    }

    /// The channel's integral from the beginning of time to a second, in unit times seconds. Never falls.
    pub fn integral(&self, channel: Channel, second: f64) -> f64 {
        let second = second.clamp(0.0, SECONDS_MAX);
        let periods = (second / PERIOD_SECONDS).floor();
        let (row, part) = row(second - periods * PERIOD_SECONDS);
        let index = channel as usize;
        let (from, to) = (f64::from(self.levels[row][index]), f64::from(self.levels[row + 1][index]));
        let mean = if channel.is_flag() { from } else { from + (to - from) * part / 2.0 };
        let within = (mean * part * STEP_SECONDS * TICKS_PER_UNIT) as u64;
        let step = self.ticks[row + 1][index] - self.ticks[row][index];
        let total = u128::from(self.ticks[STEPS][index]);
        let whole = periods as u128 * total + u128::from(self.ticks[row][index] + within.min(step));
        whole as f64 / TICKS_PER_UNIT
    }
}

/// Row and part of a step of a second within the period.
fn row(second: f64) -> (usize, f64) {
    // An odd clock (not a number, or infinite) reads as the beginning.
    let position = if second.is_finite() { second / STEP_SECONDS } else { 0.0 };
    let row = (position as usize).min(STEPS - 1);
    (row, (position - row as f64).clamp(0.0, 1.0))
}

/// What the next step depends on.
struct State {
    levels: [f64; Channel::COUNT],
    kv_cache: f64,
    /// What the driver's thermal control leaves of the clock.
    thermal_clock_ratio: f64,
}

impl State {
    fn settled(silicon: &Silicon) -> Self {
        let mut levels = [0.0; Channel::COUNT];
        let thermal = &silicon.thermal;
        let temperature = thermal.ambient_celsius + thermal.celsius_per_watt * silicon.power.idle_watts;
        levels[Channel::GpuTemperature as usize] = temperature;
        levels[Channel::MemoryTemperature as usize] = temperature;
        Self { levels, kv_cache: 0.0, thermal_clock_ratio: 1.0 }
    }

    fn advance(
        &mut self,
        silicon: &Silicon,
        workload: Workload,
        seed: u64,
        step: usize,
    ) -> [f32; Channel::COUNT] {
        use Channel as C;
        let phase = workload.phase(step as f64 * STEP_SECONDS);
        let pcie = silicon.pcie_bytes_per_second;
        let fabric = silicon.fabric_bytes_per_second;
        let load_lag = 1.0 - (-STEP_SECONDS / LOAD_TIME_CONSTANT_SECONDS).exp();
        let mut follow = |channel: C, target: f64, scale: f64| {
            let noise = 1.0 + 0.03 * hash::signed_unit(&[seed, channel as u64, step as u64]);
            let level = &mut self.levels[channel as usize];
            *level += ((target * noise).min(1.0) * scale - *level) * load_lag;
            if *level < 1e-4 * scale {
                *level = 0.0;
            }
            *level / scale.max(f64::MIN_POSITIVE)
        };
        follow(C::Graphics, phase.graphics, 1.0);
        let sm = follow(C::Sm, phase.sm, 1.0);
        follow(C::Occupancy, phase.occupancy, 1.0);
        let tensor = follow(C::Tensor, phase.tensor, 1.0);
        let dram = follow(C::Dram, phase.dram, 1.0);
        follow(C::Fp64, phase.fp64, 1.0);
        follow(C::Fp32, phase.fp32, 1.0);
        follow(C::Fp16, phase.fp16, 1.0);
        follow(C::Integer, phase.integer, 1.0);
        follow(C::Decoder, phase.decoder, 1.0);
        follow(C::Jpeg, phase.jpeg, 1.0);
        follow(C::PcieTransmit, phase.pcie_transmit, pcie);
        follow(C::PcieReceive, phase.pcie_receive, pcie);
        follow(C::NvlinkTransmit, phase.nvlink, fabric);
        follow(C::NvlinkReceive, phase.nvlink, fabric);

        self.kv_cache +=
            (phase.kv_cache - self.kv_cache) * (1.0 - (-STEP_SECONDS / KV_TIME_CONSTANT_SECONDS).exp());
        let fill = if phase.loaded { WEIGHTS_RATIO + KV_CACHE_RATIO * self.kv_cache } else { 0.0 };
        self.set(C::MemoryFill, fill);

        let idle = sm < 0.005;
        self.set(C::Idle, f64::from(u8::from(idle)));
        let demand = POWER_SM * sm + POWER_TENSOR * tensor + POWER_DRAM * dram;
        self.power_and_clock(silicon, phase.power_brake, idle, demand);
        self.heat(silicon, phase.heat_resistance, phase.warm_air_celsius, dram);
        self.levels.map(|level| level as f32)
    }

    fn set(&mut self, channel: Channel, level: f64) {
        self.levels[channel as usize] = level;
    }

    /// Power from the load and the clock; the clock from the reasons to slow down, power among them.
    fn power_and_clock(&mut self, silicon: &Silicon, power_brake: bool, idle: bool, demand: f64) {
        let power = &silicon.power;
        let temperature = self.levels[Channel::GpuTemperature as usize];
        let maximum = f64::from(silicon.thermal.gpu_max_celsius);
        if temperature > maximum {
            self.thermal_clock_ratio = (self.thermal_clock_ratio - 0.02).max(0.4);
        } else if temperature < maximum - 1.0 {
            self.thermal_clock_ratio = (self.thermal_clock_ratio + 0.01).min(1.0);
        }
        let too_hot = temperature >= f64::from(silicon.thermal.slowdown_celsius);
        let thermal = !idle && self.thermal_clock_ratio < 1.0;
        let mut ratio = if thermal { self.thermal_clock_ratio } else { 1.0 };
        if too_hot || power_brake {
            ratio *= 0.5;
        }
        let dynamic = (power.limit_watts - power.idle_watts) * demand;
        let wanted = dynamic * ratio.powf(POWER_CLOCK_EXPONENT);
        let room = power.limit_watts - power.idle_watts;
        let capped = wanted > room;
        if capped {
            ratio *= (room / wanted).powf(1.0 / POWER_CLOCK_EXPONENT);
        }
        let clocks = &silicon.clocks;
        let clock = if idle { clocks.core_idle_megahertz } else { clocks.core_max_megahertz * ratio };
        self.set(Channel::SmClock, clock.max(clocks.core_idle_megahertz));
        self.set(Channel::Power, power.idle_watts + wanted.min(room));
        for (channel, active) in [
            (Channel::PowerCap, capped),
            (Channel::SoftwareThermal, thermal),
            (Channel::HardwareThermal, too_hot),
            (Channel::PowerBrake, power_brake),
        ] {
            self.set(channel, f64::from(u8::from(active)));
        }
    }

    /// Temperatures follow power through the heat sink's resistance and capacity.
    fn heat(&mut self, silicon: &Silicon, resistance: f64, warm_air_celsius: f64, dram: f64) {
        let thermal = &silicon.thermal;
        let watts = self.levels[Channel::Power as usize];
        let air = thermal.ambient_celsius + warm_air_celsius;
        let gpu = air + thermal.celsius_per_watt * resistance * watts;
        let memory = gpu + 2.0 + 9.0 * dram;
        for (channel, target, seconds) in [
            (Channel::GpuTemperature, gpu, thermal.time_constant_seconds),
            (Channel::MemoryTemperature, memory, thermal.time_constant_seconds * MEMORY_HEAT_LAG),
        ] {
            let level = &mut self.levels[channel as usize];
            *level += (target - *level) * (1.0 - (-STEP_SECONDS / seconds).exp());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Channel, Cycle, PERIOD_SECONDS};
    use crate::profile::{Profile, accelerated};
    use crate::workload::Workload;

    const WORKLOADS: [Workload; 6] = [
        Workload::Mixed,
        Workload::Idle,
        Workload::Prefill,
        Workload::Decode,
        Workload::Burst,
        Workload::Hot,
    ];

    fn cycle(workload: Workload) -> Cycle {
        Cycle::new(&Profile::open("h100-sxm-8").expect("built in").device.silicon(), workload, 1)
    }

    #[test]
    fn the_integral_is_the_area_under_the_level() {
        let cycle = cycle(Workload::Mixed);
        for channel in [Channel::Power, Channel::Tensor, Channel::NvlinkTransmit, Channel::PowerCap] {
            let (from, to, steps) = (37.25, 433.5, 400_000);
            let width = (to - from) / f64::from(steps);
            let area: f64 = (0..steps)
                .map(|step| cycle.level(channel, from + (f64::from(step) + 0.5) * width) * width)
                .sum();
            let integral = cycle.integral(channel, to) - cycle.integral(channel, from);
            assert!((integral - area).abs() <= area * 1e-4 + 0.5, "{channel:?}: {integral} and {area}");
        }
    }

    #[test]
    fn integrals_never_fall_even_across_a_year_of_periods() {
        let cycle = cycle(Workload::Hot);
        for start in [0.0, 599.0, 5e7 - 1.0] {
            for index in [Channel::Power, Channel::NvlinkReceive, Channel::PowerBrake, Channel::Fp64] {
                let mut last = 0.0;
                for step in 0..20_000 {
                    let now = cycle.integral(index, start + f64::from(step) * 0.0501);
                    assert!(now >= last, "{index:?} at {start} + {step}: {now} after {last}");
                    last = now;
                }
            }
        }
    }

    #[test]
    fn no_time_is_too_odd() {
        let cycle = cycle(Workload::Mixed);
        for second in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, f64::MAX] {
            assert!(cycle.integral(Channel::NvlinkTransmit, second) >= 0.0);
            assert!(cycle.level(Channel::Power, second) >= 0.0);
        }
    }

    #[test]
    fn power_comes_first_and_heat_follows() {
        let cycle = cycle(Workload::Mixed);
        // At second 60 the machine leaves idle for prefill.
        let rise = |channel, second| cycle.level(channel, second) - cycle.level(channel, 58.0);
        assert!(rise(Channel::Power, 66.0) > 300.0);
        assert!(rise(Channel::GpuTemperature, 66.0) < 0.5 * rise(Channel::GpuTemperature, 104.0));
        assert!(rise(Channel::GpuTemperature, 104.0) > 15.0);
        assert!(cycle.level(Channel::SmClock, 40.0) < 350.0 && cycle.level(Channel::SmClock, 90.0) > 1900.0);
    }

    #[test]
    fn every_level_stays_within_what_the_hardware_can_do() {
        for name in accelerated() {
            let facts = Profile::open(name).expect("built in").device;
            for workload in WORKLOADS {
                let cycle = Cycle::new(&facts.silicon(), workload, 7);
                for second in 0..PERIOD_SECONDS as u32 {
                    let level = |channel| cycle.level(channel, f64::from(second));
                    let watts = level(Channel::Power);
                    assert!((facts.power.idle_watts - 0.1..=facts.power.limit_watts + 0.1).contains(&watts));
                    let limit = f64::from(facts.thermal.shutdown_celsius);
                    assert!(level(Channel::GpuTemperature) < limit, "{name} {workload:?} {second}");
                    assert!(level(Channel::SmClock) <= facts.clocks.core_max_megahertz);
                    for channel in [Channel::Sm, Channel::Tensor, Channel::Dram, Channel::MemoryFill] {
                        assert!((0.0..=1.0).contains(&level(channel)), "{channel:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_hot_machine_meets_every_reason_to_slow_down_and_a_calm_one_none() {
        for name in accelerated() {
            let facts = Profile::open(name).expect("built in").device;
            let total = |workload, channel| {
                Cycle::new(&facts.silicon(), workload, 1).integral(channel, PERIOD_SECONDS)
            };
            for channel in
                [Channel::PowerCap, Channel::SoftwareThermal, Channel::HardwareThermal, Channel::PowerBrake]
            {
                assert!(total(Workload::Hot, channel) >= 3.0, "{name} hot {channel:?}");
                assert!(total(Workload::Decode, channel) < 1.0, "{name} decode {channel:?}");
            }
            assert!(total(Workload::Burst, Channel::PowerCap) > 30.0, "{name}");
        }
    }

    #[test]
    fn the_period_closes() {
        for workload in WORKLOADS {
            let cycle = cycle(workload);
            for channel in [Channel::GpuTemperature, Channel::MemoryTemperature, Channel::Power] {
                let (end, begin) = (cycle.level(channel, 599.999), cycle.level(channel, 600.0));
                assert!((end - begin).abs() < 1.0, "{workload:?} {channel:?}: {end} then {begin}");
            }
        }
    }
}
