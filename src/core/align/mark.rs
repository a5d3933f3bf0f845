//! Which source transaction a record belongs to.
//!
//! | source | identity of a transaction, which is also its place in the order of commits |
//! |---|---|
//! | PostgreSQL | `sequence[0]`, the end of the commit before it: one for all its events, also of redelivered ones |
//! | PostgreSQL, first transaction of a new connector | `sequence[0]` is null: `txId` tells its events, [`super::Aligner`] its place |
//! | MySQL, MariaDB | the number of the GTID, within its uuid or domain |
//! | MySQL, MariaDB without GTID | the start of the transaction in `transaction.id` (`file=…,pos=…`) |
//! | SQL Server, Db2, Informix, Oracle | `commit_lsn`, `commit_scn` |
//! | MongoDB, Spanner, CockroachDB, TiCDC | the time of the commit |
//! | Vitess with ordered metadata | epoch and rank of the transaction |
//! | record form | the LSN |
//!
//! GoldenGate's trail and flattened rows name none. What is compared within its topic only (Maxwell, Canal, TiCDC, record form) is
//! aligned within its topic only.
//!
//! Not the commit part of the token: in PostgreSQL that is max(`sequence[0]`, own LSN, floor), which differs inside a
//! transaction. Snapshot rows belong to none.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde::Deserialize;

use crate::core::decode::TopicDecoder;
use crate::core::event::{Control, Decoded, RawEvent, SourcePosition};
use crate::core::record::{Payload, Record};
use crate::core::token::Phase;

/// Place of a transaction in the order of its stream's commits.
pub type Place = u128;

/// How a place is written for people, and what it says about the destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The end of the commit *before* the transaction, as PostgreSQL writes it.
    CommitBefore,
    /// The LSN of the transaction.
    Lsn,
    /// Number of a GTID.
    Gtid,
    /// File and position in the binlog where the transaction begins.
    Binlog,
    /// SQL Server's LSN of the commit.
    SqlServer,
    /// A number or a time of the commit, by its name.
    Number(&'static str),
}

/// Transactions that are ordered among themselves: those of one source, under one GTID marker where it has GTIDs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    /// Connector and logical name, as in the events.
    pub source: Arc<str>,
    /// GTID uuid or domain; empty where there is none.
    pub marker: Arc<str>,
    /// Meaning of its places.
    pub kind: Kind,
}

impl Stream {
    /// Its name in the bookkeeping.
    pub fn name(&self) -> String {
        if self.marker.is_empty() { self.source.to_string() } else { format!("{} {}", self.source, self.marker) }
    }

    /// A place, as people write it.
    pub fn text(&self, place: Place) -> String {
        match self.kind {
            Kind::CommitBefore | Kind::Lsn => format!("LSN {:X}/{:X}", (place >> 32) as u32, place as u32),
            Kind::Gtid if self.source.starts_with("mariadb ") => format!("GTID domain {}, {place}", self.marker),
            Kind::Gtid => format!("GTID {}:{place}", self.marker),
            Kind::SqlServer => {
                format!("LSN {:08x}:{:08x}:{:04x}", (place >> 48) as u32, (place >> 16) as u32, place as u16)
            }
            Kind::Number(name) => format!("{name} {place}"),
            Kind::Binlog => format!("binlog file {}, position {}", (place >> 64) as u64, place as u64),
        }
    }
}

/// What a record says about transactions.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// It belongs to a transaction.
    Event {
        stream: Stream,
        /// Its place; where `open`, a place that it does not lie before.
        place: Place,
        /// The first transaction of a new PostgreSQL connector, which does not say its place.
        open: bool,
        /// The source's own name of the transaction, as an END record has it, or nothing.
        id: String,
        /// Tells it from other events of its transaction, the same when it is delivered again.
        event: u64,
    },
    /// The greatest LSN of a snapshot: transactions that were open meanwhile come behind it.
    Snapshot { stream: Stream, lsn: Place },
    /// The end of a transaction in the transaction topic: a hint, see the module.
    End { source: String, id: String, counts: Vec<(String, u64)> },
    /// A change without any mark of its transaction.
    Unmarked { source: String },
    /// Anything else.
    Nothing,
}

/// The end of a topic name that Debezium's transaction topics have.
const TRANSACTION_TOPIC: &str = ".transaction";

/// Whether a topic carries no row changes, by Debezium's names.
pub(super) fn is_control_topic(topic: &str) -> bool {
    topic.ends_with(TRANSACTION_TOPIC) || topic.starts_with("__debezium-heartbeat")
}

/// Whether a topic is a transaction topic.
pub(super) fn is_transaction_topic(topic: &str) -> bool {
    topic.ends_with(TRANSACTION_TOPIC)
}

/// Reads records for their marks. It decodes a second time what the planner decodes: only pipelines that are aligned pay
/// for it, and the lane knows nothing of what a plan is made of.
#[derive(Debug, Default)]
pub(super) struct Reader {
    decoders: HashMap<Arc<str>, TopicDecoder>,
}

impl Reader {
    /// The decoder of a topic, where it is not the usual one.
    pub(super) fn reads(&mut self, topic: &Arc<str>, decoder: TopicDecoder) {
        self.decoders.entry(Arc::clone(topic)).or_insert(decoder);
    }

    /// What a record says. What cannot be read says nothing: its verdict is the planner's.
    pub(super) fn note(&mut self, record: &Record) -> Note {
        let topic = &record.at.topic;
        let decoder = self.decoders.entry(Arc::clone(topic)).or_default();
        let Ok(opened) = decoder.open(record) else { return Note::Nothing };
        match decoder.read(topic, &opened) {
            Ok(Decoded::Change(event)) => of_event(record, &event),
            // They have one position.
            Ok(Decoded::Changes(events)) => events.first().map_or(Note::Nothing, |event| of_event(record, event)),
            Ok(Decoded::Control(Control::Transaction)) => {
                let value = record.value.as_ref().map(Payload::whole).unwrap_or_default();
                end_of_transaction(topic, &value)
            }
            _ => Note::Nothing,
        }
    }
}

fn of_event(record: &Record, event: &RawEvent<'_>) -> Note {
    let stream = |marker: &str, kind| Stream { source: event.source.as_str().into(), marker: marker.into(), kind };
    let transaction = event.transaction.map(Transaction::read).unwrap_or_default();
    let mut open = false;
    let (stream, place) = match &event.position {
        SourcePosition::Postgres { commit: None, lsn, phase: Phase::Snapshot } => {
            return Note::Snapshot { stream: stream("", Kind::CommitBefore), lsn: Place::from(*lsn) };
        }
        SourcePosition::Postgres { phase: Phase::Snapshot, .. }
        | SourcePosition::Binlog { phase: Phase::Snapshot, .. } => {
            return Note::Nothing;
        }
        SourcePosition::Postgres { commit, lsn, .. } => {
            open = commit.is_none();
            (stream("", Kind::CommitBefore), Place::from(commit.unwrap_or(*lsn)))
        }
        SourcePosition::Binlog { gtid: Some(gtid), .. } => (stream(&gtid.marker, Kind::Gtid), Place::from(gtid.number)),
        SourcePosition::Binlog { gtid: None, .. } => match transaction.binlog_start() {
            Some(place) => (stream("", Kind::Binlog), place),
            None => return Note::Unmarked { source: event.source.clone() },
        },
        position => match committed(position) {
            Committed::At(kind, place) => (stream("", kind), place),
            Committed::Snapshot => return Note::Nothing,
            Committed::Unknown => return Note::Unmarked { source: event.source.clone() },
        },
    };
    let mut hasher = DefaultHasher::new();
    (&record.at.topic, &record.key, &event.op_text).hash(&mut hasher);
    match &event.position {
        SourcePosition::Postgres { lsn, .. } => lsn.hash(&mut hasher),
        SourcePosition::Binlog { pos, row, .. } => (pos, row).hash(&mut hasher),
        position => format!("{position:?}").hash(&mut hasher),
    }
    Note::Event { stream, place, open, id: transaction.id, event: hasher.finish() }
}

/// Where a transaction was committed whose events all say so.
enum Committed {
    At(Kind, Place),
    Snapshot,
    Unknown,
}

fn committed(position: &SourcePosition) -> Committed {
    let (phase, kind, place) = match position {
        SourcePosition::SqlServer { commit, phase, .. } => {
            let place = commit.iter().fold(0, |place, byte| place << 8 | Place::from(*byte));
            (*phase, Kind::SqlServer, place)
        }
        SourcePosition::Oracle { commit, phase, .. } => (*phase, Kind::Number("SCN"), Place::from(*commit)),
        SourcePosition::Db2 { commit, phase, .. } => (*phase, Kind::Number("LSN"), *commit),
        SourcePosition::Informix { commit, phase, .. } => (*phase, Kind::Number("LSN"), Place::from(*commit)),
        SourcePosition::Mongo { seconds, ord, phase } => {
            (*phase, Kind::Number("cluster time"), Place::from(*seconds) << 32 | Place::from(*ord))
        }
        // The rank counts within the epoch; 96 bits hold more of them than a shard can write.
        SourcePosition::Vitess { epoch, rank, phase } if *rank >> 96 == 0 && *epoch >> 32 == 0 => {
            (*phase, Kind::Number("rank"), Place::from(*epoch) << 96 | rank)
        }
        SourcePosition::Spanner { nanos, phase, .. } => (*phase, Kind::Number("commit time"), Place::from(*nanos)),
        SourcePosition::Hlc { nanos, logical, phase } => {
            (*phase, Kind::Number("clock"), Place::from(*nanos) << 32 | Place::from(*logical))
        }
        SourcePosition::Tso(number) => (Phase::Stream, Kind::Number("TSO"), Place::from(*number)),
        SourcePosition::Lsn(lsn) => (Phase::Stream, Kind::Lsn, Place::from(*lsn)),
        _ => return Committed::Unknown,
    };
    match phase {
        Phase::Stream => Committed::At(kind, place),
        Phase::Snapshot | Phase::Resnapshot => Committed::Snapshot,
    }
}

/// Name of a transaction: PostgreSQL's is the part before the colon, because the part behind it is the event's own LSN.
#[derive(Debug, Default)]
struct Transaction {
    id: String,
}

impl Transaction {
    /// From the JSON text of `source.txId` (a number or text) or of the `transaction` block.
    fn read(raw: &str) -> Self {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(u64),
            Text(String),
            Block { id: String },
        }
        let id = match serde_json::from_str(raw) {
            Ok(Raw::Number(number)) => number.to_string(),
            Ok(Raw::Text(text) | Raw::Block { id: text }) => text,
            Err(_) => String::new(),
        };
        Self { id }
    }

    /// `file=mysql-bin.000003,pos=4711`
    fn binlog_start(&self) -> Option<Place> {
        let (file, pos) = self.id.strip_prefix("file=")?.rsplit_once(",pos=")?;
        let file: u64 = file.rsplit('.').next()?.parse().ok()?;
        Some(Place::from(file) << 64 | Place::from(pos.parse::<u64>().ok()?))
    }
}

/// An END record; anything else says nothing.
fn end_of_transaction(topic: &str, value: &[u8]) -> Note {
    #[derive(Deserialize)]
    struct Count {
        data_collection: String,
        event_count: u64,
    }
    #[derive(Deserialize)]
    struct Boundary {
        payload: Option<Box<Boundary>>,
        status: Option<String>,
        id: Option<String>,
        data_collections: Option<Vec<Count>>,
    }
    let Ok(boundary) = serde_json::from_slice::<Boundary>(value) else { return Note::Nothing };
    let boundary = match boundary.payload {
        Some(payload) => *payload,
        None => boundary,
    };
    let (Some("END"), Some(id), Some(counts)) = (boundary.status.as_deref(), boundary.id, boundary.data_collections)
    else {
        return Note::Nothing;
    };
    let source = topic.strip_suffix(TRANSACTION_TOPIC).unwrap_or(topic).to_owned();
    let counts = counts.into_iter().map(|count| (format!("{source}.{}", count.data_collection), count.event_count));
    Note::End { counts: counts.collect(), id, source }
}

#[cfg(test)]
mod tests {
    use crate::core::record::{Headers, TopicPartition};

    use super::*;

    fn note(topic: &str, value: &str) -> Note {
        let at = TopicPartition::new(topic, 0);
        let value = Some(value.as_bytes().to_vec().into());
        let record =
            Record { at, offset: 0, timestamp_ms: None, key: None, value, headers: Headers::default(), framed: None };
        Reader::default().note(&record)
    }

    fn event(connector: &str, source: &str, transaction: &str) -> Note {
        let value = format!(
            r#"{{"op":"c","after":{{"id":1}},"source":{{"connector":"{connector}","name":"s","schema":"p","table":"t",{source}}},"transaction":{transaction}}}"#
        );
        note("s.p.t", &value)
    }

    fn placed(note: Note) -> (String, Option<String>, String) {
        match note {
            Note::Event { stream, place, open, id, .. } => (stream.name(), (!open).then(|| stream.text(place)), id),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_connector_names_its_transactions() {
        let postgres = |sequence: &str| event("postgresql", &format!(r#""txId":77,"sequence":"{sequence}""#), "null");
        assert_eq!(
            placed(postgres(r#"[\"4294967297\",\"4294967400\"]"#)),
            ("postgresql s".to_owned(), Some("LSN 1/1".to_owned()), "77".to_owned())
        );
        assert_eq!(placed(postgres(r#"[null,\"9\"]"#)).1, None);
        let binlog = r#""file":"b.000002","pos":7,"row":0"#;
        let maria = event("mariadb", &format!(r#"{binlog},"gtid":"0-1-55""#), r#"{"id":"0-1-55"}"#);
        assert_eq!(
            placed(maria),
            ("mariadb s 0".to_owned(), Some("GTID domain 0, 55".to_owned()), "0-1-55".to_owned())
        );
        let mysql = event("mysql", binlog, r#"{"id":"file=b.000002,pos=4"}"#);
        assert_eq!(placed(mysql).1.as_deref(), Some("binlog file 2, position 4"));
        assert_eq!(event("mysql", binlog, "null"), Note::Unmarked { source: "mysql s".to_owned() });
        let snapshot = event("postgresql", r#""snapshot":"true","sequence":"[null,\"9\"]""#, "null");
        assert!(matches!(snapshot, Note::Snapshot { lsn: 9, .. }));
    }

    #[test]
    fn ends_of_transactions_are_read_with_and_without_a_schema() {
        let end = r#"{"status":"END","id":"7:9","event_count":3,"data_collections":[{"data_collection":"p.t","event_count":3}]}"#;
        let expected = || Note::End { source: "s".into(), id: "7:9".into(), counts: vec![("s.p.t".into(), 3)] };
        assert_eq!(note("s.transaction", end), expected());
        assert_eq!(note("s.transaction", &format!(r#"{{"schema":null,"payload":{end}}}"#)), expected());
        let begin = r#"{"status":"BEGIN","id":"7:9","event_count":null,"data_collections":null}"#;
        assert_eq!(note("s.transaction", begin), Note::Nothing);
    }
}
