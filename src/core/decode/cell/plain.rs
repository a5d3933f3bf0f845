//! What a cell means where the event has no schema: the type of its column decides.

use bytes::Bytes;
use bytestring::ByteString;

use crate::core::calendar::{parse_date, parse_time, parse_timestamp};
use crate::core::decimal;
use crate::core::table::ColumnType;
use crate::core::text;
use crate::core::value::Value;
use crate::core::wire::Unit;

use super::read::{
    base64, checked_json, date, float, float32, integer, micros, string, time_of_day, timestamp, unscaled, zoned,
};
use super::{Misfit, Read, bad};

/// How values of events without a schema are read where the destination's column alone cannot tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlainRules {
    /// What text in a decimal column is; `None` refuses it.
    pub decimal: Option<PlainDecimal>,
    /// Unit of numbers in time and date-and-time columns; `None` refuses them.
    pub time: Option<PlainTime>,
}

/// See [`PlainRules::decimal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainDecimal {
    /// Base64 of the unscaled number (`decimal.handling.mode=precise`), scale taken from the column.
    Base64,
    /// The number itself as text (`decimal.handling.mode=string`).
    Text,
}

/// See [`PlainRules::time`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainTime {
    /// Milliseconds for columns of up to 3 fraction digits, else microseconds (`time.precision.mode=adaptive`).
    Adaptive,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// Reads a cell of an event without a schema by the type of its column, as Debezium's JSON would write such a column.
pub(super) fn read(json: &str, column: &ColumnType, rules: PlainRules, owner: &Bytes) -> Read {
    let is_text = json.starts_with('"');
    Ok(match column {
        ColumnType::Bool | ColumnType::Int { .. } if json == "true" || json == "false" => Value::Bool(json == "true"),
        // Canal and TiCDC write every value as text.
        ColumnType::Int { .. } if is_text => Value::Int(integer(&string(json, owner)?)?),
        ColumnType::Bool | ColumnType::Int { .. } => Value::Int(integer(json)?),
        ColumnType::Float32 => Value::Float32(float32(json)?),
        ColumnType::Float64 => Value::Float64(float(json)?),
        ColumnType::Decimal { .. } if !is_text => {
            Value::Decimal(decimal::from_notation(json).ok_or_else(|| bad("not a decimal"))?.into())
        }
        ColumnType::Decimal { limit } => match (rules.decimal, limit) {
            (Some(PlainDecimal::Text), _) => Value::Decimal(
                decimal::from_notation(&string(json, owner)?).ok_or_else(|| bad("not a decimal"))?.into(),
            ),
            (Some(PlainDecimal::Base64), Some((_, scale))) => Value::Decimal(unscaled(json, *scale, owner)?),
            (Some(PlainDecimal::Base64), None) => {
                return Err(Misfit::Undecided("base64 in a decimal column without a scale; give the column a scale"));
            }
            (None, _) => {
                return Err(Misfit::Undecided(
                    "text for a decimal column in an event without a schema; set `[plain] decimal` to \"base64\" or \"text\"",
                ));
            }
        },
        ColumnType::Text { .. } => Value::Text(string(json, owner)?),
        ColumnType::Bytes { .. } => Value::Bytes(Bytes::from(base64(json, owner)?)),
        ColumnType::Date if is_text => {
            let text = string(json, owner)?;
            date(parse_date(text.trim_end_matches('Z')).ok_or_else(|| bad("not an ISO date"))?)?
        }
        ColumnType::Date => date(integer(json)?)?,
        ColumnType::Time { .. } | ColumnType::TimeSpan { .. } if is_text => {
            let text = string(json, owner)?;
            Value::Time(parse_time(text.trim_end_matches('Z')).ok_or_else(|| bad("not an ISO time"))?)
        }
        ColumnType::Time { digits } | ColumnType::TimeSpan { digits } => {
            time_of_day(micros(integer(json)?, plain_unit(rules, *digits)?)?)?
        }
        ColumnType::Timestamp { .. } if is_text => {
            let text = string(json, owner)?;
            let (micros, _) = parse_timestamp(&text).ok_or_else(|| bad("not an ISO date and time"))?;
            timestamp(micros)?
        }
        ColumnType::Timestamp { digits } => timestamp(micros(integer(json)?, plain_unit(rules, *digits)?)?)?,
        ColumnType::TimestampTz { .. } => zoned(&string(json, owner)?)?,
        ColumnType::Uuid => Value::Uuid(text::parse_uuid(&string(json, owner)?).ok_or_else(|| bad("not a UUID"))?),
        ColumnType::Json if is_text => Value::Json(checked_json(string(json, owner)?)?),
        ColumnType::Json => Value::Json(ByteString::from(json)),
        _ => return Err(Misfit::DoesNotFit("a column type that is not understood")),
    })
}

fn plain_unit(rules: PlainRules, digits: u8) -> Result<Unit, Misfit> {
    match rules.time {
        Some(PlainTime::Adaptive) if digits <= 3 => Ok(Unit::Millis),
        Some(PlainTime::Adaptive | PlainTime::Micros) => Ok(Unit::Micros),
        Some(PlainTime::Millis) => Ok(Unit::Millis),
        Some(PlainTime::Nanos) => Ok(Unit::Nanos),
        None => Err(Misfit::Undecided(
            "a number for a time column in an event without a schema; set `[plain] time` to \"adaptive\", \"millis\", \"micros\" or \"nanos\"",
        )),
    }
}
