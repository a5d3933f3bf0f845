//! TRUNCATE events.

use std::sync::Arc;

use crate::core::batch::{BatchBuilder, Pushed};
use crate::core::event::{Op, RawEvent, Rejection};
use crate::core::failure::Failure;
use crate::core::order::{OrderPolicy, scope_description};
use crate::core::table::{DeleteMode, Table};
use crate::runtime::lookup::Lookup;
use crate::runtime::tables::Missing;

use super::{Planner, Reading, Step, admit};

impl Planner {
    /// A TRUNCATE; of a table that does not exist here it has nothing to do.
    pub(super) async fn truncate<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        reading: &Reading<'_>,
        event: &RawEvent<'_>,
        table: Result<&Arc<Table>, &Missing>,
        lookup: &mut L,
    ) -> Result<Result<Step, Rejection>, Failure> {
        let Reading { record, incarnation, .. } = *reading;
        let policy = OrderPolicy::Source;
        let scope = scope_description(&policy, &event.source, &event.position, "", &record.at, incarnation);
        let scope = lookup.scope(scope).await?;
        let Some(token) = self.placed(&policy, scope, event, record) else {
            return Ok(Err(Rejection::new("missing_position", "the TRUNCATE carries no position of its source")));
        };
        let name = table.as_ref().map_or_else(|missing| &missing.name, |table| table.name());
        if let Err(why) = admit(name, scope, event, lookup).await? {
            return Ok(Err(why));
        }
        if let Err(why) = self.watch(record, event, token) {
            return Ok(Err(why));
        }
        let table = match table {
            Ok(table) => table,
            Err(missing) => {
                if missing.delete == DeleteMode::Ignore {
                    builder.filtered(record, Op::Truncate);
                } else {
                    lookup.truncate_missing(missing, token).await?;
                    builder.control(record);
                }
                return Ok(Ok(Step::Next));
            }
        };
        Ok(match builder.truncate(record, table, token) {
            Pushed::Taken => Ok(Step::Next),
            Pushed::CutBefore => Ok(Step::Cut),
            Pushed::Rejected(why) => Err(why),
        })
    }
}
