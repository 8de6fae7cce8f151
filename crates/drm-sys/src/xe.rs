//! `drm/xe_drm.h`: memory regions of a GPU with the driver xe.

use std::mem::offset_of;

use crate::RegionLayout;

/// What is used of [`Regions`] and [`Region`].
pub const LAYOUT: RegionLayout = RegionLayout {
    head: size_of::<Regions>(),
    region: size_of::<Region>(),
    class: offset_of!(Region, class),
    total: offset_of!(Region, total),
    rest: offset_of!(Region, used),
    video_memory: VIDEO_MEMORY,
};

crate::abi! {
    const QUERY: u64 = 0xc028_6440 as "DRM_IOCTL_XE_DEVICE_QUERY";
    const MEMORY_REGIONS: u32 = 1 as "DRM_XE_DEVICE_QUERY_MEM_REGIONS";
    const VIDEO_MEMORY: u16 = 1 as "DRM_XE_MEM_REGION_CLASS_VRAM";

    /// The argument of [`QUERY`]: without a buffer the driver sets `size`, with one of that size it fills it.
    struct Query as "struct drm_xe_device_query" {
        extensions: u64 as "extensions",
        query: u32 as "query",
        size: u32 as "size",
        data: u64 as "data",
        reserved: [u64; 2] as "reserved",
    }

    /// The head of what [`MEMORY_REGIONS`] returns; [`Region`]s follow.
    struct Regions as "struct drm_xe_query_mem_regions" {
        count: u32 as "num_mem_regions",
        pad: u32 as "pad",
    }

    /// One memory region; bytes.
    struct Region as "struct drm_xe_mem_region" {
        class: u16 as "mem_class",
        instance: u16 as "instance",
        min_page: u32 as "min_page_size",
        total: u64 as "total_size",
        used: u64 as "used",
        visible_total: u64 as "cpu_visible_size",
        visible_used: u64 as "cpu_visible_used",
        reserved: [u64; 6] as "reserved",
    }
}
