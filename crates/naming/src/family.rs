//! The families, one row each: what differs between them wherever all of them are named.

use std::fmt;

/// PCI functions of one vendor and some device classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciMatch {
    /// PCI vendor id.
    pub vendor: u16,
    /// The upper 16 bits of the PCI class code (class and subclass).
    pub classes: &'static [u16],
}

macro_rules! families {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $first_device:literal, rules $rules:literal, $pci:expr;)*) => {
        /// A kind of silicon; also the value of the `family` label and the name of its source.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Family {
            $($(#[$doc])* $variant),*
        }

        impl Family {
            /// Every family, in the order of documents and tables.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The label value.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The `device` label of the family's first device.
            pub const fn first_device(self) -> &'static str {
                match self { $(Self::$variant => $first_device),* }
            }

            /// The rule file with the family's own rules, without its extension.
            pub const fn rule_file(self) -> &'static str {
                match self { $(Self::$variant => $rules),* }
            }

            /// How the family's devices show on the PCI bus; `None` for one that is not on it.
            pub const fn pci(self) -> Option<PciMatch> {
                match self { $(Self::$variant => $pci),* }
            }
        }
    };
}

const fn pci(vendor: u16, classes: &'static [u16]) -> PciMatch {
    PciMatch { vendor, classes }
}

const NVIDIA: u16 = 0x10de;
const HABANA: u16 = 0x1da3;
const INTEL: u16 = 0x8086;

// Classes: 0x0300 VGA controller, 0x0302 3D controller, 0x0380 other display controller, 0x1200 processing
// accelerator. An NVIDIA board's audio and USB functions have other classes.
families! {
    /// NVIDIA GPUs through NVML.
    Nvidia = "nvidia", "gpu0", rules "nvidia", Some(pci(NVIDIA, &[0x0300, 0x0302]));
    /// Intel Gaudi through HLML.
    Gaudi = "gaudi", "hpu0", rules "gaudi", Some(pci(HABANA, &[0x1200]));
    /// Intel GPUs through the kernel and Level Zero Sysman.
    Xpu = "xpu", "card0", rules "xpu", Some(pci(INTEL, &[0x0300, 0x0380]));
    /// Intel NPUs through sysfs.
    Npu = "npu", "npu0", rules "edge", Some(pci(INTEL, &[0x1200]));
    /// Xeon AMX and its socket through perf and RAPL.
    Amx = "amx", "socket0", rules "xeon", None;
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
