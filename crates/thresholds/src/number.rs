//! Numbers as text: exact decimals for rules, durations, and the values of test series.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// The shortest decimal within twelve significant digits, so that 14.4 x 0.05 reads 0.72.
pub(crate) fn decimal(value: f64) -> String {
    let rounded: f64 = format!("{value:.11e}").parse().unwrap_or(value);
    // Negative zero has no place in a rule.
    (rounded + 0.0).to_string()
}

/// `%.4g` as Go prints it: what `humanizePercentage` and `printf "%.4g"` show in an annotation.
pub(crate) fn four_digits(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{value:.3e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| {
        let end = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
        end.to_owned()
    };
    if (-4..4).contains(&exponent) {
        let decimals = usize::try_from(3 - exponent).unwrap_or(0);
        return trim(&format!("{value:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trim(mantissa), exponent.abs())
}

/// A span of time in whole seconds, written as Prometheus writes it: `5m`, `1h30m`, `0s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub u64);

const UNITS: [(&str, u64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

impl Duration {
    /// Reads units from large to small, each at most once.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut total = 0_u64;
        for (unit, seconds) in UNITS {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            if digits == 0 {
                continue;
            }
            if let Some(after) = rest[digits..].strip_prefix(unit) {
                let number: u64 = rest[..digits].parse().ok()?;
                total = total.checked_add(number.checked_mul(seconds)?)?;
                rest = after;
            }
        }
        // A year is more than any window or `for` here can mean.
        (rest.is_empty() && !text.is_empty() && total <= 366 * 86_400).then_some(Self(total))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The largest unit that divides it, as people write 90m and 1d.
        let (unit, seconds) = UNITS[1..]
            .iter()
            .find(|(_, seconds)| self.0 >= *seconds && self.0.is_multiple_of(*seconds))
            .unwrap_or(&UNITS[4]);
        write!(f, "{}{unit}", self.0 / seconds)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is no duration")))
    }
}

/// Replaces each `<a + b v>` in `text` by its value at `v`: the linear forms of test series.
pub(crate) fn at(text: &str, v: f64) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        let Some((form, tail)) = after.split_once('>') else { break };
        out.push_str(before);
        out.push_str(&decimal(linear(form, v)));
        rest = tail;
    }
    out + rest
}

/// The value of a sum of terms such as `1000 - 2.5v` or `v`.
pub(crate) fn linear(form: &str, v: f64) -> f64 {
    let spaced = form.replace('-', "+-").replace(' ', "");
    let term = |term: &str| match term.strip_suffix('v') {
        Some("") => v,
        Some("-") => -v,
        Some(factor) => factor.parse::<f64>().unwrap_or(f64::NAN) * v,
        None => term.parse().unwrap_or(f64::NAN),
    };
    spaced.split('+').filter(|part| !part.is_empty()).map(term).sum()
}

#[cfg(test)]
mod tests {
    use super::{Duration, at, decimal, four_digits};

    #[test]
    fn decimals_are_exact() {
        assert_eq!(decimal(14.4 * (1.0 - 0.95)), "0.72");
        assert_eq!(decimal(0.8 * 1.5), "1.2");
        assert_eq!(decimal(-0.0), "0");
        assert_eq!(decimal(1e-9), "0.000000001");
    }

    #[test]
    fn four_digits_are_those_of_go() {
        for (value, text) in
            [(92.1, "92.1"), (100.0, "100"), (0.05, "0.05"), (12_345.0, "1.234e+04"), (0.0, "0")]
        {
            assert_eq!(four_digits(value), text);
        }
    }

    #[test]
    fn durations_read_and_write() {
        for (text, seconds, back) in [
            ("5m", 300, "5m"),
            ("1h30m", 5_400, "90m"),
            ("0s", 0, "0s"),
            ("24h", 86_400, "1d"),
            ("1w", 604_800, "7d"),
        ] {
            let duration = Duration::parse(text).unwrap();
            assert_eq!((duration.0, duration.to_string().as_str()), (seconds, back));
        }
        for bad in ["", "5", "m", "5 m", "-5m", "5m5m", "5m1h", "1.5h", "99999999999999999999d", "9000d"] {
            assert_eq!(Duration::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn linear_forms_fill_in() {
        assert_eq!(at(r#"{le="<1.01v>"} <1000 - 1000v>"#, 0.5), r#"{le="0.505"} 500"#);
        assert_eq!(at("<v> <-v> <2>", 3.0), "3 -3 2");
    }
}
