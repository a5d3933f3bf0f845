//! Kafka Connect's JSON with schemas: `{"schema":…,"payload":…}`.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::event::{Rejection, RowSchema};

use super::row::Schemas;
use super::schema::Schema;

/// A schema part that was parsed, with the bytes that lead to its payload: `{"schema":…,"payload":`.
#[derive(Debug)]
pub(super) struct Known {
    prefix: Bytes,
    /// Fields of the row (of `after`, `before`), or of a key.
    pub(super) row: Arc<RowSchema>,
}

/// Schema parts that are remembered by their bytes: a topic may carry several tables by turns.
const REMEMBERED_PREFIXES: usize = 32;

/// The schema parts that were met, the last one first.
#[derive(Debug, Default)]
pub(super) struct KnownSchemas {
    pub(super) prefixes: Vec<Known>,
    /// Their lists of fields: a schema part that differs in its bytes only has the fields of one that was met.
    fields: Schemas,
}

impl KnownSchemas {
    /// Whether these bytes are a prefix that is known; it is the first one then.
    pub(super) fn knows(&mut self, head: &Bytes) -> bool {
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
pub(super) fn trim(json: &str) -> &str {
    json.trim_end_matches([' ', '\t', '\r', '\n'])
}

/// What a schema part belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Value,
    Key,
}

/// Splits `{"schema":…,"payload":…}`; text of any other shape is its own payload. The fields are those of `after` in an
/// envelope, else (a key, a flattened row) the struct's own.
pub(super) fn unwrap<'a>(
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
