//! Tombstones are collected beside writers: the floor refuses what they would have beaten.

use super::super::changes::Work;
use super::*;
use crate::core::failure::Class;
use crate::sink::bookkeep::{Generation, Graves};

async fn collect(session: &mut MysqlSession, table: &Table) -> u64 {
    let graves = Graves { table: table.name().clone(), storage: table.token_storage };
    let closed_ms = bookkeep::now_ms(session).await.expect("a clock") + 60_000;
    let generation =
        Generation { number: 1, opened_ms: 0, closed_ms, ends: Vec::new(), is_collected: false, collected: 0 };
    bookkeep::collect(session, "test", &graves, &generation).await.expect("collected")
}

async fn refused(session: &mut MysqlSession, plan: &Plan) {
    let failure = session.apply(plan).await.expect_err("below the floor");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Record, "below_floor"), "{failure}");
}

/// Invariant 3: below the floor no row is made, whether the key is unknown or has a lower tombstone; rows that are there, and all
/// that is above the floor, go on as before.
#[tokio::test]
async fn what_is_below_the_floor_makes_no_row() {
    for (name, kind, ddl) in [("floor", HARD, SMALL), ("floor_side", SIDE, SMALL_PLAIN)] {
        let mut world = world(name).await;
        let table = world.table("t", ddl, &["id"], kind).await;
        world.apply(&small(&table, &[(1, 10)], &[(2, 5), (3, 50)])).await;
        assert_eq!(collect(&mut world.session, &table).await, 2, "{name}");
        for key in [2, 3, 4] {
            for at in [6, 49, 50] {
                refused(&mut world.session, &small(&table, &[(key, at)], &[])).await;
            }
        }
        world.apply(&small(&table, &[], &[(2, 7)])).await;
        refused(&mut world.session, &small(&table, &[(2, 8)], &[])).await;
        assert_eq!(world.apply(&small(&table, &[(2, 6)], &[])).await.superseded_by_tombstone, 1, "it only loses");
        assert_eq!(world.apply(&small(&table, &[(1, 9)], &[])).await.superseded_by_row, 1);
        assert_eq!(world.apply(&small(&table, &[(1, 20), (5, 51)], &[])).await.applied, 2);
        assert_eq!(world.rows("SELECT id, v FROM t ORDER BY id").await, ["1 v20", "5 v51"], "{name}");
        let sums = bookkeep::table_counters(&mut world.session, "test").await.expect("counters");
        assert_eq!(sums[0].sums.tombstones_delta, 1, "{name}");
        world.end().await;
    }
}

/// A writer that did not see the tombstone because it was collected a moment ago, and had read the floors before.
#[tokio::test]
async fn a_collection_in_the_middle_of_a_transaction_is_seen() {
    let mut world = world("floor_race").await;
    let table = world.table("t", SMALL, &["id"], HARD).await;
    world.apply(&small(&table, &[], &[(7, 50)])).await;
    let plan = small(&table, &[(1, 5)], &[]);
    let mut a = world.another().await;
    let mut work = Work::new(&plan.tables[0]).expect("work");
    a.begin().await.expect("begin");
    let limits = bookkeep::limits(&mut a, table.name()).await.expect("limits");
    a.take_limits(&mut work, limits).await.expect("no floors yet");
    a.read(&mut work, &[0]).await.expect("read");
    work.decide(&[0], false).expect("decide");
    a.write_winners(&mut work, &[0]).await.expect("write");
    assert_eq!(collect(&mut world.session, &table).await, 1);
    let failure = a.recheck(&mut work).await.expect_err("the floors moved");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "floors_moved"));
    a.rollback().await.expect("rollback");
    refused(&mut a, &plan).await;
    assert_eq!(world.rows("SELECT id FROM t").await, [""; 0]);
    world.end().await;
}
