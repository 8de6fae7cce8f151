//! Values of flags: how each is parsed, and the message for one that is wrong.

use std::{fmt, ops::RangeInclusive, path::PathBuf, time::Duration};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP port on one host, or on all when `host` is empty.
    Tcp {
        /// A name or address, without brackets.
        host: String,
        /// 0 lets the kernel choose.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Parses `:9477`, `host:9477`, `[::1]:9477` or `unix:/path`.
pub fn listen_address(text: &str) -> Result<ListenAddress, String> {
    const HOW: &str = "write :9477, 127.0.0.1:9477, [::1]:9477 or unix:/run/accelscope.sock";
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() {
            Err(format!("no path; {HOW}"))
        } else {
            Ok(ListenAddress::Unix(path.into()))
        };
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("no port; {HOW}"))?;
    let port = port.parse().map_err(|_| format!("the port is not a number from 0 to 65535; {HOW}"))?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(|| format!("no closing bracket; {HOW}"))?,
        None if host.contains(':') => return Err(format!("an IPv6 address needs brackets; {HOW}")),
        None => host,
    };
    Ok(ListenAddress::Tcp { host: host.to_owned(), port })
}

/// Parses the sampling interval.
pub fn interval(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_millis(100)..=Duration::from_mins(5), "100ms to 5m")
}

/// Parses the time between two lists.
pub fn list_interval(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1)..=Duration::from_mins(5), "1s to 5m")
}

/// Parses the time between two fine samples.
pub fn fine_interval(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_millis(100)..=Duration::from_secs(10), "100ms to 10s")
}

/// Parses the longest time of an incident.
pub fn incident_max(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1)..=Duration::from_hours(24), "1s to 24h")
}

/// Checks that a peer is a host with a port.
pub fn peer(text: &str) -> Result<String, String> {
    let is_whole =
        text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if is_whole {
        Ok(text.to_owned())
    } else {
        Err("write HOST:PORT, such as accelscope-headless:9477".to_owned())
    }
}

/// Parses a timeout.
pub fn timeout(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_millis(1)..=Duration::from_hours(1), "1ms to 1h")
}

fn within(text: &str, bounds: RangeInclusive<Duration>, write: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if bounds.contains(&duration) { Ok(duration) } else { Err(format!("out of bounds; write {write}")) }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "not a duration; write 250ms, 1s or 5m".to_owned())
}

/// Parses the path of a URL, outside of the paths that are our own.
pub fn request_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') || text.contains(['?', '#', ' ']) {
        Err("not the path of a URL; write /metrics".to_owned())
    } else if text.starts_with("/-/") {
        Err("/-/ is reserved for health checks; write /metrics".to_owned())
    } else {
        Ok(text.to_owned())
    }
}
