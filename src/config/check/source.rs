//! `[source]`

use std::collections::BTreeMap;

use regex::Regex;

use crate::config::checked::{FileConfig, KafkaConfig, SourceConfig, Start};
use crate::config::paths;
use crate::config::problem::Origin;
use crate::config::raw::{Kind, Properties, Property, RawSource};
use crate::config::read::{Field, Given, Texts};
use crate::config::secret::Secret;

use super::Checker;

/// librdkafka properties that are not passed on, with why. Each would break what lastword promises, or has a key of its
/// own.
const OWN_PROPERTIES: [(&str, &str); 12] = [
    ("bootstrap.servers", "write source.brokers"),
    ("metadata.broker.list", "write source.brokers"),
    ("group.id", "write source.group"),
    ("auto.offset.reset", "start offsets come from the destination; write source.start"),
    ("enable.auto.commit", "offsets are kept in the destination"),
    ("auto.commit.enable", "offsets are kept in the destination"),
    ("enable.auto.offset.store", "offsets are kept in the destination"),
    ("offset.store.method", "offsets are kept in the destination"),
    ("isolation.level", "records of aborted transactions must never be read"),
    ("enable.partition.eof", "the ends of partitions must be seen"),
    ("allow.auto.create.topics", "a consumer must not make topics"),
    ("check.crcs", "broken records must be noticed; checks are always on"),
];

impl Checker<'_> {
    /// Judges `[source]`.
    pub(super) fn source(&mut self, raw: &RawSource, pipeline: &str) -> Option<SourceConfig> {
        let kind = self.required(&raw.kind, "source.kind", "kind = \"kafka\"")?.value;
        match kind {
            Kind::Kafka => {
                self.refuse_key(&raw.paths, "source.paths", "is for kind = \"file\"");
                self.kafka(raw, pipeline).map(SourceConfig::Kafka)
            }
            Kind::File => {
                let why = "is for kind = \"kafka\"";
                self.refuse_key(&raw.brokers, "source.brokers", why);
                self.refuse_key(&raw.topics_regex, "source.topics_regex", why);
                self.refuse_key(&raw.exclude, "source.exclude", why);
                self.refuse_key(&raw.group, "source.group", why);
                self.refuse_key(&raw.start, "source.start", why);
                self.refuse_key(&raw.client, "source.client", why);
                self.files(raw).map(SourceConfig::File)
            }
        }
    }

    /// Refuses a key that has no meaning where it is written.
    pub(super) fn refuse_key<T>(&mut self, field: &Field<T>, key: &str, why: &str) {
        if let Some(given) = field.given() {
            self.report.add(&given.origin, key, why);
        }
    }

    fn kafka(&mut self, raw: &RawSource, pipeline: &str) -> Option<KafkaConfig> {
        let brokers = self.required(&raw.brokers, "source.brokers", "brokers = \"kafka-1:9092,kafka-2:9092\"");
        if let Some(given) = brokers
            && let Err(message) = check_brokers(&given.value)
        {
            self.report.add(&given.origin, "source.brokers", message);
        }
        if !raw.topics.is_written() && !raw.topics_regex.is_written() {
            self.missing("source.topics", "topics = [\"shop.public.orders\"] (or topics_regex)");
        }
        let topics = self.topics(&raw.topics);
        if let Some(given) = raw.topics_regex.given() {
            self.pattern(&given.value, &given.origin, "source.topics_regex");
        }
        for (number, given) in raw.exclude.value().into_iter().flatten().enumerate() {
            let key = format!("source.exclude[{number}]");
            if given.value.starts_with('^') {
                self.pattern(&given.value, &given.origin, &key);
            } else {
                self.topic(&given.value, &given.origin, &key);
            }
        }
        let group = raw.group.value().cloned().unwrap_or_else(|| format!("lastword-{pipeline}"));
        if let Some(given) = raw.group.given().filter(|given| given.value.trim().is_empty()) {
            self.report.add(&given.origin, "source.group", "is empty; leave it out for lastword-<pipeline>");
        }
        let client = raw.client.value().map(|properties| self.client(properties)).unwrap_or_default();
        Some(KafkaConfig {
            brokers: brokers?.value.clone(),
            topics,
            topics_regex: raw.topics_regex.value().cloned(),
            exclude: texts(&raw.exclude),
            group,
            start: raw.start.value().copied().unwrap_or(Start::Earliest),
            client,
        })
    }

    fn files(&mut self, raw: &RawSource) -> Option<FileConfig> {
        let patterns = self.required(&raw.paths, "source.paths", "paths = [\"captures/*.jsonl.gz\"]")?;
        if patterns.value.is_empty() {
            self.report.add(&patterns.origin, "source.paths", "names no file");
        }
        let mut found = Vec::new();
        for (number, given) in patterns.value.iter().enumerate() {
            match paths::expand(&given.value) {
                // A file that two patterns match is read once.
                Ok(expanded) => expanded.into_iter().for_each(|path| {
                    if !found.contains(&path) {
                        found.push(path);
                    }
                }),
                Err(message) => {
                    let message = format!("{:?} {message}", given.value);
                    self.report.add(&given.origin, format!("source.paths[{number}]"), message);
                }
            }
        }
        Some(FileConfig { paths: found, topics: self.topics(&raw.topics) })
    }

    fn topics(&mut self, field: &Field<Texts>) -> Vec<String> {
        if let Some(given) = field.given().filter(|given| given.value.is_empty()) {
            self.report.add(&given.origin, "source.topics", "names no topic");
        }
        let topics = texts(field);
        for (number, given) in field.value().into_iter().flatten().enumerate() {
            let key = format!("source.topics[{number}]");
            self.topic(&given.value, &given.origin, &key);
            if topics[..number].contains(&given.value) {
                self.report.add(&given.origin, key, format!("{:?} is named twice", given.value));
            }
        }
        topics
    }

    /// Judges the name of a topic by Kafka's rules.
    pub(super) fn topic(&mut self, name: &str, origin: &Origin, key: &str) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.starts_with('^') {
            self.report.add(origin, key, format!("{name:?} is an expression; write it as source.topics_regex"));
        } else if name.is_empty() || name.len() > 249 || !name.chars().all(allowed) || name == "." || name == ".." {
            let message = format!("{name:?} cannot be a topic: expected 1 to 249 characters of a-z, A-Z, 0-9, . _ -");
            self.report.add(origin, key, message);
        }
    }

    /// Compiles an expression over topics.
    pub(super) fn pattern(&mut self, pattern: &str, origin: &Origin, key: &str) -> Option<Regex> {
        if !pattern.starts_with('^') {
            self.report.add(
                origin,
                key,
                format!("expected an expression that begins with ^, as in \"^shop\\\\..*\", found {pattern:?}"),
            );
            return None;
        }
        match Regex::new(pattern) {
            Ok(regex) => Some(regex),
            Err(error) => {
                // The last line says what is wrong; those before it draw where.
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                self.report.add(origin, key, format!("{pattern:?} is not a regular expression: {reason}"));
                None
            }
        }
    }

    fn client(&mut self, properties: &Properties) -> BTreeMap<String, Secret> {
        let mut client = BTreeMap::new();
        for (name, given) in properties {
            let key = format!("source.client.{name}");
            if let Some((_, why)) = OWN_PROPERTIES.iter().find(|(own, _)| own == name) {
                self.report.add(&given.origin, key, format!("cannot be set: {why}"));
                continue;
            }
            match self.property(given) {
                Ok(value) if name.contains('\0') || value.contains('\0') => {
                    self.report.add(&given.origin, key, "holds a NUL byte");
                }
                Ok(value) => {
                    if client.insert(name.clone(), Secret::new(value)).is_some() {
                        self.report.add(&given.origin, key, "is written twice");
                    }
                }
                Err(message) => self.report.add(&given.origin, key, message),
            }
        }
        client
    }

    /// The value of a property, read from where it is.
    pub(super) fn property(&self, given: &Given<Property>) -> Result<String, String> {
        match &given.value {
            Property::Here(value) => Ok(value.clone()),
            Property::File(path) => secret_file(path),
            Property::Environment(name) => self.environment.get(name).map(str::to_owned),
        }
    }
}

/// Content of a file that holds a secret, without the line ends at its end.
pub(super) fn secret_file(path: &str) -> Result<String, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(format!("the file {path} is not UTF-8 text"))
        }
        Err(error) => Err(format!("the file {path} cannot be read: {error}")),
    }
}

fn texts(field: &Field<Texts>) -> Vec<String> {
    field.value().into_iter().flatten().map(|given| given.value.clone()).collect()
}

/// `host:port` with commas between; a protocol before a host is allowed, as in librdkafka.
fn check_brokers(brokers: &str) -> Result<(), String> {
    let expected = "expected host:port, with commas between several";
    for broker in brokers.split(',').map(str::trim) {
        let place = broker.split_once("://").map_or(broker, |(_, place)| place);
        if place.contains('@') {
            return Err("holds an @; users and passwords are written as source.client.\"sasl.username\" and \
                        \"sasl.password\""
                .to_owned());
        }
        // An address of IPv6 is in brackets; its last `]` ends the host.
        let behind_host = place.rfind(']').map_or(place, |at| &place[at + 1..]);
        let port_is_wrong = behind_host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_err());
        if place.is_empty() || place.starts_with(':') || place.contains(char::is_whitespace) || port_is_wrong {
            return Err(format!("{expected}, found {broker:?}"));
        }
    }
    Ok(())
}
