//! The forms of other products, from hand-made records. Their fields: the products' documentation.

use super::super::{TopicDecoder, TopicRules};
use super::*;
use crate::core::event::{Control, Gtid};
use crate::core::token::Phase;

const MAXWELL: &str = r#"{"database":"shop","table":"item","type":"update","ts":1735689600,"xid":901,"commit":true,"position":"mysql-bin.000006:800911","primary_key_columns":["id"],"data":{"id":7,"note":"b"},"old":{"note":"a"}}"#;
const CANAL: &str = r#"{"id":12,"database":"shop","table":"item","pkNames":["id"],"isDdl":false,"type":"UPDATE","es":1735689600000,"ts":1735689600120,"sql":"","sqlType":{"id":4},"mysqlType":{"id":"int"},"data":[{"id":"7","note":"b"}],"old":[{"note":"a"}],"gtid":"ab:77"}"#;
const TIDB: &str = r#"{"id":0,"database":"shop","table":"item","pkNames":["id"],"isDdl":false,"type":"INSERT","es":1735689600000,"ts":1,"sql":"","data":[{"id":"7"}],"old":null,"_tidb":{"commitTs":449000000000000001}}"#;
const SIMPLE: &str = r#"{"version":1,"database":"shop","table":"item","tableID":88,"type":"UPDATE","commitTs":449000000000000001,"buildTs":1,"schemaVersion":4,"data":{"id":"7","note":"b"},"old":{"id":"7","note":"a"}}"#;
const GOLDENGATE: &str = r#"{"table":"SHOP.ITEM","op_type":"U","op_ts":"2025-01-01 00:00:00.000123","current_ts":"2025-01-01T00:00:01.500000","pos":"00000000010000002345","primary_keys":["ID"],"before":{"ID":7,"NOTE":"a"},"after":{"ID":7,"NOTE":"b"}}"#;
const DMS: &str = r#"{"data":{"id":7,"note":"b"},"metadata":{"timestamp":"2025-01-01T00:00:00.000000Z","record-type":"data","operation":"update","partition-key-type":"primary-key","schema-name":"shop","table-name":"item","transaction-id":901}}"#;
const CLOUDEVENT: &str = r#"{"id":"name:shop;lsn:100;txId:7","source":"/debezium/postgresql/shop","specversion":"1.0","type":"io.debezium.connector.postgresql.DataChangeEvent","time":"2025-01-01T00:00:00.000Z","datacontenttype":"application/json","iodebeziumop":"u","iodebeziumversion":"3.2.0.Final","iodebeziumconnector":"postgresql","iodebeziumname":"shop","iodebeziumtsms":"1735689600000","iodebeziumsnapshot":"false","iodebeziumdb":"app","iodebeziumsequence":"[\"90\",\"100\"]","iodebeziumschema":"public","iodebeziumtable":"item","iodebeziumtxId":"7","iodebeziumlsn":"100","iodebeziumxmin":null,"iodebeziumtxid":null,"data":{"before":null,"after":{"id":7,"note":"b"}}}"#;
const WRAPPED: &str = r#"{"after":{"id":7,"note":"b"},"updated":"1735689600123456789.0000000002","mvcc_timestamp":"1735689600123456780.0000000000"}"#;
const ENRICHED: &str = r#"{"after":{"id":7},"op":"c","ts_ns":1,"source":{"origin":"cockroachdb","table_name":"item","schema_name":"public","primary_keys":["id"],"ts_hlc":"1735689600123456789.0000000002"}}"#;

fn decoder(form: Option<Form>, key: &[&str]) -> TopicDecoder {
    let key_columns = key.iter().map(|name| (*name).to_owned()).collect();
    TopicDecoder::new(TopicRules { form, key_columns, ..TopicRules::default() })
}

/// What is left of an event when its rows are texts.
#[derive(Debug, PartialEq)]
struct Seen {
    op: Op,
    table: String,
    position: SourcePosition,
    key: String,
    row: String,
}

fn texts(row: &Option<RawRow<'_>>) -> String {
    let Some(row) = row else { return String::new() };
    let cells = row.schema.fields.iter().zip(&row.cells);
    cells.map(|(field, cell)| format!("{}={}", field.name, cell.get())).collect::<Vec<_>>().join(" ")
}

fn seen(event: &RawEvent<'_>) -> Seen {
    let row = if event.after.is_some() { &event.after } else { &event.before };
    Seen {
        op: event.op,
        table: event.table.to_string(),
        position: event.position.clone(),
        key: texts(&event.key),
        row: texts(row),
    }
}

fn read(decoder: &mut TopicDecoder, key: Option<&str>, value: &str) -> Result<Vec<Seen>, Rejection> {
    match decoder.decode("crdb.shop.item", key.map(str::as_bytes), Some(value.as_bytes()))? {
        Decoded::Change(event) => Ok(vec![seen(&event)]),
        Decoded::Changes(events) => Ok(events.iter().map(seen).collect()),
        Decoded::Null | Decoded::Control(_) => Ok(Vec::new()),
    }
}

fn one(form: Option<Form>, key: Option<&str>, value: &str) -> Seen {
    let mut events = read(&mut decoder(form, &[]), key, value).expect(value);
    assert_eq!(events.len(), 1, "{value}");
    events.remove(0)
}

#[test]
fn each_form_is_told_from_its_fields() {
    let hlc = SourcePosition::Hlc { nanos: 1_735_689_600_123_456_789, logical: 2, phase: Phase::Stream };
    let maxwell =
        SourcePosition::Binlog { gtid: None, file: 6, pos: 800_911, row: Some(u64::MAX), phase: Phase::Stream };
    let canal = SourcePosition::Binlog {
        gtid: Some(Gtid { marker: "ab".into(), number: 77 }),
        file: 0,
        pos: 0,
        row: None,
        phase: Phase::Stream,
    };
    let tso = SourcePosition::Tso(449_000_000_000_000_001);
    let postgres = SourcePosition::Postgres { commit: Some(90), lsn: 100, phase: Phase::Stream };
    for (value, form, table, position, key, row) in [
        (MAXWELL, Form::Maxwell, "shop.item", maxwell, "id=7", "id=7 note=\"b\""),
        (CANAL, Form::Canal, "shop.item", canal, "id=7", "id=7 note=\"b\""),
        (TIDB, Form::Ticdc, "shop.item", tso.clone(), "id=\"7\"", "id=\"7\""),
        (SIMPLE, Form::Ticdc, "shop.item", tso, "", "id=\"7\" note=\"b\""),
        (CLOUDEVENT, Form::CloudEvents, "public.item", postgres, "", "id=7 note=\"b\""),
        (GOLDENGATE, Form::GoldenGate, "SHOP.ITEM", SourcePosition::Trail(10_000_002_345), "ID=7", "ID=7 NOTE=\"b\""),
        (WRAPPED, Form::Cockroach, "shop.item", hlc.clone(), "", "id=7 note=\"b\""),
        (ENRICHED, Form::Cockroach, "public.item", hlc, "", "id=7"),
    ] {
        assert_eq!(detect(value), Some(form), "{value}");
        let expected = Seen { op: Op::Upsert, table: table.into(), position, key: key.into(), row: row.into() };
        assert_eq!(one(None, None, value), expected, "{value}");
        assert_eq!(one(Some(form), None, value), expected, "{value}");
    }
}

/// What has the shape of a form only in part, or is a flattened row with columns of those names, is never taken for it.
#[test]
fn rows_of_users_are_not_mistaken() {
    for value in [
        r#"{"database":"a","table":"b","type":"chair","ts":1,"data":{"id":1}}"#,
        r#"{"database":"a","table":"b","type":"insert","ts":"now"}"#,
        r#"{"database":"a","table":"b","type":"UPDATE","isDdl":0,"es":1}"#,
        r#"{"table":"t","op_type":1,"op_ts":"x","pos":"1"}"#,
        r#"{"version":"1","type":"INSERT","commitTs":5}"#,
        r#"{"after":{"id":1},"updated":"yesterday"}"#,
        r#"{"after":{"id":1},"updated":"1.0000000001","more":1}"#,
        r#"{"resolved":"true"}"#,
        r#"{"id":1}"#,
        DMS,
    ] {
        assert_eq!(detect(value), None, "{value}");
        assert_eq!(read(&mut decoder(None, &[]), None, value).expect_err(value).reason, "undecodable");
    }
    for form in [MAXWELL, CANAL, SIMPLE, GOLDENGATE, CLOUDEVENT, WRAPPED, ENRICHED] {
        let row = form.replacen('{', r#"{"__op":"c","__table":"t","#, 1);
        let event = one(None, None, &row);
        assert_eq!((event.table.as_str(), event.position.is_none()), ("t", true), "{row}");
        assert!(!event.row.contains("__"), "{}", event.row);
    }
}

#[test]
fn a_moved_key_is_a_delete_and_a_create() {
    for (value, key) in [
        (MAXWELL.replace(r#""old":{"#, r#""old":{"id":6,"#), "id=6"),
        (CANAL.replace(r#""old":[{"#, r#""old":[{"id":"6","#), "id=6"),
        (GOLDENGATE.replace(r#""before":{"ID":7"#, r#""before":{"ID":6"#), "ID=6"),
    ] {
        let events = read(&mut decoder(None, &[]), None, &value).expect("events");
        let ops: Vec<Op> = events.iter().map(|event| event.op).collect();
        assert_eq!(ops, [Op::Delete, Op::Upsert], "{value}");
        assert_eq!((events[0].key.as_str(), events[1].key.contains('7')), (key, true));
    }
    // Without a key there is none to move.
    let simple = SIMPLE.replace(r#""old":{"id":"7""#, r#""old":{"id":"6""#);
    assert_eq!(read(&mut decoder(None, &[]), None, &simple).expect("events").len(), 1);
    assert_eq!(read(&mut decoder(None, &["id"]), None, &simple).expect("events").len(), 2);
}

#[test]
fn every_row_of_a_message_is_read() {
    let value = CANAL
        .replace(r#""data":[{"id":"7","note":"b"}]"#, r#""data":[{"id":"7","note":"b"},{"id":"8","note":"b"}]"#)
        .replace(r#""old":[{"note":"a"}]"#, r#""old":[{"note":"a"},{"note":"c"}]"#);
    let keys: Vec<String> =
        read(&mut decoder(None, &[]), None, &value).expect("events").into_iter().map(|event| event.key).collect();
    assert_eq!(keys, ["id=7", "id=8"]);
    let empty = CANAL.replace(r#""data":[{"id":"7","note":"b"}]"#, r#""data":[]"#);
    assert_eq!(read(&mut decoder(None, &[]), None, &empty).expect_err("no row").reason, "undecodable");
}

#[test]
fn deletes_of_every_form() {
    for (form, key, value) in [
        (None, None, MAXWELL.replace("update", "delete")),
        (None, None, CANAL.replace("UPDATE", "DELETE")),
        (None, None, SIMPLE.replace("UPDATE", "DELETE").replace(r#","data":{"id":"7","note":"b"}"#, "")),
        (
            None,
            None,
            GOLDENGATE.replace(r#""op_type":"U""#, r#""op_type":"D""#).replace(r#","after":{"ID":7,"NOTE":"b"}"#, ""),
        ),
        (Some(Form::Dms), None, DMS.replace("update", "delete")),
        (None, Some("[7]"), WRAPPED.replace(r#"{"id":7,"note":"b"}"#, "null")),
        (None, Some(r#"{"id":7}"#), ENRICHED.replace(r#""after":{"id":7},"op":"c""#, r#""after":null,"op":"d""#)),
    ] {
        let mut decoder = decoder(form, &["id"]);
        let events = read(&mut decoder, key, &value).expect(&value);
        assert_eq!((events.len(), events[0].op), (1, Op::Delete), "{value}");
        assert!(events[0].key.to_ascii_lowercase().contains("id="), "{value}: {:?}", events[0]);
    }
    // The record key is a list of values: without names it says nothing, with too few it is refused.
    let value = WRAPPED.replace(r#"{"id":7,"note":"b"}"#, "null");
    assert_eq!(read(&mut decoder(None, &[]), Some("[7]"), &value).expect("a delete")[0].key, "");
    assert!(read(&mut decoder(None, &["a", "b"]), Some("[7]"), &value).expect_err("names").stops_table);
}

/// Invariant 6: a position that is missing is none, one that cannot be read is refused, and neither is zero.
#[test]
fn positions_that_are_missing_or_unreadable() {
    for (form, value) in [
        (None, MAXWELL.replace(r#""position":"mysql-bin.000006:800911","#, "")),
        (None, CANAL.replace("ab:77", "")),
        (Some(Form::Ticdc), CANAL.to_owned()),
        (Some(Form::Dms), DMS.to_owned()),
        (Some(Form::Cockroach), r#"{"after":{"id":7}}"#.to_owned()),
    ] {
        assert!(one(form, None, &value).position.is_none(), "{value}");
    }
    for value in [
        MAXWELL.replace("mysql-bin.000006:800911", "mysql-bin"),
        MAXWELL.replace(r#""commit":true"#, r#""xoffset":-1"#),
        CANAL.replace("ab:77", "ab:1-77"),
        SIMPLE.replace("449000000000000001", "0"),
        GOLDENGATE.replace("00000000010000002345", "12x"),
        ENRICHED.replace("789.0000000002", "789"),
    ] {
        assert_eq!(read(&mut decoder(None, &[]), None, &value).expect_err(&value).reason, "missing_position");
    }
}

#[test]
fn what_changes_no_row_is_a_control_record() {
    for value in [
        MAXWELL.replace("update", "table-create"),
        MAXWELL.replace("update", "bootstrap-start"),
        CANAL.replace(r#""isDdl":false,"type":"UPDATE""#, r#""isDdl":true,"type":"ALTER""#),
        TIDB.replace("INSERT", "TIDB_WATERMARK"),
        SIMPLE.replace("UPDATE", "WATERMARK"),
        r#"{"resolved":"1735689601000000000.0000000000"}"#.to_owned(),
        r#"{"__crdb__":{"resolved":"1735689601000000000.0000000000"}}"#.to_owned(),
    ] {
        let mut decoder = decoder(None, &[]);
        let decoded = decoder.decode("t", None, Some(value.as_bytes())).expect(&value);
        assert!(matches!(decoded, Decoded::Control(Control::Heartbeat | Control::SchemaChange)), "{value}");
    }
    let truncate = CANAL.replace(r#""isDdl":false,"type":"UPDATE""#, r#""isDdl":true,"type":"TRUNCATE""#);
    assert_eq!(one(None, None, &truncate).op, Op::Truncate);
}

#[test]
fn maxwell_keys_and_places() {
    let bare = MAXWELL.replace(r#""primary_key_columns":["id"],"#, "");
    let hash = r#"{"database":"shop","table":"item","pk.id":7}"#;
    assert_eq!(one(None, Some(hash), &bare).key, "id=7");
    assert_eq!(one(None, Some(r#"["shop","item",[{"id":7}]]"#), &bare).key, "");
    let row = |value: &str| match one(None, None, value).position {
        SourcePosition::Binlog { row, phase, .. } => (row, phase),
        other => panic!("{other:?}"),
    };
    assert_eq!(row(MAXWELL), (Some(u64::MAX), Phase::Stream));
    assert_eq!(row(&MAXWELL.replace(r#""commit":true"#, r#""xoffset":3"#)), (Some(3), Phase::Stream));
    assert_eq!(row(&MAXWELL.replace(r#""commit":true"#, r#""x":3"#)), (None, Phase::Stream));
    assert_eq!(row(&MAXWELL.replace("update", "bootstrap-insert")).1, Phase::Snapshot);
}

mod flat {
    use super::*;

    const MARIADB: &str = r#"{"id":1,"code":"P-1","__deleted":"false","__op":"u","__file":"binlog.000002","__pos":457413179,"__row":3,"__gtid":"0-1-61183","__source_ts_ms":5,"__table":"products"}"#;
    const POSTGRES: &str =
        r#"{"id":1,"__x":2,"__deleted":"false","__op":"u","__lsn":2172981280,"__source_ts_ms":5,"__table":"products"}"#;

    fn of(value: &str) -> Seen {
        one(None, Some(r#"{"id":1}"#), value)
    }

    #[test]
    fn the_fields_of_the_transform_are_no_columns() {
        let event = of(MARIADB);
        assert_eq!(event.row, "id=1 code=\"P-1\"");
        assert_eq!((event.table.as_str(), event.key.as_str()), ("products", "id=1"));
        // A column of that look that no source has.
        assert_eq!(of(POSTGRES).row, "id=1 __x=2");
        let mut decoder = decoder(None, &[]);
        let topic = |decoder: &mut TopicDecoder, topic: &str, value: &str| match decoder.decode(
            topic,
            None,
            Some(value.as_bytes()),
        ) {
            Ok(Decoded::Change(event)) => (event.table.to_string(), event.source),
            other => panic!("{other:?}"),
        };
        let scope = |topic: &str| format!("flat {topic}");
        for (name, value, table) in [
            ("shop.inventory.products", MARIADB, "inventory.products"),
            ("shop.products", MARIADB, "products"),
            ("all", MARIADB, "products"),
            ("a.b.c.d", r#"{"id":1,"__op":"u"}"#, "c.d"),
        ] {
            assert_eq!(topic(&mut decoder, name, value), (table.to_owned(), scope(name)));
        }
        let named = MARIADB.replace("__table", "__connector\":\"mariadb\",\"__name\":\"m\",\"__db\":\"d\",\"__table");
        assert_eq!(topic(&mut decoder, "all", &named), ("d.products".to_owned(), "mariadb m".to_owned()));
    }

    #[test]
    fn a_deleted_row_is_a_delete() {
        let deleted = MARIADB.replace(r#""__deleted":"false""#, r#""__deleted":"true""#);
        assert_eq!(of(&deleted).op, Op::Delete);
        assert_eq!(of(r#"{"id":1,"__deleted":"true"}"#).op, Op::Delete);
        assert_eq!(of(r#"{"id":1,"__op":"d"}"#).op, Op::Delete);
        for bad in [r#"{"id":1,"__deleted":"yes"}"#, r#"{"id":1,"__op":"x"}"#, r#"{"id":1,"__op":7}"#] {
            assert_eq!(read(&mut decoder(None, &[]), None, bad).expect_err(bad).reason, "undecodable");
        }
    }

    #[test]
    fn what_orders_a_flat_row() {
        let gtid = |number| Some(Gtid { marker: "0".into(), number });
        let binlog = |gtid, row, phase| SourcePosition::Binlog { gtid, file: 2, pos: 457_413_179, row, phase };
        assert_eq!(of(MARIADB).position, binlog(gtid(61_183), Some(3), Phase::Stream));
        let snapshot = MARIADB.replace(r#""0-1-61183""#, "null").replace(r#""__op":"u""#, r#""__op":"r""#);
        assert_eq!(of(&snapshot).position, binlog(None, None, Phase::Snapshot));
        // A bare LSN is not the order of commits; with the sequence it is not needed.
        assert!(of(POSTGRES).position.is_none());
        let sequence = POSTGRES.replace("__x\":2", r#"__source_sequence":"[\"9\",\"10\"]""#);
        let expected = SourcePosition::Postgres { commit: Some(9), lsn: 10, phase: Phase::Stream };
        assert_eq!(of(&sequence).position, expected);
        let oracle = r#"{"id":1,"__op":"r","__scn":"7"}"#;
        assert_eq!(of(oracle).position, SourcePosition::Oracle { commit: 7, scn: 7, phase: Phase::Snapshot });
        // Whether it is a snapshot's must be known.
        let unknown = MARIADB.replace(r#""__op":"u","#, "");
        assert!(of(&unknown).position.is_none());
        let broken = MARIADB.replace("0-1-61183", "0-1");
        assert_eq!(read(&mut decoder(None, &[]), None, &broken).expect_err("gtid").reason, "missing_position");
    }

    #[test]
    fn rows_without_any_mark_need_to_be_named() {
        let bare = r#"{"id":1,"op":"c","source":{"a":1},"source_table":3,"status":1}"#;
        assert!(read(&mut decoder(None, &[]), None, bare).is_err());
        let event = one(Some(Form::Flat), None, bare);
        assert_eq!((event.op, event.table.as_str(), event.position.is_none()), (Op::Upsert, "shop.item", true));
    }

    #[test]
    fn a_schema_part_gives_the_types() {
        let fields = r#"{"type":"int32","optional":false,"field":"id"},{"type":"string","optional":true,"field":"__op"},{"type":"string","optional":true,"field":"__deleted"}"#;
        let value = format!(
            r#"{{"schema":{{"type":"struct","fields":[{fields}],"optional":false}},"payload":{{"id":1,"__op":"c","__deleted":"false"}}}}"#
        );
        let mut decoder = decoder(None, &[]);
        for _ in 0..2 {
            let Ok(Decoded::Change(event)) = decoder.decode("t", None, Some(value.as_bytes())) else {
                panic!("a change")
            };
            let schema = event.after.expect("after").schema;
            assert_eq!(schema.fields.len(), 1);
            assert_eq!(schema.fields[0].kind, WireType::Int { bits: 32 });
        }
    }
}

/// Forms that hold no rows, or do not tell what happened to them, are refused by their names with what helps.
#[test]
fn what_is_no_row_is_refused_by_name() {
    let mongo = r#"{"before":null,"after":"{\"_id\":1}","source":{"connector":"mongodb","name":"m","db":"d","collection":"c","version":"3.2.0.Final"},"op":"c","ts_ms":1}"#;
    for (value, remedy) in [
        (mongo.to_owned(), "ExtractNewDocumentState"),
        (mongo.replace(r#""{\"_id\":1}""#, "null").replace(r#""op":"c""#, r#""op":"d""#), "ExtractNewDocumentState"),
        (r#"{"__crdb__":{"updated":"1735689601000000000.0000000000"},"id":7}"#.to_owned(), "envelope = 'wrapped'"),
        (GOLDENGATE.replace("before", "ID").replace("after", "NOTE"), "format=json"),
        (
            CLOUDEVENT.replace(r#""data":{"before":null,"after":{"id":7,"note":"b"}}"#, r#""data":"AAAA""#),
            "data.serializer.type",
        ),
    ] {
        let why = read(&mut decoder(None, &[]), None, &value).expect_err(&value);
        assert!(why.reason == "unsupported_form" && why.stops_table, "{why}");
        assert!(why.detail.contains(remedy), "{why}");
    }
}

#[test]
fn columns_that_goldengate_marks_as_missing_are_not_null() {
    let images = r#""before":{"ID":7,"ID_isMissing":false,"NOTE":null,"NOTE_isMissing":true},"after":{"ID":7,"ID_isMissing":false,"NOTE":null,"NOTE_isMissing":false,"X_isMissing":1}"#;
    let value = format!("{}{images}}}", &GOLDENGATE[..GOLDENGATE.find(r#""before""#).expect("before")]);
    let event = one(None, None, &value);
    assert_eq!((event.key.as_str(), event.row.as_str()), ("ID=7", "ID=7 NOTE=null X_isMissing=1"));
    let event =
        one(None, None, &value.replace(r#""op_type":"U""#, r#""op_type":"D""#).replace(r#","after":{"#, r#","x":{"#));
    assert_eq!((event.op, event.row.as_str()), (Op::Delete, "ID=7"));
}

mod cloudevents {
    use super::*;

    #[test]
    fn the_attributes_are_the_source_block() {
        let position = |value: &str| one(None, None, value).position;
        let binlog = CLOUDEVENT
            .replace(r#""iodebeziumconnector":"postgresql""#, r#""iodebeziumconnector":"mysql","iodebeziumfile":"bin.000003","iodebeziumpos":"44","iodebeziumrow":0,"iodebeziumgtid":"ab:7""#);
        let gtid = Some(Gtid { marker: "ab".into(), number: 7 });
        assert_eq!(
            position(&binlog),
            SourcePosition::Binlog { gtid, file: 3, pos: 44, row: None, phase: Phase::Stream }
        );
        let server = CLOUDEVENT.replace(r#""iodebeziumconnector":"postgresql""#, r#""iodebeziumconnector":"sqlserver","iodebeziumcommitlsn":"00000027:00000758:0003","iodebeziumchangelsn":"00000027:00000758:0002","iodebeziumeventserialno":"2""#);
        assert!(matches!(position(&server), SourcePosition::SqlServer { serial: 2, .. }));
        let snapshot = CLOUDEVENT.replace(r#""iodebeziumsnapshot":"false""#, r#""iodebeziumsnapshot":"last""#);
        assert!(!position(&snapshot).is_streamed());
        // Without the attributes there is a row and no order.
        let bare = r#"{"id":"a","source":"b","specversion":"1.0","type":"io.debezium.connector.postgresql.DataChangeEvent","data":{"before":{"id":7},"after":null}}"#;
        let event = one(None, None, bare);
        assert_eq!((event.op, event.table.as_str(), event.position.is_none()), (Op::Delete, "shop.item", true));
        let broken = CLOUDEVENT.replace(r#"[\"90\",\"100\"]"#, "100");
        assert_eq!(read(&mut decoder(None, &[]), None, &broken).expect_err("sequence").reason, "missing_position");
    }

    #[test]
    fn data_is_two_images_or_a_row_with_a_schema_or_without() {
        let with = |op: &str, data: &str| {
            CLOUDEVENT
                .replace(r#""iodebeziumop":"u""#, &format!(r#""iodebeziumop":"{op}""#))
                .replace(r#"{"before":null,"after":{"id":7,"note":"b"}}"#, data)
        };
        let row = r#"{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"}],"optional":true,"field":"F"}"#;
        let images = format!("{},{}", row.replace("\"F\"", "\"before\""), row.replace("\"F\"", "\"after\""));
        let schema = |payload: &str| {
            format!(r#"{{"schema":{{"type":"struct","fields":[{images}],"optional":false}},"payload":{payload}}}"#)
        };
        let flat = |payload: &str| format!(r#"{{"schema":{row},"payload":{payload}}}"#);
        for (value, op) in [
            (with("c", r#"{"before":null,"after":{"id":7}}"#), Op::Upsert),
            (with("c", &schema(r#"{"before":null,"after":{"id":7}}"#)), Op::Upsert),
            (with("d", &schema(r#"{"before":{"id":7},"after":null}"#)), Op::Delete),
            (with("c", r#"{"id":7}"#), Op::Upsert),
            (with("d", r#"{"id":7}"#), Op::Delete),
            (with("c", &flat(r#"{"id":7}"#)), Op::Upsert),
        ] {
            let mut decoder = decoder(None, &[]);
            for _ in 0..2 {
                let events = read(&mut decoder, None, &value).expect(&value);
                assert_eq!((events[0].op, events[0].row.as_str()), (op, "id=7"), "{value}");
            }
        }
        let columns = with("c", r#"{"id":7,"after":"noon"}"#);
        assert_eq!(one(None, None, &columns).row, r#"id=7 after="noon""#);
        assert!(read(&mut decoder(None, &[]), None, &with("m", "{}")).expect("a message").is_empty());
        for bad in [with("x", r#"{"after":{"id":7}}"#), with("c", r#"{"after":null}"#), with("c", "{}x")] {
            assert_eq!(read(&mut decoder(None, &[]), None, &bad).expect_err(&bad).reason, "undecodable");
        }
    }
}

/// Every form with anything wrong in it: an answer, never a panic.
mod hostile {
    use proptest::prelude::*;

    use super::super::super::tests::record;
    use super::*;

    const FORMS: [&str; 11] = [
        MAXWELL,
        CANAL,
        TIDB,
        SIMPLE,
        GOLDENGATE,
        DMS,
        CLOUDEVENT,
        WRAPPED,
        ENRICHED,
        r#"{"id":1,"__deleted":"false","__op":"u","__file":"b.000002","__pos":4,"__gtid":"0-1-6","__source_ts_ms":5}"#,
        r#"{"source_table":"a.b","op":"u","key":{"id":7},"after":{"id":7},"source_position":{"lsn":"0/1"}}"#,
    ];
    const PIECES: [&str; 12] = [
        "null",
        "{}",
        "[]",
        "\"\"",
        "-1",
        "1e999",
        "true",
        "{\"a\":[{}]}",
        "\"\\u0000\"",
        "",
        "99999999999999999999",
        "\"",
    ];

    fn all(value: &str, key: Option<&[u8]>, form: Option<Form>) {
        let mut decoder = decoder(form, &["id"]);
        let headers = [("__op", Some(&b"d"[..])), ("__source_sequence", Some(value.as_bytes()))];
        for headers in [&headers[..], &[]] {
            for value in [Some(value), None] {
                let record = record("t", key, value.map(|value| value.to_owned().into()), headers);
                if let Ok(opened) = decoder.open(&record) {
                    let _ = decoder.read("t", &opened);
                }
            }
        }
    }

    #[test]
    fn deep_and_torn_records() {
        for form in FORMS {
            for cut in (0..form.len()).filter(|cut| form.is_char_boundary(*cut)) {
                all(&form[..cut], None, None);
            }
            let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
            for part in ["\"data\":", "\"after\":", "\"old\":", "\"before\":", "\"source\":", "\"__op\":"] {
                all(&form.replacen(part, &format!("{part}{deep},\"x\":"), 1), None, None);
            }
        }
    }

    proptest! {
        /// A value of a field is another one.
        #[test]
        fn other_values(form in 0..FORMS.len(), at in any::<prop::sample::Index>(), piece in 0..PIECES.len(), named: bool) {
            let text = FORMS[form];
            let colons: Vec<usize> = text.match_indices("\":").map(|(at, _)| at + 2).collect();
            let start = colons[at.index(colons.len())];
            let rest = &text[start..];
            let end = rest.find(",\"").unwrap_or(rest.len() - 1);
            let value = format!("{}{}{}", &text[..start], PIECES[piece], &rest[end..]);
            all(&value, Some(b"[7]"), detect(text).filter(|_| named));
        }

        /// Bytes that begin as the open protocol's.
        #[test]
        fn open_protocol(key in prop::collection::vec(any::<u8>(), 9..60), value in ".{0,60}") {
            let key = [&1u64.to_be_bytes()[..], &key].concat();
            all(&value, Some(&key), None);
        }
    }
}
