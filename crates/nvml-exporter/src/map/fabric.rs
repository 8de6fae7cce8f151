//! The NVLink fabric: registration with it, the device's place in it, and its health.

use naming::{Count, FaultCode, Flag, Label, catalogue as m};
use reading::{Batch, Fault, Labels, Measured};

use super::hex;
use crate::raw::{self, Fabric};

/// nvml.h, `NVML_GPU_FABRIC_STATE_*`, by value.
const FABRIC_STATES: [&str; 4] = ["not_supported", "not_started", "in_progress", "completed"];

/// nvml.h, `NVML_GPU_FABRIC_HEALTH_MASK_*`: shift and width of each, and the value that is the healthy one.
/// 0 is not supported; the others are what is wrong.
const FABRIC_FAULTS: [(&str, u32, u32, u32); 7] = [
    ("degraded_bandwidth", 0, 0x3, 2),
    ("route_recovery", 2, 0x3, 2),
    ("route_unhealthy", 4, 0x3, 2),
    ("access_timeout_recovery", 6, 0x3, 2),
    ("incorrect_configuration", 8, 0xf, 1),
    ("partition_not_assigned", 12, 0x3, 1),
    ("fabric_manager_disconnected", 14, 0x3, 1),
];

/// nvml.h, `NVML_GPU_FABRIC_STATE_COMPLETED`: status, cluster and cliques count from then on.
const COMPLETED: u8 = 3;

/// Labels of [`Fabric::cliques`].
const CLIQUES: [Label; 4] =
    [Label::CliqueId, Label::MulticastCliqueId, Label::EndpointCliqueId, Label::MulticastEndpointCliqueId];

/// Registration with the NVSwitch fabric, and its health.
pub fn put(fabric: Measured<Fabric>, batch: &mut Batch) {
    for (value, name) in (0..).zip(FABRIC_STATES) {
        let state = fabric.map(|fabric| Flag(fabric.state == value));
        batch.put(m::FABRIC_STATE, Labels::one(Label::State, name), state);
    }
    let registered = fabric.and_then(|fabric| match fabric.state {
        COMPLETED => Ok(fabric),
        _ => Err(Fault::new("nvmlDeviceGetGpuFabricInfoV", FaultCode::NotRegistered)),
    });
    batch.put(m::FABRIC_REGISTRATION_FAILED, Labels::NONE, registered.map(|fabric| Flag(fabric.status != 0)));
    let info = registered.map_or(Labels::NONE, |fabric| Labels::Shared(facts(&fabric).collect()));
    batch.put(m::FABRIC_INFO, info, registered.map(|_| Flag(true)));
    batch.put(m::FABRIC_HEALTH_MASK, Labels::NONE, fabric.map(|fabric| Count(fabric.health_mask.into())));
    for (name, shift, width, healthy) in FABRIC_FAULTS {
        let fault = fabric.and_then(|fabric| fabric_fault(fabric.health_mask, shift, width, healthy));
        batch.put(m::FABRIC_UNHEALTHY, Labels::one(Label::Fault, name), fault);
    }
}

/// What is known of a device that has registered.
fn facts(fabric: &Fabric) -> impl Iterator<Item = (Label, String)> {
    let cluster = (fabric.cluster != [0; 16]).then(|| (Label::ClusterUuid, uuid(fabric.cluster)));
    let cliques = CLIQUES.into_iter().zip(fabric.cliques);
    let cliques = cliques.filter_map(|(label, clique)| Some((label, clique?.to_string())));
    let status = (Label::RegistrationStatus, raw::return_name(fabric.status).into_owned());
    cluster.into_iter().chain(cliques).chain([status])
}

/// The bytes as a UUID is written.
fn uuid(bytes: [u8; 16]) -> String {
    let part = |from, to| hex(&bytes[from..to]);
    [part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 16)].join("-")
}

fn fabric_fault(mask: u32, shift: u32, width: u32, healthy: u32) -> Measured<Flag> {
    match mask >> shift & width {
        0 => Err(Fault::new("nvmlDeviceGetGpuFabricInfoV", FaultCode::HealthNotReported)),
        value => Ok(Flag(value != healthy)),
    }
}

#[cfg(test)]
mod tests {
    use super::{FABRIC_FAULTS, fabric_fault, uuid};

    #[test]
    fn a_clusters_uuid_is_written_as_one() {
        let bytes = std::array::from_fn(|place| u8::try_from(place).expect("small") * 17);
        assert_eq!(uuid(bytes), "00112233-4455-6677-8899-aabbccddeeff");
    }

    #[test]
    fn fabric_health_is_read_by_shift_width_and_healthy_value() {
        let faults = |mask| {
            let read = |&(name, shift, width, healthy)| {
                Some((name, fabric_fault(mask, shift, width, healthy).ok()?.0))
            };
            FABRIC_FAULTS.iter().filter_map(read).collect::<Vec<_>>()
        };
        assert_eq!(faults(0), []);
        // nvml.h: DEGRADED_BW_FALSE, INCORRECT_CONFIGURATION_NONE, PARTITION_ASSIGNED_TRUE,
        // GFM_STATE_CONNECTED.
        let healthy = [
            ("degraded_bandwidth", false),
            ("incorrect_configuration", false),
            ("partition_not_assigned", false),
            ("fabric_manager_disconnected", false),
        ];
        assert_eq!(faults(2 | 1 << 8 | 1 << 12 | 1 << 14), healthy);
        // DEGRADED_BW_TRUE, INCORRECT_CONFIGURATION_GPU_STATE_INVALID, PARTITION_ASSIGNED_FALSE,
        // GFM_STATE_DISCONNECTED.
        assert_eq!(faults(1 | 8 << 8 | 2 << 12 | 2 << 14), healthy.map(|(name, _)| (name, true)));
    }
}
