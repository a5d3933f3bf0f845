//! Which topics a configuration selects.
//!
//! # Why librdkafka's own regular expressions are not used
//!
//! It reads them as POSIX expressions (`\d` means the letter d), has its own way to exclude topics, and matches internal ones.
//! What `check` shows and what is consumed must be the same set, so expressions are matched here, and the consumer is
//! subscribed to names.

use std::collections::BTreeSet;

use regex::Regex;

use crate::config::checked::{KafkaConfig, TopicMatch};
use crate::core::failure::Failure;

/// The topics of a source.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    names: BTreeSet<String>,
    pattern: Option<Regex>,
    exclude: Vec<TopicMatch>,
}

impl Selection {
    /// Checks names and expressions.
    pub(super) fn new(config: &KafkaConfig) -> Result<Self, Failure> {
        for name in &config.topics {
            check_name(name)?;
        }
        let exclude = config.exclude.iter().map(|text| {
            if text.starts_with('^') {
                Ok(TopicMatch::Pattern(compile("exclude", text)?))
            } else {
                Ok(TopicMatch::Name(text.clone()))
            }
        });
        let selection = Self {
            names: config.topics.iter().cloned().collect(),
            pattern: config.topics_regex.as_deref().map(|text| compile("topics_regex", text)).transpose()?,
            exclude: exclude.collect::<Result<_, Failure>>()?,
        };
        if selection.names.is_empty() && selection.pattern.is_none() {
            return Err(Failure::operator("kafka topics", "[source] names no topics: set `topics` or `topics_regex`"));
        }
        Ok(selection)
    }

    /// One topic alone.
    pub(super) fn of(name: &str) -> Result<Self, Failure> {
        check_name(name)?;
        Ok(Self { names: BTreeSet::from([name.to_owned()]), pattern: None, exclude: Vec::new() })
    }

    /// Topics that are named and must exist. `exclude` does not touch them.
    pub(super) fn names(&self) -> Vec<String> {
        self.names.iter().cloned().collect()
    }

    /// Whether new topics may become part of the selection.
    pub(super) fn is_open(&self) -> bool {
        self.pattern.is_some()
    }

    /// Whether a topic of the cluster is selected. Internal topics (`__…`) only by an expression that names them.
    pub(super) fn selects(&self, topic: &str) -> bool {
        if self.names.contains(topic) {
            return true;
        }
        let Some(pattern) = &self.pattern else { return false };
        let internal = topic.starts_with("__") && !pattern.as_str().starts_with("^__");
        pattern.is_match(topic) && !internal && !self.exclude.iter().any(|exclude| exclude.matches(topic))
    }
}

fn compile(setting: &str, text: &str) -> Result<Regex, Failure> {
    if !text.starts_with('^') {
        let message = format!("[source] {setting} {text:?}: an expression over topics begins with ^");
        return Err(Failure::operator("kafka topics", message));
    }
    Regex::new(text).map_err(|error| Failure::operator("kafka topics", format!("[source] {setting} {text:?}: {error}")))
}

/// Refuses what cannot be a topic's name in Kafka (and must not reach a C string).
pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 249 || name == "." || name == ".." || !name.chars().all(legal) {
        let message =
            format!("{name:?} is no name of a Kafka topic: letters, digits, dot, underscore and hyphen, at most 249");
        return Err(Failure::operator("kafka topics", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checked::Start;

    fn selection(topics: &[&str], regex: Option<&str>, exclude: &[&str]) -> Result<Selection, Failure> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Selection::new(&KafkaConfig {
            brokers: String::new(),
            topics: owned(topics),
            topics_regex: regex.map(str::to_owned),
            exclude: owned(exclude),
            group: String::new(),
            start: Start::Earliest,
            client: Default::default(),
        })
    }

    #[test]
    fn names_expressions_and_exclusions() {
        let chosen =
            selection(&["other", "db.audit"], Some(r"^db\.\w+$"), &["db.audit", r"^db\.tmp\d+$"]).expect("a selection");
        let picked = |topic: &str| chosen.selects(topic);
        assert!(picked("other") && picked("db.orders") && picked("db.audit"), "a named topic is never excluded");
        assert!(!picked("db.tmp1") && !picked("db.a.b") && !picked("x.db.orders"));
        let all = selection(&[], Some("^.*"), &[]).expect("a selection");
        assert!(all.selects("a") && !all.selects("__consumer_offsets"));
        assert!(selection(&[], Some("^__consumer.*"), &[]).expect("a selection").selects("__consumer_offsets"));
    }

    #[test]
    fn wrong_selections_are_refused() {
        assert!(selection(&[], None, &[]).is_err());
        assert!(selection(&[], Some("db.*"), &[]).is_err());
        assert!(selection(&[], Some("^("), &[]).is_err());
        for name in ["^a", "a b", "", "ä", "a\0", &"x".repeat(250)] {
            assert!(selection(&[name], None, &[]).is_err(), "{name:?}");
        }
    }
}
