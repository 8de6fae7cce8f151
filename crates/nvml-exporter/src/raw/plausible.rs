//! Values that NVML returns with success and that cannot be measurements.

use std::ops::RangeInclusive;

use reading::{Blanks, Fault, FaultCode, Measured};

/// dcgm_structs.h: DCGM's blanks are the first few values from here on; some drivers return them. NVML's own
/// "not available" is all ones.
pub const BLANKS: Blanks =
    Blanks { bits32: 0x7fff_fff0..=0x7fff_ffff, bits64: 0x7fff_ffff_ffff_fff0..=0x7fff_ffff_ffff_ffff };

/// A number that NVML writes. It is a blank before the call, so that a call that writes nothing reads as a
/// blank; and [`number!`](super::number) and [`numbers`] are the only ways from a call to a value, so that no
/// blank passes.
pub trait Number: Copy {
    /// What the number is before the call.
    const BLANK: Self;

    /// The number, if it is one.
    fn checked(self, call: &'static str) -> Measured<Self>;
}

impl Number for u32 {
    const BLANK: Self = Self::MAX;

    fn checked(self, call: &'static str) -> Measured<Self> {
        BLANKS.number32(call, self)
    }
}

impl Number for u64 {
    const BLANK: Self = Self::MAX;

    fn checked(self, call: &'static str) -> Measured<Self> {
        BLANKS.number64(call, self)
    }
}

impl Number for i32 {
    // All ones are -1 here, which a margin may be.
    const BLANK: Self = 0x7fff_fff0;

    fn checked(self, call: &'static str) -> Measured<Self> {
        match u32::try_from(self) {
            Ok(positive) => BLANKS.number32(call, positive).map(|_| self),
            Err(_) => Ok(self),
        }
    }
}

/// Numbers that one call returned, all of which must be numbers.
pub fn numbers<T: Number, const N: usize>(call: &'static str, values: [T; N]) -> Measured<[T; N]> {
    for value in values {
        value.checked(call)?;
    }
    Ok(values)
}

/// Degrees to a limit. No part is further from a limit than [`MARGIN_C`] says: it would be switched off or
/// frozen.
pub fn margin(call: &'static str, celsius: i32) -> Measured<i32> {
    if MARGIN_C.contains(&celsius) { Ok(celsius) } else { Err(Fault::new(call, FaultCode::OutOfRange)) }
}

/// Parts slow down at their limit and are off 30 degrees above it; 200 is the highest limit that a part could
/// have.
const MARGIN_C: RangeInclusive<i32> = -100..=200;

/// nvml.h, `nvmlEnableState_t`: off or on, and no other number.
pub fn switch(call: &'static str, state: u32) -> Measured<bool> {
    match state {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Fault::new(call, FaultCode::OutOfRange)),
    }
}

/// A whole percentage.
pub fn percent(call: &'static str, value: u32) -> Measured<u32> {
    if value <= 100 { Ok(value) } else { Err(Fault::new(call, FaultCode::Over100Percent)) }
}

/// A GPM percentage: rounding may take the counters of one interval above 100, but not by a whole percent.
pub fn gpm_percent(call: &'static str, value: f64) -> Measured<f64> {
    within(call, value, 101.0).map(|value| value.min(100.0))
}

/// A GPM rate in MiB per second; no board has links that carry more than this, whatever it reports of them.
pub fn gpm_rate(call: &'static str, value: f64) -> Measured<f64> {
    const MIB_PER_SECOND_MAX: f64 = 1e8;
    within(call, value, MIB_PER_SECOND_MAX)
}

/// A GPM count of one interval; no engine switches between contexts a billion times.
pub fn gpm_count(call: &'static str, value: f64) -> Measured<f64> {
    within(call, value, 1e9)
}

/// A GPM count since the part was reset, of cycles or bytes. It was one of 64 bits, of which all ones become 2^64:
/// the SMs of a large part pass 2^63 cycles in some 400 days.
pub fn gpm_total(call: &'static str, value: f64) -> Measured<f64> {
    within(call, value, 2f64.powi(64).next_down())
}

/// A number that is one.
pub fn finite(call: &'static str, value: f64) -> Measured<f64> {
    if value.is_finite() { Ok(value) } else { Err(Fault::new(call, FaultCode::NotFinite)) }
}

fn within(call: &'static str, value: f64, max: f64) -> Measured<f64> {
    let value = finite(call, value)?;
    if (0.0..=max).contains(&value) { Ok(value) } else { Err(Fault::new(call, FaultCode::OutOfRange)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(got: Measured<T>) -> Option<&'static str> {
        got.err().map(|fault| fault.code.name())
    }

    #[test]
    fn dcgms_blanks_are_no_data() {
        for blank in [u32::BLANK, 0x7fff_fff0, 0x7fff_fff3] {
            assert_eq!(code(blank.checked("call")), Some("blank"), "{blank:#x}");
        }
        for blank in [u64::BLANK, 9_223_372_036_854_775_792, 9_223_372_036_854_775_794] {
            assert_eq!(code(blank.checked("call")), Some("blank"), "{blank:#x}");
        }
        assert_eq!(code(2_147_483_632.checked("call")), Some("blank"));
        assert_eq!((-1).checked("call"), Ok(-1));
        assert_eq!(code(numbers("call", [1, 2, u32::MAX])), Some("blank"));
        assert_eq!(numbers("call", [1u64, 2]), Ok([1, 2]));
    }

    #[test]
    fn impossible_margins_are_no_data() {
        assert_eq!(code(margin("call", -172)), Some("out_of_range"));
        assert_eq!(margin("call", -5), Ok(-5));
    }

    #[test]
    fn impossible_percentages_are_no_data() {
        assert_eq!(code(percent("call", 101)), Some("over_100_percent"));
        assert_eq!(percent("call", 100), Ok(100));
    }

    #[test]
    fn gpm_rejects_nan_and_clamps_rounding() {
        for (value, expected) in
            [(f64::NAN, "not_finite"), (f64::INFINITY, "not_finite"), (-1.0, "out_of_range")]
        {
            assert_eq!(code(gpm_rate("call", value)), Some(expected));
            assert_eq!(code(gpm_percent("call", value)), Some(expected));
        }
        assert_eq!(code(gpm_percent("call", 102.0)), Some("out_of_range"));
        assert_eq!(gpm_percent("call", 100.4), Ok(100.0));
        assert_eq!(gpm_rate("call", 60_000.0), Ok(60_000.0));
        assert_eq!(gpm_total("call", 2f64.powi(63)), Ok(2f64.powi(63)));
        assert_eq!(code(gpm_total("call", 2f64.powi(64))), Some("out_of_range"), "all ones of a counter");
        assert_eq!(code(gpm_rate("call", 2f64.powi(44))), Some("out_of_range"), "2^64 bytes per second");
    }
}
