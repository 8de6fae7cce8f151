//! Clients that keep a handshake open.

use std::{
    io::Write,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use e2e::{Samples, eventually, wait::CEILING};

use super::{Secured, pki::Pki, secured};

/// The first bytes of a handshake record that is announced to be longer.
const HALF: [u8; 6] = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01];

/// What hostile clients may cost in memory.
const MEMORY_BYTES_MAX: u64 = 16 << 20;

fn scrape(server: &Secured, pki: &Pki) -> Result<Samples> {
    let fetched = server.curl(pki, "/metrics", &[])?;
    ensure!(fetched.status == "200 2", "{fetched:?}");
    Samples::parse(&fetched.body)
}

#[test]
fn a_handshake_that_takes_too_long_is_cut_off_and_counted() -> Result<()> {
    let pki = Pki::new()?;
    let server = secured(&pki.web_config("TLS\n")?, &["--web.header-timeout", "2s"])?;
    let mut slow = Vec::new();
    for _ in 0..20 {
        slow.push(TcpStream::connect(server.exporter.address)?);
    }
    let start = Instant::now();
    let mut bytes = HALF.iter().chain(std::iter::repeat(&0));
    let mut open = slow.len();
    while open > 0 {
        ensure!(start.elapsed() < CEILING, "{open} are still open");
        let byte = *bytes.next().unwrap_or(&0);
        open = slow.iter_mut().filter_map(|stream| stream.write_all(&[byte]).ok()).count();
        thread::sleep(Duration::from_millis(100));
    }
    eventually("they are counted", || {
        let failed = scrape(&server, &pki)?.value("accelscope_http_tls_handshakes_failed_total", &[])?;
        ensure!(failed >= 20.0, "{failed}");
        Ok(())
    })
}

#[test]
fn a_thousand_half_open_handshakes_are_bounded_and_scrapes_go_on() -> Result<()> {
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = rustix::process::Rlimit { current: limits.maximum.or(Some(4096)), ..limits };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, wanted)?;

    let pki = Pki::new()?;
    let flags = ["--web.max-connections", "100", "--web.header-timeout", "1m"];
    let server = secured(&pki.web_config("TLS\n")?, &flags)?;
    scrape(&server, &pki)?;
    let resident = server.exporter.process.resident_bytes()?;
    let mut half_open = Vec::new();
    for _ in 0..1000 {
        let mut stream = TcpStream::connect(server.exporter.address)?;
        // It may be closed already for one that came later.
        let _ = stream.write_all(&HALF);
        half_open.push(stream);
    }
    let samples = scrape(&server, &pki)?;
    let connections = samples.value("accelscope_http_connections", &[])?;
    ensure!(connections <= 100.0, "{connections} open connections");
    eventually("those that were closed are counted", || {
        let refused = scrape(&server, &pki)?.value("accelscope_http_connections_refused_total", &[])?;
        ensure!(refused >= 900.0, "{refused}");
        Ok(())
    })?;
    let peak = server.exporter.process.peak_resident_bytes()?;
    ensure!(peak < resident + MEMORY_BYTES_MAX, "{resident} bytes became {peak}");
    drop(half_open);
    server.exporter.ends_in_order()
}

#[test]
fn garbage_instead_of_a_handshake_ends_the_connection() -> Result<()> {
    let pki = Pki::new()?;
    let server = secured(&pki.web_config("TLS\n")?, &[])?;
    let noise: Vec<u8> = (0..65_536_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let record = [&HALF[..], &noise].concat();
    for garbage in [&noise[..], &record, b"GET", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"", &[0x16]] {
        let mut stream = TcpStream::connect(server.exporter.address)?;
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(Some(CEILING))?;
        let mut said = Vec::new();
        // A reset is a way to close, too.
        let _ = std::io::Read::read_to_end(&mut stream, &mut said);
        scrape(&server, &pki)?;
    }
    Ok(())
}
