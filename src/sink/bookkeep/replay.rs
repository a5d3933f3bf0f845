//! Replays: bounded readers beside the live lanes. A replay's positions are checkpoints of their own, under
//! [`replay_checkpoint_owner`]; this table says what it reads and how far it got.

use serde::{Deserialize, Serialize};

use crate::core::failure::Failure;
use crate::core::value::Value;
use crate::failpoint::failpoint;
use crate::sink::Statements;

use super::cells::{Cells, damaged, stored};
use super::{admin, end, sql};

/// State of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayState {
    /// Its process is at work, or died without a word.
    Running,
    /// It was stopped and can be resumed.
    Interrupted,
    /// It read all of its ranges.
    Done,
}

impl ReplayState {
    /// As it is stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Done => "done",
        }
    }

    fn from_text(text: &str) -> Result<Self, Failure> {
        [Self::Running, Self::Interrupted, Self::Done]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| damaged("a replay has an unknown state"))
    }
}

/// A part of a log that a replay reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayRange {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Incarnation of the topic when the replay was started.
    pub incarnation: String,
    /// First offset.
    pub from: i64,
    /// Offset to stop before.
    pub to: i64,
}

/// Sums over a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayCounts {
    /// Records read.
    pub records: u64,
    /// Changes that took effect.
    pub applied: u64,
    /// Changes that lost.
    pub superseded: u64,
    /// Records kept aside.
    pub quarantined: u64,
}

/// A replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayEntry {
    /// Its number.
    pub id: i64,
    /// What it reads.
    pub ranges: Vec<ReplayRange>,
    /// Whether rows of equal token are rewritten.
    pub repair: bool,
    /// Its state.
    pub state: ReplayState,
    /// How far it got.
    pub counts: ReplayCounts,
    /// Who started it.
    pub who: String,
    /// When, in milliseconds since 1970.
    pub started_ms: i64,
    /// When it was last heard of, in milliseconds since 1970.
    pub updated_ms: i64,
}

/// The name under which a replay's checkpoints are kept.
pub fn replay_checkpoint_owner(pipeline: &str, id: i64) -> String {
    format!("{pipeline}#replay-{id}")
}

/// Records a new replay as running and returns its number. Audited.
pub async fn replay_start<S: Statements>(
    session: &mut S,
    pipeline: &str,
    ranges: &[ReplayRange],
    repair: bool,
    who: &str,
) -> Result<i64, Failure> {
    let text = serde_json::to_string(ranges)
        .map_err(|error| Failure::operator("replay_ranges", format!("the ranges cannot be written: {error}")))?;
    session.begin().await?;
    let work = add(session, pipeline, &text, repair, who).await;
    let id = end(session, work).await?;
    failpoint!(REPLAY_RECORDED);
    Ok(id)
}

async fn add<S: Statements>(
    session: &mut S,
    pipeline: &str,
    ranges: &str,
    repair: bool,
    who: &str,
) -> Result<i64, Failure> {
    let dialect = session.dialect();
    session.execute(sql::META_LOCK.of(dialect), &[]).await?;
    let rows = session.query(sql::REPLAY_LAST.of(dialect), &[]).await?;
    let last = match rows.into_iter().next() {
        Some(row) => Cells::new(row).int_or_null()?.unwrap_or(0),
        None => 0,
    };
    let id = last + 1;
    let params = [id.into(), pipeline.into(), ranges.into(), i64::from(repair).into(), Value::from(who)];
    session.execute(sql::REPLAY_ADD.of(dialect), &params).await?;
    let what = replay_checkpoint_owner(pipeline, id);
    admin::audit(session, who, "replay start", &what, None, Some(ranges)).await?;
    Ok(id)
}

/// Writes a replay's state and sums.
pub async fn replay_update<S: Statements>(
    session: &mut S,
    id: i64,
    state: ReplayState,
    counts: ReplayCounts,
) -> Result<(), Failure> {
    let params = [
        state.as_str().into(),
        stored(counts.records).into(),
        stored(counts.applied).into(),
        stored(counts.superseded).into(),
        stored(counts.quarantined).into(),
        Value::from(id),
    ];
    if session.execute(sql::REPLAY_SET.of(session.dialect()), &params).await? == 0 {
        return Err(Failure::operator("unknown_replay", format!("there is no replay {id}")));
    }
    Ok(())
}

/// The replays of a pipeline, oldest first.
pub async fn replay_list<S: Statements>(session: &mut S, pipeline: &str) -> Result<Vec<ReplayEntry>, Failure> {
    let rows = session.query(sql::REPLAY_LIST.of(session.dialect()), &[Value::from(pipeline)]).await?;
    Cells::each(rows, |cells| {
        let (id, ranges) = (cells.int()?, cells.text()?);
        Ok(ReplayEntry {
            id,
            ranges: serde_json::from_str(&ranges).map_err(|_| damaged("the ranges of a replay cannot be read"))?,
            repair: cells.int()? != 0,
            state: ReplayState::from_text(&cells.text()?)?,
            counts: ReplayCounts {
                records: cells.count()?,
                applied: cells.count()?,
                superseded: cells.count()?,
                quarantined: cells.count()?,
            },
            who: cells.text()?,
            started_ms: cells.int()?,
            updated_ms: cells.int()?,
        })
    })
}
