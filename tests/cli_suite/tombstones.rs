//! Tombstones are collected when nothing can bring their keys back but a refused record; rows that a new snapshot did not contain
//! are swept. Files stand in for the log: what is left out at their begin is gone from it.

use lastword::core::dialect::Dialect;
use serde_json::{Value, json};

use crate::support::captures;
use crate::support::database::{Database, assert_same};
use crate::support::events::Source;
use crate::support::program::{Program, number, over_files};

/// Everything is due as soon as nothing needs it.
const COLLECT: &str = "[defaults]\ntombstones = { retain = \"0s\", collect = true }\n";

/// Replaces the log by these records of a source.
fn log(program: &Program, records: &[captures::Captured]) {
    captures::write(&program.dir().join("records.jsonl"), records);
}

fn tombstones(program: &Program) -> Value {
    let found = program.run(&["tombstones", "status", "--json"]).ok().json();
    assert_eq!(found.as_array().expect("tables").len(), 1, "{found}");
    found[0].clone()
}

fn ids(database: &Database, table: &str) -> Vec<String> {
    let id = database.as_text("id", "int");
    let rows = database.texts(&format!("select {id} from {table} order by id"));
    let mut ids: Vec<String> = rows.into_iter().map(|row| row[0].clone().expect("an id")).collect();
    // By number: a database may take `id` for the text.
    ids.sort_by_key(|id| id.parse::<i64>().expect("a number"));
    ids
}

fn blocked(found: &Value) -> String {
    found["blocked"].to_string()
}

/// Three rows, of which one is deleted.
fn history(database: &Database) -> Source {
    let mut source = Source::people("made.people", database.home());
    for id in 1..=3 {
        source.upsert(10 * id, json!({"id": id, "name": "first"}));
    }
    source.delete(40, json!(2));
    source
}

/// Invariant 3, also after tombstones were collected: a late event of a deleted key is refused and kept, whether it comes alone or
/// with many; everything else goes on as before. A replay from below the floor is refused, until the table is filled anew.
pub(super) fn collected_and_never_back(dialect: Dialect, extra: &str) {
    let database = Database::new(dialect);
    let mut source = history(&database);
    let program = over_files(&database, &source.records, &format!("{COLLECT}{extra}"));
    program.catch_up(&[]);
    let found = tombstones(&program);
    assert_eq!((number(&found, "tombstones"), number(&found, "due")), (1, 0), "{found}");
    assert!(blocked(&found).contains("the log starts at 0"), "the create can still be read: {found}");
    let again = program.run(&["tombstones", "collect", "--json"]).ok().json();
    assert_eq!((number(&again[0], "due"), number(&again[0], "tombstones")), (0, 1), "{again}");

    let end = source.records.len();
    source.upsert(50, json!({"id": 4, "name": "new"}));
    log(&program, &source.records[end..]);
    let dry = program.run(&["tombstones", "collect", "--dry-run", "--json"]).ok().json();
    assert_eq!(number(&dry[0], "due"), 1, "a dry run counts and changes nothing: {dry}");
    assert_eq!(number(&tombstones(&program), "tombstones"), 1);
    program.catch_up(&[]);
    let found = tombstones(&program);
    assert_eq!((number(&found, "tombstones"), number(&found, "collected")), (0, 1), "{found}");
    assert_eq!(found["floors"].as_array().map(Vec::len), Some(1), "{found}");
    let status = program.run(&["status", "--json"]).ok().json();
    assert_eq!(number(&status["tables"][0], "tombstones"), 0, "{status}");

    let late = source.records.len();
    source.upsert(15, json!({"id": 2, "name": "risen"}));
    source.upsert(16, json!({"id": 1, "name": "stale"}));
    source.upsert(60, json!({"id": 3, "name": "newer"}));
    for id in 100..150 {
        source.upsert(20, json!({"id": id, "name": "risen"}));
    }
    source.upsert(70, json!({"id": 2, "name": "made again"}));
    source.upsert(25, json!({"id": 2, "name": "stale"}));
    log(&program, &source.records[late..]);
    let run = program.catch_up(&[]);
    assert_eq!(number(&run, "quarantined"), 51, "{run}");
    assert_eq!(number(&run, "retries"), 0, "found without a search: {run}");
    assert_eq!(ids(&database, &database.table("people")), ["1", "2", "3", "4"]);
    let kept = program.run(&["quarantine", "list", "--reason", "below_floor", "--json"]).ok().json();
    assert_eq!(kept.as_array().map(Vec::len), Some(51), "{kept}");
    let id = kept[1]["id"].to_string();
    let retried = program.run(&["quarantine", "retry", &id, "--json"]).code(4).json();
    assert!(retried[0]["outcome"].to_string().contains("below_floor"), "{retried}");
    assert_eq!(ids(&database, &database.table("people")), ["1", "2", "3", "4"]);

    log(&program, &source.records);
    let replay = ["replay", "--topic", "made.people", "--from-beginning"];
    let refused = program.run(&replay).code(4);
    assert!(refused.stderr.contains("below_floor") && refused.stderr.contains("tombstones reset"), "{refused:?}");
    let full = program.run(&["tombstones", "reset", "--table", "people"]).code(4);
    assert!(full.stderr.contains("not_empty"), "{full:?}");
    database.execute(&format!("delete from {}", database.table("people")));
    program.run(&["tombstones", "reset", "--table", "people", "--note", "filled anew"]).ok();
    let audit = program.run(&["audit", "--json"]).ok().json();
    assert!(audit.to_string().contains("tombstones reset") && audit.to_string().contains("filled anew"), "{audit}");
    let replayed = program.run(&[&replay[..], &["--json"]].concat()).ok().json();
    assert_eq!(replayed["summary"]["quarantined"], 0, "{replayed}");
    let alive: Vec<String> = ids(&database, &database.table("people"));
    assert_eq!(&alive[..4], ["1", "2", "3", "4"], "the history ends as it did, and what came late comes now");
}

#[test]
fn collected_tombstones_bring_nothing_back() {
    collected_and_never_back(Dialect::Sqlite, "");
}

#[test]
fn collected_tokens_bring_nothing_back() {
    collected_and_never_back(Dialect::Sqlite, "token_storage = \"side\"\n");
}

#[test]
fn collected_tombstones_of_soft_deletes_bring_nothing_back() {
    let database = Database::sqlite();
    let mut source = Source::people("made.people", database.home());
    source.upsert(10, json!({"id": 1, "name": "marked"}));
    source.delete(20, json!(1));
    // A key that was never seen leaves a tombstone.
    source.delete(21, json!(9));
    let program = over_files(&database, &source.records, &format!("{COLLECT}delete = \"soft\"\n"));
    // Row by row, so that the row is there to be marked.
    program.catch_up(&["--set", "batch.rows=1"]);
    assert_eq!(number(&tombstones(&program), "tombstones"), 1);
    let end = source.records.len();
    source.upsert(11, json!({"id": 1, "name": "stale"}));
    log(&program, &source.records[end..]);
    program.catch_up(&[]);
    assert_eq!(number(&tombstones(&program), "tombstones"), 0);
    let late = source.records.len();
    source.upsert(12, json!({"id": 9, "name": "risen"}));
    source.upsert(13, json!({"id": 1, "name": "stale"}));
    log(&program, &source.records[late..]);
    let run = program.catch_up(&[]);
    assert_eq!(
        (number(&run, "quarantined"), number(&run, "superseded_by_row")),
        (1, 1),
        "a marked row has its token: {run}"
    );
    assert_eq!(ids(&database, &database.table("people")), ["1"]);
}

/// Another pipeline that feeds the table and lags keeps its tombstones, also when it runs no more.
pub(super) fn another_pipeline_counts(dialect: Dialect) {
    let database = Database::new(dialect);
    let mut source = history(&database);
    let program = over_files(&database, &source.records, COLLECT);
    let other = over_files(&database, &source.records[..2], "");
    other.catch_up(&[]);
    program.catch_up(&[]);
    let end = source.records.len();
    source.upsert(50, json!({"id": 4, "name": "new"}));
    log(&program, &source.records[end..]);
    program.catch_up(&[]);
    let found = tombstones(&program);
    assert_eq!(number(&found, "tombstones"), 1, "{found}");
    assert!(blocked(&found).contains("is at 2, it must have passed 5"), "{found}");
    log(&other, &source.records);
    other.catch_up(&[]);
    program.run(&["tombstones", "collect"]).ok();
    let found = tombstones(&program);
    assert_eq!(number(&found, "tombstones"), 0, "{found}");
    assert_eq!(ids(&database, &database.table("people")), ["1", "3", "4"]);
}

#[test]
fn another_pipeline_keeps_tombstones() {
    another_pipeline_counts(Dialect::Sqlite);
}

/// Nothing is collected that the configuration does not ask for, or while it is younger than `retain`.
#[test]
fn collection_is_asked_for_and_waits_for_its_time() {
    let database = Database::sqlite();
    let mut source = history(&database);
    let program = over_files(&database, &source.records, "");
    program.catch_up(&[]);
    let end = source.records.len();
    source.upsert(50, json!({"id": 4, "name": "new"}));
    log(&program, &source.records[end..]);
    program.catch_up(&[]);
    let found = tombstones(&program);
    assert_eq!((&found["collect"], number(&found, "tombstones"), number(&found, "generations")), (&json!(false), 1, 0));
    let refused = program.run(&["tombstones", "collect", "--table", "people"]).code(4);
    assert!(refused.stderr.contains("not_collected"), "{refused:?}");
    let week = ["--set", "defaults.tombstones.collect=true"];
    program.run(&[&["tombstones", "collect"], &week[..]].concat()).ok();
    let found = program.run(&[&["tombstones", "status", "--json"], &week[..]].concat()).ok().json();
    assert_eq!((number(&found[0], "tombstones"), number(&found[0], "generations")), (1, 1), "{found}");
    assert!(blocked(&found[0]).contains("younger than"), "{found}");
}

/// A connector that was made anew reads a second snapshot into its topic: rows that vanished in the gap have no delete
/// event. A sweep removes exactly them; without one the dry run counts them.
pub(super) fn recreated_connectors(dialect: Dialect) {
    for scenario in ["recreated_new_slot", "recreated_same_slot"] {
        for form in ["json-schemas", "json-plain"] {
            let database = Database::new(dialect);
            let path = captures::file("postgresql", form, scenario).expect("the capture");
            let records = captures::read(&path);
            let expected = captures::expected("postgresql", scenario).remove(0);
            let into = "[[table]]\ntopic = \"^.*\"\ninto = \"contacts\"\n";
            if form == "json-plain" {
                let text = if dialect == Dialect::Sqlite { "text" } else { "varchar(100)" };
                let strict = if dialect == Dialect::Sqlite { "strict" } else { "" };
                database
                    .execute(&format!("create table contacts (id integer primary key, v {text}, n integer) {strict}"));
            }
            let program = over_files(&database, &records, into);
            program.catch_up(&[]);
            let show = || {
                let columns =
                    [("id", "int"), ("v", "text"), ("n", "int")].map(|(name, kind)| database.as_text(name, kind));
                database.texts(&format!("select {} from contacts order by contacts.id", columns.join(", ")))
            };
            assert_eq!(show().len(), expected.rows.len() + 3, "{scenario} {form}: rows that vanished in the gap stay");
            let dry =
                program.run(&["sweep", "run", "--table", "contacts", "--dry-run", "--show-keys", "--json"]).ok().json();
            let open: Vec<&Value> =
                dry.as_array().expect("snapshots").iter().filter(|one| one["state"] == "marked").collect();
            let last = open.last().expect("the second snapshot");
            assert_eq!((number(last, "would_remove"), blocked(last)), (3, "[]".to_owned()), "{dry}");
            assert!(["12", "13", "16"].iter().all(|id| last["keys"].to_string().contains(id)), "{dry}");
            assert_eq!(show().len(), expected.rows.len() + 3, "a dry run changes nothing");

            let sweep = program.run(&["sweep", "run", "--table", "contacts", "--json"]).ok().json();
            assert_eq!(number(&sweep, "removed"), 3, "{sweep}");
            assert_eq!(show(), expected.rows, "{scenario} {form}");
            let before = database.contents();
            let topic = &records[0].topic;
            program.run(&["replay", "--topic", topic, "--from-beginning"]).ok();
            assert_same("a replay after a sweep", &before, &database.contents());
            assert_eq!(
                number(&program.run(&["sweep", "run", "--table", "contacts", "--json"]).ok().json(), "removed"),
                0
            );

            let automatic = Database::new(dialect);
            if form == "json-schemas" {
                let program = over_files(&automatic, &records, &format!("{into}resnapshot = \"sweep\"\n"));
                program.catch_up(&[]);
                let ids: Vec<String> = expected.rows.iter().map(|row| row[0].clone().expect("an id")).collect();
                let table = automatic.dialect.ident("contacts");
                assert_eq!(self::ids(&automatic, &table), ids, "{scenario}: the service sweeps by itself");
            }
        }
    }
}

#[test]
fn rows_that_a_second_snapshot_did_not_contain_are_swept() {
    recreated_connectors(Dialect::Sqlite);
}

/// A record of the snapshot that is quarantined is there at the source: nothing is swept beside it. Rows of MariaDB's snapshots have no
/// common position: the option is refused.
#[test]
fn a_sweep_that_would_guess_is_refused() {
    let database = Database::sqlite();
    let path = captures::file("postgresql", "json-schemas", "recreated_new_slot").expect("the capture");
    let mut records = captures::read(&path);
    let broken =
        records.iter_mut().rfind(|record| record.payload.as_ref().is_some_and(|it| it.contains("\"op\":\"r\"")));
    broken.expect("a row of the second snapshot").payload = Some("{".to_owned());
    let rule = "[[table]]\ntopic = \"^.*\"\ninto = \"contacts\"\nresnapshot = \"sweep\"\n";
    let program = over_files(&database, &records, rule);
    program.catch_up(&[]);
    let waits = program.run(&["sweep", "run", "--table", "contacts", "--json"]).code(4).json();
    assert_eq!(number(&waits, "removed"), 0, "{waits}");
    assert!(waits["blocked"].to_string().contains("quarantined"), "{waits}");

    let path = captures::file("mariadb", "json-schemas", "recreated_connector").expect("the capture");
    let database = Database::sqlite();
    let program = over_files(&database, &captures::read(&path), rule);
    let refused = program.run(&["check"]).code(3);
    assert!(refused.stdout.contains("one position for a whole snapshot"), "{refused:?}");
}
