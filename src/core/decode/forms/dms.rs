//! AWS DMS with a Kafka target: `{data, metadata: {record-type, operation, schema-name, table-name, …}}`.
//!
//! Facts: its documentation. Columns that are NULL or empty are left out unless the endpoint setting `IncludeNullAndEmpty` is on,
//! and nothing in a record tells which it is: a NULL would leave the old value standing. So the form has to be named in the
//! configuration. The form of `stream-position` differs by source and is not documented, so it orders nothing.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::calendar::parse_timestamp;
use crate::core::event::{Control, Decoded, Op, Rejection, SourcePosition, SourceTable};

use super::{Common, Form, Input, RowChange, changes, parse, row, undecodable};

#[derive(Deserialize)]
struct Dms<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "record-type")]
    record_type: Cow<'a, str>,
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow, default, rename = "schema-name")]
    schema_name: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "table-name")]
    table_name: Option<Cow<'a, str>>,
}

/// Reads a record.
pub(super) fn decode<'a>(input: Input<'_, 'a>) -> Result<Decoded<'a>, Rejection> {
    let record: Dms<'a> = parse(input.payload, Form::Dms)?;
    let metadata = record.metadata;
    match metadata.record_type.as_ref() {
        "data" => {}
        "control" => return Ok(Decoded::Control(Control::SchemaChange)),
        _ => return Err(undecodable("`metadata.record-type` is neither data nor control")),
    }
    let op = match metadata.operation.as_ref() {
        "load" | "insert" | "update" => Op::Upsert,
        "delete" => Op::Delete,
        _ => return Err(undecodable("`metadata.operation` is none of load, insert, update, delete")),
    };
    let table = metadata.table_name.filter(|table| !table.is_empty());
    let table = table.ok_or_else(|| undecodable("`metadata.table-name` is missing"))?;
    let time = metadata.timestamp.as_deref().and_then(parse_timestamp);
    let common = Common {
        table: SourceTable::new(metadata.schema_name.as_deref(), &table),
        source: format!("dms {}", input.topic),
        position: SourcePosition::None("AWS DMS sends no position whose order is documented"),
        source_time_ms: time.map(|(micros, _)| micros.div_euclid(1000)),
    };
    let data = row(record.data, input.rows, "data")?.ok_or_else(|| undecodable("`data` is missing"))?;
    let (before, after) = if op == Op::Delete { (Some(data), None) } else { (None, Some(data)) };
    let mut events = Vec::with_capacity(1);
    let change = RowChange { op, op_text: metadata.operation, before, after };
    common.events(change, input.key_columns, input.keys, &mut events)?;
    changes(events)
}
