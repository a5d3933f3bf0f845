//! Signals: one drains or rolls back, a second stops at once; a stopped (zombie) process does no harm when it wakes up.

use std::time::{Duration, Instant};

use lastword::core::dialect::Dialect;
use lastword::sink::Statements;

use super::super::process::Process;
use super::super::support::{PATIENCE, Services, World};
use super::super::traffic::{Form, Shape, Traffic};
use crate::support::random::seed;

const SHAPE: Shape = Shape { partitions: 4, keys: 500, form: Form::Schemas };

/// The table is locked, so that the batch in flight cannot end by itself.
#[tokio::test(flavor = "multi_thread")]
async fn one_signal_gives_a_stuck_batch_up_and_a_second_one_stops_at_once() {
    let world = World::new(&Services::shared(), Dialect::Postgres, "signals").await;
    let topic = world.topic("orders", 4).await;
    world.configure(&[(&topic.name, "orders")], "", "");
    let mut traffic = Traffic::new(seed(), SHAPE);
    for signals in [1, 2] {
        topic.write(&traffic.stretch(500));
        world.command(&["run", "--until-caught-up"]).await.expect(0);
        let mut lock = world.session().await;
        lock.begin().await.expect("a transaction");
        lock.execute("lock table orders in access exclusive mode", &[]).await.expect("a lock");
        topic.write(&traffic.stretch(500));
        let live = world.start(&["run"]);
        let waits = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
        let deadline = Instant::now() + PATIENCE;
        while world.query(waits).await.is_empty() {
            assert!(Instant::now() < deadline, "nothing waits for the lock:\n{}", live.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        live.signal("TERM");
        if signals == 2 {
            // The second one must find the first one heard: two at once can be one.
            let mut live = live;
            live.logged("stopping").await;
            live.signal("TERM");
            live.ended(PATIENCE).await.expect(5);
        } else {
            live.ended(PATIENCE).await.expect(0);
        }
        lock.rollback().await.expect("the lock is let go");
    }
    world.command(&["run", "--until-caught-up"]).await.expect(0);
    world.check(&topic, "orders", traffic.rows()).await;
}

async fn zombie(dialect: Dialect) {
    let world = World::new(&Services::shared(), dialect, "zombie")
        .await
        .client("session.timeout.ms", "6000")
        .client("heartbeat.interval.ms", "500");
    let topic = world.topic("orders", 4).await;
    // Small batches: the zombie has many of them in its queue when it is stopped.
    world.configure(&[(&topic.name, "orders")], "", "[batch]\nrows = 20\n");
    let mut traffic = Traffic::new(seed(), SHAPE);
    let sum = async || world.checkpoints(&topic.name).await.values().sum::<i64>();
    let zombie = world.start(&["run"]);
    let (mut rounds, mut heir) = (0, None);
    // Its late transaction misses the compare-and-swap; if it was stopped inside of one, the heir's claim has ended its session
    // (and says so), or it finds out when it claims again. It may be caught with nothing in hand: then once more.
    let stopped_by_guard = |log: &str| log.contains("fenced") || log.contains("taken over by another owner");
    let ended_by_claim = |heir: Option<&Process>| heir.is_some_and(|heir| heir.log().contains("ended=true"));
    while !stopped_by_guard(&zombie.log()) && !ended_by_claim(heir.as_ref()) {
        rounds += 1;
        assert!(rounds <= 5, "it was never fenced:\n{}", zombie.log());
        let before = sum().await;
        topic.write(&traffic.stretch(8_000));
        let deadline = Instant::now() + PATIENCE;
        while sum().await < before + 200 {
            assert!(Instant::now() < deadline, "nothing moves:\n{}", zombie.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        zombie.signal("STOP");
        if heir.is_none() {
            heir = Some(world.start(&["run"]));
        }
        // All partitions move, and the heir goes past everything that the zombie holds.
        world.caught_up(&topic).await;
        topic.write(&traffic.stretch(500));
        world.caught_up(&topic).await;
        zombie.signal("CONT");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    topic.write(&traffic.stretch(1_000));
    world.caught_up(&topic).await;
    let zombie = zombie.stop().await.json();
    let heir = heir.expect("an heir").stop().await.json();
    println!("rounds {rounds}\nzombie {zombie}\nheir {heir}");
    world.check(&topic, "orders", traffic.rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_has_no_effect_in_postgres() {
    zombie(Dialect::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_has_no_effect_in_mariadb() {
    zombie(Dialect::Mysql).await;
}
