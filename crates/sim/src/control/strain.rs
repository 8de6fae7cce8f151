//! `[[memory]]`, `[[heat]]` and `[[process]]`: what fills or heats a device beside its load, and who works on it.

use serde::{Deserialize, Serialize};

/// Memory that something beside the load has allocated: a second process, a leak.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The device.
    pub device: usize,
    /// Share of what is not reserved that is allocated at least, 0 to 1.
    pub fill: f64,
}

/// Heat that the load does not explain: a failed fan, blocked air. Reasons to slow down and the clock follow
/// it; times that the device counts of its slowdowns remain those of the load.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Heat {
    /// The device.
    pub device: usize,
    /// How much hotter the device and its memory are, °C.
    pub celsius: f64,
}

/// The processes that work on a device, in place of those that the machine makes up.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Processes {
    /// The device.
    pub device: usize,
    /// Their ids. On a whole device they divide its load; on a cut one each has a compute instance, in order.
    pub pids: Vec<u32>,
}

/// What the tables of memory and heat make of one device.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Strain {
    pub(crate) memory_fill: f64,
    pub(crate) heat_celsius: f64,
}

impl Strain {
    pub(crate) fn fill(&mut self, memory: &Memory) -> Result<(), String> {
        if !(0.0..=1.0).contains(&memory.fill) {
            return Err(format!("memory: fill = {}: write a number from 0 to 1", memory.fill));
        }
        self.memory_fill = self.memory_fill.max(memory.fill);
        Ok(())
    }

    pub(crate) fn heat(&mut self, heat: &Heat) -> Result<(), String> {
        if !(0.0..=100.0).contains(&heat.celsius) {
            return Err(format!("heat: celsius = {}: write a number from 0 to 100", heat.celsius));
        }
        self.heat_celsius += heat.celsius;
        Ok(())
    }
}
