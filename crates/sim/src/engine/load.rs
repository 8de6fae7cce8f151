//! One second of service: the workload's phase and a condition in; levels, finished requests and forward
//! passes out.
//!
//! The couplings are those of a batching engine. Requests in flight follow from arrivals, length and latency;
//! latency between tokens grows with the batch; a KV cache near its end makes requests wait and be preempted,
//! and waiting is time to first token.

use super::totals::{Count, Totals};
use crate::control;
use crate::cycle::{KV_TIME_CONSTANT_SECONDS, PERIOD_SECONDS, STEP_SECONDS};
use crate::hash;
use crate::workload::Workload;

/// Most requests in one batch.
pub const RUNNING_MAX: f64 = 256.0;
/// Longest sequence, tokens.
pub const MODEL_LENGTH: u64 = 32_768;
/// Tokens that the KV cache holds.
pub const KV_TOKENS: f64 = 524_288.0;
/// Tokens in a block of the KV cache.
pub const KV_BLOCK_TOKENS: f64 = 16.0;
/// Tokens that are drafted at a time.
pub const DRAFT_TOKENS: u64 = 3;

/// Requests per second at full load.
const REQUESTS_PER_SECOND: f64 = 8.0;
/// Arrivals in a disturbed engine, even when the workload rests: a condition without load would not show.
const REQUESTS_PER_SECOND_DISTURBED: f64 = 4.0;
/// Latency between tokens of an empty batch, and what each running request adds.
const ITL_SECONDS: f64 = 0.008;
const ITL_SECONDS_PER_REQUEST: f64 = 0.000_15;
/// Prompt tokens that are computed per second.
const PREFILL_TOKENS_PER_SECOND: f64 = 8_000.0;
/// KV use from which requests wait.
const KV_PRESSURE_BEGIN: f64 = 0.90;
/// Waiting requests and preemptions per second in a full KV cache.
const WAITING_MAX: f64 = 40.0;
const PREEMPTIONS_PER_SECOND_MAX: f64 = 3.0;
/// Queueing that there always is.
const QUEUE_SECONDS: f64 = 0.002;
/// How requests end when nothing is wrong; the rest stop by themselves.
const ERROR_RATIO: f64 = 0.0005;
const TRUNCATION_RATIO: f64 = 0.04;
const ABORT_RATIO: f64 = 0.005;
/// Share of drafted tokens accepted, and how the positions differ from it.
const ACCEPTANCE_RATIO: f64 = 0.70;
const ACCEPTANCE_BY_POSITION: [f64; DRAFT_TOKENS as usize] = [0.15, 0.0, -0.15];
/// Share of a prompt that is found in the prefix cache, on the mean.
pub const CACHED_RATIO: f64 = 0.35;
/// How often a kubelet asks whether a model is ready.
const PROBE_INTERVAL_SECONDS: u64 = 10;
/// Time between two tokens of one request, as multiples of its mean; a quarter of the gaps each.
const GAPS: [u64; 4] = [70, 90, 100, 140];

/// Gauges of one second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// The second, unix.
    pub second: u64,
    /// Whether the engine serves.
    pub awake: bool,
    /// Requests in the batch.
    pub running: f64,
    /// Requests that wait for room.
    pub waiting: f64,
    /// Requests that wait for something else.
    pub deferred: f64,
    /// KV cache in use, 0 to 1.
    pub kv: f64,
    /// Whether nothing moves.
    pub stalled: bool,
    /// Arrivals that are accepted.
    pub requests_per_second: f64,
    /// Arrivals that are refused because the engine is full.
    pub rejections_per_second: f64,
    /// Mean prompt, tokens.
    pub prompt_tokens: f64,
    /// Mean number of generated tokens.
    pub generation_tokens: f64,
    /// Mean time in the queue.
    pub queue_seconds: f64,
    /// Mean time of computing a prompt.
    pub prefill_seconds: f64,
    /// Mean time between two tokens.
    pub itl_seconds: f64,
    /// Requests put back from the batch into the queue.
    pub preemptions_per_second: f64,
    /// Share of requests that fail.
    pub error_ratio: f64,
    /// Share of requests that end at their token limit.
    pub truncation_ratio: f64,
    /// Probability that the draft's token at each position is accepted.
    pub acceptance: [f64; DRAFT_TOKENS as usize],
}

impl Levels {
    /// Share of drafted tokens that are accepted.
    pub fn acceptance_ratio(&self) -> f64 {
        self.acceptance.iter().sum::<f64>() / DRAFT_TOKENS as f64
    }

    /// Most tokens accepted in a share `quantile` of drafts.
    pub fn accepted_quantile(&self, quantile: f64) -> f64 {
        // A position's probability counts all drafts that come so far or farther.
        self.acceptance.iter().filter(|reached| 1.0 - **reached < quantile).count() as f64
    }

    /// Prompt tokens per second.
    pub fn prompt_throughput(&self) -> f64 {
        (self.requests_per_second * self.prompt_tokens).round()
    }

    /// Generated tokens per second.
    pub fn generation_throughput(&self) -> f64 {
        (self.requests_per_second * self.generation_tokens).round()
    }

    /// Tokens in the KV cache.
    pub fn kv_tokens(&self) -> f64 {
        (self.kv * KV_TOKENS).round()
    }

    /// Blocks of the KV cache in use.
    pub fn kv_blocks(&self) -> f64 {
        (self.kv * KV_TOKENS / KV_BLOCK_TOKENS).round()
    }

    /// Requests whose prompt is being computed.
    pub fn prefilling(&self) -> f64 {
        (self.requests_per_second * self.prefill_seconds).round().min(self.running)
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// By itself.
    Stop,
    /// At its token limit.
    Length,
    /// Its client went away.
    Abort,
    /// It failed.
    Error,
}

/// A finished request. Durations are microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// How it ended.
    pub finish: Finish,
    /// Time in the queue.
    pub queue: u64,
    /// Time of computing the prompt.
    pub prefill: u64,
    /// Time from the first token to the last.
    pub decode: u64,
    /// Mean time per token after the first.
    pub per_token: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Of these, found in the prefix cache.
    pub cached_tokens: u64,
    /// Generated tokens.
    pub generation_tokens: u64,
    /// Most tokens that the client asked for.
    pub max_tokens: u64,
    /// How often it was preempted.
    pub preemptions: u64,
}

impl Request {
    /// From arrival to the first token, µs.
    pub fn ttft(&self) -> u64 {
        self.queue + self.prefill
    }

    /// From the first look at a request that generates nothing to its result, µs.
    pub fn processing(&self) -> u64 {
        self.validation() + self.ttft()
    }

    /// From arrival to the last token, µs.
    pub fn e2e(&self) -> u64 {
        self.queue + self.prefill + self.decode
    }

    /// In the batch, µs.
    pub fn inference(&self) -> u64 {
        self.prefill + self.decode
    }

    /// Tokenizing and checking, before the queue, µs.
    pub fn validation(&self) -> u64 {
        150 + self.prompt_tokens
    }
}

/// Forward passes of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Passes {
    /// Whether prompts are computed, or one more token for each running request.
    pub prefill: bool,
    /// How many passes.
    pub count: u64,
    /// Tokens in each.
    pub tokens: u64,
    /// Requests in each.
    pub batch: u64,
    /// Duration of each, µs.
    pub duration: u64,
}

impl Passes {
    /// The model's part of each pass, µs.
    pub fn forward(&self) -> u64 {
        self.duration - self.detokenize() - self.filter()
    }

    /// Turning token numbers into text, µs.
    pub fn detokenize(&self) -> u64 {
        (3 * self.batch).min(self.duration / 4)
    }

    /// Sending tokens and dropping finished requests from the batch, µs.
    pub fn filter(&self) -> u64 {
        (20 + self.batch).min(self.duration / 4)
    }
}

/// The engine's load, for one period.
pub struct Load {
    seed: u64,
    /// Share of full load in prompts and in tokens, and KV use, at each second of the period.
    rows: Vec<[f64; 3]>,
}

/// Keeps independent uses of the seed apart.
#[derive(Clone, Copy)]
enum Salt {
    Arrivals = 1000,
    ArrivalsPart,
    Finish,
    Queue,
    Prefill,
    PerToken,
    Prompt,
    Cached,
    Generation,
    Preemptions,
    Passes,
    Drafts,
    Rejections,
}

impl Load {
    /// Computes one period. The same arguments give the same load.
    pub fn new(workload: Workload, seed: u64) -> Self {
        let mut state = [0.0; 3];
        let mut rows = Vec::new();
        // By the third pass the period ends where it begins.
        for _ in 0..3 {
            rows = (0..PERIOD_SECONDS as u32)
                .map(|second| {
                    let phase = workload.phase(f64::from(second));
                    let kv = if phase.loaded { phase.kv_cache } else { 0.0 };
                    let targets = [(phase.tensor, 3.0), (phase.dram, 3.0), (kv, KV_TIME_CONSTANT_SECONDS)];
                    for (level, (target, seconds)) in state.iter_mut().zip(targets) {
                        *level += (target - *level) * (1.0 - (-STEP_SECONDS / seconds).exp());
                    }
                    state
                })
                .collect();
        }
        Self { seed, rows }
    }

    /// The levels of a second under a condition.
    pub fn levels(&self, second: u64, condition: &control::Engine) -> Levels {
        let [prompts, tokens, kv] = self.rows[(second % self.rows.len() as u64) as usize];
        let asleep = condition.asleep == Some(true);
        let stalled = condition.stalled == Some(true) || condition.hung == Some(true);
        let disturbed = stalled
            || condition.rejection_ratio.is_some()
            || condition.kv_pressure.is_some()
            || condition.waiting.is_some()
            || condition.ttft_seconds.is_some()
            || condition.itl_seconds.is_some();
        let mut rate = REQUESTS_PER_SECOND * prompts.max(tokens);
        let prompt_tokens = 300.0 + 1500.0 * prompts / (prompts + tokens).max(0.01);
        let generation_tokens = 60.0 + 240.0 * tokens.max(if disturbed { 0.6 } else { 0.0 });
        if disturbed {
            rate = rate.max(REQUESTS_PER_SECOND_DISTURBED);
        }
        if asleep || rate < 0.01 {
            rate = 0.0;
        }
        let rejections = rate * condition.rejection_ratio.unwrap_or(0.0);
        rate -= rejections;
        let kv = if asleep { 0.0 } else { condition.kv_pressure.unwrap_or(kv) };
        let pressure = ((kv - KV_PRESSURE_BEGIN) / (1.0 - KV_PRESSURE_BEGIN)).clamp(0.0, 1.0).powi(2);

        // Little's law: running = tokens per second x time per token, which grows with running.
        let demand = rate * generation_tokens;
        let slowed = 1.0 + 0.5 * pressure;
        let room = (1.0 - demand * ITL_SECONDS_PER_REQUEST * slowed).max(0.05);
        let batch = (demand * ITL_SECONDS * slowed / room).min(RUNNING_MAX);
        let itl_seconds =
            condition.itl_seconds.unwrap_or((ITL_SECONDS + ITL_SECONDS_PER_REQUEST * batch) * slowed);
        let running = (demand * itl_seconds).min(RUNNING_MAX).ceil();

        let mut prefill_seconds = prompt_tokens * (1.0 - CACHED_RATIO) / PREFILL_TOKENS_PER_SECOND
            * (1.0 + running / RUNNING_MAX)
            + 0.02;
        let mut waiting = condition.waiting.map_or((WAITING_MAX * pressure).round(), f64::from);
        let mut queue_seconds = QUEUE_SECONDS;
        if rate > 0.0 {
            queue_seconds += waiting / rate;
        }
        if let Some(ttft) = condition.ttft_seconds {
            prefill_seconds = prefill_seconds.min(ttft);
            queue_seconds = ttft - prefill_seconds;
            if condition.waiting.is_none() {
                waiting = (rate * queue_seconds).round();
            }
        }
        // Clients that lose patience make room for others.
        if stalled && condition.waiting.is_none() {
            waiting = WAITING_MAX;
        }
        if asleep {
            waiting = 0.0;
        }
        let acceptance = condition.acceptance_ratio.unwrap_or(ACCEPTANCE_RATIO);
        let spread = acceptance.min(1.0 - acceptance) / (1.0 - ACCEPTANCE_RATIO);
        let error_ratio = condition.error_ratio.unwrap_or(ERROR_RATIO);
        Levels {
            second,
            awake: !asleep,
            running,
            waiting,
            deferred: if pressure > 0.25 { (waiting / 8.0).floor() } else { 0.0 },
            kv,
            stalled,
            requests_per_second: rate,
            rejections_per_second: rejections,
            prompt_tokens,
            generation_tokens,
            queue_seconds,
            prefill_seconds,
            itl_seconds,
            preemptions_per_second: PREEMPTIONS_PER_SECOND_MAX * pressure,
            error_ratio,
            truncation_ratio: condition.truncation_ratio.unwrap_or(TRUNCATION_RATIO).min(1.0 - error_ratio),
            acceptance: ACCEPTANCE_BY_POSITION.map(|offset| (acceptance + offset * spread).clamp(0.0, 1.0)),
        }
    }

    /// Adds all that finishes in a second.
    pub fn add(&self, second: u64, condition: &control::Engine, totals: &mut Totals) {
        let levels = self.levels(second, condition);
        let row = second % self.rows.len() as u64;
        let unit = |salt: Salt, index: u64| hash::unit(&[self.seed, salt as u64, row, index]);
        if second.is_multiple_of(PROBE_INTERVAL_SECONDS) {
            totals.count(Count::Probes, 1);
        }
        if levels.stalled {
            return;
        }
        let rejected = (levels.rejections_per_second + unit(Salt::Rejections, 0)).floor() as u64;
        totals.count(Count::Rejected, if levels.rejections_per_second > 0.0 { rejected } else { 0 });
        let rate = levels.requests_per_second * (0.8 + 0.4 * unit(Salt::Arrivals, 0));
        let finished = (rate + unit(Salt::ArrivalsPart, 0)).floor() as u64;
        let finished = if levels.requests_per_second > 0.0 { finished } else { 0 };
        let preempted = (levels.preemptions_per_second + unit(Salt::Preemptions, 0)).floor() as u64;
        let preempted = if levels.preemptions_per_second > 0.0 { preempted } else { 0 };
        totals.count(Count::Preemptions, preempted);
        for index in 0..finished {
            let request = request(&levels, |salt| unit(salt, index), u64::from(index < preempted));
            totals.observe_request(&request);
            generate(&levels, &request, unit(Salt::Drafts, index), totals);
        }
        if levels.running > 0.0 {
            for passes in passes(&levels, finished, unit(Salt::Passes, 0)) {
                totals.observe_passes(&passes);
            }
        }
    }
}

/// The gaps between a request's tokens, and the drafts that they came from.
fn generate(levels: &Levels, request: &Request, part: f64, totals: &mut Totals) {
    let gaps = request.generation_tokens - 1;
    for (index, percent) in GAPS.iter().enumerate() {
        let count = (gaps + index as u64) / GAPS.len() as u64;
        totals.observe_gaps((request.per_token * percent / 100).max(1), count);
    }
    let per_draft = 1.0 + levels.acceptance.iter().sum::<f64>();
    let drafts = (request.generation_tokens as f64 / per_draft + part).floor();
    totals.count(Count::Drafts, drafts as u64);
    totals.count(Count::DraftTokens, drafts as u64 * DRAFT_TOKENS);
    for (position, ratio) in
        [Count::Accepted0, Count::Accepted1, Count::Accepted2].into_iter().zip(levels.acceptance)
    {
        totals.count(position, (drafts * ratio + part).floor().min(drafts) as u64);
    }
}

/// One request out of a second's levels; `unit` returns a random number for a salt.
fn request(levels: &Levels, unit: impl Fn(Salt) -> f64, preemptions: u64) -> Request {
    let micros = |salt, seconds: f64, spread| (spread_out(unit(salt), seconds, spread) * 1e6).max(1.0) as u64;
    let tokens = |salt, mean, spread| spread_out(unit(salt), mean, spread).round().max(2.0) as u64;
    let luck = unit(Salt::Finish);
    let finish = match luck {
        _ if luck < levels.error_ratio => Finish::Error,
        _ if luck < levels.error_ratio + levels.truncation_ratio => Finish::Length,
        _ if luck > 1.0 - ABORT_RATIO => Finish::Abort,
        _ => Finish::Stop,
    };
    let prompt_tokens = tokens(Salt::Prompt, levels.prompt_tokens, 0.6).min(MODEL_LENGTH / 4);
    let generation_tokens = tokens(Salt::Generation, levels.generation_tokens, 0.5).min(MODEL_LENGTH / 8);
    let blocks = prompt_tokens as f64 * (2.0 * CACHED_RATIO * unit(Salt::Cached)) / KV_BLOCK_TOKENS;
    let per_token = micros(Salt::PerToken, levels.itl_seconds, 0.12);
    Request {
        finish,
        queue: micros(Salt::Queue, levels.queue_seconds, 0.4),
        prefill: micros(Salt::Prefill, levels.prefill_seconds, 0.3),
        decode: per_token * (generation_tokens - 1),
        per_token,
        prompt_tokens,
        cached_tokens: blocks.floor() as u64 * KV_BLOCK_TOKENS as u64,
        generation_tokens,
        max_tokens: if finish == Finish::Length {
            generation_tokens
        } else {
            (2 * generation_tokens).next_power_of_two().max(256)
        },
        preemptions,
    }
}

/// The forward passes of a second: as many as the latency between tokens allows, one of them for each prompt.
fn passes(levels: &Levels, finished: u64, part: f64) -> [Passes; 2] {
    let count = (1.0 / levels.itl_seconds.max(1e-3) + part).floor() as u64;
    let batch = levels.running as u64;
    let prefills = finished.min(count);
    [
        Passes {
            prefill: true,
            count: prefills,
            tokens: batch + (levels.prompt_tokens * (1.0 - CACHED_RATIO)) as u64,
            batch: (batch / 16).max(1),
            duration: (levels.prefill_seconds * 1e6) as u64,
        },
        Passes {
            prefill: false,
            count: count - prefills,
            tokens: batch,
            batch,
            duration: (levels.itl_seconds * 1e6) as u64,
        },
    ]
}

/// A positive number about `mean`, spread like a log-logistic distribution cut at 1 in 1000.
fn spread_out(unit: f64, mean: f64, spread: f64) -> f64 {
    let unit = unit.clamp(0.001, 0.999);
    let z = (unit / (1.0 - unit)).ln() / 1.702;
    mean * (spread * z - spread * spread / 2.0).exp()
}

#[cfg(test)]
mod tests {
    use super::Load;
    use crate::control;
    use crate::cycle::{Channel, Cycle, KV_CACHE_RATIO, WEIGHTS_RATIO};
    use crate::profile::Profile;
    use crate::workload::Workload;

    #[test]
    fn the_machines_memory_holds_the_engines_kv_cache() {
        let facts = Profile::open("h100-sxm-8").expect("built in").device;
        let cycle = Cycle::new(&facts.silicon(), Workload::Mixed, 1);
        let load = Load::new(Workload::Mixed, 1);
        let nothing = control::Engine::default();
        for second in 0..600 {
            let kv = load.levels(second, &nothing).kv;
            let fill = cycle.level(Channel::MemoryFill, second as f64);
            assert!((fill - WEIGHTS_RATIO - KV_CACHE_RATIO * kv).abs() < 1e-6, "{second}: {fill} and {kv}");
        }
    }
}
