//! Reads the text exposition format, strictly enough to notice what Prometheus would refuse.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use anyhow::{Context, Result, bail, ensure};

/// Where the cards of the simulated Arc machine are: their names.
pub const ARC_ADDRESSES: [&str; 8] = [
    "0000:03:00.0",
    "0000:07:00.0",
    "0000:0b:00.0",
    "0000:0f:00.0",
    "0000:83:00.0",
    "0000:87:00.0",
    "0000:8b:00.0",
    "0000:8f:00.0",
];

/// Words in the names of series that a lost device keeps.
const LEFT_OF_A_LOST_DEVICE: [&str; 13] = [
    "device_up",
    "device_info",
    "error",
    "xid",
    "resets",
    "replay",
    "remapped_rows",
    "rows_remapped",
    "retired_",
    "ecc_sbe",
    "ecc_dbe",
    "recovery_error",
    "crc",
];

/// TYPE and HELP of a family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// `gauge`, `counter`, `histogram`, ...
    pub kind: String,
    /// HELP.
    pub help: String,
}

/// One line with a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Names and values.
    pub labels: BTreeMap<String, String>,
    /// The number.
    pub value: f64,
    /// The line without its value: the identity of the series as printed.
    pub series: String,
}

impl Sample {
    /// The value of a label; empty when it is absent, as in PromQL.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// Whether it is of the verdict on a device, which follows from the others and from past errors.
    fn is_verdict(&self) -> bool {
        self.name.starts_with("accel_device_health")
    }

    fn matches(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name && labels.iter().all(|(key, value)| self.label(key) == *value)
    }
}

/// A whole scrape.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Families by name.
    pub families: BTreeMap<String, Family>,
    /// Samples, in the order of the body.
    pub samples: Vec<Sample>,
}

impl Samples {
    /// Reads a body in text format 0.0.4.
    ///
    /// # Errors
    /// A line that does not parse, HELP or TYPE given twice, a series given twice.
    pub fn parse(body: &str) -> Result<Self> {
        let mut all = Self::default();
        let mut seen = HashSet::new();
        for line in body.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (keyword, name, rest) = (words.next(), words.next().unwrap_or(""), words.next());
                let family = all.families.entry(name.to_owned()).or_default();
                let slot = match keyword {
                    Some("HELP") => &mut family.help,
                    Some("TYPE") => &mut family.kind,
                    _ => continue,
                };
                ensure!(slot.is_empty(), "twice: {line}");
                rest.unwrap_or("").clone_into(slot);
            } else {
                let sample = parse_sample(line).with_context(|| format!("in line {line:?}"))?;
                ensure!(
                    seen.insert((sample.name.clone(), sample.labels.clone())),
                    "twice: {}",
                    sample.series
                );
                all.samples.push(sample);
            }
        }
        Ok(all)
    }

    /// Every sample of this name that has these labels among its own.
    pub fn all<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.matches(name, labels))
    }

    /// The value of the one sample of this name that has these labels among its own.
    ///
    /// # Errors
    /// None or several match.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let mut found = self.all(name, labels);
        match (found.next(), found.next()) {
            (Some(sample), None) => Ok(sample.value),
            (None, _) => bail!("no series {name} with {labels:?}"),
            (Some(a), Some(b)) => bail!("{name} with {labels:?} matches {} and {}", a.series, b.series),
        }
    }

    /// Whether any sample of this name has these labels among its own.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.all(name, labels).next().is_some()
    }

    /// Every series of the device with this index, of both vocabularies, partitions and all, but not the verdict on it:
    /// that follows from the others, and from past errors.
    pub fn of_device(&self, index: usize) -> BTreeSet<&str> {
        let mut names = vec![format!("gpu{index}"), format!("nvidia{index}"), format!("hpu{index}")];
        names.extend(ARC_ADDRESSES.get(index).map(|address| (*address).to_owned()));
        let index = index.to_string();
        // In the vocabulary of Gaudi's exporter a device's label is its serial number.
        let own = self.samples.iter().filter(|sample| {
            names.iter().any(|name| sample.label("device") == name)
                || sample.label("id") == index && !sample.label("Serial").is_empty()
        });
        own.filter(|sample| !sample.is_verdict()).map(|sample| sample.series.as_str()).collect()
    }

    /// Every series whose label `device` is this, but not the verdict on it.
    pub fn labelled(&self, device: &str) -> BTreeSet<String> {
        let own = self.samples.iter().filter(|sample| sample.label("device") == device);
        own.filter(|sample| !sample.is_verdict()).map(|sample| sample.series.clone()).collect()
    }

    /// The series of the device with this index that measure something: all but whether it is up, what it is,
    /// and its errors so far, which stay while it is lost.
    pub fn measured_of(&self, index: usize) -> BTreeSet<&str> {
        let is_left = |series: &&str| {
            let name = series.split('{').next().unwrap_or_default().to_ascii_lowercase();
            LEFT_OF_A_LOST_DEVICE.iter().any(|word| name.contains(word))
        };
        self.of_device(index).into_iter().filter(|series| !is_left(series)).collect()
    }

    /// The sum of all samples of this name that have these labels among their own; 0 for none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.all(name, labels).map(|sample| sample.value).sum()
    }

    /// How often calls gave no value, by name of the call and code.
    pub fn faults(&self, kind: &str, call: &str, code: &str) -> f64 {
        self.sum("accelscope_source_faults_total", &[("kind", kind), ("call", call), ("code", code)])
    }
}

fn parse_sample(line: &str) -> Result<Sample> {
    let name_end = line.find(['{', ' ']).context("no value")?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        while !inner.starts_with('}') {
            let (key, quoted) = inner.split_once("=\"").context("a label without =\"")?;
            let (value, after) = unquote(quoted)?;
            ensure!(labels.insert(key.to_owned(), value).is_none(), "label {key} twice");
            inner = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &inner[1..];
    }
    let value = rest.strip_prefix(' ').context("no space before the value")?;
    ensure!(!value.contains(' '), "a timestamp, which an exporter must not send");
    let series = line[..line.len() - rest.len()].to_owned();
    Ok(Sample { name: name.to_owned(), labels, value: value.parse()?, series })
}

/// Takes a label's value up to its closing quote; returns it unescaped, and what follows the quote.
fn unquote(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match chars.next().context("nothing after a backslash")?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                other => bail!("unknown escape \\{other}"),
            }),
            plain => value.push(plain),
        }
    }
    bail!("a label value without a closing quote")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_format_allows_and_refuses_what_prometheus_refuses() {
        let body = "# HELP a b c\n# TYPE a gauge\na{x=\"1,}\\\"\\\\\\n\",y=\"\"} 2.5\na 1e3\n";
        let all = Samples::parse(body).unwrap();
        assert_eq!(all.families["a"], Family { kind: "gauge".into(), help: "b c".into() });
        assert_eq!(all.samples[0].label("x"), "1,}\"\\\n");
        assert!((all.value("a", &[("y", "")]).is_err(), all.sum("a", &[])) == (true, 1002.5));
        for bad in
            ["a", "a{x=\"1} 1", "a{x=1} 1", "a 1 1700000000", "a one", "a 1\na 2", "# HELP a b\n# HELP a b"]
        {
            assert!(Samples::parse(bad).is_err(), "{bad}");
        }
    }
}
