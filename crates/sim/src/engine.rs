//! A simulated inference engine: what a server of models exports while the machine beside it works.
//!
//! The state is a pure function of options, control tables and clock, as the machine's is. Time goes in whole
//! seconds: each second of the workload's period has its level (running, waiting, KV cache) and its finished
//! requests, each with every duration and length that an engine measures. Counters and histograms are sums of
//! those in integers, so they never step back and always agree: whole periods are the period's total times
//! their number, the rest is added second by second.
//!
//! A condition of the control file counts from its `at`; one without counts from the engine's start if the
//! file was there then, else from the second in which it was seen. That small memory is [`Engine`].
//!
//! | module | room |
//! |---|---|
//! | [`load`] | one second of service: levels and finished requests, under a condition |
//! | [`totals`] | counters and histogram cells, and how they add up |
//! | [`table`] | what an engine's table is made of |
//! | [`tables`] | the engines: names, labels, types, buckets, one table each |
//! | [`render`] | a table and a state in, the exposition out |
//! | [`serve`] | HTTP |

pub mod load;
pub mod render;
#[cfg(feature = "engine")]
pub mod serve;
pub mod table;
pub mod tables;
pub mod totals;

use crate::control;
use crate::cycle::PERIOD_SECONDS;
use crate::workload::Workload;
use load::{Levels, Load};
use table::Table;
use totals::Totals;

/// Default start of an engine: 2025-06-01 00:00:00 UTC, as the built-in machines boot.
pub const STARTED: u64 = 1_748_736_000;

const PERIOD: u64 = PERIOD_SECONDS as u64;

/// Which engine, and how it is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The engine and its version.
    pub engine: tables::EngineSpec,
    /// Name of the model that it serves.
    pub model: String,
    /// Small variations follow from it.
    pub seed: u64,
    /// The load of the machine.
    pub workload: Workload,
    /// When the engine was started, unix seconds: counters begin at 0 here.
    pub started: u64,
}

/// What becomes of a connection to an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Requests get their response.
    Up,
    /// Requests get a 503.
    Down,
    /// Requests get no response.
    Hung,
    /// Connections are closed.
    Dead,
}

/// A running engine.
pub struct Engine {
    options: Options,
    table: Table,
    load: Load,
    conditions: Vec<control::Engine>,
    /// Everything before this unix second is in `totals`.
    second: u64,
    totals: Totals,
    /// One whole period under one condition.
    period: Option<(control::Engine, Totals)>,
}

impl Engine {
    /// An engine at its start, with the conditions that were there before it.
    pub fn new(options: Options, conditions: &[control::Engine]) -> Result<Self, String> {
        let table = options.engine.table()?;
        let mut engine = Self {
            load: Load::new(options.workload, options.seed),
            totals: Totals::new(&table),
            second: options.started,
            conditions: Vec::new(),
            period: None,
            options,
            table,
        };
        engine.set_conditions(conditions)?;
        Ok(engine)
    }

    /// Replaces the conditions. What has been counted stays; on an error, so do the conditions.
    pub fn set_conditions(&mut self, conditions: &[control::Engine]) -> Result<(), String> {
        conditions.iter().try_for_each(control::Engine::check)?;
        let mine = |condition: &&control::Engine| {
            condition.model.as_ref().is_none_or(|model| *model == self.options.model)
        };
        self.conditions = conditions.iter().filter(mine).cloned().collect();
        Ok(())
    }

    /// Counts everything that has happened by `now`, unix seconds. Time that steps back changes nothing.
    pub fn advance(&mut self, now: f64) {
        let now = now as u64;
        while self.second < now {
            let condition = self.condition(self.second);
            let until = self.edges().filter(|edge| *edge > self.second).fold(now, u64::min);
            if condition.dead == Some(true) {
                self.totals = Totals::new(&self.table);
                self.options.started = until;
                self.second = until;
                continue;
            }
            let periods = (until - self.second) / PERIOD;
            if self.second.is_multiple_of(PERIOD) && periods > 0 {
                if self.period.as_ref().is_none_or(|(last, _)| *last != condition) {
                    let mut total = Totals::new(&self.table);
                    (0..PERIOD).for_each(|second| self.load.add(second, &condition, &mut total));
                    self.period = Some((condition, total));
                }
                if let Some((_, total)) = &self.period {
                    self.totals.add(total, periods);
                }
                self.second += periods * PERIOD;
            } else {
                let stop = until.min((self.second / PERIOD + 1) * PERIOD);
                for second in self.second..stop {
                    self.load.add(second, &condition, &mut self.totals);
                }
                self.second = stop;
            }
        }
    }

    /// The state as the engine's `/metrics` prints it.
    pub fn render(&self) -> String {
        render::exposition(&self.table, &self.options, &self.levels(), &self.totals)
    }

    /// Where the engine's metrics are served.
    pub fn path(&self) -> &str {
        &self.table.path
    }

    /// What becomes of a connection.
    pub fn reach(&self) -> Reach {
        let condition = self.condition(self.second);
        let is = |what: Option<bool>| what == Some(true);
        match () {
            () if is(condition.dead) => Reach::Dead,
            () if is(condition.hung) => Reach::Hung,
            () if is(condition.down) => Reach::Down,
            () => Reach::Up,
        }
    }

    /// Gauges of this second.
    pub fn levels(&self) -> Levels {
        self.load.levels(self.second, &self.condition(self.second))
    }

    /// What is active at a second.
    fn condition(&self, second: u64) -> control::Engine {
        let active = |condition: &&control::Engine| {
            let [begin, end] = edges(condition);
            (begin..end).contains(&second)
        };
        self.conditions.iter().filter(active).fold(control::Engine::default(), |sum, one| sum.overlaid(one))
    }

    /// Seconds at which a condition begins or ends.
    fn edges(&self) -> impl Iterator<Item = u64> {
        self.conditions.iter().flat_map(edges)
    }
}

/// The whole seconds in which a condition begins and has ended.
fn edges(condition: &control::Engine) -> [u64; 2] {
    let begin = condition.at.unwrap_or(0.0);
    let end = condition.lasts.map_or(u64::MAX, |lasts| (begin + lasts).ceil() as u64);
    [begin.ceil() as u64, end]
}
