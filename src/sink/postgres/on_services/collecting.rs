//! Tombstones are collected beside writers: the floor refuses what they would have beaten.

use super::*;
use crate::core::failure::Class;
use crate::sink::bookkeep::{Generation, Graves};

const BODY: &str = "id bigint primary key, v text, _lastword_token bytea";

async fn collect(s: &mut PostgresSession, table: &Table) -> u64 {
    let graves = Graves { table: table.name().clone(), storage: table.token_storage };
    let closed_ms = bookkeep::now_ms(s).await.expect("a clock") + 60_000;
    let generation =
        Generation { number: 1, opened_ms: 0, closed_ms, ends: Vec::new(), is_collected: false, collected: 0 };
    bookkeep::collect(s, "test", &graves, &generation).await.expect("collected")
}

async fn fresh(s: &mut PostgresSession, name: &str, rule: Rule) -> Arc<Table> {
    let body = if rule.storage == TokenStorage::Side { "id bigint primary key, v text" } else { BODY };
    let table = make(s, name, body, rule).await;
    for statement in ["delete from lastword.collection_floor", "update lastword.table_state set floor_version = 0"] {
        run(s, &format!("{statement} where table_name = 'public.{name}'")).await;
    }
    table
}

async fn refused(s: &mut PostgresSession, plan: &Plan) {
    let failure = s.apply(plan).await.expect_err("below the floor");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Record, "below_floor"), "{failure}");
}

/// Invariant 3: below the floor no row is made, whether the key is unknown or has a lower tombstone; rows that are there, and all
/// that is above the floor, go on as before.
#[tokio::test]
async fn what_is_below_the_floor_makes_no_row() {
    let mut s = session().await;
    for (name, rule) in [("collect_column", HARD), ("collect_side", SIDE)] {
        let t = fresh(&mut s, name, rule).await;
        apply(&mut s, &changes(&t, &[(1, 10, Some("a")), (2, 5, None), (3, 50, None)])).await;
        assert_eq!(collect(&mut s, &t).await, 2, "{name}");
        assert_eq!(collect(&mut s, &t).await, 0, "{name}");
        for key in [2, 3, 4] {
            for at in [6, 49, 50] {
                refused(&mut s, &changes(&t, &[(key, at, Some("risen"))])).await;
            }
        }
        // A late delete leaves a tombstone that a row below the floor must not beat.
        assert_eq!(apply(&mut s, &changes(&t, &[(2, 7, None)])).await.applied, 1);
        refused(&mut s, &changes(&t, &[(2, 8, Some("risen"))])).await;
        assert_eq!(counts(apply(&mut s, &changes(&t, &[(2, 6, Some("older"))])).await).2, 1, "it only loses");
        let outcome = apply(&mut s, &changes(&t, &[(1, 9, Some("old"))])).await;
        assert_eq!((outcome.applied, outcome.superseded_by_row), (0, 1));
        assert_eq!(apply(&mut s, &changes(&t, &[(1, 20, Some("b")), (5, 51, Some("c"))])).await.applied, 2);
        let rows = show(&mut s, &format!("select id, v from {name} order by id")).await;
        assert_eq!(rows, "1,b;5,c", "{name}");
        let sums = bookkeep::table_counters(&mut s, "test").await.expect("counters");
        let sums = sums.iter().find(|it| it.table == format!("public.{name}")).expect("the table's");
        let left = show(
            &mut s,
            &format!(
                "select count(*) from {} where {}",
                Dialect::Postgres.bookkeeping(&t.side_name()),
                if rule.storage == TokenStorage::Side { "_lastword_deleted" } else { "true" }
            ),
        )
        .await;
        assert_eq!(left, "1", "{name}");
        assert!(sums.sums.tombstones_delta >= 1, "{name}: {sums:?}");
    }
}

/// A writer that did not see the tombstone because it was collected a moment ago, and had read the floors before: its transaction is
/// undone and done again with the new ones.
#[tokio::test]
async fn a_collection_in_the_middle_of_a_transaction_is_seen() {
    let (mut a, mut b) = (session().await, session().await);
    for (name, rule) in [("collect_race_column", HARD), ("collect_race_side", SIDE)] {
        let t = fresh(&mut a, name, rule).await;
        apply(&mut a, &changes(&t, &[(7, 50, None)])).await;
        let plan = changes(&t, &[(1, 5, Some("late"))]);
        let parts = a.open(&plan, false).await.expect("its changes");
        assert_eq!(collect(&mut b, &t).await, 1);
        let failure = a.close(&plan, parts).await.expect_err("the floors moved");
        assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "floors_moved"), "{name}");
        a.rollback().await.expect("rolled back");
        refused(&mut a, &plan).await;
        assert_eq!(show(&mut a, &format!("select count(*) from {name}")).await, "0");
    }
}
