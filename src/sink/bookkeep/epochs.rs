//! Source epochs in the store: rows that are handed out under its lock, listed, and opened by operators.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::epoch::{EpochQuestion, EpochRow, FIRST_EPOCH, OPERATOR, Settled, next_ordinal, settle};
use crate::core::event::Rejection;
use crate::core::failure::{Class, Failure};
use crate::core::record::TopicPartition;
use crate::core::value::Value;
use crate::sink::Statements;

use super::cells::{Cells, damaged};
use super::{admin, end, sql, taken_back};

/// What the store says of rows that lastword opened by itself.
const BY_ITSELF: &str = "run";

/// A row of the epochs, with who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The row.
    pub row: EpochRow,
    /// `run`, or the operator.
    pub opened_by: String,
    /// When, in milliseconds since 1970.
    pub opened_ms: i64,
}

/// What an operator's epoch came to in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The partition.
    pub partition: i32,
    /// Epoch of its last row before.
    pub before: u32,
    /// The new one.
    pub ordinal: u32,
    /// It holds from this offset on.
    pub from: i64,
}

/// The row of an epoch that a record's token needs: found, or made in a transaction of its own under the store's lock, so that
/// everybody who asks gets the same one. The inner error is a contradiction between partitions, for the partition to stop.
///
/// Only who holds the partition under the current fence may make a row: a former owner would make it behind the back of the new
/// one, which has read the rows already and may never meet the record (compaction). It fails as [`Class::Fenced`].
pub async fn epoch<S: Statements>(
    session: &mut S,
    question: &EpochQuestion,
    checkpoint_owner: &str,
    fence: i64,
) -> Result<Result<EpochRow, Rejection>, Failure> {
    session.begin().await?;
    let work = ask(session, question, checkpoint_owner, fence).await;
    end(session, work).await.map_err(|mut failure| {
        // Asking again finds the row or makes it: nothing has to be settled first.
        if failure.class == Class::Unknown {
            failure.class = Class::Transient;
        }
        failure
    })
}

async fn ask<S: Statements>(
    session: &mut S,
    question: &EpochQuestion,
    checkpoint_owner: &str,
    fence: i64,
) -> Result<Result<EpochRow, Rejection>, Failure> {
    session.execute(sql::META_LOCK.of(session.dialect()), &[]).await?;
    let rows = of_topic(session, &question.at.topic).await?;
    match settle(&rows, question) {
        Err(why) => Ok(Err(why)),
        Ok(Settled::Known(row)) => Ok(Ok(row)),
        Ok(Settled::New(row)) => {
            let at = &question.at;
            let key = [checkpoint_owner.into(), Value::from(&*at.topic), at.partition.into(), fence.into()];
            if session.execute(sql::CHECKPOINT_HOLD.of(session.dialect()), &key).await? != 1 {
                let why = "the checkpoint was claimed by someone else, who opens its epochs now";
                return Err(taken_back(vec![at.clone()], why));
            }
            add(session, &row, BY_ITSELF).await?;
            Ok(Ok(row))
        }
    }
}

async fn add<S: Statements>(session: &mut S, row: &EpochRow, by: &str) -> Result<(), Failure> {
    // The same 64 bits, as in the ledger.
    let number = |number: Option<u64>| Value::from(number.map(u64::cast_signed));
    let params = [
        Value::from(&*row.at.topic),
        Value::from(&*row.incarnation),
        row.at.partition.into(),
        i64::from(row.ordinal).into(),
        Value::from(&*row.marker),
        row.first_offset.into(),
        number(row.first_number),
        row.first_time_ms.into(),
        number(row.bound),
        number(row.previous_top),
        Value::from(by),
    ];
    session.execute(sql::EPOCH_ADD.of(session.dialect()), &params).await?;
    Ok(())
}

fn read(cells: &mut Cells) -> Result<EpochEntry, Failure> {
    let (topic, incarnation, partition) = (cells.text()?, cells.text()?, cells.partition()?);
    let ordinal = u32::try_from(cells.int()?).map_err(|_| damaged("an epoch's ordinal is out of range"))?;
    let (marker, first_offset) = (cells.text()?, cells.int()?);
    let (first_number, first_time_ms) = (cells.int_or_null()?.map(i64::cast_unsigned), cells.int_or_null()?);
    let mut number = || Ok::<_, Failure>(cells.int_or_null()?.map(i64::cast_unsigned));
    let (bound, previous_top) = (number()?, number()?);
    let row = EpochRow {
        at: TopicPartition::new(topic, partition),
        incarnation: incarnation.into(),
        ordinal,
        marker,
        first_offset,
        first_number,
        first_time_ms,
        bound,
        previous_top,
    };
    Ok(EpochEntry { row, opened_by: cells.text()?, opened_ms: cells.int()? })
}

async fn of_topic<S: Statements>(session: &mut S, topic: &str) -> Result<Vec<EpochRow>, Failure> {
    let rows = session.query(sql::EPOCH_OF_TOPIC.of(session.dialect()), &[Value::from(topic)]).await?;
    Cells::each(rows, |cells| Ok(read(cells)?.row))
}

/// The rows of partitions, of all incarnations of their topics.
pub async fn epochs<S: Statements>(session: &mut S, partitions: &[TopicPartition]) -> Result<Vec<EpochRow>, Failure> {
    let wanted: BTreeSet<&TopicPartition> = partitions.iter().collect();
    let topics: BTreeSet<&str> = partitions.iter().map(|at| &*at.topic).collect();
    let mut found = Vec::new();
    for topic in topics {
        found.extend(of_topic(session, topic).await?.into_iter().filter(|row| wanted.contains(&row.at)));
    }
    Ok(found)
}

/// All rows, by topic, partition and offset.
pub async fn epoch_list<S: Statements>(session: &mut S) -> Result<Vec<EpochEntry>, Failure> {
    let rows = session.query(sql::EPOCH_LIST.of(session.dialect()), &[]).await?;
    Cells::each(rows, read)
}

/// Opens a new epoch, greater than every one of the topic, in its partitions (or in one), from the pipeline's stored positions on. The
/// fences are raised, so that running lanes claim again and halted partitions start again. Audited, all or nothing.
pub async fn epoch_open<S: Statements>(
    session: &mut S,
    pipeline_key: &str,
    topic: &str,
    partition: Option<i32>,
    who: &str,
) -> Result<Vec<Opened>, Failure> {
    session.begin().await?;
    let work = open(session, pipeline_key, topic, partition, who).await;
    end(session, work).await
}

/// A pipeline's position in a partition, and the greatest of all pipelines.
struct Position {
    incarnation: String,
    next: i64,
    top: Option<u64>,
    greatest: i64,
}

async fn positions<S: Statements>(
    session: &mut S,
    pipeline_key: &str,
    topic: &str,
) -> Result<BTreeMap<i32, Position>, Failure> {
    let rows = session.query(sql::CHECKPOINT_OF_TOPIC.of(session.dialect()), &[Value::from(topic)]).await?;
    let mut found: BTreeMap<i32, Position> = BTreeMap::new();
    let mut others = Vec::new();
    for row in rows {
        let mut cells = Cells::new(row);
        let (pipeline, partition, incarnation, next) = (cells.text()?, cells.partition()?, cells.text()?, cells.int()?);
        let top = cells.int_or_null()?.map(i64::cast_unsigned);
        if pipeline == pipeline_key {
            found.insert(partition, Position { incarnation, next, top, greatest: next });
        } else if !pipeline.contains('#') {
            others.push((partition, next));
        }
    }
    for (partition, next) in others {
        if let Some(position) = found.get_mut(&partition) {
            position.greatest = position.greatest.max(next);
        }
    }
    Ok(found)
}

async fn open<S: Statements>(
    session: &mut S,
    pipeline_key: &str,
    topic: &str,
    partition: Option<i32>,
    who: &str,
) -> Result<Vec<Opened>, Failure> {
    let dialect = session.dialect();
    let wanted = |number: &i32| partition.is_none_or(|only| only == *number);
    let numbers: Vec<i32> = positions(session, pipeline_key, topic).await?.into_keys().filter(wanted).collect();
    if numbers.is_empty() {
        let what = format!(
            "the pipeline has no stored position in {topic}{}; `lastword offsets show` lists what it reads",
            partition.map(|number| format!(" partition {number}")).unwrap_or_default()
        );
        return Err(Failure::operator("unknown_partition", what));
    }
    // The fences first: that waits for batches in flight, so that the positions are those from which the epochs hold.
    for number in &numbers {
        session.execute(sql::CHECKPOINT_FENCE_TOPIC.of(dialect), &[Value::from(topic), (*number).into()]).await?;
    }
    session.execute(sql::META_LOCK.of(dialect), &[]).await?;
    let rows = of_topic(session, topic).await?;
    let ordinal = next_ordinal(rows.iter().map(|row| row.ordinal).max().unwrap_or(FIRST_EPOCH));
    let mut opened = Vec::new();
    for (number, position) in positions(session, pipeline_key, topic).await?.into_iter().filter(|(at, _)| wanted(at)) {
        let at = TopicPartition::new(topic, number);
        // Rows that a lost batch asked for; what is met again behind the new epoch asks again.
        let key = [Value::from(topic), Value::from(&*position.incarnation), number.into(), position.greatest.into()];
        session.execute(sql::EPOCH_FORGET.of(dialect), &key).await?;
        let own = rows.iter().filter(|row| row.at == at && *row.incarnation == *position.incarnation);
        let before = own.filter(|row| row.first_offset < position.greatest).map(|row| row.ordinal).max();
        let before = before.unwrap_or(FIRST_EPOCH);
        let row = EpochRow {
            at: at.clone(),
            incarnation: position.incarnation.as_str().into(),
            ordinal,
            marker: OPERATOR.to_owned(),
            first_offset: position.next,
            first_number: None,
            first_time_ms: None,
            bound: None,
            previous_top: position.top,
        };
        add(session, &row, who).await?;
        let after = format!("epoch {ordinal} from offset {}", position.next);
        let what = format!("{pipeline_key} {at}");
        admin::audit(session, who, "epoch open", &what, Some(&format!("epoch {before}")), Some(&after)).await?;
        opened.push(Opened { partition: number, before, ordinal, from: position.next });
    }
    Ok(opened)
}
