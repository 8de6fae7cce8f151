//! The files of `examples/`, run with the real programs where these can be had. Not run: Docker Compose and Grafana's
//! provisioning, which are read, and kube-prometheus-stack, whose chart cannot be had; `chart::` has the manifests.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use e2e::{Node, Prometheus, artefacts::repository, eventually, process};
use serde_json::{Value, json};

fn example(path: &str) -> PathBuf {
    repository().join("examples").join(path)
}

fn yaml(path: &str) -> Result<Value> {
    let path = example(path);
    serde_saphyr::from_str(&fs::read_to_string(&path)?).with_context(|| path.display().to_string())
}

#[test]
fn promtool_takes_every_configuration_of_prometheus() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for path in ["compose/prometheus.yml", "kubernetes/prometheus.yaml", "systemd/prometheus.yml"] {
        let mut config = yaml(path)?;
        let scrape = config["scrape_configs"][0].as_object_mut().context("a scrape")?;
        // Debian builds Prometheus without the discovery of Kubernetes, so that part is only read here.
        if let Some(discovery) = scrape.remove("kubernetes_sd_configs") {
            ensure!(discovery[0]["role"] == "pod", "{discovery}");
        }
        let place = folder.path().join("prometheus.yml");
        fs::write(&place, config.to_string())?;
        process::run(Command::new("promtool").args(["check", "config"]).arg(&place))?
            .success()
            .context(path)?;
    }
    Ok(())
}

#[test]
fn prometheus_scrapes_hosts_and_loads_the_rules_as_the_example_says() -> Result<()> {
    let node = Node::new("xeon6-amx")?.frozen();
    let exporter = node.start(&[])?;
    let folder = tempfile::tempdir()?;
    // Where the package puts the rules, and where the administrator puts the targets.
    let mut config = yaml("systemd/prometheus.yml")?;
    ensure!(config["rule_files"] == json!(["/usr/share/accelscope/alerts/*.yaml"]), "{config}");
    config["rule_files"] = json!([repository().join("alerts/*.yaml")]);
    let files = &mut config["scrape_configs"][0]["file_sd_configs"][0]["files"];
    ensure!(*files == json!(["/etc/prometheus/accelscope/*.yaml"]), "{files}");
    *files = json!([folder.path().join("*.yaml")]);
    let mut targets = yaml("systemd/targets.yaml")?;
    targets[0]["targets"] = json!([exporter.address.to_string()]);
    fs::write(folder.path().join("rack1.yaml"), targets.to_string())?;
    // A scrape comes within this, and not within fifteen seconds.
    config["global"]["scrape_interval"] = json!("1s");
    config["global"]["evaluation_interval"] = json!("1s");
    let prometheus = Prometheus::with_config(&config, &[])?;
    eventually("devices have the labels of their rack and node", || {
        let host = exporter.address.ip();
        let query = format!("accel_device_up{{job=\"accelscope\",rack=\"rack1\",node=\"{host}\"}} == 1");
        ensure!(!prometheus.query(&query)?.is_empty(), "no device");
        Ok(())
    })?;
    let rules = prometheus.api("rules")?;
    ensure!(rules["groups"].as_array().map_or(0, Vec::len) > 20, "{rules}");
    Ok(())
}

#[test]
fn compose_mounts_what_is_there() -> Result<()> {
    let compose = yaml("compose/compose.yaml")?;
    let services = compose["services"].as_object().context("services")?;
    ensure!(services.len() == 3, "{compose}");
    let named = compose["volumes"].as_object().context("volumes")?;
    let mut mounted = 0;
    for (name, service) in services {
        for volume in service["volumes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let source = volume.split(':').next().unwrap_or_default();
            let is_there = named.contains_key(source) || example("compose").join(source).exists();
            ensure!(is_there, "{name} mounts {source}");
            mounted += 1;
        }
    }
    ensure!(mounted == 6, "{mounted}");
    let tag = services["accelscope"]["image"].as_str().and_then(|image| image.rsplit(':').next());
    ensure!(tag == Some(env!("CARGO_PKG_VERSION")), "{tag:?}");
    // What one file calls something, the other does too.
    let target = &yaml("compose/prometheus.yml")?["scrape_configs"][0]["static_configs"][0]["targets"][0];
    ensure!(target == "accelscope:9477", "{target}");
    let source = yaml("compose/grafana/datasources/prometheus.yaml")?;
    ensure!(source["datasources"][0]["url"] == "http://prometheus:9090", "{source}");
    let provider = &yaml("compose/grafana/dashboards/accelscope.yaml")?["providers"][0]["options"]["path"];
    let mount = format!("../../dashboards:{}:ro", provider.as_str().context("a path")?);
    ensure!(
        services["grafana"]["volumes"].as_array().is_some_and(|all| all.contains(&json!(mount))),
        "{mount}"
    );
    Ok(())
}

/// Runs a script of Slurm for a job.
fn slurm(script: &str, folder: &tempfile::TempDir, job: u32, gpus: &str) -> Result<process::Process> {
    let mut command = Command::new("sh");
    command.arg(example("slurm").join(script)).env("JOB_MAPPING_DIR", folder.path());
    command.env("SLURM_JOB_ID", job.to_string()).env("SLURM_JOB_GPUS", gpus);
    process::Process::spawn(script, &mut command)
}

#[test]
fn prologs_and_epilogs_of_concurrent_jobs_keep_the_mapping() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let jobs_of = |gpu: u32| -> Result<Vec<u32>> {
        let text = fs::read_to_string(folder.path().join(gpu.to_string()))?;
        let mut jobs = text.lines().map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        jobs.sort_unstable();
        Ok(jobs)
    };
    let all = |script: &str, jobs: std::ops::Range<u32>| -> Result<()> {
        let mut running = jobs
            .map(|job| slurm(script, &folder, job, &format!("0,{}", job % 4)))
            .collect::<Result<Vec<_>>>()?;
        for script in &mut running {
            let status = script.wait()?;
            ensure!(status.success(), "{}", script.log());
            script.quiet();
        }
        Ok(())
    };
    all("prolog.sh", 1..21)?;
    ensure!(jobs_of(0)? == (1..21).collect::<Vec<_>>() && jobs_of(3)? == [3, 7, 11, 15, 19]);
    // The exporter reads what the scripts write.
    let node = Node::new("h100-sxm-4")?.frozen();
    let mapping = folder.path().display().to_string();
    let exporter = node.start(&["--workloads.job-mapping", &mapping, "--workloads.interval", "1s"])?;
    exporter.until("the jobs of a GPU are known", |samples| {
        let jobs = samples
            .all("accel_workload_info", &[("device", "gpu3")])
            .map(|held| held.label("job").to_owned());
        let mut jobs: Vec<_> = jobs.collect();
        jobs.sort();
        ensure!(jobs == ["11", "15", "19", "3", "7"], "{jobs:?}");
        Ok(())
    })?;
    all("epilog.sh", 1..20)?;
    ensure!(jobs_of(0)? == [20], "{:?}", jobs_of(0)?);
    ensure!(!folder.path().join("3").exists(), "a GPU without a job has a file");
    all("epilog.sh", 20..21)?;
    let left: Vec<_> = fs::read_dir(folder.path())?.flatten().map(|entry| entry.file_name()).collect();
    ensure!(left == [".lock"], "{left:?}");
    // A job without a GPU, and an epilog without a prolog, are no errors.
    ensure!(slurm("prolog.sh", &folder, 30, "")?.wait()?.success());
    ensure!(slurm("epilog.sh", &tempfile::tempdir()?, 31, "0")?.wait()?.success());
    Ok(())
}
