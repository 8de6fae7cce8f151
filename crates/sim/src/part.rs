//! A part of a machine that the kernel alone shows: its table of the machine file, its cycle, its clock and
//! the control file.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::conditions::Faults;
use crate::control::{Control, ControlFile, DriverState};
use crate::cycle::{Channel, Cycle, Silicon};
use crate::kernel::Files;
use crate::live::Options;
use crate::profile::{self, Clocks, Power, Section, Thermal};

/// What the coupled model needs to know, as a machine file says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Physics {
    /// Power draw and limits.
    pub power: Power,
    /// Heat.
    pub thermal: Thermal,
    /// Clocks.
    pub clocks: Clocks,
}

/// An open part.
pub struct Part<T> {
    /// Name or path of the machine.
    pub machine: String,
    /// The family's own table.
    pub facts: T,
    /// The kernel's release; 0.0 where the machine names none.
    pub release: (u32, u32),
    boot: f64,
    built_in: Control,
    control: Control,
    faults: Faults,
    file: Option<ControlFile>,
    clock: Clock,
    cycle: Cycle,
}

impl<T: DeserializeOwned> Part<T> {
    /// Opens the part that the table `key` of a machine file describes; `None` when the machine has none.
    ///
    /// # Errors
    /// Those of [`profile::section`].
    pub fn open(
        options: &Options,
        key: &str,
        physics: fn(&T) -> &Physics,
    ) -> Result<Option<Self>, profile::Error> {
        let Some(Section { boot, driver, control, facts }) = profile::section::<T>(&options.machine, key)?
        else {
            return Ok(None);
        };
        let Physics { power, thermal, clocks } = physics(&facts).clone();
        let silicon =
            Silicon { power, thermal, clocks, pcie_bytes_per_second: 0.0, fabric_bytes_per_second: 0.0 };
        Ok(Some(Self {
            machine: options.machine.clone(),
            cycle: Cycle::new(&silicon, options.workload, options.seed),
            facts,
            release: driver.map_or((0, 0), |driver| driver.release()),
            boot,
            faults: Faults::new(&control.fault, boot)
                .map_err(|reason| profile::Error::Invalid { name: options.machine.clone(), reason })?,
            control: control.clone(),
            built_in: control,
            file: options.control.clone().map(ControlFile::new),
            clock: options.clock,
        }))
    }
}

impl<T> Part<T> {
    /// The time now, unix seconds, after a look at the control file. One that cannot be used leaves the last
    /// good one in force, with a line on standard error.
    pub fn now(&mut self) -> f64 {
        if let Some((file, read)) = self.file.as_ref().and_then(|file| Some((file, file.read_if_changed()?)))
        {
            let checked = read.and_then(|control| {
                let control = self.built_in.overlaid(&control);
                Ok((Faults::new(&control.fault, self.boot)?, control))
            });
            match checked {
                Ok((faults, control)) => (self.faults, self.control) = (faults, control),
                Err(reason) => eprintln!("accelsim: {}: {reason}", file.path().display()),
            }
        }
        self.clock.now()
    }

    /// What is wrong with the machine.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Applies the faults that name a file and no device.
    pub fn afflict(&self, files: &mut Files, now: f64) {
        files.afflict(|name| self.faults.effect_on_file(name, None, now));
    }

    /// Whether the driver is loaded.
    pub fn is_driven(&self) -> bool {
        self.control.driver != Some(DriverState::Unloaded)
    }

    /// When the driver was loaded, unix seconds.
    pub fn driven_since(&self) -> f64 {
        self.control.driver_loaded_at.unwrap_or(self.boot)
    }

    /// The channel's level.
    pub fn level(&self, channel: Channel, second: f64) -> f64 {
        self.cycle.level(channel, second)
    }

    /// Time since boot, seconds.
    pub fn uptime(&self, second: f64) -> f64 {
        second - self.boot
    }

    /// The channel's integral since boot.
    pub fn since_boot(&self, channel: Channel, second: f64) -> f64 {
        self.cycle.integral(channel, second) - self.cycle.integral(channel, self.boot)
    }

    /// The channel's integral since the driver was loaded.
    pub fn since_driven(&self, channel: Channel, second: f64) -> f64 {
        self.cycle.integral(channel, second) - self.cycle.integral(channel, self.driven_since())
    }
}

#[cfg(test)]
mod tests {
    use super::Part;
    use crate::cycle::{Channel, PERIOD_SECONDS};
    use crate::family::{amx, npu};
    use crate::live::Options;
    use crate::workload::Workload;

    fn stays_within<T: serde::de::DeserializeOwned>(
        machine: &str,
        key: &str,
        physics: fn(&T) -> &super::Physics,
    ) {
        for workload in [Workload::Mixed, Workload::Idle, Workload::Prefill, Workload::Burst, Workload::Hot] {
            let options = Options { machine: machine.to_owned(), workload, ..Options::default() };
            let part = Part::<T>::open(&options, key, physics).expect("it opens").expect("it is there");
            let super::Physics { power, thermal, clocks } = physics(&part.facts);
            for second in 0..PERIOD_SECONDS as u32 {
                let level = |channel| part.level(channel, f64::from(second));
                let watts = level(Channel::Power);
                let range = power.idle_watts - 0.1..=power.limit_watts + 0.1;
                assert!(range.contains(&watts), "{machine} {workload:?} {second}: {watts} W");
                let celsius = level(Channel::GpuTemperature);
                assert!(celsius < f64::from(thermal.shutdown_celsius), "{machine} {workload:?}: {celsius}");
                assert!(level(Channel::SmClock) <= clocks.core_max_megahertz);
            }
        }
    }

    #[test]
    fn every_level_stays_within_what_the_hardware_can_do() {
        for machine in ["nuc-arrow-lake", "nuc-lunar-lake", "nuc-meteor-lake", "nuc-panther-lake"] {
            stays_within(machine, "npu", |facts: &npu::NpuProfile| &facts.physics);
        }
        for machine in ["xeon6-amx", "xeon-sapphire-rapids", "sierra-forest"] {
            stays_within(machine, "amx", |facts: &amx::XeonProfile| &facts.physics);
        }
    }

    #[test]
    fn a_machine_without_the_table_has_no_such_part() {
        let options = Options { machine: "t4-1".to_owned(), ..Options::default() };
        let part = Part::open(&options, "npu", |facts: &npu::NpuProfile| &facts.physics).expect("it opens");
        assert!(part.is_none());
    }
}
