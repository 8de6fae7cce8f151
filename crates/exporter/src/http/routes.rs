//! Which request gets which answer.

use std::{collections::BTreeSet, rc::Rc, sync::Arc};

use bytes::Bytes;
use exposition::negotiate;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
        CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
    },
};

use crate::{
    http::body::Bodies,
    http::connection::{Pace, Piece},
    http::landing,
    sampling::device::Status,
    sampling::state::{Board, LinkStatus, SourceBoard},
    self_metrics::HttpCounts,
};

const TEXT: &str = "text/plain; charset=utf-8";

/// The answers of one process.
pub struct Routes {
    /// Of which program.
    pub name: &'static str,
    /// What it serves.
    pub board: Arc<Board>,
    /// Encoded.
    pub bodies: Bodies,
    /// Where.
    pub telemetry_path: String,
    /// Scrapes at a time.
    pub max_requests: u32,
    /// What it counts.
    pub counts: Rc<HttpCounts>,
}

/// An answer before it becomes a response: status, headers beyond the common ones, and body.
struct Answer(StatusCode, Vec<(HeaderName, HeaderValue)>, Bytes);

impl Answer {
    fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self(status, vec![(CONTENT_TYPE, HeaderValue::from_static(TEXT))], text.into().into())
    }
}

impl Routes {
    /// Answers a request. Never waits: whatever is asked for is in memory.
    pub fn answer<B>(&self, request: &Request<B>, pace: &Rc<Pace>) -> Response<Piece> {
        let Answer(status, headers, body) = self.route(request);
        self.counts.answered(status.as_u16());
        let length = HeaderValue::from(body.len());
        let body = if request.method() == Method::HEAD { Bytes::new() } else { body };
        let mut response = Response::new(Piece::new(body, pace));
        *response.status_mut() = status;
        let all = response.headers_mut();
        all.extend(headers.into_iter().map(|(name, value)| (Some(name), value)));
        all.insert(CONTENT_LENGTH, length);
        all.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    fn route<B>(&self, request: &Request<B>) -> Answer {
        let path = request.uri().path();
        let metrics = path == self.telemetry_path;
        if !metrics && !["/", "/-/healthy", "/-/ready"].contains(&path) {
            let text = format!("not found; metrics are at {}\n", self.telemetry_path);
            return Answer::text(StatusCode::NOT_FOUND, text);
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut answer = Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
            answer.1.push((ALLOW, HeaderValue::from_static("GET, HEAD")));
            return answer;
        }
        match path {
            _ if metrics => self.metrics(request),
            "/-/healthy" => Answer::text(StatusCode::OK, "alive\n"),
            "/-/ready" => self.ready(),
            _ => {
                let page = landing::page(self.name, &self.board, &self.telemetry_path);
                let html = HeaderValue::from_static("text/html; charset=utf-8");
                let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
                let headers = vec![(CONTENT_TYPE, html), (CONTENT_SECURITY_POLICY, policy)];
                Answer(StatusCode::OK, headers, page.into())
            }
        }
    }

    fn metrics<B>(&self, request: &Request<B>) -> Answer {
        if self.counts.in_flight.get() > self.max_requests {
            let text =
                format!("more than {} requests at a time; see --web.max-requests\n", self.max_requests);
            let mut answer = Answer::text(StatusCode::SERVICE_UNAVAILABLE, text);
            answer.1.push((RETRY_AFTER, HeaderValue::from_static("1")));
            return answer;
        }
        let sources = match self.chosen(request.uri().query().unwrap_or_default()) {
            Ok(sources) => sources,
            Err(text) => return Answer::text(StatusCode::BAD_REQUEST, text),
        };
        let negotiated = negotiate(header(request.headers(), &ACCEPT).as_deref());
        let gzip = wants_gzip(header(request.headers(), &ACCEPT_ENCODING).as_deref().unwrap_or_default());
        let body = match sources {
            None => self.bodies.whole(negotiated.format, gzip),
            Some(sources) => self.bodies.filtered(negotiated.format, gzip, &sources),
        };
        let content_type =
            HeaderValue::from_str(&negotiated.content_type).expect("made of our own and known parts");
        let vary = HeaderValue::from_static("accept, accept-encoding");
        let mut headers = vec![(CONTENT_TYPE, content_type), (VARY, vary)];
        if gzip {
            headers.push((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
        }
        Answer(StatusCode::OK, headers, body)
    }

    /// The sources that `collect[]` or `exclude[]` leave; `None` when the query says nothing of them.
    fn chosen(&self, query: &str) -> Result<Option<Vec<&Arc<SourceBoard>>>, String> {
        let (mut collect, mut exclude) = (BTreeSet::new(), BTreeSet::new());
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let names = match &*key {
                "collect[]" => &mut collect,
                "exclude[]" => &mut exclude,
                _ => continue,
            };
            if !self.board.sources.iter().any(|source| source.family.name() == value) {
                let known: Vec<_> = self.board.sources.iter().map(|source| source.family.name()).collect();
                return Err(format!("{key}: no source {value:?} here; there is {}\n", known.join(", ")));
            }
            names.insert(value);
        }
        if !collect.is_empty() && !exclude.is_empty() {
            return Err("collect[] and exclude[] cannot be used together; use one\n".to_owned());
        }
        if collect.is_empty() && exclude.is_empty() {
            return Ok(None);
        }
        let chosen = |source: &&Arc<SourceBoard>| {
            let name = source.family.name();
            if exclude.is_empty() { collect.contains(name) } else { !exclude.contains(name) }
        };
        Ok(Some(self.board.sources.iter().filter(chosen).collect()))
    }

    /// Ready once each source has a first answer: a sample of every device, or a reason for having none,
    /// which is told.
    fn ready(&self) -> Answer {
        let mut waits = Vec::new();
        let mut ready = "ready\n".to_owned();
        for source in &self.board.sources {
            let name = source.family.name();
            match source.link().status {
                LinkStatus::Starting => waits.push(format!("{name}: connecting\n")),
                LinkStatus::Up => {}
                LinkStatus::Down(reason) => ready.extend([name, ": ", &reason, "\n"]),
            }
            for snapshot in source.snapshots() {
                if snapshot.status == Status::Starting {
                    waits.push(format!("{name}: waiting for the first sample of {}\n", snapshot.name()));
                }
            }
        }
        if waits.is_empty() {
            Answer::text(StatusCode::OK, ready)
        } else {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, waits.concat())
        }
    }
}

/// A list header in one piece; one that is not text says nothing.
fn header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Vec<_> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// Whether an `Accept-Encoding` likes gzip at least as much as plain bytes, which it need not name.
fn wants_gzip(accepted: &str) -> bool {
    let weight = |wanted: &str| {
        accepted.split(',').find_map(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(wanted) {
                return None;
            }
            let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            Some(q.map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0)))
        })
    };
    let gzip = weight("gzip").or_else(|| weight("*")).unwrap_or(0.0);
    gzip > 0.0 && gzip >= weight("identity").unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::wants_gzip;

    #[test]
    fn gzip_is_used_when_asked_for_and_not_refused() {
        for accepted in
            ["gzip", "GZIP;q=0.5", "br, gzip", "*", "deflate, *;q=0.1", "gzip;q=0.5, identity;q=0.5"]
        {
            assert!(wants_gzip(accepted), "{accepted}");
        }
        for refused in ["", "identity", "gzip;q=0", "gzip;q=0, *", "br", "gzip;q=0.1, identity", "gzip;q=x"] {
            assert!(!wants_gzip(refused), "{refused}");
        }
    }
}
