//! Counting events of PMUs (perf_event_open(2)), through the crate `perf-event2`.

use std::{io, time::Duration};

use perf_event::{Builder, Counter, ReadFormat, events::Raw};
use reading::{Fault, FaultCode, call_returned};

use crate::{file, pmu::Event};

/// The name of the call in faults.
pub const CALL: &str = "perf_event_open";

/// The fault that an error of [`Group::open`] or [`Group::read`] means: each errno is a code of its own.
pub fn fault(error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Fault::new(CALL, FaultCode::NotScheduled);
    }
    file::fault(CALL, error)
}

/// What reading a group returns: `PERF_FORMAT_GROUP` with both times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Nanoseconds for which the group was enabled.
    pub enabled: u64,
    /// Of them, nanoseconds for which it was on the hardware.
    pub running: u64,
    /// One value per event, in the order of opening.
    pub values: Vec<u64>,
}

/// Events that the kernel puts on the hardware of one CPU together or not at all. Dropping it closes them.
#[derive(Debug)]
pub struct Group {
    // Before their leader: a member without a leader would be scheduled by itself until it is closed.
    _members: Vec<Counter>,
    leader: Counter,
}

impl Group {
    /// Opens and enables `events` for every process on one CPU, with the kernel, the hypervisor and guests:
    /// PMUs outside the cores count nothing less.
    ///
    /// # Errors
    /// That of perf_event_open(2) or ioctl(2), see [`fault`]; no event of the group is left open.
    pub fn open(events: &[Event], cpu: u32) -> io::Result<Self> {
        let (first, others) = events.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut leader = builder(*first, cpu).build()?;
        let members = others.iter().map(|event| builder(*event, cpu).build_with_group(&mut leader));
        let members = members.collect::<io::Result<_>>()?;
        leader.enable_group()?;
        Ok(Self { _members: members, leader })
    }

    /// The counts since the group was opened.
    ///
    /// # Errors
    /// That of read(2); [`io::ErrorKind::UnexpectedEof`] for an event in error state, as after its CPU went
    /// offline.
    pub fn read(&mut self) -> io::Result<Counts> {
        let read = self.leader.read_group();
        call_returned();
        let group = read?;
        let nanoseconds = |time: Option<Duration>| {
            time.and_then(|time| u64::try_from(time.as_nanos()).ok())
                .ok_or_else(|| io::Error::other("the kernel left out a time that was asked for"))
        };
        Ok(Counts {
            enabled: nanoseconds(group.time_enabled())?,
            running: nanoseconds(group.time_running())?,
            values: group.iter().map(|entry| entry.value()).collect(),
        })
    }
}

fn builder(event: Event, cpu: u32) -> Builder<'static> {
    let mut builder = Builder::new(Raw::new(event.config));
    builder.attrs_mut().type_ = event.pmu;
    builder.any_pid().one_cpu(cpu as usize).include_kernel().include_hv().read_format(
        ReadFormat::GROUP | ReadFormat::ID | ReadFormat::TOTAL_TIME_ENABLED | ReadFormat::TOTAL_TIME_RUNNING,
    );
    builder
}

#[cfg(test)]
mod tests {
    //! On this machine's kernel: software events, which every machine has, and the time-stamp counter where
    //! the kernel offers it. Where the kernel refuses, the refusal must be one of those that are documented.

    use std::{
        thread,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{File, pmu::Pmu};

    /// `PERF_TYPE_SOFTWARE`.
    const SOFTWARE: u32 = 1;
    /// `PERF_COUNT_SW_CPU_CLOCK`: nanoseconds.
    const CPU_CLOCK: Event = Event { pmu: SOFTWARE, config: 0 };
    /// `PERF_COUNT_SW_CONTEXT_SWITCHES`.
    const CONTEXT_SWITCHES: Event = Event { pmu: SOFTWARE, config: 3 };

    /// A group on each CPU; `None` when this process may not open one, which is checked.
    fn opened(events: &[Event]) -> Option<Vec<(u32, Group)>> {
        let online = File::called("/sys/devices/system/cpu/online".into(), "cpu/online");
        let cpus = online.list().expect("every Linux lists its CPUs");
        let groups = cpus.into_iter().map(|cpu| Ok((cpu, Group::open(events, cpu)?)));
        match groups.collect::<io::Result<_>>() {
            Ok(groups) => Some(groups),
            Err(error) => {
                let fault = fault(&error);
                assert!(["EACCES", "EPERM", "ENOSYS"].contains(&fault.code.name()), "{fault}");
                eprintln!("perf events are not permitted here: {fault}");
                None
            }
        }
    }

    #[test]
    fn the_clock_of_each_cpu_runs_at_the_speed_of_the_wall_clock() {
        let Some(groups) = opened(&[CPU_CLOCK, CONTEXT_SWITCHES]) else { return };
        for (cpu, mut group) in groups {
            // The first reading is between the first two of these instants, the second between the last two.
            let earliest = Instant::now();
            let before = group.read().expect("counted since it was opened");
            let latest = Instant::now();
            thread::sleep(Duration::from_millis(100));
            let shortest = latest.elapsed();
            let after = group.read().expect("counted");
            let longest = earliest.elapsed();
            assert_eq!((before.values.len(), after.values.len()), (2, 2));
            let clock = (after.values[0] - before.values[0]) as f64;
            let (low, high) = (shortest.as_secs_f64() * 0.99e9, longest.as_secs_f64() * 1.01e9);
            assert!((low..=high).contains(&clock), "CPU {cpu}: {clock} ns, not {low} to {high}");
            assert!(after.values[1] >= before.values[1], "{before:?} {after:?}");
            assert!(after.enabled > before.enabled && after.running > before.running, "{before:?} {after:?}");
        }
    }

    #[test]
    fn the_time_stamp_counter_is_read_by_its_pmu_where_the_kernel_offers_it() {
        let Ok(msr) = Pmu::open("/sys".as_ref(), "msr") else {
            eprintln!("no PMU msr here");
            return;
        };
        let tsc = msr.named_event("tsc").expect("the time-stamp counter exists on every x86-64");
        let Some(mut groups) = opened(&[tsc]) else { return };
        let (_, group) = &mut groups[0];
        let mut rate = || {
            let earliest = Instant::now();
            let before = group.read().expect("counted").values[0];
            let latest = Instant::now();
            thread::sleep(Duration::from_millis(200));
            let shortest = latest.elapsed().as_secs_f64();
            let cycles = (group.read().expect("counted").values[0] - before) as f64;
            (cycles / earliest.elapsed().as_secs_f64(), cycles / shortest)
        };
        let (first, second) = (rate(), rate());
        // Two intervals bound the one frequency from both sides.
        assert!(first.0 <= second.1 * 1.01 && second.0 <= first.1 * 1.01, "{first:?} and {second:?} Hz");
        assert!(first.1 > 0.4e9 && first.0 < 7e9, "{first:?} Hz is no clock of an x86-64");
    }

    #[test]
    fn an_event_that_does_not_exist_has_the_kernels_reason() {
        if opened(&[CPU_CLOCK]).is_none() {
            return;
        }
        for events in
            [&[Event { pmu: SOFTWARE, config: 0xffff }][..], &[CPU_CLOCK, Event { pmu: u32::MAX, config: 0 }]]
        {
            let fault = fault(&Group::open(events, 0).expect_err("no such event"));
            assert!(["ENOENT", "EINVAL"].contains(&fault.code.name()), "{fault}");
        }
    }
}
