//! Records of other products, from a file into tables that are there: decoded, ordered, applied once.

use serde_json::Value;

use crate::support::captures::Captured;
use crate::support::database::{Database, assert_same};
use crate::support::program::{number, over_files};

const TOPIC: &str = "src.shop.item";

/// A record of the topic; its offset is given when it is delivered.
pub(super) fn record(key: Option<&str>, value: Option<&str>) -> Captured {
    Captured {
        topic: TOPIC.to_owned(),
        partition: 0,
        offset: 0,
        ts: 1_735_689_600_000,
        headers: Vec::new(),
        key: key.map(str::to_owned),
        payload: value.map(str::to_owned),
    }
}

/// A history as a source delivers it that starts again at its beginning after every record.
pub(super) fn every_delivery(history: &[Captured]) -> Vec<Captured> {
    let prefixes = (1..=history.len()).flat_map(|length| &history[..length]);
    prefixes.enumerate().map(|(offset, record)| Captured { offset: offset as i64, ..record.clone() }).collect()
}

/// The history leaves 1 new and 30 moved, delivered in every way, in small batches, and after a replay; 1's token has the layout.
#[track_caller]
pub(super) fn assert_history(history: &[Captured], rule: &str, layout: &str) {
    let database = Database::sqlite();
    database.execute(&format!("create table {} (id integer not null primary key, note text)", database.table("item")));
    let records = every_delivery(history);
    let extra = format!("[[table]]\ntopic = {TOPIC:?}\ninto = \"main.item\"\n{rule}");
    let program = over_files(&database, &records, &extra);
    let run: Value = program.catch_up(&["--set", "batch.rows=2"]);
    assert_eq!(number(&run, "quarantined"), 0, "{run}");
    assert!(run["halted"].as_array().is_some_and(Vec::is_empty), "{run}");
    assert_eq!(number(&run, "records"), records.len() as i64, "{run}");
    let contents = database.contents();
    program.run(&["replay", "--topic", TOPIC, "--from-beginning"]).ok();
    assert_same("a replay", &contents, &database.contents());
    let rows = database.texts(&format!("select id, note from {} order by id", database.table("item")));
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(rows, [[text("1"), text("new")], [text("30"), text("moved")]]);
    let token = format!("select hex(_lastword_token) from {} where id = 1", database.table("item"));
    let token = database.texts(&token).remove(0).remove(0).expect("a token");
    let decoded = program.run(&["token", "decode", &token, "--json"]).ok().json();
    assert_eq!(decoded["layout"], layout, "{decoded}");
}

#[track_caller]
fn assert_rows(values: &[(Option<&str>, &str)], rule: &str, layout: &str) {
    let history: Vec<_> = values.iter().map(|(key, value)| record(*key, Some(value))).collect();
    assert_history(&history, rule, layout);
}

/// Each history: 1 made and changed; 2 made and deleted; 3 made and moved to 30.
#[test]
fn maxwell() {
    let record = |kind: &str, at: u64, data: &str, old: &str| {
        format!(
            r#"{{"database":"shop","table":"item","type":"{kind}","ts":1735689600,"xid":{at},"commit":true,"position":"mysql-bin.{at}:4","primary_key_columns":["id"],"data":{data}{old}}}"#
        )
    };
    let values = [
        record("insert", 999_998, r#"{"id":1,"note":"old"}"#, ""),
        record("insert", 999_998, r#"{"id":2,"note":"x"}"#, ""),
        record("insert", 999_998, r#"{"id":3,"note":"moved"}"#, ""),
        record("update", 999_999, r#"{"id":1,"note":"mid"}"#, r#","old":{"note":"old"}"#),
        record("update", 1_000_000, r#"{"id":1,"note":"new"}"#, r#","old":{"note":"mid"}"#),
        record("delete", 1_000_000, r#"{"id":2,"note":"x"}"#, ""),
        record("update", 1_000_001, r#"{"id":30,"note":"moved"}"#, r#","old":{"id":3}"#),
    ];
    let values: Vec<_> = values.iter().map(|value| (None, value.as_str())).collect();
    assert_rows(&values, "", "binlog");
}

#[test]
fn canal_with_several_rows_and_a_chain_of_moves() {
    let record = |kind: &str, gtid: u64, data: &str, old: &str| {
        format!(
            r#"{{"id":1,"database":"shop","table":"item","pkNames":["id"],"isDdl":false,"type":"{kind}","es":1735689600000,"ts":1,"sql":"","data":[{data}],"old":{old},"gtid":"ab:{gtid}"}}"#
        )
    };
    let values = [
        record("INSERT", 8, r#"{"id":"1","note":"old"},{"id":"2","note":"x"},{"id":"28","note":"moved"}"#, "null"),
        record("UPDATE", 9, r#"{"id":"1","note":"new"}"#, r#"[{"note":"old"}]"#),
        // One statement moves 28 to 29 and 29 to 30.
        record(
            "UPDATE",
            10,
            r#"{"id":"29","note":"moved"},{"id":"30","note":"moved"}"#,
            r#"[{"id":"28"},{"id":"29"}]"#,
        ),
        record("DELETE", 11, r#"{"id":"2","note":"x"}"#, "null"),
    ];
    let values: Vec<_> = values.iter().map(|value| (None, value.as_str())).collect();
    assert_rows(&values, "", "binlog");
}

#[test]
fn ticdc_simple() {
    let record = |kind: &str, commit: u64, rows: &str| {
        format!(
            r#"{{"version":1,"database":"shop","table":"item","type":"{kind}","commitTs":{commit},"buildTs":1,{rows}}}"#
        )
    };
    let values = [
        record("INSERT", 500, r#""data":{"id":1,"note":"old"}"#),
        record("INSERT", 500, r#""data":{"id":2,"note":"x"}"#),
        record("INSERT", 500, r#""data":{"id":3,"note":"moved"}"#),
        record("UPDATE", 1000, r#""data":{"id":1,"note":"new"},"old":{"id":1,"note":"old"}"#),
        record("DELETE", 1000, r#""old":{"id":2,"note":"x"}"#),
        record("UPDATE", 1001, r#""data":{"id":30,"note":"moved"},"old":{"id":3,"note":"moved"}"#),
        r#"{"version":1,"type":"WATERMARK","commitTs":1002,"buildTs":1}"#.to_owned(),
    ];
    let values: Vec<_> = values.iter().map(|value| (None, value.as_str())).collect();
    assert_rows(&values, "key = [\"id\"]\n", "tidb");
}

#[test]
fn goldengate() {
    let record = |op: &str, pos: u64, images: &str| {
        format!(
            r#"{{"table":"SHOP.ITEM","op_type":"{op}","op_ts":"2025-01-01 00:00:00.000123","pos":"{pos:020}","primary_keys":["id"],{images}}}"#
        )
    };
    let values = [
        record("I", 900, r#""after":{"id":1,"note":"old"}"#),
        record("I", 910, r#""after":{"id":2,"note":"x"}"#),
        record("I", 920, r#""after":{"id":3,"note":"moved"}"#),
        record("U", 1000, r#""before":{"id":1,"note":"old"},"after":{"id":1,"note":"new"}"#),
        record("D", 1001, r#""before":{"id":2,"note":"x"}"#),
        record("U", 1002, r#""before":{"id":3,"note":"moved"},"after":{"id":30,"note":"moved"}"#),
    ];
    let values: Vec<_> = values.iter().map(|value| (None, value.as_str())).collect();
    assert_rows(&values, "", "goldengate");
}

#[test]
fn cockroachdb_wrapped() {
    let record = |after: &str, clock: &str| format!(r#"{{"after":{after},"updated":"{clock}"}}"#);
    let values = [
        record(r#"{"id":1,"note":"old"}"#, "999.0000000001"),
        record(r#"{"id":2,"note":"x"}"#, "999.0000000001"),
        record(r#"{"id":1,"note":"new"}"#, "1000.0000000000"),
        record("null", "1000.0000000010"),
        record(r#"{"id":30,"note":"moved"}"#, "1000.0000000009"),
        r#"{"resolved":"1001.0000000000"}"#.to_owned(),
    ];
    let keys = [Some("[1]"), Some("[2]"), Some("[1]"), Some("[2]"), Some("[30]"), None];
    let values: Vec<_> = keys.into_iter().zip(values.iter().map(String::as_str)).collect();
    assert_rows(&values, "key = [\"id\"]\n", "cockroachdb");
}

#[test]
fn dms_by_name_and_by_offsets() {
    let record = |operation: &str, data: &str| {
        format!(
            r#"{{"data":{data},"metadata":{{"timestamp":"2025-01-01T00:00:00.000000Z","record-type":"data","operation":"{operation}","schema-name":"shop","table-name":"item"}}}}"#
        )
    };
    let values = [
        record("load", r#"{"id":1,"note":"old"}"#),
        record("insert", r#"{"id":2,"note":"x"}"#),
        record("insert", r#"{"id":30,"note":"moved"}"#),
        record("update", r#"{"id":1,"note":"new"}"#),
        record("delete", r#"{"id":2}"#),
    ];
    let values: Vec<_> = values.iter().map(|value| (None, value.as_str())).collect();
    assert_rows(&values, "key = [\"id\"]\nformat = \"dms\"\noffset_order = true\n", "kafka offset");
}

/// The open protocol: keys and values are bytes, with lengths so small that they are text.
#[test]
fn ticdc_open_protocol() {
    let id = |id: u64| format!(r#""id":{{"t":3,"h":true,"f":11,"v":{id}}}"#);
    let row = |number: u64, note: &str| {
        let note = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, note);
        format!(r#"{{{},"note":{{"t":252,"f":64,"v":"{note}"}}}}"#, id(number))
    };
    let with_length = |text: &str| [&(text.len() as u64).to_be_bytes()[..], text.as_bytes()].concat();
    let event = |commit: u64, value: String| (format!(r#"{{"ts":{commit},"scm":"shop","tbl":"item","t":1}}"#), value);
    let record = |events: &[(String, String)]| {
        let keys: Vec<u8> = events.iter().flat_map(|(key, _)| with_length(key)).collect();
        let values: Vec<u8> = events.iter().flat_map(|(_, value)| with_length(value)).collect();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("small lengths are text");
        record(Some(&text([&1u64.to_be_bytes()[..], &keys].concat())), Some(&text(values)))
    };
    let upsert = |row: String| format!(r#"{{"u":{row}}}"#);
    let history = [
        record(&[
            event(500, upsert(row(1, "old"))),
            event(500, upsert(row(2, "x"))),
            event(500, upsert(row(3, "moved"))),
        ]),
        record(&[event(1000, upsert(row(1, "new")))]),
        record(&[
            event(1001, format!(r#"{{"d":{{{}}}}}"#, id(2))),
            event(1001, format!(r#"{{"u":{},"p":{{{}}}}}"#, row(30, "moved"), id(3))),
        ]),
        record(&[(r#"{"ts":1002,"t":3}"#.to_owned(), String::new())]),
    ];
    assert_history(&history, "", "tidb");
}

/// Each value as its source wrote it, in tables that are made for them.
#[test]
fn types_that_records_name_make_tables() {
    let canal = r#"{"id":1,"database":"main","table":"wide","pkNames":["id"],"isDdl":false,"type":"INSERT","es":1735689600000,"ts":1,"mysqlType":{"id":"bigint unsigned","price":"decimal(10,2)","at":"datetime(3)","day":"date","b":"blob","f":"double","t":"varchar(9)"},"data":[{"id":"18446744073709551615","price":"12.30","at":"2024-02-29 01:02:03.004","day":"2024-02-29","b":"\u0000ÿA","f":"1.5","t":"x"}],"old":null,"gtid":"ab:7"}"#;
    let database = Database::sqlite();
    let program = over_files(&database, &every_delivery(&[record(None, Some(canal))]), "");
    let checked = program.run(&["check", "--json"]).ok().json();
    assert_eq!(checked["tables"][0]["format"], "canal", "{checked}");
    assert_eq!(checked["tables"][0]["key_source"], "fields of the value", "{checked}");
    let run: Value = program.catch_up(&[]);
    assert_eq!((number(&run, "applied"), number(&run, "quarantined")), (1, 0), "{run}");
    let select = format!("select id, price, at, day, hex(b), cast(f as text), t from {}", database.table("wide"));
    let row: Vec<_> = database.texts(&select).remove(0).into_iter().map(|cell| cell.unwrap_or_default()).collect();
    let expected = ["18446744073709551615", "12.30", "2024-02-29 01:02:03.004", "2024-02-29", "00FF41", "1.5", "x"];
    assert_eq!(row, expected);
}

#[test]
fn cloudevents() {
    let record = |op: &str, lsn: u64, data: &str| {
        format!(
            r#"{{"id":"name:shop;lsn:{lsn}","source":"/debezium/postgresql/shop","specversion":"1.0","type":"io.debezium.connector.postgresql.DataChangeEvent","time":"2025-01-01T00:00:00.000Z","datacontenttype":"application/json","iodebeziumop":"{op}","iodebeziumversion":"3.2.0.Final","iodebeziumconnector":"postgresql","iodebeziumname":"shop","iodebeziumtsms":"1735689600000","iodebeziumsnapshot":"false","iodebeziumdb":"app","iodebeziumsequence":"[null,\"{lsn}\"]","iodebeziumschema":"shop","iodebeziumtable":"item","iodebeziumtxId":"7","data":{data}}}"#
        )
    };
    let values = [
        record("c", 100, r#"{"before":null,"after":{"id":1,"note":"old"}}"#),
        record("c", 101, r#"{"before":null,"after":{"id":2,"note":"x"}}"#),
        record("c", 102, r#"{"before":null,"after":{"id":30,"note":"moved"}}"#),
        record("u", 1000, r#"{"before":null,"after":{"id":1,"note":"new"}}"#),
        record("d", 1001, r#"{"before":null,"after":null}"#),
    ];
    let keys = ["1", "2", "30", "1", "2"].map(|id| Some(format!(r#"{{"id":{id}}}"#)));
    let values: Vec<_> = keys.iter().map(Option::as_deref).zip(values.iter().map(String::as_str)).collect();
    assert_rows(&values, "", "postgresql");
}

/// What `check` says of forms that hold no rows: the reason, and exit code 3.
#[test]
fn a_form_without_rows_is_refused_by_check() {
    let bare = r#"{"__crdb__":{"updated":"1735689601000000000.0000000000"},"id":7}"#;
    let database = Database::sqlite();
    let program = over_files(&database, &[record(Some("[7]"), Some(bare))], "");
    let checked = program.run(&["check", "--json"]).code(3).json();
    let table = &checked["tables"][0];
    assert_eq!((table["verdict"].as_str(), table["format"].as_str()), (Some("refused"), Some("cockroachdb")));
    assert!(table["why"].as_str().is_some_and(|why| why.contains("envelope = 'wrapped'")), "{table}");
}
