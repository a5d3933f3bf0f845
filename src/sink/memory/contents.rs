//! What a destination in memory holds of its tables, and how a plan changes it.
//!
//! Everything is said the long way and once more, on purpose: not the code of `core::verdict` and `core::merge` decides here, or
//! a mistake in it would be made on both sides of a comparison.

use std::collections::BTreeMap;

use crate::core::collect::below_floor_failure;
use crate::core::failure::{Class, Failure};
use crate::core::plan::{Delete, Orphan, Partial, TableOutcome, TablePlan};
use crate::core::table::{Contract, DeleteMode, Table, TableName, TokenStorage};
use crate::core::token::Token;
use crate::core::value::Value;
use crate::core::verdict::Verdict;

use super::Memory;

/// The tables of a destination by their names.
pub type Contents = BTreeMap<TableName, TableContents>;

/// A table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableContents {
    /// What is held for each key, by its canonical bytes ([`Memory::key`]).
    pub keys: BTreeMap<Vec<u8>, Held>,
    /// Events with this token or a smaller one are older than the last TRUNCATE.
    pub truncate: Option<Token>,
    /// The greatest token collected of each scope.
    pub floors: Vec<Token>,
}

/// What is held for a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    /// A row.
    Row(Row),
    /// The token of its delete.
    Tombstone(Token),
    /// An entry of a change log: its values by column.
    Logged(BTreeMap<String, Value>),
}

/// A row of a final-state table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Token of its newest change.
    pub token: Token,
    /// It is marked as deleted.
    pub deleted: bool,
    /// Its values by column. A column that no event carried is NULL: a default of the database's is not known here.
    pub values: BTreeMap<String, Value>,
    /// Columns whose values are older than the row, with the tokens of the events that they are from.
    pub open: BTreeMap<String, Token>,
}

impl Row {
    /// The token of the event that a column's value is from.
    fn token_of(&self, column: &str) -> Token {
        self.open.get(column).copied().unwrap_or(self.token)
    }

    fn delete(&mut self, token: Token) {
        self.deleted = true;
        self.token = token;
        self.open.clear();
    }
}

impl Held {
    /// The token of the key's newest change.
    pub fn token(&self) -> Option<Token> {
        match self {
            Self::Row(row) => Some(row.token),
            Self::Tombstone(token) => Some(*token),
            Self::Logged(_) => None,
        }
    }

    /// The row, unless it is marked as deleted.
    pub fn live(&self) -> Option<&Row> {
        match self {
            Self::Row(row) if !row.deleted => Some(row),
            _ => None,
        }
    }
}

/// An upsert with its names.
struct Upsert<'p> {
    key: Vec<u8>,
    token: Token,
    /// Columns and values.
    cells: Vec<(usize, &'p Value)>,
}

/// What refuses a value: a column's name, and the value.
pub(super) type Refuses = fn(&str, &Value) -> bool;

/// A plan's changes of a table on their way.
pub(super) struct Work<'w> {
    pub(super) table: &'w Table,
    pub(super) held: &'w mut TableContents,
    /// Tokens of the quarantined events of a key.
    pub(super) marks: &'w dyn Fn(&[u8]) -> Vec<Token>,
    pub(super) repair: bool,
    pub(super) refuses: Option<Refuses>,
}

impl Work<'_> {
    /// Applies the plan. After a failure the contents are whatever they are: the caller throws them away.
    pub(super) fn apply(&mut self, plan: &TablePlan) -> Result<TableOutcome, Failure> {
        let mut outcome = TableOutcome { superseded_in_batch: plan.collapsed, ..TableOutcome::default() };
        let upserts = self.upserts(plan)?;
        if self.table.contract == Contract::ChangeLog {
            self.append(&upserts, &mut outcome);
            return Ok(outcome);
        }
        let tombstones = self.tombstones();
        if let Some(token) = plan.truncate {
            self.truncate(token)?;
        }
        for orphan in &plan.orphans {
            outcome.count(self.orphan(orphan)?);
        }
        for upsert in &upserts {
            outcome.count(self.upsert(upsert)?);
        }
        for delete in plan.deletes.iter().filter(|_| self.table.delete != DeleteMode::Ignore) {
            outcome.count(self.delete(delete)?);
        }
        for partial in &plan.partials {
            outcome.count(self.partial(partial)?);
        }
        for upsert in &upserts {
            if self.fill(upsert)? {
                outcome.applied += 1;
                outcome.superseded_by_row -= 1;
            }
        }
        outcome.tombstones_delta = self.tombstones() - tombstones;
        outcome.applied += plan.truncates;
        Ok(outcome)
    }

    fn key(&self, values: &[&Value]) -> Result<Vec<u8>, Failure> {
        Memory::key(self.table, values)
    }

    fn name(&self, column: usize) -> &str {
        &self.table.shape.columns[column].name
    }

    fn upserts<'p>(&self, plan: &'p TablePlan) -> Result<Vec<Upsert<'p>>, Failure> {
        let rows = plan.upserts.iter().flat_map(|group| group.rows.iter().map(move |row| (group, row)));
        let upsert = |(group, row): (&'p crate::core::plan::UpsertGroup, &'p crate::core::plan::Upsert)| {
            let cells: Vec<(usize, &Value)> = group.columns.iter().copied().zip(&row.values).collect();
            let value = |at: &usize| cells.iter().find(|(column, _)| column == at).map(|(_, value)| *value);
            let key: Vec<&Value> = self.table.key.iter().filter_map(value).collect();
            Ok(Upsert { key: self.key(&key)?, token: row.token, cells })
        };
        rows.map(upsert).collect()
    }

    /// Tombstones as the destinations count them: with tokens in a side table a softly deleted row has one as well.
    fn tombstones(&self) -> i64 {
        let side = self.table.token_storage == TokenStorage::Side;
        let dead = |held: &&Held| match held {
            Held::Tombstone(_) => true,
            Held::Row(row) => side && row.deleted,
            Held::Logged(_) => false,
        };
        self.held.keys.values().filter(dead).count() as i64
    }

    /// Every record once.
    fn append(&mut self, upserts: &[Upsert<'_>], outcome: &mut TableOutcome) {
        for upsert in upserts {
            if self.held.keys.contains_key(&upsert.key) {
                outcome.superseded_by_row += 1;
            } else {
                let values = self.inserted(&upsert.cells);
                self.held.keys.insert(upsert.key.clone(), Held::Logged(values));
                outcome.applied += 1;
            }
        }
    }

    /// A new row: what is not carried is NULL.
    fn inserted(&self, cells: &[(usize, &Value)]) -> BTreeMap<String, Value> {
        let columns = self.table.shape.columns.iter().filter(|column| !column.generated);
        let mut values: BTreeMap<String, Value> = columns.map(|column| (column.name.clone(), Value::Null)).collect();
        values.extend(cells.iter().map(|(column, value)| (self.name(*column).to_owned(), Value::clone(value))));
        values
    }

    fn truncate(&mut self, token: Token) -> Result<(), Failure> {
        let tokens = self.held.keys.values().filter_map(Held::token).chain(self.held.truncate);
        self.comparable(token, tokens.collect())?;
        self.held.raise_truncate(token);
        let soft = self.table.delete == DeleteMode::Soft;
        self.held.keys.retain(|_, held| match held {
            Held::Row(row) if soft && row.token < token => {
                row.delete(token);
                true
            }
            Held::Row(row) => soft || row.token > token,
            Held::Tombstone(dead) => *dead > token,
            Held::Logged(_) => true,
        });
        Ok(())
    }

    /// Tokens of two sources are never compared.
    fn comparable(&self, token: Token, others: Vec<Token>) -> Result<(), Failure> {
        if others.iter().all(|other| other.comparable(&token)) {
            return Ok(());
        }
        let what = format!("table {}: an event and what is stored have tokens of different sources", self.table.name());
        Err(Failure::new(Class::Record, "incomparable_token", what))
    }

    /// Against what a change of a key loses, if it does.
    fn loses(&self, key: &[u8], token: Token, equal_wins: bool) -> Result<Option<Verdict>, Failure> {
        let held = self.held.keys.get(key);
        self.comparable(token, self.held.truncate.into_iter().chain(held.and_then(Held::token)).collect())?;
        if self.held.truncate.is_some_and(|truncate| truncate >= token) {
            return Ok(Some(Verdict::ByTruncate));
        }
        Ok(match held {
            Some(Held::Tombstone(dead)) if *dead >= token => Some(Verdict::ByTombstone),
            Some(Held::Row(row)) if row.token > token || (row.token == token && !equal_wins) => Some(self.by_row(row)),
            _ => None,
        })
    }

    /// With tokens in a side table the token of a softly deleted row is that of a tombstone.
    fn by_row(&self, row: &Row) -> Verdict {
        match self.table.token_storage {
            TokenStorage::Side if row.deleted => Verdict::ByTombstone,
            _ => Verdict::ByRow,
        }
    }

    /// The null value behind a delete that is gone: it deletes exactly the row that it was made for.
    fn orphan(&mut self, orphan: &Orphan) -> Result<Verdict, Failure> {
        let key = self.key(&orphan.key.iter().collect::<Vec<_>>())?;
        match self.held.keys.get_mut(&key) {
            Some(Held::Row(row)) if !row.deleted && row.token == orphan.token => {
                if self.table.delete == DeleteMode::Soft {
                    row.delete(orphan.below);
                } else {
                    self.held.keys.insert(key, Held::Tombstone(orphan.below));
                }
                Ok(Verdict::Wins)
            }
            _ => Ok(Verdict::ByRow),
        }
    }

    fn upsert(&mut self, upsert: &Upsert<'_>) -> Result<Verdict, Failure> {
        if let Some(lost) = self.loses(&upsert.key, upsert.token, self.repair)? {
            return Ok(lost);
        }
        let before = self.held.keys.get(&upsert.key);
        let mut values = match before {
            Some(Held::Row(row)) => row.values.clone(),
            _ if self.below_floor(upsert.token) => return Err(below_floor_failure(self.table.name())),
            _ => self.inserted(&[]),
        };
        values.extend(upsert.cells.iter().map(|(at, value)| (self.name(*at).to_owned(), Value::clone(value))));
        let row = Row { token: upsert.token, deleted: false, values, open: BTreeMap::new() };
        self.check(&row)?;
        self.held.keys.insert(upsert.key.clone(), Held::Row(row));
        Ok(Verdict::Wins)
    }

    fn below_floor(&self, token: Token) -> bool {
        self.held.floors.iter().any(|floor| floor.comparable(&token) && *floor >= token)
    }

    /// What a database checks of a row that is written.
    fn check(&self, row: &Row) -> Result<(), Failure> {
        for column in &self.table.shape.columns {
            let Some(value) = row.values.get(&column.name) else { continue };
            if value.is_null() && !column.nullable && !column.has_default {
                let what = format!("column {:?} of {}: NULL is not allowed", column.name, self.table.name());
                return Err(Failure::new(Class::Record, "null_in_not_null", what));
            }
            if self.refuses.is_some_and(|refuses| refuses(&column.name, value)) {
                let what = format!("column {:?} of {}: the value is refused", column.name, self.table.name());
                return Err(Failure::new(Class::Record, "23514", what));
            }
        }
        Ok(())
    }

    fn delete(&mut self, delete: &Delete) -> Result<Verdict, Failure> {
        let key = self.key(&delete.key.iter().collect::<Vec<_>>())?;
        let soft = self.table.delete == DeleteMode::Soft;
        if let Some(lost) = self.loses(&key, delete.token, self.repair && soft)? {
            return Ok(lost);
        }
        match self.held.keys.get_mut(&key) {
            Some(Held::Row(row)) if soft => row.delete(delete.token),
            _ => {
                self.held.keys.insert(key, Held::Tombstone(delete.token));
            }
        }
        Ok(Verdict::Wins)
    }

    /// An update that carries some columns: of each the newer value stays.
    fn partial(&mut self, partial: &Partial) -> Result<Verdict, Failure> {
        let key = self.key(&partial.key.iter().collect::<Vec<_>>())?;
        let refused = |reason| Failure::new(Class::Record, reason, format!("table {}", self.table.name()));
        match self.loses(&key, partial.token, true)? {
            Some(Verdict::ByRow) if self.held.keys.get(&key).and_then(Held::live).is_none() => {
                return Ok(Verdict::ByTombstone);
            }
            None | Some(Verdict::ByRow) => {}
            Some(lost) => return Ok(lost),
        }
        let before = self.held.keys.get(&key);
        // The delete itself came again.
        if before.is_some_and(|held| held.live().is_none() && held.token() == Some(partial.token)) {
            return Ok(Verdict::ByTombstone);
        }
        let Some(before) = before.and_then(Held::live) else { return Err(refused("partial_row")) };
        let mut row = before.clone();
        let equal = |held: Token, own: Token| self.repair && held == own;
        let mut changed = before.token < partial.token;
        let mut known: BTreeMap<String, Token> = before.open.clone();
        for column in &partial.missing {
            known.entry(self.name(*column).to_owned()).or_insert(before.token);
        }
        for cell in &partial.cells {
            let (name, held) = (self.name(cell.column), before.token_of(self.name(cell.column)));
            known.insert(name.to_owned(), held.max(cell.token));
            if held < cell.token || equal(held, cell.token) {
                row.values.insert(name.to_owned(), cell.value.clone());
                changed = true;
            }
        }
        row.token = before.token.max(partial.token);
        row.open = known.into_iter().filter(|(_, token)| *token < row.token).collect();
        // A quarantined event may hold what this one lacks.
        let hides = |mark: &Token| *mark < partial.token && row.open.values().any(|token| token < mark);
        if before.token < partial.token && (self.marks)(&key).iter().any(hides) {
            return Err(refused("held_back"));
        }
        if !changed {
            return Ok(Verdict::ByRow);
        }
        self.check(&row)?;
        self.held.keys.insert(key, Held::Row(row));
        Ok(Verdict::Wins)
    }

    /// A full row that lost to a newer one fills what that left open.
    fn fill(&mut self, upsert: &Upsert<'_>) -> Result<bool, Failure> {
        if self.held.truncate.is_some_and(|truncate| truncate >= upsert.token) {
            return Ok(false);
        }
        let Some(before) = self.held.keys.get(&upsert.key).and_then(Held::live) else { return Ok(false) };
        if before.token < upsert.token {
            return Ok(false);
        }
        let mut row = before.clone();
        for (column, value) in upsert.cells.iter().filter(|(column, _)| !self.table.key.contains(column)) {
            let name = self.name(*column);
            if before.token_of(name) < upsert.token {
                row.values.insert(name.to_owned(), Value::clone(value));
                row.open.insert(name.to_owned(), upsert.token);
            }
        }
        row.open.retain(|_, token| *token < row.token);
        if row == *before {
            return Ok(false);
        }
        self.check(&row)?;
        self.held.keys.insert(upsert.key.clone(), Held::Row(row));
        Ok(true)
    }
}

impl TableContents {
    /// The greatest TRUNCATE holds.
    pub(super) fn raise_truncate(&mut self, token: Token) {
        self.truncate = self.truncate.max(Some(token));
    }
}
