//! Field values: many of a device's numbers in one call, each with its own result.

use nvml_wrapper::FieldIdScheme;
use nvml_wrapper_sys::bindings::{
    field_id, nvmlFieldValue_t, nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT as INVALID_ARGUMENT,
    nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED as NOT_SUPPORTED, nvmlValue_t, nvmlValueType_t,
};
use reading::{Absence, Fault, FaultCode};

use super::{Got, Gpu, QUEUE, call, fault, plausible::BLANKS};

/// `scopeId` that means the sum over all links (nvml.h, NVLink throughput counters).
pub const ALL_LINKS: u32 = u32::MAX;

/// The names of the fields that are read, for faults.
macro_rules! field_names {
    ($($name:ident),* $(,)?) => {
        fn name(id: u32) -> &'static str {
            match id {
                $(field_id::$name => stringify!($name),)*
                SW_THERMAL_NS => "NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN",
                HW_THERMAL_NS => "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN",
                HW_POWER_BRAKE_NS => "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN",
                _ => "nvmlDeviceGetFieldValues",
            }
        }
    };
}

field_names![
    NVML_FI_DEV_ECC_SBE_VOL_TOTAL,
    NVML_FI_DEV_ECC_DBE_VOL_TOTAL,
    NVML_FI_DEV_ECC_SBE_AGG_TOTAL,
    NVML_FI_DEV_ECC_DBE_AGG_TOTAL,
    NVML_FI_DEV_RETIRED_SBE,
    NVML_FI_DEV_RETIRED_DBE,
    NVML_FI_DEV_RETIRED_PENDING,
    NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL,
    NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL,
    NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL,
    NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL,
    NVML_FI_DEV_PERF_POLICY_POWER,
    NVML_FI_DEV_PERF_POLICY_THERMAL,
    NVML_FI_DEV_PERF_POLICY_SYNC_BOOST,
    NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT,
    NVML_FI_DEV_PERF_POLICY_LOW_UTILIZATION,
    NVML_FI_DEV_PERF_POLICY_RELIABILITY,
    NVML_FI_DEV_MEMORY_TEMP,
    NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON,
    NVML_FI_DEV_NVLINK_LINK_COUNT,
    NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX,
    NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX,
    NVML_FI_DEV_REMAPPED_COR,
    NVML_FI_DEV_REMAPPED_UNC,
    NVML_FI_DEV_REMAPPED_PENDING,
    NVML_FI_DEV_REMAPPED_FAILURE,
    NVML_FI_DEV_NVLINK_ERROR_DL_REPLAY,
    NVML_FI_DEV_NVLINK_ERROR_DL_RECOVERY,
    NVML_FI_DEV_NVLINK_ERROR_DL_CRC,
    NVML_FI_DEV_NVLINK_GET_SPEED,
    NVML_FI_DEV_POWER_INSTANT,
    NVML_FI_DEV_PCIE_COUNT_TX_BYTES,
    NVML_FI_DEV_PCIE_COUNT_RX_BYTES,
    NVML_FI_DEV_NVLINK_COUNT_XMIT_BYTES,
    NVML_FI_DEV_NVLINK_COUNT_RCV_BYTES,
    NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS,
    NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS,
    NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS,
    NVML_FI_DEV_GET_GPU_RECOVERY_ACTION,
];

/// Nanoseconds of software thermal slowdown. Drivers from 580.82 on number these three 269 to 271, older
/// ones 251 to 253; a [`FieldValues`] asks with the number that the loaded driver uses.
pub const SW_THERMAL_NS: u32 = 269;
/// Nanoseconds of hardware thermal slowdown.
pub const HW_THERMAL_NS: u32 = 270;
/// Nanoseconds of external power brake.
pub const HW_POWER_BRAKE_NS: u32 = 271;

/// Rounds from one on which everything is asked to the next. A board with NVLink has some ninety fields of
/// other generations, which cost as much as those that answer; what is not supported may come to be (MIG
/// is switched off), but not often.
const ROUNDS_BETWEEN_ALL: u32 = 60;

/// A batch of fields: asked for once, then read again in place.
pub struct FieldValues {
    /// Field as we name it, scope, and where its value is; ascending.
    keys: Vec<(u32, u32, usize)>,
    /// Those that are supported come first.
    values: Vec<nvmlFieldValue_t>,
    /// How many are supported, as of the last round on which all were asked.
    supported: usize,
    round: u32,
    /// Why the whole batch failed, if it did.
    failed: Option<Fault>,
}

/// `nvmlFieldValue_t` holds plain numbers only, but its union makes it neither `Default` nor `Send`-checked.
fn request(id: u32, scope: u32) -> nvmlFieldValue_t {
    // SAFETY: all-zero bytes are a valid value of every field of the struct (integers and a union of numbers).
    let mut value: nvmlFieldValue_t = unsafe { std::mem::zeroed() };
    value.fieldId = id;
    value.scopeId = scope;
    value
}

/// Whether the device does not have a field. The only arguments of a field are its number and its scope: what
/// calls them invalid is a driver that is older than the field.
fn is_unsupported(code: u32) -> bool {
    matches!(code, NOT_SUPPORTED | INVALID_ARGUMENT)
}

impl FieldValues {
    /// A batch for `keys`, numbered for the driver behind `gpu`.
    pub fn new(gpu: &Gpu, mut keys: Vec<(u32, u32)>) -> Self {
        keys.sort_unstable();
        let old = gpu.library().nvml().field_id_scheme() == FieldIdScheme::V12;
        let number = |id| if old && (SW_THERMAL_NS..=HW_POWER_BRAKE_NS).contains(&id) { id - 18 } else { id };
        let values = keys.iter().map(|(id, scope)| request(number(*id), *scope)).collect();
        let keys = keys.into_iter().enumerate().map(|(place, (id, scope))| (id, scope, place)).collect();
        Self { keys, values, supported: 0, round: 0, failed: None }
    }

    /// Reads the batch. What was not supported when all was asked last stands as it answered then.
    pub fn read(&mut self, gpu: &Gpu) {
        let all = self.round == 0;
        self.round = (self.round + 1) % ROUNDS_BETWEEN_ALL;
        let asked = if all { self.values.len() } else { self.supported };
        self.ask(gpu, asked);
        if all && self.failed.is_none() {
            self.sort_out();
        } else if self.failed.is_some() {
            self.round = 0;
        }
    }

    /// Puts the supported values first.
    fn sort_out(&mut self) {
        let answers = |place: usize| !is_unsupported(self.values[place].nvmlReturn);
        let (mut order, others): (Vec<_>, Vec<_>) = (0..self.values.len()).partition(|place| answers(*place));
        self.supported = order.len();
        order.extend(others);
        let mut places = vec![0; order.len()];
        for (place, before) in order.iter().enumerate() {
            places[*before] = place;
        }
        self.values = order.iter().map(|before| self.values[*before]).collect();
        for (.., place) in &mut self.keys {
            *place = places[*place];
        }
    }

    fn ask(&mut self, gpu: &Gpu, count: usize) {
        self.failed = None;
        let asked = &mut self.values[..count];
        for value in &mut *asked {
            // A driver that forgets an entry must not leave the last round's number behind.
            value.nvmlReturn = nvml_wrapper_sys::bindings::nvmlReturn_enum_NVML_ERROR_UNKNOWN;
            // Nor may one that adds its count to what it finds (seen with ECC errors: NVIDIA/go-nvml, issue 46).
            value.value = nvmlValue_t { ullVal: 0 };
        }
        // Of nothing NVML answers that the argument is invalid.
        if asked.is_empty() {
            return;
        }
        let count = i32::try_from(asked.len()).unwrap_or(i32::MAX);
        let _permit = QUEUE.acquire();
        let answer = call!(gpu.library(), nvmlDeviceGetFieldValues(gpu.handle(), count, asked.as_mut_ptr()));
        self.failed = answer.err();
    }

    fn find(&self, id: u32, scope: u32) -> Got<&nvmlFieldValue_t> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let found = self.keys.binary_search_by_key(&(id, scope), |(id, scope, _)| (*id, *scope));
        let index = found.map_err(|_| Fault::new(name(id), FaultCode::NotAsked))?;
        let value = &self.values[self.keys[index].2];
        match value.nvmlReturn {
            0 => Ok(value),
            code => {
                let fault = fault(name(id), &nvml_wrapper::error::NvmlError::from(code));
                let unsupported = Fault { absence: Absence::Unsupported, ..fault };
                Err(if is_unsupported(code) { unsupported } else { fault })
            }
        }
    }

    /// The value as an unsigned integer, by its declared type; a negative or fractional one is no data.
    pub fn unsigned(&self, id: u32, scope: u32) -> Got<u64> {
        let field = self.find(id, scope)?;
        let value = integer(field).ok_or(Fault::new(name(id), FaultCode::NotACount))?;
        match field.valueType {
            TYPE_UNSIGNED_INT => {
                BLANKS.number32(name(id), u32::try_from(value).unwrap_or(u32::MAX)).map(u64::from)
            }
            _ => BLANKS.number64(name(id), value),
        }
    }

    /// The memory temperature in Celsius. Its low 32 bits count whatever type the driver declares: some
    /// r545 drivers say double and mean an integer.
    pub fn memory_temperature(&self) -> Got<u32> {
        let value = self.find(field_id::NVML_FI_DEV_MEMORY_TEMP, 0)?;
        // SAFETY: nvmlDeviceGetFieldValues answered success for this entry, so the union holds a number, and
        // every bit pattern is a valid u32.
        let celsius = unsafe { value.value.uiVal };
        BLANKS.temperature(name(field_id::NVML_FI_DEV_MEMORY_TEMP), celsius)
    }

    /// Whether a cumulative field is only 32 bits wide, so that it wraps too fast to be a counter of bytes.
    pub fn is_narrow(&self, id: u32, scope: u32) -> bool {
        self.find(id, scope).is_ok_and(|value| value.valueType == TYPE_UNSIGNED_INT)
    }
}

/// nvml.h, `nvmlValueType_enum`.
const TYPE_DOUBLE: nvmlValueType_t = 0;
const TYPE_UNSIGNED_INT: nvmlValueType_t = 1;
const TYPE_UNSIGNED_LONG: nvmlValueType_t = 2;
const TYPE_UNSIGNED_LONG_LONG: nvmlValueType_t = 3;
const TYPE_SIGNED_LONG_LONG: nvmlValueType_t = 4;
const TYPE_SIGNED_INT: nvmlValueType_t = 5;
const TYPE_UNSIGNED_SHORT: nvmlValueType_t = 6;

fn integer(field: &nvmlFieldValue_t) -> Option<u64> {
    let value = field.value;
    match field.valueType {
        TYPE_DOUBLE => {
            // SAFETY: the type tag says double.
            let double = unsafe { value.dVal };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked: whole and in range"
            )]
            (double >= 0.0 && double.fract() == 0.0 && double < 9e15).then_some(double as u64)
        }
        // SAFETY: the type tag says unsigned int.
        TYPE_UNSIGNED_INT => Some(u64::from(unsafe { value.uiVal })),
        // SAFETY: the type tag says unsigned long, 64 bits on every platform that accelscope runs on.
        TYPE_UNSIGNED_LONG => Some(unsafe { value.ulVal }),
        // SAFETY: the type tag says unsigned long long.
        TYPE_UNSIGNED_LONG_LONG => Some(unsafe { value.ullVal }),
        // SAFETY: the type tag says signed long long.
        TYPE_SIGNED_LONG_LONG => u64::try_from(unsafe { value.sllVal }).ok(),
        // SAFETY: the type tag says signed int.
        TYPE_SIGNED_INT => u64::try_from(unsafe { value.siVal }).ok(),
        // SAFETY: the type tag says unsigned short.
        TYPE_UNSIGNED_SHORT => Some(u64::from(unsafe { value.usVal })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use reading::Absence;

    use super::{FieldValues, INVALID_ARGUMENT, NOT_SUPPORTED, TYPE_UNSIGNED_LONG_LONG, field_id, request};

    #[test]
    fn what_is_not_supported_is_set_aside_and_everything_is_still_found() {
        let id = field_id::NVML_FI_DEV_NVLINK_COUNT_XMIT_BYTES;
        let keys: Vec<_> = (0..6_usize).map(|link| (id, u32::try_from(link).expect("small"), link)).collect();
        let values = keys.iter().map(|(id, link, _)| {
            let mut value = request(*id, *link);
            value.valueType = TYPE_UNSIGNED_LONG_LONG;
            value.value.ullVal = u64::from(*link) * 10;
            value.nvmlReturn = [NOT_SUPPORTED, 0, 0, INVALID_ARGUMENT][*link as usize % 4];
            value
        });
        let mut fields = FieldValues { values: values.collect(), keys, supported: 0, round: 1, failed: None };
        fields.sort_out();
        assert_eq!(fields.supported, 3);
        for link in 0..6 {
            let value = fields.unsigned(id, link);
            if [0, 3, 4].contains(&link) {
                assert_eq!(value.expect_err("not supported").absence, Absence::Unsupported);
            } else {
                assert_eq!(value, Ok(u64::from(link) * 10));
            }
        }
    }
}
