//! A soak: exporters on machines of every source, under a churn of faults and clients of every kind, and what they
//! hold of the machine from minute to minute.
//!
//! Nothing is measured in the middle of a fault. For a sample the clients pause, the machines are repaired, and
//! everything must be back first: a thread or descriptor that is then there too many will never go.

mod clients;

use std::{
    sync::{
        RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sim::Control;

pub use clients::Traffic;

use crate::{
    Artefacts, Exporter, Footprint, Node, eventually_within,
    matrix::{Fault, SOURCES, Source},
};

/// Many rounds of a source, and the labels that the habanalabs driver's package installs: without them the exporter
/// asks HLML for temperatures, and that call leaks memory, in the simulation too.
const FLAGS: [&str; 4] = ["--interval", "200ms", "--path.sensors", "sys/accelsim/hl_sensors.conf"];

/// Between two faults; each falls on the next machine.
const FAULT_PERIOD: Duration = Duration::from_millis(300);

/// Of so many equal parts of the samples, allocators and caches fill in the first; what is held in the last must have
/// been held in the first.
const PARTS: usize = 3;

/// A shorter span shows an allocator's steps, not a leak.
const SPAN_MIN: Duration = Duration::from_mins(10);

/// What anonymous memory may grow by in an hour, bytes, as a line through the samples after the first of [`PARTS`] has it.
const GROWTH_MAX: f64 = 1024.0 * 1024.0;

/// What an exporter may have in anonymous memory. That of files depends on the build.
const ANONYMOUS_MAX: u64 = 32 << 20;

/// What a repaired machine may take until all is back: a machine with other work is slow, and a device that does not
/// come back never does.
const PATIENCE: Duration = Duration::from_mins(10);

/// What a whole machine may take until threads and descriptors of faults and clients have ended, before they are
/// counted all the same.
const SETTLE: Duration = Duration::from_secs(15);

/// What, how long, how often, and which faults.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// What the names of the sources that take part contain.
    pub wanted: &'a str,
    /// From the first sample to the last.
    pub duration: Duration,
    /// Between two samples.
    pub period: Duration,
    /// Faults and hostile clients follow from it.
    pub seed: u64,
}

/// What every exporter held at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Since the first sample.
    pub at: Duration,
    /// One for each source, with its name.
    pub held: Vec<(&'static str, Footprint)>,
}

/// A number of what an exporter holds, by its name.
type Number = (&'static str, fn(&Footprint) -> u64);

/// What must not become more.
const HELD: [Number; 3] = [
    ("threads", |held| held.threads),
    ("descriptors", |held| held.descriptors),
    ("processes", |held| held.processes),
];

/// What was seen.
#[derive(Debug)]
pub struct Report {
    /// The first is from before the first fault.
    pub samples: Vec<Sample>,
    /// Faults that were set.
    pub faults: u64,
    /// What the clients did.
    pub traffic: Traffic,
}

/// Numbers that follow from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).expect("less than a usize")
    }
}

/// A source's machine with its exporter.
struct Member {
    name: &'static str,
    exporter: Exporter,
    faults: Vec<Fault>,
    devices: f64,
    // After the process, which reads its files.
    node: Node,
}

impl Member {
    fn start(artefacts: &Artefacts, source: &Source) -> Result<Self> {
        let node = Node::with(artefacts.clone(), source.machine)?.only(source.family);
        let mut exporter = node.start(&[source.flags, &FLAGS].concat())?;
        exporter.process.quiet();
        let devices = exporter.settled()?.sum("accel_device_up", &[]);
        let mut faults = (source.faults)();
        faults.retain(|fault| fault.symbols.is_empty());
        Ok(Self { name: source.name, exporter, faults, devices, node })
    }

    /// Waits until every device is up and no thread is stuck.
    fn until_whole(&mut self) -> Result<()> {
        let Self { exporter, devices, .. } = self;
        eventually_within(PATIENCE, "every device is back", || {
            exporter.process.ensure_running()?;
            let samples = exporter.scrape()?;
            let up = samples.sum("accel_device_up", &[]);
            let stuck = samples.sum("accelscope_stuck_threads", &[]);
            ensure!(up >= *devices && stuck == 0.0, "{up} of {devices} are up, {stuck} threads are stuck");
            Ok(())
        })
    }
}

/// Runs the plan; `progress` is given each sample when it is taken.
///
/// # Errors
/// An exporter that ended, or that does not recover when its machine has.
pub fn run(artefacts: &Artefacts, plan: Plan<'_>, progress: impl Fn(&Sample)) -> Result<Report> {
    let wanted = SOURCES.iter().filter(|source| source.name.contains(plan.wanted));
    let mut members = wanted.map(|source| Member::start(artefacts, source)).collect::<Result<Vec<_>>>()?;
    ensure!(!members.is_empty(), "no source is called {}", plan.wanted);
    let addresses: Vec<_> = members.iter().map(|member| member.exporter.address).collect();
    // Clients hold it while they have a connection.
    let gate = RwLock::new(());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let scrapes = scope.spawn(|| clients::scrape(&addresses, &gate, &stop));
        let hostile = scope.spawn(|| clients::attack(&addresses, Random(!plan.seed), &gate, &stop));
        let churned = churn(&mut members, plan, &gate, progress);
        stop.store(true, Ordering::Relaxed);
        let mut traffic = scrapes.join().expect("a client does not panic");
        traffic.attacks = hostile.join().expect("a client does not panic");
        let (samples, faults) = churned?;
        Ok(Report { samples, faults, traffic })
    })
}

fn churn(
    members: &mut [Member],
    plan: Plan<'_>,
    gate: &RwLock<()>,
    progress: impl Fn(&Sample),
) -> Result<(Vec<Sample>, u64)> {
    let mut random = Random(plan.seed);
    let mut samples: Vec<Sample> = Vec::new();
    let mut faults = 0;
    let start = Instant::now();
    let mut due = start;
    loop {
        let at = start.elapsed();
        let held = sample(members, gate, samples.first())?;
        samples.push(Sample { at, held });
        progress(&samples[samples.len() - 1]);
        if at >= plan.duration {
            return Ok((samples, faults));
        }
        due += plan.period;
        for turn in 0.. {
            if Instant::now() >= due {
                break;
            }
            let index = turn % members.len();
            let member = &mut members[index];
            member.exporter.process.ensure_running()?;
            member.node.control(&member.faults[random.below(member.faults.len())].during)?;
            faults += 1;
            thread::sleep(FAULT_PERIOD);
        }
    }
}

/// What every exporter holds of the machine, once all is as it was at first or still is not after a while.
fn sample(
    members: &mut [Member],
    gate: &RwLock<()>,
    first: Option<&Sample>,
) -> Result<Vec<(&'static str, Footprint)>> {
    let _quiet = gate.write().expect("a client does not panic");
    for member in &*members {
        member.node.control(&Control::default())?;
    }
    let mut all = Vec::new();
    for (index, member) in members.iter_mut().enumerate() {
        member
            .until_whole()
            .with_context(|| format!("{}: {}", member.name, member.exporter.process.log()))?;
        let now = || Footprint::of(member.exporter.process.id());
        let settled = eventually_within(SETTLE, "threads and descriptors are as at first", || {
            let (now, first) = (now()?, first.map(|sample| sample.held[index].1));
            let is_flat =
                |first: Footprint| now.threads <= first.threads && now.descriptors <= first.descriptors;
            ensure!(first.is_none_or(is_flat), "{now:?}");
            Ok(now)
        });
        all.push((member.name, settled.or_else(|_| now())?));
    }
    Ok(all)
}

impl Report {
    /// The laws that it breaks.
    pub fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let Traffic { scrapes, ref failed, .. } = self.traffic;
        if let Some(first) = failed.first() {
            broken.push(format!("{} of {scrapes} scrapes failed: {first}", failed.len()));
        }
        let part = (self.samples.len() / PARTS).max(1);
        let (Some(first), Some(last)) = (self.samples.chunks(part).next(), self.samples.rchunks(part).next())
        else {
            return vec!["no sample".to_owned()];
        };
        for (index, (source, _)) in self.samples[0].held.iter().enumerate() {
            // One sample may have seen a thread or connection that was about to end.
            for (what, of) in HELD {
                let all = |samples: &[Sample]| {
                    samples.iter().map(|sample| of(&sample.held[index].1)).collect::<Vec<_>>()
                };
                let (first, last) = (all(first), all(last));
                if let (Some(most), Some(least)) = (first.iter().max(), last.iter().min())
                    && least > most
                {
                    broken.push(format!("{source}: {most} {what} became {least}"));
                }
            }
            if let Some(held) = last.last().map(|sample| sample.held[index].1.anonymous_bytes)
                && held > ANONYMOUS_MAX
            {
                broken.push(format!("{source}: {held} bytes of anonymous memory"));
            }
            if let Some(growth) = self.growth(index)
                && growth > GROWTH_MAX
            {
                broken.push(format!("{source}: memory grows by {:.0} KiB an hour", growth / 1024.0));
            }
        }
        broken
    }

    /// Growth of a source's anonymous memory after the first part, bytes an hour; `None` after too short a span.
    pub fn growth(&self, index: usize) -> Option<f64> {
        let warm = &self.samples[self.samples.len() / PARTS..];
        let points = warm
            .iter()
            .map(|sample| (sample.at.as_secs_f64() / 3600.0, sample.held[index].1.anonymous_bytes as f64));
        let span = warm.last()?.at.saturating_sub(warm.first()?.at);
        if span < SPAN_MIN { None } else { Some(slope(&points.collect::<Vec<_>>())) }
    }
}

/// Of the line that fits best (least squares).
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    covariance / variance
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Report, Sample, Traffic};
    use crate::Footprint;

    /// A sample each minute, with what `change` makes of the first source.
    fn report(minutes: u64, change: impl Fn(u64, &mut Footprint)) -> Report {
        let steady = Footprint {
            processes: 1,
            threads: 9,
            descriptors: 20,
            anonymous_bytes: 4 << 20,
            file_bytes: 6 << 20,
        };
        let samples = (0..=minutes).map(|minute| {
            let mut held = vec![("one", steady), ("two", steady)];
            change(minute, &mut held[0].1);
            Sample { at: Duration::from_mins(minute), held }
        });
        Report { samples: samples.collect(), faults: 1, traffic: Traffic::default() }
    }

    #[test]
    fn a_leak_is_found_and_steps_of_the_warm_up_are_not() {
        let leak = report(60, |minute, held| held.anonymous_bytes += minute * (20 << 10));
        assert_eq!(leak.broken().len(), 1, "{:?}", leak.broken());
        let growth = leak.growth(0).unwrap();
        assert!((growth - 1200.0 * 1024.0).abs() < 1.0, "{growth}");
        let warm_up = report(60, |minute, held| held.anonymous_bytes += minute.min(15) << 20);
        assert!(warm_up.broken().is_empty(), "{:?}", warm_up.broken());
        assert!(report(5, |minute, held| held.anonymous_bytes += minute << 20).broken().is_empty());
        let large = report(5, |minute, held| held.anonymous_bytes += minute << 24);
        assert_eq!(large.broken().len(), 1);
    }

    #[test]
    fn what_does_not_return_to_the_start_is_found() {
        assert_eq!(report(1, |minute, held| held.threads += minute).broken().len(), 1);
        assert_eq!(report(1, |minute, held| held.descriptors += minute).broken().len(), 1);
        assert!(report(2, |minute, held| held.threads += minute % 2).broken().is_empty());
        let about_to_end = report(9, |minute, held| held.threads += minute / 9);
        assert!(about_to_end.broken().is_empty(), "{:?}", about_to_end.broken());
        assert_eq!(report(9, |minute, held| held.descriptors += minute / 4).broken().len(), 1);
        let mut failed = report(1, |_, _| ());
        failed.traffic.failed.push("status 503".to_owned());
        assert_eq!(failed.broken().len(), 1);
    }
}
