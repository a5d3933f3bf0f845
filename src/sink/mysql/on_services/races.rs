//! Two sessions and one key.

use super::super::changes::Work;
use super::*;
use crate::core::failure::Class;

/// A session inside a transaction that has read and decided, but not written.
async fn decided<'p>(session: &mut MysqlSession, plan: &'p Plan) -> Work<'p> {
    let mut work = Work::new(&plan.tables[0]).expect("work");
    session.begin().await.expect("begin");
    let all: Vec<usize> = (0..work.entries.len()).collect();
    session.read(&mut work, &all).await.expect("read");
    work.decide(&all, false).expect("decide");
    work
}

async fn written(session: &mut MysqlSession, work: &mut Work<'_>) {
    let all: Vec<usize> = (0..work.entries.len()).collect();
    assert!(session.write_winners(work, &all).await.expect("write").is_empty());
}

async fn settled(session: &mut MysqlSession, work: &mut Work<'_>) -> u64 {
    session.recheck(work).await.expect("recheck");
    session.commit().await.expect("commit");
    work.outcome().recheck_deleted
}

/// An upsert and a delete that do not see each other, in both orders of commit.
async fn skew(name: &str, kind: Kind, ddl: &str, up: u64, down: u64) -> Vec<Vec<String>> {
    let mut ends = Vec::new();
    for upsert_first in [true, false] {
        let mut world = world(&format!("{name}_{upsert_first}")).await;
        let table = world.table("t", ddl, &["id"], kind).await;
        let (plan_a, plan_b) = (small(&table, &[(1, up)], &[]), small(&table, &[], &[(1, down)]));
        let (mut a, mut b) = (world.another().await, world.another().await);
        let mut work_a = decided(&mut a, &plan_a).await;
        let mut work_b = decided(&mut b, &plan_b).await;
        written(&mut a, &mut work_a).await;
        written(&mut b, &mut work_b).await;
        let found = if upsert_first {
            [settled(&mut a, &mut work_a).await, settled(&mut b, &mut work_b).await]
        } else {
            [settled(&mut b, &mut work_b).await, settled(&mut a, &mut work_a).await]
        };
        assert_eq!(found, [0, 1], "the later one cures what the earlier one could not see");
        let mut end = world.rows("SELECT id, v FROM t").await;
        let side = Dialect::Mysql.bookkeeping(&table.side_name());
        end.extend(world.rows(&format!("SELECT 'tombstone', id, _lastword_token FROM {side}")).await);
        let before = world.digest(&table).await;
        world.apply(&plan_a).await;
        world.apply(&plan_b).await;
        assert_eq!(world.digest(&table).await, before, "a replay changes nothing");
        ends.push(end);
        world.end().await;
    }
    ends
}

#[tokio::test]
async fn an_older_upsert_does_not_survive_a_delete_that_it_did_not_see() {
    let ends = skew("skew_up", HARD, SMALL, 5, 7).await;
    assert_eq!(ends, vec![vec!["tombstone 1 7"]; 2]);
}

#[tokio::test]
async fn an_older_tombstone_does_not_survive_an_upsert_that_it_did_not_see() {
    let ends = skew("skew_down", HARD, SMALL, 7, 5).await;
    assert_eq!(ends, vec![vec!["1 v7"]; 2]);
}

#[tokio::test]
async fn soft_deletes_are_cured_as_well() {
    let ends = skew("skew_soft", SOFT, SMALL_SOFT, 5, 7).await;
    // The delete that comes later marks the row; the upsert that comes later goes.
    assert_eq!(ends, vec![vec!["1 v5"], vec!["tombstone 1 7"]]);
}

#[tokio::test]
async fn a_truncate_beats_an_upsert_that_did_not_see_it() {
    let mut world = world("skew_truncate").await;
    let table = world.table("t", SMALL, &["id"], HARD).await;
    world.apply(&small(&table, &[(1, 10), (2, 60)], &[])).await;
    let plan = small(&table, &[(7, 40), (8, 55)], &[]);
    let mut other = world.another().await;
    let mut work = decided(&mut other, &plan).await;
    world.apply(&truncate(&table, 50)).await;
    written(&mut other, &mut work).await;
    assert_eq!(settled(&mut other, &mut work).await, 1);
    assert_eq!(world.rows("SELECT id FROM t ORDER BY id").await, ["2", "8"]);
    let before = world.digest(&table).await;
    let again = world.apply(&plan).await;
    assert_eq!((again.superseded_by_truncate, again.superseded_by_row), (1, 1));
    world.apply(&truncate(&table, 50)).await;
    assert_eq!(world.digest(&table).await, before);
    world.end().await;
}

#[tokio::test]
async fn an_insert_that_meets_a_row_is_decided_again() {
    let mut world = world("meet").await;
    let table = world.table("t", SMALL, &["id"], HARD).await;
    let plan = small(&table, &[(1, 5), (2, 5)], &[(3, 5)]);
    let mut other = world.another().await;
    let mut work = decided(&mut other, &plan).await;
    world.apply(&small(&table, &[(1, 6)], &[(3, 6)])).await;
    let all = [0, 1, 2];
    let mut again = other.write_winners(&mut work, &all).await.expect("write");
    again.sort_unstable();
    assert_eq!(again, [0, 2]);
    other.read(&mut work, &again).await.expect("read");
    work.decide(&again, false).expect("decide");
    let winners: Vec<usize> = again.into_iter().filter(|index| work.entries[*index].wins()).collect();
    assert!(other.write_winners(&mut work, &winners).await.expect("write").is_empty());
    settled(&mut other, &mut work).await;
    let outcome = work.outcome();
    assert_eq!((outcome.applied, outcome.superseded_by_row, outcome.superseded_by_tombstone), (1, 1, 1));
    assert_eq!(world.rows("SELECT id, v FROM t ORDER BY id").await, ["1 v6", "2 v5"]);
    world.end().await;
}

/// A number of a fixed sequence.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

const ROUNDS: i64 = 150;

/// Random small plans; both writers change the same keys in the same round, each key in one round only.
fn random_plans(table: &Arc<Table>, writer: u64) -> Vec<Plan> {
    let mut state = writer + 1;
    (0..ROUNDS)
        .map(|round| {
            let (mut upserts, mut deletes) = (Vec::new(), Vec::new());
            for id in round * 6..round * 6 + 6 {
                let t = (next(&mut state) % 60) * 4 + writer * 2;
                match next(&mut state) % 3 {
                    0 => upserts.push((id, t)),
                    1 => deletes.push((id, t + 1)),
                    _ => {}
                }
            }
            let mut plan = small(table, &upserts, &deletes);
            if round % 10 == 9 {
                plan.tables[0].truncate = Some(token(round as u64 / 2 + writer));
            }
            plan
        })
        .collect()
}

/// Applies a plan, again and again while that may help; returns cures and retries.
async fn apply_at_last(session: &mut MysqlSession, plan: &Plan) -> (u64, u64) {
    let mut retried = 0;
    loop {
        match session.apply(plan).await {
            Ok(applied) => return (applied.tables[0].recheck_deleted, retried),
            Err(failure) if failure.class == Class::Transient => retried += 1,
            Err(failure) => panic!("{failure}"),
        }
    }
}

#[tokio::test]
async fn racing_writers_leave_the_newest_change_of_every_key() {
    for (name, kind, ddl) in [("race", HARD, SMALL), ("race_side", SIDE, SMALL_PLAIN)] {
        let mut world = world(name).await;
        let table = world.table("t", ddl, &["id"], kind).await;
        let (mut cured, mut retried) = (0, 0);
        let plans = [random_plans(&table, 0), random_plans(&table, 1)];
        let (mut a, mut b) = (world.another().await, world.another().await);
        for (plan_a, plan_b) in plans[0].iter().zip(&plans[1]) {
            let (of_a, of_b) = tokio::join!(apply_at_last(&mut a, plan_a), apply_at_last(&mut b, plan_b));
            cured += of_a.0 + of_b.0;
            retried += of_a.1 + of_b.1;
        }
        assert_eq!(world.rows("SELECT id, v FROM t ORDER BY id").await, newest(&plans.concat()), "{name}");
        let before = world.digest(&table).await;
        for plan in plans.concat() {
            world.apply(&plan).await;
        }
        assert_eq!(world.digest(&table).await, before, "{name}: a replay changes nothing");
        println!("{name}: the re-check cured {cured}, {retried} transactions were tried again");
        assert!(cured > 0 || kind.storage == TokenStorage::Side, "the re-check had nothing to do");
        world.end().await;
    }
}

/// The oracle: the newest change of every key, less what the newest truncate beats.
fn newest(plans: &[Plan]) -> Vec<String> {
    let mut newest = std::collections::BTreeMap::<i64, (Token, Option<String>)>::new();
    let mut put = |id: &Value, token: Token, value: Option<String>| {
        let id = id.as_int().expect("id");
        let entry = newest.entry(id).or_insert((token, value.clone()));
        if entry.0 < token {
            *entry = (token, value);
        }
    };
    for plan in plans {
        for row in plan.tables[0].upserts.iter().flat_map(|group| &group.rows) {
            put(&row.values[0], row.token, row.values[1].as_text().map(str::to_owned));
        }
        for delete in &plan.tables[0].deletes {
            put(&delete.key[0], delete.token, None);
        }
    }
    let truncated = plans.iter().filter_map(|plan| plan.tables[0].truncate).max();
    let live = newest.into_iter().filter(|(_, (token, _))| truncated.is_none_or(|truncate| *token >= truncate));
    live.filter_map(|(id, (_, value))| value.map(|value| format!("{id} {value}"))).collect()
}
