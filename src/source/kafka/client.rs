//! Properties of the clients, and what the clients report.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

use crate::config::checked::KafkaConfig;
use crate::config::secret::Secret;
use crate::core::failure::{Class, Failure};

/// What holds unless `[source.client]` says otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    // 10 ms instead of a second of rest whenever the local queue was full: 2.6 times the throughput on small records.
    ("fetch.queue.backoff.ms", "10"),
    // Records wait here, in the queue to the runtime (12 MiB) and in the lanes; a process shall stay under 200 MB.
    ("queued.max.messages.kbytes", "16384"),
    ("queued.min.messages", "20000"),
    ("fetch.message.max.bytes", "1048576"),
    ("fetch.max.bytes", "8388608"),
    ("check.crcs", "true"),
    ("allow.auto.create.topics", "false"),
    // New partitions of known topics are found soon (new topics: see `follow`).
    ("topic.metadata.refresh.interval.ms", "10000"),
];

/// The same for members of a group under the classic protocol; `group.protocol=consumer` does not allow them.
const CLASSIC_DEFAULTS: &[(&str, &str)] = &[
    // Partitions that stay are not stopped while others move.
    ("partition.assignment.strategy", "cooperative-sticky"),
    // A hand-over waits for the next heartbeat.
    ("heartbeat.interval.ms", "1000"),
    // A killed process is noticed after ten seconds instead of 45. Heartbeats come from a thread of librdkafka's own, so
    // that slow destinations do not count; a network that is away for longer than this costs a rebalance, nothing else.
    ("session.timeout.ms", "10000"),
];

/// What the source's correctness rests on.
const OURS: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
];

/// Other names for what is ours or has a place of its own in the configuration.
const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "write it as `brokers` in [source]"),
    ("metadata.broker.list", "write it as `brokers` in [source]"),
    ("group.id", "write it as `group` in [source]"),
    ("auto.commit.enable", "offsets are kept in the destination"),
    ("auto.commit.interval.ms", "offsets are kept in the destination"),
    ("topic.blacklist", "write it as `exclude` in [source]"),
];

/// Everything that is needed to make clients. Cheap to clone; `Debug` shows no value.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    brokers: String,
    group: String,
    client_id: String,
    client: BTreeMap<String, Secret>,
    redaction: Arc<Redaction>,
}

impl Settings {
    /// Checks the user's properties: none of ours, all known to librdkafka with a possible value.
    pub(super) fn new(config: &KafkaConfig, pipeline: &str) -> Result<Self, Failure> {
        for (name, value) in &config.client {
            if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| refused == name) {
                return Err(refusal(name, instead));
            }
            if let Some((_, wanted)) = OURS.iter().find(|(ours, wanted)| ours == name && value.expose() != *wanted) {
                return Err(refusal(name, &format!("lastword needs {wanted:?} to be correct; leave it out")));
            }
        }
        let settings = Self {
            brokers: config.brokers.clone(),
            group: config.group.clone(),
            client_id: format!("lastword-{pipeline}"),
            client: config.client.clone(),
            redaction: Arc::new(Redaction::of(&config.client)),
        };
        settings.consumer_config().create_native_config().map_err(|error| settings.failure("configuration", &error))?;
        Ok(settings)
    }

    /// For a consumer that reads.
    pub(super) fn consumer_config(&self) -> ClientConfig {
        let mut config = self.base();
        if self.client.get("group.protocol").is_none_or(|protocol| protocol.expose() == "classic") {
            self.add_defaults(&mut config, &[("group.protocol", "classic")]);
            self.add_defaults(&mut config, CLASSIC_DEFAULTS);
        }
        config.set("group.id", &self.group);
        config
    }

    /// For a client that only asks.
    pub(super) fn metadata_config(&self) -> ClientConfig {
        let mut config = self.base();
        for name in ["group.instance.id", "group.protocol", "group.remote.assignor"] {
            config.remove(name);
        }
        config
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", &self.client_id);
        for (name, value) in &self.client {
            config.set(name, value.expose());
        }
        self.add_defaults(&mut config, DEFAULTS);
        for (name, value) in OURS {
            config.set(*name, *value);
        }
        config.set("bootstrap.servers", &self.brokers);
        let debug = self.client.contains_key("debug");
        config.set_log_level(if debug { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Warning });
        config
    }

    fn add_defaults(&self, config: &mut ClientConfig, defaults: &[(&str, &str)]) {
        for (name, value) in defaults.iter().filter(|(name, _)| !self.client.contains_key(*name)) {
            config.set(*name, *value);
        }
    }

    /// Creates a client. Nothing is connected yet.
    pub(super) fn create(&self, config: &ClientConfig) -> Result<BaseConsumer<Context>, Failure> {
        let context = Context { redaction: Arc::clone(&self.redaction), last: Mutex::new(None) };
        config.create_with_context(context).map_err(|error| self.failure("creating the Kafka client", &error))
    }

    /// A failure out of an error, without the values of properties.
    pub(super) fn failure(&self, what: &str, error: &KafkaError) -> Failure {
        if let KafkaError::ClientConfig(_, _, name, _) = error {
            // librdkafka's own text may repeat the value.
            return Failure::operator(
                "kafka configuration",
                format!("[source.client] {name}: librdkafka does not know this property or not this value of it"),
            );
        }
        let text = self.redaction.apply(&error.to_string());
        match error.rdkafka_error_code() {
            Some(code) => failure_of(code, format!("{what}: {text}")),
            None => Failure::operator("kafka client", format!("{what}: {text}")),
        }
    }
}

fn refusal(name: &str, instead: &str) -> Failure {
    Failure::operator("kafka configuration", format!("[source.client] {name} cannot be set: {instead}"))
}

/// A failure out of an error code and its text.
pub(super) fn failure_of(code: RDKafkaErrorCode, text: impl Into<String>) -> Failure {
    use RDKafkaErrorCode as Code;
    let (class, remedy) = match code {
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism => {
            (Class::Operator, "check security.protocol, sasl.mechanism, user and password in [source.client]")
        }
        Code::SSL => (Class::Operator, "check security.protocol and the ssl.* properties in [source.client]"),
        Code::TopicAuthorizationFailed => (Class::Operator, "allow READ and DESCRIBE on the topic to this user"),
        Code::GroupAuthorizationFailed => (Class::Operator, "allow READ on the consumer group to this user"),
        Code::ClusterAuthorizationFailed => (Class::Operator, "allow DESCRIBE on the cluster to this user"),
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::InvalidTopic => {
            (Class::Operator, "check the topic's name and that it exists")
        }
        Code::Resolve => (Class::Transient, "check the names in `brokers`"),
        _ => (Class::Transient, ""),
    };
    let mut message = text.into();
    if !remedy.is_empty() {
        message = format!("{message}; {remedy}");
    }
    Failure::new(class, format!("kafka {code:?}"), message)
}

/// What takes secrets out of text that librdkafka made.
#[derive(Default)]
struct Redaction(Vec<String>);

impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redaction({})", self.0.len())
    }
}

impl Redaction {
    fn of(client: &BTreeMap<String, Secret>) -> Self {
        let secret = |name: &str| {
            ["password", "secret", ".pem", "oauthbearer.config", "jaas", "username"]
                .iter()
                .any(|part| name.contains(part))
        };
        let values = client.iter().filter(|(name, value)| secret(name) && value.expose().len() >= 3);
        Self(values.map(|(_, value)| value.expose().to_owned()).collect())
    }

    fn apply(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// Takes the clients' logs and errors. Statistics are not asked for.
#[derive(Debug)]
pub(super) struct Context {
    redaction: Arc<Redaction>,
    last: Mutex<Option<(RDKafkaErrorCode, String)>>,
}

impl Context {
    /// Takes secrets out of text.
    pub(super) fn redact(&self, text: &str) -> String {
        self.redaction.apply(text)
    }

    /// Takes the last error that a client without a reader reported: it says why a request had no answer.
    pub(super) fn take_last_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        let text = self.redact(text);
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(target: "librdkafka", facility, "{text}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{text}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", facility, "{text}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{text}"),
        }
    }

    fn stats(&self, _statistics: Statistics) {}

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let text = self.redact(reason);
        tracing::debug!(target: "librdkafka", %error, "{text}");
        if let Some(code) = error.rdkafka_error_code() {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            // The cause is reported first; that connections fail and all brokers are down then are its consequences.
            let consequence =
                matches!(code, RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure);
            if !consequence || last.is_none() {
                *last = Some((code, text));
            }
        }
    }
}

impl ConsumerContext for Context {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checked::Start;

    pub(crate) fn config(client: &[(&str, &str)]) -> KafkaConfig {
        KafkaConfig {
            brokers: "127.0.0.1:1".to_owned(),
            topics: vec!["t".to_owned()],
            topics_regex: None,
            exclude: Vec::new(),
            group: "g".to_owned(),
            start: Start::Earliest,
            client: client.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect(),
        }
    }

    #[test]
    fn our_properties_are_refused_and_the_rest_passes() {
        for (name, value) in [
            ("enable.auto.commit", "true"),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_uncommitted"),
            ("group.id", "g"),
            ("bootstrap.servers", "x:1"),
        ] {
            let failure = Settings::new(&config(&[(name, value)]), "p").expect_err(name);
            assert!(failure.class == Class::Operator && failure.message.contains(name), "{failure}");
        }
        let settings =
            Settings::new(&config(&[("isolation.level", "read_committed"), ("session.timeout.ms", "3000")]), "p")
                .expect("allowed properties");
        let made = settings.consumer_config();
        assert_eq!(made.get("session.timeout.ms"), Some("3000"));
        assert_eq!(made.get("partition.assignment.strategy"), Some("cooperative-sticky"));
        assert_eq!(made.get("client.id"), Some("lastword-p"));
        assert_eq!(settings.metadata_config().get("group.id"), None);
    }

    #[test]
    fn wrong_properties_are_named_without_their_values() {
        for (name, value) in [("no.such.property", "hunter2"), ("session.timeout.ms", "hunter2")] {
            let failure = Settings::new(&config(&[(name, value)]), "p").expect_err(name).to_string();
            assert!(failure.contains(name) && !failure.contains("hunter2"), "{failure}");
        }
        let settings = Settings::new(&config(&[("sasl.password", "hunter2")]), "p").expect("a password");
        assert_eq!(settings.redaction.apply("login as hunter2 failed"), "login as *** failed");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
