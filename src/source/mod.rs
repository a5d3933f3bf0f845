//! Where records come from.
//!
//! A source runs on a thread of its own and talks to the runtime over [`SourceHandle`]: [`SourceEvent`]s and [`LogEvent`]s come
//! out, [`SourceCommand`]s go in. The runtime decides where partitions begin; a source never does.
//!
//! # Why two ways out
//!
//! A source waits for the answer to [`SourceEvent::Assigned`] and [`SourceEvent::Revoked`]. If these lay behind a full queue
//! of records, the runtime, busy applying, would not see the question while the source waits for the answer. So what
//! needs attention (`control`) never waits behind what needs work (`records`), and the control way is unbounded, so that
//! saying something never blocks. The records way is bounded by bytes.

mod delivery;
pub mod file;
pub mod kafka;
mod queue;
pub mod registry;
pub mod script;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

pub use queue::RecordQueue;

use crate::config::checked::SourceConfig;
use crate::core::failure::Failure;
use crate::core::record::{Record, TopicPartition};

/// Number of an assignment of a partition in this process: raised whenever the partition is assigned or sought, so that
/// records of an earlier one that are still in a queue are known and dropped.
pub type Generation = u64;

/// The next generation of this process: greater than all that were given before, by whomever.
pub fn next_generation() -> Generation {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// What a source says about itself and its partitions.
#[derive(Debug)]
pub enum SourceEvent {
    /// Partitions were given to this process. The source waits for the answer, but not longer than it can afford; partitions
    /// that are not answered in time, or answered with `Later`, are parked (assigned at a fixed offset, paused) until a
    /// [`SourceCommand::Start`] comes. Records flow only after that. If sending the reply fails, the source waited long enough
    /// and parked all of them: answer each with [`SourceCommand::Start`] instead.
    Assigned {
        /// The partitions with their generation.
        partitions: Vec<(TopicPartition, Generation)>,
        /// Where each begins. Dropping the sender is the answer "later" for all.
        reply: oneshot::Sender<Vec<(TopicPartition, StartAt)>>,
    },
    /// Partitions are taken away. The source waits for the reply (or the dropped sender) before it lets them go.
    Revoked {
        /// The partitions.
        partitions: Vec<TopicPartition>,
        /// They are lost already: nothing may be written for them any more.
        lost: bool,
        /// Said when nothing is in flight for them.
        reply: oneshot::Sender<()>,
    },
    /// Nothing more of this partition can be read (its next offset is gone from the log, a batch is damaged); it stays
    /// assigned and silent until a [`SourceCommand::Start`]. The others go on.
    PartitionFailed {
        /// The partition.
        at: TopicPartition,
        /// Why, and what to do.
        failure: Failure,
    },
    /// The source goes on, but an operator should know (broker down, a topic that vanished).
    Warning(Failure),
    /// The source cannot go on. `Revoked` comes for what is held, then its thread ends.
    Failed(Failure),
}

/// What a source read.
#[derive(Debug)]
pub enum LogEvent {
    /// Records of one partition in offset order.
    Records {
        /// Generation of the partition that they belong to.
        generation: Generation,
        /// At least one record, all of one partition.
        records: Vec<Record>,
    },
    /// Everything up to the last stable offset (or the end of a range or file) was delivered. Comes after the records,
    /// again after more records came.
    AtEnd {
        /// The partition.
        at: TopicPartition,
        /// Its generation.
        generation: Generation,
        /// The consumer's position: no record lies between the last delivered one and it.
        position: i64,
    },
    /// Every partition of a bounded source (files, ranges) said `AtEnd`. It still obeys commands: after a
    /// [`SourceCommand::Start`] it delivers again, and says `Finished` again. It ends with [`SourceCommand::Stop`].
    Finished,
}

impl LogEvent {
    /// The partition that it is about.
    pub fn partition(&self) -> Option<&TopicPartition> {
        match self {
            Self::Records { records, .. } => records.first().map(|record| &record.at),
            Self::AtEnd { at, .. } => Some(at),
            Self::Finished => None,
        }
    }
}

/// What comes out of either way.
#[derive(Debug)]
pub enum Said {
    /// Something that must be heard at once.
    Control(SourceEvent),
    /// Something that lies in an order.
    Log(LogEvent),
}

/// Where a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At this offset.
    Offset(i64),
    /// Not known yet: park it.
    Later,
}

/// What a source is told.
#[derive(Debug)]
pub enum SourceCommand {
    /// Begin (a parked partition) or go on (a running one) at this offset under a new generation, if the partition is still
    /// assigned. Also ends a [`SourceCommand::Halt`].
    Start {
        /// The partition.
        at: TopicPartition,
        /// Next offset to deliver.
        offset: i64,
        /// Its new generation: greater than all before it.
        generation: Generation,
    },
    /// Deliver nothing of the partition any more, but keep it.
    Halt {
        /// The partition.
        at: TopicPartition,
    },
    /// Tell the group how far the destination is, for lag tools only.
    HintCommitted {
        /// Next offsets.
        offsets: Vec<(TopicPartition, i64)>,
    },
    /// Leave the group and end the thread. `Revoked` comes for what is held.
    Stop,
}

/// The runtime's end of a source. Dropping it stops the source.
#[derive(Debug)]
pub struct SourceHandle {
    /// What must be heard at once.
    pub control: mpsc::UnboundedReceiver<SourceEvent>,
    /// What lies in an order. Bounded by bytes: a source that is not listened to stops
    /// reading, but stays in its group.
    pub records: RecordQueue,
    /// What it is told. Unbounded, because commands are few and must never wait behind records.
    pub commands: mpsc::UnboundedSender<SourceCommand>,
    /// Ends when the source's thread has ended; `None` where it is a task.
    pub thread: Option<std::thread::JoinHandle<()>>,
}

impl SourceHandle {
    /// The next event, control first; `None` when the source has ended and everything was taken. Cancel-safe.
    pub async fn next(&mut self) -> Option<Said> {
        tokio::select! {
            biased;
            Some(event) = self.control.recv() => Some(Said::Control(event)),
            Some(event) = self.records.recv() => Some(Said::Log(event)),
            else => None,
        }
    }
}

/// First offset and end (last stable offset) of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// First offset that is still there.
    pub start: i64,
    /// Offset behind the last record that can be read.
    pub end: i64,
}

/// What is known of a topic.
#[derive(Clone, Debug)]
pub struct TopicInfo {
    /// Name.
    pub topic: Arc<str>,
    /// Identity of this incarnation of the topic: the topic id (base64), or `-` where the source has none.
    pub incarnation: Arc<str>,
    /// Number of partitions.
    pub partitions: i32,
}

/// Name of an incarnation where the source has none (files, the mock cluster, old brokers).
pub const NO_INCARNATION: &str = "-";

/// A part of the log of a partition, read once and apart from the group (replay).
#[derive(Clone, Debug)]
pub struct ReadRange {
    /// The partition.
    pub at: TopicPartition,
    /// Generation that its events carry.
    pub generation: Generation,
    /// First offset to read.
    pub from: i64,
    /// Offset to stop before.
    pub to: i64,
}

/// A source of any kind.
#[derive(Clone, Debug)]
pub enum Source {
    /// Kafka.
    Kafka(kafka::KafkaSource),
    /// Files.
    File(file::FileSource),
    /// A log in memory.
    Script(script::ScriptSource),
}

impl Source {
    /// Prepares a source. `pipeline` names the clients.
    pub fn new(config: &SourceConfig, pipeline: &str) -> Result<Self, Failure> {
        match config {
            SourceConfig::Kafka(kafka) => Ok(Self::Kafka(kafka::KafkaSource::new(kafka, pipeline)?)),
            SourceConfig::File(file) => Ok(Self::File(file::FileSource::new(file)?)),
        }
    }

    /// The topics that the configuration selects, as they are now.
    pub async fn topics(&self) -> Result<Vec<TopicInfo>, Failure> {
        match self {
            Self::Kafka(source) => source.topics().await,
            Self::File(source) => source.topics().await,
            Self::Script(source) => source.topics().await,
        }
    }

    /// One topic, selected or not; `None` if the source does not know it.
    pub async fn topic(&self, name: &str) -> Result<Option<TopicInfo>, Failure> {
        match self {
            Self::Kafka(source) => source.topic(name).await,
            Self::File(source) => Ok(source.topics().await?.into_iter().find(|info| *info.topic == *name)),
            Self::Script(source) => Ok(source.topics().await?.into_iter().find(|info| *info.topic == *name)),
        }
    }

    /// Log start and last stable offset of partitions.
    pub async fn ranges(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, LogRange)>, Failure> {
        match self {
            Self::Kafka(source) => source.ranges(partitions).await,
            Self::File(source) => source.ranges(partitions).await,
            Self::Script(source) => source.ranges(partitions).await,
        }
    }

    /// First offset whose record time is at or after a time, `None` if there is none.
    pub async fn offset_at_time(&self, at: &TopicPartition, time_ms: i64) -> Result<Option<i64>, Failure> {
        match self {
            Self::Kafka(source) => source.offset_at_time(at, time_ms).await,
            Self::File(source) => source.offset_at_time(at, time_ms).await,
            Self::Script(source) => source.offset_at_time(at, time_ms).await,
        }
    }

    /// Joins the group (Kafka) or offers all partitions (files) and delivers until it is stopped.
    pub fn run(&self) -> Result<SourceHandle, Failure> {
        match self {
            Self::Kafka(source) => source.run(),
            Self::File(source) => source.run(),
            Self::Script(source) => source.run(),
        }
    }

    /// Delivers some ranges without a group, says `AtEnd` with `position = to` for each and `Finished` after the last.
    /// `Assigned` and `Revoked` never come. The commands work as in [`run`](Self::run), so that a range can be taken up again.
    pub fn read(&self, ranges: Vec<ReadRange>) -> Result<SourceHandle, Failure> {
        match self {
            Self::Kafka(source) => source.read(ranges),
            Self::File(source) => source.read(ranges),
            Self::Script(source) => source.read(ranges),
        }
    }
}
