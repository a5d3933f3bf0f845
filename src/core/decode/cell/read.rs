//! What a cell means by its wire type.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::calendar::{DAY_MICROS, parse_timestamp};
use crate::core::decimal;
use crate::core::text;
use crate::core::value::Value;
use crate::core::wire::{Unit, WireType};

use super::{Misfit, Read, bad};

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

/// Whole microseconds of a number in a unit.
pub(super) fn micros(number: i64, unit: Unit) -> Result<i64, Misfit> {
    match unit {
        Unit::Millis => number.checked_mul(1000).ok_or_else(|| bad("a time beyond all calendars")),
        Unit::Micros => Ok(number),
        Unit::Nanos if number % 1000 == 0 => Ok(number / 1000),
        Unit::Nanos => Err(Misfit::DoesNotFit("finer than a microsecond")),
    }
}

pub(super) fn time_of_day(micros: i64) -> Read {
    if (0..=DAY_MICROS).contains(&micros) {
        Ok(Value::Time(micros))
    } else {
        Err(Misfit::DoesNotFit("a time below zero or above 24 hours"))
    }
}

/// PostgreSQL's infinite timestamps as Debezium sends them in microseconds (seen in 3.5).
const INFINITE_MICROS: [i64; 2] = [9_223_372_036_825_200_000, -9_223_372_036_832_400_000];
/// PostgreSQL's infinite dates as Debezium streams them; its snapshots send other wrong numbers.
const INFINITE_DAYS: [i64; 2] = [-2_147_472_692, -2_147_472_691];

pub(super) fn timestamp(micros: i64) -> Read {
    if INFINITE_MICROS.contains(&micros) {
        return Err(Misfit::DoesNotFit("an infinite timestamp"));
    }
    Ok(Value::Timestamp(micros))
}

pub(super) fn date(days: i64) -> Read {
    if INFINITE_DAYS.contains(&days) {
        return Err(Misfit::DoesNotFit("an infinite date"));
    }
    i32::try_from(days).map(Value::Date).map_err(|_| bad("a day beyond all calendars"))
}

pub(super) fn zoned(text: &str) -> Read {
    if text == "infinity" || text == "-infinity" {
        return Err(Misfit::DoesNotFit("an infinite timestamp"));
    }
    match parse_timestamp(text) {
        Some((micros, true)) => Ok(Value::TimestampTz(micros)),
        _ => Err(bad("not an ISO date and time with a zone")),
    }
}

/// Reads a cell of an event with a schema.
pub(super) fn read(json: &str, wire: &WireType, owner: &Bytes) -> Read {
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
            Value::Int(number)
        }
        WireType::Year => Value::Int(integer(json)?),
        WireType::Float32 => Value::Float32(float32(json)?),
        WireType::Float64 => Value::Float64(float(json)?),
        WireType::Text | WireType::Xml | WireType::Enum | WireType::EnumSet => Value::Text(string(json, owner)?),
        WireType::Bytes => Value::Bytes(Bytes::from(base64(json, owner)?)),
        WireType::Decimal { scale, .. } => Value::Decimal(unscaled(json, *scale, owner)?),
        WireType::VariableDecimal => {
            #[derive(Deserialize)]
            struct Variable<'a> {
                scale: i32,
                #[serde(borrow)]
                value: &'a RawValue,
            }
            let parts: Variable<'_> = serde_json::from_str(json).map_err(|_| bad("not a decimal with its scale"))?;
            Value::Decimal(unscaled(parts.value.get(), parts.scale, owner)?)
        }
        WireType::Date => date(integer(json)?)?,
        WireType::Time(unit) => time_of_day(micros(integer(json)?, *unit)?)?,
        WireType::Timestamp(unit) => timestamp(micros(integer(json)?, *unit)?)?,
        WireType::ZonedTimestamp => zoned(&string(json, owner)?)?,
        WireType::Uuid => Value::Uuid(text::parse_uuid(&string(json, owner)?).ok_or_else(|| bad("not a UUID"))?),
        WireType::Json => Value::Json(checked_json(string(json, owner)?)?),
        _ => return Err(bad("of a type that is not understood")),
    })
}

pub(super) fn checked_json(text: ByteString) -> Result<ByteString, Misfit> {
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(_) => Err(bad("not JSON")),
    }
}
