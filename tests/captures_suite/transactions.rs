//! Source transactions in captured topics: what identifies them, and that an aligned lane takes them whole in every interleaving.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lastword::core::lane::{Claimed, Lane, Limits};
use lastword::core::plan::Advance;
use lastword::core::record::{Headers, Record, TopicPartition};
use serde_json::Value;

use crate::support::captures::{self, Captured};
use crate::support::random::{Random, seed};

const WAIT: Duration = Duration::from_millis(50);

/// The source's own name of a streamed event's transaction: PostgreSQL's number, MariaDB's GTID.
fn transaction(record: &Captured) -> Option<String> {
    let value: Value = serde_json::from_str(record.payload.as_deref()?).ok()?;
    let value = value.get("payload").unwrap_or(&value);
    let source = value.get("source").filter(|source| source["snapshot"] == "false")?;
    match source["connector"].as_str()? {
        "postgresql" => source["txId"].as_u64().map(|number| number.to_string()),
        _ => source["gtid"].as_str().map(str::to_owned),
    }
}

/// What the alignment rests on: `sequence[0]` is the same in all events of a PostgreSQL transaction, also of redelivered ones,
/// and another one in every other transaction of the connector.
#[test]
fn the_commit_before_identifies_a_transaction() {
    let mut by_number: BTreeMap<(String, u64), BTreeSet<String>> = BTreeMap::new();
    let mut by_commit: BTreeMap<(String, String), BTreeSet<u64>> = BTreeMap::new();
    let files = captures::scenarios("postgresql", "json-plain");
    for scenario in &files {
        let path = captures::file("postgresql", "json-plain", scenario).expect("a file");
        for record in captures::read(&path) {
            let value: Value =
                record.payload.as_deref().map_or(Value::Null, |text| serde_json::from_str(text).expect("JSON"));
            let source = &value["source"];
            let sequence = source["sequence"].as_str().unwrap_or("[null]");
            let sequence: Vec<Option<String>> = serde_json::from_str(sequence).expect("a pair");
            let (Some(number), Some(commit)) = (source["txId"].as_u64(), sequence[0].clone()) else { continue };
            if source["snapshot"] != "false" {
                continue;
            }
            let name = source["name"].as_str().expect("a name").to_owned();
            by_number.entry((name.clone(), number)).or_default().insert(commit.clone());
            by_commit.entry((name, commit)).or_default().insert(number);
        }
    }
    assert!(by_number.len() > 200, "{} transactions", by_number.len());
    let torn: Vec<_> = by_number.iter().filter(|(_, commits)| commits.len() != 1).collect();
    let joined: Vec<_> = by_commit.iter().filter(|(_, numbers)| numbers.len() != 1).collect();
    assert!(torn.is_empty() && joined.is_empty(), "torn {torn:?}, joined {joined:?}");
}

fn record(captured: &Captured) -> Record {
    Record {
        at: TopicPartition::new(captured.topic.as_str(), captured.partition),
        offset: captured.offset,
        timestamp_ms: Some(captured.ts),
        key: captured.key.clone().map(|key| key.into_bytes().into()),
        value: captured.payload.clone().map(|value| value.into_bytes().into()),
        headers: Headers::default(),
        framed: None,
    }
}

/// Delivers the scenario in a random interleaving of its partitions; returns how many batches had transactions in them, how many
/// transactions these were, and how many were cut by time.
fn deliver(records: &[Captured], random: &mut Random) -> (u64, u64, u64) {
    let mut log: BTreeMap<TopicPartition, Vec<&Captured>> = BTreeMap::new();
    for captured in records {
        log.entry(TopicPartition::new(captured.topic.as_str(), captured.partition)).or_default().push(captured);
    }
    let limits = Limits { rows: 4, bytes: 1 << 30, age: Duration::ZERO };
    let mut lane = Lane::new(limits, 1).aligned(WAIT);
    lane.aligner().expect("aligned").expect(log.keys().cloned());
    let mut cursors: BTreeMap<&TopicPartition, usize> = BTreeMap::new();
    let mut left: BTreeMap<String, u64> = BTreeMap::new();
    records.iter().filter_map(transaction).for_each(|id| *left.entry(id).or_default() += 1);
    for (at, records) in &log {
        let next = records[0].offset;
        lane.assign(1, Claimed { at: at.clone(), incarnation: "-".into(), next, fence: 1, open_delete: None });
        cursors.insert(at, 0);
    }
    let (mut batches, mut whole, mut by_time) = (0, 0, 0);
    let mut generations: BTreeMap<TopicPartition, u64> = BTreeMap::new();
    let mut stopped: BTreeSet<TopicPartition> = BTreeSet::new();
    while lane.partitions().iter().any(|(at, owned)| owned.next <= log[at].last().expect("one").offset) {
        lane.aligner().expect("aligned").listened(Duration::from_millis(1));
        let (at, records) = log.iter().nth(random.below(log.len() as u64) as usize).expect("one");
        let generation = generations.get(at).copied().unwrap_or(1);
        let from = cursors[at];
        if lane.has_room() && !stopped.contains(at) {
            let to = records.len().min(from + 1 + random.below(4) as usize);
            lane.take(generation, records[from..to].iter().map(|captured| record(captured)).collect(), Duration::ZERO);
            cursors.insert(at, to);
            if to == records.len() {
                lane.at_end(at, generation, records.last().expect("one").offset + 1);
            }
        }
        if let Ok(segment) = lane.cut(Duration::ZERO) {
            let mut next: BTreeMap<TopicPartition, i64> = BTreeMap::new();
            let mut taken: BTreeSet<String> = BTreeSet::new();
            for record in &segment.records {
                next.insert(record.at.clone(), record.offset + 1);
                let captured = log[&record.at].iter().find(|captured| captured.offset == record.offset).expect("it");
                let Some(id) = transaction(captured) else { continue };
                *left.get_mut(&id).expect("known") -= 1;
                taken.insert(id);
            }
            let advance = |(at, next): (TopicPartition, i64)| Advance {
                from: lane.partition(&at).expect("owned").next,
                at,
                fence: 1,
                next,
                counts: Default::default(),
                source_time_ms: None,
                open_delete: None,
                top: Default::default(),
            };
            let advances: Vec<Advance> = next.into_iter().map(advance).collect();
            by_time += lane.consistency(&advances).iter().map(|news| news.by_time + news.inside).sum::<u64>();
            lane.committed(segment.records.len(), &advances);
            batches += u64::from(!taken.is_empty());
            whole += taken.len() as u64;
            let torn: Vec<&String> = taken.iter().filter(|id| left[*id] > 0).collect();
            assert!(torn.is_empty(), "a batch ends inside of {torn:?}");
        }
        let (stop, again) = lane.steer();
        stopped.extend(stop);
        for (at, offset) in again {
            let generation = generations.entry(at.clone()).or_insert(1);
            *generation += 1;
            lane.regenerate(&at, *generation);
            let cursor = log[&at].partition_point(|captured| captured.offset < offset);
            let (at, _) = log.get_key_value(&at).expect("it");
            cursors.insert(at, cursor);
            stopped.remove(at);
        }
    }
    assert!(left.values().all(|count| *count == 0), "everything was applied");
    (batches, whole, by_time)
}

/// `multi_table_tx` with its transaction topic, without it, and with every form: no batch ends inside a transaction.
#[test]
fn captured_transactions_are_taken_whole_in_every_interleaving() {
    let mut random = Random::new(seed());
    for connector in ["postgresql", "mariadb"] {
        for (form, with_topic) in [("json-plain", true), ("json-plain", false), ("json-schemas", true)] {
            let read = |scenario| captures::read(&captures::file(connector, form, scenario).expect("a file"));
            let mut records = read("multi_table_tx");
            if with_topic {
                records.extend(read("transaction_topic"));
            }
            let (mut batches, mut whole, mut by_time) = (0, 0, 0);
            for _ in 0..20 {
                let seen = deliver(&records, &mut random);
                (batches, whole, by_time) = (batches + seen.0, whole + seen.1, by_time + seen.2);
            }
            println!("{connector} {form}: {whole} transactions in {batches} batches, {by_time} cut by time");
            // Only the last transaction has nothing behind it; where the counts match it need not wait.
            assert!(batches > 20 && whole >= batches && by_time <= 20, "{batches} {whole} {by_time}");
        }
    }
}
