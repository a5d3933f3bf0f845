//! The lane without a clock, a database or Kafka.

use super::*;
use crate::core::record::Headers;

const NOW: Duration = Duration::from_secs(100);

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn record(partition: i32, offset: i64) -> Record {
    Record { at: at(partition), offset, timestamp_ms: None, key: None, value: None, headers: Headers::default() }
}

fn claim(partition: i32, next: i64, fence: i64) -> Claimed {
    Claimed { at: at(partition), incarnation: "-".into(), next, fence, open_delete: None }
}

fn lane(rows: usize) -> Lane {
    let mut lane = Lane::new(Limits { rows, bytes: 1 << 20, age: Duration::from_millis(10) }, 1);
    lane.assign(1, claim(0, 5, 1));
    lane
}

fn advance(partition: i32, from: i64, next: i64) -> Advance {
    Advance {
        at: at(partition),
        fence: 1,
        from,
        next,
        counts: Default::default(),
        source_time_ms: None,
        open_delete: None,
        top: Default::default(),
    }
}

fn offsets(segment: &Segment) -> Vec<i64> {
    segment.records.iter().map(|record| record.offset).collect()
}

#[test]
fn leftovers_of_earlier_assignments_are_dropped() {
    let mut lane = lane(10);
    lane.take(0, vec![record(0, 5)], NOW);
    lane.take(1, vec![record(0, 4), record(0, 5), record(0, 5), record(1, 9)], NOW);
    let segment = lane.cut(NOW + Duration::from_secs(1)).expect("due by age");
    assert_eq!(offsets(&segment), [5]);
}

#[test]
fn a_segment_is_cut_by_rows_or_by_age() {
    let mut lane = lane(2);
    lane.take(1, vec![record(0, 5)], NOW);
    assert_eq!(lane.cut(NOW).expect_err("too young"), Some(Duration::from_millis(10)));
    lane.take(1, vec![record(0, 7), record(0, 9)], NOW);
    assert_eq!(offsets(&lane.cut(NOW).expect("full")), [5, 7]);
    assert!(lane.cut(NOW + Duration::from_secs(1)).is_ok());
    assert_eq!(lane.cut(NOW).expect_err("empty"), None);
}

/// A bad record in any place is found alone, its neighbours are applied, and the search ends.
#[test]
fn bisection_finds_the_bad_record() {
    for bad in 0..13 {
        let mut lane = lane(100);
        lane.take(1, (5..18).map(|offset| record(0, offset)).collect(), NOW);
        let (mut applied, mut quarantined, mut from) = (Vec::new(), Vec::new(), 5);
        for _ in 0..40 {
            let Ok(segment) = lane.cut(NOW + Duration::from_secs(1)) else { break };
            let next = offsets(&segment).last().map_or(from, |last| last + 1);
            let marked = segment.records.iter().any(|record| lane.verdict(record).is_some());
            let is_bad = segment.records.iter().any(|record| record.offset == 5 + bad) && !marked;
            if is_bad {
                let failure = Failure::new(Class::Record, "23514", "check");
                let single = segment.records.len() == 1;
                match lane.failed(segment.records, &[advance(0, from, next)], &failure, NOW) {
                    Next::Describe { .. } => assert!(single),
                    next => assert_eq!(next, Next::Again),
                }
                continue;
            }
            if marked {
                quarantined.extend(offsets(&segment))
            } else {
                applied.extend(offsets(&segment))
            }
            lane.committed(segment.records.len(), &[advance(0, from, next)]);
            from = next;
        }
        assert_eq!(quarantined, [5 + bad]);
        assert_eq!(applied.len(), 12, "bad record {bad}");
        assert_eq!(lane.partition(&at(0)).expect("owned").next, 18);
        assert!(lane.bisect.is_none());
    }
}

/// With `on_bad_record = "stop"` nothing is committed for a bad record; the next one is searched for all the same.
#[test]
fn a_second_bad_record_is_marked_although_the_first_was_not_committed() {
    let mut lane = lane(1);
    lane.assign(1, claim(1, 0, 1));
    let failure = Failure::new(Class::Record, "23514", "check");
    for partition in 0..2 {
        lane.take(1, vec![record(partition, 5)], NOW);
        let mut segment = lane.cut(NOW).expect("full");
        // Its table may have been altered: looked at once, not for every bad record.
        if partition == 0 {
            let described = Next::Describe { after: Duration::ZERO };
            assert_eq!(lane.failed(segment.records, &[], &failure, NOW), described);
            segment = lane.cut(NOW).expect("again");
        }
        assert_eq!(lane.failed(segment.records, &[], &failure, NOW), Next::Again);
        let segment = lane.cut(NOW).expect("again");
        assert!(lane.verdict(&segment.records[0]).is_some());
        lane.revoke(&at(partition));
    }
}

/// A table that is not as described is described anew a few times; if that does not help, the record is searched for that its
/// partition stops at, and everything else goes on.
#[test]
fn a_table_that_stays_different_stops_only_what_needs_it() {
    let mut lane = lane(10);
    lane.assign(1, claim(1, 0, 1));
    lane.take(1, vec![record(0, 5), record(1, 0), record(0, 6)], NOW);
    let failure = Failure::new(Class::Table, "42703", "no column");
    let (mut looks, mut applied) = (0, Vec::new());
    for _ in 0..40 {
        let Ok(segment) = lane.cut(NOW + Duration::from_secs(1)) else { break };
        if let Some(why) = segment.records.iter().find_map(|record| lane.verdict(record)) {
            assert!(why.stops_table && segment.records[0].at == at(1), "{why}");
            lane.give_back(segment.records, NOW);
            lane.revoke(&at(1));
        } else if segment.records.iter().any(|record| record.at == at(1)) {
            looks += i32::from(matches!(lane.failed(segment.records, &[], &failure, NOW), Next::Describe { .. }));
        } else {
            applied.extend(offsets(&segment));
            lane.committed(segment.records.len(), &[]);
        }
    }
    assert_eq!(applied, [5, 6]);
    assert!((3..20).contains(&looks), "{looks}");
    // When it is looked at again, nothing of the former verdict is left.
    lane.assign(2, claim(1, 0, 2));
    lane.take(2, vec![record(1, 0)], NOW);
    let segment = lane.cut(NOW + Duration::from_secs(1)).expect("again");
    assert!(lane.verdict(&segment.records[0]).is_none());
}

/// One bad record among many costs a search, not a transaction per record.
#[test]
fn after_a_bad_record_was_found_batches_grow_again() {
    let mut lane = lane(1000);
    lane.take(1, (5..1005).map(|offset| record(0, offset)).collect(), NOW);
    let mut transactions = 0;
    while let Ok(segment) = lane.cut(NOW + Duration::from_secs(1)) {
        transactions += 1;
        let (rows, from) = (segment.records.len(), segment.records[0].offset);
        let bad = segment.records.iter().any(|record| record.offset == 7 && lane.verdict(record).is_none());
        if bad {
            lane.failed(segment.records, &[], &Failure::new(Class::Record, "23514", "check"), NOW);
        } else {
            lane.committed(rows, &[advance(0, from, from + rows as i64)]);
        }
    }
    assert!(transactions < 40, "{transactions}");
}

/// A record whose unique value is still another row's, or whose parent is not there, is tried again together with what came
/// meanwhile; it is put aside only if that does not help for a while, and says why.
#[test]
fn a_clash_waits_for_what_clears_the_way() {
    let (unique, parent) = (("23505", "unique_violation"), ("mysql 1452", "foreign_key_violation"));
    for ((code, reason), released) in [(unique, true), (unique, false), (parent, true), (parent, false)] {
        let failure = Failure::new(Class::Record, code, "key \"t_v_key\"");
        let mut lane = lane(10);
        lane.assign(1, claim(1, 0, 1));
        lane.take(1, vec![record(0, 5), record(0, 6)], NOW);
        let (mut waits, mut quarantined) = (0, false);
        for _ in 0..100 {
            let Ok(segment) = lane.cut(NOW + Duration::from_secs(1)) else { break };
            let has = |partition, offset| segment.records.iter().any(|r| r.at == at(partition) && r.offset == offset);
            let marked = lane.verdict(&segment.records[0]).map(|why| why.reason);
            if marked == Some(reason) {
                quarantined = true;
                lane.committed(segment.records.len(), &[advance(0, 5, 6)]);
            } else if has(0, 5) && !has(1, 0) {
                match lane.failed(segment.records, &[], &failure, NOW) {
                    Next::Retry { .. } => waits += 1,
                    next => assert_eq!(next, Next::Again),
                }
                if waits == 2 && released {
                    lane.take(1, vec![record(1, 0)], NOW);
                    waits += 1;
                }
            } else {
                lane.committed(segment.records.len(), &[]);
            }
        }
        assert!(lane.is_empty());
        assert_eq!((quarantined, waits), if released { (false, 3) } else { (true, OTHERS_TRIES) });
    }
}

/// A topic that was made anew: offsets that fit do not make its queued records the right ones.
#[test]
fn a_new_incarnation_is_read_anew() {
    let mut lane = lane(3);
    lane.take(1, vec![record(0, 5)], NOW);
    let other = Claimed { incarnation: "other".into(), ..claim(0, 5, 2) };
    assert_eq!(lane.reclaimed(vec![other]).0, [(at(0), Resumed::Seek(5))]);
    assert!(lane.is_empty());
}

/// Invariant 6: an unknown outcome is settled by the claim's answer, either way.
#[test]
fn unknown_outcomes_are_settled_by_claiming() {
    for (stored, settled, left) in [(8, Settled::Landed, vec![8, 9]), (5, Settled::NotLanded, vec![5, 6, 7, 8, 9])] {
        let mut lane = lane(3);
        lane.take(1, (5..10).map(|offset| record(0, offset)).collect(), NOW);
        let segment = lane.cut(NOW).expect("full");
        let failure = Failure::new(Class::Unknown, "lost", "connection lost during COMMIT");
        let next = lane.failed(segment.records, &[advance(0, 5, 8)], &failure, NOW);
        assert_eq!(next, Next::Reclaim { unknown: true });
        let (resumed, outcome) = lane.reclaimed(vec![claim(0, stored, 2)]);
        assert_eq!((resumed, outcome), (vec![(at(0), Resumed::GoesOn)], Some(settled)));
        lane.limits.rows = 100;
        assert_eq!(offsets(&lane.cut(NOW + Duration::from_secs(1)).expect("due")), left);
    }
}

/// `offsets set` moved the checkpoint: the queue is dropped and the source has to seek.
#[test]
fn a_moved_checkpoint_leads_to_a_seek() {
    let mut lane = lane(3);
    lane.take(1, (5..10).map(|offset| record(0, offset)).collect(), NOW);
    let segment = lane.cut(NOW).expect("full");
    let failure = Failure::new(Class::Fenced, "fenced", "compare-and-swap missed");
    assert_eq!(lane.failed(segment.records, &[advance(0, 5, 8)], &failure, NOW), Next::Reclaim { unknown: false });
    let (resumed, _) = lane.reclaimed(vec![claim(0, 2, 3)]);
    assert_eq!(resumed, [(at(0), Resumed::Seek(2))]);
    lane.take(1, vec![record(0, 10)], NOW);
    assert!(lane.is_empty());
    lane.regenerate(&at(0), 7);
    lane.take(7, vec![record(0, 2)], NOW);
    assert_eq!(offsets(&lane.cut(NOW + Duration::from_secs(1)).expect("due")), [2]);
}

/// Gaps at the end of a partition move the checkpoint without records, once.
#[test]
fn the_end_of_a_partition_is_reached_without_records() {
    let mut lane = lane(10);
    lane.at_end(&at(0), 1, 5);
    assert!(lane.cut(NOW).is_err());
    lane.take(1, vec![record(0, 5)], NOW);
    lane.at_end(&at(0), 1, 7);
    let segment = lane.cut(NOW + Duration::from_secs(1)).expect("due");
    assert_eq!((offsets(&segment), segment.reach.clone()), (vec![5], vec![(at(0), 7)]));
    lane.committed(1, &[advance(0, 5, 7)]);
    assert!(lane.cut(NOW).is_err());
    lane.at_end(&at(0), 1, 8);
    assert_eq!(lane.cut(NOW).expect("a gap").reach, [(at(0), 8)]);
}
