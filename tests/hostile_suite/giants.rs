//! What is too large: a record of 50 MB, more columns than anybody has, nesting of 10,000, numbers of 10,000 digits. Each is written as
//! it is or put aside with its reason, its neighbours are applied, and the process stays small.

use std::collections::BTreeSet;

use lastword::core::dialect::Dialect;
use serde_json::{Value as Json, json};

use super::in_order;
use crate::support::LIMIT;
use crate::support::database::Database;
use crate::support::events::Source;
use crate::support::mutate::nested;
use crate::support::program::{Program, number, over_files};

const MEGABYTES: usize = 50;
/// Copies of the largest record that the process may hold: in its line, its cells, its statement, the driver's and the server's in SQLite.
const COPIES: u64 = 10;

/// Runs to the end and says how much memory the process had at most, in bytes.
fn run(program: &Program) -> (Json, u64) {
    let running = program.start(&["run", "--until-caught-up", "--json"]);
    let status = format!("/proc/{}/status", running.id());
    let watcher = std::thread::spawn(move || {
        let mut most = 0;
        // The highest so far; it only grows, and the file is gone with the process.
        while let Ok(text) = std::fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let Some(line) = line else { break };
            most = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024;
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        most
    });
    let finished = in_order(running.wait(LIMIT));
    let most = watcher.join().expect("the highest");
    let run = finished.ok().json();
    assert!(run["halted"].as_array().is_some_and(Vec::is_empty), "{run}");
    (run, most)
}

const COLUMNS: [(&str, &str, Option<&str>); 5] = [
    ("id", "int32", None),
    ("words", "string", None),
    ("doc", "string", Some("io.debezium.data.Json")),
    ("digits", "struct", Some("io.debezium.data.VariableScaleDecimal")),
    ("number", "int64", None),
];

fn small(id: i64) -> Json {
    json!({"id": id, "words": "small", "doc": "{}", "digits": {"scale": 0, "value": "AQ=="}, "number": 1})
}

/// A row with one cell that is not small.
fn with(id: i64, column: &str, cell: Json) -> Json {
    let mut row = small(id);
    row[column] = cell;
    row
}

/// Giants between neighbours: `large` is the text of the largest.
fn source(topic: &str, schema: &str, large: &str) -> Source {
    let mut source = Source::new(topic, schema, "giants", &COLUMNS);
    let mut lsn = 0;
    let mut put = |source: &mut Source, row: Json| {
        lsn += 10;
        source.upsert(lsn, row);
    };
    put(&mut source, small(1));
    put(&mut source, with(1000, "words", json!(large)));
    put(&mut source, small(2));
    put(&mut source, with(1001, "doc", json!(nested(10_000, "1", true))));
    put(&mut source, with(1002, "doc", json!(nested(10_000, "1", false))));
    put(&mut source, small(3));
    // 4,153 bytes are some 10,000 digits.
    let bytes = [&[0x7f][..], &[0xff; 4152]].concat();
    let unscaled = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
    put(&mut source, with(1003, "digits", json!({"scale": 0, "value": unscaled})));
    put(&mut source, small(4));
    put(&mut source, with(1004, "number", json!(4_711_004)));
    put(&mut source, with(1005, "words", json!(4_711_005)));
    put(&mut source, small(5));
    // Digits that no type of this program holds, and nesting where no document is expected.
    for (mark, text) in [("4711004", "9".repeat(10_000)), ("4711005", nested(10_000, "", true))] {
        let record =
            source.records.iter_mut().find(|record| record.payload.as_ref().is_some_and(|it| it.contains(mark)));
        let payload = &mut record.expect("the mark").payload;
        *payload = payload.take().map(|it| it.replace(mark, &text));
    }
    source
}

/// What has to be there, and what may: each giant is the value or is put aside.
fn check(database: &Database, run: &Json, most: u64, large: &str) {
    let table = database.table("giants");
    let length = if database.dialect == Dialect::Sqlite { "length" } else { "char_length" };
    let rows = database.texts(&format!("select id, words, doc from {table} where id < 1000 order by id"));
    assert_eq!(rows.len(), 5, "the neighbours: {run}");
    assert!(rows.iter().all(|row| row[1].as_deref() == Some("small") && row[2].as_deref() == Some("{}")), "{rows:?}");
    let stored: BTreeSet<i64> = database
        .query(&format!("select id from {table} where id >= 1000"))
        .iter()
        .filter_map(|row| row[0].as_int())
        .collect();
    let aside = number(run, "quarantined");
    assert_eq!(stored.len() as i64 + aside, 6, "{stored:?} {run}");
    assert_eq!(number(run, "records"), 11, "{run}");
    assert!(!stored.contains(&1004) && !stored.contains(&1005), "{stored:?}");
    if stored.contains(&1000) {
        let count = database.count(&format!("select {length}(words) from {table} where id = 1000"));
        assert_eq!(count, large.len() as i64);
    }
    if stored.contains(&1001) {
        let doc = database.texts(&format!("select {} from {table} where id = 1001", database.as_text("doc", "")));
        assert_eq!(doc[0][0].as_deref(), Some(nested(10_000, "1", true).as_str()));
    }
    if stored.contains(&1003) {
        let digits = database.texts(&format!("select {} from {table} where id = 1003", database.as_text("digits", "")));
        assert_eq!(digits[0][0].as_ref().map(String::len), Some(10_002), "digits of 2^33223 - 1");
    }
    let limit = (MEGABYTES as u64 * COPIES) << 20;
    assert!(most < limit, "{} MB of memory", most >> 20);
    println!("{:?}: written {stored:?}, put aside {aside}, at most {} MB", database.dialect, most >> 20);
}

fn giants(dialect: Dialect) {
    let database = Database::new(dialect);
    let large = "x".repeat(MEGABYTES << 20);
    let program = over_files(&database, &source("made.giants", database.home(), &large).records, "");
    let (run, most) = run(&program);
    check(&database, &run, most, &large);
    if number(&run, "quarantined") > 0 {
        in_order(program.run(&["quarantine", "list"])).ok();
    }
}

#[test]
fn giants_in_sqlite() {
    giants(Dialect::Sqlite);
}

/// Most columns of whole numbers beside the token. The documentation's limits less one for the token; in PostgreSQL rows are
/// staged with a column more.
fn columns_max(dialect: Dialect) -> usize {
    match dialect {
        Dialect::Postgres => 1598,
        Dialect::Sqlite => 1999,
        Dialect::Mysql => 1016,
    }
}

/// A row as wide as a table can be is written; one that is wider stops its table and no other.
fn wide(dialect: Dialect) {
    let database = Database::new(dialect);
    let mut records = Vec::new();
    for (name, width) in [("fits", columns_max(dialect)), ("wider", columns_max(dialect) + 2), ("far", 20_000)] {
        let names = (0..width).map(|number| -> &'static str { Box::leak(format!("c{number}").into_boxed_str()) });
        let columns: Vec<_> = names.map(|name| (name, "int32", None)).collect();
        let mut source = Source::new(&format!("wide.{name}"), database.home(), name, &columns);
        let row: Json =
            columns.iter().map(|(name, ..)| ((*name).to_owned(), json!(7))).collect::<serde_json::Map<_, _>>().into();
        source.upsert(10, row);
        records.extend(source.records);
    }
    let mut neighbour = Source::people("wide.people", database.home());
    neighbour.upsert(10, json!({"id": 1, "name": "one"}));
    records.extend(neighbour.records);
    let program = over_files(&database, &records, "");
    let finished = in_order(program.run(&["run", "--until-caught-up", "--json"])).code(4);
    let run = finished.json();
    let halted: Vec<&str> = run["halted"].as_array().expect("a list").iter().filter_map(Json::as_str).collect();
    assert_eq!(halted.len(), 2, "{run}");
    assert!(halted.iter().all(|why| why.starts_with("wide.wider") || why.starts_with("wide.far")), "{run}");
    assert_eq!(number(&run, "applied"), 2, "{run}");
    let last = columns_max(dialect) - 1;
    let sum = database.count(&format!("select c0 + c{last} from {}", database.table("fits")));
    assert_eq!(sum, 14);
}

#[test]
fn wide_rows_in_sqlite() {
    wide(Dialect::Sqlite);
}

mod on_services {
    use super::*;
    use crate::support::program::over_kafka;
    use crate::support::{kafka, unique};

    #[test]
    fn giants_in_postgres() {
        giants(Dialect::Postgres);
    }

    #[test]
    fn giants_in_mariadb() {
        giants(Dialect::Mysql);
    }

    #[test]
    fn wide_rows_in_postgres() {
        wide(Dialect::Postgres);
    }

    #[test]
    fn wide_rows_in_mariadb() {
        wide(Dialect::Mysql);
    }

    /// The same through a broker: a topic that takes records of 50 MB, which its consumer has to be able to fetch.
    #[test]
    fn giants_through_kafka() {
        let database = Database::postgres();
        let topic = unique("giants");
        let large = "x".repeat(MEGABYTES << 20);
        let source = source(&topic, database.home(), &large);
        kafka::create_with(&topic, 1, &[("max.message.bytes", "60000000")]);
        kafka::produce_with(&source.records, &[("message.max.bytes", "60000000")]);
        let (run, most) = run(&over_kafka(&database, &[topic], ""));
        check(&database, &run, most, &large);
    }
}
