//! The NPUs that the driver `intel_vpu` binds, by PCI device id (drivers/accel/ivpu/ivpu_drv.h).

/// What is known of a part by its PCI device id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    id: u64,
    /// Name with the SoC's, for people.
    pub name: &'static str,
    /// Its code name.
    pub architecture: &'static str,
    /// Tera-operations per second at int8 that Intel specifies for the generation's fastest NPU, where it has
    /// published a figure.
    pub tops: Option<u32>,
}

const PARTS: [Part; 6] = [
    Part { id: 0x7d1d, name: "Intel NPU (Meteor Lake)", architecture: "meteor-lake", tops: Some(11) },
    Part { id: 0xad1d, name: "Intel NPU (Arrow Lake)", architecture: "arrow-lake", tops: Some(13) },
    Part { id: 0x643e, name: "Intel NPU (Lunar Lake)", architecture: "lunar-lake", tops: Some(48) },
    Part { id: 0xb03e, name: "Intel NPU (Panther Lake)", architecture: "panther-lake", tops: Some(50) },
    Part { id: 0xfd3e, name: "Intel NPU (Wildcat Lake)", architecture: "wildcat-lake", tops: None },
    Part { id: 0xd71d, name: "Intel NPU (Nova Lake)", architecture: "nova-lake", tops: None },
];

/// The part with this PCI device id; one that is newer than the table has only a generic name.
pub fn of_device(id: u64) -> Part {
    let unknown = Part { id, name: "Intel NPU", architecture: "", tops: None };
    PARTS.into_iter().find(|part| part.id == id).unwrap_or(unknown)
}
