//! Which device an open file is, without waiting for a server of files.

use std::{ffi::CString, io, mem::MaybeUninit, os::unix::ffi::OsStrExt as _, path::Path};

use rustix::fs::makedev;

/// The device number of the character device behind a path; `None` for any other file. A file of a server that
/// does not respond is reported as it was last known (`AT_STATX_DONT_SYNC`), which the standard library cannot ask
/// for.
///
/// # Errors
/// That of statx(2).
pub fn character_device(path: &Path) -> io::Result<Option<u64>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut status = MaybeUninit::<libc::statx>::zeroed();
    let (flags, mask) = (libc::AT_STATX_DONT_SYNC, libc::STATX_TYPE);
    // SAFETY: statx(2): the path is a C string, and the last argument points to a struct of this type, both for the
    // whole call.
    let returned = unsafe { libc::statx(libc::AT_FDCWD, path.as_ptr(), flags, mask, status.as_mut_ptr()) };
    if returned != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has filled it in, and it consists of integers, for which zero bytes are valid too.
    let status = unsafe { status.assume_init() };
    let is_character_device = u32::from(status.stx_mode) & libc::S_IFMT == libc::S_IFCHR;
    Ok(is_character_device.then(|| makedev(status.stx_rdev_major, status.stx_rdev_minor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_a_number_and_other_files_have_none() {
        assert_eq!(character_device("/dev/null".as_ref()).expect("there"), Some(makedev(1, 3)));
        assert_eq!(character_device("/proc/self/stat".as_ref()).expect("there"), None);
        assert_eq!(
            character_device("/nowhere".as_ref()).expect_err("not there").kind(),
            io::ErrorKind::NotFound
        );
    }
}
