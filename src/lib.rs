//! lastword: the newest change of every key has the last word.

pub mod cli;
pub mod config;
pub mod core;
pub mod runtime;
pub mod server;
pub mod sink;
pub mod source;
pub mod telemetry;
