//! From a change's position to its order token: the table of tokens by connector.
//!
//! | source | position of the commit | position inside |
//! |---|---|---|
//! | PostgreSQL | max(`sequence[0]` if there, `sequence[1]`, snapshot floor of the partition) | `sequence[1]` |
//! | MariaDB | number of the GTID, without one binlog file (4) and `pos` (4) | `pos`, `row` |
//! | MySQL | the same | `pos`, 0; of the stream also Kafka partition and offset |
//! | MySQL, MariaDB snapshot row without GTID | greatest number of the partition's stream, 0 where there was none | number of the binlog file, `pos` |
//! | record form | the LSN | Kafka partition and offset |
//! | `order_by` columns | their values, order-preserving | Kafka partition and offset |
//! | Kafka offset | the offset | – |
//!
//! # Why the PostgreSQL rule is right
//!
//! A change lies before its own commit, and every later transaction's `sequence[0]` is at or after that commit; inside a
//! transaction the position grows with `sequence[1]`. The first transaction after a snapshot has a null `sequence[0]` and may
//! hold positions below the snapshot's (it was open while the slot was made): the floor, the greatest position of such
//! snapshot rows before it in its own partition, lifts it above them. A key's snapshot row lies in the key's partition, so
//! the floor of the own partition is enough, and it is a function of the log alone: a replay builds the same tokens.
//!
//! # Why `row` in MariaDB, and the Kafka position in MySQL
//!
//! All rows of a binlog event have one `pos`, and one event may delete and make the same key: `update t set id = id + 1 order
//! by id desc` is d(2), c(3), d(1), c(2) (capture `key_swap`). In MariaDB the row's number in its event tells them apart. In MySQL it
//! starts again inside compressed transactions; there the offset decides, because a key's changes lie in one partition.

use super::epoch::FIRST_EPOCH;
use super::event::{Place, SourcePosition};
use super::ledger::Ledger;
use super::record::TopicPartition;
use super::token::{Phase, Token, TokenWriter};
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
        (OrderPolicy::Source, SourcePosition::Lsn(_)) => format!("record {}", at.topic),
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
        let writer = TokenWriter::new(scope, FIRST_EPOCH);
        return Some(writer.number(offset as u64).phase(Phase::Stream).finish());
    }
    let writer = TokenWriter::new(scope, ledger.epoch(position, offset));
    let token = match position {
        SourcePosition::Postgres { commit, lsn, phase } => {
            let commit = commit.unwrap_or(0).max(*lsn).max(ledger.floor(offset));
            writer.number(commit).phase(*phase).number(*lsn)
        }
        SourcePosition::Binlog { pos, row, phase: Phase::Stream, .. } => {
            let Place::Numbered { number, .. } = position.place() else { return None };
            let token = writer.number(number).phase(Phase::Stream).number(*pos).number(row.unwrap_or(0));
            if row.is_some() { token } else { token.kafka(at.partition, offset) }
        }
        SourcePosition::Binlog { gtid: Some(gtid), pos, .. } => {
            writer.number(gtid.number).phase(Phase::Snapshot).number(*pos).number(0)
        }
        SourcePosition::Binlog { gtid: None, file, pos, .. } => {
            let writer = match ledger.binlog_floor(offset) {
                Some(number) => writer.number(number).phase(Phase::Resnapshot),
                None => writer.number(0).phase(Phase::Snapshot),
            };
            writer.number(*file).number(*pos)
        }
        SourcePosition::Lsn(lsn) => writer.number(*lsn).phase(Phase::Stream).kafka(at.partition, offset),
        SourcePosition::None => return None,
    };
    Some(token.finish())
}

/// Bytes of the order values in a token of `order_by` columns.
pub const ORDER_VALUE_BYTES: usize = 8;
/// Most columns that fit into a token beside its other parts.
pub const ORDER_COLUMNS_MAX: usize = 3;
const ORDER_PREFIX: usize = 7;

/// The token of an upsert that is ordered by columns; `None` if a value is NULL or of a type without an order of 8 bytes.
pub fn column_token(scope: u16, values: &[&Value], at: &TopicPartition, offset: i64) -> Option<Token> {
    let mut writer = TokenWriter::new(scope, FIRST_EPOCH);
    for value in values {
        writer = writer.number(ordered(value)?);
    }
    Some(writer.phase(Phase::Stream).kafka(at.partition, offset).finish())
}

/// The token of a delete under `order_by`: it carries no value of its own, so it takes the stored one's and wins over it by
/// its Kafka position. Without a stored one the order values are zero.
pub fn delete_token(scope: u16, stored: Option<&Token>, columns: usize, at: &TopicPartition, offset: i64) -> Token {
    let mut writer = TokenWriter::new(scope, FIRST_EPOCH);
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
        let Meeting::Ask(question) = ledger.meet(&at(), &incarnation, 0, &snapshot) else { panic!("a new fact") };
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
                    if let Meeting::Ask(question) = ledger.meet(&at(), &Arc::from("-"), offset, position) {
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
