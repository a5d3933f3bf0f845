//! SQLite.
//!
//! SQLite has no types for decimals, dates, times and the like. Their columns are of text affinity and say in the name of
//! their type what the text is (`DECIMAL_TEXT(10,2)`, `TIMESTAMPTZ_TEXT`), so that events without a schema are understood too; see
//! `sink::sqlite::describe`. STRICT tables cannot have such names. What may be finer than a microsecond is plain text.

use crate::core::wire::{Field, Structured, Unit, WireType};

use super::is_document;

/// See [`super::native_type`].
pub(super) fn column_type(field: &Field) -> String {
    let declared = field.declared.as_ref().map_or("", |declared| declared.kind.as_str());
    let named = match &field.kind {
        WireType::Int { .. } if declared.starts_with("BIGINT UNSIGNED") => "DECIMAL_TEXT(20,0)",
        WireType::Bool | WireType::Int { .. } | WireType::Year => "INTEGER",
        WireType::Float32 | WireType::Float64 => "REAL",
        WireType::Decimal { scale: scale @ 0.., precision: Some(precision) } => {
            return format!("DECIMAL_TEXT({precision},{scale})");
        }
        WireType::Decimal { .. } | WireType::VariableDecimal => "DECIMAL_TEXT",
        WireType::Date | WireType::IsoDate | WireType::Structured(Structured::Date) => "DATE_TEXT",
        // The digits tell the unit of numbers in events without a schema.
        WireType::Time(Unit::Millis) => "TIME_TEXT(3)",
        WireType::Time(Unit::Micros) => "TIME_TEXT",
        WireType::Timestamp(Unit::Millis) => "TIMESTAMP_TEXT(3)",
        WireType::Timestamp(Unit::Micros) => "TIMESTAMP_TEXT",
        WireType::ZonedTimestamp => "TIMESTAMPTZ_TEXT",
        WireType::ZonedTime => "TIMETZ_TEXT",
        WireType::Interval | WireType::Duration(Unit::Millis | Unit::Micros) => "DURATION_TEXT",
        WireType::Uuid => "UUID_TEXT",
        kind if is_document(kind) => "JSON_TEXT",
        // Bits of varying length come without their length: as bytes.
        WireType::Bits { length: Some(length) } if !matches!(declared, "VARBIT" | "BIT VARYING") => {
            return format!("BITS_TEXT({length})");
        }
        WireType::Bytes | WireType::Bits { .. } => "BLOB",
        WireType::Geometry(_) => "GEOMETRY_BLOB",
        _ => "TEXT",
    };
    named.to_owned()
}
