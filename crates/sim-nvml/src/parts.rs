//! What depends on the part: the conditions under which a function returns `NVML_ERROR_NOT_SUPPORTED`.

use sim::Device;
use sim::cycle::Channel;
use sim::profile::{Architecture, Nvlink};

use crate::call::{Result, code};

/// What a part can do.
pub(crate) trait Part {
    /// Not supported before this generation.
    fn since(&self, architecture: Architecture) -> Result;
    /// Not supported before this driver.
    fn since_driver(&self, release: u32) -> Result;
    /// Not there before this driver: its library lacks the function.
    fn function_since(&self, release: u32) -> Result;
    /// Not supported while the GPU is cut.
    fn whole(&self) -> Result;
    /// Not supported without NVLink.
    fn nvlink(&self) -> Result<&Nvlink>;
    /// An NVLink by number: beyond what NVML knows it is invalid, beyond what the part has not supported.
    fn link(&self, link: u32) -> Result<u32>;
    /// Whether pages are retired instead of rows remapped.
    fn retires_pages(&self) -> bool;
    /// Power as `nvmlDeviceGetPowerUsage` gives it: over a second from Ampere on, but for GA100.
    fn power_usage_watts(&self) -> f64;
    /// Whether power is averaged by the hardware.
    fn averages_power(&self) -> bool;
}

impl Part for Device<'_> {
    fn since(&self, architecture: Architecture) -> Result {
        if self.nvidia().architecture >= architecture { Ok(()) } else { Err(code::NOT_SUPPORTED) }
    }

    fn since_driver(&self, release: u32) -> Result {
        if self.driver().release().0 >= release { Ok(()) } else { Err(code::NOT_SUPPORTED) }
    }

    fn function_since(&self, release: u32) -> Result {
        if self.driver().release().0 >= release { Ok(()) } else { Err(code::FUNCTION_NOT_FOUND) }
    }

    fn whole(&self) -> Result {
        if self.standing().mig_enabled { Err(code::NOT_SUPPORTED) } else { Ok(()) }
    }

    fn nvlink(&self) -> Result<&Nvlink> {
        self.nvidia().nvlink.as_ref().ok_or(code::NOT_SUPPORTED)
    }

    fn link(&self, link: u32) -> Result<u32> {
        if link >= crate::abi::sys::NVML_NVLINK_MAX_LINKS {
            Err(code::INVALID_ARGUMENT)
        } else if link >= self.nvlink()?.links {
            Err(code::NOT_SUPPORTED)
        } else {
            Ok(link)
        }
    }

    fn retires_pages(&self) -> bool {
        self.facts().ecc.remap_banks == 0
    }

    fn power_usage_watts(&self) -> f64 {
        if self.averages_power() { self.power_mean_watts() } else { self.power_watts() }
    }

    fn averages_power(&self) -> bool {
        let nvidia = self.nvidia();
        let ga100 = nvidia.compute_capability == [8, 0];
        nvidia.architecture >= Architecture::Ampere && !ga100
    }
}

/// A ratio as NVML's whole percent.
pub(crate) fn percent(ratio: f64) -> u32 {
    (ratio * 100.0).round().clamp(0.0, 100.0) as u32
}

/// Watts as NVML's milliwatts.
pub(crate) fn milliwatts(watts: f64) -> u32 {
    (watts * 1e3).round() as u32
}

/// Time with any kernel on the device, over the last sample period of NVML's utilization (1/6 s).
pub(crate) fn gpu_utilization(device: &Device<'_>) -> u32 {
    percent(recent(device, Channel::Graphics))
}

/// A load over the last sample period of NVML's utilization.
pub(crate) fn recent(device: &Device<'_>, channel: Channel) -> f64 {
    device.mean_since(device.now_seconds() - UTILIZATION_PERIOD_SECONDS, channel)
}

/// Sample period of NVML's utilization: a sixth of a second.
pub(crate) const UTILIZATION_PERIOD_SECONDS: f64 = 1.0 / 6.0;
