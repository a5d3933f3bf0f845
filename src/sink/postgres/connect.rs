//! The way to PostgreSQL: URL, TLS, pool, the settings of a session.

use std::fmt;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use tokio_postgres::config::Host;

use crate::config::checked::SinkConfig;
use crate::core::failure::{Class, Failure};
use crate::core::value::Value;
use crate::sink::Statements;

use super::classify;
use super::session::PostgresSession;
use super::tls::{self, Mode};

/// Oldest version that has what is used here.
const VERSION_MIN: i64 = 150_000;
/// How long making a connection may take if the URL does not say it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A silent peer is given up after `KEEPALIVE_IDLE + 3 * KEEPALIVE_INTERVAL`.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long sent data may stay without an answer of the peer's kernel.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that may be in the making at one time; sessions leave the pool as soon as they are there.
const POOL_SIZE: usize = 16;

/// A PostgreSQL database as destination. Clones share the pool; `Debug` shows neither user nor password.
#[derive(Clone)]
pub struct PostgresSink {
    pool: Pool,
    place: String,
    lock_timeout: Duration,
}

impl fmt::Debug for PostgresSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSink").field("place", &self.place).finish_non_exhaustive()
    }
}

impl PostgresSink {
    /// Parses the URL and reads the certificates that it names. Nothing is connected yet.
    ///
    /// TLS parameters are libpq's: `sslmode=disable|prefer|require|verify-ca|verify-full` (default `prefer`) and
    /// `sslrootcert=<PEM file>` (default: the system's certificates). `require` encrypts without looking at the
    /// certificate, unless `sslrootcert` is given.
    pub fn new(config: &SinkConfig) -> Result<Self, Failure> {
        let (url, mode, root) = split_url(config.url.expose())?;
        let mut driver: tokio_postgres::Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            Failure::operator("url", format!("the sink's url cannot be read: {reason}"))
        })?;
        let place = place_of(&driver)?;
        if driver.get_connect_timeout().is_none() {
            driver.connect_timeout(CONNECT_TIMEOUT);
        }
        let patience = driver.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        driver
            .application_name("lastword")
            .ssl_mode(mode.driver_mode())
            .tcp_user_timeout(TCP_USER_TIMEOUT)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(driver, tls::connector(mode, root.as_deref())?, recycling);
        let pool = Pool::builder(manager)
            .max_size(POOL_SIZE)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(patience))
            .create_timeout(Some(patience))
            .build()
            .map_err(|error| Failure::operator("pool", error.to_string()))?;
        Ok(Self { pool, place, lock_timeout: config.lock_timeout })
    }

    /// Opens a session of its own connection, named `lastword/<purpose>` in `pg_stat_activity`, with this program's
    /// settings. Refuses servers older than 15.
    pub async fn session(&self, purpose: &str) -> Result<PostgresSession, Failure> {
        let pooled = self.pool.get().await.map_err(|error| self.unreachable(error))?;
        // Temporary tables and prepared statements belong to the session: the connection never returns to the pool.
        let mut session = PostgresSession::new(Object::take(pooled));
        let started = self.set_up(&mut session, purpose).await;
        started.map_err(|failure| failure.context(format!("setting up a session on {}", self.place)))?;
        Ok(session)
    }

    async fn set_up(&self, session: &mut PostgresSession, purpose: &str) -> Result<(), Failure> {
        session.execute(include_str!("../../../sql/postgres/session_settings.sql"), &[]).await?;
        let name = Value::from(application_name(purpose));
        let timeout = Value::from(self.lock_timeout.as_millis().to_string());
        session.query(include_str!("../../../sql/postgres/session_name.sql"), &[name, timeout]).await?;
        let rows = session.query(include_str!("../../../sql/postgres/session_start.sql"), &[]).await?;
        let facts = rows.first().map(Vec::as_slice).unwrap_or_default();
        let number = |at: usize| facts.get(at).and_then(Value::as_int);
        let (Some(pid), Some(started), Some(version)) = (number(0), number(1), number(2)) else {
            return Err(Failure::operator("session", "the server does not show its own session in pg_stat_activity"));
        };
        if version < VERSION_MIN {
            let shown = facts.get(3).and_then(Value::as_text).unwrap_or("unknown");
            return Err(Failure::operator(
                "version",
                format!("the server is PostgreSQL {shown}; 15 or later is needed"),
            ));
        }
        session.set_identity(format!("{pid}/{started}"));
        Ok(())
    }

    fn unreachable(&self, error: PoolError) -> Failure {
        let failure = match error {
            PoolError::Backend(error) => classify::connect(&error),
            PoolError::Timeout(_) => {
                let timeout = Failure::new(Class::Transient, "connect_timeout", "no connection within the time limit");
                Failure { connection_lost: true, ..timeout }
            }
            other => Failure::operator("pool", other.to_string()),
        };
        failure.context(format!("connecting to {}", self.place))
    }
}

/// Takes the TLS parameters, which the driver does not know in full, out of the URL.
fn split_url(url: &str) -> Result<(String, Mode, Option<String>), Failure> {
    let refuse = |reason: String| Failure::operator("url", format!("the sink's url cannot be read: {reason}"));
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(refuse("it must start with postgres://".to_owned()));
    }
    // A password may hold a question mark; what follows the host may not hold an `@` unescaped.
    let after_password = url.rfind('@').unwrap_or(0);
    let Some(at) = url[after_password..].find('?').map(|at| at + after_password) else {
        return Ok((url.to_owned(), Mode::Prefer, None));
    };
    let (mut mode, mut root, mut kept) = (Mode::Prefer, None, Vec::new());
    for pair in url[at + 1..].split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", name)) => mode = name.parse().map_err(refuse)?,
            Some(("sslrootcert", path)) => {
                root = Some(percent_decode(path).ok_or_else(|| refuse("sslrootcert".into()))?)
            }
            _ => kept.push(pair),
        }
    }
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    Ok((format!("{}{query}", &url[..at]), mode, root))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                (digit(rest.next())? * 16 + digit(rest.next())?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Host and port for messages. A host with an `@` is what an unescaped password leaves behind: it is not shown.
fn place_of(driver: &tokio_postgres::Config) -> Result<String, Failure> {
    let refuse = |reason: &str| Failure::operator("url", format!("the sink's url cannot be read: {reason}"));
    let (Some(host), ports) = (driver.get_hosts().first(), driver.get_ports()) else {
        return Err(refuse("it names no host"));
    };
    let port = ports.first().copied().unwrap_or(5432);
    match host {
        Host::Tcp(name) if name.contains(['@', '/', ':', '?', '#']) && name.parse::<std::net::IpAddr>().is_err() => {
            Err(refuse("the host holds a special character; percent-encode special characters in the password"))
        }
        Host::Tcp(name) => Ok(format!("{name}:{port}")),
        Host::Unix(path) => Ok(format!("{}:{port}", path.display())),
    }
}

/// `lastword/<purpose>`, cut to the 63 printable ASCII characters that PostgreSQL keeps.
fn application_name(purpose: &str) -> String {
    let printable = purpose.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
    "lastword/".chars().chain(printable).take(63).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::Secret;
    use crate::core::dialect::Dialect;

    fn sink(url: &str) -> Result<PostgresSink, Failure> {
        let lock_timeout = Duration::from_secs(5);
        PostgresSink::new(&SinkConfig { url: Secret::new(url), dialect: Dialect::Postgres, writers: 1, lock_timeout })
    }

    #[test]
    fn tls_parameters_are_taken_out() {
        let (url, mode, root) =
            split_url("postgres://u:p?w@h/d?sslmode=verify-full&a=b&sslrootcert=%2Ftmp%2Fa%20b").expect("a url");
        assert_eq!(
            (url.as_str(), mode, root.as_deref()),
            ("postgres://u:p?w@h/d?a=b", Mode::VerifyFull, Some("/tmp/a b"))
        );
        let (url, mode, root) = split_url("postgresql://h/d?sslmode=disable").expect("a url");
        assert_eq!((url.as_str(), mode, root), ("postgresql://h/d", Mode::Disable, None));
        for bad in ["mysql://h/d", "postgres://h/d?sslmode=allow-all", "postgres://h/d?sslrootcert=%f"] {
            assert!(split_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn neither_debug_nor_errors_hold_secrets() {
        let debug = format!("{:?}", sink("postgres://user:hush@db.example:6000/app").expect("a sink"));
        assert!(debug.contains("db.example:6000") && !debug.contains("hush") && !debug.contains("user"), "{debug}");
        for url in [
            "postgres://u:hu@sh@h/d",
            "postgres://u:hush@h:port/d",
            "postgres://u:hush@h/d?nonsense=1",
            "postgres://u:hush@/d",
            "postgres://u:hush@h/d?sslmode=verify-ca&sslrootcert=/nowhere/ca.pem",
        ] {
            let failure = sink(url).expect_err(url);
            assert_eq!(failure.class, Class::Operator, "{url}");
            assert!(!failure.to_string().contains("sh@") && !failure.to_string().contains("hush"), "{failure}");
        }
    }

    #[test]
    fn names_of_sessions_are_tame() {
        assert_eq!(application_name("lane-0"), "lastword/lane-0");
        assert_eq!(application_name("a'\n\0ü"), "lastword/a'???");
        assert_eq!(application_name(&"x".repeat(100)).len(), 63);
    }
}
