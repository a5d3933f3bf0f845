//! From the changes of a batch to its plan: hot keys collapse to their newest change before anything is written.
//!
//! The final state must not depend on where batches are cut. Whatever would make a collapsed batch end differently from its
//! records applied one by one ends the batch instead: [`Pushed::CutBefore`].

use std::collections::BTreeMap;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::event::{Op, Rejection};
use super::guard::{Guard, stands};
use super::ledger::Top;
use super::mapping::{Change, Effect, Mapping};
use super::plan::{
    Advance, Delete, KnownNulls, LedgerEntry, Orphan, Plan, QuarantinedRecord, TablePlan, Upsert, UpsertGroup,
};
use super::record::{Payload, Record, TopicPartition};
use super::table::{Contract, DeleteMode, Table};
use super::token::Token;
use super::value::Value;

/// What became of a change that was pushed.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the batch.
    Taken,
    /// The batch has to be applied before this change may be looked at.
    CutBefore,
    /// Its token cannot be compared with another one of its key.
    Rejected(Rejection),
}

/// A batch on its way to a plan.
#[derive(Debug)]
pub struct BatchBuilder {
    plan: Plan,
    tables: BTreeMap<TableOrder, TableBuild>,
    partitions: BTreeMap<TopicPartition, Advance>,
    /// More changes of the same record follow: it is counted and passed with its last one.
    more_follow: bool,
    /// Record keys whose last data record in this batch is a delete, by partition.
    deleted: HashSet<(TopicPartition, Bytes)>,
}

/// Tables are locked in the order of their names; two tables of one name (a shape that changed) by number.
type TableOrder = (super::table::TableName, u32);

#[derive(Debug)]
struct TableBuild {
    table: Arc<Table>,
    entries: HashMap<Vec<u8>, Entry, foldhash::fast::FixedState>,
    /// Keys whose delete event is gone.
    orphans: BTreeMap<Vec<u8>, Orphan>,
    log: Vec<(Arc<[usize]>, Upsert)>,
    truncate: Option<Token>,
    truncates: u64,
    collapsed: u64,
}

#[derive(Debug)]
struct Entry {
    token: Token,
    columns: Arc<[usize]>,
    effect: Effect,
}

impl BatchBuilder {
    /// An empty batch under a pipeline's (or a replay's) checkpoints.
    pub fn new(pipeline: Arc<str>, checkpoint_owner: Arc<str>, repair: bool) -> Self {
        let plan = Plan { pipeline, checkpoint_owner, repair, ..Plan::default() };
        Self { plan, tables: BTreeMap::new(), partitions: BTreeMap::new(), more_follow: false, deleted: HashSet::new() }
    }

    /// Takes a partition in: its checkpoint moves from `from` as records are pushed.
    pub fn partition(&mut self, at: &TopicPartition, fence: i64, from: i64, open_delete: Option<Bytes>) {
        self.partitions.entry(at.clone()).or_insert_with(|| Advance {
            at: at.clone(),
            fence,
            from,
            next: from,
            counts: Default::default(),
            source_time_ms: None,
            open_delete,
            top: Top::default(),
        });
    }

    /// Says whether what is pushed next is followed by more changes of its record. The record is counted and passed, and its
    /// partition moves, with the last one; if that is cut off the first ones are applied again with the same tokens.
    pub fn more_follow(&mut self, more: bool) {
        self.more_follow = more;
    }

    /// Whether nothing was pushed yet that changes a table.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Whether a null value is the shadow of a delete: the last data record of its key, in this batch or as the last record
    /// of the batch before it, was a delete.
    pub fn is_shadow(&self, record: &Record) -> bool {
        let Some(key) = &record.key else { return false };
        let open = self.partitions.get(&record.at).and_then(|advance| advance.open_delete.as_ref());
        open == Some(key) || self.deleted.contains(&(record.at.clone(), key.clone()))
    }

    /// Whether the batch holds a change of a key (its canonical bytes).
    pub fn holds(&self, table: &Table, key: &[u8]) -> bool {
        let build = self.tables.get(&(table.name().clone(), table.id));
        build.is_some_and(|build| build.entries.contains_key(key) || build.orphans.contains_key(key))
    }

    /// Takes a change in. `record` is its record; the partition must be known.
    pub fn change(
        &mut self,
        record: &Record,
        mapping: &Mapping,
        change: Change,
        token: Token,
        source_time_ms: Option<i64>,
    ) -> Pushed {
        let table = &mapping.table;
        let is_delete = matches!(change.effect, Effect::Delete(_));
        if is_delete && table.delete == DeleteMode::Ignore {
            self.filtered(record, Op::Delete);
            return Pushed::Taken;
        }
        // Two shapes of one table would be written one after the other, not in the order of their tokens.
        if self.tables.values().any(|build| build.table.id != table.id && build.table.name() == table.name()) {
            return Pushed::CutBefore;
        }
        let build = table_build(&mut self.tables, table);
        // What comes behind an orphan is weighed against what the orphan leaves.
        if build.orphans.contains_key(&change.key) {
            return Pushed::CutBefore;
        }
        let entry = Entry { token, columns: Arc::clone(&mapping.columns), effect: change.effect };
        match build.entries.get_mut(&change.key) {
            None => {
                build.entries.insert(change.key, entry);
            }
            Some(known) if !known.token.comparable(&token) => {
                return Pushed::Rejected(Rejection::new(
                    "incomparable_token",
                    format!("two changes of one key of {} have tokens of different scopes", table.name()),
                ));
            }
            // Folding rows with other columns together would need to know what the older one's columns hold in the end.
            Some(known) if known.columns != entry.columns && !is_delete => return Pushed::CutBefore,
            // A row that is deleted and made again takes defaults where its new life has no value; an update would keep the old.
            Some(known) if matches!(known.effect, Effect::Delete(_)) && !is_delete && !mapping.covers_table => {
                return Pushed::CutBefore;
            }
            Some(known) => {
                build.collapsed += 1;
                if token > known.token || !stands(Guard::Collapse) {
                    *known = entry;
                }
            }
        }
        self.data(record, is_delete, |advance| {
            advance.counts.changes += 1;
            advance.source_time_ms = advance.source_time_ms.max(source_time_ms);
        });
        Pushed::Taken
    }

    /// Takes a null value in whose delete event is gone. The batch holds no other change of the key (`canonical`, its bytes).
    pub fn orphan(&mut self, record: &Record, table: &Arc<Table>, canonical: Vec<u8>, orphan: Orphan) -> Pushed {
        let others = self.tables.values().any(|build| build.table.id != table.id && build.table.name() == table.name());
        if others || self.holds(table, &canonical) {
            return Pushed::CutBefore;
        }
        table_build(&mut self.tables, table).orphans.insert(canonical, orphan);
        self.passed(record, |advance| {
            advance.counts.changes += 1;
            advance.open_delete = None;
        });
        Pushed::Taken
    }

    /// Passes a change that a null value behind it is known to have outlived.
    pub fn outlived(&mut self, record: &Record, table: &Arc<Table>, op: Op) {
        table_build(&mut self.tables, table).collapsed += 1;
        self.data(record, op == Op::Delete, |advance| advance.counts.changes += 1);
    }

    /// How many orphans are known of a partition, for a replay.
    pub fn nulls(&mut self, known: KnownNulls) {
        self.plan.nulls.push(known);
    }

    /// Passes a record that changes a row, and notes whether the null that may follow is a delete's shadow. That does not
    /// depend on what became of the delete.
    fn data(&mut self, record: &Record, is_delete: bool, count: impl FnOnce(&mut Advance)) {
        if self.more_follow {
            return;
        }
        if let Some(key) = &record.key {
            if is_delete {
                self.deleted.insert((record.at.clone(), key.clone()));
            } else if !self.deleted.is_empty() {
                self.deleted.remove(&(record.at.clone(), key.clone()));
            }
        }
        self.passed(record, |advance| {
            count(advance);
            advance.open_delete = if is_delete { record.key.clone() } else { None };
        });
    }

    /// Takes the truncation of a table in. Under soft deletes the rows that come before it in the batch must be there to be
    /// marked, so it begins a batch of its own.
    pub fn truncate(&mut self, record: &Record, table: &Arc<Table>, token: Token) -> Pushed {
        if table.delete == DeleteMode::Ignore {
            self.filtered(record, Op::Truncate);
            return Pushed::Taken;
        }
        let build = table_build(&mut self.tables, table);
        if table.delete == DeleteMode::Soft && !build.entries.is_empty() {
            return Pushed::CutBefore;
        }
        build.truncate = build.truncate.max(Some(token));
        build.truncates += 1;
        self.passed(record, |advance| {
            advance.counts.changes += 1;
            advance.open_delete = None;
        });
        Pushed::Taken
    }

    /// Takes a row of a change log in.
    pub fn log(
        &mut self,
        record: &Record,
        table: &Arc<Table>,
        columns: &Arc<[usize]>,
        row: Upsert,
        op: Op,
        source_time_ms: Option<i64>,
    ) {
        debug_assert_eq!(table.contract, Contract::ChangeLog);
        table_build(&mut self.tables, table).log.push((Arc::clone(columns), row));
        self.data(record, op == Op::Delete, |advance| {
            advance.counts.changes += 1;
            advance.source_time_ms = advance.source_time_ms.max(source_time_ms);
        });
    }

    /// Passes a change that the configuration leaves out.
    pub fn filtered(&mut self, record: &Record, op: Op) {
        self.data(record, op == Op::Delete, |advance| advance.counts.filtered += 1);
    }

    /// Passes a record that carries no change.
    pub fn control(&mut self, record: &Record) {
        self.passed(record, |advance| {
            advance.counts.control += 1;
            advance.open_delete = None;
        });
    }

    /// Keeps a record aside.
    pub fn quarantine(
        &mut self,
        record: &Record,
        incarnation: &Arc<str>,
        table: Option<String>,
        token: Option<Token>,
        why: Rejection,
    ) {
        self.plan.quarantine.push(QuarantinedRecord {
            at: record.at.clone(),
            incarnation: Arc::clone(incarnation),
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.clone(),
            value: record.value.as_ref().map(Payload::whole),
            headers: record.headers.clone(),
            table,
            token,
            reason: why.reason,
            detail: why.detail,
        });
        self.passed(record, |advance| {
            advance.counts.quarantined += 1;
            advance.open_delete = None;
        });
    }

    /// A fact that the batch's tokens rest on.
    pub fn ledger(&mut self, entry: LedgerEntry) {
        self.plan.ledger.push(entry);
    }

    /// A quarantined record that this batch settles.
    pub fn settles(&mut self, id: i64) {
        self.plan.settled.push(id);
    }

    /// Moves a partition to the consumer's position at its end: nothing lies between.
    pub fn reach(&mut self, at: &TopicPartition, position: i64) {
        if let Some(advance) = self.partitions.get_mut(at) {
            advance.next = advance.next.max(position);
        }
    }

    fn passed(&mut self, record: &Record, count: impl FnOnce(&mut Advance)) {
        if self.more_follow {
            return;
        }
        if let Some(advance) = self.partitions.get_mut(&record.at) {
            debug_assert!(record.offset >= advance.next, "records of a partition come in the order of their offsets");
            advance.next = record.offset + 1;
            count(advance);
        }
    }

    /// The plan. Partitions that did not move are left out.
    pub fn finish(self) -> Plan {
        let mut plan = self.plan;
        plan.advances = self.partitions.into_values().filter(|advance| advance.next > advance.from).collect();
        plan.tables = self.tables.into_values().map(TableBuild::finish).collect();
        plan
    }
}

fn table_build<'t>(tables: &'t mut BTreeMap<TableOrder, TableBuild>, table: &Arc<Table>) -> &'t mut TableBuild {
    tables.entry((table.name().clone(), table.id)).or_insert_with(|| TableBuild {
        table: Arc::clone(table),
        entries: HashMap::default(),
        orphans: BTreeMap::new(),
        log: Vec::new(),
        truncate: None,
        truncates: 0,
        collapsed: 0,
    })
}

impl TableBuild {
    fn finish(self) -> TablePlan {
        let mut sorted: Vec<(Vec<u8>, Entry)> = self.entries.into_iter().collect();
        sorted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut upserts: Vec<UpsertGroup> = Vec::new();
        let mut deletes = Vec::new();
        let mut add =
            |columns: &Arc<[usize]>, row: Upsert| match upserts.iter_mut().find(|group| group.columns == *columns) {
                Some(group) => group.rows.push(row),
                None => upserts.push(UpsertGroup { columns: Arc::clone(columns), rows: vec![row] }),
            };
        for (_, entry) in sorted {
            match entry.effect {
                Effect::Upsert(values) => add(&entry.columns, Upsert { token: entry.token, values }),
                Effect::Delete(key) => deletes.push(Delete { token: entry.token, key }),
            }
        }
        for (columns, row) in self.log {
            add(&columns, row);
        }
        TablePlan {
            table: self.table,
            upserts,
            deletes,
            orphans: self.orphans.into_values().collect(),
            truncate: self.truncate,
            truncates: self.truncates,
            collapsed: self.collapsed,
        }
    }
}

/// Values of the order columns of an upsert, for [`super::order::column_token`].
pub fn order_values<'v>(values: &'v [Value], columns: &[usize]) -> Vec<&'v Value> {
    columns.iter().filter_map(|at| values.get(*at)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::decode::PlainRules;
    use super::super::event::{RowSchema, SourcePosition};
    use super::super::ledger::Ledger;
    use super::super::order::{OrderPolicy, token};
    use super::super::record::Headers;
    use super::super::table::fixture;
    use super::super::wire::{Field, WireType};
    use super::*;

    fn table() -> Arc<Table> {
        Arc::new(fixture::table(1, "t", &["id", "v"]))
    }

    fn mapping(names: &[&str]) -> Mapping {
        let field = |name: &&str| Field { name: (*name).into(), kind: WireType::Int { bits: 64 }, optional: true };
        let schema = RowSchema { id: 1, fields: names.iter().map(field).collect() };
        Mapping::new(table(), Some(&schema), None, &[], &[], OrderPolicy::Source, PlainRules::default())
            .expect("mapping")
    }

    fn record(offset: i64) -> Record {
        let at = TopicPartition::new("t", 0);
        Record {
            at,
            offset,
            timestamp_ms: None,
            key: Some(Bytes::from_static(b"k")),
            value: None,
            headers: Headers::default(),
        }
    }

    fn lsn(lsn: u64) -> Token {
        let at = TopicPartition::new("t", 0);
        let position = SourcePosition::Postgres { commit: Some(lsn), lsn, phase: super::super::token::Phase::Stream };
        token(&OrderPolicy::Source, 1, &position, &Ledger::default(), &at, 0).expect("token")
    }

    fn upsert(id: i64, v: i64) -> Change {
        Change { key: id.to_be_bytes().to_vec(), effect: Effect::Upsert(vec![Value::Int(id), Value::Int(v)]) }
    }

    fn delete(id: i64) -> Change {
        Change { key: id.to_be_bytes().to_vec(), effect: Effect::Delete(vec![Value::Int(id)]) }
    }

    /// Invariant 2: whatever the order of arrival, the greatest token of a key is what the plan carries.
    #[test]
    fn the_newest_change_of_a_key_is_planned_in_any_order() {
        let mapping = mapping(&["id", "v"]);
        for order in [[0usize, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
            let mut builder = BatchBuilder::new("p".into(), "p".into(), false);
            builder.partition(&record(0).at, 1, 5, None);
            for (at, which) in order.into_iter().enumerate() {
                let (change, token) =
                    [(upsert(1, 10), lsn(10)), (delete(1), lsn(30)), (upsert(1, 20), lsn(20))][which].clone_parts();
                assert_eq!(builder.change(&record(7 + at as i64), &mapping, change, token, Some(9)), Pushed::Taken);
            }
            let plan = builder.finish();
            let table = &plan.tables[0];
            assert_eq!((table.upsert_count(), table.deletes.len(), table.collapsed), (0, 1, 2));
            assert_eq!(table.deletes[0].token, lsn(30));
            let advance = &plan.advances[0];
            assert_eq!((advance.from, advance.next, advance.counts.changes), (5, 10, 3));
        }
    }

    /// A null behind a delete is its shadow also where the delete itself was left out or went into a change log.
    #[test]
    fn nulls_follow_deletes_whatever_became_of_them() {
        let null = record(6);
        let mut builder = BatchBuilder::new("p".into(), "p".into(), false);
        builder.partition(&record(0).at, 1, 5, None);
        assert!(!builder.is_shadow(&null));
        builder.filtered(&record(5), Op::Delete);
        assert!(builder.is_shadow(&null));
        assert_eq!(builder.finish().advances[0].open_delete, Some(Bytes::from_static(b"k")));

        let mut builder = BatchBuilder::new("p".into(), "p".into(), false);
        builder.partition(&record(0).at, 1, 5, None);
        let mut log = Arc::into_inner(table()).expect("alone");
        log.contract = Contract::ChangeLog;
        let row = Upsert { token: lsn(1), values: vec![Value::Int(1)] };
        builder.log(&record(5), &Arc::new(log), &Arc::from([0]), row, Op::Delete, None);
        assert!(builder.is_shadow(&null));
        builder.filtered(&record(6), Op::Upsert);
        assert!(!builder.is_shadow(&record(7)));
    }

    /// Invariant 7: a table whose shape changed is written in one shape per batch.
    #[test]
    fn two_shapes_of_a_table_are_not_in_one_batch() {
        let first = mapping(&["id", "v"]);
        let mut second = mapping(&["id", "v"]);
        Arc::get_mut(&mut second.table).expect("alone").id = 2;
        let mut builder = BatchBuilder::new("p".into(), "p".into(), false);
        builder.partition(&record(0).at, 1, 5, None);
        assert_eq!(builder.change(&record(5), &first, upsert(1, 1), lsn(1), None), Pushed::Taken);
        assert_eq!(builder.change(&record(6), &second, upsert(1, 1), lsn(2), None), Pushed::CutBefore);
    }

    trait CloneParts {
        fn clone_parts(&self) -> (Change, Token);
    }

    impl CloneParts for (Change, Token) {
        fn clone_parts(&self) -> (Change, Token) {
            let effect = match &self.0.effect {
                Effect::Upsert(values) => Effect::Upsert(values.clone()),
                Effect::Delete(values) => Effect::Delete(values.clone()),
            };
            (Change { key: self.0.key.clone(), effect }, self.1)
        }
    }

    /// Invariant 7: where folding would depend on the cut, the batch is cut.
    #[test]
    fn rows_with_other_columns_cut_the_batch() {
        let (full, narrow) = (mapping(&["id", "v"]), mapping(&["id"]));
        let mut builder = BatchBuilder::new("p".into(), "p".into(), false);
        builder.partition(&record(0).at, 1, 0, None);
        assert_eq!(builder.change(&record(0), &full, upsert(1, 1), lsn(1), None), Pushed::Taken);
        let change = Change { key: 1i64.to_be_bytes().to_vec(), effect: Effect::Upsert(vec![Value::Int(1)]) };
        assert_eq!(builder.change(&record(1), &narrow, change, lsn(2), None), Pushed::CutBefore);
        assert_eq!(builder.finish().advances[0].next, 1);
    }

    /// Invariant 6: tokens of different scopes are never compared.
    #[test]
    fn another_scope_is_rejected() {
        let mapping = mapping(&["id", "v"]);
        let mut builder = BatchBuilder::new("p".into(), "p".into(), false);
        builder.partition(&record(0).at, 1, 0, None);
        assert_eq!(builder.change(&record(0), &mapping, upsert(1, 1), lsn(1), None), Pushed::Taken);
        let other = super::super::token::TokenWriter::new(2, 1).number(9).finish();
        assert!(matches!(builder.change(&record(1), &mapping, upsert(1, 2), other, None), Pushed::Rejected(_)));
    }

    /// Invariant 4: every record is counted in exactly one way, and an end without records moves the checkpoint alone.
    #[test]
    fn records_are_counted_once_and_gaps_are_passed() {
        let mut builder = BatchBuilder::new("p".into(), "p".into(), false);
        let at = record(0).at;
        builder.partition(&at, 1, 0, None);
        builder.control(&record(0));
        builder.filtered(&record(4), Op::Upsert);
        builder.quarantine(&record(6), &"-".into(), None, None, Rejection::new("undecodable", "x"));
        builder.reach(&at, 9);
        let plan = builder.finish();
        let counts = plan.advances[0].counts;
        assert_eq!((counts.control, counts.filtered, counts.quarantined, counts.changes), (1, 1, 1, 0));
        assert_eq!((plan.advances[0].next, plan.quarantine.len()), (9, 1));
    }
}
