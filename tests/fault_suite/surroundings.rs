//! Faults that happen to servers, connections and the disk; and replays and rewinds beside the live work.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lastword::core::dialect::Dialect;
use tokio::task::JoinHandle;

use super::faults::SurroundingFault;
use super::members::{Hit, killed_at};
use super::stage::Stage;
use crate::crash_suite::proxy::{Cut, Proxy};
use crate::crash_suite::servers::Down;
use crate::support::random::Random;

/// How long a fault is watched for its effect.
const EFFECT: Duration = Duration::from_secs(8);
const TRIES: usize = 3;

/// Goes through a list of faults. Replays go on in the background; they have ended when this ends.
pub async fn work(stage: Arc<Stage>, faults: Vec<SurroundingFault>, mut random: Random) {
    let mut background: Vec<JoinHandle<()>> = Vec::new();
    for fault in faults {
        tokio::time::sleep(Duration::from_millis(200 + random.below(800))).await;
        let (stage, mut own) = (Arc::clone(&stage), Random::new(random.next()));
        let job = async move {
            for _ in 0..TRIES {
                let began = Instant::now();
                let seen = injure(&stage, fault, &mut own).await;
                stage.count(&fault, seen, began);
                if seen {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        match fault {
            SurroundingFault::Replay | SurroundingFault::ReplayKilledAt(_) => background.push(tokio::spawn(job)),
            _ => job.await,
        }
    }
    for job in background {
        job.await.expect("a replay");
    }
}

async fn injure(stage: &Arc<Stage>, fault: SurroundingFault, random: &mut Random) -> bool {
    match fault {
        SurroundingFault::Broker(how) => broker(stage, how).await,
        SurroundingFault::Database(how) => database(stage, how, random).await,
        SurroundingFault::CutAtCommit(cut) => cut_at_commit(proxy(stage), cut).await,
        SurroundingFault::CutAll => proxy(stage).cut_all().await > 0,
        SurroundingFault::Stall => proxy(stage).stall(Duration::from_millis(500 + random.below(3500))).await > 0,
        SurroundingFault::DiskFull => disk_full(stage, random).await,
        SurroundingFault::Replay => replay(stage, None, random).await,
        SurroundingFault::ReplayKilledAt(place) => replay(stage, Some(place), random).await,
        SurroundingFault::Rewind => rewind(stage, None, random).await,
        SurroundingFault::RewindKilledAt(place) => rewind(stage, Some(place), random).await,
    }
}

fn proxy(stage: &Stage) -> &Proxy {
    stage.proxy.as_ref().expect("a server with a proxy before it")
}

/// The broker is down, at least until a process has noticed.
async fn broker(stage: &Stage, how: Down) -> bool {
    let (servers, lock) = stage.servers.clone().expect("servers of its own");
    let _one = lock.lock().await;
    const TROUBLE: [&str; 1] = ["the source has trouble"];
    let before = stage.said(&TROUBLE);
    let server = Arc::clone(&servers);
    tokio::task::spawn_blocking(move || server.down("kafka", how)).await.expect("it is down");
    let noticed = stage.noticed(&TROUBLE, &before, EFFECT).await;
    tokio::task::spawn_blocking(move || servers.up("kafka")).await.expect("it is up");
    noticed
}

/// The database is down, at least until a process has noticed: one that comes back before would have tested nothing.
async fn database(stage: &Stage, how: Down, random: &mut Random) -> bool {
    let (servers, _) = stage.servers.clone().expect("servers of its own");
    let name = if stage.world.dialect == Dialect::Mysql { "mariadb" } else { "postgres" };
    const TROUBLE: [&str; 1] = ["trying again"];
    let before = stage.said(&TROUBLE);
    let server = Arc::clone(&servers);
    tokio::task::spawn_blocking(move || server.down(name, how)).await.expect("it is down");
    let noticed = stage.noticed(&TROUBLE, &before, EFFECT).await;
    tokio::time::sleep(Duration::from_millis(random.below(1000))).await;
    tokio::task::spawn_blocking(move || servers.up(name)).await.expect("it is up");
    noticed
}

async fn cut_at_commit(proxy: &Proxy, cut: Cut) -> bool {
    let before = proxy.cuts();
    proxy.cut_at_commit(cut);
    let deadline = Instant::now() + EFFECT;
    while proxy.cuts() == before {
        if Instant::now() > deadline && proxy.forget_orders() > 0 {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

/// No process may make a file longer than nothing: for SQLite that is a disk that takes nothing more. Then there is room again.
async fn disk_full(stage: &Stage, random: &mut Random) -> bool {
    const TROUBLE: [&str; 2] = ["sqlite ioerr", "sqlite full"];
    let before = stage.said(&TROUBLE);
    let limit = |size: &str| {
        for id in stage.processes() {
            // One that has just ended needs no limit.
            let _ = Command::new("prlimit").args(["--pid", &id.to_string(), &format!("--fsize={size}:")]).output();
        }
    };
    limit("1");
    let noticed = stage.noticed(&TROUBLE, &before, EFFECT).await;
    tokio::time::sleep(Duration::from_millis(random.below(1500))).await;
    limit("unlimited");
    noticed
}

/// Replays a part of a topic, perhaps with a death on the way.
async fn replay(stage: &Arc<Stage>, place: Option<&'static str>, random: &mut Random) -> bool {
    let (topic, partitions) = &stage.topics[random.below(stage.topics.len() as u64) as usize];
    let partition = random.below(*partitions as u64) as i32;
    let Some(offset) = stage.offset(topic, partition).await else { return false };
    let (from, one) = (random.below(offset.max(1) as u64).to_string(), partition.to_string());
    let mut args = vec!["replay", "--topic", topic];
    if random.percent(50) {
        args.push("--from-beginning");
    } else {
        args.extend(["--partition", &one, "--from-offset", &from]);
    }
    let Some(place) = place else {
        let process = stage.start(&args, None);
        return stage.end(process).await.code() == Some(0);
    };
    let process = stage.start(&args, Some(&format!("{place}=kill@1")));
    killed_at(stage, process, place).await == Hit::Seen
}

/// Moves a stored offset back by up to some hundred records.
async fn rewind(stage: &Stage, place: Option<&'static str>, random: &mut Random) -> bool {
    let (topic, partitions) = &stage.topics[random.below(stage.topics.len() as u64) as usize];
    let partition = random.below(*partitions as u64) as i32;
    let Some(offset) = stage.offset(topic, partition).await else { return false };
    let back = offset - random.below(offset.clamp(1, 400) as u64) as i64;
    let (partition, back) = (partition.to_string(), back.to_string());
    let args = ["offsets", "set", "--topic", topic, "--partition", &partition, "--offset", &back];
    match place {
        None => {
            let process = stage.start(&args, None);
            stage.end(process).await.code() == Some(0)
        }
        Some(place) => {
            let process = stage.start(&args, Some(&format!("{place}=kill@1")));
            killed_at(stage, process, place).await == Hit::Seen
        }
    }
}
