//! One connection: statements with values in and out, transactions, and the end of somebody else's session.

use std::fmt;
use std::time::Duration;

use sqlx::mysql::{MySqlConnection, MySqlQueryResult};
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr, SqlStr};

use crate::core::dialect::Dialect;
use crate::core::failure::{Class, Failure};
use crate::core::value::Value;
use crate::sink::Statements;

use super::classify::{classify, is_rolled_back};
use super::connect::lock_name;
use super::values::{Params, decode_row};

/// Longest wait for a session that was killed.
const KILL_WAIT: Duration = Duration::from_secs(2);
const KILL_POLL: Duration = Duration::from_millis(50);

/// What was learnt of the server when the session began.
#[derive(Debug)]
pub(super) struct Server {
    /// MariaDB, not MySQL.
    pub(super) mariadb: bool,
    /// `max_allowed_packet` in bytes.
    pub(super) max_packet: usize,
    /// Names of tables and databases are the same in upper and lower case.
    pub(super) folds_names: bool,
    /// See [`MysqlSession::identity`].
    pub(super) identity: Option<String>,
}

/// A session on a MySQL or MariaDB server. Not a pool: what a lane does, it does on this connection.
pub struct MysqlSession {
    connection: MySqlConnection,
    server: Server,
    /// Set while a statement is under way: if it is set before one begins, a future was dropped half-way.
    busy: bool,
}

impl fmt::Debug for MysqlSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlSession").field("server", &self.server).field("busy", &self.busy).finish_non_exhaustive()
    }
}

/// The one place where text becomes a statement. All text comes from `sql/` or from [`crate::core::dialect`]: names
/// are quoted there, and values are parameters.
fn statement(text: &str) -> SqlStr {
    AssertSqlSafe(text).into_sql_str()
}

impl MysqlSession {
    pub(super) fn new(connection: MySqlConnection) -> Self {
        let server = Server { mariadb: false, max_packet: 1024, folds_names: false, identity: None };
        Self { connection, server, busy: false }
    }

    pub(super) fn set_server(&mut self, server: Server) {
        self.server = server;
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// See [`crate::sink::Session::identity`]: `<connection id>/<microsecond of its opening>`, `None` where the server
    /// has no named locks to prove it by.
    pub fn identity(&self) -> Option<String> {
        self.server.identity.clone()
    }

    /// See [`crate::sink::Session::end_other`]: kills the connection if it still is the one that the identity names,
    /// which its named lock proves, and has our user and database. Waits up to 2 s until it is gone and says whether
    /// it is.
    pub async fn end_other(&mut self, identity: &str) -> Result<bool, Failure> {
        let parts = identity.split_once('/').map(|(id, opened)| (id.parse::<i64>(), opened.parse::<i64>()));
        let Some((Ok(id), Ok(opened))) = parts else {
            return Ok(false);
        };
        if self.server.identity.as_deref() == Some(identity) || !self.is_running(id, opened).await? {
            return Ok(false);
        }
        match self.run_text(&format!("KILL CONNECTION {id}")).await {
            Ok(_) => {}
            // No such thread: it ended by itself.
            Err(error) if classify(&error).code == "mysql 1094" => return Ok(true),
            Err(error) => return Err(classify(&error).context("ending a former session")),
        }
        let deadline = tokio::time::Instant::now() + KILL_WAIT;
        while self.is_listed(id).await? {
            if tokio::time::Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(KILL_POLL).await;
        }
        Ok(true)
    }

    async fn is_running(&mut self, id: i64, opened: i64) -> Result<bool, Failure> {
        let holder = self.query("SELECT IS_USED_LOCK(?)", &[Value::from(lock_name(id, opened))]).await?;
        let holder = holder.first().and_then(|row| row.first()).and_then(Value::as_int);
        Ok(holder == Some(id) && self.is_listed(id).await?)
    }

    async fn is_listed(&mut self, id: i64) -> Result<bool, Failure> {
        let found = self
            .query(
                "SELECT ID FROM information_schema.PROCESSLIST WHERE ID = ? AND DB = DATABASE() \
                 AND USER = SUBSTRING_INDEX(USER(), '@', 1)",
                &[Value::Int(id)],
            )
            .await?;
        Ok(!found.is_empty())
    }

    /// Runs text without parameters and without preparing it.
    pub(super) async fn run_text(&mut self, text: &str) -> Result<MySqlQueryResult, sqlx::Error> {
        self.enter()?;
        let result = self.connection.execute(sqlx::raw_sql(statement(text))).await;
        self.busy = false;
        result
    }

    /// Runs a prepared statement and returns its affected rows.
    pub(super) async fn run(&mut self, text: &str, params: Params) -> Result<u64, sqlx::Error> {
        self.enter()?;
        let query = sqlx::query_with(statement(text), params.into_arguments());
        let result = self.connection.execute(query).await;
        self.busy = false;
        result.map(|done| done.rows_affected())
    }

    /// Runs a prepared query and returns its rows.
    pub(super) async fn fetch(&mut self, text: &str, params: Params) -> Result<Vec<Vec<Value>>, Failure> {
        self.enter().map_err(|error| classify(&error))?;
        let query = sqlx::query_with(statement(text), params.into_arguments());
        let rows = self.connection.fetch_all(query).await;
        self.busy = false;
        rows.map_err(|error| classify(&error))?.iter().map(decode_row).collect()
    }

    fn enter(&mut self) -> Result<(), sqlx::Error> {
        if self.busy {
            return Err(sqlx::Error::Protocol("a statement was abandoned half-way".to_owned()));
        }
        self.busy = true;
        Ok(())
    }
}

impl Statements for MysqlSession {
    fn dialect(&self) -> Dialect {
        Dialect::Mysql
    }

    /// Affected rows are *found* rows: an UPDATE counts rows that it leaves as they are, an upsert counts 1 for an
    /// inserted and for an unchanged row, 2 for a changed one. Without parameters the text is not prepared and may hold
    /// several statements.
    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, Failure> {
        let done = if params.is_empty() {
            self.run_text(sql).await.map(|done| done.rows_affected())
        } else {
            self.run(sql, Params::of(params)?).await
        };
        done.map_err(|error| classify(&error))
    }

    async fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>, Failure> {
        self.fetch(sql, Params::of(params)?).await
    }

    /// READ COMMITTED is said once for the session, which nobody else uses.
    async fn begin(&mut self) -> Result<(), Failure> {
        self.run_text("START TRANSACTION").await.map(drop).map_err(|error| classify(&error))
    }

    /// Whatever is not an answer that says "rolled back" leaves the outcome unknown; a server that is being stopped
    /// answers with an error after the commit too. The session is given up then.
    async fn commit(&mut self) -> Result<(), Failure> {
        let Err(error) = self.run_text("COMMIT").await else {
            return Ok(());
        };
        let mut failure = classify(&error).context("COMMIT");
        if !is_rolled_back(&error) {
            failure.class = Class::Unknown;
            failure.connection_lost = true;
        }
        Err(failure)
    }

    async fn rollback(&mut self) -> Result<(), Failure> {
        self.run_text("ROLLBACK").await.map(drop).map_err(|error| {
            let mut failure = classify(&error);
            failure.connection_lost = true;
            failure
        })
    }
}
