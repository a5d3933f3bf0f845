//! What a cluster says about topics and offsets, asked by a client without a group.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataBroker;
use rdkafka::{Offset, TopicPartitionList};

use crate::core::failure::{Class, Failure};
use crate::core::record::TopicPartition;

use super::client::{Context, Settings, failure_of};
use super::selection::{Selection, check_name};
use super::topic_id::topic_ids;
use crate::source::{LogRange, NO_INCARNATION, TopicInfo};

/// Waits for an answer, one after the other: the first is short, so that wrong credentials are told soon.
const TIMEOUTS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(6)];

/// Asks. Its calls block: from async code they run on a thread for blocking work.
pub(super) struct Metadata {
    settings: Settings,
    client: Mutex<Option<Arc<BaseConsumer<Context>>>>,
}

impl Metadata {
    /// Nothing is connected before the first question.
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, client: Mutex::new(None) }
    }

    /// The topics of a selection with their identities. A named topic that is not there is a failure.
    pub(super) fn topics(&self, selection: &Selection) -> Result<Vec<TopicInfo>, Failure> {
        let (found, broker) = self.partitions(selection)?;
        let missing: Vec<String> = selection.names().into_iter().filter(|name| !found.contains_key(name)).collect();
        if !missing.is_empty() {
            let message = format!(
                "no such topic: {}; create them, or correct `topics` in [source]. Topics are never created by lastword",
                missing.join(", ")
            );
            return Err(Failure::operator("kafka topics", message));
        }
        let names: Vec<String> = found.keys().cloned().collect();
        let ids = self.topic_ids(&names, broker)?;
        let info = |(name, partitions): (String, i32)| TopicInfo {
            incarnation: ids.get(&name).map_or(NO_INCARNATION, String::as_str).into(),
            topic: name.into(),
            partitions,
        };
        Ok(found.into_iter().map(info).collect())
    }

    /// Names of the topics that a selection selects now, with their ids where the cluster has them.
    pub(super) fn identities(&self, selection: &Selection) -> Result<BTreeMap<String, Option<String>>, Failure> {
        let (found, broker) = self.partitions(selection)?;
        let names: Vec<String> = found.into_keys().collect();
        let mut ids = self.topic_ids(&names, broker)?;
        Ok(names.into_iter().map(|name| (name.clone(), ids.remove(&name))).collect())
    }

    /// Numbers of partitions by topic, and a broker that answers. Topics that do not exist are left out.
    fn partitions(&self, selection: &Selection) -> Result<(BTreeMap<String, i32>, i32), Failure> {
        let mut found = BTreeMap::new();
        let mut broker = -1;
        if selection.is_open() {
            broker = self.list(None, &mut found)?;
            found.retain(|name, _| selection.selects(name));
        }
        for name in selection.names() {
            if !found.contains_key(&name) {
                broker = self.list(Some(&name), &mut found)?;
            }
        }
        Ok((found, broker))
    }

    fn list(&self, topic: Option<&str>, found: &mut BTreeMap<String, i32>) -> Result<i32, Failure> {
        let what = topic.map_or("listing the topics".to_owned(), |topic| format!("asking for topic {topic}"));
        let metadata = self.ask(&what, |client, timeout| client.fetch_metadata(topic, timeout))?;
        for topic in metadata.topics() {
            match topic.error().map(RDKafkaErrorCode::from) {
                None => {
                    found.insert(topic.name().to_owned(), i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX));
                }
                Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {}
                Some(code) => return Err(failure_of(code, format!("topic {}: {code}", topic.name()))),
            }
        }
        Ok(metadata.brokers().first().map_or(-1, MetadataBroker::id))
    }

    fn topic_ids(&self, names: &[String], broker: i32) -> Result<BTreeMap<String, String>, Failure> {
        let answer = self.ask("asking for topic ids", |client, timeout| {
            // SAFETY: `client` lives until this closure has returned.
            let ids = unsafe { topic_ids(client.client().native_ptr(), names, broker, timeout) };
            ids.map_err(KafkaError::MetadataFetch)
        });
        match answer {
            Err(failure) if failure.code == "kafka UnsupportedFeature" => Ok(BTreeMap::new()),
            answer => answer,
        }
    }

    /// Log start and last stable offset of partitions.
    pub(super) fn ranges(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, LogRange)>, Failure> {
        // The start first: it only grows, so that it is not above the end, whatever happens in between.
        let starts = self.offsets(partitions, Offset::Beginning)?;
        let ends = self.offsets(partitions, Offset::End)?;
        partitions
            .iter()
            .map(|at| match (starts.get(at), ends.get(at)) {
                (Some(Offset::Offset(start)), Some(Offset::Offset(end))) => {
                    Ok((at.clone(), LogRange { start: *start, end: *end }))
                }
                _ => Err(failure_of(
                    RDKafkaErrorCode::Fail,
                    format!("{at}: the broker did not say where its log begins and ends"),
                )),
            })
            .collect()
    }

    /// First offset whose time is at or after a time, `None` if there is none.
    pub(super) fn offset_at_time(&self, at: &TopicPartition, time_ms: i64) -> Result<Option<i64>, Failure> {
        // Negative numbers mean "begin" and "end" in this request. No record is older than 1970.
        let found = self.offsets(std::slice::from_ref(at), Offset::Offset(time_ms.max(0)))?;
        Ok(match found.get(at) {
            Some(Offset::Offset(offset)) => Some(*offset),
            _ => None,
        })
    }

    /// Asks for offsets of many partitions in one request to each broker: `Beginning`, `End` (of what is stable, because the
    /// client reads committed records only), or a time.
    fn offsets(
        &self,
        partitions: &[TopicPartition],
        wanted: Offset,
    ) -> Result<BTreeMap<TopicPartition, Offset>, Failure> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            check_name(&at.topic)?;
            if list.find_partition(&at.topic, at.partition).is_none() {
                let set = list.add_partition(&at.topic, at.partition).set_offset(wanted);
                set.map_err(|error| self.settings.failure(&at.to_string(), &error))?;
            }
        }
        let what = match partitions {
            [one] => format!("asking for offsets of {one}"),
            [first, rest @ ..] => format!("asking for offsets of {first} and {} more", rest.len()),
            [] => return Ok(BTreeMap::new()),
        };
        let answer = self.ask(&what, |client, timeout| client.offsets_for_times(list.clone(), timeout))?;
        let mut found = BTreeMap::new();
        for element in answer.elements() {
            let at = TopicPartition::new(element.topic(), element.partition());
            element.error().map_err(|error| self.settings.failure(&at.to_string(), &error))?;
            found.insert(at, element.offset());
        }
        Ok(found)
    }

    /// Runs a request. If it fails, what the client reported in the meantime says more than "timed out", and wrong
    /// credentials are not waited for any longer.
    fn ask<T>(
        &self,
        what: &str,
        request: impl Fn(&BaseConsumer<Context>, Duration) -> Result<T, KafkaError>,
    ) -> Result<T, Failure> {
        let client = self.client()?;
        let mut last = None;
        for timeout in TIMEOUTS {
            let answer = request(&client, timeout);
            // Nobody polls this client, so its logs and errors are taken here.
            let patience = Duration::from_millis(if answer.is_ok() { 1 } else { 20 });
            while client.poll(patience).is_some() {}
            let reported = client.context().take_last_error();
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let mut failure = self.settings.failure(what, &error);
            if let Some((code, text)) = reported.filter(|_| failure.class == Class::Transient) {
                failure = failure_of(code, text).context(what);
            }
            if failure.class != Class::Transient {
                return Err(failure);
            }
            last = Some(failure);
        }
        Err(last.unwrap_or_else(|| failure_of(RDKafkaErrorCode::OperationTimedOut, what)))
    }

    fn client(&self) -> Result<Arc<BaseConsumer<Context>>, Failure> {
        let mut slot = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*slot {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(self.settings.create(&self.settings.metadata_config())?);
        *slot = Some(Arc::clone(&client));
        Ok(client)
    }
}
