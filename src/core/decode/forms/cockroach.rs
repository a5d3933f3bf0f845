//! CockroachDB changefeeds: the envelopes `wrapped` (`{after, before, key, updated, mvcc_timestamp}`) and `enriched` (`{after,
//! before, op, source, ts_ns}`), and `resolved` messages.
//!
//! Facts: its documentation. A record key is a list of values without names (`[7]`); `enriched` names them in
//! `source.primary_keys`. The logical part of a timestamp has ten digits: it is a number of its own, not a fraction.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::event::{Control, Decoded, Op, RawEvent, RawRow, Rejection, SourcePosition, SourceTable};
use crate::core::token::Phase;

use super::super::key::unnamed;
use super::super::numbers::hybrid_clock;
use super::super::row::{plain, with_schema};
use super::{Form, Input, changes, check_rows, key_names, missing_position, parse, row, table_of_topic, undecodable};

/// All fields that there are; a record with another one is not of this form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changefeed<'a> {
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
    #[serde(borrow, default)]
    before: Option<&'a RawValue>,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    updated: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    mvcc_timestamp: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    resolved: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    op: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    source: Option<Source<'a>>,
    #[serde(borrow, default, rename = "topic")]
    _topic: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "ts_ns")]
    _ts_ns: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow)]
    table_name: Cow<'a, str>,
    #[serde(borrow, default)]
    schema_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    primary_keys: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    ts_hlc: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    mvcc_timestamp: Option<Cow<'a, str>>,
}

/// Why a null value of a changefeed is refused.
pub(in super::super) fn null_value() -> Rejection {
    unsupported("a changefeed of the envelope `row` or `key_only` writes null values, which have no place in an order")
}

fn unsupported(what: &str) -> Rejection {
    let remedy = "create the changefeed with `envelope = 'wrapped', updated` (or `enriched`)";
    Rejection::table("unsupported_form", format!("{what}; {remedy}"))
}

/// What the envelopes `row` and `bare` put among the columns.
#[derive(Deserialize)]
struct Marked<'a> {
    #[serde(borrow)]
    __crdb__: Mark<'a>,
}

#[derive(Deserialize)]
struct Mark<'a> {
    #[serde(borrow, default)]
    updated: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    resolved: Option<Cow<'a, str>>,
}

fn mark(payload: &str) -> Option<Mark<'_>> {
    serde_json::from_str::<Marked<'_>>(payload).ok().map(|marked| marked.__crdb__)
}

/// Whether a record has its fields and no others, and a timestamp of the right form.
pub(in super::super) fn is_form(payload: &str) -> bool {
    let clock = |text: &Option<Cow<'_, str>>| text.as_deref().and_then(hybrid_clock).is_some();
    if mark(payload).is_some_and(|mark| clock(&mark.updated) || clock(&mark.resolved)) {
        return true;
    }
    let Ok(record) = serde_json::from_str::<Changefeed<'_>>(payload) else { return false };
    let row_clock = clock(&record.updated) || clock(&record.mvcc_timestamp);
    let is_row = payload.contains("\"after\"") && (row_clock || record.source.is_some());
    clock(&record.resolved) || is_row
}

/// Reads a record.
pub(super) fn decode<'a>(input: Input<'_, 'a>) -> Result<Decoded<'a>, Rejection> {
    match mark(input.payload) {
        Some(mark) if mark.resolved.is_some() => return Ok(Decoded::Control(Control::Heartbeat)),
        Some(_) => return Err(unsupported("the envelopes `row` and `bare` do not tell operations apart")),
        None => {}
    }
    let record: Changefeed<'a> = parse(input.payload, Form::Cockroach)?;
    if record.resolved.is_some() {
        return Ok(Decoded::Control(Control::Heartbeat));
    }
    let op = match (record.op.as_deref(), record.after) {
        (Some("d"), _) | (None, None) => Op::Delete,
        (Some("c" | "u" | "r"), _) | (None, Some(_)) => Op::Upsert,
        (Some(_), _) => return Err(undecodable("`op` is none of c, u, r, d")),
    };
    let position = record.position()?;
    let mut image = |raw: Option<&'a RawValue>, part| match &input.schema {
        Some(schema) => raw.map(|raw| with_schema(raw, schema, part)).transpose(),
        None => row(raw, input.rows, part),
    };
    let (before, after) = (image(record.before, "before")?, image(record.after, "after")?);
    let given = record.source.as_ref().map_or(&[][..], |source| &source.primary_keys);
    let names = key_names(given, input.key_columns);
    let key = match (record.key, input.key) {
        (Some(raw), _) => Some(raw.get()),
        (None, key) => key.map(std::str::from_utf8).transpose().map_err(|_| undecodable("the key is not UTF-8"))?,
    };
    let key = key.map(|json| key_row(json, &names, input.keys)).transpose()?.flatten();
    let table = match record.source {
        Some(source) => SourceTable::new(source.schema_name.as_deref(), &source.table_name),
        None => table_of_topic(input.topic),
    };
    let op_text = record.op.unwrap_or(Cow::Borrowed(if op == Op::Delete { "d" } else { "u" }));
    let source_time_ms = match &position {
        SourcePosition::Hlc { nanos, .. } => i64::try_from(nanos / 1_000_000).ok(),
        _ => None,
    };
    let source = format!("cockroachdb {}", input.topic);
    let event = RawEvent {
        op,
        op_text,
        table,
        source,
        position,
        ends_snapshot: false,
        source_time_ms,
        transaction: None,
        key,
        before,
        after,
    };
    check_rows(&event)?;
    changes(vec![event])
}

impl Changefeed<'_> {
    fn position(&self) -> Result<SourcePosition, Rejection> {
        let of_source =
            self.source.as_ref().and_then(|source| source.ts_hlc.as_deref().or(source.mvcc_timestamp.as_deref()));
        let Some(text) = of_source.or(self.updated.as_deref()).or(self.mvcc_timestamp.as_deref()) else {
            return Ok(SourcePosition::None(
                "create the changefeed with `updated` (envelope wrapped) or `enriched_properties = 'source'`",
            ));
        };
        let clock = hybrid_clock(text);
        let (nanos, logical) = clock
            .ok_or_else(|| missing_position("the changefeed's timestamp is not of the form `<ns>.<10 digits>`"))?;
        // A feed's first scan and a backfill have the time of the scan: later than all that they read.
        Ok(SourcePosition::Hlc { nanos, logical, phase: Phase::Stream })
    }
}

/// The key: an object, or a list of values whose names are known.
fn key_row<'a>(json: &'a str, names: &[&str], keys: &mut super::Schemas) -> Result<Option<RawRow<'a>>, Rejection> {
    let raw: &'a RawValue = serde_json::from_str(json)
        .map_err(|error| undecodable(format!("the key cannot be read: {}", plain(&error))))?;
    if raw.get().starts_with('{') { row(Some(raw), keys, "key") } else { unnamed(raw, None, names, keys) }
}
