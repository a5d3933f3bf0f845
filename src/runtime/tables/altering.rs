//! Tables follow their events: what is missing is added, what is narrow is widened, or the statement for it is named.
//!
//! # Why one statement at a time, each after a fresh look
//!
//! MySQL commits with every statement, so a process can end between two. Whoever comes next describes the table as it is then and goes
//! on from there; nothing has to be remembered. A lock that only those take who alter a table keeps two processes that
//! meet the same change apart: the second finds nothing left to do. The batch that needs the change is planned afterwards, outside
//! of any of this.
//!
//! # Why the wait for the table is short
//!
//! A statement that waits for a table behind a long reader makes everybody wait who comes after it. So it gives up soon and is
//! tried again; if the reader stays, the partition stops and looks again by itself.
//!
//! # Why no fence
//!
//! A process that lost its partition may still alter the table. Every change adds or widens: what the new owner writes still fits.

use std::time::Duration;

use crate::config::checked::TableRule;
use crate::core::dialect::Dialect;
use crate::core::dialect::alter::{self, Definition, Remedy};
use crate::core::event::{Op, Rejection};
use crate::core::evolve::{Difference, Evolve, Lack, Shown, differences, join};
use crate::core::failure::{Class, Failure};
use crate::core::table::{Column, Contract, Table, TableName, TableShape, fnv1a, side_table_name};
use crate::core::value::Value;
use crate::core::wire::TableSpec;
use crate::failpoint::failpoint;
use crate::sink::{Session, Statements};

use super::making::{is_there_already, server};
use super::{Met, Planned, Refused, Tables};

/// Tries of a statement that waits for its table.
const TRIES: u32 = 3;
/// Before the next one.
const PAUSE: Duration = Duration::from_millis(500);
/// Seconds that a statement waits for its table.
const WAIT_S: u64 = 2;
/// First half of the number of the advisory lock in PostgreSQL; the other is the table's.
const LOCK_CLASS: i64 = 0x6c77_6576;
/// What a table is compared with.
struct Wanted<'w> {
    rule: &'w TableRule,
    spec: &'w TableSpec,
    shown: Shown<'w>,
}

impl Wanted<'_> {
    fn differences(&self, shape: &TableShape) -> Vec<Difference> {
        differences(self.rule.evolve, shape, self.shown)
    }
}

/// What events show of their rows.
pub(super) fn shown<'s>(met: &Met<'s>, spec: &'s TableSpec) -> Shown<'s> {
    let whole = met.op == Op::Upsert && met.row.is_some();
    Shown { fields: &spec.fields, key: &spec.key, whole, misfit: met.misfit }
}

impl Tables {
    /// Brings a table to what its events need, or refuses it with the statements that would.
    pub(super) async fn evolved(
        &self,
        session: &mut Session,
        rule: &TableRule,
        spec: &TableSpec,
        met: &Met<'_>,
        mut shape: TableShape,
    ) -> Result<TableShape, Refused> {
        let wanted = Wanted { rule, spec, shown: shown(met, spec) };
        let (mut tries, mut before) = (0, Vec::new());
        loop {
            let found = wanted.differences(&shape);
            if found.is_empty() {
                return Ok(shape);
            }
            let remedies = remedies(session, &wanted, &shape, &found).await?;
            let resolved = |(found, remedy): (&Difference, &Remedy)| rule.evolve.resolves(&found.lack) && remedy.runs;
            // A statement that changes nothing (a column whose name differs in case only) would be run for ever.
            let runs = found.iter().zip(&remedies).all(resolved) && found != before;
            if !runs && self.may_change {
                // What cannot be run was perhaps made of two looks, with another process' statement between them.
                let again = self.find(session, &spec.name).await?.unwrap_or_else(|| shape.clone());
                if again != shape {
                    shape = again;
                    continue;
                }
            }
            if !runs || !self.may_change {
                self.planned(remedies.iter().map(|remedy| Planned {
                    table: shape.name.to_string(),
                    statement: remedy.text.clone(),
                    runs,
                }));
                return Err(Refused::Table(refusal(rule.evolve, &shape, &found, &remedies, runs)));
            }
            match self.alter(session, &wanted, &shape.name).await {
                Ok(true) => before = found,
                // Under the lock nothing was left to do, or MariaDB did not show the table just then: someone else is at it.
                Ok(false) if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(false) => before = found,
                Err(Refused::Database(failure)) if failure.class == Class::Transient && !failure.connection_lost => {
                    tries += 1;
                    if tries >= TRIES {
                        let what = format!("{} is in use: {failure}; trying again: {}", shape.name, text_of(&remedies));
                        return Err(Refused::Table(Rejection::table("table_busy", what)));
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(refused) => return Err(refused),
            }
            let described = self.find(session, &spec.name).await?;
            let gone = || Rejection::table("no_table", format!("{} is gone while it was altered", spec.name));
            shape = described.ok_or_else(|| Refused::Table(gone()))?;
        }
    }

    /// Runs the first statement that is needed; false if none was.
    async fn alter(&self, session: &mut Session, wanted: &Wanted<'_>, name: &TableName) -> Result<bool, Refused> {
        self.lock(session, name).await?;
        let done = self.alter_locked(session, wanted).await;
        self.unlock(session, name, done.is_ok()).await?;
        done
    }

    async fn alter_locked(&self, session: &mut Session, wanted: &Wanted<'_>) -> Result<bool, Refused> {
        let Some(shape) = self.find(session, &wanted.spec.name).await? else { return Ok(false) };
        let Some(first) = wanted.differences(&shape).into_iter().next() else { return Ok(false) };
        let found = remedies(session, wanted, &shape, std::slice::from_ref(&first)).await?;
        let Some(remedy) = found.into_iter().next().filter(|remedy| remedy.runs) else { return Ok(false) };
        // Keys are written to both tables: the one beside first, so that at no time a key fits only the other.
        if let Lack::Narrow(kind) = &first.lack
            && wanted.spec.key.contains(&first.column)
            && let Some(at) = shape.position(&first.column)
            && let Some(native) = alter::wider_key(session.dialect(), &shape.columns[at], kind)
        {
            let storage = wanted.rule.token_storage;
            let side = side_name(session.dialect(), &side_table_name(&shape.name, storage));
            let target = Column { kind: kind.clone(), ..shape.columns[at].clone() };
            if let Some(statement) = side_statement(session, &side, &target, &native).await? {
                run(session, &side, &statement).await?;
            }
        }
        run(session, &shape.name, &remedy.text).await.map(|()| true)
    }

    /// Keeps others out who alter this table.
    async fn lock(&self, session: &mut Session, name: &TableName) -> Result<(), Failure> {
        let number = fnv1a(name.to_string().as_bytes());
        match session.dialect() {
            Dialect::Sqlite => session.begin().await,
            Dialect::Postgres => {
                session.begin().await?;
                let numbers = [Value::Int(LOCK_CLASS), Value::Int(i64::from(number as u32 as i32))];
                let locked = session.query("select pg_advisory_xact_lock($1::int4, $2::int4)", &numbers).await;
                let limited = match locked {
                    Ok(_) => session.execute(&format!("set local lock_timeout = '{WAIT_S}s'"), &[]).await,
                    Err(failure) => Err(failure),
                };
                if let Err(failure) = limited {
                    session.rollback().await?;
                    return Err(failure);
                }
                Ok(())
            }
            Dialect::Mysql => {
                let seconds = self.config.sink.lock_timeout.as_secs().max(1);
                let wait = Value::from(i64::try_from(seconds).unwrap_or(i64::MAX));
                let found = session.query("select get_lock(?, ?)", &[Value::from(lock_name(number)), wait]).await?;
                if found.first().and_then(|row| row.first()?.as_int()) != Some(1) {
                    let what = format!("another process alters {name}");
                    return Err(Failure::new(Class::Transient, "mysql 1205", what));
                }
                session.execute(&format!("set session lock_wait_timeout = {WAIT_S}"), &[]).await.map(drop)
            }
        }
    }

    async fn unlock(&self, session: &mut Session, name: &TableName, done: bool) -> Result<(), Failure> {
        match session.dialect() {
            Dialect::Sqlite | Dialect::Postgres if done => session.commit().await,
            Dialect::Sqlite | Dialect::Postgres => session.rollback().await,
            Dialect::Mysql => {
                let seconds = self.config.sink.lock_timeout.as_secs().max(1);
                session.execute(&format!("set session lock_wait_timeout = {seconds}"), &[]).await?;
                let number = fnv1a(name.to_string().as_bytes());
                session.query("select release_lock(?)", &[Value::from(lock_name(number))]).await.map(drop)
            }
        }
    }

    /// A table whose key was widened by someone else keeps its tombstones in the same types.
    pub(super) async fn side_follows(&self, session: &mut Session, table: &Table) -> Result<(), Refused> {
        if table.contract != Contract::FinalState || session.dialect() == Dialect::Sqlite {
            return Ok(());
        }
        let side = side_name(session.dialect(), &table.side_name());
        for column in table.key.iter().map(|at| &table.shape.columns[*at]) {
            let Some(statement) = side_statement(session, &side, column, &column.native).await? else { continue };
            self.lock(session, table.name()).await?;
            let done = run(session, &side, &statement).await;
            self.unlock(session, table.name(), done.is_ok()).await?;
            done?;
        }
        Ok(())
    }
}

fn lock_name(number: u64) -> String {
    format!("lastword_alter_{number:016x}")
}

fn side_name(dialect: Dialect, side: &str) -> TableName {
    match dialect {
        Dialect::Postgres => TableName::new(Some("lastword"), side),
        Dialect::Mysql | Dialect::Sqlite => TableName::new(None, &format!("lastword_{side}")),
    }
}

/// The statement that gives a key column of a side table the type of its table's; `None` if it holds as much already.
async fn side_statement(
    session: &mut Session,
    side: &TableName,
    wanted: &Column,
    native: &str,
) -> Result<Option<String>, Failure> {
    let Some(shape) = session.describe(side).await? else { return Ok(None) };
    let Some(at) = shape.position(&wanted.name) else { return Ok(None) };
    let column = &shape.columns[at];
    if column.kind == wanted.kind || join(&column.kind, &wanted.kind).as_ref() != Some(&wanted.kind) {
        return Ok(None);
    }
    let definition = definition(session, &shape.name, column).await?;
    let remedy = definition.map(|text| alter::retype(session.dialect(), &shape.name, column, native, &text));
    Ok(remedy.filter(|remedy| remedy.runs).map(|remedy| remedy.text))
}

/// Runs a statement. What the database refuses for good stops this table only.
async fn run(session: &mut Session, table: &TableName, statement: &str) -> Result<(), Refused> {
    tracing::info!(%table, statement, "altering");
    failpoint!(ALTER_BEGUN);
    let altered = session.execute(statement, &[]).await;
    failpoint!(ALTER_DONE);
    match altered {
        Ok(_) => Ok(()),
        Err(failure) if is_there_already(&failure) => Ok(()),
        // A deadlock with another process' statement, say: nothing is wrong with this one.
        Err(failure) if failure.class == Class::Transient || failure.connection_lost => Err(Refused::Database(failure)),
        Err(failure) => {
            let what = format!("{table} cannot be altered: {failure}; the statement was: {statement}");
            Err(Refused::Table(Rejection::table("cannot_alter", what)))
        }
    }
}

async fn remedies(
    session: &mut Session,
    wanted: &Wanted<'_>,
    shape: &TableShape,
    found: &[Difference],
) -> Result<Vec<Remedy>, Failure> {
    let server = server(session).await?;
    let mut remedies = Vec::new();
    for difference in found {
        let column = shape.position(&difference.column).map(|at| &shape.columns[at]);
        let definition = match column {
            Some(column) => definition(session, &shape.name, column).await?,
            None => Some(Definition::new()),
        };
        let dialect = session.dialect();
        let mut remedy =
            alter::remedy(dialect, (wanted.spec, &server), shape, difference, &definition.clone().unwrap_or_default());
        // Said again only in part, a definition would lose the rest.
        remedy.runs &= definition.is_some();
        remedies.push(remedy);
    }
    Ok(remedies)
}

async fn definition(session: &mut Session, table: &TableName, column: &Column) -> Result<Option<Definition>, Failure> {
    let dialect = session.dialect();
    let quoted = dialect.table(table);
    let text = |rows: Vec<Vec<Value>>, at: usize| {
        let cell = rows.into_iter().next()?.into_iter().nth(at)?;
        cell.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok()).map(str::to_owned)
    };
    Ok(match dialect {
        Dialect::Sqlite => Some(Definition::new()),
        Dialect::Postgres => {
            let params = [Value::from(quoted), Value::from(column.name.as_str())];
            let sql = include_str!("../../../sql/postgres/column_collation.sql");
            text(session.query(sql, &params).await?, 0)
        }
        Dialect::Mysql => {
            let create = text(session.query(&format!("show create table {quoted}"), &[]).await?, 1);
            create.and_then(|create| alter::mysql_definition(&create, column))
        }
    })
}

fn text_of(remedies: &[Remedy]) -> String {
    let texts: Vec<&str> = remedies.iter().map(|remedy| remedy.text.as_str()).collect();
    texts.join("; ")
}

/// Why a table is refused, and what resolves it.
fn refusal(evolve: Evolve, shape: &TableShape, found: &[Difference], remedies: &[Remedy], runs: bool) -> Rejection {
    let told = |difference: &Difference| {
        let name = &difference.column;
        let native = shape.position(name).map_or("", |at| shape.columns[at].native.as_str());
        match &difference.lack {
            Lack::Missing => format!("there is no column {name:?}"),
            Lack::Narrow(_) => format!("column {name:?} ({native}) is too narrow"),
            Lack::Apart => format!("column {name:?} ({native}) is of another kind"),
            Lack::NotNull => format!("column {name:?} is NOT NULL"),
            Lack::NotCarried => format!("column {name:?} is NOT NULL without a default, and they do not carry it"),
        }
    };
    let reason = match found.first().map(|difference| &difference.lack) {
        _ if runs => "would_alter",
        Some(Lack::Missing) if evolve != Evolve::Validate => "unknown_column",
        Some(Lack::NotCarried) => "column_not_carried",
        _ => "schema_differs",
    };
    let what: Vec<String> = found.iter().map(told).collect();
    let hint = match reason {
        "unknown_column" => {
            "; or leave the column out with `exclude_columns`, or let lastword add it with `evolve = \"add\"`"
        }
        _ => "",
    };
    let (table, what) = (&shape.name, what.join(", "));
    Rejection::table(
        reason,
        format!("{table} is not as its events need it: {what}. Resolved by: {}{hint}", text_of(remedies)),
    )
}
