//! PostgreSQL's statements for one table: the stage, the guarded changes, the re-check.
//!
//! # How they are built
//!
//! Aliases are fixed: `s` is the stage, `t` the table, `m` the bookkeeping table beside it (tombstones, or tokens with
//! [`TokenStorage::Side`]). The stage names its columns by position (`c0`, `c1`, … , `op`, `token`), so that no name of a
//! user's column can meet one of ours. `op` is 0 for a delete and the number of the column group, from 1, for an upsert.
//!
//! A guard is written once, as [`older`]: tokens are compared only if their first bytes (format and scope) are equal. What
//! cannot be compared therefore changes nothing, is missing in the number of affected rows, and is found by
//! [`TableSql::count_lost`].
//!
//! # Why every statement has a parameter
//!
//! A prepared statement without parameters keeps the plan that it got when the table was empty, also under
//! `plan_cache_mode=force_custom_plan`: a sequential scan per row when the table has grown. So each has at least one.

mod side;

use crate::core::dialect::Dialect;
use crate::core::guard::{Guard, stands};
use crate::core::parking::Parking;
use crate::core::table::{Column, Contract, DELETED_COLUMN, DeleteMode, TOKEN_COLUMN, Table, TokenStorage};
use crate::core::token::PREFIX_BYTES;

/// This transaction's own rows, as `xmin` shows them. There are no savepoints, hence no other numbers.
const MINE: &str = "pg_current_xact_id()::xid";
/// The condition that gives a statement its parameter; it is called with 1.
const PARAMETER: &str = "$1::int4 = 1";

/// The truncate token, or NULL. The cast is everywhere: the first occurrence decides the parameter's type.
const TRUNCATE: &str = "$1::bytea";

/// `op` of a delete in the stage.
pub const OP_DELETE: i16 = 0;

/// Texts of the statements for one table.
#[derive(Debug)]
pub struct TableSql<'a> {
    table: &'a Table,
    target: String,
    side: String,
    stage: String,
    /// The token column, quoted.
    token: String,
    /// The mark of a softly deleted row, quoted.
    deleted: String,
    /// `<` of a token that may be written over, `<=` under repair.
    below: &'static str,
}

/// The text of money hangs on the locale (`1.234` can be a thousand): it goes through numeric, which does not.
pub fn is_money(column: &Column) -> bool {
    column.native == "money"
}

/// `a` is a token that `b` beats. `below` is `<` or `<=`.
fn older(a: &str, below: &str, b: &str) -> String {
    format!("({a} {below} {b} and substring({a} for {PREFIX_BYTES}) = substring({b} for {PREFIX_BYTES}))")
}

/// A condition, where its guard stands.
fn guarded(guard: Guard, condition: String) -> String {
    if stands(guard) { condition } else { "true".to_owned() }
}

/// The tokens have different formats or scopes.
fn incomparable(a: &str, b: &str) -> String {
    format!("substring({a} for {PREFIX_BYTES}) <> substring({b} for {PREFIX_BYTES})")
}

/// The event's token is beyond the truncate token in parameter 1, if there is one.
fn beyond_truncate() -> String {
    format!("({TRUNCATE} is null or {})", guarded(Guard::Truncate, older(TRUNCATE, "<", "s.token")))
}

impl<'a> TableSql<'a> {
    /// Prepares the names. `repair` lets an event write over a row of its own token.
    pub fn new(table: &'a Table, repair: bool) -> Self {
        Self {
            table,
            target: Dialect::Postgres.table(table.name()),
            side: Dialect::Postgres.bookkeeping(&table.side_name()),
            stage: format!("pg_temp.lw_stage_{}", table.id),
            token: Dialect::Postgres.ident(TOKEN_COLUMN),
            deleted: Dialect::Postgres.ident(DELETED_COLUMN),
            below: if repair { "<=" } else { "<" },
        }
    }

    /// Name of the stage.
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Makes the session's stage anew, with the types and collations that the table has now. The casts change nothing but a
    /// domain, whose own rules are kept by the table: the stage has NULL where a change does not carry a column.
    pub fn stage_create(&self) -> String {
        let columns = self.table.shape.columns.iter().enumerate().filter(|(_, column)| !column.generated);
        let list = columns.map(|(at, column)| {
            let native = if is_money(column) { "numeric" } else { &column.native };
            format!("t.{}::{native} as c{at}, ", Dialect::Postgres.ident(&column.name))
        });
        let list: String = list.collect();
        format!(
            "drop table if exists {0};\ncreate temp table {0} on commit delete rows as \
             select {list}0::int2 as op, ''::bytea as token from {1} t with no data",
            self.stage, self.target
        )
    }

    /// Fills these columns of the stage, in binary or as text.
    pub fn stage_copy(&self, columns: &[usize], binary: bool) -> String {
        let list: String = columns.iter().map(|at| format!("c{at}, ")).collect();
        let format = if binary { "binary" } else { "text" };
        format!("copy {} ({list}op, token) from stdin (format {format})", self.stage)
    }

    /// Upserts of a column group that beat row, tombstone and truncate token. `$1` truncate token, `$2` op.
    pub fn upsert(&self, columns: &[usize]) -> String {
        let (target, side, stage, token) = (&self.target, &self.side, &self.stage, &self.token);
        let mut names = self.names(columns);
        let mut values: Vec<String> = columns.iter().map(|at| self.staged(*at)).collect();
        let mut assigned: Vec<String> = self.assignments(columns);
        names.push(token.clone());
        values.push("s.token".to_owned());
        assigned.push(format!("{token} = excluded.{token}"));
        if self.table.shape.has_deleted {
            names.push(self.deleted.clone());
            values.push("false".to_owned());
            assigned.push(format!("{} = false", self.deleted));
        }
        format!(
            "insert into {target} as t ({}) overriding system value\nselect {} from {stage} s\n\
             where s.op = $2 and {} and not exists (\n    select 1 from {side} m where {} and {} is not true)\n\
             on conflict ({}) do update set {}\nwhere t.{token} is null or {}",
            names.join(", "),
            values.join(", "),
            beyond_truncate(),
            self.is_staged("m"),
            guarded(Guard::Tombstone, older(&format!("m.{token}"), "<", "s.token")),
            self.key_list(),
            assigned.join(", "),
            guarded(Guard::Row, self.loses("t", &format!("excluded.{token}"))),
        )
    }

    /// Number of rows that would be new but are not above the floor of their scope. `$1` truncate token, `$2` the table's
    /// name. What a tombstone or the truncate token beats is not counted: it only loses.
    pub fn below_floor(&self) -> String {
        let (target, side, stage, token) = (&self.target, &self.side, &self.stage, &self.token);
        let known = match self.table.token_storage {
            TokenStorage::Column => format!(
                "exists (select 1 from {target} t where {}) or exists (select 1 from {side} m where {} and m.{token} >= s.token)",
                self.is_staged("t"),
                self.is_staged("m"),
            ),
            TokenStorage::Side => format!(
                "exists (select 1 from {side} m where {} and (not m.{} or m.{token} >= s.token))",
                self.is_staged("m"),
                self.deleted
            ),
        };
        format!(
            "select count(*) from {stage} s where s.op <> {OP_DELETE} and {}\nand exists (\n    \
             select 1 from lastword.collection_floor f where f.table_name = $2 and {})\nand not ({known})",
            beyond_truncate(),
            older("s.token", "<=", "f.token"),
        )
    }

    /// Lets the rows that the upserts of a column group will write over go of their unique values. `$1` truncate token, `$2` op.
    pub fn park(&self, columns: &[usize]) -> Option<String> {
        let (side, token) = (&self.side, &self.token);
        let wins = format!(
            "s.op = $2 and {} and (t.{token} is null or {}) and not exists (\n    select 1 from {side} m where {} and {} is not true)",
            beyond_truncate(),
            self.loses("t", "s.token"),
            self.is_staged("m"),
            older(&format!("m.{token}"), "<", "s.token"),
        );
        self.park_rows(columns, &wins)
    }

    /// Rows of the batch that `wins` names and whose unique values change.
    fn park_rows(&self, columns: &[usize], wins: &str) -> Option<String> {
        let (target, stage) = (&self.target, &self.stage);
        let changed = |columns: &[usize]| -> String {
            let names = self.names(columns).into_iter().zip(columns);
            let pairs = names.map(|(name, at)| format!("t.{name} is distinct from {}", self.staged(*at)));
            format!("{} and ({}) and {wins}", self.is_staged("t"), pairs.collect::<Vec<_>>().join(" or "))
        };
        match Parking::of(self.table, columns) {
            Parking::None => None,
            Parking::Null(columns) => {
                let nulls: Vec<String> = self.names(&columns).iter().map(|name| format!("{name} = null")).collect();
                let changed = changed(&columns);
                Some(format!("update {target} t set {} from {stage} s\nwhere {changed}", nulls.join(", ")))
            }
            Parking::Away(columns) => {
                Some(format!("delete from {target} t using {stage} s\nwhere {}", changed(&columns)))
            }
        }
    }

    /// Deletes that beat their row. `$1` truncate token. Returns two numbers: rows deleted (marked, if deletes are soft),
    /// and those of them whose tombstone is newer already.
    pub fn delete(&self) -> String {
        let (target, side, stage, token) = (&self.target, &self.side, &self.stage, &self.token);
        let key: String = self.table.key.iter().map(|at| format!("{}, ", self.staged(*at))).collect();
        let condition = |below| {
            format!(
                "{} and s.op = {OP_DELETE} and {} and (t.{token} is null or {})",
                self.is_staged("t"),
                beyond_truncate(),
                guarded(Guard::Row, older(&format!("t.{token}"), below, "s.token")),
            )
        };
        if self.table.delete == DeleteMode::Soft {
            return format!(
                "with gone as (update {target} t set {} = true, {token} = s.token from {stage} s\nwhere {} returning 1)\n\
                 select count(*), count(*) from gone",
                self.deleted,
                condition(self.below),
            );
        }
        format!(
            "with gone as (delete from {target} t using {stage} s\nwhere {} returning {key}s.token)\n\
             select count(*), count(*) filter (where exists (\n    select 1 from {side} m where {} and {} is not true))\n\
             from gone s",
            condition("<"),
            self.is_staged("m"),
            older(&format!("m.{token}"), "<", "s.token"),
        )
    }

    /// Tombstones of deletes that no row survived, also of unknown keys. `$1` truncate token. Returns two numbers:
    /// tombstones written or raised, and those that are new.
    pub fn bury(&self) -> String {
        let (target, side, stage, token) = (&self.target, &self.side, &self.stage, &self.token);
        let key: String = self.table.key.iter().map(|at| format!("{}, ", self.staged(*at))).collect();
        format!(
            "with dead as (\n    insert into {side} as m ({key_list}, {token})\n    select {key}s.token from {stage} s\n    \
             where s.op = {OP_DELETE} and {} and not exists (\n        \
             select 1 from {target} t where {} and t.{token} is not null and {} is not true)\n    \
             on conflict ({key_list}) do update set {token} = excluded.{token}, deleted_at = now()\n    where {}\n    \
             returning m.xmax = 0 as is_new)\nselect count(*), count(*) filter (where is_new) from dead",
            beyond_truncate(),
            self.is_staged("t"),
            guarded(Guard::Row, older(&format!("t.{token}"), "<", "s.token")),
            guarded(Guard::Tombstone, older(&format!("m.{token}"), "<", &format!("excluded.{token}"))),
            key_list = self.key_list(),
        )
    }

    /// Tombstones of the batch's keys that a row beats. Both after the upserts and, with a fresh view, as one direction of
    /// the re-check. `$1` is 1.
    pub fn exhume(&self) -> String {
        let (target, side, token) = (&self.target, &self.side, &self.token);
        // A softly deleted row carries the delete's token itself.
        let below = if self.table.delete == DeleteMode::Soft { "<=" } else { "<" };
        let beaten = format!(
            "exists (select 1 from {target} t where {} and {})",
            self.is_same("t", "m"),
            older(&format!("m.{token}"), below, &format!("t.{token}")),
        );
        let staged = format!("select m.ctid from {side} m where {} and {beaten}", self.is_staged("m"));
        format!("delete from {side} m\nwhere m.ctid = {}\nand {beaten}", self.of_batch(&staged, PARAMETER))
    }

    /// Rows of the batch's keys that a tombstone beats: the other direction of the re-check, under the table's lock. `$1` is 1.
    ///
    /// The tombstone is looked up first, because most keys have none. The last condition is for writers that do not take
    /// the lock: a row that changes while the statement waits for it is tested again by its token.
    pub fn recheck(&self) -> String {
        let (target, side, token) = (&self.target, &self.side, &self.token);
        let soft = self.table.delete == DeleteMode::Soft;
        let below = if soft { "<" } else { "<=" };
        let beaten = |row: &str| older(&format!("{row}.{token}"), below, &format!("m.{token}"));
        let staged = format!(
            "select (select x.ctid from {target} x where {} and {}) from {side} m where {}",
            self.is_same("x", "m"),
            beaten("x"),
            self.is_staged("m"),
        );
        let still = format!("exists (select 1 from {side} m where {} and {})", self.is_same("t", "m"), beaten("t"));
        let rows = self.of_batch(&staged, PARAMETER);
        if soft {
            let newest = format!("(select m.{token} from {side} m where {})", self.is_same("t", "m"));
            let deleted = &self.deleted;
            return format!(
                "update {target} t set {deleted} = true, {token} = {newest}\nwhere t.ctid = {rows}\nand {still}"
            );
        }
        format!("delete from {target} t\nwhere t.ctid = {rows}\nand {still}")
    }

    /// Rows of the batch's keys that the truncate token `$1` beats.
    pub fn recheck_truncate(&self) -> String {
        let (target, token) = (&self.target, &self.token);
        let below = if self.table.delete == DeleteMode::Soft { "<" } else { "<=" };
        let beaten = |row: &str| older(&format!("{row}.{token}"), below, TRUNCATE);
        let staged = format!("select x.ctid from {target} x where {} and {}", self.is_staged("x"), beaten("x"));
        let condition =
            format!("t.ctid = {}\nand {}", self.of_batch(&staged, &format!("{TRUNCATE} is not null")), beaten("t"));
        self.remove(&condition)
    }

    /// Tombstones of the batch's keys that the truncate token `$1` covers.
    pub fn recheck_truncate_tombstones(&self) -> String {
        let (side, token) = (&self.side, &self.token);
        let beaten = older(&format!("m.{token}"), "<=", TRUNCATE);
        let staged = format!("select m.ctid from {side} m where {} and {beaten}", self.is_staged("m"));
        format!(
            "delete from {side} m\nwhere m.ctid = {}\nand {beaten}",
            self.of_batch(&staged, &format!("{TRUNCATE} is not null"))
        )
    }

    /// Every row of the table that the truncate token `$1` beats.
    pub fn truncate(&self) -> String {
        let token = format!("t.{}", self.token);
        let below = if self.table.delete == DeleteMode::Soft { "<" } else { "<=" };
        self.remove(&format!("({token} is null or {})", older(&token, below, TRUNCATE)))
    }

    /// Every tombstone that the truncate token `$1` covers.
    pub fn truncate_tombstones(&self) -> String {
        format!("delete from {} m where {}", self.side, older(&format!("m.{}", self.token), "<=", TRUNCATE))
    }

    /// Rows whose token cannot be compared with the truncate token `$1`.
    pub fn truncate_incomparable(&self) -> String {
        let (from, alias) = match self.table.token_storage {
            TokenStorage::Column => (&self.target, "t"),
            TokenStorage::Side => (&self.side, "m"),
        };
        let different = incomparable(&format!("{alias}.{}", self.token), TRUNCATE);
        format!("select count(*) from (select 1 from {from} {alias} where {different} limit 1) q")
    }

    /// To what the events lost that changed nothing. `$1` truncate token, `$2` whether deletes are meant. Returns three
    /// numbers: lost to the truncate token, lost to a tombstone, cannot be compared. It runs after the statements: what
    /// this transaction wrote is told apart by `xmin`.
    pub fn count_lost(&self) -> String {
        let (target, side, stage, token) = (&self.target, &self.side, &self.stage, &self.token);
        let (is_dead, row_differs) = match self.table.token_storage {
            TokenStorage::Side => (format!("m.{} and ", self.deleted), String::new()),
            TokenStorage::Column => (
                String::new(),
                format!(
                    "exists (select 1 from {target} t where {} and {}) or ",
                    self.is_staged("t"),
                    incomparable(&format!("t.{token}"), "s.token")
                ),
            ),
        };
        format!(
            "select count(*) filter (where truncated), count(*) filter (where buried and not truncated),\n    \
             count(*) filter (where incomparable)\nfrom (select\n    \
             coalesce({}, false) as truncated,\n    \
             exists (select 1 from {side} m where {staged_m} and {is_dead}m.{token} >= s.token and m.xmin <> {MINE}) as buried,\n    \
             {row_differs}exists (select 1 from {side} m where {staged_m} and {})\n        \
             or coalesce({}, false) as incomparable\n    \
             from {stage} s where (s.op = {OP_DELETE}) = $2::bool offset 0) q",
            older("s.token", "<=", TRUNCATE),
            incomparable(&format!("m.{token}"), "s.token"),
            incomparable(TRUNCATE, "s.token"),
            staged_m = self.is_staged("m"),
        )
    }

    /// Appends entries of a change log; what is there already stays. `$1` op.
    pub fn append(&self, columns: &[usize]) -> String {
        let mut names = self.names(columns);
        let mut values: Vec<String> = columns.iter().map(|at| self.staged(*at)).collect();
        if self.table.shape.has_token {
            names.push(self.token.clone());
            values.push("s.token".to_owned());
        }
        let key: Vec<String> = self.table.shape.primary_key.iter().map(|name| Dialect::Postgres.ident(name)).collect();
        format!(
            "insert into {} ({}) overriding system value\nselect {} from {} s where s.op = $1\n\
             on conflict ({}) do nothing",
            self.target,
            names.join(", "),
            values.join(", "),
            self.stage,
            key.join(", ")
        )
    }

    /// Deletes the rows that a condition on `t` names, or marks them with the token `$1`.
    fn remove(&self, condition: &str) -> String {
        let target = &self.target;
        match self.table.delete {
            DeleteMode::Soft => {
                format!("update {target} t set {} = true, {} = {TRUNCATE}\nwhere {condition}", self.deleted, self.token)
            }
            DeleteMode::Hard | DeleteMode::Ignore => format!("delete from {target} t\nwhere {condition}"),
        }
    }

    /// Places (`ctid`) that a scalar sub-query finds for the rows of the stage. Looked up key by key through the index,
    /// because a scalar sub-query is never turned into a join (measured: joins cost half of the throughput).
    fn of_batch(&self, scalar: &str, parameter: &str) -> String {
        format!(
            "any(array(\n    select q.place from (select ({scalar}) as place from {} s where {parameter} offset 0) q\n    \
             where q.place is not null))",
            self.stage
        )
    }

    /// The stored row `row` may be written over by the token expression `token`.
    fn loses(&self, row: &str, token: &str) -> String {
        older(&format!("{row}.{}", self.token), self.below, token)
    }

    fn names(&self, columns: &[usize]) -> Vec<String> {
        columns.iter().map(|at| Dialect::Postgres.ident(&self.table.shape.columns[*at].name)).collect()
    }

    /// `SET` of an upsert: all columns but the key.
    fn assignments(&self, columns: &[usize]) -> Vec<String> {
        let others = columns.iter().filter(|at| !self.table.key.contains(at));
        let names = others.map(|at| Dialect::Postgres.ident(&self.table.shape.columns[*at].name));
        names.map(|name| format!("{name} = excluded.{name}")).collect()
    }

    /// A column of the stage as a value of its column in the table.
    fn staged(&self, at: usize) -> String {
        if is_money(&self.table.shape.columns[at]) { format!("s.c{at}::money") } else { format!("s.c{at}") }
    }

    fn key_list(&self) -> String {
        self.names(&self.table.key).join(", ")
    }

    /// The key of `alias` is the stage's.
    fn is_staged(&self, alias: &str) -> String {
        let names = self.names(&self.table.key);
        let pairs =
            names.iter().zip(&self.table.key).map(|(name, at)| format!("{alias}.{name} = {}", self.staged(*at)));
        pairs.collect::<Vec<_>>().join(" and ")
    }

    /// The keys of two stored rows are the same.
    fn is_same(&self, a: &str, b: &str) -> String {
        let pairs = self.names(&self.table.key).into_iter().map(|name| format!("{a}.{name} = {b}.{name}"));
        pairs.collect::<Vec<_>>().join(" and ")
    }

    /// Whether deletes and TRUNCATE have an effect on this table.
    pub fn takes_deletes(&self) -> bool {
        self.table.contract == Contract::FinalState && self.table.delete != DeleteMode::Ignore
    }
}

#[cfg(test)]
mod tests;
