//! The exporter over a fake source that does what a test tells it, and over real sockets.

mod command_line;
mod fake;
mod http;
mod sampling;
