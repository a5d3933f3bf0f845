//! What operators see and do: checkpoints, moving the live position, the audit.

use std::cmp::Ordering;

use crate::core::batch::UNSEEN_DELETE;
use crate::core::failure::Failure;
use crate::core::plan::Counts;
use crate::core::record::TopicPartition;
use crate::core::value::Value;
use crate::failpoint::failpoint;
use crate::sink::Statements;

use super::cells::Cells;
use super::{claim, end, sql};

/// A checkpoint with its sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The partition.
    pub at: TopicPartition,
    /// Incarnation of the topic.
    pub incarnation: String,
    /// Offset of the next record to apply.
    pub next_offset: i64,
    /// Its fence.
    pub fence: i64,
    /// Who may advance it; empty if nobody has claimed it.
    pub owner: String,
    /// Source time of the last change event, in milliseconds since 1970.
    pub source_time_ms: Option<i64>,
    /// What became of all the records before `next_offset`, since the pipeline began.
    pub counts: Counts,
    /// When it was last written, in milliseconds since 1970.
    pub updated_ms: i64,
}

/// An act of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number.
    pub id: i64,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who.
    pub who: String,
    /// What was done: `offsets set`, `quarantine drop`, …
    pub act: String,
    /// To what.
    pub what: String,
    /// State before, if there was one.
    pub before: Option<String>,
    /// State after, if there is one.
    pub after: Option<String>,
}

/// The checkpoints of a pipeline (or of a replay), by topic and partition.
pub async fn checkpoints<S: Statements>(session: &mut S, pipeline_key: &str) -> Result<Vec<Checkpoint>, Failure> {
    let rows = session.query(sql::CHECKPOINT_LIST.of(session.dialect()), &[Value::from(pipeline_key)]).await?;
    Cells::each(rows, |cells| {
        Ok(Checkpoint {
            at: TopicPartition::new(cells.text()?, cells.partition()?),
            incarnation: cells.text()?,
            next_offset: cells.int()?,
            fence: cells.int()?,
            owner: cells.text()?,
            source_time_ms: cells.int_or_null()?,
            counts: Counts {
                changes: cells.count()?,
                filtered: cells.count()?,
                quarantined: cells.count()?,
                control: cells.count()?,
            },
            updated_ms: cells.int()?,
        })
    })
}

/// Moves a live position: offset and incarnation are set, the fence is raised, the owner stays (it finds itself fenced, claims
/// again and goes on from here). Makes the checkpoint if there is none. Audited in the same transaction.
pub async fn set_offset<S: Statements>(
    session: &mut S,
    pipeline_key: &str,
    at: &TopicPartition,
    incarnation: &str,
    next_offset: i64,
    who: &str,
) -> Result<(), Failure> {
    if next_offset < 0 {
        return Err(Failure::operator("bad_offset", format!("{at}: offset {next_offset} is negative")));
    }
    session.begin().await?;
    let work = set_in_transaction(session, pipeline_key, at, incarnation, next_offset, who).await;
    end(session, work).await
}

async fn set_in_transaction<S: Statements>(
    session: &mut S,
    pipeline_key: &str,
    at: &TopicPartition,
    incarnation: &str,
    next_offset: i64,
    who: &str,
) -> Result<(), Failure> {
    let dialect = session.dialect();
    let key = [pipeline_key.into(), Value::from(&*at.topic), at.partition.into()];
    let (mut before, mut open_delete) = (None, Value::Null);
    // The fence first: it waits for a batch in flight, so that what the audit calls "before" is what was replaced.
    if session.execute(sql::CHECKPOINT_FENCE.of(dialect), &key).await? == 0 {
        claim::add_checkpoint(session, pipeline_key, at, incarnation, next_offset).await?;
        session.execute(sql::CHECKPOINT_FENCE.of(dialect), &key).await?;
    } else {
        let stored = claim::read_claim(session, pipeline_key, at).await?;
        // Set to where it is, nothing is forgotten: the delete before it may have its null right there.
        open_delete = match stored.next_offset.cmp(&next_offset) {
            Ordering::Equal if *stored.incarnation == *incarnation => {
                stored.open_delete.map_or(Value::Null, Value::Bytes)
            }
            Ordering::Greater if *stored.incarnation == *incarnation => Value::bytes(UNSEEN_DELETE),
            _ => Value::Null,
        };
        before = Some(format!("offset {} of {}", stored.next_offset, stored.incarnation));
    }
    failpoint!(OFFSETS_RAISED);
    let mut other_topic = key.to_vec();
    other_topic.push(incarnation.into());
    session.execute(sql::CHECKPOINT_UNTOP.of(dialect), &other_topic).await?;
    let mut params = vec![next_offset.into(), incarnation.into(), open_delete];
    params.extend(key);
    session.execute(sql::CHECKPOINT_SET.of(dialect), &params).await?;
    let after = format!("offset {next_offset} of {incarnation}");
    let what = format!("{pipeline_key} {at}");
    audit(session, who, "offsets set", &what, before.as_deref(), Some(&after)).await?;
    failpoint!(OFFSETS_AUDITED);
    Ok(())
}

/// Writes an act down. Runs inside the transaction of the act.
pub async fn audit<S: Statements>(
    session: &mut S,
    who: &str,
    act: &str,
    what: &str,
    before: Option<&str>,
    after: Option<&str>,
) -> Result<(), Failure> {
    let params = [who.into(), act.into(), what.into(), before.into(), Value::from(after)];
    session.execute(sql::AUDIT_ADD.of(session.dialect()), &params).await?;
    Ok(())
}

/// The last acts, newest first.
pub async fn audit_list<S: Statements>(session: &mut S, limit: u32) -> Result<Vec<AuditEntry>, Failure> {
    let rows = session.query(sql::AUDIT_LIST.of(session.dialect()), &[Value::from(i64::from(limit))]).await?;
    Cells::each(rows, |cells| {
        Ok(AuditEntry {
            id: cells.int()?,
            at_ms: cells.int()?,
            who: cells.text()?,
            act: cells.text()?,
            what: cells.text()?,
            before: cells.text_or_null()?,
            after: cells.text_or_null()?,
        })
    })
}
