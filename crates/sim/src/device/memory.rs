//! Memory of a device and of its instances, and the processes that have it.

use super::Device;
use crate::cycle::Channel;
use crate::mig::Instance;

const MIB: u64 = 1 << 20;
/// Memory that the driver keeps of each compute slice of an instance.
const INSTANCE_RESERVED_MIB_PER_SLICE: u64 = 6;
/// BAR1 that the driver maps with nothing running, and beside a running process.
const BAR1_USED_MIB: [u64; 2] = [1, 6];

/// Framebuffer, bytes. `reserved`, `used` and `free` add up to `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBytes {
    /// All of it.
    pub total: u64,
    /// Kept by driver and firmware.
    pub reserved: u64,
    /// Allocated.
    pub used: u64,
    /// The rest.
    pub free: u64,
}

/// A process on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub id: u32,
    /// Memory it has allocated, bytes.
    pub memory_bytes: u64,
    /// GPU and compute instance it runs in, on a device that is cut.
    pub instance: Option<(u32, u32)>,
}

impl<'a> Device<'a> {
    /// Framebuffer of the device. On a device that is cut, what its instances use.
    pub fn memory_bytes(&self) -> MemoryBytes {
        let memory = &self.facts().memory;
        let (total, reserved) = (memory.total_mib * MIB, memory.reserved_mib * MIB);
        let used = if self.standing.mig_enabled {
            self.standing.instances.iter().map(|instance| self.instance_memory_bytes(instance).used).sum()
        } else {
            whole_mib((total - reserved) as f64 * self.level(Channel::MemoryFill))
        };
        let used = u64::min(used, total - reserved);
        MemoryBytes { total, reserved, used, free: total - reserved - used }
    }

    /// Framebuffer of an instance.
    pub fn instance_memory_bytes(&self, instance: &Instance) -> MemoryBytes {
        let total = instance.profile.memory_mib * MIB;
        let reserved = u64::from(instance.profile.slices) * INSTANCE_RESERVED_MIB_PER_SLICE * MIB;
        let fill = self.level(Channel::MemoryFill) * self.machine.instance_gain(self.index, instance.id);
        let used =
            if instance.compute_instances == 0 { 0 } else { whole_mib((total - reserved) as f64 * fill) };
        MemoryBytes { total, reserved, used, free: total - reserved - used }
    }

    /// BAR1 in use.
    pub fn bar1_used_bytes(&self) -> u64 {
        BAR1_USED_MIB[usize::from(self.level(Channel::MemoryFill) > 0.0)] * MIB
    }

    /// The servers on the device: one on a whole device, one in each compute instance of a cut one.
    pub fn processes(&self) -> impl Iterator<Item = Process> + use<'a> {
        let device = *self;
        let loaded = device.level(Channel::MemoryFill) > 0.0;
        let pids = &device.standing.pids;
        let own = |index| pids.get(usize::try_from(index).unwrap_or(usize::MAX)).copied();
        let count = if loaded && !device.standing.mig_enabled { pids.len().max(1) as u32 } else { 0 };
        let whole = (0..count).map(move |index| Process {
            id: own(index).unwrap_or_else(|| device.machine.process_id(device.index, 0)),
            memory_bytes: device.memory_bytes().used / u64::from(count),
            instance: None,
        });
        let mut placed = 0;
        let cut = device.standing.instances.iter().filter(move |_| loaded).flat_map(move |instance| {
            let used = device.instance_memory_bytes(instance).used;
            let first = placed;
            placed += instance.compute_instances;
            (0..instance.compute_instances).map(move |compute| Process {
                id: own(first + compute).unwrap_or_else(|| {
                    device.machine.process_id(device.index, 8 * instance.id + compute + 1)
                }),
                memory_bytes: used / u64::from(instance.compute_instances),
                instance: Some((instance.id, compute)),
            })
        });
        whole.chain(cut)
    }
}

fn whole_mib(bytes: f64) -> u64 {
    bytes as u64 / MIB * MIB
}
