//! The cases. Whatever is not asserted here is compared with the oracle after each plan.

mod beside;
mod claims;

use std::sync::Arc;

use super::Destination;
use super::stand::{Del, KINDS, SHOP, Stand, Truncate, Up, at, changes, counts, key, plan, token};
use crate::core::dialect::ddl;
use crate::core::failure::Class;
use crate::core::plan::{Cell, Orphan, Partial, Plan, TablePlan, Upsert, UpsertGroup};
use crate::core::table::{DeleteMode, Table, TableName, TokenStorage};
use crate::core::token::TokenWriter;
use crate::core::value::Value;

pub(super) use super::orders::*;
pub(super) use beside::*;
pub(super) use claims::*;

/// Invariants 2, 3 and 7.
pub(super) async fn the_newest_change_has_the_last_word<D: Destination>(stand: &mut Stand<D>) {
    for storage in [TokenStorage::Column, TokenStorage::Side] {
        let t = stand.table((DeleteMode::Hard, storage)).await;
        let plans = [
            plan(changes(&t, &[Up(1, 10), Up(2, 11), Del(3, 12)])),
            plan(changes(&t, &[Up(1, 20), Up(2, 9), Up(3, 5), Del(4, 21)])),
            plan(changes(&t, &[Up(3, 30), Del(1, 15), Del(2, 31), Del(4, 7)])),
        ];
        assert_eq!(counts(stand.outcome(&plans[0]).await), (3, 0, 0, 0, 1), "an unknown key gets its tombstone");
        assert_eq!(counts(stand.outcome(&plans[1]).await), (2, 1, 1, 0, 1));
        assert_eq!(counts(stand.outcome(&plans[2]).await), (2, 1, 1, 0, 0), "one tombstone comes, one goes");
        assert_eq!(stand.rows(&t).await, ["1 v20 20", "3 v30 30"]);
        let before = stand.contents(&t).await;
        for plan in plans.iter().chain(&plans) {
            let outcome = stand.outcome(plan).await;
            assert_eq!((outcome.applied, outcome.tombstones_delta), (0, 0), "equal tokens change nothing");
        }
        assert_eq!(stand.contents(&t).await, before, "a replay changes nothing");
        assert_eq!(counts(stand.outcome(&plan(changes(&t, &[Del(2, 33)]))).await), (1, 0, 0, 0, 0), "it is raised");
        assert_eq!(counts(stand.outcome(&plan(changes(&t, &[Up(2, 32)]))).await), (0, 0, 1, 0, 0));
    }
}

pub(super) async fn soft_deletes_mark_rows_and_unknown_keys_get_tombstones<D: Destination>(stand: &mut Stand<D>) {
    for storage in [TokenStorage::Column, TokenStorage::Side] {
        let t = stand.table((DeleteMode::Soft, storage)).await;
        stand.outcome(&plan(changes(&t, &[Up(1, 10), Up(2, 11)]))).await;
        let deletes = plan(changes(&t, &[Del(1, 20), Del(2, 5), Del(3, 21)]));
        assert_eq!(stand.outcome(&deletes).await.applied, 2);
        assert_eq!(stand.rows(&t).await, ["2 v11 11"]);
        assert_eq!(stand.contents(&t).await.keys.len(), 3, "the row stays, and the unknown key is kept");
        let again = stand.outcome(&plan(changes(&t, &[Up(1, 10), Up(3, 21), Del(2, 5)]))).await;
        assert_eq!((again.applied, again.superseded()), (0, 3));
        assert_eq!(stand.outcome(&deletes).await.applied, 0);
        assert_eq!(stand.outcome(&plan(changes(&t, &[Up(1, 30), Up(3, 31)]))).await.applied, 2);
        assert_eq!(stand.rows(&t).await, ["1 v30 30", "2 v11 11", "3 v31 31"]);
    }
}

/// A TRUNCATE is a delete of all keys, also of those that were never met.
pub(super) async fn a_truncate_is_a_tombstone_of_the_whole_table<D: Destination>(stand: &mut Stand<D>) {
    for kind in KINDS {
        let t = stand.table(kind).await;
        let before = plan(changes(&t, &[Up(1, 1), Up(2, 90), Del(3, 2), Del(4, 80)]));
        stand.outcome(&before).await;
        let batch = plan(changes(&t, &[Truncate(50), Up(5, 40), Up(6, 60), Del(7, 30)]));
        let outcome = stand.outcome(&batch).await;
        assert_eq!((outcome.applied, outcome.superseded_by_truncate), (2, 2), "{kind:?}");
        let kept = ["2 v90 90", "6 v60 60"];
        assert_eq!(stand.rows(&t).await, kept, "{kind:?}");
        for plan in [&before, &batch, &plan(changes(&t, &[Truncate(49)]))] {
            stand.outcome(plan).await;
            assert_eq!(stand.rows(&t).await, kept, "{kind:?}");
        }
        stand.outcome(&plan(changes(&t, &[Up(1, 70)]))).await;
        assert_eq!(stand.rows(&t).await, ["1 v70 70", "2 v90 90", "6 v60 60"], "{kind:?}");
    }
}

/// Invariant 3 after tombstones were collected: what is not above them makes no row any more, whether the key is unknown or has a
/// lower tombstone; rows that are there, and all that is above, go on as before.
pub(super) async fn what_is_below_the_floor_makes_no_row<D: Destination>(stand: &mut Stand<D>) {
    for storage in [TokenStorage::Column, TokenStorage::Side] {
        let t = stand.table((DeleteMode::Hard, storage)).await;
        stand.outcome(&plan(changes(&t, &[Up(1, 10), Del(2, 5), Del(3, 50)]))).await;
        assert_eq!(stand.destination.collect(&t).await, 2, "{storage:?}");
        assert_eq!(stand.oracle.collect(t.name(), |_| true), 2);
        stand.compare().await;
        for risen in [Up(2, 6), Up(3, 49), Up(4, 50), Up(4, 1)] {
            let failure = stand.refused(&plan(changes(&t, &[risen, Up(1, 15)]))).await;
            assert_eq!((failure.class, failure.code.as_str()), (Class::Record, "below_floor"), "{failure}");
        }
        stand.outcome(&plan(changes(&t, &[Del(2, 7)]))).await;
        stand.refused(&plan(changes(&t, &[Up(2, 8)]))).await;
        assert_eq!(counts(stand.outcome(&plan(changes(&t, &[Up(2, 6)]))).await), (0, 0, 1, 0, 0), "it only loses");
        assert_eq!(counts(stand.outcome(&plan(changes(&t, &[Up(1, 9)]))).await), (0, 1, 0, 0, 0));
        assert_eq!(stand.outcome(&plan(changes(&t, &[Up(1, 20), Up(5, 51)]))).await.applied, 2);
        assert_eq!(stand.rows(&t).await, ["1 v20 20", "5 v51 51"]);
    }
}

pub(super) async fn repair_writes_rows_of_equal_token_and_nothing_else<D: Destination>(stand: &mut Stand<D>) {
    for storage in [TokenStorage::Column, TokenStorage::Side] {
        let t = stand.table((DeleteMode::Hard, storage)).await;
        let mut repair = plan(changes(&t, &[Up(1, 10), Up(2, 11), Del(3, 12)]));
        stand.outcome(&repair).await;
        stand.outcome(&plan(changes(&t, &[Up(2, 20)]))).await;
        stand.damage(&t, "damaged").await;
        assert_eq!(counts(stand.outcome(&repair).await), (0, 2, 1, 0, 0), "what is equal is left alone");
        repair.repair = true;
        assert_eq!(counts(stand.outcome(&repair).await), (1, 1, 1, 0, 0));
        assert_eq!(stand.rows(&t).await, ["1 v10 10", "2 damaged 20"]);
        let equal = Plan { repair: true, ..plan(changes(&t, &[Up(3, 12)])) };
        assert_eq!(counts(stand.outcome(&equal).await), (0, 0, 1, 0, 0), "a delete is not undone");
    }
}

/// A row whose delete event is gone goes if nothing newer was written meanwhile; its own newest event brings it back, older
/// ones do not (invariants 2 and 3).
pub(super) async fn orphans_delete_exactly_the_row_that_was_seen<D: Destination>(stand: &mut Stand<D>) {
    for kind in KINDS {
        let t = stand.table(kind).await;
        stand.outcome(&plan(changes(&t, &[Up(1, 5), Up(2, 5)]))).await;
        let orphan = |id, at| Orphan { token: token(at), below: token(at - 1), key: key(id) };
        let orphans = vec![orphan(1, 5), orphan(2, 4), orphan(3, 5)];
        let outcome = stand.outcome(&plan(TablePlan { orphans, ..TablePlan::new(Arc::clone(&t)) })).await;
        assert_eq!((outcome.applied, outcome.superseded_by_row), (1, 2), "{kind:?}");
        assert_eq!(stand.rows(&t).await, ["2 v5 5"], "{kind:?}");
        assert_eq!(stand.outcome(&plan(changes(&t, &[Up(1, 4)]))).await.applied, 0, "{kind:?}");
        assert_eq!(stand.outcome(&plan(changes(&t, &[Up(1, 5)]))).await.applied, 1, "{kind:?}");
        assert_eq!(stand.rows(&t).await, ["1 v5 5", "2 v5 5"], "{kind:?}");
    }
}

/// Every record once, however often it comes.
pub(super) async fn a_change_log_takes_every_record_once<D: Destination>(stand: &mut Stand<D>) {
    let t = stand.of(&ddl::change_log_spec(TableName::new(None, "log"))).await;
    let width = t.shape.columns.len();
    let entry = |offset: i64| {
        let mut values = vec![Value::Null; width];
        values.splice(..5, ["t".into(), "id".into(), 0.into(), offset.into(), Value::from("u")]);
        Upsert { token: token(1), values }
    };
    let entries = |offsets: std::ops::Range<i64>| {
        let rows = offsets.map(entry).collect();
        let upserts = vec![UpsertGroup { columns: (0..width).collect(), rows }];
        plan(TablePlan { upserts, ..TablePlan::new(Arc::clone(&t)) })
    };
    assert_eq!(counts(stand.outcome(&entries(0..700)).await), (700, 0, 0, 0, 0));
    assert_eq!(counts(stand.outcome(&entries(690..800)).await), (100, 10, 0, 0, 0));
    assert_eq!(stand.contents(&t).await.keys.len(), 800);
}

/// A partial row that sets `n` only.
pub(super) fn partial(id: i64, number: u64, n: i64) -> Partial {
    let cells = vec![Cell { column: 3, token: token(number), value: n.into() }];
    Partial { token: token(number), key: key(id), cells, missing: vec![1] }
}

pub(super) fn partials(table: &Arc<Table>, partials: Vec<Partial>) -> Plan {
    plan(TablePlan { partials, ..TablePlan::new(Arc::clone(table)) })
}

/// Each column holds the value of the newest event that carried it, and no row is made of a part.
pub(super) async fn partial_rows_are_completed_from_what_is_stored<D: Destination>(stand: &mut Stand<D>) {
    for kind in KINDS {
        let t = stand.table(kind).await;
        let code = async |stand: &mut Stand<D>, plan: &Plan| stand.refused(plan).await.code;
        assert_eq!(code(stand, &partials(&t, vec![partial(1, 20, 7)])).await, "partial_row");
        stand.outcome(&plan(changes(&t, &[Up(1, 10), Up(2, 10), Del(3, 30)]))).await;
        let batch = partials(&t, vec![partial(1, 20, 7), partial(2, 9, 8), partial(3, 29, 9)]);
        let outcome = stand.outcome(&batch).await;
        assert_eq!((outcome.applied, outcome.superseded()), (1, 2), "{kind:?}");
        assert_eq!(stand.rows(&t).await, ["1 v10 7", "2 v10 10"]);
        // A full row from in between fills what the newer part left open, and nothing else.
        assert_eq!(stand.outcome(&plan(changes(&t, &[Up(1, 15)]))).await.applied, 1, "{kind:?}");
        assert_eq!(stand.rows(&t).await, ["1 v15 7", "2 v10 10"]);
        for older in [Up(1, 12), Up(1, 15)] {
            assert_eq!(stand.outcome(&plan(changes(&t, &[older]))).await.applied, 0, "{kind:?}");
        }
        assert_eq!(stand.outcome(&batch).await.applied, 0, "a replay changes nothing");
        stand.outcome(&plan(changes(&t, &[Del(1, 40)]))).await;
        assert_eq!(stand.outcome(&partials(&t, vec![partial(1, 39, 1)])).await.superseded_by_tombstone, 1);
        assert_eq!(code(stand, &partials(&t, vec![partial(1, 41, 1)])).await, "partial_row");
    }
}

/// A bad record in the middle of a plan, and its neighbours.
pub(super) async fn a_record_that_is_refused_leaves_nothing_of_its_plan<D: Destination>(stand: &mut Stand<D>) {
    for kind in KINDS {
        let (first, second) = (stand.table(kind).await, stand.table(kind).await);
        stand.outcome(&plan(changes(&first, &[Up(1, 1), Up(2, 1)]))).await;
        let claims = stand.claim("one", &[at(0)], 0).await;
        let mut bad = beside::full_plan(&claims[0], changes(&first, &[Up(1, 2), Del(2, 2), Up(3, 2)]));
        bad.tables.push(changes(&second, &[Up(1, 2), Up(2, 2), Up(3, 2)]));
        bad.tables[1].upserts[0].rows[1].values[1] = Value::Null;
        let (rows, kept) = (stand.contents(&first).await, stand.destination.kept(SHOP).await);
        let failure = stand.refused(&bad).await;
        assert_eq!(failure.class, Class::Record, "{failure}");
        assert_eq!(stand.contents(&first).await, rows);
        assert_eq!(stand.contents(&second).await.keys.len(), 0);
        assert_eq!(stand.destination.kept(SHOP).await, kept);
        bad.tables[1].upserts[0].rows.remove(1);
        stand.apply(&bad).await.expect("without it, and from where it was");
        assert_eq!(stand.rows(&second).await, ["1 v2 2", "3 v2 2"]);
        stand.forget();
    }
}

/// Invariant 6: tokens of different scopes are never compared, and nothing is written where they meet.
pub(super) async fn tokens_of_other_sources_leave_nothing_of_their_plan<D: Destination>(stand: &mut Stand<D>) {
    let other = TokenWriter::new(2, 1).number(9).finish();
    for kind in KINDS {
        let t = stand.table(kind).await;
        stand.outcome(&plan(changes(&t, &[Up(1, 1), Del(2, 1)]))).await;
        for foreign in [Up(1, 9), Up(2, 9), Del(1, 9), Del(2, 9), Truncate(9)] {
            let mut bad = changes(&t, &[foreign, Up(3, 9)]);
            let row = |row: &&mut Upsert| row.values[0] != Value::Int(3);
            bad.upserts[0].rows.iter_mut().filter(row).for_each(|row| row.token = other);
            bad.deletes.iter_mut().for_each(|delete| delete.token = other);
            bad.truncate = bad.truncate.map(|_| other);
            let failure = stand.refused(&plan(bad)).await;
            assert_eq!(
                (failure.class, failure.code.as_str()),
                (Class::Record, "incomparable_token"),
                "{kind:?} {foreign:?}"
            );
        }
        assert_eq!(stand.rows(&t).await, ["1 v1 1"]);
    }
}
