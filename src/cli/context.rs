//! What commands have in common: the configuration, the pipeline, the process's signals, and who acts.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::checked::Config;
use crate::config::load::{self, Environment};
use crate::core::failure::Failure;
use crate::runtime::supervisor::Pipeline;
use crate::sink::bookkeep;
use crate::sink::{Session, Sink};

use super::args::Global;
use super::exit::CommandError;
use super::output::Output;

/// See the module.
#[derive(Debug)]
pub(super) struct Context {
    /// Global flags.
    pub global: Global,
    /// Where results go.
    pub output: Output,
}

impl Context {
    /// The configuration.
    pub fn config(&self) -> Result<Arc<Config>, CommandError> {
        let config = load::load(&self.global.config, &Environment::of_process(), &self.global.overrides)?;
        Ok(Arc::new(config))
    }

    /// The pipeline, with its bookkeeping made where it is missing.
    pub async fn pipeline(&self) -> Result<Pipeline, CommandError> {
        Ok(Pipeline::open(self.config()?).await?)
    }

    /// A session of the destination for a command that needs the bookkeeping to be there.
    pub async fn session(&self, config: &Config, purpose: &str) -> Result<Session, CommandError> {
        let mut session = Sink::new(&config.sink)?.session(purpose).await?;
        let refused = match bookkeep::check_version(&mut session).await? {
            None => Failure::operator("no_store", "the destination has no bookkeeping yet; `lastword run` makes it"),
            Some(format) if format < bookkeep::STORE_FORMAT => Failure::operator(
                "old_store",
                format!(
                    "the destination's bookkeeping has format {format}, of an older version; `lastword run` upgrades it"
                ),
            ),
            Some(_) => return Ok(session),
        };
        Err(refused.into())
    }
}

/// Who acts, for the audit.
pub(super) fn who() -> String {
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).or_else(|_| std::env::var("LOGNAME"));
    user.unwrap_or_else(|_| "unknown".to_owned())
}

/// A token that is cancelled by SIGINT or SIGTERM. The second signal ends the process at once: whatever was in flight is
/// rolled back by the database and applied again later.
pub(super) fn stop_on_signals() -> Result<CancellationToken, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed =
        |error: std::io::Error| Failure::operator("signals", format!("signals cannot be listened to: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        tracing::info!("stopping; a second signal stops at once");
        told.cancel();
        next().await;
        tracing::warn!("stopped at once; what was in flight will be applied again");
        std::process::exit(super::exit::Exit::Stopped as i32);
    });
    Ok(stop)
}

/// A time of the store for people: RFC 3339, UTC.
pub(super) fn time_text(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms).map_or_else(|| ms.to_string(), |time| time.to_rfc3339())
}
