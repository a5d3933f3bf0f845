//! The forms of a record.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::event::{Control, Decoded, Op, RawEvent, RawRow, Rejection, RowSchema, SourcePosition, SourceTable};

use super::position::{SourceBlock, lsn_text};
use super::row::{new_schema, plain, with_schema, without_schema};
use super::schema::Schema;

/// Top level of every JSON form that is understood. Fields of other names are passed over.
#[derive(Debug, Deserialize)]
struct Top<'a> {
    #[serde(borrow, default)]
    before: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
    #[serde(borrow, default)]
    source: Option<&'a RawValue>,
    #[serde(borrow, default)]
    op: Option<&'a RawValue>,
    // The record form.
    #[serde(borrow, default)]
    source_table: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    source_position: Option<&'a RawValue>,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ts_ms: Option<&'a RawValue>,
    // Control topics.
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "databaseName")]
    database_name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ddl: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "tableChanges")]
    table_changes: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct RecordPosition<'a> {
    #[serde(borrow, default)]
    lsn: Option<Cow<'a, str>>,
}

/// Reads the records of one topic.
#[derive(Debug, Default)]
pub struct TopicDecoder {
    value_schema: Option<Known>,
    key_schema: Option<Known>,
    plain_row: Option<Arc<RowSchema>>,
    plain_key: Option<Arc<RowSchema>>,
}

/// A schema part that was parsed, with the bytes that lead to its payload: `{"schema":…,"payload":`.
#[derive(Debug)]
struct Known {
    prefix: Bytes,
    /// Fields of the row (of `after`, `before`), or of a key.
    row: Arc<RowSchema>,
}

impl TopicDecoder {
    /// Tells what a record is. Rows of the result point into the record.
    pub fn decode<'a>(
        &mut self,
        topic: &str,
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
    ) -> Result<Decoded<'a>, Rejection> {
        let Some(value) = value else { return Ok(Decoded::Null) };
        let text = utf8(value, "value")?;
        let (payload, schema) = unwrap(text, &mut self.value_schema, "after")?;
        self.payload(topic, key, payload, schema)
    }

    /// Whether a value that begins with these bytes can be read from the rest alone, by [`decode_rest`](Self::decode_rest).
    pub fn knows(&mut self, head: &Bytes) -> bool {
        let Some(known) = &mut self.value_schema else { return false };
        if known.prefix.as_ptr() == head.as_ptr() && known.prefix.len() == head.len() {
            return true;
        }
        let same = known.prefix == *head;
        if same {
            // The next comparison is one of two addresses.
            known.prefix = head.clone();
        }
        same
    }

    /// As [`decode`](Self::decode), of a value whose first part is the schema that the decoder [`knows`](Self::knows).
    pub fn decode_rest<'a>(
        &mut self,
        topic: &str,
        key: Option<&'a [u8]>,
        rest: &'a [u8],
    ) -> Result<Decoded<'a>, Rejection> {
        let row = self.value_schema.as_ref().map(|known| Arc::clone(&known.row));
        let payload = utf8(rest, "value")?.strip_suffix('}');
        let payload = payload.ok_or_else(|| Rejection::new("undecodable", "the value does not end with its object"))?;
        self.payload(topic, key, payload, row)
    }

    fn payload<'a>(
        &mut self,
        topic: &str,
        key: Option<&'a [u8]>,
        payload: &'a str,
        schema: Option<Arc<RowSchema>>,
    ) -> Result<Decoded<'a>, Rejection> {
        if payload == "null" {
            return Ok(Decoded::Null);
        }
        let top: Top<'a> = serde_json::from_str(payload).map_err(|error| {
            Rejection::new("undecodable", format!("the value is not a change event: {}", plain(&error)))
        })?;
        if let Some(control) = control_of(topic, &top) {
            return Ok(Decoded::Control(control));
        }
        if top.source_table.is_some() && top.op.is_some() {
            return self.record_form(&top).map(Decoded::Change);
        }
        let (Some(source), Some(op)) = (top.source, top.op) else {
            return Err(Rejection::new(
                "undecodable",
                "the value is no change event: expected a Debezium envelope (`op`, `source`, `before`, `after`) or the record form (`source_table`, `op`, `key`, `source_position`)",
            ));
        };
        self.debezium(key, &top, source, op, schema)
    }

    fn debezium<'a>(
        &mut self,
        key: Option<&'a [u8]>,
        top: &Top<'a>,
        source: &'a RawValue,
        op: &'a RawValue,
        schema: Option<Arc<RowSchema>>,
    ) -> Result<Decoded<'a>, Rejection> {
        let op_text = text_of(op)?;
        let op = match op_text.as_ref() {
            "c" | "u" | "r" => Op::Upsert,
            "d" => Op::Delete,
            "t" => Op::Truncate,
            "m" => return Ok(Decoded::Control(Control::Message)),
            _ => return Err(Rejection::new("undecodable", "`op` is none of c, u, r, d, t, m")),
        };
        let source: SourceBlock<'a> = serde_json::from_str(source.get())
            .map_err(|error| Rejection::new("undecodable", format!("`source` cannot be read: {}", plain(&error))))?;
        let mut row = |part: Option<&'a RawValue>, name| {
            part.map(|part| match &schema {
                Some(schema) => with_schema(part, schema, name),
                None => without_schema(part, &mut self.plain_row, name),
            })
            .transpose()
        };
        let (before, after) = (row(top.before, "before")?, row(top.after, "after")?);
        let key = key.map(|key| self.key(key)).transpose()?.flatten();
        let event = RawEvent {
            op,
            op_text,
            table: source.table()?,
            source: source.source(),
            position: source.position()?,
            source_time_ms: source.time_ms(),
            key,
            before,
            after,
        };
        check_rows(&event)?;
        Ok(Decoded::Change(event))
    }

    fn record_form<'a>(&mut self, top: &Top<'a>) -> Result<RawEvent<'a>, Rejection> {
        let name = top.source_table.as_deref().unwrap_or_default();
        let op_text = top.op.map(text_of).transpose()?.unwrap_or_default();
        let op = match op_text.to_ascii_lowercase().as_str() {
            "c" | "u" | "r" | "i" | "insert" | "update" | "create" | "read" | "snapshot" | "upsert" => Op::Upsert,
            "d" | "delete" => Op::Delete,
            "t" | "truncate" => Op::Truncate,
            _ => return Err(Rejection::new("undecodable", "`op` is no operation of the record form")),
        };
        let position = match top.source_position {
            None => SourcePosition::None,
            Some(raw) => {
                let position: RecordPosition<'_> = serde_json::from_str(raw.get()).map_err(|e| {
                    Rejection::new("undecodable", format!("`source_position` cannot be read: {}", plain(&e)))
                })?;
                let lsn = position.lsn.as_deref().map(|text| {
                    lsn_text(text).ok_or_else(|| {
                        Rejection::new("missing_position", "`source_position.lsn` is not of the form `0/16B6A90`")
                    })
                });
                lsn.transpose()?.map_or(SourcePosition::None, SourcePosition::Lsn)
            }
        };
        let table = match name.split_once('.') {
            Some((schema, table)) => SourceTable { schema: Some(schema.to_owned()), table: table.to_owned() },
            None => SourceTable { schema: None, table: name.to_owned() },
        };
        if table.table.is_empty() {
            return Err(Rejection::new("undecodable", "`source_table` is empty"));
        }
        let row = |part: Option<&'a RawValue>, last: &mut Option<Arc<RowSchema>>, name| {
            part.map(|part| without_schema(part, last, name)).transpose()
        };
        let event = RawEvent {
            op,
            op_text,
            table,
            source: "record form".to_owned(),
            position,
            source_time_ms: top.ts_ms.and_then(|raw| raw.get().parse().ok()),
            key: row(top.key, &mut self.plain_key, "key")?,
            before: row(top.before, &mut self.plain_row, "before")?,
            after: row(top.after, &mut self.plain_row, "after")?,
        };
        check_rows(&event)?;
        Ok(event)
    }

    /// The record key of a record without a value.
    pub fn decode_key<'a>(&mut self, key: &'a [u8]) -> Result<Option<RawRow<'a>>, Rejection> {
        self.key(key)
    }

    /// Reads a record key: an object with or without a schema. `None` if it is JSON null.
    fn key<'a>(&mut self, key: &'a [u8]) -> Result<Option<RawRow<'a>>, Rejection> {
        let text = utf8(key, "key")?;
        let (payload, schema) = unwrap(text, &mut self.key_schema, "")?;
        if payload == "null" {
            return Ok(None);
        }
        let raw: &RawValue = serde_json::from_str(payload).map_err(|error| {
            Rejection::new("undecodable", format!("the record key cannot be read: {}", plain(&error)))
        })?;
        match schema {
            Some(schema) => with_schema(raw, &schema, "key").map(Some),
            None => without_schema(raw, &mut self.plain_key, "key").map(Some),
        }
    }
}

fn check_rows(event: &RawEvent<'_>) -> Result<(), Rejection> {
    if event.op == Op::Upsert && event.after.is_none() {
        return Err(Rejection::new("undecodable", "`after` of a create, update or read is null"));
    }
    Ok(())
}

fn utf8<'a>(bytes: &'a [u8], part: &str) -> Result<&'a str, Rejection> {
    std::str::from_utf8(bytes).map_err(|error| {
        let hint = if bytes.first() == Some(&0) {
            "; it begins with a zero byte, as schema registry framing does, which is not supported yet"
        } else {
            ""
        };
        Rejection::new("undecodable", format!("the {part} is not UTF-8 from byte {}{hint}", error.valid_up_to()))
    })
}

fn text_of(raw: &RawValue) -> Result<Cow<'_, str>, Rejection> {
    serde_json::from_str::<Text<'_>>(raw.get())
        .map(|text| text.0)
        .map_err(|_| Rejection::new("undecodable", "`op` is not text"))
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Splits `{"schema":…,"payload":…}`; text of any other shape is its own payload. `row` names the struct field that
/// holds the row's schema, nothing for keys.
fn unwrap<'a>(
    text: &'a str,
    known: &mut Option<Known>,
    row: &str,
) -> Result<(&'a str, Option<Arc<RowSchema>>), Rejection> {
    if let Some(known) = known
        && let Some(rest) = text.as_bytes().strip_prefix(known.prefix.as_ref())
        && rest.last() == Some(&b'}')
    {
        let payload = &text[known.prefix.len()..text.len() - 1];
        // A later field behind the payload would be taken for a part of it; the payload's own parse then fails loudly.
        return Ok((payload, Some(Arc::clone(&known.row))));
    }
    let head = text.trim_start();
    if !head.starts_with('{') || !head[1..].trim_start().starts_with("\"schema\"") {
        return Ok((text, None));
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wrapped<'a> {
        #[serde(borrow)]
        schema: &'a RawValue,
        #[serde(borrow)]
        payload: &'a RawValue,
    }
    let Ok(wrapped) = serde_json::from_str::<Wrapped<'a>>(text) else { return Ok((text, None)) };
    if wrapped.schema.get() == "null" {
        return Ok((wrapped.payload.get(), None));
    }
    let schema = Schema::parse(wrapped.schema.get())?;
    let fields =
        if row.is_empty() { schema.row_fields() } else { schema.field(row).map_or_else(Vec::new, Schema::row_fields) };
    let payload = wrapped.payload.get();
    // Where the payload lies in the text: both are slices of one piece of memory.
    let start = payload.as_ptr() as usize - text.as_ptr() as usize;
    let last = text.len() == start + payload.len() + 1;
    let row = new_schema(fields);
    let entry = Known { prefix: Bytes::copy_from_slice(&text.as_bytes()[..start]), row: Arc::clone(&row) };
    if last {
        *known = Some(entry);
    }
    Ok((payload, Some(row)))
}

/// Recognises Debezium's control topics by their payload, and by the topic's name where the payload alone could be a row's.
fn control_of(topic: &str, top: &Top<'_>) -> Option<Control> {
    if top.source.is_some() && (top.ddl.is_some() || top.table_changes.is_some()) && top.database_name.is_some() {
        return Some(Control::SchemaChange);
    }
    if top.op.is_some() {
        return None;
    }
    if top.status.is_some() && top.id.is_some() && topic.ends_with(".transaction") {
        return Some(Control::Transaction);
    }
    if top.ts_ms.is_some() && top.source.is_none() && topic.starts_with("__debezium-heartbeat") {
        return Some(Control::Heartbeat);
    }
    None
}
