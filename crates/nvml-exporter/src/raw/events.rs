//! The event set through which NVML announces XIDs.

use std::time::Duration;

use nvml_wrapper_sys::bindings::{nvmlEventData_t, nvmlEventSet_t};
use reading::{Absence, Measured};

use super::{Gpu, Library, call};

/// nvml.h, `nvmlEventTypeXidCriticalError`.
const XID_CRITICAL_ERROR: u64 = 0x8;
/// nvml.h: an event that is not of a MIG instance carries this id.
const NO_INSTANCE: u32 = u32::MAX;

/// An XID as NVML announced it.
pub struct XidEvent {
    /// The GPU, which may be lost by now.
    pub gpu: Gpu,
    /// The XID.
    pub code: u64,
    /// GPU instance, when the event names one.
    pub instance: Option<u32>,
}

/// A set of devices whose XIDs can be waited for.
pub struct EventSet {
    library: Library,
    set: nvmlEventSet_t,
}

// SAFETY: nvml.h documents NVML as thread-safe; the set is a token that NVML looks up.
unsafe impl Send for EventSet {}
// SAFETY: as above; registering a device while another thread waits is two calls on one token.
unsafe impl Sync for EventSet {}

impl EventSet {
    /// An empty set.
    pub fn new(library: &Library) -> Measured<Self> {
        let mut set = std::ptr::null_mut();
        call!(library, nvmlEventSetCreate(&raw mut set))?;
        Ok(Self { library: library.clone(), set })
    }

    /// Adds a device; XIDs from before are not delivered.
    pub fn register(&self, gpu: &Gpu) -> Measured<()> {
        call!(self.library, nvmlDeviceRegisterEvents(gpu.handle(), XID_CRITICAL_ERROR, self.set))
    }

    /// Waits for one event; `None` when none came in time.
    pub fn wait(&self, timeout: Duration) -> Measured<Option<XidEvent>> {
        // SAFETY: integers and a handle: all-zero bytes are valid, and NVML overwrites them on success.
        let mut data: nvmlEventData_t = unsafe { std::mem::zeroed() };
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        match call!(self.library, nvmlEventSetWait_v2(self.set, &raw mut data, timeout_ms)) {
            Ok(()) if data.eventType & XID_CRITICAL_ERROR != 0 => {
                let gpu = Gpu::from_handle(&self.library, data.device);
                let instance = (data.gpuInstanceId != NO_INSTANCE).then_some(data.gpuInstanceId);
                Ok(Some(XidEvent { gpu, code: data.eventData, instance }))
            }
            Ok(()) => Ok(None),
            Err(fault) if fault.absence == Absence::TimedOut => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}

impl Drop for EventSet {
    fn drop(&mut self) {
        // Nothing can be done about a failure: the driver drops the set with the process.
        let _ = call!(self.library, nvmlEventSetFree(self.set));
    }
}
