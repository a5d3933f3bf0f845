//! When tombstones may be collected.
//!
//! # The rule
//!
//! A generation is closed by reading the database's clock and, *after* that, the end of every partition of every topic that
//! feeds the table. A tombstone that was written before that time was made from a record that had been read before, so its
//! record, and with it every older change of its key that the source had written, lies below those ends: no lock is
//! needed. It may go when it is older than `retain`, nothing below the ends can be read any more (the log starts at or
//! behind them) and nothing below them is still on its way (every checkpoint of every pipeline that feeds the table, and of every
//! running replay, is at or behind them: a lane's records in memory lie behind its checkpoint).
//!
//! # What if the rule is wrong
//!
//! A source that sends old changes again gives them new offsets, clocks step back, partitions are written in no common order. So
//! the rule only keeps refusals rare. What keeps deleted keys dead is the *floor*: the greatest token collected by table and
//! scope. It is raised before the first tombstone goes, and an insert of a key without a row whose token is not above it is
//! refused ([`below`]), also where a lower tombstone is left. So collecting can only make a visible refusal.

use serde::{Deserialize, Serialize};

use super::event::Rejection;
use super::failure::{Class, Failure};
use super::record::TopicPartition;
use super::table::TableName;
use super::token::Token;
use super::verdict::{Stored, StoredRow, Verdict};

/// End of a partition when a generation was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Topic.
    pub topic: String,
    /// Its incarnation then.
    pub incarnation: String,
    /// Partition.
    pub partition: i32,
    /// Offset behind the last record.
    pub end: i64,
}

impl End {
    /// The partition.
    pub fn at(&self) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), self.partition)
    }
}

/// A partition as the source tells it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The partition.
    pub at: TopicPartition,
    /// Incarnation of its topic.
    pub incarnation: String,
    /// First offset that can be read.
    pub start: i64,
    /// Offset behind the last record.
    pub end: i64,
}

/// Someone who reads a partition of a topic that feeds the table: a pipeline, or a running replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Name for people: `pipeline shop`, `replay 7 of shop`.
    pub name: String,
    /// The partition.
    pub at: TopicPartition,
    /// Everything below this offset was applied.
    pub next: i64,
}

/// Why a generation cannot be collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// It is younger than `retain`: collectable at this time, in milliseconds since 1970.
    Young(i64),
    /// Records below its end can still be read.
    Log {
        /// The partition.
        at: TopicPartition,
        /// Where its log starts.
        start: i64,
        /// Where it must start.
        end: i64,
    },
    /// Someone has not come so far.
    Reader {
        /// Who.
        name: String,
        /// In which partition.
        at: TopicPartition,
        /// How far it is.
        next: i64,
        /// How far it must be.
        end: i64,
    },
    /// The source does not know the partition, so nobody can tell where its log starts.
    Unknown(TopicPartition),
    /// The topic was made anew, or feeds the table since the generation was closed: its log may hold older changes. The
    /// generation is worth nothing; a later one takes its tombstones in.
    Void(String),
}

impl std::fmt::Display for Blocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Young(_) => f.write_str("younger than `retain`"),
            Self::Log { at, start, end } => {
                write!(f, "{at}: the log starts at {start}, records up to {end} must be gone")
            }
            Self::Reader { name, at, next, end } => write!(f, "{at}: {name} is at {next}, it must have passed {end}"),
            Self::Unknown(at) => write!(f, "{at}: the source does not know it, so its log start is not known"),
            Self::Void(topic) => {
                write!(f, "topic {topic} was made anew or feeds the table since; a new generation is closed")
            }
        }
    }
}

/// What keeps a generation from being collected; nothing, if it may go. `feeding` is what the source says now of every
/// partition of every topic that feeds the table, `readers` everyone who reads one of them.
pub fn blocked(
    closed_ms: i64,
    ends: &[End],
    now_ms: i64,
    retain_ms: i64,
    feeding: &[Log],
    readers: &[Reader],
) -> Vec<Blocked> {
    let mut why = Vec::new();
    for topic in strange_topics(ends, feeding) {
        why.push(Blocked::Void(topic));
    }
    let due = closed_ms.saturating_add(retain_ms);
    if due > now_ms {
        why.push(Blocked::Young(due));
    }
    for end in ends {
        let at = end.at();
        match feeding.iter().find(|log| log.at == at) {
            Some(log) if log.start < end.end => {
                why.push(Blocked::Log { at: at.clone(), start: log.start, end: end.end });
            }
            Some(_) => {}
            None => why.push(Blocked::Unknown(at.clone())),
        }
    }
    why.extend(behind(ends, readers));
    why
}

/// Readers that have not passed the ends.
pub fn behind(ends: &[End], readers: &[Reader]) -> Vec<Blocked> {
    let mut why = Vec::new();
    for end in ends {
        let at = end.at();
        let late = readers.iter().filter(|reader| reader.at == at && reader.next < end.end);
        why.extend(late.map(|reader| Blocked::Reader {
            name: reader.name.clone(),
            at: at.clone(),
            next: reader.next,
            end: end.end,
        }));
    }
    why
}

/// Topics that feed the table now but are not the ones of the ends. A partition that was added since is no stranger: all
/// its records are newer.
fn strange_topics(ends: &[End], feeding: &[Log]) -> Vec<String> {
    let known = |log: &&Log| ends.iter().any(|end| end.topic == *log.at.topic && end.incarnation == log.incarnation);
    let mut strange: Vec<String> =
        feeding.iter().filter(|log| !known(log)).map(|log| log.at.topic.to_string()).collect();
    strange.dedup();
    strange
}

/// Whether a token is not above the floor of its scope: an insert of a key that has no row is refused then.
pub fn below(floors: &[Token], token: &Token) -> bool {
    floors.iter().any(|floor| floor.comparable(token) && token <= floor)
}

/// Whether an upsert that wins would make a row that is not there from an event that is [`below`].
pub fn makes_below(floors: &[Token], token: &Token, stored: &Stored, verdict: Verdict) -> bool {
    verdict == Verdict::Wins && stored.row == StoredRow::Absent && below(floors, token)
}

/// Why a record that is [`below`] is put aside.
pub fn below_floor(table: &TableName) -> Rejection {
    Rejection::new(
        "below_floor",
        format!(
            "table {table}: it would make a row that is not there, but it is not newer than the tombstones that were collected, \
             so nobody knows any more whether the row was deleted since"
        ),
    )
}

/// The same, as a sink says it inside its transaction.
pub fn below_floor_failure(table: &TableName) -> Failure {
    let why = below_floor(table);
    Failure::new(Class::Record, why.reason, why.detail)
}

/// The floors of a table rose between the decisions of a transaction and its lock: it is done again with the new ones.
pub fn floors_moved(table: &TableName) -> Failure {
    Failure::new(Class::Transient, "floors_moved", format!("table {table}: tombstones were collected meanwhile"))
}

#[cfg(test)]
mod tests {
    use super::super::token::TokenWriter;
    use super::*;

    fn end(topic: &str, partition: i32, end: i64) -> End {
        End { topic: topic.into(), incarnation: "one".into(), partition, end }
    }

    fn log(topic: &str, partition: i32, start: i64) -> Log {
        Log { at: TopicPartition::new(topic, partition), incarnation: "one".into(), start, end: 1_000 }
    }

    fn reader(name: &str, topic: &str, partition: i32, next: i64) -> Reader {
        Reader { name: name.into(), at: TopicPartition::new(topic, partition), next }
    }

    /// The partition count was raised after the create: it lies in partition 1, the delete in partition 5. That partition
    /// 5's log has moved on says nothing about partition 1.
    #[test]
    fn a_key_that_moved_to_another_partition_keeps_its_tombstone() {
        let ends = [end("t", 1, 100), end("t", 5, 40)];
        let logs = |one, five| [log("t", 1, one), log("t", 5, five)];
        let readers = [reader("pipeline p", "t", 1, 100), reader("pipeline p", "t", 5, 40)];
        let why = blocked(0, &ends, 10, 10, &logs(0, 40), &readers);
        assert_eq!(why, [Blocked::Log { at: TopicPartition::new("t", 1), start: 0, end: 100 }]);
        assert_eq!(blocked(0, &ends, 10, 10, &logs(100, 40), &readers), []);
    }

    /// The same with two topics into one table: both must have moved on.
    #[test]
    fn every_topic_that_feeds_the_table_counts() {
        let ends = [end("t", 0, 10), end("u", 0, 20)];
        let readers = [reader("pipeline p", "t", 0, 10), reader("pipeline p", "u", 0, 20)];
        let why = blocked(0, &ends, 10, 10, &[log("t", 0, 10), log("u", 0, 19)], &readers);
        assert_eq!(why, [Blocked::Log { at: TopicPartition::new("u", 0), start: 19, end: 20 }]);
        // One that came later may hold anything.
        let why = blocked(0, &ends[..1], 10, 10, &[log("t", 0, 10), log("u", 0, 0)], &readers);
        assert_eq!(why, [Blocked::Void("u".into())]);
    }

    /// A lane that has tried a batch for hours holds records that are gone from the log: its checkpoint says so. Another
    /// pipeline's and a running replay's count as well.
    #[test]
    fn records_in_memory_and_other_readers_keep_tombstones() {
        let (ends, logs) = ([end("t", 0, 10)], [log("t", 0, 10)]);
        for name in ["pipeline p", "pipeline other", "replay 7 of p"] {
            let readers = [reader("pipeline first", "t", 0, 10), reader(name, "t", 0, 9)];
            let why = blocked(0, &ends, 10, 10, &logs, &readers);
            assert_eq!(why, [Blocked::Reader { name: name.into(), at: TopicPartition::new("t", 0), next: 9, end: 10 }]);
        }
    }

    #[test]
    fn age_incarnation_and_unknown_partitions_count_and_new_partitions_do_not() {
        let (ends, readers) = ([end("t", 0, 10)], [reader("pipeline p", "t", 0, 10)]);
        assert_eq!(blocked(5, &ends, 14, 10, &[log("t", 0, 10)], &readers), [Blocked::Young(15)]);
        let anew = Log { incarnation: "two".into(), ..log("t", 0, 10) };
        assert_eq!(blocked(0, &ends, 10, 10, &[anew], &readers), [Blocked::Void("t".into())]);
        assert_eq!(blocked(0, &ends, 10, 10, &[], &readers), [Blocked::Unknown(TopicPartition::new("t", 0))]);
        assert_eq!(blocked(0, &ends, 10, 10, &[log("t", 0, 10), log("t", 1, 0)], &readers), []);
    }

    /// The floor of one source says nothing about another's tokens; equal is below.
    #[test]
    fn a_floor_is_compared_within_its_scope() {
        let token = |scope, number| TokenWriter::new(scope, 1).number(number).finish();
        let floors = [token(1, 50), token(2, 7)];
        assert!(below(&floors, &token(1, 50)) && below(&floors, &token(1, 3)) && below(&floors, &token(2, 7)));
        assert!(!below(&floors, &token(1, 51)) && !below(&floors, &token(2, 8)) && !below(&floors, &token(3, 1)));
        assert!(!below(&[], &token(1, 1)));
    }
}
