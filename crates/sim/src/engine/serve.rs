//! The engine over HTTP/1.1: its metrics at its path, and nothing else. A time server: the state advances
//! between requests, so that a change of the control file counts from the second in which it happened.

use std::future::pending;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::{Engine, Options, Reach};
use crate::clock::Clock;
use crate::control::{Control, ControlFile};

/// How often the clock and the control file are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// An engine with its clock and its control file.
pub struct Live {
    engine: Mutex<Engine>,
    clock: Clock,
    file: Option<ControlFile>,
}

impl Live {
    /// Starts the engine and counts up to now. A control file that cannot be used is an error here, and only
    /// here: later, the last good one stays in force.
    pub fn open(options: Options, clock: Clock, control: Option<PathBuf>) -> Result<Self, String> {
        let file = control.map(ControlFile::new);
        let control = match file.as_ref().and_then(ControlFile::read_if_changed) {
            Some(control) => control?,
            None => Control::default(),
        };
        let live = Self { engine: Mutex::new(Engine::new(options, &control.engine)?), clock, file };
        drop(live.now());
        Ok(live)
    }

    /// The engine as it is now.
    pub fn now(&self) -> MutexGuard<'_, Engine> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        // What was in force until now is counted first.
        engine.advance(self.clock.now());
        if let Some(file) = &self.file
            && let Some(control) = file.read_if_changed()
            && let Err(reason) = control.and_then(|control| engine.set_conditions(&control.engine))
        {
            let path = file.path().display();
            eprintln!("sim-engine: {path}: {reason}; the last good one stays in force");
        }
        engine
    }

    fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let engine = self.now();
        let (status, body) = if request.uri().path() != engine.path() {
            (StatusCode::NOT_FOUND, format!("metrics are at {}\n", engine.path()))
        } else if request.method() != Method::GET && request.method() != Method::HEAD {
            (StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n".to_owned())
        } else if engine.reach() == Reach::Down {
            (StatusCode::SERVICE_UNAVAILABLE, "the engine is down\n".to_owned())
        } else {
            (StatusCode::OK, engine.render())
        };
        drop(engine);
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

/// Serves until the process ends.
pub fn serve(live: Live, listener: TcpListener) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(accept(Arc::new(live), listener))
}

async fn accept(live: Arc<Live>, listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    loop {
        tokio::select! {
            _ = look.tick() => drop(live.now()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(connection(Arc::clone(&live), stream))),
                // Out of descriptors, or a client that left: the next look is a pause.
                Err(error) => {
                    eprintln!("sim-engine: accept: {error}");
                    look.tick().await;
                }
            },
        }
    }
}

async fn connection(live: Arc<Live>, stream: tokio::net::TcpStream) {
    let service = service_fn(move |request| {
        let live = Arc::clone(&live);
        async move {
            let reach = live.now().reach();
            match reach {
                // The connection is closed by an error.
                Reach::Dead => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
                Reach::Hung => pending().await,
                Reach::Up | Reach::Down => Ok(live.respond(&request)),
            }
        }
    });
    // A broken connection is its client's matter.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
