//! Bytes that another vendor's serialisers wrote, with schemas as a registry answered; the file says with which versions. And
//! what hostile schemas and bodies of JSON Schema and Protobuf come to.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::*;
use super::whole;

#[derive(Deserialize)]
struct Sample {
    name: String,
    hex: String,
    #[serde(rename = "type")]
    language: String,
    schema: String,
    references: Vec<(String, String)>,
}

fn sample(name: &str) -> (Compiled, Bytes) {
    let file: Value = serde_json::from_str(include_str!("../../../../tests/framing/confluent.json")).expect("JSON");
    let samples: Vec<Sample> = serde_json::from_value(file["samples"].clone()).expect("samples");
    let sample = samples.into_iter().find(|sample| sample.name == name).expect(name);
    let byte = |at| u8::from_str_radix(&sample.hex[at..at + 2], 16).expect("hex");
    let bytes: Bytes = (0..sample.hex.len()).step_by(2).map(byte).collect::<Vec<u8>>().into();
    let (_, body) = split(&bytes, IdBytes::Either).expect("a frame");
    let language = Language::named(&sample.language).expect("a language");
    let definition = Definition { language, text: sample.schema, references: sample.references };
    (compile(&definition).expect("a schema"), body)
}

/// Type, semantic name and whether it may be null of each field.
fn fields(schema: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let field = |field: &Value| {
        let mark = if field["optional"] == true { "?" } else { "" };
        format!("{} {}{mark} {}", text(&field["field"]), text(&field["type"]), text(&field["name"]))
    };
    schema["fields"].as_array().into_iter().flatten().map(field).collect()
}

#[test]
fn avro_of_another_writer() {
    let (compiled, body) = sample("avro");
    let (schema, payload) = whole(&compiled, &body);
    assert_eq!(
        fields(&schema),
        [
            "id int64 -",
            "price bytes? org.apache.kafka.connect.data.Decimal",
            "at int64 io.debezium.time.MicroTimestamp",
            "day int32 org.apache.kafka.connect.data.Date",
            "uid string io.debezium.data.Uuid",
            "f float -",
            "tags array -",
            "m map -",
            "color string -",
            "either struct? io.confluent.connect.avro.Union",
        ]
    );
    assert_eq!(
        payload,
        json!({"id": i64::MIN, "price": "z8c=", "at": 1_735_689_600_123_456_i64, "day": 20089,
               "uid": "00010203-0405-0607-0809-0a0b0c0d0e0f", "f": 1.5, "tags": ["a", null], "m": {"k": 0.1},
               "color": "BLUE", "either": {"string": null, "long": 5}})
    );
}

#[test]
fn json_schema_of_another_writer() {
    let (compiled, body) = sample("json");
    let (schema, payload) = whole(&compiled, &body);
    assert_eq!(
        fields(&schema),
        [
            "id int32 -",
            "small int16? -",
            "price bytes? org.apache.kafka.connect.data.Decimal",
            "at int64 io.debezium.time.MicroTimestamp",
            "tags array -",
            "counts map -",
            "named map -",
            "home struct shop.Address",
        ]
    );
    assert_eq!(schema["fields"][2]["parameters"], json!({"scale": "2"}));
    assert_eq!(
        payload,
        json!({"id": 7, "small": null, "price": "MDk=", "at": 1_735_689_600_123_456_i64, "tags": ["a", "ü"],
               "counts": [[3, 0.5]], "named": {"k": "v"}, "home": {"city": "X"}})
    );
    // Without Connect's words the record is JSON whose types the destination knows.
    let (compiled, body) = sample("plain json");
    let payload = compiled.transcode(&body).expect("JSON");
    assert_eq!((payload.head().len(), payload.body()), (0, &body));
}

#[test]
fn protobuf_of_another_writer() {
    let (compiled, body) = sample("row");
    let (schema, payload) = whole(&compiled, &body);
    assert_eq!(
        fields(&schema),
        [
            "id int32 -",
            "note string? -",
            "big int64 -",
            "huge bytes org.apache.kafka.connect.data.Decimal",
            "ratio double -",
            "single float -",
            "flag boolean -",
            "raw bytes -",
            "at int64? io.debezium.time.MicroTimestamp",
            "maybe int32? -",
            "price bytes? org.apache.kafka.connect.data.Decimal",
            "tags array -",
            "counts map -",
            "color string -",
            "home struct? common.Address",
            "text string? -",
            "number int32? -",
        ]
    );
    assert_eq!(schema["fields"][10]["parameters"], json!({"scale": "2", "connect.decimal.precision": "10"}));
    assert_eq!(
        payload,
        json!({"id": -7, "note": "", "big": 9_007_199_254_740_993_i64, "huge": "AP//////////", "ratio": 0.1,
               "single": 1.5, "flag": true, "raw": "AP8=", "at": 1_735_689_600_123_456_i64, "maybe": 0, "price": "MDk=",
               "tags": ["a", "ü"], "counts": {"k": 1}, "color": "BLUE", "home": {"city": "X"}, "text": null,
               "number": 5})
    );
    let (_, payload) = {
        let (compiled, body) = sample("empty");
        whole(&compiled, &body)
    };
    assert_eq!(
        (&payload["id"], &payload["note"], &payload["maybe"], &payload["huge"]),
        (&json!(0), &Value::Null, &Value::Null, &json!("AA=="))
    );
    // A message inside of another one, by its place.
    let (compiled, body) = sample("inner");
    let (schema, payload) = whole(&compiled, &body);
    assert_eq!((&schema["name"], payload), (&json!("shop.Other.Inner"), json!({"x": 5})));
}

fn refused(language: Language, text: &str, body: &'static [u8]) -> Rejection {
    let definition = Definition { language, text: text.to_owned(), references: Vec::new() };
    let outcome = compile(&definition).and_then(|compiled| compiled.transcode(&Bytes::from_static(body)));
    outcome.expect_err(text)
}

#[test]
fn hostile_protobuf_is_refused() {
    let file = |messages: &str| format!("syntax = \"proto3\";\n{messages}");
    let row = file("message A { int32 id = 1; string s = 2; } message T { T inner = 1; }");
    let nested = (0..200).fold(String::new(), |inner, at| format!("message M{at} {{ {inner} }}"));
    for (text, body, reason) in [
        (row.as_str(), b"".as_slice(), "undecodable"),
        (&row, b"\x00\x08", "undecodable"),
        (&row, b"\x00\x12\x02\xff\xff", "undecodable"),
        (&row, b"\x00\x18\x01", "undecodable"),
        (&row, b"\x02\x06", "undecodable"),
        (&row, b"\x01", "undecodable"),
        (&row, b"\xff\xff\xff\xff\xff\xff", "undecodable"),
        (&row, b"\x02\x02", "unsupported_schema"),
        (&file(&nested), b"\x00", "unsupported_schema"),
        (&file("message A { Nowhere x = 1; }"), b"\x00", "unsupported_schema"),
        (&file("import \"/etc/passwd\"; message A {}"), b"\x00", "unsupported_schema"),
        ("no schema at all", b"\x00", "unsupported_schema"),
    ] {
        let refused = refused(Language::Protobuf, text, body);
        assert_eq!(refused.reason, reason, "{refused}");
        assert!(!refused.detail.contains('\u{1}'), "{refused}");
    }
}

#[test]
fn hostile_json_schema_is_refused() {
    let of = |schema: &str| {
        format!(
            r##"{{"type":"object","properties":{{"a":{schema}}},"definitions":{{"d":{{"$ref":"#/definitions/d"}}}}}}"##
        )
    };
    let int = of(r#"{"type":"integer","connect.index":0,"connect.type":"int32"}"#);
    let nested = (0..100).fold("1".to_owned(), |inner, _| format!(r#"{{"type":"array","items":{inner}}}"#));
    for (text, body, reason) in [
        (int.as_str(), b"{".as_slice(), "undecodable"),
        (&int, b"{\"a\":1}{", "undecodable"),
        (&int, b"{\"a\":[1]}", "undecodable"),
        (&int, b"{\"a\":null}", "undecodable"),
        (&int, b"{}", "undecodable"),
        (&int, b"{\"a\":1,\"b\":2}", "undecodable"),
        (&int, b"\xff", "undecodable"),
        (&of(r##"{"$ref":"#/definitions/d","connect.index":0}"##), b"{}", "unsupported_schema"),
        (&of(r##"{"$ref":"#/definitions/x","connect.index":0}"##), b"{}", "unsupported_schema"),
        (&of(r#"{"type":["string","integer"],"connect.index":0}"#), b"{}", "unsupported_schema"),
        (&of(&format!(r#"{{"connect.index":0,"type":"array","items":{nested}}}"#)), b"{}", "unsupported_schema"),
        ("{", b"{}", "unsupported_schema"),
    ] {
        let refused = refused(Language::Json, text, body);
        assert_eq!(refused.reason, reason, "{text}: {refused}");
    }
}

static SAMPLES: LazyLock<Vec<(Compiled, Bytes)>> =
    LazyLock::new(|| ["avro", "json", "row", "inner"].into_iter().map(sample).collect());

proptest! {
    /// Whatever the bytes, there is an answer and never a panic; what is taken is JSON.
    #[test]
    fn no_body_panics(noise in prop::collection::vec(any::<u8>(), 0..120), at in 0usize..400, byte in any::<u8>()) {
        for (compiled, body) in &*SAMPLES {
            let mut torn = body.to_vec();
            let at = at % torn.len();
            torn[at] = byte;
            for body in [noise.clone(), torn] {
                if let Ok(payload) = compiled.transcode(&body.into()) {
                    let whole = payload.whole();
                    prop_assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&whole).is_ok(), "{}", String::from_utf8_lossy(&whole));
                }
            }
        }
    }
}
