//! The command line: what can be asked ([`args`]), how results and errors are printed ([`output`]) and how the process
//! ends ([`exit`]).

pub mod args;
pub mod exit;
pub mod output;
