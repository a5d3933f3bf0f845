//! A session: bookkeeping statements with [`Value`]s in and out, over the extended protocol in binary.
//!
//! Statements with parameters are prepared once and kept, a bounded number of them. Statements without parameters go by
//! the simple protocol, so that a migration file may hold several, and no plan made for an empty table is kept.

use std::collections::{HashMap, HashSet};
use std::fmt;

use bytes::BytesMut;
use deadpool_postgres::ClientWrapper;
use futures_util::future::join_all;
use futures_util::{TryStreamExt, pin_mut};
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type, to_sql_checked};
use tokio_postgres::{Row, SimpleQueryMessage, Statement};

use crate::core::dialect::Dialect;
use crate::core::failure::{Class, Failure};
use crate::core::pgcopy::literal::{self, Form};
use crate::core::pgcopy::{self, Misfit, PgType};
use crate::core::value::Value;
use crate::sink::Statements;

use super::classify;

/// Prepared statements that a session keeps. Beyond it all are forgotten: they come back within a batch.
const STATEMENTS_MAX: usize = 1024;
/// Statements that are sent before the first answer is waited for.
const PIPELINED: usize = 256;

/// A session with a connection of its own.
pub struct PostgresSession {
    pub(super) client: Box<ClientWrapper>,
    identity: Option<String>,
    statements: HashMap<String, Statement>,
    /// Ids of the tables that have a stage here.
    pub(super) stages: HashSet<u32>,
    /// A statement of the open transaction failed: COMMIT would roll back and not say so.
    failed: bool,
}

impl fmt::Debug for PostgresSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSession").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl PostgresSession {
    pub(super) fn new(client: ClientWrapper) -> Self {
        Self {
            client: Box::new(client),
            identity: None,
            statements: HashMap::new(),
            stages: HashSet::new(),
            failed: false,
        }
    }

    pub(super) fn set_identity(&mut self, identity: String) {
        self.identity = Some(identity);
    }

    /// `<process id of the backend>/<its start in microseconds since 1970>`; see [`crate::sink::Session::identity`].
    pub fn identity(&self) -> Option<String> {
        self.identity.clone()
    }

    /// Ends another session of lastword's and waits up to two seconds until it is gone. `false` if there is none of this
    /// identity, or if it is still there; see [`crate::sink::Session::end_other`].
    pub async fn end_other(&mut self, identity: &str) -> Result<bool, Failure> {
        let numbers = identity.split_once('/').and_then(|(pid, start)| Some((pid.parse().ok()?, start.parse().ok()?)));
        let Some((pid, start)) = numbers else {
            return Err(Failure::operator("identity", "a checkpoint row names a session in an unknown form"));
        };
        let params = [Value::Int(pid), Value::Int(start)];
        let rows = self.query(include_str!("../../../sql/postgres/session_end.sql"), &params).await?;
        Ok(rows.first().and_then(|row| row.first()) == Some(&Value::Bool(true)))
    }

    /// A prepared statement, from the session's own cache.
    pub(super) async fn prepared(&mut self, sql: &str) -> Result<Statement, Failure> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await.map_err(|error| self.failed(&error))?;
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Classifies an error of a statement and remembers what follows from it for this session.
    pub(super) fn failed(&mut self, error: &tokio_postgres::Error) -> Failure {
        let failure = classify::statement(error);
        self.failed = true;
        if matches!(failure.code.as_str(), "0A000" | "42703" | "42P01" | "22P03" | "42804") {
            // Someone changed a table: nothing that was prepared or staged for the old one is of use.
            self.statements.clear();
            self.stages.clear();
        }
        failure
    }

    async fn simple(&mut self, sql: &str) -> Result<Vec<SimpleQueryMessage>, Failure> {
        self.client.simple_query(sql).await.map_err(|error| self.failed(&error))
    }
}

impl Statements for PostgresSession {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, Failure> {
        if params.is_empty() {
            let messages = self.simple(sql).await?;
            return Ok(messages
                .iter()
                .map(|m| if let SimpleQueryMessage::CommandComplete(n) = m { *n } else { 0 })
                .sum());
        }
        let statement = self.prepared(sql).await?;
        let params = encode_params(&statement, params)?;
        self.client.execute_raw(&statement, params.iter()).await.map_err(|error| self.failed(&error))
    }

    /// Sent in one go, without waiting for each answer.
    async fn execute_each(&mut self, sql: &str, rows: &[Vec<Value>]) -> Result<u64, Failure> {
        let statement = self.prepared(sql).await?;
        let mut affected = 0;
        for part in rows.chunks(PIPELINED) {
            let params = part.iter().map(|row| encode_params(&statement, row)).collect::<Result<Vec<_>, _>>()?;
            let all = join_all(params.iter().map(|params| run(&self.client, &statement, params))).await;
            let done: Result<Vec<Done>, tokio_postgres::Error> = all.into_iter().collect();
            affected += done.map_err(|error| self.failed(&error))?.iter().map(|done| done.affected).sum::<u64>();
        }
        Ok(affected)
    }

    async fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>, Failure> {
        let statement = self.prepared(sql).await?;
        let params = encode_params(&statement, params)?;
        let done = run(&self.client, &statement, &params).await.map_err(|error| self.failed(&error))?;
        done.rows.iter().map(decode_row).collect()
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        self.failed = false;
        self.simple("begin isolation level read committed").await.map(drop)
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        if self.failed {
            self.rollback().await?;
            return Err(Failure::new(
                Class::Transient,
                "25P02",
                "a transaction with a failed statement was rolled back",
            ));
        }
        self.client.batch_execute("commit").await.map_err(|error| classify::commit(&error))
    }

    async fn rollback(&mut self) -> Result<(), Failure> {
        self.simple("rollback").await?;
        self.failed = false;
        Ok(())
    }
}

/// What a statement brought.
pub(super) struct Done {
    /// Rows that it affected or returned.
    pub(super) affected: u64,
    /// Rows that it returned.
    pub(super) rows: Vec<Row>,
}

impl Done {
    /// The whole numbers of the first row, 0 for what is not there.
    pub(super) fn count(&self, at: usize) -> u64 {
        let number: Option<i64> = self.rows.first().and_then(|row| row.try_get(at).ok());
        number.map_or(0, |number| u64::try_from(number).unwrap_or(0))
    }
}

/// Runs a prepared statement to its end. Takes the client by reference, so that several can be under way at once.
pub(super) async fn run(
    client: &ClientWrapper,
    statement: &Statement,
    params: &[Param],
) -> Result<Done, tokio_postgres::Error> {
    let stream = client.query_raw(statement, params.iter()).await?;
    pin_mut!(stream);
    let mut rows = Vec::new();
    while let Some(row) = stream.try_next().await? {
        rows.push(row);
    }
    Ok(Done { affected: stream.rows_affected().unwrap_or(0), rows })
}

/// A parameter in the form that its statement wants. `Debug` shows nothing: the driver logs parameters.
pub(super) struct Param {
    bytes: Option<BytesMut>,
    text: bool,
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("_")
    }
}

impl Param {
    pub(super) fn new(kind: &Type, value: &Value) -> Result<Self, Misfit> {
        if value.is_null() {
            return Ok(Self { bytes: None, text: false });
        }
        let mut out = BytesMut::new();
        let text = match (pg_type(kind), value) {
            (Some(PgType::Text), Value::Int(number)) => return Ok(Self::of_text(&number.to_string())),
            (Some(PgType::Text), Value::UInt(number)) => return Ok(Self::of_text(&number.to_string())),
            (Some(kind), value) => {
                pgcopy::put_value(&mut out, kind, value)?;
                false
            }
            // The server reads text of any type.
            (None, value) => return Ok(Self::of_text(&literal::literal(&form(kind), value)?)),
        };
        Ok(Self { bytes: Some(out), text })
    }

    fn of_text(text: &str) -> Self {
        Self { bytes: Some(BytesMut::from(text.as_bytes())), text: true }
    }
}

impl ToSql for Param {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match &self.bytes {
            None => Ok(IsNull::Yes),
            Some(bytes) => {
                out.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        if self.text { Format::Text } else { Format::Binary }
    }

    to_sql_checked!();
}

/// Brings parameters into the form that a statement wants.
pub(super) fn encode_params(statement: &Statement, params: &[Value]) -> Result<Vec<Param>, Failure> {
    let kinds = statement.params();
    if kinds.len() != params.len() {
        let message = format!("a statement takes {} parameters and got {}", kinds.len(), params.len());
        return Err(Failure::operator("parameters", message));
    }
    let numbered = kinds.iter().zip(params).enumerate();
    numbered
        .map(|(at, (kind, value))| {
            Param::new(kind, value).map_err(|misfit| {
                let message = format!("parameter {} of type {} got {misfit}", at + 1, kind.name());
                Failure::new(Class::Record, "parameter", message)
            })
        })
        .collect()
}

/// The text that a type reads.
fn form(kind: &Type) -> Form {
    match kind.kind() {
        Kind::Domain(base) => form(base),
        Kind::Array(element) => Form::Array { element: Box::new(form(element)), limits: None },
        _ => Form::of_name(kind.name()),
    }
}

fn pg_type(kind: &Type) -> Option<PgType> {
    Some(match *kind {
        Type::BOOL => PgType::Bool,
        Type::INT2 => PgType::Int2,
        Type::INT4 => PgType::Int4,
        Type::INT8 => PgType::Int8,
        Type::OID => PgType::Oid,
        Type::FLOAT4 => PgType::Float4,
        Type::FLOAT8 => PgType::Float8,
        Type::NUMERIC => PgType::Numeric(None),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::UNKNOWN => PgType::Text,
        Type::NAME => PgType::Name,
        Type::CHAR => PgType::Char,
        Type::BYTEA => PgType::Bytea,
        Type::DATE => PgType::Date,
        Type::TIME => PgType::Time(6),
        Type::TIMETZ => PgType::TimeTz(6),
        Type::BIT | Type::VARBIT => PgType::Bits,
        Type::POINT => PgType::Point,
        Type::TIMESTAMP => PgType::Timestamp(6),
        Type::TIMESTAMPTZ => PgType::TimestampTz(6),
        Type::UUID => PgType::Uuid,
        Type::JSON => PgType::Json,
        Type::JSONB => PgType::Jsonb,
        _ => return None,
    })
}

/// A result column, raw.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> tokio_postgres::types::FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn decode_row(row: &Row) -> Result<Vec<Value>, Failure> {
    let columns = row.columns().iter().enumerate();
    columns
        .map(|(at, column)| {
            let refuse = |reason: String| {
                let (name, kind) = (column.name(), column.type_().name());
                Failure::operator("result", format!("result column {name:?} of type {kind} cannot be read: {reason}"))
            };
            let Raw(raw) = row.try_get(at).map_err(|error| refuse(error.to_string()))?;
            match (raw, pg_type(column.type_())) {
                (None, _) => Ok(Value::Null),
                // What a function without a result returns.
                (Some(_), None) if *column.type_() == Type::VOID => Ok(Value::Null),
                (Some(_), None) => Err(refuse("the type is not supported here".to_owned())),
                (Some(bytes), Some(kind)) => {
                    pgcopy::read_value(kind, bytes).map_err(|misfit| refuse(misfit.to_string()))
                }
            }
        })
        .collect()
}
