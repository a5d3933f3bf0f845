//! Every type of a column: what is written is what the server shows, and what it would cut, round or bend is refused.

use super::*;
use crate::core::dialect::ddl::{self, Server};
use crate::core::value::{INFINITE_DAY, INFINITE_TIME};
use crate::core::wire::{self, WireType};
use bytes::Bytes;

fn text(text: &str) -> Value {
    Value::text(text.to_owned())
}

fn texts(items: &[&str]) -> Value {
    Value::Array(items.iter().map(|item| text(item)).collect())
}

fn decimal(digits: &str) -> Value {
    Value::Decimal(digits.into())
}

fn decimals(items: &[&str]) -> Value {
    Value::Array(items.iter().map(|item| decimal(item)).collect())
}

fn interval(months: i32, days: i32, micros: i64) -> Value {
    Value::Interval { months, days, micros }
}

fn bits(length: u32, bytes: &'static [u8]) -> Value {
    Value::Bits { length, bytes: Bytes::from_static(bytes) }
}

fn point(x: f64, y: f64) -> Value {
    let wkb = [&[1, 1, 0, 0, 0][..], &x.to_le_bytes(), &y.to_le_bytes()].concat();
    Value::Geometry { srid: None, wkb: wkb.into() }
}

/// The types of the tests live in a schema that is not searched.
async fn types(s: &mut PostgresSession) {
    static MADE: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let made = MADE.get_or_init(|| async {
        let mut s = session().await;
        extensions(&mut s, &["hstore", "citext", "ltree", "isn"]).await;
        run(&mut s, "drop schema if exists \"e T\" cascade; create schema \"e T\"; set search_path = \"e T\", public;
            create type mood as enum ('sad', 'so, so', 'ha\"p\\py'); create domain positive as int not null check (value > 0);
            create domain short as varchar(3); create domain shorts as short[]; create domain moods as mood[];
            create type pair as (a int, b text);
            create domain price as numeric(6,2)").await;
    });
    made.await;
    run(s, "set search_path = public").await;
}

/// Types, values, and what the server shows of them. Types with a comma stand in brackets of their own.
fn shown() -> Vec<(&'static str, Value, &'static str)> {
    let day = 86_400_000_000_i64;
    vec![
        ("date", Value::Date(INFINITE_DAY.0), "infinity"),
        ("date", Value::Date(-719_529), "0002-12-31 BC"),
        ("date", Value::Date(2_145_042_905), "5874897-12-31"),
        ("timestamp", Value::Timestamp(INFINITE_TIME.1), "-infinity"),
        ("timestamp", Value::Timestamp(-62_135_596_800_000_001), "0001-12-31 23:59:59.999999 BC"),
        ("timestamptz", Value::TimestampTz(INFINITE_TIME.0), "infinity"),
        ("timestamptz", Value::TimestampTz(253_402_300_800_000_001), "10000-01-01 00:00:00.000001+00"),
        ("time(3)", Value::Time(day), "24:00:00"),
        ("timetz", Value::TimeTz { micros: 14_706_120_000, offset: 7200 }, "04:05:06.12+02"),
        ("timetz(2)", Value::TimeTz { micros: day - 10_000, offset: -57_599 }, "23:59:59.99-15:59:59"),
        ("interval", interval(14, -3, -14_706_780_000), "1 year 2 mons -3 days -04:05:06.78"),
        ("interval", interval(-14, 3, 1), "-1 years -2 mons +3 days 00:00:00.000001"),
        ("interval", interval(0, 0, 0), "00:00:00"),
        (
            "interval",
            interval(i32::MAX, i32::MIN, i64::MAX),
            "178956970 years 7 mons -2147483648 days +2562047788:00:54.775807",
        ),
        ("interval(2)", interval(0, 0, -10_000), "-00:00:00.01"),
        ("numeric", decimal("NaN"), "NaN"),
        ("numeric", decimal("-Infinity"), "-Infinity"),
        ("numeric(5,2)", decimal("NaN"), "NaN"),
        ("numeric(3,-2)", decimal("12300"), "12300"),
        ("bit(3)", bits(3, &[0b1010_0000]), "101"),
        ("bit varying", bits(9, &[0b1000_0000, 0b1000_0000]), "100000001"),
        ("bit varying(4)", bits(0, &[]), ""),
        ("oid", Value::Int(4_294_967_295), "4294967295"),
        ("name", text(&"x".repeat(63)), "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("\"char\"", text("c"), "c"),
        ("money", decimal("-1234567.89"), "-$1,234,567.89"),
        ("point", point(-0.1, 1e300), "(-0.1,1e+300)"),
        ("point", point(f64::NAN, f64::NEG_INFINITY), "(NaN,-Infinity)"),
        ("inet", text("10.1.2.3/8"), "10.1.2.3/8"),
        ("inet", text("::ffff:1.2.3.4"), "::ffff:1.2.3.4/128"),
        ("cidr", text("2001:db8::/32"), "2001:db8::/32"),
        ("macaddr", text("08:00:2b:01:02:03"), "08:00:2b:01:02:03"),
        ("macaddr8", text("08:00:2b:01:02:03:04:05"), "08:00:2b:01:02:03:04:05"),
        ("int4range", text("[1,10)"), "[1,10)"),
        ("numrange", text("(,12.50]"), "(,12.50]"),
        ("tstzrange", text("[\"2024-01-02 03:04:05+00\",)"), "[\"2024-01-02 03:04:05+00\",)"),
        ("int4multirange", text("{[1,3),[5,7)}"), "{[1,3),[5,7)}"),
        ("ltree", text("Top.Science.x_1"), "Top.Science.x_1"),
        ("citext", text("MiXed"), "MiXed"),
        ("tsvector", text("'b':2A 'it''s':1"), "'b':2A 'it''s':1"),
        ("tsquery", text("'a' & 'b'"), "'a' & 'b'"),
        (
            "xml",
            text("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>ü</a>"),
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>ü</a>",
        ),
        ("pg_lsn", text("16/B374D848"), "16/B374D848"),
        ("jsonpath", text("$.\"a\"[*]?(@ > 1)"), "$.\"a\"[*]?(@ > 1)"),
        ("isbn", text("978-0-393-04002-9"), "0-393-04002-X"),
        ("line", text("{1,-2,3}"), "{1,-2,3}"),
        ("circle", text("<(1,2),3>"), "<(1,2),3>"),
        ("box", text("(3,4),(1,2)"), "(3,4),(1,2)"),
        ("lseg", text("[(1,2),(3,4)]"), "[(1,2),(3,4)]"),
        ("path", text("((1,2),(3,4))"), "((1,2),(3,4))"),
        ("polygon", text("((1,2),(3,4),(5,0))"), "((1,2),(3,4),(5,0))"),
        ("\"e T\".mood", text("ha\"p\\py"), "ha\"p\\py"),
        ("\"e T\".positive", Value::Int(7), "7"),
        ("\"e T\".short", text("a\\\t"), "a\\\t"),
        ("\"e T\".price", decimal("1.50"), "1.50"),
        ("\"e T\".moods", texts(&["sad", "so, so"]), "{sad,\"so, so\"}"),
        (
            "hstore",
            Value::Map(vec![
                ("a b".into(), Some("\"\\=>,".into())),
                ("".into(), Some("".into())),
                ("NULL".into(), None),
            ]),
            "\"\"=>\"\", \"a b\"=>\"\\\"\\\\=>,\", \"NULL\"=>NULL",
        ),
        ("hstore", Value::Map(Vec::new()), ""),
        (
            "text[]",
            texts(&["", "NULL", "a\"b\\", "{x,y}", "ü\n\t"]),
            "{\"\",\"NULL\",\"a\\\"b\\\\\",\"{x,y}\",\"ü\n\t\"}",
        ),
        ("text[]", Value::Array(vec![Value::Null, text("null")]), "{NULL,\"null\"}"),
        ("int[]", Value::Array(Vec::new()), "{}"),
        (
            "int[]",
            Value::Array(vec![
                Value::Array(vec![Value::Int(1), Value::Null]),
                Value::Array(vec![Value::Int(3), Value::Int(-4)]),
            ]),
            "{{1,NULL},{3,-4}}",
        ),
        ("boolean[]", Value::Array(vec![Value::Bool(true), Value::Bool(false)]), "{t,f}"),
        ("numeric(6,2)[]", decimals(&["1.50", "-9999.99"]), "{1.50,-9999.99}"),
        ("varchar(3)[]", texts(&["abc", ""]), "{abc,\"\"}"),
        ("bytea[]", Value::Array(vec![Value::bytes(b"\\x\0")]), "{\"\\\\x5c7800\"}"),
        ("uuid[]", Value::Array(vec![Value::Uuid([7; 16])]), "{07070707-0707-0707-0707-070707070707}"),
        ("jsonb[]", Value::Array(vec![Value::Json("{\"a\": \"\\\\\"}".into())]), "{\"{\\\"a\\\": \\\"\\\\\\\\\\\"}\"}"),
        (
            "double precision[]",
            Value::Array(vec![
                Value::Float64(0.1),
                Value::Float64(f64::NAN),
                Value::Float64(-0.0),
                Value::Float64(5e-324),
            ]),
            "{0.1,NaN,-0,5e-324}",
        ),
        (
            "real[]",
            Value::Array(vec![Value::Float32(0.1), Value::Float32(f32::INFINITY), Value::Float32(f32::MAX)]),
            "{0.1,Infinity,3.4028235e+38}",
        ),
        (
            "date[]",
            Value::Array(vec![Value::Date(INFINITE_DAY.1), Value::Date(-800_000)]),
            "{-infinity,\"0222-09-04 BC\"}",
        ),
        (
            "timestamp(3)[]",
            Value::Array(vec![Value::Timestamp(-62_135_596_800_001_000)]),
            "{\"0001-12-31 23:59:59.999 BC\"}",
        ),
        (
            "timestamptz[]",
            Value::Array(vec![
                Value::TimestampTz(1),
                Value::TimestampTz(INFINITE_TIME.0),
                Value::TimestampTz(-62_135_596_800_000_001),
            ]),
            "{\"1970-01-01 00:00:00.000001+00\",infinity,\"0001-12-31 23:59:59.999999+00 BC\"}",
        ),
        ("timetz[]", Value::Array(vec![Value::TimeTz { micros: 1, offset: -5445 }]), "{00:00:00.000001-01:30:45}"),
        (
            "interval[]",
            Value::Array(vec![interval(-14, 3, -1), interval(14, 0, i64::MAX), interval(i32::MIN, i32::MAX, i64::MIN)]),
            "{\"-1 years -2 mons +3 days -00:00:00.000001\",\"1 year 2 mons 2562047788:00:54.775807\",\"-178956970 years -8 mons +2147483647 days -2562047788:00:54.775808\"}",
        ),
        ("bit(3)[]", Value::Array(vec![bits(3, &[0b1010_0000])]), "{101}"),
        ("point[]", Value::Array(vec![point(1.5, -2.0)]), "{\"(1.5,-2)\"}"),
        ("inet[]", texts(&["10.0.0.1"]), "{10.0.0.1}"),
        ("int4range[]", texts(&["[1,2)"]), "{\"[1,2)\"}"),
        ("\"e T\".mood[]", texts(&["ha\"p\\py", "so, so"]), "{\"ha\\\"p\\\\py\",\"so, so\"}"),
        ("\"e T\".short[]", texts(&["abc"]), "{abc}"),
        ("hstore[]", Value::Array(vec![Value::Map(vec![("a".into(), None)])]), "{\"\\\"a\\\"=>NULL\"}"),
    ]
}

/// What the server shows instead, by type; empty where all is as it should be.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare(&mut self, native: &str, how: &str, seen: Result<String, Failure>, expected: &str) {
        match seen {
            Ok(seen) if seen == expected => {}
            Ok(seen) => self.0.push(format!("{native} {how}: {seen} and not {expected}")),
            Err(failure) => self.0.push(format!("{native} {how}: {failure}")),
        }
    }
}

/// One row with id 1 and such values behind it.
fn one_row(table: &Arc<Table>, values: Vec<Value>) -> Plan {
    let values: Vec<Value> = std::iter::once(Value::Int(1)).chain(values).collect();
    let group = UpsertGroup { columns: (0..values.len()).collect(), rows: vec![Upsert { token: token(1), values }] };
    plan(vec![TablePlan { upserts: vec![group], ..TablePlan::new(Arc::clone(table)) }])
}

/// Each type in a table of its own (in binary where there is a writer), and all in one (as text): the server shows the value, NULL
/// stays NULL, deletes do not trip over the type, and an update that carries the column alone writes the same.
#[tokio::test]
async fn every_type_is_shown_as_it_was_written() {
    let mut s = session().await;
    types(&mut s).await;
    let cases = shown();
    let mut differences = Differences::default();
    for (at, (native, value, expected)) in cases.iter().enumerate() {
        let t = make(&mut s, "e_one", &format!("id bigint primary key, v {native}, _lastword_token bytea"), HARD).await;
        let nullable = !native.ends_with("positive");
        let mut plan = one_row(&t, vec![value.clone()]);
        if nullable {
            let null = Upsert { token: token(1), values: vec![Value::Int(2), Value::Null] };
            plan.tables[0].upserts[0].rows.push(null);
        }
        plan.tables[0].deletes.push(Delete { token: token(1), key: vec![Value::Int(3)] });
        let applied = s.apply(&plan).await.map(|_| ());
        let seen = match applied {
            Ok(()) => Ok(show(&mut s, &format!("select v::text from e_one order by id -- {at}")).await),
            Err(failure) => Err(failure),
        };
        let both = if nullable { format!("{expected};-") } else { (*expected).to_owned() };
        differences.compare(native, &format!("alone ({at})"), seen, &both);
        run(&mut s, if nullable { "update e_one set v = null" } else { "update e_one set v = 1" }).await;
        let text = crate::core::dialect::partial::PartialText::new(Dialect::Postgres, &t);
        let params = [value.clone(), Value::bytes(token(2).as_bytes()), Value::Int(1)];
        let seen = match s.execute(&text.update(&[1]).expect("a statement"), &params).await {
            Ok(_) => Ok(show(&mut s, &format!("select v::text from e_one where id = 1 -- {at}")).await),
            Err(failure) => Err(failure),
        };
        differences.compare(native, "as a parameter", seen, expected);
    }
    let columns: String = cases.iter().enumerate().map(|(at, (native, _, _))| format!("v{at} {native}, ")).collect();
    let t = make(&mut s, "e_all", &format!("id bigint primary key, {columns}_lastword_token bytea"), HARD).await;
    let values = cases.iter().map(|(_, value, _)| value.clone()).collect();
    match s.apply(&one_row(&t, values)).await {
        Err(failure) => differences.0.push(format!("all: {failure}")),
        Ok(_) => {
            for (at, (native, _, expected)) in cases.iter().enumerate() {
                let seen = show(&mut s, &format!("select v{at}::text from e_all")).await;
                differences.compare(native, "as text", Ok(seen), expected);
            }
        }
    }
    assert!(differences.0.is_empty(), "{}", differences.0.join("\n"));
}

/// A made column is understood when the table is described, and takes what the source can send.
#[tokio::test]
async fn made_columns_are_understood() {
    let mut s = session().await;
    types(&mut s).await;
    let found = s.query(include_str!("../../../../sql/postgres/extension_types.sql"), &[]).await.expect("types");
    let name = |row: &Vec<Value>, at: usize| row[at].as_text().expect("text").to_owned();
    let server = Server { types: found.iter().map(|row| (name(row, 0), name(row, 1))).collect(), ..Server::default() };
    assert!(["citext", "hstore", "ltree"].iter().all(|name| server.types.contains_key(*name)), "{server:?}");
    let (list, shape) = (|element| WireType::Array(Box::new(element)), WireType::Geometry);
    let kinds = [
        (WireType::Interval, ""),
        (WireType::ZonedTime, ""),
        (WireType::Xml, ""),
        (WireType::Text, "INET"),
        (WireType::Text, "DATEMULTIRANGE"),
        (WireType::Text, "CITEXT"),
        (WireType::Bits { length: Some(3) }, "BIT"),
        (WireType::Decimal { scale: -2, precision: Some(5) }, ""),
        (shape(wire::Geometry::Point), ""),
        (shape(wire::Geometry::Geography), ""),
        (WireType::Circle, ""),
        (WireType::Line, ""),
        (WireType::Ltree, ""),
        (WireType::Tsvector, ""),
        (WireType::Map, ""),
        (WireType::Vector { double: true }, ""),
        (WireType::SparseVector, ""),
        (list(WireType::Text), "_CITEXT"),
        (list(list(WireType::Decimal { scale: 2, precision: Some(6) })), ""),
        (list(WireType::Interval), ""),
    ];
    let field = |(at, (kind, declared)): (usize, (WireType, &str))| wire::Field {
        declared: Some(wire::Declared { kind: declared.to_owned(), length: None, scale: None }),
        ..wire::Field::new(format!("v{at}"), kind, true)
    };
    let fields = kinds.into_iter().enumerate().map(field);
    let spec = wire::TableSpec {
        name: TableName::new(Some("public"), "e_made"),
        fields: std::iter::once(wire::Field::new("id", WireType::Text, false)).chain(fields).collect(),
        key: vec!["id".to_owned()],
        contract: Contract::FinalState,
        delete: DeleteMode::Hard,
        token_storage: TokenStorage::Column,
    };
    run(&mut s, "drop table if exists e_made").await;
    run(&mut s, &ddl::create_table(Dialect::Postgres, &spec, &server).expect("a statement")).await;
    let shape = s.describe(&spec.name).await.expect("described").expect("a table");
    let strange: Vec<&str> = shape
        .columns
        .iter()
        .filter(|column| column.kind == crate::core::table::ColumnType::Unsupported)
        .map(|column| column.native.as_str())
        .collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert_eq!(shape.columns[0].wide_equality, None);
}

/// What an explicit cast, or the type itself, would round, cut or pad without a word is refused, and nothing is written.
#[tokio::test]
async fn nothing_is_rounded_cut_or_padded() {
    let mut s = session().await;
    types(&mut s).await;
    let mut taken = Vec::new();
    let nested = |items: Vec<Vec<Value>>| Value::Array(items.into_iter().map(Value::Array).collect());
    for (native, value) in [
        ("bit(3)", bits(4, &[0b1010_0000])),
        ("bit(3)", bits(2, &[0b1000_0000])),
        ("bit varying(3)", bits(4, &[0b1010_0000])),
        ("bit(3)[]", Value::Array(vec![bits(4, &[0b1010_0000])])),
        ("bit varying(3)[]", Value::Array(vec![bits(4, &[0b1010_0000])])),
        ("varchar(3)", text("abcd")),
        ("varchar(3)[]", texts(&["abcd"])),
        ("\"e T\".short", text("abcd")),
        ("\"e T\".short[]", texts(&["abcd"])),
        ("char(3)[]", texts(&["abcd"])),
        ("name", text(&"ü".repeat(32))),
        ("name[]", texts(&[&"x".repeat(64)])),
        ("\"char\"", text("ab")),
        ("\"char\"[]", texts(&["ab"])),
        ("numeric(6,2)", decimal("1.234")),
        ("numeric(6,2)", decimal("Infinity")),
        ("numeric(6,2)[]", decimals(&["1.234"])),
        ("numeric(6,2)[]", decimals(&["12345.6"])),
        ("numeric(3,-2)[]", decimals(&["12345"])),
        ("\"e T\".price[]", decimals(&["1.234"])),
        ("timestamp(2)[]", Value::Array(vec![Value::Timestamp(1)])),
        ("timestamptz(2)[]", Value::Array(vec![Value::TimestampTz(1)])),
        ("time(0)[]", Value::Array(vec![Value::Time(1)])),
        ("timetz(0)[]", Value::Array(vec![Value::TimeTz { micros: 1, offset: 0 }])),
        ("interval(2)[]", Value::Array(vec![interval(0, 0, 1)])),
        ("smallint[]", Value::Array(vec![Value::Int(40_000)])),
        ("real[]", Value::Array(vec![Value::Float64(0.1)])),
        ("\"e T\".price", decimal("1.234")),
        ("\"e T\".price", decimal("12345.67")),
        ("\"e T\".positive", Value::Int(0)),
        ("\"e T\".positive", Value::Null),
        ("\"e T\".mood", text("glad")),
        ("money", decimal("1.234")),
        ("interval(2)", interval(0, 0, 1)),
        ("interval", interval(i32::MAX, i32::MAX, i64::MAX)),
        ("timetz(2)", Value::TimeTz { micros: 1, offset: 0 }),
        ("timetz", Value::TimeTz { micros: 0, offset: 57_600 }),
        ("time(2)", Value::Time(1)),
        ("timestamp(2)", Value::Timestamp(1)),
        ("date", Value::Date(INFINITE_DAY.0 - 1)),
        ("hstore", Value::Map(vec![("a".into(), None), ("a".into(), Some("b".into()))])),
        ("int[]", nested(vec![vec![Value::Int(1)], vec![Value::Int(1), Value::Int(2)]])),
        ("int[]", nested(vec![Vec::new(), Vec::new()])),
        ("int[]", Value::Array(vec![text("x")])),
        ("int[]", Value::Int(1)),
        ("inet", text("10.0.0.300")),
        ("cidr", text("10.0.0.1/8")),
        ("text[]", texts(&["a\0b"])),
        ("point", Value::Geometry { srid: None, wkb: Bytes::from_static(&[1, 2, 0, 0, 0, 0, 0, 0, 0]) }),
    ] {
        let t =
            make(&mut s, "e_none", &format!("id bigint primary key, v {native}, _lastword_token bytea"), HARD).await;
        match s.apply(&one_row(&t, vec![value])).await {
            Ok(_) => taken.push(format!("{native}: {}", show(&mut s, "select v::text from e_none").await)),
            Err(failure) => assert_eq!(failure.class, crate::core::failure::Class::Record, "{native}: {failure}"),
        }
    }
    assert!(taken.is_empty(), "{}", taken.join("\n"));
}
