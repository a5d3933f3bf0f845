//! The configuration as the rest of the program sees it: validated, complete, with every default filled in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::core::decode::{TopicDecoder, TopicRules};
use crate::core::dialect::Dialect;
use crate::core::event::{Rejection, SourceTable};
use crate::core::evolve::Evolve;
use crate::core::naming::{Case, Columns, Event, Template, reserved, source_name};
use crate::core::table::{Contract, DeleteMode, TableName, TokenStorage};
use crate::core::unavailable::Unavailable;

use super::secret::Secret;

pub use crate::core::decode::{Form, KeyFormat, PlainDecimal, PlainRules as PlainConfig, PlainTime};
pub use crate::core::framing::IdBytes;

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the pipeline; part of the key of its checkpoints. `[a-z0-9_.-]`, at most 100 characters.
    pub pipeline: String,
    /// Where change events come from.
    pub source: SourceConfig,
    /// Where the schemas of framed records are.
    pub registry: Option<RegistryConfig>,
    /// Where they go.
    pub sink: SinkConfig,
    /// Limits of batches.
    pub batch: BatchConfig,
    /// What holds for tables that have no rule, and for what rules leave out.
    pub defaults: TableRule,
    /// Rules by topic, in the order in which they are asked; see [`Config::rule_for`].
    pub tables: Vec<TopicRule>,
    /// How events without a schema are read.
    pub plain: PlainConfig,
    /// What happens to a record that cannot be applied.
    pub on_bad_record: OnBadRecord,
    /// What happens to a streamed change whose position is below the partition's although its source time is later.
    pub on_regression: OnRegression,
    /// How much later its source time has to be.
    pub regression_margin: Duration,
    /// Where metrics, health and status are served; `None` serves nothing.
    pub listen: Option<SocketAddr>,
    /// How long a stop may take before what is left is rolled back.
    pub drain: Duration,
}

impl Config {
    /// The rule for a topic and, where the event names one, its source table: the first that is meant. Names come before
    /// expressions, rules for one source table before the others, else the order of the file holds.
    pub fn rule_for(&self, topic: &str, source_table: Option<&str>) -> Option<&TopicRule> {
        let for_table =
            |rule: &&TopicRule| rule.source_table.as_deref().is_none_or(|wanted| Some(wanted) == source_table);
        self.tables.iter().filter(|rule| rule.topic.matches(topic)).find(for_table)
    }
}

/// What the configuration says about a source table.
#[derive(Clone, Copy, Debug)]
pub struct Ruled<'c> {
    /// The rule that decided, unless it were the defaults.
    pub topic: Option<&'c TopicRule>,
    /// How the table is treated.
    pub table: &'c TableRule,
}

impl Ruled<'_> {
    /// The destination's table. Refused where the template asks for what the events do not carry, or where the name is not one that
    /// can be written to.
    pub fn name(&self, topic: &str, source: &SourceTable, dialect: Dialect) -> Result<TableName, Rejection> {
        let name = match &self.table.into {
            None => source_name(source, self.table.table_case),
            Some(template) => {
                let groups = self.topic.and_then(|rule| rule.topic.groups(topic));
                template.table(&Event { topic, source, groups }, self.table.table_case)?
            }
        };
        let refuse = |what: String| Rejection::table("name", format!("{source} (topic {topic}): {what}"));
        for part in name.schema.as_deref().into_iter().chain([name.table.as_str()]) {
            dialect.check_name(part).map_err(refuse)?;
        }
        match reserved(dialect, &name) {
            Some(why) => Err(refuse(format!("{name} {why}"))),
            None => Ok(name),
        }
    }

    /// Whether the table's name is made of the source's: then two source tables that come to one name do so by accident.
    pub fn is_derived(&self) -> bool {
        self.table.into.as_ref().is_none_or(|template| template.plain().is_none())
    }
}

impl Config {
    /// The rule for a topic and source table; `None` if they are left out.
    pub fn ruled(&self, topic: &str, source: &SourceTable) -> Option<Ruled<'_>> {
        let (full, bare) = (source.to_string(), source.table.as_str());
        let meant = |name: &str| self.rule_for(topic, Some(name));
        let rule = meant(&full).filter(|rule| rule.source_table.is_some()).or_else(|| meant(bare));
        if rule.is_some_and(|rule| rule.skip) {
            return None;
        }
        Some(Ruled { topic: rule, table: rule.map_or(&self.defaults, |rule| &rule.rule) })
    }

    /// A decoder for the records of a topic: by the first rule for the topic that says something about them.
    pub fn decoder(&self, topic: &str) -> TopicDecoder {
        let rules = || self.tables.iter().filter(|rule| rule.topic.matches(topic));
        let flat_prefix = rules().find_map(|rule| rule.flat_prefix.clone());
        TopicDecoder::new(TopicRules {
            form: rules().find_map(|rule| rule.format).or(flat_prefix.as_ref().map(|_| Form::Flat)),
            key_columns: rules().find_map(|rule| rule.key.clone()).unwrap_or_default(),
            key_format: rules().find_map(|rule| rule.key_format),
            flat_prefix,
        })
    }
}

/// A source.
#[derive(Clone, Debug)]
pub enum SourceConfig {
    /// A Kafka cluster.
    Kafka(KafkaConfig),
    /// Files of records.
    File(FileConfig),
}

/// A Kafka source.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `bootstrap.servers`.
    pub brokers: String,
    /// Topics by name.
    pub topics: Vec<String>,
    /// Topics by regular expression (anchored with `^`, as librdkafka wants it).
    pub topics_regex: Option<String>,
    /// Topics that the expression matches but that are left out: names or `^…` expressions.
    pub exclude: Vec<String>,
    /// Consumer group.
    pub group: String,
    /// Where partitions begin that exist at the pipeline's first claim.
    pub start: Start,
    /// Any librdkafka property. Values may be secrets and are never printed.
    pub client: BTreeMap<String, Secret>,
}

/// Where a pipeline begins when it has no checkpoint yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the start of the log.
    Earliest,
    /// At the end of the log.
    Latest,
}

/// A file source.
#[derive(Clone, Debug)]
pub struct FileConfig {
    /// JSON Lines files as `kcat -J` prints them, plain or gzip; patterns already expanded, in order.
    pub paths: Vec<PathBuf>,
    /// Only these topics, if any are named.
    pub topics: Vec<String>,
}

/// A schema registry.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// Base URLs, asked in turn: of the Confluent API (`http://host:8081`, `http://host:8080/apis/ccompat/v7`).
    pub urls: Vec<Url>,
    /// What ids in records name; `None`: 4 bytes an id of the Confluent API, 8 bytes a global id of Apicurio.
    pub ids: Option<SchemaIds>,
    /// Bytes of an id.
    pub id_bytes: IdBytes,
    /// Who asks.
    pub auth: RegistryAuth,
    /// PEM file of authorities in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM files of a client certificate and of its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Longest wait for an answer.
    pub timeout: Duration,
}

/// What an id in a record names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaIds {
    /// A schema of the Confluent API.
    Schema,
    /// A version of an artifact of Apicurio, by its global id.
    Global,
    /// A content of Apicurio.
    Content,
}

/// Who asks a schema registry.
#[derive(Clone, Debug)]
pub enum RegistryAuth {
    /// Nobody in particular.
    None,
    /// A user with a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// Whoever holds this token.
    Bearer(Secret),
}

/// A destination.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// `postgres://`, `mysql://`, `mariadb://`, `sqlite:path`. Holds the password.
    pub url: Secret,
    /// Told by the URL's scheme.
    pub dialect: Dialect,
    /// Lanes, each with a connection of its own; always 1 for SQLite.
    pub writers: usize,
    /// Longest wait for a lock before the transaction is given up and tried again.
    pub lock_timeout: Duration,
}

/// A batch ends when it reaches one of these, or when nothing is being applied and `age` is over.
#[derive(Clone, Copy, Debug)]
pub struct BatchConfig {
    /// Records.
    pub rows: usize,
    /// Bytes of records.
    pub bytes: usize,
    /// Age of its first record.
    pub age: Duration,
    /// It ends between source transactions; a partition that stays silent at its end for so long holds no more of one. `None`
    /// ends batches anywhere.
    pub align_wait: Option<Duration>,
}

/// How a table is treated.
#[derive(Clone, Debug)]
pub struct TableRule {
    /// Its name, instead of the source's.
    pub into: Option<Template>,
    /// Style of the names that come from the source.
    pub table_case: Case,
    /// Its columns and their names.
    pub columns: Columns,
    /// Wanted contract.
    pub contract: Contract,
    /// What a delete does.
    pub delete: DeleteMode,
    /// Whether missing tables are made from the event's schema.
    pub create: bool,
    /// What is done where a table is not as its events need it.
    pub evolve: Evolve,
    /// Where tokens are.
    pub token_storage: TokenStorage,
    /// Leaves out the re-check against concurrent writers.
    pub single_writer: bool,
    /// Allows the Kafka offset as token where events carry no position of the source.
    pub offset_order: bool,
    /// What stands in events for a value that the connector did not see.
    pub unavailable: Arc<Unavailable>,
    /// What becomes of tombstones that nothing needs any more.
    pub tombstones: TombstoneRule,
    /// What becomes of rows that a finished snapshot did not contain.
    pub resnapshot: Resnapshot,
}

/// What becomes of tombstones that nothing needs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TombstoneRule {
    /// They are collected.
    pub collect: bool,
    /// Not before they are so old.
    pub retain: Duration,
}

impl Default for TombstoneRule {
    fn default() -> Self {
        Self { collect: false, retain: Duration::from_secs(7 * 86_400) }
    }
}

/// What becomes of rows that are older than a finished snapshot of their source and that it did not contain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resnapshot {
    /// They stay.
    #[default]
    Keep,
    /// They are removed, as a delete removes them.
    Sweep,
}

/// A rule for the topics that it names.
#[derive(Clone, Debug)]
pub struct TopicRule {
    /// Topic name, or a `^…` expression over it.
    pub topic: TopicMatch,
    /// For topics that carry several tables (record form): only events of this source table.
    pub source_table: Option<String>,
    /// Form of the records; without one each record's own bytes tell it.
    pub format: Option<Form>,
    /// What the names of a flattened row's added fields begin with, if not `__`.
    pub flat_prefix: Option<String>,
    /// What the bytes of record keys are; without one they tell it.
    pub key_format: Option<KeyFormat>,
    /// Business key instead of the record key's fields: source columns.
    pub key: Option<Vec<String>>,
    /// Source columns that order changes instead of the source's position.
    pub order_by: Vec<String>,
    /// Events of these topics are not applied at all.
    pub skip: bool,
    /// The rest.
    pub rule: TableRule,
}

impl TopicRule {
    /// The rule as people find it in the configuration.
    pub fn label(&self) -> String {
        match &self.source_table {
            Some(table) => format!("{} (source_table {table})", self.topic.as_str()),
            None => self.topic.as_str().to_owned(),
        }
    }
}

/// Which topics a rule is for.
#[derive(Clone, Debug)]
pub enum TopicMatch {
    /// This one.
    Name(String),
    /// Those that match.
    Pattern(regex::Regex),
}

impl TopicMatch {
    /// Whether the rule is for this topic.
    pub fn matches(&self, topic: &str) -> bool {
        match self {
            Self::Name(name) => name == topic,
            Self::Pattern(pattern) => pattern.is_match(topic),
        }
    }

    /// Groups of the expression in a topic's name.
    pub fn groups<'t>(&self, topic: &'t str) -> Option<regex::Captures<'t>> {
        match self {
            Self::Name(_) => None,
            Self::Pattern(pattern) => pattern.captures(topic),
        }
    }

    /// As it is written in the configuration.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Pattern(pattern) => pattern.as_str(),
        }
    }
}

/// What happens where a source's positions seem to have started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRegression {
    /// The partition stops.
    Halt,
    /// The record is kept aside.
    Quarantine,
}

/// What happens to a record that cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBadRecord {
    /// It is kept aside with its reason; its neighbours go on.
    Quarantine,
    /// Its partition stops there.
    Stop,
}
