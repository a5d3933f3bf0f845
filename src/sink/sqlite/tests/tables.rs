//! Shapes, values, names, change logs, errors.

use super::*;
use crate::core::failure::Class;
use crate::core::table::ColumnType;
use crate::core::value::INFINITE_DAY;
use crate::core::wire::{Geometry, Unit};
use bytes::Bytes;

#[tokio::test]
async fn shapes_tell_what_a_table_can_hold() {
    let folder = tempfile::tempdir().expect("folder");
    let sink = SqliteSink::new(&config(format!("sqlite:{}", folder.path().join("t.db").display()))).expect("sink");
    let mut session = sink.session("test").await.expect("session");
    for statement in [
        "create table t (id integer primary key, name varchar(20) not null collate nocase unique, price decimal(10,2), \
         f real default 1.5, b blob, yes boolean, g int generated always as (id + 1), _lastword_token blob)",
        "create unique index part on t (b) where b is not null",
        "create unique index expr on t (f, abs(price))",
        "create view v as select * from t",
    ] {
        session.execute(statement, &[]).await.expect("ddl");
    }
    let shape = session.describe(&TableName::new(None, "t")).await.expect("describe").expect("there");
    assert_eq!(shape.primary_key, ["id"]);
    assert_eq!((shape.has_token, shape.has_deleted), (true, false));
    let column = |name: &str| &shape.columns[shape.position(name).expect(name)];
    assert_eq!(column("id").kind, ColumnType::Int { bits: 64, unsigned: false });
    assert!(!column("id").nullable && column("id").has_default && column("id").wide_equality.is_none());
    assert!(column("name").wide_equality.as_deref().expect("wide").contains("nocase"));
    assert_eq!(column("price").kind, ColumnType::Unsupported);
    assert!(column("price").native.starts_with("decimal(10,2)"));
    assert!(column("f").has_default && column("f").wide_equality.is_some());
    assert_eq!(
        (column("b").kind.clone(), column("yes").kind.clone()),
        (ColumnType::Bytes { max_bytes: None }, ColumnType::Bool)
    );
    assert!(column("g").generated);
    assert_eq!(shape.unique_keys.len(), 3);
    assert!(shape.unique_keys.contains(&vec!["name".to_owned()]));
    assert!(!shape.unique_keys.contains(&vec!["b".to_owned()]), "a partial index keeps nothing apart");
    assert_eq!(session.describe(&TableName::new(None, "nothing")).await.expect("describe"), None);
    for (name, code) in [("T", "name_taken"), ("v", "not_a_table")] {
        let failure = session.describe(&TableName::new(None, name)).await.expect_err(name);
        assert_eq!((failure.class, failure.code.as_str()), (Class::Operator, code));
    }
}

fn wide_spec(kinds: Vec<(&str, WireType)>) -> TableSpec {
    TableSpec {
        name: TableName::new(None, "wide"),
        fields: kinds.into_iter().map(|(name, kind)| field(name, kind)).collect(),
        key: vec!["id".into()],
        contract: Contract::FinalState,
        delete: DeleteMode::Hard,
        token_storage: TokenStorage::Column,
    }
}

fn wide_plan(bench: &Bench, columns: &[usize], values: Vec<Value>, number: u64) -> Plan {
    let mut plan = bench.plan(&[]);
    plan.tables[0].upserts =
        vec![UpsertGroup { columns: columns.into(), rows: vec![Upsert { token: token(number), values }] }];
    plan
}

#[tokio::test]
async fn values_come_back_as_they_went_in() {
    let values = vec![
        ("id", WireType::Bytes, Value::Bytes(Bytes::from_static(b"\0\xff")), "x'00ff'"),
        ("empty", WireType::Bytes, Value::Bytes(Bytes::new()), "x''"),
        (
            "text",
            WireType::Text,
            Value::from("Ü\u{0}'; drop table wide; --"),
            "char(220, 0) || '''; drop table wide; --'",
        ),
        ("no_text", WireType::Text, Value::from(""), "''"),
        ("null", WireType::Text, Value::Null, "null"),
        ("least", WireType::Int { bits: 64 }, Value::Int(i64::MIN), "(-9223372036854775807 - 1)"),
        ("unsigned", WireType::Int { bits: 64 }, Value::UInt(7), "7"),
        ("truth", WireType::Bool, Value::Bool(true), "1"),
        ("single", WireType::Float32, Value::Float32(0.1), "0.10000000149011612"),
        ("double", WireType::Float64, Value::Float64(f64::NEG_INFINITY), "-9e999"),
        (
            "decimal",
            WireType::VariableDecimal,
            Value::Decimal("123456789012345678901234567890.10".into()),
            "'123456789012345678901234567890.10'",
        ),
        ("date", WireType::Date, Value::Date(19_724), "'2024-01-02'"),
        ("never", WireType::Date, Value::Date(INFINITE_DAY.0), "'infinity'"),
        ("time", WireType::Time(Unit::Micros), Value::Time(14_706_120_000), "'04:05:06.12'"),
        ("span", WireType::Time(Unit::Millis), Value::Time(-3_020_399_000_000), "'-838:59:59'"),
        ("zoned", WireType::ZonedTime, Value::TimeTz { micros: 1, offset: -3600 }, "'00:00:00.000001-01:00'"),
        ("interval", WireType::Interval, Value::Interval { months: 14, days: -1, micros: 500_000 }, "'P1Y2M-1DT0.5S'"),
        ("stamp", WireType::Timestamp(Unit::Micros), Value::Timestamp(-1), "'1969-12-31 23:59:59.999999'"),
        ("instant", WireType::ZonedTimestamp, Value::TimestampTz(0), "'1970-01-01 00:00:00+00'"),
        ("uuid", WireType::Uuid, Value::Uuid([0xAB; 16]), "'abababab-abab-abab-abab-abababababab'"),
        ("json", WireType::Json, Value::Json("{\"a\": 1.50}".into()), "'{\"a\": 1.50}'"),
        ("list", WireType::Array(Box::new(WireType::Text)), Value::Json("[null]".into()), "'[null]'"),
        (
            "bits",
            WireType::Bits { length: Some(4) },
            Value::Bits { length: 4, bytes: Bytes::from_static(&[0x50]) },
            "'0101'",
        ),
        (
            "shape",
            WireType::Geometry(Geometry::Geometry),
            Value::Geometry { srid: Some(4326), wkb: Bytes::from_static(b"\x01\x07\0\0\0\0\0\0\0") },
            "x'0107000020e610000000000000'",
        ),
    ];
    let mut bench = Bench::of(wide_spec(values.iter().map(|(name, kind, ..)| (*name, kind.clone())).collect())).await;
    let unsupported = bench.table.shape.columns.iter().find(|column| column.kind == ColumnType::Unsupported);
    assert_eq!(unsupported, None);
    let all: Vec<usize> = (0..values.len()).collect();
    let plan = wide_plan(&bench, &all, values.iter().map(|(_, _, value, _)| value.clone()).collect(), 1);
    bench.session.apply(&plan).await.expect("applied");
    for (name, _, _, literal) in &values {
        let text = format!("select count(*) from wide where \"{name}\" is {literal}");
        assert_eq!(bench.session.query(&text, &[]).await.expect(name), [[Value::Int(1)]], "{name}");
    }

    for (at, bad) in [(9, Value::Float64(f64::NAN)), (6, Value::UInt(u64::MAX)), (5, Value::from("no number"))] {
        let mut row: Vec<Value> = values.iter().map(|(_, _, value, _)| value.clone()).collect();
        row[at] = bad;
        let failure = bench.session.apply(&wide_plan(&bench, &all, row, 2)).await.expect_err("does not fit");
        assert_eq!(failure.class, Class::Record, "{failure}");
        assert!(failure.message.contains("wide") && failure.message.contains(values[at].0), "{failure}");
        assert!(!failure.message.contains("no number"), "no values in messages: {failure}");
    }
}

#[tokio::test]
async fn columns_that_an_event_lacks_stay_or_take_their_default() {
    let spec = wide_spec(Vec::new());
    let made = ["create table wide (id integer primary key, a text not null, b text default 'dflt', c text)"];
    let mut bench = Bench::with(&made, spec).await;
    let full = |id: i64, number| (vec![Value::from(id), "a".into(), "b".into(), "c".into()], number);
    let (values, number) = full(1, 1);
    bench.session.apply(&wide_plan(&bench, &[0, 1, 2, 3], values, number)).await.expect("full");
    bench
        .session
        .apply(&wide_plan(&bench, &[0, 3], vec![1.into(), "new".into()], 2))
        .await
        .expect("without a NOT NULL column");
    let failure =
        bench.session.apply(&wide_plan(&bench, &[0, 3], vec![2.into(), "new".into()], 2)).await.expect_err("no row");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Record, "sqlite constraint"), "{failure}");
    bench.session.apply(&wide_plan(&bench, &[0, 1], vec![3.into(), "x".into()], 2)).await.expect("defaults");
    bench.session.apply(&wide_plan(&bench, &[0], vec![1.into()], 3)).await.expect("only the key");
    let rows = bench
        .session
        .query("select id || a || coalesce(b, '-') || coalesce(c, '-') from wide order by id", &[])
        .await
        .expect("rows");
    assert_eq!(rows, [[Value::from("1abnew")], [Value::from("3xdflt-")]]);
}

#[tokio::test]
async fn hostile_names_and_near_keys_stay_apart() {
    let name = TableName::new(Some("Or\"der"), "select; drop table `x`--'?");
    let mut hostile = spec(name.clone(), DeleteMode::Hard, TokenStorage::Column);
    hostile.fields.push(field("a\"b?1 $1 :x", WireType::Text));
    hostile.key = vec!["code".into(), "a\"b?1 $1 :x".into()];
    let mut bench = Bench::of(hostile).await;
    let texts = ["a", "A", "a ", "ä", "a\u{308}", "", "\u{0}"];
    let rows = |number| {
        texts.iter().map(move |text| Upsert {
            token: token(number),
            values: vec![1.into(), "v".into(), "k".into(), Value::from(*text)],
        })
    };
    let plan = |bench: &Bench, number| {
        let mut plan = bench.plan(&[]);
        plan.tables[0].upserts = vec![UpsertGroup { columns: (0..4).collect(), rows: rows(number).collect() }];
        plan
    };
    let first = plan(&bench, 1);
    assert_eq!(bench.session.apply(&first).await.expect("applied").tables[0].applied, 7);
    assert_eq!(bench.session.apply(&first).await.expect("applied").tables[0].superseded_by_row, 7);
    let mut gone = bench.plan(&[]);
    gone.tables[0].deletes = vec![Delete { token: token(2), key: vec!["k".into(), "A".into()] }];
    assert_eq!(bench.session.apply(&gone).await.expect("applied").tables[0], outcome(1, 0, 0, 0, 1));
    assert_eq!(bench.rows().await.len(), 6);
}

#[tokio::test]
async fn errors_have_the_right_class() {
    let folder = tempfile::tempdir().expect("folder");
    let open = async |url: String| SqliteSink::new(&config(url))?.session("test").await;
    let missing =
        open(format!("sqlite:{}", folder.path().join("no/such/t.db").display())).await.expect_err("no folder");
    assert_eq!((missing.class, missing.code.as_str()), (Class::Operator, "sqlite cantopen"));
    let path = folder.path().join("no.db");
    std::fs::write(&path, vec![7; 5000]).expect("write");
    let failure = open(format!("sqlite:{}", path.display())).await.expect_err("no database");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Operator, "sqlite notadb"));
    assert_eq!(open("sqlite:t.db?mode=nonsense".into()).await.expect_err("url").class, Class::Operator);

    let sink = SqliteSink::new(&config("sqlite::memory:".into())).expect("sink");
    let mut one = sink.session("one").await.expect("session");
    one.execute("create table t (id integer primary key) strict", &[]).await.expect("ddl");
    let mut two = sink.session("two").await.expect("session");
    two.execute("insert into t values (1)", &[]).await.expect("one database for all sessions");
    let failure = one.execute("insert into t values (?)", &[1.into()]).await.expect_err("twice");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Record, "sqlite constraint"));
    assert_eq!(one.execute("nonsense", &[]).await.expect_err("syntax").class, Class::Operator);
    one.rollback().await.expect("nothing to roll back");
}

#[tokio::test]
async fn a_full_database_is_for_an_operator() {
    let mut bench = Bench::new(DeleteMode::Hard, TokenStorage::Column).await;
    let pages = bench.session.query("pragma page_count", &[]).await.expect("pages")[0][0].as_int().expect("number");
    bench.session.query(&format!("pragma max_page_count = {}", pages + 2), &[]).await.expect("limit");
    let rows: Vec<Event> = (0..5000).map(|id| up("big", id, 1, "x")).collect();
    let failure = bench.session.apply(&bench.plan(&rows)).await.expect_err("full");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Operator, "sqlite full"));
    assert!(!failure.connection_lost);
    assert!(bench.rows().await.is_empty());
    bench.session.query("pragma max_page_count = 100000", &[]).await.expect("room");
    bench.apply(&rows).await;
    assert_eq!(bench.rows().await.len(), 5000, "the same session goes on");
}
