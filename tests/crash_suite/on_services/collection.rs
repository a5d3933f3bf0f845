//! Tombstones are collected by a running service as the log's start moves, under live traffic; the source then sends everything again
//! at new offsets, and nothing rises.

use std::time::{Duration, Instant};

use lastword::core::dialect::Dialect;
use rdkafka::Offset;
use serde_json::Value;

use super::super::support::{PATIENCE, Services, World};
use super::super::traffic::{Form, Shape, Traffic};
use crate::support::random::seed;

const SHAPE: Shape = Shape { partitions: 2, keys: 300, form: Form::Schemas };

async fn status(world: &World) -> Value {
    world.command(&["tombstones", "status"]).await.expect(0).json()[0].clone()
}

/// Waits until what is known of the table's tombstones is as wanted.
async fn eventually(world: &World, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = status(world).await;
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: {found}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn collected_as_the_log_moves(dialect: Dialect) {
    let seed = seed();
    let world = World::new(&Services::shared(), dialect, "collect").await;
    let topic = world.topic("orders", 2).await;
    let rule = "[defaults]\ntombstones = { retain = \"1s\", collect = true }\n";
    world.configure(&[(&topic.name, "orders")], "", rule);
    let mut traffic = Traffic::new(seed, SHAPE);
    let first = traffic.stretch(3_000);
    topic.write(&first);
    let live = world.start(&["run"]);
    world.caught_up(&topic).await;
    let number = |found: &Value, name: &str| found[name].as_u64().unwrap_or(0);
    // A generation that is closed from now on holds all tombstones of the first stretch.
    let closed = number(&status(&world).await, "generations");
    eventually(&world, "another generation is closed", |found| number(found, "generations") > closed + 1).await;
    let blocked = eventually(&world, "a generation is closed and waits for the log", |found| {
        number(found, "generations") > 0 && found["blocked"].to_string().contains("the log starts at 0")
    })
    .await;
    assert!(number(&blocked, "tombstones") > 10 && number(&blocked, "collected") == 0, "{blocked}");

    // One partition of two is not enough: a key's older changes may lie in the other.
    topic.delete_records(0, Offset::End).await;
    let blocked = eventually(&world, "one partition is left", |found| {
        let why = found["blocked"].to_string();
        why.contains("[1]: the log starts at 0") && !why.contains("[0]: the log")
    })
    .await;
    assert_eq!(number(&blocked, "collected"), 0, "{blocked}");
    topic.delete_records(1, Offset::End).await;
    for _ in 0..5 {
        topic.write(&traffic.stretch(100));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let gone = eventually(&world, "they go", |found| number(found, "collected") > 10).await;
    assert_eq!(gone["floors"].as_array().map(Vec::len), Some(1), "{gone}");
    world.caught_up(&topic).await;
    world.check_rows("orders", traffic.rows()).await;

    topic.write(&first);
    world.caught_up(&topic).await;
    world.check_rows("orders", traffic.rows()).await;
    let refused = format!("select count(*) from {} where reason = 'below_floor'", world.book("quarantine"));
    let refused = world.query(&refused).await[0][0].as_int().expect("a number");
    assert!(refused > 10, "the floor decided: {refused}");
    println!("{dialect:?}: {gone}, refused {refused}, {}", live.stop().await.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn tombstones_go_as_the_log_moves_in_postgres() {
    collected_as_the_log_moves(Dialect::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tombstones_go_as_the_log_moves_in_mariadb() {
    collected_as_the_log_moves(Dialect::Mysql).await;
}
