use super::super::decode::CellRules;
use super::super::event::{RowSchema, SourcePosition};
use super::super::ledger::Ledger;
use super::super::order::{OrderPolicy, token};
use super::super::record::Headers;
use super::super::table::fixture;
use super::super::wire::{Field, WireType};
use super::*;

fn table() -> Arc<Table> {
    Arc::new(fixture::table(1, "t", &["id", "v"]))
}

fn mapping(names: &[&str]) -> Mapping {
    let field = |name: &&str| Field::new(*name, WireType::Int { bits: 64 }, true);
    let schema = RowSchema::new(1, names.iter().map(field).collect());
    Mapping::new(table(), Some(&schema), None, &[], OrderPolicy::Source, CellRules::default()).expect("mapping")
}

fn record(offset: i64) -> Record {
    let at = TopicPartition::new("t", 0);
    Record {
        at,
        offset,
        timestamp_ms: None,
        key: Some(Bytes::from_static(b"k")),
        value: None,
        headers: Headers::default(),
        framed: None,
    }
}

fn lsn(lsn: u64) -> Token {
    let at = TopicPartition::new("t", 0);
    let position = SourcePosition::Postgres { commit: Some(lsn), lsn, phase: super::super::token::Phase::Stream };
    token(&OrderPolicy::Source, 1, &position, &Ledger::default(), &at, 0).expect("token")
}

fn upsert(id: i64, v: i64) -> Change {
    Change::new(id.to_be_bytes().to_vec(), Effect::Upsert(vec![Value::Int(id), Value::Int(v)]))
}

fn delete(id: i64) -> Change {
    Change::new(id.to_be_bytes().to_vec(), Effect::Delete(vec![Value::Int(id)]))
}

/// Invariant 2: whatever the order of arrival, the greatest token of a key is what the plan carries.
#[test]
fn the_newest_change_of_a_key_is_planned_in_any_order() {
    let mapping = mapping(&["id", "v"]);
    for order in [[0usize, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
        let mut builder = BatchBuilder::new("p".into(), "p".into(), false);
        builder.partition(&record(0).at, 1, 5, None);
        for (at, which) in order.into_iter().enumerate() {
            let (change, token) =
                [(upsert(1, 10), lsn(10)), (delete(1), lsn(30)), (upsert(1, 20), lsn(20))][which].clone_parts();
            assert_eq!(builder.change(&record(7 + at as i64), &mapping, change, token, Some(9)), Pushed::Taken);
        }
        let plan = builder.finish();
        let table = &plan.tables[0];
        assert_eq!((table.upsert_count(), table.deletes.len(), table.collapsed), (0, 1, 2));
        assert_eq!(table.deletes[0].token, lsn(30));
        let advance = &plan.advances[0];
        assert_eq!((advance.from, advance.next, advance.counts.changes), (5, 10, 3));
    }
}

/// A null behind a delete is its shadow also where the delete itself was left out or went into a change log.
#[test]
fn nulls_follow_deletes_whatever_became_of_them() {
    let null = record(6);
    let mut builder = BatchBuilder::new("p".into(), "p".into(), false);
    builder.partition(&record(0).at, 1, 5, None);
    assert!(!builder.is_shadow(&null));
    builder.filtered(&record(5), Op::Delete);
    assert!(builder.is_shadow(&null));
    assert_eq!(builder.finish().advances[0].open_delete, Some(Bytes::from_static(b"k")));

    let mut builder = BatchBuilder::new("p".into(), "p".into(), false);
    builder.partition(&record(0).at, 1, 5, None);
    let mut log = Arc::into_inner(table()).expect("alone");
    log.contract = Contract::ChangeLog;
    let row = Upsert { token: lsn(1), values: vec![Value::Int(1)] };
    builder.log(&record(5), &Arc::new(log), &Arc::from([0]), row, Op::Delete, None);
    assert!(builder.is_shadow(&null));
    builder.filtered(&record(6), Op::Upsert);
    assert!(!builder.is_shadow(&record(7)));
}

/// Invariant 7: a table whose shape changed is written in one shape per batch.
#[test]
fn two_shapes_of_a_table_are_not_in_one_batch() {
    let first = mapping(&["id", "v"]);
    let mut second = mapping(&["id", "v"]);
    Arc::get_mut(&mut second.table).expect("alone").id = 2;
    let mut builder = BatchBuilder::new("p".into(), "p".into(), false);
    builder.partition(&record(0).at, 1, 5, None);
    assert_eq!(builder.change(&record(5), &first, upsert(1, 1), lsn(1), None), Pushed::Taken);
    assert_eq!(builder.change(&record(6), &second, upsert(1, 1), lsn(2), None), Pushed::CutBefore);
}

trait CloneParts {
    fn clone_parts(&self) -> (Change, Token);
}

impl CloneParts for (Change, Token) {
    fn clone_parts(&self) -> (Change, Token) {
        let effect = match &self.0.effect {
            Effect::Upsert(values) => Effect::Upsert(values.clone()),
            Effect::Delete(values) => Effect::Delete(values.clone()),
            Effect::Partial(_) => unreachable!("not made here"),
        };
        (Change::new(self.0.key.clone(), effect), self.1)
    }
}

/// Invariant 7: where folding would depend on the cut, the batch is cut.
#[test]
fn rows_with_other_columns_cut_the_batch() {
    let (full, narrow) = (mapping(&["id", "v"]), mapping(&["id"]));
    let mut builder = BatchBuilder::new("p".into(), "p".into(), false);
    builder.partition(&record(0).at, 1, 0, None);
    assert_eq!(builder.change(&record(0), &full, upsert(1, 1), lsn(1), None), Pushed::Taken);
    let change = Change::new(1i64.to_be_bytes().to_vec(), Effect::Upsert(vec![Value::Int(1)]));
    assert_eq!(builder.change(&record(1), &narrow, change, lsn(2), None), Pushed::CutBefore);
    assert_eq!(builder.finish().advances[0].next, 1);
}

/// Invariant 6: tokens of different scopes are never compared.
#[test]
fn another_scope_is_rejected() {
    let mapping = mapping(&["id", "v"]);
    let mut builder = BatchBuilder::new("p".into(), "p".into(), false);
    builder.partition(&record(0).at, 1, 0, None);
    assert_eq!(builder.change(&record(0), &mapping, upsert(1, 1), lsn(1), None), Pushed::Taken);
    let other = super::super::token::TokenWriter::new(2, 1).number(9).finish();
    assert!(matches!(builder.change(&record(1), &mapping, upsert(1, 2), other, None), Pushed::Rejected(_)));
}

/// Invariant 4: every record is counted in exactly one way, and an end without records moves the checkpoint alone.
#[test]
fn records_are_counted_once_and_gaps_are_passed() {
    let mut builder = BatchBuilder::new("p".into(), "p".into(), false);
    let at = record(0).at;
    builder.partition(&at, 1, 0, None);
    builder.control(&record(0));
    builder.filtered(&record(4), Op::Upsert);
    builder.quarantine(&record(6), &"-".into(), None, Rejection::new("undecodable", "x"));
    builder.reach(&at, 9);
    let plan = builder.finish();
    let counts = plan.advances[0].counts;
    assert_eq!((counts.control, counts.filtered, counts.quarantined, counts.changes), (1, 1, 1, 0));
    assert_eq!((plan.advances[0].next, plan.quarantine.len()), (9, 1));
}
