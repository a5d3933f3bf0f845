//! What a destination can be asked for by the suite, and the one in memory.

use std::collections::HashMap;
use std::sync::Arc;

use crate::core::epoch::{EpochQuestion, EpochRow};
use crate::core::event::Rejection;
use crate::core::failure::Failure;
use crate::core::plan::{Applied, Plan, TableOutcome};
use crate::core::record::TopicPartition;
use crate::core::table::{DeleteMode, Table, TableShape, fixture};
use crate::core::value::Value;
use crate::core::wire::TableSpec;
use crate::sink::bookkeep::{Claim, ClaimRequest, Reclaimed};
use crate::sink::memory::{Held, Memory, TableContents};

/// See the module.
#[allow(async_fn_in_trait)]
pub(super) trait Destination {
    /// Makes a table and meets it.
    async fn table(&mut self, spec: &TableSpec) -> Table;

    async fn claim(
        &mut self,
        key: &str,
        owner: &str,
        requests: &[ClaimRequest],
        first_offsets: &HashMap<TopicPartition, i64>,
    ) -> Result<Vec<Claim>, Failure>;

    async fn reclaim(&mut self, key: &str, owner: &str, partitions: &[TopicPartition]) -> Reclaimed;

    async fn apply(&mut self, plan: &Plan) -> Result<Applied, Failure>;

    async fn epoch(
        &mut self,
        question: &EpochQuestion,
        key: &str,
        fence: i64,
    ) -> Result<Result<EpochRow, Rejection>, Failure>;

    /// Collects all tombstones of a table.
    async fn collect(&mut self, table: &Table) -> u64;

    /// What a table holds. Tombstones that its truncate token covers may be there or not, and are left out.
    async fn contents(&mut self, table: &Table) -> TableContents;

    /// What is kept beside the tables for a pipeline, a fact a line.
    async fn kept(&mut self, pipeline: &str) -> Vec<String>;

    /// Numbers of the records that were put aside, in their order.
    async fn aside(&mut self, pipeline: &str) -> Vec<i64>;

    /// Writes a text into column `v` of all rows, past lastword.
    async fn damage(&mut self, table: &Table, text: &str);

    async fn close(self);
}

impl Destination for Memory {
    async fn table(&mut self, spec: &TableSpec) -> Table {
        let column = |field: &crate::core::wire::Field| crate::core::table::Column {
            nullable: field.optional && !spec.key.contains(&field.name),
            ..fixture::column(&field.name, fixture::BIGINT)
        };
        let shape = TableShape {
            name: spec.name.clone(),
            columns: spec.fields.iter().map(column).collect(),
            primary_key: spec.key.clone(),
            unique_keys: Vec::new(),
            has_token: true,
            has_deleted: spec.delete == DeleteMode::Soft,
            delete_has_effects: false,
            remarks: Vec::new(),
        };
        Table {
            id: 1,
            key: spec.key.iter().map(|name| shape.position(name).expect("a key column")).collect(),
            shape,
            contract: spec.contract,
            delete: spec.delete,
            token_storage: spec.token_storage,
            single_writer: false,
        }
    }

    async fn claim(
        &mut self,
        key: &str,
        owner: &str,
        requests: &[ClaimRequest],
        first_offsets: &HashMap<TopicPartition, i64>,
    ) -> Result<Vec<Claim>, Failure> {
        Memory::claim(self, key, owner, requests, first_offsets)
    }

    async fn reclaim(&mut self, key: &str, owner: &str, partitions: &[TopicPartition]) -> Reclaimed {
        Memory::reclaim(self, key, owner, partitions)
    }

    async fn apply(&mut self, plan: &Plan) -> Result<Applied, Failure> {
        Memory::apply(self, plan)
    }

    async fn epoch(
        &mut self,
        question: &EpochQuestion,
        key: &str,
        fence: i64,
    ) -> Result<Result<EpochRow, Rejection>, Failure> {
        Memory::epoch(self, question, key, fence)
    }

    async fn collect(&mut self, table: &Table) -> u64 {
        Memory::collect(self, table.name(), |_| true)
    }

    async fn contents(&mut self, table: &Table) -> TableContents {
        let mut contents = Memory::contents(self).get(table.name()).cloned().unwrap_or_default();
        leave_covered_out(&mut contents);
        contents
    }

    async fn kept(&mut self, pipeline: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for ((key, at), row) in &self.checkpoints {
            if key.split('#').next() == Some(pipeline) {
                lines.push(checkpoint_line(
                    key,
                    at,
                    (row.next, row.fence),
                    &row.owner,
                    row.source_time_ms,
                    &row.counts,
                ));
            }
        }
        for ((of, table), sums) in &self.counters {
            if of == pipeline {
                lines.push(counters_line(&table.table, sums));
            }
        }
        for aside in &self.quarantine {
            let record = &aside.record;
            lines.push(format!(
                "aside {} {} {} {:?} {}",
                record.at, record.offset, record.reason, aside.state, aside.tries
            ));
        }
        for entry in &self.ledger {
            lines.push(format!("{entry:?}"));
        }
        for news in self.consistency.values() {
            lines.push(format!("{news:?}"));
        }
        for end in &self.snapshots {
            lines.push(format!("snapshot {} {} {:?}", end.table.table, end.topic, end.token));
        }
        lines.sort();
        lines
    }

    async fn aside(&mut self, _: &str) -> Vec<i64> {
        (1..=self.quarantine.len() as i64).collect()
    }

    async fn damage(&mut self, table: &Table, text: &str) {
        let held = self.contents_mut().get_mut(table.name()).expect("a table");
        for held in held.keys.values_mut() {
            if let Held::Row(row) = held {
                row.values.insert("v".to_owned(), Value::from(text));
            }
        }
    }

    async fn close(self) {}
}

/// A checkpoint, the same from everywhere.
pub(super) fn checkpoint_line(
    key: &str,
    at: &TopicPartition,
    (next, fence): (i64, i64),
    owner: &str,
    source_time_ms: Option<i64>,
    counts: &crate::core::plan::Counts,
) -> String {
    format!("checkpoint {key} {at} next {next} fence {fence} of {owner:?} at {source_time_ms:?} {counts:?}")
}

/// Counters of a table but for tombstones, which are compared with what is there.
pub(super) fn counters_line(table: &str, sums: &TableOutcome) -> String {
    format!("counters {table} {:?}", TableOutcome { tombstones_delta: 0, ..*sums })
}

/// What the truncate token says of a key need not be said twice, by a tombstone or by the token of a row that is marked.
pub(super) fn leave_covered_out(contents: &mut TableContents) {
    let Some(truncate) = contents.truncate else { return };
    contents.keys.retain(|_, held| match held {
        Held::Tombstone(token) => *token > truncate,
        Held::Row(row) if row.deleted => {
            row.token = row.token.max(truncate);
            true
        }
        Held::Row(_) | Held::Logged(_) => true,
    });
}

/// The request for partitions of a topic that was not made anew.
pub(super) fn requests(partitions: &[TopicPartition]) -> Vec<ClaimRequest> {
    let incarnation: Arc<str> = "id".into();
    partitions.iter().map(|at| ClaimRequest { at: at.clone(), incarnation: Arc::clone(&incarnation) }).collect()
}
