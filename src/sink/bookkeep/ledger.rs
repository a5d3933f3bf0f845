//! Facts that tokens rest on: the ledger, and the numbers of scopes. Neither ever changes once it is written.

use std::collections::BTreeSet;

use crate::core::failure::Failure;
use crate::core::ledger::BINLOG_FLOOR;
use crate::core::nulls::NULL_DELETE;
use crate::core::plan::LedgerEntry;
use crate::core::record::TopicPartition;
use crate::core::value::Value;
use crate::sink::Statements;

use super::cells::{Cells, damaged};
use super::{end, sql};

/// Kinds of facts that this version knows; what is read must be one of them.
const KINDS: [&str; 2] = [BINLOG_FLOOR, NULL_DELETE];

/// Writes a fact if it is not there yet.
pub(super) async fn add<S: Statements>(session: &mut S, entry: &LedgerEntry) -> Result<(), Failure> {
    let params = [
        Value::from(&*entry.at.topic),
        Value::from(&*entry.incarnation),
        entry.at.partition.into(),
        entry.kind.into(),
        entry.offset.into(),
        // The same 64 bits: databases have no unsigned number everywhere, and nothing compares these.
        entry.value.cast_signed().into(),
    ];
    session.execute(sql::LEDGER_ADD.of(session.dialect()), &params).await?;
    Ok(())
}

/// The facts about partitions, of all incarnations of their topics, by topic, partition, incarnation and offset.
pub async fn ledger<S: Statements>(
    session: &mut S,
    partitions: &[TopicPartition],
) -> Result<Vec<LedgerEntry>, Failure> {
    let wanted: BTreeSet<&TopicPartition> = partitions.iter().collect();
    let topics: BTreeSet<&str> = partitions.iter().map(|at| &*at.topic).collect();
    let mut entries = Vec::new();
    for topic in topics {
        let rows = session.query(sql::LEDGER_OF_TOPIC.of(session.dialect()), &[Value::from(topic)]).await?;
        for row in rows {
            let mut cells = Cells::new(row);
            let incarnation = cells.text()?.into();
            let at = TopicPartition::new(topic, cells.partition()?);
            let kind = cells.text()?;
            let Some(kind) = KINDS.into_iter().find(|known| *known == kind) else {
                return Err(damaged("the ledger holds a kind of fact that this version does not know"));
            };
            let (offset, value) = (cells.int()?, cells.int()?.cast_unsigned());
            if wanted.contains(&at) {
                entries.push(LedgerEntry { at, incarnation, offset, kind, value });
            }
        }
    }
    Ok(entries)
}

/// The number of a scope of tokens (`postgresql shop`, or topic, incarnation and partition of an offset order): handed out
/// from 1 when a description is first seen, the same for everyone from then on. At most 500 characters.
pub async fn scope_id<S: Statements>(session: &mut S, description: &str) -> Result<u16, Failure> {
    if let Some(id) = find_scope(session, description).await? {
        return Ok(id);
    }
    session.begin().await?;
    let work = add_scope(session, description).await;
    end(session, work).await
}

async fn find_scope<S: Statements>(session: &mut S, description: &str) -> Result<Option<u16>, Failure> {
    let rows = session.query(sql::SCOPE_GET.of(session.dialect()), &[Value::from(description)]).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    u16::try_from(Cells::new(row).int()?).map(Some).map_err(|_| damaged("a scope's number is out of range"))
}

async fn add_scope<S: Statements>(session: &mut S, description: &str) -> Result<u16, Failure> {
    let dialect = session.dialect();
    session.execute(sql::META_LOCK.of(dialect), &[]).await?;
    // Under the lock: whoever held it may have added the same one.
    if let Some(id) = find_scope(session, description).await? {
        return Ok(id);
    }
    let rows = session.query(sql::SCOPE_LAST.of(dialect), &[]).await?;
    let last = match rows.into_iter().next() {
        Some(row) => Cells::new(row).int_or_null()?.unwrap_or(0),
        None => 0,
    };
    let id = u16::try_from(last + 1).map_err(|_| {
        Failure::operator("scopes_used_up", "65,535 scopes of tokens are in use; a new source needs a store of its own")
    })?;
    session.execute(sql::SCOPE_ADD.of(dialect), &[Value::from(i64::from(id)), Value::from(description)]).await?;
    Ok(id)
}
