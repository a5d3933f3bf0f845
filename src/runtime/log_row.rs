//! Rows of a change log.

use std::sync::Arc;

use bytestring::ByteString;

use crate::core::decode::row_json;
use crate::core::event::{RawEvent, RawRow};
use crate::core::record::Record;
use crate::core::table::{Column, ColumnType, Table};
use crate::core::token::{Token, TokenWriter};
use crate::core::value::Value;

/// A change log does not compare tokens; a row without one still needs a value of the type.
pub(super) fn no_token() -> Token {
    TokenWriter::new(0, 0).finish()
}

/// Columns of a change log that are filled: those of the fixed set, in the order of the table.
pub(super) fn log_columns(table: &Table) -> Arc<[usize]> {
    let known = |name: &str| LOG_COLUMNS.contains(&name);
    table.shape.columns.iter().enumerate().filter(|(_, column)| known(&column.name)).map(|(at, _)| at).collect()
}

/// The fixed columns of a change log.
const LOG_COLUMNS: [&str; 11] = [
    "topic",
    "incarnation",
    "partition_id",
    "record_offset",
    "op",
    "token",
    "source_time_ms",
    "record_time_ms",
    "key_json",
    "before_json",
    "after_json",
];

pub(super) fn log_value(
    column: &Column,
    record: &Record,
    incarnation: &Arc<str>,
    event: &RawEvent<'_>,
    token: Option<Token>,
) -> Value {
    let json = |row: &Option<RawRow<'_>>| match row {
        None => Value::Null,
        Some(row) if column.kind == ColumnType::Json => Value::Json(ByteString::from(row_json(row))),
        Some(row) => Value::text(row_json(row)),
    };
    match column.name.as_str() {
        "topic" => Value::from(&*record.at.topic),
        "incarnation" => Value::from(&**incarnation),
        "partition_id" => Value::from(record.at.partition),
        "record_offset" => Value::from(record.offset),
        "op" => Value::from(&*event.op_text),
        "token" => token.map_or(Value::Null, |token| Value::bytes(token.as_bytes())),
        "source_time_ms" => event.source_time_ms.into(),
        "record_time_ms" => record.timestamp_ms.into(),
        "key_json" => json(&event.key),
        "before_json" => json(&event.before),
        "after_json" => json(&event.after),
        _ => Value::Null,
    }
}
