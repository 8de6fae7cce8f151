//! One client connection and its timeouts.
//!
//! hyper has one timeout, from the end of a response to the end of the next request's head. A scraper
//! may be silent for a minute between requests, a head may not take that long, and a client that does
//! not read its response must not hold the connection for ever. So the timeouts are kept here, below hyper.
//! A TLS handshake is a part of the first head. HTTP/2 is served one stream at a time, so that every cap and
//! timeout means the same there.

use std::{
    cell::Cell,
    convert::Infallible,
    future::{Future, poll_fn, ready},
    io::{self, IoSlice},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::{Body, Frame, SizeHint},
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::watch,
    task,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use crate::{
    http::connections::Place,
    http::handshake::{Handshake, handshake},
    http::listen::{Peer, Stream},
    http::routes::Routes,
    self_metrics::HttpCounts,
};

/// Largest request head. A scrape's is below 1 KiB; hyper accepts no limit below 8 KiB.
const MAX_HEAD_BYTES: u16 = 16 * 1024;

/// How much is read and discarded after a request that was rejected unread, and for how long: a client that
/// is still sending would otherwise see its connection reset instead of the response.
const LINGER_BYTES: u64 = 4 << 20;
const LINGER: Duration = Duration::from_secs(1);

/// How much of a body HTTP/2 takes at a time. What waits there for the client's window is a copy, so that an old
/// body is not kept for a client that does not read.
const HTTP2_CHUNK_BYTES: usize = 16 * 1024;

/// The response to plain HTTP where TLS is spoken; before the handshake there is no other way to say it.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
Content-Length: 50\r\nConnection: close\r\n\r\nthis port speaks HTTPS; write https:// in the URL\n";

/// Who is at the other end of a connection, and what it has shown in the handshake.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Its address.
    pub peer: Peer,
    /// It has a certificate, which passed what the web configuration asks of one.
    pub has_certificate: bool,
}

/// Timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a request, or from the start of the connection, to the end of the head.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// From the end of a request head until the kernel has taken the whole response.
    pub response: Duration,
}

/// The phase of a connection, and when that phase times out.
pub struct ConnectionState {
    timeouts: Timeouts,
    phase: Cell<Phase>,
    /// When the phase began.
    since: Cell<Instant>,
    /// When the kernel last took bytes of a response, or the phase began.
    taken: Cell<Instant>,
    /// Address and length of the body that is being sent.
    body: Cell<(usize, usize)>,
    counts: Rc<HttpCounts>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between requests.
    Idle,
    /// Part of a request head has been received.
    Head,
    /// A response is being sent.
    Response {
        /// hyper has taken the whole body.
        body_taken: bool,
    },
}

impl Phase {
    fn is_response(self) -> bool {
        matches!(self, Self::Response { .. })
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug)]
pub enum WaitsFor {
    /// The next request, since then.
    Request(Instant),
    /// The rest of a request head, or the first one.
    Head(Instant),
    /// The client to read.
    Reader {
        /// When the response began.
        begun: Instant,
        /// When the kernel last took a part of it.
        taken: Instant,
        /// Address and length of its body.
        body: (usize, usize),
    },
}

impl ConnectionState {
    /// A connection that was just accepted.
    pub fn new(timeouts: Timeouts, counts: Rc<HttpCounts>) -> Self {
        let now = Instant::now();
        Self {
            timeouts,
            phase: Cell::new(Phase::Head),
            since: Cell::new(now),
            taken: Cell::new(now),
            body: Cell::default(),
            counts,
        }
    }

    /// What it waits for.
    pub fn waits_for(&self) -> WaitsFor {
        let since = self.since.get();
        match self.phase.get() {
            Phase::Idle => WaitsFor::Request(since),
            Phase::Head => WaitsFor::Head(since),
            Phase::Response { .. } => {
                WaitsFor::Reader { begun: since, taken: self.taken.get(), body: self.body.get() }
            }
        }
    }

    /// Notes the body that is being sent.
    pub fn sends(&self, body: &Bytes) {
        self.body.set((body.as_ptr() as usize, body.len()));
    }

    /// The connection ends: it sends nothing any more.
    pub fn close(&self) {
        self.enter(Phase::Idle);
    }

    fn deadline(&self) -> Instant {
        let Timeouts { head, idle, response } = self.timeouts;
        self.since.get()
            + match self.phase.get() {
                Phase::Idle => idle,
                Phase::Head => head,
                Phase::Response { .. } => response,
            }
    }

    fn enter(&self, phase: Phase) {
        let in_flight = self.counts.in_flight.get();
        match (self.phase.get().is_response(), phase.is_response()) {
            (false, true) => self.counts.in_flight.set(in_flight + 1),
            (true, false) => self.counts.in_flight.set(in_flight - 1),
            _ => {}
        }
        self.phase.set(phase);
        self.since.set(Instant::now());
        self.taken.set(self.since.get());
    }

    /// Bytes were read. The deadline of a head stays: a client may not send it byte by byte.
    fn received(&self) {
        if self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// The kernel took bytes. The deadline of a response stays: a client may not read it byte by byte.
    fn taken(&self) {
        self.taken.set(Instant::now());
    }

    /// hyper has the whole body of the response.
    fn body_taken(&self) {
        if self.phase.get().is_response() {
            self.phase.set(Phase::Response { body_taken: true });
        }
    }

    /// hyper flushes only after it has written everything, so the kernel has the whole response.
    fn flushed(&self) {
        if self.phase.get() == (Phase::Response { body_taken: true }) {
            self.enter(Phase::Idle);
        }
    }
}

/// A stream that reports its reads and writes to the state of its connection.
struct TrackedStream {
    stream: Box<dyn Stream>,
    state: Rc<ConnectionState>,
    /// What is read is not always part of a request.
    is_http2: bool,
}

impl AsyncRead for TrackedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before && !self.is_http2 {
            self.state.received();
        }
        result
    }
}

impl AsyncWrite for TrackedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if matches!(result, Poll::Ready(Ok(1..))) {
            self.state.taken();
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if result.is_ready() {
            self.state.flushed();
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A body that reports to the state of its connection when hyper has taken it.
pub struct TrackedBody {
    bytes: Bytes,
    state: Rc<ConnectionState>,
    is_http2: bool,
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = if self.is_http2 {
            let length = self.bytes.len().min(HTTP2_CHUNK_BYTES);
            Bytes::copy_from_slice(&self.bytes.split_to(length))
        } else {
            std::mem::take(&mut self.bytes)
        };
        Poll::Ready((!chunk.is_empty()).then(|| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        self.state.body_taken();
    }
}

/// Runs what HTTP/2 has beside the connection: one future for each stream.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> Executor<F> for Local {
    fn execute(&self, stream: F) {
        task::spawn_local(stream);
    }
}

/// Serves a connection to its end.
pub async fn serve(
    stream: Box<dyn Stream>,
    peer: Peer,
    place: Place,
    routes: Rc<Routes>,
    mut closing: watch::Receiver<bool>,
) {
    let state = &place.state;
    let (stream, client, is_http2) = match routes.guard.config().tls.clone() {
        None => (stream, Client { peer, has_certificate: false }, false),
        Some(tls) => {
            let done = tokio::select! {
                done = timeout_at(state.deadline(), handshake(stream, tls, peer)) => done,
                _ = closing.wait_for(|closing| *closing) => return,
            };
            match done {
                Ok(Handshake::Done { stream, client, is_http2 }) => (stream, client, is_http2),
                Ok(Handshake::Plain(mut stream)) => {
                    state.counts.count_response(400);
                    // Fails when the client is gone already.
                    let _ = stream.write_all(PLAIN_HTTP).await;
                    return end(stream, true).await;
                }
                Ok(Handshake::Left) => return,
                Ok(Handshake::Failed) | Err(_) => return state.counts.handshake_failed(),
            }
        }
    };
    let service = service_fn(|mut request: Request<_>| {
        state.enter(Phase::Response { body_taken: false });
        let (state, routes) = (Rc::clone(state), Rc::clone(&routes));
        Box::pin(async move {
            let response = routes.respond(&mut request, client).await;
            routes.connections.sends(&state, response.body());
            Ok::<_, Infallible>(response.map(|bytes| TrackedBody { bytes, state, is_http2 }))
        })
    });
    let io = TokioIo::new(TrackedStream { stream, state: Rc::clone(state), is_http2 });
    if is_http2 {
        let connection = http2::Builder::new(Local)
            .max_concurrent_streams(1)
            .max_header_list_size(MAX_HEAD_BYTES.into())
            .max_send_buf_size(HTTP2_CHUNK_BYTES)
            .initial_stream_window_size(u32::from(u16::MAX))
            .initial_connection_window_size(u32::from(u16::MAX))
            .serve_connection(io, service);
        let mut connection = pin!(connection);
        drive(state, closing, |context, close| {
            if close {
                connection.as_mut().graceful_shutdown();
            }
            connection.as_mut().poll(context)
        })
        .await;
        return;
    }
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .half_close(true)
        .max_buf_size(MAX_HEAD_BYTES.into())
        .serve_connection(io, service);
    let ended = drive(state, closing, |context, close| {
        if close {
            Pin::new(&mut connection).graceful_shutdown();
        }
        connection.poll_without_shutdown(context)
    })
    .await;
    let Some(result) = ended else { return };
    let stream = connection.into_parts().io.into_inner().stream;
    let rejected = result.is_err_and(|error| {
        let rejected = error.is_parse();
        if rejected {
            state.counts.count_response(if error.is_parse_too_large() { 431 } else { 400 });
        }
        rejected
    });
    end(stream, rejected).await;
}

/// Polls a connection until it ends, or a phase of it times out, which returns nothing. `poll` is asked once to
/// close the connection after the request in flight.
async fn drive(
    state: &ConnectionState,
    mut closing: watch::Receiver<bool>,
    mut poll: impl FnMut(&mut Context<'_>, bool) -> Poll<hyper::Result<()>>,
) -> Option<hyper::Result<()>> {
    let mut closing = pin!(closing.wait_for(|closing| *closing));
    let mut close_requested = false;
    let mut timer = pin!(sleep_until(state.deadline()));
    poll_fn(|cx| {
        let close = !close_requested && closing.as_mut().poll(cx).is_ready();
        close_requested |= close;
        if let Poll::Ready(result) = poll(cx, close) {
            return Poll::Ready(Some(result));
        }
        loop {
            if timer.deadline() != state.deadline() {
                timer.as_mut().reset(state.deadline());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if state.deadline() <= Instant::now() {
                return Poll::Ready(None);
            }
        }
    })
    .await
}

/// Closes a connection; where its request was rejected unread, the rest of that is discarded first.
async fn end(mut stream: Box<dyn Stream>, rejected: bool) {
    // Fails when the client is gone already.
    let _ = stream.shutdown().await;
    if rejected {
        let _ =
            timeout(LINGER, tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink())).await;
    }
}

/// Serves a request that does not leave this thread. hyper keeps the date per thread, and a thread's first use of
/// such a value may need the loader's lock, which a vendor's library may hold for ever later.
pub async fn warm_up() {
    let (mut near, far) = tokio::io::duplex(1024);
    let request = near.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    request.await.expect("there is room for it");
    let service = service_fn(|_| ready(Ok::<_, Infallible>(Response::new(String::new()))));
    let served = http1::Builder::new().serve_connection(TokioIo::new(far), service).await;
    served.expect("the client is still there");
}
