//! The catalogue: one entry per quantity, in the order in which families are printed.
//!
//! HELP texts of DCGM names that dcgm-exporter's own counter lists carry are theirs, byte for byte; the
//! other DCGM fields have no published HELP, so those sentences are ours.

use crate::Family::{Amx, Gaudi, Npu, Nvidia, Xpu};
use crate::VendorUnit::{
    Base, KilobytesPerSecond, Mebibytes, MegabytesPerSecond, Megahertz, Millijoules, Milliwatts, Nanoseconds,
    Percent,
};
use crate::entry::{
    accelerator, alias, counter, dcgm, dcgm_counter, gauge, habana, info, own, state_set, vendor_only,
};
use crate::{
    Bytes, BytesPerSecond, Celsius, Count, Distribution, Flag, Hertz, Joules, Kind, Label, Metric, MetricOf,
    Quantity, Ratio, Seconds, Watts,
};

macro_rules! catalogue {
    ($($id:ident: $quantity:ty = $entry:expr;)*) => {
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "the index of each entry, by its name")]
        #[repr(u16)]
        enum Index { $($id),* }

        $(
            #[doc = concat!("Handle of the entry `", stringify!($id), "`.")]
            pub const $id: MetricOf<$quantity> = MetricOf::new(Index::$id as u16);
        )*

        /// Every entry.
        pub static METRICS: &[Metric] = &[$({
            let mut entry: Metric = $entry;
            entry.unit = <$quantity as Quantity>::UNIT;
            entry
        }),*];

        /// The name of each entry's handle, in the order of [`METRICS`].
        pub(crate) static HANDLES: &[&str] = &[$(stringify!($id)),*];
    };
}

catalogue! {
    // Identity.
    DEVICE_INFO: Flag = info("accel_device_info", "What the device is: model, address, serial, driver and firmware versions")
        .labels(&[Label::Vendor, Label::Model, Label::Architecture, Label::PciBusId, Label::Serial, Label::BoardPartNumber, Label::DriverVersion,
            Label::LibraryVersion, Label::RuntimeVersion, Label::FirmwareVersion, Label::InforomVersion, Label::EccInforomVersion,
            Label::PowerInforomVersion, Label::OemInforomVersion, Label::Brand, Label::PartitionProfile, Label::RatedTops, Label::SchedMode, Label::Features,
            Label::SignalSources, Label::FitVersion, Label::CpldVersion, Label::ModuleId, Label::PcbVersion, Label::PcbAssemblyVersion])
        .from(&[(Nvidia, "nvmlDeviceGetName, GetPciInfo, GetSerial, GetVbiosVersion, GetInforomVersion"),
            (Gaudi, "hlml_device_get_name, get_serial, get_pci_info, get_pcb_info, sysfs"), (Xpu, "sysfs, zesDeviceGetProperties"),
            (Npu, "sysfs"), (Amx, "CPUID, sysfs")]);
    DEVICE_CONFIG: Flag = vendor_only("Intel's Gaudi exporter prints a constant 1 beside its labels; the unified schema has accel_device_info")
        .from(&[(Gaudi, "hlml_device_get_handle_by_index")])
        .vendor(const { &[habana("habanalabs_device_config", Base, "Labels of the device, always 1.")] });
    DEVICE_UP: Flag = gauge("accel_device_up", "Whether the device answered within its deadline, 0 while it has no other series")
        .sourceless("Made by the exporter from each device's last sample.");
    DEVICE_ASLEEP: Flag = gauge("accel_device_asleep", "Whether runtime power management has suspended the device")
        .from(&[(Xpu, "power/runtime_status"), (Npu, "power/runtime_status")]);
    RUNTIME_SECONDS: Seconds = counter("accel_runtime_seconds_total", "Time that the device has been awake (state active) and asleep (state suspended), as runtime power management counts it")
        .labels(&[Label::State])
        .from(&[(Npu, "power/runtime_active_time, power/runtime_suspended_time")]);
    DEVICES: Count = own(Kind::Gauge, "accel_devices", &[Label::Family], "Devices that the family's driver lists now");
    DEVICES_EXPECTED: Count = own(Kind::Gauge, "accel_devices_expected", &[Label::Family],
        "Devices of the family on the PCI bus, from the vendor and class files under bus/pci/devices, without those that virtual machines are given");

    // Compute.
    UTILIZATION: Ratio = gauge("accel_utilization_ratio", "Share of the last sample period in which any work ran; coarse, it says nothing about how full the device was")
        .from(&[(Nvidia, "nvmlDeviceGetUtilizationRates"), (Gaudi, "hlml_device_get_utilization_rates, may be derived from power"),
            (Xpu, "the busiest engine, else gtidle and rc6_residency_ms"), (Npu, "npu_busy_time_us")])
        .integral(UTILIZATION_BUSY.id)
        .vendor(const { &[
            dcgm("DCGM_FI_DEV_GPU_UTIL", Percent, "GPU utilization (in %)."),
            alias(Npu, "npu_utilization", Percent, "Share of the time in which the NPU had work (in %)."),
            habana("habanalabs_utilization", Percent, "Utilization of the last second (in %), cut to 100, may be derived from power."),
            alias(Gaudi, "habana_hpu_utilization", Percent, "Utilization of the last second (in %), cut to 100, may be derived from power."),
            accelerator("accelerator_gpu_utilization", Percent, "Utilization of the last second (in %), cut to 100, may be derived from power."),
        ] });
    UTILIZATION_BUSY: Seconds = counter("accel_utilization_busy_seconds_total", "Integral of accel_utilization_ratio over time")
        .sourceless("Integrated by the exporter from accel_utilization_ratio.");
    ENGINE_ACTIVE: Ratio = gauge("accel_engine_active_ratio", "Share of cycles or time in which the engine was busy, averaged over the last interval")
        .labels(&[Label::Engine])
        .from(&[(Nvidia, "nvmlGpmMetricsGet, nvmlDeviceGetEncoderUtilization, GetDecoderUtilization, GetJpgUtilization, GetOfaUtilization"),
            (Xpu, "fdinfo of every client, xe and i915 PMU, zesEngineGetActivity"), (Npu, "npu_busy_time_us"), (Amx, "EXE.AMX_BUSY over unhalted cycles")])
        .integral(ENGINE_BUSY.id)
        .vendor(const { &[
            dcgm("DCGM_FI_DEV_ENC_UTIL", Percent, "Encoder utilization (in %).").when(&[(Label::Engine, "encode")]),
            dcgm("DCGM_FI_DEV_DEC_UTIL", Percent, "Decoder utilization (in %).").when(&[(Label::Engine, "decode")]),
            dcgm("DCGM_FI_PROF_GR_ENGINE_ACTIVE", Base, "Ratio of time the graphics engine is active.").when(&[(Label::Engine, "graphics")]),
            dcgm("DCGM_FI_PROF_SM_ACTIVE", Base, "The ratio of cycles an SM has at least 1 warp assigned.").when(&[(Label::Engine, "sm")]),
            dcgm("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", Base, "Ratio of cycles the tensor (HMMA) pipe is active.").when(&[(Label::Engine, "tensor")]),
            dcgm("DCGM_FI_PROF_PIPE_TENSOR_DFMA_ACTIVE", Base, "Ratio of cycles the tensor (DFMA) pipe is active.").when(&[(Label::Engine, "tensor_dfma")]),
            dcgm("DCGM_FI_PROF_PIPE_TENSOR_HMMA_ACTIVE", Base, "Ratio of cycles the tensor (HMMA) pipe is active, without other tensor work.").when(&[(Label::Engine, "tensor_hmma")]),
            dcgm("DCGM_FI_PROF_PIPE_TENSOR_IMMA_ACTIVE", Base, "Ratio of cycles the tensor (IMMA) pipe is active.").when(&[(Label::Engine, "tensor_imma")]),
            dcgm("DCGM_FI_PROF_PIPE_FP64_ACTIVE", Base, "Ratio of cycles the fp64 pipes are active.").when(&[(Label::Engine, "fp64")]),
            dcgm("DCGM_FI_PROF_PIPE_FP32_ACTIVE", Base, "Ratio of cycles the fp32 pipes are active.").when(&[(Label::Engine, "fp32")]),
            dcgm("DCGM_FI_PROF_PIPE_FP16_ACTIVE", Base, "Ratio of cycles the fp16 pipes are active.").when(&[(Label::Engine, "fp16")]),
            dcgm("DCGM_FI_PROF_PIPE_INT_ACTIVE", Base, "Ratio of cycles the integer pipe is active.").when(&[(Label::Engine, "int")]),
            alias(Amx, "cpu_amx_utilization", Percent, "Share of the unhalted cycles in which AMX is busy (in %).").when(&[(Label::Engine, "amx")]),
            alias(Xpu, "xe_engine_utilization", Percent, "Busy share of the engine (in %).").keep(&[(Label::Engine, "engine")]),
        ] });
    ENGINE_BUSY: Seconds = counter("accel_engine_busy_seconds_total", "Integral of accel_engine_active_ratio over time; its rate is the exact mean over any window")
        .labels(&[Label::Engine])
        .sourceless("Integrated by the exporter from accel_engine_active_ratio.");
    SM_OCCUPANCY: Ratio = gauge("accel_sm_occupancy_ratio", "Resident warps over the maximum that the SMs can hold")
        .from(&[(Nvidia, "nvmlGpmMetricsGet SM_OCCUPANCY")])
        .vendor(const { &[dcgm("DCGM_FI_PROF_SM_OCCUPANCY", Base, "The ratio of number of warps resident on an SM.")] });
    CYCLES: Count = counter("accel_cycles_total", "Unhalted cycles of all threads (kind thread), of all cores (kind core) and those in which AMX was busy (kind amx), summed over the socket")
        .labels(&[Label::Kind])
        .from(&[(Amx, "perf events CPU_CLK_UNHALTED.THREAD, CPU_CLK_UNHALTED.DISTRIBUTED and EXE.AMX_BUSY")]);
    INSTRUCTIONS: Count = counter("accel_instructions_total", "Instructions retired, summed over the socket; over accel_cycles_total of kind thread it is instructions per cycle")
        .from(&[(Amx, "perf event INST_RETIRED.ANY")]);
    COMPUTE_PROCESSES: Count = gauge("accel_compute_processes", "Processes with a compute context on the device")
        .from(&[(Nvidia, "nvmlDeviceGetComputeRunningProcesses_v3"), (Xpu, "fdinfo of all that have it open")]);

    // Memory.
    MEMORY_TOTAL: Bytes = gauge("accel_memory_total_bytes", "Device memory, including what the driver reserves")
        .from(&[(Nvidia, "nvmlDeviceGetMemoryInfo_v2"), (Gaudi, "hlml_device_get_memory_info"), (Xpu, "DRM query MEM_REGIONS, zesMemoryGetState")])
        .vendor(const { &[
            dcgm("DCGM_FI_DEV_FB_TOTAL", Mebibytes, "Framebuffer memory total (in MiB)."),
            habana("habanalabs_memory_total_bytes", Base, "Device memory (in bytes)."),
            accelerator("accelerator_memory_total_bytes", Base, "Device memory (in bytes)."),
        ] });
    MEMORY_USED: Bytes = gauge("accel_memory_used_bytes", "Device memory allocated by processes")
        .from(&[(Nvidia, "nvmlDeviceGetMemoryInfo_v2"), (Gaudi, "hlml_device_get_memory_info"),
            (Xpu, "DRM query MEM_REGIONS, zesMemoryGetState"), (Npu, "npu_memory_utilization")])
        .vendor(const { &[
            dcgm("DCGM_FI_DEV_FB_USED", Mebibytes, "Framebuffer memory used (in MiB)."),
            habana("habanalabs_memory_used_bytes", Base, "Device memory in use (in bytes)."),
            alias(Gaudi, "habana_hbm_used", Base, "Device memory in use (in bytes)."),
            alias(Xpu, "xe_memory_used", Base, "Device memory allocated (in bytes)."),
            accelerator("accelerator_memory_used_bytes", Base, "Device memory in use (in bytes)."),
        ] });
    MEMORY_FREE: Bytes = gauge("accel_memory_free_bytes", "Device memory that can still be allocated")
        .from(&[(Nvidia, "nvmlDeviceGetMemoryInfo_v2"), (Gaudi, "hlml_device_get_memory_info"), (Xpu, "DRM query MEM_REGIONS, zesMemoryGetState")])
        .vendor(const { &[
            dcgm("DCGM_FI_DEV_FB_FREE", Mebibytes, "Framebuffer memory free (in MiB)."),
            habana("habanalabs_memory_free_bytes", Base, "Device memory that is free (in bytes)."),
        ] });
    MEMORY_RESERVED: Bytes = gauge("accel_memory_reserved_bytes", "Device memory reserved by driver and firmware; absent on drivers that count it as used")
        .from(&[(Nvidia, "nvmlDeviceGetMemoryInfo_v2")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_FB_RESERVED", Mebibytes, "Framebuffer memory reserved (in MiB).")] });
    MEMORY_SHARED: Bytes = gauge("accel_memory_shared_bytes", "Host memory resident for the device's clients, which is all that an integrated GPU works in; a buffer that clients share counts for each")
        .from(&[(Xpu, "fdinfo")]);
    MEMORY_BANDWIDTH_ACTIVE: Ratio = gauge("accel_memory_bandwidth_active_ratio", "Share of cycles in which the memory interface moved data")
        .from(&[(Nvidia, "nvmlGpmMetricsGet DRAM_BW_UTIL"), (Xpu, "zesMemoryGetBandwidth")])
        .integral(MEMORY_BANDWIDTH_BUSY.id)
        .vendor(const { &[dcgm("DCGM_FI_PROF_DRAM_ACTIVE", Base, "Ratio of cycles the device memory interface is active sending or receiving data.")] });
    MEMORY_BANDWIDTH_BUSY: Seconds = counter("accel_memory_bandwidth_busy_seconds_total", "Integral of accel_memory_bandwidth_active_ratio over time")
        .sourceless("Integrated by the exporter from accel_memory_bandwidth_active_ratio.");
    MEMORY_CONTROLLER_ACTIVE: Ratio = gauge("accel_memory_controller_active_ratio", "Share of the last sample period in which device memory was read or written at all; coarse")
        .from(&[(Nvidia, "nvmlDeviceGetUtilizationRates")])
        .integral(MEMORY_CONTROLLER_BUSY.id)
        .vendor(const { &[dcgm("DCGM_FI_DEV_MEM_COPY_UTIL", Percent, "Memory utilization (in %).")] });
    MEMORY_CONTROLLER_BUSY: Seconds = counter("accel_memory_controller_busy_seconds_total", "Integral of accel_memory_controller_active_ratio over time")
        .sourceless("Integrated by the exporter from accel_memory_controller_active_ratio.");
    MEMORY_READ: Bytes = counter("accel_memory_read_bytes_total", "Bytes read from device or socket memory")
        .from(&[(Xpu, "zesMemoryGetBandwidth"), (Amx, "uncore_imc cas_count_read")]);
    MEMORY_WRITTEN: Bytes = counter("accel_memory_written_bytes_total", "Bytes written to device or socket memory")
        .from(&[(Xpu, "zesMemoryGetBandwidth"), (Amx, "uncore_imc cas_count_write")]);
    MEMORY_TRAFFIC: Bytes = counter("accel_memory_traffic_bytes_total", "Bytes moved between the device and memory, where it does not tell reads from writes")
        .from(&[(Npu, "PMT VPU_MEMORY_BW since it is followed")]);
    BAR1_TOTAL: Bytes = gauge("accel_bar1_memory_total_bytes", "Aperture through which the host maps device memory")
        .from(&[(Nvidia, "nvmlDeviceGetBAR1MemoryInfo")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_BAR1_TOTAL", Mebibytes, "BAR1 memory total (in MiB).")] });
    BAR1_USED: Bytes = gauge("accel_bar1_memory_used_bytes", "Aperture that is mapped")
        .from(&[(Nvidia, "nvmlDeviceGetBAR1MemoryInfo")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_BAR1_USED", Mebibytes, "BAR1 memory used (in MiB).")] });
    BAR1_FREE: Bytes = gauge("accel_bar1_memory_free_bytes", "Aperture that can still be mapped")
        .from(&[(Nvidia, "nvmlDeviceGetBAR1MemoryInfo")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_BAR1_FREE", Mebibytes, "BAR1 memory free (in MiB).")] });

    // Heat, power, clocks.
    TEMPERATURE: Celsius = gauge("accel_temperature_celsius", "Temperature of the die (sensor gpu), of its memory (sensor memory) or of the part that the sensor names")
        .labels(&[Label::Sensor])
        .from(&[(Nvidia, "nvmlDeviceGetTemperature, field MEMORY_TEMP"), (Gaudi, "hwmon, hlml_device_get_temperature"),
            (Xpu, "hwmon, zesTemperatureGetState"), (Npu, "PMT SOC_TEMPERATURES"), (Amx, "hwmon coretemp")])
        .vendor(const { &[
            dcgm("DCGM_FI_DEV_GPU_TEMP", Base, "GPU temperature (in C).").when(&[(Label::Sensor, "gpu")]),
            dcgm("DCGM_FI_DEV_MEMORY_TEMP", Base, "Memory temperature (in C).").when(&[(Label::Sensor, "memory")]),
            habana("habanalabs_temperature_onchip", Base, "Temperature of the chip (in C).").when(&[(Label::Sensor, "gpu")]),
            habana("habanalabs_temperature_onboard", Base, "Temperature of the board (in C).").when(&[(Label::Sensor, "board")]),
            accelerator("accelerator_temperature_celcius", Base, "Temperature of the chip (in C), spelt as in the original.").when(&[(Label::Sensor, "gpu")]),
        ] });
    TEMPERATURE_LIMIT: Celsius = gauge("accel_temperature_limit_celsius", "Temperature at which the device slows down, shuts down or leaves its operating range")
        .labels(&[Label::Sensor, Label::Limit])
        .from(&[(Nvidia, "nvmlDeviceGetTemperatureThreshold"), (Gaudi, "hlml_device_get_temperature_threshold"), (Xpu, "hwmon max, crit, emergency"), (Amx, "hwmon coretemp crit")])
        .vendor(const { &[
            dcgm("DCGM_FI_DEV_SLOWDOWN_TEMP", Base, "Slowdown temperature (in C).").when(&[(Label::Sensor, "gpu"), (Label::Limit, "slowdown")]),
            dcgm("DCGM_FI_DEV_SHUTDOWN_TEMP", Base, "Shutdown temperature (in C).").when(&[(Label::Sensor, "gpu"), (Label::Limit, "shutdown")]),
            dcgm("DCGM_FI_DEV_GPU_MAX_OP_TEMP", Base, "Maximum operating temperature of the GPU (in C).").when(&[(Label::Sensor, "gpu"), (Label::Limit, "operating")]),
            dcgm("DCGM_FI_DEV_MEM_MAX_OP_TEMP", Base, "Maximum operating temperature of the memory (in C).").when(&[(Label::Sensor, "memory"), (Label::Limit, "operating")]),
            habana("habanalabs_temperature_threshold_slowdown", Base, "Temperature at which the chip slows down (in C).").when(&[(Label::Sensor, "gpu"), (Label::Limit, "slowdown")]),
            habana("habanalabs_temperature_threshold_shutdown", Base, "Temperature at which the chip shuts down (in C).").when(&[(Label::Sensor, "gpu"), (Label::Limit, "shutdown")]),
            habana("habanalabs_temperature_threshold_gpu", Base, "Highest operating temperature of the chip (in C).").when(&[(Label::Sensor, "gpu"), (Label::Limit, "operating")]),
            habana("habanalabs_temperature_threshold_memory", Base, "Highest operating temperature of the memory (in C).").when(&[(Label::Sensor, "memory"), (Label::Limit, "operating")]),
        ] });
    TEMPERATURE_MARGIN: Celsius = gauge("accel_temperature_margin_celsius", "Degrees left before the nearest thermal limit slows the device")
        .from(&[(Nvidia, "nvmlDeviceGetMarginTemperature")]);
    POWER: Watts = gauge("accel_power_watts", "Power draw of the whole device, averaged by its driver over about a second where the part averages")
        .from(&[(Nvidia, "nvmlDeviceGetPowerUsage"), (Gaudi, "hlml_device_get_power_usage, hwmon"), (Xpu, "hwmon energy, zesPowerGetEnergyCounter"),
            (Npu, "PMT VPU_ENERGY"), (Amx, "RAPL energy_uj")])
        .vendor(const { &[
            dcgm("DCGM_FI_DEV_POWER_USAGE", Base, "Power draw (in W)."),
            habana("habanalabs_power_mW", Milliwatts, "Power draw (in mW)."),
            accelerator("accelerator_power_usage_watts", Milliwatts, "Power draw in milliwatts, whatever the name says."),
        ] });
    POWER_INSTANT: Watts = gauge("accel_power_instant_watts", "Power draw of the whole device at the moment of reading")
        .from(&[(Nvidia, "field POWER_INSTANT")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_POWER_USAGE_INSTANT", Base, "Instantaneous power draw (in W).")] });
    POWER_LIMIT: Watts = gauge("accel_power_limit_watts", "Power limits: enforced now, requested, the default, and the range that can be set")
        .labels(&[Label::Limit])
        .from(&[(Nvidia, "nvmlDeviceGetEnforcedPowerLimit, GetPowerManagementLimit, GetPowerManagementDefaultLimit, GetPowerManagementLimitConstraints"),
            (Gaudi, "hlml_device_get_power_management_limit, get_power_management_default_limit, get_power_management_limit_constraints, max_power"), (Xpu, "hwmon power_max, zesPowerGetLimitsExt"), (Amx, "RAPL constraint_power_limit_uw")])
        .vendor(const { &[
            dcgm("DCGM_FI_DEV_ENFORCED_POWER_LIMIT", Base, "Effective power limit that the driver enforces (in W).").when(&[(Label::Limit, "enforced")]),
            dcgm("DCGM_FI_DEV_POWER_MGMT_LIMIT", Base, "Current power limit (in W).").when(&[(Label::Limit, "requested")]),
            dcgm("DCGM_FI_DEV_POWER_MGMT_LIMIT_DEF", Base, "Default power limit (in W).").when(&[(Label::Limit, "default")]),
            dcgm("DCGM_FI_DEV_POWER_MGMT_LIMIT_MIN", Base, "Minimum power limit (in W).").when(&[(Label::Limit, "min")]),
            dcgm("DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX", Base, "Maximum power limit (in W).").when(&[(Label::Limit, "max")]),
            habana("habanalabs_power_default_limit_mW", Milliwatts, "Default power limit (in mW).").when(&[(Label::Limit, "default")]),
        ] });
    ENERGY: Joules = counter("accel_energy_joules_total", "Energy that the device has used, counted from when its driver was loaded or, where its own counter wraps, from when this exporter was started")
        .from(&[(Nvidia, "nvmlDeviceGetTotalEnergyConsumption"), (Gaudi, "hlml_device_get_total_energy_consumption"),
            (Xpu, "hwmon energy1_input, zesPowerGetEnergyCounter since it is followed"),
            (Npu, "PMT VPU_ENERGY since it is followed"), (Amx, "RAPL energy_uj since it is followed")])
        .vendor(const { &[
            dcgm_counter("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", Millijoules, "Total energy consumption since boot (in mJ)."),
            habana("habanalabs_energy", Millijoules, "Energy used since the driver was loaded (in mJ)."),
        ] });
    MEMORY_POWER: Watts = gauge("accel_memory_power_watts", "Power draw of the memory beside the device, which accel_power_watts does not include, averaged over the last interval")
        .from(&[(Amx, "RAPL dram energy_uj")]);
    MEMORY_ENERGY: Joules = counter("accel_memory_energy_joules_total", "Energy used by the memory beside the device, which accel_energy_joules_total does not include")
        .from(&[(Amx, "RAPL dram energy_uj since it is followed")]);
    CLOCK: Hertz = gauge("accel_clock_hertz", "Current clock of the domain")
        .labels(&[Label::Domain])
        .from(&[(Nvidia, "nvmlDeviceGetClockInfo"), (Gaudi, "hlml_device_get_clock_info, clk_cur_freq_mhz"), (Xpu, "freq0/act_freq, zesFrequencyGetState"),
            (Npu, "npu_current_frequency_mhz, PMT VPU_WORKPOINT"), (Amx, "scaling_cur_freq")])
        .vendor(const { &[
            dcgm("DCGM_FI_DEV_SM_CLOCK", Megahertz, "SM clock frequency (in MHz).").when(&[(Label::Domain, "sm")]),
            dcgm("DCGM_FI_DEV_MEM_CLOCK", Megahertz, "Memory clock frequency (in MHz).").when(&[(Label::Domain, "memory")]),
            dcgm("DCGM_FI_DEV_VIDEO_CLOCK", Megahertz, "Video clock frequency (in MHz).").when(&[(Label::Domain, "video")]),
            habana("habanalabs_clock_soc_mhz", Megahertz, "SoC clock (in MHz).").when(&[(Label::Domain, "soc")]),
            accelerator("accelerator_sm_clock_hertz", Megahertz, "SoC clock in megahertz, whatever the name says.").when(&[(Label::Domain, "soc")]),
        ] });
    CLOCK_MAX: Hertz = gauge("accel_clock_max_hertz", "Highest clock of the domain")
        .labels(&[Label::Domain])
        .from(&[(Nvidia, "nvmlDeviceGetMaxClockInfo"), (Gaudi, "hlml_device_get_max_clock_info, clk_max_freq_mhz"), (Xpu, "freq0/rp0_freq, zesFrequencyGetProperties"),
            (Npu, "npu_max_frequency_mhz, freq/hw_max_freq"), (Amx, "cpuinfo_max_freq")])
        .vendor(const { &[
            dcgm("DCGM_FI_DEV_MAX_SM_CLOCK", Megahertz, "Maximum SM clock frequency (in MHz).").when(&[(Label::Domain, "sm")]),
            dcgm("DCGM_FI_DEV_MAX_MEM_CLOCK", Megahertz, "Maximum memory clock frequency (in MHz).").when(&[(Label::Domain, "memory")]),
            dcgm("DCGM_FI_DEV_MAX_VIDEO_CLOCK", Megahertz, "Maximum video clock frequency (in MHz).").when(&[(Label::Domain, "video")]),
            habana("habanalabs_clock_soc_max_mhz", Megahertz, "Highest SoC clock (in MHz).").when(&[(Label::Domain, "soc")]),
        ] });
    PERFORMANCE_STATE: Count = gauge("accel_performance_state", "Performance state, 0 is the fastest")
        .from(&[(Nvidia, "nvmlDeviceGetPerformanceState"), (Gaudi, "hlml_device_get_performance_state")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_PSTATE", Base, "Performance state (P-State) 0-15.")] });
    THROTTLE_ACTIVE: Flag = state_set("accel_throttle_active", "Whether the reason holds clocks below their maximum now; several can be 1 at once")
        .labels(&[Label::Reason])
        .from(&[(Nvidia, "nvmlDeviceGetCurrentClocksEventReasons"), (Gaudi, "hlml_device_get_current_clocks_throttle_reasons"),
            (Xpu, "throttle/reasons, zesFrequencyGetState"), (Amx, "thermal_throttle")]);
    CLOCKS_EVENT_REASONS: Count = vendor_only("DCGM prints the reasons as one bit mask; the unified schema has accel_throttle_active, one series per reason")
        .from(&[(Nvidia, "nvmlDeviceGetCurrentClocksEventReasons")])
        .vendor(const { &[
            dcgm("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", Base, "Current clock event reasons (bitmask of DCGM_CLOCKS_EVENT_REASON_*)."),
            dcgm("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", Base, "Current clock throttle reasons (bitmask of DCGM_CLOCKS_THROTTLE_REASON_*)."),
        ] });
    THROTTLE_SECONDS: Seconds = counter("accel_throttle_seconds_total", "Time for which the reason held clocks below their maximum, counted by the device")
        .labels(&[Label::Reason])
        .from(&[(Nvidia, "fields PERF_POLICY_* and CLOCKS_EVENT_REASON_*"), (Amx, "thermal_throttle")])
        .vendor(const { &[
            dcgm_counter("DCGM_FI_DEV_POWER_VIOLATION", Nanoseconds, "Throttling duration due to power constraints (in ns).").when(&[(Label::Reason, "sw_power_cap")]),
            dcgm_counter("DCGM_FI_DEV_THERMAL_VIOLATION", Nanoseconds, "Throttling duration due to thermal constraints (in ns).").when(&[(Label::Reason, "thermal")]),
            dcgm_counter("DCGM_FI_DEV_SYNC_BOOST_VIOLATION", Nanoseconds, "Throttling duration due to sync-boost constraints (in ns).").when(&[(Label::Reason, "sync_boost")]),
            dcgm_counter("DCGM_FI_DEV_BOARD_LIMIT_VIOLATION", Nanoseconds, "Throttling duration due to board limit constraints (in ns).").when(&[(Label::Reason, "board_limit")]),
            dcgm_counter("DCGM_FI_DEV_LOW_UTIL_VIOLATION", Nanoseconds, "Throttling duration due to low utilization (in ns).").when(&[(Label::Reason, "low_utilization")]),
            dcgm_counter("DCGM_FI_DEV_RELIABILITY_VIOLATION", Nanoseconds, "Throttling duration due to reliability constraints (in ns).").when(&[(Label::Reason, "reliability")]),
        ] });
    THROTTLE_EVENTS: Count = counter("accel_throttle_events_total", "How often the reason began to hold clocks below their maximum, counted by the device")
        .labels(&[Label::Reason])
        .from(&[(Amx, "thermal_throttle")]);
    CLOCK_EVENTS_WINDOW: Count = vendor_only("DCGM counts samples in a sliding window; the unified schema has accel_throttle_seconds_total")
        .labels(&[Label::ClockEvent, Label::WindowSizeInMs])
        .from(&[(Nvidia, "nvmlDeviceGetCurrentClocksEventReasons")])
        .vendor(const { &[dcgm("DCGM_EXP_CLOCK_EVENTS_COUNT", Base, "reported clock events")
            .keep(&[(Label::ClockEvent, "clock_event"), (Label::WindowSizeInMs, "window_size_in_ms")])] });
    FAN_SPEED: Ratio = gauge("accel_fan_speed_ratio", "Fan speed over its maximum")
        .labels(&[Label::Fan])
        .from(&[(Nvidia, "nvmlDeviceGetFanSpeed_v2"), (Xpu, "zesFanGetState")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_FAN_SPEED", Percent, "Fan speed (in %).").when(&[(Label::Fan, "0")])] });
    FAN_REVOLUTIONS: Count = gauge("accel_fan_speed_rpm", "Fan speed in revolutions per minute, of devices that do not tell the fan's maximum")
        .labels(&[Label::Fan])
        .from(&[(Xpu, "hwmon fan_input, zesFanGetState")]);

    // Links.
    LINK_RECEIVE: Bytes = counter("accel_link_receive_bytes_total", "Bytes received over the link; payload on NVLink, with protocol overhead on PCIe")
        .labels(&[Label::Link, Label::Kind])
        .from(&[(Nvidia, "fields NVLINK_THROUGHPUT_DATA_RX, NVLINK_COUNT_RCV_BYTES, PCIE_COUNT_RX_BYTES"), (Xpu, "zesDevicePciGetStats, zesFabricPortGetThroughput")]);
    LINK_TRANSMIT: Bytes = counter("accel_link_transmit_bytes_total", "Bytes sent over the link; payload on NVLink, with protocol overhead on PCIe")
        .labels(&[Label::Link, Label::Kind])
        .from(&[(Nvidia, "fields NVLINK_THROUGHPUT_DATA_TX, NVLINK_COUNT_XMIT_BYTES, PCIE_COUNT_TX_BYTES"), (Xpu, "zesDevicePciGetStats, zesFabricPortGetThroughput")]);
    LINK_BANDWIDTH: BytesPerSecond = gauge("accel_link_bandwidth_bytes_per_second", "Raw capacity of the link in each direction")
        .labels(&[Label::Link, Label::Kind])
        .from(&[(Nvidia, "field NVLINK_GET_SPEED or NVLINK_SPEED_MBPS_COMMON, PCIe generation and width"), (Xpu, "zesFabricPortGetState, PCIe generation and width"), (Gaudi, "PCIe generation and width")]);
    LINK_UP: Flag = gauge("accel_link_up", "Whether the link is up")
        .labels(&[Label::Link, Label::Kind])
        .from(&[(Nvidia, "nvmlDeviceGetNvLinkState"), (Gaudi, "hlml_get_mac_addr_info, hlml_nic_get_link; kind tells internal from external ports"), (Xpu, "zesFabricPortGetState")]);
    NIC_PORT: Flag = vendor_only("Intel's Gaudi exporter has labels of its own for NIC ports; the unified schema has accel_link_up")
        .labels(&[Label::Port, Label::PortType])
        .from(&[(Gaudi, "hlml_get_mac_addr_info, hlml_nic_get_link")])
        .vendor(const { &[habana("habanalabs_nic_port_status", Base, "Whether the NIC port has a link (1) or not (0).")
            .keep(&[(Label::Port, "port"), (Label::PortType, "port_type")])] });
    LINK_ERRORS: Count = counter("accel_link_errors_total", "Errors on the link; most are corrected by a retry, a steady rate is a bad cable or connector")
        .labels(&[Label::Link, Label::Kind, Label::Error])
        .from(&[(Nvidia, "fields NVLINK_ERROR_DL_*, NVLINK_*_ERROR_COUNT_TOTAL, NVLINK_COUNT_*"), (Gaudi, "hlml_device_get_pcie_replay_counter"), (Xpu, "zesFabricPortGetFabricErrorCounters")]);
    NVLINK_ERRORS: Count = vendor_only("DCGM prints the sums over all links; the unified schema has accel_link_errors_total, one series per link where the links count for themselves")
        .labels(&[Label::Error])
        .from(&[(Nvidia, "fields NVLINK_*_ERROR_COUNT_TOTAL")])
        .vendor(const { &[
            dcgm_counter("DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL", Base, "Total number of NVLink flow-control CRC errors.").when(&[(Label::Error, "crc_flit")]),
            dcgm_counter("DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL", Base, "Total number of NVLink data CRC errors.").when(&[(Label::Error, "crc_data")]),
            dcgm_counter("DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL", Base, "Total number of NVLink retries.").when(&[(Label::Error, "replay")]),
            dcgm_counter("DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL", Base, "Total number of NVLink recovery errors.").when(&[(Label::Error, "recovery")]),
        ] });
    PCIE_GENERATION: Count = gauge("accel_pcie_link_generation", "PCIe generation in use now, lower while the device idles")
        .from(&[(Nvidia, "nvmlDeviceGetCurrPcieLinkGeneration"), (Gaudi, "current_link_speed"), (Xpu, "current_link_speed, zesDevicePciGetState")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_PCIE_LINK_GEN", Base, "PCIe current link generation.")] });
    PCIE_GENERATION_MAX: Count = gauge("accel_pcie_link_generation_max", "Highest PCIe generation of device and slot together")
        .from(&[(Nvidia, "nvmlDeviceGetMaxPcieLinkGeneration"), (Gaudi, "max_link_speed"), (Xpu, "max_link_speed, zesDevicePciGetProperties")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_PCIE_MAX_LINK_GEN", Base, "PCIe maximum link generation.")] });
    PCIE_WIDTH: Count = gauge("accel_pcie_link_width", "PCIe lanes in use now")
        .from(&[(Nvidia, "nvmlDeviceGetCurrPcieLinkWidth"), (Gaudi, "current_link_width"), (Xpu, "current_link_width, zesDevicePciGetState")])
        .vendor(const { &[
            dcgm("DCGM_FI_DEV_PCIE_LINK_WIDTH", Base, "PCIe current link width."),
            habana("habanalabs_pci_link_width", Base, "PCIe lanes in use now."),
        ] });
    PCIE_WIDTH_MAX: Count = gauge("accel_pcie_link_width_max", "PCIe lanes of device and slot together")
        .from(&[(Nvidia, "nvmlDeviceGetMaxPcieLinkWidth"), (Gaudi, "max_link_width"), (Xpu, "max_link_width, zesDevicePciGetProperties")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_PCIE_MAX_LINK_WIDTH", Base, "PCIe maximum link width.")] });
    PCIE_REPLAYS: Count = counter("accel_pcie_replays_total", "PCIe packets sent again after an error")
        .from(&[(Nvidia, "nvmlDeviceGetPcieReplayCounter"), (Gaudi, "hlml_device_get_pcie_replay_counter"), (Xpu, "zesDevicePciGetStats")])
        .vendor(const { &[
            dcgm_counter("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", Base, "Total number of PCIe retries."),
            habana("habanalabs_pcie_replay_count", Base, "PCIe packets sent again."),
        ] });
    PCIE_SPEED: Count = vendor_only("Intel's Gaudi exporter prints whole gigatransfers per second and lane; the unified schema has accel_pcie_link_generation")
        .from(&[(Gaudi, "current_link_speed")])
        .vendor(const { &[habana("habanalabs_pci_link_speed", Base, "PCIe speed in use now (in whole GT/s per lane).")] });
    PCIE_RATE: BytesPerSecond = vendor_only("DCGM and Intel's Gaudi exporter print the rate of the last interval; the unified schema has accel_link_receive_bytes_total and accel_link_transmit_bytes_total, where bytes are counted")
        .labels(&[Label::Direction])
        .from(&[(Nvidia, "nvmlGpmMetricsGet PCIE_TX_PER_SEC and PCIE_RX_PER_SEC"), (Gaudi, "hlml_device_get_pcie_throughput")])
        .vendor(const { &[
            dcgm("DCGM_FI_PROF_PCIE_TX_BYTES", Base, "The rate of data transmitted over the PCIe bus - including both protocol headers and data payloads - in bytes per second.").when(&[(Label::Direction, "transmit")]),
            dcgm("DCGM_FI_PROF_PCIE_RX_BYTES", Base, "The rate of data received over the PCIe bus - including both protocol headers and data payloads - in bytes per second.").when(&[(Label::Direction, "receive")]),
            habana("habanalabs_pcie_tx", KilobytesPerSecond, "PCIe traffic from the device over 10 ms (in KB/s).").when(&[(Label::Direction, "transmit")]),
            habana("habanalabs_pcie_rx", KilobytesPerSecond, "PCIe traffic to the device over 10 ms (in KB/s).").when(&[(Label::Direction, "receive")]),
            habana("habanalabs_pcie_transmit_throughput", KilobytesPerSecond, "PCIe traffic from the device over 10 ms (in KB/s).").when(&[(Label::Direction, "transmit")]),
            habana("habanalabs_pcie_receive_throughput", KilobytesPerSecond, "PCIe traffic to the device over 10 ms (in KB/s).").when(&[(Label::Direction, "receive")]),
        ] });
    NVLINK_RATE: BytesPerSecond = vendor_only("DCGM prints the rate of the last interval; the unified schema has accel_link_receive_bytes_total and accel_link_transmit_bytes_total")
        .labels(&[Label::Direction])
        .from(&[(Nvidia, "nvmlGpmMetricsGet NVLINK_TOTAL_TX_PER_SEC and NVLINK_TOTAL_RX_PER_SEC, fields NVLINK_THROUGHPUT_DATA_TX and RX")])
        .vendor(const { &[
            dcgm("DCGM_FI_PROF_NVLINK_TX_BYTES", Base, "The rate of data transmitted over NVLink, not including protocol headers, in bytes per second.").when(&[(Label::Direction, "transmit")]),
            dcgm("DCGM_FI_PROF_NVLINK_RX_BYTES", Base, "The rate of data received over NVLink, not including protocol headers, in bytes per second.").when(&[(Label::Direction, "receive")]),
            dcgm("DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", MegabytesPerSecond, "Total number of NVLink bandwidth counters for all lanes.").when(&[(Label::Direction, "both")]),
            dcgm("DCGM_FI_DEV_NVLINK_BANDWIDTH_L0", MegabytesPerSecond, "The number of bytes of active NVLink rx or tx data including both header and payload.").when(&[(Label::Direction, "both_link_0")]),
        ] });

    // Health.
    ERRORS: Count = counter("accel_errors_total", "Critical events that the driver reported, by code; known codes start at 0 so that the first one is an increase")
        .labels(&[Label::Kind, Label::Code])
        .from(&[(Nvidia, "nvmlEventSetWait_v2 XID"), (Gaudi, "hlml_event_set_wait"), (Xpu, "zesRasGetState"), (Npu, "debugfs reset_counter, engine_reset_counter")]);
    ERRORS_CORRECTED: Count = counter("accel_errors_corrected_total", "Errors that the hardware put right by itself, by category; a steady rate foretells one that it cannot")
        .labels(&[Label::Kind, Label::Code])
        .from(&[(Xpu, "zesRasGetState")]);
    ERROR_LAST: Seconds = gauge("accel_error_last_timestamp_seconds", "Unix time of the last critical event that the exporter saw, by code, absent before the first")
        .labels(&[Label::Kind, Label::Code])
        .from(&[(Nvidia, "nvmlEventSetWait_v2"), (Gaudi, "hlml_event_set_wait")]);
    RESETS: Count = counter("accel_resets_total", "Resets of the device since its driver was loaded; soft ones are everyday after a job where the driver cleans up by them")
        .labels(&[Label::Kind])
        .from(&[(Gaudi, "hard_reset_cnt, soft_reset_cnt")]);
    XID_LAST: Count = vendor_only("DCGM prints the code of the last XID as a value, which hides repeats; the unified schema has accel_errors_total")
        .labels(&[Label::ErrCode, Label::ErrMsg])
        .from(&[(Nvidia, "nvmlEventSetWait_v2")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_XID_ERRORS", Base, "Value of the last XID error encountered.")
            .keep(&[(Label::ErrCode, "err_code"), (Label::ErrMsg, "err_msg")])] });
    XID_TOTAL: Count = vendor_only("The unified schema has accel_errors_total, where known codes start at 0; this one lists the codes that occurred")
        .labels(&[Label::Xid])
        .from(&[(Nvidia, "nvmlEventSetWait_v2")])
        .vendor(const { &[dcgm_counter("DCGM_EXP_XID_ERRORS_TOTAL", Base, "Total number of XID errors by code.").keep(&[(Label::Xid, "xid")])] });
    XID_WINDOW: Count = vendor_only("DCGM counts XIDs in a sliding window and calls it a counter; it falls, so here it is a gauge")
        .labels(&[Label::WindowSizeInMs, Label::Xid])
        .from(&[(Nvidia, "nvmlEventSetWait_v2")])
        .vendor(const { &[dcgm("DCGM_EXP_XID_ERRORS_COUNT", Base, "reported XIDs during last window")
            .keep(&[(Label::WindowSizeInMs, "window_size_in_ms"), (Label::Xid, "xid")])] });
    XID_WINDOW_EMPTY: Count = vendor_only("DCGM prints a single 0 without a code while its sliding window has no XID")
        .labels(&[Label::WindowSizeInMs])
        .from(&[(Nvidia, "nvmlEventSetWait_v2")])
        .vendor(const { &[dcgm("DCGM_EXP_XID_ERRORS_COUNT", Base, "reported XIDs during last window")
            .keep(&[(Label::WindowSizeInMs, "window_size_in_ms")])] });
    ECC_ENABLED: Flag = gauge("accel_ecc_enabled", "Whether error correction is on")
        .from(&[(Nvidia, "nvmlDeviceGetEccMode"), (Gaudi, "hlml_device_get_ecc_mode"), (Xpu, "zesDeviceGetEccState")])
        .vendor(const { &[habana("habanalabs_ecc_feature_mode", Base, "Whether ECC is on (1) or off (0).")] });
    ECC_ERRORS: Count = counter("accel_ecc_errors_total", "Memory errors found by ECC: volatile ones since the driver was loaded, aggregate ones over the device's life")
        .labels(&[Label::Severity, Label::Scope])
        .from(&[(Nvidia, "fields ECC_SBE_VOL_TOTAL, ECC_DBE_VOL_TOTAL, ECC_SBE_AGG_TOTAL, ECC_DBE_AGG_TOTAL"),
            (Gaudi, "hlml_device_get_total_ecc_errors"), (Xpu, "zesRasGetState")])
        .vendor(const { &[
            dcgm_counter("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", Base, "Total number of single-bit volatile ECC errors.").when(&[(Label::Severity, "corrected"), (Label::Scope, "volatile")]),
            dcgm_counter("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", Base, "Total number of double-bit volatile ECC errors.").when(&[(Label::Severity, "uncorrectable"), (Label::Scope, "volatile")]),
            dcgm_counter("DCGM_FI_DEV_ECC_SBE_AGG_TOTAL", Base, "Total number of single-bit persistent ECC errors.").when(&[(Label::Severity, "corrected"), (Label::Scope, "aggregate")]),
            dcgm_counter("DCGM_FI_DEV_ECC_DBE_AGG_TOTAL", Base, "Total number of double-bit persistent ECC errors.").when(&[(Label::Severity, "uncorrectable"), (Label::Scope, "aggregate")]),
        ] });
    SRAM_ECC_ERRORS: Count = counter("accel_sram_ecc_errors_total", "Errors in on-chip memory: corrected, uncorrectable found by parity, uncorrectable found by SEC-DED")
        .labels(&[Label::Severity, Label::Scope])
        .from(&[(Nvidia, "nvmlDeviceGetSramEccErrorStatus"), (Gaudi, "hlml_device_get_memory_error_counter")]);
    SRAM_ECC_THRESHOLD: Flag = gauge("accel_sram_ecc_threshold_exceeded", "Whether uncorrectable on-chip memory errors passed the vendor's replacement threshold")
        .from(&[(Nvidia, "nvmlDeviceGetSramEccErrorStatus")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_THRESHOLD_SRM", Base, "SRAM threshold exceeded boolean (1: exceeded, 0: not exceeded).")] });
    ROWS_REMAPPED: Count = counter("accel_memory_rows_remapped_total", "Memory rows replaced by spare rows over the device's life")
        .labels(&[Label::Cause])
        .from(&[(Nvidia, "fields REMAPPED_COR and REMAPPED_UNC"), (Gaudi, "hlml_device_get_replaced_rows")])
        .vendor(const { &[
            dcgm_counter("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", Base, "Number of remapped rows for uncorrectable errors").when(&[(Label::Cause, "uncorrectable")]),
            dcgm_counter("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", Base, "Number of remapped rows for correctable errors").when(&[(Label::Cause, "correctable")]),
            habana("habanalabs_pending_rows_with_single_bit_ecc_errors", Base, "Rows replaced after several single-bit errors.").when(&[(Label::Cause, "correctable")]),
            habana("habanalabs_pending_rows_with_double_bit_ecc_errors", Base, "Rows replaced after a double-bit error.").when(&[(Label::Cause, "uncorrectable")]),
        ] });
    ROW_REMAP_PENDING: Flag = gauge("accel_memory_row_remap_pending", "Whether a row waits for a reset to be remapped")
        .from(&[(Nvidia, "field REMAPPED_PENDING"), (Gaudi, "hlml_device_get_replaced_rows_pending_status")])
        .vendor(const { &[
            dcgm("DCGM_FI_DEV_ROW_REMAP_PENDING", Base, "Whether remapping of rows is pending"),
            habana("habanalabs_pending_rows_state", Base, "Whether rows wait to be replaced (1) or not (0)."),
        ] });
    ROW_REMAP_FAILED: Flag = gauge("accel_memory_row_remap_failed", "Whether a row could not be remapped: the device must be replaced")
        .from(&[(Nvidia, "field REMAPPED_FAILURE")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_ROW_REMAP_FAILURE", Base, "Whether remapping of rows has failed")] });
    ROW_REMAP_BANKS: Count = gauge("accel_memory_row_remap_banks", "Memory banks by how many spare rows they have left")
        .labels(&[Label::Availability])
        .from(&[(Nvidia, "nvmlDeviceGetRowRemapperHistogram")]);
    PAGES_RETIRED: Count = counter("accel_memory_pages_retired_total", "Memory pages taken out of use over the device's life, on parts before row remapping")
        .labels(&[Label::Cause])
        .from(&[(Nvidia, "fields RETIRED_SBE and RETIRED_DBE")])
        .vendor(const { &[
            dcgm_counter("DCGM_FI_DEV_RETIRED_SBE", Base, "Total number of retired pages due to single-bit errors.").when(&[(Label::Cause, "single_bit")]),
            dcgm_counter("DCGM_FI_DEV_RETIRED_DBE", Base, "Total number of retired pages due to double-bit errors.").when(&[(Label::Cause, "double_bit")]),
        ] });
    PAGES_PENDING: Flag = gauge("accel_memory_page_retirement_pending", "Whether pages wait for a reset to be retired")
        .from(&[(Nvidia, "field RETIRED_PENDING")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_RETIRED_PENDING", Base, "Total number of pages pending retirement.")] });
    RECOVERY_ACTION: Flag = state_set("accel_recovery_action", "What the driver says must be done before the device is healthy again; none is the healthy state")
        .labels(&[Label::Action])
        .from(&[(Nvidia, "field GET_GPU_RECOVERY_ACTION"), (Xpu, "zesDeviceGetState")]);
    FABRIC_STATE: Flag = state_set("accel_fabric_state", "Registration of the device with the fabric manager; it must be completed before NVLink peers can be used")
        .labels(&[Label::State])
        .from(&[(Nvidia, "nvmlDeviceGetGpuFabricInfoV")]);
    FABRIC_UNHEALTHY: Flag = state_set("accel_fabric_unhealthy", "Whether the fabric reports the fault for this device")
        .labels(&[Label::Fault])
        .from(&[(Nvidia, "nvmlDeviceGetGpuFabricInfoV healthMask")]);
    FABRIC_HEALTH_MASK: Count = vendor_only("DCGM prints the health as a bit mask; the unified schema has accel_fabric_unhealthy, one series per fault")
        .from(&[(Nvidia, "nvmlDeviceGetGpuFabricInfoV healthMask")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_FABRIC_HEALTH_MASK", Base, "Fabric health status mask.")] });
    MIG_ENABLED: Flag = gauge("accel_mig_enabled", "Whether the device is split into instances, which then have their own series with a partition label")
        .from(&[(Nvidia, "nvmlDeviceGetMigMode")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_MIG_MODE", Base, "MIG mode boolean (1: enabled, 0: disabled).")] });
    LICENSE_ACTIVE: Flag = gauge("accel_license_active", "Whether a vGPU licence is held")
        .from(&[(Nvidia, "nvmlDeviceGetGridLicensableFeatures_v4")])
        .vendor(const { &[dcgm("DCGM_FI_DEV_VGPU_LICENSE_STATUS", Base, "vGPU License status")] });
    SLOW_READINGS_AGE: Seconds = gauge("accel_slow_readings_age_seconds", "Age of what is read of the device at a lower rate because the calls take long")
        .from(&[(Gaudi, "hlml_device_get_pcie_throughput, hlml_device_get_temperature where hwmon has no labels")]);

    // The host, as context.
    HOST_CPU: Seconds = own(Kind::Counter, "accel_host_cpu_seconds_total", &[Label::State],
        "CPU time of the whole host, busy and idle; only with --host.metrics");
    HOST_RUNNABLE: Count = own(Kind::Gauge, "accel_host_runnable_threads", &[],
        "Threads of the host that run or wait for a CPU; only with --host.metrics");
    HOST_MEMORY_TOTAL: Bytes = own(Kind::Gauge, "accel_host_memory_total_bytes", &[],
        "Memory of the host; only with --host.metrics");
    HOST_MEMORY_AVAILABLE: Bytes = own(Kind::Gauge, "accel_host_memory_available_bytes", &[],
        "Memory of the host that new work can have without swapping; only with --host.metrics");

    // The exporter itself.
    BUILD_INFO: Flag = own(Kind::Info, "accelscope_build_info", &[Label::Version, Label::Simulated],
        "Version of the running exporter, and the simulated machine behind it or none");
    SOURCE_UP: Flag = own(Kind::Gauge, "accelscope_source_up", &[Label::Source],
        "Whether the source's library or kernel interface is open and answering");
    SOURCE_CONNECTS: Count = own(Kind::Counter, "accelscope_source_connects_total", &[Label::Source],
        "Attempts to open the source, successful or not");
    SOURCE_FAULTS: Count = own(Kind::Counter, "accelscope_source_faults_total", &[Label::Source, Label::Kind, Label::Call, Label::Code],
        "Calls that gave no value, by kind of absence, call and error code; unsupported ones are counted once per device");
    STUCK_THREADS: Count = own(Kind::Gauge, "accelscope_stuck_threads", &[Label::Source],
        "Threads that wait in a driver call past its deadline");
    SAMPLE_DURATION: Distribution = own(Kind::Histogram, "accelscope_sample_duration_seconds", &[Label::Source],
        "Time to read one device once");
    SNAPSHOT_AGE: Seconds = own(Kind::Gauge, "accelscope_snapshot_age_seconds", &[Label::Source],
        "Age of the oldest device snapshot being served, as of the encoding of this body, itself at most one interval old");
    HTTP_REQUESTS: Count = own(Kind::Counter, "accelscope_http_requests_total", &[Label::Code],
        "HTTP requests answered, by status code");
    HTTP_IN_FLIGHT: Count = own(Kind::Gauge, "accelscope_http_requests_in_flight", &[],
        "HTTP requests being answered");
    HTTP_CONNECTIONS: Count = own(Kind::Gauge, "accelscope_http_connections", &[],
        "Open client connections");
    HTTP_CONNECTIONS_REFUSED: Count = own(Kind::Counter, "accelscope_http_connections_refused_total", &[],
        "Client connections closed at once because the cap on connections was reached");
    PROCESS_CPU: Seconds = own(Kind::Counter, "process_cpu_seconds_total", &[],
        "User and system CPU time spent");
    PROCESS_RESIDENT: Bytes = own(Kind::Gauge, "process_resident_memory_bytes", &[],
        "Resident memory size");
    PROCESS_VIRTUAL: Bytes = own(Kind::Gauge, "process_virtual_memory_bytes", &[],
        "Virtual memory size");
    PROCESS_OPEN_FDS: Count = own(Kind::Gauge, "process_open_fds", &[],
        "Open file descriptors");
    PROCESS_MAX_FDS: Count = own(Kind::Gauge, "process_max_fds", &[],
        "Limit of open file descriptors");
    PROCESS_THREADS: Count = own(Kind::Gauge, "process_threads", &[],
        "Threads of the process");
    PROCESS_START: Seconds = own(Kind::Gauge, "process_start_time_seconds", &[],
        "Start of the process as Unix time");
}
