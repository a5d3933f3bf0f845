//! The lane: the one writer of a set of partitions, as a pure state machine.
//!
//! Records come in, segments to apply go out, and every end of a segment (committed, refused, unknown, fenced) is turned into
//! what to do next. Time is passed in. The shell around it (`runtime::lane`) owns the connection and does what is said.
//!
//! ```text
//!            take, at_end                 cut                 committed
//!  source ───────────────► queue ───────────────► segment ───────────────► queue's next
//!                            ▲                       │ failed
//!                            └──── give back ────────┤ Retry      transient: the same records again
//!                                                    │ Describe   table: described anew, a few times; then as a record
//!                                                    │ Reclaim    unknown or fenced: ask the checkpoint by claiming
//!                                                    │ Again      record: half of it, at last the bad one alone
//!                                                    └ Wait       operator: keep trying slowly, say what to do
//! ```

mod transactions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::align::Aligner;
use super::backoff::Backoff;
use super::event::Rejection;
use super::failure::{Class, Failure};
use super::plan::Advance;
use super::record::{Record, TopicPartition};

/// Limits of a segment.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Records.
    pub rows: usize,
    /// Bytes of records.
    pub bytes: usize,
    /// Age of the oldest queued record before a segment is cut that reaches neither.
    pub age: Duration,
}

/// What a claim handed out for a partition.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The partition.
    pub at: TopicPartition,
    /// Incarnation of its topic, as stored.
    pub incarnation: Arc<str>,
    /// Stored next offset.
    pub next: i64,
    /// The fence that is ours now.
    pub fence: i64,
    /// Key of a delete whose null record may follow.
    pub open_delete: Option<Bytes>,
}

/// Records to apply in one transaction.
#[derive(Debug, Default)]
pub struct Segment {
    /// The records, in the order of their arrival.
    pub records: Vec<Record>,
    /// Partitions whose end lies behind the segment, with the consumer's position there.
    pub reach: Vec<(TopicPartition, i64)>,
}

/// A partition of the lane.
#[derive(Clone, Debug)]
pub struct Owned {
    /// Incarnation of its topic.
    pub incarnation: Arc<str>,
    /// Generation of the assignment that its records carry.
    pub generation: u64,
    /// Our fence.
    pub fence: i64,
    /// Stored next offset: where the next segment begins.
    pub next: i64,
    /// Next offset that may be queued.
    pub expected: i64,
    /// Key of a delete whose null record may follow.
    pub open_delete: Option<Bytes>,
    /// The consumer's position at the end of the partition, if it lies beyond what came.
    pub at_end: Option<i64>,
}

/// What to do after a segment failed. Its records are in the queue again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again after this time; with a new connection and a new claim if the old connection is gone.
    Retry {
        /// Waiting time.
        after: Duration,
        /// The connection has to be made anew.
        reconnect: bool,
    },
    /// Claim all partitions again before anything else: the outcome is unknown, or someone else moved a checkpoint.
    Reclaim {
        /// COMMIT was sent and not answered.
        unknown: bool,
    },
    /// Cut again at once: smaller, or with the bad record marked.
    Again,
    /// Describe the tables of the segment anew and plan it again after this time.
    Describe {
        /// Waiting time.
        after: Duration,
    },
    /// Only a person can help: say so, and try again after this time.
    Wait {
        /// Waiting time.
        after: Duration,
        /// The connection has to be made anew.
        reconnect: bool,
    },
}

/// What claiming again showed about a segment whose outcome was unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It had been committed.
    Landed,
    /// It had not.
    NotLanded,
}

/// What claiming again showed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// The queued records go on from the stored offset.
    GoesOn,
    /// The stored offset is elsewhere: the source has to go there.
    Seek(i64),
}

/// See the module.
#[derive(Debug)]
pub struct Lane {
    limits: Limits,
    backoff: Backoff,
    salt: u64,
    partitions: BTreeMap<TopicPartition, Owned>,
    queue: VecDeque<Record>,
    queue_bytes: usize,
    oldest: Option<Duration>,
    tries: u32,
    /// Segments in a row that failed because a table was not as described.
    looks: u32,
    /// When the tables were last described anew for a record that was refused.
    looked: Option<Duration>,
    bisect: Option<Bisect>,
    bad: Option<(TopicPartition, i64, Rejection)>,
    /// Ends of the segment whose outcome is unknown.
    unknown: Vec<(TopicPartition, i64)>,
    /// Where batches end between source transactions.
    align: Option<Aligner>,
    /// The last look found records, and none of a transaction that is known to be complete.
    starved: bool,
    /// Partitions that are not read, because others hold up what is queued.
    paused: BTreeSet<TopicPartition>,
}

/// Tries of a record that a unique or foreign key refuses, before it is kept aside: some three seconds.
const OTHERS_TRIES: u32 = 7;
/// Tries of a segment whose tables are not as described. Behind them it is searched for what is refused, as for a bad record.
const LOOKS_MAX: u32 = 3;
/// Between two descriptions for the sake of refused records: a storm of bad records must not become one of descriptions.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// A segment with a bad record is cut in halves until the record is alone.
#[derive(Clone, Copy, Debug)]
struct Bisect {
    rows: usize,
    rest: usize,
}

impl Lane {
    /// A lane without partitions. `salt` tells its waiting times from other lanes'.
    pub fn new(limits: Limits, salt: u64) -> Self {
        Self {
            limits,
            backoff: Backoff::default(),
            salt,
            partitions: BTreeMap::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            oldest: None,
            tries: 0,
            looks: 0,
            looked: None,
            bisect: None,
            bad: None,
            unknown: Vec::new(),
            align: None,
            starved: false,
            paused: BTreeSet::new(),
        }
    }

    /// Ends segments between source transactions only; see [`super::align`]. The lane must be the only one of its pipeline.
    #[must_use]
    pub fn aligned(mut self, wait: Duration) -> Self {
        self.align = Some(Aligner::new(wait));
        self
    }

    /// The part that knows source transactions, if segments are aligned.
    pub fn aligner(&mut self) -> Option<&mut Aligner> {
        self.align.as_mut()
    }

    /// Its partitions.
    pub fn partitions(&self) -> &BTreeMap<TopicPartition, Owned> {
        &self.partitions
    }

    /// One of its partitions.
    pub fn partition(&self, at: &TopicPartition) -> Option<&Owned> {
        self.partitions.get(at)
    }

    /// Whether another chunk should be taken from the source: enough for one segment beside the one being applied.
    pub fn has_room(&self) -> bool {
        !self.holds(1, 1) || self.starved && !self.is_overfull()
    }

    /// Whether the queue holds so many times the rows or bytes of a segment.
    fn holds(&self, rows: usize, bytes: usize) -> bool {
        self.queue.len() >= self.limits.rows.saturating_mul(rows)
            || self.queue_bytes >= self.limits.bytes.saturating_mul(bytes)
    }

    /// Whether anything is queued.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes a claimed partition in under a generation. Whatever was queued of it is dropped.
    pub fn assign(&mut self, generation: u64, claim: Claimed) {
        self.drop_records(&claim.at, i64::MAX);
        let owned = Owned {
            incarnation: claim.incarnation,
            generation,
            fence: claim.fence,
            next: claim.next,
            expected: claim.next,
            open_delete: claim.open_delete,
            at_end: None,
        };
        self.align.iter_mut().for_each(|align| align.assign(&claim.at));
        self.paused.remove(&claim.at);
        self.partitions.insert(claim.at, owned);
    }

    /// Lets a partition go: its queued records are dropped.
    pub fn revoke(&mut self, at: &TopicPartition) {
        self.partitions.remove(at);
        self.drop_records(at, i64::MAX);
        self.bad.take_if(|(bad, _, _)| bad == at);
        self.unreadable(at);
        self.paused.remove(at);
        self.unknown.retain(|(known, _)| known != at);
    }

    /// A partition says nothing any more for a while: others must not wait for it. What is queued of it is applied.
    pub fn unreadable(&mut self, at: &TopicPartition) {
        self.align.iter_mut().for_each(|align| align.forget(at));
    }

    /// Queues records. Records of another generation, of partitions that are not ours, and below what is expected are dropped:
    /// they are left over from an earlier assignment.
    pub fn take(&mut self, generation: u64, records: Vec<Record>, now: Duration) {
        for record in records {
            let Some(owned) = self.partitions.get_mut(&record.at) else { continue };
            if owned.generation != generation || record.offset < owned.expected {
                continue;
            }
            owned.expected = record.offset + 1;
            owned.at_end = None;
            self.queue_bytes += record.size_bytes();
            self.align.iter_mut().for_each(|align| align.take(&record));
            self.queue.push_back(record);
        }
        if !self.queue.is_empty() {
            self.oldest.get_or_insert(now);
        }
    }

    /// Takes note that everything up to a position was delivered.
    pub fn at_end(&mut self, at: &TopicPartition, generation: u64, position: i64) {
        let Some(owned) = self.partitions.get_mut(at).filter(|owned| owned.generation == generation) else { return };
        if position > owned.expected {
            owned.at_end = Some(position);
        }
        if position >= owned.expected && !self.paused.contains(at) {
            self.align.iter_mut().for_each(|align| align.at_end(at));
        }
    }

    /// The next segment, if one is due; else how long to wait for one (`None`: until something comes).
    pub fn cut(&mut self, now: Duration) -> Result<Segment, Option<Duration>> {
        let due = self.holds(1, 1) || self.bisect.is_some() || self.bad.is_some() || self.tries > 0;
        if !self.queue.is_empty() && !due {
            let age = now.saturating_sub(self.oldest.unwrap_or(now));
            if age < self.limits.age {
                return Err(Some(self.limits.age - age));
            }
        }
        let (records, wait) = match self.align.is_some() && self.bisect.is_none() {
            true => self.pop_transactions(),
            false => (self.pop_records(), None),
        };
        let mut reach = Vec::new();
        for (at, owned) in &self.partitions {
            let Some(position) = owned.at_end else { continue };
            if position > owned.next && !self.queue.iter().any(|record| record.at == *at) {
                reach.push((at.clone(), position));
            }
        }
        if records.is_empty() && reach.is_empty() {
            return Err(wait);
        }
        self.oldest = (!self.queue.is_empty()).then_some(now);
        Ok(Segment { records, reach })
    }

    fn pop_records(&mut self) -> Vec<Record> {
        // A search stays inside its segment: what comes behind it could hide the bad record by collapsing with it.
        let rows_max = self.bisect.map_or(self.limits.rows, |bisect| bisect.rows.min(bisect.rest).max(1));
        let mut records = Vec::with_capacity(rows_max.min(self.queue.len()));
        let mut bytes = 0;
        while records.len() < rows_max && (bytes < self.limits.bytes || records.is_empty()) {
            let Some(record) = self.queue.pop_front() else { break };
            bytes += record.size_bytes();
            records.push(record);
        }
        self.queue_bytes = self.queue_bytes.saturating_sub(bytes);
        records
    }

    /// Why a record was found to be bad, if it is the one that was searched for.
    pub fn verdict(&self, record: &Record) -> Option<&Rejection> {
        self.bad.as_ref().filter(|(at, offset, _)| *at == record.at && *offset == record.offset).map(|(_, _, why)| why)
    }

    /// Puts records back at the head of the queue: the tail of a segment that was cut shorter.
    pub fn give_back(&mut self, records: Vec<Record>, now: Duration) {
        for record in records.into_iter().rev() {
            if self.partitions.contains_key(&record.at) {
                self.queue_bytes += record.size_bytes();
                self.queue.push_front(record);
            }
        }
        if !self.queue.is_empty() {
            self.oldest.get_or_insert(now);
        }
    }

    /// A segment was committed.
    pub fn committed(&mut self, records: usize, advances: &[Advance]) {
        for advance in advances {
            if let Some(owned) = self.partitions.get_mut(&advance.at) {
                owned.next = advance.next;
                owned.expected = owned.expected.max(advance.next);
                owned.open_delete.clone_from(&advance.open_delete);
                owned.at_end = owned.at_end.filter(|position| *position > advance.next);
            }
        }
        self.align.iter_mut().for_each(|align| align.committed(advances));
        self.tries = 0;
        self.looks = 0;
        self.bad = None;
        self.unknown.clear();
        if let Some(bisect) = &mut self.bisect {
            bisect.rest = bisect.rest.saturating_sub(records);
            // What is left may be good: one bad record must not make single transactions of thousands.
            bisect.rows = bisect.rows.saturating_mul(2);
            if bisect.rest == 0 {
                self.bisect = None;
            }
        }
    }

    /// A segment failed. Its records go back into the queue; the answer says what to do.
    pub fn failed(&mut self, records: Vec<Record>, advances: &[Advance], failure: &Failure, now: Duration) -> Next {
        let rows = records.len();
        let single = records.first().map(|record| (record.at.clone(), record.offset));
        self.give_back(records, now);
        self.align.iter_mut().for_each(Aligner::failed);
        match failure.class {
            Class::Fenced => Next::Reclaim { unknown: false },
            Class::Unknown => {
                self.unknown = advances.iter().map(|advance| (advance.at.clone(), advance.next)).collect();
                Next::Reclaim { unknown: true }
            }
            Class::Table if self.looks < LOOKS_MAX => {
                self.looks += 1;
                Next::Describe { after: self.backoff.after(self.looks, self.salt) }
            }
            Class::Record | Class::Table if rows > 1 => {
                let rest = self.bisect.map_or(rows, |bisect| bisect.rest);
                self.bisect = Some(Bisect { rows: rows / 2, rest });
                Next::Again
            }
            // What stands in its way may be moved by a record that has not come yet (another partition): wait for it a little, and
            // try what came meanwhile together with it.
            Class::Record if failure.waits_for_others().is_some() && self.tries < OTHERS_TRIES => {
                self.tries += 1;
                self.bisect = None;
                Next::Retry { after: self.backoff.after(self.tries, self.salt), reconnect: failure.connection_lost }
            }
            Class::Record | Class::Table => match single {
                Some((at, offset)) if !self.is_marked(&at, offset) => self.mark(at, offset, failure, now),
                // The record is marked already, so it is not the record that is refused.
                _ => self.wait(failure),
            },
            Class::Transient => {
                self.tries += 1;
                Next::Retry { after: self.backoff.after(self.tries, self.salt), reconnect: failure.connection_lost }
            }
            Class::Operator => self.wait(failure),
        }
    }

    /// Keeps the reason against a record that was found alone. What the database refuses may be due to an alteration that was not
    /// seen yet (a column that became NOT NULL, or wider), so its table is described anew before.
    fn mark(&mut self, at: TopicPartition, offset: i64, failure: &Failure, now: Duration) -> Next {
        let own = ["incomparable_token", "partial_row", "held_back", "below_floor"];
        let why = match own.into_iter().find(|code| failure.code == *code) {
            _ if failure.class == Class::Table => Rejection::table("table_changed", failure.to_string()),
            Some(own) => Rejection::new(own, failure.to_string()),
            None if let Some(others) = failure.waits_for_others() => Rejection::new(others, failure.to_string()),
            None if self.looked.is_none_or(|last| now >= last + LOOK_PAUSE) => {
                self.looked = Some(now);
                return Next::Describe { after: Duration::ZERO };
            }
            None => Rejection::new("refused_by_destination", failure.to_string()),
        };
        self.bad = Some((at, offset, why));
        Next::Again
    }

    fn is_marked(&self, at: &TopicPartition, offset: i64) -> bool {
        self.bad.as_ref().is_some_and(|(marked, bad, _)| marked == at && *bad == offset)
    }

    fn wait(&mut self, failure: &Failure) -> Next {
        self.tries += 1;
        let after = self.backoff.after(self.tries.max(5), self.salt);
        Next::Wait { after, reconnect: failure.connection_lost }
    }

    /// The waiting time before the next try of something that is not a segment (a claim, a connection).
    pub fn next_wait(&mut self) -> Duration {
        self.tries += 1;
        self.backoff.after(self.tries, self.salt)
    }

    /// Partitions were claimed again. For each says whether its queue goes on or the source has to seek; and how an unknown
    /// outcome was settled, if there was one.
    pub fn reclaimed(&mut self, claims: Vec<Claimed>) -> (Vec<(TopicPartition, Resumed)>, Option<Settled>) {
        let unknown = std::mem::take(&mut self.unknown);
        let landed = claims.iter().find_map(|claim| {
            let (_, next) = unknown.iter().find(|(at, _)| *at == claim.at)?;
            Some(if claim.next == *next { Settled::Landed } else { Settled::NotLanded })
        });
        let resumed = claims.into_iter().map(|claim| (claim.at.clone(), self.resume(claim))).collect();
        self.tries = 0;
        (resumed, landed)
    }

    fn resume(&mut self, claim: Claimed) -> Resumed {
        let Some(owned) = self.partitions.get_mut(&claim.at) else { return Resumed::GoesOn };
        // Records of a topic that was made anew since are other records at the same offsets.
        let goes_on = (owned.next..=owned.expected).contains(&claim.next) && owned.incarnation == claim.incarnation;
        owned.fence = claim.fence;
        owned.incarnation = claim.incarnation;
        owned.next = claim.next;
        owned.open_delete = claim.open_delete;
        if goes_on {
            self.drop_records(&claim.at, claim.next);
            return Resumed::GoesOn;
        }
        owned.expected = claim.next;
        owned.at_end = None;
        self.align.iter_mut().for_each(|align| align.assign(&claim.at));
        self.paused.remove(&claim.at);
        // Nothing that is still under way belongs behind the new position; the seek brings a new generation.
        owned.generation = u64::MAX;
        self.drop_records(&claim.at, i64::MAX);
        Resumed::Seek(claim.next)
    }

    /// A sought partition gets the generation that its records will carry.
    pub fn regenerate(&mut self, at: &TopicPartition, generation: u64) {
        if let Some(owned) = self.partitions.get_mut(at) {
            owned.generation = generation;
            self.paused.remove(at);
            self.align.iter_mut().for_each(|align| align.restarted(at));
        }
    }

    /// Drops queued records of a partition below an offset.
    fn drop_records(&mut self, at: &TopicPartition, below: i64) {
        let mut kept_bytes = 0;
        self.queue.retain(|record| {
            let keep = record.at != *at || record.offset >= below;
            if keep {
                kept_bytes += record.size_bytes();
            }
            keep
        });
        self.queue_bytes = kept_bytes;
        self.align.iter_mut().for_each(|align| align.drop_below(at, below));
    }
}

#[cfg(test)]
mod tests;
