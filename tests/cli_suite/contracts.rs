//! What tables promise beside the usual: change logs, soft deletes, tokens aside, orders that are not the source's position.

use lastword::core::dialect::Dialect;
use serde_json::json;

use crate::support::captures::Captured;
use crate::support::database::{Database, assert_same};
use crate::support::events::Source;
use crate::support::program::{number, over_files};

fn text(rows: Vec<Vec<Option<String>>>) -> Vec<String> {
    let cells = |row: Vec<Option<String>>| {
        row.into_iter().map(|cell| cell.unwrap_or_else(|| "NULL".to_owned())).collect::<Vec<_>>().join("|")
    };
    rows.into_iter().map(cells).collect()
}

/// `id`, and more columns of `people`, in the order of the ids.
fn people(database: &Database, columns: &[(&str, &str)]) -> Vec<String> {
    let columns: Vec<String> = columns.iter().map(|(name, native)| database.as_text(name, native)).collect();
    text(database.texts(&format!("select {} from {} order by id", columns.join(", "), database.table("people"))))
}

const ID_NAME: [(&str, &str); 2] = [("id", "int"), ("name", "text")];

fn life(database: &Database) -> Source {
    let mut source = Source::people("made.people", database.home());
    source.upsert(10, json!({"id": 1, "name": "first"}));
    source.upsert(20, json!({"id": 1, "name": "second"}));
    source.upsert(30, json!({"id": 2, "name": "gone"}));
    source.delete(40, json!(2));
    source.upsert(50, json!({"id": 3, "name": "kept"}));
    source
}

/// A change log holds every record once, with its identity; reading all again adds nothing.
pub(super) fn a_change_log(dialect: Dialect) {
    let database = Database::new(dialect);
    let source = life(&database);
    let program = over_files(&database, &source.records, "[defaults]\ncontract = \"change-log\"\n");
    program.catch_up(&["--set", "batch.rows=2"]);
    let log = || {
        text(database.texts(&format!(
            "select {}, {} from {} order by record_offset",
            database.as_text("record_offset", "int"),
            database.as_text("op", "text"),
            database.table("people")
        )))
    };
    assert_eq!(log()[..4], ["0|c", "1|c", "2|c", "3|d"]);
    let contents = database.contents();
    program.run(&["replay", "--topic", "made.people", "--from-beginning"]).ok();
    assert_same("nothing new was to be applied", &contents, &database.contents());
}

/// A soft delete keeps the row and marks it; a newer change takes the mark off, an older one does not.
pub(super) fn soft_deletes(dialect: Dialect) {
    let database = Database::new(dialect);
    let mut source = life(&database);
    source.upsert(35, json!({"id": 2, "name": "late"}));
    source.delete(60, json!(3));
    source.upsert(70, json!({"id": 3, "name": "back"}));
    let program = over_files(&database, &source.records, "[defaults]\ndelete = \"soft\"\n");
    program.catch_up(&["--set", "batch.rows=1"]);
    let marked = people(&database, &[ID_NAME[0], ID_NAME[1], ("_lastword_deleted", "bool")]);
    let bare: Vec<String> = marked.iter().map(|row| row.replace("true", "1").replace("false", "0")).collect();
    assert_eq!(bare, ["1|second|0", "2|gone|1", "3|back|0"]);
}

/// With tokens aside the table gets no column, and the guards work as ever.
pub(super) fn tokens_aside(dialect: Dialect) {
    let database = Database::new(dialect);
    let mut source = life(&database);
    source.upsert(15, json!({"id": 1, "name": "late"}));
    source.upsert(35, json!({"id": 2, "name": "late"}));
    let program = over_files(&database, &source.records, "[defaults]\ntoken_storage = \"side\"\n");
    let run = program.catch_up(&["--set", "batch.rows=1"]);
    assert_eq!(people(&database, &ID_NAME), ["1|second", "3|kept"]);
    assert_eq!((number(&run, "superseded_by_row"), number(&run, "superseded_by_tombstone")), (1, 1), "{run}");
    let table = if dialect == Dialect::Mysql { "people".to_owned() } else { format!("{}.people", database.home()) };
    let columns: Vec<String> = database.columns(&table).into_iter().map(|(name, _)| name).collect();
    assert_eq!(columns, ["id", "name"]);
}

/// The record form: the table and the order are in the record.
pub(super) fn the_record_form(dialect: Dialect) {
    let database = Database::new(dialect);
    let quoted = database.table("people");
    let text_type = if dialect == Dialect::Mysql { "varchar(50)" } else { "text" };
    database.execute(&format!("create table {quoted} (id bigint not null primary key, name {text_type})"));
    let name = format!("{}.people", database.home());
    let record = |offset: i64, op: &str, id: i64, after: serde_json::Value, lsn: &str| Captured {
        topic: "form".to_owned(),
        partition: 0,
        offset,
        ts: offset,
        headers: Vec::new(),
        key: None,
        payload: Some(
            json!({"source_table": name, "op": op, "key": {"id": id}, "before": null, "after": after,
                "source_position": {"lsn": lsn, "tx_id": 7}})
            .to_string(),
        ),
    };
    let records = [
        record(0, "insert", 1, json!({"id": 1, "name": "new"}), "0/16B6A90"),
        record(1, "insert", 2, json!({"id": 2, "name": "x"}), "0/16B6A91"),
        record(2, "update", 1, json!({"id": 1, "name": "old"}), "0/16B6A8F"),
        record(3, "delete", 2, json!(null), "1/0"),
        record(4, "update", 2, json!({"id": 2, "name": "late"}), "0/FFFFFFFF"),
    ];
    let run = over_files(&database, &records, "").catch_up(&["--set", "batch.rows=1"]);
    assert_eq!(people(&database, &ID_NAME), ["1|new"], "{run}");
    assert_eq!((number(&run, "superseded_by_row"), number(&run, "superseded_by_tombstone")), (1, 1), "{run}");
}

#[test]
fn a_change_log_in_sqlite() {
    a_change_log(Dialect::Sqlite);
}

#[test]
fn soft_deletes_in_sqlite() {
    soft_deletes(Dialect::Sqlite);
}

#[test]
fn tokens_aside_in_sqlite() {
    tokens_aside(Dialect::Sqlite);
}

#[test]
fn the_record_form_in_sqlite() {
    the_record_form(Dialect::Sqlite);
}

/// Columns of the row decide, whatever the source's position says.
#[test]
fn columns_can_order_changes() {
    let database = Database::sqlite();
    let columns = [("id", "int32", None), ("name", "string", None), ("version", "int64", None)];
    let mut source = Source::new("made.people", "main", "people", &columns);
    source.upsert(30, json!({"id": 1, "name": "v2", "version": 2}));
    source.upsert(40, json!({"id": 1, "name": "v1", "version": 1}));
    source.upsert(10, json!({"id": 2, "name": "v-5", "version": -5}));
    source.upsert(20, json!({"id": 2, "name": "v3", "version": 3}));
    let rule = "[[table]]\ntopic = \"made.people\"\norder_by = [\"version\"]\n";
    let run = over_files(&database, &source.records, rule).catch_up(&["--set", "batch.rows=1"]);
    assert_eq!(people(&database, &ID_NAME), ["1|v2", "2|v3"]);
    assert_eq!(number(&run, "superseded_by_row"), 1, "{run}");
}

/// Without a position a table is refused; only who asks for it by name gets the order of the partition.
#[test]
fn the_offset_is_a_fallback_by_name() {
    let database = Database::sqlite();
    let mut source = life(&database);
    for record in &mut source.records {
        record.payload =
            record.payload.as_ref().map(|text| text.replace("\"connector\":\"postgresql\"", "\"connector\":\"other\""));
    }
    let refused = over_files(&database, &source.records, "").run(&["check", "--json"]).code(3);
    let (_, why) = super::check::verdict(&refused);
    assert!(why.contains("offset_order"), "{why}");
    let program = over_files(&database, &source.records, "[defaults]\noffset_order = true\n");
    program.catch_up(&[]);
    assert_eq!(people(&database, &ID_NAME), ["1|second", "3|kept"]);
}
