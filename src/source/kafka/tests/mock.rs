//! Against the mock cluster: groups, starts, halts, a queue that nobody empties, ranges.

use rdkafka_sys as sys;

use super::*;
use crate::source::{NO_INCARNATION, ReadRange, next_generation};

/// A mock cluster without the group's initial delay of three seconds, with a producer for it.
struct Cluster {
    producer: BaseProducer,
    brokers: String,
}

impl Cluster {
    fn new(topics: &[(&str, i32)]) -> Self {
        let mut config = ClientConfig::new();
        config.set("test.mock.num.brokers", "1").set("linger.ms", "0").set("queue.buffering.max.kbytes", "200000");
        let producer: BaseProducer = config.create().expect("a mock cluster");
        // SAFETY: the producer owns the mock cluster and lives.
        unsafe {
            let cluster = sys::rd_kafka_handle_mock_cluster(producer.client().native_ptr());
            assert!(!cluster.is_null());
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
        }
        let cluster = producer.client().mock_cluster().expect("a mock cluster");
        for (topic, partitions) in topics {
            cluster.create_topic(topic, *partitions, 1).expect("a topic");
        }
        let brokers = cluster.bootstrap_servers();
        drop(cluster);
        Self { producer, brokers }
    }
}

fn run(cluster: &Cluster, topics: &[&str], answer: Answer) -> Listener {
    Listener::new(source(&cluster.brokers, "g", topics).run().expect("it runs"), answer)
}

#[tokio::test]
async fn starts_at_the_claimed_offsets_and_says_the_ends_by_topic() {
    let cluster = Cluster::new(&[("a", 2), ("b", 1)]);
    let (a0, a1, b0) = (at("a", 0), at("a", 1), at("b", 0));
    for partition in [&a0, &a1, &b0] {
        produce(&cluster.producer, partition, 100, 10);
    }
    let mut listener = run(&cluster, &["a", "b"], offsets(&[(&a0, 10), (&a1, 95), (&b0, 100)]));
    listener.until("three ends", |seen| seen.ends.len() == 3).await;
    assert_eq!(listener.offsets(&a0), (10..100).collect::<Vec<_>>());
    assert_eq!(listener.offsets(&a1), (95..100).collect::<Vec<_>>());
    assert_eq!(listener.offsets(&b0), Vec::<i64>::new());
    assert_eq!([&a0, &a1, &b0].map(|at| listener.end(at)), [Some(100); 3]);
    produce(&cluster.producer, &b0, 3, 10);
    listener.until("a new end of b", |seen| seen.end(&b0) == Some(103)).await;
    assert_eq!(listener.offsets(&b0), [100, 101, 102]);
    let mut revoked = listener.stop().await;
    revoked.sort();
    assert_eq!(revoked, [(a0, false), (a1, false), (b0, false)]);
}

#[tokio::test]
async fn parked_partitions_are_silent_until_they_are_started() {
    let cluster = Cluster::new(&[("t", 2)]);
    let (first, second) = (at("t", 0), at("t", 1));
    produce(&cluster.producer, &first, 50, 10);
    produce(&cluster.producer, &second, 50, 10);
    let mut listener = run(&cluster, &["t"], Answer::Later);
    listener.until("an assignment", |seen| seen.assigned.len() == 2).await;
    produce(&cluster.producer, &first, 10, 10);
    listener.listen(Duration::from_secs(1)).await;
    assert!(listener.records.is_empty() && listener.ends.is_empty(), "parked means silent");
    listener.start(&first, 30);
    listener.until("the end", |seen| seen.end(&first) == Some(60)).await;
    assert_eq!(listener.offsets(&first), (30..60).collect::<Vec<_>>());
    assert!(!listener.records.contains_key(&second));
    assert_eq!(listener.stopped, []);
    listener.stop().await;
}

#[tokio::test]
async fn no_answer_in_time_parks_and_the_late_answer_is_refused() {
    let cluster = Cluster::new(&[("t", 1)]);
    let only = at("t", 0);
    produce(&cluster.producer, &only, 5, 10);
    let mut listener = run(&cluster, &["t"], Answer::Silence);
    listener.until("an assignment", |seen| seen.assigned.len() == 1).await;
    listener.listen(Duration::from_millis(5500)).await;
    let reply = listener.unanswered.pop().expect("a reply that was not sent");
    assert!(reply.send(vec![(only.clone(), StartAt::Offset(0))]).is_err());
    listener.start(&only, 2);
    listener.until("the end", |seen| seen.end(&only) == Some(5)).await;
    assert_eq!(listener.offsets(&only), [2, 3, 4]);
    assert!(listener.revoked.is_empty(), "the member stayed in its group");
    listener.stop().await;
}

#[tokio::test]
async fn halt_is_silence_and_start_takes_up_anywhere() {
    let cluster = Cluster::new(&[("t", 1)]);
    let only = at("t", 0);
    produce(&cluster.producer, &only, 20, 10);
    let mut listener = run(&cluster, &["t"], offsets(&[]));
    listener.until("the end", |seen| seen.end(&only) == Some(20)).await;
    listener.command(SourceCommand::Halt { at: only.clone() });
    listener.listen(Duration::from_millis(300)).await;
    produce(&cluster.producer, &only, 20, 10);
    listener.listen(Duration::from_secs(1)).await;
    assert_eq!(listener.offsets(&only), (0..20).collect::<Vec<_>>());
    // Back, forward, and to the end without a halt before; each under its own generation.
    for (offset, expected) in [(5, (5..40).collect::<Vec<_>>()), (33, (33..40).collect()), (40, Vec::new())] {
        listener.ends.clear();
        listener.start(&only, offset);
        listener.until("the end again", |seen| seen.end(&only) == Some(40)).await;
        assert_eq!(listener.offsets(&only), expected, "from {offset}");
    }
    listener.command(SourceCommand::HintCommitted { offsets: vec![(only.clone(), 40)] });
    listener.stop().await;
}

#[tokio::test]
async fn an_offset_outside_the_log_stops_its_partition_by_name_and_no_other() {
    for assignor in ["cooperative-sticky", "range"] {
        out_of_range(assignor).await;
    }
}

async fn out_of_range(assignor: &str) {
    let cluster = Cluster::new(&[("a", 1), ("b", 1)]);
    let (bad, good) = (at("a", 0), at("b", 0));
    produce(&cluster.producer, &bad, 10, 10);
    produce(&cluster.producer, &good, 10, 10);
    let client = [("partition.assignment.strategy", assignor)];
    let source = source_with(&cluster.brokers, "g", &["a", "b"], None, &client).expect("a source");
    let mut listener = Listener::new(source.run().expect("it runs"), offsets(&[(&bad, 1000)]));
    listener.until("both outcomes", |seen| !seen.stopped.is_empty() && seen.end(&good) == Some(10)).await;
    let (stopped, message) = &listener.stopped[0];
    assert_eq!(stopped, &bad);
    assert!(message.contains("a[0] at offset 1000") && message.contains("offsets set"), "{message}");
    listener.start(&bad, 4);
    listener.until("the end after a new start", |seen| seen.end(&bad) == Some(10)).await;
    assert_eq!(listener.offsets(&bad), (4..10).collect::<Vec<_>>());
    produce(&cluster.producer, &good, 2, 10);
    listener.until("a new end of the other", |seen| seen.end(&good) == Some(12)).await;
    assert_eq!(listener.offsets(&good), (0..12).collect::<Vec<_>>());
    listener.stop().await;
}

#[tokio::test]
async fn members_come_and_go_and_what_stays_is_not_touched() {
    let cluster = Cluster::new(&[("t", 4)]);
    let all: Vec<_> = (0..4).map(|partition| at("t", partition)).collect();
    for partition in &all {
        produce(&cluster.producer, partition, 10, 10);
    }
    let mut first = run(&cluster, &["t"], offsets(&[]));
    first.until("four ends", |seen| seen.ends.len() == 4).await;
    let claims = all.iter().map(|at| (at.clone(), 10)).collect();
    let mut second = run(&cluster, &["t"], Answer::At(claims));
    let both = async {
        tokio::join!(
            first.until("two are given away", |seen| seen.revoked.len() == 2),
            second.until("two came", |seen| seen.assigned.len() == 2 && seen.ends.len() == 2),
        )
    };
    both.await;
    let moved: Vec<_> = second.assigned.clone();
    assert!(first.revoked.iter().all(|(at, lost)| moved.contains(at) && !lost));
    assert_eq!(first.assigned.len(), 4, "kept partitions are not announced again");
    for partition in &all {
        produce(&cluster.producer, partition, 5, 10);
    }
    let kept: Vec<_> = all.iter().filter(|at| !moved.contains(at)).cloned().collect();
    first.until("ends of the kept", |seen| kept.iter().all(|at| seen.end(at) == Some(15))).await;
    second.until("ends of the moved", |seen| moved.iter().all(|at| seen.end(at) == Some(15))).await;
    for partition in &kept {
        assert_eq!(first.offsets(partition), (0..15).collect::<Vec<_>>());
    }
    for partition in &moved {
        assert_eq!(second.offsets(partition), (10..15).collect::<Vec<_>>());
    }
    let claims = all.iter().map(|at| (at.clone(), 15)).collect();
    first.answer = Answer::At(claims);
    assert_eq!(second.stop().await.len(), 2);
    first.until("they come back", |seen| seen.assigned.len() == 6).await;
    for partition in &moved {
        produce(&cluster.producer, partition, 1, 10);
    }
    first.until("they are read again", |seen| moved.iter().all(|at| seen.end(at) == Some(16))).await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_keeps_the_member_in_its_group_and_loses_nothing() {
    let cluster = Cluster::new(&[("t", 8)]);
    let all: Vec<_> = (0..8).map(|partition| at("t", partition)).collect();
    for partition in &all {
        produce(&cluster.producer, partition, 400, 10_000);
    }
    let mut slow = run(&cluster, &["t"], offsets(&[]));
    slow.until("the first record", |seen| !seen.records.is_empty()).await;
    // Nobody takes records; control is still heard, over a poll interval and a session that would both have run out.
    let mut second = run(&cluster, &["t"], offsets(&[]));
    let hear = async {
        while slow.revoked.is_empty() {
            let event = slow.handle.control.recv().await.expect("a control event");
            slow.take(Said::Control(event));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), hear).await.expect("the revoke is heard although the queue is full");
    assert!(slow.revoked.iter().all(|(_, lost)| !lost));
    second.until("partitions moved", |seen| !seen.assigned.is_empty()).await;
    second.stop().await;
    slow.until("all ends", |seen| all.iter().all(|at| seen.end(at) == Some(400))).await;
    for partition in &all {
        assert_eq!(slow.offsets(partition), (0..400).collect::<Vec<_>>(), "{partition}");
    }
    slow.stop().await;
}

#[tokio::test]
async fn ranges_are_read_apart_from_the_group_and_can_be_taken_up_again() {
    let cluster = Cluster::new(&[("t", 3)]);
    let (part, empty, tail) = (at("t", 0), at("t", 1), at("t", 2));
    for partition in [&part, &empty, &tail] {
        produce(&cluster.producer, partition, 50, 10);
    }
    let range = |at: &TopicPartition, from, to| ReadRange { at: at.clone(), generation: next_generation(), from, to };
    let ranges = vec![range(&part, 10, 20), range(&empty, 7, 7), range(&tail, 45, 50)];
    let generations = ranges.iter().map(|range| (range.at.clone(), range.generation)).collect();
    let mut listener =
        Listener::new(source(&cluster.brokers, "g", &["t"]).read(ranges).expect("it reads"), Answer::Later);
    listener.generations = generations;
    listener.until("all is read", |seen| seen.finished == 1).await;
    assert_eq!(listener.offsets(&part), (10..20).collect::<Vec<_>>());
    assert_eq!(listener.offsets(&empty), Vec::<i64>::new());
    assert_eq!(listener.offsets(&tail), (45..50).collect::<Vec<_>>());
    assert_eq!([&part, &empty, &tail].map(|at| listener.end(at)), [Some(20), Some(7), Some(50)]);
    listener.start(&part, 15);
    listener.until("it is read again", |seen| seen.finished == 2).await;
    assert_eq!(listener.offsets(&part), (15..20).collect::<Vec<_>>());
    assert!(listener.assigned.is_empty() && listener.stop().await.is_empty(), "no group");
}

#[tokio::test]
async fn a_range_outside_the_log_fails_by_name() {
    let cluster = Cluster::new(&[("t", 1)]);
    produce(&cluster.producer, &at("t", 0), 5, 10);
    let range = ReadRange { at: at("t", 0), generation: next_generation(), from: 100, to: 200 };
    let mut listener =
        Listener::new(source(&cluster.brokers, "g", &["t"]).read(vec![range]).expect("it reads"), Answer::Later);
    listener.until("the failure", |seen| seen.failed.is_some()).await;
    assert!(listener.failed.as_deref().is_some_and(|failure| failure.contains("t[0] at offset 100")));
    assert!(listener.handle.next().await.is_none(), "a source that failed ends");
}

#[tokio::test]
async fn a_source_that_nobody_holds_ends() {
    let cluster = Cluster::new(&[("t", 1)]);
    produce(&cluster.producer, &at("t", 0), 5, 10);
    let mut listener = run(&cluster, &["t"], offsets(&[]));
    listener.until("the end", |seen| seen.end(&at("t", 0)) == Some(5)).await;
    let SourceHandle { control, records, commands, thread } = listener.handle;
    drop((control, records, commands));
    let joined = tokio::task::spawn_blocking(move || thread.expect("a thread").join());
    let joined = tokio::time::timeout(Duration::from_secs(10), joined).await.expect("it ends in time");
    assert!(joined.expect("joining").is_ok());
}

#[tokio::test]
async fn topics_are_listed_missing_ones_named_and_ranges_told() {
    let cluster = Cluster::new(&[("db.a", 2), ("db.b", 1), ("__internal", 1), ("other", 1)]);
    produce(&cluster.producer, &at("db.a", 1), 7, 10);
    let chosen = source_with(&cluster.brokers, "g", &["other"], Some("^.*a$|^db"), &[]).expect("a source");
    let topics = chosen.topics().await.expect("topics");
    let listed: Vec<_> = topics.iter().map(|info| (&*info.topic, info.partitions)).collect();
    assert_eq!(listed, [("db.a", 2), ("db.b", 1), ("other", 1)]);
    let known = topics.iter().filter(|info| &*info.incarnation != NO_INCARNATION).count();
    assert!(known == 0 || known == 3, "either the mock has ids or not");
    let failure = source(&cluster.brokers, "g", &["db.a", "nope", "never"]).topics().await.expect_err("missing topics");
    assert!(failure.message.contains("never, nope"), "{failure}");
    let (a0, a1) = (at("db.a", 0), at("db.a", 1));
    let ranges = chosen.ranges(&[a1.clone(), a0.clone()]).await.expect("ranges");
    let told: Vec<_> = ranges.iter().map(|(at, range)| (at, range.start, range.end)).collect();
    assert_eq!(told, [(&a1, 0, 7), (&a0, 0, 0)]);
    let failure = chosen.ranges(&[at("db.a", 9)]).await.expect_err("no such partition");
    assert!(failure.to_string().contains("db.a[9]"), "{failure}");
    assert!(chosen.ranges(&[at("bad\0name", 0)]).await.is_err());
}

#[tokio::test]
async fn a_topic_that_appears_is_taken_up() {
    let cluster = Cluster::new(&[("other", 1)]);
    let handle =
        source_with(&cluster.brokers, "g", &[], Some("^db\\.\\w+$"), &[]).expect("a source").run().expect("it runs");
    let mut listener = Listener::new(handle, offsets(&[]));
    listener.listen(Duration::from_millis(500)).await;
    let mock = cluster.producer.client().mock_cluster().expect("a mock cluster");
    mock.create_topic("db.new", 1, 1).expect("a topic");
    produce(&cluster.producer, &at("db.new", 0), 3, 10);
    listener.until("its records", |seen| seen.end(&at("db.new", 0)) == Some(3)).await;
    assert_eq!(listener.offsets(&at("db.new", 0)), [0, 1, 2]);
    listener.stop().await;
}

#[tokio::test]
async fn a_cluster_that_is_away_is_a_warning_and_a_transient_failure() {
    let cluster = Cluster::new(&[("t", 1)]);
    let only = at("t", 0);
    let source = source(&cluster.brokers, "g", &["t"]);
    let mut listener = Listener::new(source.run().expect("it runs"), offsets(&[]));
    listener.until("an end", |seen| seen.end(&only) == Some(0)).await;
    let mock = cluster.producer.client().mock_cluster().expect("a mock cluster");
    mock.broker_down(1).expect("the broker goes down");
    listener.until("a warning", |seen| !seen.warnings.is_empty()).await;
    mock.broker_up(1).expect("the broker comes up");
    produce(&cluster.producer, &only, 4, 10);
    listener.until("records again", |seen| seen.end(&only) == Some(4)).await;
    assert!(listener.failed.is_none());
    listener.stop().await;
}
