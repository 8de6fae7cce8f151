//! What a driver's list of devices means: which device is at each of its places, under which key and name, also
//! when the driver numbers its devices anew or one of them cannot be asked.
//!
//! A device is recognised by its UUID, or by its PCI address where the driver or the exporter's memory has no
//! UUID of it. It keeps the key and the name that it had for as long as the exporter remembers it; a new device
//! gets a name that no remembered one has. A name of another device would continue that device's series with
//! the values of this one.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use naming::Family;
use reading::{Fault, FaultCode, Found, Identity, Lost, Measured, Prior, Remembered};

use crate::LossCodes;

/// What a driver says of the device at one place of its list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed<H> {
    /// How the driver is asked about it.
    pub handle: H,
    /// Its UUID; `None` where it has none, or one that another device of the list has too.
    pub uuid: Option<String>,
    /// Its PCI address, as sysfs writes it.
    pub address: Option<String>,
    /// The number that it is called by, unless another device is.
    pub number: u32,
}

/// The device at one place of a list.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its lasting key.
    pub key: String,
    /// Its PCI address, as far as that is known.
    pub address: Option<String>,
    /// The number in its lasting name.
    pub number: u32,
    /// Its labels when it was listed before.
    pub before: Option<Arc<Identity>>,
}

/// A device of this session: what was read of it once.
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

/// The devices of a session, and where they were in the driver's last list.
#[derive(Debug)]
pub struct KnownDevices<T> {
    family: Family,
    /// Names are this and a number.
    prefix: &'static str,
    known: HashMap<String, Known<T>>,
    /// Keys by place.
    last: Vec<String>,
    /// Keys of devices that have said a UUID in this session.
    named: HashSet<String>,
    /// UUIDs that two devices had at once. They stay so, or the key of one would change when the other goes.
    shared: HashSet<String>,
}

impl<T: Clone> KnownDevices<T> {
    /// None yet. The family's devices are called `prefix` and a number.
    pub fn new(family: Family, prefix: &'static str) -> Self {
        let (known, last) = (HashMap::new(), Vec::new());
        Self { family, prefix, known, last, named: HashSet::new(), shared: HashSet::new() }
    }

    /// The device under this key; read again unless it `is_still` what is known.
    pub fn get_or_read(
        &mut self,
        key: &str,
        is_still: impl FnOnce(&Known<T>) -> bool,
        read: impl FnOnce() -> Known<T>,
    ) -> Known<T> {
        if let Some(known) = self.known.get(key).filter(|known| is_still(known)) {
            return known.clone();
        }
        let known = read();
        self.known.insert(key.to_owned(), known.clone());
        known
    }

    /// What is known of a device.
    pub fn get(&self, key: &str) -> Option<&Known<T>> {
        self.known.get(key)
    }

    /// The key of the device that was last at a place of the list.
    pub fn last_at(&self, index: usize) -> Option<&str> {
        self.last.get(index).map(String::as_str)
    }

    /// Makes devices of a driver's list, from the result of asking for each of its places. `found` is called
    /// for those that could be asked. One that could not is listed all the same, since it is there: a worker
    /// that it has goes on, and a new one fails for the reason why it could not be asked.
    ///
    /// # Errors
    /// [`Lost::Session`] when the driver went away.
    pub fn list<H>(
        &mut self,
        prior: &Prior,
        losses: &LossCodes,
        mut asked: Vec<Measured<Listed<H>>>,
        mut found: impl FnMut(&mut Self, Listed<H>, &Place) -> Found,
    ) -> Result<Vec<Found>, Lost> {
        let faults = asked.iter().filter_map(|asked| asked.as_ref().err());
        if let Some(fault) = faults.into_iter().find(|fault| losses.loses_session(fault)) {
            return Err(Lost::Session(*fault));
        }
        self.leave_out_nameless(prior, &mut asked);
        self.leave_out_shared(&mut asked);
        let places = self.places(prior, &asked);
        self.last = places.iter().map(|place| place.key.clone()).collect();
        let has_uuid = |asked: &Measured<Listed<H>>| asked.as_ref().is_ok_and(|listed| listed.uuid.is_some());
        let named = asked.iter().zip(&self.last).filter(|(asked, _)| has_uuid(asked));
        self.named.extend(named.map(|(_, key)| key.clone()));
        let all = asked.into_iter().zip(places).map(|(asked, place)| match asked {
            Ok(listed) => found(self, listed, &place),
            Err(fault) => self.unreadable(place, fault),
        });
        Ok(all.collect())
    }

    /// A device does not lose its UUID within a session: where it says none any more, it could not be asked.
    fn leave_out_nameless<H>(&self, prior: &Prior, asked: &mut [Measured<Listed<H>>]) {
        let is_as_before = self.last.len() == asked.len();
        for (index, place) in asked.iter_mut().enumerate() {
            let Ok(Listed { uuid: None, address, .. }) = place else { continue };
            let at = |old: &&Remembered| address.is_some() && old.address == *address;
            let key = prior.remembered.iter().find(at).map(|old| &old.key);
            let key = key.or_else(|| self.last.get(index).filter(|_| is_as_before && address.is_none()));
            if key.is_some_and(|key| self.named.contains(key)) {
                *place = Err(Fault::new("uuid", FaultCode::Garbage));
            }
        }
    }

    /// Leaves out UUIDs that do not distinguish devices.
    fn leave_out_shared<H>(&mut self, asked: &mut [Measured<Listed<H>>]) {
        let mut seen = HashSet::new();
        for uuid in asked.iter().flatten().filter_map(|listed| listed.uuid.as_ref()) {
            if !seen.insert(uuid) {
                self.shared.insert(uuid.clone());
            }
        }
        for listed in asked.iter_mut().flatten() {
            listed.uuid = listed.uuid.take().filter(|uuid| !self.shared.contains(uuid));
        }
    }

    fn unreadable(&self, place: Place, fault: Fault) -> Found {
        let name = format!("{}{}", self.prefix, place.number);
        Found {
            key: place.key,
            address: place.address,
            identity: place.before.unwrap_or_else(|| Arc::new(Identity::new(self.family, name))),
            open: Box::new(move || Err(fault)),
        }
    }

    /// Which device each place of a list is.
    fn places<H>(&self, prior: &Prior, asked: &[Measured<Listed<H>>]) -> Vec<Place> {
        let is_same = |a: Option<&String>, b: Option<&String>| a.is_some() && a == b;
        let uuid = |index: usize| asked[index].as_ref().ok().and_then(|listed| listed.uuid.as_ref());
        let mut addresses: Vec<_> =
            asked.iter().map(|asked| asked.as_ref().ok().and_then(|listed| listed.address.clone())).collect();
        let mut before = vec![None; asked.len()];
        // From the surest sign to the weakest, each for all places, so that no place takes another's device.
        claim(&mut before, prior, |index, old| is_same(uuid(index), old.identity.uuid.as_ref()));
        claim(&mut before, prior, |index, old| {
            let has_one_uuid = uuid(index).is_some() && old.identity.uuid.is_some();
            !has_one_uuid && is_same(addresses[index].as_ref(), old.address.as_ref())
        });
        let is_as_before = self.last.len() == asked.len();
        claim(&mut before, prior, |index, old| match asked[index] {
            Ok(_) => old.key == unnamed(index),
            Err(_) => is_as_before && self.last[index] == old.key,
        });
        for (address, old) in addresses.iter_mut().zip(&before) {
            *address = address.take().or_else(|| old.and_then(|old: &Remembered| old.address.clone()));
        }
        // The rest do not say who they are: they are what the bus shows beside the others. Drivers list devices
        // in the order of the bus.
        let rest: Vec<_> =
            (0..asked.len()).filter(|index| asked[*index].is_err() && addresses[*index].is_none()).collect();
        let left = beside(prior, &addresses);
        if left.len() == rest.len() {
            rest.into_iter().zip(left).for_each(|(index, address)| addresses[index] = Some(address));
        }
        claim(&mut before, prior, |index, old| {
            asked[index].is_err() && is_same(addresses[index].as_ref(), old.address.as_ref())
        });

        let number = |old: &Remembered| old.identity.device.strip_prefix(self.prefix)?.parse().ok();
        let mut taken: HashSet<u32> = prior.remembered.iter().filter_map(number).collect();
        let mut free = |wanted: u32| {
            let mut others = std::iter::once(wanted).chain(0..);
            others.find(|number| taken.insert(*number)).unwrap_or(wanted)
        };
        let place = |(index, address): (usize, Option<String>)| {
            let old: Option<&Remembered> = before[index];
            let wanted = asked[index].as_ref().map_or_else(|_| as_number(index), |listed| listed.number);
            let key = old.map(|old| &old.key).or(uuid(index)).or(address.as_ref());
            Place {
                key: key.cloned().unwrap_or_else(|| unnamed(index)),
                number: old.and_then(number).unwrap_or_else(|| free(wanted)),
                before: old.map(|old| Arc::clone(&old.identity)),
                address,
            }
        };
        addresses.into_iter().enumerate().map(place).collect()
    }
}

/// Gives each place that has none a remembered device that it `is`, unless another place has that.
fn claim<'a>(
    before: &mut [Option<&'a Remembered>],
    prior: &'a Prior,
    is: impl Fn(usize, &Remembered) -> bool,
) {
    for index in (0..before.len()).filter(|index| before[*index].is_none()).collect::<Vec<_>>() {
        let is_free = |old: &&Remembered| before.iter().flatten().all(|other| other.key != old.key);
        before[index] = prior.remembered.iter().filter(is_free).find(|old| is(index, old));
    }
}

/// Addresses of the family's devices that are none of these: those on the bus, or where no bus is visible,
/// those that are remembered.
fn beside(prior: &Prior, known: &[Option<String>]) -> BTreeSet<String> {
    let remembered = || prior.remembered.iter().filter_map(|old| old.address.clone()).collect();
    let mut all = prior.bus.clone().unwrap_or_else(remembered);
    all.retain(|address| !known.iter().flatten().any(|known| known == address));
    all
}

/// The key of a device of which only its place in the list is known.
fn unnamed(index: usize) -> String {
    format!("index {index}")
}

fn as_number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
