//! `drm/i915_drm.h`: memory regions of a GPU with the driver i915.

use std::mem::offset_of;

use crate::RegionLayout;

/// What is used of [`Regions`] and [`Region`].
pub const LAYOUT: RegionLayout = RegionLayout {
    head: size_of::<Regions>(),
    region: size_of::<Region>(),
    class: offset_of!(Region, class),
    total: offset_of!(Region, total),
    rest: offset_of!(Region, free),
    video_memory: VIDEO_MEMORY,
};

crate::abi! {
    const QUERY: u64 = 0xc010_6479 as "DRM_IOCTL_I915_QUERY";
    const MEMORY_REGIONS: u64 = 4 as "DRM_I915_QUERY_MEMORY_REGIONS";
    const VIDEO_MEMORY: u16 = 1 as "I915_MEMORY_CLASS_DEVICE";

    /// The argument of [`QUERY`].
    struct Query as "struct drm_i915_query" {
        count: u32 as "num_items",
        flags: u32 as "flags",
        items: u64 as "items_ptr",
    }

    /// One question: without a buffer the driver sets `length`, with one of that length it fills it. A
    /// negative length is the item's error.
    struct Item as "struct drm_i915_query_item" {
        query: u64 as "query_id",
        length: i32 as "length",
        flags: u32 as "flags",
        data: u64 as "data_ptr",
    }

    /// The head of what [`MEMORY_REGIONS`] returns; [`Region`]s follow.
    struct Regions as "struct drm_i915_query_memory_regions" {
        count: u32 as "num_regions",
        reserved: [u32; 3] as "rsvd",
    }

    /// One memory region; bytes.
    struct Region as "struct drm_i915_memory_region_info" {
        class: u16 as "region.memory_class",
        instance: u16 as "region.memory_instance",
        pad: u32 as "rsvd0",
        total: u64 as "probed_size",
        free: u64 as "unallocated_size",
        reserved: [u64; 8] as "rsvd1",
    }
}
