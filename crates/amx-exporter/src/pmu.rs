//! PMUs as the kernel lists them below `bus/event_source/devices`
//! (Documentation/ABI/testing/sysfs-bus-event_source-devices-format and -events).

use std::path::{Path, PathBuf};

use kernel::{File, entries};
use reading::{Fault, FaultCode};

use crate::{perf::Event, topology::parse_list};

/// One PMU.
#[derive(Clone, Debug)]
pub struct Pmu {
    folder: PathBuf,
    number: u32,
}

impl Pmu {
    /// The PMU called `name`.
    ///
    /// # Errors
    /// When the kernel has none of this name.
    pub fn open(sysfs: &Path, name: &str) -> Result<Self, Fault> {
        let folder = devices(sysfs).join(name);
        let number = File::called(folder.join("type"), "event_source/devices").number()?;
        Ok(Self { folder, number })
    }

    /// Names of the memory controllers' PMUs, in order of their numbers.
    pub fn memory_controllers(sysfs: &Path) -> Vec<String> {
        let is_controller = |name: &String| {
            name.strip_prefix("uncore_imc_")
                .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        entries(&devices(sysfs)).into_iter().filter(is_controller).collect()
    }

    /// An event by its raw config.
    pub fn raw(&self, config: u64) -> Event {
        Event { pmu: self.number, config }
    }

    /// The CPUs on which the PMU's events are opened, one per socket or die.
    pub fn cpus(&self) -> Result<Vec<u32>, Fault> {
        File::new(&self.folder, "cpumask").parse(parse_list)
    }

    /// The event that the kernel calls `name`.
    ///
    /// # Errors
    /// When it names none so, or in a form that is not documented.
    pub fn event(&self, name: &str) -> Result<Event, Fault> {
        let text = File::called(self.folder.join("events").join(name), "event_source/events").text()?;
        let config = text.split(',').try_fold(0, |config, term| {
            let (field, value) = term.split_once('=')?;
            let value = u64::from_str_radix(value.strip_prefix("0x")?, 16).ok()?;
            Some(config | place(&self.format(field)?, value)?)
        });
        let config = config.ok_or(Fault::new("event_source/events", FaultCode::Garbage))?;
        Ok(self.raw(config))
    }

    /// Every event whose name begins so: sub-channels have one each.
    pub fn events(&self, prefix: &str) -> Vec<Event> {
        let is_event = |name: &String| {
            // Beside each event lie its `.scale` and `.unit`.
            name.starts_with(prefix) && !name.contains('.')
        };
        let names = entries(&self.folder.join("events")).into_iter().filter(is_event);
        names.filter_map(|name| self.event(&name).ok()).collect()
    }

    fn format(&self, field: &str) -> Option<String> {
        File::called(self.folder.join("format").join(field), "event_source/format").text().ok()
    }
}

fn devices(sysfs: &Path) -> PathBuf {
    sysfs.join("bus/event_source/devices")
}

/// Puts a value where a format such as `config:8-15` or `config:0-7,32-35` says.
fn place(format: &str, value: u64) -> Option<u64> {
    let bits = format.strip_prefix("config:")?;
    let mut rest = value;
    let mut config = 0;
    for range in bits.split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let (low, high): (u32, u32) = (low.parse().ok()?, high.parse().ok()?);
        let width = high.checked_sub(low)?.checked_add(1).filter(|_| high < 64)?;
        let mask = u64::MAX >> (64 - width);
        config |= (rest & mask) << low;
        rest = rest.checked_shr(width).unwrap_or(0);
    }
    // A value that does not fit its field would name another event.
    (rest == 0).then_some(config)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn events_are_put_together_as_their_format_says() {
        let sysfs = tempfile::tempdir().expect("a folder");
        let folder = sysfs.path().join("bus/event_source/devices/uncore_imc_3");
        let put = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("has one")).expect("created");
            fs::write(path, format!("{text}\n")).expect("written");
        };
        put("type", "27");
        put("cpumask", "0,43");
        put("format/event", "config:0-7");
        put("format/umask", "config:8-15");
        put("format/edge", "config:18");
        put("events/cas_count_read_sch0", "event=0x05,umask=0xcf");
        put("events/cas_count_read_sch1", "event=0x06,umask=0xcf");
        put("events/cas_count_read_sch0.scale", "6.103515625e-5");
        put("events/odd", "event=0x105");
        put("events/edged", "event=0x01,edge=0x1");
        fs::create_dir_all(sysfs.path().join("bus/event_source/devices/uncore_imc_free_running_0"))
            .expect("created");

        assert_eq!(Pmu::memory_controllers(sysfs.path()), ["uncore_imc_3"]);
        let pmu = Pmu::open(sysfs.path(), "uncore_imc_3").expect("listed");
        assert_eq!(pmu.cpus(), Ok(vec![0, 43]));
        let configs: Vec<_> = pmu.events("cas_count_read").iter().map(|event| event.config).collect();
        assert_eq!(configs, [0xcf05, 0xcf06]);
        assert_eq!(pmu.event("edged"), Ok(Event { pmu: 27, config: 0x4_0001 }));
        assert_eq!(
            pmu.event("odd").map_err(|fault| fault.code.name()),
            Err("garbage"),
            "wider than its field"
        );
        assert_eq!(pmu.event("none").map_err(|fault| fault.code.name()), Err("ENOENT"));
        assert_eq!(
            Pmu::open(sysfs.path(), "cpu").map(|_| ()).map_err(|fault| fault.code.name()),
            Err("ENOENT")
        );
    }

    #[test]
    fn fields_may_lie_apart() {
        assert_eq!(place("config:0-7,32-35", 0xabc), Some(0xa_0000_00bc));
        assert_eq!(place("config:0-7,32-35", 0x1abc), None);
        assert_eq!(place("config:0-63", u64::MAX), Some(u64::MAX));
        assert_eq!(place("config1:0-7", 1), None, "only config is opened here");
        assert_eq!(place("config:7-0", 1), None);
    }
}
