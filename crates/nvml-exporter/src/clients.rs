//! What each process has of a GPU and did there, from round to round.

use std::{collections::BTreeMap, time::Instant};

use reading::{Absence, Batch};

use crate::raw::{Gpu, processes};

/// The engines that NVML reports by process, in the order of [`processes::Utilization::percent`].
const ENGINES: [&str; 3] = ["sm", "encode", "decode"];

/// Room for the processes of an instance; there is no call that counts them alone.
const INSTANCE_ROOM: u32 = 64;

/// The processes of one GPU.
#[derive(Debug, Default)]
pub struct Clients {
    /// The time of the newest sample that was counted, on the driver's clock.
    since_us: u64,
    /// When the driver was last asked.
    asked: Option<Instant>,
    busy: BTreeMap<u32, [f64; ENGINES.len()]>,
    /// Whether the driver reports use by process; not on a GPU that is cut into instances.
    is_unsupported: bool,
}

impl Clients {
    /// Puts the processes of the device that was begun last; `about` how many there are.
    pub fn put_device(&mut self, gpu: &Gpu, about: u32, now: Instant, batch: &mut Batch) {
        let Ok(running) = processes::running(gpu, about) else { return };
        self.follow(gpu, now);
        self.busy.retain(|pid, _| running.iter().any(|process| process.pid == *pid));
        for process in running {
            let busy = self.busy.entry(process.pid).or_default();
            let busy =
                if self.is_unsupported { Vec::new() } else { ENGINES.into_iter().zip(*busy).collect() };
            batch.put_client(process.pid, process.memory_bytes, busy);
        }
    }

    /// Counts what was done since the last round.
    fn follow(&mut self, gpu: &Gpu, now: Instant) {
        let asked = self.asked.replace(now);
        let samples = match processes::utilization(gpu, self.since_us) {
            Ok(samples) => samples,
            Err(fault) => {
                self.is_unsupported |= fault.absence == Absence::Unsupported;
                return;
            }
        };
        let passed = asked.map(|asked| now.saturating_duration_since(asked).as_secs_f64());
        let newest = samples.iter().map(|sample| sample.at_us).max().unwrap_or(0).max(self.since_us);
        for sample in samples {
            // A sample is of the last period alone, and idle periods have none: it stands for no more than the time
            // since the driver was last asked.
            let of_driver = (sample.at_us.saturating_sub(self.since_us)) as f64 / 1e6;
            let seconds = passed.map_or(0.0, |passed| passed.min(of_driver));
            let busy = self.busy.entry(sample.pid).or_default();
            for (busy, percent) in busy.iter_mut().zip(sample.percent) {
                *busy += f64::from(percent.min(100)) / 100.0 * seconds;
            }
        }
        self.since_us = newest;
    }
}

/// Puts the processes of the MIG instance that was begun last. The driver reports no use by process there.
pub fn put_instance(instance: &Gpu, batch: &mut Batch) {
    for process in processes::running(instance, INSTANCE_ROOM).unwrap_or_default() {
        batch.put_client(process.pid, process.memory_bytes, Vec::new());
    }
}
