//! PMUs (performance monitoring units) as the kernel lists them below `bus/event_source/devices`
//! (Documentation/ABI/testing/sysfs-bus-event_source-devices-format and -events).

use std::path::{Path, PathBuf};

use reading::{Fault, FaultCode, Measured};

use crate::file::{File, entries};

/// An event of a PMU, as `struct perf_event_attr` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    /// `type`: the number of the PMU.
    pub pmu: u32,
    /// `config`.
    pub config: u64,
}

/// One PMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pmu {
    folder: PathBuf,
    number: u32,
}

impl Pmu {
    /// The PMU called `name`, such as `cpu`, `uncore_imc_0` or `xe_0000_03_00.0`.
    ///
    /// # Errors
    /// `ENOENT` when the kernel has none of this name.
    pub fn open(sysfs: &Path, name: &str) -> Measured<Self> {
        let folder = devices(sysfs).join(name);
        let number = File::called(folder.join("type"), "event_source/devices").number()?;
        Ok(Self { folder, number })
    }

    /// Names of the PMUs that consist of `prefix` and a number, in order of the number.
    pub fn numbered(sysfs: &Path, prefix: &str) -> Vec<String> {
        let is_numbered = |name: &String| {
            let number = name.strip_prefix(prefix).unwrap_or_default();
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        };
        entries(&devices(sysfs)).into_iter().filter(is_numbered).collect()
    }

    /// The event with this `config`.
    pub const fn event(&self, config: u64) -> Event {
        Event { pmu: self.number, config }
    }

    /// The CPUs on which events of this PMU are opened, one per socket, die or device.
    ///
    /// # Errors
    /// `ENOENT` for a PMU whose events can be opened on every CPU.
    pub fn cpus(&self) -> Measured<Vec<u32>> {
        File::new(&self.folder, "cpumask").list()
    }

    /// The event that the kernel calls `name`.
    ///
    /// # Errors
    /// `ENOENT` when the PMU has no such event; `NoData` `garbage` when its definition is not in the documented
    /// form or needs more than `config`.
    pub fn named_event(&self, name: &str) -> Measured<Event> {
        const CALL: &str = "event_source/events";
        let text = File::called(self.folder.join("events").join(name), CALL).text()?;
        let config = text.split(',').try_fold(0, |config, term| {
            let (field, value) = term.split_once('=')?;
            let value = u64::from_str_radix(value.strip_prefix("0x")?, 16).ok()?;
            Some(config | place(&self.format(field)?, value)?)
        });
        Ok(self.event(config.ok_or(Fault::new(CALL, FaultCode::Garbage))?))
    }

    /// Every event whose name begins with `prefix`: the sub-channels of a memory controller have one each.
    ///
    /// # Errors
    /// Those of [`Self::named_event`] for any of them.
    pub fn named_events(&self, prefix: &str) -> Measured<Vec<Event>> {
        // Beside each event are files with its `.scale` and `.unit`.
        let is_event = |name: &String| name.starts_with(prefix) && !name.contains('.');
        let names = entries(&self.folder.join("events")).into_iter().filter(is_event);
        names.map(|name| self.named_event(&name)).collect()
    }

    fn format(&self, field: &str) -> Option<String> {
        File::called(self.folder.join("format").join(field), "event_source/format").text().ok()
    }
}

fn devices(sysfs: &Path) -> PathBuf {
    sysfs.join("bus/event_source/devices")
}

/// The bits of `config` that hold `value` in a field with a format such as `config:8-15` or
/// `config:0-7,32-35`.
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
    // A value that is wider than its field would select another event.
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
        for other in ["uncore_imc_free_running_0", "uncore_imc_"] {
            fs::create_dir_all(devices(sysfs.path()).join(other)).expect("created");
        }

        assert_eq!(Pmu::numbered(sysfs.path(), "uncore_imc_"), ["uncore_imc_3"]);
        let pmu = Pmu::open(sysfs.path(), "uncore_imc_3").expect("listed");
        assert_eq!(pmu.cpus(), Ok(vec![0, 43]));
        let configs: Vec<_> =
            pmu.named_events("cas_count_read").expect("readable").iter().map(|event| event.config).collect();
        assert_eq!(configs, [0xcf05, 0xcf06]);
        assert_eq!(pmu.named_event("edged"), Ok(Event { pmu: 27, config: 0x4_0001 }));
        let code = |name| pmu.named_event(name).map_err(|fault| fault.code.name());
        assert_eq!(code("odd"), Err("garbage"), "wider than its field");
        assert_eq!(code("none"), Err("ENOENT"));
        assert_eq!(Pmu::open(sysfs.path(), "cpu").expect_err("not listed").code, "ENOENT");
    }

    #[test]
    fn the_bits_of_a_field_need_not_be_adjacent() {
        assert_eq!(place("config:0-7,32-35", 0xabc), Some(0xa_0000_00bc));
        assert_eq!(place("config:0-7,32-35", 0x1abc), None);
        assert_eq!(place("config:0-63", u64::MAX), Some(u64::MAX));
        assert_eq!(place("config1:0-7", 1), None, "only config is used");
        assert_eq!(place("config:7-0", 1), None);
    }
}
