//! Values that NVML returns with success and that cannot be measurements.

use reading::{Blanks, Fault, FaultCode, Measured};

/// dcgm_structs.h: DCGM's blanks are the first few values from here on; some drivers return them. NVML's own
/// "not available" is all ones.
pub const BLANKS: Blanks =
    Blanks { bits32: 0x7fff_fff0..=0x7fff_ffff, bits64: 0x7fff_ffff_ffff_fff0..=0x7fff_ffff_ffff_ffff };

/// A whole percentage.
pub fn percent(call: &'static str, value: u32) -> Measured<u32> {
    match BLANKS.number32(call, value)? {
        value @ 0..=100 => Ok(value),
        _ => Err(Fault::new(call, FaultCode::Over100Percent)),
    }
}

/// A GPM value that is a number, and for a percentage at most `limit`: rounding may take the counters of one
/// interval above it, but not by a whole percent.
pub fn gpm(call: &'static str, value: f64, limit: Option<f64>) -> Measured<f64> {
    if !value.is_finite() {
        return Err(Fault::new(call, FaultCode::NotFinite));
    }
    if value < 0.0 || limit.is_some_and(|limit| value > limit + 1.0) {
        return Err(Fault::new(call, FaultCode::OutOfRange));
    }
    Ok(limit.map_or(value, |limit| value.min(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(got: Measured<T>) -> Option<&'static str> {
        got.err().map(|fault| fault.code.name())
    }

    #[test]
    fn dcgms_blanks_are_no_data() {
        for blank in [u32::MAX, 0x7fff_fff0, 0x7fff_fff3] {
            assert_eq!(code(BLANKS.number32("call", blank)), Some("blank"), "{blank:#x}");
        }
        for blank in [u64::MAX, 9_223_372_036_854_775_792, 9_223_372_036_854_775_794] {
            assert_eq!(code(BLANKS.number64("call", blank)), Some("blank"), "{blank:#x}");
        }
    }

    #[test]
    fn impossible_percentages_are_no_data() {
        assert_eq!(code(percent("call", 101)), Some("over_100_percent"));
        assert_eq!(percent("call", 100), Ok(100));
    }

    #[test]
    fn gpm_rejects_nan_and_clamps_rounding() {
        assert_eq!(code(gpm("call", f64::NAN, None)), Some("not_finite"));
        assert_eq!(code(gpm("call", -1.0, None)), Some("out_of_range"));
        assert_eq!(code(gpm("call", f64::INFINITY, None)), Some("not_finite"));
        assert_eq!(code(gpm("call", 102.0, Some(100.0))), Some("out_of_range"));
        assert_eq!(gpm("call", 100.4, Some(100.0)), Ok(100.0));
        assert_eq!(gpm("call", 60_000.0, None), Ok(60_000.0));
    }
}
