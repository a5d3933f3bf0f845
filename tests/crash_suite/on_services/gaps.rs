//! Offsets with gaps, logs that lost their beginning, topics that were made anew, and where partitions begin.

use std::time::Duration;

use lastword::core::dialect::Dialect;
use rdkafka::Offset;
use rdkafka::producer::Producer;

use super::super::kafka::Topic;
use super::super::support::{Services, World};
use super::super::traffic::{Form, Shape, Traffic};
use crate::support::random::seed;

const SHAPE: Shape = Shape { partitions: 2, keys: 200, form: Form::Schemas };
const CAUGHT_UP: &[&str] = &["run", "--until-caught-up"];

async fn world_with_topic(name: &str, settings: &[(&str, &str)]) -> (World, Topic, Traffic) {
    let world = World::new(&Services::shared(), Dialect::Postgres, name).await;
    let topic = Topic::new(&world.brokers, &world.topic_name("orders"), SHAPE.partitions, settings).await;
    world.configure(&[(&topic.name, "orders")], "", "");
    (world, topic, Traffic::new(seed(), SHAPE))
}

fn ends(topic: &Topic) -> Vec<i64> {
    topic.watermarks().values().map(|(_, end)| *end).collect()
}

async fn stored(world: &World, topic: &Topic) -> Vec<i64> {
    world.checkpoints(&topic.name).await.into_values().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_end_at_the_last_stable_offset() {
    let (world, topic, mut traffic) = world_with_topic("transactions", &[]).await;
    let writer = topic.writer(&[("transactional.id", &world.pipeline), ("transaction.timeout.ms", "120000")]);
    writer.producer.init_transactions(Duration::from_secs(30)).expect("transactions");
    let mut junk = Traffic::new(99, SHAPE);
    for _ in 0..3 {
        writer.begin();
        writer.send(&traffic.stretch(300));
        writer.commit();
        writer.begin();
        writer.send(&junk.stretch(50));
        writer.abort();
    }
    // The last batch is aborted: behind it lies nothing but its marker.
    world.command(CAUGHT_UP).await.expect(0);
    assert_eq!(stored(&world, &topic).await, ends(&topic), "the position passes aborted records and markers");
    world.check_rows("orders", traffic.rows()).await;
    let counted = world.counted().await;
    let all: i64 = ends(&topic).iter().sum();
    assert!(counted.changes + counted.control < all - 100, "aborted records are not counted: {counted:?}, {all}");

    let (stable, settled) = (ends(&topic), traffic.rows().clone());
    writer.begin();
    writer.send(&traffic.stretch(100));
    writer.flush();
    world.command(CAUGHT_UP).await.expect(0);
    assert_eq!(stored(&world, &topic).await, stable, "an open transaction is neither waited for nor passed");
    world.check_rows("orders", &settled).await;
    writer.commit();
    world.command(CAUGHT_UP).await.expect(0);
    assert_eq!(stored(&world, &topic).await, ends(&topic));
    world.check_rows("orders", traffic.rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_has_gaps_that_are_passed() {
    let settings = [("cleanup.policy", "compact"), ("segment.ms", "300"), ("min.cleanable.dirty.ratio", "0.001")];
    let (world, topic, mut traffic) = world_with_topic("compacted", &settings).await;
    // The cleaner works beside us: the destination says how many records were left, and there must have been gaps.
    for attempt in 0.. {
        for _ in 0..5 {
            topic.write(&traffic.stretch(400));
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        let fresh = World::new(&Services::shared(), Dialect::Postgres, "compact").await;
        fresh.configure(&[(&topic.name, "orders")], "", "");
        fresh.command(CAUGHT_UP).await.expect(0);
        assert_eq!(stored(&fresh, &topic).await, ends(&topic));
        fresh.check_rows("orders", traffic.rows()).await;
        let counted = fresh.counted().await;
        if counted.changes + counted.control < ends(&topic).iter().sum() {
            println!("{counted:?} of {:?}", ends(&topic));
            break;
        }
        assert!(attempt < 15, "the cleaner did nothing");
    }
    drop(world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_emptied_by_retention_is_no_reason_to_refuse() {
    let (world, topic, mut traffic) = world_with_topic("emptied", &[]).await;
    topic.write(&traffic.stretch(300));
    world.command(CAUGHT_UP).await.expect(0);
    topic.delete_records(0, Offset::End).await;
    topic.delete_records(1, Offset::End).await;
    world.command(CAUGHT_UP).await.expect(0);
    world.check(&topic, "orders", traffic.rows()).await;
    topic.write(&traffic.stretch(300));
    world.command(CAUGHT_UP).await.expect(0);
    world.check(&topic, "orders", traffic.rows()).await;
    // A pipeline that begins now begins at the log start, and an empty partition is no problem for it either.
    topic.delete_records(0, Offset::End).await;
    let late = World::new(&Services::shared(), Dialect::Postgres, "late").await;
    late.configure(&[(&topic.name, "orders")], "", "");
    late.command(CAUGHT_UP).await.expect(0);
    assert_eq!(stored(&late, &topic).await, ends(&topic));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_deleted_before_they_were_applied_are_missed_aloud() {
    let (world, topic, mut traffic) = world_with_topic("gone", &[]).await;
    topic.write(&traffic.stretch(300));
    world.command(CAUGHT_UP).await.expect(0);
    let before = world.digest("orders").await;
    let held = world.checkpoints(&topic.name).await[&0];
    topic.write(&traffic.stretch(300));
    topic.delete_records(0, Offset::End).await;
    let ended = world.command(CAUGHT_UP).await.expect(4);
    let remedy = format!("offsets set --topic {} --partition 0 --offset {}", topic.name, ends(&topic)[0]);
    assert!(ended.stderr.contains("data_gone") && ended.stderr.contains(&remedy), "{}", ended.stderr);
    assert_eq!(world.checkpoints(&topic.name).await[&0], held, "nothing was skipped");
    // The other partition went on.
    assert_eq!(world.checkpoints(&topic.name).await[&1], ends(&topic)[1]);
    assert!(world.digest("orders").await != before);
    let end = ends(&topic)[0].to_string();
    world.command(&["offsets", "set", "--topic", &topic.name, "--partition", "0", "--offset", &end]).await.expect(0);
    world.command(CAUGHT_UP).await.expect(0);
    assert_eq!(stored(&world, &topic).await, ends(&topic));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_and_a_position_behind_the_end_are_refused() {
    let (world, topic, mut traffic) = world_with_topic("anew", &[]).await;
    topic.write(&traffic.stretch(300));
    world.command(CAUGHT_UP).await.expect(0);
    let (before, held) = (world.digest("orders").await, stored(&world, &topic).await);
    let book = world.book("checkpoint");
    world.execute(&format!("update {book} set next_offset = next_offset + 5000, fence = fence + 1")).await;
    let ended = world.command(CAUGHT_UP).await.expect(4);
    assert!(ended.stderr.contains("offset_beyond_end"), "{}", ended.stderr);
    world.execute(&format!("update {book} set next_offset = next_offset - 5000, fence = fence + 1")).await;

    // Shorter than what is stored, then longer: neither is taken for caught up.
    for events in [0, 20, 2_000] {
        topic.delete().await;
        topic.create(&[]).await;
        topic.write(&Traffic::new(4, SHAPE).stretch(events));
        let ended = world.command(CAUGHT_UP).await.expect(4);
        assert!(ended.stderr.contains("topic_recreated") && ended.stderr.contains("offsets set"), "{}", ended.stderr);
    }
    assert_eq!(stored(&world, &topic).await, held);
    assert!(world.digest("orders").await == before, "nothing of the new topic was applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_appears_is_picked_up() {
    let world = World::new(&Services::shared(), Dialect::Postgres, "regex").await;
    let world = world.client("topic.metadata.refresh.interval.ms", "500");
    let first = world.topic("orders", 2).await;
    let second_name = world.topic_name("returns");
    let regex = format!("topics_regex = '^{}\\.public\\..*'", world.pipeline);
    world.configure(&[(&first.name, "orders"), (&second_name, "returns")], &regex, "");
    let mut traffic = Traffic::new(seed(), SHAPE);
    let mut more = Traffic::new(5, SHAPE);
    topic_and_wait(&world, &first, &mut traffic).await.stop().await;
    let live = topic_and_wait(&world, &first, &mut traffic).await;
    let second = world.topic("returns", 2).await;
    second.write(&more.stretch(300));
    world.caught_up(&second).await;
    live.stop().await;
    world.check_rows("orders", traffic.rows()).await;
    world.check_rows("returns", more.rows()).await;
}

async fn topic_and_wait(world: &World, topic: &Topic, traffic: &mut Traffic) -> super::super::process::Process {
    topic.write(&traffic.stretch(300));
    let live = world.start(&["run"]);
    world.caught_up(topic).await;
    live
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_at_the_end_skips_what_was_there_and_nothing_else() {
    let world = World::new(&Services::shared(), Dialect::Postgres, "latest").await;
    let topic = world.topic("orders", 2).await;
    world.configure(&[(&topic.name, "orders")], "start = \"latest\"\n", "");
    topic.write(&Traffic::new(6, SHAPE).stretch(300));
    world.command(CAUGHT_UP).await.expect(0);
    assert_eq!(stored(&world, &topic).await, ends(&topic));
    assert_eq!(world.counted().await.changes, 0, "nothing that was there before was applied");
    // The position is stored, so what comes while nobody runs is not skipped.
    let mut traffic = Traffic::new(seed(), SHAPE);
    topic.write(&traffic.stretch(300));
    world.command(CAUGHT_UP).await.expect(0);
    world.check_rows("orders", traffic.rows()).await;
}
