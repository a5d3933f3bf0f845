//! The invariants of the library's front page as properties, and what must be reachable for them to mean something.

use stateright::Property;

use super::Protocol;
use super::world::{Change, KEYS, News, Order, PARTITIONS, Phase, Stage, State, bit};

/// Acts that leave no trace in the tables, noted when they happen.
pub struct Wrong;

impl Wrong {
    /// A checkpoint was moved that was not at `from`.
    pub const NOT_FROM_THERE: u8 = 1;
    /// A checkpoint was moved under a fence that is not the current one.
    pub const NOT_THE_OWNER: u8 = 2;
    /// An outcome was settled otherwise than it was, or before it was.
    pub const GUESSED: u8 = 4;
    /// Records that had all been applied changed something when they came again.
    pub const CHANGED_AGAIN: u8 = 8;
    /// A record was refused that the source had sent before its generation was closed.
    pub const REFUSED_FOR_NOTHING: u8 = 16;
}

pub const ATOMIC: &str = "1 atomic";
pub const NEWEST_WINS: &str = "2 newest wins";
pub const NO_RESURRECTION: &str = "3 no resurrection";
pub const ACCOUNTED: &str = "4 accounted";
pub const FENCED: &str = "5 fenced";
pub const NEVER_GUESSED: &str = "6 never guessed";
pub const REPLAYABLE: &str = "7 replayable";
pub const ONLY_LATE_REFUSED: &str = "only what comes late is refused";
pub const ENDS: &str = "it ends with everything applied";

pub const INVARIANTS: [&str; 9] =
    [ATOMIC, NEWEST_WINS, NO_RESURRECTION, ACCOUNTED, FENCED, NEVER_GUESSED, REPLAYABLE, ONLY_LATE_REFUSED, ENDS];

pub const LANDED: &str = "an unknown commit had landed";
pub const NOT_LANDED: &str = "an unknown commit had not landed";
pub const ZOMBIE_FENCED: &str = "a zombie is fenced";
pub const FLOORS_MOVED: &str = "floors move under a transaction";
pub const DEADLOCK: &str = "two transactions wait for each other";
pub const BELOW_FLOOR: &str = "a transaction meets the floor";
pub const LATE_REFUSED: &str = "a tombstone is collected, and a late upsert refused";
pub const BOTH_MOVED: &str = "both owners made progress";
pub const REPLAYED: &str = "a replay goes over everything";
pub const DONE: &str = "everything is applied";

fn always(name: &'static str, holds: fn(&Protocol, &State) -> bool) -> Property<Protocol> {
    Property::always(name, holds)
}

fn sometimes(name: &'static str, holds: fn(&Protocol, &State) -> bool) -> Property<Protocol> {
    Property::sometimes(name, holds)
}

pub fn properties() -> Vec<Property<Protocol>> {
    vec![
        always(ATOMIC, |_, state| {
            state.seen.wrong & Wrong::NOT_FROM_THERE == 0 && (0..PARTITIONS).all(|at| passed_is_settled(state, at))
        }),
        always(NEWEST_WINS, |model, state| (0..KEYS).all(|key| newest_wins(model, state, key))),
        always(NO_RESURRECTION, |model, state| (0..KEYS).all(|key| stays_dead(model, state, key))),
        always(ACCOUNTED, |_, state| (0..PARTITIONS).all(|at| counted_once(state, at))),
        always(FENCED, |_, state| state.seen.wrong & Wrong::NOT_THE_OWNER == 0),
        always(NEVER_GUESSED, |_, state| state.seen.wrong & Wrong::GUESSED == 0),
        always(REPLAYABLE, |_, state| state.seen.wrong & Wrong::CHANGED_AGAIN == 0),
        always(ONLY_LATE_REFUSED, |_, state| state.seen.wrong & Wrong::REFUSED_FOR_NOTHING == 0),
        always(ENDS, |model, state| model.is_done(state) || model.goes_on(state)),
        sometimes(LANDED, |_, state| learned(state, News::Landed)),
        sometimes(NOT_LANDED, |_, state| learned(state, News::NotLanded)),
        sometimes(ZOMBIE_FENCED, |model, state| {
            (0..2).any(|lane| {
                let owner = state.database.checkpoints[model.checkpoint_of(lane)].owner;
                matches!(state.lanes[lane].phase, Phase::Reclaim { fenced: true, .. }) && owner != lane as u8 + 1
            })
        }),
        sometimes(FLOORS_MOVED, |_, state| learned(state, News::FloorsMoved)),
        sometimes(DEADLOCK, |_, state| learned(state, News::Deadlock)),
        sometimes(BELOW_FLOOR, |_, state| learned(state, News::BelowFloor)),
        sometimes(LATE_REFUSED, |_, state| {
            state.generation.stage == Stage::Collected && state.seen.refused.iter().any(|refused| *refused != 0)
        }),
        sometimes(BOTH_MOVED, |model, state| model.movers(state) == 3),
        sometimes(REPLAYED, |_, state| state.replay == super::world::Replay::Done),
        sometimes(DONE, |model, state| model.is_done(state)),
    ]
}

fn learned(state: &State, news: News) -> bool {
    state.lanes.iter().any(|lane| lane.phase == Phase::Claimed(news))
}

/// What a checkpoint has passed took effect, or was put aside.
fn passed_is_settled(state: &State, partition: usize) -> bool {
    let settled = state.seen.effective[partition] | state.seen.refused[partition];
    (0..state.database.checkpoints[partition].next).all(|offset| settled & bit(offset) != 0)
}

/// Each passed record is counted once, no other is.
fn counted_once(state: &State, partition: usize) -> bool {
    let next = usize::from(state.database.checkpoints[partition].next);
    let counted = state.seen.counted[partition].iter().enumerate();
    counted.into_iter().all(|(offset, counted)| *counted == u8::from(offset < next))
}

/// Changes that took effect or lost.
fn effective<'s>(model: &'s Protocol, state: &'s State) -> impl Iterator<Item = Change> + 's {
    (0..PARTITIONS).flat_map(move |partition| {
        let log = model.size.logs[partition].iter().zip(0..);
        log.filter(move |(_, offset)| state.seen.effective[partition] & bit(*offset) != 0).map(|(change, _)| *change)
    })
}

/// The greatest token that was applied to a key with what it did, and the greatest TRUNCATE.
fn greatest(model: &Protocol, state: &State, key: usize) -> (Option<(Order, bool)>, Option<Order>) {
    let (mut newest, mut truncate) = (None, None);
    for change in effective(model, state) {
        match change {
            Change::Upsert(of, token) if of == key => newest = newest.max(Some((token, true))),
            Change::Delete(of, token) if of == key => newest = newest.max(Some((token, false))),
            Change::Truncate(token) => truncate = truncate.max(Some(token)),
            _ => {}
        }
    }
    (newest, truncate)
}

/// The row or tombstone of a key carries the greatest token ever applied to it. A collected tombstone lives on in the floor.
fn newest_wins(model: &Protocol, state: &State, key: usize) -> bool {
    let (newest, truncate) = greatest(model, state, key);
    let (row, tombstone) = (state.database.rows[key], state.database.tombstone(key));
    match newest {
        Some((token, _)) if Some(token) <= truncate => row.is_none() && tombstone.is_none(),
        Some((token, true)) => row == Some(token) && tombstone.is_none(),
        Some((token, false)) if tombstone.is_some() => row.is_none() && tombstone == Some(token),
        Some((token, false)) => row.is_none() && state.database.limits.floor >= Some(token),
        None => row.is_none() && tombstone.is_none(),
    }
}

/// A row is newer than every delete that was applied to its key.
fn stays_dead(model: &Protocol, state: &State, key: usize) -> bool {
    let Some(row) = state.database.rows[key] else { return true };
    effective(model, state).all(|change| match change {
        Change::Delete(of, token) if of == key => token < row,
        Change::Truncate(token) => token < row,
        _ => true,
    })
}
