//! Compacted topics: of a delete only the null value is left.

use std::time::Duration;

use lastword::core::dialect::Dialect;

use super::super::kafka::Topic;
use super::super::support::{Services, World};
use super::super::traffic::{Event, Form, Shape, Traffic};
use crate::support::random::seed;

const SHAPE: Shape = Shape { partitions: 2, keys: 40, form: Form::Schemas };
const CAUGHT_UP: &[&str] = &["run", "--until-caught-up"];

async fn null_deletes(world: &World) -> i64 {
    let rows = world.query(&format!("select count(*) from {} where kind = 'null_delete'", world.book("ledger"))).await;
    rows[0][0].as_int().expect("a number")
}

/// Invariants 2, 3 and 7: a reader that comes back after compaction finds nulls whose deletes are gone. Their rows go, a replay
/// does not bring them back, and the newest event of a row, if it comes once more behind a null, does.
async fn nulls_alone_delete(dialect: Dialect) {
    let world = World::new(&Services::shared(), dialect, "nulls").await;
    let settings = [("cleanup.policy", "compact"), ("segment.ms", "300"), ("min.cleanable.dirty.ratio", "0.001")];
    let topic = Topic::new(&world.brokers, &world.topic_name("orders"), SHAPE.partitions, &settings).await;
    world.configure(&[(&topic.name, "orders")], "", "[batch]\nrows = 50\n");
    let mut traffic = Traffic::new(seed(), SHAPE);
    topic.write(&traffic.snapshot(40));
    for attempt in 0.. {
        world.command(CAUGHT_UP).await.expect(0);
        world.check_rows("orders", traffic.rows()).await;
        // The cleaner works beside us; a delete is gone when a null was met alone.
        if null_deletes(&world).await > 3 {
            break;
        }
        assert!(attempt < 20, "the cleaner left every delete");
        for _ in 0..4 {
            topic.write(&traffic.stretch(60));
            tokio::time::sleep(Duration::from_millis(1200)).await;
        }
    }
    println!("{} nulls deleted a row", null_deletes(&world).await);
    let counted = world.counted().await;
    assert_eq!(counted.quarantined, 0, "{counted:?}");
    let before = world.digest("orders").await;
    world.command(&["replay", "--topic", &topic.name, "--from-beginning"]).await.expect(0);
    assert_eq!(world.digest("orders").await, before, "a replay changes nothing");

    // The last event of a row comes once more behind a null that is not its own.
    let events = traffic.stretch(60);
    topic.write(&events);
    world.command(CAUGHT_UP).await.expect(0);
    let before = world.digest("orders").await;
    let lives = |event: &Event| {
        let last = events.iter().rev().find(|other| other.key == event.key).and_then(|other| other.value.as_ref());
        last.is_some() && last == event.value.as_ref()
    };
    let again = events.iter().rev().find(|event| lives(event)).expect("a row that was written last").clone();
    let deleted = null_deletes(&world).await;
    topic.write(&[Event { value: None, ..again.clone() }]);
    world.command(CAUGHT_UP).await.expect(0);
    assert_eq!(null_deletes(&world).await, deleted + 1);
    assert_eq!(world.rows("orders").await.len(), traffic.rows().len() - 1, "the null deleted its row");
    topic.write(&[again]);
    world.command(CAUGHT_UP).await.expect(0);
    world.check_rows("orders", traffic.rows()).await;
    assert!(world.digest("orders").await == before, "an equal token behind the null wins");
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_alone_delete_in_postgres() {
    nulls_alone_delete(Dialect::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_alone_delete_in_mariadb() {
    nulls_alone_delete(Dialect::Mysql).await;
}
