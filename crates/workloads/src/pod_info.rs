//! The kubelet's PodInfo API (KEP-4188, alpha): UIDs and labels of pods. Kubelets without it are the rule.
//!
//! A pod comes as the whole object of the core API, which holds environment variables too: nothing but what is used
//! here is decoded. Fields: kubelet, pkg/apis/pods/v1alpha1/api.proto; k8s.io/apimachinery, meta/v1/generated.proto.

use std::collections::{BTreeMap, HashMap};

use prost::Message;
use reading::Measured;

use crate::grpc::{Channel, Method};

const LIST: Method = Method { path: "/v1alpha1.Pods/ListPods", call: "Pods/ListPods" };

#[derive(Clone, PartialEq, Message)]
struct ListResponse {
    /// Each the object of the core API: bytes and a message have the same wire format.
    #[prost(message, repeated, tag = "1")]
    pods: Vec<Pod>,
}

#[derive(Clone, PartialEq, Message)]
struct Pod {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "5")]
    uid: String,
    #[prost(btree_map = "string, string", tag = "11")]
    labels: BTreeMap<String, String>,
}

/// What is known of a pod beside its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodInfo {
    /// Its UID.
    pub uid: String,
    /// Those of its labels that the user named.
    pub labels: BTreeMap<String, String>,
}

/// Pods by namespace and name.
pub type Pods = HashMap<(String, String), PodInfo>;

/// Every pod of the node, with those of its labels that are `wanted`.
///
/// # Errors
/// Those of [`Channel::call`].
pub async fn list(channel: &mut Channel, wanted: &[String]) -> Measured<Pods> {
    let response: ListResponse = channel.call(LIST).await?;
    let known = response.pods.into_iter().filter_map(|pod| pod.metadata).map(|metadata| {
        let ObjectMeta { name, namespace, uid, mut labels } = metadata;
        labels.retain(|label, _| wanted.contains(label));
        ((namespace, name), PodInfo { uid, labels })
    });
    Ok(known.collect())
}
