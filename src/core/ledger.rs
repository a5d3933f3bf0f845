//! Facts about a partition that its tokens rest on, found in its own log, so that a replay builds the same tokens.
//!
//! # Source epochs
//!
//! Positions start again when a source is restored or fails over. Epochs are not opened yet (all tokens carry epoch 1):
//! a GTID marker that changes within a partition is refused by [`Ledger::observe`], never compared.

use std::collections::HashMap;
use std::sync::Arc;

use super::event::{Rejection, SourcePosition};
use super::plan::LedgerEntry;
use super::record::TopicPartition;
use super::table::fnv1a;
use super::token::Phase;

/// The source epoch that a partition begins with, and that of tokens which know no other.
pub const FIRST_EPOCH: u32 = 1;
/// Ledger kind: a snapshot row without `sequence[0]` showed this LSN.
pub const SNAPSHOT_LSN: &str = "snapshot_lsn";
/// Ledger kind: hash of the GTID marker (uuid or domain) that the partition's stream has; `binlog` where there is none.
pub const GTID_MARKER: &str = "gtid_marker";

/// Ledger kind: the null value at the offset had lost its delete event and deleted the row of its key, whose hash is the value.
/// What lies before it is dead: a replay must not bring it back.
pub const NULL_DELETE: &str = "null_delete";

/// Facts about one partition that tokens rest on, found in its own log.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// (first offset, LSN), ascending in both.
    snapshots: Vec<(i64, u64)>,
    /// (first offset, hash of the marker).
    marker: Option<(i64, u64)>,
    /// By the hash of a record key, the offset of the last null value that deleted its row.
    nulls: HashMap<u64, i64>,
    /// Null values that did.
    null_count: u64,
}

fn key_hash(key: &[u8]) -> u64 {
    fnv1a(key) >> 1
}

impl Ledger {
    /// The facts that are stored about a partition of one incarnation of its topic.
    pub fn load<'a>(
        entries: impl IntoIterator<Item = &'a LedgerEntry>,
        at: &TopicPartition,
        incarnation: &str,
    ) -> Self {
        let mut ledger = Self::default();
        for entry in entries.into_iter().filter(|entry| entry.at == *at && *entry.incarnation == *incarnation) {
            match entry.kind {
                SNAPSHOT_LSN => ledger.add_snapshot(entry.offset, entry.value),
                NULL_DELETE => ledger.add_null(entry.offset, entry.value),
                GTID_MARKER => ledger.marker = Some((entry.offset, entry.value)),
                _ => {}
            }
        }
        ledger
    }

    fn add_snapshot(&mut self, offset: i64, lsn: u64) {
        self.snapshots.push((offset, lsn));
        self.snapshots.sort_unstable();
    }

    fn add_null(&mut self, offset: i64, hash: u64) {
        let last = self.nulls.entry(hash).or_insert(offset);
        *last = offset.max(*last);
        self.null_count += 1;
    }

    /// Takes note of a null value that deletes the row of its record key; the fact is to be stored with the batch.
    pub fn null_deletes(
        &mut self,
        at: &TopicPartition,
        incarnation: &Arc<str>,
        offset: i64,
        record_key: &[u8],
    ) -> LedgerEntry {
        let value = key_hash(record_key);
        self.add_null(offset, value);
        LedgerEntry { at: at.clone(), incarnation: Arc::clone(incarnation), offset, kind: NULL_DELETE, value }
    }

    /// Offset of the last null value that deleted the row of a record key.
    pub fn null_of(&self, record_key: &[u8]) -> Option<i64> {
        if self.nulls.is_empty() {
            return None;
        }
        self.nulls.get(&key_hash(record_key)).copied()
    }

    /// Null values that are known to have deleted rows.
    pub fn null_count(&self) -> u64 {
        self.null_count
    }

    /// Greatest snapshot LSN that was shown at or before an offset.
    pub(super) fn floor(&self, offset: i64) -> u64 {
        self.snapshots.iter().filter(|(first, _)| *first <= offset).map(|(_, lsn)| *lsn).max().unwrap_or(0)
    }

    /// The source epoch of an event.
    pub(super) fn epoch(&self, _position: &SourcePosition, _offset: i64) -> u32 {
        FIRST_EPOCH
    }

    /// Takes note of what an event shows; a new fact is returned to be stored with the batch. Refuses a stream whose GTID
    /// marker is another than before in this partition.
    pub fn observe(
        &mut self,
        at: &TopicPartition,
        incarnation: &Arc<str>,
        offset: i64,
        position: &SourcePosition,
    ) -> Result<Option<LedgerEntry>, Rejection> {
        let entry =
            |kind, value| LedgerEntry { at: at.clone(), incarnation: Arc::clone(incarnation), offset, kind, value };
        match position {
            SourcePosition::Postgres { commit: None, lsn, phase: Phase::Snapshot } if self.floor(offset) < *lsn => {
                self.add_snapshot(offset, *lsn);
                Ok(Some(entry(SNAPSHOT_LSN, *lsn)))
            }
            SourcePosition::Binlog { gtid, phase: Phase::Stream, .. } => {
                let marker = gtid.as_ref().map_or("binlog", |gtid| gtid.marker.as_str());
                let hash = fnv1a(marker.as_bytes()) >> 1;
                match self.marker {
                    Some((_, known)) if known == hash => Ok(None),
                    Some(_) => Err(Rejection::table(
                        "source_epoch",
                        "the GTID domain or server uuid is another than before in this partition (failover or a new source); its positions cannot be compared with the stored ones, and opening a new source epoch is not supported by this version",
                    )),
                    None => {
                        self.marker = Some((offset, hash));
                        Ok(Some(entry(GTID_MARKER, hash)))
                    }
                }
            }
            _ => Ok(None),
        }
    }

    /// Forgets what was found at or behind an offset: the batch that would have stored it was dropped.
    pub fn forget_from(&mut self, offset: i64) {
        self.snapshots.retain(|(first, _)| *first < offset);
        let known = self.nulls.len();
        self.nulls.retain(|_, last| *last < offset);
        self.null_count = self.null_count.saturating_sub((known - self.nulls.len()) as u64);
        self.marker = self.marker.filter(|(first, _)| *first < offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    /// A topic that was made anew has offsets and a history of its own.
    #[test]
    fn facts_of_another_incarnation_do_not_count() {
        let fact = |incarnation: &str, value| LedgerEntry {
            at: at(),
            incarnation: incarnation.into(),
            offset: 0,
            kind: SNAPSHOT_LSN,
            value,
        };
        let entries = [fact("old", 900), fact("new", 100)];
        assert_eq!(Ledger::load(&entries, &at(), "new").floor(5), 100);
        assert_eq!(Ledger::load(&entries, &TopicPartition::new("t", 1), "new").floor(5), 0);
    }

    #[test]
    fn another_gtid_marker_is_refused_not_compared() {
        let mut ledger = Ledger::default();
        let position = |marker: &str| SourcePosition::Binlog {
            gtid: Some(crate::core::event::Gtid { marker: marker.into(), number: 1 }),
            file: 1,
            pos: 4,
            row: Some(0),
            phase: Phase::Stream,
        };
        let incarnation = Arc::from("-");
        assert!(ledger.observe(&at(), &incarnation, 0, &position("0")).expect("first").is_some());
        assert!(ledger.observe(&at(), &incarnation, 1, &position("0")).expect("same").is_none());
        assert_eq!(ledger.observe(&at(), &incarnation, 2, &position("1")).expect_err("other").reason, "source_epoch");
    }
}
