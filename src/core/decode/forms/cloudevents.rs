//! CloudEvents of Debezium's CloudEventsConverter: `{specversion, id, source, type, iodebezium…, data}`.
//!
//! Facts: the converter's source (2.x, 3.x). It has the structured mode only. Each field of the `source` block is an attribute whose
//! name is `iodebezium` and the field's letters and digits (`iodebeziumcommitlsn`); numbers of 64 bits are text. `data` holds
//! `before` and `after`, with a schema part or without, or a flattened row alone. So the positions are those of the envelope.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::event::{Op, Rejection, SourcePosition, SourceTable};

use super::super::position::SourceBlock;
use super::super::row::plain;
use super::{Form, parse, table_of_topic, text_of, undecodable};

/// Fields of the source blocks that are read.
const FIELDS: [&str; 26] = [
    "version",
    "connector",
    "name",
    "ts_ms",
    "ts_ns",
    "snapshot",
    "db",
    "schema",
    "table",
    "collection",
    "keyspace",
    "shard",
    "sequence",
    "gtid",
    "file",
    "pos",
    "row",
    "commit_lsn",
    "change_lsn",
    "event_serial_no",
    "commit_scn",
    "scn",
    "ord",
    "mod_number",
    "ts_hlc",
    "txId",
];

/// What the attributes say of a change.
pub(in super::super) struct Attributes<'a> {
    pub(in super::super) op: Option<Cow<'a, str>>,
    pub(in super::super) table: SourceTable,
    pub(in super::super) source: String,
    pub(in super::super) position: SourcePosition,
    pub(in super::super) ends_snapshot: bool,
    pub(in super::super) source_time_ms: Option<i64>,
    pub(in super::super) transaction: Option<&'a str>,
    pub(in super::super) data: &'a RawValue,
}

/// Reads the attributes of a record.
pub(in super::super) fn attributes<'a>(topic: &str, payload: &'a str) -> Result<Attributes<'a>, Rejection> {
    let all: HashMap<Cow<'a, str>, &'a RawValue> = parse(payload, Form::CloudEvents)?;
    let get = |name: &str| all.get(name).copied().filter(|raw| raw.get() != "null");
    let data = get("data").ok_or_else(|| undecodable("`data` is missing"))?;
    if !data.get().starts_with('{') {
        let what =
            "`data` of the CloudEvents is no JSON object; set `data.serializer.type=json` of the CloudEventsConverter";
        return Err(Rejection::table("unsupported_form", what));
    }
    let attribute = |field: &str| {
        let letters: String = field.chars().filter(char::is_ascii_alphanumeric).collect();
        get(&format!("iodebezium{letters}"))
    };
    let op = attribute("op").map(text_of).transpose()?;
    let transaction = attribute("txId").map(RawValue::get);
    if attribute("connector").is_none() {
        let why =
            "set `extension.attributes.enable=true` of the CloudEventsConverter: the attributes hold the position";
        return Ok(Attributes {
            op,
            table: table_of_topic(topic),
            source: format!("cloudevents {topic}"),
            position: SourcePosition::None(why),
            ends_snapshot: false,
            source_time_ms: None,
            transaction,
            data,
        });
    }
    let mut block = String::from("{");
    for (field, raw) in FIELDS.into_iter().filter_map(|field| Some((field, attribute(field)?))) {
        let comma = if block.len() > 1 { "," } else { "" };
        // A number, although it is written as text.
        let value = if field == "ts_ms" { raw.get().trim_matches('"') } else { raw.get() };
        let _ = write!(block, "{comma}\"{field}\":{value}");
    }
    block.push('}');
    let source: SourceBlock<'_> = serde_json::from_str(&block)
        .map_err(|error| undecodable(format!("the attributes cannot be read: {}", plain(&error))))?;
    Ok(Attributes {
        op,
        table: source.table()?,
        source: source.source(),
        position: source.position(None)?,
        ends_snapshot: source.ends_snapshot(),
        source_time_ms: source.time_ms(),
        transaction,
        data,
    })
}

/// The images of a row in `data`: as `before` and `after`, or the row alone.
pub(in super::super) fn images<'a>(data: &'a str, op: Option<Op>) -> Result<[Option<&'a RawValue>; 2], Rejection> {
    #[derive(Deserialize)]
    struct Images<'a> {
        #[serde(borrow, default, deserialize_with = "present")]
        before: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "present")]
        after: Option<&'a RawValue>,
    }
    /// With null for a field that is there and null.
    fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Some)
    }
    let images: Images<'a> = parse(data, Form::CloudEvents)?;
    let is_image = |raw: Option<&RawValue>| raw.is_none_or(|raw| raw.get() == "null" || raw.get().starts_with('{'));
    let some = |raw: Option<&'a RawValue>| raw.filter(|raw| raw.get() != "null");
    if (images.before.is_some() || images.after.is_some()) && is_image(images.before) && is_image(images.after) {
        return Ok([some(images.before), some(images.after)]);
    }
    let row: &'a RawValue = parse(data, Form::CloudEvents)?;
    Ok(if op == Some(Op::Delete) { [Some(row), None] } else { [None, Some(row)] })
}
