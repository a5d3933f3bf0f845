//! Topic ids by librdkafka's DescribeTopics, which `rdkafka` does not wrap. The id tells a topic from one that was deleted
//! and created again under its name.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;
use rdkafka_sys as sys;

use super::native::text_of;

/// Ids (base64, as Kafka's tools print them) of topics by name, asked of one broker: any can answer, and waiting for the
/// controller, as librdkafka does by itself, takes for ever on a mock cluster. A topic without an id (old brokers, mock clusters) is left out.
///
/// # Safety
/// `client` is a living client and stays so until this returns.
pub(super) unsafe fn topic_ids(
    client: *mut sys::rd_kafka_t,
    topics: &[String],
    broker: i32,
    timeout: Duration,
) -> Result<BTreeMap<String, String>, RDKafkaErrorCode> {
    let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(topic.as_str()).ok()).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    if pointers.is_empty() {
        return Ok(BTreeMap::new());
    }
    // SAFETY: the client lives (said by the caller). The names live until the end of this function and are copied by the
    // call. Each object is destroyed once, by its guard, in reverse order: the event before its queue.
    unsafe {
        let collection = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let collection = Guard(collection, sys::rd_kafka_TopicCollection_destroy);
        let options =
            sys::rd_kafka_AdminOptions_new(client, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let options = Guard(options, sys::rd_kafka_AdminOptions_destroy);
        let millis = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        let mut text = [0 as c_char; 256];
        for set in [
            sys::rd_kafka_AdminOptions_set_request_timeout(options.0, millis, text.as_mut_ptr(), text.len()),
            sys::rd_kafka_AdminOptions_set_broker(options.0, broker, text.as_mut_ptr(), text.len()),
        ] {
            if set != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(set.into());
            }
        }
        let queue = Guard(sys::rd_kafka_queue_new(client), sys::rd_kafka_queue_destroy);
        sys::rd_kafka_DescribeTopics(client, collection.0, options.0, queue.0);
        // The request has its own, shorter, time limit, after which an error event comes.
        let event = sys::rd_kafka_queue_poll(queue.0, millis.saturating_add(1000));
        if event.is_null() {
            return Err(RDKafkaErrorCode::OperationTimedOut);
        }
        let event = Guard(event, sys::rd_kafka_event_destroy);
        let error = sys::rd_kafka_event_error(event.0);
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error.into());
        }
        read_result(event.0)
    }
}

/// # Safety
/// `event` is a living event.
unsafe fn read_result(event: *mut sys::rd_kafka_event_t) -> Result<BTreeMap<String, String>, RDKafkaErrorCode> {
    let mut ids = BTreeMap::new();
    // SAFETY: the event lives and has no error; the call returns null if it is no such result. All that is read from the
    // result belongs to the event and is copied.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(RDKafkaErrorCode::Fail);
        }
        let mut count = 0;
        let descriptions = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        for index in 0..count {
            let description = *descriptions.add(index);
            let error = sys::rd_kafka_TopicDescription_error(description);
            if !error.is_null() && sys::rd_kafka_error_code(error) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                continue;
            }
            let id = sys::rd_kafka_TopicDescription_topic_id(description);
            if id.is_null() {
                continue;
            }
            let id = [sys::rd_kafka_Uuid_most_significant_bits(id), sys::rd_kafka_Uuid_least_significant_bits(id)];
            if id != [0, 0] {
                ids.insert(text_of(sys::rd_kafka_TopicDescription_name(description)), id_text(id));
            }
        }
    }
    Ok(ids)
}

/// An id as Kafka's own tools print it (librdkafka's text uses the other base64 alphabet).
fn id_text(halves: [i64; 2]) -> String {
    URL_SAFE_NO_PAD.encode(halves.map(i64::to_be_bytes).concat())
}

/// Destroys an object of librdkafka at the end of its scope.
struct Guard<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made by the call beside this guard's construction, destroyed once.
            unsafe { (self.1)(self.0) }
        }
    }
}
