//! Render nodes that are plain files: `ioctl` and `statx`, for a program that has this library preloaded
//! (`LD_PRELOAD`).
//!
//! The memory-region queries of xe and i915 on a file that the simulated machine wrote return what that file
//! holds, by the kernel's protocol: first the length, then as much. Such a file, found behind an entry of a
//! process's `fd` folder, is the character device that its name says. Every other call goes to the kernel.

use std::{
    ffi::{CStr, OsStr, c_char, c_int, c_uint, c_ulong, c_void},
    fs::File,
    mem::ManuallyDrop,
    os::{
        fd::{FromRawFd as _, RawFd},
        unix::{ffi::OsStrExt as _, fs::FileExt as _},
    },
    path::Path,
};

use drm_sys::{i915, xe};
use sim::family::xpu::NODE_MAGIC;

/// `ioctl` as libc declares it: on Linux the third argument is passed alike whether or not it is variadic.
#[unsafe(no_mangle)]
unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    let result = match request {
        // SAFETY: the request says that the argument is this struct, which the caller owns.
        xe::QUERY => simulated(fd).map(|regions| unsafe { query_xe(&regions, argument.cast()) }),
        // SAFETY: as above.
        i915::QUERY => simulated(fd).map(|regions| unsafe { query_i915(&regions, argument.cast()) }),
        _ => None,
    };
    match result {
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

/// The major number of the DRM class.
const DRM_MAJOR: u32 = 226;

/// `statx` as libc declares it.
#[unsafe(no_mangle)]
unsafe extern "C" fn statx(
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    mask: c_uint,
    status: *mut libc::statx,
) -> c_int {
    // SAFETY: the caller's own arguments, unchanged.
    let result = unsafe { libc::syscall(libc::SYS_statx, folder, path, flags, mask, status) } as c_int;
    if result == 0 && !path.is_null() {
        // SAFETY: the kernel has read the path, so it is a string.
        let path = unsafe { CStr::from_ptr(path) };
        if let Some(minor) = minor(Path::new(OsStr::from_bytes(path.to_bytes()))) {
            // SAFETY: the kernel has filled the caller's struct in.
            let status = unsafe { &mut *status };
            status.stx_mode = (libc::S_IFCHR | 0o660) as u16;
            (status.stx_rdev_major, status.stx_rdev_minor) = (DRM_MAJOR, minor);
        }
    }
    result
}

/// The minor number of the node of ours that an entry of an `fd` folder leads to.
fn minor(entry: &Path) -> Option<u32> {
    entry.parent().filter(|folder| folder.ends_with("fd"))?;
    let node = entry.canonicalize().ok()?;
    let minor = node.file_name()?.to_str()?.strip_prefix("renderD")?.parse().ok()?;
    let mut magic = [0; NODE_MAGIC.len()];
    File::open(node).ok()?.read_exact_at(&mut magic, 0).ok()?;
    (magic == NODE_MAGIC).then_some(minor)
}

/// The regions of a node that is one of ours.
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
unsafe fn query_xe(regions: &[u8], query: *mut xe::Query) -> Result<(), c_int> {
    // SAFETY: the caller's promise.
    let query = unsafe { query.as_mut() }.ok_or(libc::EFAULT)?;
    if query.query != xe::MEMORY_REGIONS || query.extensions != 0 {
        return Err(libc::EINVAL);
    }
    if query.size == 0 {
        query.size = regions.len() as u32;
        return Ok(());
    }
    // SAFETY: the caller's promise.
    unsafe { copy(regions, query.data, query.size as usize) }
}

/// # Safety
/// `query` is null or points to the caller's struct, whose item's data is null or as long as its length says.
unsafe fn query_i915(regions: &[u8], query: *mut i915::Query) -> Result<(), c_int> {
    // SAFETY: the caller's promise.
    let query = unsafe { query.as_mut() }.ok_or(libc::EFAULT)?;
    if query.count != 1 || query.flags != 0 {
        return Err(libc::EINVAL);
    }
    // SAFETY: the caller's promise.
    let item = unsafe { pointer::<i915::Item>(query.items).as_mut() }.ok_or(libc::EFAULT)?;
    if item.query != i915::MEMORY_REGIONS || item.flags != 0 {
        item.length = -libc::EINVAL;
        return Ok(());
    }
    if item.length == 0 {
        item.length = regions.len() as i32;
        return Ok(());
    }
    // SAFETY: the caller's promise.
    unsafe { copy(regions, item.data, item.length as usize) }
}

/// # Safety
/// `address` is 0 or has room for `size` bytes.
unsafe fn copy(regions: &[u8], address: u64, size: usize) -> Result<(), c_int> {
    let data = pointer::<u8>(address);
    if size != regions.len() || data.is_null() {
        return Err(libc::EINVAL);
    }
    // SAFETY: the caller's promise, and the two are of one length and do not overlap.
    unsafe { data.copy_from_nonoverlapping(regions.as_ptr(), size) };
    Ok(())
}

/// What the kernel's structs pass as a number.
fn pointer<T>(address: u64) -> *mut T {
    std::ptr::with_exposed_provenance_mut(address as usize)
}
