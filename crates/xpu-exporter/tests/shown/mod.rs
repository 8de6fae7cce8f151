//! A simulated machine whose kernel files are written once.

use std::path::Path;

use reading::{Session, Source};
use sim::{Live, Options, clock::Clock, kernel::Tree};
use xpu_exporter::{BackendChoice, Roots, XpuSource};

use crate::no_level_zero::NoLevelZero;

/// A session on the machine's files, which are written below `sysfs`.
pub fn session(sysfs: &Path, machine: &str) -> Box<dyn Session> {
    let options = Options { machine: machine.to_owned(), clock: Clock::Fixed(1.795e9), ..Options::default() };
    let live = Live::open(&options).expect("the machine opens");
    let mut tree = Tree::new(sysfs).expect("a root");
    tree.show(sim::family::xpu::files(&live.now())).expect("written");
    let roots = Roots { procfs: sysfs.join("proc"), dev: sysfs.join("dev"), sysfs: sysfs.to_owned() };
    XpuSource::new(roots, Box::new(NoLevelZero), false, BackendChoice::Kernel, false)
        .connect()
        .expect("there are cards")
}
