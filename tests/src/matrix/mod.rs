//! The fault matrix: every source with every fault that it can have, and what the fault costs.
//!
//! A second exporter, started with it, runs on an equal machine without faults. State is a function of profile, seed
//! and clock, so at every moment it reports what is true, and two laws need no list of series: none stands still
//! while the truth moves, and none is 0 while the truth is not.

mod amx;
mod gaudi;
mod npu;
mod nvidia;
mod sources;
mod trails;
mod xpu;

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use sim::{Control, control::Garbage, library::strip_symbols};

pub use sources::{Fault, Source};
use trails::{Trails, series};

use crate::{
    Artefacts, Exporter, Footprint, Node, eventually,
    http::{self, Request},
    wait::CEILING,
};

/// Every source.
pub const SOURCES: &[Source] =
    &[nvidia::SOURCE, gaudi::SOURCE, xpu::LEVEL_ZERO, xpu::KERNEL, npu::SOURCE, amx::SOURCE];

/// Between two rounds of a source.
const INTERVAL: [&str; 2] = ["--interval", "500ms"];

/// What a fault may take to be noticed: a call is given up after 2 s, in the round after the one that was under way.
const SETTLE: Duration = Duration::from_secs(4);

/// Between two scrapes.
const PERIOD: Duration = Duration::from_millis(250);

/// Looks at a fault until one of them finds nothing old.
const LOOKS: usize = 4;

/// A scrape that takes longer is late.
const SCRAPE_MAX: Duration = Duration::from_secs(1);

/// A line of the matrix.
#[derive(Debug)]
pub struct Row {
    /// The source.
    pub source: &'static str,
    /// The fault.
    pub fault: String,
    /// What was measured; the error if the exporter ended or could not be read.
    pub outcome: Result<Outcome>,
}

/// What a fault cost.
#[derive(Debug)]
pub struct Outcome {
    /// Series that showed an old value at the last look.
    pub stale: Vec<String>,
    /// Series that became 0 because of the fault.
    pub zero: Vec<String>,
    /// Counters that fell, but for those of a driver that was loaded again.
    pub fallen: Vec<String>,
    /// The slowest scrape from the begin of the fault until everything was back.
    pub slowest: Duration,
    /// What the exporter held before the fault.
    pub before: Footprint,
    /// What it held after it.
    pub after: Footprint,
    /// How the fault ended.
    pub end: End,
}

/// The end of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Every series was back after this time.
    Returned(Duration),
    /// Some were not: how many, and one of them.
    Missing(String),
    /// It lasts as long as the process.
    WithTheProcess,
}

impl Row {
    /// The laws that it breaks, each with its evidence.
    pub fn broken(&self) -> Vec<String> {
        let mut broken = self.broken_beside_time();
        if let Ok(Outcome { slowest, .. }) = &self.outcome
            && *slowest > SCRAPE_MAX
        {
            broken.push(format!("a scrape took {slowest:.1?}"));
        }
        broken
    }

    /// The same without the law of the slowest scrape, for a machine that has other work.
    pub fn broken_beside_time(&self) -> Vec<String> {
        let outcome = match &self.outcome {
            Ok(outcome) => outcome,
            Err(error) => return vec![format!("{error:#}")],
        };
        let Outcome { stale, zero, fallen, before, after, end, .. } = outcome;
        let mut broken = Vec::new();
        for (what, all) in [("stale", stale), ("zero", zero), ("counters that fell", fallen)] {
            if let Some(first) = all.first() {
                broken.push(format!("{} {what}: {first}", all.len()));
            }
        }
        if let End::Missing(series) = end {
            broken.push(format!("not everything returned: {series}"));
        }
        for (what, before, after) in [
            ("threads", before.threads, after.threads),
            ("descriptors", before.descriptors, after.descriptors),
            ("processes", before.processes, after.processes),
        ] {
            if after > before {
                broken.push(format!("{before} {what} became {after}"));
            }
        }
        broken
    }
}

/// A source with what its rows are measured with.
pub struct Bench {
    /// The source.
    pub source: &'static Source,
    /// The programs.
    pub artefacts: Artefacts,
    /// How long a look at a fault takes.
    pub dwell: Duration,
}

/// An exporter on a machine of the source.
struct Member {
    exporter: Exporter,
    // After the process, which reads its files.
    node: Node,
}

/// The exporter with a fault, and beside it, as old, one without.
struct Pair {
    ours: Member,
    truth: Member,
}

impl Bench {
    /// Measures one fault, on exporters of its own.
    pub fn row(&self, fault: &Fault) -> Row {
        Row { source: self.source.name, fault: fault.name.clone(), outcome: self.outcome(fault) }
    }

    fn outcome(&self, fault: &Fault) -> Result<Outcome> {
        let pair = Pair { truth: self.start(&[])?, ours: self.start(fault.symbols)? };
        let measured = pair.measure(fault, self.dwell);
        let Pair { ours: Member { mut exporter, .. }, .. } = pair;
        exporter.process.ensure_running()?;
        measured.with_context(|| exporter.process.log())
    }

    /// Starts an exporter whose library lacks these symbols.
    fn start(&self, symbols: &[&str]) -> Result<Member> {
        let node = Node::with(self.artefacts.clone(), self.source.machine)?.only(self.source.family);
        if !symbols.is_empty() {
            let whole = node.dir().join("whole");
            fs::rename(node.library(), &whole)?;
            strip_symbols(&whole, &node.library(), symbols)?;
        }
        let mut exporter = node.start(&[self.source.flags, &INTERVAL].concat())?;
        exporter.process.quiet();
        Ok(Member { exporter, node })
    }
}

impl Pair {
    fn measure(&self, fault: &Fault, dwell: Duration) -> Result<Outcome> {
        let Member { exporter, node } = &self.ours;
        let lasts = !fault.symbols.is_empty();
        self.truth.exporter.settled()?;
        exporter.settled()?;
        if !lasts {
            eventually("every series is there", || self.is_whole(&scrape(exporter)?.0))?;
        }
        let before = Footprint::of(exporter.process.id())?;
        // How a board is set, and what happened to it, is no fault of reading it.
        let Control { mig, xid, .. } = fault.during.clone();
        self.truth.node.control(&Control { mig, xid, ..Control::default() })?;
        node.control(&fault.during)?;
        let begin = Instant::now();
        let (mut history, mut slowest) = (Trails::default(), Duration::ZERO);
        let mut look = |ours: &mut Trails, truth: &mut Trails| -> Result<()> {
            let (body, took) = scrape(exporter)?;
            ours.add(&body);
            history.add(&body);
            slowest = slowest.max(took);
            truth.add(&scrape(&self.truth.exporter)?.0);
            thread::sleep(PERIOD);
            Ok(())
        };
        while begin.elapsed() < SETTLE {
            look(&mut Trails::default(), &mut Trails::default())?;
        }
        let (mut stale, mut zero) = (Vec::new(), Vec::new());
        for _ in 0..LOOKS {
            let (mut ours, mut truth, start) = (Trails::default(), Trails::default(), Instant::now());
            while start.elapsed() < dwell {
                look(&mut ours, &mut truth)?;
            }
            (stale, zero) = (ours.stale(&truth), ours.zero(&truth));
            if stale.is_empty() && zero.is_empty() {
                break;
            }
        }
        node.control(&(fault.after)())?;
        self.truth.node.control(&Control::default())?;
        let end =
            if lasts { End::WithTheProcess } else { self.until_whole(exporter, &mut history, &mut slowest)? };
        let mut fallen = history.fallen();
        // The new driver's counters begin at 0, and no count of errors is so high that it must be wrong.
        let is_absurd = fault.during.fault.iter().any(|fault| fault.value == Some(Garbage::Absurd));
        fallen.retain(|series| fault.during.driver.is_none() && !(is_absurd && is_of_errors(series)));
        Ok(Outcome { stale, zero, fallen, slowest, before, after: held(exporter, before)?, end })
    }

    /// Whether a scrape has every series of the exporter without faults.
    fn is_whole(&self, ours: &str) -> Result<()> {
        let truth = scrape(&self.truth.exporter)?.0;
        let ours = series(ours);
        let missing: Vec<_> = series(&truth).into_iter().filter(|series| !ours.contains(series)).collect();
        ensure!(missing.is_empty(), "{} series are missing: {}", missing.len(), missing[0]);
        Ok(())
    }

    fn until_whole(&self, exporter: &Exporter, history: &mut Trails, slowest: &mut Duration) -> Result<End> {
        let start = Instant::now();
        loop {
            let (body, took) = scrape(exporter)?;
            let elapsed = start.elapsed();
            history.add(&body);
            *slowest = took.max(*slowest);
            match self.is_whole(&body) {
                Ok(()) => return Ok(End::Returned(elapsed)),
                Err(error) if elapsed > CEILING => return Ok(End::Missing(error.to_string())),
                Err(_) => thread::sleep(PERIOD / 5),
            }
        }
    }
}

/// Whether a series counts errors or what they cost.
fn is_of_errors(series: &str) -> bool {
    ["_errors_total", "_replays_total"].iter().any(|end| series.contains(end))
}

/// What the exporter holds once it holds no more than before, or still holds after a while.
fn held(exporter: &Exporter, before: Footprint) -> Result<Footprint> {
    let start = Instant::now();
    loop {
        let now = Footprint::of(exporter.process.id())?;
        let is_more = now.threads > before.threads
            || now.descriptors > before.descriptors
            || now.processes > before.processes;
        if !is_more || start.elapsed() > CEILING / 3 {
            return Ok(now);
        }
        thread::sleep(PERIOD);
    }
}

/// A scrape, and how long it took.
fn scrape(exporter: &Exporter) -> Result<(String, Duration)> {
    let start = Instant::now();
    let response = http::send(exporter.address, Request::get("/metrics"))?.ok()?;
    let took = start.elapsed();
    let body = String::from_utf8(response.body).map_err(|_| anyhow!("a scrape that is not text"))?;
    Ok((body, took))
}

/// Measures the rows of all sources that `wanted` selects by source and fault, the sources at the same time; `report`
/// is given each row when it is done.
pub fn run(
    artefacts: &Artefacts,
    dwell: Duration,
    wanted: impl Fn(&str, &str) -> bool + Sync,
    report: impl Fn(&Row) + Sync,
) -> Result<Vec<Row>> {
    let (wanted, report) = (&wanted, &report);
    thread::scope(|scope| {
        let of_source = |source: &'static Source| {
            move || -> Result<Vec<Row>> {
                let mut faults = (source.faults)();
                faults.retain(|fault| wanted(source.name, &fault.name));
                if faults.is_empty() {
                    return Ok(Vec::new());
                }
                let bench = Bench { source, artefacts: artefacts.clone(), dwell };
                let rows = faults.iter().map(|fault| {
                    let row = bench.row(fault);
                    report(&row);
                    row
                });
                Ok(rows.collect())
            }
        };
        let running: Vec<_> = SOURCES.iter().map(|source| scope.spawn(of_source(source))).collect();
        let mut rows = Vec::new();
        for source in running {
            rows.extend(source.join().map_err(|_| anyhow!("a source panicked"))??);
        }
        Ok(rows)
    })
}
