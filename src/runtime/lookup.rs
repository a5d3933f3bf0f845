//! What a plan asks of the destination while it is made: tables, numbers of scopes, and, rarely, what is stored for a key.
//!
//! A trait, so that plans are made in simulations by the same code as against databases.

mod recalled;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use crate::core::epoch::{EpochQuestion, EpochRow};
use crate::core::event::Rejection;
use crate::core::failure::{Class, Failure};
use crate::core::merge::Base;
use crate::core::table::{Table, TableName};
use crate::core::token::Token;
use crate::core::value::Value;
use crate::sink::bookkeep::{LiveRow, PartialKey, TopicSource};
use crate::sink::{Session, Sink, bookkeep};

use super::tables::{Met, Missing, Refused, Resolved, Tables};

pub use recalled::{Recalled, Shapes};

/// What holds for all keys of a table.
#[derive(Debug, Default)]
pub struct Bounds {
    /// The truncate token.
    pub truncate: Option<Token>,
    /// The floors, see [`crate::core::collect`].
    pub floors: Vec<Token>,
}

/// See the module.
pub trait Lookup: Send {
    /// What the events of a table lead to.
    fn resolve(&mut self, met: Met<'_>) -> impl Future<Output = Result<Resolved, Refused>> + Send;

    /// Changes whenever a table that was met has been described anew: what is remembered of tables may be out of date.
    fn tables_version(&self) -> u64;

    /// The number of a scope of tokens.
    fn scope(&mut self, description: String) -> impl Future<Output = Result<u16, Failure>> + Send;

    /// Keeps the token of a TRUNCATE of a table that is not there (yet). Fails, to be asked again, if it appeared meanwhile.
    fn truncate_missing(&mut self, missing: &Missing, token: Token)
    -> impl Future<Output = Result<(), Failure>> + Send;

    /// Admits events of a scope to a table; else says which scope's rows it holds.
    fn admit(&mut self, table: &TableName, scope: u16) -> impl Future<Output = Result<Option<String>, Failure>> + Send;

    /// The token of a key's row or tombstone.
    fn stored_token(
        &mut self,
        table: &Table,
        key: &[Value],
    ) -> impl Future<Output = Result<Option<Token>, Failure>> + Send;

    /// Whether a key has a row, be it marked as deleted.
    fn has_row(&mut self, table: &Table, key: &[Value]) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// The truncate token and the floors of a table, perhaps as they were a moment ago.
    fn bounds(&mut self, table: &Table) -> impl Future<Output = Result<Arc<Bounds>, Failure>> + Send;

    /// What is stored for keys that partial rows are completed from, with the table's truncate token.
    fn bases(
        &mut self,
        table: &Arc<Table>,
        keys: &[PartialKey],
    ) -> impl Future<Output = Result<(Option<Token>, Vec<Base>), Failure>> + Send;

    /// A row of a source epoch for a partition, found or, under the current fence, made; under the destination's lock.
    fn epoch(
        &mut self,
        question: EpochQuestion,
        checkpoint_owner: &str,
        fence: i64,
    ) -> impl Future<Output = Result<Result<EpochRow, Rejection>, Failure>> + Send;

    /// The source tables whose rows came through a topic.
    fn sources(&mut self, topic: &str) -> impl Future<Output = Result<Vec<TopicSource>, Failure>> + Send;

    /// The live row of a key, if it has one.
    fn live_row(
        &mut self,
        table: &Table,
        key: &[Value],
    ) -> impl Future<Output = Result<Option<LiveRow>, Failure>> + Send;
}

/// The answers of a database.
pub(super) struct Live<'s> {
    pub(super) tables: Arc<Tables>,
    pub(super) scopes: Arc<Scopes>,
    pub(super) session: &'s mut Session,
}

impl Lookup for Live<'_> {
    async fn resolve(&mut self, met: Met<'_>) -> Result<Resolved, Refused> {
        self.tables.resolve(met).await
    }

    fn tables_version(&self) -> u64 {
        self.tables.version()
    }

    async fn scope(&mut self, description: String) -> Result<u16, Failure> {
        self.scopes.id(description).await
    }

    /// At once and not with the batch: a truncate token only ever grows, and its record is read again if the batch is lost.
    async fn truncate_missing(&mut self, missing: &Missing, token: Token) -> Result<(), Failure> {
        let Missing { name, delete, token_storage } = missing;
        bookkeep::truncate_missing(self.session, name, *delete, *token_storage, token).await?;
        // Who makes the table from now on sees the token; who made it before may have filled it without.
        if self.session.describe(name).await?.is_some() {
            let what = format!("table {name} was made while a TRUNCATE of it was read");
            return Err(Failure::new(Class::Transient, "table_appeared", what));
        }
        Ok(())
    }

    async fn admit(&mut self, table: &TableName, scope: u16) -> Result<Option<String>, Failure> {
        self.scopes.admit(table, scope).await
    }

    async fn stored_token(&mut self, table: &Table, key: &[Value]) -> Result<Option<Token>, Failure> {
        let keys = [key.to_vec()];
        Ok(bookkeep::stored_tokens(self.session, table, &keys).await?.into_iter().next().flatten())
    }

    async fn has_row(&mut self, table: &Table, key: &[Value]) -> Result<bool, Failure> {
        bookkeep::has_row(self.session, table, key).await
    }

    async fn bounds(&mut self, table: &Table) -> Result<Arc<Bounds>, Failure> {
        self.tables.bounds(self.session, table).await
    }

    async fn bases(&mut self, table: &Arc<Table>, keys: &[PartialKey]) -> Result<(Option<Token>, Vec<Base>), Failure> {
        let truncate = bookkeep::limits(self.session, table.name()).await?.truncate;
        Ok((truncate, bookkeep::bases(self.session, table, keys).await?))
    }

    async fn epoch(
        &mut self,
        question: EpochQuestion,
        checkpoint_owner: &str,
        fence: i64,
    ) -> Result<Result<EpochRow, Rejection>, Failure> {
        bookkeep::epoch(self.session, &question, checkpoint_owner, fence).await
    }

    async fn sources(&mut self, topic: &str) -> Result<Vec<TopicSource>, Failure> {
        bookkeep::topic_sources(self.session, topic).await
    }

    async fn live_row(&mut self, table: &Table, key: &[Value]) -> Result<Option<LiveRow>, Failure> {
        bookkeep::live_row(self.session, table, key).await
    }
}

/// Ids of scopes, shared by all lanes: handed out by the destination, never changed.
#[derive(Debug)]
pub struct Scopes {
    sink: Sink,
    known: Mutex<HashMap<String, u16>>,
    /// The scope of each table's rows: it never changes.
    admitted: Mutex<HashMap<TableName, u16>>,
}

impl Scopes {
    /// Scopes of a destination.
    pub fn new(sink: Sink) -> Self {
        Self { sink, known: Mutex::default(), admitted: Mutex::default() }
    }

    pub(super) async fn id(&self, description: String) -> Result<u16, Failure> {
        if let Some(id) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&description) {
            return Ok(*id);
        }
        let mut session = self.sink.session("scopes").await?;
        let id = bookkeep::scope_id(&mut session, &description).await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(description, id);
        Ok(id)
    }

    async fn admit(&self, table: &TableName, scope: u16) -> Result<Option<String>, Failure> {
        if self.admitted.lock().unwrap_or_else(PoisonError::into_inner).get(table) == Some(&scope) {
            return Ok(None);
        }
        let mut session = self.sink.session("scopes").await?;
        let other = bookkeep::admit_scope(&mut session, table, scope).await?;
        if other.is_none() {
            self.admitted.lock().unwrap_or_else(PoisonError::into_inner).insert(table.clone(), scope);
        }
        Ok(other)
    }
}
