//! Null values: what each of them says about its key.
//!
//! Behind a delete event a null is that delete's shadow and says nothing. One whose delete is gone (compacted away, or never
//! written by a transform that drops it) is an *orphan*. It names its key and nothing else: no position, no time. What orders it is
//! its place in the partition. On the live way everything before it was applied and nothing behind it, so it deletes the row that
//! is there.
//!
//! # Why the tombstone's token is just below the row's
//!
//! After a restart a connector writes what it wrote before once more: d(5), null, c(7), then again d(5), null, c(7). Compaction may
//! leave of that only the last null and what follows, and a reader that was at c(7) meets a null that belongs to 5. It deletes
//! the row of 7, and then c(7) comes again: with an equal token, which must win. Everything older than 7 loses.
//!
//! # Why replays leave out what lies before
//!
//! With such a tombstone a replay of c(7) from before the null would bring the row back for good, if it ends before the null. So the
//! ledger keeps each null that deleted a row, and what lies before it in its partition is superseded. A replay itself takes nulls
//! for control records: the live pass has decided them.
//!
//! Where rows are ordered by their place in Kafka (`offset_order`, `order_by`) the null has a token like any delete, and nothing of
//! this is needed.

use std::sync::Arc;

use crate::core::batch::{BatchBuilder, Pushed};
use crate::core::event::{Decoded, Op, Rejection, SourcePosition};
use crate::core::failure::Failure;
use crate::core::mapping::{Change, Effect, Mapping};
use crate::core::order::{OrderPolicy, delete_token, scope_description, token};
use crate::core::plan::Orphan;
use crate::core::record::Record;
use crate::core::table::DeleteMode;
use crate::core::token::Token;
use crate::core::value::Value;

use super::lookup::Lookup;
use super::planner::{Planner, Step, decoder};
use super::tables::{Met, Refused, Resolved};

/// Records that are looked at for what a topic's keys mean.
const LOOK_AHEAD: usize = 1000;

/// A null value that cannot be ordered.
pub(super) fn orphan_null(why: &str) -> Rejection {
    let what = "a null value without the delete event that belongs before it (compacted away?) cannot be ordered";
    Rejection::new("orphan_null", format!("{what}: {why}"))
}

/// The key of a null value.
struct Key {
    mapping: Arc<Mapping>,
    values: Vec<Value>,
    canonical: Vec<u8>,
}

impl Planner {
    pub(super) async fn null<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        record: &Record,
        incarnation: &Arc<str>,
        lookup: &mut L,
    ) -> Result<Result<Step, Rejection>, Failure> {
        let decided = || {
            let key = record.key.as_ref()?;
            let last = self.nulls.get(&record.at)?.of(key)?;
            (record.offset <= last).then_some(())
        };
        if builder.is_shadow(record) || self.follows || decided().is_some() {
            builder.control(record);
            return Ok(Ok(Step::Next));
        }
        let Some(key) = self.null_key(record) else {
            return Ok(Err(orphan_null("its key does not tell a row of a table that was met in its topic")));
        };
        let table = Arc::clone(&key.mapping.table);
        if table.delete == DeleteMode::Ignore {
            builder.filtered(record, Op::Delete);
            return Ok(Ok(Step::Next));
        }
        // What is stored must be what the batch would leave.
        if builder.holds(&table, &key.canonical) {
            return Ok(Ok(Step::Cut));
        }
        if key.mapping.order != OrderPolicy::Source {
            return self.ordered_null(builder, record, incarnation, key, lookup).await;
        }
        let Some(row) = lookup.live_row(&table, &key.values).await? else {
            builder.control(record);
            return Ok(Ok(Step::Next));
        };
        let Some((token, below)) = row.token.and_then(|token| Some((token, token.just_below()?))) else {
            return Ok(Err(orphan_null("its key has a row that no event wrote")));
        };
        let pushed = builder.orphan(record, &table, key.canonical, Orphan { token, below, key: key.values });
        Ok(self.null_pushed(builder, record, incarnation, pushed))
    }

    fn null_pushed(
        &mut self,
        builder: &mut BatchBuilder,
        record: &Record,
        incarnation: &Arc<str>,
        pushed: Pushed,
    ) -> Result<Step, Rejection> {
        match pushed {
            Pushed::Taken => {
                if let Some(key) = &record.key {
                    let nulls = self.nulls.entry(record.at.clone()).or_default();
                    builder.ledger(nulls.deletes(&record.at, incarnation, record.offset, key));
                }
                Ok(Step::Next)
            }
            Pushed::CutBefore => Ok(Step::Cut),
            Pushed::Rejected(why) => Err(why),
        }
    }

    /// A null value whose place in Kafka orders it: it is a delete.
    async fn ordered_null<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        record: &Record,
        incarnation: &Arc<str>,
        key: Key,
        lookup: &mut L,
    ) -> Result<Result<Step, Rejection>, Failure> {
        let Key { mapping, values, canonical } = key;
        let (name, position) = (mapping.table.name().to_string(), SourcePosition::None("a null value carries none"));
        let scope = scope_description(&mapping.order, "", &position, &name, &record.at, incarnation);
        let scope = lookup.scope(scope).await?;
        let at: Option<Token> = match &mapping.order {
            OrderPolicy::Columns(columns) => {
                let stored = lookup.stored_token(&mapping.table, &values).await?;
                Some(delete_token(scope, stored.as_ref(), columns.len(), &record.at, record.offset))
            }
            order => {
                let ledger = self.ledgers.entry(record.at.clone()).or_default();
                token(order, scope, &position, ledger, &record.at, record.offset)
            }
        };
        let Some(at) = at else { return Ok(Err(orphan_null("it has no place in the order of its table"))) };
        let change = Change::new(canonical, Effect::Delete(values));
        Ok(match builder.change(record, &mapping, change, at, None) {
            Pushed::Taken => Ok(Step::Next),
            Pushed::CutBefore => Ok(Step::Cut),
            Pushed::Rejected(why) => Err(why),
        })
    }

    fn null_key(&mut self, record: &Record) -> Option<Key> {
        let key = record.key.as_ref()?;
        // Rows of several tables: a key does not tell which.
        if self.mixed.contains(&record.at.topic) {
            return None;
        }
        let mapping = Arc::clone(self.last_mapping.get(&record.at.topic)?);
        let decoder = decoder(&mut self.decoders, &self.config, &record.at.topic);
        let key = decoder.open_key(key).ok()??;
        let row = decoder.decode_key(&key).ok()??;
        let values = mapping.key_values(&row, &key)?;
        let canonical = mapping.key_bytes(&values.iter().collect::<Vec<_>>()).ok()?;
        Some(Key { mapping, values, canonical })
    }

    /// Takes note of what the keys of a topic's records belong to.
    pub(super) fn met(&mut self, topic: &Arc<str>, mapping: Arc<Mapping>) {
        let (id, name) = (mapping.table.id, mapping.table.name().clone());
        let known = self.last_mapping.insert(Arc::clone(topic), mapping);
        if known.is_some_and(|known| known.table.id != id && *known.table.name() != name) {
            self.mixed.insert(Arc::clone(topic));
        }
    }

    /// Finds out what the keys of a topic belong to, when the first record that was read of it is a null value: from what was
    /// stored when the topic's tables were met, else from the records behind.
    pub(super) async fn learn<L: Lookup>(
        &mut self,
        ahead: &[Record],
        topic: &Arc<str>,
        lookup: &mut L,
    ) -> Result<(), Failure> {
        let sources = lookup.sources(topic).await?;
        match (sources.as_slice(), ahead.first().and_then(|record| record.key.as_ref())) {
            ([], _) => {}
            ([source], Some(key)) => {
                let decoder = decoder(&mut self.decoders, &self.config, topic);
                let Ok(Some(key)) = decoder.open_key(key) else { return Ok(()) };
                let Ok(Some(row)) = decoder.decode_key(&key) else { return Ok(()) };
                // Only whether there is one matters.
                let position = if source.by_source { SourcePosition::Lsn(0) } else { SourcePosition::None("") };
                let key = Some(&*row.schema);
                let met = Met {
                    topic,
                    source: &source.table,
                    op: Op::Delete,
                    row: None,
                    key,
                    position: &position,
                    misfit: None,
                };
                return match lookup.resolve(met).await {
                    // Columns to order by are not known from a key.
                    Ok(Resolved::Rows(mapping)) if !matches!(mapping.order, OrderPolicy::Columns(_)) => {
                        self.met(topic, mapping);
                        Ok(())
                    }
                    Ok(_) | Err(Refused::Table(_)) => Ok(()),
                    Err(Refused::Database(failure)) => Err(failure),
                };
            }
            (_, None) => return Ok(()),
            (_, Some(_)) => {
                self.mixed.insert(Arc::clone(topic));
                return Ok(());
            }
        }
        for record in ahead.iter().filter(|record| record.at.topic == *topic).take(LOOK_AHEAD) {
            let decoder = decoder(&mut self.decoders, &self.config, topic);
            let Ok(opened) = decoder.open(record) else { continue };
            let Ok(Decoded::Change(event)) = decoder.read(topic, &opened) else { continue };
            if event.key.is_none() || event.op == Op::Truncate {
                continue;
            }
            match self.resolve(topic, &event, lookup).await {
                Ok(Resolved::Rows(mapping)) => {
                    self.met(topic, mapping);
                    return Ok(());
                }
                Ok(_) | Err(Refused::Table(_)) => {}
                Err(Refused::Database(failure)) => return Err(failure),
            }
        }
        Ok(())
    }
}
