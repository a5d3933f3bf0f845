//! Orders in which Kafka and a connector may deliver captured records: within a partition nothing is exchanged, between
//! partitions anything goes, and records come again.

use std::collections::BTreeMap;

use super::captures::Captured;
use super::random::Random;

/// Records of each partition, in their order.
type Log = BTreeMap<(String, i32), Vec<Captured>>;

fn log(records: &[Captured]) -> Log {
    let mut log = Log::new();
    for record in records {
        log.entry((record.topic.clone(), record.partition)).or_default().push(record.clone());
    }
    log
}

/// Gives the offsets anew.
fn renumber(mut log: Log) -> Log {
    for records in log.values_mut() {
        records.iter_mut().zip(0..).for_each(|(record, offset)| record.offset = offset);
    }
    log
}

/// The partitions one after the other, the last one first.
pub fn backwards(records: &[Captured]) -> Vec<Captured> {
    log(records).into_values().rev().flatten().collect()
}

/// The partitions mixed at random, in runs of one to forty records.
pub fn interleaved(records: &[Captured], random: &mut Random) -> Vec<Captured> {
    let mut open: Vec<std::vec::IntoIter<Captured>> = log(records).into_values().map(Vec::into_iter).collect();
    let mut mixed = Vec::with_capacity(records.len());
    while !open.is_empty() {
        let at = random.below(open.len() as u64) as usize;
        let length = 1 + random.below(40) as usize;
        mixed.extend(open[at].by_ref().take(length));
        if open[at].len() == 0 {
            open.swap_remove(at);
        }
    }
    mixed
}

/// Every record twice (a producer that tried again); a delete with the null behind it is one batch of the producer.
pub fn doubled(records: &[Captured]) -> Vec<Captured> {
    let twice = |records: Vec<Captured>| {
        let batches = records.chunk_by(|_, next| next.payload.is_none());
        batches.flat_map(|batch| [batch, batch].concat()).collect()
    };
    let log = log(records).into_iter().map(|(at, records)| (at, twice(records))).collect();
    renumber(log).into_values().flatten().collect()
}

/// In every partition a stretch comes again right behind itself (a connector that was restarted).
pub fn redelivered(records: &[Captured], random: &mut Random) -> Vec<Captured> {
    let mut log = log(records);
    for records in log.values_mut() {
        let end = 1 + random.below(records.len() as u64) as usize;
        let (from, to) = stretch(records, end, random);
        let again = records[from..to].to_vec();
        records.splice(to..to, again);
    }
    mixed(log, random)
}

/// The log ends within a redelivery: in every partition what comes last is the begin of a stretch that came before.
pub fn cut_off(records: &[Captured], random: &mut Random) -> Vec<Captured> {
    let mut log = log(records);
    for records in log.values_mut() {
        let (from, to) = stretch(records, records.len(), random);
        let kept = random.below((to - from) as u64 + 1) as usize;
        let again = records[from..from + kept].to_vec();
        records.extend(again);
    }
    mixed(log, random)
}

/// Some records up to `end`, none of a snapshot: a connector that is restarted inside a snapshot takes another one, at another
/// position.
fn stretch(records: &[Captured], end: usize, random: &mut Random) -> (usize, usize) {
    let streamed = records[..end].iter().rev().take_while(|record| !is_snapshot(record)).count();
    let mut from = end - random.below(streamed as u64 + 1) as usize;
    // A null is sent together with the delete before it.
    while from > 0 && records.get(from).is_some_and(|record| record.payload.is_none()) {
        from -= 1;
    }
    (from, end)
}

fn mixed(log: Log, random: &mut Random) -> Vec<Captured> {
    let all: Vec<Captured> = renumber(log).into_values().flatten().collect();
    interleaved(&all, random)
}

fn is_snapshot(record: &Captured) -> bool {
    let Some(payload) = &record.payload else { return false };
    payload.contains("\"op\":\"r\"") || payload.contains("\"__op\":\"r\"")
}

/// What a consumer had read of the log at some moment.
pub fn prefix(records: &[Captured], random: &mut Random) -> Vec<Captured> {
    let mut log = log(records);
    for records in log.values_mut() {
        // The whole, one record, and anything between.
        records.truncate(1 + random.below(records.len() as u64) as usize);
    }
    let all: Vec<Captured> = log.into_values().flatten().collect();
    interleaved(&all, random)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(topic: &str, partition: i32, offset: i64, op: &str) -> Captured {
        let payload = Some(format!("{{\"op\":\"{op}\"}}"));
        Captured { topic: topic.to_owned(), partition, offset, ts: 0, headers: Vec::new(), key: None, payload }
    }

    fn sample() -> Vec<Captured> {
        let one = |offset| record("a", 0, offset, if offset < 2 { "r" } else { "u" });
        let two = |offset| record("a", 1, offset, "u");
        (0..9).map(one).chain((0..5).map(two)).collect()
    }

    /// Every delivery keeps the order inside a partition, has consecutive offsets and loses nothing.
    #[test]
    fn deliveries_are_legal() {
        let records = sample();
        for seed in 0..50 {
            let mut random = Random::new(seed);
            let ways = [
                (backwards(&records), 14),
                (interleaved(&records, &mut random), 14),
                (doubled(&records), 28),
                (redelivered(&records, &mut random), 14),
                (cut_off(&records, &mut random), 14),
            ];
            for (delivered, least) in ways {
                assert!(delivered.len() >= least);
                for (_, records) in log(&delivered) {
                    assert!(records.iter().zip(0..).all(|(record, offset)| record.offset == offset));
                }
            }
            let again = redelivered(&records, &mut random);
            let snapshot = again.iter().filter(|record| is_snapshot(record)).count();
            assert_eq!(snapshot, 2, "snapshot rows are not delivered again");
        }
    }
}
