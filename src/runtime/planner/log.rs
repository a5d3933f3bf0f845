//! Entries of change logs.

use std::sync::Arc;

use bytestring::ByteString;

use crate::core::batch::BatchBuilder;
use crate::core::decode::row_json;
use crate::core::event::{RawEvent, RawRow, Rejection};
use crate::core::failure::Failure;
use crate::core::order::{OrderPolicy, scope_description};
use crate::core::plan::Upsert;
use crate::core::table::{ColumnType, Table};
use crate::core::token::Token;
use crate::core::unavailable::Unavailable;
use crate::core::value::Value;

use super::super::lookup::Lookup;
use super::{Planner, Reading, Step};

/// A change log, and how an event is written to it.
pub(super) struct LogTable<'t> {
    pub(super) table: &'t Arc<Table>,
    /// What stands for a value that the connector did not see.
    pub(super) unavailable: &'t Unavailable,
    /// The event's position has a source epoch, so that there is a token.
    pub(super) has_epoch: bool,
}

impl Planner {
    /// Appends a change to a change log.
    pub(super) async fn log<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        reading: &Reading<'_>,
        event: &RawEvent<'_>,
        LogTable { table, unavailable, has_epoch }: LogTable<'_>,
        lookup: &mut L,
    ) -> Result<Result<Step, Rejection>, Failure> {
        let Reading { record, incarnation, .. } = *reading;
        let policy = OrderPolicy::Source;
        let scope = scope_description(&policy, &event.source, &event.position, "", &record.at, incarnation);
        let scope = lookup.scope(scope).await?;
        let token = self.placed(&policy, scope, event, record).filter(|_| has_epoch);
        let columns = self.log_columns.entry(table.id).or_insert_with(|| log_columns(table));
        let value = |at: &usize| log_value(&table.shape.columns[*at], reading, event, token, unavailable);
        let values = columns.iter().map(value).collect();
        let row = Upsert { token: token.unwrap_or_else(no_token), values };
        builder.log(record, table, columns, row, event.op, event.source_time_ms);
        Ok(Ok(Step::Next))
    }
}

/// A change log does not compare tokens; a row without one still needs a value of the type.
fn no_token() -> Token {
    crate::core::token::TokenWriter::new(0, 0).finish()
}

/// Columns of a change log that are filled: those of the fixed set, in the order of the table.
fn log_columns(table: &Table) -> Arc<[usize]> {
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

fn log_value(
    column: &crate::core::table::Column,
    reading: &Reading<'_>,
    event: &RawEvent<'_>,
    token: Option<Token>,
    unavailable: &Unavailable,
) -> Value {
    let Reading { record, incarnation, .. } = *reading;
    let json = |row: &Option<RawRow<'_>>| match row {
        None => Value::Null,
        Some(row) if column.kind == ColumnType::Json => Value::Json(ByteString::from(row_json(row, unavailable))),
        Some(row) => Value::text(row_json(row, unavailable)),
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
