//! Captures with placeholders (unchanged TOAST values): every row is the source's, but for the two whose values lie under a former
//! key only; these are put aside. No placeholder is ever in a table.

use std::collections::{BTreeMap, VecDeque};

use lastword::core::dialect::Dialect;

use super::stage::{Form, From, Stage};
use crate::support::captures::Captured;
use crate::support::database::{Contents, assert_same};
use crate::support::random::{Random, seed};

const SCENARIOS: [&str; 2] = ["toast_default_identity", "toast_full_identity"];
/// Keys that moved (4→40, 7→70) while their large columns did not change.
const MOVED: [&str; 2] = ["40", "70"];
/// The placeholder, its base64, and its bytes as the databases print them.
const PLACEHOLDERS: [&str; 3] = [
    "__debezium_unavailable_value",
    "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ",
    "5f5f646562657a69756d5f756e617661696c61626c655f76616c7565",
];

fn stage(form: Form, dialect: Dialect) -> Stage {
    let stage = Stage::new("postgresql", form, dialect, &SCENARIOS);
    let text = stage.records().iter().filter_map(|record| record.payload.as_deref()).collect::<String>();
    assert!(text.contains(PLACEHOLDERS[0]) && text.contains(PLACEHOLDERS[1]), "no placeholders to be seen");
    stage
}

/// Invariant 6 and A10: what becomes of the records, and that nothing of a placeholder is left in the tables.
#[track_caller]
fn assert_right(stage: &Stage, records: &[Captured]) -> Contents {
    let different: Vec<String> = stage.differences().iter().map(ToString::to_string).collect();
    let moved = |line: &String| {
        let row = line.strip_prefix("toast_default_identity\tinventory.documents\tmissing\t").unwrap_or_default();
        MOVED.iter().any(|id| row.starts_with(&format!("{id} | ")))
    };
    assert!(different.len() == MOVED.len() && different.iter().all(moved), "{different:#?}");
    let quarantine = stage.database.bookkeeping("quarantine");
    let aside = stage.database.texts(&format!("select topic, partition_id, record_offset, reason from {quarantine}"));
    assert!(aside.len() >= MOVED.len(), "the moved keys were not put aside: {aside:?}");
    for row in aside {
        let cells: Vec<String> = row.into_iter().map(Option::unwrap_or_default).collect();
        let place = |record: &&Captured| {
            (record.partition.to_string(), record.offset.to_string()) == (cells[1].clone(), cells[2].clone())
                && record.topic == cells[0]
        };
        let key = records.iter().find(place).and_then(|record| record.key.clone()).unwrap_or_default();
        let moved = MOVED.iter().any(|id| key.contains(&format!("\"id\":{id}}}")));
        assert!(cells[3] == "partial_row" && moved, "{cells:?} was put aside, of key {key}");
    }
    let contents = stage.database.contents();
    for (table, lines) in &contents {
        for placeholder in PLACEHOLDERS {
            assert!(!lines.iter().any(|line| line.contains(placeholder)), "{table} holds a placeholder");
        }
    }
    contents
}

pub(super) fn placeholders_are_completed(dialect: Dialect) {
    for form in [Form::Schemas, Form::Plain] {
        let mut first: Option<Contents> = None;
        for rows in [1000, 1, 2, 7] {
            let stage = stage(form, dialect);
            stage.program(From::Files, stage.records()).catch_up(&["--set", &format!("batch.rows={rows}")]);
            let contents = assert_right(&stage, stage.records());
            match &first {
                None => first = Some(contents),
                Some(first) => assert_same(&format!("{form:?}, batches of 1000 and of {rows}"), first, &contents),
            }
        }
    }
}

/// A delivery that Kafka could make: partitions interleaved at random, each in its order, and the end of some comes a second time,
/// as after a restart of the connector (streamed events only).
fn delivered(records: &[Captured], random: &mut Random) -> Vec<Captured> {
    let mut partitions: BTreeMap<(String, i32), VecDeque<Captured>> = BTreeMap::new();
    for record in records {
        partitions.entry((record.topic.clone(), record.partition)).or_default().push_back(record.clone());
    }
    let mut queues: Vec<VecDeque<Captured>> = partitions.into_values().collect();
    for queue in &mut queues {
        let is_streamed = |record: &Captured| {
            let payload = record.payload.as_deref();
            payload.is_some_and(|payload| !payload.contains("\"op\":\"r\""))
        };
        let starts: Vec<usize> = (0..queue.len()).filter(|at| is_streamed(&queue[*at])).collect();
        if random.percent(70) && !starts.is_empty() {
            let from = starts[random.below(starts.len() as u64) as usize];
            let again: Vec<Captured> = queue.iter().skip(from).cloned().collect();
            let end = queue.back().map_or(0, |record| record.offset + 1);
            queue.extend((end..).zip(again).map(|(offset, record)| Captured { offset, ..record }));
        }
    }
    let mut all = Vec::new();
    while !queues.is_empty() {
        let at = random.below(queues.len() as u64) as usize;
        all.extend(queues[at].pop_front());
        queues.retain(|queue| !queue.is_empty());
    }
    all
}

pub(super) fn a_worse_delivery(dialect: Dialect) {
    let mut random = Random::new(seed());
    for form in [Form::Schemas, Form::Plain] {
        let stage = stage(form, dialect);
        let records = delivered(stage.records(), &mut random);
        let rows = format!("batch.rows={}", 1 + random.below(7));
        println!("{form:?}: {rows}");
        stage.program(From::Files, &records).catch_up(&["--set", &rows]);
        assert_right(&stage, &records);
    }
}

#[test]
fn placeholders_are_completed_in_sqlite() {
    placeholders_are_completed(Dialect::Sqlite);
}

#[test]
fn placeholders_in_a_worse_delivery_into_sqlite() {
    a_worse_delivery(Dialect::Sqlite);
}
