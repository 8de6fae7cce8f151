//! Counters that wrap, glitch, are reset or stand, one by one and as properties of any sequence.

use proptest::prelude::*;

use super::*;
use crate::Absence;

const CALL: &str = "energy";
/// Units per second.
const MOST: u64 = 1000;

fn ceiling() -> Ceiling {
    Ceiling::new(Ok(MOST as f64), 1.0)
}

fn code<T>(measured: Measured<T>) -> Result<T, &'static str> {
    measured.map_err(|fault| fault.code.name())
}

/// Readings of a counter, each with the second in which it is taken, and what is exported after each.
fn totals(counter: &mut Counter, readings: &[(u64, u64)]) -> Vec<Result<u64, &'static str>> {
    let start = Instant::now();
    let one = |(seconds, value): &(u64, u64)| {
        let now = start + Duration::from_secs(*seconds);
        code(counter.add(CALL, now, Ok(*value), ceiling())).map(|counted| counted.total)
    };
    readings.iter().map(one).collect()
}

const FELL: Result<u64, &str> = Err("counter_fell");
const TOO_FAST: Result<u64, &str> = Err("rose_too_fast");

#[test]
fn a_glitch_is_dropped_and_nothing_is_lost_or_counted_twice() {
    let mut device = Counter::of_device();
    let readings = [(0, 50_000), (1, 50_900), (2, 7), (3, 52_000), (4, u64::MAX / 3), (5, 53_500)];
    let expected = [Err("first_reading"), Ok(50_900), FELL, Ok(52_000), TOO_FAST, Ok(53_500)];
    assert_eq!(totals(&mut device, &readings), expected);
    // A driver that returns 0 while its sensor is being read.
    let readings = [(0, 50_000), (1, 50_900), (2, 0), (3, 0), (4, 0), (5, 53_500)];
    let expected = [Ok(0), Ok(900), FELL, FELL, FELL, Ok(3_500)];
    assert_eq!(totals(&mut Counter::from_zero(Vec::new()), &readings), expected);
}

#[test]
fn a_counter_that_is_set_back_and_stays_begins_anew() {
    let readings = [(0, 50_000), (1, 50_900), (2, 300), (3, 1_000), (4, 1_200)];
    let device = [Err("first_reading"), Ok(50_900), FELL, Ok(1_000), Ok(1_200)];
    assert_eq!(totals(&mut Counter::of_device(), &readings), device);
    let from_zero = [Ok(0), Ok(900), FELL, Ok(1_900), Ok(2_100)];
    assert_eq!(
        totals(&mut Counter::from_zero(Vec::new()), &readings),
        from_zero,
        "what it counts anew is added"
    );
    // It stands at 0 because the part is idle.
    let readings = [(0, 50_000), (1, 50_900), (2, 0), (3, 0), (11, 0), (12, 0), (13, 500)];
    let idle = [Err("first_reading"), Ok(50_900), FELL, FELL, FELL, Ok(0), Ok(500)];
    assert_eq!(totals(&mut Counter::of_device(), &readings), idle);
}

#[test]
fn a_jump_that_stays_is_not_counted() {
    let far = 1 << 50;
    let readings = [(0, 5_000), (1, 5_900), (2, far), (3, far + 800), (4, 9_000), (5, 9_100), (6, 9_700)];
    let expected = [Err("first_reading"), Ok(5_900), TOO_FAST, Ok(6_700), FELL, Ok(6_800), Ok(7_400)];
    assert_eq!(totals(&mut Counter::of_device(), &readings), expected);
    // A first reading that is a glitch is never exported.
    let readings = [(0, far), (1, 5_000), (2, 5_100)];
    assert_eq!(
        totals(&mut Counter::of_device(), &readings),
        [Err("first_reading"), Err("first_reading"), Ok(5_100)]
    );
}

#[test]
fn a_wrap_is_followed_at_each_width_that_the_counter_may_have() {
    for width in [1 << 18, 1 << 32] {
        let readings = [(0, width - 900), (1, width - 300), (2, 200), (3, 700)];
        let expected = [Ok(0), Ok(600), Ok(1_100), Ok(1_600)];
        assert_eq!(totals(&mut Counter::from_zero(vec![1 << 18, 1 << 32]), &readings), expected);
    }
    let readings = [(0, u64::MAX - 99), (1, u64::MAX - 1), (2, 99)];
    assert_eq!(totals(&mut Counter::from_zero(Vec::new()), &readings), [Ok(0), Ok(98), Ok(199)], "64 bits");
}

#[test]
fn all_ones_are_no_count_however_long_a_driver_returns_them() {
    const BLANK: Result<u64, &str> = Err("blank");
    let readings =
        [(0, u64::MAX), (20, u64::MAX), (40, 500), (41, 600), (42, u64::MAX), (99, u64::MAX), (100, 700)];
    let expected = [BLANK, BLANK, Err("first_reading"), Ok(600), BLANK, BLANK, Ok(700)];
    assert_eq!(totals(&mut Counter::of_device(), &readings), expected);
    assert_eq!(totals(&mut Counter::from_zero(Vec::new()), &readings[..2]), [BLANK; 2]);
}

#[test]
fn a_counter_that_its_driver_updates_rarely_is_followed() {
    let readings =
        [(0, 100), (1, 100), (5, 100), (6, 5_000), (9, 5_000), (12, 10_000), (900, 10_000), (901, 25_000)];
    let mut expected: Vec<_> = [0, 0, 0, 4_900, 4_900, 9_900, 9_900].into_iter().map(Ok).collect();
    expected.push(TOO_FAST);
    let counted = totals(&mut Counter::from_zero(Vec::new()), &readings);
    assert_eq!(counted, expected, "at most for as long as a driver takes");
}

#[test]
fn following_a_counter_anew_adds_nothing() {
    for standing in [1, 5_000_000, 1 << 40] {
        assert_eq!(totals(&mut Counter::from_zero(Vec::new()), &[(0, standing)]), [Ok(0)]);
    }
}

#[test]
fn a_rate_needs_two_readings_without_a_gap() {
    let start = Instant::now();
    let mut energy = Counter::from_zero(Vec::new());
    let mut at = |seconds, reading: Measured<u64>| {
        let counted = energy.add(CALL, start + Duration::from_secs(seconds), reading, ceiling());
        let rates = |counted: Counted| (code(counted.per_second()), code(counted.power()));
        code(counted).map(rates)
    };
    let first = Err("first_reading");
    assert_eq!(at(0, Ok(100)), Ok((first, first)));
    assert_eq!(at(2, Ok(300)), Ok((Ok(100.0), Ok(100.0))));
    assert_eq!(at(2, Ok(300)), Ok((Err("no_time"), Err("counter_stands"))));
    assert_eq!(at(4, Ok(300)), Ok((Ok(0.0), Err("counter_stands"))), "no device draws nothing");
    assert_eq!(
        at(5, Ok(900)),
        Ok((Ok(600.0), Ok(200.0))),
        "energy is that of the time since it last changed"
    );
    let gone = Fault::returned(Absence::Unsupported, CALL, "ENOENT");
    assert_eq!(at(6, Err(gone)), Err("ENOENT"));
    assert_eq!(at(7, Ok(1_000)), Ok((first, first)), "a mean over the gap says nothing about now");
    assert_eq!(at(8, Ok(1_050)), Ok((Ok(50.0), Ok(50.0))));
    assert_eq!(at(9, Ok(3)), Err("counter_fell"));
    assert_eq!(at(10, Ok(1_150)), Ok((Ok(50.0), Ok(50.0))), "of both seconds");
    energy.forget();
    let counted = energy.add(CALL, start + Duration::from_secs(11), Ok(1_250), ceiling()).expect("taken");
    assert_eq!((counted.total, code(counted.per_second())), (1_150, first));
}

#[test]
fn a_rate_holds_for_a_round_that_follows_one_with_a_rate() {
    let start = Instant::now();
    let at = |seconds| Some(start + Duration::from_secs(seconds));
    let mut integral = Integral::default();
    let mut add = |now, previous, rate| integral.add(start + Duration::from_secs(now), previous, rate);
    let sums = [
        add(0, None, 0.5),
        add(2, at(0), 0.5),
        // The round between had none.
        add(5, at(4), 1.0),
        add(6, at(5), f64::NAN),
        add(7, at(6), -3.0),
    ];
    assert_eq!(sums.map(|sum| sum.to_string()), ["0", "1", "1", "1", "1"]);
}

/// What a counter of a property does until it is read again.
#[derive(Clone, Copy, Debug)]
enum Doing {
    /// Counts at this percentage of the most.
    Runs(u64),
    /// Counts, and shows another value for this reading.
    Glitch(u64),
    /// Counts, and cannot be read.
    Fails,
    /// Is set back to 0, then counts at this percentage of the most.
    Reset(u64),
}

fn gap() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1..2_000u64, 2_000..100_000u64, Just(3_600_000)]
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![0..5_000u64, any::<u64>(), any::<u32>().prop_map(u64::from), Just(u64::MAX)]
}

fn doing() -> impl Strategy<Value = Doing> {
    prop_oneof![
        6 => (0..100u64).prop_map(Doing::Runs),
        1 => value().prop_map(Doing::Glitch),
        1 => Just(Doing::Fails),
        1 => (0..100u64).prop_map(Doing::Reset),
    ]
}

fn wraps() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![Just(1 << 18), Just(1 << 32), Just(262_144_000_000), 1..u64::MAX], 0..3)
}

fn counter(device: bool, wraps: Vec<u64>) -> Counter {
    Counter::new(Tracker::new(wraps, !device))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]

    /// Whatever a driver returns and whenever it is read: no exported rate is above the ceiling, and no
    /// exported counter falls but where the readings fell and stayed.
    #[test]
    fn no_sequence_of_readings_is_exported_as_more_than_the_part_can_do(
        readings in prop::collection::vec((gap(), prop::option::weighted(0.9, value())), 1..40),
        device: bool,
        wraps in wraps(),
    ) {
        let mut energy = counter(device, wraps);
        let mut now = Instant::now();
        // When the exported value changed last, and when it was exported last.
        let mut exported: Option<(u64, Instant, Instant)> = None;
        let mut highest = 0;
        for (gap, value) in readings {
            now += Duration::from_millis(gap);
            let reading = value.ok_or(Fault::new(CALL, FaultCode::Blank));
            let Ok(counted) = energy.add(CALL, now, reading, ceiling()) else { continue };
            let value = value.expect("only a reading is counted");
            for rate in [counted.per_second(), counted.power()].into_iter().flatten() {
                prop_assert!(rate.is_finite() && rate >= 0.0);
            }
            if let Ok(power) = counted.power() {
                prop_assert!(power <= MOST as f64 * 1.000_001, "{power}");
            }
            if let Some((before, changed, last)) = exported {
                let credit = (last - changed).min(UPDATE_PERIOD_MAX);
                let most = MOST as f64 * (now - last + credit).as_secs_f64() + 1.0;
                if counted.total >= before {
                    prop_assert!((counted.total - before) as f64 <= most, "{before} to {}", counted.total);
                } else {
                    prop_assert!(device, "a sum of ours never falls");
                    prop_assert!(value < highest && counted.total as f64 <= most, "{before} to {}", counted.total);
                }
            }
            highest = if exported.is_some_and(|(before, ..)| counted.total < before) { value } else { highest.max(value) };
            let changed = exported.filter(|(before, ..)| *before == counted.total).map_or(now, |(_, changed, _)| changed);
            exported = Some((counted.total, changed, now));
        }
    }

    /// A part that works, with glitches, gaps, and resets or wraps: what is exported is what the part did, but
    /// for what it did between the readings around a reset.
    #[test]
    fn what_a_part_does_is_counted_but_for_what_a_reset_hides(
        start in 0..1u64 << 39,
        width in prop::option::of(1u64 << 40..1u64 << 63),
        wraps_soon: bool,
        rounds in prop::collection::vec((1..9_000u64, doing()), 2..60),
        device: bool,
    ) {
        // A sum that begins close below 2^64 wraps itself, and Prometheus takes that for a reset.
        let wraps_soon = wraps_soon && (width.is_some() || !device);
        let modulus = width.map_or(1 << 64, u128::from);
        let mut energy = counter(device, width.into_iter().collect());
        let mut now = Instant::now();
        let mut raw = if wraps_soon { modulus - 20_000 } else { start.into() };
        let (mut done, mut hidden) = (0.0, 0.0);
        // What the part did until the last reading that was taken, and whether it was reset since.
        let (mut taken, mut was_reset) = (0.0, false);
        // What the part did until the first exported value, the last one, and what Prometheus counted.
        let mut exported: Option<(f64, u64, f64)> = None;
        let mut readings: Vec<(Instant, u64)> = Vec::new();
        let mut was_glitch = false;
        for (number, (gap, doing)) in rounds.into_iter().enumerate() {
            now += Duration::from_millis(gap);
            let could_follow = |value: u64| {
                readings.iter().any(|(at, before)| {
                    let most = u128::from(MOST) * (now - *at + UPDATE_PERIOD_MAX).as_millis() / 1000;
                    let apart = |modulus: u128| (modulus + u128::from(value)).wrapping_sub((*before).into()) % modulus;
                    apart(1 << 64) <= most || apart(modulus) <= most
                })
            };
            let doing = match doing {
                // Two readings that agree come first: of one alone nobody can know whether it is a glitch.
                _ if number < 2 => Doing::Runs(50),
                // Two glitches in a row may agree with each other, and one may be as good as a reading.
                Doing::Glitch(value) if was_glitch || could_follow(value) => Doing::Runs(50),
                // A counter close below a wrap that is set back has wrapped, for all that anybody can know.
                Doing::Reset(_) if wraps_soon => Doing::Runs(50),
                doing => doing,
            };
            if let Doing::Reset(_) = doing {
                (raw, was_reset) = (0, true);
            }
            let percent = if let Doing::Runs(percent) | Doing::Reset(percent) = doing { percent } else { 50 };
            let more = MOST * gap / 1000 * percent / 100;
            done += more as f64;
            raw = (raw + u128::from(more)) % modulus;
            let reading = match doing {
                Doing::Fails => Err(Fault::new(CALL, FaultCode::Blank)),
                Doing::Glitch(value) => Ok(value),
                Doing::Runs(_) | Doing::Reset(_) => Ok(u64::try_from(raw).expect("below the modulus")),
            };
            if let Ok(value) = reading {
                readings.push((now, value));
                was_glitch = matches!(doing, Doing::Glitch(_));
            }
            let Ok(counted) = energy.add(CALL, now, reading, ceiling()) else { continue };
            if std::mem::take(&mut was_reset) {
                hidden += done - taken;
            }
            taken = done;
            let total = counted.total;
            exported = Some(match exported {
                None => (done, total, 0.0),
                // As Prometheus counts: a value that is lower is counted from 0.
                Some((first, before, sum)) => {
                    (first, total, sum + total.checked_sub(before).unwrap_or(total) as f64)
                }
            });
        }
        let Some((first, _, counted)) = exported else { return Ok(()) };
        let did = taken - first;
        prop_assert!(counted <= did, "counted {counted}, did {did}");
        prop_assert!(counted >= did - hidden, "counted {counted}, did {did}, of which a reset hid {hidden}");
    }
}
