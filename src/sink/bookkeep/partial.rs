//! What partial rows are judged by: what is stored for their keys, and the marks that quarantined events leave on theirs.

use sha2::{Digest, Sha256};

use crate::core::dialect::partial::{KEYS_MAX, PartialText};
use crate::core::dialect::rungs;
use crate::core::failure::Failure;
use crate::core::merge::{Base, decode_open};
use crate::core::plan::{Mark, QuarantinedRecord};
use crate::core::table::{Table, TableName, TokenStorage};
use crate::core::token::Token;
use crate::core::value::Value;
use crate::sink::Statements;

use super::cells::{Cells, damaged};
use super::sql;

/// A business key: its canonical bytes and its values.
pub type Key = (Vec<u8>, Vec<Value>);

/// What stands for a key in the bookkeeping: the SHA-256 of its canonical bytes, which may be long.
pub fn key_digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// Marks the key of a quarantined record.
pub(super) async fn mark<S: Statements>(
    session: &mut S,
    pipeline: &str,
    record: &QuarantinedRecord,
    mark: &Mark,
) -> Result<(), Failure> {
    let params = [
        pipeline.into(),
        Value::from(&*record.at.topic),
        Value::from(&*record.incarnation),
        record.at.partition.into(),
        record.offset.into(),
        mark.table.clone().into(),
        Value::bytes(&key_digest(&mark.key)),
        Value::bytes(mark.token.as_bytes()),
    ];
    session.execute(sql::MARK_ADD.of(session.dialect()), &params).await?;
    Ok(())
}

/// Whether any row of the table has open columns.
pub async fn any_open<S: Statements>(session: &mut S, table: &TableName) -> Result<bool, Failure> {
    let name = Value::from(table.to_string());
    Ok(!session.query(sql::OPEN_ANY.of(session.dialect()), &[name]).await?.is_empty())
}

/// Locks the rows of keys until the transaction ends.
pub async fn lock_rows<S: Statements>(session: &mut S, table: &Table, keys: &[Key]) -> Result<(), Failure> {
    let text = PartialText::new(session.dialect(), table);
    let mut from = 0;
    for rung in rungs(keys.len(), KEYS_MAX) {
        let Some(statement) = text.lock(rung) else { return Ok(()) };
        let params: Vec<Value> =
            keys[from..from + rung].iter().flat_map(|(_, values)| text.key_params(values)).collect();
        session.query(&statement, &params).await?;
        from += rung;
    }
    Ok(())
}

/// What is stored for keys, in their order, with the marks of each.
pub async fn bases<S: Statements>(session: &mut S, table: &Table, keys: &[Key]) -> Result<Vec<Base>, Failure> {
    let mut bases = vec![Base::default(); keys.len()];
    let text = PartialText::new(session.dialect(), table);
    let mut from = 0;
    for rung in rungs(keys.len(), KEYS_MAX) {
        let of_key = |(key, values): &Key| text.stored_params(values, &key_digest(key));
        let params: Vec<Value> = keys[from..from + rung].iter().flat_map(of_key).collect();
        for row in session.query(&text.stored(rung), &params).await? {
            let mut cells = Cells::new(row);
            let place = usize::try_from(cells.int()?).ok().filter(|place| *place < rung);
            let base = place.and_then(|place| bases.get_mut(from + place));
            *base.ok_or_else(|| damaged("a key came back unasked"))? = read_base(table, &mut cells)?;
        }
        from += rung;
    }
    let name = table.name().to_string();
    let marked = session.query(sql::MARK_ANY.of(session.dialect()), &[name.as_str().into()]).await?;
    if !marked.is_empty() {
        for ((key, _), base) in keys.iter().zip(&mut bases) {
            base.marks = marks(session, &name, key).await?;
        }
    }
    Ok(bases)
}

fn read_base(table: &Table, cells: &mut Cells) -> Result<Base, Failure> {
    let truth = |number: Option<i64>| number == Some(1);
    let there = truth(cells.int_or_null()?);
    let in_row = cells.token_or_null()?;
    let marked = truth(cells.int_or_null()?);
    let side = cells.token_or_null()?;
    let dead = truth(cells.int_or_null()?);
    let open_of = cells.token_or_null()?;
    let open = cells.bytes_or_null()?;
    let (row, tombstone) = match table.token_storage {
        TokenStorage::Column => (in_row, side),
        TokenStorage::Side if dead => (None, side),
        TokenStorage::Side => (side, None),
    };
    let mut base = Base { live: there && !marked && !dead, row, tombstone, ..Base::default() };
    if let Some(open) = open.filter(|_| row.is_some() && open_of == row) {
        let column = |name: &str| table.shape.position(name);
        base.open = decode_open(&open, column).ok_or_else(|| damaged("open columns cannot be read"))?;
    }
    Ok(base)
}

async fn marks<S: Statements>(session: &mut S, table: &str, key: &[u8]) -> Result<Vec<Token>, Failure> {
    let params = [table.into(), Value::bytes(&key_digest(key))];
    let rows = session.query(sql::MARK_OF_KEY.of(session.dialect()), &params).await?;
    let read = |row| Cells::new(row).token_or_null()?.ok_or_else(|| damaged("a mark has no token"));
    rows.into_iter().map(read).collect()
}
