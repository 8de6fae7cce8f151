//! The kubelet's pod-resources API, version 1: which container was given which devices.
//!
//! Fields that are not used here are left out (kubelet, pkg/apis/podresources/v1/api.proto).

use naming::Family;
use prost::Message;
use reading::Measured;

use crate::grpc::{Channel, Method};

const LIST: Method = Method { path: "/v1.PodResourcesLister/List", call: "PodResourcesLister/List" };

#[derive(Clone, PartialEq, Message)]
struct ListResponse {
    #[prost(message, repeated, tag = "1")]
    pods: Vec<PodResources>,
}

#[derive(Clone, PartialEq, Message)]
struct PodResources {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(message, repeated, tag = "3")]
    containers: Vec<ContainerResources>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerResources {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    devices: Vec<ContainerDevices>,
    #[prost(message, repeated, tag = "5")]
    dynamic: Vec<DynamicResource>,
}

/// What a device plugin gave.
#[derive(Clone, PartialEq, Message)]
struct ContainerDevices {
    #[prost(string, tag = "1")]
    resource: String,
    #[prost(string, repeated, tag = "2")]
    ids: Vec<String>,
}

/// What a claim of dynamic resource allocation gave.
#[derive(Clone, PartialEq, Message)]
struct DynamicResource {
    #[prost(message, repeated, tag = "4")]
    claimed: Vec<ClaimResource>,
}

#[derive(Clone, PartialEq, Message)]
struct ClaimResource {
    #[prost(message, repeated, tag = "1")]
    cdi: Vec<CdiDevice>,
    #[prost(string, tag = "2")]
    driver: String,
    #[prost(string, tag = "4")]
    device: String,
    #[prost(string, optional, tag = "5")]
    share: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct CdiDevice {
    #[prost(string, tag = "1")]
    name: String,
}

/// A device that a container was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container in the pod.
    pub container: String,
    /// Kind of the device.
    pub family: Family,
    /// The id by which it was given.
    pub id: String,
    /// Which share of it, where the id does not say that.
    pub share: Option<String>,
    /// Its names in the container device interface, where dynamic resource allocation gave it.
    pub cdi: Vec<String>,
}

/// Every device of ours that a container has now.
///
/// # Errors
/// Those of [`Channel::call`].
pub async fn list(channel: &mut Channel) -> Measured<Vec<Allocation>> {
    Ok(allocations(channel.call::<ListResponse>(LIST).await?))
}

fn allocations(response: ListResponse) -> Vec<Allocation> {
    let mut all = Vec::new();
    for pod in response.pods {
        for container in pod.containers {
            let mut add = |family, id, share, cdi| {
                let (namespace, pod) = (pod.namespace.clone(), pod.name.clone());
                all.push(Allocation {
                    namespace,
                    pod,
                    container: container.name.clone(),
                    family,
                    id,
                    share,
                    cdi,
                });
            };
            for given in container.devices {
                let Some(family) = Family::of_allocator(&given.resource) else { continue };
                given.ids.into_iter().for_each(|id| add(family, id, None, Vec::new()));
            }
            for claimed in container.dynamic.into_iter().flat_map(|resource| resource.claimed) {
                let Some(family) = Family::of_allocator(&claimed.driver) else { continue };
                let cdi = claimed.cdi.into_iter().map(|device| device.name).collect();
                add(family, claimed.device, claimed.share, cdi);
            }
        }
    }
    all
}
