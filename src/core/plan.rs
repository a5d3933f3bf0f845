//! What one transaction will do.
//!
//! A plan is made by [`super::batch`] from the records of a batch and is applied as a whole by a sink: there is no way
//! to apply its rows without its offsets. Its order is fixed (checkpoints by topic and partition, tables by name, rows by
//! key), so that two writers lock in one order and a plan is the same whenever it is made from the same records.

use std::ops::AddAssign;
use std::sync::Arc;

use bytes::Bytes;

use super::ledger::Top;
use super::record::{Headers, TopicPartition};
use super::table::{Row, Table, TableName};
use super::token::Token;
use super::value::Value;
use super::verdict::Verdict;

/// Everything that one transaction does.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Under whose checkpoints: the pipeline's name, or `<pipeline>#replay-<id>` for a replay.
    pub checkpoint_owner: Arc<str>,
    /// The pipeline's name, for counters and the quarantine.
    pub pipeline: Arc<str>,
    /// Checkpoints to move, ordered by topic and partition.
    pub advances: Vec<Advance>,
    /// Changes by table, ordered by table name.
    pub tables: Vec<TablePlan>,
    /// Records that cannot be applied.
    pub quarantine: Vec<QuarantinedRecord>,
    /// Rows of the ledger that the batch's tokens rest on.
    pub ledger: Vec<LedgerEntry>,
    /// Snapshots that ended in this batch.
    pub snapshots: Vec<SnapshotEnd>,
    /// What the destination holds of source transactions after this plan, where it has news; see [`super::align`].
    pub consistency: Vec<Consistency>,
    /// Ids of quarantined records that this plan settles (a retry).
    pub settled: Vec<i64>,
    /// Of a replay: if there are more when it ends, it must be made again.
    pub nulls: Vec<KnownNulls>,
    /// Rewrite rows whose token is equal (`replay --repair`).
    pub repair: bool,
}

/// How many null values of a partition are known to have deleted rows ([`super::nulls::NULL_DELETE`]).
#[derive(Clone, Debug)]
pub struct KnownNulls {
    /// The partition.
    pub at: TopicPartition,
    /// Incarnation of its topic.
    pub incarnation: Arc<str>,
    /// Their number.
    pub count: u64,
}

/// A checkpoint moves from exactly `from` to `next`, under exactly `fence`.
#[derive(Clone, Debug)]
pub struct Advance {
    /// Whose.
    pub at: TopicPartition,
    /// The fence that was handed out by the claim.
    pub fence: i64,
    /// The stored next offset, or the previous batch's `next`.
    pub from: i64,
    /// Last record's offset + 1, or the consumer's position at the end of the partition.
    pub next: i64,
    /// What became of the records of `[from, next)`.
    pub counts: Counts,
    /// Source time of the newest event in milliseconds since 1970.
    pub source_time_ms: Option<i64>,
    /// Bytes of the key of the last record if that was a delete event whose null record may follow, else `None`.
    pub open_delete: Option<Bytes>,
    /// The greatest that its stream has shown, as it is to be stored.
    pub top: Top,
}

/// How the records of a partition were settled; together they are all records of the range. Whether a change was applied
/// or superseded is known per table only (see [`TableOutcome`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Change events that went into a table's plan (applied or superseded).
    pub changes: u64,
    /// Left out by the configuration.
    pub filtered: u64,
    /// Kept aside.
    pub quarantined: u64,
    /// Heartbeats, transaction and schema change records, nulls behind their delete.
    pub control: u64,
}

impl Counts {
    /// All records.
    pub fn records(&self) -> u64 {
        self.changes + self.filtered + self.quarantined + self.control
    }
}

impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, more: &Counts) {
        self.changes += more.changes;
        self.filtered += more.filtered;
        self.quarantined += more.quarantined;
        self.control += more.control;
    }
}

/// Changes for one table. Every key occurs at most once over `upserts` and `deletes`, and once in `partials`; each is ordered by key.
#[derive(Clone, Debug)]
pub struct TablePlan {
    /// The table.
    pub table: Arc<Table>,
    /// Rows to write, grouped by the columns that they carry.
    pub upserts: Vec<UpsertGroup>,
    /// Keys to delete.
    pub deletes: Vec<Delete>,
    /// Keys whose delete event is gone. None of them is among the others.
    pub orphans: Vec<Orphan>,
    /// Updates that carry only some columns, ordered by key. They are applied after `upserts` and `deletes`: a key among them may
    /// be among the upserts, too, never among the deletes.
    pub partials: Vec<Partial>,
    /// Greatest token of a TRUNCATE in this batch.
    pub truncate: Option<Token>,
    /// TRUNCATE events in this batch. Each counts as applied: it took effect, or a greater one had before.
    pub truncates: u64,
    /// Events that lost inside the batch already: all events of the batch less the entries above.
    pub collapsed: u64,
}

impl TablePlan {
    /// A plan that changes nothing, to begin with.
    pub fn new(table: Arc<Table>) -> Self {
        Self {
            table,
            upserts: Vec::new(),
            deletes: Vec::new(),
            orphans: Vec::new(),
            partials: Vec::new(),
            truncate: None,
            truncates: 0,
            collapsed: 0,
        }
    }

    /// Rows to write.
    pub fn upsert_count(&self) -> usize {
        self.upserts.iter().map(|group| group.rows.len()).sum()
    }
}

/// Rows that carry the same columns. Columns of the table that are not among them are left alone on update and take the
/// database's default on insert.
#[derive(Clone, Debug)]
pub struct UpsertGroup {
    /// Indices into the table's columns, ascending; all key columns are among them. For a change-log table: all its columns.
    pub columns: Arc<[usize]>,
    /// The rows.
    pub rows: Vec<Upsert>,
}

/// A row to write if its token beats what is stored.
#[derive(Clone, Debug)]
pub struct Upsert {
    /// Token of the event. Change-log tables do not compare it.
    pub token: Token,
    /// Values in the order of the group's columns, ready to be written.
    pub values: Row,
}

/// A key to delete if the token beats what is stored.
#[derive(Clone, Debug)]
pub struct Delete {
    /// Token of the event.
    pub token: Token,
    /// Values of the key columns, in the order of `table.key`.
    pub key: Vec<Value>,
}

/// An update that does not carry all columns: it changes the row that is there and never makes one. See [`super::merge`].
#[derive(Clone, Debug)]
pub struct Partial {
    /// Token of the newest event in it.
    pub token: Token,
    /// Values of the key columns, in the order of `table.key`.
    pub key: Vec<Value>,
    /// What it carries beside the key, ascending by column.
    pub cells: Vec<Cell>,
    /// Columns that it should carry and does not, ascending.
    pub missing: Vec<usize>,
}

/// A value for one column.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Index into the table's columns.
    pub column: usize,
    /// Token of the event that it is from.
    pub token: Token,
    /// Ready to be written.
    pub value: Value,
}

/// Whose change a quarantined record is: later partial rows of the key are held back.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Full name of the destination table.
    pub table: String,
    /// Canonical bytes of the business key.
    pub key: Vec<u8>,
    /// Token of the event.
    pub token: Token,
}

/// A key to delete for a null value whose delete event was compacted away. It carries no token of its own: it deletes the row
/// that was there when everything before it was applied.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// Token of that row: if it has another one, the change loses.
    pub token: Token,
    /// Token of the tombstone, just below the row's: the row's own newest event, if it comes again behind the null value, wins
    /// over it, and every older one loses.
    pub below: Token,
    /// Values of the key columns, in the order of `table.key`.
    pub key: Vec<Value>,
}

/// A record that cannot be applied, with why.
#[derive(Clone, Debug)]
pub struct QuarantinedRecord {
    /// Where it lay.
    pub at: TopicPartition,
    /// Topic incarnation.
    pub incarnation: Arc<str>,
    /// Its offset.
    pub offset: i64,
    /// Record time in milliseconds.
    pub timestamp_ms: Option<i64>,
    /// Bytes of the key.
    pub key: Option<Bytes>,
    /// Bytes of the value.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Headers,
    /// Table, key and token, if they are known.
    pub mark: Option<Mark>,
    /// Stable reason code: `undecodable`, `unsupported_type`, …
    pub reason: &'static str,
    /// What is wrong, without values.
    pub detail: String,
}

/// A fact that tokens rest on, found in the log of a partition: written once, never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The partition in which it was found.
    pub at: TopicPartition,
    /// Incarnation of the topic.
    pub incarnation: Arc<str>,
    /// Offset of the record that shows it; it holds for that record and all after it.
    pub offset: i64,
    /// Kind of the fact.
    pub kind: &'static str,
    /// The fact.
    pub value: u64,
}

/// The initial snapshot of a table was read to its last row (of one partition; others may still hold rows of it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotEnd {
    /// The destination table.
    pub table: TableName,
    /// The topic that holds it.
    pub topic: Arc<str>,
    /// Incarnation of the topic.
    pub incarnation: Arc<str>,
    /// The token of the snapshot as a whole: what is older, and was not in it, is gone at the source.
    pub token: Token,
    /// Its position in the source, as the ledger knows it.
    pub position: u64,
}

/// News about how far the destination is consistent with a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// The source, with the marker of its GTIDs: `postgresql shop`, `mariadb shop 0`.
    pub source: String,
    /// Position up to which it certainly holds all transactions, for people; `None` if it is what it was.
    pub position: Option<String>,
    /// Transactions of this batch whose end was told by silence alone.
    pub by_time: u64,
    /// Transactions of this batch that were cut inside: too large, or searched for a bad record.
    pub inside: u64,
}

/// How a plan's changes of one table ended, counted inside the transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableOutcome {
    /// Upserts and deletes that took effect. A delete of an unknown key that left a tombstone is applied.
    pub applied: u64,
    /// Lost inside the batch.
    pub superseded_in_batch: u64,
    /// Lost to the row (or the side table's token of a live row).
    pub superseded_by_row: u64,
    /// Lost to a tombstone.
    pub superseded_by_tombstone: u64,
    /// Lost to a truncate token.
    pub superseded_by_truncate: u64,
    /// Rows and tombstones deleted by the re-check under the table's lock.
    pub recheck_deleted: u64,
    /// Tombstones inserted less tombstones removed.
    pub tombstones_delta: i64,
}

impl TableOutcome {
    /// Counts a change.
    pub fn count(&mut self, verdict: Verdict) {
        let counter = match verdict {
            Verdict::Wins => &mut self.applied,
            Verdict::ByRow => &mut self.superseded_by_row,
            Verdict::ByTombstone => &mut self.superseded_by_tombstone,
            Verdict::ByTruncate => &mut self.superseded_by_truncate,
        };
        *counter += 1;
    }

    /// Events that lost.
    pub fn superseded(&self) -> u64 {
        self.superseded_in_batch + self.superseded_by_row + self.superseded_by_tombstone + self.superseded_by_truncate
    }
}

impl AddAssign<&TableOutcome> for TableOutcome {
    fn add_assign(&mut self, more: &TableOutcome) {
        self.applied += more.applied;
        self.superseded_in_batch += more.superseded_in_batch;
        self.superseded_by_row += more.superseded_by_row;
        self.superseded_by_tombstone += more.superseded_by_tombstone;
        self.superseded_by_truncate += more.superseded_by_truncate;
        self.recheck_deleted += more.recheck_deleted;
        self.tombstones_delta += more.tombstones_delta;
    }
}

/// Proof that a plan was committed.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// In the order of the plan's tables.
    pub tables: Vec<TableOutcome>,
}
