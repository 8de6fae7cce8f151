//! A real Alertmanager, and the webhook to which it delivers.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Process, eventually,
    http::{self, Request},
    process,
};

/// A running Alertmanager; unless it has a configuration of its own, it delivers each alert by itself and at once.
pub struct Alertmanager {
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    _dir: TempDir,
}

impl Alertmanager {
    /// Starts Debian's Alertmanager and waits until it serves. It delivers to the webhook and to these URLs.
    pub fn start(webhook: &Webhook, others: &[String]) -> Result<Self> {
        let own = format!("http://{}/", webhook.address);
        let urls = std::iter::once(&own).chain(others);
        let hooks: Vec<_> = urls.map(|url| json!({ "url": url, "send_resolved": true })).collect();
        Self::with_config(&json!({
            "route": {
                "receiver": "webhook",
                "group_by": ["..."],
                "group_wait": "0s",
                "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "receivers": [{ "name": "webhook", "webhook_configs": hooks }],
        }))
    }

    /// Starts it on a configuration of the caller's own.
    pub fn with_config(config: &Value) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("accelscope-alertmanager-").tempdir()?;
        let file = dir.path().join("alertmanager.yml");
        // JSON is YAML.
        fs::write(&file, config.to_string())?;
        let address = process::free_address()?;
        let mut command = Command::new("prometheus-alertmanager");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=");
        let mut server = Self { process: Process::spawn("alertmanager", &mut command)?, address, _dir: dir };
        eventually("Alertmanager is ready", || {
            server.process.ensure_running()?;
            http::send(address, Request::get("/-/ready"))?.ok()
        })?;
        Ok(server)
    }
}

/// An alert as it came to the webhook.
#[derive(Clone, Debug)]
pub struct Notification {
    /// When it came.
    pub at: Instant,
    /// Whether it says that the alert is over.
    pub resolved: bool,
    /// The alert's labels.
    pub labels: BTreeMap<String, String>,
    /// Its texts.
    pub annotations: BTreeMap<String, String>,
}

impl Notification {
    /// The value of a label; empty when it is absent.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// One notification as a person gets it: the alerts of one group.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who got it.
    pub receiver: String,
    /// What it is about.
    pub alerts: Vec<Notification>,
}

/// A receiver of webhooks, for as long as the test process lives.
pub struct Webhook {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Message>>>,
}

#[derive(Deserialize)]
struct Body {
    receiver: String,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    status: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Webhook {
    /// Listens on a port of its own.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(process::free_address()?)?;
        let address = listener.local_addr()?;
        let received = Arc::<Mutex<Vec<Message>>>::default();
        let inbox = Arc::clone(&received);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inbox = Arc::clone(&inbox);
                thread::spawn(move || {
                    let mut reader = BufReader::new(&stream);
                    // The end is a closed connection; what did not come is missed by the test.
                    while let Ok(Body { receiver, alerts }) = receive(&mut reader, &stream) {
                        let at = Instant::now();
                        let alerts = alerts.into_iter().map(|alert| Notification {
                            at,
                            resolved: alert.status == "resolved",
                            labels: alert.labels,
                            annotations: alert.annotations,
                        });
                        let message = Message { receiver, alerts: alerts.collect() };
                        inbox.lock().expect("nobody panics while receiving").push(message);
                    }
                });
            }
        });
        Ok(Self { address, received })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All alerts that have come so far, in order.
    pub fn received(&self) -> Vec<Notification> {
        self.messages().into_iter().flat_map(|message| message.alerts).collect()
    }

    /// The same as notifications.
    pub fn messages(&self) -> Vec<Message> {
        self.received.lock().expect("nobody panics while receiving").clone()
    }
}

/// Reads one `POST` with its length, and responds.
fn receive(reader: &mut impl BufRead, mut stream: &TcpStream) -> Result<Body> {
    let mut length = None;
    loop {
        let mut line = String::new();
        anyhow::ensure!(reader.read_line(&mut line)? > 0, "the connection was closed");
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = Some(value.trim().parse()?);
        }
    }
    let mut body = vec![0; length.context("a message has a length")?];
    reader.read_exact(&mut body)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    Ok(serde_json::from_slice(&body)?)
}
