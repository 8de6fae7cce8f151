//! Field values: many of a device's numbers in one call, each with its own result.

use std::time::Instant;

use nvml_wrapper_sys::bindings::{
    nvmlFieldValue_t, nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT as INVALID_ARGUMENT,
    nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED as NOT_SUPPORTED, nvmlReturn_t, nvmlValue_t, nvmlValueType_t,
};
use reading::{Absence, Fault, FaultCode, Measured, plausible_celsius};

use super::{
    Gpu, QUEUE, call, check,
    fields::{self, FieldKey},
    plausible::{self, BLANKS, Number as _, margin},
};

/// Rounds between two that ask for everything. A board with NVLink has some ninety fields of other
/// generations, which cost as much as those that have a value; what is not supported may become so (MIG is
/// switched off), but not often.
pub(super) const ROUNDS_BETWEEN_ALL: u32 = 60;

/// A batch of fields: set up once, then read again in place.
pub struct FieldValues {
    /// Where each value is; ascending by field and scope.
    places: Vec<Place>,
    /// By field, the index of its first place: a round looks up each value several times.
    first: Vec<u16>,
    /// In the order of their places; those that are supported, as of the last round that asked for everything.
    values: Vec<nvmlFieldValue_t>,
    round: u32,
    /// When the batch was read.
    read_at: Instant,
    /// Why the whole batch failed, if it did.
    failed: Option<Fault>,
}

/// Where the value of a field and scope is. A board with NVLinks has a thousand, so what can be found is not kept.
struct Place {
    id: u32,
    scope: u32,
    /// Its index, or the return code of one that is not supported.
    value: Result<u32, nvmlReturn_t>,
}

/// `nvmlFieldValue_t` holds plain numbers only, but its union makes it neither `Default` nor `Send`-checked.
fn entry(id: u32, scope: u32) -> nvmlFieldValue_t {
    // SAFETY: all-zero bytes are a valid value of every field of the struct (integers and a union of
    // numbers).
    let mut value: nvmlFieldValue_t = unsafe { std::mem::zeroed() };
    value.fieldId = id;
    value.scopeId = scope;
    value
}

/// A field's number for the loaded driver: 580.82 gave 251 to 255 other numbers.
fn number(id: u32, has_new_numbers: bool) -> u32 {
    match id {
        251..=255 if has_new_numbers => id + 18,
        _ => id,
    }
}

/// By field, the index of its first key among sorted `keys`; for a field without keys, the index past them.
fn first_places(keys: &[FieldKey]) -> Vec<u16> {
    let fields = keys.last().map_or(0, |last| last.id() as usize + 1);
    let past = u16::try_from(keys.len()).unwrap_or(u16::MAX);
    let mut first = vec![past; fields];
    for (key, place) in keys.iter().zip(0..) {
        let first = &mut first[key.id() as usize];
        *first = place.min(*first);
    }
    first
}

/// Where the values of `keys` are, in their order.
fn places(keys: &[FieldKey]) -> Vec<Place> {
    let place = |(key, index): (&FieldKey, _)| Place { id: key.id(), scope: key.scope(), value: Ok(index) };
    keys.iter().zip(0..).map(place).collect()
}

/// Whether the device does not have a field. The only arguments of a field are its number and its scope: a
/// driver that returns that they are invalid is older than the field.
fn is_unsupported(code: u32) -> bool {
    matches!(code, NOT_SUPPORTED | INVALID_ARGUMENT)
}

impl FieldValues {
    /// The values that are read when a device is opened.
    pub fn at_open(gpu: &Gpu) -> Self {
        Self::new(gpu, fields::at_open())
    }

    /// The values that are read in every round of a device with so many NVLinks.
    pub fn every_round(gpu: &Gpu, links: u32) -> Self {
        Self::new(gpu, fields::every_round(links))
    }

    /// The values that are read once in a while, of a device with so many NVLinks and links to its CPU.
    pub fn rarely(gpu: &Gpu, links: u32, c2c_links: u32) -> Self {
        Self::new(gpu, fields::rarely(links, c2c_links))
    }

    fn new(gpu: &Gpu, mut keys: Vec<FieldKey>) -> Self {
        keys.sort_unstable_by_key(|key| (key.id(), key.scope()));
        let (places, first) = (places(&keys), first_places(&keys));
        let mut new =
            Self { places, first, values: Vec::new(), round: 0, read_at: Instant::now(), failed: None };
        new.expect_all(gpu);
        new
    }

    /// Reads the batch. What was not supported in the last round that asked for everything is not asked for.
    pub fn read(&mut self, gpu: &Gpu) {
        let all = self.round == 0;
        self.round = (self.round + 1) % ROUNDS_BETWEEN_ALL;
        if all {
            self.expect_all(gpu);
        }
        self.request(gpu);
        if all && self.failed.is_none() {
            self.sort_out();
        } else if self.failed.is_some() {
            self.round = 0;
        }
    }

    /// Makes room for every value.
    fn expect_all(&mut self, gpu: &Gpu) {
        let is_new = gpu.library().has_new_field_numbers();
        self.values = self.places.iter().map(|place| entry(number(place.id, is_new), place.scope)).collect();
        for (place, index) in self.places.iter_mut().zip(0..) {
            place.value = Ok(index);
        }
    }

    /// Leaves out the values that are not supported.
    fn sort_out(&mut self) {
        let mut supported = 0..;
        for (place, value) in self.places.iter_mut().zip(&self.values) {
            let code = value.nvmlReturn;
            place.value = if is_unsupported(code) { Err(code) } else { supported.next().ok_or(code) };
        }
        self.values.retain(|value| !is_unsupported(value.nvmlReturn));
        self.values.shrink_to_fit();
    }

    fn request(&mut self, gpu: &Gpu) {
        self.failed = None;
        let asked = &mut self.values;
        for value in &mut *asked {
            // A driver that forgets an entry must not leave the last round's number behind.
            value.nvmlReturn = nvml_wrapper_sys::bindings::nvmlReturn_enum_NVML_ERROR_UNKNOWN;
            // Nor may one that adds its count to what it finds (seen with ECC errors: NVIDIA/go-nvml, issue
            // 46).
            value.value = nvmlValue_t { ullVal: 0 };
        }
        // NVML returns that the argument is invalid for an empty batch.
        if asked.is_empty() {
            return;
        }
        let count = i32::try_from(asked.len()).unwrap_or(i32::MAX);
        let _permit = QUEUE.acquire();
        let read = call!(gpu.library(), nvmlDeviceGetFieldValues(gpu.handle(), count, asked.as_mut_ptr()));
        (self.failed, self.read_at) = (read.err(), Instant::now());
    }

    /// When the batch was read.
    pub fn read_at(&self) -> Instant {
        self.read_at
    }

    fn place(&self, key: FieldKey) -> Option<&Place> {
        let first = usize::from(*self.first.get(key.id() as usize)?);
        let is = |found: &&Place| (found.id, found.scope) == (key.id(), key.scope());
        // Links are numbered from 0 and come in order; their sum is the last scope.
        let direct =
            (key.scope() as usize).checked_add(first).and_then(|index| self.places.get(index)).filter(is);
        let of_field = || self.places.get(first..)?.iter().take_while(|found| found.id == key.id()).find(is);
        direct.or_else(of_field)
    }

    fn find(&self, key: FieldKey) -> Measured<&nvmlFieldValue_t> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let place = self.place(key).ok_or(Fault::new(key.name(), FaultCode::NotAsked))?;
        let value = place.value.map(|index| &self.values[index as usize]);
        let code = value.map_or_else(|code| code, |value| value.nvmlReturn);
        check(key.name(), code).map_err(|fault| {
            let unsupported = Fault { absence: Absence::Unsupported, ..fault };
            if is_unsupported(code) { unsupported } else { fault }
        })?;
        value.map_err(|_| Fault::new(key.name(), FaultCode::NotReturned))
    }

    /// The value as an unsigned integer, by its declared type; a negative or fractional one is no data.
    pub fn unsigned(&self, key: FieldKey) -> Measured<u64> {
        let field = self.find(key)?;
        let value = integer(field).ok_or(Fault::new(key.name(), FaultCode::NotACount))?;
        match field.valueType {
            TYPE_UNSIGNED_INT => {
                u32::try_from(value).unwrap_or(u32::BLANK).checked(key.name()).map(u64::from)
            }
            _ => value.checked(key.name()),
        }
    }

    /// The memory temperature in Celsius. Its low 32 bits count whatever type the driver declares: some
    /// r545 drivers declare a double and write an integer.
    pub fn memory_temperature(&self) -> Measured<u32> {
        let key = fields::NVML_FI_DEV_MEMORY_TEMP;
        let value = self.find(key)?;
        // SAFETY: nvmlDeviceGetFieldValues returned success for this entry, so the union holds a number, and
        // every bit pattern is a valid u32.
        let celsius = unsafe { value.value.uiVal };
        // Drivers report 0 while the memory's sensor cannot be read; no memory that works is as cold.
        match BLANKS.temperature(key.name(), celsius)? {
            0 => Err(Fault::new(key.name(), FaultCode::Zero)),
            celsius => Ok(celsius),
        }
    }

    /// A temperature in Celsius, with the fractions that the driver gives.
    pub fn temperature(&self, key: FieldKey) -> Measured<f64> {
        let value = self.find(key)?;
        let celsius = match value.valueType {
            // SAFETY: the type tag says double.
            TYPE_DOUBLE => unsafe { value.value.dVal },
            _ => self.unsigned(key)? as f64,
        };
        plausible::finite(key.name(), celsius).and_then(|celsius| plausible_celsius(key.name(), celsius))
    }

    /// A difference of temperatures in Celsius, which may be negative. Its low 32 bits count whatever type the
    /// driver declares.
    pub fn celsius(&self, key: FieldKey) -> Measured<i32> {
        let value = self.find(key)?;
        // SAFETY: nvmlDeviceGetFieldValues returned success for this entry, so the union holds a number, and
        // every bit pattern is a valid i32.
        let celsius = unsafe { value.value.siVal };
        margin(key.name(), celsius.checked(key.name())?)
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
    use reading::{Absence, FaultCode};

    use super::{
        FieldValues, INVALID_ARGUMENT, NOT_SUPPORTED, TYPE_UNSIGNED_LONG_LONG, entry,
        fields::{
            NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN as HW_POWER_BRAKE,
            NVML_FI_DEV_MEMORY_TEMP, NVML_FI_DEV_NVLINK_COUNT_XMIT_BYTES as XMIT_BYTES,
        },
        first_places, number, places,
    };

    #[test]
    fn what_is_not_supported_is_set_aside_and_everything_is_still_found() {
        let keys: Vec<_> = (0..6).map(|link| XMIT_BYTES.of(link)).collect();
        let (places, first) = (places(&keys), first_places(&keys));
        let values = keys.iter().zip(0..).map(|(key, place): (_, usize)| {
            let mut value = entry(key.id(), key.scope());
            value.valueType = TYPE_UNSIGNED_LONG_LONG;
            value.value.ullVal = u64::from(key.scope()) * 10;
            value.nvmlReturn = [NOT_SUPPORTED, 0, 0, INVALID_ARGUMENT][place % 4];
            value
        });
        let values = values.collect();
        let read_at = std::time::Instant::now();
        let mut fields = FieldValues { values, places, first, round: 1, read_at, failed: None };
        fields.sort_out();
        assert_eq!(fields.values.len(), 3);
        for unknown in [XMIT_BYTES.of(6), XMIT_BYTES.of(u32::MAX), NVML_FI_DEV_MEMORY_TEMP] {
            let code = fields.unsigned(unknown).expect_err("not read").code;
            assert_eq!(code, FaultCode::NotAsked);
        }
        for link in 0..6 {
            let value = fields.unsigned(XMIT_BYTES.of(link));
            if [0, 3, 4].contains(&link) {
                assert_eq!(value.expect_err("not supported").absence, Absence::Unsupported);
            } else {
                assert_eq!(value, Ok(u64::from(link) * 10));
            }
        }
    }

    #[test]
    fn newer_drivers_number_clock_events_anew() {
        let numbers = |key: super::FieldKey| [false, true].map(|is_new| number(key.id(), is_new));
        assert_eq!(numbers(HW_POWER_BRAKE), [253, 271]);
        assert_eq!(numbers(NVML_FI_DEV_MEMORY_TEMP), [82, 82]);
    }
}
