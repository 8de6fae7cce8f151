//! Where values lead: to other dashboards, and to runbooks.

use std::collections::BTreeMap;

use super::{
    PanelBuilder,
    model::{DataLink, Property},
    spec::Link,
};
use crate::{catalogue::BANDS, model::Alert, prove::first_reference};

/// What every link keeps of the page that it is on.
const KEPT: &str = "${datasource:queryparam}&${cluster:queryparam}&${__url_time_range}";

/// Where a row of a table has its labels.
const ROW: &str = "__data.fields";

impl PanelBuilder<'_> {
    /// Where a value leads, which has its labels here.
    pub(super) fn link(&self, link: Link) -> DataLink {
        self.link_by(link, "__field.labels")
    }

    fn link_by(&self, link: Link, labels: &str) -> DataLink {
        let chosen = |variables: &[(&str, &str)]| {
            let variable = |(variable, label): &(&str, &str)| {
                format!("var-{variable}=${{{labels}.{label}:percentencode}}")
            };
            variables.iter().map(variable).collect::<Vec<_>>().join("&")
        };
        let (title, id, chosen) = match link {
            Link::Device => (
                "Device",
                format!("device-${{{labels}.family}}"),
                chosen(&[("instance", "instance"), ("device", "device")]),
            ),
            // A row of a table has the node's name in a column.
            Link::Node if labels == ROW => ("Node", "node".to_owned(), chosen(&[("node", "place")])),
            Link::Node => ("Node", "node".to_owned(), chosen(&[("node", "node")])),
            Link::Engine => (
                "Engine",
                "engine".to_owned(),
                chosen(&[("namespace", "namespace"), ("model", "model"), ("replica", "instance")]),
            ),
            Link::Model => (
                "Engines of this model",
                "engine".to_owned(),
                chosen(&[("namespace", "namespace"), ("model", "model")]),
            ),
        };
        self.to_board(title, &id, &chosen)
    }

    fn to_board(&self, title: &str, id: &str, chosen: &str) -> DataLink {
        let prefix = &self.catalogue.dashboard_prefix;
        let url = format!("{prefix}accelscope-{id}?{KEPT}&{chosen}");
        DataLink { title: title.to_owned(), url: url.trim_end_matches('&').to_owned(), target_blank: false }
    }

    /// Where the values of a column of a table lead: its row has its labels as fields.
    pub(super) fn column_link(&self, field: &str, link: Option<Link>) -> Option<DataLink> {
        let link = match (field, link) {
            ("place", _) => Link::Node,
            ("device", Some(Link::Device)) => Link::Device,
            ("service" | "replica", Some(Link::Engine)) => Link::Engine,
            _ => return None,
        };
        Some(self.link_by(link, ROW))
    }

    /// Names, runbooks and dashboards of tiles and lanes, where these are signals or families.
    pub(super) fn signals(&self, query: &str) -> Result<BTreeMap<String, Vec<Property>>, String> {
        if query.contains("max by (family) (") {
            let homes = self
                .spec
                .dashboard
                .iter()
                .flat_map(|board| board.home.iter().map(move |family| (family, board)));
            let link = |id: &str| vec![Property::Links(vec![self.to_board("Fleet", id, "")])];
            return Ok(homes.map(|(family, board)| (family.clone(), link(&board.id))).collect());
        }
        if !query.contains("by (signal)") {
            return Ok(BTreeMap::new());
        }
        // Budgets have no tiles: a month moves slowly.
        let shown = self.catalogue.signals.iter().filter(|signal| {
            let is_banded = signal.bounds.keys().any(|band| BANDS.contains(&band.as_str()));
            is_banded && !signal.explains && signal.file.as_deref() != Some("slo")
        });
        shown
            .map(|signal| {
                let name = self.spec.names.get(&signal.id);
                let name = name.ok_or_else(|| format!("{} has no name under [names]", signal.id))?;
                let mut own = vec![Property::DisplayName(name.clone())];
                own.extend(self.runbook(&signal.id).map(|link| Property::Links(vec![link])));
                Ok((signal.id.clone(), own))
            })
            .collect()
    }

    /// The page of the alert that is about a signal.
    pub(super) fn runbook(&self, signal: &str) -> Option<DataLink> {
        let named = self.spec.runbooks.get(signal);
        let reads = |alert: &&Alert| first_reference(alert) == Some(signal);
        let alert = named.or_else(|| self.catalogue.alerts.iter().find(reads).map(|alert| &alert.name))?;
        self.runbook_page(alert)
    }

    /// The page of an alert; none when it is switched off.
    pub(super) fn runbook_page(&self, alert: &str) -> Option<DataLink> {
        let on = self.catalogue.alerts.iter().any(|known| known.name == alert && !known.off);
        on.then(|| self.runbook_link(&format!("Runbook: {alert}"), alert))
    }

    pub(super) fn runbook_link(&self, title: &str, page: &str) -> DataLink {
        let url = format!("{}{page}.md", self.catalogue.runbook_prefix);
        DataLink { title: title.to_owned(), url, target_blank: true }
    }
}
