//! Contents do not depend on the delivery, on where batches are cut, or on what is read again.

use lastword::core::dialect::Dialect;
use serde_json::{Value, json};

use super::SCENARIOS;
use super::stage::{Form, From, Stage};
use crate::support::captures;
use crate::support::database::{Contents, Database, assert_same};
use crate::support::events::Source;
use crate::support::program::{number, over_files};
use crate::support::random::{Random, seed};

/// Newest wins and no resurrection: a worse delivery in small batches leads to the same contents, and the guards against rows
/// and tombstones had something to decide.
pub(super) fn survives_a_worse_delivery(dialect: Dialect, from: From) {
    let mut random = Random::new(seed());
    let (mut by_row, mut by_tombstone) = (0, 0);
    for connector in ["postgresql", "mariadb"] {
        let stage = Stage::new(connector, Form::Schemas, dialect, &SCENARIOS);
        let records = captures::shuffled(stage.records(), random.next());
        let rows = format!("batch.rows={}", 1 + random.below(7));
        println!("{connector}: {} records, {rows}", records.len());
        let run: Value = stage.program(from, &records).catch_up(&["--set", &rows]);
        stage.assert_expected();
        stage.assert_accounted(&run, &records);
        by_row += number(&run, "superseded_by_row");
        by_tombstone += number(&run, "superseded_by_tombstone");
    }
    assert!(by_row > 0, "no record lost to a row: the guard was not tested");
    assert!(by_tombstone > 0, "no record lost to a tombstone: the guard was not tested");
}

/// Batches of any size lead to the same rows, tokens and tombstones.
pub(super) fn cuts_do_not_matter(dialect: Dialect) {
    for connector in ["postgresql", "mariadb"] {
        let mut first: Option<Contents> = None;
        for rows in [1000, 1, 2, 7] {
            let stage = Stage::new(connector, Form::Schemas, dialect, &SCENARIOS);
            stage.program(From::Files, stage.records()).catch_up(&["--set", &format!("batch.rows={rows}")]);
            stage.assert_expected();
            let contents = stage.database.contents();
            assert!(contents.iter().any(|(table, lines)| table.contains("tombstone_") && !lines.is_empty()));
            match &first {
                None => first = Some(contents),
                Some(first) => assert_same(&format!("{connector}, batches of 1000 and of {rows}"), first, &contents),
            }
        }
    }
}

/// Replayable: everything read again, in small batches, changes no row, token or tombstone, and the guard is what stops it.
pub(super) fn replay_changes_nothing(dialect: Dialect, from: From) {
    let stage = Stage::new("postgresql", Form::Schemas, dialect, &SCENARIOS);
    let program = stage.program(from, stage.records());
    program.catch_up(&[]);
    let contents = stage.database.contents();
    let status = program.run(&["status", "--json"]).ok().json();
    let partitions = status["partitions"].as_array().expect("partitions");
    let mut topics: Vec<&str> =
        partitions.iter().map(|partition| partition["topic"].as_str().expect("a topic")).collect();
    topics.dedup();
    for topic in topics {
        program.run(&["replay", "--topic", topic, "--from-beginning", "--set", "batch.rows=7"]).ok();
    }
    assert_same("nothing new was to be applied", &contents, &stage.database.contents());
    let replays = program.run(&["replay", "--list", "--json"]).ok().json();
    let sum =
        |key: &str| -> i64 { replays.as_array().expect("replays").iter().map(|replay| number(replay, key)).sum() };
    assert_eq!(sum("records"), stage.records().len() as i64, "{replays}");
    assert_eq!(sum("applied"), 0, "{replays}");
    assert!(sum("superseded") > 0, "{replays}");
}

/// Invariant 3: a TRUNCATE that is read before anything made its table holds for older rows that come later, and the next one
/// finds the table.
pub(super) fn a_truncate_may_come_first(dialect: Dialect) {
    for rows in [1, 1000] {
        let database = Database::new(dialect);
        let mut people = Source::people("made.public.people", database.home());
        people.truncate(200);
        people.upsert(100, json!({"id": 1, "name": "before the first"}));
        people.upsert(300, json!({"id": 2, "name": "after the first"}));
        people.truncate(400);
        people.upsert(350, json!({"id": 3, "name": "before the second"}));
        people.upsert(500, json!({"id": 4, "name": "after the second"}));
        let run = over_files(&database, &people.records, "").catch_up(&["--set", &format!("batch.rows={rows}")]);
        let left = database.texts(&format!("select id from {}", database.table("people")));
        assert_eq!(left, [[Some("4".to_owned())]], "{dialect:?}, batches of {rows}: {run}");
    }
}

#[test]
fn a_truncate_may_come_first_in_sqlite() {
    a_truncate_may_come_first(Dialect::Sqlite);
}

#[test]
fn a_worse_delivery_into_sqlite() {
    survives_a_worse_delivery(Dialect::Sqlite, From::Files);
}

#[test]
fn cuts_do_not_matter_in_sqlite() {
    cuts_do_not_matter(Dialect::Sqlite);
}

#[test]
fn replay_changes_nothing_in_sqlite() {
    replay_changes_nothing(Dialect::Sqlite, From::Files);
}
