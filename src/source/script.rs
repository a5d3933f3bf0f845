//! A log in memory with groups that read it: what a broker is, for tests and simulations.
//!
//! Any number of members of a group read one [`Log`], each as the source of a pipeline of its own. Partitions move between members as
//! Kafka's cooperative rebalancing moves them: taken back first, given to the next one when they were let go; a member that
//! is expelled (its session ended) hears of it later than its successor. What a member may do when, and how much it reads at
//! a time, is told by its [`Line`].

mod group;
mod member;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

use crate::core::failure::Failure;
use crate::core::record::{Record, TopicPartition};

use super::delivery::Delivery;
use super::{LogRange, ReadRange, SourceHandle, TopicInfo};
use group::Group;
pub use group::MemberId;
use member::Member;

/// What a member does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Most records that are read.
    pub records: usize,
    /// Which partition is read: the remainder by the number of those that have something.
    pub pick: u64,
}

/// The way between a member and the log.
pub trait Line: Debug + Send + Sync {
    /// Comes back when the member may act: at once, unless its process stands still.
    fn awake(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
    /// Comes back when the member has read something.
    fn turn(&self) -> Pin<Box<dyn Future<Output = Turn> + Send + '_>>;
    /// Comes back when a question about topics was answered, or was not.
    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + '_>>;
}

/// A line that never holds anything up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direct;

impl Line for Direct {
    fn awake(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    fn turn(&self) -> Pin<Box<dyn Future<Output = Turn> + Send + '_>> {
        Box::pin(std::future::ready(Turn { records: 1000, pick: 0 }))
    }

    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[derive(Debug, Default)]
struct Partition {
    start: i64,
    end: i64,
    /// Ordered by offset.
    records: Vec<Record>,
}

#[derive(Debug)]
struct Topic {
    incarnation: Arc<str>,
    partitions: Vec<Partition>,
}

#[derive(Debug, Default)]
struct Inner {
    topics: BTreeMap<Arc<str>, Topic>,
    groups: BTreeMap<Arc<str>, Group>,
    incarnations: u64,
    members: u64,
}

impl Inner {
    fn partition(&self, at: &TopicPartition) -> Option<&Partition> {
        self.topics.get(&at.topic)?.partitions.get(usize::try_from(at.partition).ok()?)
    }

    fn partition_mut(&mut self, at: &TopicPartition) -> Option<&mut Partition> {
        self.topics.get_mut(&at.topic)?.partitions.get_mut(usize::try_from(at.partition).ok()?)
    }

    fn all(&self) -> Vec<TopicPartition> {
        let of = |(topic, held): (&Arc<str>, &Topic)| {
            let topic = Arc::clone(topic);
            (0..held.partitions.len())
                .map(move |number| TopicPartition { topic: Arc::clone(&topic), partition: number as i32 })
        };
        self.topics.iter().flat_map(of).collect()
    }
}

/// See the module. Cheap to clone; the clones are one log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    inner: Arc<Mutex<Inner>>,
    /// Said whenever something was written.
    written: Arc<Notify>,
}

impl Log {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a topic, or makes one anew: empty, under another identity.
    pub fn create_topic(&self, topic: &str, partitions: usize) {
        let mut inner = self.inner();
        inner.incarnations += 1;
        let incarnation = format!("script-{}", inner.incarnations).into();
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        inner.topics.insert(topic.into(), Topic { incarnation, partitions });
        let all = inner.all();
        inner.groups.values_mut().for_each(|group| group.rebalance(&all));
    }

    /// Writes a record at its offset, or at the end if that is lower, and tells where it lies now. Offsets that are left out are gaps, as
    /// transaction markers and compaction leave them.
    ///
    /// # Errors
    ///
    /// The topic has no such partition.
    pub fn append(&self, mut record: Record) -> Result<i64, Failure> {
        let offset = {
            let mut inner = self.inner();
            let held = inner.partition_mut(&record.at).ok_or_else(|| unknown(&record.at))?;
            record.offset = record.offset.max(held.end);
            held.end = record.offset + 1;
            let offset = record.offset;
            held.records.push(record);
            offset
        };
        self.written.notify_waiters();
        Ok(offset)
    }

    /// Moves the end of a partition up: nothing lies between.
    ///
    /// # Errors
    ///
    /// The topic has no such partition.
    pub fn extend(&self, at: &TopicPartition, end: i64) -> Result<(), Failure> {
        {
            let mut inner = self.inner();
            let held = inner.partition_mut(at).ok_or_else(|| unknown(at))?;
            held.end = held.end.max(end);
        }
        self.written.notify_waiters();
        Ok(())
    }

    /// First offset and end of a partition.
    pub fn range(&self, at: &TopicPartition) -> Option<LogRange> {
        self.inner().partition(at).map(|held| LogRange { start: held.start, end: held.end })
    }

    /// All partitions of all topics.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        self.inner().all()
    }

    /// Records of a partition from an offset on.
    pub fn read(&self, at: &TopicPartition, from: i64, most: usize) -> Vec<Record> {
        let inner = self.inner();
        let Some(held) = inner.partition(at) else { return Vec::new() };
        let first = held.records.partition_point(|record| record.offset < from);
        held.records[first..].iter().take(most).cloned().collect()
    }

    /// A source that reads as a member of a group. It joins when it is run.
    pub fn source(&self, group: &str, line: Arc<dyn Line>) -> ScriptSource {
        let mut inner = self.inner();
        inner.members += 1;
        let id = inner.members;
        drop(inner);
        ScriptSource { log: self.clone(), group: group.into(), id, line }
    }

    /// Lets a member have a partition; its present one lets it go first.
    pub fn move_to(&self, group: &str, at: &TopicPartition, member: MemberId) {
        if let Some(group) = self.inner().groups.get_mut(group) {
            group.want(at, member);
        }
    }

    /// Ends the session of a member: others get its partitions at once; it hears of it when it is awake, and joins again.
    pub fn expel(&self, group: &str, member: MemberId) {
        let mut inner = self.inner();
        let all = inner.all();
        if let Some(group) = inner.groups.get_mut(group) {
            group.expel(member, &all);
        }
    }

    fn join(&self, group: &Arc<str>, id: MemberId) -> mpsc::UnboundedReceiver<group::Instruction> {
        let (sender, instructions) = mpsc::unbounded_channel();
        let mut inner = self.inner();
        let all = inner.all();
        inner.groups.entry(Arc::clone(group)).or_default().join(id, sender, &all);
        instructions
    }

    fn leave(&self, group: &Arc<str>, id: MemberId) {
        let mut inner = self.inner();
        let all = inner.all();
        if let Some(group) = inner.groups.get_mut(group) {
            group.leave(id, &all);
        }
    }

    fn released(&self, group: &Arc<str>, id: MemberId, partitions: &[TopicPartition]) {
        if let Some(group) = self.inner().groups.get_mut(group) {
            group.released(id, partitions);
        }
    }
}

fn unknown(at: &TopicPartition) -> Failure {
    Failure::operator("script", format!("the log has no partition {at}; make the topic first"))
}

/// A member of a group, as the source of a pipeline. Cheap to clone; the clones are the same member.
#[derive(Clone, Debug)]
pub struct ScriptSource {
    log: Log,
    group: Arc<str>,
    id: MemberId,
    line: Arc<dyn Line>,
}

impl ScriptSource {
    /// Which member it is.
    pub fn member(&self) -> MemberId {
        self.id
    }

    /// See [`super::Source::topics`].
    pub async fn topics(&self) -> Result<Vec<TopicInfo>, Failure> {
        self.line.ask().await?;
        let info = |(topic, held): (&Arc<str>, &Topic)| TopicInfo {
            topic: Arc::clone(topic),
            incarnation: Arc::clone(&held.incarnation),
            partitions: held.partitions.len() as i32,
        };
        Ok(self.log.inner().topics.iter().map(info).collect())
    }

    /// See [`super::Source::ranges`].
    pub async fn ranges(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, LogRange)>, Failure> {
        self.line.ask().await?;
        let range =
            |at: &TopicPartition| self.log.range(at).map(|range| (at.clone(), range)).ok_or_else(|| unknown(at));
        partitions.iter().map(range).collect()
    }

    /// See [`super::Source::offset_at_time`].
    pub async fn offset_at_time(&self, at: &TopicPartition, time_ms: i64) -> Result<Option<i64>, Failure> {
        self.line.ask().await?;
        let inner = self.log.inner();
        let held = inner.partition(at).ok_or_else(|| unknown(at))?;
        let found = held.records.iter().find(|record| record.timestamp_ms.is_some_and(|time| time >= time_ms));
        Ok(found.map(|record| record.offset))
    }

    /// See [`super::Source::run`]. Needs a runtime: the member is a task.
    pub fn run(&self) -> Result<SourceHandle, Failure> {
        Ok(self.spawn(true, Delivery::new()))
    }

    /// See [`super::Source::read`]. Needs a runtime.
    pub fn read(&self, ranges: Vec<ReadRange>) -> Result<SourceHandle, Failure> {
        let (mut delivery, ends) = Delivery::new();
        for range in &ranges {
            delivery.insert(&range.at, Some((range.from, range.generation)), Some(range.to));
        }
        Ok(self.spawn(false, (delivery, ends)))
    }

    fn spawn(&self, joins: bool, (delivery, ends): (Delivery, super::delivery::Ends)) -> SourceHandle {
        let (sender, commands) = mpsc::unbounded_channel();
        let member = Member {
            log: self.log.clone(),
            group: joins.then(|| Arc::clone(&self.group)),
            id: self.id,
            line: Arc::clone(&self.line),
            delivery,
            commands,
        };
        tokio::spawn(member.run());
        ends.handle(sender, None)
    }
}
