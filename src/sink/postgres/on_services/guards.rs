//! What wins, what loses, and how it is counted.

use super::*;
use crate::core::failure::Class;

const BODY: &str = "id bigint primary key, v text, _lastword_token bytea";

#[tokio::test]
async fn the_newest_change_has_the_last_word() {
    let mut s = session().await;
    let t = make(&mut s, "g_newest", BODY, HARD).await;
    let first = changes(&t, &[(1, 10, Some("a")), (2, 11, Some("b")), (3, 12, None)]);
    assert_eq!(counts(apply(&mut s, &first).await), (3, 0, 0, 0, 1), "a delete of an unknown key leaves a tombstone");
    assert_eq!(state(&mut s, &t).await, "1,a,10;2,b,11 / 3,12");

    let second = changes(&t, &[(1, 20, Some("A")), (2, 9, Some("old")), (3, 5, Some("ghost")), (4, 21, None)]);
    assert_eq!(counts(apply(&mut s, &second).await), (2, 1, 1, 0, 1));
    assert_eq!(state(&mut s, &t).await, "1,A,20;2,b,11 / 3,12;4,21");

    let third = changes(&t, &[(3, 30, Some("back")), (1, 15, None), (2, 31, None), (4, 7, None)]);
    assert_eq!(counts(apply(&mut s, &third).await), (2, 1, 1, 0, 0), "one tombstone comes, one goes");
    assert_eq!(state(&mut s, &t).await, "1,A,20;3,back,30 / 2,31;4,21");

    let before = digest(&mut s, &t).await;
    for plan in [&first, &second, &third, &first] {
        let outcome = apply(&mut s, plan).await;
        assert_eq!((outcome.applied, outcome.tombstones_delta, outcome.recheck_deleted), (0, 0, 0));
        assert_eq!(outcome.superseded(), (plan.tables[0].upsert_count() + plan.tables[0].deletes.len()) as u64);
    }
    assert_eq!(digest(&mut s, &t).await, before, "a replay changes nothing");
}

#[tokio::test]
async fn an_adopted_row_loses_to_any_event() {
    let mut s = session().await;
    let t = make(&mut s, "g_adopted", BODY, HARD).await;
    run(&mut s, "insert into g_adopted (id, v) values (1, 'x'), (2, 'y'), (3, 'z')").await;
    let plan = changes(&t, &[(1, 1, Some("a")), (2, 2, None)]);
    assert_eq!(counts(apply(&mut s, &plan).await), (2, 0, 0, 0, 1));
    assert_eq!(state(&mut s, &t).await.replace("3,z,-", ""), "1,a,1; / 2,2");
    // By hand again, under a tombstone: the row goes, though the tombstone stays as it is. That is an effect, and counted.
    run(&mut s, "insert into g_adopted (id, v) values (2, 'hand')").await;
    assert_eq!(counts(apply(&mut s, &changes(&t, &[(2, 1, None)])).await), (1, 0, 0, 0, 0));
}

#[tokio::test]
async fn soft_deletes_mark_and_keep() {
    let mut s = session().await;
    let t = make(&mut s, "g_soft", &format!("{BODY}, _lastword_deleted boolean"), SOFT).await;
    let plans = [
        changes(&t, &[(1, 10, Some("a")), (2, 11, Some("b"))]),
        changes(&t, &[(1, 20, None), (2, 5, None), (3, 21, None)]),
    ];
    assert_eq!(counts(apply(&mut s, &plans[0]).await), (2, 0, 0, 0, 0));
    assert_eq!(counts(apply(&mut s, &plans[1]).await), (2, 1, 0, 0, 1));
    assert_eq!(state(&mut s, &t).await, "1,a,20,true;2,b,11,false / 3,21");
    let before = digest(&mut s, &t).await;
    for plan in &plans {
        assert_eq!(apply(&mut s, plan).await.applied, 0);
    }
    assert_eq!(digest(&mut s, &t).await, before);
    assert_eq!(counts(apply(&mut s, &changes(&t, &[(1, 30, Some("c")), (3, 31, Some("d"))])).await), (2, 0, 0, 0, -1));
    assert_eq!(state(&mut s, &t).await, "1,c,30,false;2,b,11,false;3,d,31,false / ");
}

#[tokio::test]
async fn groups_leave_other_columns_alone() {
    let mut s = session().await;
    let body = "id bigint primary key, v text default 'none', w int default 7, g int generated always as (w * 2) stored, \
                _lastword_token bytea not null";
    let t = make(&mut s, "g_groups", body, HARD).await;
    let group = |columns: &[usize], rows: Vec<(u64, Vec<Value>)>| UpsertGroup {
        columns: Arc::from(columns),
        rows: rows.into_iter().map(|(at, values)| Upsert { token: token(at), values }).collect(),
    };
    let of = |upserts, deletes: Vec<(u64, i64)>| {
        plan(vec![TablePlan {
            table: Arc::clone(&t),
            upserts,
            deletes: deletes
                .into_iter()
                .map(|(at, key)| Delete { token: token(at), key: vec![Value::Int(key)] })
                .collect(),
            orphans: Vec::new(),
            truncate: None,
            partials: Vec::new(),
            collapsed: 3,
            truncates: 0,
        }])
    };
    let one = of(
        vec![
            group(&[0, 1, 2], vec![(10, vec![1.into(), "a".into(), 1.into()])]),
            group(&[0, 2], vec![(11, vec![2.into(), 2.into()])]),
            group(&[0], vec![(12, vec![3.into()])]),
        ],
        vec![(13, 9)],
    );
    let outcome = apply(&mut s, &one).await;
    assert_eq!((counts(outcome), outcome.superseded_in_batch), ((4, 0, 0, 0, 1), 3));
    let rows = "select id, v, w, g from g_groups order by id";
    assert_eq!(show(&mut s, rows).await, "1,a,1,2;2,none,2,4;3,none,7,14");
    let two = of(
        vec![
            group(&[0, 2], vec![(20, vec![1.into(), 5.into()]), (21, vec![9.into(), 9.into()])]),
            group(&[0, 1], vec![(22, vec![2.into(), Value::Null]), (1, vec![3.into(), "old".into()])]),
        ],
        vec![],
    );
    assert_eq!(counts(apply(&mut s, &two).await), (3, 1, 0, 0, -1));
    assert_eq!(show(&mut s, rows).await, "1,a,5,10;2,-,2,4;3,none,7,14;9,none,9,18");
}

#[tokio::test]
async fn repair_rewrites_rows_of_the_same_token_only() {
    let mut s = session().await;
    let t = make(&mut s, "g_repair", BODY, HARD).await;
    let mut plan = changes(&t, &[(1, 10, Some("a")), (2, 11, Some("b")), (3, 12, None)]);
    apply(&mut s, &plan).await;
    apply(&mut s, &changes(&t, &[(2, 20, Some("newer"))])).await;
    run(&mut s, "update g_repair set v = 'damaged'").await;
    assert_eq!(counts(apply(&mut s, &plan).await), (0, 2, 1, 0, 0));
    plan.repair = true;
    assert_eq!(counts(apply(&mut s, &plan).await), (1, 1, 1, 0, 0));
    assert_eq!(state(&mut s, &t).await, "1,a,10;2,damaged,20 / 3,12");
}

#[tokio::test]
async fn truncate_is_a_tombstone_for_the_whole_table() {
    let mut s = session().await;
    let t = make(&mut s, "g_truncate", BODY, HARD).await;
    apply(&mut s, &changes(&t, &[(1, 10, Some("a")), (2, 60, Some("late")), (3, 12, None), (4, 61, None)])).await;
    run(&mut s, "insert into g_truncate (id, v) values (5, 'adopted')").await;
    let mut plan = changes(&t, &[(6, 40, Some("before")), (7, 55, Some("after")), (8, 41, None)]);
    plan.tables[0].truncate = Some(token(50));
    assert_eq!(counts(apply(&mut s, &plan).await), (1, 0, 0, 2, -1));
    assert_eq!(state(&mut s, &t).await, "2,late,60;7,after,55 / 4,61");
    let before = digest(&mut s, &t).await;
    assert_eq!(counts(apply(&mut s, &plan).await), (0, 1, 0, 2, 0));
    assert_eq!(counts(apply(&mut s, &changes(&t, &[(1, 10, Some("a")), (3, 12, None)])).await), (0, 0, 0, 2, 0));
    assert_eq!(digest(&mut s, &t).await, before);
}

#[tokio::test]
async fn truncate_marks_where_deletes_mark() {
    let mut s = session().await;
    let t = make(&mut s, "g_truncate_soft", &format!("{BODY}, _lastword_deleted boolean"), SOFT).await;
    apply(&mut s, &changes(&t, &[(1, 10, Some("a")), (2, 60, Some("late"))])).await;
    let mut plan = changes(&t, &[]);
    plan.tables[0].truncate = Some(token(50));
    apply(&mut s, &plan).await;
    assert_eq!(state(&mut s, &t).await, "1,a,50,true;2,late,60,false / ");
    let before = digest(&mut s, &t).await;
    apply(&mut s, &plan).await;
    assert_eq!(digest(&mut s, &t).await, before);
}

#[tokio::test]
async fn tokens_of_another_scope_are_refused() {
    let mut s = session().await;
    let t = make(&mut s, "g_scopes", BODY, HARD).await;
    apply(&mut s, &changes(&t, &[(1, 10, Some("a")), (2, 11, None)])).await;
    let before = digest(&mut s, &t).await;
    let foreign = |scope, key, text: Option<&str>| {
        let mut plan = changes(&t, &[(key, 99, text)]);
        let token = TokenWriter::new(scope, 1).number(99).finish();
        plan.tables[0].upserts.iter_mut().for_each(|group| group.rows[0].token = token);
        plan.tables[0].deletes.iter_mut().for_each(|delete| delete.token = token);
        plan
    };
    for scope in [0, 2] {
        for (key, text) in [(1, Some("x")), (2, Some("x")), (1, None), (2, None)] {
            let failure = s.apply(&foreign(scope, key, text)).await.expect_err("refused");
            assert_eq!((failure.class, failure.code.as_str()), (Class::Record, "incomparable_token"), "{failure}");
            assert_eq!(digest(&mut s, &t).await, before, "rolled back");
        }
    }
    assert_eq!(apply(&mut s, &foreign(2, 3, Some("new key"))).await.applied, 1);
    let mut truncate = changes(&t, &[]);
    truncate.tables[0].truncate = Some(token(50));
    assert_eq!(s.apply(&truncate).await.expect_err("refused").code, "incomparable_token");
}

#[tokio::test]
async fn tables_of_one_writer_and_tables_that_ignore_deletes() {
    let mut s = session().await;
    let shared = make(&mut s, "g_single", BODY, Rule { delete: DeleteMode::Ignore, ..HARD }).await;
    let shape = shared.shape.clone();
    let t = Arc::new(Table { shape, single_writer: true, key: shared.key.clone(), ..*shared });
    apply(&mut s, &changes(&t, &[(1, 10, Some("a")), (2, 11, Some("b"))])).await;
    // Nobody else's lock is waited for.
    let mut other = session().await;
    other.begin().await.expect("begun");
    bookkeep::lock_table(&mut other, t.name(), None).await.expect("locked");
    let mut plan = changes(&t, &[(1, 20, Some("A")), (2, 1, Some("old"))]);
    plan.tables[0].truncate = Some(token(50));
    assert_eq!(counts(apply(&mut s, &plan).await), (1, 1, 0, 0, 0), "TRUNCATE is a delete, too");
    other.rollback().await.expect("rolled back");
    assert_eq!(state(&mut s, &t).await, "1,A,20;2,b,11 / ");
}

/// A row whose delete event is gone goes if nothing newer was written meanwhile; its own newest event brings it back, older
/// ones do not (invariants 2 and 3).
#[tokio::test]
async fn orphans_delete_exactly_the_row_that_was_seen() {
    let mut s = session().await;
    for (name, rule) in [("o_hard", HARD), ("o_soft", SOFT), ("o_side", SIDE)] {
        let column = if rule.storage == TokenStorage::Column { ", _lastword_token bytea" } else { "" };
        let mark =
            if rule.delete == DeleteMode::Soft { ", _lastword_deleted boolean not null default false" } else { "" };
        let t = make(&mut s, name, &format!("id bigint primary key, v text{column}{mark}"), rule).await;
        apply(&mut s, &changes(&t, &[(1, 5, Some("a")), (2, 5, Some("b"))])).await;
        for (key, there) in [(1, true), (3, false)] {
            let row = bookkeep::live_row(&mut s, &t, &[Value::Int(key)]).await.expect("a look");
            assert_eq!(row, there.then_some(bookkeep::LiveRow { token: Some(token(5)) }), "{name}");
        }
        let orphan = |key: i64, at| Orphan { token: token(at), below: token(at - 1), key: vec![Value::Int(key)] };
        let orphans = vec![orphan(1, 5), orphan(2, 4), orphan(3, 5)];
        let gone = plan(vec![TablePlan { orphans, ..TablePlan::new(Arc::clone(&t)) }]);
        let outcome = apply(&mut s, &gone).await;
        assert_eq!(counts(outcome), (1, 2, 0, 0, i64::from(rule.delete != DeleteMode::Soft)), "{name}");
        assert_eq!(bookkeep::live_row(&mut s, &t, &[Value::Int(1)]).await.expect("a look"), None, "{name}");
        let live = format!("select v from {name}{}", if mark.is_empty() { "" } else { " where not _lastword_deleted" });
        assert_eq!(show(&mut s, &live).await, "b", "{name}");
        assert_eq!(apply(&mut s, &changes(&t, &[(1, 4, Some("old"))])).await.applied, 0, "{name}");
        assert_eq!(apply(&mut s, &changes(&t, &[(1, 5, Some("again"))])).await.applied, 1, "{name}");
        assert_eq!(show(&mut s, &format!("{live} order by v")).await, "again;b", "{name}");
    }
}
