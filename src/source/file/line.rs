//! Lines of a file: one record each, as `kcat -C -J` prints it.
//!
//! ```text
//! {"topic":"t","partition":0,"offset":7,"tstype":"create","ts":1795254836483,"broker":1,
//!  "headers":["name","value"],"key":"{\"id\":1}","payload":null}
//! ```
//!
//! Text is the bytes themselves, null is null. `kcat` prints bytes that are not UTF-8 as they are (no JSON any more, strictly
//! speaking); they are read as they are. Other tools may write `key_b64` and `payload_b64` instead of `key` and `payload`.
//! `key` and `payload` must be there: one that is missing is not taken for null, which would be a delete.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::core::failure::Failure;
use crate::core::record::{Headers, Record, TopicPartition};

/// Longest line that is read, so that a file of another kind does not fill the memory.
const LINE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Longest name of a topic that Kafka takes; the bookkeeping has no room for longer ones.
const TOPIC_BYTES_MAX: usize = 249;
/// Memory for reading ahead, per open file.
const BUFFER_BYTES: usize = 256 * 1024;

/// The lines of one file, plain or gzip (known by its first bytes, with any number of members).
pub(super) struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    buffer: Vec<u8>,
    number: u64,
}

impl Lines {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::operator("file", format!("cannot read {}: {error}; check `paths` in [source]", path.display()))
        };
        let mut plain = BufReader::with_capacity(BUFFER_BYTES, File::open(path).map_err(failed)?);
        let packed = plain.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn BufRead> = if packed {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        Ok(Self { path: path.to_owned(), reader, buffer: Vec::new(), number: 0 })
    }

    /// The next record; `None` at the end of the file. Blank lines are passed over, anything else must be a record.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Failure> {
        loop {
            self.buffer.clear();
            self.number += 1;
            let read = self.reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.buffer);
            match read {
                Err(error) => return Err(self.failure(&format!("cannot be read: {error}"))),
                Ok(0) => return Ok(None),
                Ok(read) if read as u64 >= LINE_BYTES_MAX => return Err(self.failure("is longer than 256 MiB")),
                Ok(_) if self.buffer.iter().all(u8::is_ascii_whitespace) => {}
                Ok(_) => return parse(&self.buffer).map(Some).map_err(|reason| self.failure(&reason)),
            }
        }
    }

    /// A failure that names file and line.
    pub(super) fn failure(&self, what: &str) -> Failure {
        let place = format!("{} line {}", self.path.display(), self.number);
        Failure::operator("file", format!("{place} {what}; expected is one record a line, as `kcat -C -J` prints it"))
    }
}

#[derive(Deserialize)]
struct Line {
    topic: String,
    partition: i32,
    offset: i64,
    ts: Option<i64>,
    tstype: Option<String>,
    #[serde(default)]
    headers: Option<Vec<Option<Text>>>,
    #[serde(default, deserialize_with = "present")]
    key: Option<Option<Text>>,
    #[serde(default, deserialize_with = "present")]
    payload: Option<Option<Text>>,
    #[serde(default, deserialize_with = "present")]
    key_b64: Option<Option<Text>>,
    #[serde(default, deserialize_with = "present")]
    payload_b64: Option<Option<Text>>,
}

/// Reads one line. Errors say what is wrong, never what the record holds.
fn parse(line: &[u8]) -> Result<Record, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => format!("is no record: {}", without_values(&error)),
        _ => format!("is not JSON at column {}", error.column()),
    })?;
    let length = line.topic.len();
    if length == 0 || length > TOPIC_BYTES_MAX || line.topic.chars().any(char::is_control) {
        return Err("has an impossible `topic`".to_owned());
    }
    if line.partition < 0 || line.offset < 0 || line.offset == i64::MAX {
        return Err("has an impossible `partition` or `offset`".to_owned());
    }
    let known_time = line.tstype.as_deref() != Some("unknown");
    Ok(Record {
        at: TopicPartition::new(line.topic, line.partition),
        offset: line.offset,
        timestamp_ms: line.ts.filter(|ts| known_time && *ts >= 0),
        key: field("key", line.key, line.key_b64)?,
        value: field("payload", line.payload, line.payload_b64)?.map(Into::into),
        headers: headers(line.headers.unwrap_or_default())?,
        framed: None,
    })
}

/// serde's texts about data may repeat a value; what it is about is enough.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("missing field") || text.starts_with("duplicate field") {
        return text.split(" at line").next().unwrap_or_default().to_owned();
    }
    format!("a field has another type than expected at column {}", error.column())
}

fn field(name: &str, text: Option<Option<Text>>, base64: Option<Option<Text>>) -> Result<Option<Bytes>, String> {
    match (text, base64) {
        (Some(text), None) => Ok(text.map(|text| text.0.into())),
        (None, Some(None)) => Ok(None),
        (None, Some(Some(encoded))) => match STANDARD.decode(&encoded.0) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(_) => Err(format!("has a `{name}_b64` that is not base64")),
        },
        (None, None) => Err(format!("has no `{name}`")),
        (Some(_), Some(_)) => Err(format!("has both `{name}` and `{name}_b64`")),
    }
}

fn headers(flat: Vec<Option<Text>>) -> Result<Headers, String> {
    if !flat.len().is_multiple_of(2) {
        return Err("has `headers` that are not pairs of name and value".to_owned());
    }
    let mut pairs = Vec::with_capacity(flat.len() / 2);
    for pair in flat.chunks_exact(2) {
        let name = pair[0].as_ref().ok_or("has a header without a name")?;
        pairs.push((String::from_utf8_lossy(&name.0), pair[1].as_ref().map(|value| value.0.as_slice())));
    }
    Ok(Headers::pack(pairs.iter().map(|(name, value)| (name.as_ref(), *value))))
}

/// Tells a field that is null (`Some(None)`) from one that is not there (`None`).
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Text>>, D::Error> {
    Option::<Text>::deserialize(deserializer).map(Some)
}

/// The bytes of a JSON string, UTF-8 or not.
struct Text(Vec<u8>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("text")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(bytes.to_vec()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.as_bytes().to_vec()))
            }
        }
        deserializer.deserialize_bytes(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_kcat_is_a_record() {
        let line = br#"{"topic":"t","partition":3,"offset":7,"tstype":"create","ts":12,"broker":1,"headers":["a","1","b",null],"key":"{\"id\":1}","payload":"x\u0000\u00e9"}"#;
        let record = parse(line).expect("a record");
        assert_eq!((record.at.to_string().as_str(), record.offset, record.timestamp_ms), ("t[3]", 7, Some(12)));
        assert_eq!(record.key.as_deref(), Some(br#"{"id":1}"#.as_slice()));
        assert_eq!(record.value.as_ref().map(|value| &**value.body()), Some("x\0é".as_bytes()));
        let headers: Vec<_> = record.headers.iter().collect();
        assert_eq!(headers, [("a".to_owned(), Some(Bytes::from_static(b"1"))), ("b".to_owned(), None)]);
    }

    #[test]
    fn null_empty_raw_and_base64_bytes_are_told_apart() {
        let mut line = br#"{"topic":"t","partition":0,"offset":0,"key":null,"payload":"?"}"#.to_vec();
        let at = line.iter().position(|byte| *byte == b'?').expect("the mark");
        line[at] = 0xff;
        let record = parse(&line).expect("a record");
        assert_eq!((record.key, record.value.as_ref().map(|value| &**value.body())), (None, Some([0xff].as_slice())));
        let record =
            parse(br#"{"topic":"t","partition":0,"offset":0,"key":"","payload_b64":"/wA="}"#).expect("a record");
        assert_eq!(
            (record.key.as_deref(), record.value.as_ref().map(|value| &**value.body())),
            (Some(b"".as_slice()), Some([0xff, 0].as_slice()))
        );
    }

    #[test]
    fn what_is_no_record_is_refused_without_its_values() {
        let long =
            format!(r#"{{"topic":"{}","partition":0,"offset":1,"key":"k","payload":"secret"}}"#, "t".repeat(250));
        for (line, part) in [
            (long.as_str(), "impossible"),
            (r#"{"topic":"t","partition":0,"offset":0,"key":"secret"}"#, "no `payload`"),
            (r#"{"topic":"t","partition":0,"offset":0,"payload":"secret"}"#, "no `key`"),
            (r#"{"topic":"t","partition":0,"offset":0,"key":"k","payload":"secret","payload_b64":""}"#, "both"),
            (r#"{"topic":"t","partition":0,"key":"k","payload":"secret"}"#, "missing field `offset`"),
            (r#"{"topic":"t","partition":"secret","offset":0,"key":"k","payload":""}"#, "another type"),
            (r#"{"topic":"t","partition":0,"offset":-1,"key":"k","payload":"secret"}"#, "impossible"),
            (r#"{"topic":"t","partition":0,"offset":1,"headers":["secret"],"key":"k","payload":""}"#, "pairs"),
            (r#"{"topic":"t","partition":0,"offset":1,"key":{"secret":1},"payload":""}"#, "another type"),
            (r#"{"topic":"t","partition":0,"offset":1,"key":"secret","pa"#, "not JSON"),
            ("secret", "not JSON"),
        ] {
            let reason = parse(line.as_bytes()).expect_err(line);
            assert!(reason.contains(part) && !reason.contains("secret"), "{line}: {reason}");
        }
    }
}
