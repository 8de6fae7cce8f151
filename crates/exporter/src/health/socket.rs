//! The socket on which the verdict is read: whoever connects gets the JSON, and the connection is closed. Nothing is
//! read from a client.

use std::{
    fs::{self, Permissions},
    io::{self, Read},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    rc::Rc,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    task::spawn_local,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::Verdicts;
use crate::http::listen::{self, BoundSocket, Listener};

/// Where it is, and where `accelscope health` looks for it.
pub const PATH: &str = "/run/accelscope/health.sock";

/// Its owner and group may connect, and root.
const MODE: u32 = 0o660;

/// Clients at the same time; others wait in the kernel.
const CLIENTS: usize = 16;

/// In what time a client must have read the verdict.
const READ: Duration = Duration::from_secs(2);

/// The most bytes that a client takes.
const LONGEST: u64 = 4 << 20;

/// Creates the socket: where it was `asked` for, or else where its folder exists.
///
/// # Errors
/// One line, where it was asked for and cannot be created.
pub fn bind(asked: Option<&Path>) -> Result<Option<BoundSocket>, String> {
    let path = asked.unwrap_or(Path::new(PATH));
    let is_there = path.parent().is_some_and(Path::is_dir);
    if path.as_os_str().is_empty() || asked.is_none() && !is_there {
        return Ok(None);
    }
    let bound = listen::bind_unix(path).and_then(|bound| {
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
        Ok(bound)
    });
    match bound {
        Ok(bound) => Ok(Some(bound)),
        Err(error) if asked.is_some() => {
            Err(format!("cannot create --health.socket {}: {error}; choose another path", path.display()))
        }
        Err(error) => {
            warn!(path = %path.display(), %error, "no socket for accelscope health; it will look at devices itself");
            Ok(None)
        }
    }
}

/// Sends the verdict to each client. Never returns.
pub async fn serve(bound: BoundSocket, verdicts: Rc<Verdicts>, node_name: String) -> io::Result<()> {
    let listener = Listener::new(bound)?;
    info!(address = listener.address(), "verdicts are read here");
    let clients = Rc::new(());
    loop {
        if Rc::strong_count(&clients) > CLIENTS {
            sleep(Duration::from_millis(50)).await;
            continue;
        }
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let text = serde_json::to_string(&verdicts.report(&node_name)).expect("texts");
                let place = Rc::clone(&clients);
                spawn_local(async move {
                    // A client that is gone or does not read loses its own verdict alone.
                    let sent = timeout(READ, stream.write_all(text.as_bytes())).await;
                    drop((sent, place));
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a client of the health socket");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Asks the exporter that runs.
///
/// # Errors
/// There is none, it is not permitted, or it does not send a verdict within the limit.
pub fn ask(path: &Path, limit: Duration) -> io::Result<String> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(limit))?;
    let mut text = String::new();
    stream.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}
