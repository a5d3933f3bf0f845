//! Types that records name, and values that are written as text: each is exact or no value of its type.

use super::super::super::tests::record;
use super::super::super::{CellRules, TopicDecoder, fit_cell};
use super::*;
use crate::core::event::{Control, Decoded, Op, RawEvent, SourcePosition};
use crate::core::table::ColumnType;
use crate::core::value::Value;

#[test]
fn names_and_numbers_of_types() {
    for (name, kind) in [
        ("int", Kind::Int(32)),
        ("tinyint(1)", Kind::Int(8)),
        ("INT(10) UNSIGNED", Kind::Int(64)),
        ("bigint unsigned", Kind::Unsigned),
        ("bigint(20)", Kind::Int(64)),
        ("decimal(10,2)", Kind::Decimal { precision: 10, scale: 2 }),
        ("decimal(10, 2) unsigned", Kind::Decimal { precision: 10, scale: 2 }),
        ("decimal(7)", Kind::Decimal { precision: 7, scale: 0 }),
        ("decimal", Kind::Decimal { precision: 10, scale: 0 }),
        ("decimal(a,b)", Kind::Unknown),
        ("decimal(10,99)", Kind::Unknown),
        ("datetime(3)", Kind::Timestamp),
        ("varchar(20)", Kind::Text),
        ("varbinary(16)", Kind::Latin1),
        ("enum('a,b','c')", Kind::Int(32)),
        ("set('a','b')", Kind::Unsigned),
        ("time", Kind::Unknown),
        ("bit(4)", Kind::Number),
        ("", Kind::Unknown),
        ("(", Kind::Unknown),
    ] {
        assert_eq!(Kind::of_name(name), kind, "{name}");
    }
    for (code, flags, kind) in [
        (3, 11, Kind::Int(32)),
        (3, 128, Kind::Int(64)),
        (8, 129, Kind::Unsigned),
        (1, 128, Kind::Int(32)),
        (15, 64, Kind::Text),
        (15, 65, Kind::Refused),
        (252, 64, Kind::TextInBase64),
        (252, 65, Kind::Base64),
        (246, 0, Kind::Number),
        (11, 0, Kind::Unknown),
        (255, 0, Kind::Unknown),
    ] {
        assert_eq!(Kind::of_code(code, flags), kind, "{code} {flags}");
    }
}

/// What a cell becomes in a column of its type.
fn value(kind: Kind, json: &str, column: &ColumnType) -> Result<Value, ()> {
    let cell = kind.cell(json).into_owned();
    let raw: &RawValue = serde_json::from_str(&cell).expect("JSON");
    let field = Field::new("c", kind.wire(), true);
    fit_cell(raw, &field, column, &CellRules::default(), &Default::default()).map_err(|_| ())
}

#[test]
fn values_are_exact_or_none() {
    let decimal = |text: &str| Ok(Value::Decimal(text.into()));
    let wide = ColumnType::Decimal { limit: None };
    let whole = ColumnType::Int { bits: 64, unsigned: false };
    let bits = ColumnType::Bits { length: Some(3), varying: false };
    let price = Kind::Decimal { precision: 10, scale: 2 };
    for (kind, json, column, expected) in [
        (
            Kind::Int(64),
            "\"-9223372036854775808\"",
            &ColumnType::Int { bits: 64, unsigned: false },
            Ok(Value::Int(i64::MIN)),
        ),
        (Kind::Unsigned, "\"18446744073709551615\"", &wide, decimal("18446744073709551615")),
        (Kind::Unsigned, "18446744073709551615", &wide, decimal("18446744073709551615")),
        (price, "\"12.30\"", &wide, decimal("12.30")),
        (price, "\"-0.01\"", &wide, decimal("-0.01")),
        (Kind::Double, "\"1.5\"", &ColumnType::Float64, Ok(Value::Float64(1.5))),
        (Kind::Date, "\"2024-02-29\"", &ColumnType::Date, Ok(Value::Date(19_782))),
        (
            Kind::Timestamp,
            "\"2024-02-29 01:02:03.000004\"",
            &ColumnType::Timestamp { digits: 6 },
            Ok(Value::Timestamp(1_709_168_523_000_004)),
        ),
        (
            Kind::Latin1,
            "\"\\u0000\u{ff}A&\"",
            &ColumnType::Bytes { max_bytes: None },
            Ok(Value::bytes(&[0, 255, 65, 38])),
        ),
        (Kind::TextInBase64, "\"5rWL\"", &ColumnType::Text { max_chars: None }, Ok(Value::text("测"))),
        (Kind::Number, "\"5\"", &bits, Ok(Value::Bits { length: 3, bytes: vec![0b1010_0000].into() })),
        (Kind::Int(64), "null", &wide, Ok(Value::Null)),
        // No value of the type, or of another time than it says.
        (Kind::Int(64), "\"\"", &whole, Err(())),
        (Kind::Int(64), "{}", &whole, Err(())),
        (Kind::Unsigned, "\"MDk=\"", &wide, Err(())),
        (price, "\"abcd\"", &wide, Err(())),
        (Kind::Double, "\"x\"", &ColumnType::Float64, Err(())),
        (Kind::Date, "\"0000-00-00\"", &ColumnType::Date, Err(())),
        (Kind::Date, "\"2024-02-30\"", &ColumnType::Date, Err(())),
        (Kind::Timestamp, "\"2024-02-29 01:02:03Z\"", &ColumnType::Timestamp { digits: 6 }, Err(())),
        (Kind::Latin1, "\"\u{100}\"", &ColumnType::Bytes { max_bytes: None }, Err(())),
        (Kind::TextInBase64, "\"/w==\"", &ColumnType::Text { max_chars: None }, Err(())),
        (Kind::TextInBase64, "\"?\"", &ColumnType::Text { max_chars: None }, Err(())),
    ] {
        assert_eq!(value(kind, json, column), expected, "{kind:?} {json}");
    }
}

fn with_lengths(parts: &[&str]) -> Vec<u8> {
    parts.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part.as_bytes()].concat()).collect()
}

fn texts(row: &Option<RawRow<'_>>) -> String {
    let cells = row.iter().flat_map(|row| row.schema.fields.iter().zip(&row.cells));
    cells.map(|(field, cell)| format!("{}={}:{}", field.name, cell.get(), field.kind)).collect::<Vec<_>>().join(" ")
}

/// What `see` finds in the record of these keys and values.
fn open<T>(keys: &[&str], values: &[&str], see: impl Fn(Decoded<'_>) -> T) -> Result<T, Rejection> {
    let key = [&1u64.to_be_bytes()[..], &with_lengths(keys)].concat();
    let record = record("feed", Some(&key), Some(with_lengths(values).into()), &[]);
    let mut decoder = TopicDecoder::default();
    let opened = decoder.open(&record)?;
    decoder.read("feed", &opened).map(see)
}

const ROW: &str = r#"{"ts":449000000000000001,"scm":"shop","tbl":"item","t":1}"#;
const INSERT: &str = r#"{"u":{"id":{"t":3,"h":true,"f":11,"v":7},"note":{"t":252,"f":64,"v":"Yg=="},"n":{"t":8,"f":192,"v":18446744073709551615}}}"#;

#[test]
fn the_open_protocol_has_several_events_in_a_record() {
    let moved = r#"{"u":{"id":{"t":3,"h":true,"f":11,"v":8}},"p":{"id":{"t":3,"h":true,"f":11,"v":7}}}"#;
    let delete = r#"{"d":{"id":{"t":3,"f":11,"v":8}}}"#;
    let see = |decoded: Decoded<'_>| {
        let events = match decoded {
            Decoded::Changes(events) => events,
            Decoded::Change(event) => vec![event],
            other => panic!("{other:?}"),
        };
        let seen = |event: &RawEvent<'_>| (event.op, texts(&event.key), texts(&event.after), event.position.clone());
        events.iter().map(seen).collect::<Vec<_>>()
    };
    let at = || SourcePosition::Tso(449_000_000_000_000_001);
    let key = |id: u8| format!("id={id}:untyped");
    let row = "id=7:int32 n=18446744073709551615:decimal(20,0) note=\"b\":text".to_owned();
    assert_eq!(
        open(&[ROW, ROW, ROW], &[INSERT, moved, delete], see).expect("events"),
        [
            (Op::Upsert, key(7), row, at()),
            (Op::Delete, key(7), String::new(), at()),
            (Op::Upsert, key(8), "id=8:int32".to_owned(), at()),
            (Op::Delete, key(8), String::new(), at()),
        ]
    );
    let control =
        |decoded: Decoded<'_>| matches!(decoded, Decoded::Control(Control::Heartbeat | Control::SchemaChange));
    let resolved = r#"{"ts":449000000000000001,"t":3}"#;
    assert_eq!(open(&[resolved], &[""], control), Ok(true));
    assert_eq!(open(&[resolved], &[], control), Ok(true));
    let ddl = r#"{"ts":449000000000000001,"scm":"shop","tbl":"item","t":2}"#;
    assert_eq!(open(&[ddl], &[r#"{"q":"drop table item","t":4}"#], control), Ok(true));
}

#[test]
fn an_open_protocol_record_that_lacks_something_is_refused() {
    for (keys, values) in [
        (vec![ROW], vec![]),
        (vec![ROW], vec!["{}"]),
        (vec![ROW], vec!["[1]"]),
        (vec![r#"{"ts":1,"t":1}"#], vec![INSERT]),
        (vec![r#"{"ts":1,"scm":"a","tbl":"b","t":9}"#], vec![INSERT]),
        (vec![r#"{"scm":"a","tbl":"b","t":1}"#], vec![INSERT]),
        (vec![r#"{"ts":1,"scm":"a","tbl":"b","t":1,"ohk":true}"#], vec![INSERT]),
        (vec![r#"{"ts":1,"scm":"a","tbl":"b","t":1,"ccl":"s3://b/c"}"#], vec![INSERT]),
    ] {
        let why = open(&keys, &values, |_| ()).expect_err("refused");
        assert!(matches!(why.reason, "undecodable" | "missing_position"), "{why}");
    }
    let key = [&1u64.to_be_bytes()[..], &u64::MAX.to_be_bytes(), b"{}"].concat();
    let record = record("feed", Some(&key), None, &[]);
    let mut decoder = TopicDecoder::default();
    let opened = decoder.open(&record).expect("opened");
    assert!(decoder.read("feed", &opened).is_err());
}
