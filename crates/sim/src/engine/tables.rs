//! The engines: one table each, with the names, labels, types, HELP, buckets and order of the real thing.
//!
//! Left out are the series of the language's runtime and web framework (`process_*`, `python_*`, `http_*`),
//! of the GPU and CPU below (Triton's `nv_gpu_*`, `nv_cpu_*`), of features that are off by default (adapters,
//! KV transfer between instances, multi-modal and diffusion models, tracing), and of SGLang and trtllm-serve
//! what describes only their internals. Speculative decoding is on, with three tokens a draft. Of
//! `vllm:cache_config_info` only the labels that readers use are there. Engines that embed and rerank share the load of
//! those that generate: a request's prompt is its text.
//!
//! All are text 0.0.4. vLLM's front end in Rust always returns OpenMetrics; what is imitated here is its
//! front end in Python, with the same names and labels.

use std::str::FromStr;

use super::table::Table;

/// An engine and its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineSpec {
    /// The name that the command line knows it by.
    pub name: &'static str,
    text: &'static str,
    /// Chooses among the families of the text.
    version: &'static str,
    /// Whether Ray's agent exports them.
    under_ray: bool,
}

const fn engine(name: &'static str, text: &'static str, version: &'static str) -> EngineSpec {
    EngineSpec { name, text, version, under_ray: false }
}

impl EngineSpec {
    /// All of them.
    pub const ALL: &[Self] = &[
        engine("vllm", include_str!("tables/vllm.toml"), "0.33"),
        engine("vllm-0.6", include_str!("tables/vllm-v0.toml"), "0.6"),
        engine("vllm-0.9", include_str!("tables/vllm.toml"), "0.9"),
        engine("vllm-0.10", include_str!("tables/vllm.toml"), "0.10"),
        engine("sglang", include_str!("tables/sglang.toml"), "0.5.23"),
        engine("tgi", include_str!("tables/tgi.toml"), "3"),
        engine("trtllm", include_str!("tables/trtllm.toml"), "1"),
        engine("triton", include_str!("tables/triton.toml"), "2"),
        engine("tei", include_str!("tables/tei.toml"), "embed"),
        engine("tei-rerank", include_str!("tables/tei.toml"), "rerank"),
        engine("ovms", include_str!("tables/ovms.toml"), "graph"),
        engine("ovms-model", include_str!("tables/ovms.toml"), "model"),
        EngineSpec { under_ray: true, ..engine("vllm-ray", include_str!("tables/vllm.toml"), "0.33") },
    ];

    /// What the engine exports.
    pub fn table(self) -> Result<Table, String> {
        let table = Table::parse(self.text, self.version)
            .map_err(|reason| format!("engine {}: {reason}", self.name))?;
        Ok(if self.under_ray { table.under_ray() } else { table })
    }
}

impl FromStr for EngineSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().find(|kind| kind.name == text).copied().ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.name).collect();
            format!("engine {text:?}: one of {}", names.join(", "))
        })
    }
}
