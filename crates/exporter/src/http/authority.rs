//! Who may change something: the users of the web configuration, whoever has the token of a
//! file, or, where there is neither, clients of this host.

use std::{fs, path::PathBuf};

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, HeaderValue, ORIGIN, WWW_AUTHENTICATE},
};
use source::UsageError;
use subtle::ConstantTimeEq;

use crate::http::{
    connection::Client,
    routes::{method_not_allowed, text},
};

/// Who may use the endpoints of one kind.
pub struct Authority {
    token_file: Option<PathBuf>,
}

/// What the guard of every path found out about a client.
#[derive(Clone, Copy)]
pub struct Admission {
    /// Whether it has shown who it is.
    pub is_known: bool,
    /// Whether there are users who can.
    pub has_users: bool,
}

impl Authority {
    /// Users, or whoever has the token in the file that `flag` names; where there is neither, clients of this host.
    ///
    /// # Errors
    /// One line, where the file has no token.
    pub fn new(flag: &str, token_file: Option<PathBuf>) -> Result<Self, UsageError> {
        if let Some(file) = &token_file {
            let why = match fs::read_to_string(file) {
                Ok(text) if text.trim().is_empty() => "it is empty; write the token into it".to_owned(),
                Ok(_) => return Ok(Self { token_file }),
                Err(error) => error.to_string(),
            };
            return Err(UsageError(format!("{flag} {}: {why}", file.display())));
        }
        Ok(Self { token_file })
    }

    /// Whether a request has the token. The file is read each time, so a new token needs no restart.
    pub fn has_token(&self, headers: &HeaderMap) -> bool {
        let given = || {
            let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        };
        let Some(file) = &self.token_file else { return false };
        let Some(given) = given() else { return false };
        let token = fs::read_to_string(file).unwrap_or_else(|error| {
            tracing::warn!(file = %file.display(), %error, "the token cannot be read");
            String::new()
        });
        // No token is equal to none.
        let token = token.trim().as_bytes();
        !token.is_empty() && bool::from(token.ct_eq(given.as_bytes()))
    }

    /// The response that refuses to let a client change something, if it may not, or does not ask by POST.
    pub fn refusal<B>(
        &self,
        request: &Request<B>,
        client: Client,
        admission: Admission,
    ) -> Option<Response<Bytes>> {
        if request.method() != Method::POST {
            return Some(method_not_allowed("POST", "only POST is supported\n"));
        }
        let headers = request.headers();
        // A page of another site can make a browser send a request, with the user's password, but not without this.
        if headers.contains_key(ORIGIN) {
            return Some(text(StatusCode::FORBIDDEN, "not for pages in a browser; use curl or a script\n"));
        }
        let is_open = self.token_file.is_none() && !admission.has_users;
        if admission.is_known || self.has_token(headers) || is_open && client.peer.is_local() {
            return None;
        }
        if is_open {
            let why = "only for clients of this host, since there are neither users nor a token\n";
            return Some(text(StatusCode::FORBIDDEN, why));
        }
        let mut response = text(StatusCode::UNAUTHORIZED, "a token, or a user and a password, is needed\n");
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::listen::Peer;

    const OUTSIDE: Admission = Admission { is_known: false, has_users: false };

    fn client(address: &str) -> Client {
        Client { peer: Peer(Some(address.parse().expect("an address"))), has_certificate: false }
    }

    fn status(authority: &Authority, header: (&'static str, &str), peer: &str, admission: Admission) -> u16 {
        let value = HeaderValue::from_str(header.1).expect("a value");
        let request = Request::post("/").header(header.0, value).body(()).expect("a request");
        authority.refusal(&request, client(peer), admission).map_or(200, |refusal| refusal.status().as_u16())
    }

    #[test]
    fn without_users_and_token_only_this_host_may() {
        let open = Authority { token_file: None };
        assert_eq!(status(&open, ("accept", "*/*"), "127.0.0.1", OUTSIDE), 200);
        assert_eq!(status(&open, ("accept", "*/*"), "10.0.0.7", OUTSIDE), 403);
        assert_eq!(status(&open, ("origin", "http://x.example"), "127.0.0.1", OUTSIDE), 403);
        let users = Admission { has_users: true, ..OUTSIDE };
        assert_eq!(
            status(&open, ("accept", "*/*"), "127.0.0.1", users),
            401,
            "a password is needed here too"
        );
        assert_eq!(status(&open, ("accept", "*/*"), "10.0.0.7", Admission { is_known: true, ..users }), 200);
    }

    #[test]
    fn a_token_is_what_the_file_says_now() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        let opened = || Authority::new("--x.token-file", Some(file.clone())).map_err(|error| error.0);
        assert!(opened().is_err_and(|why| why.contains("No such file")));
        fs::write(&file, "\n").expect("written");
        assert!(opened().is_err_and(|why| why.ends_with("it is empty; write the token into it")));
        fs::write(&file, "first\n").expect("written");
        let authority = opened().expect("a token");
        fs::remove_file(&file).expect("removed");
        let with = |token| status(&authority, ("authorization", token), "127.0.0.1", OUTSIDE);
        assert_eq!(with("Bearer "), 401, "no file");
        fs::write(&file, "\n").expect("written");
        assert_eq!(with("Bearer "), 401, "an empty one");
        fs::write(&file, "s3cret\n").expect("written");
        assert_eq!(with("Bearer s3cret"), 200);
        assert_eq!([with("Bearer s3cre"), with("Bearer s3creT"), with("Basic s3cret")], [401; 3]);
        fs::write(&file, "another\n").expect("written");
        assert_eq!([with("Bearer s3cret"), with("bearer another")], [401, 200]);
    }
}
