//! The same on servers, and what only servers have: rights, certificates, collations.

use lastword::core::dialect::Dialect;
use serde_json::json;

use super::{adopt, check, contracts, epochs, framed, names, naming, offsets, quarantine, sources, tombstones};
use crate::support::database::Database;
use crate::support::events::Source;
use crate::support::program::{Program, config, over_files, over_kafka};
use crate::support::{captures, kafka, service, unique};

/// Runs a check of another module on both servers.
macro_rules! on_both {
    ($($name:ident: $call:path;)+) => {
        mod postgres {
            use super::*;
            $(#[test]
            fn $name() {
                $call(Dialect::Postgres);
            })+
        }
        mod mariadb {
            use super::*;
            $(#[test]
            fn $name() {
                $call(Dialect::Mysql);
            })+
        }
    };
}

on_both! {
    a_missing_table_would_be_created: check::would_be_created_then_ok;
    an_undecodable_record: quarantine::an_undecodable_record;
    a_violated_constraint: quarantine::a_violated_constraint;
    a_change_log: contracts::a_change_log;
    soft_deletes: contracts::soft_deletes;
    tokens_aside: contracts::tokens_aside;
    the_record_form: contracts::the_record_form;
    two_sources_for_one_table: sources::two_sources_are_refused;
    columns_order_two_sources: sources::columns_order_two_sources;
    hostile_names: names::hostile_names;
    other_types: names::other_types;
    a_table_filled_by_hand: adopt::filled_by_hand;
    versions_and_tenants: naming::versions_and_tenants;
    offsets_set_under_an_idle_process: set_over_kafka;
    an_epoch_for_a_restored_source: epoch_over_kafka;
    tombstones_may_go: collected_tombstones;
    tokens_aside_may_go: collected_tokens;
    another_pipeline_keeps_tombstones: tombstones::another_pipeline_counts;
    avro_with_a_registry: framed::avro_with_a_registry;
    a_second_snapshot: tombstones::recreated_connectors;
    a_wrong_password: refuses_a_wrong_password;
    certificates: checks_certificates;
}

fn epoch_over_kafka(dialect: Dialect) {
    epochs::an_epoch_is_opened_for_a_restored_source(dialect, true);
}

fn collected_tombstones(dialect: Dialect) {
    tombstones::collected_and_never_back(dialect, "");
}

fn collected_tokens(dialect: Dialect) {
    tombstones::collected_and_never_back(dialect, "token_storage = \"side\"\n");
}

fn set_over_kafka(dialect: Dialect) {
    offsets::set_under_an_idle_process(dialect, true);
}

fn people(database: &Database) -> Source {
    let mut source = Source::people("made.people", database.home());
    source.upsert(10, json!({"id": 1, "name": "a"}));
    source
}

fn keyed_by_text(database: &Database) -> Source {
    let columns = [("id", "string", None), ("name", "string", None)];
    let mut source = Source::new("made.people", database.home(), "people", &columns);
    source.upsert(10, json!({"id": "a", "name": "a"}));
    source
}

#[test]
fn a_key_with_a_wider_equality_is_refused_on_mariadb() {
    let database = Database::mariadb();
    database.execute("create table people (id varchar(20) collate utf8mb4_general_ci primary key, name text)");
    check::refused(&database, &keyed_by_text(&database), "", "ALTER TABLE");
}

#[test]
fn a_key_with_a_wider_equality_is_refused_on_postgres() {
    let database = Database::postgres();
    database.execute(
        "create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); create table people (id text collate ci primary key, name text)",
    );
    check::refused(&database, &keyed_by_text(&database), "", "alter the column to COLLATE \"C\"");
}

#[test]
fn a_business_key_that_is_not_the_primary_key_is_refused_on_mariadb() {
    let database = Database::mariadb();
    database.execute("create table people (id int not null unique, name varchar(20) primary key)");
    check::refused(&database, &people(&database), "", "is not its primary key");
}

/// Wrong credentials: an operator has to act, and no part of the URL's password is printed anywhere.
fn refuses_a_wrong_password(dialect: Dialect) {
    let variable = if dialect == Dialect::Postgres { "LASTWORD_TEST_POSTGRES" } else { "LASTWORD_TEST_MARIADB" };
    let server = service(variable);
    let (scheme, rest) = server.split_once("://").expect("a URL");
    let (_, place) = rest.split_once('@').expect("a user");
    let url = format!("{scheme}://{}:sesame-opens@{place}", service("LASTWORD_TEST_LOCKED_USER"));
    let program = Program::new("");
    let path = program.dir().join("records.jsonl");
    captures::write(&path, &Source::people("made.people", "public").records);
    let source = format!("[source]\nkind = \"file\"\npaths = [\"{}\"]\n", path.display());
    program.configure(&config(&source, &format!("[sink]\nurl = \"{url}\"\n"), ""));
    for command in [&["check"][..], &["run", "--until-caught-up", "--log-level", "debug"], &["status", "--json"]] {
        let finished = program.run(command).code(4);
        let said = format!("{}{}", finished.stdout, finished.stderr);
        assert!(!said.contains("sesame"), "the password is shown: {said}");
    }
}

/// A certificate is checked against the authority and the name; what cannot be checked is not connected to.
fn checks_certificates(dialect: Dialect) {
    let database = Database::new(dialect);
    let url = |authority: &str, host: &str| {
        let authority = service(authority);
        let plain = database.url.replace("127.0.0.1", host);
        match dialect {
            Dialect::Postgres => format!("{plain}?sslmode=verify-full&sslrootcert={authority}"),
            _ => format!("{plain}?ssl-mode=VERIFY_IDENTITY&ssl-ca={authority}"),
        }
    };
    let program = over_files(&database, &people(&database).records, "");
    let set = |authority: &str, host: &str| format!("sink.url={}", url(authority, host));
    program.run(&["check", "--set", &set("LASTWORD_TEST_OTHER_CA", "127.0.0.1")]).code(4);
    let good = set("LASTWORD_TEST_CA", "localhost");
    program.run(&["run", "--until-caught-up", "--json", "--set", &good]).ok();
    assert_eq!(database.count(&format!("select count(*) from {}", database.table("people"))), 1);
}

#[test]
fn an_unknown_topic_is_said() {
    let database = Database::sqlite();
    let topic = unique("missing");
    let program = over_kafka(&database, std::slice::from_ref(&topic), "");
    let finished = program.run(&["check", "--json"]).code(4);
    assert!(finished.stderr.contains(&topic), "{}", finished.stderr);
}

/// Kafka with TLS and a password: applied; a wrong password or authority is refused, and neither secret is printed.
#[test]
fn kafka_with_a_password_and_certificates() {
    let database = Database::sqlite();
    let topic = unique("t");
    let mut source = Source::people(&topic, "main");
    source.upsert(10, json!({"id": 1, "name": "a"}));
    kafka::create(&topic, 1);
    kafka::produce(&source.records);
    let program = Program::new("");
    std::fs::write(program.dir().join("secret"), format!("{}\n", service("LASTWORD_TEST_KAFKA_SASL_PASSWORD")))
        .expect("a file");
    let client = |password: &str, authority: &str| {
        let source = format!(
            "[source]\nkind = \"kafka\"\nbrokers = \"{}\"\ntopics = [\"{topic}\"]\n[source.client]\n\"security.protocol\" = \"SASL_SSL\"\n\"sasl.mechanism\" = \"PLAIN\"\n\"sasl.username\" = \"{}\"\n\"sasl.password\" = {password}\n\"ssl.ca.location\" = \"{}\"\n",
            service("LASTWORD_TEST_KAFKA_SASL"),
            service("LASTWORD_TEST_KAFKA_SASL_USER"),
            service(authority)
        );
        program.configure(&config(&source, &database.config(), ""));
    };
    let file = format!("{{ file = \"{}\" }}", program.dir().join("secret").display());
    client(&file, "LASTWORD_TEST_CA");
    let finished = program.run(&["run", "--until-caught-up", "--log-level", "debug"]).ok();
    let secret = service("LASTWORD_TEST_KAFKA_SASL_PASSWORD");
    assert!(!format!("{}{}", finished.stdout, finished.stderr).contains(&secret));
    assert_eq!(database.count(&format!("select count(*) from {}", database.table("people"))), 1);
    client("\"sesame-opens\"", "LASTWORD_TEST_CA");
    let finished = program.run(&["check"]);
    assert!(
        finished.code != Some(0) && !format!("{}{}", finished.stdout, finished.stderr).contains("sesame"),
        "{finished:?}"
    );
    client(&file, "LASTWORD_TEST_OTHER_CA");
    assert_ne!(program.run(&["check"]).code, Some(0));
}

mod sqlite {
    use super::*;

    #[test]
    fn avro_with_a_registry() {
        framed::avro_with_a_registry(Dialect::Sqlite);
    }
}
