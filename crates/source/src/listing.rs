//! What a driver's list of devices means: which faults lose a device or the whole session, and what is kept
//! of a device that cannot be asked now.

use std::{collections::HashMap, sync::Arc};

use reading::{Absence, Fault, Found, Identity, Lost, Measured};

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

/// A device that was listed before: enough to go on listing it while it cannot be asked.
#[derive(Clone, Debug)]
pub struct Known<T> {
    /// What the driver said identifies the device, such as its UUID.
    pub mark: String,
    /// The device's key; see [`Found::key`].
    pub key: String,
    /// The device's labels.
    pub identity: Arc<Identity>,
    /// What else the source keeps, so that it asks once per device.
    pub facts: T,
}

/// What was last found at each place of a driver's list.
#[derive(Debug)]
pub struct KnownDevices<T>(HashMap<u32, Known<T>>);

impl<T> Default for KnownDevices<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Clone> KnownDevices<T> {
    /// What was last found at `index`.
    pub fn last_found(&self, index: u32) -> Option<&Known<T>> {
        self.0.get(&index)
    }

    /// The device at `index`: the one that is known if it `is_still` there, else what `read` returns.
    pub fn get_or_read(
        &mut self,
        index: u32,
        is_still: impl FnOnce(&Known<T>) -> bool,
        read: impl FnOnce() -> Known<T>,
    ) -> Known<T> {
        if let Some(known) = self.0.get(&index).filter(|known| is_still(known)) {
            return known.clone();
        }
        let known = read();
        self.0.insert(index, known.clone());
        known
    }

    /// What the list has at `index`, from the result of asking for it. A device that is gone is not listed.
    /// Any other failed call says nothing about the device: one that is known stays listed, and the worker
    /// that it has goes on.
    ///
    /// # Errors
    /// [`Lost::Session`] when the driver went away.
    pub fn listed<A>(
        &mut self,
        index: u32,
        asked: Measured<A>,
        losses: &LossCodes,
        found: impl FnOnce(&mut Self, A) -> Found,
    ) -> Result<Option<Found>, Lost> {
        match asked {
            Ok(device) => Ok(Some(found(self, device))),
            Err(fault) if losses.loses_session(&fault) => Err(Lost::Session(fault)),
            Err(fault) if losses.loses_device(&fault) => Ok(None),
            Err(fault) => Ok(self.0.get(&index).map(|known| Found {
                key: known.key.clone(),
                identity: Arc::clone(&known.identity),
                open: Box::new(move || Err(fault)),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use naming::Family;

    use super::*;

    const LOSSES: LossCodes = LossCodes { device: &["LOST"], session: &["UNINITIALIZED"] };

    fn fault(code: &'static str) -> Fault {
        Fault::returned(Absence::Failed, "call", code)
    }

    fn known(mark: &str) -> Known<u32> {
        let identity = Arc::new(Identity::new(Family::Nvidia, "gpu0"));
        Known { mark: mark.into(), key: mark.into(), identity, facts: 7 }
    }

    fn found(known: Known<u32>) -> Found {
        Found { key: known.key, identity: known.identity, open: Box::new(|| Err(fault("not opened here"))) }
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

    #[test]
    fn a_known_device_is_asked_once_and_read_again_when_another_took_its_place() {
        let mut devices = KnownDevices::default();
        devices.get_or_read(0, |_| unreachable!("nothing is known"), || known("a"));
        assert_eq!(devices.get_or_read(0, |known| known.mark == "a", || panic!("asked twice")).mark, "a");
        assert_eq!(devices.get_or_read(0, |known| known.mark == "b", || known("b")).mark, "b");
    }

    #[test]
    fn a_device_that_cannot_be_asked_stays_listed_and_one_that_is_gone_does_not() {
        let mut devices = KnownDevices::default();
        let key = |listed: Result<Option<Found>, Lost>| listed.map(|found| found.map(|found| found.key));
        let mut list = |asked: Measured<&str>| {
            key(devices.listed(0, asked, &LOSSES, |devices, mark| {
                found(devices.get_or_read(0, |known| known.mark == mark, || known(mark)))
            }))
        };
        assert_eq!(list(Err(fault("UNKNOWN"))), Ok(None), "nothing is known of it");
        assert_eq!(list(Ok("a")), Ok(Some("a".into())));
        assert_eq!(list(Err(fault("UNKNOWN"))), Ok(Some("a".into())));
        assert_eq!(list(Err(fault("LOST"))), Ok(None));
        assert_eq!(list(Err(fault("UNINITIALIZED"))), Err(Lost::Session(fault("UNINITIALIZED"))));
    }
}
