//! What single keys take: text, numbers, durations, lists. A value that is not what its key takes is reported with its
//! place and is never shown, because it may be a secret that stands in the wrong line.

use std::time::Duration;

use super::problem::{Origin, Report, nearest};
use super::tree::{Data, Node, parse_list};
use super::units::{parse_duration, parse_size};

/// A value of a key.
#[derive(Default)]
pub enum Field<T> {
    /// Not written.
    #[default]
    Absent,
    /// Written, but not what the key takes; that is in the report already.
    Refused,
    /// Written.
    Given(Given<T>),
}

/// A value with its place.
#[derive(Clone)]
pub struct Given<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub origin: Origin,
}

impl<T> Field<T> {
    /// The value with its place.
    pub fn given(&self) -> Option<&Given<T>> {
        match self {
            Self::Given(given) => Some(given),
            _ => None,
        }
    }

    /// The value.
    pub fn value(&self) -> Option<&T> {
        self.given().map(|given| &given.value)
    }

    /// Whether something was written, be it right or not.
    pub fn is_written(&self) -> bool {
        !matches!(self, Self::Absent)
    }
}

/// Something that a key takes.
pub trait Read: Sized {
    /// Reads it, or reports why not and returns `None`. `key` is the whole path, for messages.
    fn read(node: &Node, key: &str, report: &mut Report) -> Option<Self>;
}

/// Reports that a value is of the wrong kind. The value is not shown.
pub(super) fn refuse<T>(node: &Node, key: &str, expected: &str, report: &mut Report) -> Option<T> {
    report.add(&node.origin, key, format!("expected {expected}, found {}", node.data.kind()));
    None
}

/// The text of a value, if it is one.
pub(super) fn text(node: &Node) -> Option<&str> {
    match &node.data {
        Data::Text(text) | Data::Bare(text) => Some(text),
        _ => None,
    }
}

impl Read for String {
    fn read(node: &Node, key: &str, report: &mut Report) -> Option<Self> {
        text(node).map(str::to_owned).or_else(|| refuse(node, key, "text in quotes", report))
    }
}

impl Read for bool {
    fn read(node: &Node, key: &str, report: &mut Report) -> Option<Self> {
        match &node.data {
            Data::Bool(truth) => Some(*truth),
            Data::Bare(text) if text == "true" => Some(true),
            Data::Bare(text) if text == "false" => Some(false),
            _ => refuse(node, key, "true or false", report),
        }
    }
}

impl Read for i64 {
    fn read(node: &Node, key: &str, report: &mut Report) -> Option<Self> {
        let number = match &node.data {
            Data::Integer(number) => Some(*number),
            Data::Bare(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.or_else(|| refuse(node, key, "a whole number", report))
    }
}

impl Read for Duration {
    fn read(node: &Node, key: &str, report: &mut Report) -> Option<Self> {
        read_unit(node, key, parse_duration, report)
    }
}

/// A number of bytes.
#[derive(Clone, Copy)]
pub struct Size(pub usize);

impl Read for Size {
    fn read(node: &Node, key: &str, report: &mut Report) -> Option<Self> {
        read_unit(node, key, parse_size, report).map(Self)
    }
}

fn read_unit<T>(node: &Node, key: &str, parse: impl Fn(&str) -> Result<T, String>, report: &mut Report) -> Option<T> {
    match parse(text(node).unwrap_or_default()) {
        Ok(value) => Some(value),
        Err(expected) => {
            report.add(&node.origin, key, expected);
            None
        }
    }
}

/// Texts, each with its place.
pub type Texts = Vec<Given<String>>;

impl Read for Texts {
    fn read(node: &Node, key: &str, report: &mut Report) -> Option<Self> {
        let parsed;
        let items = match &node.data {
            Data::List(items) => items,
            Data::Bare(text) => {
                parsed = parse_list(text, &node.origin);
                match &parsed {
                    Some(items) => items,
                    None => {
                        report.add(&node.origin, key, "expected a,b or a TOML array of texts: [\"a\", \"b\"]");
                        return None;
                    }
                }
            }
            _ => return refuse(node, key, "a list of texts: [\"a\", \"b\"]", report),
        };
        // Not `collect` of options: every wrong item is reported.
        let read = |(number, item): (usize, &Node)| {
            let value = String::read(item, &format!("{key}[{number}]"), report)?;
            Some(Given { value, origin: item.origin.clone() })
        };
        let texts: Vec<Option<Given<String>>> = items.iter().enumerate().map(read).collect();
        texts.into_iter().collect()
    }
}

/// What to say of a word that is none of those that a key takes.
pub(super) fn one_of(words: &[&str], written: Option<&str>, kind: &str) -> String {
    let found = written.map_or_else(|| kind.to_owned(), |text| format!("{text:?}"));
    let listed: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    let meant = written.and_then(|text| nearest(text, words.iter().copied()));
    let hint = meant.map(|word| format!("; did you mean {word:?}?")).unwrap_or_default();
    format!("expected {}, found {found}{hint}", listed.join(" or "))
}

/// Reads the value of a key.
pub(super) fn read_field<T: Read>(node: &Node, path: &str, report: &mut Report) -> Field<T> {
    match T::read(node, path, report) {
        Some(value) => Field::Given(Given { value, origin: node.origin.clone() }),
        None => Field::Refused,
    }
}

/// What to say of a key that a section does not have.
pub(super) fn unknown_key(written: &str, known: &[&str]) -> String {
    match nearest(written, known.iter().copied()) {
        Some(meant) => format!("unknown key; did you mean `{meant}`?"),
        None => format!("unknown key; known are {}", known.join(", ")),
    }
}
