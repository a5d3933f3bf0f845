//! From the bytes of a record to the JSON that the forms are read from.
//!
//! Nearly every record is JSON already, and its bytes are taken as they are. A few parts are not: a key that is plain text, fields of
//! a flattened row that come as headers, and cells that a form does not write as Kafka Connect's JSON has their types.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::core::record::{Payload, Record};

use super::forms::flat::Added;

/// A record whose parts are JSON; its events point into it.
#[derive(Debug, Default)]
pub struct Opened {
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    /// The value is what follows a schema part that the decoder knows.
    pub(super) is_rest: bool,
    /// Fields of a flattened row that came as headers.
    pub(super) headers: Vec<(Added, Box<RawValue>)>,
    /// Key and value are of TiCDC's open protocol.
    pub(super) is_open_protocol: bool,
    /// Rows whose cells had to be written anew.
    pub(super) cells: OnceLock<String>,
}

impl Opened {
    /// The bytes that the cells of rows point into.
    pub fn value(&self) -> Bytes {
        self.value.clone().unwrap_or_default()
    }
}

/// Whether a value says null: no bytes, or the text that Kafka Connect's converters make of it.
pub fn says_null(value: Option<&Payload>) -> bool {
    const WITH_SCHEMA: &[u8] = b"\"payload\":null}";
    let Some(value) = value else { return true };
    let body = value.body().trim_ascii();
    match value.head().is_empty() {
        true => body == b"null" || (body.starts_with(b"{\"schema\":") && body.ends_with(WITH_SCHEMA)),
        false => body == b"null}",
    }
}

/// The fields of a flattened row among the headers of a record.
pub(super) fn added_headers(record: &Record, prefix: &str) -> Vec<(Added, Box<RawValue>)> {
    let field = |(name, value): (&str, Option<&[u8]>)| {
        let added = super::forms::flat::added(name, prefix)?;
        Some((added, header_json(std::str::from_utf8(value?).ok()?)?))
    };
    record.headers.pairs().filter_map(field).collect()
}

/// A header's value as JSON. Kafka Connect's SimpleHeaderConverter writes text without quotes, its JsonConverter JSON, with a schema or
/// without one.
fn header_json(text: &str) -> Option<Box<RawValue>> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wrapped {
        #[serde(rename = "schema")]
        _schema: serde::de::IgnoredAny,
        payload: Box<RawValue>,
    }
    // Of a list serde would take the items for the fields.
    if text.starts_with('{')
        && let Ok(wrapped) = serde_json::from_str::<Wrapped>(text)
    {
        return Some(wrapped.payload);
    }
    let json = serde_json::from_str::<Box<RawValue>>(text);
    json.or_else(|_| RawValue::from_string(serde_json::Value::from(text).to_string())).ok()
}
