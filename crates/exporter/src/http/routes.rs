//! The response to each request.

use std::{collections::BTreeSet, rc::Rc, sync::Arc};

use bytes::Bytes;
use exposition::negotiate;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Body,
    header::{
        ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
};

use crate::{
    http::authority::{Admission, Authority},
    http::body::{BodyCache, Selection, What},
    http::connection::Client,
    http::connections::Connections,
    http::detach::{self, ATTACH, DETACH},
    http::live::{self, Live},
    http::web_config::guard::Guard,
    incident::{Incident, web},
    sampling::device::Status,
    sampling::state::{ConnectionStatus, NodeState},
};

/// Every path but that of the metrics.
const PATHS: [&str; 6] = ["/", live::API, live::STYLE, live::SCRIPT, "/-/healthy", "/-/ready"];

const TEXT: &str = "text/plain; charset=utf-8";

/// What the HTTP server of one process serves.
pub struct Routes {
    /// State of the sources.
    pub node: Arc<NodeState>,
    /// Encoded metrics.
    pub bodies: BodyCache,
    /// The page and what it shows.
    pub live: Live,
    /// Path of the metrics.
    pub telemetry_path: String,
    /// The open connections.
    pub connections: Rc<Connections>,
    /// Who may have which path.
    pub guard: Rc<Guard>,
    /// Incident mode, where it may be switched on.
    pub incident: Option<Rc<Incident>>,
    /// Who may detach devices, where that is possible.
    pub detach: Option<Authority>,
}

fn response(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// The response to a method that a path does not have: those that it has, and a line for people.
pub fn method_not_allowed(allowed: &'static str, why: &'static str) -> Response<Bytes> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, why);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// A response for people.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response<Bytes> {
    response(status, HeaderValue::from_static(TEXT), text.into())
}

impl Routes {
    /// The response to a request. Waits for a password to be checked and for nothing else: everything that is
    /// served is in memory.
    pub async fn respond<B>(&self, request: &mut Request<B>, client: Client) -> Response<Bytes>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let config = self.guard.config();
        let path = request.uri().path();
        let authority = match path {
            DETACH | ATTACH => self.detach.as_ref(),
            web::PATH => self.incident.as_ref().map(|incident| &incident.authority),
            _ => None,
        };
        let has_users = !config.users.is_empty();
        let admitted = match self.guard.admit(&config, request, client).await {
            // A token stands for a password.
            Err(refused) if refused.status() == StatusCode::UNAUTHORIZED => {
                let has_token = authority.is_some_and(|authority| authority.has_token(request.headers()));
                if has_token { Ok(false) } else { Err(refused) }
            }
            admitted => admitted,
        };
        let mut response = match admitted {
            Ok(is_known) => self.dispatch(request, client, Admission { is_known, has_users }).await,
            Err(refused) => refused,
        };
        self.connections.counts().count_response(response.status().as_u16());
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        for (name, value) in &config.headers {
            response.headers_mut().insert(name, value.clone());
        }
        if request.method() == Method::HEAD {
            response.body_mut().clear();
        }
        response
    }

    /// The response to a request that was let in.
    async fn dispatch<B>(
        &self,
        request: &mut Request<B>,
        client: Client,
        admission: Admission,
    ) -> Response<Bytes>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let is_read = [Method::GET, Method::HEAD].contains(request.method());
        match (request.uri().path(), &self.incident) {
            (DETACH | ATTACH, _) => {
                detach::respond(&self.node, self.detach.as_ref(), request, client, admission).await
            }
            (web::PATH, Some(incident)) => incident.call(request, client, admission).await,
            (web::SAMPLES, Some(incident)) if is_read => match self.no_room() {
                Some(refusal) => refusal,
                None => incident.samples(request).await,
            },
            _ => self.route(request, admission.is_known || client.peer.is_local()),
        }
    }

    /// Paths of libraries and texts of errors are shown only with `details`.
    fn route<B>(&self, request: &Request<B>, details: bool) -> Response<Bytes> {
        let path = request.uri().path();
        let metrics = path == self.telemetry_path;
        if [web::PATH, web::SAMPLES].contains(&path) && self.incident.is_none() {
            return text(StatusCode::NOT_FOUND, "incident mode is off; start with --incident.enable\n");
        }
        if !metrics && !PATHS.contains(&path) && path != web::SAMPLES {
            return text(
                StatusCode::NOT_FOUND,
                format!("not found; metrics are at {}\n", self.telemetry_path),
            );
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return method_not_allowed("GET, HEAD", "only GET and HEAD are supported\n");
        }
        match path {
            _ if metrics => self.metrics(request),
            "/-/healthy" => text(StatusCode::OK, "alive\n"),
            "/-/ready" => self.ready(details),
            live::API => self.node(request, details),
            live::STYLE => page_file("text/css; charset=utf-8", live::style()),
            live::SCRIPT => page_file("text/javascript; charset=utf-8", live::SCRIPT_TEXT),
            _ => {
                let page = self.live.page(&self.telemetry_path, details);
                let mut response = page_file("text/html; charset=utf-8", page);
                let policy = HeaderValue::from_static(live::POLICY);
                response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
                response
            }
        }
    }

    /// The JSON of the page.
    fn node<B>(&self, request: &Request<B>, details: bool) -> Response<Bytes> {
        if let Some(refusal) = self.no_room() {
            return refusal;
        }
        let gzip = accepts_gzip(request);
        let mut response = page_file("application/json", self.live.json(details, gzip));
        encoded(&mut response, gzip, "accept-encoding");
        response
    }

    /// A refusal where as many responses are being sent as may be.
    fn no_room(&self) -> Option<Response<Bytes>> {
        if self.connections.room_for_response() {
            return None;
        }
        let reason = "more requests at a time than --web.max-requests allows\n";
        let mut response = text(StatusCode::SERVICE_UNAVAILABLE, reason);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        Some(response)
    }

    fn metrics<B>(&self, request: &Request<B>) -> Response<Bytes> {
        if let Some(refusal) = self.no_room() {
            return refusal;
        }
        let sources = match self.selected(request.uri().query().unwrap_or_default()) {
            Ok(sources) => sources,
            Err(mistake) => return text(StatusCode::BAD_REQUEST, mistake),
        };
        let negotiated = negotiate(header(request.headers(), &ACCEPT).as_deref());
        let gzip = accepts_gzip(request);
        let body = self.bodies.get(What { format: negotiated.format, gzip, sources });
        let content_type =
            HeaderValue::from_str(&negotiated.content_type).expect("made of our own and known parts");
        let mut response = response(StatusCode::OK, content_type, body);
        encoded(&mut response, gzip, "accept, accept-encoding");
        response
    }

    /// The sources that `collect[]` or `exclude[]` leave.
    fn selected(&self, query: &str) -> Result<Selection, String> {
        let (mut collect, mut exclude) = (BTreeSet::new(), BTreeSet::new());
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let names = match &*key {
                "collect[]" => &mut collect,
                "exclude[]" => &mut exclude,
                _ => continue,
            };
            if !self.node.sources.iter().any(|source| source.family.name() == value) {
                let known: Vec<_> = self.node.sources.iter().map(|source| source.family.name()).collect();
                return Err(format!("{key}: no source {value:?} here; there is {}\n", known.join(", ")));
            }
            names.insert(value);
        }
        if !collect.is_empty() && !exclude.is_empty() {
            return Err("collect[] and exclude[] cannot be used together; use one\n".to_owned());
        }
        Ok(Selection::of(&self.node, |source| {
            let name = source.family.name();
            if collect.is_empty() { !exclude.contains(name) } else { collect.contains(name) }
        }))
    }

    /// Ready once each source has either a sample of every device or a reason for having none. The reason is
    /// in the body with `details`; it names paths of the host, which are not everybody's business.
    fn ready(&self, details: bool) -> Response<Bytes> {
        let mut waits = Vec::new();
        let mut ready = "ready\n".to_owned();
        for source in &self.node.sources {
            let name = source.family.name();
            match source.connection().status {
                ConnectionStatus::Starting => waits.push(format!("{name}: connecting\n")),
                ConnectionStatus::Up => {}
                ConnectionStatus::Down(reason) => {
                    let reason = if details { &reason } else { "down" };
                    ready.extend([name, ": ", reason, "\n"]);
                }
            }
            for snapshot in source.snapshots() {
                if snapshot.status == Status::Starting {
                    waits.push(format!("{name}: waiting for the first sample of {}\n", snapshot.name()));
                }
            }
        }
        if waits.is_empty() {
            text(StatusCode::OK, ready)
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, waits.concat())
        }
    }
}

/// A part of the page, of which no copy is used without asking.
fn page_file(content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = response(StatusCode::OK, HeaderValue::from_static(content_type), body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Notes how a body is encoded, and which headers of the request that depends on.
fn encoded(response: &mut Response<Bytes>, gzip: bool, vary: &'static str) {
    response.headers_mut().insert(VARY, HeaderValue::from_static(vary));
    if gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

fn accepts_gzip<B>(request: &Request<B>) -> bool {
    wants_gzip(header(request.headers(), &ACCEPT_ENCODING).as_deref().unwrap_or_default())
}

/// All lines of a list header as one; a line that is not text is ignored.
fn header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Vec<_> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// Whether an `Accept-Encoding` prefers gzip to plain bytes, which it need not name, or accepts both equally.
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
