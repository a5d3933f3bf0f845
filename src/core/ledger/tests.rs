//! Epochs of partitions whose records are met one by one, with the destination's answers given by [`settle`].

mod random;

use super::*;
use crate::core::epoch::{EPOCH_STEP, Settled, settle};
use crate::core::event::Gtid;
use crate::core::order::{OrderPolicy, token};
use crate::core::token::Phase;

/// The rows that a destination handed out.
#[derive(Default)]
struct Store {
    epochs: Vec<EpochRow>,
    floors: Vec<LedgerEntry>,
}

/// A partition with its records so far.
struct Part {
    at: TopicPartition,
    ledger: Ledger,
    log: Vec<SourcePosition>,
    /// Source time of the record that is seen.
    clock: Option<i64>,
}

impl Part {
    fn new(partition: i32) -> Self {
        Self { at: TopicPartition::new("t", partition), ledger: Ledger::default(), log: Vec::new(), clock: None }
    }

    /// Appends a record and plans it.
    fn see(&mut self, store: &mut Store, position: SourcePosition) -> Result<Token, Rejection> {
        let offset = self.log.len() as i64;
        self.log.push(position);
        let built = self.plan(store, offset);
        if built.is_err() {
            self.log.pop();
        }
        built
    }

    fn plan(&mut self, store: &mut Store, offset: i64) -> Result<Token, Rejection> {
        let incarnation = Arc::from("-");
        let position = &self.log[offset as usize];
        match self.ledger.meet(&self.at, &incarnation, offset, position, self.clock) {
            Meeting::Known => {}
            Meeting::Fact(entry) => store.floors.push(entry),
            Meeting::Ask(question) => self.ledger.add(match settle(&store.epochs, &question)? {
                Settled::Known(row) => row,
                Settled::New(row) => {
                    store.epochs.push(row.clone());
                    row
                }
            }),
        }
        let built = self.built(&self.ledger, offset);
        self.ledger.raise(position.is_streamed().then_some((built, self.clock)));
        Ok(built)
    }

    fn built(&self, ledger: &Ledger, offset: i64) -> Token {
        token(&OrderPolicy::Source, 1, &self.log[offset as usize], ledger, &self.at, offset).expect("token")
    }

    /// Another process takes over: it knows what is stored.
    fn restart(&mut self, store: &Store) {
        let top = self.ledger.top();
        self.ledger = Ledger::load(&store.floors, &store.epochs, &self.at, "-", top);
    }

    /// A replay of everything, and one from the middle: the tokens of all records, which must be the same.
    fn replayed(&self, store: &Store) -> Vec<Token> {
        let run = |from: i64| -> Vec<Token> {
            let mut ledger = Ledger::load(&store.floors, &store.epochs, &self.at, "-", Top::default());
            let plan = |offset| {
                let position = &self.log[offset as usize];
                match ledger.meet(&self.at, &Arc::from("-"), offset, position, None) {
                    Meeting::Known => {}
                    Meeting::Fact(fact) => ledger.without(&fact),
                    Meeting::Ask(question) => ledger.follow(question).expect("a replay finds its epochs"),
                }
                let built = self.built(&ledger, offset);
                ledger.raise(Some((built, None)));
                built
            };
            (from..self.log.len() as i64).map(plan).collect()
        };
        let all = run(0);
        let middle = self.log.len() / 2;
        assert_eq!(all[middle..], run(middle as i64), "invariant 7: a replay from the middle");
        all
    }

    /// An operator opens an epoch at the end of the log.
    fn operator(&mut self, store: &mut Store, number: u32) {
        store.epochs.push(EpochRow {
            at: self.at.clone(),
            incarnation: Arc::from("-"),
            ordinal: number * EPOCH_STEP,
            marker: OPERATOR.to_owned(),
            first_offset: self.log.len() as i64,
            first_number: None,
            first_time_ms: None,
            bound: None,
            previous_top: self.ledger.top().number.map(|(number, _)| number),
        });
        self.restart(store);
    }
}

fn gtid(marker: &str, number: u64) -> SourcePosition {
    let gtid = Some(Gtid { marker: marker.into(), number });
    SourcePosition::Binlog { gtid, file: 1, pos: 4, row: Some(0), phase: Phase::Stream }
}

fn binlog(file: u64, pos: u64, phase: Phase) -> SourcePosition {
    SourcePosition::Binlog { gtid: None, file, pos, row: Some(0), phase }
}

fn postgres(commit: Option<u64>, lsn: u64, phase: Phase) -> SourcePosition {
    SourcePosition::Postgres { commit, lsn, phase }
}

/// Number of the epoch: the first is 1, whether it has a row or not.
fn epoch(token: Token) -> u32 {
    u32::from_be_bytes(token.as_bytes()[3..7].try_into().expect("four bytes")).max(EPOCH_STEP) / EPOCH_STEP
}

fn rising(tokens: &[Token]) {
    for (at, pair) in tokens.windows(2).enumerate() {
        assert!(pair[0] < pair[1], "{at}: {:?} {:?}", pair[0], pair[1]);
    }
}

/// Review A1: an empty table, `snapshot.mode=no_data`, and a start without a stored commit show a null first element and
/// no snapshot; the rest of a killed first transaction has one. None is refused, and nothing ranks below its snapshot.
#[test]
fn first_transactions_need_no_snapshot_and_beat_the_one_they_follow() {
    let mut store = Store::default();
    let mut empty = Part::new(0);
    let tokens = [postgres(None, 210, Phase::Stream), postgres(Some(215), 220, Phase::Stream)]
        .map(|position| empty.see(&mut store, position).expect("planned"));
    rising(&tokens);
    assert!(store.epochs.is_empty(), "a source without markers needs no row");

    let mut killed = Part::new(1);
    let tokens = [
        postgres(None, 100, Phase::Snapshot),
        postgres(None, 91, Phase::Stream),
        postgres(Some(92), 93, Phase::Stream),
        postgres(Some(120), 121, Phase::Stream),
    ]
    .map(|position| killed.see(&mut store, position).expect("planned"));
    rising(&tokens);
    assert_eq!(killed.replayed(&store), tokens);
}

/// Review A2, 1: after a failback A, B, A the newest changes win.
#[test]
fn a_failback_opens_a_third_epoch() {
    let mut store = Store::default();
    let mut part = Part::new(0);
    let tokens = [("a", 90), ("a", 100), ("b", 7), ("b", 9), ("a", 101), ("a", 102), ("b", 10)]
        .map(|(marker, number)| part.see(&mut store, gtid(marker, number)).expect("planned"));
    rising(&tokens);
    assert_eq!(tokens.map(epoch), [1, 1, 2, 2, 3, 3, 4]);
    assert_eq!(part.replayed(&store), tokens);
    assert_eq!(store.epochs[2].bound, Some(100));
}

/// Review A2, 2: the bound is the partition's own. The lagging one meets the old primary's last numbers late and they stay old.
#[test]
fn bounds_of_epochs_are_per_partition() {
    let mut store = Store::default();
    let (mut fast, mut slow) = (Part::new(0), Part::new(1));
    let fast_tokens = [("a", 1), ("a", 100), ("b", 1), ("a", 200)]
        .map(|(marker, number)| fast.see(&mut store, gtid(marker, number)).expect("planned"));
    let slow_tokens = [("a", 2), ("a", 150), ("b", 2), ("a", 180)]
        .map(|(marker, number)| slow.see(&mut store, gtid(marker, number)).expect("planned"));
    rising(&fast_tokens);
    rising(&slow_tokens);
    assert_eq!(slow_tokens.map(epoch), [1, 1, 2, 3]);
    assert_eq!((fast.replayed(&store), slow.replayed(&store)), (fast_tokens.to_vec(), slow_tokens.to_vec()));
}

/// A partition whose first record comes late takes the life that its number belongs to for sure, else the oldest one that it may
/// belong to: what follows in its log then puts it right or stops it.
#[test]
fn a_partition_that_begins_late_takes_the_life_of_its_number() {
    for (number, life) in [(80, 1), (150, 1), (200, 3), (250, 3)] {
        let mut store = Store::default();
        let mut fast = Part::new(0);
        for (marker, number) in [("a", 1), ("a", 100), ("b", 1), ("a", 200)] {
            fast.see(&mut store, gtid(marker, number)).expect("planned");
        }
        let token = Part::new(1).see(&mut store, gtid("a", number)).expect("planned");
        assert_eq!(epoch(token), life, "{number}");
    }
}

/// Review A2, 3: a primary of which only one partition saw something. No numbers are right for both, so it stops, and goes on
/// when an operator says where.
#[test]
fn contradicting_orders_stop_until_an_operator_opens_an_epoch() {
    let mut store = Store::default();
    let (mut first, mut second) = (Part::new(0), Part::new(1));
    for (marker, number) in [("a", 1), ("b", 1)] {
        first.see(&mut store, gtid(marker, number)).expect("planned");
    }
    let before: Vec<Token> = [("a", 2), ("c", 5)]
        .map(|(marker, number)| second.see(&mut store, gtid(marker, number)).expect("planned"))
        .to_vec();
    let why = second.see(&mut store, gtid("b", 2)).expect_err("b is older than c elsewhere");
    assert_eq!((why.reason, why.stops_table), ("source_epoch", true));
    assert!(why.detail.contains("lastword epoch open"), "{why}");
    // Asking again is answered the same.
    assert!(second.see(&mut store, gtid("b", 2)).is_err());

    first.operator(&mut store, 4);
    second.operator(&mut store, 4);
    let after = second.see(&mut store, gtid("b", 2)).expect("planned");
    rising(&[before, vec![after]].concat());
    let other = first.see(&mut store, gtid("b", 3)).expect("planned");
    assert_eq!((epoch(after), epoch(other)), (4, 4));
    assert!(after < other, "and the partitions are comparable again");
    assert_eq!(second.replayed(&store).last(), Some(&after));
}

/// The same with a clock: what lay between is put there, and nothing stops.
#[test]
fn the_sources_clock_tells_an_old_life_from_the_newest() {
    let mut store = Store::default();
    let (mut first, mut second) = (Part::new(0), Part::new(1));
    let mut see = |part: &mut Part, clock, marker: &str, number| {
        part.clock = Some(clock);
        part.see(&mut store, gtid(marker, number)).expect("planned")
    };
    let quick = [see(&mut first, 50, "b", 1), see(&mut first, 90, "a", 200)];
    let slow = [see(&mut second, 10, "a", 1), see(&mut second, 30, "c", 5), see(&mut second, 60, "b", 2)];
    let back = see(&mut second, 95, "a", 201);
    rising(&[slow[0], slow[1], quick[0], slow[2], quick[1], back]);
    assert_eq!(first.replayed(&store), quick);
    assert_eq!(second.replayed(&store), [&slow[..], &[back]].concat());
}

/// Review A2, 4: blocking and incremental snapshots lie among the stream and open nothing.
#[test]
fn snapshots_among_the_stream_open_nothing() {
    let mut store = Store::default();
    let mut part = Part::new(0);
    let tokens = [
        postgres(Some(10), 11, Phase::Stream),
        postgres(Some(9), 10, Phase::Snapshot),
        postgres(Some(12), 13, Phase::Stream),
        postgres(Some(10), 11, Phase::Stream),
    ]
    .map(|position| part.see(&mut store, position).expect("planned"));
    assert!(tokens[1] < tokens[0] && tokens[0] < tokens[2] && tokens[3] == tokens[0]);
    assert!(store.epochs.is_empty());

    let mut part = Part::new(1);
    let read = |number| {
        let gtid = Some(Gtid { marker: "0".into(), number });
        SourcePosition::Binlog { gtid, file: 1, pos: 9, row: Some(0), phase: Phase::Snapshot }
    };
    let tokens = [gtid("0", 7), read(7), gtid("0", 8)].map(|position| part.see(&mut store, position).expect("planned"));
    assert!(tokens[1] < tokens[0] && tokens[0] < tokens[2]);
    assert_eq!(tokens.map(epoch), [1, 1, 1]);
}

/// Review A2, 5: snapshot rows without GTID: the first ones rank below every stream, a second attempt after a rotation
/// above the first, and those of a re-made connector above the stream before it and below what follows.
#[test]
fn snapshot_rows_without_gtid_find_their_place() {
    let mut store = Store::default();
    let mut part = Part::new(0);
    let history = [
        binlog(9, 900, Phase::Snapshot),
        binlog(10, 4, Phase::Snapshot),
        gtid("0", 1),
        gtid("0", 50),
        binlog(11, 300, Phase::Snapshot),
        binlog(12, 4, Phase::Snapshot),
        gtid("0", 51),
    ];
    let tokens: Vec<Token> =
        history.iter().map(|position| part.see(&mut store, position.clone()).expect("planned")).collect();
    rising(&tokens);
    assert_eq!(tokens.iter().map(|token| epoch(*token)).collect::<Vec<_>>(), [1; 7]);
    assert_eq!(store.floors.iter().map(|floor| (floor.offset, floor.value)).collect::<Vec<_>>(), [(4, 50)]);
    assert_eq!(part.replayed(&store), tokens);

    // Without GTIDs at all, in one binlog file.
    let mut part = Part::new(1);
    let tokens = [
        binlog(9, 900, Phase::Snapshot),
        binlog(9, 950, Phase::Stream),
        binlog(9, 980, Phase::Snapshot),
        binlog(9, 990, Phase::Stream),
        binlog(10, 4, Phase::Stream),
    ]
    .map(|position| part.see(&mut store, position).expect("planned"));
    rising(&tokens);
    assert_eq!(part.replayed(&store), tokens);
}

/// Rows of the first snapshot that come late or twice (a producer's retry) are told by their source time.
#[test]
fn a_snapshot_row_that_comes_twice_is_no_new_snapshot() {
    let mut store = Store::default();
    for (row, change) in [
        (binlog(9, 900, Phase::Snapshot), gtid("0", 7)),
        (postgres(None, 100, Phase::Snapshot), postgres(Some(120), 130, Phase::Stream)),
    ] {
        let mut part = Part::new(0);
        let mut see = |clock, position: &SourcePosition| {
            part.clock = Some(clock);
            part.see(&mut store, position.clone()).expect("planned")
        };
        let tokens = [see(1_000, &row), see(5_000, &change), see(1_000, &row)];
        assert!(tokens[0] < tokens[1] && tokens[2] == tokens[0]);
        assert_eq!(part.replayed(&store), tokens);
        store = Store::default();
    }
}

/// Review A2, 6: two processes on one partition (one of them fenced), and on two partitions, ask at once.
#[test]
fn whoever_asks_second_hears_of_the_first() {
    let mut store = Store::default();
    let mut part = Part::new(0);
    part.see(&mut store, gtid("a", 1)).expect("planned");
    let mut zombie = Ledger::load(&store.floors, &store.epochs, &part.at, "-", part.ledger.top());
    let built = part.see(&mut store, gtid("b", 1)).expect("planned");
    let rows = store.epochs.len();
    let Meeting::Ask(question) = zombie.meet(&part.at, &Arc::from("-"), 1, &gtid("b", 1), None) else {
        panic!("it asks")
    };
    let Ok(Settled::Known(row)) = settle(&store.epochs, &question) else { panic!("the row is there") };
    zombie.add(row);
    assert_eq!((part.built(&zombie, 1), store.epochs.len()), (built, rows));
}

/// What comes twice across a failover keeps its epoch, also after a restart of the process.
#[test]
fn redelivery_across_a_failover_changes_nothing() {
    let mut store = Store::default();
    let mut part = Part::new(0);
    let old = part.see(&mut store, gtid("a", 99)).expect("planned");
    let last = part.see(&mut store, gtid("a", 100)).expect("planned");
    part.restart(&store);
    let new = part.see(&mut store, gtid("b", 1)).expect("planned");
    part.restart(&store);
    let again = [("a", 99), ("a", 100), ("b", 1)]
        .map(|(marker, number)| part.see(&mut store, gtid(marker, number)).expect("planned"));
    assert_eq!(again, [old, last, new]);
    assert_eq!(store.epochs.len(), 2, "nothing was opened by what came twice");
    assert_eq!(epoch(part.see(&mut store, gtid("a", 101)).expect("planned")), 3);
    let again =
        [("a", 99), ("b", 1)].map(|(marker, number)| part.see(&mut store, gtid(marker, number)).expect("planned"));
    assert_eq!(again, [old, new], "also behind a failback");
    part.replayed(&store);
}

/// Several primaries that write at once are refused in the end, with what helps.
#[test]
fn epochs_are_not_opened_without_end() {
    let mut store = Store::default();
    let mut part = Part::new(0);
    let why = (1..200).find_map(|number| part.see(&mut store, gtid(["a", "b"][number as usize % 2], number)).err());
    let why = why.expect("it stops");
    assert!(why.stops_table && why.detail.contains("order_by"), "{why}");
    assert_eq!(store.epochs.len(), 64);
}

/// A restored PostgreSQL: the new snapshot lies below the stream, opens an epoch, and other partitions adopt it.
#[test]
fn a_snapshot_that_went_back_opens_an_epoch() {
    let mut store = Store::default();
    let (mut first, mut second) = (Part::new(0), Part::new(1));
    let life = |lsn: u64| {
        [
            postgres(None, lsn, Phase::Snapshot),
            postgres(None, lsn - 5, Phase::Stream),
            postgres(Some(lsn + 50), lsn + 60, Phase::Stream),
        ]
    };
    let history: Vec<SourcePosition> = [life(1000), life(500), life(600)].concat();
    let run = |part: &mut Part, store: &mut Store| -> Vec<Token> {
        history.iter().map(|position| part.see(store, position.clone()).expect("planned")).collect()
    };
    let tokens = run(&mut first, &mut store);
    rising(&tokens);
    assert_eq!(tokens.iter().map(|token| epoch(*token)).collect::<Vec<_>>(), [1, 1, 1, 2, 2, 2, 2, 2, 2]);
    assert_eq!(run(&mut second, &mut store), tokens);
    assert_eq!(first.replayed(&store), tokens);
    assert_eq!(second.replayed(&store), tokens);
}

/// A partition that had streamed nothing beyond the restored snapshot takes it for an ordinary one. Whoever comes second notices: it
/// adopts, or it stops.
#[test]
fn partitions_agree_about_a_restore_or_stop() {
    let [stream, back] = [postgres(Some(900), 900, Phase::Stream), postgres(None, 500, Phase::Snapshot)];
    let mut store = Store::default();
    let (mut busy, mut cold) = (Part::new(0), Part::new(1));
    busy.see(&mut store, stream.clone()).expect("planned");
    assert_eq!(epoch(busy.see(&mut store, back.clone()).expect("planned")), 2);
    assert_eq!(epoch(cold.see(&mut store, back.clone()).expect("planned")), 2, "adopted");

    let mut store = Store::default();
    let (mut busy, mut cold) = (Part::new(0), Part::new(1));
    busy.see(&mut store, stream.clone()).expect("planned");
    assert_eq!(epoch(cold.see(&mut store, back.clone()).expect("planned")), 1);
    assert_eq!(busy.see(&mut store, back.clone()).expect_err("they disagree").reason, "source_epoch");
    busy.operator(&mut store, 2);
    cold.operator(&mut store, 2);
    assert_eq!(epoch(busy.see(&mut store, back).expect("planned")), 2);
    assert_eq!(epoch(cold.see(&mut store, postgres(Some(510), 520, Phase::Stream)).expect("planned")), 2);
    busy.replayed(&store);
    cold.replayed(&store);
}

/// Behind an operator's row: numbers that start again belong to it, numbers that go on leave what comes twice where it was.
#[test]
fn an_operators_epoch_is_bound_to_what_follows() {
    let mut store = Store::default();
    let mut part = Part::new(0);
    let before = part.see(&mut store, gtid("0", 90)).expect("planned");
    part.operator(&mut store, 2);
    let restarted = [3, 4].map(|number| part.see(&mut store, gtid("0", number)).expect("planned"));
    rising(&[before, restarted[0], restarted[1]]);
    assert_eq!(part.replayed(&store)[1..], restarted);
    part.operator(&mut store, 3);
    let goes_on = part.see(&mut store, gtid("0", 5)).expect("planned");
    let again = part.see(&mut store, gtid("0", 4)).expect("planned");
    assert_eq!((epoch(goes_on), again), (3, restarted[1]));
    part.replayed(&store);
}

/// Connectors whose positions tell no epochs are in the operator's, and a lower position is noticed.
#[test]
fn an_operators_epoch_holds_for_every_connector() {
    let oracle = |commit| SourcePosition::Oracle { commit, scn: 0, phase: Phase::Stream };
    let mut store = Store::default();
    let mut part = Part::new(0);
    part.clock = Some(1_000);
    let before = part.see(&mut store, oracle(900)).expect("planned");
    part.log.push(oracle(30));
    assert!(part.ledger.regresses(&part.built(&part.ledger, 1), Some(60_000), 10_000));
    part.log.pop();
    part.operator(&mut store, 2);
    let after = part.see(&mut store, oracle(30)).expect("planned");
    assert!(before < after && epoch(after) == 2);
    assert_eq!(part.replayed(&store), [before, after]);
}

/// Invariant 7: a plan whose batch is lost meets everything again as it met it.
#[test]
fn a_lost_batch_is_planned_again_with_the_same_tokens() {
    let mut store = Store::default();
    let mut part = Part::new(0);
    let history = [gtid("a", 5), gtid("b", 1), gtid("a", 9), binlog(3, 4, Phase::Snapshot), gtid("a", 10)];
    part.ledger.begin(0);
    let first: Vec<Token> =
        history.iter().map(|position| part.see(&mut store, position.clone()).expect("planned")).collect();
    let rows = store.epochs.len();
    part.ledger.begin(0);
    part.ledger.forget_from(3);
    let again: Vec<Token> = (0..5).map(|offset| part.plan(&mut store, offset).expect("planned")).collect();
    assert_eq!((again, store.epochs.len()), (first, rows));
    assert_eq!(store.floors.len(), 2, "the fact went with the batch, so it is found and stored again");
    assert_eq!(store.floors[0], store.floors[1]);
    assert_eq!(part.ledger.top().number, Some((10, 4)));
    // Committed up to offset 3, the rest lost.
    part.ledger.begin(5);
    assert_eq!(part.ledger.top().number, Some((10, 4)));
}

/// A position that was moved back opens nothing: what lies behind it is known, or older than what is known.
#[test]
fn below_what_was_read_nothing_is_opened() {
    let mut store = Store::default();
    let mut part = Part::new(0);
    for number in 1..5 {
        part.see(&mut store, gtid("b", number)).expect("planned");
    }
    part.restart(&store);
    part.log[2] = gtid("a", 7);
    assert_eq!(part.plan(&mut store, 2).expect_err("unknown").reason, "source_epoch");
    // Began in the middle: the same marker before the first row is the same life, another one is refused.
    store.epochs[0].first_offset = 2;
    part.restart(&store);
    assert_eq!(epoch(part.plan(&mut store, 0).expect("planned")), 1);
    part.log[0] = gtid("a", 7);
    assert_eq!(part.plan(&mut store, 0).expect_err("unknown").reason, "source_epoch");
}

/// A topic that was made anew has offsets and a history of its own.
#[test]
fn facts_of_another_incarnation_do_not_count() {
    let row = |incarnation: &str, number| EpochRow {
        at: TopicPartition::new("t", 0),
        incarnation: incarnation.into(),
        ordinal: 1,
        marker: format!("snapshot {number}"),
        first_offset: 0,
        first_number: None,
        first_time_ms: None,
        bound: None,
        previous_top: None,
    };
    let rows = [row("old", 900), row("new", 100)];
    let ledger = |partition| Ledger::load(&[], &rows, &TopicPartition::new("t", partition), "new", Top::default());
    assert_eq!((ledger(0).floor(5), ledger(1).floor(5)), (100, 0));
}

/// Review B19: the alarm needs a lower token and a later source time of the same scope.
#[test]
fn the_alarm_sounds_for_later_changes_at_lower_positions_only() {
    let mut store = Store::default();
    let mut part = Part::new(0);
    let low = part.see(&mut store, gtid("0", 5)).expect("planned");
    let high = part.see(&mut store, gtid("0", 9)).expect("planned");
    part.ledger.raise(Some((high, Some(100_000))));
    let alarm = |token: &Token, time| part.ledger.regresses(token, time, 10_000);
    assert!(alarm(&low, Some(110_001)));
    assert!(!alarm(&low, Some(110_000)), "within the margin");
    assert!(!alarm(&low, Some(90_000)), "what comes twice");
    assert!(!alarm(&low, None) && !alarm(&high, Some(200_000)));
    let other = crate::core::token::TokenWriter::new(2, 1).number(0).finish();
    assert!(!alarm(&other, Some(200_000)), "another scope");
}
