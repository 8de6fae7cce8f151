//! Values that the schema refuses, and what values do.

use anyhow::{Result, ensure};
use e2e::chart::{self, Helm};
use serde_json::{Value, json};

/// A value that is wrong, and what Helm says of it.
const WRONG: &[(&str, &[&str])] = &[
    ("sorces: [auto]", &["sorces"]),
    ("sources: [nvidia, auto]", &["sources"]),
    ("sources: [amd]", &["sources"]),
    ("sources: []", &["sources"]),
    ("privileges: metric", &["privileges"]),
    ("port: \"9477\"", &["port"]),
    ("port: 0", &["port"]),
    ("extraArgs: [interval=5s]", &["extraArgs"]),
    ("extraArgs: \"--interval=5s\"", &["extraArgs"]),
    ("driverPaths: [/usr/lib/x86_64-linux-gnu]", &["driverPaths"]),
    ("driverPaths: [/]", &["driverPaths"]),
    ("maxUnavailable: 0", &["maxUnavailable"]),
    ("maxUnavailable: 10", &[]),
    ("maxUnavailable: 110%", &["maxUnavailable"]),
    ("podMonitor: {interval: 15}", &["podMonitor", "interval"]),
    ("podMonitor: {relabelings: [{source_labels: [a]}]}", &["source_labels"]),
    ("resources: {limit: {memory: 64Mi}}", &["limit"]),
    ("resources: {limits: {memory: 64MB}}", &["memory"]),
    ("tolerations: [{efect: NoSchedule}]", &["efect"]),
    ("image: {digest: latest}", &["digest"]),
    ("prometheusRule: {level: sites}", &["level"]),
    ("networkPolicy: {from: [{podselector: {}}]}", &["podselector"]),
    ("hostNetwork: \"yes\"", &["hostNetwork"]),
    ("nodeSelector: {disk: true}", &["nodeSelector"]),
    ("health: {hostFolder: /}", &["hostFolder"]),
    ("health: {hostFolder: /etc/kubernetes}", &["hostFolder"]),
    ("health: {hostFolder: /run/../etc}", &["hostFolder"]),
    // A folder that only root may write, and a container of an ordinary user.
    ("privileges: none\nhealth: {hostFolder: /run/accelscope}", &["health.hostFolder", "ordinary user"]),
];

#[test]
fn wrong_values_are_refused_by_name() -> Result<()> {
    for helm in Helm::releases()? {
        for (values, words) in WRONG {
            let finished = helm.template("accelscope", values)?;
            let refused = finished.code != Some(0) && words.iter().all(|word| finished.stderr.contains(word));
            ensure!(refused != words.is_empty(), "Helm {}, {values}: {finished:?}", helm.version);
        }
    }
    Ok(())
}

/// Maps of the user's own keys.
const FREE: [&str; 15] = [
    "tlsConfig",
    "basicAuth",
    "authorization",
    "commonLabels",
    "nodeSelector",
    "podAnnotations",
    "podLabels",
    "limits",
    "requests",
    "labels",
    "annotations",
    "affinity",
    "global",
    "tolerations",
    "seccompProfile",
];

/// Every object of the values that has keys of the chart alone, each with one key more.
fn misspelt(at: &Value, path: &[&str], found: &mut Vec<Value>) {
    let Value::Object(keys) = at else { return };
    let mut wrong = json!({"typo": 1});
    for key in path.iter().rev() {
        wrong = json!({ *key: wrong });
    }
    found.push(wrong);
    for (key, value) in keys.iter().filter(|(key, _)| !FREE.contains(&key.as_str())) {
        misspelt(value, &[path, &[key]].concat(), found);
    }
}

#[test]
fn a_key_that_is_not_in_the_values_is_refused_everywhere() -> Result<()> {
    let helm = Helm::newest()?;
    let values = std::fs::read_to_string(chart::folder().join("values.yaml"))?;
    let mut all = Vec::new();
    misspelt(&serde_saphyr::from_str(&values)?, &[], &mut all);
    ensure!(all.len() > 8, "{all:?}");
    for wrong in all {
        let finished = helm.template("accelscope", &wrong.to_string())?;
        ensure!(finished.code != Some(0) && finished.stderr.contains("typo"), "{wrong}: {finished:?}");
    }
    Ok(())
}

#[test]
fn releases_stand_side_by_side() -> Result<()> {
    let helm = Helm::newest()?;
    let everything = chart::case("everything")?;
    let own = "serviceAccount: {create: true, name: \"\"}\nprometheusRule: {enabled: true}\ndashboards: {enabled: true}";
    let values = format!(
        "{}\n{own}\n",
        everything.replace("serviceAccount:\n  create: false\n  name: monitoring\n", "")
    );
    let [one, two] = [helm.objects("accelscope", &values)?, helm.objects("accelscope-edge", &values)?];
    ensure!(one.len() > 20 && one.len() == two.len(), "{} and {}", one.len(), two.len());
    let shared: Vec<_> = one.iter().map(id).filter(|own| two.iter().any(|other| *own == id(other))).collect();
    ensure!(shared.is_empty(), "{shared:?}");
    let pods = |objects: &[Value]| -> Result<Value> {
        Ok(chart::one(objects, "DaemonSet")?["spec"]["selector"]["matchLabels"].clone())
    };
    ensure!(pods(&one)? != pods(&two)?, "one selects the pods of the other");
    let job = |objects: &[Value]| -> Result<Value> {
        Ok(chart::one(objects, "PodMonitor")?["spec"]["podMetricsEndpoints"][0]["relabelings"][0]["replacement"].clone())
    };
    ensure!(
        job(&one)? == "accelscope" && job(&two)? == "accelscope-edge",
        "targets of both would be one series"
    );
    Ok(())
}

/// Kind and name.
fn id(object: &Value) -> (String, String) {
    (object["kind"].to_string(), chart::name(object).to_owned())
}
