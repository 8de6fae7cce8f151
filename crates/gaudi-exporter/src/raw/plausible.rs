//! Answers that say success and mean nothing: all ones, and impossible numbers.
//!
//! Only what cannot be a measurement is rejected; a surprising value is still a value.

use reading::{Absence, Fault};

use super::Got;

/// No sensor of these parts survives more.
const TEMPERATURE_MAX_C: u32 = 200;
/// Utilization that is derived from power passes 100 when power passes the limit that it is set against; by
/// this much it does not.
const PERCENT_MAX: u32 = 200;

const fn no_data<T>(call: &'static str, code: &'static str) -> Got<T> {
    Err(Fault { absence: Absence::NoData, call, code })
}

/// A 32-bit number that is not all ones.
pub fn number32(call: &'static str, value: u32) -> Got<u32> {
    if value == u32::MAX { no_data(call, "blank") } else { Ok(value) }
}

/// A 64-bit number that is not all ones.
pub fn number64(call: &'static str, value: u64) -> Got<u64> {
    if value == u64::MAX { no_data(call, "blank") } else { Ok(value) }
}

/// A whole percentage, cut to 100 where it passes it.
pub fn percent(call: &'static str, value: u32) -> Got<u32> {
    match number32(call, value)? {
        value @ 0..=PERCENT_MAX => Ok(value.min(100)),
        _ => no_data(call, "over_200_percent"),
    }
}

/// A temperature in Celsius.
pub fn temperature(call: &'static str, value: u32) -> Got<u32> {
    match number32(call, value)? {
        value @ 0..=TEMPERATURE_MAX_C => Ok(value),
        _ => no_data(call, "over_200_celsius"),
    }
}

/// Memory sizes that fit each other.
pub fn sizes(call: &'static str, total: u64, used: u64, free: u64) -> Got<()> {
    for value in [total, used, free] {
        number64(call, value)?;
    }
    if total == 0 || used > total || free > total {
        return no_data(call, "sizes_disagree");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(got: Got<T>) -> Option<&'static str> {
        got.err().map(|fault| fault.code)
    }

    #[test]
    fn impossible_numbers_are_no_data_and_surprising_ones_are_values() {
        assert_eq!(code(number32("call", u32::MAX)), Some("blank"));
        assert_eq!(code(number64("call", u64::MAX)), Some("blank"));
        assert_eq!(number32("call", 2_500_000), Ok(2_500_000), "2.5 kW is a lot, not garbage");
        for (given, answer) in [(0, Ok(0)), (97, Ok(97)), (104, Ok(100)), (201, Err("over_200_percent"))] {
            assert_eq!(percent("call", given).map_err(|fault| fault.code), answer);
        }
        assert_eq!(code(percent("call", u32::MAX)), Some("blank"));
        assert_eq!(
            (code(temperature("call", 255)), temperature("call", 200)),
            (Some("over_200_celsius"), Ok(200))
        );
        assert_eq!(code(sizes("call", 80, 81, 0)), Some("sizes_disagree"));
        assert_eq!(code(sizes("call", 0, 0, 0)), Some("sizes_disagree"));
        assert_eq!(sizes("call", 80, 60, 20), Ok(()));
    }
}
