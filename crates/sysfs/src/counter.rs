//! Counters of a limited width, made monotonic.

/// Sums the increments of a counter that starts again from 0 after `modulus - 1`.
///
/// One wrap between two readings is seen; two are not, so it must be read more often than the counter can
/// run through: 22 min for 2^18 J at 200 W, an hour for a RAPL package.
#[derive(Clone, Debug)]
pub struct Unwrapped {
    modulus: u64,
    last: Option<u64>,
    total: u64,
}

impl Unwrapped {
    /// A counter that runs from 0 to `modulus - 1`.
    pub const fn new(modulus: u64) -> Self {
        Self { modulus, last: None, total: 0 }
    }

    /// Takes a reading; answers the sum since the counter's own 0, as far as it was followed: the first
    /// reading counts whole. `None` for a reading that the counter cannot show, which is not taken.
    pub fn add(&mut self, reading: u64) -> Option<u64> {
        if reading >= self.modulus {
            return None;
        }
        let increment = match self.last {
            None => reading,
            Some(last) if reading >= last => reading - last,
            Some(last) => self.modulus - last + reading,
        };
        self.last = Some(reading);
        self.total = self.total.saturating_add(increment);
        Some(self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::Unwrapped;

    #[test]
    fn a_wrap_is_an_increment() {
        let mut energy = Unwrapped::new(1 << 18);
        let totals: Vec<_> = [200_000, 262_143, 0, 5, 4].map(|reading| energy.add(reading)).into();
        let expected = [200_000, 262_143, 262_144, 262_149, 262_149 + 262_143];
        assert_eq!(totals, expected.map(Some));
        assert_eq!(energy.add(1 << 18), None, "no 18-bit counter shows this");
        assert_eq!(energy.add(4), Some(262_149 + 262_143), "and it is not taken");
    }
}
