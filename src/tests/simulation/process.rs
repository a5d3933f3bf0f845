//! A process of a simulation: a pipeline of the library, whose every way out leads through a gate.
//!
//! Killed means that the gate never opens again: its tasks stand where they are until the simulation ends, and nothing that they
//! would do can be seen. Stopped means that it opens later, and the process goes on as if no time had passed.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::checked::Config;
use crate::core::failure::{Class, Failure};
use crate::runtime::progress::Progress;
use crate::runtime::supervisor::{self, Ended, Pipeline, RunOptions};
use crate::sink::Sink;
use crate::source::Source;
use crate::source::script::{Line, Log, MemberId, Turn};
use crate::support::random::Random;

use super::server::{Server, Way};

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Runs,
    Stands,
    Dead,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Gate(Arc<(Mutex<Life>, Notify)>);

impl Gate {
    pub fn new() -> Self {
        Self(Arc::new((Mutex::new(Life::Runs), Notify::new())))
    }

    pub fn life(&self) -> Life {
        *self.0.0.lock().expect("a life")
    }

    pub fn set(&self, life: Life) {
        if self.life() != Life::Dead {
            *self.0.0.lock().expect("a life") = life;
            self.0.1.notify_waiters();
        }
    }

    /// Waits while the process stands still; for ever, if it is dead.
    pub async fn pass(&self) {
        loop {
            let changed = self.0.1.notified();
            match self.life() {
                Life::Runs => return,
                Life::Stands => {
                    tracing::trace!(task = ?tokio::task::try_id(), "called gate");
                    changed.await;
                    tracing::trace!(task = ?tokio::task::try_id(), "called awake");
                }
                Life::Dead => return pending().await,
            }
        }
    }
}

/// The way of a process to the log.
#[derive(Debug)]
struct Reading {
    gate: Gate,
    random: Mutex<Random>,
    /// Questions about topics that are not answered, in a thousand.
    silent: u64,
}

impl Reading {
    fn draw(&self, bound: u64) -> u64 {
        self.random.lock().expect("random").below(bound)
    }
}

impl Line for Reading {
    fn awake(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.gate.pass())
    }

    fn turn(&self) -> Pin<Box<dyn Future<Output = Turn> + Send + '_>> {
        Box::pin(async move {
            self.gate.pass().await;
            let micros = match self.draw(10) {
                0 => self.draw(200_000),
                _ => self.draw(5_000),
            };
            sleep(Duration::from_micros(micros)).await;
            self.gate.pass().await;
            Turn { records: 1 + self.draw(8) as usize, pick: self.draw(u64::MAX) }
        })
    }

    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + '_>> {
        Box::pin(async move {
            self.gate.pass().await;
            sleep(Duration::from_micros(self.draw(3_000))).await;
            self.gate.pass().await;
            match self.draw(1000) < self.silent {
                true => Err(Failure::new(Class::Transient, "simulated", "the broker does not answer")),
                false => Ok(()),
            }
        })
    }
}

/// See the module.
pub struct Process {
    pub number: u64,
    pub member: MemberId,
    pub gate: Gate,
    pub progress: Progress,
    stop: CancellationToken,
    pub task: JoinHandle<Result<Ended, Failure>>,
}

/// A pipeline behind a gate. Opening it can fail, as everything can.
pub async fn pipeline(
    server: &Arc<Server>,
    log: &Log,
    config: &Arc<Config>,
    gate: &Gate,
    number: u64,
    (seed, silent): (u64, u64),
) -> Result<(Pipeline, MemberId), Failure> {
    let way = Way { server: Arc::clone(server), gate: gate.clone(), process: number };
    let reading = Reading { gate: gate.clone(), random: Mutex::new(Random::new(seed)), silent };
    let source = log.source(&config.pipeline, Arc::new(reading));
    let member = source.member();
    let pipeline = Pipeline::with(Arc::clone(config), Sink::Proxy(Arc::new(way)), Source::Script(source)).await?;
    Ok((pipeline, member))
}

impl Process {
    pub async fn start(
        server: &Arc<Server>,
        log: &Log,
        config: &Arc<Config>,
        number: u64,
        chances: (u64, u64),
    ) -> Self {
        let gate = Gate::new();
        let (pipeline, member) = loop {
            match pipeline(server, log, config, &gate, number, chances).await {
                Ok(opened) => break opened,
                // A supervisor of processes starts it again.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        };
        let (stop, progress) = (CancellationToken::new(), Progress::default());
        let options = RunOptions { until_caught_up: false, stop: stop.clone(), progress: progress.clone() };
        let task = tokio::spawn(async move { supervisor::run(&pipeline, options).await });
        Self { number, member, gate, progress, stop, task }
    }

    /// `kill -9`. The group and the server hear of it later.
    pub fn kill(&self, server: &Arc<Server>) {
        self.gate.set(Life::Dead);
        server.lose(self.number);
    }

    /// SIGTERM.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}
