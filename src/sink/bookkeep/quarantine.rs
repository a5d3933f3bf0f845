//! The quarantine: records that could not be applied, with their bytes and the reason.

use bytes::Bytes;

use crate::core::failure::Failure;
use crate::core::plan::QuarantinedRecord;
use crate::core::record::{Headers, TopicPartition};
use crate::core::value::Value;
use crate::sink::Statements;

use super::cells::{Cells, damaged};
use super::{admin, end, partial, sql};

/// What became of a quarantined record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuarantineState {
    /// Nothing yet.
    New,
    /// It was applied by a retry.
    Retried,
    /// An operator gave it up.
    Dropped,
}

impl QuarantineState {
    /// As it is stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Retried => "retried",
            Self::Dropped => "dropped",
        }
    }

    fn from_text(text: &str) -> Result<Self, Failure> {
        [Self::New, Self::Retried, Self::Dropped]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| damaged("a quarantined record has an unknown state"))
    }
}

/// A quarantined record without its bytes.
#[derive(Clone, Debug)]
pub struct QuarantineEntry {
    /// Number for commands.
    pub id: i64,
    /// The pipeline that met it.
    pub pipeline: String,
    /// Where it lay.
    pub at: TopicPartition,
    /// Incarnation of the topic.
    pub incarnation: String,
    /// Its offset.
    pub offset: i64,
    /// Its record time in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// Destination table, if that was known.
    pub table: Option<String>,
    /// Bytes of its token, if that was known.
    pub token: Option<Bytes>,
    /// Reason code.
    pub reason: String,
    /// What is wrong.
    pub detail: String,
    /// What became of it.
    pub state: QuarantineState,
    /// How often it was met.
    pub tries: i64,
    /// When it was first met, in milliseconds since 1970.
    pub first_ms: i64,
    /// When it was last met or settled, in milliseconds since 1970.
    pub last_ms: i64,
}

/// A quarantined record with its bytes.
#[derive(Clone, Debug)]
pub struct QuarantineRecord {
    /// Everything else.
    pub entry: QuarantineEntry,
    /// Bytes of the key.
    pub key: Option<Bytes>,
    /// Bytes of the value.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Headers,
}

/// Which quarantined records are meant; what is `None` is not looked at.
#[derive(Clone, Debug, Default)]
pub struct QuarantineFilter {
    /// Of this topic.
    pub topic: Option<String>,
    /// For this table (full name).
    pub table: Option<String>,
    /// In this state.
    pub state: Option<QuarantineState>,
}

/// Keeps a record, or counts it again if it is kept already.
pub(super) async fn add<S: Statements>(
    session: &mut S,
    pipeline: &str,
    record: &QuarantinedRecord,
) -> Result<(), Failure> {
    let bytes = |bytes: &Option<Bytes>| bytes.clone().map_or(Value::Null, Value::Bytes);
    let params = [
        pipeline.into(),
        Value::from(&*record.at.topic),
        Value::from(&*record.incarnation),
        record.at.partition.into(),
        record.offset.into(),
        record.timestamp_ms.into(),
        bytes(&record.key),
        bytes(&record.value),
        Value::Bytes(record.headers.as_bytes().clone()),
        record.mark.as_ref().map(|mark| mark.table.clone()).into(),
        record.mark.as_ref().map_or(Value::Null, |mark| Value::bytes(mark.token.as_bytes())),
        record.reason.into(),
        record.detail.clone().into(),
    ];
    session.execute(sql::QUARANTINE_ADD.of(session.dialect()), &params).await?;
    match &record.mark {
        Some(mark) => partial::mark(session, pipeline, record, mark).await,
        None => Ok(()),
    }
}

/// Sets the state of an entry; `false` if there is none with this number.
pub(super) async fn settle<S: Statements>(session: &mut S, id: i64, state: QuarantineState) -> Result<bool, Failure> {
    let params = [state.as_str().into(), id.into()];
    Ok(session.execute(sql::QUARANTINE_SETTLE.of(session.dialect()), &params).await? > 0)
}

/// Quarantined records of a pipeline in the order in which they came, at most `limit`.
pub async fn quarantine_list<S: Statements>(
    session: &mut S,
    pipeline: &str,
    filter: &QuarantineFilter,
    limit: u32,
) -> Result<Vec<QuarantineEntry>, Failure> {
    let params = [
        pipeline.into(),
        filter.topic.clone().into(),
        filter.table.clone().into(),
        filter.state.map(QuarantineState::as_str).into(),
        Value::from(i64::from(limit)),
    ];
    let rows = session.query(sql::QUARANTINE_LIST.of(session.dialect()), &params).await?;
    Cells::each(rows, read_entry)
}

/// A quarantined record with its bytes; `None` if there is none with this number.
pub async fn quarantine_get<S: Statements>(session: &mut S, id: i64) -> Result<Option<QuarantineRecord>, Failure> {
    let rows = session.query(sql::QUARANTINE_GET.of(session.dialect()), &[id.into()]).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let mut cells = Cells::new(row);
    Ok(Some(QuarantineRecord {
        entry: read_entry(&mut cells)?,
        key: cells.bytes_or_null()?,
        value: cells.bytes_or_null()?,
        headers: Headers::from_packed(cells.bytes_or_null()?.unwrap_or_default()),
    }))
}

/// Gives records up: they stay in the table as dropped. Audited, all or nothing; an unknown number is an operator failure.
pub async fn quarantine_drop<S: Statements>(session: &mut S, ids: &[i64], who: &str) -> Result<(), Failure> {
    session.begin().await?;
    let work = drop_each(session, ids, who).await;
    end(session, work).await
}

async fn drop_each<S: Statements>(session: &mut S, ids: &[i64], who: &str) -> Result<(), Failure> {
    for id in ids {
        let unknown =
            || Failure::operator("unknown_record", format!("there is no quarantined record {id}; nothing was dropped"));
        let record = quarantine_get(session, *id).await?.ok_or_else(unknown)?;
        settle(session, *id, QuarantineState::Dropped).await?;
        let what = format!("{id}: {} offset {}", record.entry.at, record.entry.offset);
        let before = record.entry.state.as_str();
        admin::audit(session, who, "quarantine drop", &what, Some(before), Some("dropped")).await?;
    }
    Ok(())
}

fn read_entry(cells: &mut Cells) -> Result<QuarantineEntry, Failure> {
    let (id, pipeline, topic, incarnation) = (cells.int()?, cells.text()?, cells.text()?, cells.text()?);
    Ok(QuarantineEntry {
        id,
        pipeline,
        at: TopicPartition::new(topic, cells.partition()?),
        incarnation,
        offset: cells.int()?,
        timestamp_ms: cells.int_or_null()?,
        table: cells.text_or_null()?,
        token: cells.bytes_or_null()?,
        reason: cells.text()?,
        detail: cells.text()?,
        state: QuarantineState::from_text(&cells.text()?)?,
        tries: cells.int()?,
        first_ms: cells.int()?,
        last_ms: cells.int()?,
    })
}
