//! One gRPC call after another over a unix socket: HTTP/2 by hyper, messages by prost, and the five bytes of framing
//! between them (grpc/grpc, doc/PROTOCOL-HTTP2.md).

use std::{path::PathBuf, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, StatusCode, Version,
    body::Incoming,
    client::conn::http2::{self, SendRequest},
    header::{CONTENT_TYPE, HeaderValue, TE},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kernel::file;
use naming::{Absence, FaultCode};
use prost::Message;
use reading::{Fault, Measured};
use tokio::{net::UnixStream, task::JoinHandle, time::timeout};

/// The longest response. A kubelet has at most a few hundred pods; ten thousand would need a third of this.
const RESPONSE_BYTES_MAX: usize = 16 << 20;

/// Whether a message is compressed, and its length.
const FRAME_HEAD: usize = 5;

/// The status codes by number, as faults name them (grpc/grpc, doc/statuscodes.md).
const STATUS: [&str; 17] = [
    "GRPC_OK",
    "GRPC_CANCELLED",
    "GRPC_UNKNOWN",
    "GRPC_INVALID_ARGUMENT",
    "GRPC_DEADLINE_EXCEEDED",
    "GRPC_NOT_FOUND",
    "GRPC_ALREADY_EXISTS",
    "GRPC_PERMISSION_DENIED",
    "GRPC_RESOURCE_EXHAUSTED",
    "GRPC_FAILED_PRECONDITION",
    "GRPC_ABORTED",
    "GRPC_OUT_OF_RANGE",
    "GRPC_UNIMPLEMENTED",
    "GRPC_INTERNAL",
    "GRPC_UNAVAILABLE",
    "GRPC_DATA_LOSS",
    "GRPC_UNAUTHENTICATED",
];

/// A function of a service.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// `/package.Service/Function`.
    pub path: &'static str,
    /// What faults call it.
    pub call: &'static str,
}

/// A unix socket and, while it works, the connection to it.
pub struct Channel {
    socket: PathBuf,
    deadline: Duration,
    connection: Option<Connection>,
}

struct Connection {
    requests: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A server that no longer reads would keep it alive.
        self.driver.abort();
    }
}

impl Channel {
    /// A channel to `socket` that is opened by the first call. No call takes longer than `deadline`.
    pub fn new(socket: PathBuf, deadline: Duration) -> Self {
        Self { socket, deadline, connection: None }
    }

    /// Whether there is a connection.
    pub fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Calls a function that takes an empty message and returns one.
    ///
    /// # Errors
    /// Why there is no connection, the status that the server returned, or what is wrong with its response. The
    /// next call opens a new connection.
    pub async fn call<R: Message + Default>(&mut self, method: Method) -> Measured<R> {
        let called = timeout(self.deadline, self.response(method)).await;
        let message = called.unwrap_or_else(|_| Err(Fault::new(method.call, FaultCode::NoResponse)));
        let decoded = message.and_then(|message| {
            R::decode(message).map_err(|_| Fault::new(method.call, FaultCode::NotTheMessage))
        });
        if decoded.is_err() {
            self.connection = None;
        }
        decoded
    }

    /// The message that a call returns.
    async fn response(&mut self, method: Method) -> Measured<Bytes> {
        let broken = |_| Fault::new(method.call, FaultCode::NotGrpc);
        let connection = match self.connection.take().filter(|connection| !connection.requests.is_closed()) {
            Some(connection) => connection,
            None => connect(&self.socket, method).await?,
        };
        let connection = self.connection.insert(connection);
        let response = connection.requests.send_request(request(method)).await.map_err(broken)?;
        let is_grpc = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        if response.status() != StatusCode::OK || !is_grpc {
            return Err(Fault::new(method.call, FaultCode::NotGrpc));
        }
        // A response without a message has its status in the head.
        if let Some(status) = status(response.headers(), method) {
            status?;
        }
        let (body, trailers) = read(response.into_body(), method).await?;
        status(&trailers, method).unwrap_or(Err(Fault::new(method.call, FaultCode::NotGrpc)))?;
        message(body, method)
    }
}

async fn connect(socket: &PathBuf, method: Method) -> Measured<Connection> {
    let stream = UnixStream::connect(socket).await.map_err(|error| file::fault("connect", &error))?;
    let connected = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (requests, driver) = connected.map_err(|_| Fault::new(method.call, FaultCode::NotGrpc))?;
    // Its end shows in the next call.
    let driver = tokio::spawn(async move { drop(driver.await) });
    Ok(Connection { requests, driver })
}

/// A request with an empty message.
fn request(method: Method) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::from_static(&[0; FRAME_HEAD])));
    *request.method_mut() = hyper::Method::POST;
    *request.version_mut() = Version::HTTP_2;
    // A unix socket has no authority; gRPC's own clients send this one.
    let uri = format!("http://localhost{}", method.path);
    *request.uri_mut() = uri.parse().expect("the paths are constants");
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    request
}

/// The status in a head or in trailers, where it is there.
fn status(headers: &HeaderMap, method: Method) -> Option<Measured<()>> {
    let text = headers.get("grpc-status")?;
    let number = text.to_str().ok().and_then(|text| text.parse::<usize>().ok());
    let name = number.and_then(|number| STATUS.get(number)).copied().unwrap_or("GRPC_UNKNOWN");
    let fault = || match name {
        "GRPC_UNIMPLEMENTED" => Fault::returned(Absence::Unsupported, method.call, name),
        _ => Fault::returned(Absence::Failed, method.call, name),
    };
    Some(if name == STATUS[0] { Ok(()) } else { Err(fault()) })
}

/// A whole body and its trailers.
async fn read(mut body: Incoming, method: Method) -> Measured<(BytesMut, HeaderMap)> {
    let (mut all, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Fault::new(method.call, FaultCode::NotGrpc))?;
        match frame.into_data() {
            Ok(data) if all.len() + data.len() > RESPONSE_BYTES_MAX => {
                return Err(Fault::new(method.call, FaultCode::OverSizeLimit));
            }
            Ok(data) => all.put(data),
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok((all, trailers))
}

/// The one message of a body.
fn message(mut body: BytesMut, method: Method) -> Measured<Bytes> {
    let broken = Fault::new(method.call, FaultCode::NotTheMessage);
    let Some((head, _)) = body.split_first_chunk::<FRAME_HEAD>() else { return Err(broken) };
    let [compressed, length @ ..] = *head;
    // We announce no compression, so none may come.
    let is_whole = usize::try_from(u32::from_be_bytes(length)) == Ok(body.len() - FRAME_HEAD);
    if compressed != 0 || !is_whole {
        return Err(broken);
    }
    Ok(body.split_off(FRAME_HEAD).freeze())
}
