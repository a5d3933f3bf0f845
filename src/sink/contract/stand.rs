//! A destination and the oracle beside it, which is told the same.

use std::sync::Arc;

use super::Destination;
use super::destination::requests;
use crate::core::failure::{Class, Failure};
use crate::core::plan::{Advance, Counts, Delete, Plan, TableOutcome, TablePlan, Upsert, UpsertGroup};
use crate::core::record::TopicPartition;
use crate::core::table::{Contract, DeleteMode, Table, TableName, TokenStorage};
use crate::core::token::{Token, TokenWriter};
use crate::core::value::Value;
use crate::core::wire::{Field, TableSpec, WireType};
use crate::sink::bookkeep::Claim;
use crate::sink::memory::{Held, Memory, TableContents};

/// The pipeline of all cases.
pub(super) const SHOP: &str = "shop";

/// Every kind of final-state table.
pub(super) const KINDS: [(DeleteMode, TokenStorage); 4] = [
    (DeleteMode::Hard, TokenStorage::Column),
    (DeleteMode::Soft, TokenStorage::Column),
    (DeleteMode::Hard, TokenStorage::Side),
    (DeleteMode::Soft, TokenStorage::Side),
];

/// See the module.
pub(super) struct Stand<D> {
    pub(super) destination: D,
    pub(super) oracle: Memory,
    tables: Vec<Arc<Table>>,
    made: u32,
}

impl<D: Destination> Stand<D> {
    pub(super) fn new(destination: D) -> Self {
        Self { destination, oracle: Memory::default(), tables: Vec::new(), made: 0 }
    }

    /// A table `id, v, code, n` with the key `code, id`; `v` does not allow NULL.
    pub(super) async fn table(&mut self, (delete, token_storage): (DeleteMode, TokenStorage)) -> Arc<Table> {
        let field = |name: &str, kind, optional| Field::new(name, kind, optional);
        let number = || WireType::Int { bits: 64 };
        self.made += 1;
        let spec = TableSpec {
            name: TableName::new(None, &format!("t{}", self.made)),
            fields: vec![
                field("id", number(), false),
                field("v", WireType::Text, false),
                field("code", WireType::Text, false),
                field("n", number(), true),
            ],
            key: vec!["code".into(), "id".into()],
            contract: Contract::FinalState,
            delete,
            token_storage,
        };
        self.of(&spec).await
    }

    pub(super) async fn of(&mut self, spec: &TableSpec) -> Arc<Table> {
        let table = Arc::new(self.destination.table(spec).await);
        self.tables.push(Arc::clone(&table));
        table
    }

    /// Claims partitions that begin at an offset, here and there.
    pub(super) async fn claim(&mut self, owner: &str, partitions: &[TopicPartition], first: i64) -> Vec<Claim> {
        self.claim_as(SHOP, owner, partitions, first).await
    }

    pub(super) async fn claim_as(
        &mut self,
        key: &str,
        owner: &str,
        partitions: &[TopicPartition],
        first: i64,
    ) -> Vec<Claim> {
        let first = partitions.iter().map(|at| (at.clone(), first)).collect();
        let claims = self.destination.claim(key, owner, &requests(partitions), &first).await.expect("claimed");
        let expected = self.oracle.claim(key, owner, &requests(partitions), &first).expect("claimed");
        assert_eq!(claims, expected);
        claims
    }

    /// Applies a plan and compares everything.
    pub(super) async fn apply(&mut self, plan: &Plan) -> Result<Vec<TableOutcome>, Failure> {
        let applied = self.apply_unseen(plan).await;
        self.compare().await;
        applied
    }

    /// The outcome of the only table of a plan that succeeds.
    pub(super) async fn outcome(&mut self, plan: &Plan) -> TableOutcome {
        self.apply(plan).await.expect("applied")[0]
    }

    /// Applies a plan that is refused, of which nothing may be there.
    pub(super) async fn refused(&mut self, plan: &Plan) -> Failure {
        self.apply(plan).await.expect_err("refused")
    }

    /// Applies a plan and compares the answers only.
    pub(super) async fn apply_unseen(&mut self, plan: &Plan) -> Result<Vec<TableOutcome>, Failure> {
        let expected = self.oracle.apply(plan);
        let mut own = plan.clone();
        if !plan.settled.is_empty() {
            let ids = self.destination.aside(SHOP).await;
            own.settled = plan.settled.iter().map(|place| ids[*place as usize - 1]).collect();
        }
        let applied = self.destination.apply(&own).await;
        match (&applied, &expected) {
            (Ok(applied), Ok(expected)) => {
                assert_eq!(self.told(plan, &applied.tables), self.told(plan, &expected.tables), "{plan:?}");
            }
            (Err(failure), Err(expected)) => {
                assert_eq!(failure.class, expected.class, "{failure} and {expected}");
                assert_eq!(failure.fenced, expected.fenced, "{failure}");
                let ours = ["below_floor", "incomparable_token", "partial_row", "held_back"];
                if ours.contains(&expected.code.as_str()) || failure.class == Class::Fenced {
                    assert_eq!(failure.code, expected.code, "{failure}");
                }
            }
            _ => panic!("{applied:?}, but the oracle says {expected:?} to {plan:?}"),
        }
        applied.map(|applied| applied.tables)
    }

    /// Outcomes that must be the same everywhere. Tombstones that a TRUNCATE covers go sooner or later; that they are counted
    /// as they are is looked at where the contents are read.
    fn told(&self, plan: &Plan, outcomes: &[TableOutcome]) -> Vec<TableOutcome> {
        let truncated =
            |table: &Table| self.oracle.contents().get(table.name()).is_some_and(|held| held.truncate.is_some());
        let told = |(plan, outcome): (&TablePlan, &TableOutcome)| match truncated(&plan.table) {
            true => TableOutcome { tombstones_delta: 0, ..*outcome },
            false => *outcome,
        };
        plan.tables.iter().zip(outcomes).map(told).collect()
    }

    /// What the destination holds is what the oracle holds.
    pub(super) async fn compare(&mut self) {
        for table in self.tables.clone() {
            let held = self.destination.contents(&table).await;
            let expected = Destination::contents(&mut self.oracle, &table).await;
            assert_eq!(held, expected, "{} ({:?} {:?})", table.name(), table.delete, table.token_storage);
        }
        assert_eq!(self.destination.kept(SHOP).await, self.oracle.kept(SHOP).await);
    }

    /// Leaves the tables so far alone: a case goes on with the next kind of table.
    pub(super) fn forget(&mut self) {
        self.tables.clear();
    }

    pub(super) async fn damage(&mut self, table: &Table, text: &str) {
        self.destination.damage(table, text).await;
        self.oracle.damage(table, text).await;
    }

    pub(super) async fn contents(&mut self, table: &Table) -> TableContents {
        self.destination.contents(table).await
    }

    /// Live rows of a table as `id v n`, by their keys.
    pub(super) async fn rows(&mut self, table: &Table) -> Vec<String> {
        let contents = self.contents(table).await;
        let text = |value: &Value| match value {
            Value::Null => "-".to_owned(),
            Value::Int(number) => number.to_string(),
            other => other.as_text().unwrap_or("?").to_owned(),
        };
        let line = |held: &Held| {
            let row = held.live()?;
            Some(["id", "v", "n"].map(|column| text(&row.values[column])).join(" "))
        };
        contents.keys.values().filter_map(line).collect()
    }
}

pub(super) fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

pub(super) fn token(number: u64) -> Token {
    TokenWriter::new(1, 1).number(number).finish()
}

/// A change of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Key and position.
    Upsert(i64, u64),
    Delete(i64, u64),
    Truncate(u64),
}

impl Event {
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Upsert(_, number) | Self::Delete(_, number) | Self::Truncate(number) => number,
        }
    }

    /// The key; all TRUNCATEs have one.
    fn key(self) -> Option<i64> {
        match self {
            Self::Upsert(key, _) | Self::Delete(key, _) => Some(key),
            Self::Truncate(_) => None,
        }
    }
}

pub(super) use Event::{Delete as Del, Truncate, Upsert as Up};

/// The row of an upsert: text and number tell its position.
pub(super) fn row(key: i64, number: u64) -> Upsert {
    let values = vec![key.into(), format!("v{number}").into(), "k".into(), Value::Int(number as i64)];
    Upsert { token: token(number), values }
}

pub(super) fn key(id: i64) -> Vec<Value> {
    vec!["k".into(), id.into()]
}

/// Changes of a table as a batch has them: of each key the newest.
pub(super) fn changes(table: &Arc<Table>, events: &[Event]) -> TablePlan {
    let mut kept: Vec<Event> = Vec::new();
    for event in events {
        match kept.iter_mut().find(|known| known.key() == event.key()) {
            Some(known) if known.number() < event.number() => *known = *event,
            Some(_) => {}
            None => kept.push(*event),
        }
    }
    let truncates = events.iter().filter(|event| matches!(event, Truncate(_))).count();
    let collapsed = (events.len() - truncates - kept.iter().filter(|event| event.key().is_some()).count()) as u64;
    kept.sort_by_key(|event| event.key());
    let mut plan = TablePlan { truncates: truncates as u64, collapsed, ..TablePlan::new(Arc::clone(table)) };
    let mut rows = Vec::new();
    for event in kept {
        match event {
            Up(id, number) => rows.push(row(id, number)),
            Del(id, number) => plan.deletes.push(Delete { token: token(number), key: key(id) }),
            Truncate(number) => plan.truncate = Some(token(number)),
        }
    }
    if !rows.is_empty() {
        plan.upserts = vec![UpsertGroup { columns: (0..4).collect(), rows }];
    }
    plan
}

/// A plan of one table.
pub(super) fn plan(table: TablePlan) -> Plan {
    Plan { checkpoint_owner: SHOP.into(), pipeline: SHOP.into(), tables: vec![table], ..Plan::default() }
}

/// Applied, superseded by row, by tombstone, by truncate, change in the number of tombstones.
pub(in crate::sink) fn counts(outcome: TableOutcome) -> (u64, u64, u64, u64, i64) {
    (
        outcome.applied,
        outcome.superseded_by_row,
        outcome.superseded_by_tombstone,
        outcome.superseded_by_truncate,
        outcome.tombstones_delta,
    )
}

/// From a claim on by some records, the last one a delete whose null record may follow.
pub(in crate::sink) fn advance(claim: &Claim, records: i64) -> Advance {
    Advance {
        at: claim.at.clone(),
        fence: claim.fence,
        from: claim.next_offset,
        next: claim.next_offset + records,
        counts: Counts { changes: records as u64, ..Counts::default() },
        source_time_ms: Some(5),
        open_delete: Some(bytes::Bytes::from_static(b"\0key")),
        top: crate::core::ledger::Top { number: Some((7, claim.next_offset)), token: Some(token(7)), time_ms: Some(5) },
    }
}
