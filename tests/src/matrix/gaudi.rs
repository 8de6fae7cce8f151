//! Intel Gaudi: what can go wrong with HLML and with the files of the driver.

use sim::{
    Control,
    control::{Fault as Call, Reset},
};

use super::sources::{DEVICE, Fault, Library, Source, calls, event, files, library, repeated, state};

/// HLML on eight Gaudi 3.
pub const SOURCE: Source = Source { name: "gaudi", machine: "gaudi3-8", family: "gaudi", flags: &[], faults };

fn faults() -> Vec<Fault> {
    let mut all = library(&Library {
        call: "hlml_device_get_power_usage",
        count: "hlml_device_get_count",
        // Those of hlml.h, and one that it does not define.
        codes: vec![1, 2, 3, 5, 6, 7, 9, 10, 15, 20, 21, 49, 33],
        symbols: &["hlml_device_get_power_usage", "hlml_device_get_memory_info"],
    });
    let reset = Reset { device: DEVICE, hard: 1, running: true, ..Reset::default() };
    all.extend([
        state("a reset under way", Control { reset: vec![reset], ..Control::default() }),
        // Bit 1 of an event: a critical error.
        state(
            "critical event and lost",
            Control { xid: vec![event(2)], ..calls([Call::lost().device(DEVICE)]) },
        ),
        state("a critical event every 50 ms", Control { xid: vec![repeated(2)], ..Control::default() }),
    ]);
    all.extend(files(Some(DEVICE), &["*", "status", "clk_*", "temp*"]));
    all
}
