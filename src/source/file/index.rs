//! What files hold: one pass over all lines, kept as a range of offsets per partition.
//!
//! The pass proves what reading relies on: every line is a record, and reading the files in their order passes every offset of
//! a partition upwards. Offsets that come again (files that overlap) are duplicates and are passed over when read; an offset
//! that comes too late for the first time would be lost, and is refused.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::core::failure::Failure;
use crate::core::record::TopicPartition;
use crate::source::LogRange;

use super::line::Lines;

/// What all files hold.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Ranges of offsets. Never empty ones.
    pub partitions: BTreeMap<TopicPartition, LogRange>,
    /// Records that are there more than once.
    pub duplicates: u64,
}

impl Index {
    /// Reads all files. `selected` says which topics count.
    pub(super) fn build(paths: &[PathBuf], selected: impl Fn(&str) -> bool) -> Result<Self, Failure> {
        let mut seen: BTreeMap<TopicPartition, Seen> = BTreeMap::new();
        let mut index = Self::default();
        for path in paths {
            let mut lines = Lines::open(path)?;
            while let Some(record) = lines.next()? {
                if !selected(&record.at.topic) {
                    continue;
                }
                match seen.entry(record.at.clone()).or_default().add(record.offset) {
                    Added::New => {}
                    Added::Duplicate => index.duplicates += 1,
                    Added::TooLate { last } => {
                        let what = format!(
                            "holds offset {} of {}, after offset {last} of an earlier line: the files are not in the order of \
                             their offsets; put them in order in `paths`",
                            record.offset, record.at
                        );
                        return Err(lines.failure(&what));
                    }
                }
            }
        }
        index.partitions = seen.into_iter().filter_map(|(at, seen)| Some((at, seen.range()?))).collect();
        Ok(index)
    }
}

/// Offsets of a partition, as intervals in order, both ends included. There is one more than there are gaps.
#[derive(Default)]
struct Seen(Vec<(i64, i64)>);

enum Added {
    New,
    Duplicate,
    TooLate { last: i64 },
}

impl Seen {
    fn add(&mut self, offset: i64) -> Added {
        match self.0.last_mut() {
            Some((_, last)) if offset == *last + 1 => *last = offset,
            Some((_, last)) if offset <= *last => {
                let last = *last;
                let before = self.0.partition_point(|(first, _)| *first <= offset);
                let known = before > 0 && offset <= self.0[before - 1].1;
                return if known { Added::Duplicate } else { Added::TooLate { last } };
            }
            _ => self.0.push((offset, offset)),
        }
        Added::New
    }

    fn range(&self) -> Option<LogRange> {
        Some(LogRange { start: self.0.first()?.0, end: self.0.last()?.1 + 1 })
    }
}
