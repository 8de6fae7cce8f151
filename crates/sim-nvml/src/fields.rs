//! `nvmlDeviceGetFieldValues`: many quantities in one call, by number, each with its own return code.

use std::ffi::c_int;
use std::ops::RangeInclusive;
use std::time::Instant;

use sim::Device;
use sim::control::{Repairable, Scope, Severity};
use sim::cycle::Channel;
use sim::device::LinkErrors;
use sim::profile::Architecture;

use crate::abi::sys::{self, field_id as fi, nvmlFieldValue_t, nvmlValue_t};
use crate::args::{AnyDevice, Out};
use crate::call::{Call, NvmlCall, Result, code, entries};
use crate::parts::{Part, milliwatts};
use crate::{clocks, ecc, nvlink, thermal_power};

/// Scope of a field that is about a whole: all links, or (0) the GPU.
const ALL_LINKS: u32 = u32::MAX;
/// Driver releases that brought newer fields.
const DRIVER_WITH_PCIE_BYTES: u32 = 545;
const DRIVER_WITH_RECOVERY_ACTION: u32 = 565;
const DRIVER_WITH_EVENT_TIMES: u32 = 570;
const DRIVER_WITH_INACTIVE_REMAPPINGS: u32 = 595;
const DRIVER_WITH_RAW_LINK_ERRORS: u32 = 595;
const DRIVER_WITH_FRACTIONS_OF_DEGREES: u32 = 615;
/// From this driver on, clock-event times are 269 to 271; before, 251 to 253.
const DRIVER_WITH_NEW_NUMBERS: (u32, u32) = (580, 82);
const EVENT_TIMES_OLD: u32 = fi::NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN;
const EVENT_TIMES_NEW: u32 = crate::abi::NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN;

/// Totals of memory errors.
const ECC_TOTALS: RangeInclusive<u32> = fi::NVML_FI_DEV_ECC_SBE_VOL_TOTAL..=fi::NVML_FI_DEV_ECC_DBE_AGG_TOTAL;

use Value::{Double, Long, Signed, Unsigned};

/// One value, in the member of the union that its type names.
enum Value {
    Unsigned(u32),
    Long(u64),
    Signed(i32),
    Double(f64),
}

entries! {
    fn nvmlDeviceGetFieldValues(call, device: AnyDevice, count: c_int, values: Out<nvmlFieldValue_t>) {
        if count <= 0 {
            return Err(code::INVALID_ARGUMENT);
        }
        for index in 0..count as usize {
            let place = values.nth(index);
            let begin = Instant::now();
            let asked = place.get();
            let result = if device.0.instance.is_some() {
                Err(code::NOT_SUPPORTED)
            } else {
                read(call, &call.gpu(device.0.device)?, asked.fieldId, asked.scopeId)
            };
            let (valueType, value) = match &result {
                // Drivers were seen to add these counts to what the caller left there.
                Ok(Long(count)) if ECC_TOTALS.contains(&asked.fieldId) => {
                    // SAFETY: the union holds numbers only, and every bit pattern is a valid one.
                    let before = unsafe { asked.value.ullVal };
                    Long(before.wrapping_add(*count)).to_c(call)
                }
                Ok(value) => value.to_c(call),
                Err(_) => (sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT, nvmlValue_t { ullVal: 0 }),
            };
            place.put(nvmlFieldValue_t {
                timestamp: (call.moment.seconds() * 1e6) as i64,
                latencyUsec: begin.elapsed().as_micros() as i64,
                valueType,
                nvmlReturn: result.err().unwrap_or(code::SUCCESS),
                value,
                ..asked
            })?;
        }
        Ok(())
    }
}

impl Value {
    fn to_c(&self, call: &Call<'_>) -> (u32, nvmlValue_t) {
        let mut value = nvmlValue_t { ullVal: 0 };
        match *self {
            Self::Unsigned(number) => {
                value.uiVal = call.garbled(number);
                (sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT, value)
            }
            Self::Long(number) => {
                value.ullVal = call.garbled(number);
                (sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, value)
            }
            Self::Double(number) => {
                value.dVal = call.garbled(number);
                (sys::nvmlValueType_enum_NVML_VALUE_TYPE_DOUBLE, value)
            }
            Self::Signed(number) => {
                value.siVal = call.garbled(number);
                (sys::nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_INT, value)
            }
        }
    }
}

/// Reads one field: each group knows its own, and returns `None` for the others.
fn read(call: &Call<'_>, device: &Device<'_>, field: u32, scope: u32) -> Result<Value> {
    let groups: [&dyn Fn() -> Result<Option<Value>>; 9] = [
        &|| errors(device, field),
        &|| remapped_banks(device, field),
        &|| counters_since_blackwell(device, field, scope),
        &|| c2c(device, field, scope),
        &|| link_by_number(device, field),
        &|| link_by_scope(device, field, scope),
        &|| power_and_heat(call, device, field, scope),
        &|| time_held_down(device, field),
        &|| pcie(device, field),
    ];
    for group in groups {
        if let Some(value) = group()? {
            return Ok(value);
        }
    }
    // Known to nvml.h and not to this part, or not known at all.
    let known = field != 0 && field < fi::NVML_FI_MAX;
    Err(if known { code::NOT_SUPPORTED } else { code::INVALID_ARGUMENT })
}

/// Banks that are remapped as a whole, and row remappings that are not in force.
fn remapped_banks(device: &Device<'_>, field: u32) -> Result<Option<Value>> {
    let repair = &device.standing().repair;
    let groups = || device.facts().ecc.bank_groups.ok_or(code::NOT_SUPPORTED);
    Ok(Some(match field {
        fi::NVML_FI_DEV_REMAPPED_ROWS_COR_INACTIVE | fi::NVML_FI_DEV_REMAPPED_ROWS_UNC_INACTIVE => {
            device.since_driver(DRIVER_WITH_INACTIVE_REMAPPINGS)?;
            ecc::remaps_rows(device)?;
            Unsigned(0)
        }
        fi::NVML_FI_DEV_ACTIVE_BANK_REMAPPINGS => groups().map(|_| Unsigned(repair.banks))?,
        fi::NVML_FI_DEV_INACTIVE_BANK_REMAPPINGS => groups().map(|_| Unsigned(0))?,
        fi::NVML_FI_DEV_BANK_REMAPPER_HISTOGRAM_MAX => Unsigned(groups()?.saturating_sub(repair.banks)),
        fi::NVML_FI_DEV_BANK_REMAPPER_HISTOGRAM_NONE => groups().map(|_| Unsigned(0))?,
        fi::NVML_FI_DEV_PENDING_BANK_REMAPPING => {
            groups().map(|_| flag(repair.pending.contains(&Repairable::Bank)))?
        }
        _ => return Ok(None),
    }))
}

/// The counters that NVLink has from Blackwell on, by link.
fn counters_since_blackwell(device: &Device<'_>, field: u32, scope: u32) -> Result<Option<Value>> {
    const FIELDS: RangeInclusive<u32> =
        fi::NVML_FI_DEV_NVLINK_COUNT_XMIT_PACKETS..=fi::NVML_FI_DEV_NVLINK_COUNT_SYMBOL_BER;
    const FEC_BINS: RangeInclusive<u32> =
        fi::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_0..=fi::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_15;
    const RAW: RangeInclusive<u32> =
        fi::NVML_FI_DEV_NVLINK_COUNT_RAW_ERRORS_LANE0..=fi::NVML_FI_DEV_NVLINK_GET_DATA_RATE;
    /// 1e-15 and 5e-9: mantissa in bits 8 to 11, negative exponent below.
    const BIT_ERRORS: [u64; 2] = [0x10f, 0x509];
    /// 3e-8 and 2e-6, before error correction.
    const RAW_BIT_ERRORS: [u64; 2] = [0x308, 0x206];
    /// Of a code word's symbols, those with data.
    const DATA_OF_RAW: (u64, u64) = (514, 544);
    if ![FIELDS, FEC_BINS, RAW].iter().any(|fields| fields.contains(&field)) {
        return Ok(None);
    }
    device.since(Architecture::Blackwell)?;
    if RAW.contains(&field) {
        device.since_driver(DRIVER_WITH_RAW_LINK_ERRORS)?;
    }
    let link = device.link(scope)?;
    let errors = device.link_errors(link);
    let bytes = |direction| device.link_bytes(direction, Some(link), false) as u64;
    let failed = u64::from(!device.link_is_up(link));
    Ok(Some(Long(match field {
        fi::NVML_FI_DEV_NVLINK_COUNT_XMIT_BYTES => bytes(Channel::NvlinkTransmit),
        fi::NVML_FI_DEV_NVLINK_COUNT_RCV_BYTES => bytes(Channel::NvlinkReceive),
        fi::NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS | fi::NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS => {
            errors.crc_errors
        }
        fi::NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS => errors.recoveries.saturating_add(failed),
        fi::NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_SUCCESSFUL_EVENTS => errors.recoveries,
        fi::NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS => failed,
        // What a transmitter sends again, it has dropped.
        fi::NVML_FI_DEV_NVLINK_COUNT_XMIT_DISCARDS | fi::NVML_FI_DEV_NVLINK_PLR_XMIT_RETRY_BLOCKS => {
            errors.replays
        }
        fi::NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_BER => BIT_ERRORS[usize::from(errors.crc_errors > 0)],
        fi::NVML_FI_DEV_NVLINK_COUNT_SYMBOL_ERRORS => bytes(Channel::NvlinkReceive) >> 30,
        // A lane has half of the link's, and the second one a little more than the first.
        fi::NVML_FI_DEV_NVLINK_COUNT_RAW_ERRORS_LANE0 => bytes(Channel::NvlinkReceive) >> 21,
        fi::NVML_FI_DEV_NVLINK_COUNT_RAW_ERRORS_LANE1 => (bytes(Channel::NvlinkReceive) >> 21) + 7,
        fi::NVML_FI_DEV_NVLINK_COUNT_RAW_BER_LANE0_V2
        | fi::NVML_FI_DEV_NVLINK_COUNT_RAW_BER_LANE1_V2
        | fi::NVML_FI_DEV_NVLINK_COUNT_RAW_BER_V2 => RAW_BIT_ERRORS[usize::from(errors.crc_errors > 0)],
        fi::NVML_FI_DEV_NVLINK_PLR_XMIT_BLOCKS => bytes(Channel::NvlinkTransmit) >> 7,
        fi::NVML_FI_DEV_NVLINK_GET_DATA_RATE => {
            u64::from(link_speed(device, link)?) * DATA_OF_RAW.0 / DATA_OF_RAW.1
        }
        fi::NVML_FI_DEV_NVLINK_COUNT_MALFORMED_PACKET_ERRORS
        | fi::NVML_FI_DEV_NVLINK_COUNT_BUFFER_OVERRUN_ERRORS
        | fi::NVML_FI_DEV_NVLINK_COUNT_RCV_REMOTE_ERRORS
        | fi::NVML_FI_DEV_NVLINK_COUNT_RCV_GENERAL_ERRORS
        | fi::NVML_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS => 0,
        // Each bin has an eighth of the one before.
        bin if FEC_BINS.contains(&bin) => {
            let shift = 20 + 3 * (bin - FEC_BINS.start());
            bytes(Channel::NvlinkReceive).checked_shr(shift).unwrap_or_default()
        }
        _ => return Err(code::NOT_SUPPORTED),
    })))
}

/// Links to the CPU beside the device.
fn c2c(device: &Device<'_>, field: u32, scope: u32) -> Result<Option<Value>> {
    let c2c = device.nvidia().c2c.as_ref();
    let link = || c2c.filter(|c2c| scope < c2c.links).ok_or(code::NOT_SUPPORTED);
    Ok(Some(match field {
        fi::NVML_FI_DEV_C2C_LINK_COUNT => Unsigned(c2c.ok_or(code::NOT_SUPPORTED)?.links),
        fi::NVML_FI_DEV_C2C_LINK_GET_STATUS => link().map(|_| Unsigned(1))?,
        fi::NVML_FI_DEV_C2C_LINK_GET_MAX_BW => Unsigned(link()?.link_megabytes_per_second),
        fi::NVML_FI_DEV_C2C_LINK_ERROR_INTR
        | fi::NVML_FI_DEV_C2C_LINK_ERROR_REPLAY
        | fi::NVML_FI_DEV_C2C_LINK_ERROR_REPLAY_B2B => link().map(|_| Long(0))?,
        fi::NVML_FI_DEV_C2C_LINK_POWER_STATE => link().map(|_| flag(device.is_active(Channel::Idle)))?,
        _ => return Ok(None),
    }))
}

fn flag(flag: bool) -> Value {
    Unsigned(u32::from(flag))
}

/// Memory errors, and what was done about them.
fn errors(device: &Device<'_>, field: u32) -> Result<Option<Value>> {
    if let Some((severity, scope, lasting)) = ecc_field(field)? {
        return Ok(Some(Long(match scope {
            Some(scope) => ecc::errors(device, severity, scope, lasting),
            None => ecc::total(device, severity, lasting),
        })));
    }
    let rows = &device.standing().rows;
    let retired = |value| ecc::retires_pages(device).map(|()| value);
    let remapped = |value| ecc::remaps_rows(device).map(|()| value);
    Ok(Some(match field {
        fi::NVML_FI_DEV_ECC_CURRENT | fi::NVML_FI_DEV_ECC_PENDING => Unsigned(1),
        fi::NVML_FI_DEV_RETIRED_SBE => retired(Long(rows.correctable.into()))?,
        fi::NVML_FI_DEV_RETIRED_DBE => retired(Long(rows.uncorrectable.into()))?,
        fi::NVML_FI_DEV_RETIRED_PENDING => retired(flag(rows.pending))?,
        fi::NVML_FI_DEV_RETIRED_PENDING_SBE => retired(flag(rows.pending && rows.correctable > 0))?,
        fi::NVML_FI_DEV_RETIRED_PENDING_DBE => retired(flag(rows.pending && rows.uncorrectable > 0))?,
        fi::NVML_FI_DEV_REMAPPED_COR => remapped(Unsigned(rows.correctable))?,
        fi::NVML_FI_DEV_REMAPPED_UNC => remapped(Unsigned(rows.uncorrectable))?,
        fi::NVML_FI_DEV_REMAPPED_PENDING => remapped(flag(rows.pending))?,
        fi::NVML_FI_DEV_REMAPPED_FAILURE => remapped(flag(rows.failure))?,
        fi::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION => {
            device.since(Architecture::Hopper)?;
            device.since_driver(DRIVER_WITH_RECOVERY_ACTION)?;
            Unsigned(device.standing().recovery as u32)
        }
        _ => return Ok(None),
    }))
}

/// Severity, place (`None`: all) and whether it lasts, of an ECC counter.
fn ecc_field(field: u32) -> Result<Option<(Severity, Option<Scope>, bool)>> {
    use Severity::{Corrected, Uncorrectable};
    Ok(match field {
        fi::NVML_FI_DEV_ECC_SBE_VOL_TOTAL => Some((Corrected, None, false)),
        fi::NVML_FI_DEV_ECC_DBE_VOL_TOTAL => Some((Uncorrectable, None, false)),
        fi::NVML_FI_DEV_ECC_SBE_AGG_TOTAL => Some((Corrected, None, true)),
        fi::NVML_FI_DEV_ECC_DBE_AGG_TOTAL => Some((Uncorrectable, None, true)),
        fi::NVML_FI_DEV_ECC_SBE_VOL_DEV => Some((Corrected, Some(Scope::Dram), false)),
        fi::NVML_FI_DEV_ECC_DBE_VOL_DEV => Some((Uncorrectable, Some(Scope::Dram), false)),
        fi::NVML_FI_DEV_ECC_SBE_AGG_DEV => Some((Corrected, Some(Scope::Dram), true)),
        fi::NVML_FI_DEV_ECC_DBE_AGG_DEV => Some((Uncorrectable, Some(Scope::Dram), true)),
        // From Turing on the caches are counted together.
        fi::NVML_FI_DEV_ECC_SBE_VOL_L1..=fi::NVML_FI_DEV_ECC_DBE_AGG_CBU => return Err(code::NOT_SUPPORTED),
        _ => None,
    })
}

/// Which of a link's errors a counter counts.
type LinkCounter = fn(LinkErrors) -> u64;

/// The link error counters from before Hopper: what is counted, the field of link 0, of link 6, and of all.
/// The fields of links 0 to 5 follow each other, and so do those of 6 to 11.
const OLD_LINK_COUNTERS: [(LinkCounter, u32, u32, u32); 5] = [
    (
        |errors| errors.crc_errors,
        fi::NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_L0,
        fi::NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_L6,
        fi::NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL,
    ),
    // The machine's check-sum errors are all in flow control.
    (
        |_| 0,
        fi::NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_L0,
        fi::NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_L6,
        fi::NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL,
    ),
    (
        |errors| errors.replays,
        fi::NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_L0,
        fi::NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_L6,
        fi::NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL,
    ),
    (
        |errors| errors.recoveries,
        fi::NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_L0,
        fi::NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_L6,
        fi::NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL,
    ),
    // Lanes carry ECC from Ampere on; no error of that kind is simulated.
    (
        |_| 0,
        fi::NVML_FI_DEV_NVLINK_ECC_DATA_ERROR_COUNT_L0,
        fi::NVML_FI_DEV_NVLINK_ECC_DATA_ERROR_COUNT_L6,
        fi::NVML_FI_DEV_NVLINK_ECC_DATA_ERROR_COUNT_TOTAL,
    ),
];

/// A counter of [`OLD_LINK_COUNTERS`], and its link or (`None`) the total.
fn link_error_field(field: u32) -> Option<(LinkCounter, Option<u32>)> {
    OLD_LINK_COUNTERS.iter().find_map(|&(counter, low, high, total)| match field {
        _ if field == total => Some((counter, None)),
        _ if (low..low + 6).contains(&field) => Some((counter, Some(field - low))),
        _ if (high..high + 6).contains(&field) => Some((counter, Some(field - high + 6))),
        _ => None,
    })
}

fn old_link_errors(device: &Device<'_>, counter: LinkCounter, link: Option<u32>) -> Result<u64> {
    let links = device.nvlink()?.links;
    if device.nvidia().architecture >= Architecture::Hopper {
        return Err(code::NOT_SUPPORTED);
    }
    match link {
        Some(link) => Ok(counter(device.link_errors(device.link(link)?))),
        None => Ok(over_links(device, links, counter)),
    }
}

fn over_links(device: &Device<'_>, links: u32, counter: LinkCounter) -> u64 {
    (0..links).fold(0, |sum, link| sum.saturating_add(counter(device.link_errors(link))))
}

fn link_speed_field(field: u32) -> Option<u32> {
    match field {
        fi::NVML_FI_DEV_NVLINK_SPEED_MBPS_L0..=fi::NVML_FI_DEV_NVLINK_SPEED_MBPS_L5 => {
            Some(field - fi::NVML_FI_DEV_NVLINK_SPEED_MBPS_L0)
        }
        fi::NVML_FI_DEV_NVLINK_SPEED_MBPS_L6..=fi::NVML_FI_DEV_NVLINK_SPEED_MBPS_L11 => {
            Some(field - fi::NVML_FI_DEV_NVLINK_SPEED_MBPS_L6 + 6)
        }
        _ => None,
    }
}

fn link_speed(device: &Device<'_>, link: u32) -> Result<u32> {
    let speed = device.nvlink()?.link_megabytes_per_second;
    Ok(if device.link_is_up(link) { speed } else { 0 })
}

/// Links that are named by the field.
fn link_by_number(device: &Device<'_>, field: u32) -> Result<Option<Value>> {
    if let Some((counter, link)) = link_error_field(field) {
        return old_link_errors(device, counter, link).map(|count| Some(Long(count)));
    }
    let Some(link) = link_speed_field(field) else { return Ok(None) };
    link_speed(device, device.link(link)?).map(|speed| Some(Unsigned(speed)))
}

/// Links that are named by the scope, and what holds for all of them.
fn link_by_scope(device: &Device<'_>, field: u32, scope: u32) -> Result<Option<Value>> {
    Ok(Some(match field {
        fi::NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON => Unsigned(device.nvlink()?.link_megabytes_per_second),
        fi::NVML_FI_DEV_NVLINK_LINK_COUNT => Unsigned(device.nvlink()?.links),
        fi::NVML_FI_DEV_NVSWITCH_CONNECTED_LINK_COUNT => {
            let nvlink = device.nvlink()?;
            let up = (0..nvlink.links).filter(|link| device.link_is_up(*link)).count() as u32;
            Unsigned(if nvlink.switch_addresses.is_empty() { 0 } else { up })
        }
        fi::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX => {
            kibibytes(device, Channel::NvlinkTransmit, scope, false)?
        }
        fi::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX => kibibytes(device, Channel::NvlinkReceive, scope, false)?,
        fi::NVML_FI_DEV_NVLINK_THROUGHPUT_RAW_TX => kibibytes(device, Channel::NvlinkTransmit, scope, true)?,
        fi::NVML_FI_DEV_NVLINK_THROUGHPUT_RAW_RX => kibibytes(device, Channel::NvlinkReceive, scope, true)?,
        fi::NVML_FI_DEV_NVLINK_ERROR_DL_REPLAY => link_errors(device, scope, |errors| errors.replays)?,
        fi::NVML_FI_DEV_NVLINK_ERROR_DL_RECOVERY => link_errors(device, scope, |errors| errors.recoveries)?,
        fi::NVML_FI_DEV_NVLINK_ERROR_DL_CRC => link_errors(device, scope, |errors| errors.crc_errors)?,
        fi::NVML_FI_DEV_NVLINK_GET_SPEED => Unsigned(link_speed(device, device.link(scope)?)?),
        fi::NVML_FI_DEV_NVLINK_GET_STATE => flag(device.link_is_up(device.link(scope)?)),
        fi::NVML_FI_DEV_NVLINK_GET_VERSION => {
            device.link(scope)?;
            Unsigned(nvlink::version_code(device.nvlink()?.version))
        }
        fi::NVML_FI_DEV_NVLINK_GET_POWER_STATE => {
            device.since(Architecture::Hopper)?;
            device.link(scope)?;
            // Links sleep while nothing runs: 1 is low speed.
            flag(device.is_active(Channel::Idle))
        }
        _ => return Ok(None),
    }))
}

/// Power, energy, temperatures and their margins.
fn power_and_heat(call: &Call<'_>, device: &Device<'_>, field: u32, scope: u32) -> Result<Option<Value>> {
    let power = &device.facts().power;
    let thermal = &device.facts().thermal;
    let margin = |limit| device.since(Architecture::Ada).map(|()| Signed(thermal.gpu_max_celsius - limit));
    // Scope 0 is the GPU; there is no reading of the module around it.
    let gpu = |watts| if scope == 0 { Ok(Unsigned(milliwatts(watts))) } else { Err(code::NOT_SUPPORTED) };
    Ok(Some(match field {
        fi::NVML_FI_DEV_MEMORY_TEMP => {
            Unsigned(call.celsius(device.memory_temperature_celsius().ok_or(code::NOT_SUPPORTED)?))
        }
        fi::NVML_FI_DEV_GPU_TEMP => {
            device.since_driver(DRIVER_WITH_FRACTIONS_OF_DEGREES)?;
            // The sensor's steps are of a 32nd.
            let celsius = device.temperature_celsius();
            Double(if call.celsius(celsius) == 255 { 255.0 } else { (celsius * 32.0).floor() / 32.0 })
        }
        fi::NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION => Long(thermal_power::millijoules(device)),
        fi::NVML_FI_DEV_ENERGY if scope == 0 => Long(thermal_power::millijoules(device)),
        fi::NVML_FI_DEV_POWER_AVERAGE if device.averages_power() => gpu(device.power_mean_watts())?,
        fi::NVML_FI_DEV_POWER_INSTANT => gpu(device.power_watts())?,
        fi::NVML_FI_DEV_POWER_MIN_LIMIT => gpu(power.limit_min_watts)?,
        fi::NVML_FI_DEV_POWER_MAX_LIMIT => gpu(power.limit_max_watts)?,
        fi::NVML_FI_DEV_POWER_DEFAULT_LIMIT
        | fi::NVML_FI_DEV_POWER_CURRENT_LIMIT
        | fi::NVML_FI_DEV_POWER_REQUESTED_LIMIT => gpu(power.limit_watts)?,
        fi::NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT => margin(thermal.shutdown_celsius)?,
        fi::NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT => margin(thermal.slowdown_celsius)?,
        // Margins count from the GPU's own limit, and the memory's from the memory's.
        fi::NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT | fi::NVML_FI_DEV_TEMPERATURE_MEM_MAX_TLIMIT => {
            margin(thermal.gpu_max_celsius)?
        }
        _ => return Ok(None),
    }))
}

/// Time in which clocks were held down: by performance policy, and under newer drivers by reason.
fn time_held_down(device: &Device<'_>, field: u32) -> Result<Option<Value>> {
    let policy = match field {
        fi::NVML_FI_DEV_PERF_POLICY_POWER..=fi::NVML_FI_DEV_PERF_POLICY_RELIABILITY => {
            field - fi::NVML_FI_DEV_PERF_POLICY_POWER
        }
        fi::NVML_FI_DEV_PERF_POLICY_TOTAL_APP_CLOCKS => {
            sys::nvmlPerfPolicyType_enum_NVML_PERF_POLICY_TOTAL_APP_CLOCKS
        }
        fi::NVML_FI_DEV_PERF_POLICY_TOTAL_BASE_CLOCKS => {
            sys::nvmlPerfPolicyType_enum_NVML_PERF_POLICY_TOTAL_BASE_CLOCKS
        }
        _ => {
            let reason = event_time_field(device, field);
            return Ok(reason.map(|reason| Long(clocks::nanoseconds(device, &[reason]))));
        }
    };
    clocks::violation_nanoseconds(device, policy).map(|time| Some(Long(time)))
}

/// The clock-event times, under the numbers that this driver gives them.
fn event_time_field(device: &Device<'_>, field: u32) -> Option<Channel> {
    let release = device.driver().release();
    let first = if release >= DRIVER_WITH_NEW_NUMBERS { EVENT_TIMES_NEW } else { EVENT_TIMES_OLD };
    let reasons = [Channel::SoftwareThermal, Channel::HardwareThermal, Channel::PowerBrake];
    let offset = field.checked_sub(first).filter(|_| release.0 >= DRIVER_WITH_EVENT_TIMES)?;
    reasons.get(offset as usize).copied()
}

/// The PCIe link, and what MIG can do without a reset.
fn pcie(device: &Device<'_>, field: u32) -> Result<Option<Value>> {
    let since_hopper = |value| device.since(Architecture::Hopper).map(|()| value);
    let bytes = |direction| {
        device.since_driver(DRIVER_WITH_PCIE_BYTES)?;
        since_hopper(Long(device.pcie_bytes(direction)))
    };
    Ok(Some(match field {
        fi::NVML_FI_DEV_PCIE_REPLAY_COUNTER => Long(device.pcie_replays()),
        // A replay counter does not roll over at the rates of a healthy link.
        fi::NVML_FI_DEV_PCIE_REPLAY_ROLLOVER_COUNTER => Long(0),
        // One retransmission is a bad packet seen, refused and sent again.
        fi::NVML_FI_DEV_PCIE_COUNT_CORRECTABLE_ERRORS
        | fi::NVML_FI_DEV_PCIE_COUNT_BAD_TLP
        | fi::NVML_FI_DEV_PCIE_COUNT_NAKS_SENT => since_hopper(Unsigned(device.pcie_replays() as u32))?,
        fi::NVML_FI_DEV_PCIE_COUNT_NAKS_RECEIVED
        | fi::NVML_FI_DEV_PCIE_COUNT_RECEIVER_ERROR
        | fi::NVML_FI_DEV_PCIE_COUNT_BAD_DLLP
        | fi::NVML_FI_DEV_PCIE_COUNT_NON_FATAL_ERROR
        | fi::NVML_FI_DEV_PCIE_COUNT_FATAL_ERROR
        | fi::NVML_FI_DEV_PCIE_COUNT_UNSUPPORTED_REQ
        | fi::NVML_FI_DEV_PCIE_COUNT_LCRC_ERROR
        | fi::NVML_FI_DEV_PCIE_COUNT_LANE_ERROR
        | fi::NVML_FI_DEV_PCIE_L0_TO_RECOVERY_COUNTER => since_hopper(Unsigned(0))?,
        fi::NVML_FI_DEV_PCIE_COUNT_TX_BYTES => bytes(Channel::PcieTransmit)?,
        fi::NVML_FI_DEV_PCIE_COUNT_RX_BYTES => bytes(Channel::PcieReceive)?,
        fi::NVML_FI_DEV_IS_RESETLESS_MIG_SUPPORTED
        | fi::NVML_FI_DEV_IS_MIG_MODE_INDEPENDENT_MIG_QUERY_CAPABLE
            if !device.nvidia().mig_profiles.is_empty() =>
        {
            flag(device.nvidia().architecture >= Architecture::Hopper)
        }
        _ => return Ok(None),
    }))
}

/// NVLink traffic since the driver was loaded: of one link, or of all.
fn kibibytes(device: &Device<'_>, direction: Channel, scope: u32, raw: bool) -> Result<Value> {
    device.nvlink()?;
    let link = if scope == ALL_LINKS { None } else { Some(device.link(scope)?) };
    Ok(Long((device.link_bytes(direction, link, raw) / 1024.0) as u64))
}

/// Link errors by scope, as nvml.h has them on every part before Blackwell: of one link, or of all.
fn link_errors(device: &Device<'_>, scope: u32, counter: LinkCounter) -> Result<Value> {
    if device.nvidia().architecture >= Architecture::Blackwell {
        return Err(code::NOT_SUPPORTED);
    }
    let links = device.nvlink()?.links;
    if scope == ALL_LINKS {
        return Ok(Long(over_links(device, links, counter)));
    }
    Ok(Long(counter(device.link_errors(device.link(scope)?))))
}
