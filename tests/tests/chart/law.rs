//! What the chart promises elsewhere: its flags are those of the program, its privileges those of docs/privileges.md.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Artefacts,
    artefacts::repository,
    chart::{self, Helm},
    process,
};
use serde_json::Value;

/// Folders whose texts may name flags of the program.
const FOLDERS: [&str; 3] = ["helm", "packaging/systemd", "examples"];

/// Flags of other programs that are named there.
const OTHERS: [&str; 7] =
    ["--set", "--values", "--namespace", "--filename", "--duration", "--comment", "--config.file"];

/// Flags and variables of every command, from the program itself.
fn known() -> Result<BTreeSet<String>> {
    let mut program = Command::new(Artefacts::beside_this_program()?.binary("accelscope")?);
    let page = process::run(program.args(["generate", "flags"]))?.success()?;
    Ok(names(&page).collect())
}

/// Words that are a flag or one of our variables.
fn names(text: &str) -> impl Iterator<Item = String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    text.split(move |c| !is_part(c))
        .map(|word| word.trim_end_matches(['.', '-']))
        .filter(|word| {
            word.strip_prefix("--").is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
                || word.starts_with("ACCELSCOPE_") && !word.ends_with('_')
        })
        .map(str::to_owned)
}

/// Every text below a folder.
fn texts(folder: &Path, found: &mut Vec<(String, String)>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            texts(&path, found)?;
        } else {
            found.push((path.display().to_string(), fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

#[test]
fn every_flag_and_variable_is_one_of_the_program() -> Result<()> {
    let known = known()?;
    ensure!(known.contains("--interval") && known.contains("ACCELSCOPE_SOURCE"), "{known:?}");
    let mut all = Vec::new();
    for folder in FOLDERS {
        texts(&repository().join(folder), &mut all)?;
    }
    let helm = Helm::newest()?;
    for case in chart::cases()? {
        all.push((format!("case {case}"), helm.template("accelscope", &chart::case(&case)?)?.success()?));
    }
    let (mut unknown, mut used) = (Vec::new(), 0);
    for (path, text) in &all {
        for name in names(text) {
            used += 1;
            if !known.contains(&name) && !OTHERS.contains(&name.as_str()) {
                unknown.push(format!("{path}: {name}"));
            }
        }
    }
    ensure!(used > 20 && unknown.is_empty(), "{used} names, of which the program does not know {unknown:?}");
    Ok(())
}

/// The container of a release.
fn container(values: &str) -> Result<(Value, Value)> {
    let objects = Helm::newest()?.objects("accelscope", values)?;
    let pod = chart::one(&objects, "DaemonSet")?["spec"]["template"]["spec"].clone();
    Ok((pod["containers"][0].clone(), pod))
}

/// User, capabilities and host paths of a release, as a row of docs/privileges.md has them.
fn row(values: &str) -> Result<[String; 3]> {
    let (container, pod) = container(values)?;
    let security = &container["securityContext"];
    let list = |value: &Value, item: fn(&Value) -> String| {
        let items: Vec<_> = value.as_array().into_iter().flatten().map(item).collect();
        items.join(", ")
    };
    let text = |value: &Value| format!("`{}`", value.as_str().unwrap_or_default());
    ensure!(security["readOnlyRootFilesystem"] == true && pod["hostPID"].is_null(), "{values}: {security}");
    if security["privileged"] != true {
        ensure!(security["allowPrivilegeEscalation"] == false, "{values}: {security}");
        ensure!(security["capabilities"]["drop"] == serde_json::json!(["ALL"]), "{values}: {security}");
    }
    let paths = pod["volumes"].as_array().into_iter().flatten();
    let roots: BTreeSet<_> = paths
        .filter_map(|volume| volume["hostPath"]["path"].as_str())
        .map(|path| if path.starts_with("/sys/") { "/sys" } else { path })
        .collect();
    Ok([
        security["runAsUser"].to_string(),
        list(&security["capabilities"]["add"], text),
        roots.into_iter().map(|root| format!("`{root}`")).collect::<Vec<_>>().join(", "),
    ])
}

#[test]
fn privileges_are_those_of_the_documentation() -> Result<()> {
    let page = fs::read_to_string(repository().join("docs/privileges.md"))?;
    let (_, table) = page.split_once("\n## With Kubernetes\n").context("the section")?;
    let rows = table.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let mut sources = BTreeSet::new();
    for line in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [source, is @ ..] = cells.as_slice() else { unreachable!("a line has a cell") };
        let source = source.trim_matches('`');
        let alone = "workloads: {enabled: false}";
        let values = match source {
            // Beside what its sources need.
            "workloads.enabled" => "sources: [nvidia]".to_owned(),
            source => format!("sources: [{source}]\n{alone}"),
        };
        ensure!(is == row(&values)?, "{line}");
        sources.insert(source.to_owned());
    }
    ensure!(sources.len() == 6, "{sources:?}");
    Ok(())
}

#[test]
fn presets_give_what_their_names_say() -> Result<()> {
    let (none, pod) = container("privileges: none")?;
    let security = &none["securityContext"];
    ensure!(security["runAsNonRoot"] == true && security["capabilities"]["add"].is_null(), "{security}");
    ensure!(pod["volumes"].is_null(), "{pod}");
    let (metrics, _) = container("privileges: metrics")?;
    ensure!(metrics["securityContext"]["privileged"].is_null(), "{metrics}");
    let (full, _) = container("privileges: full")?;
    ensure!(full["securityContext"]["privileged"] == true, "{full}");
    Ok(())
}

#[test]
fn pods_send_alerts_on_through_the_service_that_is_there() -> Result<()> {
    let helm = Helm::newest()?;
    for (more, sends_on) in
        [("", true), ("hostNetwork: true", true), ("webConfig: {secretName: w, tls: true}", false)]
    {
        let objects = helm.objects("agent", &format!("port: 9500\nincident: {{secretName: s}}\n{more}\n"))?;
        let (service, daemons) = (chart::one(&objects, "Service")?, chart::one(&objects, "DaemonSet")?);
        let pod = &daemons["spec"]["template"]["spec"];
        let arguments = pod["containers"][0]["args"].as_array().context("arguments")?;
        let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
        ensure!(
            has("--incident.enable") && has("--incident.token-file=/etc/accelscope/incident/token"),
            "{more}"
        );
        let port = &service["spec"]["ports"][0]["port"];
        let peers = format!("--incident.peers={}.monitoring.svc:{port}", chart::name(service));
        ensure!(
            service["spec"]["clusterIP"] == "None" && has(&peers) == sends_on,
            "{more}: {peers} {arguments:?}"
        );
        // On the network of its node, a pod knows no Service by default.
        let resolves = pod["dnsPolicy"] == "ClusterFirstWithHostNet";
        ensure!(resolves == pod["hostNetwork"].as_bool().unwrap_or(false), "{more}: {}", pod["dnsPolicy"]);
    }
    let objects = helm.objects("agent", "")?;
    ensure!(chart::one(&objects, "Service").is_err(), "a Service that nobody asked for");
    let arguments =
        chart::one(&objects, "DaemonSet")?["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    ensure!(!arguments.contains("incident"), "{arguments}");
    Ok(())
}

#[test]
fn the_host_finds_the_verdict_in_the_folder_where_the_program_looks_for_it() -> Result<()> {
    let flags = fs::read_to_string(repository().join("docs/flags.md"))?;
    let flag = flags.lines().find(|line| line.contains("--health.socket")).context("the flag")?;
    let (container, pod) = container("health: {hostFolder: /run/accelscope}")?;
    let of = |list: &Value| {
        let found = list.as_array().into_iter().flatten().find(|one| one["name"] == "health");
        found.cloned().unwrap_or_default()
    };
    let (mount, volume) = (of(&container["volumeMounts"]), of(&pod["volumes"]));
    let at = mount["mountPath"].as_str().context("a mount")?;
    ensure!(flag.contains(&format!("{at}/health.sock")) && mount["readOnly"].is_null(), "{flag}: {mount}");
    let host = serde_json::json!({"path": "/run/accelscope", "type": "DirectoryOrCreate"});
    ensure!(volume["hostPath"] == host, "{volume}");
    ensure!(container["securityContext"]["runAsUser"] == 0, "{}", container["securityContext"]);
    let (_, pod) = self::container("")?;
    ensure!(of(&pod["volumes"]).is_null(), "a folder that nobody asked for");
    Ok(())
}
