//! Whether a column can hold a value exactly, and as what.

use std::ops::RangeInclusive;

use bytes::Bytes;
use bytestring::ByteString;

use crate::core::calendar::DAY_MICROS;
use crate::core::decimal;
use crate::core::dialect::Dialect;
use crate::core::geometry as wkb;
use crate::core::table::ColumnType;
use crate::core::text;
use crate::core::value::{INFINITE_DAY, INFINITE_TIME, Value};

use super::{CellRules, Misfit, Read, compound, no, words};

/// Longest TIME of MariaDB: 838:59:59.999999; MySQL, whose longest has no fraction, refuses the rest itself.
pub(super) const SPAN_MAX: i64 = 3_020_399_999_999;

/// Whether a column can hold a value exactly, and as what.
pub(super) fn fit(value: Value, column: &ColumnType, rules: &CellRules) -> Read {
    match (column, value) {
        (_, Value::Null) => Ok(Value::Null),
        (ColumnType::Text { max_chars }, value) => fit_text(value, *max_chars),
        (ColumnType::Literal, Value::Array(_) | Value::Map(_) | Value::SparseVector { .. }) => Err(OTHER),
        (ColumnType::Literal, value) => fit_text(value, None),
        (ColumnType::Choice { labels, several }, Value::Text(text)) => fit_choice(text, labels, *several),
        (column, Value::Text(text)) => {
            let value = words::read(&text, column, rules)?;
            fit(value, column, rules)
        }
        (ColumnType::Bool | ColumnType::Int { .. } | ColumnType::Year, value) => fit_whole(value, column),
        (ColumnType::Float32 | ColumnType::Float64 | ColumnType::Decimal { .. }, value) => {
            existing(fit_number(value, column)?, rules.dialect)
        }
        (ColumnType::Bytes { max_bytes }, Value::Bytes(bytes)) => fit_bytes(bytes, *max_bytes),
        (ColumnType::Bytes { max_bytes }, Value::Geometry { srid, wkb }) => {
            fit_bytes(wkb::ewkb(srid, &wkb).into(), *max_bytes)
        }
        (
            ColumnType::Date
            | ColumnType::Time { .. }
            | ColumnType::TimeSpan { .. }
            | ColumnType::TimeTz { .. }
            | ColumnType::Timestamp { .. }
            | ColumnType::TimestampTz { .. }
            | ColumnType::Interval { .. },
            value,
        ) => in_range(fit_time(value, column)?, column, rules.dialect),
        (ColumnType::Uuid, value @ Value::Uuid(_)) => Ok(value),
        (ColumnType::Json, value @ Value::Json(_)) => Ok(value),
        (ColumnType::Json, value @ (Value::Array(_) | Value::Map(_) | Value::SparseVector { .. })) => {
            Ok(Value::Json(text::json(&value).into()))
        }
        (ColumnType::Bits { length, varying }, value) => fit_bits(value, *length, *varying),
        (ColumnType::Array { .. }, value @ Value::Array(_)) | (ColumnType::Map, value @ Value::Map(_)) => Ok(value),
        (ColumnType::Map, Value::Json(text)) => compound::map(&text).map(Value::Map),
        (ColumnType::Point, Value::Geometry { srid: None | Some(0), wkb }) if wkb::coordinates(&wkb).is_some() => {
            Ok(Value::Geometry { srid: None, wkb })
        }
        (ColumnType::Point, Value::Geometry { .. }) => {
            Err(no("a shape that is no point of the plane without a reference system"))
        }
        (ColumnType::Geometry { srid: wanted }, Value::Geometry { srid, wkb }) => match wanted {
            Some(wanted) if srid.unwrap_or(0) != *wanted => Err(no("a shape of another reference system")),
            _ => Ok(Value::Geometry { srid, wkb }),
        },
        (ColumnType::Vector { dimensions }, Value::Array(elements)) => fit_vector(elements, *dimensions),
        (ColumnType::SparseVector { dimensions: wanted }, Value::SparseVector { dimensions, elements }) => {
            let exact = elements.iter().all(|(_, number)| single(*number).is_some());
            match wanted {
                Some(wanted) if *wanted != dimensions => Err(no("a vector of another length")),
                _ if !exact => Err(no("a vector with more digits than single precision has")),
                _ => Ok(Value::SparseVector { dimensions, elements }),
            }
        }
        _ => Err(OTHER),
    }
}

const OTHER: Misfit = Misfit::DoesNotFit("a value of another kind");

fn fit_whole(value: Value, column: &ColumnType) -> Read {
    let number = match value {
        Value::Bool(truth) => i128::from(truth),
        Value::Int(number) => i128::from(number),
        Value::UInt(number) => i128::from(number),
        Value::Float32(number) => whole_float(f64::from(number))?,
        Value::Float64(number) => whole_float(number)?,
        Value::Decimal(digits) => decimal::fit(&digits, 38, 0)
            .and_then(|digits| digits.parse().ok())
            .ok_or(no("a number that is not whole, or too large"))?,
        Value::Bits { length: length @ 0..=64, bytes } => {
            let all = bytes.iter().fold(0i128, |number, byte| number << 8 | i128::from(*byte));
            all >> (8 * bytes.len() as u32 - length)
        }
        _ => return Err(OTHER),
    };
    match column {
        ColumnType::Bool if (0..=1).contains(&number) => Ok(Value::Bool(number == 1)),
        ColumnType::Bool => Err(no("a number that is neither 0 nor 1")),
        ColumnType::Year if number == 0 => Ok(Value::Int(0)),
        _ => fit_integer(number, column),
    }
}

fn whole_float(number: f64) -> Result<i128, Misfit> {
    if number.fract() == 0.0 && number.abs() <= (1u64 << 53) as f64 {
        Ok(number as i128)
    } else {
        Err(no("a number that is not whole, or too large"))
    }
}

/// Numbers that a column of whole numbers holds.
pub(super) fn whole_range(column: &ColumnType) -> Option<RangeInclusive<i128>> {
    match column {
        ColumnType::Int { bits, unsigned: true } => Some(0..=(1i128 << bits) - 1),
        ColumnType::Int { bits, unsigned: false } => Some(-(1i128 << (bits - 1))..=(1i128 << (bits - 1)) - 1),
        ColumnType::Year => Some(1901..=2155),
        _ => None,
    }
}

fn fit_integer(number: i128, column: &ColumnType) -> Read {
    if whole_range(column).is_none_or(|range| !range.contains(&number)) {
        return Err(no(match column {
            ColumnType::Int { bits: 64, unsigned: true } if number < 0 => {
                "a negative number; large ones of BIGINT UNSIGNED come so, which bigint.unsigned.handling.mode=precise avoids"
            }
            ColumnType::Year => "a year outside of 1901 to 2155",
            _ => "a whole number outside of the column's range",
        }));
    }
    Ok(i64::try_from(number).map_or_else(|_| Value::UInt(number as u64), Value::Int))
}

/// Numbers with a fraction, exact: a floating point number is what its shortest digits say.
fn fit_number(value: Value, column: &ColumnType) -> Read {
    match (column, value) {
        (ColumnType::Decimal { limit }, value) => match value {
            Value::Decimal(digits) => fit_decimal(digits, *limit),
            Value::Int(number) => fit_decimal(number.to_string().into(), *limit),
            Value::UInt(number) => fit_decimal(number.to_string().into(), *limit),
            Value::Float32(number) => fit_decimal(words::number(&text::float32(number).into())?, *limit),
            Value::Float64(number) => fit_decimal(words::number(&text::float64(number).into())?, *limit),
            _ => Err(OTHER),
        },
        (ColumnType::Float32, value @ Value::Float32(_)) | (ColumnType::Float64, value @ Value::Float64(_)) => {
            Ok(value)
        }
        (ColumnType::Float32, Value::Float64(number)) if number.is_nan() || f64::from(number as f32) == number => {
            Ok(Value::Float32(number as f32))
        }
        (ColumnType::Float32, Value::Int(number)) if (number as f32) as i128 == i128::from(number) => {
            Ok(Value::Float32(number as f32))
        }
        (ColumnType::Float32, Value::Decimal(digits)) => words::same_float(&digits).map(Value::Float32),
        (ColumnType::Float64, Value::Float32(number)) => Ok(Value::Float64(f64::from(number))),
        (ColumnType::Float64, Value::Int(number)) if (number as f64) as i128 == i128::from(number) => {
            Ok(Value::Float64(number as f64))
        }
        (ColumnType::Float64, Value::Decimal(digits)) => words::same_float(&digits).map(Value::Float64),
        (_, Value::Float64(_) | Value::Int(_)) => Err(no("a number with more digits than the column holds")),
        _ => Err(OTHER),
    }
}

/// Refuses what no column of the destination has: MySQL neither NaN nor infinities, and SQLite stores NaN as NULL.
fn existing(number: Value, dialect: Option<Dialect>) -> Read {
    let (nan, finite) = match &number {
        Value::Float32(number) => (number.is_nan(), number.is_finite()),
        Value::Float64(number) => (number.is_nan(), number.is_finite()),
        Value::Decimal(digits) => (*digits == "NaN", digits.ends_with(|last: char| last.is_ascii_digit())),
        _ => (false, true),
    };
    match (dialect, &number) {
        (Some(Dialect::Mysql), _) if !finite => Err(no("NaN or an infinite number")),
        (Some(Dialect::Sqlite), Value::Float32(_) | Value::Float64(_)) if nan => Err(no("NaN")),
        _ => Ok(number),
    }
}

fn fit_decimal(digits: ByteString, limit: Option<(u32, i32)>) -> Read {
    let not_a_number = digits == "NaN";
    match limit {
        None => Ok(Value::Decimal(digits)),
        Some(_) if not_a_number => Ok(Value::Decimal(digits)),
        Some(_) if digits.ends_with("Infinity") => Err(no("an infinite number")),
        Some((precision, scale)) => decimal::fit(&digits, precision, scale)
            .map(|fitted| Value::Decimal(fitted.into()))
            .ok_or(no("a decimal with more digits than the column holds")),
    }
}

pub(super) fn fit_text(value: Value, max_chars: Option<u64>) -> Read {
    let text = text::of(value).ok_or(no("bytes, which are not text"))?;
    match max_chars {
        Some(max) if text.len() as u64 > max && text.chars().count() as u64 > max => {
            Err(no("text longer than the column"))
        }
        _ => Ok(Value::Text(text)),
    }
}

fn fit_choice(text: ByteString, labels: &[String], several: bool) -> Read {
    let known = |text: &str| labels.iter().any(|label| label == text);
    let fits = if several { text.is_empty() || text.split(',').all(known) } else { known(&text) };
    if fits { Ok(Value::Text(text)) } else { Err(no("a text that is none of the column's")) }
}

fn fit_bytes(bytes: Bytes, max: Option<u64>) -> Read {
    match max {
        Some(max) if bytes.len() as u64 > max => Err(no("more bytes than the column holds")),
        _ => Ok(Value::Bytes(bytes)),
    }
}

fn fit_bits(value: Value, wanted: Option<u32>, varying: bool) -> Read {
    let (length, bytes) = match value {
        Value::Bits { length, bytes } => (length, bytes),
        Value::Bool(truth) => (1, Bytes::from_static(if truth { &[0x80] } else { &[0] })),
        _ => return Err(OTHER),
    };
    match wanted {
        Some(wanted) if length > wanted || (length < wanted && !varying) => Err(no("another number of bits")),
        _ => Ok(Value::Bits { length, bytes }),
    }
}

/// The number as single precision, if that is the same: as a number, or by its shortest digits (vectors of single precision come
/// as double).
fn single(number: f64) -> Option<f32> {
    let short = number as f32;
    let same = f64::from(short) == number || text::float32(short) == text::float64(number);
    (short.is_finite() && same).then_some(short)
}

fn fit_vector(elements: Vec<Value>, dimensions: Option<u32>) -> Read {
    if dimensions.is_some_and(|wanted| elements.len() as u64 != u64::from(wanted)) {
        return Err(no("a vector of another length"));
    }
    let one = |element: Value| match element {
        Value::Float32(number) if number.is_finite() => Ok(Value::Float32(number)),
        Value::Float64(number) => {
            let short = single(number).map(Value::Float32);
            short.ok_or(no("a vector with more digits than single precision has"))
        }
        _ => Err(no("a vector with elements that are no finite numbers")),
    };
    elements.into_iter().map(one).collect::<Result<_, _>>().map(Value::Array)
}

fn fit_time(value: Value, column: &ColumnType) -> Read {
    match (column, value) {
        (ColumnType::Date, value @ Value::Date(_)) => Ok(value),
        (ColumnType::Date, Value::Timestamp(micros)) => midnight(micros),
        (ColumnType::Time { digits }, Value::Time(micros)) => {
            if !(0..=DAY_MICROS).contains(&micros) {
                return Err(no("a time below zero or above 24 hours"));
            }
            fine_enough(micros, *digits, Value::Time)
        }
        (ColumnType::Time { digits }, Value::TimeTz { micros, offset: 0 }) => fine_enough(micros, *digits, Value::Time),
        (ColumnType::Time { .. }, Value::TimeTz { .. }) => Err(no("a time with an offset from UTC")),
        (ColumnType::TimeSpan { digits }, value) => {
            let micros = match value {
                Value::Time(micros) | Value::TimeTz { micros, offset: 0 } => micros,
                Value::Interval { months: 0, days: 0, micros } => micros,
                _ => return Err(OTHER),
            };
            if !(-SPAN_MAX..=SPAN_MAX).contains(&micros) {
                return Err(no("a time beyond 838:59:59"));
            }
            fine_enough(micros, *digits, Value::Time)
        }
        (ColumnType::TimeTz { digits }, Value::TimeTz { micros, offset }) => {
            fine_enough(micros, *digits, |micros| Value::TimeTz { micros, offset })
        }
        (ColumnType::Timestamp { digits }, Value::Timestamp(micros) | Value::TimestampTz(micros)) => {
            fine_enough(micros, *digits, Value::Timestamp)
        }
        (ColumnType::Timestamp { .. }, Value::Date(days)) => Ok(Value::Timestamp(match days {
            _ if days == INFINITE_DAY.0 => INFINITE_TIME.0,
            _ if days == INFINITE_DAY.1 => INFINITE_TIME.1,
            _ => i64::from(days).checked_mul(DAY_MICROS).ok_or(no("a day beyond all timestamps"))?,
        })),
        (ColumnType::TimestampTz { digits }, Value::TimestampTz(micros)) => {
            fine_enough(micros, *digits, Value::TimestampTz)
        }
        (ColumnType::Interval { digits }, Value::Interval { months, days, micros }) => {
            fine_enough(micros, *digits, |micros| Value::Interval { months, days, micros })
        }
        (ColumnType::Interval { digits }, Value::Time(micros)) => {
            fine_enough(micros, *digits, |micros| Value::Interval { months: 0, days: 0, micros })
        }
        _ => Err(OTHER),
    }
}

/// The day of a timestamp that is its begin.
fn midnight(micros: i64) -> Read {
    let is_infinite = micros == INFINITE_TIME.0 || micros == INFINITE_TIME.1;
    match day_of(micros) {
        Some(day) if is_infinite || micros % DAY_MICROS == 0 => Ok(Value::Date(day)),
        _ => Err(no("a time of day for a date")),
    }
}

/// The day that a time lies in.
pub(super) fn day_of(micros: i64) -> Option<i32> {
    match micros {
        _ if micros == INFINITE_TIME.0 => Some(INFINITE_DAY.0),
        _ if micros == INFINITE_TIME.1 => Some(INFINITE_DAY.1),
        _ => i32::try_from(micros.div_euclid(DAY_MICROS)).ok(),
    }
}

/// First and last day that a column of dates holds. PostgreSQL: 4714-11-24 BC to 5874897-12-31, and infinity beyond them;
/// MySQL and MariaDB: the years 0 to 9999.
pub(super) fn days_between(dialect: Option<Dialect>) -> (i32, i32) {
    match dialect {
        Some(Dialect::Mysql) => (-719_528, 2_932_896),
        Some(Dialect::Postgres) => (-2_440_588, 2_145_042_905),
        Some(Dialect::Sqlite) | None => (INFINITE_DAY.1, INFINITE_DAY.0),
    }
}

/// First and last time that a column holds, in microseconds. PostgreSQL's last one is later than what 64 bits count from 1970;
/// MySQL's and MariaDB's TIMESTAMP begins in 1970 and ends with 32 bits, with MariaDB 11.5 in 2106, which the server decides.
pub(super) fn micros_between(column: &ColumnType, dialect: Option<Dialect>) -> (i64, i64) {
    match (dialect, column) {
        (Some(Dialect::Mysql), ColumnType::TimestampTz { .. }) => (1_000_000, 4_294_967_295_999_999),
        (Some(Dialect::Mysql), _) => (-719_528 * DAY_MICROS, 2_932_897 * DAY_MICROS - 1),
        (Some(Dialect::Postgres), _) => (-2_440_588 * DAY_MICROS, i64::MAX - 1),
        (Some(Dialect::Sqlite) | None, _) => (INFINITE_TIME.1, INFINITE_TIME.0),
    }
}

fn in_range(value: Value, column: &ColumnType, dialect: Option<Dialect>) -> Read {
    let has_infinity = dialect != Some(Dialect::Mysql);
    let fits = match &value {
        Value::Date(days) => {
            let (first, last) = days_between(dialect);
            let is_infinite = *days == INFINITE_DAY.0 || *days == INFINITE_DAY.1;
            (first..=last).contains(days) || (is_infinite && has_infinity)
        }
        Value::Timestamp(micros) | Value::TimestampTz(micros) => {
            let (first, last) = micros_between(column, dialect);
            let is_infinite = *micros == INFINITE_TIME.0 || *micros == INFINITE_TIME.1;
            (first..=last).contains(micros) || (is_infinite && has_infinity)
        }
        _ => true,
    };
    if fits { Ok(value) } else { Err(no("a day or time outside of the column's range")) }
}

fn fine_enough(micros: i64, digits: u8, make: impl FnOnce(i64) -> Value) -> Read {
    let step = 10i64.pow(6 - u32::from(digits.min(6)));
    if micros % step == 0 || micros == INFINITE_TIME.0 || micros == INFINITE_TIME.1 {
        Ok(make(micros))
    } else {
        Err(no("a time with more fraction digits than the column"))
    }
}
