//! Files on disk, read through the whole source.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;
use crate::source::{Generation, LogEvent, Said, SourceCommand, SourceHandle, StartAt, next_generation};

/// Lines of one partition, with its offset as value and, in milliseconds, as time.
fn lines(topic: &str, partition: i32, offsets: impl IntoIterator<Item = i64>) -> String {
    let line = |offset| {
        format!(
            "{{\"topic\":\"{topic}\",\"partition\":{partition},\"offset\":{offset},\"tstype\":\"create\",\"ts\":{offset},\
             \"broker\":1,\"key\":\"k\",\"payload\":\"{offset}\"}}\n"
        )
    };
    offsets.into_iter().map(line).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text.as_bytes()).expect("packing");
    packed.finish().expect("packing")
}

/// Files of some contents, in their order.
fn files(contents: &[&[u8]]) -> (TempDir, FileSource) {
    of_topics(contents, &[])
}

fn of_topics(contents: &[&[u8]], topics: &[&str]) -> (TempDir, FileSource) {
    let home = tempfile::tempdir().expect("a directory");
    let paths: Vec<_> = (0..contents.len()).map(|number| home.path().join(format!("{number}.jsonl"))).collect();
    for (path, content) in paths.iter().zip(contents) {
        std::fs::write(path, content).expect("a file");
    }
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let source = FileSource::new(&FileConfig { paths, topics }).expect("a source");
    (home, source)
}

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// What came, until `Finished` or the end of the source.
#[derive(Default)]
struct Heard {
    records: BTreeMap<TopicPartition, Vec<i64>>,
    generations: Vec<Generation>,
    ends: BTreeMap<TopicPartition, i64>,
    finished: bool,
    failed: Option<String>,
    revoked: usize,
}

async fn hear(handle: &mut SourceHandle, start: impl Fn(&TopicPartition) -> StartAt) -> Heard {
    let mut heard = Heard::default();
    loop {
        match tokio::time::timeout(Duration::from_secs(20), handle.next()).await.expect("the source goes on") {
            Some(Said::Control(SourceEvent::Assigned { partitions, reply })) => {
                let starts = partitions.iter().map(|(at, _)| (at.clone(), start(at))).collect();
                reply.send(starts).expect("the source waits");
            }
            Some(Said::Log(LogEvent::Records { generation, records })) => {
                heard.generations.push(generation);
                for record in records {
                    assert_eq!(
                        record.value.as_ref().map(|value| &**value.body()),
                        Some(record.offset.to_string().as_bytes())
                    );
                    heard.records.entry(record.at).or_default().push(record.offset);
                }
            }
            Some(Said::Log(LogEvent::AtEnd { at, position, .. })) => {
                heard.ends.insert(at, position);
            }
            Some(Said::Control(SourceEvent::Revoked { partitions, reply, .. })) => {
                heard.revoked += partitions.len();
                let _ = reply.send(());
            }
            Some(Said::Control(SourceEvent::Failed(failure))) => heard.failed = Some(failure.to_string()),
            Some(Said::Log(LogEvent::Finished)) => {
                heard.finished = true;
                return heard;
            }
            Some(other) => panic!("{other:?}"),
            None => return heard,
        }
    }
}

fn begin(_: &TopicPartition) -> StartAt {
    StartAt::Offset(0)
}

#[tokio::test]
async fn plain_and_packed_files_are_one_log_with_its_own_offsets() {
    let (a0, a1, b0) = (at("a", 0), at("a", 1), at("b", 0));
    let first = lines("a", 0, 5..8) + "\n" + &lines("b", 0, [0]);
    // Two members in one file, as appending makes them.
    let second = [gzip(&lines("a", 0, [8, 12])), gzip(&lines("a", 1, 100..3000))].concat();
    let (_home, source) = files(&[first.as_bytes(), &second]);
    let topics: Vec<_> =
        source.topics().await.expect("topics").into_iter().map(|info| (info.topic, info.partitions)).collect();
    assert_eq!(topics, [("a".into(), 2), ("b".into(), 1)]);
    let ranges = source.ranges(&[a0.clone(), at("b", 0), at("a", 7)]).await.expect("ranges");
    let ranges: Vec<_> = ranges.into_iter().map(|(_, range)| (range.start, range.end)).collect();
    assert_eq!(ranges, [(5, 13), (0, 1), (0, 0)]);
    assert_eq!(source.offset_at_time(&a0, 9).await.expect("an answer"), Some(12));
    assert_eq!(source.offset_at_time(&a0, 13).await.expect("an answer"), None);
    assert!(source.ranges(&[at("nope", 0)]).await.is_err());

    let mut handle = source.run().expect("it runs");
    let heard = hear(&mut handle, |at| StartAt::Offset(if at.topic.as_ref() == "b" { 1 } else { 6 })).await;
    assert_eq!(heard.records[&a0], [6, 7, 8, 12]);
    assert_eq!(heard.records[&a1], (100..3000).collect::<Vec<_>>());
    assert!(!heard.records.contains_key(&b0));
    assert_eq!(heard.ends, [(a0, 13), (a1, 3000), (b0, 1)].into());
    handle.commands.send(SourceCommand::Stop).expect("it listens");
    assert_eq!(hear(&mut handle, begin).await.revoked, 3);
    assert!(handle.thread.expect("a thread").join().is_ok());
}

#[tokio::test]
async fn overlaps_are_read_once_and_wrong_order_is_refused_by_line() {
    let overlap = [lines("t", 0, 0..10), lines("t", 0, [4, 5, 5]) + &lines("t", 0, 10..13)];
    let (_home, source) = files(&[overlap[0].as_bytes(), overlap[1].as_bytes()]);
    let heard = hear(&mut source.run().expect("it runs"), begin).await;
    assert_eq!(heard.records[&at("t", 0)], (0..13).collect::<Vec<_>>());
    assert_eq!(source.0.index().expect("an index").duplicates, 3);

    // 100 to 103 lie in what 0 to 300 seems to cover, and were never there.
    let wrong = [lines("t", 0, 0..100) + &lines("t", 0, 200..300), lines("t", 0, 99..104)];
    let (_home, source) = files(&[wrong[0].as_bytes(), wrong[1].as_bytes()]);
    let failure = source.topics().await.expect_err("wrong order").to_string();
    assert!(failure.contains("1.jsonl line 2") && failure.contains("offset 100 of t[0]"), "{failure}");
    let heard = hear(&mut source.run().expect("it runs"), begin).await;
    assert!(heard.failed.is_some_and(|failure| failure.contains("line 2")) && !heard.finished);
}

#[tokio::test]
async fn unreadable_lines_and_files_are_named() {
    let broken = lines("t", 0, 0..2) + "{\"topic\":\"t\"\n";
    let (_home, source) = files(&[broken.as_bytes()]);
    let failure = source.topics().await.expect_err("a broken line").to_string();
    assert!(failure.contains("0.jsonl line 3"), "{failure}");
    let mut torn = gzip(&lines("t", 0, 0..2000));
    torn.truncate(torn.len() / 2);
    let (_home, source) = files(&[&torn]);
    let failure = source.topics().await.expect_err("a torn file").to_string();
    assert!(failure.contains("0.jsonl line"), "{failure}");
    let (home, source) = files(&[b""]);
    drop(home);
    assert!(source.topics().await.expect_err("no file").to_string().contains("0.jsonl"));
}

#[tokio::test]
async fn only_the_named_topics_are_read() {
    let both = lines("a", 0, 0..3) + &lines("b", 0, 0..3);
    let (_home, source) = of_topics(&[both.as_bytes()], &["b"]);
    let heard = hear(&mut source.run().expect("it runs"), begin).await;
    assert_eq!(heard.records.keys().collect::<Vec<_>>(), [&at("b", 0)]);
    let (_home, source) = of_topics(&[both.as_bytes()], &["b", "c"]);
    assert!(source.topics().await.expect_err("no c").to_string().contains("topic c"));
}

#[tokio::test]
async fn parked_partitions_wait_and_every_start_is_a_pass_of_its_own() {
    let (t0, t1) = (at("t", 0), at("t", 1));
    let text = lines("t", 0, 0..2000) + &lines("t", 1, 0..5);
    let (_home, source) = files(&[text.as_bytes()]);
    let mut handle = source.run().expect("it runs");
    let Some(Said::Control(SourceEvent::Assigned { partitions, reply })) = handle.next().await else {
        panic!("an assignment")
    };
    assert_eq!(partitions.len(), 2);
    reply.send(vec![(t0.clone(), StartAt::Later), (t1.clone(), StartAt::Offset(2))]).expect("it waits");
    let silence = tokio::time::timeout(Duration::from_millis(300), hear(&mut handle, begin)).await;
    assert!(silence.is_err(), "nothing is finished while a partition is parked");
    for offset in [1990, 0, 1999] {
        let generation = next_generation();
        handle.commands.send(SourceCommand::Start { at: t0.clone(), offset, generation }).expect("it listens");
        let heard = hear(&mut handle, begin).await;
        assert_eq!(heard.records[&t0], (offset..2000).collect::<Vec<_>>());
        assert!(heard.generations.iter().all(|of| *of == generation) && heard.finished);
    }
    handle.commands.send(SourceCommand::Halt { at: t0.clone() }).expect("it listens");
    handle.commands.send(SourceCommand::Start { at: t1.clone(), offset: 0, generation: 99 }).expect("it listens");
    let halted = tokio::time::timeout(Duration::from_millis(300), hear(&mut handle, begin)).await;
    assert!(halted.is_err(), "nothing is finished while a partition is halted");
}

#[tokio::test]
async fn ranges_are_read_alone_and_a_missing_tail_ends() {
    let text = lines("t", 0, (0..100).filter(|offset| offset % 10 != 9)) + &lines("t", 1, 0..5);
    let (_home, source) = files(&[text.as_bytes()]);
    let range = |partition, from, to| ReadRange { at: at("t", partition), generation: 7, from, to };
    let mut handle = source.read(vec![range(0, 15, 30), range(1, 3, 9)]).expect("it reads");
    let heard = hear(&mut handle, begin).await;
    assert_eq!(heard.records[&at("t", 0)], (15..29).filter(|offset| offset % 10 != 9).collect::<Vec<_>>());
    assert_eq!(heard.ends, [(at("t", 0), 30), (at("t", 1), 9)].into());
    drop(handle.commands);
    assert!(handle.thread.expect("a thread").join().is_ok());
}

#[tokio::test]
async fn a_slow_reader_gets_everything_once() {
    let wide = "x".repeat(20_000);
    let line = |offset| {
        format!("{{\"topic\":\"t\",\"partition\":0,\"offset\":{offset},\"key\":null,\"payload\":\"{wide}\"}}\n")
    };
    let text: String = (0..2000).map(line).collect();
    let (_home, source) = files(&[&gzip(&text)]);
    let mut handle = source.run().expect("it runs");
    let Some(Said::Control(SourceEvent::Assigned { partitions, reply })) = handle.next().await else {
        panic!("an assignment")
    };
    reply.send(vec![(partitions[0].0.clone(), StartAt::Offset(0))]).expect("it waits");
    // 40 MB of records against a queue of 12 MiB.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut offsets = Vec::new();
    loop {
        match handle.next().await {
            Some(Said::Log(LogEvent::Records { records, .. })) => {
                offsets.extend(records.iter().map(|record| record.offset))
            }
            Some(Said::Log(LogEvent::Finished)) => break,
            _ => {}
        }
    }
    assert_eq!(offsets, (0..2000).collect::<Vec<_>>());
}
