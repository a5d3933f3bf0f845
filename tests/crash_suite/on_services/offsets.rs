//! The live position moved by hand, while the service is busy and while it is idle.

use std::time::{Duration, Instant};

use lastword::core::dialect::Dialect;

use super::super::support::{PATIENCE, Services, World};
use super::super::traffic::{Form, Shape, Traffic};
use crate::support::random::seed;

async fn moved(dialect: Dialect) {
    let world = World::new(&Services::shared(), dialect, "offsets").await;
    let topic = world.topic("orders", 4).await;
    world.configure(&[(&topic.name, "orders")], "", "[batch]\nrows = 100\n");
    let mut traffic = Traffic::new(seed(), Shape { partitions: 4, keys: 500, form: Form::Schemas });
    topic.write(&traffic.stretch(10_000));
    let live = world.start(&["run"]);
    let set = async |partition: &str, offset: &str| {
        let set = ["offsets", "set", "--topic", &topic.name, "--partition", partition, "--offset", offset];
        world.command(&[&set[..], &["--note", "crash suite"]].concat()).await
    };
    // Busy: records come, and more of them lie in the queue.
    for partition in ["0", "1", "0"] {
        topic.write(&traffic.stretch(1_000));
        set(partition, "0").await.expect(0);
        topic.write(&traffic.stretch(1_000));
    }
    world.caught_up(&topic).await;
    world.check_rows("orders", traffic.rows()).await;
    let digest = world.digest("orders").await;

    // Idle: exactly the records of the partition are passed once more.
    let passed = async || {
        let counted = world.counted().await;
        counted.changes + counted.control
    };
    let before = passed().await;
    let all: i64 = topic.watermarks().values().map(|(_, end)| end).sum();
    assert!(before > all, "the busy service went back: {before} of {all}");
    set("2", "0").await.expect(0);
    let (_, end) = topic.watermarks()[&2];
    let deadline = Instant::now() + PATIENCE;
    while passed().await < before + end {
        assert!(Instant::now() < deadline, "the idle service did not notice");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.caught_up(&topic).await;
    assert_eq!(passed().await, before + end);
    let refused = set("2", &(end + 1).to_string()).await.expect(4);
    assert!(refused.stderr.contains("out_of_log"), "{}", refused.stderr);
    let summary = live.stop().await.json();
    assert!(summary["checkpoint_missed"].as_u64() > Some(0), "the guard decided: {summary}");
    println!("{summary}");
    world.check_rows("orders", traffic.rows()).await;
    assert!(world.digest("orders").await == digest, "invariant 7");
    let audit = world.command(&["audit"]).await.expect(0);
    assert_eq!(audit.stdout.matches("crash suite").count(), 4, "{}", audit.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_position_is_noticed_busy_and_idle_in_postgres() {
    moved(Dialect::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_position_is_noticed_busy_and_idle_in_mariadb() {
    moved(Dialect::Mysql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_position_is_noticed_busy_and_idle_in_sqlite() {
    moved(Dialect::Sqlite).await;
}
