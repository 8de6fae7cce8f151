//! dcgm-exporter's counters file: which fields to export, as what, with which HELP.

use std::path::Path;

use naming::{DCGM_LABELS, FilterEntry, MetricKind, VendorFilter, Vocabulary};
use source::{UsageError, user_file};

/// What a counters file selects.
#[derive(Debug)]
pub struct Counters {
    /// The DCGM names to print.
    pub filter: VendorFilter,
    /// The fields to print as labels of every series.
    pub label_fields: Vec<&'static str>,
}

/// A line's number, and a text about it.
type AtLine = (usize, String);

impl Counters {
    /// Reads a file. A field that accelscope does not have is a line in the log, not an error.
    ///
    /// # Errors
    /// One line with file, line and what to do, when the file cannot be read or a record is malformed.
    pub fn load(path: &Path) -> Result<Self, UsageError> {
        let place = path.display();
        let text = user_file::read(path, user_file::WRITTEN_MAX).map_err(|error| {
            UsageError(format!(
                "--dcgm.collectors {place}: {error}; name a readable dcgm-exporter counters file"
            ))
        })?;
        let (counters, unknown) =
            Self::parse(&text).map_err(|(line, problem)| UsageError(format!("{place}:{line}: {problem}")))?;
        for (line, field) in unknown {
            tracing::warn!("{place}:{line}: {field} is not a field that NVML has; it is left out");
        }
        Ok(counters)
    }

    /// The choice and the unknown fields with their lines, or the line and problem of a malformed record.
    ///
    /// The third column is the rest of its line: a HELP may have commas, in quotes or not.
    fn parse(text: &str) -> Result<(Self, Vec<AtLine>), AtLine> {
        const WHAT_TO_DO: &str = "write FIELD, gauge|counter|label, HELP";
        let mut counters = Self {
            filter: VendorFilter { vocabulary: Vocabulary::Dcgm, entries: Vec::new() },
            label_fields: Vec::new(),
        };
        let mut unknown = Vec::new();
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
                    match DCGM_LABELS.iter().find(|(name, _)| *name == field) {
                        Some((name, _)) => counters.label_fields.push(name),
                        None => unknown.push((line, field)),
                    }
                    continue;
                }
                other => return Err((line, format!("{other:?} is not a type; {WHAT_TO_DO}"))),
            };
            match known(&field) {
                Some(name) if counters.filter.get(name).is_some() => {
                    return Err((line, format!("{name} is listed twice; keep one of the lines")));
                }
                Some(name) => counters.filter.entries.push(FilterEntry { name, kind, help }),
                None => unknown.push((line, field)),
            }
        }
        Ok((counters, unknown))
    }
}

/// A column without the blanks and quotes around it. CSV doubles a quote within quotes.
fn column(text: &str) -> String {
    let text = text.trim();
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    quoted.map_or_else(|| text.to_owned(), |text| text.replace("\"\"", "\""))
}

/// The catalogue's spelling of a DCGM name.
fn known(field: &str) -> Option<&'static str> {
    let mut vendors = naming::vendor_names();
    vendors
        .find(|vendor| vendor.vocabulary == Vocabulary::Dcgm && vendor.name == field)
        .map(|vendor| vendor.name)
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
        let (counters, unknown) = Counters::parse(text).expect("valid");
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
        assert_eq!(counters.label_fields, ["DCGM_FI_DRIVER_VERSION", "DCGM_FI_DEV_SERIAL"]);
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
            let (at, message) = Counters::parse(text).expect_err(text);
            assert_eq!(at, line, "{text}");
            assert!(message.contains(problem), "{message}");
            assert!(message.contains(';'), "nothing to do: {message}");
        }
    }
}
