//! The clients of a soak: scrapers of every format, and those that mean harm.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::Random;
use crate::http::{Client, Request};

/// Between two scrapes.
const SCRAPE_PERIOD: Duration = Duration::from_millis(50);

/// For how long a hostile client holds what it has.
const HOLD: Duration = Duration::from_millis(700);

/// The request of everybody.
const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

/// Headers of a scrape in each format, and how its content type begins.
const FORMATS: [(&[(&str, &str)], &str); 4] = [
    (&[], "text/plain"),
    (&[("Accept", "application/openmetrics-text;version=1.0.0")], "application/openmetrics-text"),
    (
        &[(
            "Accept",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
        )],
        "application/vnd.google.protobuf",
    ),
    (&[("Accept-Encoding", "gzip")], "text/plain"),
];

/// What the clients did.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Scrapes in all formats.
    pub scrapes: u64,
    /// The slowest of them.
    pub slowest: Duration,
    /// Those that failed, each with its reason.
    pub failed: Vec<String>,
    /// Hostile connections.
    pub attacks: u64,
}

/// Scrapes every exporter in every format until it is stopped.
pub fn scrape(addresses: &[SocketAddr], gate: &RwLock<()>, stop: &AtomicBool) -> Traffic {
    let mut traffic = Traffic::default();
    let turns = addresses.iter().flat_map(|address| FORMATS.iter().map(move |format| (*address, format)));
    for (address, (headers, content_type)) in turns.cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let open = gate.read().expect("nobody panics while measuring");
        let start = Instant::now();
        let scraped = || -> Result<()> {
            let response = Client::connect(address)?.send(Request::get("/metrics").with(headers))?.ok()?;
            let given = response.header("content-type").unwrap_or_default();
            ensure!(given.starts_with(content_type), "{given:?} instead of {content_type}");
            ensure!(!response.body.is_empty(), "an empty scrape");
            Ok(())
        };
        if let Err(error) = scraped() {
            traffic.failed.push(format!("{error:#}"));
        }
        traffic.scrapes += 1;
        traffic.slowest = traffic.slowest.max(start.elapsed());
        drop(open);
        thread::sleep(SCRAPE_PERIOD);
    }
    traffic
}

/// Harms one exporter after the other until it is stopped; returns the number of connections.
pub fn attack(addresses: &[SocketAddr], mut random: Random, gate: &RwLock<()>, stop: &AtomicBool) -> u64 {
    let mut connections = 0;
    while !stop.load(Ordering::Relaxed) {
        let open = gate.read().expect("nobody panics while measuring");
        let address = addresses[random.below(addresses.len())];
        let (count, attack) = ATTACKS[random.below(ATTACKS.len())];
        let mut held = Vec::new();
        for _ in 0..count {
            let Ok(stream) = TcpStream::connect(address) else { continue };
            connections += 1;
            // The exporter may close it at any time, which is what it should do.
            let _ = stream.set_write_timeout(Some(HOLD)).and_then(|()| attack(&stream));
            held.push(stream);
        }
        thread::sleep(HOLD);
        drop(held);
        drop(open);
        // Who wants to measure gets its turn.
        thread::sleep(SCRAPE_PERIOD);
    }
    connections
}

/// What is done with a new connection.
type Attack = fn(&TcpStream) -> std::io::Result<()>;

/// How many connections at once, and what is done with each.
const ATTACKS: [(usize, Attack); 7] = [
    // Silent.
    (40, |_| Ok(())),
    // A head without an end.
    (20, |mut stream| stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ")),
    // No HTTP at all.
    (5, |mut stream| stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0xff, b'\r', b'\n', b'\r', b'\n'])),
    // Many requests, of which no response is read.
    (10, |mut stream| stream.write_all(&GET.repeat(20))),
    // Half closed after its request.
    (5, |mut stream| {
        stream.write_all(GET)?;
        stream.shutdown(Shutdown::Write)?;
        stream.set_read_timeout(Some(HOLD))?;
        stream.read(&mut [0; 512]).map(drop)
    }),
    // A head of 1 MiB.
    (2, |mut stream| {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Long: ")?;
        stream.write_all(&[b'y'; 1 << 20])
    }),
    // Closed with a response on its way, which resets the connection.
    (20, |mut stream| {
        stream.write_all(GET)?;
        stream.shutdown(Shutdown::Both)
    }),
];
