//! A plan as one transaction (section 5 of the design): stages, compare-and-swap, guarded changes, the tables' short locks
//! with the re-check, the rest of the bookkeeping, COMMIT.

use futures_util::future::join_all;

use crate::core::collect::{below_floor_failure, floors_moved};
use crate::core::dialect::postgres::TableSql;
use crate::core::failure::{Class, Failure};
use crate::core::guard::{Guard, stands};
use crate::core::parking;
use crate::core::plan::{Applied, Plan, TableOutcome, TablePlan};
use crate::core::table::{Contract, TokenStorage};
use crate::core::token::Token;
use crate::core::value::Value;
use crate::sink::{Statements, bookkeep, partial};

use super::session::{Done, PostgresSession, encode_params, run};

/// One table's part of the transaction.
pub(super) struct Part<'a> {
    plan: &'a TablePlan,
    sql: TableSql<'a>,
    /// The truncate token that the changes are compared with.
    truncate: Option<Token>,
    repair: bool,
    /// The version of the floors that they were compared with.
    floor_version: i64,
    /// Rows let go of their unique values before any is written over.
    parks: bool,
    outcome: TableOutcome,
}

impl<'a> Part<'a> {
    fn new(plan: &'a TablePlan, repair: bool, parks: bool) -> Self {
        let outcome = TableOutcome { superseded_in_batch: plan.collapsed, ..TableOutcome::default() };
        let sql = TableSql::new(&plan.table, repair);
        Self { plan, sql, truncate: None, repair, floor_version: 0, parks, outcome }
    }

    fn is_empty(&self) -> bool {
        self.plan.upserts.is_empty() && self.plan.deletes.is_empty()
    }

    fn is_log(&self) -> bool {
        self.plan.table.contract == Contract::ChangeLog
    }

    fn is_side(&self) -> bool {
        self.plan.table.token_storage == TokenStorage::Side
    }

    /// The TRUNCATE of the batch, where the table takes deletes at all.
    fn own_truncate(&self) -> Option<Token> {
        self.plan.truncate.filter(|_| self.sql.takes_deletes())
    }

    /// Books lost events by what beat them; returns those that lost to their row. Another writer can have changed things
    /// between the statements: never more than were lost.
    fn lose(&mut self, lost: u64, truncated: u64, buried: u64) -> u64 {
        let truncated = truncated.min(lost);
        let buried = buried.min(lost - truncated);
        self.outcome.superseded_by_truncate += truncated;
        self.outcome.superseded_by_tombstone += buried;
        lost - truncated - buried
    }
}

/// A statement to send, with its parameters.
struct Step {
    sql: String,
    params: Vec<Value>,
}

impl Step {
    fn new(sql: String, params: impl IntoIterator<Item = Value>) -> Self {
        Self { sql, params: params.into_iter().collect() }
    }

    /// A statement whose only parameter is the one that gives it a fresh plan.
    fn plain(sql: String) -> Self {
        Self::new(sql, [Value::Int(1)])
    }
}

fn bytes(token: Option<Token>) -> Value {
    token.map_or(Value::Null, |token| Value::bytes(token.as_bytes()))
}

impl PostgresSession {
    /// Applies a plan in one transaction; see [`crate::sink::Session::apply`]. After an error the transaction is rolled
    /// back and the session can be used again, unless the failure says `connection_lost`.
    pub async fn apply(&mut self, plan: &Plan) -> Result<Applied, Failure> {
        match self.attempt(plan, false).await {
            Err(refused) if parking::may_help(plan, &refused) => {
                parking::outcome(refused, self.attempt(plan, true).await)
            }
            outcome => outcome,
        }
    }

    async fn attempt(&mut self, plan: &Plan, parks: bool) -> Result<Applied, Failure> {
        match self.transaction(plan, parks).await {
            Err(mut failure) if failure.class != Class::Unknown && !failure.connection_lost => {
                failure.connection_lost = self.rollback().await.is_err();
                Err(failure)
            }
            outcome => outcome,
        }
    }

    async fn transaction(&mut self, plan: &Plan, parks: bool) -> Result<Applied, Failure> {
        let parts = self.open(plan, parks).await?;
        self.close(plan, parts).await
    }

    /// The first part of the transaction: stages, compare-and-swap, changes.
    pub(super) async fn open<'a>(&mut self, plan: &'a Plan, parks: bool) -> Result<Vec<Part<'a>>, Failure> {
        let mut parts: Vec<Part<'a>> = plan.tables.iter().map(|table| Part::new(table, plan.repair, parks)).collect();
        for part in parts.iter().filter(|part| !part.is_empty()) {
            self.make_stage(&part.plan.table, &part.sql).await.map_err(|failure| located(failure, part))?;
        }
        self.begin().await?;
        for part in parts.iter().filter(|part| !part.is_empty()) {
            self.fill_stage(part.plan, &part.sql).await.map_err(|failure| located(failure, part))?;
        }
        bookkeep::advance(self, plan).await?;
        self.read_limits(&mut parts).await?;
        for part in &mut parts {
            let orphans = bookkeep::delete_orphans(self, part.plan).await;
            part.outcome += &orphans.map_err(|failure| located(failure, part))?;
            self.change(part).await.map_err(|failure| located(failure, part))?;
        }
        Ok(parts)
    }

    /// The second part: the tables' short locks with the re-check, the rest of the bookkeeping, COMMIT.
    pub(super) async fn close(&mut self, plan: &Plan, mut parts: Vec<Part<'_>>) -> Result<Applied, Failure> {
        for part in &mut parts {
            self.recheck(part).await.map_err(|failure| located(failure, part))?;
        }
        let outcomes: Vec<TableOutcome> = parts.into_iter().map(|part| part.outcome).collect();
        bookkeep::finish(self, plan, &outcomes).await?;
        self.commit().await?;
        Ok(Applied { tables: outcomes })
    }

    /// Reads the tables' limits. A TRUNCATE in the batch takes its effect first, under the lock; then all tables are
    /// locked here, in their order, so that locks are never taken against it.
    async fn read_limits(&mut self, parts: &mut [Part<'_>]) -> Result<(), Failure> {
        let any = parts.iter().any(|part| part.own_truncate().is_some());
        for part in parts.iter_mut().filter(|part| !part.is_log()) {
            let name = part.plan.table.name();
            let limits = match any {
                true => bookkeep::lock_table(self, name, part.own_truncate()).await?,
                false => bookkeep::limits(self, name).await?,
            };
            (part.truncate, part.floor_version) = (limits.truncate, limits.floor_version);
        }
        Ok(())
    }

    async fn change(&mut self, part: &mut Part<'_>) -> Result<(), Failure> {
        if part.is_log() {
            return self.append(part).await;
        }
        if let (Some(token), Some(own)) = (part.truncate, part.own_truncate()) {
            self.truncate(part, token, own).await?;
        }
        if part.floor_version > 0 && !part.plan.upserts.is_empty() {
            self.check_floor(part).await?;
        }
        match (part.is_empty(), part.is_side()) {
            (true, _) => {}
            (false, false) => self.change_by_column(part).await?,
            (false, true) => self.change_by_side(part).await?,
        }
        self.complete(part).await
    }

    /// Partial rows, and full rows that lost to one. Which upserts lost is not known here, only that some did; a row that lost is
    /// locked all the same.
    async fn complete(&mut self, part: &mut Part<'_>) -> Result<(), Failure> {
        let lost = match part.outcome.superseded_by_row {
            0 => Vec::new(),
            _ => partial::all_upserts(part.plan),
        };
        let completed = partial::apply(self, part.plan, part.truncate, part.repair, lost).await?;
        completed.count(&mut part.outcome);
        Ok(())
    }

    /// Refuses rows that would be new but are not above the table's floor. What is read here stays true until the table's lock
    /// is taken: a row that vanishes leaves a tombstone, and one that is collected moves the floors.
    async fn check_floor(&mut self, part: &Part<'_>) -> Result<(), Failure> {
        let name = part.plan.table.name();
        let step = Step::new(part.sql.below_floor(), [bytes(part.truncate), Value::from(name.to_string())]);
        match self.run_steps(vec![step]).await?[0].count(0) {
            0 => Ok(()),
            _ => Err(below_floor_failure(name)),
        }
    }

    async fn append(&mut self, part: &mut Part<'_>) -> Result<(), Failure> {
        if part.plan.table.shape.primary_key.is_empty() {
            return Err(Failure::operator("change_log", "a change log needs a primary key (the event's identity)"));
        }
        let groups = part.plan.upserts.iter().zip(1_i64..);
        let steps = groups.map(|(group, op)| Step::new(part.sql.append(&group.columns), [Value::Int(op)]));
        let done = self.run_steps(steps.collect()).await?;
        part.outcome.applied = done.iter().map(|done| done.affected).sum();
        part.outcome.superseded_by_row = (part.plan.upsert_count() as u64).saturating_sub(part.outcome.applied);
        Ok(())
    }

    /// TRUNCATE of the whole table: what `token` (the greatest known) beats goes, or is marked.
    async fn truncate(&mut self, part: &mut Part<'_>, token: Token, own: Token) -> Result<(), Failure> {
        if !token.comparable(&own) {
            return Err(incomparable());
        }
        let step = |sql| Step::new(sql, [bytes(Some(token))]);
        let differing = self.run_steps(vec![step(part.sql.truncate_incomparable())]).await?;
        if differing[0].count(0) > 0 {
            return Err(incomparable());
        }
        if part.is_side() {
            let mut steps = vec![step(part.sql.side_truncate())];
            steps.extend(part.sql.side_truncate_rows().map(step));
            steps.extend(part.sql.side_truncate_unknown().map(Step::plain));
            let done = self.run_steps(steps).await?;
            part.outcome.tombstones_delta += done[0].affected as i64;
        } else {
            let done = self.run_steps(vec![step(part.sql.truncate()), step(part.sql.truncate_tombstones())]).await?;
            part.outcome.tombstones_delta -= done[1].affected as i64;
        }
        Ok(())
    }

    /// Changes of a table that carries its tokens itself: deletes (they free unique values), tombstones, upserts, outlived
    /// tombstones.
    async fn change_by_column(&mut self, part: &mut Part<'_>) -> Result<(), Failure> {
        let truncate = bytes(part.truncate);
        let groups = part.plan.upserts.len();
        let mut steps = Vec::with_capacity(groups + 3);
        if !part.plan.deletes.is_empty() {
            steps.push(Step::new(part.sql.delete(), [truncate.clone()]));
            steps.push(Step::new(part.sql.bury(), [truncate.clone()]));
        }
        let numbered = || part.plan.upserts.iter().zip(1_i64..);
        for (group, op) in numbered().filter(|_| part.parks) {
            let park = part.sql.park(&group.columns);
            steps.extend(park.map(|sql| Step::new(sql, [truncate.clone(), Value::Int(op)])));
        }
        let first = steps.len();
        for (group, op) in numbered() {
            steps.push(Step::new(part.sql.upsert(&group.columns), [truncate.clone(), Value::Int(op)]));
        }
        if groups > 0 {
            steps.push(Step::plain(part.sql.exhume()));
        }
        let done = self.run_steps(steps).await?;
        let (before, written) = done.split_at(first);
        let upserted: u64 = written[..groups].iter().map(|done| done.affected).sum();
        let (mut deleted, mut delta) = (0, 0);
        if let (false, [gone, buried, ..]) = (part.plan.deletes.is_empty(), before) {
            // A tombstone that was written or raised counts once, with or without a row; so does a row without one.
            deleted = buried.count(0) + gone.count(1);
            delta += buried.count(1) as i64;
        }
        delta -= written[groups..].iter().map(|exhumed| exhumed.affected as i64).sum::<i64>();
        part.outcome.tombstones_delta += delta;
        self.account(part, false, part.plan.upsert_count() as u64, upserted).await?;
        self.account(part, true, part.plan.deletes.len() as u64, deleted).await
    }

    /// Changes of a table whose tokens are in the side table: the side rows decide, then the winners' rows follow.
    async fn change_by_side(&mut self, part: &mut Part<'_>) -> Result<(), Failure> {
        let mut steps = vec![Step::new(part.sql.side_win(), [bytes(part.truncate)])];
        if !part.plan.deletes.is_empty() {
            steps.extend(part.sql.side_delete().map(Step::plain));
        }
        let numbered = || part.plan.upserts.iter().zip(1_i64..);
        for (group, op) in numbered().filter(|_| part.parks) {
            steps.extend(part.sql.side_park(&group.columns).map(|sql| Step::new(sql, [Value::Int(op)])));
        }
        for (group, op) in numbered() {
            steps.push(Step::new(part.sql.side_upsert(&group.columns), [Value::Int(op)]));
        }
        let done = self.run_steps(steps).await?;
        part.outcome.tombstones_delta += done[0].count(1) as i64 - done[0].count(2) as i64;
        let staged = part.plan.upsert_count() + part.plan.deletes.len();
        self.account_side(part, staged as u64, done[0].count(0)).await
    }

    async fn account_side(&mut self, part: &mut Part<'_>, staged: u64, applied: u64) -> Result<(), Failure> {
        part.outcome.applied += applied;
        if applied >= staged {
            return Ok(());
        }
        let mut lost = staged - applied;
        for deletes in [false, true] {
            let (truncated, buried) = self.count_lost(part, deletes).await?;
            lost = part.lose(lost, truncated, buried);
        }
        part.outcome.superseded_by_row += lost;
        Ok(())
    }

    /// Counts what was applied, and to what the rest lost.
    async fn account(&mut self, part: &mut Part<'_>, deletes: bool, staged: u64, applied: u64) -> Result<(), Failure> {
        part.outcome.applied += applied;
        if applied >= staged {
            return Ok(());
        }
        let (truncated, buried) = self.count_lost(part, deletes).await?;
        let by_row = part.lose(staged - applied, truncated, buried);
        part.outcome.superseded_by_row += by_row;
        Ok(())
    }

    /// Events lost to the truncate token, and to tombstones. Fails if any of them cannot be compared with what is stored.
    async fn count_lost(&mut self, part: &Part<'_>, deletes: bool) -> Result<(u64, u64), Failure> {
        let step = Step::new(part.sql.count_lost(), [bytes(part.truncate), Value::Bool(deletes)]);
        let done = self.run_steps(vec![step]).await?;
        if done[0].count(2) > 0 {
            return Err(incomparable());
        }
        Ok((done[0].count(0), done[0].count(1)))
    }

    /// Under the table's lock, with fresh statements, which see what other writers committed meanwhile: rows that a
    /// tombstone or the truncate token beats go, tombstones that a row beats go.
    async fn recheck(&mut self, part: &mut Part<'_>) -> Result<(), Failure> {
        if part.is_log() || part.is_empty() || part.plan.table.single_writer || !stands(Guard::Recheck) {
            return Ok(());
        }
        let limits = bookkeep::lock_table(self, part.plan.table.name(), None).await?;
        if limits.floor_version != part.floor_version {
            return Err(floors_moved(part.plan.table.name()));
        }
        let truncate = limits.truncate;
        let step = |sql| Step::new(sql, [bytes(truncate)]);
        if part.is_side() {
            // Two writers of a key meet on its side row; only a TRUNCATE can have passed unseen.
            if truncate.is_some() {
                let marked = self.run_steps(vec![step(part.sql.side_recheck_truncate())]).await?[0].affected;
                if let (1.., Some(rows)) = (marked, part.sql.side_truncate_rows()) {
                    self.run_steps(vec![step(rows)]).await?;
                }
                part.outcome.recheck_deleted += marked;
                part.outcome.tombstones_delta += marked as i64;
            }
            return Ok(());
        }
        let mut rows = vec![Step::plain(part.sql.recheck())];
        let mut tombstones = vec![Step::plain(part.sql.exhume())];
        // The statements' own guard against TRUNCATE is backed by this one: they fall together.
        if truncate.is_some() && stands(Guard::Truncate) {
            rows.push(step(part.sql.recheck_truncate()));
            tombstones.push(step(part.sql.recheck_truncate_tombstones()));
        }
        let split = rows.len();
        rows.append(&mut tombstones);
        let done = self.run_steps(rows).await?;
        let affected = |done: &[Done]| done.iter().map(|done| done.affected).sum::<u64>();
        part.outcome.recheck_deleted += affected(&done);
        part.outcome.tombstones_delta -= affected(&done[split..]) as i64;
        Ok(())
    }

    /// Sends statements in one go and returns what each brought; the first error counts.
    async fn run_steps(&mut self, steps: Vec<Step>) -> Result<Vec<Done>, Failure> {
        let mut ready = Vec::with_capacity(steps.len());
        for step in steps {
            let statement = self.prepared(&step.sql).await?;
            let params = encode_params(&statement, &step.params)?;
            ready.push((statement, params));
        }
        let client = &self.client;
        let all = join_all(ready.iter().map(|(statement, params)| run(client, statement, params))).await;
        let done: Result<Vec<Done>, tokio_postgres::Error> = all.into_iter().collect();
        done.map_err(|error| self.failed(&error))
    }
}

fn located(failure: Failure, part: &Part<'_>) -> Failure {
    failure.context(format!("table {}", part.plan.table.name()))
}

fn incomparable() -> Failure {
    let message =
        "a token cannot be compared with what is stored: the source, the connector or the topic is another one";
    Failure::new(Class::Record, "incomparable_token", message)
}
