//! Override files: what they change, what they leave alone, and the messages for mistakes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::Value;
use thresholds::{Format, Kind, Level, Names, Overrides, band_panels, generate};

/// Every generated file.
fn files(overrides: &Overrides) -> BTreeMap<String, String> {
    Kind::ALL.iter().flat_map(|kind| generate(*kind, overrides, Names::Both, Format::Prometheus)).collect()
}

fn fault(file: &str, text: &str) -> String {
    Overrides::parse(file, text).unwrap_err().to_string()
}

#[test]
fn one_bound_moves_its_signal_everywhere_and_nothing_else() {
    let before = files(&Overrides::default());
    let after = files(&Overrides::parse("o.toml", "[signals.memory_used]\nred = 0.95\n").unwrap());
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let changed: BTreeSet<&str> =
        before.iter().filter(|(path, text)| after[*path] != **text).map(|(path, _)| path.as_str()).collect();
    let expected: BTreeSet<&str> = [
        "alerts/gaudi.yaml",
        "alerts/nvidia-dcgm.yaml",
        "alerts/nvidia.yaml",
        "alerts/tests/gaudi_test.yaml",
        "alerts/tests/nvidia-dcgm_test.yaml",
        "alerts/tests/nvidia_test.yaml",
        "alerts/tests/xpu_test.yaml",
        "alerts/xpu.yaml",
        "dashboards/fleet-intel-server.json",
        "dashboards/fleet-nvidia.json",
        "docs/runbooks/GpuHbmNearOom.md",
    ]
    .into();
    assert_eq!(changed, expected);
    for path in changed {
        let (old, new): (Vec<_>, Vec<_>) = (before[path].lines().collect(), after[path].lines().collect());
        assert_eq!(old.len(), new.len(), "{path}");
        let differ: Vec<_> = old.iter().zip(&new).filter(|(old, new)| old != new).collect();
        // Two lines of the state, three of the alert's condition, and description in a rule file, and no others.
        if !path.contains("/tests/") && path.starts_with("alerts/") {
            assert_eq!(differ.len(), 6, "{path}: {differ:#?}");
        }
        for (old, new) in differ {
            let number =
                |line: &str| line.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect::<String>();
            assert_ne!(number(old), number(new), "{path}: {old} | {new}");
            let words =
                |line: &str| line.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect::<String>();
            assert_eq!(words(old), words(new), "{path}");
        }
    }
}

/// Every band of every signal in the data files: signal, band, number.
fn bands() -> Vec<(String, String, f64)> {
    let mut bands = Vec::new();
    for text in [
        include_str!("../catalogue/hardware.toml"),
        include_str!("../catalogue/health.toml"),
        include_str!("../catalogue/engines.toml"),
        include_str!("../catalogue/efficiency.toml"),
    ] {
        let file: toml::Table = text.parse().unwrap();
        for signal in file["signal"].as_array().unwrap() {
            for (name, bound) in signal.get("bounds").and_then(toml::Value::as_table).into_iter().flatten() {
                if ["low_red", "low_amber", "amber", "red"].contains(&name.as_str()) {
                    let number = bound.as_str().unwrap().trim_start_matches(['<', '>', '=']).trim();
                    bands.push((
                        signal["id"].as_str().unwrap().to_owned(),
                        name.clone(),
                        number.parse().unwrap(),
                    ));
                }
            }
        }
    }
    assert!(bands.len() > 30, "{}", bands.len());
    bands
}

/// Every panel of every dashboard by its path and id, and the texts of the dashboards without their panels.
fn panels(overrides: &Overrides) -> (BTreeMap<(String, u64), Value>, Vec<Value>) {
    let mut panels = BTreeMap::new();
    let mut rest = Vec::new();
    for (path, text) in generate(Kind::Dashboards, overrides, Names::Both, Format::Prometheus) {
        if !path.starts_with("dashboards/") {
            rest.push(Value::String(text));
            continue;
        }
        let mut dashboard: Value = serde_json::from_str(&text).unwrap();
        for mut item in dashboard["panels"].take().as_array().unwrap().iter().cloned() {
            let inner = item["panels"].take();
            for panel in inner.as_array().into_iter().flatten().chain([&item]) {
                panels.insert((path.clone(), panel["id"].as_u64().unwrap()), panel.clone());
            }
        }
        rest.push(dashboard);
    }
    (panels, rest)
}

#[test]
fn one_band_moves_one_step_of_the_panels_of_its_signal_and_nothing_else() {
    let (before, rest) = panels(&Overrides::default());
    let shown = band_panels(&Overrides::default());
    let mut unseen = BTreeSet::new();
    for (signal, band, number) in bands() {
        // Near by, so that the bands keep their order.
        let moved = if number == 0.0 { 0.5 } else { number * 0.99 };
        let text = format!("[signals.{signal}]\n{band} = {moved}\n");
        let (mut after, rest_after) = panels(&Overrides::parse("o.toml", &text).unwrap());
        assert_eq!(rest, rest_after, "{text}");
        let own: BTreeSet<_> = shown
            .iter()
            .filter(|shown| shown.signal == signal)
            .map(|shown| (shown.path.clone(), u64::from(shown.panel)))
            .collect();
        let changed: BTreeSet<_> = before
            .iter()
            .filter(|(place, panel)| after[*place] != **panel)
            .map(|(place, _)| place.clone())
            .collect();
        assert_eq!(changed, own, "{text}");
        for place in &changed {
            let (old, new) = (&before[place], after.get_mut(place).unwrap());
            let values = |panel: &Value| -> Vec<(Value, Value)> {
                let steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array().unwrap();
                steps.iter().map(|step| (step["color"].clone(), step["value"].clone())).collect()
            };
            let (steps, moved_steps) = (values(old), values(new));
            let differ: Vec<_> = steps.iter().zip(&moved_steps).filter(|(old, new)| old != new).collect();
            assert_eq!((steps.len(), differ.len()), (moved_steps.len(), 1), "{text}: {differ:?}");
            assert!(differ.iter().all(|(old, new)| old.0 == new.0), "{text}: {differ:?}");
            // Beside the step, only the numbers in the description.
            let words = |text: &str| text.replace(|c: char| c.is_ascii_digit() || c == '.', "");
            let description = new["description"].as_str().unwrap();
            assert_eq!(words(old["description"].as_str().unwrap()), words(description));
            new["description"] = old["description"].clone();
            let (old_field, field) = (&old["fieldConfig"]["defaults"], &mut new["fieldConfig"]["defaults"]);
            field["thresholds"] = old_field["thresholds"].clone();
            // No line is drawn at a bound of 0, where healthy values are.
            if number == 0.0 {
                field["custom"]["thresholdsStyle"] = old_field["custom"]["thresholdsStyle"].clone();
            }
            assert_eq!(old, new, "{text}");
        }
        if own.is_empty() {
            unseen.insert(signal);
        }
    }
    // Flags are seen as their state, which has a tile and a lane like every other; what explains a load has no colours.
    let without = [
        "device_up",
        "dram_active",
        "nvlink_bandwidth",
        "power",
        "sm_occupancy",
        "tensor_active",
        "tensor_active_prefill",
        "throttle",
    ];
    assert_eq!(unseen, without.map(str::to_owned).into());
}

#[test]
fn toml_and_yaml_say_the_same() {
    let toml = "[alerts.GpuHbmNearOom]\nfor = \"10s\"\nseverity = \"warning\"\n[labels]\nteam = \"a\"\n[slo.chat]\nmodels = [\"m1\"]\n";
    let yaml = "alerts:\n  GpuHbmNearOom:\n    for: 10s\n    severity: warning\nlabels: {team: a}\nslo:\n  chat:\n    models: [m1]\n";
    assert_eq!(
        files(&Overrides::parse("o.toml", toml).unwrap()),
        files(&Overrides::parse("o.yaml", yaml).unwrap())
    );
}

#[test]
fn an_alert_can_be_switched_off_and_a_price_switches_cost_on() {
    let off = files(&Overrides::parse("o.toml", "[alerts.LinkErrors]\nenabled = false\n").unwrap());
    assert!(!off.contains_key("docs/runbooks/LinkErrors.md"));
    assert!(off.values().all(|text| !text.contains("alert: LinkErrors")));
    let priced = files(&Overrides::parse("o.toml", "[prices]\nnvidia = 2.5\n").unwrap());
    assert!(priced["alerts/cost.yaml"].contains("vector(2.5)") && !off.contains_key("alerts/cost.yaml"));
}

#[test]
fn operators_say_what_they_want() {
    let rules = |text: &str| -> BTreeMap<String, String> {
        let overrides = Overrides::parse("o.toml", text).unwrap();
        generate(Kind::Rules, &overrides, Names::Both, Format::Prometheus).into_iter().collect()
    };
    for (text, path, found) in [
        (
            "[jobs]\nexporter = [\"monitoring/acc*\", \"gpu-*\"]",
            "alerts/exporter.yaml",
            "monitoring/acc.*|gpu-.*|",
        ),
        ("[slo.chat]\nmodels = [\"meta-llama/*-Instruct\"]", "alerts/engine.yaml", "meta-llama/.*-Instruct"),
        ("[slo.embedding]\nttft = 0.2\nmodels = [\"bge-m3\"]", "alerts/slo.yaml", "slo_class: embedding"),
        ("[slo.default]\nmin_requests = 50", "alerts/slo.yaml", ">= 50"),
        ("[alerts.GpuHbmNearOom]\nkeep_firing_for = \"17m\"", "alerts/nvidia.yaml", "keep_firing_for: 17m"),
        ("[alerts.GpuHbmNearOom]\nlabels = { pager = \"gpu\" }", "alerts/nvidia.yaml", "pager: gpu"),
        ("[alerts.LlmSloBudgetBurn]\nseverity = \"warning\"", "alerts/slo.yaml", "severity: warning"),
        ("node_label = \"Hostname\"", "alerts/engine.yaml", "by (cluster, Hostname)"),
        ("node_label = \"Hostname\"", "alerts/exporter.yaml", "{{ $labels.Hostname }}"),
        ("tenant_label = \"team\"", "alerts/slo.yaml", "by (cluster, namespace, team, model)"),
        ("[severities]\ncritical = \"page\"", "alerts/nvidia.yaml", "severity: page"),
        (
            "[[signals.temperature.where]]\ndevice_model = \"*T4\"\nred = 95",
            "alerts/nvidia.yaml",
            "accel_device_info{family=\"nvidia\",model=~\".*T4\"}))) >= 95",
        ),
        (
            "[[signals.temperature.where]]\ndevice_model = \"*T4\"\nred = 95",
            "alerts/nvidia-dcgm.yaml",
            "modelName=~\".*T4\"",
        ),
        (
            "[[alerts.GpuHbmNearOom.where]]\nfamily = \"gaudi\"\nlimit = 0.98",
            "alerts/gaudi.yaml",
            "where: family=gaudi",
        ),
        (
            "[alerts.GpuThermalOrPowerThrottle]\nreasons = [\"hw_thermal\"]",
            "alerts/nvidia.yaml",
            "reason=~\"hw_thermal\"",
        ),
        ("[slo]\nperiod = \"7d\"", "alerts/slo.yaml", "[7d]"),
        (
            "[[slo.windows]]\nfactor = 10\nlong = \"1h\"\nshort = \"10m\"\nseverity = \"warning\"",
            "alerts/slo.yaml",
            "llm:slo_error:ratio_rate10m",
        ),
        ("[slo.default]\nqueue = 3", "alerts/slo.yaml", "> bool 3"),
        ("[engines]\nvllm = [\"acme_\"]", "alerts/engine.yaml", "acme_num_requests_running"),
    ] {
        assert!(rules(text)[path].contains(found), "{text}");
        assert!(!rules("")[path].contains(found), "{text}");
    }
    // A window whose burn no share of failures can reach is left out.
    let wide = &rules("[slo.default]\nobjectives = { success = 0.9 }")["alerts/slo.yaml"];
    assert!(!wide.contains("> 1.44") && wide.contains("> 0.6"));
    for (text, gone) in [
        ("leave_out = [\"gaudi\", \"efficiency\"]", "alerts/efficiency.yaml"),
        ("leave_out = [\"gaudi\"]", "alerts/gaudi.yaml"),
        ("leave_out = [\"monitoring\"]", "alerts/prometheus.yaml"),
        ("[alerts.GpuThermalOrPowerThrottle]\nreasons = [\"hw_thermal\"]\n", "alerts/xeon.yaml: GpuThermal"),
    ] {
        let rules = rules(text);
        match gone.split_once(": ") {
            Some((path, alert)) => assert!(!rules[path].contains(alert), "{text}"),
            None => assert!(!rules.contains_key(gone), "{text}"),
        }
    }
    let nvidia = rules("families = [\"nvidia\"]");
    assert!(nvidia.contains_key("alerts/nvidia.yaml") && !nvidia.contains_key("alerts/gaudi.yaml"));
    let one = rules("[alerts.LlmSloBudgetBurn]\nsli = [\"ttft\"]");
    assert_eq!(one["alerts/slo.yaml"].matches("alert: LlmSloBudgetBurn").count(), 4);
}

#[test]
fn the_operators_objects_carry_what_it_finds_them_by() {
    let text = "[operator]\nnamespace = \"monitoring\"\nlabels = { release = \"kube-prometheus-stack\" }";
    let overrides = Overrides::parse("o.toml", text).unwrap();
    for (path, text) in generate(Kind::Rules, &overrides, Names::Both, Format::Operator) {
        let object: Value = serde_saphyr::from_str(&text).unwrap();
        let metadata = &object["metadata"];
        assert_eq!(metadata["namespace"], "monitoring", "{path}");
        assert_eq!(metadata["labels"]["release"], "kube-prometheus-stack", "{path}");
        assert_eq!(metadata["labels"]["app.kubernetes.io/name"], "accelscope", "{path}");
    }
}

#[test]
fn of_several_files_the_later_one_counts() {
    let first =
        "[alerts.GpuHbmNearOom]\nlimit = 0.93\nfor = \"7m\"\n[slo.bots]\nttft = 4\nmodels = [\"b*\"]\n";
    let second = "alerts:\n  GpuHbmNearOom:\n    limit: 0.94\nslo:\n  bots: {ttft: 5}\n";
    let both = Overrides::parse("first.toml", first).unwrap().and("second.yaml", second).unwrap();
    let one = "[alerts.GpuHbmNearOom]\nlimit = 0.94\nfor = \"7m\"\n[slo.bots]\nttft = 5\nmodels = [\"b*\"]\n";
    assert_eq!(files(&both), files(&Overrides::parse("one.toml", one).unwrap()));
    // What two files say must fit each other, and the error is in the later one.
    let error = both.and("third.toml", "\n[slo.chat]\nmodels = [\"bert\"]").unwrap_err().to_string();
    assert!(error.starts_with("third.toml:3: ") && error.contains("bots"), "{error}");
}

#[test]
fn money_has_the_operators_currency_and_a_price_for_each_model() {
    let text = "[prices]\ncurrency = \"EUR\"\nnvidia = 2\n[prices.device_models]\n\"*H100*\" = 3.5\n\
                [[prices.tokens]]\nmodel = \"llama*\"\nprompt = 0.5\ngeneration = 1.5\n";
    let overrides = Overrides::parse("o.toml", text).unwrap();
    let rules = generate(Kind::Rules, &overrides, Names::Both, Format::Prometheus);
    let (_, cost) = rules.iter().find(|(path, _)| path == "alerts/cost.yaml").unwrap();
    for found in [
        "accel:price:eur_per_hour",
        "node:accel_cost:eur_per_hour",
        "llm:cost_per_million_tokens:eur",
        "model=~\".*H100.*\"})) * 3.5",
        "llm:tokens:rate5m{kind=\"generation\",model=~\"llama.*\"} * 0.0054",
    ] {
        assert!(cost.contains(found), "{found}: {cost}");
    }
    assert!(!cost.contains("dollars"), "{cost}");
}

#[test]
fn no_alert_and_no_recording_is_at_both_levels() {
    let mut names: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    let files = generate(Kind::Rules, &Overrides::default(), Names::Both, Format::Prometheus);
    for file in &files {
        let rules: Value = serde_saphyr::from_str(&file.1).unwrap();
        for rule in
            rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap())
        {
            let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap();
            names.entry(name.to_owned()).or_default().insert(Level::Global.has(file));
            assert_ne!(Level::Global.has(file), Level::Site.has(file));
        }
    }
    assert!(names.values().all(|levels| levels.len() == 1), "{names:?}");
    // A centre reads what it gets from its sites, and nothing else.
    let all = generate(Kind::Federation, &Overrides::default(), Names::Both, Format::Prometheus);
    let listed = &all.iter().find(|(path, _)| path.ends_with("federate.yaml")).unwrap().1;
    let (_, fleet) = files.iter().find(|(path, _)| path == "alerts/global/fleet.yaml").unwrap();
    let word = |c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':';
    for name in
        fleet.split(word).filter(|word| ["cluster:", "llm:", "accel:"].iter().any(|p| word.starts_with(p)))
    {
        assert!(listed.contains(name), "{name} is not federated");
    }
}

#[test]
fn every_wish_is_met_or_refused_with_its_line() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/wishes");
    let mut refused = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if let Err(error) = Overrides::parse("wish.toml", &std::fs::read_to_string(&path).unwrap()) {
            let error = error.to_string();
            assert!(error.starts_with("wish.toml:") && error.lines().count() == 1, "{name}: {error}");
            refused.insert(name);
        }
    }
    // What would overwrite labels of the series, match nothing, or leave a window without samples.
    let expected = ["cluster_label", "interval2", "jobs_regex", "namespace", "regex_models"];
    assert_eq!(refused, expected.map(str::to_owned).into());
}

#[test]
fn a_rate_window_moves_every_rate_and_no_name() {
    let after =
        files(&Overrides::parse("o.toml", "scrape_interval = \"2s\"\nrate_window = \"8s\"\n").unwrap());
    for (path, old, new) in [
        (
            "alerts/nvidia.yaml",
            "busy_seconds_total{family=\"nvidia\"}[5m]",
            "busy_seconds_total{family=\"nvidia\"}[8s]",
        ),
        (
            "alerts/nvidia.yaml",
            "accel_error_last_timestamp_seconds{family=\"nvidia\"} offset 5m",
            "accel_error_last_timestamp_seconds{family=\"nvidia\"} offset 8s",
        ),
        ("alerts/nvidia.yaml", "- time()) < 300", "- time()) < 8"),
        (
            "alerts/nvidia.yaml",
            "accel_memory_used_bytes{family=\"nvidia\"}[2m]",
            "accel_memory_used_bytes{family=\"nvidia\"}[3s]",
        ),
        (
            "alerts/nvidia.yaml",
            "accel_link_errors_total{family=\"nvidia\"}[15m]",
            "accel_link_errors_total{family=\"nvidia\"}[24s]",
        ),
        (
            "alerts/engine.yaml",
            "rate(vllm:request_success_total[5m])",
            "rate(vllm:request_success_total[8s])",
        ),
        ("docs/runbooks/GpuThermalOrPowerThrottle.md", "of the last 5m", "of the last 8s"),
    ] {
        assert!(files(&Overrides::default())[path].contains(old), "{path}: {old}");
        assert!(!after[path].contains(old) && after[path].contains(new), "{path}: {new}");
    }
    let records = |files: &BTreeMap<String, String>| -> Vec<String> {
        let lines = files["alerts/nvidia.yaml"].lines().filter(|line| line.contains("record:"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(records(&after), records(&files(&Overrides::default())));
    // With a longer window, longer scrapes.
    assert!(Overrides::parse("o.toml", "rate_window = \"10m\"\nscrape_interval = \"2m\"\n").is_ok());
}

#[test]
fn what_is_seldom_stays_seldom_in_proportion() {
    let interval = |text: &str| {
        let rules = files(&Overrides::parse("o.toml", text).unwrap()).remove("alerts/nvidia.yaml").unwrap();
        let group = rules.split("- name: ").find(|group| group.starts_with("accelscope-nvidia-signals-1m\n"));
        let line = group.unwrap().lines().nth(1).unwrap();
        line.trim().strip_prefix("interval: ").unwrap().to_owned()
    };
    for (text, expected) in [
        ("", "1m"),
        ("scrape_interval = \"5s\"", "20s"),
        ("scrape_interval = \"15s\"", "1m"),
        // A recording is read for five minutes: it never comes later than the catalogue says.
        ("scrape_interval = \"30s\"", "1m"),
        ("scrape_interval = \"75s\"", "75s"),
    ] {
        assert_eq!(interval(text), expected, "{text}");
    }
}

#[test]
fn mistakes_are_told_with_their_line_and_mend() {
    for (text, line, word) in [
        ("[signals.memory_used]\nreed = 0.9", 2, "red"),
        ("\n[signals.memory_usd]\nred = 0.9", 2, "memory_used"),
        ("[signals.memory_used]\namber = 0.95", 1, "order"),
        ("[signals.memory_used]\nred = 95", 2, "share"),
        ("[signals.memory_used]\nred = -1", 2, "zero or more"),
        ("[signals.memory_used]\nred = nan", 2, "number"),
        ("[signals.memory_used]\nred = \"0.9\"", 2, "number"),
        ("[alerts.GpuHbmNearOom]\nfor = \"5 minutes\"", 2, "duration"),
        ("[alerts.GpuHbmNearOom]\nfor = 5", 2, "duration"),
        ("rate_window = \"59s\"", 1, "4 samples"),
        ("rate_window = \"2h\"", 1, "at most 1h"),
        ("scrape_interval = \"0s\"", 1, "1s or more"),
        ("scrape_interval = \"10s\"\nrate_window = \"39s\"", 1, "4 samples"),
        ("[alerts.GpuHbmNearOom]\nseverity = \"page\"", 2, "critical"),
        ("[alerts.LlmSloBudgetBurn]\nfor = \"5m\"", 2, "enabled"),
        ("[alerts.Gpu]\nfor = \"5m\"", 1, "unknown"),
        ("[slo.chat]\nobjectives = { ttft = 1.5 }", 2, "objective"),
        ("[slo.default]\nmodels = [\"a\"]", 2, "default"),
        ("[slo.chat]\nmodels = [\"a\"]\n[slo.rag]\nmodels = [\"a\"]", 4, "already"),
        ("[labels]\n\"a b\" = \"c\"", 2, "label name"),
        ("[labels]\nseverity = \"c\"", 2, "set by"),
        ("scrape_interval = \"5m\"", 1, "4 samples"),
        ("[prices]\namd = 1", 2, "unknown"),
        // Another value for all would make two series one.
        ("[labels]\ncode = \"gpu\"", 2, "set by"),
        ("[alerts.GpuHbmNearOom]\nlabels = { cluster = \"prod\" }", 2, "set by"),
        // What would match nothing.
        ("[jobs]\nexporter = \"gpu-.*\"", 2, "`gpu-*`"),
        ("[jobs]\nexporter = \"gpu|accelscope\"", 2, "a list"),
        ("[slo.chat]\nmodels = [\"meta-llama/.*-Instruct\"]", 2, "`meta-llama/*-Instruct`"),
        ("families = [\"amd\"]", 1, "unknown"),
        ("[slo.\"Chat bots\"]\nttft = 1", 1, "lower-case"),
        ("[alerts.LlmSloBudgetBurn]\nsli = [\"tftt\"]", 2, "ttft"),
        ("[[alerts.GpuHbmNearOom.where]]\nfor = \"1h\"", 1, "names no label"),
        // A device has no model of a language.
        ("[[alerts.GpuHbmNearOom.where]]\nmodel = \"llama\"", 2, "unknown"),
        ("[alerts.GpuHbmNearOom]\nwhere = 1", 2, "list of tables"),
        ("[alerts.GpuXidErrorDetected]\nseverity = \"warning\"", 2, "codes"),
        ("[jobs]\nexporter = \"gpu-.+\"", 2, "`gpu-*`"),
        ("[slo.chat]\nmodels = [\"llama*\"]\n[slo.rag]\nmodels = [\"llama-guard\"]", 4, "one class"),
        (
            "[[alerts.GpuHbmNearOom.where]]\nnode = \"lab*\"\n[[alerts.GpuHbmNearOom.where]]\nnode = \"lab-1\"",
            3,
            "put it after",
        ),
        ("[[alerts.GpuHbmNearOom.where]]\nfamily = \"npu\"", 2, "nvidia"),
        ("[[signals.ttft_p95.where]]\nmodel = \"m\"\nred = 1", 1, "slo.CLASS"),
        ("[[signals.temperature.where]]\ndevice_model = \"T4\"\nred = 60", 1, "order"),
        ("[alerts.GpuThermalOrPowerThrottle]\nreasons = [\"heat\"]", 2, "thermal"),
        ("[alerts.GpuThermalOrPowerThrottle]\nreasons = []", 2, "hw_slowdown"),
        ("[alerts.LinkDown]\nreasons = [\"thermal\"]", 2, "unknown"),
        ("node_label = \"a b\"", 1, "label name"),
        ("node_label = \"device\"", 1, "something else"),
        ("leave_out = [\"gaudy\"]", 1, "gaudi"),
        ("[engines]\nvllm = [\"1x\"]", 2, "begins no name"),
        ("[engines]\nollama = [\"x_\"]", 2, "vllm"),
        ("[operator]\nname = \"x\"", 2, "namespace"),
        ("[severities]\ncritical = \"ticket\"", 2, "another severity"),
        ("[prices]\ncurrency = \"\u{20ac}\"", 2, "label name"),
        ("[prices.device_models]\n\"*H1*\" = 1\n\"*H100*\" = 2", 3, "put it after"),
        ("[[prices.tokens]]\nmodell = \"x\"", 2, "model"),
        ("[slo]\nwindow = \"7d\"", 2, "period"),
        ("[slo]\nperiod = \"1h\"", 2, "a day or more"),
        ("[[slo.windows]]\nfactor = 2\nlong = \"1h\"", 1, "short"),
        ("[[slo.windows]]\nfactor = 2\nlong = \"60d\"\nshort = \"1h\"", 1, "period"),
        ("a = 1\na = 2", 2, "duplicate"),
        ("[signals", 1, ""),
        ("colour = 1", 1, "unknown"),
    ] {
        let said = fault("my.toml", text);
        assert!(said.starts_with(&format!("my.toml:{line}: ")) && said.contains(word), "{text:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(fault("o.yml", "signals:\n  memory_used:\n    red: yes\n").starts_with("o.yml:3: "));
    assert!(fault("o.yml", "a: 1\na: 2\n").starts_with("o.yml:2: "));
}

/// Texts that look like override files, with the signs that break careless writers.
fn documents() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("signals".to_owned()),
        Just("memory_used".to_owned()),
        Just("red".to_owned()),
        Just("alerts".to_owned()),
        Just("GpuHbmNearOom".to_owned()),
        Just("for".to_owned()),
        Just("labels".to_owned()),
        Just("slo".to_owned()),
        Just("chat".to_owned()),
        Just("models".to_owned()),
        "[ -~]{0,12}",
        "\\PC{0,6}",
    ];
    let value = prop_oneof![
        any::<f64>().prop_map(|number| number.to_string()),
        "[0-9]{1,4}[smhdw]?",
        "\"\\PC{0,12}\"",
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("true".to_owned()),
        Just("~".to_owned()),
    ];
    let line = (word.clone(), word, value, 0..5_u8).prop_map(|(a, b, value, shape)| match shape {
        0 => format!("[{a}.{b}]"),
        1 => format!("{a} = {value}"),
        2 => format!("{a}:\n  {b}: {value}"),
        3 => format!("  {a}: {value}"),
        _ => format!("{a} = {{ {b} = {value} }}"),
    });
    prop::collection::vec(line, 0..8).prop_map(|lines| lines.join("\n"))
}

proptest! {
    // Each case generates whole sets of files: few cases, each of them rich.
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_file_makes_a_panic_or_more_than_one_line(text in documents(), yaml: bool) {
        let file = if yaml { "o.yaml" } else { "o.toml" };
        match Overrides::parse(file, &text) {
            Ok(overrides) => prop_assert!(!generate(Kind::Rules, &overrides, Names::Both, Format::Prometheus).is_empty()),
            Err(error) => prop_assert_eq!(error.to_string().lines().count(), 1),
        }
    }

    #[test]
    fn any_label_and_model_come_back_as_they_were(label in "\\PC{1,20}", model in "\\PC{1,20}", raw in prop::collection::vec(any::<char>(), 1..8)) {
        let odd: String = raw.into_iter().collect();
        let quoted = |text: &str| serde_saphyr::to_string(&text).unwrap().trim_end().to_owned();
        for label in [label, odd, "{{ $labels.x }}\n\"'{}".to_owned()] {
            // A bar is between names, and a star with a dot is a regular expression.
            let model = model.replace(['|', '*'], "-");
            let file = format!("[labels]\nteam = {}\n[slo.chat]\nmodels = [{}]\n", toml::Value::String(label.clone()), toml::Value::String(model.clone()));
            let overrides = Overrides::parse("o.toml", &file).map_err(|e| TestCaseError::fail(e.to_string()))?;
            for (path, text) in &files(&overrides) {
                if path.starts_with("docs/") {
                    continue;
                }
                if path.starts_with("dashboards/") {
                    let dashboard: Value = serde_json::from_str(text).map_err(|e| TestCaseError::fail(format!("{path}: {e}")))?;
                    prop_assert!(dashboard["panels"].as_array().unwrap().len() > 10);
                    continue;
                }
                let read: Value = serde_saphyr::from_str(text).map_err(|e| TestCaseError::fail(format!("{path}: {e}")))?;
                if path == "alerts/exporter.yaml" {
                    let written = label.replace("{{", "{{ \"{{\" }}");
                    let found = read["groups"].as_array().unwrap().iter().flat_map(|g| g["rules"].as_array().unwrap());
                    prop_assert!(found.filter(|r| r.get("alert").is_some()).all(|r| r["labels"]["team"] == *written), "{}", quoted(&written));
                }
            }
        }
    }
}
