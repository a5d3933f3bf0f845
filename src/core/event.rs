//! A change event: what a record says once its wire form is known.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::token::Phase;
use super::wire::Field;

/// What an event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The row is as given: create, update, or read by a snapshot.
    Upsert,
    /// The row is gone.
    Delete,
    /// All rows are gone.
    Truncate,
}

/// A table as the source names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceTable {
    /// Its schema, or its database where the source has no schemas.
    pub schema: Option<String>,
    /// Its name.
    pub table: String,
    /// Its database (Vitess: keyspace), where the form says it.
    pub database: Option<String>,
    /// Logical name of the source (the connector's `topic.prefix`), where the form says it.
    pub server: Option<String>,
}

impl SourceTable {
    /// A table of which schema and name are known.
    pub fn new(schema: Option<&str>, table: &str) -> Self {
        Self { schema: schema.map(str::to_owned), table: table.to_owned(), ..Self::default() }
    }

    /// A table of a source that has databases and no schemas.
    pub fn in_database(database: &str, table: &str) -> Self {
        Self { database: Some(database.to_owned()), ..Self::new(Some(database), table) }
    }
}

impl fmt::Display for SourceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.table),
            None => f.write_str(&self.table),
        }
    }
}

/// Fields of a row or a key, in their order on the wire. Compared by `id`, which is new for every new list of fields in
/// this process.
#[derive(Debug)]
pub struct RowSchema {
    /// Number of this list of fields.
    pub id: u64,
    /// The fields.
    pub fields: Vec<Field>,
    /// Which cell of the row each field is, where only some are selected.
    places: Option<Vec<usize>>,
}

impl RowSchema {
    /// All fields of a row.
    pub fn new(id: u64, fields: Vec<Field>) -> Self {
        Self { id, fields, places: None }
    }

    /// Some fields of a row, perhaps under other names, each with its cell.
    pub fn selected(id: u64, fields: Vec<Field>, places: Vec<usize>) -> Self {
        Self { id, fields, places: Some(places) }
    }

    /// The fields, each with the index of its cell in the row.
    pub fn placed(&self) -> impl Iterator<Item = (usize, &Field)> {
        let place = |at| self.places.as_ref().and_then(|places| places.get(at).copied()).unwrap_or(at);
        self.fields.iter().enumerate().map(move |(at, field)| (place(at), field))
    }

    /// Index of a field by name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }
}

/// A row on the wire: one cell per field of its schema, each the JSON text of its value.
#[derive(Clone, Debug)]
pub struct RawRow<'a> {
    /// Its fields.
    pub schema: Arc<RowSchema>,
    /// Its cells, as many as fields.
    pub cells: Vec<&'a RawValue>,
}

/// Where a change lies in its source's log. What each part means and which of them order: [`super::order`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourcePosition {
    /// PostgreSQL connector: `source.sequence`.
    Postgres {
        /// End of the last commit before it (`sequence[0]`).
        commit: Option<u64>,
        /// Its own position (`sequence[1]`).
        lsn: u64,
        /// Snapshot or stream.
        phase: Phase,
    },
    /// MySQL and MariaDB connectors, Maxwell, Canal.
    Binlog {
        /// The transaction's GTID, if there is one.
        gtid: Option<Gtid>,
        /// Number of the binlog file; 0 where only the GTID is known (Canal).
        file: u64,
        /// Position in it; 0 where only the GTID is known.
        pos: u64,
        /// Row inside the event at that position; `None` where it is not known or (MySQL) starts again inside compressed
        /// transactions.
        row: Option<u64>,
        /// Snapshot or stream.
        phase: Phase,
    },
    /// SQL Server connector.
    SqlServer {
        /// `commit_lsn`.
        commit: [u8; 10],
        /// `change_lsn`; zero for snapshot rows, which have none.
        change: [u8; 10],
        /// `event_serial_no`; zero where it is missing.
        serial: u32,
        /// Snapshot or stream.
        phase: Phase,
    },
    /// Oracle connector.
    Oracle {
        /// `commit_scn`; the `scn` of the snapshot for its rows.
        commit: u64,
        /// `scn` of the change, 0 where the adapter does not tell it.
        scn: u64,
        /// Snapshot or stream.
        phase: Phase,
    },
    /// Db2 connector.
    Db2 {
        /// `commit_lsn`, at most 16 bytes.
        commit: u128,
        /// `change_lsn`; zero for snapshot rows, which have none.
        change: u128,
        /// Snapshot or stream.
        phase: Phase,
    },
    /// Informix connector.
    Informix {
        /// `commit_lsn`.
        commit: u64,
        /// `change_lsn`; zero for snapshot rows.
        change: u64,
        /// Snapshot or stream.
        phase: Phase,
    },
    /// MongoDB connector up to 3.3: the cluster time.
    Mongo {
        /// Its seconds since 1970.
        seconds: u32,
        /// Its counter inside the second.
        ord: u32,
        /// Snapshot or stream.
        phase: Phase,
    },
    /// Vitess connector with ordered transaction metadata.
    Vitess {
        /// `transaction_epoch`.
        epoch: u64,
        /// `transaction_rank`.
        rank: u128,
        /// Snapshot or stream.
        phase: Phase,
    },
    /// Spanner connector.
    Spanner {
        /// Commit time in nanoseconds since 1970.
        nanos: u64,
        /// Number of the record in its transaction.
        sequence: u64,
        /// Number of the change in its record.
        item: u32,
        /// Snapshot or stream.
        phase: Phase,
    },
    /// CockroachDB's hybrid clock.
    Hlc {
        /// Nanoseconds since 1970.
        nanos: u64,
        /// Counter inside the nanosecond.
        logical: u32,
        /// Snapshot or stream.
        phase: Phase,
    },
    /// TiCDC: the commit's timestamp (TSO).
    Tso(u64),
    /// GoldenGate: the position in the trail.
    Trail(u128),
    /// The record form's LSN text.
    Lsn(u64),
    /// The event carries none that orders; why not, and what would give it one.
    None(&'static str),
}

impl SourcePosition {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None(_))
    }

    /// What it is, as `check` names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Postgres { .. } => "PostgreSQL log position",
            Self::Binlog { gtid: Some(_), .. } => "GTID",
            Self::Binlog { .. } => "binlog position",
            Self::SqlServer { .. } => "SQL Server LSN",
            Self::Oracle { .. } => "Oracle SCN",
            Self::Db2 { .. } => "Db2 LSN",
            Self::Informix { .. } => "Informix LSN",
            Self::Mongo { .. } => "MongoDB cluster time",
            Self::Vitess { .. } => "Vitess epoch and rank",
            Self::Spanner { .. } => "Spanner commit time",
            Self::Hlc { .. } => "CockroachDB hybrid clock",
            Self::Tso(_) => "TiDB commit timestamp",
            Self::Trail(_) => "GoldenGate trail position",
            Self::Lsn(_) => "LSN",
            Self::None(_) => "",
        }
    }
}

/// What a position says about the sequence of numbers in which it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'p> {
    /// At this number of a sequence. Sequences are told apart by their marker; it is empty where the source has only one.
    Numbered {
        /// GTID uuid and tag, GTID domain, [`NO_GTID`], or empty.
        marker: &'p str,
        /// The number; it never falls in the stream of one source.
        number: u64,
    },
    /// A row of a snapshot that was taken at this number of the source's only sequence.
    Snapshot {
        /// The number.
        number: u64,
    },
    /// A row of a snapshot whose position is in no sequence of the stream: a binlog source's without GTID.
    Apart,
    /// Nothing that could tell epochs apart; only an operator opens them.
    Unknown,
}

/// Marker of a binlog stream without GTIDs.
pub const NO_GTID: &str = "binlog";

impl SourcePosition {
    /// Marker and number, for source epochs and the regression alarm. A connector that only ever returns
    /// [`Place::Unknown`] has neither by itself.
    pub fn place(&self) -> Place<'_> {
        match self {
            Self::Postgres { commit, lsn, phase: Phase::Stream } => {
                Place::Numbered { marker: "", number: commit.unwrap_or(0).max(*lsn) }
            }
            Self::Postgres { commit: None, lsn, .. } => Place::Snapshot { number: *lsn },
            Self::Binlog { gtid: Some(gtid), .. } => Place::Numbered { marker: &gtid.marker, number: gtid.number },
            Self::Binlog { gtid: None, file, pos, phase: Phase::Stream, .. } => {
                Place::Numbered { marker: NO_GTID, number: binlog_number(*file, *pos) }
            }
            Self::Binlog { gtid: None, .. } => Place::Apart,
            // Streams in the order of their commits, so that a lower one is noticed. Their snapshots are not told apart.
            Self::SqlServer { commit: [a, b, c, d, e, f, g, h, ..], phase: Phase::Stream, .. } => {
                Place::Numbered { marker: "", number: u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) }
            }
            Self::Oracle { commit: number, phase: Phase::Stream, .. }
            | Self::Informix { commit: number, phase: Phase::Stream, .. }
            | Self::Spanner { nanos: number, phase: Phase::Stream, .. }
            | Self::Hlc { nanos: number, phase: Phase::Stream, .. }
            | Self::Tso(number) => Place::Numbered { marker: "", number: *number },
            Self::Mongo { seconds, ord, phase: Phase::Stream } => {
                Place::Numbered { marker: "", number: u64::from(*seconds) << 32 | u64::from(*ord) }
            }
            Self::Db2 { commit, phase: Phase::Stream, .. } => {
                Place::Numbered { marker: "", number: u64::try_from(*commit).unwrap_or(u64::MAX) }
            }
            _ => Place::Unknown,
        }
    }

    /// Whether it was read from the log, not by a snapshot.
    pub fn is_streamed(&self) -> bool {
        match self {
            Self::Postgres { phase, .. }
            | Self::Binlog { phase, .. }
            | Self::SqlServer { phase, .. }
            | Self::Oracle { phase, .. }
            | Self::Db2 { phase, .. }
            | Self::Informix { phase, .. }
            | Self::Mongo { phase, .. }
            | Self::Vitess { phase, .. }
            | Self::Spanner { phase, .. }
            | Self::Hlc { phase, .. } => *phase == Phase::Stream,
            Self::Tso(_) | Self::Trail(_) | Self::Lsn(_) => true,
            Self::None(_) => false,
        }
    }
}

/// File and position in one number. A binlog file of more than 4 GiB (one huge transaction) has its rest at one number; there the
/// position inside decides.
pub(super) fn binlog_number(file: u64, pos: u64) -> u64 {
    let low = u64::from(u32::MAX);
    (file.min(low) << 32) | pos.min(low)
}

/// A global transaction id: numbers of one marker are ordered, numbers of two markers are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gtid {
    /// Source uuid with its tag (MySQL), or domain (MariaDB).
    pub marker: String,
    /// Number in the marker's sequence.
    pub number: u64,
}

/// A change event whose rows are still JSON text inside the record.
#[derive(Debug)]
pub struct RawEvent<'a> {
    /// What it does.
    pub op: Op,
    /// The operation as the source wrote it (`c`, `u`, `r`, `d`, `t`, …), for change logs.
    pub op_text: Cow<'a, str>,
    /// Which table.
    pub table: SourceTable,
    /// Connector and logical name of the source: what its positions are compared within.
    pub source: String,
    /// Position in the source.
    pub position: SourcePosition,
    /// The last row of its table in a snapshot.
    pub ends_snapshot: bool,
    /// Source time in milliseconds since 1970.
    pub source_time_ms: Option<i64>,
    /// What names its source transaction, as JSON text: `source.txId`, else the `transaction` block.
    pub transaction: Option<&'a str>,
    /// The record's key.
    pub key: Option<RawRow<'a>>,
    /// The row before; of a delete only its key columns are sure to be real.
    pub before: Option<RawRow<'a>>,
    /// The row after.
    pub after: Option<RawRow<'a>>,
}

/// What a record turned out to be. Nearly every one is a change, so a box would cost more than the space it saves.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Decoded<'a> {
    /// A change.
    Change(RawEvent<'a>),
    /// Several changes, at least two, in their order: rows of one message, or a key that moved.
    Changes(Vec<RawEvent<'a>>),
    /// A record without a value.
    Null,
    /// A record that carries no change.
    Control(Control),
}

/// Records that carry no change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Heartbeat topic.
    Heartbeat,
    /// Transaction topic.
    Transaction,
    /// Schema change topic.
    SchemaChange,
    /// Logical decoding message, or an operation that changes no row.
    Message,
}

/// Why a record or a table cannot be applied: a stable code and a text without values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Stable code.
    pub reason: &'static str,
    /// What is wrong and where.
    pub detail: String,
    /// It is not this record alone: every record of the table would meet it, so the partition stops there until someone
    /// changes the configuration or the table, and nothing is put aside.
    pub stops_table: bool,
    /// It is put aside whatever `bad_record` says: that was chosen for the column.
    pub is_set_aside: bool,
    /// The column that cannot hold a value, if that is all that is wrong: it may be wider by now.
    pub misfit: Option<String>,
}

impl Rejection {
    /// A record that cannot be applied.
    pub fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), stops_table: false, is_set_aside: false, misfit: None }
    }

    /// A record with a value that a column cannot hold.
    pub fn misfit(column: &str, detail: impl Into<String>) -> Self {
        Self { misfit: Some(column.to_owned()), ..Self::new("does_not_fit", detail) }
    }

    /// A table that cannot be applied.
    pub fn table(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { stops_table: true, ..Self::new(reason, detail) }
    }

    /// Whether the record is put aside, where `quarantines` says what becomes of others.
    pub fn puts_aside(&self, quarantines: bool) -> bool {
        !self.stops_table && (quarantines || self.is_set_aside)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}
