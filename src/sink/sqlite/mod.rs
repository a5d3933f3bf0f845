//! SQLite as destination.
//!
//! A database has one writer at a time. Every transaction begins with `BEGIN IMMEDIATE`, which takes the write lock at once: a
//! transaction that begins as a reader and then writes gets `SQLITE_BUSY` without waiting. The journal is a write-ahead log, so
//! that readers go on meanwhile; `synchronous` is FULL, so that a commit is on the disk when it is reported. For its duration
//! nobody else writes, so what a transaction reads stays true until it commits: plans are applied without a re-check.
//!
//! The driver hands each call to a thread of the connection (some 42 µs a call, measured): statements of the data path work on
//! up to 64 rows each. Its futures must not be dropped half-way (see [`Statements`]).

mod apply;
mod classify;
mod describe;
#[cfg(test)]
mod here;
#[cfg(test)]
mod tests;
mod values;

use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, SqliteConnection};

use crate::config::checked::SinkConfig;
use crate::core::dialect::Dialect;
use crate::core::failure::{Class, Failure};
use crate::core::value::Value;

use super::Statements;
use classify::{classify, classify_commit};
use values::Cell;

/// Prepared statements that a connection keeps: some ten shapes of three lengths a table, for a few dozen tables.
const STATEMENTS_KEPT: usize = 512;
/// SQLite counts milliseconds in 32 bits.
const LOCK_TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// Pause before a database is opened again.
const OPEN_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// A database file, or `sqlite::memory:` (shared by the sessions of one process, gone with the last of them; for trials).
#[derive(Clone, Debug)]
pub struct SqliteSink {
    options: SqliteConnectOptions,
    /// How long to wait for locks.
    patience: Duration,
}

impl SqliteSink {
    /// Takes `sqlite:path`, `sqlite://path` or `sqlite::memory:`. The file is made when the first session is opened; its folder
    /// must exist.
    pub fn new(config: &SinkConfig) -> Result<Self, Failure> {
        let patience = config.lock_timeout.min(LOCK_TIMEOUT_MAX);
        let options = SqliteConnectOptions::from_str(config.url.expose()).map_err(classify)?;
        let in_memory = options.get_filename().to_string_lossy().contains("sqlx-in-memory");
        let options = options
            .create_if_missing(true)
            .busy_timeout(patience)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full)
            .statement_cache_capacity(STATEMENTS_KEPT)
            .disable_statement_logging();
        // A database in memory has no log.
        let options = if in_memory { options } else { options.journal_mode(SqliteJournalMode::Wal) };
        Ok(Self { options, patience })
    }

    /// Opens a connection. SQLite does not show what it is for.
    ///
    /// Turning the write-ahead log on (once in the life of a file) does not wait for locks as other statements do: it is tried
    /// again for as long as they would wait.
    pub async fn session(&self, _purpose: &str) -> Result<SqliteSession, Failure> {
        let began = Instant::now();
        loop {
            match self.options.connect().await.map_err(classify) {
                Ok(connection) => return Ok(SqliteSession { connection: Connection::Driver(connection) }),
                Err(failure) if failure.class == Class::Transient && began.elapsed() < self.patience => {
                    tokio::time::sleep(OPEN_AGAIN_AFTER).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}

/// What runs statements.
#[derive(Debug)]
enum Connection {
    /// The driver, on a thread of its own.
    Driver(SqliteConnection),
    /// The calling thread, which waits: for simulations, where the way to the other thread takes longer than the statement.
    #[cfg(test)]
    Here(here::Connection),
}

/// A connection.
#[derive(Debug)]
pub struct SqliteSession {
    connection: Connection,
}

impl SqliteSession {
    /// See [`super::Session::identity`]: there is nothing to be ended, a dead process holds no locks.
    pub fn identity(&self) -> Option<String> {
        None
    }

    /// See [`super::Session::end_other`].
    pub async fn end_other(&mut self, _identity: &str) -> Result<bool, Failure> {
        Ok(false)
    }

    fn cells(params: &[Value]) -> Result<Vec<Cell>, Failure> {
        let mut cells = Vec::with_capacity(params.len());
        params.iter().try_for_each(|value| values::bind(&mut cells, value))?;
        Ok(cells)
    }

    /// Runs a statement. Returns the affected rows.
    async fn tell(&mut self, sql: &str, cells: Vec<Cell>) -> Result<u64, Failure> {
        match &mut self.connection {
            Connection::Driver(driver) => {
                let statement = sqlx::query_with(AssertSqlSafe(sql), values::arguments(cells)?);
                statement.execute(driver).await.map(|done| done.rows_affected()).map_err(classify)
            }
            #[cfg(test)]
            Connection::Here(connection) => connection.run(sql, cells).map(|(_, affected)| affected).map_err(classify),
        }
    }

    /// Runs a query. Returns its rows.
    async fn fetch(&mut self, sql: &str, cells: Vec<Cell>) -> Result<Vec<Vec<Value>>, Failure> {
        match &mut self.connection {
            Connection::Driver(driver) => {
                let query = sqlx::query_with(AssertSqlSafe(sql), values::arguments(cells)?);
                query.fetch_all(driver).await.map_err(classify)?.iter().map(values::read).collect()
            }
            #[cfg(test)]
            Connection::Here(connection) => connection.run(sql, cells).map(|(rows, _)| rows).map_err(classify),
        }
    }

    async fn bare(&mut self, text: &'static str) -> Result<(), sqlx::Error> {
        match &mut self.connection {
            Connection::Driver(driver) => driver.execute(text).await.map(|_| ()),
            #[cfg(test)]
            Connection::Here(connection) => connection.run(text, Vec::new()).map(|_| ()),
        }
    }
}

// Texts come from `sql/` and `core::dialect`, where names are quoted; values are always parameters: that is what
// `AssertSqlSafe` asserts below.
impl Statements for SqliteSession {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, Failure> {
        self.tell(sql, Self::cells(params)?).await
    }

    async fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>, Failure> {
        self.fetch(sql, Self::cells(params)?).await
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        self.bare("begin immediate").await.map_err(classify)
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        let Err(error) = self.bare("commit").await else { return Ok(()) };
        let failure = classify_commit(error);
        // A COMMIT that was refused leaves the transaction open. Where SQLite rolled back by itself this one fails.
        let _ = self.bare("rollback").await;
        Err(failure)
    }

    async fn rollback(&mut self) -> Result<(), Failure> {
        match self.bare("rollback").await {
            // Some errors (a full disk, a deadlock) roll back by themselves.
            Err(sqlx::Error::Database(error)) if error.message().contains("no transaction is active") => Ok(()),
            settled => settled.map_err(classify),
        }
    }
}
