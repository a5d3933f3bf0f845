//! Tests against a real server, named by `LASTWORD_TEST_POSTGRES`.

mod collecting;
mod convergence;
mod describing;
mod every_type;
mod existing;
mod failing;
mod guards;
mod races;
mod sessions;
mod storage;
mod types;
mod unique;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{PostgresSession, PostgresSink};
use crate::config::checked::SinkConfig;
use crate::config::secret::Secret;
use crate::core::dialect::Dialect;
use crate::core::failure::Failure;
use crate::core::plan::{Delete, Plan, TableOutcome, TablePlan, Upsert, UpsertGroup};
use crate::core::table::{Contract, DeleteMode, TOKEN_COLUMN, Table, TableName, TokenStorage};
use crate::core::token::{Token, TokenWriter};
use crate::core::value::Value;
use crate::sink::contract::counts;
use crate::sink::{Statements, bookkeep};

/// A variable of the test environment.
pub(super) fn service(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set; run tests/run, or --fast"))
}

fn sink_of(url: &str) -> PostgresSink {
    try_sink(url).expect("a sink")
}

fn try_sink(url: &str) -> Result<PostgresSink, Failure> {
    let (url, lock_timeout) = (Secret::new(url), Duration::from_secs(20));
    PostgresSink::new(&SinkConfig { url, dialect: Dialect::Postgres, writers: 1, lock_timeout })
}

async fn session() -> PostgresSession {
    let sink = sink_of(&service("LASTWORD_TEST_POSTGRES"));
    let mut session = sink.session("test").await.expect("a session");
    bookkeep::migrate(&mut session).await.expect("a store");
    session
}

/// How a test's table is treated.
#[derive(Clone, Copy)]
struct Rule {
    contract: Contract,
    delete: DeleteMode,
    storage: TokenStorage,
}

const HARD: Rule = Rule { contract: Contract::FinalState, delete: DeleteMode::Hard, storage: TokenStorage::Column };
const SOFT: Rule = Rule { delete: DeleteMode::Soft, ..HARD };
const SIDE: Rule = Rule { storage: TokenStorage::Side, ..HARD };

/// Makes a table anew (`body` is what stands in the parentheses), with the bookkeeping table beside it.
async fn make(session: &mut PostgresSession, name: &str, body: &str, rule: Rule) -> Arc<Table> {
    let name = TableName::new(Some("public"), name);
    let quoted = Dialect::Postgres.table(&name);
    run(session, &format!("drop table if exists {quoted} cascade; create table {quoted} ({body})")).await;
    let table = known(session, &name, rule).await;
    let state = bookkeep::ensure_table_state(session, &name, rule.contract, rule.delete, rule.storage);
    state.await.expect("a table's state");
    run(
        session,
        &format!("update lastword.table_state set truncate_token = null where table_name = '{}'", quoted_text(&name)),
    )
    .await;
    let side = Dialect::Postgres.bookkeeping(&table.side_name());
    let key = |prefix: &str| -> String {
        let names =
            table.key.iter().map(|at| format!("{prefix}{}", Dialect::Postgres.ident(&table.shape.columns[*at].name)));
        names.collect::<Vec<_>>().join(", ")
    };
    let deleted = if rule.storage == TokenStorage::Side { ", add _lastword_deleted boolean not null" } else { "" };
    run(session, &format!(
        "drop table if exists {side}; create table {side} as select {} from {quoted} t with no data; alter table {side} \
         add {TOKEN_COLUMN} bytea not null, add deleted_at timestamptz not null default now(){deleted}, add primary key ({})",
        key("t."), key(""))).await;
    table
}

fn quoted_text(name: &TableName) -> String {
    name.to_string().replace('\'', "''")
}

/// The table as it is described now, with a number of its own.
async fn known(session: &mut PostgresSession, name: &TableName, rule: Rule) -> Arc<Table> {
    static ID: AtomicU32 = AtomicU32::new(1);
    let shape = session.describe(name).await.expect("described").expect("a table");
    let key = shape.primary_key.iter().map(|column| shape.position(column).expect("a key column")).collect();
    Arc::new(Table {
        id: ID.fetch_add(1, Ordering::Relaxed),
        shape,
        contract: rule.contract,
        delete: rule.delete,
        token_storage: rule.storage,
        key,
        single_writer: false,
    })
}

async fn run(session: &mut PostgresSession, sql: &str) {
    session.execute(sql, &[]).await.unwrap_or_else(|failure| panic!("{failure}: {sql}"));
}

/// Extensions belong to the whole database, and two sessions that make one at once collide, `if not exists` or not.
async fn extensions(session: &mut PostgresSession, names: &[&str]) {
    let make: Vec<String> = names.iter().map(|name| format!("create extension if not exists {name};")).collect();
    let sql = format!("begin; select pg_advisory_xact_lock(7345201); {} commit", make.concat());
    run(session, &sql).await;
}

/// The result as text, rows by `;`, columns by `,`.
async fn show(session: &mut PostgresSession, sql: &str) -> String {
    let rows = session.query(sql, &[]).await.unwrap_or_else(|failure| panic!("{failure}: {sql}"));
    let cell = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        other => other.as_text().map_or_else(|| other.as_int().map_or("?".into(), |n| n.to_string()), str::to_owned),
    };
    let line = |row: &Vec<Value>| row.iter().map(cell).collect::<Vec<_>>().join(",");
    rows.iter().map(line).collect::<Vec<_>>().join(";")
}

fn token(position: u64) -> Token {
    TokenWriter::new(1, 1).number(position).finish()
}

/// Position of a token, for statements of tests.
const POSITION: &str = "get_byte(_lastword_token, 14)";

/// One change of a test: key, position, and the text of the row (`None` for a delete).
type Change<'a> = (i64, u64, Option<&'a str>);

/// A plan of changes to a table whose columns are a key and a text.
fn changes(table: &Arc<Table>, list: &[Change<'_>]) -> Plan {
    let rows = list.iter().filter_map(|(key, at, text)| {
        let values = vec![Value::Int(*key), Value::from((*text)?)];
        Some(Upsert { token: token(*at), values })
    });
    let deletes = list.iter().filter(|(_, _, text)| text.is_none());
    let upserts = UpsertGroup { columns: Arc::from([0, 1]), rows: rows.collect() };
    plan(vec![TablePlan {
        upserts: if upserts.rows.is_empty() { Vec::new() } else { vec![upserts] },
        deletes: deletes.map(|(key, at, _)| Delete { token: token(*at), key: vec![Value::Int(*key)] }).collect(),
        ..TablePlan::new(Arc::clone(table))
    }])
}

fn plan(tables: Vec<TablePlan>) -> Plan {
    Plan { checkpoint_owner: "test".into(), pipeline: "test".into(), tables, ..Plan::default() }
}

async fn apply(session: &mut PostgresSession, plan: &Plan) -> TableOutcome {
    session.apply(plan).await.expect("applied").tables[0]
}

/// Rows as `id,text,position`, then tombstones as `id,position`.
async fn state(session: &mut PostgresSession, table: &Table) -> String {
    let (target, side) = (Dialect::Postgres.table(table.name()), Dialect::Postgres.bookkeeping(&table.side_name()));
    let token = if table.shape.has_token { POSITION } else { "0" };
    let deleted = |has| if has { ", _lastword_deleted" } else { "" };
    let rows =
        show(session, &format!("select id, v, {token}{} from {target} order by id", deleted(table.shape.has_deleted)))
            .await;
    let dead = deleted(table.token_storage == TokenStorage::Side);
    format!("{rows} / {}", show(session, &format!("select id, {POSITION}{dead} from {side} order by id")).await)
}

/// A digest of everything: rows with their tokens, tombstones with theirs.
async fn digest(session: &mut PostgresSession, table: &Table) -> String {
    let (target, side) = (Dialect::Postgres.table(table.name()), Dialect::Postgres.bookkeeping(&table.side_name()));
    let of = |name: &str| format!("(select md5(string_agg(x::text, '|' order by x::text)) from {name} x)");
    show(session, &format!("select {}, {}", of(&target), of(&side))).await
}
