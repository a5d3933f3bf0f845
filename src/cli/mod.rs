//! The command line: what can be asked ([`args`]), how results and errors are printed ([`output`]) and how the process
//! ends ([`exit`]).

mod adopt;
pub mod args;
mod audit;
mod check;
mod context;
pub mod demo;
mod epoch;
pub mod exit;
mod offsets;
pub mod output;
mod quarantine;
mod replay;
mod run;
mod status;
mod sweep;
mod token;
mod tombstones;

use clap::Parser;

use args::{Cli, Command};
use context::Context;
use exit::{CommandError, Exit};
use output::Output;

use crate::telemetry::logging;

/// Parses the command line, runs the command, prints its error, and says how the process ends.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are printed to stdout and are no failure.
            let _ = error.print();
            return if error.exit_code() == 0 { Exit::Ok } else { Exit::Usage };
        }
    };
    let output = Output { json: cli.global.json };
    match start(cli, output) {
        Ok(exit) => exit,
        Err(error) => {
            output.error(&error);
            error.exit
        }
    }
}

fn start(cli: Cli, output: Output) -> Result<Exit, CommandError> {
    logging::init(cli.global.log_format, cli.global.log_level.as_deref())?;
    #[cfg(debug_assertions)]
    crate::failpoint::prepare()?;
    // Both TLS stacks of the destinations use this one; a second provider in the process would make the choice a panic.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::from_error(Exit::Failed, &error))?;
    let exit = runtime.block_on(command(cli, output));
    // A database that does not answer must not keep the process from ending.
    runtime.shutdown_background();
    exit
}

async fn command(cli: Cli, output: Output) -> Result<Exit, CommandError> {
    let context = Context { global: cli.global, output };
    match cli.command {
        Command::Run(args) => run::run(&context, &args).await,
        Command::Check(args) => check::check(&context, args.plan).await,
        Command::Status(args) => status::status(&context, &args).await,
        Command::Replay(args) => replay::replay(&context, &args).await,
        Command::Offsets { command } => offsets::offsets(&context, &command).await,
        Command::Quarantine { command } => quarantine::quarantine(&context, &command).await,
        Command::Tombstones { command } => tombstones::tombstones(&context, &command).await,
        Command::Sweep { command } => sweep::sweep(&context, &command).await,
        Command::Adopt(args) => adopt::adopt(&context, &args).await,
        Command::Epoch { command } => epoch::epoch(&context, &command).await,
        Command::Token { command } => token::token(&context, &command).await,
        Command::Audit(args) => audit::audit(&context, &args).await,
        Command::Demo(args) => demo::command(&args).await,
    }
}
