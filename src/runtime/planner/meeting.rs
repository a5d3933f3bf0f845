//! Which table and which columns events lead to, remembered as long as the tables stay as they are.

use std::sync::Arc;

use crate::core::event::{Op, RawEvent, Rejection, RowSchema, SourceTable};
use crate::core::failure::Failure;
use crate::core::mapping::Mapping;
use crate::core::plan::Plan;
use crate::runtime::lookup::Lookup;
use crate::runtime::tables::{Met, Refused, Resolved};

use super::Planner;

/// Topic, source table, fields of row and key (0 for none), whether there is a position, what it does.
pub(super) type MappingKey = (Arc<str>, SourceTable, u64, u64, bool, Op);

impl Planner {
    /// Forgets what the tables of a plan look like, or all tables if it has none: it failed because one is not so any more.
    pub fn describe_anew(&self, plan: &Plan) {
        self.tables.forget(plan.tables.iter().map(|part| &part.table));
    }

    pub(in crate::runtime) async fn resolve<L: Lookup>(
        &mut self,
        topic: &Arc<str>,
        event: &RawEvent<'_>,
        lookup: &mut L,
    ) -> Result<Resolved, Refused> {
        let met = Met::of(topic, event);
        let (row, key) = (met.row, met.key);
        let has_position = !event.position.is_none();
        let id = |schema: Option<&RowSchema>| schema.map_or(0, |schema| schema.id);
        let known: MappingKey = (Arc::clone(topic), event.table.clone(), id(row), id(key), has_position, event.op);
        let version = lookup.tables_version();
        if self.tables_version != version {
            self.mappings.invalidate_all();
            self.tables_version = version;
        }
        if let Some(resolved) = self.mappings.get(&known) {
            return Ok(resolved);
        }
        let resolved = lookup.resolve(met).await?;
        // A table that is not there may be there at the next TRUNCATE.
        if !matches!(resolved, Resolved::Missing(_)) {
            self.mappings.insert(known, resolved.clone());
        }
        Ok(resolved)
    }

    /// The mapping by which a value may fit that did not: its table was altered since it was described, or is widened now.
    pub(super) async fn refit<L: Lookup>(
        &self,
        topic: &Arc<str>,
        event: &RawEvent<'_>,
        mapping: &Mapping,
        why: &Rejection,
        lookup: &mut L,
    ) -> Result<Option<Arc<Mapping>>, Failure> {
        let Some(column) = why.misfit.as_deref() else { return Ok(None) };
        match lookup.resolve(Met { misfit: Some(column), ..Met::of(topic, event) }).await {
            Ok(Resolved::Rows(newer)) if newer.table.id != mapping.table.id => Ok(Some(newer)),
            Ok(_) | Err(Refused::Table(_)) => Ok(None),
            Err(Refused::Database(failure)) => Err(failure),
        }
    }
}
