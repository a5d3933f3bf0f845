//! From file, environment and flags to a checked configuration.

use std::collections::BTreeMap;
use std::path::Path;

use super::check::Checker;
use super::checked::Config;
use super::problem::{ConfigErrors, Origin, Report};
use super::raw::Raw;
use super::read::Read;
use super::tree::{self, Node};

/// Variables that are settings begin with this, and hold `__` behind it.
pub const PREFIX: &str = "LASTWORD_";

/// Keys of which one replaces the others: a URL that is given by flag means that the file's `url_file` is not read.
const URL_KEYS: [&str; 3] = ["url", "url_file", "url_env"];

/// The variables of the environment.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, Option<String>>);

impl Environment {
    /// Those of this process. Variables whose name is not UTF-8 are left out.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            Some((name, value.into_string().ok()))
        });
        Self(variables.collect())
    }

    /// The value of a variable. The error says what is wrong with it, without its value.
    pub fn get(&self, name: &str) -> Result<&str, String> {
        match self.0.get(name) {
            Some(Some(value)) => Ok(value),
            Some(None) => Err(format!("the environment variable {name} is not UTF-8")),
            None => Err(format!("the environment variable {name} is not set")),
        }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(variables: T) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), Some(value.into()))).collect())
    }
}

/// Reads a configuration: the file, then the environment, then `key=value` flags; what comes later wins. Reads the files
/// that it names (URLs, secrets, patterns of paths), connects to nothing. A missing file is an error.
pub fn load(path: &Path, environment: &Environment, overrides: &[String]) -> Result<Config, ConfigErrors> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => load_text(&name, &text, environment, overrides),
        Err(error) => {
            let mut report = Report::default();
            let message = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    "there is no such file; name another with --config, or write one (`lastword --help` shows an example)"
                        .to_owned()
                }
                std::io::ErrorKind::InvalidData => "the file is not UTF-8 text".to_owned(),
                _ => format!("the file cannot be read: {error}"),
            };
            report.add(&Origin::Whole(name.into()), "", message);
            report.finish(None)
        }
    }
}

/// As [`load`], with the text of the file. `name` is what errors call it.
pub fn load_text(
    name: &str,
    text: &str,
    environment: &Environment,
    overrides: &[String],
) -> Result<Config, ConfigErrors> {
    let mut report = Report::default();
    let mut root = tree::parse(name, text, &mut report);
    if !report.is_empty() {
        return report.finish(None);
    }
    if let Some(client) = root.get_mut("source").and_then(|source| source.get_mut("client")) {
        client.flatten();
    }
    overlay(&mut root, environment_layer(environment, &mut report), &mut report);
    overlay(&mut root, flag_layer(overrides, &mut report), &mut report);
    let Some(raw) = Raw::read(&root, "", &mut report) else { return report.finish(None) };
    let mut checker = Checker { report: &mut report, environment, file: Origin::Whole(name.into()) };
    let config = checker.config(raw);
    report.finish(config)
}

/// A value of a layer with the path of its key.
struct Setting<'a> {
    path: Vec<String>,
    text: &'a str,
    origin: Origin,
}

fn environment_layer<'a>(environment: &'a Environment, report: &mut Report) -> Vec<Setting<'a>> {
    let mut settings = Vec::new();
    for (name, value) in &environment.0 {
        let Some(path) = name.strip_prefix(PREFIX).filter(|path| path.contains("__")) else { continue };
        let path: Vec<String> = path.to_lowercase().split("__").map(str::to_owned).collect();
        let path = match path.as_slice() {
            [source, client, property] if source == "source" && client == "client" => {
                vec![source.clone(), client.clone(), property.replace('_', ".")]
            }
            _ => path,
        };
        let origin = Origin::Environment(name.clone());
        match value {
            Some(text) => settings.push(Setting { path, text, origin }),
            None => report.add(&origin, path.join("."), "the value is not UTF-8"),
        }
    }
    settings
}

fn flag_layer<'a>(overrides: &'a [String], report: &mut Report) -> Vec<Setting<'a>> {
    let mut settings = Vec::new();
    for flag in overrides {
        let Some((key, text)) = flag.split_once('=') else {
            // Not shown: whoever forgets the key may have written a secret.
            report.add(&Origin::Flag("…".to_owned()), "", "expected key=value, as in --set sink.writers=4");
            continue;
        };
        let key = key.trim();
        let path = match key.strip_prefix("source.client.") {
            Some(property) => vec!["source".to_owned(), "client".to_owned(), property.to_owned()],
            None => key.split('.').map(str::to_owned).collect(),
        };
        settings.push(Setting { path, text, origin: Origin::Flag(key.to_owned()) });
    }
    settings
}

fn overlay(root: &mut Node, settings: Vec<Setting<'_>>, report: &mut Report) {
    let is_url = |path: &[String]| path.len() == 2 && path[0] == "sink" && URL_KEYS.contains(&path[1].as_str());
    if settings.iter().any(|setting| is_url(&setting.path))
        && let Some(sink) = root.get_mut("sink")
    {
        sink.remove(&URL_KEYS);
    }
    for Setting { path, text, origin } in settings {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["table", ..] => report.add(&origin, path.join("."), "rules for topics are written in the file only"),
            [_] => report.add(&origin, path.join("."), "expected a section and a key, as in sink.writers"),
            _ if root.put(&path, text, &origin) => {}
            _ => report.add(
                &origin,
                path.join("."),
                "there is no such key: a part of its path is a value, not a section",
            ),
        }
    }
}
