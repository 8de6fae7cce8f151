//! The file of a catalogue, and what is wrong with it.

use document::{DocumentError, Node, unknown};

use super::{Backend, ENGINES};
use crate::overrides::covers;

/// Keys of a backend, the needed ones first.
const KEYS: [&str; 12] = [
    "name",
    "endpoint",
    "backend",
    "capabilities",
    "region",
    "model",
    "target_model",
    "tokenizer",
    "tokenizer_file",
    "tokenizer_sha256",
    "instances",
    "cluster",
];
const NEEDED: usize = 5;

/// What regions are called that are branches, where the catalogue does not say.
const EDGE: &str = "edge*";

/// A backend with what only its checks need.
struct Entry<'n> {
    backend: Backend,
    node: &'n Node,
    endpoint: (&'n Node, String),
    target: Option<&'n Node>,
    /// The digest of its tokenizer's file, and where it says so.
    digest: Option<(&'n Node, String)>,
}

/// The backends of a catalogue.
pub(super) fn backends(
    tree: &Node,
    digest: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Vec<Backend>, DocumentError> {
    let (mut list, mut edge) = (None, None);
    for (name, key, value) in tree.table("the file")? {
        match name {
            "backends" => list = Some(value),
            "edge" => edge = Some(value),
            _ => return unknown(key, name, "a catalogue", ["backends", "edge"].into_iter()),
        }
    }
    let Some(list) = list else { return tree.error("the list `backends` is missing; add it") };
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for node in list.list("backends")? {
        let entry = entry(node, digest)?;
        for other in &entries {
            let own = &entry.backend;
            if other.backend.name == own.name {
                return node
                    .error(format!("a second backend is called `{}`; give it a name of its own", own.name));
            }
            if other.endpoint.1 == entry.endpoint.1 {
                return entry.endpoint.0.error(format!(
                    "endpoint {} is that of `{}` on line {}; give each backend its own, or remove one",
                    own.endpoint, other.backend.name, other.node.line
                ));
            }
        }
        entries.push(entry);
    }
    if entries.is_empty() {
        return list.error("`backends` is empty; list at least one");
    }
    place(&mut entries, edge)?;
    entries.iter().try_for_each(|entry| check_target(entry, &entries))?;
    check_digests(&entries)?;
    Ok(entries.into_iter().map(|entry| entry.backend).collect())
}

/// Says which backends are in branches.
fn place(entries: &mut [Entry<'_>], edge: Option<&Node>) -> Result<(), DocumentError> {
    let patterns = match edge {
        Some(node) => {
            let items = node.list("edge")?.iter();
            items.map(|item| Ok((Some(item), word(item, "a region of edge")?))).collect::<Result<_, _>>()?
        }
        None => vec![(None, EDGE)],
    };
    for (node, pattern) in &patterns {
        let reached = entries.iter().any(|entry| covers(pattern, &entry.backend.region));
        if let (Some(node), false) = (node, reached) {
            let regions = entries.iter().map(|entry| entry.backend.region.as_str());
            return unknown(node, pattern, "the regions of the backends", regions);
        }
    }
    for Entry { backend, .. } in entries {
        backend.is_edge = patterns.iter().any(|(_, pattern)| covers(pattern, &backend.region));
    }
    Ok(())
}

fn entry<'n>(
    node: &'n Node,
    digest: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Entry<'n>, DocumentError> {
    let table = node.table("a backend")?;
    if let Some((name, key, _)) = table.iter().find(|(name, ..)| !KEYS.contains(name)) {
        return unknown(key, name, "a backend", KEYS.into_iter());
    }
    let get = |name: &str| table.iter().find(|(key, ..)| *key == name).map(|(.., value)| *value);
    let text = |name: &'static str| get(name).map(|value| word(value, name)).transpose();
    if let Some(missing) = KEYS[..NEEDED].iter().find(|key| get(key).is_none()) {
        let of = text("name")?.map(|name| format!(" of `{name}`")).unwrap_or_default();
        return node.error(format!("`{missing}`{of} is missing; add it"));
    }
    let needed = |name: &'static str| Ok(text(name)?.unwrap_or_default().to_owned());
    let name: String = needed("name")?;
    let engine = needed("backend")?;
    if !ENGINES.contains(&engine.as_str()) {
        return unknown(get("backend").unwrap_or(node), &engine, "the engines", ENGINES.into_iter());
    }
    let endpoint: String = needed("endpoint")?;
    let endpoint_node = get("endpoint").unwrap_or(node);
    let (authority, normal) = match address(&endpoint) {
        Ok(address) => address,
        Err(why) => {
            return endpoint_node.error(format!(
                "endpoint {endpoint} {why}; write it as http://host:port or https://host:port/path"
            ));
        }
    };
    let target = text("target_model")?;
    let capabilities = words(get("capabilities").unwrap_or(node), "capabilities")?;
    if target.is_none() && capabilities.iter().any(|capability| capability.contains("draft")) {
        return node.error(format!("`{name}` drafts, and for whom is not said; add target_model"));
    }
    let digest = match (get("tokenizer_file"), get("tokenizer_sha256")) {
        (Some(_), Some(node)) => {
            return node.error("tokenizer_file has a digest of its own; remove tokenizer_sha256");
        }
        (Some(node), None) => match digest(word(node, "tokenizer_file")?) {
            Ok(digest) => Some((node, digest)),
            Err(why) => {
                return node.error(format!("tokenizer_file {why}; name a readable file, or remove it"));
            }
        },
        (None, Some(node)) => {
            let digest = word(node, "tokenizer_sha256")?.to_ascii_lowercase();
            if digest.len() != 64 || !digest.chars().all(|c| c.is_ascii_hexdigit()) {
                return node.error("tokenizer_sha256 is 64 hexadecimal digits, as sha256sum prints them");
            }
            Some((node, digest))
        }
        (None, None) => None,
    };
    let backend = Backend {
        engine,
        endpoint,
        model: text("model")?.unwrap_or(&name).to_owned(),
        capabilities,
        region: needed("region")?,
        is_edge: false,
        target: target.map(str::to_owned),
        tokenizer: text("tokenizer")?.map(str::to_owned),
        instances: match get("instances") {
            Some(node) => words(node, "instances")?,
            None => vec![authority],
        },
        cluster: text("cluster")?.map(str::to_owned),
        name,
    };
    Ok(Entry { backend, node, endpoint: (endpoint_node, normal), target: get("target_model"), digest })
}

/// A drafter's target is there, drafts for nobody, and has the same tokenizer.
fn check_target(drafter: &Entry<'_>, entries: &[Entry<'_>]) -> Result<(), DocumentError> {
    let (Some(node), Some(target)) = (drafter.target, &drafter.backend.target) else { return Ok(()) };
    let is_meant = |entry: &&Entry<'_>| entry.backend.model == *target || entry.backend.name == *target;
    let mut targets = entries.iter().filter(is_meant).peekable();
    if targets.peek().is_none() {
        let models = entries.iter().flat_map(|entry| [&*entry.backend.name, &*entry.backend.model]);
        return unknown(node, target, "the backends", models);
    }
    let own = &drafter.backend;
    for Entry { backend: other, digest, .. } in targets {
        if other.target.is_some() {
            return node.error(format!("`{}` drafts itself; name the model that verifies", other.name));
        }
        let both_named = own.tokenizer.as_ref().zip(other.tokenizer.as_ref());
        let same = if let (Some((_, own)), Some((_, other))) = (&drafter.digest, digest) {
            own == other
        } else if let Some((own, other)) = both_named {
            own == other
        } else {
            let without = if own.tokenizer.is_none() { own } else { other };
            return node.error(format!(
                "the tokenizers of `{}` and its target `{}` cannot be compared; add tokenizer to `{}`",
                own.name, other.name, without.name
            ));
        };
        if !same {
            let named = |backend: &Backend, digest: &Option<(&Node, String)>| {
                let name = backend.tokenizer.as_deref().unwrap_or("its tokenizer");
                let digest = digest.as_ref().map(|(_, digest)| format!(" ({})", &digest[..12]));
                format!("{name}{}", digest.unwrap_or_default())
            };
            return node.error(format!(
                "`{}` has {} and its target `{}` has {}: drafted tokens would mean something else; use one tokenizer for both",
                own.name,
                named(own, &drafter.digest),
                other.name,
                named(other, digest)
            ));
        }
    }
    Ok(())
}

/// One name of a tokenizer is one file.
fn check_digests(entries: &[Entry<'_>]) -> Result<(), DocumentError> {
    for (at, entry) in entries.iter().enumerate() {
        let Some((node, digest)) = &entry.digest else { continue };
        let differs = |other: &&Entry<'_>| {
            other.backend.tokenizer == entry.backend.tokenizer
                && other.digest.as_ref().is_some_and(|(_, other)| other != digest)
        };
        if let (Some(name), Some(other)) = (&entry.backend.tokenizer, entries[..at].iter().find(differs)) {
            return node.error(format!(
                "tokenizer {name} is another file than that of `{}` on line {}; give one of them another name",
                other.backend.name, other.node.line
            ));
        }
    }
    Ok(())
}

/// A text that is a label's value.
fn word<'n>(node: &'n Node, name: &str) -> Result<&'n str, DocumentError> {
    let text = node.text(name)?;
    if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
        return node
            .error(format!("{name} is empty, or has spaces around it or control characters; write a word"));
    }
    Ok(text)
}

/// A list of such texts, none of them twice.
fn words(node: &Node, name: &str) -> Result<Vec<String>, DocumentError> {
    let mut all: Vec<String> = Vec::new();
    for item in node.list(name)? {
        let text = word(item, name)?;
        if all.iter().any(|known| known == text) {
            return item.error(format!("`{text}` is listed twice in {name}; remove one"));
        }
        all.push(text.to_owned());
    }
    if all.is_empty() {
        return node.error(format!("{name} is empty; list at least one"));
    }
    Ok(all)
}

/// Host and port of an endpoint, and the endpoint in the one form that all its spellings have.
fn address(endpoint: &str) -> Result<(String, String), &'static str> {
    let (scheme, rest) = endpoint.split_once("://").ok_or("has no scheme")?;
    let default: u16 = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err("is neither http nor https"),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("holds a password, which does not belong into labels");
    }
    if path.contains(['?', '#']) {
        return Err("has a query");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| "has no such port")?),
        _ => (authority, default),
    };
    if host.is_empty() || host.contains(char::is_whitespace) || port == 0 {
        return Err("has no host or no port");
    }
    let authority = format!("{}:{port}", host.to_ascii_lowercase());
    let normal = format!("{scheme}://{authority}{}", path.trim_end_matches('/'));
    Ok((authority, normal))
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn an_endpoint_has_one_form() {
        let form = |endpoint| address(endpoint).map(|(authority, normal)| format!("{authority} {normal}"));
        assert_eq!(form("http://A.example/v1/"), Ok("a.example:80 http://a.example:80/v1".to_owned()));
        assert_eq!(form("https://a"), Ok("a:443 https://a:443".to_owned()));
        assert_eq!(form("http://[::1]:8000"), Ok("[::1]:8000 http://[::1]:8000".to_owned()));
        assert_eq!(form("http://[::1]"), Ok("[::1]:80 http://[::1]:80".to_owned()));
        for wrong in [
            "a:8000",
            "grpc://a:1",
            "http://",
            "http://:80",
            "http://a:x",
            "http://a:0",
            "http://u:p@a",
            "http://a?b",
        ] {
            assert!(form(wrong).is_err(), "{wrong}");
        }
    }
}
