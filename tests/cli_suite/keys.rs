//! Record keys of every kind and the delete modes of flattened rows, from a file into a table: deletes find their row.

use super::forms::{assert_history, record};

const SOURCE: &str = r#""source":{"connector":"postgresql","name":"shop","ts_ms":1735689600000,"snapshot":"false","db":"app","sequence":"[null,\"LSN\"]","schema":"shop","table":"item"}"#;

/// A change of Debezium's; `before` is null, so that only the record key names a deleted row.
fn debezium(op: &str, lsn: u64, after: &str) -> String {
    let source = SOURCE.replace("LSN", &lsn.to_string());
    format!(r#"{{"before":null,"after":{after},{source},"op":"{op}","ts_ms":1735689600000}}"#)
}

/// 1 made and changed; 2 made and deleted; 30 made.
fn history() -> Vec<(u64, String)> {
    vec![
        (1, debezium("c", 100, r#"{"id":1,"note":"old"}"#)),
        (2, debezium("c", 101, r#"{"id":2,"note":"x"}"#)),
        (30, debezium("c", 102, r#"{"id":30,"note":"moved"}"#)),
        (1, debezium("u", 103, r#"{"id":1,"note":"new"}"#)),
        (2, debezium("d", 104, "null")),
    ]
}

#[test]
fn deletes_find_their_row_by_keys_of_every_kind() {
    for (key, rule) in [
        (r#"{"id":K}"#, ""),
        ("K", "key = [\"id\"]\n"),
        ("[K]", "key = [\"id\"]\n"),
        (r#"{"schema":{"type":"int64","optional":false},"payload":K}"#, "key = [\"id\"]\n"),
        ("\"K\"", "key = [\"id\"]\n"),
        ("K", "key = [\"id\"]\nkey_format = \"string\"\n"),
    ] {
        let records: Vec<_> = history()
            .into_iter()
            .flat_map(|(id, value)| {
                let key = key.replace('K', &id.to_string());
                let shadow = value.contains(r#""op":"d""#).then(|| record(Some(&key), None));
                [Some(record(Some(&key), Some(&value))), shadow]
            })
            .flatten()
            .collect();
        assert_history(&records, rule, "postgresql");
    }
}

fn flat(op: &str, lsn: u64, row: &str) -> String {
    format!(r#"{{{row},"__op":"{op}","__source_sequence":"[null,\"{lsn}\"]"}}"#)
}

/// `rewrite` and `rewrite-with-tombstone`.
#[test]
fn flat_rows_that_say_that_they_are_deleted() {
    for with_tombstone in [false, true] {
        let row = |id: u64, note: &str, deleted: bool| format!(r#""id":{id},"note":"{note}","__deleted":"{deleted}""#);
        let key = |id: u64| format!(r#"{{"id":{id}}}"#);
        let change = |id, op, lsn, note, deleted| record(Some(&key(id)), Some(&flat(op, lsn, &row(id, note, deleted))));
        let mut records = vec![
            change(1, "r", 100, "old", false),
            change(2, "c", 101, "x", false),
            change(30, "c", 102, "moved", false),
            change(1, "u", 103, "new", false),
            change(2, "d", 104, "x", true),
        ];
        if with_tombstone {
            records.push(record(Some(&key(2)), None));
        }
        assert_history(&records, "", "postgresql");
    }
}

/// `tombstone` (null with or without its schema) and `delete-to-tombstone` (no bytes): the null alone names the key, or its headers
/// place it.
#[test]
fn flat_rows_whose_deletes_are_nulls() {
    let with_schema = r#"{"schema":{"type":"struct","fields":[],"optional":true},"payload":null}"#;
    for null in [None, Some("null"), Some(with_schema)] {
        for placed in [false, true] {
            let key = |id: u64| format!(r#"{{"id":{id}}}"#);
            let change = |id: u64, op: &str, lsn: u64, note: &str| {
                record(Some(&key(id)), Some(&flat(op, lsn, &format!(r#""id":{id},"note":"{note}""#))))
            };
            let mut delete = record(Some(&key(2)), null);
            if placed {
                let headers = ["__op", "d", "__source_sequence", r#"[null,"104"]"#];
                delete.headers = headers.map(str::to_owned).to_vec();
            }
            let records = [
                change(1, "r", 100, "old"),
                change(2, "c", 101, "x"),
                change(30, "c", 102, "moved"),
                change(1, "u", 103, "new"),
                delete,
            ];
            assert_history(&records, "", "postgresql");
        }
    }
}

/// `add.headers` with a prefix of its own, keys of plain text: nothing of the transform is in the value.
#[test]
fn flat_rows_with_everything_in_headers() {
    let change = |id: u64, op: &str, lsn: u64, value: Option<&str>| {
        let mut change = record(Some(&id.to_string()), value);
        let sequence = format!(r#"[null,"{lsn}"]"#);
        change.headers = ["cdc_op", op, "cdc_source_sequence", &sequence].map(str::to_owned).to_vec();
        change
    };
    let records = [
        change(1, "c", 100, Some(r#"{"id":1,"note":"old"}"#)),
        change(2, "c", 101, Some(r#"{"id":2,"note":"x"}"#)),
        change(30, "c", 102, Some(r#"{"id":30,"note":"moved"}"#)),
        change(1, "u", 103, Some(r#"{"id":1,"note":"new"}"#)),
        change(2, "d", 104, None),
    ];
    assert_history(&records, "key = [\"id\"]\nflat_prefix = \"cdc_\"\n", "postgresql");
}
