//! From NVML's units and names to base units and the catalogue: one line per quantity, nothing else.
//!
//! Past this room no value is in megahertz, milliwatts, percent or KiB.

mod clocks;
mod engines;
pub mod events;
mod fabric;
mod health;
mod links;
mod memory;
mod platform;
mod rare_links;
mod thermal;

pub use clocks::REASON_NANOSECONDS;
pub use links::link_bytes;

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use naming::{Count, Flag, Seconds, catalogue as m};
use reading::{Batch, Fault, Identity, Labels, Measured};

use crate::{
    announced::History,
    rates::{ClockEvents, Counts},
    raw::{FieldValues, GpmMetrics, Mandatory, Memory, Rare, Raw},
};

/// Everything that one round over a device yielded.
pub struct DeviceSample<'a> {
    /// Single-value calls.
    pub raw: &'a Raw,
    /// How many NVLinks the board has.
    pub links: Measured<u32>,
    /// Field values.
    pub fields: &'a FieldValues,
    /// What is read once in a while.
    pub rare: &'a Rare,
    /// How long ago it was read.
    pub rare_age: Duration,
    /// Context switches since the device was opened.
    pub context_switches: Measured<u64>,
    /// Power of the last moments.
    pub power_instant_mw: Measured<u64>,
    /// Profiling counters.
    pub gpm: &'a GpmMetrics,
    /// What was counted so far.
    pub counts: Counts,
    /// Clock events of the window.
    pub clock_events: &'a ClockEvents,
    /// Labels of the info metric.
    pub info: &'a Labels,
    /// What was announced, or why nothing can be received.
    pub announced: Measured<History>,
    /// When the round was taken.
    pub now: Instant,
}

/// What NVML counts per MIG instance. Links belong to the device as a whole.
pub struct PartitionSample<'a> {
    /// Framebuffer of the instance.
    pub memory: Measured<Memory>,
    /// Profiling counters.
    pub gpm: &'a GpmMetrics,
    /// Labels of the info metric.
    pub info: &'a Labels,
    /// What was announced, or why nothing can be received.
    pub announced: Measured<History>,
    /// When the round was taken.
    pub now: Instant,
}

/// Bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// Puts a whole device into the batch.
pub fn device(sample: &DeviceSample<'_>, batch: &mut Batch) {
    batch.put(m::DEVICE_INFO, sample.info.clone(), Ok(Flag(true)));
    engines::utilization(sample.raw, batch);
    engines::profiling(sample.gpm, batch);
    batch.put_sum(m::CONTEXT_SWITCHES, Labels::NONE, sample.context_switches.map(Count));
    memory::framebuffer(sample.raw.memory, batch);
    memory::bar1(sample.raw, batch);
    thermal::temperatures(sample, batch);
    thermal::power(sample, batch);
    thermal::fans(sample.raw, batch);
    clocks::clocks(sample.raw, batch);
    clocks::events(sample, batch);
    links::rates(sample.gpm, batch);
    links::nvlink(sample, batch);
    links::pcie(sample, batch);
    health::ecc(sample, batch);
    health::memory_repair(sample, batch);
    health::recovery(sample, batch);
    fabric::put(sample.raw.fabric, batch);
    health::modes(sample.raw, batch);
    events::device(sample.announced.as_ref(), sample.now, batch);
    batch.put(m::SLOW_READINGS_AGE, Labels::NONE, Ok(Seconds(sample.rare_age.as_secs_f64())));
}

/// What is read of a device once in a while, as a part of its rounds. `fields` are those of the round that read it;
/// `links` and `c2c_links` are how many it has.
pub fn rare(
    rare: &Rare,
    fields: &FieldValues,
    links: Measured<u32>,
    c2c_links: Measured<u32>,
    identity: &Arc<Identity>,
) -> Batch {
    let mut part = Batch::default();
    part.begin(identity);
    platform::put(rare, &mut part);
    thermal::profiles(rare.profiles, &mut part);
    rare_links::put(&rare.fields, fields, links, c2c_links, &mut part);
    health::repairs(rare, &mut part);
    part.merge_absences();
    part
}

/// Puts what is known of a device that is not called, because it sleeps or should be able to.
pub fn unread(info: &Labels, announced: Result<&History, &Fault>, now: Instant, batch: &mut Batch) {
    batch.put(m::DEVICE_INFO, info.clone(), Ok(Flag(true)));
    events::device(announced, now, batch);
}

/// Puts what is mandatory of a device into the batch.
pub fn mandatory(read: &Mandatory, info: &Labels, batch: &mut Batch) {
    batch.put(m::DEVICE_INFO, info.clone(), Ok(Flag(true)));
    engines::coarse(read.utilization_percent, batch);
    memory::framebuffer(read.memory, batch);
    thermal::die(read.temperature_c.map(f64::from), batch);
    thermal::drawn(read.power_mw, batch);
}

/// Puts a MIG instance into the batch.
pub fn partition(sample: &PartitionSample<'_>, batch: &mut Batch) {
    batch.put(m::DEVICE_INFO, sample.info.clone(), Ok(Flag(true)));
    engines::profiling(sample.gpm, batch);
    memory::framebuffer(sample.memory, batch);
    events::partition(sample.announced.as_ref(), sample.now, batch);
}
