//! Devices that the exporter has let go of, so that they can be reset, given to a guest or get another driver.
//!
//! Whoever asks for it is the user, by `/-/detach`, or the driver, by announcing that it gives a device up. The first
//! lasts until `/-/attach`; the second ends when the driver has the device again. Both end with the process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::{Duration, Instant},
};

use source::lock;

/// How long a device that its driver wanted to give up is left alone while the bus does not show that it did.
const UNBINDING: Duration = Duration::from_secs(30);

/// Why a device is detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The user asked for it.
    Request,
    /// Its driver gives it up.
    Unbind,
}

/// A device that is detached.
#[derive(Debug)]
struct Detached {
    address: Option<String>,
    cause: Cause,
    since: Instant,
    /// Whether its driver has not been closed since.
    is_new: bool,
    /// Whether something may still have it open.
    is_open: bool,
    /// Whether the bus showed it without the family's driver meanwhile.
    was_unbound: bool,
}

/// The detached devices of one source, by their keys.
#[derive(Debug, Default)]
pub struct Detachments(Mutex<BTreeMap<String, Detached>>);

impl Detachments {
    /// Detaches a device. Returns whether its driver must be closed for that; a request takes over what the driver
    /// began.
    pub fn add(&self, key: &str, address: Option<String>, cause: Cause, now: Instant) -> bool {
        let mut all = lock(&self.0);
        if let Some(known) = all.get_mut(key) {
            if cause == Cause::Request {
                known.cause = cause;
            }
            known.is_new |= known.is_open;
            return known.is_new;
        }
        all.insert(
            key.to_owned(),
            Detached { address, cause, since: now, is_new: true, is_open: true, was_unbound: false },
        );
        true
    }

    /// Attaches a device again. Returns whether it was detached.
    pub fn remove(&self, key: &str) -> bool {
        lock(&self.0).remove(key).is_some()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.0).len()
    }

    /// Whether a device is one of them.
    pub fn has(&self, key: &str) -> bool {
        lock(&self.0).contains_key(key)
    }

    /// Where they are on the bus.
    pub fn addresses(&self) -> BTreeSet<String> {
        lock(&self.0).values().filter_map(|detached| detached.address.clone()).collect()
    }

    /// Whether something may still have a device open; `None` for one that is attached.
    pub fn is_open(&self, key: &str) -> Option<bool> {
        lock(&self.0).get(key).map(|detached| detached.is_open)
    }

    /// Whether the driver must be closed because one of them was open until now.
    pub fn must_close(&self) -> bool {
        lock(&self.0).values().any(|detached| detached.is_new)
    }

    /// Notes that the driver was closed, as far as that was possible; `is_held` says which devices are still open.
    pub fn closed(&self, is_held: impl Fn(&str) -> bool) {
        for (key, detached) in lock(&self.0).iter_mut() {
            detached.is_new = false;
            detached.is_open &= is_held(key);
        }
    }

    /// The keys of those that their driver gave up and has again, or has not given up after all. `bound` are the
    /// addresses that the bus shows with the family's driver.
    pub fn rebound(&self, bound: &BTreeSet<String>, now: Instant) -> Vec<String> {
        let mut all = lock(&self.0);
        let is_back = |detached: &mut Detached| {
            let is_bound = detached.address.as_ref().is_some_and(|address| bound.contains(address));
            detached.was_unbound |= !is_bound;
            let is_late = now.saturating_duration_since(detached.since) > UNBINDING;
            is_bound && (detached.was_unbound || is_late)
        };
        let unbound = all.iter_mut().filter(|(_, detached)| detached.cause == Cause::Unbind);
        unbound.filter_map(|(key, detached)| is_back(detached).then(|| key.clone())).collect()
    }

    /// The device that was given up at an address that ends in this.
    pub fn given_up_at(&self, address: &str) -> Option<String> {
        let all = lock(&self.0);
        let is_at = |detached: &Detached| detached.address.as_ref().is_some_and(|own| own.ends_with(address));
        let found = all.iter().find(|(_, detached)| detached.cause == Cause::Unbind && is_at(detached));
        found.map(|(key, _)| key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "0000:1a:00.0";

    #[test]
    fn what_the_driver_gave_up_is_back_once_the_bus_shows_it_and_what_the_user_detached_is_not() {
        let all = Detachments::default();
        let start = Instant::now();
        let bound = |addresses: &[&str]| -> BTreeSet<String> {
            addresses.iter().map(|address| (*address).to_owned()).collect()
        };
        assert!(all.add("a", Some(ADDRESS.to_owned()), Cause::Unbind, start));
        assert!(all.add("b", Some("0000:1b:00.0".to_owned()), Cause::Request, start));
        let back = |bus: &[&str], seconds| all.rebound(&bound(bus), start + Duration::from_secs(seconds));
        assert!(back(&[ADDRESS], 1).is_empty(), "it is not given up yet");
        assert!(back(&[], 2).is_empty());
        assert_eq!(back(&[ADDRESS, "0000:1b:00.0"], 3), ["a"]);
        all.closed(|_| false);
        assert!(!all.add("a", None, Cause::Request, start), "a request takes it over");
        assert!(back(&[ADDRESS, "0000:1b:00.0"], 4).is_empty());
    }

    #[test]
    fn an_unbinding_that_does_not_happen_ends() {
        let all = Detachments::default();
        let start = Instant::now();
        all.add("a", Some(ADDRESS.to_owned()), Cause::Unbind, start);
        let bus = BTreeSet::from([ADDRESS.to_owned()]);
        assert_eq!(all.rebound(&bus, start + UNBINDING + Duration::from_secs(1)), ["a"]);
        assert_eq!(all.given_up_at("0000:1a:00.0").as_deref(), Some("a"));
    }

    #[test]
    fn a_device_that_a_thread_holds_stays_open() {
        let all = Detachments::default();
        all.add("a", None, Cause::Request, Instant::now());
        all.add("b", None, Cause::Request, Instant::now());
        assert!(all.must_close());
        all.closed(|key| key == "a");
        assert_eq!((all.is_open("a"), all.is_open("b"), all.is_open("c")), (Some(true), Some(false), None));
        assert!(!all.must_close() && !all.add("b", None, Cause::Request, Instant::now()));
        assert!(all.add("a", None, Cause::Request, Instant::now()) && all.must_close(), "it is tried again");
        assert!(all.remove("a") && !all.must_close() && !all.remove("a"));
    }
}
