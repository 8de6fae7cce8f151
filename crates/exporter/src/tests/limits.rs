//! Clients that keep the server waiting: which of them is closed, when, and who is served beside them.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    fake::{Machine, eventually},
    http::{Server, read_all, read_head, read_one, web},
};
use crate::{commands::serve::Web, http::connection::Timeouts, http::connections::Limits};

#[test]
fn a_slow_head_times_out_and_a_slow_reader_does_not() {
    let server = Server::start(&Machine::with(&["gpu0"]));
    let started = Instant::now();
    let mut slow = server.connect();
    let mut silent = server.connect();
    let mut kept = server.connect();
    kept.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    read_one(&mut kept);
    // One byte at a time, each well within the timeout: it is the whole head that must arrive in time.
    let mut sent = 0;
    for byte in b"GET /metrics HTTP/1.1\r\nHost: an-endless-name".iter().cycle() {
        if slow.write_all(&[*byte]).is_err() {
            break;
        }
        sent += 1;
        thread::sleep(Duration::from_millis(20));
        assert!(started.elapsed() < Duration::from_secs(10), "never cut off");
    }
    assert!(sent > 2);
    assert_eq!(read_all(&mut silent), "", "a client that says nothing is cut off too");
    // Between requests a connection may be silent for longer than a head may take.
    kept.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    assert_eq!(read_one(&mut kept).1, b"alive\n");
}

#[test]
fn an_idle_connection_is_closed() {
    let timeouts =
        Timeouts { head: Duration::from_secs(20), idle: Duration::from_millis(200), ..web().timeouts };
    let server = Server::with(&Machine::with(&["gpu0"]), Web { timeouts, ..web() }, None);
    let mut stream = server.connect();
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    assert!(read_all(&mut stream).ends_with("alive\n"));
}

#[test]
fn silent_connections_past_the_cap_are_closed_and_scrapes_go_on() {
    let web = Web {
        limits: Limits { connections: 100, ..web().limits },
        timeouts: Timeouts { head: Duration::from_secs(5), ..web().timeouts },
        ..web()
    };
    let server = Server::with(&Machine::with(&["gpu0"]), web, None);
    let mut scraper = server.connect();
    let mut scrape = || {
        scraper.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        String::from_utf8(read_one(&mut scraper).1).expect("text")
    };
    scrape();
    let crowd: Vec<_> = (0..1000).map(|_| server.connect()).collect();
    let refused = |scrape: &mut dyn FnMut() -> String| {
        let body = scrape();
        let line = body.lines().find(|line| line.starts_with("accelscope_http_connections_refused_total "));
        line.expect("counted").rsplit(' ').next().expect("a value").parse::<f64>().expect("a number")
    };
    eventually("all but a few are closed", || refused(&mut scrape) >= 901.0, || server.get("/metrics"));
    drop(crowd);
    eventually("there is room again", || server.get("/-/healthy").ends_with("alive\n"), String::new);
}

/// Asks for a large body and reads no more than its head.
fn ask_for_much(path: &Path) -> UnixStream {
    loop {
        let mut stream = UnixStream::connect(path).expect("connected");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
        // On a busy machine the device may just be down, and the body small.
        if read_head(&mut stream).1 > 1_000_000 {
            return stream;
        }
    }
}

/// A server with bodies that are larger than any socket buffer, and its unix socket.
fn with_large_bodies(web: Web) -> (Server, tempfile::TempDir) {
    let machine = Machine::with(&["gpu0"]);
    machine.links(20_000);
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::with(&machine, web, Some(&dir.path().join("socket")));
    (server, dir)
}

#[test]
fn scrapes_past_the_limit_get_503_and_retry_after() {
    let limits = Limits { responses: 2, ..web().limits };
    let (server, dir) = with_large_bodies(Web { limits, ..web() });
    let path = dir.path().join("socket");
    // Slow, but they read.
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = ask_for_much(&path);
            thread::spawn(move || {
                let mut last = [0; 4096];
                loop {
                    let length = stream.read(&mut last).expect("closed by the server, not reset");
                    if length == 0 {
                        return;
                    }
                    thread::sleep(Duration::from_millis(2));
                }
            })
        })
        .collect();
    let response = || server.get("/metrics");
    eventually("too many", || response().starts_with("HTTP/1.1 503"), String::new);
    assert!(server.get("/-/healthy").starts_with("HTTP/1.1 200"), "only scrapes are limited");
    for reader in readers {
        reader.join().expect("whoever reads gets everything");
    }
    eventually("room again", || response().starts_with("HTTP/1.1 200"), String::new);
}

#[test]
fn a_response_that_nobody_reads_takes_no_place() {
    let limits = Limits { responses: 2, ..web().limits };
    let (server, dir) = with_large_bodies(Web { limits, ..web() });
    let unread: Vec<_> = (0..2).map(|_| ask_for_much(&dir.path().join("socket"))).collect();
    let response = || server.get("/metrics");
    eventually("served", || response().starts_with("HTTP/1.1 200"), String::new);
    drop(unread);
}

#[test]
fn a_response_has_a_deadline_also_for_a_client_that_reads_byte_by_byte() {
    let timeouts = Timeouts { response: Duration::from_millis(300), ..web().timeouts };
    let (_server, dir) = with_large_bodies(Web { timeouts, ..web() });
    let mut silent = ask_for_much(&dir.path().join("socket"));
    let mut slow = ask_for_much(&dir.path().join("socket"));
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        slow.read_exact(&mut [0]).expect("what the kernel has taken");
        thread::sleep(Duration::from_millis(20));
    }
    for stream in [&mut silent, &mut slow] {
        let mut rest = Vec::new();
        // A reset is a way to close, too.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 1_000_000, "{} bytes", rest.len());
    }
}

#[test]
fn slow_readers_keep_few_old_bodies() {
    let (server, dir) = with_large_bodies(web());
    let unread: Vec<_> = (0..12)
        .map(|_| {
            // Longer than an interval: each gets a body of its own.
            thread::sleep(Duration::from_millis(50));
            ask_for_much(&dir.path().join("socket"))
        })
        .collect();
    let mut stream = server.connect();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let body = String::from_utf8(read_one(&mut stream).1).expect("text");
    let line =
        body.lines().find(|line| line.starts_with("accelscope_http_requests_in_flight ")).expect("one");
    let in_flight: u32 = line.rsplit(' ').next().expect("a value").parse().expect("a number");
    assert!(in_flight <= 5, "{in_flight} in flight");
    drop(unread);
}

/// A client with this address.
fn connect_from(client: [u8; 4], server: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((client, 0)).into()).expect("an address of this host");
    socket.connect(&server.into()).expect("connected");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    stream
}

#[test]
fn silent_clients_lock_nobody_out() {
    let web = Web {
        limits: Limits { connections: 8, ..web().limits },
        timeouts: Timeouts { head: Duration::from_mins(1), ..web().timeouts },
        ..web()
    };
    let server = Server::with(&Machine::with(&["gpu0"]), web, None);
    let ask = |stream: &mut TcpStream| {
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        assert_eq!(read_one(stream).1, b"alive\n");
    };
    // A scraper that is idle between two scrapes, and silent clients from everywhere, then many from one
    // address.
    let mut scraper = connect_from([127, 0, 0, 2], server.address);
    ask(&mut scraper);
    let mut silent: Vec<_> = (3..15).map(|host| connect_from([127, 0, 0, host], server.address)).collect();
    ask(&mut connect_from([127, 0, 0, 20], server.address));
    ask(&mut scraper);
    silent.extend((0..20).map(|_| connect_from([127, 0, 0, 30], server.address)));
    ask(&mut connect_from([127, 0, 0, 30], server.address));
    ask(&mut scraper);
    // Clients that were served once and then keep their connections are closed after those, the oldest first.
    let mut idle = Vec::new();
    for host in 40..60 {
        idle.push(connect_from([127, 0, 0, host], server.address));
        ask(idle.last_mut().expect("just pushed"));
    }
    ask(&mut connect_from([127, 0, 0, 70], server.address));
    drop((silent, idle));
}
