//! Commits whose outcome is not known, settled both ways.

use std::time::Duration;

use lastword::core::dialect::Dialect;

use super::super::proxy::{Cut, Proxy};
use super::super::support::{Services, World};
use super::super::traffic::{Form, Shape, Traffic};
use crate::support::random::seed;

/// Returns how many outcomes had landed and how many had not.
async fn cut(kinds: &'static [Cut], most: usize) -> (u64, u64) {
    let services = Services::shared();
    let mut world = World::new(&services, Dialect::Postgres, "unknown").await;
    let topic = world.topic("orders", 4).await;
    let server = services.postgres.rsplit('@').next().and_then(|rest| rest.split('/').next()).expect("an address");
    let proxy = Proxy::start(server.to_owned(), Dialect::Postgres).await;
    let direct = world.through(proxy.port);
    world.configure(&[(&topic.name, "orders")], "", "[batch]\nrows = 100\n");
    world.directly(direct);
    let mut traffic = Traffic::new(seed(), Shape { partitions: 4, keys: 500, form: Form::Schemas });
    let live = world.start(&["run"]);
    // Records in many stretches: what is cut is sometimes a claim, mostly a batch.
    let mut orders = kinds.iter().cycle().take(most);
    for number in 0..60 {
        if number % 3 == 2
            && let Some(cut) = orders.next()
        {
            proxy.cut_at_commit(*cut);
        }
        topic.write(&traffic.stretch(250));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.caught_up(&topic).await;
    let summary = live.stop().await.json();
    println!("{} cuts: {summary}", proxy.cuts());
    world.check(&topic, "orders", traffic.rows()).await;
    assert_eq!(proxy.cuts(), most, "all cuts were made");
    let number = |name: &str| summary[name].as_u64().expect("a number");
    (number("unknown_landed"), number("unknown_not_landed"))
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_landed_and_commits_that_did_not_are_told_apart() {
    let (landed, not_landed) = cut(&[Cut::Before, Cut::After], 8).await;
    assert!(landed > 0 && not_landed > 0, "{landed} landed, {not_landed} did not");
}

/// The worst: the connection is lost, and the COMMIT arrives while the outcome is being settled. The claim waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_arrives_late_is_waited_for() {
    let (landed, not_landed) = cut(&[Cut::Late], 3).await;
    assert!(landed + not_landed > 0, "{landed} landed, {not_landed} did not");
}
