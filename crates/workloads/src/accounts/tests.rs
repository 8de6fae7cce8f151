//! What is counted for whom, over rounds in which processes come and go.

use std::fs;

use naming::Family;

use super::*;

/// A procfs in which processes can be put into groups.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn run(&self, pid: u32, started: u64, cgroup: &str) {
        let folder = self.0.path().join(pid.to_string());
        fs::create_dir_all(&folder).expect("created");
        let before = "0 ".repeat(18);
        fs::write(folder.join("stat"), format!("{pid} (a ) b) S {before}{started} 0 0\n")).expect("written");
        fs::write(folder.join("cgroup"), format!("0::{cgroup}\n")).expect("written");
    }
}

fn device(own: f64, memory: u64, clients: &[(u32, u64, f64)]) -> Present {
    let identity = Arc::new(Identity::new(Family::Nvidia, "gpu0"));
    let client = |(pid, bytes, seconds): &(u32, u64, f64)| Client {
        identity: Arc::clone(&identity),
        pid: *pid,
        memory_bytes: Some(*bytes),
        busy_seconds: vec![("sm", *seconds)],
    };
    let clients = clients.iter().map(client).collect();
    Present { identity, memory_used: Some(memory), busy_seconds: vec![("sm", own)], clients }
}

/// `name=value` of each series: the job or kind of the holder.
fn shown(accounts: &Accounts, device: &Present) -> Vec<String> {
    let mut all = Vec::new();
    for subject in accounts.subjects(std::slice::from_ref(device)) {
        for reading in subject.readings() {
            let (mut kind, mut job) = (String::new(), String::new());
            reading.labels.with_value(Label::WorkloadKind, |value| value.clone_into(&mut kind));
            reading.labels.with_value(Label::Job, |value| value.clone_into(&mut job));
            let what = if reading.id == WORKLOAD_MEMORY_USED.id { "memory" } else { "busy" };
            let who = if job.is_empty() { kind } else { job };
            all.push(format!("{what} {who}={}", reading.value.as_f64()));
        }
    }
    all
}

#[test]
fn the_rest_is_nobodys_and_no_counter_falls() {
    let host = Host::new();
    host.run(1, 10, "/system.slice/a.service");
    host.run(2, 10, "/system.slice/a.service");
    host.run(3, 10, "/system.slice/slurmstepd.scope/job_7/step_0");
    let mut accounts = Accounts::new(host.0.path().to_owned());
    let (pods, sole) = (Pods::new(), HashMap::new());
    let names = Names { pods: &pods, sole: &sole };
    let mut now = Instant::now();
    let mut round = |own, clients: &[(u32, u64, f64)], seconds| {
        now += Duration::from_secs(seconds);
        let device = device(own, 100, clients);
        accounts.advance(std::slice::from_ref(&device), &names, now);
        shown(&accounts, &device)
    };
    assert_eq!(round(50.0, &[], 1), Vec::<String>::new(), "nobody was ever on it");
    assert_eq!(
        round(50.0, &[(1, 20, 0.0), (2, 10, 0.0), (3, 30, 0.0)], 1),
        [
            "memory 7=30",
            "memory a.service=30",
            "memory unattributed=40",
            "busy 7=0",
            "busy a.service=0",
            "busy unattributed=0"
        ]
    );
    let busy = ["busy 7=3", "busy a.service=4", "busy unattributed=3"];
    assert_eq!(round(60.0, &[(1, 20, 1.0), (2, 10, 3.0), (3, 30, 3.0)], 1)[3..], busy);
    // One process ends, another one of that id has nothing to do with it.
    host.run(2, 99, "/system.slice/b.service");
    let all = round(61.0, &[(1, 20, 1.0), (2, 5, 0.0)], 1);
    assert_eq!(
        all,
        [
            "memory a.service=20",
            "memory b.service=5",
            "memory unattributed=75",
            "busy 7=3",
            "busy a.service=4",
            "busy b.service=0",
            "busy unattributed=4"
        ]
    );
    // The job's series end a while after it. What it used stays used, and is not nobody's.
    let all = round(61.0, &[(1, 20, 1.0), (2, 5, 0.5)], 121);
    assert_eq!(all[3..], ["busy a.service=4", "busy b.service=0.5", "busy unattributed=4"]);
}

#[test]
fn what_cannot_be_looked_up_is_nobodys() {
    let host = Host::new();
    let mut accounts = Accounts::new(host.0.path().to_owned());
    let (pods, sole) = (Pods::new(), HashMap::new());
    let names = Names { pods: &pods, sole: &sole };
    let now = Instant::now();
    let mut round = |clients: &[(u32, u64, f64)]| {
        let device = device(10.0, 100, clients);
        accounts.advance(std::slice::from_ref(&device), &names, now);
        shown(&accounts, &device)
    };
    assert_eq!(round(&[(1, 20, 0.0)]), Vec::<String>::new(), "a process that is not there");
    host.run(1, 10, "/");
    assert_eq!(round(&[(1, 20, 1.0)]), Vec::<String>::new(), "in no group");
    host.run(1, 10, "/system.slice/a.service");
    let all = ["memory a.service=20", "memory unattributed=80", "busy a.service=0.5", "busy unattributed=0"];
    assert_eq!(round(&[(1, 20, 1.5)]), all, "looked up again, and what was before is nobody's");
}

#[test]
fn pods_are_named_by_what_is_known_of_them() {
    let uid = "8e2b6f8c-1111-2222-3333-0123456789ab";
    let info = crate::pod_info::PodInfo { uid: uid.to_owned(), labels: BTreeMap::new() };
    let pods: Pods = [(("ns".to_owned(), "web-0".to_owned()), info)].into();
    let only = |pod: &str| HashMap::from([(0, ["ns".to_owned(), pod.to_owned(), "main".to_owned()])]);
    let workload = Workload::Pod { uid: uid.to_owned(), container: Some("0123".to_owned()) };
    let show = |pods: &Pods, sole: &HashMap<usize, [String; 3]>| {
        let holder = Names { pods, sole }.holder(0, &workload);
        let text: Vec<_> = holder.iter().skip(1).map(|(_, value)| value.as_str()).collect();
        text.join(" ")
    };
    assert_eq!(show(&pods, &only("web-0")), format!("ns web-0 main {uid}"));
    assert_eq!(show(&pods, &HashMap::new()), format!("ns web-0 0123 {uid}"));
    assert_eq!(show(&pods, &only("other")), format!("ns web-0 0123 {uid}"));
    assert_eq!(show(&Pods::new(), &only("web-0")), format!("ns web-0 main {uid}"));
    assert_eq!(show(&Pods::new(), &HashMap::new()), format!("0123 {uid}"));
}
