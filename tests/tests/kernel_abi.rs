//! The kernel's user API as the exporter passes it to `ioctl`, against the kernel's headers.

use std::path::Path;

use anyhow::{Result, ensure};
use drm_sys::{Fact, i915, xe};
use e2e::artefacts::drm_headers;

use crate::c_headers::Headers;

/// A struct's name and size, and name, offset and size of each member; bytes.
type Struct = (&'static str, u64, &'static [(&'static str, u64, u64)]);

/// Numbers and structs of `include/uapi/drm/xe_drm.h` of Linux 6.12, read by hand: neither libdrm nor the
/// kernel of Debian 12 has such a header.
const XE_NUMBERS: &[Fact] = &[
    // _IOWR('d', 0x40, 40 bytes)
    ("DRM_IOCTL_XE_DEVICE_QUERY", 3 << 30 | 40 << 16 | 0x64 << 8 | 0x40),
    ("DRM_XE_DEVICE_QUERY_MEM_REGIONS", 1),
    ("DRM_XE_MEM_REGION_CLASS_VRAM", 1),
];
const XE_STRUCTS: &[Struct] = &[
    (
        "struct drm_xe_device_query",
        40,
        &[("extensions", 0, 8), ("query", 8, 4), ("size", 12, 4), ("data", 16, 8), ("reserved", 24, 16)],
    ),
    ("struct drm_xe_query_mem_regions", 8, &[("num_mem_regions", 0, 4), ("pad", 4, 4)]),
    (
        "struct drm_xe_mem_region",
        88,
        &[
            ("mem_class", 0, 2),
            ("instance", 2, 2),
            ("min_page_size", 4, 4),
            ("total_size", 8, 8),
            ("used", 16, 8),
            ("cpu_visible_size", 24, 8),
            ("cpu_visible_used", 32, 8),
            ("reserved", 40, 48),
        ],
    ),
];

/// The facts that a table read by hand stands for.
fn by_hand() -> Vec<(String, u64)> {
    let numbers = XE_NUMBERS.iter().map(|(name, value)| ((*name).to_owned(), *value));
    let structs = XE_STRUCTS.iter().flat_map(|(name, size, members)| {
        let members = members.iter().flat_map(move |(member, offset, size)| {
            [
                (format!("offsetof({name}, {member})"), *offset),
                (format!("sizeof((({name} *)0)->{member})"), *size),
            ]
        });
        [(format!("sizeof({name})"), *size)].into_iter().chain(members)
    });
    numbers.chain(structs).collect()
}

fn check(header: &str, facts: &[Fact], folder: &Path, at_least: usize) -> Result<()> {
    let mut headers = Headers::new(&[header]);
    headers.equal(facts.iter().copied());
    headers.check(&[folder], at_least)
}

#[test]
fn memory_regions_of_i915_are_those_of_the_header() -> Result<()> {
    check("i915_drm.h", i915::FACTS, &drm_headers()?, 35)
}

#[test]
fn memory_regions_of_xe_are_those_of_the_header() -> Result<()> {
    let folder = drm_headers()?;
    if folder.join("xe_drm.h").exists() {
        return check("xe_drm.h", xe::FACTS, &folder, 35);
    }
    let ours: Vec<_> =
        xe::FACTS.iter().map(|(expression, value)| ((*expression).to_owned(), *value)).collect();
    let wrong: Vec<_> = ours.iter().zip(by_hand()).filter(|(ours, theirs)| *ours != theirs).collect();
    ensure!(wrong.is_empty() && ours.len() == by_hand().len(), "ours and the header's: {wrong:?}");
    Ok(())
}
