//! The same on servers, and what people do to tables while lastword runs.

use lastword::core::dialect::Dialect;
use serde_json::json;

use super::{FIRST, SECOND, WIDEN, assert_grown, eventually, grown, statement, stopped, unique};
use crate::support::database::{Database, assert_same};
use crate::support::events::Source;
use crate::support::kafka;
use crate::support::program::{Program, config, over_files, over_kafka};

/// One test for each server.
macro_rules! on_servers {
    ($($work:ident: $postgres:ident, $mariadb:ident;)+) => {
        $(#[test]
        fn $postgres() {
            super::$work(Dialect::Postgres);
        }
        #[test]
        fn $mariadb() {
            super::$work(Dialect::Mysql);
        })+
    };
}

on_servers! {
    a_table_follows_its_source: a_table_follows_its_source_in_postgres, a_table_follows_its_source_in_mariadb;
    two_meet_a_change_at_once: two_meet_a_change_at_once_in_postgres, two_meet_a_change_at_once_in_mariadb;
    a_refusal_stops_one_table_until_it_is_resolved: a_refusal_in_postgres, a_refusal_in_mariadb;
    validation_names_every_difference: validation_in_postgres, validation_in_mariadb;
    a_plan_can_be_run: a_plan_can_be_run_in_postgres, a_plan_can_be_run_in_mariadb;
}

#[test]
fn a_dropped_column_in_postgres() {
    super::a_dropped_column_that_needs_a_value(Dialect::Postgres, "text");
}

#[test]
fn a_dropped_column_in_mariadb() {
    super::a_dropped_column_that_needs_a_value(Dialect::Mysql, "varchar(20) comment 'it''s NOT NULL'");
}

/// MySQL commits every statement: a process that is killed between two leaves some of the columns, and the next one adds the rest.
#[test]
fn killed_between_two_statements_in_mariadb() {
    let database = Database::mariadb();
    let mut people = Source::new("made.public.people", database.home(), "people", &SECOND);
    people.upsert(10, json!({"id": 1, "n": 1, "name": "a", "extra": "x"}));
    over_files(&database, &people.records, "").catch_up(&[]);
    let names = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9"];
    let mut columns = vec![("id", "int64", None), ("n", "int64", None)];
    columns.extend(names.map(|name| (name, "string", None)));
    people.alter(&columns);
    let mut row = json!({"id": 1, "n": 2});
    names.iter().for_each(|name| row[*name] = json!(name));
    people.upsert(20, row);
    let program = over_files(&database, &people.records, WIDEN);
    let added = || {
        let columns = database.columns("people");
        columns.iter().filter(|(name, _)| names.contains(&name.as_str())).count()
    };
    let running = program.start(&["run"]);
    let seen = eventually("a column is added", || Some(added()).filter(|count| *count > 0));
    running.signal("KILL");
    drop(running);
    println!("{seen} columns were there at the kill, {} after it", added());
    program.catch_up(&[]);
    assert_eq!(added(), names.len());
    let found = database.texts(&format!("select c0, c9, name from {}", database.table("people")));
    assert_eq!(found, [[Some("c0".to_owned()), Some("c9".to_owned()), Some("a".to_owned())]]);
}

/// A table may be altered, robbed of a column and made anew while lastword runs: nothing is put aside, nothing needs a restart.
fn an_operator_alters_the_table(dialect: Dialect, [retype, must]: [&str; 2]) {
    let database = Database::new(dialect);
    let topic = unique("evolve");
    kafka::create(&topic, 1);
    let mut people = Source::people(&topic, database.home());
    let program = over_kafka(&database, std::slice::from_ref(&topic), "");
    let running = program.start(&["run"]);
    let table = database.table("people");
    let mut sent = 0;
    let mut send = |people: &mut Source, id: i64| {
        people.upsert(10 * id as u64, json!({"id": id, "name": format!("name {id}")}));
        kafka::produce(&people.records[sent..]);
        sent = people.records.len();
    };
    let has = |id: i64| {
        eventually(&format!("row {id} is there"), || {
            let there = super::is_there(&database, "people");
            let sql = format!("select name from {table} where id = {id}");
            (there && database.texts(&sql) == [[Some(format!("name {id}"))]]).then_some(())
        });
    };
    send(&mut people, 1);
    has(1);
    // Another type.
    database.execute(&retype.replace("TABLE", &table));
    send(&mut people, 2);
    has(2);
    // A column that needs a value which no event carries.
    for sql in must.split(';') {
        database.execute(&sql.replace("TABLE", &table));
    }
    send(&mut people, 3);
    database.execute(&statement(&stopped(&running, "column_not_carried")));
    has(3);
    // No column any more.
    database.execute(&format!("alter table {table} drop column name"));
    send(&mut people, 4);
    database.execute(&statement(&stopped(&running, "unknown_column")));
    has(4);
    // No table: it is made again.
    database.execute(&format!("drop table {table}"));
    send(&mut people, 5);
    has(5);
    let quarantine = database.bookkeeping("quarantine");
    assert_eq!(database.texts(&format!("select count(*) from {quarantine}")), [[Some("0".to_owned())]]);
    running.signal("TERM");
    running.wait(crate::support::LIMIT).ok();
}

#[test]
fn an_operator_alters_the_table_in_postgres() {
    let must = "alter table TABLE add must int not null default 1;alter table TABLE alter must drop default";
    an_operator_alters_the_table(Dialect::Postgres, ["alter table TABLE alter column name type varchar(90)", must]);
}

#[test]
fn an_operator_alters_the_table_in_mariadb() {
    let must = "alter table TABLE add must int not null";
    an_operator_alters_the_table(Dialect::Mysql, ["alter table TABLE modify column name varchar(90)", must]);
}

/// A new table is a new topic: it is found while lastword runs, read from its beginning, and can be replayed.
#[test]
fn a_new_topic_is_found_while_it_runs() {
    let database = Database::postgres();
    let prefix = unique("evolve");
    let source = |table: &'static str| Source::new(&format!("{prefix}.{table}"), database.home(), table, &FIRST);
    let row = |id: i64| json!({"id": id, "n": id, "name": "a"});
    let (mut old, mut new) = (source("old"), source("new"));
    old.upsert(10, row(1));
    new.upsert(20, row(2));
    kafka::create(&old.topic, 1);
    kafka::produce(&old.records);
    let regex = format!("kind = \"kafka\"\nbrokers = \"{}\"\ntopics_regex = \"^{prefix}\\\\..*\"\n", kafka::brokers());
    let program = Program::new(&config(&format!("[source]\n{regex}"), &database.config(), ""));
    let running = program.start(&["run"]);
    let written = |table: &'static str| {
        let sql = format!("select count(*) from {}", database.table(table));
        eventually(&format!("{table} is written"), || {
            (super::is_there(&database, table) && database.texts(&sql) == [[Some("1".to_owned())]]).then_some(())
        });
    };
    written("old");
    kafka::create(&new.topic, 1);
    kafka::produce(&new.records);
    written("new");
    running.signal("TERM");
    running.wait(crate::support::LIMIT).ok();
    let contents = database.contents();
    program.run(&["replay", "--topic", &new.topic, "--from-beginning"]).ok();
    assert_same("a replay of the new topic", &contents, &database.contents());
}

/// A value that does not fit shows what its column needs: the text gets longer, nothing is put aside.
#[test]
fn a_long_text_widens_its_column_in_postgres() {
    let database = Database::postgres();
    let table = database.table("people");
    database.execute(&format!("create table {table} (id int primary key, name varchar(3) collate \"C\")"));
    let mut people = Source::people("made.public.people", database.home());
    people.upsert(10, json!({"id": 1, "name": "abc"}));
    people.upsert(20, json!({"id": 2, "name": "abcd"}));
    over_files(&database, &people.records, WIDEN).catch_up(&[]);
    let rows = database.texts(&format!("select name from {table} order by id"));
    assert_eq!(rows, [[Some("abc".to_owned())], [Some("abcd".to_owned())]]);
    let kept =
        "select collation_name from information_schema.columns where table_name = 'people' and column_name = 'name'";
    assert_eq!(database.texts(kept), [[Some("C".to_owned())]]);
}

/// A long reader holds the statement up: it gives up soon, so that others are not held up, and the table waits by itself.
#[test]
fn a_long_reader_is_waited_for_in_postgres() {
    let database = Database::postgres();
    let source = grown(&database);
    over_files(&database, &source.records[..2], WIDEN).catch_up(&[]);
    let program = over_files(&database, &source.records, WIDEN);
    let reader = database.hold(&format!("lock table {} in access share mode", database.table("people")));
    let running = program.start(&["run"]);
    stopped(&running, "table_busy");
    database.release(reader);
    eventually("it goes on when the reader is gone", || {
        let sql = format!("select count(*) from {} where n = 7", database.table("people"));
        (database.texts(&sql) == [[Some("1".to_owned())]]).then_some(())
    });
    running.signal("TERM");
    running.wait(crate::support::LIMIT).ok();
    assert_grown(&database, "after a long reader");
}
