//! Energy and power of an integrated GPU: its zone of the package's RAPL.

use std::time::Instant;

use kernel::powercap::Zone;
use reading::{Counted, Fault, FaultCode, Measured};

use super::{Card, Roots};

/// The zone of an integrated GPU. It is kept while the GPU is suspended: its counter wraps, and its sum is
/// monotonic only as long as one reader follows it.
#[derive(Debug)]
pub struct Rapl(Zone);

impl Rapl {
    /// The zone of an integrated GPU; discrete ones have none. Wakes nothing.
    pub fn of(card: &Card, roots: &Roots) -> Option<Self> {
        let uncore = |zone: Zone| zone.parts.into_iter().find(|part| part.name == "uncore");
        card.integrated.then(|| Zone::packages(&roots.sysfs).into_iter().find_map(uncore))?.map(Self)
    }

    /// The GPU is suspended: a mean power over that time would say nothing about now.
    pub fn suspended(&mut self) {
        self.0.forget_rate();
    }

    /// Energy since the first reading, µJ, and mean power since the last one, µW. Only root may read the
    /// counter. The kernel reports no limit of this part of the package.
    pub fn read(&mut self) -> Measured<Counted> {
        let unknown = Fault::new("constraint_max_power_uw", FaultCode::NoMaximum);
        self.0.energy_microjoules(Instant::now(), Err(unknown)).map_err(|fault| match fault.code.name() {
            "EACCES" | "EPERM" => Fault::new(fault.call, FaultCode::NeedsCapDacReadSearch),
            _ => fault,
        })
    }
}
