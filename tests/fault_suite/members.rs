//! Faults that happen to a process of the group. Each has a process of its own, started for it; when it is over, the next
//! one joins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lastword::failpoint as at;

use super::faults::MemberFault;
use super::stage::{SESSION, Stage};
use crate::crash_suite::process::Process;
use crate::support::random::Random;

/// How long a process is watched for passing its place.
const PLACE: Duration = Duration::from_secs(10);
/// How often a fault is tried that did not hit, and how often a process is started that ended by itself, because something that
/// it needs to begin was down.
const TRIES: usize = 3;
const STARTS: usize = 60;

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    Seen,
    Missed,
    /// The process ended before by itself.
    Ended,
}

impl From<bool> for Hit {
    fn from(seen: bool) -> Self {
        if seen { Self::Seen } else { Self::Missed }
    }
}

/// Goes through a list of faults.
pub async fn work(stage: Arc<Stage>, faults: Vec<MemberFault>, mut random: Random) {
    for fault in faults {
        let (mut tries, mut starts) = (0, 0);
        while tries < TRIES && starts < STARTS {
            let began = Instant::now();
            let hit = injure(&stage, fault, &mut random).await;
            starts += 1;
            if hit == Hit::Ended {
                pause(&mut random, 200, 700).await;
                continue;
            }
            tries += 1;
            stage.count(&fault, hit == Hit::Seen, began);
            if hit == Hit::Seen {
                break;
            }
        }
    }
}

/// A process to which nothing happens but what happens to all: there is always one that can take over. Started again when it ends
/// by itself, until it is told to end.
pub async fn steady(stage: Arc<Stage>, end: Arc<AtomicBool>) {
    let mut process = stage.start(&["run"], None);
    while !end.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if !process.running() {
            stage.end(std::mem::replace(&mut process, stage.start(&["run"], None))).await;
        }
    }
    stage.stop(process).await;
}

async fn pause(random: &mut Random, from: u64, to: u64) {
    tokio::time::sleep(Duration::from_millis(from + random.below(to - from))).await;
}

async fn injure(stage: &Stage, fault: MemberFault, random: &mut Random) -> Hit {
    match fault {
        MemberFault::KillAt(place) => {
            let process = stage.start(&["run"], Some(&format!("{place}=kill@{}", number(place, random))));
            killed_at(stage, process, place).await
        }
        MemberFault::ZombieAt(place) => {
            let process = stage.start(&["run"], Some(&format!("{place}=stop@{}", number(place, random))));
            zombie_at(stage, process, random).await
        }
        MemberFault::Kill => {
            let mut process = stage.start(&["run"], None);
            pause(random, 300, 3000).await;
            if process.running() {
                process.signal("KILL");
            }
            if stage.end(process).await.was_killed() { Hit::Seen } else { Hit::Ended }
        }
        MemberFault::Zombie => {
            let mut process = stage.start(&["run"], None);
            let deadline = Instant::now() + PLACE;
            while !stage.holds(process.id()).await && process.running() && Instant::now() < deadline {
                pause(random, 50, 150).await;
            }
            pause(random, 0, 1000).await;
            if !process.running() {
                stage.end(process).await;
                return Hit::Ended;
            }
            process.signal("STOP");
            zombie(stage, process, random).await.into()
        }
        MemberFault::Leave => {
            let process = stage.start(&["run"], None);
            pause(random, 800, 3000).await;
            if stage.stop(process).await { Hit::Seen } else { Hit::Ended }
        }
    }
}

/// At which passing of a place it happens: batches come often, claims and revokes only when something moves.
fn number(place: &str, random: &mut Random) -> u64 {
    if place.starts_with("apply.") || place == at::PLAN_MADE { 1 + random.below(5) } else { 1 }
}

/// Waits until the process has killed itself; gives it up after a while.
pub async fn killed_at(stage: &Stage, mut process: Process, place: &str) -> Hit {
    let deadline = Instant::now() + PLACE;
    let moves = place.starts_with("reclaim.") || place.starts_with("revoke.");
    let (mut provoked, mut joined, mut missed) = (!moves, Vec::new(), false);
    while process.running() {
        if Instant::now() > deadline {
            process.signal("KILL");
            missed = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        if !provoked && stage.holds(process.id()).await {
            provoked = true;
            if place.starts_with("reclaim.") {
                provoke_reclaim(stage).await;
            } else {
                // More members: it has to give something up.
                joined.extend((0..3).map(|_| stage.start(&["run"], None)));
            }
        }
    }
    for helper in joined {
        stage.stop(helper).await;
    }
    match stage.end(process).await.was_killed() {
        _ if missed => Hit::Missed,
        true => Hit::Seen,
        false => Hit::Ended,
    }
}

/// A process claims again what is its own when its connection was lost, or when an operator raised a fence.
async fn provoke_reclaim(stage: &Stage) {
    if let Some(proxy) = &stage.proxy {
        proxy.cut_all().await;
        return;
    }
    for (topic, partitions) in &stage.topics {
        for partition in 0..*partitions {
            let Some(offset) = stage.offset(topic, partition).await else { continue };
            let (offset, partition) = (offset.to_string(), partition.to_string());
            let args = ["offsets", "set", "--topic", topic, "--partition", &partition, "--offset", &offset];
            let process = stage.start(&args, None);
            stage.end(process).await;
        }
    }
}

async fn zombie_at(stage: &Stage, mut process: Process, random: &mut Random) -> Hit {
    let deadline = Instant::now() + PLACE;
    while !process.is_stopped() {
        if !process.running() {
            stage.end(process).await;
            return Hit::Ended;
        }
        if Instant::now() > deadline {
            stage.stop(process).await;
            return Hit::Missed;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What it holds (in SQLite the one write lock) may keep others from taking over: it is a zombie all the same.
    zombie(stage, process, random).await;
    Hit::Seen
}

/// A stopped process wakes up when others have claimed what it had; whether they did. Then it lives for a while.
async fn zombie(stage: &Stage, process: Process, random: &mut Random) -> bool {
    let deadline = Instant::now() + SESSION * 4;
    let held = stage.holds(process.id()).await;
    tokio::time::sleep(SESSION).await;
    while held && stage.holds(process.id()).await && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let taken = held && !stage.holds(process.id()).await;
    pause(random, 100, 1000).await;
    process.signal("CONT");
    pause(random, 300, 1500).await;
    stage.stop(process).await;
    taken
}
