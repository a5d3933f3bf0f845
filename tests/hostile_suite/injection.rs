//! Names and values that would be SQL: they arrive as they are, or are refused by name. Nothing else of the database changes.

use std::collections::BTreeSet;

use lastword::core::dialect::Dialect;
use lastword::core::table::TableName;
use serde_json::{Value as Json, json};

use super::in_order;
use crate::support::captures::Captured;
use crate::support::database::Database;
use crate::support::events::Source;
use crate::support::program::{number, over_files};

/// Texts that end a literal, a name or a statement somewhere, or mean something to a driver, a template or a terminal.
const TEXTS: &[&str] = &[
    "'; drop table canary; --",
    "\"; drop table canary; --",
    "`; drop table canary; -- ",
    "\\'; drop table canary; #",
    "\\",
    "'",
    "''",
    "\"\"",
    "a\\'b",
    "'||(select 1)||'",
    "$1",
    "$$; drop table canary; $$",
    "?",
    ":1",
    "@x",
    "%s%n%",
    "{}",
    "${topic}",
    "/*",
    "*/ drop table canary; /*",
    "/*! drop table canary */",
    "--",
    "#",
    "\t\r\n",
    "\\N",
    "\\.",
    "\\t",
    "NULL",
    "null",
    "select",
    "a.b.c",
    "..",
    " ",
    "trailing ",
    "\u{202e}drop",
    "\u{430}dmin",
    "\u{ff07}; drop table canary; --",
    "\u{2bc}; drop table canary; --",
    "Größe",
    "\u{1F9D1}\u{200D}\u{1F692}",
    "\u{1b}[31m",
    "_lastword_token",
    "lastword_checkpoint",
    "sqlite_master",
    "pg_class",
];

fn canary(database: &Database) {
    database.execute(&format!("create table {} (id integer primary key, note text)", database.table("canary")));
    database.execute(&format!("insert into {} values (1, 'alive')", database.table("canary")));
}

/// The canary lives, and there is no table that should not be.
#[track_caller]
fn assert_unharmed(database: &Database, made: &BTreeSet<String>) {
    let canary = database.texts(&format!("select id, note from {}", database.table("canary")));
    assert_eq!(canary, [[Some("1".to_owned()), Some("alive".to_owned())]]);
    let own = |name: &String| !name.contains("lastword_tombstone_") && !name.starts_with("lastword.");
    let tables: BTreeSet<String> = database.tables().into_keys().filter(own).collect();
    assert_eq!(tables, *made, "tables that nobody asked for, or that are gone");
}

/// Name of a table of the test as [`Database::tables`] has it.
fn listed(database: &Database, table: &str) -> String {
    match database.dialect {
        Dialect::Mysql => table.to_owned(),
        Dialect::Postgres => format!("{}.{table}", database.home()),
        // A canary that was made by hand is in the same form.
        Dialect::Sqlite => format!("{}.{table}", database.home()),
    }
}

/// As values of every type that is text somewhere, as keys, as headers and as records that are no events.
fn values(dialect: Dialect) {
    let database = Database::new(dialect);
    canary(&database);
    let columns = [
        ("k", "string", None),
        ("words", "string", None),
        ("doc", "string", Some("io.debezium.data.Json")),
        ("more", "string", None),
        ("choice", "string", Some("io.debezium.data.Enum")),
        ("raw", "bytes", None),
    ];
    let mut source = Source::new("made.values", database.home(), "vals", &columns);
    let base64 = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    let row = |text: &str, doc: &str| json!({"k": text, "words": text, "doc": json!(doc).to_string(), "more": text, "choice": text, "raw": base64(text)});
    for (at, text) in TEXTS.iter().enumerate() {
        source.upsert(10 + at as u64, row(text, text));
        // Deleted and made again: the key is written into the tombstones, looked up there and taken out.
        source.delete(1000 + at as u64, json!(text));
        source.upsert(2000 + at as u64, row(text, text));
        source.raw(Some(text), text);
    }
    source.records.iter_mut().zip(TEXTS.iter().cycle()).for_each(|(record, text)| {
        record.headers = vec![(*text).to_owned(), (*text).to_owned()];
    });
    let program = over_files(&database, &source.records, "");
    let run = program.catch_up(&["--set", "batch.rows=7"]);
    let kept = program.run(&["quarantine", "list", "--json"]).ok().json();
    assert_eq!(number(&run, "quarantined"), TEXTS.len() as i64, "{kept}");
    let select: Vec<String> =
        columns.iter().map(|(name, ..)| database.as_text(name, if *name == "raw" { "blob" } else { "" })).collect();
    let rows = database.texts(&format!("select {} from {}", select.join(", "), database.table("vals")));
    let found: BTreeSet<Vec<String>> =
        rows.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect()).collect();
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let prefix = if dialect == Dialect::Postgres { "\\x" } else { "0x" };
    let wanted = |text: &&str| {
        let doc = json!(text).to_string();
        vec![
            (*text).to_owned(),
            (*text).to_owned(),
            doc,
            (*text).to_owned(),
            (*text).to_owned(),
            format!("{prefix}{}", hex(text)),
        ]
    };
    let wanted: BTreeSet<Vec<String>> = TEXTS.iter().map(wanted).collect();
    let missing: Vec<_> = wanted.difference(&found).collect();
    assert!(missing.is_empty() && found.len() == wanted.len(), "{missing:#?} are not among {found:#?}");
    assert_unharmed(&database, &[listed(&database, "canary"), listed(&database, "vals")].into());
}

#[test]
fn values_in_sqlite() {
    values(Dialect::Sqlite);
}

/// Names that are too long, empty, or the same when they are cut.
fn odd_names() -> Vec<String> {
    let long = |length: usize, end: &str| format!("{}{end}", "n".repeat(length - end.len()));
    let mut names: Vec<String> = TEXTS.iter().map(|text| (*text).to_owned()).collect();
    names.extend([long(63, ""), long(64, "a"), long(64, "b"), long(65, "c"), long(300, "d")]);
    names.extend(["\u{fc}".repeat(32), "a\0b".to_owned(), String::new(), "canary".to_uppercase() + "2"]);
    names
}

/// As names of topics, tables and columns, each of its own: the table is made under exactly that name with its row, or the topic
/// stops, or the record is put aside.
fn names(dialect: Dialect) {
    let database = Database::new(dialect);
    canary(&database);
    let mut records: Vec<Captured> = Vec::new();
    let names = odd_names();
    for (number, name) in names.iter().enumerate() {
        // Control characters are not allowed in topics, nor empty ones.
        let text: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
        let column: &'static str = Box::leak(name.clone().into_boxed_str());
        let columns = [("id", "int32", None), (column, "string", Some("io.debezium.data.Enum"))];
        let mut source = Source::new(&format!("t{number}.{text}"), database.home(), name, &columns);
        source.upsert(10, json!({"id": 1, column: "old"}));
        source.upsert(20, json!({"id": 1, column: name}));
        records.extend(source.records);
    }
    let program = over_files(&database, &records, "");
    let run = in_order(program.run(&["run", "--until-caught-up", "--json"])).json();
    let mut made: BTreeSet<String> = [listed(&database, "canary")].into();
    let tables = database.tables();
    let halted: Vec<&str> = run["halted"].as_array().expect("a list").iter().filter_map(Json::as_str).collect();
    let aside = database.texts(&format!("select topic from {}", database.bookkeeping("quarantine")));
    let aside: Vec<&str> = aside.iter().filter_map(|row| row[0].as_deref()).collect();
    let mut refused = Vec::new();
    for (number, name) in names.iter().enumerate() {
        if halted.iter().chain(&aside).any(|topic| topic.starts_with(&format!("t{number}."))) {
            refused.push(name);
            continue;
        }
        let listed = listed(&database, name);
        assert!(tables.contains_key(&listed), "{name:?} is neither made nor refused: {run}");
        let quoted = dialect.table(&TableName::new(Some(database.home()), name));
        let row = database.texts(&format!("select {} from {quoted}", database.as_text(name, "")));
        assert_eq!(row, [[Some(name.clone())]], "{name:?}");
        made.insert(listed);
    }
    assert!(refused.len() * 3 < names.len(), "{refused:#?}\n{run}");
    assert_unharmed(&database, &made);
}

#[test]
fn names_in_sqlite() {
    names(Dialect::Sqlite);
}

/// What a schema says of a column's type, its labels and its default reaches the statements that make and widen tables.
fn schemas(dialect: Dialect) {
    let database = Database::new(dialect);
    canary(&database);
    let mut records = Vec::new();
    let evil = [
        "varchar(9)); drop table canary; --",
        "ENUM('a'); drop table canary; --",
        "inet; drop table canary",
        "BIGINT UNSIGNED ZEROFILL'",
        "x\"'`",
    ];
    let mut number = 0;
    for kind in evil {
        for text in ["9); drop table canary; --", "2147483646", "-1", "'a','b'); drop table canary; --"] {
            let topic = format!("made.s{number}");
            let mut source = Source::new(
                &topic,
                database.home(),
                &format!("s{number}"),
                &[("id", "int32", None), ("v", "string", None)],
            );
            source.upsert(10, json!({"id": 1, "v": "'"}));
            let record = &mut source.records[0];
            let said = json!({"__debezium.source.column.type": kind, "__debezium.source.column.length": text,
                "__debezium.source.column.scale": text, "allowed": text});
            let field = r#"{"field":"v","optional":true,"type":"string"}"#;
            let declared = json!({"field": "v", "optional": true, "type": "string", "name": "io.debezium.data.Enum",
                "default": text, "parameters": said});
            let payload = record.payload.take().expect("a value");
            assert!(payload.contains(field), "{payload}");
            record.payload = Some(payload.replace(field, &declared.to_string()));
            records.extend(source.records);
            number += 1;
        }
    }
    let program = over_files(&database, &records, "[defaults]\nevolve = \"widen\"\n");
    let run = in_order(program.run(&["run", "--until-caught-up", "--json"])).json();
    let tables: BTreeSet<String> = database.tables().into_keys().collect();
    let made = (0..number).map(|number| listed(&database, &format!("s{number}"))).filter(|name| tables.contains(name));
    let made: BTreeSet<String> = made.chain([listed(&database, "canary")]).collect();
    assert!(made.len() > number / 2, "{run}");
    for table in (0..number).map(|number| format!("s{number}")).filter(|name| made.contains(&listed(&database, name))) {
        let rows = database.texts(&format!("select v from {}", database.table(&table)));
        assert!(rows == [[Some("'".to_owned())]] || number_of(&run) > 0, "{table}: {rows:?} {run}");
    }
    assert_unharmed(&database, &made);
}

fn number_of(run: &Json) -> i64 {
    number(run, "quarantined") + run["halted"].as_array().map_or(0, Vec::len) as i64
}

#[test]
fn schemas_in_sqlite() {
    schemas(Dialect::Sqlite);
}

/// As arguments of every command that takes a name or a note, as the pipeline's name, and in templates.
fn commands(dialect: Dialect) {
    let database = Database::new(dialect);
    canary(&database);
    let mut source = Source::people("made.people", database.home());
    source.upsert(10, json!({"id": 1, "name": "one"}));
    source.raw(None, "no event");
    let program = over_files(&database, &source.records, "");
    program.catch_up(&[]);
    let contents = database.contents();
    for text in ["'; drop table canary; --", "\\'; drop table canary; #", "x`\"; drop table canary; --", "$1 ? %s"] {
        for command in [
            &["replay", "--from-beginning", "--topic", text][..],
            &["replay", "--from-beginning", "--topic", "made.people", "--note", text],
            &["offsets", "set", "--partition", "0", "--offset", "0", "--topic", text],
            &["offsets", "set", "--partition", "0", "--offset", "2", "--topic", "made.people", "--note", text],
            &["quarantine", "list", "--topic", text],
            &["quarantine", "list", "--reason", text],
            &["quarantine", "retry", "--topic", text, "--note", text],
            &["quarantine", "retry", "--all", "--note", text],
            &["tombstones", "reset", "--table", text],
            &["sweep", "run", "--table", text],
            &["adopt", "--lsn", "0/1", "--table", text, "--topic", text, "--yes"],
            &["epoch", "open", "--topic", text, "--yes"],
        ] {
            in_order(program.run(command));
        }
    }
    in_order(program.run(&["audit"])).ok();
    assert!(crate::support::database::differing(&contents, &database.contents()).is_none(), "a command changed a row");
    let mut made: BTreeSet<String> = [listed(&database, "canary"), listed(&database, "people")].into();
    assert_unharmed(&database, &made);
    for (number, text) in ["'; drop table canary; --", "\\", "\"`'", "$1"].into_iter().enumerate() {
        templates(&database, number, text, &source.records);
        made.insert(listed(&database, &format!("{text}{number}")));
    }
    assert_unharmed(&database, &made);
}

/// A template with the text makes a table of that name; no pipeline can be called so.
fn templates(database: &Database, number: usize, text: &str, records: &[Captured]) {
    let into = format!("{}.{}{number}", database.home(), text.replace('$', "$$").replace('"', "\"\""));
    let into = if text.contains('"') {
        format!("{}.\"{}", database.home(), &into[database.home().len() + 1..]) + "\""
    } else {
        into
    };
    let rule = format!("[[table]]\ntopic = \"made.people\"\ninto = {}\n", json!(into));
    let program = over_files(database, records, &rule);
    in_order(program.run(&["run", "--until-caught-up", "--json"])).ok();
    in_order(program.run(&["run", "--until-caught-up", "--set", &format!("pipeline.name={text}")])).code(2);
    for command in [&["status"][..], &["offsets", "show"], &["quarantine", "list"]] {
        in_order(program.run(command)).ok();
    }
}

#[test]
fn commands_in_sqlite() {
    commands(Dialect::Sqlite);
}

mod on_services {
    use super::*;

    #[test]
    fn values_in_postgres() {
        values(Dialect::Postgres);
    }

    #[test]
    fn values_in_mariadb() {
        values(Dialect::Mysql);
    }

    #[test]
    fn names_in_postgres() {
        names(Dialect::Postgres);
    }

    #[test]
    fn names_in_mariadb() {
        names(Dialect::Mysql);
    }

    #[test]
    fn schemas_in_postgres() {
        schemas(Dialect::Postgres);
    }

    #[test]
    fn schemas_in_mariadb() {
        schemas(Dialect::Mysql);
    }

    #[test]
    fn commands_in_postgres() {
        commands(Dialect::Postgres);
    }

    #[test]
    fn commands_in_mariadb() {
        commands(Dialect::Mysql);
    }
}
