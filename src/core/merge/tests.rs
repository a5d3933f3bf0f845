//! One key through the real batch and the real merge against a row in memory: random histories of full and partial updates and
//! deletes over two partitions, in any interleaving, redelivered, cut anywhere, with events that were put aside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::core::batch::{BatchBuilder, Pushed};
use crate::core::decode::CellRules;
use crate::core::event::{Rejection, RowSchema};
use crate::core::mapping::{Change, Effect, Mapping, PartialRow};
use crate::core::order::OrderPolicy;
use crate::core::plan::{Mark, Plan};
use crate::core::record::{Headers, Record, TopicPartition};
use crate::core::table::fixture;
use crate::core::token::TokenWriter;
use crate::core::value::Value;
use crate::core::wire::{Field, WireType};
use crate::support::random::Random;

/// Columns beside the key: `v` is always carried, `b` and `c` may be missing.
const NAMES: [&str; 4] = ["id", "v", "b", "c"];

fn token(number: u64) -> Token {
    TokenWriter::new(1, 1).number(number).finish()
}

fn base(row: u64, open: &[(usize, u64)]) -> Base {
    let open = open.iter().map(|(column, number)| (*column, Some(token(*number)))).collect();
    Base { live: true, row: Some(token(row)), open, ..Base::default() }
}

fn partial(base: &Base, number: u64, carried: &[usize], missing: &[usize]) -> Merged {
    let cells: Vec<(usize, Token)> = carried.iter().map(|column| (*column, token(number))).collect();
    merge(base, None, Incoming { token: token(number), cells: &cells, missing }, false)
}

fn written(cells: &[usize], row: u64, open: &[(usize, u64)]) -> Merged {
    let open = open.iter().map(|(column, number)| (*column, Some(token(*number)))).collect();
    Merged::Write(Written { cells: cells.to_vec(), row: token(row), open })
}

/// Design review A10.3: full 6 was late when partial 7 was laid over 3; it fills what 7 left open and touches nothing else.
#[test]
fn an_older_full_row_fills_what_newer_partial_rows_left_open() {
    assert_eq!(partial(&base(3, &[]), 7, &[1], &[2, 3]), written(&[0], 7, &[(2, 3), (3, 3)]));
    let after = base(7, &[(2, 3), (3, 3)]);
    assert_eq!(partial(&after, 6, &[1, 2, 3], &[]), written(&[1, 2], 7, &[(2, 6), (3, 6)]));
    let filled = base(7, &[(2, 6), (3, 6)]);
    assert_eq!(partial(&filled, 5, &[1, 2, 3], &[]), Merged::Superseded(Verdict::ByRow));
    assert_eq!(partial(&filled, 6, &[1, 2, 3], &[]), Merged::Superseded(Verdict::ByRow));
    assert_eq!(partial(&filled, 8, &[1, 2, 3], &[]), written(&[0, 1, 2], 8, &[]));
}

/// What stands above a partial row, and what it needs.
#[test]
fn partial_rows_need_a_row_and_lose_to_newer_ends() {
    let none = Base::default();
    assert_eq!(partial(&none, 7, &[1], &[2]), Merged::Refused(Refusal::NoRow));
    let dead = |number| Base { tombstone: Some(token(number)), ..Base::default() };
    assert_eq!(partial(&dead(8), 7, &[1], &[2]), Merged::Superseded(Verdict::ByTombstone));
    assert_eq!(partial(&dead(6), 7, &[1], &[2]), Merged::Refused(Refusal::NoRow));
    let marked = Base { row: Some(token(8)), ..Base::default() };
    assert_eq!(partial(&marked, 7, &[1], &[2]), Merged::Superseded(Verdict::ByTombstone));
    let cells = [(1, token(7))];
    let incoming = Incoming { token: token(7), cells: &cells, missing: &[2] };
    assert_eq!(merge(&base(3, &[]), Some(token(9)), incoming, false), Merged::Superseded(Verdict::ByTruncate));
    let other = Base { live: true, row: Some(TokenWriter::new(2, 1).number(1).finish()), ..Base::default() };
    assert_eq!(partial(&other, 7, &[1], &[2]), Merged::Refused(Refusal::Incomparable));
    // A row from before lastword is older than every event.
    let foreign = Base { live: true, ..Base::default() };
    let open = vec![(2, None)];
    assert_eq!(partial(&foreign, 7, &[1], &[2]), Merged::Write(Written { cells: vec![0], row: token(7), open }));
}

/// Design review A10.2: an event in quarantine may hold what a later partial row lacks.
#[test]
fn a_mark_holds_back_until_something_newer_passed_it() {
    let marked = |base: Base, mark: u64| Base { marks: vec![token(mark)], ..base };
    assert_eq!(partial(&marked(base(3, &[]), 5), 7, &[1], &[2]), Merged::Refused(Refusal::HeldBack));
    // The event itself, when it is tried again.
    assert!(matches!(partial(&marked(base(3, &[]), 7), 7, &[1], &[2]), Merged::Write(_)));
    // A full row has passed it.
    assert!(matches!(partial(&marked(base(6, &[]), 5), 7, &[1], &[2]), Merged::Write(_)));
    // A newer row with a column from below the mark.
    assert_eq!(partial(&marked(base(6, &[(3, 4)]), 5), 7, &[1], &[2, 3]), Merged::Refused(Refusal::HeldBack));
    // Nothing is missing.
    assert!(matches!(partial(&marked(base(3, &[]), 5), 7, &[1, 2, 3], &[]), Merged::Write(_)));
}

#[test]
fn open_columns_come_back_as_they_were() {
    let name = |at: usize| NAMES[at];
    let column = |name: &str| NAMES.iter().position(|known| *known == name);
    for open in [vec![], vec![(1, Some(token(3)))], vec![(1, None), (2, Some(token(4))), (3, None)]] {
        let bytes = encode_open(&open, name);
        let mut back = decode_open(&bytes, column).expect("readable");
        back.sort_unstable_by_key(|(column, _)| *column);
        assert_eq!(back, open);
        // Damaged bytes are seen, whatever is missing of them.
        for end in 0..bytes.len() {
            assert!(decode_open(&bytes[..end], column).is_none_or(|read| read.len() < open.len() || open.is_empty()));
        }
    }
    let gone = encode_open(&[(1, Some(token(3))), (2, Some(token(3)))], name);
    assert_eq!(decode_open(&gone, |name| (name == "b").then_some(2)), Some(vec![(2, Some(token(3)))]));
    assert!(decode_open(b"", column).is_none() && decode_open(&[9], column).is_none());
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    /// Values of the columns 1 to 3; `None` was not seen.
    Row([Option<i64>; 3]),
    /// A create with placeholders, which is never completed.
    Moved,
    Delete,
}

/// An event as it lies in a partition.
#[derive(Clone, Debug)]
struct Event {
    partition: i32,
    offset: i64,
    number: u64,
    what: What,
    /// The destination refuses it until it was mended.
    bad: bool,
}

/// The destination: one key.
#[derive(Clone, Debug, Default, PartialEq)]
struct Store {
    base: Base,
    values: [i64; 3],
    /// Events in quarantine.
    aside: BTreeMap<(i32, i64), (u64, &'static str)>,
    applied: u64,
    filled: u64,
}

impl Store {
    fn read(&self) -> Base {
        let marks: BTreeSet<u64> = self.aside.values().map(|(number, _)| *number).collect();
        Base { marks: marks.into_iter().map(token).collect(), ..self.base.clone() }
    }

    fn lay(&mut self, cells: &[(usize, Value)], written: Written) {
        for at in written.cells {
            let (column, value) = &cells[at];
            self.values[*column - 1] = value.as_int().expect("number");
        }
        (self.base.row, self.base.open) = (Some(written.row), written.open);
    }

    fn apply(&mut self, plan: &Plan) {
        for table in &plan.tables {
            for row in table.upserts.iter().flat_map(|group| &group.rows) {
                let beats = |other: Option<Token>| other.is_none_or(|other| other < row.token);
                if beats(self.base.row) && beats(self.base.tombstone) {
                    let value = |at: usize| row.values[at].as_int().expect("number");
                    self.values = [value(1), value(2), value(3)];
                    self.base = Base { live: true, row: Some(row.token), ..Base::default() };
                } else if self.base.live {
                    let cells: Vec<(usize, Value)> = (1..4).map(|at| (at, row.values[at].clone())).collect();
                    let tokens: Vec<(usize, Token)> = (1..4).map(|at| (at, row.token)).collect();
                    let incoming = Incoming { token: row.token, cells: &tokens, missing: &[] };
                    if let Merged::Write(written) = merge(&self.read(), None, incoming, false) {
                        assert_eq!(Some(written.row), self.base.row);
                        self.filled += 1;
                        self.lay(&cells, written);
                    }
                }
            }
            for delete in &table.deletes {
                let beats = |other: Option<Token>| other.is_none_or(|other| other < delete.token);
                if beats(self.base.row) && beats(self.base.tombstone) {
                    self.base = Base { tombstone: Some(delete.token), ..Base::default() };
                }
            }
            for partial in &table.partials {
                let tokens: Vec<(usize, Token)> = partial.cells.iter().map(|cell| (cell.column, cell.token)).collect();
                let cells: Vec<_> = partial.cells.iter().map(|cell| (cell.column, cell.value.clone())).collect();
                let incoming = Incoming { token: partial.token, cells: &tokens, missing: &partial.missing };
                match merge(&self.read(), None, incoming, false) {
                    Merged::Write(written) => {
                        self.applied += 1;
                        self.lay(&cells, written);
                    }
                    Merged::Superseded(_) => {}
                    Merged::Refused(why) => panic!("the plan was not judged as it is applied: {why:?}"),
                }
            }
        }
        for record in &plan.quarantine {
            let number =
                u64::from_be_bytes(record.mark.as_ref().expect("marked").token.as_bytes()[7..].try_into().expect("8"));
            self.aside.entry((record.at.partition, record.offset)).or_insert((number, record.reason));
        }
    }
}

fn mapping() -> Mapping {
    let field = |name: &&str| Field::new(*name, WireType::Int { bits: 64 }, true);
    let schema = RowSchema::new(1, NAMES.iter().map(field).collect());
    let table = Arc::new(fixture::table(1, "t", &NAMES));
    Mapping::new(table, Some(&schema), None, &[], OrderPolicy::Source, CellRules::default()).expect("mapping")
}

fn record(event: &Event) -> Record {
    Record {
        at: TopicPartition::new("t", event.partition),
        offset: event.offset,
        timestamp_ms: None,
        key: Some(Bytes::from_static(b"k")),
        value: None,
        headers: Headers::default(),
        framed: None,
    }
}

fn change(event: &Event) -> Option<Change> {
    let id = Value::Int(1);
    let effect = match &event.what {
        What::Moved => return None,
        What::Delete => Effect::Delete(vec![id]),
        What::Row([Some(v), Some(b), Some(c)]) => {
            Effect::Upsert(vec![id, Value::Int(*v), Value::Int(*b), Value::Int(*c)])
        }
        What::Row(values) => {
            let columns = values.iter().zip(1..);
            let cells = columns.clone().filter_map(|(value, at)| Some((at, Value::Int((*value)?)))).collect();
            let missing = columns.filter(|(value, _)| value.is_none()).map(|(_, at)| at).collect();
            Effect::Partial(PartialRow { key: vec![id], cells, missing })
        }
    };
    Some(Change::new(b"k".to_vec(), effect))
}

/// Plans a segment as the planner does, applies it, and returns how many events it took.
fn batch(store: &mut Store, mapping: &Mapping, events: &[Event], mended: bool) -> usize {
    let mut refused: BTreeMap<(i32, i64), &'static str> = BTreeMap::new();
    loop {
        let mut builder = BatchBuilder::new("p".into(), "p".into(), false);
        for event in events {
            builder.partition(&record(event).at, 1, event.offset, None);
        }
        let mut used = events.len();
        for (at, event) in events.iter().enumerate() {
            let place = (event.partition, event.offset);
            let why = refused.get(&place).copied().or((event.bad && !mended).then_some("refused_by_destination"));
            let change = change(event);
            let why = why.or(change.is_none().then_some("partial_row"));
            if let Some(why) = why {
                let mark = Mark { table: "t".to_owned(), key: b"k".to_vec(), token: token(event.number) };
                builder.quarantine(&record(event), &"-".into(), Some(mark), Rejection::new(why, ""));
                continue;
            }
            let Some(change) = change else { continue };
            match builder.change(&record(event), mapping, change, token(event.number), None) {
                Pushed::Taken => {}
                Pushed::CutBefore => {
                    assert!(at > 0, "a batch of nothing was cut");
                    used = at;
                    break;
                }
                Pushed::Rejected(why) => panic!("{why}"),
            }
        }
        let mut more = BTreeMap::new();
        for (_, truncate, pending) in builder.partials() {
            for pending in pending {
                let pieces: Vec<&Piece> = pending.pieces.iter().map(|(_, _, piece)| piece).collect();
                let verdicts = refusals(store.read(), truncate, pending.full, &pieces);
                for ((at, offset, _), why) in pending.pieces.iter().zip(verdicts) {
                    more.extend(why.map(|why| ((at.partition, *offset), why.reason())));
                }
            }
        }
        if more.is_empty() {
            store.apply(&builder.finish());
            return used;
        }
        refused.extend(more);
    }
}

/// A source's history of one key: its log in two partitions, and the row in the end.
fn history(random: &mut Random) -> ([Vec<Event>; 2], Option<[i64; 3]>) {
    let mut log: [Vec<Event>; 2] = Default::default();
    let mut row: Option<[i64; 3]> = None;
    let mut partition = 0;
    for number in 1..3 + random.below(12) {
        if random.percent(20) {
            partition = 1 - partition;
        }
        let value = number as i64 * 10;
        let what = match &mut row {
            None => {
                row = Some([value, value + 1, value + 2]);
                if random.percent(10) {
                    What::Moved
                } else {
                    What::Row([Some(value), Some(value + 1), Some(value + 2)])
                }
            }
            Some(_) if random.percent(15) => {
                row = None;
                What::Delete
            }
            Some(known) => {
                known[0] = value;
                let mut cells = [Some(value), None, None];
                for at in [1, 2] {
                    if random.percent(35) {
                        known[at] = value + at as i64;
                        cells[at] = Some(known[at]);
                    } else if random.percent(30) {
                        // Carried, though it did not change.
                        cells[at] = Some(known[at]);
                    }
                }
                What::Row(cells)
            }
        };
        let queue = &mut log[partition as usize];
        queue.push(Event { partition, offset: queue.len() as i64, number, what, bad: random.percent(6) });
        if random.percent(15) {
            // The connector starts again: the last events of both partitions come a second time.
            for queue in &mut log {
                let back = random.below(4) as usize;
                let again: Vec<Event> = queue[queue.len().saturating_sub(back)..].to_vec();
                for event in again {
                    let offset = queue.len() as i64;
                    queue.push(Event { offset, ..event });
                }
            }
        }
    }
    (log, row)
}

/// One order of arrival that keeps the order within each partition.
fn interleave(random: &mut Random, log: &[Vec<Event>; 2]) -> Vec<Event> {
    let mut at = [0, 0];
    let mut arrived = Vec::new();
    let favour = random.below(101);
    while at[0] < log[0].len() || at[1] < log[1].len() {
        let which = usize::from(at[0] == log[0].len() || (at[1] < log[1].len() && random.percent(favour)));
        arrived.push(log[which][at[which]].clone());
        at[which] += 1;
    }
    arrived
}

fn run(mapping: &Mapping, arrived: &[Event], mut cut: impl FnMut() -> usize) -> Store {
    let mut store = Store::default();
    let mut rest = arrived;
    while !rest.is_empty() {
        let size = cut().clamp(1, rest.len());
        let used = batch(&mut store, mapping, &rest[..size], false);
        rest = &rest[used..];
    }
    store
}

/// Retries what is in quarantine, oldest token first, until nothing more can be applied.
fn retry(store: &mut Store, mapping: &Mapping, arrived: &[Event]) {
    loop {
        let mut waiting: Vec<(u64, (i32, i64))> = store.aside.iter().map(|(at, (number, _))| (*number, *at)).collect();
        waiting.sort_unstable();
        let before = waiting.len();
        for (_, place) in waiting {
            let event = arrived.iter().find(|event| (event.partition, event.offset) == place).expect("known");
            let mut tried = store.clone();
            batch(&mut tried, mapping, std::slice::from_ref(event), true);
            if !refused_again(store, &tried, mapping, event) {
                tried.aside.remove(&place);
                *store = tried;
            }
        }
        if store.aside.len() == before {
            return;
        }
    }
}

fn refused_again(store: &Store, tried: &Store, mapping: &Mapping, event: &Event) -> bool {
    let _ = (tried, mapping);
    let Some(change) = change(event) else { return true };
    let Effect::Partial(row) = change.effect else { return false };
    let cells: Vec<(usize, Token)> = row.cells.iter().map(|(at, _)| (*at, token(event.number))).collect();
    let incoming = Incoming { token: token(event.number), cells: &cells, missing: &row.missing };
    matches!(merge(&store.read(), None, incoming, false), Merged::Refused(_))
}

/// Invariants 2, 3, 6 and 7 for partial rows: the row is the source's or the key is visibly in quarantine, wherever batches were
/// cut; and retrying what can be retried leads there, too.
#[test]
fn any_delivery_ends_in_the_sources_row_or_in_quarantine() {
    let seed = std::env::var("LASTWORD_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_260_101_u64);
    let mapping = mapping();
    let (mut right, mut aside, mut cured, mut filled, mut completed, mut held) = (0, 0, 0, 0, 0, 0);
    for round in 0..6_000 {
        let random = &mut Random::new(seed.wrapping_add(round));
        let (log, truth) = history(random);
        let arrived = interleave(random, &log);
        let alone = run(&mapping, &arrived, || 1);
        let failing = || format!("LASTWORD_TEST_SEED={}\n{arrived:#?}\n{alone:#?}", seed.wrapping_add(round));
        for size in [2, 7, 1000] {
            let other = run(&mapping, &arrived, || size);
            let contents = |store: &Store| (store.base.clone(), store.values, store.aside.clone());
            assert_eq!(contents(&alone).0, contents(&other).0, "invariant 7, batches of {size}: {}", failing());
            assert_eq!(alone.aside, other.aside, "quarantine, batches of {size}: {}", failing());
            assert!(!alone.base.live || alone.values == other.values, "values, batches of {size}: {}", failing());
        }
        let cuts = run(&mapping, &arrived, || 1 + random.below(5) as usize);
        assert_eq!((&alone.base, &alone.aside), (&cuts.base, &cuts.aside), "random cuts: {}", failing());
        let row = |store: &Store| store.base.live.then_some(store.values);
        if alone.aside.is_empty() {
            right += 1;
            assert_eq!(row(&alone), truth, "{}", failing());
        } else {
            aside += 1;
            held += u64::from(alone.aside.values().any(|(_, why)| *why == "held_back"));
            let mut retried = alone.clone();
            retry(&mut retried, &mapping, &arrived);
            if retried.aside.is_empty() {
                cured += 1;
                assert_eq!(row(&retried), truth, "after retries: {}", failing());
            }
        }
        (filled, completed) = (filled + alone.filled, completed + alone.applied);
        // Invariant 7: everything again changes nothing; but what was put aside may find its row by now.
        let mut again = alone.clone();
        for event in log.iter().flatten().filter(|_| alone.aside.is_empty()) {
            batch(&mut again, &mapping, std::slice::from_ref(event), false);
        }
        assert_eq!((&alone.base, alone.values), (&again.base, again.values), "replay: {}", failing());
    }
    println!(
        "right {right}, in quarantine {aside} (held back {held}, cured {cured}), completed {completed}, filled {filled}"
    );
    assert!([right, aside, cured, held, filled, completed].iter().all(|count| *count > 100), "a guard decided nothing");
}
