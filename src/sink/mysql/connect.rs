//! The URL, and what a session is told before it is used.

use std::fmt;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::{ConnectOptions, Connection};
use url::Url;

use crate::config::checked::SinkConfig;
use crate::core::failure::{Class, Failure};
use crate::core::value::Value;
use crate::sink::Statements;

use super::classify::classify;
use super::session::{MysqlSession, Server};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Prepared statements that a session keeps: some 30 a table and rung ladder, for a handful of tables.
const CACHED_STATEMENTS: usize = 256;
/// MariaDB ends a session that sits inside a transaction for so many seconds: a stopped process must not hold its locks
/// for ever.
const IDLE_TRANSACTION_SECONDS: u32 = 60;

/// A MySQL or MariaDB database. Holds the password and never prints it.
#[derive(Clone)]
pub struct MysqlSink {
    options: MySqlConnectOptions,
    lock_timeout: Duration,
}

impl fmt::Debug for MysqlSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlSink").field("server", &self.place()).finish_non_exhaustive()
    }
}

impl MysqlSink {
    /// Parses the URL and reads the certificates that it names.
    ///
    /// # Errors
    ///
    /// [`Class::Operator`] for a URL that cannot be understood, an unknown parameter, an unreadable certificate.
    pub fn new(config: &SinkConfig) -> Result<Self, Failure> {
        Ok(Self { options: options_of(config.url.expose())?, lock_timeout: config.lock_timeout })
    }

    /// Opens a session: connects (10 s at most), settles everything that decides how values are taken, checks the
    /// server's version.
    ///
    /// # Errors
    ///
    /// [`Class::Transient`] if the server cannot be reached, [`Class::Operator`] if it refuses or is too old.
    pub async fn session(&self, _purpose: &str) -> Result<MysqlSession, Failure> {
        let at = |failure: Failure| failure.context(format_args!("connecting to {}", self.place()));
        // Dropping a connection that is being made closes its socket: the one place where a time-out may stand.
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, MySqlConnection::connect_with(&self.options)).await;
        let connection = match connected {
            Ok(connected) => connected.map_err(|error| at(classify(&error)))?,
            Err(_) => {
                let mut failure = Failure::new(Class::Transient, "mysql timeout", "no answer within 10 s");
                failure.connection_lost = true;
                return Err(at(failure));
            }
        };
        let mut session = MysqlSession::new(connection);
        let server = self.greet(&mut session).await.map_err(at)?;
        session.set_server(server);
        Ok(session)
    }

    fn place(&self) -> String {
        let database = self.options.get_database().unwrap_or("");
        match self.options.get_socket() {
            Some(socket) => format!("{}/{database}", socket.display()),
            None => format!("{}:{}/{database}", self.options.get_host(), self.options.get_port()),
        }
    }

    /// Settings first, then questions.
    async fn greet(&self, session: &mut MysqlSession) -> Result<Server, Failure> {
        let version = text_of(session, "SELECT VERSION()").await?;
        let mariadb = version.to_ascii_lowercase().contains("mariadb");
        check_version(&version, mariadb)?;
        session.run_text(&settings(self.lock_timeout, mariadb)).await.map_err(|error| classify(&error))?;
        if text_of(session, "SELECT DATABASE()").await?.is_empty() {
            return Err(Failure::operator("no_database", "the URL names no database: mysql://user@host:3306/DATABASE"));
        }
        let rows = session
            .query(
                "SELECT CONNECTION_ID(), @@max_allowed_packet, @@lower_case_table_names, \
                 CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED)",
                &[],
            )
            .await?;
        let number = |index: usize| rows.first().and_then(|row| row.get(index)).and_then(Value::as_int);
        let (Some(id), Some(packet), Some(fold), Some(opened)) = (number(0), number(1), number(2), number(3)) else {
            return Err(Failure::operator(
                "mysql greeting",
                "the server does not tell its connection id or packet size",
            ));
        };
        let identity = mark(session, id, opened).await;
        Ok(Server { mariadb, max_packet: packet.max(1024) as usize, folds_names: fold != 0, identity })
    }
}

/// Holds a lock named after the session for as long as it lives: a newcomer can tell by it that a connection id still
/// is this session, although ids begin again when the server does. `None` where the server has no such locks (Galera).
async fn mark(session: &mut MysqlSession, id: i64, opened: i64) -> Option<String> {
    let name = lock_name(id, opened);
    let held = session.query("SELECT GET_LOCK(?, 0)", &[Value::from(name)]).await.ok()?;
    (held.first()?.first()?.as_int()? == 1).then(|| format!("{id}/{opened}"))
}

/// Name of the lock of a session: its connection id and the microsecond in which it was opened.
pub(super) fn lock_name(id: i64, opened: i64) -> String {
    format!("lastword/{id}/{opened}")
}

async fn text_of(session: &mut MysqlSession, question: &str) -> Result<String, Failure> {
    let rows = session.query(question, &[]).await?;
    Ok(rows.first().and_then(|row| row.first()).and_then(Value::as_text).unwrap_or_default().to_owned())
}

/// One statement with every setting that decides what happens to a value or a lock.
///
/// - strict for all tables, so that nothing is cut or clamped to fit; zero dates refused;
/// - `NO_AUTO_VALUE_ON_ZERO`: without it the key 0 becomes another key in an AUTO_INCREMENT column;
/// - READ COMMITTED for the session: the re-check before COMMIT must see what others have committed;
/// - waits for row locks and for metadata locks (an ALTER) end alike.
fn settings(lock_timeout: Duration, mariadb: bool) -> String {
    let seconds = lock_timeout.as_secs().max(1);
    let mut text = format!(
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,\
         NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', autocommit = 1, sql_safe_updates = 0, \
         innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}"
    );
    if mariadb {
        text.push_str(&format!(", idle_transaction_timeout = {IDLE_TRANSACTION_SECONDS}"));
    }
    text.push_str("; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
    text
}

/// MySQL from 8.0.19, MariaDB from 10.6.
fn check_version(version: &str, mariadb: bool) -> Result<(), Failure> {
    // Old proxies and MariaDB before 11 may put "5.5.5-" before the version.
    let plain = if mariadb { version.strip_prefix("5.5.5-").unwrap_or(version) } else { version };
    let mut numbers = plain.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let found = [numbers.next(), numbers.next(), numbers.next()].map(Option::unwrap_or_default);
    let needed = if mariadb { [10, 6, 0] } else { [8, 0, 19] };
    if found >= needed {
        return Ok(());
    }
    let shown: String = version.chars().take(60).collect();
    Err(Failure::operator(
        "server_too_old",
        format!("the server says version {shown:?}; needed is MySQL 8.0.19 or MariaDB 10.6 or later"),
    ))
}

/// The driver's options of a URL. Parameters that are not known are refused: one that is misspelt (`ssl_mode`) would
/// silently connect without TLS.
fn options_of(text: &str) -> Result<MySqlConnectOptions, Failure> {
    let bad = |what: String| Failure::operator("sink_url", format!("the sink's URL: {what}"));
    // A parse error's own text holds nothing of the URL.
    let url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "mysql" | "mariadb") {
        return Err(bad("expected mysql://user@host:3306/database or mariadb://…".to_owned()));
    }
    let decode = |part: &str, what: &str| {
        percent_decode(part).ok_or_else(|| bad(format!("{what} is not valid percent-encoded UTF-8")))
    };
    let mut options = MySqlConnectOptions::new()
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .statement_cache_capacity(CACHED_STATEMENTS)
        .disable_statement_logging();
    if let Some(host) = url.host_str().filter(|host| !host.is_empty()) {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        options = options.host(&decode(host, "the host")?);
    }
    options = options.port(url.port().unwrap_or(3306));
    if !url.username().is_empty() {
        options = options.username(&decode(url.username(), "the user")?);
    }
    if let Some(password) = url.password() {
        options = options.password(&decode(password, "the password")?);
    }
    let database = decode(url.path().trim_start_matches('/'), "the database")?;
    if database.is_empty() {
        return Err(bad("it names no database: mysql://user@host:3306/DATABASE".to_owned()));
    }
    options = options.database(&database);
    for (name, value) in url.query_pairs() {
        options = parameter(options, &name, &value).map_err(bad)?;
    }
    Ok(options)
}

fn parameter(options: MySqlConnectOptions, name: &str, value: &str) -> Result<MySqlConnectOptions, String> {
    let file = || std::fs::read(value).map_err(|error| format!("{name}: cannot read the file: {error}"));
    match name {
        "ssl-mode" | "sslmode" => {
            Ok(options.ssl_mode(ssl_mode(value).ok_or_else(|| {
                format!("{name}: expected DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY")
            })?))
        }
        "ssl-ca" | "sslca" | "sslrootcert" => Ok(options.ssl_ca_from_pem(file()?)),
        "ssl-cert" | "sslcert" => Ok(options.ssl_client_cert_from_pem(file()?)),
        "ssl-key" | "sslkey" => Ok(options.ssl_client_key_from_pem(file()?)),
        "socket" => Ok(options.socket(value)),
        other => Err(format!("unknown parameter {other:?}; known are ssl-mode, ssl-ca, ssl-cert, ssl-key, socket")),
    }
}

/// MySQL's names of the modes, and PostgreSQL's.
fn ssl_mode(value: &str) -> Option<MySqlSslMode> {
    match value.to_ascii_lowercase().replace('-', "_").as_str() {
        "disabled" | "disable" => Some(MySqlSslMode::Disabled),
        "preferred" | "prefer" => Some(MySqlSslMode::Preferred),
        "required" | "require" => Some(MySqlSslMode::Required),
        "verify_ca" => Some(MySqlSslMode::VerifyCa),
        "verify_identity" | "verify_full" => Some(MySqlSslMode::VerifyIdentity),
        _ => None,
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |index: usize| after.get(index).and_then(|byte| char::from(*byte).to_digit(16));
        match (*first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::Secret;
    use crate::core::dialect::Dialect;

    fn sink(url: &str) -> Result<MysqlSink, Failure> {
        MysqlSink::new(&SinkConfig {
            url: Secret::new(url),
            dialect: Dialect::Mysql,
            writers: 1,
            lock_timeout: Duration::from_secs(5),
        })
    }

    #[test]
    fn urls_are_understood_or_refused_without_showing_the_password() {
        let sink_of = |url| sink(url).expect(url);
        let plain = sink_of("mariadb://app:p%40ss%2Fword@[::1]:3307/shop?sslmode=verify-full");
        assert_eq!(plain.place(), "::1:3307/shop");
        assert!(matches!(plain.options.get_ssl_mode(), MySqlSslMode::VerifyIdentity));
        assert!(!format!("{plain:?}").contains("p@ss"), "{plain:?}");
        assert_eq!(sink_of("mysql://h/d%20b").options.get_database(), Some("d b"));
        for bad in [
            "mysql://u:geheim@h/",
            "mysql://u:geheim@h/d?ssl_mode=REQUIRED",
            "mysql://u:geheim@h/d?ssl-mode=maybe",
            "mysql://u:geheim@h/d?ssl-ca=/no/such/file",
            "mysql://u:geheim@h:99999/d",
            "postgres://u:geheim@h/d",
        ] {
            let failure = sink(bad).expect_err(bad);
            assert_eq!(failure.class, Class::Operator);
            assert!(!failure.to_string().contains("geheim"), "{failure}");
        }
    }

    #[test]
    fn old_servers_are_refused() {
        for (version, mariadb, fits) in [
            ("10.11.19-MariaDB-0+deb12u1", true, true),
            ("5.5.5-10.6.0-MariaDB", true, true),
            ("10.5.27-MariaDB", true, false),
            ("11.4.5-MariaDB-log", true, true),
            ("8.0.19", false, true),
            ("8.0.18-log", false, false),
            ("5.7.44", false, false),
            ("9.1.0", false, true),
            ("", false, false),
        ] {
            assert_eq!(check_version(version, mariadb).is_ok(), fits, "{version}");
        }
    }
}
