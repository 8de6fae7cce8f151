//! Clients together, in a synthetic procfs.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use rustix::fs::makedev;

use super::{Clients, FDINFO, Fault, FaultCode, OpenFiles};

fn put(procfs: &Path, process: u32, node: &Path, text: &str) {
    let folder = procfs.join(process.to_string());
    fs::create_dir_all(folder.join("fd")).expect("created");
    fs::create_dir_all(folder.join("fdinfo")).expect("created");
    let _ = fs::remove_file(folder.join("fd/9"));
    symlink(node, folder.join("fd/9")).expect("linked");
    fs::write(folder.join("fdinfo/9"), text).expect("written");
}

fn client(procfs: &Path, process: u32, id: u32, ccs: u64, total: u64) {
    let text = format!(
        "drm-pdev: 0000:03:00.0\ndrm-client-id: {id}\ndrm-resident-gtt: 1 KiB\n\
         drm-cycles-ccs: {ccs}\ndrm-total-cycles-ccs: {total}\ndrm-cycles-npu: 1\ndrm-total-cycles-npu: {total}\n"
    );
    put(procfs, process, &procfs.join("dri/renderD128"), &text);
}

/// Every machine has this device, `/dev/null`; here it has the name of a card's node.
const NODE: (u32, u32) = (1, 3);

fn nodes() -> Vec<u64> {
    vec![makedev(NODE.0, NODE.1)]
}

/// A procfs of the host, without processes.
fn host() -> tempfile::TempDir {
    let procfs = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(procfs.path().join("2")).expect("created");
    fs::write(procfs.path().join("2/comm"), "kthreadd\n").expect("written");
    fs::create_dir(procfs.path().join("dri")).expect("created");
    symlink("/dev/null", procfs.path().join("dri/renderD128")).expect("linked");
    procfs
}

type Engines = Vec<(&'static str, Result<f64, &'static str>)>;

/// Returns the load of the engines and the number of processes after a number of seconds.
fn reader(clients: &mut Clients, open: &OpenFiles) -> impl FnMut(u64) -> (Engines, Option<u64>) {
    let start = Instant::now();
    move |seconds| {
        let load = clients.read(open, &["render", "compute"], start + Duration::from_secs(seconds));
        let engines =
            load.engines.into_iter().map(|(name, busy)| (name, busy.map_err(|fault| fault.code.name())));
        (engines.collect(), load.processes.ok())
    }
}

#[test]
fn a_card_is_as_busy_as_its_clients_together() {
    let procfs = host();
    let procfs = procfs.path();
    fs::remove_file(procfs.join("2/comm")).expect("removed");
    let open = OpenFiles::new(procfs, FDINFO);
    let mut clients = Clients::new("0000:03:00.0", Ok(nodes()));
    let mut read = reader(&mut clients, &open);
    let hidden = Err("needs_host_pid_namespace");
    assert_eq!(read(0), (vec![("render", hidden), ("compute", hidden)], None));

    fs::write(procfs.join("2/comm"), "kthreadd\n").expect("written");
    client(procfs, 41, 1, 1000, 10_000);
    client(procfs, 42, 2, 0, 10_000);
    client(procfs, 45, 3, 0, 10_000);
    symlink("45", procfs.join("self")).expect("linked");
    // A second file of the same client counts once; the exporter itself does not.
    client(procfs, 43, 2, 0, 10_000);
    let first = Err("first_reading");
    assert_eq!(read(10), (vec![("render", first), ("compute", first), ("other", first)], Some(3)));

    client(procfs, 41, 1, 1500, 11_000);
    client(procfs, 42, 2, 250, 11_000);
    client(procfs, 43, 2, 250, 11_000);
    assert_eq!(read(11).0, [("render", Ok(0.0)), ("compute", Ok(0.75)), ("other", Ok(0.0))]);
    // One client ends, one is new, and the counter of the third lags behind its last value.
    fs::remove_dir_all(procfs.join("41")).expect("removed");
    client(procfs, 44, 9, 77, 12_000);
    client(procfs, 42, 2, 100, 12_000);
    client(procfs, 43, 2, 100, 12_000);
    assert_eq!(read(20).0[1], ("compute", Ok(0.0)), "what was counted is not counted again");
    client(procfs, 44, 9, 177, 13_000);
    client(procfs, 42, 2, 350, 13_000);
    client(procfs, 43, 2, 350, 13_000);
    assert_eq!(read(21).0[1], ("compute", Ok(0.2)));
    // The clock of a GPU that was reset begins anew.
    client(procfs, 44, 9, 200, 10);
    client(procfs, 42, 2, 350, 14_000);
    assert_eq!(read(22).0[1], ("compute", Err("counter_fell")));
}

#[test]
fn a_client_whose_part_is_unknown_is_not_idle() {
    let procfs = host();
    let procfs = procfs.path();
    let open = OpenFiles::new(procfs, FDINFO);
    let mut clients = Clients::new("0000:03:00.0", Ok(nodes()));
    let mut read = reader(&mut clients, &open);
    client(procfs, 41, 1, 0, 1000);
    read(0);
    client(procfs, 41, 1, 500, 2000);
    assert_eq!(read(1).0[1], ("compute", Ok(0.5)));

    let both = |code| vec![("render", Err(code)), ("compute", Err(code))];
    let render = &procfs.join("dri/renderD128");
    put(procfs, 41, render, "drm-driver: xe\ndrm-pdev: 0000:03:00.0\ndrm-client-id: 1\n");
    assert_eq!(read(2), (both("no_engine_time"), Some(1)), "an older kernel, or a virtual function");
    put(procfs, 41, render, "pos:\t0\nflags:\t0210");
    assert_eq!(read(3), (both("no_client"), None), "cut");
    fs::remove_file(procfs.join("41/fdinfo/9")).expect("removed");
    assert_eq!(read(4).0, both("ENOENT"), "the file is open and its text is gone");
    // Found open, and closed before it is read: another file has its number now, then none, then no process.
    fs::write(procfs.join("41/fdinfo/9"), "pos:\t0\n").expect("written");
    fs::remove_file(procfs.join("41/fd/9")).expect("removed");
    symlink("/tmp/log", procfs.join("41/fd/9")).expect("linked");
    let idle = |first| vec![("render", first), ("compute", first)];
    assert_eq!(read(4), (idle(Err("first_reading")), Some(0)));
    fs::remove_file(procfs.join("41/fd/9")).expect("removed");
    assert_eq!(read(4), (idle(Ok(0.0)), Some(0)));
    fs::remove_dir_all(procfs.join("41")).expect("removed");
    assert_eq!(read(4), (idle(Ok(0.0)), Some(0)));
}

#[test]
fn a_node_is_known_by_its_number_and_never_by_its_name() {
    let procfs = host();
    let text = "drm-pdev: 0000:03:00.0\ndrm-client-id: 1\ndrm-cycles-ccs: 1\ndrm-total-cycles-ccs: 9\n";
    put(procfs.path(), 41, &procfs.path().join("dri/renderD128"), text);
    // Anybody can give a file of their own this name: it is no device, or nobody else may look at it.
    let home = procfs.path().join("home/dri");
    fs::create_dir_all(&home).expect("created");
    fs::write(home.join("renderD128"), "mine").expect("written");
    put(procfs.path(), 42, &home.join("renderD128"), text);
    put(procfs.path(), 43, Path::new("/nowhere/dri/renderD128"), "pos:\t0\n");
    let processes = |address: &str, major, minor| {
        let mut clients = Clients::new(address, Ok(vec![makedev(major, minor)]));
        reader(&mut clients, &OpenFiles::new(procfs.path(), FDINFO))(0).1
    };
    assert_eq!(processes("0000:03:00.0", NODE.0, NODE.1), Some(1));
    assert_eq!(processes("0000:03:00.0", 226, 128), Some(0));
    assert_eq!(processes("0000:07:00.0", NODE.0, NODE.1), Some(0), "the client's text names another GPU");
    let unknown = Err(Fault::new("dev", FaultCode::Garbage));
    let mut clients = Clients::new("0000:03:00.0", unknown);
    let both = vec![("render", Err("garbage")), ("compute", Err("garbage"))];
    assert_eq!(reader(&mut clients, &OpenFiles::new(procfs.path(), FDINFO))(0), (both, None));
}

#[test]
fn each_process_has_its_memory_and_its_part_of_the_time() {
    let procfs = host();
    let procfs = procfs.path();
    let open = OpenFiles::new(procfs, FDINFO);
    let mut clients = Clients::new("0000:03:00.0", Ok(nodes()));
    let start = Instant::now();
    let mut read = |seconds| {
        let load = clients.read(&open, &["compute"], start + Duration::from_secs(seconds));
        let round = |seconds: f64| (seconds * 10.0).round() / 10.0;
        let compute = |process: &super::ProcessLoad| {
            let found = process.busy_seconds.iter().find(|(engine, _)| *engine == "compute");
            found.map(|(_, seconds)| round(*seconds))
        };
        let all = load.by_process.iter().map(|process| (process.pid, process.memory_bytes, compute(process)));
        all.collect::<Vec<_>>()
    };
    client(procfs, 41, 1, 0, 1000);
    client(procfs, 42, 2, 0, 1000);
    assert_eq!(
        read(0),
        [(41, Some(1024), None), (42, Some(1024), None)],
        "nothing is known of the time before"
    );
    client(procfs, 41, 1, 500, 2000);
    client(procfs, 42, 2, 100, 2000);
    assert_eq!(read(1), [(41, Some(1024), Some(0.5)), (42, Some(1024), Some(0.1))]);
    fs::remove_dir_all(procfs.join("41")).expect("removed");
    client(procfs, 42, 2, 1100, 4000);
    assert_eq!(read(3), [(42, Some(1024), Some(1.1))]);
    // Memory of the card itself counts, where there is any.
    let vram = "drm-pdev: 0000:03:00.0\ndrm-client-id: 2\ndrm-resident-gtt: 1 KiB\ndrm-resident-vram0: 4 KiB\n\
                drm-cycles-ccs: 1100\ndrm-total-cycles-ccs: 5000\n";
    put(procfs, 42, &procfs.join("dri/renderD128"), vram);
    assert_eq!(read(4), [(42, Some(4096), Some(1.1))]);
}
