use proptest::prelude::*;

use super::*;

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn postgres(commit: Option<u64>, lsn: u64) -> SourcePosition {
    SourcePosition::Postgres { commit, lsn, phase: Phase::Stream }
}

fn snapshot(lsn: u64) -> SourcePosition {
    SourcePosition::Postgres { commit: None, lsn, phase: Phase::Snapshot }
}

fn mariadb(number: u64, pos: u64) -> SourcePosition {
    let gtid = Some(Gtid { marker: "0".into(), number });
    SourcePosition::Binlog { gtid, file: 1, pos, row: Some(0), phase: Phase::Stream }
}

fn survey(dump: Dump, events: &[(i32, SourcePosition)]) -> Result<Adopted, String> {
    let mut survey = Survey::new(dump, [(at(0), 0), (at(1), 0)]);
    for (offset, (partition, position)) in events.iter().enumerate() {
        survey.meet(&at(*partition), offset as i64, position, None)?;
    }
    survey.finish()
}

fn token_of(position: &SourcePosition) -> Token {
    token(&OrderPolicy::Source, 7, position, &Ledger::default(), &at(0), 0).expect("a token")
}

#[test]
fn positions_are_read() {
    assert_eq!(parse_lsn("0/10"), Some(Dump::Lsn(16)));
    assert_eq!(parse_lsn("16"), Some(Dump::Lsn(16)));
    let gtid = |marker: &str, number| Gtid { marker: marker.into(), number };
    assert_eq!(parse_gtids("0-1-7"), Some(Dump::Gtids(vec![gtid("0", 7)])));
    assert_eq!(parse_gtids("ab:1-7, cd:3"), Some(Dump::Gtids(vec![gtid("ab", 7), gtid("cd", 3)])));
    assert_eq!(parse_binlog("mysql-bin.000003:4711"), Some(Dump::Binlog { file: 3, pos: 4711 }));
    assert_eq!(parse_gtids("ab:tag:1-7"), Some(Dump::Gtids(vec![gtid("ab:tag", 7)])));
    for bad in ["", "0/", "ab:1-7:9", "ab:1-7:9-11", "ab:1-7:tag:1-2", "ab:2-7", "ab", "ab:", ":7", "0-1", ","] {
        assert_eq!(parse_gtids(bad), None, "{bad}");
    }
    assert_eq!((parse_lsn("0/x"), parse_binlog("mysql-bin:1"), parse_binlog("mysql-bin.1")), (None, None, None));
}

/// Invariants (1) and (2) of the module where they are easiest to get wrong.
#[test]
fn the_first_transaction_behind_the_dump_wins() {
    // It was open for long: its place is far below the dump, and what it follows is at or before it.
    let events = [(0, postgres(Some(100), 110)), (0, postgres(Some(200), 120)), (1, postgres(Some(300), 310))];
    let adopted = survey(Dump::Lsn(250), &events).expect("adopted");
    let bound = adopted.token(7);
    assert!(token_of(&events[0].1) < bound && bound < token_of(&events[1].1));
    assert_eq!(adopted.first_offsets, BTreeMap::from([(at(0), 1), (at(1), 2)]));
    // The same behind a snapshot, in a partition that has no row of it to lift it.
    let events = [(0, snapshot(200)), (1, postgres(None, 120)), (0, postgres(Some(400), 410))];
    let bound = survey(Dump::Lsn(250), &events).expect("adopted").token(7);
    assert!(bound < token_of(&events[1].1), "{bound:?}");
    // The rest of a first transaction behind a killed connector names one of its own places; only the second end proves it.
    let events =
        [(0, snapshot(200)), (1, postgres(None, 120)), (1, postgres(Some(240), 235)), (1, postgres(Some(246), 248))];
    let bound = survey(Dump::Lsn(250), &events[..3]).expect("adopted").token(7);
    assert!(bound < token_of(&events[1].1), "{bound:?}");
    let bound = survey(Dump::Lsn(250), &events).expect("adopted").token(7);
    assert!(token_of(&events[1].1) < bound && bound < token_of(&events[3].1));
}

#[test]
fn what_cannot_be_proven_is_refused() {
    let refused = |dump: Dump, events: &[(i32, SourcePosition)], wanted: &str| {
        let why = survey(dump, events).expect_err(wanted);
        assert!(why.contains(wanted), "{why}");
    };
    refused(Dump::Lsn(50), &[(0, postgres(Some(100), 110))], "--accept-gaps");
    refused(Dump::Lsn(50), &[], "--accept-gaps");
    refused(Dump::Lsn(250), &[(0, postgres(Some(100), 110)), (0, snapshot(90))], "started again");
    refused(Dump::Lsn(250), &[(0, mariadb(1, 4))], "--gtid");
    let gtid = |marker: &str, number| Dump::Gtids(vec![Gtid { marker: marker.into(), number }]);
    refused(gtid("1", 7), &[(0, mariadb(1, 4))], "says nothing");
    let row = SourcePosition::Binlog { gtid: None, file: 1, pos: 9, row: Some(0), phase: Phase::Snapshot };
    refused(gtid("0", 7), &[(0, mariadb(1, 4)), (0, row)], "made anew");
    refused(Dump::Binlog { file: 1, pos: 7 }, &[(0, mariadb(1, 4))], "says nothing");
    // A log that was cut behind the dump.
    let mut survey = Survey::new(Dump::Lsn(250), [(at(0), 0), (at(1), 500)]);
    survey.meet(&at(0), 0, &postgres(Some(100), 110), None).expect("met");
    survey.meet(&at(1), 500, &postgres(Some(300), 310), None).expect("met");
    assert!(survey.finish().expect_err("a gap").contains("begins at offset 500"));
}

#[test]
fn gtids_and_binlog_positions_lie_between_transactions() {
    let events = [(0, mariadb(6, 40)), (0, mariadb(7, u64::MAX - 1)), (1, mariadb(8, 4))];
    let dump = Dump::Gtids(vec![Gtid { marker: "0".into(), number: 7 }]);
    let adopted = survey(dump, &events).expect("adopted");
    let bound = adopted.token(7);
    assert!(token_of(&events[1].1) < bound && bound < token_of(&events[2].1));
    assert_eq!(adopted.first_offsets, BTreeMap::from([(at(1), 2)]));
    let binlog = |file, pos| SourcePosition::Binlog { gtid: None, file, pos, row: Some(0), phase: Phase::Stream };
    let events = [(0, binlog(3, 100)), (0, binlog(3, 200)), (0, binlog(4, 4))];
    let bound = survey(Dump::Binlog { file: 3, pos: 200 }, &events).expect("adopted").token(7);
    assert!(token_of(&events[0].1) < bound && bound < token_of(&events[1].1));
}

/// Transactions of a source: where each of their rows lies, and where their commits end. They overlap.
fn history() -> impl Strategy<Value = Vec<(Vec<u64>, u64)>> {
    prop::collection::vec((prop::collection::vec(1..60_u64, 1..4), 1..20_u64), 1..30).prop_map(|transactions| {
        let mut end = 1000;
        let place = |(backs, step): (Vec<u64>, u64)| {
            end += 10 * step;
            let mut rows: Vec<u64> = backs.into_iter().map(|back| end - back.min(end - 1)).collect();
            rows.sort_unstable();
            (rows, end)
        };
        transactions.into_iter().map(place).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whatever transactions overlap, wherever the dump lies and in whatever partitions the rows are: no change that the dump does not
    /// have is at or below the bound.
    #[test]
    fn no_change_behind_the_dump_is_below_the_bound(
        history in history(), from in 0..30_usize, dump in 0..30_usize, partitions in prop::collection::vec(0..2_i32, 100),
    ) {
        let (from, dump) = (from % history.len(), dump % history.len());
        let (snapshot_at, dump_at) = (history[from].1, history[dump].1);
        prop_assume!(from <= dump);
        let mut survey = Survey::new(Dump::Lsn(dump_at), [(at(0), 0), (at(1), 0)]);
        let mut partition = partitions.iter().copied().cycle();
        let mut offset = 0;
        let mut tokens = Vec::new();
        survey.meet(&at(0), 0, &snapshot(snapshot_at), None).expect("met");
        for (number, (rows, end)) in history.iter().enumerate().skip(from + 1) {
            for row in rows {
                offset += 1;
                let before = (number > from + 1).then(|| history[number - 1].1);
                let position = postgres(before, *row);
                survey.meet(&at(partition.next().unwrap_or(0)), offset, &position, None).expect("met");
                tokens.push((token_of(&position), *end <= dump_at));
            }
        }
        let bound = survey.finish().map_err(TestCaseError::fail)?.token(7);
        for (token, is_in_dump) in tokens {
            prop_assert!(is_in_dump || token > bound, "{token:?} is at or below {bound:?}");
        }
    }
}
