//! Results of successful calls that mean nothing: vendors' blanks and impossible numbers.
//!
//! Only what cannot be a measurement is rejected; a surprising value is still a value.

use std::{ffi::CStr, ops::RangeInclusive};

use naming::{FaultCode, Unit, catalogue};

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

/// Whether a text can tell one device from others: blanks are one character again and again, such as zeros.
pub fn is_distinctive(text: &str) -> bool {
    let mut letters = text.bytes().filter(u8::is_ascii_alphanumeric);
    letters.next().is_some_and(|first| letters.any(|letter| letter != first))
}

/// A clock may be set above its maximum by an owner who overclocks.
const CLOCK_ROOM: f64 = 1.5;
/// Power peaks pass the highest limit of a part for a moment, not by this factor.
const POWER_ROOM: f64 = 2.0;
/// The ends of two readings are not exactly those of the time between them.
const LINK_ROOM: f64 = 1.5;
/// No part moves more to and from its memory.
const MEMORY_BYTES_PER_SECOND_MAX: f64 = 1e14;
/// A counter of time and our clock are not read at the same instant.
const TIME_ROOM: f64 = 1.1;

/// The most that a quantity can be by what the device itself reports: its limit, its highest clock, its link;
/// of a counter, what it counts in a second. A reading past it is a fault, however plausible it would be for
/// another device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceiling(f64);

impl Ceiling {
    /// `room` times what the device reports; none where it reports nothing or 0.
    pub fn new(reported: Measured<f64>, room: f64) -> Self {
        Self(reported.ok().filter(|most| *most > 0.0).map_or(f64::INFINITY, |most| most * room))
    }

    /// Of a counter of joules, by the part's highest power limit in watts; 5 kW where that is unknown.
    pub fn of_energy(watts: Measured<f64>) -> Self {
        Self::new(watts, POWER_ROOM).within(Unit::Watts.most())
    }

    /// Of a counter of bytes over a link in one direction, by the link's bytes per second; 1 TB/s where that is
    /// unknown.
    pub fn of_link(bytes_per_second: Measured<f64>) -> Self {
        Self::new(bytes_per_second, LINK_ROOM).within(catalogue::LINK_MOST)
    }

    /// Of a counter of bytes to or from memory, by its bandwidth; 100 TB/s where that is unknown.
    pub fn of_memory(bytes_per_second: Measured<f64>) -> Self {
        Self::new(bytes_per_second, LINK_ROOM).within(MEMORY_BYTES_PER_SECOND_MAX)
    }

    /// Of a counter of cycles, whatever the clock: 20 GHz.
    pub const fn of_cycles() -> Self {
        Self(Unit::Hertz.most())
    }

    /// Of a counter of seconds, in which one thing was so or not: a second in each.
    pub const fn of_time() -> Self {
        Self(TIME_ROOM)
    }

    /// The same for another unit, of which there are so many in one.
    #[must_use]
    pub fn times(self, units: f64) -> Self {
        Self(self.0 * units)
    }

    /// Of a clock in hertz, by its own maximum; 20 GHz where that is unknown.
    pub fn of_clock(hertz: Measured<f64>) -> Self {
        Self::new(hertz, CLOCK_ROOM).within(Unit::Hertz.most())
    }

    /// Not above what no part of this kind exceeds, whatever the device reports of itself.
    fn within(self, generic: f64) -> Self {
        Self(self.0.min(generic))
    }

    /// As a number.
    pub(crate) const fn most(self) -> f64 {
        self.0
    }

    /// A value in the unit of what was reported, if it is not past the ceiling.
    ///
    /// # Errors
    /// `above_maximum`.
    pub fn check<T: Copy + Into<f64>>(self, call: &'static str, value: T) -> Measured<T> {
        if value.into() > self.0 { Err(Fault::new(call, FaultCode::AboveMaximum)) } else { Ok(value) }
    }
}

/// A number of components or devices that a driver reports, before anything is allocated or asked for each of
/// them.
/// `max` is the most that such hardware can have.
///
/// # Errors
/// `more_than_possible`.
pub fn plausible_count(call: &'static str, count: u32, max: u32) -> Measured<u32> {
    if count > max { Err(Fault::new(call, FaultCode::MoreThanPossible)) } else { Ok(count) }
}

/// The text that a C function wrote into `buffer`. It is read no further than the buffer, whether or not it
/// has an end.
///
/// # Errors
/// `bad_string` for a text without a NUL or that is not UTF-8, `empty` for an empty one.
pub fn terminated_text(call: &'static str, buffer: &[u8]) -> Measured<String> {
    let bad = Fault::new(call, FaultCode::BadString);
    let text = CStr::from_bytes_until_nul(buffer).map_err(|_| bad)?;
    match text.to_str().map_err(|_| bad)? {
        "" => Err(Fault::new(call, FaultCode::Empty)),
        text => Ok(text.to_owned()),
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
    /// `blank`, `sizes_disagree`, or `above_maximum` for more memory than any part has.
    pub fn sizes(&self, call: &'static str, total: u64, used: u64, free: u64) -> Result<(), Fault> {
        for value in [total, used, free] {
            self.number64(call, value)?;
        }
        if total == 0 || used > total || free > total {
            return Err(Fault::new(call, FaultCode::SizesDisagree));
        }
        if total as f64 > catalogue::MEMORY_MOST {
            return Err(Fault::new(call, FaultCode::AboveMaximum));
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
    fn a_ceiling_is_what_the_device_reports_with_room() {
        let ceiling = Ceiling::new(Ok(175.0), 2.0);
        assert_eq!(ceiling.check("call", 350.0), Ok(350.0), "a peak");
        assert_eq!(code(ceiling.check("call", 593.0)), Some("above_maximum"));
        let unknown = Fault::new("call", FaultCode::Blank);
        // A limit that is none is no ceiling, and what no part draws is none either.
        for milliwatts in [Ok(700e6), Err(unknown)] {
            let ceiling = Ceiling::of_energy(milliwatts);
            assert_eq!(ceiling.check("call", 5e3), Ok(5e3));
            assert_eq!(code(ceiling.check("call", 521e3)), Some("above_maximum"));
        }
        for none in [Ceiling::new(Ok(0.0), 2.0), Ceiling::new(Err(unknown), 2.0)] {
            assert_eq!(none.check("call", 1e9), Ok(1e9));
        }
    }

    #[test]
    fn a_count_is_capped_by_what_the_hardware_can_have() {
        assert_eq!(plausible_count("call", 36, 36), Ok(36));
        assert_eq!(code(plausible_count("call", 37, 36)), Some("more_than_possible"));
    }

    #[test]
    fn a_text_ends_in_its_buffer_or_is_none() {
        assert_eq!(terminated_text("call", b"GPU-1\0left over"), Ok("GPU-1".to_owned()));
        for (buffer, expected) in [(&b"AAAA"[..], "bad_string"), (b"\xff\0", "bad_string"), (b"\0A", "empty")]
        {
            assert_eq!(code(terminated_text("call", buffer)), Some(expected), "{buffer:?}");
        }
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
        assert_eq!(code(blanks.sizes("call", 1 << 46, 1 << 40, 1 << 40)), Some("above_maximum"));
        assert_eq!(blanks.sizes("call", 80, 60, 19), Ok(()));
    }
}
