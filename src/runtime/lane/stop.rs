//! Partitions that stop because of their table.
//!
//! # Why they look again by themselves
//!
//! What resolves such a stop is a statement in the destination, and nobody tells lastword when it was run. So the partition is
//! claimed again now and then: its record is planned once more, with the table described anew.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::backoff::Backoff;
use crate::core::event::Rejection;
use crate::core::record::TopicPartition;

use super::Runner;

/// Between two looks: soon for who waits for the effect of his statement, seldom where nobody does anything.
const LOOKS: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30) };

/// See the module.
#[derive(Debug)]
pub(super) struct Stop {
    offset: i64,
    why: String,
    looks: u32,
    again: Instant,
}

impl Runner {
    /// Stops a partition at an offset. Told once: a look that finds the same again is no news.
    pub(super) fn stop(&mut self, at: &TopicPartition, offset: i64, why: &Rejection) {
        let told = format!("offset {offset}: {why}");
        if !why.stops_table {
            self.stops.remove(at);
            return self.halt(at, told);
        }
        let before = self.stops.remove(at).filter(|stop| stop.offset == offset);
        let looks = before.as_ref().map_or(1, |stop| stop.looks.saturating_add(1));
        let again = Instant::now() + LOOKS.after(looks, self.number as u64);
        match before.is_some_and(|stop| stop.why == told) {
            true => self.set_aside(at, told.clone()),
            false => self.halt(at, told.clone()),
        }
        self.stops.insert(at.clone(), Stop { offset, why: told, looks, again });
    }

    /// Whether a partition that begins here will meet what stopped it.
    pub(super) fn looks_again(&self, at: &TopicPartition, next: i64) -> bool {
        self.stops.get(at).is_some_and(|stop| next <= stop.offset)
    }

    /// Takes up the partitions whose time has come.
    pub(super) fn look_again(&mut self) {
        let now = Instant::now();
        for (at, _) in self.stops.iter().filter(|(_, stop)| stop.again <= now) {
            if let Some((incarnation, _)) = self.halted.remove(at) {
                self.waiting.insert(at.clone(), Arc::clone(&incarnation));
            }
        }
    }
}
