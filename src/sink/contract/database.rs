//! A real database, and what it holds in the words of the oracle.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};

use super::destination::{Destination, checkpoint_line, counters_line, leave_covered_out};
use super::stand::SHOP;
use crate::core::dialect::ddl::{self, Server};
use crate::core::epoch::{EpochQuestion, EpochRow};
use crate::core::event::Rejection;
use crate::core::failure::Failure;
use crate::core::plan::{Applied, Consistency, Plan};
use crate::core::record::TopicPartition;
use crate::core::table::{Contract, DELETED_COLUMN, TOKEN_COLUMN, Table, TokenStorage};
use crate::core::token::Token;
use crate::core::value::Value;
use crate::core::wire::TableSpec;
use crate::sink::bookkeep::tests::Database;
use crate::sink::bookkeep::{self, Claim, ClaimRequest, Reclaimed};
use crate::sink::memory::{Held, Memory, Row, TableContents};
use crate::sink::{Session, Statements};

/// The pipeline that collections are counted for: the oracle counts none.
const COLLECTOR: &str = "collector";

/// A database of its own with one session.
pub(super) struct Real {
    database: Database,
    session: Session,
}

impl Real {
    pub(super) async fn open(database: Database) -> Self {
        let (_, session) = database.store().await;
        Self { database, session }
    }

    async fn query(&mut self, text: &str) -> Vec<Vec<Value>> {
        self.session.query(text, &[]).await.unwrap_or_else(|failure| panic!("{failure}: {text}"))
    }

    /// Columns of a table, or of the table beside it, as rows.
    async fn select(&mut self, columns: &[&str], from: &str) -> Vec<Vec<Value>> {
        let dialect = self.session.dialect();
        let names: Vec<String> = columns.iter().map(|name| dialect.ident(name)).collect();
        self.query(&format!("select {} from {from}", names.join(", "))).await
    }

    /// Tokens aside by key, with whether they are those of deletes.
    async fn tokens_aside(&mut self, table: &Table) -> BTreeMap<Vec<u8>, (Token, bool)> {
        let side = self.session.dialect().bookkeeping(&table.side_name());
        let mut columns: Vec<&str> = table.key.iter().map(|at| table.shape.columns[*at].name.as_str()).collect();
        columns.push(TOKEN_COLUMN);
        if table.token_storage == TokenStorage::Side {
            columns.push(DELETED_COLUMN);
        }
        let width = table.key.len();
        let read = |row: Vec<Value>| {
            let key = Memory::key(table, &row[..width].iter().collect::<Vec<_>>()).expect("a key");
            (key, (token(&row[width]), row.get(width + 1).is_none_or(truth)))
        };
        self.select(&columns, &side).await.into_iter().map(read).collect()
    }

    /// As many tombstones are counted as are there.
    async fn check_graves(&mut self, table: &Table) {
        let graves = bookkeep::Graves { table: table.name().clone(), storage: table.token_storage };
        let there = bookkeep::count_graves(&mut self.session, &graves, None).await.expect("counted");
        let mut counted = 0;
        for pipeline in [SHOP, COLLECTOR] {
            let counters = bookkeep::table_counters(&mut self.session, pipeline).await.expect("counters");
            let own = counters.iter().filter(|row| row.table == table.name().to_string());
            counted += own.map(|row| row.sums.tombstones_delta).sum::<i64>();
        }
        assert_eq!(counted, there as i64, "tombstones of {}", table.name());
    }

    /// Columns of a row that are older than it.
    async fn open_columns(&mut self, table: &Table, key: (Vec<u8>, Vec<Value>)) -> BTreeMap<String, Token> {
        let bases = bookkeep::bases(&mut self.session, table, &[key]).await.expect("what is stored");
        let name = |at: usize| table.shape.columns[at].name.clone();
        bases[0].open.iter().filter_map(|(at, token)| Some((name(*at), (*token)?))).collect()
    }
}

fn token(value: &Value) -> Token {
    value.as_bytes().and_then(Token::from_bytes).expect("a token")
}

fn truth(value: &Value) -> bool {
    matches!(value, Value::Bool(true) | Value::Int(1))
}

impl Destination for Real {
    async fn table(&mut self, spec: &TableSpec) -> Table {
        static ID: AtomicU32 = AtomicU32::new(1);
        let dialect = self.session.dialect();
        let made = ddl::create_table(dialect, spec, &Server::default()).expect("ddl");
        self.session.execute(&made, &[]).await.expect("made");
        let shape = self.session.describe(&spec.name).await.expect("described").expect("there");
        let table = Table {
            id: ID.fetch_add(1, Ordering::Relaxed),
            key: spec.key.iter().map(|name| shape.position(name).expect("a key column")).collect(),
            shape,
            contract: spec.contract,
            delete: spec.delete,
            token_storage: spec.token_storage,
            single_writer: false,
        };
        if spec.contract == Contract::FinalState {
            self.session.execute(&ddl::side_table(dialect, &table), &[]).await.expect("side table");
        }
        let (name, storage) = (table.name(), spec.token_storage);
        let state = bookkeep::ensure_table_state(&mut self.session, name, spec.contract, spec.delete, storage).await;
        state.expect("a table's state");
        table
    }

    async fn claim(
        &mut self,
        key: &str,
        owner: &str,
        requests: &[ClaimRequest],
        first_offsets: &HashMap<TopicPartition, i64>,
    ) -> Result<Vec<Claim>, Failure> {
        bookkeep::claim(&mut self.session, key, owner, requests, first_offsets).await
    }

    async fn reclaim(&mut self, key: &str, owner: &str, partitions: &[TopicPartition]) -> Reclaimed {
        bookkeep::reclaim(&mut self.session, key, owner, partitions).await.expect("claimed again")
    }

    async fn apply(&mut self, plan: &Plan) -> Result<Applied, Failure> {
        self.session.apply(plan).await
    }

    async fn epoch(
        &mut self,
        question: &EpochQuestion,
        key: &str,
        fence: i64,
    ) -> Result<Result<EpochRow, Rejection>, Failure> {
        bookkeep::epoch(&mut self.session, question, key, fence).await
    }

    async fn collect(&mut self, table: &Table) -> u64 {
        let graves = bookkeep::Graves { table: table.name().clone(), storage: table.token_storage };
        let closed_ms = bookkeep::now_ms(&mut self.session).await.expect("a clock") + 60_000;
        let (ends, is_collected) = (Vec::new(), false);
        let generation = bookkeep::Generation { number: 1, opened_ms: 0, closed_ms, ends, is_collected, collected: 0 };
        bookkeep::collect(&mut self.session, COLLECTOR, &graves, &generation).await.expect("collected")
    }

    async fn contents(&mut self, table: &Table) -> TableContents {
        let target = self.session.dialect().table(table.name());
        let columns: Vec<String> = table.shape.columns.iter().map(|column| column.name.clone()).collect();
        let mut wanted: Vec<&str> = columns.iter().map(String::as_str).collect();
        let (in_row, marked) = (table.token_storage == TokenStorage::Column, table.shape.has_deleted);
        let log = table.contract == Contract::ChangeLog;
        wanted.extend((in_row && !log).then_some(TOKEN_COLUMN));
        wanted.extend(marked.then_some(DELETED_COLUMN));
        let mut aside = if log { BTreeMap::new() } else { self.tokens_aside(table).await };
        let truncate = bookkeep::limits(&mut self.session, table.name()).await.expect("limits").truncate;
        let mut contents = TableContents { truncate, ..TableContents::default() };
        for mut row in self.select(&wanted, &target).await {
            let own = row.split_off(columns.len());
            let key: Vec<Value> = table.key.iter().map(|at| row[*at].clone()).collect();
            let bytes = Memory::key(table, &key.iter().collect::<Vec<_>>()).expect("a key");
            let values: BTreeMap<String, Value> = columns.iter().cloned().zip(row).collect();
            let held = if log {
                Held::Logged(values)
            } else {
                let beside = aside.remove(&bytes);
                let is_marked = marked && own.last().is_some_and(truth);
                let (token, deleted) = if in_row {
                    assert_eq!(beside, None, "a row and a tombstone of one key");
                    (token(&own[0]), is_marked)
                } else {
                    // A row that a TRUNCATE marked may have no token any more: the table's decides.
                    let covered = truncate.filter(|_| is_marked).map(|token| (token, true));
                    let (token, dead) = beside.or(covered).expect("the token of a row");
                    assert!(!marked || is_marked == dead, "the mark and the token aside say the same");
                    (token, dead)
                };
                let open = self.open_columns(table, (bytes.clone(), key)).await;
                Held::Row(Row { token, deleted, values, open })
            };
            contents.keys.insert(bytes, held);
        }
        for (key, (token, dead)) in aside {
            assert!(dead, "the token of a live row without its row");
            contents.keys.insert(key, Held::Tombstone(token));
        }
        contents.floors = bookkeep::floors(&mut self.session, table.name()).await.expect("floors");
        contents.floors.sort_unstable();
        leave_covered_out(&mut contents);
        if !log {
            self.check_graves(table).await;
        }
        contents
    }

    async fn kept(&mut self, pipeline: &str) -> Vec<String> {
        let s = &mut self.session;
        let mut lines = Vec::new();
        for key in [pipeline.to_owned(), format!("{pipeline}#replay-1")] {
            for row in bookkeep::checkpoints(s, &key).await.expect("checkpoints") {
                let place = (row.next_offset, row.fence);
                lines.push(checkpoint_line(&key, &row.at, place, &row.owner, row.source_time_ms, &row.counts));
            }
        }
        let name = |full: &str| full.rsplit('.').next().unwrap_or(full).to_owned();
        for row in bookkeep::table_counters(s, pipeline).await.expect("counters") {
            lines.push(counters_line(&name(&row.table), &row.sums));
        }
        let filter = bookkeep::QuarantineFilter::default();
        for entry in bookkeep::quarantine_list(s, pipeline, &filter, 100).await.expect("quarantine") {
            let (at, offset, reason) = (entry.at, entry.offset, entry.reason);
            lines.push(format!("aside {at} {offset} {reason} {:?} {}", entry.state, entry.tries));
        }
        let partitions: Vec<TopicPartition> = (0..3).map(|number| TopicPartition::new("t", number)).collect();
        for entry in bookkeep::ledger(s, &partitions).await.expect("ledger") {
            lines.push(format!("{entry:?}"));
        }
        for state in bookkeep::consistency(s, pipeline).await.expect("consistency") {
            let (source, position) = (state.source, state.position);
            lines.push(format!("{:?}", Consistency { source, position, by_time: state.by_time, inside: state.inside }));
        }
        for sweep in bookkeep::sweeps(s).await.expect("sweeps") {
            lines.push(format!("snapshot {} {} {:?}", name(&sweep.table), sweep.topic, sweep.token));
        }
        lines.sort();
        lines
    }

    async fn aside(&mut self, pipeline: &str) -> Vec<i64> {
        let filter = bookkeep::QuarantineFilter::default();
        let entries = bookkeep::quarantine_list(&mut self.session, pipeline, &filter, 100).await.expect("quarantine");
        entries.into_iter().map(|entry| entry.id).collect()
    }

    async fn damage(&mut self, table: &Table, text: &str) {
        let target = self.session.dialect().table(table.name());
        self.session.execute(&format!("update {target} set v = '{text}'"), &[]).await.expect("damaged");
    }

    async fn close(self) {
        drop(self.session);
        self.database.done().await;
    }
}
