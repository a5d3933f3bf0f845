//! One simulation: a log, a server, processes, and everything that is done to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::config::checked::{BatchConfig, Config, TombstoneRule};
use crate::core::record::TopicPartition;
use crate::runtime::replay::whole_topic;
use crate::runtime::sim;
use crate::runtime::sim::history::History;
use crate::runtime::supervisor::Pipeline;
use crate::runtime::upkeep;
use crate::sink::Statements;
use crate::sink::bookkeep;
use crate::source::script::Log;
use crate::support::random::Random;

use super::process::{Gate, Life, Process, pipeline};
use super::server::{Database, LOCK_TIMEOUT, Server, Trouble, now};
use super::watch::{Contents, Key, Watch};

/// Virtual time after which a run that is left alone must have come to an end.
const PATIENCE: Duration = Duration::from_secs(1800);
/// After this time without a word a member is put out of its group.
const SESSION: Duration = Duration::from_secs(3);

/// How often each thing happened.
pub type Seen = BTreeMap<&'static str, u64>;

pub fn see(seen: &mut Seen, what: &'static str, count: u64) {
    *seen.entry(what).or_default() += count;
}

fn config(random: &mut Random, collects: bool) -> Arc<Config> {
    let mut config = (*sim::config()).clone();
    let rows = [1, 2, 3, 7, 50];
    let age = Duration::from_millis(random.below(30));
    config.batch = BatchConfig { rows: rows[random.below(5) as usize], bytes: 1 << 20, age, align_wait: None };
    config.sink.writers = 1 + random.below(2) as usize;
    config.sink.lock_timeout = LOCK_TIMEOUT;
    config.drain = Duration::from_secs(5);
    config.defaults.create = true;
    config.defaults.into = Some("${source.table}".parse().expect("a template"));
    config.defaults.tombstones =
        TombstoneRule { collect: collects, retain: Duration::from_millis(500 + random.below(4_000)) };
    Arc::new(config)
}

/// See the module.
pub struct World {
    random: Random,
    seed: u64,
    log: Log,
    history: Arc<History>,
    pub server: Arc<Server>,
    config: Arc<Config>,
    processes: Vec<Process>,
    /// Number of the last process.
    started: u64,
    /// An operator's program, that nothing happens to but what happens to all on their way to the server.
    operator: Pipeline,
    replays: Vec<JoinHandle<()>>,
    /// Positions are not set back where tombstones are collected: whoever does that has refusals to look at.
    collects: bool,
    pub seen: Seen,
}

impl World {
    pub async fn new(seed: u64, history: History, database: Database) -> Self {
        let mut random = Random::new(seed ^ 0x5EED);
        let collects = random.percent(25);
        let log = Log::new();
        let mut topics: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for at in history.ends.keys() {
            *topics.entry(Arc::clone(&at.topic)).or_default() += 1;
        }
        topics.iter().for_each(|(topic, partitions)| log.create_topic(topic, *partitions));
        let server = Arc::new(Server::new(database, Watch::new(history.clone()), random.next()));
        let config = config(&mut random, collects);
        let operator =
            pipeline(&server, &log, &config, &Gate::new(), 0, (random.next(), 0)).await.expect("an operator");
        let mut world = Self {
            random,
            seed,
            log,
            history: Arc::new(history),
            server,
            config,
            processes: Vec::new(),
            started: 0,
            operator: operator.0,
            replays: Vec::new(),
            collects,
            seen: Seen::default(),
        };
        for _ in 0..2 {
            world.start().await;
        }
        world
    }

    async fn start(&mut self) {
        self.started += 1;
        let silent = if self.random.percent(20) { 100 } else { 0 };
        let chances = (self.random.next(), silent);
        let process = Process::start(&self.server, &self.log, &self.config, self.started, chances).await;
        self.processes.push(process);
    }

    /// The source writes: everything at once, or bit by bit in the order of the partitions' offsets. Partitions may be behind
    /// each other, but where tombstones are collected by less than they are kept: later records are refused, aloud.
    fn write(&self) -> JoinHandle<()> {
        let (log, history) = (self.log.clone(), Arc::clone(&self.history));
        let mut random = Random::new(self.seed ^ 0x10C);
        let at_once = random.percent(50);
        let pause_ms = if self.collects { 4 } else { 400 };
        tokio::spawn(async move {
            let mut rest: Vec<_> = history.log.iter().map(|(at, records)| (at.clone(), records.as_slice())).collect();
            while !rest.is_empty() {
                let pick = random.below(rest.len() as u64) as usize;
                let (at, records) = &mut rest[pick];
                match records.split_first() {
                    Some((record, others)) => {
                        let value = record.value.as_ref().map(|value| format!("{value:?}"));
                        tracing::trace!(at = %record.at, offset = record.offset, value, "written");
                        log.append(record.clone()).expect("a partition");
                        *records = others;
                    }
                    None => {
                        log.extend(at, history.ends[at]).expect("a partition");
                        rest.remove(pick);
                    }
                }
                if !at_once && random.percent(20) {
                    sleep(Duration::from_millis(random.below(pause_ms))).await;
                }
            }
        })
    }

    fn trouble(&mut self) -> Trouble {
        match self.random.below(4) {
            0 => Trouble::default(),
            1 => Trouble { cut_before: 20, cut_after: 20, late: 10, slow: 0 },
            2 => Trouble { cut_before: 2, cut_after: 60, late: 60, slow: 50 },
            _ => Trouble { cut_before: 5, cut_after: 5, late: 20, slow: 200 },
        }
    }

    /// Something goes wrong, or somebody does something.
    async fn disturb(&mut self) {
        let which = self.random.below(self.processes.len() as u64) as usize;
        match self.random.below(12) {
            0 | 1 => self.kill(which).await,
            2 | 3 => self.stand_still(which),
            4 => self.end(which).await,
            5 | 6 => {
                let partitions = self.log.partitions();
                let at = &partitions[self.random.below(partitions.len() as u64) as usize];
                self.log.move_to(&self.config.pipeline, at, self.processes[which].member);
                see(&mut self.seen, "partitions moved", 1);
            }
            // An interrupted one is somebody who still has to read: it keeps tombstones for ever.
            7 if !self.collects => self.replay(),
            8 if !self.collects => self.rewind().await,
            8 | 9 if self.collects => {
                see(&mut self.seen, "collections", 1);
                self.expire();
                let _ = upkeep::round(&self.operator).await;
            }
            _ => {
                let trouble = self.trouble();
                self.server.trouble(trouble);
            }
        }
    }

    /// `kill -9`; perhaps the group notices late, and another process is started before.
    async fn kill(&mut self, which: usize) {
        let process = self.processes.swap_remove(which);
        process.kill(&self.server);
        self.count(&process);
        see(&mut self.seen, "killed", 1);
        let (log, group, member) = (self.log.clone(), self.config.pipeline.clone(), process.member);
        let after = Duration::from_millis(self.random.below(SESSION.as_millis() as u64));
        tokio::spawn(async move {
            sleep(after).await;
            log.expel(&group, member);
            drop(process);
        });
        sleep(Duration::from_millis(self.random.below(500))).await;
        self.start().await;
    }

    /// SIGSTOP, and SIGCONT when others may have taken over.
    fn stand_still(&mut self, which: usize) {
        let process = &self.processes[which];
        let (gate, member, log, group) =
            (process.gate.clone(), process.member, self.log.clone(), self.config.pipeline.clone());
        let pause = Duration::from_millis(self.random.below(9_000));
        see(&mut self.seen, "stopped", 1);
        gate.set(Life::Stands);
        tokio::spawn(async move {
            sleep(pause.min(SESSION)).await;
            if pause > SESSION {
                log.expel(&group, member);
                sleep(pause - SESSION).await;
            }
            gate.set(Life::Runs);
        });
    }

    /// SIGTERM, and a new one.
    async fn end(&mut self, which: usize) {
        let process = self.processes.swap_remove(which);
        process.stop();
        self.count(&process);
        see(&mut self.seen, "ended", 1);
        self.start().await;
    }

    /// `lastword replay` of a topic, beside everything else.
    fn replay(&mut self) {
        let topics: Vec<_> = self.history.ends.keys().map(|at| at.topic.to_string()).collect();
        let topic = topics[self.random.below(topics.len() as u64) as usize].clone();
        let pipeline = self.operator.clone();
        see(&mut self.seen, "replays", 1);
        self.replays.push(tokio::spawn(async move {
            // It may be refused, and it may be cut off: then it stays interrupted.
            let _ = whole_topic(&pipeline, &topic, "simulation").await;
        }));
    }

    /// `lastword offsets set`, to somewhere before.
    async fn rewind(&mut self) {
        let partitions: Vec<TopicPartition> = self.history.ends.keys().cloned().collect();
        let at = &partitions[self.random.below(partitions.len() as u64) as usize];
        let place = (self.config.pipeline.clone(), at.clone());
        let stored = self.server.look(|_, watch| watch.checkpoints.get(&place).map_or(0, |stored| stored.next));
        let to = self.random.below(stored.max(0) as u64 + 1) as i64;
        let Ok(topics) = self.operator.source.topics().await else { return };
        let Some(info) = topics.iter().find(|info| info.topic == at.topic) else { return };
        let Ok(mut session) = self.operator.sink.session("operator").await else { return };
        let _ = bookkeep::set_offset(&mut session, &place.0, at, &info.incarnation, to, "simulation").await;
    }

    /// The broker removes what was applied: before, nothing can be collected.
    fn expire(&self) {
        for at in self.history.ends.keys() {
            let place = (self.config.pipeline.clone(), at.clone());
            let applied = self.server.look(|_, watch| watch.checkpoints.get(&place).map_or(0, |stored| stored.next));
            self.log.trim(at, applied);
        }
    }

    /// Processes that ended by themselves are started again.
    async fn tend(&mut self) {
        while let Some(which) = self.processes.iter().position(|process| process.task.is_finished()) {
            let process = self.processes.swap_remove(which);
            if let Err(error) = process.task.await {
                panic!("a process panicked: {error}");
            }
            self.start().await;
        }
        self.violated();
    }

    fn violated(&self) {
        let violations = self.server.look(|_, watch| watch.violations.clone());
        assert!(violations.is_empty(), "{}", violations.join("\n"));
    }

    fn reached(&self) -> bool {
        self.server.look(|_, watch| {
            let next = |at: &TopicPartition| {
                watch.checkpoints.get(&(self.config.pipeline.clone(), at.clone())).map(|stored| stored.next)
            };
            self.history.ends.iter().all(|(at, end)| *end == 0 || next(at) == Some(*end))
        })
    }

    /// Disturbs, then leaves it alone until everything is applied, and looks at what is there.
    pub async fn run(&mut self) {
        let writing = self.write();
        let trouble = self.trouble();
        self.server.trouble(trouble);
        for _ in 0..3 + self.random.below(25) {
            sleep(Duration::from_millis(self.random.below(1_500))).await;
            tracing::debug!(elapsed = ?self.server.elapsed(), "disturbing");
            self.disturb().await;
            self.tend().await;
        }
        writing.await.expect("the source");
        self.server.trouble(Trouble::default());
        // What stands still wakes up, what is under way arrives.
        sleep(Duration::from_secs(20)).await;
        let deadline = Instant::now() + PATIENCE;
        while !self.reached() || self.replays.iter().any(|replay| !replay.is_finished()) {
            assert!(Instant::now() < deadline, "it did not come to an end: {}", self.stuck());
            sleep(Duration::from_millis(200)).await;
            self.tend().await;
        }
        self.check();
        self.replays_change_nothing().await;
        self.violated();
        self.take_stock();
    }

    fn stuck(&self) -> String {
        let stored = self.server.look(|_, watch| format!("{:?}", watch.checkpoints));
        let halts: Vec<_> = self.processes.iter().map(|process| process.progress.halts()).collect();
        format!("{stored}, ends {:?}, halted {halts:?}", self.history.ends)
    }

    /// Records in quarantine, with their reasons.
    fn quarantine(&self) -> BTreeMap<(TopicPartition, i64), String> {
        let sql = "select topic, partition_id, record_offset, reason from lastword_quarantine";
        let rows = self.server.look(|database, _| now(database.reader.query(sql, &[]))).expect("quarantine");
        let text = |value: &crate::core::value::Value| value.as_text().unwrap_or_default().to_owned();
        let number = |value: &crate::core::value::Value| value.as_int().unwrap_or(-1);
        rows.iter()
            .map(|row| {
                let at = TopicPartition::new(text(&row[0]), number(&row[1]) as i32);
                ((at, number(&row[2])), text(&row[3]))
            })
            .collect()
    }

    /// Keys of which not all events carried all columns, and something is in quarantine: what is stored for them depends on what
    /// could be completed when.
    fn unsure(&self) -> BTreeSet<Key> {
        let aside = self.quarantine();
        let keys = aside.keys().filter_map(|place| self.history.keys.get(place));
        keys.filter(|key| self.history.partial.contains(*key)).cloned().collect()
    }

    /// Invariants 2, 3 and 6: the tables hold what the source has, and what is in quarantine belongs there.
    fn check(&mut self) {
        let unsure = self.unsure();
        let contents = self.server.look(|_, watch| watch.contents().clone());
        let rows: BTreeMap<Key, [i64; 2]> = contents
            .rows
            .iter()
            .filter(|(key, _)| !unsure.contains(*key))
            .map(|(key, (_, values))| (key.clone(), *values))
            .collect();
        let mut truth = self.history.truth.clone();
        truth.retain(|key, _| !unsure.contains(key));
        assert_eq!(rows, truth, "invariants 2 and 3: the tables hold what the source has");
        let quarantine = self.quarantine();
        for (place, reason) in &quarantine {
            let expected = match reason.as_str() {
                "undecodable" => self.history.garbage.contains(place),
                "refused_by_destination" => self.history.bad.contains(place),
                "partial_row" | "held_back" => {
                    self.history.keys.get(place).is_some_and(|key| self.history.partial.contains(key))
                }
                _ => false,
            };
            assert!(expected, "{place:?} was put aside as {reason}");
        }
        assert!(
            self.history.garbage.iter().all(|place| quarantine.contains_key(place)),
            "invariant 4: garbage is kept"
        );
        see(&mut self.seen, "records in quarantine", quarantine.len() as u64);
    }

    /// Invariant 7.
    async fn replays_change_nothing(&mut self) {
        let sure = |contents: Contents, unsure: &BTreeSet<Key>| {
            let mut contents = contents;
            contents.rows.retain(|key, _| !unsure.contains(key));
            contents.tombstones.retain(|key, _| !unsure.contains(key));
            contents
        };
        let before = self.server.look(|_, watch| watch.contents().clone());
        let topics: BTreeSet<String> = self.history.ends.keys().map(|at| at.topic.to_string()).collect();
        for topic in topics {
            match whole_topic(&self.operator, &topic, "simulation").await {
                Ok(_) => {}
                Err(failure) if self.collects && failure.code == "below_floor" => {}
                Err(failure) => panic!("a replay of {topic} failed: {failure}"),
            }
        }
        let unsure = self.unsure();
        let after = self.server.look(|_, watch| watch.contents().clone());
        assert_eq!(sure(before, &unsure), sure(after, &unsure), "invariant 7: a replay changes nothing");
    }

    /// What a process's guards decided.
    fn count(&mut self, process: &Process) {
        let guards = process.progress.guards();
        see(&mut self.seen, "compare-and-swaps missed", guards.checkpoint_missed);
        see(&mut self.seen, "unknown outcomes that had landed", guards.unknown_landed);
        see(&mut self.seen, "unknown outcomes that had not", guards.unknown_not_landed);
    }

    fn take_stock(&mut self) {
        for process in std::mem::take(&mut self.processes) {
            self.count(&process);
        }
        let injected = self.server.injected();
        let count = |database: &mut Database, sql: &str| {
            let rows = now(database.reader.query(sql, &[])).expect(sql);
            rows[0][0].as_int().unwrap_or(0) as u64
        };
        let collected = "select coalesce(sum(collected), 0) from lastword_tombstone_generation";
        let epochs = "select count(*) from lastword_source_epoch where previous_top is not null";
        let seen = self.server.look(|database, watch| {
            [
                ("transactions", watch.transactions),
                ("rewinds", watch.rewinds),
                ("tombstones collected", count(database, collected)),
                ("source epochs", count(database, epochs)),
                ("trace", watch.trace),
            ]
        });
        let injected = [
            ("calls cut off", injected.cut_before),
            ("acknowledgements lost", injected.lost_acknowledgements),
            ("late commits landed", injected.late_landed),
            ("late commits refused", injected.late_refused),
            ("lock timeouts", injected.lock_timeouts),
            ("sessions ended by others", injected.ended_by_others),
            ("slow transactions", injected.slow),
            ("processes started", self.started),
        ];
        for (what, number) in seen.into_iter().chain(injected) {
            see(&mut self.seen, what, number);
        }
    }
}
