//! Keys of every kind, and flattened rows whose fields come as headers.

use bytes::Bytes;

use super::super::tests::record;
use super::super::{Form, KeyFormat, TopicDecoder, TopicRules, says_null};
use crate::core::event::{Decoded, Op, RawEvent, RawRow, Rejection, SourcePosition};
use crate::core::record::{Payload, SharedHead};
use crate::core::token::Phase;
use crate::core::wire::WireType;

const DELETE: &str = r#"{"op":"d","before":null,"after":null,"source":{"connector":"postgresql","name":"s","schema":"p","table":"t","sequence":"[null,\"1\"]"}}"#;

fn rules(key: &[&str], key_format: Option<KeyFormat>) -> TopicRules {
    TopicRules { key_columns: key.iter().map(|name| (*name).to_owned()).collect(), key_format, ..Default::default() }
}

fn texts(row: &Option<RawRow<'_>>) -> Option<String> {
    let row = row.as_ref()?;
    let cells = row.schema.fields.iter().zip(&row.cells);
    Some(cells.map(|(field, cell)| format!("{}={}", field.name, cell.get())).collect::<Vec<_>>().join(" "))
}

/// Key, value and headers of a record.
type Parts<'p> = (Option<&'p [u8]>, Option<&'p str>, &'p [(&'p str, Option<&'p [u8]>)]);

/// What `see` finds in the change that a record is.
fn seen<T>(
    rules: TopicRules,
    (key, value, headers): Parts<'_>,
    see: impl Fn(&RawEvent<'_>) -> T,
) -> Result<Option<T>, Rejection> {
    let mut decoder = TopicDecoder::new(rules);
    let value = value.map(|value| Payload::from(Bytes::copy_from_slice(value.as_bytes())));
    let record = record("s.p.t", key, value, headers);
    let opened = decoder.open(&record)?;
    match decoder.read("s.p.t", &opened)? {
        Decoded::Change(event) => Ok(Some(see(&event))),
        Decoded::Null => Ok(None),
        other => panic!("{other:?}"),
    }
}

fn key_of(rules: TopicRules, key: &[u8], value: &str) -> Result<Option<String>, Rejection> {
    let see = |event: &RawEvent<'_>| texts(&event.key);
    seen(rules, (Some(key), Some(value), &[]), see).map(|seen| seen.expect("a change"))
}

#[test]
fn keys_of_every_kind_name_their_columns_or_are_named() {
    let typed = r#"{"schema":{"type":"int32","optional":false},"payload":7}"#;
    let long = 7i64.to_be_bytes();
    for (key, names, format, expected) in [
        (&br#"{"id":7}"#[..], &[][..], None, Some("id=7")),
        (br#"{"id":7}"#, &["x"], None, Some("id=7")),
        (b"7", &["id"], None, Some("id=7")),
        (b" 7", &["id"], None, Some("id=7")),
        (b"\"7\"", &["id"], None, Some("id=\"7\"")),
        (typed.as_bytes(), &["id"], None, Some("id=7")),
        (b"[7,\"a\"]", &["id", "b"], None, Some("id=7 b=\"a\"")),
        (b"A-7", &["id"], None, Some("id=\"A-7\"")),
        (b"007", &["id"], None, Some("id=\"007\"")),
        (b"", &["id"], None, Some("id=\"\"")),
        (b"7", &["id"], Some(KeyFormat::Text), Some("id=\"7\"")),
        (b"[7]", &["id"], Some(KeyFormat::Text), Some("id=\"[7]\"")),
        (&long, &["id"], Some(KeyFormat::Long), Some("id=7")),
        // Nothing names them, or nothing is to be looked at.
        (b"7", &[], None, None),
        (b"A-7", &[], None, None),
        (b"null", &["id"], None, None),
        (br#"{"id":7}"#, &["id"], Some(KeyFormat::None), None),
        (b"\xff", &["id"], Some(KeyFormat::None), None),
    ] {
        let read = key_of(rules(names, format), key, DELETE).expect("a change");
        assert_eq!(read.as_deref(), expected, "{:?}", String::from_utf8_lossy(key));
    }
    let see = |event: &RawEvent<'_>| event.key.as_ref().map(|key| key.schema.fields[0].kind.clone());
    let kind = seen(rules(&["id"], None), (Some(typed.as_bytes()), Some(DELETE), &[]), see);
    assert_eq!(kind, Ok(Some(Some(WireType::Int { bits: 32 }))));
}

#[test]
fn keys_that_cannot_be_the_rows_are_refused() {
    for (key, names, format, reason) in [
        (&b"[7]"[..], &["id", "b"][..], None, "no_key"),
        (b"7", &["id", "b"], None, "no_key"),
        (b"[7", &["id"], None, "undecodable"),
        (b"{\"id\":7", &["id"], None, "undecodable"),
        (b"\xff\xfe", &["id"], None, "undecodable"),
        (b"\xff", &["id"], Some(KeyFormat::Text), "undecodable"),
        (b"A-7", &["id"], Some(KeyFormat::Json), "undecodable"),
        (b"7", &["id"], Some(KeyFormat::Long), "undecodable"),
        (b"\x00\x00\x00\x00\x01\x0e", &["id"], None, "undecodable"),
    ] {
        let why = key_of(rules(names, format), key, DELETE).expect_err("refused");
        assert_eq!(why.reason, reason, "{:?}: {why}", String::from_utf8_lossy(key));
    }
}

/// A key that is another thing than `key` says would delete rows that it does not mean.
#[test]
fn a_key_without_names_must_be_its_rows() {
    let create = DELETE.replace(r#""op":"d""#, r#""op":"c""#).replace(r#""after":null"#, r#""after":{"id":7,"b":"x"}"#);
    for key in ["7", "\"7\"", "[7]"] {
        assert!(key_of(rules(&["id"], None), key.as_bytes(), &create).is_ok(), "{key}");
    }
    let why = key_of(rules(&["id"], None), b"tenant-7", &create).expect_err("another key");
    assert!(why.stops_table && why.detail.contains("key_format"), "{why}");
    assert_eq!(key_of(rules(&["id"], Some(KeyFormat::None)), b"tenant-7", &create), Ok(None));
    let flat = r#"{"id":7,"__op":"c"}"#;
    assert!(key_of(rules(&["id"], None), b"8", flat).is_err());
    assert_eq!(key_of(rules(&["id"], None), b"7", flat), Ok(Some("id=7".to_owned())));
}

#[test]
fn a_null_says_null_however_it_is_written() {
    let with_schema =
        |payload: &str| format!(r#"{{"schema":{{"type":"struct","optional":true}},"payload":{payload}}}"#);
    let mut heads = SharedHead::default();
    for (value, expected) in [
        ("null".to_owned(), true),
        (" null\n".to_owned(), true),
        (with_schema("null"), true),
        (with_schema(r#"{"a":null}"#), false),
        (r#"{"x":1,"payload":null}"#.to_owned(), false),
        ("nul".to_owned(), false),
    ] {
        for payload in [Payload::from(value.clone()), heads.share(value.as_bytes()), heads.share(value.as_bytes())] {
            assert_eq!(says_null(Some(&payload)), expected, "{value}");
        }
    }
    assert!(says_null(None));
}

const IN_HEADERS: [(&str, Option<&[u8]>); 4] = [
    ("__op", Some(b"u")),
    ("__source_sequence", Some(br#"["9","10"]"#)),
    ("__debezium.context.taskId", Some(b"0")),
    ("other", None),
];

#[test]
fn fields_of_a_flat_row_may_be_headers() {
    let see = |event: &RawEvent<'_>| (event.op, texts(&event.after), event.position.clone());
    let position = SourcePosition::Postgres { commit: Some(9), lsn: 10, phase: Phase::Stream };
    let expected = (Op::Upsert, Some("id=7 op=3".to_owned()), position.clone());
    let value = r#"{"id":7,"op":3}"#;
    assert_eq!(seen(TopicRules::default(), (None, Some(value), &IN_HEADERS), see), Ok(Some(expected.clone())));
    // As the JSON converter writes them.
    let json: Vec<(&str, Option<&[u8]>)> = vec![
        ("__op", Some(br#"{"schema":{"type":"string","optional":false},"payload":"u"}"#)),
        ("__source_sequence", Some(br#""[\"9\",\"10\"]""#)),
    ];
    assert_eq!(seen(TopicRules::default(), (None, Some(value), &json), see), Ok(Some(expected)));
    // Without them there is no mark.
    assert!(seen(TopicRules::default(), (None, Some(value), &[]), see).is_err());
}

/// A null is a delete of its own position where its headers say so; else it stays a null.
#[test]
fn a_null_with_a_position_in_its_headers_is_a_delete() {
    let mut headers = IN_HEADERS;
    headers[0].1 = Some(b"d");
    let see = |event: &RawEvent<'_>| (event.op, texts(&event.key), event.position.is_none());
    let key = Some(&br#"{"id":7}"#[..]);
    let expected = Some((Op::Delete, Some("id=7".to_owned()), false));
    for value in [None, Some("null"), Some(r#"{"schema":{"type":"struct","optional":true},"payload":null}"#)] {
        assert_eq!(seen(TopicRules::default(), (key, value, &headers), see), Ok(expected.clone()));
        assert_eq!(seen(TopicRules::default(), (key, value, &headers[..1]), see), Ok(None));
        assert_eq!(seen(TopicRules::default(), (key, value, &headers[1..]), see), Ok(None));
        assert_eq!(seen(TopicRules::default(), (None, value, &headers), see), Ok(None));
    }
}

#[test]
fn added_fields_may_have_another_prefix() {
    let rules = || TopicRules { form: Some(Form::Flat), flat_prefix: Some("cdc_".into()), ..Default::default() };
    let see = |event: &RawEvent<'_>| (event.op, texts(&event.before.clone().or_else(|| event.after.clone())));
    let value = r#"{"id":7,"__op":"x","cdc_op":"u","cdc_lsn":5,"cdc_deleted":1,"__deleted":"true"}"#;
    let expected = (Op::Delete, Some("id=7 __op=\"x\" cdc_deleted=1".to_owned()));
    assert_eq!(seen(rules(), (None, Some(value), &[]), see), Ok(Some(expected)));
    let headers = [("cdc_op", Some(&b"c"[..])), ("__op", Some(&b"d"[..]))];
    let expected = (Op::Upsert, Some("id=7".to_owned()));
    assert_eq!(seen(rules(), (None, Some(r#"{"id":7}"#), &headers), see), Ok(Some(expected)));
}

#[test]
fn a_null_in_a_changefeed_is_refused_by_name() {
    let rules = TopicRules { form: Some(Form::Cockroach), ..Default::default() };
    let why = seen(rules, (Some(b"[7]"), None, &[]), |_| ()).expect_err("refused");
    assert!(why.detail.contains("envelope"), "{why}");
}
