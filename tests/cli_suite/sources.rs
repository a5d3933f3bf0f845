//! Two sources for one table: refused, by `check` and by `run`, unless columns order the changes of both.

use lastword::core::dialect::Dialect;
use serde_json::json;

use crate::support::captures::Captured;
use crate::support::database::Database;
use crate::support::events::Source;
use crate::support::program::{number, over_files};

/// A second source of the same table: another logical name in its events.
fn of_another(records: &[Captured]) -> Vec<Captured> {
    let renamed = |record: &Captured| {
        let payload = record.payload.as_ref().map(|text| text.replace("\"name\":\"made\"", "\"name\":\"other\""));
        Captured { payload, ..record.clone() }
    };
    records.iter().map(renamed).collect()
}

fn two(database: &Database) -> (Vec<Captured>, Vec<Captured>) {
    let mut source = Source::people("made.people", database.home());
    source.upsert(10, json!({"id": 1, "name": "a"}));
    source.upsert(20, json!({"id": 2, "name": "b"}));
    let mut other = Source::people("other.people", database.home());
    other.upsert(15, json!({"id": 1, "name": "x"}));
    other.upsert(25, json!({"id": 3, "name": "y"}));
    (source.records, of_another(&other.records))
}

pub(super) fn two_sources_are_refused(dialect: Dialect) {
    let database = Database::new(dialect);
    let (mut records, others) = two(&database);
    let first = over_files(&database, &records, "");
    records.extend(others.clone());
    let both = over_files(&database, &records, "");
    let checked = both.run(&["check", "--json"]).code(3);
    assert!(checked.stdout.matches("positions of two sources cannot be compared").count() >= 2, "{}", checked.stdout);
    // The table is one source's; then the other one comes, in one pipeline with it, and in another one alone.
    first.catch_up(&[]);
    let rows = || database.texts(&format!("select id from {} order by id", database.table("people"))).len();
    assert_eq!(rows(), 2);
    for records in [&records, &others] {
        let program = over_files(&database, records, "");
        let checked = program.run(&["check", "--json"]).code(3);
        assert!(checked.stdout.contains("positions of two sources"), "{}", checked.stdout);
        let run = program.run(&["run", "--until-caught-up", "--json"]);
        let halted = run.json()["halted"].to_string();
        assert!(halted.contains("two_sources") && halted.contains("order_by"), "{halted}");
        assert_eq!((number(&run.json(), "quarantined"), rows()), (0, 2), "nothing was applied or put aside");
    }
}

pub(super) fn columns_order_two_sources(dialect: Dialect) {
    let database = Database::new(dialect);
    let columns = [("id", "int32", None), ("name", "string", None), ("version", "int64", None)];
    let make = |topic, rows: &[(u64, i64, &str, i64)]| {
        let mut source = Source::new(topic, database.home(), "people", &columns);
        rows.iter().for_each(|(lsn, id, name, version)| {
            source.upsert(*lsn, json!({"id": id, "name": name, "version": version}));
        });
        source.records
    };
    let mut records = make("made.people", &[(10, 1, "old", 1), (20, 2, "new", 9)]);
    records.extend(of_another(&make("other.people", &[(90, 2, "old", 8), (5, 1, "new", 2)])));
    let rule = |topic| format!("[[table]]\ntopic = \"{topic}\"\norder_by = [\"version\"]\n");
    let program = over_files(&database, &records, &format!("{}{}", rule("made.people"), rule("other.people")));
    program.run(&["check", "--json"]).ok();
    program.catch_up(&[]);
    let name = database.as_text("name", "text");
    let rows = database.texts(&format!("select {name} from {} order by id", database.table("people")));
    assert_eq!(rows, [[Some("new".to_owned())], [Some("new".to_owned())]]);
}

#[test]
fn two_sources_for_one_table_are_refused_in_sqlite() {
    two_sources_are_refused(Dialect::Sqlite);
}

#[test]
fn columns_order_two_sources_in_sqlite() {
    columns_order_two_sources(Dialect::Sqlite);
}
