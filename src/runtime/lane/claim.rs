//! Claims of a lane: taking partitions, taking them again after a failure, halting them, and noticing that someone moved them.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::core::failure::{Class, Failure};
use crate::core::lane::{Claimed, Resumed, Settled};
use crate::core::record::TopicPartition;
use crate::sink::Session;
use crate::sink::bookkeep::{self, Claim, ClaimRequest};
use crate::source::{Generation, LogRange, SourceCommand, StartAt, next_generation};
use crate::telemetry::metrics;

use super::{FENCE_CHECK, Runner, Shared, Work};

impl Runner {
    /// Connects, claims again what was ours, and claims what could not be claimed before.
    pub(super) async fn recover(&mut self) -> Result<(), Failure> {
        if matches!(self.work, Work::Disconnected) {
            let session = self.shared.sink.session(&format!("lane-{}", self.number)).await?;
            self.work = Work::Idle(Box::new(session));
            self.shared.progress.sink_trouble(None);
            if !self.lane.partitions().is_empty() {
                self.reclaim = true;
            }
        }
        if self.reclaim {
            self.reclaim().await?;
            self.reclaim = false;
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

    pub(super) fn restart(&mut self, at: &TopicPartition, offset: i64) {
        let generation = next_generation();
        self.lane.regenerate(at, generation);
        self.command(at, SourceCommand::Start { at: at.clone(), offset, generation });
    }

    /// Tells the source not to read a partition.
    pub(super) fn silence(&mut self, at: &TopicPartition) {
        self.command(at, SourceCommand::Halt { at: at.clone() });
    }

    fn command(&mut self, at: &TopicPartition, command: SourceCommand) {
        self.commanded.insert(at.clone());
        let _ = self.shared.commands.send(command);
    }

    pub(super) fn session(&mut self) -> Result<&mut Session, Failure> {
        match &mut self.work {
            Work::Idle(session) => Ok(session),
            _ => Err(Failure::new(Class::Transient, "no_session", "no connection to the destination")),
        }
    }

    pub(super) async fn reclaim(&mut self) -> Result<(), Failure> {
        let partitions: Vec<TopicPartition> = self.lane.partitions().keys().cloned().collect();
        let shared = Arc::clone(&self.shared);
        let session = self.session()?;
        let reclaimed = bookkeep::reclaim(session, &shared.checkpoint_owner, &shared.owner, &partitions).await;
        let reclaimed = self.checked(reclaimed)?;
        for at in &reclaimed.not_mine {
            tracing::info!(lane = self.number, partition = %at, "taken over by another owner");
            self.taken_over(at);
            self.lane.revoke(at);
            // A bounded run looks at the stored checkpoint from here on: the other process goes on with it.
            self.shared.progress.released(at);
            self.silence(at);
        }
        // A batch whose outcome was unknown may have stored facts that were forgotten with it.
        self.load_ledger(&reclaimed.claims).await?;
        let claims: Vec<Claimed> = reclaimed.claims.into_iter().map(Claimed::from).collect();
        for claim in &claims {
            self.shared.progress.claimed(&claim.at, claim.next, claim.fence, false);
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

    pub(super) async fn load_ledger(&mut self, claims: &[Claim]) -> Result<(), Failure> {
        let partitions: Vec<TopicPartition> = claims.iter().map(|claim| claim.at.clone()).collect();
        let ledger = bookkeep::ledger(self.session()?, &partitions).await;
        let ledger = self.checked(ledger)?;
        let epochs = bookkeep::epochs(self.session()?, &partitions).await;
        let epochs = self.checked(epochs)?;
        for claim in claims {
            self.planner.load_ledger(&claim.at, &claim.incarnation, claim.fence, &ledger, &epochs, claim.top);
        }
        Ok(())
    }

    /// Drops the connection if a failure says that it is gone.
    pub(super) fn checked<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &result
            && failure.connection_lost
        {
            self.work = Work::Disconnected;
            self.reclaim = true;
        }
        result
    }

    /// Answers an assignment.
    ///
    /// A command about a partition may still be on its way when the partition is taken away and given again: the source would
    /// obey it after this answer, and deliver under a generation that the lane does not expect any more, or nothing, for ever
    /// (both found by simulation). So a partition that the source was ever commanded is started by command: the last one counts.
    pub(super) async fn claim_assigned(
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
        let mut starts = connected.unwrap_or_else(|failure| {
            self.trouble(&failure, "claiming");
            self.wake = Some(Instant::now() + self.lane.next_wait());
            for (at, _, incarnation) in &partitions {
                self.waiting.insert(at.clone(), Arc::clone(incarnation));
            }
            partitions.iter().map(|(at, _, _)| (at.clone(), StartAt::Later)).collect()
        });
        for (at, start) in &mut starts {
            if let StartAt::Offset(offset) = *start
                && self.commanded.contains(at)
            {
                *start = StartAt::Later;
                self.restart(at, offset);
            }
        }
        let _ = reply.send(starts);
    }

    /// Claims partitions and says where each begins. Those whose stored position does not lie in the log are halted.
    pub(super) async fn claim(
        &mut self,
        partitions: Vec<(TopicPartition, Generation, Arc<str>)>,
    ) -> Result<Vec<(TopicPartition, StartAt)>, Failure> {
        let shared = Arc::clone(&self.shared);
        let names: Vec<TopicPartition> = partitions.iter().map(|(at, _, _)| at.clone()).collect();
        let ranges: HashMap<TopicPartition, LogRange> = shared.source.ranges(&names).await?.into_iter().collect();
        self.expect_all().await?;
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
            shared.progress.claimed(&at, next, claim.fence, self.looks_again(&at, next));
            self.lane.assign(generation, Claimed::from(claim));
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

    /// Tells an aligned lane which partitions there are: what others hold is not proven by what it sees.
    async fn expect_all(&mut self) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let Some(align) = self.lane.aligner() else { return Ok(()) };
        let topics = shared.source.topics().await?;
        let all = topics.iter().flat_map(|info| {
            (0..info.partitions).map(|partition| TopicPartition { topic: Arc::clone(&info.topic), partition })
        });
        align.expect(all);
        topics.iter().for_each(|info| align.reads(&info.topic, shared.config.decoder(&info.topic)));
        Ok(())
    }

    pub(super) async fn stored_fence(&mut self, at: &TopicPartition) -> Result<i64, Failure> {
        let shared = Arc::clone(&self.shared);
        let states = bookkeep::fences(self.session()?, &shared.checkpoint_owner, std::slice::from_ref(at)).await;
        Ok(self.checked(states)?.first().map_or(0, |state| state.fence))
    }

    /// Claims all at once; if some topic was made anew, one by one, so that only its partitions are refused.
    pub(super) async fn claim_each(
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
    pub(super) fn halt(&mut self, at: &TopicPartition, why: String) {
        tracing::error!(partition = %at, why, "partition halted");
        self.set_aside(at, why);
    }

    /// [`Self::halt`] without a word.
    pub(super) fn set_aside(&mut self, at: &TopicPartition, why: String) {
        if let Some(owned) = self.lane.partition(at) {
            self.halted.insert(at.clone(), (Arc::clone(&owned.incarnation), owned.fence));
        }
        self.lane.revoke(at);
        self.shared.progress.halted(at, why);
        self.silence(at);
    }

    /// An idle lane has no compare-and-swap that could miss, and a halted partition none at all, so it looks.
    pub(super) async fn check_fences(&mut self) {
        self.look_again();
        let partitions: Vec<TopicPartition> =
            self.lane.partitions().keys().chain(self.halted.keys()).chain(self.takeovers.keys()).cloned().collect();
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
            self.look_at_takeover(state);
            if self.lane.partition(&state.at).is_some_and(|owned| owned.fence != state.fence) {
                self.shared.progress.guard(|guards| guards.checkpoint_missed += 1);
                self.reclaim = true;
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
pub(in crate::runtime) fn out_of_log(at: &TopicPartition, next: i64, range: LogRange) -> Option<Failure> {
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
