//! Memory: the framebuffer and the BAR1 aperture.

use naming::{Bytes, catalogue as m};
use reading::{Batch, Labels, Measured};

use crate::raw::{Memory, Raw};

/// The framebuffer of a device or instance.
pub fn framebuffer(memory: Measured<Memory>, batch: &mut Batch) {
    batch.put(m::MEMORY_TOTAL, Labels::NONE, memory.map(|memory| Bytes(memory.total)));
    batch.put(m::MEMORY_USED, Labels::NONE, memory.map(|memory| Bytes(memory.used)));
    batch.put(m::MEMORY_FREE, Labels::NONE, memory.map(|memory| Bytes(memory.free)));
    batch.put(m::MEMORY_RESERVED, Labels::NONE, memory.and_then(|memory| memory.reserved.map(Bytes)));
}

/// The aperture through which the host sees the framebuffer.
pub fn bar1(raw: &Raw, batch: &mut Batch) {
    batch.put(m::BAR1_TOTAL, Labels::NONE, raw.bar1.map(|bar1| Bytes(bar1.total)));
    batch.put(m::BAR1_USED, Labels::NONE, raw.bar1.map(|bar1| Bytes(bar1.used)));
    batch.put(m::BAR1_FREE, Labels::NONE, raw.bar1.map(|bar1| Bytes(bar1.free)));
}
