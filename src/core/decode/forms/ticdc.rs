//! TiCDC's simple protocol: `{version, database, table, type, commitTs, data, old}`; its canal-json is read by [`super::canal`].
//!
//! Facts: its documentation. Every change of a transaction has the transaction's `commitTs`; a row's changes in one transaction
//! are one event. Row events do not name the key.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::event::{Control, Decoded, Op, Rejection, SourcePosition, SourceTable};

use super::{Common, Form, Input, RowChange, canal, changes, missing_position, parse, row, undecodable};

#[derive(Deserialize)]
struct Simple<'a> {
    #[serde(borrow, default)]
    version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    database: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    table: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default, rename = "commitTs")]
    commit_ts: Option<u64>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    old: Option<&'a RawValue>,
}

/// Reads a record.
pub(super) fn decode<'a>(input: Input<'_, 'a>) -> Result<Decoded<'a>, Rejection> {
    // The canal-json protocol has lists of rows here and no version.
    let Ok(record) = parse::<Simple<'a>>(input.payload, Form::Ticdc) else { return canal::decode(input, true) };
    if record.version.is_none() {
        return canal::decode(input, true);
    }
    let op = match record.kind.as_ref() {
        "INSERT" | "UPDATE" => Op::Upsert,
        "DELETE" => Op::Delete,
        "TRUNCATE" => Op::Truncate,
        "WATERMARK" => return Ok(Decoded::Control(Control::Heartbeat)),
        _ => return Ok(Decoded::Control(Control::SchemaChange)),
    };
    let (Some(database), Some(table)) = (record.database, record.table) else {
        return Err(undecodable("`database` or `table` is missing"));
    };
    let commit = record.commit_ts.filter(|commit| *commit > 0);
    let commit = commit.ok_or_else(|| missing_position("`commitTs` is missing or zero"))?;
    let common = Common {
        table: SourceTable::in_database(&database, &table),
        source: format!("ticdc {}", input.topic),
        position: SourcePosition::Tso(commit),
        // A TSO is milliseconds above 18 bits of a counter.
        source_time_ms: i64::try_from(commit >> 18).ok(),
    };
    let (data, old) = (row(record.data, input.rows, "data")?, row(record.old, input.rows, "old")?);
    let (before, after) = match op {
        Op::Upsert => (old, data),
        Op::Delete => (old.or(data), None),
        Op::Truncate => (None, None),
    };
    let mut events = Vec::with_capacity(1);
    let change = RowChange { op, op_text: record.kind, before, after };
    common.events(change, input.key_columns, input.keys, &mut events)?;
    changes(events)
}
