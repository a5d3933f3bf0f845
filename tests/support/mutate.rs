//! Hostile records: real ones, changed as a stretch of bytes decides. A fuzzer that changes the bytes changes the decisions, so what
//! it makes is mostly a record still.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Decisions, read from bytes; all zero when the bytes are used up.
#[derive(Clone)]
pub struct Tape<'t>(&'t [u8]);

impl<'t> Tape<'t> {
    /// Reads these.
    pub fn new(bytes: &'t [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// The next eight bytes as a number.
    pub fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// A number below a bound; 0 where nothing is below it.
    pub fn below(&mut self, bound: usize) -> usize {
        let number = usize::from(self.byte()) << 8 | usize::from(self.byte());
        number % bound.max(1)
    }

    /// True in one of so many cases.
    pub fn one_in(&mut self, cases: usize) -> bool {
        self.below(cases) == 1
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// So many bytes, fewer at the end.
    pub fn take(&mut self, most: usize) -> &'t [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Values that no row should have, as JSON text; some are no JSON at all.
pub const VALUES: &[&str] = &[
    "null",
    "true",
    "0",
    "-0",
    "-1",
    "1",
    "0.1",
    "-0.0",
    "1e400",
    "1e-400",
    "1E5",
    "123456789012345678901234567890.123456789",
    "2147483647",
    "2147483648",
    "-2147483649",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "NaN",
    "Infinity",
    "01",
    "+1",
    "''",
    "\"\"",
    "\" \"",
    "\"NaN\"",
    "\"-Infinity\"",
    "\"true\"",
    "\"null\"",
    "\"AQ==\"",
    "\"////\"",
    "\"AQ\"",
    "\"not base64 !\"",
    "\"1e2000000000\"",
    "\"1e-20000\"",
    "\"-\"",
    "\"2024-13-45\"",
    "\"2024-02-30T25:61:61.9999999999Z\"",
    "\"-838:59:59.999999999\"",
    "\"99999-01-01\"",
    "\"+292278994-08-17T07:12:55.807Z\"",
    "\"0000-00-00\"",
    "\"24:00:00+99:99\"",
    "\"P9999999999Y\"",
    "\"PT-0.0000000001S\"",
    "\"\\u0000\"",
    "\"a\\u0000b\"",
    "\"\\ud800\"",
    "\"\\udc00\\ud800\"",
    "\"\\u202e\u{202e}\u{200d}\u{feff}\"",
    "\"\u{1F9D1}\u{200D}\u{1F692}\u{0301}\"",
    "\"__debezium_unavailable_value\"",
    "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"",
    "\"'; drop table canary; --\"",
    "\"\\\\'; drop table canary; #\"",
    "\"[null,\\\"18446744073709551615\\\"]\"",
    "\"[\\\"0\\\",\\\"0\\\"]\"",
    "\"mysql-bin.99999999999999999999\"",
    "\"0-1-18446744073709551615\"",
    "\"FFFFFFFF/FFFFFFFF\"",
    "\"100000000/0\"",
    "\"1735689600123456789.9999999999999\"",
    "[]",
    "{}",
    "[null]",
    "[[[]]]",
    "{\"\":{}}",
    "{\"scale\":20000,\"value\":\"AQ==\"}",
    "{\"scale\":-2147483648,\"value\":\"AQ==\"}",
    "{\"dimensions\":4294967295,\"vector\":[[1,1e308]]}",
    "{\"wkb\":\"AQMAAAD/////\",\"srid\":-1}",
    "{\"x\":1e999,\"y\":null}",
    "{",
    "\"",
    "",
];

/// Names that mean something to a decoder, or should not.
pub const NAMES: &[&str] = &[
    "",
    "op",
    "before",
    "after",
    "source",
    "schema",
    "payload",
    "fields",
    "field",
    "type",
    "name",
    "parameters",
    "scale",
    "length",
    "items",
    "optional",
    "sequence",
    "connector",
    "table",
    "db",
    "snapshot",
    "gtid",
    "pos",
    "row",
    "lsn",
    "ts_ms",
    "transaction",
    "__op",
    "__deleted",
    "data",
    "old",
    "database",
    "id",
    "value",
    "_lastword_token",
    "\u{0}",
    "a\"b`c'd",
    "\u{202e}op",
];

/// Types and semantic names of schemas, with and without a fitting base.
const KINDS: &[&str] = &[
    "\"struct\"",
    "\"int8\"",
    "\"int64\"",
    "\"bytes\"",
    "\"string\"",
    "\"array\"",
    "\"map\"",
    "\"double\"",
    "\"io.debezium.data.Bits\"",
    "\"io.debezium.data.VariableScaleDecimal\"",
    "\"org.apache.kafka.connect.data.Decimal\"",
    "\"io.debezium.time.NanoTimestamp\"",
    "\"io.debezium.time.MicroDuration\"",
    "\"io.debezium.time.ZonedTimestamp\"",
    "\"io.debezium.data.Uuid\"",
    "\"io.debezium.data.Json\"",
    "\"io.debezium.data.geometry.Geometry\"",
    "\"io.debezium.data.SparseDoubleVector\"",
    "\"1\"",
    "\"-1\"",
    "\"2147483646\"",
    "\"4294967295\"",
];

/// JSON as it is written: names may come twice, numbers have all their digits.
#[derive(Clone)]
enum Json {
    Object(Vec<(String, Json)>),
    List(Vec<Json>),
    Text(String),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(parse(raw.get()))
    }
}

/// What cannot be taken apart (nested too deep, a lone surrogate) stays one text.
fn parse(text: &str) -> Json {
    struct Parts;
    impl<'de> Visitor<'de> for Parts {
        type Value = Json;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object or a list")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
            let mut fields = Vec::new();
            while let Some(field) = map.next_entry()? {
                fields.push(field);
            }
            Ok(Json::Object(fields))
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = list.next_element()? {
                items.push(item);
            }
            Ok(Json::List(items))
        }
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let parsed = match text.trim_start().as_bytes().first() {
        Some(b'{') => reader.deserialize_map(Parts),
        Some(b'[') => reader.deserialize_seq(Parts),
        _ => return Json::Text(text.to_owned()),
    };
    parsed.unwrap_or_else(|_| Json::Text(text.to_owned()))
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if at > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Object(fields) => {
                f.write_str("{")?;
                for (at, (name, value)) in fields.iter().enumerate() {
                    let name = serde_json::Value::from(name.as_str());
                    write!(f, "{}{name}:{value}", if at > 0 { "," } else { "" })?;
                }
                f.write_str("}")
            }
        }
    }
}

/// One place of a document is changed.
fn change(json: &mut Json, tape: &mut Tape<'_>) {
    let children = match json {
        Json::Object(fields) => fields.len(),
        Json::List(items) => items.len(),
        Json::Text(_) => 0,
    };
    if children == 0 || tape.one_in(6) {
        return replace(json, tape);
    }
    let at = tape.below(children);
    match json {
        Json::Object(fields) if tape.one_in(4) => match tape.below(4) {
            0 => drop(fields.remove(at)),
            1 => fields.insert(tape.below(children), fields[at].clone()),
            2 => fields[at].0 = (*tape.pick(NAMES)).to_owned(),
            _ => {
                let other = tape.below(children);
                let value = fields[other].1.clone();
                fields[at].1 = value;
            }
        },
        Json::Object(fields) => change(&mut fields[at].1, tape),
        Json::List(items) if tape.one_in(4) => match tape.below(2) {
            0 => drop(items.remove(at)),
            _ => items.insert(at, items[tape.below(children)].clone()),
        },
        Json::List(items) => change(&mut items[at], tape),
        Json::Text(_) => {}
    }
}

fn replace(json: &mut Json, tape: &mut Tape<'_>) {
    let was = json.to_string();
    let text = match tape.below(10) {
        0..=3 => (*tape.pick(VALUES)).to_owned(),
        4 => (*tape.pick(KINDS)).to_owned(),
        // Deep: as much as a recursive reader bears, and more.
        5 => nested(*tape.pick(&[2, 7, 127, 128, 129, 10_000]), &was, tape.one_in(2)),
        6 => "9".repeat(*tape.pick(&[20, 309, 10_000])),
        7 => format!("\"{}\"", tape.byte().to_string().repeat(*tape.pick(&[1, 100, 70_000]))),
        8 => serde_json::Value::from(was).to_string(),
        _ => format!("{was}{}", tape.number()),
    };
    *json = Json::Text(text);
}

/// Lists or objects around a value.
pub fn nested(depth: usize, inner: &str, lists: bool) -> String {
    let (open, close) = if lists { ("[", "]") } else { ("{\"a\":", "}") };
    format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
}

/// JSON text, changed in some places.
pub fn json(text: &str, tape: &mut Tape<'_>) -> Vec<u8> {
    let mut json = parse(text);
    for _ in 0..tape.below(4) {
        change(&mut json, tape);
    }
    let mut bytes = json.to_string().into_bytes();
    if tape.one_in(8) {
        damage(&mut bytes, tape);
    }
    bytes
}

/// Bytes that are no longer what they were, whatever that is.
pub fn damage(bytes: &mut Vec<u8>, tape: &mut Tape<'_>) {
    for _ in 0..=tape.below(3) {
        let at = tape.below(bytes.len());
        match tape.below(6) {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] = tape.byte(),
            2 => bytes.insert(at, *tape.pick(&[0, 0xff, 0x80, 0xc0, b'"', b'\\', b'{'])),
            3 if !bytes.is_empty() => drop(bytes.remove(at)),
            4 => drop(bytes.splice(at..at, tape.take(8).iter().copied())),
            _ => bytes.extend_from_slice(&[0xff; 10]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a decision nothing is changed, so that what differs is what was decided.
    #[test]
    fn an_empty_tape_changes_nothing() {
        let text = r#"{"b":1.50,"a":[1,{"x":null}],"b":"\u00e9"}"#;
        assert_eq!(json(text, &mut Tape::new(&[])), text.as_bytes());
    }
}
