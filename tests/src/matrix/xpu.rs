//! Intel GPUs: what can go wrong with Level Zero and with the files of the kernel.

use level_zero_sys::code;
use sim::control::Fault as Call;

use super::sources::{DEVICE, Fault, Library, Source, bus, calls_of, files, library};

/// Level Zero alone on eight Arc Pro B60.
pub const LEVEL_ZERO: Source =
    Source { name: "xpu, Level Zero", flags: &["--xpu.backend", "level-zero"], faults: level_zero, ..KERNEL };

/// The kernel's files alone.
pub const KERNEL: Source = Source {
    name: "xpu, kernel",
    machine: "battlematrix-8",
    family: "xpu",
    flags: &["--xpu.backend", "kernel"],
    faults: kernel,
};

fn level_zero() -> Vec<Fault> {
    let known = code::NAMES.iter().map(|(code, _)| *code).filter(|code| *code != code::SUCCESS);
    library(&Library {
        call: "zesPowerGetEnergyCounter",
        count: "zesDeviceGet",
        // And one that no header defines.
        codes: known.chain([0x7abc_def0]).collect(),
        symbols: &["zesPowerGetEnergyCounter", "zesDevicePciGetStats", "zesMemoryGetState"],
    })
}

fn kernel() -> Vec<Fault> {
    let mut faults = bus();
    faults.push(calls_of("lost", [Call::lost().device(DEVICE)]));
    faults.extend(files(Some(DEVICE), &["*", "energy1_input", "temp*", "act_freq", "reason*", "9"]));
    faults
}
