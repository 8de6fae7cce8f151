//! Clients that mean harm or do not know better, and a normal scrape beside each of them.

#![expect(clippy::float_cmp, reason = "flags and counts are printed and parsed exactly")]

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    Exporter, Node, eventually,
    http::{Client, Request},
    wait::CEILING,
};

/// What a hostile client may cost in memory. An honest scrape costs less than 1 MiB.
const MEMORY_BYTES_MAX: u64 = 16 << 20;

fn exporter(flags: &[&str]) -> Result<(Node, Exporter, u64)> {
    let node = Node::new("h100-sxm-8")?.frozen();
    let exporter = node.start(flags)?;
    exporter.settled()?;
    let resident = exporter.process.resident_bytes()?;
    Ok((node, exporter, resident))
}

/// It still serves a new client, and its memory never rose by much.
fn unharmed(exporter: &mut Exporter, resident: u64) -> Result<()> {
    exporter.process.ensure_running()?;
    let samples = exporter.scrape()?;
    ensure!(samples.sum("accel_device_up", &[]) == 8.0);
    let peak = exporter.process.peak_resident_bytes()?;
    ensure!(peak < resident + MEMORY_BYTES_MAX, "{resident} bytes became {peak}");
    Ok(())
}

/// Reads until the server closes the connection; returns what was sent before.
fn until_closed(mut stream: TcpStream) -> Result<String> {
    stream.set_read_timeout(Some(CEILING))?;
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        // A reset is a way to close, too.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => return Err(error).context("the server leaves the connection open"),
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn slow_loris_is_cut_off() -> Result<()> {
    let (_node, mut exporter, resident) = exporter(&["--web.header-timeout", "2s"])?;
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(exporter.address)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ")?;
        slow.push(stream);
    }
    // A byte now and then must not buy more time.
    let start = Instant::now();
    let mut open = slow.len();
    while open > 0 {
        ensure!(start.elapsed() < CEILING, "{open} of 50 are still open");
        unharmed(&mut exporter, resident)?;
        thread::sleep(Duration::from_millis(300));
        open = slow.iter_mut().filter_map(|stream| stream.write_all(b"x").ok()).count();
    }
    Ok(())
}

#[test]
fn a_thousand_open_connections_are_bounded() -> Result<()> {
    // The usual limit of 1,024 open files leaves little room beside a thousand sockets.
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = rustix::process::Rlimit { current: limits.maximum.or(Some(4096)), ..limits };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, wanted)?;

    let flags = ["--web.max-connections", "100", "--web.header-timeout", "3s"];
    let (_node, mut exporter, resident) = exporter(&flags)?;
    // A server that is being scraped keeps its connection, and keeps being served.
    let mut prometheus = Client::connect(exporter.address)?;
    prometheus.send(Request::get("/metrics"))?.ok()?;
    let mut idle = Vec::new();
    for _ in 0..1000 {
        idle.push(TcpStream::connect(exporter.address)?);
    }
    let body = prometheus.send(Request::get("/metrics"))?.ok()?;
    let samples = e2e::Samples::parse(body.text()?)?;
    let connections = samples.value("accelscope_http_connections", &[])?;
    ensure!(connections <= 100.0, "{connections} open connections");
    let peak = exporter.process.peak_resident_bytes()?;
    ensure!(peak < resident + MEMORY_BYTES_MAX, "{resident} bytes became {peak}");

    // Those that say nothing are cut off, and a new client is served although the thousand never leave.
    eventually("a new client is served", || exporter.scrape())?;
    let samples = exporter.scrape()?;
    ensure!(samples.value("accelscope_http_connections_refused_total", &[])? > 0.0);
    drop(idle);
    unharmed(&mut exporter, resident)
}

#[test]
fn a_mebibyte_of_headers_is_refused() -> Result<()> {
    let (_node, mut exporter, resident) = exporter(&[])?;
    for _ in 0..20 {
        let mut stream = TcpStream::connect(exporter.address)?;
        let mut head = b"GET /metrics HTTP/1.1\r\nHost: x\r\n".to_vec();
        for number in 0..1024 {
            head.extend(format!("X-{number}: {}\r\n", "y".repeat(1000)).bytes());
        }
        head.extend(b"\r\n");
        // The server may close before it has read everything.
        let _ = stream.write_all(&head);
        let said = until_closed(stream)?;
        ensure!(
            said.is_empty() || said.starts_with("HTTP/1.1 431") || said.starts_with("HTTP/1.1 400"),
            "{said}"
        );
        unharmed(&mut exporter, resident)?;
    }
    Ok(())
}

#[test]
fn garbage_bytes_end_the_connection() -> Result<()> {
    let (_node, mut exporter, resident) = exporter(&[])?;
    let noise: Vec<u8> = (0..65_536_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let cases: [&[u8]; 6] = [
        &noise,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ];
    for case in cases {
        let mut stream = TcpStream::connect(exporter.address)?;
        let _ = stream.write_all(case);
        let said = until_closed(stream)?;
        ensure!(
            said.is_empty() || said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.0 4"),
            "{said}"
        );
        unharmed(&mut exporter, resident)?;
    }
    Ok(())
}

#[test]
fn http_1_0_is_answered_and_closed() -> Result<()> {
    let (_node, exporter, _) = exporter(&[])?;
    let mut stream = TcpStream::connect(exporter.address)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let said = until_closed(stream)?;
    let (head, body) = said.split_once("\r\n\r\n").context("a head and a body")?;
    ensure!(head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200"), "{head}");
    ensure!(e2e::Samples::parse(body)?.sum("accel_device_up", &[]) == 8.0);
    Ok(())
}

#[test]
fn a_client_that_never_reads_harms_nobody() -> Result<()> {
    let (_node, mut exporter, resident) = exporter(&["--web.idle-timeout", "3s"])?;
    // Each asks for far more than the kernel buffers, and takes nothing.
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(exporter.address)?;
        stream.set_write_timeout(Some(Duration::from_millis(100)))?;
        for _ in 0..200 {
            if stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").is_err() {
                break;
            }
        }
        deaf.push(stream);
    }
    unharmed(&mut exporter, resident)?;
    exporter.until("they are cut off", |samples| {
        let connections = samples.value("accelscope_http_connections", &[])?;
        ensure!(connections <= 1.0, "{connections} open connections");
        Ok(())
    })
}

#[test]
fn more_scrapes_at_once_than_allowed_are_told_so() -> Result<()> {
    let (_node, mut exporter, resident) = exporter(&["--web.max-requests", "1"])?;
    // Fills the one place: a response that its client does not read is still being sent.
    let mut deaf = TcpStream::connect(exporter.address)?;
    deaf.set_write_timeout(Some(Duration::from_millis(100)))?;
    let ask = || -> Result<()> {
        let response = exporter.get("/metrics")?;
        ensure!(response.status == 503, "status {}", response.status);
        Ok(())
    };
    let start = Instant::now();
    while ask().is_err() {
        ensure!(start.elapsed() < CEILING, "never 503");
        let _ = deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    exporter.get("/-/healthy")?.ok()?;
    drop(deaf);
    eventually("it is served again", || exporter.get("/metrics")?.ok())?;
    unharmed(&mut exporter, resident)
}
