//! What a destination holds, as [`Contents`]. Each database writes its rows as the same text; the digest is made here.

use futures_util::TryStreamExt;
use sqlx::{Connection, MySqlConnection, SqliteConnection};
use tokio_postgres::NoTls;

use super::{Contents, TABLE};

const POSTGRES: &str = "concat_ws('|', id, customer_id, region, email, status, coalesce(note, '~'), quantity, priority,
    paid::int, (price * 100)::bigint, (weight * 8)::bigint, external_id, (extract(epoch from created_at) * 1000000)::bigint,
    (extract(epoch from updated_at) * 1000000)::bigint, due - date '1970-01-01')";

const MARIADB: &str = "concat_ws('|', id, customer_id, region, email, status, coalesce(note, '~'), quantity, priority,
    paid + 0, cast(price * 100 as signed), cast(weight * 8 as signed), external_id,
    timestampdiff(microsecond, '1970-01-01', created_at), timestampdiff(microsecond, '1970-01-01', updated_at),
    datediff(due, '1970-01-01'))";

/// Texts of times hold up to six digits of a second, without zeros at the end, and instants their zone.
const SQLITE: &str = "id || '|' || customer_id || '|' || region || '|' || email || '|' || status || '|' || coalesce(note, '~')
    || '|' || quantity || '|' || priority || '|' || paid || '|' || cast(replace(price, '.', '') as integer)
    || '|' || cast(weight * 8 as integer) || '|' || external_id
    || '|' || (unixepoch(substr(created_at, 1, 19)) * 1000000 + cast(substr(substr(created_at, 21) || '000000', 1, 6) as integer))
    || '|' || (unixepoch(substr(updated_at, 1, 19)) * 1000000
        + cast(substr(substr(replace(updated_at, '+00', ''), 21) || '000000', 1, 6) as integer))
    || '|' || cast(julianday(due) - julianday('1970-01-01') as integer)";

/// Rows and the quick sum only.
pub async fn quick(url: &str) -> Result<(u64, i64), String> {
    let contents = read(url, "''").await?;
    Ok((contents.rows, contents.quick))
}

/// All of it.
pub async fn full(url: &str) -> Result<Contents, String> {
    match scheme(url) {
        "postgres" => read(url, POSTGRES).await,
        "sqlite" => read(url, SQLITE).await,
        _ => read(url, MARIADB).await,
    }
}

/// Which of the three it is.
pub fn scheme(url: &str) -> &str {
    url.split(':').next().unwrap_or_default()
}

async fn read(url: &str, text: &str) -> Result<Contents, String> {
    let sums = format!("select count(*), coalesce(sum(quantity), 0) from {TABLE}");
    let rows = (text != "''").then(|| format!("select {text} from {TABLE}"));
    match scheme(url) {
        "postgres" => postgres(url, &sums, rows).await.map_err(|error| format!("{error}: {error:?}")),
        "sqlite" => sqlite(url, &sums, rows).await.map_err(|error| error.to_string()),
        _ => mariadb(url, &sums, rows).await.map_err(|error| error.to_string()),
    }
}

async fn postgres(url: &str, sums: &str, rows: Option<String>) -> Result<Contents, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let mut contents = Contents::default();
    if let Some(sql) = rows {
        let none: [&str; 0] = [];
        let mut rows = std::pin::pin!(client.query_raw(&sql, none).await?);
        while let Some(row) = rows.try_next().await? {
            contents.add(row.try_get(0)?);
        }
    }
    let row = client.query_one(sums, &[]).await?;
    (contents.rows, contents.quick) = (row.try_get::<_, i64>(0)? as u64, row.try_get(1)?);
    drop(client);
    let _ = connection.await;
    Ok(contents)
}

async fn mariadb(url: &str, sums: &str, rows: Option<String>) -> Result<Contents, sqlx::Error> {
    let mut connection = MySqlConnection::connect(&url.replacen("mariadb:", "mysql:", 1)).await?;
    let mut contents = Contents::default();
    if let Some(sql) = rows {
        let mut rows = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(sql)).fetch(&mut connection);
        while let Some(row) = rows.try_next().await? {
            contents.add(&row);
        }
    }
    let sums = sums.replace("coalesce(sum(quantity), 0)", "cast(coalesce(sum(quantity), 0) as signed)");
    let (count, quick) = sqlx::query_as::<_, (i64, i64)>(sqlx::AssertSqlSafe(sums)).fetch_one(&mut connection).await?;
    (contents.rows, contents.quick) = (count as u64, quick);
    Ok(contents)
}

async fn sqlite(url: &str, sums: &str, rows: Option<String>) -> Result<Contents, sqlx::Error> {
    let mut connection = SqliteConnection::connect(url).await?;
    let mut contents = Contents::default();
    if let Some(sql) = rows {
        let mut rows = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(sql)).fetch(&mut connection);
        while let Some(row) = rows.try_next().await? {
            contents.add(&row);
        }
    }
    let sums = sqlx::AssertSqlSafe(sums.to_owned());
    let (count, quick) = sqlx::query_as::<_, (i64, i64)>(sums).fetch_one(&mut connection).await?;
    (contents.rows, contents.quick) = (count as u64, quick);
    Ok(contents)
}

/// Makes the database of a URL anew, empty.
pub async fn fresh(url: &str) -> Result<(), String> {
    let (server, database) = url.rsplit_once('/').unwrap_or((url, ""));
    assert!(database.contains("bench"), "a database that is dropped must have `bench` in its name: {database:?}");
    match scheme(url) {
        "sqlite" => {
            let path = url.trim_start_matches("sqlite:");
            for suffix in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{path}{suffix}"));
            }
            Ok(())
        }
        "postgres" => fresh_postgres(server, database).await.map_err(|error| format!("{error}: {error:?}")),
        _ => {
            let server = server.replacen("mariadb:", "mysql:", 1);
            let mut connection = MySqlConnection::connect(&server).await.map_err(|error| error.to_string())?;
            for sql in [format!("drop database if exists `{database}`"), format!("create database `{database}`")] {
                let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await;
                done.map_err(|error| error.to_string())?;
            }
            Ok(())
        }
    }
}

async fn fresh_postgres(server: &str, database: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(&format!("{server}/postgres"), NoTls).await?;
    let connection = tokio::spawn(connection);
    client.execute(&format!("drop database if exists \"{database}\" with (force)"), &[]).await?;
    client.execute(&format!("create database \"{database}\""), &[]).await?;
    // The run that is measured does not pay for the pages of the one before.
    client.execute("checkpoint", &[]).await?;
    drop(client);
    let _ = connection.await;
    Ok(())
}
