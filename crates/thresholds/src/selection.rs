//! Parts of an alert's series that an override treats in another way.

use naming::Family;

use crate::{
    catalogue::Catalogue,
    model::{Alert, Part, Selector},
};

impl Catalogue {
    /// Makes an alert of each part of an alert, and of what they leave.
    pub fn split_parts(&mut self) {
        for mut alert in std::mem::take(&mut self.alerts) {
            let parts = std::mem::take(&mut alert.parts);
            // Families differ in the parts that they have.
            let mut groups: Vec<(Vec<Option<Family>>, Vec<&Part>)> = Vec::new();
            let families: Vec<_> = alert.families.iter().copied().map(Some).collect();
            for family in if families.is_empty() { vec![None] } else { families } {
                let own: Vec<_> = parts.iter().filter(|part| part.of.covers(family)).collect();
                match groups
                    .iter_mut()
                    .find(|(_, parts)| parts.iter().map(|part| &part.of).eq(own.iter().map(|part| &part.of)))
                {
                    Some((families, _)) => families.push(family),
                    None => groups.push((vec![family], own)),
                }
            }
            for (families, parts) in groups {
                let of = |alert: &Alert| Alert {
                    families: families.iter().flatten().copied().collect(),
                    ..alert.clone()
                };
                let mut taken: Vec<&Selector> = Vec::new();
                // A part that is a whole family leaves nothing to those after it.
                let end = parts.iter().position(|part| part.of.is_whole());
                for part in &parts[..end.map_or(parts.len(), |end| end + 1)] {
                    let mut own = of(&part.alert);
                    own.select("and", &[&part.of]);
                    own.select("unless", &taken);
                    taken.push(&part.of);
                    self.alerts.push(own);
                }
                if end.is_none() {
                    let mut rest = of(&alert);
                    rest.select("unless", &taken);
                    self.alerts.push(rest);
                }
            }
        }
    }
}

impl Alert {
    /// Keeps or drops the series that have these labels.
    fn select(&mut self, operator: &str, selected: &[&Selector]) {
        self.is_part |= selected.iter().any(|of| !of.is_whole());
        let texts = self.expr.iter_mut().chain(self.exprs.values_mut());
        for text in texts {
            // What the alert reads first has the labels that it has.
            let Some(start) = text.find(['@', '$']) else { continue };
            let end = text[start + 1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let source = text[start..end.map_or(text.len(), |end| start + 1 + end)].to_owned();
            for condition in selected.iter().filter_map(|of| of.condition(&source)) {
                *text = format!("(\n{}\n) {operator} {condition}", text.trim());
            }
        }
    }
}

impl Selector {
    /// Whether every series of the families is meant.
    pub fn is_whole(&self) -> bool {
        self.labels.is_empty() && self.device_model.is_none()
    }

    /// What has the same labels as a series that is meant, to be joined to its expression; `source` has them.
    pub fn condition(&self, source: &str) -> Option<String> {
        let names: Vec<&str> = self.labels.iter().map(|(name, _)| name.as_str()).collect();
        let (on, chosen) = (names.join(", "), format!("{source}{{{}}}", self.matchers()));
        let of_model =
            self.device_model.map(|place| format!("on (cluster, instance, device) &device_model_{place}"));
        match of_model {
            None if names.is_empty() => None,
            None => Some(format!("on (cluster, {on}) group by (cluster, {on}) ({chosen})")),
            Some(of_model) if names.is_empty() => Some(of_model),
            Some(of_model) => Some(format!(
                "on (cluster, instance, device) group by (cluster, instance, device) ({chosen} and {of_model})"
            )),
        }
    }
}
