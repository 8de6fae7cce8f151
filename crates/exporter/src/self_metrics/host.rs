//! The host as context for its accelerators: whether its CPUs are busy or its memory is full. Off by default:
//! node_exporter is the tool for hosts.

use std::path::{Path, PathBuf};

use naming::{
    Bytes, Count, Label, Seconds,
    catalogue::{HOST_CPU, HOST_MEMORY_AVAILABLE, HOST_MEMORY_TOTAL, HOST_RUNNABLE},
};
use procfs::{CpuTime, FromRead, FromReadSI, KernelStats, LoadAverage, Meminfo};
use reading::{Batch, Labels};

/// The files of procfs that are read.
#[derive(Debug)]
pub struct Host {
    stat: PathBuf,
    loadavg: PathBuf,
    meminfo: PathBuf,
}

impl Host {
    /// The host whose procfs lies at `procfs`.
    pub fn new(procfs: &Path) -> Self {
        Self { stat: procfs.join("stat"), loadavg: procfs.join("loadavg"), meminfo: procfs.join("meminfo") }
    }

    /// Puts what can be read into the batch; what cannot is absent.
    pub fn read(&self, batch: &mut Batch) {
        let system = procfs::current_system_info();
        if let Ok(stat) = KernelStats::from_file(&self.stat, system) {
            let CpuTime { user, nice, system: kernel, idle, iowait, irq, softirq, steal, .. } = stat.total;
            let some = Option::unwrap_or_default;
            // Time of guests is included in the user's.
            let busy = user + nice + kernel + some(irq) + some(softirq) + some(steal);
            for (state, ticks) in [("busy", busy), ("idle", idle + some(iowait))] {
                let seconds = Seconds(ticks as f64 / procfs::ticks_per_second() as f64);
                batch.put(HOST_CPU, Labels::one(Label::State, state), Ok(seconds));
            }
        }
        if let Ok(load) = LoadAverage::from_file(&self.loadavg) {
            batch.put(HOST_RUNNABLE, Labels::NONE, Ok(Count(load.cur.into())));
        }
        if let Ok(memory) = Meminfo::from_file(&self.meminfo) {
            batch.put(HOST_MEMORY_TOTAL, Labels::NONE, Ok(Bytes(memory.mem_total)));
            if let Some(available) = memory.mem_available {
                batch.put(HOST_MEMORY_AVAILABLE, Labels::NONE, Ok(Bytes(available)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(host: &Host) -> Vec<(&'static str, f64)> {
        let mut batch = Batch::default();
        batch.begin_exporter();
        host.read(&mut batch);
        let subjects = batch.finish();
        subjects[0]
            .readings()
            .iter()
            .map(|r| (r.id.metric().name.expect("unified"), r.value.as_f64()))
            .collect()
    }

    #[test]
    fn load_and_memory_are_those_of_the_root_given() {
        let procfs = tempfile::tempdir().expect("a folder");
        let host = Host::new(procfs.path());
        assert_eq!(read(&host), [], "absent, not 0");
        fs::write(
            procfs.path().join("stat"),
            "cpu  100 20 30 4000 50 6 7 8 90 0\ncpu0 100 20 30 4000 50 6 7 8 90 0\nctxt 1\nbtime 1\nprocesses 1\n",
        )
        .expect("written");
        fs::write(procfs.path().join("loadavg"), "0.50 0.40 0.30 3/500 1234\n").expect("written");
        let meminfo = fs::read_to_string("/proc/meminfo").expect("Linux has it");
        fs::write(procfs.path().join("meminfo"), meminfo).expect("written");
        let all = read(&host);
        let tick = procfs::ticks_per_second() as f64;
        assert_eq!(all[0], ("accel_host_cpu_seconds_total", 171.0 / tick));
        assert_eq!(all[1], ("accel_host_cpu_seconds_total", 4050.0 / tick));
        assert_eq!(all[2], ("accel_host_runnable_threads", 3.0));
        let (total, available) = (all[3].1, all[4].1);
        assert!(0.0 < available && available < total, "{all:?}");
    }
}
