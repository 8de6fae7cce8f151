//! Serving what was read: listeners, connections with time-outs, routes and encoded bodies, all on one thread.

pub mod body;
pub mod connection;
pub mod landing;
pub mod listen;
pub mod routes;
