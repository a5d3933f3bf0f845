//! SQL text. Fixed statements live in `sql/`, one in a file; what depends on a table is made here and nowhere else.
//!
//! Text holds identifiers and placeholders only, never a value. Identifiers go through [`Dialect::ident`], which quotes
//! every name, always.

pub mod alter;
pub mod ddl;
pub mod mysql;
pub mod partial;
pub mod postgres;
pub mod sqlite;
mod types;

use super::table::TableName;

/// The three languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
    /// SQLite.
    Sqlite,
}

impl Dialect {
    /// A quoted identifier. Names with NUL cannot be quoted in any of the three; [`check_name`](Self::check_name) refuses
    /// them before they come here.
    pub fn ident(self, name: &str) -> String {
        match self {
            Self::Postgres | Self::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::Mysql => format!("`{}`", name.replace('`', "``")),
        }
    }

    /// A quoted table name with its schema. SQLite has no schemas: a schema is part of the name there (`schema.table` in
    /// one identifier), so that two source schemas do not fall together.
    pub fn table(self, name: &TableName) -> String {
        match (self, &name.schema) {
            (Self::Sqlite, Some(schema)) => self.ident(&format!("{schema}.{}", name.table)),
            (_, Some(schema)) => format!("{}.{}", self.ident(schema), self.ident(&name.table)),
            (_, None) => self.ident(&name.table),
        }
    }

    /// A quoted bookkeeping table: in the schema `lastword`, or with the prefix `lastword_` where there are none.
    pub fn bookkeeping(self, table: &str) -> String {
        match self {
            Self::Postgres => format!("\"lastword\".{}", self.ident(table)),
            Self::Mysql | Self::Sqlite => self.ident(&format!("lastword_{table}")),
        }
    }

    /// The placeholder of the parameter with this number, from 1.
    pub fn placeholder(self, number: usize) -> String {
        match self {
            Self::Postgres => format!("${number}"),
            Self::Mysql | Self::Sqlite => "?".to_owned(),
        }
    }

    /// Why a name cannot be used here, if it cannot: empty, NUL, or too long (63 bytes in PostgreSQL, which would cut it
    /// silently; 64 characters in MySQL).
    pub fn check_name(self, name: &str) -> Result<(), String> {
        if name.is_empty() || name.contains('\0') {
            return Err(format!("the name {name:?} is empty or holds a NUL"));
        }
        match self {
            Self::Postgres if name.len() > 63 => Err(format!("the name {name:?} is longer than PostgreSQL's 63 bytes")),
            Self::Mysql if name.chars().count() > 64 => {
                Err(format!("the name {name:?} is longer than MySQL's 64 characters"))
            }
            Self::Mysql if name.ends_with(' ') => {
                Err(format!("the name {name:?} ends with a blank, which MySQL refuses"))
            }
            Self::Mysql if name.chars().any(|c| u32::from(c) > 0xFFFF) => {
                Err(format!("the name {name:?} holds a character beyond U+FFFF, which MySQL refuses in names"))
            }
            _ => Ok(()),
        }
    }
}

/// Numbers of rows of MySQL's and SQLite's multi-row statements, greatest first: few shapes, so that the drivers' caches
/// of 100 prepared statements hold them all. Measured: 512 is the best rung for MariaDB, 64 is enough for SQLite.
pub const LADDER: [usize; 4] = [512, 64, 8, 1];

/// Cuts `rows` into rungs of the ladder, none above `max_rows`.
pub fn rungs(rows: usize, max_rows: usize) -> impl Iterator<Item = usize> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let rung = LADDER.into_iter().find(|rung| *rung <= rest && (*rung <= max_rows || *rung == 1))?;
        rest -= rung;
        Some(rung)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_names() {
        let name = TableName::new(Some("a\"b`c"), "x\"; drop table y; --`");
        assert_eq!(Dialect::Postgres.table(&name), "\"a\"\"b`c\".\"x\"\"; drop table y; --`\"");
        assert_eq!(Dialect::Mysql.table(&name), "`a\"b``c`.`x\"; drop table y; --```");
        assert_eq!(Dialect::Sqlite.table(&TableName::new(Some("s"), "t")), "\"s.t\"");
        assert!(Dialect::Postgres.check_name(&"ü".repeat(32)).is_err());
        assert!(Dialect::Mysql.check_name(&"ü".repeat(64)).is_ok());
        assert!(Dialect::Sqlite.check_name("a\0").is_err());
    }

    #[test]
    fn rungs_cover_every_row_once() {
        for (rows, max) in [(0, 512), (1, 512), (7, 512), (577, 512), (1100, 64), (9, 3)] {
            let cut: Vec<usize> = rungs(rows, max).collect();
            assert_eq!(cut.iter().sum::<usize>(), rows, "{rows} {max}");
            assert!(cut.iter().all(|rung| LADDER.contains(rung) && (*rung <= max || *rung == 1)));
        }
    }
}
