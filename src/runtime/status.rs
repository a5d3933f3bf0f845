//! The status of a pipeline, from the store and from what this process knows.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use crate::config::checked::Config;
use crate::core::failure::Failure;
use crate::core::record::TopicPartition;
use crate::server::{PartitionStatus, SourceStatus, StatusReport, TableStatus};
use crate::sink::Session;
use crate::sink::bookkeep::{self, Checkpoint, ConsistencyState, QuarantineFilter, QuarantineState};
use crate::telemetry::metrics;

use super::progress::{Guards, PartitionState, Progress};

/// Most open quarantine entries that are counted by table.
const QUARANTINE_COUNTED: u32 = 100_000;

/// Status from the store: all partitions of the pipeline, whoever owns them. Ends are given where they are known.
pub async fn stored(
    session: &mut Session,
    config: &Config,
    ends: &HashMap<TopicPartition, i64>,
) -> Result<StatusReport, Failure> {
    let checkpoints = bookkeep::checkpoints(session, &config.pipeline).await?;
    let mut report = StatusReport::of(config);
    report.partitions = checkpoints.iter().map(|stored| partition(stored, ends.get(&stored.at).copied())).collect();
    let filter = QuarantineFilter { state: Some(QuarantineState::New), ..QuarantineFilter::default() };
    let open = bookkeep::quarantine_list(session, &config.pipeline, &filter, QUARANTINE_COUNTED).await?;
    report.quarantine_open = Some(open.len() as u64);
    report.sources = bookkeep::consistency(session, &config.pipeline).await?.into_iter().map(source).collect();
    let states = bookkeep::table_states(session).await?;
    for counters in bookkeep::table_counters(session, &config.pipeline).await? {
        let quarantined = open.iter().filter(|entry| entry.table.as_deref() == Some(&counters.table)).count();
        report.tables.push(TableStatus {
            contract: states.get(&counters.table).cloned().unwrap_or_default(),
            applied: counters.sums.applied,
            superseded: counters.sums.superseded(),
            quarantined: quarantined as u64,
            tombstones: counters.sums.tombstones_delta,
            name: counters.table,
        });
    }
    Ok(report)
}

fn source(stored: ConsistencyState) -> SourceStatus {
    let at = chrono::DateTime::from_timestamp_millis(stored.updated_ms).unwrap_or_default();
    SourceStatus {
        source: stored.source,
        consistent_to: stored.position,
        align_cuts: stored.by_time,
        split: stored.inside,
        at: at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
    }
}

fn partition(stored: &Checkpoint, end: Option<i64>) -> PartitionStatus {
    let lag = end.map(|end| (end - stored.next_offset).max(0));
    PartitionStatus {
        topic: stored.at.topic.to_string(),
        partition: stored.at.partition,
        next_offset: Some(stored.next_offset),
        end_offset: end,
        lag_records: lag,
        lag_seconds: lag.and_then(|lag| lag_seconds(lag, stored.source_time_ms)),
        fence: Some(stored.fence),
        owner: Some(stored.owner.clone()).filter(|owner| !owner.is_empty()),
        state: String::new(),
    }
}

/// Age of the newest applied change, if something newer waits; 0 at the end. An upper bound of the lag that needs no read of
/// the record that waits.
fn lag_seconds(lag: i64, source_time_ms: Option<i64>) -> Option<f64> {
    if lag == 0 {
        return Some(0.0);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?.as_millis() as i64;
    source_time_ms.map(|time| ((now - time) as f64 / 1000.0).max(0.0))
}

/// The same with what this process knows of its own partitions; also fills the gauges.
pub async fn live(session: &mut Session, config: &Config, progress: &Progress) -> Result<StatusReport, Failure> {
    let own = progress.partitions();
    let ends = own.iter().filter_map(|(at, partition)| Some((at.clone(), partition.end?))).collect();
    let mut report = stored(session, config, &ends).await?;
    for row in &mut report.partitions {
        let at = TopicPartition::new(row.topic.as_str(), row.partition);
        let Some(partition) = own.get(&at) else { continue };
        row.state = match &partition.state {
            PartitionState::Claiming => "claiming".to_owned(),
            PartitionState::Running => "running".to_owned(),
            PartitionState::Halted(why) => format!("halted: {why}"),
        };
        let position = metrics::Position {
            next_offset: row.next_offset,
            end_offset: row.end_offset,
            lag_records: row.lag_records,
            lag_seconds: row.lag_seconds,
        };
        metrics::position(&at, &position);
    }
    metrics::partitions_owned(own.len());
    metrics::quarantine_open(report.quarantine_open.unwrap_or_default());
    Ok(report)
}

/// What a run did, with how often each guard decided.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RunSummary {
    /// Everything was applied that was there when it began.
    pub caught_up: bool,
    /// Records whose offsets were passed.
    pub records: u64,
    /// Changes that took effect.
    pub applied: u64,
    /// Changes that lost inside their batch.
    pub superseded_in_batch: u64,
    /// Changes that lost to a row.
    pub superseded_by_row: u64,
    /// Changes that lost to a tombstone.
    pub superseded_by_tombstone: u64,
    /// Changes that lost to a truncate token.
    pub superseded_by_truncate: u64,
    /// Rows and tombstones that the re-check removed.
    pub recheck_deleted: u64,
    /// Records kept aside.
    pub quarantined: u64,
    /// Records left out.
    pub filtered: u64,
    /// Records that carry no change.
    pub control: u64,
    /// Compare-and-swaps that missed.
    pub checkpoint_missed: u64,
    /// Unknown outcomes that had been committed.
    pub unknown_landed: u64,
    /// Unknown outcomes that had not.
    pub unknown_not_landed: u64,
    /// Tries that failed and were repeated.
    pub retries: u64,
    /// Partitions that are halted, with the reason.
    pub halted: Vec<String>,
}

/// Sums a run up.
pub fn summary(progress: &Progress, caught_up: bool) -> RunSummary {
    let Guards { checkpoint_missed, unknown_landed, unknown_not_landed, transient_retries } = progress.guards();
    let counts = progress.counts();
    let outcome = progress.outcome();
    RunSummary {
        caught_up,
        records: counts.records(),
        applied: outcome.applied,
        superseded_in_batch: outcome.superseded_in_batch,
        superseded_by_row: outcome.superseded_by_row,
        superseded_by_tombstone: outcome.superseded_by_tombstone,
        superseded_by_truncate: outcome.superseded_by_truncate,
        recheck_deleted: outcome.recheck_deleted,
        quarantined: counts.quarantined,
        filtered: counts.filtered,
        control: counts.control,
        checkpoint_missed,
        unknown_landed,
        unknown_not_landed,
        retries: transient_retries,
        halted: progress.halts().iter().map(|(at, why)| format!("{at}: {why}")).collect(),
    }
}

impl fmt::Display for RunSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} records: {} changes applied, {} superseded, {} quarantined, {} filtered, {} control",
            self.records,
            self.applied,
            self.superseded_in_batch
                + self.superseded_by_row
                + self.superseded_by_tombstone
                + self.superseded_by_truncate,
            self.quarantined,
            self.filtered,
            self.control
        )?;
        writeln!(
            f,
            "guards: superseded in batch {}, by row {}, by tombstone {}, by truncate {}; re-check deleted {}; compare-and-swap missed {}; unknown outcome landed {}, not landed {}; retries {}",
            self.superseded_in_batch,
            self.superseded_by_row,
            self.superseded_by_tombstone,
            self.superseded_by_truncate,
            self.recheck_deleted,
            self.checkpoint_missed,
            self.unknown_landed,
            self.unknown_not_landed,
            self.retries
        )?;
        self.halted.iter().try_for_each(|halt| writeln!(f, "halted: {halt}"))
    }
}
