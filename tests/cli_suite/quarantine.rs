//! A record that cannot be applied is kept aside with its bytes, its neighbours go on, and what becomes of it is an operator's
//! audited act.

use lastword::core::dialect::Dialect;
use serde_json::{Value, json};

use crate::support::database::Database;
use crate::support::events::Source;
use crate::support::program::{Program, number, over_files};

fn names(database: &Database) -> Vec<Vec<Option<String>>> {
    let (id, name) = (database.as_text("id", "int"), database.as_text("name", "text"));
    database.texts(&format!("select {id}, {name} from {} order by id", database.table("people")))
}

fn pairs(rows: &[(&str, &str)]) -> Vec<Vec<Option<String>>> {
    rows.iter().map(|(id, name)| vec![Some((*id).to_owned()), Some((*name).to_owned())]).collect()
}

fn open(program: &Program) -> Vec<Value> {
    program.run(&["quarantine", "list", "--json"]).ok().json().as_array().expect("a list").clone()
}

#[track_caller]
fn assert_audited(program: &Program, act: &str) {
    let audit = program.run(&["audit", "--json"]).ok().json();
    assert!(audit.as_array().expect("acts").iter().any(|entry| entry["act"] == act), "{act} is not in {audit}");
}

/// Bytes that are no event, between good records: kept as they came, refused again by a retry, given up.
pub(super) fn an_undecodable_record(dialect: Dialect) {
    let database = Database::new(dialect);
    let mut source = Source::people("made.people", database.home());
    source.upsert(10, json!({"id": 1, "name": "before"}));
    source.raw(Some("{\"id\":7}"), "{\"half\": ");
    source.upsert(30, json!({"id": 2, "name": "behind"}));
    let program = over_files(&database, &source.records, "");
    let run = program.catch_up(&[]);
    assert_eq!((number(&run, "records"), number(&run, "quarantined")), (3, 1), "{run}");
    assert_eq!(names(&database), pairs(&[("1", "before"), ("2", "behind")]));

    let list = open(&program);
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!((number(&list[0], "offset"), &list[0]["reason"]), (1, &json!("undecodable")));
    let id = list[0]["id"].to_string();
    let shown = program.run(&["quarantine", "show", &id, "--json"]).ok().json();
    assert_eq!(shown["value"]["text"], "{\"half\": ", "{shown}");
    assert_eq!(shown["key"]["text"], "{\"id\":7}", "{shown}");

    let retried = program.run(&["quarantine", "retry", &id, "--json"]).code(4).json();
    assert!(retried[0]["outcome"].as_str().is_some_and(|outcome| outcome.starts_with("refused")), "{retried}");
    assert_eq!(open(&program).len(), 1, "a retry that is refused leaves the record open");
    assert_audited(&program, "quarantine retry");
    program.run(&["quarantine", "drop", &id, "--note", "seen"]).ok();
    assert!(open(&program).is_empty());
    let settled = program.run(&["quarantine", "list", "--settled", "--json"]).ok().json();
    assert_eq!(settled[0]["state"], "dropped", "{settled}");
    assert_audited(&program, "quarantine drop");
    assert_eq!(number(&program.catch_up(&[]), "records"), 0, "its offset was passed");
}

/// Rows that the table's own constraint refuses are found among their neighbours. Once the constraint allows them they are
/// applied by a retry, but never over something newer.
pub(super) fn a_violated_constraint(dialect: Dialect) {
    let database = Database::new(dialect);
    let (int, text) = if dialect == Dialect::Sqlite { ("integer", "text") } else { ("int", "varchar(20)") };
    database.execute(&format!(
        "create table {} (id {int} not null primary key, name {text}, constraint short check (length(name) < 5))",
        database.table("people")
    ));
    let mut source = Source::people("made.people", database.home());
    for id in 1..=9 {
        source.upsert(10 * id, json!({"id": id, "name": if id == 4 || id == 7 { "too long" } else { "ok" }}));
    }
    // 7 is written again: its quarantined change is older than its row.
    source.upsert(200, json!({"id": 7, "name": "new"}));
    // One batch would collapse the two changes of 7 before the constraint is asked.
    let program = over_files(&database, &source.records, "[batch]\nrows = 9\n");
    let run = program.catch_up(&[]);
    assert_eq!((number(&run, "records"), number(&run, "quarantined")), (10, 2), "{run}");
    let offsets: Vec<i64> = open(&program).iter().map(|entry| number(entry, "offset")).collect();
    assert_eq!(offsets.len(), 2);
    assert!(offsets.contains(&3) && offsets.contains(&6), "{offsets:?}");
    let good = ["1", "2", "3", "5", "6", "8", "9"];
    let mut wanted: Vec<(&str, &str)> = good.iter().map(|id| (*id, "ok")).collect();
    wanted.insert(5, ("7", "new"));
    assert_eq!(names(&database), pairs(&wanted));

    relax(&database);
    let retried = program.run(&["quarantine", "retry", "--all", "--json"]).ok().json();
    let outcomes: Vec<&str> =
        retried.as_array().expect("outcomes").iter().map(|one| one["outcome"].as_str().expect("text")).collect();
    assert!(outcomes.contains(&"applied") && outcomes.contains(&"superseded"), "{retried}");
    wanted.insert(3, ("4", "too long"));
    assert_eq!(names(&database), pairs(&wanted));
    assert!(open(&program).is_empty());
}

/// Takes the constraint away.
fn relax(database: &Database) {
    let table = database.table("people");
    if database.dialect != Dialect::Sqlite {
        database.execute(&format!("alter table {table} drop constraint short"));
        return;
    }
    // SQLite cannot drop a constraint: the rows move into a table without it.
    let columns = "\"id\", \"name\", \"_lastword_token\"";
    database.execute("create table relaxed (id integer not null primary key, name text, _lastword_token blob)");
    database.execute(&format!("insert into relaxed select {columns} from {table}"));
    database.execute(&format!("drop table {table}"));
    database.execute(&format!("alter table relaxed rename to {table}"));
}

#[test]
fn an_undecodable_record_in_sqlite() {
    an_undecodable_record(Dialect::Sqlite);
}

#[test]
fn a_violated_constraint_in_sqlite() {
    a_violated_constraint(Dialect::Sqlite);
}

/// With `bad_record = "stop"` the partition stays in front of the record, and an operator is asked for.
#[test]
fn a_bad_record_can_stop_its_partition() {
    let database = Database::sqlite();
    let mut source = Source::people("made.people", "main");
    source.upsert(10, json!({"id": 1, "name": "before"}));
    source.raw(None, "no event");
    source.upsert(30, json!({"id": 2, "name": "behind"}));
    let program = over_files(&database, &source.records, "[errors]\nbad_record = \"stop\"\n");
    let finished = program.run(&["run", "--until-caught-up", "--json"]).code(4);
    assert!(finished.stderr.contains("made.people"), "{}", finished.stderr);
    assert_eq!(names(&database), pairs(&[("1", "before")]));
    let status = program.run(&["status", "--json"]).ok().json();
    assert_eq!(number(&status["partitions"][0], "next_offset"), 1, "{status}");
}
