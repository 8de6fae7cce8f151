//! What a file may say, and what is said of one that is wrong.

use std::fs;

use anyhow::{Result, ensure};
use e2e::Node;

use super::{
    curl, https,
    pki::{Leaf, Pki, bcrypt, server_names},
    secured,
};

#[test]
fn every_key_of_the_format_is_taken() -> Result<()> {
    let pki = Pki::new()?;
    let inline = |file: &str| -> Result<String> {
        let text = fs::read_to_string(pki.at(file))?;
        Ok(format!("    {}\n", text.trim_end().replace('\n', "\n    ")))
    };
    let config = pki.web_config(&format!(
        "# A comment.\n\
         tls_server_config:\n  cert: |\n{}  key: |\n{}  client_ca: |\n{}\
         \x20 client_auth_type: VerifyClientCertIfGiven\n  client_allowed_sans: [client]\n\
         \x20 min_version: TLS12\n  max_version: TLS13\n  prefer_server_cipher_suites: yes\n\
         \x20 cipher_suites:\n  - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n  - TLS_AES_256_GCM_SHA384\n\
         \x20 curve_preferences:\n  - X25519\n  - CurveP256\n\
         http_server_config:\n  http2: true\n  headers:\n    Content-Security-Policy: default-src 'self'\n\
         \x20   X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n    X-XSS-Protection: 0\n\
         \x20   Strict-Transport-Security: max-age=31536000\n\
         basic_auth_users:\n  anna: {}\n  bert: '{}'\n\
         rate_limit:\n  interval: 1ms\n  burst: 1000\n",
        inline("server.pem")?,
        inline("server.key")?,
        inline("ca.pem")?,
        bcrypt("one", 4)?,
        bcrypt("two", 5)?.replace("$2y$", "$2b$"),
    ))?;
    let server = secured(&config, &[])?;
    for user in ["anna:one", "bert:two"] {
        let fetched = server.curl(&pki, "/metrics", &["--user", user])?;
        ensure!(fetched.status == "200 2", "{fetched:?}");
    }
    // On every response, whatever it is.
    for (path, status) in [("/", "401"), ("/-/ready", "200"), ("/none", "401")] {
        let fetched = server.curl(&pki, path, &[])?;
        ensure!(fetched.status.starts_with(status), "{path}: {fetched:?}");
        for header in [
            "content-security-policy: default-src 'self'\r",
            "x-frame-options: deny\r",
            "x-content-type-options: nosniff\r",
            "x-xss-protection: 0\r",
            "strict-transport-security: max-age=31536000\r",
        ] {
            ensure!(fetched.head.matches(header).count() == 1, "{path}: {}", fetched.head);
        }
    }
    // An empty file, and empty sections, ask for nothing.
    for text in ["", "# nothing\n", "tls_server_config:\nbasic_auth_users:\nrate_limit:\n  interval: 0\n"] {
        let server = secured(&pki.web_config(text)?, &[])?;
        server.exporter.get("/metrics")?.ok()?;
        ensure!(curl(&pki, &https(server.exporter.address, "/metrics"), &[])?.code == Some(35));
    }
    Ok(())
}

#[test]
fn a_mistake_in_the_file_is_one_line_with_its_place_and_ends_the_start() -> Result<()> {
    let pki = Pki::new()?;
    pki.sign("ca", &Leaf { name: "other", alternative_names: &server_names()?, days: 30 })?;
    fs::write(pki.at("empty.pem"), "")?;
    fs::write(pki.at("secret.txt"), "basic_auth_users: hunter2hunter2\n")?;
    let node = Node::new("t4-1")?;
    let cases: [(&str, usize, &[&str]); 32] = [
        ("tls_server_confg:\n  cert_file: x\n", 1, &["tls_server_confg", "tls_server_config"]),
        ("TLS\n  cert_flie: server.pem\n", 4, &["cert_flie", "cert_file"]),
        ("http_server_config:\n  http3: true\n", 2, &["http3", "http2"]),
        ("http_server_config:\n  headers:\n    X-Powered-By: me\n", 3, &["X-Powered-By"]),
        ("http_server_config:\n  headers:\n    X-Frame-Options: allow\n", 3, &["deny", "sameorigin"]),
        ("http_server_config:\n  http2: maybe\n", 2, &["http2", "true or false"]),
        ("basic_auth_users:\n  anna: hunter2\n", 2, &["anna", "htpasswd"]),
        ("basic_auth_users: [anna]\n", 1, &["basic_auth_users"]),
        ("rate_limit:\n  interval: 1s\n", 2, &["burst"]),
        ("rate_limit:\n  interval: soon\n  burst: 1\n", 2, &["interval", "1m30s"]),
        ("rate_limit:\n  interval: 1s\n  burst: 0\n", 3, &["burst"]),
        ("rate_limit:\n  intervall: 1s\n", 2, &["intervall", "interval"]),
        ("tls_server_config:\n  cert_file: server.pem\n", 2, &["key_file"]),
        ("tls_server_config:\n  key_file: server.key\n", 2, &["cert_file"]),
        ("tls_server_config:\n  min_version: TLS13\n", 2, &["cert_file"]),
        ("tls_server_config:\n  cert_file: none.pem\n  key_file: server.key\n", 2, &["none.pem"]),
        ("tls_server_config:\n  cert_file: empty.pem\n  key_file: server.key\n", 2, &["BEGIN CERTIFICATE"]),
        ("tls_server_config:\n  cert_file: server.pem\n  key_file: empty.pem\n", 3, &["private key"]),
        ("tls_server_config:\n  cert_file: server.pem\n  key_file: other.key\n", 3, &["does not belong"]),
        ("tls_server_config:\n  cert_file: server.pem\n  key_file: .\n", 3, &["not a regular file"]),
        ("TLS\n  min_version: TLS11\n", 4, &["TLS11", "TLS12 or TLS13"]),
        ("TLS\n  max_version: SSL3\n", 4, &["SSL3", "TLS12 or TLS13"]),
        ("TLS\n  min_version: TLS13\n  max_version: TLS12\n", 4, &["min_version"]),
        ("TLS\n  cipher_suites:\n  - TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA\n", 5, &["CBC", "GCM"]),
        ("TLS\n  cipher_suites:\n  - TLS_MADE_UP\n", 5, &["TLS_MADE_UP", "nearest"]),
        ("TLS\n  curve_preferences: [CurveP521]\n", 4, &["CurveP521", "X25519"]),
        ("TLS\n  client_auth_type: Always\n", 4, &["Always", "RequireAndVerifyClientCert"]),
        ("TLS\n  client_ca_file: ca.pem\n", 4, &["client_auth_type"]),
        ("TLS\n  client_allowed_sans: [a]\n", 4, &["client_auth_type"]),
        ("TLS\n  client_auth_type: RequireAndVerifyClientCert\n", 4, &["client_ca_file"]),
        ("basic_auth_users:\n  anna: [\n", 2, &[]),
        ("basic_auth_users:\n  anna: x\nbasic_auth_users:\n  bert: y\n", 3, &["basic_auth_users"]),
    ];
    for (text, line, words) in cases {
        let config = pki.web_config(text)?;
        let finished =
            node.run("serve", &["--web.listen-address", "127.0.0.1:0", "--web.config.file", &config])?;
        ensure!(finished.code == Some(2), "{text}: {finished:?}");
        let said = finished.stderr.trim_end();
        ensure!(said.lines().count() == 1 && said.contains(&format!("web.yml:{line}:")), "{text}: {said}");
        ensure!(words.iter().all(|word| said.contains(word)), "{text}: {said}");
        ensure!(!said.contains("hunter2"), "a secret: {said}");
    }
    for file in ["missing.yml", "."] {
        let path = pki.at(file).display().to_string();
        let finished =
            node.run("serve", &["--web.listen-address", "127.0.0.1:0", "--web.config.file", &path])?;
        ensure!(finished.code == Some(2) && finished.stderr.contains("--web.config.file"), "{finished:?}");
        ensure!(finished.stderr.trim_end().lines().count() == 1, "{finished:?}");
    }
    Ok(())
}
