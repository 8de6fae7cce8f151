//! `--web.config.file`, with clients that are not ours: curl, OpenSSL and a real Prometheus.

mod files;
mod hostile;
mod pki;
mod reload;
mod users;

use std::{net::SocketAddr, process::Command};

use anyhow::{Context, Result, ensure};
use e2e::{Exporter, Node, Prometheus, eventually, process};
use pki::{Leaf, Pki, bcrypt, server_names};
use serde_json::json;

/// An exporter that serves by a web configuration.
struct Secured {
    exporter: Exporter,
    _node: Node,
}

/// Starts it, and waits until it listens.
fn secured(config: &str, flags: &[&str]) -> Result<Secured> {
    let node = Node::new("t4-1")?.frozen();
    let mut exporter = node.launch(&[&["--web.config.file", config], flags].concat())?;
    eventually("it listens", || {
        exporter.process.ensure_running()?;
        exporter.process.log().contains("device is up").then_some(()).context("not yet")
    })?;
    Ok(Secured { exporter, _node: node })
}

/// What curl reports of one request.
#[derive(Debug, PartialEq, Eq)]
struct Fetched {
    /// curl's exit code: 0, or 35, 56 and others where TLS fails.
    code: Option<i32>,
    /// `200 2` is status 200 over HTTP/2; `000 0` is no response.
    status: String,
    head: String,
    body: String,
}

fn curl(pki: &Pki, url: &str, flags: &[&str]) -> Result<Fetched> {
    let mut command = Command::new("curl");
    command.current_dir(pki.folder()).args(["--silent", "--max-time", "60", "--cacert", "ca.pem"]);
    command.args([
        "--dump-header",
        "head",
        "--output",
        "body",
        "--write-out",
        "%{http_code} %{http_version}",
    ]);
    for file in ["head", "body"] {
        std::fs::write(pki.at(file), "")?;
    }
    let finished = process::run(command.args(flags).arg(url))?;
    let read =
        |file| Ok::<_, anyhow::Error>(String::from_utf8_lossy(&std::fs::read(pki.at(file))?).into_owned());
    let status = finished.stdout.trim_end_matches(".1").to_owned();
    Ok(Fetched { code: finished.code, status, head: read("head")?.to_lowercase(), body: read("body")? })
}

fn https(address: SocketAddr, path: &str) -> String {
    format!("https://{address}{path}")
}

impl Secured {
    fn curl(&self, pki: &Pki, path: &str, flags: &[&str]) -> Result<Fetched> {
        curl(pki, &https(self.exporter.address, path), flags)
    }

    /// The status of a response alone.
    fn status(&self, pki: &Pki, path: &str, flags: &[&str]) -> Result<String> {
        Ok(self.curl(pki, path, flags)?.status.split(' ').next().unwrap_or_default().to_owned())
    }

    /// What OpenSSL says of a handshake: its whole output where that succeeds.
    fn handshake(&self, pki: &Pki, flags: &[&str]) -> Result<Option<String>> {
        let mut command = Command::new("openssl");
        command.current_dir(pki.folder()).args(["s_client", "-connect", &self.exporter.address.to_string()]);
        let finished = process::run_with(command.args(["-CAfile", "ca.pem"]).args(flags), "Q\n")?;
        Ok((finished.code == Some(0)).then_some(finished.stdout))
    }
}

#[test]
fn curl_reads_metrics_over_both_versions_of_http() -> Result<()> {
    let pki = Pki::new()?;
    let server = secured(&pki.web_config("TLS\n")?, &[])?;
    for (version, shown) in [("--http1.1", "200 1"), ("--http2", "200 2")] {
        for path in ["/metrics", "/-/healthy", "/-/ready", "/"] {
            let fetched = server.curl(&pki, path, &[version])?;
            ensure!(fetched.code == Some(0) && fetched.status == shown, "{path}: {fetched:?}");
        }
        let metrics = server.curl(&pki, "/metrics", &[version])?.body;
        ensure!(
            metrics.contains("accel_device_up{")
                && metrics.contains("accelscope_config_last_reload_successful{file=\"web_config\"} 1"),
            "{metrics}"
        );
    }
    // Several at once over one connection.
    let urls = vec![https(server.exporter.address, "/metrics"); 7];
    let mut command = Command::new("curl");
    command.current_dir(pki.folder()).args(["--silent", "--cacert", "ca.pem", "--http2", "--parallel"]);
    let bodies = process::run(command.args(urls))?.success()?;
    ensure!(bodies.matches("# HELP accel_device_up ").count() == 7);

    let plain = curl(&pki, &format!("http://{}/metrics", server.exporter.address), &[])?;
    ensure!(plain.status == "400 1" && plain.body.contains("https://"), "{plain:?}");

    let config = pki.web_config("TLS\nhttp_server_config:\n  http2: no\n")?;
    let server = secured(&config, &[])?;
    ensure!(server.curl(&pki, "/metrics", &["--http2"])?.status == "200 1");
    server.exporter.ends_in_order()
}

#[test]
fn prometheus_scrapes_over_tls_with_a_password_and_over_mutual_tls() -> Result<()> {
    let pki = Pki::new()?;
    let mutual = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  client_allowed_sans: [client]\n";
    std::fs::rename(pki.web_config(&format!("TLS\n{mutual}"))?, pki.at("mutual.yml"))?;
    let mutual = secured(&pki.at("mutual.yml").display().to_string(), &[])?;
    let users = format!("TLS\nbasic_auth_users:\n  prometheus: {}\n", bcrypt("secret", 10)?);
    let with_users = secured(&pki.web_config(&users)?, &[])?;
    let tls = json!({ "ca_file": pki.at("ca.pem") });
    let mut with_certificate = tls.clone();
    with_certificate["cert_file"] = json!(pki.at("client.pem"));
    with_certificate["key_file"] = json!(pki.at("client.key"));
    let job = |name: &str, server: &Secured, tls: &serde_json::Value| {
        json!({
            "job_name": name, "scheme": "https", "tls_config": tls,
            "static_configs": [{ "targets": [server.exporter.address.to_string()] }],
        })
    };
    let mut password = job("password", &with_users, &tls);
    password["basic_auth"] = json!({ "username": "prometheus", "password": "secret" });
    let mut wrong = job("wrong", &with_users, &tls);
    wrong["basic_auth"] = json!({ "username": "prometheus", "password": "guess" });
    let config = json!({
        "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
        "scrape_configs": [
            password, wrong, job("mutual", &mutual, &with_certificate), job("stranger", &mutual, &tls),
        ],
    });
    let prometheus = Prometheus::with_config(&config, &[])?;
    for (job, up) in [("password", 1.0), ("mutual", 1.0), ("wrong", 0.0), ("stranger", 0.0)] {
        eventually(&format!("{job} is scraped"), || {
            let last = prometheus.value(&format!("count_over_time(up{{job=\"{job}\"}}[2m])"))?;
            ensure!(last >= 5.0, "{last} scrapes");
            let seen = prometheus.value(&format!("min_over_time(up{{job=\"{job}\"}}[3s])"))?;
            ensure!((seen - up).abs() < f64::EPSILON, "up is {seen}");
            Ok(())
        })?;
        let devices = prometheus.query(&format!("accel_device_up{{job=\"{job}\"}}"))?;
        ensure!(devices.len() == usize::from(up > 0.0), "{job}: {devices:?}");
    }
    Ok(())
}

#[test]
fn versions_ciphers_and_curves_are_those_of_the_file() -> Result<()> {
    let pki = Pki::new()?;
    let server = secured(&pki.web_config("TLS\n")?, &[])?;
    ensure!(server.handshake(&pki, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"])?.is_none(), "TLS 1.1");
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let shown = server.handshake(&pki, &[flag])?.with_context(|| flag.to_owned())?;
        ensure!(shown.contains(version) && shown.contains("Verify return code: 0"), "{shown}");
    }
    let only = |text: &str| secured(&pki.web_config(&format!("TLS\n{text}"))?, &[]);

    let server = only("  min_version: TLS13\n")?;
    ensure!(
        server.handshake(&pki, &["-tls1_2"])?.is_none() && server.handshake(&pki, &["-tls1_3"])?.is_some()
    );
    let server = only("  max_version: TLS12\n")?;
    ensure!(
        server.handshake(&pki, &["-tls1_3"])?.is_none() && server.handshake(&pki, &["-tls1_2"])?.is_some()
    );

    let suites = [
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_AES_128_GCM_SHA256",
    ];
    let clients = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305";
    for (prefers, chosen) in [("true", "CHACHA20-POLY1305"), ("false", "AES256-GCM-SHA384")] {
        let text =
            format!("  cipher_suites: [{}]\n  prefer_server_cipher_suites: {prefers}\n", suites.join(", "));
        let server = only(&text)?;
        let shown = server.handshake(&pki, &["-tls1_2", "-cipher", clients])?.context("common suites")?;
        ensure!(shown.contains(&format!("ECDHE-ECDSA-{chosen}")), "{prefers}: {shown}");
        let left_out = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"];
        ensure!(server.handshake(&pki, &left_out)?.is_none(), "a suite that the file leaves out");
        ensure!(server.handshake(&pki, &["-tls1_3"])?.is_some(), "suites of TLS 1.3 are always there");
    }

    let server = only("  curve_preferences: [CurveP384]\n")?;
    ensure!(server.handshake(&pki, &["-groups", "P-384"])?.is_some());
    ensure!(server.handshake(&pki, &["-groups", "X25519"])?.is_none());
    Ok(())
}

#[test]
fn client_certificates_are_asked_for_and_checked_as_the_type_says() -> Result<()> {
    let pki = Pki::new()?;
    pki.authority("stranger")?;
    pki.sign("stranger", &Leaf { name: "foreign", alternative_names: "DNS:client", days: 30 })?;
    pki.sign("ca", &Leaf { name: "expired", alternative_names: "DNS:client", days: -1 })?;
    let clients: [&[&str]; 4] = [
        &[],
        &["--cert", "client.pem", "--key", "client.key"],
        &["--cert", "foreign.pem", "--key", "foreign.key"],
        &["--cert", "expired.pem", "--key", "expired.key"],
    ];
    // No response at all is `000`: the handshake failed.
    for (kind, has_authority, metrics, health) in [
        ("NoClientCert", false, ["200"; 4], ["200"; 4]),
        ("RequestClientCert", false, ["200"; 4], ["200"; 4]),
        ("RequireAnyClientCert", false, ["403", "200", "200", "200"], ["200"; 4]),
        ("VerifyClientCertIfGiven", false, ["200", "000", "000", "000"], ["200", "000", "000", "000"]),
        ("VerifyClientCertIfGiven", true, ["200", "200", "000", "000"], ["200", "200", "000", "000"]),
        ("RequireAndVerifyClientCert", true, ["403", "200", "000", "000"], ["200", "200", "000", "000"]),
    ] {
        let authority = if has_authority { "  client_ca_file: ca.pem\n" } else { "" };
        let config = pki.web_config(&format!("TLS\n  client_auth_type: {kind}\n{authority}"))?;
        let server = secured(&config, &[])?;
        let protected = secured(&config, &["--web.protect-health"])?;
        for (at, client) in clients.iter().enumerate() {
            for version in ["--http1.1", "--http2"] {
                let flags = [*client, &[version]].concat();
                ensure!(server.status(&pki, "/metrics", &flags)? == metrics[at], "{kind} {client:?}");
                ensure!(server.status(&pki, "/-/healthy", &flags)? == health[at], "{kind} {client:?}");
                let closed = if metrics[at] == "403" { "000" } else { metrics[at] };
                ensure!(protected.status(&pki, "/-/healthy", &flags)? == closed, "{kind} {client:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn every_kind_of_alternative_name_is_compared_as_a_whole() -> Result<()> {
    let pki = Pki::new()?;
    let kinds =
        ["DNS:db.example", "IP:192.0.2.7", "IP:2001:db8::7", "email:ops@example", "URI:spiffe://example/ops"];
    let names = kinds.map(|kind| kind.split_once(':').map_or("", |(_, name)| name));
    for (at, alternative) in kinds.iter().enumerate() {
        pki.sign("ca", &Leaf { name: "named", alternative_names: alternative, days: 30 })?;
        let fetch = |allowed: &str| {
            let text = format!(
                "TLS\n  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  client_allowed_sans:\n    - other\n    - '{allowed}'\n"
            );
            let server = secured(&pki.web_config(&text)?, &[])?;
            server.status(&pki, "/metrics", &["--cert", "named.pem", "--key", "named.key"])
        };
        ensure!(fetch(names[at])? == "200", "{alternative}");
        ensure!(fetch(&names[at][1..])? == "000", "a part of {alternative}");
    }
    Ok(())
}

#[test]
fn a_client_finds_a_wrong_or_expired_certificate_of_the_server() -> Result<()> {
    let pki = Pki::new()?;
    let config = pki.web_config("TLS\n")?;
    for (alternative_names, days) in [("DNS:elsewhere", 30), (&*server_names()?, -1)] {
        pki.sign("ca", &Leaf { name: "server", alternative_names, days })?;
        let server = secured(&config, &[])?;
        let fetched = server.curl(&pki, "/metrics", &[])?;
        ensure!(fetched.code == Some(60), "{fetched:?}");
        ensure!(server.status(&pki, "/metrics", &["--insecure"])? == "200", "it is served all the same");
    }
    Ok(())
}
