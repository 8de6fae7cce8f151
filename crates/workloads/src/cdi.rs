//! The container device interface: which device nodes a name stands for.
//!
//! A DRA driver writes a file for each claim, and the kubelet lists the names in it. That is how a device is found
//! whose id says nothing to us (container-device-interface, SPEC.md).

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use kernel::{File, entries};
use serde::Deserialize;

/// The longest file; those of claims have a few kilobytes.
const FILE_BYTES_MAX: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    kind: String,
    #[serde(default)]
    devices: Vec<Device>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    name: String,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Edits {
    #[serde(default)]
    device_nodes: Vec<Node>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    path: String,
    host_path: Option<String>,
}

/// The files below one folder, each read once for as long as it stays the same.
#[derive(Debug)]
pub struct Specs {
    root: PathBuf,
    /// By path: when the file was changed, and what it says.
    files: HashMap<PathBuf, (Option<SystemTime>, Nodes)>,
}

/// The nodes of each name in a file.
type Nodes = HashMap<String, Vec<String>>;

impl Specs {
    /// The files below `root`, of which none is read yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root, files: HashMap::new() }
    }

    /// Reads what is new of the files that may have these names, and forgets the others.
    pub fn refresh<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        // A file is called by the kind of its devices: vendor.com-class.yaml, vendor.com-class_id.yaml.
        let kinds: Vec<_> =
            names.filter_map(|name| Some(name.split_once('=')?.0.replace('/', "-"))).collect();
        let of_kind = |file: &String| kinds.iter().any(|kind| file.starts_with(kind.as_str()));
        let mut files = HashMap::new();
        for name in entries(&self.root).into_iter().filter(of_kind) {
            let path = self.root.join(name);
            let changed = fs::metadata(&path).and_then(|file| file.modified()).ok();
            let known = self.files.remove(&path).filter(|(known, _)| *known == changed);
            let nodes = known.map_or_else(|| read(&path), |(_, nodes)| nodes);
            files.insert(path, (changed, nodes));
        }
        self.files = files;
    }

    /// The device nodes of a name, by their paths on the host.
    pub fn nodes(&self, name: &str) -> &[String] {
        self.files.values().find_map(|(_, nodes)| nodes.get(name)).map_or(&[], Vec::as_slice)
    }
}

/// The nodes of each name in a file; none where it cannot be read.
fn read(path: &Path) -> Nodes {
    let spec = || -> Option<Spec> {
        let bytes = File::called(path.to_owned(), "cdi").bytes(FILE_BYTES_MAX).ok()?;
        serde_saphyr::from_str(std::str::from_utf8(&bytes).ok()?).ok()
    };
    let Some(Spec { kind, devices }) = spec() else { return HashMap::new() };
    let nodes = |device: Device| {
        let nodes = device.container_edits.device_nodes.into_iter();
        let nodes = nodes.map(|Node { path, host_path }| host_path.unwrap_or(path)).collect();
        (format!("{kind}={}", device.name), nodes)
    };
    devices.into_iter().map(nodes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "k8s.vendor.com/claim=c1-part";

    #[test]
    fn a_name_stands_for_the_nodes_of_its_file() {
        let root = tempfile::tempdir().expect("a folder");
        let mut specs = Specs::new(root.path().to_owned());
        let path = root.path().join("k8s.vendor.com-claim_c1.yaml");
        let mut nodes = || {
            specs.refresh([NAME].into_iter());
            specs.nodes(NAME).to_vec()
        };
        assert_eq!(nodes(), Vec::<String>::new(), "no file");
        fs::write(
            &path,
            "cdiVersion: 0.7.0\nkind: k8s.vendor.com/claim\ndevices:\n- name: c1-part\n  containerEdits:\n    \
             env: [A=b]\n    deviceNodes:\n    - path: /dev/x0\n    - path: /dev/inside\n      hostPath: /dev/x1\n",
        )
        .expect("written");
        assert_eq!(nodes(), ["/dev/x0", "/dev/x1"]);
        fs::write(&path, "kind: [").expect("written");
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        fs::File::options().write(true).open(&path).expect("opened").set_modified(later).expect("set");
        assert_eq!(nodes(), Vec::<String>::new(), "no longer a spec");
        // JSON is YAML.
        let json = "{\"kind\":\"k8s.vendor.com/claim\",\"devices\":[{\"name\":\"c1-part\",\"containerEdits\":\
                    {\"deviceNodes\":[{\"path\":\"/dev/y\"}]}}]}";
        fs::write(root.path().join("k8s.vendor.com-claim_c1.json"), json).expect("written");
        assert_eq!(nodes(), ["/dev/y"]);
    }

    #[test]
    fn files_of_other_kinds_are_not_read() {
        let root = tempfile::tempdir().expect("a folder");
        let spec = "kind: k8s.vendor.com/claim\ndevices: [{name: c1-part}]\n";
        fs::write(root.path().join("other.yaml"), spec).expect("written");
        let mut specs = Specs::new(root.path().to_owned());
        specs.refresh([NAME].into_iter());
        assert!(specs.files.is_empty());
    }
}
