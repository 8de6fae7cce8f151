//! Builds what the commands need from parsed flags.

use std::time::Duration;

use clap::ArgMatches;
use source::{Common, Opened, SourceSpec, UsageError};

use crate::{
    Failure,
    commands::flags::{Schema, ServeFlags, SourceFlags, WebFlags},
    commands::serve::{Serve, Web},
    http::body::Vocabularies,
    http::connection::Timeouts,
    http::connections::Limits,
    http::listen::{self, BoundSocket},
    sampling::timing::Timing,
    self_metrics::host::Host,
};

/// How long a client may take to read a response: as long as Prometheus waits for one.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

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
    let hostname = hostname(std::env::var("NODE_NAME").ok());
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
            limits: Limits { responses: web.max_requests, connections: web.max_connections },
            timeouts: Timeouts {
                head: web.header_timeout,
                idle: web.idle_timeout,
                response: RESPONSE_TIMEOUT,
            },
        },
    })
}

fn listeners(web: &WebFlags) -> Result<Vec<BoundSocket>, String> {
    if web.systemd_socket {
        return listen::from_systemd();
    }
    web.listen_addresses.iter().map(listen::bind).collect()
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
