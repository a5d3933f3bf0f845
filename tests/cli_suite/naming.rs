//! Destination names that are made of topics and sources, selected and renamed columns, versions of a topic side by side.

use lastword::core::dialect::Dialect;
use lastword::core::table::TableName;
use serde_json::{Value, json};

use crate::support::captures::Captured;
use crate::support::database::{Database, assert_same};
use crate::support::events::Source;
use crate::support::program::{number, over_files};

const COLUMNS: [(&str, &str, Option<&str>); 4] = [
    ("OrderId", "int32", None),
    ("CustomerName", "string", None),
    ("note", "string", None),
    ("secret_x", "string", None),
];

fn orders(topic: &str) -> Source {
    Source::new(topic, "shop", "Orders", &COLUMNS)
}

fn order(id: i64, name: &str) -> Value {
    json!({"OrderId": id, "CustomerName": name, "note": "n", "secret_x": "s"})
}

fn all(sources: &[&Source]) -> Vec<Captured> {
    sources.iter().flat_map(|source| source.records.clone()).collect()
}

/// A schema (or database) for each tenant, which is made with its table.
const TENANTS: &str = r#"
[[table]]
topic = '^x\.(?:(?<version>v\d+)\.)?(?<tenant>[^.]+)\.(?<table>[^.]+)$'
into = "PREFIX${tenant}.${table}"
table_case = "snake"
column_case = "snake"
exclude_columns = ["^secret_"]
[table.columns.note]
to = "remark"
"#;

/// Both versions of a topic into one table per tenant: tokens order them, and a replay of the old topic changes nothing.
pub(super) fn versions_and_tenants(dialect: Dialect) {
    let database = Database::new(dialect);
    let prefix = format!("{}_", database.name());
    let (mut old, mut new, mut other) = (orders("x.Acme.Orders"), orders("x.v2.Acme.Orders"), orders("x.Beta.Orders"));
    old.upsert(10, order(1, "old"));
    old.upsert(11, order(2, "stays"));
    old.upsert(12, order(3, "deleted by the new topic"));
    new.upsert(20, order(1, "new"));
    new.delete(21, json!(3));
    other.upsert(30, order(1, "beta"));
    // The old topic goes on for a while, with what the new one has overtaken.
    old.upsert(15, order(3, "late"));
    let records = all(&[&new, &old, &other]);
    let program = over_files(&database, &records, &TENANTS.replace("PREFIX", &prefix));
    let told = program.run(&["check", "--json"]).ok().json();
    let tables = told["tables"].as_array().expect("tables");
    assert_eq!(tables.len(), 3, "{told}");
    assert!(tables.iter().all(|table| table["rule"].as_str().is_some_and(|rule| rule.starts_with("^x"))), "{told}");
    program.catch_up(&["--set", "batch.rows=1"]);
    let rows = |tenant: &str| {
        let name = TableName::new(Some(&format!("{prefix}{tenant}")), "orders");
        database.texts(&format!(
            "select cast(order_id as char(9)), customer_name, remark from {} order by order_id",
            dialect.table(&name)
        ))
    };
    let row = |id: &str, name: &str| [id, name, "n"].map(|cell| Some(cell.trim().to_owned())).to_vec();
    let trimmed = |rows: Vec<Vec<Option<String>>>| -> Vec<Vec<Option<String>>> {
        rows.into_iter()
            .map(|row| row.into_iter().map(|cell| cell.map(|cell| cell.trim().to_owned())).collect())
            .collect()
    };
    let check = || {
        assert_eq!(trimmed(rows("acme")), [row("1", "new"), row("2", "stays")]);
        assert_eq!(trimmed(rows("beta")), [row("1", "beta")]);
    };
    check();
    program.run(&["replay", "--topic", "x.Acme.Orders", "--from-beginning", "--set", "batch.rows=1"]).ok();
    check();
    // What feeds a table is known by its topics: both of them keep its tombstones.
    let status = program.run(&["tombstones", "status", "--json"]).ok().json();
    assert_eq!(status.as_array().map(Vec::len), Some(2), "{status}");
    for tenant in ["acme", "beta"] {
        let schema = dialect.ident(&format!("{prefix}{tenant}"));
        match dialect {
            Dialect::Postgres => drop(database.execute(&format!("drop schema {schema} cascade"))),
            Dialect::Mysql => drop(database.execute(&format!("drop database {schema}"))),
            Dialect::Sqlite => {}
        }
    }
}

#[test]
fn versions_and_tenants_in_sqlite() {
    versions_and_tenants(Dialect::Sqlite);
}

/// One table for each version.
#[test]
fn a_table_for_each_version() {
    let database = Database::sqlite();
    let (mut old, mut new) = (orders("x.acme.Orders"), orders("x.v2.acme.Orders"));
    old.upsert(10, order(1, "old"));
    new.upsert(20, order(1, "new"));
    let rule = "[[table]]\ntopic = '^x\\.(?:(?<version>v\\d+)\\.)?acme\\.'\ninto = \"orders_${version:-v1}\"\n";
    over_files(&database, &all(&[&old, &new]), rule).catch_up(&[]);
    let name = |table: &str| database.texts(&format!("select \"CustomerName\" from {table}"));
    assert_eq!(name("orders_v1"), [[Some("old".to_owned())]]);
    assert_eq!(name("orders_v2"), [[Some("new".to_owned())]]);
}

/// Two source tables whose names differ only by what a style leaves out: the second is refused, in this run and, after a restart,
/// whichever comes first.
#[test]
fn two_tables_never_become_one_by_accident() {
    let database = Database::sqlite();
    let columns = [("id", "int32", None), ("name", "string", None)];
    let mut first = Source::new("m.a", "shop", "Orders", &columns);
    let mut second = Source::new("m.b", "shop", "ORDERS", &columns);
    first.upsert(10, json!({"id": 1, "name": "first"}));
    let style = "[defaults]\ntable_case = \"lower\"\n";
    let program = over_files(&database, &first.records, style);
    program.catch_up(&[]);
    second.upsert(20, json!({"id": 1, "name": "second"}));
    crate::support::captures::write(&program.dir().join("records.jsonl"), &all(&[&second, &first]));
    let finished = program.run(&["run", "--until-caught-up"]);
    assert_ne!(finished.code, Some(0));
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert!(said.contains("shop.Orders") && said.contains("shop.ORDERS"), "{said}");
    assert_eq!(database.texts("select name from \"shop.orders\""), [[Some("first".to_owned())]]);
    // Who means it says so.
    let joined = "[[table]]\ntopic = \"^m\"\ninto = \"orders\"\n";
    let database = Database::sqlite();
    let run = over_files(&database, &all(&[&first, &second]), joined).catch_up(&[]);
    assert_eq!(number(&run, "quarantined"), 0, "{run}");
    assert_eq!(database.texts("select name from orders"), [[Some("second".to_owned())]]);
}

/// Hundreds of tenants in one pipeline, each with a table of its own; a second run finds everything applied.
#[test]
fn hundreds_of_tenants() {
    let database = Database::sqlite();
    let columns = [("id", "int32", None), ("name", "string", None)];
    let mut records = Vec::new();
    for tenant in 0..300 {
        let mut source = Source::new(&format!("many.tenant{tenant}.people"), database.home(), "people", &columns);
        for id in 0..3 {
            source.upsert(10 + id, json!({"id": id, "name": format!("{tenant} {id}")}));
        }
        records.extend(source.records);
    }
    let rule = "[[table]]\ntopic = '^many\\.(?<tenant>[^.]+)\\.'\ninto = \"people_${tenant}\"\n";
    let program = over_files(&database, &records, rule);
    let run = program.catch_up(&[]);
    assert_eq!((number(&run, "applied"), number(&run, "quarantined")), (900, 0), "{run}");
    let contents = database.contents();
    assert!(contents.len() > 300, "{}", contents.len());
    assert_eq!(number(&program.catch_up(&[]), "records"), 0);
    program.run(&["replay", "--topic", "many.tenant7.people", "--from-beginning"]).ok();
    assert_same("a replay of one of hundreds", &contents, &database.contents());
}

/// A rule that decides nothing is named, with the reason.
#[test]
fn unused_rules_are_named() {
    let database = Database::sqlite();
    let mut source = Source::people("made.people", "main");
    source.upsert(10, json!({"id": 1, "name": "a"}));
    let rules = "[[table]]\ntopic = \"made.people\"\n[[table]]\ntopic = \"^made\"\ninto = \"x\"\n[[table]]\ntopic = \"^other\"\n";
    let told = over_files(&database, &source.records, rules).run(&["check", "--json"]).ok().json();
    let unused: Vec<&str> =
        told["unused_rules"].as_array().expect("a list").iter().filter_map(|one| one["rule"].as_str()).collect();
    assert_eq!(unused, ["^made", "^other"], "{told}");
}
