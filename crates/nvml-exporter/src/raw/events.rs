//! The event sets through which NVML announces what happens to devices, and to the driver's hold on them.

use std::time::Duration;

use nvml_wrapper_sys::bindings::{
    nvmlEventData_t, nvmlEventSet_t, nvmlSystemEventData_v1_t, nvmlSystemEventSet_t,
    nvmlSystemEventSetCreateRequest_v1_t, nvmlSystemEventSetFreeRequest_v1_t,
    nvmlSystemEventSetWaitRequest_v1_t, nvmlSystemRegisterEventRequest_v1_t,
};
use reading::{Absence, Measured, Notice};

use super::{
    Gpu, Library, call,
    event_types::{Purpose, XID, purposes, wanted},
    number, struct_version,
};

/// nvml.h: an event that is not of a MIG instance carries this id.
const NO_INSTANCE: u32 = u32::MAX;

/// An event as NVML announced it.
pub struct Event {
    /// The GPU, which may be lost by now.
    pub gpu: Gpu,
    types: u64,
    /// The XID, where it is one; 0 of other types.
    pub xid: u64,
    /// GPU instance, when the event names one.
    pub instance: Option<u32>,
}

impl Event {
    /// What is made of it.
    pub fn purposes(&self) -> impl Iterator<Item = Purpose> + use<> {
        purposes(self.types)
    }
}

/// A set of devices whose events can be waited for.
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

    /// Adds a device, and returns the types that it announces; events from before are not delivered.
    pub fn register(&self, gpu: &Gpu) -> Measured<u64> {
        let types = wanted(number!(gpu, nvmlDeviceGetSupportedEventTypes).unwrap_or(0));
        let register = |types| {
            call!(self.library, nvmlDeviceRegisterEvents(gpu.handle(), types, self.set)).map(|()| types)
        };
        // A driver that refuses one type registers none of them, and XIDs must not be lost for what is beside them.
        register(types).or_else(|fault| if types == XID { Err(fault) } else { register(XID) })
    }

    /// Waits for one event; `None` when none came in time.
    pub fn wait(&self, timeout: Duration) -> Measured<Option<Event>> {
        // SAFETY: integers and a handle: all-zero bytes are valid, and NVML overwrites them on success.
        let mut data: nvmlEventData_t = unsafe { std::mem::zeroed() };
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        match call!(self.library, nvmlEventSetWait_v2(self.set, &raw mut data, timeout_ms)) {
            Ok(()) => {
                let gpu = Gpu::from_handle(&self.library, data.device);
                let instance = (data.gpuInstanceId != NO_INSTANCE).then_some(data.gpuInstanceId);
                Ok(Some(Event { gpu, types: data.eventType, xid: data.eventData, instance }))
            }
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

/// nvml.h, `nvmlSystemEventTypeGpuDriverUnbind`.
const UNBIND: u64 = 1;
/// nvml.h, `nvmlSystemEventTypeGpuDriverBind`.
const BIND: u64 = 2;
/// Events that one call returns at most.
const AT_ONCE: u32 = 16;

/// What the driver announces about GPUs that it gives up or takes. Not about one device, so none must be opened.
pub struct SystemEvents {
    library: Library,
    set: nvmlSystemEventSet_t,
}

// SAFETY: nvml.h documents NVML as thread-safe; the set is a token that NVML looks up.
unsafe impl Send for SystemEvents {}

impl SystemEvents {
    /// Registers for both; what was before is not delivered.
    ///
    /// # Errors
    /// Those of the calls; older drivers have none of them.
    pub fn register(library: &Library) -> Measured<Self> {
        let version = struct_version::<nvmlSystemEventSetCreateRequest_v1_t>(1);
        let mut request = nvmlSystemEventSetCreateRequest_v1_t { version, set: std::ptr::null_mut() };
        call!(library, nvmlSystemEventSetCreate(&raw mut request))?;
        let events = Self { library: library.clone(), set: request.set };
        let version = struct_version::<nvmlSystemRegisterEventRequest_v1_t>(1);
        let mut request =
            nvmlSystemRegisterEventRequest_v1_t { version, eventTypes: UNBIND | BIND, set: events.set };
        call!(library, nvmlSystemRegisterEvents(&raw mut request))?;
        Ok(events)
    }

    /// The events since the last call; waits for none.
    pub fn take(&self) -> Vec<Notice> {
        let mut data = [nvmlSystemEventData_v1_t { eventType: 0, gpuId: 0 }; AT_ONCE as usize];
        let version = struct_version::<nvmlSystemEventSetWaitRequest_v1_t>(1);
        let mut request = nvmlSystemEventSetWaitRequest_v1_t {
            version,
            timeoutms: 0,
            set: self.set,
            data: data.as_mut_ptr(),
            dataSize: AT_ONCE,
            numEvent: 0,
        };
        // What is left comes with the next call.
        let taken = call!(self.library, nvmlSystemEventSetWait(&raw mut request));
        let count = taken.map_or(0, |()| request.numEvent as usize);
        data.iter().take(count).filter_map(|event| notice(event.eventType, event.gpuId)).collect()
    }
}

impl Drop for SystemEvents {
    fn drop(&mut self) {
        let version = struct_version::<nvmlSystemEventSetFreeRequest_v1_t>(1);
        let mut request = nvmlSystemEventSetFreeRequest_v1_t { version, set: self.set };
        // Nothing can be done about a failure: the driver drops the set with the process.
        let _ = call!(self.library, nvmlSystemEventSetFree(&raw mut request));
    }
}

/// An event; the id of a GPU is the lower half of its PCI domain, its bus and its slot.
fn notice(kind: u64, gpu_id: u32) -> Option<Notice> {
    let address = format!("{:04x}:{:02x}:{:02x}.0", gpu_id >> 16, gpu_id >> 8 & 0xff, gpu_id & 0xff);
    match kind {
        UNBIND => Some(Notice::Unbinding(address)),
        BIND => Some(Notice::Bound(address)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_gpu_is_its_address() {
        assert_eq!(notice(UNBIND, 0x1a00), Some(Notice::Unbinding("0000:1a:00.0".to_owned())));
        assert_eq!(notice(BIND, 0x0001_c301), Some(Notice::Bound("0001:c3:01.0".to_owned())));
        assert_eq!(notice(4, 0x1a00), None);
    }
}
