//! The unsafe code: the queries to a DRM node, and the environment of an old loader.

pub mod drm;

/// Lets an older Level Zero loader initialise Sysman, which reads a variable at its first initialisation.
/// Call while the command line is read: no other thread runs then.
pub fn enable_sysman() {
    if std::env::var_os(level_zero_sys::SYSMAN_VARIABLE).is_none() {
        // SAFETY: the process has one thread, so the environment is not read meanwhile.
        unsafe { std::env::set_var(level_zero_sys::SYSMAN_VARIABLE, "1") };
    }
}
