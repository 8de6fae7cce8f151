//! Texts of an alert as templates of Go, and what Prometheus makes of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use naming::Family;

use crate::{
    model::{Alert, Ask, Bound, ErrorCode},
    output::Labels,
    ruleset::RuleSet,
};

/// Two braces in a template of Go.
pub(crate) const LITERAL_BRACES: &str = "{{ \"{{\" }}";

/// Prints the cluster where the series of a fleet have one.
const OF_CLUSTER: &str = "{{ with $labels.cluster }} of cluster {{ . }}{{ end }}";

/// How a question to Prometheus begins and ends in a template.
const ASKS: (&str, &str) = ("{{ with printf `", ".{{ end }}");

/// Where the text before the result of a question begins and ends.
const ASKED: (&str, &str) = ("| query }}", "{{ range . }}");

/// A text that Go's templates print as it is.
pub(crate) fn literal(text: &str) -> String {
    text.replace("{{", LITERAL_BRACES)
}

/// Replaces each `{word}`.
pub(crate) fn fill(text: &str, word: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, tail)) = after.split_once('}') else { break };
        out.push_str(before);
        out.push_str(&word(name));
        rest = tail;
    }
    out + rest
}

/// Summary, description and links.
pub(crate) fn annotations(
    set: RuleSet<'_>,
    alert: &Alert,
    bounds: &BTreeMap<String, Bound>,
) -> Result<Labels, String> {
    let catalogue = set.catalogue;
    let asked = alert.ask.as_ref().map_or(Ok(String::new()), |ask| question(set, alert, bounds, ask))?;
    let link = |word: &str| match word {
        // The rule sets this label, so the series may lack it.
        "family" if set.family.is_some() => set.family.map_or("", Family::name).to_owned(),
        _ => format!("{{{{ $labels.{word} }}}}"),
    };
    let text = |word: &str| match word {
        "value" => alert.unit.template().to_owned(),
        "for" => alert.hold.to_string(),
        "window" => catalogue.rate_window.to_string(),
        // Targets may lack the label; stock dcgm-exporter prints one of its own.
        "node" if set.is_dcgm() => "{{ or $labels.node $labels.Hostname $labels.instance }}".to_owned(),
        "node" => "{{ or $labels.node $labels.instance }}".to_owned(),
        "replica" => "{{ or $labels.pod $labels.instance }}".to_owned(),
        "of_cluster" => OF_CLUSTER.to_owned(),
        "asked" => asked.clone(),
        "meaning" => by_code(&meanings(set, alert), ": "),
        "asks" => {
            let asks = actions(set, alert).into_iter().map(|(action, codes)| (action + ".", codes));
            by_code(&asks.collect::<Vec<_>>(), " NVIDIA's immediate action: ")
        }
        _ => match bounds.get(if word == "bound" { "limit" } else { word }) {
            Some(bound) => alert.unit.show(bound.number()),
            None => link(word),
        },
    };
    let board = match (&alert.board, alert.file.as_deref()) {
        (Some(board), _) => board,
        (None, Some("slo")) => "accelscope-cluster?var-model={model}",
        (None, Some("engine")) => "accelscope-engine?var-replica={instance}",
        // What names a device is about one; all else is about its node.
        (None, _) if alert.summary.contains("{device}") => {
            "accelscope-device-{family}?var-instance={instance}&var-device={device}"
        }
        (None, _) => "accelscope-node?var-node={node}",
    };
    let anchor = alert.anchor.as_ref().map_or_else(String::new, |anchor| format!("#{}", fill(anchor, link)));
    Ok([
        ("summary", fill(&alert.summary, text)),
        ("description", fill(&alert.description, text)),
        ("runbook_url", format!("{}{}.md{anchor}", literal(&catalogue.runbook_prefix), alert.name)),
        ("dashboard", format!("{}{}", literal(&catalogue.dashboard_prefix), fill(board, link))),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into())
}

/// The label by which alerts about codes can be routed: what NVIDIA's catalogue asks for.
pub(crate) fn action(set: RuleSet<'_>, alert: &Alert) -> Option<(String, String)> {
    let actions = actions(set, alert);
    (!actions.is_empty()).then(|| ("action".to_owned(), by_code(&actions, "")))
}

/// A question that is asked when the alert fires, about the labels that the text names as `"<label>"`.
fn question(
    set: RuleSet<'_>,
    alert: &Alert,
    bounds: &BTreeMap<String, Bound>,
    ask: &Ask,
) -> Result<String, String> {
    let Some(expr) = ask.expr.get(set.vocabulary) else { return Ok(String::new()) };
    let expr = set.catalogue.windowed(&set.context(bounds, &alert.params).expand(expr)?);
    let expr = expr.split_whitespace().collect::<Vec<_>>().join(" ").replace('%', "%%");
    let (mut format, mut labels) = (String::new(), Vec::new());
    let mut rest = expr.as_str();
    while let Some((before, after)) = rest.split_once("\"<") {
        let (label, tail) = after.split_once(">\"").ok_or("a label of a question has no end")?;
        let known = labels.iter().position(|known| *known == label);
        let place = known.unwrap_or_else(|| {
            labels.push(label);
            labels.len() - 1
        });
        let _ = write!(format, "{before}%[{}]q", place + 1);
        rest = tail;
    }
    format.push_str(rest);
    let labels = labels.iter().map(|label| format!(" $labels.{label}")).collect::<Vec<_>>().concat();
    let shown = match &ask.label {
        Some(label) => format!("{{{{ .Labels.{label} }}}}"),
        None => "{{ printf \"%.4g\" .Value }}".to_owned(),
    };
    Ok(format!(
        "{}{format}`{labels} {} {}{} {shown}{{{{ end }}}}{}",
        ASKS.0, ASKED.0, ask.before, ASKED.1, ASKS.1
    ))
}

/// The codes of an alert, each with its short meaning.
fn meanings(set: RuleSet<'_>, alert: &Alert) -> Vec<(String, Vec<String>)> {
    let codes: BTreeSet<u16> = xids(set, alert).flat_map(|(_, codes)| codes).collect();
    let xids =
        codes.into_iter().map(|code| (naming::xid_text(u64::from(code)).to_owned(), vec![code.to_string()]));
    let is_selected = selection(set, alert);
    let is_own = |event: &&ErrorCode| Some(event.family) == set.family && is_selected(&event.code);
    let others = set.catalogue.events.iter().filter(is_own);
    xids.chain(others.map(|event| (event.meaning.clone(), vec![event.code.clone()]))).collect()
}

/// What NVIDIA's catalogue asks for, each with the codes of an alert.
fn actions(set: RuleSet<'_>, alert: &Alert) -> Vec<(String, Vec<String>)> {
    let mut actions: BTreeMap<&str, BTreeSet<u16>> = BTreeMap::new();
    for (bucket, codes) in xids(set, alert) {
        actions.entry(bucket).or_default().extend(codes);
    }
    actions.retain(|_, codes| !codes.is_empty());
    let text = |(action, codes): (&str, BTreeSet<u16>)| {
        (action.to_owned(), codes.iter().map(u16::to_string).collect())
    };
    actions.into_iter().map(text).collect()
}

/// XIDs that a part of an alert is about, by what NVIDIA's catalogue asks for.
fn xids<'c>(set: RuleSet<'c>, alert: &Alert) -> impl Iterator<Item = (&'c str, Vec<u16>)> {
    let words = set.context(&BTreeMap::new(), &alert.params).words;
    let is_about_xids = words.get("kind").is_some_and(|kind| kind == "xid");
    let selects = selection(set, alert);
    let is_selected = move |code: &u16| is_about_xids && selects(&code.to_string());
    set.catalogue
        .xids
        .iter()
        .map(move |xid| (xid.bucket.as_str(), xid.codes.iter().copied().filter(&is_selected).collect()))
}

/// Whether a part of an alert is about a code, by the codes that it selects.
fn selection(set: RuleSet<'_>, alert: &Alert) -> impl Fn(&str) -> bool + use<> {
    let words = set.context(&BTreeMap::new(), &alert.params).words;
    let select = words.get("select").cloned().unwrap_or_default();
    move |code| {
        let is_among = |list: &str| list.trim_matches('"').split('|').any(|known| known == code);
        match (select.strip_prefix("code=~"), select.strip_prefix("code!~")) {
            (Some(list), _) => is_among(list),
            (None, Some(list)) => !is_among(list),
            (None, None) => true,
        }
    }
}

/// A template that prints the text of the label `code`, after `before`; nothing for a code that is not listed.
fn by_code(texts: &[(String, Vec<String>)], before: &str) -> String {
    let mut out = String::new();
    for (at, (text, codes)) in texts.iter().enumerate() {
        let branch = if at == 0 { "if" } else { "else if" };
        let codes: Vec<_> = codes.iter().map(|code| format!("\"{code}\"")).collect();
        let _ =
            write!(out, "{{{{ {branch} eq $labels.code {} }}}}{before}{}", codes.join(" "), literal(text));
    }
    if out.is_empty() { out } else { out + "{{ end }}" }
}

/// What Prometheus makes of a template: `value` is the one that prints the alert's value, `shown` what it prints, and
/// `asked` what a question to it returns.
pub(crate) fn render(
    template: &str,
    labels: &Labels,
    (value, shown): (&str, &str),
    asked: &str,
) -> Result<String, String> {
    let label = |name: &str| labels.get(name).map(String::as_str);
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find("{{") {
        let (before, action) = rest.split_at(at);
        out.push_str(before);
        if let Some(tail) = action.strip_prefix(value).filter(|_| !value.is_empty()) {
            out.push_str(shown);
            rest = tail;
        } else if let Some(tail) = action.strip_prefix(LITERAL_BRACES) {
            out.push_str("{{");
            rest = tail;
        } else if let Some(tail) = action.strip_prefix(OF_CLUSTER) {
            out.extend(label("cluster").map(|cluster| format!(" of cluster {cluster}")));
            rest = tail;
        } else if let Some(question) = action.strip_prefix(ASKS.0) {
            let (question, tail) = question.split_once(ASKS.1).ok_or("a question has no end")?;
            let before = question.split_once(ASKED.0).and_then(|(_, text)| text.split_once(ASKED.1));
            let (before, _) = before.ok_or("a question shows nothing")?;
            if !asked.is_empty() {
                let _ = write!(out, "{before} {asked}.");
            }
            rest = tail;
        } else if action.starts_with("{{ if eq ") {
            // The texts of a code hold no templates but literal braces.
            let (branches, tail) = action.split_once("{{ end }}").ok_or("a choice has no end")?;
            let code = format!("\"{}\"", label("code").unwrap_or_default());
            let chosen = branches.split(" eq $labels.code ").skip(1).find_map(|branch| {
                let (codes, text) = branch.split_once(" }}")?;
                codes.split(' ').any(|known| known == code).then_some(text)
            });
            let chosen = chosen.map(|text| text.rsplit_once("{{ else if").map_or(text, |(text, _)| text));
            out.push_str(&chosen.unwrap_or_default().replace(LITERAL_BRACES, "{{"));
            rest = tail;
        } else {
            let (names, tail) = action[2..].split_once("}}").ok_or("a template has no end")?;
            let names: Vec<_> =
                names.split_whitespace().filter_map(|word| word.strip_prefix("$labels.")).collect();
            let is_known = names.iter().any(|name| label(name).is_some());
            if !is_known {
                return Err(format!("none of the labels {names:?} in what fires: {labels:?}"));
            }
            out.push_str(names.iter().find_map(|name| label(name)).unwrap_or_default());
            rest = tail;
        }
    }
    Ok(out + rest)
}
