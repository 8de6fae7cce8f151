//! A small HTTP/1.1 client: keep-alive, no dependencies, cheap enough to measure others with.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

/// Any response takes less, or the test has found a hang.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A request: method, path with query, extra headers.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`, `HEAD`, ...
    pub method: &'a str,
    /// Path and query, from the slash.
    pub path: &'a str,
    /// Headers beyond `Host`.
    pub headers: &'a [(&'a str, &'a str)],
}

impl<'a> Request<'a> {
    /// `GET` without extra headers.
    pub fn get(path: &'a str) -> Self {
        Self { method: "GET", path, headers: &[] }
    }

    /// The same with these headers.
    #[must_use]
    pub fn with(self, headers: &'a [(&'a str, &'a str)]) -> Self {
        Self { headers, ..self }
    }
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body as sent: compressed when `content-encoding` says so.
    pub body: Vec<u8>,
    /// Whether the server leaves the connection open.
    pub keep_alive: bool,
}

impl Response {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> Result<&str> {
        Ok(std::str::from_utf8(&self.body)?)
    }

    /// Itself when the status is 200.
    pub fn ok(self) -> Result<Self> {
        ensure!(self.status == 200, "status {}: {}", self.status, String::from_utf8_lossy(&self.body));
        Ok(self)
    }
}

/// A connection that is kept open between requests.
pub struct Client {
    host: String,
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Opens the connection.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| address.to_string())?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { host: address.to_string(), stream: BufReader::new(stream) })
    }

    /// Sends a request and reads the whole response.
    pub fn send(&mut self, request: Request<'_>) -> Result<Response> {
        self.send_with(request, &[])
    }

    /// The same, with a body, whose length a header gives.
    fn send_with(&mut self, request: Request<'_>, body: &[u8]) -> Result<Response> {
        let mut head = Vec::new();
        write!(head, "{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.path, self.host)?;
        for (name, value) in request.headers {
            write!(head, "{name}: {value}\r\n")?;
        }
        head.extend(b"\r\n");
        head.extend(body);
        self.stream.get_mut().write_all(&head)?;
        read_response(&mut self.stream, request.method == "HEAD")
    }
}

/// One request on a connection of its own.
pub fn send(address: SocketAddr, request: Request<'_>) -> Result<Response> {
    Client::connect(address)?.send(request)
}

/// `POST` of a body, on a connection of its own.
pub fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Response> {
    let length = body.len().to_string();
    let headers = [headers, &[("Content-Length", &length)]].concat();
    Client::connect(address)?.send_with(Request { method: "POST", path, headers: &headers }, body.as_bytes())
}

/// Reads one response; `head` when it has no body whatever its headers say.
pub fn read_response(stream: &mut impl BufRead, head: bool) -> Result<Response> {
    let line = read_line(stream)?;
    let status = line.split(' ').nth(1).with_context(|| format!("not a status line: {line:?}"))?.parse()?;
    let keep_alive = line.starts_with("HTTP/1.1");
    let mut response = Response { status, headers: Vec::new(), body: Vec::new(), keep_alive };
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').with_context(|| format!("not a header: {line:?}"))?;
        response.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    response.keep_alive &= response.header("connection") != Some("close");
    if head || matches!(status, 204 | 304) {
        return Ok(response);
    }
    if let Some(length) = response.header("content-length") {
        response.body = vec![0; length.parse()?];
        stream.read_exact(&mut response.body)?;
    } else if response.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = usize::from_str_radix(&read_line(stream)?, 16)?;
            let start = response.body.len();
            response.body.resize(start + size, 0);
            stream.read_exact(&mut response.body[start..])?;
            ensure!(read_line(stream)?.is_empty(), "a chunk is longer than its size");
            if size == 0 {
                break;
            }
        }
    } else {
        stream.read_to_end(&mut response.body)?;
    }
    Ok(response)
}

fn read_line(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        bail!("the connection was closed before a whole answer");
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}
