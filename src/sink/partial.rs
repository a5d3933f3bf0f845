//! Partial rows and open columns inside a plan's transaction, the same for all destinations.
//!
//! It runs for each table after its upserts, deletes and tombstones and before the re-check, in three steps: the rows are locked,
//! what is stored is read by a fresh statement, and what [`crate::core::merge`] decides is written. The rows of upserts that lost
//! are locked already, by the statements in which they lost.
//!
//! # What it costs
//!
//! Tables without partial rows pay nothing, but for one small query in a batch of which an upsert lost to a row: it might fill
//! columns that newer partial rows left open. It is asked after the upsert has waited for the row's writer, so that what this
//! writer left open is seen.

use std::collections::BTreeMap;

use crate::core::dialect::partial::{KEYS_MAX, PartialText};
use crate::core::dialect::rungs;
use crate::core::failure::{Class, Failure};
use crate::core::mapping::key_bytes;
use crate::core::merge::{Base, Incoming, Merged, Refusal, Written, encode_open, merge};
use crate::core::plan::{TableOutcome, TablePlan};
use crate::core::table::{Table, TokenStorage};
use crate::core::token::Token;
use crate::core::value::Value;
use crate::core::verdict::Verdict;

use super::{Statements, bookkeep};
use bookkeep::PartialKey;

/// Upserts of a plan, by group and row.
pub(super) type Places = Vec<(usize, usize)>;

/// All upserts of a plan: for sinks that do not know which of them lost.
pub(super) fn all_upserts(plan: &TablePlan) -> Places {
    let groups = plan.upserts.iter().enumerate();
    groups.flat_map(|(number, group)| (0..group.rows.len()).map(move |row| (number, row))).collect()
}

/// A change of a row, decided.
struct Change<'p> {
    key: &'p PartialKey,
    /// Columns and their values.
    cells: Vec<(usize, &'p Value)>,
    written: Written,
    raised: bool,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Completed {
    /// How the partial rows ended.
    pub(super) partials: TableOutcome,
    /// Which of them gave their row a new token.
    pub(super) raised: Vec<usize>,
    /// Full rows that lost to their row and yet filled columns of it.
    pub(super) filled: u64,
}

impl Completed {
    /// Counts it in.
    pub(super) fn count(&self, outcome: &mut TableOutcome) {
        *outcome += &self.partials;
        outcome.applied += self.filled;
        outcome.superseded_by_row = outcome.superseded_by_row.saturating_sub(self.filled);
    }
}

/// Applies a table's partial rows, then lets full rows that lost (`lost`) fill what newer partial rows left open.
pub(super) async fn apply<S: Statements>(
    session: &mut S,
    plan: &TablePlan,
    truncate: Option<Token>,
    repair: bool,
    lost: Places,
) -> Result<Completed, Failure> {
    let mut completed = Completed::default();
    if !plan.partials.is_empty() {
        update(session, plan, truncate, repair, &mut completed).await?;
    }
    if !lost.is_empty() && bookkeep::any_open(session, plan.table.name()).await? {
        completed.filled = fill(session, plan, truncate, lost).await?;
    }
    Ok(completed)
}

async fn update<S: Statements>(
    session: &mut S,
    plan: &TablePlan,
    truncate: Option<Token>,
    repair: bool,
    completed: &mut Completed,
) -> Result<(), Failure> {
    let table = &*plan.table;
    let keys = plan.partials.iter().map(|partial| key_of(table, partial.key.clone())).collect::<Result<Vec<_>, _>>()?;
    bookkeep::lock_rows(session, table, &keys).await?;
    let bases = bookkeep::bases(session, table, &keys).await?;
    let mut changes = Vec::with_capacity(keys.len());
    for (number, ((partial, base), key)) in plan.partials.iter().zip(&bases).zip(&keys).enumerate() {
        let cells: Vec<(usize, Token)> = partial.cells.iter().map(|cell| (cell.column, cell.token)).collect();
        let incoming = Incoming { token: partial.token, cells: &cells, missing: &partial.missing };
        match merge(base, truncate, incoming, repair) {
            Merged::Superseded(verdict) => completed.partials.count(verdict),
            Merged::Refused(why) => return Err(refused(table, why)),
            Merged::Write(written) => {
                completed.partials.count(Verdict::Wins);
                if base.row != Some(written.row) {
                    completed.raised.push(number);
                }
                let value = |at: &usize| (partial.cells[*at].column, &partial.cells[*at].value);
                changes.push(change(base, key, written.cells.iter().map(value).collect(), written));
            }
        }
    }
    write(session, table, &changes).await
}

async fn fill<S: Statements>(
    session: &mut S,
    plan: &TablePlan,
    truncate: Option<Token>,
    lost: Places,
) -> Result<u64, Failure> {
    let table = &*plan.table;
    let places: Vec<Vec<usize>> = plan
        .upserts
        .iter()
        .map(|group| table.key.iter().filter_map(|at| group.columns.iter().position(|own| own == at)).collect())
        .collect();
    let key = |(group, row): &(usize, usize)| {
        let values = &plan.upserts[*group].rows[*row].values;
        key_of(table, places[*group].iter().map(|at| values[*at].clone()).collect())
    };
    let keys = lost.iter().map(key).collect::<Result<Vec<_>, _>>()?;
    let bases = bookkeep::bases(session, table, &keys).await?;
    let mut changes = Vec::new();
    for (((group, row), base), key) in lost.iter().zip(&bases).zip(&keys) {
        if base.open.is_empty() {
            continue;
        }
        let (columns, row) = (&plan.upserts[*group].columns, &plan.upserts[*group].rows[*row]);
        let cells: Vec<(usize, Token)> =
            columns.iter().filter(|at| !table.key.contains(at)).map(|at| (*at, row.token)).collect();
        let incoming = Incoming { token: row.token, cells: &cells, missing: &[] };
        let Merged::Write(written) = merge(base, truncate, incoming, false) else { continue };
        if Some(written.row) != base.row {
            continue;
        }
        let value = |at: &usize| {
            let column = cells[*at].0;
            columns.iter().position(|own| *own == column).map(|place| (column, &row.values[place]))
        };
        changes.push(change(base, key, written.cells.iter().filter_map(value).collect(), written));
    }
    write(session, table, &changes).await?;
    Ok(changes.len() as u64)
}

fn key_of(table: &Table, values: Vec<Value>) -> Result<PartialKey, Failure> {
    let bytes = key_bytes(table, &values.iter().collect::<Vec<_>>());
    let bytes = bytes.map_err(|why| Failure::new(Class::Record, why.reason, why.detail))?;
    Ok((bytes, values))
}

fn refused(table: &Table, why: Refusal) -> Failure {
    Failure::new(Class::Record, why.reason(), why.detail(&table.name().to_string()))
}

fn change<'p>(base: &Base, key: &'p PartialKey, cells: Vec<(usize, &'p Value)>, written: Written) -> Change<'p> {
    Change { key, cells, raised: base.row != Some(written.row), written }
}

/// Writes rows that are locked, their tokens and their open columns.
async fn write<S: Statements>(session: &mut S, table: &Table, changes: &[Change<'_>]) -> Result<(), Failure> {
    let text = PartialText::new(session.dialect(), table);
    let mut by_columns: BTreeMap<Vec<usize>, Vec<Vec<Value>>> = BTreeMap::new();
    let mut side: Vec<Vec<Value>> = Vec::new();
    let mut open: Vec<Value> = Vec::new();
    let table_name = Value::from(table.name().to_string());
    for change in changes {
        let token = Value::bytes(change.written.row.as_bytes());
        let key = text.key_params(&change.key.1);
        let mut params = Vec::with_capacity(change.cells.len() + key.len() + 1);
        for (column, value) in &change.cells {
            check_null(table, *column, value)?;
            let refused = |what| {
                let named = format!("column {:?}: {what}", table.shape.columns[*column].name);
                Failure::new(Class::Record, "out_of_range", named)
            };
            params.push(text.param(*column, value).map_err(refused)?);
        }
        if text.token_in_row() {
            params.push(token.clone());
        }
        params.extend_from_slice(&key);
        by_columns.entry(change.cells.iter().map(|(column, _)| *column).collect()).or_default().push(params);
        if change.raised && table.token_storage == TokenStorage::Side {
            side.push([std::slice::from_ref(&token), &*key].concat());
        }
        let name = |at: usize| table.shape.columns[at].name.as_str();
        let digest = Value::bytes(&bookkeep::key_digest(&change.key.0));
        open.extend([table_name.clone(), digest, token, Value::bytes(&encode_open(&change.written.open, name))]);
    }
    for (columns, rows) in by_columns {
        if let Some(statement) = text.update(&columns) {
            let written = session.execute_each(&statement, &rows).await?;
            all_there(table, written, rows.len())?;
        }
    }
    if !side.is_empty() {
        let written = session.execute_each(&text.raise_side(), &side).await?;
        all_there(table, written, side.len())?;
    }
    let mut rest = &open[..];
    for rung in rungs(changes.len(), KEYS_MAX) {
        let (params, after) = rest.split_at(rung * 4);
        session.execute(&text.put_open(rung), params).await?;
        rest = after;
    }
    Ok(())
}

/// MySQL makes a number or the current time of NULL in some columns that refuse it.
fn check_null(table: &Table, column: usize, value: &Value) -> Result<(), Failure> {
    let column = &table.shape.columns[column];
    if value.is_null() && !column.nullable {
        let what = format!("column {:?}: NULL for a column that does not allow it", column.name);
        return Err(Failure::new(Class::Record, "null_in_not_null", what));
    }
    Ok(())
}

fn all_there(table: &Table, written: u64, wanted: usize) -> Result<(), Failure> {
    if written == wanted as u64 {
        return Ok(());
    }
    let what = format!("table {}: a row went away while it was completed", table.name());
    Err(Failure::new(Class::Transient, "contended", what))
}
