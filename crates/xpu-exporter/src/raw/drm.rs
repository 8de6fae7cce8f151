//! Size and use of a card's video memory: the memory-region queries of the xe and i915 render nodes.
//!
//! Both drivers return a head, which begins with the count, and then the regions.

use std::{
    ffi::{c_int, c_void},
    fs::File,
    io,
    os::fd::AsRawFd,
    path::Path,
};

use drm_sys::{i915, xe};
use reading::{Fault, FaultCode, Measured};

/// Far more than a card returns: it has two regions, and one more for each further tile.
const REPLY_BYTES_MAX: u32 = 64 * 1024;

/// The driver of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// `xe`.
    Xe,
    /// `i915`.
    I915,
}

impl Driver {
    /// The module's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xe => "xe",
            Self::I915 => "i915",
        }
    }

    const fn call(self) -> &'static str {
        match self {
            Self::Xe => "DRM_XE_DEVICE_QUERY_MEM_REGIONS",
            Self::I915 => "DRM_I915_QUERY_MEMORY_REGIONS",
        }
    }
}

/// Video memory of a card, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoMemory {
    /// All of it.
    pub total: u64,
    /// How much of it is allocated, if the driver reports that to this process.
    pub used: Measured<u64>,
}

/// Queries a render node. Wakes the card.
///
/// # Errors
/// What is missing (the node, its group, video memory), or the error that the driver returned.
pub fn video_memory(driver: Driver, node: &Path) -> Measured<VideoMemory> {
    let call = driver.call();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => Fault::new(call, FaultCode::NeedsGroupRender),
        _ => kernel::file::fault(call, &error),
    };
    let file = File::options().read(true).write(true).open(node).map_err(failed)?;
    let reply = match driver {
        Driver::Xe => query_xe(&file),
        Driver::I915 => query_i915(&file),
    };
    parse(driver, &reply.map_err(failed)?)
}

fn query_xe(node: &File) -> io::Result<Vec<u8>> {
    let mut query = xe::Query { query: xe::MEMORY_REGIONS, ..xe::Query::default() };
    ioctl(node, xe::QUERY, &mut query)?;
    let mut reply = vec![0; query.size.min(REPLY_BYTES_MAX) as usize];
    query.data = reply.as_mut_ptr() as u64;
    // With a buffer and its exact size, the driver fills it; it writes no more than `size`.
    query.size = query.size.min(REPLY_BYTES_MAX);
    ioctl(node, xe::QUERY, &mut query)?;
    Ok(reply)
}

fn query_i915(node: &File) -> io::Result<Vec<u8>> {
    let mut item = i915::Item { query: i915::MEMORY_REGIONS, ..i915::Item::default() };
    let mut query = i915::Query { count: 1, flags: 0, items: (&raw mut item) as u64 };
    ioctl(node, i915::QUERY, &mut query)?;
    let length = i915_length(item.length)?;
    let mut reply = vec![0; length];
    item.data = reply.as_mut_ptr() as u64;
    query.items = (&raw mut item) as u64;
    ioctl(node, i915::QUERY, &mut query)?;
    i915_length(item.length)?;
    Ok(reply)
}

/// i915 returns the error of an item as a negative length.
fn i915_length(length: i32) -> io::Result<usize> {
    match usize::try_from(length) {
        Ok(length) => Ok(length.min(REPLY_BYTES_MAX as usize)),
        Err(_) => Err(io::Error::from_raw_os_error(-length)),
    }
}

fn ioctl<T>(node: &File, request: u64, argument: &mut T) -> io::Result<()> {
    let argument: *mut c_void = std::ptr::from_mut(argument).cast();
    // SAFETY: `request` carries the size and direction of `T`, which the kernel checks against the node's
    // driver; every address inside `T` is null or of a live buffer at least as long as the size beside it.
    let returned: c_int = unsafe { libc::ioctl(node.as_raw_fd(), request as _, argument) };
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Adds up the regions of video memory.
fn parse(driver: Driver, reply: &[u8]) -> Measured<VideoMemory> {
    let call = driver.call();
    let layout = match driver {
        Driver::Xe => xe::LAYOUT,
        Driver::I915 => i915::LAYOUT,
    };
    let count = number(reply, 0, 4).ok_or(Fault::new(call, FaultCode::Short))?;
    let count = usize::try_from(count).map_err(|_| Fault::new(call, FaultCode::Garbage))?;
    let regions = reply.get(layout.head..).unwrap_or_default().chunks_exact(layout.region);
    if regions.len() < count {
        return Err(Fault::new(call, FaultCode::Short));
    }
    let mut memory = (0u64, 0u64);
    for region in regions.take(count) {
        if number(region, layout.class, 2) != Some(layout.video_memory.into()) {
            continue;
        }
        let at = |offset| number(region, offset, 8).unwrap_or(0);
        let (total, used) = match driver {
            Driver::Xe => (at(layout.total), Some(at(layout.rest))),
            Driver::I915 => (at(layout.total), at(layout.total).checked_sub(at(layout.rest))),
        };
        let used = used.filter(|used| *used <= total).ok_or(Fault::new(call, FaultCode::SizesDisagree))?;
        memory = (memory.0.saturating_add(total), memory.1.saturating_add(used));
    }
    match memory {
        (0, _) => Err(Fault::new(call, FaultCode::NoVideoMemory)),
        // The driver itself always uses some. Without the capability 0 is reported, by i915 on every kernel.
        (total, 0) => Ok(VideoMemory { total, used: Err(Fault::new(call, FaultCode::NeedsCapPerfmon)) }),
        (total, used) => Ok(VideoMemory { total, used: Ok(used) }),
    }
}

/// A little-endian number of `len` bytes; both drivers run on little-endian machines only.
fn number(bytes: &[u8], offset: usize, len: usize) -> Option<u64> {
    let field = bytes.get(offset..offset + len)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::{Driver, parse, video_memory};

    const GIB: u64 = 1 << 30;

    /// A reply with one region per `(class, first number, second number)`.
    fn reply(head: usize, regions: &[(u16, u64, u64)]) -> Vec<u8> {
        let mut bytes = vec![0; head];
        bytes[0] = u8::try_from(regions.len()).expect("few");
        for (class, first, second) in regions {
            let mut region = vec![0; 88];
            region[..2].copy_from_slice(&class.to_le_bytes());
            region[8..16].copy_from_slice(&first.to_le_bytes());
            region[16..24].copy_from_slice(&second.to_le_bytes());
            bytes.extend(region);
        }
        bytes
    }

    #[test]
    fn video_memory_is_added_up_and_what_cannot_be_true_is_absent() {
        let used = |driver, bytes: &[u8]| {
            let memory = parse(driver, bytes).map_err(|fault| fault.code.name())?;
            Ok((memory.total, memory.used.map_err(|fault| fault.code.name())))
        };
        let xe = reply(8, &[(0, 64 * GIB, 9), (1, 24 * GIB, 3 * GIB)]);
        assert_eq!(used(Driver::Xe, &xe), Ok((24 * GIB, Ok(3 * GIB))));
        let tiles = reply(8, &[(1, GIB, 1), (1, GIB, 2)]);
        assert_eq!(used(Driver::Xe, &tiles), Ok((2 * GIB, Ok(3))));
        let old = reply(8, &[(1, 24 * GIB, 0)]);
        assert_eq!(used(Driver::Xe, &old), Ok((24 * GIB, Err("needs_cap_perfmon"))));
        let i915 = reply(16, &[(1, 16 * GIB, 15 * GIB)]);
        assert_eq!(used(Driver::I915, &i915), Ok((16 * GIB, Ok(GIB))));
        let blind = reply(16, &[(1, 16 * GIB, 16 * GIB)]);
        assert_eq!(used(Driver::I915, &blind), Ok((16 * GIB, Err("needs_cap_perfmon"))));
        assert_eq!(used(Driver::Xe, &reply(8, &[(0, GIB, 5)])), Err("no_video_memory"));
        assert_eq!(used(Driver::Xe, &reply(8, &[(1, GIB, 2 * GIB)])), Err("sizes_disagree"));
        assert_eq!(used(Driver::Xe, &xe[..100]), Err("short"));
        assert_eq!(used(Driver::Xe, &[]), Err("short"));
    }

    #[test]
    fn a_file_that_is_not_a_node_is_reported_by_its_errno() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for driver in [Driver::Xe, Driver::I915] {
            let fault = video_memory(driver, file.path()).expect_err("not a render node");
            assert_eq!(fault.code, "ENOTTY", "{fault}");
        }
    }
}
