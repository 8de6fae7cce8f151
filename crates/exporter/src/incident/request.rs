//! What is posted: a notification of Alertmanager, or a call by hand.

use std::{collections::BTreeMap, time::Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{BY_HAND, Choice, Incident, digest};

/// How much of an alert's name is shown.
const NAME_MAX: usize = 128;

/// Version 4 of Alertmanager's webhook, as far as it is read.
#[derive(Deserialize)]
struct Notification {
    version: String,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    status: String,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    starts_at: String,
    #[serde(default)]
    fingerprint: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByHand {
    r#for: String,
    devices: Option<Vec<String>>,
}

/// What was done.
pub(super) struct Taken {
    /// As JSON for the client.
    pub(super) response: Value,
    /// Whether an alert is about another node, or about no node in particular.
    pub(super) is_for_others: bool,
}

/// Why nothing was done: the status of the response, and one line.
pub type Refusal = (u16, String);

fn bad(why: impl Into<String>) -> Refusal {
    (400, why.into())
}

impl Incident {
    /// Does what a body asks for.
    ///
    /// # Errors
    /// 400 for a body that is neither, 404 for a device that is not here.
    pub(super) fn take(&self, body: &[u8], now: Instant) -> Result<Taken, Refusal> {
        let mut is_for_others = false;
        let was_on = self.is_on();
        let value: Value = serde_json::from_slice(body).map_err(|error| bad(format!("not JSON: {error}")))?;
        if value.get("alerts").is_some() {
            let notification: Notification = serde_json::from_value(value)
                .map_err(|error| bad(format!("not a notification of Alertmanager: {error}")))?;
            if notification.version != "4" {
                let version = notification.version;
                return Err(bad(format!("version {version:?} of the webhook is not known; 4 is")));
            }
            if let Some(alert) =
                notification.alerts.iter().find(|alert| !["firing", "resolved"].contains(&&*alert.status))
            {
                return Err(bad(format!("status {:?} is neither firing nor resolved", alert.status)));
            }
            is_for_others = notification.alerts.iter().any(|alert| self.is_ours(alert) != Some(true));
            for alert in notification.alerts {
                let result = self.alert(alert, now);
                *self.state.borrow_mut().results.entry(result).or_default() += 1;
            }
        } else {
            let call = serde_json::from_value(value).map_err(|error| {
                bad(format!("neither a notification of Alertmanager nor {{\"for\":\"10m\",\"devices\":[\"gpu0\"]}}: {error}"))
            })?;
            self.by_hand(call, now)?;
        }
        self.check(now, was_on);
        // A scrape that follows shows it.
        self.node.generation.bump();
        let response =
            json!({ "active": self.is_on(), "until_seconds": self.until(now), "devices": self.devices() });
        Ok(Taken { response, is_for_others })
    }

    fn by_hand(&self, ByHand { r#for: hold, devices }: ByHand, now: Instant) -> Result<(), Refusal> {
        let hold = humantime::parse_duration(&hold)
            .map_err(|_| bad(format!("for: {hold:?} is not a duration; write 10m, or 0s to end it")))?;
        let names = devices.unwrap_or_default();
        let identities = self.identities();
        for name in &names {
            let is_it = Choice { names: vec![name.clone()], ..Choice::default() };
            if !identities.iter().any(|identity| is_it.has(identity)) {
                let known: Vec<_> = identities.iter().map(|identity| &*identity.device).collect();
                return Err((404, format!("no device {name:?} here; there is {}", known.join(", "))));
            }
        }
        if hold.is_zero() {
            self.end(None);
            return Ok(());
        }
        let choice = Choice { names, ..Choice::default() };
        let hold = hold.min(self.settings.max);
        match self.begin(now, digest(BY_HAND), 0, BY_HAND.to_owned(), hold, choice) {
            "chosen" => Ok(()),
            _ => Err((429, "too many causes at a time".to_owned())),
        }
    }

    /// Whether an alert is about this node; `None` where it names none.
    fn is_ours(&self, alert: &Alert) -> Option<bool> {
        let named = ["node", "Hostname"].iter().find_map(|name| alert.labels.get(*name));
        named.filter(|node| !node.is_empty()).map(|node| is_same_node(node, &self.settings.node_name))
    }

    /// What becomes of one alert.
    fn alert(&self, alert: Alert, now: Instant) -> &'static str {
        let is_other = self.is_ours(&alert) == Some(false);
        let Alert { status, labels, starts_at, fingerprint } = alert;
        let key = if fingerprint.is_empty() { digest(&format!("{labels:?}")) } else { digest(&fingerprint) };
        if status == "resolved" {
            let is_known = self.state.borrow().causes.iter().any(|cause| cause.key == key);
            self.end(Some(key));
            return if is_known { "resolved" } else { "replayed" };
        }
        let label = |names: &[&str]| {
            names.iter().find_map(|name| labels.get(*name)).filter(|value| !value.is_empty()).cloned()
        };
        let choice = Choice {
            family: label(&["family"]),
            device: label(&["device"]),
            uuid: label(&["uuid", "UUID"]),
            names: Vec::new(),
        };
        if is_other {
            return "other_node";
        }
        if !self.identities().iter().any(|identity| choice.has(identity)) {
            return "unknown_device";
        }
        let name = label(&["alertname"]).unwrap_or_else(|| "alert".to_owned());
        let name = name.chars().take(NAME_MAX).collect();
        self.begin(now, key, digest(&starts_at), name, self.settings.max, choice)
    }
}

/// Whether both are names of one node: one of them may be without its domain.
fn is_same_node(one: &str, other: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    one.eq_ignore_ascii_case(other)
        || (!one.contains('.') || !other.contains('.')) && short(one) == short(other)
}
