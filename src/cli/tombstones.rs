//! `lastword tombstones status|collect|reset`.

use std::sync::Arc;

use crate::core::failure::Failure;
use crate::runtime::collect::{self, TableTombstones};
use crate::runtime::feeding::{Fed, Survey};
use crate::runtime::tables::Tables;
use crate::server::report::{printable, table};
use crate::sink::bookkeep;
use crate::sink::{Session, Sink};
use crate::source::Source;

use super::args::TombstonesCommand;
use super::context::{Context, time_text, who};
use super::exit::{CommandError, Exit};

/// Shows tombstones, collects what is due, lowers the floor of an empty table.
pub(super) async fn tombstones(context: &Context, command: &TombstonesCommand) -> Result<Exit, CommandError> {
    match command {
        TombstonesCommand::Status { table } => status(context, table.as_deref()).await,
        TombstonesCommand::Collect { table, dry_run: true } => status(context, table.as_deref()).await,
        TombstonesCommand::Collect { table, dry_run: false } => collect(context, table.as_deref()).await,
        TombstonesCommand::Reset { table, note } => reset(context, table, note.as_deref()).await,
    }
}

/// The tables of the pipeline, or the one that is named.
pub(super) fn selected(all: Vec<Fed>, only: Option<&str>) -> Result<Vec<Fed>, Failure> {
    let Some(name) = only else { return Ok(all) };
    let known: Vec<String> = all.iter().map(|fed| fed.table.to_string()).collect();
    let found: Vec<Fed> =
        all.into_iter().filter(|fed| fed.table.to_string() == name || fed.table.table == name).collect();
    match found.len() {
        1 => Ok(found),
        _ => Err(Failure::operator(
            "unknown_table",
            format!("{name:?} is not one final-state table that this pipeline has met; it knows {}", known.join(", ")),
        )),
    }
}

async fn status(context: &Context, only: Option<&str>) -> Result<Exit, CommandError> {
    let config = context.config()?;
    let mut session = context.session(&config, "tombstones").await?;
    let source = Source::new(&config.source, &config.pipeline)?;
    let tables = Tables::new(Arc::clone(&config), Sink::new(&config.sink)?, false);
    let mut survey = Survey::new(&mut session, &source).await?;
    let mut found = Vec::new();
    for fed in selected(survey.fed_by(&config.pipeline, &tables), only)? {
        found.push(collect::look(&mut session, &mut survey, &fed).await?);
    }
    context.output.result(&found, |found| render(found))?;
    Ok(Exit::Ok)
}

fn render(found: &[TableTombstones]) -> String {
    let mut page = table(
        &["table", "tombstones", "collect", "waiting", "oldest closed", "due", "collected", "floor", "what blocks"],
        &[1, 3, 5, 6],
    );
    for one in found {
        page.add_row([
            printable(&one.table),
            one.tombstones.to_string(),
            if one.collect { "yes".to_owned() } else { "no".to_owned() },
            one.generations.to_string(),
            one.oldest_closed_ms.map(time_text).unwrap_or_default(),
            one.due.to_string(),
            one.collected.to_string(),
            one.floors.join(" "),
            printable(&one.blocked.join("; ")),
        ]);
    }
    format!("{page}\n")
}

async fn collect(context: &Context, only: Option<&str>) -> Result<Exit, CommandError> {
    let pipeline = context.pipeline().await?;
    let mut session = pipeline.sink.session("tombstones").await?;
    let mut survey = Survey::new(&mut session, &pipeline.source).await?;
    let mut found = Vec::new();
    for fed in selected(survey.fed_by(&pipeline.config.pipeline, &pipeline.tables), only)? {
        if !fed.rule.tombstones.collect && only.is_some() {
            return Err(Failure::operator(
                "not_collected",
                format!("`tombstones` says collect = false for {}: nothing was changed", fed.table),
            )
            .into());
        }
        let due = collect::round(&mut session, &mut survey, &pipeline.config.pipeline, &fed, true).await?;
        let seen = collect::look(&mut session, &mut survey, &fed).await?;
        found.push(TableTombstones { due, ..seen });
    }
    context.output.result(&found, |found| {
        let line = |one: &TableTombstones| {
            let why = if one.blocked.is_empty() { String::new() } else { format!("; {}", one.blocked.join("; ")) };
            format!("{}: {} collected, {} left{}\n", printable(&one.table), one.due, one.tombstones, printable(&why))
        };
        found.iter().map(line).collect()
    })?;
    Ok(Exit::Ok)
}

async fn reset(context: &Context, name: &str, note: Option<&str>) -> Result<Exit, CommandError> {
    let config = context.config()?;
    let mut session: Session = context.session(&config, "tombstones").await?;
    let source = Source::new(&config.source, &config.pipeline)?;
    let tables = Tables::new(Arc::clone(&config), Sink::new(&config.sink)?, false);
    let survey = Survey::new(&mut session, &source).await?;
    let actor = note.map_or_else(who, |note| format!("{}: {note}", who()));
    for fed in selected(survey.fed_by(&config.pipeline, &tables), Some(name))? {
        let graves = bookkeep::Graves { table: fed.table.clone(), storage: fed.rule.token_storage };
        bookkeep::reset_floors(&mut session, &graves, &actor).await?;
        context.output.result(&serde_json::json!({ "reset": fed.table.to_string() }), |_| {
            format!("{}: the floor is lowered; it can be filled from the beginning\n", fed.table)
        })?;
    }
    Ok(Exit::Ok)
}
