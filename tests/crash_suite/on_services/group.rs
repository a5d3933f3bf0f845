//! Two processes in one group, one of them killed again and again.

use std::time::Duration;

use lastword::core::dialect::Dialect;

use super::super::support::{Services, World};
use super::super::traffic::{Form, Shape, Traffic};
use crate::support::random::{Random, seed};

const KILLS: usize = 10;

async fn killed_again_and_again(dialect: Dialect, form: Form, events: usize) {
    let seed = seed();
    let services = Services::shared();
    let world = World::new(&services, dialect, "kill")
        .await
        .client("session.timeout.ms", "2000")
        .client("heartbeat.interval.ms", "300");
    let long = std::env::var("LASTWORD_TEST_LONG").is_ok_and(|long| long == "1");
    let events = if long && events > 10_000 { 1_000_000 } else { events };
    let topic = world.topic("orders", 8).await;
    world.make_table(form, "orders").await;
    world.configure(&[(&topic.name, "orders")], "", "[batch]\nrows = 500\n[plain]\ndecimal = \"base64\"\n");
    let mut traffic = Traffic::new(seed, Shape { partitions: 8, keys: events as u64 / 20, form });
    let mut random = Random::new(seed ^ 1);
    topic.write(&traffic.snapshot(events as u64 / 100));

    let steady = world.start(&["run"]);
    let mut victim = world.start(&["run"]);
    let mut fences = 0;
    for kill in 0..KILLS {
        let stretch = traffic.stretch(events / (KILLS + 1));
        // Half of it lies there when the process is killed, the other half comes while its partitions move.
        let (before, after) = stretch.split_at(stretch.len() / 2);
        topic.write(before);
        tokio::time::sleep(Duration::from_millis(500 + random.below(1500))).await;
        victim.kill();
        topic.write(after);
        tokio::time::sleep(Duration::from_millis(random.below(1500))).await;
        victim = world.start(&["run"]);
        // Its partitions must have moved before the next kill; a kill of a process that holds none shows nothing.
        fences = moved(&world, fences).await;
        println!("kill {kill}: {:?}", world.checkpoints(&topic.name).await);
    }
    topic.write(&traffic.stretch(events / (KILLS + 1)));
    world.caught_up(&topic).await;
    let steady = steady.stop().await.json();
    let victim = victim.stop().await.json();
    let counted = world.check(&topic, "orders", traffic.rows()).await;
    println!("{counted:?}\nsteady {steady}\nvictim {victim}");
    // A guard that decided nothing was not tested: partitions were taken over, and older events lost.
    assert!(counted.fences > KILLS as i64, "takeovers: {counted:?}");
    assert!(counted.superseded > 0, "{counted:?}");
}

/// Waits until some partition was claimed again; the sum of the fences.
async fn moved(world: &World, before: i64) -> i64 {
    let began = std::time::Instant::now();
    loop {
        let fences = world.counted().await.fences;
        if fences > before {
            return fences;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no partition moved after a kill");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_lose_nothing_and_double_nothing_in_postgres() {
    killed_again_and_again(Dialect::Postgres, Form::Schemas, 60_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_lose_nothing_and_double_nothing_in_mariadb() {
    killed_again_and_again(Dialect::Mysql, Form::Plain, 60_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_lose_nothing_and_double_nothing_in_one_sqlite_file() {
    killed_again_and_again(Dialect::Sqlite, Form::Schemas, 5_000).await;
}
