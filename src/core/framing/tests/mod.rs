//! Framing and Avro, against bytes made by hand and by `apache-avro`.

mod samples;

use apache_avro::types::Value as Avro;
use serde_json::{Value, json};

use super::*;

pub(super) fn definition(language: Language, text: &str) -> Definition {
    Definition { language, text: text.to_owned(), references: Vec::new() }
}

fn avro(text: &str) -> Result<Compiled, Rejection> {
    compile(&definition(Language::Avro, text))
}

/// Schema and payload of a body, as a JSON reader sees them.
pub(super) fn whole(compiled: &Compiled, body: &[u8]) -> (Value, Value) {
    let payload = compiled.transcode(&Bytes::copy_from_slice(body)).expect("body");
    let whole: Value = serde_json::from_slice(&payload.whole()).expect("JSON");
    (whole["schema"].clone(), whole["payload"].clone())
}

/// A body as another program writes it.
fn written(schema: &str, value: Avro) -> Vec<u8> {
    let schema = apache_avro::Schema::parse_str(schema).expect("schema");
    let value = value.resolve(&schema).expect("a value of the schema");
    apache_avro::to_avro_datum(&schema, value).expect("bytes")
}

const ENVELOPE: &str = r#"{"type":"record","name":"Envelope","namespace":"shop.public.orders","connect.name":"shop.public.orders.Envelope",
 "fields":[
  {"name":"before","type":["null",{"type":"record","name":"Value","connect.name":"shop.public.orders.Value","fields":[
    {"name":"id","type":"long"},
    {"name":"small","type":{"type":"int","connect.type":"int16"}},
    {"name":"at","type":["null",{"type":"long","connect.version":1,"connect.name":"io.debezium.time.MicroTimestamp"}],"default":null},
    {"name":"price","type":["null",{"type":"bytes","scale":2,"precision":10,"connect.version":1,
       "connect.parameters":{"scale":"2","connect.decimal.precision":"10"},
       "connect.name":"org.apache.kafka.connect.data.Decimal","logicalType":"decimal"}],"default":null},
    {"name":"state","type":[{"type":"string","connect.version":1,"connect.parameters":{"allowed":"a,b"},"connect.default":"a",
       "connect.name":"io.debezium.data.Enum"},"null"],"default":"a"}]}],"default":null},
  {"name":"after","type":["null","Value"],"default":null},
  {"name":"op","type":"string"}]}"#;

/// An envelope of Debezium becomes what Connect's JSON converter writes: names, parameters and types are kept, nulls are nulls
/// whichever branch they are, 64-bit numbers have all digits, decimals are base64 of their bytes.
#[test]
fn a_debezium_envelope_becomes_connect_json() {
    let row = |at| {
        Avro::Record(vec![
            ("id".into(), Avro::Long(i64::MAX)),
            ("small".into(), Avro::Int(-7)),
            ("at".into(), at),
            ("price".into(), Avro::Union(1, Box::new(Avro::Bytes(vec![0x30, 0x39])))),
            ("state".into(), Avro::Union(1, Box::new(Avro::Null))),
        ])
    };
    // The library's decimals carry no bytes of their own choice; the logical type says nothing about the binary form.
    let plain = ENVELOPE.replace("\"logicalType\":\"decimal\"", "\"x\":1");
    let body = written(
        &plain,
        Avro::Record(vec![
            ("before".into(), Avro::Union(0, Box::new(Avro::Null))),
            ("after".into(), Avro::Union(1, Box::new(row(Avro::Union(1, Box::new(Avro::Long(-1))))))),
            ("op".into(), Avro::String("c\"\u{e9}".into())),
        ]),
    );
    let (schema, payload) = whole(&avro(ENVELOPE).expect("schema"), &body);
    assert_eq!(
        payload,
        json!({"before": null, "op": "c\"\u{e9}",
               "after": {"id": i64::MAX, "small": -7, "at": -1, "price": "MDk=", "state": null}})
    );
    assert_eq!(schema["name"], "shop.public.orders.Envelope");
    let after = &schema["fields"][1];
    assert_eq!((&after["field"], &after["optional"]), (&json!("after"), &json!(true)));
    let fields = &after["fields"];
    assert_eq!(fields[0], json!({"type": "int64", "optional": false, "field": "id"}));
    assert_eq!(fields[1], json!({"type": "int16", "optional": false, "field": "small"}));
    assert_eq!(
        fields[2],
        json!({"type": "int64", "optional": true, "name": "io.debezium.time.MicroTimestamp", "version": 1, "field": "at"})
    );
    assert_eq!(
        fields[3],
        json!({"type": "bytes", "optional": true, "name": "org.apache.kafka.connect.data.Decimal", "version": 1,
               "parameters": {"scale": "2", "connect.decimal.precision": "10"}, "field": "price"})
    );
    assert_eq!(fields[4]["default"], "a");
}

/// Every Avro type, with values at the ends of their ranges, is read to the same value that another program wrote.
#[test]
fn every_type_is_read_as_it_was_written() {
    let cases: Vec<(&str, Avro, &str, Value)> = vec![
        (r#""boolean""#, Avro::Boolean(true), "boolean", json!(true)),
        (r#""int""#, Avro::Int(i32::MIN), "int32", json!(i32::MIN)),
        (r#""long""#, Avro::Long(i64::MIN), "int64", json!(i64::MIN)),
        (r#""float""#, Avro::Float(1.5e-7), "float", json!(1.5e-7)),
        (r#""float""#, Avro::Float(f32::INFINITY), "float", json!("Infinity")),
        (r#""double""#, Avro::Double(f64::MAX), "double", json!(f64::MAX)),
        (r#""double""#, Avro::Double(f64::NAN), "double", json!("NaN")),
        (r#""double""#, Avro::Double(f64::NEG_INFINITY), "double", json!("-Infinity")),
        (r#""bytes""#, Avro::Bytes(vec![0, 255]), "bytes", json!("AP8=")),
        (r#""string""#, Avro::String("a\n\u{1F600}".into()), "string", json!("a\n\u{1F600}")),
        (r#"{"type":"fixed","name":"f","size":2}"#, Avro::Fixed(2, vec![1, 2]), "bytes", json!("AQI=")),
        (r#"{"type":"enum","name":"e","symbols":["a","b"]}"#, Avro::Enum(1, "b".into()), "string", json!("b")),
        (
            r#"{"type":"array","items":["null","int"]}"#,
            Avro::Array(vec![Avro::Union(0, Box::new(Avro::Null)), Avro::Union(1, Box::new(Avro::Int(5)))]),
            "array",
            json!([null, 5]),
        ),
        (
            r#"{"type":"map","values":"long"}"#,
            Avro::Map([("k".to_owned(), Avro::Long(1))].into()),
            "map",
            json!({"k": 1}),
        ),
        (r#"["string","long"]"#, Avro::Union(1, Box::new(Avro::Long(3))), "struct", json!({"string": null, "long": 3})),
    ];
    for (schema, value, kind, expected) in cases {
        let body = written(schema, value);
        let (read, payload) = whole(&avro(schema).expect(schema), &body);
        assert_eq!((read["type"].as_str(), payload), (Some(kind), expected), "{schema}");
    }
}

#[test]
fn logical_types_have_the_names_of_connect_and_debezium() {
    for (base, logical, name) in [
        ("int", "date", "org.apache.kafka.connect.data.Date"),
        ("int", "time-millis", "org.apache.kafka.connect.data.Time"),
        ("long", "time-micros", "io.debezium.time.MicroTime"),
        ("long", "timestamp-millis", "org.apache.kafka.connect.data.Timestamp"),
        ("long", "local-timestamp-micros", "io.debezium.time.MicroTimestamp"),
        ("long", "timestamp-nanos", "io.debezium.time.NanoTimestamp"),
        ("string", "uuid", "io.debezium.data.Uuid"),
        ("bytes", "decimal", "org.apache.kafka.connect.data.Decimal"),
    ] {
        let text = format!(r#"{{"type":"{base}","logicalType":"{logical}"}}"#);
        let (schema, _) = whole(&avro(&text).expect("schema"), b"\x00");
        assert_eq!(schema["name"], name, "{logical}");
    }
    let (wrong, _) = whole(&avro(r#"{"type":"string","logicalType":"date"}"#).expect("schema"), b"\x00");
    assert_eq!(wrong, json!({"type": "string", "optional": false}));
    let uuid = avro(r#"{"type":"fixed","name":"u","size":16,"logicalType":"uuid"}"#).expect("schema");
    let (_, text) = whole(&uuid, &(0..16).collect::<Vec<u8>>());
    assert_eq!(text, "00010203-0405-0607-0809-0a0b0c0d0e0f");
}

#[test]
fn a_map_with_other_keys_than_text_is_a_list_of_pairs() {
    let schema = r#"{"type":"array","items":{"type":"record","name":"MapEntry","namespace":"io.confluent.connect.avro",
        "fields":[{"name":"key","type":"int"},{"name":"value","type":"double"}]}}"#;
    let entry = Avro::Record(vec![("key".into(), Avro::Int(3)), ("value".into(), Avro::Double(0.5))]);
    let (read, payload) = whole(&avro(schema).expect("schema"), &written(schema, Avro::Array(vec![entry])));
    assert_eq!((read["type"].as_str(), &read["keys"]["type"]), (Some("map"), &json!("int32")));
    assert_eq!(payload, json!([[3, 0.5]]));
}

/// A schema in several parts is put together by names, whichever namespace is in force.
#[test]
fn references_are_known_by_their_names() {
    let address = r#"{"type":"record","name":"Address","namespace":"a.b","fields":[{"name":"city","type":"string"}]}"#;
    let user = r#"{"type":"record","name":"User","namespace":"a.b","fields":[{"name":"home","type":"Address"},
        {"name":"work","type":["null","a.b.Address"]}]}"#;
    let mut definition = definition(Language::Avro, user);
    assert_eq!(compile(&definition).expect_err("no reference").reason, "unsupported_schema");
    definition.references.push(("a.b.Address".into(), address.into()));
    let compiled = compile(&definition).expect("schema");
    let (_, payload) = whole(&compiled, b"\x04ab\x02\x02c");
    assert_eq!(payload, json!({"home": {"city": "ab"}, "work": {"city": "c"}}));
}

/// Whatever a body claims, it is refused with a reason, and neither memory nor time goes beyond its bytes.
#[test]
fn hostile_bodies_are_refused() {
    let nothing = r#"{"type":"array","items":{"type":"record","name":"n","fields":[]}}"#;
    for (schema, body) in [
        (r#""string""#, b"\x06ab".to_vec()),
        (r#""string""#, b"\x02ab".to_vec()),
        (r#""string""#, b"\x04\xff\xfe".to_vec()),
        (r#""string""#, b"\x01".to_vec()),
        (r#""bytes""#, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec()),
        (r#""long""#, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02".to_vec()),
        (r#""long""#, vec![0xff; 20]),
        (r#""int""#, b"\x80\x80\x80\x80\x10".to_vec()),
        (r#""boolean""#, b"\x02".to_vec()),
        (r#"["null","int"]"#, b"\x04".to_vec()),
        (r#"["int","long","null"]"#, b"\x07".to_vec()),
        (r#"{"type":"enum","name":"e","symbols":["a"]}"#, b"\x02".to_vec()),
        (r#"{"type":"array","items":"null"}"#, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec()),
        (nothing, b"\x80\x80\x80\x80\x80\x01\x00".to_vec()),
    ] {
        let refused = avro(schema).expect("schema").transcode(&body.into()).expect_err(schema);
        assert_eq!(refused.reason, "undecodable", "{schema}");
    }
}

#[test]
fn hostile_schemas_are_refused() {
    let nested = (0..200).fold("\"int\"".to_owned(), |inner, _| format!(r#"{{"type":"array","items":{inner}}}"#));
    let record =
        |number: usize, fields: String| format!(r#"{{"type":"record","name":"r{number}","fields":[{fields}]}}"#);
    let twice = |number: usize| {
        let below = if number == 0 { "int".to_owned() } else { format!("r{}", number - 1) };
        record(number, format!(r#"{{"name":"a","type":"{below}"}},{{"name":"b","type":"{below}"}}"#))
    };
    let once = |number: usize| {
        let below = if number == 0 { "int".to_owned() } else { format!("r{}", number - 1) };
        record(number, format!(r#"{{"name":"a","type":"{below}"}}"#))
    };
    // Each type holds the one before it twice: 2^40 fields; or once: as deep as there are types.
    let doubling = format!("[{}]", (0..40).map(twice).collect::<Vec<_>>().join(","));
    let chain = format!("[{}]", (0..5000).map(once).collect::<Vec<_>>().join(","));
    for schema in [
        nested.as_str(),
        &doubling,
        &chain,
        r#"{"type":"record","name":"r","fields":[{"name":"next","type":["null","r"]}]}"#,
        r#"{"type":"record","fields":[]}"#,
        r#"{"type":"nothing"}"#,
        "{",
        "7",
    ] {
        let refused = avro(schema).expect_err("a schema that cannot be used");
        assert_eq!(refused.reason, "unsupported_schema", "{refused}");
    }
}

#[test]
fn frames_are_told_by_their_first_bytes() {
    let split = |bytes: &'static [u8], width| split(&Bytes::from_static(bytes), width);
    let short = |id, body: &'static [u8]| Some((SchemaId::Short(id), Bytes::from_static(body)));
    assert_eq!(split(b"\0\0\0\x01\x02ab", IdBytes::Either), short(258, b"ab"));
    assert_eq!(split(b"\0\0\0\0\x07", IdBytes::Four), short(7, b""));
    let long = Some((SchemaId::Long(7), Bytes::from_static(b"x")));
    assert_eq!(split(b"\0\0\0\0\0\0\0\0\x07x", IdBytes::Either), long);
    assert_eq!(split(b"\0\0\0\0\0\0\0\0\x07x", IdBytes::Eight), long);
    for bytes in [b"{\"a\":1}".as_slice(), b"", b"\0", b"\0\0\0\0", b"\0\0\0\0\0", b"\0\0\0\0\0\0\0\x07", b"plain text"]
    {
        assert_eq!(split(bytes, IdBytes::Either), None, "{bytes:?}");
    }
    let guid: Vec<u8> = std::iter::once(1).chain(0..16).collect();
    let headers = Headers::pack([("__value_schema_id", Some(guid.as_slice())), ("__key_schema_id", Some(b"\x02"))]);
    assert_eq!(header_id(&headers, Part::Value), Some(SchemaId::Guid("00010203-0405-0607-0809-0a0b0c0d0e0f".into())));
    assert_eq!(header_id(&headers, Part::Key), None);
    let number = 7_u64.to_be_bytes();
    let headers = Headers::pack([
        ("other", None),
        ("apicurio.value.encoding", Some(b"BINARY".as_slice())),
        ("apicurio.value.globalId", Some(number.as_slice())),
        ("apicurio.key.contentId", Some(number.as_slice())),
    ]);
    assert_eq!(header_id(&headers, Part::Value), Some(SchemaId::Global(7)));
    assert_eq!(header_id(&headers, Part::Key), Some(SchemaId::Content(7)));
}
