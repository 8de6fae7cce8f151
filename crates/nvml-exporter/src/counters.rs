//! Which fields of dcgm-exporter are exported, under which names: the choice of a generation, and its counters
//! file, which says which fields to export, as what, with which HELP.

use std::path::Path;

use clap::ValueEnum;
use naming::{
    DCGM_LABELS, DcgmGeneration, DcgmLabel, FilterEntry, MetricKind, VendorFilter, VendorName, Vocabulary,
};
use source::{UsageError, user_file};

/// Whose names are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Generations {
    /// Those of dcgm-exporter up to 4.8.
    #[value(name = "4.8")]
    V4_8,
    /// Those of dcgm-exporter 4.9 and later.
    #[value(name = "4.9")]
    V4_9,
    /// Both.
    Both,
}

impl Generations {
    /// Whether a name of this generation is printed; `None` stands for all generations.
    fn prints(self, generation: Option<DcgmGeneration>) -> bool {
        match generation {
            None => true,
            Some(DcgmGeneration::V4_8) => self != Self::V4_9,
            Some(DcgmGeneration::V4_9) => self != Self::V4_8,
        }
    }

    /// The printed names of a label.
    fn names(self, label: &DcgmLabel) -> Vec<&'static str> {
        let [older, newer] = label.names;
        let mut names = Vec::new();
        names.extend((self != Self::V4_9).then_some(older));
        names.extend((self != Self::V4_8 && !names.contains(&newer)).then_some(newer));
        names
    }
}

/// What is exported in the DCGM vocabulary.
#[derive(Debug)]
pub struct Counters {
    /// The DCGM names to print.
    pub filter: VendorFilter,
    /// The fields to print as labels of every series, sorted.
    pub label_fields: Vec<&'static str>,
}

/// A line's number, and a text about it.
type AtLine = (usize, String);

impl Counters {
    /// Nothing yet.
    fn new() -> Self {
        let filter = VendorFilter { vocabulary: Vocabulary::Dcgm, entries: Vec::new() };
        Self { filter, label_fields: Vec::new() }
    }

    /// Every field, with the labels of dcgm-exporter's default list.
    pub fn all(generations: Generations) -> Self {
        let mut all = Self::new();
        for row in rows().filter(|row| generations.prints(row.generation)) {
            all.add(row);
        }
        let labels = DCGM_LABELS.iter().filter(|label| label.is_default);
        all.label_fields = labels.flat_map(|label| generations.names(label)).collect();
        all
    }

    /// Reads a file. A field that accelscope does not have is a line in the log, not an error. Where no
    /// generation is asked for, names are printed as the file has them.
    ///
    /// # Errors
    /// One line with file, line and what to do, when the file cannot be read or a record is malformed.
    pub fn load(path: &Path, generations: Option<Generations>) -> Result<Self, UsageError> {
        let place = path.display();
        let text = user_file::read(path, user_file::WRITTEN_MAX).map_err(|error| {
            UsageError(format!(
                "--dcgm.collectors {place}: {error}; name a readable dcgm-exporter counters file"
            ))
        })?;
        let (counters, unknown) = Self::parse(&text, generations)
            .map_err(|(line, problem)| UsageError(format!("{place}:{line}: {problem}")))?;
        for (line, field) in unknown {
            tracing::warn!("{place}:{line}: {field} is not a field that NVML has; it is left out");
        }
        Ok(counters)
    }

    /// The choice and the unknown fields with their lines, or the line and problem of a malformed record.
    ///
    /// The third column is the rest of its line: a HELP may have commas, in quotes or not.
    fn parse(text: &str, generations: Option<Generations>) -> Result<(Self, Vec<AtLine>), AtLine> {
        const WHAT_TO_DO: &str = "write FIELD, gauge|counter|label, HELP";
        let mut counters = Self::new();
        let (mut listed, mut unknown) = (Vec::new(), Vec::new());
        let lines =
            (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty() && !text.starts_with('#'));
        for (line, text) in lines {
            let mut columns = text.splitn(3, ',').map(column);
            let (Some(field), Some(kind), Some(help)) = (columns.next(), columns.next(), columns.next())
            else {
                return Err((line, format!("not three columns of CSV; {WHAT_TO_DO}")));
            };
            let kind = match kind.as_str() {
                "gauge" => MetricKind::Gauge,
                "counter" => MetricKind::Counter,
                "label" => {
                    match DCGM_LABELS.iter().find(|label| label.names.contains(&field.as_str())) {
                        Some(label) => counters.add_label(label, &field, generations),
                        None => unknown.push((line, field)),
                    }
                    continue;
                }
                other => return Err((line, format!("{other:?} is not a type; {WHAT_TO_DO}"))),
            };
            if listed.contains(&field) {
                return Err((line, format!("{field} is listed twice; keep one of the lines")));
            }
            match rows().find(|row| row.name == field) {
                Some(row) => counters.select(row, kind, help, generations),
                None => unknown.push((line, field.clone())),
            }
            listed.push(field);
        }
        counters.label_fields.sort_unstable();
        Ok((counters, unknown))
    }

    /// Adds a name with the type and HELP of the table, unless it is there.
    fn add(&mut self, row: &VendorName) {
        if self.filter.get(row.name).is_none() {
            let help = row.help.to_owned();
            self.filter.entries.push(FilterEntry { name: row.name, kind: row.kind, help });
        }
    }

    /// Adds what a line of the file selects: its own name as the line describes it, and the name in the other
    /// generation as the table does.
    fn select(&mut self, row: &VendorName, kind: MetricKind, help: String, asked: Option<Generations>) {
        if asked.is_none_or(|asked| asked.prints(row.generation)) {
            self.filter.entries.retain(|entry| entry.name != row.name);
            self.filter.entries.push(FilterEntry { name: row.name, kind, help });
        }
        let other = row.other.and_then(|other| rows().find(|row| row.name == other.name));
        if let Some(other) = other.filter(|row| asked.is_some_and(|asked| asked.prints(row.generation))) {
            self.add(other);
        }
    }

    fn add_label(&mut self, label: &DcgmLabel, field: &str, asked: Option<Generations>) {
        let names = match asked {
            Some(asked) => asked.names(label),
            None => label.names.into_iter().filter(|name| *name == field).take(1).collect(),
        };
        for name in names {
            if !self.label_fields.contains(&name) {
                self.label_fields.push(name);
            }
        }
    }
}

/// The rows of the vocabulary.
fn rows() -> impl Iterator<Item = &'static VendorName> {
    naming::vendor_names().filter(|row| row.vocabulary == Vocabulary::Dcgm)
}

/// A column without the blanks and quotes around it. CSV doubles a quote within quotes.
fn column(text: &str) -> String {
    let text = text.trim();
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    quoted.map_or_else(|| text.to_owned(), |text| text.replace("\"\"", "\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_types_help_labels_and_unknown_ones() {
        let text = "# comment\n\nDCGM_FI_DEV_GPU_TEMP,    gauge, GPU temperature (in C).\n\
                    DCGM_FI_DEV_DEC_UTIL ,     gauge, \"Decoder, \"\"quoted\"\"\"\n\
                    DCGM_FI_DEV_ENC_UTIL, gauge, Encoder, not quoted\n\
                    DCGM_FI_NO_SUCH, gauge, Nothing.\n\
                    DCGM_FI_DRIVER_VERSION, label, Driver Version\n\
                    DCGM_FI_DEV_SERIAL, label, Serial\n";
        let (counters, unknown) = Counters::parse(text, None).expect("valid");
        let names: Vec<_> =
            counters.filter.entries.iter().map(|entry| (entry.name, entry.help.as_str())).collect();
        assert_eq!(
            names,
            [
                ("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C)."),
                ("DCGM_FI_DEV_DEC_UTIL", "Decoder, \"quoted\""),
                ("DCGM_FI_DEV_ENC_UTIL", "Encoder, not quoted"),
            ]
        );
        assert_eq!(counters.label_fields, ["DCGM_FI_DEV_SERIAL", "DCGM_FI_DRIVER_VERSION"]);
        assert_eq!(unknown, [(6, "DCGM_FI_NO_SUCH".to_owned())]);
    }

    #[test]
    fn malformed_records_name_their_line_and_what_to_do() {
        let cases = [
            ("DCGM_FI_DEV_GPU_TEMP, gauge\n", 1, "not three columns"),
            ("DCGM_FI_DEV_GPU_TEMP, gauge, a\n# x\nDCGM_FI_DEV_FB_USED, gauge\n", 3, "not three columns"),
            ("DCGM_FI_DEV_GPU_TEMP, gouge, help\n", 1, "not a type"),
            ("DCGM_FI_DEV_GPU_TEMP, gauge, a\nDCGM_FI_DEV_GPU_TEMP, gauge, b\n", 2, "listed twice"),
        ];
        for (text, line, problem) in cases {
            let (at, message) = Counters::parse(text, None).expect_err(text);
            assert_eq!(at, line, "{text}");
            assert!(message.contains(problem), "{message}");
            assert!(message.contains(';'), "nothing to do: {message}");
        }
    }

    fn entries(counters: &Counters) -> Vec<(&str, &str)> {
        counters.filter.entries.iter().map(|entry| (entry.name, entry.help.as_str())).collect()
    }

    #[test]
    fn a_file_may_use_either_generation_and_the_flag_decides_what_is_printed() {
        let text = "DCGM_FI_DEV_GPU_TEMP, gauge, Old.\nDCGM_FI_DEV_FB_USED_BYTES, gauge, New.\n\
                    DCGM_EXP_XID_ERRORS_COUNT, gauge, Same.\nDCGM_FI_SYSTEM_DRIVER_VERSION, label, Driver\n";
        let parse = |generations| Counters::parse(text, generations).expect("valid").0;
        let same = ("DCGM_EXP_XID_ERRORS_COUNT", "Same.");

        let written = parse(None);
        let expected = [("DCGM_FI_DEV_GPU_TEMP", "Old."), ("DCGM_FI_DEV_FB_USED_BYTES", "New."), same];
        assert_eq!(entries(&written), expected);
        assert_eq!(written.label_fields, ["DCGM_FI_SYSTEM_DRIVER_VERSION"]);

        let older = parse(Some(Generations::V4_8));
        let used = ("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).");
        assert_eq!(entries(&older), [("DCGM_FI_DEV_GPU_TEMP", "Old."), used, same]);
        assert_eq!(older.label_fields, ["DCGM_FI_DRIVER_VERSION"]);

        let newer = parse(Some(Generations::V4_9));
        let temperature = ("DCGM_FI_DEV_GPU_TEMP_CELSIUS", "GPU temperature (in C).");
        assert_eq!(entries(&newer), [temperature, ("DCGM_FI_DEV_FB_USED_BYTES", "New."), same]);

        let both = parse(Some(Generations::Both));
        assert_eq!(both.filter.entries.len(), 5);
        assert_eq!(both.label_fields, ["DCGM_FI_DRIVER_VERSION", "DCGM_FI_SYSTEM_DRIVER_VERSION"]);
    }

    #[test]
    fn a_field_listed_under_both_names_keeps_the_files_own_help() {
        let text = "DCGM_FI_DEV_GPU_TEMP, gauge, Old.\nDCGM_FI_DEV_GPU_TEMP_CELSIUS, gauge, New.\n";
        let (both, _) = Counters::parse(text, Some(Generations::Both)).expect("valid");
        let expected = [("DCGM_FI_DEV_GPU_TEMP", "Old."), ("DCGM_FI_DEV_GPU_TEMP_CELSIUS", "New.")];
        assert_eq!(entries(&both), expected);
    }

    #[test]
    fn without_a_file_each_generation_is_whole_and_both_are_all_names() {
        let count = |generations| Counters::all(generations).filter.entries.len();
        let all: std::collections::BTreeSet<_> = rows().map(|row| row.name).collect();
        let renamed = rows().filter(|row| row.generation == Some(DcgmGeneration::V4_9)).count();
        assert_eq!(count(Generations::Both), all.len());
        assert_eq!(count(Generations::V4_8), all.len() - renamed);
        // One name has no successor.
        assert_eq!(count(Generations::V4_9), all.len() - renamed - 1);
        assert_eq!(Counters::all(Generations::V4_9).label_fields, ["DCGM_FI_SYSTEM_DRIVER_VERSION"]);
    }
}
