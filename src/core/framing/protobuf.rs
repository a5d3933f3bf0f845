//! Protobuf: message indexes, and messages by descriptors that are compiled from the registry's text.
//!
//! | Protobuf | Connect |
//! |---|---|
//! | `uint64`, `fixed64` | `Decimal` of scale 0, because no number of Connect holds them |
//! | `google.protobuf.Timestamp` | `io.debezium.time.MicroTimestamp`; finer values are refused |
//! | `google.type.Date`, `google.type.TimeOfDay` | `Date`, `io.debezium.time.MicroTime` |
//! | `google.protobuf.…Value` | the value, or null |
//! | `confluent.type.Decimal` | `Decimal` of the scale that the field's `confluent.field_meta` says, else `VariableScaleDecimal` |
//! | other messages | struct or null; lists and maps as they are; the members of a `oneof` are fields that may be null |
//!
//! A scalar without presence (proto3 without `optional`) that was null at the source comes as 0, `""` or false: the wire cannot tell.
//! What the serialiser's `confluent.field_meta` keeps of Connect (`connect.name`, `connect.type`, other parameters) is taken over.
//!
//! Source: Confluent's wire format and `ProtobufData`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, FileDescriptor, Kind as Proto, MapKey, MessageDescriptor,
    ReflectMessage, Value,
};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use crate::core::calendar::{civil_from_days, days_from_civil};
use crate::core::event::Rejection;

use super::connect::{DEPTH, Json, Kind, Schema, names, quoted};
use super::{Definition, undecodable, unsupported};

/// The name under which the schema itself is compiled; no import can have it.
const ROOT: &str = "\u{1}schema.proto";

/// Deepest nesting of a text.
const BRACES: usize = 100;

/// Files that registries know without being told.
const KNOWN: [(&str, &str); 4] = [
    (
        "confluent/meta.proto",
        r#"syntax = "proto3"; package confluent; import "google/protobuf/descriptor.proto";
        message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; repeated Rule rules = 4; }
        message Rule { string name = 1; string doc = 2; string expr = 3; string sql = 4; }
        extend google.protobuf.FileOptions { Meta file_meta = 1088; }
        extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
        extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
        extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
        extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }"#,
    ),
    (
        "confluent/type/decimal.proto",
        r#"syntax = "proto3"; package confluent.type;
        message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }"#,
    ),
    (
        "google/type/date.proto",
        r#"syntax = "proto3"; package google.type; message Date { int32 year = 1; int32 month = 2; int32 day = 3; }"#,
    ),
    (
        "google/type/timeofday.proto",
        r#"syntax = "proto3"; package google.type;
        message TimeOfDay { int32 hours = 1; int32 minutes = 2; int32 seconds = 3; int32 nanos = 4; }"#,
    ),
];

/// The texts of a definition, and those that are known.
struct Texts(Definition);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let reference = || self.0.references.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str());
        let known = || KNOWN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        let text = if name == ROOT { Some(self.0.text.as_str()) } else { reference().or_else(known) };
        let text = text.ok_or_else(|| protox::Error::file_not_found(name))?;
        // A registry may keep a compiled file in place of its text.
        match BASE64.decode(text.trim()) {
            Ok(mut bytes) => {
                // Field 1 is the file's name, and the last one counts: so it has the name by which it was asked for, and keeps options
                // that the descriptor's own type does not know.
                bytes.push(0x0a);
                let mut length = name.len();
                while length >= 0x80 {
                    bytes.push(length as u8 | 0x80);
                    length >>= 7;
                }
                bytes.push(length as u8);
                bytes.extend(name.as_bytes());
                File::decode_file_descriptor_proto(bytes.as_slice()).map_err(protox::Error::new)
            }
            Err(_) => File::from_source(name, text),
        }
    }
}

/// A message of the schema, ready for bodies.
#[derive(Debug)]
pub(super) struct Message {
    descriptor: MessageDescriptor,
    fields: Vec<(FieldDescriptor, String, Node)>,
}

/// How a field's value is written.
#[derive(Debug)]
enum Node {
    /// As its kind says.
    Scalar,
    /// A whole number of 64 bits without sign, as a decimal.
    Unsigned,
    /// The value in a message around it.
    Wrapped(Box<Node>),
    Timestamp,
    Date,
    Time,
    /// Of this scale, or of its own.
    Decimal(Option<i64>),
    Message(Arc<Message>),
    List(Box<Node>),
    Map(Box<Node>, bool),
}

/// A message's schema with how it is read.
type Typed = (Arc<Schema>, Arc<Message>);

/// Descriptors of a schema.
#[derive(Debug)]
pub(super) struct Messages(FileDescriptor);

/// Compiles a schema's text.
pub(super) fn compile(definition: &Definition) -> Result<Messages, Rejection> {
    let texts = definition.references.iter().map(|(_, text)| text).chain([&definition.text]);
    if texts.into_iter().any(|text| braces(text) > BRACES) {
        return Err(unsupported(format!("the Protobuf schema is nested deeper than {BRACES}")));
    }
    let mut resolver = ChainFileResolver::new();
    resolver.add(GoogleFileResolver::new());
    resolver.add(Texts(definition.clone()));
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    let failed = |error: protox::Error| unsupported(format!("the Protobuf schema cannot be compiled: {error}"));
    compiler.open_file(ROOT).map_err(failed)?;
    let pool: DescriptorPool = compiler.descriptor_pool();
    // A compiled file may say of any message that it is an entry of a map.
    let is_torn = |entry: &MessageDescriptor| (1..=2).any(|number| entry.get_field(number).is_none());
    if let Some(entry) = pool.all_messages().find(|message| message.is_map_entry() && is_torn(message)) {
        let what = format!("the Protobuf message {} is a map's entry without a key or a value", entry.full_name());
        return Err(unsupported(what));
    }
    let file = pool.get_file_by_name(ROOT).ok_or_else(|| unsupported("the Protobuf schema holds no file"))?;
    Ok(Messages(file))
}

/// Deepest nesting of braces: the parser goes down with them.
fn braces(text: &str) -> usize {
    let deepest = text.bytes().fold((0_usize, 0_usize), |(depth, deepest), byte| match byte {
        b'{' => (depth + 1, deepest.max(depth + 1)),
        b'}' => (depth.saturating_sub(1), deepest),
        _ => (depth, deepest),
    });
    deepest.1
}

/// Splits a body into the place of its message in the schema and the message's bytes.
pub(super) fn split(body: &[u8]) -> Result<(Vec<usize>, &[u8]), Rejection> {
    let mut rest = body;
    let count = index(&mut rest)?;
    if count == 0 {
        return Ok((vec![0], rest));
    }
    if count > DEPTH {
        return Err(undecodable(format!("its message lies deeper than {DEPTH} in its Protobuf schema")));
    }
    let path: Result<Vec<usize>, Rejection> = (0..count).map(|_| index(&mut rest)).collect();
    Ok((path?, rest))
}

/// A zig-zag number that is not below zero.
fn index(rest: &mut &[u8]) -> Result<usize, Rejection> {
    let mut number = 0_u64;
    for shift in (0..35).step_by(7) {
        let Some((byte, behind)) = rest.split_first() else { break };
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            if number & 1 == 1 {
                break;
            }
            return usize::try_from(number >> 1).map_err(|_| undecodable("its Protobuf message index is too large"));
        }
    }
    Err(undecodable("its Protobuf message indexes cannot be read"))
}

impl Messages {
    /// The message at a place of the schema: an index among the file's messages, then among those inside.
    pub(super) fn message(&self, path: &[usize]) -> Result<Typed, Rejection> {
        let missing = || undecodable("its Protobuf schema has no message at the record's message indexes");
        let (first, inner) = path.split_first().ok_or_else(missing)?;
        let mut descriptor = self.0.messages().nth(*first).ok_or_else(missing)?;
        for place in inner {
            let child = descriptor.child_messages().nth(*place);
            descriptor = child.ok_or_else(missing)?;
        }
        Compiler::default().message(&descriptor)
    }
}

#[derive(Default)]
struct Compiler {
    /// Messages by their full names; `None` while one is being compiled.
    known: HashMap<String, Option<Typed>>,
}

impl Compiler {
    fn message(&mut self, descriptor: &MessageDescriptor) -> Result<Typed, Rejection> {
        let name = descriptor.full_name();
        match self.known.get(name) {
            Some(Some(known)) => return Ok(known.clone()),
            Some(None) => {
                return Err(unsupported(format!("the Protobuf message {name} contains itself, which rows cannot")));
            }
            None => {}
        }
        if self.known.values().filter(|known| known.is_none()).count() > DEPTH {
            return Err(unsupported(format!("the Protobuf schema is nested deeper than {DEPTH}")));
        }
        self.known.insert(name.to_owned(), None);
        let (mut fields, mut nodes) = (Vec::new(), Vec::new());
        for field in descriptor.fields() {
            let (schema, node) = self.field(&field)?;
            fields.push((field.name().to_owned(), Arc::new(schema)));
            nodes.push((field.clone(), quoted(field.name()), node));
        }
        let mut schema = Schema::named(Kind::Struct(fields), name);
        schema.check_depth()?;
        if let Some(own) = meta(descriptor.options(), "confluent.message_meta").get("connect.name") {
            schema.name = Some(own.clone());
        }
        let message = Message { descriptor: descriptor.clone(), fields: nodes };
        let typed = (Arc::new(schema), Arc::new(message));
        self.known.insert(name.to_owned(), Some(typed.clone()));
        Ok(typed)
    }

    fn field(&mut self, field: &FieldDescriptor) -> Result<(Schema, Node), Rejection> {
        let meta = meta(field.options(), "confluent.field_meta");
        if field.is_map()
            && let Proto::Message(entry) = field.kind()
        {
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            let (keys, _) = self.single(&key, &BTreeMap::new())?;
            let (mut values, node) = self.single(&value, &BTreeMap::new())?;
            values.optional = false;
            let is_text = matches!(key.kind(), Proto::String);
            let schema = Schema::of(Kind::Map(Arc::new(keys), Arc::new(values)));
            return Ok((schema, Node::Map(Box::new(node), is_text)));
        }
        let (mut schema, node) = self.single(field, &meta)?;
        if field.is_list() {
            schema.optional = false;
            return Ok((Schema::of(Kind::Array(Arc::new(schema))), Node::List(Box::new(node))));
        }
        schema.optional =
            field.supports_presence() && !matches!(field.cardinality(), prost_reflect::Cardinality::Required);
        Ok((schema, node))
    }

    /// One value of a field.
    fn single(
        &mut self,
        field: &FieldDescriptor,
        meta: &BTreeMap<String, String>,
    ) -> Result<(Schema, Node), Rejection> {
        let (schema, node) = match field.kind() {
            Proto::Double => (Schema::of(Kind::Float64), Node::Scalar),
            Proto::Float => (Schema::of(Kind::Float32), Node::Scalar),
            Proto::Int32 | Proto::Sint32 | Proto::Sfixed32 => {
                let kind = match meta.get("connect.type").map(String::as_str) {
                    Some("int8") => Kind::Int8,
                    Some("int16") => Kind::Int16,
                    _ => Kind::Int32,
                };
                (Schema::of(kind), Node::Scalar)
            }
            Proto::Uint32 | Proto::Fixed32 | Proto::Int64 | Proto::Sint64 | Proto::Sfixed64 => {
                (Schema::of(Kind::Int64), Node::Scalar)
            }
            Proto::Uint64 | Proto::Fixed64 => {
                (Schema::named(Kind::Bytes, names::DECIMAL).with("scale", 0), Node::Unsigned)
            }
            Proto::Bool => (Schema::of(Kind::Boolean), Node::Scalar),
            Proto::String | Proto::Enum(_) => (Schema::of(Kind::String), Node::Scalar),
            Proto::Bytes => (Schema::of(Kind::Bytes), Node::Scalar),
            Proto::Message(message) => return self.special(&message, meta),
        };
        Ok((described(schema, meta), node))
    }

    fn special(
        &mut self,
        message: &MessageDescriptor,
        meta: &BTreeMap<String, String>,
    ) -> Result<(Schema, Node), Rejection> {
        Ok(match message.full_name() {
            "google.protobuf.Timestamp" => (Schema::named(Kind::Int64, names::MICRO_TIMESTAMP), Node::Timestamp),
            "google.type.Date" => (Schema::named(Kind::Int32, names::DATE), Node::Date),
            "google.type.TimeOfDay" => (Schema::named(Kind::Int64, names::MICRO_TIME), Node::Time),
            "confluent.type.Decimal" => match meta.get("scale").and_then(|scale| scale.parse::<i64>().ok()) {
                Some(scale) => {
                    let mut schema = Schema::named(Kind::Bytes, names::DECIMAL).with("scale", scale);
                    if let Some(precision) = meta.get("precision").filter(|precision| *precision != "64") {
                        schema = schema.with("connect.decimal.precision", precision);
                    }
                    (schema, Node::Decimal(Some(scale)))
                }
                None => {
                    let part = |name: &str, kind| (name.to_owned(), Arc::new(Schema::of(kind)));
                    let fields = vec![part("scale", Kind::Int32), part("value", Kind::Bytes)];
                    (Schema::named(Kind::Struct(fields), names::VARIABLE_DECIMAL), Node::Decimal(None))
                }
            },
            name if name.starts_with("google.protobuf.") && name.ends_with("Value") && message.fields().len() == 1 => {
                let inner = message.get_field(1).ok_or_else(|| unsupported(format!("{name} has no field 1")))?;
                let (schema, node) = self.single(&inner, meta)?;
                (schema, Node::Wrapped(Box::new(node)))
            }
            _ => {
                let (schema, message) = self.message(message)?;
                ((*schema).clone(), Node::Message(message))
            }
        })
    }
}

/// What the serialiser kept of Connect beside a field or a message.
fn meta(options: DynamicMessage, extension: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let pool = options.descriptor().parent_pool().clone();
    let Some(extension) = pool.get_extension_by_name(extension) else { return found };
    let value = options.get_extension(&extension);
    let params = value.as_message().and_then(|meta| meta.get_field_by_name("params"));
    for (key, value) in params.as_deref().and_then(Value::as_map).into_iter().flatten() {
        if let (MapKey::String(key), Some(value)) = (key, value.as_str()) {
            found.insert(key.clone(), value.to_owned());
        }
    }
    found
}

fn described(mut schema: Schema, meta: &BTreeMap<String, String>) -> Schema {
    for (key, value) in meta {
        match key.as_str() {
            "connect.name" => schema.name = Some(value.clone()),
            "connect.version" => schema.version = value.parse().ok(),
            "connect.type" | "connect.default" => {}
            _ => schema = schema.with(key, value),
        }
    }
    schema
}

impl Message {
    /// Writes a body as JSON.
    pub(super) fn read(&self, body: &[u8], json: &mut Json) -> Result<(), Rejection> {
        let message = DynamicMessage::decode(self.descriptor.clone(), body)
            .map_err(|_| undecodable("the record's bytes are not of its Protobuf schema"))?;
        self.write(&message, json)
    }

    fn write(&self, message: &DynamicMessage, json: &mut Json) -> Result<(), Rejection> {
        if message.unknown_fields().next().is_some() {
            return Err(undecodable("the record has a field that its Protobuf schema does not have"));
        }
        json.list(b"{", b"}", &self.fields, |(field, name, node), json| {
            json.raw(name.as_bytes())?;
            json.raw(b":")?;
            if field.supports_presence() && !message.has_field(field) {
                return json.raw(b"null");
            }
            write(node, field, &message.get_field(field), json)
        })
    }
}

fn write(node: &Node, field: &FieldDescriptor, value: &Value, json: &mut Json) -> Result<(), Rejection> {
    match (node, value) {
        (Node::List(items), Value::List(values)) => {
            json.list(b"[", b"]", values, |value, json| write(items, field, value, json))
        }
        (Node::Map(values, is_text), Value::Map(entries)) => map(values, *is_text, field, entries, json),
        (Node::Unsigned, Value::U64(number)) => {
            // As Java writes it: big-endian, no more bytes than the number and its sign need.
            let bytes = number.to_be_bytes();
            let skip = bytes.iter().take(7).take_while(|byte| **byte == 0).count();
            let sign: &[u8] = if bytes[skip] >= 0x80 { &[0] } else { &[] };
            json.base64(&[sign, &bytes[skip..]].concat())
        }
        (Node::Message(message), Value::Message(inner)) => message.write(inner, json),
        (Node::Wrapped(node), Value::Message(inner)) => {
            let field = inner.descriptor().get_field(1).ok_or_else(|| undecodable("a wrapper without a value"))?;
            write(node, &field, &inner.get_field(&field), json)
        }
        (Node::Timestamp, Value::Message(time)) => {
            let (seconds, nanos) = (number(time, "seconds"), number(time, "nanos"));
            let micros = seconds.checked_mul(1_000_000).and_then(|micros| micros.checked_add(nanos / 1000));
            match micros.filter(|_| nanos % 1000 == 0) {
                Some(micros) => json.plain(micros),
                None => {
                    Err(undecodable("a google.protobuf.Timestamp that is finer than a microsecond, or too far away"))
                }
            }
        }
        (Node::Date, Value::Message(date)) => {
            let (year, month, day) = (number(date, "year"), number(date, "month"), number(date, "day"));
            let (month, day) = (u32::try_from(month).unwrap_or(0), u32::try_from(day).unwrap_or(0));
            let days = days_from_civil(year.clamp(0, 10_000), month.clamp(1, 12), day.clamp(1, 31));
            // Parts that are 0 stand for "not known": no day.
            if !(1..=9999).contains(&year) || civil_from_days(days) != (year, month, day) {
                return Err(undecodable("a google.type.Date that is no day"));
            }
            json.plain(days)
        }
        (Node::Time, Value::Message(time)) => {
            let (hours, minutes) = (number(time, "hours"), number(time, "minutes"));
            let (seconds, nanos) = (number(time, "seconds"), number(time, "nanos"));
            let is_time = (0..=24).contains(&hours) && (0..60).contains(&minutes) && (0..60).contains(&seconds);
            if !is_time || nanos % 1000 != 0 {
                return Err(undecodable("a google.type.TimeOfDay that is no time, or finer than a microsecond"));
            }
            json.plain(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + nanos / 1000)
        }
        (Node::Decimal(scale), Value::Message(decimal)) => {
            let own = number(decimal, "scale");
            let value = decimal.get_field_by_name("value");
            let bytes = value.as_deref().and_then(Value::as_bytes).map(|bytes| &**bytes).unwrap_or_default();
            match scale {
                Some(scale) if *scale == own => json.base64(bytes),
                Some(_) => Err(undecodable("a confluent.type.Decimal of another scale than its field's")),
                None => {
                    json.raw(format!("{{\"scale\":{own},\"value\":").as_bytes())?;
                    json.base64(bytes)?;
                    json.raw(b"}")
                }
            }
        }
        (Node::Scalar, value) => scalar(field, value, json),
        _ => Err(undecodable("the record's bytes are not of its Protobuf schema")),
    }
}

fn map(
    node: &Node,
    is_text: bool,
    field: &FieldDescriptor,
    entries: &HashMap<MapKey, Value>,
    json: &mut Json,
) -> Result<(), Rejection> {
    let Proto::Message(entry) = field.kind() else { return Err(undecodable("a map that is none")) };
    let (key_field, value_field) = (entry.map_entry_key_field(), entry.map_entry_value_field());
    // The wire has no order; the same map is always the same text.
    let mut ordered: Vec<(&MapKey, &Value)> = entries.iter().collect();
    ordered.sort_by_key(|(key, _)| *key);
    let (brackets, parts): ([&[u8]; 2], [&[u8]; 3]) =
        if is_text { ([b"{", b"}"], [b"", b":", b""]) } else { ([b"[", b"]"], [b"[", b",", b"]"]) };
    json.list(brackets[0], brackets[1], ordered, |(key, value), json| {
        json.raw(parts[0])?;
        scalar(&key_field, &Value::from(key.clone()), json)?;
        json.raw(parts[1])?;
        write(node, &value_field, value, json)?;
        json.raw(parts[2])
    })
}

fn scalar(field: &FieldDescriptor, value: &Value, json: &mut Json) -> Result<(), Rejection> {
    match value {
        Value::Bool(value) => json.plain(value),
        Value::I32(value) => json.plain(value),
        Value::I64(value) => json.plain(value),
        Value::U32(value) => json.plain(value),
        Value::U64(value) => json.plain(value),
        Value::F32(value) => json.float(*value),
        Value::F64(value) => json.double(*value),
        Value::String(value) => json.text(value),
        Value::Bytes(value) => json.base64(value),
        Value::EnumNumber(number) => {
            let Proto::Enum(kind) = field.kind() else { return json.plain(number) };
            let value = kind.get_value(*number);
            let value = value.ok_or_else(|| undecodable("an enum value that its Protobuf schema does not have"))?;
            json.text(value.name())
        }
        _ => Err(undecodable("the record's bytes are not of its Protobuf schema")),
    }
}

/// A whole number in a message; 0 where it is not set, as Protobuf means it.
fn number(message: &DynamicMessage, name: &str) -> i64 {
    match message.get_field_by_name(name).as_deref() {
        Some(Value::I64(number)) => *number,
        Some(Value::I32(number)) => i64::from(*number),
        _ => 0,
    }
}
