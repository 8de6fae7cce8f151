//! The source: the processor and its sockets.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use kernel::File;
use naming::{Family, Label};
use reading::{Backend, Fault, Found, Identity, Labels, Lost, Prior, Session, Source, Unavailable};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use source::Info;

use crate::{
    cpu::{self, Cpu},
    perf::{Kernel, Shared},
    sampler::{SocketConfig, SocketSampler},
    simulated::{self, Counters},
    topology,
};

/// The sockets of a Xeon.
pub struct AmxSource {
    /// Root of sysfs.
    pub sysfs: PathBuf,
    /// Whether each core has its own series.
    pub per_core: bool,
}

impl Source for AmxSource {
    fn family(&self) -> Family {
        Family::Amx
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        let simulated = source::simulated::in_sysfs(&self.sysfs);
        let (cpu, perf): (Cpu, Shared) = match &simulated {
            None => {
                raise_open_files();
                (Cpu::decode(cpu::cpuid), Arc::new(Kernel))
            }
            Some(machine) => {
                let folder = machine.folder.join("perf");
                let cpu = simulated::cpu(&folder)
                    .map_err(|error| Unavailable(format!("{}: {error}", folder.display())))?;
                (cpu, Arc::new(Counters(folder)))
            }
        };
        usable(&cpu)?;
        let backend = Backend {
            library: self.sysfs.join("devices/system/cpu").display().to_string(),
            version: describe(&cpu),
            simulated: simulated.map(|machine| machine.name),
        };
        Ok(Box::new(AmxSession { sysfs: self.sysfs.clone(), per_core: self.per_core, backend, cpu, perf }))
    }
}

/// Whether this source reads a processor.
fn usable(cpu: &Cpu) -> Result<(), Unavailable> {
    let what = describe(cpu);
    let why = if cpu.vendor.is_empty() {
        "this machine has no CPUID; this source reads Intel Xeons only".to_owned()
    } else if cpu.vendor != "GenuineIntel" {
        format!("{what}: not an Intel processor, so it has no AMX; this source reads Intel Xeons only")
    } else if cpu.hybrid {
        format!("{what}: a hybrid processor, which has no AMX; this source reads Intel Xeons only")
    } else {
        return Ok(());
    };
    Err(Unavailable(why))
}

/// A processor in one line, for people.
fn describe(cpu: &Cpu) -> String {
    let amx = if cpu.amx { cpu.amx_types.join(" ") } else { "no AMX".to_owned() };
    let place = if cpu.guest { ", in a virtual machine" } else { "" };
    format!("{} family {} model {:#x}, {amx}{place}", cpu.vendor, cpu.family, cpu.model)
}

/// Labels of `accel_device_info`; what is not known is left out.
fn info(cpu: &Cpu, sysfs: &Path) -> Labels {
    let features = if cpu.amx { format!("amx_tile,{}", cpu.amx_types.join(",")) } else { String::new() };
    let microcode =
        File::called(sysfs.join("devices/system/cpu/cpu0/microcode/version"), "microcode/version");
    let facts = [
        (Label::Vendor, "Intel".to_owned()),
        (Label::Model, cpu.brand.clone()),
        (Label::Architecture, cpu.known().map_or("", |model| model.architecture).to_owned()),
        (Label::FirmwareVersion, microcode.text().unwrap_or_default()),
        (Label::Features, features),
    ];
    Labels::Shared(facts.into_iter().filter(|(_, value)| !value.is_empty()).collect())
}

/// Raises the limit of open files: events are files, four per CPU, on a large machine more than the usual
/// 1024.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If that fails, events beyond the limit have the fault EMFILE.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

struct AmxSession {
    sysfs: PathBuf,
    per_core: bool,
    backend: Backend,
    cpu: Cpu,
    perf: Shared,
}

impl Session for AmxSession {
    fn backend(&self) -> &Backend {
        &self.backend
    }

    fn devices(&mut self, _prior: &Prior) -> Result<Vec<Found>, Lost> {
        let sockets = topology::sockets(&self.sysfs).map_err(Lost::Device)?;
        Ok(sockets.into_keys().map(|socket| self.found(socket)).collect())
    }
}

impl AmxSession {
    fn found(&self, number: u32) -> Found {
        let device = format!("socket{number}");
        let identity = Arc::new(Identity {
            vendor: vec![("device", device.clone())],
            ..Identity::new(Family::Amx, device.clone())
        });
        let (perf, cpu) = (Arc::clone(&self.perf), self.cpu.clone());
        let (sysfs, per_core, labels) = (self.sysfs.clone(), self.per_core, Arc::clone(&identity));
        let open = move || {
            let facts = (cpu.clone(), sysfs.clone());
            let info = Info::new(move || info(&facts.0, &facts.1));
            let amx_missing = cpu.amx_missing().map_err(|code| Fault::new("cpuid", code));
            let socket = SocketConfig { sysfs, number, identity: labels, amx_missing, info, per_core };
            Ok(Box::new(SocketSampler::new(socket, &perf, &cpu)) as _)
        };
        Found { key: device, address: None, identity, open: Box::new(open) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_processors_are_refused_with_a_reason() {
        let intel = Cpu { vendor: "GenuineIntel".to_owned(), family: 6, model: 0xad, ..Cpu::default() };
        let amd =
            Cpu { vendor: "AuthenticAMD".to_owned(), family: 26, model: 2, guest: true, ..Cpu::default() };
        let client = Cpu { hybrid: true, model: 0xbd, ..intel.clone() };
        let why = |cpu: &Cpu| usable(cpu).err().map(|why| why.0).unwrap_or_default();
        assert_eq!(why(&intel), "", "a Xeon without AMX has RAPL and throttling all the same");
        assert!(
            why(&amd)
                .starts_with("AuthenticAMD family 26 model 0x2, no AMX, in a virtual machine: not an Intel")
        );
        assert!(why(&client).contains("hybrid"));
        assert!(why(&Cpu::default()).contains("no CPUID"));
    }
}
