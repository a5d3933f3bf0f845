//! Logs whose deletes are gone: compacted between two looks at them, or written by a transform that drops delete events. Only null
//! values are left of them.

use super::*;
use crate::core::nulls::NULL_DELETE;

/// What a log cleaner leaves of the first records of each partition: of each key the last one. Keys that hold a record which is
/// refused or cannot be read are left alone: the truth counts their last good change.
fn compact(history: &History, random: &mut Random) -> History {
    let mut left = history.clone();
    for (at, records) in &mut left.log {
        let spoilt: Vec<_> = history.bad.iter().chain(&history.garbage).filter(|(of, _)| of == at).collect();
        let is_spoilt = |offset: i64| spoilt.iter().any(|(_, bad)| *bad == offset);
        let clean = random.below(records.len() as i64 + 1) as usize;
        let head = records[..clean].to_vec();
        let mut place = 0;
        records.retain(|record| {
            place += 1;
            let later = || head[place.min(head.len())..].iter().any(|other| other.key == record.key);
            let spoilt = || head.iter().any(|other| other.key == record.key && is_spoilt(other.offset));
            place > clean || record.key.is_none() || !later() || spoilt()
        });
    }
    left
}

/// Without its delete events.
fn without_deletes(history: &History) -> History {
    let mut left = history.clone();
    for records in left.log.values_mut() {
        let is_delete = |record: &Record| {
            let value = record.value.as_ref().map(|value| value.whole());
            value.is_some_and(|value| value.windows(8).any(|part| part == b"\"op\":\"d\""))
        };
        records.retain(|record| !is_delete(record));
    }
    left
}

/// Replays a part of every partition, and of it only what lies before `end`.
async fn replay_part(history: &History, store: &mut Store, seed: u64, number: u64) {
    let mut random = Random(seed);
    let mut part = history.clone();
    for (at, records) in &mut part.log {
        let keep = random.below(records.len() as i64 + 1) as usize;
        records.truncate(keep);
        part.ends.insert(at.clone(), records.last().map_or(0, |record| record.offset + 1));
    }
    let owner = format!("p#replay-{number}");
    let mut process = Process::new("replay", &owner, 1 + random.below(9) as usize, &config());
    let partitions: Vec<TopicPartition> = part.ends.keys().cloned().collect();
    process.claim(store, &partitions);
    for _ in 0..100_000 {
        if done(store, &part, &owner) {
            return;
        }
        process.feed(&part, &mut random);
        process.work(store, &mut random, 0, &mut Seen::default()).await;
    }
    panic!("the replay did not come to an end");
}

/// Invariants 2, 3 and 7 where deletes are told by null values alone. A key that moves to another partition is a limit: a null in
/// its former one does not know of it. So is a source epoch whose first records were compacted away.
#[test]
fn null_values_without_deletes_end_in_the_state_of_their_source() {
    let (mut deleted, mut runs) = (0, 0);
    seeds(400, |seed| {
        let history = history(seed);
        // Nor is there a cure for an update that lacks values where compaction took the events that had them.
        if !history.calm || !history.partial.is_empty() {
            return;
        }
        let mut random = Random(seed ^ 0xC0);
        let dropped = without_deletes(&history);
        let compacted = compact(&history, &mut random);
        for (number, (first, then)) in [(&history, &compacted), (&dropped, &dropped)].into_iter().enumerate() {
            let switch = random.below(40) as usize;
            let mut store =
                block_on(run_over(Store::default(), first, then, switch, seed ^ 0x51, 20, &mut Seen::default()));
            let rows: BTreeMap<(String, i64), Values> =
                store.contents().rows.into_iter().map(|(key, (_, value))| (key, value)).collect();
            assert_eq!(rows, history.truth, "the tables hold what the source has ({number})");
            // A null of a topic of which nothing was ever read tells nothing yet.
            let first_of_topic = |at: &TopicPartition, offset: i64| {
                !then.log[at].iter().any(|record| record.offset < offset && record.value.is_some())
            };
            for ((at, offset), reason) in &store.quarantine() {
                assert!(*reason != "orphan_null" || first_of_topic(at, *offset), "{at} offset {offset}");
            }
            deleted += store.memory.ledger.iter().filter(|entry| entry.kind == NULL_DELETE).count();
            runs += 1;
            let before: Contents = store.contents();
            for number in 1..4 {
                block_on(replay_part(then, &mut store, seed + number, number));
                assert_eq!(before, store.contents(), "invariant 7: a replay of a part changes nothing");
            }
        }
    });
    println!("{deleted} nulls deleted a row in {runs} runs");
    assert!(std::env::var("LASTWORD_SIM_SEED").is_ok() || deleted > 100, "a guard that never decided was not tested");
}
