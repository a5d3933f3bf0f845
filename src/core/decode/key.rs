//! Record keys: objects, values and lists of values without names, plain text.
//!
//! Names are needed to find the columns. An object has them; for the other kinds `key = […]` of the rule gives them, in order. A key
//! without names that nothing names is no key; a change log needs none.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::core::event::{RawRow, Rejection, RowSchema};
use crate::core::wire::{Field, WireType};

use super::row::{Schemas, plain};

/// What the bytes of record keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// JSON: an object, a list or a single value.
    Json,
    /// Plain text (`StringConverter`).
    Text,
    /// A number of eight bytes, the highest first (`LongConverter`).
    Long,
    /// No key of the row; it is not looked at.
    None,
}

impl KeyFormat {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "string",
            Self::Long => "long",
            Self::None => "none",
        }
    }
}

/// A record key as JSON. Without a format the bytes tell: text that is no JSON is plain text.
pub(super) fn as_json(key: &Bytes, format: Option<KeyFormat>) -> Result<Option<Bytes>, Rejection> {
    match format {
        Some(KeyFormat::None) => Ok(None),
        Some(KeyFormat::Json) => Ok(Some(key.clone())),
        Some(KeyFormat::Long) => {
            let number: [u8; 8] = key.as_ref().try_into().map_err(|_| {
                Rejection::new("undecodable", "the record key has not the eight bytes of `key_format = \"long\"`")
            })?;
            Ok(Some(i64::from_be_bytes(number).to_string().into()))
        }
        Some(KeyFormat::Text) => match std::str::from_utf8(key) {
            Ok(text) => Ok(Some(quoted(text))),
            Err(_) => {
                Err(Rejection::new("undecodable", "the record key is no text, as `key_format = \"string\"` says"))
            }
        },
        // What is neither text nor JSON is left as it is, for the error of the form that reads it.
        None => Ok(Some(match std::str::from_utf8(key) {
            // The framing of schema registries begins with a zero byte.
            Ok(text) if !text.starts_with('\0') && !is_json(text) => quoted(text),
            _ => key.clone(),
        })),
    }
}

fn quoted(text: &str) -> Bytes {
    serde_json::Value::from(text).to_string().into()
}

fn is_json(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with(['{', '[', '"']) || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// A key without names: a value, or a list of values. `described` is its schema, if it has one. `None` where nothing names it.
pub(super) fn unnamed<'a>(
    key: &'a RawValue,
    described: Option<&RowSchema>,
    names: &[impl AsRef<str>],
    known: &mut Schemas,
) -> Result<Option<RawRow<'a>>, Rejection> {
    if names.is_empty() || key.get() == "null" {
        return Ok(None);
    }
    let cells: Vec<&'a RawValue> = if key.get().starts_with('[') {
        serde_json::from_str(key.get()).map_err(|error| {
            Rejection::new("undecodable", format!("the record key cannot be read: {}", plain(&error)))
        })?
    } else {
        vec![key]
    };
    if cells.len() != names.len() {
        let what = format!("the record key has {} values, but {} key columns are named", cells.len(), names.len());
        return Err(Rejection::table("no_key", what));
    }
    let kind = match described.map(|schema| schema.fields.as_slice()) {
        Some([only]) if cells.len() == 1 => only.kind.clone(),
        _ => WireType::Untyped,
    };
    let fits = |fields: &[Field]| {
        fields.len() == names.len()
            && fields.iter().zip(names).all(|(field, name)| field.name == name.as_ref() && field.kind == kind)
    };
    let make = || names.iter().map(|name| Field::new(name.as_ref(), kind.clone(), false)).collect();
    Ok(Some(RawRow { schema: known.find(fits, make), cells }))
}

/// Refuses a key without names whose values are not those of the row's columns: it is the key of something else.
pub(super) fn is_of_row(key: &RawRow<'_>, row: Option<&RawRow<'_>>) -> Result<(), Rejection> {
    let Some(row) = row else { return Ok(()) };
    for (field, cell) in key.schema.fields.iter().zip(&key.cells) {
        let other = row.schema.position(&field.name).and_then(|at| row.cells.get(at));
        if other.is_some_and(|other| bare(other) != bare(cell)) {
            let what = format!(
                "the record key is not the value of the row's column {:?}, which `key` says it is; if the key is something else, set `key_format = \"none\"`",
                field.name
            );
            return Err(Rejection::table("no_key", what));
        }
    }
    Ok(())
}

/// The text of a value, whether it is written as JSON text or not.
fn bare(cell: &RawValue) -> Cow<'_, str> {
    match cell.get().starts_with('"') {
        true => serde_json::from_str::<String>(cell.get()).map_or(Cow::Borrowed(cell.get()), Cow::Owned),
        false => Cow::Borrowed(cell.get()),
    }
}

#[cfg(test)]
mod tests;
