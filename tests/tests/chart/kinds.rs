//! The rendered objects against the schemas of Kubernetes and the types of the Prometheus Operator; what rules and
//! dashboards contain, and that they fit into the objects that hold them.

use std::{fs, io::Write as _, process::Command};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    artefacts::{python_env, repository},
    chart::{self, Helm},
    process,
};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

/// The oldest release of Kubernetes that the chart admits, one between, and the newest whose schemas there are.
const KUBERNETES: [&str; 3] = ["1.31", "1.34", "1.37"];

/// What an object may have at most, and a release with its chart: etcd and the kinds ConfigMap and Secret set it.
const OBJECT_BYTES: usize = 1 << 20;

/// What `kubectl apply` can note of an object in its annotation.
const ANNOTATION_BYTES: usize = 256 << 10;

/// Rules and dashboards, which no golden manifest has.
const WITH_FILES: &str = "prometheusRule: {enabled: true}\ndashboards: {enabled: true}";

/// Judges objects; the kind of each, followed by what is wrong with it.
fn judge(objects: &[Value]) -> Result<Vec<String>> {
    let script = repository().join("tests/clients/kubernetes_kinds.py");
    let mut python = Command::new(python_env()?.join("bin/python"));
    let lines: Vec<_> = objects.iter().map(Value::to_string).collect();
    let printed = process::run_with(python.arg(script).args(KUBERNETES), &lines.join("\n"))?.success()?;
    Ok(printed.lines().map(str::to_owned).collect())
}

#[test]
fn objects_are_valid_in_three_versions_of_kubernetes() -> Result<()> {
    let helm = Helm::newest()?;
    let mut objects = helm.objects("accelscope", WITH_FILES)?;
    objects.extend(helm.objects("accelscope", "prometheusRule: {enabled: true, level: global}")?);
    for case in chart::cases()? {
        objects.extend(helm.objects("accelscope", &chart::case(&case)?)?);
    }
    for example in ["kubernetes/accelscope.yaml", "kube-prometheus-stack/accelscope.yaml"] {
        let text = fs::read_to_string(repository().join("examples").join(example))?;
        // Manifests, or values of the chart.
        let own = text.contains("kind: DaemonSet");
        objects.extend(if own { chart::objects(&text)? } else { helm.objects("accelscope", &text)? });
    }
    let judged = judge(&objects)?;
    let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().unwrap_or_default()).collect();
    ensure!(judged == kinds, "{judged:?}");
    for kind in ["DaemonSet", "PodMonitor", "ServiceMonitor", "PrometheusRule", "ConfigMap", "NetworkPolicy"]
    {
        ensure!(kinds.contains(&kind), "{kind} was not rendered");
    }
    Ok(())
}

#[test]
fn the_judge_refuses_what_is_wrong() -> Result<()> {
    let objects = Helm::newest()?.objects("accelscope", &chart::case("everything")?)?;
    let wrong: &[(&str, &str, Value)] = &[
        ("DaemonSet", "/spec/template/spec/hostPid", json!(true)),
        ("DaemonSet", "/spec/template/spec/containers/0/ports/0/containerPort", json!("9477")),
        ("PodMonitor", "/spec/podMetricsEndpoints/0/intervall", json!("15s")),
        ("PodMonitor", "/spec/sampleLimit", json!("many")),
        ("ServiceMonitor", "/spec/endpoints/0/interval", json!(15)),
    ];
    let mut changed = Vec::new();
    for (kind, pointer, value) in wrong {
        let mut object = chart::one(&objects, kind)?.clone();
        let (parent, key) = pointer.rsplit_once('/').context("a pointer")?;
        object.pointer_mut(parent).context("a place")?[key] = value.clone();
        changed.push(object);
    }
    for ((kind, pointer, _), judged) in wrong.iter().zip(judge(&changed)?) {
        let key = pointer.rsplit('/').next().context("a key")?;
        ensure!(judged != *kind && judged.contains(key), "{pointer}: {judged}");
    }
    Ok(())
}

#[test]
fn rules_and_dashboards_are_those_of_the_repository() -> Result<()> {
    let helm = Helm::newest()?;
    let objects = helm.objects("accelscope", WITH_FILES)?;
    let of_kind = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
    let named = |kind: &str, name: &str| {
        let found =
            of_kind(kind).into_iter().find(|object| chart::name(object) == format!("accelscope-{name}"));
        found.with_context(|| format!("no {kind} {name}"))
    };
    let mut files = 0;
    for (folder, kind) in [("alerts/operator", "PrometheusRule"), ("dashboards", "ConfigMap")] {
        for entry in fs::read_dir(repository().join(folder))? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).context("a name")?;
            let original = fs::read_to_string(&path)?;
            if stem.starts_with("global-") {
                ensure!(named(kind, stem).is_err(), "{stem} belongs to a centre");
                continue;
            }
            let object = named(kind, stem)?;
            let same = match kind {
                "ConfigMap" => {
                    ensure!(object["metadata"]["labels"]["grafana_dashboard"] == "1", "{stem}");
                    object["data"][format!("accelscope-{stem}.json")] == original
                }
                _ => object["spec"] == serde_saphyr::from_str::<Value>(&original)?["spec"],
            };
            ensure!(same, "{stem} is not what {} has", path.display());
            let bytes = object.to_string().len();
            ensure!(bytes < ANNOTATION_BYTES, "{stem} has {bytes} bytes");
            files += 1;
        }
    }
    ensure!(files == of_kind("PrometheusRule").len() + of_kind("ConfigMap").len(), "{files}");
    let left_out = helm.objects("accelscope", "prometheusRule: {enabled: true, exclude: [slo, engine]}")?;
    let left_out = left_out.iter().filter(|object| object["kind"] == "PrometheusRule").count();
    ensure!(left_out + 2 == of_kind("PrometheusRule").len(), "{left_out}");
    Ok(())
}

#[test]
fn a_release_fits_into_its_secret() -> Result<()> {
    // As Helm stores it: the chart with every file in base64, the values and the manifests, in JSON, compressed, and all
    // of it in base64 again.
    let helm = Helm::newest()?;
    let values = helm.values(WITH_FILES)?.display().to_string();
    let chart = chart::folder();
    let manifests =
        helm.run(&["template", "a", &chart.display().to_string(), "--values", &values])?.success()?;
    let mut text = Value::from(manifests).to_string();
    let mut folders = vec![chart];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                text.push_str(&base64(&fs::read(path)?));
            }
        }
    }
    let mut compressed = GzEncoder::new(Vec::new(), Compression::best());
    compressed.write_all(text.as_bytes())?;
    let bytes = compressed.finish()?.len().div_ceil(3) * 4;
    ensure!((100_000..OBJECT_BYTES * 3 / 4).contains(&bytes), "a release has {bytes} bytes");
    Ok(())
}

/// RFC 4648, as far as its length and its redundancy matter: without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_usize, |group, byte| group << 8 | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        text.extend((0..=chunk.len()).map(|digit| char::from(DIGITS[group >> (18 - 6 * digit) & 63])));
    }
    text
}
