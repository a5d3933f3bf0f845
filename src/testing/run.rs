//! One delivery: processes, what happens to them, and how it ends.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::checked::Config;
use crate::core::failure::Failure;
use crate::core::record::TopicPartition;
use crate::runtime::progress::Progress;
use crate::runtime::replay::whole_topic;
use crate::runtime::supervisor::{self, Ended, Pipeline, RunOptions};
use crate::sink::bookkeep::{self, QuarantineFilter};
use crate::sink::{Session, Sink};
use crate::source::Source;
use crate::source::script::{Direct, Line, Log, MemberId, Turn};

use super::Delivery;
use super::faults::{Faults, Way};
use super::random::Random;
use super::scenario::{Scenario, counts_records};

/// After so long without a step nothing is waited for any more.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at the checkpoints.
const LOOK: Duration = Duration::from_millis(10);
/// Tries to begin and ends by itself that are forgiven a delivery beside those that its faults explain.
const FORGIVEN: u64 = 3;
/// Most records in quarantine that a report names.
const NAMED: u32 = 1000;

/// What a delivery did, and what was seen.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The log as it was delivered.
    log: Log,
    /// The seed.
    pub seed: u64,
    /// Records on the log.
    pub records: usize,
    /// How many of them had come before (a restart of the connector).
    pub repeated: usize,
    /// Processes that died.
    pub crashes: usize,
    /// Partitions that were moved.
    pub rebalances: usize,
    /// Replays beside the live processes that came to their end.
    pub replays: usize,
    /// Commits that were made and not acknowledged.
    pub lost_but_made: u64,
    /// Commits that were neither made nor acknowledged.
    pub lost_and_not_made: u64,
    /// Connections that were cut otherwise.
    pub cuts: u64,
    /// Changes that took effect, as far as processes lived to tell.
    pub applied: u64,
    /// Changes that lost to a newer one, as far as processes lived to tell.
    pub superseded: u64,
    /// Records that were kept aside.
    pub quarantined: Vec<Quarantined>,
}

/// A record that was kept aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its partition.
    pub at: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// The reason's code.
    pub reason: String,
    /// What is wrong.
    pub detail: String,
}

impl fmt::Display for Quarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} offset {}: {} ({})", self.at, self.offset, self.detail, self.reason)
    }
}

/// How a process reads.
#[derive(Debug)]
struct Reading(std::sync::Mutex<Random>);

impl Line for Reading {
    fn awake(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Direct.awake()
    }

    fn turn(&self) -> std::pin::Pin<Box<dyn Future<Output = Turn> + Send + '_>> {
        let mut random = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let turn = Turn { records: 1 + random.below(40), pick: random.next() };
        Box::pin(std::future::ready(turn))
    }

    fn ask(&self) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + '_>> {
        Direct.ask()
    }
}

struct Process {
    member: MemberId,
    way: Arc<Way>,
    stop: CancellationToken,
    progress: Progress,
    task: JoinHandle<Result<Ended, Failure>>,
}

/// What is done to a delivery while it is under way.
#[derive(Clone, Copy, Debug)]
enum Act {
    Crash,
    Rebalance,
    Replay,
}

struct World {
    config: Arc<Config>,
    sink: Sink,
    log: Log,
    random: Random,
    faults: Arc<Faults>,
    interleaved: bool,
    admin: Session,
    processes: Vec<Process>,
    dead: Vec<Process>,
    /// What reads beside the live processes.
    beside: Pipeline,
    replays: Vec<JoinHandle<Result<Ended, Failure>>>,
    ended: u64,
    report: Report,
}

pub(super) async fn deliver(scenario: &Scenario, delivery: &Delivery) -> Result<Report, Failure> {
    let config = scenario.checked(delivery.rows)?;
    let mut random = Random::new(delivery.seed);
    let restarts = delivery.restarts && !counts_records(&config);
    let (records, repeated) = delivery.order(scenario.records(), restarts, &mut random);
    let log = scenario.log();
    let sink = Sink::new(&config.sink)?;
    let source = Source::Script(log.source(&config.pipeline, Arc::new(Direct)));
    let beside = Pipeline::with(Arc::clone(&config), sink.clone(), source).await?;
    let faults = Faults::new(random.next(), delivery.lost_acknowledgements, delivery.cuts);
    let processes = if config.batch.align_wait.is_some() { 1 } else { delivery.processes };
    let admin = sink.session("testing").await?;
    let (seed, written) = (delivery.seed, records.len());
    let report = Report { log: log.clone(), seed, records: written, repeated, ..Report::default() };
    let mut world = World {
        config,
        sink,
        log,
        random,
        faults: Arc::new(faults),
        interleaved: delivery.interleaved,
        admin,
        processes: Vec::new(),
        dead: Vec::new(),
        beside,
        replays: Vec::new(),
        ended: 0,
        report,
    };
    for _ in 0..processes {
        world.start().await?;
    }
    let done = world.run(delivery, records).await;
    world.stop().await;
    done?;
    world.report().await
}

impl World {
    async fn start(&mut self) -> Result<(), Failure> {
        let way = Arc::new(Way::new(self.sink.clone(), self.config.sink.dialect, Arc::clone(&self.faults)));
        let line: Arc<dyn Line> = match self.interleaved {
            true => Arc::new(Reading(std::sync::Mutex::new(Random::new(self.random.next())))),
            false => Arc::new(Direct),
        };
        let source = self.log.source(&self.config.pipeline, line);
        let member = source.member();
        let pipeline = loop {
            let (config, source) = (Arc::clone(&self.config), Source::Script(source.clone()));
            match Pipeline::with(config, Sink::Proxy(Arc::clone(&way) as _), source).await {
                Ok(pipeline) => break pipeline,
                Err(failure) => self.forgive(failure)?,
            }
        };
        let (stop, progress) = (CancellationToken::new(), Progress::default());
        let options = RunOptions { until_caught_up: false, stop: stop.clone(), progress: progress.clone() };
        let task = tokio::spawn(async move { supervisor::run(&pipeline, options).await });
        self.processes.push(Process { member, way, stop, progress, task });
        Ok(())
    }

    /// A process may end by what is done to it; whoever ends more often ends by itself.
    fn forgive(&mut self, failure: Failure) -> Result<(), Failure> {
        self.ended += 1;
        if self.ended <= FORGIVEN + self.faults.injected() { Ok(()) } else { Err(failure) }
    }

    /// Writes the log piece by piece, with something done between the pieces, and waits until all is applied.
    async fn run(&mut self, delivery: &Delivery, records: Vec<crate::core::record::Record>) -> Result<(), Failure> {
        let mut acts = vec![Act::Crash; delivery.crashes];
        acts.extend(vec![Act::Rebalance; delivery.rebalances]);
        acts.extend(vec![Act::Replay; delivery.replays]);
        let piece = records.len().div_ceil(acts.len() + 1).max(1);
        for piece in records.chunks(piece) {
            for record in piece {
                self.log.append(record.clone())?;
            }
            if acts.is_empty() {
                continue;
            }
            // Time for a part of it, or for all.
            sleep(Duration::from_millis(self.random.below(30) as u64)).await;
            let act = acts.swap_remove(self.random.below(acts.len()));
            self.act(act).await?;
        }
        for act in acts {
            self.act(act).await?;
        }
        self.settle().await
    }

    async fn act(&mut self, act: Act) -> Result<(), Failure> {
        let which = self.random.below(self.processes.len());
        match act {
            Act::Crash => {
                let process = self.processes.swap_remove(which);
                process.way.die();
                process.stop.cancel();
                self.log.expel(&self.config.pipeline, process.member);
                self.dead.push(process);
                self.report.crashes += 1;
                self.start().await?;
            }
            Act::Rebalance => {
                let partitions = self.log.partitions();
                if let Some(at) = partitions.get(self.random.below(partitions.len())) {
                    self.log.move_to(&self.config.pipeline, at, self.processes[which].member);
                    self.report.rebalances += 1;
                }
            }
            Act::Replay => {
                let topics: Vec<_> = self.log.partitions().into_iter().map(|at| at.topic).collect();
                if let Some(topic) = topics.get(self.random.below(topics.len())).cloned() {
                    let pipeline = self.beside.clone();
                    self.replays.push(tokio::spawn(async move { whole_topic(&pipeline, &topic, "testing").await }));
                }
            }
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Failure> {
        let mut seen = HashMap::new();
        let mut since = Instant::now();
        loop {
            self.tend().await?;
            let stored = bookkeep::checkpoints(&mut self.admin, &self.config.pipeline).await?;
            let stored: HashMap<TopicPartition, i64> =
                stored.into_iter().map(|checkpoint| (checkpoint.at, checkpoint.next_offset)).collect();
            let end = |at: &TopicPartition| self.log.range(at).map_or(0, |range| range.end);
            let behind: BTreeMap<_, _> = self
                .log
                .partitions()
                .into_iter()
                .map(|at| (at.clone(), (stored.get(&at).copied().unwrap_or(0), end(&at))))
                .filter(|(_, (next, end))| next < end)
                .collect();
            if behind.is_empty() && self.replays.iter().all(JoinHandle::is_finished) {
                break;
            }
            if stored != seen {
                (seen, since) = (stored, Instant::now());
            }
            if since.elapsed() > PATIENCE {
                let places = behind.iter().map(|(at, (next, end))| format!("{at} is at {next} of {end}"));
                let trouble = self.processes.iter().flat_map(|process| process.progress.unready());
                let what = places.chain(trouble).collect::<Vec<_>>().join("; ");
                return Err(Failure::operator("testing", format!("nothing goes on any more: {what}")));
            }
            sleep(LOOK).await;
        }
        for replay in std::mem::take(&mut self.replays) {
            // One that was refused (it began before anything was applied) proves nothing, and is not counted.
            self.report.replays += usize::from(matches!(replay.await, Ok(Ok(Ended::CaughtUp))));
        }
        Ok(())
    }

    /// Looks after the processes: one that ended is started again, one that needs a person ends the delivery.
    async fn tend(&mut self) -> Result<(), Failure> {
        while let Some(which) = self.processes.iter().position(|process| process.task.is_finished()) {
            let process = self.processes.swap_remove(which);
            self.count(&process);
            match process.task.await {
                Ok(Ok(_)) => {}
                Ok(Err(failure)) => self.forgive(failure)?,
                Err(error) => {
                    let what = format!("a process panicked: {error}; that is a defect of lastword");
                    return Err(Failure::operator("testing", what));
                }
            }
            self.start().await?;
        }
        for process in &self.processes {
            if let Some((at, why)) = process.progress.halts().into_iter().next() {
                return Err(Failure::operator("testing", format!("partition {at} stopped: {why}")));
            }
            if let Some(failure) = process.progress.operator_failure() {
                return Err(failure);
            }
        }
        Ok(())
    }

    fn count(&mut self, process: &Process) {
        let outcome = process.progress.outcome();
        self.report.applied += outcome.applied;
        self.report.superseded += outcome.superseded();
    }

    /// Ends all processes.
    async fn stop(&mut self) {
        self.processes.iter().for_each(|process| process.stop.cancel());
        for mut process in self.processes.drain(..).chain(self.dead.drain(..)).collect::<Vec<_>>() {
            if timeout(self.config.drain + PATIENCE, &mut process.task).await.is_err() {
                process.task.abort();
            }
            self.count(&process);
        }
    }

    async fn report(mut self) -> Result<Report, Failure> {
        self.report.quarantined = quarantined(&mut self.admin, &self.config.pipeline).await?;
        self.report.lost_but_made = self.faults.lost_landed.load(Ordering::Relaxed);
        self.report.lost_and_not_made = self.faults.lost_before.load(Ordering::Relaxed);
        self.report.cuts = self.faults.cut.load(Ordering::Relaxed);
        Ok(self.report)
    }
}

async fn quarantined(session: &mut Session, pipeline: &str) -> Result<Vec<Quarantined>, Failure> {
    let kept = bookkeep::quarantine_list(session, pipeline, &QuarantineFilter::default(), NAMED).await?;
    let named = kept.into_iter().map(|entry| Quarantined {
        at: entry.at,
        offset: entry.offset,
        reason: entry.reason,
        detail: entry.detail,
    });
    Ok(named.collect())
}

/// Replays every topic of a log that was delivered.
pub(super) async fn replay(scenario: &Scenario, Report { log, .. }: &Report) -> Result<(), Failure> {
    let config = scenario.checked(None)?;
    let source = Source::Script(log.source(&config.pipeline, Arc::new(Direct)));
    let pipeline = Pipeline::with(Arc::clone(&config), Sink::new(&config.sink)?, source).await?;
    let mut topics: Vec<_> = log.partitions().into_iter().map(|at| at.topic).collect();
    topics.dedup();
    for topic in topics {
        let replayed = whole_topic(&pipeline, &topic, "testing").await;
        replayed.map_err(|failure| failure.context(format_args!("replay of {topic}")))?;
    }
    Ok(())
}
