//! Deterministic variation: the same inputs give the same number on every machine and in every process.

/// Mixes any number of words into one (splitmix64's finaliser over a running sum).
pub(crate) fn mix(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |state, word| {
        let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// A number in `0.0..1.0` out of [`mix`].
pub(crate) fn unit(words: &[u64]) -> f64 {
    (mix(words) >> 11) as f64 / (1u64 << 53) as f64
}

/// A number in `-1.0..1.0` out of [`mix`].
pub(crate) fn signed_unit(words: &[u64]) -> f64 {
    2.0 * unit(words) - 1.0
}

/// 128 bits in the grouping of a UUID, `8-4-4-4-12`, in lower case.
pub(crate) fn uuid(words: &[u64]) -> String {
    let high = mix(words);
    let low = mix(&[high, 1]);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// How often something happens between two instants (seconds) when it happens at a steady rate.
///
/// `salt` fixes the instants, so that the count between two times is the same for every caller, and so that
/// `occurrences(a, b) + occurrences(b, c) == occurrences(a, c)`.
pub(crate) fn occurrences(per_day: f64, salt: u64, from_seconds: f64, to_seconds: f64) -> u64 {
    let offset = unit(&[salt]);
    let count = |seconds: f64| (seconds.max(0.0) * per_day / 86_400.0 + offset).floor();
    (count(to_seconds) - count(from_seconds)).max(0.0) as u64
}
