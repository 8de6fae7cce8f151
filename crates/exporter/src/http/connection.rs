//! One client connection and its timeouts.
//!
//! hyper has one timeout, from the end of a response to the end of the next request's head. A scraper
//! may be silent for a minute between requests, a head may not take that long, and a client that does
//! not read its response must not hold the connection for ever. So the timeouts are kept here, below hyper.

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
    body::{Body, Frame, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use crate::{http::listen::Stream, http::routes::Routes, self_metrics::HttpCounts};

/// Largest request head. A scrape's is below 1 KiB; hyper accepts no limit below 8 KiB.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// How much is read and discarded after a request that was rejected unread, and for how long: a client that
/// is still sending would otherwise see its connection reset instead of the response.
const LINGER_BYTES: u64 = 4 << 20;
const LINGER: Duration = Duration::from_secs(1);

/// Timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a request, or from the start of the connection, to the end of the head.
    pub head: Duration,
    /// Without a byte read or written, between two requests or within a response.
    pub idle: Duration,
}

/// The phase of a connection, and when that phase times out.
pub struct ConnectionState {
    timeouts: Timeouts,
    phase: Cell<Phase>,
    deadline: Cell<Instant>,
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

impl ConnectionState {
    /// A connection that was just accepted; it counts as open until this value is dropped.
    pub fn new(timeouts: Timeouts, counts: Rc<HttpCounts>) -> Self {
        counts.connections.set(counts.connections.get() + 1);
        let deadline = Cell::new(Instant::now() + timeouts.head);
        Self { timeouts, phase: Cell::new(Phase::Head), deadline, counts }
    }

    fn enter(&self, phase: Phase) {
        let responds = |phase| matches!(phase, Phase::Response { .. });
        let in_flight = self.counts.in_flight.get();
        match (responds(self.phase.get()), responds(phase)) {
            (false, true) => self.counts.in_flight.set(in_flight + 1),
            (true, false) => self.counts.in_flight.set(in_flight - 1),
            _ => {}
        }
        self.phase.set(phase);
        let timeout = if phase == Phase::Head { self.timeouts.head } else { self.timeouts.idle };
        self.deadline.set(Instant::now() + timeout);
    }

    /// Bytes were read or written. The deadline of a head stays: a client may not send it byte by byte.
    fn progressed(&self) {
        self.enter(match self.phase.get() {
            Phase::Idle => Phase::Head,
            Phase::Head => return,
            response @ Phase::Response { .. } => response,
        });
    }

    /// hyper flushes only after it has written everything, so the kernel has the whole response.
    fn flushed(&self) {
        if self.phase.get() == (Phase::Response { body_taken: true }) {
            self.enter(Phase::Idle);
        }
    }
}

impl Drop for ConnectionState {
    fn drop(&mut self) {
        self.enter(Phase::Idle);
        self.counts.connections.set(self.counts.connections.get() - 1);
    }
}

/// A stream that reports its reads and writes to the state of its connection.
struct TrackedStream {
    stream: Box<dyn Stream>,
    state: Rc<ConnectionState>,
}

impl AsyncRead for TrackedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.state.progressed();
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
            self.state.progressed();
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

/// A body in one chunk that reports to the state of its connection when hyper has taken it.
pub struct TrackedBody {
    bytes: Bytes,
    state: Rc<ConnectionState>,
}

impl TrackedBody {
    /// The body of the response that is sent on this connection.
    pub fn new(bytes: Bytes, state: &Rc<ConnectionState>) -> Self {
        Self { bytes, state: Rc::clone(state) }
    }
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.bytes);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
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
        self.state.enter(Phase::Response { body_taken: true });
    }
}

/// Serves a connection to its end.
pub async fn serve(
    stream: Box<dyn Stream>,
    state: ConnectionState,
    routes: Rc<Routes>,
    mut closing: watch::Receiver<bool>,
) {
    let state = Rc::new(state);
    let service = service_fn(|request| {
        state.enter(Phase::Response { body_taken: false });
        let response = routes.respond(&request).map(|body| TrackedBody::new(body, &state));
        ready(Ok::<_, Infallible>(response))
    });
    let stream = TokioIo::new(TrackedStream { stream, state: Rc::clone(&state) });
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .half_close(true)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(stream, service);
    let mut closing = pin!(closing.wait_for(|closing| *closing));
    let mut close_requested = false;
    let mut timer = pin!(sleep_until(state.deadline.get()));
    let ended = poll_fn(|cx| {
        if !close_requested && closing.as_mut().poll(cx).is_ready() {
            close_requested = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.poll_without_shutdown(cx) {
            return Poll::Ready(Some(result));
        }
        loop {
            if timer.deadline() != state.deadline.get() {
                timer.as_mut().reset(state.deadline.get());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if state.deadline.get() <= Instant::now() {
                return Poll::Ready(None);
            }
        }
    })
    .await;
    let Some(result) = ended else { return };
    let mut stream = connection.into_parts().io.into_inner().stream;
    let rejected = result.is_err_and(|error| {
        let rejected = error.is_parse();
        if rejected {
            state.counts.count_response(if error.is_parse_too_large() { 431 } else { 400 });
        }
        rejected
    });
    // Fails when the client is gone already.
    let _ = stream.shutdown().await;
    if rejected {
        let _ =
            timeout(LINGER, tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink())).await;
    }
}
