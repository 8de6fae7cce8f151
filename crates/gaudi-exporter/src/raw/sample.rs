//! One round of calls over a device: every value in vendor units, each with its own result.

use std::{
    ffi::{c_uint, c_ulonglong},
    time::Instant,
};

use hlml_sys::{
    constants::{
        CLOCK_SOC, ECC_AGGREGATE, ECC_VOLATILE, ERROR_CORRECTED, ERROR_UNCORRECTED, LOCATION_SRAM,
        PCIE_RECEIVE, PCIE_TRANSMIT, PORT_WORDS, ROWS_DOUBLE_BIT, ROWS_SINGLE_BIT, TEMPERATURE_HBM,
        TEMPERATURE_ON_AIP, TEMPERATURE_ON_BOARD, THRESHOLD_GPU, THRESHOLD_MEMORY, THRESHOLD_SHUTDOWN,
        THRESHOLD_SLOWDOWN,
    },
    layout::{Generation, MEMORY},
};
use reading::{Ceiling, Fault, FaultCode, Measured};

use super::{
    Hpu, call,
    out_buffer::OutBuffer,
    plausible::{self, BLANKS},
};

/// What a round returned. Units are in the names: MHz, mW, mJ and percent, as in HLML.
pub struct Raw {
    /// Percent of the last second, at most 100; some libraries derive it from power.
    pub utilization_percent: Measured<u32>,
    /// HBM.
    pub memory: Measured<Memory>,
    /// Limits: shutdown, slowdown, memory, die.
    pub thresholds_c: [Measured<u32>; 4],
    /// Power draw.
    pub power_mw: Measured<u32>,
    /// Power limits: in force, default, lowest and highest that can be set.
    pub limits_mw: [Measured<u32>; 4],
    /// Energy since the driver was loaded.
    pub energy_mj: Measured<u64>,
    /// When that was read.
    pub energy_read_at: Instant,
    /// SoC clock: now, and the highest.
    pub clocks_mhz: [Measured<u32>; 2],
    /// Performance state; 32 is unknown.
    pub performance_state: Measured<u32>,
    /// Reasons that hold the clock down, as a mask.
    pub throttle_reasons: Measured<u64>,
    /// Whether ECC is on.
    pub ecc_enabled: Measured<bool>,
    /// Memory errors, by [`ECC`].
    pub ecc_errors: [Measured<u64>; 4],
    /// On-chip memory errors, by [`ECC`].
    pub sram_errors: [Measured<u64>; 4],
    /// Replaced rows: after single-bit errors, after a double-bit error.
    pub rows: [Measured<u32>; 2],
    /// Whether rows wait for a reset to be replaced.
    pub rows_pending: Measured<bool>,
    /// PCIe replays.
    pub pcie_replays: Measured<u32>,
    /// NIC ports, by number.
    pub ports: Measured<Vec<Port>>,
}

/// HBM, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// Allocated.
    pub used: u64,
    /// Not allocated.
    pub free: u64,
}

/// A NIC port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its number: the bit in the masks.
    pub number: u32,
    /// Whether it leaves the node.
    pub external: bool,
    /// Whether it has a link.
    pub up: Measured<bool>,
}

/// What [`read_slow`] returned.
#[derive(Clone, Debug)]
pub struct SlowRaw {
    /// PCIe traffic from and to the device over 10 ms, KB/s.
    pub pcie_kilobytes_per_second: [Measured<u32>; 2],
    /// Temperatures of die, board and memory; `None` for those that were not wanted.
    pub temperatures_c: [Option<Measured<u32>>; 3],
}

/// Kind and counter of [`Raw::ecc_errors`] and [`Raw::sram_errors`].
const ECC: [(c_uint, c_uint); 4] = [
    (ERROR_CORRECTED, ECC_VOLATILE),
    (ERROR_UNCORRECTED, ECC_VOLATILE),
    (ERROR_CORRECTED, ECC_AGGREGATE),
    (ERROR_UNCORRECTED, ECC_AGGREGATE),
];

impl Raw {
    /// A round without a library.
    pub fn absent(fault: Fault) -> Self {
        Self {
            utilization_percent: Err(fault),
            memory: Err(fault),
            thresholds_c: [Err(fault); 4],
            power_mw: Err(fault),
            limits_mw: [Err(fault); 4],
            energy_mj: Err(fault),
            energy_read_at: Instant::now(),
            clocks_mhz: [Err(fault); 2],
            performance_state: Err(fault),
            throttle_reasons: Err(fault),
            ecc_enabled: Err(fault),
            ecc_errors: [Err(fault); 4],
            sram_errors: [Err(fault); 4],
            rows: [Err(fault); 2],
            rows_pending: Err(fault),
            pcie_replays: Err(fault),
            ports: Err(fault),
        }
    }

    /// What of each board is mandatory where there is a library: one of these at least is read, or the board
    /// is not up. The UUID may come from HLML's own memory.
    pub fn mandatory(&self) -> [Option<Fault>; 3] {
        [self.utilization_percent.err(), self.memory.err(), self.power_mw.err()]
    }
}

/// A call that gives one 32-bit number: `number!(hpu, hlml_name, argument, ...)`. A library may succeed and
/// write nothing, which must not be read as 0.
macro_rules! number {
    ($hpu:expr, $name:ident $(, $argument:expr)*) => {{
        let mut value = c_uint::MAX;
        call!($hpu.library(), $name($hpu.handle(), $($argument,)* &raw mut value))
            .and_then(|()| BLANKS.number32(stringify!($name), value))
    }};
}

/// The same for 64 bits.
macro_rules! long_number {
    ($hpu:expr, $name:ident $(, $argument:expr)*) => {{
        let mut value = c_ulonglong::MAX;
        call!($hpu.library(), $name($hpu.handle(), $($argument,)* &raw mut value))
            .and_then(|()| BLANKS.number64(stringify!($name), value))
    }};
}

/// A number that limits something.
macro_rules! limit {
    ($hpu:expr, $name:ident $(, $argument:expr)*) => {
        number!($hpu, $name $(, $argument)*).and_then(|value| plausible::limit(stringify!($name), value))
    };
}

/// Makes the calls for what is mandatory. The highest power limit is not asked for; no card draws more than the
/// generic bound.
pub fn read_mandatory(hpu: &Hpu) -> Raw {
    const POWER: &str = "hlml_device_get_power_usage";
    let ceiling = Ceiling::of_energy(Err(Fault::new(POWER, FaultCode::NoMaximum))).times(1e3);
    let drawn = number!(hpu, hlml_device_get_power_usage);
    Raw {
        utilization_percent: utilization(hpu),
        memory: memory(hpu),
        power_mw: drawn.and_then(|milliwatts| ceiling.check(POWER, milliwatts)),
        ..Raw::absent(Fault::new("libhlml", FaultCode::NotAsked))
    }
}

/// Makes every call once.
pub fn read(hpu: &Hpu) -> Raw {
    let [enforced, default, clock_max] = [
        limit!(hpu, hlml_device_get_power_management_limit),
        limit!(hpu, hlml_device_get_power_management_default_limit),
        limit!(hpu, hlml_device_get_max_clock_info, CLOCK_SOC),
    ];
    let [lowest, highest] = power_range(hpu);
    let clock = Ceiling::of_clock(clock_max.map(|mega| f64::from(mega) * 1e6)).times(1e-6);
    let power = Ceiling::of_energy(highest.or(default).map(|milli| f64::from(milli) / 1e3)).times(1e3);
    let within =
        |reading: Measured<u32>, call, ceiling: Ceiling| reading.and_then(|value| ceiling.check(call, value));
    Raw {
        utilization_percent: utilization(hpu),
        memory: memory(hpu),
        thresholds_c: [THRESHOLD_SHUTDOWN, THRESHOLD_SLOWDOWN, THRESHOLD_MEMORY, THRESHOLD_GPU].map(
            |threshold| {
                const CALL: &str = "hlml_device_get_temperature_threshold";
                number!(hpu, hlml_device_get_temperature_threshold, threshold)
                    .and_then(|celsius| BLANKS.temperature(CALL, celsius))
                    .and_then(|celsius| plausible::limit(CALL, celsius))
            },
        ),
        power_mw: within(number!(hpu, hlml_device_get_power_usage), "hlml_device_get_power_usage", power),
        limits_mw: [enforced, default, lowest, highest],
        energy_mj: long_number!(hpu, hlml_device_get_total_energy_consumption),
        energy_read_at: Instant::now(),
        clocks_mhz: [
            within(number!(hpu, hlml_device_get_clock_info, CLOCK_SOC), "hlml_device_get_clock_info", clock),
            clock_max,
        ],
        performance_state: number!(hpu, hlml_device_get_performance_state),
        throttle_reasons: long_number!(hpu, hlml_device_get_current_clocks_throttle_reasons),
        ecc_enabled: ecc_enabled(hpu),
        ecc_errors: ECC
            .map(|(kind, counter)| long_number!(hpu, hlml_device_get_total_ecc_errors, kind, counter)),
        sram_errors: ECC.map(|(kind, counter)| {
            long_number!(hpu, hlml_device_get_memory_error_counter, kind, counter, LOCATION_SRAM)
        }),
        rows: [ROWS_SINGLE_BIT, ROWS_DOUBLE_BIT].map(|cause| replaced_rows(hpu, cause)),
        rows_pending: number!(hpu, hlml_device_get_replaced_rows_pending_status).map(|state| state != 0),
        pcie_replays: number!(hpu, hlml_device_get_pcie_replay_counter),
        ports: ports(hpu),
    }
}

fn utilization(hpu: &Hpu) -> Measured<u32> {
    const CALL: &str = "hlml_device_get_utilization_rates";
    let mut out = OutBuffer::blank();
    call!(hpu.library(), hlml_device_get_utilization_rates(hpu.handle(), out.as_mut_ptr()))?;
    // The first member of every release; what a second one means is not documented.
    let percent = out.checked(CALL)?.u32(Generation::V1_10.utilization(), "aip");
    plausible::percent(CALL, percent.unwrap_or(u32::MAX))
}

fn memory(hpu: &Hpu) -> Measured<Memory> {
    const CALL: &str = "hlml_device_get_memory_info";
    let mut out = OutBuffer::blank();
    call!(hpu.library(), hlml_device_get_memory_info(hpu.handle(), out.as_mut_ptr()))?;
    let out = out.checked(CALL)?;
    let [total, used, free] =
        ["total", "used", "free"].map(|member| out.u64(&MEMORY, member).unwrap_or(u64::MAX));
    BLANKS.sizes(CALL, total, used, free)?;
    Ok(Memory { total, used, free })
}

fn power_range(hpu: &Hpu) -> [Measured<u32>; 2] {
    const CALL: &str = "hlml_device_get_power_management_limit_constraints";
    let (mut lowest, mut highest) = (c_uint::MAX, c_uint::MAX);
    let returned = call!(
        hpu.library(),
        hlml_device_get_power_management_limit_constraints(hpu.handle(), &raw mut lowest, &raw mut highest)
    );
    let number = |milliwatts| returned.and_then(|()| BLANKS.number32(CALL, milliwatts));
    [number(lowest), number(highest).and_then(|milliwatts| plausible::limit(CALL, milliwatts))]
}

fn ecc_enabled(hpu: &Hpu) -> Measured<bool> {
    let (mut current, mut pending) = (c_uint::MAX, c_uint::MAX);
    call!(hpu.library(), hlml_device_get_ecc_mode(hpu.handle(), &raw mut current, &raw mut pending))?;
    BLANKS.number32("hlml_device_get_ecc_mode", current).map(|state| state != 0)
}

fn replaced_rows(hpu: &Hpu, cause: c_uint) -> Measured<u32> {
    const CALL: &str = "hlml_device_get_replaced_rows";
    // With no buffer for addresses the call only counts; 0, in case it reads this as the size of the buffer.
    let mut count: c_uint = 0;
    let addresses = std::ptr::null_mut();
    call!(hpu.library(), hlml_device_get_replaced_rows(hpu.handle(), cause, &raw mut count, addresses))?;
    BLANKS.number32(CALL, count)
}

fn ports(hpu: &Hpu) -> Measured<Vec<Port>> {
    const CALL: &str = "hlml_get_mac_addr_info";
    const WORD_BITS: u32 = u64::BITS;
    // Twice the words that any release is known to have.
    let (mut present, mut external) = ([0u64; 2 * PORT_WORDS], [0u64; 2 * PORT_WORDS]);
    call!(hpu.library(), hlml_get_mac_addr_info(hpu.handle(), present.as_mut_ptr(), external.as_mut_ptr()))?;
    if present[..PORT_WORDS].iter().all(|word| *word == u64::MAX) {
        return Err(Fault::new(CALL, FaultCode::Blank));
    }
    let numbers = (0u32..).take(PORT_WORDS * 64);
    let has = |mask: &[u64], port: u32| mask[(port / WORD_BITS) as usize] >> (port % WORD_BITS) & 1 == 1;
    Ok(numbers
        .filter(|port| has(&present, *port))
        .map(|number| Port { number, external: has(&external, number), up: link_is_up(hpu, number) })
        .collect())
}

fn link_is_up(hpu: &Hpu, port: u32) -> Measured<bool> {
    const CALL: &str = "hlml_nic_get_link";
    // C's bool; as a byte, since only 0 and 1 are a Rust bool.
    let mut up = u8::MAX;
    call!(hpu.library(), hlml_nic_get_link(hpu.handle(), port, &raw mut up))?;
    if up == u8::MAX { Err(Fault::new(CALL, FaultCode::Blank)) } else { Ok(up != 0) }
}

/// Makes the calls that take long: PCIe traffic, which the firmware measures for 10 ms in each direction, and
/// the temperatures that are `wanted` of die, board and memory, whose call leaks memory.
pub fn read_slow(hpu: &Hpu, wanted: [bool; 3]) -> SlowRaw {
    let sensors = [TEMPERATURE_ON_AIP, TEMPERATURE_ON_BOARD, TEMPERATURE_HBM];
    let mut temperatures_c = [None; 3];
    for ((value, sensor), wanted) in temperatures_c.iter_mut().zip(sensors).zip(wanted) {
        *value = wanted.then(|| temperature(hpu, sensor));
    }
    SlowRaw {
        pcie_kilobytes_per_second: [PCIE_TRANSMIT, PCIE_RECEIVE].map(|direction| {
            const CALL: &str = "hlml_device_get_pcie_throughput";
            let mut rate = c_uint::MAX;
            call!(hpu.library(), hlml_device_get_pcie_throughput(hpu.handle(), direction, &raw mut rate))?;
            BLANKS.number32(CALL, rate)
        }),
        temperatures_c,
    }
}

fn temperature(hpu: &Hpu, sensor: c_uint) -> Measured<u32> {
    let mut celsius = c_uint::MAX;
    call!(hpu.library(), hlml_device_get_temperature(hpu.handle(), sensor, &raw mut celsius))?;
    BLANKS.temperature("hlml_device_get_temperature", celsius)
}
