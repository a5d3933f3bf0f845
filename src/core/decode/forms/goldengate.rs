//! Oracle GoldenGate's JSON formatter (operations): `{table, op_type, op_ts, pos, primary_keys, before, after}`.
//!
//! Facts: its documentation. `pos` is the position in the trail, decimal digits with zeros before them. Beside a column there may be
//! `<column>_isMissing`: true where the trail does not hold its value, which is null then. The row formatter (`json_row`) has the
//! columns among the record's own fields, where they cannot be told apart.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::calendar::parse_timestamp;
use crate::core::event::{Decoded, Op, RawRow, Rejection, SourcePosition, SourceTable};

use super::super::numbers::digits;
use super::{
    Common, Form, Input, RowChange, Schemas, changes, key_names, missing_position, named, parse, row, undecodable,
};

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

/// What stands behind the name of a column in the name of its mark.
const MARK: &str = "_isMissing";

/// A row without the marks and without the columns that they say are missing.
fn present<'a>(row: RawRow<'a>, known: &mut Schemas) -> RawRow<'a> {
    let schema = Arc::clone(&row.schema);
    if !schema.fields.iter().any(|field| field.name.ends_with(MARK)) {
        return row;
    }
    let is_mark = |name: &str| name.strip_suffix(MARK).is_some_and(|column| schema.position(column).is_some());
    let is_missing = |name: &str| {
        let mark = schema.position(&format!("{name}{MARK}"));
        mark.and_then(|at| row.cells.get(at)).is_some_and(|cell| cell.get() == "true")
    };
    let all = schema.fields.iter().map(|field| field.name.as_str()).zip(row.cells.iter().copied());
    let (names, cells): (Vec<&str>, Vec<_>) = all.filter(|(name, _)| !is_mark(name) && !is_missing(name)).unzip();
    RawRow { schema: named(&names, known), cells }
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
    if record.before.is_none() && record.after.is_none() && op != Op::Truncate {
        let what = "GoldenGate's row formatter does not part the row from the record's own fields; set `gg.handler.<name>.format=json`";
        return Err(Rejection::table("unsupported_form", what));
    }
    let mut image = |raw, part| row(raw, input.rows, part).map(|row| row.map(|row| present(row, input.rows)));
    let (before, after) = (image(record.before, "before")?, image(record.after, "after")?);
    let names = key_names(&record.primary_keys, input.key_columns);
    let mut events = Vec::with_capacity(1);
    common.events(RowChange { op, op_text: record.op_type, before, after }, &names, input.keys, &mut events)?;
    changes(events)
}
