//! From an event's fields to a table's columns.
//!
//! A [`Mapping`] is made once for a list of fields and a table; applying it to an event is a walk over the columns.

mod cells;

use std::sync::Arc;

use bytes::Bytes;

use super::decode::{CellRules, OnUnrepresentable, fit_cell};
use super::event::{Op, RawEvent, RawRow, Rejection, RowSchema};
use super::order::{ORDER_COLUMNS_MAX, OrderPolicy};
use super::table::{Contract, Row, Table};
use super::value::Value;
use super::wire::{Field, WireType};
use cells::{Cells, Seen};

/// How the events with certain fields become rows of a table.
#[derive(Debug)]
pub struct Mapping {
    /// The table.
    pub table: Arc<Table>,
    /// Columns that an upsert writes, ascending; all key columns are among them.
    pub columns: Arc<[usize]>,
    /// What orders the changes.
    pub order: OrderPolicy,
    /// An upsert writes every column of the table that can be written: nothing of a former row can shine through.
    pub covers_table: bool,
    /// Where the value of each of `columns` comes from.
    sources: Vec<Source>,
    /// For each key column: its index in `columns`.
    key_in_columns: Vec<usize>,
    /// For each key column of a delete: the field of the record key, else of `before`.
    delete_key: Vec<Source>,
    rules: CellRules,
    /// For each column of the table: what was chosen for values that it cannot hold.
    choices: Vec<Option<OnUnrepresentable>>,
}

/// A cell of the row or of the record key.
#[derive(Clone, Debug)]
enum Source {
    Row { field: usize, described: Field },
    Key { field: usize, described: Field },
}

/// What an event does to its table, with values ready to be written.
#[derive(Debug)]
pub struct Change {
    /// Canonical bytes of the business key: equal exactly where the keys are equal in the destination.
    pub key: Vec<u8>,
    /// The values.
    pub effect: Effect,
    /// Columns whose value is not the event's, and by which choice.
    pub adjusted: Vec<(usize, OnUnrepresentable)>,
}

impl Change {
    /// A change whose values are the event's own.
    pub fn new(key: Vec<u8>, effect: Effect) -> Self {
        Self { key, effect, adjusted: Vec::new() }
    }
}

/// See [`Change`].
#[derive(Debug)]
pub enum Effect {
    /// Values in the order of [`Mapping::columns`].
    Upsert(Row),
    /// An update without the values that the connector did not see.
    Partial(PartialRow),
    /// Values of the key.
    Delete(Vec<Value>),
}

/// Some columns of a row.
#[derive(Debug)]
pub struct PartialRow {
    /// Values of the key.
    pub key: Vec<Value>,
    /// Values of other columns of the table, ascending.
    pub cells: Vec<(usize, Value)>,
    /// Columns that were not seen, ascending.
    pub missing: Vec<usize>,
}

impl Mapping {
    /// Finds a column for every field and a value for every key column, or says what is missing and what to do. Fields have the
    /// names of columns, as does `order_by`.
    pub fn new(
        table: Arc<Table>,
        row: Option<&RowSchema>,
        key: Option<&RowSchema>,
        order_by: &[String],
        order: OrderPolicy,
        rules: CellRules,
    ) -> Result<Self, Rejection> {
        let mut found = sources_of(&table, row, key)?;
        found.sort_by_key(|(column, _)| *column);
        let columns: Arc<[usize]> = found.iter().map(|(column, _)| *column).collect();
        let at = |column: usize| columns.iter().position(|known| *known == column);
        let key_columns = table.key.iter().map(|column| at(*column).ok_or(*column)).collect::<Result<Vec<_>, _>>();
        let key_in_columns = match key_columns {
            Ok(columns) => columns,
            // A delete without `before` (record form) has only its key; an upsert always has all.
            Err(_) if row.is_none() => Vec::new(),
            Err(column) => return Err(missing_key(&table, column)),
        };
        let order = match order {
            OrderPolicy::Columns(_) => {
                let index = |name: &String| {
                    let column = table.shape.position(name);
                    column.and_then(&at).ok_or_else(|| {
                        Rejection::table(
                            "order_by",
                            format!("`order_by` names {name:?}, which the events for {} do not carry", table.name()),
                        )
                    })
                };
                if order_by.len() > ORDER_COLUMNS_MAX {
                    return Err(Rejection::table(
                        "order_by",
                        format!("`order_by` may name at most {ORDER_COLUMNS_MAX} columns"),
                    ));
                }
                let known =
                    if row.is_some() { order_by.iter().map(index).collect::<Result<_, _>>()? } else { Vec::new() };
                OrderPolicy::Columns(known)
            }
            other => other,
        };
        let delete_key = delete_key(&table, row, key)?;
        let covers_table = table.shape.columns.iter().filter(|column| !column.generated).count() == columns.len();
        let sources = found.into_iter().map(|(_, source)| source).collect();
        let ordering: Vec<usize> = match &order {
            OrderPolicy::Columns(at) => at.iter().filter_map(|at| columns.get(*at).copied()).collect(),
            _ => Vec::new(),
        };
        let choices = choices(&table, &rules, &ordering)?;
        Ok(Self { table, columns, order, covers_table, sources, key_in_columns, delete_key, rules, choices })
    }

    /// The values of an event. `key_bytes` and `value_bytes` are the record's, so that text is shared, not copied.
    pub fn change(&self, event: &RawEvent<'_>, key_bytes: &Bytes, value_bytes: &Bytes) -> Result<Change, Rejection> {
        let cells = Cells::new(self, event, key_bytes, value_bytes);
        if event.op != Op::Upsert {
            let key = cells.delete_key()?;
            let bytes = self.key_bytes(&key.iter().collect::<Vec<_>>())?;
            return Ok(Change::new(bytes, Effect::Delete(key)));
        }
        let row = event.after.as_ref();
        let mut values = Row::with_capacity(self.columns.len());
        for (column, source) in self.columns.iter().zip(&self.sources) {
            match cells.value(row, *column, source)? {
                Seen::Value(value) => values.push(value),
                Seen::Nothing => return self.partial(Cells::new(self, event, key_bytes, value_bytes)),
            }
        }
        let key: Vec<&Value> = self.key_in_columns.iter().map(|at| &values[*at]).collect();
        Ok(Change { key: self.key_bytes(&key)?, effect: Effect::Upsert(values), adjusted: cells.adjusted() })
    }

    /// Canonical bytes of an event's key, whatever its other columns hold.
    pub fn event_key(
        &self,
        event: &RawEvent<'_>,
        key_bytes: &Bytes,
        value_bytes: &Bytes,
    ) -> Result<Vec<u8>, Rejection> {
        let cells = Cells::new(self, event, key_bytes, value_bytes);
        let key = match event.op {
            Op::Upsert => {
                let row = event.after.as_ref();
                let source = |at: &usize| cells.seen(row, self.columns[*at], &self.sources[*at]);
                self.key_in_columns.iter().map(source).collect::<Result<Vec<_>, _>>()?
            }
            Op::Delete | Op::Truncate => cells.delete_key()?,
        };
        self.key_bytes(&key.iter().collect::<Vec<_>>())
    }

    /// An update with placeholders. A create with them is refused: what is stored under its key, if anything, is a former life of
    /// that key. So is an update of the key itself, and one that lacks a column which orders changes.
    fn partial(&self, cells: Cells<'_, '_>) -> Result<Change, Rejection> {
        let table = self.table.name();
        let named = |column: usize| format!("column {:?} of {table}", self.table.shape.columns[column].name);
        let row = cells.event.after.as_ref();
        let mut partial = PartialRow { key: Vec::new(), cells: Vec::new(), missing: Vec::new() };
        for (column, source) in self.columns.iter().zip(&self.sources) {
            match cells.value(row, *column, source)? {
                Seen::Value(_) if self.table.key.contains(column) => {}
                Seen::Value(value) => partial.cells.push((*column, value)),
                Seen::Nothing => partial.missing.push(*column),
            }
        }
        let unseen = partial.missing.first().map(|column| named(*column)).unwrap_or_default();
        if !cells.is_update() {
            return Err(Rejection::new(
                "partial_row",
                format!(
                    "{unseen}: the connector did not see the value (unchanged TOAST or LOB) in a row that it reports as new (a \
                     moved key); it lies under the row's old key only: use REPLICA IDENTITY FULL, or send the row again with an \
                     incremental snapshot signal for its key"
                ),
            ));
        }
        if let OrderPolicy::Columns(order) = &self.order
            && order.iter().any(|at| partial.missing.contains(&self.columns[*at]))
        {
            let what = format!("{unseen}: the connector did not see the value, which orders changes (`order_by`)");
            return Err(Rejection::new("partial_row", what));
        }
        let key = self.key_in_columns.iter().map(|at| cells.seen(row, self.columns[*at], &self.sources[*at]));
        partial.key = key.collect::<Result<_, _>>()?;
        let key = self.key_bytes(&partial.key.iter().collect::<Vec<_>>())?;
        Ok(Change { key, effect: Effect::Partial(partial), adjusted: cells.adjusted() })
    }

    /// Values of the business key from a record key alone, where the key has them all.
    pub fn key_values(&self, key: &RawRow<'_>, key_bytes: &Bytes) -> Option<Vec<Value>> {
        let columns = self.table.key.iter().zip(&self.delete_key);
        let value = |(column, source): (&usize, &Source)| match source {
            Source::Key { field, described } => fit_cell(
                key.cells.get(*field)?,
                described,
                &self.table.shape.columns[*column].kind,
                &self.rules,
                key_bytes,
            )
            .ok(),
            Source::Row { .. } => None,
        };
        columns.map(value).collect()
    }

    /// Values of the business key of a row.
    pub fn key_of(&self, row: &[Value]) -> Vec<Value> {
        self.key_in_columns.iter().filter_map(|at| row.get(*at).cloned()).collect()
    }

    /// Canonical bytes of a business key; see [`Change::key`].
    pub fn key_bytes(&self, values: &[&Value]) -> Result<Vec<u8>, Rejection> {
        key_bytes(&self.table, values)
    }
}

/// Canonical bytes of a table's business key; see [`Change::key`].
pub fn key_bytes(table: &Table, values: &[&Value]) -> Result<Vec<u8>, Rejection> {
    let mut bytes = Vec::with_capacity(16 * values.len());
    for (value, column) in values.iter().zip(&table.key) {
        encode_key(value, &mut bytes).map_err(|what| {
            let name = &table.shape.columns[*column].name;
            Rejection::new("key", format!("key column {name:?} of {}: {what}", table.name()))
        })?;
    }
    Ok(bytes)
}

type Found = Vec<(usize, Source)>;

/// A source for every field of the row, and of the record key for columns that the row does not have (a key column that is
/// excluded from the value stays in the key).
fn sources_of(table: &Table, row: Option<&RowSchema>, key: Option<&RowSchema>) -> Result<Found, Rejection> {
    let mut found: Found = Vec::new();
    let row_fields = row.iter().flat_map(|schema| schema.placed()).map(|(field, described)| (field, described, true));
    let key_fields = key.iter().flat_map(|schema| schema.placed()).map(|(field, described)| (field, described, false));
    for (field, described, in_row) in row_fields.chain(key_fields) {
        let Some(column) = table.shape.position(&described.name) else {
            if in_row {
                return Err(unknown_column(table, &described.name));
            }
            continue;
        };
        if table.shape.columns[column].generated || found.iter().any(|(known, _)| *known == column) {
            continue;
        }
        if let WireType::Unsupported { name } = &described.kind {
            return Err(Rejection::table(
                "unsupported_type",
                format!(
                    "column {:?} of {} comes as {name}, which is not understood yet; leave it out with `exclude_columns`",
                    described.name,
                    table.name()
                ),
            ));
        }
        if table.shape.columns[column].identity
            && !table.key.contains(&column)
            && table.contract == Contract::FinalState
        {
            return Err(Rejection::table(
                "identity",
                format!(
                    "column {:?} of {} is GENERATED ALWAYS AS IDENTITY, so the database refuses to update it; alter it to GENERATED BY DEFAULT, or leave it out with `exclude_columns`",
                    described.name,
                    table.name()
                ),
            ));
        }
        if table.shape.columns[column].kind == super::table::ColumnType::Unsupported {
            return Err(Rejection::table(
                "unsupported_type",
                format!(
                    "column {:?} of {} is {}, which is not understood yet; leave it out with `exclude_columns`",
                    described.name,
                    table.name(),
                    table.shape.columns[column].native
                ),
            ));
        }
        let described = described.clone();
        found.push((column, if in_row { Source::Row { field, described } } else { Source::Key { field, described } }));
    }
    Ok(found)
}

/// What is chosen for each column. A key or an order of changes that is not the event's would mix up rows, and NULL needs a column
/// that allows it.
fn choices(table: &Table, rules: &CellRules, ordering: &[usize]) -> Result<Vec<Option<OnUnrepresentable>>, Rejection> {
    let choice = |(at, column): (usize, &super::table::Column)| {
        let choice = rules.on_unrepresentable.get(&column.name).copied();
        let why = match choice {
            Some(OnUnrepresentable::Null | OnUnrepresentable::Clamp) if table.key.contains(&at) => {
                "is part of the key; use \"refuse\" or \"quarantine\""
            }
            Some(OnUnrepresentable::Null | OnUnrepresentable::Clamp) if ordering.contains(&at) => {
                "orders changes; use \"refuse\" or \"quarantine\""
            }
            Some(OnUnrepresentable::Null) if !column.nullable => "does not allow NULL; use another choice",
            _ => return Ok(choice),
        };
        let what = format!("`on_unrepresentable` of column {:?}: the column of {} {why}", column.name, table.name());
        Err(Rejection::table("on_unrepresentable", what))
    };
    table.shape.columns.iter().enumerate().map(choice).collect()
}

fn unknown_column(table: &Table, name: &str) -> Rejection {
    Rejection::table(
        "unknown_column",
        format!(
            "{} has no column {name:?}, which its events carry; add the column, or leave it out with `exclude_columns`",
            table.name()
        ),
    )
}

fn missing_key(table: &Table, column: usize) -> Rejection {
    let name = &table.shape.columns[column].name;
    Rejection::table("no_key", format!("the events for {} do not carry its key column {name:?}", table.name()))
}

/// Key columns of a delete come from the record key: under some replica identities `before` holds fillers.
fn delete_key(table: &Table, row: Option<&RowSchema>, key: Option<&RowSchema>) -> Result<Vec<Source>, Rejection> {
    let source = |column: &usize| {
        let name = &table.shape.columns[*column].name;
        let of = |schema: Option<&RowSchema>| {
            let (field, described) = schema?.placed().find(|(_, field)| field.name == *name)?;
            Some((field, described.clone()))
        };
        match (of(key), of(row)) {
            (Some((field, described)), _) => Ok(Source::Key { field, described }),
            (None, Some((field, described))) => Ok(Source::Row { field, described }),
            (None, None) => Err(missing_key(table, *column)),
        }
    };
    table.key.iter().map(source).collect()
}

/// Canonical bytes of a key value: a tag, then a fixed width or a length and the bytes, so that no two keys fall together.
fn encode_key(value: &Value, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut long = |tag: u8, bytes: &[u8]| {
        out.push(tag);
        out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    match value {
        Value::Null => return Err("a key cannot be NULL"),
        Value::Float32(_) | Value::Float64(_) => return Err("a floating point number cannot be a key"),
        Value::Bool(truth) => out.extend_from_slice(&[1, u8::from(*truth)]),
        Value::Int(number) => {
            out.push(2);
            out.extend_from_slice(&((*number as u64) ^ (1 << 63)).to_be_bytes());
        }
        Value::UInt(number) => {
            out.push(3);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Decimal(text) => long(4, text.as_bytes()),
        Value::Text(text) => long(5, text.as_bytes()),
        Value::Json(text) => long(6, text.as_bytes()),
        Value::Bytes(bytes) => long(7, bytes),
        Value::Date(days) => {
            out.push(8);
            out.extend_from_slice(&((*days as u32) ^ (1 << 31)).to_be_bytes());
        }
        Value::Time(micros) | Value::Timestamp(micros) | Value::TimestampTz(micros) => {
            out.push(9);
            out.extend_from_slice(&((*micros as u64) ^ (1 << 63)).to_be_bytes());
        }
        Value::Uuid(bytes) => {
            out.push(10);
            out.extend_from_slice(bytes);
        }
        Value::TimeTz { micros, offset } => {
            out.push(11);
            out.extend_from_slice(&((*micros as u64) ^ (1 << 63)).to_be_bytes());
            out.extend_from_slice(&((*offset as u32) ^ (1 << 31)).to_be_bytes());
        }
        Value::Bits { length, bytes } => {
            out.push(12);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            out.extend_from_slice(bytes);
        }
        Value::Interval { .. }
        | Value::Array(_)
        | Value::Map(_)
        | Value::Geometry { .. }
        | Value::SparseVector { .. } => return Err("a value of this type cannot be a key"),
    }
    Ok(())
}
