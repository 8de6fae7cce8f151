//! The server on real sockets, with clients that behave and clients that do not.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    rc::Rc,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use exposition::Format;
use flate2::read::GzDecoder;
use naming::Family;
use thresholds::Judge;
use tokio::sync::oneshot;

use super::fake::{Act, FakeSource, Machine, eventually, timing};
use crate::{
    commands::choice::Chosen,
    commands::serve::{Serve, Web},
    commands::values::listen_address,
    health::Verdicts,
    http::body::{BodyCache, Selection, Vocabularies, What},
    http::connection::{Client, Timeouts},
    http::connections::{Connections, Limits},
    http::listen::{self, BoundSocket, Peer},
    http::live::Live,
    http::routes::Routes,
    http::web_config::guard::Guard,
    sampling::state::NodeState,
    self_metrics::{HttpCounts, SelfMetrics},
};

/// A server in this process.
pub struct Server {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

pub fn web() -> Web {
    Web {
        telemetry_path: "/metrics".into(),
        limits: Limits { responses: 40, connections: 512 },
        timeouts: Timeouts {
            head: Duration::from_millis(300),
            idle: Duration::from_secs(20),
            response: Duration::from_secs(20),
        },
        config: None,
        protects_health: false,
    }
}

impl Server {
    pub fn start(machine: &Machine) -> Self {
        Self::with(machine, web(), None)
    }

    /// With a unix socket as well. Every device of the machine is up.
    pub fn with(machine: &Machine, web: Web, unix: Option<&Path>) -> Self {
        let devices = machine.devices();
        let (machine, unix) = (machine.clone(), unix.map(|path| format!("unix:{}", path.display())));
        let addresses = ["127.0.0.1:0"].into_iter().chain(unix.as_deref());
        let listeners: Vec<_> = addresses
            .map(|address| listen::bind(&listen_address(address).expect("an address")).expect("bound"))
            .collect();
        let BoundSocket::Tcp(first) = &listeners[0] else { panic!("not TCP") };
        let address = first.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let vocabularies = everything();
            let sources: Vec<Box<dyn reading::Source>> = vec![Box::new(FakeSource(machine))];
            let sysfs = "/nowhere".into();
            Serve {
                name: "fake-exporter",
                node_name: "node<1>".into(),
                sources,
                auto: false,
                timing: timing(),
                sysfs,
                workloads: None,
                host: None,
                vocabularies: Arc::new(ArcSwap::from_pointee(vocabularies)),
                listeners,
                web,
                settings: None,
                health: None,
                incident: None,
                detach: Some(crate::http::authority::Authority::new("", None).expect("no file")),
                metrics: Chosen::all([]),
                kernel_log: None,
            }
            .run(|| async {
                // A test that fails drops the sender, which is as good as sending.
                let _ = stopped.await;
            })
        });
        let server = Self { address, stop: Some(stop), thread: Some(thread) };
        eventually("ready", || server.get("/-/ready").starts_with("HTTP/1.1 200"), || server.get("/-/ready"));
        for device in devices {
            server.until(&format!("accel_device_up{{family=\"nvidia\",device=\"{device}\""), 1.0);
        }
        server
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        stream
    }

    /// Sends bytes and reads until the server closes.
    pub fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("sent");
        read_all(&mut stream)
    }

    pub fn get(&self, path: &str) -> String {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    /// Waits until the value of an exporter metric is at least this.
    pub fn until(&self, series: &str, least: f64) {
        let value = || {
            let body = self.get("/metrics");
            let line = body.lines().find(|line| line.starts_with(series))?;
            line.rsplit(' ').next()?.parse::<f64>().ok()
        };
        eventually(series, || value().is_some_and(|value| value >= least), || self.get("/metrics"));
    }

    pub fn stop(&mut self) -> Duration {
        let asked = Instant::now();
        self.stop.take().expect("running").send(()).expect("running");
        self.thread.take().expect("running").join().expect("no panic").expect("no error");
        asked.elapsed()
    }
}

pub fn read_all(stream: &mut impl Read) -> String {
    let mut response = Vec::new();
    stream.read_to_end(&mut response).expect("closed by the server, not reset or timed out");
    String::from_utf8_lossy(&response).into_owned()
}

/// Reads the head of a response; returns it in lower case, with its `Content-Length`.
pub fn read_head(stream: &mut impl Read) -> (String, usize) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text").to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let length = length.parse().expect("a number");
    (head, length)
}

/// Reads one response from a connection that stays open.
pub fn read_one(stream: &mut impl Read) -> (String, Vec<u8>) {
    let (head, length) = read_head(stream);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    (head, body)
}

#[test]
fn routes_methods_and_headers() {
    let server = Server::start(&Machine::with(&["gpu0"]));
    let metrics = server.get("/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(metrics.contains("x-content-type-options: nosniff\r\n"));
    assert!(metrics.contains("\naccel_device_up{family=\"nvidia\",device=\"gpu0\",uuid=\"uuid-gpu0\"} 1\n"));
    assert!(metrics.contains("\nDCGM_FI_DEV_POWER_USAGE"));
    let accept = "Accept: application/openmetrics-text;version=1.0.0\r\nConnection: close";
    let open_metrics = server.exchange(&format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{accept}\r\n\r\n"));
    assert!(open_metrics.contains("application/openmetrics-text; version=1.0.0"), "{open_metrics}");
    assert!(open_metrics.ends_with("# EOF\n"));
    assert!(server.get("/-/healthy").ends_with("alive\n"));
    let page = server.get("/");
    assert!(page.contains("text/html") && page.contains("libfake.so.1") && page.contains("1 up"), "{page}");
    assert!(server.get("/nothing").starts_with("HTTP/1.1 404"));
    let posted = server
        .exchange("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert!(posted.starts_with("HTTP/1.1 405") && posted.contains("allow: GET, HEAD\r\n"), "{posted}");
    server.until("accelscope_http_requests_total{code=\"405\"}", 1.0);
}

#[test]
fn head_has_the_length_of_get_and_no_body() {
    let server = Server::start(&Machine::with(&["gpu0"]));
    for path in ["/-/healthy", "/", "/live.js", "/live.css", "/metrics"] {
        let head = server.exchange(&format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        if path != "/metrics" {
            let get = server.get(path);
            assert_eq!(length.parse(), Ok(get.split_once("\r\n\r\n").expect("a body").1.len()));
        }
        assert!(length.parse::<usize>().is_ok_and(|length| length > 0));
    }
}

#[test]
fn filters_take_sources_by_name() {
    let server = Server::start(&Machine::with(&["gpu0"]));
    assert!(server.get("/metrics?collect%5B%5D=nvidia").contains("accel_device_up"));
    assert!(server.get("/metrics?collect[]=nvidia&other=1").contains("accel_device_up"));
    let without = server.get("/metrics?exclude[]=nvidia");
    assert!(
        without.starts_with("HTTP/1.1 200") && !without.contains("nvidia") && without.contains("process_")
    );
    let both = server.get("/metrics?collect[]=nvidia&exclude[]=nvidia");
    assert!(both.starts_with("HTTP/1.1 400") && both.contains("use one"), "{both}");
    let unknown = server.get("/metrics?collect[]=voodoo");
    assert!(
        unknown.starts_with("HTTP/1.1 400") && unknown.contains("\"voodoo\"") && unknown.contains("nvidia")
    );
}

#[test]
fn gzip_when_asked_on_a_connection_that_is_kept() {
    let server = Server::start(&Machine::with(&["gpu0"]));
    let mut stream = server.connect();
    for _ in 0..3 {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n").expect("sent");
        let (head, body) = read_one(&mut stream);
        assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
        let mut text = String::new();
        GzDecoder::new(&*body).read_to_string(&mut text).expect("gzip");
        assert!(text.contains("accel_device_up"));
    }
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip;q=0\r\n\r\n").expect("sent");
    assert!(!read_one(&mut stream).0.contains("content-encoding"));
    server.until("accelscope_http_connections ", 2.0);
}

#[test]
fn ready_names_what_it_waits_for() {
    let machine = Machine::with(&["gpu0"]);
    let server = Server::start(&machine);
    machine.set("open gpu1", Act::Hang);
    machine.plug(&["gpu0", "gpu1"]);
    let waiting = || server.get("/-/ready");
    eventually("it waits", || waiting().starts_with("HTTP/1.1 503"), waiting);
    assert!(waiting().contains("nvidia: waiting for the first sample of gpu1"));
    // A device past its deadline is down for a reason: there is nothing to wait for.
    eventually("it is ready", || waiting().starts_with("HTTP/1.1 200"), waiting);
    assert!(server.get("/").contains("gpu1: open: timed_out (deadline)"));
    machine.set("open gpu1", Act::Succeed);
}

#[test]
fn ready_has_the_reason_why_a_source_is_down() {
    let machine = Machine::with(&[]);
    let server = Server::start(&machine);
    let ready = || server.get("/-/ready");
    eventually("it has a reason", || ready().starts_with("HTTP/1.1 200"), ready);
    assert!(ready().contains("nvidia: ") && ready().contains("lists no device"), "{}", ready());
}

#[test]
fn a_hung_device_slows_no_scrape() {
    let machine = Machine::with(&["gpu0", "gpu1"]);
    let server = Server::start(&machine);
    machine.set("sample gpu0", Act::Hang);
    machine.set("devices", Act::Hang);
    let scrapers: Vec<_> = (0..4)
        .map(|_| {
            let address = server.address;
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).expect("connected");
                let mut slowest = Duration::ZERO;
                let end = Instant::now() + Duration::from_millis(800);
                while Instant::now() < end {
                    let start = Instant::now();
                    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
                    let (head, _) = read_one(&mut stream);
                    assert!(head.starts_with("http/1.1 200"));
                    slowest = slowest.max(start.elapsed());
                }
                slowest
            })
        })
        .collect();
    for scraper in scrapers {
        let slowest = scraper.join().expect("no panic");
        assert!(slowest < Duration::from_millis(500), "a scrape took {slowest:?}");
    }
    let metrics = || server.get("/metrics");
    let is = |device, up| {
        let series =
            format!("accel_device_up{{family=\"nvidia\",device=\"{device}\",uuid=\"uuid-{device}\"}} {up}\n");
        metrics().contains(&series)
    };
    eventually("one is down and the other up", || is("gpu0", 0) && is("gpu1", 1), metrics);
    machine.set("sample gpu0", Act::Succeed);
    machine.set("devices", Act::Succeed);
}

#[test]
fn http_1_0_closes_unless_asked_to_keep() {
    let server = Server::start(&Machine::with(&["gpu0"]));
    let response = server.exchange("GET /metrics HTTP/1.0\r\n\r\n");
    assert!(response.starts_with("HTTP/1.0 200") && response.contains("accel_device_up"), "{response}");
    assert!(!response.contains("transfer-encoding"));
    let mut stream = server.connect();
    for _ in 0..2 {
        stream.write_all(b"GET /-/healthy HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").expect("sent");
        let (head, body) = read_one(&mut stream);
        assert!(head.contains("connection: keep-alive"), "{head}");
        assert_eq!(body, b"alive\n");
    }
}

#[test]
fn a_client_that_closes_its_half_still_gets_its_response() {
    let server = Server::start(&Machine::with(&["gpu0"]));
    let mut stream = server.connect();
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    stream.shutdown(std::net::Shutdown::Write).expect("closed");
    assert!(read_all(&mut stream).ends_with("alive\n"));
}

#[test]
fn garbage_is_rejected_and_closed() {
    let server = Server::start(&Machine::with(&["gpu0"]));
    for garbage in ["\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", "hello\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let response = server.exchange(garbage);
        assert!(response.starts_with("HTTP/1.1 400"), "{garbage:?}: {response}");
    }
    server.until("accelscope_http_requests_total{code=\"400\"}", 3.0);
}

#[test]
fn a_megabyte_of_headers_is_rejected() {
    let server = Server::start(&Machine::with(&["gpu0"]));
    let one = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    assert!(server.exchange(&one).starts_with("HTTP/1.1 431"));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(1 << 18));
    assert!(server.exchange(&many).starts_with("HTTP/1.1 431"));
    server.until("accelscope_http_requests_total{code=\"431\"}", 2.0);
}

#[test]
fn a_client_elsewhere_sees_no_path_and_no_error_text() {
    let node = Arc::new(NodeState::new([Family::Nvidia], false, timing(), &Chosen::all([])));
    node.sources[0].down("/opt/secret/libfake.so.1: no such file".to_owned(), None, None, false);
    let counts = Rc::new(HttpCounts::default());
    let routes = Routes {
        node: Arc::clone(&node),
        bodies: bodies(&node, &counts),
        live: live(&node),
        telemetry_path: "/metrics".to_owned(),
        connections: Rc::new(Connections::new(web().limits, web().timeouts, counts)),
        guard: open(),
        incident: None,
        detach: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let page = |path: &str, peer: Peer| {
        let mut request = hyper::Request::get(path).body(String::new()).expect("a request");
        let response =
            runtime.block_on(routes.respond(&mut request, Client { peer, has_certificate: false }));
        String::from_utf8(response.into_body().to_vec()).expect("text")
    };
    let address = |text: &str| Peer(Some(text.parse().expect("an address")));
    for path in ["/", "/api/v1/node", "/-/ready"] {
        for peer in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"].map(address) {
            let page = page(path, peer);
            assert!(!page.contains("secret") && page.contains("nvidia") && page.contains("down"), "{page}");
        }
        for peer in [address("127.0.0.1"), address("::1"), address("::ffff:127.0.0.9"), Peer(None)] {
            assert!(page(path, peer).contains("secret"), "{peer:?}");
        }
    }
}

#[test]
fn a_unix_socket_replaces_a_dead_one_spares_a_live_one_and_is_removed() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    assert!(path.exists(), "left behind");
    let mut server = Server::with(&Machine::with(&["gpu0"]), web(), Some(&path));
    let mut stream = UnixStream::connect(&path).expect("connected");
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    assert!(read_all(&mut stream).ends_with("alive\n"));
    let address = listen_address(&format!("unix:{}", path.display())).expect("an address");
    let refused = listen::bind(&address).err().expect("somebody listens there");
    assert!(refused.contains("in use") && !refused.contains('\n'), "{refused}");
    server.stop();
    assert!(!path.exists());
}

#[test]
fn a_stop_finishes_what_is_in_flight_within_two_seconds() {
    let machine = Machine::with(&["gpu0", "gpu1"]);
    machine.links(20_000);
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("socket");
    let mut server = Server::with(&machine, web(), Some(&path));
    let _kept = server.connect();
    machine.set("sample gpu0", Act::Hang);
    let mut reader = UnixStream::connect(&path).expect("connected");
    reader.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let (_, length) = read_head(&mut reader);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        sender.send(read_all(&mut reader)).expect("somebody waits");
    });
    let took = server.stop();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let rest = receiver.recv_timeout(Duration::from_secs(5)).expect("the rest");
    assert_eq!(rest.len(), length);
    assert!(TcpStream::connect(server.address).is_err(), "nobody listens any more");
    machine.set("sample gpu0", Act::Succeed);
}

#[test]
fn both_ip_families_are_served() {
    let BoundSocket::Tcp(listener) = listen::bind(&listen_address(":0").expect("an address")).expect("bound")
    else {
        panic!("not TCP")
    };
    let port = listener.local_addr().expect("an address").port();
    listener.set_nonblocking(false).expect("blocking");
    TcpStream::connect(("127.0.0.1", port)).expect("IPv4");
    if TcpStream::connect(("::1", port)).is_err() {
        assert!(
            listener.local_addr().expect("an address").is_ipv4(),
            "only a kernel without IPv6 may refuse"
        );
    }
    let taken = listen::bind(&listen_address(&format!(":{port}")).expect("an address")).err().expect("taken");
    assert!(
        taken.starts_with(&format!("cannot listen on :{port}")) && taken.contains("--web.listen-address"),
        "{taken}"
    );
}

/// Every name.
fn everything() -> Vocabularies {
    Vocabularies {
        unified: true,
        vendor: true,
        filters: vec![],
        left_out: BTreeSet::new(),
        holders: false,
        max_series: None,
    }
}

/// No web configuration.
fn open() -> Rc<Guard> {
    Rc::new(Guard::new(None, false))
}

/// The page of a node.
pub fn live(node: &Arc<NodeState>) -> Live {
    let judge = Rc::new(Judge::builtin());
    let verdicts = Rc::new(Verdicts::new(Arc::clone(node), Rc::clone(&judge)));
    Live::new("fake-exporter", "node1".to_owned(), Arc::clone(node), judge, verdicts)
}

fn bodies(node: &Arc<NodeState>, counts: &Rc<HttpCounts>) -> BodyCache {
    let vocabularies = everything();
    BodyCache::new(
        Arc::clone(node),
        Arc::new(ArcSwap::from_pointee(vocabularies)),
        Rc::clone(counts),
        SelfMetrics::new(None, open(), None),
        Rc::new(Verdicts::new(Arc::clone(node), Rc::new(Judge::builtin()))),
    )
}

#[test]
fn a_body_is_built_once_per_change() {
    let mut timing = timing();
    timing.interval = Duration::from_mins(1);
    let node = Arc::new(NodeState::new([Family::Nvidia, Family::Xpu], false, timing, &Chosen::all([])));
    let bodies = bodies(&node, &Rc::default());
    let all = Selection::of(&node, |_| true);
    let one = Selection::of(&node, |source| source.family == Family::Nvidia);
    let whats = [
        (Format::Text, false, all),
        (Format::Text, true, all),
        (Format::OpenMetrics, true, all),
        (Format::Protobuf, false, all),
        (Format::Text, false, one),
        (Format::Text, true, one),
    ];
    let get = |(format, gzip, sources)| bodies.get(What { format, gzip, sources });
    let build = || whats.map(|what| get(what).as_ptr());
    // Holding on to a body keeps its memory from being used again.
    let first = get(whats[0]);
    assert_eq!(build(), build(), "nothing changed");
    assert_eq!(first.as_ptr(), build()[0]);
    assert_ne!(build()[0], build()[4], "other sources");
    node.sources[0].down("gone".to_owned(), None, None, false);
    let second = get(whats[0]);
    assert_ne!(first.as_ptr(), second.as_ptr());
    assert!(String::from_utf8_lossy(&second).contains("accelscope_source_up{source=\"nvidia\"} 0"));
    thread::sleep(Duration::from_millis(1050));
    assert_ne!(second.as_ptr(), build()[0], "ages move by themselves");
}
