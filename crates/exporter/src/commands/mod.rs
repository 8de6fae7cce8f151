//! The command line: flags, their values, and one module for each command.

pub mod cardinality;
pub mod cli;
pub mod fields;
pub mod flags;
pub mod flags_page;
pub mod generate;
pub mod log;
pub mod manual;
pub mod metrics_page;
pub mod mistake;
pub mod print;
pub mod probe;
pub mod serve;
pub mod settings;
pub mod values;
