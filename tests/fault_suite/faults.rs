//! The kinds of faults, and schedules of them.

use std::fmt;

use lastword::core::dialect::Dialect;
use lastword::failpoint as at;

use crate::crash_suite::proxy::Cut;
use crate::crash_suite::servers::Down;
use crate::support::random::Random;

/// Something that happens to a process of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberFault {
    /// It kills itself at a place.
    KillAt(&'static str),
    /// It is killed at any time.
    Kill,
    /// It stops at a place, and goes on when others have taken its partitions.
    ZombieAt(&'static str),
    /// It is stopped at any time, and goes on when others have taken its partitions.
    Zombie,
    /// It is told to leave, and another one joins.
    Leave,
}

/// Something that happens around the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SurroundingFault {
    /// The broker is killed, or restarted in an orderly way.
    Broker(Down),
    /// The database goes and comes back.
    Database(Down),
    /// A connection is cut at a COMMIT.
    CutAtCommit(Cut),
    /// All connections are cut.
    CutAll,
    /// Nothing gets through for a while.
    Stall,
    /// No process can write to its files.
    DiskFull,
    /// A range is replayed.
    Replay,
    /// A replay is killed at a place, to be resumed.
    ReplayKilledAt(&'static str),
    /// An operator moves a stored offset back.
    Rewind,
    /// That command is killed at a place.
    RewindKilledAt(&'static str),
}

impl fmt::Display for MemberFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillAt(place) => write!(f, "kill -9 at `{place}`"),
            Self::Kill => write!(f, "kill -9 at any time"),
            Self::ZombieAt(place) => write!(f, "stopped at `{place}`, awake after the takeover"),
            Self::Zombie => write!(f, "stopped at any time, awake after the takeover"),
            Self::Leave => write!(f, "a member leaves, another joins"),
        }
    }
}

impl fmt::Display for SurroundingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(Down::Stop) => write!(f, "broker restarted"),
            Self::Broker(_) => write!(f, "broker killed (-9)"),
            Self::Database(Down::Stop) => write!(f, "database stopped (fast) and started"),
            Self::Database(Down::Immediate) => write!(f, "database stopped (immediate) and started"),
            Self::Database(Down::Kill) => write!(f, "database killed (-9) and started"),
            Self::CutAtCommit(Cut::Before) => write!(f, "connection cut, COMMIT lost"),
            Self::CutAtCommit(Cut::After) => write!(f, "connection cut, answer to COMMIT lost"),
            Self::CutAtCommit(Cut::Late) => write!(f, "connection cut, COMMIT arrives late"),
            Self::CutAll => write!(f, "all connections cut"),
            Self::Stall => write!(f, "connections stalled"),
            Self::DiskFull => write!(f, "disk full"),
            Self::Replay => write!(f, "a range is replayed meanwhile"),
            Self::ReplayKilledAt(place) => write!(f, "a replay: kill -9 at `{place}`"),
            Self::Rewind => write!(f, "`offsets set` back"),
            Self::RewindKilledAt(place) => write!(f, "`offsets set`: kill -9 at `{place}`"),
        }
    }
}

/// Places that a live process passes again and again.
pub const LIVE: [&str; 15] = [
    at::CLAIM_BEGUN,
    at::CLAIM_RAISED,
    at::CLAIM_COMMITTED,
    at::RECLAIM_BEGUN,
    at::RECLAIM_RAISED,
    at::RECLAIM_COMMITTED,
    at::PLAN_MADE,
    at::APPLY_BEGUN,
    at::APPLY_ADVANCED,
    at::APPLY_ROWS,
    at::APPLY_BOOKED,
    at::APPLY_COMMITTED,
    at::QUARANTINE_WRITTEN,
    at::REVOKE_BEGUN,
    at::REVOKE_DONE,
];

/// Places that are passed once, when a pipeline begins: store and tables are made, tables are altered.
pub const BEGINNING: [&str; 6] =
    [at::MIGRATE_BEGUN, at::MIGRATE_STATEMENT, at::MIGRATE_DONE, at::ALTER_BEGUN, at::ALTER_DONE, at::TABLE_MADE];

const ZOMBIES: [&str; 7] = [
    at::PLAN_MADE,
    at::APPLY_BEGUN,
    at::APPLY_ADVANCED,
    at::APPLY_BOOKED,
    at::APPLY_COMMITTED,
    at::CLAIM_RAISED,
    at::CLAIM_COMMITTED,
];
const REPLAYS: [&str; 7] = [
    at::REPLAY_RECORDED,
    at::REPLAY_BEGUN,
    at::REPLAY_READ,
    at::REPLAY_ENDED,
    at::APPLY_ADVANCED,
    at::APPLY_BOOKED,
    at::APPLY_COMMITTED,
];
const REWINDS: [&str; 2] = [at::OFFSETS_RAISED, at::OFFSETS_AUDITED];
const CUTS: [Cut; 3] = [Cut::Before, Cut::After, Cut::Late];

/// Faults of one round: a list for each process of the group, and one for what surrounds them. They run side by side.
#[derive(Clone, Debug)]
pub struct Round {
    pub members: Vec<Vec<MemberFault>>,
    pub surroundings: Vec<SurroundingFault>,
}

fn one<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[random.below(of.len() as u64) as usize]
}

pub fn shuffle<T>(list: &mut [T], random: &mut Random) {
    for last in (1..list.len()).rev() {
        list.swap(last, random.below(last as u64 + 1) as usize);
    }
}

/// How databases of this kind are taken away.
fn downs(dialect: Dialect) -> &'static [Down] {
    match dialect {
        Dialect::Postgres => &[Down::Stop, Down::Immediate, Down::Kill],
        Dialect::Mysql => &[Down::Stop, Down::Kill],
        Dialect::Sqlite => &[],
    }
}

/// A round of a short run. `places` are those of [`LIVE`] that it has to visit.
pub fn short(dialect: Dialect, places: &[&'static str], broker: Option<Down>, random: &mut Random) -> Round {
    use SurroundingFault as S;
    let mut members: Vec<Vec<MemberFault>> = vec![vec![MemberFault::Kill], vec![MemberFault::Leave]];
    for (number, place) in places.iter().enumerate() {
        members[number % 2].push(MemberFault::KillAt(place));
    }
    members[0].push(MemberFault::ZombieAt(one(random, &ZOMBIES)));
    members[1].push(MemberFault::Zombie);
    let mut surroundings: Vec<S> = downs(dialect).iter().map(|down| S::Database(*down)).collect();
    if dialect == Dialect::Sqlite {
        surroundings.extend([S::DiskFull, S::DiskFull]);
    } else {
        surroundings.extend(CUTS.map(S::CutAtCommit));
        surroundings.extend([S::CutAll, S::Stall]);
    }
    surroundings.extend(broker.map(S::Broker));
    surroundings.extend([S::Replay, S::ReplayKilledAt(one(random, &REPLAYS)), S::Rewind]);
    surroundings.push(S::RewindKilledAt(one(random, &REWINDS)));
    members.iter_mut().for_each(|list| shuffle(list, random));
    shuffle(&mut surroundings, random);
    Round { members, surroundings }
}

/// A round of a long run.
pub fn long(dialect: Dialect, random: &mut Random) -> Round {
    let member = |random: &mut Random| match random.below(100) {
        0..55 => MemberFault::KillAt(one(random, &LIVE)),
        55..70 => MemberFault::Kill,
        70..80 => MemberFault::ZombieAt(one(random, &ZOMBIES)),
        80..90 => MemberFault::Zombie,
        _ => MemberFault::Leave,
    };
    let members = (0..2).map(|_| (0..7).map(|_| member(random)).collect()).collect();
    let surroundings = (0..7).map(|_| surrounding(dialect, random)).collect();
    Round { members, surroundings }
}

fn surrounding(dialect: Dialect, random: &mut Random) -> SurroundingFault {
    use SurroundingFault as S;
    match (dialect, random.below(100)) {
        (_, 0..3) => S::Broker(one(random, &[Down::Stop, Down::Kill])),
        (_, 3..18) => S::Replay,
        (_, 18..30) => S::ReplayKilledAt(one(random, &REPLAYS)),
        (_, 30..40) => S::Rewind,
        (_, 40..48) => S::RewindKilledAt(one(random, &REWINDS)),
        (Dialect::Sqlite, _) => S::DiskFull,
        (_, 48..60) => S::Database(one(random, downs(dialect))),
        (_, 60..82) => S::CutAtCommit(one(random, &CUTS)),
        (_, 82..90) => S::CutAll,
        _ => S::Stall,
    }
}
