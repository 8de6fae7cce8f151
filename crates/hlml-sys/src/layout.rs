//! The layout of HLML's structs in each release (x86-64, System V).

/// A range of releases with the same structs, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// Up to 1.12.
    V1_10,
    /// 1.13 to 1.17: with the maxima of the link and the PCI revision.
    V1_13,
    /// 1.18: with the PCI subsystem.
    V1_18,
    /// From 1.19: eight-digit PCI domains move all later members, and utilization has a second member.
    V1_19,
}

/// The position of a member in its struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub offset: usize,
    /// Length in bytes.
    pub length: usize,
}

/// Name, offset and length of a member, bytes.
pub type Member = (&'static str, usize, usize);

/// The layout of a struct.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// Its name in `hlml.h`.
    pub name: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// Its members; those of a nested struct are written `caps.link_speed`.
    pub members: &'static [Member],
}

impl Layout {
    /// Returns the position of a member; `None` if this release does not have it.
    pub fn span(&self, member: &str) -> Option<Span> {
        let (_, offset, length) = *self.members.iter().find(|(name, ..)| *name == member)?;
        Some(Span { offset, length })
    }
}

/// `hlml_memory_t`, bytes.
pub const MEMORY: Layout =
    Layout { name: "hlml_memory_t", size: 24, members: &[("free", 0, 8), ("total", 8, 8), ("used", 16, 8)] };

/// `hlml_pcb_info_t`.
pub const PCB_INFO: Layout = Layout {
    name: "hlml_pcb_info_t",
    size: 64,
    members: &[("pcb_ver", 0, 32), ("pcb_assembly_ver", 32, 32)],
};

/// `hlml_event_data_t`.
pub const EVENT_DATA: Layout =
    Layout { name: "hlml_event_data_t", size: 16, members: &[("device", 0, 8), ("event_type", 8, 8)] };

const UTILIZATION: [Layout; 2] = [
    Layout { name: "hlml_utilization_t", size: 4, members: &[("aip", 0, 4)] },
    Layout { name: "hlml_utilization_t", size: 8, members: &[("aip", 0, 4), ("memory", 4, 4)] },
];

/// Members of `hlml_pci_info_t` up to 1.18; an older release has a prefix of them.
const PCI_MEMBERS: &[Member] = &[
    ("bus", 0, 4),
    ("bus_id", 4, 15),
    ("device", 20, 4),
    ("domain", 24, 4),
    ("pci_device_id", 28, 4),
    ("caps.link_speed", 32, 10),
    ("caps.link_width", 42, 10),
    ("caps.link_max_speed", 52, 10),
    ("caps.link_max_width", 62, 10),
    ("pci_rev", 72, 4),
    ("pci_subsys_id", 76, 4),
];

const PCI_INFO: [Layout; 4] = [
    Layout { name: "hlml_pci_info_t", size: 52, members: PCI_MEMBERS.split_at(7).0 },
    Layout { name: "hlml_pci_info_t", size: 76, members: PCI_MEMBERS.split_at(10).0 },
    Layout { name: "hlml_pci_info_t", size: 80, members: PCI_MEMBERS },
    Layout {
        name: "hlml_pci_info_t",
        size: 84,
        members: &[
            ("bus", 0, 4),
            ("bus_id", 4, 19),
            ("device", 24, 4),
            ("domain", 28, 4),
            ("pci_device_id", 32, 4),
            ("caps.link_speed", 36, 10),
            ("caps.link_width", 46, 10),
            ("caps.link_max_speed", 56, 10),
            ("caps.link_max_width", 66, 10),
            ("pci_rev", 76, 4),
            ("pci_subsys_id", 80, 4),
        ],
    },
];

/// The PCI address in any `hlml_pci_info_t`: it begins at the same byte in every release, ends with a NUL,
/// and is never longer than this.
pub const BUS_ID: Span = Span { offset: 4, length: 19 };

impl Generation {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V1_10, Self::V1_13, Self::V1_18, Self::V1_19];

    /// Returns the generation for the version that a library reports: the first `major.minor` in the text,
    /// such as `hl-1.22.1-rc` or `1.10.0`. Later releases count as the newest known one.
    pub fn of_version(version: &str) -> Option<Self> {
        let release = version.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|part| {
            let mut numbers = part.split('.').map(str::parse::<u32>);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        })?;
        let first = [(Self::V1_19, (1, 19)), (Self::V1_18, (1, 18)), (Self::V1_13, (1, 13))];
        let found = first.into_iter().find(|(_, first)| release >= *first);
        Some(found.map_or(Self::V1_10, |(generation, _)| generation))
    }

    /// `hlml_pci_info_t`.
    pub const fn pci_info(self) -> &'static Layout {
        &PCI_INFO[self as usize]
    }

    /// `hlml_utilization_t`, percent.
    pub const fn utilization(self) -> &'static Layout {
        &UTILIZATION[if matches!(self, Self::V1_19) { 1 } else { 0 }]
    }

    /// Returns every struct of this generation.
    pub const fn layouts(self) -> [&'static Layout; 5] {
        [self.pci_info(), self.utilization(), &MEMORY, &PCB_INFO, &EVENT_DATA]
    }
}

#[cfg(test)]
mod tests {
    use super::{BUS_ID, Generation};

    #[test]
    fn versions_fall_into_generations() {
        for (version, generation) in [
            ("1.9.0", Some(Generation::V1_10)),
            ("1.10.0-abcdef1", Some(Generation::V1_10)),
            ("1.12.1", Some(Generation::V1_10)),
            ("hl-1.13.0-fw-41.0.0", Some(Generation::V1_13)),
            ("1.17.1", Some(Generation::V1_13)),
            ("1.18.0.524", Some(Generation::V1_18)),
            ("1.19.0", Some(Generation::V1_19)),
            ("libhlml 1.24.2", Some(Generation::V1_19)),
            ("2.0", Some(Generation::V1_19)),
            ("unknown", None),
            ("7", None),
            ("", None),
        ] {
            assert_eq!(Generation::of_version(version), generation, "{version}");
        }
    }

    #[test]
    fn members_lie_within_their_struct_and_do_not_overlap() {
        for generation in Generation::ALL {
            for layout in generation.layouts() {
                let mut end = 0;
                for (member, offset, length) in layout.members {
                    assert!(*offset >= end, "{generation:?} {} {member}", layout.name);
                    end = offset + length;
                }
                assert!(end <= layout.size, "{generation:?} {}", layout.name);
            }
            let bus_id = generation.pci_info().span("bus_id").expect("every release has it");
            assert!(bus_id.offset == BUS_ID.offset && bus_id.length <= BUS_ID.length);
        }
    }
}
