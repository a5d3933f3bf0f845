//! Taking over a table that another tool has filled as of a position of its source: which token its rows get.
//!
//! The rows get one token *A*, and the table the same token as its truncate bound. An event with a token up to *A* then loses,
//! whatever its key (a key that the dump does not have was deleted before it); every other event is applied.
//!
//! # Why the answer is right
//!
//! Two things are needed. (1) Every event with a token up to *A* is in the dump. (2) Every event that is not in the dump is still to
//! come. Then the last event of a key either is in the dump, and the row is right, or it is applied. A lower *A* is never wrong:
//! events that the dump has are applied again, in their order, up to the last one of each key, which is where the row was.
//!
//! # Why PostgreSQL's *A* is not the dump's position
//!
//! A dump at *L* has the transactions whose commit ends at or before *L*. An event does not say where its own commit ends, only *e*, the
//! end of the last commit before it (`sequence[0]`), and its own place *l*. The first transaction after the dump has an *e* at or
//! before *L*, and may have a small *l* if it was open for long. A token with *L* in it would beat it: a lost change.
//!
//! Let *e\** be the greatest *e* at or before *L* in the topics. A transaction with *e* < *e\** had ended when the commit at *e\** did, so
//! it is in the dump; its tokens are below *e\**, because *e* and *l* are. One with *e* = *e\** may be in the dump or not; its tokens
//! have *e\** or more as their commit. So *A* = (*e\**, snapshot, 0), below all stream tokens of *e\**. A snapshot that was taken at *S*
//! ≤ *L* serves in the same way as an *e*: what was streamed before it had been committed, what follows it has a greater *e*.
//!
//! What has no *e*: the first transaction behind a snapshot. Its tokens may be as low as its *l*, so *A* is put below every one that is
//! not known to be in the dump. It is when events behind it in its partition have two *e* at or before *L*: a connector that is killed
//! inside it sends the rest with one of its own places as *e* (seen), so one is no proof. Rows of blocking and incremental snapshots that lose hold nothing that the stream behind them does not bring.
//!
//! # Why GTIDs and binlog positions are simpler
//!
//! All events of a transaction have its GTID number, so *A* lies behind all tokens of the dump's number, and below the next one. A
//! binlog position of a dump lies between two transactions: *A* is that position, below what begins there. Snapshot rows without
//! GTID come before the stream and lose. So the stream must be seen to reach back to the dump, and a snapshot that a connector made
//! later (it may hold the only trace of what changed meanwhile) is refused.
//!
//! # Why the topics must show a position at or before the dump's
//!
//! It proves that the connector was at work then, and where a log was cut (expired records), each partition that it did not lose what
//! lies behind the dump. Without it only the operator can know ([`Survey::accept_gaps`]).

use std::collections::BTreeMap;

use super::decode::{lsn_text, mariadb_gtid, mysql_gtid};
use super::epoch::FIRST_EPOCH;
use super::event::{Gtid, NO_GTID, Place, SourcePosition, binlog_number};
use super::ledger::Ledger;
use super::order::{OrderPolicy, token};
use super::record::TopicPartition;
use super::token::{Layout, Phase, Token, TokenWriter};

/// Times of a binlog are whole seconds, those of snapshot rows are not. In milliseconds.
const BINLOG_SECOND: i64 = 1000;

/// Where in its source a dump was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dump {
    /// PostgreSQL: commits that end at or before it are in the dump.
    Lsn(u64),
    /// MySQL, MariaDB: the last transaction of each sequence that is in the dump.
    Gtids(Vec<Gtid>),
    /// MySQL, MariaDB without GTIDs: the first position that is not in the dump.
    Binlog {
        /// Number of the file.
        file: u64,
        /// Position in it.
        pos: u64,
    },
    /// The token itself: events up to it are in the dump.
    Token(Token),
}

/// Reads `0/16B6A90`, or the number as Debezium prints it.
pub fn parse_lsn(text: &str) -> Option<Dump> {
    lsn_text(text).or_else(|| text.parse().ok()).map(Dump::Lsn)
}

/// Reads `0-1-61204` (MariaDB), `uuid:77` or `uuid:1-77` (MySQL), several with commas. A set with gaps is none: the order of tokens
/// is that of the numbers.
pub fn parse_gtids(text: &str) -> Option<Dump> {
    let one = |text: &str| {
        let text = text.trim();
        let last = text.rsplit_once(':').and_then(|(marker, numbers)| {
            let last = numbers.strip_prefix("1-")?;
            mysql_gtid(&format!("{marker}:{last}"))
        });
        let gtid = last.or_else(|| mysql_gtid(text)).or_else(|| mariadb_gtid(text))?;
        // A tag begins with a letter; what begins with a digit are more numbers of the set.
        let (uuid, tag) = gtid.marker.split_once(':').map_or((&*gtid.marker, None), |(uuid, tag)| (uuid, Some(tag)));
        let is_tag = |tag: &str| !tag.contains(':') && tag.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        (!uuid.is_empty() && tag.is_none_or(is_tag)).then_some(gtid)
    };
    text.split(',').map(one).collect::<Option<Vec<_>>>().map(Dump::Gtids)
}

/// Reads `mysql-bin.000003:4711`.
pub fn parse_binlog(text: &str) -> Option<Dump> {
    let (file, pos) = text.rsplit_once(':')?;
    Some(Dump::Binlog { file: super::decode::binlog_file(file)?, pos: pos.parse().ok()? })
}

/// What an event is to the dump.
enum Part {
    /// Certainly in it.
    In,
    /// Perhaps not in it: its transaction follows the commit that ends here.
    After(u64),
    /// Perhaps not in it: nothing says what its transaction follows. Its token is not below this number.
    Unknown(u64),
    /// Not in it.
    Out,
    /// A snapshot row that has no place in the stream.
    Apart,
}

/// What was seen of a partition.
#[derive(Debug, Default)]
struct Partition {
    /// First offset of an event that is not in the dump.
    out: Option<i64>,
    /// First offset of an event that follows the greatest commit at or before the dump.
    after_best: Option<i64>,
    /// Events of which nothing is known.
    unknown: Option<Unknown>,
    /// It has a position at or before the dump's.
    reaches: bool,
    /// Greatest place of a streamed event.
    streamed: Option<u64>,
}

/// Events of a first transaction, which names no commit before it.
#[derive(Clone, Copy, Debug)]
struct Unknown {
    /// Offset of the first.
    first: i64,
    /// Least of their numbers.
    least: u64,
    /// The end of a commit that an event behind them named.
    behind: Option<u64>,
}

/// Looks through the topics of a table.
#[derive(Debug)]
pub struct Survey {
    dump: Dump,
    /// An operator says that nothing is missing between the dump and the topics.
    pub accept_gaps: bool,
    partitions: BTreeMap<TopicPartition, (i64, Partition)>,
    /// Greatest end of a commit, or place of a snapshot, at or before the dump.
    best: Option<u64>,
    /// Marker of the sequence that the stream has.
    marker: Option<String>,
    layout: Option<Layout>,
    /// Latest source times: of streamed events in the dump, of snapshot rows apart.
    streamed_ms: Option<i64>,
    apart_ms: Option<i64>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The token, but for its scope.
    token: Token,
    /// For each partition the first offset that has to be applied.
    pub first_offsets: BTreeMap<TopicPartition, i64>,
    /// Partitions and topics of which it is not proven that they reach back to the dump.
    pub gaps: Vec<String>,
}

impl Adopted {
    /// The token of the rows, and the table's bound.
    pub fn token(&self, scope: u16) -> Token {
        let mut bytes = self.token.as_bytes().to_vec();
        bytes[1..3].copy_from_slice(&scope.to_be_bytes());
        Token::from_bytes(&bytes).unwrap_or(self.token)
    }
}

impl Survey {
    /// A survey of partitions, each with the first offset that its log still has.
    pub fn new(dump: Dump, partitions: impl IntoIterator<Item = (TopicPartition, i64)>) -> Self {
        Self {
            dump,
            accept_gaps: false,
            partitions: partitions.into_iter().map(|(at, start)| (at, (start, Partition::default()))).collect(),
            best: None,
            marker: None,
            layout: None,
            streamed_ms: None,
            apart_ms: None,
        }
    }

    /// Takes an event of the table's source in, in the order of its partition. The error says why the table cannot be taken over.
    pub fn meet(
        &mut self,
        at: &TopicPartition,
        offset: i64,
        position: &SourcePosition,
        time_ms: Option<i64>,
    ) -> Result<(), String> {
        let streamed = self.partitions.get(at).and_then(|(_, seen)| seen.streamed);
        let part = self.part(at, offset, position, streamed)?;
        if let (Part::In, true) = (&part, position.is_streamed()) {
            self.streamed_ms = self.streamed_ms.max(time_ms);
        }
        if let Part::After(end) = part
            && self.best.is_none_or(|best| best < end)
        {
            self.best = Some(end);
            self.partitions.values_mut().for_each(|(_, seen)| seen.after_best = None);
        }
        if let Part::Apart = part {
            self.apart_ms = self.apart_ms.max(time_ms);
        }
        let best = self.best;
        let (_, seen) = self.partitions.entry(at.clone()).or_default();
        if position.is_streamed() {
            seen.streamed = seen.streamed.max(number(position));
        }
        match part {
            Part::In => seen.reaches = true,
            Part::After(end) => {
                seen.reaches = true;
                seen.unknown = seen.unknown.and_then(|unknown| match unknown.behind {
                    None => Some(Unknown { behind: Some(end), ..unknown }),
                    Some(before) => (end <= before).then_some(unknown),
                });
                if best == Some(end) {
                    seen.after_best.get_or_insert(offset);
                }
            }
            Part::Unknown(least) => {
                let known = seen.unknown.unwrap_or(Unknown { first: offset, least, behind: None });
                seen.unknown = Some(Unknown { first: known.first, least: known.least.min(least), behind: None });
            }
            Part::Out => drop(seen.out.get_or_insert(offset)),
            Part::Apart => {}
        }
        Ok(())
    }

    fn part(
        &mut self,
        at: &TopicPartition,
        offset: i64,
        position: &SourcePosition,
        streamed: Option<u64>,
    ) -> Result<Part, String> {
        match (&self.dump, position) {
            (Dump::Lsn(dump), SourcePosition::Postgres { commit, lsn, phase }) => {
                self.layout = Some(Layout::Postgres);
                let dump = *dump;
                Ok(match (commit, phase) {
                    (Some(end), _) if *end <= dump => Part::After(*end),
                    (Some(_), _) => Part::Out,
                    (None, Phase::Stream) => Part::Unknown(*lsn),
                    (None, _) if streamed.is_some_and(|streamed| *lsn < streamed) => {
                        return Err(format!(
                            "{at}: the snapshot at offset {offset} lies before what was streamed, so the source's positions started \
                             again; give the token itself (`--token`)"
                        ));
                    }
                    (None, _) if *lsn <= dump => Part::After(*lsn),
                    (None, _) => Part::Out,
                })
            }
            (Dump::Gtids(_) | Dump::Binlog { .. }, SourcePosition::Binlog { .. }) => {
                self.binlog_part(at, offset, position, streamed)
            }
            (Dump::Token(dump), position) => {
                let made = token(&OrderPolicy::Source, dump.scope(), position, &Ledger::default(), at, offset);
                match made {
                    Some(made) if made.comparable(dump) => Ok(if made <= *dump { Part::In } else { Part::Out }),
                    _ => Err(format!(
                        "{at}: the event at offset {offset} has a token of another kind than the given one"
                    )),
                }
            }
            (_, other) => Err(format!(
                "{at}: the event at offset {offset} has no position of the given kind ({}); `--lsn` is for Debezium's PostgreSQL \
                 connector, `--gtid` and `--binlog` for MySQL and MariaDB, `--token` for the others",
                if other.is_none() { "it has none" } else { other.kind() }
            )),
        }
    }

    fn binlog_part(
        &mut self,
        at: &TopicPartition,
        offset: i64,
        position: &SourcePosition,
        streamed: Option<u64>,
    ) -> Result<Part, String> {
        self.layout = Some(Layout::Binlog);
        let Place::Numbered { marker, number } = position.place() else {
            return match streamed {
                None => Ok(Part::Apart),
                Some(_) => Err(format!(
                    "{at}: a connector that was made anew has read the table again (offset {offset}); its rows have no GTID, so \
                     nothing tells what changed between the dump and them. Take a newer dump, or give the token itself (`--token`)"
                )),
            };
        };
        if self.marker.get_or_insert_with(|| marker.to_owned()) != marker {
            return Err(format!(
                "{at}: the stream has two sequences of positions (offset {offset}: a failover?); give the token itself (`--token`)"
            ));
        }
        let last = match &self.dump {
            Dump::Gtids(gtids) => {
                gtids.iter().find(|gtid| gtid.marker.eq_ignore_ascii_case(marker)).map(|gtid| gtid.number)
            }
            Dump::Binlog { file, pos } if marker == NO_GTID => binlog_number(*file, *pos).checked_sub(1),
            _ => None,
        };
        let last = last.ok_or_else(|| {
            format!("{at}: the event at offset {offset} is of the sequence {marker:?}, of which the dump's position says nothing")
        })?;
        Ok(if number <= last { Part::In } else { Part::Out })
    }

    /// The token, or why there is none.
    pub fn finish(self) -> Result<Adopted, String> {
        let reaches = self.partitions.values().any(|(_, seen)| seen.reaches);
        let mut gaps = Vec::new();
        if !reaches {
            gaps.push("the topics hold no position at or before the dump's".to_owned());
        }
        for (at, (start, seen)) in &self.partitions {
            if *start > 0 && !seen.reaches {
                gaps.push(format!(
                    "the log of {at} begins at offset {start}, and with no position at or before the dump's"
                ));
            }
        }
        let read_later = |(apart, streamed): (i64, i64)| apart > streamed.saturating_add(BINLOG_SECOND);
        if self.apart_ms.zip(self.streamed_ms).is_some_and(read_later) && reaches {
            return Err("a snapshot was taken after the last streamed change that the dump has: nothing tells what changed between \
                        the dump and it. Take a newer dump, or give the token itself (`--token`)"
                .to_owned());
        }
        if !gaps.is_empty() && !self.accept_gaps {
            return Err(format!(
                "{}; changes between the dump and the topics may be lost. Take a newer dump, or say with `--accept-gaps` that \
                 nothing changed there",
                gaps.join("; ")
            ));
        }
        let Some(token) = self.bound(reaches) else {
            return Err("the topics hold no event of the table, so its source is not known".to_owned());
        };
        let first = |(at, (_, seen)): (TopicPartition, (i64, Partition))| {
            let offsets = [seen.out, seen.after_best, seen.unknown.map(|unknown| unknown.first)];
            Some((at, offsets.into_iter().flatten().min()?))
        };
        Ok(Adopted { token, first_offsets: self.partitions.into_iter().filter_map(first).collect(), gaps })
    }

    fn bound(&self, reaches: bool) -> Option<Token> {
        let begin = |layout| TokenWriter::with(layout, 0, FIRST_EPOCH);
        let lowest = |layout| begin(layout).number(0).phase(Phase::Snapshot).number(0);
        Some(match &self.dump {
            Dump::Token(token) => *token,
            _ if !reaches => lowest(self.layout?).finish(),
            Dump::Lsn(_) => {
                let unknown =
                    self.partitions.values().filter_map(|(_, seen)| seen.unknown).map(|unknown| unknown.least);
                let bound = unknown.chain(self.best).min().unwrap_or(0);
                begin(Layout::Postgres).number(bound).phase(Phase::Snapshot).number(0).finish()
            }
            Dump::Gtids(gtids) => {
                let marker = self.marker.as_ref()?;
                let last = gtids.iter().find(|gtid| gtid.marker.eq_ignore_ascii_case(marker))?.number;
                // Behind every event of the last transaction, below a snapshot that was taken after it.
                let all = u64::MAX;
                begin(Layout::Binlog).number(last).phase(Phase::Stream).number(all).number(all).kafka(-1, -1).finish()
            }
            Dump::Binlog { file, pos } => {
                begin(Layout::Binlog).number(binlog_number(*file, *pos)).phase(Phase::Snapshot).number(0).finish()
            }
        })
    }
}

fn number(position: &SourcePosition) -> Option<u64> {
    match position.place() {
        Place::Numbered { number, .. } | Place::Snapshot { number } => Some(number),
        Place::Apart | Place::Unknown => None,
    }
}

#[cfg(test)]
mod tests;
