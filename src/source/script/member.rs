//! One member: the task that reads the log for a pipeline.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::core::record::TopicPartition;
use crate::source::delivery::{Delivery, Flow};
use crate::source::{Generation, SourceCommand, SourceEvent, StartAt, next_generation};

use super::group::{Instruction, MemberId};
use super::{Line, Log, Turn};

/// Longest wait for the answer to an assignment.
const ANSWER: Duration = Duration::from_secs(2);
/// Longest wait for the runtime to drain what it has of partitions that go.
const DRAIN: Duration = Duration::from_secs(10);
/// Before a full queue is looked at again.
const FULL: Duration = Duration::from_millis(5);

/// See the module.
pub(super) struct Member {
    pub(super) log: Log,
    /// `None`: ranges, read apart from any group.
    pub(super) group: Option<Arc<str>>,
    pub(super) id: MemberId,
    pub(super) line: Arc<dyn Line>,
    pub(super) delivery: Delivery,
    pub(super) commands: mpsc::UnboundedReceiver<SourceCommand>,
}

/// What a member waited for.
enum Woken {
    Told(Option<Instruction>),
    Command(Option<SourceCommand>),
    Turn(Turn),
    Look,
}

impl Member {
    pub(super) async fn run(mut self) {
        self.line.awake().await;
        let mut told = self.group.as_ref().map(|group| self.log.join(group, self.id));
        loop {
            self.delivery.finish_if_reached();
            let flow = self.delivery.pump();
            if flow == Flow::Closed {
                break;
            }
            // Heard from here on, so that nothing is written unheard between a look and the wait.
            let log = self.log.clone();
            let written = log.written.notified();
            let behind = self.behind();
            let line = Arc::clone(&self.line);
            let woken = tokio::select! {
                biased;
                instruction = instruction(&mut told) => Woken::Told(instruction),
                command = self.commands.recv() => Woken::Command(command),
                turn = line.turn(), if flow == Flow::Open && !behind.is_empty() => Woken::Turn(turn),
                () = tokio::time::sleep(FULL), if flow == Flow::Blocked => Woken::Look,
                () = written, if behind.is_empty() => Woken::Look,
            };
            // A process that stands still hears nothing.
            self.line.awake().await;
            match woken {
                Woken::Told(Some(Instruction::Expelled)) => {
                    self.revoke(&self.delivery.partitions(), true).await;
                    told = self.group.as_ref().map(|group| self.log.join(group, self.id));
                }
                Woken::Told(Some(Instruction::Give(partitions))) => self.assign(&partitions).await,
                Woken::Told(Some(Instruction::TakeBack(partitions))) => self.give_back(&partitions).await,
                Woken::Told(None) => told = None,
                Woken::Command(Some(SourceCommand::Stop) | None) => break,
                Woken::Command(Some(command)) => self.obey(command),
                Woken::Turn(turn) => self.read(&behind, turn),
                Woken::Look => {}
            }
        }
        if let Some(group) = self.group.clone() {
            self.revoke(&self.delivery.partitions(), false).await;
            self.log.leave(&group, self.id);
        }
    }

    /// Partitions of which something can be delivered, be it that they end.
    fn behind(&self) -> Vec<TopicPartition> {
        let mut behind = self.delivery.running();
        behind.retain(|at| {
            let end = self.log.range(at).map_or(0, |range| range.end);
            let next = self.delivery.next(at);
            next.is_some_and(|next| next < end || (next == end && self.delivery.end_said(at) != Some(next)))
        });
        behind.sort();
        behind
    }

    fn read(&mut self, behind: &[TopicPartition], turn: Turn) {
        let Some(at) = behind.get((turn.pick % behind.len().max(1) as u64) as usize) else { return };
        let Some(next) = self.delivery.next(at) else { return };
        let records = self.log.read(at, next, turn.records.max(1));
        let more = records.len() == turn.records.max(1);
        for record in records {
            self.delivery.offer(at, record.offset, || record);
        }
        if let Some(range) = self.log.range(at).filter(|_| !more) {
            self.delivery.at_end(at, range.end);
            self.delivery.end_of_range(at);
        }
        self.delivery.flush();
    }

    async fn assign(&mut self, partitions: &[TopicPartition]) {
        let given: Vec<(TopicPartition, Generation)> =
            partitions.iter().map(|at| (at.clone(), next_generation())).collect();
        for (at, _) in &given {
            self.delivery.insert(at, None, None);
        }
        let (reply, answer) = oneshot::channel();
        self.delivery.say(SourceEvent::Assigned { partitions: given.clone(), reply });
        let starts = tokio::time::timeout(ANSWER, answer).await.ok().and_then(Result::ok).unwrap_or_default();
        for (at, start) in starts {
            let generation = given.iter().find(|(held, _)| *held == at).map(|(_, generation)| *generation);
            if let (StartAt::Offset(offset), Some(generation)) = (start, generation) {
                self.delivery.start(&at, offset, generation);
            }
        }
    }

    async fn give_back(&mut self, partitions: &[TopicPartition]) {
        self.revoke(partitions, false).await;
        if let Some(group) = &self.group {
            self.log.released(group, self.id, partitions);
        }
    }

    /// [`Delivery::let_go`] without a thread to wait on.
    async fn revoke(&mut self, partitions: &[TopicPartition], lost: bool) {
        let Some(answer) = self.delivery.revoke(partitions, lost) else { return };
        if !lost {
            let _ = tokio::time::timeout(DRAIN, answer).await;
        }
        self.delivery.forget(partitions);
    }

    fn obey(&mut self, command: SourceCommand) {
        match command {
            SourceCommand::Start { at, offset, generation } => {
                self.delivery.start(&at, offset, generation);
            }
            SourceCommand::Halt { at } => self.delivery.halt(&at),
            SourceCommand::HintCommitted { .. } | SourceCommand::Stop => {}
        }
    }
}

async fn instruction(told: &mut Option<mpsc::UnboundedReceiver<Instruction>>) -> Option<Instruction> {
    match told {
        Some(told) => told.recv().await,
        None => pending().await,
    }
}
