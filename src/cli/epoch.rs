//! `lastword epoch list|open`.

use serde::Serialize;

use crate::server::report::{printable, table};
use crate::sink::bookkeep::{self, Checkpoint, EpochEntry};

use super::args::{EpochCommand, EpochOpenArgs};
use super::context::{Context, time_text, who};
use super::exit::{CommandError, Exit};

/// Lists or opens source epochs.
pub(super) async fn epoch(context: &Context, command: &EpochCommand) -> Result<Exit, CommandError> {
    match command {
        EpochCommand::List => list(context).await,
        EpochCommand::Open(args) => open(context, args).await,
    }
}

#[derive(Serialize)]
struct Row {
    topic: String,
    partition: i32,
    incarnation: String,
    epoch: u32,
    marker: String,
    first_offset: i64,
    first_number: Option<u64>,
    above: Option<u64>,
    ended_at: Option<u64>,
    opened_by: String,
    opened_at: String,
}

impl From<EpochEntry> for Row {
    fn from(entry: EpochEntry) -> Self {
        let row = entry.row;
        Self {
            topic: row.at.topic.to_string(),
            partition: row.at.partition,
            incarnation: row.incarnation.to_string(),
            epoch: row.ordinal,
            marker: row.marker,
            first_offset: row.first_offset,
            first_number: row.first_number,
            above: row.bound,
            ended_at: row.previous_top,
            opened_by: entry.opened_by,
            opened_at: time_text(entry.opened_ms),
        }
    }
}

async fn list(context: &Context) -> Result<Exit, CommandError> {
    let config = context.config()?;
    let mut session = context.session(&config, "epoch").await?;
    let rows: Vec<Row> = bookkeep::epoch_list(&mut session).await?.into_iter().map(Row::from).collect();
    context.output.result(&rows, |rows| {
        let mut page =
            table(&["topic", "partition", "epoch", "marker", "from offset", "number", "by", "opened"], &[1, 2, 4, 5]);
        for row in rows {
            page.add_row([
                printable(&row.topic),
                row.partition.to_string(),
                row.epoch.to_string(),
                printable(&row.marker),
                row.first_offset.to_string(),
                row.first_number.map(|number| number.to_string()).unwrap_or_default(),
                printable(&row.opened_by),
                row.opened_at.clone(),
            ]);
        }
        format!("{page}\n")
    })?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct Done {
    topic: String,
    partition: i32,
    from_offset: i64,
    epoch: Option<u32>,
    epoch_before: Option<u32>,
}

async fn open(context: &Context, args: &EpochOpenArgs) -> Result<Exit, CommandError> {
    let config = context.config()?;
    let mut session = context.session(&config, "epoch").await?;
    if !args.yes {
        let wanted = |stored: &Checkpoint| {
            *stored.at.topic == *args.topic && args.partition.is_none_or(|only| only == stored.at.partition)
        };
        let stored = bookkeep::checkpoints(&mut session, &config.pipeline).await?;
        let planned = stored.into_iter().filter(wanted).map(|stored| Done {
            topic: args.topic.clone(),
            partition: stored.at.partition,
            from_offset: stored.next_offset,
            epoch: None,
            epoch_before: None,
        });
        let planned: Vec<Done> = planned.collect();
        context.output.result(&planned, |planned| {
            let lines = planned.iter().map(|done| {
                format!(
                    "{}[{}]: a new source epoch from about offset {}\n",
                    printable(&done.topic),
                    done.partition,
                    done.from_offset
                )
            });
            format!("{}nothing was changed; --yes does it\n", lines.collect::<String>())
        })?;
        return Ok(Exit::Ok);
    }
    let who = args.note.as_ref().map_or_else(who, |note| format!("{}: {note}", who()));
    let opened = bookkeep::epoch_open(&mut session, &config.pipeline, &args.topic, args.partition, &who).await?;
    let done = opened.into_iter().map(|opened| Done {
        topic: args.topic.clone(),
        partition: opened.partition,
        from_offset: opened.from,
        epoch: Some(opened.ordinal),
        epoch_before: Some(opened.before),
    });
    let done: Vec<Done> = done.collect();
    context.output.result(&done, |done| {
        let line = |done: &Done| {
            let (before, epoch) = (done.epoch_before.unwrap_or_default(), done.epoch.unwrap_or_default());
            let place = format!("{}[{}]", printable(&done.topic), done.partition);
            format!("{place}: epoch {epoch} from offset {} (before: {before})\n", done.from_offset)
        };
        done.iter().map(line).collect()
    })?;
    Ok(Exit::Ok)
}
