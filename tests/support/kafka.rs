//! Topics of a test's own on the shared broker.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::captures::Captured;
use super::{LIMIT, service};

/// Partitions of every captured topic.
pub const PARTITIONS: i32 = 4;

/// A name of a test's own for a captured topic. Control topics are told by the begin or the end of their names, which stay.
pub fn renamed(topic: &str, prefix: &str) -> String {
    match topic.strip_prefix("__debezium-heartbeat.") {
        Some(rest) => format!("__debezium-heartbeat.{prefix}.{rest}"),
        None => format!("{prefix}.{topic}"),
    }
}

/// The records under the names of [`renamed`].
pub fn rename(records: &[Captured], prefix: &str) -> Vec<Captured> {
    records.iter().map(|record| Captured { topic: renamed(&record.topic, prefix), ..record.clone() }).collect()
}

/// The shared broker.
pub fn brokers() -> String {
    service("LASTWORD_TEST_KAFKA")
}

/// A client of the shared broker.
pub fn client() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers());
    config
}

/// Makes a topic with properties of its own.
pub fn create_with(topic: &str, partitions: i32, properties: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = client().create().expect("an admin client");
    // Captured records keep their times, and are older than a broker keeps records by default.
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    for (key, value) in properties {
        new = new.set(key, value);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    let made = runtime.block_on(admin.create_topics([&new], &options)).expect("an answer of the broker");
    for outcome in made {
        outcome.unwrap_or_else(|(topic, error)| panic!("{topic}: {error}"));
    }
}

/// Makes a topic.
pub fn create(topic: &str, partitions: i32) {
    create_with(topic, partitions, &[]);
}

/// Makes the topics of records, and puts every record into its partition in the order of its offset.
pub fn fill(records: &[Captured]) {
    for topic in super::captures::topics(records) {
        create(&topic, PARTITIONS);
    }
    produce(records);
}

/// Puts every record into its partition, in their order.
pub fn produce(records: &[Captured]) {
    produce_with(records, &[]);
}

/// The same by a producer with properties of its own.
pub fn produce_with(records: &[Captured], properties: &[(&str, &str)]) {
    let mut config = client();
    // Idempotent: a producer that tries again must not change the order.
    config.set("enable.idempotence", "true").set("linger.ms", "5");
    for (key, value) in properties {
        config.set(*key, *value);
    }
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
    for record in records {
        let mut base: BaseRecord<'_, str, str> =
            BaseRecord::to(&record.topic).partition(record.partition).timestamp(record.ts);
        if let Some(key) = &record.key {
            base = base.key(key);
        }
        if let Some(payload) = &record.payload {
            base = base.payload(payload);
        }
        let headers = record
            .headers
            .chunks_exact(2)
            .fold(OwnedHeaders::new(), |headers, pair| headers.insert(Header { key: &pair[0], value: Some(&pair[1]) }));
        if !record.headers.is_empty() {
            base = base.headers(headers);
        }
        producer.send(base).unwrap_or_else(|(error, _)| panic!("{error}"));
    }
    producer.flush(LIMIT).expect("all records are delivered");
}

/// The `[source]` section for topics.
pub fn source(topics: &[String]) -> String {
    let topics: Vec<String> = topics.iter().map(|topic| format!("{topic:?}")).collect();
    format!("[source]\nkind = \"kafka\"\nbrokers = \"{}\"\ntopics = [{}]\n", brokers(), topics.join(", "))
}
