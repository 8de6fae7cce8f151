//! The TLS handshake of a connection.

use std::{future::poll_fn, io, sync::Arc};

use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::{
    connection::Client,
    listen::{Peer, Stream},
    web_config::tls::Tls,
};

/// How a handshake ended.
pub enum Handshake {
    /// The connection is secured.
    Done {
        /// The stream within.
        stream: Box<dyn Stream>,
        /// What the client has shown.
        client: Client,
        /// The client chose HTTP/2.
        is_http2: bool,
    },
    /// The client sent plain HTTP.
    Plain(Box<dyn Stream>),
    /// The client has left without a word, as one that only tests whether the port is open.
    Left,
    /// It failed; the alert that says why was sent.
    Failed,
}

/// Does the handshake.
pub async fn handshake(mut stream: Box<dyn Stream>, tls: Tls, peer: Peer) -> Handshake {
    match poll_fn(|context| stream.poll_first_byte(context)).await {
        Ok(Some(byte)) if byte.is_ascii_uppercase() => return Handshake::Plain(stream),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Handshake::Left,
        _ => {}
    }
    match TlsAcceptor::from(Arc::clone(&tls.server)).accept(stream).await {
        Ok(stream) => {
            let (_, session) = stream.get_ref();
            let has_certificate = session.peer_certificates().is_some();
            let is_http2 = session.alpn_protocol() == Some(b"h2");
            Handshake::Done { stream: Box::new(stream), client: Client { peer, has_certificate }, is_http2 }
        }
        Err(error) => {
            debug!(client = ?peer.0, %error, "no TLS");
            Handshake::Failed
        }
    }
}
