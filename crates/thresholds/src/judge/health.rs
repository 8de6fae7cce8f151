//! Whether a device can be given work: the reasons against it, each with the alert that pages for it.
//!
//! The state of a reason follows from its alert's severity, and the laws in `health_tests` compare the two, run the
//! examples that prove the alert, and list the alerts that are no reason. So alert and verdict cannot disagree.

use naming::{
    Label,
    catalogue::{
        AMX_MISSING, BANK_REMAP_PENDING, ERROR_LAST, FABRIC_REGISTRATION_FAILED, FABRIC_UNHEALTHY,
        MEMORY_UNREPAIRABLE, PAGES_PENDING, PAGES_RETIRED, PCIE_GENERATION, PCIE_GENERATION_MAX, PCIE_WIDTH,
        PCIE_WIDTH_MAX, RECOVERY_ACTION, REPAIR_PENDING, ROW_REMAP_BANKS, ROW_REMAP_FAILED,
        ROW_REMAP_PENDING, SRAM_ECC_THRESHOLD, UTILIZATION,
    },
};

use super::{Facts, Judge, MEMORY, Point, XID, headroom, highest, reads, sum};
use crate::catalogue;

/// Whether a device can be given work. In the order in which a node's verdict follows from its devices': what is known
/// to be wrong counts before what is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Nothing is wrong.
    Ok,
    /// Nothing current can be read.
    Unknown,
    /// It works, and a person must look: an alert that is a warning or ticket.
    Degraded,
    /// It must be reset, drained or replaced: a critical alert.
    Failed,
}

impl Health {
    /// Every state, as documents list them.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Degraded, Self::Failed, Self::Unknown];

    /// The word that people and series have.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether a device is there, as far as its exporter knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is read.
    Up,
    /// It has not been read yet.
    Starting,
    /// What was read is old, and no call says why.
    Stale,
    /// No call about it returns.
    Hung,
    /// Its driver lists it and cannot read it.
    Lost,
    /// Its driver no longer lists it.
    Gone,
    /// Its driver never listed it, and the PCI bus shows it.
    Missing,
    /// The exporter has let go of it.
    Detached,
}

/// What is known of a device over time, beside what it shows now.
pub trait Watched: Facts {
    /// Whether it is there.
    fn presence(&self) -> Presence;
    /// Codes of errors that were counted in the last [`WINDOW_SECONDS`](super::WINDOW_SECONDS), by kind and code, of
    /// devices that do not say when.
    fn counted(&self) -> Vec<(String, String)>;
    /// The share of the last [`WINDOW_SECONDS`](super::WINDOW_SECONDS) in which each reason held the clocks down.
    fn throttled(&self) -> Vec<(String, f64)>;
    /// Kinds of which fewer links are up than within a day: the kind, how many, and the most.
    fn links_lost(&self) -> Vec<(String, f64, f64)>;
    /// Resets that the driver did by itself within an hour.
    fn resets(&self) -> f64;
}

/// Why a device is not ok.
#[derive(Debug)]
pub struct HealthReason {
    /// Value of the label `reason`.
    pub name: &'static str,
    /// The state that it leads to.
    pub state: Health,
    /// The alert that pages for it; `None` where nobody is to be paged.
    pub alert: Option<&'static str>,
    /// What it says, as a phrase without a full stop.
    pub meaning: &'static str,
    /// For how many seconds it must hold before it counts, where a moment says nothing: as long as its alert waits.
    pub after: u64,
    /// The detail where it holds, possibly empty.
    holds: fn(&Judge, &dyn Watched) -> Option<String>,
}

const fn reason(
    name: &'static str,
    state: Health,
    alert: &'static str,
    meaning: &'static str,
    holds: fn(&Judge, &dyn Watched) -> Option<String>,
) -> HealthReason {
    HealthReason { name, state, alert: Some(alert), meaning, after: 0, holds }
}

const LOST: &str = "DeviceLost";
const ERROR: &str = "GpuXidErrorDetected";
const PENDING: &str = "MemoryRepairPending";

use Health::{Degraded, Failed, Unknown};

/// Every reason, the worst first.
pub static REASONS: [HealthReason; 30] = [
    reason("hung", Failed, LOST, "a driver call about the device does not return", |_, of| {
        is(of, Presence::Hung)
    }),
    reason("lost", Failed, LOST, "the driver lists the device and cannot read it", |_, of| {
        is(of, Presence::Lost)
    }),
    reason("gone", Failed, LOST, "the driver no longer lists the device", |_, of| is(of, Presence::Gone)),
    reason(
        "missing",
        Failed,
        "DeviceMissing",
        "the PCI bus shows more devices than the driver lists",
        |_, of| is(of, Presence::Missing),
    ),
    reason(
        "critical_error",
        Failed,
        ERROR,
        "an error after which the device must be reset or replaced",
        |judge, of| judge.open_codes(of, |kind, code| kind == EVENT || judge.is_critical(kind, code)),
    ),
    reason("ras_error", Failed, ERROR, "an uncorrectable error that the driver counts", |judge, of| {
        judge.open_codes(of, |kind, _| kind == RAS)
    }),
    reason(
        "uncorrectable_errors",
        Failed,
        "GpuEccDoubleBit",
        "memory errors that ECC could not correct",
        |judge, of| judge.past(of, "ecc_uncorrectable", "red"),
    ),
    reason(
        "remap_failed",
        Failed,
        "MemoryRepairNeeded",
        "a bad memory row could not be replaced",
        |_, of| flag(of, ROW_REMAP_FAILED.id),
    ),
    reason(
        "memory_unrepairable",
        Failed,
        "MemoryRepairNeeded",
        "defective memory has no repair left",
        |_, of| flag(of, MEMORY_UNREPAIRABLE.id),
    ),
    reason("firmware_wedged", Failed, "RecoveryActionNeeded", "the firmware must be repaired", |_, of| {
        asked(of, |action| action == REPAIR)
    }),
    reason(
        "recovery_action",
        Failed,
        "RecoveryActionNeeded",
        "the driver asks for a recovery action",
        |judge, of| {
            // An error that is open says the same, with its code, as in the rules.
            let says_more = ["critical_error", "ras_error", "device_error"];
            let mut reasons = REASONS.iter().filter(|reason| says_more.contains(&reason.name));
            let mut is_said = || reasons.any(|reason| (reason.holds)(judge, of).is_some());
            asked(of, |action| action != REPAIR).filter(|_| !is_said())
        },
    ),
    reason("links_down", Degraded, "LinkDown", "fewer links are up than within a day", |_, of| {
        let lost = of.links_lost();
        let text = |(kind, up, most): &(String, f64, f64)| format!("{kind} {up} of {most}");
        (!lost.is_empty()).then(|| listed(lost.iter().map(text)))
    }),
    reason(
        "fabric",
        Degraded,
        "FabricDegraded",
        "the fabric reports a fault or registration failed",
        |_, of| {
            let failed = flag(of, FABRIC_REGISTRATION_FAILED.id).map(|_| "registration_failed".to_owned());
            failed.or_else(|| active(&of.series(FABRIC_UNHEALTHY.id), Label::Fault, |_| true))
        },
    ),
    HealthReason {
        after: 60,
        ..reason(
            "throttled",
            Degraded,
            "GpuThermalOrPowerThrottle",
            "heat or hardware holds the clocks down",
            |judge, of| {
                let is_fault = |name: &str| {
                    let known = judge.reasons.iter().find(|known| known.name == name);
                    known.is_some_and(|known| known.fault && known.families.contains(&of.family()))
                };
                let worst =
                    of.throttled().into_iter().filter(|(name, share)| *share > 0.25 && is_fault(name));
                let worst = worst.max_by(|a, b| a.1.total_cmp(&b.1))?;
                Some(format!("{} {:.0}%", worst.0, worst.1 * 100.0))
            },
        )
    },
    HealthReason {
        after: 600,
        ..reason(
            "overheating",
            Degraded,
            "DeviceOverheating",
            "die or memory is at its temperature limit",
            |judge, of| {
                let die = headroom(of, |sensor| sensor != MEMORY, &["slowdown"]);
                let memory = headroom(of, |sensor| sensor == MEMORY, &["operating", "slowdown"]);
                let is_hot = |value: Option<f64>, signal| {
                    value.filter(|value| judge.is_past(signal, "low_red", *value))
                };
                let die = is_hot(die, "temperature_headroom").map(|left| format!("die {left:.0} °C below"));
                let memory = is_hot(memory, "memory_temperature_headroom");
                die.or_else(|| memory.map(|left| format!("memory {left:.0} °C below")))
            },
        )
    },
    reason("device_error", Degraded, ERROR, "an error that a person must look at", |judge, of| {
        judge.open_codes(of, |kind, code| {
            let is_harmless = kind == XID && judge.harmless.contains(code);
            ![EVENT, RAS, RESET].contains(&kind) && !is_harmless && !judge.is_critical(kind, code)
        })
    }),
    reason("device_reset", Degraded, ERROR, "the driver reset the device or an engine of it", |judge, of| {
        judge.open_codes(of, |kind, _| kind == RESET)
    }),
    reason(
        "resetting",
        Degraded,
        "DeviceResetting",
        "the driver reset the device again and again",
        |_, of| {
            let resets = of.resets();
            (resets > 1.0).then(|| format!("{resets:.0} in an hour"))
        },
    ),
    reason("repair_pending", Degraded, PENDING, "a memory repair waits for a reset", |_, of| {
        pending(of, || {
            let flags = [ROW_REMAP_PENDING.id, BANK_REMAP_PENDING.id, PAGES_PENDING.id];
            flags.into_iter().find_map(|id| flag(of, id)).or_else(|| repair(of, "memory_channel"))
        })
    }),
    reason(
        "tpc_repair_pending",
        Degraded,
        PENDING,
        "the repair of a processing cluster (TPC) waits for a reset",
        |_, of| pending(of, || repair(of, "tpc")),
    ),
    reason(
        "on_chip_errors",
        Degraded,
        PENDING,
        "on-chip memory errors passed the vendor's threshold",
        |_, of| pending(of, || flag(of, SRAM_ECC_THRESHOLD.id)),
    ),
    reason("no_spare_row", Degraded, PENDING, "a memory bank has no spare row left", |_, of| {
        pending(of, || {
            let banks = sum(of.values(ROW_REMAP_BANKS.id, &[(Label::Availability, "none")]));
            banks.filter(|banks| *banks > 0.0).map(|banks| format!("{banks} banks"))
        })
    }),
    reason("pages_retired", Degraded, PENDING, "more than eight memory pages are retired", |judge, of| {
        pending(of, || {
            let pages = sum(of.values(PAGES_RETIRED.id, &[(Label::Cause, "double_bit")]))?;
            judge.is_past(ROWS, "amber", pages).then(|| format!("{pages} pages"))
        })
    }),
    reason("rows_remapped", Degraded, PENDING, "more than eight memory rows are remapped", |judge, of| {
        let (signal, _) = judge.signals.iter().find(|(signal, _)| signal.id == ROWS)?;
        // A part that reports its banks is judged by them.
        let has_banks = reads(signal, of, "$PAGES_RETIRED");
        judge.past(of, ROWS, "amber").filter(|_| !has_banks)
    }),
    HealthReason {
        after: 900,
        ..reason("link_errors", Degraded, "LinkErrors", "link errors at a steady rate", |judge, of| {
            judge.past(of, "link_errors", "amber")
        })
    },
    HealthReason {
        after: 900,
        ..reason(
            "pcie_degraded",
            Degraded,
            "PcieDegraded",
            "the PCIe link has too few lanes or a low generation",
            |_, of| {
                let one = |id| highest(of.values(id, &[]));
                let less = |now, most| one(now).zip(one(most)).filter(|(now, most)| now < most);
                let width = less(PCIE_WIDTH.id, PCIE_WIDTH_MAX.id)
                    .map(|(now, most)| format!("{now} of {most} lanes"));
                let is_busy = || one(UTILIZATION.id).is_some_and(|busy| busy > 0.5);
                let slow = || less(PCIE_GENERATION.id, PCIE_GENERATION_MAX.id).filter(|_| is_busy());
                width.or_else(|| slow().map(|(now, most)| format!("generation {now} of {most}")))
            },
        )
    },
    reason(
        "amx_missing",
        Degraded,
        "AmxMissing",
        "the processor has AMX, and this system hides it",
        |_, of| flag(of, AMX_MISSING.id),
    ),
    reason("stale", Unknown, LOST, "what was read of the device is old", |_, of| is(of, Presence::Stale)),
    reason("starting", Unknown, LOST, "the device has not been read yet", |_, of| is(of, Presence::Starting)),
    HealthReason {
        name: "detached",
        state: Unknown,
        alert: None,
        meaning: "the exporter has let go of the device until POST /-/attach or its driver's return",
        after: 0,
        holds: |_, of| is(of, Presence::Detached),
    },
];

/// Kinds of errors: the events of a vendor's library, of which all ask for a reset; RAS counters; resets by the driver.
const EVENT: &str = "hlml_event";
const RAS: &str = "ras";
const RESET: &str = "reset";

/// What a driver asks for when firmware must be written anew.
const REPAIR: &str = "repair";

/// The signal of rows and pages that were replaced.
const ROWS: &str = "rows_remapped";

impl HealthReason {
    /// The reason of a presence; `None` for what is read.
    pub fn of(presence: Presence) -> Option<&'static Self> {
        let name = match presence {
            Presence::Up => return None,
            Presence::Starting => "starting",
            Presence::Stale => "stale",
            Presence::Hung => "hung",
            Presence::Lost => "lost",
            Presence::Gone => "gone",
            Presence::Missing => "missing",
            Presence::Detached => "detached",
        };
        Self::named(name)
    }

    /// The reason of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        REASONS.iter().find(|reason| reason.name == name)
    }
}

impl Judge {
    /// The reasons that hold now, each by its place in [`REASONS`] with a detail that may be empty. Whether one has
    /// held for long enough is for those to know who ask more than once.
    pub fn reasons(&self, of: &dyn Watched) -> Vec<(usize, String)> {
        let held = REASONS.iter().enumerate();
        held.filter_map(|(place, reason)| Some((place, (reason.holds)(self, of)?))).collect()
    }

    /// The codes of these errors that are open.
    fn open_codes(&self, of: &dyn Watched, is_meant: impl Fn(&str, &str) -> bool) -> Option<String> {
        let known = of.series(ERROR_LAST.id);
        let open = self.open(&known, of).into_iter().filter_map(|event| {
            Some((event.label(Label::Kind)?.to_owned(), event.label(Label::Code)?.to_owned()))
        });
        let mut codes: Vec<_> =
            open.chain(of.counted()).filter(|(kind, code)| is_meant(kind, code)).collect();
        codes.sort();
        codes.dedup();
        (!codes.is_empty()).then(|| listed(codes.iter().map(|(kind, code)| format!("{kind} {code}"))))
    }

    /// The value of a signal of the device where it is past a bound.
    fn past(&self, of: &dyn Watched, signal: &str, bound: &str) -> Option<String> {
        let mut own = self.signals.iter().filter(|(known, _)| known.families.contains(&of.family()));
        let (known, measure) = own.find(|(known, _)| known.id == signal)?;
        let value = measure(self, known, of)?;
        self.is_past(signal, bound, value).then(|| known.unit.show(value))
    }

    fn is_past(&self, signal: &str, bound: &str, value: f64) -> bool {
        let known = self.signals.iter().find(|(known, _)| known.id == signal);
        let bound = known.and_then(|(known, _)| known.bounds.get(bound));
        bound.is_some_and(|bound| bound.op.holds(value, bound.number()))
    }
}

/// What people must do when an alert fires, in order; empty for one that does not exist. Reads every alert of the
/// catalogue.
///
/// # Panics
/// When the catalogue breaks its own laws, which its tests exclude.
pub fn actions(alert: &str) -> Vec<String> {
    let alerts = catalogue::alerts().expect("the catalogue keeps its laws");
    let found = alerts.into_iter().find(|known| known.name == alert);
    found.map_or_else(Vec::new, |known| known.runbook.actions.iter().map(|text| super::named(text)).collect())
}

fn is(of: &dyn Watched, presence: Presence) -> Option<String> {
    (of.presence() == presence).then(String::new)
}

fn flag(of: &dyn Watched, id: naming::Id) -> Option<String> {
    (highest(of.values(id, &[])) == Some(1.0)).then(String::new)
}

/// What holds unless the device must be replaced for its memory anyway.
fn pending(of: &dyn Watched, holds: impl FnOnce() -> Option<String>) -> Option<String> {
    let is_past_repair =
        [ROW_REMAP_FAILED.id, MEMORY_UNREPAIRABLE.id].into_iter().any(|id| flag(of, id).is_some());
    if is_past_repair { None } else { holds() }
}

/// Whether the repair of this kind of part waits for a reset.
fn repair(of: &dyn Watched, kind: &str) -> Option<String> {
    (highest(of.values(REPAIR_PENDING.id, &[(Label::Kind, kind)])) == Some(1.0)).then(String::new)
}

/// The recovery actions that the driver asks for.
fn asked(of: &dyn Watched, is_meant: impl Fn(&str) -> bool) -> Option<String> {
    active(&of.series(RECOVERY_ACTION.id), Label::Action, |action| action != "none" && is_meant(action))
}

/// The values of a label of the series that are not 0.
fn active(points: &[Point], label: Label, is_meant: impl Fn(&str) -> bool) -> Option<String> {
    let words = points.iter().filter(|point| point.value > 0.0).filter_map(|point| point.label(label));
    let words: Vec<_> = words.filter(|word| is_meant(word)).collect();
    (!words.is_empty()).then(|| listed(words.into_iter().map(str::to_owned)))
}

fn listed(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
