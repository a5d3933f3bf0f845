//! From the records of a segment to a plan: decode, find the table, convert, build the token, collapse.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use moka::sync::Cache;

use crate::config::checked::{Config, OnBadRecord, OnRegression};
use crate::core::batch::{BatchBuilder, Pushed, order_values};
use crate::core::collect::below_floor;
use crate::core::decode::TopicDecoder;
use crate::core::epoch::EpochRow;
use crate::core::event::{Control, Decoded, Op, Place, RawEvent, Rejection, SourceTable};
use crate::core::failure::Failure;
use crate::core::lane::{Lane, Segment};
use crate::core::ledger::{Ledger, Meeting, Top};
use crate::core::mapping::{Change, Effect, Mapping};
use crate::core::nulls::Nulls;
use crate::core::order::{OrderPolicy, column_token, delete_token, scope_description, token};
use crate::core::plan::{KnownNulls, LedgerEntry, Plan, Upsert};
use crate::core::record::{Payload, Record, TopicPartition};
use crate::core::table::Table;
use crate::core::token::Token;
use crate::sink::Session;

use super::log_row::{log_columns, log_value, no_token};
use super::lookup::{Bounds, Live, Lookup, Scopes};
use super::nulls::orphan_null;
use super::tables::{Met, Refused, Resolved, Tables};

/// Tables and lists of fields that are remembered per lane. Fields of events without a schema are whatever a producer
/// writes, so there must be a limit.
const REMEMBERED_FIELDS: u64 = 10_000;

/// A segment turned into a plan.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Records at the head of the segment that are settled by it; the rest goes back into the queue.
    pub used: usize,
    /// Partitions that stop, with the offset at which they do and why. Their records from there on are not in the plan.
    pub halts: Vec<(TopicPartition, i64, Rejection)>,
}

/// What a pushed record asks for.
pub(super) enum Step {
    Next,
    /// End the plan before this record.
    Cut,
    /// Stop the record's partition here.
    Halt(Rejection),
}

/// A record with what was decoded of it.
pub(super) struct Reading<'r> {
    pub(super) record: &'r Record,
    /// The bytes that the event points into.
    value: &'r Bytes,
    pub(super) incarnation: &'r Arc<str>,
}

/// Topic, source table, fields of row and key (0 for none), whether there is a position, whether it is a TRUNCATE.
type MappingKey = (Arc<str>, SourceTable, u64, u64, bool, bool);

/// Plans the segments of one lane (or of a replay, or of a retry).
#[derive(Debug)]
pub struct Planner {
    config: Arc<Config>,
    tables: Arc<Tables>,
    scopes: Arc<Scopes>,
    pub(super) decoders: HashMap<Arc<str>, TopicDecoder>,
    pub(super) ledgers: HashMap<TopicPartition, Ledger>,
    pub(super) nulls: HashMap<TopicPartition, Nulls>,
    mappings: Cache<MappingKey, Resolved>,
    log_columns: HashMap<u32, Arc<[usize]>>,
    /// The last mapping of each topic's rows: what a record key alone may mean.
    pub(super) last_mapping: HashMap<Arc<str>, Arc<Mapping>>,
    /// Bounds of the tables of the plan that is being made.
    pub(super) bounds: HashMap<u32, Arc<Bounds>>,
    checkpoint_owner: Arc<str>,
    repair: bool,
    /// Replays and retries read beside the live run: they use its source epochs and open none.
    pub(super) follows: bool,
    /// Token and source time of the streamed change that is being planned.
    streamed: Option<(Token, Option<i64>)>,
}

impl Planner {
    /// A planner under the checkpoints of `checkpoint_owner`.
    pub fn new(
        config: Arc<Config>,
        tables: Arc<Tables>,
        scopes: Arc<Scopes>,
        checkpoint_owner: Arc<str>,
        repair: bool,
    ) -> Self {
        let follows = *checkpoint_owner != *config.pipeline;
        Self {
            config,
            tables,
            scopes,
            decoders: HashMap::new(),
            ledgers: HashMap::new(),
            nulls: HashMap::new(),
            mappings: Cache::new(REMEMBERED_FIELDS),
            log_columns: HashMap::new(),
            last_mapping: HashMap::new(),
            bounds: HashMap::new(),
            checkpoint_owner,
            repair,
            follows,
            streamed: None,
        }
    }

    /// Takes in what the store knows of a partition that was claimed, in place of whatever is remembered.
    pub fn load_ledger(
        &mut self,
        at: &TopicPartition,
        incarnation: &str,
        entries: &[LedgerEntry],
        epochs: &[EpochRow],
        top: Top,
    ) {
        let top = if self.follows { Top::default() } else { top };
        self.nulls.insert(at.clone(), Nulls::load(entries, at, incarnation));
        self.ledgers.insert(at.clone(), Ledger::load(entries, epochs, at, incarnation, top));
    }

    /// Forgets what the records of a plan showed that was not committed.
    pub fn forget(&mut self, plan: &Plan) {
        for entry in &plan.ledger {
            if let Some(ledger) = self.ledgers.get_mut(&entry.at) {
                ledger.forget_from(entry.offset);
            }
            if let Some(nulls) = self.nulls.get_mut(&entry.at) {
                nulls.forget_from(entry.offset);
            }
        }
        self.tables.forget_bounds();
    }

    /// Plans a segment. A failure is one of the database; nothing was written.
    pub async fn plan(&mut self, lane: &Lane, segment: &Segment, session: &mut Session) -> Result<Planned, Failure> {
        let (tables, scopes) = (Arc::clone(&self.tables), Arc::clone(&self.scopes));
        self.plan_with(lane, segment, &mut Live { tables, scopes, session }).await
    }

    /// [`Self::plan`] with given answers to what a plan asks of the destination.
    pub(super) async fn plan_with<L: Lookup>(
        &mut self,
        lane: &Lane,
        segment: &Segment,
        lookup: &mut L,
    ) -> Result<Planned, Failure> {
        self.bounds.clear();
        let mut builder =
            BatchBuilder::new(self.config.pipeline.as_str().into(), Arc::clone(&self.checkpoint_owner), self.repair);
        for (at, owned) in lane.partitions() {
            builder.partition(at, owned.fence, owned.next, owned.open_delete.clone());
            if self.follows {
                let count = self.nulls.get(at).map_or(0, Nulls::count);
                builder.nulls(KnownNulls { at: at.clone(), incarnation: Arc::clone(&owned.incarnation), count });
            }
            self.ledgers.entry(at.clone()).or_default().begin(owned.next);
        }
        let mut halts: Vec<(TopicPartition, i64, Rejection)> = Vec::new();
        let mut used = segment.records.len();
        for (index, record) in segment.records.iter().enumerate() {
            if halts.iter().any(|(at, _, _)| *at == record.at) {
                continue;
            }
            let Some(owned) = lane.partition(&record.at) else { continue };
            if let Some(why) = lane.verdict(record) {
                match self.config.on_bad_record {
                    OnBadRecord::Quarantine => builder.quarantine(record, &owned.incarnation, None, None, why.clone()),
                    OnBadRecord::Stop => halts.push((record.at.clone(), record.offset, why.clone())),
                }
                continue;
            }
            if record.value.is_none() && !self.last_mapping.contains_key(&record.at.topic) {
                self.learn(&segment.records[index..], &record.at.topic, lookup).await?;
            }
            let step = match self.record(&mut builder, record, &owned.incarnation, lookup).await {
                Ok(step) => step,
                Err(failure) => {
                    self.forget(&builder.finish());
                    return Err(failure);
                }
            };
            match step {
                Step::Next => {}
                Step::Cut => {
                    used = index;
                    break;
                }
                Step::Halt(why) => halts.push((record.at.clone(), record.offset, why)),
            }
        }
        if used == segment.records.len() {
            for (at, position) in &segment.reach {
                if !halts.iter().any(|(halted, _, _)| halted == at) {
                    builder.reach(at, *position);
                }
            }
        }
        let mut plan = builder.finish();
        for advance in &mut plan.advances {
            advance.top = self.ledgers.get(&advance.at).map(Ledger::top).unwrap_or_default();
        }
        Ok(Planned { plan, used, halts })
    }

    /// Plans one quarantined record again, without moving a checkpoint.
    pub async fn retry(
        &mut self,
        record: &Record,
        incarnation: &Arc<str>,
        id: i64,
        session: &mut Session,
    ) -> Result<Result<Plan, Rejection>, Failure> {
        let (tables, scopes) = (Arc::clone(&self.tables), Arc::clone(&self.scopes));
        let mut lookup = Live { tables, scopes, session };
        let mut builder =
            BatchBuilder::new(self.config.pipeline.as_str().into(), Arc::clone(&self.checkpoint_owner), self.repair);
        builder.settles(id);
        self.bounds.clear();
        if record.value.is_none() {
            return Ok(Err(orphan_null("what lies behind it was applied since")));
        }
        self.follows = true;
        // Quarantining again must be seen as a rejection, not as a success: the record's own verdict counts.
        match self.decide(&mut builder, record, incarnation, &mut lookup).await? {
            Ok(Step::Next) => {
                let mut plan = builder.finish();
                plan.advances.clear();
                Ok(Ok(plan))
            }
            Ok(Step::Cut) => Ok(Err(Rejection::new("cut", "the record cannot be applied alone"))),
            Ok(Step::Halt(why)) | Err(why) => Ok(Err(why)),
        }
    }

    /// Pushes one record; what is wrong with it alone is quarantined or stops its partition, as configured.
    async fn record<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        record: &Record,
        incarnation: &Arc<str>,
        lookup: &mut L,
    ) -> Result<Step, Failure> {
        match self.decide(builder, record, incarnation, lookup).await? {
            Ok(step) => Ok(step),
            Err(why) if why.stops_table || self.config.on_bad_record == OnBadRecord::Stop => Ok(Step::Halt(why)),
            Err(why) => {
                builder.quarantine(record, incarnation, None, None, why);
                Ok(Step::Next)
            }
        }
    }

    async fn decide<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        record: &Record,
        incarnation: &Arc<str>,
        lookup: &mut L,
    ) -> Result<Result<Step, Rejection>, Failure> {
        let topic = Arc::clone(&record.at.topic);
        let decoder = self.decoders.entry(Arc::clone(&topic)).or_default();
        // Behind a schema that is known the rest says everything; the value is put together only where it is not.
        let rest = record.value.as_ref().filter(|value| decoder.knows(value.head())).map(|value| value.body().clone());
        let known = rest.is_some();
        let value = rest.or_else(|| record.value.as_ref().map(Payload::whole)).unwrap_or_default();
        let bytes = record.value.as_ref().map(|_| &*value);
        let decoded = match bytes {
            Some(rest) if known => decoder.decode_rest(&topic, record.key.as_deref(), rest),
            bytes => decoder.decode(&topic, record.key.as_deref(), bytes),
        };
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(why) => return Ok(Err(why)),
        };
        match decoded {
            Decoded::Control(Control::Heartbeat | Control::Transaction | Control::SchemaChange | Control::Message) => {
                builder.control(record);
                Ok(Ok(Step::Next))
            }
            Decoded::Null => self.null(builder, record, incarnation, lookup).await,
            Decoded::Change(event) => {
                let reading = Reading { record, value: &value, incarnation };
                self.change(builder, &reading, event, lookup).await
            }
        }
    }

    async fn change<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        reading: &Reading<'_>,
        event: RawEvent<'_>,
        lookup: &mut L,
    ) -> Result<Result<Step, Rejection>, Failure> {
        let Reading { record, incarnation, .. } = *reading;
        let resolved = match self.resolve(&record.at.topic, &event, lookup).await {
            Ok(resolved) => resolved,
            Err(Refused::Table(why)) => return Ok(Err(why)),
            Err(Refused::Database(failure)) => return Err(failure),
        };
        self.streamed = None;
        let by_source = match &resolved {
            Resolved::Skip => false,
            Resolved::Rows(mapping) => mapping.order == OrderPolicy::Source,
            Resolved::Whole(_) | Resolved::Log(_) => true,
        };
        let met = if by_source { self.meet(builder, reading, &event, lookup).await? } else { Ok(()) };
        if let Err(why) = &met
            && !matches!(resolved, Resolved::Log(_))
        {
            return Ok(Err(why.clone()));
        }
        let outcome = match resolved {
            Resolved::Skip => {
                builder.filtered(record, event.op);
                Ok(Step::Next)
            }
            Resolved::Whole(table) => self.truncate(builder, record, incarnation, &event, table, lookup).await?,
            // A change log promises every record and compares nothing: a position that has no epoch leaves its token empty.
            Resolved::Log(table) => self.log(builder, reading, &event, &table, met.is_ok(), lookup).await?,
            Resolved::Rows(mapping) => {
                if event.key.is_some() {
                    self.last_mapping.insert(Arc::clone(&record.at.topic), Arc::clone(&mapping));
                }
                self.row(builder, reading, &event, &mapping, lookup).await?
            }
        };
        let passes = match &outcome {
            Ok(step) => matches!(step, Step::Next),
            Err(why) => !why.stops_table && self.config.on_bad_record == OnBadRecord::Quarantine,
        };
        if by_source && passes {
            let streamed = self.streamed.take();
            self.ledgers.entry(record.at.clone()).or_default().raise(streamed);
        }
        Ok(outcome)
    }

    /// Learns what the record shows about its source's epoch, so that its token can be built.
    async fn meet<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        reading: &Reading<'_>,
        event: &RawEvent<'_>,
        lookup: &mut L,
    ) -> Result<Result<(), Rejection>, Failure> {
        let Reading { record, incarnation, .. } = *reading;
        let ledger = self.ledgers.entry(record.at.clone()).or_default();
        match ledger.meet(&record.at, incarnation, record.offset, &event.position) {
            Meeting::Known => {}
            Meeting::Fact(_) if self.follows => {}
            Meeting::Fact(entry) => builder.ledger(entry),
            Meeting::Ask(question) if self.follows => return Ok(ledger.follow(question)),
            Meeting::Ask(question) => match lookup.epoch(question).await? {
                Ok(row) => ledger.add(row),
                Err(why) => return Ok(Err(why)),
            },
        }
        Ok(Ok(()))
    }

    /// Notes the token of a streamed change. Refuses one that lost only because its source's positions started again.
    fn watch(&mut self, record: &Record, event: &RawEvent<'_>, token: Token) -> Result<(), Rejection> {
        if self.follows || !event.position.is_streamed() || event.position.place() == Place::Unknown {
            return Ok(());
        }
        let ledger = self.ledgers.entry(record.at.clone()).or_default();
        let margin_ms = i64::try_from(self.config.regression_margin.as_millis()).unwrap_or(i64::MAX);
        if ledger.regresses(&token, event.source_time_ms, margin_ms) {
            let top = ledger.top_token().map(|top| top.hex()).unwrap_or_default();
            let what = format!(
                "{} offset {}: the change is later by its source time than everything before it in the partition, but its position is lower (token {}, before it {top}; `lastword token decode` shows both): the source's positions seem to have started again (a restore, another server). If so: `lastword epoch open --topic {}`",
                record.at,
                record.offset,
                token.hex(),
                record.at.topic
            );
            return Err(match self.config.on_regression {
                OnRegression::Halt => Rejection::table("epoch_regression", what),
                OnRegression::Quarantine => Rejection::new("epoch_regression", what),
            });
        }
        self.streamed = Some((token, event.source_time_ms));
        Ok(())
    }

    pub(super) async fn resolve<L: Lookup>(
        &self,
        topic: &Arc<str>,
        event: &RawEvent<'_>,
        lookup: &mut L,
    ) -> Result<Resolved, Refused> {
        let row = event.after.as_ref().or(event.before.as_ref()).map(|row| &*row.schema);
        let key = event.key.as_ref().map(|key| &*key.schema);
        let has_position = event.position != crate::core::event::SourcePosition::None;
        let id = |schema: Option<&crate::core::event::RowSchema>| schema.map_or(0, |schema| schema.id);
        let known: MappingKey =
            (Arc::clone(topic), event.table.clone(), id(row), id(key), has_position, event.op == Op::Truncate);
        if let Some(resolved) = self.mappings.get(&known) {
            return Ok(resolved);
        }
        let met = Met { topic, source: &event.table, op: event.op, row, key, position: &event.position };
        let resolved = lookup.resolve(met).await?;
        self.mappings.insert(known, resolved.clone());
        Ok(resolved)
    }

    async fn row<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        reading: &Reading<'_>,
        event: &RawEvent<'_>,
        mapping: &Mapping,
        lookup: &mut L,
    ) -> Result<Result<Step, Rejection>, Failure> {
        let Reading { record, value, incarnation } = *reading;
        let table = mapping.table.name().to_string();
        let scope = scope_description(&mapping.order, &event.source, &event.position, &table, &record.at, incarnation);
        let scope = lookup.scope(scope).await?;
        let empty = Bytes::new();
        let key_bytes = record.key.as_ref().unwrap_or(&empty);
        let change = match mapping.change(event, key_bytes, value) {
            Ok(change) => change,
            Err(why) => return Ok(Err(why)),
        };
        let token = match self.token_of(record, event, mapping, &change, scope, lookup).await? {
            Ok(token) => token,
            Err(why) => return Ok(Err(why)),
        };
        let outlived = self.nulls.get(&record.at).and_then(|nulls| nulls.of(key_bytes));
        if outlived.is_some_and(|null| record.offset < null) {
            builder.outlived(record, &mapping.table, event.op);
            return Ok(Ok(Step::Next));
        }
        if let Effect::Upsert(row) = &change.effect
            && self.below_floor(builder, mapping, &change.key, row, token, lookup).await?
        {
            return Ok(Err(below_floor(mapping.table.name())));
        }
        if mapping.order == OrderPolicy::Source
            && let Err(why) = self.watch(record, event, token)
        {
            return Ok(Err(why));
        }
        Ok(match builder.change(record, mapping, change, token, event.source_time_ms) {
            Pushed::Taken => {
                self.note_snapshot(builder, reading, event, mapping, scope);
                Ok(Step::Next)
            }
            Pushed::CutBefore => Ok(Step::Cut),
            Pushed::Rejected(why) => Err(why),
        })
    }

    async fn token_of<L: Lookup>(
        &self,
        record: &Record,
        event: &RawEvent<'_>,
        mapping: &Mapping,
        change: &Change,
        scope: u16,
        lookup: &mut L,
    ) -> Result<Result<Token, Rejection>, Failure> {
        let (at, offset) = (&record.at, record.offset);
        if let OrderPolicy::Columns(columns) = &mapping.order {
            return match &change.effect {
                Effect::Upsert(values) => Ok(column_token(scope, &order_values(values, columns), at, offset)
                    .ok_or_else(|| {
                        Rejection::new(
                            "order_by",
                            format!(
                                "an `order_by` column of {} is NULL, or of a type that has no order here",
                                mapping.table.name()
                            ),
                        )
                    })),
                Effect::Delete(key) => {
                    let stored = lookup.stored_token(&mapping.table, key).await?;
                    Ok(Ok(delete_token(scope, stored.as_ref(), columns.len(), at, offset)))
                }
            };
        }
        let fallback = Ledger::default();
        let ledger = self.ledgers.get(at).unwrap_or(&fallback);
        Ok(token(&mapping.order, scope, &event.position, ledger, at, offset)
            .ok_or_else(|| Rejection::new("missing_position", "the event carries no position of its source")))
    }

    /// A TRUNCATE; of a table that does not exist here it has nothing to do.
    async fn truncate<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        record: &Record,
        incarnation: &Arc<str>,
        event: &RawEvent<'_>,
        table: Option<Arc<Table>>,
        lookup: &mut L,
    ) -> Result<Result<Step, Rejection>, Failure> {
        let Some(table) = table else {
            builder.control(record);
            return Ok(Ok(Step::Next));
        };
        let policy = OrderPolicy::Source;
        let scope = scope_description(&policy, &event.source, &event.position, "", &record.at, incarnation);
        let scope = lookup.scope(scope).await?;
        let fallback = Ledger::default();
        let ledger = self.ledgers.get(&record.at).unwrap_or(&fallback);
        let Some(token) = token(&policy, scope, &event.position, ledger, &record.at, record.offset) else {
            return Ok(Err(Rejection::new("missing_position", "the TRUNCATE carries no position of its source")));
        };
        if let Err(why) = self.watch(record, event, token) {
            return Ok(Err(why));
        }
        Ok(match builder.truncate(record, &table, token) {
            Pushed::Taken => Ok(Step::Next),
            Pushed::CutBefore => Ok(Step::Cut),
            Pushed::Rejected(why) => Err(why),
        })
    }

    async fn log<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        reading: &Reading<'_>,
        event: &RawEvent<'_>,
        table: &Arc<Table>,
        has_epoch: bool,
        lookup: &mut L,
    ) -> Result<Result<Step, Rejection>, Failure> {
        let Reading { record, incarnation, .. } = *reading;
        let policy = OrderPolicy::Source;
        let scope = scope_description(&policy, &event.source, &event.position, "", &record.at, incarnation);
        let scope = lookup.scope(scope).await?;
        let fallback = Ledger::default();
        let ledger = self.ledgers.get(&record.at).unwrap_or(&fallback);
        let token = token(&policy, scope, &event.position, ledger, &record.at, record.offset).filter(|_| has_epoch);
        let columns = self.log_columns.entry(table.id).or_insert_with(|| log_columns(table));
        let values =
            columns.iter().map(|at| log_value(&table.shape.columns[*at], record, incarnation, event, token)).collect();
        let row = Upsert { token: token.unwrap_or_else(no_token), values };
        builder.log(record, table, columns, row, event.op, event.source_time_ms);
        Ok(Ok(Step::Next))
    }
}
