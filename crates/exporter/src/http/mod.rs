//! The HTTP server: listeners, connections with timeouts, routes and encoded bodies, all on one thread.

pub mod authority;
pub mod body;
pub mod connection;
pub mod connections;
pub mod detach;
pub mod handshake;
pub mod holders;
pub mod listen;
pub mod live;
pub mod routes;
pub mod web_config;
