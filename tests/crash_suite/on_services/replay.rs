//! Replays: beside live traffic, interrupted and resumed, of rows that were deleted or damaged by hand, and refused ones.

use std::time::{Duration, Instant};

use lastword::core::dialect::Dialect;

use super::super::support::{PATIENCE, Services, World};
use super::super::traffic::{Form, Shape, Traffic};
use crate::support::random::seed;

const SHAPE: Shape = Shape { partitions: 4, keys: 800, form: Form::Schemas };

/// Invariant 7: a replay from offset 0 during live traffic leaves rows, tokens and tombstones as a run without it does.
async fn changes_nothing_beside_live_traffic(dialect: Dialect) {
    let seed = seed();
    let services = Services::shared();
    let world = World::new(&services, dialect, "replay").await;
    let topics = [world.topic("orders", 4).await, world.topic("returns", 4).await];
    let tables = ["orders", "returns"];
    let both = [(topics[0].name.as_str(), tables[0]), (topics[1].name.as_str(), tables[1])];
    world.configure(&both, "", "[batch]\nrows = 200\n");
    let mut traffic = [Traffic::new(seed, SHAPE), Traffic::new(seed + 1, SHAPE)];
    for (topic, traffic) in topics.iter().zip(&mut traffic) {
        topic.write(&traffic.snapshot(200));
        topic.write(&traffic.stretch(6_000));
    }
    let live = world.start(&["run"]);
    for topic in &topics {
        world.caught_up(topic).await;
    }
    let mut superseded = 0;
    for _ in 0..2 {
        let replays = both.map(|(topic, _)| world.start(&["replay", "--topic", topic, "--from-beginning"]));
        for _ in 0..10 {
            for (topic, traffic) in topics.iter().zip(&mut traffic) {
                topic.write(&traffic.stretch(200));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for replay in replays {
            let result = replay.ended(PATIENCE).await.expect(0).json();
            assert_eq!(result["done"], true, "{result}");
            superseded += result["summary"]["superseded_by_row"].as_u64().expect("a number");
            superseded += result["summary"]["superseded_by_tombstone"].as_u64().expect("a number");
        }
    }
    assert!(superseded > 1000, "the guard decided: {superseded}");
    for topic in &topics {
        world.caught_up(topic).await;
    }
    println!("live {}", live.stop().await.json());

    let without = World::new(&services, dialect, "noreplay").await;
    without.configure(&both, "", "");
    without.command(&["run", "--until-caught-up"]).await.expect(0);
    for (table, traffic) in tables.iter().zip(&traffic) {
        world.check_rows(table, traffic.rows()).await;
        let (with, without) = (world.digest(table).await, without.digest(table).await);
        assert!(with.len() > traffic.rows().len(), "there are tombstones");
        assert!(with == without, "{table}: rows, tokens or tombstones differ");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_beside_live_traffic_changes_nothing_in_postgres() {
    changes_nothing_beside_live_traffic(Dialect::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_beside_live_traffic_changes_nothing_in_mariadb() {
    changes_nothing_beside_live_traffic(Dialect::Mysql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_replay_is_resumed_and_reads_every_record_once() {
    let seed = seed();
    let world = World::new(&Services::shared(), Dialect::Postgres, "resume").await;
    let topic = world.topic("orders", 4).await;
    world.configure(&[(&topic.name, "orders")], "", "");
    let mut traffic = Traffic::new(seed, SHAPE);
    topic.write(&traffic.stretch(20_000));
    world.command(&["run", "--until-caught-up"]).await.expect(0);
    let before = world.digest("orders").await;

    let replay = world.start(&["--set", "batch.rows=20", "replay", "--topic", &topic.name, "--from-beginning"]);
    let progress = format!(
        "select cast(coalesce(sum(next_offset), 0) as int8) from {} where pipeline like '%#replay-%'",
        world.book("checkpoint")
    );
    let deadline = Instant::now() + PATIENCE;
    while world.query(&progress).await[0][0].as_int() < Some(500) {
        assert!(Instant::now() < deadline, "the replay does not move");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    replay.signal("TERM");
    let interrupted = replay.ended(PATIENCE).await.expect(5).json();
    assert_eq!(interrupted["done"], false);
    let id = interrupted["replay"].to_string();
    let first = interrupted["summary"]["records"].as_i64().expect("a number");
    let resumed = world.command(&["replay", "--resume", &id]).await.expect(0).json();
    assert_eq!(resumed["done"], true);
    let second = resumed["summary"]["records"].as_i64().expect("a number");
    let all: i64 = topic.watermarks().values().map(|(_, end)| end).sum();
    assert!(first > 0 && second > 0);
    assert_eq!(first + second, all, "every record was read once");
    let list = world.command(&["replay", "--list"]).await.expect(0).json();
    assert_eq!((&list[0]["state"], list[0]["records"].as_i64()), (&"done".into(), Some(all)), "{list}");
    world.command(&["replay", "--resume", &id]).await.expect(4);
    assert!(world.digest("orders").await == before, "invariant 7");
    world.check_rows("orders", traffic.rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_rows_come_back_and_damaged_ones_are_repaired_only_when_asked() {
    let seed = seed();
    for dialect in [Dialect::Postgres, Dialect::Mysql, Dialect::Sqlite] {
        let world = World::new(&Services::shared(), dialect, "repair").await;
        let topic = world.topic("orders", 4).await;
        world.configure(&[(&topic.name, "orders")], "", "");
        let mut traffic = Traffic::new(seed, SHAPE);
        topic.write(&traffic.stretch(4_000));
        world.command(&["run", "--until-caught-up"]).await.expect(0);
        let before = world.digest("orders").await;

        let dry = world.command(&["replay", "--topic", &topic.name, "--from-beginning", "--dry-run"]).await.expect(0);
        let ranges = dry.json();
        let planned: i64 =
            ranges.as_array().expect("ranges").iter().map(|range| range["to"].as_i64().expect("to")).sum();
        assert_eq!(planned, topic.watermarks().values().map(|(_, end)| end).sum::<i64>());
        let list = world.command(&["replay", "--list"]).await.expect(0).json();
        assert_eq!(list, serde_json::json!([]), "a dry run leaves nothing behind");
        assert!(world.digest("orders").await == before);

        assert!(world.execute("delete from orders where id % 7 = 3").await > 10);
        let damaged = world.execute("update orders set customer = 'damaged' where id % 7 = 1").await;
        assert!(damaged > 10);
        world.command(&["replay", "--topic", &topic.name, "--from-beginning"]).await.expect(0);
        let found = world.rows("orders").await;
        let wrong = found.iter().filter(|(id, row)| traffic.rows().get(id) != Some(row)).count() as u64;
        assert_eq!((found.len(), wrong), (traffic.rows().len(), damaged), "{dialect:?}: missing rows only");
        world.command(&["replay", "--topic", &topic.name, "--from-beginning", "--repair"]).await.expect(0);
        world.check_rows("orders", traffic.rows()).await;
        assert!(world.digest("orders").await == before, "{dialect:?}: invariant 7");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_outside_of_the_log_are_refused_with_the_range_that_is_there() {
    let world = World::new(&Services::shared(), Dialect::Sqlite, "ranges").await;
    let topic = world.topic("orders", 1).await;
    world.configure(&[(&topic.name, "orders")], "", "");
    let mut traffic = Traffic::new(seed(), Shape { partitions: 1, ..SHAPE });
    topic.write(&traffic.stretch(500));
    world.command(&["run", "--until-caught-up"]).await.expect(0);
    topic.delete_records(0, rdkafka::Offset::Offset(100)).await;
    let (_, end) = topic.watermarks()[&0];
    let (beyond, there) = ((end + 1).to_string(), format!("which holds 100 to {end}"));
    let replay = ["replay", "--topic", &topic.name];
    let refused: [&[&str]; 4] = [
        &["--from-offset", "99"],
        &["--from-offset", &beyond],
        &["--partition", "0", "--from-offset", "200", "--to-offset", &beyond],
        &["--partition", "0", "--from-offset", &beyond, "--dry-run"],
    ];
    for range in refused {
        let ended = world.command(&[&replay, range].concat()).await.expect(4);
        assert!(ended.stderr.contains(&there), "{range:?}: {}", ended.stderr);
    }
    let nowhere = world.command(&["replay", "--topic", "nowhere", "--from-beginning"]).await.expect(4);
    assert!(nowhere.stderr.contains("unknown_topic"), "{}", nowhere.stderr);
    assert_eq!(world.command(&["replay", "--list"]).await.expect(0).json(), serde_json::json!([]));
    world.check_rows("orders", traffic.rows()).await;
}
