//! Partitions that another process has claimed although the source still gives them to this one.
//!
//! # Why they are not simply given up
//!
//! A process that stood still may wake up with a claim on its way, long after its partitions were given to others: it raises the
//! fence, hears then that it was put out of its group, and lets go. Whoever holds the partition by the group's word finds itself
//! fenced off, and no assignment follows, because for the group nothing has changed: nobody would read the partition any more
//! (found by simulation). So its checkpoint is watched: while it moves somebody works, and that may be right (two groups under
//! one pipeline's name are nobody's mistake to mend here); if it stands, the partition is claimed again. Each further takeover is
//! looked at later than the one before, so that two who both believe to be right do not keep each other from working.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::backoff::Backoff;
use crate::core::record::TopicPartition;
use crate::sink::bookkeep::FenceState;

use super::Runner;

/// Between two looks at a checkpoint.
const LOOKS: Backoff = Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(60) };

/// See the module.
#[derive(Debug)]
pub(super) struct Takeover {
    incarnation: Arc<str>,
    /// Where the checkpoint was at the last look.
    next: Option<i64>,
    /// Takeovers of the partition since it was assigned.
    times: u32,
    again: Instant,
}

impl Runner {
    /// Another process has claimed a partition of ours.
    pub(super) fn taken_over(&mut self, at: &TopicPartition) {
        // The ranges of a replay belong to whoever resumed it last.
        let Some(owned) = self.lane.partition(at).filter(|_| self.shared.first_offsets.is_none()) else { return };
        let times = self.takeovers.get(at).map_or(1, |known| known.times.saturating_add(1));
        let again = Instant::now() + LOOKS.after(times, self.number as u64);
        let takeover = Takeover { incarnation: Arc::clone(&owned.incarnation), next: None, times, again };
        self.takeovers.insert(at.clone(), takeover);
    }

    /// Claims a partition again that was taken over and stands.
    pub(super) fn look_at_takeover(&mut self, state: &FenceState) {
        let (now, number) = (Instant::now(), self.number as u64);
        let is_ours = self.lane.partition(&state.at).is_some() || self.waiting.contains_key(&state.at);
        let Some(takeover) = self.takeovers.get_mut(&state.at).filter(|it| !is_ours && it.again <= now) else { return };
        takeover.again = now + LOOKS.after(takeover.times, number);
        if takeover.next != Some(state.next_offset) {
            takeover.next = Some(state.next_offset);
            return;
        }
        tracing::warn!(
            partition = %state.at,
            owner = state.owner,
            "was taken over, but its checkpoint stands, and the source still gives it to this process: claiming it again"
        );
        takeover.next = None;
        self.shared.progress.claiming(&state.at);
        self.waiting.insert(state.at.clone(), Arc::clone(&takeover.incarnation));
    }
}
