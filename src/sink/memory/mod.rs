//! A destination in memory: the oracle that real destinations are compared with.
//!
//! It keeps the promise in the most naive way there is: rows in a map, tokens compared one by one, a plan applied to a copy that
//! takes the place of the original if all of it succeeded. It shares the rules' words with the other destinations, and none of
//! their code: no statement, no stage, neither [`crate::core::verdict`] nor [`crate::core::merge`]. No guard can be taken away
//! from it. What a planner asks of a destination it answers by [`crate::runtime::lookup::Recalled`].
//!
//! ```
//! use std::collections::HashMap;
//! use lastword::core::plan::Plan;
//! use lastword::core::record::TopicPartition;
//! use lastword::sink::bookkeep::ClaimRequest;
//! use lastword::sink::memory::Memory;
//!
//! let mut memory = Memory::default();
//! let at = TopicPartition::new("orders", 0);
//! let request = ClaimRequest { at: at.clone(), incarnation: "-".into() };
//! let claims = memory.claim("shop", "me", &[request], &HashMap::from([(at, 0)])).expect("a claim");
//! assert_eq!((claims[0].next_offset, claims[0].fence), (0, 1));
//! let applied = memory.apply(&Plan::default()).expect("an empty plan");
//! assert!(applied.tables.is_empty() && memory.contents().is_empty());
//! ```

mod contents;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use crate::core::epoch::{EpochQuestion, EpochRow, Settled, settle};
use crate::core::event::Rejection;
use crate::core::failure::{Class, Failure};
use crate::core::ledger::Top;
use crate::core::mapping::key_bytes;
use crate::core::nulls::NULL_DELETE;
use crate::core::plan::{
    Advance, Applied, Consistency, Counts, LedgerEntry, Plan, QuarantinedRecord, SnapshotEnd, TableOutcome,
};
use crate::core::record::TopicPartition;
use crate::core::table::{Table, TableName};
use crate::core::token::Token;
use crate::core::value::Value;

use super::bookkeep::{Claim, ClaimRequest, QuarantineState, Reclaimed, TopicSource};

pub use contents::{Contents, Held, Row, TableContents};
use contents::{Refuses, Work};

/// How far a partition was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Incarnation of its topic.
    pub incarnation: Arc<str>,
    /// Offset of the next record.
    pub next: i64,
    /// Its fence.
    pub fence: i64,
    /// Who claimed it last.
    pub owner: String,
    /// Key of a delete event that was the last record, if its null record may still follow.
    pub open_delete: Option<Bytes>,
    /// Source time of the newest event in milliseconds since 1970.
    pub source_time_ms: Option<i64>,
    /// What became of all records before `next`.
    pub counts: Counts,
    /// The greatest that its stream has shown.
    pub top: Top,
}

/// A record that is kept aside. Its number is its place in [`Memory::quarantine`], from 1.
#[derive(Clone, Debug)]
pub struct Aside {
    /// The pipeline that met it.
    pub pipeline: String,
    /// The record, as it was met first.
    pub record: QuarantinedRecord,
    /// What became of it.
    pub state: QuarantineState,
    /// How often it was met.
    pub tries: i64,
}

/// See the module. Each plan works on a copy of all that is here: it is meant for thousands of rows, not for millions.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The tables.
    contents: Contents,
    /// By pipeline (or replay) and partition.
    pub checkpoints: BTreeMap<(String, TopicPartition), Checkpoint>,
    /// Records that were kept aside, in the order in which they came.
    pub quarantine: Vec<Aside>,
    /// Facts that tokens rest on.
    pub ledger: Vec<LedgerEntry>,
    /// Rows of source epochs.
    pub epochs: Vec<EpochRow>,
    /// Snapshots that ended.
    pub snapshots: Vec<SnapshotEnd>,
    /// The last news of each source, by pipeline and source, with the sums of its counters.
    pub consistency: BTreeMap<(String, String), Consistency>,
    /// What became of changes, by pipeline and table.
    pub counters: BTreeMap<(String, TableName), TableOutcome>,
    scopes: HashMap<String, u16>,
    table_scopes: HashMap<TableName, u16>,
    sources: BTreeMap<String, Vec<TopicSource>>,
    refuses: Option<Refuses>,
}

impl Memory {
    /// A destination that refuses some values, told by the column's name, as a CHECK constraint does.
    pub fn refusing(refuses: fn(&str, &Value) -> bool) -> Self {
        Self { refuses: Some(refuses), ..Self::default() }
    }

    /// What the tables hold.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The same, for a test that damages them as a person with a client of the database would.
    pub fn contents_mut(&mut self) -> &mut Contents {
        &mut self.contents
    }

    /// What is held for a key, by its canonical bytes.
    pub fn held(&self, table: &TableName, key: &[u8]) -> Option<&Held> {
        self.contents.get(table)?.keys.get(key)
    }

    /// Canonical bytes of a key, given in the order of `table.key`.
    pub fn key(table: &Table, values: &[&Value]) -> Result<Vec<u8>, Failure> {
        key_bytes(table, values).map_err(|why| Failure::new(Class::Record, why.reason, why.detail))
    }

    /// The checkpoint of a partition.
    pub fn checkpoint(&self, pipeline_key: &str, at: &TopicPartition) -> Option<&Checkpoint> {
        self.checkpoints.get(&(pipeline_key.to_owned(), at.clone()))
    }

    /// Claims partitions for an owner, whoever has them; see [`super::bookkeep::claim`]. All or nothing.
    pub fn claim(
        &mut self,
        pipeline_key: &str,
        owner: &str,
        requests: &[ClaimRequest],
        first_offsets: &HashMap<TopicPartition, i64>,
    ) -> Result<Vec<Claim>, Failure> {
        let wanted: BTreeMap<&TopicPartition, &ClaimRequest> =
            requests.iter().map(|request| (&request.at, request)).collect();
        for request in wanted.values() {
            match self.checkpoint(pipeline_key, &request.at) {
                None if !first_offsets.contains_key(&request.at) => {
                    let what = format!("{} has no checkpoint, and it is not known where it begins", request.at);
                    return Err(Failure::operator("no_checkpoint", what));
                }
                Some(stored) if stored.incarnation != request.incarnation => {
                    let what = format!("topic {} was deleted and made anew", request.at.topic);
                    return Err(Failure::operator("topic_recreated", what));
                }
                _ => {}
            }
        }
        let claims = wanted.values().map(|request| {
            let first = first_offsets.get(&request.at).copied().unwrap_or_default();
            let entry = self.checkpoints.entry((pipeline_key.to_owned(), request.at.clone()));
            raise(&request.at, entry.or_insert_with(|| unclaimed(&request.incarnation, first)), owner)
        });
        Ok(claims.collect())
    }

    /// Claims partitions again whose recorded owner it still is; see [`super::bookkeep::reclaim`].
    pub fn reclaim(&mut self, pipeline_key: &str, owner: &str, partitions: &[TopicPartition]) -> Reclaimed {
        let mut reclaimed = Reclaimed::default();
        for at in BTreeSet::from_iter(partitions) {
            match self.checkpoints.get_mut(&(pipeline_key.to_owned(), at.clone())) {
                Some(row) if row.owner == owner => reclaimed.claims.push(raise(at, row, owner)),
                _ => reclaimed.not_mine.push(at.clone()),
            }
        }
        reclaimed
    }

    /// Applies a plan: all of it or nothing.
    pub fn apply(&mut self, plan: &Plan) -> Result<Applied, Failure> {
        let mut after = self.clone();
        let applied = after.apply_inside(plan)?;
        *self = after;
        Ok(applied)
    }

    fn apply_inside(&mut self, plan: &Plan) -> Result<Applied, Failure> {
        let misses = |advance: &&Advance| {
            let row = self.checkpoint(&plan.checkpoint_owner, &advance.at);
            row.is_none_or(|row| row.fence != advance.fence || row.next != advance.from)
        };
        let missed: Vec<TopicPartition> =
            plan.advances.iter().filter(misses).map(|advance| advance.at.clone()).collect();
        if !missed.is_empty() {
            return Err(fenced(missed, "the checkpoint was claimed or moved by someone else"));
        }
        for advance in &plan.advances {
            if let Some(row) = self.checkpoints.get_mut(&(plan.checkpoint_owner.to_string(), advance.at.clone())) {
                row.pass(advance);
            }
        }
        let mut outcomes = Vec::with_capacity(plan.tables.len());
        for table in &plan.tables {
            let name = table.table.name();
            let full = name.to_string();
            let marks = |key: &[u8]| marks(&self.quarantine, &full, key);
            let held = self.contents.entry(name.clone()).or_default();
            let (repair, refuses) = (plan.repair, self.refuses);
            let outcome = Work { table: &table.table, held, marks: &marks, repair, refuses }.apply(table)?;
            if outcome != TableOutcome::default() {
                *self.counters.entry((plan.pipeline.to_string(), name.clone())).or_default() += &outcome;
            }
            outcomes.push(outcome);
        }
        self.finish(plan)?;
        Ok(Applied { tables: outcomes })
    }

    /// What a plan holds beside its tables.
    fn finish(&mut self, plan: &Plan) -> Result<(), Failure> {
        for known in &plan.nulls {
            let found = self.ledger.iter().filter(|entry| {
                (&entry.at, &entry.incarnation, entry.kind) == (&known.at, &known.incarnation, NULL_DELETE)
            });
            if found.count() as u64 != known.count {
                return Err(fenced(vec![known.at.clone()], "a delete was found while its partition was replayed"));
            }
        }
        for entry in &plan.ledger {
            let fact =
                |entry: &LedgerEntry| (entry.at.clone(), Arc::clone(&entry.incarnation), entry.kind, entry.offset);
            if !self.ledger.iter().any(|known| fact(known) == fact(entry)) {
                self.ledger.push(entry.clone());
            }
        }
        for end in &plan.snapshots {
            let same =
                |known: &SnapshotEnd| (&known.table, &known.topic, known.token) == (&end.table, &end.topic, end.token);
            if !self.snapshots.iter().any(same) {
                self.snapshots.push(end.clone());
            }
        }
        for record in &plan.quarantine {
            self.put_aside(&plan.pipeline, record);
        }
        for news in &plan.consistency {
            let key = (plan.pipeline.to_string(), news.source.clone());
            let empty = Consistency { source: news.source.clone(), position: None, by_time: 0, inside: 0 };
            let kept = self.consistency.entry(key).or_insert(empty);
            kept.position = news.position.clone().or(kept.position.take());
            kept.by_time += news.by_time;
            kept.inside += news.inside;
        }
        for id in &plan.settled {
            let place = usize::try_from(id - 1).ok();
            if let Some(aside) = place.and_then(|place| self.quarantine.get_mut(place)) {
                aside.state = QuarantineState::Retried;
            }
        }
        Ok(())
    }

    fn put_aside(&mut self, pipeline: &str, record: &QuarantinedRecord) {
        let place = |record: &QuarantinedRecord| (record.at.clone(), Arc::clone(&record.incarnation), record.offset);
        let same = |known: &&mut Aside| known.pipeline == pipeline && place(&known.record) == place(record);
        match self.quarantine.iter_mut().find(same) {
            Some(known) => known.tries += 1,
            None => self.quarantine.push(Aside {
                pipeline: pipeline.to_owned(),
                record: record.clone(),
                state: QuarantineState::New,
                tries: 1,
            }),
        }
    }

    /// Tokens of the events of a key that are in quarantine, also of those that were given up.
    pub fn marks(&self, table: &TableName, key: &[u8]) -> Vec<Token> {
        marks(&self.quarantine, &table.to_string(), key)
    }

    /// Keeps the token of a TRUNCATE without a plan, for a table that is not there yet.
    pub fn truncate(&mut self, table: &TableName, token: Token) {
        self.contents.entry(table.clone()).or_default().raise_truncate(token);
    }

    /// Collects some tombstones of a table without asking whether they are still needed. Returns their number.
    pub fn collect(&mut self, table: &TableName, mut chosen: impl FnMut(&[u8]) -> bool) -> u64 {
        let Some(held) = self.contents.get_mut(table) else { return 0 };
        let mut collected = Vec::new();
        held.keys.retain(|key, held| match held {
            Held::Tombstone(token) if chosen(key) => {
                collected.push(*token);
                false
            }
            _ => true,
        });
        for token in &collected {
            match held.floors.iter_mut().find(|floor| floor.comparable(token)) {
                Some(floor) => *floor = (*floor).max(*token),
                None => held.floors.push(*token),
            }
        }
        held.floors.sort_unstable();
        collected.len() as u64
    }

    /// The number of a scope of tokens, handed out from 1 when it is first seen.
    pub fn scope(&mut self, description: String) -> u16 {
        let next = self.scopes.len() as u16 + 1;
        *self.scopes.entry(description).or_insert(next)
    }

    /// Admits events of a scope to a table; else says which scope's rows it holds.
    pub fn admit(&mut self, table: &TableName, scope: u16) -> Option<String> {
        let own = *self.table_scopes.entry(table.clone()).or_insert(scope);
        let description = || self.scopes.iter().find(|(_, number)| **number == own).map(|(text, _)| text.clone());
        if own == scope { None } else { Some(description().unwrap_or_default()) }
    }

    /// A row of a source epoch for a partition, found or, under the current fence, made.
    pub fn epoch(
        &mut self,
        question: &EpochQuestion,
        checkpoint_owner: &str,
        fence: i64,
    ) -> Result<Result<EpochRow, Rejection>, Failure> {
        match settle(&self.epochs, question) {
            Err(why) => Ok(Err(why)),
            Ok(Settled::Known(row)) => Ok(Ok(row)),
            Ok(Settled::New(row)) => {
                if self.checkpoint(checkpoint_owner, &question.at).is_none_or(|row| row.fence != fence) {
                    return Err(fenced(vec![question.at.clone()], "the checkpoint was claimed by someone else"));
                }
                self.epochs.push(row.clone());
                Ok(Ok(row))
            }
        }
    }

    /// Takes note of a source table whose rows come through a topic.
    pub fn add_source(&mut self, topic: &str, source: TopicSource) {
        let known = self.sources.entry(topic.to_owned()).or_default();
        if !known.contains(&source) {
            known.push(source);
        }
    }

    /// The source tables that were met in a topic.
    pub fn sources(&self, topic: &str) -> Vec<TopicSource> {
        self.sources.get(topic).cloned().unwrap_or_default()
    }
}

impl Checkpoint {
    fn pass(&mut self, advance: &Advance) {
        self.next = advance.next;
        self.open_delete.clone_from(&advance.open_delete);
        self.source_time_ms = advance.source_time_ms.or(self.source_time_ms);
        self.counts += &advance.counts;
        self.top = advance.top;
    }
}

fn unclaimed(incarnation: &Arc<str>, next: i64) -> Checkpoint {
    Checkpoint {
        incarnation: Arc::clone(incarnation),
        next,
        fence: 0,
        owner: String::new(),
        open_delete: None,
        source_time_ms: None,
        counts: Counts::default(),
        top: Top::default(),
    }
}

fn raise(at: &TopicPartition, row: &mut Checkpoint, owner: &str) -> Claim {
    let fresh = row.fence == 0;
    row.fence += 1;
    owner.clone_into(&mut row.owner);
    Claim {
        at: at.clone(),
        incarnation: Arc::clone(&row.incarnation),
        next_offset: row.next,
        fence: row.fence,
        open_delete: row.open_delete.clone(),
        top: row.top,
        fresh,
    }
}

fn fenced(partitions: Vec<TopicPartition>, why: &str) -> Failure {
    Failure { fenced: partitions, ..Failure::new(Class::Fenced, "fenced", why) }
}

fn marks(quarantine: &[Aside], table: &str, key: &[u8]) -> Vec<Token> {
    let waiting = quarantine.iter().filter(|aside| aside.state != QuarantineState::Retried);
    let marks = waiting.filter_map(|aside| aside.record.mark.as_ref());
    marks.filter(|mark| mark.table == table && mark.key == key).map(|mark| mark.token).collect()
}
