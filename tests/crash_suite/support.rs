//! A test's own world: database, topic, pipeline, folder; and what must hold of its destination at the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lastword::config::checked::SinkConfig;
use lastword::config::secret::Secret;
use lastword::core::dialect::Dialect;
use lastword::core::failure::Failure;
use lastword::core::table::{TableName, TokenStorage, side_table_name};
use lastword::core::value::Value;
use lastword::sink::{Session, Sink, Statements};
use tempfile::TempDir;

use crate::support::{service, unique};

use super::kafka::Topic;
use super::process::{Ended, Process};
use super::traffic::{Form, Row, Rows};

/// Where the servers are.
#[derive(Clone, Debug)]
pub struct Services {
    pub kafka: String,
    pub postgres: String,
    pub mariadb: String,
}

impl Services {
    /// The ones that all tests share.
    pub fn shared() -> Self {
        Self {
            kafka: service("LASTWORD_TEST_KAFKA"),
            postgres: service("LASTWORD_TEST_POSTGRES"),
            mariadb: service("LASTWORD_TEST_MARIADB"),
        }
    }
}

/// Sum of the checkpoints' counters, of the tables' counters, and of the fences.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub changes: i64,
    pub filtered: i64,
    pub quarantined: i64,
    pub control: i64,
    pub fences: i64,
    pub applied: i64,
    pub superseded: i64,
}

/// See the module.
pub struct World {
    pub dialect: Dialect,
    pub brokers: String,
    pub pipeline: String,
    url: String,
    dir: TempDir,
    started: AtomicU64,
    client: String,
}

/// Time to wait for what must come; nothing is concluded from its being short.
pub const PATIENCE: Duration = Duration::from_secs(60);

impl World {
    /// A new database on one of the servers; SQLite in a file of its own.
    pub async fn new(services: &Services, dialect: Dialect, name: &str) -> Self {
        let pipeline = unique(&format!("crash_{name}_"));
        let mut dir = TempDir::new().expect("a folder");
        // To look at what a long run left behind.
        dir.disable_cleanup(std::env::var_os("LASTWORD_TEST_KEEP").is_some());
        let admin = match dialect {
            Dialect::Postgres => &services.postgres,
            Dialect::Mysql => &services.mariadb,
            Dialect::Sqlite => "",
        };
        let url = match admin.rsplit_once('/') {
            Some((server, _)) => {
                let mut session = session(admin, dialect).await;
                session.execute(&format!("create database {pipeline}"), &[]).await.expect("a database");
                format!("{server}/{pipeline}")
            }
            None => format!("sqlite:{}/test.db", dir.path().display()),
        };
        let brokers = services.kafka.clone();
        Self { dialect, brokers, pipeline, url, dir, started: AtomicU64::new(0), client: String::new() }
    }

    /// Sets a property of the Kafka client.
    pub fn client(mut self, name: &str, value: &str) -> Self {
        self.client.push_str(&format!("\"{name}\" = \"{value}\"\n"));
        self
    }

    /// Name of this world's topic.
    pub fn topic_name(&self, topic: &str) -> String {
        format!("{}.public.{topic}", self.pipeline)
    }

    /// Makes this world's topic.
    pub async fn topic(&self, name: &str, partitions: i32) -> Topic {
        Topic::new(&self.brokers, &self.topic_name(name), partitions, &[]).await
    }

    /// Configures the destination through another port (a proxy), without TLS; gives back the direct address.
    pub fn through(&mut self, port: u16) -> String {
        let (server, database) = self.url.rsplit_once('/').expect("a database");
        let (host, _) = server.rsplit_once(':').expect("a port");
        let plain = if self.dialect == Dialect::Mysql { "ssl-mode=DISABLED" } else { "sslmode=disable" };
        let proxied = format!("{host}:{port}/{database}?{plain}");
        std::mem::replace(&mut self.url, proxied)
    }

    /// The test itself asks directly again.
    pub fn directly(&mut self, url: String) {
        self.url = url;
    }

    /// Writes the configuration: every topic into a table of its own. `extra` begins inside of `[source]`.
    pub fn configure(&self, topics: &[(&str, &str)], source: &str, extra: &str) {
        let names: Vec<String> = topics.iter().map(|(topic, _)| format!("{topic:?}")).collect();
        let names =
            if source.contains("topics_regex") { String::new() } else { format!("topics = [{}]\n", names.join(", ")) };
        let tables: String =
            topics.iter().map(|(topic, table)| format!("[[table]]\ntopic = {topic:?}\ninto = {table:?}\n")).collect();
        let text = format!(
            "[pipeline]\nname = {:?}\n[source]\nkind = \"kafka\"\nbrokers = {:?}\n{names}{source}\n[source.client]\n{}\
             [sink]\nurl = {:?}\nwriters = 2\n[server]\nlisten = \"off\"\n{extra}\n{tables}",
            self.pipeline, self.brokers, self.client, self.url
        );
        std::fs::write(self.dir.path().join("lastword.toml"), text).expect("a configuration");
    }

    /// Starts a command.
    pub fn start(&self, args: &[&str]) -> Process {
        self.start_with(args, &[])
    }

    /// Starts a command with more variables of the environment.
    pub fn start_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Process {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let config = self.dir.path().join("lastword.toml").display().to_string();
        let all: Vec<&str> =
            ["--config", &config, "--json", "--log-format", "text"].into_iter().chain(args.iter().copied()).collect();
        Process::start(self.dir.path().join(format!("process-{number}")), &all, environment)
    }

    /// Runs a command to its end.
    pub async fn command(&self, args: &[&str]) -> Ended {
        self.start(args).ended(PATIENCE).await
    }

    pub async fn session(&self) -> Session {
        session(&self.url, self.dialect).await
    }

    /// A session with a database that may be down.
    pub async fn try_session(&self) -> Result<Session, Failure> {
        try_session(&self.url, self.dialect).await
    }

    /// Keeps the folder with configuration, logs and the SQLite file; says where it is.
    pub fn keep(&self) -> String {
        let kept = std::env::temp_dir().join(&self.pipeline);
        let copied = std::process::Command::new("cp").arg("-r").arg(self.dir.path()).arg(&kept).status();
        assert!(copied.is_ok_and(|status| status.success()), "the folder cannot be kept");
        kept.display().to_string()
    }

    pub async fn query(&self, sql: &str) -> Vec<Vec<Value>> {
        self.session().await.query(sql, &[]).await.unwrap_or_else(|failure| panic!("{sql}: {failure}"))
    }

    pub async fn execute(&self, sql: &str) -> u64 {
        self.session().await.execute(sql, &[]).await.unwrap_or_else(|failure| panic!("{sql}: {failure}"))
    }

    /// A bookkeeping table's name.
    pub fn book(&self, table: &str) -> String {
        self.dialect.bookkeeping(table)
    }

    /// Makes the table that events without schemas need.
    pub async fn make_table(&self, form: Form, table: &str) {
        if form == Form::Schemas {
            return;
        }
        let columns = match self.dialect {
            Dialect::Postgres => "price numeric(12,2) not null, paid boolean not null, note text",
            Dialect::Mysql => "price decimal(12,2) not null, paid boolean not null, note longtext",
            Dialect::Sqlite => "price decimal(12,2) not null, paid boolean not null, note text",
        };
        let text = if self.dialect == Dialect::Mysql { "longtext" } else { "text" };
        let sql = format!(
            "create table {table} (id bigint primary key not null, customer {text} not null, quantity integer not null, {columns})"
        );
        self.execute(&sql).await;
    }

    /// The rows that the destination holds.
    pub async fn rows(&self, table: &str) -> Rows {
        let (price, paid) = match self.dialect {
            Dialect::Postgres => ("(price * 100)::int8", "paid::int4"),
            Dialect::Mysql => ("cast(price * 100 as signed)", "cast(paid as signed)"),
            Dialect::Sqlite => ("cast(round(price * 100) as integer)", "paid"),
        };
        let sql = format!("select id, customer, quantity, {price}, {paid}, note from {table} order by id");
        let row = |cells: Vec<Value>| {
            let number = |at: usize| cells[at].as_int().expect("a number");
            let text = |at: usize| cells[at].as_text().map(str::to_owned);
            let row = Row {
                customer: text(1).expect("text"),
                quantity: number(2),
                price: number(3),
                paid: number(4) != 0,
                note: text(5),
            };
            (number(0), row)
        };
        self.query(&sql).await.into_iter().map(row).collect()
    }

    /// Everything that must not depend on how events came: rows with their tokens, tombstones with theirs.
    pub async fn digest(&self, table: &str) -> Vec<Vec<Value>> {
        let mut all = self.query(&format!("select * from {table} order by id")).await;
        let side = self.book(&self.side_name(table).await);
        all.extend(self.query(&format!("select id, _lastword_token from {side} order by id")).await);
        all
    }

    /// Name of the table that holds a table's tombstones, within the bookkeeping.
    pub async fn side_name(&self, table: &str) -> String {
        let name = self.session().await.describe(&TableName::new(None, table)).await.expect("a description");
        side_table_name(&name.expect("a table").name, TokenStorage::Column)
    }

    /// Stored next offset of every partition of a topic.
    pub async fn checkpoints(&self, topic: &str) -> BTreeMap<i32, i64> {
        let sql = format!(
            "select partition_id, next_offset from {} where pipeline = '{}' and topic = '{topic}'",
            self.book("checkpoint"),
            self.pipeline
        );
        // Before the first claim there is nothing to ask.
        let mut session = self.session().await;
        let rows = session.query(&sql, &[]).await.unwrap_or_default();
        rows.iter().map(|row| (row[0].as_int().expect("a number") as i32, row[1].as_int().expect("a number"))).collect()
    }

    /// The counters of this pipeline.
    pub async fn counted(&self) -> Counted {
        let sums = |columns: &[&str]| {
            let whole = if self.dialect == Dialect::Postgres {
                "int8"
            } else if self.dialect == Dialect::Mysql {
                "signed"
            } else {
                "integer"
            };
            let sums = columns.iter().map(|column| format!("cast(coalesce(sum({column}), 0) as {whole})"));
            sums.collect::<Vec<_>>().join(", ")
        };
        let columns = sums(&["changes", "filtered", "quarantined", "control", "fence"]);
        let sql = format!("select {columns} from {} where pipeline = '{}'", self.book("checkpoint"), self.pipeline);
        let c: Vec<i64> = numbers(self.query(&sql).await);
        let superseded = "superseded_in_batch + superseded_by_row + superseded_by_tombstone + superseded_by_truncate";
        let columns = sums(&["applied", superseded]);
        let sql = format!("select {columns} from {} where pipeline = '{}'", self.book("table_counter"), self.pipeline);
        let t: Vec<i64> = numbers(self.query(&sql).await);
        Counted {
            changes: c[0],
            filtered: c[1],
            quarantined: c[2],
            control: c[3],
            fences: c[4],
            applied: t[0],
            superseded: t[1],
        }
    }

    /// Waits until the checkpoints are at the ends of the log.
    pub async fn caught_up(&self, topic: &Topic) {
        let ends: BTreeMap<i32, i64> = topic.watermarks().into_iter().map(|(number, (_, end))| (number, end)).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stored = self.checkpoints(&topic.name).await;
            if stored == ends {
                return;
            }
            assert!(Instant::now() < deadline, "stored {stored:?}, ends {ends:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// What must hold when everything was applied: the contents, the positions, and that every record was counted once.
    pub async fn check(&self, topic: &Topic, table: &str, expected: &Rows) -> Counted {
        self.check_rows(table, expected).await;
        let marks = topic.watermarks();
        let ends: BTreeMap<i32, i64> = marks.iter().map(|(number, (_, end))| (*number, *end)).collect();
        assert_eq!(self.checkpoints(&topic.name).await, ends, "invariant 1: every partition is at its end");
        let records: i64 = marks.values().map(|(_, end)| *end).sum();
        let counted = self.counted().await;
        let sum = counted.changes + counted.filtered + counted.quarantined + counted.control;
        assert_eq!(sum, records, "invariant 4: every record is counted once: {counted:?}");
        assert_eq!(counted.applied + counted.superseded, counted.changes, "invariant 4: {counted:?}");
        assert_eq!(counted.quarantined, 0, "{counted:?}");
        counted
    }

    pub async fn check_rows(&self, table: &str, expected: &Rows) {
        let found = self.rows(table).await;
        for (id, row) in expected {
            assert_eq!(found.get(id), Some(row), "row {id}");
        }
        let extra: Vec<_> = found.keys().filter(|id| !expected.contains_key(id)).collect();
        assert!(extra.is_empty(), "rows that should not be there: {extra:?}");
    }
}

fn numbers(rows: Vec<Vec<Value>>) -> Vec<i64> {
    rows[0].iter().map(|value| value.as_int().expect("a number")).collect()
}

async fn try_session(url: &str, dialect: Dialect) -> Result<Session, Failure> {
    let (url, lock_timeout) = (Secret::new(url), Duration::from_secs(20));
    Sink::new(&SinkConfig { url, dialect, writers: 1, lock_timeout }).expect("a sink").session("test").await
}

async fn session(url: &str, dialect: Dialect) -> Session {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_session(url, dialect).await {
            Ok(session) => return session,
            // It may be restarting.
            Err(failure) => assert!(Instant::now() < deadline, "no session: {failure}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
