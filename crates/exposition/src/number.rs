//! Numbers in the text formats.

/// Appends `value` with the fewest digits that read back as the same double.
///
/// Exponents are used only where they are shorter (below 1e-5, from 1e16), and a whole number has no `.0`.
/// NaN and infinities are written as Prometheus parses them.
pub(crate) fn push_float(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        let mut buffer = zmij::Buffer::new();
        let digits = buffer.format_finite(value);
        out.extend_from_slice(digits.strip_suffix(".0").unwrap_or(digits).as_bytes());
    } else {
        let name = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        };
        out.extend_from_slice(name.as_bytes());
    }
}

/// Appends `value`, exactly.
pub(crate) fn push_integer(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Returns the value of an `le` label, formatted like Go's `%g`: with exponents below 1e-4 and from 1e6.
///
/// Labels are compared as text, so the value must be the same from every exporter and in every scrape.
/// `whole` is appended to a number without point and exponent (OpenMetrics requires `1.0`, the text format
/// `1`).
pub(crate) fn bound(value: f64, whole: &str) -> String {
    if value == f64::INFINITY {
        return "+Inf".into();
    }
    if value != 0.0 && !(1e-4..1e6).contains(&value.abs()) {
        let scientific = format!("{value:e}");
        let (digits, exponent) = scientific.split_once('e').expect("LowerExp prints an exponent");
        let exponent: i32 = exponent.parse().expect("LowerExp prints a whole exponent");
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let mut text = value.to_string();
    if !text.contains('.') {
        text.push_str(whole);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(value: f64) -> String {
        let mut out = Vec::new();
        push_float(&mut out, value);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn floats_are_shortest() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1.98e9, "1980000000"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (1e15, "1000000000000000"),
            (1e16, "1e+16"),
            (1.25e-4, "0.000125"),
            (1.25e-5, "0.0000125"),
            (1.25e-6, "1.25e-6"),
            (1e22, "1e+22"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn integers_are_exact() {
        let mut out = Vec::new();
        push_integer(&mut out, u64::MAX);
        assert_eq!(out, b"18446744073709551615");
    }

    #[test]
    fn bounds_look_as_go_prints_them() {
        // The examples that OpenMetrics 1.0 gives for canonical numbers.
        for (value, openmetrics) in [
            (0.0, "0.0"),
            (0.001, "0.001"),
            (0.95, "0.95"),
            (1.0, "1.0"),
            (1.7, "1.7"),
            (10.0, "10.0"),
            (1e-10, "1e-10"),
            (1e-9, "1e-09"),
            (1e-5, "1e-05"),
            (1e-4, "0.0001"),
            (1e5, "100000.0"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1e10, "1e+10"),
            (-1e10, "-1e+10"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(bound(value, ".0"), openmetrics);
            assert_eq!(bound(value, ""), openmetrics.strip_suffix(".0").unwrap_or(openmetrics));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_float_reads_back(bits: u64) {
            let value = f64::from_bits(bits);
            let text = float(value);
            let back: f64 = text.parse().expect("a number");
            proptest::prop_assert!(back.to_bits() == bits || (back.is_nan() && value.is_nan()));
            proptest::prop_assert!(text.len() <= 24);
        }

        #[test]
        fn any_bound_reads_back(value in proptest::num::f64::NORMAL) {
            let back: f64 = bound(value, ".0").parse().expect("a number");
            proptest::prop_assert_eq!(back.to_bits(), value.to_bits());
        }
    }
}
