//! What became of every series over some scrapes.

use std::collections::{HashMap, HashSet};

/// Series of the exporter itself: they are about the process, not about devices.
const OWN: [&str; 3] = ["accelscope_", "process_", "accel_host_"];

/// States of a device and counts of devices, which a fault changes to 0 by design.
const STATES: [&str; 3] = ["accel_device_up", "accel_device_health", "accel_devices"];

/// A series that changed so often while it was looked at moves from round to round. One that moves now and then may
/// have stood still by chance, since two exporters read at different moments.
const MOVES: usize = 4;

/// Scrapes of one exporter, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Trails {
    scrapes: usize,
    series: HashMap<String, Trail>,
}

/// One series over those scrapes.
#[derive(Clone, Copy, Debug)]
struct Trail {
    is_counter: bool,
    seen: usize,
    zeros: usize,
    changes: usize,
    falls: usize,
    last: f64,
}

impl Trails {
    /// Adds a scrape in text format.
    pub fn add(&mut self, body: &str) {
        self.scrapes += 1;
        let mut counters = HashSet::new();
        for line in body.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                counters.extend(declared.strip_suffix(" counter"));
            }
            let Some((series, value)) = reading(line) else { continue };
            let trail = match self.series.get_mut(series) {
                Some(trail) => trail,
                None => self.series.entry(series.to_owned()).or_insert(Trail {
                    is_counter: counters.contains(name(series)),
                    seen: 0,
                    zeros: 0,
                    changes: 0,
                    falls: 0,
                    last: value,
                }),
            };
            trail.seen += 1;
            trail.zeros += usize::from(value == 0.0);
            trail.changes += usize::from(value.to_bits() != trail.last.to_bits());
            trail.falls += usize::from(trail.is_counter && value < trail.last);
            trail.last = value;
        }
    }

    /// Series that stood still in every scrape while the truth moved: an old value.
    pub fn stale(&self, truth: &Self) -> Vec<String> {
        self.all(|series, trail| {
            trail.seen == self.scrapes
                && trail.changes == 0
                && truth.series.get(series).is_some_and(|truth| truth.changes >= MOVES)
        })
    }

    /// Series that were 0 in every scrape while the truth never was.
    pub fn zero(&self, truth: &Self) -> Vec<String> {
        self.all(|series, trail| {
            let is_state = STATES.iter().any(|state| name(series).starts_with(state));
            let truth = truth.series.get(series).filter(|trail| trail.seen == truth.scrapes);
            !is_state
                && !trail.is_counter
                && trail.zeros == self.scrapes
                && truth.is_some_and(|truth| truth.zeros == 0)
        })
    }

    /// Counters that fell.
    pub fn fallen(&self) -> Vec<String> {
        self.all(|_, trail| trail.falls > 0)
    }

    fn all(&self, wanted: impl Fn(&str, &Trail) -> bool) -> Vec<String> {
        let mut found: Vec<_> = self.series.iter().filter(|(series, trail)| wanted(series, trail)).collect();
        found.sort_by_key(|(series, _)| *series);
        found.into_iter().map(|(series, _)| series.clone()).collect()
    }
}

/// The series of devices in a scrape.
pub fn series(body: &str) -> HashSet<&str> {
    body.lines().filter_map(reading).map(|(series, _)| series).collect()
}

/// Series and value of a line about devices.
fn reading(line: &str) -> Option<(&str, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let is_own = line.starts_with('#') || OWN.iter().any(|prefix| line.starts_with(prefix));
    if is_own { None } else { Some((series, value.parse().ok()?)) }
}

fn name(series: &str) -> &str {
    series.split('{').next().unwrap_or(series)
}

#[cfg(test)]
mod tests {
    use super::{Trails, series};

    fn trails(bodies: &[&str]) -> Trails {
        let mut trails = Trails::default();
        for body in bodies {
            trails.add(body);
        }
        trails
    }

    #[test]
    fn old_values_and_new_zeros_are_found_and_nothing_else() {
        let moving = |n: u32| format!("a{{x=\"1\"}} {n}\nb {n}\nc {n}\nd 5\ne {}\n", n / 3);
        let truth: Vec<_> = (1..=5).map(moving).collect();
        let truth = trails(&truth.iter().map(String::as_str).collect::<Vec<_>>());
        let old = "a{x=\"1\"} 1\nc 0\nd 0\ne 0\n";
        let ours = trails(&[&moving(1), old, old, old, "a{x=\"1\"} 1\nc 1\nd 5\ne 0\n"]);
        let zero = trails(&[old; 5]);
        // `b` is absent, `c` and `d` recover, and `e` moves too seldom to tell.
        assert_eq!(ours.stale(&truth), ["a{x=\"1\"}"]);
        assert_eq!(ours.zero(&truth), [""; 0]);
        assert_eq!(zero.stale(&truth), ["a{x=\"1\"}", "c"]);
        assert_eq!(zero.zero(&truth), ["c", "d"]);
        assert_eq!(truth.stale(&truth), [""; 0]);
        assert_eq!(truth.zero(&truth), [""; 0]);
    }

    #[test]
    fn a_state_that_becomes_0_is_none_of_them_and_neither_is_the_exporters_own() {
        let all =
            ["accel_device_up{device=\"gpu0\"}", "accel_device_health{state=\"ok\"}", "accelscope_source_up"];
        let [truth, ours] =
            [1, 0].map(|value| trails(&[&all.map(|series| format!("{series} {value}\n")).concat()]));
        assert_eq!(ours.zero(&truth), [""; 0]);
        assert_eq!(series("accelscope_x 1\n# HELP a b\na 1\n").len(), 1);
    }

    #[test]
    fn only_a_counter_can_fall() {
        let both = "# TYPE a counter\n# TYPE b gauge\n";
        let ours = trails(&[&format!("{both}a 2\nb 2\n"), &format!("{both}a 1\nb 1\n")]);
        assert_eq!(ours.fallen(), ["a"]);
    }
}
