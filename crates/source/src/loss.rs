//! What is lost when a call fails: a value, the device or the whole session.

use reading::{Absence, Fault, Lost};

/// The codes of one library that say more than that a value is missing.
#[derive(Clone, Copy, Debug)]
pub struct LossCodes {
    /// The device as such is gone, not just one of its values.
    pub device: &'static [&'static str],
    /// The driver went away under every device.
    pub session: &'static [&'static str],
}

impl LossCodes {
    /// Whether the fault says that the device is gone.
    pub fn loses_device(&self, fault: &Fault) -> bool {
        self.device.contains(&fault.code.name())
    }

    /// Whether the fault says that the driver went away under every device.
    pub fn loses_session(&self, fault: &Fault) -> bool {
        self.session.contains(&fault.code.name())
    }

    /// What is lost when a call fails that must succeed: the check of a device's identity, or the
    /// enumeration, whose failure affects no running device unless the driver is gone.
    pub fn of_list(&self, fault: Fault) -> Lost {
        if self.loses_session(&fault) { Lost::Session(fault) } else { Lost::Device(fault) }
    }

    /// What one round of a device loses to a fault, if it loses more than a value.
    pub fn of_round(&self, fault: Fault) -> Option<Lost> {
        if self.loses_session(&fault) {
            Some(Lost::Session(fault))
        } else {
            self.loses_device(&fault).then_some(Lost::Device(fault))
        }
    }

    /// What a round loses by its mandatory readings: those of which every working device has at least one.
    /// `None` stands for one that was read. When none was, the device is lost whatever the codes say, since
    /// silence is not health.
    pub fn of_mandatory(&self, readings: &[Option<Fault>]) -> Option<Lost> {
        let faults = || readings.iter().flatten();
        if let Some(lost) = faults().find_map(|fault| self.of_round(*fault)) {
            return Some(lost);
        }
        if readings.iter().any(Option::is_none) {
            return None;
        }
        let reason = faults().find(|fault| fault.absence != Absence::Unsupported).or(faults().next())?;
        Some(Lost::Device(*reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSSES: LossCodes = LossCodes { device: &["LOST"], session: &["UNINITIALIZED"] };

    fn fault(code: &'static str) -> Fault {
        Fault::returned(Absence::Failed, "call", code)
    }

    #[test]
    fn codes_say_what_is_lost() {
        assert_eq!(LOSSES.of_round(fault("LOST")), Some(Lost::Device(fault("LOST"))));
        assert_eq!(LOSSES.of_round(fault("UNINITIALIZED")), Some(Lost::Session(fault("UNINITIALIZED"))));
        assert_eq!(LOSSES.of_round(fault("UNKNOWN")), None);
        assert_eq!(LOSSES.of_list(fault("UNKNOWN")), Lost::Device(fault("UNKNOWN")));
    }

    #[test]
    fn a_device_of_which_nothing_mandatory_is_read_is_lost_whatever_the_codes() {
        let unsupported = Fault::returned(Absence::Unsupported, "call", "NOT_SUPPORTED");
        let lost = |readings: &[Option<Fault>]| LOSSES.of_mandatory(readings);
        assert_eq!(lost(&[None, Some(fault("UNKNOWN")), Some(unsupported)]), None);
        let reason = Some(Lost::Device(fault("UNKNOWN")));
        assert_eq!(lost(&[Some(unsupported), Some(fault("UNKNOWN"))]), reason);
        assert_eq!(lost(&[Some(unsupported)]), Some(Lost::Device(unsupported)));
        assert_eq!(lost(&[None, Some(fault("LOST"))]), Some(Lost::Device(fault("LOST"))));
        let gone = Some(Lost::Session(fault("UNINITIALIZED")));
        assert_eq!(lost(&[Some(fault("UNKNOWN")), Some(fault("UNINITIALIZED"))]), gone);
    }
}
