//! Records of every form: from their bytes to an event, its token and the values of its row.

use std::fmt::Write;
use std::sync::LazyLock;

use bytes::Bytes;

use super::{bounded, fuzz};
use crate::core::decode::{CellRules, Form, KeyFormat, Opened, TopicDecoder, TopicRules, row_json};
use crate::core::event::{Decoded, RawEvent, RawRow, Rejection};
use crate::core::ledger::Ledger;
use crate::core::order::{OrderPolicy, scope_description, token};
use crate::core::reason::reason;
use crate::core::record::{Headers, Record, TopicPartition};
use crate::core::token::{Token, text::describe};
use crate::support::captures::{self, Captured};
use crate::support::mutate::{self, Tape};

/// Real records: of each capture that is not packed the first of each shape, and one of each other product.
static REAL: LazyLock<Vec<Captured>> = LazyLock::new(|| {
    let mut real = captures::read(&captures::folder().join("../hostile_suite/corpus/forms.jsonl"));
    for connector in ["postgresql", "mariadb"] {
        for form in ["json-plain", "flat", "json-schemas", "json-schemas-text-modes"] {
            let wanted = ["all_types", "edge_values", "key_update", "truncate", "transaction_topic", "native_types"];
            for scenario in wanted {
                let Some(path) = captures::file(connector, form, scenario) else { continue };
                let mut records = captures::read(&path);
                records.truncate(12);
                real.extend(records);
            }
        }
    }
    real
});

const FORMS: [Form; 10] = [
    Form::Debezium,
    Form::CloudEvents,
    Form::Flat,
    Form::Record,
    Form::Maxwell,
    Form::Canal,
    Form::Ticdc,
    Form::GoldenGate,
    Form::Cockroach,
    Form::Dms,
];

const KEY_FORMATS: [KeyFormat; 4] = [KeyFormat::Json, KeyFormat::Text, KeyFormat::Long, KeyFormat::None];

fn bytes(text: &Option<String>, tape: &mut Tape<'_>) -> Option<Bytes> {
    match tape.below(20) {
        0..=2 => text.as_ref().map(|text| text.clone().into()),
        3 => None,
        4 => Some(Bytes::copy_from_slice(tape.take(40))),
        _ => text.as_ref().map(|text| mutate::json(text, tape).into()),
    }
}

fn record(real: &Captured, tape: &mut Tape<'_>) -> Record {
    let (value, key) = (bytes(&real.payload, tape), bytes(&real.key, tape));
    let mut headers: Vec<(&str, Option<&[u8]>)> =
        real.headers.chunks(2).filter_map(|pair| Some((pair[0].as_str(), Some(pair.get(1)?.as_bytes())))).collect();
    if tape.one_in(4) {
        let name = *tape.pick(&["__op", "__source_sequence", "__source_lsn", "__deleted", "__", "x"]);
        headers.push((name, Some(tape.take(24))));
    }
    Record {
        at: TopicPartition::new(real.topic.as_str(), real.partition),
        offset: real.offset,
        timestamp_ms: Some(real.ts),
        key,
        value: value.map(Into::into),
        headers: Headers::pack(headers),
        framed: None,
    }
}

fn rules(tape: &mut Tape<'_>) -> TopicRules {
    if tape.one_in(2) {
        return TopicRules::default();
    }
    TopicRules {
        form: tape.one_in(2).then(|| *tape.pick(&FORMS)),
        key_columns: (0..tape.below(3)).map(|_| (*tape.pick(&["id", "", "a", "ID"])).to_owned()).collect(),
        key_format: tape.one_in(2).then(|| *tape.pick(&KEY_FORMATS)),
        flat_prefix: tape.one_in(4).then(|| (*tape.pick(&["", "__", "cdc_"])).to_owned()),
    }
}

fn row(out: &mut String, name: &str, row: Option<&RawRow<'_>>) {
    let Some(row) = row else { return };
    assert_eq!(row.schema.fields.len(), row.cells.len(), "as many cells as fields");
    let _ = write!(out, " {name}");
    for (field, cell) in row.schema.fields.iter().zip(&row.cells) {
        let _ = write!(out, " {:?}:{:?}={}", field.name, field.kind, cell.get());
    }
}

/// What an event says, whichever numbers its lists of fields have.
fn said(event: &RawEvent<'_>) -> String {
    let mut out = format!(
        "{:?} {} {:?} {} {:?} {} {:?} {:?}",
        event.op,
        event.op_text,
        event.table,
        event.source,
        event.position,
        event.ends_snapshot,
        event.source_time_ms,
        event.transaction
    );
    row(&mut out, "key", event.key.as_ref());
    row(&mut out, "before", event.before.as_ref());
    row(&mut out, "after", event.after.as_ref());
    out
}

/// Every event's token can be taken apart and comes back from its bytes; an event without one says so.
fn check_token(event: &RawEvent<'_>, record: &Record) {
    let order = OrderPolicy::Source;
    let _ = event.position.place();
    let scope = scope_description(&order, &event.source, &event.position, "t", &record.at, "-");
    assert!(!scope.is_empty(), "positions are compared within something");
    match token(&order, 7, &event.position, &Ledger::default(), &record.at, record.offset) {
        None => assert!(event.position.is_none(), "a position without a token: {:?}", event.position),
        Some(token) => {
            assert_eq!(Token::from_bytes(token.as_bytes()), Some(token));
            let described = describe(&token);
            assert!(described.is_some_and(|it| it.scope == 7), "{token:?} of {:?}", event.position);
        }
    }
}

fn check(event: &RawEvent<'_>, record: &Record, opened: &Opened, tape: &mut Tape<'_>) {
    check_token(event, record);
    let rules = CellRules::default();
    let key = opened.value();
    for row in [&event.key, &event.before, &event.after].into_iter().flatten() {
        let json = row_json(row, &rules.unavailable);
        assert!(serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok(), "a change log would hold {json}");
        for (field, cell) in row.schema.fields.iter().zip(&row.cells) {
            super::values::check_cell(cell, field, &key, tape);
        }
    }
}

/// Each record is a change, a null, a control record, or refused for a reason that is listed. There is nothing else that it could
/// be, and it is the same every time (invariants 4, 7).
fn outcome(decoder: &mut TopicDecoder, record: &Record, tape: &mut Tape<'_>) -> String {
    let read = |decoder: &mut TopicDecoder, tape: &mut Tape<'_>| -> Result<String, Rejection> {
        let opened = decoder.open(record)?;
        Ok(match decoder.read(&record.at.topic, &opened)? {
            Decoded::Change(event) => {
                check(&event, record, &opened, tape);
                said(&event)
            }
            Decoded::Changes(events) => {
                assert!(events.len() > 1, "several changes are at least two");
                events.iter().for_each(|event| check(event, record, &opened, tape));
                events.iter().map(said).collect::<Vec<_>>().join("\n")
            }
            Decoded::Null => "null".to_owned(),
            Decoded::Control(control) => format!("{control:?}"),
        })
    };
    read(decoder, tape).unwrap_or_else(|rejection| {
        let is_listed = rejection.stops_table || reason(rejection.reason).is_some();
        assert!(is_listed, "{} is not listed in core/reason.rs", rejection.reason);
        format!("refused: {} {}", rejection.reason, rejection.detail)
    })
}

fn any_record(bytes: &[u8]) {
    let tape = &mut Tape::new(bytes);
    let real = tape.pick(&REAL);
    let (rules, knows) = (rules(tape), tape.one_in(2));
    let record = record(real, tape);
    let given = record.size_bytes();
    let met = crate::core::record::Record { value: real.payload.clone().map(Into::into), ..record.clone() };
    bounded(given + met.size_bytes(), 200, 24 << 20, || {
        let outcome = |knows: bool| {
            let mut decoder = TopicDecoder::new(rules.clone());
            if knows {
                outcome(&mut decoder, &met, &mut Tape::new(&[]));
            }
            let first = outcome(&mut decoder, &record, &mut tape.clone());
            (first.clone(), outcome(&mut decoder, &record, &mut tape.clone()) == first)
        };
        let (fresh, again) = (outcome(false), outcome(knows));
        assert!(fresh.1 && again.1, "read a second time it is another one: {}", fresh.0);
        // A known schema part is not looked at again, so that another part of what is wrong may be named.
        let is_refused = |said: &str| said.starts_with("refused: undecodable");
        let same = fresh.0 == again.0 || is_refused(&fresh.0) && is_refused(&again.0);
        assert!(same, "what was read before changes what a record says:\n{}\n{}", fresh.0, again.0);
    });
}

fuzz!(records_of_every_form, any_record);

/// Bytes that nobody decided about.
fn bare_bytes(bytes: &[u8]) {
    let tape = &mut Tape::new(bytes);
    let rules = rules(tape);
    let key = tape.one_in(2).then(|| Bytes::copy_from_slice(tape.take(30)));
    let value = Some(Bytes::copy_from_slice(tape.take(usize::MAX)).into());
    let at = TopicPartition::new("t", 0);
    let record = Record { at, offset: 0, timestamp_ms: None, key, value, headers: Headers::default(), framed: None };
    outcome(&mut TopicDecoder::new(rules), &record, &mut Tape::new(&[]));
}

fuzz!(bytes_that_are_no_record, bare_bytes);

/// The real ones are read, so that what is changed is something.
#[test]
fn real_records_are_events() {
    let mut events = 0;
    for real in REAL.iter() {
        let record = record(real, &mut Tape::new(&[]));
        let outcome = outcome(&mut TopicDecoder::default(), &record, &mut Tape::new(&[]));
        assert!(!outcome.starts_with("refused"), "{}: {outcome}", real.topic);
        events += usize::from(outcome.starts_with(['U', 'D']));
    }
    assert!(events > 100, "{events}");
}
