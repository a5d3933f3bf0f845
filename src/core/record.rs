//! A record as it lies on a topic: bytes and where they were found.
//!
//! Nothing here is decoded. A lane keeps the records of a batch until the batch is committed, so that it can be planned
//! again without one of them (quarantine) or without the partitions that were taken away (fencing).

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::event::Rejection;

/// A partition of a topic. Cheap to clone; ordered by topic, then number, which is the order in which checkpoint rows
/// are locked.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Name of the topic.
    pub topic: Arc<str>,
    /// Number of the partition, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition of a topic.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One record of a topic. `key` and `value` are `None` for null bytes, which is not the same as empty.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where it lies.
    pub at: TopicPartition,
    /// Its offset there.
    pub offset: i64,
    /// Its record time in milliseconds since 1970, if it has one.
    pub timestamp_ms: Option<i64>,
    /// Bytes of the key.
    pub key: Option<Bytes>,
    /// Bytes of the value.
    pub value: Option<Payload>,
    /// Its headers.
    pub headers: Headers,
    /// What it was before it was transcoded ([`super::framing`]), if it was written with a schema registry.
    pub framed: Option<Box<Framed>>,
}

/// A record that was written with a schema registry, as it lies on its topic.
#[derive(Clone, Debug)]
pub struct Framed {
    /// Bytes of the key.
    pub key: Option<Bytes>,
    /// Bytes of the value.
    pub value: Option<Bytes>,
    /// Why it could not be transcoded: key and value of the record are these bytes then.
    pub refused: Option<Rejection>,
}

impl Record {
    /// Bytes that this record holds in memory, for the limits of batches and queues; what it shares is not its own.
    pub fn size_bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let value = self.value.as_ref().map_or(0, |value| value.body.len());
        let framed = self.framed.as_ref().map_or(0, |framed| length(&framed.key) + length(&framed.value));
        length(&self.key) + value + framed + self.headers.0.len() + std::mem::size_of::<Self>()
    }

    /// Key and value as they lie on the topic.
    pub fn original(&self) -> (Option<Bytes>, Option<Bytes>) {
        match &self.framed {
            Some(framed) => (framed.key.clone(), framed.value.clone()),
            None => (self.key.clone(), self.value.as_ref().map(Payload::whole)),
        }
    }

    /// Why it cannot be read, if that is known before it is decoded.
    pub fn refused(&self) -> Option<&Rejection> {
        self.framed.as_ref().and_then(|framed| framed.refused.as_ref())
    }
}

/// The bytes of a value, in two parts: a head that may be shared with other records, and the rest.
///
/// # Why
///
/// In JSON with schemas 4 KB of a 5 KB record are the same `schema` part in record after record. Kept once, a batch of the same
/// memory holds five times as many records.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    head: Bytes,
    body: Bytes,
}

impl Payload {
    /// A value in two parts.
    pub fn new(head: Bytes, body: Bytes) -> Self {
        Self { head, body }
    }

    /// The shared part; empty where nothing is shared.
    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// What follows the head.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// All bytes in one piece; copied only where a head is shared.
    pub fn whole(&self) -> Bytes {
        if self.head.is_empty() { self.body.clone() } else { [&*self.head, &*self.body].concat().into() }
    }
}

impl<T: Into<Bytes>> From<T> for Payload {
    fn from(bytes: T) -> Self {
        Self { head: Bytes::new(), body: bytes.into() }
    }
}

/// The head that the values of a topic share at present.
#[derive(Debug, Default)]
pub struct SharedHead(Bytes);

impl SharedHead {
    /// Copies a value, but for a head that is the same as the one before. Where the cut lies has no meaning: the parts together
    /// are the value.
    pub fn share(&mut self, value: &[u8]) -> Payload {
        const BEGIN: &[u8] = b"{\"schema\":{";
        const END: &[u8] = b"},\"payload\":";
        if self.0.is_empty() || !value.starts_with(&self.0) {
            if !value.starts_with(BEGIN) {
                return Payload::from(Bytes::copy_from_slice(value));
            }
            let Some(end) = value.windows(END.len()).position(|window| window == END) else {
                return Payload::from(Bytes::copy_from_slice(value));
            };
            self.0 = Bytes::copy_from_slice(&value[..end + END.len()]);
        }
        Payload { head: self.0.clone(), body: Bytes::copy_from_slice(&value[self.0.len()..]) }
    }
}

/// Headers of a record in one piece of memory: `name length (u32) | name | value length (i32, -1 for null) | value`,
/// big-endian, one after the other. They are kept for the quarantine; nothing that decides correctness reads them
/// (mirrors and proxies drop headers).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Bytes);

impl Headers {
    /// Packs names and values.
    pub fn pack<'a>(headers: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>) -> Self {
        let mut packed = BytesMut::new();
        for (name, value) in headers {
            packed.put_u32(name.len() as u32);
            packed.put_slice(name.as_bytes());
            match value {
                None => packed.put_i32(-1),
                Some(bytes) => {
                    packed.put_i32(bytes.len() as i32);
                    packed.put_slice(bytes);
                }
            }
        }
        Self(packed.freeze())
    }

    /// The packed form, as the quarantine stores it.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Takes the packed form back; what cannot be read ends the list.
    pub fn from_packed(packed: Bytes) -> Self {
        Self(packed)
    }

    /// Names and values in their order, as far as names are text.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> + '_ {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (length, more) = rest.split_first_chunk::<4>()?;
            let (name, more) = more.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            let (length, more) = more.split_first_chunk::<4>()?;
            let length = usize::try_from(i32::from_be_bytes(*length)).ok();
            let (value, more) = more.split_at_checked(length.unwrap_or(0))?;
            rest = more;
            Some((std::str::from_utf8(name).unwrap_or_default(), length.map(|_| value)))
        })
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (String, Option<Bytes>)> + '_ {
        let mut rest = self.0.clone();
        std::iter::from_fn(move || {
            let name_length = take_u32(&mut rest)? as usize;
            if rest.len() < name_length {
                return None;
            }
            let name = String::from_utf8_lossy(&rest.split_to(name_length)).into_owned();
            let value_length = take_u32(&mut rest)? as i32;
            if value_length < 0 {
                return Some((name, None));
            }
            if rest.len() < value_length as usize {
                return None;
            }
            Some((name, Some(rest.split_to(value_length as usize))))
        })
    }
}

fn take_u32(rest: &mut Bytes) -> Option<u32> {
    if rest.len() < 4 {
        return None;
    }
    let taken = rest.split_to(4);
    Some(u32::from_be_bytes([taken[0], taken[1], taken[2], taken[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever comes in which order, the parts together are the value, and a schema that comes again is not kept again.
    #[test]
    fn a_shared_head_changes_no_byte() {
        let values: [&[u8]; 7] = [
            br#"{"schema":{"type":"struct"},"payload":{"op":"c"}}"#,
            br#"{"schema":{"type":"struct"},"payload":{"op":"d"}}"#,
            br#"{"schema":{"type":"struct"},"payload":"#,
            br#"{"schema":{"type":"other"},"payload":{"x":"},\"payload\":"}}"#,
            br#"{"schema":{"type":"struct"}}"#,
            br#"{"op":"c"}"#,
            b"",
        ];
        let mut shared = SharedHead::default();
        for value in values.iter().chain(values.iter().rev()) {
            assert_eq!(shared.share(value).whole(), *value);
        }
        let (first, second) = (shared.share(values[0]), shared.share(values[1]));
        assert_eq!(first.head().as_ptr(), second.head().as_ptr());
        assert_eq!(&**second.body(), br#"{"op":"d"}}"#);
    }

    #[test]
    fn headers_come_back_and_torn_ones_end_the_list() {
        let headers = Headers::pack([("a", Some(b"1".as_slice())), ("", None), ("b", Some(b"".as_slice()))]);
        let listed: Vec<_> = headers.iter().collect();
        assert_eq!(listed.len(), 3);
        assert_eq!(listed[0], ("a".to_owned(), Some(Bytes::from_static(b"1"))));
        assert_eq!(listed[1], (String::new(), None));
        assert_eq!(listed[2], ("b".to_owned(), Some(Bytes::new())));
        let pairs: Vec<_> = headers.pairs().collect();
        assert_eq!(pairs, [("a", Some(b"1".as_slice())), ("", None), ("b", Some(b"".as_slice()))]);
        let torn = headers.as_bytes().slice(..headers.as_bytes().len() - 6);
        let torn = Headers::from_packed(torn);
        assert_eq!((torn.iter().count(), torn.pairs().count()), (2, 2));
    }
}
