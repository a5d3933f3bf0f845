//! Names of any kind are quoted right everywhere, and a table that exists decides what its columns hold.

use lastword::core::dialect::Dialect;
use lastword::core::table::TableName;
use serde_json::json;

use crate::support::database::{Database, assert_same};
use crate::support::events::Source;
use crate::support::program::{number, over_files};

/// Mixed case, reserved words, letters beyond ASCII, and what would be SQL were it not quoted.
pub(super) fn hostile_names(dialect: Dialect) {
    let database = Database::new(dialect);
    let table = "Größe \"x\"; drop`table";
    let columns = [
        ("Id", "int32", None),
        ("select", "string", None),
        ("a\"b`c'd", "string", None),
        ("ünï %s $1 ?", "int64", None),
    ];
    let mut source = Source::new("made.hostile", database.home(), table, &columns);
    let row = |id: i64, text: &str| json!({"Id": id, "select": text, "a\"b`c'd": "'; --", "ünï %s $1 ?": id});
    source.upsert(10, row(1, "a"));
    source.upsert(20, row(2, "b"));
    source.upsert(30, row(1, "c"));
    source.delete(40, json!(2));
    source.upsert(25, row(2, "late"));
    source.raw(None, "bad");
    let program = over_files(&database, &source.records, "");
    let run = program.catch_up(&["--set", "batch.rows=1"]);
    assert_eq!((number(&run, "quarantined"), number(&run, "superseded_by_tombstone")), (1, 1), "{run}");
    let quoted = dialect.table(&TableName::new(Some(database.home()), table));
    let selected: Vec<String> = columns.iter().map(|(name, ..)| database.as_text(name, "")).collect();
    let rows = database.texts(&format!("select {} from {quoted}", selected.join(", ")));
    let wanted: Vec<Option<String>> = ["1", "c", "'; --", "1"].iter().map(|cell| Some((*cell).to_owned())).collect();
    assert_eq!(rows, [wanted]);
    let contents = database.contents();
    program.run(&["replay", "--topic", "made.hostile", "--from-beginning", "--set", "batch.rows=1"]).ok();
    assert_same("nothing new was to be applied", &contents, &database.contents());
    for command in [&["status"][..], &["check"], &["quarantine", "list"], &["offsets", "show"]] {
        program.run(command).ok();
    }
}

/// A table that is there already has other types than the events: its columns decide, and what does not fit is kept aside, never
/// bent.
pub(super) fn other_types(dialect: Dialect) {
    let database = Database::new(dialect);
    let body = match dialect {
        Dialect::Postgres => "id bigint primary key, amount text, day text, small smallint",
        Dialect::Mysql => "id bigint primary key, amount varchar(30), day varchar(30), small smallint",
        Dialect::Sqlite => "id integer primary key not null, amount text, day text, small integer",
    };
    database.execute(&format!("create table {} ({body})", database.table("typed")));
    let columns = [
        ("id", "int32", None),
        ("amount", "int64", None),
        ("day", "int32", Some("io.debezium.time.Date")),
        ("small", "int64", None),
    ];
    let mut source = Source::new("made.typed", database.home(), "typed", &columns);
    source.upsert(10, json!({"id": 1, "amount": 12, "day": 19724, "small": 7}));
    source.upsert(20, json!({"id": 2, "amount": 13, "day": null, "small": 70_000}));
    source.upsert(30, json!({"id": 3, "amount": 14, "day": 0, "small": null}));
    let run = over_files(&database, &source.records, "").catch_up(&[]);
    let selected: Vec<String> = columns.iter().map(|(name, ..)| database.as_text(name, "")).collect();
    let sql = format!("select {} from {} order by id", selected.join(", "), database.table("typed"));
    let rows: Vec<String> = database.texts(&sql).iter().map(|row| format!("{row:?}").replace("Some", "")).collect();
    let one = r#"[("1"), ("12"), ("2024-01-02"), ("7")]"#;
    let three = r#"[("3"), ("14"), ("1970-01-01"), None]"#;
    if dialect == Dialect::Sqlite {
        assert_eq!(rows, [one, r#"[("2"), ("13"), None, ("70000")]"#, three]);
    } else {
        assert_eq!(rows, [one, three]);
        assert_eq!(number(&run, "quarantined"), 1, "{run}");
    }
}

#[test]
fn hostile_names_in_sqlite() {
    hostile_names(Dialect::Sqlite);
}

#[test]
fn other_types_in_sqlite() {
    other_types(Dialect::Sqlite);
}
