//! Names of destination tables and columns: templates, case styles, selection of columns.
//!
//! # Why a case style changes what comes from the source, and not what is written in the template
//!
//! The words of a template are the operator's own; only source names have a style that may be wrong for the destination. So
//! prefixes and suffixes of tables need no options of their own: they are the words around a variable.
//!
//! # Why a dot or a quote of a topic is no danger
//!
//! A template is cut at its dots before anything is put in. What a variable brings stays inside its part, whatever it holds, and
//! every part is quoted in every statement. What is left is checked by [`reserved`] and by the destination's limits for names.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use regex::{Captures, Regex};

use super::decode::OnUnrepresentable;
use super::dialect::Dialect;
use super::event::{Rejection, RowSchema, SourceTable};
use super::table::TableName;

/// A name with variables: `${tenant}.${source.table}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    schema: Option<Vec<Piece>>,
    table: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable { variable: Variable, default: Option<String> },
}

/// What a template may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Variable {
    Topic,
    Database,
    Schema,
    Table,
    Server,
    Capture(String),
}

impl Variable {
    fn parse(name: &str) -> Result<Self, String> {
        let is_group = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        Ok(match name {
            "topic" => Self::Topic,
            "source.db" => Self::Database,
            "source.schema" => Self::Schema,
            "source.table" => Self::Table,
            "source.name" => Self::Server,
            group if is_group => Self::Capture(group.to_owned()),
            _ => {
                return Err(format!(
                    "${{{name}}} is not known; there are ${{topic}}, ${{source.db}}, ${{source.schema}}, ${{source.table}}, \
                     ${{source.name}} and groups of the topic's expression, ${{1}} or ${{name}}"
                ));
            }
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        loop {
            let (part, after) = take_part(rest).map_err(|what| format!("{text:?}: {what}"))?;
            if part.is_empty() {
                return Err(format!("{text:?}: a part of the name is empty"));
            }
            parts.push(part);
            match after.strip_prefix('.') {
                Some(next) => rest = next,
                None if after.is_empty() => break,
                None => return Err(format!("{text:?}: expected a dot after a quoted part")),
            }
        }
        let (schema, table) = match (parts.pop(), parts.pop(), parts.pop()) {
            (Some(table), schema, None) => (schema, table),
            _ => return Err(format!("{text:?}: expected `table` or `schema.table`; quote parts that hold a dot")),
        };
        Ok(Self { text: text.to_owned(), schema, table })
    }
}

/// The pieces of a part, plain or in quotes, and what follows it.
fn take_part(text: &str) -> Result<(Vec<Piece>, &str), String> {
    let (quoted, mut rest) = text.strip_prefix('"').map_or((false, text), |rest| (true, rest));
    let mut pieces: Vec<Piece> = Vec::new();
    loop {
        let Some(c) = rest.chars().next() else {
            return if quoted { Err("the quote is not closed".to_owned()) } else { Ok((pieces, rest)) };
        };
        if c == '\0' {
            return Err("a name cannot hold a NUL".to_owned());
        }
        if !quoted && c == '.' {
            return Ok((pieces, rest));
        }
        if quoted && c == '"' && !rest.starts_with("\"\"") {
            return Ok((pieces, &rest[1..]));
        }
        if let Some(inside) = rest.strip_prefix("${") {
            let end = inside.find('}').ok_or("a ${ is not closed by }")?;
            let (name, default) = match inside[..end].split_once(":-") {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (&inside[..end], None),
            };
            pieces.push(Piece::Variable { variable: Variable::parse(name)?, default });
            rest = &inside[end + 1..];
            continue;
        }
        if c == '$' && !rest.starts_with("$$") {
            return Err("a $ begins a variable, ${topic}; write $$ for the character itself".to_owned());
        }
        push(&mut pieces, c);
        let doubled = c == '$' || (quoted && c == '"');
        rest = &rest[c.len_utf8() * if doubled { 2 } else { 1 }..];
    }
}

fn push(pieces: &mut Vec<Piece>, c: char) {
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.push(c),
        _ => pieces.push(Piece::Text(c.to_string())),
    }
}

/// What the variables of a template stand for.
#[derive(Debug)]
pub struct Event<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Table as the source names it.
    pub source: &'a SourceTable,
    /// Groups of the topic's expression.
    pub groups: Option<Captures<'a>>,
}

impl Event<'_> {
    fn value(&self, variable: &Variable) -> Option<&str> {
        let value = match variable {
            Variable::Topic => Some(self.topic),
            Variable::Database => self.source.database.as_deref(),
            Variable::Schema => self.source.schema.as_deref(),
            Variable::Table => Some(self.source.table.as_str()),
            Variable::Server => self.source.server.as_deref(),
            Variable::Capture(name) => {
                let groups = self.groups.as_ref()?;
                let group = name.parse().map_or_else(|_| groups.name(name), |number| groups.get(number));
                group.map(|found| found.as_str())
            }
        };
        value.filter(|value| !value.is_empty())
    }
}

impl Template {
    /// The name, if it has no variables: then all its events are meant to have one table.
    pub fn plain(&self) -> Option<TableName> {
        let text = |pieces: &[Piece]| match pieces {
            [Piece::Text(text)] => Some(text.clone()),
            _ => None,
        };
        let schema = self.schema.as_deref().map(text);
        let table = text(&self.table)?;
        match schema {
            Some(None) => None,
            schema => Some(TableName { schema: schema.flatten(), table }),
        }
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.schema.iter().flatten().chain(&self.table)
    }

    /// Checks that every group that it asks for is one of the expression; without an expression there are none.
    pub fn check_groups(&self, expression: Option<&Regex>) -> Result<(), String> {
        for piece in self.pieces() {
            let Piece::Variable { variable: Variable::Capture(name), .. } = piece else { continue };
            let Some(expression) = expression else {
                return Err(format!("${{{name}}} needs a topic that is an expression (^…) with such a group"));
            };
            let number: Option<usize> = name.parse().ok();
            let is_there = number.is_some_and(|number| number < expression.captures_len())
                || expression.capture_names().flatten().any(|known| known == name);
            if !is_there {
                return Err(format!("the topic's expression has no group {name:?}; name one with (?<{name}>…)"));
            }
        }
        Ok(())
    }

    /// The name for an event; what comes from variables in a case style. An error names the variable that has no value.
    pub fn table(&self, event: &Event<'_>, case: Case) -> Result<TableName, Rejection> {
        let part = |pieces: &[Piece]| -> Result<String, Rejection> {
            let mut name = String::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => name.push_str(text),
                    Piece::Variable { variable, default } => match (event.value(variable), default) {
                        (Some(value), _) => name.push_str(&case.of(value)),
                        (None, Some(default)) => name.push_str(default),
                        (None, None) => return Err(self.without_value(event)),
                    },
                }
            }
            Ok(name)
        };
        let schema = self.schema.as_deref().map(part).transpose()?;
        Ok(TableName { schema, table: part(&self.table)? })
    }

    fn without_value(&self, event: &Event<'_>) -> Rejection {
        Rejection::table(
            "name",
            format!(
                "`into` = {:?} asks for something that the events of {} (topic {}) do not carry; give it a value for that case \
                 (`${{…:-value}}`), or name the table in a rule of its own",
                self.text, event.source, event.topic
            ),
        )
    }
}

/// The name of a table without a template: as the source names it.
pub fn source_name(source: &SourceTable, case: Case) -> TableName {
    TableName { schema: source.schema.as_deref().map(|schema| case.of(schema)), table: case.of(&source.table) }
}

/// Why a name must not be written to, whatever made it: lastword's own tables and those of the database, in any case of their
/// letters (MySQL may ignore it).
pub fn reserved(dialect: Dialect, name: &TableName) -> Option<&'static str> {
    const OWN: &str = "is where lastword keeps its own tables; choose another name";
    const SYSTEM: &str = "is where the database keeps its own tables; choose another name";
    let schema = name.schema.as_deref().map(str::to_ascii_lowercase);
    let table = name.table.to_ascii_lowercase();
    match (dialect, schema.as_deref()) {
        (Dialect::Postgres, Some("lastword")) => Some(OWN),
        (Dialect::Postgres, Some(schema)) if schema.starts_with("pg_") || schema == "information_schema" => {
            Some(SYSTEM)
        }
        (Dialect::Postgres, _) => None,
        (Dialect::Mysql, Some("mysql" | "sys" | "information_schema" | "performance_schema")) => Some(SYSTEM),
        (Dialect::Sqlite, Some(schema)) if schema.starts_with("lastword_") => Some(OWN),
        (Dialect::Sqlite, Some(schema)) if schema.starts_with("sqlite_") => Some(SYSTEM),
        (Dialect::Sqlite, None) if table.starts_with("sqlite_") => Some(SYSTEM),
        (Dialect::Mysql | Dialect::Sqlite, _) if table.starts_with("lastword_") => Some(OWN),
        (Dialect::Mysql | Dialect::Sqlite, _) => None,
    }
}

/// How names of the source are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Case {
    /// As they are.
    #[default]
    Keep,
    /// `ordername`
    Lower,
    /// `ORDERNAME`
    Upper,
    /// `order_name`
    Snake,
    /// `orderName`
    Camel,
}

impl Case {
    /// As the configuration says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Lower => "lower",
            Self::Upper => "upper",
            Self::Snake => "snake",
            Self::Camel => "camel",
        }
    }

    /// A name in this style. Underscores at its begin stay; a name without a letter or digit stays as it is.
    pub fn of(self, name: &str) -> String {
        let words = || words(name.trim_start_matches('_'));
        let begin = &name[..name.len() - name.trim_start_matches('_').len()];
        match self {
            Self::Keep => name.to_owned(),
            Self::Lower => name.to_lowercase(),
            Self::Upper => name.to_uppercase(),
            Self::Snake | Self::Camel if words().is_empty() => name.to_owned(),
            Self::Snake => format!("{begin}{}", words().join("_")),
            Self::Camel => {
                let mut camel = begin.to_owned();
                for (number, word) in words().into_iter().enumerate() {
                    let mut letters = word.chars();
                    match letters.next().filter(|_| number > 0) {
                        Some(first) => camel.extend(first.to_uppercase().chain(letters)),
                        None => camel.push_str(&word),
                    }
                }
                camel
            }
        }
    }
}

/// The words of a name in small letters: between `_`, `-`, `.` and blanks, and before a capital that begins a word
/// (`orderID` is order, id; `HTTPServer` is http, server).
fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, c) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| letters[at]);
        let begins = c.is_uppercase()
            && before.is_some_and(|before| {
                let inside_capitals =
                    before.is_uppercase() && !letters.get(at + 1).is_some_and(|next| next.is_lowercase());
                before.is_alphanumeric() && !inside_capitals
            });
        if begins || matches!(c, '_' | '-' | '.' | ' ') {
            words.push(String::new());
        }
        if !matches!(c, '_' | '-' | '.' | ' ')
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A name, or a `^…` expression over names.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// This one.
    Name(String),
    /// Those that match.
    Expression(Regex),
}

impl Pattern {
    /// Whether a name is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(known) => known == name,
            Self::Expression(expression) => expression.is_match(name),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Expression(expression) => expression.as_str(),
        }
    }
}

/// What becomes of the names of a table's columns. A column's own name goes before style, prefix and suffix.
#[derive(Clone, Debug, Default)]
pub struct ColumnNames {
    /// Style of the source's names.
    pub case: Case,
    /// Put before them.
    pub prefix: String,
    /// Put behind them.
    pub suffix: String,
}

/// Columns of a table: which are written, and under which names.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// Those that are written; all if none is named.
    pub include: Vec<Pattern>,
    /// Those that are not.
    pub exclude: Vec<Pattern>,
    /// Names of single columns, by their names in the source.
    pub renamed: BTreeMap<String, String>,
    /// Names of the others.
    pub names: ColumnNames,
    /// What was chosen for values that a column cannot hold, by the columns' names in the source.
    pub on_unrepresentable: BTreeMap<String, OnUnrepresentable>,
}

impl Columns {
    /// The destination's name of a source column.
    pub fn name(&self, column: &str) -> String {
        self.renamed
            .get(column)
            .cloned()
            .unwrap_or_else(|| format!("{}{}{}", self.names.prefix, self.names.case.of(column), self.names.suffix))
    }

    /// What was chosen for values that a column cannot hold, by the destination's names.
    pub fn choices(&self) -> BTreeMap<String, OnUnrepresentable> {
        self.on_unrepresentable.iter().map(|(column, choice)| (self.name(column), *choice)).collect()
    }

    fn takes(&self, column: &str, needed: &[String]) -> bool {
        let named = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(column));
        let included = self.include.is_empty() || named(&self.include) || needed.iter().any(|name| name == column);
        included && !named(&self.exclude)
    }

    /// The fields that are written, under the destination's names. `needed` are source columns that cannot be left out: key and
    /// order.
    pub fn select(&self, dialect: Dialect, schema: &RowSchema, needed: &[String]) -> Result<RowSchema, Rejection> {
        let refuse = |what: String| Err(Rejection::table("name", what));
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        let (mut fields, mut places) = (Vec::new(), Vec::new());
        for (place, field) in schema.placed() {
            let source = field.name.as_str();
            if !self.takes(source, needed) {
                if needed.iter().any(|name| name == source) {
                    return refuse(format!(
                        "`exclude_columns` leaves out {source:?}, which is in the key or in `order_by`; take it out of the list"
                    ));
                }
                continue;
            }
            let name = self.name(source);
            let folded = if dialect == Dialect::Postgres { name.clone() } else { name.to_lowercase() };
            if let Some(other) = taken.insert(folded, source) {
                return refuse(format!(
                    "the source columns {other:?} and {source:?} would both be column {name:?}; name one of them with \
                     `[table.columns.{source:?}] to = …`, or leave it out with `exclude_columns`"
                ));
            }
            let mut field = field.clone();
            field.name = name;
            fields.push(field);
            places.push(place);
        }
        Ok(RowSchema::selected(schema.id, fields, places))
    }
}

#[cfg(test)]
mod tests;
