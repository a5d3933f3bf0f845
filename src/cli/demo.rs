//! `lastword demo`: the whole way with nothing installed. An in-process broker (librdkafka's mock cluster) is filled from
//! events that a real Debezium connector captured, and the very code of `run` applies them to SQLite.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::args::DemoArgs;
use super::exit::{CommandError, Exit};
use crate::config::load::{self, Environment};
use crate::core::failure::Failure;
use crate::core::table::fnv1a;
use crate::runtime::progress::{Guards, Progress};
use crate::runtime::replay::{self, ReplayFrom, ReplayRequest};
use crate::runtime::supervisor::{Pipeline, RunOptions, run};
use crate::sink::Statements;
use crate::sink::bookkeep;

/// Captured topics that ship with the program: Debezium 3.5 PostgreSQL connector, JSON with schemas.
const CAPTURES: [(&str, &[u8]); 7] = [
    ("key_update", include_bytes!("../../tests/captures/postgresql/json-schemas/key_update.jsonl.gz")),
    ("delete_reinsert", include_bytes!("../../tests/captures/postgresql/json-schemas/delete_reinsert.jsonl.gz")),
    ("same_row_in_one_tx", include_bytes!("../../tests/captures/postgresql/json-schemas/same_row_in_one_tx.jsonl.gz")),
    ("composite_key", include_bytes!("../../tests/captures/postgresql/json-schemas/composite_key.jsonl.gz")),
    ("bulk_statements", include_bytes!("../../tests/captures/postgresql/json-schemas/bulk_statements.jsonl.gz")),
    ("restart_duplicates", include_bytes!("../../tests/captures/postgresql/json-schemas/restart_duplicates.jsonl.gz")),
    ("quoted_names", include_bytes!("../../tests/captures/postgresql/json-schemas/quoted_names.jsonl")),
];
/// Partitions of every captured topic.
const PARTITIONS: i32 = 4;

/// `lastword demo`.
pub async fn command(args: &DemoArgs) -> Result<Exit, CommandError> {
    let dir =
        args.dir.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("lastword-demo-{}", std::process::id())));
    demo(DemoOptions { dir, keep: args.keep || args.dir.is_some(), seed: 20_261_121 }).await?;
    Ok(Exit::Ok)
}

/// Where the demo works and what it leaves.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Folder for the databases and the configuration.
    pub dir: PathBuf,
    /// Leave the folder.
    pub keep: bool,
    /// Seed of the shuffling.
    pub seed: u64,
}

/// A captured record.
#[derive(Clone, Debug, Deserialize)]
struct Captured {
    topic: String,
    partition: i32,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    payload: Option<String>,
}

/// Digests of tables: name → (rows, digest over all rows in the order of their text).
type Digests = BTreeMap<String, (usize, u64)>;

/// Runs the demo and prints what it does.
pub async fn demo(options: DemoOptions) -> Result<(), Failure> {
    let began = Instant::now();
    std::fs::create_dir_all(&options.dir).map_err(|error| io("the demo's folder", &error))?;
    let records = captured()?;
    println!(
        "lastword demo: {} change records of {} captured topics, in an in-process broker\n",
        records.len(),
        CAPTURES.len()
    );

    let first = Stage::open(&options, "first", &records).await?;
    println!("Configuration ({}):\n\n{}", first.config_path.display(), indent(&first.config_text));
    println!("1. Everything from the beginning, each partition in its order");
    let guards = first.run().await?;
    let wanted = first.digests().await?;
    first.report(&wanted, &guards).await?;

    println!("\n2. All topics again from offset 0 through the same guards, beside a pipeline that is up to date");
    first.replay_all().await?;
    let replayed = first.digests().await?;
    compare("after the replay", &wanted, &replayed)?;

    println!(
        "\n3. A new database from a worse delivery: keys shuffled against each other, a third of the records twice (seed {})",
        options.seed
    );
    let shuffled = shuffle(&records, options.seed);
    let second = Stage::open(&options, "second", &shuffled).await?;
    let guards = second.run().await?;
    let shuffled_digests = second.digests().await?;
    second.report(&shuffled_digests, &guards).await?;
    compare("after the worse delivery", &wanted, &shuffled_digests)?;

    println!("\nAll tables are equal. It took {:.1} s.\n", began.elapsed().as_secs_f64());
    println!(
        "Next: `lastword check --config lastword.toml` against your own Kafka and database; the README has the tour."
    );
    if options.keep {
        println!("The databases are in {}", options.dir.display());
    } else {
        let _ = std::fs::remove_dir_all(&options.dir);
    }
    Ok(())
}

fn io(what: &str, error: &std::io::Error) -> Failure {
    Failure::operator("io", format!("{what}: {error}"))
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

fn captured() -> Result<Vec<Captured>, Failure> {
    let mut records = Vec::new();
    for (name, bytes) in CAPTURES {
        let mut text = String::new();
        let read = if bytes.starts_with(&[0x1f, 0x8b]) {
            flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text)
        } else {
            std::io::BufReader::new(bytes).read_to_string(&mut text)
        };
        read.map_err(|error| io(name, &error))?;
        for line in text.as_bytes().lines() {
            let line = line.map_err(|error| io(name, &error))?;
            let record = serde_json::from_str(&line)
                .map_err(|error| Failure::operator("capture", format!("{name}: {error}")))?;
            records.push(record);
        }
    }
    Ok(records)
}

/// A small generator of numbers that is the same everywhere (xorshift64*): the demo prints its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides.max(1)
    }
}

/// Another order that keeps the order of each key in its partition, with records delivered twice: some at once, some as a
/// source does that starts again a little earlier (a whole stretch of a key's records again).
fn shuffle(records: &[Captured], seed: u64) -> Vec<Captured> {
    let mut dice = Dice(seed.max(1));
    let mut keys: BTreeMap<(String, i32, Option<String>), Vec<Captured>> = BTreeMap::new();
    for record in records {
        keys.entry((record.topic.clone(), record.partition, record.key.clone())).or_default().push(record.clone());
    }
    let mut lines: Vec<std::collections::VecDeque<Captured>> = keys
        .into_values()
        .map(|mut line| {
            if dice.roll(3) == 0 {
                let from = dice.roll(line.len());
                line.extend(line[from..].to_vec());
            }
            line.into()
        })
        .collect();
    let mut shuffled = Vec::new();
    while !lines.is_empty() {
        let line = dice.roll(lines.len());
        if let Some(record) = lines[line].pop_front() {
            shuffled.push(record);
        }
        if lines[line].is_empty() {
            lines.swap_remove(line);
        }
    }
    shuffled
}

/// A broker filled with records, and a database.
struct Stage {
    _cluster: MockCluster<'static, DefaultProducerContext>,
    pipeline: Pipeline,
    config_text: String,
    config_path: PathBuf,
    topics: Vec<String>,
}

impl Stage {
    async fn open(options: &DemoOptions, name: &str, records: &[Captured]) -> Result<Self, Failure> {
        let cluster =
            MockCluster::new(1).map_err(|error| Failure::operator("mock", format!("no in-process broker: {error}")))?;
        let mut topics: Vec<String> = records.iter().map(|record| record.topic.clone()).collect();
        topics.sort();
        topics.dedup();
        for topic in &topics {
            cluster
                .create_topic(topic, PARTITIONS, 1)
                .map_err(|error| Failure::operator("mock", format!("topic {topic}: {error}")))?;
        }
        produce(&cluster.bootstrap_servers(), records)?;
        let config_text = config_text(name, &cluster.bootstrap_servers(), &options.dir);
        let config_path = options.dir.join(format!("{name}.toml"));
        let database = options.dir.join(format!("{name}.db"));
        let _ = std::fs::remove_file(&database);
        std::fs::write(&config_path, &config_text).map_err(|error| io("the configuration", &error))?;
        let config = load::load(&config_path, &Environment::default(), &[])
            .map_err(|errors| Failure::operator("configuration", errors.to_string()))?;
        let pipeline = Pipeline::open(Arc::new(config)).await?;
        Ok(Self { _cluster: cluster, pipeline, config_text, config_path, topics })
    }

    async fn run(&self) -> Result<Guards, Failure> {
        let progress = Progress::default();
        let options = RunOptions { until_caught_up: true, stop: CancellationToken::new(), progress: progress.clone() };
        run(&self.pipeline, options).await?;
        match progress.halts().first() {
            Some((at, why)) => Err(Failure::operator("halted", format!("{at}: {why}"))),
            None => Ok(progress.guards()),
        }
    }

    async fn replay_all(&self) -> Result<(), Failure> {
        let mut session = self.pipeline.sink.session("demo").await?;
        let (mut records, mut applied, mut superseded) = (0, 0, 0);
        for topic in &self.topics {
            let request = ReplayRequest {
                topic: topic.clone(),
                partition: None,
                from: ReplayFrom::Beginning,
                to: None,
                repair: false,
            };
            let ranges = replay::ranges(&self.pipeline, &mut session, &request).await?;
            let id =
                bookkeep::replay_start(&mut session, &self.pipeline.config.pipeline, &ranges, false, "demo").await?;
            let entries = bookkeep::replay_list(&mut session, &self.pipeline.config.pipeline).await?;
            let Some(entry) = entries.iter().find(|entry| entry.id == id) else { continue };
            let options =
                RunOptions { until_caught_up: true, stop: CancellationToken::new(), progress: Progress::default() };
            replay::run(&self.pipeline, &mut session, entry, options).await?;
        }
        for entry in bookkeep::replay_list(&mut session, &self.pipeline.config.pipeline).await? {
            records += entry.counts.records;
            applied += entry.counts.applied;
            superseded += entry.counts.superseded;
        }
        println!("   {records} records read again: {applied} changes applied, {superseded} superseded");
        Ok(())
    }

    async fn digests(&self) -> Result<Digests, Failure> {
        let mut session = self.pipeline.sink.session("demo").await?;
        let names = "select name from sqlite_master where type = 'table' and name not like 'lastword\\_%' escape '\\' and name not like 'sqlite\\_%' escape '\\' order by name";
        let mut digests = Digests::new();
        for row in session.query(names, &[]).await? {
            let Some(name) = row.first().and_then(|name| name.as_text().map(str::to_owned)) else { continue };
            // Tokens are left out: a worse delivery puts the same change at another place of another log.
            let quoted = crate::core::dialect::Dialect::Sqlite.ident(&name);
            let columns = session.query(&format!("select name from pragma_table_info({}) where name not like '\\_lastword%' escape '\\' order by cid", quoted.replace('"', "'")), &[]).await?;
            let columns: Vec<String> = columns
                .iter()
                .filter_map(|row| row.first()?.as_text().map(|name| crate::core::dialect::Dialect::Sqlite.ident(name)))
                .collect();
            let rows = session.query(&format!("select {} from {quoted}", columns.join(", ")), &[]).await?;
            let mut lines: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
            lines.sort();
            digests.insert(name, (lines.len(), fnv1a(lines.join("\n").as_bytes())));
        }
        Ok(digests)
    }

    async fn report(&self, digests: &Digests, guards: &Guards) -> Result<(), Failure> {
        let mut session = self.pipeline.sink.session("demo").await?;
        let counters = bookkeep::table_counters(&mut session, &self.pipeline.config.pipeline).await?;
        let counters: HashMap<String, _> =
            counters.into_iter().map(|counter| (counter.table.clone(), counter)).collect();
        println!(
            "   {:<28} {:>5} {:>8} {:>11} {:>17}  digest",
            "table", "rows", "applied", "superseded", "of them in batch"
        );
        for (name, (rows, digest)) in digests {
            let sums =
                counters.values().find(|counter| counter.table.replace('"', "") == *name).map(|counter| &counter.sums);
            let (applied, superseded, in_batch) =
                sums.map_or((0, 0, 0), |sums| (sums.applied, sums.superseded(), sums.superseded_in_batch));
            println!("   {name:<28} {rows:>5} {applied:>8} {superseded:>11} {in_batch:>17}  {digest:016x}");
        }
        println!("   compare-and-swaps that missed: {}", guards.checkpoint_missed);
        Ok(())
    }
}

fn config_text(name: &str, brokers: &str, dir: &Path) -> String {
    format!(
        "[pipeline]\nname = \"demo-{name}\"\n\n\
         [source]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopics_regex = \"^shop\\\\..*\"\n\n\
         [source.client]\n\"session.timeout.ms\" = 6000\n\n\
         [sink]\nurl = \"sqlite:{}\"\n\n\
         [server]\nlisten = \"off\"\n",
        dir.join(format!("{name}.db")).display()
    )
}

fn produce(brokers: &str, records: &[Captured]) -> Result<(), Failure> {
    let failed = |what: String| Failure::operator("mock", format!("the in-process broker cannot be filled: {what}"));
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "1")
        .create()
        .map_err(|error| failed(error.to_string()))?;
    for record in records {
        let mut base: BaseRecord<'_, str, str> = BaseRecord::to(&record.topic).partition(record.partition);
        if let Some(key) = &record.key {
            base = base.key(key);
        }
        if let Some(payload) = &record.payload {
            base = base.payload(payload);
        }
        producer.send(base).map_err(|(error, _)| failed(error.to_string()))?;
    }
    producer.flush(Duration::from_secs(10)).map_err(|error| failed(error.to_string()))
}

fn compare(when: &str, wanted: &Digests, found: &Digests) -> Result<(), Failure> {
    if wanted == found {
        println!("   {} tables compared: equal {when}", wanted.len());
        return Ok(());
    }
    let differs: Vec<&String> =
        wanted.iter().filter(|(name, digest)| found.get(*name) != Some(digest)).map(|(name, _)| name).collect();
    Err(Failure::operator(
        "demo_differs",
        format!("tables differ {when}: {differs:?}; this is a bug, please report it with the seed"),
    ))
}
