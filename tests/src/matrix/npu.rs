//! Intel NPUs: what can go wrong with the files of the driver and the telemetry.

use super::sources::{Fault, Source, files, reload, unplugged};

/// The NPU of a Lunar Lake.
pub const SOURCE: Source =
    Source { name: "npu", machine: "nuc-lunar-lake", family: "npu", flags: &[], faults };

fn faults() -> Vec<Fault> {
    let mut all = vec![unplugged(vec![0]), reload()];
    all.extend(files(None, &["*", "npu_*", "telem", "runtime_*"]));
    all
}
