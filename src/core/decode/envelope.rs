//! The forms of a record.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::event::{Control, Decoded, Op, RawEvent, RawRow, Rejection, RowSchema};
use crate::core::record::{Payload, Record};

use super::forms::flat::FlatRows;
use super::forms::{self, Form, Input, check_rows, cloudevents, cockroach, open_protocol, record, text_of};
use super::key::{self, KeyFormat};
use super::open::{Opened, added_headers};
use super::position::SourceBlock;
use super::row::{Schemas, plain, with_schema, without_schema};
use super::wrapped::{KnownSchemas, Part, trim, unwrap};

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
                "the value is no change event of a form that can be told from its fields: Debezium's envelope (`op`, `source`, `before`, `after`), a flattened row (`__op` or `__deleted` among its fields), the record form (`source_table`, `op`, `key`, `source_position`), Debezium's CloudEvents, Maxwell, Canal, TiCDC, GoldenGate, CockroachDB; a `[[table]]` rule can name the form, and must for AWS DMS and rows without a mark, with `format = \"…\"`",
            )
        })
    }
}

/// How the records of a topic are read, as far as the configuration says.
#[derive(Clone, Debug, Default)]
pub struct TopicRules {
    /// The form of all records; without one each record's own bytes tell it.
    pub form: Option<Form>,
    /// Names of the key columns, for record keys that are values without names.
    pub key_columns: Vec<String>,
    /// What the bytes of record keys are; without one they tell it.
    pub key_format: Option<KeyFormat>,
    /// What the names of a flattened row's added fields begin with, if not `__`.
    pub flat_prefix: Option<String>,
}

/// Reads the records of one topic.
#[derive(Debug, Default)]
pub struct TopicDecoder {
    values: KnownSchemas,
    keys: KnownSchemas,
    plain_rows: Schemas,
    plain_keys: Schemas,
    flat_rows: FlatRows,
    rules: TopicRules,
    met: Option<Met>,
}

/// What the last event was read as.
#[derive(Clone, Copy, Debug)]
pub struct Met {
    /// Its form.
    pub form: Form,
    /// It has a schema part.
    pub has_schema: bool,
    /// What the record key is that was read for it: an object, a value or a list; empty where none was.
    pub key: &'static str,
}

/// A record key, and whether it names its columns itself.
struct Key<'a> {
    row: RawRow<'a>,
    is_named: bool,
}

impl TopicDecoder {
    /// A decoder by these rules.
    pub fn new(rules: TopicRules) -> Self {
        let flat_rows = FlatRows::new(rules.flat_prefix.clone());
        Self { rules, flat_rows, ..Self::default() }
    }

    /// Prepares a record for [`read`](Self::read), which must be the next call.
    pub fn open(&mut self, record: &Record) -> Result<Opened, Rejection> {
        if let Some(why) = record.refused() {
            return Err(why.clone());
        }
        let may_be = |wanted: Form| self.rules.form.is_none_or(|form| form == wanted);
        let is_open_protocol = may_be(Form::Ticdc) && record.key.as_deref().is_some_and(open_protocol::is_key);
        let key = match &record.key {
            Some(key) if !is_open_protocol => self.open_key(key)?,
            key => key.clone(),
        };
        let headers = if may_be(Form::Flat) { added_headers(record, self.flat_rows.prefix()) } else { Vec::new() };
        // Behind a schema that is known the rest says everything; the value is put together only where it is not.
        let rest =
            record.value.as_ref().filter(|value| self.values.knows(value.head())).map(|value| value.body().clone());
        let is_rest = rest.is_some();
        let value = rest.or_else(|| record.value.as_ref().map(Payload::whole));
        Ok(Opened { key, value, is_rest, headers, is_open_protocol, cells: OnceLock::new() })
    }

    /// Tells what a record is. Rows of the result point into it.
    pub fn read<'a>(&mut self, topic: &str, opened: &'a Opened) -> Result<Decoded<'a>, Rejection> {
        let key = opened.key.as_deref();
        if opened.is_open_protocol {
            let bytes = (key.unwrap_or_default(), opened.value.as_deref().unwrap_or_default());
            self.met = Some(Met { form: Form::Ticdc, has_schema: false, key: "" });
            return open_protocol::decode(topic, bytes, &opened.cells, (&mut self.plain_rows, &mut self.plain_keys));
        }
        let decoded = match &opened.value {
            None => Decoded::Null,
            Some(value) if opened.is_rest => {
                let row = self.values.prefixes.first().map(|known| Arc::clone(&known.row));
                let payload = utf8(value, "value")?.strip_suffix('}').map(trim);
                let cut = || Rejection::new("undecodable", "the value does not end with its object");
                self.payload(topic, key, payload.ok_or_else(cut)?, row, opened)?
            }
            Some(value) => {
                let (payload, schema) = unwrap(utf8(value, "value")?, &mut self.values, Part::Value)?;
                self.payload(topic, key, payload, schema, opened)?
            }
        };
        match decoded {
            Decoded::Null if self.rules.form == Some(Form::Cockroach) => Err(cockroach::null_value()),
            Decoded::Null if !opened.headers.is_empty() => {
                let key = key.map(|key| self.key(key)).transpose()?.flatten();
                let event = self.flat_rows.null_delete(topic, key.map(|key| key.row), &opened.headers)?;
                Ok(event.map_or(Decoded::Null, Decoded::Change))
            }
            decoded => Ok(decoded),
        }
    }

    /// As [`read`](Self::read), of a key and a value that are JSON.
    #[cfg(test)]
    pub fn decode<'a>(
        &mut self,
        topic: &str,
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
    ) -> Result<Decoded<'a>, Rejection> {
        let Some(value) = value else { return Ok(Decoded::Null) };
        let (payload, schema) = unwrap(utf8(value, "value")?, &mut self.values, Part::Value)?;
        let opened: &'a Opened = Box::leak(Box::default());
        self.payload(topic, key, payload, schema, opened)
    }

    fn payload<'a>(
        &mut self,
        topic: &str,
        key: Option<&'a [u8]>,
        payload: &'a str,
        schema: Option<Arc<RowSchema>>,
        Opened { headers, cells, .. }: &'a Opened,
    ) -> Result<Decoded<'a>, Rejection> {
        if payload == "null" {
            return Ok(Decoded::Null);
        }
        // Of a list serde would take the items for the fields.
        if !payload.trim_start().starts_with('{') {
            return Err(Rejection::new("undecodable", "the value is no JSON object"));
        }
        let top: Top<'a> = serde_json::from_str(payload).map_err(|error| {
            Rejection::new("undecodable", format!("the value is not a change event: {}", plain(&error)))
        })?;
        // A flattened row may have columns of any name; it is no control record.
        let is_flat = top.__op.is_some() || top.__deleted.is_some() || headers.iter().any(|(added, _)| added.marks());
        if let Some(control) = control_of(topic, &top).filter(|_| !is_flat) {
            return Ok(Decoded::Control(control));
        }
        let form = match self.rules.form {
            Some(form) => form,
            None if is_flat => Form::Flat,
            None => top.form(payload)?,
        };
        self.met = Some(Met { form, has_schema: schema.is_some(), key: "" });
        match form {
            Form::Debezium => self.debezium(key, &top, schema),
            Form::CloudEvents => self.cloudevent(topic, key, payload),
            Form::Flat => {
                let key = key.map(|key| self.key(key)).transpose()?.flatten();
                let (key, is_named) = key.map_or((None, true), |key| (Some(key.row), key.is_named));
                let event = self.flat_rows.event(topic, payload, schema.as_ref(), key, headers)?;
                check_key(event, is_named).map(Decoded::Change)
            }
            Form::Record => {
                record::event(topic, payload, &mut self.plain_rows, &mut self.plain_keys).map(Decoded::Change)
            }
            form => {
                let (rows, keys) = (&mut self.plain_rows, &mut self.plain_keys);
                let key_columns = &self.rules.key_columns;
                forms::decode(form, Input { topic, key, payload, schema, key_columns, rows, keys, cells })
            }
        }
    }

    /// What the last record that held an event was read as.
    pub fn met(&self) -> Option<Met> {
        self.met
    }

    fn cloudevent<'a>(
        &mut self,
        topic: &str,
        key: Option<&'a [u8]>,
        payload: &'a str,
    ) -> Result<Decoded<'a>, Rejection> {
        let said = cloudevents::attributes(topic, payload)?;
        let op = said.op.as_deref().map(operation).transpose()?;
        if op == Some(None) {
            return Ok(Decoded::Control(Control::Message));
        }
        let (data, schema) = unwrap(said.data.get(), &mut self.values, Part::Value)?;
        if let Some(met) = &mut self.met {
            met.has_schema = schema.is_some();
        }
        let images = cloudevents::images(data, op.flatten())?;
        let [before, after] = self.images(images, schema.as_ref())?;
        let op = op.flatten().unwrap_or(if after.is_some() { Op::Upsert } else { Op::Delete });
        let key = key.map(|key| self.key(key)).transpose()?.flatten();
        let (key, is_named) = key.map_or((None, true), |key| (Some(key.row), key.is_named));
        let event = RawEvent {
            op,
            op_text: said.op.unwrap_or(if op == Op::Delete { "d".into() } else { "u".into() }),
            table: said.table,
            source: said.source,
            position: said.position,
            ends_snapshot: said.ends_snapshot,
            source_time_ms: said.source_time_ms,
            transaction: said.transaction,
            key,
            before,
            after,
        };
        check_rows(&event)?;
        check_key(event, is_named).map(Decoded::Change)
    }

    /// A row before and after.
    fn images<'a>(
        &mut self,
        [before, after]: [Option<&'a RawValue>; 2],
        schema: Option<&Arc<RowSchema>>,
    ) -> Result<[Option<RawRow<'a>>; 2], Rejection> {
        let mut row = |part: Option<&'a RawValue>, name| {
            part.map(|part| match schema {
                Some(schema) => with_schema(part, schema, name),
                None => without_schema(part, &mut self.plain_rows, name),
            })
            .transpose()
        };
        Ok([row(before, "before")?, row(after, "after")?])
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
        let Some(op) = operation(&op_text)? else { return Ok(Decoded::Control(Control::Message)) };
        let source: SourceBlock<'a> = serde_json::from_str(source.get())
            .map_err(|error| Rejection::new("undecodable", format!("`source` cannot be read: {}", plain(&error))))?;
        let is_row = |part: &&RawValue| part.get().starts_with('{');
        if source.is_of_documents() && ![top.before, top.after].iter().flatten().any(is_row) {
            let what = "MongoDB's events hold documents, not rows; flatten them with the transform `ExtractNewDocumentState` (`format = \"flat\"`)";
            return Err(Rejection::table("unsupported_form", what));
        }
        let [before, after] = self.images([top.before, top.after], schema.as_ref())?;
        let key = key.map(|key| self.key(key)).transpose()?.flatten();
        let (key, is_named) = key.map_or((None, true), |key| (Some(key.row), key.is_named));
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
        check_key(event, is_named).map(Decoded::Change)
    }

    /// A record key as JSON, for [`decode_key`](Self::decode_key). `None` if it is not to be looked at.
    pub fn open_key(&self, key: &Bytes) -> Result<Option<Bytes>, Rejection> {
        key::as_json(key, self.rules.key_format)
    }

    /// The record key of a record without a value.
    pub fn decode_key<'a>(&mut self, key: &'a [u8]) -> Result<Option<RawRow<'a>>, Rejection> {
        Ok(self.key(key)?.map(|key| key.row))
    }

    /// Reads a record key. `None` if it is JSON null, or values without names that nothing names.
    fn key<'a>(&mut self, key: &'a [u8]) -> Result<Option<Key<'a>>, Rejection> {
        let text = utf8(key, "key")?;
        let (payload, schema) = unwrap(text, &mut self.keys, Part::Key)?;
        let raw: &RawValue = serde_json::from_str(payload).map_err(|error| {
            Rejection::new("undecodable", format!("the record key cannot be read: {}", plain(&error)))
        })?;
        if let Some(met) = &mut self.met {
            met.key = match raw.get().as_bytes().first() {
                Some(b'{') => "object",
                Some(b'[') => "list",
                _ => "value",
            };
        }
        if !raw.get().starts_with('{') {
            let names = &self.rules.key_columns;
            let row = key::unnamed(raw, schema.as_deref(), names, &mut self.plain_keys)?;
            return Ok(row.map(|row| Key { row, is_named: false }));
        }
        let row = match schema {
            Some(schema) => with_schema(raw, &schema, "key")?,
            None => without_schema(raw, &mut self.plain_keys, "key")?,
        };
        Ok(Some(Key { row, is_named: true }))
    }
}

/// An operation of Debezium's; `None` for one that changes no row.
fn operation(text: &str) -> Result<Option<Op>, Rejection> {
    match text {
        "c" | "u" | "r" => Ok(Some(Op::Upsert)),
        "d" => Ok(Some(Op::Delete)),
        "t" => Ok(Some(Op::Truncate)),
        "m" => Ok(None),
        _ => Err(Rejection::new("undecodable", "`op` is none of c, u, r, d, t, m")),
    }
}

/// Refuses an event whose key has no names of its own and is not its row's.
fn check_key(event: RawEvent<'_>, is_named: bool) -> Result<RawEvent<'_>, Rejection> {
    match &event.key {
        Some(key) if !is_named => key::is_of_row(key, event.after.as_ref().or(event.before.as_ref())).map(|()| event),
        _ => Ok(event),
    }
}

fn utf8<'a>(bytes: &'a [u8], part: &str) -> Result<&'a str, Rejection> {
    std::str::from_utf8(bytes).map_err(|error| {
        Rejection::new("undecodable", format!("the {part} is not UTF-8 from byte {}", error.valid_up_to()))
    })
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
