//! The store's format: made, upgraded, and refused when it is newer than this program.

use crate::core::dialect::Dialect;
use crate::core::failure::{Class, Failure};
use crate::core::value::Value;
use crate::failpoint::failpoint;
use crate::sink::Statements;

use super::cells::{Cells, damaged};
use super::{end, sql};

/// Format of the bookkeeping that this version reads and writes: the number of the last migration.
pub const STORE_FORMAT: i64 = 3;

/// What [`migrate`] found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreInfo {
    /// Format that the store has now.
    pub format: i64,
    /// Format that it had before; `None` if there was no store.
    pub found: Option<i64>,
}

/// The files of each format, by its number less one.
fn migrations() -> [Vec<&'static sql::Statement>; STORE_FORMAT as usize] {
    let collection =
        vec![&*sql::EPOCHS_002, &*sql::TOPICS_002, &*sql::COLLECTION_002, &*sql::TRANSACTIONS_002, &*sql::PARTIAL_002];
    [vec![&*sql::STORE_001], collection, vec![&*sql::SOURCES_003]]
}

/// Makes the store, or brings it to this version's format. Safe when several processes start at once: one does it, the others
/// wait for it. A store of a newer format is an operator failure, and nothing is changed.
///
/// In PostgreSQL and SQLite a migration is one transaction. DDL commits by itself in MySQL: there every statement of a
/// migration can be run again, and the format is written last.
pub async fn migrate<S: Statements>(session: &mut S) -> Result<StoreInfo, Failure> {
    let found = check_version(session).await?;
    if found == Some(STORE_FORMAT) {
        return Ok(StoreInfo { format: STORE_FORMAT, found });
    }
    match session.dialect() {
        Dialect::Postgres | Dialect::Sqlite => {
            session.begin().await?;
            let work = migrate_in_transaction(session).await;
            end(session, work).await
        }
        Dialect::Mysql => migrate_under_named_lock(session).await,
    }
}

async fn migrate_in_transaction<S: Statements>(session: &mut S) -> Result<StoreInfo, Failure> {
    if session.dialect() == Dialect::Postgres {
        session.query(sql::MIGRATE_LOCK.of(Dialect::Postgres), &[]).await?;
        // Only where it is missing: the statement needs a right on the database that an account need not have.
        if first_int(session, sql::SCHEMA_EXISTS.of(Dialect::Postgres)).await? == 0 {
            session.execute(sql::SCHEMA_CREATE.of(Dialect::Postgres), &[]).await?;
        }
    }
    run_missing(session).await
}

async fn migrate_under_named_lock<S: Statements>(session: &mut S) -> Result<StoreInfo, Failure> {
    if first_int(session, sql::MIGRATE_LOCK.of(Dialect::Mysql)).await.unwrap_or(0) != 1 {
        return Err(Failure::new(
            Class::Transient,
            "migration_running",
            "another process has been migrating the store for a minute, or the URL names no database",
        ));
    }
    let work = run_missing(session).await;
    let unlocked = session.query(sql::MIGRATE_UNLOCK.of(Dialect::Mysql), &[]).await;
    let info = work?;
    unlocked.map(|_| info)
}

async fn run_missing<S: Statements>(session: &mut S) -> Result<StoreInfo, Failure> {
    failpoint!(MIGRATE_BEGUN);
    let dialect = session.dialect();
    // Read again under the lock: whoever held it may have done the work.
    let found = check_version(session).await?;
    for (files, number) in migrations().iter().zip(1..) {
        if found.unwrap_or(0) >= number {
            continue;
        }
        for statement in files.iter().flat_map(|file| sql::split(file.of(dialect))) {
            match session.execute(statement, &[]).await {
                // A column that a migration added before it was cut off: MySQL cannot ask for it in the statement.
                Err(failure) if failure.code == "mysql 1060" => {}
                ran => {
                    ran.map_err(|failure| failure.context(format!("migrating lastword's store to format {number}")))?;
                }
            }
            failpoint!(MIGRATE_STATEMENT);
        }
        write_format(session, number).await?;
    }
    failpoint!(MIGRATE_DONE);
    Ok(StoreInfo { format: STORE_FORMAT, found })
}

async fn write_format<S: Statements>(session: &mut S, format: i64) -> Result<(), Failure> {
    let dialect = session.dialect();
    let (format, name) = (Value::from(format.to_string()), Value::from("format"));
    if session.execute(sql::META_SET.of(dialect), &[format.clone(), name.clone()]).await? == 0 {
        session.execute(sql::META_ADD.of(dialect), &[name, format]).await?;
    }
    Ok(())
}

/// Format of the store, for commands that only read: `None` where there is no store yet. A newer format than this
/// program's is an operator failure.
pub async fn check_version<S: Statements>(session: &mut S) -> Result<Option<i64>, Failure> {
    let dialect = session.dialect();
    if first_int(session, sql::META_EXISTS.of(dialect)).await? == 0 {
        return Ok(None);
    }
    let rows = session.query(sql::META_GET.of(dialect), &[Value::from("format")]).await?;
    // A table without the row is a migration that was cut off (MySQL): as good as no store, it is finished by the next.
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let format = Cells::new(row).text()?;
    let format: i64 = format.parse().map_err(|_| damaged("its format is not a number"))?;
    if format > STORE_FORMAT {
        return Err(Failure::operator(
            "newer_store",
            format!(
                "the destination's bookkeeping has format {format}, this lastword knows formats up to {STORE_FORMAT}: a newer \
                 version wrote it; run that version or a later one (nothing was changed)"
            ),
        ));
    }
    Ok(Some(format))
}

async fn first_int<S: Statements>(session: &mut S, text: &str) -> Result<i64, Failure> {
    let rows = session.query(text, &[]).await?;
    let row = rows.into_iter().next().ok_or_else(|| damaged("a query gave no row"))?;
    Cells::new(row).int()
}
