//! Other names for the labels `node` and `tenant`, as an operator's targets call them, in everything that is generated.

use serde_json::Value;

use crate::{
    catalogue::Catalogue,
    output::{Labels, RuleFile, TestFile},
};

/// Labels, each with the name that it gets.
pub(crate) struct Relabel<'c>(Vec<(&'static str, &'c str)>);

impl<'c> Relabel<'c> {
    pub fn of(catalogue: &'c Catalogue) -> Self {
        let all = [("node", catalogue.node_label.as_str()), ("tenant", catalogue.tenant_label.as_str())];
        Self(all.into_iter().filter(|(own, name)| own != name).collect())
    }

    /// An expression, selector or template: names of labels are its words outside of quotes. A recording's name has
    /// colons, and a dashboard's variable a `$`.
    fn text(&self, text: &str) -> String {
        let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let mut out = String::with_capacity(text.len());
        let (mut rest, mut quoted) = (text, false);
        while let Some(c) = rest.chars().next() {
            let end = rest.find(|c: char| !in_name(c)).unwrap_or(rest.len());
            if end > 0 && !quoted {
                let (word, after) = rest.split_at(end);
                let renamed = self.0.iter().find(|(own, _)| *own == word && !out.ends_with('$'));
                out.push_str(renamed.map_or(word, |(_, name)| name));
                rest = after;
                continue;
            }
            let escaped = quoted && c == '\\';
            let taken = rest.chars().take(if escaped { 2 } else { 1 }).map(char::len_utf8).sum();
            quoted ^= c == '"';
            out.push_str(&rest[..taken]);
            rest = &rest[taken..];
        }
        out
    }

    fn labels(&self, labels: &mut Labels) {
        for (own, name) in &self.0 {
            if let Some(value) = labels.remove(*own) {
                labels.insert((*name).to_owned(), value);
            }
        }
    }

    /// Templates name labels as `$labels.node`.
    fn template(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (own, name)| {
            text.replace(&format!("$labels.{own} "), &format!("$labels.{name} "))
        })
    }

    pub fn rules(&self, file: &mut RuleFile) {
        if self.0.is_empty() {
            return;
        }
        for rule in file.groups.iter_mut().flat_map(|group| &mut group.rules) {
            rule.expr = self.text(&rule.expr);
            rule.annotations.values_mut().for_each(|text| *text = self.template(text));
        }
    }

    pub fn tests(&self, file: &mut TestFile) {
        if self.0.is_empty() {
            return;
        }
        for group in &mut file.tests {
            group.input_series.iter_mut().for_each(|input| input.series = self.text(&input.series));
            for check in &mut group.promql_expr_test {
                check.expr = self.text(&check.expr);
                check.exp_samples.iter_mut().for_each(|sample| sample.labels = self.text(&sample.labels));
            }
            for alert in group.alert_rule_test.iter_mut().flat_map(|check| &mut check.exp_alerts) {
                self.labels(&mut alert.exp_labels);
            }
        }
    }

    /// A page of Markdown: its code spans.
    pub fn page(&self, text: &str) -> String {
        if self.0.is_empty() {
            return text.to_owned();
        }
        let spans = text.split('`').enumerate();
        spans
            .map(|(at, span)| if at % 2 == 1 { self.text(span) } else { span.to_owned() })
            .collect::<Vec<_>>()
            .join("`")
    }

    /// A dashboard: its queries, and the labels in its legends and links.
    pub fn dashboard(&self, text: String) -> Result<String, String> {
        if self.0.is_empty() || !text.starts_with('{') {
            return Ok(text);
        }
        let mut board: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        self.board(&mut board);
        serde_json::to_string_pretty(&board).map(|text| text + "\n").map_err(|error| error.to_string())
    }

    fn board(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.board(item)),
            Value::Object(entries) => {
                for (key, value) in entries {
                    match value {
                        Value::String(text)
                            if ["expr", "query", "definition", "legendFormat"].contains(&key.as_str()) =>
                        {
                            *text = self.text(text);
                        }
                        Value::String(text) if key == "url" => {
                            for (own, name) in &self.0 {
                                *text = text.replace(&format!("labels.{own}}}"), &format!("labels.{name}}}"));
                            }
                        }
                        value => self.board(value),
                    }
                }
            }
            _ => {}
        }
    }
}
