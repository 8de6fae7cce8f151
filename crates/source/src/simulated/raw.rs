//! The marker of simulated libraries.

use std::ffi::{CStr, c_char};

use libloading::Library;

/// Name of the simulated machine that the library shows: it exports `const char *accelsim_machine(void)`,
/// which no vendor's library does.
pub fn in_library(library: &Library) -> Option<String> {
    // SAFETY: only looked up here; simulated libraries declare `const char *accelsim_machine(void)`.
    let symbol = unsafe { library.get::<unsafe extern "C" fn() -> *const c_char>(b"accelsim_machine\0") };
    let function = symbol.ok()?;
    // SAFETY: the prototype above; it takes nothing and may be called at any time after loading.
    let name = unsafe { function() };
    if name.is_null() {
        return None;
    }
    // SAFETY: not null, and a simulated library returns a NUL-terminated string that it never frees.
    let name = unsafe { CStr::from_ptr(name) };
    Some(name.to_string_lossy().into_owned())
}
