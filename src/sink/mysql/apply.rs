//! A plan in one transaction.
//!
//! 1. the compare-and-swap of the checkpoints;
//! 2. table by table: what is stored for the batch's keys is read and locked, the client decides, winners are written;
//! 3. in the order of the tables the short lock of each, and under it the re-check;
//! 4. the rest of the bookkeeping, COMMIT.
//!
//! # Why the re-check reads without locks
//!
//! Two writers of one key miss each other only if neither saw the other's row or tombstone, so only keys that had no
//! row when they were read are checked again. Each writer checks between taking the table's lock and COMMIT, so the
//! later one sees what the earlier one has committed, if every statement sees what is committed when it begins: that
//! is READ COMMITTED, which `connect` sets. A locking read would wait here for a writer that waits for the table's
//! lock: a deadlock in exactly the case that is to be cured.

use std::collections::HashSet;

use crate::core::collect::floors_moved;
use crate::core::failure::{Class, Failure};
use crate::core::guard::{Guard, stands};
use crate::core::parking::{self, Parking};
use crate::core::plan::{Applied, Plan, TableOutcome};
use crate::core::table::{Contract, DeleteMode, TokenStorage};
use crate::core::token::{PREFIX_BYTES, Token};
use crate::core::value::Value;
use crate::core::verdict::{Stored, StoredRow};
use crate::sink::{Statements, bookkeep, partial};

use super::changes::{Work, cut};
use super::classify::{classify_for, is_duplicate_key};
use super::related::Part;
use super::session::MysqlSession;
use super::values::Params;

/// How often rows are read again because another session inserted one of them first.
const ATTEMPTS: usize = 8;
/// Most rows of the statement that marks rows: its CASE compares each row with each key.
const MARK_ROWS: usize = 64;

impl MysqlSession {
    /// See [`crate::sink::Session::apply`].
    ///
    /// # Errors
    ///
    /// Beside what the server says: [`Class::Record`] `incomparable_token`, `row_too_large`, `null_in_not_null`,
    /// `out_of_range`; [`Class::Operator`] for tables that cannot be written safely.
    pub async fn apply(&mut self, plan: &Plan) -> Result<Applied, Failure> {
        let all: Vec<(usize, Part)> = (0..plan.tables.len()).map(|at| (at, Part::All)).collect();
        match self.attempt(plan, &all, false).await {
            Err(refused) if parking::may_help(plan, &refused) => {
                parking::outcome(refused, self.attempt(plan, &all, true).await)
            }
            Err(refused) if refused.is_foreign_key_violation() && !refused.connection_lost && all.len() > 1 => {
                let steps = self.steps_by_parents(plan).await?;
                parking::outcome(refused, self.attempt(plan, &steps, false).await)
            }
            outcome => outcome,
        }
    }

    async fn attempt(&mut self, plan: &Plan, steps: &[(usize, Part)], parks: bool) -> Result<Applied, Failure> {
        let mut works = plan.tables.iter().map(Work::new).collect::<Result<Vec<_>, _>>()?;
        works.iter_mut().for_each(|work| work.parks = parks);
        self.begin().await?;
        match self.apply_inside(plan, steps, &mut works).await {
            Ok(tables) => {
                self.commit().await?;
                Ok(Applied { tables })
            }
            Err(mut failure) => {
                if !failure.connection_lost && self.rollback().await.is_err() {
                    failure.connection_lost = true;
                }
                Err(failure)
            }
        }
    }

    async fn apply_inside(
        &mut self,
        plan: &Plan,
        steps: &[(usize, Part)],
        works: &mut [Work<'_>],
    ) -> Result<Vec<TableOutcome>, Failure> {
        bookkeep::advance(self, plan).await?;
        for work in works.iter_mut().filter(|work| is_side(work)) {
            self.lock(work).await?;
        }
        for work in works.iter_mut() {
            if work.table().contract == Contract::FinalState && !is_side(work) {
                let limits = bookkeep::limits(self, work.table().name()).await?;
                self.take_limits(work, limits).await?;
                work.raise_truncate(work.truncate_to_apply())?;
            }
            let orphans = bookkeep::delete_orphans(self, work.plan).await;
            let at = |failure: Failure| failure.context(format_args!("table {}", work.plan.table.name()));
            work.orphans = orphans.map_err(at)?;
        }
        for (at, part) in steps {
            let work = &mut works[*at];
            self.write(work, *part, plan.repair).await?;
            if work.table().contract == Contract::FinalState && *part != Part::Deletes {
                self.complete(work, plan.repair).await?;
            }
        }
        for work in works.iter_mut().filter(|work| needs_recheck(work)) {
            self.recheck(work).await?;
        }
        let outcomes: Vec<TableOutcome> = works.iter().map(Work::outcome).collect();
        bookkeep::finish(self, plan, &outcomes).await?;
        Ok(outcomes)
    }

    /// Partial rows, and full rows that lost to one.
    async fn complete(&mut self, work: &mut Work<'_>, repair: bool) -> Result<(), Failure> {
        let at = |failure: Failure| failure.context(format_args!("table {}", work.table().name()));
        let completed = partial::apply(self, work.plan, work.truncate, repair, work.lost()).await.map_err(at)?;
        work.complete(completed);
        Ok(())
    }

    /// Takes the table's lock and the truncate token that holds under it. A truncate of a table with side tokens is
    /// carried out at once, because nobody else writes there until the end of the transaction.
    async fn lock(&mut self, work: &mut Work<'_>) -> Result<(), Failure> {
        let ours = work.truncate_to_apply();
        let limits = bookkeep::lock_table(self, work.table().name(), ours).await?;
        self.take_limits(work, limits).await?;
        match (is_side(work), ours.and(work.truncate)) {
            (true, Some(token)) => self.truncate(work, token).await,
            _ => Ok(()),
        }
    }

    /// Takes in what holds for all keys of the table; floors that rose since the decisions undo the transaction.
    pub(super) async fn take_limits(&mut self, work: &mut Work<'_>, limits: bookkeep::Limits) -> Result<(), Failure> {
        work.raise_truncate(limits.truncate)?;
        match work.floor_version {
            None if limits.floor_version > 0 => work.floors = bookkeep::floors(self, work.table().name()).await?,
            Some(decided) if decided != limits.floor_version => return Err(floors_moved(work.table().name())),
            _ => {}
        }
        work.floor_version = Some(limits.floor_version);
        Ok(())
    }

    /// Reads, decides and writes until no statement meets a row that was not there when it was read.
    async fn write(&mut self, work: &mut Work<'_>, part: Part, repair: bool) -> Result<(), Failure> {
        let wanted = |index: &usize| part == Part::All || (part == Part::Upserts) == work.entries[*index].is_upsert();
        let mut pending: Vec<usize> = (0..work.entries.len()).filter(wanted).collect();
        for _ in 0..ATTEMPTS {
            if pending.is_empty() {
                return Ok(());
            }
            self.read(work, &pending).await?;
            work.decide(&pending, repair)?;
            pending.retain(|index| work.entries[*index].wins());
            pending = match work.table().contract {
                Contract::ChangeLog => self.write_groups(work, &pending, Rows::Insert).await?,
                Contract::FinalState if is_side(work) => self.write_with_side(work, &pending).await?,
                Contract::FinalState => self.write_winners(work, &pending).await?,
            };
        }
        let text = format!("table {}: other sessions keep inserting the same keys", work.table().name());
        if pending.is_empty() { Ok(()) } else { Err(Failure::new(Class::Transient, "contended", text)) }
    }

    pub(super) async fn read(&mut self, work: &mut Work<'_>, entries: &[usize]) -> Result<(), Failure> {
        for index in entries {
            work.entries[*index].stored = Stored::default();
        }
        let lock = work.table().contract == Contract::FinalState;
        if !is_side(work) {
            self.read_rows(work, entries, lock).await?;
        }
        if lock {
            self.read_side(work, entries, true).await?;
        }
        Ok(())
    }

    async fn read_rows(&mut self, work: &mut Work<'_>, entries: &[usize], lock: bool) -> Result<(), Failure> {
        let keys = work.table().key.len();
        for row in self.ask(work, entries, |work, rows| work.text.read_rows(rows, lock)).await? {
            let index = work.entry_of(&row[..keys])?;
            let token = row.get(keys).map_or(Ok(None), |value| work.token_of(value))?;
            work.entries[index].stored.row = token.map_or(StoredRow::Unversioned, StoredRow::At);
        }
        Ok(())
    }

    /// A side row is a tombstone; with side tokens it may also be the token of a live row.
    async fn read_side(&mut self, work: &mut Work<'_>, entries: &[usize], lock: bool) -> Result<(), Failure> {
        let keys = work.table().key.len();
        for row in self.ask(work, entries, |work, rows| work.text.read_side(rows, lock)).await? {
            let index = work.entry_of(&row[..keys])?;
            let token = row.get(keys).map_or(Ok(None), |value| work.token_of(value))?;
            let live = row.get(keys + 1).and_then(Value::as_int) == Some(0);
            match token {
                Some(token) if live => work.entries[index].stored.row = StoredRow::At(token),
                token => work.entries[index].stored.tombstone = token,
            }
        }
        Ok(())
    }

    /// Writes winners of a table whose rows carry their tokens. Returns the entries that have to be read again.
    pub(super) async fn write_winners(
        &mut self,
        work: &mut Work<'_>,
        winners: &[usize],
    ) -> Result<Vec<usize>, Failure> {
        let there = |work: &Work<'_>, index: &usize| work.entries[*index].stored.row != StoredRow::Absent;
        let (upserts, deletes): (Vec<usize>, Vec<usize>) =
            winners.iter().partition(|index| work.entries[**index].is_upsert());

        // Deletes free unique values.
        let marks = soft(work);
        let (marked, dead): (Vec<usize>, Vec<usize>) = deletes.iter().partition(|index| marks && there(work, index));
        self.mark(work, &marked).await?;
        let (raised, fresh): (Vec<usize>, Vec<usize>) =
            dead.iter().partition(|index| work.entries[**index].stored.tombstone.is_some());
        let refused = self.tell(work, &fresh, Shape::Side, |work, rows| work.text.insert_side(rows)).await?;
        self.tell(work, &raised, Shape::Side, |work, rows| work.text.upsert_side(rows)).await?;
        work.tombstones_delta += (fresh.len() - refused.len()) as i64;
        let gone: Vec<usize> =
            dead.iter().copied().filter(|index| there(work, index) && !refused.contains(index)).collect();
        self.tell(work, &gone, Shape::Key, |work, rows| work.text.delete_rows(rows)).await?;

        let (present, absent): (Vec<usize>, Vec<usize>) = upserts.iter().partition(|index| there(work, index));
        let mut again = self.write_upserts(work, present, absent).await?;
        let outlived = upserts.iter().chain(&marked).copied();
        let outlived: Vec<usize> = outlived
            .filter(|index| work.entries[*index].stored.tombstone.is_some() && !again.contains(index))
            .collect();
        self.drop_tombstones(work, &outlived).await?;
        again.extend(refused);
        Ok(again)
    }

    /// Writes winners of a table with side tokens, under its lock: first the side rows, then the rows.
    async fn write_with_side(&mut self, work: &mut Work<'_>, winners: &[usize]) -> Result<Vec<usize>, Failure> {
        self.tell(work, winners, Shape::Side, |work, rows| work.text.upsert_side(rows)).await?;
        let (upserts, deletes): (Vec<usize>, Vec<usize>) =
            winners.iter().partition(|index| work.entries[**index].is_upsert());
        self.remove(work, &deletes).await?;
        let (present, absent) = self.present(work, &upserts).await?;
        if !self.write_upserts(work, present, absent).await?.is_empty() {
            // Nobody else writes rows under the table's lock.
            let text = format!("table {}: rows appear that lastword did not write", work.table().name());
            return Err(Failure::new(Class::Transient, "contended", text));
        }
        for index in winners {
            let entry = &work.entries[*index];
            work.tombstones_delta += i64::from(!entry.is_upsert()) - i64::from(entry.stored.tombstone.is_some());
        }
        Ok(Vec::new())
    }

    /// Which rows are there, for tables that a second unique key makes it matter for: there a new row must not be written over
    /// what it clashes with. With side tokens this is not known from the tokens.
    async fn present(&mut self, work: &Work<'_>, entries: &[usize]) -> Result<(Vec<usize>, Vec<usize>), Failure> {
        if work.table().shape.unique_keys.is_empty() {
            return Ok((entries.to_vec(), Vec::new()));
        }
        let keys = work.table().key.len();
        let rows = self.ask(work, entries, |work, rows| work.text.read_rows(rows, true)).await?;
        let there = rows.iter().map(|row| work.entry_of(&row[..keys])).collect::<Result<HashSet<_>, _>>()?;
        Ok(entries.iter().partition(|index| there.contains(index)))
    }

    /// Writes rows over those that are there, and new ones. Returns the new ones that met a row.
    async fn write_upserts(
        &mut self,
        work: &Work<'_>,
        mut present: Vec<usize>,
        mut absent: Vec<usize>,
    ) -> Result<Vec<usize>, Failure> {
        if work.parks {
            let away = self.park(work, &present).await?;
            present.retain(|index| !away.contains(index));
            absent.extend(away);
        }
        self.write_groups(work, &present, Rows::Overwrite).await?;
        self.write_groups(work, &absent, Rows::Insert).await
    }

    /// Lets rows that will be written over go of their unique values. Returns those that have to be inserted again.
    async fn park(&mut self, work: &Work<'_>, present: &[usize]) -> Result<Vec<usize>, Failure> {
        let mut away = Vec::new();
        for (number, group) in work.plan.upserts.iter().enumerate() {
            let rows = work.of_group(present, number);
            match Parking::of(work.table(), &group.columns) {
                Parking::None => {}
                Parking::Null(columns) => {
                    self.tell(work, &rows, Shape::Key, |work, rows| work.text.park_rows(&columns, rows)).await?;
                }
                Parking::Away(_) => away.extend(rows),
            }
        }
        if !away.is_empty() {
            // A foreign key of a table that this account cannot see would take its rows along.
            self.execute("SET @lastword_fk = @@SESSION.foreign_key_checks, SESSION foreign_key_checks = 0", &[])
                .await?;
            let deleted = self.tell(work, &away, Shape::Key, |work, rows| work.text.delete_rows(rows)).await;
            self.execute("SET SESSION foreign_key_checks = @lastword_fk", &[]).await?;
            deleted?;
        }
        Ok(away)
    }

    /// Deletes rows as the table wants it: softly or really.
    async fn remove(&mut self, work: &Work<'_>, entries: &[usize]) -> Result<(), Failure> {
        if soft(work) {
            return self.mark(work, entries).await;
        }
        self.tell(work, entries, Shape::Key, |work, rows| work.text.delete_rows(rows)).await.map(drop)
    }

    async fn mark(&mut self, work: &Work<'_>, entries: &[usize]) -> Result<(), Failure> {
        for part in entries.chunks(MARK_ROWS) {
            self.tell(work, part, Shape::Mark, |work, rows| work.text.mark_rows(rows)).await?;
        }
        Ok(())
    }

    async fn drop_tombstones(&mut self, work: &mut Work<'_>, entries: &[usize]) -> Result<(), Failure> {
        self.tell(work, entries, Shape::Key, |work, rows| work.text.delete_side(rows)).await?;
        work.tombstones_delta -= entries.len() as i64;
        Ok(())
    }

    /// Writes upserts group by group. Returns those that met a row which was not there before (only for inserts).
    async fn write_groups(&mut self, work: &Work<'_>, entries: &[usize], rows: Rows) -> Result<Vec<usize>, Failure> {
        let mut refused = Vec::new();
        for (number, group) in work.plan.upserts.iter().enumerate() {
            let entries = work.of_group(entries, number);
            let columns = &group.columns;
            match rows {
                Rows::Insert => {
                    let text = |work: &Work<'_>, rows| work.text.insert_rows(columns, rows);
                    refused.extend(self.tell(work, &entries, Shape::Row, text).await?);
                }
                Rows::Overwrite if can_insert(work, columns) => {
                    let text = |work: &Work<'_>, rows| work.text.upsert_rows(columns, rows);
                    self.tell(work, &entries, Shape::Row, text).await?;
                }
                Rows::Overwrite => {
                    for index in entries {
                        self.overwrite_one(work, columns, index).await?;
                    }
                }
            }
        }
        Ok(refused)
    }

    /// Overwrites one row, or inserts it if it is not there (with side tokens that is not known before).
    async fn overwrite_one(&mut self, work: &Work<'_>, columns: &[usize], entry: usize) -> Result<(), Failure> {
        let mut params = Params::default();
        work.put_row(&mut params, entry, false)?;
        work.put_key(&mut params, entry)?;
        let text = work.text.update_row(columns);
        let found = self.run(&text, params).await.map_err(|error| classify_for(&error, &work.table().shape))?;
        if found == 0 {
            let text = |work: &Work<'_>, rows| work.text.insert_rows(columns, rows);
            self.tell(work, &[entry], Shape::Row, text).await?;
        }
        Ok(())
    }

    /// Under the table's lock: what two writers did to one key without seeing each other, and the truncate.
    pub(super) async fn recheck(&mut self, work: &mut Work<'_>) -> Result<(), Failure> {
        if !stands(Guard::Recheck) {
            return Ok(());
        }
        let decided = work.truncate;
        self.lock(work).await?;
        let unseen = |work: &Work<'_>, upserts: bool| -> Vec<usize> {
            let entries = work.entries.iter().enumerate();
            let unseen = entries.filter(|(_, entry)| entry.wins() && entry.is_upsert() == upserts);
            unseen.filter(|(_, entry)| entry.stored.row == StoredRow::Absent).map(|(index, _)| index).collect()
        };
        self.recheck_rows(work, unseen(work, true)).await?;
        self.recheck_tombstones(work, unseen(work, false)).await?;
        if let Some(token) = work.truncate.filter(|token| decided.is_none_or(|decided| decided < *token)) {
            let winners = work.entries.iter().enumerate().filter(|(_, entry)| entry.wins() && entry.is_upsert());
            let beaten =
                winners.filter(|(_, entry)| entry.row_token() <= &token).map(|(index, _)| index).collect::<Vec<_>>();
            for index in &beaten {
                work.comparable(work.entries[*index].token(), &token)?;
            }
            self.remove(work, &beaten).await?;
            work.recheck_deleted += beaten.len() as u64;
        }
        match work.truncate_to_apply().and(work.truncate) {
            Some(token) => self.truncate(work, token).await,
            None => Ok(()),
        }
    }

    /// Rows that we inserted, against tombstones that another writer has committed since.
    async fn recheck_rows(&mut self, work: &mut Work<'_>, rows: Vec<usize>) -> Result<(), Failure> {
        rows.iter().for_each(|index| work.entries[*index].stored.tombstone = None);
        self.read_side(work, &rows, false).await?;
        let (mut beaten, mut outlived) = (Vec::new(), Vec::new());
        for index in rows {
            let entry = &work.entries[index];
            if let Some(tombstone) = &entry.stored.tombstone {
                work.comparable(entry.row_token(), tombstone)?;
                if entry.row_token() <= tombstone { beaten.push(index) } else { outlived.push(index) }
            }
        }
        work.recheck_deleted += (beaten.len() + outlived.len()) as u64;
        self.tell(work, &beaten, Shape::Key, |work, rows| work.text.delete_rows(rows)).await?;
        self.drop_tombstones(work, &outlived).await
    }

    /// Tombstones that we wrote, against rows that another writer has committed since.
    async fn recheck_tombstones(&mut self, work: &mut Work<'_>, tombstones: Vec<usize>) -> Result<(), Failure> {
        self.read_rows(work, &tombstones, false).await?;
        let (mut beaten, mut outlived) = (Vec::new(), Vec::new());
        for index in tombstones {
            let entry = &work.entries[index];
            match &entry.stored.row {
                StoredRow::Absent => {}
                StoredRow::At(row) if row > entry.token() => outlived.push(index),
                StoredRow::At(_) | StoredRow::Vanished(_) | StoredRow::Unversioned => beaten.push(index),
            }
            if let StoredRow::At(row) = &entry.stored.row {
                work.comparable(entry.token(), row)?;
            }
        }
        work.recheck_deleted += (beaten.len() + outlived.len()) as u64;
        self.remove(work, &beaten).await?;
        if soft(work) {
            // The row is its own mark now, as if the delete had found it.
            outlived.append(&mut beaten);
        }
        self.drop_tombstones(work, &outlived).await
    }

    /// Carries a truncate out: every row that is older goes, or is marked.
    async fn truncate(&mut self, work: &Work<'_>, token: Token) -> Result<(), Failure> {
        let scope = Value::bytes(&token.as_bytes()[..PREFIX_BYTES]);
        for row in self.query(&work.text.other_scope(), &[scope]).await? {
            if let Some(other) = row.first().and_then(|value| work.token_of(value).transpose()) {
                work.comparable(&token, &other?)?;
            }
        }
        let token = Value::bytes(token.as_bytes());
        let at = |failure: Failure| failure.context(format_args!("TRUNCATE of table {}", work.table().name()));
        let text = if soft(work) { work.text.truncate_marks() } else { work.text.truncate_rows() };
        self.execute(&text, std::slice::from_ref(&token)).await.map_err(at)?;
        if is_side(work) {
            self.execute(&work.text.truncate_side(), &[token]).await.map_err(at)?;
        }
        Ok(())
    }

    /// Runs a query over the keys of some entries.
    async fn ask(
        &mut self,
        work: &Work<'_>,
        entries: &[usize],
        text: impl Fn(&Work<'_>, usize) -> String + Send,
    ) -> Result<Vec<Vec<Value>>, Failure> {
        let mut found = Vec::new();
        for (part, rung) in self.cut(work, entries, Shape::Key)? {
            let params = params_of(work, &entries[part], rung, Shape::Key)?;
            let at = |failure: Failure| failure.context(format_args!("table {}", work.table().name()));
            found.extend(self.fetch(&text(work, rung), params).await.map_err(at)?);
        }
        Ok(found)
    }

    /// Runs a statement over some entries. Returns the entries of the statements that met a duplicate key: the server
    /// has undone each of those as a whole.
    async fn tell(
        &mut self,
        work: &Work<'_>,
        entries: &[usize],
        shape: Shape,
        text: impl Fn(&Work<'_>, usize) -> String + Send,
    ) -> Result<Vec<usize>, Failure> {
        let mut refused = Vec::new();
        for (part, rung) in self.cut(work, entries, shape)? {
            let part = &entries[part];
            let params = params_of(work, part, rung, shape)?;
            match self.run(&text(work, rung), params).await {
                Ok(_) => {}
                Err(error) if is_duplicate_key(&error) && shape.may_meet() => refused.extend_from_slice(part),
                Err(error) => return Err(classify_for(&error, &work.table().shape)),
            }
        }
        Ok(refused)
    }

    fn cut(
        &self,
        work: &Work<'_>,
        entries: &[usize],
        shape: Shape,
    ) -> Result<Vec<(std::ops::Range<usize>, usize)>, Failure> {
        let table = work.table();
        let bytes: Vec<usize> = entries.iter().map(|index| work.bytes(*index, shape == Shape::Row)).collect();
        let placeholders = match shape {
            Shape::Key => table.key.len(),
            Shape::Side => table.key.len() + 2,
            Shape::Mark => 2 * table.key.len() + 1,
            Shape::Row => table.shape.columns.len() + 1,
        };
        cut(&bytes, placeholders, shape == Shape::Key, self.server().max_packet).map_err(|_| {
            let text = format!("table {}: a row is larger than the server's max_allowed_packet", table.name());
            Failure::new(Class::Record, "row_too_large", text)
        })
    }
}

/// How upserts are written.
#[derive(Clone, Copy)]
enum Rows {
    /// As new rows.
    Insert,
    /// Over rows that are there and locked.
    Overwrite,
}

/// Parameters of a statement for one entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The key.
    Key,
    /// A row of the side table.
    Side,
    /// A row of the target.
    Row,
    /// Key and token of each row, then the keys.
    Mark,
}

impl Shape {
    /// Whether a duplicate key shows another session, not an error: only inserts can meet one.
    fn may_meet(self) -> bool {
        matches!(self, Self::Side | Self::Row)
    }
}

fn params_of(work: &Work<'_>, entries: &[usize], rung: usize, shape: Shape) -> Result<Params, Failure> {
    let mut params = Params::default();
    let last = entries.last().into_iter().cycle();
    let padded = || entries.iter().chain(last.clone()).take(rung).copied();
    if shape == Shape::Mark && work.text.token_in_row() {
        for index in padded() {
            work.put_key(&mut params, index)?;
            params.token(work.entries[index].token())?;
        }
    }
    for index in padded() {
        match shape {
            Shape::Key | Shape::Mark => work.put_key(&mut params, index)?,
            Shape::Side => work.put_side(&mut params, index)?,
            Shape::Row => work.put_row(&mut params, index, true)?,
        }
    }
    Ok(params)
}

fn is_side(work: &Work<'_>) -> bool {
    work.table().token_storage == TokenStorage::Side && work.table().contract == Contract::FinalState
}

fn soft(work: &Work<'_>) -> bool {
    work.table().delete == DeleteMode::Soft
}

fn needs_recheck(work: &Work<'_>) -> bool {
    let alone = work.table().single_writer && work.truncate_to_apply().is_none();
    work.table().contract == Contract::FinalState && !is_side(work) && !alone
}

/// Whether rows with these columns alone can be inserted: every other column is nullable, or has a value of its own.
fn can_insert(work: &Work<'_>, columns: &[usize]) -> bool {
    let missing = work.table().shape.columns.iter().enumerate().filter(|(index, _)| !columns.contains(index));
    missing.into_iter().all(|(_, column)| column.nullable || column.has_default || column.generated)
}
