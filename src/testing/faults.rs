//! The way of a process to its destination, on which things go wrong.
//!
//! Calls reach the database through sessions of its own. A call that is lost loses the connection, too; what it had open is rolled back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Mutex as Turns;

use crate::core::dialect::Dialect;
use crate::core::failure::{Class, Failure};
use crate::sink::proxy::{Answer, Answering, Proxy, Request, SessionId, pass};
use crate::sink::{Session, Sink};

use super::random::Random;

/// Calls of which one is lost, while some are to be lost.
const ONE_OF: usize = 6;

/// What is still to go wrong, and what did; shared by all processes of a delivery.
#[derive(Debug)]
pub(super) struct Faults {
    pub(super) random: Mutex<Random>,
    pub(super) lost_left: AtomicU64,
    pub(super) cuts_left: AtomicU64,
    pub(super) lost_landed: AtomicU64,
    pub(super) lost_before: AtomicU64,
    pub(super) cut: AtomicU64,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It does not arrive.
    Before,
    /// Its answer does not come back.
    After,
}

impl Faults {
    pub(super) fn new(seed: u64, lost: usize, cuts: usize) -> Self {
        Self {
            random: Mutex::new(Random::new(seed)),
            lost_left: AtomicU64::new(lost as u64),
            cuts_left: AtomicU64::new(cuts as u64),
            lost_landed: AtomicU64::new(0),
            lost_before: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        }
    }

    /// How many processes may end by what was done to them.
    pub(super) fn injected(&self) -> u64 {
        [&self.lost_landed, &self.lost_before, &self.cut].iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn fate(&self, ends: bool) -> Fate {
        let left = if ends { &self.lost_left } else { &self.cuts_left };
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        // A commit is rare beside the other calls.
        let happens = random.below(if ends { 2 } else { ONE_OF * 2 }) == 0;
        let after = random.below(2) == 0;
        drop(random);
        let take = |left: u64| left.checked_sub(1);
        if !happens || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Fate::Answered;
        }
        let count = match (ends, after) {
            (true, true) => &self.lost_landed,
            (true, false) => &self.lost_before,
            (false, _) => &self.cut,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if after { Fate::After } else { Fate::Before }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Way {
    sink: Sink,
    dialect: Dialect,
    faults: Arc<Faults>,
    dead: AtomicBool,
    last: AtomicU64,
    sessions: Mutex<HashMap<SessionId, Arc<Turns<Session>>>>,
}

fn lost(class: Class, what: &str) -> Failure {
    Failure { connection_lost: true, ..Failure::new(class, "injected", what) }
}

impl Way {
    pub(super) fn new(sink: Sink, dialect: Dialect, faults: Arc<Faults>) -> Self {
        let (dead, last) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { sink, dialect, faults, dead, last, sessions: Mutex::default() }
    }

    /// From here on the process does nothing any more that anybody could see.
    pub(super) fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.sessions().clear();
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Turns<Session>>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> Result<(), Failure> {
        match self.dead.load(Ordering::SeqCst) {
            true => Err(lost(Class::Transient, "the process is dead")),
            false => Ok(()),
        }
    }

    async fn exchange(&self, id: SessionId, request: Request<'_>) -> Result<Answer, Failure> {
        self.alive()?;
        let session = self.sessions().get(&id).cloned();
        let session = session.ok_or_else(|| lost(Class::Transient, "the connection is cut"))?;
        let ends = matches!(request, Request::Apply(_) | Request::Commit);
        let fate = self.faults.fate(ends);
        if fate != Fate::Answered {
            self.close(id);
        }
        let class = if ends { Class::Unknown } else { Class::Transient };
        if fate == Fate::Before {
            return Err(lost(class, "the call did not arrive"));
        }
        let answer = pass(&mut *session.lock().await, request).await;
        if self.alive().is_err() || fate == Fate::After {
            return Err(lost(class, "the answer did not come back"));
        }
        answer
    }
}

impl Proxy for Way {
    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn open<'a>(&'a self, purpose: &'a str) -> Answering<'a, (SessionId, Option<String>)> {
        Box::pin(async move {
            self.alive()?;
            let session = self.sink.session(purpose).await?;
            let identity = session.identity();
            let id = self.last.fetch_add(1, Ordering::Relaxed);
            self.sessions().insert(id, Arc::new(Turns::new(session)));
            // It may have died meanwhile.
            self.alive().inspect_err(|_| self.close(id))?;
            Ok((id, identity))
        })
    }

    fn call<'a>(&'a self, session: SessionId, request: Request<'a>) -> Answering<'a, Answer> {
        Box::pin(self.exchange(session, request))
    }

    fn close(&self, session: SessionId) {
        let closed = self.sessions().remove(&session);
        drop(closed);
    }
}
