//! Files: records as `kcat -C -J` prints them, one a line, plain or gzip, with their own topics, partitions and offsets. The
//! same checkpoints hold for them as for Kafka, so that a second run of the same files applies nothing.
//!
//! The files of a source are read in the order of `paths`; every partition's offsets must go upwards through them, but for
//! records that come again. They must not change while they are read: growing is harmless (what comes later is not read), other
//! changes are noticed at best.

mod index;
mod line;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use crate::config::checked::FileConfig;
use crate::core::failure::Failure;
use crate::core::record::TopicPartition;

use super::delivery::Delivery;
use super::{LogRange, NO_INCARNATION, ReadRange, SourceEvent, SourceHandle, TopicInfo};
use index::Index;
use line::Lines;
use reader::{End, Reader};

/// A file source. Cheap to clone; the clones share what is known of the files.
#[derive(Clone, Debug)]
pub struct FileSource(Arc<Files>);

#[derive(Debug)]
struct Files {
    paths: Vec<PathBuf>,
    topics: Vec<String>,
    index: OnceLock<Result<Index, Failure>>,
}

impl Files {
    fn selects(&self, topic: &str) -> bool {
        self.topics.is_empty() || self.topics.iter().any(|selected| selected == topic)
    }

    /// What the files hold. Reads them all the first time.
    fn index(&self) -> Result<&Index, Failure> {
        let build = || {
            let index = Index::build(&self.paths, |topic| self.selects(topic))?;
            if index.duplicates > 0 {
                tracing::info!(
                    duplicates = index.duplicates,
                    "records that are in the files more than once are read once"
                );
            }
            Ok(index)
        };
        self.index.get_or_init(build).as_ref().map_err(Clone::clone)
    }

    fn topics(&self) -> Result<Vec<TopicInfo>, Failure> {
        let mut counts: BTreeMap<Arc<str>, i32> = BTreeMap::new();
        for at in self.index()?.partitions.keys() {
            let count = counts.entry(Arc::clone(&at.topic)).or_default();
            *count = (*count).max(at.partition.saturating_add(1));
        }
        if let Some(missing) = self.topics.iter().find(|topic| !counts.contains_key(topic.as_str())) {
            let message =
                format!("the files hold no record of topic {missing}; check `topics` and `paths` in [source]");
            return Err(Failure::operator("file", message));
        }
        let incarnation: Arc<str> = NO_INCARNATION.into();
        let info = |(topic, partitions)| TopicInfo { topic, incarnation: Arc::clone(&incarnation), partitions };
        Ok(counts.into_iter().map(info).collect())
    }

    fn range(&self, at: &TopicPartition) -> Result<LogRange, Failure> {
        let partitions = &self.index()?.partitions;
        if let Some(range) = partitions.get(at) {
            return Ok(*range);
        }
        if partitions.keys().any(|held| held.topic == at.topic) {
            return Ok(LogRange { start: 0, end: 0 });
        }
        Err(Failure::operator("file", format!("the files hold no record of topic {}", at.topic)))
    }

    fn offset_at_time(&self, at: &TopicPartition, time_ms: i64) -> Result<Option<i64>, Failure> {
        self.range(at)?;
        for path in &self.paths {
            let mut lines = Lines::open(path)?;
            while let Some(record) = lines.next()? {
                if record.at == *at && record.timestamp_ms.is_some_and(|time| time >= time_ms) {
                    return Ok(Some(record.offset));
                }
            }
        }
        Ok(None)
    }
}

impl FileSource {
    /// Prepares the source. The files are read when something is first asked.
    pub fn new(config: &FileConfig) -> Result<Self, Failure> {
        if config.paths.is_empty() {
            return Err(Failure::operator("file", "[source] `paths` names no file that is there"));
        }
        let (paths, topics) = (config.paths.clone(), config.topics.clone());
        Ok(Self(Arc::new(Files { paths, topics, index: OnceLock::new() })))
    }

    /// See [`super::Source::topics`].
    pub async fn topics(&self) -> Result<Vec<TopicInfo>, Failure> {
        self.ask(Files::topics).await
    }

    /// See [`super::Source::ranges`]. A partition without a record has an empty range at 0.
    pub async fn ranges(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, LogRange)>, Failure> {
        let partitions = partitions.to_vec();
        self.ask(move |files| partitions.into_iter().map(|at| files.range(&at).map(|range| (at, range))).collect())
            .await
    }

    /// See [`super::Source::offset_at_time`].
    pub async fn offset_at_time(&self, at: &TopicPartition, time_ms: i64) -> Result<Option<i64>, Failure> {
        let at = at.clone();
        self.ask(move |files| files.offset_at_time(&at, time_ms)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Files) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let files = Arc::clone(&self.0);
        let answer = tokio::task::spawn_blocking(move || question(&files)).await;
        answer.unwrap_or_else(|error| Err(Failure::operator("file", format!("a question was cut off: {error}"))))
    }

    /// See [`super::Source::run`]. Delivers what the files hold now.
    pub fn run(&self) -> Result<SourceHandle, Failure> {
        let files = Arc::clone(&self.0);
        self.spawn(Delivery::new(), move |reader| {
            let held = &files.index()?.partitions;
            reader.assign(held.iter().map(|(at, range)| (at.clone(), *range)).collect())?;
            reader.serve()
        })
    }

    /// See [`super::Source::read`].
    pub fn read(&self, ranges: Vec<ReadRange>) -> Result<SourceHandle, Failure> {
        let files = Arc::clone(&self.0);
        let (mut delivery, ends) = Delivery::new();
        for range in &ranges {
            delivery.insert(&range.at, Some((range.from, range.generation)), Some(range.to));
        }
        self.spawn((delivery, ends), move |reader| {
            files.index()?;
            reader.serve()
        })
    }

    fn spawn(
        &self,
        (delivery, ends): (Delivery, super::delivery::Ends),
        work: impl FnOnce(&mut Reader) -> Result<(), End> + Send + 'static,
    ) -> Result<SourceHandle, Failure> {
        let (sender, commands) = mpsc::unbounded_channel();
        let mut reader =
            Reader { paths: self.0.paths.clone(), delivery, commands, pass: HashSet::new(), assigned: false };
        let thread = std::thread::Builder::new().name("lastword-files".to_owned());
        let thread = thread.spawn(move || {
            if let Err(End::Failed(failure)) = work(&mut reader) {
                reader.delivery.say(SourceEvent::Failed(failure));
            }
            if reader.assigned {
                reader.delivery.let_go(&reader.delivery.partitions(), false);
            }
        });
        let thread = thread.map_err(|error| Failure::operator("thread", format!("cannot start a thread: {error}")))?;
        Ok(ends.handle(sender, Some(thread)))
    }
}
