//! A destination behind a proxy: every call of a session is a message that somebody else answers.
//!
//! What stands between may lose the message, lose the answer, hold either up, or end the session: that is how the harness for
//! tests ([`crate::testing`]) lets commits go unacknowledged, and how the simulation lets many processes share one database
//! under a clock of its own. Everything above a session is the code that runs against a database.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::core::dialect::Dialect;
use crate::core::failure::{Class, Failure};
use crate::core::plan::{Applied, Plan};
use crate::core::table::{TableName, TableShape};
use crate::core::value::Value;

use super::{Session, Statements};

/// A boxed future of an answer.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// Number of a session of a proxy.
pub type SessionId = u64;

/// A call of a session.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// [`Statements::execute`].
    Execute(&'a str, &'a [Value]),
    /// [`Statements::query`].
    Query(&'a str, &'a [Value]),
    /// [`Statements::begin`].
    Begin,
    /// [`Statements::commit`].
    Commit,
    /// [`Statements::rollback`].
    Rollback,
    /// [`Session::describe`].
    Describe(&'a TableName),
    /// [`Session::apply`]: a whole transaction.
    Apply(&'a Plan),
    /// [`Session::end_other`].
    EndOther(&'a str),
}

/// What a call came to.
#[derive(Debug)]
pub enum Answer {
    /// Begin, commit, rollback.
    Done,
    /// Rows that a statement affected.
    Count(u64),
    /// Rows of a query.
    Rows(Vec<Vec<Value>>),
    /// A table, if there is one.
    Shape(Option<TableShape>),
    /// The outcome of a plan.
    Applied(Applied),
    /// Whether a session was ended.
    Ended(bool),
}

/// See the module.
pub trait Proxy: Debug + Send + Sync {
    /// The language of the statements.
    fn dialect(&self) -> Dialect;

    /// Opens a session: its number, and its identity in the database.
    fn open<'a>(&'a self, purpose: &'a str) -> Answering<'a, (SessionId, Option<String>)>;

    /// Answers a call.
    fn call<'a>(&'a self, session: SessionId, request: Request<'a>) -> Answering<'a, Answer>;

    /// The session was dropped: whatever it has open is rolled back.
    fn close(&self, session: SessionId);
}

/// A call on a session of the database itself.
pub async fn pass(session: &mut Session, request: Request<'_>) -> Result<Answer, Failure> {
    Ok(match request {
        Request::Execute(sql, params) => Answer::Count(session.execute(sql, params).await?),
        Request::Query(sql, params) => Answer::Rows(session.query(sql, params).await?),
        Request::Begin => session.begin().await.map(|()| Answer::Done)?,
        Request::Commit => session.commit().await.map(|()| Answer::Done)?,
        Request::Rollback => session.rollback().await.map(|()| Answer::Done)?,
        Request::Describe(name) => Answer::Shape(session.describe(name).await?),
        Request::Apply(plan) => Answer::Applied(session.apply(plan).await?),
        Request::EndOther(identity) => Answer::Ended(session.end_other(identity).await?),
    })
}

/// The runtime's end of a session.
#[derive(Debug)]
pub struct ProxySession {
    proxy: Arc<dyn Proxy>,
    id: SessionId,
    identity: Option<String>,
}

impl ProxySession {
    /// Opens a session.
    pub async fn open(proxy: &Arc<dyn Proxy>, purpose: &str) -> Result<Self, Failure> {
        let (id, identity) = proxy.open(purpose).await?;
        Ok(Self { proxy: Arc::clone(proxy), id, identity })
    }

    /// See [`Session::identity`].
    pub fn identity(&self) -> Option<String> {
        self.identity.clone()
    }

    /// See [`Session::end_other`].
    pub async fn end_other(&mut self, identity: &str) -> Result<bool, Failure> {
        match self.proxy.call(self.id, Request::EndOther(identity)).await? {
            Answer::Ended(ended) => Ok(ended),
            other => Err(mixed_up(&other)),
        }
    }

    /// See [`Session::describe`].
    pub async fn describe(&mut self, name: &TableName) -> Result<Option<TableShape>, Failure> {
        match self.proxy.call(self.id, Request::Describe(name)).await? {
            Answer::Shape(shape) => Ok(shape),
            other => Err(mixed_up(&other)),
        }
    }

    /// See [`Session::apply`].
    pub async fn apply(&mut self, plan: &Plan) -> Result<Applied, Failure> {
        match self.proxy.call(self.id, Request::Apply(plan)).await? {
            Answer::Applied(applied) => Ok(applied),
            other => Err(mixed_up(&other)),
        }
    }

    async fn done(&mut self, request: Request<'_>) -> Result<(), Failure> {
        match self.proxy.call(self.id, request).await? {
            Answer::Done => Ok(()),
            other => Err(mixed_up(&other)),
        }
    }
}

impl Drop for ProxySession {
    fn drop(&mut self) {
        self.proxy.close(self.id);
    }
}

impl Statements for ProxySession {
    fn dialect(&self) -> Dialect {
        self.proxy.dialect()
    }

    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, Failure> {
        match self.proxy.call(self.id, Request::Execute(sql, params)).await? {
            Answer::Count(count) => Ok(count),
            other => Err(mixed_up(&other)),
        }
    }

    async fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>, Failure> {
        match self.proxy.call(self.id, Request::Query(sql, params)).await? {
            Answer::Rows(rows) => Ok(rows),
            other => Err(mixed_up(&other)),
        }
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        self.done(Request::Begin).await
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        self.done(Request::Commit).await
    }

    async fn rollback(&mut self) -> Result<(), Failure> {
        self.done(Request::Rollback).await
    }
}

/// A proxy that answers another question.
fn mixed_up(answer: &Answer) -> Failure {
    let kind = match answer {
        Answer::Done => "done",
        Answer::Count(_) => "a count",
        Answer::Rows(_) => "rows",
        Answer::Shape(_) => "a table",
        Answer::Applied(_) => "an outcome",
        Answer::Ended(_) => "ended",
    };
    Failure::new(Class::Operator, "proxy", format!("the proxy of the destination answered {kind} to another question"))
}
