//! What feeds a table: topics of all pipelines of the store, as the source tells them now, and how far everyone has read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::config::checked::TableRule;
use crate::core::collect::{End, Log, Reader};
use crate::core::event::SourceTable;
use crate::core::failure::Failure;
use crate::core::record::TopicPartition;
use crate::core::table::{Contract, TableName};
use crate::sink::Session;
use crate::sink::bookkeep::{self, Checkpoint, Feed, RunningReplay};
use crate::source::{Source, TopicInfo};

use super::tables::Tables;

/// A table that this pipeline writes, with its rule.
#[derive(Clone, Debug)]
pub struct Fed {
    /// The table.
    pub table: TableName,
    /// How the configuration treats it now.
    pub rule: TableRule,
    /// Topic and source table of every feed of this pipeline.
    pub sources: Vec<(String, SourceTable)>,
}

/// One look at the store and the source. Nothing is asked twice.
#[derive(Debug)]
pub struct Survey {
    source: Source,
    feeds: Vec<Feed>,
    replays: Vec<RunningReplay>,
    topics: HashMap<String, Option<TopicInfo>>,
    checkpoints: HashMap<String, Vec<Checkpoint>>,
}

/// See [`Survey::of_table`].
#[derive(Clone, Debug, Default)]
pub struct Feeding {
    /// Every partition of every topic that feeds the table.
    pub logs: Vec<Log>,
    /// Everyone who reads one of them.
    pub readers: Vec<Reader>,
}

impl Feeding {
    /// The ends of all partitions now.
    pub fn ends(&self) -> Vec<End> {
        let end = |log: &Log| End {
            topic: log.at.topic.to_string(),
            incarnation: log.incarnation.clone(),
            partition: log.at.partition,
            end: log.end,
        };
        self.logs.iter().map(end).collect()
    }
}

impl Survey {
    /// Reads what the store knows of feeds and replays.
    pub async fn new(session: &mut Session, source: &Source) -> Result<Self, Failure> {
        Ok(Self {
            source: source.clone(),
            feeds: bookkeep::feeds(session).await?,
            replays: bookkeep::running_replays(session).await?,
            topics: HashMap::new(),
            checkpoints: HashMap::new(),
        })
    }

    /// The final-state tables that a pipeline feeds by its configuration as it is now.
    pub fn fed_by(&self, pipeline: &str, tables: &Tables) -> Vec<Fed> {
        let mut found: BTreeMap<&str, Fed> = BTreeMap::new();
        for feed in self.feeds.iter().filter(|feed| feed.pipeline == pipeline) {
            let Some(ruled) = tables.rule(&feed.topic, &feed.source) else { continue };
            let Ok(name) = ruled.name(&feed.topic, &feed.source, tables.dialect()) else { continue };
            let rule = ruled.table;
            let Ok(table) = feed.table.parse::<TableName>() else { continue };
            // The store has the schema filled in.
            let is_meant = name.table == table.table && (name.schema.is_none() || name.schema == table.schema);
            if !is_meant || rule.contract != Contract::FinalState {
                continue;
            }
            let fed =
                found.entry(&feed.table).or_insert_with(|| Fed { table, rule: rule.clone(), sources: Vec::new() });
            fed.sources.push((feed.topic.clone(), feed.source.clone()));
            // Rules that contradict each other: the more careful one.
            fed.rule.tombstones.collect &= rule.tombstones.collect;
            fed.rule.tombstones.retain = fed.rule.tombstones.retain.max(rule.tombstones.retain);
            fed.rule.resnapshot = fed.rule.resnapshot.min(rule.resnapshot);
        }
        found.into_values().collect()
    }

    /// Everything that feeds a table, by all pipelines of the store. A pipeline that changed the table but did not write down by
    /// which topics (it did not run since that is written down) feeds it by all of its topics.
    pub async fn of_table(&mut self, session: &mut Session, table: &TableName) -> Result<Feeding, Failure> {
        let name = table.to_string();
        let mut readers_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for feed in self.feeds.iter().filter(|feed| feed.table == name) {
            readers_of.entry(feed.pipeline.clone()).or_default().insert(feed.topic.clone());
        }
        for pipeline in bookkeep::writers_of(session, &name).await? {
            if readers_of.contains_key(&pipeline) {
                continue;
            }
            let stored = self.checkpoints(session, &pipeline).await?;
            let topics = stored.iter().map(|checkpoint| checkpoint.at.topic.to_string()).collect();
            readers_of.insert(pipeline, topics);
        }
        self.of_topics(session, &readers_of).await
    }

    /// The partitions of topics, each read by some pipelines.
    pub async fn of_topics(
        &mut self,
        session: &mut Session,
        readers_of: &BTreeMap<String, BTreeSet<String>>,
    ) -> Result<Feeding, Failure> {
        let topics: BTreeSet<String> = readers_of.values().flatten().cloned().collect();
        let mut feeding = Feeding { logs: self.logs(&topics).await?, readers: Vec::new() };
        for (pipeline, topics) in readers_of {
            let stored = self.checkpoints(session, pipeline).await?;
            for log in feeding.logs.iter().filter(|log| topics.contains(&*log.at.topic)) {
                let checkpoint = stored.iter().find(|checkpoint| checkpoint.at == log.at);
                let next =
                    checkpoint.filter(|found| found.incarnation == log.incarnation).map_or(0, |it| it.next_offset);
                feeding.readers.push(Reader { name: format!("pipeline {pipeline}"), at: log.at.clone(), next });
            }
        }
        for replay in self.replays.clone() {
            let stored = self.checkpoints(session, &replay.checkpoint_owner).await?;
            for range in replay.ranges.iter().filter(|range| topics.contains(&range.topic)) {
                let at = TopicPartition::new(range.topic.as_str(), range.partition);
                let next = stored.iter().find(|checkpoint| checkpoint.at == at).map_or(range.from, |it| it.next_offset);
                if next < range.to {
                    let name = format!(
                        "replay {} of {} (if its process died, `lastword replay --resume {}` ends it)",
                        replay.id, replay.pipeline, replay.id
                    );
                    feeding.readers.push(Reader { name, at, next });
                }
            }
        }
        Ok(feeding)
    }

    /// All partitions of topics that the source knows.
    async fn logs(&mut self, topics: &BTreeSet<String>) -> Result<Vec<Log>, Failure> {
        let mut incarnations = BTreeMap::new();
        for topic in topics {
            if !self.topics.contains_key(topic) {
                let info = self.source.topic(topic).await?;
                self.topics.insert(topic.clone(), info);
            }
            let Some(Some(info)) = self.topics.get(topic) else { continue };
            for partition in 0..info.partitions {
                incarnations.insert(TopicPartition::new(topic.as_str(), partition), info.incarnation.to_string());
            }
        }
        let partitions: Vec<TopicPartition> = incarnations.keys().cloned().collect();
        let ranges = self.source.ranges(&partitions).await?;
        let log = |(at, range): (TopicPartition, crate::source::LogRange)| Log {
            incarnation: incarnations.get(&at).cloned().unwrap_or_default(),
            at,
            start: range.start,
            end: range.end,
        };
        Ok(ranges.into_iter().map(log).collect())
    }

    async fn checkpoints(&mut self, session: &mut Session, owner: &str) -> Result<&[Checkpoint], Failure> {
        if !self.checkpoints.contains_key(owner) {
            let stored = bookkeep::checkpoints(session, owner).await?;
            self.checkpoints.insert(owner.to_owned(), stored);
        }
        Ok(self.checkpoints.get(owner).map_or(&[], Vec::as_slice))
    }
}
