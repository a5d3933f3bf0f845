//! Kafka: topics of a cluster, read as a member of a consumer group ([`KafkaSource::run`]) or, for replay, by ranges and without
//! a group ([`KafkaSource::read`]).
//!
//! One thread polls one consumer. Offsets come from the destination; those in the group are for lag tools and never read.
//!
//! # Ends and gaps
//!
//! Offsets have gaps: markers of transactions, aborted records, compaction. librdkafka says the end of a partition with the
//! next offset that it would fetch, which has moved past all of these; it says so at the last stable offset, because only
//! committed records are read. That offset is the position of [`super::LogEvent::AtEnd`]. (`position()` would do for
//! markers, which move it, but not for a batch that compaction emptied, nor before the first record of a partition.)
//! [`KafkaSource::ranges`] gives the same last stable offset as the end. Both were seen on a real broker; see the tests.

mod client;
mod follow;
mod metadata;
mod native;
mod reader;
mod rebalance;
mod selection;
#[cfg(test)]
mod tests;
mod topic_id;

use std::fmt;
use std::sync::Arc;

use rdkafka::Offset;
use tokio::sync::mpsc;

use crate::config::checked::KafkaConfig;
use crate::core::failure::Failure;
use crate::core::record::TopicPartition;

use super::delivery::Delivery;
use super::{LogRange, ReadRange, SourceHandle, TopicInfo};
use client::Settings;
use metadata::Metadata;
use native::Native;
use reader::{Mode, Reader};
use selection::{Selection, check_name};

/// A Kafka source. Cheap to clone.
#[derive(Clone)]
pub struct KafkaSource {
    settings: Settings,
    selection: Selection,
    metadata: Arc<Metadata>,
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource").field("settings", &self.settings).field("selection", &self.selection).finish()
    }
}

impl KafkaSource {
    /// Checks the configuration. Nothing is connected yet.
    pub fn new(config: &KafkaConfig, pipeline: &str) -> Result<Self, Failure> {
        let settings = Settings::new(config, pipeline)?;
        let selection = Selection::new(config)?;
        let metadata = Arc::new(Metadata::new(settings.clone()));
        Ok(Self { settings, selection, metadata })
    }

    /// See [`super::Source::topics`]. A topic that is named but does not exist is a failure.
    pub async fn topics(&self) -> Result<Vec<TopicInfo>, Failure> {
        let selection = self.selection.clone();
        self.ask(move |metadata| metadata.topics(&selection)).await
    }

    /// See [`super::Source::topic`].
    pub async fn topic(&self, name: &str) -> Result<Option<super::TopicInfo>, Failure> {
        let selection = Selection::of(name)?;
        match self.ask(move |metadata| metadata.topics(&selection)).await {
            Err(failure) if failure.code == "kafka topics" => Ok(None),
            answer => Ok(answer?.into_iter().next()),
        }
    }

    /// See [`super::Source::ranges`].
    pub async fn ranges(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, LogRange)>, Failure> {
        let partitions = partitions.to_vec();
        self.ask(move |metadata| metadata.ranges(&partitions)).await
    }

    /// See [`super::Source::offset_at_time`].
    pub async fn offset_at_time(&self, at: &TopicPartition, time_ms: i64) -> Result<Option<i64>, Failure> {
        let at = at.clone();
        self.ask(move |metadata| metadata.offset_at_time(&at, time_ms)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Metadata) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let metadata = Arc::clone(&self.metadata);
        let answer = tokio::task::spawn_blocking(move || question(&metadata)).await;
        answer
            .unwrap_or_else(|error| Err(Failure::operator("kafka client", format!("a question was cut off: {error}"))))
    }

    /// See [`super::Source::run`].
    pub fn run(&self) -> Result<SourceHandle, Failure> {
        let native = self.consumer()?;
        let (delivery, ends) = Delivery::new();
        let names = self.selection.names();
        if !names.is_empty() {
            native.subscribe(&names).map_err(|error| self.settings.failure("subscribing", &error))?;
        }
        let topics = follow::follow(Arc::clone(&self.metadata), self.selection.clone(), delivery.control())?;
        self.spawn(native, Mode::Group(topics), delivery, ends)
    }

    /// See [`super::Source::read`].
    pub fn read(&self, ranges: Vec<ReadRange>) -> Result<SourceHandle, Failure> {
        // A consumer has a group by name; one that is only assigned to never joins it.
        let native = self.consumer()?;
        let (mut delivery, ends) = Delivery::new();
        let mut list = Vec::new();
        for range in &ranges {
            check_name(&range.at.topic)?;
            if range.from < 0 || range.at.partition < 0 {
                return Err(Failure::operator("kafka offset", format!("{}: no range from {}", range.at, range.from)));
            }
            list.push((range.at.clone(), Offset::Offset(range.from)));
            delivery.insert(&range.at, Some((range.from, range.generation)), Some(range.to));
        }
        native.assign(&list).map_err(|error| self.settings.failure("reading ranges", &error))?;
        let empty: Vec<_> = delivery.partitions().into_iter().filter(|at| delivery.reached(at)).collect();
        native.pause(&empty).map_err(|error| self.settings.failure("reading ranges", &error))?;
        self.spawn(native, Mode::Ranges, delivery, ends)
    }

    fn consumer(&self) -> Result<Native, Failure> {
        let consumer = self.settings.create(&self.settings.consumer_config())?;
        Native::new(consumer).ok_or_else(|| Failure::operator("kafka client", "the consumer has no queue"))
    }

    fn spawn(
        &self,
        native: Native,
        mode: Mode,
        delivery: Delivery,
        ends: super::delivery::Ends,
    ) -> Result<SourceHandle, Failure> {
        let (sender, commands) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("lastword-kafka".to_owned());
        let thread = thread
            .spawn(move || Reader::new(&native, mode, delivery, commands).run())
            .map_err(|error| Failure::operator("thread", format!("cannot start a thread: {error}")))?;
        Ok(ends.handle(sender, Some(thread)))
    }
}
