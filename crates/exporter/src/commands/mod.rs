//! The command line: flags, their values, and one module for each command.

pub mod cardinality;
pub mod cli;
pub mod fields;
pub mod generate;
pub mod log;
pub mod metrics_page;
pub mod print;
pub mod probe;
pub mod serve;
pub mod settings;
pub mod values;
