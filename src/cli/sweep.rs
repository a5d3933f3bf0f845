//! `lastword sweep status|run`.

use std::sync::Arc;

use crate::runtime::feeding::Survey;
use crate::runtime::sweep::{SweepStatus, Sweeper};
use crate::runtime::tables::Tables;
use crate::server::report::{printable, table};
use crate::sink::Sink;
use crate::source::Source;

use super::args::SweepCommand;
use super::context::{Context, time_text, who};
use super::exit::{CommandError, Exit};
use super::tombstones::selected;

/// Shows finished snapshots with what they did not contain, and sweeps.
pub(super) async fn sweep(context: &Context, command: &SweepCommand) -> Result<Exit, CommandError> {
    match command {
        SweepCommand::Status { table, show_keys } => status(context, table.as_deref(), *show_keys).await,
        SweepCommand::Run { table, dry_run: true, show_keys } => status(context, Some(table), *show_keys).await,
        SweepCommand::Run { table, dry_run: false, .. } => run(context, table).await,
    }
}

async fn status(context: &Context, only: Option<&str>, show_keys: bool) -> Result<Exit, CommandError> {
    let config = context.config()?;
    let mut session = context.session(&config, "sweep").await?;
    let source = Source::new(&config.source, &config.pipeline)?;
    let tables = Tables::new(Arc::clone(&config), Sink::new(&config.sink)?, false);
    let mut survey = Survey::new(&mut session, &source).await?;
    let mut found = Vec::new();
    for fed in selected(survey.fed_by(&config.pipeline, &tables), only)? {
        let (session, survey) = (&mut session, &mut survey);
        let mut sweeper = Sweeper { session, survey, tables: &tables, pipeline: &config.pipeline, who: "" };
        found.extend(sweeper.look(&fed, show_keys).await?);
    }
    context.output.result(&found, |found| render(found))?;
    Ok(Exit::Ok)
}

fn render(found: &[SweepStatus]) -> String {
    let mut page =
        table(&["table", "topic", "snapshot ended", "state", "would remove", "removed", "what it waits for"], &[4, 5]);
    for one in found {
        page.add_row([
            printable(&one.table),
            printable(&one.topic),
            time_text(one.marked_ms),
            one.state.to_owned(),
            one.would_remove.to_string(),
            one.removed.to_string(),
            printable(&one.blocked.join("; ")),
        ]);
    }
    let keys = found.iter().flat_map(|one| &one.keys).map(|key| format!("{}\n", printable(&key.join(", "))));
    format!("{page}\n{}", keys.collect::<String>())
}

async fn run(context: &Context, name: &str) -> Result<Exit, CommandError> {
    let pipeline = context.pipeline().await?;
    let mut session = pipeline.sink.session("sweep").await?;
    let mut survey = Survey::new(&mut session, &pipeline.source).await?;
    let who = who();
    let (mut removed, mut found) = (0, Vec::new());
    for fed in selected(survey.fed_by(&pipeline.config.pipeline, &pipeline.tables), Some(name))? {
        let (session, survey, tables) = (&mut session, &mut survey, &*pipeline.tables);
        let mut sweeper = Sweeper { session, survey, tables, pipeline: &pipeline.config.pipeline, who: &who };
        removed += sweeper.round(&fed).await?;
        found.extend(sweeper.look(&fed, false).await?);
    }
    let waits: Vec<String> = found.iter().flat_map(|one| one.blocked.clone()).collect();
    context.output.result(&serde_json::json!({ "removed": removed, "blocked": waits }), |_| {
        let why = if waits.is_empty() { String::new() } else { format!("; it waits: {}", waits.join("; ")) };
        format!("{removed} rows removed{}\n", printable(&why))
    })?;
    Ok(if waits.is_empty() { Exit::Ok } else { Exit::Operator })
}
