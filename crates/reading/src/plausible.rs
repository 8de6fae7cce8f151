//! Results of successful calls that mean nothing: vendors' blanks and impossible numbers.
//!
//! Only what cannot be a measurement is rejected; a surprising value is still a value.

use std::ops::RangeInclusive;

use naming::FaultCode;

use crate::{Fault, Measured};

/// As DCGM does: no sensor of these parts survives more.
const TEMPERATURE_MAX_C: u32 = 200;
/// No accelerator works where it is colder.
const TEMPERATURE_MIN_C: f64 = -60.0;

/// A temperature in degrees Celsius that a working part can have.
///
/// # Errors
/// `over_200_celsius` or `under_60_below_zero`.
pub fn plausible_celsius(call: &'static str, celsius: f64) -> Measured<f64> {
    match celsius {
        celsius if celsius > f64::from(TEMPERATURE_MAX_C) => Err(Fault::new(call, FaultCode::Over200Celsius)),
        celsius if celsius < TEMPERATURE_MIN_C => Err(Fault::new(call, FaultCode::Under60BelowZero)),
        celsius => Ok(celsius),
    }
}

/// What a vendor returns where it has no number. All ones are a blank everywhere.
#[derive(Clone, Debug)]
pub struct Blanks {
    /// Its other blanks of 32 bits.
    pub bits32: RangeInclusive<u32>,
    /// Its other blanks of 64 bits.
    pub bits64: RangeInclusive<u64>,
}

impl Blanks {
    /// Of a vendor that has no others.
    pub const ALL_ONES: Self = Self { bits32: u32::MAX..=u32::MAX, bits64: u64::MAX..=u64::MAX };

    /// A 32-bit number that is not a blank.
    ///
    /// # Errors
    /// `blank`.
    pub fn number32(&self, call: &'static str, value: u32) -> Result<u32, Fault> {
        let blank = value == u32::MAX || self.bits32.contains(&value);
        if blank { Err(Fault::new(call, FaultCode::Blank)) } else { Ok(value) }
    }

    /// A 64-bit number that is not a blank.
    ///
    /// # Errors
    /// `blank`.
    pub fn number64(&self, call: &'static str, value: u64) -> Result<u64, Fault> {
        let blank = value == u64::MAX || self.bits64.contains(&value);
        if blank { Err(Fault::new(call, FaultCode::Blank)) } else { Ok(value) }
    }

    /// A temperature in Celsius.
    ///
    /// # Errors
    /// `blank`, or `over_200_celsius`.
    pub fn temperature(&self, call: &'static str, value: u32) -> Result<u32, Fault> {
        let value = self.number32(call, value)?;
        plausible_celsius(call, value.into()).map(|_| value)
    }

    /// Memory sizes that fit each other.
    ///
    /// # Errors
    /// `blank`, or `sizes_disagree`.
    pub fn sizes(&self, call: &'static str, total: u64, used: u64, free: u64) -> Result<(), Fault> {
        for value in [total, used, free] {
            self.number64(call, value)?;
        }
        if total == 0 || used > total || free > total {
            return Err(Fault::new(call, FaultCode::SizesDisagree));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(got: Result<T, Fault>) -> Option<&'static str> {
        got.err().map(|fault| fault.code.name())
    }

    #[test]
    fn blanks_are_no_data_and_large_values_are_values() {
        let ones = Blanks::ALL_ONES;
        let others = Blanks { bits32: 0x7fff_fff0..=0x7fff_ffff, bits64: 1 << 40..=1 << 40 };
        for blanks in [&ones, &others] {
            assert_eq!(code(blanks.number32("call", u32::MAX)), Some("blank"));
            assert_eq!(code(blanks.number64("call", u64::MAX)), Some("blank"));
        }
        assert_eq!(code(others.number32("call", 0x7fff_fff3)), Some("blank"));
        assert_eq!(code(others.number64("call", 1 << 40)), Some("blank"));
        assert_eq!(ones.number32("call", 0x7fff_fff3), Ok(0x7fff_fff3), "another vendor's blank");
        for value in [0, 2_500_000] {
            assert_eq!(others.number32("call", value), Ok(value), "2.5 kW is a lot, not garbage");
        }
        assert_eq!(others.number64("call", 1 << 62), Ok(1 << 62));
    }

    #[test]
    fn impossible_numbers_are_no_data() {
        let blanks = Blanks::ALL_ONES;
        assert_eq!(code(blanks.temperature("call", u32::MAX)), Some("blank"));
        assert_eq!(code(blanks.temperature("call", 255)), Some("over_200_celsius"));
        assert_eq!(blanks.temperature("call", 200), Ok(200));
        assert_eq!(code(plausible_celsius("call", -60.5)), Some("under_60_below_zero"));
        assert_eq!(plausible_celsius("call", -40.0), Ok(-40.0));
        assert_eq!(code(blanks.sizes("call", 80, u64::MAX, 0)), Some("blank"));
        assert_eq!(code(blanks.sizes("call", 80, 81, 0)), Some("sizes_disagree"));
        assert_eq!(code(blanks.sizes("call", 0, 0, 0)), Some("sizes_disagree"));
        assert_eq!(blanks.sizes("call", 80, 60, 19), Ok(()));
    }
}
