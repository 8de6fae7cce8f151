//! Builds what the commands need from parsed flags.

use std::{ffi::OsStr, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use clap::ArgMatches;
use naming::VendorFilter;
use reading::{Source, Wanted};
use source::{Common, Opened, Parts, SourceSpec, TryLibrary, UsageError};

use crate::{
    Failure,
    commands::choice::{self, Chosen},
    commands::config::Config,
    commands::flags::{
        Isolate, NamesFlags, Schema, ServeFlags, SourceFlags, WebFlags, WorkloadFlags, Workloads,
    },
    commands::serve::{Serve, Web},
    health::socket,
    http::authority::Authority,
    http::body::Vocabularies,
    http::connection::Timeouts,
    http::connections::Limits,
    http::listen::{self, BoundSocket},
    http::web_config::watch::Watched,
    incident::Settings as IncidentSettings,
    isolation::{self, Isolated},
    sampling::timing::Timing,
    self_metrics::host::Host,
};

/// How long a client may take to read a response: as long as Prometheus waits for one.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The value of `--source` that stands for every source.
const AUTO: &str = "auto";

/// A source that is not yet connected, and the vocabularies' restrictions that came with it.
pub type Configured = (Box<dyn Source>, Vec<VendorFilter>);

/// The sources that `--source` names. Each finds its own flags in `matches`; a library that `--isolate`
/// concerns is called in a helper process.
///
/// # Errors
/// The first flag, or file that a flag names, that cannot be used.
pub fn sources(
    flags: &SourceFlags,
    interval: Duration,
    specs: &[SourceSpec],
    matches: &ArgMatches,
    chosen: &Chosen,
) -> Result<Vec<Configured>, UsageError> {
    let SourceFlags { source: wanted, isolate, .. } = flags;
    if wanted.len() > 1 && wanted.iter().any(|name| name == AUTO) {
        return Err(UsageError("--source: auto is all sources; name it alone or leave it out".to_owned()));
    }
    let wanted =
        specs.iter().filter(|spec| wanted.iter().any(|name| name == AUTO || name == spec.family.name()));
    wanted
        .map(|spec| {
            let try_library: Option<TryLibrary> = Some(isolation::trial::run);
            let common = common(flags, interval, try_library, chosen.of(spec.family));
            let Opened { parts, filters } = (spec.open)(matches, &common)?;
            let isolated = || Box::new(Isolated::new(spec.family));
            let source = match parts {
                Parts::Library(_) if *isolate == Isolate::On => isolated(),
                Parts::Kernel(source) | Parts::Library(source) => source,
                Parts::Both { library, whole } if *isolate == Isolate::Off => whole(library),
                Parts::Both { whole, .. } => whole(isolated()),
            };
            Ok((source, filters))
        })
        .collect()
}

/// The part of a family's source that calls a library, for the helper process that runs it. `names` are those that
/// are exported of it, where it is served.
///
/// # Errors
/// As [`sources`], and for a family without a library.
pub fn library(
    family: &OsStr,
    flags: &SourceFlags,
    interval: Duration,
    specs: &[SourceSpec],
    matches: &ArgMatches,
    names: Option<&NamesFlags>,
) -> Result<Box<dyn Source>, UsageError> {
    let none = || UsageError("only the exporter itself starts a helper process".to_owned());
    let spec = specs.iter().find(|spec| family == spec.family.name()).ok_or_else(none)?;
    let chosen = Chosen::all([spec.family]);
    // The process is the trial.
    let Opened { parts, filters } =
        (spec.open)(matches, &common(flags, interval, None, chosen.of(spec.family)))?;
    if let Some(names) = names {
        chosen.set(&vocabularies(names, &[filters])?);
    }
    match parts {
        Parts::Kernel(_) => Err(none()),
        Parts::Library(library) | Parts::Both { library, .. } => Ok(library),
    }
}

fn common(
    flags: &SourceFlags,
    interval: Duration,
    try_library: Option<TryLibrary>,
    wanted: Wanted,
) -> Common {
    Common {
        interval,
        sysfs: flags.sysfs.clone(),
        procfs: flags.procfs.clone(),
        hostname: node_name(),
        try_library,
        wanted,
    }
}

/// How to find out who holds a device; `None` where nobody is asked.
pub fn workloads(flags: WorkloadFlags, procfs: &Path) -> Option<workloads::Settings> {
    let WorkloadFlags { when, list_interval, pod_resources_socket, pods_socket, pod_labels, jobs, cdi } =
        flags;
    (when == Workloads::Auto).then_some(workloads::Settings {
        interval: list_interval,
        pod_resources: pod_resources_socket,
        pods: pods_socket,
        pod_labels,
        cdi,
        jobs,
        procfs: procfs.to_owned(),
    })
}

/// Gathers what `serve` needs: opens sources and binds sockets.
///
/// # Errors
/// A flag or file that cannot be used, or an address that is taken.
pub fn serve(
    flags: ServeFlags,
    name: &'static str,
    specs: &[SourceSpec],
    matches: &ArgMatches,
    config: &Config,
) -> Result<Serve, Failure> {
    agree(&flags)?;
    let ServeFlags {
        sampling,
        sources: wanted,
        workloads,
        names,
        web,
        health,
        incident,
        detach,
        kernel_log,
        ..
    } = flags;
    let workloads = self::workloads(workloads, &wanted.procfs);
    let families = specs.iter().map(|spec| spec.family);
    let metrics = Chosen::all(families).with_holders(workloads.is_some());
    let configured = sources(&wanted, sampling.interval, specs, matches, &metrics)?;
    let web_config = web.config_file.clone().map(|file| Watched::open(file, web.protect_health));
    let web_config = web_config.transpose().map_err(UsageError)?;
    let timing =
        Timing { fine: incident.enable.then_some(incident.interval), ..Timing::new(sampling.interval) };
    let detach =
        detach.enable.then(|| Authority::new("--detach.token-file", detach.token_file)).transpose()?;
    let incident = incident.enable.then(|| -> Result<_, UsageError> {
        let authority = Authority::new("--incident.token-file", incident.token_file)?;
        let has_tls = web_config.as_ref().is_some_and(|watched| watched.config().tls.is_some());
        if has_tls && !incident.peers.is_empty() {
            let why = "--incident.peers: peers are called by plain HTTP, and --web.config.file sets TLS; list the URL of \
                       each node in Alertmanager instead";
            return Err(UsageError(why.to_owned()));
        }
        let settings = IncidentSettings { max: incident.max, node_name: node_name(), peers: incident.peers };
        Ok((authority, settings))
    });
    let incident = incident.transpose()?;
    let listeners = listeners(&web)?;
    let health = socket::bind(health.socket.as_deref())?;
    let (sources, filters): (_, Vec<_>) = configured.into_iter().unzip();
    let vocabularies = vocabularies(&names, &filters)?;
    metrics.set(&vocabularies);
    Ok(Serve {
        name,
        node_name: node_name(),
        sources,
        // Running a program for one family asks for that family.
        auto: specs.len() > 1 && wanted.source.iter().any(|name| name == AUTO),
        timing,
        incident,
        sysfs: wanted.sysfs,
        workloads,
        host: sampling.host_metrics.then(|| Host::new(&wanted.procfs)),
        vocabularies: Arc::new(ArcSwap::from_pointee(vocabularies)),
        metrics,
        listeners,
        health,
        web: Web {
            telemetry_path: web.telemetry_path,
            limits: Limits { responses: web.max_requests, connections: web.max_connections },
            timeouts: Timeouts {
                head: web.header_timeout,
                idle: web.idle_timeout,
                response: RESPONSE_TIMEOUT,
            },
            config: web_config,
            protects_health: web.protect_health,
        },
        settings: config.path.is_some().then(Arc::default),
        detach,
        kernel_log: kernel_log.path,
    })
}

/// Refuses a flag that others leave without effect.
fn agree(flags: &ServeFlags) -> Result<(), UsageError> {
    let missing = if flags.workloads.when == Workloads::Off {
        "--workloads auto, which finds out who holds a device"
    } else if !flags.names.names.contains(&Schema::Vendor) {
        "--names vendor, or unified,vendor"
    } else {
        return Ok(());
    };
    if flags.names.vendor_labels {
        return Err(UsageError(format!("--kubernetes.vendor-labels has no effect without {missing}")));
    }
    Ok(())
}

/// What is printed under which names.
fn vocabularies(names: &NamesFlags, filters: &[Vec<VendorFilter>]) -> Result<Vocabularies, UsageError> {
    Ok(Vocabularies {
        unified: names.names.contains(&Schema::Unified),
        vendor: names.names.contains(&Schema::Vendor),
        filters: filters.concat(),
        left_out: choice::left_out(&names.choice)?,
        holders: names.vendor_labels,
        max_series: names.choice.max_series,
    })
}

/// The same again, for a program that runs. No source that it opens is connected.
///
/// # Errors
/// As [`sources`].
pub fn vocabularies_again(
    flags: &ServeFlags,
    specs: &[SourceSpec],
    matches: &ArgMatches,
) -> Result<Vocabularies, UsageError> {
    agree(flags)?;
    let opened = sources(&flags.sources, flags.sampling.interval, specs, matches, &Chosen::all([]))?;
    let filters: Vec<_> = opened.into_iter().map(|(_, filters)| filters).collect();
    vocabularies(&flags.names, &filters)
}

fn listeners(web: &WebFlags) -> Result<Vec<BoundSocket>, String> {
    if web.systemd_socket {
        return listen::from_systemd();
    }
    web.listen_addresses.iter().map(listen::bind).collect()
}

/// The node's name.
pub fn node_name() -> String {
    hostname(std::env::var("NODE_NAME").ok())
}

/// The node's name: what `NODE_NAME` says, which an orchestrator sets, else the kernel's host name.
fn hostname(node_name: Option<String>) -> String {
    let kernel = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    node_name.filter(|name| !name.is_empty()).unwrap_or_else(kernel)
}

#[cfg(test)]
mod tests {
    use super::hostname;

    #[test]
    fn the_name_of_the_node_needs_no_file() {
        assert_eq!(hostname(Some("node1".to_owned())), "node1");
        for unset in [None, Some(String::new())] {
            assert!(!hostname(unset).is_empty());
        }
    }
}
