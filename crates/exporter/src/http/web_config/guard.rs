//! Who may have which path: the rate limit, client certificates and passwords, in the order of exporter-toolkit.

use std::{cell::OnceCell, io, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};
use tokio::time::Instant;

use super::{
    WebConfig,
    rate::Bucket,
    users::{Checked, Passwords},
    watch::Watched,
};
use crate::http::{connection::Client, routes::text};

/// The paths that are open to everybody: whoever starts and stops the exporter has no password.
const HEALTH: [&str; 2] = ["/-/healthy", "/-/ready"];

/// Decides on requests.
pub struct Guard {
    watched: Option<Arc<Watched>>,
    open: Arc<WebConfig>,
    protects_health: bool,
    bucket: Bucket,
    passwords: OnceCell<Passwords>,
}

impl Guard {
    /// A guard by a file, or none that lets everybody in.
    pub fn new(watched: Option<Arc<Watched>>, protects_health: bool) -> Self {
        let open = Arc::default();
        Self { watched, open, protects_health, bucket: Bucket::default(), passwords: OnceCell::new() }
    }

    /// Starts the thread that checks passwords, and the one that reads the file again.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub async fn start(&self) -> io::Result<()> {
        if let Some(watched) = &self.watched {
            // A file without users may have some later.
            let passwords = Passwords::start().await?;
            assert!(self.passwords.set(passwords).is_ok(), "started once");
            watched.start()?;
        }
        Ok(())
    }

    /// What the file said last.
    pub fn config(&self) -> Arc<WebConfig> {
        self.watched.as_ref().map_or_else(|| Arc::clone(&self.open), |watched| watched.config())
    }

    /// Whether the file was read well, where there is one.
    pub fn watched(&self) -> Option<&Arc<Watched>> {
        self.watched.as_ref()
    }

    /// Lets a request in, and returns whether the client has shown who it is.
    ///
    /// # Errors
    /// The response that refuses it.
    pub async fn admit<B>(
        &self,
        config: &WebConfig,
        request: &Request<B>,
        client: Client,
    ) -> Result<bool, Response<Bytes>> {
        let is_open = !self.protects_health && HEALTH.contains(&request.uri().path());
        if let Some(rate) = config.rate.filter(|_| !is_open)
            && !self.bucket.take(rate, Instant::now())
        {
            let mut response = text(StatusCode::TOO_MANY_REQUESTS, "more requests than rate_limit allows\n");
            let seconds = rate.interval.as_secs_f64().ceil().max(1.0).to_string();
            response.headers_mut().extend(HeaderValue::from_str(&seconds).map(|value| (RETRY_AFTER, value)));
            return Err(response);
        }
        if let Some(tls) = &config.tls
            && tls.certificate_required
            && !client.has_certificate
            && !is_open
        {
            return Err(text(StatusCode::FORBIDDEN, "a client certificate is needed\n"));
        }
        let is_verified =
            client.has_certificate && config.tls.as_ref().is_some_and(|tls| tls.certificate_verified);
        if config.users.is_empty() {
            return Ok(is_verified);
        }
        let checked = match (credentials(request.headers()), self.passwords.get()) {
            (Some((name, password)), Some(passwords)) => {
                passwords.check(&config.users, &name, &password, client.peer).await
            }
            _ => Checked::Wrong,
        };
        match checked {
            Checked::Right => Ok(true),
            _ if is_open => Ok(is_verified),
            Checked::Busy => {
                let mut response =
                    text(StatusCode::SERVICE_UNAVAILABLE, "too many passwords are being checked\n");
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                Err(response)
            }
            Checked::Wrong => {
                let mut response = text(StatusCode::UNAUTHORIZED, "a user and a password are needed\n");
                let how = HeaderValue::from_static("Basic realm=\"metrics\", charset=\"UTF-8\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, how);
                Err(response)
            }
        }
    }
}

/// User and password of basic authentication.
fn credentials(headers: &HeaderMap) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some((decoded[..colon].to_vec(), decoded[colon + 1..].to_vec()))
}
