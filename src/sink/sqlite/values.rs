//! Values in and out of SQLite, which knows five storage classes: NULL, INTEGER, REAL, TEXT and BLOB.

use bytes::Bytes;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Row, TypeInfo, ValueRef};

use crate::core::failure::{Class, Failure};
use crate::core::geometry;
use crate::core::table::{Column, ColumnType};
use crate::core::text;
use crate::core::value::Value;

use super::classify::classify;

/// Appends a parameter. What SQLite has no storage class for is written as the text of [`crate::core::text`], a shape as EWKB.
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
        Value::Geometry { srid, wkb } => arguments.add(geometry::ewkb(*srid, wkb)),
        other => match text::of(other.clone()) {
            Some(text) => arguments.add(&*text),
            None => return Err(does_not_fit("a value of this kind")),
        },
    };
    bound.map_err(|error| Failure::operator("sqlite driver", format!("a parameter cannot be bound: {error}")))
}

/// Appends a value of a column. What would not be stored in the column's own class is refused: only STRICT tables do that themselves.
pub(super) fn bind_to(arguments: &mut SqliteArguments, value: &Value, column: &Column) -> Result<(), Failure> {
    let fits = match (&column.kind, value) {
        (_, Value::Null) => true,
        (ColumnType::Int { .. } | ColumnType::Bool, value) => {
            matches!(value, Value::Int(_) | Value::UInt(_) | Value::Bool(_))
        }
        (ColumnType::Float64, value) => matches!(value, Value::Float32(_) | Value::Float64(_)),
        (ColumnType::Bytes { .. } | ColumnType::Geometry { .. }, value) => {
            matches!(value, Value::Bytes(_) | Value::Geometry { .. })
        }
        (_, value) => !matches!(value, Value::Bytes(_) | Value::Geometry { .. }),
    };
    let bound = if fits { bind(arguments, value) } else { Err(does_not_fit("a value of another kind")) };
    bound.map_err(|failure| failure.context(format_args!("column {:?}", column.name)))
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
