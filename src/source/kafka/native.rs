//! The consumer's event queue, read through librdkafka's event API directly.
//!
//! # Why not `BaseConsumer::poll`
//!
//! It drops what this source needs: `PartitionEOF` comes without its topic and offset and an out-of-range error without its
//! partition (with several topics the culprit would have to be guessed from positions), and the results of the assign calls
//! inside its rebalance callback are thrown away. Read here, each of these events names its partition and offset, a
//! rebalance is an event like any other instead of a callback with shared state, and every call is checked. Everything but
//! reading events (creating, assigning, seeking, closing) is left to `rdkafka`; its `Drop` closes the consumer.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use rdkafka_sys as sys;

use crate::core::record::{Headers, TopicPartition};

use super::client::Context;

/// A consumer with its event queue. Only one thread polls it.
pub(super) struct Native {
    // Before the consumer: a queue must be given back while its client lives.
    queue: Queue,
    consumer: BaseConsumer<Context>,
}

/// What the queue gave.
pub(super) enum Polled<'a> {
    /// A record.
    Record(Message<'a>),
    /// Partitions are given. Must be answered with [`Native::assign`], even if there are none.
    Assign(Vec<TopicPartition>),
    /// Partitions are taken. Must be answered with [`Native::unassign`], even if there are none.
    Revoke(Vec<TopicPartition>),
    /// The end of a partition.
    End {
        /// The partition.
        at: TopicPartition,
        /// Next offset to fetch: it moved past transaction markers, aborted batches and emptied ones.
        position: i64,
    },
    /// Something went wrong.
    Error(ClientError),
    /// Something without meaning here.
    Other,
}

/// An error that the client reports.
#[derive(Clone, Debug)]
pub(super) struct ClientError {
    /// Its code.
    pub code: RDKafkaErrorCode,
    /// librdkafka's text; may name addresses, never records.
    pub text: String,
    /// The client is not usable any more.
    pub fatal: bool,
    /// Where it happened, with the offset if there is one.
    pub at: Option<(TopicPartition, Option<i64>)>,
}

impl Native {
    /// Wraps a consumer that was created with a `group.id`, so that everything goes to its consumer queue.
    pub(super) fn new(consumer: BaseConsumer<Context>) -> Option<Self> {
        // SAFETY: the client is alive; the call returns a reference that `Queue` gives back, or null.
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        (!queue.is_null()).then(|| Self { queue: Queue(queue), consumer })
    }

    /// The next event, `None` if there was none in time.
    pub(super) fn poll(&self, timeout: Duration) -> Option<Polled<'_>> {
        let millis = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue is alive; the event is owned by the caller, or null.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue.0, millis) };
        if event.is_null() {
            return None;
        }
        let event = Event(event, PhantomData);
        // SAFETY: the event is alive.
        let kind = unsafe { sys::rd_kafka_event_type(event.0) };
        Some(match kind {
            sys::RD_KAFKA_EVENT_FETCH => Message::of(event).map_or(Polled::Other, Polled::Record),
            sys::RD_KAFKA_EVENT_ERROR => event.error(),
            sys::RD_KAFKA_EVENT_REBALANCE => event.rebalance(),
            sys::RD_KAFKA_EVENT_LOG => {
                event.log(self.consumer.context());
                Polled::Other
            }
            _ => Polled::Other,
        })
    }

    /// Answers [`Polled::Assign`]: takes these partitions, each at its offset, in addition to those held (in place of those
    /// held, if the assignor is an eager one, which takes everything away before).
    pub(super) fn assign(&self, partitions: &[(TopicPartition, Offset)]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (at, offset) in partitions {
            list.add_partition(&at.topic, at.partition).set_offset(*offset)?;
        }
        if self.cooperative() { self.consumer.incremental_assign(&list) } else { self.consumer.assign(&list) }
    }

    /// Answers [`Polled::Revoke`]: lets these partitions go (all, if the assignor is an eager one).
    pub(super) fn unassign(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        if self.cooperative() {
            self.consumer.incremental_unassign(&list_of(partitions))
        } else {
            self.consumer.unassign()
        }
    }

    /// Whether assignments add to what is held, instead of replacing it.
    pub(super) fn cooperative(&self) -> bool {
        matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative)
    }

    /// Whether the partitions of the present `Revoke` belong to someone else already.
    pub(super) fn lost(&self) -> bool {
        self.consumer.assignment_lost()
    }

    /// Subscribes to topics by name, in place of those before.
    pub(super) fn subscribe(&self, topics: &[String]) -> KafkaResult<()> {
        self.consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Moves a partition and throws away what was fetched of it. Fails until the partition's fetcher has started, and after
    /// the fetcher has given up (out of range).
    pub(super) fn seek(&self, at: &TopicPartition, offset: i64) -> KafkaResult<()> {
        self.consumer.seek(&at.topic, at.partition, Offset::Offset(offset), Duration::from_millis(500))
    }

    /// Stops fetching partitions and throws away what was fetched of them.
    pub(super) fn pause(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        if partitions.is_empty() { Ok(()) } else { self.consumer.pause(&list_of(partitions)) }
    }

    /// Goes on fetching partitions, from behind the last record that was polled or from where they were sought to.
    pub(super) fn resume(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        if partitions.is_empty() { Ok(()) } else { self.consumer.resume(&list_of(partitions)) }
    }

    /// Commits offsets to the group without waiting for the outcome.
    pub(super) fn commit(&self, offsets: &[(TopicPartition, i64)]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (at, offset) in offsets {
            list.add_partition(&at.topic, at.partition).set_offset(Offset::Offset(*offset))?;
        }
        self.consumer.commit(&list, rdkafka::consumer::CommitMode::Async)
    }

    /// The client's context.
    pub(super) fn context(&self) -> &Context {
        self.consumer.context()
    }
}

fn list_of(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for at in partitions {
        list.add_partition(&at.topic, at.partition);
    }
    list
}

struct Queue(*mut sys::rd_kafka_queue_t);

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference was taken in `Native::new` and is given back once, while the client lives.
        unsafe { sys::rd_kafka_queue_destroy(self.0) }
    }
}

/// An event that is given back when it is dropped, which must be while its consumer lives.
struct Event<'a>(*mut sys::rd_kafka_event_t, PhantomData<&'a Native>);

impl Drop for Event<'_> {
    fn drop(&mut self) {
        // SAFETY: owned since `poll`, destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.0) }
    }
}

impl<'a> Event<'a> {
    fn error(&self) -> Polled<'a> {
        // SAFETY: an error event that is alive; the text belongs to the event and is copied here.
        let (code, fatal, text) = unsafe {
            (
                RDKafkaErrorCode::from(sys::rd_kafka_event_error(self.0)),
                sys::rd_kafka_event_error_is_fatal(self.0) != 0,
                text_of(sys::rd_kafka_event_error_string(self.0)),
            )
        };
        let at = self.partition();
        match at {
            Some((at, Some(position))) if code == RDKafkaErrorCode::PartitionEOF => Polled::End { at, position },
            at => Polled::Error(ClientError { code, text, fatal: fatal || code == RDKafkaErrorCode::Fatal, at }),
        }
    }

    fn partition(&self) -> Option<(TopicPartition, Option<i64>)> {
        // SAFETY: the call makes a partition that the caller owns, or null; its topic is a C string that is copied here
        // before it is given back.
        unsafe {
            let partition = sys::rd_kafka_event_topic_partition(self.0);
            if partition.is_null() {
                return None;
            }
            let at = TopicPartition::new(text_of((*partition).topic), (*partition).partition);
            let offset = Some((*partition).offset).filter(|offset| *offset >= 0);
            sys::rd_kafka_topic_partition_destroy(partition);
            Some((at, offset))
        }
    }

    fn rebalance(&self) -> Polled<'a> {
        // SAFETY: a rebalance event that is alive; its list belongs to it and is copied here. `elems` may be null if `cnt` is 0.
        let (code, partitions) = unsafe {
            let list = sys::rd_kafka_event_topic_partition_list(self.0);
            let mut partitions = Vec::new();
            if !list.is_null() {
                for index in 0..usize::try_from((*list).cnt).unwrap_or(0) {
                    let element = (*list).elems.add(index);
                    partitions.push(TopicPartition::new(text_of((*element).topic), (*element).partition));
                }
            }
            (sys::rd_kafka_event_error(self.0), partitions)
        };
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Polled::Assign(partitions),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => Polled::Revoke(partitions),
            // Nobody knows what is held after this.
            code => Polled::Error(ClientError {
                code: code.into(),
                text: "a rebalance failed".to_owned(),
                fatal: true,
                at: None,
            }),
        }
    }

    fn log(&self, context: &Context) {
        let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
        // SAFETY: a log event that is alive; the texts belong to it and are copied here.
        let (facility, text) = unsafe {
            if sys::rd_kafka_event_log(self.0, &mut facility, &mut text, &mut level) != 0 {
                return;
            }
            (text_of(facility), text_of(text))
        };
        let level = match level {
            ..=3 => RDKafkaLogLevel::Error,
            4 => RDKafkaLogLevel::Warning,
            5 | 6 => RDKafkaLogLevel::Info,
            _ => RDKafkaLogLevel::Debug,
        };
        context.log(level, &facility, text.trim());
    }
}

/// A record in librdkafka's memory.
pub(super) struct Message<'a> {
    message: *const sys::rd_kafka_message_t,
    // Keeps `message` alive.
    _event: Event<'a>,
}

impl<'a> Message<'a> {
    fn of(event: Event<'a>) -> Option<Self> {
        // SAFETY: a fetch event that is alive; the message belongs to it. This call also moves the consumer's position.
        let message = unsafe { sys::rd_kafka_event_message_next(event.0) };
        // SAFETY: not null, alive with the event. Errors come as events of their own; a message with one is no record.
        (!message.is_null() && unsafe { (*message).err } == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR)
            .then_some(Self { message, _event: event })
    }

    fn get(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: not null (`of`), alive as long as the event in `self`.
        unsafe { &*self.message }
    }

    /// Name of its topic.
    pub(super) fn topic(&self) -> &str {
        // SAFETY: the name lives as long as the topic object, which the message holds. Names of topics are ASCII.
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.get().rkt)) }.to_str().unwrap_or("")
    }

    /// Number of its partition.
    pub(super) fn partition(&self) -> i32 {
        self.get().partition
    }

    /// Its offset.
    pub(super) fn offset(&self) -> i64 {
        self.get().offset
    }

    /// Its key, `None` for null.
    pub(super) fn key(&self) -> Option<&[u8]> {
        // SAFETY: librdkafka gives pointer and length of one piece of memory that lives with the message.
        unsafe { bytes_of(self.get().key, self.get().key_len) }
    }

    /// Its value, `None` for null.
    pub(super) fn value(&self) -> Option<&[u8]> {
        // SAFETY: as for the key.
        unsafe { bytes_of(self.get().payload, self.get().len) }
    }

    /// Its time in milliseconds since 1970, if it has one.
    pub(super) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, `kind` is written only.
        let time = unsafe { sys::rd_kafka_message_timestamp(self.message, &mut kind) };
        (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE).then_some(time)
    }

    /// Its headers, copied.
    pub(super) fn headers(&self) -> Headers {
        let mut list = ptr::null_mut();
        // SAFETY: the message is alive; the list and all that is read from it belong to it and are copied by `pack` before
        // this function returns.
        unsafe {
            if sys::rd_kafka_message_headers(self.message, &mut list) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Headers::default();
            }
            let mut packed: Vec<(String, Option<&[u8]>)> = Vec::new();
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            while sys::rd_kafka_header_get_all(list, packed.len(), &mut name, &mut value, &mut size)
                == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                packed.push((text_of(name), bytes_of(value, size)));
            }
            Headers::pack(packed.iter().map(|(name, value)| (name.as_str(), *value)))
        }
    }
}

/// # Safety
/// `data` is null or points to `length` bytes that live for `'m`.
unsafe fn bytes_of<'m>(data: *const c_void, length: usize) -> Option<&'m [u8]> {
    // SAFETY: said by the caller.
    (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) })
}

/// # Safety
/// `text` is null or a C string.
pub(super) unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: said by the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
