//! Bookkeeping: everything that lastword stores about its own work, written once for all destinations.
//!
//! It lies in the schema `lastword` in PostgreSQL and in tables with the prefix `lastword_` of the connection's database
//! elsewhere. What a transaction of a plan needs ([`advance`], [`limits`], [`lock_table`], [`finish`]) runs inside
//! the caller's transaction; everything else begins and ends its own.
//!
//! # What sinks must keep to
//!
//! - The number that [`Statements::execute`] returns for an UPDATE counts the rows that it *matched*, also those that it left
//!   as they were (`CLIENT_FOUND_ROWS` in MySQL): the compare-and-swap rests on it.
//! - Transactions are READ COMMITTED: after a lock was waited for, the next statement sees what its holder committed.
//! - Times are milliseconds since 1970 by the database's clock.

mod admin;
mod adopt;
mod cells;
mod claim;
mod collect;
mod consistency;
mod epochs;
mod ledger;
mod migrate;
mod orphans;
mod partial;
mod quarantine;
mod replay;
mod sql;
mod sweep;
mod tables;
#[cfg(test)]
pub(crate) mod tests;
mod topics;

pub use admin::{AuditEntry, Checkpoint, audit, audit_list, checkpoints, set_offset};
pub use adopt::{Standing, adopt_bound, adopt_rows, standing};
pub use claim::{Claim, ClaimRequest, FenceState, Reclaimed, claim, fences, reclaim};
pub use collect::{
    Feed, Generation, Graves, RunningReplay, close_generation, collect, collected_ends, count_graves, feed_add, feeds,
    feeds_of_table, floors, generations, now_ms, reset_floors, running_replays, writers_of,
};
pub use consistency::{ConsistencyState, consistency};
pub use epochs::{EpochEntry, Opened, epoch, epoch_list, epoch_open, epochs};
pub use ledger::{ledger, scope_id};
pub use migrate::{STORE_FORMAT, StoreInfo, check_version, migrate};
pub use orphans::delete_orphans;
pub use partial::{Key as PartialKey, any_open, bases, key_digest, lock_rows};
pub use quarantine::{
    QuarantineEntry, QuarantineFilter, QuarantineRecord, QuarantineState, quarantine_drop, quarantine_get,
    quarantine_list,
};
pub use replay::{
    ReplayCounts, ReplayEntry, ReplayRange, ReplayState, replay_checkpoint_owner, replay_list, replay_start,
    replay_update,
};
pub use sweep::{Sweep, SweepState, beaten_keys, count_beaten, sweep_settle, sweep_wait, sweeps};
pub use tables::{
    Limits, LiveRow, TableCounters, TableState, admit_scope, ensure_table_state, has_row, limits, live_row, lock_table,
    stored_tokens, table_counters, table_scope, table_states, truncate_missing,
};
pub use topics::{TopicSource, add_topic, topic_sources};

use crate::core::failure::{Class, Failure};
use crate::core::guard::{Guard, stands};
use crate::core::plan::{Advance, Plan, TableOutcome};
use crate::core::record::TopicPartition;
use crate::core::value::Value;
use crate::failpoint::failpoint;

use super::Statements;
use cells::stored;

/// Moves the plan's checkpoints: the compare-and-swap on fence *and* expected offset, row by row in (topic, partition)
/// order. A miss is a [`Class::Fenced`] failure that names all the partitions that missed.
pub async fn advance<S: Statements>(session: &mut S, plan: &Plan) -> Result<(), Failure> {
    failpoint!(APPLY_BEGUN);
    let mut advances: Vec<&Advance> = plan.advances.iter().collect();
    // A plan is ordered already; the order of locks is too important to rest on that.
    advances.sort_by(|a, b| a.at.cmp(&b.at));
    let text = sql::CHECKPOINT_ADVANCE.of(session.dialect());
    let (text, left_out) = match stands(Guard::Fence) {
        true => (text, 0),
        // The last two conditions, with their parameters.
        false => (text.split(" and fence =").next().unwrap_or(text), 2),
    };
    let mut missed = Vec::new();
    for advance in advances {
        let counts = advance.counts;
        let params = [
            Value::from(advance.next),
            advance.open_delete.clone().map_or(Value::Null, Value::Bytes),
            advance.source_time_ms.into(),
            stored(counts.changes).into(),
            stored(counts.filtered).into(),
            stored(counts.quarantined).into(),
            stored(counts.control).into(),
            advance.top.token.map_or(Value::Null, |token| Value::bytes(token.as_bytes())),
            advance.top.time_ms.into(),
            // The same 64 bits, as in the ledger.
            advance.top.number.map(|(number, _)| number.cast_signed()).into(),
            advance.top.number.map(|(_, seen)| seen).into(),
            Value::from(&*plan.checkpoint_owner),
            Value::from(&*advance.at.topic),
            advance.at.partition.into(),
            advance.fence.into(),
            advance.from.into(),
        ];
        if session.execute(text, &params[..params.len() - left_out]).await? != 1 {
            missed.push(advance.at.clone());
        }
    }
    failpoint!(APPLY_ADVANCED);
    if missed.is_empty() {
        return Ok(());
    }
    Err(taken_back(missed, "the checkpoint was claimed or moved by someone else"))
}

/// A plan that must be made again from what the checkpoints of these partitions, and the ledger, say now.
fn taken_back(partitions: Vec<TopicPartition>, why: &str) -> Failure {
    let named: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    let mut failure = Failure::new(Class::Fenced, "fenced", format!("{}: {why}", named.join(", ")));
    failure.fenced = partitions;
    failure
}

/// The rest of a plan's bookkeeping, inside its transaction after the tables: ledger rows, quarantined records, settled
/// quarantine entries, counters per table. `outcomes` are in the order of the plan's tables.
pub async fn finish<S: Statements>(session: &mut S, plan: &Plan, outcomes: &[TableOutcome]) -> Result<(), Failure> {
    failpoint!(APPLY_ROWS);
    orphans::check_nulls(session, plan).await?;
    for entry in &plan.ledger {
        ledger::add(session, entry).await?;
    }
    for end in &plan.snapshots {
        sweep::add(session, end).await?;
    }
    for record in &plan.quarantine {
        quarantine::add(session, &plan.pipeline, record).await?;
        failpoint!(QUARANTINE_WRITTEN);
    }
    for news in &plan.consistency {
        consistency::note(session, &plan.pipeline, news).await?;
    }
    for id in &plan.settled {
        quarantine::settle(session, *id, QuarantineState::Retried).await?;
    }
    for (table, outcome) in plan.tables.iter().zip(outcomes) {
        let outcome = TableOutcome { applied: outcome.applied + table.truncates, ..*outcome };
        tables::count(session, &plan.pipeline, table.table.name(), &outcome).await?;
    }
    failpoint!(APPLY_BOOKED);
    Ok(())
}

/// Ends a transaction as its work ended: commits what is right, rolls back what failed and reports the first failure.
async fn end<S: Statements, T>(session: &mut S, work: Result<T, Failure>) -> Result<T, Failure> {
    match work {
        Ok(done) => session.commit().await.map(|()| done),
        Err(mut failure) => {
            if let Err(second) = session.rollback().await {
                failure.connection_lost |= second.connection_lost;
            }
            Err(failure)
        }
    }
}
