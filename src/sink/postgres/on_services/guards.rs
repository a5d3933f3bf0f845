//! What wins, what loses, and how it is counted.

use super::*;

const BODY: &str = "id bigint primary key, v text, _lastword_token bytea";

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
