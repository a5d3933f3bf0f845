//! Forms of records beside the Debezium envelope.
//!
//! A form is told from the record's own fields and their types, and only where these leave no doubt ([`detect`]); a `[[table]]`
//! rule can name it with `format`. Flattened rows come first: whatever a table's columns are called, `__op` or `__deleted`
//! beside them say what the record is. Values of the forms of other products are JSON without types: the destination's
//! columns decide how they are read, as for events without a schema.
//!
//! | form | token from | a row's key | what it lacks |
//! |---|---|---|---|
//! | `flat` | the added fields ([`flat`]) | record key | TRUNCATE |
//! | `record` | `source_position.lsn` | `key` | |
//! | `maxwell` | `gtid`, else `position`, with `xoffset` (options `output_…`) | `primary_key_columns`, else the record key | TRUNCATE |
//! | `canal` | `gtid` | `pkNames` | |
//! | `cloudevents` | the attributes, as Debezium's envelope ([`cloudevents`]) | record key | |
//! | `ticdc` | `commitTs` (canal-json: with `enable-tidb-extension`), `ts` | `pkNames`; simple: `key = […]`; open protocol: handle flags | |
//! | `goldengate` | `pos` | `primary_keys` | |
//! | `cockroachdb` | `updated`, else `mvcc_timestamp`; enriched: `source.ts_hlc` | enriched: `source.primary_keys`; wrapped: `key = […]` | TRUNCATE |
//! | `dms` | – (the Kafka offset) | `key = […]` | NULLs, unless `IncludeNullAndEmpty` is set; so it is never guessed |

pub(super) mod canal;
pub(super) mod cloudevents;
pub(super) mod cockroach;
pub(super) mod dms;
pub(super) mod flat;
pub(super) mod goldengate;
pub(super) mod maxwell;
mod mysql;
pub(super) mod open_protocol;
pub(super) mod record;
pub(super) mod ticdc;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::event::{Decoded, Op, RawEvent, RawRow, Rejection, RowSchema, SourcePosition, SourceTable};
use crate::core::wire::{Field, WireType};

use super::row::{Schemas, plain, without_schema};

/// A form of records, as `format` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Debezium's envelope.
    Debezium,
    /// Rows flattened by `ExtractNewRecordState`.
    Flat,
    /// The record form.
    Record,
    /// Maxwell.
    Maxwell,
    /// Canal's flat messages.
    Canal,
    /// Oracle GoldenGate's JSON.
    GoldenGate,
    /// AWS DMS's JSON.
    Dms,
    /// CloudEvents of Debezium's converter.
    CloudEvents,
    /// TiCDC: simple, canal-json and the open protocol.
    Ticdc,
    /// CockroachDB's changefeeds: wrapped and enriched.
    Cockroach,
}

impl Form {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debezium => "debezium",
            Self::Flat => "flat",
            Self::Record => "record",
            Self::Maxwell => "maxwell",
            Self::Canal => "canal",
            Self::GoldenGate => "goldengate",
            Self::Dms => "dms",
            Self::CloudEvents => "cloudevents",
            Self::Ticdc => "ticdc",
            Self::Cockroach => "cockroachdb",
        }
    }
}

pub(super) fn check_rows(event: &RawEvent<'_>) -> Result<(), Rejection> {
    if event.op == Op::Upsert && event.after.is_none() {
        return Err(Rejection::new("undecodable", "`after` of a create, update or read is null"));
    }
    Ok(())
}

/// A record of another product, with what is needed to read it.
pub(super) struct Input<'d, 'a> {
    pub(super) topic: &'d str,
    /// The record's key.
    pub(super) key: Option<&'a [u8]>,
    /// The record's value, or what its schema part left of it.
    pub(super) payload: &'a str,
    /// Fields of the row, if the value has a schema part.
    pub(super) schema: Option<Arc<RowSchema>>,
    /// Names of the key columns by the configuration.
    pub(super) key_columns: &'d [String],
    pub(super) rows: &'d mut Schemas,
    pub(super) keys: &'d mut Schemas,
    /// Where rows are kept whose cells had to be written anew.
    pub(super) cells: &'a OnceLock<String>,
}

/// Reads a record of a form of another product.
pub(super) fn decode<'a>(form: Form, input: Input<'_, 'a>) -> Result<Decoded<'a>, Rejection> {
    match form {
        Form::Maxwell => maxwell::decode(input),
        Form::Canal => canal::decode(input, false),
        Form::GoldenGate => goldengate::decode(input),
        Form::Dms => dms::decode(input),
        Form::Ticdc => ticdc::decode(input),
        Form::Cockroach => cockroach::decode(input),
        Form::Debezium | Form::CloudEvents | Form::Flat | Form::Record => {
            Err(undecodable("the record is not of its topic's form"))
        }
    }
}

/// What tells the forms of other products apart.
#[derive(Default, Deserialize)]
struct Shape<'a> {
    #[serde(borrow, default)]
    database: Option<&'a RawValue>,
    #[serde(borrow, default)]
    table: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ts: Option<&'a RawValue>,
    #[serde(borrow, default)]
    es: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "isDdl")]
    is_ddl: Option<&'a RawValue>,
    #[serde(borrow, default)]
    _tidb: Option<&'a RawValue>,
    #[serde(borrow, default)]
    version: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "commitTs")]
    commit_ts: Option<&'a RawValue>,
    #[serde(borrow, default)]
    op_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    op_ts: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pos: Option<&'a RawValue>,
    #[serde(borrow, default)]
    specversion: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    iodebeziumop: Option<&'a RawValue>,
}

/// The form of a record of another product, where its fields and their types leave no doubt.
pub(super) fn detect(payload: &str) -> Option<Form> {
    let shape: Shape<'_> = serde_json::from_str(payload).ok()?;
    let is = |field: Option<&RawValue>, first: fn(char) -> bool| field.is_some_and(|raw| raw.get().starts_with(first));
    let text = |field| is(field, |c| c == '"');
    let number = |field| is(field, |c| c.is_ascii_digit());
    let of_debezium = shape.kind.is_some_and(|kind| kind.get().starts_with("\"io.debezium."));
    if text(shape.specversion) && shape.data.is_some() && (of_debezium || text(shape.iodebeziumop)) {
        return Some(Form::CloudEvents);
    }
    if text(shape.table) && text(shape.op_type) && text(shape.op_ts) && text(shape.pos) {
        return Some(Form::GoldenGate);
    }
    if text(shape.kind) && number(shape.commit_ts) && number(shape.version) {
        return Some(Form::Ticdc);
    }
    let of_table = text(shape.database) && text(shape.table) && text(shape.kind);
    if of_table && is(shape.is_ddl, |c| c == 't' || c == 'f') && number(shape.es) {
        let of_tidb = is(shape._tidb, |c| c == '{');
        return Some(if of_tidb { Form::Ticdc } else { Form::Canal });
    }
    if of_table && number(shape.ts) && shape.kind.is_some_and(|kind| maxwell::is_kind(kind.get())) {
        return Some(Form::Maxwell);
    }
    cockroach::is_form(payload).then_some(Form::Cockroach)
}

/// What all changes of a record of another product have in common.
struct Common {
    table: SourceTable,
    source: String,
    position: SourcePosition,
    source_time_ms: Option<i64>,
}

/// A change of one row as other products write it.
struct RowChange<'a> {
    op: Op,
    op_text: Cow<'a, str>,
    /// The row before, or those of its columns that changed.
    before: Option<RawRow<'a>>,
    after: Option<RawRow<'a>>,
}

impl Common {
    /// The events of a row's change. An update that moves the key is a delete and a create.
    fn events<'a>(
        &self,
        change: RowChange<'a>,
        key_names: &[impl AsRef<str>],
        keys: &mut Schemas,
        events: &mut Vec<RawEvent<'a>>,
    ) -> Result<(), Rejection> {
        let RowChange { op, op_text, before, after } = change;
        let event = |op, op_text, key, before, after| RawEvent {
            op,
            op_text,
            table: self.table.clone(),
            source: self.source.clone(),
            position: self.position.clone(),
            ends_snapshot: false,
            source_time_ms: self.source_time_ms,
            transaction: None,
            key,
            before,
            after,
        };
        let row = if op == Op::Delete { &before } else { &after };
        let key = row.as_ref().map(|row| pick(row, None, key_names, keys)).transpose()?.flatten();
        if let (Op::Upsert, Some(old), Some(new), Some(key)) = (op, &before, &after, &key) {
            let old_key = pick(new, Some(old), key_names, keys)?;
            let moved = |old: &RawRow<'_>| old.cells.iter().zip(&key.cells).any(|(a, b)| a.get() != b.get());
            if let Some(old_key) = old_key.filter(moved) {
                events.push(event(Op::Delete, Cow::Borrowed("d"), Some(old_key), None, None));
            }
        }
        let event = event(op, op_text, key, before, after);
        check_rows(&event)?;
        events.push(event);
        Ok(())
    }
}

/// One change or several.
fn changes(mut events: Vec<RawEvent<'_>>) -> Result<Decoded<'_>, Rejection> {
    match (events.pop(), events.is_empty()) {
        (None, _) => Err(undecodable("the record holds no row")),
        (Some(event), true) => Ok(Decoded::Change(event)),
        (Some(last), false) => {
            events.push(last);
            Ok(Decoded::Changes(events))
        }
    }
}

/// The key columns of a row, with the values of another row where that has them. `None` if no key is named.
fn pick<'a>(
    row: &RawRow<'a>,
    over: Option<&RawRow<'a>>,
    names: &[impl AsRef<str>],
    keys: &mut Schemas,
) -> Result<Option<RawRow<'a>>, Rejection> {
    if names.is_empty() {
        return Ok(None);
    }
    let cell = |row: &RawRow<'a>, name: &str| row.schema.position(name).and_then(|at| row.cells.get(at).copied());
    let value = |name: &str| over.and_then(|over| cell(over, name)).or_else(|| cell(row, name));
    let cells: Option<Vec<_>> = names.iter().map(|name| value(name.as_ref())).collect();
    let cells = cells.ok_or_else(|| undecodable("the row lacks a column of its key"))?;
    Ok(Some(RawRow { schema: named(names, keys), cells }))
}

/// A list of untyped fields by their names.
fn named(names: &[impl AsRef<str>], known: &mut Schemas) -> Arc<RowSchema> {
    let field = |name: &str| Field::new(name, WireType::Untyped, false);
    let fits = |fields: &[Field]| {
        fields.len() == names.len() && fields.iter().zip(names).all(|(field, name)| field.name == name.as_ref())
    };
    known.find(fits, || names.iter().map(|name| field(name.as_ref())).collect())
}

/// The names that a record gives of its key, else those of the configuration.
fn key_names<'n>(given: &'n [Cow<'n, str>], configured: &'n [String]) -> Vec<&'n str> {
    if given.is_empty() {
        configured.iter().map(String::as_str).collect()
    } else {
        given.iter().map(AsRef::as_ref).collect()
    }
}

/// Parses the fields of a form.
fn parse<'a, T: Deserialize<'a>>(payload: &'a str, form: Form) -> Result<T, Rejection> {
    serde_json::from_str(payload)
        .map_err(|error| undecodable(format!("the value is not of the form {:?}: {}", form.name(), plain(&error))))
}

fn row<'a>(raw: Option<&'a RawValue>, rows: &mut Schemas, part: &'static str) -> Result<Option<RawRow<'a>>, Rejection> {
    raw.map(|raw| without_schema(raw, rows, part)).transpose()
}

/// A table by the last parts of its topic's name: `prefix.schema.table`, or more before it; a topic of two parts has no schema.
fn table_of_topic(topic: &str) -> SourceTable {
    let mut parts = topic.rsplit('.');
    let table = parts.next().unwrap_or(topic);
    let schema = parts.next().filter(|_| parts.next().is_some());
    SourceTable::new(schema, table)
}

fn undecodable(what: impl Into<String>) -> Rejection {
    Rejection::new("undecodable", what)
}

fn missing_position(what: impl Into<String>) -> Rejection {
    Rejection::new("missing_position", what)
}

/// The text of an operation.
pub(super) fn text_of(raw: &RawValue) -> Result<Cow<'_, str>, Rejection> {
    serde_json::from_str::<Text<'_>>(raw.get())
        .map(|text| text.0)
        .map_err(|_| Rejection::new("undecodable", "`op` is not text"))
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests;
