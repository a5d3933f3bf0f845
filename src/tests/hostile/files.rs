//! The file source: lines that are records, lines that are none, and packed files that are damaged.

use std::io::Write;
use std::sync::LazyLock;

use super::{bounded, fuzz};
use crate::config::checked::FileConfig;
use crate::source::file::FileSource;
use crate::support::captures;
use crate::support::mutate::{self, Tape};

static LINES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let path = captures::folder().join("postgresql/json-plain/key_update.jsonl");
    std::fs::read_to_string(path).expect("a capture").lines().map(str::to_owned).collect()
});

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).expect("packed");
    packer.finish().expect("packed")
}

fn content(tape: &mut Tape<'_>) -> Vec<u8> {
    let mut content = Vec::new();
    for _ in 0..tape.below(12) {
        match tape.below(8) {
            0 => content.extend_from_slice(tape.take(20)),
            1 => content.extend_from_slice(b"  \r"),
            2 => content.extend(mutate::json(tape.pick::<String>(&LINES), tape)),
            3 => content.extend_from_slice(
                format!(
                    r#"{{"topic":"t","partition":{},"offset":{},"key":null,"payload_b64":"/w=="}}"#,
                    tape.byte(),
                    tape.number().cast_signed()
                )
                .as_bytes(),
            ),
            _ => content.extend_from_slice(tape.pick(&LINES).as_bytes()),
        }
        content.push(b'\n');
    }
    if tape.one_in(3) {
        content = packed(&content);
        if tape.one_in(2) {
            content.extend(packed(b"\n"));
        }
        if tape.one_in(2) {
            mutate::damage(&mut content, tape);
        }
    }
    content
}

/// Topics and their partitions, or an error that names the file and the line; the same every time. A range is never empty, and never
/// holds more than there were lines.
fn any_file(bytes: &[u8]) {
    let content = content(&mut Tape::new(bytes));
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("records.jsonl");
    std::fs::write(&path, &content).expect("written");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let look = || {
        let config = FileConfig { paths: vec![path.clone()], topics: Vec::new() };
        let source = FileSource::new(&config).expect("a source");
        runtime
            .block_on(source.topics())
            .map(|topics| topics.into_iter().map(|it| (it.topic, it.partitions)).collect::<Vec<_>>())
    };
    // The files are read on another thread; what this one holds is the answer.
    let first = bounded(content.len(), 100, 4 << 20, look);
    let again = look();
    match (first, again) {
        (Ok(first), Ok(again)) => {
            assert!(first.iter().all(|(topic, partitions)| !topic.is_empty() && *partitions > 0));
            assert_eq!(first, again);
        }
        (Err(first), Err(again)) => {
            assert_eq!(first.to_string(), again.to_string());
            assert!(first.to_string().contains("records.jsonl"), "{first}");
        }
        (first, again) => panic!("first {first:?}, then {again:?}"),
    }
}

fuzz!(files_of_any_lines, any_file);
