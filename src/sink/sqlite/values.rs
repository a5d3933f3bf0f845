//! Values in and out of SQLite, which knows five storage classes: NULL, INTEGER, REAL, TEXT and BLOB.

use bytes::Bytes;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Row, TypeInfo, ValueRef};

use crate::core::failure::{Class, Failure};
use crate::core::text;
use crate::core::value::Value;

use super::classify::classify;

/// Appends a parameter. Dates, decimals, UUIDs and JSON are written as the texts of [`crate::core::text`].
pub(super) fn bind(arguments: &mut SqliteArguments, value: &Value) -> Result<(), Failure> {
    let bound = match value {
        Value::Null => arguments.add(None::<i64>),
        Value::Bool(truth) => arguments.add(i64::from(*truth)),
        Value::Int(number) => arguments.add(*number),
        Value::UInt(number) => match i64::try_from(*number) {
            Ok(number) => arguments.add(number),
            Err(_) => return Err(does_not_fit("a number beyond 9,223,372,036,854,775,807")),
        },
        Value::Float32(number) => return bind(arguments, &Value::Float64(f64::from(*number))),
        // SQLite would store NULL.
        Value::Float64(number) if number.is_nan() => return Err(does_not_fit("a NaN")),
        Value::Float64(number) => arguments.add(*number),
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => arguments.add(&**text),
        Value::Bytes(bytes) => arguments.add(&**bytes),
        Value::Date(days) => arguments.add(text::date(i64::from(*days))),
        Value::Time(micros) => arguments.add(text::time(*micros)),
        Value::Timestamp(micros) => arguments.add(text::timestamp(*micros)),
        Value::TimestampTz(micros) => arguments.add(text::timestamp_tz(*micros)),
        Value::Uuid(bytes) => arguments.add(text::uuid(bytes)),
        Value::TimeTz { .. }
        | Value::Interval { .. }
        | Value::Bits { .. }
        | Value::Array(_)
        | Value::Map(_)
        | Value::Geometry { .. }
        | Value::SparseVector { .. } => return Err(does_not_fit("a value of this kind")),
    };
    bound.map_err(|error| Failure::operator("sqlite driver", format!("a parameter cannot be bound: {error}")))
}

fn does_not_fit(what: &str) -> Failure {
    Failure::new(Class::Record, "does_not_fit", format!("SQLite cannot store {what}"))
}

/// All cells of a row.
pub(super) fn read(row: &SqliteRow) -> Result<Vec<Value>, Failure> {
    (0..row.len()).map(|at| read_cell(row, at)).collect()
}

fn read_cell(row: &SqliteRow, at: usize) -> Result<Value, Failure> {
    let raw = row.try_get_raw(at).map_err(classify)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    // The storage class of this very value; what the column was declared as does not matter.
    let class = raw.type_info().name().to_owned();
    Ok(match class.as_str() {
        "INTEGER" => Value::Int(row.try_get_unchecked(at).map_err(classify)?),
        "REAL" => Value::Float64(row.try_get_unchecked(at).map_err(classify)?),
        "TEXT" => Value::from(row.try_get_unchecked::<String, _>(at).map_err(classify)?),
        _ => Value::Bytes(Bytes::from(row.try_get_unchecked::<Vec<u8>, _>(at).map_err(classify)?)),
    })
}
