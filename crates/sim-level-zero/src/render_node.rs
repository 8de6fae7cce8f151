//! Render nodes that are plain files: `ioctl`, for a program that has this library preloaded (`LD_PRELOAD`).
//!
//! The memory-region queries of xe and i915 on a file that the simulated machine wrote are answered from it, by the
//! kernel's protocol: first the length, then as much. Every other call goes to the kernel.

use std::{
    ffi::{c_int, c_ulong, c_void},
    fs::File,
    mem::ManuallyDrop,
    os::{
        fd::{FromRawFd as _, RawFd},
        unix::fs::FileExt as _,
    },
};

use sim::xpu::NODE_MAGIC;

/// `DRM_IOCTL_XE_DEVICE_QUERY`, and its query for memory regions.
const XE_QUERY: c_ulong = 0xc028_6440;
const XE_MEMORY_REGIONS: u32 = 1;
/// `DRM_IOCTL_I915_QUERY`, and its query for memory regions.
const I915_QUERY: c_ulong = 0xc010_6479;
const I915_MEMORY_REGIONS: u64 = 4;

/// The part of `struct drm_xe_device_query` that is used.
#[repr(C)]
struct XeQuery {
    extensions: u64,
    query: u32,
    size: u32,
    data: *mut u8,
}

/// `struct drm_i915_query`.
#[repr(C)]
struct I915Query {
    items: u32,
    flags: u32,
    item: *mut I915Item,
}

/// `struct drm_i915_query_item`.
#[repr(C)]
struct I915Item {
    query: u64,
    length: i32,
    flags: u32,
    data: *mut u8,
}

/// `ioctl` as libc declares it: on Linux the third argument is passed alike whether or not it is variadic.
#[unsafe(no_mangle)]
unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    let answered = match request {
        // SAFETY: the request says that the argument is this struct, which the caller owns.
        XE_QUERY => simulated(fd).map(|answer| unsafe { xe(&answer, argument.cast()) }),
        // SAFETY: as above.
        I915_QUERY => simulated(fd).map(|answer| unsafe { i915(&answer, argument.cast()) }),
        _ => None,
    };
    match answered {
        Some(Ok(())) => 0,
        Some(Err(error)) => {
            // SAFETY: libc's own place for the calling thread's error number.
            let errno = unsafe { libc::__errno_location() };
            // SAFETY: as above; it is always valid.
            unsafe { errno.write(error) };
            -1
        }
        // SAFETY: the caller's own arguments, unchanged.
        None => (unsafe { libc::syscall(libc::SYS_ioctl, fd, request, argument) }) as c_int,
    }
}

/// What the node answers, if it is one of ours.
fn simulated(fd: RawFd) -> Option<Vec<u8>> {
    // SAFETY: the caller has the file open during the call, and it is not closed here.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    let mut content = vec![0; 4096];
    let length = file.read_at(&mut content, 0).ok()?;
    content.truncate(length);
    Some(content.strip_prefix(NODE_MAGIC)?.to_vec())
}

/// # Safety
/// `query` is null or points to the caller's struct, whose data is null or as long as its size says.
unsafe fn xe(answer: &[u8], query: *mut XeQuery) -> Result<(), c_int> {
    // SAFETY: the caller's promise.
    let query = unsafe { query.as_mut() }.ok_or(libc::EFAULT)?;
    if query.query != XE_MEMORY_REGIONS || query.extensions != 0 {
        return Err(libc::EINVAL);
    }
    if query.size == 0 {
        query.size = answer.len() as u32;
        return Ok(());
    }
    // SAFETY: the caller's promise.
    unsafe { copy(answer, query.data, query.size as usize) }
}

/// # Safety
/// `query` is null or points to the caller's struct, whose item's data is null or as long as its length says.
unsafe fn i915(answer: &[u8], query: *mut I915Query) -> Result<(), c_int> {
    // SAFETY: the caller's promise.
    let query = unsafe { query.as_mut() }.ok_or(libc::EFAULT)?;
    if query.items != 1 || query.flags != 0 {
        return Err(libc::EINVAL);
    }
    // SAFETY: the caller's promise.
    let item = unsafe { query.item.as_mut() }.ok_or(libc::EFAULT)?;
    if item.query != I915_MEMORY_REGIONS || item.flags != 0 {
        item.length = -libc::EINVAL;
        return Ok(());
    }
    if item.length == 0 {
        item.length = answer.len() as i32;
        return Ok(());
    }
    // SAFETY: the caller's promise.
    unsafe { copy(answer, item.data, item.length as usize) }
}

/// # Safety
/// `data` is null or has room for `size` bytes.
unsafe fn copy(answer: &[u8], data: *mut u8, size: usize) -> Result<(), c_int> {
    if size != answer.len() || data.is_null() {
        return Err(libc::EINVAL);
    }
    // SAFETY: the caller's promise, and the two are of one length and do not overlap.
    unsafe { data.copy_from_nonoverlapping(answer.as_ptr(), size) };
    Ok(())
}
