//! Deletes of rows whose delete event was compacted away: only the null value behind it was left in the log.
//!
//! Rare, so each is some single statements in the plan's transaction. The first decides: it hits the row only if its token still
//! is the one that the plan was made for, and holds its lock from then on. The key's tombstone gets the token just below.

use crate::core::dialect::Dialect;
use crate::core::failure::Failure;
use crate::core::nulls::NULL_DELETE;
use crate::core::plan::{Orphan, Plan, TableOutcome, TablePlan};
use crate::core::table::{ColumnType, DELETED_COLUMN, DeleteMode, TOKEN_COLUMN, Table, TokenStorage};
use crate::core::value::Value;
use crate::sink::Statements;

use super::cells::Cells;
use super::{sql, taken_back};

/// A parameter of a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Param {
    Key,
    /// The row's token.
    Token,
    /// The tombstone's.
    Below,
}

/// A statement on its way: parameters are numbered as they stand in the text.
struct Text<'t> {
    dialect: Dialect,
    table: &'t Table,
    text: String,
    params: Vec<Param>,
    number: usize,
}

impl<'t> Text<'t> {
    fn new(dialect: Dialect, table: &'t Table, begin: String) -> Self {
        Self { dialect, table, text: begin, params: Vec::new(), number: 0 }
    }

    fn mark(&mut self) -> String {
        self.number += 1;
        self.dialect.placeholder(self.number)
    }

    fn with(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// A token's placeholder.
    fn token(mut self, which: Param) -> Self {
        let mark = self.mark();
        self.params.push(which);
        self.with(&mark)
    }

    /// `a = ? and b = ?` for the key.
    fn of_key(mut self) -> Self {
        self.params.push(Param::Key);
        let table = self.table;
        let columns = table.key.iter().map(|at| &table.shape.columns[*at]);
        let equal: Vec<String> = columns
            .map(|column| {
                let (name, mark) = (self.dialect.ident(&column.name), self.mark());
                match (&column.kind, self.dialect) {
                    // Text is compared with a DECIMAL column as a double.
                    (ColumnType::Decimal { limit: Some((digits, scale)) }, Dialect::Mysql) => {
                        format!("{name} = cast({mark} as decimal({digits},{scale}))")
                    }
                    (ColumnType::Text { .. }, Dialect::Sqlite) => format!("{name} collate binary = {mark}"),
                    _ => format!("{name} = {mark}"),
                }
            })
            .collect();
        self.with(&equal.join(" and "))
    }

    /// Its row still has the token that the plan was made for.
    fn still(self) -> Self {
        let token = self.dialect.ident(TOKEN_COLUMN);
        self.of_key().with(&format!(" and {token} = ")).token(Param::Token)
    }

    fn values_of_key(mut self) -> Self {
        self.params.push(Param::Key);
        let marks: Vec<String> = (0..self.table.key.len()).map(|_| self.mark()).collect();
        self.with(&marks.join(", "))
    }
}

/// The statements; the first one decides.
fn statements(dialect: Dialect, table: &Table) -> Vec<(String, Vec<Param>)> {
    let begin = |text: String| Text::new(dialect, table, text);
    let (target, side) = (dialect.table(table.name()), dialect.bookkeeping(&table.side_name()));
    let (token, deleted) = (dialect.ident(TOKEN_COLUMN), dialect.ident(DELETED_COLUMN));
    let names: Vec<String> = table.key.iter().map(|at| dialect.ident(&table.shape.columns[*at].name)).collect();
    let key = names.join(", ");
    let is_soft = table.delete == DeleteMode::Soft;
    let texts = match (table.token_storage, is_soft) {
        (TokenStorage::Column, false) => vec![
            begin(format!("delete from {target} where ")).still(),
            begin(format!("delete from {side} where ")).of_key(),
            begin(format!("insert into {side} ({key}, {token}) values ("))
                .values_of_key()
                .with(", ")
                .token(Param::Below)
                .with(")"),
        ],
        (TokenStorage::Column, true) => {
            let mark = begin(format!("update {target} set {deleted} = true, {token} = ")).token(Param::Below);
            vec![mark.with(&format!(" where not {deleted} and ")).still()]
        }
        (TokenStorage::Side, _) => {
            let now = match dialect {
                Dialect::Postgres => "now()",
                Dialect::Mysql => "current_timestamp(6)",
                Dialect::Sqlite => "strftime('%Y-%m-%d %H:%M:%f', 'now')",
            };
            let mark = begin(format!("update {side} set {deleted} = true, deleted_at = {now}, {token} = "));
            let mut texts = vec![mark.token(Param::Below).with(&format!(" where not {deleted} and ")).still()];
            match (is_soft, table.shape.has_deleted) {
                (false, _) => texts.push(begin(format!("delete from {target} where ")).of_key()),
                (true, true) => texts.push(begin(format!("update {target} set {deleted} = true where ")).of_key()),
                (true, false) => {}
            }
            texts
        }
    };
    texts.into_iter().map(|text| (text.text, text.params)).collect()
}

/// Carries the orphans of a table's plan out, before its other changes.
pub async fn delete_orphans<S: Statements>(session: &mut S, plan: &TablePlan) -> Result<TableOutcome, Failure> {
    let mut outcome = TableOutcome::default();
    if plan.orphans.is_empty() {
        return Ok(outcome);
    }
    let statements = statements(session.dialect(), &plan.table);
    let leaves_tombstone = plan.table.token_storage == TokenStorage::Side || plan.table.delete != DeleteMode::Soft;
    for orphan in &plan.orphans {
        let mut affected = Vec::with_capacity(statements.len());
        for (text, params) in &statements {
            affected.push(session.execute(text, &values(orphan, params)).await?);
            if affected[0] == 0 {
                break;
            }
        }
        if affected[0] == 0 {
            outcome.superseded_by_row += 1;
            continue;
        }
        outcome.applied += 1;
        outcome.tombstones_delta += i64::from(leaves_tombstone);
        if let (TokenStorage::Column, [_, removed, _]) = (plan.table.token_storage, affected.as_slice()) {
            outcome.tombstones_delta -= i64::from(*removed > 0);
        }
    }
    Ok(outcome)
}

fn values(orphan: &Orphan, params: &[Param]) -> Vec<Value> {
    let value = |param: &Param| match param {
        Param::Key => orphan.key.clone(),
        Param::Token => vec![Value::bytes(orphan.token.as_bytes())],
        Param::Below => vec![Value::bytes(orphan.below.as_bytes())],
    };
    params.iter().flat_map(value).collect()
}

/// A replay leaves out what lies before a null value that the live pass took for a delete. At its end, so that every row that it
/// wrote is locked, it makes sure that the live pass found no other one meanwhile.
pub(super) async fn check_nulls<S: Statements>(session: &mut S, plan: &Plan) -> Result<(), Failure> {
    for known in &plan.nulls {
        let at = &known.at;
        let params =
            [Value::from(&*at.topic), Value::from(&*known.incarnation), at.partition.into(), NULL_DELETE.into()];
        let rows = session.query(sql::LEDGER_COUNT.of(session.dialect()), &params).await?;
        let found = rows.into_iter().next().map_or(Ok(0), |row| Cells::new(row).count())?;
        if found != known.count {
            return Err(taken_back(vec![at.clone()], "a delete was found while its partition was replayed"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::table::fixture;

    #[test]
    fn parameters_are_numbered_as_they_stand() {
        let mut table = fixture::table(1, "t", &["id", "v"]);
        let texts = statements(Dialect::Postgres, &table);
        assert_eq!(texts[0].0, "delete from \"t\" where \"id\" = $1 and \"_lastword_token\" = $2");
        assert!(texts[2].0.ends_with("(\"id\", \"_lastword_token\") values ($1, $2)"));
        table.delete = DeleteMode::Soft;
        let texts = statements(Dialect::Postgres, &table);
        assert_eq!(
            texts[0].0,
            "update \"t\" set \"_lastword_deleted\" = true, \"_lastword_token\" = $1 where not \"_lastword_deleted\" and \
             \"id\" = $2 and \"_lastword_token\" = $3"
        );
        table.token_storage = TokenStorage::Side;
        assert_eq!(statements(Dialect::Mysql, &table).len(), 1);
    }
}
