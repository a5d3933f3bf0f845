//! What is wrong with a configuration, and where that was written.

use std::fmt;
use std::sync::Arc;

use crate::core::failure::Failure;

/// Where a value was written. Ordered as the places are read: file, environment, flags.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A file as a whole: for what is missing in it.
    Whole(Arc<str>),
    /// A place in a file.
    File {
        /// Name of the file, as it was given.
        name: Arc<str>,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// A variable of the environment, by name.
    Environment(String),
    /// A `--set` flag, by the key that it sets.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(name) => f.write_str(name),
            Self::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(key) => write!(f, "--set {key}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// Key with its path (`sink.url`); empty if it is not about a key.
    pub key: String,
    /// What is wrong, and what is expected. Never holds a value that could be a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A flag's place and its key are the same words.
        let named_already = matches!(&self.origin, Origin::Flag(key) if *key == self.key);
        if self.key.is_empty() || named_already {
            write!(f, "{}: {}", self.origin, self.message)
        } else {
            write!(f, "{}: {}: {}", self.origin, self.key, self.message)
        }
    }
}

/// Everything that is wrong with a configuration; at least one [`Problem`], in the order of the file.
#[derive(Clone, Debug)]
pub struct ConfigErrors(Vec<Problem>);

impl ConfigErrors {
    /// The problems.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "the configuration cannot be used: {only}"),
            many => {
                write!(f, "the configuration cannot be used, {} problems:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::operator("configuration", errors.to_string())
    }
}

/// Collects problems.
#[derive(Debug, Default)]
pub struct Report(Vec<Problem>);

impl Report {
    /// Notes a problem.
    pub fn add(&mut self, origin: &Origin, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { origin: origin.clone(), key: key.into(), message: message.into() });
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `value` if nothing was noted, else everything that was, sorted and each once.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        let mut problems = self.0;
        problems.sort();
        problems.dedup();
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            // Cannot be: whoever has no value noted why. Said all the same rather than assumed.
            None if problems.is_empty() => Err(ConfigErrors(vec![Problem {
                origin: Origin::Whole("configuration".into()),
                key: String::new(),
                message: "cannot be used".to_owned(),
            }])),
            _ => Err(ConfigErrors(problems)),
        }
    }
}

/// The known word that is nearest to a written one, if one is near enough to be meant.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let reach = (written.chars().count() / 3).max(1) + 1;
    known
        .into_iter()
        .map(|word| (edit_distance(written, word), word))
        .filter(|(distance, word)| *distance <= reach && *distance < word.chars().count())
        .min()
        .map(|(_, word)| word)
}

/// Levenshtein's distance in characters, one row of the matrix at a time.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        let known = ["topics", "topics_regex", "brokers", "start", "group"];
        assert_eq!(nearest("topic", known), Some("topics"));
        assert_eq!(nearest("topics-regex", known), Some("topics_regex"));
        assert_eq!(nearest("broker", known), Some("brokers"));
        assert_eq!(nearest("compression", known), None);
        assert_eq!(nearest("x", ["up"]), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
    }

    #[test]
    fn problems_are_sorted_and_each_is_said_once() {
        let mut report = Report::default();
        let at = |line| Origin::File { name: "a.toml".into(), line, column: 1 };
        report.add(&Origin::Flag("sink.url".into()), "sink.url", "third");
        report.add(&at(10), "b", "second");
        report.add(&at(9), "a", "first");
        report.add(&at(9), "a", "first");
        let errors = report.finish(Some(())).expect_err("problems were noted");
        assert_eq!(
            errors.to_string(),
            "the configuration cannot be used, 3 problems:\n  a.toml:9:1: a: first\n  a.toml:10:1: b: second\n  \
             --set sink.url: third"
        );
    }
}
