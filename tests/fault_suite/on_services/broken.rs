//! Tests of the tests: programs that are broken on purpose (`LASTWORD_WITHOUT_GUARD`), which the comparison must catch, naming the
//! invariant. The same schedule over the whole program must find nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use lastword::core::dialect::Dialect;
use lastword::failpoint as at;

use super::super::campaign::{Campaign, configure, world};
use super::super::members::{Hit, killed_at};
use super::super::truth::{Stream, Violation};
use crate::crash_suite::support::{PATIENCE, Services};
use crate::support::eventually;
use crate::support::random::seed;

/// A campaign in SQLite, with a guard that is missing, and records that wait to be applied; and the ends of the first topic behind
/// its snapshot.
async fn waiting(guard: Option<&'static str>, seed: u64) -> (Campaign, BTreeMap<i32, (i64, i64)>) {
    let (world, streams) = world(&Services::shared(), Dialect::Sqlite, seed).await;
    configure(&world, &streams);
    let mut campaign = Campaign::over(world, streams, seed);
    let stage = Arc::get_mut(&mut campaign.stage).expect("nobody else has it yet");
    stage.environment.extend(guard.map(|guard| ("LASTWORD_WITHOUT_GUARD", guard)));
    for stream in &mut campaign.streams {
        stream.topic.write(&stream.traffic.snapshot(50));
    }
    let ends = campaign.streams[0].topic.watermarks();
    for stream in &mut campaign.streams {
        stream.topic.write(&stream.traffic.changes(400));
    }
    (campaign, ends)
}

async fn violations(mut campaign: Campaign) -> Vec<Violation> {
    campaign.compare().await;
    campaign.outcome().violations.clone()
}

/// With all guards nothing may be found; without the one, what breaks these invariants.
#[track_caller]
fn caught(whole: &[Violation], broken: &[Violation], invariants: &[u8]) {
    assert!(whole.is_empty(), "with all guards: {whole:?}");
    broken.iter().for_each(|violation| println!("caught: {violation}"));
    for invariant in invariants {
        assert!(broken.iter().any(|found| found.invariant == *invariant), "invariant {invariant} was not seen broken");
    }
}

/// A process stops with a plan in its hands, another one takes over and applies everything; then the first wakes up.
async fn late_plan(guard: Option<&'static str>, seed: u64) -> Vec<Violation> {
    let (campaign, _) = waiting(guard, seed).await;
    let stage = Arc::clone(&campaign.stage);
    let zombie = stage.start(&["run"], Some(&format!("{}=stop@3", at::PLAN_MADE)));
    tokio::task::block_in_place(|| eventually("it stops with a plan", || zombie.is_stopped().then_some(())));
    let heir = stage.start(&["run"], None);
    for stream in &campaign.streams {
        stage.world.caught_up(&stream.topic).await;
    }
    assert!(stage.stop(heir).await, "the heir ends well");
    zombie.signal("CONT");
    // What it has in flight is ended first.
    stage.stop(zombie).await;
    violations(campaign).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_fence_is_caught() {
    let seed = seed();
    let (whole, broken) = (late_plan(None, seed).await, late_plan(Some("fence"), seed).await);
    caught(&whole, &broken, &[1, 4]);
}

/// A process dies when it has moved the checkpoints, and before it has written the rows.
async fn death_between(guard: Option<&'static str>, seed: u64) -> Vec<Violation> {
    let (mut campaign, _) = waiting(guard, seed).await;
    let place = if guard.is_some() { at::APPLY_BETWEEN } else { at::APPLY_ADVANCED };
    let process = campaign.stage.start(&["run"], Some(&format!("{place}=kill@3")));
    assert_eq!(killed_at(&campaign.stage, process, place).await, Hit::Seen, "it died there");
    campaign.settle(PATIENCE).await;
    violations(campaign).await
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_that_are_stored_outside_of_the_transaction_are_caught() {
    let seed = seed();
    let (whole, broken) = (death_between(None, seed).await, death_between(Some("one_transaction"), seed).await);
    caught(&whole, &broken, &[2, 4]);
}

/// Rows are applied once more when they were deleted long since.
async fn late_rows(guard: Option<&'static str>, seed: u64) -> Vec<Violation> {
    let (mut campaign, ends) = waiting(guard, seed).await;
    // What came with the snapshot is replayed.
    let stream = &mut campaign.streams[0];
    let is_dead = |stream: &Stream| (0..50).any(|id| !stream.traffic.rows().contains_key(&id));
    while !is_dead(stream) {
        stream.topic.write(&stream.traffic.changes(100));
    }
    campaign.settle(PATIENCE).await;
    let (topic, _) = campaign.stage.topics[0].clone();
    for (partition, (_, end)) in ends {
        let (one, end) = (partition.to_string(), end.to_string());
        let range = ["--partition", &one, "--from-beginning", "--to-offset", &end];
        let args = [&["replay", "--topic", &topic][..], &range].concat();
        let process = campaign.stage.start(&args, None);
        campaign.stage.end(process).await.expect(0);
    }
    violations(campaign).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_tombstone_check_is_caught() {
    let seed = seed();
    let (whole, broken) = (late_rows(None, seed).await, late_rows(Some("tombstone"), seed).await);
    caught(&whole, &broken, &[3]);
}
