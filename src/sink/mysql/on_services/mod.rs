//! Against a real server: `LASTWORD_TEST_MARIADB` is a URL whose user may create databases. Each test has a database of
//! its own. Without the variable the tests fail.

mod changes;
mod collecting;
mod races;
mod sessions;
mod types;
mod unique;

use std::sync::Arc;
use std::time::Duration;

use super::MysqlSession;
use super::connect::MysqlSink;
use crate::config::checked::SinkConfig;
use crate::config::secret::Secret;
use crate::core::dialect::{Dialect, ddl};
use crate::core::plan::{Delete, Plan, TableOutcome, TablePlan, Upsert, UpsertGroup};
use crate::core::table::{Contract, DeleteMode, Table, TableName, TokenStorage};
use crate::core::token::{Token, TokenWriter};
use crate::core::value::Value;
use crate::sink::{Session, Statements, bookkeep};

/// A database of a test, with bookkeeping in it.
struct World {
    url: String,
    database: String,
    session: MysqlSession,
}

fn base_url() -> String {
    std::env::var("LASTWORD_TEST_MARIADB")
        .unwrap_or_else(|_| panic!("LASTWORD_TEST_MARIADB is not set; run tests/run, or --fast"))
}

fn sink_of(url: &str) -> MysqlSink {
    MysqlSink::new(&SinkConfig {
        url: Secret::new(url),
        dialect: Dialect::Mysql,
        writers: 1,
        lock_timeout: Duration::from_secs(5),
    })
    .expect("sink")
}

async fn world(name: &str) -> World {
    let base = base_url();
    let database = format!("lw_my_{name}_{}", std::process::id());
    let mut admin = sink_of(&base).session("test").await.expect("admin session");
    admin.execute(&format!("DROP DATABASE IF EXISTS {database}"), &[]).await.expect("drop");
    admin.execute(&format!("CREATE DATABASE {database}"), &[]).await.expect("create");
    let mut url = url::Url::parse(&base).expect("url");
    url.set_path(&database);
    let url = url.to_string();
    let mut session = Session::Mysql(sink_of(&url).session("test").await.expect("session"));
    bookkeep::migrate(&mut session).await.expect("migrate");
    let Session::Mysql(session) = session else { panic!("another session") };
    World { url, database, session }
}

/// What a table of a test is.
#[derive(Clone, Copy)]
struct Kind {
    contract: Contract,
    delete: DeleteMode,
    storage: TokenStorage,
}

const HARD: Kind = Kind { contract: Contract::FinalState, delete: DeleteMode::Hard, storage: TokenStorage::Column };
const SOFT: Kind = Kind { delete: DeleteMode::Soft, ..HARD };
const SIDE: Kind = Kind { storage: TokenStorage::Side, ..HARD };

impl World {
    async fn another(&self) -> MysqlSession {
        sink_of(&self.url).session("test").await.expect("another session")
    }

    async fn run(&mut self, text: &str) {
        self.session.execute(text, &[]).await.expect(text);
    }

    /// Makes a table from its DDL and meets it: its side table and its row in the bookkeeping.
    async fn table(&mut self, name: &str, ddl: &str, key: &[&str], kind: Kind) -> Arc<Table> {
        self.run(ddl).await;
        let described = self.session.describe(&TableName::new(None, name)).await.expect("describe");
        let shape = described.expect("the table is there");
        let key = key.iter().map(|name| shape.position(name).expect("key column")).collect();
        let table = Table {
            id: 1,
            shape,
            contract: kind.contract,
            delete: kind.delete,
            token_storage: kind.storage,
            key,
            single_writer: false,
        };
        if kind.contract == Contract::FinalState {
            self.run(&ddl::side_table(Dialect::Mysql, &table)).await;
        }
        bookkeep::ensure_table_state(&mut self.session, table.name(), kind.contract, kind.delete, kind.storage)
            .await
            .expect("table state");
        Arc::new(table)
    }

    async fn apply(&mut self, plan: &Plan) -> TableOutcome {
        self.session.apply(plan).await.expect("applied").tables[0]
    }

    /// Everything that a replay must not change.
    async fn digest(&mut self, table: &Table) -> Vec<String> {
        let mut lines = Vec::new();
        for name in [Dialect::Mysql.table(table.name()), Dialect::Mysql.bookkeeping(&table.side_name())] {
            let rows = self.session.query(&format!("SELECT * FROM {name}"), &[]).await.expect("rows");
            lines.extend(rows.into_iter().map(|row| format!("{name} {row:?}")));
        }
        let state = self.session.query("SELECT table_name, truncate_token FROM lastword_table_state", &[]).await;
        lines.push(format!("{:?}", state.expect("state")));
        lines.sort();
        lines
    }

    /// Rows of a query as text, for assertions.
    async fn rows(&mut self, query: &str) -> Vec<String> {
        let rows = self.session.query(query, &[]).await.expect(query);
        let cell = |value: &Value| match value {
            Value::Null => "NULL".to_owned(),
            Value::Int(number) => number.to_string(),
            Value::Bytes(bytes) => bytes.last().map(u8::to_string).unwrap_or_default(),
            other => other.as_text().map_or_else(|| format!("{other:?}"), str::to_owned),
        };
        rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(" ")).collect()
    }

    async fn end(mut self) {
        let database = self.database.clone();
        self.run(&format!("DROP DATABASE {database}")).await;
    }
}

/// A token whose last byte is its number (up to 255).
fn token(number: u64) -> Token {
    TokenWriter::new(1, 1).number(number).finish()
}

fn upsert(number: u64, values: Vec<Value>) -> Upsert {
    Upsert { token: token(number), values }
}

fn delete(number: u64, key: Vec<Value>) -> Delete {
    Delete { token: token(number), key }
}

fn plan_of(table: &Arc<Table>, columns: &[usize], rows: Vec<Upsert>, deletes: Vec<Delete>) -> Plan {
    let groups = if rows.is_empty() { Vec::new() } else { vec![UpsertGroup { columns: columns.into(), rows }] };
    Plan {
        checkpoint_owner: "test".into(),
        pipeline: "test".into(),
        tables: vec![TablePlan { upserts: groups, deletes, ..TablePlan::new(Arc::clone(table)) }],
        ..Plan::default()
    }
}

/// A plan for tables of `id, v`.
fn small(table: &Arc<Table>, upserts: &[(i64, u64)], deletes: &[(i64, u64)]) -> Plan {
    let rows = upserts.iter().map(|(id, t)| upsert(*t, vec![Value::Int(*id), Value::from(format!("v{t}"))])).collect();
    plan_of(table, &[0, 1], rows, deletes.iter().map(|(id, t)| delete(*t, vec![Value::Int(*id)])).collect())
}

fn truncate(table: &Arc<Table>, number: u64) -> Plan {
    let mut plan = small(table, &[], &[]);
    plan.tables[0].truncate = Some(token(number));
    plan
}

const SMALL: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40), _lastword_token VARBINARY(48))";
const SMALL_SOFT: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40), \
                          _lastword_deleted BOOLEAN NOT NULL DEFAULT 0, _lastword_token VARBINARY(48))";
const SMALL_PLAIN: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40))";

fn bits(length: u32, bytes: &[u8]) -> Value {
    Value::Bits { length, bytes: bytes::Bytes::copy_from_slice(bytes) }
}
