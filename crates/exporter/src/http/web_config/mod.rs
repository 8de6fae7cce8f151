//! The file of `--web.config.file`, in the format of Prometheus' exporter-toolkit: TLS, users, headers and a rate
//! limit.
//!
//! | module | purpose |
//! |---|---|
//! | [`file`](mod@file) | the file and those that it names, read and checked |
//! | [`tls`] | what rustls makes of `tls_server_config` |
//! | [`users`] | passwords, checked on a thread of their own |
//! | [`rate`] | the token bucket of `rate_limit` |
//! | [`watch`] | the file is read again when it changes |
//! | [`guard`] | who may have which path |

pub mod file;
pub mod guard;
pub mod rate;
pub mod tls;
pub mod users;
pub mod watch;

use hyper::header::{HeaderName, HeaderValue};

use self::{rate::Rate, tls::Tls, users::Users};

/// What the file says. Without a file nothing of it is set, and everybody may read everything.
#[derive(Debug, Default)]
pub struct WebConfig {
    /// TLS on every listener.
    pub tls: Option<Tls>,
    /// Headers of every response.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Who may read; everybody where there are none.
    pub users: Users,
    /// How many requests are served.
    pub rate: Option<Rate>,
}
