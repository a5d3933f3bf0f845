//! What must be there, by the oracle.
//!
//! Who wins is decided in memory ([`crate::sink::memory`]), record by record in the order of the script. What won is then written down
//! once for each key into an empty destination, so that it reads as the same values read there; nothing is left to be decided.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::core::failure::{Class, Failure};
use crate::core::lane::{Lane, Limits};
use crate::core::plan::{Delete, Plan, TablePlan, Upsert, UpsertGroup};
use crate::core::record::TopicPartition;
use crate::core::table::{Table, TableName};
use crate::core::token::TokenWriter;
use crate::core::value::Value;
use crate::runtime::lookup::Recalled;
use crate::runtime::planner::Planner;
use crate::runtime::supervisor::Pipeline;
use crate::sink::Sink;
use crate::sink::bookkeep::ClaimRequest;
use crate::sink::memory::{Held, Memory, Row};
use crate::source::Source;
use crate::source::script::Direct;

use super::contents::{self, Contents};
use super::scenario::Scenario;

/// The generation of the one assignment.
const GENERATION: u64 = 1;

struct Oracle {
    pipeline: Pipeline,
    planner: Planner,
    lane: Lane,
    memory: Memory,
    /// Tables that plans met.
    tables: BTreeMap<TableName, Arc<Table>>,
}

pub(super) async fn expected(scenario: &Scenario) -> Result<Contents, Failure> {
    let config = scenario.checked(None)?;
    let log = scenario.log();
    let source = Source::Script(log.source(&config.pipeline, Arc::new(Direct)));
    let sink = Sink::new(&config.sink)?;
    let mut session = sink.session("testing").await?;
    let pipeline = Pipeline::with(Arc::clone(&config), sink, source).await?;
    if !contents::read(&mut session, &config.pipeline).await?.rows.is_empty() {
        let what = "the destination was applied to before; what is expected is written into an empty one of its own";
        return Err(Failure::operator("testing", what));
    }
    let mut oracle = Oracle::new(pipeline).await?;
    for record in scenario.records() {
        let mut record = record.clone();
        if oracle.pipeline.registry.is_framed(&record) {
            oracle.pipeline.registry.open(&mut record).await?;
        }
        oracle.lane.take(GENERATION, vec![record], Duration::ZERO);
        oracle.work().await?;
    }
    for plan in oracle.written_down()? {
        session.apply(&plan).await?;
    }
    contents::read(&mut session, &config.pipeline).await
}

impl Oracle {
    async fn new(pipeline: Pipeline) -> Result<Self, Failure> {
        let owner: Arc<str> = pipeline.config.pipeline.as_str().into();
        let mut planner = pipeline.planner(&owner, false);
        let mut lane = Lane::new(Limits { rows: 1, bytes: usize::MAX, age: Duration::ZERO }, 0);
        let mut memory = Memory::default();
        let mut requests = Vec::new();
        for topic in pipeline.source.topics().await? {
            let at = |partition| TopicPartition { topic: Arc::clone(&topic.topic), partition };
            let request = |partition| ClaimRequest { at: at(partition), incarnation: Arc::clone(&topic.incarnation) };
            requests.extend((0..topic.partitions).map(request));
        }
        let first: HashMap<_, _> = requests.iter().map(|request| (request.at.clone(), 0)).collect();
        for claim in memory.claim(&owner, "oracle", &requests, &first)? {
            planner.load_ledger(&claim.at, &claim.incarnation, claim.fence, &[], &[], claim.top);
            lane.assign(GENERATION, claim.into());
        }
        Ok(Self { pipeline, planner, lane, memory, tables: BTreeMap::new() })
    }

    /// Plans and applies what is queued.
    async fn work(&mut self) -> Result<(), Failure> {
        while let Ok(segment) = self.lane.cut(Duration::MAX) {
            let shapes = Arc::clone(&self.pipeline.tables);
            let mut recalled = Recalled { memory: &mut self.memory, shapes };
            let planned = self.planner.plan_with(&self.lane, &segment, &mut recalled).await?;
            if let Some((at, offset, why)) = planned.halts.first() {
                return Err(Failure::operator("testing", format!("partition {at} stops at offset {offset}: {why}")));
            }
            match self.memory.apply(&planned.plan) {
                Ok(_) => {
                    let met = planned.plan.tables.iter().map(|table| &table.table);
                    self.tables.extend(met.map(|table| (table.name().clone(), Arc::clone(table))));
                    self.lane.committed(segment.records.len(), &planned.plan.advances);
                }
                Err(failure) if failure.class == Class::Record => {
                    self.planner.forget(&planned.plan);
                    self.lane.failed(segment.records, &planned.plan.advances, &failure, Duration::ZERO);
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Plans that write down what the memory holds: rows, then the deletes of those that are marked.
    fn written_down(&self) -> Result<Vec<Plan>, Failure> {
        let (mut rows, mut deletes) = (self.plan(), self.plan());
        for (name, held) in self.memory.contents() {
            let Some(table) = self.tables.get(name) else { continue };
            let mut groups: BTreeMap<Vec<usize>, Vec<Upsert>> = BTreeMap::new();
            let mut marked = TablePlan::new(Arc::clone(table));
            for held in held.keys.values() {
                match held {
                    Held::Row(row) => {
                        let (columns, values) = cells(table, &row.values);
                        if row.deleted {
                            marked.deletes.push(Delete { token: row.token, key: key(table, row) });
                        }
                        // Below the token of its delete, which takes effect then.
                        let below = row.token.just_below().filter(|_| row.deleted);
                        let upsert = Upsert { token: below.unwrap_or(row.token), values };
                        groups.entry(columns).or_default().push(upsert);
                    }
                    Held::Logged(values) => {
                        let (columns, values) = cells(table, values);
                        let token = TokenWriter::new(0, 0).finish();
                        groups.entry(columns).or_default().push(Upsert { token, values });
                    }
                    Held::Tombstone(_) => {}
                }
            }
            let group = |(columns, rows): (Vec<usize>, _)| UpsertGroup { columns: columns.into(), rows };
            let upserts = groups.into_iter().map(group).collect();
            rows.tables.push(TablePlan { upserts, ..TablePlan::new(Arc::clone(table)) });
            deletes.tables.push(marked);
        }
        Ok(vec![rows, deletes])
    }

    fn plan(&self) -> Plan {
        let pipeline: Arc<str> = self.pipeline.config.pipeline.as_str().into();
        Plan { checkpoint_owner: Arc::clone(&pipeline), pipeline, ..Plan::default() }
    }
}

/// Columns that have a value, with their values.
fn cells(table: &Table, values: &BTreeMap<String, Value>) -> (Vec<usize>, Vec<Value>) {
    let known = |(at, column): (usize, &crate::core::table::Column)| Some((at, values.get(&column.name)?.clone()));
    table.shape.columns.iter().enumerate().filter_map(known).unzip()
}

fn key(table: &Table, row: &Row) -> Vec<Value> {
    let value = |at: &usize| row.values.get(&table.shape.columns[*at].name).cloned().unwrap_or(Value::Null);
    table.key.iter().map(value).collect()
}
