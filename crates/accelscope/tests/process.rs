//! The program as a process: variables, log lines, signals, and systemd. No driver is needed: a node
//! without one is a normal state.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::{fs::symlink, net::UnixDatagram},
    },
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_accelscope");

/// A command that sees no variable of this process, and no real driver either.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("ACCELSCOPE_SOURCE", "nvidia")
        .env("ACCELSCOPE_LIBRARY_NVML", "/nowhere/libnvidia-ml.so.1")
        .stderr(Stdio::piped());
    command
}

struct Running {
    child: Child,
    /// Lines of its log, from a thread of their own: a test that waits in vain must fail, not hang.
    log: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("started");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (sender, log) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, log, seen: Vec::new() }
    }

    /// The first log line that has `word`, as JSON.
    fn line(&mut self, word: &str) -> Value {
        loop {
            if let Some(line) = self.seen.iter().find(|line| line.contains(word)) {
                return serde_json::from_str(line).expect(line);
            }
            let line = self.log.recv_timeout(Duration::from_secs(20));
            self.seen.push(line.unwrap_or_else(|_| panic!("no {word} in {:#?}", self.seen)));
        }
    }

    /// Ends it with a signal; returns its exit code and how long that took.
    fn signal(&mut self, signal: &str) -> (Option<i32>, Duration) {
        let asked = Instant::now();
        // The shell's own: a minimal system has no such program.
        let kill = format!("kill {signal} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(sent.success());
        (self.child.wait().expect("ended").code(), asked.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("text");
    response
}

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
