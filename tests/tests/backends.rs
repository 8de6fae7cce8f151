//! The catalogue of backends: the example becomes rules that promtool takes, each mistake is one line, and the alerts fire
//! over what engines export.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use e2e::{Artefacts, artefacts::repository, process};
use serde_json::{Value, json};

const EXAMPLE: &str = "examples/backends/backends.yaml";

/// Runs the program over a catalogue in `folder`.
fn generate(folder: &Path, catalogue: &str) -> Result<process::Finished> {
    fs::write(folder.join("backends.yaml"), catalogue)?;
    let program = Artefacts::beside_this_program()?.binary("accelscope")?;
    let flags = ["generate", "catalogue", "--backends", "backends.yaml"];
    process::run(Command::new(program).args(flags).current_dir(folder))
}

fn example() -> Result<String> {
    Ok(fs::read_to_string(repository().join(EXAMPLE))?)
}

#[test]
fn the_example_is_taken_and_every_backend_is_a_series() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = generate(folder.path(), &example()?)?.success()?;
    let rules: Value = serde_saphyr::from_str(&output)?;
    let rules = rules["groups"][0]["rules"].as_array().context("rules")?.clone();
    let of = |record: &str| rules.iter().filter(|rule| rule["record"] == record).cloned().collect::<Vec<_>>();
    ensure!(of("llm_backend_info").len() == 6 && of("llm:backend_up:max").len() == 6, "{rules:#?}");
    ensure!(of("llm_backend_capability_info").len() == 9, "{rules:#?}");
    let drafter = of("llm_backend_info").pop().context("the last")?;
    let labels = json!({
        "name": "draft-1b-branch-1", "endpoint": "http://nuc-1.branch-1.example:8001/v3", "backend": "ovms",
        "capabilities": "speculative-draft", "region": "branch-1", "tier": "edge", "model": "llama-3.2-1b",
        "target_model": "llama-3.3-70b", "tokenizer": "llama-3",
    });
    ensure!(drafter["labels"] == labels && drafter["expr"] == "vector(1)", "{drafter}");
    // What the program writes is what it prints.
    let program = Artefacts::beside_this_program()?.binary("accelscope")?;
    let mut write = Command::new(program);
    write.args(["generate", "catalogue", "--backends", "backends.yaml", "-o", "out"]);
    process::run(write.current_dir(folder.path()))?.success()?;
    let file = folder.path().join("out/alerts/catalogue.yaml");
    ensure!(fs::read_to_string(&file)? == output);
    let check = ["check", "rules", "--lint=all", "--lint-fatal"];
    process::run(Command::new("promtool").args(check).arg(&file))?.success()?;
    Ok(())
}

/// What is written instead of what, on which line that is found, and what the message says.
const MISTAKES: [(&str, &str, usize, &str); 22] = [
    ("  backend: vllm\n", "  backend: vlm\n", 8, "`vlm` is unknown in the engines; nearest: vllm"),
    (
        "http://llama-70b-gaudi.inference.svc:8000/v1",
        "HTTP://llama-70b-gaudi.inference.svc:8000/v1",
        14,
        "is neither http nor https; write it as http://host:port",
    ),
    (
        "http://llama-70b-gaudi.inference.svc:8000/v1",
        "http://LLAMA-70b-h100.inference.svc:8000/v1/",
        14,
        "is that of `llama-70b-h100` on line 6; give each backend its own",
    ),
    ("name: llama-70b-gaudi", "name: llama-70b-h100", 13, "a second backend is called `llama-70b-h100`"),
    (
        "target_model: llama-3.3-70b",
        "target_model: llama-3.3-7b",
        43,
        "`llama-3.3-7b` is unknown in the backends; nearest: llama-3.3-70b",
    ),
    (
        "target_model: llama-3.3-70b\n  tokenizer: llama-3",
        "target_model: llama-3.3-70b\n  tokenizer: qwen-3",
        43,
        "`draft-1b-branch-1` has qwen-3 and its target `llama-70b-h100` has llama-3",
    ),
    (
        "target_model: llama-3.3-70b\n  tokenizer: llama-3",
        "target_model: llama-3.3-70b",
        43,
        "add tokenizer to `draft-1b-branch-1`",
    ),
    (
        "  target_model: llama-3.3-70b\n",
        "",
        37,
        "`draft-1b-branch-1` drafts, and for whom is not said; add target_model",
    ),
    ("target_model: llama-3.3-70b", "target_model: draft-1b-branch-1", 43, "drafts itself"),
    ("capabilities: [rerank]", "capabilities: []", 28, "capabilities is empty; list at least one"),
    (
        "capabilities: [rerank]",
        "capabilities: [rerank, rerank]",
        28,
        "`rerank` is listed twice in capabilities",
    ),
    ("capabilities: [rerank]", "capability: [rerank]", 28, "nearest: capabilities"),
    ("  region: dc-2\n", "", 13, "`region` of `llama-70b-gaudi` is missing; add it"),
    ("edge: [branch-*]", "edge: [brunch-*]", 4, "`brunch-*` is unknown in the regions of the backends"),
    ("backends:\n", "backend:\n", 5, "nearest: backends"),
    ("http://bge-m3.inference.svc:8080", "bge-m3.inference.svc:8080", 21, "has no scheme"),
    ("http://bge-m3.inference.svc:8080", "http://me:secret@bge-m3.inference.svc", 21, "holds a password"),
    ("http://bge-m3.inference.svc:8080", "http://bge-m3.inference.svc:80800", 21, "has no such port"),
    ("name: bge-m3-xeon", "name: 7", 20, "name is a text; put it in quotes"),
    ("name: bge-m3-xeon", "name: \"\"", 20, "name is empty"),
    (
        "  tokenizer: llama-3\n- name: llama-70b-gaudi",
        "  tokenizer: llama-3\n  tokenizer_sha256: abc\n- name: llama-70b-gaudi",
        13,
        "tokenizer_sha256 is 64 hexadecimal digits",
    ),
    (
        "  tokenizer: llama-3\n- name: llama-70b-gaudi",
        "  tokenizer: llama-3\n  tokenizer_file: nothing.json\n- name: llama-70b-gaudi",
        13,
        "tokenizer_file nothing.json: No such file or directory",
    ),
];

#[test]
fn each_mistake_is_one_line_with_its_place_and_what_to_do() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let example = example()?;
    for (right, wrong, line, message) in MISTAKES {
        ensure!(example.contains(right), "{right:?} is not in the example");
        let output = generate(folder.path(), &example.replacen(right, wrong, 1))?;
        let said = output.stderr.trim_end();
        ensure!(output.code == Some(2) && output.stdout.is_empty(), "{wrong:?}: {said}");
        ensure!(said.contains(&format!("backends.yaml:{line}: ")), "{wrong:?} is on line {line}: {said}");
        ensure!(said.contains(message) && !said.contains('\n'), "{wrong:?}: {message:?} in {said:?}");
    }
    for (whole, message) in
        [("backends: []\n", ":1: `backends` is empty"), ("[", ":"), ("", "`backends` is missing")]
    {
        let output = generate(folder.path(), whole)?;
        let is_line = output.stderr.contains(message) && output.stderr.trim_end().lines().count() == 1;
        ensure!(output.code == Some(2) && is_line, "{whole:?}: {}", output.stderr);
    }
    Ok(())
}

#[test]
fn tokenizers_are_compared_by_their_files_where_these_are_given() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("large.json"), b"{\"vocab\": [1, 2]}")?;
    fs::write(folder.path().join("copy.model"), b"{\"vocab\": [1, 2]}")?;
    fs::write(folder.path().join("other.model"), [0xff, 0, 1])?;
    let catalogue = |of_target: &str, of_drafter: &str| {
        format!(
            "backends:\n- {{name: big, endpoint: 'http://a:1', backend: vllm, capabilities: [chat], region: dc, {of_target}}}\n\
             - {{name: small, endpoint: 'http://b:1', backend: ovms, capabilities: [draft], region: dc, target_model: big,\n\
             \x20   {of_drafter}}}\n"
        )
    };
    // Of printf '{"vocab": [1, 2]}' | sha256sum
    let digest = process::run(Command::new("sha256sum").arg(folder.path().join("large.json")))?.success()?;
    let digest = digest.split(' ').next().context("a digest")?;
    let by_digest = format!("tokenizer: t, tokenizer_sha256: {}", digest.to_uppercase());
    for (of_target, of_drafter) in [
        ("tokenizer_file: large.json", "tokenizer_file: copy.model"),
        ("tokenizer: a, tokenizer_file: large.json", "tokenizer: b, tokenizer_file: ./copy.model"),
        ("tokenizer_file: large.json", by_digest.as_str()),
        ("tokenizer: t", by_digest.as_str()),
    ] {
        generate(folder.path(), &catalogue(of_target, of_drafter))?
            .success()
            .context(of_drafter.to_owned())?;
    }
    for (of_target, of_drafter, message) in [
        ("tokenizer_file: large.json", "tokenizer_file: other.model", ":3: `small` has its tokenizer ("),
        (
            "tokenizer: t, tokenizer_file: large.json",
            "tokenizer: t, tokenizer_file: other.model",
            "use one tokenizer",
        ),
        ("tokenizer: t", "tokenizer_file: copy.model", "add tokenizer to `small`"),
        (
            "tokenizer_file: large.json",
            "tokenizer_file: /dev/zero",
            ":4: tokenizer_file /dev/zero: not a regular file",
        ),
    ] {
        let output = generate(folder.path(), &catalogue(of_target, of_drafter))?;
        ensure!(output.code == Some(2) && output.stderr.contains(message), "{message}: {}", output.stderr);
    }
    Ok(())
}

/// Alerts of the catalogue that fire at a minute, with region and capability or name.
fn fires(minute: u64, expected: &[(&str, &str, &str)]) -> Vec<Value> {
    let alerts =
        ["LlmCapabilityUnserved", "LlmEdgeBackendLost", "LlmEdgeFailover", "LlmDrafterWithoutTarget"];
    let of = |alert: &str| {
        let own = expected.iter().filter(|(name, ..)| *name == alert);
        let samples: Vec<_> = own
            .map(|(name, region, what)| {
                let label = if *name == "LlmDrafterWithoutTarget" { "name" } else { "capability" };
                json!({ "labels": format!("{{region=\"{region}\",{label}=\"{what}\"}}"), "value": 1 })
            })
            .collect();
        let labels = if alert == "LlmDrafterWithoutTarget" { "region, name" } else { "region, capability" };
        let expr = format!("group by ({labels}) (ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})");
        json!({ "expr": expr, "eval_time": format!("{minute}m"), "exp_samples": samples })
    };
    alerts.map(of).into()
}

#[test]
fn alerts_of_the_catalogue_follow_the_engines() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let rules = generate(folder.path(), &example()?)?.success()?;
    fs::write(folder.path().join("catalogue.yaml"), rules)?;
    let (engine, backends) =
        (repository().join("alerts/engine.yaml"), repository().join("alerts/global/backends.yaml"));
    // Up for 20 minutes; then the NUC is dark for 20, then the Gaudi and the H100 too, then all are back.
    let up = |host: &str, values: &str| json!({ "series": format!("up{{job=\"engines\",instance=\"{host}\"}}"), "values": values });
    let seen = |host: &str, metric: &str| json!({ "series": format!("{metric}{{job=\"engines\",instance=\"{host}\"}}"), "values": "0x90" });
    let [h100, gaudi] =
        ["llama-70b-h100", "llama-70b-gaudi"].map(|name| format!("{name}.inference.svc:8000"));
    let checks = [
        fires(19, &[]),
        fires(35, &[("LlmEdgeFailover", "branch-1", "chat")]),
        fires(
            58,
            &[
                ("LlmEdgeBackendLost", "branch-1", "chat"),
                ("LlmCapabilityUnserved", "dc-1", "chat"),
                ("LlmCapabilityUnserved", "dc-1", "code"),
                ("LlmCapabilityUnserved", "dc-1", "long-context"),
                ("LlmCapabilityUnserved", "dc-2", "chat"),
                ("LlmCapabilityUnserved", "dc-2", "code"),
                ("LlmDrafterWithoutTarget", "branch-1", "draft-1b-branch-1"),
            ],
        ),
        fires(75, &[]),
    ]
    .concat();
    let test = json!({
        "rule_files": [engine, "catalogue.yaml", backends],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": [
                up(&h100, "1x39 0x19 1x30"), seen(&h100, "vllm:num_requests_running"),
                up(&gaudi, "1x39 0x19 1x30"), seen(&gaudi, "ray_vllm_num_requests_running"),
                up("bge-m3.inference.svc:8080", "1x90"), seen("bge-m3.inference.svc:8080", "te_queue_size"),
                up("reranker.inference.svc:8000", "1x90"), seen("reranker.inference.svc:8000", "ovms_current_graphs"),
                up("nuc-1.branch-1.example:8000", "1x19 0x39 1x30"),
                seen("nuc-1.branch-1.example:8000", "ovms_current_graphs"),
                up("nuc-1.branch-1.example:8001", "1x90"), seen("nuc-1.branch-1.example:8001", "ovms_current_graphs"),
            ],
            "promql_expr_test": checks,
        }],
    });
    let file = folder.path().join("test.yaml");
    fs::write(&file, test.to_string())?;
    process::run(Command::new("promtool").args(["test", "rules"]).arg(&file))?.success()?;
    Ok(())
}
