//! Partial rows from the record to the table: the planner, the sinks' transactions and the bookkeeping, in every database.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::config::checked::{
    BatchConfig, Config, FileConfig, OnBadRecord, OnRegression, PlainConfig, SinkConfig, SourceConfig, TableRule,
    TopicMatch, TopicRule,
};
use crate::core::dialect::Dialect;
use crate::core::lane::{Claimed, Lane, Limits};
use crate::core::record::{Headers, Record, TopicPartition};
use crate::core::table::{Contract, DeleteMode, TableName, TokenStorage, side_table_name};
use crate::core::unavailable::DEFAULT;
use crate::core::value::Value;
use crate::runtime::lookup::Scopes;
use crate::runtime::planner::Planner;
use crate::runtime::tables::Tables;
use crate::sink::bookkeep::tests::Database;
use crate::sink::bookkeep::{self, ClaimRequest, QuarantineFilter, QuarantineState};
use crate::sink::{Session, Statements};

const TOPIC: &str = "s.p.t";
/// A cell that was not seen.
const UNSEEN: &str = "\"__debezium_unavailable_value\"";
const UNSEEN_BYTES: &str = "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"";

/// A process with one lane over two partitions.
struct Flow {
    session: Session,
    planner: Planner,
    /// Makes another planner: a retry has one of its own.
    other: Box<dyn Fn() -> Planner + Send>,
    lane: Lane,
    offsets: HashMap<i32, i64>,
}

fn config(sink: &SinkConfig, token_storage: TokenStorage, delete: DeleteMode) -> Config {
    let rule = TableRule {
        into: Some("t".parse().expect("a name")),
        table_case: Default::default(),
        columns: Default::default(),
        contract: Contract::FinalState,
        delete,
        create: false,
        evolve: Default::default(),
        token_storage,
        single_writer: false,
        offset_order: false,
        unavailable: Arc::default(),
        binary: None,
        tombstones: Default::default(),
        resnapshot: Default::default(),
    };
    // Without its schema: that would be a database of its own in MySQL.
    let topic = TopicRule {
        topic: TopicMatch::Name(TOPIC.to_owned()),
        source_table: None,
        key: None,
        order_by: Vec::new(),
        skip: false,
        format: None,
        flat_prefix: None,
        key_format: None,
        rule: rule.clone(),
    };
    Config {
        pipeline: "p".into(),
        source: SourceConfig::File(FileConfig { paths: Vec::new(), topics: Vec::new() }),
        registry: None,
        sink: sink.clone(),
        batch: BatchConfig { rows: 1, bytes: 1, age: Duration::ZERO, align_wait: None },
        defaults: rule,
        tables: vec![topic],
        plain: PlainConfig::default(),
        on_bad_record: OnBadRecord::Quarantine,
        on_regression: OnRegression::Halt,
        regression_margin: Duration::from_secs(10),
        listen: None,
        drain: Duration::ZERO,
    }
}

fn name() -> TableName {
    TableName::new(None, "t")
}

impl Flow {
    /// An empty table `t` (`id`, `v`, `doc`, `bin`) and a claim on both partitions of its topic.
    async fn new(database: &Database, token_storage: TokenStorage, delete: DeleteMode) -> Self {
        let (sink, mut session) = database.store().await;
        for statement in tables(session.dialect(), token_storage, delete) {
            session.execute(&statement, &[]).await.expect("table");
        }
        let config = Arc::new(config(&database.config, token_storage, delete));
        let tables = Arc::new(Tables::new(Arc::clone(&config), sink.clone(), true));
        let scopes = Arc::new(Scopes::new(sink));
        let other =
            move || Planner::new(Arc::clone(&config), Arc::clone(&tables), Arc::clone(&scopes), "p".into(), false);
        let mut lane = Lane::new(Limits { rows: 1000, bytes: 1 << 30, age: Duration::ZERO }, 1);
        let both: Vec<TopicPartition> = (0..2).map(|partition| TopicPartition::new(TOPIC, partition)).collect();
        let requests: Vec<ClaimRequest> =
            both.iter().map(|at| ClaimRequest { at: at.clone(), incarnation: "i".into() }).collect();
        let first = both.iter().map(|at| (at.clone(), 0)).collect();
        let mut planner = other();
        for claim in bookkeep::claim(&mut session, "p", "me", &requests, &first).await.expect("claim") {
            planner.load_ledger(&claim.at, &claim.incarnation, claim.fence, &[], &[], claim.top);
            let (next, open_delete) = (claim.next_offset, claim.open_delete);
            let (at, incarnation, fence) = (claim.at, claim.incarnation, claim.fence);
            lane.assign(1, Claimed { at, incarnation, next, fence, open_delete });
        }
        Self { session, planner, other: Box::new(other), lane, offsets: HashMap::new() }
    }

    /// Applies events as one batch, or as few as there must be; returns how many that were.
    async fn feed(&mut self, events: &[(i32, String)]) -> usize {
        let mut records = Vec::new();
        for (partition, value) in events {
            let offset = self.offsets.entry(*partition).or_default();
            let id = value.split("\"id\":").nth(1).and_then(|rest| rest.split([',', '}']).next()).expect("id");
            records.push(Record {
                at: TopicPartition::new(TOPIC, *partition),
                offset: *offset,
                timestamp_ms: Some(1),
                key: Some(Bytes::from(format!("{{\"id\":{id}}}"))),
                value: Some(Bytes::from(value.clone()).into()),
                headers: Headers::default(),
                framed: None,
            });
            *offset += 1;
        }
        self.lane.take(1, records, Duration::ZERO);
        let mut batches = 0;
        while let Ok(mut segment) = self.lane.cut(Duration::from_secs(1)) {
            let planned = self.planner.plan(&self.lane, &segment, &mut self.session).await.expect("planned");
            assert!(planned.halts.is_empty(), "{:?}", planned.halts);
            self.lane.give_back(segment.records.split_off(planned.used), Duration::ZERO);
            match self.session.apply(&planned.plan).await {
                Ok(_) => self.lane.committed(segment.records.len(), &planned.plan.advances),
                Err(failure) => {
                    assert!(!failure.connection_lost, "{failure}");
                    self.planner.forget(&planned.plan);
                    self.lane.failed(segment.records, &planned.plan.advances, &failure, Duration::ZERO);
                }
            }
            batches += 1;
            assert!(batches < 100, "it does not come to an end");
        }
        batches
    }

    /// `v`, `doc`, `bin` of a live row.
    async fn row(&mut self, id: i64) -> Option<(i64, String, Vec<u8>)> {
        let dialect = self.session.dialect();
        let table = dialect.table(&name());
        let text = format!("select v, doc, bin, id from {table} where id = {}", dialect.placeholder(1));
        let rows = self.session.query(&text, &[Value::Int(id)]).await.expect("row");
        let row = rows.into_iter().next()?;
        let text = |value: &Value| value.as_text().unwrap_or("NULL").to_owned();
        Some((row[0].as_int().expect("v"), text(&row[1]), row[2].as_bytes().unwrap_or_default().to_vec()))
    }

    /// Numbers and reasons of what is in quarantine.
    async fn aside(&mut self) -> Vec<(i64, String)> {
        let filter = QuarantineFilter { state: Some(QuarantineState::New), ..QuarantineFilter::default() };
        let entries = bookkeep::quarantine_list(&mut self.session, "p", &filter, 100).await.expect("list");
        entries.into_iter().map(|entry| (entry.id, entry.reason)).collect()
    }

    /// Retries a quarantined record; the reason if it is refused.
    async fn retry(&mut self, id: i64) -> Option<String> {
        let kept = bookkeep::quarantine_get(&mut self.session, id).await.expect("get").expect("there");
        let record = Record {
            at: kept.entry.at.clone(),
            offset: kept.entry.offset,
            timestamp_ms: kept.entry.timestamp_ms,
            key: kept.key,
            value: kept.value.map(Into::into),
            headers: kept.headers,
            framed: None,
        };
        let incarnation: Arc<str> = kept.entry.incarnation.as_str().into();
        match (self.other)().retry(&record, &incarnation, id, &mut self.session).await.expect("planned") {
            Err(why) => Some(why.reason.to_owned()),
            Ok(plan) => {
                self.session.apply(&plan).await.expect("applied");
                None
            }
        }
    }

    /// Whether the placeholder stands anywhere in the table.
    async fn holds_placeholder(&mut self) -> bool {
        let table = self.session.dialect().table(&name());
        let rows = self.session.query(&format!("select v, doc, bin, id from {table}"), &[]).await.expect("rows");
        let cells = rows.into_iter().flatten();
        cells.into_iter().any(|value| value.as_bytes().is_some_and(|bytes| bytes == DEFAULT.as_bytes()))
    }
}

fn tables(dialect: Dialect, storage: TokenStorage, delete: DeleteMode) -> Vec<String> {
    let table = dialect.table(&name());
    let (text, bytes, truth) = match dialect {
        Dialect::Postgres => ("text", "bytea", "boolean"),
        Dialect::Mysql => ("longtext", "longblob", "boolean"),
        Dialect::Sqlite => ("text", "blob", "integer"),
    };
    let mark = match (storage, delete) {
        (TokenStorage::Side, DeleteMode::Soft) => format!(
            ", _lastword_deleted {truth} not null default {}",
            if dialect == Dialect::Sqlite { "0" } else { "false" }
        ),
        _ => String::new(),
    };
    vec![
        format!("drop table if exists {table}"),
        format!(
            "create table {table} (id bigint not null primary key, v bigint not null check (v <> 666), doc {text}, \
             bin {bytes}{mark})"
        ),
    ]
}

/// A change at a position. `doc` and `bin` are JSON.
fn event(op: &str, position: u64, id: i64, v: i64, doc: &str, bin: &str) -> String {
    let row = format!(r#"{{"id":{id},"v":{v},"doc":{doc},"bin":{bin}}}"#);
    let (before, after) = if op == "d" { (row.as_str(), "null") } else { ("null", row.as_str()) };
    format!(
        r#"{{"op":"{op}","before":{before},"after":{after},"source":{{"connector":"postgresql","name":"s","ts_ms":1,"schema":"p","table":"t","snapshot":"false","sequence":"[\"{position}\",\"{position}\"]"}}}}"#
    )
}

fn full(position: u64, id: i64, v: i64, doc: &str) -> String {
    event("u", position, id, v, &format!("\"{doc}\""), "\"AQI=\"")
}

fn part(position: u64, id: i64, v: i64) -> String {
    event("u", position, id, v, UNSEEN, UNSEEN_BYTES)
}

const BIN: &[u8] = &[1, 2];

fn is(v: i64, doc: &str) -> Option<(i64, String, Vec<u8>)> {
    Some((v, doc.to_owned(), BIN.to_vec()))
}

/// Design review A10: all of it, in every kind of table.
async fn stories(database: &Database) {
    for storage in [TokenStorage::Column, TokenStorage::Side] {
        for delete in [DeleteMode::Hard, DeleteMode::Soft] {
            println!("{:?} {storage:?} {delete:?}", database.config.dialect);
            let mut flow = Flow::new(database, storage, delete).await;
            rows_are_completed_and_filled(&mut flow).await;
            what_cannot_be_completed_is_put_aside(&mut flow).await;
            a_refused_event_holds_its_key_back(&mut flow).await;
            assert!(!flow.holds_placeholder().await, "a placeholder is in the table");
            // Another kind of table begins with another store.
            let dialect = flow.session.dialect();
            for table in ["checkpoint", "table_state", "quarantine", "key_mark", "open_column"] {
                let text = format!("delete from {}", dialect.bookkeeping(table));
                flow.session.execute(&text, &[]).await.expect("emptied");
            }
            let shape = flow.session.describe(&name()).await.expect("described").expect("there");
            let side = dialect.bookkeeping(&side_table_name(&shape.name, storage));
            let text = format!("drop table {side}");
            flow.session.execute(&text, &[]).await.expect("dropped");
        }
    }
}

async fn rows_are_completed_and_filled(flow: &mut Flow) {
    // In one batch with its full row, and completed from the stored one.
    assert_eq!(flow.feed(&[(0, full(30, 1, 1, "a")), (0, part(31, 1, 2)), (0, part(32, 1, 3))]).await, 1);
    assert_eq!(flow.row(1).await, is(3, "a"));
    assert_eq!(flow.feed(&[(0, part(70, 1, 7)), (0, full(71, 2, 1, "b"))]).await, 1);
    assert_eq!((flow.row(1).await, flow.row(2).await), (is(7, "a"), is(1, "b")));
    // A full row that lies between comes late, from another partition: it fills what 70 left open, and no more.
    flow.feed(&[(1, full(60, 1, 6, "late"))]).await;
    assert_eq!(flow.row(1).await, is(7, "late"));
    // Older ones, and all of it again, change nothing.
    flow.feed(&[(1, full(50, 1, 5, "older")), (0, full(30, 1, 1, "a")), (0, part(70, 1, 7)), (1, full(60, 1, 6, "x"))])
        .await;
    assert_eq!(flow.row(1).await, is(7, "late"));
    // One column is carried, the other is not.
    flow.feed(&[(0, event("u", 80, 1, 8, "\"new\"", UNSEEN_BYTES)), (0, event("u", 81, 1, 9, UNSEEN, "null"))]).await;
    assert_eq!(flow.row(1).await, Some((9, "new".to_owned(), Vec::new())));
    flow.feed(&[(1, full(79, 1, 6, "too late"))]).await;
    assert_eq!(flow.row(1).await, Some((9, "new".to_owned(), Vec::new())));
    assert_eq!(flow.aside().await, []);
}

async fn what_cannot_be_completed_is_put_aside(flow: &mut Flow) {
    // No row; a create with placeholders; an update behind a delete.
    let moved = event("c", 102, 12, 1, UNSEEN, "null");
    let gone = event("d", 104, 13, 0, "null", "null");
    let events = [
        (0, part(100, 10, 1)),
        (0, full(101, 11, 1, "x")),
        (0, moved),
        (0, full(103, 13, 1, "y")),
        (0, gone),
        (0, part(105, 13, 2)),
        (0, part(101, 11, 2)),
    ];
    flow.feed(&events).await;
    let aside = flow.aside().await;
    let reasons: Vec<&str> = aside.iter().map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(reasons, ["partial_row"; 3]);
    assert_eq!((flow.row(10).await, flow.row(11).await, flow.row(12).await), (None, is(1, "x"), None));
    // Lost to a tombstone: that is no reason to put it aside.
    flow.feed(&[(1, part(102, 13, 9))]).await;
    assert_eq!(flow.aside().await.len(), 3);
    // The row comes late; the update is held until it is tried again, and those behind it with it.
    flow.feed(&[(1, full(99, 10, 0, "ten")), (0, part(106, 10, 5))]).await;
    let aside = flow.aside().await;
    assert_eq!((flow.row(10).await, aside[3].1.as_str()), (is(0, "ten"), "held_back"));
    assert_eq!(flow.retry(aside[3].0).await.as_deref(), Some("held_back"));
    assert_eq!(flow.retry(aside[0].0).await, None);
    assert_eq!(flow.row(10).await, is(1, "ten"));
    assert_eq!(flow.retry(aside[3].0).await, None);
    assert_eq!(flow.row(10).await, is(5, "ten"));
    // A full row passes the mark of the create.
    flow.feed(&[(0, full(110, 12, 2, "twelve")), (0, part(111, 12, 3))]).await;
    assert_eq!((flow.row(12).await, flow.aside().await.len()), (is(3, "twelve"), 2));
}

async fn a_refused_event_holds_its_key_back(flow: &mut Flow) {
    let before = flow.aside().await.len();
    flow.feed(&[(0, full(200, 20, 1, "old"))]).await;
    // 201 changed `doc` and violates a CHECK; what comes behind it would be completed from a stale row.
    flow.feed(&[(0, full(201, 20, 666, "lost")), (0, part(202, 20, 2)), (0, part(203, 21, 2)), (0, part(204, 20, 3))])
        .await;
    let aside = flow.aside().await.split_off(before);
    let reasons: Vec<&str> = aside.iter().map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(reasons, ["refused_by_destination", "held_back", "partial_row", "held_back"]);
    assert_eq!(flow.row(20).await, is(1, "old"));
    // A delete and a create pass the mark.
    flow.feed(&[(0, event("d", 205, 20, 0, "null", "null")), (0, full(206, 20, 4, "new")), (0, part(207, 20, 5))])
        .await;
    assert_eq!((flow.row(20).await, flow.aside().await.len()), (is(5, "new"), before + 4));
    // What was held back is older than the row now.
    assert_eq!(flow.retry(aside[1].0).await, None);
    assert_eq!(flow.row(20).await, is(5, "new"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partial_rows_in_sqlite() {
    for database in Database::sqlite("partial").await {
        stories(&database).await;
        database.done().await;
    }
}

/// A change of a MySQL source: server and number of its transaction, or none (a snapshot's row), and position.
fn mysql(gtid: &str, position: u64, id: i64, v: i64) -> String {
    let (op, snapshot) = if gtid == "null" { ("r", "true") } else { ("u", "false") };
    format!(
        r#"{{"op":"{op}","before":null,"after":{{"id":{id},"v":{v},"doc":"x","bin":"AQI="}},"source":{{"connector":"mysql","name":"s","ts_ms":{position},"db":"p","table":"t","snapshot":"{snapshot}","gtid":{gtid},"file":"b.000003","pos":{position},"row":0}}}}"#
    )
}

/// Found by simulation: the first event of a new primary is refused, a new connector's snapshot lies behind it in the partition. Its
/// rows are newer than all that was streamed, so also than that event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_event_shows_where_its_source_is() {
    for database in Database::sqlite("refused").await {
        let mut flow = Flow::new(&database, TokenStorage::Column, DeleteMode::Hard).await;
        flow.feed(&[(0, mysql("\"ab:1\"", 10, 1, 1)), (0, mysql("\"ab:2\"", 20, 1, 2))]).await;
        flow.feed(&[(0, mysql("\"ef:1\"", 30, 2, 666)), (0, mysql("null", 40, 1, 3))]).await;
        let aside = flow.aside().await;
        assert_eq!(aside.iter().map(|(_, reason)| reason.as_str()).collect::<Vec<_>>(), ["refused_by_destination"]);
        assert_eq!(flow.row(1).await, is(3, "x"));
        database.done().await;
    }
}

mod on_services {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn partial_rows_on_servers() {
        for database in Database::servers("partial rows").await {
            stories(&database).await;
            database.done().await;
        }
    }
}
