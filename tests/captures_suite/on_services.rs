//! The same through real Kafka, and into the databases that are servers.

use lastword::core::dialect::Dialect;

use super::stage::{Form, From};
use super::{converges, deliveries, evolving, matrix, partial, verdicts};

/// One test for each connector, form, destination and source.
macro_rules! combinations {
    ($($name:ident: $connector:literal, $form:ident, $dialect:ident, $from:ident;)+) => {
        $(#[test]
        fn $name() {
            converges($connector, Form::$form, Dialect::$dialect, From::$from);
        })+
    };
}

combinations! {
    postgresql_with_schemas_from_files_into_postgres: "postgresql", Schemas, Postgres, Files;
    postgresql_with_schemas_from_files_into_mariadb: "postgresql", Schemas, Mysql, Files;
    postgresql_with_schemas_from_kafka_into_postgres: "postgresql", Schemas, Postgres, Kafka;
    postgresql_with_schemas_from_kafka_into_mariadb: "postgresql", Schemas, Mysql, Kafka;
    postgresql_with_schemas_from_kafka_into_sqlite: "postgresql", Schemas, Sqlite, Kafka;
    postgresql_plain_from_files_into_postgres: "postgresql", Plain, Postgres, Files;
    postgresql_plain_from_files_into_mariadb: "postgresql", Plain, Mysql, Files;
    postgresql_plain_from_kafka_into_postgres: "postgresql", Plain, Postgres, Kafka;
    postgresql_plain_from_kafka_into_mariadb: "postgresql", Plain, Mysql, Kafka;
    postgresql_plain_from_kafka_into_sqlite: "postgresql", Plain, Sqlite, Kafka;
    mariadb_with_schemas_from_files_into_postgres: "mariadb", Schemas, Postgres, Files;
    mariadb_with_schemas_from_files_into_mariadb: "mariadb", Schemas, Mysql, Files;
    mariadb_with_schemas_from_kafka_into_postgres: "mariadb", Schemas, Postgres, Kafka;
    mariadb_with_schemas_from_kafka_into_mariadb: "mariadb", Schemas, Mysql, Kafka;
    mariadb_with_schemas_from_kafka_into_sqlite: "mariadb", Schemas, Sqlite, Kafka;
    mariadb_plain_from_files_into_postgres: "mariadb", Plain, Postgres, Files;
    mariadb_plain_from_files_into_mariadb: "mariadb", Plain, Mysql, Files;
    mariadb_plain_from_kafka_into_postgres: "mariadb", Plain, Postgres, Kafka;
    mariadb_plain_from_kafka_into_mariadb: "mariadb", Plain, Mysql, Kafka;
    mariadb_plain_from_kafka_into_sqlite: "mariadb", Plain, Sqlite, Kafka;
}

#[test]
fn a_worse_delivery_into_postgres() {
    deliveries::survives_a_worse_delivery(Dialect::Postgres, From::Kafka);
}

#[test]
fn a_worse_delivery_into_mariadb() {
    deliveries::survives_a_worse_delivery(Dialect::Mysql, From::Kafka);
}

#[test]
fn tables_follow_the_captured_schemas_in_postgres() {
    evolving::tables_follow_the_captured_schemas(Dialect::Postgres);
}

#[test]
fn tables_follow_the_captured_schemas_in_mariadb() {
    evolving::tables_follow_the_captured_schemas(Dialect::Mysql);
}

#[test]
fn placeholders_are_completed_in_postgres() {
    partial::placeholders_are_completed(Dialect::Postgres);
    partial::a_worse_delivery(Dialect::Postgres);
}

#[test]
fn placeholders_are_completed_in_mariadb() {
    partial::placeholders_are_completed(Dialect::Mysql);
    partial::a_worse_delivery(Dialect::Mysql);
}

#[test]
fn cuts_do_not_matter_in_postgres() {
    deliveries::cuts_do_not_matter(Dialect::Postgres);
}

#[test]
fn cuts_do_not_matter_in_mariadb() {
    deliveries::cuts_do_not_matter(Dialect::Mysql);
}

#[test]
fn replay_changes_nothing_in_postgres() {
    deliveries::replay_changes_nothing(Dialect::Postgres, From::Kafka);
}

#[test]
fn replay_changes_nothing_in_mariadb() {
    deliveries::replay_changes_nothing(Dialect::Mysql, From::Kafka);
}

#[test]
fn a_truncate_may_come_first_in_postgres() {
    deliveries::a_truncate_may_come_first(Dialect::Postgres);
}

#[test]
fn a_truncate_may_come_first_in_mariadb() {
    deliveries::a_truncate_may_come_first(Dialect::Mysql);
}

#[test]
fn all_captures_end_as_listed_in_postgres() {
    verdicts::are_as_listed(Dialect::Postgres);
}

#[test]
fn all_captures_end_as_listed_in_mariadb() {
    verdicts::are_as_listed(Dialect::Mysql);
}

/// One test of all deliveries for each connector, form and destination.
macro_rules! deliveries {
    ($($name:ident: $connector:literal, $form:ident, $dialect:ident;)+) => {
        $(#[test]
        fn $name() {
            matrix::one_state($connector, Form::$form, Dialect::$dialect);
        })+
    };
}

deliveries! {
    every_delivery_of_postgresql_with_schemas_into_postgres: "postgresql", Schemas, Postgres;
    every_delivery_of_postgresql_with_schemas_into_mariadb: "postgresql", Schemas, Mysql;
    every_delivery_of_postgresql_plain_into_postgres: "postgresql", Plain, Postgres;
    every_delivery_of_postgresql_plain_into_mariadb: "postgresql", Plain, Mysql;
    every_delivery_of_postgresql_flat_into_postgres: "postgresql", Flat, Postgres;
    every_delivery_of_postgresql_flat_into_mariadb: "postgresql", Flat, Mysql;
    every_delivery_of_mariadb_flat_into_postgres: "mariadb", Flat, Postgres;
    every_delivery_of_mariadb_flat_into_mariadb: "mariadb", Flat, Mysql;
    every_delivery_of_mariadb_with_schemas_into_postgres: "mariadb", Schemas, Postgres;
    every_delivery_of_mariadb_with_schemas_into_mariadb: "mariadb", Schemas, Mysql;
    every_delivery_of_mariadb_plain_into_postgres: "mariadb", Plain, Postgres;
    every_delivery_of_mariadb_plain_into_mariadb: "mariadb", Plain, Mysql;
}
