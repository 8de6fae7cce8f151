//! Service levels: error ratios over the windows of the burn-rate alerts, made as signals and alerts like any
//! other.
//!
//! The late share of a latency comes from the histogram's buckets beside the promised bound, interpolated in
//! the engine's own layout. An alert also needs a number of requests: of a few, a share says nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    catalogue::{Catalogue, Window, escape},
    engines,
    model::{Alert, Bound, Example, Limit, Objective, Op, Severity, Signal, SloClass, TestSeries, Unit},
    number::{Duration, decimal},
    output::Labels,
    vocabulary::{PerVocabulary, Vocabulary},
};

/// What can be promised: its name in rules and objectives.
pub(crate) const SLIS: [&str; 5] = ["ttft", "itl", "success", "completeness", "headroom"];

/// Name of the alert in the catalogue that is made once per service level, class and window.
pub(crate) const BURN: &str = "LlmSloBudgetBurn";

const BY: &str = "cluster, namespace, tenant, model";

/// Whether the alert is the one that is made once per service level, class and window.
pub(crate) fn is_template(alert: &Alert) -> bool {
    alert.name == BURN
}

/// Service levels whose burn wakes nobody: completeness depends on what clients ask for, and a queue that costs
/// headroom is not yet late.
const QUIET: [&str; 2] = ["completeness", "headroom"];

/// The windows whose burn a class can reach for a promise: past all requests there is nothing.
pub(crate) fn windows<'c>(
    catalogue: &'c Catalogue,
    class: &'c SloClass,
    sli: &'c str,
) -> impl Iterator<Item = &'c Window> {
    // A queue that costs headroom is a trend: LlmRequestsQueued says what happens now.
    let slowest = catalogue.windows.iter().map(|window| window.long).max();
    catalogue.windows.iter().filter(move |window| {
        let wakes = matches!(window.severity, Severity::Critical | Severity::Warning);
        let is_shown = sli != "headroom" || Some(window.long) == slowest;
        burn_limit(class, sli, window).number() < 1.0 && !(wakes && QUIET.contains(&sli)) && is_shown
    })
}

/// Adds the signals and alerts of every class in use.
pub(crate) fn extend(catalogue: &mut Catalogue) -> Result<(), String> {
    let template = catalogue.alerts.iter().position(is_template).ok_or("no burn-rate alert")?;
    let template = catalogue.alerts.remove(template);
    let mut signals = Vec::new();
    let mut alerts = Vec::new();
    for class in catalogue.classes_in_use() {
        for sli in SLIS {
            let level = Level { catalogue, class, sli };
            signals.extend(level.signals()?);
            if !template.off && catalogue.slis.contains(&sli) {
                alerts.extend(windows(catalogue, class, sli).map(|window| level.alert(&template, window)));
            }
        }
    }
    catalogue.signals.extend(signals);
    catalogue.alerts.extend(alerts);
    Ok(())
}

/// Share of requests that keep the promise.
pub(crate) fn objective(class: &SloClass, sli: &str) -> f64 {
    class.objectives.get(sli).copied().unwrap_or(0.95)
}

/// The share of broken promises at which a window's burn is too fast.
pub(crate) fn burn_limit(class: &SloClass, sli: &str, window: &Window) -> Bound {
    let number = decimal(window.factor * (1.0 - objective(class, sli))).parse().unwrap_or(1.0);
    Bound { op: Op::Above, limit: Limit::Number(number) }
}

/// One service level of one class.
struct Level<'a> {
    catalogue: &'a Catalogue,
    class: &'a SloClass,
    sli: &'static str,
}

impl Level<'_> {
    fn labels(&self) -> Labels {
        [("sli", self.sli), ("slo_class", &self.class.name)].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    fn model(&self) -> String {
        self.catalogue.example_model(Some(self.class))
    }

    fn signals(&self) -> Result<Vec<Signal>, String> {
        let (all, bad, good) = match self.sli {
            "ttft" => self.latency(Objective::Ttft)?,
            "itl" => self.latency(Objective::Itl)?,
            "success" => self.success(),
            "headroom" => self.headroom(),
            _ => self.completeness(),
        };
        let mut signals = vec![
            self.signal("all", "Requests or tokens per second", "llm:slo_all:rate5m", all, good.0),
            self.signal("bad", "Those that broke the promise, per second", "llm:slo_bad:rate5m", bad, good.1),
        ];
        let windows: BTreeSet<Duration> = windows(self.catalogue, self.class, self.sli)
            .flat_map(|window| [window.long, window.short])
            .collect();
        let select = self.selector("");
        for window in windows {
            let expr = match window {
                Duration(300) => format!("llm:slo_bad:rate5m{select} / (llm:slo_all:rate5m{select} > 0)"),
                _ => format!(
                    "sum_over_time(llm:slo_bad:rate5m{select}[{window}]) / (sum_over_time(llm:slo_all:rate5m{select}[{window}]) > 0)"
                ),
            };
            let select = self.selector(&self.example_labels());
            let test = Example {
                series: vec![
                    value(&format!("llm:slo_bad:rate5m{select}"), "<10v>"),
                    value(&format!("llm:slo_all:rate5m{select}"), "<10>"),
                ]
                .into(),
                values: vec![0.25],
                labels: self.labels().into(),
                ..Example::default()
            };
            let record = format!("llm:slo_error:ratio_rate{window}");
            signals.push(self.signal(&window.to_string(), "Share of broken promises", &record, expr, test));
        }
        signals.push(self.budget());
        Ok(signals)
    }

    /// What is left of the budget of broken promises of the period: 1 is all of it, 0 none, less is a broken promise.
    fn budget(&self) -> Signal {
        let budget = decimal(1.0 - objective(self.class, self.sli));
        let period = self.catalogue.period;
        let select = self.selector("");
        let expr = format!(
            "1 - sum_over_time(llm:slo_bad:rate5m{select}[{period}]) / (sum_over_time(llm:slo_all:rate5m{select}[{period}]) > 0) / {budget}"
        );
        let select = self.selector(&self.example_labels());
        let test = Example {
            // One stretch of time alone, since the sum would remember what came before it.
            series: vec![
                value(&format!("llm:slo_bad:rate5m{select}"), &format!("<{budget} - {budget}v>")),
                value(&format!("llm:slo_all:rate5m{select}"), "<1>"),
            ]
            .into(),
            values: vec![-0.5],
            labels: self.labels().into(),
            ..Example::default()
        };
        let mut signal =
            self.signal("budget", "Budget that is left", "llm:slo_budget:remaining30d", expr, test);
        signal.unit = Unit::Ratio;
        signal.every = Some(Duration(120));
        signal.bounds = [("low_red".to_owned(), Bound { op: Op::Below, limit: Limit::Number(0.0) })].into();
        "Of the promises that the period may break, the share that is still to be broken."
            .clone_into(&mut signal.why);
        signal
    }

    /// Requests, late requests, and an example of each.
    fn latency(&self, objective: Objective) -> Result<(String, String, (Example, Example)), String> {
        let id = self.sli.to_owned() + "_p95";
        let signal = self.catalogue.signal(&id).ok_or("latency signals have engines")?;
        let engines = signal.engines.as_ref().ok_or("latency signals have engines")?;
        let slo = self.class.seconds(objective);
        let models = self.catalogue.models(self.class);
        let filter = if models.is_empty() { String::new() } else { format!("{{{models}}}") };
        let quantile = signal.record.clone().unwrap_or_default() + &filter;
        // Aggregation gives the model its final name; the filter follows it.
        let keep = |text: String| {
            if models.is_empty() {
                text
            } else {
                format!("({text} and on (model) group by (model) ({quantile}))")
            }
        };
        let (count, late) = engines::late(&self.catalogue.engines, engines, slo);
        let (all, bad) =
            (format!("sum by ({BY}) ({})", keep(count)), format!("sum by ({BY}) ({})", keep(late)));

        let model = escape(&self.model());
        let source = engines.sources.first().ok_or("latency signals have sources")?;
        let raw = |suffix: &str, more: &str, rate: &str| TestSeries {
            rate: Some(rate.to_owned()),
            value: None,
            ..value(&format!("{}{suffix}{{model_name=\"{model}\",engine=\"0\"{more}}}", source.metric), "")
        };
        let example = |series: Vec<TestSeries>| Example {
            series: series.into(),
            settle: Duration(300),
            values: vec![2.5],
            drop: ["job", "instance", "node", "pod"].map(str::to_owned).to_vec().into(),
            labels: Labels::from([("model".to_owned(), self.model())]).into(),
            ..Example::default()
        };
        // All are slower than every bound beside the promise.
        let layout = source.layout.as_ref().and_then(|layout| engines.layouts.get(layout));
        let layout = layout.ok_or("latency signals have layouts")?;
        let slow = |rate: &str| {
            let bounds = layout.iter().map(|le| raw("_bucket", &format!(",le=\"{}\"", decimal(*le)), "<0>"));
            let mut series: Vec<_> = bounds.collect();
            series.push(raw("_bucket", ",le=\"+Inf\"", rate));
            series.push(value(&format!("llm:{}_seconds:p95{{model=\"{model}\"}}", self.sli), "<1>"));
            // The result has the labels of the series that counts.
            let counting = series.len() - 2;
            series.swap(0, counting);
            series
        };
        Ok((all, bad, (example(slow("<v>")), example(slow("<v>")))))
    }

    /// Requests, failed ones, and an example of each.
    fn success(&self) -> (String, String, (Example, Example)) {
        let select = |more: &str| self.of_models(more);
        let bad = format!("sum by ({BY}) (@failures{})", select(""));
        let good = format!("@completions{}", select("reason!~\"error|rejected|abort\""));
        let all = format!("sum by ({BY}) ({good}) + {bad}\nor\n  {bad}");
        let series = |id: &str, more: &str, form: &str| {
            value(&format!("@{id}{{{more}model=\"{}\"}}", escape(&self.model())), form)
        };
        let example = |failed: &str| {
            self.example(vec![
                series("failures", "", failed),
                series("completions", "reason=\"stop\",", "<4>"),
            ])
        };
        (all, bad, (example("<v - 4>"), example("<v>")))
    }

    /// Requests whose end is known, those that did not end by themselves, and an example of each.
    fn completeness(&self) -> (String, String, (Example, Example)) {
        let all = format!("sum by ({BY}) (@completions{})", self.of_models("reason!=\"success\""));
        let bad = format!(
            "sum by ({BY}) (@completions{})\nor\n  {all} * 0",
            self.of_models("reason!~\"stop|success\"")
        );
        let series = |reason: &str, form: &str| {
            value(&format!("@completions{{reason=\"{reason}\",model=\"{}\"}}", escape(&self.model())), form)
        };
        let example = |cut: &str| self.example(vec![series("length", cut), series("stop", "<4>")]);
        (all, bad, (example("<v - 4>"), example("<v>")))
    }

    /// Seconds in which a model is served, those in which more requests waited before each replica than promised, and an
    /// example of each.
    fn headroom(&self) -> (String, String, (Example, Example)) {
        let waiting = format!("avg by ({BY}) (@requests_waiting_count{})", self.of_models(""));
        let (all, bad) =
            (format!("{waiting} * 0 + 1"), format!("{waiting} > bool {}", decimal(self.class.queue)));
        let series = |form: &str| {
            value(&format!("@requests_waiting_count{{model=\"{}\"}}", escape(&self.model())), form)
        };
        let long = decimal(self.class.queue + 1.0);
        let example = || Example { values: vec![1.0], ..self.example(vec![series(&format!("<{long}v>"))]) };
        (all, bad, (example(), example()))
    }

    fn example(&self, series: Vec<TestSeries>) -> Example {
        Example {
            series: series.into(),
            values: vec![5.0],
            drop: ["job", "instance", "node", "pod"].map(str::to_owned).to_vec().into(),
            labels: Labels::from([("model".to_owned(), self.model())]).into(),
            ..Example::default()
        }
    }

    /// Matchers of the models of the class, and more.
    fn of_models(&self, more: &str) -> String {
        let models = self.catalogue.models(self.class);
        let all: Vec<_> = [models.as_str(), more].into_iter().filter(|text| !text.is_empty()).collect();
        if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
    }

    /// Labels of the recorded series, and what an example adds to them.
    fn selector(&self, more: &str) -> String {
        format!("{{sli=\"{}\",slo_class=\"{}\"{more}}}", self.sli, self.class.name)
    }

    /// Labels of the recorded number of requests, and more.
    fn requests(&self, more: &str) -> String {
        Level { sli: "ttft", ..*self }.selector(more)
    }

    fn example_labels(&self) -> String {
        format!(",namespace=\"inference\",model=\"{}\"", escape(&self.model()))
    }

    fn signal(&self, id: &str, title: &str, record: &str, expr: String, mut test: Example) -> Signal {
        // Recorded series are selected by their labels; a model of this class is not one of the default
        // class.
        let mut labels = test.labels.get(Vocabulary::Unified).cloned().unwrap_or_default();
        labels.insert("model".to_owned(), self.model());
        labels.insert("namespace".to_owned(), "inference".to_owned());
        test.labels = labels.into();
        Signal {
            id: format!("slo_{}_{}_{id}", self.class.name, self.sli),
            title: format!("{title}: {} of {}", self.sli, self.class.name),
            unit: Unit::PerSecond,
            explains: false,
            record: Some(record.to_owned()),
            labels: self.labels(),
            families: Vec::new(),
            file: Some("slo".to_owned()),
            expr: expr.into(),
            exprs: BTreeMap::new(),
            engines: None,
            params: BTreeMap::new(),
            bounds: BTreeMap::new(),
            gate: PerVocabulary::default(),
            parts: Vec::new(),
            federate: id == "all" || id == "bad",
            red_when: None,
            amber_when: None,
            red_also: PerVocabulary::default(),
            slo: None,
            every: Some(Duration(60)),
            why: String::new(),
            first: Vec::new(),
            citation: String::new(),
            test,
        }
    }

    /// The alert of one window pair: the long window shows that it matters, the short one that it still goes
    /// on.
    fn alert(&self, template: &Alert, window: &Window) -> Alert {
        let objective = objective(self.class, self.sli);
        let rate = |window: Duration, select: &str| format!("llm:slo_error:ratio_rate{window}{select}");
        let (own, example) = (self.selector(""), self.selector(&self.example_labels()));
        let mut alert = template.clone();
        let seconds = window.short.0;
        let enough =
            format!("avg_over_time(llm:slo_all:rate5m{own}[{}]) * {seconds} &requests", window.short);
        // Tokens are counted between tokens: one long response is many, and still one request.
        let few = match self.sli {
            "itl" => format!(
                "\n  unless on ({BY}) avg_over_time(llm:slo_all:rate5m{}[{}]) * {seconds} &few",
                self.requests(""),
                window.short
            ),
            _ => String::new(),
        };
        alert.expr = format!(
            "{} &limit and {} &limit\n  and {enough}{few}",
            rate(window.long, &own),
            rate(window.short, &own)
        )
        .into();
        let requests = Bound { op: Op::AtLeast, limit: Limit::Number(self.class.min_requests) };
        let few = Bound { op: Op::Below, ..requests.clone() };
        alert.bounds = [
            ("few".to_owned(), few),
            ("limit".to_owned(), burn_limit(self.class, self.sli, window)),
            ("requests".to_owned(), requests),
        ]
        .into();
        alert.hold = window.hold;
        alert.severity = window.severity;
        for text in [&mut alert.summary, &mut alert.description] {
            *text = text
                .replace("<factor>", &decimal(window.factor))
                .replace("<long>", &window.long.to_string())
                .replace("<period>", &self.catalogue.period.to_string())
                .replace("<objective>", &format!("{}%", decimal(objective * 100.0)));
        }
        // The series carry these labels too; here they make the rules of a file distinct.
        alert.labels = self.labels();
        alert.labels.insert("window".to_owned(), window.long.to_string());
        let labels: Labels = self
            .labels()
            .into_iter()
            .chain([("namespace".to_owned(), "inference".to_owned()), ("model".to_owned(), self.model())])
            .collect();
        alert.test = Example {
            series: vec![
                value(&rate(window.long, &example), "<v>"),
                value(&rate(window.short, &example), "<v>"),
            ]
            .into(),
            labels: labels.into(),
            ..Example::default()
        };
        // One window alone must not fire: the other one stays at 0.
        let mut decoys = vec![
            value(&format!("llm:slo_all:rate5m{example}"), "<1>"),
            value(&rate(window.long, &self.selector(",namespace=\"long\",model=\"m\"")), "<1>"),
            value(&rate(window.short, &self.selector(",namespace=\"long\",model=\"m\"")), "<0>"),
            value(&rate(window.long, &self.selector(",namespace=\"short\",model=\"m\"")), "<0>"),
            value(&rate(window.short, &self.selector(",namespace=\"short\",model=\"m\"")), "<1>"),
        ];
        if self.sli == "itl" {
            // Requests in the short window, one more and one fewer than are enough.
            let of = |namespace: &str, requests: f64| {
                let model = escape(&self.model());
                let select = self.requests(&format!(",namespace=\"{namespace}\",model=\"{model}\""));
                let rate = decimal(requests / seconds as f64);
                value(&format!("llm:slo_all:rate5m{select}"), &format!("<{rate}>"))
            };
            decoys.push(of("inference", self.class.min_requests + 1.0));
            let seldom = |series: &TestSeries| TestSeries {
                series: series.series.replace("\"inference\"", "\"seldom\""),
                ..series.clone()
            };
            let series = alert.test.series.get(Vocabulary::Unified).into_iter().flatten();
            let own = value(&format!("llm:slo_all:rate5m{example}"), "<1>");
            alert.also = vec![Example {
                series: series.map(seldom).collect::<Vec<_>>().into(),
                decoys: vec![seldom(&own), of("seldom", self.class.min_requests - 1.0)].into(),
                silent: true,
                ..Example::default()
            }];
        }
        alert.test.decoys = decoys.into();
        alert
    }
}

/// A gauge.
fn value(series: &str, form: &str) -> TestSeries {
    TestSeries { series: series.to_owned(), value: Some(form.to_owned()), ..TestSeries::default() }
}
