//! Rows as JSON text for change logs.

use bytes::Bytes;

use crate::core::text;
use crate::core::unavailable::Unavailable;
use crate::core::value::Value;
use crate::core::wire::{Field, WireType};

use super::fit::fit;
use super::{CellRules, Reader, TEXT};

/// A row as one JSON object for change logs: decimals and times as exact text, everything else as it came. Fields whose value
/// the connector did not see are left out.
pub fn row_json(row: &crate::core::event::RawRow<'_>, unavailable: &Unavailable) -> String {
    let mut json = String::from("{");
    let seen = row.schema.fields.iter().zip(&row.cells).filter(|(_, cell)| !unavailable.is(cell.get()));
    for (field, cell) in seen {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&text::quoted(&field.name));
        json.push(':');
        match exact(cell.get(), field) {
            Some(text) => json.push_str(&text),
            None => json.push_str(cell.get()),
        }
    }
    json.push('}');
    json
}

/// JSON of a value whose form on the wire is not what a reader would take it for; `None` where it stays as it came.
fn exact(json: &str, field: &Field) -> Option<String> {
    let as_it_came = matches!(
        field.kind,
        WireType::Bool
            | WireType::Int { .. }
            | WireType::Float32
            | WireType::Float64
            | WireType::Text
            | WireType::Bytes
            | WireType::Year
            | WireType::Uuid
            | WireType::Json
            | WireType::Xml
            | WireType::Enum
            | WireType::EnumSet
            | WireType::Ltree
            | WireType::Tsvector
            | WireType::Map
            | WireType::Vector { .. }
            | WireType::Untyped
            | WireType::Unsupported { .. }
    );
    if as_it_came || json == "null" {
        return None;
    }
    let (rules, owner) = (CellRules::default(), Bytes::new());
    let value = Reader { rules: &rules, owner: &owner }.read(json, &field.kind, field.declared.as_ref(), &TEXT).ok()?;
    if matches!(value, Value::Array(_) | Value::SparseVector { .. }) {
        return Some(text::json(&value));
    }
    match fit(value, &TEXT, &rules) {
        Ok(Value::Text(exact)) => Some(text::quoted(&exact)),
        _ => None,
    }
}
