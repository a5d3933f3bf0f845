//! From the records of a segment to a plan: decode, find the table, convert, build the token, collapse.

mod aside;
mod epochs;
mod floor;
mod log;
mod meeting;
mod truncate;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use moka::sync::Cache;

use crate::config::checked::{Config, OnBadRecord};
use crate::core::batch::{BatchBuilder, Pushed, order_values};
use crate::core::collect::below_floor;
use crate::core::decode::{OnUnrepresentable, TopicDecoder, says_null};
use crate::core::epoch::EpochRow;
use crate::core::event::{Control, Decoded, RawEvent, Rejection};
use crate::core::failure::Failure;
use crate::core::lane::{Lane, Segment};
use crate::core::ledger::{Ledger, Top};
use crate::core::mapping::{Change, Effect, Mapping};
use crate::core::nulls::Nulls;
use crate::core::order::{OrderPolicy, column_token, delete_token, scope_description};
use crate::core::plan::{KnownNulls, LedgerEntry, Plan};
use crate::core::record::{Record, TopicPartition};
use crate::core::table::TableName;
use crate::core::token::Token;
use crate::core::value::Value;
use crate::sink::Session;
use crate::telemetry::metrics;

use aside::incomplete;
use log::LogTable;
use meeting::MappingKey;

use super::lookup::{Bounds, Live, Lookup, Scopes};
use super::nulls::orphan_null;
use super::tables::{Refused, Resolved, Tables};

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
    pub halts: Vec<Halt>,
}

/// A partition that stops, the offset at which it does, and why.
type Halt = (TopicPartition, i64, Rejection);
/// Records that cannot be applied, and why.
type Refusals = HashMap<(TopicPartition, i64), Rejection>;

/// What a pushed record asks for.
pub(super) enum Step {
    Next,
    /// End the plan before this record.
    Cut,
    /// Stop the record's partition here.
    Halt(Rejection),
}

/// A record with what was decoded of it.
struct Reading<'r> {
    record: &'r Record,
    /// The bytes that the event points into.
    value: &'r Bytes,
    incarnation: &'r Arc<str>,
    /// Place of the change in its record, and how many the record holds.
    part: u32,
    parts: u32,
}

/// Plans the segments of one lane (or of a replay, or of a retry).
#[derive(Debug)]
pub struct Planner {
    pub(super) config: Arc<Config>,
    tables: Arc<Tables>,
    scopes: Arc<Scopes>,
    pub(super) decoders: HashMap<Arc<str>, TopicDecoder>,
    pub(super) ledgers: HashMap<TopicPartition, Ledger>,
    pub(super) nulls: HashMap<TopicPartition, Nulls>,
    /// The fences of the claims, for what is written beside the batches.
    fences: HashMap<TopicPartition, i64>,
    mappings: Cache<MappingKey, Resolved>,
    /// The version of the tables that `mappings` are of.
    tables_version: u64,
    log_columns: HashMap<u32, Arc<[usize]>>,
    /// The last mapping of each topic's rows: what a record key alone may mean.
    pub(super) last_mapping: HashMap<Arc<str>, Arc<Mapping>>,
    /// Columns of tables that were given other values than their events had.
    adjusted: HashSet<(u32, usize)>,
    /// Topics with rows of several tables.
    pub(super) mixed: HashSet<Arc<str>>,
    /// Bounds of the tables of the plan that is being made.
    bounds: HashMap<u32, Arc<Bounds>>,
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
            fences: HashMap::new(),
            mappings: Cache::new(REMEMBERED_FIELDS),
            tables_version: 0,
            log_columns: HashMap::new(),
            last_mapping: HashMap::new(),
            adjusted: HashSet::new(),
            mixed: HashSet::new(),
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
        fence: i64,
        entries: &[LedgerEntry],
        epochs: &[EpochRow],
        top: Top,
    ) {
        let top = if self.follows { Top::default() } else { top };
        self.fences.insert(at.clone(), fence);
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
    ///
    /// A draft whose partial rows cannot all be completed is thrown away, and the segment is planned again with those records put
    /// aside: so a record that is put aside leaves no trace in the rest of the plan.
    pub(crate) async fn plan_with<L: Lookup>(
        &mut self,
        lane: &Lane,
        segment: &Segment,
        lookup: &mut L,
    ) -> Result<Planned, Failure> {
        self.bounds.clear();
        let mut refused = Refusals::new();
        loop {
            let (builder, used, halts) = self.draft(lane, segment, &refused, lookup).await?;
            let more = match incomplete(&builder, lookup).await {
                Ok(more) => more,
                Err(failure) => {
                    self.forget(&builder.finish());
                    return Err(failure);
                }
            };
            if more.is_empty() {
                let mut plan = builder.finish();
                for advance in &mut plan.advances {
                    advance.top = self.ledgers.get(&advance.at).map(Ledger::top).unwrap_or_default();
                }
                return Ok(Planned { plan, used, halts });
            }
            self.forget(&builder.finish());
            refused.extend(more);
        }
    }

    async fn draft<L: Lookup>(
        &mut self,
        lane: &Lane,
        segment: &Segment,
        refused: &Refusals,
        lookup: &mut L,
    ) -> Result<(BatchBuilder, usize, Vec<Halt>), Failure> {
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
        let mut halts: Vec<Halt> = Vec::new();
        let mut used = segment.records.len();
        for (index, record) in segment.records.iter().enumerate() {
            if halts.iter().any(|(at, _, _)| *at == record.at) {
                continue;
            }
            let Some(owned) = lane.partition(&record.at) else { continue };
            if says_null(record.value.as_ref()) && !self.last_mapping.contains_key(&record.at.topic) {
                self.learn(&segment.records[index..], &record.at.topic, lookup).await?;
            }
            let step = match lane.verdict(record).or_else(|| refused.get(&(record.at.clone(), record.offset))) {
                Some(why) => self.put_aside(&mut builder, record, &owned.incarnation, why.clone(), lookup).await,
                None => self.record(&mut builder, record, &owned.incarnation, lookup).await,
            };
            let step = match step {
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
        Ok((builder, used, halts))
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
        if says_null(record.value.as_ref()) {
            return Ok(Err(orphan_null("what lies behind it was applied since")));
        }
        self.follows = true;
        // Quarantining again must be seen as a rejection, not as a success: the record's own verdict counts.
        match self.decide(&mut builder, record, incarnation, &mut lookup).await? {
            Ok(Step::Next) => {
                if let Some(why) = incomplete(&builder, &mut lookup).await?.into_values().next() {
                    return Ok(Err(why));
                }
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
            Err(why) => self.put_aside(builder, record, incarnation, why, lookup).await,
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
        let decoder = decoder(&mut self.decoders, &self.config, &topic);
        let opened = match decoder.open(record) {
            Ok(opened) => opened,
            Err(why) => return Ok(Err(why)),
        };
        let value = opened.value();
        let decoded = decoder.read(&topic, &opened);
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
                let reading = Reading { record, value: &value, incarnation, part: 0, parts: 1 };
                self.change(builder, &reading, event, lookup).await
            }
            Decoded::Changes(events) => {
                let reading = Reading { record, value: &value, incarnation, part: 0, parts: events.len() as u32 };
                self.changes(builder, reading, events, lookup).await
            }
        }
    }

    /// The changes of a record that holds several. A cut between them ends the plan before the record: what of it is in the plan
    /// is applied again with it, and changes nothing then. Where nothing lies before the record no cut can help.
    async fn changes<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        mut reading: Reading<'_>,
        events: Vec<RawEvent<'_>>,
        lookup: &mut L,
    ) -> Result<Result<Step, Rejection>, Failure> {
        let nothing_before = builder.is_empty();
        let mut outcome = Ok(Ok(Step::Next));
        for (part, event) in events.into_iter().enumerate() {
            reading.part = part as u32;
            builder.more_follow(reading.part + 1 < reading.parts);
            outcome = self.change(builder, &reading, event, lookup).await;
            if !matches!(outcome, Ok(Ok(Step::Next))) {
                break;
            }
        }
        builder.more_follow(false);
        match outcome {
            Ok(Ok(Step::Cut)) if nothing_before => Ok(Err(Rejection::new(
                "cut",
                "the record changes one key several times in a way that takes several transactions",
            ))),
            outcome => outcome,
        }
    }

    async fn change<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        reading: &Reading<'_>,
        event: RawEvent<'_>,
        lookup: &mut L,
    ) -> Result<Result<Step, Rejection>, Failure> {
        let record = reading.record;
        let resolved = match self.resolve(&record.at.topic, &event, lookup).await {
            Ok(resolved) => resolved,
            Err(Refused::Table(why)) => return Ok(Err(why)),
            Err(Refused::Database(failure)) => return Err(failure),
        };
        self.streamed = None;
        let by_source = match &resolved {
            Resolved::Skip => false,
            Resolved::Rows(mapping) => mapping.order == OrderPolicy::Source,
            Resolved::Whole(_) | Resolved::Missing(_) | Resolved::Log(..) => true,
        };
        let met = if by_source { self.meet(builder, reading, &event, lookup).await? } else { Ok(()) };
        if let Err(why) = &met
            && !matches!(resolved, Resolved::Log(..))
        {
            return Ok(Err(why.clone()));
        }
        let outcome = match resolved {
            Resolved::Skip => {
                builder.filtered(record, event.op);
                Ok(Step::Next)
            }
            Resolved::Whole(table) => self.truncate(builder, reading, &event, Ok(&table), lookup).await?,
            Resolved::Missing(missing) => self.truncate(builder, reading, &event, Err(&missing), lookup).await?,
            Resolved::Log(..) if reading.parts > 1 => Err(Rejection::new(
                "several_changes",
                "the record holds several changes, and a change log keeps one for each record",
            )),
            // A change log promises every record and compares nothing: a position that has no epoch leaves its token empty.
            Resolved::Log(table, unavailable) => {
                let log = LogTable { table: &table, unavailable: &unavailable, has_epoch: met.is_ok() };
                self.log(builder, reading, &event, log, lookup).await?
            }
            Resolved::Rows(mapping) => {
                if event.key.is_some() {
                    self.met(&record.at.topic, Arc::clone(&mapping));
                }
                match self.row(builder, reading, &event, &mapping, lookup).await? {
                    Err(why) => match self.refit(&record.at.topic, &event, &mapping, &why, lookup).await? {
                        Some(newer) => self.row(builder, reading, &event, &newer, lookup).await?,
                        None => Err(why),
                    },
                    done => done,
                }
            }
        };
        let passes = match &outcome {
            Ok(step) => matches!(step, Step::Next),
            Err(why) => why.puts_aside(self.config.on_bad_record == OnBadRecord::Quarantine),
        };
        if by_source && passes {
            let streamed = self.streamed.take();
            self.ledgers.entry(record.at.clone()).or_default().raise(streamed);
        }
        Ok(outcome)
    }

    async fn row<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        reading: &Reading<'_>,
        event: &RawEvent<'_>,
        mapping: &Mapping,
        lookup: &mut L,
    ) -> Result<Result<Step, Rejection>, Failure> {
        let Reading { record, value, incarnation, part, .. } = *reading;
        let table = mapping.table.name().to_string();
        let scope = scope_description(&mapping.order, &event.source, &event.position, &table, &record.at, incarnation);
        let scope = lookup.scope(scope).await?;
        let empty = Bytes::new();
        let key_bytes = record.key.as_ref().unwrap_or(&empty);
        let change = match mapping.change(event, key_bytes, value) {
            Ok(change) => change,
            Err(why) => return Ok(Err(why)),
        };
        for (column, choice) in &change.adjusted {
            self.note_adjusted(mapping, *column, *choice);
        }
        let token = match self.token_of(record, event, mapping, &change, scope, lookup).await? {
            Ok(token) => token.part(part),
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
            && let Err(why) = admit(mapping.table.name(), scope, event, lookup).await?
        {
            return Ok(Err(why));
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

    /// Counts a value that is not the event's, and says so once for each column.
    fn note_adjusted(&mut self, mapping: &Mapping, column: usize, choice: OnUnrepresentable) {
        let table = mapping.table.name();
        let name = &mapping.table.shape.columns[column].name;
        metrics::unrepresentable(table, name, choice.word());
        if self.adjusted.insert((mapping.table.id, column)) {
            tracing::warn!(
                %table, column = %name, choice = choice.word(),
                "a value does not fit its column and another one is written in its place, as `on_unrepresentable` says"
            );
        }
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
                    .ok_or_else(|| no_order(mapping.table.name()))),
                Effect::Partial(row) => Ok(partial_order(mapping, columns, row)
                    .and_then(|values| column_token(scope, &values, at, offset))
                    .ok_or_else(|| no_order(mapping.table.name()))),
                Effect::Delete(key) => {
                    let stored = lookup.stored_token(&mapping.table, key).await?;
                    Ok(Ok(delete_token(scope, stored.as_ref(), columns.len(), at, offset)))
                }
            };
        }
        Ok(self
            .placed(&mapping.order, scope, event, record)
            .ok_or_else(|| Rejection::new("missing_position", "the event carries no position of its source")))
    }
}

/// Refuses a second source for a table whose rows carry tokens of another one: not a record here and there, the whole table.
async fn admit<L: Lookup>(
    table: &TableName,
    scope: u16,
    event: &RawEvent<'_>,
    lookup: &mut L,
) -> Result<Result<(), Rejection>, Failure> {
    let Some(own) = lookup.admit(table, scope).await? else { return Ok(Ok(())) };
    Ok(Err(Rejection::table("two_sources", two_sources(&table.to_string(), &own, &event.source))))
}

/// What is wrong with two sources for one table, and what to do.
pub(crate) fn two_sources(table: &str, own: &str, other: &str) -> String {
    format!(
        "table {table} holds the changes of \"{own}\"; those of \"{other}\" cannot be ordered among them, because positions of \
         two sources cannot be compared. Give each source a table of its own (`into`), or name columns that order the changes \
         of both (`order_by`)"
    )
}

/// The decoder of a topic.
pub(super) fn decoder<'d>(
    known: &'d mut HashMap<Arc<str>, TopicDecoder>,
    config: &Config,
    topic: &Arc<str>,
) -> &'d mut TopicDecoder {
    known.entry(Arc::clone(topic)).or_insert_with(|| config.decoder(topic))
}

fn no_order(table: &crate::core::table::TableName) -> Rejection {
    let what = format!("an `order_by` column of {table} is NULL, or of a type that has no order here");
    Rejection::new("order_by", what)
}

/// Values of the order columns of a partial row, which must carry them.
fn partial_order<'v>(
    mapping: &Mapping,
    columns: &[usize],
    row: &'v crate::core::mapping::PartialRow,
) -> Option<Vec<&'v Value>> {
    let value = |at: &usize| {
        let column = mapping.columns.get(*at)?;
        let key = mapping.table.key.iter().position(|known| known == column).and_then(|place| row.key.get(place));
        key.or_else(|| row.cells.iter().find(|(known, _)| known == column).map(|(_, value)| value))
    };
    columns.iter().map(value).collect()
}

#[cfg(test)]
mod partial_rows;
