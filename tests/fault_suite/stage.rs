//! One destination with everything that surrounds it, and what was counted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lastword::core::value::Value;
use lastword::sink::Statements;

use super::truth::Violation;
use crate::crash_suite::process::{Ended, Process};
use crate::crash_suite::proxy::Proxy;
use crate::crash_suite::servers::Servers;
use crate::crash_suite::support::{PATIENCE, World};

/// After so long without a heartbeat a member is thrown out of its group.
pub const SESSION: Duration = Duration::from_millis(1500);

/// Injected and seen, by the name of the fault.
pub type Tally = BTreeMap<String, (u64, u64)>;

/// See the module.
pub struct Stage {
    pub world: World,
    /// Topics and their numbers of partitions.
    pub topics: Vec<(String, i32)>,
    /// Servers that may be taken away; the broker only by one stage at a time.
    pub servers: Option<(Arc<Servers>, Arc<tokio::sync::Mutex<()>>)>,
    pub proxy: Option<Proxy>,
    /// Variables of all processes.
    pub environment: Vec<(&'static str, &'static str)>,
    began: Instant,
    living: Mutex<BTreeMap<u32, PathBuf>>,
    tally: Mutex<Tally>,
    violations: Mutex<Vec<Violation>>,
}

impl Stage {
    pub fn new(world: World, topics: Vec<(String, i32)>) -> Self {
        Self {
            world,
            topics,
            servers: None,
            proxy: None,
            environment: Vec::new(),
            began: Instant::now(),
            living: Mutex::default(),
            tally: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    /// Starts a command, with a schedule of failpoints.
    pub fn start(&self, args: &[&str], failpoints: Option<&str>) -> Process {
        let mut environment: Vec<(&str, &str)> = self.environment.clone();
        environment.extend(failpoints.map(|schedule| ("LASTWORD_FAILPOINTS", schedule)));
        let process = self.world.start_with(args, &environment);
        self.living.lock().expect("processes").insert(process.id(), process.log_path());
        process
    }

    /// Waits for the end of a process, which may wait for servers to come back. One that panicked is a violation.
    pub async fn end(&self, process: Process) -> Ended {
        let id = process.id();
        let ended = process.ended(PATIENCE * 4).await;
        self.living.lock().expect("processes").remove(&id);
        if ended.stderr.contains("panicked at") {
            self.broken(4, format!("a process panicked:\n{}", ended.stderr));
        }
        ended
    }

    /// SIGTERM. It has to end well, unless it had failed before because something that it needs was down.
    pub async fn stop(&self, mut process: Process) -> bool {
        if process.running() {
            process.signal("TERM");
        }
        let ended = self.end(process).await;
        if !matches!(ended.code(), Some(0 | 1)) {
            self.broken(4, format!("after SIGTERM it ended with {:?}:\n{}", ended.status, ended.stderr));
        }
        ended.code() == Some(0)
    }

    /// Counts a fault, and whether it was seen to hit.
    pub fn count(&self, fault: &impl ToString, seen: bool, began: Instant) {
        let fault = fault.to_string();
        self.tell(&fault, if seen { "seen" } else { "did not hit" }, began);
        let mut tally = self.tally.lock().expect("counts");
        let (injected, hit) = tally.entry(fault).or_default();
        *injected += 1;
        *hit += u64::from(seen);
    }

    /// A line of the run's diary.
    pub fn tell(&self, what: &str, how: &str, began: Instant) {
        let (now, took) = (self.began.elapsed().as_secs_f32(), began.elapsed().as_secs_f32());
        println!("{now:7.1} s {:?}: {what}: {how} in {took:.1} s", self.world.dialect);
    }

    pub fn tally(&self) -> Tally {
        self.tally.lock().expect("counts").clone()
    }

    pub fn broken(&self, invariant: u8, what: String) {
        self.violations.lock().expect("violations").push(Violation { invariant, what });
    }

    pub fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut self.violations.lock().expect("violations"))
    }

    /// Ids of the processes that run.
    pub fn processes(&self) -> Vec<u32> {
        self.living.lock().expect("processes").keys().copied().collect()
    }

    /// How often each process that runs has said one of these.
    pub fn said(&self, texts: &[&str]) -> BTreeMap<u32, usize> {
        let living = self.living.lock().expect("processes").clone();
        let count = |log: PathBuf| {
            let log = std::fs::read_to_string(log).unwrap_or_default();
            texts.iter().map(|text| log.matches(text).count()).sum()
        };
        living.into_iter().map(|(id, log)| (id, count(log))).collect()
    }

    /// Waits until some process says one of these once more than before.
    pub async fn noticed(&self, texts: &[&str], before: &BTreeMap<u32, usize>, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            let said = self.said(texts);
            if said.iter().any(|(id, count)| *count > before.get(id).copied().unwrap_or(0)) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// A question to a database that may be down.
    pub async fn ask(&self, sql: &str) -> Option<Vec<Vec<Value>>> {
        self.world.try_session().await.ok()?.query(sql, &[]).await.ok()
    }

    /// Whether a process is the owner of a partition, as far as that can be asked.
    pub async fn holds(&self, process: u32) -> bool {
        let sql =
            format!("select owner from {} where pipeline = '{}'", self.world.book("checkpoint"), self.world.pipeline);
        let mark = format!("/{process}/");
        let rows = self.ask(&sql).await.unwrap_or_default();
        rows.iter().any(|row| row[0].as_text().is_some_and(|owner| owner.contains(&mark)))
    }

    /// Stored offset of a partition.
    pub async fn offset(&self, topic: &str, partition: i32) -> Option<i64> {
        let sql = format!(
            "select next_offset from {} where pipeline = '{}' and topic = '{topic}' and partition_id = {partition}",
            self.world.book("checkpoint"),
            self.world.pipeline
        );
        self.ask(&sql).await?.first()?[0].as_int()
    }
}
