//! Every type there and back: rows with edge values and generated values of every type in a real PostgreSQL and a real MariaDB
//! go through Debezium, Kafka and lastword into every destination, and are compared with the source by SQL, cell by cell.
//!
//! Each row has one value and NULL in all other columns, so that a refused value is seen alone. A value comes there in four
//! ways: by the snapshot, as an insert, as an update of a row without it, and as an update of a row with another value.
//! What becomes of each type is listed in `tests/types/outcomes.tsv`: `exact`; the values that are refused, with the reason; and the
//! values that the connector itself changes before lastword sees them ([`facts`]). Anything else fails the run.

mod connect;
mod facts;
mod mariadb;
mod on_services;
mod outcome;
mod postgres;
mod source;
mod type_table;
mod values;

use values::Values;

use crate::support::canonical::Kind;

/// A column under test, in a table with others of its family.
pub(super) struct Column {
    /// Its type in SQL.
    pub(super) sql: &'static str,
    /// How it is compared.
    pub(super) kind: Kind,
    /// SQL literals of values that something is special about.
    pub(super) edges: &'static [&'static str],
    /// More values, from the seed.
    values: Values,
}

/// A table of columns.
pub(super) struct Family {
    /// Name of the table.
    pub(super) name: &'static str,
    /// Its columns besides the key `id`; the n-th is called `c<n>`.
    pub(super) columns: &'static [Column],
}

/// Short form for the lists.
const fn column(sql: &'static str, kind: Kind, values: Values, edges: &'static [&'static str]) -> Column {
    Column { sql, kind, edges, values }
}
