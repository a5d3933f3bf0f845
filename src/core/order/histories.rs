//! Histories of sources, and the test that tokens order them as the source committed them.
//!
//! A history knows nothing of connectors: transactions run beside each other, change rows under row locks at rising positions of
//! one log, and become visible in the order of their commits. A snapshot is taken while some are open. What a connector sends is
//! made from it: the snapshot, then whole transactions in the order of their commits, and after each restart again from somewhere
//! before. Each connector then says which position an event carries.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::epoch::{EpochRow, Settled, settle};
use super::super::event::Gtid;
use super::super::ledger::Meeting;
use super::super::token::text::describe;
use super::*;
use crate::core::decode::binlog_file;
use crate::support::random::Random;

const KEYS: u64 = 4;
const PARTITIONS: u64 = 2;
const OPEN: usize = 3;

/// A transaction: keys with the log position of each change.
#[derive(Clone, Debug, Default)]
struct Transaction {
    changes: Vec<(u64, u64)>,
    /// Log position of its commit.
    commit: u64,
    /// Where the binlog has it: number of the file and position.
    binlog: (u64, u64),
}

/// What the source did.
#[derive(Debug)]
struct History {
    /// In the order of their commits.
    transactions: Vec<Transaction>,
    /// How many had committed when the snapshot was taken, and the log's end then.
    snapshot: Option<(usize, u64)>,
}

impl History {
    fn new(random: &mut Random) -> Self {
        let mut history = Self { transactions: Vec::new(), snapshot: None };
        let mut open: Vec<Transaction> = vec![Transaction::default(); OPEN];
        let mut log = 1 + random.below(1 << 33);
        let mut binlog = (999_998, 4);
        let steps = 20 + random.below(60);
        let snapshot_at = random.below(2 * steps);
        for step in 0..steps {
            if step == snapshot_at {
                log += 1;
                history.snapshot = Some((history.transactions.len(), log));
            }
            // Sometimes several things happen at nearly one position, so that coarser clocks tie.
            log += [1, 1, 8, 200][random.below(4) as usize];
            let at = random.below(OPEN as u64) as usize;
            if random.below(3) == 0 && !open[at].changes.is_empty() {
                let mut done = std::mem::take(&mut open[at]);
                (done.commit, done.binlog) = (log, binlog);
                binlog.1 += 400 * done.changes.len() as u64;
                if random.below(3) == 0 {
                    // The file is full: positions start again.
                    binlog = (binlog.0 + 1, 4);
                }
                history.transactions.push(done);
                continue;
            }
            let key = random.below(KEYS);
            let locked = |(other, it): (usize, &Transaction)| other != at && it.changes.iter().any(|(k, _)| *k == key);
            if !open.iter().enumerate().any(locked) {
                open[at].changes.push((key, log));
            }
        }
        history
    }
}

/// A change as a connector sends it.
#[derive(Clone, Copy, Debug)]
struct Sent {
    key: u64,
    /// Order of the change among all of the source: number of the transaction (0: the snapshot) and place inside.
    age: (usize, usize),
    /// How many changes its transaction has.
    of: usize,
    /// Its own log position, and that of its commit.
    log: u64,
    commit: u64,
    binlog: (u64, u64),
    phase: Phase,
    /// End of the last commit that the connector knew: what PostgreSQL's `sequence[0]` is.
    known_commit: Option<u64>,
    partition: i32,
    offset: i64,
}

/// All that a connector sends, with its restarts.
fn sent(history: &History, random: &mut Random) -> Vec<Sent> {
    let mut log = Vec::new();
    let mut offsets = [0_i64; PARTITIONS as usize];
    let mut send = |mut event: Sent, random: &mut Random| {
        let offset = &mut offsets[(event.key % PARTITIONS) as usize];
        // Gaps of markers and of compaction.
        *offset += 1 + i64::from(random.below(5) == 0);
        (event.partition, event.offset) = ((event.key % PARTITIONS) as i32, *offset);
        log.push(event);
    };
    let mut first = 0;
    if let Some((committed, position)) = history.snapshot {
        first = committed;
        let binlog = history.transactions.get(committed).map_or((2_000_000, 4), |next| next.binlog);
        for key in 0..KEYS {
            let event = Sent {
                key,
                age: (0, 0),
                of: 1,
                log: position,
                commit: position,
                binlog,
                phase: Phase::Snapshot,
                known_commit: None,
                partition: 0,
                offset: 0,
            };
            send(event, random);
        }
    }
    let mut restarts = random.below(3);
    let (mut number, mut from, mut known) = (first, 0, None);
    while let Some(transaction) = history.transactions.get(number) {
        let killed = (restarts > 0 && random.below(4) == 0).then(|| random.below(1 + transaction.changes.len() as u64));
        for (place, (key, position)) in transaction.changes.iter().enumerate().skip(from) {
            if killed.is_some_and(|killed| place as u64 >= killed) {
                break;
            }
            let event = Sent {
                key: *key,
                age: (1 + number, place),
                of: transaction.changes.len(),
                log: *position,
                commit: transaction.commit,
                binlog: transaction.binlog,
                phase: Phase::Stream,
                known_commit: known,
                partition: 0,
                offset: 0,
            };
            send(event, random);
        }
        from = 0;
        if let Some(killed) = killed {
            // From the place that was stored: any before, at the begin of a transaction or inside it. The last commit is stored
            // with it (seen); inside the first transaction there is none, and the last position read stands for it.
            restarts -= 1;
            let back = random.below(1 + (number - first) as u64) as usize;
            number -= back;
            if back == 0 {
                from = random.below(1 + killed) as usize;
            }
            known = match history.transactions[first..number].last() {
                Some(before) => Some(before.commit),
                None => from.checked_sub(1).map(|read| transaction.changes[read].1),
            };
        } else {
            known = Some(transaction.commit);
            number += 1;
        }
    }
    log
}

/// Which position a connector gives an event.
type Rule = fn(&Sent) -> SourcePosition;

fn gtid(event: &Sent) -> Option<Gtid> {
    (event.phase == Phase::Stream).then(|| Gtid { marker: "m".into(), number: event.age.0 as u64 })
}

fn file(event: &Sent) -> u64 {
    binlog_file(&format!("mysql-bin.{:06}", event.binlog.0)).expect("a file")
}

fn wide(position: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&position.to_be_bytes());
    bytes
}

/// A snapshot row has no place in a transaction.
fn inside(event: &Sent, position: u64) -> u64 {
    if event.phase == Phase::Snapshot { 0 } else { position }
}

const RULES: [(&str, Rule); 17] = [
    ("PostgreSQL", |it| SourcePosition::Postgres { commit: it.known_commit, lsn: it.log, phase: it.phase }),
    ("MariaDB", |it| {
        // Up to three rows in one binlog event.
        let (pos, row) = (it.binlog.1 + 100 * (it.age.1 as u64 / 3), it.age.1 as u64 % 3);
        SourcePosition::Binlog { gtid: gtid(it), file: file(it), pos, row: Some(row), phase: it.phase }
    }),
    ("MySQL", |it| {
        let pos = it.binlog.1 + 100 * (it.age.1 as u64 / 3);
        SourcePosition::Binlog { gtid: gtid(it), file: file(it), pos, row: None, phase: it.phase }
    }),
    ("MySQL, compressed transactions", |it| SourcePosition::Binlog {
        gtid: gtid(it),
        file: file(it),
        pos: it.binlog.1,
        row: None,
        phase: it.phase,
    }),
    ("MySQL without GTID", |it| {
        let pos = it.binlog.1 + 100 * (it.age.1 as u64 / 3);
        SourcePosition::Binlog { gtid: None, file: file(it), pos, row: None, phase: it.phase }
    }),
    ("SQL Server", |it| SourcePosition::SqlServer {
        commit: wide(it.commit),
        change: wide(inside(it, it.log)),
        serial: inside(it, 1) as u32,
        phase: it.phase,
    }),
    ("Oracle", |it| SourcePosition::Oracle { commit: it.commit / 10, scn: it.log / 10, phase: it.phase }),
    ("Oracle, XStream", |it| SourcePosition::Oracle { commit: it.commit / 10, scn: 0, phase: it.phase }),
    ("Db2", |it| SourcePosition::Db2 {
        commit: u128::from(it.commit),
        change: u128::from(inside(it, it.log)),
        phase: it.phase,
    }),
    ("Informix", |it| SourcePosition::Informix { commit: it.commit, change: inside(it, it.log), phase: it.phase }),
    ("MongoDB", |it| SourcePosition::Mongo {
        seconds: (it.commit / 50) as u32,
        ord: (it.commit % 50) as u32,
        phase: it.phase,
    }),
    // The server changes in the middle: ranks start again under the next epoch.
    ("Vitess", |it| {
        let (epoch, rank) = if it.age.0 > 5 { (2, it.age.0 - 5) } else { (1, it.age.0) };
        SourcePosition::Vitess { epoch, rank: rank as u128, phase: it.phase }
    }),
    ("Spanner", |it| SourcePosition::Spanner {
        nanos: it.commit,
        sequence: inside(it, it.age.1 as u64 / 2),
        item: inside(it, it.age.1 as u64 % 2) as u32,
        phase: it.phase,
    }),
    ("CockroachDB", |it| SourcePosition::Hlc {
        nanos: it.commit / 10,
        logical: (it.commit % 10) as u32,
        phase: it.phase,
    }),
    ("TiCDC", |it| SourcePosition::Tso(it.commit)),
    ("Maxwell", |it| {
        let row = if it.age.1 + 1 == it.of { u64::MAX } else { it.age.1 as u64 };
        SourcePosition::Binlog { gtid: None, file: file(it), pos: it.binlog.1, row: Some(row), phase: it.phase }
    }),
    ("Canal", |it| SourcePosition::Binlog { gtid: gtid(it), file: 0, pos: 0, row: None, phase: it.phase }),
];

/// What a run leaves to the next one.
#[derive(Default)]
struct Known {
    ledgers: BTreeMap<i32, Ledger>,
    epochs: Vec<EpochRow>,
}

/// Tokens of all events, partition by partition as they lie in the log. With what is known of a run before it is a replay.
fn tokens(
    sent: &[Sent],
    rule: Rule,
    known: &mut Known,
    token: impl Fn(&Sent, &SourcePosition, &Ledger, &TopicPartition) -> Token,
) -> Vec<Token> {
    let incarnation = Arc::from("-");
    let mut make = |event: &Sent| {
        let at = TopicPartition::new("t", event.partition);
        let ledger = known.ledgers.entry(event.partition).or_default();
        let position = rule(event);
        if let Meeting::Ask(question) = ledger.meet(&at, &incarnation, event.offset, &position, None) {
            ledger.add(match settle(&known.epochs, &question).expect("one source") {
                Settled::Known(row) => row,
                Settled::New(row) => {
                    known.epochs.push(row.clone());
                    row
                }
            });
        }
        let built = token(event, &position, ledger, &at);
        ledger.raise(position.is_streamed().then_some((built, None)));
        built
    };
    sent.iter().map(&mut make).collect()
}

/// The rule that the program has.
fn ours(event: &Sent, position: &SourcePosition, ledger: &Ledger, at: &TopicPartition) -> Token {
    token(&OrderPolicy::Source, 1, position, ledger, at, event.offset).expect("a token")
}

/// The first pair of changes of one key that tokens order in another way than the source committed them. Changes of one place
/// are ordered by their offsets; the greatest token of a key must be its last change's all the same.
fn wrong_pair(sent: &[Sent], tokens: &[Token], rule: Rule) -> Option<String> {
    for (a, token_a) in sent.iter().zip(tokens) {
        for (b, token_b) in sent.iter().zip(tokens) {
            if a.key != b.key || a.age >= b.age {
                continue;
            }
            let right =
                if rule(a) == rule(b) { (a.offset < b.offset) == (token_a < token_b) } else { token_a < token_b };
            if !right || !token_a.comparable(token_b) {
                return Some(format!("{a:?} has {token_a}\n{b:?} has {token_b}"));
            }
        }
    }
    let all = || sent.iter().zip(tokens);
    for key in 0..KEYS {
        let newest = all().filter(|(it, _)| it.key == key).max_by_key(|(it, _)| it.age);
        let greatest = all().filter(|(it, _)| it.key == key).max_by_key(|(_, token)| **token);
        if let (Some((newest, _)), Some((greatest, _))) = (newest, greatest)
            && newest.age != greatest.age
        {
            return Some(format!("{newest:?} is the last change, but {greatest:?} has the greatest token"));
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Invariants 2 and 7, for every connector: the order of tokens is the order of commits, for first deliveries and all that
    /// came again; and a replay builds the same tokens.
    #[test]
    fn the_order_of_tokens_is_the_order_of_commits(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let sent = sent(&History::new(&mut random), &mut random);
        for (name, rule) in RULES {
            let mut known = Known::default();
            let first = tokens(&sent, rule, &mut known, ours);
            let wrong = wrong_pair(&sent, &first, rule);
            prop_assert!(wrong.is_none(), "seed {seed}, {name}: {}", wrong.unwrap_or_default());
            prop_assert!(first == tokens(&sent, rule, &mut known, ours), "seed {seed}, {name}: a replay differs");
            for token in &first {
                prop_assert!(describe(token).is_some(), "seed {seed}, {name}: {token:?} cannot be read");
            }
        }
    }
}

/// The test can fail: rules that are known to be wrong are found out, each by some history.
#[test]
fn wrong_rules_are_found_out() {
    type Wrong = fn(&Sent, &SourcePosition, &Ledger, &TopicPartition) -> Token;
    let wrong: [(&str, usize, Wrong); 6] = [
        ("PostgreSQL by its bare LSN", 0, |it, _, _, _| TokenWriter::new(1, 1).number(it.log).finish()),
        ("PostgreSQL without the snapshot's floor", 0, |it, position, _, at| {
            ours(it, position, &Ledger::default(), at)
        }),
        ("files compared as text", 4, |it, _, _, at| {
            let text = format!("{:06}", it.binlog.0);
            TokenWriter::new(1, 1).bytes(text.as_bytes()).number(it.binlog.1).kafka(at.partition, it.offset).finish()
        }),
        ("rows of compressed transactions", 3, |it, _, _, _| {
            TokenWriter::new(1, 1).number(it.age.0 as u64).number(it.age.1 as u64 % 3).finish()
        }),
        ("Oracle by the place in its transaction", 6, |it, _, _, _| {
            let writer = TokenWriter::new(1, 1).number(it.commit / 10).phase(it.phase);
            writer.number(it.age.1 as u64).finish()
        }),
        ("MongoDB without the Kafka position", 10, |it, _, _, _| {
            TokenWriter::new(1, 1).number(it.commit).phase(it.phase).finish()
        }),
    ];
    for (what, rule, token) in wrong {
        let rule = RULES[rule].1;
        let found = (0..2000).any(|seed| {
            let mut random = Random::new(seed);
            let sent = sent(&History::new(&mut random), &mut random);
            let tokens = tokens(&sent, rule, &mut Known::default(), token);
            wrong_pair(&sent, &tokens, rule).is_some()
        });
        assert!(found, "{what}: no history shows that it is wrong");
    }
}

/// Two tokens of one source are never compared where their scopes or layouts differ, whatever the bytes behind say.
#[test]
fn positions_of_different_kinds_are_incomparable() {
    let event = Sent {
        key: 0,
        age: (1, 0),
        of: 1,
        log: 5,
        commit: 9,
        binlog: (3, 4),
        phase: Phase::Stream,
        known_commit: Some(4),
        partition: 0,
        offset: 7,
    };
    let at = TopicPartition::new("t", 0);
    let made: Vec<(SourcePosition, Token)> =
        RULES.iter().map(|(_, rule)| (rule(&event), ours(&event, &rule(&event), &Ledger::default(), &at))).collect();
    for (position, token) in &made {
        for (other, with) in &made {
            let same = std::mem::discriminant(position) == std::mem::discriminant(other);
            assert_eq!(token.comparable(with), same, "{position:?} and {other:?}");
        }
    }
}
