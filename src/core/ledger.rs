//! Facts about a partition that its tokens rest on, found in its own log, so that a replay builds the same tokens.
//!
//! - rows of the source's epochs ([`super::epoch`]), which the destination hands out;
//! - floors of snapshots without GTID behind a stream ([`BINLOG_FLOOR`]), written with the batch that found them;
//! - the greatest position that was streamed ([`Top`]), stored with the checkpoint.
//!
//! Everything is asked with an offset and answered from what lies at or before it.
//!
//! # Why a re-made MySQL or MariaDB connector opens no epoch
//!
//! Its snapshot rows have no GTID and could not be compared with the stream that the partition had before. An epoch would order
//! them, but the stream that follows goes on with the old numbers, and partitions without rows at the time would stay behind: the
//! token of a TRUNCATE of one would be wrong for the others. Instead such a row takes the greatest number that its
//! partition had seen, and ranks directly above it ([`super::token::Phase::Resnapshot`]).
//!
//! Left open: a TRUNCATE in another partition may have a greater number than this floor although the snapshot is newer; its
//! GTID does not tell. Then the snapshot's rows of this partition lose to it and are missing until they change.

use std::sync::Arc;

use super::epoch::{self, EpochQuestion, EpochRow, FIRST_EPOCH, OPERATOR, Shown};
use super::event::{Place, Rejection, SourcePosition};
use super::plan::LedgerEntry;
use super::record::TopicPartition;
use super::token::Token;

/// Ledger kind: snapshot rows without GTID behind this offset rank above this number of the stream.
pub const BINLOG_FLOOR: &str = "binlog_floor";

/// The greatest that a partition streamed. Kept with its checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// Greatest number of the current source epoch, with the offset up to which it was looked for.
    pub number: Option<(u64, i64)>,
    /// Greatest token of a streamed change.
    pub token: Option<Token>,
    /// Greatest source time of a streamed change in milliseconds since 1970.
    pub time_ms: Option<i64>,
}

/// What has to be done before a record's token can be built.
#[derive(Debug, PartialEq, Eq)]
pub enum Meeting {
    /// Nothing.
    Known,
    /// Store this fact with the batch; it is taken in already.
    Fact(LedgerEntry),
    /// Ask the destination for a row, and [`Ledger::add`] it.
    Ask(EpochQuestion),
}

/// Facts about one partition of one incarnation of its topic.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// In the order in which they hold.
    epochs: Vec<EpochRow>,
    /// (first offset, number), ascending in the first.
    floors: Vec<(i64, u64)>,
    top: Top,
    /// `top` as it was when the last plan began.
    settled: Top,
    /// Offset and number of the record that is being planned, and whether it belongs to the run of its place in the log (what
    /// comes twice may not).
    met: Option<(i64, u64, bool)>,
}

impl Ledger {
    /// The facts that are stored about a partition of one incarnation of its topic. `top` comes from its checkpoint; it is empty
    /// for whoever reads beside the live run.
    pub fn load<'a>(
        entries: impl IntoIterator<Item = &'a LedgerEntry>,
        epochs: impl IntoIterator<Item = &'a EpochRow>,
        at: &TopicPartition,
        incarnation: &str,
        top: Top,
    ) -> Self {
        let mut ledger = Self { top, settled: top, ..Self::default() };
        for entry in entries.into_iter().filter(|entry| entry.at == *at && *entry.incarnation == *incarnation) {
            if entry.kind == BINLOG_FLOOR {
                ledger.floors.push((entry.offset, entry.value));
            }
        }
        ledger.floors.sort_unstable();
        let own = epochs.into_iter().filter(|row| row.at == *at && *row.incarnation == *incarnation);
        ledger.epochs = own.cloned().collect();
        epoch::sort(&mut ledger.epochs);
        ledger
    }

    /// Rows at or before an offset.
    fn before(&self, offset: i64) -> &[EpochRow] {
        &self.epochs[..self.epochs.partition_point(|row| row.first_offset <= offset)]
    }

    /// First offset of the epoch that an offset lies in; `None` in the first one, which needs no row.
    fn epoch_start(&self, offset: i64) -> Option<i64> {
        let rows = self.before(offset);
        let ordinal = rows.last().map(|row| row.ordinal).filter(|ordinal| *ordinal > FIRST_EPOCH)?;
        rows.iter().find(|row| row.ordinal == ordinal).map(|row| row.first_offset)
    }

    fn in_epoch(&self, fact: i64, offset: i64) -> bool {
        fact <= offset && self.epoch_start(offset).is_none_or(|start| start <= fact)
    }

    /// Greatest position of a snapshot that was shown at or before an offset, in the same epoch; 0 without one.
    pub(super) fn floor(&self, offset: i64) -> u64 {
        let start = self.epoch_start(offset);
        let shown = self.before(offset).iter().filter(|row| start.is_none_or(|start| start <= row.first_offset));
        shown.filter_map(|row| epoch::snapshot_number(&row.marker)).max().unwrap_or(0)
    }

    /// The number that a snapshot row without GTID ranks above, if its partition had a stream before it.
    pub(super) fn binlog_floor(&self, offset: i64) -> Option<u64> {
        let floors = self.floors.iter().filter(|(first, _)| self.in_epoch(*first, offset));
        floors.map(|(_, number)| *number).next_back()
    }

    /// The source epoch of an event.
    pub(super) fn epoch(&self, position: &SourcePosition, offset: i64) -> u32 {
        let rows = self.before(offset);
        let current = rows.last().map_or(FIRST_EPOCH, |row| row.ordinal);
        match position.place() {
            Place::Numbered { marker, number } if !marker.is_empty() => {
                let own = rows.iter().filter(|row| row.holds(marker, number)).map(|row| row.ordinal).max();
                own.or_else(|| self.beginning(marker)).unwrap_or(current)
            }
            // Without a floor it is a row of the first snapshot, come late, unless no stream of this epoch was seen yet.
            Place::Apart
                if self.binlog_floor(offset).is_none() && rows.last().is_some_and(|row| row.marker != OPERATOR) =>
            {
                FIRST_EPOCH
            }
            _ => current,
        }
    }

    /// The epoch of what lies before the first row (the pipeline began to read in the middle): the same marker's.
    fn beginning(&self, marker: &str) -> Option<u32> {
        self.epochs.first().filter(|row| row.marker == marker).map(|row| row.ordinal)
    }

    /// Looks at a record. [`Self::raise`] follows once it was taken into the batch.
    pub fn meet(
        &mut self,
        at: &TopicPartition,
        incarnation: &Arc<str>,
        offset: i64,
        position: &SourcePosition,
        time_ms: Option<i64>,
    ) -> Meeting {
        self.met = None;
        let passed = self.top.number.is_some_and(|(_, seen)| offset <= seen);
        let ask = |shown, bound, previous_top| {
            let (at, incarnation) = (at.clone(), Arc::clone(incarnation));
            Meeting::Ask(EpochQuestion { at, incarnation, offset, time_ms, shown, bound, previous_top, passed })
        };
        let run = self.run(offset);
        match position.place() {
            Place::Numbered { marker, number } => {
                let unexplained = self.unexplained(marker, number, offset);
                let other = |row: &EpochRow| !marker.is_empty() && row.marker != marker;
                let again = unexplained.is_none() && self.before(offset).last().is_some_and(other);
                self.met = Some((offset, number, !again));
                match unexplained {
                    None => Meeting::Known,
                    Some(bound) => ask(Shown::Marker { marker: marker.to_owned(), number }, bound, run),
                }
            }
            Place::Snapshot { number } => {
                if self.before(offset).iter().any(|row| epoch::snapshot_number(&row.marker) == Some(number)) {
                    return Meeting::Known;
                }
                let went_back = run.is_some_and(|top| number < top) && self.is_behind_the_stream(time_ms);
                ask(Shown::Snapshot { number, went_back }, None, run)
            }
            Place::Apart => match run {
                Some(number)
                    if !passed
                        && self.binlog_floor(offset).is_none_or(|floor| floor < number)
                        && self.is_behind_the_stream(time_ms) =>
                {
                    self.floors.push((offset, number));
                    Meeting::Fact(LedgerEntry {
                        at: at.clone(),
                        incarnation: Arc::clone(incarnation),
                        offset,
                        kind: BINLOG_FLOOR,
                        value: number,
                    })
                }
                _ => Meeting::Known,
            },
            Place::Unknown => Meeting::Known,
        }
    }

    /// Whether a snapshot row was read after everything that was streamed. A row of the first snapshot that comes late or twice is
    /// told from one of a new snapshot by its source time.
    fn is_behind_the_stream(&self, time_ms: Option<i64>) -> bool {
        time_ms.zip(self.top.time_ms).is_none_or(|(read, streamed)| streamed <= read)
    }

    /// Greatest number of the run of events that an offset continues.
    fn run(&self, offset: i64) -> Option<u64> {
        let (number, seen) = self.top.number?;
        self.in_epoch(seen, offset).then_some(number)
    }

    /// Whether no row explains an event of a marker; with the number that a new row has to lie above.
    fn unexplained(&self, marker: &str, number: u64, offset: i64) -> Option<Option<u64>> {
        let rows = self.before(offset);
        let Some(current) = rows.last() else {
            return (!marker.is_empty() && self.beginning(marker).is_none()).then_some(None);
        };
        if marker.is_empty() || current.marker == marker {
            return None;
        }
        let seen = self.greatest_before(rows, marker);
        let is_new = seen.is_none_or(|seen| number > seen);
        if is_new {
            return Some(seen);
        }
        // Behind an operator's row lower numbers of the same marker are numbers that started again: all of them belong to it.
        let before = rows.len().checked_sub(2).map(|at| &rows[at]);
        let starts_again = current.marker == OPERATOR && before.is_some_and(|row| row.marker == marker);
        starts_again.then_some(None)
    }

    /// The greatest number that was seen of a marker which is not the current one.
    fn greatest_before(&self, rows: &[EpochRow], marker: &str) -> Option<u64> {
        let last = rows.iter().rposition(|row| row.marker == marker)?;
        rows.get(last + 1).and_then(|ended| ended.previous_top).or(rows[last].first_number).or(Some(0))
    }

    /// Takes a row in that the destination handed out.
    pub fn add(&mut self, row: EpochRow) {
        if !self.epochs.contains(&row) {
            self.epochs.push(row);
            epoch::sort(&mut self.epochs);
        }
    }

    /// Takes a row's fact back: whoever reads beside the live run uses the floors that this one stored.
    pub fn without(&mut self, fact: &LedgerEntry) {
        self.floors.retain(|floor| *floor != (fact.offset, fact.value));
    }

    /// Answers a question for whoever reads beside the live run (a replay, a retry) and must not open anything: an operator's row is
    /// bound as the live run will bind it, a snapshot is noted, a marker without a row is refused.
    pub fn follow(&mut self, question: EpochQuestion) -> Result<(), Rejection> {
        let current = self.before(question.offset).last();
        let (marker, first_number) = match &question.shown {
            Shown::Marker { marker, number } if current.is_some_and(|row| row.marker == OPERATOR) => {
                (marker.clone(), Some(*number))
            }
            Shown::Marker { .. } => return Err(epoch::passed()),
            Shown::Snapshot { number, .. } => (epoch::snapshot_marker(*number), None),
        };
        self.add(EpochRow {
            ordinal: current.map_or(FIRST_EPOCH, |row| row.ordinal),
            at: question.at,
            incarnation: question.incarnation,
            marker,
            first_offset: question.offset,
            first_number,
            first_time_ms: question.time_ms,
            bound: question.bound,
            previous_top: question.previous_top,
        });
        Ok(())
    }

    /// Whether a streamed change looks as if the source's positions had started again: its token is below the greatest of the
    /// partition, and yet its source time is later by more than a margin. What comes twice has its old source time.
    pub fn regresses(&self, token: &Token, time_ms: Option<i64>, margin_ms: i64) -> bool {
        let (Some(top), Some(top_ms), Some(time_ms)) = (self.top.token, self.top.time_ms, time_ms) else {
            return false;
        };
        token.comparable(&top) && *token < top && time_ms.saturating_sub(top_ms) > margin_ms
    }

    /// The greatest token that was streamed.
    pub fn top_token(&self) -> Option<Token> {
        self.top.token
    }

    /// The record that was met last is in the batch: applied, or put aside. `streamed` has its token, if it is a streamed change
    /// ordered by its source.
    pub fn raise(&mut self, streamed: Option<(Token, Option<i64>)>) {
        if let Some((offset, number, own)) = self.met.take()
            && self.top.number.is_none_or(|(_, seen)| seen < offset)
        {
            let run = self.run(offset);
            let number = if own { run.max(Some(number)) } else { run };
            self.top.number = number.map(|number| (number, offset));
        }
        if let Some((token, time_ms)) = streamed {
            // Another scope: the topic got another source. There is nothing to compare with.
            let comparable = self.top.token.filter(|top| top.comparable(&token));
            self.top.token = Some(comparable.map_or(token, |top| top.max(token)));
            self.top.time_ms = if comparable.is_some() { self.top.time_ms.max(time_ms) } else { time_ms };
        }
    }

    /// The greatest so far, to be stored with the checkpoint.
    pub fn top(&self) -> Top {
        self.top
    }

    /// A plan begins at an offset. What the last one found is kept if it committed; if its batch was dropped the same records
    /// come again, and must meet what they met.
    pub fn begin(&mut self, next: i64) {
        match self.top.number {
            Some((_, seen)) if seen >= next && self.settled.number.is_none_or(|(_, settled)| settled < seen) => {
                self.top = self.settled;
            }
            _ => self.settled = self.top,
        }
    }

    /// Forgets floors at or behind an offset: the batch that would have stored them was dropped.
    pub fn forget_from(&mut self, offset: i64) {
        self.floors.retain(|(first, _)| *first < offset);
    }
}

#[cfg(test)]
mod tests;
