//! Two source tables that come to one destination table by accident: their names differ only in what a template or a case style
//! leaves out.
//!
//! # Why the first one stays and the second is refused
//!
//! Rows of both under one key would take each other's place, and nothing could tell them apart again. Who means to join tables
//! (shards of one source) writes a name without variables. What was met once is found in the feeds of the store, so that the answer
//! does not depend on which of the two a process meets first.

use std::collections::HashMap;

use crate::config::checked::{Config, Ruled};
use crate::core::dialect::Dialect;
use crate::core::event::{Rejection, SourceTable};
use crate::core::table::TableName;
use crate::sink::{Session, bookkeep};

use super::{Met, Refused};

/// Which source table each destination table with a derived name belongs to.
#[derive(Debug, Default)]
pub(super) struct Owners(HashMap<String, SourceTable>);

impl Owners {
    /// Refuses a table that another source table has.
    pub(super) fn admit(
        &mut self,
        config: &Config,
        ruled: Ruled<'_>,
        met: Met<'_>,
        name: &TableName,
    ) -> Result<(), Refused> {
        if !ruled.is_derived() {
            return Ok(());
        }
        let owner = self.0.entry(folded(config.sink.dialect, name)).or_insert_with(|| met.source.clone());
        if same(owner, met.source) { Ok(()) } else { Err(collision(name, owner, met)) }
    }

    /// The same by what the store knows, when a topic is first seen to feed a table.
    pub(super) async fn admit_stored(
        &mut self,
        session: &mut Session,
        config: &Config,
        ruled: Ruled<'_>,
        met: Met<'_>,
        name: &TableName,
    ) -> Result<(), Refused> {
        self.admit(config, ruled, met, name)?;
        if !ruled.is_derived() {
            return Ok(());
        }
        let stored = bookkeep::feeds_of_table(session, &config.pipeline, &name.to_string()).await?;
        let dialect = config.sink.dialect;
        let other = stored.iter().find(|feed| {
            let derived = |ruled: &Ruled<'_>| {
                let led = ruled.name(&feed.topic, &feed.source, dialect);
                ruled.is_derived() && led.is_ok_and(|led| led.table.eq_ignore_ascii_case(&name.table))
            };
            !same(&feed.source, met.source)
                && config.ruled(&feed.topic, &feed.source).is_some_and(|ruled| derived(&ruled))
        });
        match other {
            Some(feed) => {
                self.0.insert(folded(dialect, name), feed.source.clone());
                Err(collision(name, &feed.source, met))
            }
            None => Ok(()),
        }
    }
}

/// Databases and logical names are part of what tokens are compared within, so they are told apart without this.
fn same(one: &SourceTable, other: &SourceTable) -> bool {
    (&one.schema, &one.table) == (&other.schema, &other.table)
}

/// SQLite knows no case of letters in names; MySQL may not either, but then it says the table's real name.
fn folded(dialect: Dialect, name: &TableName) -> String {
    let text = dialect.table(name);
    if dialect == Dialect::Sqlite { text.to_lowercase() } else { text }
}

fn collision(name: &TableName, owner: &SourceTable, met: Met<'_>) -> Refused {
    Refused::Table(Rejection::table(
        "name",
        format!(
            "the source tables {owner} and {} (topic {}) would both be written to {name}; give one of them another name with a rule \
             of its own, or, if they belong together, name their table without variables (`into = \"…\"`)",
            met.source, met.topic
        ),
    ))
}
