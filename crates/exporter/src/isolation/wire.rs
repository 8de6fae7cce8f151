//! How requests, and what a source reads, are written between the exporter and a helper process.
//!
//! Both are the same program, so nothing is versioned. But the memory of a helper is that of a vendor's
//! library too, so everything that is taken is checked: places in the catalogue, words, lengths, labels.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, LazyLock, Mutex},
};

use naming::{Absence, Family, FaultCode, Id, Label, Value};
use reading::{
    Absent, Alias, Announced, Backend, Batch, Client, Code, Fault, Group, Identity, LabelValue, Labels, Lost,
    Notice, Prior, Reading, Remembered, Unavailable, Wanted,
};
use source::lock;

/// What is written as bytes and read back.
pub trait Wire: Sized {
    /// Appends the value.
    fn append(&self, out: &mut Vec<u8>);

    /// Takes a value off the front; `None` when the bytes are not those of one.
    fn take(input: &mut &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Wire for $type {
            fn append(&self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }

            fn take(input: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = input.split_first_chunk()?;
                *input = rest;
                Some(Self::from_le_bytes(*bytes))
            }
        }
    )*};
}

numbers! { u8 u16 u32 u64 f64 }

/// Structs: their members, one after another.
macro_rules! records {
    ($($type:ident { $($member:ident),* })*) => {$(
        impl Wire for $type {
            fn append(&self, out: &mut Vec<u8>) {
                $(self.$member.append(out);)*
            }

            fn take(input: &mut &[u8]) -> Option<Self> {
                Some(Self { $($member: Wire::take(input)?),* })
            }
        }
    )*};
}

/// Enumerations: a number for the variant, then what it holds.
macro_rules! variants {
    ($($type:ident { $($number:literal = $variant:ident $(($held:ident))?),* })*) => {$(
        impl $crate::isolation::wire::Wire for $type {
            fn append(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $(($held))? => {
                        $crate::isolation::wire::Wire::append(&$number, out);
                        $($crate::isolation::wire::Wire::append($held, out);)?
                    })*
                }
            }

            fn take(input: &mut &[u8]) -> Option<Self> {
                match <u8 as $crate::isolation::wire::Wire>::take(input)? {
                    $($number => {
                        $(let $held = $crate::isolation::wire::Wire::take(input)?;)?
                        Some(Self::$variant $(($held))?)
                    })*
                    _ => None,
                }
            }
        }
    )*};
}
pub(super) use variants;

/// Lists of the catalogue: the place in the list.
macro_rules! places {
    ($($type:ident)*) => {$(
        impl Wire for $type {
            fn append(&self, out: &mut Vec<u8>) {
                (*self as u8).append(out);
            }

            fn take(input: &mut &[u8]) -> Option<Self> {
                Self::ALL.get(usize::from(u8::take(input)?)).copied()
            }
        }
    )*};
}

places! { Absence Family FaultCode Label }

records! {
    Absent { id, labels, fault }
    Backend { library, version, simulated }
    Client { identity, pid, memory_bytes, busy_seconds }
    Fault { absence, call, code }
    Identity { family, device, uuid, partition, vendor, aliases }
    Prior { remembered, bus, detached }
    Announced { partition, code, count, last }
    Remembered { key, address, identity, announced }
}

variants! {
    Alias { 0u8 = Id(id), 1u8 = Node(path), 2u8 = Opened(number) }
    Code { 0u8 = Known(code), 1u8 = Returned(name) }
    LabelValue { 0u8 = Word(word), 1u8 = Number(number) }
    Lost { 0u8 = Device(fault), 1u8 = Session(fault) }
    Notice { 0u8 = Unbinding(address), 1u8 = Bound(address) }
}

impl Wire for Unavailable {
    fn append(&self, out: &mut Vec<u8>) {
        self.0.append(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Wire::take(input).map(Self)
    }
}

impl Wire for Id {
    fn append(&self, out: &mut Vec<u8>) {
        self.index().append(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Self::of_index(u16::take(input)?)
    }
}

impl Wire for Wanted {
    fn append(&self, out: &mut Vec<u8>) {
        Id::all().filter(|id| self.has(*id)).collect::<Vec<_>>().append(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Vec::take(input).map(|ids| Self::default().only(&ids))
    }
}

impl Wire for Value {
    fn append(&self, out: &mut Vec<u8>) {
        match self {
            Self::Float(float) => (0u8, *float).append(out),
            Self::Int(count) => (1u8, *count).append(out),
            Self::Histogram(_) => unreachable!("the exporter's own metrics are not sent"),
        }
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        match u8::take(input)? {
            0 => f64::take(input).map(Self::Float),
            1 => u64::take(input).map(Self::Int),
            _ => None,
        }
    }
}

impl Wire for Labels {
    fn append(&self, out: &mut Vec<u8>) {
        match self {
            Self::Inline { len, .. } => {
                len.append(out);
                self.inline().for_each(|item| item.append(out));
            }
            Self::Shared(all) => {
                u8::MAX.append(out);
                all.append(out);
            }
        }
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        match u8::take(input)? {
            len @ 0..=3 => (0..len).try_fold(Self::NONE, |labels, _| {
                let (label, value): (Label, LabelValue) = Wire::take(input)?;
                Some(labels.with(label, value))
            }),
            u8::MAX => Wire::take(input).map(Self::Shared),
            _ => None,
        }
    }
}

impl Wire for Reading {
    fn append(&self, out: &mut Vec<u8>) {
        self.id.append(out);
        self.labels.append(out);
        self.value.append(out);
        self.begins_with_sampler.append(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        let reading = Self {
            id: Wire::take(input)?,
            labels: Wire::take(input)?,
            value: Wire::take(input)?,
            begins_with_sampler: Wire::take(input)?,
        };
        reading.is_of_a_device().then_some(reading)
    }
}

impl Wire for Group {
    fn append(&self, out: &mut Vec<u8>) {
        self.identity.append(out);
        self.readings.append(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        // Only the exporter's own readings belong to no device.
        let identity: Option<Arc<Identity>> = Wire::take(input)?;
        Some(Self { identity: Some(identity?), readings: Wire::take(input)? })
    }
}

impl Wire for Batch {
    fn append(&self, out: &mut Vec<u8>) {
        self.groups.append(out);
        self.absences.append(out);
        self.clients.append(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        let (groups, absences, clients) = (Wire::take(input)?, Wire::take(input)?, Wire::take(input)?);
        Some(Self { groups, absences, clients, capacity: 0 })
    }
}

impl Wire for bool {
    fn append(&self, out: &mut Vec<u8>) {
        u8::from(*self).append(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        match u8::take(input)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Wire for String {
    fn append(&self, out: &mut Vec<u8>) {
        put_text(self, out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        take_text(input).map(ToOwned::to_owned)
    }
}

impl Wire for &'static str {
    fn append(&self, out: &mut Vec<u8>) {
        put_text(self, out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        word(take_text(input)?)
    }
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    length(text.len()).append(out);
    out.extend(text.as_bytes());
}

fn take_text<'a>(input: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(u32::take(input)?).ok()?;
    let (text, rest) = input.split_at_checked(length)?;
    *input = rest;
    std::str::from_utf8(text).ok()
}

/// A length as it is written. A message has far fewer bytes than this number can count.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The longest word, and how many of them there can be: names of functions, files, codes and labels.
const WORD_BYTES_MAX: usize = 128;
const WORDS_MAX: usize = 4096;

/// A word of the program, from the text that another process sent. Words are kept for ever, so how many
/// there can be is limited, whatever is sent.
fn word(text: &str) -> Option<&'static str> {
    static WORDS: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut words = lock(&WORDS);
    if let Some(known) = words.get(text) {
        return Some(known);
    }
    if text.len() > WORD_BYTES_MAX || words.len() >= WORDS_MAX || text.contains(|c: char| c.is_control()) {
        return None;
    }
    let new: &'static str = Box::leak(text.into());
    words.insert(new);
    Some(new)
}

impl<T: Wire> Wire for Option<T> {
    fn append(&self, out: &mut Vec<u8>) {
        match self {
            None => 0u8.append(out),
            Some(value) => {
                1u8.append(out);
                value.append(out);
            }
        }
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        match u8::take(input)? {
            0 => Some(None),
            1 => T::take(input).map(Some),
            _ => None,
        }
    }
}

impl<T: Wire, E: Wire> Wire for Result<T, E> {
    fn append(&self, out: &mut Vec<u8>) {
        match self {
            Ok(value) => {
                0u8.append(out);
                value.append(out);
            }
            Err(error) => {
                1u8.append(out);
                error.append(out);
            }
        }
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        match u8::take(input)? {
            0 => T::take(input).map(Ok),
            1 => E::take(input).map(Err),
            _ => None,
        }
    }
}

impl Wire for () {
    fn append(&self, _: &mut Vec<u8>) {}

    fn take(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn append(&self, out: &mut Vec<u8>) {
        self.0.append(out);
        self.1.append(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Some((A::take(input)?, B::take(input)?))
    }
}

impl<T: Wire> Wire for Arc<T> {
    fn append(&self, out: &mut Vec<u8>) {
        (**self).append(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        T::take(input).map(Self::new)
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn append(&self, out: &mut Vec<u8>) {
        put_all(self, out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        let count = usize::try_from(u32::take(input)?).ok()?;
        // Each element takes at least a byte, so a length that is not true makes no room for itself.
        if count > input.len() {
            return None;
        }
        let mut all = Self::with_capacity(count);
        for _ in 0..count {
            all.push(T::take(input)?);
        }
        Some(all)
    }
}

impl<T: Wire + Ord> Wire for BTreeSet<T> {
    fn append(&self, out: &mut Vec<u8>) {
        length(self.len()).append(out);
        for element in self {
            element.append(out);
        }
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Vec::take(input).map(Self::from_iter)
    }
}

impl<T: Wire> Wire for Arc<[T]> {
    fn append(&self, out: &mut Vec<u8>) {
        put_all(self, out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Vec::take(input).map(Self::from)
    }
}

fn put_all<T: Wire>(all: &[T], out: &mut Vec<u8>) {
    length(all.len()).append(out);
    for element in all {
        element.append(out);
    }
}

#[cfg(test)]
mod tests {
    use naming::{Celsius, Count, Flag, catalogue as m};

    use super::*;

    /// A round with each kind of label, value and absence.
    fn batch() -> Batch {
        let mut batch = Batch::default();
        let vendor = vec![("pci_bus_id", "0000:03:00.0".to_owned())];
        let aliases =
            vec![Alias::Id("card1".to_owned()), Alias::Node("/dev/dri/card1".to_owned()), Alias::Opened(7)];
        let card = Arc::new(Identity { vendor, aliases, ..Identity::new(Family::Xpu, "card1") });
        let tile = Arc::new(Identity { partition: Some("tile0".to_owned()), ..(*card).clone() });
        batch.begin(&card);
        let info = Labels::Shared([(Label::Model, "Arc Pro B60".to_owned())].into());
        batch.put(m::DEVICE_INFO, info, Ok(Flag(true)));
        batch.put(m::PCIE_REPLAYS, Labels::NONE, Ok(Count(u64::MAX)));
        let link = Labels::one(Label::Link, 7).with(Label::Kind, "xelink");
        batch.put(m::LINK_UP, link, Err(Fault::new("zesFabricPortGetState", FaultCode::Unknown)));
        let gone = Fault::returned(Absence::Failed, "zesTemperatureGetState", "ERROR_DEVICE_LOST");
        batch.put(m::TEMPERATURE, Labels::one(Label::Sensor, "gpu"), Err(gone));
        batch.begin(&tile);
        batch.put(m::TEMPERATURE, Labels::one(Label::Sensor, "memory"), Ok(Celsius(71.25)));
        batch.put_client(4711, Some(1 << 30), vec![("sm", 0.5)]);
        batch
    }

    fn written(value: &impl Wire) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.append(&mut bytes);
        bytes
    }

    fn read<T: Wire>(mut bytes: &[u8]) -> Option<T> {
        T::take(&mut bytes).filter(|_| bytes.is_empty())
    }

    #[test]
    fn a_round_arrives_as_it_was_read() {
        let sent = batch();
        let arrived: Batch = read(&written(&sent)).expect("readable");
        assert_eq!(arrived.clients, sent.clients);
        assert_eq!(arrived.absences, sent.absences);
        assert_eq!(arrived.finish(), sent.finish());
    }

    #[test]
    fn lost_devices_and_unavailable_libraries_arrive() {
        let fault = Fault::new("zesDeviceGetState", FaultCode::Deadline);
        for lost in [Lost::Device(fault), Lost::Session(fault)] {
            let sent: Result<(), Lost> = Err(lost);
            assert_eq!(read(&written(&sent)), Some(sent));
        }
        let sent: Result<Backend, Unavailable> = Err(Unavailable("libze_loader.so.1: gone".to_owned()));
        assert_eq!(read(&written(&sent)), Some(sent));
    }

    #[test]
    fn no_change_of_a_byte_and_no_end_makes_more_of_it_than_a_round() {
        let good = written(&batch());
        for end in 0..good.len() {
            assert!(read::<Batch>(&good[..end]).is_none(), "cut at {end}");
        }
        for place in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[place] = value;
                // Whatever is read keeps the laws of the catalogue.
                for group in read::<Batch>(&bad).map(|batch| batch.groups).unwrap_or_default() {
                    assert!(group.identity.is_some());
                    assert!(group.readings.iter().all(Reading::is_of_a_device), "{place} {value}");
                }
            }
        }
    }

    #[test]
    fn what_a_device_cannot_report_is_refused() {
        let reading = |id, labels, value| written(&Reading { id, labels, value, begins_with_sampler: true });
        let sensor = || Labels::one(Label::Sensor, "gpu");
        let good = reading(m::TEMPERATURE.id, sensor(), Value::Float(60.0));
        assert!(read::<Reading>(&good).is_some());
        for bad in [
            reading(m::TEMPERATURE.id, sensor(), Value::Float(f64::NAN)),
            reading(m::TEMPERATURE.id, Labels::NONE, Value::Float(60.0)),
            reading(m::TEMPERATURE.id, Labels::one(Label::Sensor, "spine"), Value::Float(60.0)),
            reading(m::SOURCE_UP.id, Labels::NONE, Value::Int(1)),
        ] {
            assert!(read::<Reading>(&bad).is_none());
        }
        let ownerless = Group { identity: None, readings: Vec::new() };
        assert!(read::<Group>(&written(&ownerless)).is_none());
    }

    #[test]
    fn a_length_that_is_not_true_costs_no_memory() {
        assert!(read::<Vec<Reading>>(&written(&u32::MAX)).is_none());
        assert!(read::<String>(&written(&u32::MAX)).is_none());
    }

    #[test]
    fn words_are_few_and_short() {
        let long = "x".repeat(WORD_BYTES_MAX + 1);
        assert!(read::<&'static str>(&written(&long)).is_none());
        assert!(read::<&'static str>(&written(&"two\nlines".to_owned())).is_none());
        let first: &'static str = read(&written(&"nvmlInit_v2".to_owned())).expect("a word");
        let second: &'static str = read(&written(&"nvmlInit_v2".to_owned())).expect("a word");
        assert!(std::ptr::eq(first, second), "kept once");
    }
}
