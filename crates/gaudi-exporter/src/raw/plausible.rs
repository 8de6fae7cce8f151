//! Values that HLML returns with success and that cannot be measurements.

use reading::{Blanks, Fault, FaultCode, Measured};

/// HLML's only blank is all ones.
pub const BLANKS: Blanks = Blanks::ALL_ONES;
/// Utilization that is derived from power passes 100 when power passes its limit, but never this.
const PERCENT_MAX: u32 = 200;

/// A whole percentage, at most 100.
pub fn percent(call: &'static str, value: u32) -> Measured<u32> {
    match BLANKS.number32(call, value)? {
        value @ 0..=PERCENT_MAX => Ok(value.min(100)),
        _ => Err(Fault::new(call, FaultCode::Over200Percent)),
    }
}

/// A limit; 0 means that there is none.
pub fn limit(call: &'static str, value: u32) -> Measured<u32> {
    if value == 0 { Err(Fault::new(call, FaultCode::Zero)) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_nothing_is_none() {
        assert_eq!(limit("call", 0).map_err(|fault| fault.code.name()), Err("zero"));
        assert_eq!(limit("call", 1), Ok(1));
    }

    #[test]
    fn impossible_percentages_are_no_data_and_surprising_ones_are_cut() {
        for (given, expected) in [
            (0, Ok(0)),
            (97, Ok(97)),
            (104, Ok(100)),
            (201, Err("over_200_percent")),
            (u32::MAX, Err("blank")),
        ] {
            assert_eq!(percent("call", given).map_err(|fault| fault.code.name()), expected);
        }
    }
}
