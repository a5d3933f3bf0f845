//! Source transactions over two tables, with a reader that looks all the time: aligned batches are never seen torn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lastword::core::dialect::Dialect;
use lastword::sink::Statements;
use serde_json::json;

use super::super::kafka::Topic;
use super::super::support::{Services, World};
use super::super::traffic::Event;
use crate::support::random::{Random, seed};

const PARTITIONS: u64 = 3;
const ROWS: u64 = 40;
const TRANSACTIONS: u64 = 400;

/// One side of a transaction: row `id` gets the number of the transaction. `before` is the end of the commit before it.
fn update(table: &str, id: u64, number: u64, before: u64, lsn: u64) -> Event {
    let value = json!({
        "before": null, "after": {"id": id, "number": number}, "op": "u", "ts_ms": 1,
        "source": {"connector": "postgresql", "name": "shop", "db": "shop", "schema": "public", "table": table,
            "snapshot": "false", "ts_ms": 1, "txId": 700 + number, "lsn": lsn, "sequence": format!("[\"{before}\",\"{lsn}\"]")},
    });
    let partition = (id % PARTITIONS) as i32;
    Event { partition, key: json!({"id": id}).to_string(), value: Some(value.to_string()) }
}

/// Writes transactions that set one row of each table to their number, the two sides some milliseconds apart; returns the rows
/// and the commit before the last one.
fn write(topics: [&Topic; 2], numbers: std::ops::Range<u64>, random: &mut Random) -> (BTreeMap<u64, u64>, u64) {
    let writers = topics.map(|topic| topic.writer(&[("linger.ms", "0")]));
    let (mut rows, mut last) = (BTreeMap::new(), 0);
    for number in numbers {
        // Each row is met again only when all others were: every number that is seen is one of a whole transaction.
        let id = number % ROWS;
        let commit = 1_000 + number * 100;
        writers[0].send(&[update("debits", id, number, commit, commit + 10)]);
        writers[0].producer.poll(Duration::ZERO);
        if random.percent(30) {
            std::thread::sleep(Duration::from_millis(random.below(25)));
        }
        writers[1].send(&[update("credits", id, number, commit, commit + 20)]);
        rows.insert(id, number);
        last = commit;
    }
    writers.iter().for_each(|writer| writer.flush());
    (rows, last)
}

/// Looks until it is told to stop; how often it looked, and how often the two tables did not agree.
async fn watch(world: &World, stop: Arc<AtomicBool>) -> (u64, u64) {
    let mut session = world.session().await;
    let (mut looks, mut torn) = (0, 0);
    // One statement sees one state.
    let sql = "select count(*) from debits d full join credits c using (id) where d.number is distinct from c.number";
    while !stop.load(Ordering::Relaxed) {
        let found = session.query(sql, &[]).await.expect("an answer")[0][0].as_int().expect("a number");
        looks += 1;
        torn += u64::from(found > 0);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (looks, torn)
}

async fn caught_up(world: &World, topics: &[Topic; 2]) {
    for topic in topics {
        world.caught_up(topic).await;
    }
}

struct Outcome {
    looks: u64,
    torn: u64,
    cuts: i64,
}

async fn run(align: &str, kills: u64, seed: u64) -> Outcome {
    let world = World::new(&Services::shared(), Dialect::Postgres, "align").await;
    let world = world.client("session.timeout.ms", "2000").client("heartbeat.interval.ms", "300");
    let world = Arc::new(world);
    let topics = [world.topic("debits", PARTITIONS as i32).await, world.topic("credits", PARTITIONS as i32).await];
    for table in ["debits", "credits"] {
        world.execute(&format!("create table {table} (id bigint primary key, number bigint not null)")).await;
    }
    let [debits, credits] = &topics;
    world.configure(&[(&debits.name, "debits"), (&credits.name, "credits")], "", &format!("[batch]\n{align}"));
    let args = ["--set", "sink.writers=1", "run"];
    let mut random = Random::new(seed);
    // Both sides of the first transactions are there before anybody looks.
    let (mut rows, mut last) = tokio::task::block_in_place(|| write([debits, credits], 0..ROWS, &mut random));
    let mut live = world.start(&args);
    caught_up(&world, &topics).await;
    let stop = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn({
        let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
        async move { watch(&world, stop).await }
    });
    for part in 0..=kills {
        let share = TRANSACTIONS / (kills + 1);
        let numbers = ROWS + part * share..ROWS + (part + 1) * share;
        let (more, commit) = tokio::task::block_in_place(|| write([debits, credits], numbers, &mut random));
        rows.extend(more);
        last = commit;
        if part < kills {
            live.kill();
            live = world.start(&args);
            // The next kill shall meet one that works again.
            caught_up(&world, &topics).await;
        }
    }
    caught_up(&world, &topics).await;
    stop.store(true, Ordering::Relaxed);
    let (looks, torn) = watching.await.expect("it watched");
    for table in ["debits", "credits"] {
        let found = world.query(&format!("select id, number from {table}")).await;
        let number = |row: &[lastword::core::value::Value], at: usize| row[at].as_int().expect("a number") as u64;
        let found: BTreeMap<u64, u64> = found.iter().map(|row| (number(row, 0), number(row, 1))).collect();
        assert_eq!(found, rows, "{table}");
    }
    let status = world.command(&["--set", "sink.writers=1", "status"]).await.expect(0).json();
    live.stop().await;
    println!("{align:?}: {looks} looks, {torn} torn; {}", status["sources"]);
    let source = &status["sources"][0];
    if align.contains("transaction") {
        assert_eq!((source["source"].as_str(), source["split"].as_i64()), (Some("postgresql shop"), Some(0)));
        // Nothing is known behind the last transaction; the one before it is proven.
        assert_eq!(source["consistent_to"], format!("LSN 0/{last:X}"), "{status}");
    }
    Outcome { looks, torn, cuts: source["align_cuts"].as_i64().unwrap_or(0) }
}

/// The reader sees torn transactions where batches end anywhere, so it would see them; aligned it never does, also while the
/// process is killed.
#[tokio::test(flavor = "multi_thread")]
async fn aligned_batches_are_never_seen_torn() {
    let seed = seed();
    let plain = run("", 0, seed).await;
    assert!(plain.torn > 0, "the reader saw nothing in {} looks", plain.looks);
    let aligned = run("align = \"transaction\"\nalign_wait = \"3s\"\n", 3, seed).await;
    assert!(aligned.looks > 100 && aligned.torn == 0, "{} of {} looks", aligned.torn, aligned.looks);
    // At the head, where the writer pauses: the last transaction of each part.
    assert!((1..20).contains(&aligned.cuts), "{} cuts by time", aligned.cuts);
}
