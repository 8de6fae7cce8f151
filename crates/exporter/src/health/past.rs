//! What the verdict needs of the past of a device: shares of five minutes, resets of an hour, links of a day.
//!
//! The memory is bounded: 0.7 KiB for each device, a quarter of a KiB for each reason that ever held its clocks down,
//! and 100 bytes for each kind of link.

use std::time::{Duration, Instant};

use naming::{
    Id, Label,
    catalogue::{ERRORS, LINK_UP, RESETS, THROTTLE_ACTIVE, THROTTLE_SECONDS},
};
use reading::{Labels, Reading};
use thresholds::{REASONS, WINDOW_SECONDS};

use crate::sampling::device::{Snapshot, Status};

/// A longer time between two rounds is a gap, of which nothing is known.
const GAP: Duration = Duration::from_mins(1);

/// Numbers by time: `cells` stretches of `step` seconds.
#[derive(Debug)]
struct Ring {
    step: u64,
    newest: u64,
    cells: Box<[f32]>,
}

impl Ring {
    fn new(step: u64, cells: usize) -> Self {
        Self { step, newest: 0, cells: vec![0.0; cells].into() }
    }

    /// The cell of a moment; those that have passed since the last one are 0.
    fn at(&mut self, seconds: u64) -> &mut f32 {
        let (now, cells) = (seconds / self.step, self.cells.len() as u64);
        let place = |cell: u64| usize::try_from(cell % cells).unwrap_or_default();
        for cell in (self.newest + 1).max((now + 1).saturating_sub(cells))..=now {
            self.cells[place(cell)] = 0.0;
        }
        self.newest = self.newest.max(now);
        &mut self.cells[place(now)]
    }

    fn sum(&self) -> f64 {
        self.cells.iter().copied().map(f64::from).sum()
    }

    fn max(&self) -> f64 {
        self.cells.iter().copied().map(f64::from).fold(0.0, f64::max)
    }
}

/// What is remembered of one device.
#[derive(Debug)]
pub struct Past {
    begun: Instant,
    /// When the newest round was begun that is in it.
    taken: Option<Instant>,
    /// Since when each reason has held.
    held: [Option<Instant>; REASONS.len()],
    /// Seconds that the shares are of.
    covered: Ring,
    /// By reason: seconds that it held the clocks down, and what the device's own counter stood at.
    throttled: Vec<(&'static str, Ring, Option<f64>)>,
    /// By kind: the most links that were up in each hour, and how many are up now.
    links: Vec<(&'static str, Ring, f64)>,
    /// What the counter of hard resets stood at, and by how much it rose in each minute.
    resets: Option<(f64, Ring)>,
    /// By labels: what the counter of an error stands at, and when it last rose.
    errors: Vec<(Labels, f64, Option<Instant>)>,
}

impl Past {
    /// Of a device of which nothing is known yet.
    pub fn new(now: Instant) -> Self {
        Self {
            begun: now,
            taken: None,
            held: [None; REASONS.len()],
            covered: Ring::new(5, cells(WINDOW_SECONDS / 5)),
            throttled: Vec::new(),
            links: Vec::new(),
            resets: None,
            errors: Vec::new(),
        }
    }

    /// Adds the newest round, unless it is in it.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "shares and small counts need no more than seven digits"
    )]
    pub fn add(&mut self, snapshot: &Snapshot, now: Instant) {
        if snapshot.status != Status::Up || self.taken == Some(snapshot.taken) {
            return;
        }
        let lasted = self.taken.map(|before| snapshot.taken.saturating_duration_since(before));
        let is_first = self.taken.is_none();
        self.taken = Some(snapshot.taken);
        let lasted = lasted.filter(|lasted| *lasted < GAP).unwrap_or_default().as_secs_f64();
        let second = now.saturating_duration_since(self.begun).as_secs();
        let of = |id: Id| snapshot.whole().flat_map(move |subject| subject.of(id));
        *self.covered.at(second) += lasted as f32;
        for reading in of(THROTTLE_SECONDS.id) {
            let (Some(reason), stands) = (reading.labels.word(Label::Reason), reading.value.as_f64()) else {
                continue;
            };
            let (ring, before) = throttled(&mut self.throttled, reason);
            let rose = before.replace(stands).map_or(0.0, |before| (stands - before).clamp(0.0, lasted));
            *ring.at(second) += rose as f32;
        }
        for reading in of(THROTTLE_ACTIVE.id) {
            let Some(reason) = reading.labels.word(Label::Reason) else { continue };
            let is_known = self.throttled.iter().any(|(known, ..)| *known == reason);
            if reading.value.as_f64() > 0.0 || is_known {
                let (ring, counter) = throttled(&mut self.throttled, reason);
                // The device's own count of seconds is better.
                let is_active = counter.is_none() && reading.value.as_f64() > 0.0;
                *ring.at(second) += if is_active { lasted as f32 } else { 0.0 };
            }
        }
        self.add_links(of(LINK_UP.id), second);
        let hard = |reading: &&Reading| reading.labels.word(Label::Kind) == Some("hard");
        if let Some(reading) = of(RESETS.id).find(hard) {
            let stands = reading.value.as_f64();
            let (before, ring) = self.resets.get_or_insert_with(|| (stands, Ring::new(60, 60)));
            *ring.at(second) += (stands - std::mem::replace(before, stands)).max(0.0) as f32;
        }
        for reading in of(ERRORS.id).filter(|reading| reading.value.as_f64() > 0.0) {
            let stands = reading.value.as_f64();
            match self.errors.iter_mut().find(|(labels, ..)| *labels == reading.labels) {
                Some((_, before, rose)) => {
                    if stands > std::mem::replace(before, stands) {
                        *rose = Some(now);
                    }
                }
                None => self.errors.push((reading.labels.clone(), stands, (!is_first).then_some(now))),
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a device has few links")]
    fn add_links<'r>(&mut self, readings: impl Iterator<Item = &'r Reading>, second: u64) {
        let mut up: Vec<(&'static str, f64)> = Vec::new();
        for reading in readings {
            let Some(kind) = reading.labels.word(Label::Kind) else { continue };
            let value = reading.value.as_f64();
            match up.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, sum)) => *sum += value,
                None => up.push((kind, value)),
            }
        }
        // What is not reported now is judged by nothing.
        self.links.iter_mut().for_each(|(_, most, now)| *now = most.max());
        for (kind, sum) in up {
            let known = self.links.iter().position(|(known, ..)| *known == kind);
            let known = known.unwrap_or_else(|| {
                self.links.push((kind, Ring::new(3600, 24), 0.0));
                self.links.len() - 1
            });
            let (_, most, now) = &mut self.links[known];
            let cell = most.at(second);
            *cell = cell.max(sum as f32);
            *now = sum;
        }
    }

    /// Codes of errors that were counted in the last minutes, by kind and code.
    pub fn counted(&self, now: Instant) -> Vec<(String, String)> {
        let is_new = |rose: Option<Instant>| {
            rose.is_some_and(|rose| now.saturating_duration_since(rose).as_secs() < WINDOW_SECONDS)
        };
        let recent = self.errors.iter().filter(|(.., rose)| is_new(*rose));
        recent.map(|(labels, ..)| (text(labels, Label::Kind), text(labels, Label::Code))).collect()
    }

    /// The share of the last minutes in which each reason held the clocks down.
    pub fn throttled(&self) -> Vec<(String, f64)> {
        let all = self.covered.sum();
        let shares = self.throttled.iter().map(|(reason, ring, _)| ((*reason).to_owned(), ring.sum() / all));
        shares.filter(|(_, share)| *share > 0.0).collect()
    }

    /// Kinds of which fewer links are up than within a day, how many, and the most.
    pub fn links_lost(&self) -> Vec<(String, f64, f64)> {
        let lost = self.links.iter().map(|(kind, most, now)| ((*kind).to_owned(), *now, most.max()));
        lost.filter(|(_, now, most)| now < most).collect()
    }

    /// Hard resets within an hour.
    pub fn resets(&self) -> f64 {
        self.resets.as_ref().map_or(0.0, |(_, ring)| ring.sum())
    }

    /// Those of the reasons that have held for as long as they must; the others are remembered.
    pub fn lasting(&mut self, reasons: Vec<(usize, String)>, now: Instant) -> Vec<(usize, String)> {
        for (place, since) in self.held.iter_mut().enumerate() {
            let holds = reasons.iter().any(|(held, _)| *held == place);
            *since = holds.then(|| since.unwrap_or(now));
        }
        let lasts = |place: usize| {
            let since = self.held[place].map(|since| now.saturating_duration_since(since).as_secs());
            since.is_some_and(|seconds| seconds >= REASONS[place].after)
        };
        reasons.into_iter().filter(|(place, _)| lasts(*place)).collect()
    }
}

fn cells(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn throttled<'t>(
    all: &'t mut Vec<(&'static str, Ring, Option<f64>)>,
    reason: &'static str,
) -> (&'t mut Ring, &'t mut Option<f64>) {
    let known = all.iter().position(|(known, ..)| *known == reason);
    let known = known.unwrap_or_else(|| {
        all.push((reason, Ring::new(5, cells(WINDOW_SECONDS / 5)), None));
        all.len() - 1
    });
    let (_, ring, counter) = &mut all[known];
    (ring, counter)
}

fn text(labels: &Labels, label: Label) -> String {
    let mut text = String::new();
    labels.with_value(label, |value| value.clone_into(&mut text));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_forgets_what_is_older_than_all_of_it() {
        let mut ring = Ring::new(5, 60);
        for second in 0..1000 {
            *ring.at(second) += 1.0;
        }
        assert!((295.0..=300.0).contains(&ring.sum()), "{}", ring.sum());
        *ring.at(1150) += 1.0;
        assert!((145.0..=155.0).contains(&ring.sum()), "{}", ring.sum());
        *ring.at(99_999) += 2.0;
        assert_eq!((ring.sum().to_bits(), ring.max().to_bits()), (2.0_f64.to_bits(), 2.0_f64.to_bits()));
    }

    #[test]
    fn a_level_counts_once_it_has_lasted() {
        let start = Instant::now();
        let mut past = Past::new(start);
        let place = REASONS.iter().position(|reason| reason.after == 60).expect("one");
        let at = |seconds| start + Duration::from_secs(seconds);
        let hot = || vec![(place, String::new())];
        assert_eq!(past.lasting(hot(), at(0)), []);
        assert_eq!(past.lasting(hot(), at(59)), []);
        assert_eq!(past.lasting(hot(), at(60)), hot());
        assert_eq!(past.lasting(Vec::new(), at(61)), []);
        assert_eq!(past.lasting(hot(), at(62)), [], "it begins anew");
    }
}
