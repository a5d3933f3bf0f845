//! The poll thread: one consumer, one loop, all its state in one struct.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use tokio::sync::mpsc;

use crate::core::failure::Failure;
use crate::core::record::{Record, SharedHead, TopicPartition};
use crate::source::delivery::{Delivery, Flow, Taken};
use crate::source::{Generation, SourceCommand, SourceEvent};

use super::client::failure_of;
use super::follow::{Change, INTERVAL, Topics};
use super::native::{ClientError, Message, Native, Polled};
use super::rebalance::PARKED;

/// Longest wait for an event. Commands wait as long; they are not urgent.
const POLL: Duration = Duration::from_millis(50);
/// Records that are taken before commands are looked at.
const BURST: usize = 1000;
/// Pausing throws away what librdkafka has fetched already, so it must be worth it.
const PAUSE_AFTER: Duration = Duration::from_secs(1);
/// Longest wait for room in the queue before commands and the group are served.
const ROOM: Duration = Duration::from_millis(20);
/// A seek is tried so long: the fetcher of a partition that was just assigned may not have started.
const SEEK_FOR: Duration = Duration::from_secs(30);
/// The same warning comes again after this time.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// What the poll thread reads for.
pub(super) enum Mode {
    /// As a member of the group, for the topics that are selected.
    Group(Topics),
    /// Some ranges, until each is at its end.
    Ranges,
}

/// A [`SourceCommand::Start`] that is not carried out yet.
struct Start {
    offset: i64,
    generation: Generation,
    since: Instant,
}

/// See the module. `native` is borrowed, so that it is closed after this is gone.
pub(super) struct Reader<'a> {
    pub(super) native: &'a Native,
    pub(super) mode: Mode,
    pub(super) delivery: Delivery,
    commands: mpsc::UnboundedReceiver<SourceCommand>,
    /// Topics by name, each with what its values share.
    names: HashMap<Arc<str>, SharedHead>,
    last: TopicPartition,
    starts: HashMap<TopicPartition, Start>,
    /// Partitions whose fetcher has given up, so that they cannot be sought.
    pub(super) given_up: HashSet<TopicPartition>,
    blocked_since: Option<Instant>,
    pub(super) paused: bool,
    warned: HashMap<(i32, Option<TopicPartition>), Instant>,
}

/// Why the loop ended.
enum End {
    Stopped,
    Failed(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl<'a> Reader<'a> {
    /// Nothing is read yet.
    pub(super) fn new(
        native: &'a Native,
        mode: Mode,
        delivery: Delivery,
        commands: mpsc::UnboundedReceiver<SourceCommand>,
    ) -> Self {
        Self {
            native,
            mode,
            delivery,
            commands,
            names: HashMap::new(),
            last: TopicPartition::new("", -1),
            starts: HashMap::new(),
            given_up: HashSet::new(),
            blocked_since: None,
            paused: false,
            warned: HashMap::new(),
        }
    }

    /// Reads until it is stopped, nobody listens any more, or it cannot go on; then lets go of everything.
    pub(super) fn run(mut self) {
        if let Err(End::Failed(failure)) = self.serve() {
            self.delivery.say(SourceEvent::Failed(failure));
        }
        self.release_all();
    }

    fn serve(&mut self) -> Result<(), End> {
        loop {
            self.take_commands()?;
            self.start_what_is_due()?;
            self.follow_topics()?;
            if matches!(self.mode, Mode::Ranges) {
                self.delivery.finish_if_reached();
            }
            if self.relieve()? {
                self.take_events()?;
            }
        }
    }

    /// Sends what is ready. `false`: there is no room, and nothing may be polled now. While partitions are paused, polling goes
    /// on for the group's sake.
    fn relieve(&mut self) -> Result<bool, End> {
        match self.delivery.pump() {
            Flow::Closed => return Err(End::Stopped),
            Flow::Open => {
                self.blocked_since = None;
                if self.paused && self.delivery.relieved() {
                    self.paused = false;
                    self.check("resuming", self.native.resume(&self.delivery.running()))?;
                }
                return Ok(true);
            }
            Flow::Blocked => {}
        }
        let since = *self.blocked_since.get_or_insert_with(Instant::now);
        if !self.paused && since.elapsed() >= PAUSE_AFTER {
            self.paused = true;
            self.check("pausing", self.native.pause(&self.delivery.running()))?;
        }
        self.delivery.wait_room(ROOM);
        Ok(self.paused)
    }

    /// Takes events until there is none, the queue is full, or it is time for commands.
    fn take_events(&mut self) -> Result<(), End> {
        let native = self.native;
        let mut patience = if self.blocked_since.is_some() { Duration::ZERO } else { POLL };
        for _ in 0..BURST {
            match native.poll(patience) {
                Some(Polled::Record(message)) => {
                    self.record(&message)?;
                    if self.delivery.pump() != Flow::Open {
                        return Ok(());
                    }
                }
                Some(Polled::Assign(partitions)) => return Ok(self.assigned(partitions)?),
                Some(Polled::Revoke(partitions)) => return Ok(self.revoked(&partitions)?),
                Some(Polled::End { at, position }) => self.end(&at, position)?,
                Some(Polled::Error(error)) => self.error(error)?,
                Some(Polled::Other) => {}
                None => break,
            }
            patience = Duration::ZERO;
        }
        self.delivery.flush();
        Ok(())
    }

    fn record(&mut self, message: &Message<'_>) -> Result<(), End> {
        if *self.last.topic != *message.topic() {
            self.last.topic = self.name(message.topic());
        }
        self.last.partition = message.partition();
        let at = &self.last;
        let head = self.names.entry(Arc::clone(&at.topic)).or_default();
        let make = || Record {
            at: at.clone(),
            offset: message.offset(),
            timestamp_ms: message.timestamp_ms(),
            key: message.key().map(bytes::Bytes::copy_from_slice),
            value: message.value().map(|value| head.share(value)),
            headers: message.headers(),
            framed: None,
        };
        if self.delivery.offer(at, message.offset(), make) == Taken::Reached {
            let at = at.clone();
            self.check("pausing", self.native.pause(&[at]))?;
        }
        Ok(())
    }

    /// One piece of memory for all records of a topic.
    fn name(&mut self, topic: &str) -> Arc<str> {
        if let Some((known, _)) = self.names.get_key_value(topic) {
            return Arc::clone(known);
        }
        let name: Arc<str> = topic.into();
        self.names.insert(Arc::clone(&name), SharedHead::default());
        name
    }

    fn end(&mut self, at: &TopicPartition, position: i64) -> Result<(), End> {
        if self.delivery.at_end(at, position) == Taken::Reached {
            self.check("pausing", self.native.pause(std::slice::from_ref(at)))?;
        }
        Ok(())
    }

    fn take_commands(&mut self) -> Result<(), End> {
        loop {
            match self.commands.try_recv() {
                Ok(SourceCommand::Start { at, offset, generation }) => self.want_start(at, offset, generation)?,
                Ok(SourceCommand::Halt { at }) => {
                    self.starts.remove(&at);
                    self.silence(&at);
                }
                Ok(SourceCommand::HintCommitted { offsets }) => self.hint_committed(&offsets),
                Ok(SourceCommand::Stop) | Err(mpsc::error::TryRecvError::Disconnected) => return Err(End::Stopped),
                Err(mpsc::error::TryRecvError::Empty) => return Ok(()),
            }
        }
    }

    fn want_start(&mut self, at: TopicPartition, offset: i64, generation: Generation) -> Result<(), End> {
        if offset < 0 {
            return Err(Failure::operator("kafka offset", format!("{at}: {offset} is no offset to start at")).into());
        }
        // From now on nothing of an older generation may pass, whether the seek succeeds or not.
        self.delivery.halt(&at);
        if self.delivery.holds(&at) {
            self.starts.insert(at, Start { offset, generation, since: Instant::now() });
        }
        Ok(())
    }

    fn start_what_is_due(&mut self) -> Result<(), End> {
        if self.starts.is_empty() {
            return Ok(());
        }
        for (at, start) in std::mem::take(&mut self.starts) {
            if !self.delivery.holds(&at) {
                continue;
            }
            let moved = if self.given_up.contains(&at) {
                self.take_again(&at, start.offset)
            } else {
                self.native.seek(&at, start.offset)
            };
            match moved {
                Ok(()) => {
                    self.given_up.remove(&at);
                    self.delivery.start(&at, start.offset, start.generation);
                    if !self.paused && !self.delivery.reached(&at) {
                        self.check("resuming", self.native.resume(std::slice::from_ref(&at)))?;
                    }
                }
                Err(error) if start.since.elapsed() > SEEK_FOR => {
                    let text = format!("{at}: cannot be moved to offset {}: {error}", start.offset);
                    self.fail_partition(&at, failure_of(RDKafkaErrorCode::State, text))?;
                }
                Err(_) => {
                    self.starts.insert(at, start);
                }
            }
        }
        Ok(())
    }

    /// Assigns a partition once more, because only that starts a fetcher that has given up. Pauses survive it.
    fn take_again(&self, at: &TopicPartition, offset: i64) -> KafkaResult<()> {
        if self.native.cooperative() {
            self.native.unassign(std::slice::from_ref(at))?;
            return self.native.assign(&[(at.clone(), Offset::Offset(offset))]);
        }
        let place = |(held, next): (TopicPartition, Option<i64>)| {
            let next = if held == *at { Some(offset) } else { next };
            (held, next.map_or(PARKED, Offset::Offset))
        };
        self.native.assign(&self.delivery.positions().into_iter().map(place).collect::<Vec<_>>())
    }

    /// Lets nothing of a partition pass and stops fetching it. If it cannot be paused (the client may be closing), it is
    /// silent all the same.
    fn silence(&mut self, at: &TopicPartition) {
        self.delivery.halt(at);
        if self.delivery.holds(at)
            && let Err(error) = self.native.pause(std::slice::from_ref(at))
        {
            tracing::debug!(%at, %error, "cannot pause");
        }
    }

    fn hint_committed(&self, offsets: &[(TopicPartition, i64)]) {
        if matches!(self.mode, Mode::Group(_))
            && !offsets.is_empty()
            && let Err(error) = self.native.commit(offsets)
        {
            tracing::debug!(%error, "cannot commit to the group; only lag tools miss it");
        }
    }

    fn follow_topics(&mut self) -> Result<(), End> {
        let Mode::Group(topics) = &self.mode else { return Ok(()) };
        match topics.change() {
            None => Ok(()),
            Some(Change::Subscribe(names)) => {
                tracing::info!(topics = names.len(), "the selected topics changed");
                self.check("subscribing", self.native.subscribe(&names.into_iter().collect::<Vec<_>>()))
            }
            Some(Change::MadeAnew(topic)) => {
                for at in self.delivery.partitions().into_iter().filter(|at| *at.topic == *topic) {
                    self.fail_partition(&at, made_anew(&at))?;
                }
                Ok(())
            }
        }
    }

    fn error(&mut self, error: ClientError) -> Result<(), End> {
        let text = self.native.context().redact(&error.text);
        let at = error.at.as_ref().map(|(at, _)| at.clone());
        if error.fatal {
            let message = format!("the Kafka client cannot go on: {text}");
            return Err(Failure::operator(format!("kafka {:?}", error.code), message).into());
        }
        match (&error.at, error.code) {
            (Some((at, offset)), code) if loses_records(code) => {
                let (at, failure) = (at.clone(), lost_place(at, *offset, code, &text));
                self.fail_partition(&at, failure)
            }
            (_, RDKafkaErrorCode::GroupAuthorizationFailed) => Err(failure_of(error.code, text).into()),
            _ => {
                self.warn(error.code, at, text);
                Ok(())
            }
        }
    }

    /// Ends the delivery of a partition; of a range, that ends everything.
    fn fail_partition(&mut self, at: &TopicPartition, failure: Failure) -> Result<(), End> {
        if matches!(self.mode, Mode::Ranges) {
            return Err(failure.into());
        }
        // Parked partitions have no place that could be lost.
        self.given_up.insert(at.clone());
        let runs = self.delivery.passes(at) || self.starts.remove(at).is_some();
        self.silence(at);
        if runs {
            self.delivery.say(SourceEvent::PartitionFailed { at: at.clone(), failure });
        }
        Ok(())
    }

    fn warn(&mut self, code: RDKafkaErrorCode, at: Option<TopicPartition>, text: String) {
        let text = at.as_ref().map_or(text.clone(), |at| format!("{at}: {text}"));
        let now = Instant::now();
        let before = self.warned.insert((code as i32, at), now);
        if before.is_none_or(|before| now - before >= WARN_AGAIN) {
            self.delivery.say(SourceEvent::Warning(failure_of(code, text)));
        }
    }

    fn check(&self, what: &str, result: KafkaResult<()>) -> Result<(), End> {
        result.map_err(|error| {
            let text = self.native.context().redact(&error.to_string());
            Failure::operator("kafka client", format!("{what}: {text}")).into()
        })
    }
}

fn made_anew(at: &TopicPartition) -> Failure {
    let message = format!(
        "{at} is stopped: its topic was deleted and created again within the last {} s; records of the new topic at offsets \
         above the old position may have been applied, those below were not; decide with `lastword offsets set` where to \
         begin in the new topic",
        INTERVAL.as_secs()
    );
    Failure::operator("kafka topic made anew", message)
}

/// Errors after which librdkafka skips a batch, or does not know where to go on.
fn loses_records(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::AutoOffsetReset
            | Code::OffsetOutOfRange
            | Code::LogTruncation
            | Code::NoOffset
            | Code::BadMessage
            | Code::BadCompression
            | Code::InvalidMessage
            | Code::NotImplemented
            | Code::CriticalSystemResource
            | Code::MessageSizeTooLarge
    )
}

fn lost_place(at: &TopicPartition, offset: Option<i64>, code: RDKafkaErrorCode, text: &str) -> Failure {
    let place = offset.map_or(at.to_string(), |offset| format!("{at} at offset {offset}"));
    let remedy = match code {
        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::NoOffset => {
            "records that were not applied yet are gone from the log, or the topic was created again; look at \
             `lastword status`, restore the data, then move on with `lastword offsets set`"
        }
        RDKafkaErrorCode::LogTruncation => {
            "the cluster took back records that were applied (unclean leader election); compare the destination with the \
             source, then move on with `lastword offsets set`"
        }
        RDKafkaErrorCode::MessageSizeTooLarge => {
            "raise receive.message.max.bytes and fetch.message.max.bytes in [source.client]"
        }
        _ => {
            "the batch on the broker cannot be read; restore it from a replica, or skip it with `lastword offsets set`"
        }
    };
    Failure::operator(format!("kafka {code:?}"), format!("{place} is stopped: {text}; {remedy}"))
}
