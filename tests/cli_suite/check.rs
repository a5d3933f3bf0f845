//! `check` says what would happen and changes nothing; a configuration that cannot be used is refused.

use lastword::core::dialect::Dialect;
use serde_json::{Value, json};

use crate::support::database::{Database, assert_same};
use crate::support::events::Source;
use crate::support::program::{Finished, Program, over_files};

/// The verdict and the reason for the one table of a check.
#[track_caller]
pub(super) fn verdict(finished: &Finished) -> (String, String) {
    let report = finished.json();
    let tables = report["tables"].as_array().expect("tables");
    assert_eq!(tables.len(), 1, "{report}");
    let text = |key: &str| tables[0][key].as_str().expect("text").to_owned();
    (text("verdict"), text("why"))
}

fn one_person(database: &Database) -> Source {
    let mut source = Source::people("made.people", database.home());
    source.upsert(10, json!({"id": 1, "name": "a"}));
    source
}

/// A table that is missing would be made, is made by `run`, and is fine afterwards; `check` itself changes nothing.
pub(super) fn would_be_created_then_ok(dialect: Dialect) {
    let database = Database::new(dialect);
    let program = over_files(&database, &one_person(&database).records, "");
    let (said, why) = verdict(&program.run(&["check", "--json"]).ok());
    assert_eq!(said, "would be created", "{why}");
    assert!(database.tables().is_empty(), "check made {:?}", database.tables());
    program.catch_up(&[]);
    let (said, why) = verdict(&program.run(&["check", "--json"]).ok());
    assert_eq!((said.as_str(), why.as_str()), ("ok", "key (id)"));
}

/// A table that cannot keep its contract: exit code 3, and a reason that names what helps.
#[track_caller]
pub(super) fn refused(database: &Database, source: &Source, extra: &str, remedy: &str) {
    let program = over_files(database, &source.records, extra);
    let finished = program.run(&["check", "--json"]).code(3);
    let (said, why) = verdict(&finished);
    assert_eq!(said, "refused");
    assert!(why.contains(remedy), "{why:?} does not say {remedy:?}");
}

#[test]
fn a_missing_table_would_be_created_in_sqlite() {
    would_be_created_then_ok(Dialect::Sqlite);
}

#[test]
fn a_table_without_a_key_is_refused() {
    let database = Database::sqlite();
    let mut source = Source::people("made.people", "main").keyless();
    source.upsert(10, json!({"id": 1, "name": "a"}));
    refused(&database, &source, "", "key");
}

#[test]
fn a_key_with_a_wider_equality_is_refused_in_sqlite() {
    let database = Database::sqlite();
    let sql =
        format!("create table {} (id text not null collate nocase primary key, name text)", database.table("people"));
    database.execute(&sql);
    let mut source = Source::new("made.people", "main", "people", &[("id", "string", None), ("name", "string", None)]);
    source.upsert(10, json!({"id": "a", "name": "a"}));
    refused(&database, &source, "", "nocase");
}

#[test]
fn a_missing_column_is_refused() {
    let database = Database::sqlite();
    database.execute(&format!("create table {} (id integer not null primary key)", database.table("people")));
    refused(&database, &one_person(&database), "", "exclude_columns");
}

#[test]
fn a_missing_table_is_refused_where_none_may_be_made() {
    let database = Database::sqlite();
    refused(&database, &one_person(&database), "[defaults]\ncreate = false\n", "create");
}

#[test]
fn all_errors_of_a_configuration_come_at_once_with_their_places() {
    let program = Program::new("[pipeline]\nnome = \"a\"\n[source]\nkind = \"files\"\n[sink]\nurl = \"mongo://x\"\n");
    let finished = program.run(&["check"]).code(2);
    for wanted in ["lastword.toml:2", "nome", "name", "lastword.toml:4", "files", "sink.url"] {
        assert!(finished.stderr.contains(wanted), "{wanted:?} is not in\n{}", finished.stderr);
    }
    assert!(finished.stdout.is_empty(), "{}", finished.stdout);
}

#[test]
fn a_missing_configuration_and_a_wrong_flag_are_refused() {
    let program = Program::new("");
    std::fs::remove_file(program.dir().join("lastword.toml")).expect("removed");
    let finished = program.run(&["run"]).code(2);
    assert!(finished.stderr.contains("no such file"), "{}", finished.stderr);
    program.run(&["run", "--faster"]).code(2);
    program.configure("");
    let finished = program.run(&["status", "--json"]).code(2);
    let error: Value = serde_json::from_str(&finished.stderr).expect("an error as JSON");
    assert_eq!(error["code"], "configuration");
}

#[test]
fn a_newer_store_is_refused_and_left_alone() {
    let database = Database::sqlite();
    let program = over_files(&database, &one_person(&database).records, "");
    program.catch_up(&[]);
    let meta = database.bookkeeping("meta");
    let names = database.texts(&format!("select name, value from {meta}"));
    let format = names.iter().find(|row| row[0].as_deref().is_some_and(|name| name.contains("format")));
    let name = format.and_then(|row| row[0].clone()).unwrap_or_else(|| panic!("no format in {names:?}"));
    database.execute(&format!("update {meta} set value = '999' where name = '{name}'"));
    let before = database.contents();
    for command in [&["check"][..], &["run", "--until-caught-up"], &["status"]] {
        let finished = program.run(command).code(4);
        assert!(finished.stderr.contains("999"), "{}", finished.stderr);
    }
    assert_same("nothing new was to be applied", &before, &database.contents());
}
