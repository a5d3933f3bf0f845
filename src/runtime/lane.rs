//! The shell around a lane: it owns the lane's connection, does what [`crate::core::lane`] says, and answers the supervisor.
//!
//! While one plan is applied (a task of its own, because a sink transaction must not be dropped half-way) the queue of the
//! next one fills. Claims and revokes wait until nothing is in flight.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::config::checked::Config;
use crate::core::failure::{Class, Failure};
use crate::core::lane::{Claimed, Lane, Limits, Next, Resumed, Settled};
use crate::core::plan::{Applied, Plan};
use crate::core::record::{Record, TopicPartition};
use crate::sink::bookkeep::{self, Claim, ClaimRequest};
use crate::sink::{Session, Sink};
use crate::source::{Generation, LogRange, Source, SourceCommand, StartAt, next_generation};
use crate::telemetry::metrics;

use super::planner::Planner;
use super::progress::Progress;

/// How often an idle lane looks whether someone else raised a fence (`offsets set`, a takeover).
const FENCE_CHECK: Duration = Duration::from_secs(1);

/// Records and ends, in their order.
#[derive(Debug)]
pub enum LaneInput {
    /// Records of one partition.
    Records {
        /// Generation that they belong to.
        generation: Generation,
        /// The records.
        records: Vec<Record>,
    },
    /// The end of a partition.
    AtEnd {
        /// The partition.
        at: TopicPartition,
        /// Its generation.
        generation: Generation,
        /// The consumer's position.
        position: i64,
    },
}

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
    pub input: mpsc::Sender<LaneInput>,
    /// Control goes in here.
    pub control: mpsc::UnboundedSender<LaneControl>,
    /// Ends when the lane has ended.
    pub task: JoinHandle<()>,
}

/// Starts a lane. `number` names its connection and tells its waiting times from other lanes'.
pub fn spawn(number: usize, shared: Arc<Shared>, planner: Planner) -> LaneHandle {
    let (input, input_queue) = mpsc::channel(4);
    let (control, control_queue) = mpsc::unbounded_channel();
    let batch = shared.config.batch;
    let limits = Limits { rows: batch.rows, bytes: batch.bytes, age: batch.age };
    let runner = Runner {
        number,
        lane: Lane::new(limits, number as u64),
        shared,
        planner,
        started: Instant::now(),
        work: Work::Disconnected,
        recovery: None,
        wake: None,
        waiting: HashMap::new(),
        halted: HashMap::new(),
        fences_checked: Instant::now(),
        applying_since: Instant::now(),
        hints: HashMap::new(),
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

/// What has to be done before the next segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recovery {
    Reclaim,
}

struct Runner {
    number: usize,
    lane: Lane,
    shared: Arc<Shared>,
    planner: Planner,
    started: Instant,
    work: Work,
    recovery: Option<Recovery>,
    /// Nothing is tried before this.
    wake: Option<Instant>,
    /// Partitions that are assigned but could not be claimed yet.
    waiting: HashMap<TopicPartition, Arc<str>>,
    /// Partitions that stopped, with their incarnation and the fence that they had: an operator's act raises it.
    halted: HashMap<TopicPartition, (Arc<str>, i64)>,
    fences_checked: Instant,
    applying_since: Instant,
    /// Offsets for the group, for lag tools: told once a second, not with every batch.
    hints: HashMap<TopicPartition, i64>,
    /// The state that was last told, and when: a gauge that is not set for a minute is forgotten.
    told: (&'static str, Instant),
}

/// The states of a lane, as the gauge names them.
const STATES: [&str; 4] = ["idle", "applying", "waiting", "disconnected"];

impl Runner {
    async fn run(mut self, mut input: mpsc::Receiver<LaneInput>, mut control: mpsc::UnboundedReceiver<LaneControl>) {
        loop {
            let pause = self.advance().await;
            self.tell_state();
            let room = self.lane.has_room();
            tokio::select! {
                biased;
                message = control.recv() => match message {
                    Some(LaneControl::Stop) | None => break,
                    Some(message) => self.control(message).await,
                },
                outcome = in_flight(&mut self.work) => self.applied(outcome),
                message = input.recv(), if room => match message {
                    Some(message) => self.take(message),
                    None => break,
                },
                () = sleep(pause) => {}
            }
        }
        self.settle().await;
    }

    fn tell_state(&mut self) {
        let state = match (&self.work, self.wake) {
            (Work::Applying(..), _) => STATES[1],
            (_, Some(_)) => STATES[2],
            (Work::Disconnected, None) => STATES[3],
            (Work::Idle(_), None) => STATES[0],
        };
        if self.told.1.elapsed() > FENCE_CHECK && !self.hints.is_empty() {
            let offsets = self.hints.drain().collect();
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

    fn take(&mut self, message: LaneInput) {
        match message {
            LaneInput::Records { generation, records } => self.lane.take(generation, records, self.now()),
            LaneInput::AtEnd { at, generation, position } => self.lane.at_end(&at, generation, position),
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
        if self.recovery.is_some() || !self.waiting.is_empty() || matches!(self.work, Work::Disconnected) {
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
    async fn start(&mut self, mut segment: crate::core::lane::Segment) {
        let Work::Idle(mut session) = std::mem::replace(&mut self.work, Work::Disconnected) else {
            let now = self.now();
            self.lane.give_back(segment.records, now);
            return;
        };
        let planned = self.planner.plan(&self.lane, &segment, &mut session).await;
        let planned = match planned {
            Ok(planned) => planned,
            Err(failure) => {
                self.keep(session, &failure);
                return self.failed(segment.records, &Plan::default(), failure);
            }
        };
        let now = self.now();
        self.lane.give_back(segment.records.split_off(planned.used), now);
        for (at, offset, why) in planned.halts {
            self.halt(&at, format!("offset {offset}: {why}"));
        }
        let plan = Box::new(planned.plan);
        if plan.advances.is_empty() {
            self.planner.forget(&plan);
            self.work = Work::Idle(session);
            return;
        }
        self.applying_since = Instant::now();
        let task = tokio::spawn(async move {
            let mut session = session;
            let outcome = session.apply(&plan).await;
            (session, plan, outcome)
        });
        self.work = Work::Applying(task, segment.records);
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
        let names = plan.tables.iter().map(|table| table.table.name().to_string());
        self.shared.progress.committed(&plan.advances, names.zip(&applied.tables));
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
            Next::Reclaim { .. } => self.recovery = Some(Recovery::Reclaim),
            Next::Retry { after, .. } | Next::Wait { after, .. } => {
                self.shared.progress.guard(|guards| guards.transient_retries += 1);
                self.wake = Some(Instant::now() + after);
            }
        }
        // A new connection has a new identity, which the checkpoints must know; and what the old one did is not known.
        if matches!(self.work, Work::Disconnected) {
            self.recovery = Some(Recovery::Reclaim);
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

    /// Connects, claims again what was ours, and claims what could not be claimed before.
    async fn recover(&mut self) -> Result<(), Failure> {
        if matches!(self.work, Work::Disconnected) {
            let session = self.shared.sink.session(&format!("lane-{}", self.number)).await?;
            self.work = Work::Idle(Box::new(session));
            self.shared.progress.sink_trouble(None);
            if !self.lane.partitions().is_empty() {
                self.recovery = Some(Recovery::Reclaim);
            }
        }
        if self.recovery.is_some() {
            self.reclaim().await?;
            self.recovery = None;
        }
        if !self.waiting.is_empty() {
            let waiting: Vec<_> =
                self.waiting.iter().map(|(at, incarnation)| (at.clone(), Arc::clone(incarnation))).collect();
            for (at, start) in
                self.claim(waiting.iter().map(|(at, inc)| (at.clone(), 0, Arc::clone(inc))).collect()).await?
            {
                self.waiting.remove(&at);
                if let StartAt::Offset(offset) = start {
                    self.restart(&at, offset);
                }
            }
        }
        Ok(())
    }

    fn restart(&mut self, at: &TopicPartition, offset: i64) {
        let generation = next_generation();
        self.lane.regenerate(at, generation);
        let _ = self.shared.commands.send(SourceCommand::Start { at: at.clone(), offset, generation });
    }

    fn session(&mut self) -> Result<&mut Session, Failure> {
        match &mut self.work {
            Work::Idle(session) => Ok(session),
            _ => Err(Failure::new(Class::Transient, "no_session", "no connection to the destination")),
        }
    }

    async fn reclaim(&mut self) -> Result<(), Failure> {
        let partitions: Vec<TopicPartition> = self.lane.partitions().keys().cloned().collect();
        let shared = Arc::clone(&self.shared);
        let session = self.session()?;
        let reclaimed = bookkeep::reclaim(session, &shared.checkpoint_owner, &shared.owner, &partitions).await;
        let reclaimed = self.checked(reclaimed)?;
        for at in &reclaimed.not_mine {
            tracing::info!(lane = self.number, partition = %at, "taken over by another owner");
            self.lane.revoke(at);
            // A bounded run looks at the stored checkpoint from here on: the other process goes on with it.
            self.shared.progress.released(at);
            let _ = self.shared.commands.send(SourceCommand::Halt { at: at.clone() });
        }
        // A batch whose outcome was unknown may have stored facts that were forgotten with it.
        self.load_ledger(&reclaimed.claims).await?;
        let claims: Vec<Claimed> = reclaimed.claims.into_iter().map(claimed).collect();
        for claim in &claims {
            self.shared.progress.claimed(&claim.at, claim.next, claim.fence);
        }
        let (resumed, settled) = self.lane.reclaimed(claims);
        if let Some(settled) = settled {
            self.shared.progress.guard(|guards| match settled {
                Settled::Landed => guards.unknown_landed += 1,
                Settled::NotLanded => guards.unknown_not_landed += 1,
            });
            metrics::unknown_outcome(settled == Settled::Landed);
            tracing::info!(
                lane = self.number,
                landed = settled == Settled::Landed,
                "an unknown commit outcome was settled"
            );
        }
        for (at, resumed) in resumed {
            if let Resumed::Seek(offset) = resumed {
                self.restart(&at, offset);
            }
        }
        Ok(())
    }

    async fn load_ledger(&mut self, claims: &[Claim]) -> Result<(), Failure> {
        let partitions: Vec<TopicPartition> = claims.iter().map(|claim| claim.at.clone()).collect();
        let ledger = bookkeep::ledger(self.session()?, &partitions).await;
        let ledger = self.checked(ledger)?;
        for claim in claims {
            self.planner.load_ledger(&claim.at, &claim.incarnation, &ledger);
        }
        Ok(())
    }

    /// Drops the connection if a failure says that it is gone.
    fn checked<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &result
            && failure.connection_lost
        {
            self.work = Work::Disconnected;
            self.recovery = Some(Recovery::Reclaim);
        }
        result
    }

    async fn control(&mut self, message: LaneControl) {
        self.settle().await;
        match message {
            LaneControl::Claim { partitions, reply } => self.claim_assigned(partitions, reply).await,
            LaneControl::Revoke { partitions, reply } => {
                for at in &partitions {
                    self.lane.revoke(at);
                    self.waiting.remove(at);
                    self.halted.remove(at);
                    self.shared.progress.released(at);
                }
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

    async fn claim_assigned(
        &mut self,
        partitions: Vec<(TopicPartition, Generation, Arc<str>)>,
        reply: oneshot::Sender<Vec<(TopicPartition, StartAt)>>,
    ) {
        for (at, _, _) in &partitions {
            self.shared.progress.claiming(at);
        }
        let connected = match self.recover().await {
            Ok(()) => self.claim(partitions.clone()).await,
            Err(failure) => Err(failure),
        };
        let starts = connected.unwrap_or_else(|failure| {
            self.trouble(&failure, "claiming");
            self.wake = Some(Instant::now() + self.lane.next_wait());
            for (at, _, incarnation) in &partitions {
                self.waiting.insert(at.clone(), Arc::clone(incarnation));
            }
            partitions.iter().map(|(at, _, _)| (at.clone(), StartAt::Later)).collect()
        });
        let _ = reply.send(starts);
    }

    /// Claims partitions and says where each begins. Those whose stored position does not lie in the log are halted.
    async fn claim(
        &mut self,
        partitions: Vec<(TopicPartition, Generation, Arc<str>)>,
    ) -> Result<Vec<(TopicPartition, StartAt)>, Failure> {
        let shared = Arc::clone(&self.shared);
        let names: Vec<TopicPartition> = partitions.iter().map(|(at, _, _)| at.clone()).collect();
        let ranges: HashMap<TopicPartition, LogRange> = shared.source.ranges(&names).await?.into_iter().collect();
        let requests: Vec<ClaimRequest> = partitions
            .iter()
            .map(|(at, _, incarnation)| ClaimRequest { at: at.clone(), incarnation: Arc::clone(incarnation) })
            .collect();
        let first = first_offsets(&shared, &ranges);
        let (claims, refused) = self.claim_each(&requests, &first).await?;
        for (at, failure) in &refused {
            self.halt(at, failure.to_string());
            let incarnation =
                requests.iter().find(|request| request.at == *at).map(|request| Arc::clone(&request.incarnation));
            let fence = self.stored_fence(at).await?;
            self.halted.insert(at.clone(), (incarnation.unwrap_or_else(|| "".into()), fence));
        }
        self.load_ledger(&claims).await?;
        let mut starts: Vec<(TopicPartition, StartAt)> =
            refused.into_iter().map(|(at, _)| (at, StartAt::Later)).collect();
        for claim in claims {
            let at = claim.at.clone();
            let generation =
                partitions.iter().find(|(known, _, _)| *known == at).map_or(0, |(_, generation, _)| *generation);
            let next = claim.next_offset;
            shared.progress.claimed(&at, next, claim.fence);
            self.lane.assign(generation, claimed(claim));
            match ranges.get(&at).map(|range| out_of_log(&at, next, *range)) {
                Some(Some(failure)) => {
                    self.halt(&at, failure.to_string());
                    starts.push((at, StartAt::Later));
                }
                _ => starts.push((at, StartAt::Offset(next))),
            }
        }
        Ok(starts)
    }

    async fn stored_fence(&mut self, at: &TopicPartition) -> Result<i64, Failure> {
        let shared = Arc::clone(&self.shared);
        let states = bookkeep::fences(self.session()?, &shared.checkpoint_owner, std::slice::from_ref(at)).await;
        Ok(self.checked(states)?.first().map_or(0, |state| state.fence))
    }

    /// Claims all at once; if some topic was made anew, one by one, so that only its partitions are refused.
    async fn claim_each(
        &mut self,
        requests: &[ClaimRequest],
        first: &HashMap<TopicPartition, i64>,
    ) -> Result<(Vec<Claim>, Vec<(TopicPartition, Failure)>), Failure> {
        let shared = Arc::clone(&self.shared);
        let all = bookkeep::claim(self.session()?, &shared.checkpoint_owner, &shared.owner, requests, first).await;
        match self.checked(all) {
            Ok(claims) => return Ok((claims, Vec::new())),
            Err(failure) if failure.class == Class::Operator && failure.code == "topic_recreated" => {}
            Err(failure) => return Err(failure),
        }
        let (mut claims, mut refused) = (Vec::new(), Vec::new());
        for request in requests {
            let one = std::slice::from_ref(request);
            let claim = bookkeep::claim(self.session()?, &shared.checkpoint_owner, &shared.owner, one, first).await;
            match self.checked(claim) {
                Ok(claim) => claims.extend(claim),
                Err(failure) if failure.code == "topic_recreated" => refused.push((request.at.clone(), failure)),
                Err(failure) => return Err(failure),
            }
        }
        Ok((claims, refused))
    }

    /// Stops a partition until someone does something. Its claim stays; the others go on.
    fn halt(&mut self, at: &TopicPartition, why: String) {
        tracing::error!(partition = %at, why, "partition halted");
        if let Some(owned) = self.lane.partition(at) {
            self.halted.insert(at.clone(), (Arc::clone(&owned.incarnation), owned.fence));
        }
        self.lane.revoke(at);
        self.shared.progress.halted(at, why);
        let _ = self.shared.commands.send(SourceCommand::Halt { at: at.clone() });
    }

    /// An idle lane has no compare-and-swap that could miss, and a halted partition none at all, so it looks.
    async fn check_fences(&mut self) {
        let partitions: Vec<TopicPartition> =
            self.lane.partitions().keys().chain(self.halted.keys()).cloned().collect();
        if self.fences_checked.elapsed() < FENCE_CHECK || partitions.is_empty() {
            return;
        }
        self.fences_checked = Instant::now();
        let shared = Arc::clone(&self.shared);
        let Ok(session) = self.session() else { return };
        let states = bookkeep::fences(session, &shared.checkpoint_owner, &partitions).await;
        let states = match self.checked(states) {
            Ok(states) => states,
            Err(failure) => return self.trouble(&failure, "looking at the fences"),
        };
        for state in &states {
            if self.lane.partition(&state.at).is_some_and(|owned| owned.fence != state.fence) {
                self.shared.progress.guard(|guards| guards.checkpoint_missed += 1);
                self.recovery = Some(Recovery::Reclaim);
            }
            if let Some((incarnation, fence)) = self.halted.get(&state.at)
                && *fence != state.fence
            {
                self.waiting.insert(state.at.clone(), Arc::clone(incarnation));
                self.halted.remove(&state.at);
            }
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

fn claimed(claim: Claim) -> Claimed {
    Claimed {
        at: claim.at,
        incarnation: claim.incarnation,
        next: claim.next_offset,
        fence: claim.fence,
        open_delete: claim.open_delete,
    }
}

/// Where partitions begin that have no checkpoint: at a replay's given offset, else at the log start. (`start = "latest"`
/// is settled for all partitions at once when the pipeline starts for the first time: whatever appears later must not be
/// skipped.)
fn first_offsets(shared: &Shared, ranges: &HashMap<TopicPartition, LogRange>) -> HashMap<TopicPartition, i64> {
    match &shared.first_offsets {
        Some(first) => first.clone(),
        None => ranges.iter().map(|(at, range)| (at.clone(), range.start)).collect(),
    }
}

/// Why a stored position does not lie in the log, if it does not.
pub(super) fn out_of_log(at: &TopicPartition, next: i64, range: LogRange) -> Option<Failure> {
    let (code, what) = if next < range.start {
        (
            "data_gone",
            format!(
                "the stored offset {next} lies before the log, which begins at {}: records were deleted before they were applied. \
             Take a new snapshot, then `lastword offsets set --topic {} --partition {} --offset {}` to go on from what is left",
                range.start, at.topic, at.partition, range.start
            ),
        )
    } else if next > range.end {
        (
            "offset_beyond_end",
            format!(
                "the stored offset {next} lies behind the end of the log, {}: the topic was made anew or lost records. \
             `lastword offsets set --topic {} --partition {} --offset N` says where to go on ({} to {})",
                range.end, at.topic, at.partition, range.start, range.end
            ),
        )
    } else {
        return None;
    };
    Some(Failure::operator(code, format!("{at}: {what}")))
}
