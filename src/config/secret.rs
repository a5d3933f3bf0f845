//! Text that must not be printed.

use std::fmt;

/// A secret: `Debug` shows a mark, there is no `Display` and no `Serialize`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text. Whoever calls this must not print it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// What stands for hidden text.
pub const HIDDEN: &str = "***";

/// Query parameters of database URLs whose values are no secrets. All others are hidden, because a driver may know a
/// parameter that carries a password and is not known here.
const SHOWN_PARAMETERS: [&str; 18] = [
    "application_name",
    "cache",
    "charset",
    "connect_timeout",
    "dbname",
    "host",
    "mode",
    "port",
    "socket",
    "ssl-ca",
    "ssl-mode",
    "sslcert",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "timezone",
    "user",
    "vfs",
];

/// A database URL without its password and without values of query parameters that could be secrets; fit for logs,
/// errors and commands. Text that cannot be told apart safely is hidden as a whole behind its scheme, if it has a known
/// one.
pub fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once(':') else { return HIDDEN.to_owned() };
    let known = ["postgres", "postgresql", "mysql", "mariadb", "sqlite"];
    if !known.iter().any(|name| scheme.eq_ignore_ascii_case(name)) {
        return HIDDEN.to_owned();
    }
    let (base, query) = rest.split_once('?').map_or((rest, None), |(base, query)| (base, Some(query)));
    // An `@` behind a `?`, or any `#`, may be a part of a password that was not percent-encoded.
    let torn = rest.contains('#') || query.is_some_and(|query| query.contains('@'));
    let query = query.map(redact_query).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("sqlite") {
        return format!("{scheme}:{base}{query}");
    }
    let Some(authority) = base.strip_prefix("//").filter(|_| !torn) else { return format!("{scheme}://{HIDDEN}") };
    let Some((user_info, place)) = authority.rsplit_once('@') else { return format!("{scheme}:{base}{query}") };
    match user_info.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:{HIDDEN}@{place}{query}"),
        None => format!("{scheme}://{user_info}@{place}{query}"),
    }
}

fn redact_query(query: &str) -> String {
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if SHOWN_PARAMETERS.contains(&name) => parameter.to_owned(),
        // Not even the name: it may be a part of a password with `&` in it.
        _ => HIDDEN.to_owned(),
    });
    format!("?{}", parameters.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_harmless_stays_readable() {
        for (url, shown) in [
            ("postgres://app@127.0.0.1:5432/app", "postgres://app@127.0.0.1:5432/app"),
            ("postgres://app:pw@db/app?sslmode=require", "postgres://app:***@db/app?sslmode=require"),
            ("mysql://u:p%40w@[::1]:3306/d", "mysql://u:***@[::1]:3306/d"),
            ("mysql://db/d?password=pw&charset=utf8", "mysql://db/d?***&charset=utf8"),
            ("sqlite:data/a@b.db?mode=rwc", "sqlite:data/a@b.db?mode=rwc"),
            ("sqlite:a.db?key=pw", "sqlite:a.db?***"),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }

    #[test]
    fn no_part_of_a_password_is_shown_however_it_was_written() {
        let passwords =
            ["sEcReT", "sEc@ReT", "sEc/ReT", "sEc?ReT", "sEc#ReT", "sEc:ReT", "1/ReT@sEc?x=ReT&sEc", "%73Ec&ReT"];
        for scheme in ["postgres", "postgresql", "mysql", "MariaDB", "http", "redis"] {
            for password in passwords {
                for url in [
                    format!("{scheme}://app:{password}@db:1/app"),
                    format!("{scheme}://app:{password}@db:1/app?sslmode=require"),
                    format!("{scheme}://db/app?password={password}"),
                    format!("{scheme}://db/app?user=app&passwort={password}"),
                    format!("{scheme}:app:{password}@db"),
                ] {
                    let shown = redact_url(&url);
                    assert!(!shown.contains("ReT") && !shown.contains("sEc"), "{url} is shown as {shown}");
                }
            }
        }
        assert_eq!(redact_url("host=db password=pw"), HIDDEN);
        assert_eq!(redact_url("pw"), HIDDEN);
        assert_eq!(format!("{:?}", Secret::new("pw")), "Secret(***)");
    }
}
