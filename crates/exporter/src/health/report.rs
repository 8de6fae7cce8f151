//! The verdict on a node, as JSON and as lines. What is absent has no member.

use serde::{Deserialize, Serialize};
use thresholds::{Health, HealthReason, Judge, Presence, actions};

use super::Verdict;
use crate::sampling::state::{ConnectionStatus, NodeState, SourceState};

/// The version of the document's shape: a member that is renamed or removed, or changes its meaning, raises it.
const SCHEMA: u32 = 1;

/// The longest line: as much as node-problem-detector keeps of a message by default.
const LINE: usize = 80;

/// The node.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    schema: u32,
    node: String,
    /// `ok`, `degraded`, `failed` or `unknown`: the worst of its sources and devices.
    pub state: String,
    /// Sources that are not ok.
    pub sources: Vec<OfSource>,
    /// Every device.
    pub devices: Vec<OfDevice>,
}

/// A source of which something is wrong that is no device's.
#[derive(Debug, Serialize, Deserialize)]
pub struct OfSource {
    family: String,
    state: String,
    reasons: Vec<Why>,
}

/// A device.
#[derive(Debug, Serialize, Deserialize)]
pub struct OfDevice {
    family: String,
    device: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pci_bus_id: Option<String>,
    state: String,
    #[serde(default)]
    reasons: Vec<Why>,
}

/// A reason.
#[derive(Debug, Serialize, Deserialize)]
pub struct Why {
    reason: String,
    state: String,
    meaning: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    detail: String,
    /// The alert that pages for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    alert: Option<String>,
    /// What that alert asks for.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    actions: Vec<String>,
}

impl Why {
    /// With a detail, where there is one.
    pub fn of(reason: &HealthReason, state: Health, detail: &str) -> Self {
        Self {
            reason: reason.name.to_owned(),
            state: state.word().to_owned(),
            meaning: reason.meaning.to_owned(),
            detail: detail.to_owned(),
            alert: reason.alert.map(str::to_owned),
            actions: Vec::new(),
        }
    }

    /// Its name and detail.
    pub fn short(&self) -> String {
        if self.detail.is_empty() {
            self.reason.clone()
        } else {
            format!("{} ({})", self.reason, self.detail)
        }
    }
}

fn health(word: &str) -> Health {
    Health::ALL.into_iter().find(|health| health.word() == word).unwrap_or(Health::Unknown)
}

fn of_source(source: &SourceState) -> Option<OfSource> {
    let connection = source.connection();
    let counts = connection.found.zip(connection.expected).filter(|(found, expected)| found < expected);
    let presence = match &connection.status {
        _ if connection.absent => return None,
        ConnectionStatus::Starting => Presence::Starting,
        // A driver that does not respond says nothing of its devices.
        ConnectionStatus::Down(_) if source.is_late() => Presence::Hung,
        // Devices that are known to be lost are judged themselves, as in the rule of those that are missing.
        _ if source.snapshots().iter().any(|snapshot| snapshot.status.is_lost()) => return None,
        _ if counts.is_some() => Presence::Missing,
        ConnectionStatus::Up => return None,
        ConnectionStatus::Down(_) => Presence::Lost,
    };
    let reason = HealthReason::of(presence)?;
    let detail = match (&connection.status, counts) {
        (_, Some((found, expected))) if presence == Presence::Missing => format!("{found} of {expected}"),
        (ConnectionStatus::Down(why), _) => why.clone(),
        _ => String::new(),
    };
    // Of its devices nothing is known, except that some are missing.
    let state = if presence == Presence::Missing { reason.state } else { Health::Unknown };
    let reasons = vec![Why::of(reason, state, &detail)];
    Some(OfSource { family: source.family.name().to_owned(), state: state.word().to_owned(), reasons })
}

impl Report {
    /// Of a node with these verdicts.
    pub fn of(node_name: &str, node: &NodeState, verdicts: &[Verdict]) -> Self {
        let device = |verdict: &Verdict| OfDevice {
            family: verdict.identity.family.name().to_owned(),
            device: verdict.identity.device.clone(),
            uuid: verdict.identity.uuid.clone(),
            pci_bus_id: verdict.address.clone(),
            state: verdict.state.word().to_owned(),
            reasons: verdict
                .reasons
                .iter()
                .map(|(reason, detail)| Why::of(reason, reason.state, detail))
                .collect(),
        };
        let sources = node.sources.iter().filter_map(|source| of_source(source)).collect();
        Self {
            schema: SCHEMA,
            node: node_name.to_owned(),
            state: String::new(),
            sources,
            devices: verdicts.iter().map(device).collect(),
        }
        .judged()
    }

    /// With the worst of its parts as its state. A node of which no device is known is not known to be ok.
    fn judged(mut self) -> Self {
        let sources = self.sources.iter().map(|source| &source.state);
        let states = sources.chain(self.devices.iter().map(|device| &device.state));
        let worst = states.map(|word| health(word)).max().unwrap_or(Health::Unknown);
        worst.word().clone_into(&mut self.state);
        self
    }

    /// The state.
    pub fn health(&self) -> Health {
        health(&self.state)
    }

    /// With these devices alone, each by its name, UUID or PCI address.
    ///
    /// # Errors
    /// The first that is not known, in a line.
    pub fn only(mut self, wanted: &[String]) -> Result<Self, String> {
        let is = |device: &OfDevice, wanted: &String| {
            let names = [Some(&device.device), device.uuid.as_ref(), device.pci_bus_id.as_ref()];
            names.into_iter().flatten().any(|name| name.eq_ignore_ascii_case(wanted))
        };
        if let Some(unknown) = wanted.iter().find(|one| !self.devices.iter().any(|device| is(device, one))) {
            let known: Vec<_> = self.devices.iter().map(|device| device.device.as_str()).collect();
            return Err(format!("no device {unknown}; known: {}", known.join(", ")));
        }
        self.sources.clear();
        self.devices.retain(|device| wanted.iter().any(|one| is(device, one)));
        Ok(self.judged())
    }

    /// For machines, with what each alert asks for.
    pub fn json(mut self) -> String {
        let of_devices = self.devices.iter_mut().flat_map(|device| &mut device.reasons);
        let all = of_devices.chain(self.sources.iter_mut().flat_map(|source| &mut source.reasons));
        let judge = Judge::builtin();
        for why in all {
            // What an error's code asks for comes before what its alert does.
            let codes = why.detail.split(", ").filter_map(|code| code.split_once(' '));
            let of_codes = codes.filter_map(|(kind, code)| judge.code(kind, code).1).map(str::to_owned);
            why.actions = of_codes.chain(why.alert.iter().flat_map(|alert| actions(alert))).collect();
        }
        let mut text = serde_json::to_string_pretty(&self).expect("no map has keys other than strings");
        text.push('\n');
        text
    }

    /// The node in one line of at most 80 characters.
    pub fn line(&self) -> String {
        let of_sources = self.sources.iter().map(|source| (&source.family, &source.state, &source.reasons));
        let of_devices = self.devices.iter().map(|device| (&device.device, &device.state, &device.reasons));
        let mut parts: Vec<_> = of_sources.chain(of_devices).collect();
        parts.retain(|(_, state, _)| health(state) != Health::Ok);
        // The worst first; the rest of the line may be cut.
        parts.sort_by_key(|(_, state, _)| std::cmp::Reverse(health(state)));
        let words = |(name, _, reasons): &(&String, &String, &Vec<Why>)| {
            let first = reasons.first().map_or_else(String::new, |why| format!(" {}", why.short()));
            format!("{name}{first}")
        };
        let text = match (&*parts, self.devices.len()) {
            ([], 0) => "no device found".to_owned(),
            ([], 1) => self.devices[0].device.clone(),
            ([], count) => format!("{count} devices"),
            (parts, _) => {
                return fitted(&format!("{}: ", self.state), &parts.iter().map(words).collect::<Vec<_>>());
            }
        };
        fitted(&format!("{}: ", self.state), &[text])
    }

    /// A line for each device.
    pub fn lines(&self) -> Vec<String> {
        let line = |device: &OfDevice| {
            let reasons: Vec<_> = device.reasons.iter().map(Why::short).collect();
            fitted(&format!("{}: {} ", device.state, device.device), &reasons)
        };
        self.devices.iter().map(line).collect()
    }
}

/// As many of the parts as a line has room for, and how many more there are.
fn fitted(before: &str, parts: &[String]) -> String {
    let count = |text: &str| text.chars().count();
    for shown in (0..=parts.len()).rev() {
        let mut line = before.to_owned() + &parts[..shown].join(", ");
        if shown < parts.len() {
            line += if shown == 0 { "" } else { ", " };
            line.extend([(parts.len() - shown).to_string().as_str(), " more"]);
        }
        let line = line.trim_end().to_owned();
        if count(&line) <= LINE {
            return line;
        }
        if shown == 1 {
            let cut: String = line.chars().take(LINE - 3).collect();
            return format!("{cut}...");
        }
    }
    before.trim_end().chars().take(LINE).collect()
}

/// The line where nothing is known, and why.
pub fn unknown(why: &str) -> String {
    fitted("unknown: ", &[why.replace('\n', " ")])
}
