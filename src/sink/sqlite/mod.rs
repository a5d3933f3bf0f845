//! Sqlite as destination.

use crate::config::checked::SinkConfig;
use crate::core::dialect::Dialect;
use crate::core::failure::Failure;
use crate::core::plan::{Applied, Plan};
use crate::core::table::{TableName, TableShape};
use crate::core::value::Value;

use super::Statements;

/// The destination.
#[derive(Clone, Debug)]
pub struct SqliteSink {}

impl SqliteSink {
    /// Prepares it.
    pub fn new(_config: &SinkConfig) -> Result<Self, Failure> {
        Err(Failure::operator("stub", "stub"))
    }
    /// Opens a session.
    pub async fn session(&self, _purpose: &str) -> Result<SqliteSession, Failure> {
        Err(Failure::operator("stub", "stub"))
    }
}

/// A session.
#[derive(Debug)]
pub struct SqliteSession {}

impl SqliteSession {
    /// See [`super::Session::identity`].
    pub fn identity(&self) -> Option<String> {
        None
    }
    /// See [`super::Session::end_other`].
    pub async fn end_other(&mut self, _identity: &str) -> Result<bool, Failure> {
        Ok(false)
    }
    /// See [`super::Session::describe`].
    pub async fn describe(&mut self, _name: &TableName) -> Result<Option<TableShape>, Failure> {
        Err(Failure::operator("stub", "stub"))
    }
    /// See [`super::Session::apply`].
    pub async fn apply(&mut self, _plan: &Plan) -> Result<Applied, Failure> {
        Err(Failure::operator("stub", "stub"))
    }
}

impl Statements for SqliteSession {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }
    async fn execute(&mut self, _sql: &str, _params: &[Value]) -> Result<u64, Failure> {
        Err(Failure::operator("stub", "stub"))
    }
    async fn query(&mut self, _sql: &str, _params: &[Value]) -> Result<Vec<Vec<Value>>, Failure> {
        Err(Failure::operator("stub", "stub"))
    }
    async fn begin(&mut self) -> Result<(), Failure> {
        Err(Failure::operator("stub", "stub"))
    }
    async fn commit(&mut self) -> Result<(), Failure> {
        Err(Failure::operator("stub", "stub"))
    }
    async fn rollback(&mut self) -> Result<(), Failure> {
        Err(Failure::operator("stub", "stub"))
    }
}
