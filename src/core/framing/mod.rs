//! Records that were written with a schema registry: `0 | schema id | body`.
//!
//! Such a record is *transcoded* where records enter: a schema is [`compile`]d once into the `schema` part of Kafka Connect's
//! JSON and a reader of bodies; each record then is that shared part as its head and its values as JSON behind it. So whatever
//! comes after knows one form only, and tells a schema that it has seen by comparing an address.
//!
//! | framing | id | schema types |
//! |---|---|---|
//! | Confluent | 4 bytes, big-endian | Avro, JSON Schema, Protobuf (with message indexes behind the id) |
//! | Confluent, id in a header | `__key_schema_id`, `__value_schema_id`: 1 and 16 bytes of GUID | the same, no prefix |
//! | Apicurio | 4 or 8 bytes, big-endian | Avro, JSON Schema |
//! | Apicurio, id in a header | `apicurio.key.globalId`, `….contentId`, `apicurio.value.…`: 8 bytes | the same, no prefix |

mod avro;
mod connect;
mod json_schema;
mod protobuf;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::event::Rejection;
use super::record::{Headers, Payload};

/// Which part of a record is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl Part {
    /// As messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }
}

/// Bytes of a schema id behind the zero byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdBytes {
    /// 4, and 8 where the first four are zero: registries count from 1.
    #[default]
    Either,
    /// 4.
    Four,
    /// 8.
    Eight,
}

/// What names a schema in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SchemaId {
    /// A number of 4 bytes.
    Short(u32),
    /// A number of 8 bytes.
    Long(u64),
    /// A GUID, in its text form.
    Guid(String),
    /// A global id of Apicurio.
    Global(u64),
    /// A content id of Apicurio.
    Content(u64),
}

impl std::fmt::Display for SchemaId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short(id) => write!(f, "{id}"),
            Self::Long(id) | Self::Global(id) | Self::Content(id) => write!(f, "{id}"),
            Self::Guid(id) => f.write_str(id),
        }
    }
}

/// Splits bytes into the id of their schema and the body; `None` if they are not framed.
pub fn split(bytes: &Bytes, width: IdBytes) -> Option<(SchemaId, Bytes)> {
    if bytes.first() != Some(&0) {
        return None;
    }
    let short = bytes.get(1..5).and_then(|id| id.try_into().ok()).map(u32::from_be_bytes);
    let long = || bytes.get(1..9).and_then(|id| id.try_into().ok()).map(u64::from_be_bytes);
    match (width, short) {
        (IdBytes::Either | IdBytes::Four, Some(id)) if id > 0 => Some((SchemaId::Short(id), bytes.slice(5..))),
        (IdBytes::Either | IdBytes::Eight, _) => {
            long().filter(|id| *id > 0).map(|id| (SchemaId::Long(id), bytes.slice(9..)))
        }
        _ => None,
    }
}

/// The id of a part's schema in the record's headers.
pub fn header_id(headers: &Headers, part: Part) -> Option<SchemaId> {
    // Most headers are about something else.
    if !headers.as_bytes().windows(9).any(|window| window == b"apicurio." || window == b"schema_id") {
        return None;
    }
    let part = part.name();
    let number = |value: &[u8]| value.try_into().ok().map(u64::from_be_bytes);
    headers.iter().find_map(|(name, value)| match (name.as_str(), &*value?) {
        (name, [1, guid @ ..])
            if name.strip_prefix("__").is_some_and(|rest| rest.strip_prefix(part) == Some("_schema_id")) =>
        {
            guid_text(guid).map(SchemaId::Guid)
        }
        (name, value) => match name.strip_prefix("apicurio.")?.strip_prefix(part)? {
            ".globalId" => number(value).map(SchemaId::Global),
            ".contentId" => number(value).map(SchemaId::Content),
            _ => None,
        },
    })
}

fn guid_text(guid: &[u8]) -> Option<String> {
    let hex: String = (guid.len() == 16).then(|| guid.iter().map(|byte| format!("{byte:02x}")).collect())?;
    Some([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// Language of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Avro.
    Avro,
    /// JSON Schema.
    Json,
    /// Protobuf.
    Protobuf,
}

impl Language {
    /// By the name that registries give it.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "AVRO" => Some(Self::Avro),
            "JSON" => Some(Self::Json),
            "PROTOBUF" => Some(Self::Protobuf),
            _ => None,
        }
    }
}

/// A schema as a registry holds it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its language.
    pub language: Language,
    /// Its text.
    pub text: String,
    /// Schemas that it refers to, by the names it uses, each behind those that it needs itself.
    pub references: Vec<(String, String)>,
}

/// A schema that records can be read by.
#[derive(Debug)]
pub struct Compiled(Reader);

#[derive(Debug)]
enum Reader {
    Avro(Bytes, avro::Reader),
    Json(Bytes, json_schema::Reader),
    /// JSON whose schema says nothing about Connect's types.
    Plain,
    /// The messages of a schema, and those that records were of, by their places, with their heads.
    Protobuf(protobuf::Messages, Mutex<HashMap<Vec<usize>, HeadedMessage>>),
}

/// A message with its head.
type HeadedMessage = (Bytes, Arc<protobuf::Message>);

/// Makes a schema usable.
pub fn compile(definition: &Definition) -> Result<Compiled, Rejection> {
    Ok(Compiled(match definition.language {
        Language::Avro => {
            let (schema, reader) = avro::compile(definition)?;
            Reader::Avro(connect::head(&schema)?, reader)
        }
        Language::Json => match json_schema::compile(definition)? {
            Some((schema, reader)) => Reader::Json(connect::head(&schema)?, reader),
            None => Reader::Plain,
        },
        Language::Protobuf => {
            // The library takes it for granted that a compiled file does not contradict itself.
            let compiled = catch_unwind(AssertUnwindSafe(|| protobuf::compile(definition)));
            let compiled = compiled.unwrap_or_else(|_| Err(unsupported("the Protobuf schema contradicts itself")))?;
            Reader::Protobuf(compiled, Mutex::default())
        }
    }))
}

impl Compiled {
    /// A body as Connect's JSON. Its head, `{"schema":…,"payload":`, is one piece of memory for all records of a type. No body may
    /// hold more or less than its schema says.
    pub fn transcode(&self, body: &Bytes) -> Result<Payload, Rejection> {
        let mut json = connect::Json::for_body(body.len());
        let head = match &self.0 {
            Reader::Plain => {
                json_schema::check(body)?;
                return Ok(Payload::from(body.clone()));
            }
            Reader::Avro(head, reader) => {
                reader.read(body, &mut json)?;
                head.clone()
            }
            Reader::Json(head, reader) => {
                reader.read(body, &mut json)?;
                head.clone()
            }
            Reader::Protobuf(messages, met) => {
                let (path, body) = protobuf::split(body)?;
                let mut met = met.lock().unwrap_or_else(PoisonError::into_inner);
                if !met.contains_key(&path) {
                    let (schema, message) = messages.message(&path)?;
                    met.insert(path.clone(), (connect::head(&schema)?, message));
                }
                let found = met.get(&path).cloned();
                drop(met);
                let (head, message) = found.ok_or_else(|| undecodable("its Protobuf message is not there"))?;
                message.read(body, &mut json)?;
                head
            }
        };
        json.raw(b"}")?;
        Ok(Payload::new(head, json.into_bytes()))
    }
}

fn undecodable(what: impl Into<String>) -> Rejection {
    Rejection::new("undecodable", what)
}

fn unsupported(what: impl Into<String>) -> Rejection {
    Rejection::new("unsupported_schema", what)
}
