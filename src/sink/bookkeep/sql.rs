//! The fixed statements of `sql/`, compiled in, one statement a file.
//!
//! A file in `sql/shared/` serves all three databases; a file of the same name in a dialect's folder takes its place there.
//! Text is rewritten once, when a statement is first used:
//!
//! - lines that begin with `--` are left out;
//! - `lastword.x` becomes `lastword_x` where there are no schemas (MySQL, SQLite);
//! - `?` becomes `$1`, `$2`, … in PostgreSQL;
//! - `{now}` becomes the database's clock in milliseconds since 1970, so that all processes stamp by one clock.

use std::sync::LazyLock;

use crate::core::dialect::Dialect;

/// A fixed statement in the three languages.
pub(super) struct Statement {
    texts: [String; 3],
}

impl Statement {
    /// Its text for a database.
    pub(super) fn of(&self, dialect: Dialect) -> &str {
        &self.texts[index(dialect)]
    }

    fn new(postgres: &str, mysql: &str, sqlite: &str) -> Self {
        Self {
            texts: [
                rewrite(postgres, Dialect::Postgres),
                rewrite(mysql, Dialect::Mysql),
                rewrite(sqlite, Dialect::Sqlite),
            ],
        }
    }
}

fn index(dialect: Dialect) -> usize {
    match dialect {
        Dialect::Postgres => 0,
        Dialect::Mysql => 1,
        Dialect::Sqlite => 2,
    }
}

/// Makes the text of a file a database's own.
pub(super) fn rewrite(text: &str, dialect: Dialect) -> String {
    let body: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
    let now = match dialect {
        Dialect::Postgres => "(extract(epoch from clock_timestamp()) * 1000)::bigint",
        // Not unix_timestamp(): that goes through the session's time zone, which has an hour twice a year two ways.
        Dialect::Mysql => "(timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000)",
        Dialect::Sqlite => "cast(unixepoch('subsec') * 1000 as integer)",
    };
    let text = body.join("\n").trim().replace("{now}", now);
    match dialect {
        Dialect::Postgres => number_placeholders(&text),
        Dialect::Mysql | Dialect::Sqlite => text.replace("lastword.", "lastword_"),
    }
}

/// No statement holds a question mark in a literal (a test looks), so every one is a placeholder.
fn number_placeholders(text: &str) -> String {
    let mut numbered = String::with_capacity(text.len() + 16);
    for (number, piece) in text.split('?').enumerate() {
        if number > 0 {
            numbered.push_str(&format!("${number}"));
        }
        numbered.push_str(piece);
    }
    numbered
}

/// Statements of a file that holds several, separated by lines of a single `;`.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n;\n").map(str::trim).filter(|statement| !statement.is_empty())
}

macro_rules! file {
    ($folder:literal, $name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/sql/", $folder, "/", $name, ".sql"))
    };
}

macro_rules! statements {
    ($($(#[$doc:meta])* $id:ident = $name:literal $kind:ident;)*) => {
        $(
            $(#[$doc])*
            pub(super) static $id: LazyLock<Statement> = LazyLock::new(|| statements!(@load $kind $name));
        )*

        #[cfg(test)]
        const FILES: &[(&str, &str)] = &[$(($name, stringify!($kind))),*];
        #[cfg(test)]
        fn all() -> Vec<&'static Statement> {
            vec![$(&*$id),*]
        }
    };
    (@load shared $name:literal) => {
        Statement::new(file!("shared", $name), file!("shared", $name), file!("shared", $name))
    };
    (@load but_mysql $name:literal) => {
        Statement::new(file!("shared", $name), file!("mysql", $name), file!("shared", $name))
    };
    (@load but_sqlite $name:literal) => {
        Statement::new(file!("shared", $name), file!("shared", $name), file!("sqlite", $name))
    };
    (@load each $name:literal) => {
        Statement::new(file!("postgres", $name), file!("mysql", $name), file!("sqlite", $name))
    };
    (@load only_postgres $name:literal) => { Statement::new(file!("postgres", $name), "", "") };
    (@load only_mysql $name:literal) => { Statement::new("", file!("mysql", $name), "") };
    (@load but_not_sqlite $name:literal) => { Statement::new(file!("postgres", $name), file!("mysql", $name), "") };
}

statements! {
    STORE_001 = "001_store" each;
    COLLECTION_002 = "002_collection" each;
    EPOCHS_002 = "002_epochs" each;
    TOPICS_002 = "002_topics" each;
    TRANSACTIONS_002 = "002_transactions" each;
    PARTIAL_002 = "002_partial" each;
    SOURCES_003 = "003_sources" each;
    META_EXISTS = "meta_exists" each;
    META_GET = "meta_get" shared;
    META_SET = "meta_set" shared;
    META_ADD = "meta_add" shared;
    META_LOCK = "meta_lock" shared;
    SCHEMA_EXISTS = "schema_exists" only_postgres;
    SCHEMA_CREATE = "schema_create" only_postgres;
    MIGRATE_LOCK = "migrate_lock" but_not_sqlite;
    MIGRATE_UNLOCK = "migrate_unlock" only_mysql;
    CHECKPOINT_RAISE = "checkpoint_raise" shared;
    CHECKPOINT_RAISE_MINE = "checkpoint_raise_mine" shared;
    CHECKPOINT_ADD = "checkpoint_add" but_mysql;
    CHECKPOINT_GET = "checkpoint_get" shared;
    CHECKPOINT_FENCES = "checkpoint_fences" shared;
    CHECKPOINT_LIST = "checkpoint_list" shared;
    CHECKPOINT_ADVANCE = "checkpoint_advance" shared;
    CHECKPOINT_FENCE = "checkpoint_fence" shared;
    CHECKPOINT_HOLD = "checkpoint_hold" shared;
    CHECKPOINT_SET = "checkpoint_set" shared;
    CHECKPOINT_OF_TOPIC = "checkpoint_of_topic" shared;
    CHECKPOINT_FENCE_TOPIC = "checkpoint_fence_topic" shared;
    CHECKPOINT_UNTOP = "checkpoint_untop" shared;
    EPOCH_ADD = "epoch_add" shared;
    EPOCH_OF_TOPIC = "epoch_of_topic" shared;
    EPOCH_LIST = "epoch_list" shared;
    EPOCH_FORGET = "epoch_forget" shared;
    LEDGER_ADD = "ledger_add" but_mysql;
    TOPIC_ADD = "topic_add" but_mysql;
    TOPIC_GET = "topic_get" shared;
    LEDGER_COUNT = "ledger_count" shared;
    LEDGER_OF_TOPIC = "ledger_of_topic" shared;
    SCOPE_GET = "scope_get" shared;
    SCOPE_LAST = "scope_last" shared;
    SCOPE_ADD = "scope_add" shared;
    TABLE_ADD = "table_add" but_mysql;
    TABLE_GET = "table_get" shared;
    TABLE_LIST = "table_list" shared;
    TABLE_SET_DELETE = "table_set_delete" shared;
    TABLE_LOCK = "table_lock" but_sqlite;
    TABLE_RAISE = "table_raise" shared;
    FLOOR_LIST = "floor_list" shared;
    FLOOR_ADD = "floor_add" shared;
    FLOOR_RAISE = "floor_raise" shared;
    FLOOR_CLEAR = "floor_clear" shared;
    FLOOR_MOVED = "floor_moved" shared;
    GENERATION_LIST = "generation_list" shared;
    GENERATION_ADD = "generation_add" shared;
    GENERATION_DROP = "generation_drop" shared;
    GENERATION_COLLECTED = "generation_collected" shared;
    GENERATION_CLEAR = "generation_clear" shared;
    FEED_ADD = "feed_add" but_mysql;
    FEED_LIST = "feed_list" shared;
    FEED_OF_TABLE = "feed_of_table" shared;
    NOW = "now" shared;
    SWEEP_ADD = "sweep_add" but_mysql;
    SWEEP_LIST = "sweep_list" shared;
    SWEEP_WAIT = "sweep_wait" shared;
    SWEEP_SETTLE = "sweep_settle" shared;
    COUNTER_PIPELINES = "counter_pipelines" shared;
    REPLAY_RUNNING = "replay_running" shared;
    TABLE_SCOPE_ADD = "table_scope_add" but_mysql;
    TABLE_SCOPE_GET = "table_scope_get" shared;
    CONSISTENCY_SET = "consistency_set" shared;
    CONSISTENCY_ADD = "consistency_add" shared;
    CONSISTENCY_LIST = "consistency_list" shared;
    COUNTER_BUMP = "counter_bump" shared;
    COUNTER_ADD = "counter_add" but_mysql;
    COUNTER_LIST = "counter_list" shared;
    QUARANTINE_ADD = "quarantine_add" but_mysql;
    QUARANTINE_LIST = "quarantine_list" shared;
    QUARANTINE_GET = "quarantine_get" shared;
    QUARANTINE_SETTLE = "quarantine_settle" shared;
    MARK_ADD = "mark_add" but_mysql;
    MARK_ANY = "mark_any" shared;
    MARK_OF_KEY = "mark_of_key" shared;
    OPEN_ANY = "open_any" shared;
    REPLAY_LAST = "replay_last" shared;
    REPLAY_ADD = "replay_add" shared;
    REPLAY_SET = "replay_set" shared;
    REPLAY_LIST = "replay_list" shared;
    AUDIT_ADD = "audit_add" shared;
    AUDIT_LIST = "audit_list" shared;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn folders_of(kind: &str) -> &'static [&'static str] {
        match kind {
            "shared" => &["shared"],
            "but_mysql" => &["shared", "mysql"],
            "but_sqlite" => &["shared", "sqlite"],
            "each" => &["postgres", "mysql", "sqlite"],
            "only_postgres" => &["postgres"],
            "only_mysql" => &["mysql"],
            "but_not_sqlite" => &["postgres", "mysql"],
            other => panic!("{other}"),
        }
    }

    #[test]
    fn every_file_is_used_and_none_is_passed_over() {
        let mut listed = BTreeSet::new();
        for (name, kind) in FILES {
            for folder in folders_of(kind) {
                assert!(listed.insert(format!("{folder}/{name}.sql")), "{name} twice");
            }
        }
        let mut there = BTreeSet::new();
        for folder in ["shared", "postgres", "mysql", "sqlite"] {
            for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("sql").join(folder)).expect(folder) {
                there.insert(format!("{folder}/{}", entry.expect("entry").file_name().to_string_lossy()));
            }
        }
        let unknown: Vec<&String> = there.iter().filter(|file| !listed.contains(*file) && !is_included(file)).collect();
        assert!(unknown.is_empty(), "nobody uses {unknown:?}");
        assert!(listed.is_subset(&there));
    }

    /// Files of one database only, which the code that sends them includes itself.
    fn is_included(file: &str) -> bool {
        let name = format!("sql/{file}\"");
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(&folder).expect("folder").map(|entry| entry.expect("entry").path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if fs::read_to_string(&path).is_ok_and(|text| text.contains(&name)) {
                    return true;
                }
            }
        }
        false
    }

    #[test]
    fn text_becomes_each_databases_own() {
        let text = "-- why? because\nselect a from lastword.x\nwhere b = ? and c = ?\n";
        assert_eq!(rewrite(text, Dialect::Postgres), "select a from lastword.x\nwhere b = $1 and c = $2");
        assert_eq!(rewrite(text, Dialect::Sqlite), "select a from lastword_x\nwhere b = ? and c = ?");
        assert_eq!(split("a\n;\nb\n;\n").collect::<Vec<_>>(), ["a", "b"]);
        for statement in all() {
            for dialect in [Dialect::Postgres, Dialect::Mysql, Dialect::Sqlite] {
                let text = statement.of(dialect);
                assert!(!text.contains('{') && !text.contains("'?"), "{text}");
            }
        }
    }
}
