//! The destination of a simulation: one in memory, with two tables of fixed columns, that is asked for claims as they are, counts
//! what happens to it, and now and then does not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::epoch::{EpochQuestion, EpochRow};
use crate::core::event::Rejection;
use crate::core::failure::{Class, Failure};
use crate::core::lane::Claimed;
use crate::core::mapping::Mapping;
use crate::core::merge::Base;
use crate::core::order::OrderPolicy;
use crate::core::plan::{Applied, Plan, TableOutcome, TablePlan};
use crate::core::record::TopicPartition;
use crate::core::table::{Table, TableName, fixture};
use crate::core::token::Token;
use crate::core::value::Value;
use crate::runtime::lookup::{Bounds, Lookup, Recalled, Shapes};
use crate::runtime::tables::{Met, Missing, Refused, Resolved};
use crate::sink::bookkeep::{ClaimRequest, LiveRow, PartialKey, TopicSource};
use crate::sink::memory::{Held, Memory, Row};

use super::history::{BAD, Random, TABLES};

/// Columns `v` and `w`.
pub type Values = [i64; 2];

/// Rows with their tokens, and tombstones: what a replay must not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub rows: BTreeMap<(String, i64), (Vec<u8>, Values)>,
    /// Columns that are older than their row.
    pub open: BTreeMap<(String, i64), BTreeMap<String, Token>>,
    pub tombstones: BTreeMap<(String, i64), Vec<u8>>,
    pub truncates: BTreeMap<String, Vec<u8>>,
    /// The greatest token collected.
    pub floors: BTreeMap<String, Vec<Token>>,
}

#[derive(Debug)]
pub struct Store {
    pub memory: Memory,
    /// Chance of a collection between a plan and its transaction, in percent.
    pub collect_percent: i64,
    /// Tombstones collected, and records that the transaction refused because of the floor.
    pub collected: u64,
    pub refused: u64,
    pub completed: u64,
    pub filled: u64,
    pub sum: TableOutcome,
    pub missed: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            memory: Memory::refusing(|column, value| column == "v" && *value == Value::Int(BAD)),
            collect_percent: 0,
            collected: 0,
            refused: 0,
            completed: 0,
            filled: 0,
            sum: TableOutcome::default(),
            missed: 0,
        }
    }
}

impl Store {
    /// Claims partitions for an owner, whoever has them.
    pub fn claim(&mut self, key: &str, owner: &str, partitions: &[TopicPartition]) -> Vec<Claimed> {
        let request = |at: &TopicPartition| ClaimRequest { at: at.clone(), incarnation: "-".into() };
        let requests: Vec<ClaimRequest> = partitions.iter().map(request).collect();
        let first = partitions.iter().map(|at| (at.clone(), 0)).collect();
        let claims = self.memory.claim(key, owner, &requests, &first).expect("partitions that can be claimed");
        claims.into_iter().map(Claimed::from).collect()
    }

    /// What the tables hold, by their keys.
    pub fn contents(&self) -> Contents {
        let mut contents = Contents::default();
        for (name, held) in self.memory.contents() {
            let name = &name.table;
            contents.truncates.extend(held.truncate.map(|token| (name.clone(), token.as_bytes().to_vec())));
            if !held.floors.is_empty() {
                contents.floors.insert(name.clone(), held.floors.clone());
            }
            for (bytes, held) in &held.keys {
                let key = (name.clone(), id_of(bytes));
                match held {
                    Held::Row(Row { token, values, open, .. }) => {
                        let values = ["v", "w"].map(|column| values[column].as_int().unwrap_or(-1));
                        if !open.is_empty() {
                            contents.open.insert(key.clone(), open.clone());
                        }
                        contents.rows.insert(key, (token.as_bytes().to_vec(), values));
                    }
                    Held::Tombstone(token) => {
                        contents.tombstones.insert(key, token.as_bytes().to_vec());
                    }
                    Held::Logged(_) => unreachable!("there is no change log"),
                }
            }
        }
        contents
    }

    /// The contents, with the ordinals of source epochs replaced by their rank in their topic: who meets a marker first is a matter of
    /// timing and gives its ordinal, but not its place among the others.
    pub fn ranked(&self) -> Contents {
        let rank = |table: &str, token: &mut Vec<u8>| {
            let ordinals: BTreeSet<u32> = self
                .memory
                .epochs
                .iter()
                .filter(|row| row.at.topic.rsplit('.').next() == Some(table))
                .map(|row| row.ordinal)
                .collect();
            let own = u32::from_be_bytes(token[3..7].try_into().unwrap_or_default());
            let rank = ordinals.range(..=own).count() as u32;
            token[3..7].copy_from_slice(&rank.to_be_bytes());
        };
        let mut contents = self.contents();
        contents.rows.iter_mut().for_each(|((table, _), (token, _))| rank(table, token));
        for ((table, _), open) in &mut contents.open {
            for token in open.values_mut() {
                let mut bytes = token.as_bytes().to_vec();
                rank(table, &mut bytes);
                *token = Token::from_bytes(&bytes).expect("a token");
            }
        }
        contents.tombstones.iter_mut().for_each(|((table, _), token)| rank(table, token));
        contents.truncates.iter_mut().for_each(|(table, token)| rank(table, token));
        contents
    }

    /// Reasons of the records that were put aside.
    pub fn quarantine(&self) -> BTreeMap<(TopicPartition, i64), &'static str> {
        let place = |record: &crate::core::plan::QuarantinedRecord| (record.at.clone(), record.offset);
        self.memory.quarantine.iter().map(|aside| (place(&aside.record), aside.record.reason)).collect()
    }

    pub fn owned(&self, key: &str, owner: &str) -> Vec<TopicPartition> {
        let mine = self.memory.checkpoints.iter().filter(|((of, _), row)| of == key && row.owner == owner);
        mine.map(|((_, at), _)| at.clone()).collect()
    }

    /// Collects some tombstones of a table, whichever, without asking whether they are still needed: that must only make
    /// refusals.
    pub fn collect(&mut self, random: &mut Random) {
        if self.collect_percent == 0 || !random.chance(self.collect_percent) {
            return;
        }
        for table in TABLES {
            self.collected += self.memory.collect(&TableName::new(None, table), |_| random.chance(60));
        }
    }

    /// One transaction.
    pub fn apply(&mut self, plan: &Plan) -> Result<Applied, Failure> {
        let before = self.memory.clone();
        let applied = self.memory.apply(plan);
        match &applied {
            Ok(applied) => {
                applied.tables.iter().for_each(|outcome| self.sum += outcome);
                for table in &plan.tables {
                    self.count_completed(&before, table);
                }
            }
            Err(failure) => {
                self.missed += u64::from(failure.class == Class::Fenced);
                self.refused += u64::from(failure.code == "below_floor");
            }
        }
        applied
    }

    /// Rows that were completed from what was stored, and full rows that filled what a newer one had left open.
    fn count_completed(&mut self, before: &Memory, plan: &TablePlan) {
        let of = |memory: &Memory, key: &Value| {
            let key = Memory::key(&plan.table, &[key]).expect("a key");
            memory.held(plan.table.name(), &key).cloned()
        };
        for partial in &plan.partials {
            self.completed += u64::from(of(before, &partial.key[0]) != of(&self.memory, &partial.key[0]));
        }
        for row in plan.upserts.iter().flat_map(|group| &group.rows) {
            let (before, after) = (of(before, &row.values[0]), of(&self.memory, &row.values[0]));
            let same_token = before.as_ref().and_then(Held::token) == after.as_ref().and_then(Held::token);
            self.filled += u64::from(same_token && before != after);
        }
    }
}

/// The number in the canonical bytes of a key: a tag, then 64 bits that sort as the numbers do.
fn id_of(key: &[u8]) -> i64 {
    let bytes = key[1..9].try_into().expect("a number of 64 bits");
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
}

/// Both tables are there from the beginning.
struct Fixed;

impl Shapes for Fixed {
    async fn resolve(&mut self, met: Met<'_>) -> Result<Resolved, Refused> {
        let name = met.source.table.as_str();
        let id = TABLES.iter().position(|table| *table == name).expect("a table") as u32 + 1;
        // The second one has a column that no event carries, so that what shines through from a former life of a row would be seen
        // by the planner.
        let columns: &[&str] = if name == "b" { &["id", "v", "w", "extra"] } else { &["id", "v", "w"] };
        let table = Arc::new(fixture::table(id, name, columns));
        if met.op == crate::core::event::Op::Truncate {
            return Ok(Resolved::Whole(table));
        }
        let mapping = Mapping::new(table, met.row, met.key, &[], OrderPolicy::Source, Default::default());
        mapping.map(|mapping| Resolved::Rows(Arc::new(mapping))).map_err(Refused::Table)
    }

    fn version(&self) -> u64 {
        0
    }
}

/// The store's answers to a planner; now and then it does not answer.
pub struct Answers<'s> {
    recalled: Recalled<'s, Fixed>,
    random: &'s mut Random,
    trouble_percent: i64,
}

impl<'s> Answers<'s> {
    pub fn new(store: &'s mut Store, random: &'s mut Random, trouble_percent: i64) -> Self {
        Self { recalled: Recalled { memory: &mut store.memory, shapes: Fixed }, random, trouble_percent }
    }

    fn trouble(&mut self) -> Result<(), Failure> {
        match self.random.chance(self.trouble_percent) {
            true => Err(Failure::new(Class::Transient, "sim", "no answer")),
            false => Ok(()),
        }
    }
}

impl Lookup for Answers<'_> {
    fn tables_version(&self) -> u64 {
        self.recalled.tables_version()
    }

    async fn resolve(&mut self, met: Met<'_>) -> Result<Resolved, Refused> {
        self.trouble()?;
        self.recalled.resolve(met).await
    }

    async fn scope(&mut self, description: String) -> Result<u16, Failure> {
        self.trouble()?;
        self.recalled.scope(description).await
    }

    async fn truncate_missing(&mut self, missing: &Missing, token: Token) -> Result<(), Failure> {
        self.recalled.truncate_missing(missing, token).await
    }

    async fn admit(&mut self, table: &TableName, scope: u16) -> Result<Option<String>, Failure> {
        self.recalled.admit(table, scope).await
    }

    async fn stored_token(&mut self, table: &Table, key: &[Value]) -> Result<Option<Token>, Failure> {
        self.trouble()?;
        self.recalled.stored_token(table, key).await
    }

    async fn has_row(&mut self, table: &Table, key: &[Value]) -> Result<bool, Failure> {
        self.trouble()?;
        self.recalled.has_row(table, key).await
    }

    async fn bounds(&mut self, table: &Table) -> Result<Arc<Bounds>, Failure> {
        self.recalled.bounds(table).await
    }

    async fn bases(&mut self, table: &Arc<Table>, keys: &[PartialKey]) -> Result<(Option<Token>, Vec<Base>), Failure> {
        self.trouble()?;
        self.recalled.bases(table, keys).await
    }

    async fn epoch(
        &mut self,
        question: EpochQuestion,
        checkpoint_owner: &str,
        fence: i64,
    ) -> Result<Result<EpochRow, Rejection>, Failure> {
        self.trouble()?;
        let answer = self.recalled.epoch(question, checkpoint_owner, fence).await;
        // An answer that gets lost after it was written.
        self.trouble()?;
        answer
    }

    async fn sources(&mut self, topic: &str) -> Result<Vec<TopicSource>, Failure> {
        self.trouble()?;
        self.recalled.sources(topic).await
    }

    async fn live_row(&mut self, table: &Table, key: &[Value]) -> Result<Option<LiveRow>, Failure> {
        self.trouble()?;
        self.recalled.live_row(table, key).await
    }
}
