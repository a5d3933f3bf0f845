//! The schema registry: schemas by their ids, and records transcoded by them ([`crate::core::framing`]).
//!
//! An id means the same schema for ever, so what was compiled is kept. That a registry does not know an id is believed for a
//! moment only: the schema may be registered later, or may not have reached the asked server yet.

mod http;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::config::checked::{Config, IdBytes, RegistryConfig, TopicMatch};
use crate::core::decode::is_open_protocol;
use crate::core::event::Rejection;
use crate::core::failure::{Class, Failure};
use crate::core::framing::{self, Compiled, Part, SchemaId};
use crate::core::record::{Framed, Payload, Record};
use crate::telemetry::metrics;

use self::http::{Fault, Http};

/// Schemas that are kept.
const KEPT: u64 = 2_000;
/// Refusals that are kept, and how long.
const REFUSALS: u64 = 10_000;
const REFUSED: Duration = Duration::from_secs(10);
/// Before a registry is believed that it does not know an id, it is asked again after these.
const ASK_AGAIN: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// See the module. Cheap to clone; the clones share what is known.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` if no registry is configured.
    http: Option<Http>,
    id_bytes: IdBytes,
    /// Topics whose keys the configuration says to be something else.
    other_keys: Vec<TopicMatch>,
    known: Cache<SchemaId, Arc<Compiled>>,
    refused: Cache<SchemaId, Rejection>,
    /// Who holds it asks; others wait, and find what was asked for.
    asking: tokio::sync::Mutex<()>,
}

/// A part of a record that is framed.
struct Frame {
    schema: SchemaId,
    body: bytes::Bytes,
}

impl Registry {
    /// Prepares the client. Without a configuration framed records are refused.
    pub fn new(config: &Config) -> Result<Self, Failure> {
        let says_keys = config.tables.iter().filter(|rule| rule.key_format.is_some());
        Self::with(config.registry.as_ref(), says_keys.map(|rule| rule.topic.clone()).collect())
    }

    /// Of a registry, and the topics whose keys are something else.
    pub(crate) fn with(config: Option<&RegistryConfig>, other_keys: Vec<TopicMatch>) -> Result<Self, Failure> {
        Ok(Self(Arc::new(Inner {
            http: config.map(Http::new).transpose()?,
            id_bytes: config.map_or(IdBytes::Either, |config| config.id_bytes),
            other_keys,
            known: Cache::new(KEPT),
            refused: Cache::builder().max_capacity(REFUSALS).time_to_live(REFUSED).build(),
            asking: tokio::sync::Mutex::new(()),
        })))
    }

    /// Whether there is anything to transcode. Costs a look at the first bytes.
    pub fn is_framed(&self, record: &Record) -> bool {
        self.frame(record, Part::Key).is_some() || self.frame(record, Part::Value).is_some()
    }

    /// Transcodes a record in place if it is framed. One whose schema is not to be had, or whose bytes are not of its schema, is
    /// marked as refused. A failure is one of the registry: nothing is known about the record, which is as it was.
    pub async fn open(&self, record: &mut Record) -> Result<(), Failure> {
        let (key, value) = (self.frame(record, Part::Key), self.frame(record, Part::Value));
        if key.is_none() && value.is_none() {
            return Ok(());
        }
        let opened = match (self.part(Part::Key, key).await?, self.part(Part::Value, value).await?) {
            (Ok(key), Ok(value)) => Ok((key, value)),
            (Err(why), _) | (_, Err(why)) => Err(why),
        };
        let (original_key, original_value) = record.original();
        let mut framed = Framed { key: original_key, value: original_value, refused: None };
        match opened {
            Ok((key, value)) => {
                if let Some(key) = key {
                    record.key = Some(key.whole());
                }
                record.value = value.or_else(|| record.value.take());
            }
            Err(why) => framed.refused = Some(why),
        }
        record.framed = Some(Box::new(framed));
        Ok(())
    }

    /// A framed part of a record. Without a registry keys are left to whoever decodes them: a number of eight bytes may look alike.
    fn frame(&self, record: &Record, part: Part) -> Option<Frame> {
        // Its lengths begin with zero bytes too.
        if record.key.as_deref().is_some_and(is_open_protocol) {
            return None;
        }
        let bytes = match part {
            Part::Key => record.key.as_ref().filter(|_| self.0.http.is_some() && !self.has_other_key(record))?,
            Part::Value => record.value.as_ref().filter(|value| value.head().is_empty())?.body(),
        };
        // First, because a body without a prefix may begin with a zero byte as well.
        let by_header = self.0.http.as_ref().and_then(|_| framing::header_id(&record.headers, part));
        if let Some(schema) = by_header {
            return Some(Frame { schema, body: bytes.clone() });
        }
        framing::split(bytes, self.0.id_bytes).map(|(schema, body)| Frame { schema, body })
    }

    fn has_other_key(&self, record: &Record) -> bool {
        self.0.other_keys.iter().any(|topic| topic.matches(&record.at.topic))
    }

    /// Whether the registry answers, if there is one.
    pub async fn check(&self) -> Result<(), Failure> {
        match &self.0.http {
            Some(http) => http.check().await,
            None => Ok(()),
        }
    }

    async fn part(&self, part: Part, frame: Option<Frame>) -> Result<Result<Option<Payload>, Rejection>, Failure> {
        let Some(frame) = frame else { return Ok(Ok(None)) };
        let place = |why: Rejection| Rejection {
            detail: format!("{} with schema id {}: {}", part.name(), frame.schema, why.detail),
            ..why
        };
        let schema = match self.schema(&frame.schema).await? {
            Ok(schema) => schema,
            Err(why) => return Ok(Err(place(why))),
        };
        Ok(schema.transcode(&frame.body).map(Some).map_err(place))
    }

    async fn schema(&self, id: &SchemaId) -> Result<Result<Arc<Compiled>, Rejection>, Failure> {
        if self.0.http.is_none() {
            return Ok(Err(no_registry()));
        }
        if let Some(known) = self.remembered(id) {
            return Ok(known);
        }
        // A task of its own: whoever loses patience finds the answer when it asks again.
        let (registry, id) = (self.clone(), id.clone());
        let asked = tokio::spawn(async move { registry.ask(&id).await }).await;
        asked.unwrap_or_else(|error| {
            Err(Failure::new(
                Class::Transient,
                "registry",
                format!("a question to the schema registry was cut off: {error}"),
            ))
        })
    }

    /// Asks the registry, one question at a time: what was asked for meanwhile is not asked for again.
    async fn ask(&self, id: &SchemaId) -> Result<Result<Arc<Compiled>, Rejection>, Failure> {
        let Some(http) = &self.0.http else { return Ok(Err(no_registry())) };
        let _asking = self.0.asking.lock().await;
        if let Some(known) = self.remembered(id) {
            return Ok(known);
        }
        let mut waits = ASK_AGAIN.into_iter();
        let definition = loop {
            match http.schema(id).await {
                Ok(definition) => break Ok(definition),
                Err(Fault::Unavailable(failure)) => {
                    metrics::registry_asked("failed");
                    return Err(failure);
                }
                Err(Fault::Refused(why)) => match waits.next() {
                    Some(wait) if why.reason == "unknown_schema" => tokio::time::sleep(wait).await,
                    _ => break Err(why),
                },
            }
        };
        metrics::registry_asked(if definition.is_ok() { "found" } else { "unknown" });
        match definition.and_then(|definition| framing::compile(&definition)) {
            Ok(compiled) => {
                tracing::debug!(id = %id, "schema taken from the registry");
                let compiled = Arc::new(compiled);
                self.0.known.insert(id.clone(), Arc::clone(&compiled));
                Ok(Ok(compiled))
            }
            Err(why) => {
                self.0.refused.insert(id.clone(), why.clone());
                Ok(Err(why))
            }
        }
    }

    fn remembered(&self, id: &SchemaId) -> Option<Result<Arc<Compiled>, Rejection>> {
        self.0.known.get(id).map(Ok).or_else(|| self.0.refused.get(id).map(Err))
    }
}

fn no_registry() -> Rejection {
    Rejection::new(
        "no_registry",
        "it was written with a schema registry, and the configuration names none: write `url = \"http://…\"` under [registry]",
    )
}
