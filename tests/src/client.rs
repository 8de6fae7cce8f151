//! What a vendor's own client reads, beside what we export: tables of rows, compared value by value.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::Samples;

/// Labels of a series beside those of its device.
pub type Labels = &'static [(&'static str, &'static str)];

/// What a client calls a value (in a dump the path to it), the factor from its unit to ours, and our series.
pub type Row = (&'static str, f64, &'static str, Labels);

/// Memory errors that were corrected, since the driver was loaded.
pub const CORRECTED: Labels = &[("severity", "corrected"), ("scope", "volatile")];
/// Those of the device's life.
pub const CORRECTED_EVER: Labels = &[("severity", "corrected"), ("scope", "aggregate")];
/// Memory errors that could not be corrected, since the driver was loaded.
pub const UNCORRECTABLE: Labels = &[("severity", "uncorrectable"), ("scope", "volatile")];

/// Equal but for the last bits, which a conversion by a factor that is no power of two may cost; DCGM's
/// own units are whole numbers, cut off.
#[expect(clippy::float_cmp, reason = "whole numbers are told exactly")]
pub fn agree(theirs: f64, ours: f64, metric: &str) -> bool {
    let is_whole = metric.starts_with("DCGM_") && ours.fract() == 0.0;
    is_whole && theirs.floor() == ours || (theirs - ours).abs() <= ours.abs() * 1e-12
}

/// Checks each row of a table: what the client can read is exported with the same value, and what it cannot
/// is absent but for the paths that we know from `elsewhere`. `labels` are the device's, of the unified
/// schema and of the vendor's. Returns how many values were compared.
pub fn compare(
    about: &str,
    rows: &[Row],
    theirs: &Value,
    ours: &Samples,
    labels: [&[(&str, &str)]; 2],
    elsewhere: &[&str],
) -> Result<usize> {
    let mut compared = 0;
    for (path, factor, metric, own) in rows {
        let labels = [labels[usize::from(!metric.starts_with("accel_"))], own].concat();
        let Some(value) = theirs.pointer(path).and_then(Value::as_f64) else {
            let known = elsewhere.contains(path) || !ours.has(metric, &labels);
            ensure!(known, "{about}: no {path}, and yet {metric}{own:?}");
            continue;
        };
        let exported = ours.value(metric, &labels).with_context(|| format!("{about}: {path} is {value}"))?;
        let value = value * factor;
        ensure!(agree(value, exported, metric), "{about}: {path} is {value}, {metric}{own:?} {exported}");
        compared += 1;
    }
    Ok(compared)
}
