//! Energy and power of an integrated GPU: its zone of the package's RAPL.

use std::time::Instant;

use kernel::{Search, file::missing, powercap::Zone};
use reading::{Counted, Fault, FaultCode, Measured};

use super::{Card, Roots};

/// The zone of an integrated GPU. It is kept while the GPU is suspended: its counter wraps, and its sum is
/// monotonic only as long as one reader follows it.
#[derive(Debug)]
pub struct Rapl {
    /// One.
    zones: Vec<Zone>,
    search: Search,
}

impl Rapl {
    /// The zone of an integrated GPU; discrete ones have none. Wakes nothing.
    pub fn of(card: &Card, roots: &Roots) -> Option<Self> {
        let zones = if card.integrated { listed(roots) } else { Vec::new() };
        (!zones.is_empty()).then(|| Self { zones, search: Search::begin(Instant::now()) })
    }

    /// Takes what the kernel shows of it by now, where that is due.
    pub fn look_again(&mut self, roots: &Roots) {
        if self.search.is_due(Instant::now()) {
            Zone::renew(&mut self.zones, listed(roots));
        }
    }

    /// The GPU is suspended: a mean power over that time would say nothing about now.
    pub fn suspended(&mut self) {
        self.zones.iter_mut().for_each(Zone::forget_rate);
    }

    /// Energy since the first reading, µJ, and mean power since the last one, µW. Only root may read the
    /// counter. The kernel reports no limit of this part of the package.
    pub fn read(&mut self) -> Measured<Counted> {
        let unknown = Fault::new("constraint_max_power_uw", FaultCode::NoMaximum);
        let zone = self.zones.iter_mut().find(|zone| zone.is_listed).ok_or(NO_ZONE)?;
        zone.energy_microjoules(Instant::now(), Err(unknown)).map_err(|fault| match fault.code.name() {
            "EACCES" | "EPERM" => Fault::new(fault.call, FaultCode::NeedsCapDacReadSearch),
            _ => fault,
        })
    }
}

/// The kernel lists no zone of the graphics.
pub const NO_ZONE: Fault = missing("powercap/uncore");

/// The zone of the graphics, if the kernel lists it.
fn listed(roots: &Roots) -> Vec<Zone> {
    let parts = Zone::packages(&roots.sysfs).into_iter().flat_map(|package| package.parts);
    parts.filter(|part| part.name == "uncore").take(1).collect()
}
