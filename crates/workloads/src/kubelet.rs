//! The kubelet of this node: where its sockets are, and one round of questions to it.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use reading::{Fault, Measured};

use crate::{
    grpc::Channel,
    pod_info::{self, Pods},
    pod_resources::{self, Allocation},
};

/// Where kubelets of this node may have their socket of the pod-resources API: the usual place, MicroK8s, k0s, and a
/// k3s or RKE2 whose kubelet was given the agent's folder.
pub const SOCKETS: [&str; 4] = [
    "/var/lib/kubelet/pod-resources/kubelet.sock",
    "/var/snap/microk8s/common/var/lib/kubelet/pod-resources/kubelet.sock",
    "/var/lib/k0s/kubelet/pod-resources/kubelet.sock",
    "/var/lib/rancher/k3s/agent/kubelet/pod-resources/kubelet.sock",
];

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// What the user chose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Time between two lists.
    pub interval: Duration,
    /// The socket of the pod-resources API; `None` looks for it.
    pub pod_resources: Option<PathBuf>,
    /// The socket of the PodInfo API; `None` looks for it beside the other.
    pub pods: Option<PathBuf>,
    /// Names of the pods' labels to export.
    pub pod_labels: Vec<String>,
    /// Folder with the files of the container device interface.
    pub cdi: PathBuf,
    /// Folder in which a batch system says which job has which device.
    pub jobs: Option<PathBuf>,
    /// Root of the host's procfs.
    pub procfs: PathBuf,
}

/// An interface that knows who holds a device: a socket of the kubelet, or a folder of a batch system.
pub struct Interface {
    /// Its name, which is the label of its metrics.
    pub name: &'static str,
    /// The path that the user named, or that was found.
    pub path: Option<PathBuf>,
    /// Why its last list could not be read; `None` before the first one and when it could.
    pub fault: Option<Fault>,
    channel: Option<Channel>,
}

impl Interface {
    /// One that was not yet asked.
    pub fn new(name: &'static str, path: Option<PathBuf>) -> Self {
        Self { name, path, fault: None, channel: None }
    }

    /// The channel to its socket; `None` while there is no socket. One that was there once belongs to this node, so
    /// its absence is a fault.
    fn channel(&mut self, candidates: impl IntoIterator<Item = PathBuf>) -> Option<&mut Channel> {
        self.path = self.path.take().or_else(|| candidates.into_iter().find(|path| may_exist(path)));
        let socket = self.path.as_ref()?;
        Some(self.channel.get_or_insert_with(|| Channel::new(socket.clone(), DEADLINE)))
    }

    /// Notes why it gave no list.
    pub fn note<T>(&mut self, listed: Measured<T>) -> Option<T> {
        self.fault = listed.as_ref().err().copied();
        listed.ok()
    }
}

/// Whether a path exists, as far as this process may know.
fn may_exist(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    }
}

/// The kubelet.
pub struct Kubelet {
    /// Which container was given which devices.
    pub resources: Interface,
    /// UIDs and labels of pods.
    pub pods: Interface,
    labels: Vec<String>,
}

/// What one round found.
#[derive(Debug, Default)]
pub struct Listed {
    /// Which container was given which devices.
    pub allocations: Vec<Allocation>,
    /// What is known of pods beside their names.
    pub pods: Pods,
}

impl Kubelet {
    /// A kubelet that was not yet asked.
    pub fn new(settings: &Settings) -> Self {
        Self {
            resources: Interface::new("pod_resources", settings.pod_resources.clone()),
            pods: Interface::new("pod_info", settings.pods.clone()),
            labels: settings.pod_labels.clone(),
        }
    }

    /// The interfaces that this node has.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        [&self.resources, &self.pods].into_iter().filter(|interface| interface.path.is_some())
    }

    /// Whether there is a connection to one of its sockets.
    pub fn is_connected(&self) -> bool {
        [&self.resources, &self.pods].into_iter().filter_map(|it| it.channel.as_ref()).any(Channel::is_open)
    }

    /// Asks it once. What could not be listed is empty, with the fault in its interface.
    pub async fn list(&mut self) -> Listed {
        let Some(channel) = self.resources.channel(SOCKETS.map(PathBuf::from)) else {
            return Listed::default();
        };
        let listed = pod_resources::list(channel).await;
        let allocations = self.resources.note(listed).unwrap_or_default();
        let beside = self.resources.path.as_deref().and_then(|socket| socket.parent()?.parent());
        let beside = beside.map(|root| root.join("pods/kubelet.sock"));
        let mut pods = Pods::new();
        if let Some(channel) = self.pods.channel(beside) {
            let listed = pod_info::list(channel, &self.labels).await;
            pods = self.pods.note(listed).unwrap_or_default();
        }
        Listed { allocations, pods }
    }
}
