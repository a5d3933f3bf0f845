//! What a running pipeline has done, for people and for probes: one shared place, written by lanes and the supervisor, read
//! by the status page, the metrics and the progress bars.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::failure::Failure;
use crate::core::plan::{Advance, Counts, TableOutcome};
use crate::core::record::TopicPartition;

/// State of a partition in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionState {
    /// Assigned, not claimed yet.
    Claiming,
    /// Claimed and read.
    Running,
    /// Stopped until someone does something; the text says what.
    Halted(String),
}

/// A partition that this process holds.
#[derive(Clone, Debug)]
pub struct PartitionProgress {
    /// Its state.
    pub state: PartitionState,
    /// It is halted and looks whether what halted it is still there.
    pub looks_again: bool,
    /// Stored next offset.
    pub next: i64,
    /// Last stable offset, when it was last looked up.
    pub end: Option<i64>,
    /// Our fence.
    pub fence: i64,
    /// Source time of the newest applied event in milliseconds since 1970.
    pub source_time_ms: Option<i64>,
    /// Records settled by this process.
    pub counts: Counts,
}

/// How often each guard decided, over the life of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    /// Compare-and-swaps that missed.
    pub checkpoint_missed: u64,
    /// Unknown outcomes that had been committed.
    pub unknown_landed: u64,
    /// Unknown outcomes that had not.
    pub unknown_not_landed: u64,
    /// Records that were dropped because they came from an earlier assignment, or were applied before.
    pub transient_retries: u64,
}

#[derive(Debug, Default)]
struct Inner {
    partitions: BTreeMap<TopicPartition, PartitionProgress>,
    outcome: TableOutcome,
    counts: Counts,
    guards: Guards,
    sink_trouble: Option<String>,
    needs_operator: Option<Failure>,
    source_trouble: Option<String>,
    /// What the schema registry's failures hold up, and why.
    registry_trouble: BTreeMap<TopicPartition, String>,
}

/// See the module. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<Inner>>);

impl Progress {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic while holding it leaves numbers for display at worst.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition was assigned.
    pub fn claiming(&self, at: &TopicPartition) {
        self.inner().partitions.insert(
            at.clone(),
            PartitionProgress {
                state: PartitionState::Claiming,
                looks_again: false,
                next: 0,
                end: None,
                fence: 0,
                source_time_ms: None,
                counts: Counts::default(),
            },
        );
    }

    /// A partition was claimed, for the first time or again. One that only looks whether what halted it is still there stays halted
    /// until something of it is applied: a bounded run that ends meanwhile has not done all of its work.
    pub fn claimed(&self, at: &TopicPartition, next: i64, fence: i64, looks_again: bool) {
        if let Some(partition) = self.inner().partitions.get_mut(at) {
            partition.looks_again = looks_again && matches!(partition.state, PartitionState::Halted(_));
            if !partition.looks_again {
                partition.state = PartitionState::Running;
            }
            partition.next = next;
            partition.fence = fence;
        }
    }

    /// A partition stopped.
    pub fn halted(&self, at: &TopicPartition, why: String) {
        if let Some(partition) = self.inner().partitions.get_mut(at) {
            partition.looks_again = false;
            partition.state = PartitionState::Halted(why);
        }
    }

    /// A partition was taken away.
    pub fn released(&self, at: &TopicPartition) {
        let mut inner = self.inner();
        inner.partitions.remove(at);
        inner.registry_trouble.remove(at);
    }

    /// A plan was committed.
    pub fn committed(&self, advances: &[Advance], outcomes: &[TableOutcome]) {
        let mut inner = self.inner();
        inner.sink_trouble = None;
        inner.needs_operator = None;
        for advance in advances {
            inner.counts += &advance.counts;
            if let Some(partition) = inner.partitions.get_mut(&advance.at) {
                if std::mem::take(&mut partition.looks_again) {
                    partition.state = PartitionState::Running;
                }
                partition.next = advance.next;
                partition.source_time_ms = partition.source_time_ms.max(advance.source_time_ms);
                partition.counts += &advance.counts;
            }
        }
        outcomes.iter().for_each(|outcome| inner.outcome += outcome);
    }

    /// The end of a partition was looked up.
    pub fn end(&self, at: &TopicPartition, end: i64) {
        if let Some(partition) = self.inner().partitions.get_mut(at) {
            partition.end = Some(end);
        }
    }

    /// The destination does not work, or works again.
    pub fn sink_trouble(&self, what: Option<String>) {
        self.inner().sink_trouble = what;
    }

    /// The destination refused in a way that only a person can mend.
    pub fn needs_operator(&self, failure: Option<Failure>) {
        self.inner().needs_operator = failure;
    }

    /// What only a person can mend, if there is something.
    pub fn operator_failure(&self) -> Option<Failure> {
        self.inner().needs_operator.clone()
    }

    /// The source does not work, or works again.
    pub fn source_trouble(&self, what: Option<String>) {
        self.inner().source_trouble = what;
    }

    /// A partition waits for the schema registry, or goes on.
    pub fn registry_trouble(&self, at: &TopicPartition, what: Option<String>) {
        let mut inner = self.inner();
        match what {
            Some(what) => _ = inner.registry_trouble.insert(at.clone(), what),
            None => _ = inner.registry_trouble.remove(at),
        }
    }

    /// Counts a guard's decision.
    pub fn guard(&self, count: impl FnOnce(&mut Guards)) {
        count(&mut self.inner().guards);
    }

    /// The partitions of this process.
    pub fn partitions(&self) -> BTreeMap<TopicPartition, PartitionProgress> {
        self.inner().partitions.clone()
    }

    /// What this process did to all tables.
    pub fn outcome(&self) -> TableOutcome {
        self.inner().outcome
    }

    /// What became of all records that this process passed, also of partitions that it holds no more.
    pub fn counts(&self) -> Counts {
        self.inner().counts
    }

    /// How often guards decided.
    pub fn guards(&self) -> Guards {
        self.inner().guards
    }

    /// Partitions that are halted, with the reason.
    pub fn halts(&self) -> Vec<(TopicPartition, String)> {
        let halted = |(at, partition): (&TopicPartition, &PartitionProgress)| match &partition.state {
            PartitionState::Halted(why) => Some((at.clone(), why.clone())),
            _ => None,
        };
        self.inner().partitions.iter().filter_map(halted).collect()
    }

    /// Why the process is not ready, if it is not.
    pub fn unready(&self) -> Vec<String> {
        let inner = self.inner();
        let mut reasons: Vec<String> = inner.sink_trouble.iter().chain(&inner.source_trouble).cloned().collect();
        reasons.extend(inner.registry_trouble.iter().map(|(at, what)| format!("{at} waits: {what}")));
        for (at, partition) in &inner.partitions {
            match &partition.state {
                PartitionState::Running => {}
                PartitionState::Claiming => reasons.push(format!("{at} is not claimed yet")),
                PartitionState::Halted(why) => reasons.push(format!("{at} is halted: {why}")),
            }
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bounded run may end while a halted partition looks again: it has not caught up, and must not say so.
    #[test]
    fn who_looks_again_is_halted_until_something_is_applied() {
        let (progress, at) = (Progress::default(), TopicPartition::new("t", 0));
        let advance = Advance {
            at: at.clone(),
            from: 3,
            next: 4,
            fence: 2,
            counts: Counts::default(),
            source_time_ms: None,
            open_delete: None,
            top: crate::core::ledger::Top::default(),
        };
        progress.claiming(&at);
        progress.claimed(&at, 3, 1, false);
        assert!(progress.halts().is_empty());
        progress.halted(&at, "the table".to_owned());
        progress.claimed(&at, 3, 2, true);
        assert_eq!(progress.halts().len(), 1);
        progress.committed(&[advance], &[]);
        assert!(progress.halts().is_empty(), "what was in the way is gone");
    }
}
