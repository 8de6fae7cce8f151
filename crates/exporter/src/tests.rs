//! The exporter with a fake source that tests control, and over real sockets.

mod command_line;
mod detach;
pub mod fake;
mod http;
mod limits;
mod live;
mod sampling;
mod settings_file;
