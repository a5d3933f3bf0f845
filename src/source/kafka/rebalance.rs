//! Partitions come and go.
//!
//! An assignment is answered with the offsets that the runtime claimed in the destination. If these do not come in time (the
//! destination is down, or slow), the member must not be thrown out of its group: the partition is taken at a fixed offset
//! ([`PARKED`]) and paused, and [`SourceCommand::Start`](crate::source::SourceCommand) seeks it later. An assignment without an
//! explicit offset would begin at the offset that was committed to the group, which is for lag tools only and is never read.
//!
//! # Why not at the logical end
//!
//! It must be asked for, and librdkafka (2.12.1) asks again 500 ms after an answer that a pause or a seek has outdated
//! (`rd_kafka_toppar_handle_Offset`). The second answer comes behind the seek of a claim and undoes it: everything before the end
//! would be skipped without a word. A number needs no answer.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::Offset;
use tokio::sync::oneshot;

use crate::core::failure::Failure;
use crate::core::record::TopicPartition;
use crate::source::queue::wait;
use crate::source::{SourceEvent, StartAt, next_generation};

use super::reader::{Mode, Reader};

/// Where a partition stands that may not pass yet. It is paused there, so it does not matter whether the log has it.
pub(super) const PARKED: Offset = Offset::Offset(0);

/// Longest wait for the runtime's offsets. Well below max.poll.interval.ms and the time that a group waits for its members.
const CLAIM: Duration = Duration::from_secs(5);

impl Reader<'_> {
    /// Takes partitions at the offsets that the runtime says.
    pub(super) fn assigned(&mut self, partitions: Vec<TopicPartition>) -> Result<(), Failure> {
        if partitions.is_empty() {
            return self.done("taking no partitions", self.native.assign(&[]));
        }
        let given: Vec<_> = partitions.into_iter().map(|at| (at, next_generation())).collect();
        let answer = self.ask_for_starts(&given);
        let (mut parked, mut running) = (Vec::new(), Vec::new());
        let mut list = Vec::new();
        for (at, generation) in &given {
            let start = match answer.get(at) {
                Some(StartAt::Offset(offset)) => Some((*offset, *generation)),
                Some(StartAt::Later) | None => None,
            };
            list.push((at.clone(), start.map_or(PARKED, |(offset, _)| Offset::Offset(offset))));
            self.delivery.insert(at, start, None);
            self.given_up.remove(at);
            let stands = start.is_none() || self.paused;
            if stands { &mut parked } else { &mut running }.push(at.clone());
        }
        self.done("taking partitions", self.native.assign(&list))?;
        // A partition that was paused when it was taken away is still paused when it comes back (seen).
        self.done("resuming partitions", self.native.resume(&running))?;
        self.done("pausing partitions", self.native.pause(&parked))
    }

    fn ask_for_starts(&self, given: &[(TopicPartition, u64)]) -> HashMap<TopicPartition, StartAt> {
        let (reply, mut answer) = oneshot::channel();
        self.delivery.say(SourceEvent::Assigned { partitions: given.to_vec(), reply });
        let starts = match wait(&mut answer, CLAIM) {
            Some(starts) => starts.ok(),
            None => {
                // From here on sending the reply fails; one that was sent just before is not lost.
                answer.close();
                answer.try_recv().ok()
            }
        };
        starts.unwrap_or_default().into_iter().collect()
    }

    /// Lets partitions go, after the runtime has drained what it has of them.
    pub(super) fn revoked(&mut self, partitions: &[TopicPartition]) -> Result<(), Failure> {
        if !partitions.is_empty() {
            let lost = self.native.lost();
            self.delivery.let_go(partitions, lost);
        }
        self.done("giving partitions back", self.native.unassign(partitions))
    }

    /// Lets everything go, before the consumer is closed. Closing then finds nothing to be said.
    pub(super) fn release_all(&mut self) {
        if matches!(self.mode, Mode::Group(_)) {
            self.delivery.let_go(&self.delivery.partitions(), false);
        }
    }

    fn done(&self, what: &str, result: rdkafka::error::KafkaResult<()>) -> Result<(), Failure> {
        result.map_err(|error| {
            let text = self.native.context().redact(&error.to_string());
            Failure::operator("kafka client", format!("{what}: {text}"))
        })
    }
}
