//! Maxwell (MySQL): `{database, table, type, ts, xid, commit, data, old, …}`.
//!
//! Facts: its documentation. A row's place in its transaction is `xoffset`, which the last row lacks; that one has `commit: true`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::event::{Control, Decoded, Gtid, Op, RawRow, Rejection, SourcePosition, SourceTable};
use crate::core::token::Phase;

use super::super::numbers::{binlog_file, digits, mysql_gtid};
use super::{Common, Form, Input, RowChange, changes, key_names, missing_position, named, parse, row, undecodable};

/// Kinds of records that change rows; then those that do not.
const KINDS: [&str; 4] = ["insert", "update", "delete", "bootstrap-insert"];
const OTHERS: [&str; 9] = [
    "bootstrap-start",
    "bootstrap-complete",
    "table-create",
    "table-alter",
    "table-drop",
    "database-create",
    "database-alter",
    "database-drop",
    "heartbeat",
];

/// Whether JSON text is one of its kinds.
pub(super) fn is_kind(json: &str) -> bool {
    let kind = json.trim_matches('"');
    KINDS.contains(&kind) || OTHERS.contains(&kind)
}

#[derive(Deserialize)]
struct Maxwell<'a> {
    #[serde(borrow)]
    database: Cow<'a, str>,
    #[serde(borrow)]
    table: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    ts: Option<i64>,
    #[serde(default)]
    commit: Option<bool>,
    #[serde(borrow, default)]
    xoffset: Option<&'a RawValue>,
    #[serde(borrow, default)]
    position: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    gtid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    primary_key_columns: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    old: Option<&'a RawValue>,
}

/// Reads a record.
pub(super) fn decode<'a>(input: Input<'_, 'a>) -> Result<Decoded<'a>, Rejection> {
    let record: Maxwell<'a> = parse(input.payload, Form::Maxwell)?;
    let op = match record.kind.as_ref() {
        "insert" | "update" | "bootstrap-insert" => Op::Upsert,
        "delete" => Op::Delete,
        other if OTHERS.contains(&other) => return Ok(Decoded::Control(Control::SchemaChange)),
        _ => return Err(undecodable("`type` is none that Maxwell writes")),
    };
    let position = record.position()?;
    let data = row(record.data, input.rows, "data")?.ok_or_else(|| undecodable("`data` is missing"))?;
    let old = row(record.old, input.rows, "old")?;
    let (before, after) = if op == Op::Delete { (Some(data), None) } else { (old, Some(data)) };
    let common = Common {
        table: SourceTable::in_database(&record.database, &record.table),
        source: format!("maxwell {}", input.topic),
        position,
        // Seconds.
        source_time_ms: record.ts.and_then(|ts| ts.checked_mul(1000)),
    };
    let names = key_names(&record.primary_key_columns, input.key_columns);
    let mut events = Vec::with_capacity(1);
    common.events(RowChange { op, op_text: record.kind, before, after }, &names, input.keys, &mut events)?;
    if names.is_empty()
        && let [event] = events.as_mut_slice()
    {
        event.key = input.key.and_then(|key| record_key(key, input.keys));
    }
    changes(events)
}

impl Maxwell<'_> {
    fn position(&self) -> Result<SourcePosition, Rejection> {
        let gtid = self.gtid.as_deref().filter(|gtid| !gtid.is_empty());
        let unreadable = |what| missing_position(format!("`{what}` is unreadable"));
        let gtid: Option<Gtid> = gtid.map(|text| mysql_gtid(text).ok_or_else(|| unreadable("gtid"))).transpose()?;
        let place = self.position.as_deref().map(|text| {
            let (file, pos) = text.rsplit_once(':')?;
            Some((binlog_file(file)?, digits(pos)?))
        });
        let place: Option<(u64, u64)> = place.map(|place| place.ok_or_else(|| unreadable("position"))).transpose()?;
        let (file, pos) = match (&gtid, place) {
            (_, Some(place)) => place,
            (Some(_), None) => (0, 0),
            (None, None) => {
                return Ok(SourcePosition::None(
                    "set `output_binlog_position` (or `output_gtid_position`) and `output_xoffset` of Maxwell",
                ));
            }
        };
        let row = match self.xoffset {
            Some(raw) => Some(digits(raw.get()).ok_or_else(|| unreadable("xoffset"))?),
            None if self.commit == Some(true) => Some(u64::MAX),
            None => None,
        };
        let phase = if self.kind == "bootstrap-insert" { Phase::Snapshot } else { Phase::Stream };
        Ok(SourcePosition::Binlog { gtid, file, pos, row, phase })
    }
}

/// The record key of the format `hash`: an object with the key's columns as `pk.<name>`. Another format names no key.
fn record_key<'a>(key: &'a [u8], keys: &mut super::Schemas) -> Option<RawRow<'a>> {
    let fields = row(serde_json::from_slice(key).ok()?, keys, "key").ok()??;
    let picked = fields.schema.fields.iter().zip(&fields.cells);
    let (names, cells): (Vec<String>, Vec<_>) =
        picked.filter_map(|(field, cell)| Some((field.name.strip_prefix("pk.")?.to_owned(), *cell))).unzip();
    (!names.is_empty()).then(|| RawRow { schema: named(&names, keys), cells })
}
