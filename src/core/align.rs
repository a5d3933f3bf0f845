//! Source transactions: which queued records may be applied so that no batch ends inside a transaction.
//!
//! Records of one transaction lie in several partitions, which arrive independently. A transaction is known to be complete in a
//! partition when that partition shows a *later* one. All of it is here when every partition of the lane has, and then
//! everything up to it may go in one batch: what the destination holds is a state that the source had.
//!
//! # What a partition at its end proves
//!
//! Nothing for sure: Kafka's producers write partitions independently, so a record of the transaction may still be on its way.
//! A partition that says its end and then stays silent for `wait` after the last record of the transaction came is taken to
//! hold no more of it. `wait` is thus the bound on how much later a producer writes one partition than another.
//!
//! | [`Evidence`] | every partition … | proven |
//! |---|---|---|
//! | `Shown` | shows a later transaction | yes |
//! | `Ended` | shows a later one, or stayed silent at its end for `wait` while another partition shows a later one | yes, under that bound |
//! | `Hinted` | as `Ended` without waiting, because the counts of the transaction topic's END match what came | no: the counts are wrong after a restart inside a transaction |
//! | `Silent` | stayed silent at its end for `wait`, and nothing later is known: the head of the log | no: counted as a cut by time |
//!
//! Silence is measured in time that was spent listening ([`Aligner::listened`]): what waits in a queue is not silent.
//!
//! # Redelivery
//!
//! A connector that starts again writes older transactions once more. A record's mark is therefore the greatest place that its
//! partition has shown up to it: what is delivered again belongs to whatever came before it, changes nothing there, and
//! the marks of a partition never fall.

mod mark;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::mark::{Kind, Note, Place, Reader, Stream, is_control_topic, is_transaction_topic};
use super::decode::TopicDecoder;
use super::plan::{Advance, Consistency};
use super::record::{Record, TopicPartition};

/// Most transactions that are remembered of a stream beyond those that wait.
const REMEMBERED_MAX: usize = 10_000;

/// A transaction in this process: number of its stream, and its place there.
pub type Mark = (usize, Place);

/// What is known about a transaction's being complete; see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// More may come: for this long, or until a partition says something.
    Open(Option<Duration>),
    Shown,
    Ended,
    Hinted,
    Silent,
}

#[derive(Debug, Default)]
struct Part {
    /// Everything up to the end of the log was delivered, and nothing since.
    ended: bool,
    /// The greatest place of each stream that it showed.
    shown: HashMap<usize, Place>,
    /// Offsets and marks of records that are not committed.
    queued: VecDeque<(i64, Option<Mark>)>,
    last: Option<Mark>,
}

#[derive(Debug, Default)]
struct Unit {
    /// When its first and its last record came, on the clock of listening.
    first_seen: Duration,
    last_seen: Duration,
    /// Records that are not committed.
    queued: usize,
    /// Its events by topic, only counted where a transaction topic is read.
    events: HashMap<Arc<str>, HashSet<u64>>,
    id: String,
}

#[derive(Debug)]
struct Known {
    stream: Stream,
    /// Transactions that wait or are not proven, and the newest one.
    units: BTreeMap<Place, Unit>,
    greatest: Place,
    /// Greatest LSN of a snapshot.
    floor: Place,
    /// Places given to transactions that do not say one, by their ids.
    given: HashMap<String, Place>,
    /// The position up to which everything is certainly in the destination.
    proven: Option<Place>,
    /// What was last stored about that.
    told: Option<String>,
    /// Both as they are when the batch is committed for which [`Aligner::consistency`] was asked.
    pending: Option<(Option<Place>, Option<String>)>,
}

/// The lowest places that the partitions of a stream show: of those that are still being read, and of those at their end.
/// The inner `None` is a partition that showed nothing of the stream.
struct Lowest {
    reading: Option<Option<Place>>,
    ended: Option<Option<Place>>,
    whole: bool,
}

/// What may be applied.
#[derive(Debug, Default)]
pub struct Selection {
    /// Per partition the first offset that may not.
    bounds: HashMap<TopicPartition, i64>,
    /// How long to listen until silence decides something more.
    pub wait: Option<Duration>,
}

impl Selection {
    /// Whether a record may be applied.
    pub fn takes(&self, record: &Record) -> bool {
        self.bounds.get(&record.at).is_none_or(|bound| record.offset < *bound)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Aligner {
    wait: Duration,
    clock: Duration,
    reader: Reader,
    streams: Vec<Known>,
    parts: BTreeMap<TopicPartition, Part>,
    /// All partitions that the pipeline reads.
    expected: BTreeSet<TopicPartition>,
    /// Sources whose events a topic showed.
    sources: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Ends of transactions: events by topic, by source and id.
    ends: HashMap<(String, String), Vec<(String, u64)>>,
    unmarked: Option<String>,
}

impl Aligner {
    /// An aligner that takes a partition at its end for silent after `wait`.
    pub fn new(wait: Duration) -> Self {
        Self {
            wait,
            clock: Duration::ZERO,
            reader: Reader::default(),
            streams: Vec::new(),
            parts: BTreeMap::new(),
            expected: BTreeSet::new(),
            sources: HashMap::new(),
            ends: HashMap::new(),
            unmarked: None,
        }
    }

    /// All partitions that the pipeline reads: while some of them are held elsewhere, nothing is proven.
    pub fn expect(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.expected = partitions.into_iter().collect();
    }

    /// How the records of a topic are read. A topic for which nothing is said is read as Debezium's events.
    pub fn reads(&mut self, topic: &Arc<str>, decoder: TopicDecoder) {
        self.reader.reads(topic, decoder);
    }

    /// Time was spent listening to the source.
    pub fn listened(&mut self, time: Duration) {
        self.clock += time;
    }

    /// A source whose events name no transaction, once.
    pub fn unmarked(&mut self) -> Option<String> {
        let source = self.unmarked.as_mut().filter(|source| !source.is_empty())?;
        Some(std::mem::take(source))
    }

    /// Takes a partition in, or begins it anew.
    pub fn assign(&mut self, at: &TopicPartition) {
        self.forget(at);
        self.parts.insert(at.clone(), Part::default());
    }

    /// A partition is read from where its queue ends: it has to say its end again.
    pub fn restarted(&mut self, at: &TopicPartition) {
        self.parts.entry(at.clone()).or_default().ended = false;
    }

    /// Lets a partition go: it says nothing about transactions any more.
    pub fn forget(&mut self, at: &TopicPartition) {
        if let Some(part) = self.parts.remove(at) {
            part.queued.iter().for_each(|(_, mark)| self.release(*mark));
        }
    }

    /// Drops what waits of a partition below an offset.
    pub fn drop_below(&mut self, at: &TopicPartition, below: i64) {
        let Some(part) = self.parts.get_mut(at) else { return };
        let split = part.queued.partition_point(|(offset, _)| *offset < below);
        let dropped: Vec<_> = part.queued.drain(..split).collect();
        dropped.into_iter().for_each(|(_, mark)| self.release(mark));
    }

    fn release(&mut self, mark: Option<Mark>) {
        if let Some(unit) = mark.and_then(|(stream, place)| self.streams[stream].units.get_mut(&place)) {
            unit.queued = unit.queued.saturating_sub(1);
        }
    }

    /// Takes note of a record that was queued.
    pub fn take(&mut self, record: &Record) {
        let mark = match self.reader.note(record) {
            Note::Event { stream, place, open, id, event } => {
                Some(self.event(&record.at.topic, stream, (place, open), id, event))
            }
            Note::Snapshot { stream, lsn } => {
                let stream = self.stream(&record.at.topic, stream);
                self.streams[stream].floor = self.streams[stream].floor.max(lsn);
                None
            }
            Note::End { source, id, counts } => {
                if self.ends.len() >= REMEMBERED_MAX {
                    self.ends.clear();
                }
                self.ends.insert((source, id), counts);
                None
            }
            Note::Unmarked { source } => {
                // One that was said is empty and stays.
                self.unmarked.get_or_insert(source);
                None
            }
            Note::Nothing => None,
        };
        let Some(part) = self.parts.get_mut(&record.at) else { return };
        part.ended = false;
        let (is_event, clock) = (mark.is_some(), self.clock);
        let mark = match mark {
            Some((stream, place)) => {
                let shown = part.shown.entry(stream).or_insert(place);
                *shown = place.max(*shown);
                Some((stream, *shown))
            }
            None => part.last,
        };
        part.last = mark;
        part.queued.push_back((record.offset, mark));
        if let Some((stream, place)) = mark {
            let unit = self.streams[stream].unit(place, clock);
            unit.queued += 1;
            if is_event {
                unit.last_seen = clock;
            }
        }
    }

    fn event(&mut self, topic: &Arc<str>, stream: Stream, place: (Place, bool), id: String, event: u64) -> Mark {
        let counted = self.parts.keys().any(|at| is_transaction_topic(&at.topic));
        let (number, clock) = (self.stream(topic, stream), self.clock);
        let known = &mut self.streams[number];
        let place = match place {
            (place, false) => place,
            // Behind all that is known when it is met first: joined with a later transaction it waits longer than it must,
            // joined with an earlier one it could be torn.
            (place, true) => {
                let place = place.max(known.floor).max(known.greatest);
                if known.given.len() >= REMEMBERED_MAX {
                    known.given.clear();
                }
                *known.given.entry(id.clone()).or_insert(place)
            }
        };
        known.greatest = known.greatest.max(place);
        let unit = known.unit(place, clock);
        if counted {
            unit.events.entry(Arc::clone(topic)).or_default().insert(event);
            unit.id = id;
        }
        (number, place)
    }

    fn stream(&mut self, topic: &Arc<str>, stream: Stream) -> usize {
        let sources = self.sources.entry(Arc::clone(topic)).or_default();
        if !sources.contains(&stream.source) {
            sources.insert(Arc::clone(&stream.source));
        }
        self.streams.iter().position(|known| known.stream == stream).unwrap_or_else(|| {
            self.streams.push(Known {
                stream,
                units: BTreeMap::new(),
                greatest: 0,
                floor: 0,
                given: HashMap::new(),
                proven: None,
                told: None,
                pending: None,
            });
            self.streams.len() - 1
        })
    }

    /// A partition was delivered up to its end.
    pub fn at_end(&mut self, at: &TopicPartition) {
        if let Some(part) = self.parts.get_mut(at) {
            part.ended = true;
        }
    }

    /// Whether a partition said its end, and nothing since.
    pub fn has_ended(&self, at: &TopicPartition) -> bool {
        self.parts.get(at).is_some_and(|part| part.ended)
    }

    /// Partitions that may hold events of a source: topics that showed only others, and those without row changes, do not.
    fn relevant(&self, source: &Arc<str>) -> impl Iterator<Item = (&TopicPartition, &Part)> {
        self.parts.iter().filter(move |(at, _)| {
            let sources = self.sources.get(&at.topic);
            !is_control_topic(&at.topic) && sources.is_none_or(|sources| sources.is_empty() || sources.contains(source))
        })
    }

    fn lowest(&self, stream: usize) -> Lowest {
        let whole = !self.expected.is_empty() && self.expected.iter().all(|at| self.parts.contains_key(at));
        let mut lowest = Lowest { reading: None, ended: None, whole };
        for (_, part) in self.relevant(&self.streams[stream].stream.source) {
            let shown = part.shown.get(&stream).copied();
            let low = if part.ended { &mut lowest.ended } else { &mut lowest.reading };
            *low = Some(low.map_or(shown, |low| low.min(shown)));
        }
        lowest
    }

    fn evidence(&self, known: &Known, lowest: &Lowest, place: Place, unit: &Unit) -> Evidence {
        let past = |low: &Option<Option<Place>>| low.is_none_or(|low| low > Some(place));
        if !past(&lowest.reading) {
            return Evidence::Open(None);
        }
        if lowest.whole && past(&lowest.ended) {
            return Evidence::Shown;
        }
        let quiet = self.clock.saturating_sub(unit.last_seen);
        if quiet >= self.wait {
            let is_head = known.greatest <= place;
            return if lowest.whole && !is_head { Evidence::Ended } else { Evidence::Silent };
        }
        if lowest.whole && self.counts_match(known, unit) {
            return Evidence::Hinted;
        }
        Evidence::Open(Some(self.wait - quiet))
    }

    /// Whether nothing that lies before a transaction is still to come.
    fn is_reached(&self, lowest: &Lowest, place: Place, unit: &Unit) -> bool {
        let reached = |low: &Option<Option<Place>>| low.is_none_or(|low| low >= Some(place));
        let silent = self.clock.saturating_sub(unit.first_seen) >= self.wait;
        lowest.whole && reached(&lowest.reading) && (reached(&lowest.ended) || silent)
    }

    fn counts_match(&self, known: &Known, unit: &Unit) -> bool {
        if unit.id.is_empty() || self.ends.is_empty() {
            return false;
        }
        let source = known.stream.source.split_once(' ').map_or("", |(_, name)| name);
        // PostgreSQL's END names the transaction's number and its own LSN.
        let of_this = |(of, id): &(String, String)| {
            of == source && (*id == unit.id || id.split_once(':').is_some_and(|(id, _)| id == unit.id))
        };
        let exact = self.ends.get_key_value(&(source.to_owned(), unit.id.clone())).map(|(_, counts)| counts);
        let Some(counts) = exact.or_else(|| self.ends.iter().find(|(end, _)| of_this(end)).map(|(_, counts)| counts))
        else {
            return false;
        };
        let is_read = |topic: &str| self.parts.keys().any(|at| &*at.topic == topic);
        let mut wanted = counts.iter().filter(|(topic, _)| is_read(topic)).peekable();
        let came = |topic: &str| unit.events.get(topic).map_or(0, |events| events.len() as u64);
        wanted.peek().is_some() && wanted.all(|(topic, count)| came(topic) == *count)
    }

    /// What may be applied now. With `force` the oldest transactions may whatever is known about them: the queue can hold no
    /// more.
    pub fn select(&self, force: bool) -> Selection {
        let mut selection = Selection::default();
        let frontiers: Vec<Option<Place>> = (0..self.streams.len())
            .map(|stream| {
                let known = &self.streams[stream];
                let lowest = self.lowest(stream);
                let mut frontier = None;
                for (place, unit) in known.units.iter().filter(|(_, unit)| unit.queued > 0) {
                    match self.evidence(known, &lowest, *place, unit) {
                        Evidence::Open(_) if force && frontier.is_none() => return Some(*place),
                        Evidence::Open(wait) => {
                            selection.wait = selection.wait.into_iter().chain(wait).min();
                            break;
                        }
                        _ => frontier = Some(*place),
                    }
                }
                frontier
            })
            .collect();
        for (at, part) in &self.parts {
            let waits = |mark: &Option<Mark>| mark.is_some_and(|(stream, place)| Some(place) > frontiers[stream]);
            if let Some((offset, _)) = part.queued.iter().find(|(_, mark)| waits(mark)) {
                selection.bounds.insert(at.clone(), *offset);
            }
        }
        selection
    }

    /// Partitions that hold the oldest waiting transactions up: not at their end, and nothing later shown.
    pub fn blockers(&self) -> BTreeSet<TopicPartition> {
        let mut blockers = BTreeSet::new();
        for (stream, known) in self.streams.iter().enumerate() {
            let Some((place, _)) = known.units.iter().find(|(_, unit)| unit.queued > 0) else { continue };
            let behind = |part: &Part| !part.ended && part.shown.get(&stream).is_none_or(|shown| shown <= place);
            blockers
                .extend(self.relevant(&known.stream.source).filter(|(_, part)| behind(part)).map(|(at, _)| at.clone()));
        }
        blockers
    }

    /// The transaction of a queued record.
    pub fn mark(&self, record: &Record) -> Option<Mark> {
        let queued = &self.parts.get(&record.at)?.queued;
        let at = queued.binary_search_by_key(&record.offset, |(offset, _)| *offset).ok()?;
        queued[at].1
    }

    /// Records in the order of their transactions; inside of one, and of a partition, in the order that they have.
    pub fn sorted(&self, records: Vec<Record>) -> Vec<Record> {
        let mut reached: HashMap<TopicPartition, Option<Mark>> = HashMap::new();
        let place = |record: Record| {
            // A partition that shows two streams by turns must keep its order.
            let reached = reached.entry(record.at.clone()).or_default();
            *reached = self.mark(&record).max(*reached);
            (*reached, record)
        };
        let mut placed: Vec<(Option<Mark>, Record)> = records.into_iter().map(place).collect();
        placed.sort_by_key(|(mark, _)| *mark);
        placed.into_iter().map(|(_, record)| record).collect()
    }

    /// What the destination will hold of the source's transactions when these checkpoints are moved.
    pub fn consistency(&mut self, advances: &[Advance]) -> Vec<Consistency> {
        let next: HashMap<&TopicPartition, i64> = advances.iter().map(|advance| (&advance.at, advance.next)).collect();
        let (mut taken, mut left) = (BTreeSet::new(), BTreeSet::new());
        for (at, part) in &self.parts {
            let next = next.get(at).copied().unwrap_or(i64::MIN);
            for (offset, mark) in &part.queued {
                let side = if *offset < next { &mut taken } else { &mut left };
                side.insert(*mark);
            }
        }
        // A row of a snapshot that is left out belongs to all that comes behind it.
        let nothing_before = !left.contains(&None);
        let mut found = Vec::new();
        for stream in 0..self.streams.len() {
            let lowest = self.lowest(stream);
            let known = &self.streams[stream];
            let mut proven = known.proven;
            let (mut by_time, mut inside, mut unbroken) = (0, 0, nothing_before);
            for (place, unit) in &known.units {
                let is_left = left.contains(&Some((stream, *place)));
                let evidence = self.evidence(known, &lowest, *place, unit);
                let is_proven = match known.stream.kind {
                    // The place is where the commit before it lies: nothing is said about the transaction itself.
                    Kind::CommitBefore => unbroken && self.is_reached(&lowest, *place, unit),
                    _ => unbroken && !is_left && matches!(evidence, Evidence::Shown | Evidence::Ended),
                };
                unbroken &= !is_left && (is_proven || known.stream.kind == Kind::CommitBefore);
                if is_proven {
                    proven = proven.max(Some(*place));
                }
                if taken.contains(&Some((stream, *place))) {
                    inside += u64::from(is_left || matches!(evidence, Evidence::Open(_)));
                    by_time += u64::from(!is_left && evidence == Evidence::Silent);
                }
            }
            let position = proven.map(|proven| known.stream.text(proven));
            let known = &mut self.streams[stream];
            known.pending = Some((proven, position.clone()));
            let position = position.filter(|position| known.told.as_ref() != Some(position));
            if position.is_some() || by_time + inside > 0 {
                found.push(Consistency { source: known.stream.name(), position, by_time, inside });
            }
        }
        found
    }

    /// Checkpoints were moved.
    pub fn committed(&mut self, advances: &[Advance]) {
        advances.iter().for_each(|advance| self.drop_below(&advance.at, advance.next));
        for known in &mut self.streams {
            if let Some((proven, told)) = known.pending.take() {
                known.proven = proven;
                known.told = told.or(known.told.take());
            }
            let (proven, greatest) = (known.proven, known.greatest);
            let over = known.units.len().saturating_sub(REMEMBERED_MAX);
            let mut dropped = 0;
            known.units.retain(|place, unit| {
                let may_go = unit.queued == 0 && *place < greatest;
                let goes = may_go && (Some(*place) < proven || dropped < over);
                dropped += usize::from(goes);
                !goes
            });
        }
    }

    /// The batch for which [`Self::consistency`] was asked was not committed.
    pub fn failed(&mut self) {
        self.streams.iter_mut().for_each(|known| known.pending = None);
    }
}

impl Known {
    fn unit(&mut self, place: Place, now: Duration) -> &mut Unit {
        let new = || Unit { first_seen: now, last_seen: now, ..Unit::default() };
        self.units.entry(place).or_insert_with(new)
    }
}

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
