//! The thread that reads files: pass after pass over all of them, each for the partitions that are to be read then.
//!
//! A partition that is started while a pass is under way waits for the next one, because the lines that it wants may lie
//! behind already.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::core::failure::Failure;
use crate::core::record::TopicPartition;
use crate::source::delivery::{Delivery, Flow, Taken};
use crate::source::queue::wait;
use crate::source::{Generation, LogRange, SourceCommand, SourceEvent, StartAt, next_generation};

use super::line::Lines;

/// Longest wait before commands are looked at.
const PATIENCE: Duration = Duration::from_millis(20);
/// Lines between two looks at the commands.
const BURST: u32 = 500;

/// See the module.
pub(super) struct Reader {
    pub(super) paths: Vec<PathBuf>,
    pub(super) delivery: Delivery,
    pub(super) commands: mpsc::UnboundedReceiver<SourceCommand>,
    /// Partitions of the present pass.
    pub(super) pass: HashSet<TopicPartition>,
    /// Partitions were offered, so that they must be taken back in the end.
    pub(super) assigned: bool,
}

/// Why the thread ends.
pub(super) enum End {
    /// It was told to, or nobody listens any more.
    Stopped,
    /// It cannot go on.
    Failed(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Reader {
    /// Offers all partitions, as a group would, and waits for where they begin.
    pub(super) fn assign(&mut self, partitions: Vec<(TopicPartition, LogRange)>) -> Result<(), End> {
        let mut given: Vec<(TopicPartition, Generation)> = Vec::new();
        for (at, range) in partitions {
            self.delivery.insert(&at, None, Some(range.end));
            given.push((at, next_generation()));
        }
        if given.is_empty() {
            return Ok(());
        }
        self.assigned = true;
        let (reply, mut answer) = oneshot::channel();
        self.delivery.say(SourceEvent::Assigned { partitions: given.clone(), reply });
        let starts = loop {
            match wait(&mut answer, PATIENCE) {
                Some(starts) => break starts.unwrap_or_default(),
                None => self.take_commands()?,
            }
        };
        for (at, start) in starts {
            let generation = given.iter().find(|(held, _)| *held == at).map(|(_, generation)| *generation);
            if let (StartAt::Offset(offset), Some(generation)) = (start, generation) {
                self.delivery.start(&at, offset, generation);
            }
        }
        Ok(())
    }

    /// Reads until it is stopped. Ends of its own only if a file cannot be read.
    pub(super) fn serve(&mut self) -> Result<(), End> {
        loop {
            self.take_commands()?;
            self.pass = self.delivery.running().into_iter().collect();
            if !self.pass.is_empty() {
                self.read_files()?;
            }
            self.delivery.finish_if_reached();
            self.send()?;
            if self.delivery.running().is_empty() {
                self.wait_for_command()?;
            }
        }
    }

    fn read_files(&mut self) -> Result<(), End> {
        let mut count = 0_u32;
        for path in self.paths.clone() {
            let mut lines = Lines::open(&path)?;
            while let Some(record) = lines.next()? {
                count = count.wrapping_add(1);
                if count.is_multiple_of(BURST) {
                    self.take_commands()?;
                }
                if self.pass.is_empty() {
                    return Ok(());
                }
                if !self.pass.contains(&record.at) {
                    continue;
                }
                let at = record.at.clone();
                if self.delivery.offer(&at, record.offset, || record) == Taken::Reached {
                    self.pass.remove(&at);
                }
                self.send()?;
            }
        }
        // What a range or a file that shrank promised, but the files do not hold.
        for at in std::mem::take(&mut self.pass) {
            self.delivery.end_of_range(&at);
        }
        Ok(())
    }

    /// Sends what is ready, waiting for room.
    fn send(&mut self) -> Result<(), End> {
        loop {
            match self.delivery.pump() {
                Flow::Open => return Ok(()),
                Flow::Closed => return Err(End::Stopped),
                Flow::Blocked => {
                    self.take_commands()?;
                    self.delivery.wait_room(PATIENCE);
                }
            }
        }
    }

    fn take_commands(&mut self) -> Result<(), End> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command)?,
                Err(mpsc::error::TryRecvError::Empty) => return Ok(()),
                Err(mpsc::error::TryRecvError::Disconnected) => return Err(End::Stopped),
            }
        }
    }

    fn wait_for_command(&mut self) -> Result<(), End> {
        match wait(self.commands.recv(), Duration::from_secs(1)) {
            Some(Some(command)) => self.obey(command),
            Some(None) => Err(End::Stopped),
            None => Ok(()),
        }
    }

    fn obey(&mut self, command: SourceCommand) -> Result<(), End> {
        match command {
            SourceCommand::Start { at, offset, generation } => {
                self.pass.remove(&at);
                self.delivery.start(&at, offset, generation);
            }
            SourceCommand::Halt { at } => {
                self.pass.remove(&at);
                self.delivery.halt(&at);
            }
            SourceCommand::HintCommitted { .. } => {}
            SourceCommand::Stop => return Err(End::Stopped),
        }
        Ok(())
    }
}
