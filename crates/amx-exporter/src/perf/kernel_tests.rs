//! The kernel's own perf events: software ones, which every machine has, and the time-stamp counter where
//! the kernel offers it, opened per CPU in groups like those of AMX.
//!
//! Where the kernel refuses, its refusal must have the reason that the permission matrix promises.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{Descriptor, Event, Kernel, Perf};
use crate::{groups::Groups, pmu::Pmu, topology};

/// `PERF_TYPE_SOFTWARE`.
const SOFTWARE: u32 = 1;
/// `PERF_COUNT_SW_CPU_CLOCK`: nanoseconds.
const CPU_CLOCK: Event = Event { pmu: SOFTWARE, config: 0 };
/// `PERF_COUNT_SW_CONTEXT_SWITCHES`.
const CONTEXT_SWITCHES: Event = Event { pmu: SOFTWARE, config: 3 };

const SYSFS: &str = "/sys";

/// Opens groups on every CPU; `None` when this process may not, which must then be for the reason expected.
fn opened(kernel: &Arc<Kernel>, events: &[Event]) -> Option<(Groups, Vec<u32>)> {
    let cpus = topology::online(SYSFS.as_ref()).expect("every Linux lists its CPUs");
    let mut groups = Groups::new(Arc::clone(kernel) as super::Shared, events.to_vec());
    match groups.follow(&cpus) {
        Ok(()) => Some((groups, cpus)),
        Err(fault) => {
            assert!(["EACCES", "EPERM", "ENOSYS"].contains(&fault.code.name()), "{fault}");
            eprintln!("perf events are not permitted here: {fault}");
            None
        }
    }
}

#[test]
fn the_clock_of_each_cpu_runs_at_the_speed_of_the_wall_clock() {
    let kernel = Arc::new(Kernel::default());
    let Some((mut groups, cpus)) = opened(&kernel, &[CPU_CLOCK, CONTEXT_SWITCHES]) else { return };
    // Each CPU was last read at some instant between the first two of these, and is read next at some
    // instant between the last two.
    let earliest = Instant::now();
    groups.read().expect("counted since it was opened");
    let latest = Instant::now();
    thread::sleep(Duration::from_millis(300));
    let shortest = latest.elapsed();
    let increments = groups.read().expect("counted");
    let longest = earliest.elapsed();
    assert_eq!(increments.iter().map(|(cpu, _)| *cpu).collect::<Vec<_>>(), cpus);
    for (cpu, values) in increments {
        let [clock, switches] = values[..] else { panic!("two events, {values:?}") };
        let (low, high) = (shortest.as_secs_f64() * 0.99e9, longest.as_secs_f64() * 1.01e9);
        assert!((low..=high).contains(&clock), "CPU {cpu}: {clock} ns, not {low} to {high}");
        assert!(
            switches >= 0.0 && switches.fract() == 0.0,
            "software events are not multiplexed: {switches}"
        );
    }
}

#[test]
fn the_time_stamp_counter_is_read_by_its_pmu_where_the_kernel_offers_it() {
    let Ok(msr) = Pmu::open(SYSFS.as_ref(), "msr") else {
        eprintln!("no PMU msr here");
        return;
    };
    let tsc = msr.event("tsc").expect("the time-stamp counter exists on every x86-64");
    let kernel = Arc::new(Kernel::default());
    let Some((mut groups, _)) = opened(&kernel, &[tsc]) else { return };
    let mut rate = || {
        let earliest = Instant::now();
        groups.read().expect("counted");
        let latest = Instant::now();
        thread::sleep(Duration::from_millis(200));
        let shortest = latest.elapsed().as_secs_f64();
        let (_, values) = groups.read().expect("counted").remove(0);
        (values[0] / earliest.elapsed().as_secs_f64(), values[0] / shortest)
    };
    let (first, second) = (rate(), rate());
    // Two intervals bound the one frequency from both sides.
    assert!(first.0 <= second.1 * 1.01 && second.0 <= first.1 * 1.01, "{first:?} and {second:?} Hz");
    assert!(first.1 > 0.4e9 && first.0 < 7e9, "{first:?} Hz is no clock of an x86-64");
}

#[test]
fn an_event_that_does_not_exist_has_the_kernels_reason_and_leaves_nothing_open() {
    let kernel = Arc::new(Kernel::default());
    let Some((groups, _)) = opened(&kernel, &[CPU_CLOCK]) else { return };
    drop(groups);
    let mut bad = Groups::new(
        Arc::clone(&kernel) as super::Shared,
        vec![CPU_CLOCK, Event { pmu: SOFTWARE, config: 0xffff }],
    );
    let fault = bad.follow(&[0]).expect_err("no such event");
    assert!(["ENOENT", "EINVAL"].contains(&fault.code.name()), "{fault}");
    assert!(kernel.read(Descriptor(0)).is_err(), "an event that is not open cannot be read");
    assert_eq!(kernel.open_count(), 0);
}
