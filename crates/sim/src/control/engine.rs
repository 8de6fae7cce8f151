//! `[[engine]]`: what is wrong with a simulated inference engine.

use serde::{Deserialize, Serialize};

/// A condition of an inference engine. What it does not say stays as the workload has it; of two that are
/// active at once, the later one in the list wins, key by key.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// The model whose engine it is; absent is every engine that reads the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// KV cache in use, 0 to 1. Near 1, requests wait and are preempted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_pressure: Option<f64>,
    /// Mean time to first token, seconds; what exceeds the prefill is spent in the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_seconds: Option<f64>,
    /// Mean inter-token latency, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub itl_seconds: Option<f64>,
    /// Share of requests that end in an error, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_ratio: Option<f64>,
    /// Share of requests that end at their token limit, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncation_ratio: Option<f64>,
    /// Share of drafted tokens that are accepted, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acceptance_ratio: Option<f64>,
    /// Requests that wait for room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u32>,
    /// Share of arrivals that are refused because the engine is full, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejection_ratio: Option<f64>,
    /// The engine sleeps: scrapes succeed, and no request is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asleep: Option<bool>,
    /// Its loop stands still: scrapes succeed, what ran stays in the batch, others wait, and nothing is finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled: Option<bool>,
    /// The whole process stands still: the same, and connections are accepted and get no response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hung: Option<bool>,
    /// Scrapes return 503.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<bool>,
    /// The process is gone: connections are closed without a response. When it is back, its counters begin at 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead: Option<bool>,
    /// Begin, unix seconds; absent is from the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
    /// How long it lasts from `at`, in seconds; absent is for ever.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<f64>,
}

impl Engine {
    /// Checks that every figure is one that an engine can have; the error is one line.
    pub fn check(&self) -> Result<(), String> {
        let within = |key: &str, value: Option<f64>, most: f64| match value {
            Some(value) if !(0.0..=most).contains(&value) => {
                Err(format!("engine: {key} = {value}: write a number from 0 to {most}"))
            }
            _ => Ok(()),
        };
        if self.lasts.is_some() && self.at.is_none() {
            return Err("engine: `for` counts from `at`, which is missing".to_owned());
        }
        within("kv_pressure", self.kv_pressure, 1.0)?;
        within("error_ratio", self.error_ratio, 1.0)?;
        within("truncation_ratio", self.truncation_ratio, 1.0)?;
        within("acceptance_ratio", self.acceptance_ratio, 1.0)?;
        within("rejection_ratio", self.rejection_ratio, 1.0)?;
        within("ttft_seconds", self.ttft_seconds, 86_400.0)?;
        within("itl_seconds", self.itl_seconds, 3_600.0)?;
        within("at", self.at, 1e11)?;
        within("for", self.lasts, 1e11)
    }

    /// This condition, overridden by `over`; neither model nor schedule are part of the result.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        Self {
            model: None,
            kv_pressure: over.kv_pressure.or(self.kv_pressure),
            ttft_seconds: over.ttft_seconds.or(self.ttft_seconds),
            itl_seconds: over.itl_seconds.or(self.itl_seconds),
            error_ratio: over.error_ratio.or(self.error_ratio),
            truncation_ratio: over.truncation_ratio.or(self.truncation_ratio),
            acceptance_ratio: over.acceptance_ratio.or(self.acceptance_ratio),
            waiting: over.waiting.or(self.waiting),
            asleep: over.asleep.or(self.asleep),
            rejection_ratio: over.rejection_ratio.or(self.rejection_ratio),
            stalled: over.stalled.or(self.stalled),
            hung: over.hung.or(self.hung),
            down: over.down.or(self.down),
            dead: over.dead.or(self.dead),
            at: None,
            lasts: None,
        }
    }
}
