//! The program `lastword`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lastword::cli::main().into()
}
