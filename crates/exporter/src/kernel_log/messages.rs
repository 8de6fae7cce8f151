//! Which messages of the kernel say that an accelerator has failed.
//!
//! The texts are those of the drivers' sources: NVRM and nvidia-nvswitch of NVIDIA's open kernel modules; of Linux
//! `drivers/gpu/drm/xe/{xe_device,xe_gt,xe_guc_submit}.c`, `drivers/gpu/drm/i915/gt/intel_reset.c`,
//! `drivers/accel/habanalabs/common/device.c`, `drivers/accel/ivpu/ivpu_pm.c` and `drivers/pci/pcie/aer.c`.

use kernel::log::Record;
use reading::LabelValue;

/// Errors of the PCIe link, which every PCI device can have.
pub const AER: &str = "aer";

/// Codes of XIDs and SXids above this are garbage.
const CODE_MAX: u32 = 99_999;

/// What a message says of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Value of the label `kind`.
    pub kind: &'static str,
    /// Value of the label `code`.
    pub code: LabelValue,
    /// Which text it was: one failure can be reported in several.
    pub wording: u8,
}

/// Where the code of a message is.
enum Code {
    /// It is the message's own.
    Is(LabelValue),
    /// The number that follows the address in brackets.
    AfterBrackets,
}

/// A message: texts that it has, the first of them at its beginning.
struct Pattern {
    texts: [&'static str; 2],
    kind: &'static str,
    code: Code,
}

const fn word(driver: &'static str, text: &'static str, kind: &'static str, code: &'static str) -> Pattern {
    Pattern { texts: [driver, text], kind, code: Code::Is(LabelValue::Word(code)) }
}

const fn number(driver: &'static str, text: &'static str, kind: &'static str) -> Pattern {
    Pattern { texts: [driver, text], kind, code: Code::AfterBrackets }
}

/// XID 79, in words.
const fn off_the_bus(text: &'static str) -> Pattern {
    Pattern { texts: ["NVRM: ", text], kind: "xid", code: Code::Is(LabelValue::Number(79)) }
}

/// Every message, the first that fits deciding. An empty driver is any.
const PATTERNS: [Pattern; 16] = [
    number("NVRM: ", "Xid (PCI:", "xid"),
    off_the_bus("GPU has fallen off the bus"),
    off_the_bus("has fallen off the bus and is not responding"),
    number("nvidia-nvswitch", "SXid (PCI:", "sxid"),
    word("xe ", "has declared device", "ras", "wedged"),
    word("xe ", ": reset started", "ras", "reset"),
    word("xe ", "Engine reset: ", "reset", "engine"),
    word("i915 ", "Resetting chip for ", "ras", "reset"),
    word("i915 ", "Failed to reset chip", "ras", "wedged"),
    word("i915 ", "GPU HANG: ", "reset", "engine"),
    word("habanalabs ", "Going to RESET device", "reset", "device"),
    word("habanalabs ", "Going to reset device", "reset", "device"),
    // Since Linux 6.3, which has a class for accelerators.
    word("accel ", "Going to RESET device", "reset", "device"),
    word("accel ", "Going to reset device", "reset", "device"),
    word("intel_vpu ", "Recovery triggered by ", "reset", "device"),
    word("", "PCIe Bus Error: severity=Uncorrect", AER, ""),
];

/// What a message says of a device, if it is about a failure that is known.
pub fn read(record: &Record) -> Option<Message> {
    let text = record.text.lines().next().unwrap_or_default();
    let is = |pattern: &&Pattern| {
        let [driver, of_driver] = pattern.texts;
        text.starts_with(driver) && text.contains(of_driver)
    };
    let place = PATTERNS.iter().position(|pattern| is(&pattern))?;
    let Pattern { kind, ref code, .. } = PATTERNS[place];
    let code = match code {
        // The severity is in brackets.
        Code::Is(LabelValue::Word("")) if text.contains("(Non-Fatal)") => LabelValue::Word("non_fatal"),
        Code::Is(LabelValue::Word("")) => LabelValue::Word("fatal"),
        Code::Is(code) => *code,
        Code::AfterBrackets => {
            let (_, after) = text.split_once("(PCI:")?.1.split_once("): ")?;
            let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
            LabelValue::Number(digits.parse().ok().filter(|code| *code <= CODE_MAX)?)
        }
    };
    Some(Message { kind, code, wording: u8::try_from(place).unwrap_or(u8::MAX) })
}

/// The PCI address in a text, as sysfs writes it: NVIDIA's driver leaves out the function, and writes hexadecimal digits in
/// capitals.
pub fn address(text: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
    text.split(|c: char| !is_part(c)).find_map(parse_address)
}

fn parse_address(text: &str) -> Option<String> {
    let text = text.trim_matches([':', '.']);
    let (slot, function) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = slot.rsplitn(3, ':');
    let mut part = |length| parts.next().filter(|part| part.len() == length);
    let (slot, bus) = (part(2)?, part(2)?);
    let domain = parts.next().filter(|domain| matches!(domain.len(), 4 | 8) && !domain.contains(':'))?;
    let hex = |part: &str| u32::from_str_radix(part, 16).ok();
    let function = function.parse::<u8>().ok().filter(|function| *function < 8)?;
    Some(format!("{:04x}:{:02x}:{:02x}.{function}", hex(domain)?, hex(bus)?, hex(slot)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(&'static str, LabelValue, Option<String>)> {
        let message = super::read(&Record { text: text.to_owned(), ..Record::default() })?;
        Some((message.kind, message.code, address(text)))
    }

    #[test]
    fn each_drivers_failures_are_known_with_their_devices() {
        let at = |address: &str| Some(address.to_owned());
        let (number, word) = (LabelValue::Number, LabelValue::Word);
        // As people posted them, and as the drivers' sources print them.
        for (text, kind, code, address) in [
            (
                "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
                "xid",
                number(79),
                at("0000:3b:00.0"),
            ),
            (
                "NVRM: Xid (PCI:0000:00:06): 31, pid=79749, name=exe, Ch 0000000a, intr 00000000. MMU Fault",
                "xid",
                number(31),
                at("0000:00:06.0"),
            ),
            (
                "NVRM: Xid (PCI:0009:01:00): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 08 (0x004505c6 0x00000000)",
                "xid",
                number(149),
                at("0009:01:00.0"),
            ),
            (
                "NVRM: Xid (PCI:0000:16:00 GPU-I:05): 94, pid=7194, Contained: CE User Channel (0x9)",
                "xid",
                number(94),
                at("0000:16:00.0"),
            ),
            ("NVRM: GPU 0000:01:00.0: GPU has fallen off the bus.", "xid", number(79), at("0000:01:00.0")),
            (
                "NVRM: The NVIDIA GPU 0000:B3:00.0 (PCI ID: 10de:2330) installed in this system has fallen off the \
                 bus and is not responding to commands.",
                "xid",
                number(79),
                at("0000:b3:00.0"),
            ),
            (
                "nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress non-posted PRIV error",
                "sxid",
                number(12028),
                at("0000:05:00.0"),
            ),
            (
                "xe 0000:03:00.0: [drm] *ERROR* CRITICAL: Xe has declared device 0000:03:00.0 as wedged.",
                "ras",
                word("wedged"),
                at("0000:03:00.0"),
            ),
            ("xe 0000:03:00.0: [drm] GT0: reset started", "ras", word("reset"), at("0000:03:00.0")),
            (
                "xe 0000:03:00.0: [drm] GT0: Engine reset: engine_class=ccs, logical_mask: 0x1, guc_id=3",
                "reset",
                word("engine"),
                at("0000:03:00.0"),
            ),
            (
                "i915 0000:00:02.0: [drm] GPU HANG: ecode 12:1:8ed9fff2, in python3 [6414]",
                "reset",
                word("engine"),
                at("0000:00:02.0"),
            ),
            (
                "i915 0000:00:02.0: [drm] Resetting chip for stopped heartbeat on rcs0",
                "ras",
                word("reset"),
                at("0000:00:02.0"),
            ),
            ("habanalabs hl0: Going to RESET device!", "reset", word("device"), None),
            ("accel accel0: Going to reset device", "reset", word("device"), None),
            (
                "intel_vpu 0000:00:0b.0: [drm] *ERROR* ivpu_pm_trigger_recovery(): Recovery triggered by tdr",
                "reset",
                word("device"),
                at("0000:00:0b.0"),
            ),
            (
                "nvidia 0000:3b:00.0: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Transaction Layer, \
                 (Receiver ID)",
                AER,
                word("fatal"),
                at("0000:3b:00.0"),
            ),
            (
                "xe 0000:03:00.0: PCIe Bus Error: severity=Uncorrected (Non-Fatal), type=Data Link Layer, (Requester \
                 ID)",
                AER,
                word("non_fatal"),
                at("0000:03:00.0"),
            ),
        ] {
            assert_eq!(read(text), Some((kind, code, address)), "{text}");
        }
    }

    #[test]
    fn the_runbook_has_every_code() {
        let judge = thresholds::Judge::builtin();
        for Pattern { kind, code, .. } in PATTERNS {
            let codes = match code {
                Code::Is(LabelValue::Word("")) => vec!["fatal", "non_fatal"],
                Code::Is(LabelValue::Word(code)) => vec![code],
                // XIDs have a catalogue of their own, and NVIDIA publishes none of SXids.
                Code::Is(LabelValue::Number(_)) | Code::AfterBrackets => continue,
            };
            for code in codes {
                let (meaning, action) = judge.code(kind, code);
                assert!(meaning.is_some() && action.is_some(), "{kind} {code}");
            }
        }
    }

    #[test]
    fn what_is_no_failure_and_what_is_cut_is_not_taken_for_one() {
        for text in [
            "",
            "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.95.05",
            "NVRM: Xid (PCI:0000:3b:00)",
            "NVRM: Xid (PCI:0000:3b:00): ",
            "NVRM: Xid (PCI:0000:3b:00): 99999999999999999999, x",
            "someone: NVRM: Xid (PCI:0000:3b:00): 79, x",
            "xe 0000:03:00.0: [drm] GT0: reset done",
            "nvidia 0000:3b:00.0: PCIe Bus Error: severity=Correctable, type=Physical Layer, (Receiver ID)",
            "habanalabs hl0: Successfully finished resetting the device",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_is_found_as_sysfs_writes_it() {
        assert_eq!(address("at 00000000:3B:00.1 there"), Some("0000:3b:00.1".to_owned()));
        for text in ["", "12:1:8ed9fff2", "3b:00.0", "0000:3b:00.9", "[12:34:56]", "2026-11-27 16:30:00"] {
            assert_eq!(address(text), None, "{text}");
        }
    }
}
