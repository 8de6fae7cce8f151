//! The packages that `cargo xtask packages` has built.

use std::{env, path::PathBuf};

/// One of each kind.
pub struct Packages {
    /// For Debian and Ubuntu.
    pub deb: PathBuf,
    /// For Fedora, RHEL and SUSE.
    pub rpm: PathBuf,
}

impl Packages {
    /// Those that the caller of the tests names, if it does.
    pub fn given() -> Option<Self> {
        Some(Self { deb: env::var_os("ACCELSCOPE_DEB")?.into(), rpm: env::var_os("ACCELSCOPE_RPM")?.into() })
    }
}
