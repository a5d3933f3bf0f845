//! An aligned lane without a clock: what may be applied, and what is known about it.

use std::time::Duration;

use super::super::lane::{Claimed, Lane, Limits, Segment};
use super::super::plan::{Advance, Consistency};
use super::super::record::{Headers, Record, TopicPartition};

pub(super) const WAIT: Duration = Duration::from_millis(100);
const NOW: Duration = Duration::from_secs(9);

pub(super) fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// An event of a PostgreSQL transaction that follows the commit at `before`.
pub(super) fn event(at: &TopicPartition, offset: i64, before: u64, lsn: u64, id: i64) -> Record {
    let value = format!(
        r#"{{"op":"c","after":{{"id":{id}}},"source":{{"connector":"postgresql","name":"s","schema":"p","table":"t","txId":{before},"sequence":"[\"{before}\",\"{lsn}\"]"}}}}"#
    );
    let key = format!(r#"{{"id":{id}}}"#);
    Record {
        at: at.clone(),
        offset,
        timestamp_ms: None,
        key: Some(key.into_bytes().into()),
        value: Some(value.into_bytes().into()),
        headers: Headers::default(),
        framed: None,
    }
}

pub(super) fn lane(rows: usize, partitions: &[TopicPartition]) -> Lane {
    let limits = Limits { rows, bytes: 1 << 30, age: Duration::ZERO };
    let mut lane = Lane::new(limits, 1).aligned(WAIT);
    for at in partitions {
        lane.assign(1, claim(at, 0));
    }
    expect(&mut lane, partitions);
    lane
}

pub(super) fn claim(at: &TopicPartition, next: i64) -> Claimed {
    Claimed { at: at.clone(), incarnation: "-".into(), next, fence: 1, open_delete: None }
}

pub(super) fn expect(lane: &mut Lane, partitions: &[TopicPartition]) {
    lane.aligner().expect("aligned").expect(partitions.to_vec());
}

pub(super) fn listen(lane: &mut Lane, time: Duration) {
    lane.aligner().expect("aligned").listened(time);
}

/// Checkpoints behind a segment's records.
pub(super) fn advances(lane: &Lane, segment: &Segment) -> Vec<Advance> {
    let next = |at: &TopicPartition| {
        segment.records.iter().filter(|record| record.at == *at).map(|record| record.offset + 1).max()
    };
    let moved = lane.partitions().iter().filter_map(|(at, owned)| Some((at, owned, next(at)?)));
    moved
        .map(|(at, owned, next)| Advance {
            at: at.clone(),
            fence: 1,
            from: owned.next,
            next,
            counts: Default::default(),
            source_time_ms: None,
            open_delete: None,
            top: Default::default(),
        })
        .collect()
}

/// Applies what may be applied: offsets by partition in the order of the segment, and the news.
fn apply(lane: &mut Lane) -> (Vec<(i32, i64)>, Vec<Consistency>) {
    let segment = lane.cut(NOW).expect("something may be applied");
    let advances = advances(lane, &segment);
    let news = lane.consistency(&advances);
    lane.committed(segment.records.len(), &advances);
    (segment.records.iter().map(|record| (record.at.partition, record.offset)).collect(), news)
}

/// A transaction waits until every partition shows a later one, and then its records go together.
#[test]
fn a_transaction_goes_when_every_partition_is_past_it() {
    let (a, b) = (at("s.p.t", 0), at("s.p.t", 1));
    let mut lane = lane(100, &[a.clone(), b.clone()]);
    lane.take(1, vec![event(&a, 0, 10, 11, 1), event(&a, 1, 20, 21, 1)], NOW);
    lane.take(1, vec![event(&b, 0, 10, 12, 2)], NOW);
    assert_eq!(lane.cut(NOW).expect_err("b may hold more of it"), None);
    lane.take(1, vec![event(&b, 1, 20, 22, 2)], NOW);
    let (applied, news) = apply(&mut lane);
    assert_eq!(applied, [(0, 0), (1, 0)]);
    // The next transaction tells where this one was committed.
    let expected =
        Consistency { source: "postgresql s".into(), position: Some("LSN 0/14".into()), by_time: 0, inside: 0 };
    assert_eq!(news, [expected]);
    assert!(lane.cut(NOW).is_err(), "nobody shows anything behind the newest");
}

/// At the head of the log silence decides, is counted, and proves nothing; time that nobody listened is no silence.
#[test]
fn the_head_goes_after_silence_and_is_counted() {
    let (a, b) = (at("s.p.t", 0), at("s.p.t", 1));
    let mut lane = lane(100, &[a.clone(), b.clone()]);
    lane.take(1, vec![event(&a, 0, 10, 11, 1)], NOW);
    lane.at_end(&a, 1, 1);
    listen(&mut lane, WAIT);
    assert_eq!(lane.cut(NOW).expect_err("b has not said its end"), None);
    lane.at_end(&b, 1, 0);
    assert!(lane.cut(NOW + WAIT * 100).is_ok());
    let mut lane = self::lane(100, &[a.clone(), b.clone()]);
    lane.at_end(&b, 1, 0);
    listen(&mut lane, WAIT * 3);
    lane.take(1, vec![event(&a, 0, 10, 11, 1)], NOW);
    lane.at_end(&a, 1, 1);
    assert_eq!(lane.cut(NOW + WAIT * 100).expect_err("nobody listened"), Some(WAIT));
    listen(&mut lane, WAIT);
    let (applied, news) = apply(&mut lane);
    assert_eq!(applied, [(0, 0)]);
    // Only what lies before it is certain.
    let position = Some("LSN 0/A".into());
    assert_eq!(news, [Consistency { source: "postgresql s".into(), position, by_time: 1, inside: 0 }]);
    // A later one is proof of it, when the silent partition stays silent.
    lane.take(1, vec![event(&a, 1, 20, 21, 1)], NOW);
    lane.at_end(&a, 1, 2);
    listen(&mut lane, WAIT);
    let (_, news) = apply(&mut lane);
    assert_eq!((news[0].position.as_deref(), news[0].by_time), (Some("LSN 0/14"), 1));
}

/// While another process holds partitions, every cut is one by time, and nothing is proven.
#[test]
fn without_all_partitions_nothing_is_proven() {
    let (a, b) = (at("s.p.t", 0), at("s.p.t", 1));
    let mut lane = lane(100, std::slice::from_ref(&a));
    expect(&mut lane, &[a.clone(), b]);
    lane.take(1, vec![event(&a, 0, 10, 11, 1), event(&a, 1, 20, 21, 1)], NOW);
    assert_eq!(lane.cut(NOW).expect_err("b is elsewhere"), Some(WAIT));
    listen(&mut lane, WAIT);
    let (applied, news) = apply(&mut lane);
    assert_eq!((applied.len(), news[0].position.clone(), news[0].by_time), (1, None, 1));
}

/// The END of the transaction topic saves the waiting, and only where its counts match.
#[test]
fn matching_counts_save_the_waiting() {
    let (a, b, ends) = (at("s.p.t", 0), at("s.p.t", 1), at("s.transaction", 0));
    for (count, goes) in [(2, true), (3, false), (1, false)] {
        let mut lane = lane(100, &[a.clone(), b.clone(), ends.clone()]);
        let value = format!(
            r#"{{"status":"END","id":"10:99","event_count":{count},"data_collections":[{{"data_collection":"p.t","event_count":{count}}},{{"data_collection":"p.not_read","event_count":7}}]}}"#
        );
        // In Kafka before the events, as it was seen; the events come twice.
        let end =
            Record { at: ends.clone(), key: None, value: Some(value.into_bytes().into()), ..event(&a, 0, 0, 0, 0) };
        lane.take(1, vec![end], NOW);
        lane.take(1, vec![event(&a, 0, 10, 11, 1), event(&a, 1, 10, 12, 1), event(&a, 2, 10, 11, 1)], NOW);
        lane.at_end(&a, 1, 3);
        assert!(apply(&mut lane).0 == [(0, 0)], "the END itself carries no change");
        assert!(lane.cut(NOW).is_err(), "b is being read");
        lane.at_end(&b, 1, 0);
        match goes {
            true => {
                let (applied, news) = apply(&mut lane);
                assert_eq!(applied.len(), 3);
                assert!(news.is_empty(), "no cut by time, and no proof: {news:?}");
            }
            false => assert_eq!(lane.cut(NOW).expect_err("wrong count"), Some(WAIT)),
        }
    }
}

/// A transaction that is larger than the queue may be is cut inside and counted; one that fits goes whole although it is larger
/// than a batch.
#[test]
fn only_a_transaction_beyond_all_limits_is_cut() {
    let (a, b) = (at("s.p.t", 0), at("s.p.t", 1));
    for (records, inside) in [(70, false), (90, true)] {
        let mut lane = lane(10, &[a.clone(), b.clone()]);
        let (mut offset, mut cut) = (0, 0);
        while offset < records {
            while offset < records && lane.has_room() {
                lane.take(1, vec![event(&a, offset, 10, 11 + offset as u64, offset)], NOW);
                offset += 1;
            }
            if offset < records && lane.cut(NOW).is_ok() {
                cut += 1;
                break;
            }
        }
        assert_eq!((cut > 0, offset), (inside, if inside { 80 } else { 70 }));
        if !inside {
            lane.take(1, vec![event(&a, 70, 500, 501, 1)], NOW);
            lane.take(1, vec![event(&b, 0, 500, 502, 2)], NOW);
            let (applied, news) = apply(&mut lane);
            assert_eq!((applied.len(), news[0].inside, news[0].position.is_some()), (70, 0, true));
        }
    }
}

/// Where the queue fills up with what another partition holds up, that one alone is read on.
#[test]
fn partitions_that_are_ahead_are_stopped_and_read_again() {
    let (a, b) = (at("s.p.t", 0), at("s.p.t", 1));
    let mut lane = lane(4, &[a.clone(), b.clone()]);
    lane.take(1, (0..6).map(|n| event(&a, n, 10 + n as u64 * 10, 11 + n as u64 * 10, 1)).collect(), NOW);
    assert!(lane.cut(NOW).is_err() && lane.has_room());
    assert_eq!(lane.steer(), (vec![a.clone()], vec![]));
    assert_eq!(lane.steer(), (vec![], vec![]));
    lane.take(1, vec![event(&b, 0, 50, 51, 2)], NOW);
    assert_eq!(apply(&mut lane).0.len(), 4);
    // What waits now waits for `a` itself.
    lane.take(1, vec![event(&b, 1, 90, 91, 2)], NOW);
    assert_eq!(apply(&mut lane).0.len(), 2);
    assert_eq!(lane.steer(), (vec![], vec![(a.clone(), 6)]));
}

/// A plan that takes less than the segment ends between transactions.
#[test]
fn a_shorter_plan_ends_between_transactions() {
    let (a, b) = (at("s.p.t", 0), at("s.p.t", 1));
    let mut lane = lane(100, &[a.clone(), b.clone()]);
    lane.take(1, vec![event(&a, 0, 10, 11, 1), event(&a, 1, 20, 21, 1), event(&a, 2, 30, 31, 1)], NOW);
    lane.take(1, vec![event(&b, 0, 10, 12, 2), event(&b, 1, 20, 22, 2), event(&b, 2, 30, 32, 2)], NOW);
    let segment = lane.cut(NOW).expect("two are complete");
    let ends: Vec<usize> = (0..=4).map(|most| lane.whole_transactions(&segment.records, most)).collect();
    assert_eq!(ends, [0, 0, 2, 2, 4]);
}
