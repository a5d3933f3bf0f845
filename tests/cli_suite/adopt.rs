//! Tables that another tool has filled continue from the stream.

use std::collections::BTreeSet;

use lastword::core::dialect::Dialect;
use serde_json::{Value, json};

use crate::support::captures::{self, Captured};
use crate::support::database::{Database, assert_same};
use crate::support::events::Source;
use crate::support::program::{Program, number, over_files};

const TOPIC: &str = "made.people";

/// As of commit end 30 the source has (1, a2) and (2, b); 3 was deleted before.
fn people(home: &str) -> Source {
    let mut source = Source::people(TOPIC, home);
    let row = |id: i64, name: &str| json!({"id": id, "name": name});
    source.upsert(10, row(1, "a"));
    source.upsert(12, row(2, "b"));
    source.upsert(14, row(3, "c"));
    source.delete(16, json!(3));
    source.upsert(20, row(1, "a2"));
    source.upsert(30, row(1, "a3"));
    source.delete(32, json!(2));
    source.upsert(34, row(4, "d"));
    source
}

fn rows(database: &Database) -> Vec<(String, String)> {
    let sql = format!("select cast(id as char(3)), name from {} order by id", database.table("people"));
    let cell = |cell: &Option<String>| cell.as_deref().unwrap_or_default().trim().to_owned();
    database.texts(&sql).iter().map(|row| (cell(&row[0]), cell(&row[1]))).collect()
}

fn wanted(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect()
}

fn adopt<'a>(table: &'a str, position: &[&'a str]) -> Vec<&'a str> {
    [&["adopt", "--json", "--table", table, "--topic", TOPIC], position].concat()
}

/// The dump's rows continue, a key that was deleted before it does not come back, and a replay from the beginning changes nothing.
pub(super) fn filled_by_hand(dialect: Dialect) {
    for storage in ["column", "side"] {
        let database = Database::new(dialect);
        let text = if dialect == Dialect::Mysql { "varchar(50)" } else { "text" };
        let table = database.table("people");
        database.execute(&format!("create table {table} (id integer not null primary key, name {text})"));
        database.execute(&format!("insert into {table} (id, name) values (1, 'a2'), (2, 'b')"));
        let extra = format!("[defaults]\ntoken_storage = \"{storage}\"\n");
        let program = over_files(&database, &people(database.home()).records, &extra);
        let name =
            if dialect == Dialect::Postgres { format!("{}.people", database.home()) } else { "people".to_owned() };
        let columns = database.columns(&name);
        let planned = program.run(&adopt("people", &["--lsn", "0/1E", "--dry-run"])).ok().json();
        assert_eq!((number(&planned, "rows"), number(&planned, "adopted"), &planned["done"]), (2, 0, &json!(false)));
        assert_eq!(database.columns(&name), columns, "a dry run changed the table");
        let done = program.run(&adopt("people", &["--lsn", "30", "--yes"])).ok().json();
        assert_eq!((number(&done, "adopted"), &done["done"]), (2, &json!(true)), "{done}");
        assert_eq!(rows(&database), wanted(&[("1", "a2"), ("2", "b")]));
        program.catch_up(&["--set", "batch.rows=1"]);
        assert_eq!(rows(&database), wanted(&[("1", "a3"), ("4", "d")]), "{dialect:?} {storage}");
        let contents = database.contents();
        program.run(&["replay", "--topic", TOPIC, "--from-beginning", "--set", "batch.rows=1"]).ok();
        assert_same("what the dump had loses", &contents, &database.contents());
        // The pipeline has applied what the dump does not have: a dump that is loaded now would go back.
        let again = program.run(&adopt("people", &["--lsn", "30", "--yes"]));
        let said = format!("{}{}", again.stdout, again.stderr);
        assert!(said.contains("has passed offset"), "{said}");
        let audit = program.run(&["audit", "--json"]).ok().json();
        assert!(audit.to_string().contains("2 rows"), "{audit}");
    }
}

#[test]
fn filled_by_hand_in_sqlite() {
    filled_by_hand(Dialect::Sqlite);
}

/// Invariant: what cannot be continued rightly is refused, and nothing is changed.
#[test]
fn what_would_lose_changes_is_refused() {
    let database = Database::sqlite();
    let table = database.table("people");
    database.execute(&format!("create table {table} (id integer not null primary key, name text)"));
    let program = over_files(&database, &people(database.home()).records, "");
    let refused = |position: &[&str], wanted: &str| {
        let finished = program.run(&adopt("people", position));
        assert_ne!(finished.code, Some(0), "{wanted}: {}", finished.stdout);
        let said = format!("{}{}", finished.stdout, finished.stderr);
        assert!(said.contains(wanted), "{wanted}: {said}");
    };
    refused(&["--lsn", "5", "--dry-run"], "--accept-gaps");
    refused(&["--gtid", "0-1-7", "--dry-run"], "--lsn");
    refused(&["--token", "00", "--dry-run"], "no token");
    refused(&["--lsn", "30", "--yes"], "is empty");
    program.catch_up(&[]);
    program.run(&["offsets", "set", "--topic", TOPIC, "--partition", "0", "--offset", "0"]).ok();
    // 3 was deleted by an event that the dump has.
    refused(&["--lsn", "30", "--yes"], "tombstones are older");
    let finished = program.run(&["adopt", "--table", "nothing", "--topic", TOPIC, "--lsn", "30"]);
    assert!(finished.stderr.contains("no event of topics"), "{}", finished.stderr);
}

/// An adoption that was interrupted goes on with the same command.
#[test]
fn an_interrupted_adoption_goes_on() {
    let database = Database::sqlite();
    let table = database.table("people");
    database.execute(&format!("create table {table} (id integer not null primary key, name text)"));
    database.execute(&format!("insert into {table} (id, name) values (1, 'a2'), (2, 'b')"));
    let program = over_files(&database, &people(database.home()).records, "");
    program.run(&adopt("people", &["--lsn", "30", "--yes"])).ok();
    database.execute(&format!("update {table} set _lastword_token = null where id = 2"));
    let done = program.run(&adopt("people", &["--lsn", "30", "--yes"])).ok().json();
    assert_eq!((number(&done, "adopted"), number(&done, "kept")), (1, 1), "{done}");
}

/// What an event says of its place.
struct Place {
    /// End of the commit before it (PostgreSQL), or number of the GTID.
    number: Option<u64>,
    is_snapshot: bool,
    lsn: u64,
}

fn place(record: &Captured) -> Option<Place> {
    let value: Value = serde_json::from_str(record.payload.as_ref()?).expect("JSON");
    let source = value.get("payload").unwrap_or(&value).get("source")?.clone();
    let of_text = |text: &str| text.parse::<u64>().ok();
    let number = match (source["sequence"].as_str(), source["gtid"].as_str()) {
        (Some(sequence), _) => {
            let pair: Vec<Option<String>> = serde_json::from_str(sequence).expect("a sequence");
            pair[0].as_deref().and_then(of_text)
        }
        (None, gtid) => gtid.and_then(|gtid| gtid.rsplit('-').next().and_then(of_text)),
    };
    let is_snapshot = source["snapshot"].as_str() != Some("false") && source["snapshot"] != json!(false);
    Some(Place { number, is_snapshot, lsn: source["lsn"].as_u64().unwrap_or_default() })
}

/// Records of events that are in the dump, and the nulls behind them.
fn dumped(records: &[Captured], is_in: impl Fn(&Place) -> bool) -> Vec<Captured> {
    let mut kept: Vec<Captured> = Vec::new();
    let mut last_in = false;
    for record in records {
        if let Some(place) = place(record) {
            last_in = is_in(&place);
        }
        if last_in {
            kept.push(record.clone());
        }
    }
    kept
}

/// For the ends of the commits of a capture: the dump is the state of the source there; it is adopted, and the whole topic is read
/// from its beginning. Then the table is as it is without a dump.
fn every_cut(connector: &str, scenario: &str, table: &str) {
    let path = captures::file(connector, "json-schemas", scenario).expect("a capture");
    let mut records: Vec<Captured> = captures::read(&path);
    records.retain(|record| record.topic.ends_with(&format!(".{table}")));
    // One partition after the other: a null stands behind its delete.
    records.sort_by_key(|record| (record.partition, record.offset));
    let topic = records.first().expect("records").topic.clone();
    let home = topic.split('.').nth(1).expect("a schema").to_owned();
    let name = format!("{home}.{table}");
    let contents = |database: &Database| {
        let columns = database.columns(&name);
        let own = columns.iter().filter(|(column, _)| !column.starts_with("_lastword"));
        let columns: Vec<String> = own.map(|(column, native)| database.as_text(column, native)).collect();
        let mut rows = database.texts(&format!("select {} from \"{name}\"", columns.join(", ")));
        rows.sort();
        rows
    };
    let whole = Database::sqlite();
    over_files(&whole, &records, "").catch_up(&[]);
    let places: Vec<Place> = records.iter().filter_map(place).collect();
    let cuts: BTreeSet<u64> = places.iter().filter_map(|place| place.number).collect();
    let snapshots: BTreeSet<u64> =
        places.iter().filter(|place| place.number.is_none() && place.is_snapshot).map(|place| place.lsn).collect();
    let postgres = connector == "postgresql";
    let mut dumps: Vec<(u64, Vec<Captured>)> = Vec::new();
    if let (true, 1, Some(at)) = (postgres, snapshots.len(), snapshots.first()) {
        dumps.push((*at, dumped(&records, |place| place.number.is_none() && place.is_snapshot)));
    }
    for cut in every(cuts) {
        // In PostgreSQL what follows a commit had not ended when it did; a GTID is the event's own.
        let is_in = |place: &Place| place.number.is_none_or(|number| number < cut || (!postgres && number == cut));
        dumps.push((cut, dumped(&records, is_in)));
    }
    for (cut, dump) in dumps {
        let database = Database::sqlite();
        if dump.is_empty() {
            continue;
        }
        over_files(&database, &dump, "").catch_up(&[]);
        database.disown();
        let program: Program = over_files(&database, &records, "");
        let position = if postgres { format!("--lsn={cut}") } else { format!("--gtid=0-1-{cut}") };
        program.run(&["adopt", "--table", &name, "--topic", &topic, &position, "--yes"]).ok();
        program.catch_up(&["--set", "batch.rows=3"]);
        assert_eq!(contents(&database), contents(&whole), "{connector} {scenario}: a dump at {cut}");
    }
}

/// Three of them, in a long run all.
fn every(cuts: BTreeSet<u64>) -> Vec<u64> {
    let step = if std::env::var_os("LASTWORD_TEST_LONG").is_some() { 1 } else { cuts.len().div_ceil(3) };
    cuts.into_iter().step_by(step.max(1)).collect()
}

#[test]
fn a_dump_anywhere_in_postgresql() {
    for (scenario, table) in [
        ("key_update", "products"),
        ("snapshot_with_open_tx", "contacts_open"),
        ("delete_reinsert", "carts"),
        ("truncate", "staging"),
        ("same_row_in_one_tx", "accounts"),
    ] {
        every_cut("postgresql", scenario, table);
    }
}

#[test]
fn a_dump_anywhere_in_mariadb() {
    for (scenario, table) in
        [("key_update", "products"), ("delete_reinsert", "carts"), ("restart_duplicates", "shipments")]
    {
        every_cut("mariadb", scenario, table);
    }
}
