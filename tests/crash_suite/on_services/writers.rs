//! Two writers on one key, as real processes: whichever comes first, nothing is lost and nothing deleted comes back.
//!
//! Every test names the guard that it is about, and repeats with more load until that guard has decided something.

use std::time::Duration;

use lastword::core::dialect::Dialect;

use super::super::kafka::Topic;
use super::super::process::Process;
use super::super::support::{Services, World};
use super::super::traffic::{Event, Form, Shape, Traffic};
use crate::support::random::{Random, seed};

/// Rounds with more load before a test gives up on its guard.
const ROUNDS: usize = 6;

/// What the guards decided, over all pipelines of a world.
#[derive(Debug, Default)]
struct Decided {
    by_row: i64,
    by_tombstone: i64,
    rechecked: i64,
}

async fn decided(world: &World) -> Decided {
    let columns = ["superseded_by_row", "superseded_by_tombstone", "recheck_deleted"];
    let mut sums = [0; 3];
    for row in world.query(&format!("select {} from {}", columns.join(", "), world.book("table_counter"))).await {
        for (sum, cell) in sums.iter_mut().zip(&row) {
            *sum += cell.as_int().expect("a number");
        }
    }
    Decided { by_row: sums[0], by_tombstone: sums[1], rechecked: sums[2] }
}

/// The partition that a key has among so many.
fn placed(events: &[Event], partitions: u64) -> Vec<Event> {
    let place = |event: &Event| {
        let hash = event
            .key
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
        Event { partition: ((hash >> 20) % partitions) as i32, ..event.clone() }
    };
    events.iter().map(place).collect()
}

async fn world(dialect: Dialect, name: &str) -> World {
    World::new(&Services::shared(), dialect, name)
        .await
        .client("session.timeout.ms", "2000")
        .client("heartbeat.interval.ms", "300")
        .client("topic.metadata.refresh.interval.ms", "500")
}

fn traffic(keys: u64) -> Traffic {
    Traffic::new(seed(), Shape { partitions: 1, keys, form: Form::Schemas })
}

async fn stop(processes: Vec<Process>) {
    for process in processes {
        println!("{}", process.stop().await.stdout.trim());
    }
}

/// The number of partitions is raised while two processes work: the keys go to other partitions, and the old ones, which lag, still hold
/// their changes of before. Guard: what is older loses to the row or to the tombstone.
async fn partitions_are_added(dialect: Dialect) {
    let world = world(dialect, "more").await;
    let mut topic = world.topic("orders", 2).await;
    world.configure(&[(&topic.name, "orders")], "", "[batch]\nrows = 100\n");
    let mut traffic = traffic(300);
    // What lies there when they begin is what lags.
    topic.write(&placed(&traffic.stretch(20_000), 2));
    let processes = vec![world.start(&["run"]), world.start(&["run"])];
    let mut partitions = 2;
    for _ in 0..ROUNDS {
        topic.write(&placed(&traffic.stretch(3_000), partitions));
        partitions += 3;
        topic.raise(partitions as i32).await;
        let writer = topic.writer(&[]);
        for _ in 0..4 {
            writer.send(&placed(&traffic.stretch(1_500), partitions));
        }
        writer.flush();
        world.caught_up(&topic).await;
        world.check_rows("orders", traffic.rows()).await;
        let decided = decided(&world).await;
        println!("{partitions} partitions: {decided:?}");
        if decided.by_row > 0 && decided.by_tombstone > 0 {
            world.check(&topic, "orders", traffic.rows()).await;
            return stop(processes).await;
        }
    }
    panic!("the guards never decided anything");
}

/// Two topics of one source lead into one table, and the keys go from one to the other and back. Guard: the same.
async fn two_topics_feed_one_table(dialect: Dialect) {
    let world = world(dialect, "topics").await;
    let topics = [world.topic("orders", 2).await, world.topic("orders_too", 3).await];
    let names: Vec<(&str, &str)> = topics.iter().map(|topic| (topic.name.as_str(), "orders")).collect();
    world.configure(&names, "", "[batch]\nrows = 100\n");
    let mut traffic = traffic(300);
    let mut processes = vec![world.start(&["run"]), world.start(&["run"])];
    for round in 0..ROUNDS {
        // Written one after the other, read at the same time: while the processes are stopped, both become a backlog.
        processes.iter().for_each(|process| process.signal("STOP"));
        for turn in 0..4 {
            let topic = &topics[turn % 2];
            topic.write(&placed(&traffic.stretch(3_000), topic.partitions as u64));
        }
        processes.iter().for_each(|process| process.signal("CONT"));
        if round == 0 {
            processes.remove(0).kill();
            processes.push(world.start(&["run"]));
        }
        for topic in &topics {
            world.caught_up(topic).await;
        }
        world.check_rows("orders", traffic.rows()).await;
        let decided = decided(&world).await;
        println!("round {round}: {decided:?}");
        if decided.by_row > 0 && decided.by_tombstone > 0 {
            return stop(processes).await;
        }
    }
    panic!("the guards never decided anything");
}

/// Two pipelines, each with checkpoints of its own, write one table from one topic at the same time, and are killed by turns. Guard:
/// the re-check under the table's lock, which finds the pairs of row and tombstone that two transactions made that could not
/// see each other.
async fn two_pipelines_write_one_table(dialect: Dialect) {
    let world = world(dialect, "pipelines").await;
    let topic = world.topic("orders", 2).await;
    // Small batches over few keys, so that the two meet.
    world.configure(&[(&topic.name, "orders")], "", "[batch]\nrows = 20\nage = \"1ms\"\n");
    let second = format!("pipeline.name={}_b", world.pipeline);
    let start = |which: usize| match which {
        0 => world.start(&["run"]),
        _ => world.start(&["--set", &second, "run"]),
    };
    let mut traffic = traffic(25);
    let mut random = Random::new(seed());
    // The table is made by one.
    topic.write(&placed(&traffic.stretch(200), 2));
    let mut processes = vec![start(0)];
    world.caught_up(&topic).await;
    processes.push(start(1));
    // How often two transactions cannot see each other is up to the machine; the loop ends as soon as it was seen.
    for round in 0..4 * ROUNDS {
        let writer = topic.writer(&[]);
        for _ in 0..12 {
            writer.send(&placed(&traffic.stretch(250), 2));
            tokio::time::sleep(Duration::from_millis(random.below(60))).await;
        }
        writer.flush();
        let which = round % 2;
        processes.remove(which).kill();
        processes.insert(which, start(which));
        writer.send(&placed(&traffic.stretch(500), 2));
        writer.flush();
        both_caught_up(&world, &topic).await;
        world.check_rows("orders", traffic.rows()).await;
        let decided = decided(&world).await;
        println!("round {round}: {decided:?}");
        if round > 0 && decided.rechecked > 0 {
            assert!(decided.by_row > 0, "each change came twice: {decided:?}");
            return stop(processes).await;
        }
    }
    panic!("the re-check never decided anything");
}

/// Waits until both pipelines have passed everything.
async fn both_caught_up(world: &World, topic: &Topic) {
    world.caught_up(topic).await;
    let sql = format!(
        "select count(*) from {} a join {} b on a.topic = b.topic and a.partition_id = b.partition_id \
         where a.pipeline = '{}' and b.pipeline = '{}_b' and a.next_offset > b.next_offset",
        world.book("checkpoint"),
        world.book("checkpoint"),
        world.pipeline,
        world.pipeline
    );
    let began = std::time::Instant::now();
    while world.query(&sql).await[0][0].as_int() != Some(0) {
        assert!(began.elapsed() < Duration::from_secs(60), "the second pipeline does not catch up");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_added_under_load_in_postgres() {
    partitions_are_added(Dialect::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_added_under_load_in_mariadb() {
    partitions_are_added(Dialect::Mysql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_topics_feed_one_table_in_postgres() {
    two_topics_feed_one_table(Dialect::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_topics_feed_one_table_in_mariadb() {
    two_topics_feed_one_table(Dialect::Mysql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pipelines_write_one_table_in_postgres() {
    two_pipelines_write_one_table(Dialect::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pipelines_write_one_table_in_mariadb() {
    two_pipelines_write_one_table(Dialect::Mysql).await;
}
