//! A plan in one transaction.
//!
//! 1. `BEGIN IMMEDIATE`, the compare-and-swap of the checkpoints;
//! 2. table by table: a TRUNCATE; what is stored for the batch's keys is read; the client decides; winners are written;
//! 3. the rest of the bookkeeping, COMMIT.
//!
//! # Why the client decides, and nothing is checked again
//!
//! The transaction has held the database's one write lock since it began: what it read stays true until it commits. So a decision
//! that is made from what was read is as good as a guard inside the statement, it is counted exactly, and tokens that cannot be
//! compared are seen before anything of their table is written. Two writers that miss each other's row and tombstone, which is
//! what the re-check of the other destinations is for, cannot exist.
//!
//! Only what could beat an event is read (see [`TableText::stored`]): for keys that are new, or whose stored token is smaller,
//! nothing comes back.

use crate::core::collect::{below, below_floor_failure, makes_below};
use crate::core::dialect::rungs;
use crate::core::dialect::sqlite::{MAX_PARAMETERS, MAX_ROWS, TableText};
use crate::core::failure::{Class, Failure};
use crate::core::parking::{self, Parking};
use crate::core::plan::{Applied, Plan, TableOutcome, TablePlan};
use crate::core::table::{Contract, DeleteMode, TokenStorage};
use crate::core::token::Token;
use crate::core::value::Value;
use crate::core::verdict::{Incomparable, Judge, Stored, StoredRow, Verdict};
use crate::sink::{Statements, bookkeep, partial};

use super::SqliteSession;
use super::values::{Cell, bind, bind_to};

impl SqliteSession {
    /// See [`crate::sink::Session::apply`].
    pub async fn apply(&mut self, plan: &Plan) -> Result<Applied, Failure> {
        match self.attempt(plan, false).await {
            Err(refused) if parking::may_help(plan, &refused) => {
                parking::outcome(refused, self.attempt(plan, true).await)
            }
            outcome => outcome,
        }
    }

    async fn attempt(&mut self, plan: &Plan, parks: bool) -> Result<Applied, Failure> {
        self.begin().await?;
        // Tables of the pipeline that refer to each other are written in any order: foreign keys are checked by COMMIT.
        self.execute("pragma defer_foreign_keys = on", &[]).await?;
        match self.apply_inside(plan, parks).await {
            Ok(tables) => {
                self.commit().await?;
                Ok(Applied { tables })
            }
            Err(mut failure) => {
                if let Err(second) = self.rollback().await {
                    failure.connection_lost |= second.connection_lost;
                }
                Err(failure)
            }
        }
    }

    async fn apply_inside(&mut self, plan: &Plan, parks: bool) -> Result<Vec<TableOutcome>, Failure> {
        bookkeep::advance(self, plan).await?;
        let mut outcomes = Vec::with_capacity(plan.tables.len());
        for table in &plan.tables {
            let outcome = self.apply_table(table, plan.repair, parks).await;
            outcomes.push(outcome.map_err(|failure| failure.context(format_args!("table {}", table.table.name())))?);
        }
        bookkeep::finish(self, plan, &outcomes).await?;
        Ok(outcomes)
    }

    async fn apply_table(&mut self, plan: &TablePlan, repair: bool, parks: bool) -> Result<TableOutcome, Failure> {
        let mut work = Work::new(plan);
        if plan.table.contract == Contract::ChangeLog {
            self.append(&mut work).await?;
        } else {
            let limits = self.truncate(&mut work).await?;
            if limits.floor_version > 0 {
                work.floors = bookkeep::floors(self, plan.table.name()).await?;
            }
            work.outcome += &bookkeep::delete_orphans(self, plan).await?;
            self.read(&mut work).await?;
            work.decide(&Judge { truncate: limits.truncate, marks: work.soft() && work.text.mark_in_row(), repair })?;
            // Deletes free unique values.
            self.write_deletes(&mut work).await?;
            if parks {
                self.park(&work).await?;
            }
            self.write_rows(&work).await?;
            self.write_side(&mut work).await?;
            let lost = work.entries.iter().filter(|entry| entry.verdict == Verdict::ByRow);
            let lost = lost.filter_map(|entry| entry.row.map(|(group, _)| (group, entry.place))).collect();
            partial::apply(self, plan, limits.truncate, repair, lost).await?.count(&mut work.outcome);
        }
        Ok(work.outcome)
    }

    async fn append(&mut self, work: &mut Work<'_>) -> Result<(), Failure> {
        for (number, group) in work.plan.upserts.iter().enumerate() {
            let entries = work.of_group(number, |_| true);
            let appended = self.run(work, &entries, Shape::Row, |text, rows| text.append(&group.columns, rows)).await?;
            work.outcome.applied += appended;
            work.outcome.superseded_by_row += entries.len() as u64 - appended;
        }
        Ok(())
    }

    /// Carries a TRUNCATE of the batch out and returns the limits that hold. It comes first: what of the batch is
    /// older loses to the token, what is newer is written after it.
    async fn truncate(&mut self, work: &mut Work<'_>) -> Result<bookkeep::Limits, Failure> {
        let name = work.plan.table.name();
        let Some(ours) = work.plan.truncate else { return bookkeep::limits(self, name).await };
        let holds = bookkeep::lock_table(self, name, Some(ours)).await?;
        let parameter = [Value::bytes(ours.as_bytes())];
        if !self.query(&work.text.truncate_incomparable(), &parameter).await?.is_empty() {
            return Err(incomparable("a TRUNCATE and a row have tokens of different sources"));
        }
        let before = self.tombstones(work).await?;
        for statement in work.text.truncate() {
            self.execute(&statement, &parameter).await?;
        }
        work.outcome.tombstones_delta += self.tombstones(work).await? - before;
        Ok(holds)
    }

    async fn tombstones(&mut self, work: &Work<'_>) -> Result<i64, Failure> {
        let rows = self.query(&work.text.count_tombstones(), &[]).await?;
        Ok(rows.first().and_then(|row| row.first()).and_then(Value::as_int).unwrap_or(0))
    }

    async fn read(&mut self, work: &mut Work<'_>) -> Result<(), Failure> {
        // Which rows are there has to be known only where it decides between two statements.
        let (some, all): (Vec<usize>, Vec<usize>) =
            (0..work.entries.len()).partition(|entry| !work.needs_presence(*entry));
        for (entries, all) in [(some, false), (all, true)] {
            let mut from = 0;
            for rows in rungs(entries.len(), Shape::Dated.max_rows(work)) {
                let part = &entries[from..from + rows];
                from += rows;
                let cells = cells(work, part, Shape::Dated)?;
                for row in self.fetch(&work.text.stored(rows, all), cells).await? {
                    let place = row.first().and_then(Value::as_int).and_then(|place| usize::try_from(place).ok());
                    if let Some(entry) = place.and_then(|place| part.get(place)) {
                        work.entries[*entry].found = Found::from_row(&row, work.plan.table.token_storage)?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn write_rows(&mut self, work: &Work<'_>) -> Result<(), Failure> {
        for (number, group) in work.plan.upserts.iter().enumerate() {
            let columns = &group.columns;
            let over = |entry: &Entry<'_>| !work.can_insert[number] && entry.found.present;
            let written = work.of_group(number, |entry| entry.wins() && over(entry));
            self.run(work, &written, Shape::Row, |text, rows| text.update(columns, rows)).await?;
            let written = work.of_group(number, |entry| entry.wins() && !over(entry));
            self.run(work, &written, Shape::Row, |text, rows| text.upsert(columns, rows)).await?;
        }
        Ok(())
    }

    /// Lets rows that will be written over go of their unique values.
    async fn park(&mut self, work: &Work<'_>) -> Result<(), Failure> {
        for (number, group) in work.plan.upserts.iter().enumerate() {
            let winners = work.of_group(number, Entry::wins);
            match Parking::of(&work.plan.table, &group.columns) {
                Parking::None => {}
                Parking::Null(columns) => {
                    self.run(work, &winners, Shape::Key, |text, rows| text.park(&columns, rows)).await?;
                }
                Parking::Away(_) => {
                    self.run(work, &winners, Shape::Key, TableText::delete).await?;
                }
            }
        }
        Ok(())
    }

    async fn write_deletes(&mut self, work: &mut Work<'_>) -> Result<(), Failure> {
        let deletes = work.matching(|entry| entry.wins() && !entry.is_upsert());
        if !work.soft() {
            self.run(work, &deletes, Shape::Key, TableText::delete).await?;
        } else if work.text.mark_in_row() {
            let there: Vec<usize> = deletes.into_iter().filter(|entry| work.entries[*entry].found.present).collect();
            self.run(work, &there, Shape::Dated, TableText::mark).await?;
        }
        Ok(())
    }

    /// Tombstones of what was deleted; those that a row has beaten go. With side tokens the token of every winner.
    async fn write_side(&mut self, work: &mut Work<'_>) -> Result<(), Failure> {
        if work.plan.table.token_storage == TokenStorage::Side {
            let winners = work.matching(Entry::wins);
            self.run(work, &winners, Shape::Side, TableText::bury).await?;
            for entry in winners.iter().map(|entry| &work.entries[*entry]) {
                work.outcome.tombstones_delta +=
                    i64::from(!entry.is_upsert()) - i64::from(entry.found.stored.tombstone.is_some());
            }
            return Ok(());
        }
        // A softly deleted row carries the token itself.
        let marks = work.soft();
        let in_row = |entry: &Entry<'_>| entry.is_upsert() || (marks && entry.found.present);
        let dead = work.matching(|entry| entry.wins() && !in_row(entry));
        self.run(work, &dead, Shape::Dated, TableText::bury).await?;
        let fresh = dead.iter().filter(|entry| work.entries[**entry].found.stored.tombstone.is_none()).count();
        let outlived = work.matching(|entry| entry.wins() && in_row(entry) && entry.found.stored.tombstone.is_some());
        self.run(work, &outlived, Shape::Key, TableText::exhume).await?;
        work.outcome.tombstones_delta += fresh as i64 - outlived.len() as i64;
        Ok(())
    }

    /// Runs a statement over some entries, in as few calls as the rungs of the ladder allow. Returns the affected rows.
    async fn run<'w>(
        &mut self,
        work: &Work<'w>,
        entries: &[usize],
        shape: Shape,
        text: impl Fn(&TableText<'w>, usize) -> String + Send,
    ) -> Result<u64, Failure> {
        let (mut affected, mut from) = (0, 0);
        let mut last = (0, String::new());
        for rows in rungs(entries.len(), shape.max_rows(work)) {
            if last.0 != rows {
                last = (rows, text(&work.text, rows));
            }
            affected += self.tell(&last.1, cells(work, &entries[from..from + rows], shape)?).await?;
            from += rows;
        }
        Ok(affected)
    }
}

/// What was found for a key.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    stored: Stored,
    /// The row is there. Known only where it was asked for, or where the key's token is not smaller than the event's.
    present: bool,
}

impl Found {
    /// From a row of [`TableText::stored`].
    fn from_row(row: &[Value], storage: TokenStorage) -> Result<Self, Failure> {
        let truth = |at: usize| row.get(at).and_then(Value::as_int) == Some(1);
        let (in_row, side, present, dead) = (token(row.get(1))?, token(row.get(2))?, truth(3), truth(4));
        let live = match storage {
            TokenStorage::Column => in_row.map(StoredRow::At),
            TokenStorage::Side if dead => None,
            TokenStorage::Side => {
                side.map(|token| if present { StoredRow::At(token) } else { StoredRow::Vanished(token) })
            }
        };
        let other = if present { StoredRow::Unversioned } else { StoredRow::Absent };
        Ok(Self { stored: Stored { row: live.unwrap_or(other), tombstone: side.filter(|_| dead) }, present })
    }
}

fn token(value: Option<&Value>) -> Result<Option<Token>, Failure> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_bytes().and_then(Token::from_bytes).map(Some).ok_or_else(|| {
            Failure::operator("damaged_token", "a stored token has the wrong length; was it changed by hand?")
        }),
    }
}

fn incomparable(what: &str) -> Failure {
    Failure::new(Class::Record, "incomparable_token", what)
}

/// The changes of one table on their way.
struct Work<'a> {
    plan: &'a TablePlan,
    text: TableText<'a>,
    entries: Vec<Entry<'a>>,
    /// For each group of upserts: whether its columns suffice for a new row.
    can_insert: Vec<bool>,
    /// The table's floors.
    floors: Vec<Token>,
    outcome: TableOutcome,
}

/// An upsert or a delete.
struct Entry<'a> {
    token: Token,
    /// Group and values of an upsert.
    row: Option<(usize, &'a [Value])>,
    /// Its place in its group.
    place: usize,
    key: Vec<&'a Value>,
    found: Found,
    verdict: Verdict,
}

impl Entry<'_> {
    fn is_upsert(&self) -> bool {
        self.row.is_some()
    }

    fn wins(&self) -> bool {
        self.verdict == Verdict::Wins
    }
}

impl<'a> Work<'a> {
    fn new(plan: &'a TablePlan) -> Self {
        let table = &*plan.table;
        let mut entries = Vec::with_capacity(plan.upsert_count() + plan.deletes.len());
        for (number, group) in plan.upserts.iter().enumerate() {
            let places: Vec<usize> =
                table.key.iter().filter_map(|at| group.columns.iter().position(|column| column == at)).collect();
            entries.extend(group.rows.iter().enumerate().map(|(place, row)| Entry {
                token: row.token,
                row: Some((number, row.values.as_slice())),
                place,
                key: places.iter().map(|at| &row.values[*at]).collect(),
                found: Found::default(),
                verdict: Verdict::Wins,
            }));
        }
        // With `ignore` no deletes come; were there any, they would do nothing.
        if table.delete != DeleteMode::Ignore {
            entries.extend(plan.deletes.iter().map(|delete| Entry {
                token: delete.token,
                row: None,
                place: 0,
                key: delete.key.iter().collect(),
                found: Found::default(),
                verdict: Verdict::Wins,
            }));
        }
        let needed = |columns: &[usize]| {
            let missing = table.shape.columns.iter().enumerate().filter(|(at, _)| !columns.contains(at));
            missing.into_iter().all(|(_, column)| column.nullable || column.has_default || column.generated)
        };
        let can_insert = plan.upserts.iter().map(|group| needed(&group.columns)).collect();
        let outcome = TableOutcome { superseded_in_batch: plan.collapsed, ..TableOutcome::default() };
        Self { plan, text: TableText::new(table), entries, can_insert, floors: Vec::new(), outcome }
    }

    fn soft(&self) -> bool {
        self.plan.table.delete == DeleteMode::Soft
    }

    fn needs_presence(&self, entry: usize) -> bool {
        match self.entries[entry].row {
            Some((group, _)) => !self.can_insert[group] || below(&self.floors, &self.entries[entry].token),
            None => self.soft(),
        }
    }

    fn matching(&self, wanted: impl Fn(&Entry<'a>) -> bool) -> Vec<usize> {
        (0..self.entries.len()).filter(|entry| wanted(&self.entries[*entry])).collect()
    }

    fn of_group(&self, group: usize, wanted: impl Fn(&Entry<'a>) -> bool) -> Vec<usize> {
        self.matching(|entry| entry.row.is_some_and(|(of, _)| of == group) && wanted(entry))
    }

    fn decide(&mut self, judge: &Judge) -> Result<(), Failure> {
        for entry in &mut self.entries {
            let verdict = judge.verdict(&entry.token, entry.row.is_some(), &entry.found.stored);
            entry.verdict = verdict.map_err(|Incomparable(_)| {
                incomparable("an event and what is stored for its key have tokens of different sources")
            })?;
            let stored = &entry.found.stored;
            if entry.is_upsert() && makes_below(&self.floors, &entry.token, stored, entry.verdict) {
                return Err(below_floor_failure(self.plan.table.name()));
            }
            self.outcome.count(entry.verdict);
        }
        Ok(())
    }
}

/// Parameters of an entry in a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The key.
    Key,
    /// Key and token.
    Dated,
    /// Key, token, and whether it is deleted, where tokens are kept aside.
    Side,
    /// The values of an upsert, and its token where rows carry it.
    Row,
}

impl Shape {
    fn max_rows(self, work: &Work<'_>) -> usize {
        let width = match self {
            Self::Row => work.plan.table.shape.columns.len() + 1,
            _ => work.plan.table.key.len() + 2,
        };
        (MAX_PARAMETERS / width).clamp(1, MAX_ROWS)
    }
}

fn cells(work: &Work<'_>, entries: &[usize], shape: Shape) -> Result<Vec<Cell>, Failure> {
    let mut cells = Vec::new();
    let token = |cells: &mut Vec<Cell>, entry: &Entry<'_>| bind(cells, &Value::bytes(entry.token.as_bytes()));
    for entry in entries.iter().map(|entry| &work.entries[*entry]) {
        match (shape, entry.row) {
            (Shape::Row, Some((group, values))) => {
                for (value, column) in values.iter().zip(work.plan.upserts[group].columns.iter()) {
                    bind_to(&mut cells, value, &work.plan.table.shape.columns[*column])?;
                }
                if work.text.token_in_row() {
                    token(&mut cells, entry)?;
                }
            }
            (Shape::Row, None) => {
                return Err(Failure::new(Class::Operator, "internal", "a delete has no row to write"));
            }
            _ => {
                for (value, column) in entry.key.iter().zip(&work.plan.table.key) {
                    bind_to(&mut cells, value, &work.plan.table.shape.columns[*column])?;
                }
                if shape != Shape::Key {
                    token(&mut cells, entry)?;
                }
                if shape == Shape::Side {
                    bind(&mut cells, &Value::Bool(!entry.is_upsert()))?;
                }
            }
        }
    }
    Ok(cells)
}
