//! Temperatures, power, energy, fans, performance state.

use std::ffi::{c_uint, c_ulonglong};

use sim::Device;
use sim::cycle::Channel;
use sim::profile::Architecture;

use crate::abi::sys::{
    self, nvmlEnableState_enum_NVML_FEATURE_ENABLED as ENABLED, nvmlEnableState_t, nvmlFanSpeedInfo_t,
    nvmlMarginTemperature_t, nvmlPstates_t, nvmlTemperature_t,
};
use crate::abi::version;
use crate::args::{Gpu, Out, garble};
use crate::call::{NvmlCall, Result, code, entries, readings};
use crate::parts::{Part, milliwatts};

/// `nvmlTemperatureSensors_t`: the only sensor that there is.
const SENSOR_GPU: c_uint = sys::nvmlTemperatureSensors_enum_NVML_TEMPERATURE_GPU;

garble! {
    nvmlTemperature_t { temperature }
    nvmlMarginTemperature_t { marginTemperature }
}

readings! {
    nvmlDeviceGetPowerUsage: c_uint = |device| Ok(milliwatts(device.power_usage_watts()));
    nvmlDeviceGetTotalEnergyConsumption: c_ulonglong = |device| Ok(millijoules(&device));
    nvmlDeviceGetPowerManagementMode: nvmlEnableState_t = |_device| Ok(ENABLED);
    nvmlDeviceGetPowerManagementLimit: c_uint = |device| Ok(milliwatts(device.facts().power.limit_watts));
    nvmlDeviceGetPowerManagementDefaultLimit: c_uint =
        |device| Ok(milliwatts(device.facts().power.limit_watts));
    nvmlDeviceGetEnforcedPowerLimit: c_uint = |device| Ok(milliwatts(device.facts().power.limit_watts));
    nvmlDeviceGetPerformanceState: nvmlPstates_t = |device| Ok(performance_state(&device));
    nvmlDeviceGetPowerState: nvmlPstates_t = |device| Ok(performance_state(&device));
    nvmlDeviceGetPowerSource: c_uint = |_device| Ok(sys::NVML_POWER_SOURCE_AC);
    nvmlDeviceGetFanSpeed: c_uint = |device| no_fan(&device);
    nvmlDeviceGetNumFans: c_uint = |_device| Ok(0);
}

entries! {
    fn nvmlDeviceGetPowerManagementLimitConstraints(call, gpu: Gpu, min: Out<c_uint>, max: Out<c_uint>) {
        let power = &call.gpu(gpu.0)?.facts().power;
        min.set(call, milliwatts(power.limit_min_watts))?;
        max.set(call, milliwatts(power.limit_max_watts))
    }

    fn nvmlDeviceGetTemperature(call, gpu: Gpu, sensor: c_uint, celsius: Out<c_uint>) {
        if sensor != SENSOR_GPU {
            return Err(code::INVALID_ARGUMENT);
        }
        celsius.set(call, call.celsius(call.gpu(gpu.0)?.temperature_celsius()))
    }

    fn nvmlDeviceGetTemperatureV(call, gpu: Gpu, temperature: Out<nvmlTemperature_t>) {
        let mut reading = temperature.get();
        if reading.version != version::<nvmlTemperature_t>(1) {
            return Err(code::VERSION_MISMATCH);
        }
        if reading.sensorType != SENSOR_GPU {
            return Err(code::INVALID_ARGUMENT);
        }
        reading.temperature = call.celsius(call.gpu(gpu.0)?.temperature_celsius()).cast_signed();
        temperature.set(call, reading)
    }

    fn nvmlDeviceGetTemperatureThreshold(call, gpu: Gpu, threshold: c_uint, celsius: Out<c_uint>) {
        let device = call.gpu(gpu.0)?;
        let thermal = &device.facts().thermal;
        let limit = match threshold {
            sys::nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_SHUTDOWN => {
                thermal.shutdown_celsius
            }
            sys::nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_SLOWDOWN => {
                thermal.slowdown_celsius
            }
            sys::nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_MEM_MAX => {
                thermal.memory_max_celsius.ok_or(code::NOT_SUPPORTED)?
            }
            sys::nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_GPU_MAX => {
                thermal.gpu_max_celsius
            }
            other if other < sys::nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_COUNT => {
                return Err(code::NOT_SUPPORTED);
            }
            _ => return Err(code::INVALID_ARGUMENT),
        };
        celsius.set(call, limit as c_uint)
    }

    fn nvmlDeviceGetMarginTemperature(call, gpu: Gpu, margin: Out<nvmlMarginTemperature_t>) {
        let mut reading = margin.get();
        if reading.version != version::<nvmlMarginTemperature_t>(1) {
            return Err(code::VERSION_MISMATCH);
        }
        let device = call.gpu(gpu.0)?;
        device.since(Architecture::Ada)?;
        let celsius = call.celsius(device.temperature_celsius()).cast_signed();
        reading.marginTemperature = device.facts().thermal.gpu_max_celsius - celsius;
        margin.set(call, reading)
    }

    fn nvmlDeviceGetFanSpeed_v2(call, gpu: Gpu, _fan: c_uint, _speed: Out<c_uint>) {
        no_fan(&call.gpu(gpu.0)?).map(|_| ())
    }

    fn nvmlDeviceGetFanSpeedRPM(call, gpu: Gpu, _speed: Out<nvmlFanSpeedInfo_t>) {
        no_fan(&call.gpu(gpu.0)?).map(|_| ())
    }
}

/// Energy since the driver was loaded.
pub(crate) fn millijoules(device: &Device<'_>) -> u64 {
    (device.energy_joules() * 1e3) as u64
}

fn performance_state(device: &Device<'_>) -> nvmlPstates_t {
    if device.is_active(Channel::Idle) { device.nvidia().idle_performance_state } else { 0 }
}

/// All the parts here are cooled by their chassis.
fn no_fan(_device: &Device<'_>) -> Result<c_uint> {
    Err(code::NOT_SUPPORTED)
}
