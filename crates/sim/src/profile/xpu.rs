//! What only an Intel GPU has: the table `[device.xpu]` of a machine.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::hold;

/// What only an Intel GPU has.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xpu {
    /// `xe` or `i915`.
    pub kernel_driver: String,
    /// Whether it shares the host's memory and has no sensors of its own.
    pub integrated: bool,
    /// Engines of each class, as the kernel calls the classes: rcs, ccs, bcs, vcs, vecs.
    pub engines: BTreeMap<String, u32>,
    /// Highest clock of the media engines.
    pub media_max_megahertz: u32,
    /// Number of the first card in the drm class; render nodes count from 128 on.
    pub first_card: u32,
    /// What the memory can move, read and written together.
    pub memory_gigabytes_per_second: f64,
    /// Power limits, W, by the kernel's names for them: `max` (sustained), `cap` (burst), `crit` (peak).
    pub power_limits: BTreeMap<String, f64>,
    /// Highest speed of the fan; 0 where there is none.
    pub fan_max_rpm: u32,
    /// Whether it counts errors by category (data-centre parts do, Battlemage does not).
    #[serde(default)]
    pub ras: bool,
    /// Fabric ports (Xe Link); 0 on all but data-centre parts.
    #[serde(default)]
    pub fabric_ports: u32,
    /// Tiles, each with its own GT; absent is one.
    #[serde(default = "one")]
    pub tiles: u32,
    /// `on`: never suspended; `auto`: suspended when idle.
    pub runtime_power: String,
    /// After how much idleness it would be.
    pub autosuspend_delay_ms: u32,
}

fn one() -> u32 {
    1
}

impl Xpu {
    pub(super) fn check(&self) -> Result<(), String> {
        let engines = self.engines.values().all(|count| (1..=64).contains(count));
        let limits = self.power_limits.keys().all(|limit| ["max", "cap", "crit"].contains(&limit.as_str()));
        hold(&[
            (
                ["xe", "i915"].contains(&self.kernel_driver.as_str()),
                "device.xpu: kernel_driver must be xe or i915",
            ),
            (
                ["on", "auto"].contains(&self.runtime_power.as_str()),
                "device.xpu: runtime_power must be on or auto",
            ),
            ((1..=4).contains(&self.tiles), "device.xpu: 1 to 4 tiles"),
            (self.fabric_ports <= 16, "device.xpu: at most 16 fabric_ports"),
            (limits, "device.xpu.power_limits: max, cap or crit"),
            (engines, "device.xpu.engines: 1 to 64 of each class"),
            (
                self.memory_gigabytes_per_second > 0.0,
                "device.xpu: memory_gigabytes_per_second must be above 0",
            ),
        ])
    }
}
