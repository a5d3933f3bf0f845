//! Rows as JSON text for change logs.

use bytes::Bytes;

use crate::core::unavailable::Unavailable;
use crate::core::value::Value;
use crate::core::wire::WireType;

use super::fit::fit_text;
use super::read::read;

/// A row as one JSON object for change logs: decimals and times as exact text, everything else as it came. Fields whose value
/// the connector did not see are left out.
pub fn row_json(row: &crate::core::event::RawRow<'_>, unavailable: &Unavailable) -> String {
    let mut json = String::from("{");
    let seen = row.schema.fields.iter().zip(&row.cells).filter(|(_, cell)| !unavailable.is(cell.get()));
    for (field, cell) in seen {
        if json.len() > 1 {
            json.push(',');
        }
        // Writing text as JSON cannot fail.
        json.push_str(&serde_json::to_string(&field.name).unwrap_or_default());
        json.push(':');
        match exact_text(cell.get(), &field.kind) {
            Some(text) => json.push_str(&serde_json::to_string(&text).unwrap_or_default()),
            None => json.push_str(cell.get()),
        }
    }
    json.push('}');
    json
}

fn exact_text(json: &str, wire: &WireType) -> Option<String> {
    let decoded = matches!(
        wire,
        WireType::Decimal { .. }
            | WireType::VariableDecimal
            | WireType::Date
            | WireType::Time(_)
            | WireType::Timestamp(_)
    );
    if !decoded || json == "null" {
        return None;
    }
    match fit_text(read(json, wire, &Bytes::new()).ok()?, None) {
        Ok(Value::Text(text)) => Some(text.to_string()),
        _ => None,
    }
}
