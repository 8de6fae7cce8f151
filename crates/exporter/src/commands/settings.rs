//! Builds what the commands need from parsed flags.

use std::{fs, path::Path, time::Duration};

use clap::ArgMatches;
use source::{Common, Opened, SourceSpec, UsageError};

use crate::{
    Failure,
    commands::flags::{Schema, ServeFlags, SourceFlags, WebFlags},
    commands::serve::{Serve, Web},
    http::body::Vocabularies,
    http::connection::Timeouts,
    http::listen::{self, BoundSocket},
    sampling::timing::Timing,
    self_metrics::host::Host,
};

/// The value of `--source` that stands for every source.
const AUTO: &str = "auto";

/// Opens the sources that `--source` names. Each finds its own flags in `matches`.
///
/// # Errors
/// The first flag, or file that a flag names, that cannot be used.
pub fn sources(
    flags: &SourceFlags,
    interval: Duration,
    specs: &[SourceSpec],
    matches: &ArgMatches,
) -> Result<Vec<Opened>, UsageError> {
    let SourceFlags { source: wanted, sysfs, procfs } = flags;
    if wanted.len() > 1 && wanted.iter().any(|name| name == AUTO) {
        return Err(UsageError("--source: auto is all sources; name it alone or leave it out".to_owned()));
    }
    let hostname = hostname(procfs);
    let common = Common { interval, sysfs: sysfs.clone(), procfs: procfs.clone(), hostname };
    specs
        .iter()
        .filter(|spec| wanted.iter().any(|name| name == AUTO || name == spec.family.name()))
        .map(|spec| (spec.open)(matches, &common))
        .collect()
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
) -> Result<Serve, Failure> {
    let ServeFlags { sampling, sources: wanted, names, web, .. } = flags;
    let opened = sources(&wanted, sampling.interval, specs, matches)?;
    let listeners = listeners(&web)?;
    let (sources, filters): (_, Vec<_>) =
        opened.into_iter().map(|Opened { source, filters }| (source, filters)).unzip();
    let names = names.names;
    Ok(Serve {
        name,
        sources,
        // Running a program for one family asks for that family.
        auto: specs.len() > 1 && wanted.source.iter().any(|name| name == AUTO),
        timing: Timing::new(sampling.interval),
        sysfs: wanted.sysfs,
        host: sampling.host_metrics.then(|| Host::new(&wanted.procfs)),
        vocabularies: Vocabularies {
            unified: names.contains(&Schema::Unified),
            vendor: names.contains(&Schema::Vendor),
            filters: filters.concat(),
        },
        listeners,
        web: Web {
            telemetry_path: web.telemetry_path,
            max_requests: web.max_requests,
            max_connections: web.max_connections,
            timeouts: Timeouts { head: web.header_timeout, idle: web.idle_timeout },
        },
    })
}

fn listeners(web: &WebFlags) -> Result<Vec<BoundSocket>, String> {
    if web.systemd_socket {
        return listen::from_systemd();
    }
    web.listen_addresses.iter().map(listen::bind).collect()
}

/// The node's name: `NODE_NAME` where an orchestrator sets it, else the kernel's host name.
fn hostname(procfs: &Path) -> String {
    let node = std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
    let kernel = || fs::read_to_string(procfs.join("sys/kernel/hostname")).unwrap_or_default();
    node.unwrap_or_else(|| kernel().trim().to_owned())
}
