//! Records that are put aside, and what that means for later ones of their keys.

use std::sync::Arc;

use bytes::Bytes;

use crate::config::checked::OnBadRecord;
use crate::core::batch::{BatchBuilder, PendingPartial};
use crate::core::event::{Decoded, Rejection};
use crate::core::failure::Failure;
use crate::core::merge;
use crate::core::order::{OrderPolicy, scope_description};
use crate::core::plan::Mark;
use crate::core::record::Record;
use crate::runtime::lookup::Lookup;
use crate::runtime::tables::{Refused, Resolved};

use super::{Planner, Reading, Refusals, Step, decoder};

impl Planner {
    /// Quarantines a record, or stops its partition, as configured.
    pub(super) async fn put_aside<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        record: &Record,
        incarnation: &Arc<str>,
        why: Rejection,
        lookup: &mut L,
    ) -> Result<Step, Failure> {
        if !why.puts_aside(self.config.on_bad_record == OnBadRecord::Quarantine) {
            return Ok(Step::Halt(why));
        }
        let mark = self.mark(builder, record, incarnation, lookup).await?;
        builder.quarantine(record, incarnation, mark, why);
        Ok(Step::Next)
    }

    /// Table, key and token of a record that is put aside, as far as it can be read. What it shows of its partition is noted all
    /// the same: the tokens of later records rest on it.
    async fn mark<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        record: &Record,
        incarnation: &Arc<str>,
        lookup: &mut L,
    ) -> Result<Option<Mark>, Failure> {
        let topic = Arc::clone(&record.at.topic);
        let decoder = decoder(&mut self.decoders, &self.config, &topic);
        let Ok(opened) = decoder.open(record) else { return Ok(None) };
        let value = opened.value();
        let Ok(Decoded::Change(event)) = decoder.read(&topic, &opened) else { return Ok(None) };
        let mapping = match self.resolve(&topic, &event, lookup).await {
            Ok(Resolved::Rows(mapping)) => mapping,
            Ok(_) | Err(Refused::Table(_)) => return Ok(None),
            Err(Refused::Database(failure)) => return Err(failure),
        };
        let reading = Reading { record, value: &value, incarnation, part: 0, parts: 1 };
        let by_source = mapping.order == OrderPolicy::Source;
        if by_source && self.meet(builder, &reading, &event, lookup).await?.is_err() {
            return Ok(None);
        }
        if matches!(mapping.order, OrderPolicy::Columns(_)) {
            return Ok(None);
        }
        let table = mapping.table.name().to_string();
        let scope = scope_description(&mapping.order, &event.source, &event.position, &table, &record.at, incarnation);
        let scope = lookup.scope(scope).await?;
        let token = self.placed(&mapping.order, scope, &event, record);
        if by_source {
            // What regresses is not noted: the alarm would be silent from there on.
            self.streamed = None;
            let _ = token.map(|token| self.watch(record, &event, token));
            let streamed = self.streamed.take();
            self.ledgers.entry(record.at.clone()).or_default().raise(streamed);
        }
        let empty = Bytes::new();
        let Ok(key) = mapping.event_key(&event, record.key.as_ref().unwrap_or(&empty), &value) else { return Ok(None) };
        Ok(token.map(|token| Mark { table, key, token }))
    }
}

/// The partial rows of a draft that cannot be completed from what is stored, by their records.
pub(super) async fn incomplete<L: Lookup>(builder: &BatchBuilder, lookup: &mut L) -> Result<Refusals, Failure> {
    let mut refused = Refusals::new();
    for (table, truncate, pending) in builder.partials() {
        let keys: Vec<_> = pending.iter().map(|pending| (pending.key_bytes.to_vec(), pending.key.to_vec())).collect();
        let (stored, bases) = lookup.bases(table, &keys).await?;
        // The batch's own TRUNCATE comes first; one that cannot be compared is refused where it is applied.
        let truncate = stored.max(truncate);
        for (PendingPartial { full, pieces, .. }, base) in pending.into_iter().zip(bases) {
            let alone: Vec<_> = pieces.iter().map(|(_, _, piece)| piece).collect();
            let verdicts = merge::refusals(base, truncate, full, &alone);
            for ((at, offset, _), why) in pieces.iter().zip(verdicts) {
                let Some(why) = why else { continue };
                let why = Rejection::new(why.reason(), why.detail(&table.name().to_string()));
                refused.insert((at.clone(), *offset), why);
            }
        }
    }
    Ok(refused)
}
