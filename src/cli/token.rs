//! `lastword token decode`.

use serde::Serialize;

use crate::core::token::{TOKEN_FORMAT, Token};

use super::args::TokenCommand;
use super::context::Context;
use super::exit::{CommandError, Exit};

#[derive(Serialize)]
struct Parts {
    format: u8,
    scope: u16,
    source_epoch: u32,
    rest: String,
}

/// Shows the parts that every token has; the rest depends on the scope's connector.
pub(super) async fn token(context: &Context, command: &TokenCommand) -> Result<Exit, CommandError> {
    let TokenCommand::Decode { hex } = command;
    let not_a_token = || CommandError::new(Exit::Usage, "these bytes are not a token of this version");
    let token = Token::from_bytes(&hex.0).ok_or_else(not_a_token)?;
    let (head, rest) = token.as_bytes().split_at_checked(7).ok_or_else(not_a_token)?;
    if head[0] != TOKEN_FORMAT {
        return Err(not_a_token());
    }
    let parts = Parts {
        format: head[0],
        scope: u16::from_be_bytes([head[1], head[2]]),
        source_epoch: u32::from_be_bytes([head[3], head[4], head[5], head[6]]),
        rest: rest.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    context.output.result(&parts, |parts| {
        format!(
            "format        {}\nscope         {} (its meaning is in the table `scope` of the bookkeeping)\nsource epoch  {}\nposition      {}\n",
            parts.format, parts.scope, parts.source_epoch, parts.rest
        )
    })?;
    Ok(Exit::Ok)
}
