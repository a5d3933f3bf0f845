//! The log's retention, and the collection of tombstones by the program's own rule.

use lastword::core::collect::{End, Log, Reader, blocked};
use lastword::core::record::TopicPartition;

use super::Protocol;
use super::variants::Broken;
use super::world::{Generation, KEYS, PARTITIONS, REPLAY, Replay, Stage, State};

const INCARNATION: &str = "one";

fn at(partition: usize) -> TopicPartition {
    TopicPartition::new("topic", partition as i32)
}

impl Protocol {
    /// The source appends its next record.
    pub(super) fn append(&self, state: &mut State, partition: usize) -> Option<()> {
        let log = &mut state.logs[partition];
        if usize::from(log.end) == self.size.logs[partition].len() {
            return None;
        }
        log.end += 1;
        Some(())
    }

    /// The log loses what the live pipeline has applied. Only a closed generation waits for that.
    pub(super) fn retention(&self, state: &mut State, partition: usize) -> Option<()> {
        let next = state.database.checkpoints[partition].next;
        let log = &mut state.logs[partition];
        if state.generation.stage != Stage::Closed || log.start >= next {
            return None;
        }
        log.start = next;
        Some(())
    }

    /// The clock first: what is dated before it was read from the log before the ends are asked for.
    pub(super) fn read_clock(&self, state: &mut State) -> Option<()> {
        let graves = state.database.tombstones.iter().any(Option::is_some);
        if !matches!(state.generation.stage, Stage::None | Stage::Collected) || !graves {
            return None;
        }
        state.left.generations = state.left.generations.checked_sub(1)?;
        state.generation.stage = Stage::Clock;
        let database = &mut state.database;
        database.tombstones.iter_mut().flatten().for_each(|tombstone| tombstone.is_older = true);
        let open = database.transactions.iter_mut().chain(&mut database.lost);
        open.flatten().for_each(|transaction| transaction.is_older = true);
        Some(())
    }

    /// The ends, after the clock: the generation is closed.
    pub(super) fn close_generation(&self, state: &mut State) -> Option<()> {
        if state.generation.stage != Stage::Clock {
            return None;
        }
        let ends = std::array::from_fn(|partition| state.logs[partition].end);
        state.generation = Generation { stage: Stage::Closed, ends };
        Some(())
    }

    /// A look at the logs and at everyone who reads them: whether anything keeps the generation from being collected.
    pub(super) fn survey(&self, state: &mut State) -> Option<()> {
        if state.generation.stage != Stage::Closed {
            return None;
        }
        let used = |partition: &usize| !self.size.logs[*partition].is_empty();
        let partitions: Vec<usize> = (0..PARTITIONS).filter(used).collect();
        let end = |partition: &usize| End {
            topic: "topic".into(),
            incarnation: INCARNATION.into(),
            partition: *partition as i32,
            end: state.generation.ends[*partition].into(),
        };
        let log = |partition: &usize| Log {
            at: at(*partition),
            incarnation: INCARNATION.into(),
            start: state.logs[*partition].start.into(),
            end: state.logs[*partition].end.into(),
        };
        let reader = |partition: usize, checkpoint: usize| Reader {
            name: String::new(),
            at: at(partition),
            next: state.database.checkpoints[checkpoint].next.into(),
        };
        let mut readers: Vec<Reader> = partitions.iter().map(|partition| reader(*partition, *partition)).collect();
        if let Replay::Running { to } = state.replay
            && state.database.checkpoints[REPLAY].next < to
        {
            readers.push(reader(0, REPLAY));
        }
        if !self.stands(Broken::WithoutReaders) {
            readers.clear();
        }
        let ends: Vec<End> = partitions.iter().map(end).collect();
        let logs: Vec<Log> = partitions.iter().map(log).collect();
        if !blocked(0, &ends, 0, 0, &logs, &readers).is_empty() {
            return None;
        }
        state.generation.stage = Stage::Due;
        Some(())
    }

    /// The floor rises to the greatest of the generation's tombstones, under the table's lock, before the first one goes.
    pub(super) fn raise_floors(&self, state: &mut State) -> Option<()> {
        // No lane's number: everyone else's lock counts.
        if state.generation.stage != Stage::Due || state.database.table_locked(usize::MAX) {
            return None;
        }
        let older = state.database.tombstones.iter().flatten().filter(|tombstone| tombstone.is_older);
        let greatest = older.map(|tombstone| tombstone.token).max();
        let limits = &mut state.database.limits;
        if greatest > limits.floor {
            limits.floor = greatest;
            limits.floor_version += 1;
        }
        state.generation.stage = Stage::Raised;
        Some(())
    }

    /// Dated tombstones that are not above the floor go.
    pub(super) fn collect(&self, state: &mut State) -> Option<()> {
        if state.generation.stage != Stage::Raised {
            return None;
        }
        for key in 0..KEYS {
            let Some(tombstone) = state.database.tombstones[key] else { continue };
            if tombstone.is_older && Some(tombstone.token) <= state.database.limits.floor {
                if state.database.tombstone_locked(key, usize::MAX) {
                    return None;
                }
                state.database.tombstones[key] = None;
            }
        }
        state.generation.stage = Stage::Collected;
        // Nobody asks any more what was dated before this generation's clock.
        let database = &mut state.database;
        database.tombstones.iter_mut().flatten().for_each(|tombstone| tombstone.is_older = false);
        let open = database.transactions.iter_mut().chain(&mut database.lost);
        open.flatten().for_each(|transaction| transaction.is_older = false);
        Some(())
    }
}
