//! A configuration as a tree of values that know where they were written, and the three layers that it is made of.
//!
//! Values are not given a meaning here, and nothing here prints one.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Report};

/// A value and its places. Has no `Debug`, because it may be a secret.
#[derive(Clone)]
pub struct Node {
    /// The value.
    pub data: Data,
    /// Where the value was written.
    pub origin: Origin,
    /// Where its key was written.
    pub key_origin: Origin,
}

/// A value.
#[derive(Clone)]
pub enum Data {
    /// Text of the file.
    Text(String),
    /// Text of the environment or of a flag, which has no types: the reader of the key decides what it is.
    Bare(String),
    /// A whole number.
    Integer(i64),
    /// A truth value.
    Bool(bool),
    /// Something that no key takes, with its name: floating point numbers, dates.
    Other(&'static str),
    /// An array.
    List(Vec<Node>),
    /// A table.
    Table {
        /// Keys with values, in the order of their names.
        entries: Vec<(String, Node)>,
        /// Written as `{ … }`.
        inline: bool,
    },
}

impl Data {
    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Bare(_) => "text",
            Self::Integer(_) => "a whole number",
            Self::Bool(_) => "a truth value",
            Self::Other(kind) => kind,
            Self::List(_) => "a list",
            Self::Table { .. } => "a table",
        }
    }
}

impl Node {
    /// An empty table of a place.
    pub fn empty(origin: Origin) -> Self {
        let data = Data::Table { entries: Vec::new(), inline: false };
        Self { data, key_origin: origin.clone(), origin }
    }

    fn bare(text: &str, origin: &Origin) -> Self {
        Self { data: Data::Bare(text.to_owned()), origin: origin.clone(), key_origin: origin.clone() }
    }

    /// The entry of a key.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let Data::Table { entries, .. } = &mut self.data else { return None };
        entries.iter_mut().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// Puts a value at a path and says whether it could: tables on the way are made, but something else than a table may
    /// be in the way.
    pub fn put(&mut self, path: &[&str], text: &str, origin: &Origin) -> bool {
        let Data::Table { entries, .. } = &mut self.data else { return false };
        let Some((key, rest)) = path.split_first() else { return false };
        let at = entries.iter().position(|(name, _)| name == key);
        if rest.is_empty() {
            let node = Self::bare(text, origin);
            match at {
                Some(at) => entries[at].1 = node,
                None => entries.push(((*key).to_owned(), node)),
            }
            return true;
        }
        let at = at.unwrap_or_else(|| {
            entries.push(((*key).to_owned(), Self::empty(origin.clone())));
            entries.len() - 1
        });
        entries[at].1.put(rest, text, origin)
    }

    /// Takes keys of a table away.
    pub fn remove(&mut self, keys: &[&str]) {
        if let Data::Table { entries, .. } = &mut self.data {
            entries.retain(|(name, _)| !keys.contains(&name.as_str()));
        }
    }

    /// Joins the names of nested tables with dots, so that `a.b = 1`, `"a.b" = 1` and `a = { … }` of a deeper header are
    /// the same key. Inline tables stay values.
    pub fn flatten(&mut self) {
        let Data::Table { entries, .. } = &mut self.data else { return };
        let mut flat = Vec::new();
        for (name, mut node) in std::mem::take(entries) {
            if !matches!(node.data, Data::Table { inline: false, .. }) {
                flat.push((name, node));
                continue;
            }
            node.flatten();
            if let Data::Table { entries, .. } = node.data {
                flat.extend(entries.into_iter().map(|(inner, node)| (format!("{name}.{inner}"), node)));
            }
        }
        *entries = flat;
    }
}

/// Reads TOML. What is wrong goes to the report; then the result must not be used.
pub fn parse(name: &str, text: &str, report: &mut Report) -> Node {
    let places = Places { name: name.into(), text };
    let (table, errors) = DeTable::parse_recoverable(text);
    // One slip can make many errors behind it; the first few are enough to go on.
    for error in errors.iter().take(5) {
        let origin = error.span().map_or_else(|| places.whole(), |span| places.at(span.start));
        report.add(&origin, "", format!("not valid TOML: {}", error.message()));
    }
    let span = table.span();
    let mut root = places.node(DeValue::Table(table.into_inner()), span, None);
    root.origin = places.whole();
    root
}

struct Places<'a> {
    name: Arc<str>,
    text: &'a str,
}

impl Places<'_> {
    fn whole(&self) -> Origin {
        Origin::Whole(Arc::clone(&self.name))
    }

    fn at(&self, byte: usize) -> Origin {
        let before = self.text.get(..byte).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Origin::File {
            name: Arc::clone(&self.name),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    fn node(&self, value: DeValue<'_>, span: std::ops::Range<usize>, key: Option<Origin>) -> Node {
        let origin = self.at(span.start);
        let inline = self.text.get(span.start..).is_some_and(|rest| rest.starts_with('{'));
        let data = match value {
            DeValue::String(text) => Data::Text(text.into_owned()),
            DeValue::Boolean(truth) => Data::Bool(truth),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Data::Integer(number),
                Err(_) => Data::Other("a number that is too large"),
            },
            DeValue::Float(_) => Data::Other("a number with a fraction"),
            DeValue::Datetime(_) => Data::Other("a date or time"),
            DeValue::Array(items) => Data::List(items.into_iter().map(|item| self.spanned(item, None)).collect()),
            DeValue::Table(table) => {
                let entry = |(key, value): (Spanned<std::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)| {
                    let key_origin = self.at(key.span().start);
                    (key.into_inner().into_owned(), self.spanned(value, Some(key_origin)))
                };
                Data::Table { entries: table.into_iter().map(entry).collect(), inline }
            }
        };
        Node { data, key_origin: key.unwrap_or_else(|| origin.clone()), origin }
    }

    fn spanned(&self, value: Spanned<DeValue<'_>>, key: Option<Origin>) -> Node {
        let span = value.span();
        self.node(value.into_inner(), span, key)
    }
}

/// Reads an array that was written in the environment or in a flag: TOML if it begins with `[`, else parts between
/// commas. `None` if it is neither.
pub fn parse_list(text: &str, origin: &Origin) -> Option<Vec<Node>> {
    let text = text.trim();
    if !text.starts_with('[') {
        return Some(text.split(',').map(str::trim).map(|part| Node::bare(part, origin)).collect());
    }
    let value = DeValue::parse(text).ok()?.into_inner();
    let DeValue::Array(items) = value else { return None };
    items.into_iter().map(|item| item.into_inner().as_str().map(|text| Node::bare(text, origin))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: usize, column: usize) -> Origin {
        Origin::File { name: "a.toml".into(), line, column }
    }

    #[test]
    fn values_and_keys_know_their_places() {
        let mut report = Report::default();
        let mut root = parse("a.toml", "# ü\n[source]\n\"tö\" = { x = 1, kind = \"kafka\" }\n", &mut report);
        assert!(report.is_empty());
        let source = root.get_mut("source").expect("source");
        assert_eq!(source.origin, at(2, 1));
        let kind = source.get_mut("tö").and_then(|table| table.get_mut("kind")).expect("kind");
        assert_eq!((kind.key_origin.clone(), kind.origin.clone()), (at(3, 17), at(3, 24)));
    }

    #[test]
    fn properties_are_the_same_however_they_are_nested() {
        let mut report = Report::default();
        let text = "[c]\n\"a.b\" = 1\nd.e = 2\nf.g = { file = \"x\" }\n[c.h.i]\nj = 3\n";
        let mut root = parse("a.toml", text, &mut report);
        assert!(report.is_empty());
        let client = root.get_mut("c").expect("c");
        client.flatten();
        let Data::Table { entries, .. } = &client.data else { panic!("not a table") };
        let names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a.b", "d.e", "f.g", "h.i.j"]);
        assert!(matches!(entries[2].1.data, Data::Table { inline: true, .. }));
    }

    #[test]
    fn later_layers_win_and_lists_are_read() {
        let mut root = Node::empty(Origin::Whole("a.toml".into()));
        let flag = Origin::Flag("a.b".into());
        assert!(root.put(&["a", "b"], "1", &Origin::Environment("X".into())));
        assert!(root.put(&["a", "b"], "2", &flag));
        assert!(!root.put(&["a", "b", "c"], "3", &flag));
        let node = root.get_mut("a").and_then(|a| a.get_mut("b")).expect("a.b");
        assert!(matches!(&node.data, Data::Bare(text) if text == "2"));
        let texts = |text: &str| {
            parse_list(text, &flag).map(|nodes| {
                nodes
                    .iter()
                    .filter_map(|node| if let Data::Bare(t) = &node.data { Some(t.clone()) } else { None })
                    .collect()
            })
        };
        assert_eq!(texts("a, b"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(texts("[\"a,b\"]"), Some(vec!["a,b".to_owned()]));
        assert_eq!(texts("[1]"), None);
        assert_eq!(texts("[\"a\""), None);
    }

    #[test]
    fn broken_toml_is_reported_with_its_place_and_without_the_line() {
        let mut report = Report::default();
        parse("a.toml", "[sink]\nurl = \"postgres://u:sEcReT@h/d\nwriters = 4\n", &mut report);
        let errors = report.finish(Some(())).expect_err("a quote is not closed");
        assert!(matches!(&errors.problems()[0].origin, Origin::File { line: 2, .. }), "{errors}");
        assert!(!errors.to_string().contains("sEcReT"), "{errors}");
    }
}
