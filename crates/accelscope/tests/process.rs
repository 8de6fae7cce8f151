//! The program as a process: variables, log lines, signals, and systemd. No driver is needed: a node
//! without one is a normal state.

mod fixture;

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::{
            fs::symlink,
            net::{UnixDatagram, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use fixture::{PROGRAM, Running, command, end, ended, get, library};

#[test]
fn variables_stand_for_flags_and_unknown_ones_are_reported_once() {
    let mut running = Running::start(
        command(PROGRAM)
            .env("ACCELSCOPE_WEB_LISTEN_ADDRESS", "127.0.0.1:0")
            .env("ACCELSCOPE_LOG_FORMAT", "json")
            .env("ACCELSCOPE_INTERVALL", "1s")
            .env("ACCELSCOPE_SERVICE_HOST", "10.0.0.1"),
    );
    let warning = running.line("ACCELSCOPE_");
    assert_eq!((&warning["level"], &warning["variable"]), (&"WARN".into(), &"ACCELSCOPE_INTERVALL".into()));
    let listening = running.line("listening");
    let address = listening["address"].as_str().expect("an address").to_owned();
    let down = running.line("source is down");
    assert!(
        down["reason"].as_str().is_some_and(|reason| reason.contains("/nowhere/libnvidia-ml.so.1")),
        "{down}"
    );
    assert!(get(&address, "/-/healthy").ends_with("alive\n"));
    assert!(get(&address, "/-/ready").starts_with("HTTP/1.0 200"), "an absent library is a stated reason");
    assert!(get(&address, "/metrics").contains("accelscope_source_up{source=\"nvidia\"} 0\n"));
    let (code, took) = running.signal("-TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(2), "{took:?}");
    running.line("stopping");
    assert_eq!(running.seen.len(), 4, "no line per scrape or try: {:#?}", running.seen);
}

#[test]
fn families_that_are_not_here_are_one_line_and_are_found_when_they_come() {
    let sysfs = tempfile::tempdir().expect("a folder");
    let at = |place: &str| sysfs.path().join(place);
    // A simulated machine, so that it does not matter what processor this one has; it has no counters to
    // read.
    for (file, text) in [("accelsim/machine", "bare"), ("bus/pci/devices/0000:00:00.0/vendor", "0x8086")] {
        fs::create_dir_all(at(file).parent().expect("a folder")).expect("created");
        fs::write(at(file), text).expect("written");
    }
    // A function appears with all its files.
    let plug = |address: &str, vendor: &str, class: &str| {
        let (apart, folder) = (at(address), at("bus/pci/devices").join(address));
        fs::create_dir(&apart).expect("created");
        fs::write(apart.join("vendor"), vendor).expect("written");
        fs::write(apart.join("class"), class).expect("written");
        fs::rename(apart, &folder).expect("moved");
        folder
    };
    let mut running = Running::start(
        command(PROGRAM)
            .args(["--source", "auto", "--web.listen-address", "127.0.0.1:0", "--log.format", "json"])
            .args(["--library.level-zero", "/nowhere/libze_loader.so.1", "--path.sysfs"])
            .arg(sysfs.path()),
    );
    let line = running.line("not on this machine");
    assert_eq!(line["level"], "INFO");
    let message = line["message"].as_str().expect("text");
    for absent in ["nvidia (/nowhere/libnvidia-ml.so.1: ", "gaudi (no ", "xpu (", "npu (", "amx ("] {
        assert!(message.contains(absent), "{message}");
    }
    assert!(!message.contains(';') && running.seen.len() == 2, "{:#?}", running.seen);

    plug("0000:19:00.0", "0x10de", "0x030200");
    let down = running.line("source is down");
    assert_eq!((&down["level"], &down["source"]), (&"WARN".into(), &"nvidia".into()));
    let driver = at("bus/pci/drivers/intel_vpu");
    fs::create_dir_all(&driver).expect("created");
    let npu = plug("0000:00:0b.0", "0x8086", "0x120000");
    symlink(npu, driver.join("0000:00:0b.0")).expect("linked");
    assert_eq!(running.line("source is up")["source"], "npu");
    // A device that was here once is reported as missing.
    fs::remove_dir_all(driver).expect("removed");
    fs::remove_dir_all(at("bus/pci/devices/0000:00:0b.0")).expect("removed");
    let down = running.line("intel_vpu: no such driver; load");
    assert_eq!((&down["level"], &down["source"]), (&"WARN".into(), &"npu".into()));
}

#[test]
fn an_interrupt_ends_it_too() {
    let args = ["--web.listen-address", "127.0.0.1:0", "--log.format", "json"];
    let mut running = Running::start(command(PROGRAM).args(args));
    running.line("listening");
    assert_eq!(running.signal("-INT").0, Some(0));
}

/// A program that serves on an address of its own while its standard error goes elsewhere.
fn serve_without_a_log(stderr: Stdio) -> (Child, String) {
    let free = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address: SocketAddr = free.local_addr().expect("an address");
    drop(free);
    let mut command = command(PROGRAM);
    // The name of the variable is logged, which makes more bytes than any buffer between two processes holds.
    for number in 0..600 {
        command.env(format!("ACCELSCOPE_{number:03}_{}", "X".repeat(1000)), "");
    }
    let child = command.args(["--web.listen-address", &address.to_string()]).stderr(stderr).spawn();
    let child = child.expect("started");
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < until, "it does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    (child, address.to_string())
}

/// It serves, counts the lost lines and ends in order.
fn is_unharmed((mut child, address): (Child, String)) {
    assert!(get(&address, "/-/healthy").ends_with("alive\n"));
    let lost = |body: &str| {
        let line = body.lines().find(|line| line.starts_with("accelscope_log_lines_dropped_total "));
        line.expect("counted").rsplit(' ').next().expect("a value").parse::<u64>().expect("a number")
    };
    let until = Instant::now() + Duration::from_secs(20);
    while lost(&get(&address, "/metrics")) == 0 {
        assert!(Instant::now() < until, "no lost line is counted");
        thread::sleep(Duration::from_millis(20));
    }
    let (code, took) = end(&mut child, "-TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_log_that_cannot_be_written_costs_lines_and_nothing_else() {
    let full_disk = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    is_unharmed(serve_without_a_log(full_disk.into()));
    let (reader, dead) = std::io::pipe().expect("a pipe");
    drop(reader);
    is_unharmed(serve_without_a_log(dead.into()));
}

#[test]
fn a_log_that_nobody_reads_blocks_nothing() {
    let (full, _unread) = UnixStream::pair().expect("a pair");
    full.set_nonblocking(true).expect("set");
    loop {
        match (&full).write(&[b'\n'; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    full.set_nonblocking(false).expect("set");
    let full = OwnedFd::from(full);
    let mut child = serve_without_a_log(full.try_clone().expect("a duplicate").into());
    assert!(get(&child.1, "/-/healthy").ends_with("alive\n"));
    let (code, took) = end(&mut child.0, "-TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(2), "{took:?}");
    // A start that fails ends too.
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address").to_string();
    let mut failing = command(PROGRAM);
    let mut failing = failing.args(["--web.listen-address", &address]).stderr(full).spawn().expect("started");
    assert_eq!(ended(&mut failing), Some(1));
}

/// A library whose destructor does this.
fn at_end(folder: &Path, name: &str, destructor: &str) -> PathBuf {
    library(folder, name, &format!("__attribute__((destructor)) static void end(void) {{ {destructor} }}"))
}

#[test]
fn no_destructor_of_a_library_delays_the_end_or_changes_its_code() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, destructor) in
        [("hangs", "for (;;) pause();"), ("crashes", "*(volatile int *)0 = 0;"), ("exits", "_exit(7);")]
    {
        let library = at_end(folder.path(), name, destructor);
        let args = ["--web.listen-address", "127.0.0.1:0", "--log.format", "json"];
        let mut running = Running::start(command(PROGRAM).args(args).env("LD_PRELOAD", &library));
        running.line("listening");
        let (code, took) = running.signal("-TERM");
        assert_eq!(code, Some(0), "{name}");
        assert!(took < Duration::from_secs(2), "{name}: {took:?}");
        let mut probe = command(PROGRAM);
        let probe = probe.args(["probe", "--path.sysfs", "/nowhere"]).env("LD_PRELOAD", &library);
        let mut probe = probe.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        assert_eq!(ended(&mut probe), Some(3), "{name}");
    }
    // Closed by its source while the program runs, and holding the loader's lock for ever.
    let library = at_end(folder.path(), "holds", "for (;;) pause();");
    let args = ["--web.listen-address", "127.0.0.1:0", "--log.format", "json"];
    let mut running = Running::start(command(PROGRAM).args(args).env("ACCELSCOPE_LIBRARY_NVML", &library));
    let address = running.line("listening")["address"].as_str().expect("an address").to_owned();
    running.line("timed out");
    assert!(get(&address, "/-/healthy").ends_with("alive\n"));
    assert!(get(&address, "/metrics").contains("accelscope_source_up{source=\"nvidia\"} 0\n"));
    let (code, took) = running.signal("-TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn with_few_descriptors_silent_clients_lock_nobody_out() {
    let script = "ulimit -n 32; exec \"$0\" \"$@\"";
    let mut running = Running::start(command("/bin/sh").args([
        "-c",
        script,
        PROGRAM,
        "--web.listen-address",
        "127.0.0.1:0",
        "--log.format",
        "json",
    ]));
    let address = running.line("listening")["address"].as_str().expect("an address").to_owned();
    let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(&address).expect("connected")).collect();
    for _ in 0..10 {
        let body = get(&address, "/metrics");
        assert!(body.contains("process_open_fds"), "{body}");
    }
    drop(silent);
}

#[test]
fn a_bad_variable_is_one_line_and_code_2() {
    for (variable, value) in [
        ("ACCELSCOPE_INTERVAL", "5h"),
        ("ACCELSCOPE_WEB_SYSTEMD_SOCKET", "perhaps"),
        ("ACCELSCOPE_LOG_LEVEL", "loud"),
        ("ACCELSCOPE_SOURCE", "voodoo"),
    ] {
        let output = command(PROGRAM).env(variable, value).output().expect("ran");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with(&format!("accelscope: {variable} ")) && said.contains(value), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
}

#[test]
fn a_file_that_a_user_names_is_a_regular_one_of_limited_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pipe, large) = (folder.path().join("pipe"), folder.path().join("large"));
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("coreutils").success());
    fs::write(&large, "#".repeat((1 << 20) + 1)).expect("written");
    for file in [&*pipe, &large, Path::new("/dev/zero"), folder.path()] {
        for args in [
            &["generate", "rules", "--overrides"][..],
            &["probe", "--dcgm.collectors"],
            &["serve", "--web.listen-address", "127.0.0.1:0", "--dcgm.collectors"],
        ] {
            let mut command = command(PROGRAM);
            let mut child = command.args(args).arg(file).stdout(Stdio::null()).spawn().expect("started");
            assert_eq!(ended(&mut child), Some(2), "{args:?} {}", file.display());
            let mut said = String::new();
            child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
            assert!(said.contains(&file.display().to_string()), "{said}");
            assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        }
    }
}

#[test]
fn a_flag_wins_over_its_variable() {
    let mut command = command(PROGRAM);
    command.env("ACCELSCOPE_INTERVAL", "5h").env("ACCELSCOPE_LOG_FORMAT", "text");
    let args = ["--interval", "1s", "--log.format", "json", "--web.listen-address", "127.0.0.1:0"];
    Running::start(command.args(args)).line("listening");
}

#[test]
fn probe_of_a_node_without_devices_is_code_3() {
    let output = command(PROGRAM).args(["probe", "--source", "auto", "--path.sysfs", "/nowhere"]).output();
    let output = output.expect("ran");
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("nvidia: /nowhere/libnvidia-ml.so.1"), "{said}");
    assert!(said.contains("npu: /nowhere/bus/pci/drivers/intel_vpu") && said.contains("amx: "), "{said}");
}

#[test]
fn systemd_passes_the_socket_and_is_notified() {
    let dir = tempfile::tempdir().expect("a folder");
    let notified = UnixDatagram::bind(dir.path().join("notify")).expect("bound");
    notified.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    let next = || {
        let mut message = [0; 256];
        let length = notified.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..length]).trim().to_owned()
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address").to_string();
    // A shell moves the socket to where systemd would have put it, and keeps its own process id.
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
    let mut running = Running::start(
        command("/bin/sh")
            .args(["-c", script, PROGRAM, "--web.systemd-socket", "--log.format", "json"])
            .env("NOTIFY_SOCKET", dir.path().join("notify"))
            .env("WATCHDOG_USEC", "200000")
            .stdin(Stdio::from(OwnedFd::from(listener))),
    );
    assert_eq!(running.line("listening")["address"], address);
    assert_eq!(next(), "READY=1");
    assert_eq!(next(), "WATCHDOG=1");
    assert_eq!(next(), "WATCHDOG=1");
    assert!(get(&address, "/-/healthy").ends_with("alive\n"));
    assert_eq!(running.signal("-TERM").0, Some(0));
    while next() != "STOPPING=1" {}
}

#[test]
fn without_a_socket_from_systemd_it_says_so() {
    let output = command(PROGRAM).arg("--web.systemd-socket").output().expect("ran");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("accelscope: --web.systemd-socket: ") && said.trim_end().lines().count() == 1,
        "{said}"
    );
}

#[test]
fn a_reader_that_closes_the_pipe_early_is_not_a_failure() {
    let mut child = command(PROGRAM).arg("fields").stdout(Stdio::piped()).spawn().expect("started");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("ended").code(), Some(0));
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert_eq!(said, "");
}

#[test]
fn the_committed_references_are_fresh() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    for page in ["metrics", "flags", "faults"] {
        let output = command(PROGRAM).args(["generate", page, "--check", "-o", root]).output().expect("ran");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{said}run `accelscope generate {page} -o .` and commit docs/{page}.md"
        );
    }
}
