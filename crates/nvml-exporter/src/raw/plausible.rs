//! Answers that say success and mean nothing: vendors' blanks and impossible numbers.
//!
//! Only what cannot be a measurement is rejected; a surprising value is still a value.

use reading::{Absence, Fault};

use super::Got;

/// dcgm_structs.h: DCGM's blanks start here and run a few values up; some drivers leak them.
const BLANK_64: u64 = 0x7fff_ffff_ffff_fff0;
/// The same for 32 bits.
const BLANK_32: u32 = 0x7fff_fff0;
/// As DCGM does: no sensor of these parts survives more.
const TEMPERATURE_MAX_C: u32 = 200;

const fn no_data<T>(call: &'static str, code: &'static str) -> Got<T> {
    Err(Fault { absence: Absence::NoData, call, code })
}

/// A 32-bit number that is not a blank: not DCGM's, not all ones (NVML's "not available").
pub fn number32(call: &'static str, value: u32) -> Got<u32> {
    if value == u32::MAX || (BLANK_32..=BLANK_32 + 0xf).contains(&value) {
        return no_data(call, "blank");
    }
    Ok(value)
}

/// A 64-bit number that is not a blank.
pub fn number64(call: &'static str, value: u64) -> Got<u64> {
    if value == u64::MAX || (BLANK_64..=BLANK_64 + 0xf).contains(&value) {
        return no_data(call, "blank");
    }
    Ok(value)
}

/// A whole percentage.
pub fn percent(call: &'static str, value: u32) -> Got<u32> {
    match number32(call, value)? {
        value @ 0..=100 => Ok(value),
        _ => no_data(call, "over_100_percent"),
    }
}

/// A temperature in Celsius.
pub fn temperature(call: &'static str, value: u32) -> Got<u32> {
    match number32(call, value)? {
        value @ 0..=TEMPERATURE_MAX_C => Ok(value),
        _ => no_data(call, "over_200_celsius"),
    }
}

/// Framebuffer sizes that fit each other.
pub fn sizes(call: &'static str, total: u64, used: u64, free: u64) -> Got<()> {
    for value in [total, used, free] {
        number64(call, value)?;
    }
    if total == 0 || used > total || free > total {
        return no_data(call, "sizes_disagree");
    }
    Ok(())
}

/// A GPM value that is a number, and for a percentage (`limit`) not far over it: counters of one interval
/// may overshoot by rounding, a whole percent is beyond that.
pub fn gpm(call: &'static str, value: f64, limit: Option<f64>) -> Got<f64> {
    if value.is_nan() {
        return no_data(call, "nan");
    }
    if !value.is_finite() || value < 0.0 || limit.is_some_and(|limit| value > limit + 1.0) {
        return no_data(call, "out_of_range");
    }
    Ok(limit.map_or(value, |limit| value.min(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(got: Got<T>) -> Option<&'static str> {
        got.err().map(|fault| fault.code)
    }

    #[test]
    fn blanks_are_no_data_and_large_values_are_values() {
        for blank in [u32::MAX, 0x7fff_fff0, 0x7fff_fff3] {
            assert_eq!(code(number32("call", blank)), Some("blank"), "{blank:#x}");
        }
        for blank in [u64::MAX, 9_223_372_036_854_775_792, 9_223_372_036_854_775_794] {
            assert_eq!(code(number64("call", blank)), Some("blank"), "{blank:#x}");
        }
        assert_eq!(number32("call", 0), Ok(0));
        assert_eq!(number32("call", 2_500_000), Ok(2_500_000), "2.5 kW is a lot, not garbage");
        assert_eq!(number64("call", 1 << 62), Ok(1 << 62));
    }

    #[test]
    fn impossible_numbers_are_no_data() {
        assert_eq!(code(percent("call", 101)), Some("over_100_percent"));
        assert_eq!(percent("call", 100), Ok(100));
        assert_eq!(code(temperature("call", 255)), Some("over_200_celsius"));
        assert_eq!(temperature("call", 200), Ok(200));
        assert_eq!(code(sizes("call", 80, 81, 0)), Some("sizes_disagree"));
        assert_eq!(code(sizes("call", 0, 0, 0)), Some("sizes_disagree"));
        assert_eq!(sizes("call", 80, 60, 19), Ok(()));
    }

    #[test]
    fn gpm_rejects_nan_and_clamps_rounding() {
        assert_eq!(code(gpm("call", f64::NAN, None)), Some("nan"));
        assert_eq!(code(gpm("call", -1.0, None)), Some("out_of_range"));
        assert_eq!(code(gpm("call", f64::INFINITY, None)), Some("out_of_range"));
        assert_eq!(code(gpm("call", 102.0, Some(100.0))), Some("out_of_range"));
        assert_eq!(gpm("call", 100.4, Some(100.0)), Ok(100.0));
        assert_eq!(gpm("call", 60_000.0, None), Ok(60_000.0));
    }
}
