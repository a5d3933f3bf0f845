//! Values of MySQL's and TiDB's types as Canal and TiCDC write them, and as Kafka Connect's JSON has them.
//!
//! Facts: TiCDC's documentation and source (canal-json writes numbers, dates and bits as text, binary values as text of one
//! character (ISO 8859-1) a byte, ENUM and SET as their numbers; the open protocol writes texts and blobs as base64), Canal's
//! documentation. What is not sure stays untyped: the column decides.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::value::RawValue;

use crate::core::calendar::{parse_date, parse_timestamp};
use crate::core::event::{RawRow, Rejection};
use crate::core::wire::{Field, Unit, WireType};

use super::super::row::{Schemas, without_schema};

/// A type, and how its values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole number that fits into so many bits, signed.
    Int(u8),
    /// BIGINT UNSIGNED, the number of a SET.
    Unsigned,
    Float,
    Double,
    Decimal {
        precision: u32,
        scale: u8,
    },
    /// A number of which the type is not told: a decimal, bits.
    Number,
    Date,
    Timestamp,
    Year,
    Text,
    Json,
    /// Text of one character a byte.
    Latin1,
    /// Base64 of a text.
    TextInBase64,
    /// Base64.
    Base64,
    /// Not sure.
    Unknown,
    /// It cannot be read exactly.
    Refused,
}

impl Kind {
    /// A type as Canal's `mysqlType` names it: `bigint(20) unsigned`, `decimal(10,2)`, `datetime(3)`.
    pub(super) fn of_name(name: &str) -> Self {
        let lower = name.to_ascii_lowercase();
        let base = lower.split(['(', ' ']).next().unwrap_or_default();
        let is_unsigned = lower.contains(" unsigned");
        let limits = lower.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(limits, _)| limits);
        match (base, is_unsigned) {
            ("tinyint", false) => Self::Int(8),
            ("smallint", false) | ("tinyint", true) => Self::Int(16),
            ("mediumint" | "int" | "integer", false) | ("smallint" | "mediumint", true) => Self::Int(32),
            ("bigint", false) | ("int" | "integer", true) => Self::Int(64),
            ("bigint", true) => Self::Unsigned,
            ("float", _) => Self::Float,
            ("double", _) => Self::Double,
            ("decimal" | "numeric", _) => match limits.unwrap_or("10,0").split_once(',').or(limits.map(|it| (it, "0")))
            {
                Some((precision, scale)) => match (precision.trim().parse(), scale.trim().parse()) {
                    (Ok(precision), Ok(scale)) if scale <= 30 => Self::Decimal { precision, scale },
                    _ => Self::Unknown,
                },
                None => Self::Decimal { precision: 10, scale: 0 },
            },
            ("date", _) => Self::Date,
            ("datetime" | "timestamp", _) => Self::Timestamp,
            ("year", _) => Self::Year,
            ("char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext", _) => Self::Text,
            ("json", _) => Self::Json,
            ("binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob", _) => Self::Latin1,
            ("enum", _) => Self::Int(32),
            ("set", _) => Self::Unsigned,
            ("bit", _) => Self::Number,
            _ => Self::Unknown,
        }
    }

    /// A type as the open protocol writes it: MySQL's number of the type, and flags of the column (1 binary, 128 unsigned).
    pub(super) fn of_code(code: u8, flags: u64) -> Self {
        let (is_binary, is_unsigned) = (flags & 1 != 0, flags & 128 != 0);
        match (code, is_unsigned) {
            (1 | 2, false) => Self::Int(16),
            (3 | 9, false) | (1 | 2 | 9, true) => Self::Int(32),
            (8, false) | (3, true) => Self::Int(64),
            (8, true) | (248, _) => Self::Unsigned,
            (0 | 16 | 246, _) => Self::Number,
            (4, _) => Self::Float,
            (5, _) => Self::Double,
            (10 | 14, _) => Self::Date,
            (7 | 12, _) => Self::Timestamp,
            (13, _) => Self::Year,
            (15 | 253 | 254, _) if is_binary => Self::Refused,
            (15 | 253 | 254, _) => Self::Text,
            (245, _) => Self::Json,
            (247, _) => Self::Int(32),
            (249..=252, _) if is_binary => Self::Base64,
            (249..=252, _) => Self::TextInBase64,
            _ => Self::Unknown,
        }
    }

    fn wire(self) -> WireType {
        match self {
            Self::Int(bits) => WireType::Int { bits },
            Self::Unsigned => WireType::Decimal { scale: 0, precision: Some(20) },
            Self::Float => WireType::Float32,
            Self::Double => WireType::Float64,
            Self::Decimal { precision, scale } => {
                WireType::Decimal { scale: i32::from(scale), precision: Some(precision) }
            }
            Self::Date => WireType::Date,
            Self::Timestamp => WireType::Timestamp(Unit::Micros),
            Self::Year => WireType::Year,
            Self::Text | Self::TextInBase64 => WireType::Text,
            Self::Json => WireType::Json,
            Self::Latin1 | Self::Base64 => WireType::Bytes,
            Self::Number | Self::Unknown => WireType::Untyped,
            Self::Refused => WireType::Unsupported { name: "binary text of TiCDC's open protocol".into() },
        }
    }

    /// A value as Kafka Connect's JSON has it. What is no value of the type is left as it is where its reader cannot take it for one.
    pub(super) fn cell(self, json: &str) -> Cow<'_, str> {
        if json == "null" || self == Self::Unknown {
            return Cow::Borrowed(json);
        }
        let text: Cow<'_, str> = match json.starts_with('"') {
            true => serde_json::from_str::<String>(json).map_or(Cow::Borrowed(""), Cow::Owned),
            false => Cow::Borrowed(json),
        };
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let written = match self {
            Self::Int(_) | Self::Unsigned | Self::Year => text.parse::<i128>().ok().map(|number| number.to_string()),
            Self::Float | Self::Double | Self::Decimal { .. } | Self::Number => {
                is_number(&text).then(|| text.into_owned())
            }
            Self::Date => parse_date(&text).map(|days| days.to_string()),
            Self::Timestamp => parse_timestamp(&text).filter(|(_, zoned)| !zoned).map(|(micros, _)| micros.to_string()),
            Self::Latin1 => {
                let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
                bytes.map(|bytes| quoted(&BASE64.encode(bytes)))
            }
            Self::TextInBase64 => {
                BASE64.decode(text.as_bytes()).ok().and_then(|bytes| Some(quoted(&String::from_utf8(bytes).ok()?)))
            }
            Self::Text | Self::Json | Self::Base64 | Self::Refused | Self::Unknown => return Cow::Borrowed(json),
        };
        let unread = match self {
            Self::Unsigned | Self::Decimal { .. } | Self::Number | Self::TextInBase64 => UNREADABLE,
            _ => json,
        };
        written.map_or(Cow::Borrowed(unread), Cow::Owned)
    }
}

/// For decimals and texts, whose readers take other texts too.
const UNREADABLE: &str = "{}";

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// The types of a row's columns.
pub(super) struct Kinds<'k>(HashMap<&'k str, Kind>);

impl<'k> Kinds<'k> {
    /// Types by the names of their columns.
    pub(super) fn new(kinds: impl IntoIterator<Item = (&'k str, Kind)>) -> Self {
        Self(kinds.into_iter().collect())
    }

    fn of(&self, column: &str) -> Kind {
        self.0.get(column).copied().unwrap_or(Kind::Unknown)
    }

    /// A row as JSON, with its cells written as Kafka Connect writes them.
    pub(super) fn row_json(&self, row: Option<&RawValue>) -> Result<String, Rejection> {
        let Some(row) = row else { return Ok("null".to_owned()) };
        let row = without_schema(row, &mut Schemas::default(), "data")?;
        let cell = |(field, cell): (&Field, &&RawValue)| {
            let name = serde_json::Value::from(field.name.as_str());
            format!("{name}:{}", self.of(&field.name).cell(cell.get()))
        };
        let cells: Vec<String> = row.schema.fields.iter().zip(&row.cells).map(cell).collect();
        Ok(format!("{{{}}}", cells.join(",")))
    }

    /// A row with the types of its columns.
    pub(super) fn typed<'a>(&self, row: RawRow<'a>, known: &mut Schemas) -> RawRow<'a> {
        let typed = |field: &Field| Field::new(field.name.as_str(), self.of(&field.name).wire(), true);
        let fields: Vec<Field> = row.schema.fields.iter().map(typed).collect();
        RawRow { schema: known.find(|known| known == fields, || fields.clone()), cells: row.cells }
    }
}

#[cfg(test)]
mod tests;
