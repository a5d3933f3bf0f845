//! Bookkeeping against real databases: SQLite, and PostgreSQL and MariaDB in the module `on_services`.

mod cases;
mod news;

use std::time::Duration;

use tempfile::TempDir;

use super::migrate;
use crate::config::checked::SinkConfig;
use crate::config::secret::Secret;
use crate::core::dialect::Dialect;
use crate::sink::{Session, Sink, Statements};

/// A database of its own for one test, here and in other modules.
pub(crate) struct Database {
    pub(crate) config: SinkConfig,
    /// How to get rid of it: the server's URL and the statement.
    drop: Option<(SinkConfig, String)>,
    _folder: TempDir,
}

fn config(url: String) -> SinkConfig {
    let dialect = match url.split(':').next() {
        Some("postgres") => Dialect::Postgres,
        Some("mysql") => Dialect::Mysql,
        _ => Dialect::Sqlite,
    };
    SinkConfig { url: Secret::new(url), dialect, writers: 1, lock_timeout: Duration::from_secs(2) }
}

/// A service's URL.
fn service(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set; run tests/run, or --fast"))
}

impl Database {
    /// A file.
    pub(crate) async fn sqlite(_test: &str) -> Vec<Self> {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("store.db");
        vec![Self { config: config(format!("sqlite:{}", path.display())), drop: None, _folder: folder }]
    }

    /// A database on each of the servers that the environment names (`tests/run` does).
    pub(crate) async fn servers(test: &str) -> Vec<Self> {
        let mut databases = Vec::new();
        for variable in ["LASTWORD_TEST_POSTGRES", "LASTWORD_TEST_MARIADB"] {
            databases.push(Self::server(variable, test).await);
        }
        databases
    }

    /// A database on the server that a variable of the environment names.
    pub(crate) async fn server(variable: &str, test: &str) -> Self {
        let server = service(variable);
        let mut hash = crate::core::table::fnv1a(test.as_bytes());
        hash ^= u64::from(std::process::id());
        let name = format!("lastword_book_{hash:016x}");
        let mut url = url::Url::parse(&server).expect("url");
        url.set_path(&name);
        let admin = config(server);
        let mut session = Sink::new(&admin).expect("sink").session("test").await.expect("server");
        session.execute(&format!("create database {name}"), &[]).await.expect("database");
        let drop = Some((admin, format!("drop database {name}")));
        Self { config: config(url.to_string()), drop, _folder: tempfile::tempdir().expect("folder") }
    }

    pub(crate) fn sink(&self) -> Sink {
        Sink::new(&self.config).expect("sink")
    }

    pub(crate) async fn store(&self) -> (Sink, Session) {
        let sink = self.sink();
        let mut session = sink.session("test").await.expect("session");
        migrate(&mut session).await.expect("migrate");
        (sink, session)
    }

    pub(crate) async fn done(self) {
        let Some((admin, statement)) = self.drop else { return };
        let mut session = Sink::new(&admin).expect("sink").session("test").await.expect("server");
        // The test's own sessions may take a moment to end; a database that is left over harms nobody.
        let _ = session.execute(&statement, &[]).await;
    }
}

/// Every case runs against every database.
macro_rules! everywhere {
    ($($case:ident)*) => {
        everywhere! { @place sqlite sqlite $($case)* }
        everywhere! { @place on_services servers $($case)* }
    };
    (@place $place:ident $databases:ident $($case:ident)*) => {
        mod $place {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    for database in super::Database::$databases(stringify!($case)).await {
                        println!("{:?}", database.config.dialect);
                        super::cases::$case(&database).await;
                        database.done().await;
                    }
                }
            )*
        }
    };
}

everywhere! {
    a_claim_fences_the_owner_before
    the_expected_offset_is_part_of_the_swap
    all_missed_partitions_are_named_and_unknown_ones_need_a_start
    a_topic_made_anew_is_refused_until_an_operator_moves_it
    a_newer_store_is_refused_and_a_missing_one_is_none
    quarantined_records_come_back_as_they_were
    ledger_rows_never_change
    tables_keep_their_contract_and_their_truncate_token
    replays_are_numbered_and_resumable
    a_claim_waits_for_the_writer_before_it
    many_processes_may_migrate_at_once
    a_claim_ends_the_session_that_keeps_its_row
    the_same_partitions_are_claimed_by_many_at_once
    stored_tokens_are_those_of_rows_and_tombstones
    news_of_sources_add_up
    a_table_belongs_to_one_scope
    a_store_of_format_1_keeps_its_facts
    partitions_that_ask_at_once_get_one_epoch
    a_former_owner_opens_no_epoch
    an_operators_epoch_raises_the_fences
    the_top_of_a_stream_is_kept_with_its_checkpoint
}
