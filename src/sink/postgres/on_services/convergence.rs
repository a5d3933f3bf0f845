//! Many changes of few keys, in any order, by several sessions at once: the end is always the same.

use super::*;
use crate::core::failure::Class;

/// A small generator of numbers, so that a run can be repeated by its seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Batches of changes; within a batch every key occurs once, and keys are in order.
fn batches(table: &Arc<Table>, events: &[(i64, u64, bool)], numbers: &mut Numbers) -> Vec<Plan> {
    let mut plans = Vec::new();
    let mut rest: Vec<(i64, u64, bool)> = events.to_vec();
    for at in (1..rest.len()).rev() {
        rest.swap(at, numbers.below(at as u64 + 1) as usize);
    }
    for chunk in rest.chunks(7) {
        let mut newest = std::collections::BTreeMap::new();
        for event in chunk {
            let kept = newest.entry(event.0).or_insert(event);
            if event.1 > kept.1 {
                *kept = event;
            }
        }
        let texts: Vec<String> = newest.values().map(|event| format!("v{}", event.1)).collect();
        let list: Vec<Change<'_>> =
            newest.values().zip(&texts).map(|(e, text)| (e.0, e.1, e.2.then_some(text.as_str()))).collect();
        plans.push(changes(table, &list));
    }
    plans
}

async fn until_applied(session: &mut PostgresSession, plan: &Plan) -> TableOutcome {
    loop {
        match session.apply(plan).await {
            Ok(applied) => return applied.tables[0],
            Err(failure) => assert!(failure.class == Class::Transient && !failure.connection_lost, "{failure}"),
        }
    }
}

async fn converges(name: &'static str, body: &str, rule: Rule) {
    let mut s = session().await;
    let t = make(&mut s, name, body, rule).await;
    let mut numbers = Numbers(42);
    let events: Vec<(i64, u64, bool)> =
        (1..=250).map(|at| (numbers.below(12) as i64, at, numbers.below(3) > 0)).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        // Every session applies all of it, in an order of its own.
        let plans = batches(&t, &events, &mut numbers);
        tasks.spawn(async move {
            let mut session = session().await;
            // Hot keys in changing order do deadlock; the server need not wait a second before it looks.
            run(&mut session, "set deadlock_timeout = '20ms'").await;
            let mut sum = TableOutcome::default();
            for plan in plans {
                sum += &until_applied(&mut session, &plan).await;
            }
            sum
        });
    }
    let sums = tasks.join_all().await;
    let mut newest = std::collections::BTreeMap::new();
    for event in &events {
        newest.insert(event.0, *event);
    }
    let live = newest.values().filter(|event| event.2);
    let expected: Vec<String> = live.map(|(key, at, _)| format!("{key},v{at}")).collect();
    let target = Dialect::Postgres.table(t.name());
    let alive = if t.shape.has_deleted { "where not _lastword_deleted" } else { "" };
    assert_eq!(show(&mut s, &format!("select id, v from {target} {alive} order by id")).await, expected.join(";"));
    let side = Dialect::Postgres.bookkeeping(&t.side_name());
    let dead = if rule.storage == TokenStorage::Side { "where _lastword_deleted" } else { "" };
    let tombstones = show(&mut s, &format!("select count(*) from {side} {dead}")).await;
    println!("{name}: {sums:?}");
    assert_eq!(tombstones, sums.iter().map(|sum| sum.tombstones_delta).sum::<i64>().to_string(), "{sums:?}");
    let decided = |of: fn(&TableOutcome) -> u64| sums.iter().map(of).sum::<u64>() > 0;
    assert!(decided(|sum| sum.superseded_by_row), "{sums:?}");
    // A softly deleted row is rarely preceded by a tombstone.
    assert!(rule.delete == DeleteMode::Soft || decided(|sum| sum.superseded_by_tombstone), "{sums:?}");
    let before = digest(&mut s, &t).await;
    for plan in batches(&t, &events, &mut numbers) {
        apply(&mut s, &plan).await;
    }
    assert_eq!(digest(&mut s, &t).await, before, "a replay changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_deletes_converge() {
    converges("v_hard", "id bigint primary key, v text, _lastword_token bytea", HARD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soft_deletes_converge() {
    converges("v_soft", "id bigint primary key, v text, _lastword_token bytea, _lastword_deleted boolean", SOFT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn side_tokens_converge() {
    converges("v_side", "id bigint primary key, v text", SIDE).await;
}
