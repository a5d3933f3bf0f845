//! Real records that were changed, between neighbours that were not: the process ends in order, every record is counted once, and
//! the neighbours' rows are right (invariants 4 and 6).

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Bytes, in_order, write};
use crate::support::captures::{self, Captured};
use crate::support::database::Database;
use crate::support::mutate::{self, Tape};
use crate::support::program::{Program, config, number};
use crate::support::random::{Random, seed};

/// Keys of neighbours begin here; no change makes such a number.
const NEIGHBOUR: i64 = 700_001;
/// Neighbours of each changed record: one before it, the others behind it.
const NEIGHBOURS: i64 = 3;

/// Numbers of a tape.
fn tape(random: &mut Random) -> Vec<u8> {
    (0..64).flat_map(|_| random.next().to_be_bytes()).collect()
}

/// The record as if its row had another key.
fn neighbour(record: &Captured, topic: &str, number: i64) -> Bytes {
    let id = Value::from(NEIGHBOUR + number);
    let renamed = |text: &String| {
        // The schema comes first, as the converter writes it: a map would sort it behind the payload.
        let whole: BTreeMap<String, Box<serde_json::value::RawValue>> = serde_json::from_str(text).expect("JSON");
        let mut payload: Value = serde_json::from_str(whole["payload"].get()).expect("a payload");
        for row in ["after", "before"] {
            if payload[row].is_object() {
                payload[row]["id"] = id.clone();
            }
        }
        if payload.get("source").is_none() {
            payload["id"] = id.clone();
        }
        format!("{{\"schema\":{},\"payload\":{payload}}}", whole["schema"]).into_bytes()
    };
    Bytes {
        topic: topic.to_owned(),
        key: record.key.as_ref().map(renamed),
        value: record.payload.as_ref().map(renamed),
    }
}

/// A changed record: its value, its key, or both.
fn changed(record: &Captured, topic: &str, random: &mut Random) -> Bytes {
    let bytes = tape(random);
    let tape = &mut Tape::new(&bytes);
    let which = random.below(4);
    let part = |text: &Option<String>, tape: &mut Tape<'_>| Some(mutate::json(text.as_ref()?, tape));
    let same = |text: &Option<String>| text.clone().map(String::into_bytes);
    let value = if which == 0 { same(&record.payload) } else { part(&record.payload, tape) };
    let key = if which > 1 { same(&record.key) } else { part(&record.key, tape) };
    Bytes { topic: topic.to_owned(), key, value }
}

/// Events with a row, an integer key `id`, and a schema.
fn material() -> Vec<Captured> {
    let files = ["all_types", "edge_values", "key_update", "native_types", "schema_change"];
    let connectors = files.iter().flat_map(|scenario| ["postgresql", "mariadb"].map(|connector| (connector, scenario)));
    let records = connectors.filter_map(|(connector, scenario)| captures::file(connector, "json-schemas", scenario));
    let is_row = |record: &Captured| {
        let row = |text: &String| text.contains("\"after\":{") && text.contains("\"id\":");
        record.payload.as_ref().is_some_and(row) && record.key.as_ref().is_some_and(|key| key.contains("\"id\":"))
    };
    let records: Vec<Captured> = records.flat_map(|path| captures::read(&path)).filter(is_row).collect();
    assert!(records.len() > 10, "{} records", records.len());
    records
}

/// What a record of the topic made of its neighbours: rows as text, without their tokens.
fn neighbours(database: &Database, table: &str, columns: &[(String, String)]) -> Vec<Vec<Option<String>>> {
    let list: Vec<String> = columns.iter().map(|(name, native)| database.as_text(name, native)).collect();
    let table = database.table(table);
    database.texts(&format!("select {} from {table} where id >= {NEIGHBOUR} order by id", list.join(", ")))
}

/// Each changed record has a topic, a table and neighbours of its own, so that what stops a table stops that one alone.
fn round(count: usize, random: &mut Random) {
    let (material, database) = (material(), Database::sqlite());
    let mut records = Vec::new();
    for number in 0..count {
        let real = &material[random.below(material.len() as u64) as usize];
        for (topic, changes) in [(format!("x{number}"), true), (format!("y{number}"), false)] {
            records.push(neighbour(real, &topic, 0));
            if changes {
                records.push(changed(real, &topic, random));
            }
            (1..NEIGHBOURS).for_each(|at| records.push(neighbour(real, &topic, at)));
        }
    }
    let program = Program::new("");
    let path = program.dir().join("records.jsonl");
    write(&path, &records);
    let source = format!("[source]\nkind = \"file\"\npaths = [{:?}]\nregression_margin = \"1d\"\n", path);
    let evolve = ["none", "add", "widen", "validate"][random.below(4) as usize];
    let rules =
        format!("[defaults]\nevolve = {evolve:?}\n[[table]]\ntopic = '^(?<t>[xy]\\d+)$'\ninto = \"main.${{t}}\"\n");
    let rules =
        format!("{rules}[plain]\ndecimal = \"base64\"\ntime = \"micros\"\n[batch]\nrows = {}\n", 1 + random.below(9));
    program.configure(&config(&source, &database.config(), &rules));
    let finished = in_order(program.run(&["run", "--until-caught-up", "--json"]));
    let run = finished.json();
    check(&database, &run, count, records.len() as i64);
}

fn check(database: &Database, run: &Value, count: usize, records: i64) {
    let counted =
        ["applied", "superseded_in_batch", "superseded_by_row", "superseded_by_tombstone", "superseded_by_truncate"];
    let counted =
        counted.iter().chain(&["quarantined", "filtered", "control"]).map(|name| number(run, name)).sum::<i64>();
    assert_eq!(number(run, "records"), counted, "each record is counted once: {run}");
    let checkpoints = database.bookkeeping("checkpoint");
    let passed = database.texts(&format!("select topic, next_offset from {checkpoints}"));
    let passed: BTreeMap<String, i64> = passed
        .into_iter()
        .map(|row| (row[0].clone().expect("a topic"), row[1].as_ref().expect("an offset").parse().expect("a number")))
        .collect();
    let reasons = run["halted"].as_array().expect("a list");
    let (mut halted, mut left, mut compared) = (0, 0, 0);
    for number in 0..count {
        let (next, whole) = (passed[&format!("x{number}")], passed[&format!("y{number}")]);
        assert_eq!(whole, NEIGHBOURS, "y{number} is untouched");
        let columns: Vec<_> = database
            .columns(&format!("main.y{number}"))
            .into_iter()
            .filter(|(name, _)| !name.starts_with("_lastword"))
            .collect();
        let mut wanted = neighbours(database, &format!("y{number}"), &columns);
        if next != NEIGHBOURS + 1 {
            // It stopped in front of the changed record, or of the first one behind it that the change stands in the way of.
            assert!(
                reasons.iter().any(|why| why.as_str().is_some_and(|why| why.starts_with(&format!("x{number}[")))),
                "{run}"
            );
            halted += 1;
            left += NEIGHBOURS + 1 - next;
            wanted.truncate(usize::try_from(next.min(1)).expect("an offset"));
        }
        // Some real rows hold what SQLite cannot, such as NaN: of those the offsets count alone.
        compared += i64::from(wanted.len() as i64 == NEIGHBOURS && next > NEIGHBOURS);
        if wanted.is_empty() {
            continue;
        }
        let mut rows = neighbours(database, &format!("x{number}"), &columns);
        rows.truncate(wanted.len());
        assert_eq!(rows, wanted, "neighbours of x{number}: {run}");
    }
    assert_eq!(number(run, "records") + left, records, "{run}");
    assert_eq!(reasons.len(), halted, "{run}");
    assert!(compared * 4 > count as i64, "neighbours of only {compared} of {count} could be compared: {run}");
}

#[test]
fn changed_captures() {
    let mut random = Random::new(seed());
    let rounds = if std::env::var_os("LASTWORD_TEST_LONG").is_some() { 30 } else { 1 };
    for _ in 0..rounds {
        round(60, &mut random);
    }
}
