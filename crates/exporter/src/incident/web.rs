//! Incident mode over HTTP: the call that switches it, and the samples.

use std::{
    future::poll_fn,
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{
    Request, Response, StatusCode,
    body::Body,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use naming::METRICS;
use tokio::sync::oneshot;

use super::{Incident, request::Taken, samples};
use crate::{
    http::{authority::Admission, connection::Client, routes::text, web_config::rate::Rate},
    sampling::fine::Since,
};

/// The path of the call.
pub const PATH: &str = "/-/incident";

/// The path of the samples.
pub const SAMPLES: &str = "/debug/samples";

/// The longest body that is read: a notification about hundreds of alerts is shorter.
const BODY_MAX: usize = 1 << 20;

/// How much of a longer one is discarded, so that its sender reads the response instead of a reset.
const DISCARDED_MAX: usize = 16 << 20;

/// How many calls are taken.
const RATE: Rate = Rate { interval: Duration::from_millis(200), burst: 50 };

impl Incident {
    /// The response to the call of a client.
    pub async fn call<B>(
        &self,
        request: &mut Request<B>,
        client: Client,
        admission: Admission,
    ) -> Response<Bytes>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if let Some(refusal) = self.authority.refusal(request, client, admission) {
            return refusal;
        }
        if !self.bucket.take(RATE, tokio::time::Instant::now()) {
            let mut response = text(StatusCode::TOO_MANY_REQUESTS, "more calls than five a second\n");
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return response;
        }
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media =
            content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim().to_owned();
        let body = match read(request.body_mut()).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        if !media.eq_ignore_ascii_case("application/json") {
            return text(StatusCode::BAD_REQUEST, "the body must be application/json\n");
        }
        match self.take(&body, Instant::now()) {
            Ok(Taken { response, is_for_others }) => {
                if let Some(peers) = self.peers.as_ref().filter(|_| is_for_others) {
                    peers.forward(request.headers(), body.into());
                }
                let mut response = text(StatusCode::OK, format!("{response}\n"));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err((status, why)) => {
                text(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), why + "\n")
            }
        }
    }

    /// The samples that a request chooses. They are written on a thread of their own, since they may be many.
    pub async fn samples<B>(&self, request: &Request<B>) -> Response<Bytes> {
        let accepts = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut is_openmetrics = accepts.contains("application/openmetrics-text");
        let (mut devices, mut metrics, mut since) = (Vec::new(), Vec::new(), Since::At(0));
        let bad = |why: String| text(StatusCode::BAD_REQUEST, why + "\n");
        for (key, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
            match &*key {
                "device" => {
                    let is_it = |name: &String| *name == value;
                    let known = self.identities();
                    if !known.iter().any(|one| is_it(&one.device) || one.uuid.as_ref().is_some_and(is_it)) {
                        return text(StatusCode::NOT_FOUND, format!("no device {value:?} here\n"));
                    }
                    devices.push(value.into_owned());
                }
                "metric" => {
                    if !METRICS.iter().any(|metric| metric.name == Some(&value)) {
                        return text(StatusCode::NOT_FOUND, format!("no metric is called {value:?}\n"));
                    }
                    metrics.push(value.into_owned());
                }
                "since" => match moment(&value) {
                    Some(moment) => since = moment,
                    None => {
                        return bad(format!(
                            "since: {value:?} is neither Unix seconds nor a duration such as 5m"
                        ));
                    }
                },
                "format" => match &*value {
                    "json" => is_openmetrics = false,
                    "openmetrics" => is_openmetrics = true,
                    _ => return bad(format!("format: {value:?} is neither json nor openmetrics")),
                },
                _ => return bad(format!("{key:?} is not one of device, metric, since, format")),
            }
        }
        let (sender, written) = oneshot::channel();
        let node = std::sync::Arc::clone(&self.node);
        let write = move || {
            let is_meant = |identity: &reading::Identity, id: naming::Id| {
                let is_of = |name: &String| *name == identity.device || Some(name) == identity.uuid.as_ref();
                let name = id.metric().name.unwrap_or_default();
                (devices.is_empty() || devices.iter().any(is_of))
                    && (metrics.is_empty() || metrics.iter().any(|metric| metric == name))
            };
            let mut all: Vec<_> =
                node.devices().flat_map(|device| device.fine.series(since, is_meant)).collect();
            let text =
                if is_openmetrics { samples::openmetrics(&mut all) } else { samples::json_lines(&all) };
            // A client that is gone needs none.
            let _ = sender.send(text);
        };
        if std::thread::Builder::new().name("samples".to_owned()).spawn(write).is_err() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "no thread for it\n");
        }
        let Ok(Ok(body)) = written.await else {
            let mib = samples::BYTES_MAX >> 20;
            return bad(format!("more than {mib} MiB; choose with device=, metric= or since="));
        };
        let content_type = if is_openmetrics {
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        } else {
            "application/x-ndjson"
        };
        let mut response = text(StatusCode::OK, body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }
}

/// Unix seconds, or a time ago.
fn moment(text: &str) -> Option<Since> {
    #[expect(clippy::cast_possible_truncation, reason = "such times are long past or far away")]
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds.is_finite().then_some(Since::At((seconds * 1e3) as i64));
    }
    humantime::parse_duration(text).ok().map(Since::Ago)
}

/// Reads a body, or discards one that is too long.
async fn read<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Result<Vec<u8>, Response<Bytes>> {
    let (mut read, mut length) = (Vec::new(), 0);
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        let Ok(frame) = frame else {
            return Err(text(StatusCode::BAD_REQUEST, "the body did not come whole\n"));
        };
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= BODY_MAX {
            read.extend_from_slice(&data);
        } else if length > DISCARDED_MAX {
            break;
        }
    }
    if length > BODY_MAX {
        return Err(text(StatusCode::PAYLOAD_TOO_LARGE, "a body of more than 1 MiB\n"));
    }
    Ok(read)
}
