//! Pipelines of the library in this process: a run costs what its records cost, so that many can be tried.

use futures_util::future::join_all;
use lastword::config::load::{Environment, load_text};
use lastword::core::failure::Failure;
use lastword::runtime::progress::Progress;
use lastword::runtime::status::{self, RunSummary};
use lastword::runtime::supervisor::{self, Ended, Pipeline, RunOptions};
use tokio_util::sync::CancellationToken;

use super::stage::Stage;
use crate::support::captures::{self, Captured};

/// A pipeline with a log in front of it.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    /// Its name: who has its checkpoints goes on where it stopped.
    pub(super) pipeline: &'a str,
    /// The log, in the order in which it is delivered.
    pub(super) records: &'a [Captured],
    /// Most rows of a batch.
    pub(super) rows: usize,
}

impl Stage {
    /// Runs the jobs at the same time, each until it is caught up, and returns what each said about itself.
    pub(super) fn apply(&self, jobs: &[Job<'_>]) -> Result<Vec<RunSummary>, Failure> {
        // One thread: whatever a test switches for itself holds in all of it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let done: Vec<_> = join_all(jobs.iter().map(|job| self.run(*job))).await;
            done.into_iter().collect()
        })
    }

    async fn run(&self, job: Job<'_>) -> Result<RunSummary, Failure> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("records.jsonl");
        captures::write(&path, job.records);
        let source = format!("[source]\nkind = \"file\"\npaths = [\"{}\"]\n", path.display());
        let text = self.config(job.pipeline, &source, &captures::topics(job.records));
        let rows = format!("batch.rows={}", job.rows);
        let config = load_text("a job", &text, &Environment::default(), &[rows]);
        let config = config.unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let pipeline = Pipeline::open(config.into()).await?;
        let progress = Progress::default();
        let options = RunOptions { until_caught_up: true, stop: CancellationToken::new(), progress: progress.clone() };
        let ended = supervisor::run(&pipeline, options).await?;
        Ok(status::summary(&progress, ended == Ended::CaughtUp))
    }
}
