//! Bookkeeping: everything that lastword stores about its own work, written once for all destinations.

use crate::core::failure::Failure;
use crate::core::plan::{Plan, TableOutcome};
use crate::core::table::TableName;
use crate::core::token::Token;

use super::Statements;

/// Moves the plan's checkpoints: the compare-and-swap on fence *and* expected offset, row by row in (topic, partition)
/// order. A miss is a [`crate::core::failure::Class::Fenced`] failure that names the partitions that missed.
pub async fn advance<S: Statements>(_session: &mut S, _plan: &Plan) -> Result<(), Failure> {
    Err(Failure::operator("stub", "stub"))
}

/// The table's truncate token, read without a lock.
pub async fn truncate_token<S: Statements>(_session: &mut S, _table: &TableName) -> Result<Option<Token>, Failure> {
    Err(Failure::operator("stub", "stub"))
}

/// Takes the table's short lock (its row in `table_state`) until the transaction ends, raises its truncate token to
/// `truncate` if that is greater, and returns the truncate token that holds now.
pub async fn lock_table<S: Statements>(
    _session: &mut S,
    _table: &TableName,
    _truncate: Option<Token>,
) -> Result<Option<Token>, Failure> {
    Err(Failure::operator("stub", "stub"))
}

/// The rest of a plan's bookkeeping, inside its transaction after the tables: ledger rows, quarantined records, settled
/// quarantine entries, counters per table.
pub async fn finish<S: Statements>(_session: &mut S, _plan: &Plan, _outcomes: &[TableOutcome]) -> Result<(), Failure> {
    Err(Failure::operator("stub", "stub"))
}
