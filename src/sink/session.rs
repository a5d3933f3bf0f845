//! A session of any destination: bookkeeping statements, descriptions, and plans.

use std::future::Future;
use std::sync::Arc;

use crate::core::dialect::Dialect;
use crate::core::failure::Failure;
use crate::core::guard::{Guard, stands};
use crate::core::plan::{Applied, Plan};
use crate::core::table::{TableName, TableShape};
use crate::core::value::Value;
use crate::failpoint::failpoint;

use super::mysql::MysqlSession;
use super::postgres::PostgresSession;
use super::proxy::ProxySession;
use super::sqlite::SqliteSession;

/// Statements with positional parameters, one after the other, on one connection.
///
/// Text uses the database's own placeholders (`$1` in PostgreSQL, `?` in the others). Results come back as [`Value`]s:
/// whole numbers as `Int`, text as `Text`, bytes as `Bytes`, NULL as `Null`, truth values as `Bool` (PostgreSQL) or `Int`.
/// Every error is classified before it is returned; after one with `connection_lost` the session must be dropped.
/// Futures must not be dropped half-way (a `select!` or a time-out around them): the session would be left inside a
/// statement. Whoever needs a time-out runs the session in a task of its own.
pub trait Statements: Send {
    /// The language of the statements.
    fn dialect(&self) -> Dialect;

    /// Runs a statement and returns the number of rows it affected.
    fn execute(&mut self, sql: &str, params: &[Value]) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Runs a statement once for each list of parameters and returns the number of rows that all of them affected.
    fn execute_each(&mut self, sql: &str, rows: &[Vec<Value>]) -> impl Future<Output = Result<u64, Failure>> + Send {
        async move {
            let mut affected = 0;
            for params in rows {
                affected += self.execute(sql, params).await?;
            }
            Ok(affected)
        }
    }

    /// Runs a query and returns all its rows.
    fn query(&mut self, sql: &str, params: &[Value]) -> impl Future<Output = Result<Vec<Vec<Value>>, Failure>> + Send;

    /// Begins a transaction: READ COMMITTED said explicitly, in SQLite `BEGIN IMMEDIATE`.
    fn begin(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Commits. An error here is [`crate::core::failure::Class::Unknown`] unless the server itself refused.
    fn commit(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Rolls back; a failure only shows that the connection is gone.
    fn rollback(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A session of one of the destinations.
#[derive(Debug)]
pub enum Session {
    /// PostgreSQL.
    Postgres(PostgresSession),
    /// MySQL and MariaDB.
    Mysql(MysqlSession),
    /// SQLite.
    Sqlite(SqliteSession),
    /// Any of them, behind something that may fail.
    Proxy(ProxySession),
}

macro_rules! each {
    ($self:expr, $session:ident => $call:expr) => {
        match $self {
            Session::Postgres($session) => $call,
            Session::Mysql($session) => $call,
            Session::Sqlite($session) => $call,
            Session::Proxy($session) => $call,
        }
    };
}

impl Session {
    /// Identity of this session in the database, as the checkpoint stores it and a newcomer may end it: the backend's
    /// process id and start in PostgreSQL, the connection id in MySQL, nothing in SQLite.
    pub fn identity(&self) -> Option<String> {
        each!(self, session => session.identity())
    }

    /// Ends a session that a checkpoint row names, if it still is one of lastword's. SQLite has none.
    pub async fn end_other(&mut self, identity: &str) -> Result<bool, Failure> {
        each!(self, session => session.end_other(identity).await)
    }

    /// Describes a table; `None` if it does not exist.
    pub async fn describe(&mut self, name: &TableName) -> Result<Option<TableShape>, Failure> {
        each!(self, session => session.describe(name).await)
    }

    /// Applies a plan in one transaction, the checkpoints in it. `Ok` is the proof of its commit; after an error nothing of
    /// it is there, but for [`crate::core::failure::Class::Unknown`].
    pub async fn apply(&mut self, plan: &Plan) -> Result<Applied, Failure> {
        let mut applied = match (stands(Guard::OneTransaction), &mut *self) {
            // What stands behind it is a session like this one, and counts for itself.
            (true, Self::Proxy(session)) => return session.apply(plan).await,
            (true, Self::Postgres(session)) => session.apply(plan).await?,
            (true, Self::Mysql(session)) => session.apply(plan).await?,
            (true, Self::Sqlite(session)) => session.apply(plan).await?,
            (false, _) => self.apply_in_two(plan).await?,
        };
        failpoint!(APPLY_COMMITTED);
        for (outcome, table) in applied.tables.iter_mut().zip(&plan.tables) {
            outcome.applied += table.truncates;
        }
        Ok(applied)
    }

    /// What must never be done: the checkpoints first, and the rows in a transaction of their own.
    async fn apply_in_two(&mut self, plan: &Plan) -> Result<Applied, Failure> {
        let (owner, pipeline) = (Arc::clone(&plan.checkpoint_owner), Arc::clone(&plan.pipeline));
        let first = Plan { checkpoint_owner: owner, pipeline, advances: plan.advances.clone(), ..Plan::default() };
        let second = Plan { advances: Vec::new(), ..plan.clone() };
        each!(self, session => session.apply(&first).await)?;
        failpoint!(APPLY_BETWEEN);
        each!(self, session => session.apply(&second).await)
    }
}

impl Statements for Session {
    fn dialect(&self) -> Dialect {
        each!(self, session => session.dialect())
    }

    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, Failure> {
        each!(self, session => session.execute(sql, params).await)
    }

    async fn execute_each(&mut self, sql: &str, rows: &[Vec<Value>]) -> Result<u64, Failure> {
        each!(self, session => session.execute_each(sql, rows).await)
    }

    async fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>, Failure> {
        each!(self, session => session.query(sql, params).await)
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        each!(self, session => session.begin().await)
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        each!(self, session => session.commit().await)
    }

    async fn rollback(&mut self) -> Result<(), Failure> {
        each!(self, session => session.rollback().await)
    }
}
