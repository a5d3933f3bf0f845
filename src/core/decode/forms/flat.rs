//! Rows that Debezium's transform `ExtractNewRecordState` flattened: the row itself, with fields of the transform among its columns.
//!
//! Facts: the transform's documentation (2.7 to 3.7) and captures of 3.5. `__deleted` ("true" or "false") is there with
//! `delete.tombstone.handling.mode=rewrite`; the fields of `add.fields` have the prefix `__`, and `__source_` where they were
//! asked for as `source.…`. A short name means the source block, but `op` and `ts_*` mean the envelope.
//!
//! # What orders such rows
//!
//! What the source block's fields order, if enough of them were added: `op` (or `snapshot`) tells snapshot from stream, so it is
//! always needed, and beside it `source.sequence` for PostgreSQL, `file`, `pos`, `row`, `gtid` for MySQL and MariaDB, `commit_lsn`,
//! `change_lsn`, `event_serial_no` for SQL Server, `commit_scn` and `scn` for Oracle. PostgreSQL's bare `lsn` is no order of
//! commits (a transaction that began earlier may commit later), so rows with nothing else have no position. A row does not
//! name its source: without `name` among the fields positions are compared within one topic.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::core::event::{Op, RawEvent, RawRow, Rejection, RowSchema, SourcePosition, SourceTable};

use super::super::position::SourceBlock;
use super::super::row::{Schemas, plain, with_schema, without_schema};
use super::{table_of_topic, text_of};

/// Fields that `add.fields` can copy, without the prefix: of the envelope and of the source blocks of all connectors. Any other
/// field whose name begins with two underscores is a column.
const ADDED: [&str; 52] = [
    "deleted",
    "op",
    "ts_ms",
    "ts_us",
    "ts_ns",
    "transaction_id",
    "transaction_total_order",
    "transaction_data_collection_order",
    "version",
    "connector",
    "name",
    "snapshot",
    "db",
    "schema",
    "table",
    "collection",
    "keyspace",
    "shard",
    "sequence",
    "lsn",
    "txId",
    "xmin",
    "origin",
    "origin_lsn",
    "server_id",
    "gtid",
    "file",
    "pos",
    "row",
    "thread",
    "query",
    "commit_lsn",
    "change_lsn",
    "event_serial_no",
    "begin_lsn",
    "scn",
    "commit_scn",
    "start_scn",
    "lcr_position",
    "rs_id",
    "ssn",
    "redo_thread",
    "user_name",
    "redo_sql",
    "row_id",
    "txSeq",
    "ord",
    "lsid",
    "txnNumber",
    "wallTime",
    "vgtid",
    "ts_hlc",
];

/// A field of the transform: its name without the prefix, and whether it was asked for as a field of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Added {
    name: &'static str,
    of_source: bool,
}

impl Added {
    /// Whether it tells a flattened row.
    pub(in super::super) fn marks(self) -> bool {
        !self.of_source && matches!(self.name, "op" | "deleted")
    }
}

/// What the names of added fields begin with, unless the transform's `add.fields.prefix` says otherwise.
const PREFIX: &str = "__";
/// The mark of the rewrite modes; no option changes its name.
const DELETED: &str = "__deleted";

/// The field of the transform that a name means.
pub(in super::super) fn added(field: &str, prefix: &str) -> Option<Added> {
    let known = |name: &str| ADDED.into_iter().find(|known| *known == name);
    let name =
        if field == DELETED { "deleted" } else { field.strip_prefix(prefix).filter(|name| *name != "deleted")? };
    match (known(name), name.strip_prefix("source_").and_then(known)) {
        (Some(name), _) => Some(Added { name, of_source: false }),
        (None, Some(name)) => Some(Added { name, of_source: true }),
        (None, None) => None,
    }
}

/// How the fields of a row part into columns and fields of the transform.
#[derive(Debug)]
struct Parting {
    /// Number of the whole list of fields.
    whole: u64,
    columns: Vec<usize>,
    added: Vec<(usize, Added)>,
    row: Arc<RowSchema>,
}

/// Lists of fields whose parting is remembered; as many as lists of fields are.
const REMEMBERED: usize = 256;

/// Reads the flattened rows of a topic.
#[derive(Debug, Default)]
pub(in super::super) struct FlatRows {
    prefix: Option<String>,
    whole: Schemas,
    rows: Schemas,
    partings: Vec<Parting>,
}

impl FlatRows {
    /// Rows whose added fields have names that begin with `prefix`.
    pub(in super::super) fn new(prefix: Option<String>) -> Self {
        Self { prefix, ..Self::default() }
    }

    /// What the names of added fields begin with.
    pub(in super::super) fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or(PREFIX)
    }

    /// A row, with the schema of all its fields if the record has one. `key` and `headers` are the record's.
    pub(in super::super) fn event<'a>(
        &mut self,
        topic: &str,
        payload: &'a str,
        schema: Option<&Arc<RowSchema>>,
        key: Option<RawRow<'a>>,
        headers: &'a [(Added, Box<RawValue>)],
    ) -> Result<RawEvent<'a>, Rejection> {
        let raw: &RawValue = serde_json::from_str(payload)
            .map_err(|error| Rejection::new("undecodable", format!("the value cannot be read: {}", plain(&error))))?;
        let whole = match schema {
            Some(schema) => with_schema(raw, schema, "value")?,
            None => without_schema(raw, &mut self.whole, "value")?,
        };
        let (row, mut fields) = self.part(whole);
        fields.extend(headers);
        fields.event(topic, Some(row), key)
    }

    /// The delete that a null value is if its headers say so (`delete-to-tombstone`, `tombstone` with `add.headers`) and place it.
    pub(in super::super) fn null_delete<'a>(
        &self,
        topic: &str,
        key: Option<RawRow<'a>>,
        headers: &'a [(Added, Box<RawValue>)],
    ) -> Result<Option<RawEvent<'a>>, Rejection> {
        let mut fields = Fields(Vec::new());
        fields.extend(headers);
        let is_delete = fields.get("op", false).is_some_and(|op| op.get() == "\"d\"");
        if !is_delete || key.is_none() {
            return Ok(None);
        }
        fields.event(topic, None, key).map(|event| Some(event).filter(|event| !event.position.is_none()))
    }

    /// Parts a row into its columns and the fields of the transform.
    fn part<'a>(&mut self, whole: RawRow<'a>) -> (RawRow<'a>, Fields<'a>) {
        let known = self.partings.iter().position(|parting| parting.whole == whole.schema.id);
        match known {
            Some(at) => self.partings[..=at].rotate_right(1),
            None => {
                let parting = self.parting(&whole.schema);
                self.partings.truncate(REMEMBERED - 1);
                self.partings.insert(0, parting);
            }
        }
        let parting = &self.partings[0];
        let cells = parting.columns.iter().map(|at| whole.cells[*at]).collect();
        let fields = parting.added.iter().map(|(at, added)| (*added, whole.cells[*at])).collect();
        (RawRow { schema: Arc::clone(&parting.row), cells }, Fields(fields))
    }

    fn parting(&mut self, whole: &RowSchema) -> Parting {
        let fields = || whole.fields.iter().map(|field| added(&field.name, self.prefix())).enumerate();
        let columns: Vec<usize> = fields().filter(|(_, added)| added.is_none()).map(|(at, _)| at).collect();
        let added = fields().filter_map(|(at, added)| Some((at, added?))).collect();
        let row: Vec<_> = columns.iter().map(|at| whole.fields[*at].clone()).collect();
        let row = self.rows.find(|known| known == row, || row.clone());
        Parting { whole: whole.id, columns, added, row }
    }
}

/// The fields that the transform added to a row.
struct Fields<'a>(Vec<(Added, &'a RawValue)>);

/// A source block as JSON, and why its position cannot order if it cannot.
struct Block {
    json: String,
    without_position: Option<&'static str>,
}

impl<'a> Fields<'a> {
    fn extend(&mut self, headers: &'a [(Added, Box<RawValue>)]) {
        self.0.extend(headers.iter().map(|(added, value)| (*added, &**value)));
    }

    /// The event of a row with these fields; without a row it is a delete of the key.
    fn event(&self, topic: &str, row: Option<RawRow<'a>>, key: Option<RawRow<'a>>) -> Result<RawEvent<'a>, Rejection> {
        let op_text = self.get("op", false).map(text_of).transpose()?;
        let deleted = match self.get("deleted", false).map(RawValue::get) {
            None | Some("\"false\"" | "false" | "null") => row.is_none(),
            Some("\"true\"" | "true") => true,
            Some(_) => return Err(Rejection::new("undecodable", "`__deleted` is neither \"true\" nor \"false\"")),
        };
        let op = match op_text.as_deref() {
            _ if deleted => Op::Delete,
            Some("d") => Op::Delete,
            None | Some("c" | "u" | "r") => Op::Upsert,
            Some(_) => return Err(Rejection::new("undecodable", "`__op` is none of c, u, r, d")),
        };
        let default = if op == Op::Delete { "d" } else { "u" };
        let block = self.source_block(op_text.as_deref())?;
        let source: SourceBlock<'_> = serde_json::from_str(&block.json).map_err(|error| {
            Rejection::new("undecodable", format!("the added fields cannot be read: {}", plain(&error)))
        })?;
        let position = match block.without_position {
            Some(why) => SourcePosition::None(why),
            None => source.position(None)?,
        };
        let (before, after) = if op == Op::Delete { (row, None) } else { (None, row) };
        // The guessed connector must not part snapshot rows from the stream: MariaDB's have no GTID to know it by.
        let named = self.source("connector").is_some() && self.source("name").is_some();
        Ok(RawEvent {
            op,
            op_text: op_text.unwrap_or(Cow::Borrowed(default)),
            table: table(&source, topic),
            source: if named { source.source() } else { format!("flat {topic}") },
            position,
            ends_snapshot: false,
            source_time_ms: source.time_ms(),
            transaction: None,
            key,
            before,
            after,
        })
    }

    /// A field that is there and not null.
    fn get(&self, name: &str, of_source: bool) -> Option<&'a RawValue> {
        let found = self.0.iter().find(|(added, _)| added.name == name && added.of_source == of_source);
        found.map(|(_, cell)| *cell).filter(|cell| cell.get() != "null")
    }

    /// A field of the source: a short name means the source too, but for the names that the envelope has.
    fn source(&self, name: &str) -> Option<&'a RawValue> {
        self.get(name, true).or_else(|| self.get(name, false).filter(|_| !name.starts_with("ts_m")))
    }

    /// The source block that the fields were copied from, as far as they tell.
    fn source_block(&self, op: Option<&str>) -> Result<Block, Rejection> {
        let (connector, without_position) = self.connector()?;
        let mut json = format!("{{\"connector\":{}", serde_json::Value::from(&*connector));
        let mut names: Vec<&str> = self.0.iter().map(|(added, _)| added.name).collect();
        names.sort_unstable();
        names.dedup();
        let envelope = ["connector", "deleted", "op", "ts_us", "ts_ns"];
        for name in names.into_iter().filter(|name| !envelope.contains(name) && !name.starts_with("transaction_")) {
            if let Some(cell) = self.source(name) {
                let _ = write!(json, ",\"{name}\":{}", cell.get());
            }
        }
        let mut without_position = without_position;
        match (self.source("snapshot"), op) {
            (Some(_), _) => {}
            (None, Some(op)) => {
                let _ = write!(json, ",\"snapshot\":\"{}\"", op == "r");
            }
            (None, None) => {
                without_position.get_or_insert(
                    "add `op` to the transform's `add.fields`, which tells snapshot rows from later changes",
                );
            }
        }
        json.push('}');
        Ok(Block { json, without_position })
    }

    /// The connector that wrote the row, by name or by its fields, and why there is no position if there is none.
    fn connector(&self) -> Result<(Cow<'a, str>, Option<&'static str>), Rejection> {
        let has = |name| self.source(name).is_some();
        let guessed = if has("sequence") {
            ("postgresql", None)
        } else if has("file") && has("pos") {
            // Without a GTID it is taken for MySQL, whose rows need no number: the Kafka offset decides.
            let of_mariadb = self.source("gtid").is_some_and(|gtid| !gtid.get().contains(':'));
            (if of_mariadb { "mariadb" } else { "mysql" }, None)
        } else if has("commit_lsn") {
            ("sqlserver", None)
        } else if has("commit_scn") || has("scn") {
            ("oracle", None)
        } else if has("ts_hlc") {
            ("cockroachdb", None)
        } else if has("lsn") {
            let why = "a bare `lsn` is not the order of commits; add `source.sequence` to the transform's `add.fields`";
            ("flat", Some(why))
        } else {
            let why = "add the fields of its position and `op` to the transform's `add.fields` (`op,source.sequence`; `op,file,pos,row,gtid`; `op,commit_lsn,change_lsn,event_serial_no`; `op,commit_scn,scn`)";
            ("flat", Some(why))
        };
        match self.source("connector") {
            Some(name) if guessed.1.is_none() => Ok((text_of(name)?, None)),
            _ => Ok((Cow::Borrowed(guessed.0), guessed.1)),
        }
    }
}

/// The table: of the added fields, else by the topic.
fn table(source: &SourceBlock<'_>, topic: &str) -> SourceTable {
    let by_topic = table_of_topic(topic);
    match source.table() {
        Ok(table) if table.schema.is_none() && table.table == by_topic.table => by_topic,
        Ok(table) => table,
        Err(_) => by_topic,
    }
}
