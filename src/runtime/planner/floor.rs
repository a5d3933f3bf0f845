//! What a plan does about tombstones that were collected and snapshots that ended.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::core::batch::BatchBuilder;
use crate::core::collect::below;
use crate::core::event::RawEvent;
use crate::core::failure::Failure;
use crate::core::mapping::Mapping;
use crate::core::order::{OrderPolicy, snapshot_token};
use crate::core::plan::SnapshotEnd;
use crate::core::token::Token;
use crate::core::value::Value;
use crate::runtime::lookup::Lookup;

use super::{Planner, Reading};

impl Planner {
    /// Whether an upsert would make a row that is not there from an event that is not above the table's floor. The transaction
    /// looks again; this finds all such records of a batch at once, and the search for a bad record only the few that
    /// a collection in between makes.
    pub(super) async fn below_floor<L: Lookup>(
        &mut self,
        builder: &BatchBuilder,
        mapping: &Mapping,
        key: &[u8],
        row: &[Value],
        token: Token,
        lookup: &mut L,
    ) -> Result<bool, Failure> {
        let table = &mapping.table;
        let bounds = match self.bounds.entry(table.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(lookup.bounds(table).await?),
        };
        if !below(&bounds.floors, &token) {
            return Ok(false);
        }
        let loses = |to: Option<Token>| to.is_some_and(|to| !to.comparable(&token) || token <= to);
        match builder.held(table, key) {
            // As if the batch ended before: behind an upsert there is a row, behind a delete there is none.
            Some((held, is_delete)) => Ok(is_delete && !loses(Some(held))),
            None if loses(bounds.truncate) => Ok(false),
            None => {
                let key = mapping.key_of(row);
                let stored = lookup.stored_token(table, &key).await?;
                Ok(!loses(stored) && !lookup.has_row(table, &key).await?)
            }
        }
    }

    /// Takes note of the last row of a snapshot.
    pub(super) fn note_snapshot(
        &self,
        builder: &mut BatchBuilder,
        reading: &Reading<'_>,
        event: &RawEvent<'_>,
        mapping: &Mapping,
        scope: u16,
    ) {
        let Reading { record, incarnation, .. } = *reading;
        let ledger =
            self.ledgers.get(&record.at).filter(|_| event.ends_snapshot && mapping.order == OrderPolicy::Source);
        let token = ledger.and_then(|ledger| snapshot_token(scope, &event.position, ledger, record.offset));
        if let Some((token, position)) = token {
            builder.snapshot_ended(SnapshotEnd {
                table: mapping.table.name().clone(),
                topic: Arc::clone(&record.at.topic),
                incarnation: Arc::clone(incarnation),
                token,
                position,
            });
        }
    }
}
