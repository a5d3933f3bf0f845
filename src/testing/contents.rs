//! What a destination holds, to be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use crate::core::dialect::Dialect;
use crate::core::failure::Failure;
use crate::core::table::{DELETED_COLUMN, TOKEN_COLUMN, TableName, TableShape, TokenStorage, side_table_name};
use crate::sink::{Session, Statements, bookkeep};

/// Most rows of each side that a difference shows.
const SHOWN: usize = 20;
/// Set by the clock.
const BY_CLOCK: &str = "deleted_at";

/// A row: the text of each column, as the database itself writes it; `None` is NULL, bytes are hexadecimal.
pub type Row = BTreeMap<String, Option<String>>;

/// The tables of a scenario as its destination holds them. Displayed and compared with their values, which no other message of
/// lastword shows: they are a test's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Rows by table. A table of the connection's own schema is named without it. Softly deleted rows are among them, with the column
    /// `_lastword_deleted`.
    pub rows: BTreeMap<String, Vec<Row>>,
    /// What decides between events, by table: tokens of rows, tombstones, truncate tokens. Scopes of tokens are numbered by their
    /// descriptions, so that two databases can be compared.
    pub tokens: BTreeMap<String, Vec<Row>>,
}

impl Contents {
    /// The rows that are on one side only, or `None` if both hold the same rows: what tables are read for.
    pub fn difference(&self, other: &Self) -> Option<String> {
        difference(&self.rows, &other.rows)
    }

    /// The same of rows, tokens and tombstones: what decides about every event that is still to come.
    pub fn difference_of_everything(&self, other: &Self) -> Option<String> {
        let found = [difference(&self.rows, &other.rows), difference(&self.tokens, &other.tokens)];
        let found: Vec<String> = found.into_iter().flatten().collect();
        (!found.is_empty()).then(|| found.concat())
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (table, rows) in &self.rows {
            writeln!(f, "{table}: {} rows", rows.len())?;
            rows.iter().try_for_each(|row| writeln!(f, "    {}", line(row)))?;
        }
        Ok(())
    }
}

fn line(row: &Row) -> String {
    let cell = |(column, value): (&String, &Option<String>)| match value {
        Some(text) => format!("{column}={text:?}"),
        None => format!("{column}=NULL"),
    };
    row.iter().map(cell).collect::<Vec<_>>().join(" ")
}

fn difference(one: &BTreeMap<String, Vec<Row>>, other: &BTreeMap<String, Vec<Row>>) -> Option<String> {
    let tables: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let mut text = String::new();
    for table in tables {
        let side = |side: &BTreeMap<String, Vec<Row>>| side.get(table).cloned().unwrap_or_default();
        let (one, other) = (side(one), side(other));
        if one == other {
            continue;
        }
        let _ = writeln!(text, "{table}: {} rows here, {} rows there", one.len(), other.len());
        for (mark, rows) in [("-", surplus(&one, &other)), ("+", surplus(&other, &one))] {
            rows.iter().take(SHOWN).for_each(|row| _ = writeln!(text, "  {mark} {}", line(row)));
            if rows.len() > SHOWN {
                let _ = writeln!(text, "  {mark} and {} more", rows.len() - SHOWN);
            }
        }
    }
    (!text.is_empty()).then_some(text)
}

/// Rows (with their number) that the other side does not have.
fn surplus<'r>(rows: &'r [Row], other: &[Row]) -> Vec<&'r Row> {
    let mut left: BTreeMap<&Row, usize> = BTreeMap::new();
    other.iter().for_each(|row| *left.entry(row).or_default() += 1);
    let mut more = Vec::new();
    for row in rows {
        match left.get_mut(row).filter(|left| **left > 0) {
            Some(left) => *left -= 1,
            None => more.push(row),
        }
    }
    more
}

/// Reads what a pipeline was applied to.
pub(super) async fn read(session: &mut Session, pipeline: &str) -> Result<Contents, Failure> {
    let dialect = session.dialect();
    let home = match dialect {
        Dialect::Postgres => texts(session, "select current_schema()::text").await?,
        Dialect::Mysql => texts(session, "select database()").await?,
        Dialect::Sqlite => Vec::new(),
    };
    let home = home.into_iter().flatten().next().flatten();
    let tables: BTreeSet<String> = bookkeep::feeds(session)
        .await?
        .into_iter()
        .filter(|feed| feed.pipeline == pipeline)
        .map(|feed| feed.table)
        .collect();
    let scopes = scopes(session).await?;
    let mut contents = Contents::default();
    for table in tables {
        let name: TableName =
            table.parse().map_err(|_| Failure::operator("testing", format!("{table} is no name of a table")))?;
        let Some(shape) = session.describe(&name).await? else { continue };
        let schema = shape.name.schema.as_deref().filter(|schema| Some(*schema) != home.as_deref());
        let label = TableName::new(schema, &shape.name.table).to_string();
        let (rows, mut tokens) = rows(session, &shape, &scopes).await?;
        for storage in [TokenStorage::Column, TokenStorage::Side] {
            let side = side_table_name(&shape.name, storage);
            let side = match dialect {
                Dialect::Postgres => TableName::new(Some("lastword"), &side),
                Dialect::Mysql | Dialect::Sqlite => TableName::new(None, &format!("lastword_{side}")),
            };
            if let Some(shape) = session.describe(&side).await? {
                let (keys, held) = self::rows(session, &shape, &scopes).await?;
                tokens.extend(if held.is_empty() { keys } else { held });
            }
        }
        tokens.extend(truncate(session, &table, &scopes).await?);
        tokens.sort();
        contents.rows.insert(label.clone(), rows);
        contents.tokens.insert(format!("tokens of {label}"), tokens);
    }
    Ok(contents)
}

/// The rows of a table, and once more with their tokens, if they have any.
async fn rows(session: &mut Session, shape: &TableShape, scopes: &[String]) -> Result<(Vec<Row>, Vec<Row>), Failure> {
    let dialect = session.dialect();
    let mut columns: Vec<(&str, &str)> =
        shape.columns.iter().map(|column| (column.name.as_str(), column.native.as_str())).collect();
    columns.retain(|(column, _)| *column != BY_CLOCK);
    let key = shape.primary_key.clone();
    columns.extend(shape.has_deleted.then_some((DELETED_COLUMN, "")));
    columns.extend(shape.has_token.then_some((TOKEN_COLUMN, "varbinary")));
    let selected: Vec<String> = columns.iter().map(|(column, native)| as_text(dialect, column, native)).collect();
    let sql = format!("select {} from {}", selected.join(", "), dialect.table(&shape.name));
    let (mut rows, mut tokens) = (Vec::new(), Vec::new());
    for cells in texts(session, &sql).await? {
        let mut row: Row = columns.iter().map(|(column, _)| (*column).to_owned()).zip(cells).collect();
        if let Some(Some(token)) = row.remove(TOKEN_COLUMN) {
            let mut held: Row = row.clone().into_iter().filter(|(column, _)| key.contains(column)).collect();
            held.insert(TOKEN_COLUMN.to_owned(), Some(rescoped(token, scopes)));
            held.extend(row.get_key_value(DELETED_COLUMN).map(|(name, value)| (name.clone(), value.clone())));
            tokens.push(held);
        }
        rows.push(row);
    }
    rows.sort();
    Ok((rows, tokens))
}

async fn truncate(session: &mut Session, table: &str, scopes: &[String]) -> Result<Option<Row>, Failure> {
    let dialect = session.dialect();
    let token = as_text(dialect, "truncate_token", "varbinary");
    let state = dialect.bookkeeping("table_state");
    let sql = format!("select {token} from {state} where table_name = {}", dialect.placeholder(1));
    let found = session.query(&sql, &[table.into()]).await?;
    let token = found.first().and_then(|row| row.first()?.as_text().map(str::to_owned));
    Ok(token.map(|token| Row::from([("truncated".to_owned(), Some(rescoped(token, scopes)))])))
}

/// Numbers of scopes in hex, in the order of their descriptions.
async fn scopes(session: &mut Session) -> Result<Vec<String>, Failure> {
    let sql = format!("select id from {} order by description", session.dialect().bookkeeping("scope"));
    let numbers = texts(session, &sql).await?.into_iter().flatten().flatten();
    Ok(numbers.filter_map(|id| Some(format!("{:04x}", id.parse::<u16>().ok()?))).collect())
}

/// Puts the place of a token's scope among all scopes where its number is: behind the prefix and the format.
fn rescoped(mut token: String, scopes: &[String]) -> String {
    const SCOPE: std::ops::Range<usize> = 4..8;
    if let Some(place) = token.get(SCOPE).and_then(|scope| scopes.iter().position(|known| known == scope)) {
        token.replace_range(SCOPE, &format!("#{place}"));
    }
    token
}

/// An expression for a column as text: what the database itself makes of it, bytes as `0x…`. `native` is the name of its type there.
pub fn as_text(dialect: Dialect, column: &str, native: &str) -> String {
    let name = dialect.ident(column);
    match dialect {
        Dialect::Postgres => format!("{name}::text"),
        Dialect::Sqlite => {
            format!("case typeof({name}) when 'blob' then '0x' || lower(hex({name})) else cast({name} as text) end")
        }
        Dialect::Mysql if native.contains("binary") || native.contains("blob") => {
            format!("concat('0x', lower(hex({name})))")
        }
        Dialect::Mysql => format!("cast({name} as char)"),
    }
}

async fn texts(session: &mut Session, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
    use crate::core::value::Value;
    let cell = |value: Value| match value {
        Value::Null => None,
        Value::Int(number) => Some(number.to_string()),
        value => value.as_text().map(str::to_owned),
    };
    let rows = session.query(sql, &[]).await?;
    Ok(rows.into_iter().map(|row| row.into_iter().map(cell).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(rows: &[(&str, Option<&str>)]) -> Contents {
        let row = |(id, name): &(&str, Option<&str>)| {
            Row::from([("id".to_owned(), Some((*id).to_owned())), ("name".to_owned(), name.map(str::to_owned))])
        };
        let rows = rows.iter().map(row).collect();
        Contents { rows: BTreeMap::from([("t".to_owned(), rows)]), ..Contents::default() }
    }

    /// What is the same is not shown; NULL is not the text; a row twice is not a row once.
    #[test]
    fn differences_show_what_is_on_one_side_only() {
        let one = contents(&[("1", Some("a")), ("2", None)]);
        assert_eq!(one.difference(&one.clone()), None);
        let shown = one.difference(&contents(&[("1", Some("a")), ("2", Some("NULL"))])).expect("a difference");
        assert_eq!(shown, "t: 2 rows here, 2 rows there\n  - id=\"2\" name=NULL\n  + id=\"2\" name=\"NULL\"\n");
        let twice = contents(&[("1", Some("a")), ("2", None), ("2", None)]);
        assert_eq!(
            one.difference(&twice).expect("a difference"),
            "t: 2 rows here, 3 rows there\n  + id=\"2\" name=NULL\n"
        );
        assert_eq!(one.to_string(), "t: 2 rows\n    id=\"1\" name=\"a\"\n    id=\"2\" name=NULL\n");
    }
}
