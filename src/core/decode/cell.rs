//! From a cell on the wire to a value that a column holds exactly, or a reason why not.
//!
//! Two steps: the wire type says what the cell means, the column's type says whether it can hold that. A value is never
//! rounded, cut, clamped, shifted or guessed.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::calendar::{DAY_MICROS, parse_date, parse_time, parse_timestamp};
use crate::core::decimal;
use crate::core::table::ColumnType;
use crate::core::text;
use crate::core::unavailable::Unavailable;
use crate::core::value::Value;
use crate::core::wire::{Unit, WireType};

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

/// Why a cell cannot become a value of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The cell is not what its wire type says.
    Undecodable(&'static str),
    /// The column cannot hold it without loss.
    DoesNotFit(&'static str),
    /// The connector did not see the value (unchanged TOAST or LOB).
    Placeholder,
    /// Something has to be configured first.
    Undecided(&'static str),
}

/// How cells are read: what is configured for their table.
#[derive(Clone, Debug, Default)]
pub struct CellRules {
    /// For events without a schema.
    pub plain: PlainRules,
    /// What stands for a value that the connector did not see.
    pub unavailable: Arc<Unavailable>,
}

/// Converts a cell for a column. `owner` holds the record's bytes, so that text need not be copied.
pub fn fit_cell(
    cell: &RawValue,
    wire: &WireType,
    column: &ColumnType,
    rules: &CellRules,
    owner: &Bytes,
) -> Result<Value, Misfit> {
    let json = cell.get();
    if json == "null" {
        return Ok(Value::Null);
    }
    if rules.unavailable.is(json) {
        return Err(Misfit::Placeholder);
    }
    let value = match wire {
        WireType::Untyped => read_untyped(json, column, rules.plain, owner)?,
        typed => read_typed(json, typed, owner)?,
    };
    fit(value, column)
}

type Read = Result<Value, Misfit>;

fn bad(what: &'static str) -> Misfit {
    Misfit::Undecodable(what)
}

/// The text of a JSON string; shares the record's memory unless it holds an escape.
fn string(json: &str, owner: &Bytes) -> Result<ByteString, Misfit> {
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

fn base64(json: &str, owner: &Bytes) -> Result<Vec<u8>, Misfit> {
    BASE64.decode(string(json, owner)?.as_bytes()).map_err(|_| bad("not base64"))
}

fn integer(json: &str) -> Result<i64, Misfit> {
    json.parse().map_err(|_| bad("not a whole number of 64 bits"))
}

fn float(json: &str) -> Result<f64, Misfit> {
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

fn float32(json: &str) -> Result<f32, Misfit> {
    // Parsed as single precision at once: going through f64 would round twice.
    if json.starts_with('"') {
        float(json).map(|number| number as f32)
    } else {
        json.parse().ok().filter(|number: &f32| number.is_finite()).ok_or(bad("not a number of single precision"))
    }
}

fn unscaled(json: &str, scale: i32, owner: &Bytes) -> Result<ByteString, Misfit> {
    let text = if json.starts_with('"') {
        decimal::from_unscaled(&base64(json, owner)?, scale)
    } else {
        decimal::from_notation(json)
    };
    text.map(ByteString::from).ok_or_else(|| bad("not a decimal"))
}

/// Whole microseconds of a number in a unit.
fn micros(number: i64, unit: Unit) -> Result<i64, Misfit> {
    match unit {
        Unit::Millis => number.checked_mul(1000).ok_or_else(|| bad("a time beyond all calendars")),
        Unit::Micros => Ok(number),
        Unit::Nanos if number % 1000 == 0 => Ok(number / 1000),
        Unit::Nanos => Err(Misfit::DoesNotFit("finer than a microsecond")),
    }
}

fn time_of_day(micros: i64) -> Read {
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

fn timestamp(micros: i64) -> Read {
    if INFINITE_MICROS.contains(&micros) {
        return Err(Misfit::DoesNotFit("an infinite timestamp"));
    }
    Ok(Value::Timestamp(micros))
}

fn date(days: i64) -> Read {
    if INFINITE_DAYS.contains(&days) {
        return Err(Misfit::DoesNotFit("an infinite date"));
    }
    i32::try_from(days).map(Value::Date).map_err(|_| bad("a day beyond all calendars"))
}

fn zoned(text: &str) -> Read {
    if text == "infinity" || text == "-infinity" {
        return Err(Misfit::DoesNotFit("an infinite timestamp"));
    }
    match parse_timestamp(text) {
        Some((micros, true)) => Ok(Value::TimestampTz(micros)),
        _ => Err(bad("not an ISO date and time with a zone")),
    }
}

fn read_typed(json: &str, wire: &WireType, owner: &Bytes) -> Read {
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
        WireType::Untyped | WireType::Unsupported { .. } => return Err(bad("of a type that is not understood")),
    })
}

fn checked_json(text: ByteString) -> Result<ByteString, Misfit> {
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(_) => Err(bad("not JSON")),
    }
}

/// Reads a cell of an event without a schema by the type of its column, as Debezium's JSON would write such a column.
fn read_untyped(json: &str, column: &ColumnType, rules: PlainRules, owner: &Bytes) -> Read {
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
        ColumnType::Time { .. } if is_text => {
            let text = string(json, owner)?;
            Value::Time(parse_time(text.trim_end_matches('Z')).ok_or_else(|| bad("not an ISO time"))?)
        }
        ColumnType::Time { digits } => time_of_day(micros(integer(json)?, plain_unit(rules, *digits)?)?)?,
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
        ColumnType::Unsupported => return Err(Misfit::DoesNotFit("a column type that is not understood")),
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

/// Whether a column can hold a value exactly, and as what.
fn fit(value: Value, column: &ColumnType) -> Read {
    let no = Misfit::DoesNotFit;
    match (column, value) {
        (_, Value::Null) => Ok(Value::Null),
        (ColumnType::Bool, value @ Value::Bool(_)) => Ok(value),
        (ColumnType::Bool, Value::Int(number @ (0 | 1))) => Ok(Value::Bool(number == 1)),
        (ColumnType::Int { .. }, Value::Bool(truth)) => Ok(Value::Int(i64::from(truth))),
        (ColumnType::Int { bits, unsigned }, Value::Int(number)) => fit_integer(i128::from(number), *bits, *unsigned),
        (ColumnType::Int { bits, unsigned }, Value::Decimal(digits)) => {
            let whole = decimal::fit(&digits, 38, 0).and_then(|digits| digits.parse::<i128>().ok());
            fit_integer(whole.ok_or(no("a number that is not whole, or too large"))?, *bits, *unsigned)
        }
        (ColumnType::Float32, value @ Value::Float32(_)) => Ok(value),
        (ColumnType::Float32, Value::Float64(number)) if number.is_nan() || f64::from(number as f32) == number => {
            Ok(Value::Float32(number as f32))
        }
        (ColumnType::Float64, value @ Value::Float64(_)) => Ok(value),
        (ColumnType::Float64, Value::Float32(number)) => Ok(Value::Float64(f64::from(number))),
        (ColumnType::Float64, Value::Int(number)) if number.unsigned_abs() <= 1 << 53 => {
            Ok(Value::Float64(number as f64))
        }
        (ColumnType::Decimal { limit }, Value::Decimal(digits)) => fit_decimal(digits, *limit),
        (ColumnType::Decimal { limit }, Value::Int(number)) => fit_decimal(number.to_string().into(), *limit),
        (ColumnType::Text { max_chars }, value) => fit_text(value, *max_chars),
        (ColumnType::Bytes { max_bytes }, Value::Bytes(bytes)) => match max_bytes {
            Some(max) if bytes.len() as u64 > *max => Err(no("more bytes than the column holds")),
            _ => Ok(Value::Bytes(bytes)),
        },
        (ColumnType::Date, value @ Value::Date(_)) => Ok(value),
        (ColumnType::Time { digits }, Value::Time(micros)) => {
            fine_enough(micros, *digits).map(|()| Value::Time(micros))
        }
        (ColumnType::Timestamp { digits }, Value::Timestamp(micros) | Value::TimestampTz(micros)) => {
            fine_enough(micros, *digits).map(|()| Value::Timestamp(micros))
        }
        (ColumnType::TimestampTz { digits }, Value::TimestampTz(micros)) => {
            fine_enough(micros, *digits).map(|()| Value::TimestampTz(micros))
        }
        (ColumnType::Uuid, value @ Value::Uuid(_)) => Ok(value),
        (ColumnType::Uuid, Value::Text(text)) => {
            text::parse_uuid(&text).map(Value::Uuid).ok_or(no("text that is no UUID"))
        }
        (ColumnType::Json, value @ Value::Json(_)) => Ok(value),
        (ColumnType::Json, Value::Text(text)) => checked_json(text).map(Value::Json),
        _ => Err(no("a value of another kind")),
    }
}

fn fit_integer(number: i128, bits: u8, unsigned: bool) -> Read {
    let range = if unsigned { 0..1i128 << bits } else { -(1i128 << (bits - 1))..1i128 << (bits - 1) };
    if !range.contains(&number) {
        return Err(Misfit::DoesNotFit("a whole number outside of the column's range"));
    }
    Ok(i64::try_from(number).map_or_else(|_| Value::UInt(number as u64), Value::Int))
}

fn fit_decimal(digits: ByteString, limit: Option<(u32, i32)>) -> Read {
    match limit {
        None => Ok(Value::Decimal(digits)),
        Some((precision, scale)) => decimal::fit(&digits, precision, scale)
            .map(|fitted| Value::Decimal(fitted.into()))
            .ok_or(Misfit::DoesNotFit("a decimal with more digits than the column holds")),
    }
}

fn fit_text(value: Value, max_chars: Option<u64>) -> Read {
    let text = match value {
        Value::Text(text) | Value::Json(text) | Value::Decimal(text) => text,
        Value::Int(number) => number.to_string().into(),
        Value::UInt(number) => number.to_string().into(),
        Value::Bool(truth) => truth.to_string().into(),
        Value::Date(days) => text::date(i64::from(days)).into(),
        Value::Time(micros) => text::time(micros).into(),
        Value::Timestamp(micros) => text::timestamp(micros).into(),
        Value::TimestampTz(micros) => text::timestamp_tz(micros).into(),
        Value::Uuid(bytes) => text::uuid(&bytes).into(),
        Value::Null | Value::Bytes(_) | Value::Float32(_) | Value::Float64(_) => {
            return Err(Misfit::DoesNotFit("a value of another kind"));
        }
    };
    match max_chars {
        Some(max) if text.len() as u64 > max && text.chars().count() as u64 > max => {
            Err(Misfit::DoesNotFit("text longer than the column"))
        }
        _ => Ok(Value::Text(text)),
    }
}

fn fine_enough(micros: i64, digits: u8) -> Result<(), Misfit> {
    let step = 10i64.pow(6 - u32::from(digits.min(6)));
    if micros % step == 0 {
        Ok(())
    } else {
        Err(Misfit::DoesNotFit("a time with more fraction digits than the column"))
    }
}

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
    match fit_text(read_typed(json, wire, &Bytes::new()).ok()?, None) {
        Ok(Value::Text(text)) => Some(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant 6: a number beyond its type is an error, never infinity.
    #[test]
    fn numbers_beyond_their_type_are_refused() {
        let fit = |json: &'static str, wire: WireType| {
            let cell: &RawValue = serde_json::from_str(json).expect("json");
            fit_cell(cell, &wire, &ColumnType::Float64, &CellRules::default(), &Bytes::from_static(json.as_bytes()))
        };
        for (json, wire) in [("1e400", WireType::Float64), ("-1e400", WireType::Float64), ("1e39", WireType::Float32)] {
            assert!(matches!(fit(json, wire), Err(Misfit::Undecodable(_))), "{json}");
        }
        assert_eq!(fit("\"Infinity\"", WireType::Float64), Ok(Value::Float64(f64::INFINITY)));
        assert_eq!(fit("1e308", WireType::Float64), Ok(Value::Float64(1e308)));
    }
}
