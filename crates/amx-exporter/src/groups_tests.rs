//! Groups on a kernel that answers what the test wants.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex},
};

use reading::Absence;

use super::*;
use crate::perf::Perf;

const AMX: Event = Event { pmu: 4, config: 0x02b7 };
const CYCLES: Event = Event { pmu: 4, config: 0x003c };

/// Open descriptors with their CPU, and what is to happen.
#[derive(Default)]
struct State {
    open: BTreeMap<i32, (u32, Event, Option<Descriptor>)>,
    closed: Vec<i32>,
    counts: BTreeMap<u32, Counts>,
    offline: BTreeSet<u32>,
    most: Option<usize>,
    refuse: Option<Errno>,
}

#[derive(Default)]
struct Fake(Mutex<State>);

impl Perf for Fake {
    fn open(&self, event: Event, cpu: u32, leader: Option<Descriptor>) -> io::Result<Descriptor> {
        let mut state = self.0.lock().expect("one thread");
        if state.offline.contains(&cpu) {
            return Err(Errno::NODEV.into());
        }
        if let Some(error) = state.refuse {
            return Err(error.into());
        }
        if state.most.is_some_and(|most| state.open.len() >= most) {
            return Err(Errno::MFILE.into());
        }
        let next = state.open.keys().last().map_or(3, |last| last + 1);
        state.open.insert(next, (cpu, event, leader));
        Ok(Descriptor(next))
    }

    fn enable(&self, _leader: Descriptor) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, leader: Descriptor) -> io::Result<Counts> {
        let state = self.0.lock().expect("one thread");
        let (cpu, ..) = state.open[&leader.0];
        if state.offline.contains(&cpu) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(state.counts.get(&cpu).cloned().unwrap_or(Counts { values: vec![0; 2], ..Counts::default() }))
    }

    fn close(&self, event: Descriptor) {
        let mut state = self.0.lock().expect("one thread");
        assert!(state.open.remove(&event.0).is_some(), "closed twice");
        state.closed.push(event.0);
    }
}

fn groups(fake: &Arc<Fake>) -> Groups {
    Groups::new(Arc::clone(fake) as Shared, vec![AMX, CYCLES])
}

fn set(fake: &Fake, cpu: u32, enabled: u64, running: u64, values: [u64; 2]) {
    let counts = Counts { enabled, running, values: values.to_vec() };
    fake.0.lock().expect("one thread").counts.insert(cpu, counts);
}

fn with(fake: &Fake, change: impl FnOnce(&mut State)) {
    change(&mut fake.0.lock().expect("one thread"));
}

#[test]
fn a_group_per_cpu_has_one_leader_and_is_closed_with_it_last() {
    let fake = Arc::new(Fake::default());
    let mut groups = groups(&fake);
    groups.follow(&[0, 1]).expect("opened");
    with(&fake, |state| {
        let seen: Vec<_> = state.open.values().copied().collect();
        let [first, second] = [Descriptor(3), Descriptor(5)];
        assert_eq!(
            seen,
            [(0, AMX, None), (0, CYCLES, Some(first)), (1, AMX, None), (1, CYCLES, Some(second))]
        );
    });
    drop(groups);
    with(&fake, |state| assert_eq!((state.open.len(), &*state.closed), (0, &[4, 3, 6, 5][..])));
}

#[test]
fn multiplexed_counts_are_scaled_and_no_time_on_the_hardware_is_no_data() {
    let fake = Arc::new(Fake::default());
    let mut groups = groups(&fake);
    groups.follow(&[0]).expect("opened");
    set(&fake, 0, 1000, 250, [500, 250]);
    assert_eq!(groups.read(), Ok(vec![(0, vec![2000.0, 1000.0])]));
    set(&fake, 0, 2000, 250, [500, 250]);
    assert_eq!(
        groups.read().map_err(|fault| (fault.absence, fault.code.name())),
        Err((Absence::NoData, "not_running"))
    );
    // The scale is that of the time since the last count, in which that off the hardware is made up for.
    set(&fake, 0, 3000, 1250, [1500, 1250]);
    assert_eq!(groups.read(), Ok(vec![(0, vec![2000.0, 2000.0])]));
    // A wrap of the simulated 64 bits, which no machine lives to see, is nothing and not 2^64.
    set(&fake, 0, 4000, 2250, [3, 2250]);
    assert_eq!(groups.read(), Ok(vec![(0, vec![0.0, 1000.0])]));
}

#[test]
fn cpus_come_and_go() {
    let fake = Arc::new(Fake::default());
    let mut groups = groups(&fake);
    groups.follow(&[0, 1]).expect("opened");
    let tick = |time: u64| (0..3).for_each(|cpu| set(&fake, cpu, time, time, [time, time]));
    let cpus = |read: Result<Vec<Increment>, Fault>| -> Vec<u32> {
        read.expect("counted").into_iter().map(|(cpu, _)| cpu).collect()
    };
    tick(10);
    assert_eq!(cpus(groups.read()), [0, 1]);
    // Offline between opening and reading.
    with(&fake, |state| state.offline.extend([1]));
    tick(20);
    assert_eq!(cpus(groups.read()), [0]);
    // The listing still has it, opening says that it is gone, and CPU 2 has come.
    groups.follow(&[0]).expect("closed");
    groups.follow(&[0, 1, 2]).expect("one of them is offline, which is no refusal");
    tick(30);
    assert_eq!(cpus(groups.read()), [0, 2]);
    with(&fake, |state| state.offline.clear());
    groups.follow(&[0, 1, 2]).expect("back");
    tick(40);
    assert_eq!(groups.read(), Ok((0..3).map(|cpu| (cpu, vec![10.0, 10.0])).collect()));
    with(&fake, |state| state.offline.extend(0..3));
    assert_eq!(groups.read().map_err(|fault| fault.code.name()), Err("not_scheduled"));
}

#[test]
fn events_that_the_kernel_ended_are_opened_again() {
    let fake = Arc::new(Fake::default());
    let mut groups = groups(&fake);
    groups.follow(&[0, 1]).expect("opened");
    let tick = |cpu, time: u64| set(&fake, cpu, time, time, [time, time]);
    let mut both = |expected: &[u32]| {
        let read = groups.read().expect("counted");
        assert_eq!(read.iter().map(|(cpu, _)| *cpu).collect::<Vec<_>>(), expected);
        groups.follow(&[0, 1]).expect("followed");
    };
    (0..2).for_each(|cpu| tick(cpu, 10));
    both(&[0, 1]);
    // CPU 1 went offline and came back between two rounds: the list is the same, and its events stand still.
    tick(0, 20);
    both(&[0]);
    with(&fake, |state| assert_eq!((state.open.len(), &*state.closed), (4, &[6, 5][..]), "and opened again"));
    (0..2).for_each(|cpu| tick(cpu, 30));
    both(&[0, 1]);
    // So are the members of a group without its leader.
    tick(0, 40);
    let alone = Counts { enabled: 40, running: 40, values: vec![40] };
    with(&fake, |state| drop(state.counts.insert(1, alone)));
    both(&[0]);
    with(&fake, |state| assert_eq!((state.open.len(), state.closed.len()), (4, 4)));
}

#[test]
fn each_refusal_has_its_own_reason_and_leaves_nothing_open() {
    let fake = Arc::new(Fake::default());
    for (error, absence, code) in [
        (Errno::ACCESS, Absence::Unsupported, "EACCES"),
        (Errno::NOENT, Absence::Unsupported, "ENOENT"),
        (Errno::MFILE, Absence::Failed, "EMFILE"),
        (Errno::OPNOTSUPP, Absence::Unsupported, "EOPNOTSUPP"),
    ] {
        with(&fake, |state| state.refuse = Some(error));
        let fault = groups(&fake).follow(&[0, 1]).expect_err("refused");
        assert_eq!((fault.absence, fault.call, fault.code.name()), (absence, "perf_event_open", code));
    }
    with(&fake, |state| (state.refuse, state.most) = (None, Some(3)));
    let mut some = groups(&fake);
    assert_eq!(some.follow(&[0, 1]).expect_err("the second group does not fit").code, "EMFILE");
    with(&fake, |state| assert!(state.open.is_empty(), "half of the CPUs would pass for all"));
    assert_eq!(some.read().map_err(|fault| fault.code.name()), Err("no_cpu"));
    with(&fake, |state| state.most = None);
    some.follow(&[0, 1]).expect("there is room now");
}

#[test]
#[should_panic(expected = "has no answer here")]
fn a_call_without_an_answer_is_loud() {
    struct Nothing;
    impl Perf for Nothing {}
    let _ = Groups::new(Arc::new(Nothing), vec![AMX]).follow(&[0]);
}
