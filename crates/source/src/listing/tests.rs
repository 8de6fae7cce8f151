//! A driver's lists, one after another, and what the exporter remembers between them.

use reading::Absence;

use super::*;

const LOSSES: LossCodes = LossCodes { device: &["LOST"], session: &["UNINITIALIZED"] };

fn fault(code: &'static str) -> Fault {
    Fault::returned(Absence::Failed, "call", code)
}

/// A board as a driver lists it: UUID and address; or the code of the call that failed.
type Asked = Result<(&'static str, &'static str), &'static str>;

/// A driver and the exporter above it.
struct Machine {
    session: KnownDevices<()>,
    prior: Prior,
}

impl Machine {
    fn new(bus: Option<&[&str]>) -> Self {
        let bus = bus.map(|bus| bus.iter().map(|address| (*address).to_owned()).collect());
        Self { session: KnownDevices::new(Family::Nvidia, "gpu"), prior: Prior { bus, ..Prior::default() } }
    }

    /// What is made of a list: name and UUID, or why it cannot be read, by place.
    fn list(&mut self, asked: &[Asked]) -> Result<Vec<String>, Lost> {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let listed = |(number, asked): (u32, &Asked)| match asked {
            Ok((uuid, address)) => {
                Ok(Listed { handle: (), uuid: text(uuid), address: text(address), number })
            }
            Err(code) => Err(fault(code)),
        };
        let asked = (0..).zip(asked).map(listed).collect();
        let found = self.session.list(&self.prior, &LOSSES, asked, |_, Listed { uuid, .. }, place| {
            let identity = Identity { uuid, ..Identity::new(Family::Nvidia, format!("gpu{}", place.number)) };
            let (key, address) = (place.key.clone(), place.address.clone());
            Found { key, address, identity: Arc::new(identity), open: Box::new(|| Err(fault("opened"))) }
        })?;
        let made = |Found { key, address, identity, open }: Found| {
            let why = open().err().map(|fault| fault.code.name()).filter(|code| *code != "opened");
            let uuid = identity.uuid.as_deref().unwrap_or(&key);
            let made =
                format!("{} {uuid}{}", identity.device, why.map_or(String::new(), |why| format!(" {why}")));
            // As the exporter does: another board at the address of one that is not listed replaces it.
            self.prior
                .remembered
                .retain(|old| old.key != key && (old.address.is_none() || old.address != address));
            self.prior.remembered.push(Remembered { key, address, identity, announced: Vec::new() });
            made
        };
        Ok(found.into_iter().map(made).collect())
    }

    fn lists(&mut self, asked: &[Asked], expected: &[&str]) {
        assert_eq!(self.list(asked).expect("the driver is there"), expected, "{asked:?}");
    }
}

const A: Asked = Ok(("A", "0000:01:00.0"));
const B: Asked = Ok(("B", "0000:02:00.0"));
const C: Asked = Ok(("C", "0000:03:00.0"));

#[test]
fn a_device_is_read_once_and_again_when_it_is_another() {
    let mut devices = KnownDevices::<u32>::new(Family::Nvidia, "gpu");
    let known = |mark: &str| Known {
        mark: mark.into(),
        key: "key".into(),
        identity: Arc::new(Identity::new(Family::Nvidia, "gpu0")),
        facts: 7,
    };
    devices.get_or_read("key", |_| unreachable!("nothing is known"), || known("a"));
    assert_eq!(devices.get_or_read("key", |known| known.mark == "a", || panic!("asked twice")).mark, "a");
    assert_eq!(devices.get_or_read("key", |known| known.mark == "b", || known("b")).mark, "b");
}

#[test]
fn names_stay_when_the_driver_numbers_its_devices_anew() {
    let mut machine = Machine::new(None);
    machine.lists(&[A, B, C], &["gpu0 A", "gpu1 B", "gpu2 C"]);
    machine.lists(&[B, C], &["gpu1 B", "gpu2 C"]);
    machine.session = KnownDevices::new(Family::Nvidia, "gpu");
    machine.lists(&[C, B], &["gpu2 C", "gpu1 B"]);
    machine.lists(&[B, C, A], &["gpu1 B", "gpu2 C", "gpu0 A"]);
}

#[test]
fn a_new_board_gets_a_name_that_no_other_has() {
    let mut machine = Machine::new(None);
    machine.lists(&[A, B], &["gpu0 A", "gpu1 B"]);
    machine.lists(&[C, B], &["gpu2 C", "gpu1 B"]);
    let replaced: Asked = Ok(("D", "0000:02:00.0"));
    machine.lists(&[C, replaced], &["gpu2 C", "gpu3 D"]);
}

#[test]
fn boards_that_swap_their_slots_keep_their_names() {
    let mut machine = Machine::new(None);
    machine.lists(&[A, B], &["gpu0 A", "gpu1 B"]);
    machine.lists(&[Ok(("B", "0000:01:00.0")), Ok(("A", "0000:02:00.0"))], &["gpu1 B", "gpu0 A"]);
}

#[test]
fn a_device_that_cannot_be_asked_is_listed_as_what_it_was() {
    let mut machine = Machine::new(None);
    machine.lists(&[A, B, C], &["gpu0 A", "gpu1 B", "gpu2 C"]);
    machine.lists(&[A, Err("UNKNOWN"), C], &["gpu0 A", "gpu1 B UNKNOWN", "gpu2 C"]);
    machine.lists(&[A, Err("LOST"), Err("LOST")], &["gpu0 A", "gpu1 B LOST", "gpu2 C LOST"]);
    // A new session has forgotten its places, and two may be either.
    machine.session = KnownDevices::new(Family::Nvidia, "gpu");
    machine.lists(&[A, Err("LOST"), C], &["gpu0 A", "gpu1 B LOST", "gpu2 C"]);
    machine.lists(&[A, B, C], &["gpu0 A", "gpu1 B", "gpu2 C"]);
    let gone = machine.list(&[A, Err("UNINITIALIZED"), C]);
    assert_eq!(gone, Err(Lost::Session(fault("UNINITIALIZED"))));
}

#[test]
fn a_place_is_no_sign_of_a_device_once_the_list_has_changed() {
    let mut machine = Machine::new(Some(&["0000:02:00.0", "0000:03:00.0"]));
    machine.lists(&[A, B, C], &["gpu0 A", "gpu1 B", "gpu2 C"]);
    machine.lists(&[Err("LOST"), C], &["gpu1 B LOST", "gpu2 C"]);
}

#[test]
fn a_device_that_was_never_read_is_listed_and_keeps_its_name_once_it_is_read() {
    let mut machine = Machine::new(Some(&["0000:01:00.0", "0000:02:00.0", "0000:03:00.0"]));
    machine.lists(&[A, Err("LOST"), C], &["gpu0 A", "gpu1 0000:02:00.0 LOST", "gpu2 C"]);
    machine.lists(&[A, B, C], &["gpu0 A", "gpu1 B", "gpu2 C"]);
    assert_eq!(machine.prior.remembered.len(), 3);
    // Where no bus is visible, its place is all that is known.
    let mut machine = Machine::new(None);
    machine.lists(&[A, Err("LOST"), C], &["gpu0 A", "gpu1 index 1 LOST", "gpu2 C"]);
    machine.lists(&[A, B, C], &["gpu0 A", "gpu1 B", "gpu2 C"]);
    assert_eq!(machine.prior.remembered.len(), 3);
}

#[test]
fn a_board_without_a_uuid_is_known_by_its_address() {
    let mut machine = Machine::new(None);
    let nameless = |address| Ok(("", address));
    machine.lists(&[nameless("0000:01:00.0"), B], &["gpu0 0000:01:00.0", "gpu1 B"]);
    machine.lists(&[B, nameless("0000:01:00.0")], &["gpu1 B", "gpu0 0000:01:00.0"]);
    // It has one with another library, and keeps the key that it has.
    machine.lists(&[A, B], &["gpu0 A", "gpu1 B"]);
    assert!(machine.prior.remembered.iter().any(|old| old.key == "0000:01:00.0"));
}

#[test]
fn a_board_whose_uuid_becomes_a_blank_is_what_it_was() {
    let mut machine = Machine::new(None);
    let blank = |address| Ok(("", address));
    machine.lists(&[A, B], &["gpu0 A", "gpu1 B"]);
    let [Ok((_, at_a)), Ok((_, at_b))] = [A, B] else { unreachable!("both can be asked") };
    machine.lists(&[blank(at_a), B], &["gpu0 A garbage", "gpu1 B"]);
    machine.lists(&[B, blank(at_a)], &["gpu1 B", "gpu0 A garbage"]);
    // Its address is a blank, too: it is known by its place.
    machine.lists(&[B, blank("")], &["gpu1 B", "gpu0 A garbage"]);
    machine.lists(&[blank(at_b), A], &["gpu1 B garbage", "gpu0 A"]);
    machine.lists(&[A, B], &["gpu0 A", "gpu1 B"]);
}

#[test]
fn a_uuid_that_two_have_is_none() {
    let mut machine = Machine::new(None);
    let zeros = |address| Ok(("0-0", address));
    let both = [zeros("0000:01:00.0"), B, zeros("0000:03:00.0")];
    machine.lists(&both, &["gpu0 0000:01:00.0", "gpu1 B", "gpu2 0000:03:00.0"]);
    machine.lists(&both[1..], &["gpu1 B", "gpu2 0000:03:00.0"]);
}

#[test]
fn whatever_the_order_no_uuid_changes_its_name_and_no_two_share_one() {
    const UUIDS: [&str; 6] = ["A", "B", "C", "D", "E", "F"];
    const SLOTS: [&str; 6] = ["1", "2", "3", "4", "5", "6"];
    let mut random = 12345u32;
    let mut below = |bound: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) as usize % bound
    };
    let mut machine = Machine::new(None);
    let mut names = HashMap::new();
    for _ in 0..2000 {
        let mut boards: Vec<_> = (0..6).filter(|_| below(4) > 0).collect();
        for index in 0..boards.len() {
            let other = below(boards.len());
            boards.swap(index, other);
        }
        if below(5) == 0 {
            machine.session = KnownDevices::new(Family::Nvidia, "gpu");
        }
        let asked: Vec<Asked> = boards
            .iter()
            .map(|board| if below(8) == 0 { Err("LOST") } else { Ok((UUIDS[*board], SLOTS[*board])) })
            .collect();
        for (asked, made) in asked.iter().zip(machine.list(&asked).expect("the driver is there")) {
            let (name, uuid) = made.split_once(' ').expect("two words");
            let Ok((listed, _)) = asked else { continue };
            assert_eq!(*listed, uuid);
            assert_eq!(*names.entry(uuid.to_owned()).or_insert(name.to_owned()), name, "{uuid} was renamed");
        }
        let distinct: HashSet<_> =
            machine.prior.remembered.iter().map(|old| old.identity.device.clone()).collect();
        assert_eq!(distinct.len(), machine.prior.remembered.len(), "two share a name");
    }
    assert_eq!(names.values().collect::<HashSet<_>>().len(), UUIDS.len());
}
