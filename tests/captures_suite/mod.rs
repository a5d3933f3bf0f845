//! Captured topics of real connectors become the tables that the source had: from files and from Kafka, in every
//! destination, in every delivery and cut into any batches.

mod deliveries;
mod evolving;
mod inside;
mod lists;
mod matrix;
mod on_services;
mod partial;
mod stage;
mod transactions;
mod verdicts;

use lastword::core::dialect::Dialect;
use stage::{Form, From, Stage};

/// The scenarios that are right in every destination, with the control topics. Not every connector has all of them.
const SCENARIOS: [&str; 13] = [
    "composite_key",
    "key_update",
    "delete_reinsert",
    "same_row_in_one_tx",
    "multi_table_tx",
    "bulk_statements",
    "multi_row_statements",
    "quoted_names",
    "restart_duplicates",
    "identity_using_index",
    "heartbeat_topic",
    "transaction_topic",
    "schema_change_topic",
];

/// Contents equal what the source held; a second run applies nothing and changes nothing.
fn converges(connector: &'static str, form: Form, dialect: Dialect, from: From) {
    let stage = Stage::new(connector, form, dialect, &SCENARIOS);
    let program = stage.program(from, stage.records());
    let first = program.catch_up(&[]);
    stage.assert_expected();
    stage.assert_accounted(&first, stage.records());
    let contents = stage.database.contents();
    let again = program.catch_up(&[]);
    assert_eq!(support::program::number(&again, "records"), 0, "a second run of the same records: {again}");
    assert_same("nothing new was to be applied", &contents, &stage.database.contents());
}

use crate::support;
use crate::support::database::assert_same;

#[test]
fn postgresql_with_schemas_from_files_into_sqlite() {
    converges("postgresql", Form::Schemas, Dialect::Sqlite, From::Files);
}

#[test]
fn postgresql_plain_from_files_into_sqlite() {
    converges("postgresql", Form::Plain, Dialect::Sqlite, From::Files);
}

#[test]
fn mariadb_with_schemas_from_files_into_sqlite() {
    converges("mariadb", Form::Schemas, Dialect::Sqlite, From::Files);
}

#[test]
fn mariadb_plain_from_files_into_sqlite() {
    converges("mariadb", Form::Plain, Dialect::Sqlite, From::Files);
}
