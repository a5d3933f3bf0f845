//! Captured records: read from the files of `tests/captures`, ordered in other ways, written to files of a test's own.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::random::Random;

/// A record as `kcat -J` prints it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Captured {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Time in milliseconds.
    #[serde(default)]
    pub ts: i64,
    /// Names and values in turn.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Key; `None` for no bytes.
    pub key: Option<String>,
    /// Value; `None` for no bytes.
    pub payload: Option<String>,
}

/// The folder of the captures.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}

/// The file of a scenario, if the connector has it in this form.
pub fn file(connector: &str, form: &str, scenario: &str) -> Option<PathBuf> {
    let plain = folder().join(connector).join(form).join(format!("{scenario}.jsonl"));
    let packed = plain.with_extension("jsonl.gz");
    [plain, packed].into_iter().find(|path| path.exists())
}

/// All scenarios of a connector in a form, by name.
pub fn scenarios(connector: &str, form: &str) -> Vec<String> {
    let dir = folder().join(connector).join(form);
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .map(|name| name.trim_end_matches(".gz").trim_end_matches(".jsonl").to_owned())
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no captures in {}", dir.display());
    names
}

/// The records of a file.
pub fn read(path: &Path) -> Vec<Captured> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("a gzip file");
    } else {
        text = String::from_utf8(bytes).expect("text");
    }
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

/// Writes records to a file.
pub fn write(path: &Path, records: &[Captured]) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
    for record in records {
        writeln!(file, "{}", serde_json::to_string(record).expect("a line")).expect("a line is written");
    }
    file.flush().expect("the file is written");
}

/// The topics of records, in order.
pub fn topics(records: &[Captured]) -> Vec<String> {
    let mut topics: Vec<String> = records.iter().map(|record| record.topic.clone()).collect();
    topics.sort();
    topics.dedup();
    topics
}

/// The table that an expected file is about: `<scenario>.<schema>.<table>.tsv`.
pub struct Expected {
    /// Scenario.
    pub scenario: String,
    /// Schema or database of the source.
    pub schema: String,
    /// Table of the source.
    pub table: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows; `None` for NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// What the tables of a scenario held in the end.
pub fn expected(connector: &str, scenario: &str) -> Vec<Expected> {
    let dir = folder().join(connector).join("expected");
    let prefix = format!("{scenario}.");
    let mut found: Vec<Expected> = std::fs::read_dir(dir)
        .expect("expected contents")
        .map(|entry| entry.expect("an entry").path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_prefix(&prefix)?.strip_suffix(".tsv")?;
            let (schema, table) = name.split_once('.')?;
            Some(parse_expected(scenario, schema, table, &std::fs::read_to_string(&path).expect("text")))
        })
        .collect();
    found.sort_by(|a, b| a.table.cmp(&b.table));
    found
}

fn parse_expected(scenario: &str, schema: &str, table: &str, text: &str) -> Expected {
    let mut lines = text.lines().map(|line| line.split('\t').map(unescape).collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    Expected {
        scenario: scenario.to_owned(),
        schema: schema.to_owned(),
        table: table.to_owned(),
        columns: header.into_iter().map(|name| name.expect("a name")).collect(),
        rows: lines.collect(),
    }
}

fn unescape(cell: &str) -> Option<String> {
    if cell == "\\N" {
        return None;
    }
    let mut text = String::new();
    let mut chars = cell.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('t') => text.push('\t'),
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('b') => text.push('\u{8}'),
                Some('f') => text.push('\u{c}'),
                Some('v') => text.push('\u{b}'),
                Some('0') => text.push('\0'),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            (c, false) => text.push(c),
        }
    }
    Some(text)
}

/// A worse delivery: inside each partition the keys are shuffled against each other and stretches of a key's records come
/// again; the order of one key's records and the null behind its delete stay as they were. Offsets are given anew.
pub fn shuffled(records: &[Captured], seed: u64) -> Vec<Captured> {
    let mut random = Random::new(seed);
    let mut lines: BTreeMap<(String, i32, Option<String>), Vec<Captured>> = BTreeMap::new();
    for record in records {
        lines.entry((record.topic.clone(), record.partition, record.key.clone())).or_default().push(record.clone());
    }
    let mut lines: Vec<VecDeque<Captured>> = lines.into_values().map(|line| repeat(line, &mut random)).collect();
    let mut next: BTreeMap<(String, i32), i64> = BTreeMap::new();
    let mut shuffled = Vec::new();
    while !lines.is_empty() {
        let at = random.below(lines.len() as u64) as usize;
        let line = &mut lines[at];
        // A null that stands behind its delete is delivered right behind it: Kafka keeps the order of a partition.
        let mut taken = line.pop_front();
        while let Some(mut record) = taken {
            let offset = next.entry((record.topic.clone(), record.partition)).or_default();
            record.offset = *offset;
            *offset += 1;
            shuffled.push(record);
            taken = if line.front().is_some_and(|next| next.payload.is_none()) { line.pop_front() } else { None };
        }
        if line.is_empty() {
            lines.swap_remove(at);
        }
    }
    shuffled
}

/// A stretch of a key's records, up to its end, comes again (a connector that was restarted).
fn repeat(mut line: Vec<Captured>, random: &mut Random) -> VecDeque<Captured> {
    let starts: Vec<usize> = (0..line.len()).filter(|at| line[*at].payload.is_some()).collect();
    if random.below(2) == 0 && !starts.is_empty() {
        let from = starts[random.below(starts.len() as u64) as usize];
        line.extend(line[from..].to_vec());
    }
    line.into()
}
