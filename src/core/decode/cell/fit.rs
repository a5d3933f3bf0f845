//! Whether a column can hold a value exactly, and as what.

use bytestring::ByteString;

use crate::core::decimal;
use crate::core::table::ColumnType;
use crate::core::text;
use crate::core::value::Value;

use super::read::checked_json;
use super::{Misfit, Read};

/// Whether a column can hold a value exactly, and as what.
pub(super) fn fit(value: Value, column: &ColumnType) -> Read {
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
        (ColumnType::Time { digits } | ColumnType::TimeSpan { digits }, Value::Time(micros)) => {
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

pub(super) fn fit_text(value: Value, max_chars: Option<u64>) -> Read {
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
        Value::Null
        | Value::Bytes(_)
        | Value::Float32(_)
        | Value::Float64(_)
        | Value::TimeTz { .. }
        | Value::Interval { .. }
        | Value::Bits { .. }
        | Value::Array(_)
        | Value::Map(_)
        | Value::Geometry { .. }
        | Value::SparseVector { .. } => {
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
