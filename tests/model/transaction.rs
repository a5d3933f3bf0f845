//! The transaction of a plan, statement by statement: `advance`, the changes, the re-check, COMMIT.
//!
//! Statements see what is committed, and wait for rows that others have written. What they compare a row with (limits, tombstones)
//! may have been read before they waited; so it is read when the transaction begins, which is the worst that can happen.
//! The re-check under the table's lock reads anew.

use lastword::core::collect::{below, makes_below};
use lastword::core::guard::Guard;
use lastword::core::token::Token;
use lastword::core::verdict::{Judge, Stored, StoredRow, Verdict};

use super::Protocol;
use super::invariants::Wrong;
use super::variants::Broken;
use super::world::{
    Change, KEYS, LANES, News, Order, Phase, REPLAY, State, Step, Tombstone, Transaction, Truth, Write, bit,
    partition_of, token,
};

impl Protocol {
    /// The plan of the records up to `to`, and the compare-and-swap. Waits for the checkpoint's row, and with a TRUNCATE for the
    /// table's lock.
    pub(super) fn advance(&self, state: &mut State, lane: usize, to: u8) -> Option<()> {
        let (checkpoint, Phase::Claimed(_)) = (self.checkpoint_of(lane), state.lanes[lane].phase) else { return None };
        if state.database.holds(checkpoint) {
            return None;
        }
        let own = &mut state.lanes[lane];
        let (fence, from) = (own.fence, own.next);
        own.expected = own.expected.max(to);
        let stored = state.database.checkpoints[checkpoint];
        let fenced = stored.fence != fence && self.stands(Broken::WithoutFence);
        let moved = stored.next != from && self.stands(Broken::WithoutExpectedOffset);
        if (fenced || moved) && self.stands(Broken::Guard(Guard::Fence)) {
            own.phase = Phase::Reclaim { unknown: None, fenced: true };
            return Some(());
        }
        let mut plan = Transaction {
            lane,
            checkpoint,
            fence,
            from,
            to,
            step: Step::Advanced,
            refused: 0,
            is_older: false,
            limits: state.database.limits,
            saw: std::array::from_fn(|key| state.database.tombstone(key)),
            rows: [Write::Nothing; KEYS],
            tombstones: [Write::Nothing; KEYS],
            holds_checkpoint: true,
            holds_table: false,
        };
        if self.truncate_of(&plan).is_some() {
            if state.database.table_locked(lane) {
                return None;
            }
            plan.holds_table = true;
        }
        own.phase = Phase::Applying;
        plan.refused = self.below_floor(state, &plan);
        if !self.stands(Broken::Guard(Guard::OneTransaction)) {
            self.pass(state, &plan);
            plan.holds_checkpoint = false;
        }
        state.database.transactions[lane] = Some(plan);
        Some(())
    }

    fn changes<'p>(&'p self, plan: &Transaction) -> impl Iterator<Item = (u8, Change)> + 'p {
        let log = self.size.logs[partition_of(plan.checkpoint)];
        let refused = plan.refused;
        let range = (plan.from..plan.to).filter(move |offset| refused & bit(*offset) == 0);
        range.map(move |offset| (offset, log[usize::from(offset)]))
    }

    /// The TRUNCATE of a plan.
    fn truncate_of(&self, plan: &Transaction) -> Option<Order> {
        let tokens = self.changes(plan).filter_map(|(_, change)| match change {
            Change::Truncate(token) => Some(token),
            _ => None,
        });
        tokens.max()
    }

    /// What is left of a key's changes when the batch has collapsed: offset, token, whether it is an upsert.
    fn newest(&self, plan: &Transaction, key: usize) -> Option<(u8, Order, bool)> {
        let mut newest: Option<(u8, Order, bool)> = None;
        for (offset, change) in self.changes(plan) {
            let (token, is_upsert) = match change {
                Change::Upsert(of, token) if of == key => (token, true),
                Change::Delete(of, token) if of == key => (token, false),
                _ => continue,
            };
            if newest.is_none_or(|(_, known, _)| known < token) {
                newest = Some((offset, token, is_upsert));
            }
        }
        newest
    }

    fn floors(&self, plan: &Transaction) -> Option<Token> {
        plan.limits.floor.map(token).filter(|_| self.stands(Broken::WithoutFloor))
    }

    /// The planner's look: upserts that would make a row from below the floor, as bits.
    fn below_floor(&self, state: &State, plan: &Transaction) -> u8 {
        let Some(floor) = self.floors(plan) else { return 0 };
        let mut looked = *plan;
        for key in 0..KEYS {
            while let Some((offset, rank, is_upsert)) = self.newest(&looked, key) {
                let held = [state.database.rows[key], state.database.tombstone(key), plan.limits.truncate];
                let loses = held.into_iter().max().flatten() >= Some(rank);
                let refused = is_upsert && below(&[floor], &token(rank)) && !loses;
                if !refused || state.database.rows[key].is_some() {
                    break;
                }
                looked.refused |= bit(offset);
            }
        }
        looked.refused
    }

    /// The statements that change the table: deletes, tombstones, upserts, outlived tombstones.
    pub(super) fn change(&self, state: &mut State, lane: usize) -> Option<()> {
        let mut plan = state.database.transactions[lane].filter(|plan| plan.step == Step::Advanced)?;
        let own = self.truncate_of(&plan);
        for key in 0..KEYS {
            self.truncate(state, &mut plan, key, own)?;
            let Some((_, rank, is_upsert)) = self.newest(&plan, key) else { continue };
            let committed = state.database.rows[key];
            // A delete does not meet a row that it cannot see.
            if (is_upsert || committed.is_some()) && state.database.row_locked(key, lane) {
                return None;
            }
            let row = plan.rows[key].over(committed).map_or(StoredRow::Absent, |held| StoredRow::At(token(held)));
            let tombstone = plan.tombstones[key].over(plan.saw[key]).map(token);
            let tombstone = tombstone.filter(|_| self.stands(Broken::Guard(Guard::Tombstone)));
            let stored = Stored { row, tombstone };
            let judge = Judge { truncate: plan.limits.truncate.max(own).map(token), ..Judge::default() };
            let verdict = judge.verdict(&token(rank), is_upsert, &stored).expect("tokens of one scope");
            let floors: Vec<Token> = self.floors(&plan).into_iter().collect();
            if is_upsert && makes_below(&floors, &token(rank), &stored, verdict) {
                self.roll_back(state, lane, News::BelowFloor);
                return Some(());
            }
            if verdict != Verdict::Wins {
                continue;
            }
            let held = plan.tombstones[key].over(state.database.tombstone(key));
            let outlived = held.is_some_and(|held| held < rank);
            if (!is_upsert || outlived) && state.database.tombstone_locked(key, lane) {
                return None;
            }
            if is_upsert {
                plan.rows[key] = Write::Put(rank);
                if outlived {
                    plan.tombstones[key] = Write::Gone;
                }
            } else {
                if committed.is_some() {
                    plan.rows[key] = Write::Gone;
                }
                if outlived || held.is_none() {
                    plan.tombstones[key] = Write::Put(rank);
                }
            }
        }
        plan.step = Step::Changed;
        state.database.transactions[lane] = Some(plan);
        Some(())
    }

    /// What a TRUNCATE beats of a key: row and tombstone.
    fn truncate(&self, state: &State, plan: &mut Transaction, key: usize, own: Option<Order>) -> Option<()> {
        let beats = |held: Option<Order>| held.is_some() && held <= own;
        if beats(plan.rows[key].over(state.database.rows[key])) {
            if state.database.row_locked(key, plan.lane) {
                return None;
            }
            plan.rows[key] = Write::Gone;
        }
        if beats(plan.tombstones[key].over(state.database.tombstone(key))) {
            if state.database.tombstone_locked(key, plan.lane) {
                return None;
            }
            plan.tombstones[key] = Write::Gone;
        }
        Some(())
    }

    /// Under the table's lock: what writers did without seeing each other.
    pub(super) fn recheck(&self, state: &mut State, lane: usize) -> Option<()> {
        let mut plan = state.database.transactions[lane].filter(|plan| plan.step == Step::Changed)?;
        plan.step = Step::Rechecked;
        if !self.stands(Broken::Guard(Guard::Recheck)) {
            state.database.transactions[lane] = Some(plan);
            return Some(());
        }
        if state.database.table_locked(lane) {
            return None;
        }
        if state.database.limits.floor_version != plan.limits.floor_version {
            self.roll_back(state, lane, News::FloorsMoved);
            return Some(());
        }
        plan.holds_table = true;
        let truncate = state.database.limits.truncate.max(self.truncate_of(&plan));
        for key in 0..KEYS {
            if self.newest(&plan, key).is_none() {
                continue;
            }
            let row = plan.rows[key].over(state.database.rows[key]);
            let tombstone = plan.tombstones[key].over(state.database.tombstone(key));
            if row.is_some() && row <= tombstone && self.stands(Broken::Guard(Guard::Tombstone)) {
                if state.database.row_locked(key, lane) {
                    return None;
                }
                plan.rows[key] = Write::Gone;
            } else if tombstone.is_some() && tombstone < row {
                if state.database.tombstone_locked(key, lane) {
                    return None;
                }
                plan.tombstones[key] = Write::Gone;
            }
            self.truncate(state, &mut plan, key, truncate)?;
        }
        state.database.transactions[lane] = Some(plan);
        Some(())
    }

    /// Two transactions wait for each other (a TRUNCATE has the table's lock and waits for rows that another wrote, who waits for
    /// that lock), and the server ends one of them: a transient failure.
    pub(super) fn deadlock(&self, state: &mut State, lane: usize) -> Option<()> {
        let waits = |lane: usize| {
            let (mut change, mut recheck) = (*state, *state);
            match state.database.transactions[lane].map(|plan| plan.step) {
                Some(Step::Advanced) => self.change(&mut change, lane).is_none(),
                Some(Step::Changed) => self.recheck(&mut recheck, lane).is_none(),
                _ => false,
            }
        };
        let waiting = (0..LANES).filter(|lane| waits(*lane)).count();
        let decided = state.database.lost.iter().all(Option::is_none);
        if waiting < 2 || !decided || !waits(lane) {
            return None;
        }
        self.roll_back(state, lane, News::Deadlock);
        Some(())
    }

    fn roll_back(&self, state: &mut State, lane: usize, news: News) {
        state.database.transactions[lane] = None;
        state.lanes[lane].phase = Phase::Claimed(news);
    }

    /// What COMMIT makes visible.
    pub(super) fn commit(&self, state: &mut State, plan: &Transaction) {
        if plan.holds_checkpoint {
            self.pass(state, plan);
        }
        let partition = partition_of(plan.checkpoint);
        let before = (state.database.rows, state.database.limits.truncate, self.buried(state));
        for key in 0..KEYS {
            state.database.rows[key] = plan.rows[key].over(state.database.rows[key]);
            match plan.tombstones[key] {
                Write::Nothing => {}
                Write::Put(token) => {
                    state.database.tombstones[key] = Some(Tombstone { token, is_older: plan.is_older })
                }
                Write::Gone => state.database.tombstones[key] = None,
            }
        }
        state.database.limits.truncate = state.database.limits.truncate.max(self.truncate_of(plan));
        let after = (state.database.rows, state.database.limits.truncate, self.buried(state));
        let passed = (plan.from..plan.to).fold(0, |bits, offset| bits | bit(offset));
        if passed & !state.seen.effective[partition] == 0 && before != after {
            state.seen.wrong |= Wrong::CHANGED_AGAIN;
        }
        for offset in (plan.from..plan.to).filter(|offset| plan.refused & bit(*offset) != 0) {
            if offset < state.generation.ends[partition] {
                state.seen.wrong |= Wrong::REFUSED_FOR_NOTHING;
            }
        }
        state.seen.effective[partition] |= passed & !plan.refused;
        state.seen.refused[partition] |= plan.refused;
    }

    fn buried(&self, state: &State) -> [Option<Order>; KEYS] {
        std::array::from_fn(|key| state.database.tombstone(key))
    }

    /// The checkpoint moves, and its counters.
    fn pass(&self, state: &mut State, plan: &Transaction) {
        let stored = &mut state.database.checkpoints[plan.checkpoint];
        if stored.fence != plan.fence {
            state.seen.wrong |= Wrong::NOT_THE_OWNER;
        }
        if stored.next != plan.from {
            state.seen.wrong |= Wrong::NOT_FROM_THERE;
        }
        stored.next = plan.to;
        if plan.checkpoint == REPLAY {
            return;
        }
        stored.moved_by |= bit(plan.lane as u8);
        for offset in plan.from..plan.to {
            let counted = &mut state.seen.counted[plan.checkpoint][usize::from(offset)];
            *counted = (*counted + 1).min(2);
        }
    }

    /// COMMIT with an answer.
    pub(super) fn committed(&self, state: &mut State, lane: usize) -> Option<()> {
        let plan = state.database.transactions[lane].filter(|plan| plan.step == Step::Rechecked)?;
        state.database.transactions[lane] = None;
        self.commit(state, &plan);
        let own = &mut state.lanes[lane];
        own.next = plan.to;
        own.phase = Phase::Claimed(News::Nothing);
        Some(())
    }

    /// The connection was lost during COMMIT, and the server has decided now.
    pub(super) fn decided(&self, state: &mut State, number: usize, landed: bool) -> Option<()> {
        let plan = state.database.lost[number].take()?;
        if landed {
            self.commit(state, &plan);
        }
        if let Phase::Reclaim { unknown: Some(unknown), .. } | Phase::ReadFirst { unknown: Some(unknown), .. } =
            &mut state.lanes[plan.lane].phase
            && unknown.truth == Truth::Pending
        {
            unknown.truth = if landed { Truth::Landed } else { Truth::NotLanded };
        }
        Some(())
    }
}
