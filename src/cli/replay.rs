//! `lastword replay`.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::core::failure::Failure;
use crate::runtime::progress::Progress;
use crate::runtime::replay::{self as runner, ReplayFrom, ReplayRequest};
use crate::runtime::status;
use crate::runtime::supervisor::{Ended, Pipeline, RunOptions};
use crate::server::report::{printable, table};
use crate::sink::Session;
use crate::sink::bookkeep::{self, ReplayEntry, ReplayRange, ReplayState};
use crate::telemetry::logging;

use super::args::ReplayArgs;
use super::context::{Context, stop_on_signals, time_text, who};
use super::exit::{CommandError, Exit};

/// Starts, resumes, plans or lists replays.
pub(super) async fn replay(context: &Context, args: &ReplayArgs) -> Result<Exit, CommandError> {
    let pipeline = context.pipeline().await?;
    let mut session = pipeline.sink.session("replay").await?;
    if args.list {
        return list(context, &pipeline, &mut session).await;
    }
    let entry = match args.resume {
        Some(id) => resumable(runner::find(&pipeline, &mut session, id).await?)?,
        None => {
            let ranges = runner::ranges(&pipeline, &mut session, &request(args)?).await?;
            if args.dry_run {
                return plan(context, &ranges);
            }
            let id =
                bookkeep::replay_start(&mut session, &pipeline.config.pipeline, &ranges, args.repair, &who()).await?;
            runner::find(&pipeline, &mut session, id).await?
        }
    };
    perform(context, &pipeline, &mut session, &entry).await
}

fn request(args: &ReplayArgs) -> Result<ReplayRequest, CommandError> {
    let from = match (args.from_offset, args.from_time, args.from_beginning) {
        (Some(offset), None, false) => ReplayFrom::Offset(offset),
        (None, Some(time), false) => ReplayFrom::Time(time.0),
        (None, None, true) => ReplayFrom::Beginning,
        _ => return Err(CommandError::new(Exit::Usage, "say where the replay begins, in one way")),
    };
    let topic =
        args.topic.clone().ok_or_else(|| CommandError::new(Exit::Usage, "say which topic is to be replayed"))?;
    Ok(ReplayRequest { topic, partition: args.partition, from, to: args.to_offset, repair: args.repair })
}

fn resumable(entry: ReplayEntry) -> Result<ReplayEntry, Failure> {
    if entry.state == ReplayState::Done {
        return Err(Failure::operator("replay_done", format!("replay {} is done; start a new one", entry.id)));
    }
    Ok(entry)
}

fn plan(context: &Context, ranges: &[ReplayRange]) -> Result<Exit, CommandError> {
    context.output.result(&ranges, |ranges| {
        let mut page = table(&["topic", "partition", "from", "to", "records (at most)"], &[1, 2, 3, 4]);
        let mut sum = 0;
        for range in *ranges {
            sum += range.to - range.from;
            page.add_row([
                printable(&range.topic),
                range.partition.to_string(),
                range.from.to_string(),
                range.to.to_string(),
                (range.to - range.from).to_string(),
            ]);
        }
        format!("{page}\nat most {sum} records would be read; nothing was changed\n")
    })?;
    Ok(Exit::Ok)
}

async fn perform(
    context: &Context,
    pipeline: &Pipeline,
    session: &mut Session,
    entry: &ReplayEntry,
) -> Result<Exit, CommandError> {
    let progress = Progress::default();
    let stop = stop_on_signals()?;
    let bar = tokio::spawn(show(entry.clone(), progress.clone()));
    let options = RunOptions { until_caught_up: true, stop, progress: progress.clone() };
    let ended = runner::run(pipeline, session, entry, options).await;
    bar.abort();
    let ended = ended?;
    let summary = status::summary(&progress, ended == Ended::CaughtUp);
    let result = serde_json::json!({ "replay": entry.id, "done": ended == Ended::CaughtUp && summary.halted.is_empty(), "summary": summary });
    context.output.result(&result, |_| format!("replay {}\n{summary}", entry.id))?;
    if !summary.halted.is_empty() {
        return Ok(Exit::Operator);
    }
    if ended == Ended::Stopped {
        context.output.note(&format!("interrupted; `lastword replay --resume {}` goes on\n", entry.id))?;
        return Ok(Exit::Stopped);
    }
    Ok(Exit::Ok)
}

/// A bar over all ranges, on a terminal.
async fn show(entry: ReplayEntry, progress: Progress) {
    let all: i64 = entry.ranges.iter().map(|range| range.to - range.from).sum();
    let style =
        ProgressStyle::with_template("replay {bar:40} {pos}/{len}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = logging::bars().add(ProgressBar::new(all.max(0) as u64).with_style(style));
    loop {
        let partitions = progress.partitions();
        let read = |range: &ReplayRange| {
            let at = crate::core::record::TopicPartition::new(range.topic.as_str(), range.partition);
            partitions.get(&at).map_or(0, |partition| (partition.next - range.from).max(0))
        };
        bar.set_position(entry.ranges.iter().map(read).sum::<i64>().max(0) as u64);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn list(context: &Context, pipeline: &Pipeline, session: &mut Session) -> Result<Exit, CommandError> {
    let entries = bookkeep::replay_list(session, &pipeline.config.pipeline).await?;
    let rows: Vec<serde_json::Value> = entries
        .iter()
        .map(|entry| {
            serde_json::json!({
                "id": entry.id, "state": entry.state.as_str(), "repair": entry.repair, "ranges": entry.ranges,
                "records": entry.counts.records, "applied": entry.counts.applied, "superseded": entry.counts.superseded,
                "quarantined": entry.counts.quarantined, "who": entry.who, "started_at": time_text(entry.started_ms),
            })
        })
        .collect();
    context.output.result(&rows, |_| {
        let mut page = table(
            &["id", "state", "topic", "records", "applied", "superseded", "quarantined", "who", "started"],
            &[0, 3, 4, 5, 6],
        );
        for entry in &entries {
            page.add_row([
                entry.id.to_string(),
                entry.state.as_str().to_owned(),
                entry.ranges.first().map(|range| printable(&range.topic)).unwrap_or_default(),
                entry.counts.records.to_string(),
                entry.counts.applied.to_string(),
                entry.counts.superseded.to_string(),
                entry.counts.quarantined.to_string(),
                printable(&entry.who),
                time_text(entry.started_ms),
            ]);
        }
        format!("{page}\n")
    })?;
    Ok(Exit::Ok)
}
