//! Follows the selected topics: a thread asks for them every few seconds and says which are new and which were made anew. The
//! poll thread never waits for an answer of the cluster.
//!
//! A topic that is deleted and created again under its name is read on by librdkafka at the old offset, without a word
//! (seen): what the new one holds below it would be lost. Its id tells. Until the next question, records of the new topic may
//! have been delivered; the failure says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::core::failure::Failure;
use crate::source::SourceEvent;

use super::metadata::Metadata;
use super::selection::Selection;

/// Time between two questions.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);
/// Time to the next question while there is no answer, or no topic yet.
const RETRY: Duration = Duration::from_secs(1);

/// What became of the topics.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// These are to be subscribed to.
    Subscribe(BTreeSet<String>),
    /// This one is not the one that it was.
    MadeAnew(String),
}

/// The changes. Dropping it ends the thread (after an answer that is under way).
pub(super) struct Topics {
    changes: Receiver<Change>,
    _alive: Sender<()>,
}

impl Topics {
    /// The next change, if there is one.
    pub(super) fn change(&self) -> Option<Change> {
        self.changes.try_recv().ok()
    }
}

/// Starts following. Topics that vanish are said to `control`.
pub(super) fn follow(
    metadata: Arc<Metadata>,
    selection: Selection,
    control: UnboundedSender<SourceEvent>,
) -> Result<Topics, Failure> {
    let (sender, changes) = channel();
    let (alive, ended) = channel::<()>();
    let ask = move || {
        let mut known = Known { subscribed: selection.names().into_iter().collect(), ..Known::default() };
        loop {
            match metadata.identities(&selection) {
                Ok(found) => {
                    for change in known.update(found, &control) {
                        if sender.send(change).is_err() {
                            return;
                        }
                    }
                }
                // The consumer reports a cluster that is away; twice is too much.
                Err(failure) => tracing::debug!(%failure, "cannot list topics"),
            }
            let pause = if known.identities.is_empty() { RETRY } else { INTERVAL };
            if ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("lastword-topics".to_owned()).spawn(ask);
    thread.map_err(|error| Failure::operator("thread", format!("cannot start a thread: {error}")))?;
    Ok(Topics { changes, _alive: alive })
}

/// What was seen so far.
#[derive(Default)]
struct Known {
    /// Last id of each topic, also of those that are away now; none where the cluster has no ids.
    identities: BTreeMap<String, Option<String>>,
    /// Topics that are there now.
    there: BTreeSet<String>,
    /// Topics that the consumer was told to subscribe to. Those that are named stay, also while they are away.
    subscribed: BTreeSet<String>,
}

impl Known {
    fn update(
        &mut self,
        found: BTreeMap<String, Option<String>>,
        control: &UnboundedSender<SourceEvent>,
    ) -> Vec<Change> {
        let there: BTreeSet<String> = found.keys().cloned().collect();
        let lost: Vec<&str> = self.there.difference(&there).map(String::as_str).collect();
        if !lost.is_empty() {
            let message = format!("no longer there: {}; their checkpoints are kept", lost.join(", "));
            let _ = control.send(SourceEvent::Warning(Failure::operator("kafka topics", message)));
        }
        self.there = there;
        let mut changes = Vec::new();
        for (name, id) in found {
            let before = self.identities.insert(name.clone(), id.clone()).flatten();
            if before.is_some() && id.is_some() && before != id {
                changes.push(Change::MadeAnew(name));
            }
        }
        // Topics that vanished stay subscribed: they may come back, and must then be known as new ones.
        let wanted: BTreeSet<String> = self.subscribed.union(&self.there).cloned().collect();
        if wanted != self.subscribed {
            self.subscribed.clone_from(&wanted);
            changes.push(Change::Subscribe(wanted));
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_lost_and_remade_topics_are_told() {
        let (control, mut said) = tokio::sync::mpsc::unbounded_channel();
        let mut known = Known { subscribed: ["named".to_owned()].into(), ..Known::default() };
        let found = |list: &[(&str, Option<&str>)]| {
            list.iter().map(|(name, id)| ((*name).to_owned(), id.map(str::to_owned))).collect::<BTreeMap<_, _>>()
        };
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(known.update(found(&[("named", Some("1"))]), &control), []);
        let both = found(&[("named", Some("1")), ("new", Some("2"))]);
        assert_eq!(known.update(both.clone(), &control), [Change::Subscribe(names(&["named", "new"]))]);
        assert_eq!(known.update(both, &control), []);
        assert!(said.try_recv().is_err());
        assert_eq!(known.update(found(&[("new", Some("2"))]), &control), []);
        assert!(matches!(said.try_recv(), Ok(SourceEvent::Warning(failure)) if failure.message.contains("named")));
        let again = found(&[("named", Some("9")), ("new", None)]);
        assert_eq!(known.update(again, &control), [Change::MadeAnew("named".to_owned())]);
        assert_eq!(known.update(found(&[("named", Some("9")), ("new", None)]), &control), []);
    }
}
