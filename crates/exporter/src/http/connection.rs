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

use crate::{
    http::connections::Place,
    http::listen::{Peer, Stream},
    http::routes::Routes,
    self_metrics::HttpCounts,
};

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
        self.state.body_taken();
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
    let service = service_fn(|request| {
        state.enter(Phase::Response { body_taken: false });
        let response = routes.respond(&request, peer);
        routes.connections.sends(state, response.body());
        let response = response.map(|body| TrackedBody::new(body, state));
        ready(Ok::<_, Infallible>(response))
    });
    let stream = TokioIo::new(TrackedStream { stream, state: Rc::clone(state) });
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .half_close(true)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(stream, service);
    let mut closing = pin!(closing.wait_for(|closing| *closing));
    let mut close_requested = false;
    let mut timer = pin!(sleep_until(state.deadline()));
    let ended = poll_fn(|cx| {
        if !close_requested && closing.as_mut().poll(cx).is_ready() {
            close_requested = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.poll_without_shutdown(cx) {
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
