//! What is mandatory of a socket, read beside a round that takes long: a machine may have hundreds of cores with
//! files and events of their own.

use std::{path::PathBuf, sync::Arc};

use kernel::{hwmon::Attribute, powercap::Zone};
use reading::{Absence, Batch, Fault, FaultCode, Identity, Labels, Lost, Measured, Sampler};

use crate::{map, raw, topology::Topology};

/// A socket by the files of its package.
pub struct Mandatory {
    /// Root of sysfs.
    pub sysfs: PathBuf,
    /// The kernel's number of the socket.
    pub number: u32,
    /// Labels of its series.
    pub identity: Arc<Identity>,
    /// Labels of the info metric.
    pub info: Labels,
}

impl Sampler for Mandatory {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        let mut socket = Topology::default();
        socket.update(&self.sysfs, self.number).map_err(Lost::Device)?;
        if socket.cpus.is_empty() {
            return Err(Lost::Device(Fault::new("cpu/online", FaultCode::Offline)));
        }
        let zones = raw::zones(&self.sysfs, self.number);
        let energy: Measured<u64> = zones.iter().map(Zone::counter_microjoules).sum();
        let temperature =
            raw::temperature(&raw::temperatures(&self.sysfs, self.number, &socket.dies), Attribute::Input);
        if let (Err(fault), Err(_)) = (energy, temperature)
            && fault.absence == Absence::Failed
        {
            return Err(Lost::Device(fault));
        }
        batch.begin(&self.identity);
        map::mandatory(&self.info, temperature, batch);
        Ok(())
    }
}
