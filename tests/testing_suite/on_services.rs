//! The same into databases that are servers.

use lastword::core::dialect::Dialect;

use super::converges;

#[test]
fn captured_topics_converge_in_postgres() {
    converges(Dialect::Postgres, 1);
}

#[test]
fn captured_topics_converge_in_mariadb() {
    converges(Dialect::Mysql, 1);
}
