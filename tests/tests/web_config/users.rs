//! Users, and the rate limit.

use std::{fs, process::Command, thread};

use anyhow::{Context, Result, ensure};
use e2e::http::{self, Request};

use super::{
    pki::{Pki, bcrypt},
    secured,
};

/// A cost at which one check takes minutes.
const SLOW: u32 = 20;

#[test]
fn all_but_health_needs_a_user_and_a_flag_closes_that_too() -> Result<()> {
    let pki = Pki::new()?;
    let users =
        format!("TLS\nbasic_auth_users:\n  anna: {}\n  bert: {}\n", bcrypt("one", 4)?, bcrypt("two", 6)?);
    let config = pki.web_config(&users)?;
    let server = secured(&config, &[])?;
    let protected = secured(&config, &["--web.protect-health"])?;
    for version in ["--http1.1", "--http2"] {
        for path in ["/metrics", "/", "/-/healthy", "/-/ready", "/none"] {
            let is_health = path.starts_with("/-/");
            let known = if path == "/none" { "404" } else { "200" };
            for server in [&server, &protected] {
                let is_open = is_health && !std::ptr::eq(server, &raw const protected);
                for credentials in [None, Some("anna:two"), Some("carl:one"), Some("anna:"), Some(":one")] {
                    let flags = credentials.map_or(vec![version], |user| vec![version, "--user", user]);
                    let fetched = server.curl(&pki, path, &flags)?;
                    let expected = if is_open { "200" } else { "401" };
                    ensure!(fetched.status.starts_with(expected), "{path} {credentials:?}: {fetched:?}");
                    let asks = fetched.head.contains("www-authenticate: basic ");
                    ensure!(asks != is_open, "{path}: {}", fetched.head);
                }
                for user in ["anna:one", "bert:two"] {
                    let status = server.status(&pki, path, &[version, "--user", user])?;
                    ensure!(status == known, "{path} {user}: {status}");
                }
            }
        }
    }
    // Whatever stands in the header is no reason to fail.
    for value in
        ["Basic", "Basic !!!", "Basic YW5uYQ==", "Bearer YW5uYTpvbmU=", "Basic \u{fc}", "basic YW5uYTpvbmU="]
    {
        let status = server.status(&pki, "/metrics", &["--header", &format!("Authorization: {value}")])?;
        ensure!(status == if value.starts_with("basic") { "200" } else { "401" }, "{value}: {status}");
    }
    Ok(())
}

#[test]
fn users_are_asked_for_without_tls_too() -> Result<()> {
    let pki = Pki::new()?;
    let server =
        secured(&pki.web_config(&format!("basic_auth_users:\n  anna: {}\n", bcrypt("one", 4)?))?, &[])?;
    let url = format!("http://{}/metrics", server.exporter.address);
    ensure!(super::curl(&pki, &url, &[])?.status == "401 1");
    ensure!(super::curl(&pki, &url, &["--user", "anna:one"])?.status == "200 1");
    Ok(())
}

#[test]
fn a_password_that_takes_minutes_to_check_delays_nobody_who_is_known() -> Result<()> {
    let pki = Pki::new()?;
    // The hash of a slow user needs no password that fits: its check is never waited for.
    let slow = bcrypt("x", 4)?.replace("$04$", &format!("${SLOW}$"));
    let users = format!("TLS\nbasic_auth_users:\n  fast: {}\n  slow: {slow}\n", bcrypt("one", 4)?);
    let server = secured(&pki.web_config(&users)?, &[])?;
    let known = ["--user", "fast:one"];
    ensure!(server.status(&pki, "/metrics", &known)? == "200");
    let url = super::https(server.exporter.address, "/metrics");
    let folder = pki.folder().to_owned();
    let guesses: Vec<_> = (0..6)
        .map(|guess| {
            let mut command = Command::new("curl");
            command.current_dir(&folder).args(["--silent", "--insecure", "--output", "guess", "--write-out"]);
            command.args(["%{http_code}", "--user", &format!("slow:{guess}"), &url]);
            thread::spawn(move || e2e::process::run(&mut command))
        })
        .collect();
    // One network may let a few wait, and those who come after them get 503. Nobody of them gets in.
    let mut statuses = Vec::new();
    while guesses.iter().any(|guess| !guess.is_finished()) {
        for (path, flags) in [("/metrics", &known[..]), ("/-/healthy", &[])] {
            let status = server.status(&pki, path, flags)?;
            ensure!(status == "200", "{path}: {status}");
        }
    }
    for guess in guesses {
        statuses.push(guess.join().ok().context("no panic")??.stdout);
    }
    statuses.sort();
    ensure!(statuses == ["000", "000", "000", "000", "503", "503"], "{statuses:?}");
    server.exporter.ends_in_order()
}

#[test]
fn past_the_rate_limit_is_429_and_health_is_not_counted() -> Result<()> {
    let pki = Pki::new()?;
    let server = secured(&pki.web_config("TLS\nrate_limit:\n  interval: 1h\n  burst: 3\n")?, &[])?;
    for _ in 0..5 {
        ensure!(server.status(&pki, "/-/ready", &[])? == "200");
    }
    for _ in 0..3 {
        ensure!(server.status(&pki, "/metrics", &[])? == "200");
    }
    let refused = server.curl(&pki, "/metrics", &[])?;
    ensure!(refused.status == "429 2" && refused.head.contains("retry-after: 3600\r"), "{refused:?}");
    ensure!(server.status(&pki, "/-/healthy", &[])? == "200");
    Ok(())
}

#[test]
fn users_and_a_token_may_change_something_and_the_token_reads_nothing() -> Result<()> {
    let pki = Pki::new()?;
    let config = pki.web_config(&format!("basic_auth_users:\n  anna: {}\n", bcrypt("one", 4)?))?;
    fs::write(pki.at("token"), "secret\n")?;
    let token = pki.at("token").display().to_string();
    let flags = ["--incident.enable", "--incident.token-file", &token, "--detach.enable"];
    let server = secured(&config, &flags)?;
    let address = server.exporter.address;
    let json = ("Content-Type", "application/json");
    let [anna, wrong] = ["Basic YW5uYTpvbmU=", "Basic YW5uYTp0d28="].map(|basic| ("Authorization", basic));
    let [bearer, guessed] = ["Bearer secret", "Bearer guess"].map(|bearer| ("Authorization", bearer));
    let page = ("Origin", "http://other.example");
    let (incident, detach) = ("/-/incident", "/-/detach?device=gpu0");
    for (path, headers, expected) in [
        (incident, &[json][..], 401),
        (incident, &[json, wrong], 401),
        (incident, &[json, guessed], 401),
        (incident, &[json, anna, page], 403),
        (incident, &[json, bearer, page], 403),
        (incident, &[json, bearer], 200),
        (incident, &[json, anna], 200),
        // The token of one is not that of another, and no password.
        (detach, &[bearer], 401),
        (detach, &[wrong], 401),
    ] {
        let status = http::post(address, path, headers, "{\"for\":\"1m\"}")?.status;
        ensure!(status == expected, "{path} {headers:?}: {status}");
    }
    for path in ["/metrics", "/debug/samples"] {
        for (header, expected) in [(bearer, 401), (anna, 200)] {
            let status = server.exporter.send(Request::get(path).with(&[header]))?.status;
            ensure!(status == expected, "{path} {header:?}: {status}");
        }
    }
    Ok(())
}
