//! What is written in place of a value that its column cannot hold, where someone chose that.
//!
//! | column | nearest value |
//! |---|---|
//! | whole numbers, decimals | rounded half away from zero, then the column's least or greatest |
//! | floating point | the nearest number of that precision; beyond it the greatest |
//! | times | digits of a second cut off towards the past, then the column's earliest or latest |
//! | date | the day of a time, then the earliest or latest |
//! | text | the first characters |
//!
//! Nothing is near NaN, bytes, a list, a shape, or text that is no number or time: those stay refused.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::core::calendar::DAY_MICROS;
use crate::core::decimal;
use crate::core::table::ColumnType;
use crate::core::text;
use crate::core::value::{INFINITE_TIME, Value};
use crate::core::wire::Field;

use super::fit::{SPAN_MAX, day_of, days_between, fit, micros_between, whole_range};
use super::{CellRules, FINER, Reader, TEXT, words};

/// What becomes of a value that its column cannot hold, if someone chose that; else `bad_record` decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnrepresentable {
    /// The partition stops in front of the record.
    Refuse,
    /// The record is put aside.
    Quarantine,
    /// NULL is written.
    Null,
    /// The nearest value that the column holds is written.
    Clamp,
}

impl OnUnrepresentable {
    /// As it is written in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Quarantine => "quarantine",
            Self::Null => "null",
            Self::Clamp => "clamp",
        }
    }
}

/// The nearest value that a column holds to a cell that does not fit it; `None` if nothing is near.
pub fn nearest_cell(
    cell: &RawValue,
    field: &Field,
    column: &ColumnType,
    rules: &CellRules,
    owner: &Bytes,
) -> Option<Value> {
    let reader = Reader { rules, owner };
    let value = match reader.meaning(cell.get(), field, column) {
        Ok(Value::Text(text)) if !matches!(column, ColumnType::Text { .. }) => {
            words::read(&text, column, rules).ok()?
        }
        Ok(value) => value,
        // All digits can be had as text.
        Err(FINER) => match reader.meaning(cell.get(), field, &TEXT).ok()? {
            Value::Text(text) => words::read(&microseconds(&text)?.into(), column, rules).ok()?,
            _ => return None,
        },
        Err(_) => return None,
    };
    let exact = fit(value.clone(), column, rules).ok();
    exact.or_else(|| fit(nearest(value, column, rules)?, column, rules).ok())
}

/// The text of a time with at most six digits behind the point; cut towards the past unless it is negative.
fn microseconds(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once('.')?;
    let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
    Some(format!("{whole}.{}{}", &fraction[..end.min(6)], &fraction[end..]))
}

fn nearest(value: Value, column: &ColumnType, rules: &CellRules) -> Option<Value> {
    Some(match (column, value) {
        (ColumnType::Int { .. } | ColumnType::Year, value) => {
            let range = whole_range(column)?;
            let number = whole(&value)?.clamp(*range.start(), *range.end());
            i64::try_from(number).map_or_else(|_| Value::UInt(number as u64), Value::Int)
        }
        (ColumnType::Decimal { limit: Some((precision, scale)) }, value) => {
            Value::Decimal(decimal::nearest(&plain(&value)?, *precision, *scale)?.into())
        }
        (ColumnType::Float32, value) => {
            let number: f32 = plain(&value)?.parse().ok()?;
            Value::Float32(number.clamp(f32::MIN, f32::MAX))
        }
        (ColumnType::Float64, value) => {
            let number: f64 = plain(&value)?.parse().ok()?;
            Value::Float64(number.clamp(f64::MIN, f64::MAX))
        }
        (ColumnType::Text { max_chars: Some(max) }, value) => {
            let text = text::of(value)?;
            let end = text.char_indices().nth(usize::try_from(*max).ok()?).map_or(text.len(), |(at, _)| at);
            Value::text(text.slice_ref(&text[..end]))
        }
        (ColumnType::Date, value) => {
            let days = match value {
                Value::Date(days) => days,
                Value::Timestamp(micros) => day_of(micros)?,
                _ => return None,
            };
            let (first, last) = days_between(rules.dialect);
            Value::Date(days.clamp(first, last))
        }
        (ColumnType::Time { digits }, Value::Time(micros)) => Value::Time(cut(micros, *digits).clamp(0, DAY_MICROS)),
        (ColumnType::TimeSpan { digits }, Value::Time(micros) | Value::Interval { months: 0, days: 0, micros }) => {
            let longest = cut(SPAN_MAX, *digits);
            Value::Time(cut(micros, *digits).clamp(-longest, longest))
        }
        (ColumnType::TimeTz { digits }, Value::TimeTz { micros, offset }) => {
            Value::TimeTz { micros: cut(micros, *digits), offset }
        }
        (ColumnType::Timestamp { digits }, Value::Timestamp(micros) | Value::TimestampTz(micros)) => {
            let (first, last) = micros_between(column, rules.dialect);
            Value::Timestamp(cut(micros.clamp(first, last), *digits))
        }
        (ColumnType::TimestampTz { digits }, Value::TimestampTz(micros)) => {
            let (first, last) = micros_between(column, rules.dialect);
            Value::TimestampTz(cut(micros.clamp(first, last), *digits))
        }
        (ColumnType::Interval { digits }, Value::Interval { months, days, micros }) => {
            Value::Interval { months, days, micros: cut(micros, *digits) }
        }
        _ => return None,
    })
}

/// Microseconds with so many digits of a second.
fn cut(micros: i64, digits: u8) -> i64 {
    let step = 10i64.pow(6 - u32::from(digits.min(6)));
    if micros == INFINITE_TIME.0 || micros == INFINITE_TIME.1 { micros } else { micros - micros.rem_euclid(step) }
}

/// A number's plain digits, or the word of an infinite one.
fn plain(value: &Value) -> Option<String> {
    let text = match value {
        Value::Int(_) | Value::UInt(_) | Value::Decimal(_) | Value::Float32(_) | Value::Float64(_) => {
            text::of(value.clone())?
        }
        _ => return None,
    };
    match &*text {
        "NaN" => None,
        "Infinity" | "-Infinity" => Some(text.to_string()),
        digits => decimal::from_notation(digits),
    }
}

fn whole(value: &Value) -> Option<i128> {
    let text = plain(value)?;
    match text.as_str() {
        "Infinity" => Some(i128::MAX),
        "-Infinity" => Some(i128::MIN),
        digits => decimal::nearest(digits, 38, 0)?.parse().ok(),
    }
}
