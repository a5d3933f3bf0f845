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

/// A parameter, in one of the storage classes.
#[derive(Debug)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

/// Appends a parameter. What SQLite has no storage class for is written as the text of [`crate::core::text`], a shape as EWKB.
pub(super) fn bind(cells: &mut Vec<Cell>, value: &Value) -> Result<(), Failure> {
    cells.push(match value {
        Value::Null => Cell::Null,
        Value::Bool(truth) => Cell::Integer(i64::from(*truth)),
        Value::Int(number) => Cell::Integer(*number),
        Value::UInt(number) => match i64::try_from(*number) {
            Ok(number) => Cell::Integer(number),
            Err(_) => return Err(does_not_fit("a number beyond 9,223,372,036,854,775,807")),
        },
        Value::Float32(number) => return bind(cells, &Value::Float64(f64::from(*number))),
        // SQLite would store NULL.
        Value::Float64(number) if number.is_nan() => return Err(does_not_fit("a NaN")),
        Value::Float64(number) => Cell::Real(*number),
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => Cell::Text(text.to_string()),
        Value::Bytes(bytes) => Cell::Blob(bytes.to_vec()),
        Value::Geometry { srid, wkb } => Cell::Blob(geometry::ewkb(*srid, wkb)),
        other => match text::of(other.clone()) {
            Some(text) => Cell::Text(text.to_string()),
            None => return Err(does_not_fit("a value of this kind")),
        },
    });
    Ok(())
}

/// The driver's form of parameters.
pub(super) fn arguments(cells: Vec<Cell>) -> Result<SqliteArguments, Failure> {
    let mut arguments = SqliteArguments::default();
    for cell in cells {
        let added = match cell {
            Cell::Null => arguments.add(None::<i64>),
            Cell::Integer(number) => arguments.add(number),
            Cell::Real(number) => arguments.add(number),
            Cell::Text(text) => arguments.add(text),
            Cell::Blob(bytes) => arguments.add(bytes),
        };
        added.map_err(|error| Failure::operator("sqlite driver", format!("a parameter cannot be bound: {error}")))?;
    }
    Ok(arguments)
}

/// Appends a value of a column. What would not be stored in the column's own class is refused: only STRICT tables do that themselves.
pub(super) fn bind_to(cells: &mut Vec<Cell>, value: &Value, column: &Column) -> Result<(), Failure> {
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
    let bound = if fits { bind(cells, value) } else { Err(does_not_fit("a value of another kind")) };
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
