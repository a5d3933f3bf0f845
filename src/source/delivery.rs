//! What both sources share: which partitions are read from where, under which generation, and the way of their records to
//! the runtime.
//!
//! A record passes only if its partition has a generation and its offset is not below the one expected next. That filter
//! is the last word, whatever else went wrong before it. Records are collected into chunks of one partition; chunks wait
//! in `ready` until the queue has room, and whoever reads stops reading while they do ([`Flow::Blocked`]).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::core::record::{Record, TopicPartition};

use super::queue::{NotSent, RecordQueue, RecordSender, queue, wait};
use super::{Generation, LogEvent, SourceCommand, SourceEvent, SourceHandle};

/// A chunk is sent when it has so many records …
const CHUNK_RECORDS: usize = 1024;
/// … or bytes.
const CHUNK_BYTES: usize = 512 * 1024;
/// All chunks together are sent at so many bytes, because there may be thousands of partitions.
const CHUNKS_BYTES: usize = 2 * 1024 * 1024;

/// Longest wait for the runtime to drain what it has of partitions that go. Below every time-out of a group.
const DRAIN: Duration = Duration::from_secs(10);

/// A partition that is read.
#[derive(Debug, Default)]
struct Track {
    /// `None`: parked, halted or failed; nothing passes.
    generation: Option<Generation>,
    /// Lowest offset that passes.
    next: i64,
    /// Offset to stop before (ranges and files).
    until: Option<i64>,
    /// Position of the last `AtEnd` of this generation.
    end_said: Option<i64>,
    chunk: Vec<Record>,
    chunk_bytes: usize,
}

impl Track {
    fn reached(&self) -> bool {
        self.until.is_some_and(|until| self.next >= until)
    }
}

/// What became of a record or a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It passed.
    Yes,
    /// It did not: no generation, or an offset below the expected one.
    No,
    /// The partition is at the end of its range; `AtEnd` was said.
    Reached,
}

/// Whether there is room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Yes.
    Open,
    /// No: nothing may be read before something was taken from the queue.
    Blocked,
    /// Nobody listens any more.
    Closed,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Delivery {
    control: mpsc::UnboundedSender<SourceEvent>,
    records: RecordSender,
    tracks: HashMap<TopicPartition, Track, foldhash::fast::FixedState>,
    chunks_bytes: usize,
    ready: VecDeque<LogEvent>,
    finished: bool,
}

/// The other ends of a [`Delivery`].
pub(super) struct Ends {
    pub(super) control: mpsc::UnboundedReceiver<SourceEvent>,
    pub(super) records: RecordQueue,
}

impl Ends {
    /// Completes the runtime's end.
    pub(super) fn handle(
        self,
        commands: mpsc::UnboundedSender<SourceCommand>,
        thread: Option<std::thread::JoinHandle<()>>,
    ) -> SourceHandle {
        SourceHandle { control: self.control, records: self.records, commands, thread }
    }
}

impl Delivery {
    /// Nothing is read yet.
    pub(super) fn new() -> (Self, Ends) {
        let (control_sender, control) = mpsc::unbounded_channel();
        let (record_sender, records) = queue();
        let delivery = Self {
            control: control_sender,
            records: record_sender,
            tracks: HashMap::default(),
            chunks_bytes: 0,
            ready: VecDeque::new(),
            finished: false,
        };
        (delivery, Ends { control, records })
    }

    /// Says something at once. Nobody listening is noticed by [`pump`](Self::pump) and needs no answer here.
    pub(super) fn say(&self, event: SourceEvent) {
        let _ = self.control.send(event);
    }

    /// A sender for what others have to say.
    pub(super) fn control(&self) -> mpsc::UnboundedSender<SourceEvent> {
        self.control.clone()
    }

    /// Takes a partition up: parked, or from an offset under a generation.
    pub(super) fn insert(&mut self, at: &TopicPartition, start: Option<(i64, Generation)>, until: Option<i64>) {
        self.remove(at);
        self.tracks.insert(at.clone(), Track { until, ..Track::default() });
        if let Some((offset, generation)) = start {
            self.start(at, offset, generation);
        }
    }

    /// Forgets a partition and what waits of it.
    pub(super) fn remove(&mut self, at: &TopicPartition) {
        self.halt(at);
        self.tracks.remove(at);
    }

    /// Lets a partition pass from an offset on; `false` if it is not there.
    pub(super) fn start(&mut self, at: &TopicPartition, offset: i64, generation: Generation) -> bool {
        self.halt(at);
        let Some(track) = self.tracks.get_mut(at) else { return false };
        track.generation = Some(generation);
        track.next = offset;
        self.finished = false;
        self.settle(at);
        true
    }

    /// Lets nothing of a partition pass any more and drops what waits of it.
    pub(super) fn halt(&mut self, at: &TopicPartition) {
        let Some(track) = self.tracks.get_mut(at) else { return };
        track.generation = None;
        track.end_said = None;
        track.chunk = Vec::new();
        self.chunks_bytes -= std::mem::take(&mut track.chunk_bytes);
        self.ready.retain(|event| event.partition() != Some(at));
    }

    /// Offers a record, which is made only if it passes.
    pub(super) fn offer(&mut self, at: &TopicPartition, offset: i64, make: impl FnOnce() -> Record) -> Taken {
        let Some(track) = self.tracks.get_mut(at) else { return Taken::No };
        if track.generation.is_none() || offset < track.next {
            return Taken::No;
        }
        if let Some(until) = track.until.filter(|until| offset >= *until) {
            track.next = track.next.max(until);
            self.settle(at);
            return Taken::Reached;
        }
        let record = make();
        let bytes = record.size_bytes();
        track.next = offset + 1;
        track.chunk.push(record);
        track.chunk_bytes += bytes;
        self.chunks_bytes += bytes;
        let full = track.chunk.len() >= CHUNK_RECORDS || track.chunk_bytes >= CHUNK_BYTES;
        if track.reached() {
            self.settle(at);
            return Taken::Reached;
        }
        if full {
            self.flush_one(at);
        } else if self.chunks_bytes >= CHUNKS_BYTES {
            self.flush();
        }
        Taken::Yes
    }

    /// Everything before `position` was offered and nothing lies behind it now.
    pub(super) fn at_end(&mut self, at: &TopicPartition, position: i64) -> Taken {
        let Some(track) = self.tracks.get_mut(at) else { return Taken::No };
        let Some(generation) = track.generation else { return Taken::No };
        if position < track.next {
            return Taken::No;
        }
        track.next = position;
        if track.until.is_some() {
            self.settle(at);
            return if self.reached(at) { Taken::Reached } else { Taken::Yes };
        }
        if track.end_said == Some(position) {
            return Taken::No;
        }
        track.end_said = Some(position);
        self.flush_one(at);
        self.ready.push_back(LogEvent::AtEnd { at: at.clone(), generation, position });
        Taken::Yes
    }

    /// Says `AtEnd` once for a partition that reached the end of its range.
    fn settle(&mut self, at: &TopicPartition) {
        let Some(track) = self.tracks.get_mut(at) else { return };
        let (Some(generation), true, None) = (track.generation, track.reached(), track.end_said) else { return };
        let position = track.next;
        track.end_said = Some(position);
        self.flush_one(at);
        self.ready.push_back(LogEvent::AtEnd { at: at.clone(), generation, position });
    }

    /// A partition has nothing more before the end of its range.
    pub(super) fn end_of_range(&mut self, at: &TopicPartition) {
        if let Some(until) = self.tracks.get(at).and_then(|track| track.until) {
            self.at_end(at, until);
        }
    }

    /// Says `Revoked`, waits until the runtime has drained what it has of the partitions (not if they are lost already), and
    /// forgets them.
    pub(super) fn let_go(&mut self, partitions: &[TopicPartition], lost: bool) {
        let Some(answer) = self.revoke(partitions, lost) else { return };
        if !lost && wait(answer, DRAIN).is_none() {
            tracing::warn!(partitions = partitions.len(), "partitions were not drained in time; the fence decides");
        }
        self.forget(partitions);
    }

    /// Says `Revoked`, if there is anything to revoke; the answer comes when the runtime has drained what it has.
    pub(super) fn revoke(&mut self, partitions: &[TopicPartition], lost: bool) -> Option<oneshot::Receiver<()>> {
        if partitions.is_empty() {
            return None;
        }
        // Nothing more goes out before the question does: what the runtime has then is all there is.
        for at in partitions {
            self.halt(at);
        }
        let (reply, answer) = oneshot::channel();
        self.say(SourceEvent::Revoked { partitions: partitions.to_vec(), lost, reply });
        Some(answer)
    }

    /// Forgets partitions that were revoked.
    pub(super) fn forget(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            self.tracks.remove(at);
        }
    }

    /// Says `Finished` once when every partition has reached the end of its range.
    pub(super) fn finish_if_reached(&mut self) {
        if !self.finished && self.tracks.values().all(|track| track.generation.is_some() && track.reached()) {
            self.finished = true;
            self.flush();
            self.ready.push_back(LogEvent::Finished);
        }
    }

    /// Whether a partition is there.
    pub(super) fn holds(&self, at: &TopicPartition) -> bool {
        self.tracks.contains_key(at)
    }

    /// Whether a partition has a generation.
    pub(super) fn passes(&self, at: &TopicPartition) -> bool {
        self.tracks.get(at).is_some_and(|track| track.generation.is_some())
    }

    /// Whether a partition is at the end of its range.
    pub(super) fn reached(&self, at: &TopicPartition) -> bool {
        self.tracks.get(at).is_some_and(Track::reached)
    }

    /// All partitions.
    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
        self.tracks.keys().cloned().collect()
    }

    /// The offset that is expected next in a partition that passes.
    pub(super) fn next(&self, at: &TopicPartition) -> Option<i64> {
        self.tracks.get(at).filter(|track| track.generation.is_some()).map(|track| track.next)
    }

    /// The position of the last end that was said under the present generation.
    pub(super) fn end_said(&self, at: &TopicPartition) -> Option<i64> {
        self.tracks.get(at).and_then(|track| track.end_said)
    }

    /// All partitions with the offset that is expected next, where there is one.
    pub(super) fn positions(&self) -> Vec<(TopicPartition, Option<i64>)> {
        let position = |track: &Track| track.generation.map(|_| track.next);
        self.tracks.iter().map(|(at, track)| (at.clone(), position(track))).collect()
    }

    /// Partitions of which more can pass.
    pub(super) fn running(&self) -> Vec<TopicPartition> {
        let passes = |track: &Track| track.generation.is_some() && !track.reached();
        self.tracks.iter().filter(|(_, track)| passes(track)).map(|(at, _)| at.clone()).collect()
    }

    /// Gives all chunks up for sending.
    pub(super) fn flush(&mut self) {
        if self.chunks_bytes == 0 {
            return;
        }
        for track in self.tracks.values_mut() {
            flush_track(track, &mut self.chunks_bytes, &mut self.ready);
        }
    }

    fn flush_one(&mut self, at: &TopicPartition) {
        if let Some(track) = self.tracks.get_mut(at) {
            flush_track(track, &mut self.chunks_bytes, &mut self.ready);
        }
    }

    /// Sends what is ready, as far as there is room.
    pub(super) fn pump(&mut self) -> Flow {
        while let Some(event) = self.ready.pop_front() {
            match self.records.try_send(event) {
                Ok(()) => {}
                Err(NotSent::Full(event)) => {
                    self.ready.push_front(event);
                    return Flow::Blocked;
                }
                Err(NotSent::Closed) => return Flow::Closed,
            }
        }
        if self.control.is_closed() { Flow::Closed } else { Flow::Open }
    }

    /// Waits for room for what is ready, but not longer than `timeout`.
    pub(super) fn wait_room(&self, timeout: Duration) {
        if let Some(event) = self.ready.front() {
            self.records.wait_room(event, timeout);
        }
    }

    /// Whether nothing is ready and at least half of the queue is free.
    pub(super) fn relieved(&self) -> bool {
        self.ready.is_empty() && self.records.half_free()
    }
}

fn flush_track(track: &mut Track, chunks_bytes: &mut usize, ready: &mut VecDeque<LogEvent>) {
    let records = std::mem::take(&mut track.chunk);
    *chunks_bytes -= std::mem::take(&mut track.chunk_bytes);
    if let (Some(generation), false) = (track.generation, records.is_empty()) {
        ready.push_back(LogEvent::Records { generation, records });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::Headers;

    fn record(at: &TopicPartition, offset: i64, bytes: usize) -> Record {
        Record {
            at: at.clone(),
            offset,
            timestamp_ms: None,
            key: None,
            value: Some(vec![b'x'; bytes].into()),
            headers: Headers::default(),
            framed: None,
        }
    }

    /// Sends everything and says it in short: `r<generation>:<first>-<last>`, `e<generation>:<position>`, `finished`.
    fn drain(delivery: &mut Delivery, ends: &mut Ends) -> Vec<String> {
        delivery.flush();
        let mut said = Vec::new();
        loop {
            let flow = delivery.pump();
            while let Some(Some(event)) = wait(ends.records.recv(), Duration::ZERO) {
                said.push(match event {
                    LogEvent::Records { generation, records } => {
                        format!("r{generation}:{}-{}", records[0].offset, records[records.len() - 1].offset)
                    }
                    LogEvent::AtEnd { generation, position, .. } => format!("e{generation}:{position}"),
                    LogEvent::Finished => "finished".to_owned(),
                });
            }
            if flow == Flow::Open {
                return said;
            }
        }
    }

    #[test]
    fn only_a_started_partition_passes_and_only_from_its_offset() {
        let (mut delivery, mut ends) = Delivery::new();
        let at = TopicPartition::new("t", 0);
        assert_eq!(delivery.offer(&at, 0, || unreachable!()), Taken::No);
        delivery.insert(&at, None, None);
        assert_eq!(delivery.offer(&at, 0, || unreachable!()), Taken::No);
        assert_eq!(delivery.at_end(&at, 5), Taken::No);
        assert!(delivery.start(&at, 10, 3));
        assert_eq!(delivery.offer(&at, 9, || unreachable!()), Taken::No);
        assert_eq!(delivery.offer(&at, 12, || record(&at, 12, 1)), Taken::Yes);
        assert_eq!(delivery.offer(&at, 12, || unreachable!()), Taken::No);
        assert_eq!(delivery.at_end(&at, 14), Taken::Yes);
        assert_eq!(delivery.at_end(&at, 14), Taken::No);
        assert_eq!(drain(&mut delivery, &mut ends), ["r3:12-12", "e3:14"]);
    }

    #[test]
    fn halting_drops_what_waits_and_a_new_generation_begins_clean() {
        let (mut delivery, mut ends) = Delivery::new();
        let (at, other) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        delivery.insert(&at, Some((0, 1)), None);
        delivery.insert(&other, Some((0, 2)), None);
        for offset in 0..3000 {
            delivery.offer(&at, offset, || record(&at, offset, 1));
        }
        delivery.offer(&other, 0, || record(&other, 0, 1));
        delivery.halt(&at);
        assert_eq!(delivery.offer(&at, 3000, || unreachable!()), Taken::No);
        assert!(delivery.start(&at, 5, 9));
        delivery.offer(&at, 5, || record(&at, 5, 1));
        let mut said = drain(&mut delivery, &mut ends);
        said.sort();
        assert_eq!(said, ["r2:0-0", "r9:5-5"]);
        assert_eq!(delivery.chunks_bytes, 0);
    }

    #[test]
    fn ranges_end_in_gaps_and_finish_again_after_a_start() {
        let (mut delivery, mut ends) = Delivery::new();
        let (at, empty) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        delivery.insert(&at, Some((0, 1)), Some(10));
        delivery.insert(&empty, Some((7, 2)), Some(7));
        delivery.finish_if_reached();
        assert_eq!(delivery.offer(&at, 4, || record(&at, 4, 1)), Taken::Yes);
        assert_eq!(delivery.offer(&at, 12, || unreachable!()), Taken::Reached);
        delivery.finish_if_reached();
        delivery.finish_if_reached();
        assert_eq!(drain(&mut delivery, &mut ends), ["e2:7", "r1:4-4", "e1:10", "finished"]);
        assert!(delivery.start(&at, 8, 5));
        assert_eq!(delivery.offer(&at, 9, || record(&at, 9, 1)), Taken::Reached);
        delivery.finish_if_reached();
        assert_eq!(drain(&mut delivery, &mut ends), ["r5:9-9", "e5:10", "finished"]);
    }

    #[test]
    fn a_full_queue_blocks_and_keeps_what_is_ready() {
        let (mut delivery, mut ends) = Delivery::new();
        let at = TopicPartition::new("t", 0);
        delivery.insert(&at, Some((0, 1)), None);
        let mut offset = 0;
        while delivery.pump() == Flow::Open {
            delivery.offer(&at, offset, || record(&at, offset, 100_000));
            offset += 1;
        }
        assert!((100..150).contains(&offset), "{offset} records of 100 KB in a queue of 12 MiB");
        assert!(!delivery.relieved());
        let said = drain(&mut delivery, &mut ends);
        assert_eq!(said.last().map(String::as_str), Some(format!("r1:{}-{}", offset - 6, offset - 1).as_str()));
        assert!(delivery.relieved());
        drop(ends);
        assert_eq!(delivery.pump(), Flow::Closed);
    }
}
