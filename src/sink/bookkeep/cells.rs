//! Results of bookkeeping statements, taken apart cell by cell.

use bytes::Bytes;

use crate::core::failure::Failure;
use crate::core::token::Token;
use crate::core::value::Value;

/// The cells of a row, from the left.
pub(super) struct Cells(std::vec::IntoIter<Value>);

impl Cells {
    pub(super) fn new(row: Vec<Value>) -> Self {
        Self(row.into_iter())
    }

    /// Reads every row of a list.
    pub(super) fn each<T, C: FromIterator<T>>(
        rows: Vec<Vec<Value>>,
        read: impl Fn(&mut Self) -> Result<T, Failure>,
    ) -> Result<C, Failure> {
        rows.into_iter().map(|row| read(&mut Self::new(row))).collect()
    }

    fn next(&mut self) -> Result<Value, Failure> {
        self.0.next().ok_or_else(|| damaged("a column is missing"))
    }

    pub(super) fn int(&mut self) -> Result<i64, Failure> {
        self.next()?.as_int().ok_or_else(|| damaged("a number was expected"))
    }

    pub(super) fn int_or_null(&mut self) -> Result<Option<i64>, Failure> {
        match self.next()? {
            Value::Null => Ok(None),
            value => value.as_int().map(Some).ok_or_else(|| damaged("a number was expected")),
        }
    }

    pub(super) fn count(&mut self) -> Result<u64, Failure> {
        u64::try_from(self.int()?).map_err(|_| damaged("a counter is negative"))
    }

    pub(super) fn partition(&mut self) -> Result<i32, Failure> {
        i32::try_from(self.int()?).map_err(|_| damaged("a partition number is out of range"))
    }

    pub(super) fn text(&mut self) -> Result<String, Failure> {
        self.text_or_null()?.ok_or_else(|| damaged("text was expected"))
    }

    pub(super) fn text_or_null(&mut self) -> Result<Option<String>, Failure> {
        match self.next()? {
            Value::Null => Ok(None),
            value => value.as_text().map(|text| Some(text.to_owned())).ok_or_else(|| damaged("text was expected")),
        }
    }

    pub(super) fn bytes_or_null(&mut self) -> Result<Option<Bytes>, Failure> {
        match self.next()? {
            Value::Null => Ok(None),
            Value::Bytes(bytes) => Ok(Some(bytes)),
            value => value
                .as_bytes()
                .map(|bytes| Some(Bytes::copy_from_slice(bytes)))
                .ok_or_else(|| damaged("bytes were expected")),
        }
    }
}

impl Cells {
    pub(super) fn token_or_null(&mut self) -> Result<Option<Token>, Failure> {
        match self.bytes_or_null()? {
            None => Ok(None),
            Some(bytes) => Token::from_bytes(&bytes).map(Some).ok_or_else(|| damaged("a token has the wrong length")),
        }
    }
}

/// A bookkeeping row that cannot be what lastword wrote.
pub(super) fn damaged(what: &str) -> Failure {
    Failure::operator(
        "damaged_store",
        format!(
            "a bookkeeping table of lastword does not hold what was written to it: {what}; restore it from a backup"
        ),
    )
}

/// A counter as the store keeps it.
pub(super) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
