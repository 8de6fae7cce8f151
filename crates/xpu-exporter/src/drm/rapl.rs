//! Energy and power of an integrated GPU: its zone of the package's RAPL.

use std::time::Instant;

use kernel::powercap::Zone;
use reading::{Fault, FaultCode, Measured};
use source::Rate;

use super::{Card, Roots};

/// The zone of an integrated GPU. It is kept while the GPU is suspended: its counter wraps, and its sum is
/// monotonic only as long as one reader follows it.
#[derive(Debug)]
pub struct Rapl {
    zone: Zone,
    rate: Rate,
}

impl Rapl {
    /// The zone of an integrated GPU; discrete ones have none. Wakes nothing.
    pub fn of(card: &Card, roots: &Roots) -> Option<Self> {
        let uncore = |zone: Zone| zone.parts.into_iter().find(|part| part.name == "uncore");
        let zone = card.integrated.then(|| Zone::packages(&roots.sysfs).into_iter().find_map(uncore))??;
        Some(Self { zone, rate: Rate::default() })
    }

    /// The GPU is suspended: a mean power over that time would say nothing about now.
    pub fn suspended(&mut self) {
        self.rate.forget();
    }

    /// Energy since the first reading, µJ, and mean power since the last one, µW. Only root may read the
    /// counter.
    pub fn read(&mut self) -> (Measured<u64>, Measured<f64>) {
        let privileged = |fault: Fault| match fault.code.name() {
            "EACCES" | "EPERM" => Fault::new(fault.call, FaultCode::NeedsCapDacReadSearch),
            _ => fault,
        };
        let energy = self.zone.energy_microjoules().map_err(privileged);
        (energy, self.rate.power("energy_uj", Instant::now(), energy))
    }
}
