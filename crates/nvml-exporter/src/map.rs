//! From NVML's units and names to base units and the catalogue: one line per quantity, nothing else.
//!
//! Past this room no value is in megahertz, milliwatts, percent or KiB.

use kernel::pci::Link;
use naming::{
    Bytes, BytesPerSecond, Celsius, Count, FaultCode, Flag, Hertz, Joules, Label, Ratio, Seconds, Watts,
    catalogue as m, xid_text,
};
use reading::{Absence, Batch, Fault, Labels};

use crate::{
    rates::{ClockEvents, Traffic},
    raw::{
        self, FieldKey, FieldValues, Got, GpmMetric, GpmMetrics, LinkField, Memory, Raw, SummedLinkField,
        fields as f,
    },
    xid::{self, Heard},
};

/// Everything that one round over a device yielded.
pub struct Round<'a> {
    /// Single-value calls.
    pub raw: &'a Raw,
    /// How many NVLinks the board has.
    pub links: Got<u32>,
    /// Field values.
    pub fields: &'a FieldValues,
    /// Profiling counters.
    pub gpm: &'a GpmMetrics,
    /// Rates and integrals.
    pub traffic: &'a Traffic,
    /// Clock events of the window.
    pub clock_events: &'a ClockEvents,
    /// Labels of the info metric.
    pub info: &'a Labels,
    /// XIDs heard, or why none can be.
    pub xids: Got<Heard>,
}

/// Clock event bits (nvml.h, `nvmlClocksEventReason*`): our word, dcgm-exporter's word. It has none for the
/// last two, which are newer than its list.
const REASONS: [(u64, &str, Option<&str>); 11] = [
    (1 << 0, "idle", Some("gpu_idle")),
    (1 << 1, "app_clocks", Some("clocks_setting")),
    (1 << 2, "sw_power_cap", Some("power_cap")),
    (1 << 3, "hw_slowdown", Some("hw_slowdown")),
    (1 << 4, "sync_boost", Some("sync_boost")),
    (1 << 5, "sw_thermal", Some("sw_thermal")),
    (1 << 6, "hw_thermal", Some("hw_thermal")),
    (1 << 7, "hw_power_brake", Some("hw_power_brake")),
    (1 << 8, "display_clocks", Some("display_clocks")),
    (1 << 9, "board_limit", None),
    (1 << 10, "reliability", None),
];

/// The reasons that every driver reports that does not say which it does.
const LONG_KNOWN: u64 = 0x1ff;

/// Nanosecond counters of reasons: our word, field.
const REASON_NANOSECONDS: [(&str, FieldKey); 9] = [
    ("sw_power_cap", f::NVML_FI_DEV_PERF_POLICY_POWER),
    ("thermal", f::NVML_FI_DEV_PERF_POLICY_THERMAL),
    ("sync_boost", f::NVML_FI_DEV_PERF_POLICY_SYNC_BOOST),
    ("board_limit", f::NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT),
    ("low_utilization", f::NVML_FI_DEV_PERF_POLICY_LOW_UTILIZATION),
    ("reliability", f::NVML_FI_DEV_PERF_POLICY_RELIABILITY),
    ("sw_thermal", f::NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN),
    ("hw_thermal", f::NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN),
    ("hw_power_brake", f::NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN),
];

/// GPM percentages of engines.
const ENGINES: [(&str, GpmMetric); 10] = [
    ("graphics", GpmMetric::GraphicsUtil),
    ("sm", GpmMetric::SmUtil),
    ("tensor", GpmMetric::AnyTensorUtil),
    ("tensor_dfma", GpmMetric::DfmaTensorUtil),
    ("tensor_hmma", GpmMetric::HmmaTensorUtil),
    ("tensor_imma", GpmMetric::ImmaTensorUtil),
    ("fp64", GpmMetric::Fp64Util),
    ("fp32", GpmMetric::Fp32Util),
    ("fp16", GpmMetric::Fp16Util),
    ("int", GpmMetric::IntegerUtil),
];

/// Domains of [`raw::Raw::clocks_mhz`].
const CLOCK_DOMAINS: [&str; 4] = ["sm", "memory", "graphics", "video"];

/// Sensors and limits of [`raw::Raw::thresholds_c`].
const THRESHOLDS: [(&str, &str); 4] =
    [("gpu", "slowdown"), ("gpu", "shutdown"), ("gpu", "operating"), ("memory", "operating")];

/// ECC fields: severity, scope, field.
const ECC: [(&str, &str, FieldKey); 4] = [
    ("corrected", "volatile", f::NVML_FI_DEV_ECC_SBE_VOL_TOTAL),
    ("uncorrectable", "volatile", f::NVML_FI_DEV_ECC_DBE_VOL_TOTAL),
    ("corrected", "aggregate", f::NVML_FI_DEV_ECC_SBE_AGG_TOTAL),
    ("uncorrectable", "aggregate", f::NVML_FI_DEV_ECC_DBE_AGG_TOTAL),
];

/// Error counters of one NVLink: the first three up to Hopper, the others from Blackwell on.
const LINK_ERRORS: [(&str, LinkField); 6] = [
    ("replay", f::NVML_FI_DEV_NVLINK_ERROR_DL_REPLAY),
    ("recovery", f::NVML_FI_DEV_NVLINK_ERROR_DL_RECOVERY),
    ("crc", f::NVML_FI_DEV_NVLINK_ERROR_DL_CRC),
    ("receive", f::NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS),
    ("link_recovery", f::NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS),
    ("effective", f::NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS),
];

/// Error counters over all NVLinks, before Hopper, each with the field that counts the same by link.
const ALL_LINK_ERRORS: [(&str, FieldKey, LinkField); 4] = [
    ("crc_flit", f::NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL, f::NVML_FI_DEV_NVLINK_ERROR_DL_CRC),
    ("crc_data", f::NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL, f::NVML_FI_DEV_NVLINK_ERROR_DL_CRC),
    ("replay", f::NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL, f::NVML_FI_DEV_NVLINK_ERROR_DL_REPLAY),
    ("recovery", f::NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL, f::NVML_FI_DEV_NVLINK_ERROR_DL_RECOVERY),
];

/// nvml.h, `nvmlDeviceGpuRecoveryAction_t`, by value.
const RECOVERY_ACTIONS: [&str; 8] = [
    "none",
    "gpu_reset",
    "node_reboot",
    "drain_p2p",
    "drain_and_reset",
    "recover_imex_domain",
    "bus_reset",
    "system_reboot",
];

/// nvml.h, `NVML_GPU_FABRIC_STATE_*`, by value.
const FABRIC_STATES: [&str; 4] = ["not_supported", "not_started", "in_progress", "completed"];

/// nvml.h, `NVML_GPU_FABRIC_HEALTH_MASK_*`: shift and width of each, and the value that is the healthy one.
/// 0 is not supported; the others are what is wrong.
const FABRIC_FAULTS: [(&str, u32, u32, u32); 7] = [
    ("degraded_bandwidth", 0, 0x3, 2),
    ("route_recovery", 2, 0x3, 2),
    ("route_unhealthy", 4, 0x3, 2),
    ("access_timeout_recovery", 6, 0x3, 2),
    ("incorrect_configuration", 8, 0xf, 1),
    ("partition_not_assigned", 12, 0x3, 1),
    ("fabric_manager_disconnected", 14, 0x3, 1),
];

/// Puts a whole device into the batch.
pub fn device(round: &Round<'_>, batch: &mut Batch) {
    batch.put(m::DEVICE_INFO, round.info.clone(), Ok(Flag(true)));
    compute(round, batch);
    profiling(round.gpm, batch);
    link_rates(round.gpm, batch);
    memory(round.raw.memory, batch);
    bar1(round.raw, batch);
    heat_and_power(round, batch);
    clocks(round, batch);
    nvlink(round, batch);
    pcie(round, batch);
    health(round, batch);
    match &round.xids {
        Ok(heard) => xids(heard, xid::WATCHED, batch),
        Err(fault) => {
            batch.put(m::ERRORS, Labels::one(Label::Kind, "xid"), Err(*fault));
            batch.put(m::XID_LAST, Labels::NONE, Err(*fault));
        }
    }
}

/// Puts a MIG instance into the batch: what NVML counts per instance. Links belong to the device as a whole.
///
/// Codes begin when they occur: the device has the watched ones, and an instance is short-lived.
pub fn partition(
    info: &Labels,
    framebuffer: Got<Memory>,
    gpm: &GpmMetrics,
    heard: Got<Heard>,
    batch: &mut Batch,
) {
    batch.put(m::DEVICE_INFO, info.clone(), Ok(Flag(true)));
    profiling(gpm, batch);
    memory(framebuffer, batch);
    // Why none can be heard is said of the device.
    if let Ok(heard) = heard {
        xids(&heard, &[], batch);
    }
}

fn compute(round: &Round<'_>, batch: &mut Batch) {
    let raw = round.raw;
    let ratio = |percent: Got<u32>| percent.map(|p| Ratio::from_percent(p.into()));
    batch.put(m::UTILIZATION, Labels::NONE, ratio(raw.utilization_percent.map(|(gpu, _)| gpu)));
    batch.put(
        m::MEMORY_CONTROLLER_ACTIVE,
        Labels::NONE,
        ratio(raw.utilization_percent.map(|(_, memory)| memory)),
    );
    for (engine, percent) in [
        ("encode", raw.encoder_percent),
        ("decode", raw.decoder_percent),
        ("jpeg", raw.jpeg_percent),
        ("optical_flow", raw.ofa_percent),
    ] {
        batch.put(m::ENGINE_ACTIVE, Labels::one(Label::Engine, engine), ratio(percent));
    }
    batch.put(m::COMPUTE_PROCESSES, Labels::NONE, raw.compute_processes.map(|n| Count(n.into())));
}

fn profiling(gpm: &GpmMetrics, batch: &mut Batch) {
    for (engine, metric) in ENGINES {
        batch.put(
            m::ENGINE_ACTIVE,
            Labels::one(Label::Engine, engine),
            gpm.get(metric).map(Ratio::from_percent),
        );
    }
    batch.put(m::SM_OCCUPANCY, Labels::NONE, gpm.get(GpmMetric::SmOccupancy).map(Ratio::from_percent));
    batch.put(
        m::MEMORY_BANDWIDTH_ACTIVE,
        Labels::NONE,
        gpm.get(GpmMetric::DramBwUtil).map(Ratio::from_percent),
    );
}

fn link_rates(gpm: &GpmMetrics, batch: &mut Batch) {
    for (direction, metric) in [("transmit", GpmMetric::PcieTxPerSec), ("receive", GpmMetric::PcieRxPerSec)] {
        batch.put(
            m::PCIE_RATE,
            Labels::one(Label::Direction, direction),
            gpm.get(metric).map(mib_per_second),
        );
    }
    for (direction, metric) in
        [("transmit", GpmMetric::NvlinkTotalTxPerSec), ("receive", GpmMetric::NvlinkTotalRxPerSec)]
    {
        batch.put(
            m::NVLINK_RATE,
            Labels::one(Label::Direction, direction),
            gpm.get(metric).map(mib_per_second),
        );
    }
}

/// GPM's MiB per second; whole bytes per second, as DCGM prints.
fn mib_per_second(rate: f64) -> BytesPerSecond {
    BytesPerSecond((rate * 1_048_576.0).trunc())
}

fn memory(memory: Got<Memory>, batch: &mut Batch) {
    batch.put(m::MEMORY_TOTAL, Labels::NONE, memory.map(|memory| Bytes(memory.total)));
    batch.put(m::MEMORY_USED, Labels::NONE, memory.map(|memory| Bytes(memory.used)));
    batch.put(m::MEMORY_FREE, Labels::NONE, memory.map(|memory| Bytes(memory.free)));
    batch.put(m::MEMORY_RESERVED, Labels::NONE, memory.and_then(|memory| memory.reserved.map(Bytes)));
}

fn bar1(raw: &Raw, batch: &mut Batch) {
    batch.put(m::BAR1_TOTAL, Labels::NONE, raw.bar1.map(|bar1| Bytes(bar1.total)));
    batch.put(m::BAR1_USED, Labels::NONE, raw.bar1.map(|bar1| Bytes(bar1.used)));
    batch.put(m::BAR1_FREE, Labels::NONE, raw.bar1.map(|bar1| Bytes(bar1.free)));
}

fn heat_and_power(round: &Round<'_>, batch: &mut Batch) {
    let raw = round.raw;
    let celsius = |c: u32| Celsius(c.into());
    batch.put(m::TEMPERATURE, Labels::one(Label::Sensor, "gpu"), raw.temperature_c.map(celsius));
    batch.put(
        m::TEMPERATURE,
        Labels::one(Label::Sensor, "memory"),
        round.fields.memory_temperature().map(celsius),
    );
    for ((sensor, limit), value) in THRESHOLDS.into_iter().zip(raw.thresholds_c) {
        batch.put(
            m::TEMPERATURE_LIMIT,
            Labels::one(Label::Sensor, sensor).with(Label::Limit, limit),
            value.map(celsius),
        );
    }
    batch.put(m::TEMPERATURE_MARGIN, Labels::NONE, raw.margin_c.map(|c| Celsius(c.into())));

    let watts = |milli: u32| Watts::from_milli(milli.into());
    batch.put(m::POWER, Labels::NONE, raw.power_mw.map(watts));
    let instant = round.fields.unsigned(f::NVML_FI_DEV_POWER_INSTANT);
    batch.put(m::POWER_INSTANT, Labels::NONE, instant.map(Watts::from_milli));
    for (limit, value) in [
        ("enforced", raw.limits_mw.enforced),
        ("requested", raw.limits_mw.requested),
        ("default", raw.limits_mw.default),
        ("min", raw.limits_mw.range.map(|(min, _)| min)),
        ("max", raw.limits_mw.range.map(|(_, max)| max)),
    ] {
        batch.put(m::POWER_LIMIT, Labels::one(Label::Limit, limit), value.map(watts));
    }
    batch.put(m::ENERGY, Labels::NONE, raw.energy_mj.map(Joules::from_milli));
    match &raw.fans_percent {
        Ok(fans) if fans.is_empty() => {
            let none = Fault::new("nvmlDeviceGetNumFans", FaultCode::NoFan);
            batch.put(m::FAN_SPEED, Labels::NONE, Err(none));
        }
        Ok(fans) => {
            for (fan, speed) in (0u32..).zip(fans) {
                batch.put(
                    m::FAN_SPEED,
                    Labels::one(Label::Fan, fan),
                    speed.map(|p| Ratio::from_percent(p.into())),
                );
            }
        }
        Err(fault) => batch.put(m::FAN_SPEED, Labels::NONE, Err(*fault)),
    }
}

fn clocks(round: &Round<'_>, batch: &mut Batch) {
    let raw = round.raw;
    let hertz = |mega: u32| Hertz::from_mega(mega.into());
    for (index, domain) in CLOCK_DOMAINS.into_iter().enumerate() {
        batch.put(m::CLOCK, Labels::one(Label::Domain, domain), raw.clocks_mhz[index].map(hertz));
        batch.put(m::CLOCK_MAX, Labels::one(Label::Domain, domain), raw.max_clocks_mhz[index].map(hertz));
    }
    // nvml.h: P-state 32 means unknown.
    let state = raw.performance_state.and_then(|state| match state {
        0..=15 => Ok(Count(state.into())),
        _ => Err(Fault::new("nvmlDeviceGetPerformanceState", FaultCode::UnknownState)),
    });
    batch.put(m::PERFORMANCE_STATE, Labels::NONE, state);

    batch.put(m::CLOCKS_EVENT_REASONS, Labels::NONE, raw.clocks_event_reasons.map(Count));
    for (bit, reason, dcgm) in REASONS {
        // A reason that the device cannot report is no series; one that it reports all the same is.
        let supported = raw.supported_reasons.unwrap_or(LONG_KNOWN) | raw.clocks_event_reasons.unwrap_or(0);
        if supported & bit == 0 {
            continue;
        }
        let active = raw.clocks_event_reasons.map(|mask| Flag(mask & bit != 0));
        batch.put(m::THROTTLE_ACTIVE, Labels::one(Label::Reason, reason), active);
        let Some(dcgm) = dcgm else { continue };
        let labels = Labels::one(Label::ClockEvent, dcgm).with(Label::WindowSizeInMs, xid::WINDOW_MS);
        let seen = raw.clocks_event_reasons.map(|_| Count(round.clock_events.count(bit)));
        batch.put(m::CLOCK_EVENTS_WINDOW, labels, seen);
    }
    for (reason, field) in REASON_NANOSECONDS {
        let value = round.fields.unsigned(field).map(Seconds::from_nanos);
        batch.put(m::THROTTLE_SECONDS, Labels::one(Label::Reason, reason), value);
    }
}

fn nvlink(round: &Round<'_>, batch: &mut Batch) {
    if round.raw.links.is_empty() {
        let none = Fault::new("NVML_FI_DEV_NVLINK_LINK_COUNT", FaultCode::NoNvlink);
        let none = round.links.err().unwrap_or(none);
        for metric in [m::LINK_RECEIVE, m::LINK_TRANSMIT] {
            batch.put(metric, Labels::one(Label::Kind, "nvlink"), Err(none));
        }
        batch.put(m::LINK_UP, Labels::one(Label::Kind, "nvlink"), Err(none));
        return;
    }
    let fields = round.fields;
    for link in &round.raw.links {
        let number = link.number;
        let labels = || Labels::one(Label::Link, number).with(Label::Kind, "nvlink");
        batch.put(m::LINK_UP, labels(), link.active.map(Flag));
        let bytes = |kib: SummedLinkField, bytes: LinkField| {
            fields.unsigned(kib.of(number)).map(Bytes::from_kibi).or_else(|fault| match fault.absence {
                Absence::Unsupported => fields.unsigned(bytes.of(number)).map(Bytes),
                _ => Err(fault),
            })
        };
        let received = bytes(f::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, f::NVML_FI_DEV_NVLINK_COUNT_RCV_BYTES);
        let sent = bytes(f::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, f::NVML_FI_DEV_NVLINK_COUNT_XMIT_BYTES);
        batch.put(m::LINK_RECEIVE, labels(), received);
        batch.put(m::LINK_TRANSMIT, labels(), sent);
        // The speed that all links have in common is that of those which are up.
        let speed = fields.unsigned(f::NVML_FI_DEV_NVLINK_GET_SPEED.of(number)).or_else(|fault| {
            match (fault.absence, link.active) {
                (Absence::Unsupported, Ok(true)) => fields.unsigned(f::NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON),
                _ => Err(fault),
            }
        });
        let speed = speed.and_then(|mega| match mega {
            0 => Err(Fault::new("NVML_FI_DEV_NVLINK_GET_SPEED", FaultCode::LinkWithoutSpeed)),
            mega => Ok(BytesPerSecond(mega as f64 * 1e6)),
        });
        batch.put(m::LINK_BANDWIDTH, labels(), speed);
        for (error, field) in LINK_ERRORS {
            batch.put(
                m::LINK_ERRORS,
                labels().with(Label::Error, error),
                fields.unsigned(field.of(number)).map(Count),
            );
        }
    }
    for (error, field, by_link) in ALL_LINK_ERRORS {
        let count = fields.unsigned(field).map(Count);
        batch.put(m::NVLINK_ERRORS, Labels::one(Label::Error, error), count);
        // Beside the links' own counts it would be the same errors twice.
        let count_of = |link: &raw::Link| fields.unsigned(by_link.of(link.number));
        let none = |got: Got<u64>| got.is_err_and(|fault| fault.absence == Absence::Unsupported);
        if round.raw.links.iter().map(count_of).all(none) {
            let labels =
                Labels::one(Label::Link, "all").with(Label::Kind, "nvlink").with(Label::Error, error);
            batch.put(m::LINK_ERRORS, labels, count);
        }
    }
    for (slot, direction) in ["both", "both_link_0"].into_iter().enumerate() {
        // DCGM divides KiB per second by 1000 and calls it MB/s; its dashboards expect that number.
        let rate = round.traffic.nvlink_kib_per_second[slot].map(|kib| BytesPerSecond(kib * 1e3));
        let first = Fault::new("NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX", FaultCode::FirstReading);
        batch.put(m::NVLINK_RATE, Labels::one(Label::Direction, direction), rate.ok_or(first));
    }
}

fn pcie(round: &Round<'_>, batch: &mut Batch) {
    let raw = round.raw;
    let count = |got: Got<u32>| got.map(|n| Count(n.into()));
    let (generation, width) = raw.pcie_current;
    batch.put(m::PCIE_GENERATION, Labels::NONE, count(generation));
    batch.put(m::PCIE_WIDTH, Labels::NONE, count(width));
    batch.put(m::PCIE_GENERATION_MAX, Labels::NONE, count(raw.pcie_max.0));
    batch.put(m::PCIE_WIDTH_MAX, Labels::NONE, count(raw.pcie_max.1));
    batch.put(m::PCIE_REPLAYS, Labels::NONE, count(raw.pcie_replays));
    let labels = || Labels::one(Label::Link, 0u32).with(Label::Kind, "pcie");
    let link = generation.and_then(|generation| {
        let unknown = Fault::new("nvmlDeviceGetCurrPcieLinkGeneration", FaultCode::UnknownGeneration);
        Link::new(generation, width?).ok_or(unknown)
    });
    let capacity = link.map(|link| BytesPerSecond(link.bytes_per_second().round()));
    batch.put(m::LINK_BANDWIDTH, labels(), capacity);
    batch.put(m::LINK_TRANSMIT, labels(), pcie_bytes(round, 0, f::NVML_FI_DEV_PCIE_COUNT_TX_BYTES));
    batch.put(m::LINK_RECEIVE, labels(), pcie_bytes(round, 1, f::NVML_FI_DEV_PCIE_COUNT_RX_BYTES));
}

/// Bytes over PCIe: the device's own counter where it is 64 bits wide, else the integral of GPM's rate. A
/// 32-bit counter wraps many times a second at PCIe speeds, and the call that measures blocks for 20 ms.
///
/// The two begin at different times, so a counter that fails for a round is not stood in for: the way back
/// would look like traffic.
fn pcie_bytes(round: &Round<'_>, slot: usize, field: FieldKey) -> Got<Bytes> {
    let counter = round.fields.unsigned(field);
    match counter {
        Ok(bytes) if !round.fields.is_narrow(field) => return Ok(Bytes(bytes)),
        Err(fault) if fault.absence != Absence::Unsupported => return Err(fault),
        _ => {}
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a sum of rates that are never negative"
    )]
    let integral = round.traffic.pcie_bytes[slot].map(|bytes| Bytes(bytes as u64));
    integral.ok_or(
        counter.err().unwrap_or(Fault::new("nvmlDeviceGetFieldValues", FaultCode::CounterWrapsTooFast)),
    )
}

fn health(round: &Round<'_>, batch: &mut Batch) {
    let (raw, fields) = (round.raw, round.fields);
    let flag = |field: FieldKey| fields.unsigned(field).map(|value| Flag(value != 0));
    batch.put(m::ECC_ENABLED, Labels::NONE, raw.ecc_enabled.map(Flag));
    for (severity, scope, field) in ECC {
        let labels = Labels::one(Label::Severity, severity).with(Label::Scope, scope);
        batch.put(m::ECC_ERRORS, labels, fields.unsigned(field).map(Count));
    }
    for (index, severity) in
        ["corrected", "uncorrectable_parity", "uncorrectable_secded"].into_iter().enumerate()
    {
        for (scope, count) in [
            ("volatile", raw.sram_ecc.map(|sram| sram.volatile[index])),
            ("aggregate", raw.sram_ecc.map(|sram| sram.aggregate[index])),
        ] {
            let labels = Labels::one(Label::Severity, severity).with(Label::Scope, scope);
            batch.put(m::SRAM_ECC_ERRORS, labels, count.map(Count));
        }
    }
    batch.put(m::SRAM_ECC_THRESHOLD, Labels::NONE, raw.sram_ecc.map(|sram| Flag(sram.threshold_exceeded)));

    for (cause, field) in
        [("correctable", f::NVML_FI_DEV_REMAPPED_COR), ("uncorrectable", f::NVML_FI_DEV_REMAPPED_UNC)]
    {
        batch.put(m::ROWS_REMAPPED, Labels::one(Label::Cause, cause), fields.unsigned(field).map(Count));
    }
    batch.put(m::ROW_REMAP_PENDING, Labels::NONE, flag(f::NVML_FI_DEV_REMAPPED_PENDING));
    batch.put(m::ROW_REMAP_FAILED, Labels::NONE, flag(f::NVML_FI_DEV_REMAPPED_FAILURE));
    for (index, availability) in ["max", "high", "partial", "low", "none"].into_iter().enumerate() {
        let banks = raw.row_banks.map(|banks| Count(banks.0[index].into()));
        batch.put(m::ROW_REMAP_BANKS, Labels::one(Label::Availability, availability), banks);
    }
    for (cause, field) in
        [("single_bit", f::NVML_FI_DEV_RETIRED_SBE), ("double_bit", f::NVML_FI_DEV_RETIRED_DBE)]
    {
        batch.put(m::PAGES_RETIRED, Labels::one(Label::Cause, cause), fields.unsigned(field).map(Count));
    }
    batch.put(m::PAGES_PENDING, Labels::NONE, flag(f::NVML_FI_DEV_RETIRED_PENDING));

    let action = fields.unsigned(f::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION);
    for (value, name) in (0..).zip(RECOVERY_ACTIONS) {
        batch.put(m::RECOVERY_ACTION, Labels::one(Label::Action, name), action.map(|now| Flag(now == value)));
    }
    // A driver newer than this list asks for something, whatever it is.
    let other = action.map(|now| Flag(now >= RECOVERY_ACTIONS.len() as u64));
    batch.put(m::RECOVERY_ACTION, Labels::one(Label::Action, "other"), other);
    for (value, name) in (0..).zip(FABRIC_STATES) {
        let state = raw.fabric.map(|fabric| Flag(fabric.state == value));
        batch.put(m::FABRIC_STATE, Labels::one(Label::State, name), state);
    }
    batch.put(m::FABRIC_HEALTH_MASK, Labels::NONE, raw.fabric.map(|fabric| Count(fabric.health_mask.into())));
    for (name, shift, width, healthy) in FABRIC_FAULTS {
        let fault = raw.fabric.and_then(|fabric| fabric_fault(fabric.health_mask, shift, width, healthy));
        batch.put(m::FABRIC_UNHEALTHY, Labels::one(Label::Fault, name), fault);
    }
    batch.put(m::MIG_ENABLED, Labels::NONE, raw.mig_enabled.map(Flag));
    batch.put(m::LICENSE_ACTIVE, Labels::NONE, raw.license_active.map(Flag));
}

fn fabric_fault(mask: u32, shift: u32, width: u32, healthy: u32) -> Got<Flag> {
    match mask >> shift & width {
        0 => Err(Fault::new("nvmlDeviceGetGpuFabricInfoV", FaultCode::HealthNotReported)),
        value => Ok(Flag(value != healthy)),
    }
}

fn xids(Heard { history, now }: &Heard, watched: &[u32], batch: &mut Batch) {
    let watched = watched.iter().filter(|code| !history.counts.contains_key(code)).map(|code| (*code, 0));
    for (code, count) in watched.chain(history.counts.iter().map(|(code, count)| (*code, *count))) {
        batch.put(m::ERRORS, Labels::one(Label::Kind, "xid").with(Label::Code, code), Ok(Count(count)));
    }
    for (code, unix_seconds) in &history.times {
        let labels = Labels::one(Label::Kind, "xid").with(Label::Code, *code);
        batch.put(m::ERROR_LAST, labels, Ok(Seconds(*unix_seconds)));
    }

    let last = history.last.unwrap_or(0);
    let labels = Labels::one(Label::ErrCode, last).with(Label::ErrMsg, xid_text(last.into()));
    batch.put(m::XID_LAST, labels, Ok(Count(last.into())));
    for (code, count) in &history.counts {
        batch.put(m::XID_TOTAL, Labels::one(Label::Xid, *code), Ok(Count(*count)));
    }
    let window = history.window(*now);
    // dcgm-exporter prints one series without a code while the window is empty.
    if window.is_empty() {
        batch.put(m::XID_WINDOW_EMPTY, Labels::one(Label::WindowSizeInMs, xid::WINDOW_MS), Ok(Count(0)));
    }
    for (code, count) in window {
        let labels = Labels::one(Label::WindowSizeInMs, xid::WINDOW_MS).with(Label::Xid, code);
        batch.put(m::XID_WINDOW, labels, Ok(Count(count)));
    }
}

#[cfg(test)]
mod tests {
    use super::{FABRIC_FAULTS, fabric_fault};

    #[test]
    fn fabric_health_is_read_by_shift_width_and_healthy_value() {
        let faults = |mask| {
            let read = |&(name, shift, width, healthy)| {
                Some((name, fabric_fault(mask, shift, width, healthy).ok()?.0))
            };
            FABRIC_FAULTS.iter().filter_map(read).collect::<Vec<_>>()
        };
        assert_eq!(faults(0), []);
        // nvml.h: DEGRADED_BW_FALSE, INCORRECT_CONFIGURATION_NONE, PARTITION_ASSIGNED_TRUE, GFM_STATE_CONNECTED.
        let healthy = [
            ("degraded_bandwidth", false),
            ("incorrect_configuration", false),
            ("partition_not_assigned", false),
            ("fabric_manager_disconnected", false),
        ];
        assert_eq!(faults(2 | 1 << 8 | 1 << 12 | 1 << 14), healthy);
        // DEGRADED_BW_TRUE, INCORRECT_CONFIGURATION_GPU_STATE_INVALID, PARTITION_ASSIGNED_FALSE, GFM_STATE_DISCONNECTED.
        assert_eq!(faults(1 | 8 << 8 | 2 << 12 | 2 << 14), healthy.map(|(name, _)| (name, true)));
    }
}
