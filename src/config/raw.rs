//! The configuration as it was written: every key that there is, none of them required, nothing judged yet.
//!
//! # Why
//!
//! serde stops at the first error, and a derived `Deserialize` forgets where values came from. The sections below are
//! filled from a tree of located values (`tree`) instead: unknown keys are refused with the nearest known one, all
//! errors are collected, and each value keeps its [`Origin`]. The declarations are as short as serde's.

use std::time::Duration;

use crate::core::evolve::Evolve;
use crate::core::naming::Case;
use crate::core::table::{Contract, DeleteMode, TokenStorage};

use super::checked::{
    Form, KeyFormat, OnBadRecord, OnRegression, PlainDecimal, PlainTime, Resnapshot, SchemaIds, Start,
};
use super::problem::{Origin, Report};
use super::read::{Field, Given, Read, Size, Texts, one_of, read_field, refuse, text, unknown_key};
use super::tree::{Data, Node};

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

/// Kind of a source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Kafka cluster.
    Kafka,
    /// Files of records.
    File,
}

/// Where a batch may end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Anywhere.
    None,
    /// Between source transactions.
    Transaction,
}

words!(Align { "none" => Align::None, "transaction" => Align::Transaction });
words!(Kind { "kafka" => Kind::Kafka, "file" => Kind::File });
words!(Start { "earliest" => Start::Earliest, "latest" => Start::Latest });
words!(Contract { "final-state" => Contract::FinalState, "change-log" => Contract::ChangeLog });
words!(DeleteMode { "hard" => DeleteMode::Hard, "soft" => DeleteMode::Soft, "ignore" => DeleteMode::Ignore });
words!(TokenStorage { "column" => TokenStorage::Column, "side" => TokenStorage::Side });
words!(Evolve { "none" => Evolve::None, "validate" => Evolve::Validate, "add" => Evolve::Add, "widen" => Evolve::Widen });
words!(PlainDecimal { "base64" => PlainDecimal::Base64, "text" => PlainDecimal::Text });
words!(PlainTime {
    "adaptive" => PlainTime::Adaptive,
    "adaptive_time_microseconds" => PlainTime::AdaptiveTimeMicros,
    "millis" => PlainTime::Millis,
    "micros" => PlainTime::Micros,
    "nanos" => PlainTime::Nanos,
});
words!(Case {
    "keep" => Case::Keep,
    "lower" => Case::Lower,
    "upper" => Case::Upper,
    "snake" => Case::Snake,
    "camel" => Case::Camel,
});
words!(Resnapshot { "keep" => Resnapshot::Keep, "sweep" => Resnapshot::Sweep });
words!(OnRegression { "halt" => OnRegression::Halt, "quarantine" => OnRegression::Quarantine });
words!(Form {
    "debezium" => Form::Debezium,
    "flat" => Form::Flat,
    "record" => Form::Record,
    "maxwell" => Form::Maxwell,
    "canal" => Form::Canal,
    "goldengate" => Form::GoldenGate,
    "dms" => Form::Dms,
    "cloudevents" => Form::CloudEvents,
    "ticdc" => Form::Ticdc,
    "cockroachdb" => Form::Cockroach,
});
words!(KeyFormat {
    "json" => KeyFormat::Json,
    "string" => KeyFormat::Text,
    "long" => KeyFormat::Long,
    "none" => KeyFormat::None,
});
words!(SchemaIds {
    "schema" => SchemaIds::Schema,
    "global" => SchemaIds::Global,
    "content" => SchemaIds::Content,
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

/// `[table.columns.NAME]`, by the columns' names in the source.
pub type RawColumns = Vec<(String, RawColumn)>;

impl Read for RawColumns {
    fn read(node: &Node, key: &str, report: &mut Report) -> Option<Self> {
        let Data::Table { entries, .. } = &node.data else { return refuse(node, key, "a table", report) };
        let read = |(name, node): &(String, Node)| {
            Some((name.clone(), RawColumn::read(node, &format!("{key}.{name}"), report)?))
        };
        let columns: Vec<Option<_>> = entries.iter().map(read).collect();
        columns.into_iter().collect()
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

section! {
    /// The whole.
    Raw {
        /// `[pipeline]`
        pipeline: RawPipeline,
        /// `[source]`
        source: RawSource,
        /// `[registry]`
        registry: RawRegistry,
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
        /// What happens where the source's positions seem to have started again.
        on_regression: OnRegression,
        /// How much later the source time of such a change has to be.
        regression_margin: Duration,
        /// Files: paths, with `*`.
        paths: Texts,
    }
}

section! {
    /// `[registry]`
    RawRegistry {
        /// Base URLs with commas between.
        url: String,
        /// What ids in records name.
        ids: SchemaIds,
        /// Bytes of an id.
        id_bytes: i64,
        /// User of basic authentication.
        user: String,
        /// Its password.
        password: Property,
        /// Bearer token.
        token: Property,
        /// PEM file of authorities in place of the system's.
        ca_file: String,
        /// PEM file of a client certificate and what signed it.
        cert_file: String,
        /// PEM file of its key.
        key_file: String,
        /// Longest wait for an answer.
        timeout: Duration,
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
        /// Where batches may end.
        align: Align,
        /// How long a partition is silent that holds no more of a transaction.
        align_wait: Duration,
    }
}

section! {
    /// `tombstones = { … }`
    RawTombstones {
        /// How old they become at least.
        retain: Duration,
        /// Whether they are collected at all.
        collect: bool,
    }
}

section! {
    /// `[defaults]`
    RawDefaults {
        /// Destination table.
        into: String,
        /// Style of table names of the source.
        table_case: Case,
        /// Style of column names of the source.
        column_case: Case,
        /// Put before them.
        column_prefix: String,
        /// Put behind them.
        column_suffix: String,
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
        /// What stands for a value that the connector did not see.
        unavailable_value: String,
        /// Collection of tombstones.
        tombstones: RawTombstones,
        /// What becomes of rows that a snapshot did not contain.
        resnapshot: Resnapshot,
    }
}

section! {
    /// `[[table]]`
    RawRule {
        /// Topic, or `^…` over it.
        topic: String,
        /// Only events of this source table.
        source_table: String,
        /// Form of the records.
        format: Form,
        /// What the names of a flattened row's added fields begin with.
        flat_prefix: String,
        /// What the bytes of record keys are.
        key_format: KeyFormat,
        /// Destination table.
        into: String,
        /// Style of table names of the source.
        table_case: Case,
        /// Style of column names of the source.
        column_case: Case,
        /// Put before them.
        column_prefix: String,
        /// Put behind them.
        column_suffix: String,
        /// Business key.
        key: Texts,
        /// Columns that order changes.
        order_by: Texts,
        /// Columns that are written.
        include_columns: Texts,
        /// Columns that are not written.
        exclude_columns: Texts,
        /// Single columns.
        columns: RawColumns,
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
        /// What stands for a value that the connector did not see.
        unavailable_value: String,
        /// Collection of tombstones.
        tombstones: RawTombstones,
        /// What becomes of rows that a snapshot did not contain.
        resnapshot: Resnapshot,
    }
}

section! {
    /// `[table.columns.NAME]`
    RawColumn {
        /// The destination's name of the column.
        to: String,
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
