//! The `source` block: where a change lies in its source.
//!
//! Fields and their meaning: the `Source` structs of Debezium's connectors (PostgreSQL and MariaDB 3.5 as captured; the others
//! from their sources and documentation, 2.7 to 3.7). A connector that is not named here has no position that orders.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::event::{Rejection, SourcePosition, SourceTable};
use crate::core::token::Phase;

use super::numbers::{
    binlog_file, db2_lsn, digits, hybrid_clock, mariadb_gtid, mysql_gtid, sqlserver_lsn, whole_decimal,
};

/// What is read of a `source` block. What orders is kept as JSON: a value of another type is a malformed position, not a
/// block that cannot be read.
#[derive(Debug, Deserialize)]
pub(super) struct SourceBlock<'a> {
    #[serde(borrow)]
    connector: Cow<'a, str>,
    #[serde(borrow, default)]
    version: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(default)]
    ts_ms: Option<i64>,
    #[serde(borrow, default)]
    snapshot: Option<Snapshot<'a>>,
    #[serde(borrow, default)]
    db: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    schema: Option<Cow<'a, str>>,
    #[serde(borrow, default, alias = "collection")]
    table: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    keyspace: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    shard: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    sequence: Option<&'a RawValue>,
    #[serde(borrow, default)]
    gtid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    file: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pos: Option<&'a RawValue>,
    #[serde(borrow, default)]
    row: Option<&'a RawValue>,
    #[serde(borrow, default)]
    commit_lsn: Option<&'a RawValue>,
    #[serde(borrow, default)]
    change_lsn: Option<&'a RawValue>,
    #[serde(borrow, default)]
    event_serial_no: Option<&'a RawValue>,
    #[serde(borrow, default)]
    commit_scn: Option<&'a RawValue>,
    #[serde(borrow, default)]
    scn: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ord: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ts_ns: Option<&'a RawValue>,
    #[serde(borrow, default)]
    mod_number: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ts_hlc: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "txId")]
    transaction: Option<&'a RawValue>,
}

/// `snapshot` is text on the wire; old documentation samples show a truth value.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Snapshot<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Truth(bool),
}

/// The `transaction` block, as far as it orders (Vitess).
#[derive(Debug, Deserialize)]
struct TransactionBlock<'a> {
    #[serde(borrow, default)]
    transaction_epoch: Option<&'a RawValue>,
    #[serde(borrow, default)]
    transaction_rank: Option<&'a RawValue>,
}

type Position = Result<SourcePosition, Rejection>;

fn malformed(what: &str) -> Rejection {
    Rejection::new("missing_position", format!("`source.{what}` is missing or unreadable"))
}

/// The text of a field: of JSON text its content, else the JSON itself.
fn text(field: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let json = field?.get();
    if json.starts_with('"') {
        serde_json::from_str::<Text<'_>>(json).ok().map(|text| text.0)
    } else {
        Some(json.into())
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A whole number, as JSON number or as text.
fn number<N: std::str::FromStr>(field: Option<&RawValue>) -> Option<N> {
    digits(&text(field)?)
}

impl<'a> SourceBlock<'a> {
    /// Source time in milliseconds.
    pub(super) fn time_ms(&self) -> Option<i64> {
        self.ts_ms
    }

    /// What the positions are compared within: connector and logical name, and the part of the source that has a log of its
    /// own.
    pub(super) fn source(&self) -> String {
        let part = |part: &Option<Cow<'_, str>>| part.as_deref().unwrap_or_default().to_owned();
        let (connector, name) = (&self.connector, part(&self.name));
        match connector.as_ref() {
            "sqlserver" | "db2" | "informix" => format!("{connector} {name} {}", part(&self.db)),
            "vitess" => format!("{connector} {name} {}/{}", part(&self.keyspace), part(&self.shard)),
            _ => format!("{connector} {name}"),
        }
    }

    /// Number or name of the transaction, as JSON text.
    pub(super) fn transaction(&self) -> Option<&'a RawValue> {
        self.transaction
    }

    /// The table that changed.
    pub(super) fn table(&self) -> Result<SourceTable, Rejection> {
        let table = self.table.as_deref().filter(|table| !table.is_empty());
        let table = table.ok_or_else(|| Rejection::new("undecodable", "`source.table` is missing"))?;
        let schema = self.schema.as_deref().or(self.keyspace.as_deref()).or(self.db.as_deref());
        let schema = schema.filter(|schema| !schema.is_empty());
        let given = |part: &Option<Cow<'_, str>>| part.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(SourceTable {
            database: given(&self.db).or_else(|| given(&self.keyspace)),
            server: given(&self.name),
            ..SourceTable::new(schema, table)
        })
    }

    /// Whether its events hold documents.
    pub(super) fn is_of_documents(&self) -> bool {
        self.connector == "mongodb"
    }

    /// Whether it is the last row of its table in a snapshot.
    pub(super) fn ends_snapshot(&self) -> bool {
        matches!(&self.snapshot, Some(Snapshot::Text(text)) if matches!(&**text, "last" | "last_in_data_collection"))
    }

    fn phase(&self) -> Phase {
        match &self.snapshot {
            None | Some(Snapshot::Truth(false)) => Phase::Stream,
            Some(Snapshot::Text(text)) if text == "false" => Phase::Stream,
            Some(Snapshot::Text(_) | Snapshot::Truth(true)) => Phase::Snapshot,
        }
    }

    /// The position. `transaction` is the envelope's block of that name.
    pub(super) fn position(&self, transaction: Option<&RawValue>) -> Position {
        match self.connector.as_ref() {
            "postgresql" => self.postgres(),
            "mysql" | "mariadb" => self.binlog(),
            "sqlserver" => self.sqlserver(),
            "oracle" => self.oracle(),
            "db2" => self.db2(),
            "informix" => self.informix(),
            "mongodb" => self.mongodb(),
            "vitess" => self.vitess(transaction),
            "spanner" => self.spanner(),
            "cockroachdb" => self.cockroachdb(),
            _ => Ok(SourcePosition::None("positions of this connector are not understood")),
        }
    }

    fn postgres(&self) -> Position {
        let missing = || {
            Rejection::new(
                "missing_position",
                "`source.sequence` of a PostgreSQL event is missing or not a pair of numbers; connectors since Debezium 1.6 send it",
            )
        };
        let text = text(self.sequence).ok_or_else(missing)?;
        let pair: [Option<Cow<'_, str>>; 2] = serde_json::from_str(&text).map_err(|_| missing())?;
        let [commit, lsn] = pair;
        let lsn = lsn.and_then(|lsn| digits(&lsn)).ok_or_else(missing)?;
        let commit = commit.map(|commit| digits(&commit).ok_or_else(missing)).transpose()?;
        Ok(SourcePosition::Postgres { commit, lsn, phase: self.phase() })
    }

    fn binlog(&self) -> Position {
        let file = text(self.file).and_then(|file| binlog_file(&file)).ok_or_else(|| malformed("file"))?;
        let pos = number(self.pos).ok_or_else(|| malformed("pos"))?;
        let of_mariadb = self.connector == "mariadb";
        let gtid = match text(self.gtid).filter(|gtid| !gtid.is_empty()) {
            None => None,
            Some(text) => {
                let gtid = if of_mariadb { mariadb_gtid(&text) } else { mysql_gtid(&text) };
                Some(gtid.ok_or_else(|| malformed("gtid"))?)
            }
        };
        let row = match (of_mariadb, self.row) {
            (false, _) => None,
            (true, None) => Some(0),
            (true, row) => Some(number(row).ok_or_else(|| malformed("row"))?),
        };
        Ok(SourcePosition::Binlog { gtid, file, pos, row, phase: self.phase() })
    }

    /// Whether a change inside its transaction has no place: a snapshot row.
    fn whole_snapshot(&self, field: Option<&RawValue>) -> bool {
        field.is_none() && self.phase() == Phase::Snapshot
    }

    fn sqlserver(&self) -> Position {
        let lsn = |field, name| text(field).and_then(|text| sqlserver_lsn(&text)).ok_or_else(|| malformed(name));
        let commit = lsn(self.commit_lsn, "commit_lsn")?;
        let change = match self.change_lsn {
            none if self.whole_snapshot(none) => [0; 10],
            field => lsn(field, "change_lsn")?,
        };
        let serial = match self.event_serial_no {
            None => 0,
            field => number(field).ok_or_else(|| malformed("event_serial_no"))?,
        };
        Ok(SourcePosition::SqlServer { commit, change, serial, phase: self.phase() })
    }

    fn oracle(&self) -> Position {
        let scn = self.scn.map(|field| number(Some(field)).ok_or_else(|| malformed("scn"))).transpose()?;
        let commit = match (self.commit_scn, scn, self.phase()) {
            (Some(field), _, _) => number(Some(field)).ok_or_else(|| malformed("commit_scn"))?,
            (None, Some(scn), Phase::Snapshot) => scn,
            (None, _, Phase::Snapshot) => return Err(malformed("scn")),
            (None, _, _) => {
                return Ok(SourcePosition::None(
                    "`source.commit_scn` is missing; LogMiner sends it, XStream since Debezium 3.3",
                ));
            }
        };
        Ok(SourcePosition::Oracle { commit, scn: scn.unwrap_or(0), phase: self.phase() })
    }

    fn db2(&self) -> Position {
        let lsn = |field, name| text(field).and_then(|text| db2_lsn(&text)).ok_or_else(|| malformed(name));
        let change = match self.change_lsn {
            none if self.whole_snapshot(none) => 0,
            field => lsn(field, "change_lsn")?,
        };
        Ok(SourcePosition::Db2 { commit: lsn(self.commit_lsn, "commit_lsn")?, change, phase: self.phase() })
    }

    fn informix(&self) -> Position {
        let lsn = |field, name| number(field).ok_or_else(|| malformed(name));
        let change = match self.change_lsn {
            none if self.whole_snapshot(none) => 0,
            field => lsn(field, "change_lsn")?,
        };
        Ok(SourcePosition::Informix { commit: lsn(self.commit_lsn, "commit_lsn")?, change, phase: self.phase() })
    }

    fn mongodb(&self) -> Position {
        let version = self.version.as_deref().unwrap_or_default();
        let mut parts = version.split('.').map(digits::<u32>);
        let (Some(Some(major)), Some(Some(minor))) = (parts.next(), parts.next()) else {
            return Err(malformed("version"));
        };
        if (major, minor) >= (3, 4) {
            return Ok(SourcePosition::None(
                "since Debezium 3.4 the MongoDB connector sends the wall clock and no longer the cluster time",
            ));
        }
        let seconds =
            self.ts_ms.and_then(|ms| u32::try_from(ms.div_euclid(1000)).ok()).ok_or_else(|| malformed("ts_ms"))?;
        let ord = number(self.ord).ok_or_else(|| malformed("ord"))?;
        Ok(SourcePosition::Mongo { seconds, ord, phase: self.phase() })
    }

    fn vitess(&self, transaction: Option<&RawValue>) -> Position {
        let block = transaction.and_then(|block| serde_json::from_str::<TransactionBlock<'_>>(block.get()).ok());
        let Some(TransactionBlock { transaction_epoch: Some(epoch), transaction_rank: Some(rank) }) = block else {
            return Ok(SourcePosition::None(
                "set `provide.transaction.metadata` and the ordered `transaction.metadata.factory` of the Vitess connector",
            ));
        };
        let epoch = number(Some(epoch)).ok_or_else(|| malformed_transaction("transaction_epoch"))?;
        let rank = whole_decimal(rank.get()).ok_or_else(|| malformed_transaction("transaction_rank"))?;
        Ok(SourcePosition::Vitess { epoch, rank, phase: self.phase() })
    }

    fn spanner(&self) -> Position {
        let nanos = number(self.ts_ns).ok_or_else(|| malformed("ts_ns"))?;
        let in_transaction = |field: Option<&RawValue>, name| match field {
            none if self.whole_snapshot(none) => Ok(0),
            field => number::<u64>(field).ok_or_else(|| malformed(name)),
        };
        let sequence = in_transaction(self.sequence, "sequence")?;
        let item = in_transaction(self.mod_number, "mod_number")?;
        let item = u32::try_from(item).map_err(|_| malformed("mod_number"))?;
        Ok(SourcePosition::Spanner { nanos, sequence, item, phase: self.phase() })
    }

    fn cockroachdb(&self) -> Position {
        let clock = text(self.ts_hlc).and_then(|text| hybrid_clock(&text));
        let (nanos, logical) = clock.ok_or_else(|| malformed("ts_hlc"))?;
        Ok(SourcePosition::Hlc { nanos, logical, phase: self.phase() })
    }
}

fn malformed_transaction(what: &str) -> Rejection {
    Rejection::new("missing_position", format!("`transaction.{what}` is unreadable"))
}

#[cfg(test)]
mod tests;
