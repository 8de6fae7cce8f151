//! The rows of the matrix: a source with the faults that its hardware, driver and library can have.

use std::time::{SystemTime, UNIX_EPOCH};

use sim::{
    Control,
    control::{DriverState, Fault as Call, Garbage, Xid},
};

/// The device that a fault of one device is about.
pub const DEVICE: usize = 2;

/// Devices of a machine with a vendor's library.
const DEVICES: usize = 8;

/// A source of the exporter, on a machine that has it.
pub struct Source {
    /// As the matrix calls it.
    pub name: &'static str,
    /// A machine of `machines/`.
    pub machine: &'static str,
    /// The family.
    pub family: &'static str,
    /// Flags of the exporter.
    pub flags: &'static [&'static str],
    /// Its faults, in the order of the table.
    pub faults: fn() -> Vec<Fault>,
}

/// A fault, from its begin to its end.
pub struct Fault {
    /// In the words of the table.
    pub name: String,
    /// What is wrong.
    pub during: Control,
    /// The machine afterwards.
    pub after: fn() -> Control,
    /// Symbols that the library lacks, from the start of the exporter to its end.
    pub symbols: &'static [&'static str],
}

/// What a vendor's library is called by.
pub struct Library {
    /// A call that one series of each vocabulary comes from.
    pub call: &'static str,
    /// The call that says how many devices there are.
    pub count: &'static str,
    /// Every code but success.
    pub codes: Vec<u32>,
    /// Symbols that an older library lacks.
    pub symbols: &'static [&'static str],
}

/// Faults that a vendor's library can have, whoever the vendor is.
pub fn library(Library { call, count, codes, symbols }: &Library) -> Vec<Fault> {
    let mut faults = vec![
        calls_of("lost", [Call::lost().device(DEVICE)]),
        calls_of("every device lost", [Call::lost()]),
        calls_of("hang", [Call::hang().device(DEVICE)]),
        calls_of("every device hangs", [Call::hang()]),
        calls_of(&format!("{count} hangs"), [Call::hang().call(count)]),
        calls_of(&format!("{call} hangs"), [Call::hang().device(DEVICE).call(call)]),
        calls_of(&format!("{call} takes 3 s"), [Call::hang_for(3.0).device(DEVICE).call(call)]),
        calls_of(&format!("{call} takes 200 ms"), [Call::slow(200.0).call(call)]),
        calls_of("every call takes 4 ms", [Call::slow(4.0)]),
        Fault { symbols, ..state(&format!("without {}", symbols.join(", ")), Control::default()) },
    ];
    // Each device has another code.
    for codes in codes.chunks(DEVICES) {
        let listed: Vec<_> = codes
            .iter()
            .map(|code| if *code > 9999 { format!("{code:#x}") } else { code.to_string() })
            .collect();
        let each = || codes.iter().enumerate().map(|(device, code)| Call::error(*code).device(device));
        faults.push(calls_of(&format!("every call returns {}", listed.join(", ")), each()));
        faults.push(calls_of(
            &format!("{call} returns {}", listed.join(", ")),
            each().map(|fault| fault.call(call)),
        ));
    }
    for (name, garbage) in [
        ("a thousand times the truth", Garbage::Absurd),
        ("blanks", Garbage::Blank),
        ("texts without end", Garbage::Endless),
        ("255 degrees", Garbage::Hot),
        ("not a number", Garbage::Nan),
        ("nothing written", Garbage::Untouched),
    ] {
        faults.push(calls_of(&format!("every call: {name}"), [Call::garbage(garbage).device(DEVICE)]));
    }
    faults.push(calls_of(&format!("{count}: blanks"), [Call::garbage(Garbage::Blank).call(count)]));
    faults.extend(bus());
    faults
}

/// Devices that go and come, one or all of them, and a driver that does.
pub fn bus() -> Vec<Fault> {
    vec![unplugged(vec![DEVICES - 1]), unplugged((0..DEVICES).collect()), reload()]
}

pub fn unplugged(hidden: Vec<usize>) -> Fault {
    let name = format!("{} unplugged", if hidden.len() == 1 { "one device" } else { "every device" });
    state(&name, Control { hidden, ..Control::default() })
}

pub fn reload() -> Fault {
    let unloaded = Control { driver: Some(DriverState::Unloaded), ..Control::default() };
    let after = || Control { driver_epoch: Some(1), driver_loaded_at: Some(now()), ..Control::default() };
    Fault { after, ..state("driver reloaded", unloaded) }
}

/// What the kernel's files of a device can be instead of readable.
pub fn files(device: Option<usize>, patterns: &[&str]) -> Vec<Fault> {
    // `ENOENT` and `EIO`.
    let kinds = [
        ("missing", Call::error(2)),
        ("unreadable", Call::error(5)),
        ("empty", Call::garbage(Garbage::Blank)),
        ("garbage", Call::garbage(Garbage::Nan)),
    ];
    let all = patterns.iter().flat_map(|pattern| kinds.iter().map(move |kind| (pattern, kind)));
    all.map(|(pattern, (kind, fault))| {
        calls_of(&format!("file {pattern} {kind}"), [Call { device, ..fault.clone().call(pattern) }])
    })
    .collect()
}

pub fn event(code: u64) -> Xid {
    Xid { id: 1, device: DEVICE, code, ..Xid::default() }
}

pub fn repeated(code: u64) -> Xid {
    Xid { at: Some(now()), every: Some(0.05), ..event(code) }
}

pub fn calls(fault: impl IntoIterator<Item = Call>) -> Control {
    Control { fault: fault.into_iter().collect(), ..Control::default() }
}

pub fn calls_of(name: &str, fault: impl IntoIterator<Item = Call>) -> Fault {
    state(name, calls(fault))
}

pub fn state(name: &str, during: Control) -> Fault {
    Fault { name: name.to_owned(), during, after: Control::default, symbols: &[] }
}

/// Unix seconds.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
