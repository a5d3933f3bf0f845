//! A database of a test's own, on a shared server or in a file, looked at through the library's sessions.

use std::collections::BTreeMap;
use std::time::Duration;

use lastword::config::checked::SinkConfig;
use lastword::config::secret::Secret;
use lastword::core::dialect::Dialect;
use lastword::core::failure::Failure;
use lastword::core::table::{TOKEN_COLUMN, TableName};
use lastword::core::value::Value;
use lastword::sink::{Session, Sink, Statements};
use lastword::testing::as_text;

use super::{service, unique};

/// See the module. Dropped with all its tables at the end.
pub struct Database {
    /// Its language.
    pub dialect: Dialect,
    /// Its URL.
    pub url: String,
    /// The server's own database, from which this one is made and dropped.
    admin: Option<(String, String)>,
    runtime: tokio::runtime::Runtime,
    _dir: Option<tempfile::TempDir>,
}

/// All tables with all rows as text, keys and tokens and tombstones among them.
pub type Contents = BTreeMap<String, Vec<String>>;

/// Both must be equal; says which lines differ.
#[track_caller]
pub fn assert_same(what: &str, before: &Contents, after: &Contents) {
    let different = differing(before, after);
    assert!(different.is_none(), "{what}: contents changed\n{}", different.unwrap_or_default());
}

/// Which lines differ, if any do.
pub fn differing(before: &Contents, after: &Contents) -> Option<String> {
    let lines = |contents: &Contents| -> Vec<String> {
        contents.iter().flat_map(|(table, lines)| lines.iter().map(move |line| format!("{table}: {line}"))).collect()
    };
    let (before, after) = (lines(before), lines(after));
    let gone: Vec<&String> = before.iter().filter(|line| !after.contains(line)).take(20).collect();
    let new: Vec<&String> = after.iter().filter(|line| !before.contains(line)).take(20).collect();
    (before != after).then(|| format!("before only: {gone:#?}\nafterwards only: {new:#?}"))
}

impl Database {
    /// A new file.
    pub fn sqlite() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite:{}", dir.path().join("test.db").display());
        Self { dialect: Dialect::Sqlite, url, admin: None, runtime: runtime(), _dir: Some(dir) }
    }

    /// A new database on the PostgreSQL server.
    pub fn postgres() -> Self {
        Self::on_server(Dialect::Postgres, &service("LASTWORD_TEST_POSTGRES"))
    }

    /// A new database on the MariaDB server.
    pub fn mariadb() -> Self {
        Self::on_server(Dialect::Mysql, &service("LASTWORD_TEST_MARIADB"))
    }

    /// A new database of the kind.
    pub fn new(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Postgres => Self::postgres(),
            Dialect::Mysql => Self::mariadb(),
            Dialect::Sqlite => Self::sqlite(),
        }
    }

    fn on_server(dialect: Dialect, admin: &str) -> Self {
        let name = unique("lw");
        let runtime = runtime();
        let statement = match dialect {
            Dialect::Postgres => format!("create database {name} template template0 encoding 'UTF8'"),
            _ => format!("create database {name} character set utf8mb4"),
        };
        runtime.block_on(run(dialect, admin, &statement)).expect("a new database");
        let (server, _) = admin.rsplit_once('/').expect("a URL with a database");
        let url = format!("{server}/{name}");
        Self { dialect, url, admin: Some((admin.to_owned(), name)), runtime, _dir: None }
    }

    /// Name of the database on its server.
    pub fn name(&self) -> &str {
        self.admin.as_ref().map_or("main", |(_, name)| name)
    }

    /// The schema that made-up events name, so that their tables are this test's own.
    pub fn home(&self) -> &str {
        match self.dialect {
            Dialect::Postgres => "public",
            Dialect::Mysql => self.name(),
            Dialect::Sqlite => "main",
        }
    }

    /// The quoted name of a table of [`home`](Self::home).
    pub fn table(&self, table: &str) -> String {
        self.dialect.table(&TableName::new(Some(self.home()), table))
    }

    /// The `[sink]` section.
    pub fn config(&self) -> String {
        format!("[sink]\nurl = \"{}\"\n", self.url)
    }

    /// Runs a query and returns its rows.
    #[track_caller]
    pub fn query(&self, sql: &str) -> Vec<Vec<Value>> {
        let rows = self.runtime.block_on(async {
            let mut session = sink(self.dialect, &self.url)?.session("test").await?;
            session.query(sql, &[]).await
        });
        rows.unwrap_or_else(|failure| panic!("{failure}: {sql}"))
    }

    /// Runs a statement.
    #[track_caller]
    pub fn execute(&self, sql: &str) -> u64 {
        let done = self.runtime.block_on(run(self.dialect, &self.url, sql));
        done.unwrap_or_else(|failure| panic!("{failure}: {sql}"))
    }

    /// Runs a statement in a transaction that stays open until it is [released](Self::release).
    #[track_caller]
    pub fn hold(&self, sql: &str) -> Session {
        let held = self.runtime.block_on(async {
            let mut session = sink(self.dialect, &self.url)?.session("test").await?;
            session.begin().await?;
            session.execute(sql, &[]).await.map(|_| session)
        });
        held.unwrap_or_else(|failure| panic!("{failure}: {sql}"))
    }

    /// Ends what [`hold`](Self::hold) began.
    pub fn release(&self, mut held: Session) {
        self.runtime.block_on(held.rollback()).expect("rolled back");
    }

    /// Runs a query of text columns.
    #[track_caller]
    pub fn texts(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let cell = |value: Value| match value {
            Value::Null => None,
            Value::Int(number) => Some(number.to_string()),
            value => Some(value.as_text().unwrap_or_else(|| panic!("{value:?} is no text: {sql}")).to_owned()),
        };
        self.query(sql).into_iter().map(|row| row.into_iter().map(cell).collect()).collect()
    }

    /// The one number that a query returns.
    #[track_caller]
    pub fn count(&self, sql: &str) -> i64 {
        match self.query(sql).as_slice() {
            [row] => row[0].as_int().unwrap_or_else(|| panic!("{:?} is no number: {sql}", row[0])),
            rows => panic!("{} rows: {sql}", rows.len()),
        }
    }

    /// An expression for a column as text: what the database itself makes of it, bytes as `0x…`.
    pub fn as_text(&self, column: &str, native: &str) -> String {
        as_text(self.dialect, column, native)
    }

    /// Tables with their quoted names, by a name that is the same for one table always: those of the test, and lastword's
    /// tombstones and tokens.
    pub fn tables(&self) -> BTreeMap<String, String> {
        let sql = match self.dialect {
            Dialect::Postgres => {
                "select table_schema::text, table_name::text from information_schema.tables where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema') and (table_schema <> 'lastword' or table_name like 'tombstone\\_%' or table_name like 'token\\_%')"
            }
            Dialect::Mysql => {
                "select cast(null as char), table_name from information_schema.tables where table_schema = database() and (table_name not like 'lastword\\_%' or table_name like 'lastword\\_tombstone\\_%' or table_name like 'lastword\\_token\\_%')"
            }
            Dialect::Sqlite => {
                "select null, name from sqlite_master where type = 'table' and name not like 'sqlite\\_%' escape '\\' and (name not like 'lastword\\_%' escape '\\' or name like 'lastword\\_tombstone\\_%' escape '\\' or name like 'lastword\\_token\\_%' escape '\\')"
            }
        };
        let ident = |name: &str| self.dialect.ident(name);
        let named = |row: Vec<Option<String>>| match &row[..] {
            [Some(schema), Some(table)] => (format!("{schema}.{table}"), format!("{}.{}", ident(schema), ident(table))),
            [None, Some(table)] => (table.clone(), ident(table)),
            _ => panic!("a table without a name"),
        };
        self.texts(sql).into_iter().map(named).collect()
    }

    /// Names and types of the columns of a table, by its name in [`tables`](Self::tables).
    pub fn columns(&self, table: &str) -> Vec<(String, String)> {
        let text = |name: &str| format!("'{}'", name.replace('\'', "''"));
        let sql = match self.dialect {
            Dialect::Postgres => {
                let (schema, table) = table.split_once('.').expect("a schema");
                format!(
                    "select column_name::text, data_type::text from information_schema.columns where table_schema = {} and table_name = {} order by ordinal_position",
                    text(schema),
                    text(table)
                )
            }
            Dialect::Mysql => format!(
                "select column_name, data_type from information_schema.columns where table_schema = database() and table_name = {} order by ordinal_position",
                text(table)
            ),
            Dialect::Sqlite => format!("select name, type from pragma_table_info({}) order by cid", text(table)),
        };
        let pair = |row: Vec<Option<String>>| {
            let mut row = row.into_iter().map(Option::unwrap_or_default);
            (row.next().expect("a name"), row.next().expect("a type"))
        };
        self.texts(&sql).into_iter().map(pair).collect()
    }

    /// Everything that events leave behind: rows, tokens, tombstones, truncate tokens. What depends on the clock is left out, and
    /// scopes of tokens are numbered in the order of their descriptions, not of their being met.
    pub fn contents(&self) -> Contents {
        let mut contents = Contents::new();
        let scopes = self.scopes();
        for (name, quoted) in self.tables() {
            let columns: Vec<(String, String)> =
                self.columns(&name).into_iter().filter(|(column, _)| column != "deleted_at").collect();
            let selected: Vec<String> = columns.iter().map(|(column, native)| self.as_text(column, native)).collect();
            let mut rows = self.texts(&format!("select {} from {quoted}", selected.join(", ")));
            for (at, _) in columns.iter().enumerate().filter(|(_, (column, _))| column == TOKEN_COLUMN) {
                rows.iter_mut().filter_map(|row| row[at].as_mut()).for_each(|token| rescope(token, &scopes));
            }
            let mut lines: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
            lines.sort();
            // On MariaDB the names of side tables hold a hash over the database's name, which is another in every test.
            let side = self.dialect == Dialect::Mysql && name.starts_with("lastword_");
            let name = if side { name[..name.len() - 17].to_owned() } else { name };
            assert!(contents.insert(name, lines).is_none(), "two tables with one name");
        }
        let states = self.bookkeeping("table_state");
        let token = self.as_text("truncate_token", "varbinary");
        let mut rows = self.texts(&format!("select table_name, {token} from {states}"));
        rows.iter_mut().filter_map(|row| row[1].as_mut()).for_each(|token| rescope(token, &scopes));
        let mut lines: Vec<String> = rows.iter().map(|row| format!("{row:?}").replace(self.name(), "db")).collect();
        lines.sort();
        contents.insert("truncate tokens".to_owned(), lines);
        contents
    }

    /// Numbers of scopes in hex, in the order of their descriptions.
    fn scopes(&self) -> Vec<String> {
        let scopes = self.bookkeeping("scope");
        let rows = self.texts(&format!("select id from {scopes} order by description"));
        rows.into_iter().flatten().flatten().map(|id| format!("{:04x}", id.parse::<u16>().expect("a number"))).collect()
    }

    /// The quoted name of one of lastword's tables.
    pub fn bookkeeping(&self, table: &str) -> String {
        self.dialect.bookkeeping(table)
    }

    /// Takes all that lastword wrote away, but leaves the tables, as if they had been made by somebody else.
    pub fn forget(&self) {
        for (_, quoted) in self.tables().iter().filter(|(name, _)| !name.contains("lastword")) {
            self.execute(&format!("delete from {quoted}"));
        }
        self.disown();
    }

    /// Takes everything of lastword's own away, but leaves the tables with their rows: a dump.
    pub fn disown(&self) {
        for (name, quoted) in self.tables() {
            if name.contains("lastword") {
                self.execute(&format!("drop table {quoted}"));
                continue;
            }
            for (column, _) in self.columns(&name).iter().filter(|(column, _)| column.starts_with("_lastword")) {
                self.execute(&format!("alter table {quoted} drop column {}", self.dialect.ident(column)));
            }
        }
        if self.dialect == Dialect::Postgres {
            self.execute("drop schema lastword cascade");
            return;
        }
        let sql = match self.dialect {
            Dialect::Mysql => {
                "select table_name from information_schema.tables where table_schema = database() and table_name like 'lastword\\_%'"
            }
            _ => "select name from sqlite_master where type = 'table' and name like 'lastword\\_%' escape '\\'",
        };
        for row in self.texts(sql) {
            let name = row[0].as_deref().expect("a name");
            self.execute(&format!("drop table {}", self.dialect.ident(name)));
        }
    }
}

/// Puts the place of a token's scope among all scopes where its number is: behind the prefix and the format.
fn rescope(token: &mut String, scopes: &[String]) {
    const SCOPE: std::ops::Range<usize> = 4..8;
    let place = token.get(SCOPE).and_then(|scope| scopes.iter().position(|known| known == scope));
    let place = place.unwrap_or_else(|| panic!("the scope of {token} is not among {scopes:?}"));
    token.replace_range(SCOPE, &format!("#{place}"));
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some((admin, name)) = &self.admin else { return };
        let force = if self.dialect == Dialect::Postgres { " with (force)" } else { "" };
        // The servers of a run are thrown away in the end; a database that stays harms nobody.
        let _ = self.runtime.block_on(run(self.dialect, admin, &format!("drop database {name}{force}")));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A sink of the library for a URL.
pub fn sink(dialect: Dialect, url: &str) -> Result<Sink, Failure> {
    Sink::new(&SinkConfig { url: Secret::new(url), dialect, writers: 1, lock_timeout: Duration::from_secs(20) })
}

async fn run(dialect: Dialect, url: &str, sql: &str) -> Result<u64, Failure> {
    sink(dialect, url)?.session("test").await?.execute(sql, &[]).await
}
