//! Canal's flat messages: `{database, table, pkNames, isDdl, type, es, data: [row, …], old: [changed columns, …], gtid}`; also
//! TiCDC's canal-json, which is the same with one row and `_tidb`.
//!
//! Facts: their documentation and TiCDC's. All values are text; `mysqlType` names the types.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::event::{Control, Decoded, Op, RawEvent, Rejection, SourcePosition, SourceTable};
use crate::core::token::Phase;

use super::super::numbers::mysql_gtid;
use super::mysql::{Kind, Kinds};
use super::{Common, Form, Input, RowChange, changes, key_names, missing_position, parse, row, undecodable};

#[derive(Deserialize)]
struct Canal<'a> {
    #[serde(borrow)]
    database: Cow<'a, str>,
    #[serde(borrow)]
    table: Cow<'a, str>,
    #[serde(borrow, default, rename = "pkNames")]
    pk_names: Option<Vec<Cow<'a, str>>>,
    #[serde(default, rename = "isDdl")]
    is_ddl: bool,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    es: Option<i64>,
    #[serde(borrow, default)]
    gtid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    old: Option<Vec<Option<&'a RawValue>>>,
    #[serde(borrow, default, rename = "mysqlType")]
    types: Option<HashMap<Cow<'a, str>, Cow<'a, str>>>,
    #[serde(default)]
    _tidb: Option<Tidb>,
}

#[derive(Deserialize)]
struct Tidb {
    #[serde(default, rename = "commitTs")]
    commit_ts: Option<u64>,
}

/// Reads a record; `of_tidb` if it is TiCDC's.
pub(super) fn decode<'a>(input: Input<'_, 'a>, of_tidb: bool) -> Result<Decoded<'a>, Rejection> {
    let record: Canal<'a> = parse(input.payload, if of_tidb { Form::Ticdc } else { Form::Canal })?;
    let common = Common {
        table: SourceTable::in_database(&record.database, &record.table),
        source: format!("{} {}", if of_tidb { "ticdc" } else { "canal" }, input.topic),
        position: if of_tidb { record.tidb_position() } else { record.gtid_position()? },
        source_time_ms: record.es,
    };
    let op = match record.kind.as_ref() {
        "INSERT" | "UPDATE" => Op::Upsert,
        "DELETE" => Op::Delete,
        "TRUNCATE" => {
            let mut events = Vec::with_capacity(1);
            let change = RowChange { op: Op::Truncate, op_text: record.kind, before: None, after: None };
            common.events(change, &[""; 0], input.keys, &mut events)?;
            return changes(events);
        }
        "TIDB_WATERMARK" => return Ok(Decoded::Control(Control::Heartbeat)),
        _ if record.is_ddl => return Ok(Decoded::Control(Control::SchemaChange)),
        _ => return Err(undecodable("`type` is none of INSERT, UPDATE, DELETE, TRUNCATE, and it is no DDL")),
    };
    let pk_names = record.pk_names.as_deref().unwrap_or_default();
    let names = key_names(pk_names, input.key_columns);
    let types = record.types.as_ref();
    let kinds = Kinds::new(types.into_iter().flatten().map(|(name, kind)| (name.as_ref(), Kind::of_name(kind))));
    let Rows { data, old } = record.rows(&kinds, &input)?;
    let mut image = |raw: Option<&'a RawValue>, part| {
        row(raw, input.rows, part).map(|row| row.map(|row| kinds.typed(row, input.rows)))
    };
    let mut events: Vec<RawEvent<'a>> = Vec::with_capacity(data.len());
    for (at, raw) in data.iter().enumerate() {
        let row = image(*raw, "data")?;
        let (before, after) = match op {
            Op::Delete => (row, None),
            _ => (image(old.get(at).copied().flatten(), "old")?, row),
        };
        let change = RowChange { op, op_text: record.kind.clone(), before, after };
        common.events(change, &names, input.keys, &mut events)?;
    }
    changes(events)
}

/// The rows of a record, their cells written as Kafka Connect writes their types.
#[derive(Deserialize)]
struct Rows<'a> {
    #[serde(borrow)]
    data: Vec<Option<&'a RawValue>>,
    #[serde(borrow)]
    old: Vec<Option<&'a RawValue>>,
}

impl<'a> Canal<'a> {
    fn rows(&self, kinds: &Kinds<'_>, input: &Input<'_, 'a>) -> Result<Rows<'a>, Rejection> {
        let data: Vec<Option<&'a RawValue>> = self.data.iter().flatten().map(|row| Some(*row)).collect();
        let old = self.old.clone().unwrap_or_default();
        if self.types.is_none() {
            return Ok(Rows { data, old });
        }
        let json = |rows: &[Option<&'a RawValue>]| -> Result<String, Rejection> {
            let rows: Result<Vec<String>, _> = rows.iter().map(|row| kinds.row_json(*row)).collect();
            Ok(rows?.join(","))
        };
        let text = format!("{{\"data\":[{}],\"old\":[{}]}}", json(&data)?, json(&old)?);
        parse(input.cells.get_or_init(|| text), Form::Canal)
    }
}

impl Canal<'_> {
    fn gtid_position(&self) -> Result<SourcePosition, Rejection> {
        let Some(text) = self.gtid.as_deref().filter(|gtid| !gtid.is_empty()) else {
            return Ok(SourcePosition::None("set `canal.instance.gtidon=true`"));
        };
        let gtid = mysql_gtid(text).ok_or_else(|| missing_position("`gtid` is unreadable"))?;
        Ok(SourcePosition::Binlog { gtid: Some(gtid), file: 0, pos: 0, row: None, phase: Phase::Stream })
    }

    fn tidb_position(&self) -> SourcePosition {
        match &self._tidb {
            Some(Tidb { commit_ts: Some(commit) }) => SourcePosition::Tso(*commit),
            _ => SourcePosition::None("set `enable-tidb-extension=true` in the changefeed's sink URI"),
        }
    }
}
