//! Fills a Kafka topic with change events (see `support`) and prints what a destination must hold in the end.
//!
//! `cargo bench --bench generate -- --brokers 127.0.0.1:9092 [--events 1_000_000] [--seed 1] [--plain] [--topic NAME]`;
//! `--print 3` writes a few records to the terminal instead.

// Each bench uses its part of it.
#[allow(dead_code)]
mod support;

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use support::{Contents, Events, PARTITIONS, Produced, flag, number, option};

fn main() {
    let (events, seed) = (number("events", "1_000_000"), number("seed", "1"));
    let with_schemas = !flag("plain");
    let shown = number("print", "0");
    if shown > 0 {
        for record in Events::new(seed, events, with_schemas).take(shown as usize) {
            println!("{} {} {}", record.partition, record.key, record.value.as_deref().unwrap_or("null"));
        }
        return;
    }
    let (brokers, topic) = (option("brokers", "127.0.0.1:9092"), option("topic", &support::topic()));
    create(&brokers, &topic);
    let begin = Instant::now();
    let (records, bytes) = produce(&brokers, &topic, Events::new(seed, events, with_schemas));
    let seconds = begin.elapsed().as_secs_f64();
    let (contents, expected) = Contents::of_topic(seed, events);
    assert_eq!(records, expected, "the oracle walks over the same records");
    println!(
        "{topic}: {events} events, {records} records, {:.2} GB, {PARTITIONS} partitions, seed {seed}, {} in {seconds:.1} s",
        bytes as f64 / 1e9,
        if with_schemas { "with schemas" } else { "plain" },
    );
    println!("oracle: {} rows, digest {:016x}", contents.rows, contents.digest);
}

/// Makes the topic; one that is there must be empty, or nothing would be known of the outcome.
fn create(brokers: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().expect("client");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let wanted = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    let made = runtime.block_on(admin.create_topics([&wanted], &AdminOptions::new())).expect("an answer of the broker");
    match &made[..] {
        [Ok(_)] => {}
        [Err((_, RDKafkaErrorCode::TopicAlreadyExists))] => {
            for partition in 0..PARTITIONS {
                let (_, end) = admin.inner().fetch_watermarks(topic, partition, Duration::from_secs(10)).expect("ends");
                assert_eq!(end, 0, "topic {topic} is there and not empty; take another --topic");
            }
        }
        other => panic!("the topic {topic} cannot be made: {other:?}"),
    }
}

fn produce(brokers: &str, topic: &str, events: Events) -> (u64, u64) {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("batch.size", "1000000")
        .set("linger.ms", "20")
        .set("queue.buffering.max.kbytes", "65536")
        .create()
        .expect("producer");
    let (mut records, mut bytes) = (0, 0);
    for Produced { partition, key, value } in events {
        records += 1;
        bytes += (key.len() + value.as_ref().map_or(0, String::len)) as u64;
        let mut record = BaseRecord::<String, String>::to(topic).partition(partition).key(&key);
        record.payload = value.as_ref();
        while let Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) = producer.send(record) {
            std::thread::sleep(Duration::from_millis(2));
            record = back;
        }
    }
    producer.flush(Duration::from_secs(120)).expect("everything delivered");
    (records, bytes)
}
