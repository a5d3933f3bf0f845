//! The changes of one table while they are applied: what is stored for each key, and who wins. Nothing here talks to a
//! server.

use std::collections::HashMap;
use std::ops::Range;

use crate::core::collect::{below_floor_failure, makes_below};
use crate::core::dialect::LADDER;
use crate::core::dialect::mysql::{MAX_PLACEHOLDERS, TableText};
use crate::core::failure::{Class, Failure};
use crate::core::plan::{Delete, TableOutcome, TablePlan, Upsert};
use crate::core::table::{Column, Contract, DeleteMode, Table, TokenStorage};
use crate::core::token::Token;
use crate::core::value::Value;
use crate::core::verdict::{Incomparable, Judge, Stored, StoredRow, Verdict};
use crate::sink::partial::{self, Completed};

use super::keys::key_bytes;
use super::values::{Params, wire_bytes};

/// A statement of several rows is kept below so many bytes.
const STATEMENT_BYTES: usize = 4 << 20;

#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'p> {
    /// A row of the group with this number.
    Upsert(usize, &'p Upsert),
    Delete(&'p Delete),
}

/// One key of the plan.
#[derive(Debug)]
pub(super) struct Entry<'p> {
    pub(super) change: Change<'p>,
    pub(super) stored: Stored,
    pub(super) verdict: Verdict,
    /// Token that a partial row of the same plan gave the row.
    raised: Option<Token>,
}

impl Entry<'_> {
    /// Token of the row that was written.
    pub(super) fn row_token(&self) -> &Token {
        self.raised.as_ref().unwrap_or_else(|| self.token())
    }

    pub(super) fn token(&self) -> &Token {
        match self.change {
            Change::Upsert(_, upsert) => &upsert.token,
            Change::Delete(delete) => &delete.token,
        }
    }

    pub(super) fn is_upsert(&self) -> bool {
        matches!(self.change, Change::Upsert(..))
    }

    pub(super) fn wins(&self) -> bool {
        self.verdict == Verdict::Wins
    }
}

/// All changes of one table.
#[derive(Debug)]
pub(super) struct Work<'p> {
    pub(super) plan: &'p TablePlan,
    pub(super) text: TableText<'p>,
    pub(super) entries: Vec<Entry<'p>>,
    /// The truncate token that the decisions rest on.
    pub(super) truncate: Option<Token>,
    /// The floors that they rest on, and their version once that is known.
    pub(super) floors: Vec<Token>,
    pub(super) floor_version: Option<i64>,
    pub(super) tombstones_delta: i64,
    pub(super) recheck_deleted: u64,
    completed: Completed,
    /// How the keys whose delete event is gone ended.
    pub(super) orphans: TableOutcome,
    /// Rows let go of their unique values before any is written over.
    pub(super) parks: bool,
    /// For each group the positions of the key columns among its columns.
    positions: Vec<Vec<usize>>,
    by_key: HashMap<Vec<u8>, usize>,
}

impl<'p> Work<'p> {
    /// Lists the keys of a table's plan. Refuses a table that cannot be written safely.
    pub(super) fn new(plan: &'p TablePlan) -> Result<Self, Failure> {
        let table = &*plan.table;
        check(table)?;
        let mut work = Self {
            plan,
            text: TableText::new(table),
            entries: Vec::new(),
            truncate: None,
            floors: Vec::new(),
            floor_version: None,
            tombstones_delta: 0,
            recheck_deleted: 0,
            completed: Completed::default(),
            orphans: TableOutcome::default(),
            parks: false,
            positions: Vec::new(),
            by_key: HashMap::new(),
        };
        for (number, group) in plan.upserts.iter().enumerate() {
            let positions = table.key.iter().map(|key| group.columns.iter().position(|column| column == key));
            let Some(positions) = positions.collect() else {
                return Err(named(table, Failure::operator("plan", "rows to write lack a key column")));
            };
            work.positions.push(positions);
            for upsert in &group.rows {
                work.push(Change::Upsert(number, upsert))?;
            }
        }
        if table.delete != DeleteMode::Ignore {
            plan.deletes.iter().try_for_each(|delete| work.push(Change::Delete(delete)))?;
        }
        Ok(work)
    }

    fn push(&mut self, change: Change<'p>) -> Result<(), Failure> {
        let entry = Entry { change, stored: Stored::default(), verdict: Verdict::Wins, raised: None };
        let kinds = self.key_columns().map(|column| &column.kind);
        let key = key_bytes(self.key_of(&entry).into_iter().zip(kinds));
        if self.by_key.insert(key, self.entries.len()).is_some() {
            return Err(named(self.table(), Failure::operator("plan", "a key occurs twice in one batch")));
        }
        self.entries.push(entry);
        Ok(())
    }

    pub(super) fn table(&self) -> &'p Table {
        &self.plan.table
    }

    /// Those of some entries that are upserts of a group.
    pub(super) fn of_group(&self, entries: &[usize], group: usize) -> Vec<usize> {
        let belongs = |index: &usize| matches!(self.entries[*index].change, Change::Upsert(of, _) if of == group);
        entries.iter().copied().filter(belongs).collect()
    }

    /// A TRUNCATE of this plan that is to be carried out.
    pub(super) fn truncate_to_apply(&self) -> Option<Token> {
        let follows = self.table().contract == Contract::FinalState && self.table().delete != DeleteMode::Ignore;
        self.plan.truncate.filter(|_| follows)
    }

    fn key_columns(&self) -> impl Iterator<Item = &'p Column> + use<'p> {
        let table = self.table();
        table.key.iter().map(|index| &table.shape.columns[*index])
    }

    fn key_of(&self, entry: &Entry<'p>) -> Vec<&'p Value> {
        match entry.change {
            Change::Upsert(group, upsert) => {
                self.positions[group].iter().map(|position| &upsert.values[*position]).collect()
            }
            Change::Delete(delete) => delete.key.iter().collect(),
        }
    }

    /// Adds the key of an entry to a statement.
    pub(super) fn put_key(&self, params: &mut Params, entry: usize) -> Result<(), Failure> {
        let entry = &self.entries[entry];
        for (value, column) in self.key_of(entry).into_iter().zip(self.key_columns()) {
            params.column(value, column).map_err(|failure| named(self.table(), failure))?;
        }
        Ok(())
    }

    /// Adds values of an upsert to a statement: all of them, or those of the columns that are no key columns; then the
    /// token where rows carry it.
    pub(super) fn put_row(&self, params: &mut Params, entry: usize, with_key: bool) -> Result<(), Failure> {
        let table = self.table();
        if let Change::Upsert(group, upsert) = self.entries[entry].change {
            for (index, value) in self.plan.upserts[group].columns.iter().zip(&upsert.values) {
                if with_key || !table.key.contains(index) {
                    let column = &table.shape.columns[*index];
                    params.column(value, column).map_err(|failure| named(table, failure))?;
                }
            }
        }
        if self.text.token_in_row() {
            params.token(self.entries[entry].token())?;
        }
        Ok(())
    }

    /// Adds a row of the side table to a statement.
    pub(super) fn put_side(&self, params: &mut Params, entry: usize) -> Result<(), Failure> {
        self.put_key(params, entry)?;
        params.token(self.entries[entry].token())?;
        if self.table().token_storage == TokenStorage::Side {
            params.flag(!self.entries[entry].is_upsert())?;
        }
        Ok(())
    }

    /// Bytes of the values of an entry in a statement.
    pub(super) fn bytes(&self, entry: usize, with_row: bool) -> usize {
        let entry = &self.entries[entry];
        let values: usize = match entry.change {
            Change::Upsert(_, upsert) if with_row => upsert.values.iter().map(wire_bytes).sum(),
            _ => self.key_of(entry).into_iter().map(wire_bytes).sum(),
        };
        values + entry.token().as_bytes().len() + 12
    }

    /// The entry whose key the server returned. A key that was not asked for shows that the server takes different keys
    /// for equal: nothing may be decided on it.
    pub(super) fn entry_of(&self, row: &[Value]) -> Result<usize, Failure> {
        let kinds = self.key_columns().map(|column| &column.kind);
        self.by_key.get(&key_bytes(row.iter().zip(kinds))).copied().ok_or_else(|| {
            named(
                self.table(),
                Failure::operator(
                    "wide_key",
                    "the server takes different keys for equal (collation, padding or scale of a key column); \
                     `lastword check` names the column and the remedy",
                ),
            )
        })
    }

    /// Reads a stored token.
    pub(super) fn token_of(&self, value: &Value) -> Result<Option<Token>, Failure> {
        if value.is_null() {
            return Ok(None);
        }
        let token = value.as_bytes().and_then(Token::from_bytes);
        token.map(Some).ok_or_else(|| incomparable(self.table(), "a stored token is not one of lastword's"))
    }

    /// Decides about some entries from what is stored for them.
    pub(super) fn decide(&mut self, entries: &[usize], repair: bool) -> Result<(), Failure> {
        for index in entries {
            let verdict = self.verdict(&self.entries[*index], repair)?;
            self.entries[*index].verdict = verdict;
        }
        Ok(())
    }

    fn verdict(&self, entry: &Entry<'p>, repair: bool) -> Result<Verdict, Failure> {
        if self.table().contract == Contract::ChangeLog {
            return Ok(if entry.stored.row == StoredRow::Absent { Verdict::Wins } else { Verdict::ByRow });
        }
        let marks = self.table().delete == DeleteMode::Soft && self.text.mark_in_row();
        let judge = Judge { truncate: self.truncate, marks, repair };
        let verdict = judge.verdict(entry.token(), entry.is_upsert(), &entry.stored);
        let verdict = verdict.map_err(|Incomparable(stored)| self.differ(entry.token(), &stored))?;
        match entry.is_upsert() && makes_below(&self.floors, entry.token(), &entry.stored, verdict) {
            true => Err(below_floor_failure(self.table().name())),
            false => Ok(verdict),
        }
    }

    /// Upserts that lost to their row.
    pub(super) fn lost(&self) -> partial::Places {
        let mut places = vec![0; self.plan.upserts.len()];
        let mut lost = partial::Places::new();
        for entry in &self.entries {
            if let Change::Upsert(group, _) = entry.change {
                if entry.verdict == Verdict::ByRow {
                    lost.push((group, places[group]));
                }
                places[group] += 1;
            }
        }
        lost
    }

    /// Takes in what the partial rows came to.
    pub(super) fn complete(&mut self, completed: Completed) {
        for partial in completed.raised.iter().map(|at| &self.plan.partials[*at]) {
            let key = key_bytes(partial.key.iter().zip(self.key_columns().map(|column| &column.kind)));
            if let Some(entry) = self.by_key.get(&key) {
                self.entries[*entry].raised = Some(partial.token);
            }
        }
        self.completed = completed;
    }

    /// Raises the truncate token that decisions rest on.
    pub(super) fn raise_truncate(&mut self, token: Option<Token>) -> Result<(), Failure> {
        if let (Some(old), Some(new)) = (&self.truncate, &token) {
            self.comparable(old, new)?;
        }
        self.truncate = self.truncate.max(token);
        Ok(())
    }

    pub(super) fn comparable(&self, a: &Token, b: &Token) -> Result<(), Failure> {
        if a.comparable(b) {
            return Ok(());
        }
        Err(self.differ(a, b))
    }

    fn differ(&self, a: &Token, b: &Token) -> Failure {
        let text = format!("tokens {} and {} are of different formats or scopes", a.hex(), b.hex());
        incomparable(self.table(), &text)
    }

    /// The counts of the plan's outcome.
    pub(super) fn outcome(&self) -> TableOutcome {
        let mut outcome = TableOutcome {
            superseded_in_batch: self.plan.collapsed,
            recheck_deleted: self.recheck_deleted,
            tombstones_delta: self.tombstones_delta,
            ..TableOutcome::default()
        };
        outcome += &self.orphans;
        self.entries.iter().for_each(|entry| outcome.count(entry.verdict));
        self.completed.count(&mut outcome);
        outcome
    }
}

fn incomparable(table: &Table, what: &str) -> Failure {
    let text = format!("{what}: two sources, or two kinds of token, write the same key");
    named(table, Failure::new(Class::Record, "incomparable_token", text))
}

fn named(table: &Table, failure: Failure) -> Failure {
    failure.context(format_args!("table {}", table.name()))
}

/// What must hold of a table before a row of it is touched. `lastword check` says the same earlier.
fn check(table: &Table) -> Result<(), Failure> {
    let refuse = |code: &str, text: String| Err(named(table, Failure::operator(code, text)));
    let shape = &table.shape;
    let mut key: Vec<&str> = table.key.iter().map(|index| shape.columns[*index].name.as_str()).collect();
    let mut primary: Vec<&str> = shape.primary_key.iter().map(String::as_str).collect();
    key.sort_unstable();
    primary.sort_unstable();
    if key.is_empty() || key != primary {
        let (key, primary) = (key.join(", "), primary.join(", "));
        return refuse("key_is_not_primary", format!("its business key ({key}) must be its primary key ({primary})"));
    }
    if table.contract == Contract::ChangeLog {
        return Ok(());
    }
    if table.token_storage == TokenStorage::Column && !shape.has_token {
        return refuse("no_token_column", "it has no column _lastword_token; add it as VARBINARY(48) NULL".to_owned());
    }
    if table.delete == DeleteMode::Soft && !shape.has_deleted {
        let text = "soft delete needs a column _lastword_deleted; add it as BOOLEAN NOT NULL DEFAULT 0";
        return refuse("no_deleted_column", text.to_owned());
    }
    Ok(())
}

/// Cuts items of given sizes into statements of ladder lengths, each below the placeholders and bytes that a statement
/// may have. `pad` lets the last statement be longer than what is left, if at least a quarter of it is used: its last
/// key is repeated then. `Err` holds the item that is too large alone.
pub(super) fn cut(
    bytes: &[usize],
    placeholders: usize,
    pad: bool,
    max_packet: usize,
) -> Result<Vec<(Range<usize>, usize)>, usize> {
    let mut statements = Vec::new();
    let mut from = 0;
    while from < bytes.len() {
        let rest = bytes.len() - from;
        let fits = |rung: usize| {
            let used = rung.min(rest);
            let largest = bytes[from + used - 1];
            let total = bytes[from..from + used].iter().sum::<usize>() + (rung - used) * largest;
            let limit = if rung == 1 { max_packet } else { STATEMENT_BYTES.min(max_packet) };
            rung * placeholders <= MAX_PLACEHOLDERS && total + 4 * rung * placeholders + 1024 <= limit
        };
        let padded = LADDER.into_iter().rev().find(|rung| *rung >= rest).filter(|rung| pad && rest * 4 >= *rung);
        let exact = LADDER.into_iter().filter(|rung| *rung <= rest);
        let Some(rung) = padded.into_iter().chain(exact).find(|rung| fits(*rung)) else {
            return Err(from);
        };
        let used = rung.min(rest);
        statements.push((from..from + used, rung));
        from += used;
    }
    Ok(statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_cover_every_item_once_and_stay_below_the_limits() {
        for (count, size, placeholders, pad) in
            [(0, 10, 2, true), (1, 10, 2, true), (5000, 100, 16, false), (600, 40_000, 3, true), (300, 10, 900, true)]
        {
            let bytes = vec![size; count];
            let statements = cut(&bytes, placeholders, pad, 16 << 20).expect("fits");
            let mut at = 0;
            for (range, rung) in statements {
                assert_eq!(range.start, at);
                at = range.end;
                assert!(
                    rung == range.len() || (pad && rung > range.len() && range.len() * 4 >= rung),
                    "{range:?} {rung}"
                );
                assert!(rung * placeholders <= MAX_PLACEHOLDERS);
                assert!(rung == 1 || rung * size <= STATEMENT_BYTES);
            }
            assert_eq!(at, count);
        }
        let lengths = |count, pad| -> Vec<usize> {
            cut(&vec![10; count], 1, pad, 1 << 20).expect("fits").into_iter().map(|(_, rung)| rung).collect()
        };
        assert_eq!(lengths(300, true), [512]);
        assert_eq!(lengths(67, false), [64, 1, 1, 1]);
        assert_eq!(lengths(520, true), [512, 8]);
        assert_eq!(cut(&[10, 1 << 20, 10], 1, true, 1 << 20), Err(1));
        assert_eq!(cut(&[10, 5 << 20], 1, false, 16 << 20).expect("alone").len(), 2);
    }
}
