//! The destination of a simulation: SQLite, real, behind sessions as a database server has them.
//!
//! One connection writes and one reads what is committed. A transaction takes the write lock with its first change and keeps it;
//! whoever wants it then waits and gives up after the lock timeout, as for a row of PostgreSQL. Sessions can be ended by
//! others, their work is undone then. Calls travel to the server and back in virtual time, and either way may be cut.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use crate::core::dialect::Dialect;
use crate::core::failure::{Class, Failure};
use crate::core::plan::Plan;
use crate::core::value::Value;
use crate::sink::proxy::{Answer, Answering, Proxy, Request, SessionId, pass};
use crate::sink::sqlite::SqliteSession;
use crate::sink::{Session, Statements};
use crate::support::random::Random;

use super::process::{Gate, Life};
use super::watch::Watch;

/// Longest wait for the write lock.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// Virtual time begins in the past, so that what the database stamps by its own clock is told apart.
const EPOCH_MS: i64 = 978_307_200_000;
const NOW: &str = "select cast(unixepoch('subsec') * 1000 as integer)";

/// What SQLite answers: at once, on this thread.
pub fn now<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("SQLite answers at once")
}

/// A database that lives through many simulations, emptied between them.
pub struct Database {
    pub writer: Session,
    pub reader: Session,
    _folder: tempfile::TempDir,
}

impl Database {
    /// A new one with the tables of the histories.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("simulation.db");
        let open = || Session::Sqlite(SqliteSession::here(&file).expect("open"));
        let (mut writer, reader) = (open(), open());
        for statement in [
            "create table a (id integer primary key, v integer check (v <> 666), w integer)",
            "create table b (id integer primary key, v integer check (v <> 666), w integer, extra integer)",
        ] {
            now(writer.execute(statement, &[])).expect(statement);
        }
        Self { writer, reader, _folder: folder }
    }

    /// Nothing of a former simulation stays, but for the tables.
    pub fn clear(&mut self) {
        let tables = "select name from sqlite_master where type = 'table' and name not in ('lastword_meta')";
        let tables = now(self.writer.query(tables, &[])).expect("tables");
        now(self.writer.begin()).expect("begin");
        for row in tables {
            let name = row[0].as_text().expect("a name");
            now(self.writer.execute(&format!("delete from \"{name}\""), &[])).expect("clear");
        }
        now(self.writer.commit()).expect("commit");
    }
}

/// How often things go wrong, in a thousand calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// The call does not reach the server, and the session is over.
    pub cut_before: u64,
    /// The answer does not come back, and the session is over.
    pub cut_after: u64,
    /// A transaction arrives when nobody waits for it any more.
    pub late: u64,
    /// A transaction holds its lock for long.
    pub slow: u64,
}

/// What was injected and seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Injected {
    pub cut_before: u64,
    pub lost_acknowledgements: u64,
    pub late_landed: u64,
    pub late_refused: u64,
    pub lock_timeouts: u64,
    pub ended_by_others: u64,
    pub slow: u64,
}

struct Backend {
    process: u64,
    in_transaction: bool,
    dead: bool,
    /// Its client is gone, and the server does not know it yet.
    left: bool,
}

struct State {
    random: Random,
    sessions: BTreeMap<SessionId, Backend>,
    last: SessionId,
    /// Who holds the write lock; `begun`: SQLite's transaction is open.
    holder: Option<SessionId>,
    trouble: Trouble,
    injected: Injected,
    database: Database,
    watch: Watch,
}

/// See the module.
pub struct Server {
    state: Mutex<State>,
    freed: Notify,
    began: Instant,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

fn lost(class: Class, what: &str) -> Failure {
    Failure { connection_lost: true, ..Failure::new(class, "simulated", what) }
}

impl Server {
    pub fn new(database: Database, watch: Watch, seed: u64) -> Self {
        let state = State {
            random: Random::new(seed),
            sessions: BTreeMap::new(),
            last: 0,
            holder: None,
            trouble: Trouble::default(),
            injected: Injected::default(),
            database,
            watch,
        };
        Self { state: Mutex::new(state), freed: Notify::new(), began: Instant::now() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn trouble(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    pub fn injected(&self) -> Injected {
        self.state().injected
    }

    /// Looks at the database and at what is known of it.
    pub fn look<T>(&self, look: impl FnOnce(&mut Database, &mut Watch) -> T) -> T {
        let state = &mut *self.state();
        look(&mut state.database, &mut state.watch)
    }

    /// The database, when everything is over.
    pub fn into_database(self) -> (Database, Watch) {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        (state.database, state.watch)
    }

    /// Virtual time since the run began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn now_ms(&self) -> i64 {
        EPOCH_MS + self.began.elapsed().as_millis() as i64
    }

    fn draw(&self, bound: u64) -> u64 {
        self.state().random.below(bound)
    }

    /// The time that a message travels.
    async fn travel(&self) {
        let micros = match self.draw(20) {
            0 => self.draw(50_000),
            _ => self.draw(2_000),
        };
        sleep(Duration::from_micros(micros)).await;
    }

    fn open(&self, process: u64) -> SessionId {
        let mut state = self.state();
        state.last += 1;
        let id = state.last;
        state.sessions.insert(id, Backend { process, in_transaction: false, dead: false, left: false });
        id
    }

    /// Ends a session: whatever it has open is undone.
    fn kill(&self, id: SessionId) -> bool {
        let mut state = self.state();
        let Some(backend) = state.sessions.get_mut(&id).filter(|backend| !backend.dead) else { return false };
        backend.dead = true;
        backend.in_transaction = false;
        if state.holder == Some(id) {
            now(state.database.writer.rollback()).expect("rollback");
            state.holder = None;
            self.freed.notify_waiters();
        }
        true
    }

    /// Ends all sessions of a process that died, some only after a while: a server notices late.
    pub fn lose(self: &Arc<Self>, process: u64) {
        let ids: Vec<SessionId> = {
            let state = self.state();
            state.sessions.iter().filter(|(_, of)| of.process == process && !of.dead).map(|(id, _)| *id).collect()
        };
        for id in ids {
            let after = Duration::from_millis(if self.draw(2) == 0 { 0 } else { self.draw(8_000) });
            let server = Arc::clone(self);
            tokio::spawn(async move {
                sleep(after).await;
                server.kill(id);
            });
        }
    }

    fn alive(&self, id: SessionId) -> Result<(), Failure> {
        match self.state().sessions.get(&id) {
            Some(backend) if !backend.dead => Ok(()),
            _ => Err(lost(Class::Transient, "the server ended the session")),
        }
    }

    /// Takes the write lock, and begins SQLite's transaction under it.
    async fn lock(&self, id: SessionId) -> Result<(), Failure> {
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            let freed = self.freed.notified();
            self.alive(id)?;
            {
                let mut state = self.state();
                match state.holder {
                    Some(holder) if holder == id => return Ok(()),
                    Some(_) => {}
                    None => {
                        state.holder = Some(id);
                        now(state.database.writer.begin()).expect("begin");
                        return Ok(());
                    }
                }
            }
            if timeout_at(deadline, freed).await.is_err() {
                self.state().injected.lock_timeouts += 1;
                return Err(Failure::new(Class::Transient, "55P03", "the lock was not given in time"));
            }
        }
    }

    fn free(&self, id: SessionId) {
        let mut state = self.state();
        if state.holder == Some(id) {
            state.holder = None;
            self.freed.notify_waiters();
        }
    }

    /// The server's side of a call.
    async fn perform(&self, id: SessionId, request: Request<'_>) -> Result<Answer, Failure> {
        self.alive(id)?;
        let in_transaction = self.state().sessions.get(&id).is_some_and(|backend| backend.in_transaction);
        match request {
            Request::Begin => {
                if let Some(backend) = self.state().sessions.get_mut(&id) {
                    backend.in_transaction = true;
                }
                Ok(Answer::Done)
            }
            Request::Query(NOW, _) => Ok(Answer::Rows(vec![vec![Value::Int(self.now_ms())]])),
            Request::Query(..) | Request::Describe(_) => {
                let state = &mut *self.state();
                let holds = state.holder == Some(id);
                let session = if holds { &mut state.database.writer } else { &mut state.database.reader };
                now(pass(session, request))
            }
            Request::Execute(..) => {
                self.lock(id).await?;
                let answer = now(pass(&mut self.state().database.writer, request));
                if !in_transaction {
                    self.finish(id, answer.is_ok(), None);
                }
                answer
            }
            Request::Commit | Request::Rollback => {
                self.finish(id, matches!(request, Request::Commit), None);
                Ok(Answer::Done)
            }
            Request::Apply(plan) => self.apply(id, plan).await,
            Request::EndOther(identity) => {
                let other = identity.strip_prefix("session ").and_then(|number| number.parse().ok());
                let ended = other.is_some_and(|other| self.kill(other));
                self.state().injected.ended_by_others += u64::from(ended);
                Ok(Answer::Ended(ended))
            }
        }
    }

    /// Ends a transaction, if one was begun, and looks at what it left.
    fn finish(&self, id: SessionId, commit: bool, plan: Option<&Plan>) {
        let now_ms = self.now_ms();
        let state = &mut *self.state();
        if let Some(backend) = state.sessions.get_mut(&id) {
            backend.in_transaction = false;
        }
        if state.holder != Some(id) {
            return;
        }
        if commit {
            state.watch.stamp(&mut state.database, now_ms);
            now(state.database.writer.commit()).expect("commit");
            state.watch.committed(&mut state.database, plan, self.began.elapsed());
        } else {
            now(state.database.writer.rollback()).expect("rollback");
        }
        state.holder = None;
        self.freed.notify_waiters();
    }

    /// A plan, whose transaction holds the lock for a while.
    async fn apply(&self, id: SessionId, plan: &Plan) -> Result<Answer, Failure> {
        self.lock(id).await?;
        let slow = self.draw(1000) < self.state().trouble.slow;
        if slow {
            self.state().injected.slow += 1;
            sleep(Duration::from_millis(self.draw(6_000))).await;
            self.alive(id)?;
        }
        let now_ms = self.now_ms();
        let outcome = {
            let state = &mut *self.state();
            // The sink's own transaction takes the place of the one that held the lock.
            now(state.database.writer.rollback()).expect("rollback");
            let outcome = now(state.database.writer.apply(plan));
            if outcome.is_ok() {
                state.watch.stamp(&mut state.database, now_ms);
                state.watch.committed(&mut state.database, Some(plan), self.began.elapsed());
            }
            outcome
        };
        self.free(id);
        outcome.map(Answer::Applied)
    }
}

/// A process's way to the server.
#[derive(Clone, Debug)]
pub struct Way {
    pub server: Arc<Server>,
    pub gate: Gate,
    pub process: u64,
}

impl Way {
    /// Whether the process that a message comes from still runs: one that stands still sends nothing, and hears nothing.
    async fn through(&self) {
        self.gate.pass().await;
        self.server.travel().await;
        self.gate.pass().await;
    }

    async fn exchange(&self, id: SessionId, request: Request<'_>) -> Result<Answer, Failure> {
        let ends = matches!(request, Request::Apply(_) | Request::Commit);
        let (drawn, trouble) = (self.server.draw(1000), self.server.state().trouble);
        tracing::trace!(elapsed = ?self.server.elapsed(), process = self.process, id, drawn, ?request, "called");
        self.through().await;
        if drawn < trouble.cut_before {
            self.server.state().injected.cut_before += 1;
            self.server.kill(id);
            // Whoever sent a COMMIT cannot know; whoever lost the connection before knows.
            let unknown = ends && (matches!(request, Request::Commit) || self.server.draw(2) == 0);
            return Err(lost(if unknown { Class::Unknown } else { Class::Transient }, "cut off before"));
        }
        if let Request::Apply(plan) = request
            && drawn < trouble.cut_before + trouble.late
        {
            self.land_late(id, plan.clone());
            return Err(lost(Class::Unknown, "cut off while it was under way"));
        }
        let answer = self.server.perform(id, request).await;
        self.through().await;
        if drawn >= 1000 - trouble.cut_after {
            self.server.state().injected.lost_acknowledgements += u64::from(answer.is_ok() && ends);
            self.server.kill(id);
            return Err(lost(if ends { Class::Unknown } else { Class::Transient }, "cut off after"));
        }
        answer
    }

    /// The server gets a transaction whose sender is gone already: perhaps long after others have claimed its partitions.
    fn land_late(&self, id: SessionId, plan: Plan) {
        let server = Arc::clone(&self.server);
        if let Some(backend) = server.state().sessions.get_mut(&id) {
            backend.left = true;
        }
        let holds = server.draw(2) == 0;
        let after = Duration::from_millis(server.draw(4_000));
        tokio::spawn(async move {
            // Its locks are taken, or it is still on the wire.
            if holds && server.lock(id).await.is_err() {
                server.kill(id);
                return;
            }
            sleep(after).await;
            let landed = server.perform(id, Request::Apply(&plan)).await.is_ok();
            server.kill(id);
            let mut state = server.state();
            state.injected.late_landed += u64::from(landed);
            state.injected.late_refused += u64::from(!landed);
        });
    }
}

impl Proxy for Way {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn open<'a>(&'a self, _purpose: &'a str) -> Answering<'a, (SessionId, Option<String>)> {
        Box::pin(async move {
            self.through().await;
            if self.server.draw(1000) < self.server.state().trouble.cut_before {
                return Err(lost(Class::Transient, "no connection"));
            }
            let id = self.server.open(self.process);
            Ok((id, Some(format!("session {id}"))))
        })
    }

    fn call<'a>(&'a self, session: SessionId, request: Request<'a>) -> Answering<'a, Answer> {
        Box::pin(self.exchange(session, request))
    }

    fn close(&self, session: SessionId) {
        let left = self.server.state().sessions.get(&session).is_some_and(|backend| backend.left);
        match self.gate.life() {
            _ if left => {}
            Life::Runs => {
                self.server.kill(session);
            }
            // What a process that stands still gives up is closed when it goes on.
            Life::Stands => {
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    let way = self.clone();
                    runtime.spawn(async move {
                        way.gate.pass().await;
                        way.server.kill(session);
                    });
                }
            }
            Life::Dead => {}
        }
    }
}
