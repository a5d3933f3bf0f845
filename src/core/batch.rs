//! From the changes of a batch to its plan: hot keys collapse to their newest change before anything is written.
//!
//! The final state must not depend on where batches are cut. Whatever would make a collapsed batch end differently from its
//! records applied one by one ends the batch instead: [`Pushed::CutBefore`].
//!
//! # Why partial rows stay beside full ones
//!
//! A full row and the partial rows behind it could become one full row with the newest token. If that met a stored row between
//! the two, it would take that row's columns back to what the older full row held. So a key keeps its newest full row (or
//! delete) and, folded column by column, the partial rows behind it; both are applied, in this order. What a partial row is
//! completed from must be sure: it is not folded behind a delete of the batch, which may lose to what is stored, nor before a
//! full row that is older, nor behind a record of its key that was put aside in the batch.

use std::collections::BTreeMap;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::event::{Op, Rejection};
use super::guard::{Guard, stands};
use super::ledger::Top;
use super::mapping::{Change, Effect, Mapping, PartialRow};
use super::merge::{self, Piece};
use super::plan::{
    Advance, Cell, Delete, KnownNulls, LedgerEntry, Mark, Orphan, Partial, Plan, QuarantinedRecord, SnapshotEnd,
    TablePlan, Upsert, UpsertGroup,
};
use super::record::{Record, TopicPartition};
use super::table::{Contract, DeleteMode, Row, Table};
use super::token::Token;
use super::value::Value;

/// Stored in place of a deleted key where an operator set a position back: what lies before it was applied, but is not read again.
/// A null right there is what it was when it was read first: the shadow of a delete, or decided then. Taken for an orphan it would
/// delete a row that is newer than itself (found by simulation).
pub const UNSEEN_DELETE: &[u8] = b"\0lastword: whatever lies before";

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
    /// Tables and keys of which a record of this batch was put aside.
    marked: HashSet<(String, Vec<u8>)>,
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

/// What a batch holds of a key.
#[derive(Debug, Default)]
struct Entry {
    /// Its newest full row or delete.
    whole: Option<Whole>,
    /// Its partial rows behind that, in the order of their arrival.
    partial: Option<PartialEntry>,
    /// Partial rows that a newer full row or delete took the place of: whether they can be applied must not depend on that.
    beaten: Vec<Beaten>,
}

#[derive(Debug)]
struct Beaten {
    full: Option<(Token, Arc<[usize]>)>,
    partial: PartialEntry,
}

#[derive(Debug)]
struct Whole {
    token: Token,
    columns: Arc<[usize]>,
    state: State,
}

#[derive(Debug)]
enum State {
    Row(Row),
    Deleted(Vec<Value>),
}

#[derive(Debug)]
struct PartialEntry {
    key: Vec<Value>,
    /// Columns of the table that full rows of this kind carry.
    columns: Arc<[usize]>,
    pieces: Vec<(TopicPartition, i64, Piece)>,
}

impl PartialEntry {
    fn newest(&self) -> Option<&Token> {
        self.pieces.iter().map(|(_, _, piece)| &piece.token).max()
    }
}

impl Entry {
    fn tokens(&self) -> impl Iterator<Item = &Token> {
        let newest = self.partial.as_ref().and_then(PartialEntry::newest);
        self.whole.iter().map(|whole| &whole.token).chain(newest)
    }
}

/// The partial rows of a key, and what they are completed from where that is in the batch.
#[derive(Debug)]
pub struct PendingPartial<'b> {
    /// Canonical bytes of the key.
    pub key_bytes: &'b [u8],
    /// Values of the key.
    pub key: &'b [Value],
    /// Token and columns of the full row of the batch.
    pub full: Option<(Token, Arc<[usize]>)>,
    /// Records with what each carries.
    pub pieces: &'b [(TopicPartition, i64, Piece)],
}

impl BatchBuilder {
    /// An empty batch under a pipeline's (or a replay's) checkpoints.
    pub fn new(pipeline: Arc<str>, checkpoint_owner: Arc<str>, repair: bool) -> Self {
        let plan = Plan { pipeline, checkpoint_owner, repair, ..Plan::default() };
        Self {
            plan,
            tables: BTreeMap::new(),
            partitions: BTreeMap::new(),
            more_follow: false,
            deleted: HashSet::new(),
            marked: HashSet::new(),
        }
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
    /// of the batch before it, was a delete (or may have been, see [`UNSEEN_DELETE`]).
    pub fn is_shadow(&self, record: &Record) -> bool {
        let Some(key) = &record.key else { return false };
        let open = self.partitions.get(&record.at).and_then(|advance| advance.open_delete.as_ref());
        open.is_some_and(|open| open == key || **open == *UNSEEN_DELETE)
            || self.deleted.contains(&(record.at.clone(), key.clone()))
    }

    /// Whether the batch holds a change of a key (its canonical bytes).
    pub fn holds(&self, table: &Table, key: &[u8]) -> bool {
        let build = self.tables.get(&(table.name().clone(), table.id));
        build.is_some_and(|build| build.entries.contains_key(key) || build.orphans.contains_key(key))
    }

    /// The token of a key's newest change in the batch so far, and whether it is a delete.
    pub fn held(&self, table: &Table, key: &[u8]) -> Option<(Token, bool)> {
        let entry = self.tables.get(&(table.name().clone(), table.id))?.entries.get(key)?;
        let newest = *entry.tokens().max()?;
        let deleted = |whole: &Whole| whole.token == newest && matches!(whole.state, State::Deleted(_));
        Some((newest, entry.whole.as_ref().is_some_and(deleted)))
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
        if matches!(change.effect, Effect::Partial(_))
            && !self.marked.is_empty()
            && self.marked.contains(&(table.name().to_string(), change.key.clone()))
        {
            return Pushed::CutBefore;
        }
        let build = table_build(&mut self.tables, table);
        // What comes behind an orphan is weighed against what the orphan leaves.
        if build.orphans.contains_key(&change.key) {
            return Pushed::CutBefore;
        }
        let entry = build.entries.entry(change.key).or_default();
        if entry.tokens().any(|known| !known.comparable(&token)) {
            return Pushed::Rejected(Rejection::new(
                "incomparable_token",
                format!("two changes of one key of {} have tokens of different scopes", table.name()),
            ));
        }
        let columns = Arc::clone(&mapping.columns);
        let folded = match change.effect {
            Effect::Upsert(row) => entry.whole(Whole { token, columns, state: State::Row(row) }, mapping.covers_table),
            Effect::Delete(key) => entry.whole(Whole { token, columns, state: State::Deleted(key) }, true),
            Effect::Partial(row) => entry.partial(record, token, columns, row),
        };
        match folded {
            Some(collapsed) => build.collapsed += collapsed,
            None => return Pushed::CutBefore,
        }
        self.data(record, is_delete, |advance| {
            advance.counts.changes += 1;
            advance.source_time_ms = advance.source_time_ms.max(source_time_ms);
        });
        Pushed::Taken
    }

    /// The keys of the batch whose partial rows have to be completed from what is stored, by table, with the TRUNCATE of the batch.
    pub fn partials(&self) -> impl Iterator<Item = (&Arc<Table>, Option<Token>, Vec<PendingPartial<'_>>)> {
        let pending = self.tables.values().map(|build| (&build.table, build.truncate, build.pending()));
        pending.filter(|(_, _, pending)| !pending.is_empty())
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
    /// marked, and what partial rows before it are completed from must not be gone, so it begins a batch of its own.
    pub fn truncate(&mut self, record: &Record, table: &Arc<Table>, token: Token) -> Pushed {
        if table.delete == DeleteMode::Ignore {
            self.filtered(record, Op::Truncate);
            return Pushed::Taken;
        }
        let build = table_build(&mut self.tables, table);
        let partial = build.entries.values().any(|entry| entry.partial.is_some() || !entry.beaten.is_empty());
        if partial || (table.delete == DeleteMode::Soft && !build.entries.is_empty()) {
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
    pub fn quarantine(&mut self, record: &Record, incarnation: &Arc<str>, mark: Option<Mark>, why: Rejection) {
        self.marked.extend(mark.as_ref().map(|mark| (mark.table.clone(), mark.key.clone())));
        let (key, value) = record.original();
        self.plan.quarantine.push(QuarantinedRecord {
            at: record.at.clone(),
            incarnation: Arc::clone(incarnation),
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key,
            value,
            headers: record.headers.clone(),
            mark,
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

    /// A snapshot that ended.
    pub fn snapshot_ended(&mut self, end: SnapshotEnd) {
        self.plan.snapshots.push(end);
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

impl Entry {
    fn full(&self) -> Option<(Token, Arc<[usize]>)> {
        let row = self.whole.as_ref().filter(|whole| matches!(whole.state, State::Row(_)));
        row.map(|whole| (whole.token, Arc::clone(&whole.columns)))
    }

    /// Takes a full row or a delete in. Returns how many events of the batch lost by it; `None` where the batch must end first.
    fn whole(&mut self, new: Whole, covers_table: bool) -> Option<u64> {
        let is_delete = matches!(new.state, State::Deleted(_));
        // Rows with other columns could be folded only by one who knows what the older one's columns hold in the end. A row that
        // is deleted and made again takes defaults where its new life has no value; an update would keep the old.
        if let Some(known) = self.whole.as_ref().filter(|_| !is_delete)
            && (known.columns != new.columns || (matches!(known.state, State::Deleted(_)) && !covers_table))
        {
            return None;
        }
        let older = self.whole.as_ref().is_some_and(|known| known.token >= new.token) && stands(Guard::Collapse);
        let mut lost = u64::from(self.whole.is_some());
        let newest = self.partial.as_ref().and_then(PartialEntry::newest);
        if !older && newest.is_some_and(|newest| *newest >= new.token) {
            return None;
        }
        if let Some(mut partial) = self.partial.take_if(|_| !older) {
            partial
                .pieces
                .iter_mut()
                .flat_map(|(_, _, piece)| &mut piece.cells)
                .for_each(|cell| cell.value = Value::Null);
            lost += 1;
            self.beaten.push(Beaten { full: self.full(), partial });
        }
        if !older {
            self.whole = Some(new);
        }
        Some(lost)
    }

    /// Takes a partial row in; see [`Self::whole`].
    fn partial(&mut self, record: &Record, token: Token, columns: Arc<[usize]>, row: PartialRow) -> Option<u64> {
        match &self.whole {
            Some(Whole { state: State::Deleted(_), .. }) => return None,
            Some(known) if known.columns != columns => return None,
            Some(known) if known.token >= token => return Some(1),
            _ => {}
        }
        let cells = row.cells.into_iter().map(|(column, value)| Cell { column, token, value }).collect();
        let piece = (record.at.clone(), record.offset, Piece { token, cells, missing: row.missing });
        match &mut self.partial {
            Some(known) if known.columns != columns => return None,
            Some(known) => {
                known.pieces.push(piece);
                return Some(1);
            }
            None => self.partial = Some(PartialEntry { key: row.key, columns, pieces: vec![piece] }),
        }
        Some(0)
    }
}

impl TableBuild {
    fn pending(&self) -> Vec<PendingPartial<'_>> {
        let mut found: Vec<PendingPartial<'_>> = Vec::new();
        for (key_bytes, entry) in &self.entries {
            let behind = entry.partial.iter().map(|partial| (entry.full(), partial));
            for (full, partial) in
                entry.beaten.iter().map(|beaten| (beaten.full.clone(), &beaten.partial)).chain(behind)
            {
                found.push(PendingPartial { key_bytes, key: &partial.key, full, pieces: &partial.pieces });
            }
        }
        found.sort_by_key(|pending| pending.key_bytes);
        found
    }

    fn finish(self) -> TablePlan {
        let mut sorted: Vec<(Vec<u8>, Entry)> = self.entries.into_iter().collect();
        sorted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut upserts: Vec<UpsertGroup> = Vec::new();
        let mut deletes = Vec::new();
        let mut partials: Vec<Partial> = Vec::new();
        let mut add =
            |columns: &Arc<[usize]>, row: Upsert| match upserts.iter_mut().find(|group| group.columns == *columns) {
                Some(group) => group.rows.push(row),
                None => upserts.push(UpsertGroup { columns: Arc::clone(columns), rows: vec![row] }),
            };
        for (_, entry) in sorted {
            match entry.whole {
                Some(Whole { token, columns, state: State::Row(values) }) => add(&columns, Upsert { token, values }),
                Some(Whole { token, state: State::Deleted(key), .. }) => deletes.push(Delete { token, key }),
                None => {}
            }
            if let Some(partial) = entry.partial {
                let pieces = partial.pieces.into_iter().map(|(_, _, piece)| piece).collect();
                partials.extend(merge::fold(partial.key, pieces));
            }
        }
        for (columns, row) in self.log {
            add(&columns, row);
        }
        TablePlan {
            table: self.table,
            upserts,
            deletes,
            partials,
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
mod tests;
