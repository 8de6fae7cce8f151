//! Xeon sockets: what can go wrong with the files of the kernel.

use super::sources::{Fault, Source, files};

/// Two sockets with AMX.
pub const SOURCE: Source = Source { name: "amx", machine: "xeon6-amx", family: "amx", flags: &[], faults };

fn faults() -> Vec<Fault> {
    files(None, &["*", "energy_uj", "temp*", "scaling_cur_freq", "package_*", "physical_package_id"])
}
