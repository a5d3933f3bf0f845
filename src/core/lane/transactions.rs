//! Segments that end between source transactions: what [`super::super::align`] knows, done to the queue.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::core::plan::{Advance, Consistency};
use crate::core::record::{Record, TopicPartition};

use super::Lane;

/// How many times a batch's rows and bytes the queue may hold of transactions that are not complete; then the oldest are cut
/// inside, so that memory stays bounded.
const HELD_ROWS: usize = 8;
const HELD_BYTES: usize = 4;

impl Lane {
    /// Whether the queue may hold no more, whatever is known about its transactions.
    pub(super) fn is_overfull(&self) -> bool {
        self.holds(HELD_ROWS, HELD_BYTES)
    }

    /// The records of all complete transactions, in the order of the transactions; else how long to listen for silence.
    pub(super) fn pop_transactions(&mut self) -> (Vec<Record>, Option<Duration>) {
        let Some(align) = &self.align else { return (Vec::new(), None) };
        let mut selection = align.select(false);
        if !self.queue.iter().any(|record| selection.takes(record)) {
            if !self.is_overfull() {
                self.starved = !self.queue.is_empty();
                return (Vec::new(), selection.wait);
            }
            selection = align.select(true);
        }
        let (mut taken, mut left) = (Vec::new(), VecDeque::with_capacity(self.queue.len()));
        for record in self.queue.drain(..) {
            if selection.takes(&record) { taken.push(record) } else { left.push_back(record) }
        }
        self.queue = left;
        self.queue_bytes = self.queue.iter().map(Record::size_bytes).sum();
        self.starved = false;
        (align.sorted(taken), selection.wait)
    }

    /// Where a segment may end that shall hold at most so many of these records: behind a whole transaction. 0 if the first one
    /// is longer.
    pub fn whole_transactions(&self, records: &[Record], most: usize) -> usize {
        let Some(align) = self.align.as_ref().filter(|_| self.bisect.is_none()) else { return most };
        let mark = |at: usize| records.get(at).and_then(|record: &Record| align.mark(record));
        let ends = |at: &usize| *at == 0 || mark(*at).is_none() || mark(*at) != mark(*at - 1);
        (0..=most.min(records.len())).rev().find(ends).unwrap_or(0)
    }

    /// What a plan with these checkpoints tells about transactions.
    pub fn consistency(&mut self, advances: &[Advance]) -> Vec<Consistency> {
        self.align.as_mut().map_or_else(Vec::new, |align| align.consistency(advances))
    }

    /// Partitions to stop reading, because the queue is full of transactions that others hold up; and those to read again, with
    /// their offsets. So a queue does not fill up with what cannot be applied yet.
    pub fn steer(&mut self) -> (Vec<TopicPartition>, Vec<(TopicPartition, i64)>) {
        let Some(align) = &mut self.align else { return Default::default() };
        let full = self.queue.len() >= self.limits.rows || self.queue_bytes >= self.limits.bytes;
        let nearly_empty = self.queue.len() < self.limits.rows / 2 && self.queue_bytes < self.limits.bytes / 2;
        if self.paused.is_empty() && !(full && self.starved) {
            return Default::default();
        }
        let blockers = align.blockers();
        let ready = |at: &&TopicPartition| nearly_empty || blockers.contains(*at);
        let again: Vec<TopicPartition> = self.paused.iter().filter(ready).cloned().collect();
        let mut paused = Vec::new();
        if full && self.starved && !blockers.is_empty() {
            let queued: BTreeSet<&TopicPartition> = self.queue.iter().map(|record| &record.at).collect();
            // One at its end brings nothing anyway, and would have to say its end again.
            let ahead =
                |at: &&&TopicPartition| !blockers.contains(**at) && !self.paused.contains(**at) && !align.has_ended(at);
            paused = queued.iter().filter(ahead).map(|at| (*at).clone()).collect();
            paused.iter().for_each(|at| align.restarted(at));
        }
        self.paused.retain(|at| !again.contains(at));
        self.paused.extend(paused.iter().cloned());
        let offset = |at: TopicPartition| {
            let expected = self.partitions.get(&at).map(|owned| owned.expected)?;
            Some((at, expected))
        };
        (paused, again.into_iter().filter_map(offset).collect())
    }
}
