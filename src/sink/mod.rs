//! Destinations.
//!
//! Each sink has the same set of files: `connect` (URL, TLS, session settings), `session` (statements with values in and
//! out), `describe` (a table's shape), `apply` (the one transaction of a plan), `classify` (the driver's errors to
//! [`crate::core::failure::Class`]). What is not the fast path (claims, checkpoints, quarantine, audit, replay rows) is
//! written once in [`bookkeep`] over [`Statements`], with the statements of `sql/`. [`memory`] is none of them: it is what they are
//! compared with.

pub mod bookkeep;
#[cfg(test)]
mod contract;
pub mod memory;
pub mod mysql;
mod partial;
pub mod postgres;
pub mod proxy;
pub mod session;
pub mod sqlite;

pub use session::{Session, Statements};

use std::sync::Arc;

use crate::config::checked::SinkConfig;
use crate::core::dialect::Dialect;
use crate::core::failure::Failure;

/// A destination database. Cheap to clone; opening sessions is all it does.
#[derive(Clone, Debug)]
pub enum Sink {
    /// PostgreSQL 15 and later.
    Postgres(postgres::PostgresSink),
    /// MySQL 8 and MariaDB 10.6 and later.
    Mysql(mysql::MysqlSink),
    /// SQLite, as bundled.
    Sqlite(sqlite::SqliteSink),
    /// Any of them, behind something that may fail.
    Proxy(Arc<dyn proxy::Proxy>),
}

impl Sink {
    /// Prepares the sink of a URL: parses it, reads certificates. Nothing is connected yet.
    pub fn new(config: &SinkConfig) -> Result<Self, Failure> {
        match config.dialect {
            Dialect::Postgres => Ok(Self::Postgres(postgres::PostgresSink::new(config)?)),
            Dialect::Mysql => Ok(Self::Mysql(mysql::MysqlSink::new(config)?)),
            Dialect::Sqlite => Ok(Self::Sqlite(sqlite::SqliteSink::new(config)?)),
        }
    }

    /// Opens a session. A lane keeps one for itself: it claims partitions and applies plans on it, so that ending the
    /// session in the database ends whatever the lane may still be doing. `purpose` (`lane-0`, `status`) is shown in the
    /// database's list of sessions where it has one.
    pub async fn session(&self, purpose: &str) -> Result<Session, Failure> {
        Ok(match self {
            Self::Postgres(sink) => Session::Postgres(sink.session(purpose).await?),
            Self::Mysql(sink) => Session::Mysql(sink.session(purpose).await?),
            Self::Sqlite(sink) => Session::Sqlite(sink.session(purpose).await?),
            Self::Proxy(proxy) => Session::Proxy(proxy::ProxySession::open(proxy, purpose).await?),
        })
    }
}
