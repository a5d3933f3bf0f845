//! Against a real broker (`LASTWORD_TEST_KAFKA`): gaps and ends, topic ids, times, credentials. Each test has topics of its own.

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::*;
use crate::core::failure::Class;
use crate::source::{LogRange, ReadRange, next_generation};

/// The broker.
fn broker() -> String {
    std::env::var("LASTWORD_TEST_KAFKA")
        .unwrap_or_else(|_| panic!("LASTWORD_TEST_KAFKA is not set; run tests/run, or --fast"))
}

/// A name that no other test and no other run has.
fn fresh(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    format!("src.{name}.{}.{}", std::process::id(), now.as_nanos())
}

struct Topic {
    brokers: String,
    name: String,
    admin: AdminClient<DefaultClientContext>,
}

impl Topic {
    async fn new(brokers: &str, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Self {
        let admin = ClientConfig::new().set("bootstrap.servers", brokers).create().expect("an admin client");
        let topic = Self { brokers: brokers.to_owned(), name: fresh(name), admin };
        topic.create(partitions, settings).await;
        topic
    }

    async fn create(&self, partitions: i32, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(&self.name, partitions, TopicReplication::Fixed(1));
        for (name, value) in settings {
            topic = topic.set(name, value);
        }
        for _ in 0..50 {
            let done = self.admin.create_topics([&topic], &AdminOptions::new()).await.expect("an answer");
            match &done[0] {
                Ok(_) => return,
                // It is still being deleted.
                Err((_, rdkafka::error::RDKafkaErrorCode::TopicAlreadyExists)) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err((_, code)) => panic!("cannot create a topic: {code}"),
            }
        }
        panic!("the topic cannot be created again");
    }

    async fn delete(&self) {
        let done = self.admin.delete_topics(&[&self.name], &AdminOptions::new()).await.expect("an answer");
        assert!(done[0].is_ok(), "{done:?}");
    }

    fn at(&self, partition: i32) -> TopicPartition {
        at(&self.name, partition)
    }

    fn source(&self) -> KafkaSource {
        source(&self.brokers, &self.name, &[&self.name])
    }

    async fn range(&self, partition: i32) -> LogRange {
        self.source().ranges(&[self.at(partition)]).await.expect("a range")[0].1
    }

    fn listen(&self, answer: Answer) -> Listener {
        Listener::new(self.source().run().expect("it runs"), answer)
    }
}

fn transactional(brokers: &str) -> BaseProducer {
    let producer = producer(brokers, &[("transactional.id", &fresh("transaction"))]);
    producer.init_transactions(Duration::from_secs(20)).expect("transactions");
    producer
}

const WAIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn positions_pass_transaction_markers_and_stop_before_open_transactions() {
    let brokers = broker();
    let topic = Topic::new(&brokers, "transactions", 1, &[]).await;
    let only = topic.at(0);
    let writer = transactional(&brokers);
    writer.begin_transaction().expect("a transaction");
    produce(&writer, &only, 3, 10);
    writer.commit_transaction(WAIT).expect("it commits");
    let mut listener = topic.listen(offsets(&[]));
    // Records 0 to 2, the commit marker 3.
    listener.until("the end behind a commit marker", |seen| seen.end(&only) == Some(4)).await;
    assert_eq!(topic.range(0).await, LogRange { start: 0, end: 4 });

    writer.begin_transaction().expect("a transaction");
    produce(&writer, &only, 2, 10);
    writer.abort_transaction(WAIT).expect("it aborts");
    // Records 4 and 5 are aborted, 6 is the marker.
    listener.until("the end behind an abort", |seen| seen.end(&only) == Some(7)).await;
    assert_eq!(topic.range(0).await, LogRange { start: 0, end: 7 });
    assert_eq!(listener.offsets(&only), [0, 1, 2]);

    writer.begin_transaction().expect("a transaction");
    produce(&writer, &only, 2, 10);
    let mut late = topic_reader(&topic, 0, 7);
    late.until("a range that ends in an abort", |seen| seen.finished == 1).await;
    assert_eq!((late.offsets(&only), late.end(&only)), (vec![0, 1, 2], Some(7)));
    assert_eq!(topic.range(0).await.end, 7, "the end is the last stable offset, not the high watermark");
    listener.listen(Duration::from_secs(1)).await;
    assert_eq!(listener.end(&only), Some(7));
    writer.commit_transaction(WAIT).expect("it commits");
    listener.until("the end of the open one", |seen| seen.end(&only) == Some(10)).await;
    assert_eq!(listener.offsets(&only), [0, 1, 2, 7, 8]);

    // Starts inside what has no records: on a marker, inside the aborted ones, at the very end.
    for (from, expected) in [(3, vec![7, 8]), (5, vec![7, 8]), (9, vec![]), (10, vec![])] {
        listener.ends.clear();
        listener.start(&only, from);
        listener.until("the end again", |seen| seen.end(&only) == Some(10)).await;
        assert_eq!(listener.offsets(&only), expected, "from {from}");
    }
    listener.stop().await;
    topic.delete().await;
}

fn topic_reader(topic: &Topic, from: i64, to: i64) -> Listener {
    let range = ReadRange { at: topic.at(0), generation: next_generation(), from, to };
    let generations = [(range.at.clone(), range.generation)].into();
    let mut listener = Listener::new(topic.source().read(vec![range]).expect("it reads"), Answer::Later);
    listener.generations = generations;
    listener
}

#[tokio::test]
async fn a_partition_that_only_holds_an_abort_has_an_end() {
    let brokers = broker();
    let topic = Topic::new(&brokers, "aborted", 1, &[]).await;
    let writer = transactional(&brokers);
    writer.begin_transaction().expect("a transaction");
    produce(&writer, &topic.at(0), 4, 10);
    writer.abort_transaction(WAIT).expect("it aborts");
    let mut listener = topic.listen(offsets(&[]));
    listener.until("its end", |seen| seen.end(&topic.at(0)) == Some(5)).await;
    assert!(listener.records.is_empty());
    listener.stop().await;
    topic.delete().await;
}

#[tokio::test]
async fn a_partition_that_retention_emptied_has_an_end_and_a_start_below_it_is_told() {
    let brokers = broker();
    let topic = Topic::new(&brokers, "emptied", 1, &[]).await;
    let only = topic.at(0);
    produce(&producer(&brokers, &[]), &only, 11, 10);
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(&topic.name, 0, rdkafka::Offset::End).expect("an offset");
    topic.admin.delete_records(&all, &AdminOptions::new()).await.expect("records are deleted");
    assert_eq!(topic.range(0).await, LogRange { start: 11, end: 11 });
    let mut listener = topic.listen(offsets(&[(&only, 11)]));
    listener.until("its end", |seen| seen.end(&only) == Some(11)).await;
    listener.start(&only, 4);
    listener.until("the refusal", |seen| !seen.stopped.is_empty()).await;
    assert!(listener.stopped[0].1.contains("at offset 4"), "{:?}", listener.stopped);
    listener.stop().await;
    topic.delete().await;
}

#[tokio::test]
async fn compaction_leaves_gaps_that_are_passed() {
    let brokers = broker();
    let settings = [("cleanup.policy", "compact"), ("segment.ms", "200"), ("min.cleanable.dirty.ratio", "0.001")];
    let topic = Topic::new(&brokers, "compacted", 1, &settings).await;
    let only = topic.at(0);
    let writer = producer(&brokers, &[("enable.idempotence", "true")]);
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut written = 0;
    loop {
        // The same keys again and again; each pause lets the segment roll, so that the cleaner may touch it.
        produce(&writer, &only, 10, 10);
        written += 10;
        tokio::time::sleep(Duration::from_millis(700)).await;
        let mut reader = topic_reader(&topic, 0, written);
        reader.until("the range", |seen| seen.finished == 1).await;
        assert_eq!(reader.end(&only), Some(written));
        if i64::try_from(reader.offsets(&only).len()).expect("a number") < written {
            break;
        }
        assert!(Instant::now() < deadline, "the cleaner did nothing in a minute");
    }
    let mut listener = topic.listen(offsets(&[]));
    listener.until("the end behind the gaps", |seen| seen.end(&only) == Some(written)).await;
    assert!((listener.offsets(&only).len() as i64) < written);
    listener.stop().await;
    topic.delete().await;
}

#[tokio::test]
async fn a_topic_made_anew_has_another_identity() {
    let brokers = broker();
    let topic = Topic::new(&brokers, "recreated", 2, &[]).await;
    let first = topic.source().topics().await.expect("topics").remove(0);
    assert_eq!((&*first.topic, first.partitions), (topic.name.as_str(), 2));
    assert_eq!(first.incarnation.len(), 22, "{}", first.incarnation);
    let again = topic.source().topics().await.expect("topics").remove(0);
    assert_eq!(first.incarnation, again.incarnation);
    topic.delete().await;
    topic.create(2, &[]).await;
    let mut second = topic.source().topics().await;
    for _ in 0..50 {
        if second.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        second = topic.source().topics().await;
    }
    assert_ne!(second.expect("topics").remove(0).incarnation, first.incarnation);
    topic.delete().await;
}

#[tokio::test]
async fn a_topic_made_anew_while_it_is_read_is_stopped() {
    let brokers = broker();
    let topic = Topic::new(&brokers, "swapped", 1, &[]).await;
    let only = topic.at(0);
    let writer = producer(&brokers, &[]);
    produce(&writer, &only, 5, 10);
    let mut listener = topic.listen(offsets(&[]));
    listener.until("the end", |seen| seen.end(&only) == Some(5)).await;
    topic.delete().await;
    topic.create(1, &[]).await;
    produce(&producer(&brokers, &[]), &only, 8, 10);
    listener.until("the alarm", |seen| !seen.stopped.is_empty()).await;
    assert!(listener.stopped[0].0 == only && listener.stopped[0].1.contains("created again"), "{:?}", listener.stopped);
    produce(&producer(&brokers, &[]), &only, 2, 10);
    listener.listen(Duration::from_secs(1)).await;
    assert!(!listener.offsets(&only).contains(&8), "stopped means silent");
    listener.start(&only, 0);
    listener.until("the new topic's end", |seen| seen.end(&only) == Some(10)).await;
    assert_eq!(listener.offsets(&only), (0..10).collect::<Vec<_>>());
    listener.stop().await;
    topic.delete().await;
}

#[tokio::test]
async fn offsets_are_found_by_time() {
    let brokers = broker();
    let topic = Topic::new(&brokers, "times", 1, &[("retention.ms", "-1")]).await;
    let writer = producer(&brokers, &[]);
    let base = 1_700_000_000_000;
    for number in 0..5 {
        let record = BaseRecord::to(&topic.name).partition(0).key("k").payload("v").timestamp(base + number * 1000);
        writer.send(record).expect("it is written");
        writer.flush(WAIT).expect("it is written");
    }
    let source = topic.source();
    for (time, offset) in
        [(base - 1, Some(0)), (base + 1500, Some(2)), (base + 4000, Some(4)), (base + 4001, None), (-1, Some(0))]
    {
        assert_eq!(source.offset_at_time(&topic.at(0), time).await.expect("an answer"), offset, "{time}");
    }
    topic.delete().await;
}

#[tokio::test]
async fn bytes_nulls_times_and_headers_arrive_as_they_were() {
    let brokers = broker();
    let topic = Topic::new(&brokers, "bytes", 1, &[]).await;
    let writer = producer(&brokers, &[]);
    let headers = rdkafka::message::OwnedHeaders::new()
        .insert(rdkafka::message::Header { key: "h", value: Some("1") })
        .insert(rdkafka::message::Header { key: "none", value: None::<&str> });
    let full = BaseRecord::to(&topic.name).partition(0).key(b"\xff\0".as_slice()).payload(b"".as_slice());
    writer.send(full.timestamp(77).headers(headers)).expect("it is written");
    writer.send(BaseRecord::<[u8], [u8]>::to(&topic.name).partition(0).key(b"k")).expect("it is written");
    writer.flush(WAIT).expect("it is written");
    let range = ReadRange { at: topic.at(0), generation: 1, from: 0, to: 2 };
    let mut handle = topic.source().read(vec![range]).expect("it reads");
    let mut records = Vec::new();
    loop {
        match tokio::time::timeout(WAIT, handle.next()).await.expect("in time") {
            Some(Said::Log(LogEvent::Records { records: more, .. })) => records.extend(more),
            Some(Said::Log(LogEvent::Finished)) => break,
            Some(_) => {}
            None => panic!("it ended"),
        }
    }
    let (full, null) = (&records[0], &records[1]);
    assert_eq!(full.key.as_deref(), Some(b"\xff\0".as_slice()));
    assert_eq!((full.value.as_ref().map(|value| &**value.body()), full.timestamp_ms), (Some(b"".as_slice()), Some(77)));
    let headers: Vec<_> = full.headers.iter().collect();
    assert_eq!(headers, [("h".to_owned(), Some(bytes::Bytes::from_static(b"1"))), ("none".to_owned(), None)]);
    assert_eq!((null.key.as_deref(), null.value.is_none()), (Some(b"k".as_slice()), true));
    topic.delete().await;
}

#[tokio::test]
async fn a_group_moves_partitions_on_the_real_broker() {
    let brokers = broker();
    for client in [&[][..], &[("partition.assignment.strategy", "range")], &[("group.protocol", "consumer")]] {
        moves(&brokers, client).await;
    }
}

async fn moves(brokers: &str, client: &[(&str, &str)]) {
    let topic = Topic::new(brokers, "group", 4, &[]).await;
    let writer = producer(brokers, &[]);
    let all: Vec<_> = (0..4).map(|partition| topic.at(partition)).collect();
    for partition in &all {
        produce(&writer, partition, 10, 10);
    }
    // The new group protocol has its time-outs on the broker.
    let timeouts: &[_] = if client.first().is_some_and(|(_, value)| *value == "consumer") { &[] } else { TIMEOUTS };
    let member = || {
        let client: Vec<_> = timeouts.iter().chain(client).copied().collect();
        source_bare(brokers, &topic.name, &[&topic.name], None, &client).expect("a source").run().expect("it runs")
    };
    let mut first = Listener::new(member(), offsets(&[]));
    first.until("four ends", |seen| seen.ends.len() == 4).await;
    first.answer = Answer::At(all.iter().map(|at| (at.clone(), 10)).collect());
    let mut second = Listener::new(member(), first.answer.clone());
    tokio::join!(
        first.until("partitions are given away", |seen| !seen.revoked.is_empty()),
        second.until("two came", |seen| seen.assigned.len() == 2),
    );
    for partition in &all {
        produce(&writer, partition, 1, 10);
    }
    let moved = second.assigned.clone();
    let kept: Vec<_> = all.iter().filter(|at| !moved.contains(at)).cloned().collect();
    tokio::join!(
        first.until("ends of the kept", |seen| kept.iter().all(|at| seen.end(at) == Some(11))),
        second.until("ends of the moved", |seen| moved.iter().all(|at| seen.end(at) == Some(11))),
    );
    assert_eq!(second.stop().await.len(), 2, "{client:?}");
    let count = first.assigned.len();
    first.answer = Answer::At(all.iter().map(|at| (at.clone(), 11)).collect());
    first.until("they come back", |seen| seen.assigned.len() > count).await;
    for partition in &all {
        produce(&writer, partition, 1, 10);
    }
    first.until("all ends", |seen| all.iter().all(|at| seen.end(at) == Some(12))).await;
    assert!(first.failed.is_none() && first.stopped.is_empty());
    first.stop().await;
    topic.delete().await;
}

#[tokio::test]
async fn wrong_credentials_are_an_operator_matter_and_are_not_printed() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (brokers, user) = (variable("LASTWORD_TEST_KAFKA_SASL"), variable("LASTWORD_TEST_KAFKA_SASL_USER"));
    let (password, ca) = (variable("LASTWORD_TEST_KAFKA_SASL_PASSWORD"), variable("LASTWORD_TEST_CA"));
    let with = |password: &str, ca: &str| {
        let client = [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", user.as_str()),
            ("sasl.password", password),
            ("ssl.ca.location", ca),
        ];
        source_with(&brokers, &fresh("sasl"), &[], Some("^src\\.never"), &client).expect("a source")
    };
    assert_eq!(with(&password, &ca).topics().await.expect("the right password").len(), 0);
    let failure = with("wrong-hunter2", &ca).topics().await.expect_err("a wrong password");
    assert_eq!(failure.class, Class::Operator, "{failure}");
    assert!(failure.message.contains("sasl.mechanism") && !failure.message.contains("hunter2"), "{failure}");
    let mut listener = Listener::new(with("wrong-hunter2", &ca).run().expect("it runs"), Answer::Later);
    listener.until("a warning", |seen| !seen.warnings.is_empty()).await;
    assert!(!format!("{:?}", listener.warnings).contains("hunter2"));
    listener.stop().await;
    let failure = with(&password, &variable("LASTWORD_TEST_OTHER_CA")).topics().await.expect_err("a wrong authority");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Operator, "kafka SSL"), "{failure}");
}

/// A partition that was parked while the destination was down begins where the claim says, whenever the claim comes: also while
/// librdkafka is busy with the place where it was parked. (That was the logical end once. librdkafka 2.12.1 asks the broker for it,
/// asks again 500 ms after an answer that a pause or a seek has outdated, and the second answer undoes the seek: everything
/// before the end was skipped.)
#[tokio::test(flavor = "multi_thread")]
async fn a_late_start_skips_nothing_whenever_it_comes() {
    const PARTITIONS: i32 = 4;
    let brokers = broker();
    let topic = Topic::new(&brokers, "parked", PARTITIONS, &[]).await;
    let producer = producer(&brokers, &[]);
    for partition in 0..PARTITIONS {
        produce(&producer, &topic.at(partition), 100, 10);
    }
    let partitions: Vec<_> = (0..PARTITIONS).map(|partition| topic.at(partition)).collect();
    let late = [0, 2, 4, 8, 16].into_iter().chain((490..530).step_by(2)).map(|millis| {
        // One group each: a new member need not wait for the last one's session.
        let (brokers, name, partitions) = (brokers.clone(), topic.name.clone(), partitions.clone());
        tokio::spawn(async move {
            let source = source(&brokers, &fresh(&format!("parked{millis}")), &[&name]);
            let mut listener = Listener::new(source.run().expect("it runs"), Answer::Later);
            listener.until("an assignment", |seen| seen.assigned.len() == partitions.len()).await;
            listener.listen(Duration::from_millis(millis)).await;
            for one in &partitions {
                listener.start(one, 0);
            }
            for one in &partitions {
                listener.until("the end", |seen| seen.end(one) == Some(100)).await;
                assert_eq!(listener.offsets(one), (0..100).collect::<Vec<_>>(), "{one}, {millis} ms late");
            }
            listener.stop().await;
        })
    });
    for one in late.collect::<Vec<_>>() {
        one.await.expect("nothing was skipped");
    }
    topic.delete().await;
}
