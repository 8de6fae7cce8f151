//! What a control group says of the process in it: which pod, container, job or unit it belongs to.
//!
//! Paths are those of version 1 and 2, of the drivers cgroupfs and systemd; what a program in a namespace of its own sees of
//! them ends in the same way.

use std::path::Path;

use kernel::File;

/// The longest file: a line for each hierarchy.
const CGROUP_BYTES_MAX: usize = 64 << 10;

/// Hex digits of a container's id that people use: as many as the programs print.
const SHORT_ID: usize = 12;

/// What a process works for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A container of a pod.
    Pod {
        /// UID of the pod.
        uid: String,
        /// Short id of the container, where the path goes that far.
        container: Option<String>,
    },
    /// A job of Slurm.
    Slurm {
        /// Its id.
        job: String,
        /// The number of the user, where the path has it.
        user: Option<String>,
    },
    /// A container without a pod.
    Container {
        /// Its short id.
        id: String,
    },
    /// A unit of systemd.
    Unit {
        /// Its name.
        name: String,
        /// The number of the user whose session it is part of.
        user: Option<String>,
    },
}

impl Workload {
    /// What the process works for; `None` where it cannot be known.
    pub fn of_process(procfs: &Path, pid: u32) -> Option<Self> {
        let bytes = File::new(&procfs.join(pid.to_string()), "cgroup").bytes(CGROUP_BYTES_MAX).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        // hierarchy:controllers:path. Of several hierarchies, the one that says most.
        let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        paths.filter_map(Self::of_path).min_by_key(Self::rank)
    }

    /// Which says more: a pod is made of containers, and they may run below a unit.
    fn rank(&self) -> u8 {
        match self {
            Self::Pod { container: Some(_), .. } => 0,
            Self::Pod { .. } => 1,
            Self::Slurm { .. } => 2,
            Self::Container { .. } => 3,
            Self::Unit { .. } => 4,
        }
    }

    fn of_path(path: &str) -> Option<Self> {
        // containerd writes slice:prefix:id into one part of its paths below cgroupfs.
        let parts: Vec<_> = path.split(['/', ':']).filter(|part| !part.is_empty()).collect();
        let after = |mark: &str| {
            let number = parts.iter().rev().find_map(|part| part.strip_prefix(mark))?;
            (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| number.to_owned())
        };
        let container = parts.iter().rev().find_map(|part| container_id(part));
        let uid = parts.iter().rev().find_map(|part| pod_uid(part));
        let job = after("job_");
        let is_unit = |part: &&&str| matches!(part.rsplit_once('.'), Some((_, "service" | "scope")));
        let unit = parts.iter().rev().find(is_unit);
        match (uid, job, container, unit) {
            (Some(uid), _, container, _) => Some(Self::Pod { uid, container }),
            (None, Some(job), ..) => Some(Self::Slurm { job, user: after("uid_") }),
            (None, None, Some(id), _) => Some(Self::Container { id }),
            (None, None, None, Some(unit)) => {
                let slice = parts.iter().find_map(|part| part.strip_prefix("user-")?.strip_suffix(".slice"));
                Some(Self::Unit { name: (*unit).to_owned(), user: slice.map(ToOwned::to_owned) })
            }
            (None, None, None, None) => None,
        }
    }
}

/// The UID in `pod<uid>` or `kubepods-burstable-pod<uid>.slice`, where `_` stands for `-`.
fn pod_uid(part: &str) -> Option<String> {
    let part = part.strip_suffix(".slice").unwrap_or(part);
    let (before, uid) = part.rsplit_once("pod")?;
    let is_pod = before.is_empty() || before.starts_with("kubepods") && before.ends_with('-');
    let is_uid = uid.len() >= 32 && uid.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b'-' | b'_'));
    (is_pod && is_uid).then(|| uid.replace('_', "-"))
}

/// The short id in `<id>`, `docker-<id>.scope`, `cri-containerd-<id>.scope`, `libpod-<id>` and the like.
fn container_id(part: &str) -> Option<String> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let id = part.rsplit('-').next()?;
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id[..SHORT_ID].to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ID: &str = "0123456789ab00000000000000000000000000000000000000000000000000ff";
    const UID: &str = "8e2b6f8c-1111-2222-3333-0123456789ab";

    fn of(lines: &str) -> Option<Workload> {
        let procfs = tempfile::tempdir().expect("a folder");
        fs::create_dir(procfs.path().join("7")).expect("created");
        let text = lines.replace("U_I_D", &UID.replace('-', "_")).replace("UID", UID).replace("ID", ID);
        fs::write(procfs.path().join("7/cgroup"), text).expect("written");
        Workload::of_process(procfs.path(), 7)
    }

    #[test]
    fn paths_of_every_driver_and_version_are_understood() {
        let text = |text: &str| Some(text.to_owned());
        let (id, uid) = (text("0123456789ab"), UID.to_owned());
        let pod = |container: &Option<String>| {
            Some(Workload::Pod { uid: uid.clone(), container: container.clone() })
        };
        let container = Some(Workload::Container { id: "0123456789ab".into() });
        let slurm = |user| Some(Workload::Slurm { job: "4711".into(), user });
        let unit = |name: &str, user| Some(Workload::Unit { name: name.into(), user });
        let cases = [
            (
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_I_D.slice/cri-containerd-ID.scope",
                pod(&id),
            ),
            ("0::/kubepods.slice/kubepods-podU_I_D.slice/crio-ID.scope/container", pod(&id)),
            ("5:devices:/kubepods/besteffort/podUID/ID\n0::/", pod(&id)),
            (
                "11:memory:/system.slice/containerd.service/kubepods-besteffort-podU_I_D.slice:cri-containerd:ID",
                pod(&id),
            ),
            ("0::/../../kubepods-podU_I_D.slice/cri-containerd-ID.scope", pod(&id)),
            ("0::/kubepods/podUID", pod(&None)),
            ("0::/docker/ID/kubelet/kubepods/podUID/ID", pod(&id)),
            ("4:memory:/docker/ID\n1:cpu:/", container.clone()),
            ("0::/system.slice/docker-ID.scope", container.clone()),
            ("0::/machine.slice/libpod-ID.scope/container", container.clone()),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
                container.clone(),
            ),
            ("0::/system.slice/nerdctl-ID.scope", container),
            ("0::/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0", slurm(None)),
            ("0::/system.slice/node1_slurmstepd.scope/job_4711/step_batch/user", slurm(None)),
            (
                "9:devices:/slurm/uid_1000/job_4711/step_0\n0::/system.slice/slurmd.service",
                slurm(text("1000")),
            ),
            ("0::/system.slice/ollama.service", unit("ollama.service", None)),
            ("0::/user.slice/user-1000.slice/session-3.scope", unit("session-3.scope", text("1000"))),
            ("0::/", None),
            ("0::/kubepods.slice/kubepods-podshort.slice", None),
            ("9:devices:/slurm/uid_1000/job_x", None),
            ("no cgroup", None),
            ("", None),
        ];
        for (lines, expected) in cases {
            assert_eq!(of(lines), expected, "{lines}");
        }
        assert_eq!(Workload::of_process(Path::new("/nowhere"), 1), None);
    }
}
