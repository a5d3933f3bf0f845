//! Second unique keys: values that change hands in one batch, and clashes with rows outside of it.

use super::*;
use crate::core::failure::Class;

/// A table whose `v` is unique beside the key.
fn body(not_null: bool, rule: Rule) -> String {
    let token = if rule.storage == TokenStorage::Column { ", _lastword_token bytea" } else { "" };
    format!("id bigint primary key, v text{} unique{token}", if not_null { " not null" } else { "" })
}

/// Invariant 2 in any collapse: values that were moved in steps at the source end where they belong, though the batch holds
/// the ends of the moves only; and a replay changes nothing.
#[tokio::test]
async fn values_change_hands_in_one_batch() {
    let mut s = session().await;
    for (name, not_null, rule) in
        [("u_null", false, HARD), ("u_away", true, HARD), ("u_side_null", false, SIDE), ("u_side_away", true, SIDE)]
    {
        let t = make(&mut s, name, &body(not_null, rule), rule).await;
        let start: Vec<Change<'_>> = vec![(1, 1, Some("a")), (2, 1, Some("b")), (3, 1, Some("c")), (4, 1, Some("d"))];
        apply(&mut s, &changes(&t, &start)).await;
        // A swap, a value freed by a delete, and a new row with a value that another row lets go of; key 6 lost before.
        apply(&mut s, &changes(&t, &[(6, 9, None)])).await;
        let trade = changes(
            &t,
            &[
                (1, 2, Some("b")),
                (2, 2, Some("a")),
                (3, 2, None),
                (4, 2, Some("c")),
                (5, 2, Some("d")),
                (6, 2, Some("x")),
            ],
        );
        let outcome = apply(&mut s, &trade).await;
        assert_eq!((outcome.applied, outcome.superseded_by_tombstone), (5, 1), "{name}");
        let rows = show(&mut s, &format!("select id, v from {name} order by id")).await;
        assert_eq!(rows, "1,b;2,a;4,c;5,d", "{name}");
        let before = digest(&mut s, &t).await;
        assert_eq!(apply(&mut s, &trade).await.applied, 0);
        apply(&mut s, &changes(&t, &start)).await;
        assert_eq!(digest(&mut s, &t).await, before, "{name}");
    }
}

/// What holds the value and is not in the batch is never touched; the refusal names the constraint and no value.
#[tokio::test]
async fn a_clash_with_another_row_is_refused() {
    let mut s = session().await;
    let t = make(&mut s, "u_clash", &body(false, HARD), HARD).await;
    apply(&mut s, &changes(&t, &[(1, 1, Some("a")), (9, 1, Some("secret"))])).await;
    let before = digest(&mut s, &t).await;
    for plan in [changes(&t, &[(1, 2, Some("secret"))]), changes(&t, &[(2, 2, Some("secret"))])] {
        let failure = s.apply(&plan).await.expect_err("clash");
        assert!(failure.class == Class::Record && failure.is_unique_violation(), "{failure}");
        assert!(failure.message.contains("u_clash_v_key") && !failure.message.contains("secret"), "{failure}");
        assert_eq!(digest(&mut s, &t).await, before);
    }
}

/// A row is not deleted to free its value where that would take children along.
#[tokio::test]
async fn children_are_not_lost() {
    let mut s = session().await;
    let t = make(&mut s, "u_parent", &body(true, HARD), HARD).await;
    run(&mut s, "drop table if exists u_child; create table u_child (id bigint references u_parent on delete cascade)")
        .await;
    let t = known(&mut s, t.name(), HARD).await;
    assert!(t.shape.delete_has_effects);
    apply(&mut s, &changes(&t, &[(1, 1, Some("a")), (2, 1, Some("b"))])).await;
    run(&mut s, "insert into u_child values (1), (2)").await;
    let failure = s.apply(&changes(&t, &[(1, 2, Some("b")), (2, 2, Some("a"))])).await.expect_err("refused");
    assert!(failure.is_unique_violation(), "{failure}");
    assert_eq!(show(&mut s, "select id from u_child order by id").await, "1;2");
}
