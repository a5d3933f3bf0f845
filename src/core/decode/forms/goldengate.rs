//! Oracle GoldenGate's JSON formatter (operations): `{table, op_type, op_ts, pos, primary_keys, before, after}`.
//!
//! Facts: its documentation. `pos` is the position in the trail, decimal digits with zeros before them. The row formatter has no
//! `before` and `after` and is not understood.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::calendar::parse_timestamp;
use crate::core::event::{Decoded, Op, Rejection, SourcePosition, SourceTable};

use super::super::numbers::digits;
use super::{Common, Form, Input, RowChange, changes, key_names, missing_position, parse, row, undecodable};

#[derive(Deserialize)]
struct Operation<'a> {
    #[serde(borrow)]
    table: Cow<'a, str>,
    #[serde(borrow)]
    op_type: Cow<'a, str>,
    #[serde(borrow, default)]
    op_ts: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pos: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    primary_keys: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    before: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
}

/// Reads a record.
pub(super) fn decode<'a>(input: Input<'_, 'a>) -> Result<Decoded<'a>, Rejection> {
    let record: Operation<'a> = parse(input.payload, Form::GoldenGate)?;
    let op = match record.op_type.as_ref() {
        "I" | "U" => Op::Upsert,
        "D" => Op::Delete,
        "T" => Op::Truncate,
        _ => return Err(undecodable("`op_type` is none of I, U, D, T")),
    };
    // Catalogue, schema, table; the last two count.
    let mut parts = record.table.rsplit('.');
    let table = parts.next().filter(|table| !table.is_empty()).ok_or_else(|| undecodable("`table` is empty"))?;
    let table = SourceTable::new(parts.next(), table);
    let position = record.pos.as_deref().and_then(digits).ok_or_else(|| {
        missing_position("`pos` is missing or no number; the formatter's metacolumn template must contain it")
    })?;
    let time = record.op_ts.as_deref().and_then(parse_timestamp);
    let common = Common {
        table,
        source: format!("goldengate {}", input.topic),
        position: SourcePosition::Trail(position),
        source_time_ms: time.map(|(micros, _)| micros.div_euclid(1000)),
    };
    let (before, after) = (row(record.before, input.rows, "before")?, row(record.after, input.rows, "after")?);
    let names = key_names(&record.primary_keys, input.key_columns);
    let mut events = Vec::with_capacity(1);
    common.events(RowChange { op, op_text: record.op_type, before, after }, &names, input.keys, &mut events)?;
    changes(events)
}
