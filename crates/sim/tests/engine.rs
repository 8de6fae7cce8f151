//! The simulated engines: what they print, that it adds up, and what conditions do to it.
//!
//! `BLESS=1 cargo test -p sim --test engine` writes the golden expositions anew.

// Counts are whole numbers below 2^53: they are equal or they are not.
#![allow(clippy::float_cmp)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use sim::control::Engine as Condition;
use sim::engine::tables::EngineSpec;
use sim::engine::{Engine, Options, Reach, STARTED};
use sim::workload::Workload;

/// In the last seconds of the mixed workload's peak, so that nothing is 0 that could be more.
const INSTANT: u64 = 1_760_000_050;

fn options(engine: EngineSpec) -> Options {
    Options { engine, model: "llama".to_owned(), seed: 1, workload: Workload::Mixed, started: STARTED }
}

fn engine(name: &str, conditions: &[Condition]) -> Engine {
    Engine::new(options(name.parse().expect("a known engine")), conditions).expect("a good engine")
}

/// Every series of an exposition with its value, in a form that is easy to look up.
type Samples = BTreeMap<String, f64>;

fn samples(text: &str) -> Samples {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        (series.to_owned(), value.parse().expect("a number"))
    });
    let map: Samples = pairs.clone().collect();
    assert_eq!(map.len(), pairs.count(), "no series appears twice");
    map
}

fn at(engine: &mut Engine, second: u64) -> Samples {
    engine.advance(second as f64);
    samples(&engine.render())
}

fn sum(samples: &Samples, prefix: &str) -> f64 {
    let matching = samples.iter().filter(|(series, _)| series.starts_with(prefix));
    let values: Vec<f64> = matching.map(|(_, value)| *value).collect();
    assert!(!values.is_empty(), "no series begins with {prefix}");
    values.iter().sum()
}

/// What the text itself says the types are.
fn types(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

/// A series without one of its labels, and that label's value.
fn without<'a>(series: &'a str, label: &str) -> (String, Option<&'a str>) {
    let Some((name, labels)) = series.split_once('{') else { return (series.to_owned(), None) };
    let own = format!("{label}=\"");
    let labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
    let value = labels.iter().find_map(|text| text.strip_prefix(&own)).map(|text| text.trim_end_matches('"'));
    let rest: Vec<&str> = labels.into_iter().filter(|text| !text.starts_with(&own)).collect();
    (if rest.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", rest.join(",")) }, value)
}

/// Checks that every histogram of an exposition adds up within itself.
fn assert_histograms(text: &str) {
    let samples = samples(text);
    let mut checked = 0;
    for (family, _) in types(text).into_iter().filter(|(_, kind)| *kind == "histogram") {
        let mut series: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (name, value) in &samples {
            if name.starts_with(&format!("{family}_bucket{{")) {
                let (rest, le) = without(name, "le");
                let le = le.expect("a bucket has a bound");
                let bound = if le == "+Inf" { f64::INFINITY } else { le.parse().expect("a number") };
                series.entry(rest.replacen("_bucket", "", 1)).or_default().push((bound, *value));
            }
        }
        assert!(!series.is_empty(), "{family} has buckets");
        for (name, mut buckets) in series {
            buckets.sort_by(|one, two| one.0.total_cmp(&two.0));
            let part = |suffix| samples[&name.replacen(family, &format!("{family}{suffix}"), 1)];
            let (count, total) = (part("_count"), part("_sum"));
            assert!(buckets.is_sorted_by(|one, two| one.0 < two.0 && one.1 <= two.1), "{name}: {buckets:?}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{name}");
            let (mut least, mut most, mut below) = (0.0, 0.0, (0.0, 0.0));
            for (bound, cumulative) in buckets {
                let cell = cumulative - below.1;
                least += cell * below.0;
                most += if cell > 0.0 { cell * bound } else { 0.0 };
                below = (bound, cumulative);
            }
            let slack = 1e-9 * total;
            assert!(least <= total + slack && total <= most + slack, "{name}: {least} <= {total} <= {most}");
            checked += 1;
        }
    }
    assert_eq!(checked > 0, types(text).into_values().any(|kind| kind == "histogram"));
}

/// Checks that nothing cumulative has stepped back.
fn assert_monotonic(before: &Samples, after: &Samples, text: &str) {
    assert!(before.keys().all(|series| after.contains_key(series)), "no series goes");
    for (family, kind) in types(text) {
        let suffixes: &[&str] = match kind {
            "counter" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            "summary" => &["_sum", "_count"],
            _ => &[],
        };
        for suffix in suffixes {
            let name = format!("{family}{suffix}");
            let is_own = |series: &str| {
                series.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
            };
            for (series, value) in after.iter().filter(|(series, _)| is_own(series)) {
                // A series that was absent has counted nothing.
                let before = before.get(series).copied().unwrap_or(0.0);
                assert!(before <= *value, "{series}: {before} then {value}");
            }
        }
    }
}

#[test]
fn each_engine_prints_its_golden() {
    for kind in EngineSpec::ALL {
        let mut engine = engine(kind.name, &[]);
        engine.advance(INSTANT as f64);
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/engine-{}.prom", kind.name));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, engine.render()).expect("the golden is written");
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(engine.render() == golden, "{} differs; BLESS=1 to accept, then look at it", path.display());
    }
}

#[test]
fn promtool_parses_each_engine() {
    for kind in EngineSpec::ALL {
        let mut engine = engine(kind.name, &[]);
        engine.advance(INSTANT as f64);
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool is installed");
        // Its complaints are few enough for the pipe: the input can be written first.
        promtool.stdin.take().expect("piped").write_all(engine.render().as_bytes()).expect("it is read");
        let output = promtool.wait_with_output().expect("it ends");
        // 3 is a complaint about names, which are the engines' own; 1 is text that does not parse.
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}: {text}", kind.name);
        assert!(!text.contains("error while linting"), "{}: {text}", kind.name);
    }
}

#[test]
fn the_parts_of_a_request_add_up() {
    let samples = at(&mut engine("vllm", &[]), INSTANT);
    let get = |name: &str| samples[&format!("{name}{{engine=\"0\",model_name=\"llama\"}}")];
    let requests = sum(&samples, "vllm:request_success_total{");
    assert!(requests > 1e6);
    for family in [
        "time_to_first_token_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
        "request_num_preemptions",
        "request_params_n",
        "request_prompt_tokens",
    ] {
        assert_eq!(get(&format!("vllm:{family}_count")), requests, "{family}");
    }
    assert_eq!(get("vllm:prompt_tokens_total"), get("vllm:request_prompt_tokens_sum"));
    assert_eq!(get("vllm:generation_tokens_total"), get("vllm:request_generation_tokens_sum"));
    assert_eq!(
        get("vllm:inter_token_latency_seconds_count"),
        get("vllm:generation_tokens_total") - requests,
        "one gap fewer than tokens"
    );
    assert_eq!(sum(&samples, "vllm:prompt_tokens_by_source_total{"), get("vllm:prompt_tokens_total"));
    let close = |one: f64, two: f64| assert!((one - two).abs() < 1e-9 * one, "{one} and {two}");
    let [e2e, queue, inference] = ["e2e_request_latency", "request_queue_time", "request_inference_time"]
        .map(|name| get(&format!("vllm:{name}_seconds_sum")));
    close(e2e, queue + inference);
    let prefill = get("vllm:request_prefill_time_seconds_sum");
    close(inference, prefill + get("vllm:request_decode_time_seconds_sum"));
    close(get("vllm:time_to_first_token_seconds_sum"), queue + prefill);
    let positions = sum(&samples, "vllm:spec_decode_num_accepted_tokens_per_pos_total{");
    assert_eq!(get("vllm:spec_decode_num_accepted_tokens_total"), positions);
}

#[test]
fn versions_that_have_two_names_agree_with_themselves() {
    let samples = at(&mut engine("vllm-0.10", &[]), INSTANT);
    for (old, new) in [
        ("gpu_cache_usage_perc", "kv_cache_usage_perc"),
        ("gpu_prefix_cache_hits_total", "prefix_cache_hits_total"),
        ("time_per_output_token_seconds_bucket", "inter_token_latency_seconds_bucket"),
    ] {
        assert_eq!(sum(&samples, &format!("vllm:{old}{{")), sum(&samples, &format!("vllm:{new}{{")), "{old}");
    }
    let names = |name| at(&mut engine(name, &[]), INSTANT).into_keys().collect::<String>();
    let [v0, old, new] = ["vllm-0.6", "vllm-0.9", "vllm"].map(names);
    assert!(!v0.contains("kv_cache") && v0.contains("gpu_cache") && !v0.contains("_created"));
    assert!(old.contains("kv_cache") && old.contains("gpu_cache") && !old.contains("inter_token"));
    assert!(!new.contains("gpu_cache") && !new.contains(":time_per_output") && new.contains("_created"));
}

#[test]
fn a_healthy_engine_stays_clear_of_every_alert() {
    let mut engine = engine("vllm", &[]);
    for second in 0..600 {
        engine.advance((INSTANT + second) as f64);
        let now = engine.levels();
        assert!(now.kv < 0.95 && now.waiting <= 10.0 && now.itl_seconds < 0.015, "{now:?}");
        assert!(now.queue_seconds + now.prefill_seconds < 1.0 && now.running < 64.0, "{now:?}");
    }
}

/// Increase of a series over five minutes under a condition that begins with them.
fn increase(condition: Condition) -> impl Fn(&str) -> f64 {
    let begin = INSTANT - 300;
    let mut engine = engine("vllm", &[Condition { at: Some(begin as f64), ..condition }]);
    let before = at(&mut engine, begin);
    let after = at(&mut engine, INSTANT);
    move |prefix| sum(&after, prefix) - sum(&before, prefix)
}

#[test]
fn kv_pressure_makes_requests_wait_and_slows_them() {
    let pressed = increase(Condition { kv_pressure: Some(0.97), ..Condition::default() });
    let healthy = increase(Condition::default());
    assert!(pressed("vllm:num_preemptions_total{") / 300.0 > 0.5);
    let mean = |increase: &dyn Fn(&str) -> f64, name: &str| {
        increase(&format!("vllm:{name}_sum{{")) / increase(&format!("vllm:{name}_count{{"))
    };
    for slower in ["time_to_first_token_seconds", "request_queue_time_seconds", "inter_token_latency_seconds"]
    {
        assert!(mean(&pressed, slower) > 1.1 * mean(&healthy, slower), "{slower}");
    }
    let mut engine = engine("vllm", &[Condition { kv_pressure: Some(0.97), ..Condition::default() }]);
    let now = at(&mut engine, INSTANT);
    assert!(sum(&now, "vllm:kv_cache_usage_perc{") == 0.97);
    assert!(sum(&now, "vllm:num_requests_waiting{") > 10.0);
}

#[test]
fn figures_of_a_condition_are_reached() {
    let slow =
        increase(Condition { ttft_seconds: Some(4.0), itl_seconds: Some(0.2), ..Condition::default() });
    let share = |increase: &dyn Fn(&str) -> f64, family: &str, le: &str| {
        let bucket = format!("vllm:{family}_bucket{{engine=\"0\",le=\"{le}\"");
        increase(&bucket) / increase(&format!("vllm:{family}_count{{"))
    };
    assert!(share(&slow, "time_to_first_token_seconds", "1.0") < 0.02);
    assert!(share(&slow, "time_to_first_token_seconds", "10.0") > 0.95);
    assert!(share(&slow, "inter_token_latency_seconds", "0.1") < 0.05);

    let failing = increase(Condition {
        error_ratio: Some(0.2),
        truncation_ratio: Some(0.3),
        acceptance_ratio: Some(0.4),
        ..Condition::default()
    });
    let all = failing("vllm:request_success_total{");
    let reason = |reason: &str| {
        let own = format!("vllm:request_success_total{{engine=\"0\",finished_reason=\"{reason}\"");
        failing(&own) / all
    };
    assert!((reason("error") - 0.2).abs() < 0.05 && (reason("length") - 0.3).abs() < 0.05);
    let accepted = failing("vllm:spec_decode_num_accepted_tokens_total{")
        / failing("vllm:spec_decode_num_draft_tokens_total{");
    assert!((accepted - 0.4).abs() < 0.03, "{accepted}");
}

#[test]
fn an_engine_asleep_serves_nothing() {
    let asleep = increase(Condition { asleep: Some(true), ..Condition::default() });
    assert_eq!(asleep("vllm:generation_tokens_total{"), 0.0);
    let mut engine = engine("vllm", &[Condition { asleep: Some(true), ..Condition::default() }]);
    let now = at(&mut engine, INSTANT);
    assert_eq!(now["vllm:engine_sleep_state{engine=\"0\",model_name=\"llama\",sleep_state=\"awake\"}"], 0.0);
    assert_eq!(sum(&now, "vllm:num_requests_running{"), 0.0);
}

#[test]
fn a_stalled_engine_keeps_its_batch_and_finishes_nothing() {
    for condition in [
        Condition { stalled: Some(true), ..Condition::default() },
        Condition { hung: Some(true), ..Condition::default() },
    ] {
        let stalled = increase(condition.clone());
        for counter in ["generation_tokens_total", "prompt_tokens_total", "request_success_total"] {
            assert_eq!(stalled(&format!("vllm:{counter}{{")), 0.0, "{counter}");
        }
        let now = at(&mut engine("vllm", std::slice::from_ref(&condition)), INSTANT);
        assert!(sum(&now, "vllm:num_requests_running{") > 0.0);
        assert!(sum(&now, "vllm:num_requests_waiting{") > 10.0);
        assert!(at(&mut engine("tei", &[condition]), INSTANT)["te_queue_size"] > 10.0);
    }
}

#[test]
fn a_dead_engine_comes_back_with_its_counters_at_0() {
    let died = INSTANT as f64 - 300.0;
    let condition =
        Condition { dead: Some(true), at: Some(died), lasts: Some(200.0), ..Condition::default() };
    let mut engine = engine("vllm", &[condition]);
    let before = sum(&at(&mut engine, INSTANT - 301), "vllm:generation_tokens_total{");
    engine.advance(INSTANT as f64 - 200.0);
    assert_eq!(engine.reach(), Reach::Dead);
    let after = at(&mut engine, INSTANT);
    let tokens = sum(&after, "vllm:generation_tokens_total{");
    assert!(engine.reach() == Reach::Up && tokens > 0.0 && tokens < before / 100.0, "{before} {tokens}");
    let created = after["vllm:generation_tokens_created{engine=\"0\",model_name=\"llama\"}"];
    assert_eq!(created, INSTANT as f64 - 100.0, "it was started anew");
}

/// Each engine that counts refusals, with the counter's beginning and that of its accepted requests.
#[test]
fn a_full_engine_refuses_a_share_of_its_requests() {
    for (name, refused, accepted) in [
        ("vllm", "vllm:admission_rejections_total{", "vllm:request_success_total{"),
        ("vllm-ray", "ray_vllm_admission_rejections_total{", "ray_vllm_request_success_total{"),
        ("tgi", "tgi_request_failure{err=\"overloaded\"", "tgi_request_success"),
        (
            "triton",
            "nv_inference_request_failure{model=\"llama\",reason=\"REJECTED\"",
            "nv_inference_request_success{",
        ),
        ("tei", "te_request_failure{err=\"overloaded\"", "te_request_success{"),
        ("tei-rerank", "te_request_failure{err=\"overloaded\"", "te_request_success{"),
        ("ovms", "ovms_requests_rejected{api=\"V3\"", "ovms_requests_accepted{api=\"V3\""),
    ] {
        let full = Condition { rejection_ratio: Some(0.5), ..Condition::default() };
        let now = at(&mut engine(name, &[full]), INSTANT);
        let (refused, accepted) = (sum(&now, refused), sum(&now, accepted));
        assert!((refused / (refused + accepted) - 0.5).abs() < 0.05, "{name}: {refused} of {accepted}");
    }
}

/// What people take for its load counts who asks for readiness.
#[test]
fn a_graph_of_the_model_server_counts_probes_as_successes() {
    let idle = Options { workload: Workload::Idle, ..options("ovms".parse().expect("known")) };
    let mut idle = Engine::new(idle, &[]).expect("a good engine");
    let [before, after] = [INSTANT - 600, INSTANT].map(|second| at(&mut idle, second));
    let grown = |prefix: &str| sum(&after, prefix) - sum(&before, prefix);
    assert_eq!((grown("ovms_requests_success{"), grown("ovms_requests_accepted{")), (60.0, 0.0));
}

#[test]
fn ray_exports_what_its_worker_counts() {
    let [alone, worker] = ["vllm", "vllm-ray"].map(|name| at(&mut engine(name, &[]), INSTANT));
    for name in ["num_requests_running", "generation_tokens_total", "time_to_first_token_seconds_bucket"] {
        assert_eq!(
            sum(&alone, &format!("vllm:{name}{{")),
            sum(&worker, &format!("ray_vllm_{name}{{")),
            "{name}"
        );
    }
    // A counter is there a second time, as a gauge; a histogram whose name ends in `_total` is not.
    assert_eq!(sum(&worker, "ray_vllm_prompt_tokens{"), sum(&worker, "ray_vllm_prompt_tokens_total{"));
    assert!(worker.keys().all(|series| series.contains("WorkerId=") && !series.contains("_created")));
    assert!(worker.keys().any(|series| series.starts_with("ray_vllm_iteration_tokens_total_bucket")));
}

#[test]
fn conditions_are_for_their_model_and_must_make_sense() {
    let condition = Condition { model: Some("qwen".to_owned()), waiting: Some(77), ..Condition::default() };
    let mut other = engine("tgi", std::slice::from_ref(&condition));
    assert!(at(&mut other, INSTANT)["tgi_queue_size"] < 77.0);
    for wrong in [
        Condition { kv_pressure: Some(1.5), ..Condition::default() },
        Condition { ttft_seconds: Some(f64::NAN), ..Condition::default() },
        Condition { at: Some(0.0), lasts: Some(-1.0), ..Condition::default() },
        Condition { lasts: Some(60.0), ..Condition::default() },
        Condition { rejection_ratio: Some(2.0), ..Condition::default() },
    ] {
        let error = other.set_conditions(&[wrong]).expect_err("refused");
        assert!(error.starts_with("engine: ") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn a_series_begins_when_its_client_makes_it() {
    let start = |name: &str| at(&mut engine(name, &[]), STARTED).into_keys().collect::<String>();
    let failed = [("vllm", "finished_reason=\"error\""), ("triton", "reason=\"BACKEND\"")];
    assert!(failed.iter().all(|(name, series)| start(name).contains(series)), "made when the engine starts");
    let absent = [("trtllm", "request_error"), ("tgi", "tgi_request_failure"), ("sglang", "e2e_request")];
    assert!(absent.iter().all(|(name, series)| !start(name).contains(series)), "made by the first event");
}

#[test]
fn a_hostile_model_name_stays_one_label() {
    let mut options = options("triton".parse().expect("known"));
    options.model = "a\"b\\c\nd".to_owned();
    let mut engine = Engine::new(options, &[]).expect("any name will do");
    engine.advance(INSTANT as f64);
    assert!(engine.render().contains("{model=\"a\\\"b\\\\c\\nd\",version=\"1\"}"));
}

fn conditions() -> impl Strategy<Value = Vec<Condition>> {
    let ratio = || proptest::option::of(0.0..=1.0);
    let one = (
        (ratio(), ratio(), ratio(), ratio(), ratio()),
        proptest::option::of(any::<bool>()),
        proptest::option::of(0.0..20.0),
        proptest::option::of(0.0..2.0),
        proptest::option::of(0u32..500),
        proptest::option::of(any::<bool>()),
        proptest::option::of(0.0..4000.0),
        proptest::option::of(0.0..4000.0),
    )
        .prop_map(
            |(
                (kv, errors, truncations, accepted, rejected),
                stalled,
                ttft,
                itl,
                waiting,
                asleep,
                after,
                lasts,
            )| {
                Condition {
                    kv_pressure: kv,
                    error_ratio: errors,
                    truncation_ratio: truncations,
                    acceptance_ratio: accepted,
                    rejection_ratio: rejected,
                    stalled,
                    ttft_seconds: ttft,
                    itl_seconds: itl,
                    waiting,
                    asleep,
                    at: after.map(|after| STARTED as f64 + after),
                    lasts: after.and(lasts),
                    ..Condition::default()
                }
            },
        );
    proptest::collection::vec(one, 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the conditions: nothing steps back, histograms add up, and how often one looks is no matter.
    #[test]
    fn counters_grow_and_add_up(
        kind in 0..EngineSpec::ALL.len(),
        seed in any::<u64>(),
        conditions in conditions(),
        steps in proptest::collection::vec(0u64..1500, 1..5),
    ) {
        let options = Options { seed, ..options(EngineSpec::ALL[kind]) };
        let mut often = Engine::new(options.clone(), &conditions).expect("good conditions");
        let mut second = STARTED;
        let mut before = at(&mut often, second);
        prop_assert!(before.values().all(|value| value.is_finite()));
        for step in steps {
            second += step;
            let after = at(&mut often, second);
            let text = often.render();
            assert_histograms(&text);
            assert_monotonic(&before, &after, &text);
            before = after;
        }
        let mut once = Engine::new(options, &conditions).expect("good conditions");
        once.advance(second as f64);
        prop_assert_eq!(once.render(), often.render());
        once.advance(STARTED as f64);
        prop_assert_eq!(once.render(), often.render(), "time that steps back changes nothing");
    }

    /// A control file that changes while the engine runs leaves what was counted.
    #[test]
    fn a_change_of_conditions_takes_nothing_back(
        kind in 0..EngineSpec::ALL.len(),
        first in conditions(),
        second in conditions(),
        step in 1u64..900,
    ) {
        let mut engine = Engine::new(options(EngineSpec::ALL[kind]), &first).expect("good conditions");
        let before = at(&mut engine, INSTANT);
        engine.set_conditions(&second).expect("good conditions");
        let after = at(&mut engine, INSTANT + step);
        assert_monotonic(&before, &after, &engine.render());
    }
}
