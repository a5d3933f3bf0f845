//! Tables that were there before: what the database adds, changes, refuses or takes along by itself.

use super::*;
use crate::core::failure::Class;
use bytes::Bytes;

/// Upserts of such columns.
fn rows(table: &Arc<Table>, columns: &[usize], at: u64, rows: Vec<Vec<Value>>) -> TablePlan {
    let rows = rows.into_iter().map(|values| Upsert { token: token(at), values }).collect();
    TablePlan { upserts: vec![UpsertGroup { columns: columns.into(), rows }], ..TablePlan::new(Arc::clone(table)) }
}

#[tokio::test]
async fn identities_defaults_and_generated_columns() {
    let mut s = session().await;
    let body = "id bigint generated always as identity primary key, a text default 'd', b text default 'd', \
        c text generated always as (upper(a)) stored, _lastword_token bytea";
    let t = make(&mut s, "x_made", body, HARD).await;
    let values = |id: i64, a: Value| vec![Value::Int(id), a];
    let first = rows(&t, &[0, 1], 1, vec![values(7, Value::Null), values(8, Value::text("a"))]);
    assert_eq!(apply(&mut s, &plan(vec![first])).await.applied, 2);
    // Explicit NULL stays NULL, what the event does not carry gets its default, what is generated is.
    assert_eq!(show(&mut s, "select id, a, b, c from x_made order by id").await, "7,-,d,-;8,a,d,A");
    apply(&mut s, &plan(vec![rows(&t, &[0, 1], 2, vec![values(7, Value::text("x"))])])).await;
    assert_eq!(show(&mut s, "select id, a, b, c from x_made order by id").await, "7,x,d,X;8,a,d,A");
    assert!(t.shape.remarks.iter().any(|remark| remark.contains("IDENTITY")), "{:?}", t.shape.remarks);
}

/// A trigger may change what is written; order is decided all the same, and `check` can tell.
#[tokio::test]
async fn triggers_change_values_but_not_the_order() {
    let mut s = session().await;
    let t = make(&mut s, "x_trigger", "id bigint primary key, v text, _lastword_token bytea", HARD).await;
    run(
        &mut s,
        "create or replace function x_upper() returns trigger language plpgsql as $$ begin new.v = upper(new.v); return new; end $$;
         create trigger x_before before insert or update on x_trigger for each row execute function x_upper()",
    )
    .await;
    for at in [5, 4, 6] {
        apply(&mut s, &changes(&t, &[(1, at, Some(&format!("v{at}")))])).await;
        let newest = if at == 6 { "V6" } else { "V5" };
        assert_eq!(show(&mut s, "select v from x_trigger").await, newest);
    }
    let shape = s.describe(t.name()).await.expect("described").expect("a table");
    assert!(shape.remarks.iter().any(|remark| remark.contains("x_before")), "{:?}", shape.remarks);
}

/// A child waits for its parent and a parent for its children: refused as a matter of the record, with the constraint's name.
#[tokio::test]
async fn foreign_keys_refuse_until_the_other_row_is_as_it_must_be() {
    let mut s = session().await;
    run(&mut s, "drop table if exists x_child, x_parent cascade").await;
    let parent = make(&mut s, "x_parent", "id bigint primary key, v text, _lastword_token bytea", HARD).await;
    let refers = "id bigint primary key, v text, parent bigint references x_parent on delete ";
    for (action, cascades) in
        [("no action", false), ("no action deferrable initially deferred", false), ("cascade", true)]
    {
        let child = make(&mut s, "x_child", &format!("{refers}{action}, _lastword_token bytea"), HARD).await;
        let of_child = |at| rows(&child, &[0, 1, 2], at, vec![vec![Value::Int(1), Value::text("c"), Value::Int(9)]]);
        let refused = s.apply(&plan(vec![of_child(1)])).await.expect_err("no parent");
        assert_eq!(
            (refused.class, refused.waits_for_others()),
            (Class::Record, Some("foreign_key_violation")),
            "{refused}"
        );
        assert!(
            refused.to_string().contains("x_child_parent_fkey") && !refused.to_string().contains("9)"),
            "{refused}"
        );
        apply(&mut s, &changes(&parent, &[(9, 1, Some("p"))])).await;
        assert_eq!(apply(&mut s, &plan(vec![of_child(1)])).await.applied, 1);
        let gone = changes(&parent, &[(9, 2, None)]);
        if cascades {
            assert_eq!(apply(&mut s, &gone).await.applied, 1);
            assert_eq!(show(&mut s, "select count(*) from x_child").await, "0");
            // The source's own delete of the child follows and leaves its tombstone: nothing older comes back.
            apply(&mut s, &changes(&child, &[(1, 3, None)])).await;
            assert_eq!(apply(&mut s, &plan(vec![of_child(2)])).await.applied, 0);
        } else {
            let refused = s.apply(&gone).await.expect_err("a child");
            assert_eq!(refused.waits_for_others(), Some("foreign_key_violation"), "{refused}");
            apply(&mut s, &changes(&child, &[(1, 2, None)])).await;
            assert_eq!(apply(&mut s, &gone).await.applied, 1);
        }
        let remarks = |shape: &crate::core::table::TableShape| shape.remarks.join("; ");
        assert!(remarks(&child.shape).contains("\"x_child_parent_fkey\": a row waits"), "{}", remarks(&child.shape));
        let known = s.describe(parent.name()).await.expect("described").expect("a table");
        assert!(remarks(&known).contains("rows of x_child hang"), "{}", remarks(&known));
        let side = Dialect::Postgres.bookkeeping(&parent.side_name());
        run(&mut s, &format!("drop table x_child; delete from x_parent; delete from {side}")).await;
    }
}

/// Every type that can be a key is found again by its rows, tombstones and stage, with tokens in the row and beside it.
#[tokio::test]
async fn keys_of_every_type() {
    let mut s = session().await;
    extensions(&mut s, &["ltree"]).await;
    run(
        &mut s,
        "drop type if exists x_mood cascade; create type x_mood as enum ('sad', 'glad');
        drop domain if exists x_code cascade; create domain x_code as varchar(5) check (value <> '')",
    )
    .await;
    let bits = |length, byte: &'static [u8]| Value::Bits { length, bytes: Bytes::from_static(byte) };
    let timetz = |offset| Value::TimeTz { micros: 5, offset };
    for (native, a, b) in [
        ("x_mood", Value::text("sad"), Value::text("glad")),
        ("x_code", Value::text("a"), Value::text("b")),
        ("ltree", Value::text("a.b"), Value::text("a.B")),
        ("oid", Value::Int(1), Value::Int(4_000_000_000)),
        ("money", Value::Decimal("1.00".into()), Value::Decimal("-1.00".into())),
        ("bit(2)", bits(2, &[0x40]), bits(2, &[0x80])),
        ("bit varying", bits(1, &[0]), bits(2, &[0])),
        ("timetz", timetz(0), timetz(3600)),
        ("\"char\"", Value::text("a"), Value::text("b")),
        ("name", Value::text("a"), Value::text("b")),
        ("date", Value::Date(crate::core::value::INFINITE_DAY.0), Value::Date(0)),
    ] {
        for (name, rule) in [("x_key", HARD), ("x_key_side", SIDE)] {
            let token_column = if rule.storage == TokenStorage::Column { ", _lastword_token bytea" } else { "" };
            let t = make(&mut s, name, &format!("id {native} primary key, v text{token_column}"), rule).await;
            assert_eq!(t.shape.columns[0].wide_equality, None, "{native}");
            let row = |key: &Value, text: &str| vec![key.clone(), Value::text(text.to_owned())];
            let mut change = rows(&t, &[0, 1], 5, vec![row(&a, "new"), row(&b, "new")]);
            assert_eq!(apply(&mut s, &plan(vec![change.clone()])).await.applied, 2, "{native}");
            change = rows(&t, &[0, 1], 4, vec![row(&a, "old")]);
            assert_eq!(apply(&mut s, &plan(vec![change])).await.superseded_by_row, 1, "{native}");
            let mut gone = TablePlan::new(Arc::clone(&t));
            gone.deletes = vec![Delete { token: token(6), key: vec![a.clone()] }];
            assert_eq!(apply(&mut s, &plan(vec![gone])).await.applied, 1, "{native}");
            let late = rows(&t, &[0, 1], 5, vec![row(&a, "late"), row(&b, "same")]);
            assert_eq!(counts(apply(&mut s, &plan(vec![late])).await), (0, 1, 1, 0, 0), "{native}");
            assert_eq!(show(&mut s, &format!("select v from {name}")).await, "new", "{native}");
        }
    }
}
