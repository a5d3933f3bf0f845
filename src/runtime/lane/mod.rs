//! The shell around a lane: it owns the lane's connection, does what [`crate::core::lane`] says, and answers the supervisor.
//!
//! While one plan is applied (a task of its own, because a sink transaction must not be dropped half-way) the queue of the
//! next one fills. Claims and revokes wait until nothing is in flight.

mod claim;
mod opening;
mod stop;
mod takeover;

pub(super) use claim::out_of_log;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::checked::Config;
use crate::core::align::Aligner;
use crate::core::failure::{Class, Failure};
use crate::core::lane::{Lane, Limits, Next, Segment};
use crate::core::plan::{Applied, Plan};
use crate::core::record::{Record, TopicPartition};
use crate::failpoint::failpoint;
use crate::sink::{Session, Sink};
use crate::source::registry::Registry;
use crate::source::{Generation, LogEvent, Source, SourceCommand, StartAt};
use crate::telemetry::metrics;

use self::opening::Opening;
use super::planner::{Planned, Planner};
use super::progress::Progress;
use stop::Stop;
use takeover::Takeover;

/// How often an idle lane looks whether someone else raised a fence (`offsets set`, a takeover).
const FENCE_CHECK: Duration = Duration::from_secs(1);

/// What must be done before records that are queued.
#[derive(Debug)]
pub enum LaneControl {
    /// Claim partitions and say where they begin.
    Claim {
        /// The partitions, their generations and their topics' incarnations.
        partitions: Vec<(TopicPartition, Generation, Arc<str>)>,
        /// Where each begins.
        reply: oneshot::Sender<Vec<(TopicPartition, StartAt)>>,
    },
    /// Let partitions go.
    Revoke {
        /// The partitions.
        partitions: Vec<TopicPartition>,
        /// Said when nothing is in flight for them.
        reply: oneshot::Sender<()>,
    },
    /// The source parked these partitions, because it did not wait for the answer to a claim, or lost its place: start them
    /// where their queue ends.
    Restart {
        /// The partitions.
        partitions: Vec<TopicPartition>,
    },
    /// The source cannot read on in a partition until its checkpoint is moved. What it read before is applied: it may be
    /// gone from the log.
    Unreadable {
        /// The partition.
        at: TopicPartition,
        /// What to do.
        why: String,
    },
    /// Finish what is in flight and end.
    Stop,
}

/// What all lanes of a pipeline share.
#[derive(Debug)]
pub struct Shared {
    /// The configuration.
    pub config: Arc<Config>,
    /// The destination.
    pub sink: Sink,
    /// The source, for its ranges.
    pub source: Source,
    /// The schemas of framed records.
    pub registry: Registry,
    /// Name of the checkpoints: the pipeline's, or a replay's.
    pub checkpoint_owner: Arc<str>,
    /// Identity of this process in the checkpoints.
    pub owner: String,
    /// What has been done.
    pub progress: Progress,
    /// The way to the source.
    pub commands: mpsc::UnboundedSender<SourceCommand>,
    /// Given first offsets of a replay's partitions; else the configuration's `start` decides.
    pub first_offsets: Option<HashMap<TopicPartition, i64>>,
}

/// A running lane.
#[derive(Debug)]
pub struct LaneHandle {
    /// Records go in here; bounded, so that a slow lane holds the supervisor back.
    pub input: mpsc::Sender<LogEvent>,
    /// Control goes in here.
    pub control: mpsc::UnboundedSender<LaneControl>,
    /// Ends when the lane has ended.
    pub task: JoinHandle<()>,
}

/// Starts a lane. `number` names its connection and tells its waiting times from other lanes'.
pub fn spawn(number: usize, shared: Arc<Shared>, planner: Planner) -> LaneHandle {
    let (input, unopened) = mpsc::channel(4);
    let (opened, input_queue) = mpsc::channel(1);
    let (control, control_queue) = mpsc::unbounded_channel();
    tokio::spawn(Opening::new(&shared, control.clone()).run(unopened, opened));
    let batch = shared.config.batch;
    let limits = Limits { rows: batch.rows, bytes: batch.bytes, age: batch.age };
    let lane = Lane::new(limits, number as u64);
    // A replay goes over what is there already: its batches may end anywhere.
    let aligned = batch.align_wait.filter(|_| shared.first_offsets.is_none());
    let runner = Runner {
        number,
        lane: match aligned {
            Some(wait) => lane.aligned(wait),
            None => lane,
        },
        shared,
        planner,
        started: Instant::now(),
        work: Work::Disconnected,
        reclaim: false,
        wake: None,
        waiting: BTreeMap::new(),
        halted: BTreeMap::new(),
        stops: BTreeMap::new(),
        takeovers: BTreeMap::new(),
        commanded: BTreeSet::new(),
        fences_checked: Instant::now(),
        applying_since: Instant::now(),
        hints: BTreeMap::new(),
        told: ("", Instant::now()),
    };
    let task = tokio::spawn(runner.run(input_queue, control_queue));
    LaneHandle { input, control, task }
}

/// Where the connection is.
enum Work {
    Disconnected,
    Idle(Box<Session>),
    Applying(Applying, Vec<Record>),
}

/// The task of a transaction; it hands the connection back.
type Applying = JoinHandle<(Box<Session>, Box<Plan>, Result<Applied, Failure>)>;

struct Runner {
    number: usize,
    lane: Lane,
    shared: Arc<Shared>,
    planner: Planner,
    started: Instant,
    work: Work,
    /// What is ours must be claimed again before the next segment.
    reclaim: bool,
    /// Nothing is tried before this.
    wake: Option<Instant>,
    /// Partitions that are assigned but could not be claimed yet.
    waiting: BTreeMap<TopicPartition, Arc<str>>,
    /// Partitions that stopped, with their incarnation and the fence that they had: an operator's act raises it.
    halted: BTreeMap<TopicPartition, (Arc<str>, i64)>,
    /// Partitions that stopped because of their table, and are looked at again by themselves.
    stops: BTreeMap<TopicPartition, Stop>,
    /// Partitions that are ours by the source's word, but were claimed by others.
    takeovers: BTreeMap<TopicPartition, Takeover>,
    /// Partitions that the source was ever told to start or to halt, see [`Runner::claim_assigned`].
    commanded: BTreeSet<TopicPartition>,
    fences_checked: Instant,
    applying_since: Instant,
    /// Offsets for the group, for lag tools: told once a second, not with every batch.
    hints: BTreeMap<TopicPartition, i64>,
    /// The state that was last told, and when: a gauge that is not set for a minute is forgotten.
    told: (&'static str, Instant),
}

/// What a lane waited for.
enum Woken {
    Control(Option<LaneControl>),
    Applied(Outcome),
    Input(Option<LogEvent>),
    Time,
}

/// The states of a lane, as the gauge names them.
const STATES: [&str; 4] = ["idle", "applying", "waiting", "disconnected"];

impl Runner {
    async fn run(mut self, mut input: mpsc::Receiver<LogEvent>, mut control: mpsc::UnboundedReceiver<LaneControl>) {
        loop {
            let pause = self.advance().await;
            self.tell_state();
            self.steer();
            let room = self.lane.has_room();
            let listening = Instant::now();
            let woken = tokio::select! {
                biased;
                message = control.recv() => Woken::Control(message),
                outcome = in_flight(&mut self.work) => Woken::Applied(outcome),
                message = input.recv(), if room => Woken::Input(message),
                () = sleep(pause) => Woken::Time,
            };
            if let Some(align) = self.lane.aligner().filter(|_| room) {
                align.listened(listening.elapsed());
            }
            match woken {
                Woken::Control(Some(LaneControl::Stop) | None) | Woken::Input(None) => break,
                Woken::Control(Some(message)) => self.control(message).await,
                Woken::Applied(outcome) => self.applied(outcome),
                Woken::Input(Some(message)) => self.take(message),
                Woken::Time => {}
            }
        }
        self.settle().await;
    }

    /// Reads on only in partitions that hold others up, where there are some; and warns of what cannot be aligned.
    fn steer(&mut self) {
        let (stop, again) = self.lane.steer();
        for at in stop {
            self.silence(&at);
        }
        for (at, offset) in again {
            self.restart(&at, offset);
        }
        if let Some(source) = self.lane.aligner().and_then(Aligner::unmarked) {
            tracing::warn!(source, "its events name no transaction: batches may end inside of its transactions");
        }
    }

    fn tell_state(&mut self) {
        let state = match (&self.work, self.wake) {
            (Work::Applying(..), _) => STATES[1],
            (_, Some(_)) => STATES[2],
            (Work::Disconnected, None) => STATES[3],
            (Work::Idle(_), None) => STATES[0],
        };
        if self.told.1.elapsed() > FENCE_CHECK && !self.hints.is_empty() {
            let offsets = std::mem::take(&mut self.hints).into_iter().collect();
            let _ = self.shared.commands.send(SourceCommand::HintCommitted { offsets });
        }
        if self.told.0 != state || self.told.1.elapsed() > FENCE_CHECK {
            metrics::lane_state(self.number, state, &STATES);
            self.told = (state, Instant::now());
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn take(&mut self, message: LogEvent) {
        match message {
            LogEvent::Records { generation, records } => self.lane.take(generation, records, self.now()),
            LogEvent::AtEnd { at, generation, position } => self.lane.at_end(&at, generation, position),
            // Every partition said its end.
            LogEvent::Finished => {}
        }
    }

    /// Starts whatever can be started; returns how long nothing will be to do.
    async fn advance(&mut self) -> Option<Duration> {
        if matches!(self.work, Work::Applying(..)) {
            return None;
        }
        if let Some(wake) = self.wake {
            let now = Instant::now();
            if wake > now {
                return Some(wake - now);
            }
            self.wake = None;
        }
        if let Err(failure) = self.recover().await {
            self.trouble(&failure, "claiming");
            let wait = self.lane.next_wait();
            self.wake = Some(Instant::now() + wait);
            return Some(wait);
        }
        self.check_fences().await;
        if self.reclaim || !self.waiting.is_empty() || matches!(self.work, Work::Disconnected) {
            return Some(Duration::ZERO);
        }
        match self.lane.cut(self.now()) {
            Ok(segment) => {
                self.start(segment).await;
                Some(Duration::ZERO)
            }
            Err(wait) => Some(wait.unwrap_or(FENCE_CHECK).min(FENCE_CHECK)),
        }
    }

    /// Plans a segment and starts applying it.
    async fn start(&mut self, mut segment: Segment) {
        let Work::Idle(mut session) = std::mem::replace(&mut self.work, Work::Disconnected) else {
            let now = self.now();
            self.lane.give_back(segment.records, now);
            return;
        };
        let planned = self.plan(&mut segment, &mut session).await;
        let mut planned = match planned {
            Ok(planned) => planned,
            Err(failure) => {
                self.keep(session, &failure);
                return self.failed(segment.records, &Plan::default(), failure);
            }
        };
        planned.plan.consistency = self.lane.consistency(&planned.plan.advances);
        let now = self.now();
        self.lane.give_back(segment.records.split_off(planned.used), now);
        for (at, offset, why) in planned.halts {
            self.stop(&at, offset, &why);
        }
        let plan = Box::new(planned.plan);
        if plan.advances.is_empty() {
            self.planner.forget(&plan);
            self.work = Work::Idle(session);
            return;
        }
        failpoint!(PLAN_MADE);
        self.applying_since = Instant::now();
        let task = tokio::spawn(async move {
            let mut session = session;
            let outcome = session.apply(&plan).await;
            (session, plan, outcome)
        });
        self.work = Work::Applying(task, segment.records);
    }

    /// Plans a segment. A plan that takes less of it ends between source transactions, where that matters.
    async fn plan(&mut self, segment: &mut Segment, session: &mut Session) -> Result<Planned, Failure> {
        let planned = self.planner.plan(&self.lane, segment, session).await?;
        let whole = self.lane.whole_transactions(&segment.records, planned.used);
        if whole == 0 || whole == planned.used {
            return Ok(planned);
        }
        self.planner.forget(&planned.plan);
        let now = self.now();
        self.lane.give_back(segment.records.split_off(whole), now);
        segment.reach.clear();
        self.planner.plan(&self.lane, segment, session).await
    }

    /// Keeps a connection after a failure, if it still is one.
    fn keep(&mut self, session: Box<Session>, failure: &Failure) {
        self.work = if failure.connection_lost { Work::Disconnected } else { Work::Idle(session) };
    }

    fn applied(&mut self, outcome: Outcome) {
        let Outcome { session, plan, records, result } = outcome;
        match result {
            Ok(applied) => {
                self.work = session.map_or(Work::Disconnected, Work::Idle);
                self.lane.committed(records.len(), &plan.advances);
                metrics::batch_committed(self.number, records.len(), self.applying_since.elapsed());
                self.report(&plan, &applied);
            }
            Err(failure) => {
                match session {
                    Some(session) => self.keep(session, &failure),
                    None => self.work = Work::Disconnected,
                }
                self.planner.forget(&plan);
                self.failed(records, &plan, failure);
            }
        }
    }

    fn report(&mut self, plan: &Plan, applied: &Applied) {
        self.shared.progress.committed(&plan.advances, &applied.tables);
        for advance in &plan.advances {
            metrics::records(&advance.at.topic, &advance.counts);
        }
        for (table, outcome) in plan.tables.iter().zip(&applied.tables) {
            metrics::table_outcome(table.table.name(), outcome);
        }
        if self.shared.first_offsets.is_some() {
            return;
        }
        self.hints.extend(plan.advances.iter().map(|advance| (advance.at.clone(), advance.next)));
    }

    fn failed(&mut self, records: Vec<Record>, plan: &Plan, failure: Failure) {
        let now = self.now();
        if failure.class == Class::Fenced {
            self.shared.progress.guard(|guards| guards.checkpoint_missed += 1);
            metrics::checkpoint_missed(failure.fenced.len().max(1));
        }
        if failure.class != Class::Record {
            self.trouble(&failure, "applying");
        }
        metrics::retry(failure.class);
        match self.lane.failed(records, &plan.advances, &failure, now) {
            Next::Again => {}
            Next::Reclaim { .. } => self.reclaim = true,
            Next::Describe { after } => {
                self.planner.describe_anew(plan);
                self.wake = (!after.is_zero()).then(|| Instant::now() + after);
            }
            Next::Retry { after, .. } | Next::Wait { after, .. } => {
                self.shared.progress.guard(|guards| guards.transient_retries += 1);
                self.wake = Some(Instant::now() + after);
            }
        }
        // A new connection has a new identity, which the checkpoints must know; and what the old one did is not known.
        if matches!(self.work, Work::Disconnected) {
            self.reclaim = true;
        }
    }

    fn trouble(&self, failure: &Failure, doing: &str) {
        match failure.class {
            Class::Operator => {
                tracing::error!(lane = self.number, error = %failure, doing, "needs an operator; trying again")
            }
            Class::Fenced => tracing::info!(lane = self.number, error = %failure, "fenced"),
            _ => tracing::warn!(lane = self.number, error = %failure, class = ?failure.class, doing, "trying again"),
        }
        if failure.class == Class::Operator {
            self.shared.progress.needs_operator(Some(failure.clone()));
        }
        if failure.class != Class::Fenced {
            self.shared.progress.sink_trouble(Some(failure.to_string()));
        }
    }
    async fn control(&mut self, message: LaneControl) {
        self.settle().await;
        match message {
            LaneControl::Claim { partitions, reply } => self.claim_assigned(partitions, reply).await,
            LaneControl::Revoke { partitions, reply } => {
                failpoint!(REVOKE_BEGUN);
                for at in &partitions {
                    self.lane.revoke(at);
                    self.waiting.remove(at);
                    self.halted.remove(at);
                    self.stops.remove(at);
                    self.takeovers.remove(at);
                    self.shared.progress.released(at);
                }
                failpoint!(REVOKE_DONE);
                let _ = reply.send(());
            }
            LaneControl::Restart { partitions } => {
                for at in partitions {
                    if let Some(expected) = self.lane.partition(&at).map(|owned| owned.expected) {
                        self.restart(&at, expected);
                    }
                }
            }
            LaneControl::Unreadable { at, why } => {
                if let Some(owned) = self.lane.partition(&at) {
                    self.halted.insert(at.clone(), (Arc::clone(&owned.incarnation), owned.fence));
                }
                self.lane.unreadable(&at);
                self.shared.progress.halted(&at, why);
            }
            LaneControl::Stop => {}
        }
    }

    /// Waits until nothing is in flight.
    async fn settle(&mut self) {
        if matches!(self.work, Work::Applying(..)) {
            let outcome = in_flight(&mut self.work).await;
            self.applied(outcome);
        }
    }
}

struct Outcome {
    session: Option<Box<Session>>,
    plan: Box<Plan>,
    records: Vec<Record>,
    result: Result<Applied, Failure>,
}

/// The end of what is being applied; never, if nothing is. Cancel-safe.
async fn in_flight(work: &mut Work) -> Outcome {
    let Work::Applying(task, _) = work else { return pending().await };
    let ended = task.await;
    let Work::Applying(_, records) = std::mem::replace(work, Work::Disconnected) else { return pending().await };
    match ended {
        Ok((session, plan, result)) => Outcome { session: Some(session), plan, records, result },
        Err(error) => {
            let mut failure =
                Failure::new(Class::Unknown, "task", format!("the sink's task ended without an outcome: {error}"));
            failure.connection_lost = true;
            Outcome { session: None, plan: Box::default(), records, result: Err(failure) }
        }
    }
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => pending().await,
    }
}
