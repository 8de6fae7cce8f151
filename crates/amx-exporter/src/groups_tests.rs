//! Groups on a kernel that returns what the test wants.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex},
};

use reading::{Absence, Measured};

use super::*;
use crate::perf::Perf;

const AMX: Event = Event { pmu: 4, config: 0x02b7 };
const CYCLES: Event = Event { pmu: 4, config: 0x003c };

/// The CPUs of open and of closed groups, and what is to happen.
#[derive(Default)]
struct State {
    open: Vec<u32>,
    closed: Vec<u32>,
    counts: BTreeMap<u32, Counts>,
    offline: BTreeSet<u32>,
    most: Option<usize>,
    refuse: Option<Errno>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

struct FakeGroup {
    kernel: Fake,
    cpu: u32,
}

impl Perf for Fake {
    fn open(&self, events: &[Event], cpu: u32) -> io::Result<Box<dyn Group>> {
        assert_eq!(events, [AMX, CYCLES]);
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
        state.open.push(cpu);
        Ok(Box::new(FakeGroup { kernel: self.clone(), cpu }))
    }
}

impl Group for FakeGroup {
    fn read(&mut self) -> io::Result<Counts> {
        let state = self.kernel.0.lock().expect("one thread");
        if state.offline.contains(&self.cpu) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(state.counts.get(&self.cpu).cloned().unwrap_or(Counts { values: vec![0; 2], ..Counts::default() }))
    }
}

impl Drop for FakeGroup {
    fn drop(&mut self) {
        let mut state = self.kernel.0.lock().expect("one thread");
        state.open.retain(|cpu| *cpu != self.cpu);
        state.closed.push(self.cpu);
    }
}

fn groups(fake: &Fake) -> Groups {
    Groups::new(Arc::new(fake.clone()), vec![AMX, CYCLES], Ceiling::of_cycles().times(1e9))
}

fn set(fake: &Fake, cpu: u32, enabled: u64, running: u64, values: [u64; 2]) {
    let counts = Counts { enabled, running, values: values.to_vec() };
    fake.0.lock().expect("one thread").counts.insert(cpu, counts);
}

fn with(fake: &Fake, change: impl FnOnce(&mut State)) {
    change(&mut fake.0.lock().expect("one thread"));
}

#[test]
fn each_cpu_has_one_group_which_is_closed_with_the_rest() {
    let fake = Fake::default();
    let mut groups = groups(&fake);
    groups.update(&[0, 1]).expect("opened");
    groups.update(&[0, 1]).expect("still open");
    with(&fake, |state| assert_eq!(state.open, [0, 1]));
    drop(groups);
    with(&fake, |state| assert_eq!((&*state.open, &*state.closed), (&[][..], &[0, 1][..])));
}

#[test]
fn multiplexed_counts_are_scaled_and_no_time_on_the_hardware_is_no_data() {
    let fake = Fake::default();
    let mut groups = groups(&fake);
    groups.update(&[0]).expect("opened");
    set(&fake, 0, 1000, 250, [500, 250]);
    assert_eq!(all(groups.read()), Ok(vec![(0, vec![2000.0, 1000.0])]));
    set(&fake, 0, 2000, 250, [500, 250]);
    assert_eq!(
        groups.read().map_err(|fault| (fault.absence, fault.code.name())),
        Err((Absence::NoData, "not_running"))
    );
    // Scaled over the time since the last increment, including the time off the hardware.
    set(&fake, 0, 3000, 1250, [1500, 1250]);
    assert_eq!(all(groups.read()), Ok(vec![(0, vec![2000.0, 2000.0])]));
}

#[test]
fn what_cannot_be_counted_is_dropped_with_its_group_and_the_others_are_not_all() {
    let fake = Fake::default();
    let mut groups = Groups::new(Arc::new(fake.clone()), vec![AMX, CYCLES], Ceiling::of_cycles());
    groups.update(&[0, 1]).expect("opened");
    let mut at = |time: u64, of_the_first: [u64; 2]| {
        set(&fake, 0, time, time, of_the_first);
        set(&fake, 1, time, time, [time, time]);
        let read = groups.read().map_err(|fault| fault.code.name());
        groups.update(&[0, 1]).expect("updated");
        read.map(|read| (read.by_cpu.len(), read.complete.map_err(|fault| fault.code.name())))
    };
    assert_eq!(at(1000, [1000, 1000]), Ok((2, Ok(()))));
    // It falls, or rises by 100 cycles in a nanosecond.
    assert_eq!(at(2000, [3, 2000]), Ok((1, Err("rose_too_fast"))));
    assert_eq!(at(3000, [100_003, 3000]), Ok((1, Err("rose_too_fast"))), "opened again");
    assert_eq!(at(4000, [101_003, 4000]), Ok((2, Ok(()))));
    // Off the hardware, it counts later.
    set(&fake, 0, 5000, 4000, [101_003, 4000]);
    set(&fake, 1, 5000, 5000, [5000, 5000]);
    let read = groups.read().expect("of the other");
    assert_eq!(
        (read.by_cpu.len(), read.complete.map_err(|fault| fault.code.name())),
        (1, Err("not_running"))
    );
}

/// The increments, which are those of every CPU.
fn all(read: Measured<Increments>) -> Measured<Vec<Increment>> {
    let Increments { by_cpu, complete } = read?;
    complete.map(|()| by_cpu)
}

#[test]
fn cpus_come_and_go() {
    let fake = Fake::default();
    let mut groups = groups(&fake);
    groups.update(&[0, 1]).expect("opened");
    let tick = |time: u64| (0..3).for_each(|cpu| set(&fake, cpu, time, time, [time, time]));
    let cpus = |read: Measured<Increments>| -> Vec<u32> {
        all(read).expect("counted").into_iter().map(|(cpu, _)| cpu).collect()
    };
    tick(10);
    assert_eq!(cpus(groups.read()), [0, 1]);
    // It goes offline between opening and reading.
    with(&fake, |state| state.offline.extend([1]));
    tick(20);
    assert_eq!(cpus(groups.read()), [0]);
    // It is listed again but cannot be opened yet, and CPU 2 has come online.
    groups.update(&[0]).expect("closed");
    groups.update(&[0, 1, 2]).expect("one of them is offline, which is no refusal");
    tick(30);
    assert_eq!(cpus(groups.read()), [0, 2]);
    with(&fake, |state| state.offline.clear());
    groups.update(&[0, 1, 2]).expect("back");
    tick(40);
    assert_eq!(all(groups.read()), Ok((0..3).map(|cpu| (cpu, vec![10.0, 10.0])).collect()));
    with(&fake, |state| state.offline.extend(0..3));
    assert_eq!(groups.read().map_err(|fault| fault.code.name()), Err("not_scheduled"));
}

#[test]
fn events_that_the_kernel_ended_are_opened_again() {
    let fake = Fake::default();
    let mut groups = groups(&fake);
    groups.update(&[0, 1]).expect("opened");
    let tick = |cpu, time: u64| set(&fake, cpu, time, time, [time, time]);
    let mut both = |expected: &[u32]| {
        let read = all(groups.read()).expect("counted");
        assert_eq!(read.iter().map(|(cpu, _)| *cpu).collect::<Vec<_>>(), expected);
        groups.update(&[0, 1]).expect("updated");
    };
    (0..2).for_each(|cpu| tick(cpu, 10));
    both(&[0, 1]);
    // CPU 1 went offline and came back between two rounds: the list is the same, and its events stand still.
    tick(0, 20);
    both(&[0]);
    with(&fake, |state| assert_eq!((state.open.len(), &*state.closed), (2, &[1][..]), "and opened again"));
    (0..2).for_each(|cpu| tick(cpu, 30));
    both(&[0, 1]);
    // So is a group that has lost its members.
    tick(0, 40);
    let alone = Counts { enabled: 40, running: 40, values: vec![40] };
    with(&fake, |state| drop(state.counts.insert(1, alone)));
    both(&[0]);
    with(&fake, |state| assert_eq!((state.open.len(), state.closed.len()), (2, 2)));
}

#[test]
fn each_refusal_has_its_own_reason_and_leaves_nothing_open() {
    let fake = Fake::default();
    for (error, absence, code) in [
        (Errno::ACCESS, Absence::Unsupported, "EACCES"),
        (Errno::NOENT, Absence::Unsupported, "ENOENT"),
        (Errno::MFILE, Absence::Failed, "EMFILE"),
        (Errno::OPNOTSUPP, Absence::Unsupported, "EOPNOTSUPP"),
    ] {
        with(&fake, |state| state.refuse = Some(error));
        let fault = groups(&fake).update(&[0, 1]).expect_err("refused");
        assert_eq!((fault.absence, fault.call, fault.code.name()), (absence, "perf_event_open", code));
    }
    with(&fake, |state| (state.refuse, state.most) = (None, Some(1)));
    let mut some = groups(&fake);
    assert_eq!(some.update(&[0, 1]).expect_err("the second group does not fit").code, "EMFILE");
    with(&fake, |state| assert!(state.open.is_empty(), "half of the CPUs would pass for all"));
    assert_eq!(some.read().map_err(|fault| fault.code.name()), Err("no_cpu"));
    with(&fake, |state| state.most = None);
    some.update(&[0, 1]).expect("there is room now");
}
