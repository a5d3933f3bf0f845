//! Random events over few keys, in random orders and cuts, with repetitions: the contents are those of the oracle that was told the
//! events one by one in the order of their tokens. A failing run prints its seed.

use std::sync::Arc;

use super::Destination;
use super::cases::partial;
use super::destination::leave_covered_out;
use super::stand::{Del, Event, KINDS, Stand, Truncate, Up, changes, plan};
use crate::core::merge::{Piece, fold};
use crate::core::plan::{Plan, TableOutcome, TablePlan};
use crate::core::table::{DeleteMode, Table};
use crate::sink::memory::{Held, Memory, TableContents};
use crate::support::random::{Random, seed};

const KEYS: u64 = 6;
const EVENTS: u64 = 60;

/// Histories of each kind of table; more with LASTWORD_TEST_LONG.
fn rounds() -> u64 {
    if std::env::var_os("LASTWORD_TEST_LONG").is_some() { 40 } else { 2 }
}

/// In the order of their tokens.
fn history(random: &mut Random) -> Vec<Event> {
    let event = |number| {
        let key = random.below(KEYS) as i64;
        match random.below(30) {
            0 => Truncate(number),
            1..=11 => Del(key, number),
            _ => Up(key, number),
        }
    };
    (1..=EVENTS).map(event).collect()
}

/// Not far from their order, or anywhere; some come twice.
fn delivered<T: Clone>(events: &[T], random: &mut Random) -> Vec<T> {
    let mut log = events.to_vec();
    let far = [2, 10, log.len() as u64][random.below(3) as usize];
    for place in 0..log.len() {
        let other = place + random.below(far) as usize;
        if other < log.len() {
            log.swap(place, other);
        }
    }
    let from = random.below(log.len() as u64) as usize;
    let again = log[from..].to_vec();
    log.extend(again);
    log
}

fn cut<'l, T>(log: &'l [T], random: &mut Random) -> Vec<&'l [T]> {
    let (mut batches, mut rest) = (Vec::new(), log);
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(rest.len().min(1 + random.below(12) as usize));
        batches.push(batch);
        rest = after;
    }
    batches
}

/// What the oracle holds after the events one by one.
async fn told_in_order(table: &Arc<Table>, events: &[Event]) -> TableContents {
    let mut told = Memory::default();
    for event in events {
        told.apply(&plan(changes(table, &[*event]))).expect("applied");
    }
    without_the_dead(Destination::contents(&mut told, table).await)
}

/// What a row held that is marked as deleted, or whether it ever was a row, is a matter of what came first; its token is not.
fn without_the_dead(mut contents: TableContents) -> TableContents {
    for held in contents.keys.values_mut() {
        if let Held::Row(row) = held
            && row.deleted
        {
            *held = Held::Tombstone(row.token);
        }
    }
    leave_covered_out(&mut contents);
    contents
}

/// A history into tables of their own; how often each rule decided.
pub(super) async fn a_history<D: Destination>(stand: &mut Stand<D>, random: &mut Random) -> TableOutcome {
    let mut sum = TableOutcome::default();
    for kind in KINDS {
        let t = stand.table(kind).await;
        let events = history(random);
        let log = delivered(&events, random);
        for batch in cut(&log, random) {
            sum += &stand.apply_unseen(&plan(changes(&t, batch))).await.expect("applied")[0];
        }
        stand.compare().await;
        let expected = told_in_order(&t, &events).await;
        assert_eq!(without_the_dead(stand.contents(&t).await), expected, "invariants 2, 3 and 7: {kind:?}");
        stand.forget();
    }
    sum
}

/// Invariants 2, 3 and 7.
pub(super) async fn any_order_and_any_cut_end_in_the_same_contents<D: Destination>(stand: &mut Stand<D>) {
    let mut random = Random::new(seed());
    let mut sum = TableOutcome::default();
    for _ in 0..rounds() {
        sum += &a_history(stand, &mut random).await;
    }
    let decided = [
        sum.superseded_by_row,
        sum.superseded_by_tombstone,
        sum.superseded_by_truncate,
        sum.superseded_in_batch,
        sum.applied,
    ];
    assert!(decided.iter().all(|count| *count > 0), "a rule that never decided was not tested: {sum:?}");
}

/// An update of a row that is there: all of it, or `n` alone.
#[derive(Clone, Copy)]
struct Update {
    key: i64,
    number: u64,
    whole: bool,
}

/// The updates of a batch: of each key the newest whole row, and its parts folded.
fn updates(table: &Arc<Table>, batch: &[Update]) -> Plan {
    let whole: Vec<Event> =
        batch.iter().filter(|update| update.whole).map(|update| Up(update.key, update.number)).collect();
    let mut changed = changes(table, &whole);
    let mut keys: Vec<i64> = batch.iter().filter(|update| !update.whole).map(|update| update.key).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let parts = batch.iter().filter(|update| !update.whole && update.key == key);
        let pieces: Vec<Piece> = parts
            .map(|update| partial(key, update.number, update.number as i64))
            .map(|part| Piece { token: part.token, cells: part.cells, missing: part.missing })
            .collect();
        changed.collapsed += pieces.len() as u64 - 1;
        changed.partials.extend(fold(super::stand::key(key), pieces));
    }
    plan(TablePlan { ..changed })
}

/// Each column ends with the value of the newest event that carried it.
pub(super) async fn partial_rows_converge_in_any_order<D: Destination>(stand: &mut Stand<D>) {
    let mut random = Random::new(seed());
    for kind in KINDS.into_iter().filter(|(delete, _)| *delete == DeleteMode::Hard) {
        for _ in 0..rounds() {
            let t = stand.table(kind).await;
            let first: Vec<Event> = (0..KEYS).map(|key| Up(key as i64, 1)).collect();
            stand.apply_unseen(&plan(changes(&t, &first))).await.expect("rows");
            let update = |number| Update { key: random.below(KEYS) as i64, number, whole: random.percent(40) };
            let events: Vec<Update> = (2..EVENTS).map(update).collect();
            let log = delivered(&events, &mut random);
            for batch in cut(&log, &mut random) {
                // What is whole and stays beside a part of its key must be in the batch once: a batch has no more.
                stand.apply_unseen(&updates(&t, batch)).await.expect("applied");
            }
            stand.compare().await;
            for key in 0..KEYS as i64 {
                let newest = |wanted: &dyn Fn(&&Update) -> bool| {
                    let of_key = events.iter().filter(|update| update.key == key).filter(wanted);
                    of_key.map(|update| update.number).max().unwrap_or(1)
                };
                let (v, n) = (newest(&|update| update.whole), newest(&|_| true));
                let rows = stand.rows(&t).await;
                assert_eq!(rows[key as usize], format!("{key} v{v} {n}"), "{kind:?}");
            }
            stand.forget();
        }
    }
}
