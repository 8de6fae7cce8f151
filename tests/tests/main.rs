//! Every end-to-end test, in one program: the test runner then shares the cores among all of them, since most
//! wait for an exporter or a Prometheus more than they work, and there is one program to link.
//!
//! They run what is built: `cargo build --workspace` first.

mod alerts;
mod backends;
mod c_headers;
mod chain;
mod chart;
mod choice;
mod cli;
mod clients;
mod container;
mod coverage;
mod dashboards;
mod detach;
mod edge;
mod examples;
mod faults;
mod gaudi;
mod golden;
mod header;
mod health;
mod hostile;
mod incident;
mod isolation;
mod kernel_abi;
mod kernel_log;
mod level_zero;
mod level_zero_faults;
mod live;
mod machines;
mod matrix;
mod negotiation;
mod nvml_readings;
mod packages;
mod packaging;
mod pictures;
mod prometheus;
mod pyhlml;
mod settings_file;
mod soak;
mod web_config;
mod workloads;
mod xpu;
