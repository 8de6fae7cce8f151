//! The index page of the demo: where its nodes, engines and Prometheus are.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Result, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// How long a browser may keep a connection open before it asks for something.
const PATIENCE: Duration = Duration::from_secs(10);

const STYLE: &str = "
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
td { border-bottom: 1px solid #8888; padding: .4rem .8rem .4rem 0 }
";

/// A row of the page: a name, what it is, and links as path and text.
pub struct Row<'a> {
    pub name: &'a str,
    pub about: &'a str,
    pub address: SocketAddr,
    pub links: &'a [(&'a str, &'a str)],
}

/// The page: sections with their rows. Empty sections are left out.
pub fn html(sections: &[(&str, Vec<Row<'_>>)]) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>accelscope demo</title>\
         <style>{STYLE}</style></head><body>\n<h1>accelscope demo</h1>\n\
         <p>The machines are simulated: no value comes from hardware.</p>\n"
    );
    for (title, rows) in sections.iter().filter(|(_, rows)| !rows.is_empty()) {
        // Writing to a string does not fail.
        let _ = writeln!(html, "<h2>{title}</h2>\n<table>");
        for Row { name, about, address, links } in rows {
            let _ = write!(html, "<tr><td><b>{}</b></td><td>{about}</td><td>", escaped(name));
            for (path, text) in *links {
                let _ = write!(html, "<a href=\"http://{address}{}\">{text}</a> ", escaped(path));
            }
            html.push_str("</td></tr>\n");
        }
        html.push_str("</table>\n");
    }
    html.push_str("</body></html>\n");
    html
}

/// Serves the page at `/` for as long as this process lives.
pub fn serve(listener: TcpListener, html: String) {
    thread::spawn(move || {
        thread::scope(|scope| {
            let html = &html;
            for stream in listener.incoming().flatten() {
                // A browser that goes away, or opens a connection in advance, misses nothing.
                scope.spawn(move || drop(reply(&stream, html)));
            }
        });
    });
}

fn reply(mut stream: &TcpStream, html: &str) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = String::new();
    let mut reader = BufReader::new(stream);
    reader.read_line(&mut request)?;
    // Data that was not read when a connection closes would reset it.
    for header in reader.lines() {
        if header?.is_empty() {
            break;
        }
    }
    let (status, body) = match request.split(' ').nth(1) {
        Some("/") => ("200 OK", html),
        _ => ("404 Not Found", "the page is at /\n"),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
