//! The answers of a destination in memory.

use std::future::Future;
use std::sync::Arc;

use crate::core::epoch::{EpochQuestion, EpochRow};
use crate::core::event::Rejection;
use crate::core::failure::Failure;
use crate::core::merge::{Base, ColumnToken};
use crate::core::table::{Table, TableName};
use crate::core::token::Token;
use crate::core::value::Value;
use crate::runtime::tables::{Met, Missing, Refused, Resolved, Tables};
use crate::sink::bookkeep::{LiveRow, PartialKey, TopicSource};
use crate::sink::memory::{Held, Memory};

use super::{Bounds, Lookup};

/// Who knows what the tables of a destination look like: a destination in memory does not.
pub trait Shapes: Send {
    /// See [`Lookup::resolve`].
    fn resolve(&mut self, met: Met<'_>) -> impl Future<Output = Result<Resolved, Refused>> + Send;

    /// See [`Lookup::tables_version`].
    fn version(&self) -> u64;
}

/// The tables of the database that the memory is compared with.
impl Shapes for Arc<Tables> {
    async fn resolve(&mut self, met: Met<'_>) -> Result<Resolved, Refused> {
        Tables::resolve(self, met).await
    }

    fn version(&self) -> u64 {
        Tables::version(self)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Recalled<'m, T> {
    /// What is stored.
    pub memory: &'m mut Memory,
    /// What its tables look like.
    pub shapes: T,
}

impl<T> Recalled<'_, T> {
    fn held(&self, table: &Table, key: &[Value]) -> Result<Option<&Held>, Failure> {
        Ok(self.memory.held(table.name(), &Memory::key(table, &key.iter().collect::<Vec<_>>())?))
    }
}

impl<T: Shapes> Lookup for Recalled<'_, T> {
    async fn resolve(&mut self, met: Met<'_>) -> Result<Resolved, Refused> {
        let resolved = self.shapes.resolve(met).await?;
        if matches!(resolved, Resolved::Rows(_)) && met.row.is_some() {
            let source = TopicSource { table: met.source.clone(), by_source: !met.position.is_none() };
            self.memory.add_source(met.topic, source);
        }
        Ok(resolved)
    }

    fn tables_version(&self) -> u64 {
        self.shapes.version()
    }

    async fn scope(&mut self, description: String) -> Result<u16, Failure> {
        Ok(self.memory.scope(description))
    }

    async fn truncate_missing(&mut self, missing: &Missing, token: Token) -> Result<(), Failure> {
        self.memory.truncate(&missing.name, token);
        Ok(())
    }

    async fn admit(&mut self, table: &TableName, scope: u16) -> Result<Option<String>, Failure> {
        Ok(self.memory.admit(table, scope))
    }

    async fn stored_token(&mut self, table: &Table, key: &[Value]) -> Result<Option<Token>, Failure> {
        Ok(self.held(table, key)?.and_then(Held::token))
    }

    async fn has_row(&mut self, table: &Table, key: &[Value]) -> Result<bool, Failure> {
        Ok(matches!(self.held(table, key)?, Some(Held::Row(_))))
    }

    async fn bounds(&mut self, table: &Table) -> Result<Arc<Bounds>, Failure> {
        let held = self.memory.contents().get(table.name());
        Ok(Arc::new(Bounds {
            truncate: held.and_then(|held| held.truncate),
            floors: held.map(|held| held.floors.clone()).unwrap_or_default(),
        }))
    }

    async fn bases(&mut self, table: &Arc<Table>, keys: &[PartialKey]) -> Result<(Option<Token>, Vec<Base>), Failure> {
        let truncate = self.bounds(table).await?.truncate;
        let base = |(key, _): &PartialKey| base(self.memory, table, key);
        Ok((truncate, keys.iter().map(base).collect()))
    }

    async fn epoch(
        &mut self,
        question: EpochQuestion,
        checkpoint_owner: &str,
        fence: i64,
    ) -> Result<Result<EpochRow, Rejection>, Failure> {
        self.memory.epoch(&question, checkpoint_owner, fence)
    }

    async fn sources(&mut self, topic: &str) -> Result<Vec<TopicSource>, Failure> {
        Ok(self.memory.sources(topic))
    }

    async fn live_row(&mut self, table: &Table, key: &[Value]) -> Result<Option<LiveRow>, Failure> {
        let live = self.held(table, key)?.and_then(Held::live);
        Ok(live.map(|row| LiveRow { token: Some(row.token) }))
    }
}

/// What is stored for a key, as partial rows are judged by it.
fn base(memory: &Memory, table: &Table, key: &[u8]) -> Base {
    let mut base = Base { marks: memory.marks(table.name(), key), ..Base::default() };
    match memory.held(table.name(), key) {
        Some(Held::Row(row)) => {
            let open = |(name, token): (&String, &Token)| Some((table.shape.position(name)?, Some(*token)));
            base.live = !row.deleted;
            base.row = Some(row.token);
            base.open = row.open.iter().filter_map(open).collect::<Vec<ColumnToken>>();
        }
        Some(Held::Tombstone(token)) => base.tombstone = Some(*token),
        Some(Held::Logged(_)) | None => {}
    }
    base
}
