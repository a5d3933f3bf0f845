//! Follows the topics that an expression selects: a thread asks for them every ten seconds and says when they changed. The
//! poll thread never waits for an answer of the cluster.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::core::failure::Failure;
use crate::source::SourceEvent;

use super::metadata::Metadata;
use super::selection::Selection;

/// Time between two questions.
const INTERVAL: Duration = Duration::from_secs(10);
/// Time to the next question while there is no answer, or no topic yet.
const RETRY: Duration = Duration::from_secs(1);

/// Topics to be subscribed to. Dropping it ends the thread (after an answer that is under way).
pub(super) struct Topics {
    changed: Receiver<BTreeSet<String>>,
    _alive: Sender<()>,
}

impl Topics {
    /// The topics, if they changed.
    pub(super) fn changed(&self) -> Option<BTreeSet<String>> {
        self.changed.try_iter().last()
    }
}

/// Starts following. Topics that vanish are said to `control`.
pub(super) fn follow(
    metadata: Arc<Metadata>,
    selection: Selection,
    control: UnboundedSender<SourceEvent>,
) -> Result<Topics, Failure> {
    let (sender, changed) = channel();
    let (alive, ended) = channel::<()>();
    let ask = move || {
        let mut known = BTreeSet::new();
        loop {
            match metadata.names(&selection) {
                Ok(names) if names != known => {
                    warn_of_lost(&known, &names, &control);
                    known.clone_from(&names);
                    if sender.send(names).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                // The consumer reports a cluster that is away; twice is too much.
                Err(failure) => tracing::debug!(%failure, "cannot list topics"),
            }
            let pause = if known.is_empty() { RETRY } else { INTERVAL };
            if ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("lastword-topics".to_owned()).spawn(ask);
    thread.map_err(|error| Failure::operator("thread", format!("cannot start a thread: {error}")))?;
    Ok(Topics { changed, _alive: alive })
}

fn warn_of_lost(known: &BTreeSet<String>, names: &BTreeSet<String>, control: &UnboundedSender<SourceEvent>) {
    let lost: Vec<&str> = known.difference(names).map(String::as_str).collect();
    if !lost.is_empty() {
        let message = format!("no longer there: {}; their checkpoints are kept", lost.join(", "));
        let _ = control.send(SourceEvent::Warning(Failure::operator("kafka topics", message)));
    }
}
