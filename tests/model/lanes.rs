//! What lanes do beside their transactions: claim, lose connections, settle outcomes, die; and what operators do.

use lastword::core::lane::Settled;

use super::Protocol;
use super::invariants::Wrong;
use super::variants::Broken;
use super::world::{
    Checkpoint, LANES, Lane, News, Phase, REPLAY, Replay, State, Step, Truth, Unknown, bit, partition_of,
};

impl Protocol {
    /// The checkpoint that a lane moves.
    pub(super) fn checkpoint_of(&self, lane: usize) -> usize {
        if lane == REPLAY { REPLAY } else { self.size.reads[lane] }
    }

    /// Whether another living lane believes that the partition of this one is its own.
    fn is_takeover(&self, state: &State, lane: usize) -> bool {
        let rivals =
            (0..LANES).filter(|other| *other != lane && self.checkpoint_of(*other) == self.checkpoint_of(lane));
        rivals.into_iter().any(|other| state.lanes[other].phase != Phase::Idle)
    }

    /// A partition is assigned to a lane, and claimed. A live session that holds the row is ended (`end_blocking`).
    pub(super) fn claim(&self, state: &mut State, lane: usize, answered: bool) -> Option<()> {
        if state.lanes[lane].phase != Phase::Idle || lane == REPLAY && !matches!(state.replay, Replay::Running { .. }) {
            return None;
        }
        if self.is_takeover(state, lane) {
            state.left.takeovers = state.left.takeovers.checked_sub(1)?;
        }
        let checkpoint = self.checkpoint_of(lane);
        let blocking = |plan: &super::world::Transaction| plan.checkpoint == checkpoint && plan.holds_checkpoint;
        if self.stands(Broken::ClaimReadsFirst) {
            state.database.transactions.iter_mut().for_each(|plan| *plan = plan.filter(|plan| !blocking(plan)));
            if state.database.holds(checkpoint) {
                return None;
            }
        } else {
            let next = state.database.checkpoints[checkpoint].next;
            state.lanes[lane].phase = Phase::ReadFirst { unknown: None, next };
            return Some(());
        }
        let stored = self.raise(state, lane);
        match answered {
            true => {
                let (fence, next) = (stored.fence, stored.next);
                state.lanes[lane] = Lane { phase: Phase::Claimed(News::Nothing), fence, next, expected: next };
            }
            false => state.left.unanswered = state.left.unanswered.checked_sub(1)?,
        }
        Some(())
    }

    /// The fence is raised for a lane.
    fn raise(&self, state: &mut State, lane: usize) -> Checkpoint {
        let stored = &mut state.database.checkpoints[self.checkpoint_of(lane)];
        stored.fence += 1;
        stored.owner = lane as u8 + 1;
        *stored
    }

    /// Claims again what was ours, if it still is: waits for whoever holds the row. That settles an unknown outcome.
    pub(super) fn reclaim(&self, state: &mut State, lane: usize, answered: bool) -> Option<()> {
        let Phase::Reclaim { unknown, .. } = state.lanes[lane].phase else { return None };
        let checkpoint = self.checkpoint_of(lane);
        let stored = state.database.checkpoints[checkpoint];
        if !self.stands(Broken::ClaimReadsFirst) {
            state.lanes[lane].phase = Phase::ReadFirst { unknown, next: stored.next };
            return Some(());
        }
        if state.database.holds(checkpoint) {
            return None;
        }
        if stored.owner != lane as u8 + 1 {
            state.lanes[lane] = Lane::default();
            return Some(());
        }
        let stored = self.raise(state, lane);
        match answered {
            true => self.resume(state, lane, stored.fence, stored.next, unknown),
            false => state.left.unanswered = state.left.unanswered.checked_sub(1)?,
        }
        Some(())
    }

    /// The second half of a claim that reads first: the fence is raised, the position stays the one that was read.
    pub(super) fn raise_behind(&self, state: &mut State, lane: usize) -> Option<()> {
        let Phase::ReadFirst { unknown, next } = state.lanes[lane].phase else { return None };
        if state.database.holds(self.checkpoint_of(lane)) {
            return None;
        }
        let stored = self.raise(state, lane);
        self.resume(state, lane, stored.fence, next, unknown);
        Some(())
    }

    /// What `Lane::reclaimed` makes of a claim: the outcome is settled, the queue goes on or the source seeks.
    fn resume(&self, state: &mut State, lane: usize, fence: u8, next: u8, unknown: Option<Unknown>) {
        let own = &mut state.lanes[lane];
        let settled = unknown.map(|unknown| if unknown.to == next { Settled::Landed } else { Settled::NotLanded });
        let is_true = match (settled, unknown.map(|unknown| unknown.truth)) {
            (Some(Settled::Landed), Some(truth)) => matches!(truth, Truth::Landed | Truth::Moved),
            (Some(Settled::NotLanded), Some(truth)) => matches!(truth, Truth::NotLanded | Truth::Moved),
            _ => true,
        };
        if !is_true {
            state.seen.wrong |= Wrong::GUESSED;
        }
        if !(own.next..=own.expected).contains(&next) {
            own.expected = next;
        }
        (own.fence, own.next) = (fence, next);
        own.phase = Phase::Claimed(match settled {
            Some(Settled::Landed) => News::Landed,
            Some(Settled::NotLanded) => News::NotLanded,
            None => News::Nothing,
        });
    }

    /// A lane with nothing to do looks whether its fence was raised.
    pub(super) fn check_fences(&self, state: &mut State, lane: usize) -> Option<()> {
        let Phase::Claimed(_) = state.lanes[lane].phase else { return None };
        if state.database.checkpoints[self.checkpoint_of(lane)].fence == state.lanes[lane].fence {
            return None;
        }
        state.lanes[lane].phase = Phase::Reclaim { unknown: None, fenced: true };
        Some(())
    }

    /// COMMIT is sent, and the connection lost before the answer.
    pub(super) fn lose_commit(&self, state: &mut State, lane: usize) -> Option<()> {
        let plan = state.database.transactions[lane].filter(|plan| plan.step == Step::Rechecked)?;
        let free = state.database.lost.iter_mut().find(|lost| lost.is_none())?;
        state.left.cuts = state.left.cuts.checked_sub(1)?;
        *free = Some(plan);
        state.database.transactions[lane] = None;
        let unknown = Some(Unknown { to: plan.to, truth: Truth::Pending });
        state.lanes[lane].phase = Phase::Reclaim { unknown, fenced: false };
        if !self.stands(Broken::UnknownIsFailed) {
            self.resume(state, lane, plan.fence, plan.from, unknown);
        }
        Some(())
    }

    /// The connection is lost before COMMIT; or the session was ended by another's claim, which the lane finds now.
    pub(super) fn lose_connection(&self, state: &mut State, lane: usize) -> Option<()> {
        if state.lanes[lane].phase != Phase::Applying {
            return None;
        }
        if state.database.transactions[lane].take().is_some() {
            state.left.cuts = state.left.cuts.checked_sub(1)?;
        }
        state.lanes[lane].phase = Phase::Reclaim { unknown: None, fenced: false };
        Some(())
    }

    /// A process dies. What it had sent with COMMIT is decided by the server all the same.
    pub(super) fn crash(&self, state: &mut State, lane: usize) -> Option<()> {
        if state.lanes[lane].phase == Phase::Idle {
            return None;
        }
        state.left.crashes = state.left.crashes.checked_sub(1)?;
        state.database.transactions[lane] = None;
        state.lanes[lane] = Lane::default();
        Some(())
    }

    /// An operator moves a live position back, audited: the fence is raised, the owner stays.
    pub(super) fn offsets_set(&self, state: &mut State, partition: usize, to: u8) -> Option<()> {
        let stored = &mut state.database.checkpoints[partition];
        if to >= stored.next || to < state.logs[partition].start || state.database.holds(partition) {
            return None;
        }
        state.left.sets = state.left.sets.checked_sub(1)?;
        let stored = &mut state.database.checkpoints[partition];
        (stored.fence, stored.next) = (stored.fence + 1, to);
        // What comes behind it is consumed anew, and counted anew.
        state.seen.counted[partition].iter_mut().skip(usize::from(to)).for_each(|counted| *counted = 0);
        for lane in (0..LANES).filter(|lane| self.checkpoint_of(*lane) == partition) {
            if let Phase::Reclaim { unknown: Some(unknown), .. } = &mut state.lanes[lane].phase {
                unknown.truth = Truth::Moved;
            }
        }
        Some(())
    }

    /// A replay of what the log holds below the live checkpoint of the first partition.
    pub(super) fn replay_start(&self, state: &mut State) -> Option<()> {
        let (from, to) = (state.logs[0].start, state.database.checkpoints[0].next);
        if state.replay != Replay::None || from >= to || from < state.generation.ends[0] {
            return None;
        }
        state.left.replays = state.left.replays.checked_sub(1)?;
        state.replay = Replay::Running { to };
        state.database.checkpoints[REPLAY].next = from;
        Some(())
    }

    /// The replay has read all of its range.
    pub(super) fn replay_done(&self, state: &mut State) -> Option<()> {
        let (Replay::Running { to }, Phase::Claimed(_)) = (state.replay, state.lanes[REPLAY].phase) else {
            return None;
        };
        if state.lanes[REPLAY].next != to {
            return None;
        }
        state.replay = Replay::Done;
        state.lanes[REPLAY] = Lane::default();
        Some(())
    }

    /// How far a lane may read: what it has in memory, and what the log still holds behind that.
    pub(super) fn reach(&self, state: &State, lane: usize) -> u8 {
        let own = state.lanes[lane];
        let log = state.logs[partition_of(self.checkpoint_of(lane))];
        let end = if own.expected >= log.start { log.end } else { own.expected };
        match state.replay {
            Replay::Running { to } if lane == REPLAY => end.min(to),
            _ => end,
        }
    }

    /// Whether all records are applied and nobody is about to do anything.
    pub(super) fn is_done(&self, state: &State) -> bool {
        let applied = (0..state.logs.len()).all(|partition| {
            let all = self.size.logs[partition].len() as u8;
            state.database.checkpoints[partition].next == all
        });
        let resting = state.lanes.iter().all(|lane| matches!(lane.phase, Phase::Idle | Phase::Claimed(_)));
        // A replay whose records are gone from the log halts, and an operator has to end it.
        let gone = state.database.checkpoints[REPLAY].next < state.logs[0].start;
        let replayed = gone || !matches!(state.replay, Replay::Running { .. });
        applied && resting && replayed && state.database.is_quiet()
    }

    /// Lanes that have moved a live checkpoint, as bits.
    pub(super) fn movers(&self, state: &State) -> u8 {
        let moved = |partition: usize| state.database.checkpoints[partition].moved_by & !bit(REPLAY as u8);
        (0..state.logs.len()).fold(0, |bits, partition| bits | moved(partition))
    }
}
