//! `sim-engine`: what its server does with requests, its control file and its arguments.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sim::Control;
use sim::control::Engine as Condition;
use sim::engine::{Engine, Options, STARTED};
use sim::workload::Workload;

/// In the last seconds of the mixed workload's peak.
const INSTANT: u64 = 1_760_000_050;

/// A running server, ended with the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sim-engine"))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut address = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut address).expect("it prints its address");
        Self { child, address: address.trim().to_owned() }
    }

    /// All responses to some requests on one connection, the last of which closes it.
    fn ask(&self, requests: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.write_all(requests.as_bytes()).expect("it reads");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("it responds and closes");
        response
    }

    fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone after this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_server_speaks_http_and_serves_what_the_engine_prints() {
    let clock = format!("fixed:{INSTANT}");
    let server = Server::start(&["--engine", "trtllm", "--clock", &clock]);
    let response = server.ask(
        "GET /prometheus/metrics HTTP/1.1\r\nHost: x\r\n\r\n\
         HEAD /prometheus/metrics HTTP/1.1\r\nHost: x\r\n\r\n\
         POST /prometheus/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    );
    let options = Options {
        engine: "trtllm".parse().expect("a known engine"),
        model: "llama".to_owned(),
        seed: 1,
        workload: Workload::Mixed,
        started: STARTED,
    };
    let mut engine = Engine::new(options, &[]).expect("a good engine");
    engine.advance(INSTANT as f64);
    let body = engine.render();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{}", &response[..200]);
    assert_eq!(response.matches(&body).count(), 1, "GET has a body and HEAD has none");
    assert_eq!(response.matches(&format!("content-length: {}\r\n", body.len())).count(), 2);
    assert_eq!(response.matches("content-type: text/plain; version=0.0.4; charset=utf-8\r\n").count(), 3);
    assert!(response.contains("HTTP/1.1 405 ") && response.contains("allow: GET, HEAD\r\n"));
    assert!(server.get("/metrics").starts_with("HTTP/1.1 404 "), "/metrics is not Prometheus' there");
}

#[test]
fn the_server_follows_its_control_file() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("control.toml");
    let control = path.to_str().expect("UTF-8");
    let server = Server::start(&["--engine", "tgi", "--control", control]);
    assert!(server.get("/metrics").starts_with("HTTP/1.1 200 "), "a missing file is no condition");
    let until = |what: &str, seen: &dyn Fn(&str) -> bool| {
        let begin = Instant::now();
        while !seen(&server.get("/metrics")) {
            assert!(begin.elapsed() < Duration::from_secs(10), "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let write = |condition| {
        Control { engine: vec![condition], ..Control::default() }.write(&path).expect("written");
    };
    write(Condition { waiting: Some(77), ..Condition::default() });
    until("a queue", &|response| response.contains("\ntgi_queue_size 77\n"));
    std::fs::write(&path, "[[engine]]\nwaiting = \"many\"\n").expect("written");
    std::thread::sleep(Duration::from_millis(300));
    until("the last good file", &|response| response.contains("\ntgi_queue_size 77\n"));
    write(Condition { down: Some(true), ..Condition::default() });
    until("down", &|response| response.starts_with("HTTP/1.1 503 "));
    write(Condition { dead: Some(true), ..Condition::default() });
    until("dead", &str::is_empty);
    std::fs::remove_file(&path).expect("removed");
    until("up again", &|response| response.starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_hung_server_accepts_and_does_not_respond() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("control.toml");
    let condition = Condition { hung: Some(true), ..Condition::default() };
    Control { engine: vec![condition], ..Control::default() }.write(&path).expect("written");
    let server = Server::start(&["--engine", "vllm", "--control", path.to_str().expect("UTF-8")]);
    let mut stream = TcpStream::connect(&server.address).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a limit");
    let error = stream.read(&mut [0]).expect_err("neither a byte nor an end");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
}

#[test]
fn wrong_arguments_are_one_line() {
    for arguments in
        [&["--engine", "vllm", "--listen", "nowhere"][..], &["--engine", "vllm", "--control", "/"]]
    {
        let output =
            Command::new(env!("CARGO_BIN_EXE_sim-engine")).args(arguments).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.starts_with("sim-engine: ") && text.lines().count() == 1, "{text}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_sim-engine"))
        .args(["--engine", "vllm-9"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("vllm-0.10, sglang"));
}
