//! The command line: flags, their values, and one module for each command.

pub mod choice;
pub mod cli;
pub mod config;
pub mod fields;
pub mod flags;
pub mod generate;
pub mod health;
pub mod log;
pub mod mistake;
pub mod print;
pub mod probe;
pub mod reference;
pub mod reload;
pub mod serve;
pub mod settings;
pub mod values;
