//! Types of columns that are made for fields of events.
//!
//! | wire type | PostgreSQL | MySQL, MariaDB | SQLite (STRICT) |
//! |---|---|---|---|
//! | boolean | boolean | boolean | integer |
//! | int8/16/32/64, year | smallint/smallint/integer/bigint | tinyint/smallint/int/bigint | integer |
//! | float, double | real, double precision | float, double | real |
//! | decimal | numeric(p,s), numeric | decimal(p,s), longtext beyond 65,30 | text |
//! | date, time, timestamp | date, time(d), timestamp(d) | date, time(d), datetime(d) | text |
//! | instant | timestamptz | datetime(6) in UTC (TIMESTAMP ends in 2038) | text |
//! | uuid, json | uuid, jsonb | char(36), json | text |
//! | text, xml, enum, set | text | longtext | text |
//! | bytes | bytea | longblob | blob |

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
        Dialect::Postgres => postgres::column_type(&field.kind, is_key),
        Dialect::Mysql => {
            mysql::column_type(&field.kind, is_key.then(|| mysql::key_chars(spec.key.len())), server.family)
        }
        Dialect::Sqlite => sqlite::column_type(&field.kind).to_owned(),
    })
}
