//! An operator's own bounds, durations, objectives, prices and labels, checked before anything is generated.

mod alerts;
mod prices;
mod scope;
mod selector;
mod signals;
mod slo;

use std::collections::BTreeMap;

use document::{DocumentError, Node, Value, unknown};

use crate::{catalogue::Catalogue, number::Duration};

/// Labels that rules, series or Prometheus have themselves: another value for all would make two series one.
const RESERVED: [&str; 35] = [
    "action",
    "alertname",
    "alertstate",
    "availability",
    "capability",
    "cause",
    "cluster",
    "code",
    "device",
    "engine",
    "error",
    "family",
    "fault",
    "instance",
    "job",
    "kind",
    "link",
    "model",
    "namespace",
    "node",
    "partition",
    "pod",
    "reason",
    "region",
    "sensor",
    "severity",
    "signal",
    "sli",
    "slo_class",
    "source",
    "target_model",
    "uuid",
    "version",
    "where",
    "window",
];

/// Taken for the scrape interval where the file names none, as the documentation does.
const SCRAPE_INTERVAL: Duration = Duration(15);

/// Samples that a window needs: a rate takes two, and one or two scrapes may fail.
const SAMPLES_MIN: u64 = 4;

/// Longer than anything that a rate shows is news.
const RATE_WINDOW_MAX: Duration = Duration(3600);

/// Changes to the catalogue, read from files and found possible.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// In the order in which they are applied.
    trees: Vec<Node>,
}

/// Why an override file cannot be used: one line with file, line and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OverridesError(String);

impl Overrides {
    /// Reads `text`, the content of the file that is called `file`: YAML when it ends in `.yaml` or `.yml`,
    /// else TOML.
    pub fn parse(file: &str, text: &str) -> Result<Self, OverridesError> {
        Self::default().and(file, text)
    }

    /// These, and after them those of another file: where both say something, the later one counts.
    pub fn and(mut self, file: &str, text: &str) -> Result<Self, OverridesError> {
        let extension = file.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        let read =
            if ["yaml", "yml"].contains(&extension.as_str()) { document::yaml } else { document::toml };
        let check = |tree: &Node| {
            let without_line = |what| DocumentError { line: 1, what };
            let mut catalogue = Catalogue::builtin().map_err(without_line)?;
            self.apply(&mut catalogue).map_err(without_line)?;
            change(&mut catalogue, tree)
        };
        match read(text).and_then(|tree| check(&tree).map(|()| tree)) {
            Ok(tree) => {
                self.trees.push(tree);
                Ok(self)
            }
            Err(error) => Err(OverridesError(error.of(file))),
        }
    }

    /// Changes a catalogue whose references are not resolved yet.
    pub(crate) fn apply(&self, catalogue: &mut Catalogue) -> Result<(), String> {
        self.trees.iter().try_for_each(|tree| change(catalogue, tree).map_err(|fault| fault.what))
    }
}

/// A duration of the catalogue in a document.
trait DurationNode {
    /// A duration in the words of Prometheus.
    fn duration(&self, name: &str) -> Result<Duration, DocumentError>;
}

impl DurationNode for Node {
    fn duration(&self, name: &str) -> Result<Duration, DocumentError> {
        let duration = match &self.value {
            Value::Text(text) => Duration::parse(text),
            _ => None,
        };
        duration.map_or_else(
            || self.error(format!("{name} is a duration such as \"90s\", \"5m\" or \"1h30m\"")),
            Ok,
        )
    }
}

fn change(catalogue: &mut Catalogue, tree: &Node) -> Result<(), DocumentError> {
    let sections = [
        "signals",
        "alerts",
        "slo",
        "prices",
        "labels",
        "jobs",
        "engines",
        "families",
        "leave_out",
        "severities",
        "operator",
        "node_label",
        "tenant_label",
        "runbook_url_prefix",
        "dashboard_url_prefix",
        "scrape_interval",
        "rate_window",
    ];
    // Where the last of the two stands that must fit each other.
    let mut last: Option<&Node> = None;
    let mut sections_here = tree.table("the file")?;
    // Words that the other sections may use.
    sections_here.sort_by_key(|(name, ..)| *name != "severities");
    for (name, key, value) in sections_here {
        match name {
            "signals" => signals::change(catalogue, value)?,
            "alerts" => alerts::change(catalogue, value)?,
            "slo" => slo::change(catalogue, value)?,
            "prices" => prices::change(catalogue, value)?,
            "labels" => catalogue.labels.extend(labels(value)?),
            "jobs" => scope::jobs(catalogue, value)?,
            "engines" => scope::engines(catalogue, value)?,
            "families" => scope::families(catalogue, value)?,
            "leave_out" => scope::leave_out(catalogue, value)?,
            "severities" => scope::severities(catalogue, value)?,
            "operator" => scope::operator(catalogue, value)?,
            "node_label" => catalogue.node_label = scope::target_label(value, "node")?,
            "tenant_label" => catalogue.tenant_label = scope::target_label(value, "tenant")?,
            "runbook_url_prefix" => value.text(name)?.clone_into(&mut catalogue.runbook_prefix),
            "dashboard_url_prefix" => value.text(name)?.clone_into(&mut catalogue.dashboard_prefix),
            "scrape_interval" => {
                let interval = value.duration(name)?;
                if interval.0 == 0 {
                    return value.error("scrape_interval is 1s or more");
                }
                catalogue.scrape_interval = Some(interval);
                last = Some(value);
            }
            "rate_window" => {
                let window = value.duration(name)?;
                if window > RATE_WINDOW_MAX {
                    return value.error(format!("rate_window is at most {RATE_WINDOW_MAX}"));
                }
                catalogue.rate_window = window;
                last = Some(value);
            }
            _ => return unknown(key, name, "an override file", sections.into_iter()),
        }
    }
    let (window, interval) = (catalogue.rate_window, catalogue.scrape_interval.unwrap_or(SCRAPE_INTERVAL));
    match last {
        Some(node) if window.0 < SAMPLES_MIN * interval.0 => node.error(format!(
            "a rate_window of {window} does not hold {SAMPLES_MIN} samples at a scrape_interval of {interval}"
        )),
        _ => Ok(()),
    }
}

/// Labels that are added to alerts.
fn labels(node: &Node) -> Result<BTreeMap<String, String>, DocumentError> {
    let mut labels = BTreeMap::new();
    for (name, key, value) in node.table("labels")? {
        label_name(key, name)?;
        if RESERVED.contains(&name) {
            return key.error(format!(
                "label `{name}` is set by the rules or their series; choose another name, or set it as an external label of Prometheus"
            ));
        }
        labels.insert(name.to_owned(), value.text(name)?.to_owned());
    }
    Ok(labels)
}

/// A name that Prometheus takes for a label.
fn label_name(node: &Node, name: &str) -> Result<(), DocumentError> {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(letters) {
        return Ok(());
    }
    node.error(format!("`{name}` is no label name: letters, digits and _, beginning with a letter"))
}

/// A list of texts, or one text.
fn texts<'n>(node: &'n Node, name: &str) -> Result<Vec<(&'n Node, &'n str)>, DocumentError> {
    match &node.value {
        Value::List(items) => items.iter().map(|item| Ok((item, item.text(name)?))).collect(),
        _ => Ok(vec![(node, node.text(name)?)]),
    }
}

/// A name in which `*` stands for any text. What looks like a regular expression would match nothing.
fn pattern<'t>(node: &Node, text: &'t str) -> Result<&'t str, DocumentError> {
    if text.is_empty() {
        return node.error("a name is not empty");
    }
    if text.contains(".*") || text.contains(".+") {
        return node.error(format!(
            "`{text}` is no regular expression: `*` alone stands for any text, as in `{}`",
            text.replace(".*", "*").replace(".+", "*")
        ));
    }
    if text.contains('|') {
        return node.error(format!("`{text}` is one name; write a list of names"));
    }
    Ok(text)
}

/// Whether every name that the second pattern matches is matched by the first: then the second is never reached.
pub(crate) fn covers(pattern: &str, other: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == other };
    other.strip_prefix(head).is_some_and(|rest| {
        let mut ends = (0..=rest.len()).filter(|at| rest.is_char_boundary(*at));
        if tail.contains('*') { ends.any(|at| covers(tail, &rest[at..])) } else { rest.ends_with(tail) }
    })
}
