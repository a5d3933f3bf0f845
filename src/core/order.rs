//! From a change's position to its order token: the table of tokens by connector.
//!
//! Every token begins with format(1), scope(2) and source epoch(4); in brackets the bytes of the other parts. *Kafka* is
//! partition(4) and offset(8). The phase(1) lies between the two parts. *Scope*: what positions are compared within.
//!
//! | source | position of the commit | position inside | scope | equal positions of a key |
//! |---|---|---|---|---|
//! | PostgreSQL | max(`sequence[0]` if there, `sequence[1]`, snapshot floor of the partition) (8) | `sequence[1]` (8) | connector | none seen |
//! | MariaDB | number of the GTID (8), without one binlog file (4) and `pos` (4) | `pos` (8), `row` (8) | connector | none |
//! | MySQL | the same | `pos` (8), 0 (8), of the stream Kafka | connector | Kafka |
//! | both, snapshot row without GTID | greatest number of the partition's stream, 0 where there was none (8) | number of the binlog file (8), `pos` (8) | connector | – |
//! | SQL Server | `commit_lsn` (10) | `change_lsn` (10), `event_serial_no` (4), Kafka | connector and database | Kafka |
//! | Oracle | `commit_scn` (8) | `scn` (8), Kafka | connector | Kafka |
//! | Db2 | `commit_lsn` (16) | `change_lsn` (16), offset (8) | connector and database | offset |
//! | Informix | `commit_lsn` (8) | `change_lsn` (8), Kafka | connector and database | Kafka |
//! | MongoDB up to 3.3 | cluster time: seconds (4), `ord` (4) | Kafka | connector | Kafka |
//! | Vitess, ordered metadata | `transaction_epoch` (8), `transaction_rank` (16) | Kafka | connector, keyspace and shard | Kafka |
//! | Spanner | commit time, ns (8) | `sequence` (8), `mod_number` (4), Kafka | connector | Kafka |
//! | CockroachDB: connector, changefeed | hybrid clock: ns (8), logical (4) | Kafka | connector, topic of the feed | Kafka |
//! | TiCDC | `commitTs` (8) | Kafka | topic | Kafka |
//! | Maxwell | number of the GTID (8), else binlog file (4) and `pos` (4) | `pos` (8), `xoffset` (8), without one Kafka | topic | Kafka |
//! | Canal | number of the GTID (8) | 0 (8), 0 (8), Kafka | topic | Kafka |
//! | GoldenGate | `pos` of the trail (16) | Kafka | topic (one trail) | Kafka |
//! | record form | the LSN (8) | Kafka | topic | Kafka |
//! | `order_by` columns | their values, order-preserving (8 each) | Kafka | destination table | Kafka |
//! | Kafka offset | the offset (8) | – | partition of one incarnation of the topic | none |
//!
//! What carries none of these (a flattened row with a bare `lsn`, MongoDB from 3.4 on, Maxwell and Canal without their GTID or
//! position, AWS DMS, Vitess without ordered metadata) is ordered by columns or, if the configuration says so, by the Kafka offset
//! ([`SourcePosition::None`] says why); what promises a position and has a malformed one is refused as `missing_position`.
//!
//! # Why the PostgreSQL rule is right
//!
//! A change lies before its own commit, and every later transaction's `sequence[0]` is at or after that commit; inside a
//! transaction the position grows with `sequence[1]`. The first transaction after a snapshot has a null `sequence[0]` and may
//! hold positions below the snapshot's (it was open while the slot was made): the floor, the greatest position of such
//! snapshot rows before it in its own partition, lifts it above them. A key's snapshot row lies in the key's partition, so
//! the floor of the own partition is enough, and it is a function of the log alone: a replay builds the same tokens.
//!
//! It rests on one thing that was seen and is not promised: a transaction that comes again, whole or from its middle, has the
//! `sequence[0]` that it had before (or, inside the first one, its last position instead of null). An older one for a transaction of which
//! a part had come before would let that part win over the rest.
//!
//! # Why `row` in MariaDB, and the Kafka position in MySQL
//!
//! All rows of a binlog event have one `pos`, and one event may delete and make the same key: `update t set id = id + 1 order
//! by id desc` is d(2), c(3), d(1), c(2) (capture `key_swap`). In MariaDB the row's number in its event tells them apart. In MySQL it
//! starts again inside compressed transactions; there the offset decides, because a key's changes lie in one partition.
//!
//! # Why the Kafka position elsewhere
//!
//! All events of a MongoDB, Vitess, TiDB or CockroachDB transaction have one position. Two Oracle transactions may commit with
//! one SCN, and the index of an event in its transaction (`txSeq`) says nothing about two of them, so it is not asked: of one
//! row, the later transaction's change has the greater SCN or an equal one, and then the offset decides. SQL Server's serial
//! number and Db2's change LSN are documented as unique, but old connectors leave the former out. A source that sends a tie again
//! after a restart sends the rest of it too, so the key ends with its last change; between, it may show an older one.
//! An SCN has 6 bytes, since Oracle 12.2 8.
//!
//! Never in a token: a timestamp of a source block (but for Spanner's, which is the commit itself), nor
//! `transaction.total_order`, which starts again at 1 when a connector resumes inside a transaction (seen).

use super::epoch::FIRST_EPOCH;
use super::event::{Place, SourcePosition};
use super::guard::{Guard, stands};
use super::ledger::Ledger;
use super::record::TopicPartition;
use super::token::{Layout, Phase, Token, TokenWriter};
use super::value::Value;

/// What orders the changes of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderPolicy {
    /// The position in the source.
    Source,
    /// Columns that the user chose: indices into the mapping's columns.
    Columns(Vec<usize>),
    /// The Kafka offset, as named fallback.
    Offset,
}

/// What a position is compared within; ids are handed out for these texts by the destination and never change.
pub fn scope_description(
    policy: &OrderPolicy,
    source: &str,
    position: &SourcePosition,
    table: &str,
    at: &TopicPartition,
    incarnation: &str,
) -> String {
    match (policy, position) {
        (OrderPolicy::Offset, _) => format!("offset {} {incarnation} {}", at.topic, at.partition),
        (OrderPolicy::Columns(_), _) => format!("order_by {table}"),
        (OrderPolicy::Source, _) => source.to_owned(),
    }
}

/// The token of a change that is ordered by its source or by its offset; `None` if the event carries no position.
pub fn token(
    policy: &OrderPolicy,
    scope: u16,
    position: &SourcePosition,
    ledger: &Ledger,
    at: &TopicPartition,
    offset: i64,
) -> Option<Token> {
    if *policy == OrderPolicy::Offset {
        let writer = TokenWriter::with(Layout::Offset, scope, FIRST_EPOCH);
        return Some(writer.number(offset as u64).phase(Phase::Stream).finish());
    }
    let begin = |layout| TokenWriter::with(layout, scope, ledger.epoch(position, offset));
    let kafka = |writer: TokenWriter| writer.kafka(at.partition, offset);
    let token = match position {
        SourcePosition::Postgres { commit, lsn, phase } => {
            let floor = if stands(Guard::SnapshotFloor) { ledger.floor(offset) } else { 0 };
            let commit = commit.unwrap_or(0).max(*lsn).max(floor);
            begin(Layout::Postgres).number(commit).phase(*phase).number(*lsn)
        }
        SourcePosition::Binlog { pos, row, phase: Phase::Stream, .. } => {
            let Place::Numbered { number, .. } = position.place() else { return None };
            let token = begin(Layout::Binlog).number(number).phase(Phase::Stream).number(*pos).number(row.unwrap_or(0));
            if row.is_some() { token } else { kafka(token) }
        }
        SourcePosition::Binlog { gtid: Some(gtid), pos, .. } => {
            begin(Layout::Binlog).number(gtid.number).phase(Phase::Snapshot).number(*pos).number(0)
        }
        SourcePosition::Binlog { gtid: None, file, pos, .. } => {
            let token = match ledger.binlog_floor(offset) {
                Some(number) => begin(Layout::Binlog).number(number).phase(Phase::Resnapshot),
                None => begin(Layout::Binlog).number(0).phase(Phase::Snapshot),
            };
            token.number(*file).number(*pos)
        }
        SourcePosition::SqlServer { commit, change, serial, phase } => {
            kafka(begin(Layout::SqlServer).bytes(commit).phase(*phase).bytes(change).short(*serial))
        }
        SourcePosition::Oracle { commit, scn, phase } => {
            kafka(begin(Layout::Oracle).number(*commit).phase(*phase).number(*scn))
        }
        SourcePosition::Db2 { commit, change, phase } => {
            // Two times 16 bytes leave room for the offset alone.
            begin(Layout::Db2).long(*commit).phase(*phase).long(*change).number(offset as u64)
        }
        SourcePosition::Informix { commit, change, phase } => {
            kafka(begin(Layout::Informix).number(*commit).phase(*phase).number(*change))
        }
        SourcePosition::Mongo { seconds, ord, phase } => {
            kafka(begin(Layout::Mongo).short(*seconds).short(*ord).phase(*phase))
        }
        SourcePosition::Vitess { epoch, rank, phase } => {
            kafka(begin(Layout::Vitess).number(*epoch).long(*rank).phase(*phase))
        }
        SourcePosition::Spanner { nanos, sequence, item, phase } => {
            kafka(begin(Layout::Spanner).number(*nanos).phase(*phase).number(*sequence).short(*item))
        }
        SourcePosition::Hlc { nanos, logical, phase } => {
            kafka(begin(Layout::Hlc).number(*nanos).short(*logical).phase(*phase))
        }
        SourcePosition::Tso(commit) => kafka(begin(Layout::Tso).number(*commit).phase(Phase::Stream)),
        SourcePosition::Trail(position) => kafka(begin(Layout::Trail).long(*position).phase(Phase::Stream)),
        SourcePosition::Lsn(lsn) => kafka(begin(Layout::Lsn).number(*lsn).phase(Phase::Stream)),
        SourcePosition::None(_) => return None,
    };
    Some(token.finish())
}

/// The token of a finished initial snapshot as a whole, if its end can be told from the row that says so: below all its rows, above
/// everything that its source had committed before. Only PostgreSQL's has one position for all rows; in MySQL and
/// MariaDB a row's position is its partition's own.
pub fn snapshot_token(scope: u16, position: &SourcePosition, ledger: &Ledger, offset: i64) -> Option<(Token, u64)> {
    let SourcePosition::Postgres { commit: None, lsn, phase: Phase::Snapshot } = position else { return None };
    let writer = TokenWriter::with(Layout::Postgres, scope, ledger.epoch(position, offset));
    let commit = (*lsn).max(ledger.floor(offset));
    Some((writer.number(commit).phase(Phase::Snapshot).number(0).finish(), *lsn))
}

/// Bytes of the order values in a token of `order_by` columns.
pub const ORDER_VALUE_BYTES: usize = 8;
/// Most columns that fit into a token beside its other parts.
pub const ORDER_COLUMNS_MAX: usize = 3;
const ORDER_PREFIX: usize = 7;

/// The token of an upsert that is ordered by columns; `None` if a value is NULL or of a type without an order of 8 bytes.
pub fn column_token(scope: u16, values: &[&Value], at: &TopicPartition, offset: i64) -> Option<Token> {
    let mut writer = TokenWriter::with(Layout::Columns, scope, FIRST_EPOCH);
    for value in values {
        writer = writer.number(ordered(value)?);
    }
    Some(writer.phase(Phase::Stream).kafka(at.partition, offset).finish())
}

/// The token of a delete under `order_by`: it carries no value of its own, so it takes the stored one's and wins over it by
/// its Kafka position. Without a stored one the order values are zero.
pub fn delete_token(scope: u16, stored: Option<&Token>, columns: usize, at: &TopicPartition, offset: i64) -> Token {
    let mut writer = TokenWriter::with(Layout::Columns, scope, FIRST_EPOCH);
    let order = ORDER_PREFIX..ORDER_PREFIX + columns * ORDER_VALUE_BYTES;
    match stored.and_then(|token| token.as_bytes().get(order)) {
        Some(values) => writer = writer.bytes(values),
        None => writer = (0..columns).fold(writer, |writer, _| writer.number(0)),
    }
    writer.phase(Phase::Stream).kafka(at.partition, offset).finish()
}

/// Eight bytes whose order is the value's.
fn ordered(value: &Value) -> Option<u64> {
    let signed = |number: i64| (number as u64) ^ (1 << 63);
    Some(match value {
        Value::Int(number) | Value::Timestamp(number) | Value::TimestampTz(number) | Value::Time(number) => {
            signed(*number)
        }
        Value::Date(days) => signed(i64::from(*days)),
        Value::Bool(truth) => signed(i64::from(*truth)),
        Value::Float64(number) if !number.is_nan() => {
            let bits = (*number + 0.0).to_bits();
            if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod histories;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::epoch::{Settled, settle};
    use super::super::ledger::Meeting;
    use super::*;

    fn at() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    fn postgres(commit: Option<u64>, lsn: u64, phase: Phase) -> SourcePosition {
        SourcePosition::Postgres { commit, lsn, phase }
    }

    /// Invariant 2 on the capture `snapshot_with_open_tx`: the first streamed transaction has positions below the
    /// snapshot's and must win over it all the same.
    #[test]
    fn a_transaction_open_during_the_snapshot_beats_the_snapshot() {
        let mut ledger = Ledger::default();
        let incarnation = Arc::from("-");
        let snapshot = postgres(None, 2_173_432_856, Phase::Snapshot);
        let Meeting::Ask(question) = ledger.meet(&at(), &incarnation, 0, &snapshot, None) else { panic!("a new fact") };
        let Ok(Settled::New(row)) = settle(&[], &question) else { panic!("it is settled") };
        assert_eq!((row.marker.as_str(), row.ordinal), ("snapshot 2173432856", 1));
        ledger.add(row);
        let token = |position: &SourcePosition, offset| {
            token(&OrderPolicy::Source, 1, position, &ledger, &at(), offset).expect("token")
        };
        let row = token(&snapshot, 0);
        let open = token(&postgres(None, 2_173_432_112, Phase::Stream), 1);
        let open_later = token(&postgres(None, 2_173_433_424, Phase::Stream), 2);
        let next = token(&postgres(Some(2_173_433_576), 2_173_433_656, Phase::Stream), 3);
        assert!(row < open && open < open_later && open_later < next);
    }

    /// Invariant 7: tokens are a function of the log; a replay that knows later facts builds the same ones.
    #[test]
    fn a_replay_builds_the_same_tokens() {
        let history = [
            postgres(None, 100, Phase::Snapshot),
            postgres(None, 90, Phase::Stream),
            postgres(Some(120), 130, Phase::Stream),
            postgres(None, 300, Phase::Snapshot),
            postgres(None, 290, Phase::Stream),
        ];
        let run = |ledger: &mut Ledger| -> Vec<Token> {
            (0..)
                .zip(&history)
                .map(|(offset, position)| {
                    if let Meeting::Ask(question) = ledger.meet(&at(), &Arc::from("-"), offset, position, None) {
                        let Ok(Settled::New(row)) = settle(&[], &question) else { panic!("it is settled") };
                        ledger.add(row);
                    }
                    token(&OrderPolicy::Source, 1, position, ledger, &at(), offset).expect("token")
                })
                .collect()
        };
        let mut ledger = Ledger::default();
        let first = run(&mut ledger);
        assert_eq!(first, run(&mut ledger));
        assert!(first.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn binlog_positions_rise_over_files_and_snapshots_lose() {
        let token = |gtid: Option<u64>, file, pos, phase| {
            let gtid = gtid.map(|number| crate::core::event::Gtid { marker: "0".into(), number });
            let position = SourcePosition::Binlog { gtid, file, pos, row: Some(0), phase };
            token(&OrderPolicy::Source, 1, &position, &Ledger::default(), &at(), 0).expect("token")
        };
        assert!(token(None, 2, 99, Phase::Snapshot) < token(Some(1), 1, 4, Phase::Stream));
        assert!(token(None, 9, 99, Phase::Snapshot) < token(None, 10, 4, Phase::Snapshot));
        assert!(token(None, 999_999, 9, Phase::Stream) < token(None, 1_000_000, 4, Phase::Stream));
        assert!(token(Some(9), 1, 99, Phase::Stream) < token(Some(10), 1, 4, Phase::Stream));
        assert!(token(Some(9), 1, 99, Phase::Snapshot) < token(Some(9), 1, 4, Phase::Stream));
    }

    /// Invariant 2: one binlog event deletes a key and makes it again; its rows have one position.
    #[test]
    fn rows_of_one_binlog_event_are_ordered_by_their_offsets() {
        for gtid in [Some(crate::core::event::Gtid { marker: "0".into(), number: 7 }), None] {
            let position = SourcePosition::Binlog { gtid, file: 3, pos: 400, row: None, phase: Phase::Stream };
            let token =
                |offset| token(&OrderPolicy::Source, 1, &position, &Ledger::default(), &at(), offset).expect("token");
            let (delete, create) = (token(10), token(13));
            assert!(delete < create);
        }
    }

    #[test]
    fn rows_of_one_event_are_ordered() {
        let token = |pos, row| {
            let gtid = Some(crate::core::event::Gtid { marker: "0".into(), number: 1 });
            let position = SourcePosition::Binlog { gtid, file: 1, pos, row: Some(row), phase: Phase::Stream };
            token(&OrderPolicy::Source, 1, &position, &Ledger::default(), &at(), 0).expect("token")
        };
        assert!(token(4, 1) < token(4, 2) && token(4, 2) < token(5, 0));
    }

    #[test]
    fn order_by_values_keep_their_order_and_a_delete_beats_the_stored_row() {
        let token = |value: Value, offset| column_token(1, &[&value], &at(), offset).expect("token");
        assert!(token(Value::Int(-5), 9) < token(Value::Int(3), 0));
        assert!(token(Value::Float64(-1.5), 0) < token(Value::Float64(-0.5), 0));
        assert!(token(Value::Float64(-0.0), 0) < token(Value::Float64(0.0), 1));
        assert!(token(Value::Int(3), 1) < token(Value::Int(3), 2));
        assert!(column_token(1, &[&Value::Null], &at(), 0).is_none());
        let stored = token(Value::Int(7), 4);
        let delete = delete_token(1, Some(&stored), 1, &at(), 5);
        assert!(delete > stored && delete < token(Value::Int(8), 0));
        assert!(delete_token(1, None, 1, &at(), 5) < stored);
    }
}
