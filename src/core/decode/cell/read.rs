//! What a cell means by its wire type: plain values. Times are in [`super::time`], lists and shapes in [`super::compound`].
//!
//! The column's type is asked only where one meaning has several forms: finer times, and spans as numbers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::decimal;
use crate::core::table::ColumnType;
use crate::core::text;
use crate::core::value::Value;
use crate::core::wire::{Declared, WireType};

use super::{Misfit, Read, Reader, bad, compound, no, time};

/// The text of a JSON string; shares the record's memory unless it holds an escape.
pub(super) fn string(json: &str, owner: &Bytes) -> Result<ByteString, Misfit> {
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(|| bad("not text"))?;
    if inner.contains('\\') {
        return serde_json::from_str::<String>(json).map(ByteString::from).map_err(|_| bad("not text"));
    }
    let range = owner.as_ptr() as usize..=owner.as_ptr() as usize + owner.len();
    if range.contains(&(inner.as_ptr() as usize)) && range.contains(&(inner.as_ptr() as usize + inner.len())) {
        return ByteString::try_from(owner.slice_ref(inner.as_bytes())).map_err(|_| bad("not UTF-8"));
    }
    Ok(ByteString::from(inner))
}

pub(super) fn base64(json: &str, owner: &Bytes) -> Result<Vec<u8>, Misfit> {
    BASE64.decode(string(json, owner)?.as_bytes()).map_err(|_| bad("not base64"))
}

pub(super) fn integer(json: &str) -> Result<i64, Misfit> {
    json.parse().map_err(|_| bad("not a whole number of 64 bits"))
}

pub(super) fn float(json: &str) -> Result<f64, Misfit> {
    match json {
        "\"NaN\"" => Ok(f64::NAN),
        "\"Infinity\"" => Ok(f64::INFINITY),
        "\"-Infinity\"" => Ok(f64::NEG_INFINITY),
        number if number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
            number.parse().ok().filter(|number: &f64| number.is_finite()).ok_or(bad("not a number of double precision"))
        }
        _ => Err(bad("not a number")),
    }
}

pub(super) fn float32(json: &str) -> Result<f32, Misfit> {
    // Parsed as single precision at once: going through f64 would round twice.
    if json.starts_with('"') {
        float(json).map(|number| number as f32)
    } else {
        json.parse().ok().filter(|number: &f32| number.is_finite()).ok_or(bad("not a number of single precision"))
    }
}

pub(super) fn unscaled(json: &str, scale: i32, owner: &Bytes) -> Result<ByteString, Misfit> {
    let text = if json.starts_with('"') {
        decimal::from_unscaled(&base64(json, owner)?, scale)
    } else {
        decimal::from_notation(json)
    };
    text.map(ByteString::from).ok_or_else(|| bad("not a decimal"))
}

pub(super) fn checked_json(text: ByteString) -> Result<ByteString, Misfit> {
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(_) => Err(bad("not JSON")),
    }
}

/// Zeros in front of the bits that were sent, at most: what a schema says of a length takes no memory by itself.
const BITS_PADDING: u64 = 1 << 16;

/// Little-endian bytes, as long as their content needs, as a string of `length` bits, the first bit the highest.
pub(super) fn bits(little: &[u8], length: u32) -> Read {
    let highest = little.iter().rposition(|byte| *byte != 0);
    let used = highest.map_or(0, |at| 8 * at as u64 + u64::from(8 - little[at].leading_zeros()));
    if used > u64::from(length) {
        return Err(bad("more bits than its type has"));
    }
    if u64::from(length) > 8 * little.len() as u64 + BITS_PADDING {
        return Err(no("bits of a type that is longer by more than 65,536 than what was sent"));
    }
    let mut bytes = vec![0u8; (length as usize).div_ceil(8)];
    for number in 0..used as u32 {
        if little[number as usize / 8] >> (number % 8) & 1 == 1 {
            let place = length - 1 - number;
            bytes[place as usize / 8] |= 0x80 >> (place % 8);
        }
    }
    Ok(Value::Bits { length, bytes: bytes.into() })
}

impl Reader<'_> {
    /// Reads a cell of an event with a schema.
    pub(super) fn read(self, json: &str, wire: &WireType, declared: Option<&Declared>, column: &ColumnType) -> Read {
        let owner = self.owner;
        Ok(match wire {
            WireType::Bool => match json {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => return Err(bad("not a truth value")),
            },
            WireType::Int { bits } => {
                let number = integer(json)?;
                let limit = 1i128 << (bits - 1);
                if !(-limit..limit).contains(&i128::from(number)) {
                    return Err(bad("a whole number beyond its type"));
                }
                // `bigint.unsigned.handling.mode=long` sends what lies above the signed range as its two's complement.
                if number < 0 && declared.is_some_and(|declared| declared.kind.starts_with("BIGINT UNSIGNED")) {
                    return fit_unsigned(number, column);
                }
                Value::Int(number)
            }
            WireType::Year => Value::Int(integer(json)?),
            WireType::Float32 => Value::Float32(float32(json)?),
            WireType::Float64 => Value::Float64(float(json)?),
            WireType::Text
            | WireType::Xml
            | WireType::Enum
            | WireType::EnumSet
            | WireType::Ltree
            | WireType::Tsvector => Value::Text(string(json, owner)?),
            WireType::Bytes => Value::Bytes(Bytes::from(base64(json, owner)?)),
            WireType::Decimal { scale, .. } => Value::Decimal(unscaled(json, *scale, owner)?),
            WireType::VariableDecimal => {
                #[derive(Deserialize)]
                struct Variable<'a> {
                    scale: i32,
                    #[serde(borrow)]
                    value: &'a RawValue,
                }
                let parts: Variable<'_> =
                    serde_json::from_str(json).map_err(|_| bad("not a decimal with its scale"))?;
                Value::Decimal(unscaled(parts.value.get(), parts.scale, owner)?)
            }
            WireType::Uuid => Value::Uuid(text::parse_uuid(&string(json, owner)?).ok_or_else(|| bad("not a UUID"))?),
            WireType::Json => Value::Json(checked_json(string(json, owner)?)?),
            WireType::Bits { length } => return self.bits(json, *length, declared, column),
            WireType::Geometry(_) => compound::geometry(json)?,
            WireType::Circle => compound::circle(json, column)?,
            WireType::Line => compound::line(json, column)?,
            WireType::Vector { double } => {
                let element = if *double { WireType::Float64 } else { WireType::Float32 };
                self.list(json, &element, column)?
            }
            WireType::SparseVector => compound::sparse_vector(json)?,
            WireType::Array(element) => self.list(json, element, column)?,
            WireType::Map => Value::Map(compound::map(json)?),
            WireType::Date
            | WireType::Time(_)
            | WireType::Timestamp(_)
            | WireType::ZonedTimestamp
            | WireType::ZonedTime
            | WireType::Interval
            | WireType::Duration(_)
            | WireType::IsoDate
            | WireType::IsoTime
            | WireType::IsoTimestamp
            | WireType::Structured(_) => time::read(json, wire, column, owner)?,
            WireType::Untyped | WireType::Unsupported { .. } => return Err(bad("of a type that is not understood")),
        })
    }

    /// The connector sends a number, so zeros at the begin of a `bit varying` value are lost and with them its length.
    fn bits(self, json: &str, length: Option<u32>, declared: Option<&Declared>, column: &ColumnType) -> Read {
        let little = base64(json, self.owner)?;
        if matches!(column, ColumnType::Bytes { .. }) {
            return Ok(Value::Bytes(little.into()));
        }
        let kind = declared.map(|declared| declared.kind.as_str());
        let varying = matches!(kind, Some("VARBIT" | "BIT VARYING"))
            || (matches!(column, ColumnType::Bits { varying: true, .. }) && kind != Some("BIT"));
        match length {
            Some(length) if !varying => bits(&little, length),
            _ => Err(no(
                "bits of varying length: the connector does not send how many there are; a bytes column takes what it sends",
            )),
        }
    }
}

/// A number of `BIGINT UNSIGNED` that came negative.
fn fit_unsigned(number: i64, column: &ColumnType) -> Read {
    match column {
        ColumnType::Int { unsigned: false, .. } => Err(no("a whole number outside of the column's range")),
        _ => Ok(Value::UInt(number as u64)),
    }
}
