//! The wire forms and the conversion of cells, on hand-made events and on every captured record.

use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::*;
use crate::core::event::{Control, Decoded, Op, SourcePosition};
use crate::core::record::{Headers, Payload, Record, SharedHead, TopicPartition};
use crate::core::table::ColumnType;
use crate::core::value::Value;
use crate::core::wire::{Field, Unit, WireType};

const PLAIN: &str = r#"{"before":null,"after":{"id":7,"amt":"MDk="},"source":{"connector":"postgresql","name":"shop","ts_ms":5,"snapshot":"false","db":"app","sequence":"[\"9\",\"10\"]","schema":"public","table":"item"},"op":"c","ts_ms":6}"#;

fn wrapped(payload: &str) -> String {
    let row = r#"{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"},{"type":"bytes","optional":true,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2"},"field":"amt"}],"optional":true,"field":"F"}"#;
    let fields = format!("{},{}", row.replace("\"F\"", "\"before\""), row.replace("\"F\"", "\"after\""));
    format!(r#"{{"schema":{{"type":"struct","fields":[{fields}],"optional":false}},"payload":{payload}}}"#)
}

fn op_of(decoder: &mut TopicDecoder, value: &str) -> Result<Op, &'static str> {
    match decoder.decode("t", None, Some(value.as_bytes())) {
        Ok(Decoded::Change(event)) => Ok(event.op),
        Ok(_) => Err("no change"),
        Err(why) => Err(why.reason),
    }
}

#[test]
fn a_known_schema_part_leads_to_the_same_event() {
    let mut decoder = TopicDecoder::default();
    let text = wrapped(PLAIN);
    for _ in 0..2 {
        let Ok(Decoded::Change(event)) = decoder.decode("t", None, Some(text.as_bytes())) else { panic!("a change") };
        let row = event.after.expect("after");
        assert_eq!(row.schema.fields[1].kind, WireType::Decimal { scale: 2, precision: None });
        assert_eq!(row.cells[1].get(), "\"MDk=\"");
        assert_eq!((event.table.to_string(), event.source.as_str()), ("public.item".to_owned(), "postgresql shop"));
        assert_eq!(event.source_time_ms, Some(5));
    }
    // What stands behind the payload is not swallowed by the short way.
    let longer = format!("{},\"more\":1}}", &text[..text.len() - 1]);
    assert!(op_of(&mut decoder, &longer).is_err());
}

#[test]
fn a_row_may_have_columns_called_schema_and_payload() {
    let value = PLAIN.replace(r#"{"id":7,"amt":"MDk="}"#, r#"{"schema":1,"payload":2}"#);
    assert_eq!(op_of(&mut TopicDecoder::default(), &value), Ok(Op::Upsert));
}

#[test]
fn operations_and_forms() {
    let mut decoder = TopicDecoder::default();
    for (op, expected) in [
        ("c", Ok(Op::Upsert)),
        ("u", Ok(Op::Upsert)),
        ("r", Ok(Op::Upsert)),
        ("d", Ok(Op::Delete)),
        ("t", Ok(Op::Truncate)),
        ("m", Err("no change")),
        ("x", Err("undecodable")),
    ] {
        assert_eq!(op_of(&mut decoder, &PLAIN.replace("\"op\":\"c\"", &format!("\"op\":\"{op}\""))), expected, "{op}");
    }
    let record = r#"{"source_table":"public.item","op":"update","key":{"id":7},"before":null,"after":{"id":7},"source_position":{"lsn":"0/16B6A90","tx_id":5}}"#;
    let Ok(Decoded::Change(event)) = decoder.decode("t", None, Some(record.as_bytes())) else { panic!("a change") };
    assert_eq!((event.op, event.position), (Op::Upsert, SourcePosition::Lsn(0x16B_6A90)));
    assert_eq!(event.key.expect("key").cells[0].get(), "7");
    assert_eq!(op_of(&mut decoder, &record.replace("0/16B6A90", "16B6A90")), Err("missing_position"));
}

#[test]
fn null_values_come_in_three_ways() {
    let mut decoder = TopicDecoder::default();
    let with_schema = wrapped("null");
    for value in [None, Some("null"), Some(with_schema.as_str())] {
        assert!(matches!(decoder.decode("t", None, value.map(str::as_bytes)), Ok(Decoded::Null)), "{value:?}");
    }
}

#[test]
fn what_is_no_change_event_is_refused_without_its_content() {
    let mut decoder = TopicDecoder::default();
    for value in [
        "",
        "{",
        "7",
        "[]",
        "\"secret\"",
        "{\"secret\":1}",
        "\u{0}\u{0}",
        "{\"op\":\"c\"}",
        r#"{"op":"c","source":{"connector":"postgresql","table":"t","sequence":"[null,\"1\"]"},"after":{"secret":1,"secret":2}}"#,
        r#"{"op":"c","op":"d","source":{}}"#,
        r#"{"op":"u","source":{"connector":"postgresql","table":"t","sequence":"[null,\"1\"]"},"after":null}"#,
    ] {
        let why = decoder.decode("t", None, Some(value.as_bytes())).map(|_| ()).expect_err(value);
        assert_eq!(why.reason, "undecodable", "{value}");
        assert!(!why.detail.contains("secret"), "{why}");
    }
}

fn fit(json: &str, wire: WireType, column: ColumnType, rules: PlainRules) -> Result<Value, Misfit> {
    let owner = Bytes::from(json.to_owned());
    let cell: &RawValue = serde_json::from_slice(&owner).expect("json");
    fit_cell(cell, &Field::new("c", wire, true), &column, &CellRules { plain: rules, ..CellRules::default() }, &owner)
}

fn typed(json: &str, wire: WireType, column: ColumnType) -> Result<Value, Misfit> {
    fit(json, wire, column, PlainRules::default())
}

fn int(bits: u8) -> ColumnType {
    ColumnType::Int { bits, unsigned: false }
}

fn text() -> ColumnType {
    ColumnType::Text { max_chars: Some(5) }
}

#[test]
fn values_are_exact_or_refused() {
    let decimal = |scale| WireType::Decimal { scale, precision: None };
    let numeric = |precision, scale| ColumnType::Decimal { limit: Some((precision, scale)) };
    let stamp = |digits| ColumnType::Timestamp { digits };
    for (json, wire, column, expected) in [
        ("9007199254740993", WireType::Int { bits: 64 }, int(64), Some(Value::Int(9_007_199_254_740_993))),
        ("300", WireType::Int { bits: 16 }, int(8), None),
        ("40000", WireType::Int { bits: 16 }, int(32), None),
        ("-1", WireType::Int { bits: 64 }, ColumnType::Int { bits: 64, unsigned: true }, None),
        ("true", WireType::Bool, int(8), Some(Value::Int(1))),
        ("1", WireType::Int { bits: 16 }, ColumnType::Bool, Some(Value::Bool(true))),
        ("2", WireType::Int { bits: 16 }, ColumnType::Bool, None),
        ("\"MDk=\"", decimal(2), numeric(5, 2), Some(Value::Decimal("123.45".into()))),
        ("\"MDk=\"", decimal(2), numeric(5, 1), None),
        ("\"MDk=\"", decimal(2), numeric(4, 2), None),
        ("\"MDk=\"", decimal(2), ColumnType::Float64, None),
        ("\"ZA==\"", decimal(2), int(32), Some(Value::Int(1))),
        ("\"Infinity\"", WireType::Float64, ColumnType::Float64, Some(Value::Float64(f64::INFINITY))),
        ("0.1", WireType::Float64, ColumnType::Float32, None),
        ("0.5", WireType::Float64, ColumnType::Float32, Some(Value::Float32(0.5))),
        ("19724", WireType::Date, ColumnType::Date, Some(Value::Date(19_724))),
        ("19724", WireType::Date, ColumnType::Text { max_chars: None }, Some(Value::text("2024-01-02"))),
        ("-2147472692", WireType::Date, ColumnType::Date, Some(Value::Date(i32::MAX))),
        ("-622191234", WireType::Date, ColumnType::Date, None),
        ("1500", WireType::Timestamp(Unit::Millis), stamp(3), Some(Value::Timestamp(1_500_000))),
        ("1500001", WireType::Timestamp(Unit::Micros), stamp(3), None),
        ("1500001", WireType::Timestamp(Unit::Nanos), stamp(6), None),
        ("9223372036825200000", WireType::Timestamp(Unit::Micros), stamp(6), Some(Value::Timestamp(i64::MAX))),
        ("1", WireType::Timestamp(Unit::Micros), ColumnType::TimestampTz { digits: 6 }, None),
        (
            "\"2024-01-02T00:00:00Z\"",
            WireType::ZonedTimestamp,
            ColumnType::TimestampTz { digits: 6 },
            Some(Value::TimestampTz(1_704_153_600_000_000)),
        ),
        ("\"2024-01-02T00:00:00\"", WireType::ZonedTimestamp, ColumnType::TimestampTz { digits: 6 }, None),
        ("\"abcde\"", WireType::Text, text(), Some(Value::text("abcde"))),
        ("\"äöü€😀\"", WireType::Text, text(), Some(Value::text("äöü€😀"))),
        ("\"abcdef\"", WireType::Text, text(), None),
        ("\"a\\nb\"", WireType::Text, text(), Some(Value::text("a\nb"))),
        ("\"AQI=\"", WireType::Bytes, ColumnType::Bytes { max_bytes: Some(2) }, Some(Value::bytes(&[1, 2]))),
        ("\"AQID\"", WireType::Bytes, ColumnType::Bytes { max_bytes: Some(2) }, None),
        ("\"{\\\"a\\\":1}\"", WireType::Json, ColumnType::Json, Some(Value::Json("{\"a\":1}".into()))),
        ("\"{a}\"", WireType::Json, ColumnType::Json, None),
        ("null", WireType::Text, text(), Some(Value::Null)),
    ] {
        assert_eq!(typed(json, wire.clone(), column.clone()).ok(), expected, "{json} as {wire} into {column:?}");
    }
}

#[test]
fn placeholders_are_never_data() {
    let text = ColumnType::Text { max_chars: None };
    let bytes = ColumnType::Bytes { max_bytes: None };
    for (json, wire, column) in [
        ("\"__debezium_unavailable_value\"", WireType::Text, text.clone()),
        ("\"__debezium_unavailable_value\"", WireType::Json, ColumnType::Json),
        ("\"__debezium_unavailable_value\"", WireType::Untyped, text),
        ("\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"", WireType::Bytes, bytes.clone()),
        ("\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"", WireType::Untyped, bytes),
    ] {
        assert_eq!(typed(json, wire, column), Err(Misfit::Placeholder), "{json}");
    }
}

#[test]
fn what_a_column_alone_cannot_tell_has_to_be_said() {
    let numeric = ColumnType::Decimal { limit: Some((6, 2)) };
    let stamp = ColumnType::Timestamp { digits: 6 };
    let says = |decimal, time| PlainRules { decimal, time };
    let untyped = |json: &str, column: &ColumnType, rules| fit(json, WireType::Untyped, column.clone(), rules);
    assert!(matches!(untyped("\"1234\"", &numeric, says(None, None)), Err(Misfit::Undecided(_))));
    assert_eq!(
        untyped("\"MDk=\"", &numeric, says(Some(PlainDecimal::Base64), None)),
        Ok(Value::Decimal("123.45".into()))
    );
    assert_eq!(
        untyped("\"1234\"", &numeric, says(Some(PlainDecimal::Text), None)),
        Ok(Value::Decimal("1234.00".into()))
    );
    assert_eq!(untyped("12.5", &numeric, says(None, None)), Ok(Value::Decimal("12.50".into())));
    assert_eq!(untyped("\"-12\"", &int(32), says(None, None)), Ok(Value::Int(-12)));
    assert!(untyped("\"1.5\"", &int(32), says(None, None)).is_err());
    assert!(matches!(untyped("1", &stamp, says(None, None)), Err(Misfit::Undecided(_))));
    assert_eq!(untyped("1", &stamp, says(None, Some(PlainTime::Adaptive))), Ok(Value::Timestamp(1)));
    assert_eq!(untyped("1", &stamp, says(None, Some(PlainTime::Millis))), Ok(Value::Timestamp(1000)));
    let short = ColumnType::TimeSpan { digits: 3 };
    assert_eq!(untyped("-1", &short, says(None, Some(PlainTime::Adaptive))), Ok(Value::Time(-1000)));
    assert_eq!(untyped("-1000", &short, says(None, Some(PlainTime::AdaptiveTimeMicros))), Ok(Value::Time(-1000)));
    let short = ColumnType::Timestamp { digits: 3 };
    assert_eq!(untyped("1", &short, says(None, Some(PlainTime::AdaptiveTimeMicros))), Ok(Value::Timestamp(1000)));
}

#[derive(Deserialize)]
struct Captured {
    topic: String,
    key: Option<String>,
    payload: Option<String>,
}

fn captures(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("captures") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            captures(&path, found);
        } else if path.to_string_lossy().contains(".jsonl") {
            found.push(path);
        }
    }
}

/// Every record that real connectors wrote is understood: as a change, a null, or a control record of its topic.
#[test]
fn every_captured_record_is_understood() {
    let mut files = Vec::new();
    captures(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures"), &mut files);
    assert!(files.len() > 60, "{} files", files.len());
    let (mut changes, mut controls, mut behind_head) = (0, 0, 0);
    for file in files {
        let bytes = std::fs::read(&file).expect("a capture");
        let mut text = String::new();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("gzip");
        } else {
            text = String::from_utf8(bytes).expect("UTF-8");
        }
        let mut decoders: std::collections::HashMap<String, TopicDecoder> = Default::default();
        let mut heads = SharedHead::default();
        for line in text.lines() {
            let record: Captured = serde_json::from_str(line).expect("a line");
            let decoder = decoders.entry(record.topic.clone()).or_default();
            let (key, value) = (record.key.as_deref().map(str::as_bytes), record.payload.as_deref().map(str::as_bytes));
            behind_head += u32::from(same_behind_its_head(&mut heads, decoder, &record.topic, key, value));
            match decoder.decode(&record.topic, key, value) {
                Ok(Decoded::Change(event)) => {
                    // A bare LSN, which is all that these have, is not the order of commits.
                    let ordered = !file.to_string_lossy().contains("postgresql/flat");
                    assert_eq!(!event.position.is_none(), ordered, "{}", file.display());
                    changes += 1;
                }
                Ok(Decoded::Changes(_)) => panic!("several changes in {}", file.display()),
                Ok(Decoded::Null) => {}
                Ok(Decoded::Control(Control::Message)) => panic!("a message in {}", file.display()),
                Ok(Decoded::Control(_)) => {
                    let name = file.to_string_lossy();
                    assert!(name.contains("_topic"), "a control record in {name}");
                    controls += 1;
                }
                Err(why) => panic!("{}: {why}", file.display()),
            }
        }
    }
    assert!(changes > 10_000 && controls > 1_000, "{changes} changes, {controls} control records");
    assert!(behind_head > 5_000, "{behind_head} records were read from behind a shared head");
}

/// Invariant 6: a record whose schema is known and shared says the same as the whole record. Returns whether it was one.
fn same_behind_its_head(
    heads: &mut SharedHead,
    decoder: &mut TopicDecoder,
    topic: &str,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> bool {
    let Some(value) = value else { return false };
    let shared = heads.share(value);
    assert_eq!(shared.whole(), value);
    let record = record(topic, key, Some(shared), &[]);
    let opened = decoder.open(&record).expect("opened");
    if !opened.is_rest {
        return false;
    }
    let rest = format!("{:?}", decoder.read(topic, &opened));
    assert_eq!(rest, format!("{:?}", decoder.decode(topic, key, Some(value))));
    true
}

/// A record of a partition.
pub(super) fn record(
    topic: &str,
    key: Option<&[u8]>,
    value: Option<Payload>,
    headers: &[(&str, Option<&[u8]>)],
) -> Record {
    Record {
        at: TopicPartition::new(topic, 0),
        offset: 0,
        timestamp_ms: None,
        key: key.map(Bytes::copy_from_slice),
        value,
        headers: Headers::pack(headers.iter().copied()),
        framed: None,
    }
}

proptest! {
    /// Whatever the bytes: an answer, never a panic.
    #[test]
    fn no_bytes_panic(key in prop::collection::vec(any::<u8>(), 0..40), value in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = TopicDecoder::default();
        let _ = decoder.decode("t", Some(&key), Some(&value));
    }

    /// The same for events that are nearly right: one byte is another.
    #[test]
    fn no_torn_event_panics(at in 0usize..2000, byte in any::<u8>()) {
        let mut bytes = wrapped(PLAIN).into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let mut decoder = TopicDecoder::default();
        let _ = decoder.decode("t", None, Some(wrapped(PLAIN).as_bytes()));
        let _ = decoder.decode("t", None, Some(&bytes));
    }
}
