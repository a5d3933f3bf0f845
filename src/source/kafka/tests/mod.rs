//! Tests against librdkafka's mock cluster and against a real broker, and what they share: a listener that plays the runtime.

mod mock;
mod on_services;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::sync::oneshot;

use super::KafkaSource;
use crate::config::checked::{KafkaConfig, Start};
use crate::config::secret::Secret;
use crate::core::failure::Failure;
use crate::core::record::TopicPartition;
use crate::source::{Generation, LogEvent, Said, SourceCommand, SourceEvent, SourceHandle, StartAt};

/// A source of some topics, with time-outs for tests.
fn source(brokers: &str, group: &str, topics: &[&str]) -> KafkaSource {
    source_with(brokers, group, topics, None, &[]).expect("a source")
}

fn source_with(
    brokers: &str,
    group: &str,
    topics: &[&str],
    regex: Option<&str>,
    client: &[(&str, &str)],
) -> Result<KafkaSource, Failure> {
    let client: Vec<_> = TIMEOUTS.iter().chain(client).copied().collect();
    source_bare(brokers, group, topics, regex, &client)
}

/// A join into a running group of the mock cluster waits for the session's time-out.
const TIMEOUTS: &[(&str, &str)] = &[("session.timeout.ms", "3000"), ("heartbeat.interval.ms", "300")];

fn source_bare(
    brokers: &str,
    group: &str,
    topics: &[&str],
    regex: Option<&str>,
    client: &[(&str, &str)],
) -> Result<KafkaSource, Failure> {
    let config = KafkaConfig {
        brokers: brokers.to_owned(),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        topics_regex: regex.map(str::to_owned),
        exclude: Vec::new(),
        group: group.to_owned(),
        start: Start::Earliest,
        client: client.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect(),
    };
    KafkaSource::new(&config, "test")
}

fn producer(brokers: &str, more: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("linger.ms", "0");
    for (name, value) in more {
        config.set(*name, *value);
    }
    config.create().expect("a producer")
}

/// Writes records with the keys `0`, `1`, … and values of some size.
fn produce(producer: &BaseProducer, at: &TopicPartition, count: usize, bytes: usize) {
    let value = "v".repeat(bytes);
    for number in 0..count {
        let key = number.to_string();
        let mut record = BaseRecord::to(&at.topic).partition(at.partition).key(&key).payload(&value);
        while let Err((error, again)) = producer.send(record) {
            assert_eq!(error.rdkafka_error_code(), Some(rdkafka::error::RDKafkaErrorCode::QueueFull));
            producer.poll(Duration::from_millis(10));
            record = again;
        }
    }
    producer.flush(Duration::from_secs(20)).expect("the records are written");
}

/// What a listener answers to `Assigned`.
#[derive(Clone)]
enum Answer {
    /// At its own offset, at 0 where there is none.
    At(HashMap<TopicPartition, i64>),
    /// "Later" for all.
    Later,
    /// Nothing at all.
    Silence,
}

/// Plays the runtime: takes events and keeps what they said.
struct Listener {
    handle: SourceHandle,
    answer: Answer,
    unanswered: Vec<oneshot::Sender<Vec<(TopicPartition, StartAt)>>>,
    /// Assignments in order.
    assigned: Vec<TopicPartition>,
    generations: BTreeMap<TopicPartition, Generation>,
    /// Generation and offset of every record.
    records: BTreeMap<TopicPartition, Vec<(Generation, i64)>>,
    /// Last position of `AtEnd`.
    ends: BTreeMap<TopicPartition, i64>,
    revoked: Vec<(TopicPartition, bool)>,
    stopped: Vec<(TopicPartition, String)>,
    warnings: Vec<String>,
    failed: Option<String>,
    finished: usize,
}

impl Listener {
    fn new(handle: SourceHandle, answer: Answer) -> Self {
        Self {
            handle,
            answer,
            unanswered: Vec::new(),
            assigned: Vec::new(),
            generations: BTreeMap::new(),
            records: BTreeMap::new(),
            ends: BTreeMap::new(),
            revoked: Vec::new(),
            stopped: Vec::new(),
            warnings: Vec::new(),
            failed: None,
            finished: 0,
        }
    }

    /// Listens until something holds; fails the test if that takes longer than 30 s.
    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.handle.next()).await {
                Ok(Some(event)) => self.take(event),
                Ok(None) => panic!("the source ended before: {what}; failed {:?}", self.failed),
                Err(_) => panic!(
                    "not in time: {what}; counts {:?}, assigned {:?}, revoked {:?}, ends {:?}, stopped {:?}, warnings {:?}, failed {:?}",
                    self.records
                        .iter()
                        .map(|(at, all)| (at.clone(), all.len(), self.offsets(at).len(), all.last().copied()))
                        .collect::<Vec<_>>(),
                    self.assigned,
                    self.revoked,
                    self.ends,
                    self.stopped,
                    self.warnings,
                    self.failed
                ),
            }
        }
    }

    /// Listens for some time.
    async fn listen(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while let Ok(Some(event)) =
            tokio::time::timeout(deadline.saturating_duration_since(Instant::now()), self.handle.next()).await
        {
            self.take(event);
        }
    }

    fn take(&mut self, event: Said) {
        match event {
            Said::Control(SourceEvent::Assigned { partitions, reply }) => {
                let start = |at: &TopicPartition| match &self.answer {
                    Answer::At(offsets) => StartAt::Offset(offsets.get(at).copied().unwrap_or(0)),
                    _ => StartAt::Later,
                };
                let starts = partitions.iter().map(|(at, _)| (at.clone(), start(at))).collect();
                match self.answer {
                    Answer::Silence => self.unanswered.push(reply),
                    _ => reply.send(starts).expect("the source waits for the answer"),
                }
                self.assigned.extend(partitions.iter().map(|(at, _)| at.clone()));
                self.generations.extend(partitions);
            }
            Said::Control(SourceEvent::Revoked { partitions, lost, reply }) => {
                self.revoked.extend(partitions.into_iter().map(|at| (at, lost)));
                let _ = reply.send(());
            }
            Said::Log(LogEvent::Records { generation, records }) => {
                for record in records {
                    self.records.entry(record.at).or_default().push((generation, record.offset));
                }
            }
            Said::Log(LogEvent::AtEnd { at, position, .. }) => {
                self.ends.insert(at, position);
            }
            Said::Control(SourceEvent::PartitionFailed { at, failure }) => self.stopped.push((at, failure.to_string())),
            Said::Control(SourceEvent::Warning(failure)) => self.warnings.push(failure.to_string()),
            Said::Control(SourceEvent::Failed(failure)) => self.failed = Some(failure.to_string()),
            Said::Log(LogEvent::Finished) => self.finished += 1,
        }
    }

    /// Offsets that came of a partition under its newest generation.
    fn offsets(&self, at: &TopicPartition) -> Vec<i64> {
        let generation = self.generations.get(at).copied().unwrap_or(0);
        let records = self.records.get(at).map_or(&[][..], Vec::as_slice);
        records.iter().filter(|(of, _)| *of == generation).map(|(_, offset)| *offset).collect()
    }

    fn start(&mut self, at: &TopicPartition, offset: i64) {
        let generation = crate::source::next_generation();
        self.generations.insert(at.clone(), generation);
        self.command(SourceCommand::Start { at: at.clone(), offset, generation });
    }

    fn command(&self, command: SourceCommand) {
        self.handle.commands.send(command).expect("the source listens");
    }

    fn end(&self, at: &TopicPartition) -> Option<i64> {
        self.ends.get(at).copied()
    }

    /// Stops the source in an orderly way and returns what it took back.
    async fn stop(mut self) -> Vec<(TopicPartition, bool)> {
        self.revoked.clear();
        self.command(SourceCommand::Stop);
        while let Some(event) =
            tokio::time::timeout(Duration::from_secs(20), self.handle.next()).await.expect("the source stops in time")
        {
            self.take(event);
        }
        let joined = tokio::task::spawn_blocking(move || self.handle.thread.expect("a thread").join());
        joined.await.expect("joining").expect("the thread did not panic");
        self.revoked
    }
}

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn offsets(of: &[(&TopicPartition, i64)]) -> Answer {
    Answer::At(of.iter().map(|(at, offset)| ((*at).clone(), *offset)).collect())
}
