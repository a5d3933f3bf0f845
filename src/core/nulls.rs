//! Null values that deleted a row although their delete event was gone: kept in the ledger of their partition.

use std::collections::HashMap;
use std::sync::Arc;

use super::plan::LedgerEntry;
use super::record::TopicPartition;
use super::table::fnv1a;

/// Ledger kind: the null value at the offset had lost its delete event and deleted the row of its key, whose hash is the value.
/// What lies before it is dead: a replay must not bring it back.
pub const NULL_DELETE: &str = "null_delete";

/// Those of one partition of one incarnation of its topic.
#[derive(Clone, Debug, Default)]
pub struct Nulls {
    /// By the hash of a record key, the offset of the last one.
    last: HashMap<u64, i64>,
    count: u64,
}

fn key_hash(key: &[u8]) -> u64 {
    fnv1a(key) >> 1
}

impl Nulls {
    /// Those that are stored.
    pub fn load<'a>(
        entries: impl IntoIterator<Item = &'a LedgerEntry>,
        at: &TopicPartition,
        incarnation: &str,
    ) -> Self {
        let mut nulls = Self::default();
        let own =
            |entry: &&LedgerEntry| entry.kind == NULL_DELETE && entry.at == *at && *entry.incarnation == *incarnation;
        entries.into_iter().filter(own).for_each(|entry| nulls.add(entry.offset, entry.value));
        nulls
    }

    fn add(&mut self, offset: i64, hash: u64) {
        let last = self.last.entry(hash).or_insert(offset);
        *last = offset.max(*last);
        self.count += 1;
    }

    /// Takes note of one; the fact is to be stored with the batch.
    pub fn deletes(
        &mut self,
        at: &TopicPartition,
        incarnation: &Arc<str>,
        offset: i64,
        record_key: &[u8],
    ) -> LedgerEntry {
        let value = key_hash(record_key);
        self.add(offset, value);
        LedgerEntry { at: at.clone(), incarnation: Arc::clone(incarnation), offset, kind: NULL_DELETE, value }
    }

    /// Offset of the last one of a record key.
    pub fn of(&self, record_key: &[u8]) -> Option<i64> {
        if self.last.is_empty() {
            return None;
        }
        self.last.get(&key_hash(record_key)).copied()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Forgets those at or behind an offset: the batch that would have stored them was dropped.
    pub fn forget_from(&mut self, offset: i64) {
        let known = self.last.len();
        self.last.retain(|_, last| *last < offset);
        self.count = self.count.saturating_sub((known - self.last.len()) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_of_a_key_counts() {
        let (at, incarnation) = (TopicPartition::new("t", 0), Arc::from("-"));
        let mut nulls = Nulls::default();
        let entries = [4, 9].map(|offset| nulls.deletes(&at, &incarnation, offset, b"k"));
        assert_eq!((nulls.of(b"k"), nulls.of(b"l"), nulls.count()), (Some(9), None, 2));
        let loaded = Nulls::load(&entries, &at, "-");
        assert_eq!((loaded.of(b"k"), loaded.count()), (Some(9), 2));
        assert_eq!(Nulls::load(&entries, &at, "another").count(), 0);
        nulls.forget_from(9);
        assert_eq!((nulls.of(b"k"), nulls.count()), (None, 1));
    }
}
