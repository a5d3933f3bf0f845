//! TiCDC's open protocol: several events in a record, each a key and a value of JSON with its length before it.
//!
//! Facts: its documentation and source. The record key begins with the version (8 bytes, 1); all lengths are 8 bytes, the highest
//! first. A key is `{ts, scm, tbl, t}`: `t` 1 a row, 2 DDL, 3 resolved. A value is `{u, p}` (upsert, previous) or `{d}`, each
//! columns by name as `{t: type, h: handle, f: flags, v: value}`. Texts and blobs are base64.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::event::{Control, Decoded, Op, Rejection, SourcePosition, SourceTable};

use super::mysql::{Kind, Kinds};
use super::{Common, Form, RowChange, Schemas, changes, missing_position, parse, row, undecodable};

const VERSION: [u8; 8] = 1u64.to_be_bytes();
/// Most events that a record may hold: far more than TiCDC's `max-batch-size`.
const EVENTS_MAX: usize = 100_000;
/// The flag of the columns that tell a row.
const HANDLE: u64 = 2;

/// Whether a record key is one of this protocol.
pub(in super::super) fn is_key(key: &[u8]) -> bool {
    key.len() > 16 && key.starts_with(&VERSION)
}

#[derive(Deserialize)]
struct Key<'a> {
    #[serde(default)]
    ts: u64,
    #[serde(borrow, default)]
    scm: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tbl: Option<Cow<'a, str>>,
    t: u8,
    /// Only the handle columns are there: the message was too large.
    #[serde(default)]
    ohk: bool,
    /// The message lies elsewhere: it was too large.
    #[serde(borrow, default)]
    ccl: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Column<'a> {
    t: u8,
    #[serde(default)]
    h: Option<bool>,
    #[serde(default)]
    f: u64,
    #[serde(borrow)]
    v: &'a RawValue,
}

type Columns<'a> = BTreeMap<Cow<'a, str>, Column<'a>>;

#[derive(Deserialize)]
struct Value<'a> {
    #[serde(borrow, default)]
    u: Option<Columns<'a>>,
    #[serde(borrow, default)]
    p: Option<Columns<'a>>,
    #[serde(borrow, default)]
    d: Option<Columns<'a>>,
}

/// A row's change without its rows.
struct Plain {
    is_delete: bool,
    ts: u64,
    database: String,
    table: String,
    keys: Vec<String>,
    kinds: BTreeMap<String, (u8, u64)>,
}

/// Reads a record. `cells` takes the rows' cells, into which the events point.
pub(in super::super) fn decode<'a>(
    topic: &str,
    (key, value): (&[u8], &[u8]),
    cells: &'a OnceLock<String>,
    (rows, keys): (&mut Schemas, &mut Schemas),
) -> Result<Decoded<'a>, Rejection> {
    let mut control = None;
    let (mut plains, mut images) = (Vec::new(), Vec::new());
    let mut values = parts(value)?.into_iter();
    for key in parts(key.get(VERSION.len()..).unwrap_or_default())? {
        let key: Key<'_> = parse(key, Form::Ticdc)?;
        let value = values.next().filter(|value| !value.is_empty());
        match (key.t, value) {
            (2, _) => control = Some(Control::SchemaChange),
            (3, _) => control = control.or(Some(Control::Heartbeat)),
            (1, Some(value)) => {
                let (plain, rows) = plain_change(key, parse(value, Form::Ticdc)?)?;
                plains.push(plain);
                images.push(rows);
            }
            _ => return Err(undecodable("`t` of an event is none of 1, 2, 3, or a row's change has no value")),
        }
    }
    if plains.is_empty() {
        return control.map(Decoded::Control).ok_or_else(|| undecodable("the record holds no event"));
    }
    let text = cells.get_or_init(|| format!("[{}]", images.concat().join(",")));
    let images: Vec<Option<&'a RawValue>> = parse(text, Form::Ticdc)?;
    let mut events = Vec::with_capacity(plains.len());
    for (plain, images) in plains.into_iter().zip(images.chunks(2)) {
        let kinds = Kinds::new(plain.kinds.iter().map(|(name, (t, f))| (name.as_str(), Kind::of_code(*t, *f))));
        let mut image =
            |raw: Option<&'a RawValue>, part| row(raw, rows, part).map(|row| row.map(|row| kinds.typed(row, rows)));
        let [old, new] = [images.first().copied().flatten(), images.get(1).copied().flatten()];
        let (before, after) = (image(old, "p")?, image(new, "u")?);
        let common = Common {
            table: SourceTable::in_database(&plain.database, &plain.table),
            source: format!("ticdc {topic}"),
            position: SourcePosition::Tso(plain.ts),
            source_time_ms: i64::try_from(plain.ts >> 18).ok(),
        };
        let (op, op_text) = if plain.is_delete { (Op::Delete, "d") } else { (Op::Upsert, "u") };
        let change = RowChange { op, op_text: Cow::Borrowed(op_text), before, after };
        common.events(change, &plain.keys, keys, &mut events)?;
    }
    changes(events)
}

/// The texts of a list of lengths and texts.
fn parts(mut bytes: &[u8]) -> Result<Vec<&str>, Rejection> {
    let torn = || undecodable("the lengths of the open protocol do not fit the record");
    let mut parts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<8>() {
        let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| torn())?;
        let (part, rest) = rest.split_at_checked(length).ok_or_else(torn)?;
        parts.push(std::str::from_utf8(part).map_err(|_| undecodable("an event of the open protocol is not UTF-8"))?);
        bytes = rest;
        if parts.len() > EVENTS_MAX {
            return Err(undecodable("the record holds more events than the open protocol writes"));
        }
    }
    if bytes.is_empty() { Ok(parts) } else { Err(torn()) }
}

/// A row's change, and its rows before and after as JSON.
fn plain_change(key: Key<'_>, value: Value<'_>) -> Result<(Plain, [String; 2]), Rejection> {
    if key.ohk || key.ccl.is_some() {
        let what = "the message was too large for its changefeed, and the record does not hold the row; raise `max-message-bytes` of the sink";
        return Err(undecodable(what));
    }
    let (Some(database), Some(table)) = (key.scm, key.tbl) else {
        return Err(undecodable("`scm` or `tbl` is missing"));
    };
    if key.ts == 0 {
        return Err(missing_position("`ts` is missing or zero"));
    }
    let is_delete = value.d.is_some();
    let (old, new) = if is_delete { (value.d, None) } else { (value.p, value.u) };
    let Some(own) = new.as_ref().or(old.as_ref()) else { return Err(undecodable("the event holds no row")) };
    let is_handle = |column: &Column<'_>| column.f & HANDLE != 0 || column.h == Some(true);
    let keys = own.iter().filter(|(_, column)| is_handle(column)).map(|(name, _)| name.to_string()).collect();
    let all = || old.iter().chain(new.iter()).flatten();
    let kinds = all().map(|(name, column)| (name.to_string(), (column.t, column.f))).collect();
    let json = |columns: &Option<Columns<'_>>| {
        let Some(columns) = columns else { return "null".to_owned() };
        let cell = |(name, column): (&Cow<'_, str>, &Column<'_>)| {
            let name = serde_json::Value::from(name.as_ref());
            format!("{name}:{}", Kind::of_code(column.t, column.f).cell(column.v.get()))
        };
        format!("{{{}}}", columns.iter().map(cell).collect::<Vec<_>>().join(","))
    };
    let images = [json(&old), json(&new)];
    let plain =
        Plain { is_delete, ts: key.ts, database: database.into_owned(), table: table.into_owned(), keys, kinds };
    Ok((plain, images))
}
