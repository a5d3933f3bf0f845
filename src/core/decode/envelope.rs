//! The forms of a record.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::event::{Control, Decoded, Op, RawEvent, RawRow, Rejection, RowSchema, SourcePosition, SourceTable};

use super::position::{SourceBlock, lsn_text};
use super::row::{Schemas, plain, with_schema, without_schema};
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
    #[serde(borrow, default)]
    transaction: Option<&'a RawValue>,
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
    values: KnownSchemas,
    keys: KnownSchemas,
    plain_rows: Schemas,
    plain_keys: Schemas,
}

/// A schema part that was parsed, with the bytes that lead to its payload: `{"schema":…,"payload":`.
#[derive(Debug)]
struct Known {
    prefix: Bytes,
    /// Fields of the row (of `after`, `before`), or of a key.
    row: Arc<RowSchema>,
}

/// Schema parts that are remembered by their bytes: a topic may carry several tables by turns.
const REMEMBERED_PREFIXES: usize = 32;

/// The schema parts that were met, the last one first.
#[derive(Debug, Default)]
struct KnownSchemas {
    prefixes: Vec<Known>,
    /// Their lists of fields: a schema part that differs in its bytes only has the fields of one that was met.
    fields: Schemas,
}

impl KnownSchemas {
    /// Whether these bytes are a prefix that is known; it is the first one then.
    fn knows(&mut self, head: &Bytes) -> bool {
        let same = |known: &Known| {
            known.prefix.len() == head.len() && (known.prefix.as_ptr() == head.as_ptr() || known.prefix == *head)
        };
        let Some(at) = self.prefixes.iter().position(same) else { return false };
        self.prefixes[..=at].rotate_right(1);
        if let Some(known) = self.prefixes.first_mut() {
            // The next comparison is one of two addresses.
            known.prefix = head.clone();
        }
        true
    }

    /// The payload of a text whose schema part is known.
    fn payload<'a>(&mut self, text: &'a str) -> Option<(&'a str, Arc<RowSchema>)> {
        let rest = text.strip_suffix('}')?;
        let at = self.prefixes.iter().position(|known| rest.as_bytes().starts_with(&known.prefix))?;
        self.prefixes[..=at].rotate_right(1);
        let known = self.prefixes.first()?;
        // A later field behind the payload would be taken for a part of it; the payload's own parse then fails loudly.
        Some((trim(&rest[known.prefix.len()..]), Arc::clone(&known.row)))
    }

    fn remember(&mut self, prefix: &str, row: &Arc<RowSchema>) {
        self.prefixes.truncate(REMEMBERED_PREFIXES - 1);
        let prefix = Bytes::copy_from_slice(prefix.as_bytes());
        self.prefixes.insert(0, Known { prefix, row: Arc::clone(row) });
    }
}

/// Without JSON's white space at its end.
fn trim(json: &str) -> &str {
    json.trim_end_matches([' ', '\t', '\r', '\n'])
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
        let (payload, schema) = unwrap(text, &mut self.values, "after")?;
        self.payload(topic, key, payload, schema)
    }

    /// Whether a value that begins with these bytes can be read from the rest alone, by [`decode_rest`](Self::decode_rest), which
    /// must be the next call.
    pub fn knows(&mut self, head: &Bytes) -> bool {
        self.values.knows(head)
    }

    /// As [`decode`](Self::decode), of a value whose first part is the schema that the decoder [`knows`](Self::knows).
    pub fn decode_rest<'a>(
        &mut self,
        topic: &str,
        key: Option<&'a [u8]>,
        rest: &'a [u8],
    ) -> Result<Decoded<'a>, Rejection> {
        let row = self.values.prefixes.first().map(|known| Arc::clone(&known.row));
        let payload = utf8(rest, "value")?.strip_suffix('}').map(trim);
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
                None => without_schema(part, &mut self.plain_rows, name),
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
            transaction: source.transaction().or(top.transaction).map(RawValue::get),
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
        let row = |part: Option<&'a RawValue>, known: &mut Schemas, name| {
            part.map(|part| without_schema(part, known, name)).transpose()
        };
        let event = RawEvent {
            op,
            op_text,
            table,
            source: "record form".to_owned(),
            position,
            source_time_ms: top.ts_ms.and_then(|raw| raw.get().parse().ok()),
            transaction: None,
            key: row(top.key, &mut self.plain_keys, "key")?,
            before: row(top.before, &mut self.plain_rows, "before")?,
            after: row(top.after, &mut self.plain_rows, "after")?,
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
        let (payload, schema) = unwrap(text, &mut self.keys, "")?;
        if payload == "null" {
            return Ok(None);
        }
        let raw: &RawValue = serde_json::from_str(payload).map_err(|error| {
            Rejection::new("undecodable", format!("the record key cannot be read: {}", plain(&error)))
        })?;
        match schema {
            Some(schema) => with_schema(raw, &schema, "key").map(Some),
            None => without_schema(raw, &mut self.plain_keys, "key").map(Some),
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
    known: &mut KnownSchemas,
    row: &str,
) -> Result<(&'a str, Option<Arc<RowSchema>>), Rejection> {
    if let Some((payload, row)) = known.payload(text) {
        return Ok((payload, Some(row)));
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
    let row = known.fields.find(|known| known == fields, || fields.clone());
    // Only where nothing but the closing brace follows: a schema behind its payload is no prefix.
    if trim(&text[start + payload.len()..text.len().saturating_sub(1)]).is_empty() && text.ends_with('}') {
        known.remember(&text[..start], &row);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(decoder: &mut TopicDecoder, value: &str) -> Option<u64> {
        match decoder.decode("t", None, Some(value.as_bytes())) {
            Ok(Decoded::Change(event)) => event.after.map(|row| row.schema.id),
            _ => None,
        }
    }

    fn with_schema_text(field: &str) -> String {
        let schema = format!(
            r#"{{"type":"struct","fields":[{{"type":"struct","field":"after","fields":[{{"type":"int32","field":"{field}"}}]}}]}}"#
        );
        let source = r#"{"connector":"postgresql","name":"s","schema":"p","table":"t","sequence":"[null,\"1\"]"}"#;
        format!(r#"{{"schema":{schema},"payload":{{"op":"c","after":{{"{field}":1}},"source":{source}}}}}"#)
    }

    #[test]
    fn tables_by_turns_keep_their_fields() {
        let mut decoder = TopicDecoder::default();
        let first = id(&mut decoder, &with_schema_text("a"));
        let second = id(&mut decoder, &with_schema_text("b"));
        assert!(first.is_some() && second.is_some() && first != second);
        assert_eq!(id(&mut decoder, &with_schema_text("a")), first);
        assert_eq!(id(&mut decoder, &with_schema_text("b")), second);
        assert_eq!(decoder.values.prefixes.len(), 2);
        let plain = |field: &str| {
            format!(
                r#"{{"source_table":"p.t","op":"c","key":{{"k":1}},"after":{{"{field}":1}},"source_position":{{"lsn":"0/1"}}}}"#
            )
        };
        let first = id(&mut decoder, &plain("a"));
        let second = id(&mut decoder, &plain("b"));
        assert!(first.is_some() && second.is_some() && first != second);
        assert_eq!((id(&mut decoder, &plain("a")), id(&mut decoder, &plain("b"))), (first, second));
    }

    /// The known prefix is a shortcut, never another meaning.
    #[test]
    fn a_known_schema_changes_nothing_but_the_time() {
        let text = with_schema_text("a");
        let blank = text.replace("}}}", "}} \n}");
        let more = format!("{},\"more\":1}}", &text[..text.len() - 1]);
        let null = format!("{}null }}", &text[..text.find("{\"op\"").expect("payload")]);
        let end = format!("{text}\n");
        for other in [&blank, &more, &null, &end] {
            let fresh =
                TopicDecoder::default().decode("t", None, Some(other.as_bytes())).map(|it| format!("{it:?}").len());
            let mut decoder = TopicDecoder::default();
            assert!(id(&mut decoder, &text).is_some());
            let known = decoder.decode("t", None, Some(other.as_bytes())).map(|it| format!("{it:?}").len());
            assert_eq!(fresh.is_ok(), known.is_ok(), "{other}");
        }
        let mut decoder = TopicDecoder::default();
        assert!(id(&mut decoder, &text).is_some());
        assert!(matches!(decoder.decode("t", None, Some(null.as_bytes())), Ok(Decoded::Null)));
    }
}
