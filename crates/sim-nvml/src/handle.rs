//! Device handles. NVML's are opaque pointers; here they are numbers that name what they stand for, so that
//! every call can recognise a handle of an earlier driver, one of an instance that is gone, and an invented
//! one.
//!
//! ```text
//! 63      48 47    40 39        24 23    16 15     8 7      0
//! |  kind  | epoch  | generation | device | gi + 1 | ci + 1 |
//! ```

/// What a handle stands for, in its top bits.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum HandleKind {
    /// `nvmlDevice_t`: a GPU, or an instance of one.
    Device = 0x4e56,
    /// `nvmlGpuInstance_t`.
    GpuInstance = 0x4e47,
    /// `nvmlComputeInstance_t`.
    ComputeInstance = 0x4e43,
}

/// A device, or an instance of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) device: usize,
    pub(crate) instance: Option<u32>,
    pub(crate) compute: Option<u32>,
}

impl Target {
    pub(crate) fn gpu(device: usize) -> Self {
        Self { device, instance: None, compute: None }
    }

    /// The handle, valid for one load of the driver (`epoch`) and one set of instances (`generation`).
    pub(crate) fn encode<T>(self, kind: HandleKind, epoch: u32, generation: u16) -> *mut T {
        let part = |id: Option<u32>| id.map_or(0, |id| u64::from(id as u8) + 1);
        let generation = if self.instance.is_some() { generation } else { 0 };
        let number = (kind as u64) << 48
            | u64::from(epoch as u8) << 40
            | u64::from(generation) << 24
            | (self.device as u64 & 0xff) << 16
            | part(self.instance) << 8
            | part(self.compute);
        std::ptr::without_provenance_mut(number as usize)
    }

    /// What the handle stands for, with its generation; `None` if it is of another kind or epoch.
    pub(crate) fn decode<T>(handle: *mut T, kind: HandleKind, epoch: u32) -> Option<(Self, u16)> {
        let number = handle.addr() as u64;
        let part = |shift: u32| ((number >> shift) as u8).checked_sub(1).map(u32::from);
        let fits = number >> 48 == kind as u64 && (number >> 40) as u8 == epoch as u8;
        let target = Self { device: (number >> 16 & 0xff) as usize, instance: part(8), compute: part(0) };
        fits.then_some((target, (number >> 24) as u16))
    }
}

#[cfg(test)]
mod tests {
    use super::{HandleKind, Target};

    #[test]
    fn a_handle_names_its_target_and_nothing_else_does() {
        let target = Target { device: 5, instance: Some(13), compute: Some(0) };
        let handle: *mut u8 = target.encode(HandleKind::Device, 3, 0xbeef);
        assert_eq!(Target::decode(handle, HandleKind::Device, 3), Some((target, 0xbeef)));
        assert_eq!(Target::decode(handle, HandleKind::Device, 4), None);
        assert_eq!(Target::decode(handle, HandleKind::GpuInstance, 3), None);
        assert_eq!(Target::decode(std::ptr::null_mut::<u8>(), HandleKind::Device, 0), None);
        let whole: *mut u8 = Target::gpu(0).encode(HandleKind::Device, 0, 7);
        assert_eq!(Target::decode(whole, HandleKind::Device, 0), Some((Target::gpu(0), 0)));
    }
}
