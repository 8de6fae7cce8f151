//! What a catalogue says, as recording rules. A rule file is where Prometheus takes constants from without a further
//! server: they come and go with the file, carry no labels of a target, and are checked by promtool.

use super::Backend;
use crate::{
    catalogue::{escape, glob},
    output::{Group, Labels, Rule, RuleFile},
};

/// The rules of a catalogue, over the recorded states of engines.
pub(super) fn file(backends: &[Backend], engine_up: &str) -> RuleFile {
    let rules = backends.iter().flat_map(|backend| of(backend, engine_up)).collect();
    let group = Group { name: "accelscope-catalogue".to_owned(), interval: Some("1m".to_owned()), rules };
    RuleFile { groups: vec![group] }
}

fn of(backend: &Backend, engine_up: &str) -> Vec<Rule> {
    let tier = if backend.is_edge { "edge" } else { "dc" };
    let common = [
        ("name", backend.name.as_str()),
        ("region", &backend.region),
        ("tier", tier),
        ("model", &backend.model),
    ];
    let rule = |record: &str, expr: String, more: &[(&str, &str)]| {
        let labels = common.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Rule { record: Some(record.to_owned()), expr, labels: labels.collect::<Labels>(), ..Rule::default() }
    };
    let constant = || "vector(1)".to_owned();
    let capabilities = backend.capabilities.join(",");
    let info = [
        ("endpoint", Some(backend.endpoint.as_str())),
        ("backend", Some(&backend.engine)),
        ("capabilities", Some(&capabilities)),
        ("target_model", backend.target.as_deref()),
        ("tokenizer", backend.tokenizer.as_deref()),
    ];
    let info: Vec<_> = info.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let mut rules = vec![
        rule("llm_backend_info", constant(), &info),
        rule("llm:backend_up:max", up(backend, engine_up), &[]),
    ];
    let can = backend.capabilities.iter();
    rules.extend(can.map(|can| rule("llm_backend_capability_info", constant(), &[("capability", can)])));
    rules
}

/// 1 while a replica responds and does not stand still, else 0, also where none was ever seen.
fn up(backend: &Backend, engine_up: &str) -> String {
    let instances: Vec<_> = backend.instances.iter().map(|instance| escape(&glob(instance))).collect();
    let cluster = backend.cluster.as_ref();
    let cluster = cluster.map(|cluster| format!("cluster=\"{}\",", escape(cluster))).unwrap_or_default();
    format!(
        "max(\n  {engine_up}{{{cluster}instance=~\"{}\"}}\n    unless on (cluster, job, instance) ALERTS{{alertname=\"EngineStalled\",alertstate=\"firing\"}}\n) or vector(0)",
        instances.join("|")
    )
}
