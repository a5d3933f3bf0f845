//! The service: a source, the lanes, and what passes between them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::checked::{Config, KafkaConfig, SourceConfig, Start};
use crate::core::failure::Failure;
use crate::core::record::TopicPartition;
use crate::core::table::fnv1a;
use crate::sink::bookkeep::{self, Checkpoint, ClaimRequest};
use crate::sink::{Session, Sink};
use crate::source::registry::Registry;
use crate::source::{LogEvent, ReadRange, Source, SourceCommand, SourceEvent, SourceHandle, StartAt};

use super::lane::{LaneControl, LaneHandle, Shared, out_of_log, spawn};
use super::lookup::Scopes;
use super::planner::Planner;
use super::progress::{PartitionState, Progress};
use super::tables::Tables;
use super::upkeep;

/// How often the supervisor looks whether everything is caught up.
const CAUGHT_UP_CHECK: Duration = Duration::from_millis(100);
/// How often the ends of the partitions are looked up for lag.
const LAG_REFRESH: Duration = Duration::from_secs(5);

/// Codes of a source that does not find a position in the log.
const OUT_OF_RANGE: [&str; 3] = ["kafka AutoOffsetReset", "kafka OffsetOutOfRange", "kafka NoOffset"];
/// Before such a position is compared with the log.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every partition reached the end that it had when the run began, or is halted.
    CaughtUp,
    /// It was told to stop.
    Stopped,
}

/// What a run needs beyond its configuration.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// End at the end offsets that the partitions have now.
    pub until_caught_up: bool,
    /// Told to stop: finish what is in flight and end.
    pub stop: CancellationToken,
    /// Where progress is written.
    pub progress: Progress,
}

/// Everything that lanes of a pipeline, of a replay or of a retry are made of.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The configuration.
    pub config: Arc<Config>,
    /// The destination.
    pub sink: Sink,
    /// The source.
    pub source: Source,
    /// The schemas of framed records.
    pub registry: Registry,
    /// Tables.
    pub tables: Arc<Tables>,
    /// Scopes of tokens.
    pub scopes: Arc<Scopes>,
}

impl Pipeline {
    /// Prepares source and destination; creates or checks the bookkeeping.
    pub async fn open(config: Arc<Config>) -> Result<Self, Failure> {
        let sink = Sink::new(&config.sink)?;
        let source = Source::new(&config.source, &config.pipeline)?;
        Self::with(config, sink, source).await
    }

    /// [`Self::open`] with a given source and destination, whatever the configuration says of them.
    pub async fn with(config: Arc<Config>, sink: Sink, source: Source) -> Result<Self, Failure> {
        let registry = Registry::new(&config)?;
        let mut session = sink.session("start").await?;
        bookkeep::migrate(&mut session).await?;
        let tables = Arc::new(Tables::new(Arc::clone(&config), sink.clone(), true));
        let scopes = Arc::new(Scopes::new(sink.clone()));
        Ok(Self { config, sink, source, registry, tables, scopes })
    }

    /// A planner under the checkpoints of `checkpoint_owner`.
    pub fn planner(&self, checkpoint_owner: &Arc<str>, repair: bool) -> Planner {
        Planner::new(
            Arc::clone(&self.config),
            Arc::clone(&self.tables),
            Arc::clone(&self.scopes),
            Arc::clone(checkpoint_owner),
            repair,
        )
    }

    /// Number of lanes: SQLite has one writer. (What stands behind a proxy is the configuration's affair.)
    pub fn lanes(&self) -> usize {
        if matches!(self.sink, Sink::Sqlite(_)) { 1 } else { self.config.sink.writers.max(1) }
    }
}

/// Identity of a run in checkpoints: host, process id, the time it began and its number in the process, so that no two are
/// the same.
pub fn owner_identity() -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let began = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}/{}/{}/{run}", host.trim(), std::process::id(), began.as_millis())
}

/// Runs a pipeline until it is told to stop, is caught up (if that was asked for), or cannot go on.
pub async fn run(pipeline: &Pipeline, options: RunOptions) -> Result<Ended, Failure> {
    let owner = owner_identity();
    let checkpoint_owner: Arc<str> = pipeline.config.pipeline.as_str().into();
    let mut admin = pipeline.sink.session("supervisor").await?;
    start_at_latest(pipeline, &mut admin, &owner).await?;
    let targets = if options.until_caught_up { Some(ends(&pipeline.source).await?) } else { None };
    let handle = pipeline.source.run()?;
    let shared = Arc::new(Shared {
        config: Arc::clone(&pipeline.config),
        sink: pipeline.sink.clone(),
        source: pipeline.source.clone(),
        registry: pipeline.registry.clone(),
        checkpoint_owner: Arc::clone(&checkpoint_owner),
        owner,
        progress: options.progress.clone(),
        commands: handle.commands.clone(),
        first_offsets: None,
    });
    let lanes = (0..pipeline.lanes())
        .map(|number| spawn(number, Arc::clone(&shared), pipeline.planner(&checkpoint_owner, false)))
        .collect();
    let upkeep = CancellationToken::new();
    let keeping = tokio::spawn(upkeep::serve(pipeline.clone(), upkeep.clone()));
    let ended = Supervisor::new(shared, handle, lanes, admin, options, targets).run().await;
    upkeep.cancel();
    let _ = keeping.await;
    // A bounded run has no "now and then".
    if matches!(ended, Ok(Ended::CaughtUp))
        && let Err(failure) = upkeep::round(pipeline).await
    {
        tracing::warn!(error = %failure, "tombstones were not collected, tables not swept");
    }
    ended
}

/// Reads ranges once under checkpoints of their own (a replay) until all are applied or it is told to stop. `ranges` come with
/// the incarnations of their topics, `first` tells where each begins.
pub async fn run_ranges(
    pipeline: &Pipeline,
    checkpoint_owner: &Arc<str>,
    repair: bool,
    ranges: Vec<(ReadRange, Arc<str>)>,
    first: HashMap<TopicPartition, i64>,
    options: RunOptions,
) -> Result<Ended, Failure> {
    let targets = ranges.iter().map(|(range, _)| (range.at.clone(), range.to)).collect();
    let claims: Vec<_> = ranges
        .iter()
        .map(|(range, incarnation)| (range.at.clone(), range.generation, Arc::clone(incarnation)))
        .collect();
    let handle = pipeline.source.read(ranges.into_iter().map(|(range, _)| range).collect())?;
    let shared = Arc::new(Shared {
        config: Arc::clone(&pipeline.config),
        sink: pipeline.sink.clone(),
        source: pipeline.source.clone(),
        registry: pipeline.registry.clone(),
        checkpoint_owner: Arc::clone(checkpoint_owner),
        owner: owner_identity(),
        progress: options.progress.clone(),
        commands: handle.commands.clone(),
        first_offsets: Some(first),
    });
    let lanes: Vec<LaneHandle> = (0..pipeline.lanes())
        .map(|number| spawn(number, Arc::clone(&shared), pipeline.planner(checkpoint_owner, repair)))
        .collect();
    // Claimed before the first record is passed on: lanes look at what is said here before they look at records.
    for (at, generation, incarnation) in claims {
        shared.progress.claiming(&at);
        let (reply, _) = oneshot::channel();
        let lane = lane_of(&at, lanes.len());
        let _ = lanes[lane].control.send(LaneControl::Claim { partitions: vec![(at, generation, incarnation)], reply });
    }
    let admin = pipeline.sink.session("replay").await?;
    let targets = Some(targets);
    let supervisor = Supervisor::new(shared, handle, lanes, admin, options, targets);
    supervisor.run().await
}

/// Settles `start = "latest"` when the pipeline has no checkpoint yet: every partition that exists now begins at its end.
async fn start_at_latest(pipeline: &Pipeline, admin: &mut Session, owner: &str) -> Result<(), Failure> {
    let latest = matches!(&pipeline.config.source, SourceConfig::Kafka(KafkaConfig { start: Start::Latest, .. }));
    if !latest || !bookkeep::checkpoints(admin, &pipeline.config.pipeline).await?.is_empty() {
        return Ok(());
    }
    let mut requests = Vec::new();
    for topic in pipeline.source.topics().await? {
        for partition in 0..topic.partitions {
            let at = TopicPartition { topic: Arc::clone(&topic.topic), partition };
            requests.push(ClaimRequest { at, incarnation: Arc::clone(&topic.incarnation) });
        }
    }
    let first = ends(&pipeline.source).await?;
    bookkeep::claim(admin, &pipeline.config.pipeline, owner, &requests, &first).await?;
    Ok(())
}

/// The end of every partition of the selected topics, as it is now.
pub async fn ends(source: &Source) -> Result<HashMap<TopicPartition, i64>, Failure> {
    let partitions: Vec<TopicPartition> = source
        .topics()
        .await?
        .into_iter()
        .flat_map(|info| {
            (0..info.partitions).map(move |partition| TopicPartition { topic: Arc::clone(&info.topic), partition })
        })
        .collect();
    Ok(source.ranges(&partitions).await?.into_iter().map(|(at, range)| (at, range.end)).collect())
}

/// Partitions that the source gave, with the way to answer it.
type Assignment = (Vec<(TopicPartition, u64)>, oneshot::Sender<Vec<(TopicPartition, StartAt)>>);

struct Supervisor {
    shared: Arc<Shared>,
    handle: SourceHandle,
    lanes: Vec<LaneHandle>,
    admin: Session,
    options: RunOptions,
    targets: Option<HashMap<TopicPartition, i64>>,
    incarnations: HashMap<Arc<str>, Arc<str>>,
    /// Assignments of topics that could not be looked up yet.
    unknown_topics: Vec<Assignment>,
    /// An input that its lane has no room for yet. Nothing else is taken from the source meanwhile; control goes on.
    held: Option<(usize, LogEvent)>,
}

impl Supervisor {
    fn new(
        shared: Arc<Shared>,
        handle: SourceHandle,
        lanes: Vec<LaneHandle>,
        admin: Session,
        options: RunOptions,
        targets: Option<HashMap<TopicPartition, i64>>,
    ) -> Self {
        let (incarnations, unknown_topics) = (HashMap::new(), Vec::new());
        Self { shared, handle, lanes, admin, options, targets, incarnations, unknown_topics, held: None }
    }

    async fn run(mut self) -> Result<Ended, Failure> {
        let outcome = self.work().await;
        self.stop().await;
        outcome
    }

    async fn work(&mut self) -> Result<Ended, Failure> {
        let mut check = tokio::time::interval(CAUGHT_UP_CHECK);
        let mut lag_refreshed: Option<Instant> = None;
        let stop = self.options.stop.clone();
        loop {
            let waiting_lane = self.held.as_ref().map(|(lane, _)| self.lanes[*lane].input.clone());
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Stopped),
                event = self.handle.control.recv() => match event {
                    Some(event) => self.control(event).await?,
                    None => return Err(Failure::operator("source_ended", "the source ended by itself")),
                },
                permit = room(waiting_lane), if self.held.is_some() => {
                    if let (Some(permit), Some((_, input))) = (permit, self.held.take()) {
                        permit.send(input);
                    }
                },
                event = self.handle.records.recv(), if self.held.is_none() => match event {
                    Some(event) => self.records(event),
                    None => return Err(Failure::operator("source_ended", "the source ended by itself")),
                },
                _ = check.tick() => {
                    if lag_refreshed.is_none_or(|at| at.elapsed() > LAG_REFRESH) {
                        lag_refreshed = Some(Instant::now());
                        self.refresh_lag();
                        self.retry_unknown_topics().await;
                    }
                    if self.caught_up().await? {
                        return Ok(Ended::CaughtUp);
                    }
                },
            }
        }
    }

    fn lane_of(&self, at: &TopicPartition) -> usize {
        lane_of(at, self.lanes.len())
    }

    fn records(&mut self, event: LogEvent) {
        if let Some(at) = event.partition() {
            self.held = Some((self.lane_of(at), event));
        }
    }

    async fn control(&mut self, event: SourceEvent) -> Result<(), Failure> {
        match event {
            SourceEvent::Assigned { partitions, reply } => self.assigned(partitions, reply).await,
            SourceEvent::Revoked { partitions, lost, reply } => self.revoked(partitions, lost, reply),
            SourceEvent::PartitionFailed { at, failure } => self.partition_failed(at, failure),
            SourceEvent::Warning(failure) => {
                tracing::warn!(error = %failure, "the source has trouble");
                self.shared.progress.source_trouble(Some(failure.to_string()));
            }
            SourceEvent::Failed(failure) => return Err(failure),
        }
        Ok(())
    }

    /// A partition cannot be read. A broker says "out of range" also for a moment after a topic was made, or its leader moved;
    /// so the position is compared with the log before the partition is given up.
    fn partition_failed(&self, at: TopicPartition, failure: Failure) {
        let shared = Arc::clone(&self.shared);
        let lane = self.lanes[self.lane_of(&at)].control.clone();
        let place_lost = OUT_OF_RANGE.contains(&failure.code.as_str());
        tokio::spawn(async move {
            if place_lost {
                tokio::time::sleep(LOOK_AGAIN).await;
                let next = shared.progress.partitions().get(&at).map(|partition| partition.next);
                let log = shared
                    .source
                    .ranges(std::slice::from_ref(&at))
                    .await
                    .ok()
                    .and_then(|found| found.first().map(|(_, log)| *log));
                if let (Some(next), Some(log)) = (next, log)
                    && (log.start..=log.end).contains(&next)
                {
                    tracing::warn!(partition = %at, error = %failure, "its position lies in the log; reading it again");
                    let _ = lane.send(LaneControl::Restart { partitions: vec![at] });
                    return;
                }
            }
            tracing::error!(partition = %at, error = %failure, "the partition cannot be read");
            // The lane looks at its fence from now on: `offsets set` must start it again, also at the same offset.
            let _ = lane.send(LaneControl::Unreadable { at, why: failure.to_string() });
        });
    }

    async fn assigned(
        &mut self,
        partitions: Vec<(TopicPartition, u64)>,
        reply: oneshot::Sender<Vec<(TopicPartition, StartAt)>>,
    ) {
        self.shared.progress.source_trouble(None);
        // A topic may have been made anew since it was last looked at.
        match self.shared.source.topics().await {
            Ok(topics) => self.incarnations.extend(topics.into_iter().map(|info| (info.topic, info.incarnation))),
            Err(failure) => tracing::warn!(error = %failure, "the topics cannot be looked up"),
        }
        if partitions.iter().any(|(at, _)| !self.incarnations.contains_key(&at.topic)) {
            // Claimed under a wrong incarnation, a topic would look as if it had been made anew.
            self.unknown_topics.push((partitions, reply));
            return;
        }
        let mut by_lane: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for (at, generation) in partitions {
            let Some(incarnation) = self.incarnations.get(&at.topic).cloned() else { continue };
            by_lane.entry(self.lane_of(&at)).or_default().push((at, generation, incarnation));
        }
        let mut replies = Vec::new();
        for (lane, partitions) in by_lane {
            let (answer, answered) = oneshot::channel();
            let _ = self.lanes[lane].control.send(LaneControl::Claim { partitions, reply: answer });
            replies.push(answered);
        }
        let controls: Vec<_> = self.lanes.iter().map(|lane| lane.control.clone()).collect();
        tokio::spawn(async move {
            let mut starts = Vec::new();
            for answered in replies {
                starts.extend(answered.await.unwrap_or_default());
            }
            if let Err(late) = reply.send(starts) {
                // The source did not wait so long and parked them all.
                for (at, start) in late {
                    if start != StartAt::Later {
                        let _ =
                            controls[lane_of(&at, controls.len())].send(LaneControl::Restart { partitions: vec![at] });
                    }
                }
            }
        });
    }

    /// Takes up assignments whose topics could not be looked up when they came. The source has parked them by now, or will.
    async fn retry_unknown_topics(&mut self) {
        for (partitions, reply) in std::mem::take(&mut self.unknown_topics) {
            self.assigned(partitions, reply).await;
        }
    }

    fn revoked(&mut self, partitions: Vec<TopicPartition>, lost: bool, reply: oneshot::Sender<()>) {
        for (waiting, _) in &mut self.unknown_topics {
            waiting.retain(|(at, _)| !partitions.contains(at));
        }
        self.unknown_topics.retain(|(waiting, _)| !waiting.is_empty());
        let mut by_lane: BTreeMap<usize, Vec<TopicPartition>> = BTreeMap::new();
        for at in partitions {
            by_lane.entry(self.lane_of(&at)).or_default().push(at);
        }
        let mut replies = Vec::new();
        for (lane, partitions) in by_lane {
            let (answer, answered) = oneshot::channel();
            let _ = self.lanes[lane].control.send(LaneControl::Revoke { partitions, reply: answer });
            replies.push(answered);
        }
        if lost {
            // Whatever is in flight will miss its compare-and-swap once the new owner has claimed.
            let _ = reply.send(());
            return;
        }
        tokio::spawn(async move {
            for answered in replies {
                let _ = answered.await;
            }
            let _ = reply.send(());
        });
    }

    fn refresh_lag(&self) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let partitions: Vec<TopicPartition> = shared.progress.partitions().into_keys().collect();
            if let Ok(ranges) = shared.source.ranges(&partitions).await {
                for (at, range) in ranges {
                    shared.progress.end(&at, range.end);
                }
            }
        });
    }

    /// Whether every partition has reached its end, here or in another process of the group.
    async fn caught_up(&mut self) -> Result<bool, Failure> {
        let Some(targets) = &self.targets else { return Ok(false) };
        // A service waits for the operator; a bounded run would wait for ever.
        if let Some(failure) = self.shared.progress.operator_failure() {
            return Err(failure);
        }
        let own = self.shared.progress.partitions();
        let behind = |at: &TopicPartition, end: i64| match own.get(at) {
            Some(partition) => partition.next < end && !matches!(partition.state, PartitionState::Halted(_)),
            None => true,
        };
        let open: Vec<(&TopicPartition, i64)> =
            targets.iter().filter(|(at, end)| behind(at, **end)).map(|(at, end)| (at, *end)).collect();
        if open.is_empty() {
            return Ok(true);
        }
        if open.iter().any(|(at, _)| own.contains_key(*at)) {
            return Ok(false);
        }
        let stored = bookkeep::checkpoints(&mut self.admin, &self.shared.checkpoint_owner).await;
        let stored: HashMap<TopicPartition, Checkpoint> = match stored {
            Ok(stored) => stored.into_iter().map(|checkpoint| (checkpoint.at.clone(), checkpoint)).collect(),
            Err(failure) => {
                tracing::debug!(error = %failure, "the checkpoints of other processes cannot be read");
                self.admin = self.shared.sink.session("supervisor").await?;
                return Ok(false);
            }
        };
        let reached = |(at, end): &(&TopicPartition, i64)| {
            *end == 0 || stored.get(*at).is_some_and(|checkpoint| checkpoint.next_offset >= *end)
        };
        if !open.iter().all(reached) {
            return Ok(false);
        }
        let checkpoints = open.iter().filter_map(|(at, _)| stored.get(*at)).collect();
        check_positions(&self.shared.source, checkpoints).await?;
        Ok(true)
    }

    /// Ends lanes first, so that nothing is in flight when the source lets its partitions go.
    async fn stop(mut self) {
        let deadline = Instant::now() + self.shared.config.drain;
        for lane in &self.lanes {
            let _ = lane.control.send(LaneControl::Stop);
        }
        for lane in &mut self.lanes {
            if tokio::time::timeout_at(deadline, &mut lane.task).await.is_err() {
                // Its connection is dropped with it: the database rolls back.
                tracing::warn!("a batch did not end in time and is given up; it will be applied again");
                lane.task.abort();
            }
        }
        let _ = self.handle.commands.send(SourceCommand::Stop);
        let ended = tokio::time::timeout(Duration::from_secs(2), async {
            while let Some(event) = self.handle.control.recv().await {
                if let SourceEvent::Revoked { reply, .. } = event {
                    let _ = reply.send(());
                }
            }
        });
        if ended.await.is_err() {
            tracing::warn!("the source did not end in time");
        }
    }
}

/// Refuses positions of partitions that this process does not hold where a claim would refuse them: a topic that was made anew
/// looks caught up to whoever compares numbers only.
async fn check_positions(source: &Source, checkpoints: Vec<&Checkpoint>) -> Result<(), Failure> {
    let topics = source.topics().await?;
    // Looked up after the checkpoints were read, so that no live process can be ahead of it.
    let partitions: Vec<TopicPartition> = checkpoints.iter().map(|checkpoint| checkpoint.at.clone()).collect();
    let ranges: HashMap<_, _> = source.ranges(&partitions).await?.into_iter().collect();
    for checkpoint in checkpoints {
        let (at, next) = (&checkpoint.at, checkpoint.next_offset);
        if let Some(info) =
            topics.iter().find(|info| info.topic == at.topic && *info.incarnation != *checkpoint.incarnation)
        {
            let what = format!(
                "topic {} was deleted and made anew: offset {next} of {at} belongs to the topic with id {}, the source now has the \
                 topic with id {}; `lastword offsets set --topic {} --partition {} --offset N` says where to go on",
                at.topic, checkpoint.incarnation, info.incarnation, at.topic, at.partition
            );
            return Err(Failure::operator("topic_recreated", what));
        }
        if let Some(failure) = ranges.get(at).and_then(|range| out_of_log(at, next, *range)) {
            return Err(failure);
        }
    }
    Ok(())
}

async fn room(lane: Option<tokio::sync::mpsc::Sender<LogEvent>>) -> Option<tokio::sync::mpsc::OwnedPermit<LogEvent>> {
    lane?.reserve_owned().await.ok()
}

/// The lane of a partition: neighbours go to different lanes, and a topic's first partition anywhere.
pub fn lane_of(at: &TopicPartition, lanes: usize) -> usize {
    (fnv1a(at.topic.as_bytes()).wrapping_add(at.partition as u64) % lanes.max(1) as u64) as usize
}
