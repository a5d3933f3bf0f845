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
//! | Apicurio | 4 or 8 bytes, big-endian | Avro, JSON Schema, Protobuf |

mod avro;
mod connect;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::event::Rejection;
use super::record::Headers;

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
}

impl std::fmt::Display for SchemaId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short(id) => write!(f, "{id}"),
            Self::Long(id) => write!(f, "{id}"),
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
    if headers.as_bytes().is_empty() {
        return None;
    }
    let name = match part {
        Part::Key => "__key_schema_id",
        Part::Value => "__value_schema_id",
    };
    let value = headers.iter().find(|(known, _)| known == name)?.1?;
    let [1, guid @ ..] = &*value else { return None };
    let hex: String = (guid.len() == 16).then(|| guid.iter().map(|byte| format!("{byte:02x}")).collect())?;
    let guid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    Some(SchemaId::Guid(guid))
}

/// Language of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Avro.
    Avro,
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
pub struct Compiled {
    head: Bytes,
    reader: Reader,
}

#[derive(Debug)]
enum Reader {
    Avro(avro::Reader),
}

/// Makes a schema usable.
pub fn compile(definition: &Definition) -> Result<Compiled, Rejection> {
    let (schema, reader) = match definition.language {
        Language::Avro => {
            let (schema, reader) = avro::compile(definition)?;
            (schema, Reader::Avro(reader))
        }
    };
    Ok(Compiled { head: connect::head(&schema)?, reader })
}

impl Compiled {
    /// `{"schema":…,"payload":`, one piece of memory for all records.
    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// What follows the head: the body's values as JSON and the closing brace. No body may hold more or less than its schema says.
    pub fn transcode(&self, body: &[u8]) -> Result<Bytes, Rejection> {
        let mut json = connect::Json::for_body(body.len());
        match &self.reader {
            Reader::Avro(reader) => reader.read(body, &mut json)?,
        }
        json.raw(b"}")?;
        Ok(json.into_bytes())
    }
}

fn undecodable(what: impl Into<String>) -> Rejection {
    Rejection::new("undecodable", what)
}

fn unsupported(what: impl Into<String>) -> Rejection {
    Rejection::new("unsupported_schema", what)
}
