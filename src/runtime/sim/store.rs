//! A destination in memory. It applies plans by the rules that the real ones follow, each in one transaction, and is asked for
//! claims as they are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use crate::core::collect::below_floor_failure;
use crate::core::epoch::{EpochQuestion, EpochRow, Settled, settle};
use crate::core::event::Rejection;
use crate::core::failure::{Class, Failure};
use crate::core::lane::Claimed;
use crate::core::ledger::Top;
use crate::core::mapping::{Mapping, key_bytes};
use crate::core::merge::{Base, ColumnToken, Incoming, Merged, Written, merge};
use crate::core::nulls::NULL_DELETE;
use crate::core::order::OrderPolicy;
use crate::core::plan::{Advance, Applied, Counts, LedgerEntry, Plan, TableOutcome, TablePlan};
use crate::core::record::TopicPartition;
use crate::core::table::{Table, TableName, fixture};
use crate::core::token::Token;
use crate::core::value::Value;
use crate::runtime::lookup::{Bounds, Lookup};
use crate::runtime::tables::{Met, Missing, Refused, Resolved};
use crate::sink::bookkeep::{LiveRow, PartialKey, TopicSource};

use super::history::{BAD, Random};

/// A checkpoint row.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    pub next: i64,
    pub fence: i64,
    pub owner: String,
    pub open_delete: Option<Bytes>,
    pub counts: Counts,
    pub top: Top,
}

/// Columns `v` and `w`.
pub type Values = [i64; 2];

/// Rows with their tokens, and tombstones: what a replay must not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub rows: BTreeMap<(String, i64), (Vec<u8>, Values)>,
    /// Columns that are older than their row.
    pub open: BTreeMap<(String, i64), Vec<ColumnToken>>,
    pub tombstones: BTreeMap<(String, i64), Vec<u8>>,
    pub truncates: BTreeMap<String, Vec<u8>>,
    /// The greatest token collected.
    pub floors: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug, Default)]
pub struct Store {
    /// Chance of a collection between a plan and its transaction, in percent.
    pub collect_percent: i64,
    /// Tombstones collected, and records that the transaction refused because of the floor.
    pub collected: u64,
    pub refused: u64,
    pub contents: Contents,
    pub checkpoints: BTreeMap<(String, TopicPartition), Checkpoint>,
    pub quarantine: BTreeMap<(TopicPartition, i64), &'static str>,
    /// Tokens of quarantined events, by table and canonical key.
    pub marks: BTreeMap<(String, Vec<u8>), Vec<Token>>,
    pub completed: u64,
    pub filled: u64,
    pub ledger: Vec<LedgerEntry>,
    pub epochs: Vec<EpochRow>,
    pub sum: TableOutcome,
    pub missed: u64,
    sources: HashMap<String, TopicSource>,
    scopes: HashMap<String, u16>,
    tables: HashMap<String, Arc<Table>>,
}

impl Store {
    /// Claims partitions for an owner, whoever has them.
    pub fn claim(&mut self, key: &str, owner: &str, partitions: &[TopicPartition]) -> Vec<Claimed> {
        let raise = |at: &TopicPartition| {
            let row = self.checkpoints.entry((key.to_owned(), at.clone())).or_default();
            row.fence += 1;
            owner.clone_into(&mut row.owner);
            let incarnation = "-".into();
            Claimed {
                at: at.clone(),
                incarnation,
                next: row.next,
                fence: row.fence,
                open_delete: row.open_delete.clone(),
            }
        };
        partitions.iter().map(raise).collect()
    }

    /// The contents, with the ordinals of source epochs replaced by their rank in their topic: who meets a marker first is a matter of
    /// timing and gives its ordinal, but not its place among the others.
    pub fn ranked(&self) -> Contents {
        let rank = |table: &str, token: &mut Vec<u8>| {
            let ordinals: BTreeSet<u32> = self
                .epochs
                .iter()
                .filter(|row| row.at.topic.rsplit('.').next() == Some(table))
                .map(|row| row.ordinal)
                .collect();
            let own = u32::from_be_bytes(token[3..7].try_into().unwrap_or_default());
            let rank = ordinals.range(..=own).count() as u32;
            token[3..7].copy_from_slice(&rank.to_be_bytes());
        };
        let mut contents = self.contents.clone();
        contents.rows.iter_mut().for_each(|((table, _), (token, _))| rank(table, token));
        for ((table, _), open) in &mut contents.open {
            for token in open.iter_mut().filter_map(|(_, token)| token.as_mut()) {
                let mut bytes = token.as_bytes().to_vec();
                rank(table, &mut bytes);
                *token = Token::from_bytes(&bytes).expect("a token");
            }
        }
        contents.tombstones.iter_mut().for_each(|((table, _), token)| rank(table, token));
        contents.truncates.iter_mut().for_each(|(table, token)| rank(table, token));
        contents
    }

    pub fn owned(&self, key: &str, owner: &str) -> Vec<TopicPartition> {
        let mine = self.checkpoints.iter().filter(|((of, _), row)| of == key && row.owner == owner);
        mine.map(|((_, at), _)| at.clone()).collect()
    }

    /// Collects some tombstones of a table, whichever, without asking whether they are still needed: that must only make
    /// refusals.
    pub fn collect(&mut self, random: &mut Random) {
        if self.collect_percent == 0 || !random.chance(self.collect_percent) {
            return;
        }
        let keys: Vec<(String, i64)> = self.contents.tombstones.keys().cloned().collect();
        for key in keys.into_iter().filter(|_| random.chance(60)) {
            let Some(token) = self.contents.tombstones.remove(&key) else { continue };
            let floor = self.contents.floors.entry(key.0).or_default();
            *floor = token.max(floor.clone());
            self.collected += 1;
        }
    }

    /// One transaction: all of the plan or nothing of it.
    pub fn apply(&mut self, plan: &Plan) -> Result<Applied, Failure> {
        let mut inside = self.clone();
        match inside.apply_inside(plan) {
            Ok(applied) => {
                *self = inside;
                Ok(applied)
            }
            Err(failure) => {
                self.missed += u64::from(failure.class == Class::Fenced);
                self.refused += u64::from(failure.code == "below_floor");
                Err(failure)
            }
        }
    }

    fn apply_inside(&mut self, plan: &Plan) -> Result<Applied, Failure> {
        for advance in &plan.advances {
            self.advance(&plan.checkpoint_owner, advance)?;
        }
        let tables = plan.tables.iter().map(|table| self.table(table)).collect::<Result<Vec<_>, _>>()?;
        for record in &plan.quarantine {
            self.quarantine.insert((record.at.clone(), record.offset), record.reason);
            if let Some(mark) = &record.mark {
                self.marks.entry((mark.table.clone(), mark.key.clone())).or_default().push(mark.token);
            }
        }
        for entry in &plan.ledger {
            let there =
                |known: &LedgerEntry| (&known.at, known.kind, known.offset) == (&entry.at, entry.kind, entry.offset);
            if !self.ledger.iter().any(there) {
                self.ledger.push(entry.clone());
            }
        }
        for known in &plan.nulls {
            let found = self.ledger.iter().filter(|entry| entry.at == known.at && entry.kind == NULL_DELETE).count();
            if found as u64 != known.count {
                return Err(Failure::new(Class::Fenced, "fenced", "a null value was decided meanwhile"));
            }
        }
        Ok(Applied { tables })
    }

    fn advance(&mut self, key: &str, advance: &Advance) -> Result<(), Failure> {
        let row = self.checkpoints.get_mut(&(key.to_owned(), advance.at.clone()));
        let Some(row) = row.filter(|row| row.fence == advance.fence && row.next == advance.from) else {
            return Err(Failure::new(Class::Fenced, "fenced", "compare-and-swap missed"));
        };
        row.next = advance.next;
        row.open_delete.clone_from(&advance.open_delete);
        row.counts += &advance.counts;
        row.top = advance.top;
        Ok(())
    }

    fn table(&mut self, plan: &TablePlan) -> Result<TableOutcome, Failure> {
        let name = plan.table.name().table.clone();
        let contents = &mut self.contents;
        let mut outcome = TableOutcome { superseded_in_batch: plan.collapsed, ..TableOutcome::default() };
        if let Some(token) = plan.truncate {
            let token = token.as_bytes().to_vec();
            let held = contents.truncates.entry(name.clone()).or_default();
            *held = token.clone().max(held.clone());
            contents.rows.retain(|(of, _), (row, _)| *of != name || *row > token);
            contents.tombstones.retain(|(of, _), stone| *of != name || *stone > token);
            contents.open.retain(|key, _| contents.rows.contains_key(key));
        }
        for orphan in &plan.orphans {
            let key = (name.clone(), orphan.key[0].as_int().unwrap_or(-1));
            if contents.rows.get(&key).is_some_and(|(held, _)| held == orphan.token.as_bytes()) {
                outcome.applied += 1;
                contents.open.remove(&key);
                contents.rows.remove(&key);
                contents.tombstones.insert(key, orphan.below.as_bytes().to_vec());
            } else {
                outcome.superseded_by_row += 1;
            }
        }
        let upserts = plan.upserts.iter().flat_map(|group| &group.rows);
        let upserts = upserts
            .map(|row| (row.values[0].clone(), row.token, Some([number(&row.values[1]), number(&row.values[2])])));
        let deletes = plan.deletes.iter().map(|delete| (delete.key[0].clone(), delete.token, None));
        let mut lost = Vec::new();
        for (id, token, value) in upserts.chain(deletes) {
            let Value::Int(id) = id else { continue };
            if value.is_some_and(|[v, _]| v == BAD) {
                return Err(Failure::new(Class::Record, "23514", "check"));
            }
            let bytes = token.as_bytes().to_vec();
            let key = (name.clone(), id);
            if contents.truncates.get(&name).is_some_and(|held| *held >= bytes) {
                outcome.superseded_by_truncate += 1;
            } else if contents.rows.get(&key).is_some_and(|(held, _)| *held >= bytes) {
                outcome.superseded_by_row += 1;
                lost.extend(value.map(|value| (key, token, value)));
            } else if contents.tombstones.get(&key).is_some_and(|held| *held >= bytes) {
                outcome.superseded_by_tombstone += 1;
            } else if value.is_some()
                && !contents.rows.contains_key(&key)
                && contents.floors.get(&name).is_some_and(|floor| bytes <= *floor)
            {
                return Err(below_floor_failure(plan.table.name()));
            } else {
                outcome.applied += 1;
                contents.open.remove(&key);
                match value {
                    Some(value) => {
                        contents.tombstones.remove(&key);
                        contents.rows.insert(key, (bytes, value));
                    }
                    None => {
                        contents.rows.remove(&key);
                        contents.tombstones.insert(key, bytes);
                    }
                }
            }
        }
        self.partials(plan, lost, &mut outcome)?;
        self.sum += &outcome;
        Ok(outcome)
    }

    /// Partial rows, and full rows that lost to their row and may fill what it left open.
    fn partials(
        &mut self,
        plan: &TablePlan,
        lost: Vec<((String, i64), Token, Values)>,
        outcome: &mut TableOutcome,
    ) -> Result<(), Failure> {
        let name = plan.table.name().table.clone();
        let truncate = self.contents.truncates.get(&name).and_then(|token| Token::from_bytes(token));
        for partial in &plan.partials {
            let key = (name.clone(), number(&partial.key[0]));
            let canonical = key_bytes(&plan.table, &[&partial.key[0]]).expect("a key");
            let cells: Vec<(usize, Token)> = partial.cells.iter().map(|cell| (cell.column, cell.token)).collect();
            let incoming = Incoming { token: partial.token, cells: &cells, missing: &partial.missing };
            match merge(&self.base(&key, &canonical), truncate, incoming, false) {
                Merged::Refused(why) => return Err(Failure::new(Class::Record, why.reason(), "")),
                Merged::Superseded(verdict) => outcome.count(verdict),
                Merged::Write(written) => {
                    let values: Vec<_> = partial.cells.iter().map(|cell| (cell.column, number(&cell.value))).collect();
                    if values.iter().any(|(column, value)| *column == 1 && *value == BAD) {
                        return Err(Failure::new(Class::Record, "23514", "check"));
                    }
                    outcome.applied += 1;
                    self.completed += 1;
                    self.lay(key, &values, written);
                }
            }
        }
        for (key, token, values) in lost {
            let cells = [(1, token), (2, token)];
            let incoming = Incoming { token, cells: &cells, missing: &[] };
            if let Merged::Write(written) = merge(&self.base(&key, &[]), truncate, incoming, false) {
                self.filled += 1;
                self.lay(key, &[(1, values[0]), (2, values[1])], written);
            }
        }
        Ok(())
    }

    fn lay(&mut self, key: (String, i64), cells: &[(usize, i64)], written: Written) {
        let row = self.contents.rows.get_mut(&key).expect("a live row");
        for at in written.cells {
            row.1[cells[at].0 - 1] = cells[at].1;
        }
        row.0 = written.row.as_bytes().to_vec();
        self.contents.open.remove(&key);
        if !written.open.is_empty() {
            self.contents.open.insert(key, written.open);
        }
    }

    /// What is stored for a key.
    fn base(&self, key: &(String, i64), canonical: &[u8]) -> Base {
        let row = self.contents.rows.get(key).and_then(|(token, _)| Token::from_bytes(token));
        let tombstone = self.contents.tombstones.get(key).and_then(|token| Token::from_bytes(token));
        let marks = self.marks.get(&(key.0.clone(), canonical.to_vec())).cloned().unwrap_or_default();
        let open = self.contents.open.get(key).cloned().unwrap_or_default();
        Base { live: row.is_some(), row, tombstone, open, marks }
    }

    fn met(&mut self, name: &str) -> Arc<Table> {
        let id = self.tables.len() as u32 + 1;
        Arc::clone(self.tables.entry(name.to_owned()).or_insert_with(|| table(id, name)))
    }
}

fn number(value: &Value) -> i64 {
    value.as_int().unwrap_or(-1)
}

/// Table `b` has a column that no event carries, so that what shines through from a former life of a row would be seen by the planner.
fn table(id: u32, name: &str) -> Arc<Table> {
    let columns: &[&str] = if name == "b" { &["id", "v", "w", "extra"] } else { &["id", "v", "w"] };
    Arc::new(fixture::table(id, name, columns))
}

/// The store's answers to a planner; now and then it does not answer.
pub struct Answers<'s> {
    pub store: &'s mut Store,
    pub random: &'s mut Random,
    pub trouble_percent: i64,
}

impl Answers<'_> {
    fn trouble(&mut self) -> Result<(), Failure> {
        match self.random.chance(self.trouble_percent) {
            true => Err(Failure::new(Class::Transient, "sim", "no answer")),
            false => Ok(()),
        }
    }
}

impl Lookup for Answers<'_> {
    fn tables_version(&self) -> u64 {
        0
    }

    async fn resolve(&mut self, met: Met<'_>) -> Result<Resolved, Refused> {
        self.trouble()?;
        let table = self.store.met(&met.source.table);
        if met.op == crate::core::event::Op::Truncate {
            return Ok(Resolved::Whole(table));
        }
        let by_source = !met.position.is_none();
        let source = TopicSource { table: met.source.clone(), by_source };
        self.store.sources.insert(met.topic.to_owned(), source);
        let mapping = Mapping::new(table, met.row, met.key, &[], OrderPolicy::Source, Default::default());
        mapping.map(|mapping| Resolved::Rows(Arc::new(mapping))).map_err(Refused::Table)
    }

    async fn scope(&mut self, description: String) -> Result<u16, Failure> {
        self.trouble()?;
        let next = self.store.scopes.len() as u16 + 1;
        Ok(*self.store.scopes.entry(description).or_insert(next))
    }

    async fn truncate_missing(&mut self, _: &Missing, _: Token) -> Result<(), Failure> {
        unreachable!("every table is there")
    }

    async fn admit(&mut self, _: &TableName, _: u16) -> Result<Option<String>, Failure> {
        Ok(None)
    }

    async fn stored_token(&mut self, table: &Table, key: &[Value]) -> Result<Option<Token>, Failure> {
        self.trouble()?;
        let key = (table.name().table.clone(), key[0].as_int().unwrap_or(-1));
        let contents = &self.store.contents;
        let row = contents.rows.get(&key).map(|(token, _)| token);
        Ok(row.max(contents.tombstones.get(&key)).and_then(|token| Token::from_bytes(token)))
    }

    async fn bounds(&mut self, table: &Table) -> Result<Arc<Bounds>, Failure> {
        let token = |of: &BTreeMap<String, Vec<u8>>| of.get(&table.name().table).and_then(|it| Token::from_bytes(it));
        let contents = &self.store.contents;
        let floors = token(&contents.floors).into_iter().collect();
        Ok(Arc::new(Bounds { truncate: token(&contents.truncates), floors }))
    }

    async fn bases(&mut self, table: &Arc<Table>, keys: &[PartialKey]) -> Result<(Option<Token>, Vec<Base>), Failure> {
        self.trouble()?;
        let contents = &self.store.contents;
        let name = &table.name().table;
        let truncate = contents.truncates.get(name).and_then(|token| Token::from_bytes(token));
        let base = |(bytes, values): &PartialKey| self.store.base(&(name.clone(), number(&values[0])), bytes);
        Ok((truncate, keys.iter().map(base).collect()))
    }

    async fn epoch(
        &mut self,
        question: EpochQuestion,
        checkpoint_owner: &str,
        fence: i64,
    ) -> Result<Result<EpochRow, Rejection>, Failure> {
        self.trouble()?;
        let row = &self.store.checkpoints[&(checkpoint_owner.to_owned(), question.at.clone())];
        if row.fence != fence {
            return Err(Failure { fenced: vec![question.at], ..Failure::new(Class::Fenced, "fenced", "") });
        }
        let answer = settle(&self.store.epochs, &question).map(|settled| match settled {
            Settled::Known(row) => row,
            Settled::New(row) => {
                self.store.epochs.push(row.clone());
                row
            }
        });
        // An answer that gets lost after it was written.
        self.trouble()?;
        Ok(answer)
    }

    async fn sources(&mut self, topic: &str) -> Result<Vec<TopicSource>, Failure> {
        self.trouble()?;
        Ok(self.store.sources.get(topic).cloned().into_iter().collect())
    }

    async fn has_row(&mut self, table: &Table, key: &[Value]) -> Result<bool, Failure> {
        Ok(self.live_row(table, key).await?.is_some())
    }

    async fn live_row(&mut self, table: &Table, key: &[Value]) -> Result<Option<LiveRow>, Failure> {
        self.trouble()?;
        let key = (table.name().table.clone(), key[0].as_int().unwrap_or(-1));
        let row = self.store.contents.rows.get(&key);
        Ok(row.map(|(token, _)| LiveRow { token: Token::from_bytes(token) }))
    }
}
