//! What lies between the supervisor and a lane: framed records are transcoded, so that the lane sees one form only.
//!
//! A partition whose schema the registry does not tell must not hold up the others. It is halted at the source, what was
//! read of it is dropped, and the lane is told to start it again where its queue ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::core::backoff::Backoff;
use crate::core::failure::{Class, Failure};
use crate::core::record::{Record, TopicPartition};
use crate::source::{Generation, LogEvent, SourceCommand};

use super::{LaneControl, Shared};

/// How long the others wait for a schema before the partition is held up alone: longer than a registry takes that works.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Opening {
    shared: Arc<Shared>,
    control: mpsc::UnboundedSender<LaneControl>,
    backoff: Backoff,
    /// Partitions that are held up: the generation of which nothing passes any more, and tries since something passed.
    held: HashMap<TopicPartition, (Generation, u32)>,
}

impl Opening {
    pub(super) fn new(shared: &Arc<Shared>, control: mpsc::UnboundedSender<LaneControl>) -> Self {
        let backoff = Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(10) };
        Self { shared: Arc::clone(shared), control, backoff, held: HashMap::new() }
    }

    /// Passes events on until either end is gone.
    pub(super) async fn run(mut self, mut input: mpsc::Receiver<LogEvent>, lane: mpsc::Sender<LogEvent>) {
        while let Some(event) = input.recv().await {
            let event = match event {
                LogEvent::Records { generation, records } => self.open(generation, records).await,
                LogEvent::AtEnd { at, generation, .. } if self.is_held(&at, generation) => None,
                event => Some(event),
            };
            let Some(event) = event else { continue };
            if lane.send(event).await.is_err() {
                return;
            }
        }
    }

    /// Whether something was left out before it.
    fn is_held(&self, at: &TopicPartition, generation: Generation) -> bool {
        self.held.get(at).is_some_and(|(held, _)| generation <= *held)
    }

    /// Records of one partition, as far as they can be read.
    async fn open(&mut self, generation: Generation, mut records: Vec<Record>) -> Option<LogEvent> {
        let at = records.first()?.at.clone();
        if self.is_held(&at, generation) {
            return None;
        }
        let mut opened = 0;
        let mut failed = None;
        for record in &mut records {
            if !self.shared.registry.is_framed(record) {
                opened += 1;
                continue;
            }
            let opening = tokio::time::timeout(PATIENCE, self.shared.registry.open(record));
            match opening.await.unwrap_or_else(|_| Err(silent())) {
                Ok(()) => opened += 1,
                Err(failure) => {
                    failed = Some(failure);
                    break;
                }
            }
        }
        match failed {
            Some(failure) => self.hold(&at, generation, opened > 0, &failure),
            None if self.held.is_empty() => {}
            None if self.held.remove(&at).is_some() => {
                tracing::info!(partition = %at, "the schema registry answers; the partition goes on");
                self.shared.progress.registry_trouble(&at, None);
            }
            None => {}
        }
        records.truncate(opened);
        (!records.is_empty()).then_some(LogEvent::Records { generation, records })
    }

    fn hold(&mut self, at: &TopicPartition, generation: Generation, moved: bool, failure: &Failure) {
        let held = self.held.entry(at.clone()).or_default();
        let tries = if moved { 1 } else { held.1 + 1 };
        *held = (generation, tries);
        let after = self.backoff.after(tries, generation);
        tracing::warn!(partition = %at, error = %failure, again_in = ?after, "the partition waits for the schema registry");
        self.shared.progress.registry_trouble(at, Some(failure.to_string()));
        if failure.class == Class::Operator {
            self.shared.progress.needs_operator(Some(failure.clone()));
        }
        let _ = self.shared.commands.send(SourceCommand::Halt { at: at.clone() });
        let (control, at) = (self.control.clone(), at.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = control.send(LaneControl::Restart { partitions: vec![at] });
        });
    }
}

fn silent() -> Failure {
    let what = format!("the schema registry does not answer within {} s", PATIENCE.as_secs());
    Failure::new(Class::Transient, "registry", what)
}
