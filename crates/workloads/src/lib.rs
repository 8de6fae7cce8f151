//! Who holds which device: the pods to which the kubelet of this node has given one.
//!
//! ```text
//! kubelet -> grpc -> pod_resources: allocations (pod, container, resource, id)
//!                    pod_info: UIDs and labels of those pods
//! devices (identities and aliases, from the vendors) + allocations -> resolve -> series
//! processes on devices, from drivers and openers -> accounts, by their control groups -> series
//! ```
//!
//! This room knows no vendor: a vendor lists what its devices are called ([`reading::Alias`]), and
//! [`naming::Family::of_allocator`] says whose devices a resource hands out. It asks nobody outside of this node: no
//! API server, and so no permissions in the cluster.
//!
//! Everything runs on one thread with a small event loop of its own, so a kubelet that hangs costs no scrape. A list
//! that cannot be read takes all holders away, with a reason: what was true ten seconds ago may be another pod now.

#![forbid(unsafe_code)]

mod accounts;
mod cdi;
mod cgroup;
mod grpc;
mod held;
mod jobs;
mod kubelet;
mod openers;
mod pod_info;
mod pod_resources;
mod resolve;
mod room;

pub use accounts::Present;
pub use held::Held;
pub use kubelet::{SOCKETS, Settings};
pub use room::{Holders, InterfaceReport, Room};
