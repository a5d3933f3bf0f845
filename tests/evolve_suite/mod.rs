//! Tables follow the schemas of their events, and what is refused stops one table only, until someone runs the statement.

mod on_services;

use lastword::core::dialect::Dialect;
use serde_json::{Value, json};

use crate::support::database::{Database, assert_same};
use crate::support::events::{Column, Source};
use crate::support::program::{Program, Running, over_files};
use crate::support::{eventually, unique};

/// The first schema of the table.
const FIRST: [Column; 3] = [("id", "int32", None), ("n", "int32", None), ("name", "string", None)];
/// Its key and a number are wider, a column is new.
const SECOND: [Column; 4] =
    [("id", "int64", None), ("n", "int64", None), ("name", "string", None), ("extra", "string", None)];
/// A column is gone.
const THIRD: [Column; 3] = [("id", "int64", None), ("n", "int64", None), ("extra", "string", None)];

const WIDEN: &str = "[defaults]\nevolve = \"widen\"\n";

/// A table that changes twice while it is written.
fn grown(database: &Database) -> Source {
    let mut source = Source::new("made.public.people", database.home(), "people", &FIRST);
    source.upsert(10, json!({"id": 1, "n": 1, "name": "a"}));
    source.upsert(20, json!({"id": 2, "n": 2, "name": "b"}));
    source.delete(25, json!(2));
    source.alter(&SECOND);
    source.upsert(30, json!({"id": 3_000_000_000_i64, "n": 5_000_000_000_i64, "name": "c", "extra": "x"}));
    source.upsert(40, json!({"id": 1, "n": 4, "name": "d", "extra": null}));
    source.upsert(42, json!({"id": 4_000_000_000_i64, "n": 1, "name": "gone", "extra": null}));
    source.delete(45, json!(4_000_000_000_i64));
    source.alter(&THIRD);
    source.upsert(50, json!({"id": 5, "n": 6_000_000_000_i64, "extra": "y"}));
    source.upsert(60, json!({"id": 1, "n": 7, "extra": "z"}));
    source
}

const GROWN: [[Option<&str>; 4]; 3] = [
    [Some("1"), Some("7"), Some("d"), Some("z")],
    [Some("3000000000"), Some("5000000000"), Some("c"), Some("x")],
    [Some("5"), Some("6000000000"), None, Some("y")],
];

fn assert_grown(database: &Database, what: &str) {
    let rows = database.texts(&format!("select id, n, name, extra from {} order by id", database.table("people")));
    let wanted = [&GROWN[0], &GROWN[2], &GROWN[1]].map(|row| row.map(|cell| cell.map(str::to_owned)).to_vec());
    assert_eq!(rows, wanted, "{what}");
}

/// Whatever the batches, the table follows; a replay of the old schemas takes nothing back (invariant 7).
pub(super) fn a_table_follows_its_source(dialect: Dialect) {
    for rows in [1000, 1, 3] {
        let database = Database::new(dialect);
        let program = over_files(&database, &grown(&database).records, WIDEN);
        let run = program.catch_up(&["--set", &format!("batch.rows={rows}")]);
        assert!(run["halted"].as_array().is_some_and(Vec::is_empty), "{run}");
        assert_grown(&database, &format!("{dialect:?}, batches of {rows}"));
        let contents = database.contents();
        program.run(&["replay", "--topic", "made.public.people", "--from-beginning", "--set", "batch.rows=2"]).ok();
        assert_same("old schemas were read again", &contents, &database.contents());
    }
}

/// Two processes that meet a change at once do it once, and both go on.
pub(super) fn two_meet_a_change_at_once(dialect: Dialect) {
    for _ in 0..2 {
        let database = Database::new(dialect);
        let records = grown(&database).records;
        let programs: Vec<Program> = (0..2).map(|_| over_files(&database, &records, WIDEN)).collect();
        let args = ["run", "--until-caught-up", "--json", "--set", "batch.rows=2"];
        let running: Vec<Running> = programs.iter().map(|program| program.start(&args)).collect();
        for one in running {
            let run = one.wait(crate::support::LIMIT).ok().json();
            assert!(run["halted"].as_array().is_some_and(Vec::is_empty), "{run}");
        }
        assert_grown(&database, &format!("{dialect:?}"));
    }
}

fn is_there(database: &Database, table: &str) -> bool {
    let wanted = database.table(table);
    database.tables().values().any(|quoted| wanted.ends_with(quoted.as_str()))
}

/// Why the last partition stopped, as the process logs it.
fn stopped(running: &Running, reason: &str) -> String {
    eventually(&format!("a partition stops with {reason}"), || {
        let text = running.stderr();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut whys = lines.filter_map(|line| line["why"].as_str().map(str::to_owned));
        whys.rfind(|why| why.contains(reason))
    })
}

/// The statement that a reason names.
fn statement(why: &str) -> String {
    let (_, rest) = why.split_once("Resolved by: ").unwrap_or_else(|| panic!("no statement: {why}"));
    rest.split("; or ").next().unwrap_or(rest).to_owned()
}

/// What is refused stops one table; the others go on, and so does this one when its statement was run. No restart.
pub(super) fn a_refusal_stops_one_table_until_it_is_resolved(dialect: Dialect) {
    let database = Database::new(dialect);
    let mut people = Source::people("made.public.people", database.home());
    people.upsert(10, json!({"id": 1, "name": "a"}));
    people.alter(&[("id", "int32", None), ("name", "string", None), ("born \"in\"", "int32", None)]);
    people.upsert(20, json!({"id": 2, "name": "b", "born \"in\"": 1999}));
    let mut orders = Source::new("made.public.orders", database.home(), "orders", &FIRST);
    orders.upsert(30, json!({"id": 1, "n": 1, "name": "late"}));
    let records = [people.records, orders.records].concat();
    let program = over_files(&database, &records, "");
    let running = program.start(&["run"]);
    let count = |table: &str| {
        let sql = format!("select count(*) from {}", database.table(table));
        is_there(&database, table).then(|| database.texts(&sql)[0][0].clone()).flatten()
    };
    eventually("the other table is written", || (count("orders").as_deref() == Some("1")).then_some(()));
    let why = stopped(&running, "unknown_column");
    assert_eq!(count("people").as_deref(), Some("1"), "{why}");
    database.execute(&statement(&why));
    eventually("it goes on by itself", || (count("people").as_deref() == Some("2")).then_some(()));
    let born = database.dialect.ident("born \"in\"");
    let found = database.texts(&format!("select {born} from {} where id = 2", database.table("people")));
    assert_eq!(found, [[Some("1999".to_owned())]]);
    running.signal("TERM");
    running.wait(crate::support::LIMIT).ok();
}

/// What is only validated is refused before a value does not fit, with all that differs.
pub(super) fn validation_names_every_difference(dialect: Dialect) {
    let database = Database::new(dialect);
    let mut people = Source::new("made.public.people", database.home(), "people", &FIRST);
    people.upsert(10, json!({"id": 1, "n": 1, "name": "a"}));
    over_files(&database, &people.records, "").catch_up(&[]);
    people.alter(&SECOND);
    people.upsert(20, json!({"id": 1, "n": 2, "name": "b", "extra": "x"}));
    let program = over_files(&database, &people.records, "[defaults]\nevolve = \"validate\"\n");
    let run = program.run(&["run", "--until-caught-up", "--json"]).json();
    let why = run["halted"][0].as_str().expect("a stop").to_owned();
    assert!(why.contains("schema_differs") && why.contains("\"extra\""), "{why}");
    // SQLite's integers have one width.
    let narrow = dialect != Dialect::Sqlite;
    assert_eq!(why.contains("\"n\"") && why.contains("\"id\""), narrow, "{why}");
    let rows = database.texts(&format!("select n from {}", database.table("people")));
    assert_eq!(rows, [[Some("1".to_owned())]], "nothing of the new schema was written");
}

/// A column that the source dropped and that needs a value stops its table, or is relieved of that.
pub(super) fn a_dropped_column_that_needs_a_value(dialect: Dialect, text: &str) {
    let database = Database::new(dialect);
    let table = database.table("people");
    database.execute(&format!("create table {table} (id int not null primary key, name {text} not null)"));
    let mut people = Source::new("made.public.people", database.home(), "people", &[("id", "int32", None)]);
    people.upsert(10, json!({"id": 1}));
    let run = over_files(&database, &people.records, "").run(&["run", "--until-caught-up", "--json"]).json();
    let why = run["halted"][0].as_str().expect("a stop").to_owned();
    assert!(why.contains("column_not_carried") && why.contains("\"name\""), "{why}");
    if dialect != Dialect::Sqlite {
        over_files(&database, &people.records, WIDEN).catch_up(&[]);
        assert_eq!(database.texts(&format!("select name from {table}")), [[None]]);
    }
}

/// The plan can be run as it stands, and then nothing is left to do; `check` itself changes nothing.
pub(super) fn a_plan_can_be_run(dialect: Dialect) {
    let database = Database::new(dialect);
    let source = grown(&database);
    let names = over_files(&database, &source.records, WIDEN);
    let schema: Vec<Value> = plan(&names);
    assert!(schema.iter().all(|planned| planned["runs"] == true), "{schema:?}");
    assert!(database.tables().is_empty(), "check made {:?}", database.tables());
    for planned in schema {
        database.execute(planned["statement"].as_str().expect("a statement"));
    }
    // The sample begins with the first schema: that made the table.
    let rest = plan(&names);
    assert!(
        rest.iter().any(|planned| planned["statement"].as_str().is_some_and(|text| text.contains("extra"))),
        "{rest:?}"
    );
    for planned in rest {
        database.execute(planned["statement"].as_str().expect("a statement"));
    }
    assert_eq!(plan(&names), Vec::<Value>::new());
    let text = names.run(&["check", "--plan"]).ok().stdout;
    assert_eq!(text.trim(), "-- nothing to do", "{text}");
    names.catch_up(&[]);
    assert_grown(&database, &format!("{dialect:?}"));
}

fn plan(program: &Program) -> Vec<Value> {
    program.run(&["check", "--plan", "--json"]).ok().json().as_array().expect("statements").clone()
}

#[test]
fn a_table_follows_its_source_in_sqlite() {
    a_table_follows_its_source(Dialect::Sqlite);
}

#[test]
fn two_meet_a_change_at_once_in_sqlite() {
    two_meet_a_change_at_once(Dialect::Sqlite);
}

#[test]
fn a_refusal_stops_one_table_in_sqlite() {
    a_refusal_stops_one_table_until_it_is_resolved(Dialect::Sqlite);
}

#[test]
fn validation_in_sqlite() {
    validation_names_every_difference(Dialect::Sqlite);
}

#[test]
fn a_dropped_column_in_sqlite() {
    a_dropped_column_that_needs_a_value(Dialect::Sqlite, "text");
}

#[test]
fn a_plan_can_be_run_in_sqlite() {
    a_plan_can_be_run(Dialect::Sqlite);
}
