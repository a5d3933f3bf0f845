//! The bounded way from a source to the runtime, and how a thread without a runtime waits.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};

use super::LogEvent;

/// Bytes that may wait between a source and the runtime. librdkafka holds about as much again; both together leave most of
/// a small process's memory to the lanes.
const QUEUE_BYTES: usize = 12 * 1024 * 1024;

/// What an event without records counts for, so that these are bounded as well.
const EVENT_BYTES: usize = 256;

/// Receiving end of the records of a source. Counts bytes, not events: a hundred records may be 20 KB or 100 MB.
#[derive(Debug)]
pub struct RecordQueue {
    events: mpsc::UnboundedReceiver<LogEvent>,
    room: Arc<Semaphore>,
}

impl RecordQueue {
    /// The next event, `None` when the source has ended and everything was taken. Cancel-safe.
    pub async fn recv(&mut self) -> Option<LogEvent> {
        let event = self.events.recv().await?;
        self.room.add_permits(cost(&event));
        Some(event)
    }
}

/// Sending end of a [`RecordQueue`].
#[derive(Debug)]
pub(super) struct RecordSender {
    events: mpsc::UnboundedSender<LogEvent>,
    room: Arc<Semaphore>,
}

/// Why an event was not sent.
#[derive(Debug)]
pub(super) enum NotSent {
    /// No room now; the event comes back.
    Full(LogEvent),
    /// Nobody listens any more.
    Closed,
}

/// A queue of [`QUEUE_BYTES`].
pub(super) fn queue() -> (RecordSender, RecordQueue) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(QUEUE_BYTES));
    (RecordSender { events: sender, room: Arc::clone(&room) }, RecordQueue { events: receiver, room })
}

impl RecordSender {
    /// Sends if there is room.
    pub(super) fn try_send(&self, event: LogEvent) -> Result<(), NotSent> {
        if self.events.is_closed() {
            return Err(NotSent::Closed);
        }
        let Ok(permits) = self.room.try_acquire_many(cost(&event) as u32) else {
            return Err(NotSent::Full(event));
        };
        permits.forget();
        self.events.send(event).map_err(|_| NotSent::Closed)
    }

    /// Waits until there is room for an event, but not longer than `timeout`.
    pub(super) fn wait_room(&self, event: &LogEvent, timeout: Duration) {
        let _ = wait(self.room.acquire_many(cost(event) as u32), timeout);
    }

    /// Whether at least half of the queue is free.
    pub(super) fn half_free(&self) -> bool {
        self.room.available_permits() >= QUEUE_BYTES / 2
    }
}

/// Bytes that an event counts for. One that is greater than the whole queue counts as the whole queue: it waits until the
/// queue is empty, and then goes.
fn cost(event: &LogEvent) -> usize {
    match event {
        LogEvent::Records { records, .. } => {
            records.iter().map(super::Record::size_bytes).sum::<usize>().clamp(EVENT_BYTES, QUEUE_BYTES)
        }
        _ => EVENT_BYTES,
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread for a future that needs no runtime (channels, semaphores); `None` if it took longer than `timeout`.
pub(super) fn wait<F: Future>(future: F, timeout: Duration) -> Option<F::Output> {
    let deadline = Instant::now() + timeout;
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::{Headers, Record, TopicPartition};

    fn records(bytes: usize) -> LogEvent {
        let record = Record {
            at: TopicPartition::new("t", 0),
            offset: 0,
            timestamp_ms: None,
            key: None,
            value: Some(vec![0; bytes].into()),
            headers: Headers::default(),
            framed: None,
        };
        LogEvent::Records { generation: 1, records: vec![record] }
    }

    #[tokio::test]
    async fn bytes_bound_the_queue_and_a_giant_still_passes() {
        let (sender, mut queue) = queue();
        sender.try_send(records(QUEUE_BYTES * 2)).expect("a giant passes through an empty queue");
        assert!(matches!(sender.try_send(records(1)), Err(NotSent::Full(_))));
        assert!(queue.recv().await.is_some());
        let mut sent = 0;
        while sender.try_send(records(1024 * 1024)).is_ok() {
            sent += 1;
        }
        assert_eq!(sent, 11, "eleven of a megabyte and some overhead fit into twelve");
        drop(queue);
        assert!(matches!(sender.try_send(records(1)), Err(NotSent::Closed)));
    }

    #[test]
    fn waiting_ends_with_the_answer_or_in_time() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let answer = std::thread::spawn(move || sender.send(7));
        assert_eq!(wait(receiver, Duration::from_secs(5)), Some(Ok(7)));
        assert!(answer.join().is_ok());
        let (_kept, receiver) = tokio::sync::oneshot::channel::<()>();
        assert_eq!(wait(receiver, Duration::from_millis(20)), None);
    }
}
