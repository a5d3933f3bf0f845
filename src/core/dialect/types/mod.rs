//! Types of columns that are made for fields of events.
//!
//! | wire type | PostgreSQL | MySQL, MariaDB | SQLite |
//! |---|---|---|---|
//! | boolean | boolean | boolean | INTEGER |
//! | int8/16/32/64 | smallint/smallint/integer/bigint; numeric(20,0) for BIGINT UNSIGNED | tinyint/smallint/int/bigint, `unsigned` as declared | INTEGER; DECIMAL_TEXT(20,0) for BIGINT UNSIGNED |
//! | year | integer | year | INTEGER |
//! | float, double | real, double precision | float, double | REAL |
//! | decimal | numeric(p,s), numeric | decimal(p,s), longtext beyond 65,30 and without limits | DECIMAL_TEXT(p,s), DECIMAL_TEXT |
//! | date, time, timestamp | date, time(d), timestamp(d) | date, time(d), datetime(d) | DATE_TEXT, TIME_TEXT, TIMESTAMP_TEXT, with (3) for milliseconds |
//! | instant | timestamptz | datetime(6) in UTC (TIMESTAMP ends in 2038) | TIMESTAMPTZ_TEXT |
//! | time with an offset, interval or duration | timetz, interval | varchar(100) | TIMETZ_TEXT, DURATION_TEXT |
//! | uuid | uuid | uuid (MariaDB from 10.7), char(36) | UUID_TEXT |
//! | json | json, jsonb where the source says so | json | JSON_TEXT |
//! | text, enum, set | varchar(n), inet, ranges … as declared, text | varchar(n) as declared, longtext | TEXT |
//! | xml | xml | longtext | TEXT |
//! | ltree, tsvector | ltree or text, tsvector | longtext | TEXT |
//! | bits | bit(n) | bit(n), longtext beyond 64 | BITS_TEXT(n) |
//! | arrays, maps, vectors | type[], hstore or jsonb, vector or double precision[] | json | JSON_TEXT |
//! | shapes | point, circle, line, geometry or bytea | point, geometry | GEOMETRY_BLOB |
//! | bytes, bits of varying length | bytea | longblob | BLOB |

mod mysql;
mod postgres;
mod sqlite;

use crate::core::wire::{Field, TableSpec, WireType};

use super::Dialect;
use super::ddl::Server;

/// The type of a column for a field of an event. `Err` says why there is none and what to do.
pub(super) fn native_type(
    dialect: Dialect,
    spec: &TableSpec,
    field: &Field,
    is_key: bool,
    server: &Server,
) -> Result<String, String> {
    match &field.kind {
        WireType::Untyped => {
            return Err(format!(
                "events without a schema do not tell the type of column {:?}; create {} first",
                field.name, spec.name
            ));
        }
        WireType::Unsupported { name } => {
            return Err(format!(
                "column {:?} of {} comes as {name}, which is not understood yet; leave it out with `exclude_columns`, or create the table",
                field.name, spec.name
            ));
        }
        WireType::Float32 | WireType::Float64 if is_key => {
            return Err(format!(
                "column {:?} of {} is a floating point number and cannot be a key",
                field.name, spec.name
            ));
        }
        _ => {}
    }
    Ok(match dialect {
        Dialect::Postgres => postgres::column_type(field, is_key, server),
        Dialect::Mysql => mysql::column_type(spec, field, is_key, server),
        Dialect::Sqlite => sqlite::column_type(field),
    })
}

/// Values that are kept as a JSON document where the database has no type for them.
fn is_document(kind: &WireType) -> bool {
    matches!(
        kind,
        WireType::Json
            | WireType::Map
            | WireType::Array(_)
            | WireType::Vector { .. }
            | WireType::SparseVector
            | WireType::Circle
            | WireType::Line
    )
}
