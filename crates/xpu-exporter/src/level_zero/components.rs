//! The components of a device: enumerated until the driver has described each of them.

use level_zero_sys::Failure;
use reading::{Absence, Fault, FaultCode, Measured};

use super::{fault, returned};

/// One component of a device with its handle.
#[derive(Debug)]
pub struct Component<H, S> {
    /// The driver's handle.
    pub handle: H,
    /// Its position in the driver's list.
    pub number: u32,
    /// Its tile; `None` for the whole device.
    pub tile: Option<u32>,
    /// Its kind, in the enumeration that Sysman has for such components.
    pub kind: u32,
    /// What is kept from round to round.
    pub state: S,
}

/// What the driver says of a component: tile, kind, and what is kept of it. `None` where it is not one to read.
pub type Described<S> = Option<(Option<u32>, u32, S)>;

/// The components of one kind.
#[derive(Debug)]
pub struct Components<H, S> {
    /// Those that the driver has described, in its order.
    pub parts: Vec<Component<H, S>>,
    /// The handles that need not be asked about again.
    settled: Vec<H>,
    /// Whether the list was enumerated.
    asked: bool,
    /// Why the list or one of its components is not known.
    missing: Option<Fault>,
}

impl<H, S> Default for Components<H, S> {
    fn default() -> Self {
        Self { parts: Vec::new(), settled: Vec::new(), asked: false, missing: None }
    }
}

impl<H: Copy + PartialEq, S> Components<H, S> {
    /// Asks for what is not known yet: once, and again in each round after a failure that may pass. Handles stay
    /// valid, so what is known is kept.
    pub fn ask(
        &mut self,
        enumerate: impl FnOnce() -> Result<Vec<H>, Failure>,
        describe: impl Fn(H) -> Result<Described<S>, Failure>,
    ) {
        let may_pass = |fault: Fault| fault.absence != Absence::Unsupported;
        if self.asked && !self.missing.is_some_and(may_pass) {
            return;
        }
        (self.asked, self.missing) = (true, None);
        let handles = enumerate().unwrap_or_else(|failure| {
            self.missing = Some(fault(failure));
            Vec::new()
        });
        for (number, handle) in (0..).zip(handles) {
            if self.settled.contains(&handle) {
                continue;
            }
            match returned(describe(handle)) {
                Err(fault) if may_pass(fault) => self.missing = Some(fault),
                Err(fault) => {
                    self.settled.push(handle);
                    self.missing.get_or_insert(fault);
                }
                Ok(described) => {
                    self.settled.push(handle);
                    let part = |(tile, kind, state)| Component { handle, number, tile, kind, state };
                    self.parts.extend(described.map(part));
                }
            }
        }
        self.parts.sort_by_key(|part| part.number);
    }

    /// Why some of them are missing; of those that the driver does not support, only where there are no others.
    pub fn missing(&self) -> Option<Fault> {
        let matters = |fault: &Fault| fault.absence != Absence::Unsupported || self.parts.is_empty();
        self.missing.filter(matters)
    }

    /// All of them, for sums, which a missing one would make too low.
    ///
    /// # Errors
    /// Why one of them is missing; `none` when the driver lists none.
    pub fn all(&mut self, call: &'static str, none: FaultCode) -> Measured<&mut [Component<H, S>]> {
        match self.missing() {
            Some(fault) => Err(fault),
            None if self.parts.is_empty() => Err(Fault::new(call, none)),
            None => Ok(&mut self.parts),
        }
    }
}

#[cfg(test)]
mod tests {
    use level_zero_sys::{Why, code};

    use super::*;

    fn failure<T>(code: u32) -> Result<T, Failure> {
        Err(Failure { call: "zesFanGetProperties", why: Why::Returned(code) })
    }

    #[test]
    fn what_failed_once_is_asked_again_and_what_is_known_is_kept() {
        let mut fans = Components::<u8, u32>::default();
        let code = |missing: Option<Fault>| missing.map(|fault| fault.code.name());
        fans.ask(|| failure(code::NOT_AVAILABLE), |_| Ok(None));
        assert_eq!(code(fans.missing()), Some("ERROR_NOT_AVAILABLE"));
        let described = |handle: u8| Ok(Some((None, 0, u32::from(handle))));
        fans.ask(
            || Ok(vec![7, 8]),
            |handle| if handle == 7 { failure(code::DEVICE_LOST) } else { described(handle) },
        );
        assert_eq!(code(fans.missing()), Some("ERROR_DEVICE_LOST"));
        assert!(fans.all("zesDeviceEnumFans", FaultCode::None).is_err(), "no sum without one of them");
        fans.parts[0].state = 99;
        fans.ask(|| Ok(vec![7, 8]), described);
        let seen: Vec<_> = fans.parts.iter().map(|fan| (fan.number, fan.handle, fan.state)).collect();
        assert_eq!(seen, [(0, 7, 7), (1, 8, 99)], "in the driver's order, each with its state");
        assert_eq!(fans.missing(), None);
        fans.ask(|| panic!("everything is known"), described);
    }

    #[test]
    fn what_the_driver_does_not_support_is_asked_once() {
        let mut fans = Components::<u8, ()>::default();
        fans.ask(|| Ok(vec![1]), |_| failure(code::UNSUPPORTED_FEATURE));
        let why = fans.all("zesDeviceEnumFans", FaultCode::None).map(|_| ());
        assert_eq!(why.map_err(|fault| fault.code.name()), Err("ERROR_UNSUPPORTED_FEATURE"));
        fans.ask(|| panic!("it would say the same"), |_| Ok(None));
        let mut none = Components::<u8, ()>::default();
        none.ask(|| Ok(Vec::new()), |_| Ok(None));
        let why = none.all("zesDeviceEnumFans", FaultCode::None).map(|_| ());
        assert_eq!(why.map_err(|fault| fault.code.name()), Err("none"));
    }
}
