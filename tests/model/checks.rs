//! The checks: the protocol as it is, and with something missing.

use std::collections::BTreeSet;
use std::time::Instant;

use lastword::core::guard::Guard;
use stateright::{Checker, HasDiscoveries, Model};

use super::Protocol;
use super::invariants::*;
use super::variants::Broken;
use super::world::Change::{self, Delete, Truncate, Upsert};
use super::world::{Left, Size};

/// A key that is deleted, and an upsert from before the delete that the source sends again late.
const LATE: &[Change] = &[Upsert(0, 1), Delete(0, 2), Upsert(0, 1)];

/// Two owners of one partition.
const OWNERS: Size = Size {
    name: "two owners",
    logs: [LATE, &[]],
    at_first: [2, 0],
    reads: [0, 0],
    batch: 2,
    left: Left { takeovers: 1, crashes: 1, cuts: 1, unanswered: 0, sets: 0, replays: 0, generations: 1 },
};

/// The same, and an operator who moves the position back.
const MOVED_BACK: Size =
    Size { name: "offsets set", left: Left { sets: 1, crashes: 0, generations: 0, ..OWNERS.left }, ..OWNERS };

/// Claims whose answer is lost, and two lost COMMITs.
const UNANSWERED: Size = Size {
    name: "unanswered",
    left: Left { unanswered: 1, cuts: 2, crashes: 0, generations: 0, ..OWNERS.left },
    ..OWNERS
};

/// A replay beside the live owner.
const REPLAYED_BESIDE: Size = Size { name: "replay", left: Left { takeovers: 0, replays: 1, ..OWNERS.left }, ..OWNERS };

/// The changes of one key lie in two partitions, each with an owner: nobody sees what the other has not committed.
const TWO_PARTITIONS: Size = Size {
    name: "two partitions of one key",
    logs: [&[Upsert(0, 1), Upsert(0, 3)], &[Delete(0, 2), Upsert(0, 1)]],
    at_first: [1, 1],
    reads: [0, 1],
    left: Left { takeovers: 0, ..OWNERS.left },
    ..OWNERS
};

/// A TRUNCATE in one of them.
const TRUNCATED: Size = Size {
    name: "truncate",
    logs: [&[Upsert(0, 1), Delete(0, 3)], &[Upsert(0, 4), Truncate(2)]],
    at_first: [2, 2],
    left: Left { crashes: 0, replays: 1, ..TWO_PARTITIONS.left },
    ..TWO_PARTITIONS
};

/// The floor that one key's delete has raised meets another key's first upsert.
const TWO_KEYS: Size = Size {
    name: "two keys",
    logs: [&[Upsert(0, 1), Delete(0, 3), Upsert(1, 2), Upsert(1, 4)], &[]],
    left: Left { crashes: 0, ..OWNERS.left },
    ..OWNERS
};

/// A row goes that an update from below the floor has seen.
const ROW_GOES: Size = Size {
    name: "a row goes above the floor",
    logs: [&[Upsert(0, 1), Delete(1, 5), Upsert(0, 2)], &[Delete(0, 3)]],
    at_first: [2, 0],
    left: Left { crashes: 0, ..TWO_PARTITIONS.left },
    ..TWO_PARTITIONS
};

/// No way to a fall is longer.
const LONGEST: usize = 30;

fn is_long() -> bool {
    std::env::var("LASTWORD_TEST_LONG").is_ok_and(|long| long == "1")
}

/// Walks through all states. Every invariant must hold in each, and what is expected must be met in one.
fn holds(size: Size, broken: &[Broken], expected: &[&str]) {
    let began = Instant::now();
    let protocol = Protocol { size, broken: broken.to_vec() };
    let checker = protocol.checker().spawn_bfs().join();
    println!(
        "model, {}: {} states, {} steps, the longest way has {}, {:.1} s",
        size.name,
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f32()
    );
    let found = checker.discoveries();
    for invariant in INVARIANTS {
        if let Some(path) = found.get(invariant) {
            panic!("{}: {invariant:?} does not hold: {path}{:#?}", size.name, path.last_state());
        }
    }
    let missing: Vec<_> = expected.iter().filter(|wanted| !found.contains_key(*wanted)).collect();
    assert!(missing.is_empty(), "{}: never met: {missing:?}", size.name);
}

/// With something missing, these invariants fall. Prints the shortest way to each: it is looked for with one step more at a time.
fn falls(size: Size, broken: &[Broken], expected: &[&'static str]) {
    let mut open: BTreeSet<&str> = expected.iter().copied().collect();
    for depth in 2..LONGEST {
        let protocol = Protocol { size, broken: broken.to_vec() };
        let all = HasDiscoveries::AllOf(open.clone());
        let found = protocol.checker().target_max_depth(depth).finish_when(all).spawn_bfs().join().discoveries();
        for (name, path) in found {
            if open.remove(name) {
                println!("model, {}, {broken:?}: {name:?} falls by {path}", size.name);
            }
        }
        if open.is_empty() {
            return;
        }
    }
    panic!("{}, {broken:?}: these hold all the same: {open:?}", size.name);
}

#[test]
fn two_owners() {
    let met = [DONE, LANDED, NOT_LANDED, ZOMBIE_FENCED, LATE_REFUSED, BOTH_MOVED];
    holds(OWNERS, &[], &met);
    holds(UNANSWERED, &[], &[DONE, LANDED, NOT_LANDED, BOTH_MOVED]);
    holds(MOVED_BACK, &[], &[DONE, ZOMBIE_FENCED, BOTH_MOVED]);
    holds(TWO_KEYS, &[], &[DONE, LATE_REFUSED]);
    if is_long() {
        let left = Left { sets: 1, ..OWNERS.left };
        holds(Size { name: "two owners, long", left, ..OWNERS }, &[], &met);
    }
}

#[test]
fn collection_beside_a_replay_and_other_writers() {
    holds(REPLAYED_BESIDE, &[], &[DONE, REPLAYED, LATE_REFUSED, LANDED]);
    holds(TWO_PARTITIONS, &[], &[DONE, FLOORS_MOVED, LATE_REFUSED, BOTH_MOVED]);
    holds(TRUNCATED, &[], &[DONE, BOTH_MOVED, DEADLOCK]);
    holds(ROW_GOES, &[], &[DONE, FLOORS_MOVED, BELOW_FLOOR]);
    if is_long() {
        let left = Left { replays: 1, crashes: 0, ..TWO_PARTITIONS.left };
        holds(Size { name: "two partitions of one key, long", left, ..TWO_PARTITIONS }, &[], &[DONE, REPLAYED]);
        let left = Left { takeovers: 1, ..REPLAYED_BESIDE.left };
        holds(Size { name: "replay, long", left, ..REPLAYED_BESIDE }, &[], &[DONE, REPLAYED, BOTH_MOVED]);
    }
}

/// The three guards that the simulation and the real faults take away as well, and the one for concurrent writers.
#[test]
fn a_missing_guard_is_found() {
    falls(OWNERS, &[Broken::Guard(Guard::Fence)], &[FENCED, ATOMIC, ACCOUNTED]);
    falls(OWNERS, &[Broken::Guard(Guard::Tombstone)], &[NO_RESURRECTION, NEWEST_WINS]);
    falls(OWNERS, &[Broken::Guard(Guard::OneTransaction)], &[ATOMIC]);
    falls(TWO_PARTITIONS, &[Broken::Guard(Guard::Recheck)], &[NO_RESURRECTION, NEWEST_WINS]);
}

#[test]
fn a_weaker_compare_and_swap_is_found() {
    falls(MOVED_BACK, &[Broken::WithoutFence], &[FENCED]);
    // As long as nobody guesses, the fence alone is enough; the expected offset is the second line.
    holds(MOVED_BACK, &[Broken::WithoutExpectedOffset], &[]);
    falls(OWNERS, &[Broken::WithoutExpectedOffset, Broken::UnknownIsFailed], &[ATOMIC, ACCOUNTED]);
}

#[test]
fn a_guessed_outcome_is_found() {
    falls(OWNERS, &[Broken::UnknownIsFailed], &[NEVER_GUESSED]);
    falls(OWNERS, &[Broken::ClaimReadsFirst], &[NEVER_GUESSED]);
}

#[test]
fn a_collection_without_its_rules_is_found() {
    let calm = Left { takeovers: 0, crashes: 0, cuts: 0, ..REPLAYED_BESIDE.left };
    falls(Size { left: Left { replays: 0, ..calm }, ..OWNERS }, &[Broken::WithoutFloor], &[NO_RESURRECTION]);
    falls(Size { left: calm, ..REPLAYED_BESIDE }, &[Broken::WithoutReaders], &[ONLY_LATE_REFUSED]);
    let on_time = Size { logs: [&[Upsert(0, 1), Delete(0, 2)], &[]], left: calm, ..REPLAYED_BESIDE };
    falls(on_time, &[Broken::WithoutReaders, Broken::WithoutFloor], &[NO_RESURRECTION, REPLAYABLE]);
}
