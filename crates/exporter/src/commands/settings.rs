//! From parsed flags to what the commands need.

use std::{fs, path::PathBuf, time::Duration};

use clap::ArgMatches;

use source::{Common, Opened, SourceSpec, UsageError};

use crate::{
    Failure,
    commands::serve::{Serve, Web},
    commands::values::ListenAddress,
    http::body::Names,
    http::connection::Limits,
    http::listen,
    sampling::timing::Tempo,
    self_metrics::host::Host,
};

/// Opens the sources that `--source` names.
///
/// # Errors
/// The first flag, or file that a flag names, that cannot be used.
pub fn sources(specs: &[SourceSpec], matches: &ArgMatches) -> Result<Vec<Opened>, UsageError> {
    let common = common(matches);
    let wanted: Vec<&str> = many(matches, "source");
    if wanted.len() > 1 && wanted.contains(&"auto") {
        return Err(UsageError("--source: auto is all sources; name it alone or leave it out".to_owned()));
    }
    specs
        .iter()
        .filter(|spec| wanted.iter().any(|name| *name == "auto" || *name == spec.family.name()))
        .map(|spec| (spec.open)(matches, &common))
        .collect()
}

/// Gathers what `serve` needs: opens sources and binds sockets.
///
/// # Errors
/// A flag or file that cannot be used, or an address that is taken.
pub fn serve(name: &'static str, specs: &[SourceSpec], matches: &ArgMatches) -> Result<Serve, Failure> {
    let opened = sources(specs, matches)?;
    let listeners = if matches.get_flag("web.systemd-socket") {
        listen::from_systemd()?
    } else {
        let addresses = matches.get_many::<ListenAddress>("web.listen-address").expect("has a default");
        addresses.map(listen::bind).collect::<Result<_, _>>()?
    };
    let names: Vec<&str> = many(matches, "names");
    let mut filters = Vec::new();
    let mut sources = Vec::new();
    for Opened { source, filters: chosen } in opened {
        sources.push(source);
        filters.extend(chosen);
    }
    let Common { interval, sysfs, procfs, .. } = common(matches);
    Ok(Serve {
        name,
        sources,
        // Who runs a program for one family has asked for it.
        auto: specs.len() > 1 && many(matches, "source").contains(&"auto"),
        tempo: Tempo::new(interval),
        sysfs,
        host: matches.get_flag("host.metrics").then(|| Host::new(&procfs)),
        names: Names { unified: names.contains(&"unified"), vendor: names.contains(&"vendor"), filters },
        listeners,
        web: Web {
            telemetry_path: one::<String>(matches, "web.telemetry-path"),
            max_requests: one(matches, "web.max-requests"),
            max_connections: one(matches, "web.max-connections"),
            limits: Limits {
                head: one(matches, "web.header-timeout"),
                idle: one(matches, "web.idle-timeout"),
            },
        },
    })
}

fn common(matches: &ArgMatches) -> Common {
    let path = |name| PathBuf::from(one::<String>(matches, name));
    let procfs = path("path.procfs");
    // `probe` has no interval; what it shows does not depend on one.
    let interval = matches.try_get_one("interval").ok().flatten().copied().unwrap_or(Duration::from_secs(1));
    let kernel = || fs::read_to_string(procfs.join("sys/kernel/hostname")).unwrap_or_default();
    let node = std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
    let hostname = node.unwrap_or_else(|| kernel().trim().to_owned());
    Common { interval, sysfs: path("path.sysfs"), procfs, hostname }
}

fn one<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> T {
    matches.get_one::<T>(name).expect("has a default").clone()
}

fn many<'a>(matches: &'a ArgMatches, name: &str) -> Vec<&'a str> {
    matches.get_many::<String>(name).expect("has a default").map(String::as_str).collect()
}
