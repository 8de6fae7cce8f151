//! One client connection, and the pace that it must keep.
//!
//! hyper knows one time-out, from the end of an answer to the end of the next request's head. A scraper
//! may well be silent for a minute between requests, a head may not take that long, and a client that
//! does not read its answer must not hold it for ever. So the pace is kept here, below hyper.

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

/// Largest request head. A scrape's is below 1 KiB; hyper takes no limit below 8 KiB.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// What is read and thrown away after a request that was refused unread, and for how long: a client that
/// is still sending would otherwise see its connection reset instead of the answer.
const LINGER_BYTES: u64 = 4 << 20;
const LINGER: Duration = Duration::from_secs(1);

/// Time-outs of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first byte of a request, or from the start of the connection, to the end of the head.
    pub head: Duration,
    /// Between two requests, and between two movements of an answer.
    pub idle: Duration,
}

/// Where a connection is, and when it must have moved on.
pub struct Pace {
    limits: Limits,
    phase: Cell<Phase>,
    due: Cell<Instant>,
    counts: Rc<HttpCounts>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between requests.
    Idle,
    /// Some of a head has come.
    Head,
    /// A request is being answered.
    Answer {
        /// hyper has the whole body.
        handed_over: bool,
    },
}

impl Pace {
    /// The pace of a connection that was just accepted; it counts as open from now on.
    pub fn new(limits: Limits, counts: Rc<HttpCounts>) -> Self {
        counts.connections.set(counts.connections.get() + 1);
        Self { limits, phase: Cell::new(Phase::Head), due: Cell::new(Instant::now() + limits.head), counts }
    }

    fn enter(&self, phase: Phase) {
        let answers = |phase| matches!(phase, Phase::Answer { .. });
        let in_flight = self.counts.in_flight.get();
        match (answers(self.phase.get()), answers(phase)) {
            (false, true) => self.counts.in_flight.set(in_flight + 1),
            (true, false) => self.counts.in_flight.set(in_flight - 1),
            _ => {}
        }
        self.phase.set(phase);
        let limit = if phase == Phase::Head { self.limits.head } else { self.limits.idle };
        self.due.set(Instant::now() + limit);
    }

    fn moved(&self) {
        self.enter(match self.phase.get() {
            Phase::Idle => Phase::Head,
            Phase::Head => return,
            answer @ Phase::Answer { .. } => answer,
        });
    }

    /// hyper flushes only what it has written out, so nothing of the answer is left with us.
    fn flushed(&self) {
        if self.phase.get() == (Phase::Answer { handed_over: true }) {
            self.enter(Phase::Idle);
        }
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.enter(Phase::Idle);
        self.counts.connections.set(self.counts.connections.get() - 1);
    }
}

/// A stream that tells the pace what moves.
struct Paced {
    stream: Box<dyn Stream>,
    pace: Rc<Pace>,
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pace.moved();
        }
        result
    }
}

impl AsyncWrite for Paced {
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
            self.pace.moved();
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if result.is_ready() {
            self.pace.flushed();
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A body in one piece, that tells the pace when hyper has taken it.
pub struct Piece {
    bytes: Bytes,
    pace: Rc<Pace>,
}

impl Piece {
    /// The body of the answer that `pace` is at.
    pub fn new(bytes: Bytes, pace: &Rc<Pace>) -> Self {
        Self { bytes, pace: Rc::clone(pace) }
    }
}

impl Body for Piece {
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

impl Drop for Piece {
    fn drop(&mut self) {
        self.pace.enter(Phase::Answer { handed_over: true });
    }
}

/// Serves a connection to its end.
pub async fn serve(
    stream: Box<dyn Stream>,
    pace: Pace,
    routes: Rc<Routes>,
    mut closing: watch::Receiver<bool>,
) {
    let pace = Rc::new(pace);
    let service = service_fn(|request| {
        pace.enter(Phase::Answer { handed_over: false });
        ready(Ok::<_, Infallible>(routes.answer(&request, &pace)))
    });
    let stream = TokioIo::new(Paced { stream, pace: Rc::clone(&pace) });
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .half_close(true)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(stream, service);
    let mut closing = pin!(closing.wait_for(|closing| *closing));
    let mut asked_to_close = false;
    let mut due = pin!(sleep_until(pace.due.get()));
    let ended = poll_fn(|cx| {
        if !asked_to_close && closing.as_mut().poll(cx).is_ready() {
            asked_to_close = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.poll_without_shutdown(cx) {
            return Poll::Ready(Some(result));
        }
        loop {
            if due.deadline() != pace.due.get() {
                due.as_mut().reset(pace.due.get());
            }
            if due.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if pace.due.get() <= Instant::now() {
                return Poll::Ready(None);
            }
        }
    })
    .await;
    let Some(result) = ended else { return };
    let mut stream = connection.into_parts().io.into_inner().stream;
    let refused = result.is_err_and(|error| {
        let refused = error.is_parse();
        if refused {
            pace.counts.answered(if error.is_parse_too_large() { 431 } else { 400 });
        }
        refused
    });
    // The client may be gone; there is nothing to save then.
    let _ = stream.shutdown().await;
    if refused {
        let _ =
            timeout(LINGER, tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink())).await;
    }
}
