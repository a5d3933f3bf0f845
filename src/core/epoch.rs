//! Source epochs: which life of a source's numbers an event belongs to.
//!
//! Positions start again when a source fails over, is restored, or gets another server. A token therefore begins with an
//! ordinal, its *epoch*. The epoch of an event is a function of its own bytes, its offset, and the [`EpochRow`]s of its own
//! partition that lie at or before it. Rows are handed out by the destination ([`settle`], under the store's lock, in a
//! transaction of their own) before the first batch that uses them commits, and never change: replays, retries and other processes
//! find them and build the same tokens.
//!
//! # Why in a transaction of its own
//!
//! Two partitions that ask at once must hear of each other, so the question is settled under a lock; and the answer must not
//! wait for a batch. If the batch is lost the row stays, and the same record finds it again: the log does not change.
//!
//! # Why numbers are handed out per partition
//!
//! A key does not leave its partition, so the order of the markers *in its partition* is what has to be right; bounds across
//! partitions cannot be (a lagging partition meets the old primary's last numbers after a faster one has seen it come back). The
//! ordinals are common to a topic all the same, because the token of a TRUNCATE is compared with rows of every partition: who
//! meets a marker second adopts the ordinal. Where two partitions saw two markers in contradicting order no ordinals are
//! right; the partition stops and an operator opens a new epoch for all.
//!
//! # Why a clock has a say in the ordinals, and none in the tokens
//!
//! A marker that nobody has met yet may be the newest, or one from the past that only a lagging partition has (a topic with a
//! failover in its history is read from its beginning, one partition faster than the other). Source times tell the two
//! apart, because lives of a source do not overlap: a new ordinal is put between those that were met earlier and later by that
//! clock, which is why ordinals have gaps. Where clocks were wrong the markers contradict the ordinals later, and the partition
//! stops; within a partition the order is that of its log in any case.
//!
//! # Why snapshots of PostgreSQL have rows too
//!
//! A snapshot that went back (a restore, a lagging replica) shows only in partitions that had streamed past it. Each
//! partition notes which snapshot it met in which epoch, so that one that met it first and saw nothing wrong is
//! found by one that does: they agree, or the second stops. The notes are also what lifts the first transaction after a snapshot above
//! its rows ([`super::ledger::Ledger::floor`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::event::Rejection;
use super::record::TopicPartition;

/// The source epoch that a topic begins with, and that of tokens which know no other.
pub const FIRST_EPOCH: u32 = 1;
/// Marker of a row that an operator opened: it is bound to the first marker that is met behind it.
pub const OPERATOR: &str = "*";
/// Longest marker in characters; the width of its column in MySQL.
const MARKER_CHARS_MAX: usize = 200;
/// Distance of ordinals that follow each other; later finds go in between.
pub const EPOCH_STEP: u32 = 1000;
/// Most epochs that one partition may open.
const EPOCHS_MAX: usize = 64;

/// What a partition knows about its source from one of its records on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRow {
    /// The partition.
    pub at: TopicPartition,
    /// Incarnation of its topic.
    pub incarnation: Arc<str>,
    /// The epoch; larger is newer.
    pub ordinal: u32,
    /// GTID uuid and tag, GTID domain, `binlog`, `snapshot <lsn>`, or [`OPERATOR`].
    pub marker: String,
    /// Offset of the record that showed it.
    pub first_offset: i64,
    /// Number of that record, if its source has markers.
    pub first_number: Option<u64>,
    /// Its source time in milliseconds since 1970.
    pub first_time_ms: Option<i64>,
    /// Events of the marker belong to this row only above this number: that much of it the partition had seen before.
    pub bound: Option<u64>,
    /// Greatest number of the run of events that this row ended.
    pub previous_top: Option<u64>,
}

/// What a record shows that its partition has no row for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A marker that is new here, or came back.
    Marker {
        /// The marker.
        marker: String,
        /// The record's number in its sequence.
        number: u64,
    },
    /// A snapshot of a source without markers.
    Snapshot {
        /// Where it was taken.
        number: u64,
        /// The partition had streamed beyond that.
        went_back: bool,
    },
}

/// A partition asks for a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochQuestion {
    /// The partition.
    pub at: TopicPartition,
    /// Incarnation of its topic.
    pub incarnation: Arc<str>,
    /// Offset of the record.
    pub offset: i64,
    /// Its source time in milliseconds since 1970.
    pub time_ms: Option<i64>,
    /// What it shows.
    pub shown: Shown,
    /// See [`EpochRow::bound`].
    pub bound: Option<u64>,
    /// See [`EpochRow::previous_top`].
    pub previous_top: Option<u64>,
    /// The partition was read beyond this record before (its position was moved back): nothing may be opened.
    pub passed: bool,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The row was there.
    Known(EpochRow),
    /// It has to be written.
    New(EpochRow),
}

/// Marker of a snapshot row.
pub(super) fn snapshot_marker(number: u64) -> String {
    format!("snapshot {number}")
}

/// Where a snapshot's marker says that it was taken.
pub fn snapshot_number(marker: &str) -> Option<u64> {
    marker.strip_prefix("snapshot ")?.parse().ok()
}

impl EpochRow {
    /// Whether an event of a marker may belong to this row.
    pub(super) fn holds(&self, marker: &str, number: u64) -> bool {
        self.marker == marker && self.bound.is_none_or(|bound| bound < number)
    }
}

/// Sorts the rows of a partition as they hold: by offset; an operator's row comes before what is bound to it.
pub(super) fn sort(rows: &mut [EpochRow]) {
    rows.sort_by_key(|row| (row.first_offset, row.marker != OPERATOR, row.ordinal));
}

/// Answers a question from all rows of its topic (of this incarnation; rows of another one are passed over). Pure; the caller holds the
/// store's lock and writes a [`Settled::New`] row.
pub fn settle(rows: &[EpochRow], question: &EpochQuestion) -> Result<Settled, Rejection> {
    let rows: Vec<&EpochRow> = rows
        .iter()
        .filter(|row| row.at.topic == question.at.topic && row.incarnation == question.incarnation)
        .collect();
    let mut own: Vec<EpochRow> =
        rows.iter().filter(|row| row.at == question.at).map(|row| EpochRow::clone(row)).collect();
    sort(&mut own);
    let topic = Topic { others: rows.into_iter().filter(|row| row.at != question.at).collect(), own, question };
    match &question.shown {
        Shown::Marker { marker, number } => topic.marker(marker, *number),
        Shown::Snapshot { number, went_back } => topic.snapshot(*number, *went_back),
    }
}

/// The rows of a topic as the asking partition sees them.
struct Topic<'a> {
    own: Vec<EpochRow>,
    others: Vec<&'a EpochRow>,
    question: &'a EpochQuestion,
}

impl Topic<'_> {
    /// Own rows at or before the record.
    fn before(&self) -> &[EpochRow] {
        &self.own[..self.own.partition_point(|row| row.first_offset <= self.question.offset)]
    }

    /// Nothing may be opened here: what lies behind this record is known already.
    fn is_passed(&self) -> bool {
        self.question.passed || self.before().len() < self.own.len()
    }

    fn all(&self) -> impl Iterator<Item = &EpochRow> {
        self.own.iter().chain(self.others.iter().copied())
    }

    /// Between which ordinals the record lies by the source's clock, both not included: lives of a source do not overlap, so it lies
    /// behind what showed another marker earlier, and before what showed one later.
    fn window(&self, current: u32, marker: &str) -> (u32, Option<u32>) {
        let other = || self.all().filter(|row| row.marker != marker && row.ordinal > current);
        let is_later = |row: &EpochRow| self.question.time_ms.zip(row.first_time_ms).map(|(time, first)| time < first);
        let earlier = other().filter(|row| is_later(row) == Some(false)).map(|row| row.ordinal);
        let above = earlier.max().unwrap_or(current);
        let later = other().filter(|row| is_later(row) == Some(true)).map(|row| row.ordinal);
        (above, later.filter(|ordinal| *ordinal > above).min())
    }

    /// The ordinal of a life of the source that nobody has met.
    fn unmet(&self, window: (u32, Option<u32>)) -> u32 {
        match window {
            (above, Some(below)) if above + 1 < below => above + (below - above) / 2,
            (above, _) => next_ordinal(self.all().map(|row| row.ordinal).fold(above, u32::max)),
        }
    }

    fn new_row(&self, marker: &str, number: Option<u64>, ordinal: u32) -> Result<Settled, Rejection> {
        let question = self.question;
        if marker.chars().count() > MARKER_CHARS_MAX {
            return Err(Rejection::new(
                "undecodable",
                format!("the GTID has a uuid or tag of more than {MARKER_CHARS_MAX} characters"),
            ));
        }
        let raises = |rows: &[EpochRow]| rows.windows(2).filter(|pair| pair[0].ordinal < pair[1].ordinal).count() + 1;
        if self.own.last().is_some_and(|last| last.ordinal < ordinal) && raises(&self.own) >= EPOCHS_MAX {
            return Err(Rejection::table(
                "source_epoch",
                format!(
                    "more than {EPOCHS_MAX} source epochs in this partition: several primaries seem to write at once, whose changes have no common order; let the source run with a single primary, or name columns that order them with `order_by`"
                ),
            ));
        }
        Ok(Settled::New(EpochRow {
            at: question.at.clone(),
            incarnation: Arc::clone(&question.incarnation),
            ordinal,
            marker: marker.to_owned(),
            first_offset: question.offset,
            first_number: number,
            first_time_ms: question.time_ms,
            bound: question.bound,
            previous_top: question.previous_top,
        }))
    }

    fn marker(&self, marker: &str, number: u64) -> Result<Settled, Rejection> {
        let newest = self.before().iter().filter(|row| row.holds(marker, number)).max_by_key(|row| row.ordinal);
        let current = self.before().last();
        // A row that someone else wrote for this very record, or before the load of the one who asks.
        if let Some(known) = newest
            && current.is_some_and(|current| current.ordinal == known.ordinal)
        {
            return Ok(Settled::Known(known.clone()));
        }
        let fresh = |ordinal| self.new_row(marker, Some(number), ordinal);
        if let Some(operator) = current.filter(|row| row.marker == OPERATOR) {
            let elsewhere = self.others.iter().filter(|row| row.ordinal == operator.ordinal && row.marker != OPERATOR);
            if elsewhere.clone().all(|row| row.marker == marker) {
                return fresh(operator.ordinal);
            }
        }
        if self.is_passed() {
            return Err(passed());
        }
        // By the source's clock the record lies behind the partition's last life, so it is of no life before that one.
        let goes_on =
            current.and_then(|row| self.question.time_ms.zip(row.first_time_ms)).is_some_and(|(t, first)| first <= t);
        let current = current.map_or(0, |row| row.ordinal);
        let known: Vec<&EpochRow> = self.others.iter().copied().filter(|row| row.marker == marker).collect();
        let window = self.window(current, marker);
        let inside = |ordinal: u32| ordinal > window.0 && window.1.is_none_or(|below| ordinal < below);
        let rows_of = |ordinal: u32| known.iter().filter(move |row| row.ordinal == ordinal);
        // It may be an ordinal's if no partition had seen as much of the marker before that ordinal began. It is that one's, or a
        // later one's, if some partition had that ordinal at a lower number already.
        let possible = |ordinal: &u32| rows_of(*ordinal).all(|row| row.holds(marker, number));
        let begun = |ordinal: &u32| rows_of(*ordinal).any(|row| row.first_number.is_some_and(|first| first <= number));
        let ahead: BTreeSet<u32> = known.iter().map(|row| row.ordinal).filter(|ordinal| inside(*ordinal)).collect();
        let candidates: Vec<u32> = ahead.iter().copied().filter(possible).collect();
        let adopted = candidates.iter().rev().copied().find(begun);
        if let Some(adopted) = adopted.or(candidates.first().copied()) {
            return fresh(adopted);
        }
        let mine = |ordinal| self.before().iter().any(|row| row.marker == marker && row.ordinal == ordinal);
        let foreign = |row: &EpochRow| row.ordinal <= current && !goes_on && !mine(row.ordinal);
        if !ahead.is_empty() || known.iter().any(|row| foreign(row)) {
            return Err(contradiction(marker));
        }
        fresh(self.unmet(window))
    }

    fn snapshot(&self, number: u64, went_back: bool) -> Result<Settled, Rejection> {
        let marker = snapshot_marker(number);
        if let Some(known) = self.before().iter().find(|row| row.marker == marker) {
            return Ok(Settled::Known(known.clone()));
        }
        let last = self.before().last();
        let current = last.map_or(FIRST_EPOCH, |row| row.ordinal);
        let row = |ordinal| self.new_row(&marker, None, ordinal);
        if last.is_some_and(|row| row.marker == OPERATOR) {
            return row(current);
        }
        if self.is_passed() {
            // That a snapshot was taken is true whenever it is noticed; that it begins an epoch has to be known in time.
            return if went_back { Err(passed()) } else { row(current) };
        }
        let elsewhere = self.others.iter().filter(|row| row.marker == marker).map(|row| row.ordinal).max();
        match elsewhere {
            Some(ordinal) if ordinal > current => row(ordinal),
            Some(ordinal) if ordinal == current && !went_back => row(current),
            Some(_) => Err(contradiction(&marker)),
            None if went_back => row(self.unmet(self.window(current, &marker))),
            None => row(current),
        }
    }
}

/// The ordinal that follows another one; the first one follows 0.
pub fn next_ordinal(ordinal: u32) -> u32 {
    // What has no row counts as the first step.
    let steps = if ordinal == 0 { 0 } else { ordinal.max(EPOCH_STEP) / EPOCH_STEP };
    (steps + 1).saturating_mul(EPOCH_STEP)
}

fn contradiction(marker: &str) -> Rejection {
    Rejection::table(
        "source_epoch",
        format!(
            "this partition met {marker:?} in another order than other partitions of its topic did, so the source's positions have no common order; when the source writes with one primary again: `lastword epoch open --topic …`, which begins a new source epoch in all partitions"
        ),
    )
}

/// An event of a marker that the partition's rows do not explain, where no row may be added.
pub(super) fn passed() -> Rejection {
    Rejection::table(
        "source_epoch",
        "the source's marker (GTID uuid or domain, snapshot) at this offset is not among the partition's source epochs, and the partition was read beyond it already: its records are older than what is known; move the position behind them with `lastword offsets set`, or leave them out of the replay",
    )
}
