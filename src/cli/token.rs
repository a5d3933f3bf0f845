//! `lastword token decode`: offline, from the token's own bytes.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::core::token::text::{Described, describe};
use crate::core::token::{TOKEN_VERSION, Token};

use super::args::TokenCommand;
use super::context::Context;
use super::exit::{CommandError, Exit};

#[derive(Serialize)]
struct Page {
    version: u8,
    layout: &'static str,
    scope: u16,
    source_epoch: u32,
    /// Name and text of each part, in the order in which they are compared.
    parts: Vec<BTreeMap<&'static str, String>>,
}

/// Shows every part of a token.
pub(super) async fn token(context: &Context, command: &TokenCommand) -> Result<Exit, CommandError> {
    let TokenCommand::Decode { hex } = command;
    let not_a_token = || {
        let what = format!(
            "these bytes are not a token of version {TOKEN_VERSION}: they do not begin with {TOKEN_VERSION} and a layout that is known, or have other parts than that layout"
        );
        CommandError::new(Exit::Usage, what)
    };
    let token = Token::from_bytes(&hex.0).ok_or_else(not_a_token)?;
    let described = describe(&token).ok_or_else(not_a_token)?;
    context.output.result(&page(&described), |_| render(&described))?;
    Ok(Exit::Ok)
}

fn page(described: &Described) -> Page {
    let part =
        |(name, text): &(&'static str, String)| BTreeMap::from([("name", (*name).to_owned()), ("value", text.clone())]);
    Page {
        version: TOKEN_VERSION,
        layout: described.layout.name(),
        scope: described.scope,
        source_epoch: described.epoch,
        parts: described.parts.iter().map(part).collect(),
    }
}

fn render(described: &Described) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<22} {value}");
    };
    line("version", &TOKEN_VERSION.to_string());
    line("layout", described.layout.name());
    line("scope", &format!("{} (its meaning is in the table `scope` of the bookkeeping)", described.scope));
    line("source epoch", &described.epoch.to_string());
    for (name, value) in &described.parts {
        line(name, value);
    }
    text
}
