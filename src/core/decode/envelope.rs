//! The forms of a record.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::event::{Control, Decoded, Op, RawEvent, RawRow, Rejection, RowSchema};

use super::forms::flat::FlatRows;
use super::forms::{self, Form, Input, check_rows, cockroach, record, text_of};
use super::position::SourceBlock;
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
    #[serde(borrow, default)]
    ts_ms: Option<&'a RawValue>,
    // What tells other forms.
    #[serde(borrow, default)]
    source_table: Option<&'a RawValue>,
    #[serde(borrow, default)]
    __op: Option<&'a RawValue>,
    #[serde(borrow, default)]
    __deleted: Option<&'a RawValue>,
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

impl Top<'_> {
    /// The record's form by its own fields.
    fn form(&self, payload: &str) -> Result<Form, Rejection> {
        if self.__op.is_some() || self.__deleted.is_some() {
            return Ok(Form::Flat);
        }
        if self.source_table.is_some() && self.op.is_some() {
            return Ok(Form::Record);
        }
        // CockroachDB's changefeeds have an envelope like Debezium's, without the connector's clock.
        if self.source.is_some() && self.op.is_some() && (self.ts_ms.is_some() || !cockroach::is_form(payload)) {
            return Ok(Form::Debezium);
        }
        forms::detect(payload).ok_or_else(|| {
            Rejection::new(
                "undecodable",
                "the value is no change event of a form that can be told from its fields: Debezium's envelope (`op`, `source`, `before`, `after`), a flattened row (`__op` or `__deleted` among its fields), the record form (`source_table`, `op`, `key`, `source_position`), Maxwell, Canal, TiCDC, GoldenGate, CockroachDB; a `[[table]]` rule can name the form, and must for AWS DMS and rows without a mark, with `format = \"…\"`",
            )
        })
    }
}

/// Reads the records of one topic.
#[derive(Debug, Default)]
pub struct TopicDecoder {
    values: KnownSchemas,
    keys: KnownSchemas,
    plain_rows: Schemas,
    plain_keys: Schemas,
    flat_rows: FlatRows,
    /// The form of all records, if the configuration names one.
    form: Option<Form>,
    /// Names of the key columns by the configuration, if it names them.
    key_columns: Vec<String>,
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
    /// A decoder for records of one form; without one each record's own bytes tell it.
    ///
    /// `key` names the key columns for forms whose record keys are values without names.
    pub fn new(form: Option<Form>, key: Option<Vec<String>>) -> Self {
        Self { form, key_columns: key.unwrap_or_default(), ..Self::default() }
    }

    /// Tells what a record is. Rows of the result point into the record.
    pub fn decode<'a>(
        &mut self,
        topic: &str,
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
    ) -> Result<Decoded<'a>, Rejection> {
        let Some(value) = value else { return Ok(Decoded::Null) };
        let text = utf8(value, "value")?;
        let (payload, schema) = unwrap(text, &mut self.values, Part::Value)?;
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
        // A flattened row may have columns of any name; it is no control record.
        let is_flat = top.__op.is_some() || top.__deleted.is_some();
        if let Some(control) = control_of(topic, &top).filter(|_| !is_flat) {
            return Ok(Decoded::Control(control));
        }
        let form = match self.form {
            Some(form) => form,
            None => top.form(payload)?,
        };
        match form {
            Form::Debezium => self.debezium(key, &top, schema),
            Form::Flat => {
                let key = key.map(|key| self.key(key)).transpose()?.flatten();
                self.flat_rows.event(topic, payload, schema.as_ref(), key).map(Decoded::Change)
            }
            Form::Record => {
                record::event(topic, payload, &mut self.plain_rows, &mut self.plain_keys).map(Decoded::Change)
            }
            form => {
                let (rows, keys) = (&mut self.plain_rows, &mut self.plain_keys);
                forms::decode(form, Input { topic, key, payload, schema, key_columns: &self.key_columns, rows, keys })
            }
        }
    }

    fn debezium<'a>(
        &mut self,
        key: Option<&'a [u8]>,
        top: &Top<'a>,
        schema: Option<Arc<RowSchema>>,
    ) -> Result<Decoded<'a>, Rejection> {
        let (Some(source), Some(op)) = (top.source, top.op) else {
            return Err(Rejection::new(
                "undecodable",
                "the value is no Debezium envelope: `op` or `source` is missing",
            ));
        };
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
            position: source.position(top.transaction)?,
            ends_snapshot: source.ends_snapshot(),
            source_time_ms: source.time_ms(),
            transaction: source.transaction().or(top.transaction).map(RawValue::get),
            key,
            before,
            after,
        };
        check_rows(&event)?;
        Ok(Decoded::Change(event))
    }

    /// The record key of a record without a value.
    pub fn decode_key<'a>(&mut self, key: &'a [u8]) -> Result<Option<RawRow<'a>>, Rejection> {
        self.key(key)
    }

    /// Reads a record key: an object with or without a schema. `None` if it is JSON null.
    fn key<'a>(&mut self, key: &'a [u8]) -> Result<Option<RawRow<'a>>, Rejection> {
        let text = utf8(key, "key")?;
        let (payload, schema) = unwrap(text, &mut self.keys, Part::Key)?;
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

/// What a schema part belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Value,
    Key,
}

/// Splits `{"schema":…,"payload":…}`; text of any other shape is its own payload. The fields are those of `after` in an
/// envelope, else (a key, a flattened row) the struct's own.
fn unwrap<'a>(
    text: &'a str,
    known: &mut KnownSchemas,
    part: Part,
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
    let row_of_envelope = schema.field("after").map(Schema::row_fields).filter(|fields| !fields.is_empty());
    let fields = row_of_envelope.filter(|_| part == Part::Value).unwrap_or_else(|| schema.row_fields());
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
