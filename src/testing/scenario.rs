//! What is delivered: a configuration, and records on topics.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::checked::Config;
use crate::config::load::{Environment, load_text};
use crate::core::failure::Failure;
use crate::core::record::{Headers, Record, TopicPartition};
use crate::core::table::{Contract, fnv1a};
use crate::sink::Sink;
use crate::source::file;
use crate::source::script::Log;

use super::contents::{self, Contents};
use super::{Delivery, Report, oracle, run};

/// Record time of the first scripted event; the others follow by milliseconds.
const FIRST_MS: i64 = 1_700_000_000_000;
/// What scenarios are called whose configuration does not say it.
const NAME: &str = "scenario";

/// A pipeline's configuration with the records that it reads. Cheap enough to clone; records are shared.
#[derive(Clone, Debug)]
pub struct Scenario {
    config: toml::Table,
    topics: BTreeMap<Arc<str>, usize>,
    next: BTreeMap<TopicPartition, i64>,
    records: Vec<Record>,
}

impl Scenario {
    /// A scenario with a configuration as `lastword run` reads it: `[sink]`, `[[table]]`, `[defaults]`, `[plain]` and so on. Of
    /// `[source]` only what judges events is kept (`on_regression`, `regression_margin`), the rest may be missing; `[pipeline]`
    /// and the sink's URL may be missing, too (see [`Self::on`]).
    ///
    /// # Errors
    ///
    /// The text is not TOML. What is wrong with its settings is said when it is delivered.
    pub fn new(config: &str) -> Result<Self, Failure> {
        let config = config.parse::<toml::Table>().map_err(|error| {
            Failure::operator("config", format!("the scenario's configuration is not TOML: {}", error.message()))
        })?;
        Ok(Self { config, topics: BTreeMap::new(), next: BTreeMap::new(), records: Vec::new() })
    }

    /// The same scenario with another destination.
    #[must_use]
    pub fn on(&self, url: &str) -> Self {
        let mut scenario = self.clone();
        if let Some(sink) = section(&mut scenario.config, "sink") {
            ["url_file", "url_env"].iter().for_each(|key| _ = sink.remove(*key));
            sink.insert("url".to_owned(), url.into());
        }
        scenario
    }

    /// Makes a topic.
    pub fn topic(&mut self, name: &str, partitions: usize) -> &mut Self {
        let known = self.topics.entry(name.into()).or_default();
        *known = partitions.max(1).max(*known);
        self
    }

    /// Writes an event to its topic, which is made with one partition if it is not there. The key decides the partition. A value of
    /// `None` is a null record (a tombstone of the log).
    pub fn event(&mut self, topic: &str, key: Option<&str>, value: Option<&str>) -> &mut Self {
        self.topic(topic, 1);
        let partitions = self.topics.get(topic).copied().unwrap_or(1) as u64;
        let partition = key.map_or(0, |key| fnv1a(key.as_bytes()) % partitions) as i32;
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        self.record(Record {
            at: TopicPartition::new(topic, partition),
            offset: 0,
            timestamp_ms: Some(FIRST_MS + self.records.len() as i64),
            key: key.map(bytes),
            value: value.map(|value| bytes(value).into()),
            headers: Headers::default(),
            framed: None,
        })
    }

    /// Writes a record of any form to its partition: at its offset, or at the end if that is lower.
    pub fn record(&mut self, mut record: Record) -> &mut Self {
        record.at.partition = record.at.partition.max(0);
        self.topic(&Arc::clone(&record.at.topic), record.at.partition as usize + 1);
        let next = self.next.entry(record.at.clone()).or_default();
        record.offset = record.offset.max(*next);
        *next = record.offset + 1;
        self.records.push(record);
        self
    }

    /// Writes the records of a file, one a line as `kcat -C -J` prints it, plain or gzip.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a line is no record; the scenario holds the records before it.
    pub fn file(&mut self, path: impl AsRef<Path>) -> Result<&mut Self, Failure> {
        file::records(path.as_ref(), |record| _ = self.record(record))?;
        Ok(self)
    }

    /// The records, in the order in which they were written.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Delivers everything into the destination, by pipelines as `lastword run` has them, until all of it is applied.
    ///
    /// # Errors
    ///
    /// The configuration is wrong, the destination cannot be used, a partition stops, or nothing goes on any more. The text says
    /// what to do, and names the seed.
    pub async fn deliver(&self, delivery: &Delivery) -> Result<Report, Failure> {
        let done = run::deliver(self, delivery).await;
        done.map_err(|failure| failure.context(format_args!("delivered with seed {}", delivery.seed)))
    }

    /// Replays all topics, as they were delivered: reads everything again beside what was applied. That must change nothing.
    ///
    /// # Errors
    ///
    /// As for [`Self::deliver`].
    pub async fn replay(&self, delivered: &Report) -> Result<(), Failure> {
        run::replay(self, delivered).await
    }

    /// What the destination holds: every table that the scenario was applied to.
    ///
    /// # Errors
    ///
    /// The destination cannot be read.
    pub async fn contents(&self) -> Result<Contents, Failure> {
        let config = self.checked(None)?;
        let mut session = Sink::new(&config.sink)?.session("testing").await?;
        contents::read(&mut session, &config.pipeline).await
    }

    /// What must be there in the end, by the oracle [`crate::sink::memory`]: record by record in the order of the script, tokens
    /// compared in the most naive way. It decides in memory; the destination, which must be empty, only shows its tables and writes
    /// down what was decided, so that values read the same.
    ///
    /// # Errors
    ///
    /// As for [`Self::deliver`].
    pub async fn expected(&self) -> Result<Contents, Failure> {
        oracle::expected(self).await.map_err(|failure| failure.context("what the oracle expects"))
    }

    /// The configuration, with a log in memory as its source.
    pub(super) fn checked(&self, rows: Option<usize>) -> Result<Arc<Config>, Failure> {
        let mut all = self.config.clone();
        if let Some(source) = section(&mut all, "source") {
            source.retain(|key, _| matches!(key, "on_regression" | "regression_margin"));
            for (key, value) in [("kind", "kafka"), ("brokers", "scenario:9092"), ("topics_regex", "^.*")] {
                source.insert(key.to_owned(), value.into());
            }
        }
        if let Some(pipeline) = section(&mut all, "pipeline") {
            pipeline.entry("name").or_insert_with(|| NAME.into());
        }
        if let (Some(rows), Some(batch)) = (rows, section(&mut all, "batch")) {
            batch.insert("rows".to_owned(), toml::Value::Integer(rows as i64));
        }
        let wrong = |what: String| Failure::operator("config", what);
        let text = toml::to_string(&all).map_err(|error| wrong(format!("the scenario's configuration: {error}")))?;
        let config = load_text("the scenario's configuration", &text, &Environment::of_process(), &[]);
        config.map(Arc::new).map_err(|errors| wrong(errors.to_string()))
    }

    /// An empty log with the topics.
    pub(super) fn log(&self) -> Log {
        let log = Log::new();
        self.topics.iter().for_each(|(topic, partitions)| log.create_topic(topic, *partitions));
        log
    }
}

/// Whether a record that comes again is a new one to some table.
pub(super) fn counts_records(config: &Config) -> bool {
    let rules = config.tables.iter().map(|rule| &rule.rule).chain([&config.defaults]);
    rules.into_iter().any(|rule| rule.offset_order || rule.contract == Contract::ChangeLog)
}

fn section<'t>(config: &'t mut toml::Table, name: &str) -> Option<&'t mut toml::Table> {
    config.entry(name).or_insert_with(|| toml::Table::new().into()).as_table_mut()
}
