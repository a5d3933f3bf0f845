//! Side tokens, change logs, keys of several columns, hostile names, partitioned tables, checkpoints.

use super::*;

#[tokio::test]
async fn side_tokens_decide_and_the_table_stays_as_it_is() {
    let mut s = session().await;
    let t = make(&mut s, "s_side", "id bigint primary key, v text", SIDE).await;
    run(&mut s, "insert into s_side values (9, 'adopted')").await;
    let plans = [
        changes(&t, &[(1, 10, Some("a")), (2, 11, Some("b")), (3, 12, None), (9, 1, Some("known"))]),
        changes(&t, &[(1, 20, Some("A")), (2, 9, Some("old")), (3, 5, Some("ghost")), (4, 21, None)]),
        changes(&t, &[(3, 30, Some("back")), (1, 15, None), (2, 31, None), (4, 7, None)]),
    ];
    let outcomes = [(4, 0, 0, 0, 1), (2, 1, 1, 0, 1), (2, 1, 1, 0, 0)];
    for (plan, expected) in plans.iter().zip(outcomes) {
        assert_eq!(counts(apply(&mut s, plan).await), expected);
    }
    let after = "1,A,0;3,back,0;9,known,0 / 1,20,false;2,31,true;3,30,false;4,21,true;9,1,false";
    assert_eq!(state(&mut s, &t).await, after);
    let before = digest(&mut s, &t).await;
    for plan in &plans {
        assert_eq!(apply(&mut s, plan).await.applied, 0);
    }
    assert_eq!(digest(&mut s, &t).await, before);

    run(&mut s, "update s_side set v = 'damaged' where id = 1; delete from s_side where id = 3").await;
    let mut repair = plans[1].clone();
    repair.repair = true;
    assert_eq!(apply(&mut s, &repair).await.applied, 1, "rows, not tombstones");
    repair = plans[2].clone();
    repair.repair = true;
    apply(&mut s, &repair).await;
    assert_eq!(state(&mut s, &t).await, after);

    let mut truncate = changes(&t, &[(1, 22, Some("before")), (5, 26, Some("after"))]);
    truncate.tables[0].truncate = Some(token(25));
    assert_eq!(counts(apply(&mut s, &truncate).await), (1, 0, 0, 1, 2));
    assert_eq!(
        state(&mut s, &t).await,
        "3,back,0;5,after,0 / 1,25,true;2,31,true;3,30,false;4,21,true;5,26,false;9,25,true"
    );
    let other = TokenWriter::new(7, 1).number(99).finish();
    let mut foreign = changes(&t, &[(3, 99, Some("x"))]);
    foreign.tables[0].upserts[0].rows[0].token = other;
    assert_eq!(s.apply(&foreign).await.expect_err("refused").code, "incomparable_token");
}

#[tokio::test]
async fn names_and_keys_of_any_kind() {
    let mut s = session().await;
    let hostile = "He said \"drop\"; -- 'ü' c0";
    let body = "\"op\" text, \"c0\" int, \"to\"\"ken\" numeric(10,2) not null, \"Größe; --\" int generated always as identity, \
                \"t\" text, \"excluded\" text, _lastword_token bytea, primary key (\"to\"\"ken\", \"Größe; --\", \"op\")";
    let t = make(&mut s, hostile, body, HARD).await;
    assert_eq!(t.key, [2, 3, 0], "key order");
    let row = |at, text: &str| Upsert {
        token: token(at),
        values: vec!["k".into(), 5.into(), Value::Decimal("1.50".into()), 7.into(), text.into(), text.into()],
    };
    let upsert = |at, text| {
        let group = UpsertGroup { columns: Arc::from([0, 1, 2, 3, 4, 5]), rows: vec![row(at, text)] };
        plan(vec![TablePlan { upserts: vec![group], ..TablePlan::new(Arc::clone(&t)) }])
    };
    let delete = |at| {
        let key = vec![Value::Decimal("1.50".into()), 7.into(), "k".into()];
        let deletes = vec![Delete { token: token(at), key }];
        plan(vec![TablePlan { deletes, ..TablePlan::new(Arc::clone(&t)) }])
    };
    assert_eq!(counts(apply(&mut s, &upsert(1, "a")).await), (1, 0, 0, 0, 0), "a value for an identity column");
    assert_eq!(counts(apply(&mut s, &upsert(3, "b")).await), (1, 0, 0, 0, 0));
    assert_eq!(counts(apply(&mut s, &delete(2)).await), (0, 1, 0, 0, 0));
    let select = format!("select \"Größe; --\", t, excluded from {}", Dialect::Postgres.table(t.name()));
    assert_eq!(show(&mut s, &select).await, "7,b,b");
    assert_eq!(counts(apply(&mut s, &delete(4)).await), (1, 0, 0, 0, 1));
    assert_eq!(show(&mut s, &select).await, "");
    run(&mut s, &format!("drop table {}", Dialect::Postgres.table(t.name()))).await;
}

#[tokio::test]
async fn partitioned_tables() {
    let (mut s, mut other) = (session().await, session().await);
    let body = "id bigint primary key, v text, _lastword_token bytea) partition by hash (id";
    let t = make(&mut s, "s_parts", body, HARD).await;
    run(
        &mut s,
        "create table s_parts_0 partition of s_parts for values with (modulus 2, remainder 0);
                 create table s_parts_1 partition of s_parts for values with (modulus 2, remainder 1)",
    )
    .await;
    let ids = [(1, 10, Some("a")), (2, 11, Some("b")), (3, 12, Some("c")), (4, 13, Some("d")), (5, 14, None)];
    assert_eq!(counts(apply(&mut s, &changes(&t, &ids)).await), (5, 0, 0, 0, 1));
    assert_eq!(
        counts(apply(&mut s, &changes(&t, &[(1, 20, None), (2, 1, None), (5, 21, Some("e"))])).await),
        (2, 1, 0, 0, 0)
    );
    assert_eq!(state(&mut s, &t).await, "2,b,11;3,c,12;4,d,13;5,e,14 / 1,20".replace("e,14", "e,21"));
    // The re-check finds rows by their place, which several partitions can have.
    let (upsert, delete) = (changes(&t, &[(7, 30, Some("x")), (8, 30, Some("y"))]), changes(&t, &[(7, 31, None)]));
    let (a, b) = (s.open(&upsert, false).await.expect("a"), other.open(&delete, false).await.expect("b"));
    s.close(&upsert, a).await.expect("a");
    assert_eq!(other.close(&delete, b).await.expect("b").tables[0].recheck_deleted, 1);
    assert_eq!(state(&mut s, &t).await, "2,b,11;3,c,12;4,d,13;5,e,21;8,y,30 / 1,20;7,31");
}
