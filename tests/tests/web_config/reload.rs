//! The file is read again when it changes.

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::{Samples, eventually};

use super::{
    Secured,
    pki::{Leaf, Pki, bcrypt, server_names},
    secured,
};

fn users(password: &str) -> Result<String> {
    Ok(format!("TLS\nbasic_auth_users:\n  anna: {}\n", bcrypt(password, 4)?))
}

/// Whether the file was read well last time.
fn is_good(server: &Secured, pki: &Pki, user: &str) -> Result<bool> {
    let body = server.curl(pki, "/metrics", &["--user", user])?.body;
    let samples = Samples::parse(&body)?;
    let since = samples
        .value("accelscope_config_last_reload_success_timestamp_seconds", &[("file", "web_config")])?;
    ensure!(since > 1.6e9, "{since}");
    Ok(samples.value("accelscope_config_last_reload_successful", &[("file", "web_config")])? > 0.0)
}

fn serial(server: &Secured, pki: &Pki) -> Result<String> {
    let shown = server.handshake(pki, &["-showcerts"])?.context("a handshake")?;
    let (_, certificate) = shown.split_once("-----BEGIN CERTIFICATE-----").context("a certificate")?;
    Ok(certificate.lines().nth(3).context("lines")?.to_owned())
}

#[test]
fn a_rotated_certificate_and_new_users_need_no_restart() -> Result<()> {
    let pki = Pki::new()?;
    pki.web_config(&users("one")?)?;
    // As a Secret is mounted: the files are links into a folder that is replaced as a whole.
    let volume = |name: &str| -> Result<()> {
        fs::create_dir(pki.at(name))?;
        for file in ["web.yml", "server.pem", "server.key"] {
            fs::copy(pki.at(file), pki.at(name).join(file))?;
        }
        std::os::unix::fs::symlink(name, pki.at("next"))?;
        fs::rename(pki.at("next"), pki.at("data"))?;
        Ok(())
    };
    volume("first")?;
    let config = pki.at("data/web.yml").display().to_string();
    let server = secured(&config, &[])?;
    let before = serial(&server, &pki)?;
    ensure!(is_good(&server, &pki, "anna:one")?);

    pki.sign("ca", &Leaf { name: "server", alternative_names: &server_names()?, days: 30 })?;
    pki.web_config(&users("two")?)?;
    volume("second")?;
    eventually("another certificate is shown", || {
        ensure!(serial(&server, &pki)? != before);
        Ok(())
    })?;
    ensure!(server.status(&pki, "/metrics", &["--user", "anna:one"])? == "401", "a password of before");
    ensure!(is_good(&server, &pki, "anna:two")?);
    ensure!(server.exporter.process.log().contains("web configuration read again"));

    // A certificate whose key is not there yet.
    fs::copy(pki.at("first/server.pem"), pki.at("second/server.pem"))?;
    eventually("the file is found bad", || {
        ensure!(!is_good(&server, &pki, "anna:two")?);
        Ok(())
    })?;
    let log = server.exporter.process.log();
    let said: Vec<_> = log.lines().filter(|line| line.contains("does not belong")).collect();
    ensure!(said.len() == 1 && said[0].contains("web.yml:3:") && said[0].contains("last good"), "{log}");
    fs::copy(pki.at("first/server.key"), pki.at("second/server.key"))?;
    eventually("the pair is taken", || {
        ensure!(serial(&server, &pki)? == before && is_good(&server, &pki, "anna:two")?);
        Ok(())
    })
}

#[test]
fn a_bad_file_changes_nothing() -> Result<()> {
    let pki = Pki::new()?;
    let good = users("one")?;
    let config = pki.web_config(&good)?;
    let server = secured(&config, &[])?;
    for bad in [
        "basic_auth_user:\n  anna: x\n",
        "\0",
        "TLS\n  min_version: TLS10\n",
        "",
        "basic_auth_users:\n  a: [\n",
    ] {
        pki.web_config(bad)?;
        eventually("the file is found bad", || {
            ensure!(!is_good(&server, &pki, "anna:one")?);
            Ok(())
        })?;
        ensure!(server.status(&pki, "/metrics", &[])? == "401", "the users stay");
        pki.web_config(&good)?;
        eventually("the file is good again", || {
            ensure!(is_good(&server, &pki, "anna:one")?);
            Ok(())
        })?;
    }
    fs::remove_file(&config)?;
    eventually("the file is missed", || {
        ensure!(!is_good(&server, &pki, "anna:one")?);
        Ok(())
    })?;
    ensure!(server.exporter.process.log().contains("TLS is switched on or off by a restart only"));
    server.exporter.ends_in_order()
}
