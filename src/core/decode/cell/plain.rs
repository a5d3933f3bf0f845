//! What a cell means where the event has no schema: the type of its column decides.

use bytestring::ByteString;

use crate::core::decimal;
use crate::core::table::ColumnType;
use crate::core::value::Value;
use crate::core::wire::{Unit, WireType};

use super::read::{base64, bits, float, float32, integer, string, unscaled};
use super::{Misfit, Read, Reader, bad, compound, no, time, words};

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
    /// The same, but times of day are in microseconds always (`adaptive_time_microseconds`, as MySQL's and MariaDB's connectors
    /// have it where nothing else is said).
    AdaptiveTimeMicros,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

impl Reader<'_> {
    /// Reads a cell of an event without a schema by the type of its column, as Debezium's JSON would write such a column.
    /// Texts are read as the column's type reads texts (Canal and TiCDC write every value as text).
    pub(super) fn plain(self, json: &str, column: &ColumnType) -> Read {
        match json.as_bytes().first() {
            Some(b'"') => self.plain_text(json, column),
            Some(b'[' | b'{') => self.plain_compound(json, column),
            Some(b't' | b'f') if matches!(json, "true" | "false") => Ok(Value::Bool(json == "true")),
            _ => self.plain_number(json, column),
        }
    }

    fn plain_text(self, json: &str, column: &ColumnType) -> Read {
        let owner = self.owner;
        match (column, self.rules.plain.decimal, self.rules.binary) {
            (ColumnType::Decimal { limit: Some((_, scale)) }, Some(PlainDecimal::Base64), _) => {
                Ok(Value::Decimal(unscaled(json, *scale, owner)?))
            }
            (ColumnType::Decimal { .. }, Some(PlainDecimal::Base64), _) => {
                Err(Misfit::Undecided("base64 in a decimal column without a scale; give the column a scale"))
            }
            (ColumnType::Decimal { .. }, None, _) => Err(Misfit::Undecided(
                "text for a decimal column in an event without a schema; set `[plain] decimal` to \"base64\" or \"text\"",
            )),
            (ColumnType::Bytes { .. }, _, None) => Ok(Value::Bytes(base64(json, owner)?.into())),
            (ColumnType::Bits { length: Some(length), varying: false }, ..) => bits(&base64(json, owner)?, *length),
            (ColumnType::Bits { .. }, ..) => {
                Err(no("bits of varying length: the connector does not send how many there are"))
            }
            _ => {
                let text = string(json, owner)?;
                // Words, not digits: a floating point number that is none.
                match column {
                    ColumnType::Float32 | ColumnType::Float64 if float(json).is_ok() => {
                        Ok(Value::Float64(float(json)?))
                    }
                    _ => words::read(&text, column, self.rules),
                }
            }
        }
    }

    fn plain_number(self, json: &str, column: &ColumnType) -> Read {
        Ok(match column {
            ColumnType::Int { unsigned: true, .. } if !json.starts_with('-') => {
                json.parse().map(Value::UInt).map_err(|_| bad("not a whole number of 64 bits"))?
            }
            ColumnType::Bool | ColumnType::Int { .. } | ColumnType::Year => Value::Int(integer(json)?),
            ColumnType::Float32 => Value::Float32(float32(json)?),
            ColumnType::Float64 => Value::Float64(float(json)?),
            ColumnType::Decimal { .. } => {
                Value::Decimal(decimal::from_notation(json).ok_or_else(|| bad("not a decimal"))?.into())
            }
            // Maxwell and TiCDC write bits as a number.
            ColumnType::Bits { length: Some(length), varying: false } => {
                let number: u64 = json.parse().map_err(|_| bad("not bits"))?;
                bits(&number.to_le_bytes(), *length)?
            }
            ColumnType::Date => time::date(integer(json)?)?,
            ColumnType::Time { digits } | ColumnType::TimeSpan { digits } => {
                let unit = match self.rules.plain.time {
                    Some(PlainTime::AdaptiveTimeMicros) => Unit::Micros,
                    _ => self.plain_unit(*digits)?,
                };
                time::time(integer(json)?, unit, column)?
            }
            ColumnType::Timestamp { digits } => time::timestamp(integer(json)?, self.plain_unit(*digits)?, column)?,
            ColumnType::Interval { digits } => {
                time::duration(integer(json)?, self.plain_unit((*digits).max(4))?, column)?
            }
            ColumnType::Json => Value::Json(ByteString::from(json)),
            _ => return Err(bad("a number, of which the column's type does not tell what it means")),
        })
    }

    fn plain_compound(self, json: &str, column: &ColumnType) -> Read {
        let is_list = json.starts_with('[');
        Ok(match column {
            ColumnType::Json => Value::Json(ByteString::from(json)),
            ColumnType::Array { .. } | ColumnType::Vector { .. } if is_list => {
                self.list(json, &WireType::Untyped, column)?
            }
            // Lists and maps have a canonical text, but their elements would have to be known for it.
            ColumnType::Map if !is_list => Value::Map(compound::map(json)?),
            ColumnType::SparseVector { .. } if !is_list => compound::sparse_vector(json)?,
            ColumnType::Point | ColumnType::Geometry { .. } if !is_list => compound::geometry(json)?,
            ColumnType::Bytes { .. } if !is_list => compound::geometry(json)?,
            ColumnType::Decimal { .. } if !is_list => {
                return self.read(json, &WireType::VariableDecimal, None, column);
            }
            ColumnType::Text { .. } => Value::Json(ByteString::from(json)),
            _ => return Err(bad("a list or an object, which the column's type does not hold")),
        })
    }

    fn plain_unit(self, digits: u8) -> Result<Unit, Misfit> {
        match self.rules.plain.time {
            Some(PlainTime::Adaptive | PlainTime::AdaptiveTimeMicros) if digits <= 3 => Ok(Unit::Millis),
            Some(PlainTime::Adaptive | PlainTime::AdaptiveTimeMicros | PlainTime::Micros) => Ok(Unit::Micros),
            Some(PlainTime::Millis) => Ok(Unit::Millis),
            Some(PlainTime::Nanos) => Ok(Unit::Nanos),
            None => Err(Misfit::Undecided(
                "a number for a time column in an event without a schema; set `[plain] time` to \"adaptive\", \"adaptive_time_microseconds\", \"millis\", \"micros\" or \"nanos\"",
            )),
        }
    }
}
