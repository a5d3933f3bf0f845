//! The `source` block: where a change lies in its source.
//!
//! Fields and their meaning: Debezium's `Source` structs of the PostgreSQL, MySQL and MariaDB connectors (3.5).

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::event::{Gtid, Rejection, SourcePosition, SourceTable};
use crate::core::token::Phase;

/// What is read of a `source` block.
#[derive(Debug, Deserialize)]
pub(super) struct SourceBlock<'a> {
    connector: &'a str,
    #[serde(default)]
    name: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    ts_ms: Option<i64>,
    #[serde(default)]
    snapshot: Option<Snapshot<'a>>,
    #[serde(default)]
    db: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    schema: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    table: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    sequence: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    gtid: Option<&'a str>,
    #[serde(default)]
    file: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    pos: Option<u64>,
    #[serde(default)]
    row: Option<u64>,
    #[serde(borrow, default, rename = "txId")]
    transaction: Option<&'a RawValue>,
}

/// `snapshot` is text on the wire; old documentation samples show a truth value.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Snapshot<'a> {
    Text(&'a str),
    Truth(bool),
}

impl<'a> SourceBlock<'a> {
    /// Source time in milliseconds.
    pub(super) fn time_ms(&self) -> Option<i64> {
        self.ts_ms
    }

    /// Connector and logical name.
    pub(super) fn source(&self) -> String {
        format!("{} {}", self.connector, self.name.as_deref().unwrap_or(""))
    }

    /// Number or name of the transaction, as JSON text.
    pub(super) fn transaction(&self) -> Option<&'a RawValue> {
        self.transaction
    }

    /// The table that changed.
    pub(super) fn table(&self) -> Result<SourceTable, Rejection> {
        let table = self.table.as_deref().filter(|table| !table.is_empty());
        let table = table.ok_or_else(|| Rejection::new("undecodable", "`source.table` is missing"))?;
        let schema = self.schema.as_deref().or(self.db.as_deref()).filter(|schema| !schema.is_empty());
        Ok(SourceTable { schema: schema.map(str::to_owned), table: table.to_owned() })
    }

    fn phase(&self) -> Phase {
        match &self.snapshot {
            None | Some(Snapshot::Text("false") | Snapshot::Truth(false)) => Phase::Stream,
            Some(Snapshot::Text(_) | Snapshot::Truth(true)) => Phase::Snapshot,
        }
    }

    /// The position; [`SourcePosition::None`] for connectors whose positions are not understood.
    pub(super) fn position(&self) -> Result<SourcePosition, Rejection> {
        match self.connector {
            "postgresql" => self.postgres(),
            "mysql" | "mariadb" => self.binlog(),
            _ => Ok(SourcePosition::None),
        }
    }

    fn postgres(&self) -> Result<SourcePosition, Rejection> {
        let missing = || {
            Rejection::new(
                "missing_position",
                "`source.sequence` of a PostgreSQL event is missing or not a pair of numbers; connectors since Debezium 1.6 send it",
            )
        };
        let text = self.sequence.as_deref().ok_or_else(missing)?;
        let pair: [Option<String>; 2] = serde_json::from_str(text).map_err(|_| missing())?;
        let number = |text: &String| text.parse::<u64>().map_err(|_| missing());
        let [commit, lsn] = pair;
        let lsn = number(&lsn.ok_or_else(missing)?)?;
        let commit = commit.as_ref().map(number).transpose()?;
        Ok(SourcePosition::Postgres { commit, lsn, phase: self.phase() })
    }

    fn binlog(&self) -> Result<SourcePosition, Rejection> {
        let missing =
            |what: &str| Rejection::new("missing_position", format!("`source.{what}` is missing or unreadable"));
        let file = self.file.as_deref().and_then(|file| file.rsplit('.').next()?.parse().ok());
        let file = file.ok_or_else(|| missing("file"))?;
        let pos = self.pos.ok_or_else(|| missing("pos"))?;
        let gtid = match self.gtid.filter(|gtid| !gtid.is_empty()) {
            None => None,
            Some(text) if self.connector == "mariadb" => Some(mariadb_gtid(text).ok_or_else(|| missing("gtid"))?),
            Some(text) => Some(mysql_gtid(text).ok_or_else(|| missing("gtid"))?),
        };
        let row = (self.connector == "mariadb").then(|| self.row.unwrap_or(0));
        Ok(SourcePosition::Binlog { gtid, file, pos, row, phase: self.phase() })
    }
}

/// `uuid:number` or `uuid:tag:number`.
fn mysql_gtid(text: &str) -> Option<Gtid> {
    let (marker, number) = text.rsplit_once(':')?;
    Some(Gtid { marker: marker.to_owned(), number: number.parse().ok()? })
}

/// `domain-server-number`.
fn mariadb_gtid(text: &str) -> Option<Gtid> {
    let mut parts = text.split('-');
    let (domain, _server, number) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || domain.parse::<u32>().is_err() {
        return None;
    }
    Some(Gtid { marker: domain.to_owned(), number: number.parse().ok()? })
}

/// The LSN text of the record form and of PostgreSQL itself: two hexadecimal halves, `0/16B6A90`.
pub(super) fn lsn_text(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let half = |digits: &str| {
        let hex = !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
    };
    Some(half(high)? << 32 | half(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str) -> Result<SourcePosition, Rejection> {
        serde_json::from_str::<SourceBlock<'_>>(text).expect("source block").position()
    }

    #[test]
    fn postgres_sequences_are_numbers_never_text() {
        let block =
            |sequence: &str| format!(r#"{{"connector":"postgresql","snapshot":"false","sequence":{sequence}}}"#);
        assert_eq!(
            position(&block(r#""[\"9\",\"10\"]""#)),
            Ok(SourcePosition::Postgres { commit: Some(9), lsn: 10, phase: Phase::Stream })
        );
        assert_eq!(
            position(&block(r#""[null,\"10\"]""#)),
            Ok(SourcePosition::Postgres { commit: None, lsn: 10, phase: Phase::Stream })
        );
        for bad in ["null", r#""[]""#, r#""[\"9\",null]""#, r#""[\"x\",\"1\"]""#, r#""7""#] {
            assert_eq!(position(&block(bad)).expect_err(bad).reason, "missing_position");
        }
    }

    #[test]
    fn binlog_positions_have_the_file_as_number() {
        let text =
            r#"{"connector":"mysql","snapshot":"false","gtid":"ab:tag:77","file":"mysql-bin.1000000","pos":4,"row":9}"#;
        let gtid = Gtid { marker: "ab:tag".into(), number: 77 };
        let expected =
            SourcePosition::Binlog { gtid: Some(gtid), file: 1_000_000, pos: 4, row: None, phase: Phase::Stream };
        assert_eq!(position(text), Ok(expected));
        let text = r#"{"connector":"mariadb","snapshot":"true","gtid":null,"file":"binlog.000002","pos":4}"#;
        assert_eq!(
            position(text),
            Ok(SourcePosition::Binlog { gtid: None, file: 2, pos: 4, row: Some(0), phase: Phase::Snapshot })
        );
        let text = r#"{"connector":"mariadb","gtid":"0-1","file":"binlog.000002","pos":4}"#;
        assert!(position(text).is_err());
        assert_eq!(mariadb_gtid("0-1-61204"), Some(Gtid { marker: "0".into(), number: 61_204 }));
    }

    #[test]
    fn lsn_texts() {
        assert_eq!(lsn_text("0/16B6A90"), Some(0x16B_6A90));
        assert_eq!(lsn_text("1/0"), Some(1 << 32));
        for bad in ["", "/", "0/", "0/x", "+1/2", "123456789/0", "0-1"] {
            assert_eq!(lsn_text(bad), None, "{bad}");
        }
    }
}
