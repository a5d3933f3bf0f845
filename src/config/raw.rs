//! The configuration as it was written: every key that there is, none of them required, nothing judged yet.
//!
//! # Why
//!
//! serde stops at the first error, and a derived `Deserialize` forgets where values came from. The sections below are
//! filled from a tree of [located values](super::tree) instead: unknown keys are refused with the nearest known one, all
//! errors are collected, and each value keeps its [`Origin`]. The declarations are as short as serde's.

use std::time::Duration;

use crate::core::table::{Contract, DeleteMode, TokenStorage};

use super::checked::{OnBadRecord, PlainDecimal, PlainTime, Start};
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
fn refuse<T>(node: &Node, key: &str, expected: &str, report: &mut Report) -> Option<T> {
    report.add(&node.origin, key, format!("expected {expected}, found {}", node.data.kind()));
    None
}

fn text(node: &Node) -> Option<&str> {
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

/// Keys that take one of a few words.
macro_rules! words {
    ($type:ty { $($word:literal => $value:expr),+ $(,)? }) => {
        impl Read for $type {
            fn read(node: &Node, key: &str, report: &mut Report) -> Option<Self> {
                const WORDS: &[&str] = &[$($word),+];
                match text(node) {
                    $(Some($word) => Some($value),)+
                    written => {
                        report.add(&node.origin, key, one_of(WORDS, written, node.data.kind()));
                        None
                    }
                }
            }
        }
    };
}

fn one_of(words: &[&str], written: Option<&str>, kind: &str) -> String {
    let found = written.map_or_else(|| kind.to_owned(), |text| format!("{text:?}"));
    let listed: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    let meant = written.and_then(|text| nearest(text, words.iter().copied()));
    let hint = meant.map(|word| format!("; did you mean {word:?}?")).unwrap_or_default();
    format!("expected {}, found {found}{hint}", listed.join(" or "))
}

/// Kind of a source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Kafka cluster.
    Kafka,
    /// Files of records.
    File,
}

/// What happens when an event's schema has columns that the table has not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Evolve {
    /// Nothing: it is refused.
    None,
    /// Columns are added.
    Add,
    /// Columns are added and widened.
    Widen,
}

words!(Kind { "kafka" => Kind::Kafka, "file" => Kind::File });
words!(Start { "earliest" => Start::Earliest, "latest" => Start::Latest });
words!(Contract { "final-state" => Contract::FinalState, "change-log" => Contract::ChangeLog });
words!(DeleteMode { "hard" => DeleteMode::Hard, "soft" => DeleteMode::Soft, "ignore" => DeleteMode::Ignore });
words!(TokenStorage { "column" => TokenStorage::Column, "side" => TokenStorage::Side });
words!(Evolve { "none" => Evolve::None, "add" => Evolve::Add, "widen" => Evolve::Widen });
words!(PlainDecimal { "base64" => PlainDecimal::Base64, "text" => PlainDecimal::Text });
words!(PlainTime {
    "adaptive" => PlainTime::Adaptive,
    "millis" => PlainTime::Millis,
    "micros" => PlainTime::Micros,
    "nanos" => PlainTime::Nanos,
});
words!(OnBadRecord { "quarantine" => OnBadRecord::Quarantine, "stop" => OnBadRecord::Stop });

/// A value of a librdkafka property.
pub enum Property {
    /// Written here.
    Here(String),
    /// `{ file = "…" }`: the content of a file, line ends at its end cut off.
    File(String),
    /// `{ env = "…" }`: a variable of the environment.
    Environment(String),
}

/// Properties with their names and places.
pub type Properties = Vec<(String, Given<Property>)>;

impl Read for Property {
    fn read(node: &Node, key: &str, report: &mut Report) -> Option<Self> {
        match &node.data {
            Data::Text(text) | Data::Bare(text) => return Some(Self::Here(text.clone())),
            Data::Integer(number) => return Some(Self::Here(number.to_string())),
            Data::Bool(truth) => return Some(Self::Here(truth.to_string())),
            Data::Table { entries, .. } => {
                if let [(name, inner)] = entries.as_slice()
                    && let Data::Text(text) = &inner.data
                {
                    match name.as_str() {
                        "file" => return Some(Self::File(text.clone())),
                        "env" => return Some(Self::Environment(text.clone())),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        let expected = "text, a whole number, true, false, { file = \"path\" } or { env = \"NAME\" }";
        refuse(node, key, expected, report)
    }
}

impl Read for Properties {
    fn read(node: &Node, key: &str, report: &mut Report) -> Option<Self> {
        let Data::Table { entries, .. } = &node.data else { return refuse(node, key, "a table", report) };
        let read = |(name, node): &(String, Node)| {
            let value = Property::read(node, &format!("{key}.{name}"), report)?;
            Some((name.clone(), Given { value, origin: node.origin.clone() }))
        };
        let properties: Vec<Option<_>> = entries.iter().map(read).collect();
        properties.into_iter().collect()
    }
}

impl Read for Vec<RawRule> {
    fn read(node: &Node, key: &str, report: &mut Report) -> Option<Self> {
        let Data::List(items) = &node.data else {
            return refuse(node, key, "[[table]] with double brackets", report);
        };
        let read = |(number, item): (usize, &Node)| RawRule::read(item, &format!("{key}[{number}]"), report);
        let rules: Vec<Option<RawRule>> = items.iter().enumerate().map(read).collect();
        rules.into_iter().collect()
    }
}

/// Declares a section: its keys, each with what it takes.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$key_doc:meta])* $key:ident: $type:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Default)]
        pub struct $name {
            /// Where the section begins; `None` if it is not written.
            pub origin: Option<Origin>,
            $($(#[$key_doc])* pub $key: Field<$type>,)+
        }

        impl $name {
            /// Every key of the section.
            pub const KEYS: &[&str] = &[$(stringify!($key)),+];
        }

        impl Read for $name {
            fn read(node: &Node, key: &str, report: &mut Report) -> Option<Self> {
                let Data::Table { entries, .. } = &node.data else { return refuse(node, key, "a table", report) };
                let mut section = Self { origin: Some(node.origin.clone()), ..Self::default() };
                for (name, node) in entries {
                    let path = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                    match name.as_str() {
                        $(stringify!($key) => section.$key = read_field(node, &path, report),)+
                        _ => report.add(&node.key_origin, path, unknown_key(name, Self::KEYS)),
                    }
                }
                Some(section)
            }
        }
    };
}

fn read_field<T: Read>(node: &Node, path: &str, report: &mut Report) -> Field<T> {
    match T::read(node, path, report) {
        Some(value) => Field::Given(Given { value, origin: node.origin.clone() }),
        None => Field::Refused,
    }
}

fn unknown_key(written: &str, known: &[&str]) -> String {
    match nearest(written, known.iter().copied()) {
        Some(meant) => format!("unknown key; did you mean `{meant}`?"),
        None => format!("unknown key; known are {}", known.join(", ")),
    }
}

section! {
    /// The whole.
    Raw {
        /// `[pipeline]`
        pipeline: RawPipeline,
        /// `[source]`
        source: RawSource,
        /// `[sink]`
        sink: RawSink,
        /// `[batch]`
        batch: RawBatch,
        /// `[defaults]`
        defaults: RawDefaults,
        /// `[[table]]`
        table: Vec<RawRule>,
        /// `[plain]`
        plain: RawPlain,
        /// `[errors]`
        errors: RawErrors,
        /// `[server]`
        server: RawServer,
        /// `[service]`
        service: RawService,
    }
}

section! {
    /// `[pipeline]`
    RawPipeline {
        /// Name of the pipeline.
        name: String,
    }
}

section! {
    /// `[source]`
    RawSource {
        /// Kafka or files.
        kind: Kind,
        /// Kafka: `bootstrap.servers`.
        brokers: String,
        /// Topics by name; with files: only these.
        topics: Texts,
        /// Kafka: topics by expression.
        topics_regex: String,
        /// Kafka: topics that are left out, names or `^…` expressions.
        exclude: Texts,
        /// Kafka: consumer group.
        group: String,
        /// Kafka: where partitions begin that exist at the first claim.
        start: Start,
        /// Kafka: librdkafka properties.
        client: Properties,
        /// Files: paths, with `*`.
        paths: Texts,
    }
}

section! {
    /// `[sink]`
    RawSink {
        /// The URL.
        url: String,
        /// A file that holds the URL.
        url_file: String,
        /// A variable of the environment that holds the URL.
        url_env: String,
        /// Number of lanes.
        writers: i64,
        /// Longest wait for a lock.
        lock_timeout: Duration,
    }
}

section! {
    /// `[batch]`
    RawBatch {
        /// Records.
        rows: i64,
        /// Bytes.
        bytes: Size,
        /// Age.
        age: Duration,
    }
}

section! {
    /// `[defaults]`
    RawDefaults {
        /// Wanted contract.
        contract: Contract,
        /// What a delete does.
        delete: DeleteMode,
        /// Whether missing tables are made.
        create: bool,
        /// Whether tables follow the event's schema.
        evolve: Evolve,
        /// Where tokens are.
        token_storage: TokenStorage,
        /// Leaves out the re-check.
        single_writer: bool,
        /// Allows the Kafka offset as token.
        offset_order: bool,
    }
}

section! {
    /// `[[table]]`
    RawRule {
        /// Topic, or `^…` over it.
        topic: String,
        /// Only events of this source table.
        source_table: String,
        /// Destination table.
        into: String,
        /// Business key.
        key: Texts,
        /// Columns that order changes.
        order_by: Texts,
        /// Columns that are not written.
        exclude_columns: Texts,
        /// Applies nothing.
        skip: bool,
        /// As in [`RawDefaults`], like all that follow.
        contract: Contract,
        /// What a delete does.
        delete: DeleteMode,
        /// Whether a missing table is made.
        create: bool,
        /// Whether the table follows the event's schema.
        evolve: Evolve,
        /// Where tokens are.
        token_storage: TokenStorage,
        /// Leaves out the re-check.
        single_writer: bool,
        /// Allows the Kafka offset as token.
        offset_order: bool,
    }
}

section! {
    /// `[plain]`
    RawPlain {
        /// What text in a decimal column is.
        decimal: PlainDecimal,
        /// Unit of numbers in date-and-time columns.
        time: PlainTime,
    }
}

section! {
    /// `[errors]`
    RawErrors {
        /// What happens to a record that cannot be applied.
        bad_record: OnBadRecord,
    }
}

section! {
    /// `[server]`
    RawServer {
        /// Address and port, or `off`.
        listen: String,
        /// Allows an address that other machines reach.
        public: bool,
    }
}

section! {
    /// `[service]`
    RawService {
        /// How long a stop may take.
        drain: Duration,
    }
}
