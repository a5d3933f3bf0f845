//! Replays: a range of the log is read again beside the live consumers, through the same plan and guards, under checkpoints
//! of its own. It changes nothing but rows that were missing; with `repair` also values of rows whose token is equal.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::core::failure::Failure;
use crate::core::record::TopicPartition;
use crate::failpoint::failpoint;
use crate::sink::Session;
use crate::sink::bookkeep::{self, ReplayCounts, ReplayEntry, ReplayRange, ReplayState};
use crate::source::{LogRange, ReadRange, TopicInfo, next_generation};

use super::progress::Progress;
use super::supervisor::{Ended, Pipeline, RunOptions, run_ranges};

/// Where a replay begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayFrom {
    /// At this offset.
    Offset(i64),
    /// At the first record at or after this time, in milliseconds since 1970.
    Time(i64),
    /// At the start of the log.
    Beginning,
}

/// What is to be replayed.
#[derive(Clone, Debug)]
pub struct ReplayRequest {
    /// Topic.
    pub topic: String,
    /// Only this partition.
    pub partition: Option<i32>,
    /// Where it begins.
    pub from: ReplayFrom,
    /// Offset to stop before; else where the live checkpoint is.
    pub to: Option<i64>,
    /// Rewrite rows of equal token.
    pub repair: bool,
}

/// Finds the ranges of a request. Refuses what lies outside of the log, with the range that exists.
pub async fn ranges(
    pipeline: &Pipeline,
    session: &mut Session,
    request: &ReplayRequest,
) -> Result<Vec<ReplayRange>, Failure> {
    let topic = find_topic(pipeline, &request.topic).await?;
    let partitions = partitions(&topic, request.partition)?;
    let live = bookkeep::checkpoints(session, &pipeline.config.pipeline).await?;
    let live: HashMap<TopicPartition, i64> = live.into_iter().map(|stored| (stored.at, stored.next_offset)).collect();
    let mut found = Vec::new();
    for (at, log) in pipeline.source.ranges(&partitions).await? {
        let to = request.to.or_else(|| live.get(&at).copied()).unwrap_or(log.start);
        let from = match request.from {
            ReplayFrom::Beginning => log.start,
            ReplayFrom::Offset(offset) => offset,
            ReplayFrom::Time(time) => pipeline.source.offset_at_time(&at, time).await?.unwrap_or(to),
        };
        check_range(&at, from, to, log)?;
        found.push(ReplayRange {
            topic: at.topic.to_string(),
            partition: at.partition,
            incarnation: topic.incarnation.to_string(),
            from: from.min(to),
            to,
        });
    }
    found.sort_by_key(|range| range.partition);
    check_floors(pipeline, session, &found).await?;
    Ok(found)
}

pub(super) async fn find_topic(pipeline: &Pipeline, name: &str) -> Result<TopicInfo, Failure> {
    let topics = pipeline.source.topics().await?;
    topics.iter().find(|info| *info.topic == *name).cloned().ok_or_else(|| {
        let known: Vec<&str> = topics.iter().map(|info| &*info.topic).take(10).collect();
        Failure::operator(
            "unknown_topic",
            format!("the pipeline does not read a topic {name:?}; it reads {}", known.join(", ")),
        )
    })
}

fn partitions(topic: &TopicInfo, only: Option<i32>) -> Result<Vec<TopicPartition>, Failure> {
    let all = (0..topic.partitions).map(|partition| TopicPartition { topic: Arc::clone(&topic.topic), partition });
    match only {
        None => Ok(all.collect()),
        Some(number) => {
            let found: Vec<_> = all.filter(|at| at.partition == number).collect();
            if found.is_empty() {
                let what = format!("topic {} has partitions 0 to {}, not {number}", topic.topic, topic.partitions - 1);
                return Err(Failure::operator("unknown_partition", what));
            }
            Ok(found)
        }
    }
}

fn check_range(at: &TopicPartition, from: i64, to: i64, log: LogRange) -> Result<(), Failure> {
    if from < log.start || from > log.end || to > log.end {
        return Err(Failure::operator(
            "out_of_log",
            format!(
                "{at}: offsets {from} to {to} do not lie in the log, which holds {} to {} (end not included)",
                log.start, log.end
            ),
        ));
    }
    if to < from {
        return Err(Failure::operator(
            "empty_range",
            format!(
                "{at}: the range ends at {to}, before it begins at {from}; a replay ends at the live checkpoint unless `--to-offset` says otherwise"
            ),
        ));
    }
    Ok(())
}

/// The replay of a number.
pub async fn find(pipeline: &Pipeline, session: &mut Session, id: i64) -> Result<ReplayEntry, Failure> {
    let entries = bookkeep::replay_list(session, &pipeline.config.pipeline).await?;
    entries.into_iter().find(|entry| entry.id == id).ok_or_else(|| {
        Failure::operator("unknown_replay", format!("there is no replay {id}; `lastword replay --list` shows them"))
    })
}

/// Starts a replay of everything that a topic holds, for the tests of users and our own, and runs it to its end.
pub(crate) async fn whole_topic(pipeline: &Pipeline, topic: &str, who: &str) -> Result<Ended, Failure> {
    let mut session = pipeline.sink.session("replay").await?;
    let request = ReplayRequest {
        topic: topic.to_owned(),
        partition: None,
        from: ReplayFrom::Beginning,
        to: None,
        repair: false,
    };
    let ranges = ranges(pipeline, &mut session, &request).await?;
    let id = bookkeep::replay_start(&mut session, &pipeline.config.pipeline, &ranges, false, who).await?;
    let entry = find(pipeline, &mut session, id).await?;
    let options = RunOptions { until_caught_up: true, stop: CancellationToken::new(), progress: Progress::default() };
    run(pipeline, &mut session, &entry, options).await
}

/// Runs a new replay (or goes on with an interrupted one) to its end, or until it is told to stop.
pub async fn run(
    pipeline: &Pipeline,
    session: &mut Session,
    entry: &ReplayEntry,
    options: RunOptions,
) -> Result<Ended, Failure> {
    let checkpoint_owner: Arc<str> = bookkeep::replay_checkpoint_owner(&pipeline.config.pipeline, entry.id).into();
    check_incarnations(pipeline, entry).await?;
    let stored = bookkeep::checkpoints(session, &checkpoint_owner).await?;
    let next_of = |range: &ReplayRange| {
        let at = TopicPartition::new(range.topic.as_str(), range.partition);
        let stored = stored.iter().find(|stored| stored.at == at).map(|stored| stored.next_offset);
        (at, stored.unwrap_or(range.from))
    };
    let rest: Vec<ReplayRange> =
        entry.ranges.iter().map(|range| ReplayRange { from: next_of(range).1, ..range.clone() }).collect();
    check_floors(pipeline, session, &rest).await?;
    let mut reads = Vec::new();
    let mut first = HashMap::new();
    for range in &entry.ranges {
        let (at, from) = next_of(range);
        first.insert(at.clone(), from);
        reads.push((
            ReadRange { at, generation: next_generation(), from, to: range.to.max(from) },
            Arc::from(range.incarnation.as_str()),
        ));
    }
    bookkeep::replay_update(session, entry.id, ReplayState::Running, entry.counts).await?;
    failpoint!(REPLAY_BEGUN);
    let progress = options.progress.clone();
    let ended = run_ranges(pipeline, &checkpoint_owner, entry.repair, reads, first, options).await;
    let state = if matches!(ended, Ok(Ended::CaughtUp)) && progress.halts().is_empty() {
        ReplayState::Done
    } else {
        ReplayState::Interrupted
    };
    let mut counts = entry.counts;
    add_progress(&mut counts, &progress);
    failpoint!(REPLAY_READ);
    bookkeep::replay_update(session, entry.id, state, counts).await?;
    failpoint!(REPLAY_ENDED);
    ended
}

/// Refuses a range that begins before the ends of a collected generation: what it would bring is below the floor, and its rows
/// would be put aside one by one.
async fn check_floors(pipeline: &Pipeline, session: &mut Session, ranges: &[ReplayRange]) -> Result<(), Failure> {
    let mut tables = Vec::new();
    for feed in bookkeep::feeds(session).await? {
        let reads = feed.pipeline == pipeline.config.pipeline && ranges.iter().any(|range| range.topic == feed.topic);
        if let Some(table) = feed.table.parse().ok().filter(|_| reads) {
            tables.push(table);
        }
    }
    for (table, at, incarnation, end) in bookkeep::collected_ends(session, &tables).await? {
        let below = |range: &&ReplayRange| {
            *range.topic == *at.topic && range.partition == at.partition && range.incarnation == incarnation
        };
        if let Some(range) = ranges.iter().filter(below).find(|range| range.from < end && range.from < range.to) {
            return Err(Failure::operator(
                "below_floor",
                format!(
                    "{at}: tombstones of table {table} were collected up to offset {end}, so a replay from {} could not tell rows that \
                     were deleted since; replay from {end} on, or fill the table anew: empty it, `lastword tombstones reset \
                     --table {table}`, then replay",
                    range.from
                ),
            ));
        }
    }
    Ok(())
}

async fn check_incarnations(pipeline: &Pipeline, entry: &ReplayEntry) -> Result<(), Failure> {
    for range in &entry.ranges {
        let topic = find_topic(pipeline, &range.topic).await?;
        if *topic.incarnation != *range.incarnation {
            return Err(Failure::operator(
                "topic_recreated",
                format!(
                    "topic {} was made anew since replay {} was started; start a new replay",
                    range.topic, entry.id
                ),
            ));
        }
    }
    Ok(())
}

fn add_progress(counts: &mut ReplayCounts, progress: &super::progress::Progress) {
    let (sum, outcome) = (progress.counts(), progress.outcome());
    counts.records += sum.records();
    counts.quarantined += sum.quarantined;
    counts.applied += outcome.applied;
    counts.superseded += outcome.superseded();
}
