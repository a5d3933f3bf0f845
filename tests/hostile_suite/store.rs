//! Bookkeeping that does not hold what was written to it: a damaged disk, a restore of parts, a hand that slipped. Commands refuse it or
//! go on; none panics, and none waits for ever.

use lastword::core::dialect::Dialect;
use lastword::sink::Statements;
use serde_json::json;

use super::in_order;
use crate::support::database::{Database, sink};
use crate::support::events::Source;
use crate::support::program::over_files;
use crate::support::random::{Random, seed};

const CELLS: [&str; 10] =
    ["null", "-1", "0", "9223372036854775807", "'x'", "''", "x''", "x'ff'", "x'1200010000000100000000'", "1e308"];

const COMMANDS: [&[&str]; 9] = [
    &["run", "--until-caught-up"],
    &["check"],
    &["status"],
    &["offsets", "show"],
    &["quarantine", "list"],
    &["quarantine", "retry", "--all"],
    &["tombstones", "status"],
    &["epoch", "list"],
    &["audit"],
];

/// Runs a statement that the database may refuse: the bookkeeping has constraints of its own.
fn try_to(database: &Database, statement: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut session =
            sink(Dialect::Sqlite, &database.url).expect("a sink").session("test").await.expect("a session");
        session.execute(statement, &[]).await.is_ok_and(|changed| changed > 0)
    })
}

#[test]
fn damaged_bookkeeping() {
    let mut random = Random::new(seed());
    let cases = if std::env::var_os("LASTWORD_TEST_LONG").is_some() { 200 } else { 6 };
    for _ in 0..cases {
        let database = Database::sqlite();
        let mut source = Source::people("made.people", database.home());
        source.upsert(10, json!({"id": 1, "name": "one"}));
        source.upsert(20, json!({"id": 2, "name": "two"}));
        source.delete(30, json!(2));
        source.raw(None, "no event");
        let program = over_files(&database, &source.records, "");
        program.catch_up(&[]);
        let tables = database.texts("select name from sqlite_master where type = 'table' and name like 'lastword%'");
        let mut damages = 0;
        while damages < 3 {
            let table = tables[random.below(tables.len() as u64) as usize][0].clone().expect("a name");
            let columns = database.texts(&format!("select name from pragma_table_info('{table}')"));
            let column = columns[random.below(columns.len() as u64) as usize][0].clone().expect("a name");
            let cell = CELLS[random.below(CELLS.len() as u64) as usize];
            let statement = format!("update \"{table}\" set \"{column}\" = {cell}");
            if try_to(&database, &statement) {
                println!("{statement}");
                damages += 1;
            }
        }
        for _ in 0..4 {
            in_order(program.run(COMMANDS[random.below(COMMANDS.len() as u64) as usize]));
        }
    }
}
