//! Topics and records.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::traffic::Event;
use crate::support::{LIMIT, patiently};

const WAIT: Duration = Duration::from_secs(60);

/// How long one request is waited for before it is asked again.
const ANSWER: Duration = Duration::from_secs(5);

/// A topic of one test.
pub struct Topic {
    brokers: String,
    pub name: String,
    pub partitions: i32,
    admin: AdminClient<DefaultClientContext>,
}

impl Topic {
    pub async fn new(brokers: &str, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Self {
        let admin = ClientConfig::new().set("bootstrap.servers", brokers).create().expect("an admin client");
        let topic = Self { brokers: brokers.to_owned(), name: name.to_owned(), partitions, admin };
        topic.create(settings).await;
        topic
    }

    /// Makes it (again).
    pub async fn create(&self, settings: &[(&str, &str)]) {
        let new = NewTopic::new(&self.name, self.partitions, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
        for _ in 0..300 {
            let done = self.admin.create_topics([&new], &AdminOptions::new()).await.expect("an answer");
            match &done[0] {
                Ok(_) => return self.wait_for_leaders().await,
                // It is still being deleted.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err((_, code)) => panic!("cannot create a topic: {code}"),
            }
        }
        panic!("{} cannot be made again", self.name);
    }

    async fn wait_for_leaders(&self) {
        for _ in 0..300 {
            let metadata = self.admin.inner().fetch_metadata(Some(&self.name), WAIT).expect("metadata");
            let ready = metadata.topics()[0].partitions().iter().filter(|partition| partition.leader() >= 0).count();
            if ready == self.partitions as usize {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} has no leaders", self.name);
    }

    /// Raises the number of partitions.
    pub async fn raise(&mut self, partitions: i32) {
        let wanted = NewPartitions::new(&self.name, partitions as usize);
        let done = self.admin.create_partitions([&wanted], &AdminOptions::new()).await.expect("an answer");
        assert!(done[0].is_ok(), "{done:?}");
        self.partitions = partitions;
        self.wait_for_leaders().await;
    }

    pub async fn delete(&self) {
        let done = self.admin.delete_topics(&[&self.name], &AdminOptions::new()).await.expect("an answer");
        assert!(done[0].is_ok(), "{done:?}");
    }

    /// Deletes the records before an offset (`Offset::End`: all).
    pub async fn delete_records(&self, partition: i32, before: Offset) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, before).expect("an offset");
        self.admin.delete_records(&list, &AdminOptions::new()).await.expect("an answer");
    }

    /// Log start and end of every partition.
    pub fn watermarks(&self) -> BTreeMap<i32, (i64, i64)> {
        // A broker that is just coming back has no leaders yet, and a request that was under way when it fell may never
        // be answered: it is asked again, by a client that remembers nothing. Once in a dozen kills Kafka itself needs a
        // minute to start.
        let marks = |partition| {
            let consumer = ClientConfig::new().set("bootstrap.servers", &self.brokers).create::<BaseConsumer>();
            consumer.expect("a consumer").fetch_watermarks(&self.name, partition, ANSWER).ok()
        };
        let of = |partition| (partition, patiently("watermarks", 3 * LIMIT, || marks(partition)));
        (0..self.partitions).map(of).collect()
    }

    pub fn writer(&self, settings: &[(&str, &str)]) -> Writer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("linger.ms", "5").set("enable.idempotence", "true");
        // A broker that is restarted is waited for.
        config.set("message.timeout.ms", "120000").set("queue.buffering.max.kbytes", "131072");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        Writer { topic: self.name.clone(), producer: config.create().expect("a producer") }
    }

    /// Writes events and waits until the broker has them all.
    pub fn write(&self, events: &[Event]) {
        let writer = self.writer(&[]);
        writer.send(events);
        writer.flush();
    }
}

/// A producer of one topic.
pub struct Writer {
    topic: String,
    pub producer: BaseProducer,
}

impl Writer {
    pub fn send(&self, events: &[Event]) {
        for event in events {
            let mut record = BaseRecord::to(&self.topic).partition(event.partition).key(event.key.as_bytes());
            if let Some(value) = &event.value {
                record = record.payload(value.as_bytes());
            }
            while let Err((error, unsent)) = self.producer.send(record) {
                let full = matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
                assert!(full, "cannot write: {error}");
                self.producer.poll(Duration::from_millis(50));
                record = unsent;
            }
            self.producer.poll(Duration::ZERO);
        }
    }

    pub fn flush(&self) {
        self.producer.flush(Duration::from_secs(120)).expect("everything is written");
        assert_eq!(self.producer.in_flight_count(), 0);
    }

    pub fn begin(&self) {
        self.producer.begin_transaction().expect("a transaction");
    }

    pub fn commit(&self) {
        self.flush();
        self.producer.commit_transaction(WAIT).expect("it commits");
    }

    pub fn abort(&self) {
        // Written to the log, so that there is something to abort.
        self.flush();
        self.producer.abort_transaction(WAIT).expect("it aborts");
    }
}
