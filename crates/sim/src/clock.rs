//! The machine's clock: the wall clock, or one frozen instant. Time is unix seconds as `f64` everywhere in
//! this crate (exact to a quarter of a microsecond in this century), and it enters every pure function as an
//! argument.

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the machine takes its time from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Clock {
    /// The host's wall clock.
    #[default]
    Wall,
    /// Always this instant, in unix seconds.
    Fixed(f64),
}

impl Clock {
    /// Now, in unix seconds.
    pub fn now(self) -> f64 {
        match self {
            Self::Fixed(seconds) => seconds,
            Self::Wall => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
            }
        }
    }
}

impl FromStr for Clock {
    type Err = String;

    /// `wall`, or `fixed:` and unix seconds, which may have decimals.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("fixed:").map(str::parse) {
            Some(Ok(seconds)) => Ok(Self::Fixed(seconds)),
            None if text == "wall" => Ok(Self::Wall),
            _ => Err(format!("clock {text:?}: write `wall` or `fixed:<unix seconds>`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn clocks_are_written_as_documented() {
        assert_eq!("fixed:1750000000.25".parse(), Ok(Clock::Fixed(1_750_000_000.25)));
        assert_eq!("wall".parse(), Ok(Clock::Wall));
        assert!("fixed:noon".parse::<Clock>().is_err());
        assert!("".parse::<Clock>().is_err());
    }
}
