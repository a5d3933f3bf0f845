//! `[sink]`

use std::time::Duration;

use url::Url;

use crate::config::checked::SinkConfig;
use crate::config::problem::Origin;
use crate::config::raw::RawSink;
use crate::config::secret::{Secret, redact_url};
use crate::core::dialect::Dialect;

use super::source::secret_file;
use super::{Checker, LOCK_TIMEOUT, WRITERS};

impl Checker<'_> {
    /// Judges `[sink]`.
    pub(super) fn sink(&mut self, raw: &RawSink) -> Option<SinkConfig> {
        let writers = self.number(&raw.writers, "sink.writers", WRITERS, 1..=64);
        let locks = Duration::from_millis(1)..=Duration::from_secs(3600);
        let lock_timeout = self.duration(&raw.lock_timeout, "sink.lock_timeout", LOCK_TIMEOUT, locks);
        let (key, origin, url) = self.url(raw)?;
        match check_url(&url) {
            Ok(dialect) => {
                let writers = if dialect == Dialect::Sqlite { 1 } else { writers };
                Some(SinkConfig { url: Secret::new(url), dialect, writers, lock_timeout })
            }
            Err(message) => {
                self.report.add(&origin, key, message);
                None
            }
        }
    }

    /// The URL from the one place that is written, with that place.
    fn url(&mut self, raw: &RawSink) -> Option<(&'static str, Origin, String)> {
        let written: Vec<_> =
            [("sink.url", &raw.url), ("sink.url_file", &raw.url_file), ("sink.url_env", &raw.url_env)]
                .into_iter()
                .filter(|(_, field)| field.is_written())
                .collect();
        let (key, field) = match written.as_slice() {
            [] => {
                self.missing("sink.url", "url = \"postgres://user@host/database\" (or url_file, url_env)");
                return None;
            }
            [one] => *one,
            [_, rest @ ..] => {
                for given in rest.iter().filter_map(|(_, field)| field.given()) {
                    self.report.add(&given.origin, "sink", "expected one of url, url_file and url_env, found several");
                }
                return None;
            }
        };
        let given = field.given()?;
        let url = match key {
            "sink.url_file" => secret_file(&given.value),
            "sink.url_env" => self.environment.get(&given.value).map(str::to_owned),
            _ => Ok(given.value.clone()),
        };
        match url {
            Ok(url) => Some((key, given.origin.clone(), url.trim().to_owned())),
            Err(message) => {
                self.report.add(&given.origin, key, message);
                None
            }
        }
    }
}

const KNOWN_URLS: &str = "postgres://user@host/database, mysql://…, mariadb://… or sqlite:path";

/// Tells the destination by the URL. Errors never hold a part of the URL that may belong to a password.
fn check_url(url: &str) -> Result<Dialect, String> {
    let Some((scheme, rest)) = url.split_once(':') else { return Err(format!("expected a URL: {KNOWN_URLS}")) };
    let dialect = match scheme.to_ascii_lowercase().as_str() {
        "postgres" | "postgresql" => Dialect::Postgres,
        "mysql" | "mariadb" => Dialect::Mysql,
        "sqlite" => {
            return check_sqlite(rest).map(|()| Dialect::Sqlite);
        }
        // Not shown: what stands before the first colon of something that is no URL may be anything.
        _ => return Err(format!("the scheme is not known; expected {KNOWN_URLS}")),
    };
    let encode = "in a user or password write @ : / ? # as %40 %3A %2F %3F %23";
    let parsed =
        Url::parse(&with_one_host(url, dialect)).map_err(|error| format!("is not a URL ({error}); {encode}"))?;
    // `postgres://app:12/34@host/db` parses as host `app`, port 12 and a path: then parts of a password would be shown as
    // names.
    if [parsed.path(), parsed.query().unwrap_or_default()].iter().any(|part| part.contains('@')) {
        return Err(format!("there is an @ behind the host; {encode}"));
    }
    if parsed.fragment().is_some() {
        return Err(format!("there is a #; {encode}"));
    }
    let shown = redact_url(url);
    if parsed.host_str().unwrap_or_default().is_empty() && parsed.query().is_none() {
        return Err(format!("{shown} names no host"));
    }
    if parsed.path().trim_matches('/').is_empty() && parsed.query().is_none() {
        return Err(format!("{shown} names no database; expected {scheme}://user@host/database"));
    }
    Ok(dialect)
}

fn check_sqlite(rest: &str) -> Result<(), String> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return Err("names no file; expected sqlite:path".to_owned());
    }
    if path == ":memory:" || query.split('&').any(|parameter| parameter == "mode=memory") {
        return Err(
            "a database in memory holds no checkpoints when the process has ended; expected sqlite:path".to_owned()
        );
    }
    Ok(())
}

/// PostgreSQL takes several hosts (`h1:5432,h2:5432`), which a URL cannot have; the first stands for them all.
fn with_one_host(url: &str, dialect: Dialect) -> String {
    let Some((scheme, rest)) = url.split_once("//").filter(|_| dialect == Dialect::Postgres) else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let hosts_at = authority.rfind('@').map_or(0, |at| at + 1);
    let first = authority[hosts_at..].find(',').map_or(authority, |comma| &authority[..hosts_at + comma]);
    format!("{scheme}//{first}{path}")
}
