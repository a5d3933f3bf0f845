//! The record form: `{source_table, op, key, before, after, source_position: {lsn}, ts_ms}`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::event::{Op, RawEvent, Rejection, SourcePosition, SourceTable};

use super::super::numbers::lsn_text;
use super::super::row::{Schemas, plain, without_schema};
use super::{check_rows, text_of};

/// Its fields; others are passed over.
#[derive(Debug, Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    source_table: Cow<'a, str>,
    #[serde(borrow)]
    op: &'a RawValue,
    #[serde(borrow, default)]
    source_position: Option<&'a RawValue>,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    before: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ts_ms: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct RecordPosition<'a> {
    #[serde(borrow, default)]
    lsn: Option<Cow<'a, str>>,
}

const NO_LSN: &str = "put the LSN into `source_position.lsn`";

/// Reads one. `rows` and `keys` are the lists of fields that were met.
pub(in super::super) fn event<'a>(
    topic: &str,
    payload: &'a str,
    rows: &mut Schemas,
    keys: &mut Schemas,
) -> Result<RawEvent<'a>, Rejection> {
    let top: Record<'a> = serde_json::from_str(payload).map_err(|error| {
        Rejection::new("undecodable", format!("the value is not of the record form: {}", plain(&error)))
    })?;
    let name = top.source_table.as_ref();
    let op_text = text_of(top.op)?;
    let op = match op_text.to_ascii_lowercase().as_str() {
        "c" | "u" | "r" | "i" | "insert" | "update" | "create" | "read" | "snapshot" | "upsert" => Op::Upsert,
        "d" | "delete" => Op::Delete,
        "t" | "truncate" => Op::Truncate,
        _ => return Err(Rejection::new("undecodable", "`op` is no operation of the record form")),
    };
    let position = match top.source_position {
        None => SourcePosition::None(NO_LSN),
        Some(raw) => {
            let position: RecordPosition<'_> = serde_json::from_str(raw.get()).map_err(|e| {
                Rejection::new("undecodable", format!("`source_position` cannot be read: {}", plain(&e)))
            })?;
            let lsn = position.lsn.as_deref().map(|text| {
                lsn_text(text).ok_or_else(|| {
                    Rejection::new("missing_position", "`source_position.lsn` is not of the form `0/16B6A90`")
                })
            });
            lsn.transpose()?.map_or(SourcePosition::None(NO_LSN), SourcePosition::Lsn)
        }
    };
    let table = match name.split_once('.') {
        Some((schema, table)) => SourceTable::new(Some(schema), table),
        None => SourceTable::new(None, name),
    };
    if table.table.is_empty() {
        return Err(Rejection::new("undecodable", "`source_table` is empty"));
    }
    let row = |part: Option<&'a RawValue>, known: &mut Schemas, name| {
        part.map(|part| without_schema(part, known, name)).transpose()
    };
    let event = RawEvent {
        op,
        op_text,
        table,
        source: format!("record {topic}"),
        position,
        ends_snapshot: false,
        source_time_ms: top.ts_ms.and_then(|raw| raw.get().parse().ok()),
        transaction: None,
        key: row(top.key, keys, "key")?,
        before: row(top.before, rows, "before")?,
        after: row(top.after, rows, "after")?,
    };
    check_rows(&event)?;
    Ok(event)
}
