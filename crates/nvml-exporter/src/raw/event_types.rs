//! The types of events that NVML announces, and what the exporter makes of each.
//!
//! What a counter or a state of the rounds has already is not asked for: it would be counted twice.

use nvml_wrapper_sys::bindings as sys;

/// What is made of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// It is counted under its XID.
    Xid,
    /// It is counted under this code.
    Counted(&'static str),
    /// It is a line of the log with this text.
    Logged(&'static str),
    /// It is not registered for.
    Left,
}

use Purpose::{Counted, Left, Logged, Xid};

/// Every type of nvml.h (`nvmlEventTypeAll`). Those of memory and poison exist since driver 560, those of an unavailable
/// GPU and of recovery since 565.
const TYPES: [(u32, Purpose); 14] = [
    (sys::nvmlEventTypeXidCriticalError, Xid),
    // No reading shows the next four. An XID may come with one of them. It is of another kind.
    (sys::nvmlEventTypeSingleBitEccErrorStorm, Counted("single_bit_ecc_storm")),
    (sys::nvmlEventTypeNonFatalPoisonError, Counted("non_fatal_poison")),
    (sys::nvmlEventTypeFatalPoisonError, Counted("fatal_poison")),
    (sys::nvmlEventTypeGpuUnavailableError, Counted("gpu_unavailable")),
    // Changes that explain others. None is an error.
    (sys::nvmlEventTypePowerSourceChange, Logged("the power source has changed between mains and battery")),
    (sys::nvmlEventMigConfigChange, Logged("the MIG configuration has changed")),
    // accel_ecc_errors_total counts these, and a failing memory would announce thousands a second.
    (sys::nvmlEventTypeSingleBitEccError, Left),
    (sys::nvmlEventTypeDoubleBitEccError, Left),
    // XIDs 63 and 64 announce these, and accel_memory_rows_remapped_total and accel_memory_row_remap_failed show them.
    (sys::nvmlEventTypeDramRetirementEvent, Left),
    (sys::nvmlEventTypeDramRetirementFailure, Left),
    // XID 154 announces it, and accel_recovery_action shows it from the same driver on.
    (sys::nvmlEventTypeGpuRecoveryAction, Left),
    // accel_performance_state and accel_clock_hertz show these each round, and they change with the load. The second is of
    // Kepler only.
    (sys::nvmlEventTypePState, Left),
    (sys::nvmlEventTypeClock, Left),
];

/// The type that is registered for whatever else a driver supports.
pub const XID: u64 = sys::nvmlEventTypeXidCriticalError as u64;

/// The types that are registered for, of those that a device supports.
pub fn wanted(supported: u64) -> u64 {
    let wanted = TYPES.iter().filter(|(_, purpose)| *purpose != Left);
    XID | supported & wanted.fold(0, |all, (kind, _)| all | u64::from(*kind))
}

/// What is made of an event with these types.
pub fn purposes(types: u64) -> impl Iterator<Item = Purpose> {
    TYPES.iter().filter(move |(kind, _)| types & u64::from(*kind) != 0).map(|(_, purpose)| *purpose)
}

/// The codes that events with these types are counted under.
pub fn codes(types: u64) -> impl Iterator<Item = &'static str> {
    purposes(types).filter_map(|purpose| if let Counted(code) = purpose { Some(code) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_header_is_decided_once() {
        let all = TYPES.iter().fold(0, |all, (kind, _)| {
            assert!(kind.is_power_of_two() && all & kind == 0, "{kind:#x}");
            all | kind
        });
        assert_eq!(all, sys::nvmlEventTypeAll);
    }

    #[test]
    fn only_what_is_supported_and_of_use_is_registered_for() {
        assert_eq!(wanted(0), XID, "XIDs are, whatever the driver says");
        let ecc = u64::from(sys::nvmlEventTypeSingleBitEccError | sys::nvmlEventTypeDoubleBitEccError);
        assert_eq!(wanted(ecc | XID), XID);
        let storm = u64::from(sys::nvmlEventTypeSingleBitEccErrorStorm);
        assert_eq!(wanted(ecc | storm | XID), storm | XID);
        assert_eq!(wanted(u64::MAX) & !u64::from(sys::nvmlEventTypeAll), 0, "a type of the future");
    }

    #[test]
    fn an_event_of_several_types_is_each_of_them() {
        let both = u64::from(sys::nvmlEventTypeFatalPoisonError) | XID;
        assert_eq!(purposes(both).collect::<Vec<_>>(), [Xid, Counted("fatal_poison")]);
        assert_eq!(codes(both).collect::<Vec<_>>(), ["fatal_poison"]);
        assert_eq!(purposes(1 << 40).count(), 0);
    }
}
