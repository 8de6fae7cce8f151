//! NVIDIA GPUs: what can go wrong with NVML, and what happens to boards.

use sim::{
    Control,
    control::{Fault as Call, Mig},
};

use super::sources::{DEVICE, Fault, Library, Source, calls, event, library, repeated, state};

/// NVML on eight H100.
pub const SOURCE: Source =
    Source { name: "nvidia", machine: "h100-sxm-8", family: "nvidia", flags: &[], faults };

fn faults() -> Vec<Fault> {
    let mut all = library(&Library {
        call: "nvmlDeviceGetPowerUsage",
        count: "nvmlDeviceGetCount_v2",
        codes: (1..=30).chain([999]).collect(),
        symbols: &["nvmlDeviceGetPowerUsage", "nvmlDeviceGetFieldValues", "nvmlGpmSampleGet"],
    });
    let mig = |instances: &[&str]| Mig {
        device: DEVICE,
        enabled: true,
        instances: instances.iter().map(|name| (*name).to_owned()).collect(),
    };
    all.extend([
        state("MIG on", Control { mig: vec![mig(&["3g.40gb", "2g.20gb"])], ..Control::default() }),
        state("MIG on, without instances", Control { mig: vec![mig(&[])], ..Control::default() }),
        // XID 79: the GPU has fallen off the bus.
        state("XID 79 and lost", Control { xid: vec![event(79)], ..calls([Call::lost().device(DEVICE)]) }),
        state("an XID every 50 ms", Control { xid: vec![repeated(31)], ..Control::default() }),
    ]);
    all
}
