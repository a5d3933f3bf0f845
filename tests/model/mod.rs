//! A model of the protocol, checked exhaustively at a small size.
//!
//! Owners claim, are fenced, lose connections under COMMIT and die; a zombie's transaction still holds its rows when another
//! claims; the source sends old changes late; tombstones are collected beside all of this. The checker walks through every
//! order in which these can happen and asks in every state whether the invariants hold. Actions have the names of the code; the
//! rules that are pure functions there (who wins, what is below the floor, what keeps a generation) are called, not copied.
//!
//! A model says nothing about code that does something else. So the same invariants are looked at in the simulation and under
//! real faults; what the model adds is that no order is left out.
//!
//! `cargo test --test integration model:: -- --nocapture` prints the number of states. `LASTWORD_TEST_LONG=1` takes more
//! faults at a time.

mod checks;
mod collector;
mod invariants;
mod lanes;
mod transaction;
mod variants;
mod world;

use stateright::{Model, Property};

use variants::Broken;
use world::{LANES, Lane, Log, PARTITIONS, Phase, Replay, Size, State};

/// The protocol at some size, with something missing or not.
#[derive(Clone, Debug)]
pub struct Protocol {
    size: Size,
    broken: Vec<Broken>,
}

/// What can happen next, with the number of the lane, the partition or the lost transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Append(usize),
    Retention(usize),
    Claim(usize),
    ClaimUnanswered(usize),
    Reclaim(usize),
    ReclaimUnanswered(usize),
    RaiseBehind(usize),
    CheckFences(usize),
    Advance(usize, u8),
    Change(usize),
    Recheck(usize),
    Commit(usize),
    LoseCommit(usize),
    LoseConnection(usize),
    Crash(usize),
    Deadlock(usize),
    ServerCommits(usize),
    ServerRollsBack(usize),
    OffsetsSet(usize, u8),
    ReplayStart,
    ReplayDone,
    ReadClock,
    CloseGeneration,
    Survey,
    RaiseFloors,
    Collect,
}

impl Protocol {
    fn stands(&self, broken: Broken) -> bool {
        !self.broken.contains(&broken)
    }

    fn act(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Append(partition) => self.append(state, partition),
            Action::Retention(partition) => self.retention(state, partition),
            Action::Claim(lane) => self.claim(state, lane, true),
            Action::ClaimUnanswered(lane) => self.claim(state, lane, false),
            Action::Reclaim(lane) => self.reclaim(state, lane, true),
            Action::ReclaimUnanswered(lane) => self.reclaim(state, lane, false),
            Action::RaiseBehind(lane) => self.raise_behind(state, lane),
            Action::CheckFences(lane) => self.check_fences(state, lane),
            Action::Advance(lane, to) => self.advance(state, lane, to),
            Action::Change(lane) => self.change(state, lane),
            Action::Recheck(lane) => self.recheck(state, lane),
            Action::Commit(lane) => self.committed(state, lane),
            Action::LoseCommit(lane) => self.lose_commit(state, lane),
            Action::LoseConnection(lane) => self.lose_connection(state, lane),
            Action::Deadlock(lane) => self.deadlock(state, lane),
            Action::Crash(lane) => self.crash(state, lane),
            Action::ServerCommits(number) => self.decided(state, number, true),
            Action::ServerRollsBack(number) => self.decided(state, number, false),
            Action::OffsetsSet(partition, to) => self.offsets_set(state, partition, to),
            Action::ReplayStart => self.replay_start(state),
            Action::ReplayDone => self.replay_done(state),
            Action::ReadClock => self.read_clock(state),
            Action::CloseGeneration => self.close_generation(state),
            Action::Survey => self.survey(state),
            Action::RaiseFloors => self.raise_floors(state),
            Action::Collect => self.collect(state),
        }
    }

    /// Whether anything can happen.
    fn goes_on(&self, state: &State) -> bool {
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        actions.into_iter().any(|action| self.next_state(state, action).is_some())
    }

    fn lane_actions(&self, state: &State, lane: usize, actions: &mut Vec<Action>) {
        let own = &state.lanes[lane];
        match own.phase {
            Phase::Idle => {
                actions.push(Action::Claim(lane));
                if state.left.unanswered > 0 {
                    actions.push(Action::ClaimUnanswered(lane));
                }
            }
            Phase::Claimed(_) => {
                let reach = self.reach(state, lane).min(own.next + self.size.batch);
                actions.extend((own.next + 1..=reach).map(|to| Action::Advance(lane, to)));
                if own.next >= reach {
                    actions.push(Action::CheckFences(lane));
                }
            }
            Phase::Applying => {
                actions.extend([Action::Change(lane), Action::Recheck(lane), Action::Commit(lane)]);
                actions.extend([Action::LoseCommit(lane), Action::LoseConnection(lane), Action::Deadlock(lane)]);
            }
            Phase::Reclaim { .. } => {
                actions.push(Action::Reclaim(lane));
                if state.left.unanswered > 0 {
                    actions.push(Action::ReclaimUnanswered(lane));
                }
            }
            Phase::ReadFirst { .. } => actions.push(Action::RaiseBehind(lane)),
        }
        if state.left.crashes > 0 {
            actions.push(Action::Crash(lane));
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let log = |partition: usize| Log { start: 0, end: self.size.at_first[partition] };
        vec![State {
            logs: std::array::from_fn(log),
            database: world::Database {
                checkpoints: Default::default(),
                rows: Default::default(),
                tombstones: Default::default(),
                limits: Default::default(),
                transactions: Default::default(),
                lost: Default::default(),
            },
            lanes: [Lane::default(); LANES],
            replay: Replay::None,
            generation: Default::default(),
            left: self.size.left,
            seen: Default::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for lane in 0..LANES {
            self.lane_actions(state, lane, actions);
        }
        for number in (0..state.database.lost.len()).filter(|number| state.database.lost[*number].is_some()) {
            actions.extend([Action::ServerCommits(number), Action::ServerRollsBack(number)]);
        }
        for partition in 0..PARTITIONS {
            actions.extend([Action::Append(partition), Action::Retention(partition)]);
            if state.left.sets > 0 {
                let next = state.database.checkpoints[partition].next;
                actions.extend((0..next).map(|to| Action::OffsetsSet(partition, to)));
            }
        }
        match state.replay {
            Replay::None if state.left.replays > 0 => actions.push(Action::ReplayStart),
            Replay::Running { .. } => actions.push(Action::ReplayDone),
            _ => {}
        }
        actions.extend([Action::ReadClock, Action::CloseGeneration, Action::Survey]);
        actions.extend([Action::RaiseFloors, Action::Collect]);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        self.act(&mut next, action).map(|()| next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        invariants::properties()
    }
}
