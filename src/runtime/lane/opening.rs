//! What lies between the supervisor and a lane: framed records are transcoded, so that the lane sees one form only.
//!
//! A partition whose schema the registry does not tell must not hold up the others. It is halted at the source, what was
//! read of it is dropped, and the lane is told to start it again where its queue ends.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::core::backoff::Backoff;
use crate::core::failure::{Class, Failure};
use crate::core::record::{Record, TopicPartition};
use crate::runtime::progress::Progress;
use crate::source::registry::Registry;
use crate::source::{Generation, LogEvent, SourceCommand};

use super::{LaneControl, Shared};

/// How long the others wait for a schema before the partition is held up alone: longer than a registry takes that works.
const PATIENCE: Duration = Duration::from_secs(1);

/// Before a partition that is held up is tried again.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(10) };

/// See the module.
pub(super) struct Opening {
    registry: Registry,
    progress: Progress,
    commands: mpsc::UnboundedSender<SourceCommand>,
    control: mpsc::UnboundedSender<LaneControl>,
    backoff: Backoff,
    /// Partitions that are held up: the generation of which nothing passes any more, and tries since something passed.
    held: HashMap<TopicPartition, (Generation, u32)>,
}

impl Opening {
    pub(super) fn new(shared: &Shared, control: mpsc::UnboundedSender<LaneControl>) -> Self {
        Self {
            registry: shared.registry.clone(),
            progress: shared.progress.clone(),
            commands: shared.commands.clone(),
            control,
            backoff: BACKOFF,
            held: HashMap::new(),
        }
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
            if !self.registry.is_framed(record) {
                opened += 1;
                continue;
            }
            let opening = tokio::time::timeout(PATIENCE, self.registry.open(record));
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
                self.progress.registry_trouble(&at, None);
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
        self.progress.registry_trouble(at, Some(failure.to_string()));
        if failure.class == Class::Operator {
            self.progress.needs_operator(Some(failure.clone()));
        }
        let _ = self.commands.send(SourceCommand::Halt { at: at.clone() });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::Headers;
    use crate::source::registry::tests::config;

    fn records(at: &TopicPartition, generation: Generation, values: &[(i64, &'static [u8])]) -> LogEvent {
        let record = |(offset, value): &(i64, &'static [u8])| Record {
            at: at.clone(),
            offset: *offset,
            timestamp_ms: None,
            key: None,
            value: Some((*value).into()),
            headers: Headers::default(),
            framed: None,
        };
        LogEvent::Records { generation, records: values.iter().map(record).collect() }
    }

    fn end(at: &TopicPartition, generation: Generation) -> LogEvent {
        LogEvent::AtEnd { at: at.clone(), generation, position: 9 }
    }

    /// What passed, in short: partition, generation, offsets.
    fn said(event: &LogEvent) -> String {
        match event {
            LogEvent::Records { generation, records } => {
                let offsets: Vec<String> = records.iter().map(|record| record.offset.to_string()).collect();
                format!("{} {generation} {}", records[0].at.partition, offsets.join(","))
            }
            LogEvent::AtEnd { at, generation, .. } => format!("{} {generation} end", at.partition),
            LogEvent::Finished => "finished".to_owned(),
        }
    }

    /// Behind a record whose schema is not to be had nothing of its partition passes, not even its end, before it is read again
    /// under a new generation; other partitions go on.
    #[tokio::test]
    async fn a_registry_that_is_down_holds_up_its_partition_alone() {
        let config = config(vec!["http://127.0.0.1:1".parse().expect("URL")]);
        let (commands, mut told) = mpsc::unbounded_channel();
        let (control, mut lane_told) = mpsc::unbounded_channel();
        let registry = Registry::with(Some(&config), Vec::new()).expect("registry");
        let progress = Progress::default();
        let opening =
            Opening { registry, progress: progress.clone(), commands, control, backoff: BACKOFF, held: HashMap::new() };
        let (input, unopened) = mpsc::channel(16);
        let (opened, mut output) = mpsc::channel(16);
        let (framed, other) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        let json = b"{}".as_slice();
        for event in [
            records(&framed, 1, &[(0, json), (1, b"\0\0\0\0\x05x"), (2, json)]),
            records(&framed, 1, &[(3, json)]),
            end(&framed, 1),
            records(&other, 2, &[(7, json)]),
            end(&other, 2),
            records(&framed, 3, &[(1, json)]),
            end(&framed, 3),
        ] {
            input.send(event).await.expect("room");
        }
        drop(input);
        opening.run(unopened, opened).await;
        let mut passed = Vec::new();
        while let Some(event) = output.recv().await {
            passed.push(said(&event));
        }
        assert_eq!(passed, ["0 1 0", "1 2 7", "1 2 end", "0 3 1", "0 3 end"]);
        assert!(matches!(told.recv().await, Some(SourceCommand::Halt { at }) if at == framed));
        assert!(told.recv().await.is_none(), "halted once");
        let Some(LaneControl::Restart { partitions }) = lane_told.recv().await else { panic!("started again") };
        assert_eq!(partitions, [framed]);
        assert!(progress.unready().is_empty(), "it goes on");
    }
}
