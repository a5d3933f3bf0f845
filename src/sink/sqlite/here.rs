//! SQLite on the calling thread.
//!
//! The driver's way to its own thread and back takes some 40 µs, several times what a small statement takes: simulations, which
//! run millions of them and have nothing else to do meanwhile, would spend their time on it. Texts, classes of errors and
//! everything above a statement are those of the driver's connections.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::path::Path;

use rusqlite::types::{ToSqlOutput, Value as Stored, ValueRef};
use rusqlite::{ToSql, params_from_iter};
use sqlx::error::{DatabaseError, Error, ErrorKind};

use crate::core::value::Value;

use super::values::Cell;
use super::{STATEMENTS_KEPT, SqliteSession};

/// See the module.
#[derive(Debug)]
pub struct Connection(rusqlite::Connection);

impl SqliteSession {
    /// A session on a file, with the settings of [`super::SqliteSink`] but for two: nobody waits for a disk, and for a lock.
    pub fn here(path: &Path) -> rusqlite::Result<Self> {
        let connection = rusqlite::Connection::open(path)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        connection.execute_batch("pragma journal_mode = wal; pragma foreign_keys = on; pragma synchronous = off")?;
        Ok(Self { connection: super::Connection::Here(Connection(connection)) })
    }
}

impl Connection {
    /// Runs a statement. Returns its rows, and how many it affected.
    pub fn run(&mut self, sql: &str, cells: Vec<Cell>) -> Result<(Vec<Vec<Value>>, u64), Error> {
        self.attempt(sql, cells).map_err(|error| Error::Database(Box::new(Refusal(error))))
    }

    fn attempt(&mut self, sql: &str, cells: Vec<Cell>) -> rusqlite::Result<(Vec<Vec<Value>>, u64)> {
        let mut found = Vec::new();
        let mut statement = self.0.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(cells))?;
        while let Some(row) = rows.next()? {
            let cells = (0..columns).map(|at| row.get_ref(at).and_then(read));
            found.push(cells.collect::<rusqlite::Result<_>>()?);
        }
        drop(rows);
        drop(statement);
        Ok((found, self.0.changes()))
    }
}

fn read(cell: ValueRef<'_>) -> rusqlite::Result<Value> {
    Ok(match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Float64(number),
        ValueRef::Text(_) => Value::from(cell.as_str()?),
        ValueRef::Blob(bytes) => Value::bytes(bytes),
    })
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Stored::Null),
            Self::Integer(number) => ToSqlOutput::Owned(Stored::Integer(*number)),
            Self::Real(number) => ToSqlOutput::Owned(Stored::Real(*number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

/// An error in the driver's form.
#[derive(Debug)]
struct Refusal(rusqlite::Error);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Refusal {}

impl DatabaseError for Refusal {
    fn message(&self) -> &str {
        match &self.0 {
            rusqlite::Error::SqliteFailure(_, Some(message)) => message,
            _ => "",
        }
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        self.0.sqlite_error().map(|error| error.extended_code.to_string().into())
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}
