//! Claims: who may advance a partition.
//!
//! A claim raises the fence of the checkpoint row by an UPDATE and reads the stored position after it, in one transaction. The
//! UPDATE waits for every transaction that still holds the row. So whatever a former session has in flight has committed
//! or vanished when the position is read: that is what settles an unknown commit outcome, and what a SELECT cannot do. From the
//! claim's commit on the former owner's compare-and-swap misses.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use crate::core::failure::Failure;
use crate::core::lane::Claimed;
use crate::core::ledger::Top;
use crate::core::record::TopicPartition;
use crate::core::token::Token;
use crate::core::value::Value;
use crate::failpoint::failpoint;
use crate::sink::{Session, Statements};

use super::cells::{Cells, damaged};
use super::{end, sql};

/// A partition to claim.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// The partition.
    pub at: TopicPartition,
    /// The topic's incarnation as the source tells it now.
    pub incarnation: Arc<str>,
}

/// A claimed partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The partition.
    pub at: TopicPartition,
    /// The stored incarnation; equal to the requested one.
    pub incarnation: Arc<str>,
    /// Offset to go on from.
    pub next_offset: i64,
    /// The fence under which it may be advanced.
    pub fence: i64,
    /// Key of a delete event that was the last record before `next_offset`, if its null record may still follow.
    pub open_delete: Option<Bytes>,
    /// The greatest that its stream has shown.
    pub top: Top,
    /// The checkpoint did not exist before.
    pub fresh: bool,
}

/// What a lane has to know of it.
impl From<Claim> for Claimed {
    fn from(claim: Claim) -> Self {
        Self {
            at: claim.at,
            incarnation: claim.incarnation,
            next: claim.next_offset,
            fence: claim.fence,
            open_delete: claim.open_delete,
        }
    }
}

/// What [`reclaim`] got.
#[derive(Clone, Debug, Default)]
pub struct Reclaimed {
    /// Partitions that are claimed again.
    pub claims: Vec<Claim>,
    /// Partitions that someone else has claimed since, or that have no checkpoint.
    pub not_mine: Vec<TopicPartition>,
}

/// The state of a checkpoint as idle lanes look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceState {
    /// The partition.
    pub at: TopicPartition,
    /// Its fence.
    pub fence: i64,
    /// Its owner.
    pub owner: String,
    /// Its stored position.
    pub next_offset: i64,
}

/// How often a claim is tried when it finds rows locked.
const LOCK_TRIES: usize = 5;

/// Claims partitions for `owner`. `pipeline_key` is the pipeline's name, or that of a replay's checkpoints. `first_offsets` tells
/// where partitions begin that have no checkpoint yet; one that is missing from it and from the store is an operator
/// failure.
///
/// Rows are taken in (topic, partition) order. When one stays locked, the session that is recorded in it is ended and the
/// claim is tried again. A topic whose incarnation is not the stored one was deleted and made anew: nothing is claimed, an operator
/// has to say where to go on. All or nothing.
pub async fn claim(
    session: &mut Session,
    pipeline_key: &str,
    owner: &str,
    requests: &[ClaimRequest],
    first_offsets: &HashMap<TopicPartition, i64>,
) -> Result<Vec<Claim>, Failure> {
    let wanted: BTreeMap<_, _> = requests.iter().map(|request| (request.at.clone(), request)).collect();
    let mut tries = LOCK_TRIES;
    loop {
        let mut run = Run::new(session, pipeline_key, owner);
        match run.claim_all(&wanted, first_offsets).await {
            Err(failure) if failure.is_lock_timeout() && tries > 1 && !failure.connection_lost => {
                tries -= 1;
                let blocked = run.current.take();
                end_blocking(session, pipeline_key, blocked).await?;
            }
            settled => return settled,
        }
    }
}

/// Claims partitions again that this process owned, after it was fenced: only those whose recorded owner it still is (an
/// operator moved them, or an outcome is unknown). The others are left alone.
pub async fn reclaim(
    session: &mut Session,
    pipeline_key: &str,
    owner: &str,
    partitions: &[TopicPartition],
) -> Result<Reclaimed, Failure> {
    let mut wanted = partitions.to_vec();
    wanted.sort();
    wanted.dedup();
    let mut tries = LOCK_TRIES;
    loop {
        let mut run = Run::new(session, pipeline_key, owner);
        match run.reclaim_all(&wanted).await {
            Err(failure) if failure.is_lock_timeout() && tries > 1 && !failure.connection_lost => {
                tries -= 1;
                let blocked = run.current.take();
                end_blocking(session, pipeline_key, blocked).await?;
            }
            settled => return settled,
        }
    }
}

/// Fence, owner and position of partitions, read without a lock, in (topic, partition) order. Partitions without a checkpoint are
/// left out.
pub async fn fences<S: Statements>(
    session: &mut S,
    pipeline_key: &str,
    partitions: &[TopicPartition],
) -> Result<Vec<FenceState>, Failure> {
    let wanted: std::collections::HashSet<&TopicPartition> = partitions.iter().collect();
    let text = sql::CHECKPOINT_FENCES.of(session.dialect());
    let mut states = Vec::new();
    for row in session.query(text, &[Value::from(pipeline_key)]).await? {
        let mut cells = Cells::new(row);
        let at = TopicPartition::new(cells.text()?, cells.partition()?);
        if wanted.contains(&at) {
            states.push(FenceState { at, fence: cells.int()?, owner: cells.text()?, next_offset: cells.int()? });
        }
    }
    states.sort_by(|a, b| a.at.cmp(&b.at));
    Ok(states)
}

/// One try of a claim.
struct Run<'a> {
    session: &'a mut Session,
    pipeline_key: &'a str,
    owner: &'a str,
    /// The row that is being taken: where a lock time-out happened.
    current: Option<TopicPartition>,
}

impl<'a> Run<'a> {
    fn new(session: &'a mut Session, pipeline_key: &'a str, owner: &'a str) -> Self {
        Self { session, pipeline_key, owner, current: None }
    }

    async fn claim_all(
        &mut self,
        wanted: &BTreeMap<TopicPartition, &ClaimRequest>,
        first_offsets: &HashMap<TopicPartition, i64>,
    ) -> Result<Vec<Claim>, Failure> {
        self.session.begin().await?;
        failpoint!(CLAIM_BEGUN);
        let mut claims = Vec::with_capacity(wanted.len());
        let mut work = Ok(());
        for (at, request) in wanted {
            match self.claim_one(at, request, first_offsets.get(at).copied()).await {
                Ok(claim) => claims.push(claim),
                Err(failure) => {
                    work = Err(failure);
                    break;
                }
            }
        }
        failpoint!(CLAIM_RAISED);
        end(self.session, work).await?;
        failpoint!(CLAIM_COMMITTED);
        Ok(claims)
    }

    async fn claim_one(
        &mut self,
        at: &TopicPartition,
        request: &ClaimRequest,
        first_offset: Option<i64>,
    ) -> Result<Claim, Failure> {
        self.current = Some(at.clone());
        let raise = sql::CHECKPOINT_RAISE.of(self.session.dialect());
        let mut added = false;
        if self.session.execute(raise, &self.raise_params(at)).await? == 0 {
            let Some(first_offset) = first_offset else {
                return Err(Failure::operator(
                    "no_checkpoint",
                    format!("{at} has no checkpoint, and it is not known where it begins"),
                ));
            };
            add_checkpoint(self.session, self.pipeline_key, at, &request.incarnation, first_offset).await?;
            // Someone else may have added it in between: theirs is then the one that is raised.
            self.session.execute(raise, &self.raise_params(at)).await?;
            added = true;
        }
        let mut claim = read_claim(self.session, self.pipeline_key, at).await?;
        claim.fresh = added && claim.fence == 1;
        if claim.incarnation != request.incarnation {
            return Err(recreated(at, &claim, request));
        }
        Ok(claim)
    }

    async fn reclaim_all(&mut self, wanted: &[TopicPartition]) -> Result<Reclaimed, Failure> {
        self.session.begin().await?;
        failpoint!(RECLAIM_BEGUN);
        let mut reclaimed = Reclaimed::default();
        let work = self.reclaim_each(wanted, &mut reclaimed).await;
        failpoint!(RECLAIM_RAISED);
        end(self.session, work).await?;
        failpoint!(RECLAIM_COMMITTED);
        Ok(reclaimed)
    }

    async fn reclaim_each(&mut self, wanted: &[TopicPartition], reclaimed: &mut Reclaimed) -> Result<(), Failure> {
        let raise = sql::CHECKPOINT_RAISE_MINE.of(self.session.dialect());
        for at in wanted {
            self.current = Some(at.clone());
            let mut params = self.raise_params(at).to_vec();
            params.push(self.owner.into());
            if self.session.execute(raise, &params).await? == 0 {
                reclaimed.not_mine.push(at.clone());
            } else {
                reclaimed.claims.push(read_claim(self.session, self.pipeline_key, at).await?);
            }
        }
        Ok(())
    }

    fn raise_params(&self, at: &TopicPartition) -> [Value; 5] {
        [
            self.owner.into(),
            self.session.identity().into(),
            self.pipeline_key.into(),
            Value::from(&*at.topic),
            at.partition.into(),
        ]
    }
}

/// Adds a checkpoint with fence 0 that nobody owns, if there is none.
pub(super) async fn add_checkpoint<S: Statements>(
    session: &mut S,
    pipeline_key: &str,
    at: &TopicPartition,
    incarnation: &str,
    next_offset: i64,
) -> Result<(), Failure> {
    let params =
        [pipeline_key.into(), Value::from(&*at.topic), at.partition.into(), incarnation.into(), next_offset.into()];
    session.execute(sql::CHECKPOINT_ADD.of(session.dialect()), &params).await?;
    Ok(())
}

/// The raised row, read inside the transaction that holds its lock.
pub(super) async fn read_claim<S: Statements>(
    session: &mut S,
    pipeline_key: &str,
    at: &TopicPartition,
) -> Result<Claim, Failure> {
    let row = get_checkpoint(session, pipeline_key, at).await?;
    let mut cells = Cells::new(row.ok_or_else(|| damaged("a checkpoint vanished while it was being claimed"))?);
    let (incarnation, next_offset, fence) = (cells.text()?, cells.int()?, cells.int()?);
    let (_owner, _session) = (cells.text()?, cells.text_or_null()?);
    let open_delete = cells.bytes_or_null()?;
    let token = cells.bytes_or_null()?.and_then(|bytes| Token::from_bytes(&bytes));
    let (time_ms, number, seen) = (cells.int_or_null()?, cells.int_or_null()?, cells.int_or_null()?);
    let top = Top { number: number.map(i64::cast_unsigned).zip(seen), token, time_ms };
    Ok(Claim { at: at.clone(), incarnation: incarnation.into(), next_offset, fence, open_delete, top, fresh: false })
}

/// `incarnation, next_offset, fence, owner, session, open_delete` of a checkpoint, and the parts of its top.
async fn get_checkpoint<S: Statements>(
    session: &mut S,
    pipeline_key: &str,
    at: &TopicPartition,
) -> Result<Option<Vec<Value>>, Failure> {
    let params = [pipeline_key.into(), Value::from(&*at.topic), at.partition.into()];
    let rows = session.query(sql::CHECKPOINT_GET.of(session.dialect()), &params).await?;
    Ok(rows.into_iter().next())
}

fn recreated(at: &TopicPartition, stored: &Claim, request: &ClaimRequest) -> Failure {
    Failure::operator(
        "topic_recreated",
        format!(
            "topic {} was deleted and made anew: the checkpoint of {at} (offset {}) belongs to the topic with id {}, the source \
             now has the topic with id {}; nothing was changed. To go on with the new topic say where: lastword offsets set \
             --topic {} --partition {} --offset N (this is audited)",
            at.topic, stored.next_offset, stored.incarnation, request.incarnation, at.topic, at.partition
        ),
    )
}

/// Ends the session that the blocked row names, unless it is this one. Only that row's: the sessions of rows that could be
/// taken do not stand in the way.
async fn end_blocking(
    session: &mut Session,
    pipeline_key: &str,
    blocked: Option<TopicPartition>,
) -> Result<(), Failure> {
    let Some(at) = blocked else { return Ok(()) };
    let Some(row) = get_checkpoint(session, pipeline_key, &at).await? else { return Ok(()) };
    let mut cells = Cells::new(row);
    let (_incarnation, _next_offset, _fence, _owner) = (cells.text()?, cells.int()?, cells.int()?, cells.text()?);
    match cells.text_or_null()? {
        Some(recorded) if session.identity().as_deref() != Some(recorded.as_str()) => {
            let ended = session.end_other(&recorded).await?;
            tracing::warn!(partition = %at, session = recorded, ended, "the checkpoint stayed locked by its former session");
        }
        _ => {}
    }
    Ok(())
}
