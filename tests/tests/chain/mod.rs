//! The whole way of an alert: a cause in a simulated machine or engine, the real exporter, Debian's
//! Prometheus with the generated rules, Debian's Alertmanager, a webhook. Minutes are shortened by an
//! override file and nothing else, as far as the machine keeps up.

#![expect(clippy::float_cmp, reason = "flags and counts are printed and parsed exactly")]

mod fleet;
mod lab;
mod storms;

use std::{collections::BTreeSet, fs, time::Instant};

use anyhow::{Result, ensure};
use e2e::{Exporter, Node, ScrapeJob, SimEngine, wait::Final};
use lab::{ANY, Chain, Consequence, Expected, Pace, at_a_pace};
use sim::{
    Control,
    control::{Ecc, Engine, Fault, Heat, Memory, Scope, Severity, Xid},
};

/// A machine whose tables are `control`, and its exporter.
struct Machine {
    node: Node,
    exporter: Exporter,
    name: &'static str,
}

impl Machine {
    fn start(profile: &str, name: &'static str, seed: u64, flags: &[&str]) -> Result<Self> {
        let node = Node::new(profile)?.named(name).seeded(seed).workload("prefill").with_bus()?;
        // Steered from the beginning, so that what changes is the file's content alone.
        node.control(&Control::default())?;
        let mut exporter = node.start(flags)?;
        exporter.process.quiet();
        // A fleet in service, not one that starts: integrals have begun before anybody looks.
        exporter.until("the rates of two readings are there", |samples| {
            let tensor = samples.value("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", &[("gpu", "0")])?;
            ensure!(tensor > 0.5, "{tensor}");
            Ok(())
        })?;
        Ok(Self { node, exporter, name })
    }

    fn job(&self, job: &'static str) -> ScrapeJob {
        ScrapeJob::new(job, self.exporter.address).label("cluster", "lab").label("node", self.name)
    }

    /// An engine on this machine, steered by its control file.
    fn engine(&self, kind: &'static str, model: &'static str) -> Result<(SimEngine, ScrapeJob)> {
        let engine = SimEngine::start(kind, model, "prefill", &self.node.control_file())?;
        let mut job = ScrapeJob::new(kind, engine.address)
            .label("cluster", "lab")
            .label("node", self.name)
            .label("namespace", "inference")
            .label("pod", format!("{model}-0"));
        if kind == "trtllm" {
            job.path = "/prometheus/metrics";
        }
        Ok((engine, job))
    }
}

/// What is wrong with a machine, one device each, and with the engines on it.
fn troubles() -> Control {
    Control {
        memory: vec![Memory { device: 0, fill: 0.97 }],
        heat: vec![Heat { device: 1, celsius: 60.0 }],
        xid: vec![Xid { id: 1, device: 2, code: 79, ..Xid::default() }],
        ecc: vec![Ecc { device: 3, severity: Severity::Uncorrectable, scope: Scope::Dram, count: 1 }],
        fault: vec![Fault::lost().device(4)],
        engine: vec![
            Engine { model: Some("full".to_owned()), kv_pressure: Some(0.97), ..Engine::default() },
            Engine { model: Some("late".to_owned()), ttft_seconds: Some(4.0), ..Engine::default() },
        ],
        ..Control::default()
    }
}

/// The alerts of those engines, by the jobs that scrape them, and what else follows from a queue.
fn of_engines(node: &'static str) -> (Vec<Expected>, Vec<Consequence>) {
    let labels = |job, pod, model| {
        vec![
            ("cluster", "lab"),
            ("instance", ANY),
            ("job", job),
            ("model", model),
            ("namespace", "inference"),
            ("node", node),
            ("pod", pod),
            ("severity", "warning"),
        ]
    };
    let mut late = labels("sglang", "late-0", "late");
    late.push(("slo_class", "default"));
    let expected = vec![
        Expected::new("LlmKvCachePoolNearFull", "KV pool 97% full", labels("vllm", "full-0", "full")),
        Expected::new("LlmTtftP95OutOfSlo", "first token after 4 s", late),
    ];
    let consequences = vec![
        Consequence { alert: "KvCacheThrash", label: ("model", "full"), why: "a full pool preempts" },
        Consequence {
            alert: "LlmTtftP95OutOfSlo",
            label: ("model", "full"),
            why: "requests wait for the pool",
        },
        Consequence {
            alert: "LlmRequestsQueued",
            label: ("model", "late"),
            why: "requests wait, the pool has room",
        },
        Consequence {
            alert: "LlmRequestsQueued",
            label: ("model", "full"),
            why: "requests wait for the pool",
        },
        Consequence {
            alert: "LlmQueueDelaysUsers",
            label: ("model", "full"),
            why: "the queue is long and the first token late",
        },
        Consequence {
            alert: "LlmQueueDelaysUsers",
            label: ("model", "late"),
            why: "the queue is long and the first token late",
        },
        Consequence {
            alert: "LlmItlP95OutOfSlo",
            label: ("model", "full"),
            why: "preempted text comes late",
        },
        Consequence { alert: "LlmItlP95OutOfSlo", label: ("model", "late"), why: "the engine is slow" },
        Consequence { alert: "DeviceOverheating", label: ("device", "gpu1"), why: "heat also slows it down" },
        Consequence { alert: "RecoveryActionNeeded", label: ("node", "sick"), why: "errors ask for a reset" },
        Consequence { alert: "MemoryRepairPending", label: ("node", "sick"), why: "a row waits for a reset" },
    ];
    (expected, consequences)
}

#[test]
fn every_critical_alert_reaches_the_webhook_and_a_healthy_fleet_raises_none() -> Result<()> {
    at_a_pace(whole_chain)
}

fn whole_chain(pace: Pace) -> Result<()> {
    let start = Instant::now();
    // Both vocabularies and all rule files, as they come: one page per cause all the same.
    let incident = ["--incident.enable"];
    let calm = Machine::start("h100-sxm-8", "calm", 1, &incident)?;
    let sick = Machine::start("h100-sxm-8", "sick", 2, &incident)?;
    let mut killed = Machine::start("h100-sxm-4", "killed", 3, &[])?;
    // Its batch system gives the GPU to nobody so far.
    let jobs_of_spare = tempfile::tempdir()?;
    let spare = Node::new("t4-1")?.named("spare").seeded(4).workload("idle").with_bus()?;
    let folder = jobs_of_spare.path().display().to_string();
    let mut holding = spare.start(&["--workloads.job-mapping", &folder, "--workloads.interval", "1s"])?;
    holding.process.quiet();
    let spare_job =
        ScrapeJob::new("accelscope", holding.address).label("cluster", "lab").label("node", "spare");
    let mut jobs = vec![calm.job("accelscope"), sick.job("accelscope"), killed.job("accelscope"), spare_job];
    let mut engines = Vec::new();
    let healthy = [
        ("vllm", "chat"),
        ("vllm-0.6", "old"),
        ("sglang", "agent"),
        ("tgi", "summary"),
        ("trtllm", "search"),
        ("triton", "rank"),
    ];
    for (kind, model) in healthy {
        engines.push(calm.engine(kind, model)?);
    }
    engines.push(sick.engine("vllm", "full")?);
    engines.push(sick.engine("sglang", "late")?);
    jobs.extend(engines.iter().map(|(_, job)| job.clone()));

    let addresses = [calm.exporter.address, sick.exporter.address];
    let chain = Chain::start(pace, "unified,vendor", &jobs, &addresses)?;
    let calm_so_far = chain.settled(jobs.len()).and_then(|()| chain.quiet());
    chain.judged("", calm_so_far)?;

    let device = |device, severity| {
        vec![
            ("cluster", "lab"),
            ("device", device),
            ("family", "nvidia"),
            ("instance", ANY),
            ("job", "accelscope"),
            ("node", "sick"),
            ("severity", severity),
            ("uuid", ANY),
        ]
    };
    let mut xid = device("gpu2", "critical");
    xid.extend([("kind", "xid"), ("code", "79"), ("action", "RESTART_BM")]);
    let down = vec![
        ("cluster", "lab"),
        ("instance", ANY),
        ("job", "accelscope"),
        ("node", "killed"),
        ("severity", "critical"),
    ];
    // The holder is in no label of the device's own series.
    let held = vec![
        ("cluster", "lab"),
        ("device", "gpu0"),
        ("family", "nvidia"),
        ("holder", "4711"),
        ("instance", ANY),
        ("node", "spare"),
        ("severity", "ticket"),
        ("uuid", ANY),
        ("workload_kind", "slurm"),
    ];
    let (mut expected, consequences) = of_engines("sick");
    expected.extend([
        Expected::new("DeviceIdle", "a job has the GPU and waits", held),
        Expected::new("GpuHbmNearOom", "HBM fills to 97%", device("gpu0", "critical")),
        Expected::new("GpuThermalOrPowerThrottle", "60 °C hotter", device("gpu1", "warning")),
        Expected::new("GpuXidErrorDetected", "XID 79", xid),
        Expected::new("GpuEccDoubleBit", "double-bit error", device("gpu3", "critical")),
        Expected::new("DeviceLost", "device off the bus", device("gpu4", "critical")),
        Expected::new("ExporterDown", "exporter killed", down),
    ]);
    let cause = Instant::now();
    sick.node.control(&troubles())?;
    fs::write(jobs_of_spare.path().join("0"), "4711\n")?;
    killed.exporter.process.signal("KILL")?;
    killed.exporter.process.wait()?;
    let in_trouble = || {
        chain.delivers(&expected, cause)?;
        in_incident_mode(&sick, true)?;
        sick.node.control(&Control::default())?;
        chain.resolves(&["GpuHbmNearOom", "GpuThermalOrPowerThrottle", "DeviceLost"])?;
        in_incident_mode(&sick, false)?;
        let of_calm = calm.exporter.scrape()?;
        let others = of_calm.value("accelscope_incident_alerts_total", &[("result", "other_node")])?;
        ensure!(
            others > 0.0 && of_calm.value("accelscope_incident_active", &[])? == 0.0,
            "{others} of others"
        );
        chain.nothing_else(&expected, &consequences, &["calm"])
    };
    chain.judged("node!=\"killed\"", in_trouble())?;
    println!("{:.0} s in all", start.elapsed().as_secs_f64());
    Ok(())
}

/// Waits until GPU 0 has, or no longer has, finer samples for its full memory. Other alerts of the machine go on.
fn in_incident_mode(machine: &Machine, is_on: bool) -> Result<()> {
    let reason = [("trigger", "GpuHbmNearOom")];
    machine.exporter.until(&format!("its finer samples for this alert: {is_on}"), |samples| {
        ensure!(samples.has("accelscope_incident_reason_info", &reason) == is_on);
        ensure!(samples.value("accelscope_incident_active", &[])? == 1.0);
        ensure!(!is_on || samples.has("accel_power_watts_max", &[("device", "gpu0")]));
        Ok(())
    })
}

#[test]
fn the_same_alerts_fire_over_stock_dcgm_exporter_series() -> Result<()> {
    at_a_pace(over_stock_names)
}

fn over_stock_names(pace: Pace) -> Result<()> {
    let counters = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chain/stock-counters.csv");
    let flags = ["--names", "vendor", "--dcgm.collectors", counters];
    let sick = Machine::start("h100-sxm-8", "sick", 2, &flags)?;
    looks_like_stock(&sick)?;
    let engines = [sick.engine("vllm", "full")?, sick.engine("sglang", "late")?];
    let mut jobs = vec![sick.job("dcgm-exporter")];
    jobs.extend(engines.iter().map(|(_, job)| job.clone()));

    let chain = Chain::start(pace, "vendor", &jobs, &[])?;
    let calm_so_far = chain.settled(jobs.len()).and_then(|()| chain.quiet());
    chain.judged("", calm_so_far)?;

    let device = |gpu, device, severity| {
        vec![
            ("DCGM_FI_DRIVER_VERSION", ANY),
            ("Hostname", "sick"),
            ("UUID", ANY),
            ("cluster", "lab"),
            ("device", device),
            ("family", "nvidia"),
            ("gpu", gpu),
            ("instance", ANY),
            ("job", "dcgm-exporter"),
            ("modelName", "NVIDIA H100 80GB HBM3"),
            ("node", "sick"),
            ("pci_bus_id", ANY),
            ("severity", severity),
            ("uuid", ANY),
        ]
    };
    let mut xid = device("2", "gpu2", "critical");
    xid.extend([("kind", "xid"), ("code", "79"), ("action", "RESTART_BM")]);
    let (mut expected, consequences) = of_engines("sick");
    expected.extend([
        Expected::new("GpuHbmNearOom", "HBM fills to 97%", device("0", "gpu0", "critical")),
        Expected::new("GpuThermalOrPowerThrottle", "60 °C hotter", device("1", "gpu1", "warning")),
        Expected::new("GpuXidErrorDetected", "XID 79", xid),
        Expected::new("GpuEccDoubleBit", "double-bit error", device("3", "gpu3", "critical")),
    ]);
    let cause = Instant::now();
    sick.node.control(&troubles())?;
    let in_trouble = || {
        chain.delivers(&expected, cause)?;
        sick.node.control(&Control::default())?;
        chain.resolves(&["GpuHbmNearOom", "GpuThermalOrPowerThrottle"])?;
        chain.nothing_else(&expected, &consequences, &[])
    };
    chain.judged("", in_trouble())
}

/// Names and labels are those that a stock dcgm-exporter prints, and no others.
fn looks_like_stock(machine: &Machine) -> Result<()> {
    let counters = include_str!("stock-counters.csv").lines().filter(|line| !line.starts_with('#'));
    let fields: Vec<Vec<&str>> = counters.map(|line| line.split(", ").collect()).collect();
    let listed: BTreeSet<&str> =
        fields.iter().filter(|field| field[1] != "label").map(|field| field[0]).collect();
    machine.exporter.until("the fields of two readings are there", |samples| {
        let devices: Vec<_> =
            samples.samples.iter().filter(|sample| sample.name.starts_with("DCGM_")).collect();
        let printed: BTreeSet<&str> = devices.iter().map(|sample| sample.name.as_str()).collect();
        let missing: Vec<_> = listed.symmetric_difference(&printed).collect();
        ensure!(missing.is_empty(), "listed or printed alone: {missing:?}");
        let names =
            ["gpu", "UUID", "pci_bus_id", "device", "modelName", "Hostname", "DCGM_FI_DRIVER_VERSION"];
        for sample in devices {
            let mut expected = BTreeSet::from(names);
            if sample.name == "DCGM_FI_DEV_XID_ERRORS" {
                expected.extend(["err_code", "err_msg"]);
            }
            let labels: BTreeSet<&str> = sample.labels.keys().map(String::as_str).collect();
            if labels != expected || sample.label("device") != format!("nvidia{}", sample.label("gpu")) {
                return Err(Final(format!("{} is not as stock prints it", sample.series)).into());
            }
            ensure!(!sample.name.starts_with("accel_"), "{}", sample.series);
        }
        Ok(())
    })
}
