//! A machine of the kernel alone.

use naming::Family;
use reading::{Session, Source, Unavailable};

/// What is not opened where the kernel's files are read alone.
pub struct NoLevelZero;

impl Source for NoLevelZero {
    fn family(&self) -> Family {
        Family::Xpu
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        panic!("Level Zero would wake the GPUs")
    }
}
