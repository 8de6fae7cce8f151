//! Reads the file and those that it names, and checks all that can be wrong with them.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use document::{DocumentError, Node, Value, unknown};
use hyper::header::{HeaderName, HeaderValue};
use source::user_file;

use super::{WebConfig, rate::Rate, tls, users::Users};

/// The headers that exporter-toolkit lets a file set, and their values where only some are allowed.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// A file that was read, whether it can be used or not.
pub struct Read {
    /// It and the files that it names, as they were: a change of any of them is a reason to read again.
    pub files: Vec<(PathBuf, Stamp)>,
    /// What it says, or in one line what is wrong, where, and what to do.
    pub config: Result<WebConfig, String>,
}

/// What changes when a file does: device, inode, length, and both times in nanoseconds; nothing while there is none.
pub type Stamp = Option<[i64; 7]>;

/// The stamp of a file now.
pub fn stamp(file: &Path) -> Stamp {
    let of = fs::metadata(file).ok()?;
    #[expect(clippy::cast_possible_wrap, reason = "compared with itself only")]
    let [device, inode, length] = [of.dev(), of.ino(), of.size()].map(|number| number as i64);
    Some([device, inode, length, of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()])
}

/// Reads the file. With `protects_health` a handshake without a client certificate fails where the file requires
/// one, since no path is open.
pub fn read(path: &Path, protects_health: bool) -> Read {
    let mut files = Files { folder: path.parent().unwrap_or(Path::new("")), read: Vec::new() };
    // Before it is read, so that a change in between is seen later.
    files.read.push((path.to_owned(), stamp(path)));
    let text = user_file::read(path, user_file::WRITTEN_MAX);
    let text =
        text.map_err(|error| format!("{}: {error}; --web.config.file takes a readable file", path.display()));
    let config = text.and_then(|text| {
        let config = document::yaml(&text).and_then(|tree| config(&tree, protects_health, &mut files));
        config.map_err(|error| error.of(path.display()))
    });
    Read { files: files.read, config }
}

/// The files that are read.
pub(super) struct Files<'a> {
    folder: &'a Path,
    read: Vec<(PathBuf, Stamp)>,
}

impl Files<'_> {
    /// The content of a file that `node` names; relative to the folder of the file that names it.
    fn read(&mut self, node: &Node, name: &str) -> Result<Vec<u8>, DocumentError> {
        let path = self.folder.join(node.text(name)?);
        self.read.push((path.clone(), stamp(&path)));
        user_file::bytes(&path, user_file::WRITTEN_MAX)
            .or_else(|error| node.error(format!("{name} {}: {error}", path.display())))
    }
}

/// The values of a table by their keys. Empty ones are not set.
pub(super) struct Section<'n>(BTreeMap<&'n str, &'n Node>);

impl<'n> Section<'n> {
    pub(super) fn read(node: &'n Node, name: &str, known: &[&str]) -> Result<Self, DocumentError> {
        let mut values = BTreeMap::new();
        for (key, place, value) in node.table(name)? {
            if !known.contains(&key) {
                return unknown(place, key, name, known.iter().copied());
            }
            let is_empty = match &value.value {
                Value::Nothing => true,
                Value::Text(text) => text.is_empty(),
                _ => false,
            };
            if !is_empty {
                values.insert(key, value);
            }
        }
        Ok(Self(values))
    }

    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.0.get(key).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A PEM text in the file, or in a file that it names, and where it is set. As in exporter-toolkit, the
    /// file counts where there are both.
    pub(super) fn pem(
        &self,
        key: &str,
        files: &mut Files<'_>,
    ) -> Result<Option<(&'n Node, Vec<u8>)>, DocumentError> {
        let key_of_file = format!("{key}_file");
        match (self.get(&key_of_file), self.get(key)) {
            (Some(node), _) => Ok(Some((node, files.read(node, &key_of_file)?))),
            (None, Some(node)) => Ok(Some((node, node.text(key)?.as_bytes().to_vec()))),
            (None, None) => Ok(None),
        }
    }

    /// True or false, in all the words that YAML 1.1 has for them.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, DocumentError> {
        let Some(node) = self.get(key) else { return Ok(default) };
        match &node.value {
            Value::Text(text) if ["yes", "on", "y"].contains(&&*text.to_lowercase()) => Ok(true),
            Value::Text(text) if ["no", "off", "n"].contains(&&*text.to_lowercase()) => Ok(false),
            _ => node.flag(key),
        }
    }

    /// The texts of a list, with their nodes.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<(&'n Node, &'n str)>>, DocumentError> {
        let Some(node) = self.get(key) else { return Ok(None) };
        let texts = node.list(key)?.iter().map(|item| Ok((item, item.text(key)?)));
        texts.collect::<Result<_, _>>().map(Some)
    }
}

fn config(tree: &Node, protects_health: bool, files: &mut Files<'_>) -> Result<WebConfig, DocumentError> {
    const SECTIONS: [&str; 4] = ["basic_auth_users", "http_server_config", "rate_limit", "tls_server_config"];
    let sections = Section::read(tree, "a web configuration", &SECTIONS)?;
    let mut config = WebConfig::default();
    let mut http2 = true;
    if let Some(node) = sections.get("http_server_config") {
        let section = Section::read(node, "http_server_config", &["headers", "http2"])?;
        http2 = section.flag("http2", true)?;
        if let Some(node) = section.get("headers") {
            config.headers = headers(node)?;
        }
    }
    if let Some(node) = sections.get("basic_auth_users") {
        config.users = Users::read(node)?;
    }
    if let Some(node) = sections.get("rate_limit") {
        config.rate = rate(node)?;
    }
    if let Some(node) = sections.get("tls_server_config") {
        config.tls = tls::read(node, http2, protects_health, files)?;
    }
    Ok(config)
}

fn headers(node: &Node) -> Result<Vec<(HeaderName, HeaderValue)>, DocumentError> {
    let known: Vec<_> = HEADERS.iter().map(|(name, _)| *name).collect();
    let section = Section::read(node, "headers", &known)?;
    let mut headers = Vec::new();
    for (name, allowed) in HEADERS {
        let Some(node) = section.get(name) else { continue };
        // `X-XSS-Protection: 0` is a number to YAML.
        let text = match &node.value {
            Value::Number(number) => number.to_string(),
            _ => node.text(name)?.to_owned(),
        };
        if !allowed.is_empty() && !allowed.contains(&&*text) {
            return node.error(format!("{name} is {}", allowed.join(" or ")));
        }
        let value = HeaderValue::from_str(&text);
        let value = value.or_else(|_| node.error(format!("{name}: no header can have this value")))?;
        headers.push((HeaderName::from_bytes(name.as_bytes()).expect("each of these is a name"), value));
    }
    Ok(headers)
}

fn rate(node: &Node) -> Result<Option<Rate>, DocumentError> {
    let section = Section::read(node, "rate_limit", &["burst", "interval"])?;
    let interval = match section.get("interval") {
        None => Duration::ZERO,
        Some(node) => interval(node)?,
    };
    if interval.is_zero() {
        return Ok(None);
    }
    let (place, burst) = match section.get("burst") {
        None => (node, 0.0),
        Some(node) => (node, node.number("burst")?),
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds")]
    if (1.0..=f64::from(u32::MAX)).contains(&burst) && burst.fract() == 0.0 {
        Ok(Some(Rate { interval, burst: burst as u32 }))
    } else {
        place.error("rate_limit needs a burst of 1 or more: with less, every request would be refused")
    }
}

/// A duration as Go writes it, such as `1m30s` or `1.5s`; a bare number is nanoseconds.
fn interval(node: &Node) -> Result<Duration, DocumentError> {
    let duration = match &node.value {
        Value::Number(nanoseconds) => Duration::try_from_secs_f64(nanoseconds / 1e9).ok(),
        Value::Text(text) => go_duration(text),
        _ => None,
    };
    duration.map_or_else(|| node.error("interval is a duration such as 100ms, 1s or 1m30s"), Ok)
}

fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, after) = rest.split_at(number);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let factor = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += value.parse::<f64>().ok()? * factor;
        rest = after;
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::go_duration;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, milliseconds) in
            [("1s", 1000), ("1m30s", 90_000), ("1.5s", 1500), ("100ms", 100), ("1h", 3_600_000), ("500us", 0)]
        {
            assert_eq!(go_duration(text).map(|duration| duration.as_millis()), Some(milliseconds), "{text}");
        }
        assert_eq!(go_duration("250µs"), Some(Duration::from_micros(250)));
        for text in ["", "1", "s", "1x", "-1s", "1s2", "..s"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }
}
