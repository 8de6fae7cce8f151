//! The families. Each has a module with its row: what differs between families wherever all of them are
//! named, and where each of its metrics is read.

use std::fmt;

use crate::{Id, Label, Metric};

mod amx;
mod gaudi;
mod npu;
mod nvidia;
mod xpu;

/// PCI functions of one vendor and some device classes, and the drivers that make them a family's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciMatch {
    /// PCI vendor id.
    pub vendor: u16,
    /// The upper 16 bits of the PCI class code: 0x0300 VGA controller, 0x0302 3D controller, 0x0380 other
    /// display controller, 0x1200 processing accelerator.
    pub classes: &'static [u16],
    /// The family's kernel drivers, as `bus/pci/drivers` names them. What another driver has bound is not the
    /// family's at present; for instance, it is a guest's.
    pub drivers: &'static [&'static str],
}

/// What a vendor's own exporter says of the pods and jobs that hold its devices, on the series of those devices.
#[derive(Clone, Copy, Debug)]
pub struct HolderNames {
    /// Labels of `accel_workload_info`, each with the name that the vendor's exporter gives it.
    pub labels: &'static [(Label, &'static str)],
    /// The metric about the pod in which the exporter itself runs, and its labels with the environment variables that
    /// have their values.
    pub own_pod: Option<OwnPod>,
}

/// A metric that is always 1, and its labels with the environment variables that have their values.
pub type OwnPod = (Id, &'static [(&'static str, &'static str)]);

impl HolderNames {
    /// Of a vendor without an exporter of its own.
    const NONE: Self = Self { labels: &[], own_pod: None };
}

/// PCI vendor id of Intel.
const INTEL: u16 = 0x8086;

/// What a family's module says of it.
struct Row {
    /// The label value.
    name: &'static str,
    /// The `device` label of the first device.
    first_device: &'static str,
    /// The rule file with the family's own rules, without its extension.
    rule_file: &'static str,
    /// How its devices show on the PCI bus; `None` for one that is not on it.
    pci: Option<PciMatch>,
    /// Who hands its devices out to pods: the domains of device plugins' resources, and names of DRA drivers.
    allocators: &'static [&'static str],
    /// What the vendor's own exporter says of holders.
    holders: HolderNames,
    /// Its metrics in catalogue order, each with the calls or files that it is read from.
    sources: &'static [(Id, &'static str)],
}

macro_rules! families {
    ($($(#[$doc:meta])* $variant:ident: $module:ident;)*) => {
        /// A kind of silicon; also the value of the `family` label and the name of its source.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Family {
            $($(#[$doc])* $variant),*
        }

        const ROWS: &[Row] = &[$($module::ROW),*];

        impl Family {
            /// Every family, in the order of documents and tables.
            pub const ALL: [Self; ROWS.len()] = [$(Self::$variant),*];

            /// The label value of every family.
            pub(crate) const NAMES: [&str; ROWS.len()] = [$($module::ROW.name),*];
        }
    };
}

families! {
    /// NVIDIA GPUs through NVML.
    Nvidia: nvidia;
    /// Intel Gaudi through HLML.
    Gaudi: gaudi;
    /// Intel GPUs through the kernel and Level Zero Sysman.
    Xpu: xpu;
    /// Intel NPUs through sysfs.
    Npu: npu;
    /// Xeon AMX and its socket through perf and RAPL.
    Amx: amx;
}

impl Family {
    const fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The label value.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The `device` label of the family's first device.
    pub const fn first_device(self) -> &'static str {
        self.row().first_device
    }

    /// The rule file with the family's own rules, without its extension.
    pub const fn rule_file(self) -> &'static str {
        self.row().rule_file
    }

    /// How the family's devices show on the PCI bus; `None` for one that is not on it.
    pub const fn pci(self) -> Option<PciMatch> {
        self.row().pci
    }

    /// The family whose devices a resource of a device plugin (`gpu.intel.com/xe`) or a driver of DRA hands out.
    pub fn of_allocator(name: &str) -> Option<Self> {
        let (domain, resource) = name.split_once('/').unwrap_or((name, ""));
        // Such a resource gives sight of all devices, and hands none out.
        let is_monitor = resource.ends_with("monitoring");
        let hands_out = |family: &Self| !is_monitor && family.row().allocators.contains(&domain);
        Self::ALL.into_iter().find(hands_out)
    }

    /// What the vendor's own exporter says of the holders of its devices.
    pub const fn holder_names(self) -> &'static HolderNames {
        &self.row().holders
    }

    /// The metrics that the family reads, in catalogue order, each with the calls or files that it is read
    /// from.
    pub(crate) const fn sources(self) -> &'static [(Id, &'static str)] {
        self.row().sources
    }
}

impl Metric {
    /// The calls or files that a family reads it from; `None` when the family does not read it.
    pub fn source(&self, family: Family) -> Option<&'static str> {
        let row = family.sources().iter().find(|(id, _)| std::ptr::eq(id.metric(), self));
        row.map(|(_, source)| *source)
    }

    /// The families that read it, with the calls or files that each reads it from.
    pub fn sources(&self) -> impl Iterator<Item = (Family, &'static str)> {
        Family::ALL.into_iter().filter_map(|family| Some((family, self.source(family)?)))
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Family;

    #[test]
    fn who_hands_devices_out_belongs_to_one_family() {
        let cases = [
            ("nvidia.com/gpu", Some(Family::Nvidia)),
            ("nvidia.com/mig-1g.10gb.shared", Some(Family::Nvidia)),
            ("gpu.nvidia.com", Some(Family::Nvidia)),
            ("gpu.intel.com/xe", Some(Family::Xpu)),
            ("gpu.intel.com/i915", Some(Family::Xpu)),
            ("gpu.intel.com", Some(Family::Xpu)),
            ("npu.intel.com/accel", Some(Family::Npu)),
            ("habana.ai/gaudi", Some(Family::Gaudi)),
            ("gaudi.intel.com", Some(Family::Gaudi)),
            ("gpu.intel.com/xe_monitoring", None),
            ("gpu.intel.com/monitoring", None),
            ("gpu.amd.com", None),
            ("example.com/nvidia.com", None),
            ("", None),
        ];
        for (name, family) in cases {
            assert_eq!(Family::of_allocator(name), family, "{name}");
        }
        let all: Vec<_> = Family::ALL.iter().flat_map(|family| family.row().allocators).collect();
        assert!(all.iter().all(|one| all.iter().filter(|other| *other == one).count() == 1), "{all:?}");
    }
}
