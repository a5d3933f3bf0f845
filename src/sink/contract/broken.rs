//! Every case fails where its promise is broken: by a destination that is told something else than it should be, and by the real one
//! for SQLite without one of its guards.

use std::collections::HashMap;
use std::sync::Arc;

use super::cases;
use super::destination::Destination;
use super::stand::{SHOP, Stand};
use crate::core::epoch::{EpochQuestion, EpochRow};
use crate::core::event::Rejection;
use crate::core::failure::Failure;
use crate::core::guard::{Guard, Removed};
use crate::core::plan::{Applied, Plan};
use crate::core::record::TopicPartition;
use crate::core::table::{DeleteMode, Table};
use crate::core::token::{Token, TokenWriter};
use crate::core::wire::TableSpec;
use crate::sink::bookkeep::{Claim, ClaimRequest, Reclaimed};
use crate::sink::memory::{Memory, TableContents};

/// What is done to a destination and a plan before the plan is applied.
type Spoil = fn(&mut Memory, &mut Plan);

/// A destination in memory that breaks a promise.
struct Broken {
    memory: Memory,
    spoil: Spoil,
}

impl Destination for Broken {
    async fn table(&mut self, spec: &TableSpec) -> Table {
        self.memory.table(spec).await
    }

    async fn claim(
        &mut self,
        key: &str,
        owner: &str,
        requests: &[ClaimRequest],
        first_offsets: &HashMap<TopicPartition, i64>,
    ) -> Result<Vec<Claim>, Failure> {
        self.memory.claim(key, owner, requests, first_offsets)
    }

    async fn reclaim(&mut self, key: &str, owner: &str, partitions: &[TopicPartition]) -> Reclaimed {
        self.memory.reclaim(key, owner, partitions)
    }

    async fn apply(&mut self, plan: &Plan) -> Result<Applied, Failure> {
        let mut plan = plan.clone();
        (self.spoil)(&mut self.memory, &mut plan);
        self.memory.apply(&plan)
    }

    /// Whoever asks.
    async fn epoch(
        &mut self,
        question: &EpochQuestion,
        key: &str,
        _: i64,
    ) -> Result<Result<EpochRow, Rejection>, Failure> {
        let fence = self.memory.checkpoint(key, &question.at).map_or(0, |row| row.fence);
        self.memory.epoch(question, key, fence)
    }

    async fn collect(&mut self, table: &Table) -> u64 {
        self.memory.collect(table.name(), |_| true)
    }

    async fn contents(&mut self, table: &Table) -> TableContents {
        Destination::contents(&mut self.memory, table).await
    }

    async fn kept(&mut self, pipeline: &str) -> Vec<String> {
        self.memory.kept(pipeline).await
    }

    async fn aside(&mut self, pipeline: &str) -> Vec<i64> {
        self.memory.aside(pipeline).await
    }

    async fn damage(&mut self, table: &Table, text: &str) {
        self.memory.damage(table, text).await;
    }

    async fn close(self) {}
}

/// The checkpoint moves, whoever asks.
fn any_fence(memory: &mut Memory, plan: &mut Plan) {
    for advance in &mut plan.advances {
        advance.fence = memory.checkpoint(SHOP, &advance.at).map_or(0, |row| row.fence);
    }
}

/// The checkpoint moves, wherever it is.
fn any_offset(memory: &mut Memory, plan: &mut Plan) {
    for advance in &mut plan.advances {
        advance.from = memory.checkpoint(SHOP, &advance.at).map_or(0, |row| row.next);
    }
}

/// What comes later wins.
fn any_token(memory: &mut Memory, _: &mut Plan) {
    let old = TokenWriter::new(1, 1).number(0).finish();
    for held in memory.contents_mut().values_mut().flat_map(|held| held.keys.values_mut()) {
        use crate::sink::memory::Held;
        match held {
            Held::Row(row) => row.token = old,
            Held::Tombstone(token) => *token = old,
            Held::Logged(_) => {}
        }
    }
}

/// A plan is several transactions.
fn table_by_table(memory: &mut Memory, plan: &mut Plan) {
    if plan.tables.len() > 1 {
        let tables = vec![plan.tables.remove(0)];
        let _ = memory.apply(&Plan { tables, advances: Vec::new(), ..plan.clone() });
    }
}

/// Tokens of all sources are taken for tokens of one.
fn one_scope(_: &mut Memory, plan: &mut Plan) {
    let one = |token: &mut Token| {
        let mut bytes = token.as_bytes().to_vec();
        bytes[1..3].copy_from_slice(&[0, 1]);
        *token = Token::from_bytes(&bytes).expect("a token");
    };
    for table in &mut plan.tables {
        table.upserts.iter_mut().flat_map(|group| &mut group.rows).for_each(|row| one(&mut row.token));
        table.deletes.iter_mut().for_each(|delete| one(&mut delete.token));
        table.truncate.iter_mut().for_each(one);
    }
}

fn hard_deletes(_: &mut Memory, plan: &mut Plan) {
    for table in &mut plan.tables {
        let Table { id, contract, token_storage, single_writer, .. } = *table.table;
        let (shape, key, delete) = (table.table.shape.clone(), table.table.key.clone(), DeleteMode::Hard);
        table.table = Arc::new(Table { id, shape, contract, delete, token_storage, key, single_writer });
    }
}

fn of_tables(plan: &mut Plan, spoil: fn(&mut crate::core::plan::TablePlan)) {
    plan.tables.iter_mut().for_each(spoil);
}

macro_rules! every_case_fails {
    ($($case:ident: $spoil:expr;)*) => {
        $(
            #[tokio::test]
            #[should_panic]
            async fn $case() {
                let mut stand = Stand::new(Broken { memory: Memory::default(), spoil: $spoil });
                cases::$case(&mut stand).await;
            }
        )*
    };
}

every_case_fails! {
    a_claim_raises_the_fence_and_returns_the_position: |_, plan| {
        plan.advances.iter_mut().for_each(|advance| advance.open_delete = None);
    };
    what_a_former_owner_still_does_has_no_effect: any_fence;
    the_expected_offset_is_part_of_the_swap: any_offset;
    claims_are_made_all_together_or_not_at_all: any_fence;
    the_newest_change_has_the_last_word: any_token;
    soft_deletes_mark_rows_and_unknown_keys_get_tombstones: hard_deletes;
    a_truncate_is_a_tombstone_of_the_whole_table: |_, plan| of_tables(plan, |table| table.truncate = None);
    what_is_below_the_floor_makes_no_row: |memory, _| {
        memory.contents_mut().values_mut().for_each(|held| held.floors.clear());
    };
    repair_writes_rows_of_equal_token_and_nothing_else: |_, plan| plan.repair = false;
    orphans_delete_exactly_the_row_that_was_seen: |_, plan| of_tables(plan, |table| {
        table.orphans.iter_mut().for_each(|orphan| orphan.token = super::stand::token(5));
    });
    a_change_log_takes_every_record_once: |memory, _| {
        memory.contents_mut().values_mut().for_each(|held| held.keys.clear());
    };
    partial_rows_are_completed_from_what_is_stored: |memory, _| {
        let held = memory.contents_mut().values_mut().flat_map(|held| held.keys.values_mut());
        held.for_each(|held| if let crate::sink::memory::Held::Row(row) = held { row.open.clear() });
    };
    a_record_that_is_refused_leaves_nothing_of_its_plan: table_by_table;
    tokens_of_other_sources_leave_nothing_of_their_plan: one_scope;
    what_is_put_aside_and_settled_moves_with_the_checkpoint: |_, plan| plan.settled.clear();
    facts_are_written_once: |memory, _| memory.ledger.clear();
    partitions_get_their_epochs_under_the_fence: |_, _| {};
    a_replay_has_checkpoints_of_its_own_and_changes_nothing: |_, plan| plan.checkpoint_owner = SHOP.into();
    any_order_and_any_cut_end_in_the_same_contents: any_token;
    partial_rows_converge_in_any_order: |_, plan| of_tables(plan, |table| {
        table.partials.iter_mut().for_each(|partial| partial.missing.clear());
    });
}

macro_rules! without_a_guard {
    ($($name:ident: $guard:ident $case:ident;)*) => {
        $(
            #[tokio::test]
            #[should_panic]
            async fn $name() {
                let mut stand = Stand::new(super::sqlite(stringify!($name)).await);
                let _removed = Removed::new(Some(Guard::$guard));
                cases::$case(&mut stand).await;
            }
        )*
    };
}

without_a_guard! {
    rows_without_their_guard: Row any_order_and_any_cut_end_in_the_same_contents;
    tombstones_without_their_guard: Tombstone any_order_and_any_cut_end_in_the_same_contents;
    truncates_without_their_guard: Truncate any_order_and_any_cut_end_in_the_same_contents;
    checkpoints_without_their_fence: Fence what_a_former_owner_still_does_has_no_effect;
    checkpoints_without_the_expected_offset: Fence the_expected_offset_is_part_of_the_swap;
    checkpoints_in_a_transaction_of_their_own: OneTransaction a_record_that_is_refused_leaves_nothing_of_its_plan;
}
