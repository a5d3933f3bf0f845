//! From bytes to change events.
//!
//! The forms that are understood: the Debezium envelope as JSON with and without schemas, the forms of [`forms`], null values,
//! and Debezium's control topics. A form is told
//! from the record's own bytes. Nothing is copied: rows are cells that point into the record.
//!
//! # Why the schema is compared as bytes
//!
//! In JSON with schemas the `schema` part is the same bytes in record after record, some 4 KB of a 5 KB record. A
//! [`TopicDecoder`] keeps the last one of its topic; a record that begins with the same bytes costs one comparison and the
//! parse of its payload.

mod cell;
mod envelope;
mod forms;
mod key;
mod numbers;
mod open;
mod position;
mod row;
mod schema;
mod wrapped;

pub use cell::{
    Binary, CellRules, Misfit, OnUnrepresentable, PlainDecimal, PlainRules, PlainTime, fit_cell, nearest_cell, row_json,
};
pub use envelope::{Met, TopicDecoder, TopicRules};
pub use forms::Form;
pub use key::KeyFormat;
pub(in crate::core) use numbers::{binlog_file, lsn_text, mariadb_gtid, mysql_gtid};
pub use open::{Opened, says_null};

#[cfg(test)]
mod tests;
