//! How a scenario is delivered.

use std::collections::BTreeMap;

use crate::core::record::{Record, TopicPartition};

use super::random::Random;

/// How the records of a scenario come to the destination: everything that Kafka, a connector, a network and a machine are allowed
/// to do, each to be switched for itself. One seed decides all that is left to chance; it stands in every report and failure.
/// (Tasks and databases take their own time, so a seed repeats the faults, not their moments.)
///
/// ```
/// use lastword::testing::Delivery;
///
/// let only_crashes = Delivery::in_order().seed(7).crashes(3).batch_rows(10);
/// assert_ne!(only_crashes, Delivery::hostile(7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub(super) seed: u64,
    pub(super) interleaved: bool,
    pub(super) restarts: bool,
    pub(super) rows: Option<usize>,
    pub(super) processes: usize,
    pub(super) rebalances: usize,
    pub(super) crashes: usize,
    pub(super) lost_acknowledgements: usize,
    pub(super) cuts: usize,
    pub(super) replays: usize,
}

impl Delivery {
    /// One process, nothing goes wrong: each partition in its order, one after the other.
    pub fn in_order() -> Self {
        Self {
            seed: 0,
            interleaved: false,
            restarts: false,
            rows: None,
            processes: 1,
            rebalances: 0,
            crashes: 0,
            lost_acknowledgements: 0,
            cuts: 0,
            replays: 0,
        }
    }

    /// Everything at once.
    pub fn hostile(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let rows = [1, 2, 3, 7, 50, 5000][random.below(6)];
        Self {
            seed,
            interleaved: true,
            restarts: true,
            rows: Some(rows),
            processes: 1 + random.below(3),
            rebalances: random.below(4),
            crashes: 1 + random.below(2),
            lost_acknowledgements: 1 + random.below(3),
            cuts: random.below(4),
            replays: random.below(2),
        }
    }

    /// What decides where chance does.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Partitions are mixed at random. Within a partition the order is kept: that is what Kafka promises.
    #[must_use]
    pub fn interleaved(self, interleaved: bool) -> Self {
        Self { interleaved, ..self }
    }

    /// The connector restarts: in every partition events come again from a former one on. Left out where a table is ordered by
    /// offsets or is a change log: for these a record that comes again is a new one.
    #[must_use]
    pub fn restarts(self, restarts: bool) -> Self {
        Self { restarts, ..self }
    }

    /// Most rows of a batch, in place of the configuration's.
    #[must_use]
    pub fn batch_rows(self, rows: usize) -> Self {
        Self { rows: Some(rows.max(1)), ..self }
    }

    /// Processes that share the partitions. With `align = "transaction"` there is one, whatever is said here.
    #[must_use]
    pub fn processes(self, processes: usize) -> Self {
        Self { processes: processes.max(1), ..self }
    }

    /// How often a partition moves to another process in the middle.
    #[must_use]
    pub fn rebalances(self, rebalances: usize) -> Self {
        Self { rebalances, ..self }
    }

    /// How often a process dies: all its calls fail from some moment on, its connections are gone, a new one starts.
    #[must_use]
    pub fn crashes(self, crashes: usize) -> Self {
        Self { crashes, ..self }
    }

    /// How many commits (at most) are not acknowledged, be they made or not.
    #[must_use]
    pub fn lost_acknowledgements(self, lost: usize) -> Self {
        Self { lost_acknowledgements: lost, ..self }
    }

    /// How many connections (at most) are cut.
    #[must_use]
    pub fn cuts(self, cuts: usize) -> Self {
        Self { cuts, ..self }
    }

    /// How often a topic is replayed beside the live processes.
    #[must_use]
    pub fn replays(self, replays: usize) -> Self {
        Self { replays, ..self }
    }

    /// The records in the order in which they are written to the log, and how many of them come again.
    pub(super) fn order(&self, records: &[Record], restarts: bool, random: &mut Random) -> (Vec<Record>, usize) {
        let mut partitions: BTreeMap<&TopicPartition, Vec<Record>> = BTreeMap::new();
        for record in records {
            partitions.entry(&record.at).or_default().push(record.clone());
        }
        let mut repeated = 0;
        if restarts {
            repeated = partitions.values_mut().map(|records| redeliver(records, random)).sum();
        }
        if !self.interleaved && repeated == 0 {
            return (records.to_vec(), 0);
        }
        let mut open: Vec<_> = partitions.into_values().map(Vec::into_iter).collect();
        let mut mixed = Vec::with_capacity(records.len() + repeated);
        while !open.is_empty() {
            let at = if self.interleaved { random.below(open.len()) } else { 0 };
            let length = 1 + random.below(40);
            mixed.extend(open[at].by_ref().take(length));
            if open[at].len() == 0 {
                open.remove(at);
            }
        }
        (mixed, repeated)
    }
}

/// A stretch comes again right behind itself, as after the restart of a connector. None of it is of a snapshot: a connector that is
/// restarted inside one takes another, at another position.
fn redeliver(records: &mut Vec<Record>, random: &mut Random) -> usize {
    let mut end = 1 + random.below(records.len());
    // A null is sent together with the delete before it.
    while records.get(end).is_some_and(|record| record.value.is_none()) {
        end += 1;
    }
    let from = last_stretch(&records[..end], random);
    let again = records[from..end].to_vec();
    let mut repeated = again.len();
    records.splice(end..end, again);
    // The last restart is under way when the log ends: of what comes again there is only the begin.
    let (from, end) = (last_stretch(records, random), records.len());
    let again = records[from..from + random.below(end - from + 1)].to_vec();
    repeated += again.len();
    records.extend(again);
    // They get offsets of their own in the log, where they lie now.
    records.iter_mut().for_each(|record| record.offset = 0);
    repeated
}

/// Where a stretch to the end begins.
fn last_stretch(records: &[Record], random: &mut Random) -> usize {
    let streamed = records.iter().rev().take_while(|record| !is_snapshot(record)).count();
    let mut from = records.len() - random.below(streamed + 1);
    while from > 0 && records.get(from).is_some_and(|record| record.value.is_none()) {
        from -= 1;
    }
    from
}

fn is_snapshot(record: &Record) -> bool {
    let Some(value) = record.value.as_ref().map(crate::core::record::Payload::whole) else { return false };
    let said = [&b"\"op\":\"r\""[..], b"\"op\": \"r\"", b"\"__op\":\"r\"", b"\"__op\": \"r\""];
    said.iter().any(|said| value.windows(said.len()).any(|window| window == *said))
}
