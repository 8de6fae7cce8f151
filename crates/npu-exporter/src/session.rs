//! The source: the driver `intel_vpu` and the NPUs that it has bound.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use kernel::{File, entries, open_files::device_number, pci::Function};
use naming::{Family, Label};
use reading::{Alias, Backend, Found, Identity, Labels, Lost, Prior, Session, Source, Unavailable};
use source::{Info, Opened, Parts, SourceSpec};

use crate::{part, raw::Files, sampler::NpuSampler};

/// The kernel driver. NPUs are found by it, since the class `accel` has devices of other vendors too.
pub const DRIVER: &str = "intel_vpu";

/// This source for the command line.
pub const SPEC: SourceSpec = SourceSpec {
    family: Family::Npu,
    about: "Intel NPUs through sysfs and PMT telemetry",
    args: |command| command,
    open: |_, common| {
        let source = NpuSource { sysfs: common.sysfs.clone() };
        Ok(Opened { parts: Parts::Kernel(Box::new(source)), filters: Vec::new() })
    },
};

/// The driver below a root of sysfs.
pub struct NpuSource {
    /// Root of sysfs.
    pub sysfs: PathBuf,
}

impl Source for NpuSource {
    fn family(&self) -> Family {
        Family::Npu
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        let driver = self.sysfs.join("bus/pci/drivers").join(DRIVER);
        if !driver.exists() {
            return Err(Unavailable(format!(
                "{}: no such driver; load {DRIVER} (Linux 6.3 or later, and an Intel NPU)",
                driver.display()
            )));
        }
        let version = module_version(&self.sysfs).unwrap_or_else(|| "version unknown".to_owned());
        let backend = Backend {
            library: driver.display().to_string(),
            version: format!("{DRIVER} {version}"),
            simulated: source::simulated::in_sysfs(&self.sysfs).map(|machine| machine.name),
        };
        Ok(Box::new(NpuSession { sysfs: self.sysfs.clone(), backend }))
    }
}

struct NpuSession {
    sysfs: PathBuf,
    backend: Backend,
}

impl Session for NpuSession {
    fn backend(&self) -> &Backend {
        &self.backend
    }

    fn devices(&mut self, _prior: &Prior) -> Result<Vec<Found>, Lost> {
        let functions = Function::driven_by(&self.sysfs, DRIVER);
        Ok(functions.into_iter().map(|function| found(&self.sysfs, function)).collect())
    }
}

/// An NPU is called by its PCI address, which is the same after each boot and when another NPU is gone.
fn found(sysfs: &Path, function: Function) -> Found {
    let key = function.address.clone();
    let identity = Arc::new(Identity {
        vendor: vec![("device", key.clone())],
        aliases: aliases(&function),
        ..Identity::new(Family::Npu, key.clone())
    });
    let (sysfs, labels) = (sysfs.to_owned(), Arc::clone(&identity));
    let open = move || {
        let files = Files::new(&sysfs, function.clone());
        let info = Info::new(move || info(&sysfs, &function));
        Ok(Box::new(NpuSampler::new(files, labels, info)) as _)
    };
    Found { address: Some(key.clone()), key, identity, open: Box::new(open) }
}

/// What device plugin and DRA driver call it, and its node, which is open in the processes that work on it.
fn aliases(function: &Function) -> Vec<Alias> {
    let node = accel_node(function);
    let path = node.as_ref().map(|node| Alias::Node(format!("/dev/accel/{node}")));
    let number = node.as_ref().and_then(|node| device_number(&function.folder.join("accel").join(node)).ok());
    let ids = function.resource_name().into_iter().chain(node).map(Alias::Id);
    ids.chain(path).chain(number.map(Alias::Opened)).collect()
}

/// Labels of `accel_device_info`; what the kernel does not report is left out.
fn info(sysfs: &Path, function: &Function) -> Labels {
    let part = function.device().map(part::of_device).ok();
    let debug = sysfs.join("kernel/debug/accel").join(&function.address);
    let facts = [
        (Label::Vendor, "Intel".to_owned()),
        (Label::Model, part.map(|part| part.name.to_owned()).unwrap_or_default()),
        (Label::Architecture, part.map(|part| part.architecture.to_owned()).unwrap_or_default()),
        (Label::PciBusId, function.address.clone()),
        (Label::AccelNode, accel_node(function).unwrap_or_default()),
        (Label::DriverVersion, module_version(sysfs).unwrap_or_default()),
        (Label::FirmwareVersion, File::new(&debug, "fw_version").text().unwrap_or_default()),
        (Label::RatedTops, part.and_then(|part| part.tops).map(|tops| tops.to_string()).unwrap_or_default()),
        (Label::SchedMode, File::new(&function.folder, "sched_mode").text().unwrap_or_default()),
    ];
    Labels::Shared(facts.into_iter().filter(|(_, value)| !value.is_empty()).collect())
}

/// The kernel's name of its node: `accel0`.
fn accel_node(function: &Function) -> Option<String> {
    let names = entries(&function.folder.join("accel"));
    names
        .into_iter()
        .find(|name| name.strip_prefix("accel").is_some_and(|number| number.parse::<u32>().is_ok()))
}

fn module_version(sysfs: &Path) -> Option<String> {
    File::called(sysfs.join("module").join(DRIVER).join("version"), "module/version").text().ok()
}
