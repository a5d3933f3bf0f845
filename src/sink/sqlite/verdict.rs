//! What becomes of an event, given what is stored for its key.

use crate::core::failure::{Class, Failure};
use crate::core::plan::Verdict;
use crate::core::table::TokenStorage;
use crate::core::token::Token;
use crate::core::value::Value;

/// What is stored for a key, as far as it matters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stored {
    /// Token of the row.
    pub(super) row: Option<Token>,
    /// Token of the tombstone; with side tokens that of the key, dead or alive.
    pub(super) side: Option<Token>,
    /// The row is there. Known only where it was asked for, or where the key's token is not smaller than the event's.
    pub(super) present: bool,
    /// The side token is a tombstone's.
    pub(super) dead: bool,
}

impl Stored {
    /// From a row of [`crate::core::dialect::sqlite::TableText::stored`].
    pub(super) fn from_row(row: &[Value]) -> Result<Self, Failure> {
        let truth = |at: usize| row.get(at).and_then(Value::as_int) == Some(1);
        Ok(Self { row: token(row.get(1))?, side: token(row.get(2))?, present: truth(3), dead: truth(4) })
    }

    /// The key has no row; known only where presence was asked for.
    pub(super) fn is_absent(&self) -> bool {
        !self.present && self.row.is_none() && (self.side.is_none() || self.dead)
    }

    /// The key has a tombstone.
    pub(super) fn is_dead(&self) -> bool {
        self.side.is_some() && self.dead
    }
}

fn token(value: Option<&Value>) -> Result<Option<Token>, Failure> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_bytes().and_then(Token::from_bytes).map(Some).ok_or_else(|| {
            Failure::operator("damaged_token", "a stored token has the wrong length; was it changed by hand?")
        }),
    }
}

/// What decides beside the stored tokens.
pub(super) struct Judge {
    /// Where tokens are.
    pub(super) storage: TokenStorage,
    /// Deletes mark rows.
    pub(super) soft: bool,
    /// The table's truncate token.
    pub(super) truncate: Option<Token>,
    /// Rows of equal token are written again.
    pub(super) repair: bool,
}

impl Judge {
    /// Compares an event with what is stored. Tokens of different scopes are a record failure.
    pub(super) fn judge(&self, token: &Token, is_upsert: bool, stored: &Stored) -> Result<Verdict, Failure> {
        for other in [self.truncate, stored.row, stored.side].into_iter().flatten() {
            if !token.comparable(&other) {
                return Err(incomparable("an event and what is stored for its key have tokens of different sources"));
            }
        }
        let not_below = |limit: Option<Token>| limit.is_some_and(|limit| *token <= limit);
        if not_below(self.truncate) {
            return Ok(Verdict::ByTruncate);
        }
        if self.storage == TokenStorage::Column && not_below(stored.side) || stored.is_dead() && not_below(stored.side)
        {
            return Ok(Verdict::ByTombstone);
        }
        let live = match self.storage {
            TokenStorage::Column => stored.row,
            TokenStorage::Side => stored.side.filter(|_| !stored.dead),
        };
        // A row that was deleted by hand comes back when its newest event is applied again. With its token in the row it has
        // none, with side tokens its token is still there.
        let vanished = self.storage == TokenStorage::Side && is_upsert && !stored.present;
        let again = (self.repair && (is_upsert || self.soft)) || vanished;
        match live {
            Some(live) if live > *token || (live == *token && !again) => Ok(Verdict::ByRow),
            _ => Ok(Verdict::Wins),
        }
    }
}

/// Two tokens that cannot be compared.
pub(super) fn incomparable(what: &str) -> Failure {
    Failure::new(Class::Record, "incomparable_token", what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::token::TokenWriter;

    fn token(number: u64) -> Token {
        TokenWriter::new(1, 1).number(number).finish()
    }

    fn judge(storage: TokenStorage, repair: bool) -> Judge {
        Judge { storage, soft: false, truncate: Some(token(3)), repair }
    }

    #[test]
    fn the_greater_token_wins_and_equal_ones_change_nothing() {
        let column = judge(TokenStorage::Column, false);
        let row = |number| Stored { row: Some(token(number)), present: true, dead: true, ..Stored::default() };
        let tomb = |number| Stored { side: Some(token(number)), dead: true, ..Stored::default() };
        for (event, is_upsert, stored, verdict) in [
            (5, true, Stored::default(), Verdict::Wins),
            (3, true, Stored::default(), Verdict::ByTruncate),
            (5, true, row(4), Verdict::Wins),
            (5, true, row(5), Verdict::ByRow),
            (5, false, row(6), Verdict::ByRow),
            (5, true, tomb(4), Verdict::Wins),
            (5, true, tomb(5), Verdict::ByTombstone),
            (5, false, tomb(5), Verdict::ByTombstone),
        ] {
            let found = column.judge(&token(event), is_upsert, &stored).expect("comparable");
            assert_eq!(found, verdict, "{event} {is_upsert} {stored:?}");
        }
        let repair = judge(TokenStorage::Column, true);
        assert_eq!(repair.judge(&token(5), true, &row(5)).expect("comparable"), Verdict::Wins);
        assert_eq!(repair.judge(&token(5), false, &row(5)).expect("comparable"), Verdict::ByRow);
        assert_eq!(repair.judge(&token(5), true, &tomb(5)).expect("comparable"), Verdict::ByTombstone);
    }

    #[test]
    fn side_tokens_are_those_of_rows_or_tombstones() {
        let side = judge(TokenStorage::Side, false);
        let stored = |number, dead, present| Stored { row: None, side: Some(token(number)), present, dead };
        for (event, stored, verdict) in [
            (5, stored(5, false, true), Verdict::ByRow),
            (5, stored(5, false, false), Verdict::Wins),
            (5, stored(6, false, false), Verdict::ByRow),
            (5, stored(5, true, false), Verdict::ByTombstone),
            (6, stored(5, true, false), Verdict::Wins),
        ] {
            assert_eq!(side.judge(&token(event), true, &stored).expect("comparable"), verdict, "{event} {stored:?}");
        }
    }

    #[test]
    fn other_scopes_are_refused() {
        let other = TokenWriter::new(2, 1).number(1).finish();
        for stored in [
            Stored { row: Some(other), ..Stored::default() },
            Stored { side: Some(other), dead: true, ..Stored::default() },
        ] {
            let failure = judge(TokenStorage::Column, false).judge(&token(9), true, &stored).expect_err("refused");
            assert_eq!((failure.class, failure.code.as_str()), (Class::Record, "incomparable_token"));
        }
    }
}
