//! What a plan does to rows, tombstones and counts.

use super::*;
use crate::core::failure::Class;
use crate::core::plan::{Advance, Counts};
use crate::core::record::TopicPartition;
use crate::core::table::ColumnType;
use crate::core::wire::{Field, TableSpec, WireType};

#[tokio::test]
async fn the_newest_change_wins_and_everything_is_counted() {
    let mut world = world("basics").await;
    let table = world.table("t", SMALL, &["id"], HARD).await;
    world.run("INSERT INTO t VALUES (9, 'by hand', NULL)").await;
    let plans = [
        small(&table, &[(1, 10), (2, 10), (9, 1)], &[(3, 10)]),
        small(&table, &[(1, 9), (2, 11), (3, 9)], &[(4, 5)]),
        small(&table, &[(3, 12), (4, 4)], &[(1, 8), (2, 12)]),
    ];
    let outcomes = [world.apply(&plans[0]).await, world.apply(&plans[1]).await, world.apply(&plans[2]).await];
    let counts = outcomes.map(|o| {
        (o.applied, o.superseded_by_row, o.superseded_by_tombstone, o.superseded_by_truncate, o.tombstones_delta)
    });
    assert_eq!(counts, [(4, 0, 0, 0, 1), (2, 1, 1, 0, 1), (2, 1, 1, 0, 0)]);
    assert_eq!(
        world.rows("SELECT id, v, _lastword_token FROM t ORDER BY id").await,
        ["1 v10 10", "3 v12 12", "9 v1 1"]
    );
    let before = world.digest(&table).await;
    for plan in &plans {
        assert_eq!(world.apply(plan).await.applied, 0);
    }
    assert_eq!(world.digest(&table).await, before);

    world.run("UPDATE t SET v = 'damaged' WHERE id = 1").await;
    world.apply(&plans[0]).await;
    assert_eq!(world.rows("SELECT v FROM t WHERE id = 1").await, ["damaged"]);
    let repaired = world.apply(&Plan { repair: true, ..plans[0].clone() }).await;
    assert_eq!((repaired.applied, repaired.superseded_by_row, repaired.superseded_by_tombstone), (2, 1, 1));
    assert_eq!(world.digest(&table).await, before);
    world.end().await;
}

#[tokio::test]
async fn a_truncate_takes_what_is_older() {
    for (name, kind, ddl) in
        [("trunc", HARD, SMALL), ("trunc_side", SIDE, SMALL_PLAIN), ("trunc_soft", SOFT, SMALL_SOFT)]
    {
        let mut world = world(name).await;
        let table = world.table("t", ddl, &["id"], kind).await;
        world.apply(&small(&table, &[(1, 10), (2, 60)], &[])).await;
        world.run("INSERT INTO t (id, v) VALUES (3, 'by hand')").await;
        let mut plan = small(&table, &[(4, 40), (5, 55)], &[]);
        plan.tables[0].truncate = Some(token(50));
        let outcome = world.apply(&plan).await;
        assert_eq!((outcome.applied, outcome.superseded_by_truncate), (1, 1), "{name}");
        let live = if kind.delete == DeleteMode::Soft { "WHERE _lastword_deleted = 0" } else { "" };
        assert_eq!(world.rows(&format!("SELECT id FROM t {live} ORDER BY id")).await, ["2", "5"], "{name}");
        let before = world.digest(&table).await;
        world.apply(&plan).await;
        world.apply(&small(&table, &[(1, 10), (2, 60)], &[])).await;
        assert_eq!(world.digest(&table).await, before, "{name}");
        world.end().await;
    }
}

#[tokio::test]
async fn side_tokens_leave_the_table_as_it_is() {
    let mut world = world("side").await;
    let table = world.table("t", SMALL_PLAIN, &["id"], SIDE).await;
    world.run("INSERT INTO t VALUES (1, 'by hand')").await;
    let first = world.apply(&small(&table, &[(1, 10), (2, 10)], &[(3, 10)])).await;
    assert_eq!((first.applied, first.tombstones_delta), (3, 1));
    let second = world.apply(&small(&table, &[(1, 9), (3, 9)], &[(2, 11)])).await;
    let counts = (second.applied, second.superseded_by_row, second.superseded_by_tombstone, second.tombstones_delta);
    assert_eq!(counts, (1, 1, 1, 1));
    assert_eq!(world.rows("SELECT id, v FROM t").await, ["1 v10"]);
    let before = world.digest(&table).await;
    world.apply(&small(&table, &[(1, 10), (2, 10)], &[(3, 10)])).await;
    assert_eq!(world.digest(&table).await, before);
    world.run("DELETE FROM t").await;
    let plan = Plan { repair: true, ..small(&table, &[(1, 10)], &[]) };
    assert_eq!(world.apply(&plan).await.applied, 1);
    assert_eq!(world.rows("SELECT id, v FROM t").await, ["1 v10"]);
    world.end().await;
}

#[tokio::test]
async fn hostile_names_are_only_names() {
    let mut world = world("names").await;
    let ddl = "CREATE TABLE `x``; drop table t; --` (`select` INT, `values` INT, `a?b` VARCHAR(9), `größe'\"` INT, \
               _lastword_token VARBINARY(48), _lastword_deleted BOOLEAN NOT NULL DEFAULT 0, \
               PRIMARY KEY (`a?b`, `select`)) \
               DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin";
    let table = world.table("x`; drop table t; --", ddl, &["a?b", "select"], SOFT).await;
    assert_eq!(table.shape.primary_key, ["a?b", "select"]);
    let row = |t| upsert(t, vec![Value::Int(1), Value::Int(t as i64), "k".into(), Value::Null]);
    let outcome = world.apply(&plan_of(&table, &[0, 1, 2, 3], vec![row(5)], Vec::new())).await;
    assert_eq!(outcome.applied, 1);
    let outcome =
        world.apply(&plan_of(&table, &[], Vec::new(), vec![delete(6, vec!["k".into(), Value::Int(1)])])).await;
    assert_eq!((outcome.applied, outcome.tombstones_delta), (1, 0));
    let outcome =
        world.apply(&plan_of(&table, &[0, 1, 2], vec![upsert(7, row(7).values[..3].to_vec())], Vec::new())).await;
    assert_eq!(outcome.applied, 1);
    assert_eq!(
        world.rows("SELECT `select`, `values`, _lastword_deleted FROM `x``; drop table t; --`").await,
        ["1 7 0"]
    );
    world.end().await;
}

#[tokio::test]
async fn columns_that_an_event_lacks_are_kept() {
    for (name, kind, own) in [("subset", HARD, "_lastword_token VARBINARY(48),"), ("subset_side", SIDE, "")] {
        let mut world = world(name).await;
        let ddl = format!(
            "CREATE TABLE t (id INT, a INT NOT NULL, b INT DEFAULT 7, {own} c INT AS (a + 1) STORED, PRIMARY KEY (id))"
        );
        let table = world.table("t", &ddl, &["id"], kind).await;
        let generated = table.shape.columns.iter().map(|column| column.generated).collect::<Vec<_>>();
        assert_eq!(generated, [false, false, false, true]);
        let ints = |t, values: &[i64]| upsert(t, values.iter().copied().map(Value::Int).collect());
        world.apply(&plan_of(&table, &[0, 1], vec![ints(1, &[1, 10]), ints(1, &[2, 20])], Vec::new())).await;
        assert_eq!(world.rows("SELECT id, a, b, c FROM t ORDER BY id").await, ["1 10 7 11", "2 20 7 21"]);
        // `a` has no default, so these cannot be written as inserts.
        let outcome =
            world.apply(&plan_of(&table, &[0, 2], vec![ints(2, &[1, 8]), ints(0, &[2, 8])], Vec::new())).await;
        assert_eq!((outcome.applied, outcome.superseded_by_row), (1, 1));
        assert_eq!(world.rows("SELECT id, a, b, c FROM t ORDER BY id").await, ["1 10 8 11", "2 20 7 21"]);
        let missing = plan_of(&table, &[0, 2], vec![ints(3, &[3, 8])], Vec::new());
        let failure = world.session.apply(&missing).await.expect_err("no value for a");
        assert_eq!((failure.class, failure.code.as_str()), (Class::Record, "mysql 1364"), "{failure}");
        world.end().await;
    }
}

#[tokio::test]
async fn keys_of_every_type_are_found_again_by_index() {
    let mut world = world("keys").await;
    let text = ColumnType::Text { max_chars: Some(40) };
    let cases: [(&str, [Value; 3]); 17] = [
        ("BIGINT", [Value::Int(i64::MIN), Value::Int(0), Value::Int(i64::MAX)]),
        ("BIGINT UNSIGNED", [Value::Int(0), Value::Int(i64::MAX), Value::UInt(u64::MAX)]),
        (
            "DECIMAL(30,2)",
            [
                Value::Decimal("1234567890123456789012345678.90".into()),
                Value::Decimal("1234567890123456789012345678.91".into()),
                Value::Decimal("-0.50".into()),
            ],
        ),
        ("VARCHAR(40) COLLATE utf8mb4_nopad_bin", ["a".into(), "A".into(), "a ".into()]),
        ("VARBINARY(8)", [Value::bytes(b""), Value::bytes(b"\0"), Value::bytes(b"\xff\0")]),
        ("DATE", [Value::Date(-719_000), Value::Date(0), Value::Date(2_932_896)]),
        ("TIME(6)", [Value::Time(0), Value::Time(1), Value::Time(86_400_000_000)]),
        ("DATETIME(6)", [Value::Timestamp(-1), Value::Timestamp(0), Value::Timestamp(1)]),
        ("TIME(6)", [Value::Time(-3_020_399_000_000), Value::Time(-1), Value::Time(90_000_000_001)]),
        ("BIT(12)", [bits(12, &[0, 0]), bits(12, &[0x80, 0x10]), bits(12, &[0xff, 0xf0])]),
        ("BIT(64)", [bits(64, &[0; 8]), bits(64, &[0x80; 8]), bits(64, &[0xff; 8])]),
        ("YEAR", [Value::Int(0), Value::Int(1970), Value::Int(2155)]),
        ("ENUM('b', 'a', '1', 'it''s', '')", ["1".into(), "it's".into(), "".into()]),
        ("SET('b', 'a', 'x')", ["".into(), "a,b".into(), "x".into()]),
        ("INET4", ["0.0.0.0".into(), "10.0.0.1".into(), "255.255.255.255".into()]),
        ("INET6", ["::".into(), "0:0::1".into(), "::ffff:1.2.3.4".into()]),
        ("UUID", [Value::Uuid([1; 16]), Value::Uuid([0xab; 16]), Value::Uuid([0xff; 16])]),
    ];
    for (number, (native, values)) in cases.into_iter().enumerate() {
        let name = format!("t{number}");
        let ddl = format!(
            "CREATE TABLE {name} (k {native}, n INT, v INT, _lastword_token VARBINARY(48), PRIMARY KEY (k, n)) \
             DEFAULT CHARACTER SET utf8mb4"
        );
        let table = world.table(&name, &ddl, &["k", "n"], HARD).await;
        if native.starts_with("VARCHAR") {
            assert_eq!(table.shape.columns[0].kind, text);
        }
        assert_eq!(table.shape.columns[0].wide_equality, None, "{native}");
        let rows = |t| values.iter().map(|k| upsert(t, vec![k.clone(), Value::Int(1), Value::Int(t as i64)])).collect();
        assert_eq!(world.apply(&plan_of(&table, &[0, 1, 2], rows(1), Vec::new())).await.applied, 3, "{native}");
        let filler: Vec<Upsert> =
            (10..300).map(|n| upsert(1, vec![values[1].clone(), Value::Int(n), Value::Int(0)])).collect();
        assert_eq!(world.apply(&plan_of(&table, &[0, 1, 2], filler, Vec::new())).await.applied, 290, "{native}");
        let before = scanned(&mut world).await;
        assert_eq!(world.apply(&plan_of(&table, &[0, 1, 2], rows(2), Vec::new())).await.applied, 3, "{native}");
        let deletes = values[1..].iter().map(|k| delete(3, vec![k.clone(), Value::Int(1)])).collect();
        let outcome = world.apply(&plan_of(&table, &[], Vec::new(), deletes)).await;
        assert_eq!((outcome.applied, outcome.tombstones_delta), (2, 2), "{native}");
        assert!(scanned(&mut world).await - before < 100, "{native}: a table was scanned");
        let again = world.apply(&plan_of(&table, &[0, 1, 2], rows(2), Vec::new())).await;
        assert_eq!((again.superseded_by_row, again.superseded_by_tombstone), (1, 2), "{native}");
        assert_eq!(world.rows(&format!("SELECT COUNT(*) FROM {name}")).await, ["291"], "{native}");
    }
    world.end().await;
}

/// Rows that this session's statements have read by walking over a table.
async fn scanned(world: &mut World) -> i64 {
    let rows =
        world.rows("SHOW SESSION STATUS WHERE Variable_name IN ('Handler_read_rnd_next', 'Handler_read_next')").await;
    rows.iter().filter_map(|row| row.split(' ').next_back()).filter_map(|n| n.parse::<i64>().ok()).sum()
}

#[tokio::test]
async fn large_batches_pass_and_wide_keys_are_refused() {
    let mut world = world("large").await;
    let table = world.table("t", SMALL, &["id"], HARD).await;
    let started = std::time::Instant::now();
    let all: Vec<(i64, u64)> = (0..5000).map(|id| (id, 1)).collect();
    assert_eq!(world.apply(&small(&table, &all, &[])).await.applied, 5000);
    let inserted = started.elapsed();
    let newer: Vec<(i64, u64)> = (0..4000).map(|id| (id, 2)).collect();
    let gone: Vec<(i64, u64)> = (4000..9000).map(|id| (id, 2)).collect();
    let outcome = world.apply(&small(&table, &newer, &gone)).await;
    println!("5000 inserts {inserted:?}, 4000 updates and 5000 deletes {:?}", started.elapsed() - inserted);
    assert_eq!((outcome.applied, outcome.tombstones_delta), (9000, 5000));
    assert_eq!(world.rows("SELECT COUNT(*), MIN(v), MAX(v) FROM t").await, ["4000 v2 v2"]);

    let ddl = "CREATE TABLE w (k VARCHAR(9), v INT, _lastword_token VARBINARY(48), PRIMARY KEY (k)) \
               DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci";
    let wide = world.table("w", ddl, &["k"], HARD).await;
    assert!(wide.shape.columns[0].wide_equality.as_deref().is_some_and(|why| why.contains("utf8mb4_general_ci")));
    let row = |key: &str, t| upsert(t, vec![key.into(), Value::Int(1)]);
    world.apply(&plan_of(&wide, &[0, 1], vec![row("a", 1)], Vec::new())).await;
    let clash = plan_of(&wide, &[0, 1], vec![row("A", 2)], Vec::new());
    let failure = world.session.apply(&clash).await.expect_err("A is not a");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Operator, "wide_key"), "{failure}");
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_applied_leaves_nothing_behind() {
    let mut world = world("refused").await;
    let ddl = "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(3) NOT NULL, d DATE, n TINYINT, \
               CHECK (n < 100), _lastword_token VARBINARY(48)) DEFAULT CHARACTER SET utf8mb4";
    let table = world.table("t", ddl, &["id"], HARD).await;
    let row = |id: i64, v: Value, d: Value, n: i64| upsert(5, vec![Value::Int(id), v, d, Value::Int(n)]);
    let good = row(0, "abc".into(), Value::Null, 1);
    let huge = Value::text("x".repeat(world.session.server().max_packet));
    for (bad, code, named) in [
        (row(2, "abcd".into(), Value::Null, 1), "mysql 1406", "'v'"),
        (row(2, Value::Null, Value::Null, 1), "null_in_not_null", "\"v\""),
        (row(2, "a".into(), Value::Date(3_000_000), 1), "out_of_range", "\"d\""),
        (row(2, "a".into(), Value::from("geheim"), 1), "mysql 1292", "\"d\""),
        (row(2, "a".into(), Value::Null, 300), "mysql 1264", "'n'"),
        (row(2, "a".into(), Value::Null, 100), "mysql 4025", "CONSTRAINT"),
        (row(2, huge, Value::Null, 1), "row_too_large", "t"),
    ] {
        let plan = plan_of(&table, &[0, 1, 2, 3], vec![good.clone(), bad], Vec::new());
        let failure = world.session.apply(&plan).await.expect_err(code);
        assert_eq!((failure.class, failure.code.as_str()), (Class::Record, code), "{failure}");
        assert!(failure.message.contains(named) && failure.message.contains(".t"), "{failure}");
        assert!(!failure.to_string().contains("geheim"), "{failure}");
        assert_eq!(world.rows("SELECT * FROM t").await, Vec::<String>::new());
    }
    world.apply(&plan_of(&table, &[0, 1, 2, 3], vec![good], Vec::new())).await;
    assert_eq!(world.rows("SELECT id FROM t").await, ["0"], "the key 0 stays 0 in an AUTO_INCREMENT column");

    let other_scope = Upsert { token: TokenWriter::new(2, 1).number(9).finish(), ..row(0, "x".into(), Value::Null, 1) };
    let plan = plan_of(&table, &[0, 1, 2, 3], vec![other_scope], Vec::new());
    let failure = world.session.apply(&plan).await.expect_err("scope");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Record, "incomparable_token"), "{failure}");

    world.run("CREATE TABLE m (id INT PRIMARY KEY) ENGINE = MyISAM").await;
    let failure = world.session.describe(&TableName::new(None, "m")).await.expect_err("engine");
    assert_eq!(failure.code, "not_transactional");
    world.end().await;
}

#[tokio::test]
async fn checkpoints_move_with_the_rows_or_nothing_does() {
    let mut world = world("fence").await;
    let table = world.table("t", SMALL, &["id"], HARD).await;
    let at = TopicPartition::new("orders", 0);
    let request = bookkeep::ClaimRequest { at: at.clone(), incarnation: "-".into() };
    let mut session = Session::Mysql(world.another().await);
    let starts = [(at.clone(), 5)].into();
    let claims = bookkeep::claim(&mut session, "test", "me", &[request], &starts).await.expect("claim");
    let mut plan = small(&table, &[(1, 10)], &[]);
    plan.advances = vec![Advance {
        at,
        fence: claims[0].fence,
        from: 5,
        next: 6,
        counts: Counts { changes: 1, ..Counts::default() },
        source_time_ms: None,
        open_delete: None,
        top: Default::default(),
    }];
    session.apply(&plan).await.expect("first");
    plan.tables[0].upserts[0].rows[0].token = token(20);
    let failure = session.apply(&plan).await.expect_err("the same offsets again");
    assert_eq!((failure.class, failure.fenced.len()), (Class::Fenced, 1), "{failure}");
    assert_eq!(world.rows("SELECT _lastword_token FROM t").await, ["10"]);
    let stored = bookkeep::checkpoints(&mut session, "test").await.expect("checkpoints");
    assert_eq!((stored[0].next_offset, stored[0].counts.changes), (6, 1));
    world.end().await;
}

#[tokio::test]
async fn tables_that_lastword_makes_are_ones_that_it_can_write() {
    let mut world = world("made").await;
    let field = |name: &str, kind: WireType| Field::new(name, kind, false);
    let spec = TableSpec {
        name: TableName::new(None, "made"),
        fields: vec![
            field("name", WireType::Text),
            field("id", WireType::Uuid),
            field("v", WireType::Int { bits: 64 }),
        ],
        key: vec!["name".to_owned(), "id".to_owned()],
        contract: Contract::FinalState,
        delete: DeleteMode::Soft,
        token_storage: TokenStorage::Column,
    };
    let ddl = ddl::create_table(Dialect::Mysql, &spec, &ddl::Server::default()).expect("ddl");
    let table = world.table("made", &ddl, &["name", "id"], SOFT).await;
    let wide: Vec<_> = table.shape.columns.iter().map(|column| column.wide_equality.as_deref()).collect();
    assert_eq!(wide[..2], [None, None], "{ddl}");
    assert!(table.shape.has_token && table.shape.has_deleted);
    let row = |name: &str| upsert(1, vec![name.into(), Value::Uuid([0xab; 16]), Value::Int(1)]);
    let plan = plan_of(&table, &[0, 1, 2], vec![row("A"), row("a"), row("a ")], Vec::new());
    assert_eq!(world.apply(&plan).await.applied, 3);
    assert_eq!(world.apply(&plan).await.superseded_by_row, 3);

    let log = ddl::change_log_spec(TableName::new(None, "log"));
    let ddl = ddl::create_table(Dialect::Mysql, &log, &ddl::Server::default()).expect("ddl");
    let key: Vec<&str> = log.key.iter().map(String::as_str).collect();
    let table = world.table("log", &ddl, &key, Kind { contract: Contract::ChangeLog, ..HARD }).await;
    let mut values = vec![Value::Null; table.shape.columns.len()];
    for (index, value) in
        ["orders".into(), "-".into(), Value::Int(0), Value::Int(7), "c".into()].into_iter().enumerate()
    {
        values[index] = value;
    }
    let columns: Vec<usize> = (0..values.len()).collect();
    let plan = plan_of(&table, &columns, vec![upsert(1, values)], Vec::new());
    assert_eq!(world.apply(&plan).await.applied, 1);
    assert_eq!(world.apply(&plan).await.superseded_by_row, 1);
    world.end().await;
}
