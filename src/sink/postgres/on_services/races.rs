//! Two sessions on one key, each in the middle of its transaction.

use super::*;

const BODY: &str = "id bigint primary key, v text, _lastword_token bytea";

/// Both sessions make their changes, neither sees the other's; then they finish, `a` first or `b` first.
async fn race(a: &mut PostgresSession, b: &mut PostgresSession, plans: [&Plan; 2], a_first: bool) -> [TableOutcome; 2] {
    let parts_a = a.open(plans[0], false).await.expect("a's changes");
    let parts_b = b.open(plans[1], false).await.expect("b's changes");
    let (of_a, of_b);
    if a_first {
        of_a = a.close(plans[0], parts_a).await.expect("a");
        of_b = b.close(plans[1], parts_b).await.expect("b");
    } else {
        of_b = b.close(plans[1], parts_b).await.expect("b");
        of_a = a.close(plans[0], parts_a).await.expect("a");
    }
    [of_a.tables[0], of_b.tables[0]]
}

async fn replay_changes_nothing(s: &mut PostgresSession, table: &Table, plans: [&Plan; 2]) {
    let before = digest(s, table).await;
    for plan in plans {
        let outcome = apply(s, plan).await;
        assert_eq!((outcome.applied, outcome.recheck_deleted, outcome.tombstones_delta), (0, 0, 0));
    }
    assert_eq!(digest(s, table).await, before);
}

#[tokio::test]
async fn an_upsert_and_a_newer_delete() {
    let (mut a, mut b) = (session().await, session().await);
    for a_first in [true, false] {
        let t = make(&mut a, "r_upsert_delete", BODY, HARD).await;
        let plans = [&changes(&t, &[(1, 5, Some("stale"))]), &changes(&t, &[(1, 7, None)])];
        let outcomes = race(&mut a, &mut b, plans, a_first).await;
        assert_eq!(outcomes[0].recheck_deleted + outcomes[1].recheck_deleted, 1, "the guard worked: {outcomes:?}");
        assert_eq!(state(&mut a, &t).await, " / 1,7");
        replay_changes_nothing(&mut a, &t, plans).await;
    }
}

#[tokio::test]
async fn a_delete_and_a_newer_upsert() {
    let (mut a, mut b) = (session().await, session().await);
    for a_first in [true, false] {
        let t = make(&mut a, "r_delete_upsert", BODY, HARD).await;
        let plans = [&changes(&t, &[(1, 5, None)]), &changes(&t, &[(1, 7, Some("new"))])];
        let outcomes = race(&mut a, &mut b, plans, a_first).await;
        assert_eq!(outcomes[0].recheck_deleted + outcomes[1].recheck_deleted, 1);
        assert_eq!(outcomes[0].tombstones_delta + outcomes[1].tombstones_delta, 0);
        assert_eq!(state(&mut a, &t).await, "1,new,7 / ");
        replay_changes_nothing(&mut a, &t, plans).await;
    }
}

#[tokio::test]
async fn soft_deletes_race_alike() {
    let (mut a, mut b) = (session().await, session().await);
    let body = format!("{BODY}, _lastword_deleted boolean");
    for (a_first, newer_delete) in [(true, true), (false, true), (true, false), (false, false)] {
        let t = make(&mut a, "r_soft", &body, SOFT).await;
        let (upsert, delete) = if newer_delete { (5, 7) } else { (7, 5) };
        let plans = [&changes(&t, &[(1, upsert, Some("v"))]), &changes(&t, &[(1, delete, None)])];
        let outcomes = race(&mut a, &mut b, plans, a_first).await;
        assert!(outcomes[0].recheck_deleted + outcomes[1].recheck_deleted > 0);
        assert_eq!(state(&mut a, &t).await, format!("1,v,7,{newer_delete} / "));
        replay_changes_nothing(&mut a, &t, plans).await;
    }
}

#[tokio::test]
async fn an_upsert_and_a_newer_truncate() {
    let (mut a, mut b) = (session().await, session().await);
    for rule in [HARD, SIDE] {
        let body = if rule.storage == TokenStorage::Side { "id bigint primary key, v text" } else { BODY };
        let t = make(&mut a, if body == BODY { "r_truncate" } else { "r_truncate_side" }, body, rule).await;
        let upsert = changes(&t, &[(1, 40, Some("stale")), (2, 60, Some("newer")), (3, 41, None)]);
        let mut truncate = changes(&t, &[]);
        truncate.tables[0].truncate = Some(token(50));
        // The TRUNCATE takes its effect under the lock and is committed while the upsert is in the middle.
        let outcomes = race(&mut a, &mut b, [&upsert, &truncate], false).await;
        assert!(outcomes[0].recheck_deleted > 0);
        let rows = show(&mut a, &format!("select id from {} order by id", Dialect::Postgres.table(t.name()))).await;
        assert_eq!(rows, "2");
        replay_changes_nothing(&mut a, &t, [&upsert, &truncate]).await;
    }
}

#[tokio::test]
async fn two_upserts_of_one_key_wait_for_each_other() {
    let (mut a, mut b) = (session().await, session().await);
    let t = make(&mut a, "r_upserts", BODY, HARD).await;
    let (older, newer) = (changes(&t, &[(1, 5, Some("old"))]), changes(&t, &[(1, 7, Some("new"))]));
    for (first, second) in [(&older, &newer), (&newer, &older)] {
        run(&mut a, "truncate r_upserts").await;
        let parts = a.open(first, false).await.expect("a's changes");
        let second = second.clone();
        let waiting = tokio::spawn(async move { (b.apply(&second).await, b) });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!waiting.is_finished(), "the row's lock is held");
        a.close(first, parts).await.expect("a");
        let (applied, back) = waiting.await.expect("b's task");
        applied.expect("b");
        b = back;
        assert_eq!(state(&mut a, &t).await, "1,new,7 / ");
    }
}
