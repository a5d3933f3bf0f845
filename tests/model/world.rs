//! What the model consists of: logs, the database, lanes, the collector.
//!
//! Numbers stand for what the program keeps in bytes: a token is its rank, a key its number, a record its offset.

use std::sync::LazyLock;

use lastword::core::token::{Token, TokenWriter};

/// Partitions at most.
pub const PARTITIONS: usize = 2;
/// Keys at most.
pub const KEYS: usize = 2;
/// Records of a partition at most.
pub const RECORDS: usize = 4;
/// Two live lanes, each of a process of its own, and one of a replay.
pub const LANES: usize = 3;
/// The replay's lane, and its checkpoint.
pub const REPLAY: usize = 2;
/// Transactions whose connection is gone, at most.
const LOST: usize = 2;

/// Rank of a token.
pub type Order = u8;

/// The tokens by rank.
pub static TOKENS: LazyLock<[Token; 8]> =
    LazyLock::new(|| std::array::from_fn(|rank| TokenWriter::new(1, 1).number(rank as u64).finish()));

/// A rank as the program's own rules take it.
pub fn token(rank: Order) -> Token {
    TOKENS[usize::from(rank)]
}

/// A record: what it does to which key, with the rank of its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Upsert(usize, Order),
    Delete(usize, Order),
    Truncate(Order),
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub name: &'static str,
    pub logs: [&'static [Change]; PARTITIONS],
    /// Records that are there from the beginning. The source appends the others at any time.
    pub at_first: [u8; PARTITIONS],
    /// The partition of each live lane.
    pub reads: [usize; 2],
    /// Records of a batch at most; every smaller batch is tried as well.
    pub batch: u8,
    pub left: Left,
}

/// What may still happen that is not the protocol's own doing. Everything else happens whenever it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Left {
    /// Claims of a partition that another living lane holds: a rebalance, or a second process with the same name.
    pub takeovers: u8,
    /// Lanes that die and forget everything.
    pub crashes: u8,
    /// Connections that are lost under a transaction, before or during COMMIT.
    pub cuts: u8,
    /// Claims that commit without their lane hearing of it.
    pub unanswered: u8,
    /// `offsets set`.
    pub sets: u8,
    /// Replays of everything that the log holds below the live checkpoint.
    pub replays: u8,
    /// Generations that are closed.
    pub generations: u8,
}

/// A partition of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Log {
    pub start: u8,
    pub end: u8,
}

/// A row of the checkpoint table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    pub next: u8,
    pub fence: u8,
    /// Number of the lane, from 1; 0 is nobody.
    pub owner: u8,
    /// Lanes that have moved it: for the properties only.
    pub moved_by: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tombstone {
    pub token: Order,
    /// It was written before the open generation was closed.
    pub is_older: bool,
}

/// What holds for all keys of the table, and the floor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    pub truncate: Option<Order>,
    pub floor: Option<Order>,
    pub floor_version: u8,
}

/// What a transaction has written, and nobody else sees yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Write {
    #[default]
    Nothing,
    Put(Order),
    Gone,
}

impl Write {
    /// What the transaction sees.
    pub fn over(self, committed: Option<Order>) -> Option<Order> {
        match self {
            Self::Nothing => committed,
            Self::Put(token) => Some(token),
            Self::Gone => None,
        }
    }
}

/// How far a transaction is. COMMIT follows `Rechecked`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Advanced,
    Changed,
    Rechecked,
}

/// A plan's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    pub lane: usize,
    pub checkpoint: usize,
    pub fence: u8,
    pub from: u8,
    pub to: u8,
    pub step: Step,
    /// Records that the plan puts aside because they are below the floor, as bits.
    pub refused: u8,
    /// It began before the clock of the open generation was read: so its tombstones are dated.
    pub is_older: bool,
    /// Limits and tombstones as its statements see them: as old as they can be.
    pub limits: Limits,
    pub saw: [Option<Order>; KEYS],
    pub rows: [Write; KEYS],
    pub tombstones: [Write; KEYS],
    /// It holds the checkpoint's row.
    pub holds_checkpoint: bool,
    /// It holds the table's lock.
    pub holds_table: bool,
}

/// The destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Database {
    /// The live ones by partition, then the replay's.
    pub checkpoints: [Checkpoint; PARTITIONS + 1],
    pub rows: [Option<Order>; KEYS],
    pub tombstones: [Option<Tombstone>; KEYS],
    pub limits: Limits,
    /// By lane.
    pub transactions: [Option<Transaction>; LANES],
    /// COMMIT was sent and the connection lost: the server decides, some time.
    pub lost: [Option<Transaction>; LOST],
}

/// What became of a transaction whose outcome its lane does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    Pending,
    Landed,
    NotLanded,
    /// An operator moved the checkpoint since.
    Moved,
}

/// A segment whose outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unknown {
    pub to: u8,
    /// For the properties only; the lane cannot see it.
    pub truth: Truth,
}

/// What a lane has learned last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum News {
    Nothing,
    Landed,
    NotLanded,
    FloorsMoved,
    BelowFloor,
    Deadlock,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It has no partition, or its process is gone.
    #[default]
    Idle,
    /// It believes that the partition is its own.
    Claimed(News),
    /// Its transaction is in the database, or was.
    Applying,
    /// It has to claim again before anything else.
    Reclaim { unknown: Option<Unknown>, fenced: bool },
    /// Only where the claim is broken: it has read the position and raises the fence after it.
    ReadFirst { unknown: Option<Unknown>, next: u8 },
}

/// A lane, with its own belief of its partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lane {
    pub phase: Phase,
    pub fence: u8,
    pub next: u8,
    /// Offset behind the last record that it holds in memory.
    pub expected: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Replay {
    #[default]
    None,
    Running {
        to: u8,
    },
    Done,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    #[default]
    None,
    /// The database's clock was read.
    Clock,
    /// The ends were read: the generation is closed.
    Closed,
    /// Nothing keeps it from being collected.
    Due,
    /// The floor is raised.
    Raised,
    /// Its tombstones are gone.
    Collected,
}

/// The newest generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Generation {
    pub stage: Stage,
    pub ends: [u8; PARTITIONS],
}

/// What only the properties look at: what really happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Records whose changes took effect or lost, in a transaction that committed, as bits.
    pub effective: [u8; PARTITIONS],
    /// Records that were put aside, as bits.
    pub refused: [u8; PARTITIONS],
    /// How often each record was counted: 2 is too often, however much.
    pub counted: [[u8; RECORDS]; PARTITIONS],
    /// Acts that no invariant allows, as bits of [`super::invariants::Wrong`].
    pub wrong: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub logs: [Log; PARTITIONS],
    pub database: Database,
    pub lanes: [Lane; LANES],
    pub replay: Replay,
    pub generation: Generation,
    pub left: Left,
    pub seen: Seen,
}

/// The partition that a checkpoint is of.
pub fn partition_of(checkpoint: usize) -> usize {
    if checkpoint == REPLAY { 0 } else { checkpoint }
}

pub fn bit(number: u8) -> u8 {
    1 << number
}

impl Database {
    fn open(&self) -> impl Iterator<Item = &Transaction> {
        self.transactions.iter().chain(&self.lost).flatten()
    }

    /// Transactions beside the one of a lane.
    fn others(&self, lane: usize) -> impl Iterator<Item = &Transaction> {
        let own = self.transactions.iter().enumerate().filter(move |(of, _)| *of != lane);
        own.map(|(_, transaction)| transaction).chain(&self.lost).flatten()
    }

    /// Whether a transaction holds a checkpoint's row.
    pub fn holds(&self, checkpoint: usize) -> bool {
        self.open().any(|it| it.checkpoint == checkpoint && it.holds_checkpoint)
    }

    /// Whether another transaction has written a key's row.
    pub fn row_locked(&self, key: usize, lane: usize) -> bool {
        self.others(lane).any(|it| it.rows[key] != Write::Nothing)
    }

    /// Whether another transaction has written a key's tombstone.
    pub fn tombstone_locked(&self, key: usize, lane: usize) -> bool {
        self.others(lane).any(|it| it.tombstones[key] != Write::Nothing)
    }

    /// Whether another transaction has the table's lock.
    pub fn table_locked(&self, lane: usize) -> bool {
        self.others(lane).any(|it| it.holds_table)
    }

    pub fn tombstone(&self, key: usize) -> Option<Order> {
        self.tombstones[key].map(|it| it.token)
    }

    pub fn is_quiet(&self) -> bool {
        self.open().next().is_none()
    }
}
