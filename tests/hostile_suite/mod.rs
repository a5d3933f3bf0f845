//! Hostile input through the whole program. What only reads bytes is fuzzed in `src/tests/hostile`.

mod giants;
mod injection;
mod mutated;
mod store;

use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use crate::support::program::Finished;

/// A record whose bytes may be anything.
#[derive(Clone)]
struct Bytes {
    topic: String,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

/// Writes records to a file, each topic with offsets of its own.
fn write(path: &Path, records: &[Bytes]) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
    let mut next = std::collections::BTreeMap::new();
    for record in records {
        let offset = next.entry(&record.topic).or_insert(0_i64);
        let base64 = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| BASE64.encode(bytes));
        let line = json!({"topic": record.topic, "partition": 0, "offset": offset, "ts": 1_700_000_000_000_i64,
            "key_b64": base64(&record.key), "payload_b64": base64(&record.value)});
        *offset += 1;
        writeln!(file, "{line}").expect("a line is written");
    }
    file.flush().expect("the file is written");
}

/// A process may refuse, but it ends with a documented code and without a panic in any of its threads.
#[track_caller]
fn in_order(finished: Finished) -> Finished {
    assert!(matches!(finished.code, Some(0..=5)), "{}: code {:?}\n{}", finished.what, finished.code, finished.stderr);
    assert!(!finished.stderr.contains("panicked"), "{}:\n{}", finished.what, finished.stderr);
    finished
}
