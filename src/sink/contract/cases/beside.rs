//! What is kept beside the rows, in their transaction.

use std::sync::Arc;

use super::super::Destination;
use super::super::stand::{Del, KINDS, SHOP, Stand, Up, advance, at, changes, key, plan, token};
use super::{partial, partials};
use crate::core::epoch::{EpochQuestion, Shown};
use crate::core::failure::Class;
use crate::core::ledger::BINLOG_FLOOR;
use crate::core::nulls::NULL_DELETE;
use crate::core::plan::{
    Consistency, Counts, KnownNulls, LedgerEntry, Mark, Plan, QuarantinedRecord, SnapshotEnd, TablePlan,
};
use crate::core::record::Headers;
use crate::core::table::Table;
use crate::sink::bookkeep::Claim;
use crate::sink::memory::Memory;

/// A record that nobody can read, at an offset of the claim's partition.
fn aside(claim: &Claim, offset: i64, mark: Option<Mark>) -> QuarantinedRecord {
    QuarantinedRecord {
        at: claim.at.clone(),
        incarnation: Arc::clone(&claim.incarnation),
        offset,
        timestamp_ms: Some(-5),
        key: None,
        value: Some(bytes::Bytes::from_static(b"\xff\0not text")),
        headers: Headers::pack([("h", Some(b"1".as_slice())), ("n", None)]),
        mark,
        reason: "undecodable",
        detail: "byte 0 is not JSON".into(),
    }
}

fn fact(claim: &Claim, kind: &'static str, offset: i64, value: u64) -> LedgerEntry {
    LedgerEntry { at: claim.at.clone(), incarnation: Arc::clone(&claim.incarnation), offset, kind, value }
}

/// A plan that holds something of everything: three records from the claim's position on.
pub(super) fn full_plan(claim: &Claim, table: TablePlan) -> Plan {
    let offset = claim.next_offset;
    let snapshot = SnapshotEnd {
        table: table.table.name().clone(),
        topic: Arc::clone(&claim.at.topic),
        incarnation: Arc::clone(&claim.incarnation),
        token: token(offset as u64 + 1),
        position: 3,
    };
    let mut moved = advance(claim, 3);
    moved.counts = Counts { changes: 2, quarantined: 1, ..Counts::default() };
    Plan {
        advances: vec![moved],
        quarantine: vec![aside(claim, offset + 2, None)],
        ledger: vec![fact(claim, BINLOG_FLOOR, offset, u64::MAX)],
        snapshots: vec![snapshot],
        consistency: vec![Consistency {
            source: "mariadb shop 0".into(),
            position: Some(format!("GTID domain 0, {offset}")),
            by_time: 1,
            inside: 2,
        }],
        ..plan(table)
    }
}

fn mark(table: &Table, id: i64, number: u64) -> Mark {
    let key = key(id);
    let key = Memory::key(table, &key.iter().collect::<Vec<_>>()).expect("a key");
    Mark { table: table.name().to_string(), key, token: token(number) }
}

/// Invariant 4: what is kept aside, and what a retry applies after all, is one transaction with the checkpoint and the rows.
pub(in super::super) async fn what_is_put_aside_and_settled_moves_with_the_checkpoint<D: Destination>(
    stand: &mut Stand<D>,
) {
    let t = stand.table(KINDS[0]).await;
    let claims = stand.claim("one", &[at(0)], 0).await;
    let mut batch = plan(changes(&t, &[Up(1, 1), Up(2, 1)]));
    batch.advances = vec![advance(&claims[0], 2)];
    batch.quarantine = vec![aside(&claims[0], 0, Some(mark(&t, 1, 5))), aside(&claims[0], 1, None)];
    stand.apply(&batch).await.expect("kept aside");
    assert_eq!(stand.destination.aside(SHOP).await.len(), 2);
    let again = Plan { advances: Vec::new(), ..batch.clone() };
    stand.apply(&again).await.expect("met again: counted, not kept twice");
    assert_eq!(stand.destination.aside(SHOP).await.len(), 2);
    // A part of the row whose older event lies aside waits for that.
    let part = partials(&t, vec![partial(1, 6, 7)]);
    assert_eq!(stand.refused(&part).await.code, "held_back");
    assert_eq!(stand.outcome(&partials(&t, vec![partial(2, 6, 7)])).await.applied, 1, "another key does not");
    let mut retry = plan(changes(&t, &[Up(1, 5)]));
    retry.settled = vec![1];
    let mut bad = retry.clone();
    bad.tables[0].upserts[0].rows[0].values[1] = crate::core::value::Value::Null;
    stand.refused(&bad).await;
    assert_eq!(stand.refused(&part).await.code, "held_back", "a retry that fails settles nothing");
    stand.apply(&retry).await.expect("applied after all");
    assert_eq!(stand.outcome(&part).await.applied, 1);
    assert_eq!(stand.rows(&t).await, ["1 v5 7", "2 v1 7"]);
}

/// Facts, news and snapshots.
pub(in super::super) async fn facts_are_written_once<D: Destination>(stand: &mut Stand<D>) {
    let t = stand.table(KINDS[0]).await;
    let claims = stand.claim("one", &[at(0), at(1)], 0).await;
    stand.apply(&full_plan(&claims[0], changes(&t, &[Up(1, 1)]))).await.expect("facts");
    let mut again = full_plan(&Claim { next_offset: 0, ..claims[1].clone() }, changes(&t, &[Up(1, 1)]));
    again.ledger = vec![fact(&claims[0], BINLOG_FLOOR, 0, 1), fact(&claims[1], NULL_DELETE, 0, 2)];
    again.consistency[0].position = None;
    stand.apply(&again).await.expect("another value of the same fact, and no news of the position");
    let kept = stand.destination.kept(SHOP).await;
    assert!(kept.iter().any(|line| line.contains(&u64::MAX.to_string())), "{kept:?}");
    assert!(kept.iter().any(|line| line.contains("GTID domain 0, 0") && line.contains("inside: 4")), "{kept:?}");
    // A replay that knows of fewer deletes than there are must be made again.
    let nulls = |count| vec![KnownNulls { at: at(1), incarnation: "id".into(), count }];
    let replay = Plan { nulls: nulls(0), ..plan(changes(&t, &[Up(2, 2)])) };
    assert_eq!(stand.refused(&replay).await.fenced, [at(1)]);
    stand.apply(&Plan { nulls: nulls(1), ..replay }).await.expect("it knows all");
}

/// Invariant 6: an epoch is handed out once, and only to the owner.
pub(in super::super) async fn partitions_get_their_epochs_under_the_fence<D: Destination>(stand: &mut Stand<D>) {
    let claims = stand.claim("one", &[at(0), at(1)], 0).await;
    let question = |partition: i32, marker: &str, offset: i64| EpochQuestion {
        at: at(partition),
        incarnation: "id".into(),
        offset,
        time_ms: Some(1_000 * offset),
        shown: Shown::Marker { marker: marker.to_owned(), number: 5 },
        bound: None,
        previous_top: None,
        passed: false,
    };
    for (partition, marker, offset) in [(0, "one", 1), (1, "one", 2), (0, "two", 7), (0, "two", 9), (1, "two", 8)] {
        let asked = question(partition, marker, offset);
        let fence = claims[partition as usize].fence;
        let answer = stand.destination.epoch(&asked, SHOP, fence).await.expect("an answer").expect("an epoch");
        assert_eq!(Ok(answer), stand.oracle.epoch(&asked, SHOP, fence).expect("an answer"));
    }
    stand.claim("two", &[at(0)], 0).await;
    let failure = stand.destination.epoch(&question(0, "three", 20), SHOP, claims[0].fence).await.expect_err("fenced");
    assert_eq!((failure.class, failure.fenced.clone()), (Class::Fenced, vec![at(0)]), "{failure}");
}

/// Invariants 1 and 7: a replay moves nothing but its own checkpoints.
pub(in super::super) async fn a_replay_has_checkpoints_of_its_own_and_changes_nothing<D: Destination>(
    stand: &mut Stand<D>,
) {
    let own = "shop#replay-1";
    for kind in KINDS {
        let t = stand.table(kind).await;
        let live = stand.claim("one", &[at(0)], 0).await;
        let mut batch = plan(changes(&t, &[Up(1, 2), Up(2, 2), Del(3, 2), Del(4, 1)]));
        batch.advances = vec![advance(&live[0], 4)];
        stand.apply(&batch).await.expect("live");
        let mut later = plan(changes(&t, &[Up(1, 9), Del(2, 9), Up(3, 9)]));
        later.advances = vec![advance(&Claim { next_offset: live[0].next_offset + 4, ..live[0].clone() }, 3)];
        stand.apply(&later).await.expect("live");
        let contents = stand.contents(&t).await;
        let replay = stand.claim_as(own, "one", &[at(0)], 0).await;
        batch.checkpoint_owner = own.into();
        batch.advances = vec![advance(&replay[0], 4)];
        assert_eq!(stand.outcome(&batch).await.applied, 0, "{kind:?}");
        assert_eq!(stand.contents(&t).await, contents, "{kind:?}");
        let mut next = plan(changes(&t, &[Up(5, 1)]));
        next.advances = vec![advance(&Claim { next_offset: live[0].next_offset + 7, ..live[0].clone() }, 1)];
        stand.apply(&next).await.expect("the live position was not touched");
        stand.forget();
    }
}
