//! Tables as the catalogs show them.

use super::*;
use crate::core::table::ColumnType;

#[tokio::test]
async fn columns_keys_and_reasons() {
    let mut s = session().await;
    extensions(&mut s, &["citext"]).await;
    run(&mut s, "drop table if exists d_columns cascade; drop collation if exists d_ci;
        create collation d_ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        drop type if exists d_mood; create type d_mood as enum ('a'); drop domain if exists d_positive; create domain d_positive as int;
        create table d_columns (
            a bigint generated always as identity, b numeric(10,2) not null, c numeric, d citext, e char(4), f text collate d_ci,
            g double precision, h timestamp(3), i time(0), j jsonb, k d_mood, l d_positive, m int[], n int default 5,
            o int generated always as (n + 1) stored, p varchar(9), q \"char\", r interval, gone int, s text collate \"C\",
            _lastword_token bytea, _lastword_deleted boolean,
            primary key (s, a), unique (p, n), exclude (r with =));
        alter table d_columns drop column gone;
        create unique index on d_columns (n) where n > 3; create unique index on d_columns (lower(p)); create unique index on d_columns (b) include (c)").await;
    let shape = s.describe(&TableName::new(None, "d_columns")).await.expect("described").expect("a table");
    assert_eq!(shape.name, TableName::new(Some("public"), "d_columns"), "the schema is filled in");
    assert!(shape.has_token && shape.has_deleted);
    assert_eq!(shape.primary_key, ["s", "a"]);
    assert_eq!(shape.unique_keys, [vec!["p", "n"], vec!["b"]]);
    let column = |name: &str| &shape.columns[shape.position(name).unwrap_or_else(|| panic!("{name}"))];
    assert_eq!(shape.columns.len(), 19);
    assert_eq!(
        (column("b").kind.clone(), column("b").native.as_str()),
        (ColumnType::Decimal { limit: Some((10, 2)) }, "numeric(10,2)")
    );
    assert_eq!(column("h").kind, ColumnType::Timestamp { digits: 3 });
    assert_eq!(column("i").kind, ColumnType::Time { digits: 0 });
    assert_eq!(column("p").kind, ColumnType::Text { max_chars: Some(9) });
    assert_eq!(column("e").kind, ColumnType::Text { max_chars: Some(4) });
    for (name, kind, native) in [
        ("d", ColumnType::Text { max_chars: None }, "citext"),
        ("k", ColumnType::Literal, "d_mood"),
        ("l", ColumnType::Int { bits: 32, unsigned: false }, "integer"),
        ("m", ColumnType::Array { element: Box::new(ColumnType::Int { bits: 32, unsigned: false }) }, "integer[]"),
        ("q", ColumnType::Text { max_chars: Some(1) }, "\"char\""),
        ("r", ColumnType::Interval { digits: 6 }, "interval"),
    ] {
        assert_eq!((&column(name).kind, column(name).native.as_str()), (&kind, native), "{name}");
    }
    for (name, wide) in [
        ("a", false),
        ("b", false),
        ("c", true),
        ("d", true),
        ("e", true),
        ("f", true),
        ("g", true),
        ("j", true),
        ("s", false),
    ] {
        assert_eq!(column(name).wide_equality.is_some(), wide, "{name}");
    }
    assert!(column("a").identity && !column("n").identity);
    assert!(column("o").generated && !column("a").generated && column("a").has_default && column("n").has_default);
    assert!(!column("b").nullable && !column("s").nullable && column("c").nullable && !column("b").has_default);
}

#[tokio::test]
async fn what_is_no_table_is_not_taken_for_one() {
    let mut s = session().await;
    run(&mut s, "drop schema if exists \"d S\" cascade; create schema \"d S\"; create table \"d S\".\"T.\"\"x\" (id int); create view \"d S\".v as select 1").await;
    let describe = TableName::new(Some("d S"), "T.\"x");
    let shape = s.describe(&describe).await.expect("described").expect("a table");
    assert_eq!((shape.name, shape.primary_key.len(), shape.has_token), (describe, 0, false));
    assert_eq!(s.describe(&TableName::new(Some("d S"), "v")).await.expect_err("a view").code, "relation");
    assert_eq!(s.describe(&TableName::new(Some("no such"), "v")).await.expect("looked up"), None);
    assert_eq!(s.describe(&TableName::new(None, "no_such_table")).await.expect("looked up"), None);
    run(&mut s, &format!("create table \"d S\".{} (id int)", "x".repeat(63))).await;
    assert_eq!(s.describe(&TableName::new(Some("d S"), &"x".repeat(64))).await.expect_err("cut").code, "name");
    run(&mut s, "set search_path = \"d S\"").await;
    assert!(s.describe(&TableName::new(None, "T.\"x")).await.expect("described").is_some());
}
