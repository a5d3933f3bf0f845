//! A campaign: a destination, its traffic, and rounds of faults, each followed by a comparison of everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lastword::core::dialect::Dialect;
use lastword::failpoint as at;
use rdkafka::Offset;

use super::faults::{BEGINNING, MemberFault, Round};
use super::members::{Hit, killed_at};
use super::stage::{SESSION, Stage, Tally};
use super::truth::{Stream, Violation, compare};
use super::watch::watch;
use super::{members, surroundings};
use crate::crash_suite::kafka::Writer;
use crate::crash_suite::process::Process;
use crate::crash_suite::proxy::Proxy;
use crate::crash_suite::servers::Servers;
use crate::crash_suite::support::{PATIENCE, Services, World};
use crate::crash_suite::traffic::{Event, Form, Shape, Traffic};
use crate::support::random::Random;

/// Between two writes of a stream.
const TICK: Duration = Duration::from_millis(250);
/// Changes of one write.
const CHANGES: usize = 25;

/// What came of a campaign.
#[derive(Debug)]
pub struct Outcome {
    pub dialect: Dialect,
    pub tally: Tally,
    pub rounds: u64,
    /// Records in the topics.
    pub records: u64,
    /// Rows compared, over all rounds.
    pub rows: u64,
    /// Tombstones compared, over all rounds.
    pub tombstones: u64,
    pub violations: Vec<Violation>,
}

/// See the module.
pub struct Campaign {
    pub stage: Arc<Stage>,
    pub streams: Vec<Stream>,
    random: Random,
    outcome: Outcome,
}

/// A world with two topics, whose group notices soon when a member is gone.
pub async fn world(services: &Services, dialect: Dialect, seed: u64) -> (World, Vec<Stream>) {
    let session = SESSION.as_millis().to_string();
    let world = World::new(services, dialect, "faults")
        .await
        .client("session.timeout.ms", &session)
        .client("heartbeat.interval.ms", "300");
    let mut streams = Vec::new();
    for (number, (table, partitions)) in [("orders", 4), ("parts", 3)].into_iter().enumerate() {
        let topic = world.topic(table, partitions).await;
        let shape = Shape { partitions, keys: 300, form: Form::Schemas };
        let traffic = Traffic::new(seed ^ number as u64, shape);
        streams.push(Stream { topic, table, traffic, poison: Default::default(), collected: false });
    }
    (world, streams)
}

pub fn configure(world: &World, streams: &[Stream]) {
    let topics: Vec<(&str, &str)> = streams.iter().map(|stream| (stream.topic.name.as_str(), stream.table)).collect();
    // Small batches, so that there are many places to die at; locks that nobody holds on purpose are waited for.
    world.configure(&topics, "", "[batch]\nrows = 40\n[defaults]\nevolve = \"add\"\n");
}

impl Campaign {
    /// A campaign against servers that may be taken away, with everything begun that is made once.
    pub async fn begin(
        servers: &(Arc<Servers>, Services),
        broker: &Arc<tokio::sync::Mutex<()>>,
        dialect: Dialect,
        seed: u64,
    ) -> Self {
        let (mut world, streams) = world(&servers.1, dialect, seed).await;
        let server = match dialect {
            Dialect::Postgres => Some(&servers.1.postgres),
            Dialect::Mysql => Some(&servers.1.mariadb),
            Dialect::Sqlite => None,
        };
        let mut proxy = None;
        if let Some(server) = server {
            let address = server.rsplit('@').next().and_then(|rest| rest.split('/').next()).expect("an address");
            let started = Proxy::start(address.to_owned(), dialect).await;
            let direct = world.through(started.port);
            configure(&world, &streams);
            world.directly(direct);
            proxy = Some(started);
        } else {
            configure(&world, &streams);
        }
        let mut campaign = Self::over(world, streams, seed);
        let stage = Arc::get_mut(&mut campaign.stage).expect("nobody else has it yet");
        stage.proxy = proxy;
        stage.servers = Some((Arc::clone(&servers.0), Arc::clone(broker)));
        campaign.beginnings().await;
        campaign
    }

    /// A campaign over a world that is configured.
    pub fn over(world: World, streams: Vec<Stream>, seed: u64) -> Self {
        let topics = streams.iter().map(|stream| (stream.topic.name.clone(), stream.topic.partitions)).collect();
        let outcome = Outcome {
            dialect: world.dialect,
            tally: Tally::new(),
            rounds: 0,
            records: 0,
            rows: 0,
            tombstones: 0,
            violations: Vec::new(),
        };
        Self { stage: Arc::new(Stage::new(world, topics)), streams, random: Random::new(seed ^ 0xFA), outcome }
    }

    /// Deaths while the store and the tables are made, and while a table is altered that has only its key.
    async fn beginnings(&mut self) {
        for stream in &mut self.streams {
            stream.topic.write(&stream.traffic.snapshot(50));
            stream.topic.write(&stream.traffic.changes(100));
        }
        // It lacks all columns but its key.
        self.stage.world.execute("create table parts (id bigint not null primary key)").await;
        for place in BEGINNING {
            let began = Instant::now();
            let process = self.stage.start(&["run"], Some(&format!("{place}=kill@1")));
            let hit = killed_at(&self.stage, process, place).await;
            self.stage.count(&MemberFault::KillAt(place), hit == Hit::Seen, began);
        }
    }

    /// One round: traffic and faults side by side, then everything has to become right.
    pub async fn round(&mut self, round: Round) {
        let (end_writing, end_watching) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let watching = tokio::spawn(watch(Arc::clone(&self.stage), Arc::clone(&end_watching)));
        let writing =
            tokio::spawn(write(std::mem::take(&mut self.streams), self.random.next(), Arc::clone(&end_writing)));
        let steady = tokio::spawn(members::steady(Arc::clone(&self.stage), Arc::clone(&end_writing)));
        let mut working = Vec::new();
        for faults in round.members {
            let random = Random::new(self.random.next());
            working.push(tokio::spawn(members::work(Arc::clone(&self.stage), faults, random)));
        }
        let random = Random::new(self.random.next());
        working.push(tokio::spawn(surroundings::work(Arc::clone(&self.stage), round.surroundings, random)));
        for worker in working {
            worker.await.expect("a worker");
        }
        end_writing.store(true, Ordering::Relaxed);
        self.streams = writing.await.expect("everything was written");
        steady.await.expect("a process");
        self.settle(PATIENCE * 2).await;
        end_watching.store(true, Ordering::Relaxed);
        self.outcome.violations.extend(watching.await.expect("it watched"));
        self.compare().await;
    }

    /// Two processes, started again when they end by themselves, until everything is applied and every replay is done.
    pub async fn settle(&mut self, patience: Duration) {
        let start = || self.stage.start(&["run"], None);
        let mut processes: Vec<Process> = vec![start(), start()];
        let began = Instant::now();
        loop {
            let behind = self.behind().await;
            if behind.is_empty() {
                break;
            }
            if began.elapsed() > patience {
                self.stage.broken(1, format!("not everything is applied, long after the last fault: {behind:?}"));
                break;
            }
            for process in &mut processes {
                if !process.running() {
                    let ended = std::mem::replace(process, start());
                    self.stage.end(ended).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.stage.tell("everything", "applied", began);
        self.finish_replays().await;
        for process in processes {
            if !self.stage.stop(process).await {
                self.stage.broken(4, "a process that has nothing left to do did not end well".to_owned());
            }
        }
    }

    /// Partitions that are not at their ends: where they are, and the end.
    async fn behind(&self) -> Vec<String> {
        let mut behind = Vec::new();
        for stream in &self.streams {
            let stored = self.stage.world.checkpoints(&stream.topic.name).await;
            for (partition, (_, end)) in stream.topic.watermarks() {
                if stored.get(&partition) != Some(&end) {
                    behind.push(format!("{}[{partition}] {:?} of {end}", stream.table, stored.get(&partition)));
                }
            }
        }
        behind
    }

    /// Replays that died are resumed.
    async fn finish_replays(&self) {
        let sql = format!("select id from {} where state <> 'done' order by id", self.stage.world.book("replay"));
        for row in self.stage.world.query(&sql).await {
            let id = row[0].as_int().expect("a number").to_string();
            let process = self.stage.start(&["replay", "--resume", &id], None);
            let ended = self.stage.end(process).await;
            if ended.code() != Some(0) {
                self.stage.broken(4, format!("replay {id} cannot be resumed:\n{}", ended.stderr));
            }
        }
    }

    /// Compares everything; nothing may be running.
    pub async fn compare(&mut self) {
        let compared = compare(&self.stage.world, &self.streams).await;
        let outcome = &mut self.outcome;
        outcome.rounds += 1;
        outcome.records = compared.records;
        outcome.rows += compared.rows;
        outcome.tombstones += compared.tombstones;
        outcome.violations.extend(compared.violations);
        outcome.violations.extend(self.stage.take_violations());
        outcome.tally = self.stage.tally();
    }

    /// The logs end, and the tombstones are collected, with a death at each place; then only they may be gone.
    pub async fn collect(&mut self) {
        for stream in &mut self.streams {
            for partition in 0..stream.topic.partitions {
                stream.topic.delete_records(partition, Offset::End).await;
            }
            stream.collected = true;
        }
        let settings = ["defaults.tombstones.collect=true", "defaults.tombstones.retain=\"1ms\""];
        let args = ["--set", settings[0], "--set", settings[1], "tombstones", "collect"];
        for place in [at::COLLECT_FLOORS, at::COLLECT_SLICE] {
            let began = Instant::now();
            let process = self.stage.start(&args, Some(&format!("{place}=kill@1")));
            let hit = killed_at(&self.stage, process, place).await;
            self.stage.count(&MemberFault::KillAt(place), hit == Hit::Seen, began);
        }
        let process = self.stage.start(&args, None);
        self.stage.end(process).await.expect(0);
        self.compare().await;
    }

    /// What came of it so far.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// What was found, and with what is wrong the place of all logs.
    pub fn end(self) -> Outcome {
        if !self.outcome.violations.is_empty() {
            println!("logs, configuration and SQLite file: {}", self.stage.world.keep());
        }
        self.outcome
    }
}

/// Writes until it is told to end: changes, stretches that a connector sends again, records that cannot be applied.
async fn write(mut streams: Vec<Stream>, seed: u64, end: Arc<AtomicBool>) -> Vec<Stream> {
    let mut random = Random::new(seed);
    let writers: Vec<Writer> = streams.iter().map(|stream| stream.topic.writer(&[])).collect();
    while !end.load(Ordering::Relaxed) {
        for (stream, writer) in streams.iter_mut().zip(&writers) {
            let events = match random.below(8) {
                0 => stream.traffic.stretch(CHANGES),
                _ => stream.traffic.changes(CHANGES),
            };
            writer.send(&events);
            if random.percent(15) {
                writer.send(&[poison(stream, &mut random)]);
            }
        }
        tokio::time::sleep(TICK).await;
    }
    tokio::task::block_in_place(|| writers.iter().for_each(Writer::flush));
    streams
}

/// A record that no decoder can read.
fn poison(stream: &mut Stream, random: &mut Random) -> Event {
    let key = format!("poison {} {:x}", stream.table, random.next());
    stream.poison.insert(key.clone());
    let partition = random.below(stream.topic.partitions as u64) as i32;
    Event { partition, key, value: Some("{\"cut off".to_owned()) }
}
